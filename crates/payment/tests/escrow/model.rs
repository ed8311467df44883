//! What the escrow contract should do with each call, written from the rules of contracts/README.md and not from the contract.

use crate::calls::Channel;

/// What each requestor, the owner and the stranger have to begin with: little, so that some calls fail for want of it.
pub const FUNDS: u128 = 40;

// Accounts by number. The second requestor is the third worker too, to itself and to others.
pub const REQUESTORS: [usize; 3] = [0, 1, 2];
pub const WORKERS: [usize; 3] = [3, 4, 1];
pub const ACCOUNTS: usize = 7;
pub const OWNER: usize = 5;
pub const STRANGER: usize = 6;

/// What is wrong with a signature, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    Good,
    OtherKey(usize),
    Twin,
    Altered,
    RecoveryId,
}

/// Requestor and worker by their number among [`REQUESTORS`] and [`WORKERS`].
pub type Pair = (usize, usize);

#[derive(Debug, Clone, Copy)]
pub struct Promise {
    pub pair: Pair,
    pub epoch: u64,
    pub cumulative: u128,
    pub seal: Seal,
}

/// A call; who makes it is an account's number.
#[derive(Debug, Clone)]
pub enum Step {
    Open(Pair, u64, u128),
    OpenMany(usize, Vec<(usize, u64, u128)>),
    TopUp(Pair, u64, u128),
    Redeem(usize, Promise),
    RedeemMany(usize, Vec<Promise>),
    Announce(usize, Pair, u64),
    Withdraw(usize, Pair, u64),
    Release(usize, Promise),
    ReleaseAndOpen(Promise, u128),
    Serve(usize, usize),
    Raise(usize, usize, u128),
    Revoke(usize, usize),
}

impl Step {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(..) => "open",
            Self::OpenMany(..) => "openMany",
            Self::TopUp(..) => "topUp",
            Self::Redeem(..) => "redeem",
            Self::RedeemMany(..) => "redeemMany",
            Self::Announce(..) => "announceWithdrawal",
            Self::Withdraw(..) => "withdraw",
            Self::Release(..) => "release",
            Self::ReleaseAndOpen(..) => "release and open",
            Self::Serve(..) => "serveOwner",
            Self::Raise(..) => "raiseCap",
            Self::Revoke(..) => "revokeCap",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    pub owner: Option<usize>,
    pub cap: u128,
}

/// What the contract should hold. Written from the rules of contracts/README.md, not from the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub channels: [[Channel; 3]; 3],
    pub delegations: [Delegation; ACCOUNTS],
    pub escrow: u128,
    pub balances: [u128; ACCOUNTS],
}

pub struct No;

pub const CLOSED: u64 = 1;
pub const THAW: u64 = 24 * 3600;

impl Model {
    pub fn new() -> Self {
        let mut balances = [FUNDS; ACCOUNTS];
        balances[WORKERS[0]] = 0;
        balances[WORKERS[1]] = 0;
        Self {
            channels: Default::default(),
            delegations: [Delegation {
                owner: None,
                cap: 0,
            }; ACCOUNTS],
            escrow: 0,
            balances,
        }
    }

    /// What the call returns at that time; a refused one leaves the model anyhow, the caller keeps the one before.
    pub fn take(&mut self, step: &Step, now: u64) -> Result<u128, No> {
        match step {
            Step::Open((requestor, worker), epoch, deposit) => {
                self.open(*requestor, &[(*worker, *epoch, *deposit)])?;
            }
            Step::OpenMany(requestor, openings) => self.open(*requestor, openings)?,
            Step::TopUp((requestor, worker), epoch, amount) => {
                self.is_open((*requestor, *worker), *epoch)?;
                self.channels[*requestor][*worker].deposit += amount;
                self.collect(*requestor, *amount)?;
            }
            Step::Redeem(_, promise) => return self.redeem(promise),
            Step::RedeemMany(_, promises) => {
                let mut paid = 0;
                for promise in promises {
                    paid += self.redeem(promise)?;
                }
                return Ok(paid);
            }
            Step::Announce(caller, pair, epoch) => {
                self.is_payer(*caller, *pair)?;
                let channel = self.is_open(*pair, *epoch)?;
                if channel.withdrawable_at != 0 {
                    return Err(No);
                }
                channel.withdrawable_at = now + THAW;
            }
            Step::Withdraw(caller, pair, epoch) => {
                self.is_payer(*caller, *pair)?;
                let channel = self.is_open(*pair, *epoch)?;
                if channel.withdrawable_at == 0 || channel.withdrawable_at > now {
                    return Err(No);
                }
                self.close(*pair);
            }
            Step::Release(caller, promise) => self.release(*caller, promise)?,
            Step::ReleaseAndOpen(promise, deposit) => {
                let (requestor, worker) = promise.pair;
                self.release(requestor, promise)?;
                self.open(requestor, &[(worker, promise.epoch + 1, *deposit)])?;
            }
            Step::Serve(caller, owner) => {
                if caller == owner || self.delegations[*caller].owner.is_some() {
                    return Err(No);
                }
                self.delegations[*caller].owner = Some(*owner);
            }
            Step::Raise(caller, key, amount) => self.servant(*caller, *key)?.cap += amount,
            Step::Revoke(caller, key) => self.servant(*caller, *key)?.cap = 0,
        }
        Ok(0)
    }

    fn open(&mut self, requestor: usize, openings: &[(usize, u64, u128)]) -> Result<(), No> {
        for (worker, epoch, deposit) in openings {
            let channel = &mut self.channels[requestor][*worker];
            let is_free = channel.epochs == 0 || channel.withdrawable_at == CLOSED;
            if !is_free || *epoch != channel.epochs {
                return Err(No);
            }
            *channel = Channel {
                deposit: *deposit,
                claimed: 0,
                withdrawable_at: 0,
                epochs: epoch + 1,
            };
        }
        self.collect(
            requestor,
            openings.iter().map(|(.., deposit)| deposit).sum(),
        )
    }

    fn collect(&mut self, caller: usize, amount: u128) -> Result<(), No> {
        let delegation = &mut self.delegations[caller];
        let payer = delegation.owner.unwrap_or(caller);
        if delegation.owner.is_some() {
            delegation.cap = delegation.cap.checked_sub(amount).ok_or(No)?;
        }
        self.balances[payer] = self.balances[payer].checked_sub(amount).ok_or(No)?;
        self.escrow += amount;
        Ok(())
    }

    fn is_open(&mut self, (requestor, worker): Pair, epoch: u64) -> Result<&mut Channel, No> {
        let channel = &mut self.channels[requestor][worker];
        if epoch + 1 == channel.epochs && channel.withdrawable_at != CLOSED {
            Ok(channel)
        } else {
            Err(No)
        }
    }

    fn is_payer(&self, caller: usize, (requestor, _): Pair) -> Result<(), No> {
        let is_owner = self.delegations[requestor].owner == Some(caller);
        if caller == requestor || is_owner {
            Ok(())
        } else {
            Err(No)
        }
    }

    fn servant(&mut self, caller: usize, key: usize) -> Result<&mut Delegation, No> {
        let delegation = &mut self.delegations[key];
        if delegation.owner == Some(caller) {
            Ok(delegation)
        } else {
            Err(No)
        }
    }

    fn redeem(&mut self, promise: &Promise) -> Result<u128, No> {
        let (requestor, worker) = promise.pair;
        if promise.seal != Seal::Good || promise.epoch >= self.channels[requestor][worker].epochs {
            return Err(No);
        }
        if self.is_open(promise.pair, promise.epoch).is_err() {
            return Ok(0);
        }
        Ok(self.pay(promise))
    }

    fn pay(&mut self, promise: &Promise) -> u128 {
        let (requestor, worker) = promise.pair;
        let channel = &mut self.channels[requestor][worker];
        let paid = promise
            .cumulative
            .min(channel.deposit)
            .saturating_sub(channel.claimed);
        channel.claimed += paid;
        self.escrow -= paid;
        self.balances[WORKERS[worker]] += paid;
        paid
    }

    fn release(&mut self, caller: usize, promise: &Promise) -> Result<(), No> {
        self.is_payer(caller, promise.pair)?;
        let channel = self.is_open(promise.pair, promise.epoch)?;
        if promise.cumulative > channel.deposit || promise.seal != Seal::Good {
            return Err(No);
        }
        self.pay(promise);
        self.close(promise.pair);
        Ok(())
    }

    fn close(&mut self, (requestor, worker): Pair) {
        let channel = &mut self.channels[requestor][worker];
        let rest = channel.unclaimed();
        channel.deposit = channel.claimed;
        channel.withdrawable_at = CLOSED;
        self.escrow -= rest;
        self.balances[self.delegations[requestor].owner.unwrap_or(requestor)] += rest;
    }
}
