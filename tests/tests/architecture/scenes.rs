//! The scenes in `scenes/` are what their scripts make.

use crate::source::root;
use std::{fs, path::Path, process::Command};

/// Names of files in `scenes/` with an extension, without it.
fn scenes(extension: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("scenes"))
        .expect("scenes is readable")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no .{extension} in scenes");
    names
}

fn python(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("this test needs python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "python3 {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).expect("Python prints UTF-8")
}

#[test]
fn every_scene_has_its_script_and_its_line() {
    let readme =
        fs::read_to_string(root().join("scenes/README.md")).expect("scenes/README.md is readable");
    let glb = scenes("glb")
        .into_iter()
        .map(|name| (format!("{name}.glb"), format!("{name}.py")));
    let blend = scenes("blend")
        .into_iter()
        .map(|name| (format!("{name}.blend"), format!("make_{name}.py")));
    for (scene, script) in glb.chain(blend) {
        assert!(
            root().join("scenes").join(&script).is_file(),
            "{scene} has no {script}"
        );
        let described =
            readme.contains(&format!("`{scene}`")) && readme.contains(&format!("`{script}`"));
        assert!(
            described,
            "scenes/README.md does not tell of {scene} and {script}"
        );
    }
}

#[test]
fn the_scripts_make_the_same_bytes_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let originals = root().join("scenes");
    for name in scenes("py") {
        let script = format!("{name}.py");
        fs::copy(originals.join(&script), folder.path().join(&script))
            .expect("scripts are readable");
    }
    let zlib = python(
        folder.path(),
        &["-c", "import zlib; print(zlib.ZLIB_RUNTIME_VERSION)"],
    );
    for name in scenes("glb") {
        python(folder.path(), &[&format!("{name}.py")]);
    }
    let made = scenes("glb").into_iter().map(|name| format!("{name}.glb"));
    for file in made.chain(scenes("hdr").into_iter().map(|name| format!("{name}.hdr"))) {
        let new = fs::read(folder.path().join(&file))
            .unwrap_or_else(|e| panic!("{file} was not made: {e}"));
        let old = fs::read(originals.join(&file)).expect("scenes are readable");
        let same = new == old;
        assert!(
            same,
            "{file} differs from what its script makes now ({} and {} bytes); the scenes were packed by zlib \
             1.2.13, this Python has {}",
            old.len(),
            new.len(),
            zlib.trim()
        );
    }
}
