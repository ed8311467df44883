//! The table of providers on disk, in a redb file that a process opens for a moment at a time: a running job and commands
//! beside it use it in turn.
//!
//! Two indices order the rows that may be forgotten, so that a flood of new keys costs each key one row for another, never
//! a look at all of them.

use super::row::{Place, Provider};
use crate::thread::lock;
use protocol::NodeId;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, TableError, WriteTransaction,
};
use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

type Id = &'static [u8; 32];

/// A provider as JSON, by its identity.
const ROWS: TableDefinition<Id, &[u8]> = TableDefinition::new("providers");
/// Rows without word and fault, the first to be forgotten first.
const STRANGERS: TableDefinition<(u64, Id), ()> = TableDefinition::new("strangers");
/// Rows without word and with a fault, likewise.
const FAULTED: TableDefinition<(u8, u64, Id), ()> = TableDefinition::new("faulted");

/// How long to wait for another process, which needs the file for a moment only.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const POLL: Duration = Duration::from_millis(10);
/// Memory for pages of the file, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// How many rows are remembered of those that the user said nothing of.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a fault.
    pub strangers: u64,
    /// With one.
    pub faulted: u64,
}

/// Why the table was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Others had it all the time.
    #[error("{0} is in use by another process for long")]
    Busy(PathBuf),
    /// Anything else.
    #[error("{path}: {why}", path = path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    limits: Limits,
    /// Threads of this process wait here, not at the file.
    turn: Mutex<()>,
}

/// What the database says, in words.
type Told<T> = Result<T, String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Store {
    /// The file need not be there before the first row.
    pub fn new(path: PathBuf, limits: Limits) -> Self {
        Self {
            path,
            limits,
            turn: Mutex::default(),
        }
    }

    /// Checks all of the file, if it is there, and mends what a crash left.
    pub fn check(&self) -> Result<(), StoreError> {
        let _turn = lock(&self.turn);
        match self.path.exists() {
            true => self.database().map(drop),
            false => Ok(()),
        }
    }

    /// The rows that there are of these providers.
    pub fn find(&self, nodes: &[NodeId]) -> Result<Vec<(NodeId, Provider)>, StoreError> {
        let found = self.read(|rows| {
            let mut found = Vec::new();
            for node in nodes {
                if let Some(row) = rows.get(&node.0).map_err(told)? {
                    found.push((*node, parse(&node.0, row.value())?));
                }
            }
            Ok(found)
        })?;
        Ok(found.unwrap_or_default())
    }

    /// All rows, by identity.
    pub fn all(&self) -> Result<Vec<(NodeId, Provider)>, StoreError> {
        let all = self.read(|rows| {
            let rows = rows.iter().map_err(told)?.map(|row| {
                let (node, row) = row.map_err(told)?;
                Ok((NodeId(*node.value()), parse(node.value(), row.value())?))
            });
            rows.collect::<Told<_>>()
        })?;
        Ok(all.unwrap_or_default())
    }

    /// Changes rows; all of them are on disk when it returns, or none.
    pub fn write<T>(&self, change: impl FnOnce(&mut Rows<'_>) -> Told<T>) -> Result<T, StoreError> {
        let _turn = lock(&self.turn);
        let database = self.database()?;
        write(&database, self.limits, change).map_err(|why| self.storage(why))
    }

    fn storage(&self, why: String) -> StoreError {
        StoreError::Storage {
            path: self.path.clone(),
            why,
        }
    }

    /// Opens the file, or makes it, and checks all of it.
    fn database(&self) -> Result<Database, StoreError> {
        let mut builder = builder();
        // Without it redb believes a file that was closed properly, and panics when somebody has damaged it since.
        builder.set_check_integrity_on_open(true);
        self.opened(|| builder.create(&self.path))
    }

    /// Opens what others keep open for a moment.
    fn opened<T>(&self, open: impl Fn() -> Result<T, DatabaseError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        loop {
            match open() {
                Err(DatabaseError::DatabaseAlreadyOpen) if begun.elapsed() < WAIT_MAX => {
                    std::thread::sleep(POLL);
                }
                Err(DatabaseError::DatabaseAlreadyOpen) => {
                    return Err(StoreError::Busy(self.path.clone()));
                }
                opened => return opened.map_err(|error| self.storage(error.to_string())),
            }
        }
    }

    /// Reads without writing anything, so that many may; none while there is no table.
    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadOnlyTable<Id, &'static [u8]>) -> Told<T>,
    ) -> Result<Option<T>, StoreError> {
        let _turn = lock(&self.turn);
        if !self.path.exists() {
            return Ok(None);
        }
        let builder = builder();
        let database = self.opened(|| match builder.open_read_only(&self.path) {
            // A process was killed while it had the file.
            Err(DatabaseError::RepairAborted) => {
                drop(builder.create(&self.path)?);
                builder.open_read_only(&self.path)
            }
            opened => opened,
        })?;
        let read = || {
            let transaction = database.begin_read().map_err(told)?;
            match transaction.open_table(ROWS) {
                Ok(rows) => look(&rows).map(Some),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(told(error)),
            }
        };
        read().map_err(|why| self.storage(why))
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn parse(node: &[u8; 32], row: &[u8]) -> Told<Provider> {
    serde_json::from_slice(row).map_err(|error| format!("provider {}: {error}", NodeId(*node)))
}

fn write<T>(
    database: &Database,
    limits: Limits,
    change: impl FnOnce(&mut Rows<'_>) -> Told<T>,
) -> Told<T> {
    let transaction = database.begin_write().map_err(told)?;
    let (changed, is_changed) = {
        let mut rows = Rows::of(&transaction, limits)?;
        (change(&mut rows)?, rows.is_changed)
    };
    match is_changed {
        true => transaction.commit().map_err(told)?,
        false => transaction.abort().map_err(told)?,
    }
    Ok(changed)
}

/// The rows while they are changed.
pub struct Rows<'a> {
    rows: Table<'a, Id, &'static [u8]>,
    strangers: Table<'a, (u64, Id), ()>,
    faulted: Table<'a, (u8, u64, Id), ()>,
    limits: Limits,
    is_changed: bool,
}

impl<'a> Rows<'a> {
    fn of(transaction: &'a WriteTransaction, limits: Limits) -> Told<Self> {
        Ok(Self {
            rows: transaction.open_table(ROWS).map_err(told)?,
            strangers: transaction.open_table(STRANGERS).map_err(told)?,
            faulted: transaction.open_table(FAULTED).map_err(told)?,
            limits,
            is_changed: false,
        })
    }

    /// A provider's row.
    pub fn get(&self, node: NodeId) -> Told<Option<Provider>> {
        let row = self.rows.get(&node.0).map_err(told)?;
        row.map(|row| parse(&node.0, row.value())).transpose()
    }

    /// Writes a row, unless it is there already; one too many of its group goes.
    pub fn put(&mut self, node: NodeId, provider: &Provider) -> Told<()> {
        let before = self.get(node)?;
        if before.as_ref() == Some(provider) {
            return Ok(());
        }
        if let Some(before) = before {
            self.leave(node, before.place())?;
        }
        self.is_changed = true;
        let row = serde_json::to_vec(provider).map_err(told)?;
        let rows = &mut self.rows;
        rows.insert(&node.0, row.as_slice()).map_err(told)?;
        match provider.place() {
            Place::Stranger(until) => self.strangers.insert((until, &node.0), ()),
            Place::Faulted(weight, seen) => self.faulted.insert((weight, seen, &node.0), ()),
            Place::Kept => Ok(None),
        }
        .map_err(told)?;
        self.forget_some()
    }

    /// Forgets a provider; was it known?
    pub fn remove(&mut self, node: NodeId) -> Told<bool> {
        let Some(before) = self.get(node)? else {
            return Ok(false);
        };
        self.is_changed = true;
        self.leave(node, before.place())?;
        self.rows.remove(&node.0).map_err(told)?;
        Ok(true)
    }

    fn leave(&mut self, node: NodeId, place: Place) -> Told<()> {
        match place {
            Place::Stranger(until) => self.strangers.remove((until, &node.0)),
            Place::Faulted(weight, seen) => self.faulted.remove((weight, seen, &node.0)),
            Place::Kept => Ok(None),
        }
        .map(drop)
        .map_err(told)
    }

    fn forget_some(&mut self) -> Told<()> {
        while self.strangers.len().map_err(told)? > self.limits.strangers {
            let first = self.strangers.pop_first().map_err(told)?;
            if let Some((key, _)) = first {
                self.rows.remove(key.value().1).map_err(told)?;
            }
        }
        while self.faulted.len().map_err(told)? > self.limits.faulted {
            let first = self.faulted.pop_first().map_err(told)?;
            if let Some((key, _)) = first {
                self.rows.remove(key.value().2).map_err(told)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
