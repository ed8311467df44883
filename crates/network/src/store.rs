//! Blobs on disk, named by their blake3 hash: files of scenes and pixels of tiles.
//!
//! A blob appears under its name whole or not at all: it is written to a `.part` file and renamed. What a
//! killed process leaves behind is removed when the folder is opened again. Beside a blob of more than one
//! piece lies its hash tree (`.tree`, 0.4 % of its size), made when it is added or first served; beside one that was cut
//! into segments, which blob lists them (`.cut`).
//!
//! All functions block on the disk: call them through `tokio::task::spawn_blocking` in async code.

mod assembly;
mod incoming;
mod part;
mod segments;
mod source;

pub use assembly::Assembly;
pub use incoming::{Incoming, PieceError};
use part::Part;
pub use source::Source;

use crate::piece::{PIECE_BYTES, tree};
use bao_tree::io::sync::outboard_post_order;
use protocol::{Blake3Hash, NodeId, limits::BLOB_BYTES_MAX};
use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicU64},
};

/// Bytes gathered before a blob's data is written to disk.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the user's quota is full. What was being written has been removed.
    #[error("no space left while writing {path}: free some and try again")]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// The system refused something else.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No such blob.
    #[error("no blob {hash} in the store")]
    Missing {
        /// Its name.
        hash: Blake3Hash,
    },
    /// The bytes on disk are no longer those of the blob; it has been removed: add or fetch it again.
    #[error("blob {hash} was damaged on disk and has been removed")]
    Damaged {
        /// Its name.
        hash: Blake3Hash,
    },
    /// Longer than allowed.
    #[error("{path} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Somebody wrote to a file while it was added.
    #[error("{path} changed while it was read: add it again when nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path },
            _ => Self::Io { path, source },
        }
    }
}

/// Who may fetch a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever is connected and knows the hash.
    Anyone,
    /// This peer.
    Only(NodeId),
}

#[derive(Debug, Default)]
struct Allowed {
    anyone: bool,
    peers: BTreeSet<NodeId>,
}

/// A folder of blobs; clones share it. One process at a time.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    allowed: Mutex<HashMap<Blake3Hash, Allowed>>,
    locks: Mutex<HashMap<Blake3Hash, Weak<tokio::sync::Mutex<()>>>>,
    parts: AtomicU64,
}

fn file_name(hash: Blake3Hash) -> String {
    format!("{hash}.blob")
}

/// A poisoned lock is used on: the maps behind it are whole after every single operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlobStore {
    /// Opens the folder `dir`, making it if need be, and clears away unfinished files. Blocking.
    ///
    /// # Errors
    /// When the folder cannot be made, listed or cleaned.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = dir.as_ref();
        let failed = |e| StoreError::io(folder, e);
        fs::create_dir_all(folder).map_err(failed)?;
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "part")
            {
                fs::remove_file(&path).map_err(|e| StoreError::io(&path, e))?;
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                allowed: Mutex::default(),
                locks: Mutex::default(),
                parts: AtomicU64::new(0),
            }),
        })
    }

    /// Copies the file at `path` into the store; gives its hash and length in bytes. The file is read once,
    /// in a stream. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read, is over [`BLOB_BYTES_MAX`], changes meanwhile, or the disk is full.
    pub fn add_file(&self, path: impl AsRef<Path>) -> Result<(Blake3Hash, u64), StoreError> {
        let path = path.as_ref();
        let failed = |e| StoreError::io(path, e);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let bytes = metadata.len();
        if bytes > BLOB_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path: path.to_owned(),
                bytes,
                bytes_max: BLOB_BYTES_MAX,
            });
        }
        Ok((self.add(file, bytes, path)?, bytes))
    }

    /// Stores `data` and gives its hash. Blocking.
    ///
    /// # Errors
    /// When writing fails, for instance because the disk is full.
    pub fn add_bytes(&self, data: &[u8]) -> Result<Blake3Hash, StoreError> {
        self.add(data, data.len() as u64, &self.inner.folder)
    }

    /// Copies `bytes` bytes of `reader`, hashing them on the way; `origin` is named in errors of reading.
    fn add(&self, reader: impl Read, bytes: u64, origin: &Path) -> Result<Blake3Hash, StoreError> {
        let data = Part::create(&self.inner)?;
        let mut tee = Tee {
            reader,
            writer: BufWriter::with_capacity(WRITE_BUFFER_BYTES, data.file()),
            write_failed: false,
        };
        let mut outboard = Vec::new();
        let mut outboard_part = match bytes > PIECE_BYTES {
            true => Some(Part::create(&self.inner)?),
            false => None,
        };
        let hashed = match &mut outboard_part {
            Some(part) => {
                let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, part.file());
                outboard_post_order(&mut tee, tree(bytes), &mut writer)
                    .and_then(|hash| writer.flush().map(|()| hash))
            }
            None => outboard_post_order(&mut tee, tree(bytes), &mut outboard),
        };
        let ended = hashed.and_then(|hash| Ok((hash, tee.reader.read(&mut [0])? == 0)));
        let flushed = tee.writer.flush();
        let write_failed = tee.write_failed;
        drop(tee);
        flushed.map_err(|e| StoreError::io(data.path(), e))?;
        match ended {
            Ok((hash, true)) => {
                let hash = Blake3Hash::from(hash);
                if let Some(part) = outboard_part {
                    part.rename_to(&self.tree_path(hash))?;
                }
                data.rename_to(&self.path(hash))?;
                Ok(hash)
            }
            Err(e) if write_failed => Err(StoreError::io(data.path(), e)),
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(StoreError::io(origin, e)),
            Ok((_, false)) | Err(_) => Err(StoreError::Changed {
                path: origin.to_owned(),
            }),
        }
    }

    /// Has a blob in common with the store in another folder of this computer, by a hard link; says whether it has. As with
    /// every blob that is here its bytes are not checked, only its length. Blocking.
    pub fn share(&self, folder: &Path, hash: Blake3Hash, bytes: u64) -> bool {
        let theirs = folder.join(file_name(hash));
        let is_whole = fs::metadata(&theirs).is_ok_and(|file| file.len() == bytes);
        // Elsewhere a file cannot be replaced once somebody has made it read-only.
        cfg!(unix) && is_whole && fs::hard_link(theirs, self.path(hash)).is_ok()
    }

    /// The bytes of a blob, checked against its hash. Blocking.
    ///
    /// # Errors
    /// When it is not here, longer than `bytes_max`, or was damaged on disk.
    pub fn read(&self, hash: Blake3Hash, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let failed = |e| StoreError::io(&path, e);
        let file = self.open_data(hash)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > bytes_max {
            return Err(StoreError::TooLarge {
                path,
                bytes,
                bytes_max,
            });
        }
        let mut data = Vec::with_capacity(bytes as usize);
        file.take(bytes).read_to_end(&mut data).map_err(failed)?;
        if Blake3Hash::of(&data) != hash {
            return Err(self.damaged(hash));
        }
        Ok(data)
    }

    /// Removes a blob whose bytes are wrong, and says so.
    fn damaged(&self, hash: Blake3Hash) -> StoreError {
        match self.remove(hash) {
            Ok(()) => StoreError::Damaged { hash },
            Err(error) => error,
        }
    }

    /// Where the blob lies, or would lie. Others may read the file; its bytes are not checked.
    pub fn path(&self, hash: Blake3Hash) -> PathBuf {
        self.inner.folder.join(file_name(hash))
    }

    fn tree_path(&self, hash: Blake3Hash) -> PathBuf {
        self.inner.folder.join(format!("{hash}.tree"))
    }

    /// Whether the blob is here. Blocking.
    pub fn contains(&self, hash: Blake3Hash) -> bool {
        self.size(hash).is_some()
    }

    /// All blobs that are here. Blocking.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Blake3Hash>, StoreError> {
        let folder = &self.inner.folder;
        let mut blobs = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| StoreError::io(folder, e))? {
            let name = entry.map_err(|e| StoreError::io(folder, e))?.file_name();
            let hash = name.to_str().and_then(|name| name.strip_suffix(".blob"));
            blobs.extend(hash.and_then(|hash| hash.parse::<Blake3Hash>().ok()));
        }
        Ok(blobs)
    }

    /// Length of the blob in bytes, if it is here. Blocking.
    pub fn size(&self, hash: Blake3Hash) -> Option<u64> {
        Some(fs::metadata(self.path(hash)).ok()?.len())
    }

    /// Deletes the blob, what has been fetched of it and who may fetch it; nothing happens when it is not
    /// here. Equal bytes are one blob, whoever added them: two black tiles share one. Blocking.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, hash: Blake3Hash) -> Result<(), StoreError> {
        lock(&self.inner.allowed).remove(&hash);
        for path in [
            self.path(hash),
            self.tree_path(hash),
            self.cut_path(hash),
            self.incoming_path(hash),
        ] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&path, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets `peers` fetch the blob from now on, besides those who already may. Nobody may by default, nor
    /// after the folder has been opened anew.
    pub fn allow(&self, hash: Blake3Hash, peers: Access) {
        let mut allowed = lock(&self.inner.allowed);
        let entry = allowed.entry(hash).or_default();
        match peers {
            Access::Anyone => entry.anyone = true,
            Access::Only(peer) => {
                entry.peers.insert(peer);
            }
        }
    }

    pub(crate) fn is_allowed(&self, hash: Blake3Hash, peer: NodeId) -> bool {
        lock(&self.inner.allowed)
            .get(&hash)
            .is_some_and(|allowed| allowed.anyone || allowed.peers.contains(&peer))
    }

    fn open_data(&self, hash: Blake3Hash) -> Result<File, StoreError> {
        let path = self.path(hash);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { hash },
            _ => StoreError::io(&path, e),
        })
    }

    /// The lock that whoever writes the files of `hash` over a longer time holds.
    fn hash_lock(&self, hash: Blake3Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = lock(&self.inner.locks);
        if let Some(held) = locks.get(&hash).and_then(Weak::upgrade) {
            return held;
        }
        locks.retain(|_, held| held.strong_count() > 0);
        let new = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(hash, Arc::downgrade(&new));
        new
    }
}

/// Passes on what it reads and writes a copy of it.
struct Tee<R, W> {
    reader: R,
    writer: W,
    write_failed: bool,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.writer
            .write_all(&buffer[..length])
            .inspect_err(|_| self.write_failed = true)?;
        Ok(length)
    }
}
