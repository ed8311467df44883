//! Hands vouchers in when that is worth its fee, on a thread of its own: a transaction takes as long as its chain.

use crate::limits::{FEES_WORTH_REDEEMING, REDEEM_AGAIN, RELEASE_WAIT, VOUCHER_WAIT};
use payment::{
    Earnings, EarningsBook, Ledger, LedgerError, Redeemed,
    chain::{ChainError, ChainLedger},
};
use protocol::{Glm, message::SignedVoucher};
use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Is a voucher to be redeemed now, by what was last seen of its escrow? Never at a loss.
pub fn is_due(row: &Earnings, fee: Glm, now_unix_s: u64) -> bool {
    let (sum, progress) = (row.redeemable(), &row.progress);
    if sum == Glm::ZERO || sum <= fee {
        return false;
    }
    if progress.withdrawable_at.is_some() {
        return true;
    }
    let passed = |since: u64| now_unix_s.saturating_sub(since);
    // The requestor pays with the release, and pays the fee.
    if let Some((_, since)) = progress.released
        && passed(since) < RELEASE_WAIT.as_secs()
    {
        return false;
    }
    let is_much = fee
        .checked_mul_ratio(FEES_WORTH_REDEEMING, 1)
        .is_some_and(|enough| sum >= enough);
    let waits = progress.waits_since.map_or(0, passed);
    is_much || waits > VOUCHER_WAIT.as_secs()
}

/// Redeems vouchers and notes in the book what the chain says then.
///
/// # Errors
/// When chain or book fail; asking again carries on.
pub fn redeem(
    ledger: &dyn Ledger,
    book: &EarningsBook,
    vouchers: &[SignedVoucher],
) -> Result<Vec<Redeemed>, LedgerError> {
    let redeemed = ledger.redeem_many(vouchers)?;
    for signed in vouchers {
        let key = (&signed.voucher).into();
        if let Some(escrow) = ledger.escrow(&key)? {
            match escrow.released && escrow.deposit == Glm::ZERO {
                true => book.note_over(&key)?,
                false => book.note(&key, &escrow)?,
            }
        }
    }
    Ok(redeemed)
}

/// The thread; it ends when this is dropped or stopped.
pub struct Redeemer {
    orders: mpsc::SyncSender<Vec<SignedVoucher>>,
    thread: JoinHandle<()>,
}

impl Redeemer {
    pub fn start(ledger: Arc<ChainLedger>, book: Arc<EarningsBook>) -> std::io::Result<Self> {
        let (orders, ordered) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("redeemer".into())
            .spawn(move || run(&ledger, &book, &ordered))?;
        Ok(Self { orders, thread })
    }

    /// Redeems these when it is not at it already.
    pub fn order(&self, vouchers: Vec<SignedVoucher>) {
        // What is still due at the next look is ordered again.
        let _ = self.orders.try_send(vouchers);
    }

    pub fn stop(self) {
        drop(self.orders);
        // It has said what failed.
        let _ = self.thread.join();
    }
}

fn run(ledger: &ChainLedger, book: &EarningsBook, ordered: &mpsc::Receiver<Vec<SignedVoucher>>) {
    // When it failed last, and how long it rests since.
    let mut failed: Option<(Instant, Duration)> = None;
    while let Ok(vouchers) = ordered.recv() {
        if failed.is_some_and(|(at, rest)| at.elapsed() < rest) {
            continue;
        }
        match redeem(ledger, book, &vouchers) {
            Ok(redeemed) => {
                failed = None;
                let paid: Glm = redeemed.iter().map(|redeemed| redeemed.paid).sum();
                tracing::info!(vouchers = vouchers.len(), %paid, "redeemed");
            }
            Err(LedgerError::Chain(ChainError::Interrupted)) => return,
            Err(error) => {
                // Told once: it is tried again and again.
                if failed.is_none() {
                    tracing::warn!("vouchers wait to be redeemed: {error}");
                }
                let (first, longest) = REDEEM_AGAIN;
                let rest = failed.map_or(first, |(_, rest)| (rest * 2).min(longest));
                failed = Some((Instant::now(), rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use payment::{Progress, Wallet};
    use protocol::{Address, Blake3Hash, JobId, message::Voucher};

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    /// 30 GLM promised.
    fn row(progress: Progress) -> Earnings {
        let requestor = Wallet::from_secret(&[1; 32]).unwrap();
        let voucher = Voucher {
            chain_id: 1,
            contract: Address([1; 20]),
            requestor: requestor.address(),
            worker: Address([2; 20]),
            epoch: 0,
            job: JobId([3; 16]),
            cumulative: Glm::from_glm(30),
            sequence: 1,
            receipts_root: Blake3Hash([0; 32]),
        };
        Earnings {
            signed: requestor.sign_voucher(&voucher).unwrap(),
            progress,
        }
    }

    fn is_due_at(fee: u64, change: impl FnOnce(&mut Progress)) -> bool {
        let mut progress = Progress {
            deposit: Glm::from_glm(20),
            waits_since: Some(NOW - DAY),
            ..Progress::default()
        };
        change(&mut progress);
        is_due(&row(progress), Glm::from_glm(fee), NOW)
    }

    #[test]
    fn much_is_redeemed_at_once_and_little_is_carried() {
        // 20 of the 30 GLM are covered.
        assert!(is_due_at(1, |_| {}));
        assert!(!is_due_at(2, |_| {}));
        assert!(!is_due_at(1, |progress| progress.claimed = Glm::from_wei(1)));
        // No more than what is promised counts.
        assert!(!is_due_at(2, |progress| progress.deposit = Glm::from_glm(40)));
        assert!(!is_due_at(0, |progress| progress.is_closed = true));
    }

    #[test]
    fn a_thaw_and_a_week_make_due_what_is_worth_its_fee() {
        let thaws = |progress: &mut Progress| progress.withdrawable_at = Some(NOW + DAY);
        let waits = |progress: &mut Progress| progress.waits_since = Some(NOW - 7 * DAY - 1);
        for reason in [thaws, waits] {
            assert!(is_due_at(19, reason));
            assert!(!is_due_at(20, reason));
        }
        assert!(!is_due_at(19, |progress| {
            progress.waits_since = Some(NOW - 7 * DAY);
        }));
    }

    #[test]
    fn a_release_is_waited_for_a_while_and_not_during_a_thaw() {
        let agreed = |since| {
            move |progress: &mut Progress| progress.released = Some((Glm::from_glm(30), since))
        };
        assert!(!is_due_at(1, agreed(NOW)));
        assert!(is_due_at(1, agreed(NOW - RELEASE_WAIT.as_secs())));
        assert!(is_due_at(1, |progress| {
            agreed(NOW)(progress);
            progress.withdrawable_at = Some(NOW + DAY);
        }));
    }
}
