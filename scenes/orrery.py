"""A clockwork orrery in a photographer's studio: planets on brass arms over a train of turning gears.

Writes orrery.glb beside this file.
"""

import math
from pathlib import Path

from gltf_writer import CLAMP, GltfWriter, srgb
from motion import compose, ease, face, frame_times, look_at, smooth_keys, turn_x, turn_y, turn_z
from shapes import (
    cylinder, gear, grid, joined, lathe, rectangle, rounded_box, sphere, torus, tube,
    with_lathe_tangents,
)
from textures import blend, clamp, hex_color, layered_noise, normal_png, palette_png, png, smoothstep

FRAMES = 120
SECONDS = FRAMES / 24
LAST_TIME = (FRAMES - 1) / 24
BASE_TOP = 0.17
ORBIT_HEIGHT = 0.62
TOOTH = 0.0105
SATURN_BANDS = ("8f6f4a", "e2c48f", "c79a62", "efdcae", "b98a58", "e8cf9c", "a97c50", "d9b981", "8a6a48")


def earth_height(x, y):
    """How far a pixel of the 192 x 96 map is above the sea, in 0..1 with the coast at 0.5."""
    return clamp(0.5 + 1.6 * (layered_noise(x / 192, y / 96, 5, 3, 21, 5) - 0.52))


def earth_pixel(x, y):
    """Sea, land and ice."""
    height, latitude = earth_height(x, y), abs(y / 96 - 0.5) * 2
    if latitude + 0.25 * (height - 0.5) > 0.86:
        return hex_color("eef2f2")
    if height < 0.5:
        return blend([hex_color("123a68"), hex_color("1f6f9c"), hex_color("3fa3b5")], height * 2)
    return blend([hex_color("5d9b56"), hex_color("8faf5d"), hex_color("c9b27c")], (height - 0.5) * 4)


def crater_height(x, y, width, height):
    """A tileable field of overlapping bowls with rims, and some roughness."""
    cells = 6
    u, v = x / width * cells, y / height * cells
    depth = 0.0
    for column in (-1, 0, 1):
        for row in (-1, 0, 1):
            i, j = math.floor(u) + column, math.floor(v) + row
            wrapped = (i % cells, j % cells)
            spot = layered_noise((wrapped[0] + 0.5) / cells, (wrapped[1] + 0.5) / cells, cells, cells, 3, 1)
            away = math.hypot(u - i - 0.3 - 0.4 * spot, v - j - 0.7 + 0.4 * spot) / (0.30 + 0.5 * spot)
            depth += smoothstep(1.25, 1.0, away) * (0.4 * away * away - 0.3) if away < 1.25 else 0.0
    return depth + 0.35 * layered_noise(x / width, y / height, 8, 8, 8, 3)


def hammered_height(x, y):
    """Shallow dents in metal, on a 64 x 64 tile."""
    return layered_noise(x / 64, y / 64, 9, 9, 15, 2)


def ring_pixel(x, _):
    """Saturn's rings from the inner edge to the outer: colour and coverage."""
    t = x / 127
    grain = layered_noise(t, 0.5, 40, 1, 6, 2)
    gap = 1 - smoothstep(0.62, 0.635, t) * (1 - smoothstep(0.68, 0.695, t))
    cover = (0.55 + 0.6 * grain) * smoothstep(0, 0.05, t) * (1 - smoothstep(0.94, 1.0, t)) * gap
    return [*blend([hex_color("b99a70"), hex_color("ecdcb8"), hex_color("cdb48a")], t), clamp(cover)]


def dial_pixel(x, y):
    """A white dial with twelve strokes and a thin circle."""
    u, v = x / 63.5 - 1, y / 63.5 - 1
    away, around = math.hypot(u, v), math.atan2(u, -v) / (2 * math.pi) * 12
    stroke = 0.72 < away < 0.90 and abs(around - round(around)) * 2 * math.pi / 12 * away < 0.035
    circle = abs(away - 0.64) < 0.012
    return hex_color("2a2f3a") if stroke or circle else hex_color("f4efe2")


class Orrery:
    """Builds the scene part by part."""

    def __init__(self):
        self.gltf = GltfWriter("orrery", 24, {"color": [0.55, 0.65, 0.85], "strength": 0.3})
        gltf = self.gltf
        self.brass = gltf.material("polished brass", srgb("ecc878"), metallic=1, roughness=0.16)
        self.satin = gltf.material("satin brass", srgb("dcb465"), metallic=1, roughness=0.36)
        self.copper = gltf.material("copper", srgb("e8916a"), metallic=1, roughness=0.22)
        self.steel = gltf.material("blued steel", srgb("8fa3bd"), metallic=1, roughness=0.28)
        self.dark = gltf.material("blue enamel", srgb("1f3350"), roughness=0.18)
        reds = [blend([hex_color("32130b"), hex_color("7c3a1d"), hex_color("a65c30")], i / 31) for i in range(32)]
        wood = gltf.texture("mahogany", palette_png(128, 128, reds, self.wood_shade))
        self.wood = gltf.material(
            "mahogany", (1, 1, 1), roughness=0.15, color_texture=gltf.texture_use(wood, (3, 1))
        )

        stem = tube([(-0.02, 0, 0), (-0.11, 0, 0)], [0.0065, 0.0065], 8)
        self.counterweight = joined([stem, sphere(0.022, 20, 12).moved((-0.125, 0, 0))])

    @staticmethod
    def wood_shade(x, y):
        """Brightness of the base's wood."""
        grain = layered_noise(x / 128, y / 128, 2, 28, 31, 3)
        rings = 0.5 + 0.5 * math.sin(30 * layered_noise(x / 128, y / 128, 2, 2, 41, 2))
        return 0.2 + 0.45 * grain + 0.3 * rings

    def place(self, name, shape, material, translation=None, rotation=None, parent=None):
        """A node with a mesh of one part."""
        mesh = self.gltf.mesh(name, [(shape, material)])
        return self.gltf.node(name, parent, translation, rotation, mesh=mesh)

    def spin(self, node, turns, axis_turn=turn_y, start=0.0, tilt=(0, 0, 0, 1)):
        """Turn a node evenly: `turns` whole turns over the scene, LINEAR keys at most a sixth of a turn apart."""
        keys = max(2, math.ceil(abs(turns) * 6) + 1)
        times = [LAST_TIME * key / (keys - 1) for key in range(keys)]
        values = [
            compose(tilt, axis_turn(start + 2 * math.pi * turns * time / SECONDS)) for time in times
        ]
        self.gltf.animate(node, "rotation", times, values)

    def studio(self):
        """A curved backdrop and three softboxes."""
        front, back, bend = 3.5, -1.5, 1.0

        def sweep(u, v):
            across = (u - 0.5) * 10
            length = v * (front - back + bend * math.pi / 2 + 2.5)
            if length < front - back:
                return (across, 0, front - length), (0, 1, 0), (u, v)
            angle = (length - (front - back)) / bend
            if angle < math.pi / 2:
                sin, cos = math.sin(angle), math.cos(angle)
                return (across, bend - bend * cos, back - bend * sin), (0, cos, sin), (u, v)
            return (across, bend + (angle - math.pi / 2) * bend, back - bend), (0, 0, 1), (u, v)

        paper = self.gltf.material("backdrop", srgb("6c8394"), roughness=0.85)
        self.place("backdrop", grid(1, 60, sweep), paper)
        for name, place, size, color, strength in (
            ("key softbox", (-2.1, 1.9, 1.5), (1.7, 1.7), (1.0, 0.93, 0.84), 12.0),
            ("rim softbox", (2.2, 1.25, -0.2), (0.7, 1.9), (0.80, 0.90, 1.0), 11.0),
            ("top softbox", (0.2, 2.7, 0.1), (2.0, 1.6), (1.0, 0.98, 0.95), 7.0),
        ):
            glow = self.gltf.material(
                name, (0, 0, 0), roughness=1, emissive=color, emissive_strength=strength
            )
            toward = face(place, (0, 0.4, 0.001))
            self.place(name, rectangle(*size), glow, place, toward)

    def base(self):
        """The mahogany base, its brass plate and feet, and a dial whose hand ticks."""
        profile = [
            (0, 0.03), (0.54, 0.03), (0.56, 0.045), (0.55, 0.06), (0.525, 0.07), (0.515, 0.11), (0.525, 0.135),
            (0.535, 0.145), (0.535, 0.16), (0.525, BASE_TOP - 0.004), (0, BASE_TOP - 0.004),
        ]
        self.place("base", lathe(profile, 60), self.wood)
        plate = [(0.505, BASE_TOP - 0.006), (0.505, BASE_TOP), (0.495, BASE_TOP + 0.003), (0, BASE_TOP + 0.003)]
        self.place("plate", lathe(plate, 60), self.dark)
        self.place("plate rim", torus(0.507, 0.006, 60, 6), self.brass, (0, BASE_TOP, 0))
        foot = self.gltf.mesh("foot", [(sphere(0.035, 20, 12), self.brass)])
        for index in range(6):
            angle = 2 * math.pi * (index + 0.5) / 6
            self.gltf.node("foot", None, (0.46 * math.cos(angle), 0.03, 0.46 * math.sin(angle)), mesh=foot)
        column = [
            (0.05, BASE_TOP), (0.05, 0.2), (0.022, 0.225), (0.018, 0.30), (0.026, 0.305), (0.026, 0.325),
            (0.015, 0.33), (0.012, 0.48), (0.018, 0.5), (0.012, 0.52), (0.010, ORBIT_HEIGHT - 0.1),
        ]
        self.place("column", lathe(column, 32), self.brass)
        self.dial()

    def dial(self):
        """A dial at the front of the base; its hand moves in STEP keys, two a second."""
        center = self.gltf.node("dial", None, (0, 0.105, 0.545), turn_x(-0.18))
        housing = cylinder(0.092, 0.06, 48, 0.01).moved((0, 0, -0.045), turn_x(math.pi / 2))
        self.place("dial housing", housing, self.brass, parent=center)
        texture = self.gltf.texture("dial", png(128, 128, dial_pixel), CLAMP)
        enamel = self.gltf.material(
            "white enamel", (1, 1, 1), roughness=0.15, color_texture=self.gltf.texture_use(texture)
        )
        self.place("dial face", rectangle(0.112, 0.112), enamel, (0, 0, 0.0165), parent=center)
        bezel = torus(0.083, 0.009, 48, 10).moved((0, 0, 0.016), turn_x(math.pi / 2))
        self.place("bezel", bezel, self.brass, parent=center)
        hand = joined(
            [
                rounded_box((0.005, 0.056, 0.003), 0.001).moved((0, 0.02, 0)),
                cylinder(0.006, 0.005, 16).moved((0, 0, -0.002), turn_x(math.pi / 2)),
            ]
        )
        node = self.place("hand", hand, self.dark, (0, 0, 0.021), parent=center)
        times = frame_times(FRAMES, 12)
        values = [turn_z(-2 * math.pi * tick / 12) for tick in range(len(times))]
        self.gltf.animate(node, "rotation", times, values, "STEP")

    def gears(self):
        """A wheel on the column drives three others; every ratio is that of the numbers of teeth."""
        height, thick = BASE_TOP + 0.035, 0.018
        main_teeth = 40
        main = self.place(
            "main wheel", gear(main_teeth, TOOTH * main_teeth / 2, thick, 5), self.satin, (0, height, 0)
        )
        turns = 0.4
        self.spin(main, turns)
        pin = self.gltf.mesh("pin", [(cylinder(0.014, 0.06, 24, 0.004), self.steel)])
        for name, teeth, direction, spokes, material in (
            ("copper wheel", 24, math.radians(35), 4, self.copper),
            ("steel pinion", 14, math.radians(100), 3, self.steel),
            ("brass wheel", 20, math.radians(155), 5, self.brass),
            ("far wheel", 26, math.radians(262), 5, self.copper),
        ):
            away = TOOTH * (main_teeth + teeth) / 2
            place = (away * math.cos(direction), height, away * math.sin(direction))
            phase = direction * main_teeth / (2 * math.pi)
            start = direction + math.pi - (0.5 - phase) * 2 * math.pi / teeth
            wheel = self.place(name, gear(teeth, TOOTH * teeth / 2, thick, spokes), material, place)
            self.spin(wheel, -turns * main_teeth / teeth, start=-start)
            self.gltf.node("pin", None, (place[0], BASE_TOP, place[2]), mesh=pin)
        self.balance((-0.02, BASE_TOP + 0.07, 0.34))

    def balance(self, place):
        """A balance wheel that swings to and fro once a second: CUBICSPLINE keys."""
        bars = [rounded_box((0.15, 0.007, 0.010), 0.002), rounded_box((0.010, 0.007, 0.15), 0.002)]
        wheel = joined([torus(0.078, 0.0075, 40, 6), *bars])
        node = self.place("balance wheel", wheel, self.brass, place)
        weight = self.gltf.mesh("weight", [(sphere(0.0125, 16, 10), self.steel)])
        for index in range(4):
            angle = math.pi / 2 * index
            self.gltf.node("weight", node, (0.088 * math.cos(angle), 0, 0.088 * math.sin(angle)), mesh=weight)
        self.place("balance staff", cylinder(0.007, 0.10, 16, 0.002), self.steel, (place[0], BASE_TOP, place[2]))
        times = frame_times(FRAMES, 6)
        keys = smooth_keys(times, lambda time: turn_y(1.3 * math.sin(2 * math.pi * time)))
        self.gltf.animate(node, "rotation", times, keys, "CUBICSPLINE")

    def arm(self, name, reach, level, turns, start, drop=0.0):
        """An arm that turns about the column: returns the node of the arm's upper end."""
        pivot = self.gltf.node(f"{name} pivot", None, (0, level, 0), turn_y(start))
        self.spin(pivot, turns, start=start)
        rise = ORBIT_HEIGHT - level - drop
        bend = min(0.05, rise / 2)
        path = [(0.02, 0, 0), (reach - bend, 0, 0)]
        for step in range(1, 6):
            angle = math.pi / 2 * step / 5
            path.append((reach - bend + bend * math.sin(angle), bend - bend * math.cos(angle), 0))
        path.append((reach, rise, 0))
        rod = tube(path, [0.0065] * len(path), 8)
        collar = cylinder(0.024, 0.022, 32, 0.005).moved((0, -0.011, 0))
        mesh = self.gltf.mesh(
            f"{name} arm", [(joined([rod, collar]), self.satin), (self.counterweight, self.brass)]
        )
        self.gltf.node(f"{name} arm", pivot, mesh=mesh)
        return self.gltf.node(f"{name} end", pivot, (reach, rise, 0))

    def sun(self):
        """A glowing glass globe in a brass cage."""
        glow = self.gltf.material(
            "sun", (0, 0, 0), roughness=1, emissive=(1.0, 0.56, 0.19), emissive_strength=1.35
        )
        center = self.gltf.node("sun", None, (0, ORBIT_HEIGHT, 0))
        self.place("sun globe", sphere(0.085, 28, 16), glow, parent=center)
        cage = self.gltf.node("cage", center)
        hoop = self.gltf.mesh("hoop", [(torus(0.102, 0.0035, 40, 6), self.brass)])
        self.gltf.node("hoop", cage, mesh=hoop)
        for index in range(3):
            upright = compose(turn_y(math.pi / 3 * index), turn_x(math.pi / 2))
            self.gltf.node("hoop", cage, rotation=upright, mesh=hoop)
        self.spin(cage, -0.25)

    def planets(self):
        """Four planets and a moon, each on its own arm and tilted axis."""
        gltf = self.gltf
        dents = gltf.texture("dents", normal_png(64, 64, hammered_height, 2.2))
        hammered = gltf.material(
            "hammered steel", srgb("c9ccd2"), metallic=1, roughness=0.2,
            normal_texture=gltf.texture_use(dents, (3, 2)),
        )
        end = self.arm("mercury", 0.20, 0.47, 1.5, 5.72)
        self.place("mercury", with_lathe_tangents(sphere(0.034, 24, 14)), hammered, parent=end)

        self.earth()

        bowls = gltf.texture(
            "craters", normal_png(128, 128, lambda x, y: crater_height(x, y, 128, 128), 4.0)
        )
        rust = gltf.material(
            "mars", srgb("c8623a"), roughness=0.62, normal_texture=gltf.texture_use(bowls, (2, 1))
        )
        end = self.arm("mars", 0.50, 0.37, 0.45, 0.65)
        node = self.place("mars", with_lathe_tangents(sphere(0.05, 26, 15)), rust, parent=end)
        self.spin(node, 1, tilt=turn_z(-0.4))
        self.saturn()
        self.crater_use = gltf.texture_use(bowls, (2, 1))
        self.moon()

    def earth(self):
        """A painted globe: seas are polished and land is dull."""
        gltf = self.gltf
        colors = gltf.texture("earth", png(192, 96, earth_pixel))
        steps = [(0, 0.12, 0), (0, 0.75, 0)]
        gloss = gltf.texture(
            "earth gloss", palette_png(192, 96, steps, lambda x, y: 1.0 if earth_height(x, y) >= 0.5 else 0.0)
        )
        surface = gltf.material(
            "earth", (1, 1, 1), roughness=1.0,
            color_texture=gltf.texture_use(colors), roughness_texture=gltf.texture_use(gloss),
        )
        self.earth_end = self.arm("earth", 0.345, 0.42, 0.75, 3.08)
        globe = self.place("earth", sphere(0.07, 32, 18), surface, parent=self.earth_end)
        self.spin(globe, 2, tilt=turn_z(-0.41))

    def moon(self):
        """A moon on a wire around the earth."""
        dust = self.gltf.material("moon", srgb("bdb8ae"), roughness=0.7, normal_texture=self.crater_use)
        orbit = self.gltf.node("moon orbit", self.earth_end, (0, -0.088, 0))
        self.spin(orbit, 3, start=0.6)
        path = [(0.004, 0, 0), (0.10, 0, 0), (0.118, 0.012, 0), (0.122, 0.07, 0)]
        self.place("moon wire", tube(path, [0.003] * 4, 8), self.steel, parent=orbit)
        ball = with_lathe_tangents(sphere(0.021, 18, 10))
        self.place("moon", ball, dust, (0.122, 0.088, 0), parent=orbit)

    def saturn(self):
        """A banded planet with a translucent ring."""
        gltf = self.gltf

        def bands(_, y):
            return blend([hex_color(c) for c in SATURN_BANDS], y / 63 + 0.01 * math.sin(y))

        surface = gltf.material(
            "saturn", (1, 1, 1), roughness=0.3,
            color_texture=gltf.texture_use(gltf.texture("saturn", png(4, 64, bands))),
        )
        end = self.arm("saturn", 0.72, 0.32, 0.3, 5.43)
        tilted = gltf.node("saturn axis", end, rotation=compose(turn_z(-0.35), turn_x(0.25)))
        self.place("saturn", sphere(0.085, 36, 20), surface, parent=tilted)
        ring_texture = gltf.texture("rings", png(128, 4, ring_pixel), CLAMP)
        rings = gltf.material(
            "saturn's rings", (1, 1, 1), roughness=0.5, alpha_mode="BLEND", double_sided=True,
            color_texture=gltf.texture_use(ring_texture),
        )

        def annulus(u, v):
            angle, radius = -2 * math.pi * u, 0.112 + 0.075 * v
            return (radius * math.cos(angle), 0, radius * math.sin(angle)), (0, 1, 0), (v, 0.5)

        disc = grid(64, 1, annulus)
        disc.triangles = [triangle[::-1] for triangle in disc.triangles]
        self.place("rings", disc, rings, parent=tilted)

    def view(self):
        """A camera on a slow arc around the machine."""
        target = (0.0, 0.335, 0.0)

        def eye(time):
            angle = 0.42 - 0.55 * ease(min(1.0, max(0.0, time / SECONDS)))
            return (2.3 * math.sin(angle), 0.98, 2.3 * math.cos(angle))

        times = frame_times(FRAMES, 12)
        start = eye(0)
        camera = self.gltf.camera("view", 0.50)
        node = self.gltf.node("view", None, start, look_at(start, target), camera=camera)
        self.gltf.animate(node, "translation", times, smooth_keys(times, eye), "CUBICSPLINE")
        turns = smooth_keys(times, lambda time: look_at(eye(time), target))
        self.gltf.animate(node, "rotation", times, turns, "CUBICSPLINE")


def main():
    """Build the orrery and write it."""
    orrery = Orrery()
    orrery.view()
    orrery.studio()
    orrery.base()
    orrery.gears()
    orrery.sun()
    orrery.planets()
    orrery.gltf.save(Path(__file__).with_suffix(".glb"))


if __name__ == "__main__":
    main()
