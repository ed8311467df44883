"""Makes `mosaic.blend`, and its shader `shaders/mosaic.osl`: a bowl on a mosaic.

For shaders in the Open Shading Language that are files of their own.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 2
SHADER = """shader mosaic(float Scale = 4.0, output color Stone = 0.5)
{
    point place = transform("object", P) * Scale;
    float gap = min(abs(place[0] - floor(place[0]) - 0.5), abs(place[1] - floor(place[1]) - 0.5));
    vector tint = noise("cell", floor(place[0]), floor(place[1]));
    Stone = mix(color(0.1, 0.3, 0.5), color(0.8, 0.6, 0.3), tint[0]) * (gap < 0.46 ? 1.0 : 0.3);
}
"""


def mosaic(folder):
    """A material whose colour the shader gives. Its sockets are made here: a module of Blender cannot ask the shader for them."""
    os.makedirs(os.path.join(folder, "shaders"), exist_ok=True)
    path = os.path.join(folder, "shaders", "mosaic.osl")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SHADER)
    material = matte("Mosaic", (0.5, 0.5, 0.5), 0.5)
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeScript")
    node.mode, node.filepath = "EXTERNAL", path
    node.inputs.new("NodeSocketFloat", "Scale").default_value = 3.0
    tree.links.new(node.outputs.new("NodeSocketColor", "Stone"), principled(material).inputs["Base Color"])
    return material


def main():
    path = output_file()
    scene = new_scene(FRAMES, (192, 128), 8)
    scene.cycles.shading_system = True
    floor(mosaic(os.path.dirname(path)), 12)
    turn(vase(metal("Copper", (0.8, 0.4, 0.25)), (0, 0, 0), 1.2), 0.25, FRAMES)
    softboxes()
    sky((0.5, 0.6, 0.8), 0.6)
    camera((1.5, -4.2, 2.6), at=(0, 0, 0.4), lens=40)
    # Relative paths of nodes are the scene's own to make.
    node = bpy.data.materials["Mosaic"].node_tree.nodes["Script"]
    node.filepath = "//shaders/mosaic.osl"
    write_frames(scene, "//frames/mosaic_####", "PNG", 8, "RGB")
    save(path)


main()
