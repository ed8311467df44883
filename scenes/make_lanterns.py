"""Makes `lanterns.blend`: paper lanterns swing over wet stone at night.

For what a compositor makes of a frame: fog glow, a blur by depth, a vignette by a mask, mist, and two File Output nodes.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
from compositing import Compositor  # noqa: E402

FRAMES = 4


def lanterns():
    colours = ((1, 0.42, 0.12), (1, 0.2, 0.1), (1, 0.6, 0.25), (0.35, 0.55, 1), (1, 0.35, 0.45))
    frame = metal("Iron", (0.05, 0.05, 0.06), 0.4)
    for index in range(9):
        x, y = -3.2 + 0.85 * index, -0.6 + 1.9 * (index % 3)
        hook = pivot(f"Hook {index}", location=(x, y, 3.2))
        swing = 0.16 if index % 2 else -0.16
        keys(hook, "rotation_euler", ((1, swing), (FRAMES + 1, -swing)), 1)
        paper = glow(f"Paper {index}", colours[index % len(colours)], 4)
        drop = 1.5 + 0.35 * (index * 7 % 4)
        ball(paper, 0.26, (0, 0, -drop), hook).scale.z = 1.25
        for z in (-0.3, 0.3):
            place("cylinder", frame, (0, 0, z - drop), hook, radius=0.13, depth=0.06, vertices=24)
        place("cylinder", frame, (0, 0, -drop / 2), hook, radius=0.008, depth=drop, vertices=8)


def compositing(scene):
    layer = bpy.context.view_layer
    layer.use_pass_mist = layer.use_pass_z = True
    scene.world.mist_settings.start, scene.world.mist_settings.depth = 5, 8
    made = Compositor(scene)
    passes = made.layer(layer.name)
    far = made.math("MULTIPLY", passes["Mist"], 0.5)
    hazy = made.mix("MIX", far, passes["Image"], (0.03, 0.05, 0.1, 1))
    depth = made.normalize(passes["Depth"])
    soft = made.mix("MIX", depth, hazy, made.blur(hazy, 5))
    lit = made.glow(soft, 0.9)
    vignette = made.mix("MULTIPLY", 0.7, lit, made.blur(made.ellipse(0.9, 0.6), 40))
    made.output(vignette)
    made.files("//layers/", "light_", {"lit": lit, "haze": far, "plain": passes["Image"]}, "OPEN_EXR_MULTILAYER", 16)
    made.files("//stills/", "", {"vignette_": vignette, "haze_": far}, "PNG", 8)


def main():
    path = output_file()
    scene = new_scene(FRAMES, (272, 176), 24)
    stone = matte("Wet stone", (0.03, 0.035, 0.045), 0.18)
    floor(paint(stone, "Noise", [(0.3, (0.015, 0.017, 0.02)), (0.7, (0.06, 0.06, 0.07))], 2.5, Detail=4.0))
    lanterns()
    sky((0.02, 0.035, 0.09), 0.6)
    orbiting_camera((0, -7.2, 1.5), 8, FRAMES, at=(0, 0.8, 1.35), lens=40)
    compositing(scene)
    write_frames(scene, "//frames/lanterns_####", "PNG", 16)
    save(path)


main()
