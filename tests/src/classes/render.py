"""Renders with Cycles what a plan asks for and writes raw pixels: `render.py PLAN.json`, in a Python that imports bpy.

The plan is one object: `scene` (absolute path), `width`, `height`, `frames` (how many the scene's animation is divided
into), and `renders`, a list of objects with `frame` (counted from 0, of those), `seed`, `samples` (of the whole
render), `taken` (how many of them are taken, the first ones), `size_percent`, `bounces_max` (0: the scene's own),
`denoised` and `file`. A file is width times height pixels of four little-endian floats, RGBA, scene-linear, from the
top row down; a render at less than full size is scaled up by repeating pixels, as a cheat would.
"""

import array
import json
import os
import sys
import tempfile

import bpy


def configure(scene, plan):
    """What every render has in common: the raw Combined pass of all samples, and nothing that adapts to the machine."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.use_border = False
    render.resolution_x, render.resolution_y = plan["width"], plan["height"]
    cycles.device = "CPU"
    cycles.use_adaptive_sampling = False
    cycles.use_animated_seed = False
    cycles.time_limit = 0
    picture = render.image_settings
    if hasattr(picture, "media_type"):
        picture.media_type = "IMAGE"
    picture.file_format = "OPEN_EXR"
    picture.color_mode, picture.color_depth, picture.exr_codec = "RGBA", "32", "NONE"


def take_samples(cycles, samples, taken):
    """The first `taken` of `samples`: by Cycles' own sample subset, so that they are the same ones in any version."""
    cycles.samples = samples
    cycles.use_sample_subset = taken < samples
    cycles.sample_offset, cycles.sample_subset_length = 0, taken


def pixels_of(path):
    """Size and pixels of an image file, bottom row first."""
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    width, height = image.size
    pixels = array.array("f", bytes(16 * width * height))
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return width, height, pixels


def enlarged(width, height, pixels, plan):
    """The rows of the full size, top first, each made by repeating pixels."""
    columns = [x * width // plan["width"] for x in range(plan["width"])]
    for y in range(plan["height"]):
        start = 4 * width * (height - 1 - y * height // plan["height"])
        row = pixels[start:start + 4 * width]
        if width == plan["width"]:
            yield row
        else:
            yield array.array("f", [value for x in columns for value in row[4 * x:4 * x + 4]])


def render_one(scene, wanted, plan, folder):
    cycles = scene.cycles
    scene.render.resolution_percentage = wanted["size_percent"]
    cycles.seed = wanted["seed"]
    cycles.use_denoising = wanted["denoised"]
    take_samples(cycles, wanted["samples"], wanted["taken"])
    cycles.max_bounces = min(wanted["bounces_max"] or plan["bounces"], plan["bounces"])
    length = scene.frame_end - scene.frame_start + 1
    scene.frame_set(scene.frame_start + wanted["frame"] * length // plan["frames"])
    scene.render.filepath = os.path.join(folder, "picture.exr")
    bpy.ops.render.render(write_still=True)
    width, height, pixels = pixels_of(scene.render.filepath)
    part = wanted["file"] + ".part"
    with open(part, "wb") as file:
        for row in enlarged(width, height, pixels, plan):
            if sys.byteorder == "big":
                row.byteswap()
            row.tofile(file)
    os.replace(part, wanted["file"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    bpy.ops.wm.open_mainfile(filepath=plan["scene"])
    scene = bpy.context.scene
    configure(scene, plan)
    plan["bounces"] = scene.cycles.max_bounces
    with tempfile.TemporaryDirectory() as folder:
        for wanted in plan["renders"]:
            render_one(scene, wanted, plan, folder)


main()
