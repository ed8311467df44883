"""Reads OpenEXR files as Blender writes them: scan lines of one or more parts, not compressed or by ZIP or ZIPS.

Our own reader, so that comparisons depend on nobody's idea of layers: channels are given by part and name, as bits.
"""

import struct
import zlib

import numpy

MAGIC = 20000630
MULTI_PART = 0x1000
TYPES = {0: numpy.dtype("<u4"), 1: numpy.dtype("<f2"), 2: numpy.dtype("<f4")}
LINES_PER_CHUNK = {0: 1, 2: 1, 3: 16}


class Part:
    """A part of a file: `attributes` as bytes by name, `channels` as arrays (height, width) by name."""

    def __init__(self, attributes):
        self.attributes = attributes
        self.name = attributes.get("name", b"").decode()
        left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
        self.top, self.width, self.height = top, right - left + 1, bottom - top + 1
        self.compression = attributes["compression"][0]
        if self.compression not in LINES_PER_CHUNK:
            raise ValueError(f"compression {self.compression} is not read; let Blender write ZIP")
        self.lines_per_chunk = LINES_PER_CHUNK[self.compression]
        self.types = dict(_channel_types(attributes["channels"]))
        self.channels = {name: numpy.zeros((self.height, self.width), kind) for name, kind in self.types.items()}

    def chunks(self):
        return -(-self.height // self.lines_per_chunk)

    def take(self, line, data):
        """Unpacks the lines of a chunk."""
        lines = min(self.lines_per_chunk, self.top + self.height - line)
        size = lines * self.width * sum(kind.itemsize for kind in self.types.values())
        if self.compression and len(data) < size:
            data = _unpack(zlib.decompress(data))
        at = 0
        for row in range(line - self.top, line - self.top + lines):
            for name in sorted(self.types):
                kind = self.types[name]
                self.channels[name][row] = numpy.frombuffer(data, kind, self.width, at)
                at += kind.itemsize * self.width


def _unpack(data):
    """Undoes what OpenEXR does to bytes before ZIP: differences, and even and odd bytes apart."""
    steps = numpy.frombuffer(data, numpy.uint8).astype(numpy.int64)
    steps[1:] -= 128
    values = numpy.cumsum(steps).astype(numpy.uint8)
    half = (len(values) + 1) // 2
    joined = numpy.empty(len(values), numpy.uint8)
    joined[0::2], joined[1::2] = values[:half], values[half:]
    return joined.tobytes()


def _channel_types(data):
    at = 0
    while data[at]:
        end = data.index(b"\0", at)
        kind = struct.unpack_from("<i", data, end + 1)[0]
        yield data[at:end].decode(), TYPES[kind]
        at = end + 17


def _header(data, at):
    """The attributes of a part from a place on, and where they end."""
    attributes = {}
    while data[at]:
        name_end = data.index(b"\0", at)
        kind_end = data.index(b"\0", name_end + 1)
        size = struct.unpack_from("<i", data, kind_end + 1)[0]
        start = kind_end + 5
        attributes[data[at:name_end].decode()] = data[start : start + size]
        at = start + size
    return attributes, at + 1


def read(path):
    """The parts of a file."""
    with open(path, "rb") as file:
        data = file.read()
    magic, version = struct.unpack_from("<2i", data)
    if magic != MAGIC:
        raise ValueError(f"{path} is not OpenEXR")
    parts, at = [], 8
    while True:
        attributes, at = _header(data, at)
        parts.append(Part(attributes))
        if not version & MULTI_PART:
            break
        if not data[at]:
            at += 1
            break
    for part in parts:
        for index in range(part.chunks()):
            chunk = struct.unpack_from("<Q", data, at)[0]
            if version & MULTI_PART:
                chunk += 4
            line, size = struct.unpack_from("<2i", data, chunk)
            part.take(line, data[chunk + 8 : chunk + 8 + size])
            at += 8
    return parts


def channels(path):
    """All channels of a file, by part and name."""
    return {(part.name, name): values for part in read(path) for name, values in part.channels.items()}
