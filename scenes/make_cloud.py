"""Makes `cloud.blend`: a rock floats in a cloud, and nothing is behind it.

For noise that is made while rendering: a volume and displacement by procedural textures, before a transparent film.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3


def noise_node(tree, scale, detail=4.0):
    where, noise = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, detail
    tree.links.new(where.outputs["Object"], noise.inputs["Vector"])
    return noise.outputs["Fac"]


def rock():
    stone = paint(matte("Rock", (0.3, 0.26, 0.22), 0.85), "Noise",
                  [(0.35, (0.1, 0.075, 0.06)), (0.5, (0.32, 0.26, 0.2)), (0.65, (0.16, 0.24, 0.08))], 2.2, Detail=6.0)
    tree = stone.node_tree
    raised = tree.nodes.new("ShaderNodeDisplacement")
    raised.inputs["Scale"].default_value = 0.7
    tree.links.new(noise_node(tree, 1.6, 6.0), raised.inputs["Height"])
    tree.links.new(raised.outputs[0], tree.nodes["Material Output"].inputs["Displacement"])
    (stone if hasattr(stone, "displacement_method") else stone.cycles).displacement_method = "BOTH"
    item = place("ico_sphere", stone, (0, 0, 1.3), radius=0.9, subdivisions=4)
    item.scale.z = 1.25
    turn(item, 0.08, FRAMES)
    beacon = ball(glow("Beacon", (1, 0.45, 0.15), 12), 0.14, (0.2, -0.3, 2.75))
    keys(beacon, "location", ((1, 2.65), (FRAMES + 1, 2.9)), 2)


def cloud():
    vapour = bpy.data.materials.new("Vapour")
    vapour.use_nodes = True
    tree = vapour.node_tree
    tree.nodes.remove(principled(vapour))
    volume, ramp = tree.nodes.new("ShaderNodeVolumePrincipled"), tree.nodes.new("ShaderNodeMapRange")
    for name, value in (("From Min", 0.5), ("From Max", 0.85), ("To Max", 6.0)):
        ramp.inputs[name].default_value = value
    tree.links.new(noise_node(tree, 1.3, 5.0), ramp.inputs["Value"])
    tree.links.new(ramp.outputs[0], volume.inputs["Density"])
    volume.inputs["Color"].default_value = (0.9, 0.92, 1, 1)
    tree.links.new(volume.outputs[0], tree.nodes["Material Output"].inputs["Volume"])
    item = place("uv_sphere", vapour, (0, 0, 0.6), radius=1.0, segments=32, ring_count=16)
    item.scale = (2.4, 1.8, 0.65)
    keys(item, "location", ((1, -0.1), (FRAMES + 1, 0.3)), 0)


def main():
    path = output_file()
    scene = new_scene(FRAMES, (192, 144), 24)
    scene.render.film_transparent = True
    scene.cycles.volume_bounces, scene.cycles.volume_max_steps = 1, 64
    rock()
    cloud()
    softboxes(380, 280)
    sky((0.4, 0.5, 0.7), 0.5)
    orbiting_camera((0, -6.2, 2.2), 8, FRAMES, at=(0, 0, 1.25), lens=46)
    layer = bpy.context.view_layer
    layer.cycles.use_pass_volume_direct = layer.cycles.use_pass_volume_indirect = layer.use_pass_z = True
    write_frames(scene, "//frames/cloud_####", "PNG", 16, "RGBA")
    save(path)


main()
