//! Which determinism class the job uses: only workers of one class give bits that can be compared.
//!
//! The first worker of the user's own settles it; without one, what most strangers have after a short while. When
//! nobody of the class is left another takes over: tiles accepted so far stay, undecided ones are given up.

use crate::{
    coordinator::Farm,
    event::Trust,
    limits::{CLASS_SETTLE_MS, CLASS_WAIT_MS},
    worker::{Standing, WorkerNumber},
};
use protocol::Blake3Hash;
use std::collections::BTreeMap;

impl Farm {
    pub(crate) fn elect_class(&mut self) {
        let current = self.class;
        if current.is_some_and(|class| self.ready.contains_key(&class)) {
            self.classless_since = None;
            return;
        }
        if self.class.is_some() {
            let since = *self.classless_since.get_or_insert(self.now);
            if self.now.saturating_sub(since) < CLASS_WAIT_MS {
                return;
            }
        }
        let settled = self
            .first_ready_at
            .is_some_and(|at| self.now.saturating_sub(at) >= CLASS_SETTLE_MS);
        if let Some(class) = self.candidate_class(settled) {
            if self.class.is_some() {
                self.give_up_undecided();
            }
            self.class = Some(class);
            self.classless_since = None;
            for number in 0..self.workers.len() as WorkerNumber {
                self.refresh(number);
            }
        }
    }

    /// The class of the first own worker, else (once settled) of most workers, of equals the one that was first.
    fn candidate_class(&self, settled: bool) -> Option<Blake3Hash> {
        let mut votes: BTreeMap<Blake3Hash, (usize, usize)> = BTreeMap::new();
        for (order, worker) in self.workers.iter().enumerate() {
            if worker.standing != Standing::Ready {
                continue;
            }
            let Some(class) = worker.class else { continue };
            if worker.trust == Trust::Own {
                return Some(class);
            }
            votes.entry(class).or_insert((0, order)).0 += 1;
        }
        votes
            .into_iter()
            .filter(|_| settled)
            .max_by_key(|(_, (count, order))| (*count, std::cmp::Reverse(*order)))
            .map(|(class, _)| class)
    }
}
