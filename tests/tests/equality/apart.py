"""Says how far frames are apart, pass by pass: for frames that are merged from ranges of samples.

    apart.py OURS BLENDERS        (a Python with numpy; .exr, or other pictures with a Python that imports bpy)
"""

import os
import re
import sys

import numpy

# Differences are not told relative to values below this.
SMALL = 1e-3


def channels(path):
    if path.endswith(".exr"):
        import exr_file

        return {name: values.astype(numpy.float64) for (_, name), values in exr_file.channels(path).items()}
    import bpy

    image = bpy.data.images.load(os.path.abspath(path))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = numpy.array(image.pixels[:], dtype=numpy.float64).reshape(height, width, -1)
    return {f"picture.{'RGBA'[index]}": pixels[:, :, index] for index in range(pixels.shape[2])}


def by_pass(frame):
    """The channels of each pass, stacked; all lists of a kind of cryptomatte are one."""
    passes = {}
    for name in sorted(frame):
        before = name.rpartition(".")[0]
        passes.setdefault(re.sub(r"(Crypto\w+?)\d\d$", r"\1", before), []).append(name)
    return {name: [frame[channel] for channel in names] for name, names in passes.items()}


def coverages(lists):
    """What of each number covers each pixel: Blender does not sort all lists."""
    # Sorted by name the channels of each pass are a, b, g, r: coverage, number, coverage, number.
    a, b, g, r = (numpy.stack(lists[at::4], -1) for at in range(4))
    numbers, covers = numpy.concatenate([r, b], -1), numpy.concatenate([g, a], -1)
    numbers = numpy.where(covers > 0, numbers, 0)
    order = numpy.argsort(numbers, -1, kind="stable")
    return [numpy.take_along_axis(values, order, -1) for values in (numbers, covers)]


def apart(ours, blenders):
    ours, blenders = numpy.stack(ours, -1), numpy.stack(blenders, -1)
    apart = abs(ours - blenders)
    size = numpy.maximum(abs(blenders), SMALL)
    pixels = (apart.reshape(*apart.shape[:2], -1) > 0).any(-1)
    return apart.max(), (apart / size).max(), apart.mean(), int(pixels.sum()), pixels.size


def main():
    ours, blenders = (by_pass(channels(path)) for path in sys.argv[1:3])
    assert set(ours) == set(blenders), set(ours) ^ set(blenders)
    for name, values in ours.items():
        expected = blenders[name]
        if "Crypto" in name:
            values, expected = coverages(values), coverages(expected)
        most, relative, average, pixels, all_pixels = apart(values, expected)
        print(f"  {name}: " + ("equal" if pixels == 0 else f"by up to {most:.3g}, relative {relative:.3g}, average {average:.3g}; {pixels} of {all_pixels} pixels"))


main()
