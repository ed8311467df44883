"""Makes `gallery.blend` and pictures in `maps` beside it: a screen that shows a film, and a frieze, in a gallery.

For files that a scene needs: a sequence of images, one for each frame, and a texture in tiles (UDIM), by relative paths.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
import textures  # noqa: E402

FRAMES = 4
TILES = 4
FILM_PX, TILE_PX = (64, 36), 64


def write_maps(folder):
    os.makedirs(folder, exist_ok=True)
    width, height = FILM_PX
    for frame in range(1, FRAMES + 1):
        def picture(x, y, centre=(0.2 + 0.15 * frame, 0.5)):
            u, v = x / width, y / height
            away = math.hypot((u - centre[0]) * width / height, v - centre[1])
            sea = textures.layered_noise(u, v, 4, 2, 7, 3)
            return textures.blend([(1, 0.9, 0.6), (0.95, 0.4, 0.15), (0.15, 0.12, 0.3 + 0.2 * sea)], away * 2.2)
        with open(os.path.join(folder, f"film_{frame:04}.png"), "wb") as file:
            file.write(textures.png(width, height, picture))
    palette = ((0.55, 0.16, 0.1), (0.1, 0.32, 0.4), (0.62, 0.45, 0.12), (0.24, 0.35, 0.14))
    for tile in range(TILES):
        def picture(x, y, colour=palette[tile]):
            u, v = x / TILE_PX - 0.5, y / TILE_PX - 0.5
            ring = 0.5 + 0.5 * math.sin(40 * max(abs(u) + abs(v), 0.25 + abs(u)))
            grain = textures.layered_noise(x / TILE_PX, y / TILE_PX, 8, 8, tile)
            return [textures.clamp(c * (0.6 + 0.5 * ring) + 0.15 * grain) for c in colour]
        with open(os.path.join(folder, f"frieze.{1001 + tile}.png"), "wb") as file:
            file.write(textures.png(TILE_PX, TILE_PX, picture))


def film(folder):
    image = bpy.data.images.load(os.path.join(folder, "film_0001.png"))
    image.source = "SEQUENCE"
    material = shader("Film", Roughness=0.3, Emission_Strength=1.5)
    node = show_image(material, image)
    user = node.image_user
    user.frame_duration, user.frame_start, user.frame_offset, user.use_auto_refresh = FRAMES, 1, 0, True
    target = "Emission" if BEFORE_4_0 else "Emission Color"
    material.node_tree.links.new(node.outputs["Color"], principled(material).inputs[target])
    return material


def frieze(folder):
    """Panels in a row, each in a tile of its own."""
    bpy.ops.image.open(filepath=os.path.join(folder, "frieze.1001.png"), use_udim_detecting=True)
    image = next(image for image in bpy.data.images if image.source == "TILED")
    image.colorspace_settings.name = "sRGB"
    material = matte("Frieze", (1, 1, 1), 0.5)
    show_image(material, image)
    width = 5.6 / TILES
    for tile in range(TILES):
        panel = place("plane", material, (width * (tile + 0.5) - 2.8, 1.96, 2.75), rotation=(math.pi / 2, 0, 0), size=1, smooth=False)
        panel.scale = (width, 0.9, 1)
        for corner in panel.data.uv_layers.active.data:
            corner.uv[0] += tile


def main():
    path = output_file()
    folder = os.path.join(os.path.dirname(path), "maps")
    write_maps(folder)
    scene = new_scene(FRAMES, (256, 160), 16)
    floor(matte("Parquet", (0.22, 0.12, 0.06), 0.2), 12)
    wall = matte("Wall", (0.75, 0.73, 0.7), 0.9)
    block(wall, (12, 0.2, 7), (0, 2.1, 3.5))
    block(matte("Frame", (0.02, 0.02, 0.02), 0.3), (3.0, 0.1, 1.75), (0, 1.95, 1.25))
    frieze(folder)
    screen = place("plane", film(folder), (0, 1.88, 1.25), rotation=(math.pi / 2, 0, 0), size=1, smooth=False)
    screen.scale = (2.8, 1.575, 1)
    pot = vase(metal("Bronze", (0.7, 0.45, 0.25), 0.25), (2.1, 0.8, 0), 1.3)
    turn(pot, 0.5, FRAMES)
    seat = matte("Bench", (0.5, 0.1, 0.08), 0.6)
    block(seat, (1.8, 0.5, 0.14), (-0.3, -0.8, 0.42))
    for x in (-1.0, 0.4):
        block(wall, (0.1, 0.4, 0.36), (x, -0.8, 0.18))
    lamp("Skylight", (0, -1, 6), 240, (1, 0.97, 0.92), 5.0, at=(0, 0.8, 1))
    sky((0.4, 0.45, 0.5), 0.2)
    orbiting_camera((0.6, -6.4, 1.9), 6, FRAMES, at=(0, 1, 1.55), lens=42)
    write_frames(scene, "//frames/gallery_####", "PNG", 8, "RGB")
    save(path)


main()
