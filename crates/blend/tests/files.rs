//! A file of Blender 4.5 against what that Blender said of it, packed in each way; and damaged and hostile files.

use blend::{BlendError, NamedPath, Summary, copy_with_paths, read};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Bytes of a block's header before 5.0.
const HEADER_BYTES: usize = 24;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The file of Blender 4.5 as it is, and unpacked.
fn packed() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| fs::read(data("blender_4.5.blend")).unwrap())
}

fn plain() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| zstd::stream::decode_all(packed()).unwrap())
}

fn read_bytes(bytes: &[u8]) -> Result<Summary, BlendError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read(file.path())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

fn sorted(values: &Value, key: &str) -> Vec<Value> {
    let mut all = values.as_array().unwrap().clone();
    all.sort_by_key(|value| (value["kind"].to_string(), value[key].to_string()));
    all
}

#[test]
fn a_file_of_4_5_is_told_as_its_blender_told_it() {
    let ours = serde_json::to_value(read(&data("blender_4.5.blend")).unwrap()).unwrap();
    let theirs = fs::read(data("blender_4.5.json")).unwrap();
    let theirs: Value = serde_json::from_slice(&theirs).unwrap();
    for key in ["version", "active_scene", "scripts", "drivers"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    let scenes = sorted(&ours["scenes"], "name");
    assert_eq!(scenes, sorted(&theirs["scenes"], "name"));
    // The libraries are not here, so what they need is not known.
    let own = |needed: &Value| {
        let is_packed = needed["packed"] == true || needed["state"] == "packed";
        json!([
            needed["kind"],
            needed["name"],
            needed["is_sequence"],
            is_packed
        ])
    };
    let theirs: Vec<Value> = sorted(&theirs["dependencies"], "name")
        .iter()
        .filter(|needed| needed["linked"] == false)
        .map(own)
        .collect();
    let ours: Vec<Value> = sorted(&ours["dependencies"], "name")
        .iter()
        .map(own)
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn packing_changes_nothing_else() {
    let mut summaries = [packed().to_vec(), plain().to_vec(), gzip(plain())]
        .map(|bytes| serde_json::to_value(read_bytes(&bytes).unwrap()).unwrap());
    let names = summaries
        .each_mut()
        .map(|summary| summary["compression"].take());
    assert_eq!(names, ["zstd", "none", "gzip"]);
    for summary in &mut summaries {
        // Relative to a temporary folder.
        summary["dependencies"].take();
    }
    assert_eq!(summaries[0], summaries[1]);
    assert_eq!(summaries[0], summaries[2]);
}

/// A copy of a file in which every path that ends so became another.
fn copied(bytes: &[u8], ending: &str, text: &str) -> Result<Summary, BlendError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let summary = read(file.path())?;
    let named = summary
        .paths
        .iter()
        .filter(|named| named.path.ends_with(ending));
    let paths: Vec<(&NamedPath, String)> = named.map(|named| (named, text.to_owned())).collect();
    assert!(!paths.is_empty(), "no path ends in {ending}");
    let mut copy = Vec::new();
    copy_with_paths(file.path(), &paths, &mut copy)?;
    read_bytes(&copy)
}

#[test]
fn a_copy_has_its_new_paths_and_all_else_as_it_was() {
    for bytes in [packed().to_vec(), plain().to_vec(), gzip(plain())] {
        let copy = copied(&bytes, "plain.png", "//outside/1/plain.png").unwrap();
        let changed = |summary: &Summary| {
            let paths = summary
                .dependencies
                .iter()
                .map(|needed| needed.path.clone());
            let mut paths: Vec<String> = paths.collect();
            paths.sort();
            paths
        };
        let original = read_bytes(&bytes).unwrap();
        let expected = changed(&original).into_iter().map(|path| {
            let is_it = path.ends_with("plain.png");
            if is_it {
                "//outside/1/plain.png".into()
            } else {
                path
            }
        });
        let mut expected: Vec<String> = expected.collect();
        expected.sort();
        assert_eq!(changed(&copy), expected);
        assert_eq!(copy.scenes, original.scenes);
        let is_old = original.compression == blend::Compression::Gzip;
        assert!(is_old || copy.compression == original.compression);
        assert_eq!(copy.drivers, original.drivers);
    }
    let long = format!("//{}.png", "a".repeat(1 << 10));
    let error = copied(plain(), "plain.png", &long).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
}

#[test]
fn frames_without_paths_are_copied_as_they_are() {
    let [from_packed, from_plain] = [packed(), plain()].map(|bytes| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let summary = read(file.path()).unwrap();
        let paths = summary.paths.iter();
        let paths = paths.map(|path| (path, format!("{}.moved", path.path)));
        let mut copy = Vec::new();
        copy_with_paths(file.path(), &paths.collect::<Vec<_>>(), &mut copy).unwrap();
        let mut alone = Vec::new();
        copy_with_paths(file.path(), &[], &mut alone).unwrap();
        assert!(alone == bytes, "a copy without changes differs");
        copy
    });
    assert!(zstd::stream::decode_all(&from_packed[..]).unwrap() == from_plain);
    assert!(from_plain != plain());
}

#[test]
fn a_list_that_leads_back_to_its_beginning_is_refused() {
    let mut bytes = plain().to_vec();
    // A view layer begins with where the next and the last one lie, then its name; before it lies the block's header.
    let is_layer = |at: &usize| {
        bytes[*at..].starts_with(b"DATA") && bytes[at + HEADER_BYTES + 16..].starts_with(b"Near\0")
    };
    let header = (0..bytes.len() - 64).find(is_layer).unwrap();
    let start = header + HEADER_BYTES;
    let address: [u8; 8] = bytes[header + 8..header + 16].try_into().unwrap();
    bytes[start..start + 8].copy_from_slice(&address);
    let error = read_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("do not end"), "{error}");
}

#[test]
fn lengths_are_not_believed() {
    for length in [u32::MAX, 1 << 31, 1 << 20, 1 << 16] {
        for tag in [&b"GLOB"[..], b"DNA1", b"SC\0\0"] {
            let mut bytes = plain().to_vec();
            let header = find(&bytes, tag);
            bytes[header + 4..header + 8].copy_from_slice(&length.to_le_bytes());
            for bytes in [gzip(&bytes), bytes] {
                let error = read_bytes(&bytes);
                assert!(error.is_err(), "{tag:?} of {length} bytes: {error:?}");
            }
        }
    }
}

/// Bytes after the table of a file's frames, and of one entry.
const TABLE_FOOT_BYTES: usize = 9;
const TABLE_ENTRY_BYTES: usize = 8;

#[test]
fn the_table_of_frames_is_not_believed() {
    let whole = packed();
    let foot = whole.len() - TABLE_FOOT_BYTES;
    let count = u32::from_le_bytes(whole[foot..foot + 4].try_into().unwrap()) as usize;
    assert!(count > 1 && whole[foot + 5..] == 0x8f92_eab1_u32.to_le_bytes());
    let table = foot - count * TABLE_ENTRY_BYTES;
    let unpacked: [u8; 4] = whole[table + 4..table + 8].try_into().unwrap();
    let unpacked = u32::from_le_bytes(unpacked);
    for length in [0, 1, unpacked - 1, unpacked + 1, 4 << 20] {
        let mut bytes = whole.to_vec();
        bytes[table + 4..table + 8].copy_from_slice(&length.to_le_bytes());
        let error = read_bytes(&bytes);
        assert!(error.is_err(), "{length} for {unpacked}: {error:?}");
    }
    // Contradictions in the table make it worthless; the frames can still be found one after the other.
    for (at, value) in [
        (table, u32::MAX),
        (table + 4, u32::MAX),
        (table - 4, 7),
        (foot, u32::MAX),
        (foot, 1),
    ] {
        let mut bytes = whole.to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let _ = read_bytes(&bytes);
    }
    let mut bytes = whole.to_vec();
    bytes[table..table + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let summary = read_bytes(&bytes).unwrap();
    assert_eq!(summary.scenes, read_bytes(whole).unwrap().scenes);
}

#[test]
fn what_claims_more_than_it_holds_is_refused() {
    let mut bytes = b"BLENDER-v279".to_vec();
    // A block of 4 GiB that nobody asks for, in a file that unpacks to 8 MiB.
    let mut header = b"DATA".to_vec();
    header.extend(u32::MAX.to_le_bytes());
    header.resize(HEADER_BYTES, 0);
    bytes.extend(header);
    bytes.resize(8 << 20, 0);
    let error = read_bytes(&gzip(&bytes)).unwrap_err();
    assert!(matches!(error, BlendError::CutShort), "{error}");
    // Frames whose one block is a run of 128 KiB of the same byte.
    let run = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38, 0x03, 0x00, 0x10, 0x42];
    let error = read_bytes(&run.repeat(64)).unwrap_err();
    assert!(matches!(error, BlendError::NotBlend), "{error}");
}

#[test]
fn what_unpacks_to_too_much_is_left_early() {
    const FRAME: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let header = |bytes: u32, kind: u32, last: u32| (bytes << 3 | kind << 1 | last).to_le_bytes();
    let mut start = b"BLENDER-v405DATA".to_vec();
    start.extend(u32::MAX.to_le_bytes());
    start.resize(12 + HEADER_BYTES, 0);
    let mut bytes = FRAME.to_vec();
    bytes.extend(&header(start.len() as u32, 0, 1)[..3]);
    bytes.extend(&start);
    // Frames of runs of a byte, 128 KiB each, that do not say what they unpack to: 5 GiB in 160 KB.
    let mut runs = FRAME.to_vec();
    for last in [0; 1023].into_iter().chain([1]) {
        runs.extend(&header(128 << 10, 1, last)[..3]);
        runs.push(0);
    }
    bytes.extend(runs.repeat(40));
    let error = read_bytes(&bytes).unwrap_err();
    assert!(matches!(error, BlendError::TooLarge(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_files_are_errors(at in 0.0..1.0_f64) {
        for whole in [packed(), plain()] {
            let length = (whole.len() as f64 * at) as usize;
            // The table of frames at the end is no part of the scene.
            if length < whole.len() - 64 {
                prop_assert!(read_bytes(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..64)) {
        for whole in [packed(), plain()] {
            let mut bytes = whole.to_vec();
            for (at, value) in &changes {
                let at = (bytes.len() as f64 * at) as usize;
                bytes[at] = *value;
            }
            // Either is fine: the damage may lie where nobody looks.
            let _ = read_bytes(&bytes);
        }
    }

    #[test]
    fn a_changed_table_never_panics(changes in prop::collection::vec((0..96_usize, any::<u8>()), 1..8)) {
        let mut bytes = packed().to_vec();
        let end = bytes.len() - 1;
        for (back, value) in changes {
            bytes[end - back] = value;
        }
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn a_changed_description_of_structs_never_panics(
        changes in prop::collection::vec((0.0..1.0_f64, any::<u16>()), 1..32),
    ) {
        let mut bytes = plain().to_vec();
        let start = find(&bytes, b"SDNANAME");
        for (at, value) in &changes {
            let at = start + ((bytes.len() - start - 2) as f64 * at) as usize;
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        let _ = read_bytes(&bytes);
    }
}
