//! What a person sees of a job: counters for a progress bar, a row a worker for the closing table.

use crate::{
    coordinator::{Farm, FarmConfig},
    event::{FaultKind, Millis, Trust},
    worker::{Standing, Worker},
};
use protocol::{Address, Blake3Hash, Glm, NodeId};
use serde::{Deserialize, Serialize};

/// Checks made so far, and what they found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Pairs of neighbouring tiles compared.
    pub overlaps: u64,
    /// Of these, pairs that disagreed.
    pub overlap_mismatches: u64,
    /// Parts of tiles' probes that a worker rendered.
    pub probes: u64,
    /// Parts of tiles' probes that the requestor's own engine rendered.
    pub own_probes: u64,
    /// Whole tiles that were rendered twice.
    pub replicas: u64,
    /// Whole tiles that were to be rendered twice, which nobody was there to do.
    pub replicas_left_out: u64,
    /// Of all these, how many disagreed.
    pub probe_mismatches: u64,
    /// Tiles that had the pink of missing textures.
    pub pink_tiles: u64,
    /// Tiles of own workers accepted without the probes they were due, because nobody else was there.
    pub unprobed_tiles: u64,
    /// Pixels of tiles that were delivered, without their overlap.
    pub tile_pixels: u64,
    /// Pixels of overlaps that were delivered with them.
    pub overlap_pixels: u64,
    /// Pixels of probes and opinions that workers rendered.
    pub probe_pixels: u64,
    /// Pixels of replicas.
    pub replica_pixels: u64,
    /// Pixels that the requestor's own engine rendered.
    pub own_pixels: u64,
    /// What workers are owed for probes, replicas and opinions.
    pub spent: Glm,
    /// Disputes decided.
    pub arbitrations: u64,
    /// Tiles of other classes that the requestor's own engine judged by their noise.
    pub judged: u64,
    /// Of these, those about which it decided nothing.
    pub undecided: u64,
    /// Finished frames taken up again because a worker in them was caught.
    pub frames_reopened: u64,
}

/// Late tiles that were given to a second worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// How many.
    pub leased: u64,
    /// Of these, accepted from the second.
    pub won: u64,
}

/// What a worker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It fetches and loads the scene.
    Preparing,
    /// It renders.
    Working,
    /// It waits for work.
    Idle,
    /// It failed and is left alone for a while.
    Resting,
    /// Its bits differ from those of the job's determinism class: it gets no work.
    OtherClass,
    /// Its price is over the limit.
    TooExpensive,
    /// Its connection broke; it holds leases that it may come back with.
    Away,
    /// It is gone.
    Left,
    /// It was caught.
    Quarantined,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Who.
    pub worker: NodeId,
    /// Where its money goes.
    pub payee: Address,
    /// What it does.
    pub state: WorkerState,
    /// Tiles of it that were accepted.
    pub tiles_accepted: u64,
    /// Tiles of it that somebody else checked and found right.
    pub tiles_checked: u64,
    /// Its trust level in this job.
    pub trust: Trust,
    /// Tasks of it that were rejected.
    pub tasks_rejected: u64,
    /// What it is owed.
    pub earned: Glm,
    /// Of this, what is held back until more of its tiles are accepted.
    pub held: Glm,
    /// What it lost when it was caught.
    pub forfeited: Glm,
    /// Isolated wrong cells that it was found to have delivered.
    pub flaky: u32,
    /// The worst that it was caught at.
    pub fault: Option<FaultKind>,
    /// The frame it renders, if it does.
    pub frame: Option<i32>,
    /// Its time for a million samples, measured.
    pub megasample_ms: u32,
}

/// A job at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Frames of the job.
    pub frames_total: u64,
    /// Frames written.
    pub frames_done: u64,
    /// Frames given up.
    pub frames_failed: u64,
    /// Tiles of the job.
    pub tiles_total: u64,
    /// Tiles accepted.
    pub tiles_accepted: u64,
    /// What all workers are owed together.
    pub spent: Glm,
    /// Of this, what is held back until more tiles are accepted.
    pub held: Glm,
    /// Samples still to be rendered and accepted.
    pub samples_left: u64,
    /// Samples a second of all workers that work or could: for the time left.
    pub samples_per_second: u64,
    /// Tiles whose probes wait for somebody to render them.
    pub probes_waiting: u64,
    /// The checks.
    pub checks: Checks,
    /// Late tiles.
    pub copies: Copies,
    /// All workers ever seen, in the order they came.
    pub workers: Vec<WorkerRow>,
}

impl Farm {
    /// What the job is.
    pub fn config(&self) -> &FarmConfig {
        &self.config
    }

    /// Frames that are written, in the user's order.
    pub fn frames_done(&self) -> impl Iterator<Item = i32> {
        self.sealed.keys().map(|frame| self.frame_number(*frame))
    }

    /// Frames that were given up, in the user's order.
    pub fn frames_failed(&self) -> impl Iterator<Item = i32> {
        self.failed.keys().map(|frame| self.frame_number(*frame))
    }

    /// Does a tile or a frame need this blob?
    pub fn needs_blob(&self, root: &Blake3Hash) -> bool {
        self.blobs.contains_key(root)
    }

    /// Blobs that tiles and frames still need.
    pub fn blobs(&self) -> Vec<Blake3Hash> {
        let blobs = self.blobs.sorted();
        blobs.into_iter().map(|(root, _)| root).collect()
    }

    /// The time of the last event.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The job at this moment.
    pub fn progress(&self) -> Progress {
        let frames_total = self.config.frames.len() as u64;
        let speed = |worker: &Worker| 1_000_000_000 / u64::from(worker.megasample_ms.max(1));
        let at_work = |worker: &&Worker| {
            matches!(
                self.worker_state(worker),
                WorkerState::Working | WorkerState::Idle
            )
        };
        let workers: Vec<WorkerRow> = self.workers.iter().map(|worker| self.row(worker)).collect();
        Progress {
            frames_total,
            frames_done: self.sealed.len() as u64,
            frames_failed: self.failed.len() as u64,
            tiles_total: frames_total * u64::from(self.config.grid.tile_count()),
            tiles_accepted: self.tiles_accepted,
            spent: self.ledger.spent(),
            samples_left: self.remaining_samples(),
            samples_per_second: self.workers.iter().filter(at_work).map(speed).sum(),
            probes_waiting: self.probes_wanted.len() as u64,
            checks: self.checks,
            copies: self.copies,
            held: workers
                .iter()
                .fold(Glm::ZERO, |sum, row| add(sum, row.held)),
            workers,
        }
    }

    fn row(&self, worker: &Worker) -> WorkerRow {
        let state = self.worker_state(worker);
        WorkerRow {
            worker: worker.id,
            payee: worker.payee,
            state,
            tiles_accepted: worker.tiles_accepted,
            tiles_checked: worker.tiles_checked,
            trust: worker.trust,
            tasks_rejected: worker.tasks_rejected,
            earned: worker.earned,
            held: (worker.held.iter()).fold(Glm::ZERO, |sum, held| add(sum, held.amount)),
            forfeited: worker.forfeited,
            flaky: worker.flaky,
            fault: worker
                .fault
                .or((worker.flaky > 0).then_some(FaultKind::Flaky)),
            frame: worker
                .frame
                .filter(|_| state == WorkerState::Working)
                .map(|frame| self.frame_number(frame)),
            megasample_ms: worker.megasample_ms,
        }
    }

    fn worker_state(&self, worker: &Worker) -> WorkerState {
        match worker.standing {
            Standing::Preparing => WorkerState::Preparing,
            Standing::Away => WorkerState::Away,
            Standing::Gone => WorkerState::Left,
            Standing::TooExpensive => WorkerState::TooExpensive,
            Standing::Quarantined => WorkerState::Quarantined,
            Standing::Ready if !worker.queue.is_empty() => WorkerState::Working,
            Standing::Ready
                if self.class.is_some()
                    && !worker.class.is_some_and(|class| self.is_at_work(&class)) =>
            {
                WorkerState::OtherClass
            }
            Standing::Ready if worker.resting_until > self.now => WorkerState::Resting,
            Standing::Ready => WorkerState::Idle,
        }
    }
}

/// Amounts that were added before stay far from the end of their type.
fn add(sum: Glm, amount: Glm) -> Glm {
    sum.checked_add(amount).unwrap_or(sum)
}

impl WorkerRow {
    /// What its vouchers promise, or are about to.
    pub fn paid(&self) -> Glm {
        self.earned.checked_sub(self.held).unwrap_or_default()
    }
}

impl Checks {
    /// What was rendered besides the tiles, over the tiles: the price of checking.
    pub fn overhead(&self) -> f64 {
        let extra = self.overlap_pixels + self.probe_pixels + self.replica_pixels + self.own_pixels;
        extra as f64 / self.tile_pixels.max(1) as f64
    }
}
