"""Makes `two_rooms.blend`, and with `--guided` a variant of it: two scenes in one file, `Day` and `Night`, of a lamp in a
round room.

For what changes from frame to frame: markers that switch cameras, and a seed that is animated. `Day` is the active scene;
`Night` is seen by a panorama camera. The variant guides paths.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 6


def room(swing):
    plaster = paint(matte("Plaster", (0.8, 0.75, 0.65), 0.9), "Wave",
                    [(0.45, (0.7, 0.62, 0.5)), (0.55, (0.45, 0.2, 0.14))], 0.45, bands_direction="Z")
    floor(paint(matte("Rug", (0.4, 0.1, 0.1), 0.95), "Wave", [(0.4, (0.35, 0.06, 0.05)), (0.6, (0.1, 0.12, 0.3))], 1.1,
                wave_type="RINGS", rings_direction="Z"), 12)
    place("cylinder", plaster, (0, 0, 2.0), radius=4.2, depth=4.0, vertices=64, end_fill_type="NOTHING")
    for index in range(6):
        angle = math.tau * index / 6
        vase(matte(f"Glaze {index}", ((0.1, 0.3, 0.5), (0.6, 0.3, 0.1))[index % 2], 0.2),
             (3.2 * math.cos(angle), 3.2 * math.sin(angle), 0), 0.9 + 0.3 * (index % 3))
    cord = pivot("Cord", location=(0, 0, 3.6))
    keys(cord, "rotation_euler", ((1, -swing), (FRAMES + 1, swing)), 0)
    ball(glow("Bulb", (1, 0.7, 0.4), 12), 0.24, (0, 0, -1.7), cord)


def day(scene):
    set_up(scene, FRAMES, (224, 144), 16)
    scene.name = "Day"
    room(0.15)
    lamp("Skylight", (0, 0, 6), 700, (1, 0.96, 0.9), 3.0)
    sky((0.45, 0.6, 0.9), 0.5)
    wide = camera((0.5, -3.6, 1.7), at=(0, 1, 1.2), lens=24, name="Wide")
    near = camera((-2.2, -1.6, 2.6), at=(1.5, 2.2, 0.6), lens=32, name="Near")
    for frame, view in ((1, wide), (3, near), (5, wide)):
        scene.timeline_markers.new(view.name, frame=frame).camera = view
    scene.cycles.use_animated_seed = True
    write_frames(scene, "//frames/day_####", "PNG", 8, "RGB")


def night(scene):
    set_up(scene, FRAMES, (256, 128), 16)
    room(0.4)
    sky((0.02, 0.03, 0.08), 1.0)
    lamp("Moon", (2, -1, 5), 60, (0.6, 0.7, 1), 1.0)
    view = camera((0, -1.2, 1.5), at=(0, 3, 1.3), name="All around")
    view.data.type = "PANO"
    # A property of Cycles until 4.5, of the camera since 5.0.
    (view.data if hasattr(view.data, "panorama_type") else view.data.cycles).panorama_type = "EQUIRECTANGULAR"
    scene.cycles.seed = 3
    scene.cycles.keyframe_insert("seed", frame=1)
    scene.cycles.seed = 30
    scene.cycles.keyframe_insert("seed", frame=FRAMES)
    write_frames(scene, "//frames/night_####", "OPEN_EXR", 16, "RGB")


def main():
    path = output_file()
    first = new_scene()
    day(first)
    first.cycles.use_guiding = "--guided" in sys.argv
    second = bpy.data.scenes.new("Night")
    bpy.context.window.scene = second
    night(second)
    bpy.context.window.scene = first
    save(path)


main()
