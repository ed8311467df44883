"""Building blocks of our scenes for Blender: materials, shapes, motion, light, cameras and what a file says of its output.

The scripts `make_*.py` are made of them. Everything works in Blender 3.4 to 5.0, as a program and as a module:

    python make_NAME.py OUTPUT.blend                          (a Python that imports bpy)
    blender -b --factory-startup --python make_NAME.py -- OUTPUT.blend
"""

import math
import os
import sys

import bpy

BEFORE_4_0 = bpy.app.version < (4, 0, 0)
# What Blender 4.0 renamed of the Principled BSDF's inputs.
OLD_INPUTS = {"Transmission Weight": "Transmission", "Emission Color": "Emission", "Subsurface Weight": "Subsurface"}


# ---- the file ------------------------------------------------------------------------------------


def output_file():
    """The file that the command line names, with its folder made."""
    path = os.path.abspath(sys.argv[-1])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def new_scene(frames=4, size=(240, 160), samples=16, engine="CYCLES"):
    """An empty file with one scene; motion between keys is even. Names no output yet: see `write_frames`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    return set_up(bpy.context.scene, frames, size, samples, engine)


def set_up(scene, frames, size, samples, engine="CYCLES"):
    render, cycles = scene.render, scene.cycles
    scene.frame_start, scene.frame_end = 1, frames
    render.engine = engine
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = 100
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = samples, False, False
    cycles.max_bounces, cycles.sample_clamp_indirect = 6, 4.0
    scene.view_settings.view_transform = "Filmic" if BEFORE_4_0 else "AgX"
    return scene


def set_format(settings, kind, depth, colours="RGBA"):
    """What is written: `settings` of a scene or of a File Output node. EXR is compressed without loss."""
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE" if kind == "OPEN_EXR_MULTILAYER" else "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = kind, colours, str(depth)
    if "EXR" in kind:
        settings.exr_codec = "ZIP"


def write_frames(scene, path, kind="PNG", depth=8, colours="RGBA"):
    scene.render.filepath = path
    set_format(scene.render.image_settings, kind, depth, colours)


def save(path, frame=1):
    """Writes the file, with paths of files beside it and below relative to it."""
    for scene in bpy.data.scenes:
        scene.frame_set(frame)
    bpy.ops.wm.save_as_mainfile(filepath=path, compress=True, check_existing=False)
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_mainfile(compress=True)
    for older in (path + "1",):
        if os.path.exists(older):
            os.remove(older)


# ---- materials -----------------------------------------------------------------------------------


def set_input(node, name, value):
    if name not in node.inputs:
        name = OLD_INPUTS[name]
    node.inputs[name].default_value = value


def shader(name, **inputs):
    """A material; names of inputs are those of the Principled BSDF with `_` for spaces."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    for key, value in inputs.items():
        set_input(principled(material), key.replace("_", " "), value)
    return material


def principled(material):
    return material.node_tree.nodes["Principled BSDF"]


def matte(name, colour, roughness=0.6):
    return shader(name, Base_Color=(*colour, 1), Roughness=roughness)


def metal(name, colour, roughness=0.25):
    return shader(name, Base_Color=(*colour, 1), Metallic=1.0, Roughness=roughness)


def glass(name, colour=(1, 1, 1), roughness=0.0, ior=1.4):
    return shader(name, Base_Color=(*colour, 1), Roughness=roughness, IOR=ior, Transmission_Weight=1.0)


def glow(name, colour, strength):
    return shader(name, Base_Color=(*colour, 1), Emission_Color=(*colour, 1), Emission_Strength=strength)


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
    value = "Fac" if "Fac" in pattern.outputs else "Distance"
    tree.links.new(pattern.outputs[value], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], principled(material).inputs["Base Color"])
    return material


def show_image(material, image):
    """Paints a material with an image by the mesh's texture coordinates; returns the image's node."""
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    material.node_tree.links.new(node.outputs["Color"], principled(material).inputs["Base Color"])
    return node


# ---- shapes --------------------------------------------------------------------------------------


def place(kind, material, location=(0, 0, 0), parent=None, rotation=(0, 0, 0), smooth=True, **options):
    """A mesh primitive with a material."""
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(location=location, rotation=rotation, **options)
    item = bpy.context.object
    item.data.materials.append(material)
    if smooth:
        item.data.polygons.foreach_set("use_smooth", [True] * len(item.data.polygons))
    item.parent = parent
    return item


def ball(material, radius, location, parent=None, **options):
    """A ball; without a height it stands on the floor."""
    if len(location) == 2:
        location = (*location, radius)
    return place("uv_sphere", material, location, parent, radius=radius, segments=40, ring_count=22, **options)


def block(material, size, location, parent=None, rotation=(0, 0, 0), edge=0.03):
    """A box with rounded edges."""
    item = place("cube", material, location, parent, rotation, smooth=False)
    item.scale = [length / 2 for length in size]
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    rounded = item.modifiers.new("Edges", "BEVEL")
    rounded.width, rounded.segments = edge, 2
    return with_modifiers_applied(item)


def with_modifiers_applied(item):
    """Keeps what the modifiers make now, since some make other bits each time: Blender 4.5 and 5.0 the texture coordinates
    of a bevel, 3.4 the normals of meshes of more than 1,024 faces, for which it uses several threads."""
    made = bpy.data.meshes.new_from_object(item.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    item.modifiers.clear()
    item.data = made
    assert len(made.polygons) <= 1024, f"{item.name} has {len(made.polygons)} faces"
    return item


def rounded_profile(profile):
    """Twice the points, by cutting corners (Chaikin, a round)."""
    made = [profile[0]]
    for (r, z), (next_r, next_z) in zip(profile, profile[1:]):
        made += [(0.75 * r + 0.25 * next_r, 0.75 * z + 0.25 * next_z), (0.25 * r + 0.75 * next_r, 0.25 * z + 0.75 * next_z)]
    return [*made, profile[-1]]


def lathe(name, material, profile, location=(0, 0, 0), parent=None):
    """A body of revolution of a profile of (radius, height), rounded between its points."""
    profile = rounded_profile(profile)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(r, 0, z) for r, z in profile], [(i, i + 1) for i in range(len(profile) - 1)], [])
    mesh.materials.append(material)
    item = add(name, mesh, location, parent=parent)
    turned = item.modifiers.new("Turned", "SCREW")
    turned.steps = turned.render_steps = 40
    turned.use_smooth_shade, turned.use_merge_vertices, turned.merge_threshold = True, True, 0.0001
    return with_modifiers_applied(item)


def vase(material, location, height=1.0, parent=None):
    profile = [(0.0, 0.0), (0.24, 0.0), (0.36, 0.25), (0.33, 0.55), (0.14, 0.8), (0.19, 1.0), (0.15, 1.0), (0.1, 0.8)]
    return lathe("Vase", material, [(r * height, z * height) for r, z in profile], location, parent)


def floor(material, size=60):
    return place("plane", material, size=size, smooth=False)


def add(name, data, location=(0, 0, 0), rotation=(0, 0, 0), parent=None):
    """An object of any data in the scene."""
    item = bpy.data.objects.new(name, data)
    item.location, item.rotation_euler, item.parent = location, rotation, parent
    bpy.context.scene.collection.objects.link(item)
    return item


def pivot(name, parent=None, location=(0, 0, 0), rotation=(0, 0, 0)):
    """An empty that others turn with."""
    return add(name, None, location, rotation, parent)


def move_to(collection, items):
    """Takes objects out of the collections they are in and into another, with what hangs on them."""
    for item in items:
        for part in (item, *item.children_recursive):
            for old in part.users_collection:
                old.objects.unlink(part)
            collection.objects.link(part)


def collection(name):
    made = bpy.data.collections.new(name)
    bpy.context.scene.collection.children.link(made)
    return made


# ---- motion --------------------------------------------------------------------------------------


def keys(item, path, values, index=-1):
    """Keys of a property: pairs of (frame, value)."""
    for frame, value in values:
        if index < 0:
            setattr(item, path, value)
        else:
            getattr(item, path)[index] = value
        item.keyframe_insert(path, index=index, frame=frame)


def turn(item, turns, frames, axis=2):
    """Turns over the frames, at an even speed."""
    start = item.rotation_euler[axis]
    keys(item, "rotation_euler", ((1, start), (frames + 1, start + math.tau * turns)), axis)


# ---- light and view ------------------------------------------------------------------------------


def aim(item, target):
    constraint = item.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"


def lamp(name, location, energy, colour=(1, 1, 1), size=4.0, at=(0, 0, 0.5)):
    """A square softbox, energy in W."""
    item = add(name, bpy.data.lights.new(name, "AREA"), location)
    item.data.size, item.data.energy, item.data.color = size, energy, colour
    aim(item, pivot(f"Aim of {name}", location=at))
    return item


def softboxes(warm=500, cool=180):
    """Daylight from the left, a cool rim from the back."""
    return (lamp("Window", (-4.5, -3.0, 5.5), warm, (1, 0.93, 0.84), 4.0),
            lamp("Rim", (4.5, 4.5, 3.5), cool, (0.55, 0.7, 1), 5.0))


def sky(colour, strength=1.0):
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("Sky")
    scene.world.use_nodes = True
    background = scene.world.node_tree.nodes["Background"]
    set_input(background, "Color", (*colour, 1))
    set_input(background, "Strength", strength)
    return scene.world


def camera(location, at=(0, 0, 0.7), lens=50, parent=None, name="Camera"):
    """A camera that looks at a point; the scene's own if it has none."""
    item = add(name, bpy.data.cameras.new(name), location, parent=parent)
    item.data.lens = lens
    aim(item, pivot(f"Aim of {name}", location=at, parent=parent))
    scene = bpy.context.scene
    scene.camera = scene.camera or item
    return item


def orbiting_camera(location, degrees, frames, **options):
    """A camera that walks around the scene's middle."""
    carrier = pivot("Camera carrier", rotation=(0, 0, -math.radians(degrees) / 2))
    turn(carrier, degrees / 360, frames)
    return camera(location, parent=carrier, **options)
