"""Makes scenes that need many files, and tells Blender's own view of a scene file as JSON.

    scenes.py make FOLDER       everything.blend and packed.blend, with what they need
    scenes.py tell FILE         one JSON object on the last line of standard output
"""

import glob
import json
import os
import shutil
import sys
import wave

import bpy


# ---- making --------------------------------------------------------------------------------------


def picture(path):
    """A small picture on disk."""
    image = bpy.data.images.new("made", 4, 4)
    image.filepath_raw, image.file_format = path, "PNG"
    image.save()
    bpy.data.images.remove(image)


def keep(datablock):
    datablock.use_fake_user = True
    return datablock


def texture(material, image):
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    return node


def new_material(name):
    material = keep(bpy.data.materials.new(name))
    material.use_nodes = True
    return material


def make_library(folder):
    """A scene file with an object whose texture is only named there, and another that nobody links."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    os.makedirs(os.path.join(folder, "props", "maps"))
    for name in ("wood", "unlinked", "deep"):
        picture(os.path.join(folder, "props", "maps", name + ".png"))
    material = new_material("deep")
    texture(material, bpy.data.images.load(os.path.join(folder, "props", "maps", "deep.png")))
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "props", "deep.blend"), compress=True)
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_mainfile()

    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = bpy.data.meshes.new("crate")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    for name in ("wood", "unlinked"):
        texture(new_material(name), bpy.data.images.load(os.path.join(folder, "props", "maps", name + ".png")))
    with bpy.data.libraries.load(os.path.join(folder, "props", "deep.blend"), link=True) as (_, wanted):
        wanted.materials = ["deep"]
    mesh.materials.append(bpy.data.materials["wood"])
    mesh.materials.append(next(m for m in bpy.data.materials if m.library))
    keep(bpy.data.objects.new("crate", mesh)).modifiers.new("Lid", "CLOTH")
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "props", "props.blend"), compress=True)
    bpy.ops.file.make_paths_relative()
    bpy.ops.wm.save_mainfile()
    # Nobody links what needs this one.
    os.remove(os.path.join(folder, "props", "maps", "unlinked.png"))


def make_images(folder):
    maps = os.path.join(folder, "maps")
    os.makedirs(maps)
    names = ["plain", "packed", "gone", "shot_0001", "shot_0002", "shot_0003", "wall.1001", "wall.1012"]
    for name in names:
        picture(os.path.join(maps, name + ".png"))
    material = new_material("textured")

    def load(name):
        image = bpy.data.images.load(os.path.join(maps, name + ".png"))
        texture(material, image)
        return image

    load("plain")
    load("packed").pack()
    load("gone")
    load("shot_0001").source = "SEQUENCE"
    tiled = load("wall.1001")
    tiled.source = "TILED"
    tiled.filepath = os.path.join(maps, "wall.<UDIM>.png")
    if 1012 not in [tile.number for tile in tiled.tiles]:
        tiled.tiles.new(1012)
    tiled.tiles.new(1013)
    light = material.node_tree.nodes.new("ShaderNodeTexIES")
    light.mode, light.filepath = "EXTERNAL", os.path.join(folder, "lamp.ies")
    with open(light.filepath, "w", encoding="ascii") as profile:
        profile.write("IESNA\n")


def make_others(folder):
    fonts = glob.glob(os.path.join(bpy.utils.system_resource("DATAFILES"), "fonts", "*.woff2"))
    shutil.copy(sorted(fonts)[0], os.path.join(folder, "letters.woff2"))
    keep(bpy.data.fonts.load(os.path.join(folder, "letters.woff2")))
    with wave.open(os.path.join(folder, "noise.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
        sound.writeframes(bytes(800))
    keep(bpy.data.sounds.load(os.path.join(folder, "noise.wav")))
    keep(bpy.data.movieclips.load(os.path.join(folder, "maps", "plain.png")))
    keep(bpy.data.movieclips.load(os.path.join(folder, "maps", "gone.png"))).name = "footage"
    volume = keep(bpy.data.volumes.new("smoke"))
    volume.filepath = os.path.join(folder, "smoke.vdb")
    open(volume.filepath, "wb").write(b"smoke")
    bpy.ops.cachefile.open(filepath=os.path.join(folder, "motion.abc"))
    keep(bpy.data.cache_files[0])
    script = keep(bpy.data.texts.new("startup.py"))
    script.use_module = True
    keep(bpy.data.texts.new("notes"))


def set_up_simulations(scene):
    """One object that moves in every way, one that is not rendered, and a pencil and a cloud that do not move."""
    flag, hidden = (bpy.data.objects.new(name, bpy.data.meshes.new(name)) for name in ("Flag", "Hidden"))
    pencils = bpy.data.grease_pencils_v3 if hasattr(bpy.data, "grease_pencils_v3") else bpy.data.grease_pencils
    pencil = bpy.data.objects.new("Pencil", pencils.new("Pencil"))
    cloud = bpy.data.objects.new("Cloud", bpy.data.volumes["smoke"])
    for item in (flag, hidden, pencil, cloud):
        scene.collection.objects.link(item)
    hidden.modifiers.new("Wind", "CLOTH")
    hidden.hide_render = True
    flag.modifiers.new("Wind", "CLOTH")
    flag.modifiers.new("Jelly", "SOFT_BODY")
    water = flag.modifiers.new("Water", "FLUID")
    # Blender's fluid solver ends the process when it meets an object without volume.
    water.show_viewport = False
    water.fluid_type = "DOMAIN"
    group = bpy.data.node_groups.new("Growth", "GeometryNodeTree")
    if hasattr(bpy.types, "GeometryNodeSimulationOutput"):
        group.nodes.new("GeometryNodeSimulationOutput")
    flag.modifiers.new("Growth", "NODES").node_group = group
    flag.modifiers.new("Still", "SUBSURF")
    flag.modifiers.new("Paint", "DYNAMIC_PAINT")
    bpy.context.view_layer.objects.active = flag
    bpy.ops.dpaint.type_toggle(type="CANVAS")
    bpy.ops.rigidbody.world_add()
    scene.rigidbody_world.collection = bpy.data.collections.new("Bodies")
    bpy.context.view_layer.objects.active = flag
    bpy.ops.rigidbody.object_add()


def set_up_particles(scene):
    """A system that moves, one that does not, hair, hair that moves, and one with somebody else's cache."""
    grower = bpy.data.objects.new("Grower", bpy.data.meshes.new("Grower"))
    scene.collection.objects.link(grower)
    for name, kind, physics in [("sparks", "EMITTER", "NEWTON"), ("still", "EMITTER", "NO"), ("fur", "HAIR", "NO"),
                                ("mane", "HAIR", "NO"), ("rain", "EMITTER", "NEWTON")]:
        modifier = grower.modifiers.new(name, "PARTICLE_SYSTEM")
        system = modifier.particle_system
        system.name = name
        system.settings.type, system.settings.physics_type = kind, physics
        if name == "mane":
            system.use_hair_dynamics = True
        if name == "rain":
            system.point_cache.use_external = True
            system.point_cache.filepath = "//rain"


def set_up_drivers(scene):
    """Properties that Blender can drive without Python, and others."""
    empty = bpy.data.objects.new("Driven", None)
    scene.collection.objects.link(empty)
    expressions = ["sin(frame) * v", "abs(frame) % 3", "frame % 2"]
    if bpy.app.version[:2] == (4, 5):
        # As a module this version waits for itself when Python has a driver to work out.
        expressions = expressions[:1]
    for index, expression in enumerate(expressions):
        driver = empty.driver_add("location", index).driver
        driver.type = "SCRIPTED"
        variable = driver.variables.new()
        variable.name, variable.targets[0].id, variable.targets[0].data_path = "v", empty, "scale.x"
        driver.expression = expression
    if len(expressions) == 1:
        return
    turned = empty.driver_add("rotation_euler", 0).driver
    turned.type, turned.expression = "SCRIPTED", "bpy.context.scene.frame_current"


def compositor_nodes(scene):
    """The tree that works on the scene's frames."""
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = bpy.data.node_groups.new("Finish", "CompositorNodeTree")
        return scene.compositing_node_group.nodes
    scene.use_nodes = True
    return scene.node_tree.nodes


def set_up_compositor(scene):
    nodes = compositor_nodes(scene)
    nodes.new("CompositorNodeImage").image = bpy.data.images["plain.png"]
    nodes.new("CompositorNodeMovieClip").clip = bpy.data.movieclips["footage"]
    muted = nodes.new("CompositorNodeMovieClip")
    muted.clip, muted.mute = bpy.data.movieclips["plain.png"], True
    output = nodes.new("CompositorNodeOutputFile")
    setattr(output, "directory" if hasattr(output, "directory") else "base_path", "//mattes/")


def new_strips(scene, muted):
    scene.sequence_editor_create()
    editor = scene.sequence_editor
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    length = {"length": 24} if bpy.app.version >= (5, 0, 0) else {"frame_end": 25}
    strips.new_effect(name="Fade", type="COLOR", channel=1, frame_start=1, **length).mute = muted


def set_up_scenes():
    first = bpy.context.scene
    first.name, first.render.engine = "Opening", "CYCLES"
    render, cycles = first.render, first.cycles
    render.resolution_x, render.resolution_y, render.resolution_percentage = 1234, 567, 75
    render.fps, render.fps_base = 30, 1.001
    first.frame_start, first.frame_end, first.frame_step = -7, 321, 3
    cycles.samples, cycles.seed, cycles.use_adaptive_sampling, cycles.use_denoising = 77, 5, False, False
    cycles.time_limit, cycles.device, cycles.use_layer_samples = 12.5, "GPU", "BOUNDED"
    if hasattr(cycles, "use_guiding"):
        cycles.use_guiding = True
    render.use_border, render.use_crop_to_border = True, True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.25, 0.75, 0.125, 0.5
    render.pixel_aspect_x = 2
    render.filepath = "//frames/opening_####"
    render.image_settings.file_format = "TIFF"
    first.view_layers[0].name, first.view_layers[0].samples = "Near", 33
    far = first.view_layers.new("Far")
    far.use, far.samples = False, 99
    for name in ("Main", "Second"):
        item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        first.collection.objects.link(item)
    first.camera = bpy.data.objects["Main"]
    first.timeline_markers.new("cut", frame=9).camera = bpy.data.objects["Second"]
    set_up_simulations(first)
    set_up_particles(first)
    set_up_drivers(first)
    set_up_compositor(first)
    new_strips(first, muted=True)
    first.view_settings.view_transform = "Standard"

    second = bpy.data.scenes.new("Titles")
    second.render.engine = "BLENDER_WORKBENCH"
    if hasattr(second.render.image_settings, "media_type"):
        second.render.image_settings.media_type = "VIDEO"
    second.render.image_settings.file_format = "FFMPEG"
    second.render.use_multiview = True
    new_strips(second, muted=False)
    return first


def make(folder):
    make_library(folder)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    make_images(folder)
    make_others(folder)
    with bpy.data.libraries.load(os.path.join(folder, "props", "props.blend"), link=True) as (_, wanted):
        wanted.objects = ["crate"]
    first = set_up_scenes()
    first.collection.objects.link(next(o for o in bpy.data.objects if o.library))
    for name, compress in (("everything.blend", False), ("packed.blend", True)):
        path = os.path.join(folder, name)
        bpy.ops.wm.save_as_mainfile(filepath=path, compress=compress, relative_remap=True)
        bpy.ops.file.make_paths_relative()
        bpy.ops.wm.save_mainfile(compress=compress)
    os.remove(os.path.join(folder, "maps", "gone.png"))


# ---- telling -------------------------------------------------------------------------------------


def tell_cycles(scene):
    cycles = scene.cycles
    return {
        "samples": cycles.samples, "seed": cycles.seed, "adaptive_sampling": cycles.use_adaptive_sampling,
        "denoising": cycles.use_denoising, "open_shading_language": cycles.shading_system,
        "graphics_card": cycles.device == "GPU", "time_limit_seconds": cycles.time_limit,
        "path_guiding": getattr(cycles, "use_guiding", False),
    }


def layer_samples(scene, layer):
    if scene.render.engine != "CYCLES":
        return None
    most, how = scene.cycles.samples, scene.cycles.use_layer_samples
    if layer.samples == 0 or how == "IGNORE":
        return most
    return layer.samples if how == "USE" else min(layer.samples, most)


def tell_simulations(scene):
    world = scene.rigidbody_world
    if world is not None and world.collection is not None and len(world.collection.objects) > 0:
        yield {"name": "rigid bodies", "baked": world.point_cache.is_baked}
    yield from tell_objects([item for item in scene.objects if item.library is None])


def tell_objects(items):
    for item in items:
        for modifier in item.modifiers:
            simulates = modifier.type in {"CLOTH", "SOFT_BODY", "FLUID"} or (
                modifier.type == "NODES" and "GeometryNodeSimulationOutput" in kinds_of_nodes(modifier.node_group))
            if simulates and not item.hide_render:
                cache = getattr(modifier, "point_cache", None)
                baked = nodes_baked(modifier) if modifier.type == "NODES" else cache is not None and cache.is_baked
                yield {"name": f"{modifier.name} of {item.name}", "baked": baked}
            if modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings is not None and not item.hide_render:
                surfaces = [s for s in modifier.canvas_settings.canvas_surfaces if s.is_active and s.surface_format == "VERTEX"]
                baked = all(surface.point_cache.is_baked for surface in surfaces)
                yield {"name": f"{modifier.name} of {item.name}", "baked": baked}
            if modifier.type == "PARTICLE_SYSTEM" and not item.hide_render:
                yield from tell_particles(item, modifier.particle_system)


def kinds_of_nodes(group):
    return {node.bl_idname for node in group.nodes} if group else set()


def nodes_baked(modifier):
    """Is every bake of the modifier in the file?"""
    bakes = getattr(modifier, "bakes", [])
    return len(bakes) > 0 and all(bake.data_blocks is not None and bake_is_there(modifier, bake) for bake in bakes)


def bake_is_there(modifier, bake):
    folder = bake.directory if bake.use_custom_path else os.path.join(modifier.bake_directory, str(bake.bake_id))
    return bool(glob.glob(os.path.join(bpy.path.abspath(folder), "meta", "*.json")))


def tell_particles(item, system):
    settings = system.settings
    moves = system.use_hair_dynamics if settings.type == "HAIR" else settings.physics_type not in {"NO", "KEYED"}
    if moves:
        cache = system.point_cache
        yield {"name": f"particles {system.name} of {item.name}", "baked": cache.is_baked or cache.use_external}


def compositor_tree(scene):
    if bpy.app.version < (5, 0, 0):
        return scene.node_tree if scene.use_nodes else None
    return scene.compositing_node_group


def tell_compositor(scene):
    tree = compositor_tree(scene)
    if tree is None or not scene.render.use_compositing:
        return None
    nodes = [node for node in tree.nodes if not node.mute]
    named = lambda name: sorted({getattr(node, name).name for node in nodes if getattr(node, name, None)})
    files = [node for node in nodes if node.bl_idname == "CompositorNodeOutputFile"]
    writes = [node.directory if hasattr(node, "directory") else node.base_path for node in files]
    return {"images": named("image"), "movie_clips": named("clip"), "writes": writes}


def has_picture_strips(scene):
    editor = scene.sequence_editor
    strips = (getattr(editor, "strips", None) or getattr(editor, "sequences", [])) if editor else []
    return any(strip.type != "SOUND" and not strip.mute for strip in strips)


def tell_drivers():
    """Those that Blender reports as failed with scripts off."""
    bpy.context.scene.frame_set(7)
    for item in bpy.data.objects:
        for curve in item.animation_data.drivers if item.animation_data else []:
            if curve.driver.type == "SCRIPTED" and not curve.driver.is_valid:
                yield {"owner": item.name, "property": curve.data_path, "expression": curve.driver.expression}


def tell_scene(scene):
    render = scene.render
    border = {"sides": [render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y],
              "crop": render.use_crop_to_border}
    return {
        "name": scene.name, "engine": render.engine,
        "resolution": [render.resolution_x, render.resolution_y], "percentage": render.resolution_percentage,
        "size": [max(1, side * render.resolution_percentage // 100)
                 for side in (render.resolution_x, render.resolution_y)],
        "pixel_aspect": [render.pixel_aspect_x, render.pixel_aspect_y],
        "frames": [scene.frame_start, scene.frame_end], "frame_step": scene.frame_step,
        "frame_rate": render.fps, "frame_rate_base": render.fps_base,
        "cycles": tell_cycles(scene) if render.engine == "CYCLES" else None,
        "view_layers": [{"name": layer.name, "enabled": layer.use, "samples": layer_samples(scene, layer),
                         "denoising": layer.cycles.use_denoising} for layer in scene.view_layers],
        "output": {"path": render.filepath, "format": render.image_settings.file_format,
                   "is_movie": render.is_movie_format},
        "camera": scene.camera.name if scene.camera else None,
        "marker_cameras": [marker.camera.name for marker in scene.timeline_markers if marker.camera],
        "border": border if render.use_border else None,
        "view_transform": scene.view_settings.view_transform,
        "compositor": tell_compositor(scene),
        "sequencer": bool(render.use_sequencer and has_picture_strips(scene)),
        "multiview": render.use_multiview,
        "freestyle": any(render.use_freestyle and layer.use and layer.use_freestyle for layer in scene.view_layers),
        "simulations": list(tell_simulations(scene)),
        "grease_pencils": [o.name for o in scene.objects if o.type in {"GPENCIL", "GREASEPENCIL"}],
    }


def tell_dependencies():
    sources = {"FILE": "image", "SEQUENCE": "image", "MOVIE": "movie", "TILED": "tiles"}
    for image in bpy.data.images:
        if image.source in sources and image.filepath:
            yield (sources[image.source], image, image.filepath, len(image.packed_files) > 0,
                   image.source == "SEQUENCE", [tile.number for tile in image.tiles if image.source == "TILED"])
    plain = [("library", bpy.data.libraries), ("font", bpy.data.fonts), ("sound", bpy.data.sounds)]
    for kind, items in plain:
        for item in items:
            if item.filepath != "<builtin>":
                yield kind, item, item.filepath, item.packed_file is not None, False, []
    for clip in bpy.data.movieclips:
        yield "movie_clip", clip, clip.filepath, False, clip.source == "SEQUENCE", []
    for kind, items in [("cache", bpy.data.cache_files), ("volume", bpy.data.volumes)]:
        for item in items:
            yield kind, item, item.filepath, getattr(item, "packed_file", None) is not None, item.is_sequence, []
    for material in bpy.data.materials:
        for node in material.node_tree.nodes if material.node_tree else []:
            if node.bl_idname == "ShaderNodeTexIES" and node.mode == "EXTERNAL":
                yield "ies", node, node.filepath, False, False, []
    for item in bpy.data.objects:
        for modifier in item.modifiers:
            if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
                yield "bake", "fluid", modifier.domain_settings.cache_directory, False, False, []
            if modifier.type == "PARTICLE_SYSTEM" and modifier.particle_system.point_cache.use_external:
                yield "bake", "external cache", modifier.particle_system.point_cache.filepath, False, False, []
            if modifier.type == "NODES" and getattr(modifier, "bake_directory", ""):
                yield "bake", "geometry nodes", modifier.bake_directory, False, False, []


def tell_dependency(kind, item, path, packed, is_sequence, tiles):
    library = getattr(item, "library", None)
    absolute = os.path.normpath(bpy.path.abspath(path, library=library))
    if kind == "library" and item.parent:
        library = item.parent
    files = [absolute.replace("<UDIM>", str(number)) for number in tiles] or [absolute]
    return {
        "kind": kind, "name": getattr(item, "name", item), "packed": packed, "is_sequence": is_sequence,
        "linked": library is not None,
        "missing": [] if packed or kind == "bake" else sorted(path for path in files if not os.path.isfile(path)),
    }


def tell(path):
    bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
    found = [tell_dependency(*item) for item in tell_dependencies()]
    print(json.dumps({
        "active_scene": bpy.context.scene.name,
        "version": "%d.%d" % tuple(bpy.data.version[:2]),
        "scenes": [tell_scene(scene) for scene in bpy.data.scenes if scene.library is None],
        "dependencies": sorted(found, key=lambda item: (item["kind"], item["name"])),
        "linked_simulations": list(tell_objects([item for item in bpy.data.objects if item.library])),
        "drivers": sorted(tell_drivers(), key=lambda driver: driver["property"]),
        "scripts": [text.name for text in bpy.data.texts if text.use_module],
    }))


# ---- files in other folders ----------------------------------------------------------------------


def coloured(path, colour):
    """A picture of one colour on disk."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    image = bpy.data.images.new("made", 4, 4)
    image.pixels = [*colour, 1.0] * 16
    image.filepath_raw, image.file_format = path, "PNG"
    image.save()
    bpy.data.images.remove(image)


def glowing(name, image, place):
    """A square that shines with a picture."""
    mesh = bpy.data.meshes.new(name)
    x, y = place
    mesh.from_pydata([(x, y, 0), (x + 1, y, 0), (x + 1, y + 1, 0), (x, y + 1, 0)], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new()
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, shine = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeEmission")
    links.new(texture(material, image).outputs["Color"], shine.inputs["Color"])
    links.new(shine.outputs[0], output.inputs["Surface"])
    mesh.materials.append(material)
    item = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(item)
    return item


def load(path, shown=None, **settings):
    """A picture from disk, by the path that is to stand in the file."""
    image = bpy.data.images.load(path)
    for name, value in settings.items():
        setattr(image, name, value)
    image.filepath = shown or path
    return image


def save_as_is(path, **options):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=path, relative_remap=False, **options)


def make_outside(folder):
    """A scene whose files lie in other folders, named in every way; a library has its own, and links another."""
    at = lambda *names: os.path.join(folder, *names)
    for name, colour in [("textures/wall", (0.9, 0.1, 0.1)), ("textures/floor", (0.1, 0.9, 0.1)),
                         ("project/maps/inside", (0.1, 0.1, 0.9)), ("tiles/roof.1001", (0.9, 0.9, 0.1)),
                         ("walks/shot_0001", (0.1, 0.9, 0.9)), ("walks/shot_0002", (0.2, 0.8, 0.8)),
                         ("grain/crate", (0.9, 0.1, 0.9)), ("deep/deep", (0.5, 0.5, 0.5))]:
        coloured(at(name + ".png"), colour)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    keep(glowing("deep", load(at("deep/deep.png"), "//deep.png"), (1, 2)))
    save_as_is(at("deep/deep.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    keep(glowing("crate", load(at("grain/crate.png")), (0, 2)))
    with bpy.data.libraries.load(at("deep/deep.blend"), link=True) as (_, wanted):
        wanted.objects = ["deep"]
    group = keep(bpy.data.collections.new("props"))
    for item in bpy.data.objects:
        group.objects.link(item)
    save_as_is(at("assets", "props.blend"), compress=True)

    bpy.ops.wm.read_factory_settings(use_empty=True)
    glowing("wall", load(at("textures/wall.png")), (0, 0))
    save_as_is(at("project", "shot.blend"))
    glowing("floor", load(at("textures/floor.png"), "//..\\textures\\floor.png"), (1, 0))
    glowing("inside", load(at("project/maps/inside.png")), (0, 1))
    tiled = load(at("tiles/roof.1001.png"), source="TILED")
    tiled.filepath = at("tiles/roof.<UDIM>.png")
    glowing("roof", tiled, (1, 1))
    walk = glowing("walk", load(at("walks/shot_0001.png"), source="SEQUENCE"), (2, 0))
    user = walk.data.materials[0].node_tree.nodes["Image Texture"].image_user
    user.frame_duration, user.use_auto_refresh = 2, True
    baked = walk.modifiers.new("Grown", "NODES")
    if hasattr(baked, "bake_directory"):
        baked.bake_directory = at("baked")
        os.makedirs(at("baked"))
        open(at("baked", "notes.json"), "w", encoding="ascii").write("{}")
    with bpy.data.libraries.load(at("assets", "props.blend"), link=True) as (_, wanted):
        wanted.collections = ["props"]
    scene = bpy.context.scene
    scene.collection.children.link(bpy.data.collections["props"])
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale, camera.location = "ORTHO", 3, (1.5, 1.5, 2)
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine = camera, "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 2, False
    scene.render.resolution_x = scene.render.resolution_y = 48
    scene.frame_start, scene.frame_end = 1, 2
    for name, compress in (("shot", False), ("packed", True)):
        save_as_is(at("project", name + ".blend"), compress=compress)


def geometry_group(name):
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    return group, group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")


def make_baked(folder):
    """A scene with a simulation of geometry nodes, in a group within a group, baked to disk."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_end, scene.render.engine = 3, "CYCLES"
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    inner, start, end = geometry_group("inner")
    before, after = inner.nodes.new("GeometryNodeSimulationInput"), inner.nodes.new("GeometryNodeSimulationOutput")
    before.pair_with_output(after)
    socket = lambda sockets: next(item for item in sockets if item.type == "GEOMETRY")
    for left, right in [(start, before), (before, after), (after, end)]:
        inner.links.new(socket(left.outputs), socket(right.inputs))
    outer, start, end = geometry_group("outer")
    node = outer.nodes.new("GeometryNodeGroup")
    node.node_tree = inner
    outer.links.new(start.outputs[0], node.inputs[0])
    outer.links.new(node.outputs[0], end.inputs[0])
    mesh = bpy.data.meshes.new("grown")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    item = bpy.data.objects.new("grown", mesh)
    scene.collection.objects.link(item)
    modifier = item.modifiers.new("Growth", "NODES")
    modifier.node_group = outer
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "unbaked.blend"))
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "baked.blend"))
    bake = modifier.bakes[0]
    if hasattr(bake, "bake_target"):
        bake.bake_target = "DISK"
    bpy.ops.object.geometry_node_bake_single(
        session_uid=item.session_uid, modifier_name=modifier.name, bake_id=bake.bake_id)
    bpy.ops.wm.save_mainfile()


def look(path):
    """What a scene looks like, and the files of it that Blender does not find."""
    bpy.ops.wm.open_mainfile(filepath=path, use_scripts=False)
    scene = bpy.context.scene
    scene.frame_set(2)
    scene.render.filepath, scene.render.image_settings.file_format = path + ".png", "PNG"
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(path + ".png")
    named = [*bpy.data.images, *bpy.data.libraries]
    found = [bpy.path.abspath(item.filepath, library=item.library) for item in named if item.filepath]
    folders = [modifier.bake_directory for item in bpy.data.objects for modifier in item.modifiers
               if getattr(modifier, "bake_directory", "")]
    found = [name.replace("<UDIM>", "1001") for name in found] + [bpy.path.abspath(name) for name in folders]
    print(json.dumps({"pixels": list(image.pixels), "missing": [name for name in found if not os.path.exists(name)],
                      "files": sorted(os.path.normpath(name) for name in found)}))


ACTIONS = {"make": make, "tell": tell, "make_outside": make_outside, "make_baked": make_baked, "look": look}
ACTIONS[sys.argv[-2]](os.path.abspath(sys.argv[-1]))
