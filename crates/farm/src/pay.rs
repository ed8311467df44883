//! Accepted, rejected, held back, paid: what becomes of a task's price.
//!
//! The last accepted tasks of a worker stay unpaid until as many tiles as its trust level says were accepted after them,
//! or the job ends. A cheat that is caught loses them: so one fake costs more than it can save.

use crate::{
    coordinator::Farm,
    event::Effect,
    worker::{Held, WorkerNumber},
};
use protocol::{Glm, TaskId};

impl Farm {
    /// A task is right: its price is owed.
    pub(crate) fn accept_task(
        &mut self,
        number: WorkerNumber,
        task: TaskId,
        amount: Glm,
        is_tile: bool,
    ) {
        self.ledger.pay(amount);
        if !is_tile {
            self.checks.spent = self
                .checks
                .spent
                .checked_add(amount)
                .unwrap_or(self.checks.spent);
        }
        let worker = self.worker_mut(number);
        worker.earned = worker.earned.checked_add(amount).unwrap_or(worker.earned);
        worker.succeed();
        worker.held_tiles += usize::from(is_tile);
        worker.held.push_back(Held {
            task,
            amount,
            is_tile,
        });
        let (worker, keep) = (worker.id, worker.trust.policy().held_tiles);
        self.effects.push(Effect::Accept {
            worker,
            task,
            amount,
        });
        self.pay_held(number, keep);
        self.refresh(number);
    }

    /// Pays the oldest accepted tasks of a worker until only so many tiles are held back, and what was accepted since.
    pub(crate) fn pay_held(&mut self, number: WorkerNumber, keep: usize) {
        loop {
            let worker = self.worker_mut(number);
            if keep > 0 && worker.held_tiles <= keep {
                return;
            }
            let Some(held) = worker.held.pop_front() else {
                return;
            };
            worker.held_tiles -= usize::from(held.is_tile);
            let (worker, payee) = (worker.id, worker.payee);
            self.effects.push(Effect::Pay {
                worker,
                payee,
                task: held.task,
                amount: held.amount,
            });
        }
    }

    /// The job ends: who was not caught is paid for all that was accepted.
    pub(crate) fn pay_all_held(&mut self) {
        for number in 0..self.workers.len() as WorkerNumber {
            self.pay_held(number, 0);
        }
    }

    /// A cheat gets nothing more.
    pub(crate) fn forfeit(&mut self, number: WorkerNumber) {
        let worker = self.worker_mut(number);
        worker.held_tiles = 0;
        let held = std::mem::take(&mut worker.held);
        let amounts = held.iter().map(|held| held.amount);
        let sum = amounts.fold(Glm::ZERO, |sum, amount| {
            sum.checked_add(amount).unwrap_or(sum)
        });
        worker.earned = worker.earned.checked_sub(sum).unwrap_or_default();
        worker.forfeited = sum;
        self.ledger.take_back(sum);
    }

    pub(crate) fn reject_task(&mut self, number: WorkerNumber, task: TaskId, reason: String) {
        let worker = self.worker_mut(number);
        worker.tasks_rejected += 1;
        let worker = worker.id;
        self.effects.push(Effect::Reject {
            worker,
            task,
            reason,
        });
    }
}
