//! Pays for accepted tasks. What becomes due to a provider soon after a voucher gathers for the next one, because both
//! sides write each to disk: short tasks would otherwise wait for their money.

use crate::accounts::Accounts;
use protocol::{Address, Blake3Hash, Glm, NodeId, TaskId, message::SignedVoucher};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Between two payments of short tasks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts to pay.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts at the end of a job, before what is due is only told.
const LAST_ATTEMPTS: u32 = 6;

/// What one provider has earned since its last voucher.
#[derive(Debug, Clone, Copy)]
struct Due {
    payee: Address,
    amount: Glm,
    /// Hash over the tasks, in the order of their acceptance.
    receipts: Blake3Hash,
}

impl Due {
    fn add(&mut self, amount: Glm, receipts: &[u8]) {
        // Sums of prices that the budget covers; they stay far from the end of their type.
        self.amount = self.amount.checked_add(amount).unwrap_or(self.amount);
        self.receipts = Blake3Hash::of(&[self.receipts.0.as_slice(), receipts].concat());
    }
}

/// What is due to all providers of a job.
#[derive(Debug, Default)]
pub struct Payments {
    due: Mutex<BTreeMap<NodeId, Due>>,
    changed: Notify,
    closing: Notify,
    is_closing: AtomicBool,
}

impl Payments {
    fn due(&self) -> MutexGuard<'_, BTreeMap<NodeId, Due>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task of this worker was accepted.
    pub fn owe(&self, worker: NodeId, payee: Address, task: TaskId, amount: Glm) {
        self.due()
            .entry(worker)
            .or_insert(Due {
                payee,
                amount: Glm::ZERO,
                receipts: Blake3Hash([0; 32]),
            })
            .add(amount, &task.0.to_le_bytes());
        self.changed.notify_one();
    }

    /// No more will be owed; [`Payments::run`] ends once all is paid.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.changed.notify_one();
        self.closing.notify_one();
    }

    /// Pays until closed. `deliver` gets every voucher for its worker.
    ///
    /// # Errors
    /// What could not be paid in the end, and why.
    pub async fn run(
        &self,
        accounts: &Accounts,
        deliver: impl Fn(NodeId, SignedVoucher),
    ) -> Result<(), String> {
        let mut attempts_left = LAST_ATTEMPTS;
        loop {
            let is_closing = self.is_closing.load(Ordering::Acquire);
            let batch = std::mem::take(&mut *self.due());
            if batch.is_empty() {
                if is_closing {
                    return Ok(());
                }
                self.changed.notified().await;
                continue;
            }
            let Err(error) = self.pay(batch, accounts, &deliver).await else {
                if !is_closing {
                    let _ = tokio::time::timeout(INTERVAL, self.closing.notified()).await;
                }
                continue;
            };
            if is_closing {
                attempts_left -= 1;
                if attempts_left == 0 {
                    let unpaid = self.due().values().map(|due| due.amount).sum::<Glm>();
                    return Err(format!("{unpaid} GLM stay unpaid: {error}"));
                }
            } else {
                tracing::warn!(error, "a payment waits");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Pays each of a batch; what fails is due again.
    async fn pay(
        &self,
        batch: BTreeMap<NodeId, Due>,
        accounts: &Accounts,
        deliver: &impl Fn(NodeId, SignedVoucher),
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        for (worker, due) in batch {
            match accounts.pay(due.payee, due.receipts, due.amount).await {
                Ok(signed) => deliver(worker, signed),
                Err(error) => {
                    outcome = Err(error);
                    let mut all = self.due();
                    let place = all.entry(worker).or_insert(Due {
                        amount: Glm::ZERO,
                        ..due
                    });
                    place.add(due.amount, &due.receipts.0);
                }
            }
        }
        outcome
    }
}
