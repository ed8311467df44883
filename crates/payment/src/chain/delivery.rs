//! Making a transaction, and telling endpoints of it: what it may cost, further attempts that offer more, and what is missing
//! before it.

use super::{
    error::ChainError,
    outbox::{Attempt, ChainHash, State, Transaction},
    rpc::{RpcError, hex, nonsense, number},
    sender::{GWEI, Order, Sender},
    words::{self, Told},
};
use protocol::Glm;
use serde_json::json;
use std::time::SystemTime;

/// Gas beyond the estimate, in percent: the state may be another one when it runs.
const GAS_MARGIN_PERCENT: u64 = 25;
/// What a replacement has to offer more, in percent, so that every node takes it (most ask for 10).
const BUMP_PERCENT: u128 = 13;
/// For the block's maker where the endpoint names nothing, in wei.
const PRIORITY_FEE_DEFAULT: u128 = 1_500_000_000;
/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Most transactions that are seen to before one at a time: more than ever are on their way, and an endpoint may say anything.
const GAP_MAX: usize = 16;

/// Wei for a unit of gas: the most, and what of it is for the block's maker.
type Fees = (u128, u128);

impl Sender {
    /// Signs a transaction and puts it on disk.
    pub(super) fn prepare(&self, order: Order) -> Result<Transaction, ChainError> {
        let gas = self.gas(&order)?;
        let fees = self.fees()?;
        self.refuse_without_coin(cost(gas, fees.0, order.value))?;
        // What is known of but in no block yet counts, whoever sent it: behind it there is room, in its place there is not.
        let ours = self
            .outbox
            .next_nonce(self.rpc.chain_id(), self.account())?;
        let mut transaction = Transaction {
            nonce: self.count_known()?.max(ours),
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

    /// The account's transactions in blocks and on their way; endpoints that do not know the latter count the former.
    fn count_known(&self) -> Result<u64, ChainError> {
        match self.count("pending") {
            Err(ChainError::Rpc(RpcError::Refused { .. } | RpcError::Nonsense { .. })) => {
                self.count("latest")
            }
            counted => counted,
        }
    }

    /// Gas that the call may take; what a contract refuses is refused here, before anything is spent.
    fn gas(&self, order: &Order) -> Result<u64, ChainError> {
        let call = json!({
            "from": self.account().to_string(), "to": order.to.to_string(),
            "value": format!("{:#x}", order.value), "data": hex(&order.data),
        });
        match self.rpc.at_head("eth_estimateGas", &[call]) {
            Ok(answer) => {
                let gas = number(&answer).ok_or_else(|| nonsense("eth_estimateGas", &answer))?;
                let gas = u64::try_from(gas).unwrap_or(u64::MAX);
                Ok(gas.saturating_add(gas / 100 * GAS_MARGIN_PERCENT))
            }
            Err(RpcError::Refused { message, data, .. }) => {
                if words::is_without_coin(&message) {
                    self.refuse_without_coin(u128::MAX)?;
                }
                Err(ChainError::Refused {
                    purpose: order.purpose.clone(),
                    reason: words::reason(&message, data.as_deref()),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn fees(&self) -> Result<Fees, ChainError> {
        let latest = json!(["latest", false]);
        let block = self.rpc.call("eth_getBlockByNumber", latest)?;
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

    fn balance(&self) -> Result<u128, ChainError> {
        let parameters = json!([self.account().to_string(), "latest"]);
        Ok(self.rpc.number("eth_getBalance", parameters)?)
    }

    fn refuse_without_coin(&self, needed: u128) -> Result<(), ChainError> {
        let balance = self.balance()?;
        if balance >= needed {
            return Ok(());
        }
        Err(ChainError::NoCoin {
            account: self.account(),
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
        (max_fee, priority_fee): Fees,
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

    /// Sends a transaction, and whatever has to come before it; for more where it stays out. Gives what an endpoint said
    /// that did not take it.
    pub(super) fn push(
        &self,
        transaction: &mut Transaction,
        for_more: bool,
    ) -> Result<Option<String>, ChainError> {
        self.fill_gap(transaction.nonce, for_more)?;
        self.deliver(transaction, for_more)
    }

    fn deliver(
        &self,
        transaction: &mut Transaction,
        for_more: bool,
    ) -> Result<Option<String>, ChainError> {
        if for_more {
            self.raise(transaction)?;
        }
        let mut told = self.broadcast(transaction)?;
        // A chain that has become dearer meanwhile does not take what was signed before.
        if told == Told::Underpriced && self.raise(transaction)? {
            told = self.broadcast(transaction)?;
        }
        Ok(match told {
            Told::Taken | Told::Used | Told::NoCoin => None,
            Told::Underpriced => Some("its fee is too low for the chain at present".into()),
            Told::Declined(said) => Some(said),
        })
    }

    /// Signs the transaction with a higher fee; not where that would be above the cap or what the account can pay: what was
    /// sent before may come through yet.
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
        if max_fee > self.fee_cap
            || cost(transaction.gas, max_fee, transaction.value) > self.balance()?
        {
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
        let raw = json!([hex(&last.raw)]);
        let told = match self.rpc.call("eth_sendRawTransaction", raw) {
            Ok(_) => Told::Taken,
            Err(RpcError::Refused { message, .. }) => Told::of(&message),
            Err(error) => return Err(error.into()),
        };
        if told == Told::NoCoin {
            self.refuse_without_coin(cost(transaction.gas, last.max_fee, transaction.value))?;
        }
        Ok(told)
    }

    /// Sends what the chain lacks before this nonce: what a reorganisation threw out after it was final, or, where somebody else
    /// sent what was then lost, a transfer of nothing to ourselves.
    fn fill_gap(&self, nonce: u64, for_more: bool) -> Result<(), ChainError> {
        let next = self.count_known()?;
        if next >= nonce {
            return Ok(());
        }
        let ours = self
            .outbox
            .since(self.rpc.chain_id(), self.account(), next)?;
        for missing in (next..nonce).take(GAP_MAX) {
            let earlier = ours.iter().find(|transaction| transaction.nonce == missing);
            match earlier {
                Some(earlier) if may_happen(earlier) => {
                    let mut earlier = earlier.clone();
                    if earlier.state != State::Pending {
                        earlier.state = State::Pending;
                        self.put(&earlier)?;
                    }
                    self.deliver(&mut earlier, for_more)?;
                }
                // Others of this key may still be on their way to this endpoint.
                _ if !for_more => {}
                _ => {
                    let mut filler = self.filler(missing);
                    self.attempt(&mut filler, self.fees()?)?;
                    self.deliver(&mut filler, false)?;
                }
            }
        }
        Ok(())
    }

    fn filler(&self, nonce: u64) -> Transaction {
        Transaction {
            nonce,
            purpose: format!("fill the gap at nonce {nonce}"),
            to: self.account(),
            value: 0,
            data: Vec::new(),
            gas: TRANSFER_GAS,
            attempts: Vec::new(),
            state: State::Pending,
        }
    }
}

/// Whoever ordered a transaction that was undone or displaced was told that nothing happened, and has perhaps ordered anew.
fn may_happen(transaction: &Transaction) -> bool {
    match transaction.state {
        State::Pending | State::Mined(_) => true,
        State::Final(inclusion) => inclusion.succeeded,
        State::Displaced => false,
    }
}

/// The most that a transaction may cost, in wei of the chain's coin.
fn cost(gas: u64, max_fee: u128, value: u128) -> u128 {
    u128::from(gas)
        .saturating_mul(max_fee)
        .saturating_add(value)
}

/// An amount of the chain's coin; all of them have 18 decimals.
fn coins(wei: u128) -> String {
    format!("{:.6}", Glm::from_wei(wei))
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
