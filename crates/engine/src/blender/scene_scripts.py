"""Shaders and cameras in the Open Shading Language whose source is a file of its own. Cycles would compile it beside that file,
where nothing may be written; it fails and renders on without. So they are compiled here, as those within a scene file are."""

import hashlib
import os

import bpy
import _cycles
from scene_files import absolute


def compile_files(scene, folder):
    """Compiles what the scene shades with; gives the files that have errors."""
    if not scene.cycles.shading_system or not _cycles.with_osl:
        return []
    bad = []
    for owner, prefix, path in scripts():
        compiled = os.path.join(folder, "shader.oso")
        if not _cycles.osl_compile(path, compiled):
            bad.append(path)
            continue
        with open(compiled, encoding="utf-8") as file:
            code = file.read()
        setattr(owner, prefix + "bytecode", code)
        # With a hash Cycles takes the code, without one it looks for the file.
        setattr(owner, prefix + "bytecode_hash", hashlib.md5(code.encode(), usedforsecurity=False).hexdigest())
    return bad


def scripts():
    """Nodes and cameras with source files: (owner, how its properties' names begin, path) each."""
    groups = [*bpy.data.materials, *bpy.data.lights, *bpy.data.worlds, *bpy.data.node_groups]
    for group in groups:
        for node in getattr(getattr(group, "node_tree", None) or group, "nodes", []):
            if node.bl_idname == "ShaderNodeScript" and node.mode == "EXTERNAL" and node.filepath.endswith(".osl"):
                yield node, "", absolute(node.filepath, group)
    for camera in bpy.data.cameras:
        if camera.type == "CUSTOM" and camera.custom_mode == "EXTERNAL" and camera.custom_filepath.endswith(".osl"):
            yield camera, "custom_", absolute(camera.custom_filepath, camera)
