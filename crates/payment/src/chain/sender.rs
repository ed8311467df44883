//! Brings one transaction after another into a block: nonce and bytes to disk, then out, then looked for until it is there.
//!
//! An account has one transaction on its way at a time, so that none waits for a nonce of ours that never comes. One that
//! stays out is replaced by the same with a higher fee; which of the two is taken does not matter, as both have the nonce.
//! What was begun is seen through before anything new: whoever then looks at the chain sees what was done, and does
//! it no second time.

use super::{
    error::ChainError,
    outbox::{ChainHash, Inclusion, Outbox, State, Transaction},
    rpc::{Rpc, bytes, nonsense, number},
    settings::Patience,
};
use crate::{StoreError, Wallet};
use protocol::Address;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Shortest wait between two looks for a receipt; the first block may be a moment away, or half a minute.
const POLL_MIN: Duration = Duration::from_millis(50);
/// Looks for a receipt after the nonce was seen to be used: the endpoint that answers may be behind.
const LOOKS_AFTER_USED: u32 = 10;
/// Wei in a gwei.
pub(super) const GWEI: u128 = 1_000_000_000;

/// What a transaction is to do.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) purpose: String,
    pub(super) to: Address,
    pub(super) value: u128,
    pub(super) data: Vec<u8>,
}

/// One account on one chain.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) rpc: Arc<Rpc>,
    pub(super) wallet: Wallet,
    pub(super) outbox: Outbox,
    pub(super) coin: String,
    /// In wei.
    pub(super) fee_cap: u128,
    confirmations: u64,
    patience: Patience,
    stop: Arc<AtomicBool>,
    turn: Mutex<()>,
}

/// How much of the way is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Mined,
    Final,
}

/// How far seeing one transaction through has come.
#[derive(Default)]
struct Progress {
    /// When an endpoint was last told of it, in this process.
    told: Option<Instant>,
    looks_after_used: u32,
    /// What was last heard of it.
    said: Option<String>,
}

impl Sender {
    pub(super) fn new(
        rpc: Arc<Rpc>,
        wallet: Wallet,
        outbox: Outbox,
        (coin, fee_cap_gwei): (String, u64),
        (confirmations, patience): (u64, Patience),
        stop: Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let (chain, account) = (rpc.chain_id(), wallet.address());
        let next = outbox.next_nonce(chain, account)?;
        for last in outbox.since(chain, account, next.saturating_sub(1))? {
            last.inclusion()
                .inspect(|inclusion| rpc.has_seen(inclusion.block));
        }
        Ok(Self {
            rpc,
            wallet,
            outbox,
            coin,
            fee_cap: u128::from(fee_cap_gwei) * GWEI,
            confirmations,
            patience,
            stop,
            turn: Mutex::new(()),
        })
    }

    pub(super) fn account(&self) -> Address {
        self.wallet.address()
    }

    pub(super) fn transactions(&self) -> Result<Vec<Transaction>, StoreError> {
        self.outbox.all(self.rpc.chain_id(), self.account())
    }

    /// Sends a transaction and waits until it is in a block.
    pub(super) fn send(&self, order: Order) -> Result<Inclusion, ChainError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.see_to_pending(Until::Mined)?;
        let transaction = self.prepare(order)?;
        self.see_through(transaction, Until::Mined)
    }

    /// Waits until everything that was ever sent is in a block, and says whether something came there only now: what was
    /// read of the chain before may be otherwise then.
    pub(super) fn finish_pending(&self) -> Result<bool, ChainError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.see_to_pending(Until::Mined)
    }

    /// Waits until everything that was ever sent is final.
    pub(super) fn finalize(&self) -> Result<(), ChainError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.see_to_pending(Until::Final).map(drop)
    }

    fn see_to_pending(&self, until: Until) -> Result<bool, ChainError> {
        self.reopen_lost()?;
        let mut moved = false;
        for transaction in self
            .outbox
            .unfinished(self.rpc.chain_id(), self.account())?
        {
            let before = transaction
                .inclusion()
                .map(|inclusion| inclusion.block_hash);
            match self.see_through(transaction, until) {
                Ok(inclusion) => moved |= before != Some(inclusion.block_hash),
                // Told when it was sent; whoever goes on looks at the chain.
                Err(ChainError::Refused { .. } | ChainError::Displaced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    /// What was final and is not on the chain any more (a reorganisation deeper than anybody reckons with, or an endpoint that
    /// is behind) is seen through again, before anything is decided on its absence.
    fn reopen_lost(&self) -> Result<(), ChainError> {
        let used = self.count("latest")?;
        let lost = self
            .outbox
            .since(self.rpc.chain_id(), self.account(), used)?;
        for mut transaction in lost {
            if matches!(transaction.state, State::Final(inclusion) if inclusion.succeeded) {
                tracing::warn!(purpose = transaction.purpose, "final and gone: sent again");
                transaction.state = State::Pending;
                self.put(&transaction)?;
            }
        }
        Ok(())
    }

    pub(super) fn count(&self, of: &str) -> Result<u64, ChainError> {
        let parameters = json!([self.account().to_string(), of]);
        let count = self.rpc.number("eth_getTransactionCount", parameters)?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    pub(super) fn put(&self, transaction: &Transaction) -> Result<(), ChainError> {
        Ok(self
            .outbox
            .put(self.rpc.chain_id(), self.account(), transaction)?)
    }

    /// Looks for a transaction until it is where it shall be, sending it again and for more as need be.
    fn see_through(
        &self,
        mut transaction: Transaction,
        until: Until,
    ) -> Result<Inclusion, ChainError> {
        let begun = Instant::now();
        let (mut progress, mut wait) = (Progress::default(), POLL_MIN);
        loop {
            match self.step(&mut transaction, until, &mut progress) {
                Ok(Some(inclusion)) => return ended(&transaction, inclusion),
                Ok(None) => {}
                // Endpoints come back, and fees fall.
                Err(error) if error.may_pass() => {
                    tracing::debug!(%error, "waiting");
                    progress.said = Some(error.to_string());
                }
                Err(error) => return Err(error),
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(ChainError::Interrupted);
            }
            if begun.elapsed() >= self.patience.give_up {
                return Err(stuck(&transaction, begun.elapsed(), &progress));
            }
            thread::sleep(wait);
            wait = (wait * 2).min(self.patience.poll);
        }
    }

    /// One look, and what follows from it.
    fn step(
        &self,
        transaction: &mut Transaction,
        until: Until,
        progress: &mut Progress,
    ) -> Result<Option<Inclusion>, ChainError> {
        if let Some(inclusion) = self.look(transaction, until)? {
            return Ok(Some(inclusion));
        }
        if matches!(transaction.state, State::Mined(_)) {
            return Ok(None);
        }
        if self.count("latest")? > transaction.nonce {
            progress.looks_after_used += 1;
            if progress.looks_after_used > LOOKS_AFTER_USED && self.is_displaced(transaction)? {
                transaction.state = State::Displaced;
                self.put(transaction)?;
                return Err(ChainError::Displaced {
                    purpose: transaction.purpose.clone(),
                    nonce: transaction.nonce,
                });
            }
            return Ok(None);
        }
        progress.looks_after_used = 0;
        if progress
            .told
            .is_none_or(|at| at.elapsed() >= self.patience.bump)
        {
            // Only after an endpoint was told is it told again for more.
            let for_more = progress.told.take().is_some();
            if for_more {
                self.rpc.ask_another();
            }
            progress.said = self.push(transaction, for_more)?;
            progress.told = Some(Instant::now());
        }
        Ok(None)
    }

    /// Did another transaction take its nonce, for good? As long as a block may be replaced by another, ours may still come.
    fn is_displaced(&self, transaction: &Transaction) -> Result<bool, ChainError> {
        let head = self.rpc.number("eth_blockNumber", json!([]))?;
        let deep = head.saturating_sub(u128::from(self.confirmations.saturating_sub(1)));
        if self.count(&format!("{deep:#x}"))? <= transaction.nonce {
            return Ok(false);
        }
        // Receipts may be written later than nonces.
        for attempt in &transaction.attempts {
            let hash = json!([attempt.hash.to_string()]);
            let found = self.rpc.call("eth_getTransactionByHash", hash)?;
            if !found["blockHash"].is_null() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the transaction is, if that is far enough; what is found is on disk.
    fn look(
        &self,
        transaction: &mut Transaction,
        until: Until,
    ) -> Result<Option<Inclusion>, ChainError> {
        let mut found = None;
        for attempt in transaction.attempts.iter().rev() {
            let receipt = self.rpc.call(
                "eth_getTransactionReceipt",
                json!([attempt.hash.to_string()]),
            )?;
            if !receipt.is_null() {
                let read = inclusion(&receipt, attempt.hash);
                found = Some(read.ok_or_else(|| nonsense("eth_getTransactionReceipt", &receipt))?);
                break;
            }
        }
        let state = match found {
            None => State::Pending,
            Some(inclusion) => {
                self.rpc.has_seen(inclusion.block);
                let head = self.rpc.number("eth_blockNumber", json!([]))?;
                let depth = head.saturating_sub(inclusion.block.into()) + 1;
                match depth >= u128::from(self.confirmations) {
                    true => State::Final(inclusion),
                    false => State::Mined(inclusion),
                }
            }
        };
        if state != transaction.state {
            // From a block back to none: the chain was reorganised, and the transaction is sent again.
            transaction.state = state;
            self.put(transaction)?;
        }
        Ok(match (state, until) {
            (State::Final(inclusion), _) => Some(inclusion),
            // What was undone may be done in another block: nobody is told before that is out of the question.
            (State::Mined(inclusion), Until::Mined) if inclusion.succeeded => Some(inclusion),
            _ => None,
        })
    }
}

fn ended(transaction: &Transaction, inclusion: Inclusion) -> Result<Inclusion, ChainError> {
    match inclusion.succeeded {
        true => Ok(inclusion),
        false => Err(ChainError::Refused {
            purpose: transaction.purpose.clone(),
            reason: format!("the contract undid transaction {}", inclusion.hash),
        }),
    }
}

fn stuck(transaction: &Transaction, waited: Duration, progress: &Progress) -> ChainError {
    let last = transaction.attempts.last();
    let said = progress.said.as_ref();
    ChainError::Stuck {
        hash: last.map_or(ChainHash([0; 32]), |last| last.hash),
        purpose: transaction.purpose.clone(),
        minutes: waited.as_secs() / 60,
        said: said.map_or_else(String::new, |said| format!(" ({said})")),
    }
}

fn inclusion(receipt: &Value, hash: ChainHash) -> Option<Inclusion> {
    let block_hash: [u8; 32] = bytes(&receipt["blockHash"])?.try_into().ok()?;
    let gas = number(&receipt["gasUsed"])?;
    // Only told to the user: some endpoints leave it out.
    let price = number(&receipt["effectiveGasPrice"]).unwrap_or_default();
    Some(Inclusion {
        block: number(&receipt["blockNumber"])?.try_into().ok()?,
        block_hash: ChainHash(block_hash),
        hash,
        succeeded: number(&receipt["status"])? == 1,
        fee: gas.saturating_mul(price),
    })
}
