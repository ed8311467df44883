//! A blob that is being fetched: whole verified pieces in a file that has no name yet.

use super::{BlobStore, StoreError};
use crate::piece::{self, PIECE_BYTES};
use protocol::Blake3Hash;
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use tokio::sync::OwnedMutexGuard;

/// A partly fetched blob. When dropped, its pieces stay on disk, so that a later fetch in the same process can
/// go on.
#[derive(Debug)]
pub struct Incoming {
    store: BlobStore,
    hash: Blake3Hash,
    path: PathBuf,
    file: File,
    pieces: u64,
    /// One writer a blob.
    _guard: OwnedMutexGuard<()>,
}

/// Why a piece was not stored.
#[derive(Debug)]
pub enum PieceError {
    /// The bytes are not those of the blob; everything of it has been removed.
    Wrong { offset: u64 },
    /// The store failed; everything of the blob has been removed.
    Store(StoreError),
}

impl BlobStore {
    pub(super) fn incoming_path(&self, hash: Blake3Hash) -> PathBuf {
        self.inner.folder.join(format!("{hash}.part"))
    }

    /// Waits until nobody else fetches the blob.
    pub(crate) async fn lock_incoming(&self, hash: Blake3Hash) -> OwnedMutexGuard<()> {
        self.hash_lock(hash).lock_owned().await
    }

    /// Goes on with what is here of the blob, or starts. Blocking.
    pub(crate) fn incoming(
        &self,
        hash: Blake3Hash,
        guard: OwnedMutexGuard<()>,
    ) -> Result<Incoming, StoreError> {
        let path = self.incoming_path(hash);
        let failed = |e| StoreError::io(&path, e);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let pieces = bytes / PIECE_BYTES;
        if bytes != pieces * PIECE_BYTES {
            file.set_len(pieces * PIECE_BYTES).map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Incoming {
            store: self.clone(),
            hash,
            path,
            file,
            pieces,
            _guard: guard,
        })
    }
}

impl Incoming {
    /// How many pieces are here.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Checks the next piece of the blob of `bytes` and writes it; the last one completes the blob. Blocking.
    pub fn accept(mut self, bytes: u64, encoded: &[u8]) -> Result<Self, PieceError> {
        let Some(data) = piece::decode(self.hash, bytes, self.pieces, encoded) else {
            let offset = self.pieces * PIECE_BYTES;
            self.discard();
            return Err(PieceError::Wrong { offset });
        };
        let written = self.file.write_all(&data);
        self.pieces += 1;
        let stored = written
            .map_err(|e| StoreError::io(&self.path, e))
            .and_then(|()| match self.pieces == piece::count(bytes) {
                true => rename(&self.path, &self.store.path(self.hash)),
                false => Ok(()),
            });
        match stored {
            Ok(()) => Ok(self),
            Err(error) => {
                self.discard();
                Err(PieceError::Store(error))
            }
        }
    }

    /// Removes what has been fetched.
    pub fn discard(mut self) {
        self.pieces = 0;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.pieces == 0
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished blob");
        }
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::io(to, e))
}
