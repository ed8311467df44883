//! What goes wrong: crashes, stalls, partitions and full disks of workers, a full disk and a sleep of the requestor.

use super::{
    network::{Happening, WorkerIndex},
    scenario::{Crashes, Failure},
    worker::Strategy,
    world::World,
};
use farm::event::Millis;

/// Failures that come to single workers at single moments.
const OF_WORKERS: [Failure; 4] = [
    Failure::Crash,
    Failure::Stall,
    Failure::Partition,
    Failure::FullDisk,
];
/// The same for the requestor.
const OF_REQUESTOR: [Failure; 2] = [Failure::RequestorDisk, Failure::Suspend];
/// The requestor notices within this time that a connection is gone.
const NOTICE_MS: Millis = 10_000;
/// A computer that sleeps for longer has lost its connections.
const SLEEP_KEEPS_MS: Millis = 15_000;

impl World {
    /// Enters a worker's next trouble.
    pub(super) fn plan_trouble(&mut self, worker: WorkerIndex) {
        if !self.has_any(&OF_WORKERS) {
            return;
        }
        let at = self.now + self.random.below(self.scenario.trouble_every_ms * 2);
        if at < self.scenario.troubles_until {
            self.agenda.add(at, Happening::Trouble { worker });
        }
    }

    /// Enters the requestor's next trouble.
    pub(super) fn plan_requestor_trouble(&mut self) {
        if !self.has_any(&OF_REQUESTOR) {
            return;
        }
        let at = self.now + self.random.below(self.scenario.trouble_every_ms * 4);
        if at < self.scenario.troubles_until {
            self.agenda.add(at, Happening::RequestorTrouble);
        }
    }

    fn has_any(&self, failures: &[Failure]) -> bool {
        let mut failures = failures.iter();
        failures.any(|failure| self.scenario.failures.contains(failure))
    }

    fn pick_failure(&mut self, among: &[Failure]) -> Option<Failure> {
        let failure = self.random.pick(among);
        self.scenario.failures.contains(&failure).then_some(failure)
    }

    pub(super) fn trouble(&mut self, index: WorkerIndex) {
        if !self.workers[index].is_up {
            return;
        }
        match self.pick_failure(&OF_WORKERS) {
            Some(Failure::Crash) => self.crash(index),
            Some(Failure::Stall) => self.stall(index),
            Some(Failure::Partition) => self.cut(index),
            Some(Failure::FullDisk) => {
                let until = self.now + self.random.between(1_000, 60_000);
                self.workers[index].disk_full_until = until;
            }
            _ => {}
        }
        self.plan_trouble(index);
    }

    /// A worker's process dies with all it holds.
    pub(super) fn crash(&mut self, index: WorkerIndex) {
        let notice = self.random.below(NOTICE_MS);
        self.break_connection(index, notice);
        let worker = &mut self.workers[index];
        worker.drop_all();
        worker.is_up = false;
        worker.has_scene = false;
        let after = 1_000 + self.random.below(60_000);
        let is_fate = worker.member.strategy != Strategy::Crashing && !worker.member.comes_back;
        match self.random.below(4) {
            0 if is_fate => {}
            1 if is_fate => {
                let member = self.workers[index].member.clone();
                self.join(member);
            }
            _ => self
                .agenda
                .add(self.now + after, Happening::Reboot { worker: index }),
        }
    }

    pub(super) fn reboot(&mut self, index: WorkerIndex) {
        self.workers[index].is_up = true;
        let after = self.random.below(3_000);
        self.seek(index, after);
    }

    fn stall(&mut self, index: WorkerIndex) {
        let length = match self.random.below(3) {
            0 => self.random.below(5_000),
            1 => self.random.below(30_000),
            _ => self.random.below(300_000),
        };
        self.workers[index].stalled_until = self.now + length;
        if length > SLEEP_KEEPS_MS && self.random.percent(70) {
            let notice = self.random.below(NOTICE_MS);
            self.break_connection(index, notice);
            self.seek(index, length);
        }
    }

    /// The network keeps a worker from the requestor; a short while only delays what is sent.
    fn cut(&mut self, index: WorkerIndex) {
        let length = match self.random.below(3) {
            0 => self.random.below(NOTICE_MS),
            1 => self.random.below(60_000),
            _ => self.random.below(600_000),
        };
        let until = self.now + length;
        if length < NOTICE_MS && self.random.percent(50) {
            self.workers[index].member.link.frozen_until = until;
            return;
        }
        let notice = self.random.below(NOTICE_MS);
        self.break_connection(index, notice);
        self.workers[index].is_cut = true;
        self.agenda.add(until, Happening::Heal { worker: index });
    }

    pub(super) fn heal(&mut self, index: WorkerIndex) {
        self.workers[index].is_cut = false;
        let after = self.random.below(3_000);
        self.seek(index, after);
    }

    pub(super) fn requestor_trouble(&mut self) -> Result<(), String> {
        self.plan_requestor_trouble();
        if !self.requestor.is_up {
            return Ok(());
        }
        match self.pick_failure(&OF_REQUESTOR) {
            Some(Failure::RequestorDisk) => self.fill_disk(),
            Some(Failure::Suspend) => match self.random.below(3) {
                0 => {
                    let by = self.random.below(20_000);
                    self.requestor.jump(by);
                }
                _ => self.sleep(),
            },
            _ => {}
        }
        Ok(())
    }

    fn fill_disk(&mut self) {
        let until = self.now + self.random.below(10_000);
        self.frames_full_until = until;
        let may_end = self.scenario.crashes != Crashes::Never || self.scenario.resumes_max > 0;
        if may_end && self.random.percent(30) {
            self.journal_full_until = until;
        }
    }

    fn sleep(&mut self) {
        let length = match self.random.below(2) {
            0 => self.random.below(SLEEP_KEEPS_MS),
            _ => self.random.below(600_000),
        };
        self.requestor.is_asleep = true;
        let (process, until) = (self.requestor.process, self.now + length);
        self.agenda.add(until, Happening::Wake { process });
        if length < SLEEP_KEEPS_MS {
            return;
        }
        for index in 0..self.workers.len() {
            self.break_connection(index, length);
            self.seek(index, length);
        }
    }
}
