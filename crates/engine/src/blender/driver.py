"""Runs inside Blender, or in a Python that imports bpy: opens one scene and answers commands.

One JSON object a line comes in on standard input; one JSON object a line goes out on what was standard
output. Everything Blender itself prints goes to standard error, where the parent keeps the end of it. The
process exits when its standard input ends, so it never outlives its parent.
"""

import ctypes
import json
import os
import queue
import re
import sys
import threading

import bpy
import _cycles  # Blender provides it once bpy is loaded.
from cycles.engine import list_render_passes

# Our other files lie beside this one.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cycles_devices
import scene_pictures

# Rectangles are aimed a quarter of a pixel inside, because Blender truncates fractions of the size.
INSIDE_PIXEL = 0.25
# Cycles' seeds end here.
SEED_MAX = 2**31 - 1
# A file that cannot be rendered may name thousands of missing files; a person reads the first few.
NAMES_MAX = 20
# What tiles may carry, in canonical order.
PASSES = ("combined", "depth", "normal", "albedo")
# In this order, because each value narrows what the next may be.
IMAGE_SETTINGS = ("media_type", "file_format", "color_mode", "color_depth", "exr_codec", "use_exr_interleave")


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

    def restore(self):
        """Puts everything back, last change first."""
        for owner, name, before in reversed(self.changed):
            setattr(owner, name, before)
        self.changed = []


class AssembledFrame(bpy.types.RenderEngine):
    """Delivers a frame that was rendered elsewhere: all that Blender does after rendering then applies to it."""

    bl_idname = "ASSEMBLED_FRAME"
    bl_label = "Assembled frame"
    bl_use_preview = False
    bl_use_postprocess = True
    source = ""

    def update_render_passes(self, scene=None, renderlayer=None):
        # The same list as Cycles has: the compositor cuts links to passes that an engine does not name.
        for name, channels, kind in distinct_passes(scene, renderlayer):
            self.register_pass(scene, renderlayer, name, len(channels), channels, kind)

    def render(self, depsgraph):
        scene = depsgraph.scene
        result = self.begin_result(0, 0, scene.render.resolution_x, scene.render.resolution_y)
        layer = result.layers[0]
        there = {render_pass.name for render_pass in layer.passes}
        for name, channels, _ in distinct_passes(scene, scene.view_layers[layer.name]):
            if name not in there:
                self.add_pass(name, len(channels), channels, layer=layer.name)
        result.load_from_file(AssembledFrame.source)
        self.end_result(result)


def distinct_passes(scene, layer):
    """What Cycles delivers for a layer, (name, channels, kind) each; its own list names some twice."""
    return {render_pass[0]: render_pass for render_pass in reversed(list(list_render_passes(scene, layer)))}.values()


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


# ---- what the scene needs ------------------------------------------------------------------------


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
    for group in [*bpy.data.materials, *bpy.data.lights, *bpy.data.node_groups]:
        for node in getattr(getattr(group, "node_tree", None) or group, "nodes", []):
            if node.bl_idname in {"ShaderNodeTexIES", "ShaderNodeScript"} and node.mode == "EXTERNAL" and node.filepath:
                yield absolute(node.filepath, group), False


def cache_folders(scene):
    """Folders of baked simulations."""
    stem = os.path.splitext(os.path.basename(bpy.data.filepath))[0]
    yield absolute(f"//blendcache_{stem}", None)
    for item in scene.objects:
        for modifier in item.modifiers:
            if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
                yield absolute(modifier.domain_settings.cache_directory, item)
            if getattr(modifier, "bake_directory", ""):
                yield absolute(modifier.bake_directory, item)


def needed_files(scene):
    """Every file besides the scene itself that it needs: those that are there, and those that are not."""
    present, missing = set(), set()
    for path, is_sequence in named_files():
        members = sequence(path) if is_sequence else []
        present.update(members)
        if os.path.isfile(path):
            present.add(path)
        elif not members:
            missing.add(path)
    for top in cache_folders(scene):
        for folder, _, names in os.walk(top):
            present.update(os.path.join(folder, name) for name in names)
    return sorted(present), missing


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
            if modifier.type == "NODES" and modifier.node_group is not None:
                nodes = modifier.node_group.nodes
                if any(node.bl_idname == "GeometryNodeSimulationOutput" for node in nodes):
                    found.append(f"simulation nodes {modifier.node_group.name} of {item.name}")
    return found


# ---- the scene -----------------------------------------------------------------------------------


class Session:
    """The open scene and the state that the last command left it in."""

    def __init__(self):
        self.overrides = Overrides()
        self.configuration = None
        self.frame = None
        # The last frame of which all that it shows was found.
        self.whole_frame = None
        self.layer = None
        self.image_settings = {}
        self.files = []
        self.denoises = False
        self.seed_added = 0
        self.seed = None

    @property
    def scene(self):
        return bpy.context.scene

    # -- open and describe

    def open(self, command):
        path = command["path"]
        self.overrides = Overrides()
        self.configuration = self.frame = self.whole_frame = None
        self.seed_added = 0
        try:
            bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
        except RuntimeError as error:
            raise SceneError(f"Blender cannot read the scene: {str(error).strip()}") from error
        if os.path.realpath(bpy.data.filepath) != os.path.realpath(path) or self.scene is None:
            raise SceneError("Blender did not open the scene: is it a .blend file of this or an older version?")
        self.refuse()
        self.refuse_undecodable()
        enabled = [layer for layer in self.scene.view_layers if layer.use]
        self.layer = enabled[0].name
        own = self.scene.render.image_settings
        self.image_settings = {name: getattr(own, name) for name in IMAGE_SETTINGS if hasattr(own, name)}
        self.set_frame(self.scene.frame_current)
        wants = self.scene.cycles.use_denoising and enabled[0].cycles.use_denoising
        self.denoises = bool(wants and _cycles.with_openimagedenoise)
        return self.describe(enabled)

    def refuse(self):
        """Refuses by name what cannot be rendered right."""
        scene = self.scene
        engine = scene.render.engine
        if engine != "CYCLES":
            raise SceneError(
                f"the scene's render engine is {engine}: only CYCLES can be divided into tiles; "
                "hint: set Render Properties > Render Engine to Cycles and save"
            )
        if scene.cycles.shading_system:
            raise SceneError("the scene uses Open Shading Language, which is not supported")
        if not any(layer.use for layer in scene.view_layers):
            raise SceneError("no view layer of the scene is enabled for rendering")
        cameras = [scene.camera] + [marker.camera for marker in scene.timeline_markers]
        if not any(cameras):
            raise SceneError("the scene has no camera; hint: add one and make it active")
        self.files, missing = needed_files(scene)
        if missing:
            raise SceneError(f"files that the scene needs are missing: {shown(missing)}")
        unbaked = unbaked_simulations(scene)
        if unbaked:
            raise SceneError(f"simulations are not baked: {shown(unbaked)}; hint: bake them to disk and save")

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

    def own_samples(self):
        """Samples a pixel that the scene asks for in the rendered layer."""
        cycles = self.scene.cycles
        layer = self.scene.view_layers[self.layer].samples
        if layer == 0 or cycles.use_layer_samples == "IGNORE":
            return cycles.samples
        return layer if cycles.use_layer_samples == "USE" else min(layer, cycles.samples)

    def describe(self, enabled):
        scene = self.scene
        render = scene.render
        notes, warnings = [], []
        if len(enabled) > 1:
            others = [layer.name for layer in enabled[1:]]
            warnings.append(f"only the view layer {self.layer} is rendered, not {shown(others)}")
        self.warn_of_output(warnings)
        self.warn_of_cycles(enabled[0], warnings)
        if bpy.app.autoexec_fail:
            message = str(bpy.app.autoexec_fail_message).strip()
            warnings.append(f"the scene's scripts and scripted drivers do not run: {message}")
        if render.pixel_aspect_x != render.pixel_aspect_y:
            notes.append("pixels are not square")
        size = [render.resolution_x * render.resolution_percentage // 100,
                render.resolution_y * render.resolution_percentage // 100]
        return {
            "layer": self.layer,
            "files": self.files,
            "size": [max(1, side) for side in size],
            "frames": [scene.frame_start, scene.frame_end],
            "frame_rate": render.fps / render.fps_base,
            "samples": self.own_samples(),
            "adaptive": bool(scene.cycles.use_adaptive_sampling),
            "denoises": self.denoises,
            "finish_passes": [name for name in PASSES if name in self.finish_passes()],
            "notes": notes,
            "warnings": warnings,
        }

    def warn_of_output(self, warnings):
        scene = self.scene
        render = scene.render
        lacking = [name for name in self.passes_read() if name not in self.carried()]
        if lacking:
            warnings.append(f"compositing reads passes that are not rendered: {shown(lacking)}")
        editor = scene.sequence_editor
        if render.use_sequencer and editor is not None:
            strips = getattr(editor, "strips_all", None) or getattr(editor, "sequences_all", [])
            if len(strips) > 0:
                warnings.append("the video sequencer is on: its strips are left out")
        if render.use_multiview:
            warnings.append("stereo views are on: only one view is rendered")
        if render.is_movie_format:
            warnings.append("the scene writes a movie: pictures are written instead")

    def carried(self):
        """Outputs of a Render Layers node that tiles carry, and the pass that each comes from."""
        sockets = {"Image": "combined", "Alpha": "combined", "Depth": "depth", "Denoising Albedo": "albedo"}
        # Normals are those of the denoising data when the scene is denoised.
        return sockets | {"Denoising Normal" if self.denoises else "Normal": "normal"}

    def passes_read(self):
        """Outputs of Render Layers nodes that the compositor reads."""
        scene = self.scene
        # From 5.0 the compositor's nodes are a group of the scene; before, a tree that could be switched off.
        if hasattr(scene, "compositing_node_group"):
            tree = scene.compositing_node_group
        else:
            tree = scene.node_tree if scene.use_nodes else None
        if not scene.render.use_compositing or tree is None:
            return []
        read = []
        for node in tree.nodes:
            if node.bl_idname != "CompositorNodeRLayers" or node.mute:
                continue
            used = [socket.name for socket in node.outputs if socket.is_linked]
            own = node.scene in (None, self.scene) and node.layer == self.layer
            read += used if own else [f"{name} of {node.layer}" for name in used]
        return read

    def finish_passes(self):
        """The passes that finishing a frame needs."""
        carried = self.carried()
        needed = {"combined"} | {carried[name] for name in self.passes_read() if name in carried}
        return needed | ({"normal", "albedo"} if self.denoises else set())

    def warn_of_cycles(self, layer, warnings):
        scene = self.scene
        cycles = scene.cycles
        if cycles.use_denoising and layer.cycles.use_denoising:
            if not self.denoises:
                warnings.append("denoising is on, but this Blender was built without OpenImageDenoise: left out")
        if cycles.time_limit > 0:
            warnings.append("a time limit is set: all samples are rendered instead")
        if getattr(cycles, "use_guiding", False):
            warnings.append("path guiding is on: rendered without it, because it depends on what was rendered before")
        if scene.render.use_freestyle and layer.use_freestyle:
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
        self.overrides.restore()
        if self.seed_added != wanted["seed"]:
            # A seed that is animated comes with its frame.
            self.frame, self.seed_added = None, wanted["seed"]
        scene, change = self.scene, self.overrides.set
        own_samples = self.own_samples()
        self.common_overrides(wanted["size"], wanted["threads"])
        render, cycles = scene.render, scene.cycles
        change(render, "use_border", True)
        change(render, "use_crop_to_border", True)
        change(render, "use_persistent_data", True)
        change(render, "use_compositing", False)
        change(render, "use_sequencer", False)
        change(render, "use_stamp", False)
        change(cycles, "device", cycles_devices.setting())
        change(cycles, "use_denoising", False)
        change(cycles, "use_guiding", False)
        change(cycles, "time_limit", 0.0)
        if wanted["seed"] != 0:
            self.seed = (cycles.seed + wanted["seed"]) & SEED_MAX
            change(cycles, "seed", self.seed)
        layer = scene.view_layers[self.layer]
        if wanted["samples"] != own_samples:
            change(cycles, "samples", wanted["samples"])
            change(layer, "samples", 0)
        change(layer, "use_pass_combined", True)
        change(layer, "use_pass_z", "depth" in wanted["passes"])
        normal = "normal" in wanted["passes"]
        change(layer, "use_pass_normal", normal and not self.denoises)
        denoising_data = "albedo" in wanted["passes"] or (normal and self.denoises)
        change(layer.cycles, "denoising_store_passes", denoising_data)
        self.set_image_settings({
            "media_type": "MULTI_LAYER_IMAGE",
            "file_format": "OPEN_EXR_MULTILAYER",
            "color_depth": "32",
            "exr_codec": "NONE",
            "use_exr_interleave": True,
        })
        self.configuration = wanted

    def common_overrides(self, size, threads):
        """What rectangles and finished frames have in common: one layer, one view, this size."""
        scene, change = self.scene, self.overrides.set
        render = scene.render
        for layer in scene.view_layers:
            change(layer, "use", layer.name == self.layer)
        change(render, "use_single_layer", False)
        change(render, "use_freestyle", False)
        change(render, "use_multiview", False)
        change(render, "use_render_cache", False)
        change(render, "use_overwrite", True)
        change(render, "use_placeholder", False)
        change(render, "use_file_extension", False)
        change(render, "resolution_percentage", 100)
        change(render, "resolution_x", size[0])
        change(render, "resolution_y", size[1])
        if threads > 0:
            change(render, "threads_mode", "FIXED")
            change(render, "threads", threads)
        else:
            change(render, "threads_mode", "AUTO")

    def write_picture(self, output):
        if self.scene.camera is None:
            raise SceneError(f"no camera is active in frame {self.frame}")
        self.scene.render.filepath = output
        try:
            bpy.ops.render.render(write_still=True)
        except RuntimeError as error:
            raise RuntimeError(f"Blender did not render frame {self.frame}: {str(error).strip()}") from error
        if not os.path.isfile(output):
            raise RuntimeError(f"Blender wrote nothing for frame {self.frame}")

    def render(self, command):
        size, rect = command["size"], command["rect"]
        self.configure({key: command[key] for key in ("size", "samples", "seed", "passes", "threads")})
        if self.frame != command["frame"]:
            self.set_frame(command["frame"])
        self.refuse_lacking()
        cycles = self.scene.cycles
        if command["seed"] != 0 and cycles.seed != self.seed:
            self.seed = (cycles.seed + command["seed"]) & SEED_MAX
            cycles.seed = self.seed
        render = self.scene.render
        x, y, width, height = rect
        bottom = size[1] - y - height
        fraction = lambda pixel, side: min(1.0, (pixel + INSIDE_PIXEL) / side)
        # The maximum first: Blender keeps no order between the two, but a border of no width is refused later.
        render.border_max_x = fraction(x + width, size[0])
        render.border_min_x = fraction(x, size[0])
        render.border_max_y = fraction(bottom + height, size[1])
        render.border_min_y = fraction(bottom, size[1])
        self.write_picture(command["output"])
        opaque = scene_pictures.is_opaque(self.scene, self.scene.view_layers[self.layer])
        return {"resident_bytes": resident_bytes(), "opaque": opaque, "card": cycles_devices.in_use(self.scene)}

    # -- finish

    def denoise(self, command):
        """Denoises a file with the scene's settings, as Cycles does after rendering."""
        self.overrides.restore()
        self.configuration = None
        layer = self.scene.view_layers[self.layer]
        pointers = [owner.as_pointer() for owner in (bpy.context.preferences, self.scene, layer)]
        _cycles.denoise(*pointers, input=[command["exr"]], output=[command["output"]])
        return {"resident_bytes": resident_bytes()}

    def finish(self, command):
        """Lets Blender treat an assembled frame as if it had just rendered it, and write the picture."""
        self.overrides.restore()
        self.configuration = None
        self.common_overrides(command["size"], command["threads"])
        change, render = self.overrides.set, self.scene.render
        change(render, "use_border", False)
        change(render, "engine", AssembledFrame.bl_idname)
        self.set_image_settings(self.image_settings)
        self.set_image_settings({"media_type": "IMAGE", "file_format": "PNG"})
        AssembledFrame.source = command["exr"]
        self.set_frame(command["frame"])
        try:
            self.write_picture(command["output"])
        finally:
            self.overrides.restore()
        return {"resident_bytes": resident_bytes()}


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
