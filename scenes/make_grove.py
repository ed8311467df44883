"""Makes `grove.blend`, and in `props` beside it `tree.blend` with a texture of its own: a grove by the light of evening.

For linked libraries: trees are instances of a linked collection, and one lantern of the library is overridden and moved here.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
import textures  # noqa: E402

FRAMES = 3
BARK_PX = 64


def make_library(folder):
    os.makedirs(os.path.join(folder, "maps"), exist_ok=True)
    bark_file = os.path.join(folder, "maps", "bark.png")

    def bark_pixel(x, y):
        crack = textures.layered_noise(x / BARK_PX, y / BARK_PX, 12, 2, 3)
        return textures.blend([(0.16, 0.1, 0.07), (0.42, 0.3, 0.2), (0.62, 0.5, 0.38)], crack)

    with open(bark_file, "wb") as file:
        file.write(textures.png(BARK_PX, BARK_PX, bark_pixel))
    new_scene()
    bark = matte("Bark", (0.3, 0.2, 0.1), 0.9)
    show_image(bark, bpy.data.images.load(bark_file))
    leaves = paint(matte("Leaves", (0.1, 0.3, 0.08), 0.8), "Noise",
                   [(0.3, (0.05, 0.16, 0.03)), (0.7, (0.3, 0.42, 0.08))], 6.0, Detail=3.0)
    trunk = place("cone", bark, (0, 0, 0.8), radius1=0.16, radius2=0.07, depth=1.6, vertices=24)
    crowns = [place("ico_sphere", leaves, (x, y, z), radius=r, subdivisions=3)
              for x, y, z, r in ((0, 0, 1.9, 0.62), (0.4, 0.1, 1.55, 0.42), (-0.38, -0.12, 1.6, 0.45))]
    post = place("cylinder", metal("Iron", (0.1, 0.1, 0.11), 0.5), (0, 0, 0.5), radius=0.03, depth=1.0, vertices=16)
    flame = ball(glow("Flame", (1, 0.6, 0.2), 4), 0.11, (0, 0, 1.1))
    for name, items in (("Tree", (trunk, *crowns)), ("Lantern", (post, flame))):
        move_to(collection(name), items)
    save(os.path.join(folder, "tree.blend"))


def link(library, name):
    with bpy.data.libraries.load(library, link=True) as (_, here):
        here.collections = [name]
    return here.collections[0]


def instance(linked, location, turned=0.0, size=1.0):
    item = pivot(linked.name, location=location, rotation=(0, 0, turned))
    item.instance_type, item.instance_collection, item.scale = "COLLECTION", linked, (size,) * 3
    return item


def main():
    path = output_file()
    props = os.path.join(os.path.dirname(path), "props")
    make_library(props)
    scene = new_scene(FRAMES, (256, 160), 16)
    library = os.path.join(props, "tree.blend")
    tree, lantern = link(library, "Tree"), link(library, "Lantern")
    for index in range(14):
        angle, reach = 2.4 * index, 1.0 + 0.32 * index
        instance(tree, (reach * math.cos(angle), reach * math.sin(angle) + 1.5, 0), angle, 0.8 + 0.07 * (index % 5))
    holder = instance(lantern, (0, 0, 0))
    ours = lantern.override_hierarchy_create(scene, bpy.context.view_layer, reference=holder)
    flame = next(item for item in ours.all_objects if item.name.startswith("Sphere"))
    keys(flame, "location", ((1, 1.1), (FRAMES + 1, 1.5)), 2)
    floor(paint(matte("Grass", (0.1, 0.2, 0.05), 0.9), "Noise",
                [(0.3, (0.03, 0.07, 0.02)), (0.7, (0.14, 0.2, 0.05))], 3.0, Detail=6.0))
    sun = add("Sun", bpy.data.lights.new("Sun", "SUN"), rotation=(1.2, 0, 0.9))
    sun.data.energy, sun.data.color, sun.data.angle = 2.2, (1, 0.62, 0.36), 0.03
    sky((0.3, 0.4, 0.65), 0.45)
    orbiting_camera((0, -7.5, 2.2), 10, FRAMES, at=(0, 0.4, 1.05), lens=38)
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 0.5
    write_frames(scene, "//frames/grove_####", "PNG", 8, "RGB")
    save(path)


main()
