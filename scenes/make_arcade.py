"""Makes `arcade.blend`, and with `--one-file` a variant of it: a walk through an arcade, for two eyes.

For several views of a frame: stereo, written to a file for each view, or to one multi-layer EXR that holds both.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3


def arch(stone, location, radius, segments=24):
    """A bent round bar: half a circle that stands."""
    angles = [math.pi * index / segments for index in range(segments + 1)]
    curve = bpy.data.curves.new("Arch", "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", 0.16, 6
    spline = curve.splines.new("POLY")
    spline.points.add(segments)
    for point, angle in zip(spline.points, angles):
        point.co = (radius * math.cos(angle), 0, radius * math.sin(angle), 1)
    spline.use_smooth = True
    curve.materials.append(stone)
    add("Arch", curve, location)


def arcade():
    stone = paint(matte("Limestone", (0.7, 0.62, 0.5), 0.8), "Noise",
                  [(0.3, (0.58, 0.48, 0.36)), (0.7, (0.78, 0.7, 0.58))], 2.5, Detail=5.0)
    for row in range(6):
        y = -2 + 1.6 * row
        for x in (-1.25, 1.25):
            place("cylinder", stone, (x, y, 1.0), radius=0.2, depth=2.0, vertices=32)
            for z in (0.06, 2.0):
                block(stone, (0.56, 0.56, 0.14), (x, y, z))
        arch(stone, (0, y, 2.05), 1.25)
    tiles = [(0.45, (0.55, 0.5, 0.42)), (0.55, (0.14, 0.16, 0.2))]
    floor(paint(matte("Tiles", (1, 1, 1), 0.2), "Checker", tiles, 2.0), 40)
    door = ball(matte("Door", (0.1, 0.3, 0.45), 0.3), 0.45, (0.35, 1.4))
    keys(door, "location", ((1, 1.4), (FRAMES + 1, 0.9)), 1)


def main():
    one_file = "--one-file" in sys.argv
    path = output_file()
    scene = new_scene(FRAMES, (224, 160), 16)
    arcade()
    for index, colour in enumerate(((1, 0.82, 0.6), (0.6, 0.75, 1))):
        lamp(f"Opening {index}", (-4 + 8 * index, 1 + 2 * index, 4), 420, colour, 3.0, at=(0, 2, 0.8))
    sky((0.5, 0.62, 0.85), 0.7)
    view = camera((-0.3, -4.4, 1.35), at=(0.1, 2, 1.3), lens=30)
    keys(view, "location", ((1, -4.4), (FRAMES + 1, -4.0)), 1)
    view.data.stereo.convergence_distance, view.data.stereo.interocular_distance = 4.0, 0.12
    render = scene.render
    render.use_multiview, render.views_format = True, "STEREO_3D"
    bpy.context.view_layer.use_pass_z = True
    if one_file:
        write_frames(scene, "//frames/arcade_####", "OPEN_EXR_MULTILAYER", 32)
        render.image_settings.views_format = "MULTIVIEW"
    else:
        write_frames(scene, "//frames/arcade_####", "PNG", 8, "RGB")
        render.image_settings.views_format = "INDIVIDUAL"
    save(path)


main()
