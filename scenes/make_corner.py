"""Makes `corner.blend`: a corner of a room with a vase and fruit in little light, and a bowl in front of it.

For denoising while a frame is rendered: OpenImageDenoise with filtered albedo and normal for the view layer of the room,
and none for the one of the foreground; the compositor lays one over the other.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
from compositing import Compositor  # noqa: E402

FRAMES = 3


def room():
    plaster = paint(matte("Plaster", (0.7, 0.62, 0.5), 0.9), "Noise",
                    [(0.3, (0.62, 0.52, 0.4)), (0.7, (0.78, 0.7, 0.58))], 3.0, Detail=5.0)
    wood = paint(matte("Wood", (0.3, 0.15, 0.07), 0.45), "Wave",
                 [(0.0, (0.2, 0.09, 0.04)), (1.0, (0.36, 0.2, 0.1))], 1.2, Distortion=4.0, Detail=3.0)
    table = floor(wood, 12)
    walls = [block(plaster, (12, 0.2, 6), (0, 2.2, 3)), block(plaster, (0.2, 12, 6), (-2.6, 0, 3))]
    pot = vase(shader("Glaze", Base_Color=(0.05, 0.2, 0.4, 1), Roughness=0.15), (-0.5, 0.6, 0), 1.7)
    lemon = matte("Lemon", (0.9, 0.62, 0.05), 0.4)
    fruit = [ball(lemon, 0.28, (0.5, 0.1)), ball(matte("Plum", (0.25, 0.03, 0.1), 0.3), 0.24, (1.0, 0.5)),
             ball(lemon, 0.25, (1.15, -0.15))]
    for index, item in enumerate(fruit):
        keys(item, "location", ((1, item.location.x), (FRAMES + 1, item.location.x + 0.12 * (index + 1))), 0)
    return [table, *walls, pot, *fruit]


def can_denoise():
    """Whether this Blender was built with OpenImageDenoise: Debian's is not."""
    try:
        bpy.context.scene.cycles.denoiser = "OPENIMAGEDENOISE"
    except TypeError:
        return False
    return True


def main():
    path = output_file()
    scene = new_scene(FRAMES, (240, 176), 8)
    scene.render.film_transparent = True
    inside, front = collection("Room"), collection("Foreground")
    move_to(inside, room())
    bowl = lathe("Bowl", matte("Glaze of the bowl", (0.75, 0.32, 0.14), 0.25),
                 [(0, 0), (0.3, 0), (0.55, 0.3), (0.52, 0.32), (0.28, 0.05), (0, 0.04)], (-0.3, -0.9, 0.02))
    turn(bowl, 0.25, FRAMES)
    move_to(front, [bowl])
    lamp("Window", (3.0, -3.0, 3.6), 260, (1, 0.85, 0.66), 1.6, at=(-0.5, 0.5, 0.6))
    sky((0.3, 0.4, 0.6), 0.15)
    camera((1.6, -5.0, 2.1), at=(0, 0, 0.75), lens=45)

    near, far = scene.view_layers[0], scene.view_layers.new("Background")
    near.name = "Foreground"
    near.layer_collection.children["Room"].exclude = True
    far.layer_collection.children["Foreground"].exclude = True
    cycles = scene.cycles
    if can_denoise():
        cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
        cycles.denoising_input_passes, cycles.denoising_prefilter = "RGB_ALBEDO_NORMAL", "ACCURATE"
    near.cycles.use_denoising = False
    far.use_pass_normal = far.use_pass_z = True
    made = Compositor(scene)
    made.output(made.over(made.layer("Background")["Image"], made.layer("Foreground")["Image"]))
    write_frames(scene, "//frames/corner_####", "OPEN_EXR", 32)
    save(path)


main()
