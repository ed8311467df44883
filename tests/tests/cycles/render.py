"""Renders a glTF scene with Cycles, once a seed, as close as Blender comes to what glTF says.

Arguments: the scene, the folder for the frames, width, height, samples a pixel, number of seeds. Writes the raw
passes of seed n as nnnn.exr. The environment is the one that the scene's extras name.
"""

import json
import math
import pathlib
import sys

import bpy

# A path that is scattered eight times, as the tracer's longest is, has seven bounces after its first surface.
BOUNCES = 7


def read(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="io_scene_gltf2")
    # COMPAT takes candela as watts per steradian and lux as watts per square metre, as the tracer does.
    bpy.ops.import_scene.gltf(filepath=str(path), export_import_convert_lighting_mode="COMPAT")
    for light in bpy.data.lights:
        if light.type == "SUN":
            light.angle = 0
        else:
            light.shadow_soft_size = 0
    for thing in bpy.data.objects:
        if thing.type == "CAMERA":
            bpy.context.scene.camera = thing
        # Both move shadows to hide the triangles of smooth meshes; glTF knows nothing of the kind.
        thing.cycles.shadow_terminator_geometry_offset = 0
        thing.cycles.shadow_terminator_offset = 0


def surround(path):
    environment = json.loads(path.read_text())["scenes"][0].get("extras", {}).get("environment", {"color": [0, 0, 0]})
    world = bpy.data.worlds.new("environment")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = nodes["Background"]
    background.inputs["Strength"].default_value = environment.get("strength", 1)
    if "color" in environment:
        background.inputs["Color"].default_value = (*environment["color"], 1)
        return
    texture = nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(str(path.parent / environment["map"]))
    turn = nodes.new("ShaderNodeMapping")
    # Blender's maps have +x in the middle; glTF's -z, which is there, is Blender's +y.
    turn.inputs["Rotation"].default_value[2] = math.radians(-90)
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], background.inputs["Color"])


def configure(width, height, samples):
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.film_transparent = False
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.sampling_pattern = "TABULATED_SOBOL"
    # Blender's default and the tracer's only one, sampled by importance in both.
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5
    cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = BOUNCES
    cycles.transmission_bounces = cycles.transparent_max_bounces = BOUNCES
    # Everything that trades truth for less noise.
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = 0
    cycles.blur_glossy = 0
    cycles.caustics_reflective = cycles.caustics_refractive = True
    cycles.light_sampling_threshold = 0
    cycles.use_fast_gi = False
    layer = bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_normal = True
    layer.cycles.denoising_store_passes = True
    picture = render.image_settings
    picture.media_type = "MULTI_LAYER_IMAGE"
    picture.file_format = "OPEN_EXR_MULTILAYER"
    picture.color_depth = "32"
    picture.exr_codec = "NONE"


def main():
    path, folder = (pathlib.Path(argument) for argument in sys.argv[1:3])
    width, height, samples, seeds = (int(argument) for argument in sys.argv[3:7])
    read(path)
    surround(path)
    configure(width, height, samples)
    scene = bpy.context.scene
    for seed in range(seeds):
        scene.cycles.seed = seed
        scene.render.filepath = str(folder / f"{seed:04}.exr")
        bpy.ops.render.render(write_still=True)


main()
