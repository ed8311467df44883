//! Who gets what next.
//!
//! Opinions in disputes come first, then probes, then tiles: what is under way is decided before more is begun. A worker
//! stays with the frame it has as long as this has tiles, because moving to another means building the scene of another
//! time; it then joins the earliest frame that has more tiles waiting than workers, else begins the next one, so that
//! frames come out in the user's order and workers rarely share the last tile of a frame.

use crate::{
    coordinator::Farm,
    event::{Effect, LeaseReason},
    frame::{Check, Extent, Frame, ProbeRef, Purpose, Task, Tile, TileRef},
    limits::{LOSSES_FOR_PROVEN, PROBE_WAIT_MS, WRITING_FRAMES_MAX},
    worker::{Filed, Standing, WorkerNumber},
};
use protocol::{Blake3Hash, Glm, TaskId, TaskSpec};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// What workers are to be told together once all is given out.
pub(crate) type Outbox = BTreeMap<WorkerNumber, Outgoing>;

#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Probes and opinions.
    checks: Vec<TaskSpec>,
    tiles: Vec<TaskSpec>,
    why: Option<LeaseReason>,
}

impl Farm {
    /// Gives out work: first to those who have none, then more to each, so that at the end of a job nobody queues what
    /// another could render; last, copies of late tiles.
    pub(crate) fn lease_work(&mut self) {
        (self.budget_refused, self.deadline_refused) = (false, false);
        let mut outbox = Outbox::new();
        self.assign_probes(&mut outbox);
        self.lease_round(&mut outbox, |farm| &farm.idle, Self::lease_one);
        self.lease_round(&mut outbox, |farm| &farm.half_idle, Self::fill_queue);
        self.lease_late(&mut outbox);
        self.leased_last = !outbox.is_empty();
        for (number, outgoing) in outbox {
            let worker = self.worker(number).id;
            let mut send = |tasks: Vec<TaskSpec>, next, reason| {
                if !tasks.is_empty() {
                    self.effects.push(Effect::Lease {
                        worker,
                        tasks,
                        next,
                        reason,
                    });
                }
            };
            send(outgoing.checks, true, LeaseReason::Check);
            let why = outgoing.why.unwrap_or(LeaseReason::Check);
            send(outgoing.tiles, false, why);
        }
    }

    /// Offers work to each of those waiting, by number, while there is any.
    fn lease_round(
        &mut self,
        outbox: &mut Outbox,
        waiting: impl Fn(&Self) -> &BTreeSet<WorkerNumber>,
        mut lease: impl FnMut(&mut Self, WorkerNumber, &mut Outbox) -> bool,
    ) {
        let mut last = None;
        while self.has_work() {
            let from = last.map_or(Bound::Unbounded, Bound::Excluded);
            let next = waiting(self).range((from, Bound::Unbounded)).next();
            let Some(&number) = next else { break };
            last = Some(number);
            lease(self, number, outbox);
        }
    }

    fn fill_queue(&mut self, number: WorkerNumber, outbox: &mut Outbox) -> bool {
        let (run, why) = self.run(number);
        self.worker_mut(number).run = run;
        let mut leased = false;
        while self.worker(number).queue.len() < run && self.lease_one(number, outbox) {
            leased = true;
        }
        if let Some(outgoing) = outbox.get_mut(&number) {
            outgoing.why = Some(why);
        }
        self.refresh(number);
        leased
    }

    fn has_work(&self) -> bool {
        let more_frames = (self.next_frame as usize) < self.config.frames.len();
        !self.opinions_wanted.is_empty()
            || !self.probes_wanted.is_empty()
            || !self.pending_frames.is_empty()
            || (more_frames && self.writing_frames.len() < WRITING_FRAMES_MAX)
    }

    fn lease_one(&mut self, number: WorkerNumber, outbox: &mut Outbox) -> bool {
        if self.worker(number).revealing.len() >= self.revealing_max(number) {
            return false;
        }
        self.lease_opinion(number, outbox)
            || self.lease_probe(number, outbox)
            || self.lease_tile(number, outbox)
    }

    fn lease_opinion(&mut self, number: WorkerNumber, outbox: &mut Outbox) -> bool {
        if self.opinions_wanted.is_empty() {
            return false;
        }
        let from_age = self.probes_from_age(number);
        let is_old = |id: &u64| {
            let since = self.disputes.get(id).map_or(0, |dispute| dispute.since);
            self.now.saturating_sub(since) >= from_age
        };
        let mut wanted = self.opinions_wanted.iter().copied();
        let wanted = wanted.find(|id| self.may_judge(number, *id) && is_old(id));
        wanted.is_some_and(|id| self.lease_opinion_of(number, id, outbox))
    }

    pub(crate) fn lease_opinion_of(
        &mut self,
        number: WorkerNumber,
        id: u64,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(dispute) = self.disputes.get(&id) else {
            return false;
        };
        let (frame, class, extent) = (dispute.frame, dispute.class, dispute.extent.clone());
        let leased = self.lease(number, Purpose::Opinion(id), frame, class, extent);
        let Some((task, spec)) = leased else {
            return false;
        };
        if let Some(dispute) = self.disputes.get_mut(&id) {
            dispute.asked_task = Some(task);
            self.opinions_wanted.remove(&id);
        }
        outbox.entry(number).or_default().checks.push(spec);
        true
    }

    fn lease_probe(&mut self, number: WorkerNumber, outbox: &mut Outbox) -> bool {
        if self.probes_wanted.is_empty() {
            return false;
        }
        let first = |frame| ProbeRef {
            at: TileRef { frame, tile: 0 },
            index: 0,
        };
        let from_age = self.probes_from_age(number);
        let is_old = |wanted: ProbeRef| match self.probe(wanted).map(|probe| probe.check) {
            Some(Check::Wanted { since }) => {
                let age = self.now.saturating_sub(since);
                // Two parts of a tile for one worker only if nobody else takes the second.
                age >= from_age && (age >= PROBE_WAIT_MS || !self.has_part_of(number, wanted.at))
            }
            _ => true,
        };
        let may_probe = |wanted: &&ProbeRef| self.may_probe(number, **wanted) && is_old(**wanted);
        let here = self.worker(number).frame.and_then(|frame| {
            let tiles = first(frame)..first(frame.saturating_add(1));
            self.probes_wanted.range(tiles).find(may_probe)
        });
        let wanted = here.or_else(|| self.probes_wanted.iter().find(may_probe));
        let wanted = wanted.copied();
        wanted.is_some_and(|wanted| self.lease_probe_of(number, wanted, outbox))
    }

    pub(crate) fn lease_probe_of(
        &mut self,
        number: WorkerNumber,
        wanted: ProbeRef,
        outbox: &mut Outbox,
    ) -> bool {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return false;
        };
        let (class, extent) = (delivery.class, probe.extent.clone());
        // What was set aside with the tile pays for its probes, as far as it goes.
        let part = self.take_allowance(wanted, number);
        self.ledger.release(part);
        let purpose = Purpose::Probe(wanted);
        let leased = self.lease(number, purpose, wanted.at.frame, class, extent);
        let Some((task, spec)) = leased else {
            self.restore_allowance(wanted.at, part);
            return false;
        };
        self.probes_wanted.remove(&wanted);
        if let Some(probe) = self.probe_mut(wanted) {
            probe.check = Check::Leased(task);
        }
        outbox.entry(number).or_default().checks.push(spec);
        true
    }

    /// Takes from what is set aside for a tile's probes what this one costs by this worker, or what is left.
    fn take_allowance(&mut self, wanted: ProbeRef, number: WorkerNumber) -> Glm {
        let probe = self.probe(wanted).filter(|probe| !probe.is_replica());
        let pixels = probe.map_or(0, |probe| probe.extent.pixel_count());
        let samples = self.tile_samples(wanted.at.tile);
        let price = self
            .worker(number)
            .price(pixels, samples)
            .unwrap_or_default();
        let Some(delivery) = self.delivery_mut(wanted.at) else {
            return Glm::ZERO;
        };
        let part = price.min(delivery.probe_allowance);
        delivery.probe_allowance = delivery
            .probe_allowance
            .checked_sub(part)
            .unwrap_or_default();
        part
    }

    fn restore_allowance(&mut self, at: TileRef, part: Glm) {
        if self.ledger.reserve(part)
            && let Some(delivery) = self.delivery_mut(at)
        {
            let whole = delivery.probe_allowance.checked_add(part);
            delivery.probe_allowance = whole.unwrap_or(delivery.probe_allowance);
        }
    }

    fn lease_tile(&mut self, number: WorkerNumber, outbox: &mut Outbox) -> bool {
        if self.has_too_much_undecided(number) || !self.may_take_tiles(number) {
            return false;
        }
        let at = self.next_tile(number);
        at.is_some_and(|at| self.lease_tile_of(number, at, outbox))
    }

    pub(crate) fn lease_tile_of(
        &mut self,
        number: WorkerNumber,
        at: TileRef,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(class) = self.worker(number).class else {
            return false;
        };
        let extent = self.tile_extent(at);
        let leased = self.lease(number, Purpose::Tile(at), at.frame, class, extent);
        let Some((task, spec)) = leased else {
            return false;
        };
        self.begin_trial(class, task, at);
        if let Some(frame) = self.open.get_mut(at.frame) {
            frame.tiles[at.tile as usize] = Tile::Leased(task);
            frame.pending.remove(&at.tile);
            self.refresh_frame(at.frame);
            self.move_to_frame(number, Some(at.frame));
        }
        self.count_leased(number);
        let outgoing = outbox.entry(number).or_default();
        outgoing.tiles.push(spec);
        if outgoing.why.is_none() {
            outgoing.why = Some(self.run(number).1);
        }
        true
    }

    fn next_tile(&mut self, number: WorkerNumber) -> Option<TileRef> {
        let here = self.worker(number).frame;
        if let Some(at) = here.and_then(|frame| self.tile_in(frame, number)) {
            return Some(at);
        }
        let mut roomy = self.roomy_frames.iter();
        roomy
            .find_map(|frame| self.tile_in(*frame, number))
            .or_else(|| {
                self.begin_frame()
                    .and_then(|frame| self.tile_in(frame, number))
            })
            .or_else(|| {
                let mut frames = self.pending_frames.iter();
                frames.find_map(|frame| self.tile_in(*frame, number))
            })
    }

    fn begin_frame(&mut self) -> Option<u32> {
        let frame = self.next_frame;
        if frame as usize >= self.config.frames.len()
            || self.writing_frames.len() >= WRITING_FRAMES_MAX
        {
            return None;
        }
        self.next_frame += 1;
        self.open
            .insert(frame, Frame::new(self.config.grid.tile_count()));
        self.refresh_frame(frame);
        Some(frame)
    }

    /// The first waiting tile of a frame that this worker may have: not one that it failed or lost, unless everybody did.
    fn tile_in(&self, frame: u32, number: WorkerNumber) -> Option<TileRef> {
        let open = self.open.get(frame)?;
        let may_take = |tile: &&u32| {
            let at = TileRef {
                frame,
                tile: **tile,
            };
            let is_other = |other| !self.is_of_class_for(other, at);
            match open.troubles.get(*tile) {
                _ if is_other(number) => false,
                Some(troubles) if troubles.has(number) => {
                    !self.someone_else_ready(|other| troubles.has(other) || is_other(other))
                }
                // New keys that take tiles and do nothing cannot make it fail as long as somebody is there who works.
                Some(troubles)
                    if troubles.lost.len() >= LOSSES_FOR_PROVEN && !self.is_proven(number) =>
                {
                    !self.someone_else_ready(|other| {
                        troubles.has(other) || !self.is_proven(other) || is_other(other)
                    })
                }
                _ => true,
            }
        };
        let tile = *open.pending.iter().find(may_take)?;
        Some(TileRef { frame, tile })
    }

    pub(crate) fn someone_else_ready(&self, than: impl Fn(WorkerNumber) -> bool) -> bool {
        let mut workers = self.ready_at_work();
        workers.any(|number| !than(number))
    }

    /// Keeps count of the workers of each frame.
    pub(crate) fn move_to_frame(&mut self, number: WorkerNumber, frame: Option<u32>) {
        let before = std::mem::replace(&mut self.worker_mut(number).frame, frame);
        if before == frame {
            return;
        }
        if let Some(open) = before.and_then(|frame| self.open.get_mut(frame)) {
            open.workers.retain(|worker| *worker != number);
        }
        if let Some(open) = frame.and_then(|frame| self.open.get_mut(frame)) {
            open.workers.push(number);
        }
        for frame in before.into_iter().chain(frame) {
            self.refresh_frame(frame);
        }
    }

    /// Files a frame under those with tiles to be leased and those that have room for another worker, or not.
    pub(crate) fn refresh_frame(&mut self, frame: u32) {
        let (pending, workers) = match self.open.get_mut(frame) {
            Some(open) => {
                let pending = open.pending.len();
                let counted = std::mem::replace(&mut open.counted, pending);
                self.pending_tiles = self.pending_tiles + pending as u64 - counted as u64;
                (pending, open.workers.len())
            }
            None => (0, 0),
        };
        file(&mut self.pending_frames, frame, pending > 0);
        file(&mut self.roomy_frames, frame, pending > workers);
    }

    /// What a worker earns for a task: a tile's core without the overlap, all of probes and opinions.
    fn price_of(&self, number: WorkerNumber, purpose: Purpose, extent: &Extent) -> Option<Glm> {
        let pixels = match purpose {
            Purpose::Tile(at) => self.config.grid.core(at.tile).area(),
            Purpose::Probe(_) | Purpose::Opinion(_) => extent.pixel_count(),
        };
        self.worker(number).price(pixels, self.samples_in(extent))
    }

    /// What to set aside for the probes of a tile: their price if its own worker rendered them.
    fn probe_allowance(&self, number: WorkerNumber, purpose: Purpose) -> Glm {
        let Purpose::Tile(at) = purpose else {
            return Glm::ZERO;
        };
        if !self.ledger.has_budget() {
            return Glm::ZERO;
        }
        let (core, worker) = (self.config.grid.core(at.tile), self.worker(number));
        let policy = self.policy(number);
        let pixels = verifier::probe_pixels_max(&core, self.config.probes, &policy);
        worker
            .price(pixels, self.tile_samples(at.tile))
            .unwrap_or_default()
    }

    /// Puts a task in a worker's queue if the budget covers it and the deadline leaves time; the worker is still to be
    /// told.
    pub(crate) fn lease(
        &mut self,
        number: WorkerNumber,
        purpose: Purpose,
        frame: u32,
        class: Blake3Hash,
        extent: Extent,
    ) -> Option<(TaskId, TaskSpec)> {
        let pixels = extent.pixel_count();
        if self.is_too_late(number, purpose, &extent) {
            self.deadline_refused = true;
            return None;
        }
        let price = self.price_of(number, purpose, &extent)?;
        let probe_allowance = self.probe_allowance(number, purpose);
        if !self.ledger.reserve(price.checked_add(probe_allowance)?) {
            self.budget_refused = true;
            return None;
        }
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let spec = extent.spec(id, self.frame_number(frame));
        let leased_at = self.now;
        let task = Task {
            worker: number,
            purpose,
            frame,
            extent,
            pixels,
            class,
            leased_at,
            price,
            probe_allowance,
            committed: None,
            is_parked: false,
        };
        self.tasks.insert(id, task);
        let worker = self.worker_mut(number);
        if worker.queue.is_empty() {
            worker.head_since = leased_at;
            worker.last_heard = worker.last_heard.max(leased_at);
        }
        // Checks come before what waits, but after what is being rendered.
        let place = match purpose {
            Purpose::Tile(_) => worker.queue.len(),
            Purpose::Probe(_) | Purpose::Opinion(_) => worker.queue.len().min(1),
        };
        worker.queue.insert(place, id);
        self.refresh(number);
        Some((id, spec))
    }

    /// Files a worker under those who want work, or not.
    pub(crate) fn refresh(&mut self, number: WorkerNumber) {
        let worker = &self.workers[number as usize];
        let works = worker.standing == Standing::Ready
            && worker.resting_until <= self.now
            && self.may_take_tiles(number);
        let held = worker.queue.len();
        let filed = match held {
            _ if works && held <= 1 && !self.may_have_tiles(worker) => Filed::Newcomer,
            0 if works => Filed::Idle,
            // Such a worker hears of no probes either until it is idle: it would be asked at every event.
            _ if self.has_too_much_undecided(number) => Filed::Nowhere,
            _ if works && held <= (worker.run / 2).max(1) => Filed::HalfIdle,
            _ => Filed::Nowhere,
        };
        let before = std::mem::replace(&mut self.workers[number as usize].filed, filed);
        if filed != before {
            file(&mut self.idle, number, filed == Filed::Idle);
            file(&mut self.half_idle, number, filed == Filed::HalfIdle);
            file(&mut self.newcomers, number, filed == Filed::Newcomer);
        }
    }

    /// Is this worker one to ask about cells of that class, apart from these?
    pub(crate) fn may_serve(
        &self,
        number: WorkerNumber,
        class: &Blake3Hash,
        but: impl Fn(WorkerNumber) -> bool,
    ) -> bool {
        let worker = self.worker(number);
        worker.standing == Standing::Ready
            && worker.class.as_ref() == Some(class)
            && !self.is_doubtful(number)
            && !but(number)
    }

    /// May this worker render a probe? Never of its own tile, never a second time.
    pub(crate) fn may_probe(&self, number: WorkerNumber, wanted: ProbeRef) -> bool {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return false;
        };
        let is_for_workers = !probe.is_of_noise();
        is_for_workers
            && self.may_serve(number, &delivery.class, |number| {
                number == delivery.worker
                    || probe.probers.contains(&number)
                    || probe.tardy.contains(&number)
            })
    }

    /// Takes a lease back: its money is free, what it was for waits for somebody else.
    pub(crate) fn release_task(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        self.forget_lease(task.worker, id);
        let reserved = task.price.checked_add(task.probe_allowance);
        self.ledger.release(reserved.unwrap_or_default());
        match task.purpose {
            Purpose::Tile(at) => self.release_tile(at, id),
            Purpose::Probe(wanted) => {
                let probe = self.probe(wanted);
                if probe.is_some_and(|probe| probe.check == Check::Leased(id)) {
                    self.want_probe(wanted);
                }
            }
            Purpose::Opinion(dispute) => self.want_opinion(dispute, id),
        }
        Some(task)
    }

    /// Removes a lease from its worker's lists.
    pub(crate) fn forget_lease(&mut self, number: WorkerNumber, id: TaskId) {
        let now = self.now;
        let worker = self.worker_mut(number);
        if worker.queue.first() == Some(&id) {
            worker.head_since = now;
        }
        worker.queue.retain(|queued| *queued != id);
        worker.revealing.retain(|revealing| *revealing != id);
        self.refresh(number);
    }

    /// A lease whose pixels nobody wants any more.
    pub(crate) fn cancel_task(&mut self, id: TaskId) {
        if let Some(task) = self.release_task(id) {
            let worker = self.worker(task.worker).id;
            self.effects.push(Effect::Cancel {
                worker,
                tasks: vec![id],
            });
        }
    }
}

fn file(files: &mut BTreeSet<u32>, number: u32, belongs: bool) {
    match belongs {
        true => files.insert(number),
        false => files.remove(&number),
    };
}
