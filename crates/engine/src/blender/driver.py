"""Runs inside Blender, or in a Python that imports bpy: opens one scene and answers commands.

One JSON object a line comes in on standard input; one JSON object a line goes out on what was standard
output. Everything Blender itself prints goes to standard error, where the parent keeps the end of it. The
process exits when its standard input ends, so it never outlives its parent.
"""

import array
import ctypes
import json
import os
import queue
import re
import sys
import threading

import bpy
import _cycles  # Blender provides it once bpy is loaded.

# Our other files lie beside this one.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cycles_devices
import scene_pictures
import scene_scripts
from assembled_frame import AssembledFrame, cycles_passes, frame_window, full_size, simple_passes, view_names
from scene_geometry import TYPES, Hidden, frames_leave_traces
from scene_files import image_paths, missing_files, unbaked_simulations

# Rectangles are aimed a quarter of a pixel inside, because Blender truncates fractions of the size.
INSIDE_PIXEL = 0.25
# Cycles' seeds end here.
SEED_MAX = 2**31 - 1
# A file that cannot be rendered may name thousands of missing files; a person reads the first few.
NAMES_MAX = 20
# In this order, because each value narrows what the next may be.
IMAGE_SETTINGS = (
    "media_type", "file_format", "views_format", "color_mode", "color_depth", "exr_codec", "use_exr_interleave",
)
# A frame whose number stands out in a path.
TELLTALE_FRAME = 1048573
# Formats by the endings of files.
FORMATS = {
    "png": "PNG", "exr": "OPEN_EXR_MULTILAYER", "jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF",
    "webp": "WEBP", "bmp": "BMP", "tga": "TARGA", "hdr": "HDR", "dpx": "DPX", "cin": "CINEON", "jp2": "JPEG2000",
}
# Outputs of a Render Layers node whose names are not those of the passes.
SOCKETS = {"Image": "Combined", "Alpha": "Combined", "Noisy Image": "Combined"}
# The first whose parts of a pixel's samples make up the whole.
DIVIDES_SAMPLES_FROM = (4, 4, 0)
# Passes that Cycles has divided by others, by the settings of these.
WEIGHED_BY = {
    "use_pass_diffuse_color": {"Diffuse Direct", "Diffuse Indirect", "DiffDir", "DiffInd"},
    "use_pass_glossy_color": {"Glossy Direct", "Glossy Indirect", "GlossDir", "GlossInd"},
    "use_pass_transmission_color": {"Transmission Direct", "Transmission Indirect", "TransDir", "TransInd"},
    "use_pass_uv": {"Vector"},
}
WHOLE_FRAME_ENGINES = {"BLENDER_EEVEE", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"}


class SceneError(Exception):
    """The scene is at fault, not the engine."""


class Overrides:
    """Property values that were changed, so that the scene's own can be put back."""

    def __init__(self):
        self.changed = []

    def set(self, owner, name, value):
        """Sets a property; one that this version does not know is left out."""
        if not hasattr(owner, name):
            return
        before = getattr(owner, name)
        if before == value:
            return
        self.changed.append((owner, name, before))
        setattr(owner, name, value)

    def keep(self, owner, *names):
        """Has properties put back that will be set many times."""
        self.changed += [(owner, name, getattr(owner, name)) for name in names]

    def restore(self):
        """Puts everything back, last change first."""
        for owner, name, before in reversed(self.changed):
            setattr(owner, name, before)
        self.changed = []


def libc_flush():
    """Blender's C code buffers what it prints; the parent wants it before the answer."""
    try:
        ctypes.CDLL(None).fflush(None)
    except (OSError, AttributeError, TypeError):
        pass


def resident_bytes():
    """Memory of this process, 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError, IndexError):
        return 0


def shown(names):
    """A list for a person."""
    names = sorted(set(names))
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


# ---- the scene -----------------------------------------------------------------------------------


class Session:
    """The open scene and the state that the last command left it in."""

    def __init__(self):
        self.overrides = Overrides()
        self.hidden_in_viewport = self.hidden_in_render = None
        self.configuration = None
        self.frame = None
        # The last frame of which all that it shows was found.
        self.whole_frame = None
        # The frame that Cycles has data of, and whether these are good for no other.
        self.kept_frame = None
        self.forgets_frames = False
        self.name = None
        self.image_settings = {}
        self.window = None
        self.needed = 0
        self.passes = []
        self.seed_added = 0
        self.seed = None

    @property
    def scene(self):
        return bpy.data.scenes[self.name]

    @property
    def layers(self):
        return [layer for layer in self.scene.view_layers if layer.use]

    @property
    def is_cycles(self):
        return self.scene.render.engine == "CYCLES"

    @property
    def is_guided(self):
        """Does Cycles learn where light comes from, from all pixels of the frame? Processors alone do."""
        wanted = self.is_cycles and getattr(self.scene.cycles, "use_guiding", False)
        return bool(wanted and cycles_devices.setting() == "CPU" and getattr(_cycles, "with_path_guiding", False))

    # -- open and describe

    def open(self, command):
        path = command["path"]
        self.overrides = Overrides()
        # Whether a volume's file can be read is seen in the viewport.
        self.hidden_in_viewport = Hidden("hide_viewport", TYPES - {"VOLUME"})
        self.hidden_in_render = Hidden("hide_render")
        self.configuration = self.frame = self.whole_frame = None
        self.seed_added = 0
        try:
            bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
        except RuntimeError as error:
            raise SceneError(f"Blender cannot read the scene: {str(error).strip()}") from error
        if os.path.realpath(bpy.data.filepath) != os.path.realpath(path) or bpy.context.scene is None:
            raise SceneError("Blender did not open the scene: is it a .blend file of this or an older version?")
        self.name = command["scene"] or bpy.context.scene.name
        if self.name not in bpy.data.scenes:
            raise SceneError(f"the file has no scene {self.name}, only {shown(s.name for s in bpy.data.scenes)}")
        if bpy.context.window is not None:
            # Blender renders other scenes than the window's without their animation.
            bpy.context.window.scene = self.scene
        self.refuse()
        self.refuse_undecodable()
        if self.is_cycles:
            self.compile_scripts(command["scratch"])
        else:
            # It has slightly other results, and only from the second frame on: Blender alone shows it by itself.
            bpy.context.preferences.system.use_gpu_subdivision = False
            self.try_graphics(command["scratch"])
        image = self.scene.render.image_settings
        self.image_settings = {name: getattr(image, name) for name in IMAGE_SETTINGS if hasattr(image, name)}
        if not scene_pictures.sequences_are_animated():
            self.hidden_in_viewport.hide()
        self.set_frame(self.scene.frame_current)
        return self.describe()

    def refuse(self):
        """Refuses by name what cannot be rendered right."""
        scene = self.scene
        engine = scene.render.engine
        if engine != "CYCLES" and engine not in WHOLE_FRAME_ENGINES:
            raise SceneError(
                f"the scene's render engine is {engine}, which is not part of Blender; "
                "hint: set Render Properties > Render Engine to Cycles and save"
            )
        if not self.layers:
            raise SceneError("no view layer of the scene is enabled for rendering")
        cameras = [scene.camera] + [marker.camera for marker in scene.timeline_markers]
        if not any(cameras):
            raise SceneError("the scene has no camera; hint: add one and make it active")
        editor = scene.sequence_editor
        if scene.render.use_sequencer and editor is not None:
            strips = getattr(editor, "strips", None) or getattr(editor, "sequences", [])
            if any(strip.type != "SOUND" and not strip.mute for strip in strips):
                raise SceneError(
                    "the video sequencer has strips, which Blender would show in place of the scene; "
                    "hint: turn off Output Properties > Post Processing > Sequencer"
                )
        missing = missing_files()
        if missing:
            raise SceneError(f"files that the scene needs are missing: {shown(missing)}")
        unbaked = unbaked_simulations(scene)
        read = set().union(*self.passes_read().values())
        unknown = read - {name for name, _, _ in simple_passes(self.layers[0])}
        if not self.is_cycles and unknown:
            raise SceneError(f"compositing reads passes that are not fetched from {engine}: {shown(unknown)}")
        if unbaked:
            raise SceneError(f"simulations are not baked: {shown(unbaked)}; hint: bake them to disk and save")

    def try_graphics(self, scratch):
        """Draws a few pixels of nothing: where there is no graphics context Blender ends here, not in the first frame."""
        trial = bpy.data.scenes.new("graphics trial")
        camera = bpy.data.cameras.new("graphics trial")
        trial.camera = bpy.data.objects.new("graphics trial", camera)
        trial.render.engine = "BLENDER_WORKBENCH"
        trial.render.resolution_x = trial.render.resolution_y = 8
        trial.render.filepath = os.path.join(scratch, "trial.png")
        bpy.ops.render.render(write_still=True, scene=trial.name)
        is_drawn = os.path.isfile(trial.render.filepath)
        bpy.data.objects.remove(trial.camera)
        bpy.data.cameras.remove(camera)
        bpy.data.scenes.remove(trial)
        if not is_drawn:
            raise SceneError(f"{self.scene.render.engine} draws nothing here: there is no graphics context")

    def compile_scripts(self, scratch):
        bad = scene_scripts.compile_files(self.scene, scratch)
        if bad:
            raise SceneError(f"shaders in the Open Shading Language do not compile: {shown(bad)}")

    def refuse_undecodable(self):
        bad = scene_pictures.undecodable(image_paths)
        if bad:
            raise SceneError(f"pictures that the scene needs cannot be read: {shown(bad)}")

    def refuse_lacking(self):
        """Refuses the current frame if something that it shows is not there: it would be left out, or pink."""
        if self.whole_frame == self.frame:
            return
        lacking = scene_pictures.lacking(self.scene, image_paths)
        if lacking:
            raise SceneError(f"files that frame {self.frame} needs are missing: {shown(lacking)}")
        self.whole_frame = self.frame

    def denoises(self, layer):
        """Does Cycles denoise this layer after rendering?"""
        wanted = self.is_cycles and self.scene.cycles.use_denoising and layer.cycles.use_denoising
        return bool(wanted and _cycles.with_openimagedenoise)

    def own_samples(self):
        """Samples a pixel that the scene asks for: the most of its layers."""
        scene = self.scene
        if scene.render.engine == "BLENDER_WORKBENCH":
            return {"OFF": 1, "FXAA": 1}.get(scene.display.render_aa) or int(scene.display.render_aa)
        if not self.is_cycles:
            return scene.eevee.taa_render_samples
        return max(self.samples_of(layer) for layer in self.layers)

    def samples_of(self, layer):
        cycles, own = self.scene.cycles, layer.samples
        if own == 0 or cycles.use_layer_samples == "IGNORE":
            return cycles.samples
        return own if cycles.use_layer_samples == "USE" else min(own, cycles.samples)

    def describe(self):
        scene = self.scene
        render, image = scene.render, scene.render.image_settings
        warnings = []
        if self.is_cycles:
            self.warn_of_cycles(warnings)
        if bpy.app.autoexec_fail:
            message = str(bpy.app.autoexec_fail_message).strip()
            warnings.append(f"the scene's scripts and scripted drivers do not run: {message}")
        self.passes = self.rendered_passes()
        _, _, width, height = frame_window(render)
        return {
            "scene": self.name,
            "size": [width, height],
            "has_border": render.use_border,
            "whole_frames": not self.is_cycles or self.is_guided,
            "frames": [scene.frame_start, scene.frame_end],
            "frame_step": scene.frame_step,
            "frame_rate": render.fps / render.fps_base,
            "samples": self.own_samples(),
            "adaptive": bool(self.is_cycles and scene.cycles.use_adaptive_sampling),
            "guided_volumes": self.guides_volumes(),
            "passes": self.passes,
            "needed_passes": self.needed,
            "weight_passes": self.weight_passes(),
            "indivisible": self.indivisible(),
            "unequal_samples": self.is_cycles and len({self.samples_of(layer) for layer in self.layers}) > 1,
            "output": {
                "path": self.output_path(),
                "format": "PNG" if render.is_movie_format else image.file_format,
                "suffixes": self.view_suffixes(),
            },
            "warnings": warnings,
        }

    def indivisible(self):
        """Why a part of each pixel's samples cannot be rendered by itself, if so."""
        if not self.is_cycles:
            return "the scene's render engine draws whole frames, whose samples cannot be divided"
        if bpy.app.version < DIVIDES_SAMPLES_FROM:
            return f"Blender {bpy.app.version_string} does not divide samples; hint: use Blender 4.4 or later"
        if self.is_guided:
            return ("path guiding learns from the samples before, so that they cannot be divided; hint: turn off Render Properties "
                    "> Sampling > Path Guiding")
        if self.scene.cycles.use_sample_subset:
            return ("the scene itself renders a part of its samples; hint: turn off Render Properties > Sampling > Advanced > "
                    "Sample Subset")
        return None

    def weight_passes(self):
        """Passes that ranges of samples are weighed by, where the scene does not deliver them by itself."""
        if self.indivisible():
            return []
        found, views = [], view_names(self.scene.render)
        for layer in self.layers:
            own = {name for name, _, _ in self.raw_passes(layer)}
            change = Overrides()
            self.enable_weights(layer, change)
            found += [{"layer": layer.name, "pass": name, "view": view, "channels": channels}
                      for name, channels, _ in self.raw_passes(layer) if name not in own for view in views]
            change.restore()
        return found

    def enable_weights(self, layer, overrides):
        own = {name for name, _, _ in cycles_passes(self.scene, layer)}
        if self.scene.cycles.use_adaptive_sampling:
            overrides.set(layer.cycles, "pass_debug_sample_count", True)
        for setting, weighed in WEIGHED_BY.items():
            if not weighed.isdisjoint(own):
                overrides.set(layer, setting, True)

    def guides_volumes(self):
        """Does Cycles sample volumes as it found their neighbourhood, as it does from Blender 5.0 on?"""
        if not self.is_cycles or getattr(self.scene.cycles, "volume_biased", True):
            return False
        trees = [owner.node_tree for owner in (*bpy.data.materials, *bpy.data.worlds) if owner.node_tree and owner.users]
        sockets = (socket for tree in trees for node in tree.nodes for socket in node.inputs)
        return any(socket.name == "Volume" and socket.is_linked for socket in sockets)

    def output_path(self):
        """Where Blender would write frames, with `#` in place of the number's digits."""
        render = self.scene.render
        runs = re.findall("#+", os.path.basename(render.filepath))
        digits = len(runs[-1]) if runs else 4
        if render.is_movie_format:
            stem = os.path.splitext(bpy.path.abspath(render.filepath))[0]
            return os.path.abspath(stem + ("" if runs else "#" * digits) + ".png")
        path = os.path.abspath(render.frame_path(frame=TELLTALE_FRAME))
        before, _, after = path.rpartition(str(TELLTALE_FRAME).zfill(digits))
        return before + "#" * digits + after

    def view_suffixes(self):
        """What stands behind the names of files that Blender writes one of for each view."""
        render = self.scene.render
        if not render.use_multiview or render.image_settings.views_format != "INDIVIDUAL":
            return []
        return [view.file_suffix for view in render.views if view.name in view_names(render)]

    def rendered_passes(self):
        """Everything that the scene's engine delivers of all layers and views, what finishing needs first."""
        read = self.passes_read()
        needed, others = [], []
        views = view_names(self.scene.render)
        for layer in self.layers:
            passes = self.raw_passes(layer)
            wanted = read.get(layer.name, set()) | {"Combined"}
            if self.denoises(layer):
                wanted |= {"Denoising Albedo", "Denoising Normal"}
            everything = not wanted <= {name for name, _, _ in passes}
            for name, channels, _ in passes:
                target = needed if everything or name in wanted else others
                target += [{"layer": layer.name, "pass": name, "view": view, "channels": channels, "denoised":
                            name == "Combined" and self.denoises(layer)} for view in views]
        self.needed = len(needed)
        return needed + others

    def raw_passes(self, layer):
        """What rectangles have of a layer: denoising is off then, and its data on."""
        if not self.is_cycles:
            return simple_passes(layer)
        change = Overrides()
        self.keep_denoising_data(layer, change)
        change.set(self.scene.cycles, "use_denoising", False)
        passes = cycles_passes(self.scene, layer)
        change.restore()
        return passes

    def keep_denoising_data(self, layer, overrides):
        if self.denoises(layer):
            overrides.set(layer.cycles, "denoising_store_passes", True)

    def compositor_nodes(self):
        """The nodes of the compositor, none if it is off."""
        scene = self.scene
        # From 5.0 they are a group of the scene; before, a tree that could be switched off.
        if hasattr(scene, "compositing_node_group"):
            tree = scene.compositing_node_group
        else:
            tree = scene.node_tree if scene.use_nodes else None
        return tree.nodes if scene.render.use_compositing and tree is not None else []

    def composites_other_scenes(self):
        """Does the compositor show scenes besides this one? Blender renders them then."""
        return any(getattr(node, "scene", None) not in (None, self.scene) for node in self.compositor_nodes())

    def passes_read(self):
        """Passes that the compositor reads, by layer."""
        scene = self.scene
        read = {}
        for node in self.compositor_nodes():
            if node.bl_idname == "CompositorNodeRLayers" and node.scene in (None, scene):
                used = {SOCKETS.get(socket.name, socket.name) for socket in node.outputs if socket.is_linked}
                read.setdefault(node.layer, set()).update(used)
            if node.bl_idname == "CompositorNodeCryptomatteV2" and node.source == "RENDER":
                for layer in self.layers:
                    names = {name for name, _, _ in self.raw_passes(layer) if name.startswith("Crypto")}
                    read.setdefault(layer.name, set()).update(names)
        return read

    def warn_of_cycles(self, warnings):
        scene = self.scene
        cycles = scene.cycles
        wants = cycles.use_denoising and any(layer.cycles.use_denoising for layer in self.layers)
        if wants and not _cycles.with_openimagedenoise:
            warnings.append("denoising is on, but this Blender was built without OpenImageDenoise: left out")
        if cycles.time_limit > 0:
            warnings.append("a time limit is set: all samples are rendered instead")
        if getattr(cycles, "use_guiding", False) and not getattr(_cycles, "with_path_guiding", False):
            warnings.append("path guiding is on, but this Blender was built without it: left out")
        if scene.render.use_freestyle and any(layer.use_freestyle for layer in self.layers):
            warnings.append("Freestyle lines are on: left out, because they need whole frames")
        if cycles.device != "CPU" and cycles_devices.setting() == "CPU":
            warnings.append("the scene asks for a graphics card: rendered on the processor")
        kinds = {"GPENCIL", "GREASEPENCIL"}
        if any(item.type in kinds and not item.hide_render for item in scene.objects):
            warnings.append("grease pencil objects need a graphics context: they may be missing")

    # -- render

    def set_frame(self, frame):
        self.scene.frame_set(frame, subframe=0.0)
        self.frame = frame

    def set_image_settings(self, values):
        """Sets the output format; a name that this version does not know is left out."""
        image = self.scene.render.image_settings
        for name in IMAGE_SETTINGS:
            if name in values and hasattr(image, name) and getattr(image, name) != values[name]:
                setattr(image, name, values[name])

    def configure(self, wanted):
        """Brings the scene into the state that rendering rectangles needs, once for each kind of request."""
        if self.configuration == wanted:
            return
        self.restore()
        self.hidden_in_render.show()
        if self.seed_added != wanted["seed"]:
            # A seed that is animated comes with its frame.
            self.frame, self.seed_added = None, wanted["seed"]
        scene, change = self.scene, self.overrides.set
        own_samples = self.own_samples()
        self.common_overrides(wanted["size"], wanted["threads"])
        render = scene.render
        self.window = frame_window(render)
        change(render, "use_crop_to_border", True)
        # What was learned of one frame would guide the next.
        keeps_data = not self.layers_disturb_each_other() and not self.is_guided
        change(render, "use_persistent_data", keeps_data)
        self.kept_frame = None
        self.forgets_frames = self.is_cycles and keeps_data and frames_leave_traces(scene)
        change(render, "use_compositing", False)
        change(render, "use_sequencer", False)
        change(render, "use_stamp", False)
        self.overrides.keep(render, "use_border", "border_min_x", "border_max_x", "border_min_y", "border_max_y")
        if self.is_cycles:
            self.configure_cycles(wanted, own_samples)
        elif render.engine != "BLENDER_WORKBENCH":
            change(scene.eevee, "taa_render_samples", wanted["samples"])
        for layer in self.layers:
            change(layer, "use_pass_combined", True)
        self.set_image_settings({
            "media_type": "MULTI_LAYER_IMAGE",
            "file_format": "OPEN_EXR_MULTILAYER",
            "views_format": "MULTIVIEW",
            "color_depth": "32",
            "exr_codec": "NONE",
            "use_exr_interleave": True,
        })
        self.configuration = wanted

    def layers_disturb_each_other(self):
        """Blender 4.3 to 4.5 keeps the blue noise of one layer's sample count for the next layer, with its data."""
        if not (4, 3, 0) <= bpy.app.version < (5, 0, 0) or not self.is_cycles:
            return False
        cycles = self.scene.cycles
        counts = {layer.samples or cycles.samples for layer in self.layers}
        return len(counts) > 1 and cycles.use_layer_samples != "IGNORE" and cycles.sampling_pattern != "TABULATED_SOBOL"

    def configure_cycles(self, wanted, own_samples):
        cycles, change = self.scene.cycles, self.overrides.set
        for layer in self.layers:
            self.keep_denoising_data(layer, self.overrides)
        change(cycles, "device", cycles_devices.setting())
        change(cycles, "use_denoising", False)
        change(cycles, "use_deterministic_guiding", True)
        change(cycles, "time_limit", 0.0)
        if wanted["seed"] != 0:
            self.seed = (cycles.seed + wanted["seed"]) & SEED_MAX
            change(cycles, "seed", self.seed)
        if wanted["range"] is not None:
            change(cycles, "use_sample_subset", True)
            change(cycles, "sample_offset", wanted["range"][0])
            change(cycles, "sample_subset_length", wanted["range"][1])
        if wanted["weights"]:
            for layer in self.layers:
                self.enable_weights(layer, self.overrides)
        if wanted["samples"] != own_samples or wanted["range"] is not None:
            change(cycles, "samples", wanted["samples"])
            for layer in self.layers:
                change(layer, "samples", 0)

    def common_overrides(self, size, threads):
        """What rectangles and finished frames have in common."""
        change, render = self.overrides.set, self.scene.render
        change(render, "use_single_layer", False)
        change(render, "use_freestyle", False)
        change(render, "use_render_cache", False)
        change(render, "use_overwrite", True)
        change(render, "use_placeholder", False)
        if tuple(size) != frame_window(render)[2:]:
            if render.use_border:
                raise SceneError("the scene renders a border: its size cannot be changed")
            change(render, "resolution_percentage", 100)
            change(render, "resolution_x", size[0])
            change(render, "resolution_y", size[1])
        if threads > 0:
            change(render, "threads_mode", "FIXED")
            change(render, "threads", threads)
        else:
            change(render, "threads_mode", "AUTO")

    def restore(self):
        self.overrides.restore()
        self.set_image_settings(self.image_settings)
        self.configuration = None

    def write_picture(self, output):
        if self.scene.camera is None:
            raise SceneError(f"no camera is active in frame {self.frame}")
        self.scene.render.filepath = output
        try:
            bpy.ops.render.render(write_still=True, scene=self.name)
        except RuntimeError as error:
            raise RuntimeError(f"Blender did not render frame {self.frame}: {str(error).strip()}") from error

    def write_frame(self, output):
        """Renders an animation of the current frame, as `blender -f` does: File Output nodes number their files only then."""
        if self.scene.camera is None:
            raise SceneError(f"no camera is active in frame {self.frame}")
        scene = self.scene
        scene.frame_start = scene.frame_end = self.frame
        folder, name = os.path.split(output)
        number = re.compile(f"{'-' * (self.frame < 0)}0*{abs(self.frame)}(?![0-9])")
        found = list(number.finditer(name))
        if not found:
            # An animation would add the number to the name.
            return self.write_picture(output)
        last = found[-1]
        scene.render.filepath = os.path.join(folder, name[: last.start()] + "#" * len(last[0].lstrip("-")) + name[last.end() :])
        try:
            bpy.ops.render.render(animation=True, scene=self.name)
        except RuntimeError as error:
            raise RuntimeError(f"Blender did not finish frame {self.frame}: {str(error).strip()}") from error

    def aim(self, rect):
        """Lets Blender render exactly this rectangle (x, y from the top, width, height) of the frame."""
        render = self.scene.render
        left, bottom, width, height = self.window
        x, y = left + rect[0], bottom + height - rect[1] - rect[3]
        if not self.is_cycles and rect == [0, 0, width, height]:
            # The whole frame is drawn as the user has it.
            return
        render.use_border = True
        full = full_size(render)
        fraction = lambda pixel, side: min(1.0, (pixel + INSIDE_PIXEL) / side)
        # The maximum first: Blender keeps no order between the two, but a border of no width is refused later.
        render.border_max_x = fraction(x + rect[2], full[0])
        render.border_min_x = fraction(x, full[0])
        render.border_max_y = fraction(y + rect[3], full[1])
        render.border_min_y = fraction(y, full[1])

    def render(self, command):
        self.configure({key: command[key] for key in ("size", "samples", "range", "weights", "seed", "threads")})
        if self.forgets_frames and self.kept_frame != command["frame"]:
            # Blender lets go of the data when it is not to keep it any more.
            self.scene.render.use_persistent_data = False
            self.scene.render.use_persistent_data = True
        self.kept_frame = command["frame"]
        if self.frame != command["frame"]:
            self.set_frame(command["frame"])
        self.refuse_lacking()
        if self.is_cycles:
            cycles = self.scene.cycles
            if command["seed"] != 0 and cycles.seed != self.seed:
                self.seed = (cycles.seed + command["seed"]) & SEED_MAX
                cycles.seed = self.seed
        self.aim(command["rect"])
        self.write_picture(command["output"])
        if not os.path.isfile(command["output"]):
            raise RuntimeError(f"Blender wrote nothing for frame {self.frame}")
        opaque = self.is_cycles and scene_pictures.is_opaque(self.scene, self.layers[0])
        card = cycles_devices.in_use(self.scene) if self.is_cycles else None
        return {"resident_bytes": resident_bytes(), "opaque": opaque, "card": card}

    # -- finish

    def denoise(self, command):
        """Denoises a file with a layer's settings, as Cycles does after rendering."""
        self.restore()
        layer = self.scene.view_layers[command["layer"]]
        pointers = [owner.as_pointer() for owner in (bpy.context.preferences, self.scene, layer)]
        _cycles.denoise(*pointers, input=[command["exr"]], output=[command["output"]])
        return {"resident_bytes": resident_bytes()}

    def choose_format(self, ending):
        """The format that files with this ending have: with the scene's settings if it is the scene's own."""
        render = self.scene.render
        image = render.image_settings
        if ending is None and not render.is_movie_format:
            return
        wanted = FORMATS["png" if ending is None else ending]
        same = {"OPEN_EXR", "OPEN_EXR_MULTILAYER"} if wanted == "OPEN_EXR_MULTILAYER" else {wanted}
        if image.file_format in same:
            return
        layers = wanted == "OPEN_EXR_MULTILAYER"
        self.set_image_settings({"media_type": "MULTI_LAYER_IMAGE" if layers else "IMAGE", "file_format": wanted})
        if layers:
            self.set_image_settings({"color_depth": "32", "exr_codec": "ZIP"})
            if render.use_multiview:
                self.set_image_settings({"views_format": "MULTIVIEW"})

    def load_pixels(self, path, passes):
        """The passes of an assembled frame, one after the other in a file of 32-bit floats."""
        AssembledFrame.pixels = {}
        _, _, width, height = frame_window(self.scene.render)
        with open(path, "rb") as file:
            for entry in passes:
                pixels = array.array("f")
                pixels.fromfile(file, width * height * len(entry["channels"]))
                AssembledFrame.pixels[entry["layer"], entry["pass"], entry["view"]] = pixels

    def finish(self, command):
        """Lets Blender treat an assembled frame as if it had just rendered it, and write its files."""
        self.configure_finish({key: command[key] for key in ("size", "threads", "ending")})
        self.load_pixels(command["pixels"], command["passes"])
        AssembledFrame.metadata = command["metadata"]
        self.set_frame(command["frame"])
        try:
            self.write_frame(command["output"])
        finally:
            AssembledFrame.pixels = {}
        return {"resident_bytes": resident_bytes()}

    def configure_finish(self, wanted):
        """Brings the scene into the state that finishing needs."""
        if self.configuration == wanted:
            return
        self.restore()
        if not self.composites_other_scenes():
            self.hidden_in_viewport.hide()
            self.hidden_in_render.hide()
        scene = self.scene
        list_passes = (lambda layer: cycles_passes(scene, layer)) if self.is_cycles else simple_passes
        # The list names what Blender's own render would have: the denoiser's input too.
        AssembledFrame.passes = {layer.name: list_passes(layer) for layer in self.layers}
        self.common_overrides(wanted["size"], wanted["threads"])
        self.choose_format(wanted["ending"])
        self.overrides.set(scene.render, "engine", AssembledFrame.bl_idname)
        # Together, because Blender moves one to keep them in order.
        self.overrides.keep(scene, "frame_start", "frame_end")
        self.configuration = wanted


# ---- commands ------------------------------------------------------------------------------------


def read_commands(stream, commands):
    """Hands commands over; exits the process, even while it renders, when the parent is gone."""
    for line in stream:
        commands.put(json.loads(line))
    os._exit(0)


def main():
    nonce = sys.argv[sys.argv.index("--") + 1]
    # Keep the two pipes for ourselves: what Blender prints goes to standard error, what it reads is empty.
    stdin, stdout = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    libc_flush()
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)

    def answer(value):
        sys.stdout.flush()
        libc_flush()
        os.write(2, f"\n{nonce} {value['id']}\n".encode())
        stdout.write(nonce + " " + json.dumps(value) + "\n")
        stdout.flush()

    bpy.utils.register_class(AssembledFrame)
    session = Session()
    actions = cycles_devices.ACTIONS | {"open": session.open, "render": session.render, "denoise": session.denoise, "finish": session.finish}
    commands = queue.Queue(maxsize=4)
    threading.Thread(target=read_commands, args=(stdin, commands), daemon=True).start()
    build_hash = bpy.app.build_hash
    build_hash = build_hash.decode() if isinstance(build_hash, bytes) else str(build_hash)
    answer({"id": 0, "ok": {"version": bpy.app.version_string, "build_hash": build_hash}})
    while True:
        command = commands.get()
        try:
            answer({"id": command["id"], "ok": actions[command["command"]](command)})
        except SceneError as error:
            answer({"id": command["id"], "scene_error": str(error)})
        except Exception as error:  # whatever Blender raises is the parent's to report
            answer({"id": command["id"], "error": f"{type(error).__name__}: {error}"})


main()
