"""Makes `gyroscope.blend`: a gyroscope of brass, copper and steel turns around a glowing core, and a ring of
marbles, stone and glass and metal, runs around it in waves.

Our own scene for Blender with Cycles: 48 frames that loop, glass, metals, procedural textures, area lights, a
world, motion blur and a moving camera, seconds a frame on two cores. Needs no other file.

    python make_gyroscope.py OUTPUT.blend        (a Python that imports bpy)
"""

import math
import os
import sys

import bpy

FIRST_FRAME, LAST_FRAME = 1, 48
WIDTH_PX, HEIGHT_PX, SAMPLES = 480, 270, 16
MARBLES, MARBLE_RADIUS, CIRCLE_RADIUS = 10, 0.34, 2.3
# Keys of the wave: even parts of a sine, straight in between.
WAVE_KEYS = 16


def shader(name, **inputs):
    """A material; names of inputs are those of the Principled BSDF with `_` for spaces."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    principled = material.node_tree.nodes["Principled BSDF"]
    for key, value in inputs.items():
        principled.inputs[key.replace("_", " ")].default_value = value
    return material


def paint(material, texture, colours, scale, **settings):
    """Drives a material's colour by a procedural texture through a ramp of (position, colour)."""
    tree = material.node_tree
    place, pattern, ramp = (tree.nodes.new(kind) for kind in (
        "ShaderNodeTexCoord", f"ShaderNodeTex{texture}", "ShaderNodeValToRGB"))
    for key, value in settings.items():
        if key in pattern.inputs:
            pattern.inputs[key].default_value = value
        else:
            setattr(pattern, key, value)
    pattern.inputs["Scale"].default_value = scale
    while len(ramp.color_ramp.elements) < len(colours):
        ramp.color_ramp.elements.new(0.5)
    for element, (position, colour) in zip(ramp.color_ramp.elements, colours):
        element.position, element.color = position, (*colour, 1)
    tree.links.new(place.outputs["Object"], pattern.inputs["Vector"])
    tree.links.new(pattern.outputs["Fac"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def place(kind, material, location=(0, 0, 0), parent=None, rotation=(0, 0, 0), smooth=True, **options):
    """A mesh primitive with a material."""
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(location=location, rotation=rotation, **options)
    item = bpy.context.object
    item.data.materials.append(material)
    if smooth:
        item.data.polygons.foreach_set("use_smooth", [True] * len(item.data.polygons))
    item.parent = parent
    return item


def pivot(name, parent=None, location=(0, 0, 0), rotation=(0, 0, 0)):
    """An empty that others turn with."""
    item = bpy.data.objects.new(name, None)
    item.location, item.rotation_euler, item.parent = location, rotation, parent
    bpy.context.scene.collection.objects.link(item)
    return item


def turn(item, turns, axis=2):
    """Whole turns over the loop, at an even speed."""
    item.keyframe_insert("rotation_euler", frame=FIRST_FRAME)
    item.rotation_euler[axis] += math.tau * turns
    item.keyframe_insert("rotation_euler", frame=LAST_FRAME + 1)
    item.rotation_euler[axis] -= math.tau * turns


def materials():
    gold = {"Metallic": 1.0, "Roughness": 0.25}
    found = {
        "brass": shader("Brass", Base_Color=(0.80, 0.52, 0.20, 1), **gold),
        "copper": shader("Copper", Base_Color=(0.86, 0.38, 0.24, 1), **gold),
        "steel": shader("Steel", Base_Color=(0.62, 0.66, 0.72, 1), Metallic=1.0, Roughness=0.28),
        "glass": shader("Glass", Base_Color=(1, 0.96, 0.9, 1), Roughness=0.0, IOR=1.35),
        "sea": shader("Sea glass", Base_Color=(0.25, 0.75, 0.85, 1), Roughness=0.02, IOR=1.4),
        "glow": shader("Glow", Base_Color=(1, 0.5, 0.15, 1)),
        "ivory": shader("Ivory", Base_Color=(0.85, 0.8, 0.7, 1), Roughness=0.35),
    }
    for name in ("glass", "sea"):
        inputs = found[name].node_tree.nodes["Principled BSDF"].inputs
        inputs["Transmission Weight" if "Transmission Weight" in inputs else "Transmission"].default_value = 1.0
    glow = found["glow"].node_tree.nodes["Principled BSDF"].inputs
    glow["Emission Color" if "Emission Color" in glow else "Emission"].default_value = (1, 0.42, 0.1, 1)
    glow["Emission Strength"].default_value = 5
    # It is there to be looked at: as a light behind glass it would only make noise.
    found["glow"].cycles.emission_sampling = "NONE"
    found["table"] = paint(shader("Slate", Roughness=0.6), "Noise", [
        (0.35, (0.028, 0.032, 0.04)), (0.55, (0.05, 0.056, 0.07)), (0.75, (0.11, 0.11, 0.12))], 1.1, Detail=4.0)
    found["banded"] = paint(shader("Banded stone", Roughness=0.45), "Wave", [
        (0.0, (0.75, 0.32, 0.12)), (0.45, (0.9, 0.75, 0.55)), (0.7, (0.55, 0.2, 0.1)), (1.0, (0.95, 0.88, 0.75))],
        1.7, bands_direction="Z", Distortion=2.2, Detail=3.0)
    found["marble"] = paint(shader("Sea stone", Roughness=0.3), "Noise", [
        (0.36, (0.02, 0.07, 0.3)), (0.5, (0.05, 0.3, 0.55)), (0.54, (0.1, 0.4, 0.12)), (0.7, (0.9, 0.9, 0.85))],
        2.6, Detail=5.0)
    return found


def marble(found, look, index):
    """A ball on the circle that rises and falls once in the loop, later the further round it stands."""
    angle = math.tau * index / MARBLES
    x, y = CIRCLE_RADIUS * math.cos(angle), CIRCLE_RADIUS * math.sin(angle)
    ball = place("uv_sphere", found[look], (x, y, 0), rotation=(0.4, 0, angle), radius=MARBLE_RADIUS,
                 segments=48, ring_count=24)
    turn(ball, 1)
    for step in range(WAVE_KEYS + 1):
        phase = step / WAVE_KEYS
        wave = 0.5 - 0.5 * math.cos(math.tau * (phase - 2 * index / MARBLES))
        ball.location.z = MARBLE_RADIUS + 0.02 + 0.75 * wave
        ball.keyframe_insert("location", index=2, frame=FIRST_FRAME + phase * (LAST_FRAME + 1 - FIRST_FRAME))


def machine(found):
    for radius, height, z in ((1.0, 0.12, 0.06), (0.78, 0.12, 0.18), (0.5, 0.1, 0.29)):
        step = place("cylinder", found["brass"], (0, 0, z), radius=radius, depth=height, vertices=96, smooth=False)
        bevel = step.modifiers.new("Bevel", "BEVEL")
        bevel.width, bevel.segments = 0.025, 3
    place("cylinder", found["steel"], (0, 0, 1.0), radius=0.06, depth=1.6, vertices=32)
    sun = pivot("Sun", location=(0, 0, 2.25))
    place("uv_sphere", found["glass"], (0, 0, 0), sun, radius=0.5, segments=64, ring_count=32)
    place("uv_sphere", found["glow"], (0, 0, 0), sun, radius=0.21, segments=32, ring_count=16)
    rings = (("brass", 0.72, 0.035, (0.3, 0.5, 0), 0, 1), ("copper", 0.84, 0.03, (1.2, 0.2, 0), 1, -1),
             ("steel", 0.95, 0.025, (0.7, -0.6, 0), 0, 1))
    for look, radius, thickness, tilt, axis, turns in rings:
        ring = place("torus", found[look], (0, 0, 0), sun, tilt, major_radius=radius, minor_radius=thickness,
                     major_segments=128, minor_segments=16)
        turn(ring, turns, axis)
    looks = ("marble", "sea", "banded", "copper", "ivory")
    for index in range(MARBLES):
        marble(found, looks[index % len(looks)], index)


def light_and_view(found):
    scene = bpy.context.scene
    place("plane", found["table"], size=60, smooth=False)
    for name, location, size, energy, colour in (
            ("Window", (-4.5, -3.0, 6.0), 5.0, 800, (1, 0.93, 0.84)),
            ("Rim", (4.5, 4.5, 3.5), 5.0, 300, (0.55, 0.7, 1))):
        lamp = bpy.data.objects.new(name, bpy.data.lights.new(name, "AREA"))
        lamp.data.size, lamp.data.energy, lamp.data.color = size, energy, colour
        lamp.location = location
        scene.collection.objects.link(lamp)
        aim(lamp, pivot(f"Aim of {name}", location=(0, 0, 1)))
    world = bpy.data.worlds.new("Studio")
    world.use_nodes = True
    scene.world = world
    sky = world.node_tree.nodes["Background"].inputs
    sky["Color"].default_value, sky["Strength"].default_value = (0.16, 0.2, 0.3, 1), 0.5
    carrier = pivot("Camera carrier", rotation=(0, 0, -0.28))
    view = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    view.location, view.parent, view.data.lens = (0, -9.6, 4.7), carrier, 46
    scene.collection.objects.link(view)
    scene.camera = view
    aim(view, pivot("Aim of camera", location=(0, 0, 1.15)))
    # There and back again, so that the last frame leads into the first.
    middle = (FIRST_FRAME + LAST_FRAME + 1) / 2
    for frame, angle in ((FIRST_FRAME, -0.28), (middle, 0.28), (LAST_FRAME + 1, -0.28)):
        carrier.rotation_euler.z = angle
        carrier.keyframe_insert("rotation_euler", frame=frame)


def aim(item, target):
    constraint = item.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"


def render_settings():
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    scene.frame_start, scene.frame_end = FIRST_FRAME, LAST_FRAME
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH_PX, HEIGHT_PX, 100
    render.use_motion_blur, render.motion_blur_shutter = True, 0.4
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.filepath = "//gyroscope_####"
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = SAMPLES, False, False
    cycles.max_bounces, cycles.transmission_bounces, cycles.glossy_bounces = 6, 6, 3
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 1.0
    scene.view_settings.view_transform = "AgX" if bpy.app.version >= (4, 0, 0) else "Filmic"
    scene.view_settings.look = "AgX - Medium High Contrast" if bpy.app.version >= (4, 0, 0) else "None"


def main():
    output = os.path.abspath(sys.argv[-1])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    found = materials()
    machine(found)
    light_and_view(found)
    render_settings()
    bpy.context.scene.frame_set(FIRST_FRAME)
    bpy.ops.wm.save_as_mainfile(filepath=output, compress=True, check_existing=False)


main()
