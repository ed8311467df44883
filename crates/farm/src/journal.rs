//! What the journal of a job holds: a checkpoint of the coordinator, and every event since. Feeding the events to the
//! restored coordinator gives the state that it had. Pure as the rest: where the bytes lie is the caller's.

use crate::{
    coordinator::Farm,
    event::{Event, Millis},
};

/// Version of both formats, first in the bytes.
const VERSION: u8 = 7;

/// Why bytes are no journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Written by another version of this program.
    #[error("version {0}, this program reads {VERSION}")]
    Version(u8),
    /// Damaged.
    #[error("damaged: {0}")]
    Damaged(String),
}

fn to_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, JournalError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|e| JournalError::Damaged(e.to_string()))
}

fn from_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, JournalError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(JournalError::Damaged("it does not end".into())),
            Err(e) => Err(JournalError::Damaged(e.to_string())),
        },
        Some((&version, _)) => Err(JournalError::Version(version)),
        None => Err(JournalError::Damaged("empty".into())),
    }
}

/// An event and its time. The cells of a delivery are left out: its blob has them, and is kept until a checkpoint.
///
/// # Errors
/// None that occurs with events of this program.
pub fn entry(at: Millis, event: &Event) -> Result<Vec<u8>, JournalError> {
    match event {
        Event::Delivered {
            worker,
            task,
            salt,
            root,
            cells: Ok(_),
            looks,
        } => to_bytes(&(
            at,
            Event::Delivered {
                worker: *worker,
                task: *task,
                salt: *salt,
                root: *root,
                cells: Ok([].into()),
                looks: *looks,
            },
        )),
        event => to_bytes(&(at, event)),
    }
}

/// Reads an [`entry`]; a delivery comes without its cells.
///
/// # Errors
/// See [`JournalError`].
pub fn read_entry(bytes: &[u8]) -> Result<(Millis, Event), JournalError> {
    from_bytes(bytes)
}

impl Farm {
    /// Everything the coordinator knows. Between two calls of [`Farm::handle`] only.
    ///
    /// # Errors
    /// None that occurs with the coordinator's own state.
    pub fn checkpoint(&self) -> Result<Vec<u8>, JournalError> {
        to_bytes(self)
    }

    /// The coordinator of a checkpoint.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn restore(checkpoint: &[u8]) -> Result<Self, JournalError> {
        let farm: Self = from_bytes(checkpoint)?;
        let secret = farm.config.secret;
        Ok(Self {
            numbers: farm.numbers.keyed(&secret),
            tasks: farm.tasks.keyed(&secret),
            blobs: farm.blobs.keyed(&secret),
            ..farm
        })
    }
}
