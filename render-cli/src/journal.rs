//! A job's journal on disk: the last checkpoint of the coordinator and the events since, in a redb file that one process
//! at a time may hold. What is appended is on disk before its effects leave the process.

use crate::thread::{Answer, ask};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

/// The only row is the last checkpoint.
const CHECKPOINT: TableDefinition<(), &[u8]> = TableDefinition::new("checkpoint");
/// Events since the checkpoint, in their order.
const TAIL: TableDefinition<u64, &[u8]> = TableDefinition::new("tail");
/// Appends that may wait: the job waits for each.
const QUEUE_MAX: usize = 2;
/// Events since a checkpoint, at least.
const TAIL_MIN: u64 = 4096;
/// Bytes of pixels delivered since a checkpoint, at least: they stay on disk until then, and going on reads them again.
const PIXELS_MIN: u64 = 256 << 20;
/// Bytes of pixels for which it is worth to write a byte of a checkpoint.
const PIXELS_PER_CHECKPOINT_BYTE: u64 = 16;
/// Bytes of a checkpoint for which it is worth another event in the tail: large ones are written more rarely.
const CHECKPOINT_BYTES_PER_EVENT: u64 = 1024;

/// How far redb says that a check is when it has found the last write cut short, and goes back to the one before.
const LAST_WRITE_IS_CUT: RangeInclusive<f64> = 0.2..=0.5;

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("the job runs in another process")]
    InUse,
    /// Anything else.
    #[error("{0}")]
    Storage(String),
}

fn storage(error: impl std::fmt::Display) -> JournalError {
    JournalError::Storage(error.to_string())
}

struct Append {
    entries: Vec<Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    answer: Answer<()>,
}

/// What a journal holds.
pub struct Contents {
    /// The last checkpoint.
    pub checkpoint: Vec<u8>,
    /// Events since.
    pub tail: Vec<Vec<u8>>,
    /// Was the last write cut short? Then it is gone.
    pub is_cut: bool,
}

/// An open journal, written by a thread of its own.
pub struct Journal {
    thread: mpsc::SyncSender<Append>,
    checkpoint_bytes: u64,
    /// Events since the checkpoint.
    tail: u64,
    /// Bytes of the pixels that they deliver, as far as this process knows.
    pixels: u64,
}

impl Journal {
    /// Makes the journal of a new job.
    pub fn create(path: &Path, checkpoint: &[u8]) -> Result<Self, JournalError> {
        Self::begin(open(|builder| builder.create(path))?.0, checkpoint)
    }

    /// Opens a journal and reads it. A write that a crash cut short is not in it.
    pub fn open(path: &Path) -> Result<(Self, Contents), JournalError> {
        let (database, is_cut) = open(|builder| builder.open(path))?;
        Self::go_on(database, is_cut)
    }

    fn begin(database: Database, checkpoint: &[u8]) -> Result<Self, JournalError> {
        let transaction = database.begin_write().map_err(storage)?;
        {
            let mut rows = transaction.open_table(CHECKPOINT).map_err(storage)?;
            rows.insert((), checkpoint).map_err(storage)?;
            transaction.open_table(TAIL).map_err(storage)?;
        }
        transaction.commit().map_err(storage)?;
        Ok(Self::start(database, checkpoint.len() as u64, 0))
    }

    fn go_on(database: Database, is_cut: bool) -> Result<(Self, Contents), JournalError> {
        let contents = read(&database, is_cut)?;
        let (tail, bytes) = (contents.tail.len() as u64, contents.checkpoint.len() as u64);
        let journal = Self::start(database, bytes, tail);
        Ok((journal, contents))
    }

    fn start(database: Database, checkpoint_bytes: u64, tail: u64) -> Self {
        let (thread, appends) = mpsc::sync_channel::<Append>(QUEUE_MAX);
        std::thread::spawn(move || {
            while let Ok(append) = appends.recv() {
                let written = write(&database, &append);
                let _ = append.answer.send(written.map_err(|e| e.to_string()));
            }
        });
        Self {
            thread,
            checkpoint_bytes,
            tail,
            pixels: 0,
        }
    }

    /// Is the tail long enough for the next append to bring a checkpoint?
    pub fn wants_checkpoint(&self) -> bool {
        let bytes = self.checkpoint_bytes;
        self.tail > TAIL_MIN.max(bytes / CHECKPOINT_BYTES_PER_EVENT)
            || self.pixels > PIXELS_MIN.max(bytes * PIXELS_PER_CHECKPOINT_BYTE)
    }

    /// Writes events, which deliver so many bytes of pixels, and then perhaps the checkpoint that has them all; on disk
    /// when it returns.
    pub async fn append(
        &mut self,
        entries: Vec<Vec<u8>>,
        pixels: u64,
        checkpoint: Option<Vec<u8>>,
    ) -> Result<(), String> {
        self.tail += entries.len() as u64;
        self.pixels += pixels;
        if let Some(checkpoint) = &checkpoint {
            (self.checkpoint_bytes, self.tail, self.pixels) = (checkpoint.len() as u64, 0, 0);
        }
        ask(&self.thread, "the journal's thread", |answer| Append {
            entries,
            checkpoint,
            answer,
        })
        .await
    }
}

/// Opens a database, checks all of it, and tells whether its last write was cut short.
fn open(
    how: impl FnOnce(&Builder) -> Result<Database, DatabaseError>,
) -> Result<(Database, bool), JournalError> {
    let is_cut = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_cut);
    let mut builder = Database::builder();
    // Without it redb believes a file that was closed properly, and panics when somebody has damaged it since.
    builder.set_check_integrity_on_open(true);
    builder.set_repair_callback(move |repair| {
        if LAST_WRITE_IS_CUT.contains(&repair.progress()) {
            told.store(true, Ordering::Relaxed);
        }
    });
    let database = how(&builder).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => JournalError::InUse,
        other => storage(other),
    })?;
    Ok((database, is_cut.load(Ordering::Relaxed)))
}

fn read(database: &Database, is_cut: bool) -> Result<Contents, JournalError> {
    let transaction = database.begin_read().map_err(storage)?;
    let rows = transaction.open_table(CHECKPOINT).map_err(storage)?;
    let checkpoint = rows.get(()).map_err(storage)?;
    let checkpoint = checkpoint.ok_or_else(|| storage("it has no checkpoint"))?;
    let tail = transaction.open_table(TAIL).map_err(storage)?;
    let entries = tail.iter().map_err(storage)?;
    let tail = entries.map(|row| Ok(row.map_err(storage)?.1.value().to_vec()));
    Ok(Contents {
        checkpoint: checkpoint.value().to_vec(),
        tail: tail.collect::<Result<_, _>>()?,
        is_cut,
    })
}

fn write(database: &Database, append: &Append) -> Result<(), JournalError> {
    let transaction = database.begin_write().map_err(storage)?;
    {
        let mut tail = transaction.open_table(TAIL).map_err(storage)?;
        match &append.checkpoint {
            Some(checkpoint) => {
                tail.retain(|_, _| false).map_err(storage)?;
                let mut rows = transaction.open_table(CHECKPOINT).map_err(storage)?;
                rows.insert((), checkpoint.as_slice()).map_err(storage)?;
            }
            None => {
                let last = tail.last().map_err(storage)?;
                let next = last.map_or(0, |(number, _)| number.value() + 1);
                for (number, entry) in (next..).zip(&append.entries) {
                    tail.insert(number, entry.as_slice()).map_err(storage)?;
                }
            }
        }
    }
    transaction.commit().map_err(storage)
}

#[cfg(test)]
mod tests;
