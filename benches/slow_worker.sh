#!/usr/bin/env bash
# What one slow worker costs a job: the same frames with two workers, and with a third beside them that is stopped
# nine tenths of the time. Prints wall times and their ratio (the aim: at most 1.1).
# Usage: benches/slow_worker.sh [SCENE [LAST_FRAME [ROUNDS]]], after `cargo build --release`.
set -euo pipefail
cd "$(dirname "$0")/.."
scene=${1:-scenes/orrery.glb} last=${2:-40} rounds=${3:-2}
render=${CARGO_TARGET_DIR:-target}/release/render
folder=$(mktemp -d)
groups=()
finish() {
    for group in "${groups[@]}"; do kill -KILL -- "-$group" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT

# Starts a worker in a process group of its own and waits for its address.
worker() {
    setsid "$render" worker --json --engine tracer --threads 1 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
        --data-dir "$folder/$1" >"$folder/$1.json" 2>"$folder/$1.log" &
    groups+=($!)
    disown
    until [ -s "$folder/$1.json" ]; do sleep 0.05; done
}

address() { sed 's/.*"addresses":\["\([^"]*\)".*/\1/' "$folder/$1.json"; }

throttle() {
    while kill -STOP -- "-$1" 2>/dev/null; do
        sleep 0.09
        kill -CONT -- "-$1" 2>/dev/null || true
        sleep 0.01
    done
}

seconds() {
    local begin end peers=() name
    for name in "$@"; do peers+=(--peer "$(address "$name")"); done
    begin=$(date +%s.%N)
    "$render" "$scene" --frames "1-$last" --size 320x180 --samples 16 "${peers[@]}" \
        -o "$folder/frames/####.png" --data-dir "$folder/data" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
    end=$(date +%s.%N)
    rm -rf "$folder/frames" "$folder/data/jobs"
    awk "BEGIN { print $end - $begin }"
}

worker first
worker second
worker slow
throttle "${groups[2]}" &
for round in $(seq "$rounds"); do
    without=$(seconds first second)
    with=$(seconds first second slow)
    grep -i "late" "$folder/log" || true
    echo "round $round: two workers $without s, with a slow third $with s, ratio $(awk "BEGIN { print $with / $without }")"
done
