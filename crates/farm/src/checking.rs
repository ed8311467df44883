//! The checks of a delivery: cell count, commitment, overlap with its neighbours; its probes are in `probing`.

use crate::{
    arbitration::{Accused, Pattern},
    coordinator::{ArrivedCells, Farm, OwnPurpose, OwnRequest},
    event::{Due, Effect, Evidence, Millis, Outcome, Statement, Testimony},
    frame::{Delivery, Extent, Opening, Pixels, Purpose, Signed, Task, Tile, TileRef},
    limits::{OPINION_WAIT_MS, OWN_REQUESTS_MAX},
    probing::{Answer, Contradiction},
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, Rect, TaskId, TaskSpec, geometry::Cell, job::task_hash, pixels::Looks};
use std::{collections::BTreeSet, sync::Arc};

/// Who could render cells for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Servers {
    None,
    /// Only workers that the budget does not cover.
    TooDear,
    /// Slow workers that are busy for long.
    Later,
    Soon,
}

/// What came for a task.
pub(crate) struct Arrived {
    pub salt: [u8; 32],
    pub root: Blake3Hash,
    pub cells: ArrivedCells,
    pub looks: Looks,
}

impl Farm {
    /// What hashes are due with the delivery of a committed task: all of a probe, of a tile or a replica its own probes
    /// and what it shares with its neighbours.
    pub fn cells_due(&self, id: TaskId) -> Due {
        let Some(task) = self.tasks.get(&id) else {
            return Due::default();
        };
        let Some(commitment) = &task.committed else {
            return Due::default();
        };
        let Some(at) = self.whole_tile(task.purpose) else {
            return match task.extent.pixels {
                Some(pixels) => Due {
                    pixels: vec![pixels],
                    cells: Vec::new(),
                },
                None => Due {
                    pixels: Vec::new(),
                    cells: task.extent.rects.to_vec(),
                },
            };
        };
        let squares = self.probe_squares(at.tile, task.worker, &commitment.hash);
        let shared = self.overlap().shared(self.frame_number(at.frame), at.tile);
        let size = self.config.grid.size;
        let shared = shared.iter().filter_map(|cell| cell.rect(size));
        Due {
            pixels: self.secret_pixels(task.worker, &commitment.hash, commitment.parts),
            cells: squares.into_iter().chain(shared).collect(),
        }
    }

    /// The tile that a task delivers whole.
    pub(crate) fn whole_tile(&self, purpose: Purpose) -> Option<TileRef> {
        match purpose {
            Purpose::Tile(at) => Some(at),
            Purpose::Probe(probe) => {
                let is_replica = self.probe(probe).is_some_and(|probe| probe.is_replica());
                is_replica.then_some(probe.at)
            }
            Purpose::Opinion(_) => None,
        }
    }

    /// What a lease is for.
    pub fn spec_of(&self, id: TaskId) -> Option<TaskSpec> {
        let task = self.tasks.get(&id)?;
        Some(task.extent.spec(id, self.frame_number(task.frame)))
    }

    pub(crate) fn overlap(&self) -> verifier::Overlap<'_> {
        verifier::Overlap {
            secret: &self.config.secret,
            grid: &self.config.grid,
            shape: self.config.probes,
        }
    }

    pub(crate) fn on_delivered(&mut self, number: WorkerNumber, id: TaskId, arrived: Arrived) {
        let root = arrived.root;
        let owned = self.tasks.get(&id).filter(|task| task.worker == number);
        let Some(task) = owned.filter(|task| task.committed.is_some()) else {
            return self.forget_if_unused(root);
        };
        match self.opened(id, task, arrived) {
            Ok((opening, cells, looks)) => self.take_delivery(number, opening, &cells, looks),
            Err(reason) => self.task_failed(number, id, &reason),
        }
        self.forget_if_unused(root);
    }

    /// Are these the cells that were due, and those that were committed to?
    fn opened(
        &self,
        id: TaskId,
        task: &Task,
        arrived: Arrived,
    ) -> Result<(Opening, Arc<[Blake3Hash]>, Looks), String> {
        let Some(commitment) = &task.committed else {
            return Err("it was not committed to".into());
        };
        let Arrived { salt, root, .. } = arrived;
        let cells = arrived.cells?;
        let first = task.extent.rects.first();
        let due = first.map_or(0, |first| self.cells_due(id).hashes(first));
        verifier::cells::check_length(due, &cells).map_err(|e| e.to_string())?;
        let spec_hash = self.task_hash(task);
        let worker = &self.worker(task.worker).id;
        if verifier::commitment(worker, &spec_hash, &salt, &root) != commitment.hash {
            return Err("salt and pixels do not open the commitment".into());
        }
        let opening = Opening {
            task: id,
            extent: task.extent.clone(),
            commitment: commitment.hash,
            signature: commitment.signature,
            salt,
            root,
        };
        Ok((opening, cells, arrived.looks))
    }

    /// What a commitment to a task's pixels is bound to.
    fn task_hash(&self, task: &Task) -> Blake3Hash {
        let Extent {
            samples,
            rects,
            pixels,
        } = &task.extent;
        let part = (self.frame_number(task.frame), *samples);
        task_hash(&self.config.job, part, rects, pixels.as_ref())
    }

    fn take_delivery(
        &mut self,
        number: WorkerNumber,
        opening: Opening,
        cells: &[Blake3Hash],
        looks: Looks,
    ) {
        self.forget_lease(number, opening.task);
        let Some(task) = self.tasks.remove(&opening.task) else {
            return;
        };
        self.count_pixels(&task);
        let answer = |task: Task| Answer {
            worker: number,
            price: task.price,
            opening: opening.clone(),
        };
        match task.purpose {
            Purpose::Tile(at) => {
                self.look_at(at, looks);
                self.deliver_tile(at, task, opening, cells);
            }
            Purpose::Probe(probe) => {
                let is_replica = self.whole_tile(task.purpose).is_some();
                let twin = is_replica.then(|| self.new_delivery(probe.at, &task, &opening, cells));
                self.answer_probe(probe, answer(task), cells, twin);
            }
            Purpose::Opinion(dispute) => self.answer_opinion(dispute, answer(task), cells),
        }
    }

    fn count_pixels(&mut self, task: &Task) {
        match task.purpose {
            Purpose::Tile(at) => {
                let core = self.config.grid.core(at.tile).area();
                self.checks.tile_pixels += core;
                self.checks.overlap_pixels += task.pixels.saturating_sub(core);
            }
            check if self.whole_tile(check).is_some() => self.checks.replica_pixels += task.pixels,
            Purpose::Probe(_) | Purpose::Opinion(_) => self.checks.probe_pixels += task.pixels,
        }
    }

    /// What looks strange is looked at more closely; how it looks decides nothing.
    fn look_at(&mut self, at: TileRef, looks: Looks) {
        match looks {
            Looks::Ordinary => {
                self.suspects.remove(&at);
            }
            Looks::OneColour | Looks::Pink => {
                self.suspects.insert(at);
                self.checks.pink_tiles += u64::from(looks == Looks::Pink);
            }
        }
    }

    fn deliver_tile(&mut self, at: TileRef, task: Task, opening: Opening, cells: &[Blake3Hash]) {
        let id = opening.task;
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        match frame.tiles[at.tile as usize] {
            Tile::Delivered(_) => return self.come_second(at, id, &task),
            Tile::Leased(first) if first != id => {
                frame.copies.insert(at.tile, first);
                self.copies.won += 1;
            }
            Tile::Leased(_) | Tile::Pending => {}
        }
        let mut delivery = self.new_delivery(at, &task, &opening, cells);
        delivery.probes.extend(self.draw_replica(&task, &opening));
        self.hold_blob(opening.root);
        self.take_tile(at, Box::new(delivery));
    }

    /// A tile is here: its checks begin.
    pub(crate) fn take_tile(&mut self, at: TileRef, mut delivery: Box<Delivery>) {
        delivery.probes.extend(self.draw_judgement(at, &delivery));
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        let number = delivery.worker;
        frame.tiles[at.tile as usize] = Tile::Delivered(delivery);
        self.worker_mut(number).unverified.insert(at);
        self.want_probes(at);
        self.check_overlaps(at);
        self.settle(at);
    }

    fn new_delivery(
        &self,
        at: TileRef,
        task: &Task,
        opening: &Opening,
        cells: &[Blake3Hash],
    ) -> Delivery {
        let (root, commitment) = (opening.root, opening.commitment);
        let parts = task.committed.as_ref().map_or(1, |said| said.parts);
        let (probes, later, shared) = self.divide_probes(at, task, &commitment, parts, cells);
        Delivery {
            worker: task.worker,
            unpaid: Some(opening.task),
            class: task.class,
            commitment,
            signed: Some(Signed {
                task: opening.task,
                signature: opening.signature,
                salt: opening.salt,
            }),
            probe_digest: verifier::digest(later),
            pixels: Pixels::Fresh {
                root,
                shared: shared.into(),
            },
            probes,
            disputes: BTreeSet::new(),
            price: task.price,
            probe_allowance: task.probe_allowance,
            is_disputed: false,
            disputed: None,
        }
    }

    /// Compares a tile with its delivered neighbours of the same class, cell by cell where they overlap.
    fn check_overlaps(&mut self, at: TileRef) {
        let frame = self.frame_number(at.frame);
        let mine_shared = self.overlap().shared(frame, at.tile);
        for other in self.neighbours(at) {
            let (Some(mine), Some(theirs)) = (self.delivery(at), self.delivery(other)) else {
                continue;
            };
            let (Pixels::Fresh { shared: left, .. }, Pixels::Fresh { shared: right, .. }) =
                (&mine.pixels, &theirs.pixels)
            else {
                continue;
            };
            if mine.class != theirs.class {
                continue;
            }
            let their_shared = self.overlap().shared(frame, other.tile);
            let found = verifier::mismatches((&mine_shared, left), (&their_shared, right));
            let parties = (mine.worker, theirs.worker);
            self.checks.overlaps += 1;
            let Some(mismatch) = found.first() else {
                continue;
            };
            self.checks.overlap_mismatches += 1;
            let rects = mismatch.cell.rect(self.config.grid.size);
            // Of the cells that each shares with all its neighbours.
            let is_theirs = |cell: &&Cell| their_shared.binary_search(cell).is_ok();
            let cells = mine_shared.iter().filter(is_theirs).count();
            let contradiction = Contradiction {
                extent: Extent::cells(
                    rects.into_iter().collect::<Vec<Rect>>(),
                    self.range_of(at.tile),
                ),
                cell: rects,
                left: mismatch.left,
                right: mismatch.right,
                wrong_cells: found.len(),
                cells,
            };
            match parties.0 == parties.1 {
                true => return self.contradicts_itself((at, other), contradiction),
                false => self.dispute_overlap(at, other, contradiction),
            }
        }
    }

    /// Two tiles of one worker cannot both be right.
    fn contradicts_itself(&mut self, tiles: (TileRef, TileRef), found: Contradiction) {
        let statement = |(at, value): (TileRef, Blake3Hash)| {
            let delivery = self.delivery(at)?;
            Some(Statement {
                worker: self.worker(delivery.worker).id,
                value,
                is_wrong: true,
                testimony: self.testimony_of(at),
            })
        };
        let said = [(tiles.0, found.left), (tiles.1, found.right)];
        let evidence = Evidence {
            frame: self.frame_number(tiles.0.frame),
            samples: found.extent.samples,
            rects: found.extent.rects.to_vec(),
            pixels: None,
            cell: found.cell,
            class: self.class_of(tiles.0),
            statements: said.into_iter().filter_map(statement).collect(),
            own: None,
            noise: None,
        };
        let Some(number) = self.delivery(tiles.0).map(|delivery| delivery.worker) else {
            return;
        };
        let accused = Accused {
            worker: number,
            tiles: vec![tiles.0, tiles.1],
        };
        self.convict(&[accused], Pattern::of(&found), evidence);
    }

    /// What a tile's worker signed and opened, as long as that is remembered.
    pub(crate) fn testimony_of(&self, at: TileRef) -> Option<Testimony> {
        let delivery = self.delivery(at)?;
        let (Some(signed), Pixels::Fresh { root, .. }) = (&delivery.signed, &delivery.pixels)
        else {
            return None;
        };
        Some(Testimony {
            worker: self.worker(delivery.worker).id,
            task: signed.task,
            rects: self.tile_extent(at).rects.to_vec(),
            commitment: delivery.commitment,
            signature: signed.signature,
            salt: signed.salt,
            root: *root,
        })
    }

    /// The determinism class of a delivered tile.
    pub(crate) fn class_of(&self, at: TileRef) -> Blake3Hash {
        let delivery = self.delivery(at);
        delivery.map_or(Blake3Hash([0; 32]), |delivery| delivery.class)
    }

    /// What the worker of a tile renders.
    pub(crate) fn tile_extent(&self, at: TileRef) -> Extent {
        let frame = self.frame_number(at.frame);
        Extent::cells(self.overlap().rects(frame, at.tile), self.range_of(at.tile))
    }

    /// The tiles around one, in its own range of samples.
    fn neighbours(&self, at: TileRef) -> Vec<TileRef> {
        let grid = &self.config.grid;
        let (columns, rows) = (grid.columns(), grid.rows());
        let (column, row) = grid.place(at.tile);
        let first = at.tile - (row * columns + column);
        let mut found = Vec::with_capacity(8);
        for y in row.saturating_sub(1)..=(row + 1).min(rows - 1) {
            for x in column.saturating_sub(1)..=(column + 1).min(columns - 1) {
                let tile = first + y * columns + x;
                if tile != at.tile {
                    found.push(TileRef { tile, ..at });
                }
            }
        }
        found
    }

    /// Accepts a tile whose checks are over and that nobody disputes.
    pub(crate) fn settle(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        let (number, unpaid, price) = (delivery.worker, delivery.unpaid, delivery.price);
        let (allowance, is_checked) = (delivery.probe_allowance, delivery.is_checked());
        // What was accepted before its worker was found flaky stands.
        let is_void = unpaid.is_some() && self.worker(number).standing == Standing::Quarantined;
        if !delivery.is_passed() || is_void {
            return;
        }
        let (mut answers, mut twins) = (Vec::new(), Vec::new());
        if let Some(delivery) = self.delivery_mut(at) {
            delivery.unpaid = None;
            delivery.probe_allowance = protocol::Glm::ZERO;
            answers.extend(
                delivery
                    .probes
                    .iter_mut()
                    .filter_map(|probe| probe.answer.take()),
            );
            twins.extend(
                delivery
                    .probes
                    .iter_mut()
                    .filter_map(|probe| probe.twin.take()),
            );
        }
        self.ledger.release(allowance);
        self.worker_mut(number).unverified.remove(&at);
        self.suspects.remove(&at);
        self.cancel_copy(at);
        if let Some(task) = unpaid {
            let worker = self.worker_mut(number);
            worker.tiles_accepted += 1;
            worker.tiles_checked += u64::from(is_checked);
            self.accept_task(number, task, price, true);
        }
        for answer in answers {
            self.accept_task(answer.worker, answer.opening.task, answer.price, false);
        }
        twins.into_iter().for_each(|twin| self.accept_twin(&twin));
        if let Some(frame) = self.open.get_mut(at.frame)
            && frame.unsettled.remove(&at.tile)
        {
            self.tiles_accepted += 1;
        }
        self.touched_frames.insert(at.frame);
    }

    /// A tile that counted as accepted is in doubt again.
    pub(crate) fn unsettle(&mut self, at: TileRef) {
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        if frame.unsettled.insert(at.tile) {
            self.tiles_accepted = self.tiles_accepted.saturating_sub(1);
        }
        frame.writing = false;
        self.writing_frames.remove(&at.frame);
    }

    /// Probes and disputes that wait for somebody who can render their cells.
    pub(crate) fn check_waiting(&mut self) {
        for wanted in self.probes_wanted.clone() {
            self.find_prober(wanted);
        }
        for id in self.opinions_wanted.clone() {
            self.find_judge(id);
        }
    }

    /// Who could render cells of that class that are wanted `since` then?
    pub(crate) fn servers(
        &self,
        class: &Blake3Hash,
        since: Millis,
        able: impl Fn(WorkerNumber) -> bool,
        affords: impl Fn(WorkerNumber) -> bool,
    ) -> Servers {
        let age = self.now.saturating_sub(since);
        let mut servers = Servers::None;
        for number in self.ready_in(class).filter(|number| able(*number)) {
            let found = match (affords(number), age >= self.probes_from_age(number)) {
                (true, true) => return Servers::Soon,
                (true, false) => Servers::Later,
                (false, _) => Servers::TooDear,
            };
            servers = servers.max(found);
        }
        servers
    }

    /// Does the budget cover cells by this worker, besides what is set aside for them?
    pub(crate) fn affords_cells(
        &self,
        number: WorkerNumber,
        (pixels, samples): (u64, u32),
        set_aside: protocol::Glm,
    ) -> bool {
        let price = self.worker(number).price(pixels, samples);
        price.is_some_and(|price| {
            let more = price.checked_sub(set_aside).unwrap_or_default();
            self.ledger.affords(more)
        })
    }

    pub(crate) fn give_up_waiting(
        &mut self,
        class: &Blake3Hash,
        since: Millis,
        what: &str,
        servers: Servers,
    ) {
        if self.own_engine_serves(class) || self.now.saturating_sub(since) <= OPINION_WAIT_MS {
            return;
        }
        let outcome = match servers {
            Servers::Soon | Servers::Later => return,
            Servers::TooDear => Outcome::BudgetSpent {
                missing: self.remaining_cost(),
            },
            Servers::None => Outcome::Unverified {
                reason: format!(
                    "nobody could check {what}: it needs another worker of the same engine build, or the engine on this machine"
                ),
            },
        };
        self.finish(outcome);
    }

    /// Asks the requestor's own engine; none when it cannot or has enough to do.
    pub(crate) fn ask_own(
        &mut self,
        purpose: OwnPurpose,
        frame: u32,
        class: Blake3Hash,
        extent: Extent,
    ) -> Option<u64> {
        if !self.own_engine_serves(&class) || self.own_requests.len() >= OWN_REQUESTS_MAX {
            return None;
        }
        let request = self.fresh_number();
        self.own_requests.insert(
            request,
            OwnRequest {
                purpose,
                extent: extent.clone(),
                asked_at: self.now,
            },
        );
        self.effects.push(Effect::RenderOwn {
            request,
            frame: self.frame_number(frame),
            samples: extent.samples,
            class,
            rects: extent.rects.to_vec(),
            pixels: extent.pixels,
        });
        Some(request)
    }

    pub(crate) fn on_own_rendered(&mut self, id: u64, cells: Result<Vec<Blake3Hash>, String>) {
        // Also when it comes too late: then it was slow, or this computer slept.
        self.own_engine_works |= cells.is_ok();
        let Some(request) = self.own_requests.remove(&id) else {
            return;
        };
        let cells = cells
            .ok()
            .filter(|cells| cells.len() == request.extent.hash_count());
        self.own_engine_works &= cells.is_some();
        self.checks.own_pixels += request.extent.pixel_count();
        match request.purpose {
            OwnPurpose::Probe(probe) => self.own_probe(id, probe, cells),
            OwnPurpose::Opinion(dispute) => self.own_opinion(dispute, id, cells),
            OwnPurpose::Audit(audit) => self.own_audit(audit, cells),
            OwnPurpose::Judge(probe) => self.cannot_judge(id, probe),
        }
        self.begin_audits();
    }
}
