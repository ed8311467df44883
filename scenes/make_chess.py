"""Makes `chess.blend`: chess pieces before a landscape of hills, and their outlines in clay.

For view layers: other collections, a holdout, a material override, samples of their own; the compositor lays them together.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blender_scenes import *  # noqa: E402, F403
from compositing import Compositor  # noqa: E402

FRAMES = 3
PAWN = [(0, 0), (0.34, 0), (0.34, 0.1), (0.2, 0.2), (0.12, 0.55), (0.22, 0.66), (0.1, 0.7), (0.2, 0.85), (0.16, 1.0), (0, 1.08)]
KING = [(r * 1.15, z * 1.6) for r, z in PAWN[:-2]] + [(0.3, 1.65), (0.12, 1.72), (0.05, 1.95), (0, 1.97)]


def pieces():
    ivory, ebony = matte("Ivory", (0.8, 0.7, 0.5), 0.3), matte("Ebony", (0.05, 0.035, 0.03), 0.25)
    made = []
    for index, (profile, look, x, y) in enumerate(((KING, ivory, -0.7, 0.2), (PAWN, ivory, -1.5, -0.5), (PAWN, ebony, 0.4, -0.6),
                                                   (KING, ebony, 1.2, 0.3), (PAWN, ivory, 0.1, 0.9))):
        piece = lathe(f"Piece {index}", look, profile, (x, y, 0.1))
        keys(piece, "location", ((1, x), (FRAMES + 1, x + (0.25 if look == ivory else -0.2))), 0)
        made.append(piece)
    return made


def hills():
    grass = paint(matte("Grass", (0.2, 0.3, 0.1), 0.9), "Noise",
                  [(0.3, (0.1, 0.18, 0.05)), (0.7, (0.34, 0.4, 0.12))], 2.0, Detail=5.0)
    made = [ball(grass, 5, (-5 + 4.5 * index, 11 + 3 * (index % 2), -3.2 + 0.4 * index)) for index in range(4)]
    return [*made, ball(glow("Evening", (1, 0.5, 0.25), 2.5), 1.6, (3.2, 20, 2.6))]


def layers(scene, clay):
    front = scene.view_layers[0]
    front.name = "Pieces"
    back, model = scene.view_layers.new("Hills"), scene.view_layers.new("Clay")
    front.layer_collection.children["Landscape"].exclude = True
    back.layer_collection.children["Game"].holdout = True
    model.layer_collection.children["Landscape"].exclude = True
    model.material_override = clay
    back.samples, model.samples = 24, 8
    front.use_pass_z = back.use_pass_mist = model.use_pass_ambient_occlusion = True
    scene.cycles.use_layer_samples = "USE"


def compositing(scene):
    made = Compositor(scene)
    front, back, clay = (made.layer(layer.name)["Image"] for layer in scene.view_layers)
    evening = made.mix("MIX", 0.35, made.blur(back, 3), (0.9, 0.55, 0.4, 1))
    drawn = made.mix("MULTIPLY", 0.5, made.saturated(front, 1.25), clay)
    made.output(made.over(made.over((0.24, 0.3, 0.5, 1), evening), drawn))


def main():
    path = output_file()
    scene = new_scene(FRAMES, (240, 160), 12)
    scene.render.film_transparent = True
    game, landscape = collection("Game"), collection("Landscape")
    board = paint(matte("Board", (1, 1, 1), 0.25), "Checker", [(0.45, (0.6, 0.42, 0.25)), (0.55, (0.16, 0.08, 0.05))], 1.6)
    move_to(game, [block(board, (5, 3.4, 0.2), (0, 0, 0)), *pieces()])
    move_to(landscape, hills())
    softboxes(480, 260)
    sky((0.55, 0.6, 0.8), 0.6)
    camera((0.4, -5.4, 2.0), at=(0, 0, 0.85), lens=48)
    layers(scene, matte("Clay", (0.85, 0.82, 0.8), 1.0))
    compositing(scene)
    write_frames(scene, "//frames/chess_####", "PNG", 8)
    save(path)


main()
