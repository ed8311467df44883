"""Makes `marbles.blend`: marbles of glass, metal and stone roll over a table of felt.

For adaptive sampling: 96 samples at most, fewer where the noise threshold is met.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3


def main():
    path = output_file()
    scene = new_scene(FRAMES, (208, 144), 96)
    cycles = scene.cycles
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.06, 0
    floor(paint(matte("Felt", (0.02, 0.12, 0.06), 0.95), "Noise",
                [(0.3, (0.01, 0.08, 0.04)), (0.7, (0.03, 0.17, 0.09))], 14.0, Detail=3.0))
    swirl = paint(matte("Swirl", (1, 1, 1), 0.2), "Wave", [(0.0, (0.85, 0.1, 0.05)), (0.5, (0.95, 0.9, 0.8)),
                  (1.0, (0.1, 0.2, 0.6))], 1.4, Distortion=6.0, Detail=2.0)
    looks = (glass("Clear", (0.9, 1, 0.97)), metal("Steel", (0.7, 0.72, 0.75), 0.12), swirl,
             glass("Amber", (1, 0.6, 0.2), 0.1), metal("Gold", (0.95, 0.65, 0.25), 0.3))
    for index in range(10):
        column, row = index % 4, index // 4
        radius = 0.3 + 0.08 * (index * 3 % 4)
        marble = ball(looks[index % len(looks)], radius, (-1.5 + column * 1.05 + 0.3 * row, -0.9 + row * 1.0))
        keys(marble, "location", ((1, marble.location.x), (FRAMES + 1, marble.location.x + 0.15)), 0)
        turn(marble, 0.15 / (6.28 * radius), FRAMES, 1)
    softboxes(420, 200)
    sky((0.2, 0.25, 0.35), 0.4)
    camera((0.6, -5.2, 3.4), at=(0.15, 0.0, 0.3), lens=48)
    write_frames(scene, "//frames/marbles_####", "PNG", 8, "RGB")
    save(path)


main()
