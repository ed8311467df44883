//! How much a worker is given at once, and how long it will take.
//!
//! A queue is filled to a stated time of work, so that a slow connection is never waited for; less when the work that
//! is left, divided among all, is less (guided self-scheduling: each takes a half of its share of the rest).

use crate::{
    coordinator::Farm,
    event::{LeaseReason, Millis, RunLimit},
    frame::{Extent, Purpose, Task},
    limits::{
        DEADLINE_MARGIN_MS, LEASES_PER_WORKER, PROBE_WAIT_MS, REVEALING_MAX, RUN_MS, RUN_TASKS_MAX,
        UNVERIFIED_TILES_MAX,
    },
    worker::{Standing, Worker, WorkerNumber},
};
use protocol::TaskId;
use verifier::ProbeShape;

/// A worker that needs so many times a typical worker's time for a tile is no prober while it renders one.
const SLOW: u64 = 3;

impl Farm {
    /// How many tasks this worker's queue is to be filled to, and why.
    pub(crate) fn run(&self, number: WorkerNumber) -> (usize, LeaseReason) {
        let task_ms = self.tile_ms(self.worker(number));
        let by_time = usize::try_from(RUN_MS / task_ms.max(1)).unwrap_or(RUN_TASKS_MAX);
        let (run, limit) = match by_time {
            0..=LEASES_PER_WORKER => (LEASES_PER_WORKER, RunLimit::Least),
            _ => self.shared_run(by_time, 2 * self.worker(number).run),
        };
        let tasks = run as u32;
        let reason = LeaseReason::Run {
            tasks,
            task_ms,
            limit,
        };
        (run, reason)
    }

    fn shared_run(&self, by_time: usize, by_record: usize) -> (usize, RunLimit) {
        let unbegun = self.config.frames.len() as u64 - u64::from(self.next_frame);
        let unbegun = unbegun.saturating_mul(u64::from(self.config.grid.tile_count()));
        let waiting = self.pending_tiles.saturating_add(unbegun);
        let workers = self.class.and_then(|class| self.ready.get(&class));
        let workers = workers.map_or(1, |ready| ready.len()) as u64;
        let workers = workers.max(self.workers_coming).max(1);
        let share = usize::try_from(waiting / (2 * workers)).unwrap_or(RUN_TASKS_MAX);
        let limits = [
            (by_time, RunLimit::Time),
            (share, RunLimit::Share),
            (by_record, RunLimit::Record),
            (RUN_TASKS_MAX, RunLimit::Most),
        ];
        let shortest = limits.into_iter().min_by_key(|(run, _)| *run);
        match shortest {
            Some((run, limit)) if run > LEASES_PER_WORKER => (run, limit),
            _ => (LEASES_PER_WORKER, RunLimit::Least),
        }
    }

    /// Most of a worker's tasks whose pixels may be on the way.
    pub(crate) fn revealing_max(&self, number: WorkerNumber) -> usize {
        REVEALING_MAX.max(2 * self.worker(number).run)
    }

    /// Do so many tiles of a worker wait for their pixels or their checks that it gets no more?
    pub(crate) fn has_too_much_undecided(&self, number: WorkerNumber) -> bool {
        let worker = self.worker(number);
        let most = UNVERIFIED_TILES_MAX.max(2 * worker.run);
        worker.unverified.len() + worker.revealing.len() >= most
    }

    pub(crate) fn tile_ms(&self, worker: &Worker) -> Millis {
        let pixels = self.config.grid.rendered(0).area();
        worker.expected_ms(pixels, self.tile_samples(0), 1)
    }

    /// Time that a worker is expected to take for a task.
    pub(crate) fn task_ms(&self, number: WorkerNumber, task: &Task) -> Millis {
        let samples = self.samples_in(&task.extent);
        let turns = self.turns(&task.extent);
        self.worker(number).expected_ms(task.pixels, samples, turns)
    }

    /// How often a worker turns to something in a task: to each rectangle, where they have a price each.
    pub(crate) fn turns(&self, extent: &Extent) -> u64 {
        match self.config.probes {
            ProbeShape::Pixels => 1,
            ProbeShape::Squares { .. } => extent.rects.len() as u64,
        }
    }

    /// How much longer the head of a worker's queue will take. A task that is over its time will take as much again as
    /// it is late by.
    pub(crate) fn head_ms(&self, number: WorkerNumber) -> Millis {
        let worker = self.worker(number);
        let head = worker.queue.first().and_then(|id| self.tasks.get(id));
        let Some(task) = head else { return 0 };
        let at_it = self.now.saturating_sub(worker.head_since);
        self.task_ms(number, task).abs_diff(at_it)
    }

    /// Has a worker had the head of its queue for much longer than it should take?
    pub(crate) fn is_overdue(&self, number: WorkerNumber) -> bool {
        let worker = self.worker(number);
        let head = worker.queue.first().and_then(|id| self.tasks.get(id));
        head.is_some_and(|task| {
            let expected = self.task_ms(number, task);
            let at_it = self.now.saturating_sub(worker.head_since);
            at_it > PROBE_WAIT_MS.saturating_add(expected + expected / 2)
        })
    }

    /// The tasks in a worker's queue with the time until each will be done.
    pub(crate) fn queue_ms(
        &self,
        number: WorkerNumber,
    ) -> impl Iterator<Item = (TaskId, &Task, Millis)> {
        let queue = self.worker(number).queue.iter();
        let tasks = queue.filter_map(|id| Some((*id, self.tasks.get(id)?)));
        tasks
            .enumerate()
            .scan(0, move |until: &mut Millis, (index, (id, task))| {
                let takes = match index {
                    0 => self.head_ms(number),
                    _ => self.task_ms(number, task),
                };
                *until = until.saturating_add(takes);
                Some((id, task, *until))
            })
    }

    /// Would a tile that is given to this worker now be done after the deadline?
    pub(crate) fn is_too_late(
        &self,
        number: WorkerNumber,
        purpose: Purpose,
        extent: &Extent,
    ) -> bool {
        let (Some(deadline), Purpose::Tile(_)) = (self.config.deadline, purpose) else {
            return false;
        };
        let queued = self.queue_ms(number).last();
        let queued = queued.map_or(0, |(_, _, until)| until);
        let done = self.now + DEADLINE_MARGIN_MS;
        let done = done.saturating_add(queued);
        let (pixels, samples) = (extent.pixel_count(), self.samples_in(extent));
        let takes = self.worker(number).expected_ms(pixels, samples, 1);
        done.saturating_add(takes) > deadline
    }

    /// Probes and opinions younger than this are not for this worker, because it would not come to them soon.
    pub(crate) fn probes_from_age(&self, number: WorkerNumber) -> Millis {
        let wait = self.head_ms(number);
        match wait > PROBE_WAIT_MS && self.is_slow(self.worker(number)) {
            true => wait,
            false => 0,
        }
    }

    pub(crate) fn is_slow(&self, worker: &Worker) -> bool {
        let typical = u64::from(self.typical_megasample_ms).max(1);
        u64::from(worker.megasample_ms) > SLOW * typical
    }

    /// The speed of a typical worker: the average of those that are ready. And how many those will be soon.
    pub(crate) fn learn_typical_speed(&mut self) {
        let preparing = |worker: &&Worker| worker.standing == Standing::Preparing;
        let preparing = self.workers.iter().filter(preparing).count() as u64;
        let ready = |worker: &&Worker| worker.standing == Standing::Ready;
        let speed = |worker: &Worker| 1_000_000_000 / u64::from(worker.megasample_ms.max(1));
        let (count, sum) = self
            .workers
            .iter()
            .filter(ready)
            .fold((0, 0), |(count, sum), worker| {
                (count + 1, sum + speed(worker))
            });
        let typical = 1_000_000_000 * count / sum.max(1);
        self.typical_megasample_ms = u32::try_from(typical).unwrap_or(u32::MAX);
        self.workers_coming = count + preparing;
    }
}
