"""Makes `sundial.blend`: a sundial of brass on stone steps, with a glass ball, and a shadow that walks.

For every pass that Cycles gives: light by direct, indirect and colour, cryptomatte, values and colours of shaders of our own,
groups of lights, mist, vectors, indices, a shadow catcher. Frames are multi-layer EXR of 32 bits.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403

FRAMES = 3
LIGHT_GROUPS = ("Sun", "Lamps")


def own_passes(material, strength):
    """A value and a colour that the material writes to passes of our own."""
    tree = material.node_tree
    for name, socket, value in (("Weathering", "Value", strength), ("Tint", "Color", (0.2, 0.6, strength, 1))):
        node = tree.nodes.new("ShaderNodeOutputAOV")
        if hasattr(node, "aov_name"):
            node.aov_name = name
        else:
            node.name = name
        node.inputs[socket].default_value = value


def dial():
    stone = paint(matte("Sandstone", (0.6, 0.5, 0.36), 0.85), "Noise",
                  [(0.3, (0.5, 0.38, 0.25)), (0.7, (0.7, 0.6, 0.45))], 4.0, Detail=5.0)
    brass, marble = metal("Brass", (0.8, 0.55, 0.22), 0.3), matte("Marble", (0.85, 0.82, 0.76), 0.25)
    parts = [block(stone, (2.6, 2.6, 0.2), (0, 0, 0.1)), block(stone, (1.9, 1.9, 0.2), (0, 0, 0.3)),
             place("cylinder", marble, (0, 0, 0.8), radius=0.38, depth=0.8, vertices=64),
             place("cylinder", brass, (0, 0, 1.24), radius=0.7, depth=0.08, vertices=64, smooth=False)]
    gnomon = place("cone", brass, (0, 0, 1.28), rotation=(0.65, 0, 0), radius1=0.06, radius2=0.01, depth=1.5)
    orb = ball(glass("Crystal", (0.85, 0.95, 1), 0.02), 0.3, (1.0, -1.0, 0.7))
    skin = shader("Moss", Base_Color=(0.12, 0.3, 0.08, 1), Roughness=0.9, Subsurface_Weight=0.4)
    moss = ball(skin, 0.3, (-1.0, -1.05, 0.6))
    moss.scale.z = 0.7
    ember = ball(glow("Ember", (1, 0.45, 0.15), 8), 0.1, (-0.2, -1.7, 0.1))
    ember.lightgroup = LIGHT_GROUPS[1]
    keys(orb, "location", ((1, 0.7), (FRAMES + 1, 0.85)), 2)
    turn(moss, 0.2, FRAMES)
    for index, item in enumerate((*parts, gnomon, orb, moss, ember)):
        item.pass_index = index + 1
        item.data.materials[0].pass_index = index % 4 + 1
    for strength, material in enumerate((stone, brass, marble, skin)):
        own_passes(material, 0.2 + 0.2 * strength)


def all_passes(layer):
    for name in dir(layer):
        if name.startswith("use_pass_") and name != "use_pass_grease_pencil":
            setattr(layer, name, True)
    layer.pass_cryptomatte_depth = 4
    cycles = layer.cycles
    cycles.use_pass_volume_direct = cycles.use_pass_volume_indirect = True
    cycles.use_pass_shadow_catcher = cycles.denoising_store_passes = cycles.pass_debug_sample_count = True
    for name, kind in (("Weathering", "VALUE"), ("Tint", "COLOR")):
        made = layer.aovs.add()
        made.name, made.type = name, kind
    for name in LIGHT_GROUPS:
        layer.lightgroups.add(name=name)


def main():
    path = output_file()
    scene = new_scene(FRAMES, (216, 160), 12)
    scene.render.film_transparent = True
    ground = floor(matte("Ground", (0.3, 0.3, 0.3)))
    ground.is_shadow_catcher = True
    dial()
    world = sky((0.35, 0.5, 0.8), 0.5)
    world.mist_settings.start, world.mist_settings.depth = 4, 8
    sun = add("Sun", bpy.data.lights.new("Sun", "SUN"), rotation=(0.85, 0.0, -0.7))
    sun.data.energy, sun.data.angle, sun.lightgroup = 3.0, 0.02, LIGHT_GROUPS[0]
    keys(sun, "rotation_euler", ((1, -0.7), (FRAMES + 1, -0.3)), 2)
    fill = lamp("Fill", (-4, -3, 3), 120, (1, 0.8, 0.6))
    fill.lightgroup = LIGHT_GROUPS[1]
    orbiting_camera((0, -6.6, 3.0), 6, FRAMES, at=(0, 0, 0.75), lens=52)
    all_passes(bpy.context.view_layer)
    write_frames(scene, "//frames/sundial_####", "OPEN_EXR_MULTILAYER", 32)
    save(path)


main()
