//! Ends: of frames (written, sealed, failed) and of the job.

use crate::{
    coordinator::Farm,
    event::{Effect, Outcome, Piece},
    frame::{Delivery, Frame, Pixels, Probe, SealedTile, Tile},
    worker::{Standing, Worker, WorkerNumber},
};
use protocol::{Blake3Hash, Glm, NodeId, TaskId};
use std::collections::BTreeMap;

impl Farm {
    /// After each event: frames that became complete, and the end of the job.
    pub(crate) fn conclude(&mut self) {
        for frame in std::mem::take(&mut self.touched_frames) {
            self.complete_frame(frame);
        }
        let all_begun = self.next_frame as usize >= self.config.frames.len();
        let is_audited = self.audits.is_empty() && self.audited.is_empty();
        if all_begun && self.open.is_empty() && is_audited {
            let failed = &self.failed;
            let outcome = match failed.is_empty() {
                true => Outcome::Done,
                false => Outcome::FramesFailed {
                    frames: failed
                        .iter()
                        .map(|(&frame, reason)| (self.frame_number(frame), reason.clone()))
                        .collect(),
                },
            };
            self.finish(outcome);
        } else if self.is_out_of_money() {
            let missing = self.remaining_cost();
            self.finish(Outcome::BudgetSpent { missing });
        } else if self.is_out_of_time() {
            self.pass_deadline();
        } else if self.is_out_of_providers() {
            self.finish(Outcome::NoProviders);
        }
    }

    fn complete_frame(&mut self, frame: u32) {
        let Some(open) = self.open.get(frame) else {
            return;
        };
        if !open.unsettled.is_empty() {
            return;
        }
        if open.failed.is_some() {
            self.close_failed(frame);
        } else if open.sealed {
            self.seal(frame);
        } else if !open.writing {
            self.write_frame(frame);
        }
    }

    fn write_frame(&mut self, frame: u32) {
        let (grid, overlap) = (self.config.grid, self.overlap());
        let samples = self.config.job.settings.samples;
        let Some(open) = self.open.get(frame) else {
            return;
        };
        let piece = |(tile, state): (u32, &Tile)| match state {
            Tile::Delivered(delivery) => match &delivery.pixels {
                Pixels::Fresh { root, .. } => Some(Piece {
                    core: grid.core(tile),
                    rendered: overlap.first_rect(tile),
                    samples: grid.samples(tile, samples),
                    root: *root,
                }),
                Pixels::Sealed => None,
            },
            Tile::Pending | Tile::Leased(_) => None,
        };
        let mut tiles: Vec<Piece> = (0..).zip(&open.tiles).filter_map(piece).collect();
        if grid.ranges > 1 {
            tiles.sort_by_key(|piece| (piece.core.y, piece.core.x, piece.samples));
        }
        if let Some(open) = self.open.get_mut(frame) {
            open.writing = true;
            open.writes_under_way += 1;
        }
        self.writing_frames.insert(frame);
        let frame = self.frame_number(frame);
        self.effects.push(Effect::WriteFrame { frame, tiles });
    }

    pub(crate) fn on_frame_written(&mut self, number: i32, outcome: Result<(), String>) {
        let Some(frame) = self.frame_position(number) else {
            return;
        };
        let Some(open) = self.open.get_mut(frame) else {
            return;
        };
        if open.writes_under_way == 0 {
            return;
        }
        open.writes_under_way -= 1;
        if open.writes_under_way > 0 || !open.writing {
            return;
        }
        self.writing_frames.remove(&frame);
        match outcome {
            Ok(()) => self.seal(frame),
            Err(reason) => {
                let reason = format!("could not be written: {reason}");
                self.give_up_frame(frame, reason);
            }
        }
    }

    /// A written frame shrinks to what a later check needs.
    fn seal(&mut self, frame: u32) {
        let Some(open) = self.open.get(frame) else {
            return;
        };
        let classes = &mut self.sealed_classes;
        let sealed_tile = |state: &Tile| match state {
            Tile::Delivered(delivery) => Some(sealed_tile(delivery, classes)),
            Tile::Pending | Tile::Leased(_) => None,
        };
        let tiles: Box<[SealedTile]> = open.tiles.iter().filter_map(sealed_tile).collect();
        for tile in &tiles {
            for number in std::iter::once(tile.worker).chain(tile.vouchers.iter()) {
                self.worker_mut(number).remember_sealed(frame);
            }
        }
        self.drop_frame(frame);
        self.sealed.insert(frame, tiles);
    }

    /// Takes a frame whose tiles are all decided out of memory, and its blobs off the disk.
    fn drop_frame(&mut self, frame: u32) {
        self.writing_frames.remove(&frame);
        let Some(open) = self.open.remove(frame) else {
            return;
        };
        self.refresh_frame(frame);
        for state in open.tiles {
            if let Tile::Delivered(delivery) = state
                && let Pixels::Fresh { root, .. } = delivery.pixels
            {
                self.release_blob(root);
            }
        }
    }

    /// Gives up a frame: leases are cancelled, what was delivered is still checked and paid.
    pub(crate) fn fail_frame(&mut self, frame: u32, reason: String) {
        let Some(open) = self.open.get_mut(frame) else {
            return;
        };
        if open.failed.is_some() {
            return;
        }
        open.failed = Some(reason);
        let leased: Vec<TaskId> = open
            .tiles
            .iter()
            .filter_map(|tile| match tile {
                Tile::Leased(task) => Some(*task),
                Tile::Pending | Tile::Delivered(_) => None,
            })
            .chain(std::mem::take(&mut open.copies).into_values())
            .collect();
        for task in leased {
            self.cancel_task(task);
        }
        if let Some(Frame {
            tiles,
            pending,
            unsettled,
            ..
        }) = self.open.get_mut(frame)
        {
            pending.clear();
            unsettled.retain(|&tile| matches!(tiles[tile as usize], Tile::Delivered(_)));
        }
        self.refresh_frame(frame);
        self.touched_frames.insert(frame);
    }

    fn close_failed(&mut self, frame: u32) {
        let open = self.open.get_mut(frame);
        let reason = open.and_then(|open| open.failed.take()).unwrap_or_default();
        self.give_up_frame(frame, reason);
    }

    /// Ends a frame whose tiles are all decided: those that were accepted stay paid and count no more.
    fn give_up_frame(&mut self, frame: u32, reason: String) {
        let is_delivered = |tile: &&Tile| matches!(tile, Tile::Delivered(_));
        let accepted = self
            .open
            .get(frame)
            .map_or(0, |open| open.tiles.iter().filter(is_delivered).count());
        self.tiles_accepted = self.tiles_accepted.saturating_sub(accepted as u64);
        self.failed.insert(frame, reason);
        self.drop_frame(frame);
    }

    /// Does no worker at hand get any more work for want of money, and is nothing under way?
    fn is_out_of_money(&self) -> bool {
        self.budget_refused && self.is_at_rest()
    }

    /// Does no worker at hand get any more work for want of time, and is nothing under way?
    fn is_out_of_time(&self) -> bool {
        self.deadline_refused && self.is_at_rest()
    }

    fn pass_deadline(&mut self) {
        let left = self.remaining_samples();
        let typical = u128::from(self.typical_megasample_ms);
        let ready = |worker: &&Worker| worker.standing == Standing::Ready;
        let workers = self.workers.iter().filter(ready).count().max(1) as u128;
        let missing_ms = u128::from(left) * typical / 1_000_000 / workers;
        self.finish(Outcome::DeadlinePassed {
            missing: self.remaining_cost(),
            missing_ms: u64::try_from(missing_ms).unwrap_or(u64::MAX),
        });
    }

    /// Ends the job at its deadline.
    pub(crate) fn check_deadline(&mut self) {
        let deadline = self.config.deadline;
        if deadline.is_some_and(|deadline| self.now >= deadline) {
            self.pass_deadline();
        }
    }

    /// Is nothing under way, and will nobody at hand take up work again by himself?
    fn is_at_rest(&self) -> bool {
        let may_come_back = |worker: &Worker| {
            worker.standing == Standing::Ready
                && worker.class.is_some_and(|class| self.is_at_work(&class))
                && worker.resting_until > self.now
        };
        self.tasks.is_empty()
            && self.disputes.is_empty()
            && self.probes_wanted.is_empty()
            && self.comparisons.is_empty()
            && self.audits.is_empty()
            && self.own_requests.is_empty()
            && self.writing_frames.is_empty()
            && !self.workers.iter().any(may_come_back)
    }

    fn is_out_of_providers(&self) -> bool {
        let waited = self
            .nobody_since
            .map(|since| self.now.saturating_sub(since));
        waited.is_some_and(|waited| waited >= self.config.providers_wait_ms)
            && self.own_requests.is_empty()
            && self.writing_frames.is_empty()
    }

    /// Samples of tiles that are not accepted.
    pub(crate) fn remaining_samples(&self) -> u64 {
        let unbegun = self.config.frames.len() as u64 - u64::from(self.next_frame);
        let of_frame = self.config.grid.size.area() * u64::from(self.config.job.settings.samples);
        let of_tile =
            |tile| self.config.grid.core(tile).area() * u64::from(self.tile_samples(tile));
        let unsettled = self.open.iter().flat_map(|(_, open)| &open.unsettled);
        let open: u64 = unsettled.map(|&tile| of_tile(tile)).sum();
        of_frame.saturating_mul(unbegun).saturating_add(open)
    }

    /// What the remaining tiles cost at the lowest price at hand, without probes.
    pub(crate) fn remaining_cost(&self) -> Glm {
        let samples = self.remaining_samples();
        self.workers
            .iter()
            .filter(|worker| worker.standing == Standing::Ready)
            .filter_map(|worker| worker.price(samples, 1))
            .min()
            .unwrap_or_default()
    }

    /// Ends the job: open leases are cancelled, what is accepted stays.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if self.outcome.is_some() {
            return;
        }
        let mut leases: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
        for (id, task) in self.tasks.sorted() {
            let worker: WorkerNumber = task.worker;
            leases.entry(self.worker(worker).id).or_default().push(id);
        }
        for (worker, tasks) in leases {
            self.effects.push(Effect::Cancel { worker, tasks });
        }
        self.believe_all();
        self.pay_all_held();
        self.outcome = Some(outcome.clone());
        self.effects.push(Effect::Finished { outcome });
    }
}

/// What stays of a delivery; its class joins `classes` if it is new there.
fn sealed_tile(delivery: &Delivery, classes: &mut Vec<Blake3Hash>) -> SealedTile {
    let known = classes.iter().rposition(|class| *class == delivery.class);
    let class = known.unwrap_or_else(|| {
        classes.push(delivery.class);
        classes.len() - 1
    });
    SealedTile {
        worker: delivery.worker,
        vouchers: delivery.probes.iter().filter_map(Probe::prober).collect(),
        class: class as u32,
        commitment: delivery.commitment,
        probe_digest: delivery.probe_digest,
    }
}
