"""Images made from formulas: tileable noise, PNG (8-bit RGB, RGBA or palette) and Radiance .hdr files."""

import math
import struct
import zlib


def lattice(x, y, seed):
    """A fixed pseudo-random number in 0..1 for a point of the integer lattice (integer hashing only)."""
    h = (x * 0x9E3779B1 ^ y * 0x85EBCA77 ^ seed * 0xC2B2AE3D) & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
    h = (h ^ h >> 12) * 0x297A2D39 & 0xFFFFFFFF
    return (h ^ h >> 15) / 0xFFFFFFFF


def noise(x, y, period_x, period_y, seed):
    """Value noise in 0..1 that repeats after the given whole periods."""
    ix, iy = math.floor(x), math.floor(y)
    fx, fy = x - ix, y - iy
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    x0, x1 = ix % period_x, (ix + 1) % period_x
    y0, y1 = iy % period_y, (iy + 1) % period_y
    top = lattice(x0, y0, seed) * (1 - fx) + lattice(x1, y0, seed) * fx
    bottom = lattice(x0, y1, seed) * (1 - fx) + lattice(x1, y1, seed) * fx
    return top * (1 - fy) + bottom * fy


def layered_noise(x, y, period_x, period_y, seed, layers=4):
    """Sum of `layers` octaves of noise, in 0..1; x and y are in 0..1 over the whole tile."""
    total, weight, amplitude = 0.0, 0.0, 1.0
    for layer in range(layers):
        px, py = period_x << layer, period_y << layer
        total += amplitude * noise(x * px, y * py, px, py, seed + layer)
        weight += amplitude
        amplitude *= 0.5
    return total / weight


def clamp(value):
    """Limit to 0..1."""
    return min(1.0, max(0.0, value))


def smoothstep(low, high, value):
    """0 below `low`, 1 above `high`, a smooth ramp between."""
    t = clamp((value - low) / (high - low))
    return t * t * (3 - 2 * t)


def blend(colors, t):
    """A colour from a list of colours, t in 0..1 along it."""
    position = clamp(t) * (len(colors) - 1)
    index = min(int(position), len(colors) - 2)
    part = position - index
    return [a + (b - a) * part for a, b in zip(colors[index], colors[index + 1])]


def hex_color(code):
    """An sRGB code such as "c8a060" as three numbers in 0..1, not linearised."""
    return [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_file(width, height, color_type, rows, filter_kind, palette=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    body = b"".join(bytes([filter_kind]) + row for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + (_chunk(b"PLTE", palette) if palette else b"")
        + _chunk(b"IDAT", zlib.compress(body, 9))
        + _chunk(b"IEND", b"")
    )


def png(width, height, pixel):
    """An RGB or RGBA PNG; `pixel(x, y)` gives 3 or 4 numbers in 0..1 as they are stored (colours in sRGB)."""
    rows, previous, channels = [], None, len(pixel(0, 0))
    for y in range(height):
        row = bytes(
            round(clamp(value) * 255) for x in range(width) for value in pixel(x, y)
        )
        above = previous if previous is not None else bytes(len(row))
        rows.append(bytes((a - b) & 255 for a, b in zip(row, above)))
        previous = row
    return _png_file(width, height, 2 if channels == 3 else 6, rows, 2)


def palette_png(width, height, colors, shade):
    """A palette PNG: `shade(x, y)` in 0..1 picks along `colors` (sRGB, at most 256 of them)."""
    palette = bytes(round(clamp(value) * 255) for color in colors for value in color)
    last = len(colors) - 1
    rows = [
        bytes(round(clamp(shade(x, y)) * last) for x in range(width)) for y in range(height)
    ]
    return _png_file(width, height, 3, rows, 0, palette)


def normal_png(width, height, height_at, strength):
    """A tangent-space normal map of a tileable height field; green points up as glTF asks."""

    def pixel(x, y):
        slope_x = (height_at((x + 1) % width, y) - height_at((x - 1) % width, y)) * strength
        slope_y = (height_at(x, (y + 1) % height) - height_at(x, (y - 1) % height)) * strength
        length = math.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
        return [0.5 - slope_x / length / 2, 0.5 + slope_y / length / 2, 0.5 + 0.5 / length]

    return png(width, height, pixel)


def _rgbe(color):
    largest = max(color)
    if largest < 1e-9:
        return (0, 0, 0, 0)
    mantissa, exponent = math.frexp(largest)
    factor = mantissa * 256 / largest
    return (*(min(255, int(value * factor)) for value in color), exponent + 128)


def _run_lengths(values):
    packed, start = bytearray(), 0
    while start < len(values):
        run = 1
        while start + run < len(values) and run < 127 and values[start + run] == values[start]:
            run += 1
        if run > 2:
            packed += bytes([128 + run, values[start]])
            start += run
            continue
        end = start
        while end < len(values) and end - start < 128:
            if end + 2 < len(values) and values[end] == values[end + 1] == values[end + 2]:
                break
            end += 1
        packed += bytes([end - start]) + bytes(values[start:end])
        start = end
    return packed


def write_hdr(path, width, height, radiance):
    """A latitude-longitude map; `radiance(direction)` gives linear RGB. Rows go from the zenith down, the
    middle column looks along -z and columns to its right turn towards +x."""
    with open(path, "wb") as file:
        file.write(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n")
        file.write(f"-Y {height} +X {width}\n".encode())
        for y in range(height):
            polar = math.pi * (y + 0.5) / height
            row = []
            for x in range(width):
                around = 2 * math.pi * ((x + 0.5) / width - 0.5)
                direction = (
                    math.sin(polar) * math.sin(around),
                    math.cos(polar),
                    -math.sin(polar) * math.cos(around),
                )
                row.append(_rgbe([round(value, 6) for value in radiance(direction)]))
            file.write(bytes([2, 2, width >> 8, width & 255]))
            for channel in range(4):
                file.write(_run_lengths([pixel[channel] for pixel in row]))
