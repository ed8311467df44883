//! Scenes on disk: which are kept after their jobs, and which files of theirs may be earlier versions of a new one.
//!
//! Beside the blobs lies a file for each scene, named by its manifest, with its requestor; it was last used when that file
//! was last written. Scenes that jobs use are never removed, whatever their size. Of the others the most recently used
//! ones stay that fit, together with those in use, into what the provider gives for them. A blob goes with the last scene
//! that has it.

use crate::{
    config::WorkerConfig,
    limits::{BLOBS_KEPT_MAX, EARLIER_FILES_MAX, EARLIER_SCENES_MAX, SCENES_KEPT_MAX},
};
use network::BlobStore;
use protocol::{
    Blake3Hash, BundleFile, Manifest, NodeId,
    limits::{MANIFEST_BYTES_MAX, SEGMENTED_BYTES_MIN},
};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// Ending of the files that say whose scene a manifest is.
const ENDING: &str = "scene";

/// The scenes of a worker; clones share them. All calls block.
#[derive(Clone)]
pub struct Scenes {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: BlobStore,
    folder: PathBuf,
    bytes_max: u64,
    /// Blobs of the requestor, for a worker that it started on its own computer.
    requestor_blobs: Option<PathBuf>,
    /// How often each manifest is in use.
    in_use: Mutex<HashMap<Blake3Hash, usize>>,
    /// Held by who removes scenes.
    tidying: Mutex<()>,
}

/// A poisoned lock is used on: what is behind it is whole after every single operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scene that stays while this is held.
pub struct InUse {
    scenes: Scenes,
    manifest: Blake3Hash,
}

/// A kept scene of the same requestor, with files that may be earlier versions of a new scene's.
pub struct Earlier {
    manifest: Manifest,
    _in_use: InUse,
}

/// A scene as its file tells of it.
struct Known {
    manifest: Blake3Hash,
    requestor: Option<NodeId>,
    used: SystemTime,
}

impl Scenes {
    /// The scenes of a worker. Blobs that are of none are removed: leftovers of one that was killed.
    pub fn open(blobs: BlobStore, config: &WorkerConfig) -> io::Result<Self> {
        let folder = config.data_dir.join("scenes");
        fs::create_dir_all(&folder)?;
        let scenes = Self {
            inner: Arc::new(Inner {
                blobs,
                folder,
                bytes_max: config.cache_bytes,
                requestor_blobs: config.requestor_blobs.clone(),
                in_use: Mutex::default(),
                tidying: Mutex::default(),
            }),
        };
        let kept = scenes.tidy();
        for blob in scenes.blobs().list().map_err(io::Error::other)? {
            if !kept.contains(&blob) {
                scenes.remove_blob(blob);
            }
        }
        Ok(scenes)
    }

    /// Where the files of scenes are.
    pub fn blobs(&self) -> &BlobStore {
        &self.inner.blobs
    }

    /// Is a file here? One whose length has changed on disk is removed; one that the requestor has on this computer is
    /// shared with it.
    pub fn has(&self, file: &BundleFile) -> bool {
        match self.blobs().size(file.hash) {
            Some(bytes) if bytes == file.bytes => return true,
            Some(_) => self.remove_blob(file.hash),
            None => {}
        }
        let theirs = self.inner.requestor_blobs.as_ref();
        theirs.is_some_and(|theirs| self.blobs().share(theirs, file.hash, file.bytes))
    }

    /// A requestor's scene is used from now on, whether anything of it is here yet or not.
    pub fn using(&self, requestor: NodeId, manifest: Blake3Hash) -> io::Result<InUse> {
        // Whoever removes scenes has either removed files that this one needs by now, or knows that it does.
        let nobody_tidies = lock(&self.inner.tidying);
        let in_use = self.hold(manifest);
        let written = fs::write(self.path(manifest), requestor.to_string());
        // Not after `in_use`, which tidies when it is dropped.
        drop(nobody_tidies);
        written.map(|()| in_use)
    }

    fn hold(&self, manifest: Blake3Hash) -> InUse {
        *lock(&self.inner.in_use).entry(manifest).or_default() += 1;
        InUse {
            scenes: self.clone(),
            manifest,
        }
    }

    /// Kept scenes of this requestor that have an earlier version of one of these files, the most recently used first.
    /// Other requestors' are not looked at: what a worker does not ask for tells what it has.
    pub fn earlier(
        &self,
        requestor: NodeId,
        manifest: &Manifest,
        files: &[&BundleFile],
    ) -> Vec<Earlier> {
        let mut known = self.known();
        known.retain(|scene| scene.requestor == Some(requestor));
        known.sort_unstable_by_key(|scene| std::cmp::Reverse(scene.used));
        let earlier = known.into_iter().filter_map(|scene| {
            let old = self.manifest(scene.manifest)?;
            let has_one = |file: &&BundleFile| version_of(&old, file, &manifest.entry).is_some();
            files.iter().any(has_one).then(|| Earlier {
                manifest: old,
                _in_use: self.hold(scene.manifest),
            })
        });
        earlier.take(EARLIER_SCENES_MAX).collect()
    }

    fn path(&self, manifest: Blake3Hash) -> PathBuf {
        self.inner.folder.join(format!("{manifest}.{ENDING}"))
    }

    fn manifest(&self, hash: Blake3Hash) -> Option<Manifest> {
        let bytes = self.blobs().read(hash, MANIFEST_BYTES_MAX).ok()?;
        let manifest: Manifest = postcard::from_bytes(&bytes).ok()?;
        manifest.check().ok()?;
        Some(manifest)
    }

    fn known(&self) -> Vec<Known> {
        let known = |path: &Path| {
            let name = path.file_stem()?.to_str()?;
            let is_ours = path.extension().is_some_and(|ending| ending == ENDING);
            let used = fs::metadata(path).and_then(|metadata| metadata.modified());
            let requestor = fs::read_to_string(path).ok();
            Some(Known {
                manifest: is_ours.then(|| name.parse().ok())??,
                requestor: requestor.and_then(|text| text.parse().ok()),
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            })
        };
        let files = fs::read_dir(&self.inner.folder).into_iter().flatten();
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        paths.filter_map(|path| known(&path)).collect()
    }

    /// Removes the least recently used scenes beyond what is to be kept; gives the blobs that stay.
    pub fn tidy(&self) -> HashSet<Blake3Hash> {
        let _one_at_a_time = lock(&self.inner.tidying);
        let mut known = self.known();
        let in_use: HashSet<Blake3Hash> = lock(&self.inner.in_use).keys().copied().collect();
        let is_idle = |scene: &Known| !in_use.contains(&scene.manifest);
        known.sort_unstable_by_key(|scene| (is_idle(scene), std::cmp::Reverse(scene.used)));
        let mut kept = Kept::default();
        let mut gone = Vec::new();
        for (index, scene) in known.into_iter().enumerate() {
            let is_idle = is_idle(&scene);
            let Some(manifest) = self.manifest(scene.manifest) else {
                // What is in use and has no manifest yet is being fetched.
                if is_idle {
                    self.forget(scene.manifest);
                }
                continue;
            };
            let fits = gone.is_empty()
                && index < SCENES_KEPT_MAX
                && kept.fits(scene.manifest, &manifest, self.inner.bytes_max);
            match fits || !is_idle {
                true => kept.add(scene.manifest, &manifest),
                false => gone.push((scene.manifest, manifest)),
            }
        }
        for (hash, manifest) in gone {
            tracing::info!(scene = manifest.entry, "no longer kept");
            self.forget(hash);
            for (blob, _) in blobs_of(hash, &manifest) {
                if !kept.blobs.contains(&blob) {
                    self.remove_blob(blob);
                }
            }
        }
        kept.blobs
    }

    fn forget(&self, manifest: Blake3Hash) {
        let path = self.path(manifest);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("{}: {error}", path.display());
        }
    }

    /// Removes a blob that no scene has.
    pub fn remove_blob(&self, blob: Blake3Hash) {
        if let Err(error) = self.blobs().remove(blob) {
            tracing::warn!("a file of a scene stays on disk: {error}");
        }
    }
}

/// Blobs of a scene with their lengths.
fn blobs_of(hash: Blake3Hash, manifest: &Manifest) -> impl Iterator<Item = (Blake3Hash, u64)> {
    let files = manifest.files.iter().map(|file| (file.hash, file.bytes));
    std::iter::once((hash, 0)).chain(files)
}

/// What stays on disk.
#[derive(Default)]
struct Kept {
    blobs: HashSet<Blake3Hash>,
    bytes: u64,
}

impl Kept {
    fn fits(&self, hash: Blake3Hash, manifest: &Manifest, bytes_max: u64) -> bool {
        let mut new = HashMap::new();
        new.extend(blobs_of(hash, manifest).filter(|(blob, _)| !self.blobs.contains(blob)));
        let bytes = new
            .values()
            .fold(self.bytes, |sum, bytes| sum.saturating_add(*bytes));
        bytes <= bytes_max && self.blobs.len() + new.len() <= BLOBS_KEPT_MAX
    }

    fn add(&mut self, hash: Blake3Hash, manifest: &Manifest) {
        for (blob, bytes) in blobs_of(hash, manifest) {
            if self.blobs.insert(blob) {
                self.bytes = self.bytes.saturating_add(bytes);
            }
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let scenes = self.scenes.clone();
        {
            let mut in_use = lock(&scenes.inner.in_use);
            if let Some(uses) = in_use.get_mut(&self.manifest) {
                *uses -= 1;
                if *uses > 0 {
                    return;
                }
                in_use.remove(&self.manifest);
            }
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || scenes.tidy())),
            Err(_) => drop(scenes.tidy()),
        }
    }
}

/// The file of an old scene that a new one may be a version of: the one with the same path, or, of a scene that was
/// saved under another name, the scene.
fn version_of(old: &Manifest, file: &BundleFile, entry: &str) -> Option<Blake3Hash> {
    let same = |path: &str| old.files.iter().find(|old| old.path == path);
    let is_scene = file.path == entry;
    let old = same(&file.path).or_else(|| same(&old.entry).filter(|_| is_scene))?;
    (old.bytes >= SEGMENTED_BYTES_MIN && old.hash != file.hash).then_some(old.hash)
}

/// What may be earlier versions of a file, the most recently used first.
pub fn versions_of(earlier: &[Earlier], file: &BundleFile, entry: &str) -> Vec<Blake3Hash> {
    let mut versions: Vec<Blake3Hash> = Vec::new();
    for scene in earlier {
        let version = version_of(&scene.manifest, file, entry);
        versions.extend(version.filter(|version| !versions.contains(version)));
    }
    versions.truncate(EARLIER_FILES_MAX);
    versions
}

#[cfg(test)]
mod tests;
