//! Tiles of other classes than the own engine's, judged by their noise.
//!
//! Inside its class such a tile is checked as any other: overlaps, probes, replicas. Besides, the own engine looks at the
//! trial of a class, at tiles that nobody else can probe, at those that look strange and at a secret part of the others: it
//! renders secret regions of them twice, and [`verifier::noise`] says whether the tile may be honest work.
//!
//! Who contradicts whom inside such a class cannot be arbitrated, because the own engine gives other bits: the tile is judged by
//! its noise around the cell in question. Only a tile that is rejected has consequences for its worker. One that is in
//! doubt otherwise is rendered again by the job's own class, is not paid, and nobody is blamed.

use crate::{
    arbitration::{Accused, Pattern},
    checking::Servers,
    coordinator::{Farm, OwnPurpose, OwnRequest},
    event::{Effect, Evidence, Statement, Trust},
    frame::{Check, Delivery, Expected, Extent, Pixels, Probe, ProbeRef, Prober, TileRef},
    limits::{JUDGED_OF_STRANGERS_ONE_OF, JUDGED_ONE_OF, OWN_REQUESTS_MAX},
    probing::Answer,
    worker::WorkerNumber,
};
use protocol::{Blake3Hash, Rect};
use verifier::{NoiseVerdict, draw::SecretDraw};

const JUDGEMENT_CONTEXT: &[u8] = b"open render farm 2026 judgement draw v1";
const SEED_CONTEXT: &[u8] = b"open render farm 2026 reference seed v1";
/// Seeds of references are drawn below this: engines take seeds of 31 bits.
const SEEDS: u32 = i32::MAX as u32;

impl Farm {
    /// Is this tile large enough for regions?
    pub(crate) fn can_be_judged(&self, tile: u32) -> bool {
        verifier::has_regions(&self.config.grid.core(tile))
    }

    /// The look of the own engine at a tile of another class, if it gets one.
    pub(crate) fn draw_judgement(&self, at: TileRef, delivery: &Delivery) -> Option<Probe> {
        let class = &delivery.class;
        let is_due = self.is_judged(class)
            && self.can_be_judged(at.tile)
            && (!self.is_admitted(class)
                || self.suspects.contains(&at)
                || self.is_drawn_to_be_judged(delivery));
        is_due.then(|| self.judgement(at, delivery))
    }

    fn is_drawn_to_be_judged(&self, delivery: &Delivery) -> bool {
        let trust = self.worker(delivery.worker).trust;
        let is_stranger = trust < Trust::Trusted && !self.has_better_trusted(&delivery.class);
        let one_of = match is_stranger {
            true => JUDGED_OF_STRANGERS_ONE_OF,
            false => JUDGED_ONE_OF,
        };
        let (secret, name) = (&self.config.secret, &delivery.commitment.0);
        SecretDraw::new(secret, JUDGEMENT_CONTEXT, name).below(one_of) == 0
    }

    fn judgement(&self, at: TileRef, delivery: &Delivery) -> Probe {
        let (secret, core) = (&self.config.secret, self.config.grid.core(at.tile));
        let around = delivery.disputed.as_ref();
        let regions = verifier::draw_regions(secret, &delivery.commitment, &core, around);
        let extent = Extent::cells(regions, self.range_of(at.tile));
        Probe::new(extent, Expected::Noise)
    }

    /// The own engine has to look at this tile (again).
    fn judge_tile(&mut self, at: TileRef) {
        if !self.can_be_judged(at.tile) {
            return;
        }
        let Some(judgement) = self
            .delivery(at)
            .map(|delivery| self.judgement(at, delivery))
        else {
            return;
        };
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        let known = delivery.probes.iter().position(Probe::is_of_noise);
        let index = known.unwrap_or(delivery.probes.len());
        let before = match known {
            Some(index) => Some(std::mem::replace(&mut delivery.probes[index], judgement)),
            None => {
                delivery.probes.push(judgement);
                None
            }
        };
        if let Some(Check::Own(request)) = before.map(|probe| probe.check) {
            self.own_requests.remove(&request);
        }
        if let Ok(index) = u8::try_from(index) {
            self.want_probe(ProbeRef { at, index });
            self.find_own_judge(ProbeRef { at, index });
        }
    }

    /// Nobody of the class can render this probe: the own engine looks at the noise instead.
    pub(crate) fn judge_instead(&mut self, wanted: ProbeRef, servers: Servers) {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return;
        };
        let Check::Wanted { since } = probe.check else {
            return;
        };
        if matches!(delivery.pixels, Pixels::Sealed) {
            return self.return_tile(wanted.at);
        }
        if !self.can_be_judged(wanted.at.tile) {
            let (class, frame) = (delivery.class, self.frame_number(wanted.at.frame));
            let what = format!("tile {} of frame {frame}", wanted.at.tile);
            return self.give_up_waiting(&class, since, &what, servers);
        }
        if !delivery.probes.iter().any(Probe::is_of_noise) {
            self.judge_tile(wanted.at);
        }
        self.pass(wanted, Prober::Nobody);
    }

    /// Asks the own engine about the noise of a tile, if it is free; a tile that it can no longer judge is given up.
    pub(crate) fn find_own_judge(&mut self, wanted: ProbeRef) {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return;
        };
        if !matches!(probe.check, Check::Wanted { .. }) {
            return;
        }
        if !self.is_judged(&delivery.class) {
            let is_probed = Some(delivery.class) == self.class && !delivery.is_disputed;
            return match is_probed {
                true => self.probe_after_all(wanted),
                false => self.leave_undecided(wanted),
            };
        }
        if self.own_requests.len() >= OWN_REQUESTS_MAX {
            return;
        }
        let (extent, request) = (probe.extent.clone(), self.next_number + 1);
        let Some(effect) = self.judge_effect(request, wanted) else {
            return;
        };
        let asked = OwnRequest {
            purpose: OwnPurpose::Judge(wanted),
            extent,
            asked_at: self.now,
        };
        let request = self.fresh_number();
        self.own_requests.insert(request, asked);
        self.effects.push(effect);
        self.probes_wanted.remove(&wanted);
        if let Some(probe) = self.probe_mut(wanted) {
            probe.check = Check::Own(request);
        }
    }

    /// The own engine cannot judge a tile of the job's class any more: what its noise stood for is probed.
    fn probe_after_all(&mut self, judged: ProbeRef) {
        let Some(delivery) = self.delivery(judged.at) else {
            return;
        };
        let is_left_out = |probe: &Probe| {
            probe.passed() == Some(Prober::Nobody) && !probe.is_replica() && !probe.is_of_noise()
        };
        let probes = (0..).zip(&delivery.probes);
        let left_out = probes.filter(|(_, probe)| is_left_out(probe));
        let left_out: Vec<u8> = left_out.map(|(index, _)| index).collect();
        for index in left_out {
            let at = judged.at;
            self.want_probe(ProbeRef { at, index });
        }
        self.pass(judged, Prober::Nobody);
    }

    /// What the own engine is asked about a tile; nothing if its pixels are gone.
    pub(crate) fn judge_effect(&self, request: u64, wanted: ProbeRef) -> Option<Effect> {
        let (delivery, probe) = self.delivery(wanted.at).zip(self.probe(wanted))?;
        let Pixels::Fresh { root, .. } = &delivery.pixels else {
            return None;
        };
        let (secret, name) = (&self.config.secret, &delivery.commitment.0);
        Some(Effect::Judge {
            request,
            frame: self.frame_number(wanted.at.frame),
            samples: probe.extent.samples,
            rects: self.tile_extent(wanted.at).rects.to_vec(),
            root: *root,
            regions: probe.extent.rects.to_vec(),
            seed: 1 + SecretDraw::new(secret, SEED_CONTEXT, name).below(SEEDS - 1),
        })
    }

    pub(crate) fn on_judged(&mut self, id: u64, verdict: Result<NoiseVerdict, String>) {
        let Some(request) = self.own_requests.get(&id) else {
            return;
        };
        let OwnPurpose::Judge(probe) = request.purpose else {
            return;
        };
        self.checks.own_pixels += 2 * request.extent.pixel_count();
        match verdict {
            Ok(verdict) => {
                self.own_requests.remove(&id);
                self.checks.judged += 1;
                self.judge(probe, verdict);
            }
            Err(_) => {
                self.own_requests.remove(&id);
                self.own_engine_works = false;
                self.cannot_judge(id, probe);
            }
        }
        self.begin_audits();
    }

    /// The own engine did not answer.
    pub(crate) fn cannot_judge(&mut self, request: u64, wanted: ProbeRef) {
        let probe = self.probe(wanted);
        if probe.is_some_and(|probe| probe.check == Check::Own(request)) {
            self.want_probe(wanted);
        }
    }

    fn judge(&mut self, judged: ProbeRef, verdict: NoiseVerdict) {
        let Some(delivery) = self.delivery(judged.at) else {
            return;
        };
        let (class, is_disputed) = (delivery.class, delivery.is_disputed);
        match verdict {
            NoiseVerdict::Accepted => {
                self.admit(&class);
                match is_disputed {
                    true => self.leave_undecided(judged),
                    false => self.pass(judged, Prober::OwnEngine),
                }
            }
            NoiseVerdict::Inconclusive(_) => {
                self.fail_trial(&class, false);
                self.leave_undecided(judged);
            }
            NoiseVerdict::Rejected(_) | NoiseVerdict::Malformed(_) => {
                self.convict_by_noise(judged.at, verdict);
                self.fail_trial(&class, true);
                self.judge_all_of(&class);
            }
        }
    }

    /// Nobody can say whether this tile is right: it is not paid, and the job's own class renders it. What was accepted
    /// before stays so.
    fn leave_undecided(&mut self, judged: ProbeRef) {
        let at = judged.at;
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        (delivery.is_disputed, delivery.disputed) = (false, None);
        let (number, class, unpaid) = (delivery.worker, delivery.class, delivery.unpaid);
        let Some(task) = unpaid else {
            return self.pass(judged, Prober::Nobody);
        };
        self.checks.undecided += 1;
        self.worker_mut(number).undecided += 1;
        self.drop_twins(at);
        let reason = "it could not be told from wrong work by its noise";
        self.reject_task(number, task, reason.into());
        let is_own = Some(class) == self.class;
        if let Some(frame) = self.open.get_mut(at.frame) {
            match is_own {
                true => {
                    let troubles = frame.troubles.entry(at.tile).or_default();
                    troubles.failed.push(number);
                }
                false => drop(frame.for_own_class.insert(at.tile)),
            }
        }
        self.return_tile(at);
        self.give_up_hopeless(at, reason);
        self.refresh(number);
    }

    /// The deliveries that equal this one share its fate.
    fn drop_twins(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        let twins = delivery.probes.iter_mut();
        let twins: Vec<Box<Delivery>> = twins.filter_map(|probe| probe.twin.take()).collect();
        for twin in twins {
            self.reject_twin(&twin, "the tile that it equals is void");
        }
    }

    fn convict_by_noise(&mut self, at: TileRef, verdict: NoiseVerdict) {
        self.checks.probe_mismatches += 1;
        self.drop_twins(at);
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        let (number, class) = (delivery.worker, delivery.class);
        let root = match &delivery.pixels {
            Pixels::Fresh { root, .. } => *root,
            Pixels::Sealed => delivery.probe_digest,
        };
        let regions = delivery.probes.iter().find(|probe| probe.is_of_noise());
        let rects = regions.map_or(Vec::new(), |probe| probe.extent.rects.to_vec());
        let evidence = Evidence {
            frame: self.frame_number(at.frame),
            samples: self.range_of(at.tile),
            rects,
            pixels: None,
            cell: None,
            class,
            statements: vec![Statement {
                worker: self.worker(number).id,
                value: root,
                is_wrong: true,
                testimony: self.testimony_of(at),
            }],
            own: None,
            noise: Some(verdict),
        };
        let accused = Accused {
            worker: number,
            tiles: vec![at],
        };
        self.convict(&[accused], Pattern::Any, evidence);
    }

    /// One of the class was wrong: its undecided tiles are all looked at.
    fn judge_all_of(&mut self, class: &Blake3Hash) {
        let is_undecided = |delivery: &Delivery| {
            delivery.class == *class
                && delivery.unpaid.is_some()
                && !delivery.probes.iter().any(Probe::is_of_noise)
        };
        let mut undecided = Vec::new();
        for (frame, open) in self.open.iter() {
            let tiles = open.unsettled.iter().copied();
            let tiles = tiles.filter(|tile| open.delivery(*tile).is_some_and(is_undecided));
            undecided.extend(tiles.map(|tile| TileRef { frame, tile }));
        }
        undecided.into_iter().for_each(|at| self.judge_tile(at));
    }

    /// Somebody of its class says something else about a cell of a tile. That is not paid, even if the tile is rejected: both
    /// may be wrong.
    pub(crate) fn doubt(&mut self, probed: ProbeRef, answer: Answer, cell: Option<Rect>) {
        let (at, prober) = (probed.at, answer.worker);
        self.dismiss(answer, "nobody can say which of two in its class is right");
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        let owner = delivery.worker;
        let is_sealed = matches!(delivery.pixels, Pixels::Sealed);
        delivery.is_disputed = true;
        delivery.disputed = delivery.disputed.or(cell);
        if let Some(probe) = self.probe_mut(probed) {
            probe.check = Check::Passed(Prober::Nobody);
        }
        self.contradict(owner, prober);
        match is_sealed || !self.can_be_judged(at.tile) {
            true => self.give_back(at),
            false => self.judge_tile(at),
        }
    }

    /// Two tiles of a class disagree about a cell that both have.
    pub(crate) fn doubt_both(&mut self, at: TileRef, other: TileRef, cell: Option<Rect>) {
        let owners = [at, other].map(|at| self.delivery(at).map(|delivery| delivery.worker));
        if let [Some(one), Some(other)] = owners {
            self.contradict(one, other);
        }
        for at in [at, other] {
            if let Some(delivery) = self.delivery_mut(at) {
                delivery.is_disputed = true;
                delivery.disputed = delivery.disputed.or(cell);
            }
            match self.can_be_judged(at.tile) {
                true => self.judge_tile(at),
                false => self.give_back(at),
            }
        }
    }

    /// A tile that is in doubt and cannot be looked at is rendered again.
    fn give_back(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        if let Some(task) = delivery.unpaid {
            let reason = "somebody of its class says something else, and nobody can decide";
            self.reject_task(delivery.worker, task, reason.into());
        }
        self.drop_twins(at);
        self.return_tile(at);
    }

    fn contradict(&mut self, one: WorkerNumber, other: WorkerNumber) {
        for (who, whom) in [(one, other), (other, one)] {
            self.worker_mut(who).contradicts.insert(whom);
            self.refresh(who);
        }
    }

    /// An answer that is worth nothing.
    pub(crate) fn dismiss(&mut self, answer: Answer, reason: &str) {
        self.ledger.release(answer.price);
        self.reject_task(answer.worker, answer.opening.task, reason.into());
    }
}
