//! The end of a job on a chain: what is worth its fee is paid and closed, the rest is carried.
//!
//! A worker that has agreed to the end of its escrow does no more work for it. So it is asked only where the escrow is then
//! closed, and its release is on disk before anything else: if this process ends first, the next one closes it.

use crate::{
    EscrowKey, Ledger, SettlementError, VoucherBook,
    settlement::{present_escrow, present_key, promised},
    voucher::verify_release_on,
};
use protocol::{Address, Glm, message::SignedRelease};

/// A promise is paid out, and a rest fetched, when it is worth so many times the fee.
pub const FEES_WORTH: u128 = 20;

/// An escrow as it stands at the end of a job.
struct Standing {
    key: EscrowKey,
    deposit: Glm,
    promised: Glm,
    /// Promised, covered and not paid out.
    due: Glm,
    /// Neither promised nor returned.
    left: Glm,
}

impl Standing {
    /// None where the escrow is not open.
    fn of(
        ledger: &dyn Ledger,
        book: &VoucherBook,
        worker: Address,
    ) -> Result<Option<Self>, SettlementError> {
        let (key, escrow) = present_escrow(ledger, book, worker)?;
        let Some(escrow) = escrow else {
            return Ok(None);
        };
        let promised = promised(book, worker)?;
        let due = promised.min(escrow.deposit);
        let left = escrow.deposit.checked_sub(escrow.claimed.max(promised));
        Ok(Some(Self {
            key,
            deposit: escrow.deposit,
            promised,
            due: due.checked_sub(escrow.claimed).unwrap_or_default(),
            left: left.unwrap_or_default(),
        }))
    }

    /// What closing it moves. One that is not covered cannot be closed.
    fn whole(&self) -> Glm {
        match self.promised <= self.deposit {
            true => [self.due, self.left].into_iter().sum(),
            false => Glm::ZERO,
        }
    }
}

/// The worker's agreement that closes an escrow, if it has given one to exactly what it is owed.
fn agreed(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    standing: &Standing,
) -> Result<Option<SignedRelease>, SettlementError> {
    let is_right = |signed: &SignedRelease| {
        let genuine = verify_release_on(signed, ledger.chain_id(), ledger.contract());
        // One that is not covered pays nobody, and would keep others from being paid with it.
        let is_covered = standing.promised <= standing.deposit;
        genuine.is_ok() && is_covered && signed.release.cumulative == standing.promised
    };
    Ok(book.release(&standing.key)?.filter(is_right))
}

/// Closes escrows whose workers have agreed to it and that a process before this one did not close: nobody works for them.
pub(crate) fn close_agreed(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    workers: impl Iterator<Item = Address>,
) -> Result<(), SettlementError> {
    let mut releases = Vec::new();
    for worker in workers {
        // Hardly ever is there one: the ledger, a chain perhaps, is asked only then.
        if book.release(&present_key(book, worker)?)?.is_some()
            && let Some(standing) = Standing::of(ledger, book, worker)?
        {
            releases.extend(agreed(ledger, book, &standing)?);
        }
    }
    close(ledger, book, &releases)
}

fn close(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    releases: &[SignedRelease],
) -> Result<(), SettlementError> {
    if releases.is_empty() {
        return Ok(());
    }
    ledger.close(releases)?;
    for signed in releases {
        book.close_epoch(signed.release.worker, signed.release.epoch)?;
    }
    Ok(())
}

/// What a sum has to be worth; any sum where all is asked for.
fn worth(ledger: &dyn Ledger, all: bool) -> Result<impl Fn(Glm) -> bool, SettlementError> {
    let least = ledger.redeem_fee()?.checked_mul_ratio(FEES_WORTH, 1);
    let least = least.ok_or(SettlementError::TooLarge)?;
    Ok(move |sum: Glm| sum > Glm::ZERO && (all || sum >= least))
}

/// An escrow that is worth closing, if its worker agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub key: EscrowKey,
    /// All that the worker is owed in it.
    pub promised: Glm,
}

/// The escrows of these workers that are worth closing.
///
/// # Errors
/// When ledger or book fail.
pub fn endings(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    workers: &[Address],
) -> Result<Vec<Ending>, SettlementError> {
    ledger.finish_pending()?;
    let is_worth = worth(ledger, false)?;
    let mut endings = Vec::new();
    for worker in workers {
        if let Some(standing) = Standing::of(ledger, book, *worker)?
            && is_worth(standing.whole())
        {
            endings.push(Ending {
                key: standing.key,
                promised: standing.promised,
            });
        }
    }
    Ok(endings)
}

/// What became of one worker's escrow at the end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Paid and closed by the worker's release; this went back to the requestor.
    Closed {
        /// Paid to the worker by it.
        paid: Glm,
        /// To the requestor.
        returned: Glm,
    },
    /// Paid; the escrow stays open with what is left in it.
    Paid {
        /// Paid to the worker now.
        paid: Glm,
        /// Left, and neither promised nor returned.
        left: Glm,
    },
    /// Too little for its fee: promise and rest stay where they are, for the next job or the worker's own redeeming.
    Carried {
        /// Promised and not paid out.
        promised: Glm,
        /// Left besides.
        left: Glm,
    },
}

/// Pays and closes many escrows together: those whose worker's release is in the book are closed by it, the others are paid.
/// What is not worth its fee is carried, unless `all` is asked for.
///
/// # Errors
/// When ledger or book fail; asking again carries on.
pub fn settle_many(
    ledger: &dyn Ledger,
    book: &VoucherBook,
    workers: &[Address],
    all: bool,
) -> Result<Vec<(Address, Settled)>, SettlementError> {
    ledger.finish_pending()?;
    let is_worth = worth(ledger, all)?;
    let (mut settled, mut closing, mut paying) = (Vec::new(), Vec::new(), Vec::new());
    for worker in workers {
        let Some(standing) = Standing::of(ledger, book, *worker)? else {
            continue;
        };
        let Standing { due, left, .. } = standing;
        let outcome = match agreed(ledger, book, &standing)? {
            // Nobody works for it any more: it is closed whatever it is worth.
            Some(release) => {
                closing.push(release);
                Settled::Closed {
                    paid: due,
                    returned: left,
                }
            }
            None if is_worth(due) => {
                paying.extend(book.last(*worker)?);
                Settled::Paid { paid: due, left }
            }
            None => Settled::Carried {
                promised: due,
                left,
            },
        };
        settled.push((*worker, outcome));
    }
    close(ledger, book, &closing)?;
    if !paying.is_empty() {
        ledger.redeem_many(&paying)?;
    }
    Ok(settled)
}
