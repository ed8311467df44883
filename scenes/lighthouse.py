"""A lighthouse on an island in evening sun, seen over a bay: rolling waves, a flag, gulls and a sailing boat.

Writes lighthouse.glb and its sky, lighthouse_sky.hdr, beside this file.
"""

import math
import random
from pathlib import Path

from gltf_writer import GltfWriter, srgb
from motion import (
    add, compose, dot, ease, frame_times, look_at, mix, normalized, rotate, scaled, smooth_keys, turn_x, turn_y, turn_z,
)
from shapes import (
    Shape, boulder, gable, grid, icosphere, joined, lathe, rectangle, rounded_box, sphere, torus, tube, upright_bars,
)
from textures import clamp, hex_color, layered_noise, normal_png, png, smoothstep, write_hdr

FRAMES = 48
LAST_TIME = (FRAMES - 1) / 24
TO_SUN = normalized((-0.80, 0.42, 0.28))
SKY_DEGREES = 45
EYE, TARGET = (-0.6, 5.6, 28.0), (1.2, 5.2, 0.0)
TOWER, COTTAGE, FLAGPOLE = (9.0, -8.0), (1.6, -6.0), (4.0, 17.9)
WAVE_LENGTH, WAVE_PERIOD = 6.5, 2.0
WAVES = ((0.25, 0.085, 0.3), (-0.55, 0.065, 2.1), (1.1, 0.05, 4.0))


def sky_radiance(direction):
    """Evening sky: blue above, warm towards the sun, a broad glow without the disc itself."""
    height = direction[1]
    toward = max(0.0, dot(direction, TO_SUN))
    if height < 0:
        return scaled((0.16, 0.20, 0.25), 1 + 0.5 * toward)
    warm = 0.5 + 0.5 * dot(normalized((direction[0], 0, direction[2] + 1e-9)), normalized((TO_SUN[0], 0, TO_SUN[2])))
    horizon = mix((0.62, 0.62, 0.74), (1.05, 0.76, 0.50), warm)
    middle = mix((0.30, 0.46, 0.74), (0.52, 0.58, 0.70), warm)
    zenith = (0.14, 0.27, 0.56)
    if height < 0.28:
        color = mix(horizon, middle, smoothstep(0, 0.28, height))
    else:
        color = mix(middle, zenith, smoothstep(0.28, 0.95, height))
    glow = 1.3 * toward ** 24 + 0.35 * toward ** 5
    return add(color, scaled((1.0, 0.70, 0.40), glow))


def land_height(x, z):
    """Height of the land above the sea, down to -1.5 where there is none."""
    rough = layered_noise((x + 40) / 80, (z + 40) / 80, 6, 6, 51, 4) - 0.5
    fine = layered_noise((x + 40) / 80, (z + 40) / 80, 24, 24, 61, 2) - 0.5
    island = 1 - ((x - 6.5) / 15) ** 2 - ((z + 8) / 10) ** 2 + 0.9 * rough
    headland = 1 - ((x - 9.5) / 5.0) ** 2 - ((z + 8.5) / 4.5) ** 2 + 0.4 * rough
    bluff = 1 - ((x - 1) / 26) ** 2 - ((z - 27) / 12.5) ** 2 + 0.5 * rough
    islet = 1 - ((x + 27) / 7) ** 2 - ((z + 24) / 5) ** 2 + 0.9 * rough
    height = -1.5 + 4.0 * smoothstep(-0.05, 0.75, island) + 1.8 * smoothstep(-0.2, 0.5, headland)
    height = max(height, -1.5 + 5.4 * smoothstep(-0.1, 0.9, bluff), -1.5 + 3.6 * smoothstep(0, 0.7, islet))
    return height + 0.45 * fine * smoothstep(-1.5, 0.5, height)


def land_color(x, z, height, slope):
    """Sand at the water, grass above, rock where it is steep: linear RGB."""
    sand, grass, meadow, rock = srgb("d8c08c"), srgb("6f8f3c"), srgb("9aa548"), srgb("8b7f74")
    patch = layered_noise((x + 40) / 80, (z + 40) / 80, 16, 16, 71, 3)
    color = mix(grass, meadow, smoothstep(0.35, 0.65, patch))
    color = mix(sand, color, smoothstep(0.35, 0.9, height + 0.6 * (patch - 0.5)))
    color = mix(color, rock, smoothstep(0.75, 1.15, slope))
    return scaled(color, 0.85 + 0.3 * layered_noise((x + 40) / 80, (z + 40) / 80, 50, 50, 81, 1))


def wave_parts(x, z):
    """Two heights and their slopes, a quarter of a period apart: (cosine part, sine part), each (h, dh/dx, dh/dz).
    Turning from one to the other makes every wave travel."""
    calm = 1 - smoothstep(22, 60, math.hypot(x - EYE[0], z - EYE[2]))
    wave_number = 2 * math.pi / WAVE_LENGTH
    parts = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    for angle, amplitude, offset in WAVES:
        kx, kz = wave_number * math.sin(angle), wave_number * math.cos(angle)
        phase = kx * x + kz * z + offset
        for part, height, slope in (
            (parts[0], math.cos(phase), -math.sin(phase)),
            (parts[1], math.sin(phase), math.cos(phase)),
        ):
            part[0] += calm * amplitude * height
            part[1] += calm * amplitude * slope * kx
            part[2] += calm * amplitude * slope * kz
    return parts


class Lighthouse:
    """Builds the scene part by part."""

    def __init__(self):
        environment = {
            "map": "lighthouse_sky.hdr", "strength": 1.0, "rotation_degrees": SKY_DEGREES,
        }
        self.gltf = GltfWriter("lighthouse", 24, environment)
        self.random = random.Random(7)
        gltf = self.gltf
        self.vertex_colored = gltf.material("land", (1, 1, 1), roughness=0.95)
        self.foliage = gltf.material("foliage", (1, 1, 1), roughness=0.8, double_sided=True)
        self.white = gltf.material("whitewash", srgb("f3eee4"), roughness=0.7)
        self.red = gltf.material("red paint", srgb("b8382d"), roughness=0.45)
        self.tiles = gltf.material("roof tiles", srgb("a9553a"), roughness=0.75)
        self.timber = gltf.material("timber", srgb("7a5636"), roughness=0.7)
        self.iron = gltf.material("iron", srgb("3a3d42"), metallic=0.7, roughness=0.4)
        self.stone = gltf.material("stone", srgb("8d857b"), roughness=0.85)
        self.lit = gltf.material(
            "lit panes", (0.1, 0.1, 0.1), roughness=0.6, emissive=(1.0, 0.72, 0.36), emissive_strength=2.0
        )

    def place(self, name, shape, material, translation=None, rotation=None, parent=None):
        """A node with a mesh of one part."""
        mesh = self.gltf.mesh(name, [(shape, material)])
        return self.gltf.node(name, parent, translation, rotation, mesh=mesh)

    def light(self):
        """The sun as a directional light; the sky map has only its glow."""
        sun = self.gltf.light("sun", "directional", (1.0, 0.80, 0.56), 3.2)
        self.gltf.node("sun", None, rotation=look_at(TO_SUN, (0, 0, 0)), light=sun)

    def land(self):
        """Island, islet and the near bluff as one flat-shaded sheet with coloured vertices."""
        step, columns, rows = 0.8, 88, 80
        left, back = -38.0, -31.0
        shape, index = Shape(), {}

        def corner(column, row):
            key = (column, row)
            if key not in index:
                shift = 0.45 * step
                x = left + column * step + shift * (self.random.random() - 0.5)
                z = back + row * step + shift * (self.random.random() - 0.5)
                height = land_height(x, z)
                slope = math.hypot(
                    land_height(x + 0.4, z) - land_height(x - 0.4, z),
                    land_height(x, z + 0.4) - land_height(x, z - 0.4),
                ) / 0.8
                index[key] = len(shape.positions)
                shape.positions.append((x, height, z))
                color = land_color(x, z, height, slope)
                shape.colors.append(tuple(round(255 * clamp(value)) for value in color))
            return index[key]

        for row in range(rows):
            for column in range(columns):
                middle = land_height(left + (column + 0.5) * step, back + (row + 0.5) * step)
                if middle < -1.0:
                    continue
                a, b = corner(column, row), corner(column, row + 1)
                c, d = corner(column + 1, row + 1), corner(column + 1, row)
                shape.triangles += [(a, b, c), (a, c, d)]
        self.place("land", shape, self.vertex_colored)

    def sea(self):
        """Water that two morph targets move; a normal map adds ripples."""

        def ripple(x, y):
            return layered_noise(x / 128, y / 128, 7, 9, 91, 3)

        ripples = self.gltf.texture("ripples", normal_png(128, 128, ripple, 3.0))
        water = self.gltf.material(
            "water", srgb("1f5560"), roughness=0.3,
            normal_texture=self.gltf.texture_use(ripples, strength=0.45),
        )

        def point(u, v):
            away = 8 + 60 * v if v < 0.7 else 50 * 40 ** ((v - 0.7) / 0.3)
            x, z = EYE[0] + (2 * u - 1) * (0.85 * away + 6), EYE[2] - away
            return (x, 0, z), (0, 1, 0), (x / 5, z / 5)

        sheet = grid(42, 44, point)
        targets = [{"POSITION": [], "NORMAL": []} for _ in range(2)]
        for x, _, z in sheet.positions:
            for target, (height, slope_x, slope_z) in zip(targets, wave_parts(x, z)):
                target["POSITION"].append((0, height, 0))
                target["NORMAL"].append((-slope_x, 0, -slope_z))
        mesh = self.gltf.mesh("sea", [(sheet, water)], targets)
        node = self.gltf.node("sea", mesh=mesh)
        times = frame_times(FRAMES, 6)

        def weights(time):
            phase = 2 * math.pi * time / WAVE_PERIOD
            return (math.cos(phase), math.sin(phase))

        self.gltf.animate(node, "weights", times, smooth_keys(times, weights), "CUBICSPLINE")

    def tower(self):
        """The lighthouse: a banded tower, a gallery and a glowing lantern."""
        x, z = TOWER
        ground = land_height(x, z)
        tower = self.gltf.node("lighthouse", None, (x, ground - 0.3, z))
        footing = lathe([(2.3, 0), (2.2, 0.7), (1.75, 0.75)], 24)
        self.place("footing", footing, self.stone, parent=tower)
        bands, radius_at = 5, lambda y: 1.55 - 0.075 * y
        for color, name in ((self.white, "white bands"), (self.red, "red bands")):
            first = 0 if color is self.white else 1
            parts = []
            for band in range(first, bands, 2):
                low, high = 0.7 + 1.9 * band, 0.7 + 1.9 * (band + 1)
                parts.append(lathe([(radius_at(low), low), (radius_at(high), high)], 32))
            self.place(name, joined(parts), color, parent=tower)
        top = 0.7 + 1.9 * bands
        gallery = lathe(
            [(0.8, top - 0.35), (1.35, top), (1.38, top + 0.12), (1.30, top + 0.14), (0.0, top + 0.14)], 32
        )
        self.place("gallery", gallery, self.white, parent=tower)
        posts = upright_bars(14, 1.25, top + 0.1, top + 0.75, 0.025)
        rails = [torus(1.25, 0.025, 28, 4).moved((0, top + y, 0)) for y in (0.43, 0.75)]
        self.place("railing", joined(posts + rails), self.iron, parent=tower)
        lantern = lathe([(0.62, top + 0.4), (0.62, top + 1.5)], 20)
        self.place("lantern", lantern, self.lit, parent=tower)
        wall = lathe([(0.70, top + 0.12), (0.70, top + 0.42), (0.6, top + 0.45)], 24)
        self.place("lantern wall", wall, self.red, parent=tower)
        bars = upright_bars(8, 0.65, top + 0.4, top + 1.52, 0.03)
        self.place("lantern bars", joined(bars), self.iron, parent=tower)
        roof = [(0, 1.48), (0.92, 1.48), (0.92, 1.55), (0.45, 2.05), (0.12, 2.3), (0, 2.32)]
        self.place("roof", lathe(roof, 24), self.red, (0, top, 0), parent=tower)
        self.place("ball", sphere(0.13, 14, 8), self.iron, (0, top + 2.42, 0), parent=tower)
        pane = self.gltf.mesh("tower window", [(rounded_box((0.34, 0.62, 0.12), 0.03), self.iron)])
        for y, angle in ((3.2, -0.25), (5.3, 0.35), (7.4, -0.2)):
            r = radius_at(y)
            place = (r * math.sin(angle), y, r * math.cos(angle))
            self.gltf.node("tower window", tower, place, turn_y(angle), mesh=pane)
        door = rounded_box((0.85, 1.6, 0.3), 0.04).moved((0, 1.5, radius_at(1.5)))
        self.place("tower door", door, self.timber, rotation=turn_y(-0.35), parent=tower)

    def cottage(self):
        """The keeper's house."""
        x, z = COTTAGE
        house = self.gltf.node("cottage", None, (x, land_height(x, z) - 0.25, z), turn_y(0.30))
        self.place("walls", rounded_box((4.2, 2.4, 2.8), 0.03).moved((0, 1.1, 0)), self.white, parent=house)
        walls = gable(4.14, 2.74, 1.3)
        self.place("gables", walls, self.white, (0, 2.28, 0), parent=house)
        roof = gable(4.2, 2.8, 1.52, 0.28)
        self.place("roof", roof, self.tiles, (0, 2.22, 0), parent=house)
        chimney = rounded_box((0.45, 1.1, 0.45), 0.03).moved((1.2, 3.7, -0.35))
        self.place("chimney", chimney, self.stone, parent=house)
        window = self.gltf.mesh(
            "window",
            [
                (rounded_box((0.62, 0.8, 0.08), 0.02), self.timber),
                (rounded_box((0.48, 0.66, 0.09), 0.02), self.lit),
            ],
        )
        for offset in (-1.3, 1.3):
            self.gltf.node("window", house, (offset, 1.35, 1.40), mesh=window)
        door = rounded_box((0.8, 1.6, 0.1), 0.02).moved((0, 0.95, 1.41))
        self.place("door", door, self.red, parent=house)

    def trees(self):
        """Conifers and round trees from four shared meshes."""
        meshes = []
        for variant, codes in enumerate((("2f5a33", "5a4030"), ("3f6d36", "5a4030"))):
            needles = srgb(codes[0])
            parts = [tube([(0, -0.3, 0), (0, 0.9, 0)], [0.13, 0.10], 6).colored(srgb(codes[1]))]
            for level in range(4):
                low, radius = 0.6 + 0.62 * level, 0.95 - 0.2 * level
                cone = lathe([(0, low + 0.06), (radius, low), (0, low + 1.15 - 0.08 * level)], 9)
                turned = cone.moved(rotation=turn_y(0.7 * level + variant))
                parts.append(turned.colored(scaled(needles, 0.85 + 0.12 * level)))
            meshes.append(self.flat_mesh("conifer", parts))
        for code, seed in (("7f9a3d", 3), ("b08a35", 5)):
            parts = [tube([(0, -0.3, 0), (0, 1.2, 0)], [0.12, 0.08], 6).colored(srgb("5f4630"))]
            for place, size in (((0, 1.75, 0), 0.85), ((0.5, 1.45, 0.2), 0.55), ((-0.4, 1.5, -0.25), 0.6)):
                crown = boulder(size, seed).moved(place, scale=1.05)
                parts.append(crown.colored(srgb(code)))
            meshes.append(self.flat_mesh("round tree", parts))
        planted = 0
        while planted < 150:
            x, z = -32 + 54 * self.random.random(), -28 + 26 * self.random.random()
            height = land_height(x, z)
            wood = layered_noise((x + 40) / 80, (z + 40) / 80, 10, 10, 33, 2)
            near_tower = math.hypot(x - TOWER[0], z - TOWER[1]) < 3.6
            near_cottage = math.hypot(x - COTTAGE[0], z - COTTAGE[1]) < 3.4
            before_cottage = abs(x - COTTAGE[0]) < 2.6 and z > COTTAGE[1]
            if height < 0.9 or wood < 0.42 or near_tower or near_cottage or before_cottage:
                continue
            # Conifers in the thick of the wood, every kind at its edge.
            kind = int(self.random.random() * (2 if wood > 0.5 else 4))
            size = 0.75 + 0.55 * self.random.random()
            self.gltf.node(
                "tree", None, (x, height, z), turn_y(6.28 * self.random.random()),
                (size, size * (0.9 + 0.3 * self.random.random()), size), meshes[kind],
            )
            planted += 1

    def flat_mesh(self, name, parts):
        """A flat-shaded mesh of coloured parts; seams of lathes are welded to keep it small."""
        welded, corners = Shape(), {}
        for part in parts:
            numbers = []
            for position, color in zip(part.positions, part.colors):
                key = (tuple(round(value, 5) for value in position), color)
                if key not in corners:
                    corners[key] = len(welded.positions)
                    welded.positions.append(position)
                    welded.colors.append(color)
                numbers.append(corners[key])
            welded.triangles += [tuple(numbers[corner] for corner in t) for t in part.triangles]
        return self.gltf.mesh(name, [(welded, self.foliage)])

    def rocks(self):
        """Boulders along the shores."""
        meshes = [
            self.gltf.mesh("rock", [(boulder(0.6, seed), self.stone)]) for seed in (1, 2, 3)
        ]
        laid = 0
        while laid < 110:
            x, z = -34 + 58 * self.random.random(), -20 + 40 * self.random.random()
            if not -0.5 < land_height(x, z) < 0.45:
                continue
            size = 0.4 + 1.1 * self.random.random() ** 2
            stretch = (size * (0.8 + 0.5 * self.random.random()), size * 0.8, size)
            place = (x, land_height(x, z) * 0.6, z)
            turned = turn_y(6.28 * self.random.random())
            self.gltf.node("rock", None, place, turned, stretch, meshes[laid % 3])
            laid += 1

    def meadow(self):
        """Grass and flowers on the near bluff: two grass and three flower meshes, shared by many nodes."""
        grass = [self.gltf.mesh("grass", [(self.blades(70), self.foliage)]) for _ in range(2)]
        flowers = [
            self.gltf.mesh("flowers", [(self.blossoms(9, code), self.foliage)])
            for code in ("e8506a", "f4ece0", "f0b429")
        ]
        for index in range(330):
            z = 12.5 + 11.5 * self.random.random()
            x = EYE[0] + (2 * self.random.random() - 1) * (1.0 + 0.62 * (EYE[2] - z))
            if land_height(x, z) < 0.9:
                continue
            mesh = flowers[index // 3 % 3] if index % 3 == 0 else grass[index % 2]
            size = 0.8 + 0.5 * self.random.random()
            turned = turn_y(6.28 * self.random.random())
            self.gltf.node("tuft", None, (x, land_height(x, z) - 0.03, z), turned, size, mesh)

    def blades(self, count):
        """A patch of grass blades, one and a half metres across."""
        shape = Shape()
        for _ in range(count):
            away, around = 0.75 * math.sqrt(self.random.random()), 6.28 * self.random.random()
            x, z = away * math.cos(around), away * math.sin(around)
            tall, lean = 0.22 + 0.25 * self.random.random(), 6.28 * self.random.random()
            wide = 0.012
            first = len(shape.positions)
            bend = (0.35 * tall * math.cos(lean), 0.35 * tall * math.sin(lean))
            across = (-wide * math.sin(lean), wide * math.cos(lean))
            shape.positions += [
                (x - across[0], -0.1, z - across[1]), (x + across[0], -0.1, z + across[1]),
                (x + 0.25 * bend[0] + across[0], 0.6 * tall, z + 0.25 * bend[1] + across[1]),
                (x + bend[0], tall, z + bend[1]),
            ]
            tone = mix(srgb("5f8a34"), srgb("b0b24e"), self.random.random())
            dark = tuple(round(150 * value) for value in tone)
            light = tuple(round(255 * value) for value in tone)
            shape.colors += [dark, dark, light, light]
            shape.triangles += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
        return shape

    def blossoms(self, count, code):
        """A patch of five-petalled flowers on stems."""
        shape = Shape()
        petal, stem, heart = srgb(code), srgb("55793a"), srgb("e9c23c")
        for _ in range(count):
            away, around = 0.6 * math.sqrt(self.random.random()), 6.28 * self.random.random()
            x, z = away * math.cos(around), away * math.sin(around)
            tall, size = 0.28 + 0.22 * self.random.random(), 0.06 + 0.03 * self.random.random()
            turned = compose(turn_y(6.28 * self.random.random()), turn_x(0.55 + 0.3 * self.random.random()))
            head = (x, tall, z)
            first = len(shape.positions)
            shape.positions += [(x - 0.008, -0.1, z), (x + 0.008, -0.1, z), head]
            shape.colors += [tuple(round(255 * value) for value in stem)] * 3
            shape.triangles.append((first, first + 1, first + 2))
            first = len(shape.positions)
            shape.positions.append(add(head, (0, 0.004, 0)))
            shape.colors.append(tuple(round(255 * value) for value in heart))
            for index in range(10):
                radius = size if index % 2 == 0 else 0.45 * size
                angle = 2 * math.pi * index / 10
                rim = (radius * math.cos(angle), 0.25 * radius, -radius * math.sin(angle))
                shape.positions.append(add(head, rotate(turned, rim)))
                shape.colors.append(tuple(round(255 * value) for value in petal))
                shape.triangles.append((first, first + 1 + index, first + 1 + (index + 1) % 10))
        return shape

    def flag(self):
        """A flag on a pole: a sheet with a skin of eight joints in a row, each swinging after the one before."""
        x, z = FLAGPOLE
        ground = land_height(x, z)
        pole = self.gltf.node("flagpole", None, (x, ground, z))
        self.place("pole", tube([(0, -0.5, 0), (0, 4.6, 0)], [0.05, 0.035], 12), self.white, parent=pole)
        gilding = self.gltf.material("gilding", srgb("f0c45e"), metallic=1, roughness=0.35)
        self.place("knob", sphere(0.08, 16, 10), gilding, (0, 4.65, 0), parent=pole)
        length, tall, count = 1.8, 1.1, 8
        joint_step = length / count
        texture = self.gltf.texture("flag", png(96, 64, self.flag_pixel))
        cloth = self.gltf.material(
            "flag", (1, 1, 1), roughness=0.8, double_sided=True, color_texture=self.gltf.texture_use(texture)
        )
        sheet = rectangle(length, tall, columns=24, rows=6).moved((length / 2, 0, 0))
        for position in sheet.positions:
            along = min(position[0] / joint_step, count - 1 - 1e-9)
            lower = int(along)
            upper_weight = round(255 * (along - lower))
            influences = [(lower, 255 - upper_weight), (lower + 1, upper_weight)]
            # A joint of weight zero must be joint 0.
            influences = [pair if pair[1] else (0, 0) for pair in influences] + [(0, 0)] * 2
            sheet.joints.append(tuple(joint for joint, _ in influences))
            sheet.weights.append(tuple(weight for _, weight in influences))
        root = self.gltf.node("flag", pole, (0.05, 3.85, 0), turn_y(0.25))
        joints, parent = [], root
        for index in range(count):
            offset = (joint_step if index else 0.0, 0, 0)
            parent = self.gltf.node(f"flag joint {index}", parent, offset)
            joints.append(parent)
        inverse = [
            (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, -index * joint_step, 0, 0, 1) for index in range(count)
        ]
        mesh = self.gltf.mesh("flag", [(sheet, cloth)])
        # A skinned mesh ignores its own node's place, so the node stands at the top of the scene.
        self.gltf.node("flag cloth", mesh=mesh, skin=self.gltf.skin("flag", joints, inverse))
        times = frame_times(FRAMES, 3)
        for index, joint in enumerate(joints):
            swing = [
                compose(
                    turn_y((0.10 + 0.045 * index) * math.sin(2 * math.pi * time - 0.85 * index)),
                    turn_z(-0.02 - 0.02 * math.sin(math.pi * time - 0.4 * index)),
                )
                for time in times
            ]
            self.gltf.animate(joint, "rotation", times, swing)

    @staticmethod
    def flag_pixel(x, y):
        """A white tower with a beam on blue."""
        u, v = x / 96 * 1.5, y / 64
        if abs(u - 0.5) < 0.11 - 0.05 * (1 - v) and 0.28 < v < 0.86:
            return hex_color("c5402f") if 0.42 < v < 0.54 or 0.66 < v < 0.78 else hex_color("f6f1e6")
        if abs(u - 0.5) < 0.09 and 0.16 < v < 0.28:
            return hex_color("f4c043")
        if u > 0.6 and abs(v - 0.22) < 0.10 * (u - 0.45):
            return hex_color("f4c043")
        return hex_color("1f4e79") if v < 0.80 + 0.03 * math.sin(u * 21) else hex_color("f6f1e6")

    def boat(self):
        """A sailing boat that crosses the bay and rolls."""

        def hull(u, v):
            along = 2 * u - 1
            half = 0.62 * (1 - abs(along) ** 2.6) * (1 if along > 0 else 0.75 + 0.25 * (1 + along))
            angle = math.pi * (v - 0.5)
            depth = 0.55 - 0.18 * along * along
            rise = 0.22 * along * along
            return (1.9 * along, rise - depth * math.cos(angle), half * math.sin(angle)), (0, 1, 0), (u, v)

        sheet = grid(14, 8, hull)
        sheet.normals, sheet.texcoords = [], []
        paint = self.gltf.material("blue hull", srgb("24507a"), roughness=0.4, double_sided=True)
        canvas = self.gltf.material("sailcloth", srgb("f5ead2"), roughness=0.9, double_sided=True)
        boat = self.gltf.node("boat", None, (-9.5, 0.2, -2.5))
        roll = self.gltf.node("boat roll", boat)
        self.place("hull", sheet, paint, parent=roll)
        deck = lathe([(0.55, 0.06), (0, 0.06)], 24).moved(scale=(2.8, 1, 0.9))
        self.place("deck", deck, self.timber, parent=roll)
        self.place("mast", tube([(0.25, 0, 0), (0.25, 4.3, 0)], [0.045, 0.03], 8), self.timber, parent=roll)
        self.place("boom", tube([(0.25, 0.65, 0), (-1.75, 0.6, 0.3)], [0.03, 0.025], 8), self.timber, parent=roll)

        def sail(foot, head, tack, belly):
            def point(u, v):
                low = mix(tack, foot, u)
                position = mix(low, head, v)
                bulge = belly * math.sin(math.pi * u) * math.sin(math.pi * min(1, v + 0.15)) * (1 - v)
                return add(position, (0, 0, bulge)), (0, 0, 1), (u, v)

            cloth = grid(8, 8, point)
            cloth.normals, cloth.texcoords = [], []
            return cloth

        main = sail((-1.7, 0.72, 0.28), (0.2, 4.2, 0), (0.2, 0.75, 0), 0.5)
        jib = sail((0.35, 0.7, 0.3), (0.28, 3.7, 0), (1.85, 0.35, 0), 0.4)
        self.place("main sail", main, canvas, parent=roll)
        self.place("jib", jib, canvas, parent=roll)
        times = frame_times(FRAMES, 6)
        places = [(-9.5 + 0.9 * time, 0.2 + 0.07 * math.sin(math.pi * time), -2.5) for time in times]
        self.gltf.animate(boat, "translation", times, places)

        def rolling(time):
            heel = turn_x(0.10 + 0.07 * math.sin(math.pi * time))
            return compose(heel, turn_z(0.04 * math.cos(math.pi * time)))

        keys = smooth_keys(times, rolling)
        self.gltf.animate(roll, "rotation", times, keys, "CUBICSPLINE")

    def gulls(self):
        """Gulls whose wings one morph target lifts; every gull has its own beat."""
        points = [(0.32, 0, 0), (-0.30, 0.02, 0), (0.05, -0.06, 0)]
        points += [(0.12, 0, 0.30), (-0.10, 0, 0.30), (-0.12, 0, 0.78)]
        points += [(0.12, 0, -0.30), (-0.10, 0, -0.30), (-0.12, 0, -0.78)]
        triangles = [
            (0, 1, 4), (0, 4, 3), (3, 4, 5), (1, 0, 6), (1, 6, 7), (7, 6, 8), (0, 2, 1), (1, 2, 0),
        ]
        lift = [(0, 0, 0)] * 3
        for side in (-1, 1):
            lift += [(0, 0.14, 0.02 * side), (0, 0.14, 0.02 * side), (0, 0.22, 0.12 * side)]
        feathers = self.gltf.material("feathers", srgb("f4f4f2"), roughness=0.8, double_sided=True)
        gull_shape = Shape(points, triangles=triangles)
        mesh = self.gltf.mesh("gull", [(gull_shape, feathers)], [{"POSITION": lift}])
        times = frame_times(FRAMES, 3)
        for index, (x, y, z, heading) in enumerate(
            (
                (-3.0, 9.2, 4.0, 0.3), (-4.6, 8.4, 3.0, 0.1), (-1.6, 10.3, 0.0, 0.5),
                (4.2, 11.5, -2.0, 2.6), (12.2, 10.2, 2.0, 2.9),
            )
        ):
            gull = self.gltf.node(f"gull {index}", None, (x, y, z), turn_y(heading), 1.15, mesh)
            way = (1.6 * math.cos(heading), 0.15, -1.6 * math.sin(heading))
            places = [(x, y, z), add((x, y, z), scaled(way, LAST_TIME))]
            self.gltf.animate(gull, "translation", [0, LAST_TIME], places)
            beat = [(0.45 + 0.75 * math.sin(2 * math.pi * (1.5 * time + 0.23 * index)),) for time in times]
            self.gltf.animate(gull, "weights", times, beat)

    def clouds(self):
        """Heaps of white puffs that drift; two meshes."""
        vapour = self.gltf.material("cloud", (0.92, 0.92, 0.93), roughness=1)
        meshes = []
        for _ in range(2):
            puffs = []
            for index in range(7):
                offset = (index - 3) * 2.6 + self.random.random()
                size = 2.2 + 2.0 * self.random.random() - 0.25 * abs(index - 3)
                place = (offset, size * 0.45, 2.5 * (self.random.random() - 0.5))
                puffs.append(icosphere(size, 2).moved(place, scale=(1.15, 0.72, 1)))
            meshes.append(self.gltf.mesh("cloud", [(joined(puffs), vapour)]))
        for index, (x, y, z, size) in enumerate(
            (
                (-52, 34, -95, 1.5), (-12, 43, -130, 1.7), (34, 30, -120, 1.4),
                (66, 46, -120, 1.6), (-95, 26, -160, 1.6), (10, 24, -190, 1.5),
            )
        ):
            cloud = self.gltf.node("cloud", None, (x, y, z), turn_y(0.4 * index), size, meshes[index % 2])
            self.gltf.animate(cloud, "translation", [0, LAST_TIME], [(x, y, z), (x + 1.2, y, z)])

    def view(self):
        """A camera that rises slowly over the meadow."""
        node = self.gltf.node(
            "view", None, EYE, look_at(EYE, TARGET), camera=self.gltf.camera("view", 0.64, 0.1, 4000.0)
        )
        times = frame_times(FRAMES, 6)
        eyes = [mix(EYE, add(EYE, (0.9, 0.35, -0.5)), ease(time / times[-1])) for time in times]
        self.gltf.animate(node, "translation", times, eyes)
        self.gltf.animate(node, "rotation", times, [look_at(eye, TARGET) for eye in eyes])


def main():
    """Build the island and write it with its sky."""
    scene = Lighthouse()
    scene.view()
    scene.light()
    scene.land()
    scene.sea()
    scene.tower()
    scene.cottage()
    scene.trees()
    scene.rocks()
    scene.meadow()
    scene.flag()
    scene.boat()
    scene.gulls()
    scene.clouds()
    here = Path(__file__)
    scene.gltf.save(here.with_suffix(".glb"))
    turned = turn_y(math.radians(SKY_DEGREES))
    sky = here.with_name("lighthouse_sky.hdr")
    write_hdr(sky, 256, 128, lambda direction: sky_radiance(rotate(turned, direction)))


if __name__ == "__main__":
    main()
