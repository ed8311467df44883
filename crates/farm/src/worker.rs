//! What the coordinator remembers of one provider: standing, leases, failures, earnings.

use crate::{
    event::{FaultKind, Millis, Trust},
    frame::TileRef,
    limits::{AWAY_MS_MAX, FORGIVE_MS, REST_MS_MAX, REST_MS_MIN},
};
use protocol::{Address, Blake3Hash, Glm, NodeId, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// Position of a worker in the coordinator's list: four bytes where a node id takes 32.
pub(crate) type WorkerNumber = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    Preparing,
    Ready,
    /// The connection is gone; it holds leases that it may come back with.
    Away,
    Gone,
    TooExpensive,
    Quarantined,
}

/// Under which of those who want work a worker is filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filed {
    Nowhere,
    Idle,
    HalfIdle,
    /// A newcomer that would work, while newcomers have their share.
    Newcomer,
}

/// An accepted task that is not paid yet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Held {
    pub task: TaskId,
    pub amount: Glm,
    pub is_tile: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub id: NodeId,
    pub trust: Trust,
    pub payee: Address,
    pub price_megasample: Glm,
    pub standing: Standing,
    pub filed: Filed,
    pub class: Option<Blake3Hash>,
    pub megasample_ms: u32,
    /// What a task costs it besides its samples, once that is known; where probes are squares, each rectangle of one.
    pub overhead_ms: Option<u32>,
    /// Tasks that its queue was last filled to.
    pub run: usize,
    /// How long it keeps leases and results while the connection is broken.
    pub hold_ms: Millis,
    /// Since when its leases wait for it to come back.
    pub away_since: Option<Millis>,
    /// Was it the requestor that went, and for nobody knows how long?
    pub was_left_alone: bool,
    /// Leases not yet committed to, in the order sent: it renders the first.
    pub queue: Vec<TaskId>,
    /// Leases committed to whose pixels are on the way.
    pub revealing: Vec<TaskId>,
    /// Tiles delivered and not decided.
    pub unverified: BTreeSet<TileRef>,
    /// The frame it rendered last: the scene at this time is loaded there.
    pub frame: Option<u32>,
    /// Since when it renders the first of its queue.
    pub head_since: Millis,
    pub last_heard: Millis,
    pub failures: u32,
    pub last_failure: Millis,
    pub resting_until: Millis,
    pub tiles_accepted: u64,
    /// Tiles that passed the check of another worker or the own engine.
    pub tiles_checked: u64,
    pub tasks_rejected: u64,
    /// What it is owed, paid or held back.
    pub earned: Glm,
    /// Accepted and not paid yet, the oldest first.
    pub held: VecDeque<Held>,
    /// Tiles among them.
    pub held_tiles: usize,
    /// What it lost when it was caught.
    pub forfeited: Glm,
    /// Isolated wrong cells that it was found to have delivered.
    pub flaky: u32,
    /// Cells on which others agreed with it, in its tiles and as a prober.
    pub agreed_cells: u64,
    /// Tiles of it about which the noise decided nothing.
    pub undecided: u32,
    /// Whom it contradicted in its class, where the own engine is of another.
    pub contradicts: BTreeSet<WorkerNumber>,
    /// What it was quarantined for.
    pub fault: Option<FaultKind>,
    /// Finished frames with tiles or probes of it, to be checked again if it is caught; one may stand here twice.
    pub sealed: Vec<u32>,
}

impl Worker {
    pub(crate) fn new(
        id: NodeId,
        trust: Trust,
        payee: Address,
        price_megasample: Glm,
        now: Millis,
    ) -> Self {
        Self {
            id,
            trust,
            payee,
            price_megasample,
            standing: Standing::Preparing,
            filed: Filed::Nowhere,
            class: None,
            megasample_ms: 0,
            overhead_ms: None,
            run: 1,
            hold_ms: 0,
            away_since: None,
            was_left_alone: false,
            queue: Vec::new(),
            revealing: Vec::new(),
            unverified: BTreeSet::new(),
            frame: None,
            head_since: now,
            last_heard: now,
            failures: 0,
            last_failure: 0,
            resting_until: 0,
            tiles_accepted: 0,
            tiles_checked: 0,
            tasks_rejected: 0,
            earned: Glm::ZERO,
            held: VecDeque::new(),
            held_tiles: 0,
            forfeited: Glm::ZERO,
            flaky: 0,
            agreed_cells: 0,
            undecided: 0,
            contradicts: BTreeSet::new(),
            fault: None,
            sealed: Vec::new(),
        }
    }

    pub(crate) fn remember_sealed(&mut self, frame: u32) {
        if self.sealed.last() != Some(&frame) {
            self.sealed.push(frame);
        }
    }

    /// Price of `pixels` at `samples` a pixel, rounded down; none when it is beyond any amount.
    pub(crate) fn price(&self, pixels: u64, samples: u32) -> Option<Glm> {
        let samples = u128::from(pixels) * u128::from(samples);
        self.price_megasample.for_samples(samples)
    }

    /// Leases in its queue and those whose pixels are on the way.
    pub(crate) fn leases(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.queue.iter().chain(&self.revealing).copied()
    }

    /// How long its leases wait for it to come back.
    pub(crate) fn patience_ms(&self) -> Millis {
        self.hold_ms.min(AWAY_MS_MAX)
    }

    /// Time its own speed predicts for `pixels` at `samples` a pixel, when it has to turn to something so often.
    pub(crate) fn expected_ms(&self, pixels: u64, samples: u32, turns: u64) -> Millis {
        let overhead = u64::from(self.overhead_ms.unwrap_or(0));
        self.samples_ms(pixels, samples)
            .saturating_add(overhead.saturating_mul(turns))
    }

    fn samples_ms(&self, pixels: u64, samples: u32) -> Millis {
        let samples = u128::from(pixels) * u128::from(samples);
        u64::try_from(samples * u128::from(self.megasample_ms) / 1_000_000).unwrap_or(u64::MAX)
    }

    /// Learns its speed from a finished tile: three parts old, one part new. For the schedule, never for pay.
    pub(crate) fn learn_speed(&mut self, pixels: u64, samples: u32, took_ms: Millis) {
        let samples = (u128::from(pixels) * u128::from(samples)).max(1);
        let rendering = took_ms.saturating_sub(u64::from(self.overhead_ms.unwrap_or(0)));
        let measured = u128::from(rendering) * 1_000_000 / samples;
        let mixed = (u128::from(self.megasample_ms) * 3 + measured) / 4;
        self.megasample_ms = u32::try_from(mixed).unwrap_or(u32::MAX);
    }

    /// Learns from a finished probe, which has next to no samples, what it costs it to turn to anything.
    pub(crate) fn learn_overhead(
        &mut self,
        pixels: u64,
        samples: u32,
        turns: u64,
        took_ms: Millis,
    ) {
        let measured = took_ms.saturating_sub(self.samples_ms(pixels, samples)) / turns.max(1);
        let mixed = match self.overhead_ms {
            Some(known) => (u64::from(known) * 3).saturating_add(measured) / 4,
            None => measured,
        };
        self.overhead_ms = Some(u32::try_from(mixed).unwrap_or(u32::MAX));
    }

    /// Counts a failure and rests: a second, doubling with each failure that follows, up to five minutes.
    /// `begun` is when it took up what failed: work that fails late is no time without a failure.
    pub(crate) fn fail(&mut self, begun: Millis, now: Millis) {
        if begun.saturating_sub(self.last_failure) > FORGIVE_MS {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = now;
        let doublings = (self.failures - 1).min(20);
        self.resting_until = now.saturating_add((REST_MS_MIN << doublings).min(REST_MS_MAX));
    }

    /// A success forgives all failures before it.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
        self.resting_until = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> Worker {
        Worker::new(
            NodeId([1; 32]),
            Trust::Unknown,
            Address([1; 20]),
            Glm::from_glm(1),
            0,
        )
    }

    #[test]
    fn rests_double_up_to_five_minutes_and_are_forgiven() {
        let mut worker = worker();
        for expected in [1_000, 2_000, 4_000, 8_000] {
            worker.fail(0, 0);
            assert_eq!(worker.resting_until, expected);
        }
        for _ in 0..40 {
            worker.fail(0, 0);
        }
        assert_eq!(worker.resting_until, REST_MS_MAX);
        worker.fail(FORGIVE_MS, FORGIVE_MS + 1);
        assert_eq!(worker.resting_until, FORGIVE_MS + 1 + REST_MS_MAX);
        worker.succeed();
        worker.fail(2 * FORGIVE_MS + 2, 2 * FORGIVE_MS + 2);
        assert_eq!(worker.resting_until, 2 * FORGIVE_MS + 2 + REST_MS_MIN);
        worker.succeed();
        assert_eq!((worker.failures, worker.resting_until), (0, 0));
    }

    #[test]
    fn prices_and_times_follow_pixels_and_samples() {
        let mut worker = worker();
        assert_eq!(worker.price(250_000, 8), Some(Glm::from_glm(2)));
        worker.megasample_ms = 500;
        assert_eq!(worker.expected_ms(250_000, 8, 1), 1_000);
        worker.learn_speed(250_000, 8, 5_000);
        assert_eq!(worker.megasample_ms, 1_000);
        worker.learn_overhead(64, 8, 3, 1_200);
        assert_eq!(worker.expected_ms(250_000, 8, 1), 2_400);
        worker.learn_speed(250_000, 8, 2_400);
        assert_eq!(worker.expected_ms(250_000, 8, 1), 2_400);
        assert_eq!(worker.expected_ms(250_000, 8, 6), 4_400);
        worker.megasample_ms = u32::MAX;
        assert_eq!(worker.expected_ms(u64::MAX, u32::MAX, u64::MAX), u64::MAX);
        worker.price_megasample = Glm::from_wei(u128::MAX);
        assert_eq!(worker.price(u64::MAX, 2), None);
    }
}
