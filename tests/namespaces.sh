#!/usr/bin/env bash
# Two workers in two network namespaces serve one job by explicit address, and another one that finds them by mdns. Run inside a fresh network namespace
# (`unshare --net`, with `--map-root-user` for those who are not root): this one is the requestor's.
# Arguments: the `render` program, the scene, an empty folder.
set -euo pipefail
render=$1 scene=$2 folder=$3
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT

ip link set lo up
peers=()
for number in 1 2; do
    unshare --net sleep 300 &
    holder=$!
    started+=("$holder")
    # The namespace exists once the holder's differs from ours.
    until [ "$(readlink /proc/$holder/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
    ip link add "to$number" type veth peer name worker netns "$holder"
    ip addr add "10.77.$number.1/24" dev "to$number"
    ip link set "to$number" up
    nsenter --target "$holder" --net sh -c \
        "ip link set lo up && ip addr add 10.77.$number.2/24 dev worker && ip link set worker up"
    nsenter --target "$holder" --net "$render" worker --json --engine tracer --threads 1 --mdns \
        --listen "/ip4/10.77.$number.2/udp/4001/quic-v1" --data-dir "$folder/worker$number" >"$folder/worker$number.json" &
    started+=("$!")
    peers+=(--peer "/ip4/10.77.$number.2/udp/4001/quic-v1")
done
for number in 1 2; do
    for _ in $(seq 200); do
        [ -s "$folder/worker$number.json" ] && break
        sleep 0.1
    done
done
for way in "${peers[*]}" --mdns; do
    # shellcheck disable=SC2086 # Words of their own.
    "$render" "$scene" --frames 1-4 --size 128x96 --samples 4 --tile 64 --json -o "$folder/####.png" \
        --data-dir "$folder/requestor" $way | tail -n 1
done
