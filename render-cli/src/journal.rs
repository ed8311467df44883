//! A job's journal on disk: the last checkpoint of the coordinator and the events since, in a redb file that one process
//! at a time may hold. What is appended is on disk before its effects leave the process.

use crate::thread::{Answer, ask};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::{path::Path, sync::mpsc};

/// The only row is the last checkpoint.
const CHECKPOINT: TableDefinition<(), &[u8]> = TableDefinition::new("checkpoint");
/// Events since the checkpoint, in their order.
const TAIL: TableDefinition<u64, &[u8]> = TableDefinition::new("tail");
/// Appends that may wait: the job waits for each.
const QUEUE_MAX: usize = 2;
/// Events since a checkpoint, at least: going on reads each delivery's pixels again.
const TAIL_MIN: u64 = 4096;
/// Bytes of a checkpoint for which it is worth another event in the tail: large ones are written more rarely.
const CHECKPOINT_BYTES_PER_EVENT: u64 = 1024;

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
}

/// An open journal, written by a thread of its own.
pub struct Journal {
    thread: mpsc::SyncSender<Append>,
    checkpoint_bytes: u64,
    tail: u64,
}

impl Journal {
    /// Makes the journal of a new job.
    pub fn create(path: &Path, checkpoint: &[u8]) -> Result<Self, JournalError> {
        let database = open(path)?;
        let transaction = database.begin_write().map_err(storage)?;
        {
            let mut rows = transaction.open_table(CHECKPOINT).map_err(storage)?;
            rows.insert((), checkpoint).map_err(storage)?;
            transaction.open_table(TAIL).map_err(storage)?;
        }
        transaction.commit().map_err(storage)?;
        Ok(Self::start(database, checkpoint.len() as u64, 0))
    }

    /// Opens a journal and reads it. A write that a crash cut short is not in it.
    pub fn open(path: &Path) -> Result<(Self, Contents), JournalError> {
        let database = open(path)?;
        let contents = read(&database)?;
        let (tail, bytes) = (contents.tail.len() as u64, contents.checkpoint.len() as u64);
        let journal = Self::start(database, bytes, tail);
        Ok((journal, contents))
    }

    fn start(database: Database, checkpoint_bytes: u64, tail: u64) -> Self {
        let (thread, appends) = mpsc::sync_channel::<Append>(QUEUE_MAX);
        std::thread::spawn(move || {
            let mut next = tail;
            while let Ok(append) = appends.recv() {
                let written = write(&database, &mut next, &append);
                let _ = append.answer.send(written.map_err(|e| e.to_string()));
            }
        });
        Self {
            thread,
            checkpoint_bytes,
            tail,
        }
    }

    /// Is the tail long enough for the next append to bring a checkpoint?
    pub fn wants_checkpoint(&self) -> bool {
        self.tail > TAIL_MIN.max(self.checkpoint_bytes / CHECKPOINT_BYTES_PER_EVENT)
    }

    /// Writes events, and then perhaps the checkpoint that has them all; on disk when it returns.
    pub async fn append(
        &mut self,
        entries: Vec<Vec<u8>>,
        checkpoint: Option<Vec<u8>>,
    ) -> Result<(), String> {
        self.tail += entries.len() as u64;
        if let Some(checkpoint) = &checkpoint {
            (self.checkpoint_bytes, self.tail) = (checkpoint.len() as u64, 0);
        }
        ask(&self.thread, "the journal's thread", |answer| Append {
            entries,
            checkpoint,
            answer,
        })
        .await
    }
}

fn open(path: &Path) -> Result<Database, JournalError> {
    Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => JournalError::InUse,
        other => storage(other),
    })
}

fn read(database: &Database) -> Result<Contents, JournalError> {
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
    })
}

fn write(database: &Database, next: &mut u64, append: &Append) -> Result<(), JournalError> {
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
                for (number, entry) in (*next..).zip(&append.entries) {
                    tail.insert(number, entry.as_slice()).map_err(storage)?;
                }
            }
        }
    }
    transaction.commit().map_err(storage)?;
    *next += append.entries.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_appended_is_read_and_a_checkpoint_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let mut journal = Journal::create(&path, b"begin").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::InUse)));
        for number in 0..3 {
            journal.append(vec![vec![number]], None).await.unwrap();
        }
        drop(journal);
        let (mut journal, contents) = reopen(&path);
        assert_eq!(contents.checkpoint, b"begin");
        assert_eq!(contents.tail, [[0], [1], [2]]);
        let many = vec![vec![7]; TAIL_MIN as usize];
        journal.append(many, None).await.unwrap();
        assert!(journal.wants_checkpoint());
        let last = Some(b"later".to_vec());
        journal.append(vec![vec![8]], last).await.unwrap();
        assert!(!journal.wants_checkpoint());
        journal.append(vec![vec![9]], None).await.unwrap();
        drop(journal);
        let (_, contents) = reopen(&path);
        assert_eq!(contents.checkpoint, b"later");
        assert_eq!(contents.tail, [[9]]);
    }

    /// The thread that holds the file ends soon after its journal.
    fn reopen(path: &Path) -> (Journal, Contents) {
        loop {
            match Journal::open(path) {
                Err(JournalError::InUse) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }
}
