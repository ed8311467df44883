"""Makes `tower.blend`, and with `--uncropped` a variant of it: a tower of coloured blocks that sways.

For frames of which only a part is rendered: a size that is not square, at half scale, pixels that are not square, and a
border of the user's; cropped to it, or with nothing around it.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3


def tower():
    colours = ((0.75, 0.1, 0.06), (0.9, 0.55, 0.08), (0.1, 0.35, 0.6), (0.15, 0.45, 0.2), (0.85, 0.8, 0.7))
    paints = [matte(f"Paint {index}", colour, 0.35) for index, colour in enumerate(colours)]
    below = pivot("Foot")
    for level in range(7):
        joint = pivot(f"Joint {level}", below, (0, 0, 0.5 if level else 0), (0, 0, 0.35 * level))
        keys(joint, "rotation_euler", ((1, -0.02), (FRAMES + 1, 0.03)), 1)
        for x in (-0.45, 0.45):
            block(paints[(level + (x > 0)) % 5], (0.42, 1.1, 0.46), (x, 0, 0.25), joint)
        below = joint
    ball(metal("Gold", (0.95, 0.7, 0.3), 0.2), 0.32, (0, 0, 0.85), below)


def main():
    uncropped = "--uncropped" in sys.argv
    path = output_file()
    scene = new_scene(FRAMES, (401, 557), 16)
    render = scene.render
    render.resolution_percentage = 50
    render.pixel_aspect_x, render.pixel_aspect_y = 1.0, 1.25
    render.use_border, render.use_crop_to_border = True, not uncropped
    render.border_min_x, render.border_max_x = 0.13, 0.88
    render.border_min_y, render.border_max_y = 0.21, 0.93
    tower()
    floor(paint(matte("Carpet", (0.3, 0.2, 0.2), 0.9), "Checker", [(0.45, (0.28, 0.2, 0.25)), (0.55, (0.36, 0.3, 0.32))], 1.0))
    softboxes(560, 260)
    sky((0.6, 0.66, 0.75), 0.5)
    camera((1.8, -6.4, 3.4), at=(0, 0, 2.0), lens=36)
    layer = bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_vector = layer.use_pass_cryptomatte_object = True
    write_frames(scene, "//frames/tower_####", "PNG", 8, "RGBA")
    save(path)


main()
