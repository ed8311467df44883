use super::*;
use std::time::Duration;
use tempfile::TempDir;

const ANNA: NodeId = NodeId([1; 32]);
const BERT: NodeId = NodeId([2; 32]);

fn config(data_dir: &Path, cache_bytes: u64) -> WorkerConfig {
    WorkerConfig {
        terms: protocol::message::Terms::LOCAL,
        chain: None,
        identity: network::Identity::generate(),
        payee: protocol::Address([9; 20]),
        data_dir: data_dir.to_owned(),
        listen: Vec::new(),
        peers: Vec::new(),
        mdns: false,
        engines: Vec::new(),
        blender: None,
        device: engine::Device::default(),
        price_megasample: protocol::Glm::ZERO,
        cache_bytes,
        requestor_blobs: None,
        serve_only: Vec::new(),
        hold: Duration::ZERO,
        engine_idle: Duration::ZERO,
        spare: None,
        about: String::new(),
        started: None,
    }
}

fn open(folder: &TempDir, bytes_max: u64) -> Scenes {
    let blobs = BlobStore::open(folder.path().join("blobs")).unwrap();
    Scenes::open(blobs, &config(folder.path(), bytes_max)).unwrap()
}

fn file(path: &str, content: &[u8]) -> BundleFile {
    BundleFile {
        path: path.into(),
        hash: Blake3Hash::of(content),
        bytes: content.len() as u64,
    }
}

/// Adds a scene of files of 1000 bytes, named by their content; it was last used so many minutes ago.
fn add(scenes: &Scenes, requestor: NodeId, contents: &[&str], minutes: u64) -> Blake3Hash {
    let mut files = Vec::new();
    for content in contents {
        let bytes = content.as_bytes().repeat(1000 / content.len());
        scenes.blobs().add_bytes(&bytes).unwrap();
        files.push(file(content, &bytes));
    }
    let manifest = add_manifest(scenes, files);
    used(scenes, requestor, manifest, minutes);
    manifest
}

/// The scene was used so many minutes ago.
fn used(scenes: &Scenes, requestor: NodeId, manifest: Blake3Hash, minutes: u64) {
    let in_use = scenes.using(requestor, manifest).unwrap();
    let ago = SystemTime::now() - Duration::from_secs(60 * minutes);
    let record = fs::File::options().write(true).open(scenes.path(manifest));
    record.unwrap().set_modified(ago).unwrap();
    drop(in_use);
}

fn add_manifest(scenes: &Scenes, files: Vec<BundleFile>) -> Blake3Hash {
    let manifest = Manifest {
        entry: files[0].path.clone(),
        files,
    };
    let bytes = postcard::to_stdvec(&manifest).unwrap();
    scenes.blobs().add_bytes(&bytes).unwrap()
}

/// The contents that are still here.
fn here(scenes: &Scenes, contents: &[&str]) -> String {
    let is_here = |content: &&&str| {
        let bytes = content.as_bytes().repeat(1000 / content.len());
        scenes.blobs().contains(Blake3Hash::of(&bytes))
    };
    contents.iter().filter(is_here).copied().collect()
}

#[test]
fn the_least_recently_used_scenes_go_first_and_shared_files_with_the_last_that_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = open(&folder, u64::MAX);
    let old = add(&scenes, ANNA, &["a", "s"], 30);
    add(&scenes, ANNA, &["b", "s"], 10);
    let middle = add(&scenes, BERT, &["c"], 20);
    let all = ["a", "b", "c", "s"];
    assert_eq!(here(&open(&folder, 4000), &all), "abcs");
    assert_eq!(here(&open(&folder, 3999), &all), "bcs");
    assert!(!scenes.blobs().contains(old) && scenes.blobs().contains(middle));
    // Used again, it is the last to go.
    drop(scenes.using(BERT, middle).unwrap());
    assert_eq!(here(&open(&folder, 1000), &all), "c");
    assert_eq!(here(&open(&folder, 999), &all), "");
    assert!(open(&folder, 999).blobs().list().unwrap().is_empty());
    assert_eq!(
        fs::read_dir(folder.path().join("scenes")).unwrap().count(),
        0
    );
}

#[test]
fn a_scene_in_use_stays_whatever_its_size_and_goes_when_it_is_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = open(&folder, 1500);
    let live = add(&scenes, ANNA, &["a", "b"], 30);
    // With nothing kept beside it, it went at once.
    assert_eq!(here(&scenes, &["a", "b"]), "");
    let first = scenes.using(ANNA, live).unwrap();
    let second = scenes.using(ANNA, live).unwrap();
    for content in ["a", "b"] {
        scenes
            .blobs()
            .add_bytes(&content.as_bytes().repeat(1000))
            .unwrap();
    }
    add_manifest_again(&scenes, &["a", "b"]);
    add(&scenes, ANNA, &["c"], 0);
    assert_eq!(here(&scenes, &["a", "b", "c"]), "ab");
    drop(first);
    assert_eq!(here(&scenes, &["a", "b"]), "ab");
    drop(second);
    assert_eq!(here(&scenes, &["a", "b"]), "");
}

fn add_manifest_again(scenes: &Scenes, contents: &[&str]) {
    let of = |content: &&str| file(content, &content.as_bytes().repeat(1000));
    add_manifest(scenes, contents.iter().map(of).collect());
}

#[test]
fn what_is_of_no_scene_is_removed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = open(&folder, 5000);
    add(&scenes, ANNA, &["a"], 1);
    let tile = scenes
        .blobs()
        .add_bytes(b"a tile of a worker that was killed")
        .unwrap();
    fs::write(folder.path().join("scenes/nonsense.scene"), "?").unwrap();
    fs::write(scenes.path(Blake3Hash([5; 32])), "no manifest").unwrap();
    let scenes = open(&folder, 5000);
    assert!(!scenes.blobs().contains(tile));
    assert_eq!(here(&scenes, &["a"]), "a");
    assert!(!scenes.path(Blake3Hash([5; 32])).exists());
}

#[test]
fn earlier_versions_are_of_the_same_requestor_and_path_or_the_scene_itself() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = open(&folder, u64::MAX);
    let large = |path: &str, version: u8| BundleFile {
        path: path.into(),
        hash: Blake3Hash([version; 32]),
        bytes: SEGMENTED_BYTES_MIN,
    };
    let keep = |requestor, files: Vec<BundleFile>, minutes| {
        let manifest = add_manifest(&scenes, files);
        used(&scenes, requestor, manifest, minutes);
    };
    let small = BundleFile {
        bytes: 5,
        ..large("tex.exr", 7)
    };
    keep(
        ANNA,
        vec![large("shot_v1.blend", 1), large("tex.exr", 2)],
        50,
    );
    keep(
        ANNA,
        vec![large("shot_v2.blend", 3), large("tex.exr", 2)],
        40,
    );
    keep(ANNA, vec![large("shot_v1.blend", 4)], 30);
    keep(
        BERT,
        vec![large("shot_v3.blend", 5), large("tex.exr", 6)],
        20,
    );
    keep(ANNA, vec![large("other.blend", 8), small], 10);
    let new = Manifest {
        entry: "shot_v3.blend".into(),
        files: vec![
            large("shot_v3.blend", 20),
            large("tex.exr", 21),
            large("new.exr", 22),
        ],
    };
    let versions = |index: usize| -> Vec<u8> {
        let file = &new.files[index];
        let earlier = scenes.earlier(ANNA, &new, &[file]);
        let versions = versions_of(&earlier, file, &new.entry);
        versions.iter().map(|hash| hash.0[0]).collect()
    };
    assert_eq!(versions(0), [8, 4, 3, 1]);
    assert_eq!(versions(1), [2]);
    assert_eq!(versions(2), [0; 0]);
}
