//! The order in which a requestor covers promises before work and pays them after it, safe to repeat after a crash.

use crate::{EscrowKey, Ledger, LedgerError, Release, StoreError, VoucherBook};
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
    let mut key = present_key(book, worker)?;
    let mut escrow = ledger.escrow(&key)?;
    if escrow.is_some_and(|escrow| escrow.released) {
        // Stopped between the release and its entry in the book.
        book.close_epoch(worker, key.epoch)?;
        key = present_key(book, worker)?;
        escrow = ledger.escrow(&key)?;
    }
    let promised = book
        .last(worker)?
        .map_or(Glm::ZERO, |signed| signed.voucher.cumulative);
    let needed = promised
        .checked_add(unpromised)
        .ok_or(SettlementError::TooLarge)?;
    match escrow {
        None => ledger.open(&key, needed)?,
        Some(escrow) => {
            if let Some(missing) = needed
                .checked_sub(escrow.deposit)
                .filter(|missing| *missing > Glm::ZERO)
            {
                ledger.top_up(&key, missing)?;
            }
        }
    }
    Ok(key)
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

fn present_key(book: &VoucherBook, worker: Address) -> Result<EscrowKey, StoreError> {
    Ok(EscrowKey {
        requestor: book.requestor(),
        worker,
        epoch: book.epoch(worker)?,
    })
}
