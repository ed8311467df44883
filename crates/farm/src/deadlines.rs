//! What passing time brings: silent and late workers, ends of rests, answers that never came.

use crate::{
    coordinator::Farm,
    event::{Effect, Millis},
    frame::Task,
    limits::{
        HEARTBEAT_TIMEOUT_MS, OWN_RENDER_MS_MAX, PREPARE_TIMEOUT_MS, PROGRESS_MS_MAX,
        PROGRESS_MS_MIN, PROGRESS_SLACK, REVEAL_BYTES_PER_MS_MIN, REVEAL_MS_MIN,
    },
    worker::{Standing, Worker, WorkerNumber},
};
use protocol::{TaskId, pixels::canonical_length};

impl Farm {
    pub(crate) fn on_tick(&mut self) {
        for number in 0..self.workers.len() as WorkerNumber {
            match self.worker(number).standing {
                Standing::Preparing => self.check_preparing(number),
                Standing::Ready => self.check_leases(number),
                Standing::Away => {}
                Standing::Gone | Standing::TooExpensive | Standing::Quarantined => continue,
            }
            self.check_away(number);
        }
        self.learn_typical_speed();
        self.check_own_requests();
        self.elect_class();
        self.check_trials();
        self.count_known();
        self.check_waiting();
        self.check_providers();
        self.check_deadline();
    }

    fn check_providers(&mut self) {
        let alive =
            |worker: &Worker| matches!(worker.standing, Standing::Preparing | Standing::Ready);
        match self.workers.iter().any(alive) {
            true => self.nobody_since = None,
            false => {
                self.nobody_since.get_or_insert(self.now);
            }
        }
    }

    fn check_preparing(&mut self, number: WorkerNumber) {
        let silent = self.now.saturating_sub(self.worker(number).last_heard);
        if silent > PREPARE_TIMEOUT_MS {
            self.leave(number);
        }
    }

    fn check_leases(&mut self, number: WorkerNumber) {
        let now = self.now;
        let worker = self.worker_mut(number);
        if worker.resting_until > 0 && worker.resting_until <= now {
            worker.resting_until = 0;
            self.refresh(number);
        }
        self.check_reveals(number);
        let worker = self.worker(number);
        let Some(&head) = worker.queue.first() else {
            return;
        };
        let silent = now.saturating_sub(worker.last_heard) > HEARTBEAT_TIMEOUT_MS;
        let at_it = now.saturating_sub(worker.head_since);
        let late = at_it > PROGRESS_MS_MIN && at_it > self.time_for(number, head);
        if silent {
            self.take_back(number, worker.queue.clone(), "nothing was heard of it");
        } else if late {
            self.take_back(number, vec![head], "it took too long");
        }
    }

    fn check_reveals(&mut self, number: WorkerNumber) {
        let waited = |task: &Task| {
            let committed = task.committed.as_ref();
            let since = committed.map_or(task.leased_at, |commitment| commitment.since);
            self.now.saturating_sub(since)
        };
        let revealing = &self.worker(number).revealing;
        // They stand in the order asked for: nobody waited longer than the first.
        let first = revealing.first().and_then(|id| self.tasks.get(id));
        if first.is_none_or(|task| waited(task) <= REVEAL_MS_MIN) {
            return;
        }
        let passes = self.config.job.settings.passes.len();
        let is_late = |id: &TaskId| {
            self.tasks.get(id).is_some_and(|task| {
                let bytes = canonical_length(&task.extent.rects, passes);
                let transfer = bytes / REVEAL_BYTES_PER_MS_MIN;
                waited(task) > REVEAL_MS_MIN + transfer && !task.is_parked
            })
        };
        let late: Vec<TaskId> = revealing.iter().copied().filter(is_late).collect();
        if !late.is_empty() {
            self.take_back(number, late, "it committed and did not deliver");
        }
    }

    /// Time for a task once its worker has begun with it.
    fn time_for(&self, number: WorkerNumber, id: TaskId) -> Millis {
        let task = self.tasks.get(&id);
        task.map_or(0, |task| self.task_ms(number, task))
            .saturating_mul(PROGRESS_SLACK)
            .clamp(PROGRESS_MS_MIN, PROGRESS_MS_MAX)
    }

    fn take_back(&mut self, number: WorkerNumber, tasks: Vec<TaskId>, reason: &str) {
        let worker = self.worker(number).id;
        let leases = tasks.iter().filter_map(|id| self.tasks.get(id));
        let begun = leases.map(|task| task.leased_at).min();
        for &id in &tasks {
            self.task_lost(number, id, reason);
        }
        self.effects.push(Effect::Cancel { worker, tasks });
        self.rest(number, begun.unwrap_or(self.now));
    }

    /// A heartbeat names what a worker holds. What it should not hold it is told to drop; what it should and does not
    /// name long after the lease never reached it.
    pub(crate) fn on_heartbeat(&mut self, number: WorkerNumber, named: &[TaskId]) {
        let strays: Vec<TaskId> = named
            .iter()
            .take(protocol::limits::LEASE_TASKS_MAX)
            .copied()
            .filter(|id| self.tasks.get(id).is_none_or(|task| task.worker != number))
            .collect();
        let worker = self.worker(number);
        if !strays.is_empty() {
            let worker = worker.id;
            let tasks = strays;
            self.effects.push(Effect::Cancel { worker, tasks });
        }
        let worker = self.worker(number);
        if worker.standing != Standing::Ready {
            return;
        }
        let missing = |id: &TaskId| {
            !named.contains(id)
                && self.tasks.get(id).is_some_and(|task| {
                    self.now.saturating_sub(task.leased_at) > HEARTBEAT_TIMEOUT_MS
                })
        };
        let missing: Vec<TaskId> = worker.queue.iter().copied().filter(missing).collect();
        if !missing.is_empty() {
            self.take_back(number, missing, "it does not know of the lease");
        }
    }

    fn check_own_requests(&mut self) {
        let late: Vec<u64> = self
            .own_requests
            .iter()
            .filter(|(_, request)| self.now.saturating_sub(request.asked_at) > OWN_RENDER_MS_MAX)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.on_own_rendered(id, Err("no answer in time".into()));
        }
    }
}
