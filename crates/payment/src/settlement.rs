//! The order in which a requestor covers promises before work and pays them after it, safe to repeat after a crash.

use crate::{
    Escrow, EscrowKey, Ledger, LedgerError, Release, StoreError, VoucherBook, chain::ChainError,
    ending::close_agreed,
};
use protocol::{Address, Glm};

/// What settling with one worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Paid to the worker now.
    pub paid: Glm,
    /// Paid to it in this epoch in all.
    pub cumulative_claimed: Glm,
    /// Promised and not covered; the epoch stays open until it is.
    pub short: Glm,
    /// What became of the rest; none while something is short.
    pub release: Option<Release>,
}

/// Why an escrow was not covered or settled; asking again carries on.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The book of vouchers.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sum beyond what amounts can hold.
    #[error("the amount is too large")]
    TooLarge,
}

/// What the escrow for one worker shall hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Who is paid.
    pub worker: Address,
    /// Beyond everything promised in the present epoch: leases in flight, work not paid yet.
    pub unpromised: Glm,
    /// Put in besides when something has to be put in, as far as there is enough: each movement has its fee.
    pub spare: Glm,
}

/// What an escrow holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Which.
    pub key: EscrowKey,
    /// Put in.
    pub deposit: Glm,
    /// Promised in its epoch.
    pub promised: Glm,
}

/// How often is planned anew because the chain moved meanwhile; each time takes a reorganisation at the wrong moment.
const PLANS_MAX: usize = 4;

/// Makes sure that the present escrows cover what is asked; opens in one movement, tops up as needed. In the order asked.
///
/// # Errors
/// When the requestor's account holds too little, or ledger or book fail.
pub fn cover(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    covers: &[Cover],
) -> Result<Vec<Covered>, SettlementError> {
    for _ in 1..PLANS_MAX {
        match cover_as_planned(ledger, book, covers) {
            // What was pending a moment ago, or was thrown out of a block, is there now.
            Err(SettlementError::Ledger(
                LedgerError::Chain(ChainError::Outdated) | LedgerError::AlreadyOpen(_),
            )) => {}
            done => return done,
        }
    }
    cover_as_planned(ledger, book, covers)
}

fn cover_as_planned(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    covers: &[Cover],
) -> Result<Vec<Covered>, SettlementError> {
    ledger.finish_pending()?;
    close_agreed(ledger, book, covers.iter().map(|cover| cover.worker))?;
    let mut plans = Vec::new();
    for cover in covers {
        plans.push(Plan::of(ledger, book, cover)?);
    }
    share_out(&mut plans, || ledger.spendable(book.requestor()))?;
    let unopened = plans.iter().filter(|plan| plan.deposit.is_none());
    let openings: Vec<_> = unopened.map(|plan| (plan.key, plan.missing())).collect();
    if !openings.is_empty() {
        ledger.open_many(&openings)?;
    }
    for plan in plans.iter().filter(|plan| plan.deposit.is_some()) {
        let missing = plan.missing();
        if missing > Glm::ZERO {
            ledger.top_up(&plan.key, missing)?;
        }
    }
    let covered = plans.iter().map(|plan| {
        let before = plan.deposit.unwrap_or_default();
        let deposit = before.checked_add(plan.missing());
        Ok(Covered {
            key: plan.key,
            deposit: deposit.ok_or(SettlementError::TooLarge)?,
            promised: plan.promised,
        })
    });
    covered.collect()
}

/// Cuts what is put in beyond need, from all alike, where there is not enough for all of it.
fn share_out(
    plans: &mut [Plan],
    spendable: impl FnOnce() -> Result<Glm, LedgerError>,
) -> Result<(), SettlementError> {
    let sum = |amount: fn(&Plan) -> Glm| -> Result<Glm, SettlementError> {
        let mut amounts = plans.iter().map(amount);
        let sum = amounts.try_fold(Glm::ZERO, Glm::checked_add);
        sum.ok_or(SettlementError::TooLarge)
    };
    let (needed, spare) = (sum(Plan::lacking)?, sum(Plan::wanted_spare)?);
    if spare == Glm::ZERO {
        return Ok(());
    }
    let there = spendable()?.checked_sub(needed).unwrap_or_default();
    for plan in plans.iter_mut().filter(|_| there < spare) {
        // Whole numbers of 2^-32: the product of two amounts may be larger than any.
        let part = (there.wei() >> 32) * (1 << 32) / ((spare.wei() >> 32) + 1);
        let spare = plan.spare.checked_mul_ratio(part, 1 << 32);
        plan.spare = spare.unwrap_or_default();
    }
    Ok(())
}

/// What has to be put into one escrow.
struct Plan {
    key: EscrowKey,
    /// None while it is not open.
    deposit: Option<Glm>,
    promised: Glm,
    needed: Glm,
    /// Put in besides, if anything is.
    spare: Glm,
}

impl Plan {
    fn of(ledger: &dyn Ledger, book: &VoucherBook, cover: &Cover) -> Result<Self, SettlementError> {
        let (key, escrow) = present_escrow(ledger, book, cover.worker)?;
        let promised = promised(book, cover.worker)?;
        let needed = promised.checked_add(cover.unpromised);
        let needed = needed.ok_or(SettlementError::TooLarge)?;
        Ok(Self {
            key,
            deposit: escrow.map(|escrow| escrow.deposit),
            promised,
            needed,
            spare: cover.spare,
        })
    }

    /// Needed and not there.
    fn lacking(&self) -> Glm {
        let there = self.deposit.unwrap_or_default();
        self.needed.checked_sub(there).unwrap_or_default()
    }

    /// What goes in besides: nothing where nothing has to go in.
    fn wanted_spare(&self) -> Glm {
        match self.deposit.is_some() && self.lacking() == Glm::ZERO {
            true => Glm::ZERO,
            false => self.spare,
        }
    }

    /// What is put in.
    fn missing(&self) -> Glm {
        [self.lacking(), self.wanted_spare()].into_iter().sum()
    }
}

/// The epoch that the book is in and its escrow, none while that is not open; a book that is behind the ledger catches up.
pub(crate) fn present_escrow(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    worker: Address,
) -> Result<(EscrowKey, Option<Escrow>), SettlementError> {
    loop {
        let key = present_key(book, worker)?;
        match ledger.escrow(&key)? {
            // Stopped between the release and its entry in the book, or opened and closed with another folder.
            Some(escrow) if escrow.released => book.close_epoch(worker, key.epoch)?,
            escrow => return Ok((key, escrow)),
        }
    }
}

pub(crate) fn promised(book: &VoucherBook, worker: Address) -> Result<Glm, StoreError> {
    let last = book.last(worker)?;
    Ok(last.map_or(Glm::ZERO, |signed| signed.voucher.cumulative))
}

/// Makes sure that the present escrow for `worker` covers everything promised to it and `unpromised` more (leases in
/// flight); opens or tops up as needed.
///
/// # Errors
/// When the requestor's account holds too little, or ledger or book fail.
pub fn fund_escrow(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    worker: Address,
    unpromised: Glm,
) -> Result<EscrowKey, SettlementError> {
    let cover_one = Cover {
        worker,
        unpromised,
        spare: Glm::ZERO,
    };
    let covered = cover(ledger, book, &[cover_one])?;
    let covered = covered.first().ok_or(SettlementError::TooLarge)?;
    Ok(covered.key)
}

/// Redeems the last voucher of `worker`, takes back what is left and begins a new epoch.
///
/// Nothing is released while a promise is short: [`fund_escrow`] with zero covers it from the account.
///
/// # Errors
/// When ledger or book fail; [`LedgerError::NotOpen`] when the escrow was never opened.
pub fn settle(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    worker: Address,
) -> Result<Settlement, SettlementError> {
    let key = present_key(book, worker)?;
    let mut settlement = Settlement {
        paid: Glm::ZERO,
        cumulative_claimed: Glm::ZERO,
        short: Glm::ZERO,
        release: None,
    };
    if let Some(signed) = book.last(worker)? {
        let redeemed = ledger.redeem(&signed)?;
        settlement.paid = redeemed.paid;
        settlement.cumulative_claimed = redeemed.cumulative_claimed;
        settlement.short = redeemed.short;
    }
    if settlement.short > Glm::ZERO {
        return Ok(settlement);
    }
    let release = ledger.release(&key)?;
    if matches!(release, Release::Returned(_)) {
        book.close_epoch(worker, key.epoch)?;
    }
    settlement.release = Some(release);
    Ok(settlement)
}

pub(crate) fn present_key(book: &VoucherBook, worker: Address) -> Result<EscrowKey, StoreError> {
    Ok(EscrowKey {
        requestor: book.requestor(),
        worker,
        epoch: book.epoch(worker)?,
    })
}
