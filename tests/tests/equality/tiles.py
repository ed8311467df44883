"""Says in which channels tiles that `reference.py tiles` rendered differ from the same pixels of the whole frame.

    tiles.py FOLDER...        (a Python with numpy)
"""

import json
import os
import sys

import numpy

import exr_file


def differences(values, expected):
    """How many pixels' bits differ, how far from the tile's edge at most, and by how much at most."""
    assert values.shape == expected.shape, (values.shape, expected.shape)
    rows, columns = numpy.nonzero(values.view(numpy.uint32) != expected.view(numpy.uint32))
    if len(rows) == 0:
        return None
    height, width = values.shape
    depth = numpy.minimum.reduce((rows, columns, height - 1 - rows, width - 1 - columns)).max() + 1
    apart = values[rows, columns].astype(numpy.float64) - expected[rows, columns].astype(numpy.float64)
    return len(rows), int(depth), float(numpy.nanmax(abs(apart)))


def compare(folder):
    with open(os.path.join(folder, "tiles.json"), encoding="utf-8") as file:
        made = json.load(file)
    name = "{}_" + f"{made['frame']:04}.exr"
    whole = exr_file.channels(os.path.join(folder, name.format("whole")))
    height, found = made["size"][1], {}
    for index, (left, bottom, right, top) in enumerate(made["tiles"]):
        tile = exr_file.channels(os.path.join(folder, name.format(f"tile{index}")))
        assert set(tile) == set(whole), set(tile) ^ set(whole)
        for key, values in tile.items():
            apart = differences(values, whole[key][height - top : height - bottom, left:right])
            if apart:
                old = found.get(key, (0, 0, 0.0))
                found[key] = (old[0] + apart[0], max(old[1], apart[1]), max(old[2], apart[2]))
    print(f"{folder}, Blender {made['blender']}: {len(whole)} channels, {len(found)} differ")
    for (part, channel), (count, depth, most) in sorted(found.items()):
        print(f"  {part} {channel}: {count} pixels, up to {depth} from an edge, by up to {most:.3g}")


for path in sys.argv[1:]:
    compare(path)
