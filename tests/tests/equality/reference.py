"""Renders a scene with Blender alone, for comparisons.

    reference.py frames SCENE FRAMES [NAME]      as `blender -b SCENE [-S NAME] -f FRAMES`: writes where the scene says
    reference.py raw SCENE FRAMES FOLDER [NAME]  raw passes of whole frames as `FOLDER/####.exr`: no compositor, no denoising
    reference.py tiles SCENE FRAME FOLDER [NAME] raw passes of the whole frame and of rectangles of it, for tiles.py

FRAMES are numbers with commas between. With a Python that imports bpy, or after `blender -b --factory-startup --python ... --`.
"""

import json
import os
import sys

import bpy

def arguments():
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]


def open_scene(path, name):
    """Opens a file; the scene of a name, or the one that was active when it was saved."""
    bpy.ops.wm.open_mainfile(filepath=os.path.abspath(path))
    scene = bpy.data.scenes[name] if name else bpy.context.scene
    if bpy.context.window:
        bpy.context.window.scene = scene
    return scene


def render_frame(scene, frame):
    """What `-f` does: an animation of one frame."""
    scene.frame_start = scene.frame_end = frame
    bpy.ops.render.render(animation=True, scene=scene.name)


def frames(path, numbers, name=None):
    for frame in numbers.split(","):
        # Opened anew, since the range of frames that a compositor may use is changed below.
        render_frame(open_scene(path, name), int(frame))


def make_raw(scene, folder):
    """What a scene renders before anything is done to it, written as multi-layer EXR in 32 bits."""
    render = scene.render
    render.use_compositing = render.use_sequencer = render.use_stamp = False
    for layer in scene.view_layers:
        if scene.cycles.use_denoising and layer.cycles.use_denoising:
            layer.cycles.denoising_store_passes = True
    scene.cycles.use_denoising = False
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "ZIP"
    if hasattr(settings, "use_exr_interleave"):
        # Blender 5.0.1 cannot write several parts where pixels are not square: their headers contradict each other.
        settings.use_exr_interleave = True
    settings.views_format = "MULTIVIEW"
    render.filepath = os.path.join(os.path.abspath(folder), "####")


def raw(path, numbers, folder, name=None):
    scene = open_scene(path, name)
    make_raw(scene, folder)
    for frame in numbers.split(","):
        render_frame(scene, int(frame))


def pixels(scene):
    part = scene.render.resolution_percentage / 100
    return int(scene.render.resolution_x * part), int(scene.render.resolution_y * part)


def rectangles(width, height):
    """Left, bottom, right and top of tiles at odd places: quarters that share no size, and one within."""
    x, y = width * 3 // 7, height * 4 // 7
    quarters = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    return (*quarters, (width // 3, height // 4, width // 3 + 33, height // 4 + 29))


def set_border(render, rectangle, size):
    """Aims within pixels: Blender cuts fractions off."""
    left, bottom, right, top = ((value + 0.25) / size[at % 2] for at, value in enumerate(rectangle))
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = left, min(right, 1), bottom, min(top, 1)


def tiles(path, frame, folder, name=None):
    scene = open_scene(path, name)
    make_raw(scene, folder)
    render, number = scene.render, int(frame)
    # Tiles ask Blender to keep its data between them; whole frames do not.
    render.use_persistent_data, render.use_border = False, False
    render.filepath = os.path.join(os.path.abspath(folder), "whole_####")
    render_frame(scene, number)
    size = pixels(scene)
    render.use_persistent_data = True
    made = rectangles(*size)
    for index, rectangle in enumerate(made):
        set_border(render, rectangle, size)
        render.filepath = os.path.join(os.path.abspath(folder), f"tile{index}_####")
        render_frame(scene, number)
    with open(os.path.join(folder, "tiles.json"), "w", encoding="utf-8") as file:
        json.dump({"blender": ".".join(map(str, bpy.app.version)), "size": size, "frame": number, "tiles": made}, file)


def main():
    action, *rest = arguments()
    {"frames": frames, "raw": raw, "tiles": tiles}[action](*rest)


main()
