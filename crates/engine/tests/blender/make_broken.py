"""Makes small scenes that Blender renders wrong in silence: `make_broken.py -- KIND OUTPUT`."""

import os
import sys

import bpy

KIND, OUTPUT = sys.argv[sys.argv.index("--") + 1:][:2]
FOLDER = os.path.dirname(os.path.abspath(OUTPUT))


def beside(name):
    return os.path.join(FOLDER, name)


def show(image):
    """Puts an image on the plane."""
    material = bpy.data.materials.new("shown")
    material.use_nodes = True
    nodes = material.node_tree.nodes
    node = nodes.new("ShaderNodeTexImage")
    node.image = image
    material.node_tree.links.new(node.outputs[0], nodes["Principled BSDF"].inputs["Base Color"])
    bpy.data.objects["Plane"].data.materials.append(material)
    return node


def saved(names):
    image = bpy.data.images.new("grain", 64, 64)
    image.generated_type, image.file_format = "COLOR_GRID", "PNG"
    for name in names:
        image.filepath_raw = beside(name)
        image.save()
    bpy.data.images.remove(image)


def file_image(name):
    image = bpy.data.images.new(name, 4, 4)
    image.source, image.filepath = "FILE", f"//{name}"
    return image


def sequence():
    """Frame 3 is not there."""
    saved(f"leaves{number:03d}.png" for number in (1, 2, 4))
    image = bpy.data.images.load(beside("leaves001.png"))
    image.source, image.filepath = "SEQUENCE", "//leaves001.png"
    user = show(image).image_user
    user.frame_start, user.frame_duration, user.use_auto_refresh = 1, 4, True


def linked():
    """An object of a library that has lost it."""
    plane, library = bpy.data.objects["Plane"], beside("library.blend")
    bpy.data.libraries.write(library, {plane}, fake_user=True)
    with bpy.data.libraries.load(library, link=True) as (theirs, ours):
        ours.objects = theirs.objects
    bpy.context.scene.collection.objects.link(ours.objects[0])
    return library, bpy.data.objects["Camera"]


def main():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=30)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0, 0, 5)
    scene.collection.objects.link(camera)
    scene.camera = camera
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "SUN"))
    lamp.location = (0, 0, 9)
    scene.collection.objects.link(lamp)
    render, cycles = scene.render, scene.cycles
    render.engine, render.resolution_x, render.resolution_y = "CYCLES", 32, 16
    cycles.samples, cycles.use_denoising, cycles.use_adaptive_sampling = 1, False, False
    scene.frame_end = 4
    library = None
    if KIND == "sequence":
        sequence()
    elif KIND == "garbage":
        with open(beside("garbage.png"), "wb") as file:
            file.write(b"no picture" * 100)
        show(file_image("garbage.png"))
    elif KIND == "truncated":
        saved(["truncated.png"])
        with open(beside("truncated.png"), "r+b") as file:
            file.truncate(os.path.getsize(beside("truncated.png")) // 2)
        show(file_image("truncated.png"))
    elif KIND == "volume":
        with open(beside("cloud.vdb"), "wb") as file:
            file.write(b"no volume" * 100)
        volume = bpy.data.volumes.new("Cloud")
        volume.filepath = "//cloud.vdb"
        scene.collection.objects.link(bpy.data.objects.new("Cloud", volume))
    elif KIND == "linked":
        library = linked()
    elif KIND == "heavy":
        modifier = bpy.data.objects["Plane"].modifiers.new("Subdivision", "SUBSURF")
        modifier.subdivision_type, modifier.levels, modifier.render_levels = "SIMPLE", 0, 11
    elif KIND == "half":
        bpy.data.objects["Plane"].location.x = 16
    elif KIND == "fisheye":
        camera.data.type = "PANO"
        owner = camera.data if hasattr(camera.data, "panorama_type") else camera.data.cycles
        owner.panorama_type = "FISHEYE_EQUIDISTANT"
    bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath(OUTPUT), check_existing=False)
    if library is not None:
        path, other = library
        os.remove(path)
        bpy.data.libraries.write(path, {other}, fake_user=True)


main()
