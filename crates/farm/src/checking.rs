//! The checks of a delivery: cell count, commitment, overlap with its neighbours, secret probes.

use crate::{
    coordinator::{ArrivedCells, Farm, OwnPurpose, OwnRequest},
    event::{Effect, Millis, Outcome},
    frame::{Check, Delivery, Pixels, Purpose, Task, Tile, TileRef, shared_strips},
    limits::{OPINION_WAIT_MS, OWN_REQUESTS_MAX},
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, Rect, TaskId};
use std::{collections::BTreeSet, sync::Arc};

/// Where two parties disagree, and what each says the cells there are.
pub(crate) struct Contradiction {
    pub rects: Vec<Rect>,
    pub left: Blake3Hash,
    pub right: Blake3Hash,
}

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

impl Farm {
    pub(crate) fn on_delivered(
        &mut self,
        number: WorkerNumber,
        id: TaskId,
        salt: [u8; 32],
        root: Blake3Hash,
        cells: ArrivedCells,
    ) {
        let owned = self.tasks.get(&id).filter(|task| task.worker == number);
        let Some((task, commitment)) = owned.and_then(|task| Some((task, task.committed?.0)))
        else {
            return self.forget_if_unused(root);
        };
        let opened = self.opened(task, &commitment, &salt, &root, cells);
        match opened {
            Ok(cells) => self.take_delivery(number, id, commitment, root, cells),
            Err(reason) => self.task_failed(number, id, &reason),
        }
        self.forget_if_unused(root);
    }

    fn take_delivery(
        &mut self,
        number: WorkerNumber,
        id: TaskId,
        commitment: Blake3Hash,
        root: Blake3Hash,
        cells: Arc<[Blake3Hash]>,
    ) {
        self.forget_lease(number, id);
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        match task.purpose {
            Purpose::Tile(at) => self.deliver_tile(at, id, task, commitment, root, cells),
            Purpose::Probe(at) => self.answer_probe(at, id, task, &cells),
            Purpose::Opinion(dispute) => self.answer_opinion(dispute, id, &task, &cells),
        }
    }

    /// Are these the cells that were due, and those that were committed to?
    fn opened(
        &self,
        task: &Task,
        commitment: &Blake3Hash,
        salt: &[u8; 32],
        root: &Blake3Hash,
        cells: ArrivedCells,
    ) -> Result<Arc<[Blake3Hash]>, String> {
        let cells = cells?;
        verifier::check_count(&task.rects, &cells).map_err(|e| e.to_string())?;
        let frame = self.frame_number(task.frame);
        let spec_hash = protocol::job::task_hash(&self.config.job, frame, &task.rects);
        let worker = &self.worker(task.worker).id;
        let opening = verifier::commitment(worker, &spec_hash, salt, root);
        match opening == *commitment {
            true => Ok(cells),
            false => Err("salt and pixels do not open the commitment".into()),
        }
    }

    fn deliver_tile(
        &mut self,
        at: TileRef,
        id: TaskId,
        task: Task,
        commitment: Blake3Hash,
        root: Blake3Hash,
        cells: Arc<[Blake3Hash]>,
    ) {
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
        let probes = self.probes(at.tile, task.worker, &commitment);
        let rendered = self.config.grid.rendered(at.tile);
        let pick = |wanted: &[Rect]| {
            let picked = verifier::cells::select(&rendered, &cells, wanted);
            picked.unwrap_or_default().into_boxed_slice()
        };
        let answers = pick(&probes);
        let probe_digest = verifier::digest(&answers);
        let pixels = Pixels::Fresh {
            root,
            answers,
            shared: pick(&shared_strips(&self.config.grid, at.tile)),
        };
        let delivery = Delivery {
            worker: task.worker,
            unpaid: Some(id),
            class: task.class,
            commitment,
            probes,
            probe_digest,
            pixels,
            check: Check::Passed { prober: None },
            probers: Vec::new(),
            tardy: BTreeSet::new(),
            moves: 0,
            disputes: BTreeSet::new(),
            price: task.price,
            probe_allowance: task.probe_allowance,
        };
        let unprobed = delivery.probes.is_empty();
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        frame.tiles[at.tile as usize] = Tile::Delivered(Box::new(delivery));
        self.hold_blob(root);
        self.worker_mut(task.worker).unverified.insert(at);
        if !unprobed {
            self.want_probe(at);
        }
        self.check_overlaps(at);
        match unprobed {
            true => self.settle(at),
            false => self.find_prober(at),
        }
    }

    /// Compares a tile with its delivered neighbours of the same class, cell by cell where they overlap.
    fn check_overlaps(&mut self, at: TileRef) {
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
            let strips = |at: TileRef| shared_strips(&self.config.grid, at.tile);
            let found = verifier::mismatches(&strips(at), left, &strips(other), right);
            let parties = (mine.worker, theirs.worker);
            self.checks.overlaps += 1;
            let Some(mismatch) = found.first() else {
                continue;
            };
            self.checks.overlap_mismatches += 1;
            let contradiction = Contradiction {
                rects: mismatch
                    .cell
                    .rect(self.config.grid.size)
                    .into_iter()
                    .collect(),
                left: mismatch.left,
                right: mismatch.right,
            };
            if parties.0 == parties.1 {
                let evidence = format!(
                    "frame {}: its tiles {} and {} contradict each other at {}: {} and {}",
                    self.frame_number(at.frame),
                    at.tile,
                    other.tile,
                    rect_list(&contradiction.rects),
                    contradiction.left,
                    contradiction.right
                );
                return self.quarantine(&[parties.0], &evidence);
            }
            self.dispute_overlap(at, other, contradiction);
        }
    }

    fn neighbours(&self, at: TileRef) -> Vec<TileRef> {
        let grid = &self.config.grid;
        let (columns, rows) = (grid.columns(), grid.rows());
        let (column, row) = (at.tile % columns, at.tile / columns);
        let mut found = Vec::with_capacity(8);
        for y in row.saturating_sub(1)..=(row + 1).min(rows - 1) {
            for x in column.saturating_sub(1)..=(column + 1).min(columns - 1) {
                let tile = y * columns + x;
                if tile != at.tile {
                    found.push(TileRef { tile, ..at });
                }
            }
        }
        found
    }

    /// The first cell (or, where only a digest is left, all probes) on which an answer to a tile's probes and the tile
    /// disagree.
    fn contradiction(
        &self,
        at: TileRef,
        rects: &[Rect],
        answer: &[Blake3Hash],
    ) -> Option<Contradiction> {
        let delivery = self.delivery(at)?;
        let left = delivery.probe_digest;
        match &delivery.pixels {
            Pixels::Fresh { answers, .. } if **answers == *answer => return None,
            Pixels::Fresh { answers, .. } => {
                let pairs = answers.iter().zip(answer);
                let cells = rects.iter().flat_map(Rect::cells).map(|(_, rect)| rect);
                if let Some((rect, (&left, &right))) =
                    cells.zip(pairs).find(|(_, (left, right))| left != right)
                {
                    let rects = vec![rect];
                    return Some(Contradiction { rects, left, right });
                }
            }
            Pixels::Sealed => {}
        }
        let right = verifier::digest(answer);
        (left != right).then(|| Contradiction {
            rects: rects.to_vec(),
            left,
            right,
        })
    }

    fn answer_probe(&mut self, at: TileRef, id: TaskId, task: Task, answer: &[Blake3Hash]) {
        match self.delivery_mut(at) {
            Some(delivery) if delivery.check == Check::ProbeLeased(id) => {
                delivery.probers.push(task.worker);
            }
            _ => return self.ledger.release(task.price),
        }
        self.checks.probes += 1;
        match self.contradiction(at, &task.rects, answer) {
            None => {
                self.accept_task(task.worker, id, task.price);
                self.count_checked(at);
                self.pass(at, Some(task.worker));
            }
            Some(contradiction) => {
                self.checks.probe_mismatches += 1;
                self.dispute_probe(at, id, &task, contradiction);
            }
        }
    }

    /// The probes of a tile are to be rendered (again).
    pub(crate) fn want_probe(&mut self, at: TileRef) {
        let since = self.now;
        if let Some(delivery) = self.delivery_mut(at) {
            delivery.check = Check::ProbeWanted { since };
            self.probes_wanted.insert(at);
            self.unsettle(at);
        }
    }

    /// Somebody else rendered a tile's probes alike: this counts for its worker, once.
    fn count_checked(&mut self, at: TileRef) {
        let unpaid = self
            .delivery(at)
            .filter(|delivery| delivery.unpaid.is_some());
        if let Some(number) = unpaid.map(|delivery| delivery.worker) {
            self.worker_mut(number).tiles_checked += 1;
        }
    }

    fn pass(&mut self, at: TileRef, prober: Option<WorkerNumber>) {
        self.probes_wanted.remove(&at);
        if let Some(delivery) = self.delivery_mut(at) {
            delivery.check = Check::Passed { prober };
        }
        self.settle(at);
    }

    /// Accepts and pays a tile whose checks are over and that nobody disputes.
    pub(crate) fn settle(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        let decided =
            matches!(delivery.check, Check::Passed { .. }) && delivery.disputes.is_empty();
        let (number, unpaid, price) = (delivery.worker, delivery.unpaid, delivery.price);
        let allowance = delivery.probe_allowance;
        if !decided || self.worker(number).standing == Standing::Quarantined {
            return;
        }
        if let Some(delivery) = self.delivery_mut(at) {
            delivery.unpaid = None;
            delivery.probe_allowance = protocol::Glm::ZERO;
        }
        self.ledger.release(allowance);
        self.worker_mut(number).unverified.remove(&at);
        self.cancel_copy(at);
        if let Some(task) = unpaid {
            self.worker_mut(number).tiles_accepted += 1;
            self.accept_task(number, task, price);
        }
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

    /// Tiles and disputes that wait for somebody who can render their cells.
    pub(crate) fn check_waiting(&mut self) {
        for at in self.probes_wanted.clone() {
            self.find_prober(at);
        }
        for id in self.opinions_wanted.clone() {
            self.find_judge(id);
        }
    }

    /// If no worker can probe this tile soon: own workers are believed, for others the own engine does it, and where it
    /// cannot, the job waits for somebody, but not for ever.
    fn find_prober(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        let Check::ProbeWanted { since } = delivery.check else {
            return;
        };
        let (allowance, class) = (delivery.probe_allowance, delivery.class);
        let owner = self.worker(delivery.worker);
        let (core, shape) = (self.config.grid.core(at.tile), self.config.probes);
        let pixels = verifier::probe_pixels_max(&core, shape, owner.trust);
        let able = |number| self.may_probe(number, at);
        let affords = |number| self.affords_cells(number, pixels, allowance);
        let servers = self.servers(&class, since, able, affords);
        if servers == Servers::Soon {
            return;
        }
        if owner.trust.policy().accepted_unprobed {
            self.checks.unprobed_tiles += 1;
            return self.pass(at, None);
        }
        let rects = delivery.probes.clone();
        if let Some(request) = self.ask_own(OwnPurpose::Probe(at), at.frame, class, rects) {
            self.probes_wanted.remove(&at);
            if let Some(delivery) = self.delivery_mut(at) {
                delivery.check = Check::ProbeOwn(request);
            }
        } else if !self.ask_the_tardy(at) {
            let what = format!("tile {} of frame {}", at.tile, self.frame_number(at.frame));
            self.give_up_waiting(since, &what, servers);
        }
    }

    /// Nobody else is left: those who did not come to a tile's probes get another chance.
    fn ask_the_tardy(&mut self, at: TileRef) -> bool {
        let own_engine_works = self.own_engine_works;
        self.delivery_mut(at).is_some_and(|delivery| {
            !own_engine_works && !std::mem::take(&mut delivery.tardy).is_empty()
        })
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
        pixels: u64,
        set_aside: protocol::Glm,
    ) -> bool {
        let samples = self.config.job.settings.samples;
        let price = self.worker(number).price(pixels, samples);
        price.is_some_and(|price| {
            let more = price.checked_sub(set_aside).unwrap_or_default();
            self.ledger.affords(more)
        })
    }

    pub(crate) fn give_up_waiting(&mut self, since: Millis, what: &str, servers: Servers) {
        if self.own_engine_works || self.now.saturating_sub(since) <= OPINION_WAIT_MS {
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
        rects: Arc<[Rect]>,
    ) -> Option<u64> {
        if !self.own_engine_works || self.own_requests.len() >= OWN_REQUESTS_MAX {
            return None;
        }
        let request = self.fresh_number();
        self.own_requests.insert(
            request,
            OwnRequest {
                purpose,
                rects: rects.clone(),
                asked_at: self.now,
            },
        );
        self.effects.push(Effect::RenderOwn {
            request,
            frame: self.frame_number(frame),
            class,
            rects: rects.to_vec(),
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
            .filter(|cells| verifier::check_count(&request.rects, cells).is_ok());
        self.own_engine_works &= cells.is_some();
        match request.purpose {
            OwnPurpose::Probe(at) => self.own_probe(id, at, &request.rects, cells),
            OwnPurpose::Opinion(dispute) => self.own_opinion(dispute, id, cells),
        }
    }

    fn own_probe(&mut self, id: u64, at: TileRef, rects: &[Rect], cells: Option<Vec<Blake3Hash>>) {
        let Some(worker) = self
            .delivery(at)
            .filter(|delivery| delivery.check == Check::ProbeOwn(id))
            .map(|delivery| delivery.worker)
        else {
            return;
        };
        let Some(cells) = cells else {
            return self.want_probe(at);
        };
        self.checks.own_probes += 1;
        match self.contradiction(at, rects, &cells) {
            None => {
                self.count_checked(at);
                self.pass(at, None);
            }
            Some(found) => {
                self.checks.probe_mismatches += 1;
                let evidence = format!(
                    "frame {}, {}: it delivered {}, our own engine rendered {}",
                    self.frame_number(at.frame),
                    rect_list(&found.rects),
                    found.left,
                    found.right
                );
                self.quarantine(&[worker], &evidence);
            }
        }
    }
}

/// Names rectangles for a person: the first and how many more.
pub(crate) fn rect_list(rects: &[Rect]) -> String {
    match rects {
        [] => "no cell".into(),
        [one] => format!("cell {one}"),
        [first, rest @ ..] => format!("cells {first} and {} more", rest.len()),
    }
}
