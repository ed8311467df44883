//! Work is covered before it is leased: on a chain, where a worker looks at its escrow before it renders, and a deposit takes a
//! transaction and a fee.
//!
//! An escrow is opened with twice the worker's fair share of the job, so that most need nothing more; those that many
//! workers need at about the same time are opened in one transaction.

use crate::{accounts::Purse, thread::lock};
use payment::{Cover, Covered, cover};
use protocol::{Address, Glm, JobSpec, NodeId, TaskId, TaskSpec};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How long the first of several who need money is made to wait for the others.
const GATHERING: Duration = Duration::from_millis(1_500);
/// Leases that may wait for their escrows.
const WAITING_MAX: usize = 4_096;

/// An account that needs more, and who waits for it.
struct Wanted {
    payee: Address,
    answer: oneshot::Sender<Result<(), String>>,
}

/// What one account has in escrow and what that has to cover.
#[derive(Debug, Clone, Default)]
struct Share {
    price_megasample: Glm,
    /// Leases of its workers that are not paid yet.
    leased: BTreeMap<(NodeId, TaskId), Glm>,
    /// Owed for this job in all.
    owed: Glm,
    /// Promised for this job in all.
    promised_for_job: Glm,
    /// Promised in the present epoch.
    promised: Glm,
    /// In escrow in the present epoch; none while it is not known.
    deposit: Option<Glm>,
}

impl Share {
    /// What has to be in escrow beyond what is promised.
    fn unpromised(&self) -> Glm {
        let due = self.owed.checked_sub(self.promised_for_job);
        let leased: Glm = self.leased.values().copied().sum();
        [due.unwrap_or_default(), leased].into_iter().sum()
    }

    fn is_covered(&self) -> bool {
        let needed: Glm = [self.promised, self.unpromised()].into_iter().sum();
        self.deposit.is_some_and(|deposit| deposit >= needed)
    }
}

#[derive(Default)]
struct State {
    shares: BTreeMap<Address, Share>,
    payees: BTreeMap<NodeId, Address>,
}

/// A job, and how large it is.
#[derive(Debug, Clone)]
pub struct Extent {
    pub spec: JobSpec,
    /// Of all pixels of all frames.
    pub samples: u128,
    /// Most that may be spent.
    pub budget: Option<Glm>,
}

/// All samples of a job, and most that may be spent on it.
type Size = (u128, Option<Glm>);

/// Covers the work of one job.
pub struct Covering {
    state: Arc<Mutex<State>>,
    wanted: mpsc::Sender<Wanted>,
    spec: JobSpec,
}

impl Covering {
    /// Within a runtime.
    pub fn start(purse: Arc<Purse>, job: Extent) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (wanted, inbox) = mpsc::channel(WAITING_MAX);
        let size = (job.samples, job.budget);
        tokio::spawn(serve(purse, Arc::clone(&state), size, inbox));
        Self {
            state,
            wanted,
            spec: job.spec,
        }
    }

    /// What a task costs at least, as its worker counts it too: what it costs besides is in what escrows have to spare.
    fn price(&self, price_megasample: Glm, task: &TaskSpec) -> Glm {
        let samples = task.samples_paid_at_least(&self.spec);
        let price = price_megasample.for_samples(samples);
        price.unwrap_or(Glm::from_wei(u128::MAX))
    }

    /// A worker takes part, with these tasks from before.
    pub fn quoted(&self, worker: NodeId, payee: Address, price_megasample: Glm, held: &[TaskSpec]) {
        self.forget_all(worker);
        let mut state = lock(&self.state);
        state.payees.insert(worker, payee);
        let share = state.shares.entry(payee).or_default();
        share.price_megasample = share.price_megasample.max(price_megasample);
        for task in held {
            let price = self.price(price_megasample, task);
            share.leased.insert((worker, task.id), price);
        }
    }

    /// Waits until the worker's escrow covers these tasks too.
    pub async fn cover(&self, worker: NodeId, tasks: &[TaskSpec]) -> Result<(), String> {
        let payee = {
            let mut state = lock(&self.state);
            let Some(payee) = state.payees.get(&worker).copied() else {
                return Err("a worker without a price".into());
            };
            let share = state.shares.entry(payee).or_default();
            for task in tasks {
                let price = self.price(share.price_megasample, task);
                share.leased.insert((worker, task.id), price);
            }
            payee
        };
        self.cover_account(payee).await
    }

    /// Waits until the escrow of an account covers all that it has to.
    pub async fn cover_account(&self, payee: Address) -> Result<(), String> {
        let share = lock(&self.state).shares.get(&payee).cloned();
        if share.is_some_and(|share| share.is_covered()) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let wanted = Wanted { payee, answer };
        let sent = self.wanted.send(wanted).await;
        sent.map_err(|_| "the escrows are no longer seen to".to_owned())?;
        answered
            .await
            .map_err(|_| "the escrows are no longer seen to".to_owned())?
    }

    /// These will not be paid.
    pub fn forget(&self, worker: NodeId, tasks: &[TaskId]) {
        let mut state = lock(&self.state);
        let Some(payee) = state.payees.get(&worker).copied() else {
            return;
        };
        if let Some(share) = state.shares.get_mut(&payee) {
            for task in tasks {
                share.leased.remove(&(worker, *task));
            }
        }
    }

    /// Nothing of this worker will be paid any more.
    pub fn forget_all(&self, worker: NodeId) {
        for share in lock(&self.state).shares.values_mut() {
            share.leased.retain(|(holder, _), _| *holder != worker);
        }
    }

    /// Who has an escrow, each with its workers.
    pub fn payees(&self) -> BTreeMap<Address, Vec<NodeId>> {
        let state = lock(&self.state);
        let mut payees = BTreeMap::<Address, Vec<NodeId>>::new();
        for (worker, payee) in &state.payees {
            if state
                .shares
                .get(payee)
                .is_some_and(|share| share.deposit.is_some())
            {
                payees.entry(*payee).or_default().push(*worker);
            }
        }
        payees
    }

    /// A task is to be paid.
    pub fn owe(&self, worker: NodeId, payee: Address, task: TaskId, amount: Glm) {
        let mut state = lock(&self.state);
        let share = state.shares.entry(payee).or_default();
        share.leased.remove(&(worker, task));
        share.owed = [share.owed, amount].into_iter().sum();
    }

    /// What is owed to an account for this job, from before too.
    pub fn owe_in_all(&self, payee: Address, total: Glm) {
        let mut state = lock(&self.state);
        let share = state.shares.entry(payee).or_default();
        share.owed = share.owed.max(total);
    }

    /// A voucher has left: `cumulative` in its epoch, `total` for this job.
    pub fn promised(&self, payee: Address, cumulative: Glm, total: Glm) {
        let mut state = lock(&self.state);
        let share = state.shares.entry(payee).or_default();
        share.promised = cumulative;
        share.promised_for_job = share.promised_for_job.max(total);
    }
}

/// Moves money for those who need it, several at once.
async fn serve(
    purse: Arc<Purse>,
    state: Arc<Mutex<State>>,
    size: Size,
    mut inbox: mpsc::Receiver<Wanted>,
) {
    while let Some(first) = inbox.recv().await {
        // Only who has no escrow yet is likely not to be alone.
        let is_new = |share: &Share| share.deposit.is_none();
        if lock(&state).shares.get(&first.payee).is_none_or(is_new) {
            tokio::time::sleep(GATHERING).await;
        }
        let mut waiting = vec![first];
        waiting.extend(std::iter::from_fn(|| inbox.try_recv().ok()).take(WAITING_MAX));
        let payees: std::collections::BTreeSet<_> =
            waiting.iter().map(|wanted| wanted.payee).collect();
        let payees: Vec<Address> = payees.into_iter().collect();
        let (moving, shared) = (Arc::clone(&purse), Arc::clone(&state));
        let moved =
            tokio::task::spawn_blocking(move || move_money(&moving, &shared, size, &payees));
        let moved = moved.await.unwrap_or_else(|e| Err(e.to_string()));
        if let Err(error) = &moved {
            tracing::warn!(error, "work waits for its escrow");
        }
        for wanted in waiting {
            // Who does not wait any more has left.
            let _ = wanted.answer.send(moved.clone());
        }
    }
}

fn move_money(
    purse: &Purse,
    state: &Mutex<State>,
    (samples, budget): Size,
    payees: &[Address],
) -> Result<(), String> {
    let Some(money) = purse.money() else {
        return Ok(());
    };
    for payee in payees {
        let promised = purse.promised(*payee).map_err(|e| e.to_string())?;
        if let Some(share) = lock(state).shares.get_mut(payee) {
            share.promised_for_job = promised;
        }
    }
    let covers: Vec<Cover> = {
        let state = lock(state);
        let workers = state.shares.len().max(1) as u128;
        let cover = |payee: &Address| {
            let share = state.shares.get(payee).cloned().unwrap_or_default();
            let whole = share.price_megasample.for_samples(samples);
            let most = budget.unwrap_or(Glm::from_wei(u128::MAX));
            let fair = whole.unwrap_or_default().min(most).wei() / workers;
            Cover {
                worker: *payee,
                unpromised: share.unpromised(),
                // Twice its share, as some are faster than others: what is left comes back, the fee for an addition does not.
                spare: Glm::from_wei(match share.deposit {
                    None => fair.saturating_mul(2),
                    Some(_) => fair,
                }),
            }
        };
        payees.iter().map(cover).collect()
    };
    let covered = cover(money.ledger.as_ref(), &money.book, &covers);
    let covered = covered.map_err(|e| e.to_string())?;
    let mut state = lock(state);
    for Covered { key, deposit, .. } in covered {
        let share = state.shares.entry(key.worker).or_default();
        share.deposit = Some(deposit);
        let last = money.book.last(key.worker).map_err(|e| e.to_string())?;
        share.promised = last.map_or(Glm::ZERO, |signed| signed.voucher.cumulative);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_may_be_owed_has_to_be_covered() {
        let mut share = Share {
            owed: Glm::from_wei(50),
            promised_for_job: Glm::from_wei(20),
            promised: Glm::from_wei(120),
            ..Share::default()
        };
        assert!(!share.is_covered());
        share
            .leased
            .insert((NodeId([1; 32]), TaskId(1)), Glm::from_wei(7));
        assert_eq!(share.unpromised(), Glm::from_wei(37));
        share.deposit = Some(Glm::from_wei(156));
        assert!(!share.is_covered());
        share.deposit = Some(Glm::from_wei(157));
        assert!(share.is_covered());
        // What was promised for earlier jobs in the same epoch is no part of this one's.
        share.promised_for_job = Glm::from_wei(60);
        assert_eq!(share.unpromised(), Glm::from_wei(7));
    }
}
