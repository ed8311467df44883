//! Newcomers: what keys that nobody knows may have of a job.

use crate::{
    coordinator::Farm,
    event::Trust,
    limits::{KNOWN_WORKERS_MIN, NEWCOMER_TILES_ONE_OF},
    worker::{Worker, WorkerNumber},
};
use protocol::Blake3Hash;

impl Farm {
    /// Newcomers share a part of the tiles where enough known workers are there: a flood of new keys cannot take a job over.
    pub(crate) fn may_have_tiles(&self, worker: &Worker) -> bool {
        let share = (self.newcomer_tiles + 1) * NEWCOMER_TILES_ONE_OF;
        worker.trust != Trust::Unknown
            || self.known_ready < KNOWN_WORKERS_MIN
            || share <= self.tiles_leased + NEWCOMER_TILES_ONE_OF
    }

    pub(crate) fn count_leased(&mut self, number: WorkerNumber) {
        self.tiles_leased += 1;
        self.newcomer_tiles += u64::from(self.worker(number).trust == Trust::Unknown);
        self.refresh(number);
        if let Some(&first) = self.newcomers.first() {
            self.refresh(first);
        }
    }

    /// Counts known workers; newcomers that have no share to keep to go to work.
    pub(crate) fn count_known(&mut self) {
        let is_known = |number: &WorkerNumber| {
            matches!(
                self.worker(*number).trust,
                Trust::Probation | Trust::Trusted
            )
        };
        let class = self.class.unwrap_or(Blake3Hash([0; 32]));
        let before = self.known_ready;
        self.known_ready = self.ready_in(&class).filter(is_known).count();
        let is_free = self.known_ready < KNOWN_WORKERS_MIN;
        let crossed = (before < KNOWN_WORKERS_MIN) != is_free;
        let waiting: Vec<WorkerNumber> = match (crossed, is_free) {
            (false, _) => Vec::new(),
            (true, true) => self.newcomers.iter().copied().collect(),
            (true, false) => self.idle.union(&self.half_idle).copied().collect(),
        };
        waiting.into_iter().for_each(|number| self.refresh(number));
    }

    /// Is it known, or has it delivered a right tile in this job?
    pub(crate) fn is_proven(&self, number: WorkerNumber) -> bool {
        let worker = self.worker(number);
        worker.trust != Trust::Unknown || worker.tiles_accepted > 0
    }
}
