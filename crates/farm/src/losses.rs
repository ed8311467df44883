//! Tasks that failed or were lost, and what follows for their tiles and workers.

use crate::{
    coordinator::Farm,
    event::{Millis, Trust},
    frame::{Purpose, TileRef},
    limits::{TILE_FAILURES_MAX, TILE_LOSSES_MAX, WORKER_FAILURES_MAX},
    worker::{Standing, WorkerNumber},
};
use protocol::TaskId;

impl Farm {
    /// The worker could not do it, or what it delivered is no delivery.
    pub(crate) fn task_failed(&mut self, number: WorkerNumber, id: TaskId, reason: &str) {
        let reason = protocol::message::bounded_text(reason);
        let Some(task) = self.release_task(id) else {
            return;
        };
        self.reject_task(number, id, reason.clone());
        self.rest(number, task.leased_at);
        match task.purpose {
            Purpose::Tile(at) => {
                let Some(frame) = self.open.get_mut(at.frame) else {
                    return;
                };
                let troubles = frame.troubles.entry(at.tile).or_default();
                troubles.failed.push(number);
                let failed = troubles.failed.clone();
                if self.is_hopeless(&failed) {
                    self.fail_frame(at.frame, reason);
                }
            }
            check => self.note_tardy(number, check),
        }
    }

    /// Before a worker that failed or lost this probe or opinion is asked again, all others are.
    fn note_tardy(&mut self, number: WorkerNumber, check: Purpose) {
        match check {
            Purpose::Tile(_) => {}
            Purpose::Probe(probe) => {
                if let Some(probe) = self.probe_mut(probe) {
                    probe.tardy.insert(number);
                }
            }
            Purpose::Opinion(dispute) => {
                if let Some(dispute) = self.disputes.get_mut(&dispute) {
                    dispute.tardy.insert(number);
                }
            }
        }
    }

    /// Does a tile fail for good that failed on these? The user's own workers are believed; strangers must not be able to
    /// fail a frame that others can render.
    fn is_hopeless(&self, failed: &[WorkerNumber]) -> bool {
        let own = failed
            .iter()
            .filter(|number| self.worker(**number).trust == Trust::Own);
        own.count() >= TILE_FAILURES_MAX
            || failed.len() >= TILE_LOSSES_MAX
            || (failed.len() >= TILE_FAILURES_MAX
                && !self.someone_else_ready(|number| failed.contains(&number)))
    }

    /// Fails the frame of a tile that nobody can render so that it is accepted.
    pub(crate) fn give_up_hopeless(&mut self, at: TileRef, reason: &str) {
        let frame = self.open.get(at.frame);
        let troubles = frame.and_then(|frame| frame.troubles.get(&at.tile));
        if troubles.is_some_and(|troubles| self.is_hopeless(&troubles.failed)) {
            self.fail_frame(at.frame, reason.into());
        }
    }

    /// The worker is gone, silent or too late: nobody knows whose fault that is.
    pub(crate) fn task_lost(&mut self, number: WorkerNumber, id: TaskId, reason: &str) {
        let is_there = self.worker(number).standing == Standing::Ready;
        match self.release_task(id).map(|task| task.purpose) {
            Some(Purpose::Tile(at)) => self.tile_lost(number, at, reason),
            Some(check) if is_there => self.note_tardy(number, check),
            _ => {}
        }
    }

    fn tile_lost(&mut self, number: WorkerNumber, at: TileRef, reason: &str) {
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        let lost = &mut frame.troubles.entry(at.tile).or_default().lost;
        lost.insert(number);
        let workers = lost.len();
        if workers >= TILE_LOSSES_MAX {
            let reason = format!("{workers} workers in turn were lost with a tile of it: {reason}");
            self.fail_frame(at.frame, reason);
        }
    }

    /// Counts a failure; a worker that only fails is dropped.
    pub(crate) fn rest(&mut self, number: WorkerNumber, begun: Millis) {
        let now = self.now;
        let worker = self.worker_mut(number);
        worker.fail(begun, now);
        if worker.failures >= WORKER_FAILURES_MAX {
            self.leave(number);
        }
        self.refresh(number);
    }
}
