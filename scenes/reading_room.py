"""A reading room in the afternoon: daylight from a large window, and a copper lamp that swings over a table.

Writes reading_room.glb beside this file.
"""

import math
import random
from pathlib import Path

from gltf_writer import GltfWriter, srgb
from motion import add, ease, frame_times, look_at, mix, smooth_keys, turn_x, turn_y, turn_z, compose
from shapes import cylinder, joined, lathe, leaf, rectangle, rounded_box, sphere, torus, tube
from textures import blend, hex_color, layered_noise, palette_png, png, smoothstep

FRAMES = 48
WIDTH, HEIGHT, BACK = 3.0, 2.8, -2.4
WINDOW_BOTTOM, WINDOW_TOP, WINDOW_BACK, WINDOW_FRONT = 0.72, 2.42, -1.75, 1.25
TABLE_TOP = 0.74
BOOK_COLORS = ("7d3b34", "2f5d62", "c08a3e", "394b6b", "8c9a6b", "d9cbb0", "a5583f", "54445f")


def boards_shade(x, y):
    """Brightness of the floor's four boards at a pixel of a 256 x 256 tile."""
    board = y // 64
    u = (x / 256 + 0.37 * board) % 1
    grain = layered_noise(u, y / 256, 3, 48, 11 + board, 3)
    rings = 0.5 + 0.5 * math.sin(40 * layered_noise(u, y / 256, 2, 6, 71, 2))
    tone = (0.46, 0.62, 0.38, 0.55)[board]
    gap = min(y % 64, 63 - y % 64, (x + 95 * board) % 256)
    return (tone + 0.45 * (grain - 0.5) + 0.10 * (rings - 0.5)) * smoothstep(-1.5, 1.5, gap)


def walnut_shade(x, y):
    """Brightness of figured wood at a pixel of a 128 x 128 tile."""
    grain = layered_noise(x / 128, y / 128, 2, 24, 5, 3)
    rings = 0.5 + 0.5 * math.sin(34 * layered_noise(x / 128, y / 128, 1, 3, 9, 2))
    return 0.25 + 0.4 * grain + 0.3 * rings


def painting_pixel(x, y):
    """A dusk landscape of flat hills under a low sun, 96 x 128 pixels."""
    u, v = x / 96, y / 128
    color = blend([hex_color(c) for c in ("27425e", "6f7f94", "e0a679", "f0cf9a")], v / 0.62)
    if math.hypot((u - 0.62) * 0.75, v - 0.40) < 0.10:
        color = hex_color("f6ead0")
    for level, height, code in ((0.52, 0.10, "a5654f"), (0.64, 0.14, "6d4650"), (0.78, 0.12, "2e3547")):
        if v > level + height * (layered_noise(u, level, 3, 2, int(level * 100), 3) - 0.5):
            color = hex_color(code)
    return color


def rug_pixel(x, y):
    """Woven rings and lozenges: x goes around the rug, y from its middle to its edge, 128 x 64 pixels."""
    v = y / 64
    cream, rust, teal = hex_color("e6dcc6"), hex_color("b4583c"), hex_color("2c5a5e")
    color = cream
    if v > 0.93 or 0.66 < v < 0.70:
        color = rust
    elif v > 0.70:
        color = teal if abs((x % 16) - 8) / 8 + abs(v - 0.815) / 0.115 < 0.95 else cream
    elif v < 0.22:
        color = rust
    thread = 0.90 + 0.10 * ((x + y) % 2)
    return [channel * thread for channel in color]


class ReadingRoom:
    """Builds the room part by part."""

    def __init__(self):
        self.gltf = GltfWriter("reading_room", 24)
        self.random = random.Random(4)
        self.materials()

    def materials(self):
        """The materials that several parts share."""
        gltf = self.gltf
        browns = [blend([hex_color(c) for c in ("3b2415", "9a6a3f", "d3a873")], i / 31) for i in range(32)]
        boards = gltf.texture("boards", palette_png(256, 256, browns, boards_shade))
        # Green is roughness: the gaps between boards are dull.
        sheen = [(0.0, 0.30 + 0.5 * (1 - i / 7), 0.0) for i in range(8)]
        gloss_png = palette_png(256, 256, sheen, lambda x, y: min(1, 1.5 * boards_shade(x, y)))
        dullness = gltf.texture("board gloss", gloss_png)
        scale = (0.75, 1.25)
        self.floor = gltf.material(
            "oak floor", (1, 1, 1), roughness=1.0,
            color_texture=gltf.texture_use(boards, scale),
            roughness_texture=gltf.texture_use(dullness, scale),
        )
        darks = [blend([hex_color(c) for c in ("40210f", "8a5430", "b07c4c")], i / 31) for i in range(32)]
        walnut = gltf.texture("walnut", palette_png(128, 128, darks, walnut_shade))
        self.walnut = gltf.material(
            "walnut", (1, 1, 1), roughness=0.28, color_texture=gltf.texture_use(walnut, (1.2, 1.2))
        )
        self.plaster = gltf.material("plaster", srgb("e9e2d6"), roughness=0.9)
        self.accent = gltf.material("painted wall", srgb("5f8a86"), roughness=0.75)
        self.white = gltf.material("white lacquer", srgb("efebe3"), roughness=0.35)
        self.brass = gltf.material("brass", srgb("e3bd6c"), metallic=1, roughness=0.25)
        self.copper = gltf.material("brushed copper", srgb("e2936b"), metallic=1, roughness=0.38)
        self.iron = gltf.material("blackened iron", srgb("35332f"), metallic=0.6, roughness=0.5)
        self.mustard = gltf.material("mustard wool", srgb("d39a2f"), roughness=1.0)
        self.green = gltf.material("leaves", srgb("6a9a50"), roughness=0.45, double_sided=True)
        self.clay = gltf.material("terracotta", srgb("c4714d"), roughness=0.8)
        self.glaze = gltf.material("petrol glaze", srgb("1f6a75"), roughness=0.08)
        self.orange = gltf.material("orange peel", srgb("ee8a1d"), roughness=0.42)
        self.books = [gltf.material(f"cloth {code}", srgb(code), roughness=0.7) for code in BOOK_COLORS]
        self.paper = gltf.material("paper", srgb("f2ead8"), roughness=0.9)

    def place(self, name, shape, material, translation=None, rotation=None, parent=None):
        """A node with a mesh of one part."""
        mesh = self.gltf.mesh(name, [(shape, material)])
        return self.gltf.node(name, parent, translation, rotation, mesh=mesh)

    def shell(self):
        """Floor, walls, ceiling, the window that lights the room, and skirting boards."""
        floor = rectangle(2 * WIDTH, 6.4, (2 * WIDTH, 6.4))
        self.place("floor", floor, self.floor, (0, 0, BACK + 3.2), turn_x(-math.pi / 2))
        ceiling = rectangle(2 * WIDTH, 4.8)
        self.place("ceiling", ceiling, self.plaster, (0, HEIGHT, BACK + 2.4), turn_x(math.pi / 2))
        self.place("back wall", rectangle(2 * WIDTH, HEIGHT), self.accent, (0, HEIGHT / 2, BACK))
        right = rectangle(4.8, HEIGHT)
        self.place("right wall", right, self.plaster, (WIDTH, HEIGHT / 2, BACK + 2.4), turn_y(-math.pi / 2))
        front = BACK + 4.8
        pieces = []
        for bottom, top, behind, before in (
            (0, WINDOW_BOTTOM, BACK, front),
            (WINDOW_TOP, HEIGHT, BACK, front),
            (WINDOW_BOTTOM, WINDOW_TOP, BACK, WINDOW_BACK),
            (WINDOW_BOTTOM, WINDOW_TOP, WINDOW_FRONT, front),
        ):
            size = (0.2, top - bottom, before - behind)
            pieces.append(
                rounded_box(size, 0.004).moved((-WIDTH - 0.1, (top + bottom) / 2, (behind + before) / 2))
            )
        self.place("left wall", joined(pieces), self.plaster)
        skirting = [
            rounded_box((2 * WIDTH, 0.1, 0.025), 0.006).moved((0, 0.05, BACK + 0.012)),
            rounded_box((0.025, 0.1, 4.8), 0.006).moved((WIDTH - 0.012, 0.05, BACK + 2.4)),
            rounded_box((0.025, 0.1, 4.8), 0.006).moved((0.012 - WIDTH, 0.05, BACK + 2.4)),
        ]
        self.place("skirting", joined(skirting), self.white)
        self.window()

    def window(self):
        """Frame, bars and sill, and the bright sky behind them as an area light."""
        middle_y, middle_z = (WINDOW_BOTTOM + WINDOW_TOP) / 2, (WINDOW_BACK + WINDOW_FRONT) / 2
        tall, wide = WINDOW_TOP - WINDOW_BOTTOM, WINDOW_FRONT - WINDOW_BACK
        plane = -WIDTH - 0.03
        bars = [
            rounded_box((0.09, 0.03, wide + 0.16), 0.01).moved((-WIDTH + 0.045, WINDOW_BOTTOM - 0.05, middle_z))
        ]
        for z in (WINDOW_BACK + 0.02, middle_z - wide / 6, middle_z + wide / 6, WINDOW_FRONT - 0.02):
            bars.append(rounded_box((0.03, tall, 0.045), 0.006).moved((plane + 0.02, middle_y, z)))
        for y in (WINDOW_BOTTOM + 0.02, WINDOW_BOTTOM + tall * 0.66, WINDOW_TOP - 0.02):
            bars.append(rounded_box((0.03, 0.045, wide), 0.006).moved((plane + 0.02, y, middle_z)))
        self.place("window frame", joined(bars), self.white)
        sky = self.gltf.material(
            "bright sky", (0, 0, 0), roughness=1, emissive=(0.92, 0.97, 1.0), emissive_strength=10.0
        )
        # Almost flush with the wall: a deep, bright reveal would light the room by chance hits only, as noise.
        self.place("sky light", rectangle(wide, tall), sky, (plane, middle_y, middle_z), turn_y(math.pi / 2))

    def fill(self):
        """The rest of the house behind the camera: a wide, dim area light where the fourth wall would be."""
        glow = self.gltf.material(
            "fill light", (0, 0, 0), roughness=1, emissive=(0.80, 0.88, 1.0), emissive_strength=0.9
        )
        self.place("fill light", rectangle(6.0, 3.4), glow, (0, 1.7, 4.5), turn_y(math.pi))

    def table(self):
        """A round walnut table on a brass foot, over a rug."""
        rug_texture = self.gltf.texture("rug", png(128, 64, rug_pixel))
        rug = self.gltf.material(
            "rug", (1, 1, 1), roughness=1, color_texture=self.gltf.texture_use(rug_texture)
        )
        profile = [(1.38, 0.0), (1.38, 0.012), (0, 0.012)]
        disc = lathe(profile, 64, (2, 1))
        disc.texcoords = [
            (u, math.hypot(p[0], p[2]) / 1.4) for (u, _), p in zip(disc.texcoords, disc.positions)
        ]
        self.place("rug", disc, rug)
        table = self.gltf.node("table")
        top = cylinder(0.66, 0.035, 48, 0.012)
        top.texcoords = [(p[0], p[2]) for p in top.positions]
        self.place("table top", top, self.walnut, (0, TABLE_TOP - 0.035, 0), parent=table)
        foot = [
            (0, 0.012), (0.34, 0.012), (0.34, 0.024), (0.30, 0.032), (0.12, 0.05), (0.055, 0.09), (0.035, 0.18),
            (0.032, 0.5), (0.045, 0.62), (0.12, TABLE_TOP - 0.036),
        ]
        self.place("table foot", lathe(foot, 32), self.brass, parent=table)

    def chairs(self):
        """Two chairs from one mesh."""
        seat = rounded_box((0.46, 0.06, 0.46), 0.028, 2).moved((0, 0.45, 0))
        back = [
            rounded_box((0.46, 0.17, 0.028), 0.013, 2).moved((0, 0.80, -0.235), turn_x(-0.16)),
        ]
        legs = [
            tube([(x * 1.12, 0, z * 1.12), (x, 0.44, z)], [0.013, 0.020])
            for x in (-0.19, 0.19) for z in (-0.19, 0.19)
        ] + [tube([(x, 0.43, -0.2), (x, 0.84, -0.265)], [0.017, 0.012]) for x in (-0.17, 0.17)]
        mesh = self.gltf.mesh(
            "chair", [(seat, self.mustard), (joined(back), self.walnut), (joined(legs), self.walnut)]
        )
        for name, x, z, angle in (("near", -0.98, 0.30, 1.87), ("far", 0.72, -0.78, -0.72)):
            self.gltf.node(f"{name} chair", None, (x, 0, z), turn_y(angle), mesh=mesh)

    def table_setting(self):
        """A vase with twigs, a bowl of oranges, two books and a brass cup."""
        vase = [
            (0, 0), (0.045, 0), (0.075, 0.03), (0.085, 0.08), (0.07, 0.14), (0.035, 0.19),
            (0.028, 0.22), (0.038, 0.245), (0.034, 0.245), (0.022, 0.22), (0.022, 0.12), (0, 0.11),
        ]
        stand = self.gltf.node("vase", None, (-0.06, TABLE_TOP, -0.20))
        self.place("glazed vase", lathe(vase, 32), self.glaze, parent=stand)
        twigs, leaves = [], []
        for twig in range(6):
            angle = 2 * math.pi * twig / 6 + 0.4 * self.random.random()
            lean = 0.12 + 0.10 * self.random.random()
            path = [
                (lean * t * t * math.cos(angle), 0.16 + 0.42 * t, lean * t * t * math.sin(angle))
                for t in (0, 0.25, 0.5, 0.75, 1)
            ]
            twigs.append(tube(path, [0.0035, 0.003, 0.003, 0.0025, 0.0015], 5))
            for step in range(7):
                t = 0.35 + 0.65 * step / 6
                base = mix(path[int(t * 3.999)], path[int(t * 3.999) + 1], t * 3.999 % 1)
                turn = compose(turn_y(angle + 2.4 * step), turn_z(0.35))
                leaves.append(leaf(0.095 + 0.03 * self.random.random(), 0.052, 0.5, 4).moved(base, turn))
        self.place("twigs", joined(twigs), self.iron, parent=stand)
        self.place("twig leaves", joined(leaves), self.green, parent=stand)
        bowl = [
            (0, 0), (0.06, 0), (0.06, 0.012), (0.11, 0.035), (0.145, 0.075), (0.152, 0.095), (0.147, 0.096),
            (0.10, 0.045), (0, 0.022),
        ]
        self.place("bowl", lathe(bowl, 36), self.white, (0.27, TABLE_TOP, 0.13))
        fruit = self.gltf.mesh("orange", [(sphere(0.041, 20, 12), self.orange)])
        for index, (x, y, z) in enumerate(
            ((-0.05, 0.072, 0.02), (0.045, 0.072, 0.045), (0.01, 0.070, -0.055), (0.005, 0.132, 0.012))
        ):
            self.gltf.node(f"orange {index}", None, (0.27 + x, TABLE_TOP + y, 0.13 + z), mesh=fruit)
        self.flat_book((-0.30, TABLE_TOP, 0.22), 0.5, 0)
        self.flat_book((-0.30, TABLE_TOP + 0.035, 0.22), 0.25, 2, 0.88)
        cup = [(0, 0), (0.03, 0), (0.038, 0.07), (0.035, 0.07), (0.028, 0.006), (0, 0.006)]
        self.place("cup", lathe(cup, 32), self.brass, (0.03, TABLE_TOP, 0.36))

    def flat_book(self, place, angle, color, size=1.0):
        """A closed book that lies down."""
        cover = joined(
            [
                rounded_box((0.17, 0.004, 0.23), 0.0015).moved((0, 0.002, 0)),
                rounded_box((0.17, 0.004, 0.23), 0.0015).moved((0, 0.032, 0)),
                rounded_box((0.005, 0.034, 0.23), 0.002).moved((-0.083, 0.017, 0)),
            ]
        )
        pages = rounded_box((0.16, 0.027, 0.22), 0.001).moved((0, 0.017, 0))
        mesh = self.gltf.mesh("book", [(cover, self.books[color]), (pages, self.paper)])
        self.gltf.node("lying book", None, place, turn_y(angle), (size, 1, size), mesh=mesh)

    def sideboard(self):
        """A low cupboard at the back wall with a globe, books and a tray."""
        x, z = -0.75, BACK + 0.26
        board = self.gltf.node("sideboard", None, (x, 0, z))
        body = rounded_box((2.0, 0.5, 0.42), 0.012, 2).moved((0, 0.42, 0))
        self.place("body", body, self.walnut, parent=board)
        door = self.gltf.mesh("door", [(rounded_box((0.62, 0.42, 0.02), 0.006), self.white)])
        knob = self.gltf.mesh("knob", [(sphere(0.016, 16, 10), self.brass)])
        for index in range(3):
            offset = (index - 1) * 0.65
            self.gltf.node("door", board, (offset, 0.42, 0.215), mesh=door)
            self.gltf.node("knob", board, (offset + 0.25, 0.48, 0.238), mesh=knob)
        legs = [
            tube([(sx * 0.93, 0, sz * 0.17), (sx * 0.86, 0.18, sz * 0.14)], [0.012, 0.022])
            for sx in (-1, 1) for sz in (-1, 1)
        ]
        self.place("legs", joined(legs), self.brass, parent=board)
        self.book_row((x - 0.9, 0.67, z), 11)
        ball = self.place("globe", sphere(0.15, 30, 18), self.copper, (x + 0.15, 0.89, z))
        ring = self.place("ring", torus(0.172, 0.006, 40, 5), self.iron, (0, 0, 0), turn_x(1.2), ball)
        self.place("stem", cylinder(0.012, 0.06, 16), self.iron, (x + 0.15, 0.69, z))
        self.place("stand", cylinder(0.07, 0.02, 32, 0.006), self.iron, (x + 0.15, 0.67, z))
        vase = [
            (0, 0), (0.05, 0), (0.09, 0.05), (0.10, 0.12), (0.07, 0.2), (0.03, 0.26), (0.03, 0.38),
            (0.045, 0.4), (0.035, 0.4), (0.02, 0.36), (0, 0.3),
        ]
        self.place("bottle vase", lathe(vase, 32), self.glaze, (x + 0.62, 0.67, z))
        small = [(0, 0), (0.06, 0), (0.075, 0.04), (0.07, 0.13), (0.055, 0.15), (0.045, 0.15), (0.05, 0.12), (0, 0.1)]
        self.place("clay jar", lathe(small, 32), self.clay, (x + 0.83, 0.67, z + 0.06))
        return ring

    def book_row(self, place, count):
        """Standing books, all from one box mesh per colour."""
        block = rounded_box((1, 1, 1), 0.04)
        meshes = [self.gltf.mesh("standing book", [(block, cloth)]) for cloth in self.books]
        x = 0.0
        for index in range(count):
            thick = 0.026 + 0.022 * self.random.random()
            tall = 0.20 + 0.09 * self.random.random()
            deep = 0.15 + 0.04 * self.random.random()
            choice = int(self.random.random() * len(meshes))
            lean = turn_z(0.16) if index == count - 1 else None
            offset = (x + thick / 2 + (0.022 if lean else 0), tall / 2, -0.02)
            self.gltf.node("standing book", None, add(place, offset), lean, (thick, tall, deep), mesh=meshes[choice])
            x += thick + 0.002

    def walls(self):
        """A framed picture and two shelves."""
        texture = self.gltf.texture("painting", png(96, 128, painting_pixel))
        canvas = self.gltf.material(
            "painting", (1, 1, 1), roughness=0.6, color_texture=self.gltf.texture_use(texture)
        )
        picture = self.gltf.node("picture", None, (-0.72, 1.72, BACK + 0.02))
        self.place("canvas", rectangle(0.66, 0.88), canvas, (0, 0, 0.012), parent=picture)
        frame = [
            rounded_box((0.74, 0.045, 0.05), 0.006).moved((0, side * 0.46, 0.01)) for side in (-1, 1)
        ] + [rounded_box((0.045, 0.96, 0.05), 0.006).moved((side * 0.35, 0, 0.01)) for side in (-1, 1)]
        self.place("frame", joined(frame), self.brass, parent=picture)
        shelf = self.gltf.mesh("shelf", [(rounded_box((1.25, 0.035, 0.24), 0.006), self.walnut)])
        for y in (1.32, 1.78):
            self.gltf.node("shelf", None, (1.45, y, BACK + 0.125), mesh=shelf)
        self.book_row((0.88, 1.3375, BACK + 0.14), 13)
        self.book_row((1.42, 1.7975, BACK + 0.14), 14)
        jar = [(0, 0), (0.05, 0), (0.07, 0.05), (0.06, 0.12), (0.04, 0.15), (0.045, 0.17), (0.035, 0.17), (0, 0.13)]
        self.place("white jar", lathe(jar, 32), self.white, (1.05, 1.7975, BACK + 0.13))
        self.place("copper ball", sphere(0.06, 24, 14), self.copper, (1.26, 1.8575, BACK + 0.13))
        self.place("petrol jar", lathe(jar, 32), self.glaze, (1.86, 1.3375, BACK + 0.13))

    def plant(self):
        """A large plant in a clay pot in the right corner."""
        pot = [
            (0, 0), (0.15, 0), (0.2, 0.33), (0.215, 0.33), (0.215, 0.38), (0.19, 0.38), (0.18, 0.33), (0, 0.32),
        ]
        stand = self.gltf.node("plant", None, (2.3, 0, BACK + 0.75))
        self.place("pot", lathe(pot, 32), self.clay, parent=stand)
        stems, blades = [], []
        for index in range(15):
            angle = 2.39996 * index
            reach, rise = 0.12 + 0.020 * index, 0.55 + 0.075 * (14 - index)
            tip = (reach * math.cos(angle), 0.32 + rise, -reach * math.sin(angle))
            bend = (tip[0] * 0.35, 0.32 + rise * 0.55, tip[2] * 0.35)
            stems.append(tube([(0, 0.3, 0), bend, tip], [0.009, 0.007, 0.005], 6))
            size = 0.36 + 0.12 * self.random.random()
            blades.append(leaf(size, 0.62 * size, 0.62, 8).moved(tip, turn_y(angle)))
        self.place("stems", joined(stems), self.green, parent=stand)
        self.place("blades", joined(blades), self.green, parent=stand)

    def lamp(self):
        """The lamp and its swing: a pivot at the ceiling turns to and fro, once in two seconds."""
        pivot = self.gltf.node("lamp pivot", None, (0.08, HEIGHT, 0.0))
        cord = tube([(0, 0, 0), (0, -1.02, 0)], [0.006, 0.006])
        rose = cylinder(0.05, 0.025, 24, 0.008).moved((0, -0.025, 0))
        self.place("cord", joined([cord, rose]), self.iron, parent=pivot)
        outside = [(0.235, -1.30), (0.232, -1.27), (0.20, -1.17), (0.13, -1.08), (0.05, -1.03), (0.02, -1.0), (0, -1.0)]
        inside = [(0, -1.015), (0.045, -1.04), (0.125, -1.09), (0.195, -1.18), (0.228, -1.30)]
        shade = self.gltf.mesh(
            "shade", [(lathe(outside, 40), self.copper), (lathe(inside, 40), self.white)]
        )
        self.gltf.node("shade", pivot, mesh=shade)
        rim = torus(0.2315, 0.005, 40, 5)
        self.place("rim", rim, self.copper, (0, -1.30, 0), parent=pivot)
        glow = self.gltf.material(
            "warm glass", (0, 0, 0), roughness=1, emissive=(1.0, 0.74, 0.46), emissive_strength=3.0
        )
        self.place("bulb", sphere(0.075, 20, 12), glow, (0, -1.20, 0), parent=pivot)
        # The bulb is too small to light a table without noise: a spot light below it does that.
        beam = self.gltf.light("lamp", "spot", (1.0, 0.72, 0.44), 0.55, (0.7, 1.25))
        self.gltf.node("lamp", pivot, (0, -1.285, 0), turn_x(-math.pi / 2), light=beam)

        def swing(time):
            return compose(turn_z(0.16 * math.cos(math.pi * time)), turn_x(0.05 * math.sin(math.pi * time)))

        times = frame_times(FRAMES, 6)
        self.gltf.animate(pivot, "rotation", times, smooth_keys(times, swing), "CUBICSPLINE")

    def view(self):
        """A camera that glides slowly to the left."""
        start, end = (1.15, 1.50, 3.75), (0.45, 1.42, 3.50)
        target_start, target_end = (0.02, 0.98, -0.8), (0.08, 1.0, -0.8)
        node = self.gltf.node(
            "view", None, start, look_at(start, target_start), camera=self.gltf.camera("view", 0.66)
        )
        times = frame_times(FRAMES, 6)
        eyes = [mix(start, end, ease(time / times[-1])) for time in times]
        turns = [
            look_at(eye, mix(target_start, target_end, ease(time / times[-1])))
            for eye, time in zip(eyes, times)
        ]
        self.gltf.animate(node, "translation", times, eyes)
        self.gltf.animate(node, "rotation", times, turns)


def main():
    """Build the room and write it."""
    room = ReadingRoom()
    room.view()
    room.shell()
    room.fill()
    room.table()
    room.chairs()
    room.table_setting()
    room.sideboard()
    room.walls()
    room.plant()
    room.lamp()
    room.gltf.save(Path(__file__).with_suffix(".glb"))


if __name__ == "__main__":
    main()
