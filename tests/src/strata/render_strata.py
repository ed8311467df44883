"""Renders a rectangle of a .blend's first frame with Cycles in strata of samples, in one warm process.

Arguments: the scene, a folder for the results, frame width and height, the rectangle's x, y, width and height (from the
top left), samples, strata. Writes the linear RGBA float planes, rows from the top, as whole.f32 and 000.f32 and so on, and
times.json: processor seconds of the whole, of each stratum, and of a rectangle of one cell with one stratum.
"""

import json
import pathlib
import sys
import time

import bpy
import numpy

INSIDE_PIXEL = 0.25


def configure(size, samples):
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    cycles.device = "CPU"
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = 100
    render.use_border = render.use_crop_to_border = True
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.threads_mode, render.threads = "FIXED", 2
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.time_limit = 0
    settings = render.image_settings
    settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    settings.exr_codec = "NONE"
    return scene


def set_border(scene, size, rect):
    x, y, width, height = rect
    bottom = size[1] - y - height
    render = scene.render
    render.border_max_x = (x + width + INSIDE_PIXEL) / size[0]
    render.border_min_x = (x + INSIDE_PIXEL) / size[0]
    render.border_max_y = (bottom + height + INSIDE_PIXEL) / size[1]
    render.border_min_y = (bottom + INSIDE_PIXEL) / size[1]


def set_subset(scene, first, count):
    cycles = scene.cycles
    cycles.use_sample_subset = count is not None
    if count is not None:
        cycles.sample_offset, cycles.sample_subset_length = first, count


def render(scene, rect, path):
    """Processor seconds that it took, all threads together; the plane is written to `path`."""
    exr = path.with_suffix(".exr")
    scene.render.filepath = str(exr)
    began = time.process_time()
    bpy.ops.render.render(write_still=True)
    seconds = time.process_time() - began
    image = bpy.data.images.load(str(exr), check_existing=False)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    width, height = image.size
    assert (width, height) == tuple(rect[2:]), f"{width}x{height} instead of {rect[2]}x{rect[3]}"
    plane = numpy.empty(width * height * 4, dtype="<f4")
    image.pixels.foreach_get(plane)
    bpy.data.images.remove(image)
    exr.unlink()
    plane.reshape(height, width, 4)[::-1].tofile(path)
    return seconds


def main():
    blend, folder, *numbers = sys.argv[1:]
    width, height, x, y, across, down, samples, strata = map(int, numbers)
    folder, size, rect = pathlib.Path(folder), (width, height), (x, y, across, down)
    bpy.ops.wm.open_mainfile(filepath=str(pathlib.Path(blend).resolve()))
    scene = configure(size, samples)
    set_border(scene, size, rect)
    set_subset(scene, 0, 1)
    render(scene, rect, folder / "warm.f32")
    set_subset(scene, 0, None)
    times = {"whole": render(scene, rect, folder / "whole.f32"), "strata": []}
    for index in range(strata):
        first, end = samples * index // strata, samples * (index + 1) // strata
        set_subset(scene, first, end - first)
        times["strata"].append(render(scene, rect, folder / f"{index:03}.f32"))
    cell = (x, y, 8, 8)
    set_border(scene, size, cell)
    times["cell"] = render(scene, cell, folder / "cell.f32")
    (folder / "times.json").write_text(json.dumps(times))


main()
