//! Late tasks: workers with nothing else to do get copies of tiles that others will have later than they would.
//!
//! The first delivery of a tile that passes its checks is accepted and paid; the other lease is cancelled then, and not
//! before, so that a cheat who is quick costs nobody a tile. A commitment that comes while the other's delivery is
//! checked is parked: its pixels are asked for only if that delivery falls. What waits in a queue is taken back instead
//! and given to the idle worker alone; so are probes and opinions, which are small.

use crate::{
    coordinator::Farm,
    event::{Effect, LeaseReason, Millis},
    frame::{Purpose, Task, Tile, TileRef},
    leasing::Outbox,
    limits::{COPIES_EVERY_MS, COPY_GAIN_MS, LATE_TRIES_MAX, MOVE_GAIN_MS},
    worker::{Standing, WorkerNumber},
};
use protocol::TaskId;

/// A task that its worker is expected to end only after a while.
#[derive(Debug, Clone, Copy)]
struct Late {
    remaining: Millis,
    id: TaskId,
    holder: WorkerNumber,
    purpose: Purpose,
    /// Does it wait in a queue of somebody who is there?
    is_queued: bool,
}

impl Farm {
    /// Gives late tasks to idle workers.
    pub(crate) fn lease_late(&mut self, outbox: &mut Outbox) {
        let since = self.now.saturating_sub(self.late_sought_at);
        if self.idle.is_empty() || self.tasks.is_empty() || since < COPIES_EVERY_MS {
            return;
        }
        self.late_sought_at = self.now;
        let mut late: Vec<Option<Late>> = self.late_tasks().into_iter().map(Some).collect();
        let mut first = 0;
        let mut idle: Vec<WorkerNumber> = self.idle.iter().copied().collect();
        idle.sort_by_key(|number| self.worker(*number).megasample_ms);
        for number in idle {
            while late.get(first).is_some_and(|late| late.is_none()) {
                first += 1;
            }
            let mut latest = late[first..].iter_mut().take(LATE_TRIES_MAX);
            let may_take = |late: &&mut Option<Late>| {
                late.is_some_and(|late| self.may_take_over(number, &late))
            };
            if let Some(late) = latest.find(may_take).and_then(Option::take) {
                self.take_over(number, late, outbox);
            }
        }
    }

    /// All leases by the time their workers will still need, longest first.
    fn late_tasks(&self) -> Vec<Late> {
        let mut late = Vec::new();
        for holder in 0..self.workers.len() as WorkerNumber {
            let worker = self.worker(holder);
            let mut add = |id, task: &Task, remaining, is_queued| {
                if remaining <= COPY_GAIN_MS || !self.may_be_taken_over(task.purpose) {
                    return;
                }
                late.push(Late {
                    remaining,
                    id,
                    holder,
                    purpose: task.purpose,
                    is_queued,
                });
            };
            let is_there = worker.standing == Standing::Ready;
            if is_there {
                let queue = self.queue_ms(holder).enumerate();
                queue.for_each(|(place, (id, task, until))| add(id, task, until, place > 0));
            }
            let queue = if is_there {
                &[]
            } else {
                worker.queue.as_slice()
            };
            for id in worker.revealing.iter().chain(queue) {
                let Some(task) = self.tasks.get(id) else {
                    continue;
                };
                // Nobody knows when pixels come that are on their way, nor when a worker that is away does.
                let remaining = match &task.committed {
                    Some(commitment) if is_there => self.now.saturating_sub(commitment.since),
                    _ => Millis::MAX,
                };
                add(*id, task, remaining, false);
            }
        }
        late.sort_by_key(|late| (std::cmp::Reverse(late.remaining), late.id));
        late
    }

    /// A tile has two leases at most.
    fn may_be_taken_over(&self, purpose: Purpose) -> bool {
        let Purpose::Tile(at) = purpose else {
            return true;
        };
        self.open.get(at.frame).is_some_and(|frame| {
            matches!(frame.tiles[at.tile as usize], Tile::Leased(_))
                && !frame.copies.contains_key(&at.tile)
        })
    }

    fn may_take_over(&self, number: WorkerNumber, late: &Late) -> bool {
        if number == late.holder {
            return false;
        }
        let Some(task) = self.tasks.get(&late.id) else {
            return false;
        };
        let own = self.task_ms(number, task);
        let worth_while =
            |gain: Millis| late.remaining.saturating_sub(gain) > own.saturating_add(own / 2);
        match late.purpose {
            Purpose::Tile(at) => worth_while(COPY_GAIN_MS) && self.may_copy(number, at),
            Purpose::Probe(probe) => {
                let moves = self.probe(probe).map_or(0, |probe| probe.moves);
                worth_while(MOVE_GAIN_MS << moves.min(16)) && self.may_probe(number, probe)
            }
            Purpose::Opinion(id) => {
                let moves = self.disputes.get(&id).map_or(0, |dispute| dispute.moves);
                worth_while(MOVE_GAIN_MS << moves.min(16)) && self.may_judge(number, id)
            }
        }
    }

    fn may_copy(&self, number: WorkerNumber, at: TileRef) -> bool {
        if self.has_too_much_undecided(number) || !self.may_have_copy(number, at) {
            return false;
        }
        self.open.get(at.frame).is_some_and(|frame| {
            let troubles = frame.troubles.get(&at.tile);
            troubles.is_none_or(|troubles| !troubles.has(number))
        })
    }

    fn take_over(&mut self, number: WorkerNumber, late: Late, outbox: &mut Outbox) {
        match late.purpose {
            Purpose::Tile(at) if late.is_queued => {
                self.cancel_task(late.id);
                self.lease_tile_of(number, at, outbox);
            }
            Purpose::Tile(at) => self.lease_copy(number, at, &late),
            Purpose::Probe(late_probe) => {
                if let Some(probe) = self.probe_mut(late_probe) {
                    probe.moves += 1;
                }
                self.cancel_task(late.id);
                self.lease_probe_of(number, late_probe, outbox);
            }
            Purpose::Opinion(id) => {
                if let Some(dispute) = self.disputes.get_mut(&id) {
                    dispute.moves += 1;
                }
                self.cancel_task(late.id);
                self.lease_opinion_of(number, id, outbox);
            }
        }
    }

    fn lease_copy(&mut self, number: WorkerNumber, at: TileRef, late: &Late) {
        let Some(class) = self.worker(number).class else {
            return;
        };
        let extent = self.tile_extent(at);
        let reason = LeaseReason::Copy {
            holder: self.worker(late.holder).id,
            remaining_ms: late.remaining,
        };
        let Some((id, spec)) = self.lease(number, Purpose::Tile(at), at.frame, class, extent)
        else {
            return;
        };
        if let Some(frame) = self.open.get_mut(at.frame) {
            frame.copies.insert(at.tile, id);
        }
        self.copies.leased += 1;
        self.move_to_frame(number, Some(at.frame));
        let worker = self.worker(number).id;
        self.effects.push(Effect::Lease {
            worker,
            tasks: vec![spec],
            next: false,
            reason,
        });
    }

    /// A second delivery of a tile: nobody is to blame for it, and nobody pays for it.
    pub(crate) fn come_second(&mut self, at: TileRef, id: TaskId, task: &Task) {
        if let Some(frame) = self.open.get_mut(at.frame) {
            frame.copies.remove(&at.tile);
        }
        let reserved = task.price.checked_add(task.probe_allowance);
        self.ledger.release(reserved.unwrap_or_default());
        let worker = self.worker(task.worker).id;
        self.effects.push(Effect::Cancel {
            worker,
            tasks: vec![id],
        });
    }

    /// A tile is accepted: nobody needs its other lease.
    pub(crate) fn cancel_copy(&mut self, at: TileRef) {
        let frame = self.open.get_mut(at.frame);
        if let Some(id) = frame.and_then(|frame| frame.copies.remove(&at.tile)) {
            self.cancel_task(id);
        }
    }

    /// A tile's first lease or its delivery is no more: the other lease takes its place, if there is one.
    pub(crate) fn promote_copy(&mut self, at: TileRef) -> bool {
        let Some(frame) = self.open.get_mut(at.frame) else {
            return false;
        };
        let Some(id) = frame.copies.remove(&at.tile) else {
            return false;
        };
        frame.tiles[at.tile as usize] = Tile::Leased(id);
        if self.tasks.get(&id).is_some_and(|task| task.is_parked) {
            self.reveal(id);
        }
        true
    }

    /// Takes a lease off its tile, which waits to be leased again unless another lease or delivery of it is there.
    pub(crate) fn release_tile(&mut self, at: TileRef, id: TaskId) {
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        if frame.copies.get(&at.tile) == Some(&id) {
            frame.copies.remove(&at.tile);
        } else if matches!(frame.tiles[at.tile as usize], Tile::Leased(first) if first == id)
            && !self.promote_copy(at)
        {
            self.return_tile(at);
        }
    }
}
