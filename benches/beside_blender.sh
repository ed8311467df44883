#!/usr/bin/env bash
# Puts one local worker beside Blender alone on the same frames of the same scene, in turn, and prints the wall times
# and their ratio (the promise: at most 1.0). Blender is the bpy of BLENDER_PYTHON.
# Usage: benches/beside_blender.sh [SCENE [LAST_FRAME [ROUNDS]]], after `cargo build --release`.
set -euo pipefail
cd "$(dirname "$0")/.."
scene=${1:-scenes/gyroscope.blend} last=${2:-20} rounds=${3:-3}
render=${CARGO_TARGET_DIR:-target}/release/render
python=${BLENDER_PYTHON:?set BLENDER_PYTHON to a Python that imports bpy}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

seconds() {
    local begin end
    begin=$(date +%s.%N)
    "$@" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
    end=$(date +%s.%N)
    awk "BEGIN { print $end - $begin }"
}

alone() {
    "$python" -c "
import bpy
bpy.ops.wm.open_mainfile(filepath='$(realpath "$scene")')
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, $last
scene.render.filepath = '$folder/alone####'
bpy.ops.render.render(animation=True)"
}

for round in $(seq "$rounds"); do
    ours=$(seconds "$render" "$scene" --frames "1-$last" --local 1 -o "$folder/ours####.png" --data-dir "$folder/data")
    theirs=$(seconds alone)
    echo "round $round: render --local 1 $ours s, Blender alone $theirs s, ratio $(awk "BEGIN { print $ours / $theirs }")"
done
