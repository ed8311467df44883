//! A scene and its files as blobs that workers may fetch.

mod layout;
mod segments;

pub use segments::Lists;

use crate::failure::Failure;
use blend::{NamedPath, Summary};
use layout::Layout;
use network::{Access, BlobStore};
use protocol::{
    Blake3Hash, BundleFile, Manifest,
    limits::{SEGMENTED_BYTES_MIN, SEGMENTED_FILES_MAX},
};
use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// What a job says of its bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Hash of the manifest's bytes.
    pub manifest: Blake3Hash,
    /// Length of the manifest.
    pub manifest_bytes: u64,
    /// Length of all files.
    pub bytes: u64,
    /// Files that may be sent in part, the largest first.
    pub large: Vec<Blake3Hash>,
}

/// What a scene needs besides itself.
pub enum Needed {
    /// Files in its folder.
    Files(Vec<PathBuf>),
    /// What a .blend file and its libraries name, wherever that lies.
    Blend(Box<Summary>),
}

fn refuse(path: &Path, why: impl Display) -> Failure {
    Failure::preflight(format!("{}: {why}", path.display()))
}

/// Adds the scene and its files to the blobs; copies that have to be made lie in `scratch` meanwhile. Blocks.
pub fn make(
    scene: &Path,
    needed: &Needed,
    blobs: &BlobStore,
    scratch: &Path,
) -> Result<Bundle, Failure> {
    let scene = std::path::absolute(scene).map_err(|e| refuse(scene, e))?;
    let folder = scene.parent().unwrap_or(Path::new("/"));
    let files = match needed {
        Needed::Files(files) => add_inside(&scene, folder, files, blobs)?,
        Needed::Blend(summary) => add_anywhere(&scene, folder, summary, (blobs, scratch))?,
    };
    let entry = scene.file_name().and_then(|name| name.to_str());
    add_manifest(&scene, entry.unwrap_or_default(), files, blobs)
}

/// Files of the scene's folder, as they are.
fn add_inside(
    scene: &Path,
    folder: &Path,
    files: &[PathBuf],
    blobs: &BlobStore,
) -> Result<Vec<BundleFile>, Failure> {
    let add_one = |path: &Path| {
        let path = std::path::absolute(path).map_err(|e| refuse(path, e))?;
        let inside = path.strip_prefix(folder).map_err(|_| {
            let why = "the scene needs this file, which lies outside the scene's folder";
            refuse(&path, why).hint("pack the scene's files into it, or move them beside it")
        })?;
        add(&path, inside, &path, blobs)
    };
    std::iter::once(scene)
        .chain(files.iter().map(PathBuf::as_path))
        .map(add_one)
        .collect()
}

/// Files of any folder. Scenes that name some of them by paths that mean nothing in the bundle are copied with others.
fn add_anywhere(
    scene: &Path,
    folder: &Path,
    summary: &Summary,
    (blobs, scratch): (&BlobStore, &Path),
) -> Result<Vec<BundleFile>, Failure> {
    let layout = Layout::new(folder, &summary.dependencies);
    let mut changed: BTreeMap<&Path, Vec<(&NamedPath, String)>> = BTreeMap::new();
    for path in &summary.paths {
        if let Some(text) = layout.path_in_bundle(path) {
            let of_file = changed.entry(path.blend.as_path()).or_default();
            of_file.push((path, text));
        }
    }
    let files = summary.dependencies.iter().flat_map(|needed| &needed.files);
    let add_one = |path: &Path| {
        let place = layout.place(path);
        let place = place.ok_or_else(|| refuse(path, "it has no place in the bundle"))?;
        match changed.get(path) {
            None => add(path, &place, path, blobs),
            Some(paths) => {
                let copy = copy_with_paths(path, paths, scratch).map_err(|e| refuse(path, e))?;
                add(path, &place, copy.path(), blobs)
            }
        }
    };
    std::iter::once(scene)
        .chain(files.map(PathBuf::as_path))
        .map(add_one)
        .collect()
}

fn copy_with_paths(
    file: &Path,
    paths: &[(&NamedPath, String)],
    scratch: &Path,
) -> Result<NamedTempFile, blend::BlendError> {
    let copy = NamedTempFile::new_in(scratch).map_err(blend::BlendError::Io)?;
    let mut writer = BufWriter::new(&copy);
    blend::copy_with_paths(file, paths, &mut writer)?;
    writer.flush().map_err(blend::BlendError::Io)?;
    drop(writer);
    Ok(copy)
}

/// Adds the content of one file as that of another.
fn add(
    path: &Path,
    place: &Path,
    content: &Path,
    blobs: &BlobStore,
) -> Result<BundleFile, Failure> {
    let name: Option<Vec<&str>> = place.iter().map(|part| part.to_str()).collect();
    let name = name.ok_or_else(|| refuse(path, "its name is not Unicode"))?;
    let (hash, bytes) = blobs.add_file(content).map_err(|e| refuse(path, e))?;
    blobs.allow(hash, Access::Anyone);
    Ok(BundleFile {
        path: name.join("/"),
        hash,
        bytes,
    })
}

fn add_manifest(
    scene: &Path,
    entry: &str,
    mut files: Vec<BundleFile>,
    blobs: &BlobStore,
) -> Result<Bundle, Failure> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    let bytes = files.iter().map(|file| file.bytes).sum();
    let large = large(&files);
    let manifest = Manifest {
        entry: entry.to_owned(),
        files,
    };
    manifest.check().map_err(|e| refuse(scene, e))?;
    let encoded = postcard::to_stdvec(&manifest).map_err(|e| refuse(scene, e))?;
    let hash = blobs.add_bytes(&encoded).map_err(|e| refuse(scene, e))?;
    blobs.allow(hash, Access::Anyone);
    Ok(Bundle {
        manifest: hash,
        manifest_bytes: encoded.len() as u64,
        bytes,
        large,
    })
}

fn large(files: &[BundleFile]) -> Vec<Blake3Hash> {
    let large = files
        .iter()
        .filter(|file| file.bytes >= SEGMENTED_BYTES_MIN);
    let mut large: Vec<_> = large.map(|file| (file.bytes, file.hash)).collect();
    large.sort_unstable();
    large.dedup();
    let by_size = large.into_iter().rev().take(SEGMENTED_FILES_MAX);
    by_size.map(|(_, hash)| hash).collect()
}
