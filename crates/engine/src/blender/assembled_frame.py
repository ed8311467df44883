"""The engine that delivers a frame which was rendered elsewhere, and what a frame of a scene consists of: its passes, its size,
its views."""

import ctypes

import bpy
from cycles.engine import list_render_passes


class AssembledFrame(bpy.types.RenderEngine):
    """Delivers a frame that was rendered elsewhere: all that Blender does after rendering then applies to it."""

    bl_idname = "ASSEMBLED_FRAME"
    bl_label = "Assembled frame"
    bl_use_preview = False
    bl_use_postprocess = True
    # What is delivered: {(layer, pass, view): floats, rows from the bottom}, metadata of the file, passes by layer.
    pixels = {}
    metadata = {}
    passes = {}

    def update_render_passes(self, scene=None, renderlayer=None):
        # The same list as the scene's engine has: the compositor cuts links to passes that an engine does not name.
        for name, channels, kind in AssembledFrame.passes.get(renderlayer.name, []):
            self.register_pass(scene, renderlayer, name, len(channels), channels, kind)

    def render(self, depsgraph):
        render, layer = depsgraph.scene.render, depsgraph.view_layer.name
        width, height = frame_window(render)[2:]
        result = self.begin_result(0, 0, width, height, layer=layer)
        there = {render_pass.name for render_pass in result.layers[0].passes}
        for name, channels, _ in AssembledFrame.passes.get(layer, []):
            if name not in there:
                self.add_pass(name, len(channels), channels, layer=layer)
        views = [view.name for view in result.views] if render.use_multiview else []
        for render_pass in result.layers[0].passes:
            view = views[render_pass.view_id] if views else None
            pixels = AssembledFrame.pixels.get((layer, render_pass.name, view))
            if pixels is not None:
                set_pixels(render_pass, pixels)
        self.end_result(result)
        for name, value in AssembledFrame.metadata.items():
            self.get_result().stamp_data_add_field(name, value)


def set_pixels(render_pass, pixels):
    try:
        render_pass.rect.foreach_set(pixels)
    except TypeError:
        # Blender 3.4 counts pixels where it reads values.
        channels = render_pass.channels
        render_pass.rect = [pixels[at : at + channels] for at in range(0, len(pixels), channels)]


def cycles_passes(scene, layer):
    """What Cycles delivers for a layer, (name, channels, kind) each; its own list names some twice."""
    passes = {}
    for render_pass in list_render_passes(scene, layer):
        passes.setdefault(render_pass[0], render_pass)
    return list(passes.values())


def simple_passes(layer):
    """What the engines that draw whole frames deliver, of the passes whose names no version changes."""
    passes = [("Combined", "RGBA", "COLOR")]
    passes += [("Depth", "Z", "VALUE")] if layer.use_pass_z else []
    passes += [("Mist", "Z", "VALUE")] if layer.use_pass_mist else []
    passes += [("Normal", "XYZ", "VECTOR")] if layer.use_pass_normal else []
    return passes


def full_size(render):
    """Pixels of the camera's whole picture."""
    percentage = render.resolution_percentage
    return max(1, render.resolution_x * percentage // 100), max(1, render.resolution_y * percentage // 100)


def frame_window(render):
    """The part of the camera's picture that the user renders, in pixels: left, bottom, width, height."""
    width, height = full_size(render)
    if not render.use_border:
        return 0, 0, width, height
    # Blender multiplies in single precision and truncates.
    single = lambda value: ctypes.c_float(value).value
    left, right = (int(single(width * single(x))) for x in (render.border_min_x, render.border_max_x))
    bottom, top = (int(single(height * single(y))) for y in (render.border_min_y, render.border_max_y))
    return left, bottom, max(1, right - left), max(1, top - bottom)


def view_names(render):
    """Names of the views that are rendered; one without a name where there is one."""
    if not render.use_multiview:
        return [None]
    used = [view.name for view in render.views if view.use]
    return ["left", "right"] if render.views_format == "STEREO_3D" else used
