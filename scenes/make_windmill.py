"""Makes `windmill.blend`: a toy windmill turns, a ball is squashed as it bounces, and the camera flies past.

For blur: of turning and of deformed things and of a moving camera, over the shutter, and by depth of field.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 4


def windmill(red, cream):
    lathe("Tower", cream, [(0, 0), (0.55, 0), (0.5, 0.3), (0.33, 1.7), (0.42, 1.75), (0.0, 2.3)])
    hub = pivot("Hub", location=(0, -0.55, 1.75))
    turn(hub, 0.22, FRAMES, 1)
    ball(red, 0.12, (0, 0, 0), hub)
    for index in range(4):
        arm = pivot(f"Arm {index}", hub, rotation=(0, math.tau * index / 4, 0))
        block(red, (0.06, 0.06, 1.1), (0, 0, 0.55), arm, edge=0.01)
        block(cream, (0.34, 0.03, 0.85), (0.2, 0, 0.7), arm, (0.25, 0, 0), edge=0.01)


def bouncing_ball(material):
    """A ball whose own shape changes: shape keys."""
    item = place("uv_sphere", material, (1.25, -0.5, 0.8), radius=0.35, segments=40, ring_count=22)
    item.shape_key_add(name="Basis")
    flat = item.shape_key_add(name="Flat")
    for point in flat.data:
        point.co = (point.co.x * 1.35, point.co.y * 1.35, point.co.z * 0.5)
    keys(flat, "value", ((1, 0.0), (3, 1.0), (FRAMES + 1, 0.0)))
    keys(item, "location", ((1, 0.9), (3, 0.2), (FRAMES + 1, 0.9)), 2)


def main():
    path = output_file()
    scene = new_scene(FRAMES, (256, 160), 24)
    red, cream = matte("Red", (0.7, 0.06, 0.04), 0.35), matte("Cream", (0.85, 0.76, 0.58), 0.4)
    windmill(red, cream)
    stripes = paint(matte("Stripes", (1, 1, 1), 0.3), "Wave",
                    [(0.45, (0.05, 0.25, 0.6)), (0.55, (0.95, 0.9, 0.8))], 1.5, bands_direction="Z")
    bouncing_ball(stripes)
    wood = paint(matte("Board", (0.4, 0.25, 0.12), 0.5), "Wave",
                 [(0.0, (0.3, 0.17, 0.08)), (1.0, (0.48, 0.3, 0.16))], 1.0, Distortion=5.0, Detail=3.0)
    floor(wood)
    for index in range(5):
        block(cream if index % 2 else red, (0.4, 0.4, 0.4), (-2.6 + 0.5 * index, 1.6 + 0.9 * index, 0.2), None,
              (0, 0, 0.4 * index))
    softboxes(520, 220)
    sky((0.4, 0.5, 0.65), 0.5)
    view = camera((-0.8, -5.6, 1.7), at=(0.3, 0, 1.1), lens=45)
    keys(view, "location", ((1, -0.8), (FRAMES + 1, 0.4)), 0)
    view.data.dof.use_dof, view.data.dof.focus_distance, view.data.dof.aperture_fstop = True, 5.4, 0.35
    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, 0.6
    write_frames(scene, "//frames/windmill_####", "OPEN_EXR", 16, "RGB")
    save(path)


main()
