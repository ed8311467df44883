//! Fetches a scene of a requestor and lays it out as files for the engine.

use crate::limits::{FETCH_ATTEMPTS_MAX, FETCHES_MAX, RETRY};
use network::{BlobStore, NetworkError, Node};
use protocol::{Blake3Hash, BundleFile, JobSpec, Manifest, NodeId};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinSet;

/// Fetches what is not in the store yet and fills `folder`; gives the path of the scene in it.
pub async fn fetch(
    node: Node,
    blobs: BlobStore,
    requestor: NodeId,
    job: Arc<JobSpec>,
    folder: PathBuf,
) -> Result<String, String> {
    fetch_blob(&node, requestor, job.manifest, job.manifest_bytes).await?;
    let (store, spec) = (blobs.clone(), Arc::clone(&job));
    let manifest = blocking(move || read_manifest(&store, &spec)).await?;
    let mut wanted = HashSet::new();
    let mut fetches = JoinSet::new();
    for file in &manifest.files {
        if !wanted.insert(file.hash) {
            continue;
        }
        if fetches.len() == FETCHES_MAX {
            finished(fetches.join_next().await)?;
        }
        let (node, hash, bytes) = (node.clone(), file.hash, file.bytes);
        fetches.spawn(async move { fetch_blob(&node, requestor, hash, bytes).await });
    }
    while !fetches.is_empty() {
        finished(fetches.join_next().await)?;
    }
    let entry = manifest.entry.clone();
    blocking(move || lay_out(&blobs, &manifest, &folder)).await?;
    Ok(entry)
}

type Joined = Option<Result<Result<(), String>, tokio::task::JoinError>>;

fn finished(joined: Joined) -> Result<(), String> {
    match joined {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|e| e.to_string())?
}

async fn fetch_blob(
    node: &Node,
    requestor: NodeId,
    hash: Blake3Hash,
    bytes: u64,
) -> Result<(), String> {
    let mut attempt = 1;
    loop {
        match node.fetch(requestor, hash, bytes, |_| {}).await {
            Ok(()) => return Ok(()),
            Err(
                NetworkError::Busy { .. }
                | NetworkError::Interrupted { .. }
                | NetworkError::NotConnected { .. },
            ) if attempt < FETCH_ATTEMPTS_MAX => tokio::time::sleep(RETRY * attempt).await,
            Err(error) => return Err(error.to_string()),
        }
        attempt += 1;
    }
}

fn read_manifest(blobs: &BlobStore, job: &JobSpec) -> Result<Manifest, String> {
    let bytes = blobs.read(job.manifest, job.manifest_bytes);
    let bytes = bytes.map_err(|e| e.to_string())?;
    let manifest: Manifest =
        postcard::from_bytes(&bytes).map_err(|e| format!("the manifest is malformed: {e}"))?;
    manifest.check().map_err(|e| e.to_string())?;
    Ok(manifest)
}

fn lay_out(blobs: &BlobStore, manifest: &Manifest, folder: &Path) -> Result<(), String> {
    for file in &manifest.files {
        let path = folder.join(&file.path);
        place(blobs, file, &path).map_err(|e| format!("{}: {e}", file.path))?;
    }
    Ok(())
}

fn place(blobs: &BlobStore, file: &BundleFile, path: &Path) -> io::Result<()> {
    if blobs.size(file.hash) != Some(file.bytes) {
        return Err(io::Error::other("its length is not that of the manifest"));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let blob = blobs.path(file.hash);
    if fs::hard_link(&blob, path).is_err() {
        fs::copy(&blob, path)?;
    }
    // The blob itself becomes read-only with its link, which is as it should be: blobs never change.
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions)
}
