//! Workers whose connection breaks, and those that come back.
//!
//! A worker goes on with its leases while it cannot reach the requestor. So they stay its own for a while: when it
//! comes back it names what it still holds, and delivers. Meanwhile its tiles count as late, and idle workers get copies.

use crate::{
    coordinator::Farm,
    event::Effect,
    worker::{Standing, WorkerNumber},
};
use protocol::{TaskId, TaskSpec, limits::TASKS_HELD_MAX};
use std::collections::BTreeSet;

impl Farm {
    /// The connection is gone. Leases wait for the worker if it said that it keeps them.
    pub(crate) fn on_left(&mut self, number: WorkerNumber) {
        let now = self.now;
        let worker = self.worker_mut(number);
        if !matches!(worker.standing, Standing::Preparing | Standing::Ready) {
            return;
        }
        if worker.hold_ms == 0 || worker.leases().next().is_none() {
            return self.leave(number);
        }
        worker.away_since.get_or_insert(now);
        self.stand(number, Standing::Away);
        self.move_to_frame(number, None);
        self.refresh(number);
    }

    /// A worker is gone with its leases; it may come back with another quote.
    pub(crate) fn leave(&mut self, number: WorkerNumber) {
        if !matches!(
            self.worker(number).standing,
            Standing::Preparing | Standing::Ready | Standing::Away
        ) {
            return;
        }
        self.stand(number, Standing::Gone);
        self.lose_leases(number, |_| true, "the connection is gone");
        self.move_to_frame(number, None);
        self.refresh(number);
    }

    fn lose_leases(&mut self, number: WorkerNumber, is_lost: impl Fn(&TaskId) -> bool, why: &str) {
        let lost: BTreeSet<TaskId> = self.worker(number).leases().filter(is_lost).collect();
        let is_our_fault = self.worker(number).was_left_alone;
        for &id in &lost {
            match is_our_fault {
                true => drop(self.release_task(id)),
                false => self.task_lost(number, id, why),
            }
        }
        let worker = self.worker_mut(number);
        if worker.leases().next().is_none() {
            worker.away_since = None;
        }
        if !lost.is_empty() {
            let (worker, tasks) = (worker.id, lost.into_iter().collect());
            self.effects.push(Effect::Cancel { worker, tasks });
        }
    }

    /// Leases do not wait for ever.
    pub(crate) fn check_away(&mut self, number: WorkerNumber) {
        let worker = self.worker(number);
        let away = worker
            .away_since
            .map(|since| self.now.saturating_sub(since));
        if away.is_none_or(|away| away <= worker.patience_ms()) {
            return;
        }
        match worker.standing {
            Standing::Away => self.leave(number),
            _ => self.lose_leases(number, |_| true, "it did not come back in time"),
        }
    }

    /// A worker that quotes again says what it still holds: the rest of its leases is lost, and what we do not know
    /// of it shall drop.
    pub(crate) fn keep_held(&mut self, number: WorkerNumber, held: &[TaskId]) {
        let held: BTreeSet<TaskId> = held.iter().copied().take(TASKS_HELD_MAX).collect();
        self.lose_leases(
            number,
            |id| !held.contains(id),
            "it came back without the lease",
        );
        let is_stray = |id: &TaskId| self.tasks.get(id).is_none_or(|task| task.worker != number);
        let strays: Vec<TaskId> = held.into_iter().filter(is_stray).collect();
        if !strays.is_empty() {
            let worker = self.worker(number).id;
            self.effects.push(Effect::Cancel {
                worker,
                tasks: strays,
            });
        }
    }

    /// It is ready again: it goes on where it was, and what it committed to is asked for again.
    pub(crate) fn come_back(&mut self, number: WorkerNumber) {
        let now = self.now;
        let worker = self.worker_mut(number);
        (worker.away_since, worker.head_since) = (None, now);
        worker.was_left_alone = false;
        let class = worker.class;
        let of_other_class = |id: &TaskId| {
            let task = self.tasks.get(id);
            task.is_some_and(|task| Some(task.class) != class)
        };
        let lost: BTreeSet<TaskId> = self
            .worker(number)
            .leases()
            .filter(of_other_class)
            .collect();
        self.lose_leases(
            number,
            |id| lost.contains(id),
            "it came back with another class",
        );
        for id in self.worker(number).revealing.clone() {
            self.reveal(id);
        }
    }

    /// The requestor's process begins anew, without connections. Leases that nobody holds are nobody's fault lost.
    pub(crate) fn everybody_is_away(&mut self) {
        let now = self.now;
        for number in 0..self.workers.len() as WorkerNumber {
            let worker = self.worker_mut(number);
            if !matches!(
                worker.standing,
                Standing::Preparing | Standing::Ready | Standing::Away
            ) {
                continue;
            }
            let leases: Vec<TaskId> = worker.leases().collect();
            let standing = match worker.hold_ms > 0 && !leases.is_empty() {
                true => Standing::Away,
                false => Standing::Gone,
            };
            worker.away_since = (standing == Standing::Away).then_some(now);
            worker.was_left_alone = true;
            self.stand(number, standing);
            if standing == Standing::Gone {
                leases
                    .into_iter()
                    .for_each(|id| drop(self.release_task(id)));
            }
            self.move_to_frame(number, None);
            self.refresh(number);
        }
    }

    /// Leases given and not delivered.
    pub fn leased_tasks(&self) -> impl Iterator<Item = TaskSpec> {
        let leases = self.workers.iter().flat_map(|worker| worker.leases());
        leases.filter_map(|id| {
            let task = self.tasks.get(&id)?;
            Some(task.extent.spec(id, self.frame_number(task.frame)))
        })
    }
}
