"""Makes `misty_glass.blend`: blocks of glass with things inside, in mist, lit by a lamp and by a sky with a small sun.

The noisiest scene of ours for Blender with Cycles: light through glass and mist finds its way by luck, so it shows
how far two honest renders of noise can be apart. 24 frames, the camera walks around. Needs no other file.

    python make_misty_glass.py OUTPUT.blend        (a Python that imports bpy)
"""

import math
import os
import sys

import bpy

LAST_FRAME = 24
WIDTH_PX, HEIGHT_PX, SAMPLES = 320, 180, 16
SKY_PX = (128, 64)
SUN_AT_PX, SUN_RADIUS_PX, SUN_RADIANCE = (40, 50), 2, 400.0
MIST_PER_METRE = 0.1


def material(name, **inputs):
    """A Principled BSDF; names of inputs are Blender's with `_` for spaces."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    principled = made.node_tree.nodes["Principled BSDF"]
    for key, value in inputs.items():
        principled.inputs[key.replace("_", " ")].default_value = value
    return made


def add(kind, made_of, location, **options):
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(location=location, **options)
    item = bpy.context.object
    item.data.materials.append(made_of)
    return item


def things():
    floor = material("floor", Base_Color=(0.35, 0.3, 0.25, 1), Roughness=0.5)
    glass = material("glass", Base_Color=(0.95, 1, 0.98, 1), Roughness=0.02, IOR=1.45, Transmission_Weight=1)
    frosted = material("frosted", Base_Color=(0.8, 0.9, 1, 1), Roughness=0.35, IOR=1.45, Transmission_Weight=1)
    gold = material("gold", Base_Color=(1, 0.7, 0.25, 1), Roughness=0.25, Metallic=1)
    coral = material("coral", Base_Color=(0.9, 0.25, 0.15, 1), Roughness=0.8)
    add("plane", floor, (0, 0, 0), size=14)
    for place, kind in ((-2.2, glass), (0.0, frosted), (2.2, glass)):
        add("cube", kind, (place, 0, 0.8), size=1.6)
        add("ico_sphere", coral, (place, 0.2, 0.45), radius=0.35, subdivisions=3)
        add("torus", gold, (place - 0.2, -0.2, 1.1), major_radius=0.3, minor_radius=0.08)
    add("uv_sphere", glass, (1.1, -1.7, 0.4), radius=0.4)


def mist():
    made = bpy.data.materials.new("mist")
    made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    scatter, output = tree.nodes.new("ShaderNodeVolumeScatter"), tree.nodes.new("ShaderNodeOutputMaterial")
    scatter.inputs["Density"].default_value = MIST_PER_METRE
    scatter.inputs["Anisotropy"].default_value = 0.4
    tree.links.new(scatter.outputs["Volume"], output.inputs["Volume"])
    add("cube", made, (0, 0, 1.5), size=2.9, scale=(2.4, 1, 1))


def sky_pixels():
    """Rows from the bottom: ground, horizon, sky, and a small sun far brighter than all the rest."""
    width, height = SKY_PX
    for y in range(height):
        up = 2 * (y + 0.5) / height - 1
        colour = (0.1, 0.09, 0.08) if up < 0 else (0.5 - 0.35 * up, 0.6 - 0.3 * up, 0.75)
        for x in range(width):
            sun = math.dist((x, y), SUN_AT_PX) < SUN_RADIUS_PX
            yield from (SUN_RADIANCE,) * 3 if sun else colour
            yield 1.0


def light():
    image = bpy.data.images.new("sky", *SKY_PX, float_buffer=True)
    image.pixels.foreach_set(list(sky_pixels()))
    image.file_format = "HDR"
    image.pack()
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    texture = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = image
    background = world.node_tree.nodes["Background"]
    background.inputs["Strength"].default_value = 0.4
    world.node_tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    bpy.context.scene.world = world
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "AREA"))
    lamp.data.energy, lamp.data.size, lamp.location = 150, 1.2, (0.5, 0.3, 3.8)
    bpy.context.scene.collection.objects.link(lamp)


def camera():
    pivot = bpy.data.objects.new("Pivot", None)
    pivot.location = (0, 0, 0.8)
    eye = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    eye.parent, eye.location, eye.rotation_euler = pivot, (0, -7.4, 2.2), (math.radians(74), 0, 0)
    for item in (pivot, eye):
        bpy.context.scene.collection.objects.link(item)
    for frame, turn in ((1, -40), (LAST_FRAME, 40)):
        pivot.rotation_euler.z = math.radians(turn)
        pivot.keyframe_insert("rotation_euler", frame=frame)
    bpy.context.scene.camera = eye


def settings():
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    scene.frame_start, scene.frame_end = 1, LAST_FRAME
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH_PX, HEIGHT_PX, 100
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = SAMPLES, False, False
    cycles.sample_clamp_indirect = 0
    cycles.max_bounces = cycles.transmission_bounces = 5
    cycles.volume_bounces = 1


def main():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    things()
    mist()
    light()
    camera()
    settings()
    bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath(sys.argv[1]), check_existing=False, compress=True)


main()
