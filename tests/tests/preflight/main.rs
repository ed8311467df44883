//! `render check` against a real Blender: every value that it reads from a scene file is the one that Blender has.

mod bundles;

use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::{render_program, scene, words};

/// Runs our script in a Python with Blender.
fn blender(action: &str, path: &Path) -> String {
    let python = std::env::var_os("BLENDER_PYTHON").expect("BLENDER_PYTHON is set by tests/run");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preflight/scenes.py");
    let output = Command::new(python)
        .arg(script)
        .arg(action)
        .arg(path)
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).expect("JSON is Unicode")
}

fn tell(path: &Path) -> Value {
    let printed = blender("tell", path);
    let last = printed.lines().rfind(|line| line.starts_with('{'));
    let last = last.expect("a line of JSON");
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"))
}

fn check(path: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(render_program());
    command.arg("check").arg(path).args(options);
    command.output().expect("render starts")
}

fn check_json(path: &Path) -> Value {
    let output = check(path, &["--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&output)))
}

/// What both tell of a dependency, in the same words.
fn comparable(needed: &Value) -> Value {
    let mut missing: Vec<String> =
        serde_json::from_value(needed["state"]["missing"].clone()).unwrap_or_default();
    missing.sort();
    json!({
        "kind": needed["kind"], "name": needed["name"], "is_sequence": needed["is_sequence"],
        "packed": needed["state"] == "packed", "linked": !needed["library"].is_null(), "missing": missing,
    })
}

fn sorted(values: &Value, keys: &[&str]) -> Vec<Value> {
    let mut all = values.as_array().expect("a list").clone();
    all.sort_by_key(|value| {
        keys.iter()
            .map(|key| value[key].to_string())
            .collect::<Vec<_>>()
    });
    all
}

fn assert_agrees(file: &Path) -> Value {
    let (theirs, report) = (tell(file), check_json(file));
    let ours = &report["summary"];
    let keys = [
        "version",
        "active_scene",
        "scripts",
        "drivers",
        "linked_simulations",
    ];
    for key in keys {
        assert_eq!(ours[key], theirs[key], "{key} of {}", file.display());
    }
    let (our_scenes, their_scenes) = (
        sorted(&ours["scenes"], &["name"]),
        sorted(&theirs["scenes"], &["name"]),
    );
    assert_eq!(our_scenes.len(), their_scenes.len());
    for (our, their) in our_scenes.iter().zip(&their_scenes) {
        for (key, value) in our.as_object().expect("a scene") {
            assert_eq!(
                *value,
                their[key],
                "{key} of scene {} in {}",
                our["name"],
                file.display()
            );
        }
    }
    let keys = ["kind", "name"];
    let our_files: Vec<Value> = sorted(&ours["dependencies"], &keys)
        .iter()
        .map(comparable)
        .collect();
    assert_eq!(
        our_files,
        sorted(&theirs["dependencies"], &keys),
        "{}",
        file.display()
    );
    report
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn scenes_are_told_as_blender_tells_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    blender("make", &folder);
    let report = assert_agrees(&folder.join("everything.blend"));
    assert_eq!(report["summary"]["compression"], "none");
    assert_eq!(
        report["summary"]["dependencies"].as_array().unwrap().len(),
        18
    );
    let packed = assert_agrees(&folder.join("packed.blend"));
    assert_eq!(packed["summary"]["compression"], "zstd");
    assert_eq!(packed["refusals"], report["refusals"]);

    let gone = |name: &str| format!("{}", folder.join(name).display());
    let refusals = texts(&report["refusals"]);
    for file in ["maps/gone.png", "maps/wall.1013.png", "motion.abc"] {
        let named = refusals
            .iter()
            .any(|r| r.contains("missing") && r.ends_with(&gone(file)));
        assert!(named, "{file} in {refusals:?}");
    }
    for simulation in ["Wind of Flag", "Paint of Flag"] {
        let unbaked = format!("not baked: {simulation}");
        assert!(
            refusals.iter().any(|r| r.contains(&unbaked)),
            "{refusals:?}"
        );
    }
    assert_eq!(refusals.len(), 13, "{refusals:?}");
    let warnings = texts(&report["warnings"]);
    for part in [
        "startup.py",
        "location of Driven stands still",
        "rotation_euler of Driven stands still",
        "graphics card",
        "grease pencil",
    ] {
        assert!(
            warnings.iter().any(|w| w.contains(part)),
            "{part} in {warnings:?}"
        );
    }
    assert_eq!(
        check(&folder.join("packed.blend"), &[]).status.code(),
        Some(4)
    );

    assert_eq!(
        texts(&report["notes"]),
        [
            "path guiding is on: rendered as whole frames",
            "pixels are not square"
        ]
    );

    // A scene that is not the active one.
    let output = check(
        &folder.join("everything.blend"),
        &["--json", "--scene", "Titles"],
    );
    let titles: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(titles["checked"], "Titles");
    let refusals = texts(&titles["refusals"]);
    assert!(
        refusals.iter().any(|r| r.contains("turn off Output")),
        "{refusals:?}"
    );
    let notes = texts(&titles["notes"]);
    for part in ["BLENDER_WORKBENCH: rendered as whole frames", "-o out.mp4"] {
        assert!(
            notes.iter().any(|n| n.contains(part)),
            "{part} in {notes:?}"
        );
    }

    // A library that somebody overwrote.
    std::fs::write(folder.join("props/props.blend"), b"this is not a scene").unwrap();
    let report = check_json(&folder.join("packed.blend"));
    let refusals = texts(&report["refusals"]);
    assert!(
        refusals
            .iter()
            .any(|r| r.contains("props.blend") && r.contains("not a .blend file")),
        "{refusals:?}"
    );
}

#[test]
fn simulations_of_nodes_are_baked_while_their_files_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    blender("make_baked", &folder);
    let refusals = |name: &str| check_json(&folder.join(name))["refusals"].clone();
    let unbaked =
        json!(["a simulation is not baked: Growth of grown; hint: bake it to disk and save"]);
    assert_eq!(refusals("unbaked.blend"), unbaked);
    assert_eq!(refusals("baked.blend"), json!([]));
    let report = check_json(&folder.join("baked.blend"));
    let needed = report["summary"]["dependencies"].as_array().unwrap();
    let is_bake = |needed: &&Value| needed["name"] == "geometry nodes";
    let bake = needed.iter().find(is_bake).expect("the bake is needed");
    assert!(
        bake["state"]["present"]["files"].as_u64() > Some(2),
        "{bake}"
    );
    std::fs::remove_dir_all(folder.join("blendcache_baked")).unwrap();
    assert_eq!(refusals("baked.blend"), unbaked);
}

#[test]
fn our_own_scene_is_told_as_blender_tells_it_and_accepted() {
    let file = scene("gyroscope.blend").canonicalize().unwrap();
    let report = assert_agrees(&file);
    assert_eq!(report["refusals"], json!([]));
    let output = check(&file, &[]);
    assert!(output.status.success(), "{}", words(&output));
    let text = words(&output);
    for line in [
        "engine      CYCLES",
        "size        480x270 (100 %)",
        "frames      1-48",
        "samples     16",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn files_of_the_tracer_are_told_too() {
    let report = check_json(&scene("orrery.glb"));
    assert_eq!(report["engine"], "tracer");
    assert_eq!(report["refusals"], json!([]));
    assert!(report["triangles"].as_u64().unwrap() > 1000);
    let lighthouse = check_json(&scene("lighthouse.glb"));
    let files: Vec<PathBuf> = serde_json::from_value(lighthouse["dependencies"].clone()).unwrap();
    assert!(
        files
            .iter()
            .any(|file| file.ends_with("lighthouse_sky.hdr")),
        "{files:?}"
    );
}

#[test]
fn what_is_no_scene_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, why) in [
        ("empty.blend", &b""[..], "cut short"),
        (
            "other.blend",
            b"this is a text about Blender",
            "not a .blend file",
        ),
        ("old.blend", b"BLENDER_V248 and so on", "big-endian"),
        ("cut.blend", b"BLENDER17-01v0500REND", "cut short"),
        ("scene.txt", b"", "does not end in"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let output = check(&path, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{name}: {said}");
        assert!(said.contains(why), "{name}: {said}");
    }
    let missing = check(&dir.path().join("nowhere.blend"), &[]);
    assert_eq!(missing.status.code(), Some(4));
}
