//! A scene and its files as blobs that workers may fetch.

use crate::failure::Failure;
use network::{Access, BlobStore};
use protocol::{Blake3Hash, BundleFile, Manifest};
use std::path::{Path, PathBuf};

/// What a job says of its bundle.
#[derive(Debug, Clone, Copy)]
pub struct Bundle {
    /// Hash of the manifest's bytes.
    pub manifest: Blake3Hash,
    /// Length of the manifest.
    pub manifest_bytes: u64,
    /// Length of all files.
    pub bytes: u64,
}

/// Adds the scene and its files to the blobs; blocks.
pub fn make(scene: &Path, dependencies: &[PathBuf], blobs: &BlobStore) -> Result<Bundle, Failure> {
    let refuse =
        |path: &Path, why: String| Failure::preflight(format!("{}: {why}", path.display()));
    let absolute = std::path::absolute(scene).map_err(|e| refuse(scene, e.to_string()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut files = Vec::new();
    for path in std::iter::once(&absolute).chain(dependencies) {
        let path = std::path::absolute(path).map_err(|e| refuse(path, e.to_string()))?;
        let inside = path.strip_prefix(&folder).map_err(|_| {
            refuse(
                &path,
                "the scene needs this file, which lies outside the scene's folder".into(),
            )
            .hint("pack the scene's files into it, or move them beside it")
        })?;
        let name: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
        let name = name
            .ok_or_else(|| refuse(&path, "its name is not Unicode".into()))?
            .join("/");
        let (hash, bytes) = blobs
            .add_file(&path)
            .map_err(|e| refuse(&path, e.to_string()))?;
        blobs.allow(hash, Access::Anyone);
        files.push(BundleFile {
            path: name,
            hash,
            bytes,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    let entry = absolute
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_owned();
    let bytes = files.iter().map(|file| file.bytes).sum();
    let manifest = Manifest { entry, files };
    manifest.check().map_err(|e| refuse(scene, e.to_string()))?;
    let encoded = postcard::to_stdvec(&manifest).map_err(|e| refuse(scene, e.to_string()))?;
    let hash = blobs
        .add_bytes(&encoded)
        .map_err(|e| refuse(scene, e.to_string()))?;
    blobs.allow(hash, Access::Anyone);
    Ok(Bundle {
        manifest: hash,
        manifest_bytes: encoded.len() as u64,
        bytes,
    })
}
