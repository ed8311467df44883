//! Transactions on disk: each is there, signed, before it leaves, so that a process that was killed knows what it may have sent.

use crate::{StoreError, store};
use protocol::Address;
use redb::{ConcurrencyMode, Database, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path};

/// Chain, account, nonce to a [`Transaction`] in postcard.
const TRANSACTIONS: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("transactions");
/// The keys of those that may still change: who looks at these need not read all there ever was.
const UNFINISHED: TableDefinition<StoredKey, ()> = TableDefinition::new("unfinished");

type StoredKey = (u64, &'static [u8; 20], u64);

/// The Keccak hash of a transaction or a block.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::rpc::hex(&self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One way in which a transaction was sent; a later one offers more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its hash on the chain.
    pub hash: ChainHash,
    /// Signed, as it leaves.
    pub raw: Vec<u8>,
    /// Most wei of the chain's coin for a unit of gas.
    pub max_fee: u128,
    /// Wei of it for the block's maker.
    pub priority_fee: u128,
    /// When it was made, in Unix seconds.
    pub made: u64,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// On disk and perhaps on its way.
    Pending,
    /// In a block that may still be replaced.
    Mined(Inclusion),
    /// In a block with as many after it as the network asks for.
    Final(Inclusion),
    /// Another transaction of the account took its nonce: it will never happen.
    Displaced,
}

/// The block that a transaction is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// The block's number.
    pub block: u64,
    /// Which of several with this number.
    pub block_hash: ChainHash,
    /// The attempt that was taken.
    pub hash: ChainHash,
    /// False when the contract undid it.
    pub succeeded: bool,
    /// Paid for it in all, in wei of the chain's coin.
    pub fee: u128,
}

/// A transaction of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its place among the account's transactions.
    pub nonce: u64,
    /// For a person: what it does.
    pub purpose: String,
    /// Whom it calls or pays.
    pub to: Address,
    /// Wei of the chain's coin that it moves.
    pub value: u128,
    /// What it calls.
    pub data: Vec<u8>,
    /// Most gas it may take.
    pub gas: u64,
    /// The ways in which it was sent, the first one first.
    pub attempts: Vec<Attempt>,
    /// Where it stands.
    pub state: State,
}

impl Transaction {
    /// The block that it was last seen in.
    pub fn inclusion(&self) -> Option<Inclusion> {
        match self.state {
            State::Mined(inclusion) | State::Final(inclusion) => Some(inclusion),
            State::Pending | State::Displaced => None,
        }
    }
}

/// The transactions of a data folder, in a redb file. One process may write; others may read with [`Outbox::read`].
#[derive(Debug)]
pub struct Outbox {
    database: Database,
}

impl Outbox {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process writes to it (after a short wait).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let database = store::open(path.as_ref(), ConcurrencyMode::SingleWriter)?;
        let transaction = database.begin_write()?;
        transaction.open_table(TRANSACTIONS)?;
        transaction.open_table(UNFINISHED)?;
        transaction.commit()?;
        Ok(Self { database })
    }

    /// All transactions of an account, of a file that another process may be writing to.
    ///
    /// # Errors
    /// When there is no file at `path`, or it cannot be read.
    pub fn read(
        path: impl AsRef<Path>,
        chain_id: u64,
        account: Address,
    ) -> Result<Vec<Transaction>, StoreError> {
        rows(&store::open_to_read(path.as_ref())?, (chain_id, account), 0)
    }

    /// All transactions of an account, by nonce.
    ///
    /// # Errors
    /// When the file fails.
    pub fn all(&self, chain_id: u64, account: Address) -> Result<Vec<Transaction>, StoreError> {
        rows(&self.database, (chain_id, account), 0)
    }

    /// Those that may still change, by nonce.
    pub(super) fn unfinished(
        &self,
        chain_id: u64,
        account: Address,
    ) -> Result<Vec<Transaction>, StoreError> {
        let transaction = self.database.begin_read()?;
        let unfinished = transaction.open_table(UNFINISHED)?;
        let table = transaction.open_table(TRANSACTIONS)?;
        let mut found = Vec::new();
        for row in unfinished.range((chain_id, &account.0, 0)..=(chain_id, &account.0, u64::MAX))? {
            let (key, _) = row?;
            let Some(bytes) = table.get(key.value())? else {
                return Err(StoreError::Damaged("a transaction is missing".into()));
            };
            found.push(store::from_bytes(bytes.value())?);
        }
        Ok(found)
    }

    /// Those with this nonce or a later one, by nonce.
    pub(super) fn since(
        &self,
        chain_id: u64,
        account: Address,
        nonce: u64,
    ) -> Result<Vec<Transaction>, StoreError> {
        rows(&self.database, (chain_id, account), nonce)
    }

    /// The nonce after the last one that was used here.
    pub(super) fn next_nonce(&self, chain_id: u64, account: Address) -> Result<u64, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(TRANSACTIONS)?;
        let mut range =
            table.range((chain_id, &account.0, 0)..=(chain_id, &account.0, u64::MAX))?;
        let last = range.next_back().transpose()?;
        Ok(last.map_or(0, |(key, _)| key.value().2.saturating_add(1)))
    }

    /// Writes a transaction, on disk when this returns.
    pub(super) fn put(
        &self,
        chain_id: u64,
        account: Address,
        entry: &Transaction,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let key = (chain_id, &account.0, entry.nonce);
            let mut table = transaction.open_table(TRANSACTIONS)?;
            table.insert(key, store::to_bytes(entry)?.as_slice())?;
            let mut unfinished = transaction.open_table(UNFINISHED)?;
            match entry.state {
                State::Pending | State::Mined(_) => unfinished.insert(key, ())?,
                State::Final(_) | State::Displaced => unfinished.remove(key)?,
            };
        }
        transaction.commit()?;
        Ok(())
    }
}

fn rows(
    database: &impl ReadableDatabase,
    (chain_id, account): (u64, Address),
    from_nonce: u64,
) -> Result<Vec<Transaction>, StoreError> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(TRANSACTIONS)?;
    table
        .range((chain_id, &account.0, from_nonce)..=(chain_id, &account.0, u64::MAX))?
        .map(|row| {
            let (_, bytes) = row?;
            store::from_bytes(bytes.value())
        })
        .collect()
}
