//! The redb files of ledger and books: opening them, and what can go wrong with them.

use redb::{ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long an open waits for another process to let go of the file.
const OPEN_WAIT_MAX: Duration = Duration::from_millis(1_500);
/// How often it tries.
const OPEN_RETRY: Duration = Duration::from_millis(50);
/// Memory for cached pages, in bytes; the files are small.
pub(crate) const CACHE_BYTES: usize = 8 << 20;

/// What can go wrong with a file of ledger or book.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process works with it.
    #[error(
        "{0} is in use by another process: wait until that one has ended, or use another data folder"
    )]
    InUse(PathBuf),
    /// It cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// Reading or writing failed; the transaction had no effect.
    #[error("cannot read or write the account file: {0}")]
    Access(Box<redb::Error>),
    /// The content contradicts itself.
    #[error("the account file is damaged, restore it from a copy: {0}")]
    Damaged(String),
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Access(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(TransactionError, TableError, StorageError, CommitError);

/// Opens or makes a file that one process may write. `mode` decides whether others may read meanwhile.
pub(crate) fn open(path: &Path, mode: ConcurrencyMode) -> Result<Database, StoreError> {
    let deadline = Instant::now() + OPEN_WAIT_MAX;
    loop {
        let opened = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_concurrency_mode(mode)
            // Money: a file that something else has written to is refused, not trusted.
            .set_check_integrity_on_open(true)
            .create(path);
        match opened {
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => {
                thread::sleep(OPEN_RETRY);
            }
            other => return other.map_err(|error| open_error(path, error)),
        }
    }
}

/// Opens a file to read that another process may be writing to; one whose writer was killed is repaired first.
pub(crate) fn open_to_read(path: &Path) -> Result<ReadOnlyDatabase, StoreError> {
    let open_read_only = || {
        Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_concurrency_mode(ConcurrencyMode::SingleWriter)
            .open_read_only(path)
    };
    let opened = match open_read_only() {
        Err(DatabaseError::RepairAborted) => {
            drop(open(path, ConcurrencyMode::SingleWriter)?);
            open_read_only()
        }
        opened => opened,
    };
    opened.map_err(|error| open_error(path, error))
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.into()),
        other => StoreError::Open {
            path: path.into(),
            source: Box::new(other.into()),
        },
    }
}

pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|e| StoreError::Damaged(e.to_string()))
}

pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|e| StoreError::Damaged(e.to_string()))
}
