"""Shaders and cameras in the Open Shading Language whose source is a file of its own. Cycles would compile it beside that file,
where nothing may be written; it fails and renders on without. So they are compiled here, as those within a scene file are."""

import hashlib
import os

import _cycles
from scene_files import scripts


def compile_files(scene, folder):
    """Compiles what the scene shades with; gives the files that have errors."""
    if not scene.cycles.shading_system or not _cycles.with_osl:
        return []
    bad = []
    sources = [script for script in scripts() if script[2].endswith(".osl")]
    for owner, prefix, path in sources:
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
