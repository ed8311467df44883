"""Makes the scenes of the Blender tests: `make_scene.py -- KIND OUTPUT`."""

import os
import sys

import bpy

KIND, OUTPUT = sys.argv[sys.argv.index("--") + 1:][:2]


def add(kind, location, colour, **options):
    getattr(bpy.ops.mesh, kind)(location=location, **options)
    item = bpy.context.object
    material = bpy.data.materials.new(kind)
    material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1)
    item.data.materials.append(material)
    return item


def camera(name, location, rotation):
    item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    item.location, item.rotation_euler = location, rotation
    bpy.context.scene.collection.objects.link(item)
    return item


def build():
    scene = bpy.context.scene
    add("primitive_plane_add", (0, 0, -1), (0.6, 0.6, 0.6), size=30)
    add("primitive_cube_add", (2.2, 1, 0), (0.1, 0.3, 0.9))
    mover = add("primitive_monkey_add", (-2, 0, 0), (0.9, 0.3, 0.1))
    mover.modifiers.new("Subdivision", "SUBSURF").render_levels = 1
    mover.keyframe_insert("location", frame=1)
    mover.location.x = 2
    mover.keyframe_insert("location", frame=10)
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "AREA"))
    lamp.data.energy, lamp.location = 600, (2, -3, 5)
    scene.collection.objects.link(lamp)
    near, far = camera("Near", (0, -7, 2), (1.3, 0, 0)), camera("Far", (1, -10, 3), (1.3, 0, 0.1))
    scene.camera = near
    for frame, view in ((1, near), (4, far), (8, near)):
        scene.timeline_markers.new(view.name, frame=frame).camera = view


def set_render():
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = 4, False, False
    cycles.use_animated_seed = True
    render.use_motion_blur = True
    # A part of half of an odd size, two layers, and passes of colour and of data.
    render.resolution_x, render.resolution_y, render.resolution_percentage = 1283, 719, 50
    render.use_border, render.use_crop_to_border = True, True
    render.border_min_x, render.border_max_x = 0.2, 0.7
    render.border_min_y, render.border_max_y = 0.1, 0.9
    render.film_transparent = True
    render.dither_intensity = 1.0
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGBA"
    scene.view_layers.new("Second").use_pass_diffuse_color = True
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_mist = True
    layer.use_pass_cryptomatte_object, layer.pass_cryptomatte_depth = True, 2
    scene.frame_start, scene.frame_end = 1, 10


def composite():
    """A node tree that reads colour and depth, and mixes pixels of different tiles."""
    scene = bpy.context.scene
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layer, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    if hasattr(blur, "size_x"):
        blur.size_x = blur.size_y = 9
    else:
        blur.inputs["Size"].default_value = (9, 9)
    tree.links.new(layer.outputs["Image"], blur.inputs["Image"])
    scene.view_layers[0].use_pass_z = True
    normalize, alpha = tree.nodes.new("CompositorNodeNormalize"), tree.nodes.new("CompositorNodeSetAlpha")
    tree.links.new(layer.outputs["Depth"], normalize.inputs[0])
    tree.links.new(blur.outputs["Image"], alpha.inputs["Image"])
    tree.links.new(normalize.outputs[0], alpha.inputs["Alpha"])
    tree.links.new(alpha.outputs["Image"], output.inputs["Image"])


def picture(path):
    """A texture that lies beside the scene."""
    image = bpy.data.images.new("wood", 4, 4)
    image.source, image.filepath = "FILE", path
    nodes = bpy.data.materials["primitive_plane_add"].node_tree.nodes
    nodes.new("ShaderNodeTexImage").image = image


def main():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    build()
    set_render()
    render, cycles = scene.render, scene.cycles
    if KIND == "adaptive":
        cycles.samples, cycles.use_adaptive_sampling, cycles.adaptive_threshold = 32, True, 0.2
    elif KIND == "composited":
        render.image_settings.color_depth = "16"
        composite()
    elif KIND == "denoised":
        cycles.use_denoising = True
    elif KIND == "workbench":
        render.engine = "BLENDER_WORKBENCH"
    elif KIND == "missing":
        picture("//textures/wood.png")
    elif KIND == "textured":
        picture("//textures/grain.png")
    elif KIND == "unbaked":
        bpy.data.objects["Cube"].modifiers.new("Cloth", "CLOTH")
    bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath(OUTPUT), check_existing=False)


main()
