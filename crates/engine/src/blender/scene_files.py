"""What a scene needs besides its own file: files that it names, and simulations that must be baked."""

import os
import re

import bpy


def absolute(path, owner):
    return os.path.normpath(bpy.path.abspath(path, library=getattr(owner, "library", None)))


def sequence(path):
    """The pictures of the numbered sequence that this path is one of."""
    folder, name = os.path.split(path)
    match = re.match(r"^(.*?)\d+(\D*)$", name)
    if match is None or not os.path.isdir(folder):
        return []
    member = re.compile(re.escape(match[1]) + r"\d+" + re.escape(match[2]) + "$")
    return [os.path.join(folder, name) for name in os.listdir(folder) if member.match(name)]


def image_paths(image):
    """The files that an image reads."""
    path = absolute(image.filepath, image)
    if image.source != "TILED":
        return [path]
    tiles = [tile.number for tile in image.tiles]
    uv_name = lambda number: f"u{(number - 1001) % 10 + 1}_v{(number - 1001) // 10 + 1}"
    return [path.replace("<UDIM>", str(n)).replace("<UVTILE>", uv_name(n)) for n in tiles]


def named_files():
    """What the scene names: (path, is it one of a sequence) each."""
    for image in bpy.data.images:
        on_disk = image.source in {"FILE", "SEQUENCE", "MOVIE", "TILED"} and image.filepath
        if image.users > 0 and on_disk and len(image.packed_files) == 0:
            yield from ((path, image.source == "SEQUENCE") for path in image_paths(image))
    for library in bpy.data.libraries:
        if library.packed_file is None:
            yield absolute(library.filepath, None), False
    others = [(font, False) for font in bpy.data.fonts if font.filepath != "<builtin>"]
    others += [(cache, cache.is_sequence) for cache in bpy.data.cache_files]
    others += [(volume, volume.is_sequence) for volume in getattr(bpy.data, "volumes", [])]
    for item, is_sequence in others:
        if item.users > 0 and item.filepath and getattr(item, "packed_file", None) is None:
            yield absolute(item.filepath, item), is_sequence
    for group, node in shader_nodes():
        if node.bl_idname == "ShaderNodeTexIES" and node.mode == "EXTERNAL" and node.filepath:
            yield absolute(node.filepath, group), False
    for _, _, path in scripts():
        yield path, False


def shader_nodes():
    """All nodes that shade, with what they are nodes of."""
    for group in [*bpy.data.materials, *bpy.data.lights, *bpy.data.worlds, *bpy.data.node_groups]:
        for node in getattr(getattr(group, "node_tree", None) or group, "nodes", []):
            yield group, node


def scripts():
    """Nodes and cameras that a file of the Open Shading Language makes: (owner, how its properties' names begin, path) each."""
    for group, node in shader_nodes():
        if node.bl_idname == "ShaderNodeScript" and node.mode == "EXTERNAL" and node.filepath:
            yield node, "", absolute(node.filepath, group)
    for camera in bpy.data.cameras:
        if camera.type == "CUSTOM" and camera.custom_mode == "EXTERNAL" and camera.custom_filepath:
            yield camera, "custom_", absolute(camera.custom_filepath, camera)


def missing_files():
    """Files that the scene names and that are not there."""
    missing = set()
    for path, is_sequence in named_files():
        if not os.path.isfile(path) and not (is_sequence and sequence(path)):
            missing.add(path)
    return missing


def unbaked_simulations(scene):
    """Simulations whose state at a frame needs all frames before it."""
    found = []
    world = scene.rigidbody_world
    if world is not None and world.enabled and world.collection is not None:
        active = any(o.rigid_body and o.rigid_body.type == "ACTIVE" and not o.rigid_body.kinematic
                     for o in world.collection.objects)
        if active and not world.point_cache.is_baked:
            found.append("rigid bodies")
    for item in scene.objects:
        if item.hide_render:
            continue
        for modifier in item.modifiers:
            if not modifier.show_render:
                continue
            if modifier.type in {"CLOTH", "SOFT_BODY"} and not modifier.point_cache.is_baked:
                found.append(f"{modifier.name} of {item.name}")
            if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
                if not modifier.domain_settings.has_cache_baked_any and not modifier.domain_settings.has_cache_baked_data:
                    found.append(f"{modifier.name} of {item.name}")
            if modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings is not None:
                surfaces = [s for s in modifier.canvas_settings.canvas_surfaces if s.is_active and s.surface_format == "VERTEX"]
                if not all(surface.point_cache.is_baked for surface in surfaces):
                    found.append(f"{modifier.name} of {item.name}")
    return found
