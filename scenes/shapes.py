"""Triangle shapes: boxes, lathed and swept forms, gears and leaves. Lengths are metres, y is up, front faces are
counter-clockwise. Functions return new shapes; a shape's lists are empty or as long as its positions."""

import math
import random
from dataclasses import dataclass, field

from motion import add, cross, dot, mix, normalized, rotate, scaled, subtract

CREASE = math.cos(math.radians(40))


@dataclass
class Shape:
    """Vertices and triangles, with colours in 0..255 and skin weights that sum to 255."""

    positions: list = field(default_factory=list)
    normals: list = field(default_factory=list)
    texcoords: list = field(default_factory=list)
    tangents: list = field(default_factory=list)
    colors: list = field(default_factory=list)
    joints: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    triangles: list = field(default_factory=list)

    def moved(self, translation=(0, 0, 0), rotation=(0, 0, 0, 1), scale=(1, 1, 1)):
        """Scaled, then turned, then moved; scales must be positive."""
        if isinstance(scale, (int, float)):
            scale = (scale,) * 3
        stretched = [tuple(p * s for p, s in zip(position, scale)) for position in self.positions]
        leaning = [
            normalized(tuple(n / s for n, s in zip(normal, scale))) for normal in self.normals
        ]
        return Shape(
            [add(rotate(rotation, position), translation) for position in stretched],
            [rotate(rotation, normal) for normal in leaning],
            list(self.texcoords),
            [(*rotate(rotation, tangent[:3]), tangent[3]) for tangent in self.tangents],
            list(self.colors),
            list(self.joints),
            list(self.weights),
            list(self.triangles),
        )

    def colored(self, color):
        """The same shape with one linear vertex colour, given as 0..1."""
        byte_color = tuple(round(255 * value) for value in color)
        return Shape(
            self.positions, self.normals, self.texcoords, self.tangents,
            [byte_color] * len(self.positions), self.joints, self.weights, self.triangles,
        )


def joined(shapes):
    """Several shapes as one; all must have the same kinds of lists."""
    result = Shape()
    for shape in shapes:
        first = len(result.positions)
        result.positions += shape.positions
        result.normals += shape.normals
        result.texcoords += shape.texcoords
        result.tangents += shape.tangents
        result.colors += shape.colors
        result.triangles += [tuple(corner + first for corner in t) for t in shape.triangles]
    return result


def grid(columns, rows, point):
    """A sheet of columns x rows quads; `point(u, v)` gives position, normal and texture coordinates. The front
    is on the side of (direction of growing u) x (direction of growing v)."""
    shape = Shape()
    for row in range(rows + 1):
        for column in range(columns + 1):
            position, normal, texcoord = point(column / columns, row / rows)
            shape.positions.append(position)
            shape.normals.append(normal)
            shape.texcoords.append(texcoord)
    stride = columns + 1
    for row in range(rows):
        for column in range(columns):
            a = row * stride + column
            shape.triangles += [(a, a + 1, a + stride + 1), (a, a + stride + 1, a + stride)]
    return shape


def rectangle(width, height, repeat=(1, 1), columns=1, rows=1):
    """An upright rectangle around the origin in the xy plane, facing +z, the texture's top at +y."""

    def point(u, v):
        position = ((u - 0.5) * width, (v - 0.5) * height, 0)
        return position, (0, 0, 1), (u * repeat[0], (1 - v) * repeat[1])

    return grid(columns, rows, point)


def rounded_box(size, radius=0.01, segments=1):
    """A box around the origin with rounded edges; texture coordinates are metres on each face."""
    half = scaled(size, 0.5)
    radius = min(radius, *half)
    faces = [(axis, sign) for axis in range(3) for sign in (1, -1)]
    result = []
    for axis, sign in faces:
        across, along = (axis + 1) % 3, (axis + 2) % 3
        if sign < 0:
            across, along = along, across
        samples = []
        for side in (across, along):
            corner = [half[side] - radius + radius * step / segments for step in range(segments + 1)]
            samples.append([-value for value in reversed(corner)] + corner)
        shape = Shape()
        for b in samples[1]:
            for a in samples[0]:
                outer = [0.0] * 3
                outer[axis], outer[across], outer[along] = sign * half[axis], a, b
                inner = tuple(
                    min(h - radius, max(radius - h, value)) for h, value in zip(half, outer)
                )
                normal = normalized(subtract(tuple(outer), inner))
                shape.positions.append(add(inner, scaled(normal, radius)))
                shape.normals.append(normal)
                # The longer way across a face is the texture's u, so that wood grain runs along boards.
                longer = half[across] >= half[along]
                shape.texcoords.append((a, b) if longer else (b, a))
        stride = len(samples[0])
        for row in range(len(samples[1]) - 1):
            for column in range(stride - 1):
                corner = row * stride + column
                shape.triangles += [
                    (corner, corner + 1, corner + stride + 1),
                    (corner, corner + stride + 1, corner + stride),
                ]
        result.append(shape)
    return joined(result)


def _profile_rows(profile):
    # One row of vertices per profile point, two where the profile turns sharply.
    edges = [
        normalized((b[1] - a[1], a[0] - b[0], 0)) for a, b in zip(profile, profile[1:])
    ]
    rows = []
    for index, point in enumerate(profile):
        before = edges[index - 1] if index > 0 else edges[0]
        after = edges[index] if index < len(edges) else edges[-1]
        if dot(before, after) > CREASE:
            rows.append([(point, normalized(add(before, after)))])
        else:
            rows.append([(point, before), (point, after)])
    return rows


def lathe(profile, segments=32, repeat=(1, 1)):
    """A form turned about the y axis. `profile` is (radius, height) pairs; going upwards on the outside, the
    front faces outwards. Texture u goes around, v from the profile's end (0) to its start (1)."""
    shape = Shape()
    lengths = [0.0]
    for a, b in zip(profile, profile[1:]):
        lengths.append(lengths[-1] + math.hypot(b[0] - a[0], b[1] - a[1]))
    rows = _profile_rows(profile)
    starts = []
    for index, versions in enumerate(rows):
        starts.append([])
        for (radius, height), normal in versions:
            starts[-1].append(len(shape.positions))
            for step in range(segments + 1):
                angle = 2 * math.pi * (step % segments) / segments
                cos, sin = math.cos(angle), -math.sin(angle)
                shape.positions.append((radius * cos, height, radius * sin))
                shape.normals.append((normal[0] * cos, normal[1], normal[0] * sin))
                shape.texcoords.append(
                    (repeat[0] * step / segments, repeat[1] * (1 - lengths[index] / lengths[-1]))
                )
    for index in range(len(profile) - 1):
        low, high = starts[index][-1], starts[index + 1][0]
        for step in range(segments):
            if profile[index][0] > 0:
                shape.triangles.append((low + step, low + step + 1, high + step + 1))
            if profile[index + 1][0] > 0:
                shape.triangles.append((low + step, high + step + 1, high + step))
    return shape


def sphere(radius, segments=32, rings=16, repeat=(1, 1)):
    """A sphere around the origin."""
    profile = []
    for ring in range(rings + 1):
        angle = math.pi * (ring / rings - 0.5)
        across = 0.0 if ring in (0, rings) else radius * math.cos(angle)
        profile.append((across, radius * math.sin(angle)))
    return lathe(profile, segments, repeat)


def with_lathe_tangents(shape):
    """A lathed shape with tangents along u, as a normal map needs them."""
    shape.tangents = []
    for normal, position in zip(shape.normals, shape.positions):
        direction = cross((0, 1, 0), normal)
        if dot(direction, direction) < 1e-9:
            direction = (1, 0, 0)
        shape.tangents.append((*normalized(direction), 1))
    return shape


def cylinder(radius, height, segments=24, bevel=0.0):
    """A capped cylinder that stands on the origin."""
    if bevel <= 0:
        return lathe([(0, 0), (radius, 0), (radius, height), (0, height)], segments)
    inner = radius - bevel
    half_step = bevel * (1 - math.sqrt(0.5))
    profile = [
        (0, 0), (inner, 0), (radius - half_step, half_step), (radius, bevel),
        (radius, height - bevel), (radius - half_step, height - half_step), (inner, height), (0, height),
    ]
    return lathe(profile, segments)


def torus(radius, thickness, segments=48, sides=12):
    """A ring around the y axis; `thickness` is the radius of its round cross-section."""
    profile = []
    for side in range(sides + 1):
        angle = 2 * math.pi * (side % sides) / sides
        profile.append((radius + thickness * math.cos(angle), thickness * math.sin(angle)))
    return lathe(profile, segments)


def tube(path, radii, sides=8):
    """A round tube along a path of points, with one radius per point and closed ends."""
    shape = Shape()
    side = normalized(cross(subtract(path[1], path[0]), (0.31, 0.17, 0.94)))
    for index, (point, radius) in enumerate(zip(path, radii)):
        ahead = path[min(index + 1, len(path) - 1)]
        behind = path[max(index - 1, 0)]
        forward = normalized(subtract(ahead, behind))
        side = normalized(subtract(side, scaled(forward, dot(side, forward))))
        other = cross(forward, side)
        for step in range(sides + 1):
            angle = 2 * math.pi * (step % sides) / sides
            normal = add(scaled(side, math.cos(angle)), scaled(other, math.sin(angle)))
            shape.positions.append(add(point, scaled(normal, radius)))
            shape.normals.append(normal)
            shape.texcoords.append((step / sides, index / (len(path) - 1)))
    stride = sides + 1
    for index in range(len(path) - 1):
        for step in range(sides):
            a = index * stride + step
            shape.triangles += [(a, a + 1, a + stride + 1), (a, a + stride + 1, a + stride)]
    for index, sign in ((0, -1), (len(path) - 1, 1)):
        neighbour = path[1] if index == 0 else path[index - 1]
        normal = normalized(subtract(path[index], neighbour))
        first = len(shape.positions)
        ring = shape.positions[index * stride : index * stride + sides]
        shape.positions += ring
        shape.normals += [normal] * sides
        shape.texcoords += [(0, 0)] * sides
        for step in range(1, sides - 1):
            corners = (first, first + step, first + step + 1)
            shape.triangles.append(corners if sign > 0 else corners[::-1])
    return shape


def extruded_ring(outer, inner, thickness):
    """A flat ring between two outlines of equally many (x, z) points that turn from +x towards +z, centred on
    y = 0. It has no normals: it is shaded flat."""
    shape, count = Shape(), len(outer)
    for outline in (inner, outer):
        for height in (thickness / 2, -thickness / 2):
            shape.positions += [(x, height, z) for x, z in outline]
    inner_top, inner_bottom, outer_top, outer_bottom = (side * count for side in range(4))
    loop = (inner_top, outer_top, outer_bottom, inner_bottom, inner_top)
    for first, second in zip(loop, loop[1:]):
        for index in range(count):
            following = (index + 1) % count
            a, b, c, d = first + index, first + following, second + following, second + index
            shape.triangles += [(a, b, c), (a, c, d)]
    return shape


def gear(teeth, pitch_radius, thickness, spokes=5, hub=0.18):
    """A spoked gear around the y axis; `hub` is the hub's radius as a part of the pitch radius. One tooth is
    centred on +x. Gears of equal `pitch_radius / teeth` mesh when their pitch circles touch. Shaded flat."""
    module = 2 * pitch_radius / teeth
    tip, root = pitch_radius + 0.9 * module, pitch_radius - 1.05 * module
    outline = []
    for tooth in range(teeth):
        middle = 2 * math.pi * tooth / teeth
        pitch = 2 * math.pi / teeth
        for offset, radius in (
            (-0.29, root), (-0.13, tip), (0.13, tip), (0.29, root),
        ):
            angle = middle + offset * pitch
            outline.append((radius * math.cos(angle), radius * math.sin(angle)))
    rim = root - 1.6 * module

    def circle(radius, points):
        return [
            (radius * math.cos(angle), radius * math.sin(angle))
            for angle in (2 * math.pi * index / points for index in range(points))
        ]

    inner = [scaled(point, rim / math.hypot(*point)) for point in outline]
    parts = [extruded_ring(outline, inner, thickness)]
    hub_radius = hub * pitch_radius
    parts.append(extruded_ring(circle(hub_radius, 24), circle(hub_radius * 0.35, 24), thickness * 1.5))
    for spoke in range(spokes):
        angle = 2 * math.pi * spoke / spokes
        length = rim - hub_radius + 1.2 * module
        bar = rounded_box((length, thickness * 0.7, module * 1.7), thickness * 0.1)
        bar.normals, bar.texcoords = [], []
        middle = hub_radius * 0.9 + length / 2
        rotation = (0, -math.sin(angle / 2), 0, math.cos(angle / 2))
        parts.append(
            bar.moved((middle * math.cos(angle), 0, middle * math.sin(angle)), rotation)
        )
    return joined(parts)


def leaf(length, width, droop, segments=5):
    """A pointed leaf from the origin along +x that bends down; it has one layer, so give it a double-sided
    material."""
    def point(u, v):
        breadth = width * math.sin(math.pi * u ** 0.8) * (v - 0.5)
        fold = 0.3 * abs(breadth)
        position = (length * u * (1 - 0.25 * droop * u), length * (0.35 * u - droop * u * u) + fold, -breadth)
        slope = length * (0.35 - 2 * droop * u)
        return position, normalized((-slope, length, 0)), (u, v)

    return grid(segments, 2, point)


def icosphere(radius, levels):
    """A sphere of nearly equal triangles around the origin, without texture coordinates."""
    golden = (1 + math.sqrt(5)) / 2
    points = [
        normalized(p)
        for p in (
            (-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0),
            (0, -1, golden), (0, 1, golden), (0, -1, -golden), (0, 1, -golden),
            (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1), (-golden, 0, 1),
        )
    ]
    triangles = [
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4),
        (11, 10, 2), (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8),
        (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ]
    for _ in range(levels):
        middles, finer = {}, []

        def middle(a, b):
            key = (min(a, b), max(a, b))
            if key not in middles:
                middles[key] = len(points)
                points.append(normalized(mix(points[a], points[b], 0.5)))
            return middles[key]

        for a, b, c in triangles:
            ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
            finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = finer
    return Shape([scaled(p, radius) for p in points], list(points), triangles=triangles)


def boulder(radius, seed):
    """A ball of 80 triangles with its points pushed in and out, shaded flat."""
    chance = random.Random(seed)
    ball = icosphere(radius, 1)
    pushes = [0.72 + 0.5 * chance.random() for _ in ball.positions]
    return Shape(
        [scaled(p, push) for p, push in zip(ball.positions, pushes)], triangles=ball.triangles
    )


def upright_bars(count, distance, low, high, radius):
    """Thin posts in a circle."""
    bars = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        x, z = distance * math.cos(angle), distance * math.sin(angle)
        bars.append(tube([(x, low, z), (x, high, z)], [radius, radius], 5))
    return bars


def gable(width, depth, rise, overhang=0.0):
    """A roof's prism on y = 0, its ridge along x, shaded flat."""
    w, d = width / 2 + overhang, depth / 2 + overhang
    points = [(-w, 0, d), (w, 0, d), (w, 0, -d), (-w, 0, -d), (-w, rise, 0), (w, rise, 0)]
    sides = [(0, 1, 5), (0, 5, 4), (2, 3, 4), (2, 4, 5), (1, 2, 5), (3, 0, 4), (3, 2, 1), (3, 1, 0)]
    return Shape(points, triangles=sides)
