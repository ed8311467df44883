//! Everything of a worker that is on disk, opened in the order that keeps two workers apart.

use crate::{
    bookkeeper::{BOOK_FILE, Bookkeeper},
    config::{WorkerConfig, WorkerError},
    escrows::{Escrows, Lookout, Seen, accounts::Accounts},
    limits::{LOCK_RETRY, LOCK_WAIT_MAX, QUESTIONS_MAX},
    scenes::Scenes,
};
use network::BlobStore;
use payment::{EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, EarningsBook, Ledger, StoreError};
use protocol::message::Terms;
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};
use tokio::sync::mpsc;

/// What was opened.
pub struct Opened {
    pub scenes: Scenes,
    pub book: Option<Bookkeeper>,
    pub escrows: Option<Escrows>,
    /// What is seen on the chain.
    pub seen: mpsc::Receiver<Seen>,
    /// Keeps other workers out of the folder.
    pub lock: File,
}

/// The folder of the scenes that are rendered.
pub fn jobs_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("jobs")
}

/// Opens books, blobs and scenes. Blocking.
pub fn open(config: &WorkerConfig) -> Result<Opened, WorkerError> {
    let data_dir = &config.data_dir;
    // First: the folder may be another worker's, with jobs that run.
    let lock = lock(data_dir)?;
    clear(&jobs_dir(data_dir))?;
    let (seen, seen_receiver) = mpsc::channel(QUESTIONS_MAX);
    let (book, escrows) = open_book(config, seen)?;
    let blobs = BlobStore::open(data_dir.join("blobs"))?;
    let failed = WorkerError::io(format!("cannot keep scenes in {}", data_dir.display()));
    Ok(Opened {
        scenes: Scenes::open(blobs, config).map_err(failed)?,
        book,
        escrows,
        seen: seen_receiver,
        lock,
    })
}

fn clear(jobs: &Path) -> Result<(), WorkerError> {
    match fs::remove_dir_all(jobs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(WorkerError::io(format!("cannot clear {}", jobs.display()))(
                error,
            ));
        }
        _ => {}
    }
    fs::create_dir_all(jobs).map_err(WorkerError::io(format!("cannot make {}", jobs.display())))
}

fn open_book(
    config: &WorkerConfig,
    seen: mpsc::Sender<Seen>,
) -> Result<(Option<Bookkeeper>, Option<Escrows>), WorkerError> {
    if config.terms == Terms::Free {
        return Ok((None, None));
    }
    let Some(chain) = &config.chain else {
        let path = config.data_dir.join(BOOK_FILE);
        let ledger = (EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT);
        let book = EarningsBook::open(path, config.payee, ledger.0, ledger.1)?;
        return Ok((Some(Bookkeeper::start(Arc::new(book), None)?), None));
    };
    let ledger = &chain.ledger;
    let path = chain.folder.join(BOOK_FILE);
    let book = EarningsBook::open(path, config.payee, ledger.chain_id(), ledger.contract())?;
    let book = Arc::new(book);
    let accounts = Arc::new(Accounts::of(&book)?);
    let lookout = Lookout::start(chain, Arc::clone(&book), seen)?;
    let agreeing = (Arc::clone(&accounts), chain.wallet.clone());
    let bookkeeper = Bookkeeper::start(book, Some(agreeing))?;
    Ok((Some(bookkeeper), Some(Escrows::new(accounts, lookout))))
}

/// Makes sure that no other worker uses the folder; one that is about to end is waited for.
fn lock(data_dir: &Path) -> Result<File, WorkerError> {
    let path = data_dir.join("worker.lock");
    let failed = || WorkerError::io(format!("cannot lock {}", path.display()));
    fs::create_dir_all(data_dir).map_err(failed())?;
    let file = File::create(&path).map_err(failed())?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A file system without locks: the books have their own way.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT_MAX => {
                thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path).into()),
        }
    }
}
