//! Fetches a scene of a requestor and lays it out as files for the engine.

use crate::{
    limits::{FETCH_ATTEMPTS_MAX, FETCHES_MAX, RETRY},
    scenes::{Earlier, InUse, Scenes, versions_of},
};
use network::{Assembly, BlobStore, NetworkError, Node};
use protocol::{Blake3Hash, BundleFile, JobSpec, Manifest, NodeId, Segmented};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::task::JoinSet;

/// A scene whose files are laid out.
pub struct Fetched {
    /// The path of the scene in its folder.
    pub entry: String,
    /// Keeps its files.
    _in_use: InUse,
}

/// Fetches what is not here yet and fills `folder`. Of files that are `segmented` and of which an earlier version is
/// here, only what changed is fetched.
pub async fn fetch(
    node: Node,
    scenes: Scenes,
    requestor: NodeId,
    (job, segmented): (Arc<JobSpec>, Vec<Segmented>),
    folder: PathBuf,
) -> Result<Fetched, String> {
    let (fetcher, begun) = (Fetcher { node, requestor }, Instant::now());
    let (of_scenes, hash) = (scenes.clone(), job.manifest);
    let in_use = blocking(move || {
        let in_use = of_scenes.using(requestor, hash);
        in_use.map_err(|e| format!("cannot keep the scene: {e}"))
    });
    let in_use = in_use.await?;
    fetcher.whole(job.manifest, job.manifest_bytes).await?;
    let of_files = scenes.clone();
    let found = blocking(move || {
        let manifest = read_manifest(of_files.blobs(), &job)?;
        let lacking = Lacking::find(&of_files, requestor, &manifest, &segmented);
        of_files.tidy();
        Ok((manifest, lacking))
    });
    let (manifest, lacking) = found.await?;
    let length = |files: &mut dyn Iterator<Item = &BundleFile>| -> u64 {
        files.map(|file| file.bytes).sum()
    };
    let all = length(&mut manifest.files.iter());
    let missing = length(&mut lacking.files.iter().map(|lacking| &lacking.file));
    let arrived = fetcher.all(&scenes, lacking).await?;
    let took = begun.elapsed();
    tracing::info!("scene of {all} bytes: {missing} were missing, {arrived} fetched in {took:.1?}");
    let entry = manifest.entry.clone();
    blocking(move || lay_out(scenes.blobs(), &manifest, &folder)).await?;
    Ok(Fetched {
        entry,
        _in_use: in_use,
    })
}

/// What is to be fetched.
struct Lacking {
    files: Vec<LackingFile>,
    /// Keeps the earlier versions.
    _earlier: Vec<Earlier>,
}

struct LackingFile {
    file: BundleFile,
    /// The list of its segments and earlier versions of it.
    changed: Option<(Segmented, Vec<Blake3Hash>)>,
}

impl Lacking {
    fn find(
        scenes: &Scenes,
        requestor: NodeId,
        manifest: &Manifest,
        segmented: &[Segmented],
    ) -> Self {
        let segmented: HashMap<Blake3Hash, Segmented> =
            segmented.iter().map(|list| (list.file, *list)).collect();
        let mut seen = HashSet::new();
        let mut lacking: Vec<&BundleFile> = manifest.files.iter().collect();
        lacking.retain(|file| seen.insert(file.hash) && !scenes.has(file));
        let cut: Vec<&BundleFile> = lacking
            .iter()
            .filter(|file| segmented.contains_key(&file.hash))
            .copied()
            .collect();
        let earlier = match cut.is_empty() {
            true => Vec::new(),
            false => scenes.earlier(requestor, manifest, &cut),
        };
        let changed = |file: &BundleFile| {
            let versions = versions_of(&earlier, file, &manifest.entry);
            let list = segmented.get(&file.hash)?;
            (!versions.is_empty()).then_some((*list, versions))
        };
        let lacking_file = |file: &BundleFile| LackingFile {
            file: file.clone(),
            changed: changed(file),
        };
        Self {
            files: lacking.into_iter().map(lacking_file).collect(),
            _earlier: earlier,
        }
    }
}

#[derive(Clone)]
struct Fetcher {
    node: Node,
    requestor: NodeId,
}

impl Fetcher {
    /// Fetches everything that is lacking; gives how many bytes that were.
    async fn all(&self, scenes: &Scenes, lacking: Lacking) -> Result<u64, String> {
        let mut fetches = JoinSet::new();
        let mut arrived = 0;
        for file in lacking.files {
            if fetches.len() == FETCHES_MAX {
                arrived += finished(fetches.join_next().await)?;
            }
            let (fetcher, scenes) = (self.clone(), scenes.clone());
            fetches.spawn(async move { fetcher.file(&scenes, file).await });
        }
        while !fetches.is_empty() {
            arrived += finished(fetches.join_next().await)?;
        }
        Ok(arrived)
    }

    async fn file(&self, scenes: &Scenes, lacking: LackingFile) -> Result<u64, String> {
        let LackingFile { file, changed } = lacking;
        if let Some((list, versions)) = changed {
            match self.changed(scenes, &file, list, versions).await {
                Ok(Some(arrived)) => return Ok(arrived),
                Ok(None) => {}
                Err(error) => tracing::warn!("{}: fetched whole: {error}", file.path),
            }
        }
        self.whole(file.hash, file.bytes).await?;
        Ok(file.bytes)
    }

    /// Fetches what earlier versions of a file do not have; none when they have nothing.
    async fn changed(
        &self,
        scenes: &Scenes,
        file: &BundleFile,
        segmented: Segmented,
        versions: Vec<Blake3Hash>,
    ) -> Result<Option<u64>, String> {
        let list_bytes = segmented.list_bytes();
        self.whole(segmented.list, list_bytes).await?;
        let begun = self.node.assemble(segmented, file.bytes, versions).await;
        let blobs = scenes.clone();
        let removed = blocking(move || {
            blobs.remove_blob(segmented.list);
            Ok(())
        });
        removed.await?;
        match begun.map_err(|e| e.to_string())? {
            None => Ok(Some(list_bytes)),
            Some(assembly) if assembly.kept_bytes() == 0 => Ok(None),
            Some(mut assembly) => {
                self.rest(&mut assembly).await?;
                Ok(Some(list_bytes + assembly.arrived_bytes()))
            }
        }
    }

    async fn rest(&self, assembly: &mut Assembly) -> Result<(), String> {
        let mut attempt = 1;
        while let Err(error) = self.node.complete(self.requestor, assembly).await {
            again(error, attempt).await?;
            attempt += 1;
        }
        Ok(())
    }

    async fn whole(&self, hash: Blake3Hash, bytes: u64) -> Result<(), String> {
        let mut attempt = 1;
        while let Err(error) = self.node.fetch(self.requestor, hash, bytes, |_| {}).await {
            again(error, attempt).await?;
            attempt += 1;
        }
        Ok(())
    }
}

/// Waits before the next attempt, if one may help.
async fn again(error: NetworkError, attempt: u32) -> Result<(), String> {
    let may_pass = matches!(
        error,
        NetworkError::Busy { .. }
            | NetworkError::Interrupted { .. }
            | NetworkError::NotConnected { .. }
    );
    if !may_pass || attempt == FETCH_ATTEMPTS_MAX {
        return Err(error.to_string());
    }
    tokio::time::sleep(RETRY * attempt).await;
    Ok(())
}

type Joined = Option<Result<Result<u64, String>, tokio::task::JoinError>>;

fn finished(joined: Joined) -> Result<u64, String> {
    match joined {
        None => Ok(0),
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
