//! Files that are missing, damaged, hostile or in need of what is not there: always one clear error, never a panic.

use crate::builder::{Builder, UNSIGNED_SHORT, load_bytes, short_bytes, size, write};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tracer::gltf::{Fault, Scene};

fn fault_of(bytes: &[u8]) -> Fault {
    load_bytes(bytes).unwrap_err().fault
}

#[test]
fn messages_name_the_file_and_the_fault_in_one_line() {
    let folder = TempDir::new().unwrap();
    let file = write(folder.path(), "notes.glb", b"hello");
    let message = Scene::load(&file).unwrap_err().to_string();
    let expected = "is not a glTF file; export the scene as glTF 2.0 (.glb or .gltf)";
    assert_eq!(message, format!("{}: {expected}", file.display()));
    let absent = Scene::load(&folder.path().join("absent.glb")).unwrap_err();
    assert!(matches!(absent.fault, Fault::Read(_)));
}

#[test]
fn cut_files_are_told_from_foreign_and_empty_ones() {
    let glb = Builder::triangle().glb();
    for length in [5, 11, 12, 40, glb.len() - 1] {
        assert!(
            matches!(fault_of(&glb[..length]), Fault::Truncated { .. }),
            "{length}"
        );
    }
    assert!(matches!(fault_of(b""), Fault::Truncated { .. }));
    assert!(matches!(
        fault_of(br#"{"asset": {"version""#),
        Fault::TruncatedJson(_)
    ));
    assert!(matches!(fault_of(br#"{"asset": 7}"#), Fault::Json(_)));
    assert!(matches!(fault_of(b"PK\x03\x04"), Fault::NotGltf));
    assert!(matches!(
        fault_of(br#"{"asset": {"version": "1.0"}}"#),
        Fault::Version(_)
    ));
    assert!(matches!(
        fault_of(br#"{"asset": {"version": "2.0"}}"#),
        Fault::Empty
    ));
    let mut old = glb.clone();
    old[4] = 1;
    assert!(matches!(fault_of(&old), Fault::Version(_)));
}

#[test]
fn scenes_that_show_nothing_are_empty() {
    let mut builder = Builder::triangle();
    builder.json["scenes"][0]["nodes"] = json!([]);
    assert!(matches!(builder.load().unwrap_err().fault, Fault::Empty));
}

#[test]
fn unknown_extensions_are_refused_if_required_and_told_if_not() {
    let mut builder = Builder::triangle();
    builder.json["extensionsUsed"] = json!(["KHR_materials_sheen", "KHR_texture_transform"]);
    let scene = builder.load().unwrap();
    assert_eq!(
        scene.about().warnings,
        ["the extension KHR_materials_sheen is not supported and ignored"]
    );
    builder.json["extensionsRequired"] =
        json!(["KHR_texture_transform", "KHR_draco_mesh_compression"]);
    let fault = builder.fault();
    assert!(fault.contains("KHR_draco_mesh_compression"), "{fault}");
}

/// A `.gltf` with its buffer in `uri`.
fn text_with_buffer(builder: &Builder, uri: &str) -> Vec<u8> {
    let mut json = builder.json.clone();
    json["buffers"] = json!([{ "byteLength": builder.buffer.len(), "uri": uri }]);
    json.to_string().into_bytes()
}

#[test]
fn buffers_beside_the_file_are_read_and_listed() {
    let folder = TempDir::new().unwrap();
    let builder = Builder::triangle();
    let file = write(
        folder.path(),
        "scene.gltf",
        &text_with_buffer(&builder, "data/my%20mesh.bin"),
    );
    for error in [
        Scene::load(&file).unwrap_err(),
        Scene::dependencies(&file).unwrap_err(),
    ] {
        assert!(error.to_string().contains("`data/my mesh.bin`"), "{error}");
    }
    std::fs::create_dir(folder.path().join("data")).unwrap();
    write(&folder.path().join("data"), "my mesh.bin", &builder.buffer);
    assert_eq!(
        Scene::dependencies(&file).unwrap(),
        [PathBuf::from("data/my mesh.bin")]
    );
    assert_eq!(Scene::load(&file).unwrap().about().triangles, 1);
    write(
        &folder.path().join("data"),
        "my mesh.bin",
        &builder.buffer[1..],
    );
    let short = Scene::load(&file).unwrap_err().fault;
    assert!(matches!(short, Fault::Truncated { .. }), "{short}");
}

#[test]
fn all_missing_files_are_named_at_once() {
    let folder = TempDir::new().unwrap();
    let mut builder = Builder::triangle();
    builder.add("images", json!({ "uri": "wood.png" }));
    builder.add("images", json!({ "uri": "unused.png" }));
    builder.add("textures", json!({ "source": 0 }));
    builder.add("materials", json!({ "emissiveTexture": { "index": 0 } }));
    builder.json["meshes"][0]["primitives"][0]["material"] = json!(0);
    builder.json["scenes"][0]["extras"]["environment"]["map"] = json!("sky.hdr");
    let file = write(
        folder.path(),
        "scene.gltf",
        &text_with_buffer(&builder, "mesh.bin"),
    );
    match Scene::dependencies(&file).unwrap_err().fault {
        Fault::MissingFiles(files) => assert_eq!(files, ["mesh.bin", "sky.hdr", "wood.png"]),
        other => panic!("{other}"),
    }
}

#[test]
fn buffers_in_the_text_are_read() {
    use base64::Engine as _;
    let builder = Builder::triangle();
    let data = base64::engine::general_purpose::STANDARD.encode(&builder.buffer);
    let text = text_with_buffer(
        &builder,
        &format!("data:application/octet-stream;base64,{data}"),
    );
    assert_eq!(load_bytes(&text).unwrap().about().triangles, 1);
}

#[test]
fn addresses_outside_the_folder_are_refused() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let builder = Builder::triangle();
    let outside = write(folder.path(), "mesh.bin", &builder.buffer);
    let absolute = outside.display().to_string();
    for uri in [
        "../mesh.bin",
        "%2e%2e/mesh.bin",
        absolute.as_str(),
        "file:mesh.bin",
        "https://x/mesh.bin",
    ] {
        let file = write(&inner, "scene.gltf", &text_with_buffer(&builder, uri));
        for fault in [
            Scene::load(&file).unwrap_err(),
            Scene::dependencies(&file).unwrap_err(),
        ] {
            assert!(matches!(fault.fault, Fault::Address(_)), "{uri}: {fault}");
        }
    }
}

#[test]
fn a_folder_in_place_of_a_file_is_a_missing_file() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("mesh.bin")).unwrap();
    let text = text_with_buffer(&Builder::triangle(), "mesh.bin");
    let file = write(folder.path(), "scene.gltf", &text);
    assert!(matches!(
        Scene::load(&file).unwrap_err().fault,
        Fault::MissingFiles(_)
    ));
}

/// Changes one value of a good file and gives the message of the fault.
fn spoiled(pointer: &str, value: Value) -> String {
    let mut builder = Builder::triangle();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = builder.json.pointer_mut(parent).unwrap();
    match parent.as_array_mut() {
        Some(list) => list[key.parse::<usize>().unwrap()] = value,
        None => parent[key] = value,
    }
    let fault = builder.load().unwrap_err().fault;
    let expected = matches!(
        fault,
        Fault::Damaged(_) | Fault::Limit { .. } | Fault::Json(_)
    );
    assert!(expected, "{pointer}: {fault}");
    fault.to_string()
}

#[test]
fn indices_and_sizes_that_lie_are_refused() {
    let huge = u64::MAX;
    for (pointer, value) in [
        ("/scene", json!(1)),
        ("/scenes/0/nodes/0", json!(9)),
        ("/nodes/0/mesh", json!(9)),
        ("/nodes/0/skin", json!(0)),
        ("/nodes/0/camera", json!(0)),
        ("/nodes/0/children", json!([0])),
        ("/nodes/0/children", json!([9])),
        (
            "/nodes/0/extensions",
            json!({ "KHR_lights_punctual": { "light": 0 } }),
        ),
        ("/nodes/0/translation", json!([1e30, 0, 0])),
        ("/nodes/0/scale", json!([1e38, 1e38, 1e38])),
        ("/meshes/0/primitives/0/material", json!(0)),
        ("/meshes/0/primitives/0/indices", json!(0)),
        ("/meshes/0/primitives/0/mode", json!(7)),
        ("/meshes/0/primitives/0/attributes/POSITION", json!(1)),
        ("/accessors/0/count", json!(4)),
        ("/accessors/0/count", json!(huge)),
        ("/accessors/0/byteOffset", json!(1)),
        ("/accessors/0/byteOffset", json!(huge)),
        ("/accessors/0/type", json!("VEC4")),
        ("/accessors/0/type", json!("VEC9")),
        ("/accessors/0/componentType", json!(5124)),
        ("/bufferViews/0/byteLength", json!(huge)),
        ("/bufferViews/0/byteOffset", json!(huge)),
        ("/bufferViews/0/byteOffset", json!(4)),
        ("/bufferViews/0/byteStride", json!(8)),
        ("/bufferViews/0/byteStride", json!(0)),
        ("/bufferViews/0/byteStride", json!(huge)),
        ("/bufferViews/0/buffer", json!(1)),
    ] {
        let message = spoiled(pointer, value);
        assert!(!message.contains('\n'), "{message}");
    }
    // Without data behind it, a count costs nothing to write down.
    let unbacked = json!({ "componentType": 5126, "count": 4_000_000_000u64, "type": "VEC3" });
    let message = spoiled("/accessors/0", unbacked);
    assert!(message.contains("elements without data"), "{message}");
}

#[test]
fn vertices_that_do_not_exist_are_refused() {
    let mut builder = Builder::triangle();
    let indices = builder.accessor("SCALAR", UNSIGNED_SHORT, 3, &short_bytes(&[0, 1, 3]));
    builder.json["meshes"][0]["primitives"][0]["indices"] = json!(indices);
    assert!(builder.fault().contains("refers to vertex 3"));
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut builder = Builder::triangle();
        builder.buffer[..4].copy_from_slice(&bad.to_le_bytes());
        assert!(builder.fault().contains("not finite"));
    }
}

#[test]
fn nodes_in_a_circle_or_with_two_parents_are_refused() {
    let mut builder = Builder::triangle();
    builder.add("nodes", json!({ "children": [2] }));
    builder.add("nodes", json!({ "children": [1] }));
    assert!(builder.fault().contains("own ancestors"));
    builder.json["nodes"] = json!([{ "mesh": 0 }, { "children": [0] }, { "children": [0] }]);
    assert!(builder.fault().contains("two parents"));
}

#[test]
fn a_very_deep_hierarchy_does_not_exhaust_the_stack() {
    let mut builder = Builder::triangle();
    let depth = 100_000;
    builder.json["nodes"] = (0..depth)
        .map(|node| json!({ "children": [node + 1] }))
        .collect();
    builder.add("nodes", json!({ "mesh": 0 }));
    builder.json["scenes"][0]["nodes"] = json!([0]);
    assert_eq!(builder.world(1).meshes.len(), 1);
    let nested = "[".repeat(100_000);
    assert!(matches!(
        fault_of(format!("{{\"x\":{nested}").as_bytes()),
        Fault::Json(_) | Fault::TruncatedJson(_)
    ));
}

#[test]
fn keys_and_values_that_do_not_match_are_refused() {
    let mut builder = Builder::triangle();
    builder.animate(0, "scale", "LINEAR", &[0.0, 1.0, 2.0], &[1.0; 6]);
    assert!(builder.fault().contains("6 values for 3 keys"));
    let mut builder = Builder::triangle();
    builder.animate(0, "scale", "LINEAR", &[1.0, 0.0], &[1.0; 6]);
    assert!(builder.fault().contains("not in order"));
}

/// Loads a file that may be spoiled and evaluates it: an error is fine, a panic or exhaustion is not.
fn try_out(file: &Path, bytes: &[u8]) -> bool {
    std::fs::write(file, bytes).unwrap();
    let _ = Scene::dependencies(file);
    Scene::load(file).is_ok_and(|scene| scene.world(5, size(16, 9)).is_ok())
}

#[test]
fn every_truncation_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("scene.glb");
    let glb = Builder::everything().glb();
    assert!(try_out(&file, &glb));
    for length in (0..glb.len()).step_by(13) {
        assert!(!try_out(&file, &glb[..length]), "{length} bytes");
        // The same with a header that agrees with the length.
        let mut agreeing = glb[..length].to_vec();
        if let Some(field) = agreeing.get_mut(8..12) {
            field.copy_from_slice(&(length as u32).to_le_bytes());
            assert!(!try_out(&file, &agreeing), "{length} bytes");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("scene.glb");
    let good = Builder::everything().glb();
    // xorshift64: the same sequence every time.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut loaded = 0;
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let place = random(bytes.len());
            match random(4) {
                0 => bytes[place] = b'0' + random(10) as u8,
                _ => bytes[place] ^= 1 << random(8),
            }
        }
        loaded += usize::from(try_out(&file, &bytes));
    }
    // Most flips in pixels and numbers do no harm; had none got through, the test would test nothing.
    assert!((300..2900).contains(&loaded), "{loaded} loaded");
}
