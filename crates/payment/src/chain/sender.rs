//! Brings one transaction after another into a block: nonce and bytes to disk, then out, then looked for until it is there.
//!
//! An account has one transaction on its way at a time, so that none waits for a nonce of ours that never comes. One that
//! stays out is replaced by the same with a higher fee; which of the two is taken does not matter, as both have the nonce.
//! What was begun is seen through before anything new: whoever then looks at the chain sees what was done, and does
//! it no second time.

use super::{
    outbox::{Attempt, ChainHash, Inclusion, Outbox, State, Transaction},
    rpc::{Rpc, RpcError, bytes, hex, nonsense, number},
};
use crate::{StoreError, Wallet, WalletError};
use protocol::Address;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Shortest wait between two looks for a receipt; the first block may be a moment away, or half a minute.
const POLL_MIN: Duration = Duration::from_millis(50);
/// Gas beyond the estimate, in percent: the state may be another one when it runs.
const GAS_MARGIN_PERCENT: u64 = 25;
/// What a replacement has to offer more, in percent, so that every node takes it (most ask for 10).
const BUMP_PERCENT: u128 = 13;
/// For the block's maker where the endpoint names nothing, in wei.
const PRIORITY_FEE_DEFAULT: u128 = 1_500_000_000;
/// Looks for a receipt after the nonce was seen to be used: the endpoint that answers may be behind.
const LOOKS_AFTER_USED: u32 = 10;
/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Wei in a gwei.
const GWEI: u128 = 1_000_000_000;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks for a receipt.
    pub poll: Duration,
    /// Before a transaction that is in no block is replaced by one with a higher fee.
    pub bump: Duration,
    /// Before waiting ends with [`ChainError::Stuck`]; it goes on at the next occasion.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            bump: Duration::from_secs(45),
            give_up: Duration::from_secs(15 * 60),
        }
    }
}

/// Why a chain did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The endpoints.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The file of transactions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// No coin for fees.
    #[error(
        "account {account} holds {balance} {coin} and {needed} {coin} are needed for the fee: send it some"
    )]
    NoCoin {
        /// Whose.
        account: Address,
        /// What it holds, in coins.
        balance: String,
        /// What the transaction may cost, in coins.
        needed: String,
        /// The coin's symbol.
        coin: String,
    },
    /// The chain is too dear at present.
    #[error(
        "the chain asks for {asked} gwei a unit of gas and the cap is {cap}: wait, or raise --fee-cap"
    )]
    FeeAboveCap {
        /// Base fee in gwei, rounded up.
        asked: u128,
        /// The cap in gwei.
        cap: u128,
    },
    /// A contract does not take it.
    #[error("{purpose}: {reason}")]
    Refused {
        /// What it was to do.
        purpose: String,
        /// What the contract says.
        reason: String,
    },
    /// A transaction that the same key made elsewhere took its place; nothing happened.
    #[error(
        "{purpose}: another program used the same key (nonce {nonce}); nothing was done, try again"
    )]
    Displaced {
        /// What it was to do.
        purpose: String,
        /// The nonce that was taken.
        nonce: u64,
    },
    /// Not in a block for a long time.
    #[error(
        "{purpose}: transaction {hash} is in no block after {minutes} minutes; it is seen to again at the next occasion, with `--fee-cap` if the chain has become dearer"
    )]
    Stuck {
        /// What it does.
        purpose: String,
        /// Its last attempt.
        hash: ChainHash,
        /// How long was waited.
        minutes: u64,
    },
    /// The program is asked to end; what is on its way is seen to at the next start.
    #[error("interrupted; what is on its way is seen to at the next start")]
    Interrupted,
    /// There is no escrow contract.
    #[error(
        "there is no escrow contract at {address} on chain {chain_id}: `render wallet deploy` puts it there, once for everybody"
    )]
    NoContract {
        /// Where it would be.
        address: Address,
        /// The chain.
        chain_id: u64,
    },
    /// A development chain.
    #[error("{0}")]
    Dev(String),
}

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
    rpc: Arc<Rpc>,
    wallet: Wallet,
    outbox: Outbox,
    coin: String,
    /// In wei.
    fee_cap: u128,
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

impl Sender {
    pub(super) fn new(
        rpc: Arc<Rpc>,
        wallet: Wallet,
        outbox: Outbox,
        (coin, fee_cap_gwei): (String, u64),
        (confirmations, patience): (u64, Patience),
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            rpc,
            wallet,
            outbox,
            coin,
            fee_cap: u128::from(fee_cap_gwei) * GWEI,
            confirmations,
            patience,
            stop,
            turn: Mutex::new(()),
        }
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

    /// Waits until everything that was ever sent is in a block.
    pub(super) fn finish_pending(&self) -> Result<(), ChainError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.see_to_pending(Until::Mined)
    }

    /// Waits until everything that was ever sent is final.
    pub(super) fn finalize(&self) -> Result<(), ChainError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.see_to_pending(Until::Final)
    }

    fn see_to_pending(&self, until: Until) -> Result<(), ChainError> {
        for transaction in self.transactions()? {
            if !matches!(transaction.state, State::Pending | State::Mined(_)) {
                continue;
            }
            match self.see_through(transaction, until) {
                // Told when it was sent; whoever goes on looks at the chain.
                Ok(_) | Err(ChainError::Refused { .. } | ChainError::Displaced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Signs a transaction and puts it on disk.
    fn prepare(&self, order: Order) -> Result<Transaction, ChainError> {
        let gas = self.gas(&order)?;
        let fees = self.fees()?;
        self.refuse_without_coin(u128::from(gas) * fees.0 + order.value)?;
        let mut transaction = Transaction {
            nonce: self.next_nonce()?,
            purpose: order.purpose,
            to: order.to,
            value: order.value,
            data: order.data,
            gas,
            attempts: Vec::new(),
            state: State::Pending,
        };
        self.attempt(&mut transaction, fees)?;
        Ok(transaction)
    }

    fn next_nonce(&self) -> Result<u64, ChainError> {
        // What is known of but in no block yet counts, whoever sent it: behind it there is room, in its place there is not.
        let used = self.count("pending")?;
        let ours = self.transactions()?.last().map_or(0, |last| last.nonce + 1);
        Ok(used.max(ours))
    }

    fn count(&self, of: &str) -> Result<u64, ChainError> {
        let parameters = json!([self.account().to_string(), of]);
        let count = self.rpc.number("eth_getTransactionCount", parameters)?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Gas that the call may take; what a contract refuses is refused here, before anything is spent.
    fn gas(&self, order: &Order) -> Result<u64, ChainError> {
        let call = json!([{
            "from": self.account().to_string(), "to": order.to.to_string(),
            "value": format!("{:#x}", order.value), "data": hex(&order.data),
        }]);
        match self.rpc.number("eth_estimateGas", call) {
            Ok(gas) => {
                let gas = u64::try_from(gas).unwrap_or(u64::MAX);
                Ok(gas.saturating_add(gas / 100 * GAS_MARGIN_PERCENT))
            }
            Err(RpcError::Refused { message, data, .. }) => {
                let low = message.to_ascii_lowercase();
                if low.contains("insufficient funds") {
                    self.refuse_without_coin(u128::MAX)?;
                }
                Err(ChainError::Refused {
                    purpose: order.purpose.clone(),
                    reason: reason(&message, data.as_deref()),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Most for a unit of gas, and for the block's maker of it, in wei.
    fn fees(&self) -> Result<(u128, u128), ChainError> {
        let block = self
            .rpc
            .call("eth_getBlockByNumber", json!(["latest", false]))?;
        let base = number(&block["baseFeePerGas"])
            .ok_or_else(|| nonsense("eth_getBlockByNumber", &block["baseFeePerGas"]))?;
        let priority = self.rpc.number("eth_maxPriorityFeePerGas", json!([]));
        let priority = priority.unwrap_or(PRIORITY_FEE_DEFAULT);
        if base >= self.fee_cap {
            return Err(ChainError::FeeAboveCap {
                asked: base.div_ceil(GWEI),
                cap: self.fee_cap / GWEI,
            });
        }
        let most = base
            .saturating_mul(2)
            .saturating_add(priority)
            .min(self.fee_cap);
        Ok((most, priority.min(most - base)))
    }

    fn refuse_without_coin(&self, needed: u128) -> Result<(), ChainError> {
        let account = self.account();
        let parameters = json!([account.to_string(), "latest"]);
        let balance = self.rpc.number("eth_getBalance", parameters)?;
        if balance >= needed {
            return Ok(());
        }
        Err(ChainError::NoCoin {
            account,
            balance: coins(balance),
            needed: match needed {
                u128::MAX => "more".into(),
                needed => coins(needed),
            },
            coin: self.coin.clone(),
        })
    }

    /// Signs a further way of sending a transaction and puts it on disk.
    fn attempt(
        &self,
        transaction: &mut Transaction,
        (max_fee, priority_fee): (u128, u128),
    ) -> Result<(), ChainError> {
        let raw = self.wallet.sign_transaction(
            self.rpc.chain_id(),
            transaction,
            max_fee,
            priority_fee,
        )?;
        transaction.attempts.push(Attempt {
            hash: ChainHash(ethers_core::utils::keccak256(&raw)),
            raw,
            max_fee,
            priority_fee,
            made: unix_now(),
        });
        self.put(transaction)
    }

    fn put(&self, transaction: &Transaction) -> Result<(), ChainError> {
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
        let mut sent: Option<Instant> = None;
        let (mut wait, mut looks_after_used) = (POLL_MIN, 0);
        loop {
            match self.look(&mut transaction, until) {
                Ok(Some(inclusion)) => return self.ended(&transaction, inclusion),
                Ok(None) if matches!(transaction.state, State::Mined(_)) => {}
                Ok(None) => {
                    let used = self.count("latest").unwrap_or_default() > transaction.nonce;
                    looks_after_used += u32::from(used);
                    if looks_after_used > LOOKS_AFTER_USED {
                        transaction.state = State::Displaced;
                        self.put(&transaction)?;
                        let Transaction { purpose, nonce, .. } = transaction;
                        return Err(ChainError::Displaced { purpose, nonce });
                    }
                    if !used && sent.is_none_or(|at| at.elapsed() >= self.patience.bump) {
                        self.push(&mut transaction, sent.is_some())?;
                        sent = Some(Instant::now());
                    }
                }
                // Endpoints come back.
                Err(ChainError::Rpc(error)) if !is_final(&error) => {
                    tracing::debug!(%error, "waiting")
                }
                Err(error) => return Err(error),
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(ChainError::Interrupted);
            }
            if begun.elapsed() >= self.patience.give_up {
                return Err(ChainError::Stuck {
                    hash: transaction
                        .attempts
                        .last()
                        .map_or(ChainHash([0; 32]), |last| last.hash),
                    purpose: transaction.purpose,
                    minutes: begun.elapsed().as_secs() / 60,
                });
            }
            thread::sleep(wait);
            wait = (wait * 2).min(self.patience.poll);
        }
    }

    fn ended(
        &self,
        transaction: &Transaction,
        inclusion: Inclusion,
    ) -> Result<Inclusion, ChainError> {
        match inclusion.succeeded {
            true => Ok(inclusion),
            false => Err(ChainError::Refused {
                purpose: transaction.purpose.clone(),
                reason: format!("the contract undid transaction {}", inclusion.hash),
            }),
        }
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
            (State::Final(inclusion), _) | (State::Mined(inclusion), Until::Mined) => {
                Some(inclusion)
            }
            _ => None,
        })
    }

    /// Sends a transaction again; for more if it was sent in this process and stays out.
    fn push(&self, transaction: &mut Transaction, for_more: bool) -> Result<(), ChainError> {
        self.fill_gap(transaction.nonce)?;
        let mut told = Told::Underpriced;
        if !for_more || !self.raise(transaction)? {
            told = self.broadcast(transaction)?;
        }
        // A chain that has become dearer meanwhile does not take what was signed before.
        if told == Told::Underpriced && self.raise(transaction)? {
            self.broadcast(transaction)?;
        }
        Ok(())
    }

    /// Signs the transaction with a higher fee; not where that would be above the cap.
    fn raise(&self, transaction: &mut Transaction) -> Result<bool, ChainError> {
        let Some(last) = transaction.attempts.last() else {
            return Ok(false);
        };
        let more = |fee: u128| fee + fee * BUMP_PERCENT / 100 + 1;
        let (max_fee, priority_fee) = match self.fees() {
            Ok(fees) => fees,
            Err(ChainError::FeeAboveCap { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let max_fee = max_fee.max(more(last.max_fee));
        let priority_fee = priority_fee.max(more(last.priority_fee)).min(max_fee);
        if max_fee > self.fee_cap {
            return Ok(false);
        }
        tracing::info!(
            purpose = transaction.purpose,
            gwei = max_fee / GWEI,
            "sent again for more"
        );
        self.attempt(transaction, (max_fee, priority_fee))?;
        Ok(true)
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Told, ChainError> {
        let Some(last) = transaction.attempts.last() else {
            return Ok(Told::Taken);
        };
        match self
            .rpc
            .call("eth_sendRawTransaction", json!([hex(&last.raw)]))
        {
            Ok(_) => Ok(Told::Taken),
            Err(RpcError::Refused { message, data, .. }) => match Told::of(&message) {
                Some(told) => Ok(told),
                None if message.to_ascii_lowercase().contains("insufficient funds") => {
                    let needed = u128::from(transaction.gas) * last.max_fee + transaction.value;
                    self.refuse_without_coin(needed).map(|()| Told::Taken)
                }
                None => Err(ChainError::Refused {
                    purpose: transaction.purpose.clone(),
                    reason: reason(&message, data.as_deref()),
                }),
            },
            // It may have left all the same.
            Err(error) => {
                tracing::debug!(%error, "a transaction may not have left");
                Ok(Told::Taken)
            }
        }
    }

    /// Sends what the chain lacks before this nonce: what a reorganisation threw out after it was final, or, where somebody else
    /// sent what was then lost, a transfer of nothing to ourselves.
    fn fill_gap(&self, nonce: u64) -> Result<(), ChainError> {
        let next = self.count("pending")?;
        if next >= nonce {
            return Ok(());
        }
        let ours = self.transactions()?;
        for missing in next..nonce {
            let earlier = ours.iter().find(|transaction| transaction.nonce == missing);
            match earlier {
                Some(earlier) => drop(self.broadcast(earlier)?),
                None => {
                    let mut filler = Transaction {
                        nonce: missing,
                        purpose: format!("fill the gap at nonce {missing}"),
                        to: self.account(),
                        value: 0,
                        data: Vec::new(),
                        gas: TRANSFER_GAS,
                        attempts: Vec::new(),
                        state: State::Pending,
                    };
                    self.attempt(&mut filler, self.fees()?)?;
                    self.broadcast(&filler)?;
                }
            }
        }
        Ok(())
    }
}

/// What an endpoint says of a transaction that it does not take but that may well happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Taken,
    /// The nonce is used: by the transaction itself, or by another.
    Used,
    Underpriced,
}

impl Told {
    /// There is no code for these: every node has words of its own.
    fn of(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&[
            "already known",
            "already imported",
            "known transaction",
            "alreadyknown",
        ]) {
            return Some(Self::Taken);
        }
        if says(&[
            "nonce too low",
            "nonce is too low",
            "oldnonce",
            "nonce has already been used",
        ]) {
            return Some(Self::Used);
        }
        if says(&[
            "underpriced",
            "less than block base fee",
            "fee too low",
            "feetoolow",
            "lower than the minimum",
        ]) {
            return Some(Self::Underpriced);
        }
        None
    }
}

/// Trouble with endpoints that waiting does not mend.
fn is_final(error: &RpcError) -> bool {
    matches!(error, RpcError::NoEndpoint | RpcError::OtherChain { .. })
}

/// What a contract's refusal says, else the node's own words.
fn reason(message: &str, data: Option<&str>) -> String {
    let data = data
        .and_then(super::rpc::from_hex)
        .filter(|data| data.len() >= 4);
    match data {
        Some(data) => super::contract::refusal(&data),
        None => protocol::message::printable(&message.chars().take(300).collect::<String>()),
    }
}

fn inclusion(receipt: &Value, hash: ChainHash) -> Option<Inclusion> {
    let block_hash: [u8; 32] = bytes(&receipt["blockHash"])?.try_into().ok()?;
    let gas = number(&receipt["gasUsed"])?;
    Some(Inclusion {
        block: number(&receipt["blockNumber"])?.try_into().ok()?,
        block_hash: ChainHash(block_hash),
        hash,
        succeeded: number(&receipt["status"])? == 1,
        fee: gas.saturating_mul(number(&receipt["effectiveGasPrice"])?),
    })
}

/// An amount of the chain's coin; all of them have 18 decimals.
pub(super) fn coins(wei: u128) -> String {
    format!("{:.6}", protocol::Glm::from_wei(wei))
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_understood() {
        for (message, told) in [
            ("already known", Some(Told::Taken)),
            ("ALREADY_EXISTS: already known", Some(Told::Taken)),
            ("nonce too low: next nonce 5, tx nonce 4", Some(Told::Used)),
            (
                "replacement transaction underpriced",
                Some(Told::Underpriced),
            ),
            (
                "max fee per gas less than block base fee",
                Some(Told::Underpriced),
            ),
            ("execution reverted", None),
        ] {
            assert_eq!(Told::of(message), told, "{message}");
        }
    }
}
