//! A scene that is rendered again by a provider that has an earlier version of it.

use std::path::Path;
use tests::{job, provider::Provider, summary, words};

const MIB: usize = 1 << 20;

/// A triangle, and a buffer that nothing uses.
const SCENE: &str = r#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],
"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],
"buffers":[{"byteLength":36,"uri":"data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"},
{"byteLength":8388608,"uri":"large.bin"}],
"bufferViews":[{"buffer":0,"byteLength":36}],
"accessors":[{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}]}"#;

fn run(folder: &Path, options: &str) -> serde_json::Value {
    let output = job(folder, &folder.join("scene.gltf"), "####.png", options);
    assert!(output.status.success(), "{}", words(&output));
    summary(&output)
}

#[test]
fn what_did_not_change_of_a_scene_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut large = vec![0; 8 * MIB];
    let mut noise = blake3::Hasher::new();
    noise.update(b"a scene").finalize_xof().fill(&mut large);
    let write = |large: &[u8]| std::fs::write(dir.path().join("large.bin"), large).unwrap();
    std::fs::write(dir.path().join("scene.gltf"), SCENE).unwrap();
    write(&large);
    let provider = Provider::start(dir.path());
    let options = format!(
        "--frames 1 --size 32x32 --samples 1 --peer {}",
        provider.address
    );
    let first = run(dir.path(), &options);
    assert_eq!(
        (&first["sent_to"], &first["frames_done"]),
        (&1.into(), &1.into())
    );
    let scene_bytes = first["scene_bytes"].as_u64().unwrap();
    assert!(scene_bytes > 8 * MIB as u64 && first["bytes_sent"].as_u64().unwrap() > scene_bytes);
    // Something is inserted, something is moved, something is overwritten.
    let moved: Vec<u8> = large.drain(5 * MIB..6 * MIB).collect();
    large.extend(moved);
    large.splice(MIB..MIB + 10, *b"ten bytes that are nineteen");
    large.truncate(8 * MIB);
    write(&large);
    let second = run(dir.path(), &options);
    let sent = second["bytes_sent"].as_u64().unwrap();
    assert!(sent > 10_000 && sent < 400_000, "{sent}");
    let third = run(dir.path(), &options.replace("--frames 1", "--frames 2"));
    assert_eq!(
        (&third["bytes_sent"], &third["sent_to"]),
        (&0.into(), &0.into())
    );
}
