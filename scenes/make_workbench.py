"""Makes `workbench.blend`: a toy train, drawn by Workbench.

For an engine that needs a graphics card and whole frames.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
import drawn  # noqa: E402


def main():
    path = output_file()
    scene = new_scene(drawn.FRAMES, drawn.SIZE, engine="BLENDER_WORKBENCH")
    drawn.train()
    shading = scene.display.shading
    shading.light, shading.color_type, shading.show_cavity, shading.show_shadows = "STUDIO", "MATERIAL", True, True
    for material in bpy.data.materials:
        material.diffuse_color = principled(material).inputs["Base Color"].default_value
    write_frames(scene, "//frames/workbench_####", "PNG", 8, "RGB")
    save(path)


main()
