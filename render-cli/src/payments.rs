//! Pays for accepted tasks. What becomes due to a provider soon after a voucher gathers for the next one, because both
//! sides write each to disk: short tasks would otherwise wait for their money.

use crate::{accounts::Accounts, thread::lock};
use farm::WorkerRow;
use protocol::{Address, Blake3Hash, Glm, NodeId, TaskId, message::SignedVoucher};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
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

/// What one account has earned in this job.
#[derive(Debug, Clone)]
struct Account {
    total: Glm,
    /// Hash over the tasks accepted since its last voucher, in their order.
    receipts: Blake3Hash,
    /// Whose account it is: a provider may run several workers.
    workers: BTreeSet<NodeId>,
    /// Has it earned more than its last voucher says?
    is_due: bool,
}

const NO_RECEIPTS: Blake3Hash = Blake3Hash([0; 32]);

impl Default for Account {
    fn default() -> Self {
        Self {
            total: Glm::ZERO,
            receipts: NO_RECEIPTS,
            workers: BTreeSet::new(),
            is_due: false,
        }
    }
}

impl Account {
    fn earn(&mut self, worker: NodeId, amount: Glm) {
        // Sums of prices that the budget covers stay far from the end of their type.
        self.total = self.total.checked_add(amount).unwrap_or(self.total);
        self.workers.insert(worker);
        self.is_due = true;
    }
}

/// What this job owes to all providers.
#[derive(Debug, Default)]
pub struct Payments {
    accounts: Mutex<BTreeMap<Address, Account>>,
    changed: Notify,
    closing: Notify,
    is_closing: AtomicBool,
}

impl Payments {
    /// What a job owes that goes on: all that its workers were paid or should be, whatever was promised before.
    pub fn resumed(workers: &[WorkerRow]) -> Self {
        let mut accounts = BTreeMap::<Address, Account>::new();
        for row in workers.iter().filter(|row| row.paid() > Glm::ZERO) {
            let account = accounts.entry(row.payee).or_default();
            account.earn(row.worker, row.paid());
        }
        Self {
            accounts: Mutex::new(accounts),
            ..Self::default()
        }
    }

    /// A worker is there that may not have got its last voucher: it comes again.
    pub fn remind(&self, worker: NodeId, payee: Address) {
        if let Some(account) = lock(&self.accounts).get_mut(&payee) {
            account.workers.insert(worker);
            account.is_due = true;
            self.changed.notify_one();
        }
    }

    /// A task of this worker was accepted.
    pub fn owe(&self, worker: NodeId, payee: Address, task: TaskId, amount: Glm) {
        {
            let mut accounts = lock(&self.accounts);
            let account = accounts.entry(payee).or_default();
            account.earn(worker, amount);
            let receipts = [account.receipts.0.as_slice(), &task.0.to_le_bytes()].concat();
            account.receipts = Blake3Hash::of(&receipts);
        }
        self.changed.notify_one();
    }

    /// Whom this job has paid, each with its workers.
    pub fn payees(&self) -> Vec<(Address, Vec<NodeId>)> {
        let accounts = lock(&self.accounts);
        accounts
            .iter()
            .map(|(payee, account)| (*payee, account.workers.iter().copied().collect()))
            .collect()
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
        money: &Accounts,
        deliver: impl Fn(NodeId, SignedVoucher),
    ) -> Result<(), String> {
        let mut attempts_left = LAST_ATTEMPTS;
        loop {
            let is_closing = self.is_closing.load(Ordering::Acquire);
            let due = self.take_due();
            if due.is_empty() {
                if is_closing {
                    return Ok(());
                }
                self.changed.notified().await;
                continue;
            }
            let Err(error) = self.pay(&due, money, &deliver).await else {
                if !is_closing {
                    let _ = tokio::time::timeout(INTERVAL, self.closing.notified()).await;
                }
                continue;
            };
            if is_closing {
                attempts_left -= 1;
                if attempts_left == 0 {
                    return Err(format!("{} accounts stay unpaid: {error}", due.len()));
                }
            } else {
                tracing::warn!(error, "a payment waits");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The accounts that are due, as they are now: what they earn from here on is the next voucher's.
    fn take_due(&self) -> Vec<(Address, Account)> {
        let mut accounts = lock(&self.accounts);
        let due = accounts.iter_mut().filter(|(_, account)| account.is_due);
        let take = |(payee, account): (&Address, &mut Account)| {
            let now = account.clone();
            (account.receipts, account.is_due) = (NO_RECEIPTS, false);
            (*payee, now)
        };
        due.map(take).collect()
    }

    /// Pays what is due; an account that could not be paid is due again.
    async fn pay(
        &self,
        due: &[(Address, Account)],
        money: &Accounts,
        deliver: &impl Fn(NodeId, SignedVoucher),
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        for (payee, account) in due {
            match money.pay(*payee, account.receipts, account.total).await {
                Ok(Some(signed)) => {
                    for worker in &account.workers {
                        deliver(*worker, signed);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    outcome = Err(error);
                    if let Some(account) = lock(&self.accounts).get_mut(payee) {
                        account.is_due = true;
                    }
                }
            }
        }
        outcome
    }
}
