"""The scene of `make_eevee.py` and `make_workbench.py`: a toy train, for the engines that draw with a graphics card."""

from blender_scenes import *  # noqa: F403

FRAMES = 3
SIZE = (256, 160)


def train():
    red, black, brass = matte("Red", (0.7, 0.05, 0.04), 0.3), matte("Black", (0.03, 0.03, 0.035), 0.4), metal("Brass", (0.8, 0.55, 0.2))
    engine = pivot("Train")
    keys(engine, "location", ((1, -0.3), (FRAMES + 1, 0.5)), 0)
    block(red, (1.0, 0.8, 1.0), (-0.8, 0, 0.95), engine)
    block(black, (1.2, 0.95, 0.12), (-0.8, 0, 1.5), engine)
    block(black, (2.6, 0.7, 0.16), (-0.1, 0, 0.38), engine)
    place("cylinder", red, (0.4, 0, 0.82), engine, (0, math.pi / 2, 0), radius=0.38, depth=1.5, vertices=48)
    place("cylinder", black, (0.8, 0, 1.3), engine, radius=0.12, depth=0.5, vertices=32)
    ball(brass, 0.2, (0.3, 0, 1.15), engine)
    for x in (-0.95, -0.1, 0.75):
        for y in (-0.42, 0.42):
            wheel = place("cylinder", brass, (x, y, 0.3), engine, (math.pi / 2, 0, 0), radius=0.3, depth=0.1, vertices=32)
            block(black, (0.08, 0.5, 0.12), (0, 0, 0), wheel, edge=0.005)
            turn(wheel, 0.4, FRAMES, 1)
    wood = matte("Sleepers", (0.3, 0.18, 0.1), 0.8)
    for index in range(12):
        block(wood, (0.22, 1.5, 0.06), (-3.6 + 0.65 * index, 0, 0.03))
    floor(matte("Table", (0.5, 0.55, 0.5), 0.8), 20)
    softboxes(500, 250)
    sky((0.6, 0.68, 0.78), 0.6)
    camera((1.6, -5.2, 2.2), at=(0.1, 0, 0.75), lens=45)
