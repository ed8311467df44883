"""Renders whole frames as Blender does alone: `whole_frame.py -- SCENE FRAME exr|png OUTPUT`."""

import os
import sys

import bpy

SCENE, FRAME, KIND, OUTPUT = sys.argv[sys.argv.index("--") + 1:][:4]

bpy.ops.wm.open_mainfile(filepath=os.path.abspath(SCENE), use_scripts=False)
scene = bpy.context.scene
render = scene.render
if KIND == "exr":
    render.use_compositing = False
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "ZIP"
scene.frame_set(int(FRAME))
render.filepath = os.path.abspath(OUTPUT)
bpy.ops.render.render(write_still=True)
