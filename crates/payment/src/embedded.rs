//! A ledger in one file, for local jobs and tests: test GLM, no chain, no fees.
//!
//! It belongs to the requestor, who could rewrite it: it moves nothing of value, but by the same rules as a chain.
//! Each movement is one durable transaction whose sources and sinks must be equal, so a kill at any point leaves the
//! state before or after it.

use crate::{
    Escrow, EscrowKey, Ledger, LedgerError, Redeemed, Release, StoreError, Totals, store,
    voucher::{verify_release_on, verify_voucher_on},
};
use protocol::{
    Address, Glm,
    message::{SignedRelease, SignedVoucher},
};
use redb::{
    ConcurrencyMode, Database, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use std::path::Path;

/// Chain id of vouchers on the embedded ledger.
pub const EMBEDDED_CHAIN_ID: u64 = 0;
/// Contract of vouchers on the embedded ledger.
pub const EMBEDDED_CONTRACT: Address = Address([0; 20]);
/// Test GLM that an account gets the first time it asks.
pub const FAUCET: Glm = Glm::from_glm(1_000);

/// Account to balance in wei.
const ACCOUNTS: TableDefinition<&[u8; 20], u128> = TableDefinition::new("accounts");
/// Requestor, worker, epoch to deposit in wei, claimed in wei, released.
const ESCROWS: TableDefinition<StoredKey, (u128, u128, bool)> = TableDefinition::new("escrows");
/// Accounts that have had their [`FAUCET`].
const FAUCETED: TableDefinition<&[u8; 20], ()> = TableDefinition::new("fauceted");
/// One row: everything ever minted, in wei.
const MINTED: TableDefinition<(), u128> = TableDefinition::new("minted");

type StoredKey = (&'static [u8; 20], &'static [u8; 20], u64);

/// A [`Ledger`] in a redb file; one process at a time may hold it.
#[derive(Debug)]
pub struct EmbeddedLedger {
    database: Database,
}

impl EmbeddedLedger {
    /// Opens the file, or makes an empty ledger, and adds it all up.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process holds the file (after a short wait); [`StoreError::Damaged`] when
    /// the sums do not agree.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let database = store::open(path.as_ref(), ConcurrencyMode::ExclusiveWriter)?;
        let transaction = database.begin_write().map_err(StoreError::from)?;
        Movement::begin(&transaction)?;
        transaction.open_table(FAUCETED).map_err(StoreError::from)?;
        transaction.commit().map_err(StoreError::from)?;
        let ledger = Self { database };
        let totals = ledger.totals()?;
        if !totals.is_conserved() {
            return Err(StoreError::Damaged(format!("the sums do not agree: {totals:?}")).into());
        }
        Ok(ledger)
    }

    /// Mints test GLM into an account.
    ///
    /// # Errors
    /// When the file fails or the sum is too large.
    pub fn fund(&self, account: Address, amount: Glm) -> Result<(), LedgerError> {
        self.movement(|movement, _| movement.mint(account, amount))
    }

    /// Mints [`FAUCET`] into an account unless it has had it before; returns what was minted.
    ///
    /// # Errors
    /// When the file fails.
    pub fn fund_first_time(&self, account: Address) -> Result<Glm, LedgerError> {
        self.movement(|movement, transaction| {
            let mut fauceted = transaction.open_table(FAUCETED).map_err(StoreError::from)?;
            let is_new = fauceted
                .insert(&account.0, ())
                .map_err(StoreError::from)?
                .is_none();
            if !is_new {
                return Ok(Glm::ZERO);
            }
            movement.mint(account, FAUCET)?;
            Ok(FAUCET)
        })
    }

    /// Runs `change` in a transaction that is committed only if as much went in as came out.
    fn movement<T>(
        &self,
        change: impl FnOnce(&mut Movement<'_>, &WriteTransaction) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let transaction = self.database.begin_write().map_err(StoreError::from)?;
        let mut movement = Movement::begin(&transaction)?;
        let result = change(&mut movement, &transaction)?;
        let is_balanced = movement.sources == movement.sinks;
        drop(movement);
        if !is_balanced {
            return Err(StoreError::Damaged("a movement did not balance".into()).into());
        }
        transaction.commit().map_err(StoreError::from)?;
        Ok(result)
    }
}

impl Ledger for EmbeddedLedger {
    fn chain_id(&self) -> u64 {
        EMBEDDED_CHAIN_ID
    }

    fn contract(&self) -> Address {
        EMBEDDED_CONTRACT
    }

    fn balance(&self, account: Address) -> Result<Glm, LedgerError> {
        let transaction = self.database.begin_read().map_err(StoreError::from)?;
        let accounts = transaction.open_table(ACCOUNTS).map_err(StoreError::from)?;
        balance_in(&accounts, account)
    }

    fn is_chain(&self) -> bool {
        false
    }

    fn spendable(&self, requestor: Address) -> Result<Glm, LedgerError> {
        self.balance(requestor)
    }

    fn redeem_fee(&self) -> Result<Glm, LedgerError> {
        Ok(Glm::ZERO)
    }

    fn open_many(&self, openings: &[(EscrowKey, Glm)]) -> Result<(), LedgerError> {
        self.movement(|movement, _| {
            for (key, deposit) in openings {
                movement.open(key, *deposit)?;
            }
            Ok(())
        })
    }

    fn top_up(&self, key: &EscrowKey, amount: Glm) -> Result<(), LedgerError> {
        self.movement(|movement, _| {
            let before = movement.escrow(key)?.ok_or(LedgerError::NotOpen(*key))?;
            if before.released {
                return Err(LedgerError::Released(*key));
            }
            movement.debit(key.requestor, amount)?;
            let deposit = add(before.deposit, amount)?;
            movement.replace_escrow(key, before, Escrow { deposit, ..before })
        })
    }

    fn escrow(&self, key: &EscrowKey) -> Result<Option<Escrow>, LedgerError> {
        let transaction = self.database.begin_read().map_err(StoreError::from)?;
        let escrows = transaction.open_table(ESCROWS).map_err(StoreError::from)?;
        escrow_in(&escrows, key)
    }

    fn finish_pending(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn redeem_many(&self, signed: &[SignedVoucher]) -> Result<Vec<Redeemed>, LedgerError> {
        for signed in signed {
            verify_voucher_on(signed, self.chain_id(), self.contract())?;
        }
        self.movement(|movement, _| {
            let vouchers = signed.iter().map(|signed| &signed.voucher);
            vouchers
                .map(|voucher| movement.claim(&voucher.into(), voucher.cumulative))
                .collect()
        })
    }

    fn close(&self, releases: &[SignedRelease]) -> Result<Vec<Glm>, LedgerError> {
        for signed in releases {
            verify_release_on(signed, self.chain_id(), self.contract())?;
        }
        self.movement(|movement, _| {
            let releases = releases.iter().map(|signed| &signed.release);
            releases
                .map(|release| {
                    let key = EscrowKey::from(release);
                    let redeemed = movement.claim(&key, release.cumulative)?;
                    let is_released = movement.escrow(&key)?.is_none_or(|escrow| escrow.released);
                    match redeemed.short > Glm::ZERO && !is_released {
                        true => Err(LedgerError::NotCovered(key)),
                        false => movement.return_rest(&key),
                    }
                })
                .collect()
        })
    }

    fn release(&self, key: &EscrowKey) -> Result<Release, LedgerError> {
        self.movement(|movement, _| movement.return_rest(key).map(Release::Returned))
    }

    fn totals(&self) -> Result<Totals, LedgerError> {
        let transaction = self.database.begin_read().map_err(StoreError::from)?;
        let mut totals = Totals {
            supply: Glm::ZERO,
            accounts: Glm::ZERO,
            escrowed: Glm::ZERO,
        };
        let minted = transaction.open_table(MINTED).map_err(StoreError::from)?;
        if let Some(wei) = minted.get(()).map_err(StoreError::from)? {
            totals.supply = Glm::from_wei(wei.value());
        }
        let accounts = transaction.open_table(ACCOUNTS).map_err(StoreError::from)?;
        for row in accounts.iter().map_err(StoreError::from)? {
            let (_, wei) = row.map_err(StoreError::from)?;
            totals.accounts = add(totals.accounts, Glm::from_wei(wei.value()))?;
        }
        let escrows = transaction.open_table(ESCROWS).map_err(StoreError::from)?;
        for row in escrows.iter().map_err(StoreError::from)? {
            let (_, escrow) = row.map_err(StoreError::from)?;
            let (deposit, claimed, _) = escrow.value();
            let rest = subtract(Glm::from_wei(deposit), Glm::from_wei(claimed))?;
            totals.escrowed = add(totals.escrowed, rest)?;
        }
        Ok(totals)
    }
}

/// The tables in one transaction, with double entry: where GLM came from and where it went.
struct Movement<'t> {
    accounts: Table<'t, &'static [u8; 20], u128>,
    escrows: Table<'t, StoredKey, (u128, u128, bool)>,
    minted: Table<'t, (), u128>,
    sources: Glm,
    sinks: Glm,
}

impl<'t> Movement<'t> {
    fn begin(transaction: &'t WriteTransaction) -> Result<Self, LedgerError> {
        Ok(Self {
            accounts: transaction.open_table(ACCOUNTS).map_err(StoreError::from)?,
            escrows: transaction.open_table(ESCROWS).map_err(StoreError::from)?,
            minted: transaction.open_table(MINTED).map_err(StoreError::from)?,
            sources: Glm::ZERO,
            sinks: Glm::ZERO,
        })
    }

    fn escrow(&self, key: &EscrowKey) -> Result<Option<Escrow>, LedgerError> {
        escrow_in(&self.escrows, key)
    }

    fn open(&mut self, key: &EscrowKey, deposit: Glm) -> Result<(), LedgerError> {
        if self.escrow(key)?.is_some() {
            return Err(LedgerError::AlreadyOpen(*key));
        }
        self.debit(key.requestor, deposit)?;
        let empty = Escrow {
            deposit: Glm::ZERO,
            claimed: Glm::ZERO,
            released: false,
            withdrawable_at: None,
        };
        self.replace_escrow(key, empty, Escrow { deposit, ..empty })
    }

    /// Pays the worker up to this sum, as far as the deposit goes.
    fn claim(&mut self, key: &EscrowKey, cumulative: Glm) -> Result<Redeemed, LedgerError> {
        let before = self.escrow(key)?.ok_or(LedgerError::NotOpen(*key))?;
        let claimed = cumulative.min(before.deposit).max(before.claimed);
        let paid = subtract(claimed, before.claimed)?;
        self.replace_escrow(key, before, Escrow { claimed, ..before })?;
        self.credit(key.worker, paid)?;
        Ok(Redeemed {
            paid,
            cumulative_claimed: claimed,
            short: cumulative.checked_sub(claimed).unwrap_or(Glm::ZERO),
        })
    }

    /// Closes an escrow and gives back what is unclaimed.
    fn return_rest(&mut self, key: &EscrowKey) -> Result<Glm, LedgerError> {
        let before = self.escrow(key)?.ok_or(LedgerError::NotOpen(*key))?;
        let rest = subtract(before.deposit, before.claimed)?;
        let after = Escrow {
            deposit: before.claimed,
            released: true,
            ..before
        };
        self.replace_escrow(key, before, after)?;
        self.credit(key.requestor, rest)?;
        Ok(rest)
    }

    fn mint(&mut self, account: Address, amount: Glm) -> Result<(), LedgerError> {
        let before = self.minted.get(()).map_err(StoreError::from)?;
        let before = before.map_or(Glm::ZERO, |wei| Glm::from_wei(wei.value()));
        let after = add(before, amount)?;
        self.minted
            .insert((), after.wei())
            .map_err(StoreError::from)?;
        self.sources = add(self.sources, amount)?;
        self.credit(account, amount)
    }

    fn set_balance(&mut self, account: Address, balance: Glm) -> Result<(), LedgerError> {
        self.accounts
            .insert(&account.0, balance.wei())
            .map_err(StoreError::from)?;
        Ok(())
    }

    fn credit(&mut self, account: Address, amount: Glm) -> Result<(), LedgerError> {
        let balance = add(balance_in(&self.accounts, account)?, amount)?;
        self.sinks = add(self.sinks, amount)?;
        self.set_balance(account, balance)
    }

    fn debit(&mut self, account: Address, amount: Glm) -> Result<(), LedgerError> {
        let balance = balance_in(&self.accounts, account)?;
        let rest = balance
            .checked_sub(amount)
            .ok_or(LedgerError::InsufficientBalance {
                account,
                balance,
                needed: amount,
            })?;
        self.sources = add(self.sources, amount)?;
        self.set_balance(account, rest)
    }

    /// Stores `after`; what it holds less than `before` is a source, what it holds more a sink.
    fn replace_escrow(
        &mut self,
        key: &EscrowKey,
        before: Escrow,
        after: Escrow,
    ) -> Result<(), LedgerError> {
        let held_before = subtract(before.deposit, before.claimed)?;
        let held_after = subtract(after.deposit, after.claimed)?;
        self.sources = add(self.sources, held_before)?;
        self.sinks = add(self.sinks, held_after)?;
        self.escrows
            .insert(
                stored_key(key),
                (after.deposit.wei(), after.claimed.wei(), after.released),
            )
            .map_err(StoreError::from)?;
        Ok(())
    }
}

fn stored_key(key: &EscrowKey) -> (&[u8; 20], &[u8; 20], u64) {
    (&key.requestor.0, &key.worker.0, key.epoch)
}

fn balance_in(
    accounts: &impl ReadableTable<&'static [u8; 20], u128>,
    account: Address,
) -> Result<Glm, LedgerError> {
    let balance = accounts.get(&account.0).map_err(StoreError::from)?;
    Ok(balance.map_or(Glm::ZERO, |wei| Glm::from_wei(wei.value())))
}

fn escrow_in(
    escrows: &impl ReadableTable<StoredKey, (u128, u128, bool)>,
    key: &EscrowKey,
) -> Result<Option<Escrow>, LedgerError> {
    let row = escrows.get(stored_key(key)).map_err(StoreError::from)?;
    Ok(row.map(|row| {
        let (deposit, claimed, released) = row.value();
        Escrow {
            deposit: Glm::from_wei(deposit),
            claimed: Glm::from_wei(claimed),
            released,
            withdrawable_at: None,
        }
    }))
}

fn add(a: Glm, b: Glm) -> Result<Glm, LedgerError> {
    a.checked_add(b).ok_or(LedgerError::TooLarge)
}

fn subtract(a: Glm, b: Glm) -> Result<Glm, LedgerError> {
    a.checked_sub(b)
        .ok_or_else(|| StoreError::Damaged("more was claimed than deposited".into()).into())
}
