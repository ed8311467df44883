"""Makes `hedgehog.blend`: a hedgehog turns on a stone that turns.

For what Cycles does not follow from frame to frame while it keeps its data: hair of particles, and displacement.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3


def hedgehog(stone):
    body = ball(matte("Skin", (0.35, 0.2, 0.1), 0.8), 0.7, (0, 0, 1.35), stone)
    body.scale.x = 1.3
    ball(matte("Nose", (0.02, 0.02, 0.02), 0.3), 0.12, (0.95, 0, 1.3), stone)
    body.modifiers.new("Prickles", "PARTICLE_SYSTEM")
    prickles = body.particle_systems[0].settings
    prickles.type, prickles.count, prickles.hair_length = "HAIR", 400, 0.35
    prickles.root_radius, prickles.tip_radius = 2.0, 0.1
    turn(body, -0.1, FRAMES, axis=0)


def stone():
    rough = matte("Stone", (0.35, 0.33, 0.3), 0.9)
    tree = rough.node_tree
    bumps, moved = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeDisplacement")
    bumps.inputs["Scale"].default_value, moved.inputs["Scale"].default_value = 3.0, 0.25
    tree.links.new(bumps.outputs[0], moved.inputs["Height"])
    tree.links.new(moved.outputs[0], tree.nodes["Material Output"].inputs["Displacement"])
    # A property of Cycles' until 4.1.
    owner = rough if hasattr(rough, "displacement_method") else rough.cycles
    owner.displacement_method = "DISPLACEMENT"
    made = ball(rough, 1.4, (0, 0, -0.3))
    turn(made, 0.25, FRAMES)
    return made


def main():
    path = output_file()
    scene = new_scene(FRAMES, (192, 144), 8)
    floor(matte("Moss", (0.1, 0.2, 0.05), 0.95))
    hedgehog(stone())
    softboxes()
    sky((0.5, 0.6, 0.8), 0.6)
    camera((1.5, -5.2, 2.6), at=(0, 0, 0.9), lens=45)
    write_frames(scene, "//frames/hedgehog_####", "PNG", 16, "RGB")
    save(path)


main()
