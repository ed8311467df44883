"""Makes `eevee.blend`: a toy train, rendered by EEVEE.

For an engine that needs a graphics card and whole frames.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
import drawn  # noqa: E402


def main():
    path = output_file()
    engine = "BLENDER_EEVEE_NEXT" if (4, 2, 0) <= bpy.app.version < (5, 0, 0) else "BLENDER_EEVEE"
    scene = new_scene(drawn.FRAMES, drawn.SIZE, engine=engine)
    drawn.train()
    scene.eevee.taa_render_samples = 16
    write_frames(scene, "//frames/eevee_####", "PNG", 8, "RGB")
    save(path)


main()
