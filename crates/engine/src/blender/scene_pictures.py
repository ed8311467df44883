"""Whether all that the scene shows is there: Blender renders without it and says nothing, or renders it in pink."""

import os
import re
import time

import bpy

from scene_files import shader_nodes
from scene_geometry import animates

# Time to decode pictures as the scene is opened, by those versions whose Cycles does not tell that it cannot.
DECODING_SECONDS_MAX = 10


def numbered(path, number):
    """The picture of this number in the sequence that a path is one of."""
    folder, name = os.path.split(path)
    match = re.match(r"^(.*?)(\d+)(\D*)$", name)
    if match is None:
        return path
    return os.path.join(folder, f"{match[1]}{number:0{len(match[2])}d}{match[3]}")


def shown_number(user, frame):
    """The number of the picture that a node shows of a sequence at a frame; none if it shows none."""
    length = user.frame_duration
    if length == 0:
        return None
    number = frame - user.frame_start + 1
    if user.use_cyclic:
        number = number % length or length
    return min(max(number, 0), length) + user.frame_offset


def texture_nodes():
    """Nodes that show an image, of all materials, lights and worlds."""
    for _, node in shader_nodes():
        if node.bl_idname in {"ShaderNodeTexImage", "ShaderNodeTexEnvironment"} and node.image is not None:
            if not node.mute and any(socket.is_linked for socket in node.outputs):
                yield node


def sequences_are_animated():
    """Does which picture of a sequence is shown depend on more than the frame? Then what is hidden must be evaluated too."""
    return any(node.image.source == "SEQUENCE" and node.id_data.animation_data is not None for node in texture_nodes())


def lacking(scene, image_paths):
    """Files that the scene shows at its current frame and that are not there."""
    found = set()
    for node in texture_nodes():
        image = node.image
        if image.source not in {"FILE", "SEQUENCE", "MOVIE", "TILED"} or len(image.packed_files) > 0:
            continue
        paths = image_paths(image)
        if image.source == "SEQUENCE":
            number = shown_number(node.image_user, scene.frame_current)
            paths = [numbered(path, number) for path in paths] if number is not None else []
        found.update(path for path in paths if not os.path.isfile(path))
    return found | unread_volumes(scene)


def unread_volumes(scene):
    """Volumes whose file of the current frame cannot be read."""
    found = set()
    objects = [item for item in scene.objects if item.type == "VOLUME" and not item.hide_render]
    if objects:
        depsgraph = bpy.context.evaluated_depsgraph_get()
        for item in objects:
            grids = item.evaluated_get(depsgraph).data.grids
            grids.load()
            if grids.error_message:
                found.add(f"{item.data.name} ({grids.error_message})")
    return found


def undecodable(image_paths):
    """Pictures that are there and cannot be read. From 5.0 on Cycles says so itself."""
    if bpy.app.version >= (5, 0, 0):
        return []
    found, begun = [], time.monotonic()
    for image in {node.image for node in texture_nodes()}:
        if image.source not in {"FILE", "TILED"} or image.has_data or time.monotonic() - begun > DECODING_SECONDS_MAX:
            continue
        if image.size[0] == 0:
            found += image_paths(image)
        if len(image.packed_files) == 0:
            image.buffers_free()
    return found


def is_opaque(scene, layer):
    """Does nothing before the camera leave a pixel without alpha, if it is rendered?"""
    camera = scene.camera
    if scene.render.film_transparent or not layer.use_sky or camera is None:
        return False
    # Some panoramas leave a part of the picture empty.
    if camera.type != "CAMERA" or camera.data.type not in {"PERSP", "ORTHO"}:
        return False
    cutting = ("is_holdout", "is_shadow_catcher")
    if any(item.is_holdout or item.is_shadow_catcher or animates(item, cutting) for item in bpy.data.objects):
        return False
    collections = [layer.layer_collection]
    for collection in collections:
        if collection.holdout:
            return False
        collections.extend(collection.children)
    owners = [*bpy.data.materials, *bpy.data.worlds]
    trees = [owner.node_tree for owner in owners if owner.node_tree is not None]
    return not any(node.bl_idname == "ShaderNodeHoldout" for tree in [*trees, *bpy.data.node_groups] for node in tree.nodes)
