//! Scenes whose files lie in other folders: what workers get of them is complete and looks the same.

use super::{blender, check};
use network::BlobStore;
use protocol::Manifest;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tests::{job, words};

/// A blob that is no manifest may look like one; a manifest is short and names the scene.
const MANIFEST_BYTES_MAX: u64 = 1 << 14;

fn look(scene: &Path) -> Value {
    let printed = blender("look", scene);
    let last = printed.lines().last().expect("a line of JSON");
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"))
}

/// The manifest of the bundle with this scene among the blobs of a requestor.
fn manifest(blobs: &Path, entry: &str) -> Manifest {
    let mut folders = vec![blobs.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap().flatten() {
            let metadata = item.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(item.path());
            } else if metadata.len() < MANIFEST_BYTES_MAX
                && let Ok(manifest) =
                    postcard::from_bytes::<Manifest>(&fs::read(item.path()).unwrap())
                && manifest.entry == entry
                && manifest.check().is_ok()
            {
                return manifest;
            }
        }
    }
    panic!("no manifest of {entry}");
}

/// Puts a bundle's files where a worker would.
fn lay_out(manifest: &Manifest, blobs: &Path, folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let store = BlobStore::open(blobs).unwrap();
    let mut files = BTreeMap::new();
    for file in &manifest.files {
        let bytes = store.read(file.hash, file.bytes).unwrap();
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        files.insert(file.path.clone(), bytes);
    }
    files
}

#[test]
fn a_bundle_of_files_from_everywhere_looks_like_the_scene() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let home = folder.join("home");
    fs::create_dir(&home).unwrap();
    blender("make_outside", &home);
    let scene = home.join("project/packed.blend");
    let before = fs::read(&scene).unwrap();
    let own = look(&scene);
    assert_eq!(own["missing"], serde_json::json!([]));
    let output = job(&folder, &scene, "####.png", "--frames 2 --local 1");
    assert!(output.status.success(), "{}", words(&output));
    assert!(fs::read(&scene).unwrap() == before, "the scene was changed");

    let blobs = find_blobs(&folder);
    let manifest = manifest(&blobs, "packed.blend");
    let place = folder.join("elsewhere");
    let files = lay_out(&manifest, &blobs, &place);
    assert_eq!(files.len(), 12, "{:?}", files.keys());
    fs::rename(&home, folder.join("hidden")).unwrap();
    let theirs = look(&place.join(&manifest.entry));
    assert_eq!(theirs["missing"], serde_json::json!([]));
    let named: Vec<PathBuf> = serde_json::from_value(theirs["files"].clone()).unwrap();
    assert!(
        named.iter().all(|file| file.starts_with(&place)),
        "{named:?}"
    );
    assert_eq!(named.len(), own["files"].as_array().unwrap().len());
    assert!(theirs["pixels"] == own["pixels"], "it looks different");
    let home = home.to_string_lossy();
    assert!(!files.keys().any(|path| path.contains(home.as_ref())));
}

fn find_blobs(data: &Path) -> PathBuf {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap().flatten() {
            if item.file_name() == "blobs" {
                return item.path();
            }
            if item.metadata().unwrap().is_dir() {
                folders.push(item.path());
            }
        }
    }
    panic!("no blobs below {}", data.display());
}

#[test]
fn a_scene_within_its_folder_is_bundled_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let scene = folder.join("gyroscope.blend");
    fs::copy(tests::scene("gyroscope.blend"), &scene).unwrap();
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    let options = "--frames 1 --local 1 --size 32x32 --samples 1";
    let output = job(&data, &scene, "####.png", options);
    assert!(output.status.success(), "{}", words(&output));
    let blobs = find_blobs(&data);
    let manifest = manifest(&blobs, "gyroscope.blend");
    let files = lay_out(&manifest, &blobs, &folder.join("elsewhere"));
    assert!(files["gyroscope.blend"] == fs::read(&scene).unwrap());
    assert_eq!(files.len(), 1);
}

#[test]
fn what_is_missing_is_refused_before_blender_starts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    blender("make_outside", &folder);
    let scene = folder.join("project/shot.blend");
    let gone = folder.join("grain/crate.png");
    fs::remove_file(&gone).unwrap();
    // There is no such Blender, so what is said of it would come from trying to start it.
    let output = job(
        &folder,
        &scene,
        "####.png",
        "--blender /no/such/blender --local 1",
    );
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("error: the image crate.png is missing: {}", gone.display());
    assert!(said.contains(&expected), "{said}");
    assert!(!said.contains("no/such/blender"), "{said}");

    // A path of another kind of computer.
    let mut bytes = fs::read(&scene).unwrap();
    let wall = folder.join("textures/wall.png");
    let wall = wall.to_str().unwrap().as_bytes();
    let at = bytes.windows(wall.len()).position(|window| window == wall);
    let at = at.expect("the scene names it");
    bytes[at..at + wall.len()].fill(0);
    let theirs = br"C:\tex\wall.png";
    bytes[at..at + theirs.len()].copy_from_slice(theirs);
    fs::write(&scene, bytes).unwrap();
    let output = check(&scene, &[]);
    assert_eq!(output.status.code(), Some(4));
    let said = words(&output);
    assert!(
        said.contains(r"C:\tex\wall.png is a path of a Windows computer; hint: pack"),
        "{said}"
    );

    let output = check(&scene, &["--scene", "Nowhere"]);
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("it has no scene Nowhere; there are: Scene"),
        "{said}"
    );
}
