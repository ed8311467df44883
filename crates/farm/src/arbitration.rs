//! Disputes: two parties say different things about the same cells; further opinions decide who is wrong.
//!
//! The requestor's own engine decides alone where it can: disputes are rare, and accomplices cannot outvote it. Where it
//! cannot, opinions come from workers of the class that are no party, one after the other, until two agree. Nobody is
//! blamed before.

use crate::{
    checking::Servers,
    coordinator::{Farm, OwnPurpose},
    event::{Effect, Evidence, FaultKind, Millis, Statement, Testimony, rect_list},
    frame::{Check, Extent, Opening, Probe, ProbeRef, TileRef},
    limits::{FLAKY_CELLS_MIN, FLAKY_MAX, FLAKY_ONE_OF},
    probing::{Answer, Contradiction},
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, Glm, Rect, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use verifier::{Claim, Verdict};

/// Who claims something, and what hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Party {
    pub worker: WorkerNumber,
    pub stake: Stake,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stake {
    /// A delivered tile.
    Tile(TileRef),
    /// The pay, set aside, of a probe or an opinion.
    Task { id: TaskId, price: Glm },
}

/// What wrong cells look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// One of many that were compared, which saves no work.
    Isolated,
    Any,
}

impl Pattern {
    pub(crate) fn of(found: &Contradiction) -> Self {
        match found.wrong_cells == 1 && found.cells >= FLAKY_CELLS_MIN {
            true => Self::Isolated,
            false => Self::Any,
        }
    }
}

/// A worker that was found wrong, with the tiles that are wrong by this.
pub(crate) struct Accused {
    pub worker: WorkerNumber,
    pub tiles: Vec<TileRef>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dispute {
    pub frame: u32,
    pub class: Blake3Hash,
    pub extent: Extent,
    /// The cell that is wrong, where it is known.
    pub cell: Option<Rect>,
    pub claims: Vec<Claim<Party>>,
    pub pattern: Pattern,
    /// What the claims of probers and judges rest on; their blobs are kept as long.
    pub openings: Vec<(WorkerNumber, Opening)>,
    /// Workers that were asked and did not answer: others are asked first.
    pub tardy: BTreeSet<WorkerNumber>,
    pub asked_task: Option<TaskId>,
    pub asked_own: Option<u64>,
    /// How often its question was taken from a worker that was late.
    pub moves: u32,
    pub since: Millis,
}

impl Farm {
    pub(crate) fn dispute_overlap(&mut self, at: TileRef, other: TileRef, found: Contradiction) {
        if self.is_judged(&self.class_of(at)) {
            return self.doubt_both(at, other, found.cell);
        }
        let stakes = [(at, found.left), (other, found.right)];
        let claims: Vec<Claim<Party>> = stakes
            .into_iter()
            .filter_map(|(at, value)| self.tile_claim(at, value))
            .collect();
        self.open_dispute(at, &found, claims, Vec::new());
    }

    pub(crate) fn dispute_probe(&mut self, probe: ProbeRef, answer: Answer, found: Contradiction) {
        self.checks.probe_mismatches += 1;
        if self.is_judged(&self.class_of(probe.at)) {
            return self.doubt(probe, answer, found.cell);
        }
        let prober = answer.claim(found.right);
        let mut claims: Vec<Claim<Party>> =
            self.tile_claim(probe.at, found.left).into_iter().collect();
        claims.push(prober);
        let openings = vec![(answer.worker, answer.opening)];
        let dispute = self.open_dispute(probe.at, &found, claims, openings);
        if let Some(probe) = self.probe_mut(probe) {
            probe.check = Check::Contested(dispute);
        }
    }

    fn tile_claim(&self, at: TileRef, value: Blake3Hash) -> Option<Claim<Party>> {
        let worker = self.delivery(at)?.worker;
        let stake = Stake::Tile(at);
        Some(Claim {
            party: Party { worker, stake },
            value,
        })
    }

    fn open_dispute(
        &mut self,
        at: TileRef,
        found: &Contradiction,
        claims: Vec<Claim<Party>>,
        openings: Vec<(WorkerNumber, Opening)>,
    ) -> u64 {
        let id = self.fresh_number();
        for claim in &claims {
            if let Stake::Tile(tile) = claim.party.stake {
                if let Some(delivery) = self.delivery_mut(tile) {
                    delivery.disputes.insert(id);
                }
                self.unsettle(tile);
            }
        }
        for (_, opening) in &openings {
            self.hold_blob(opening.root);
        }
        let class = self.class_of(at);
        let dispute = Dispute {
            frame: at.frame,
            class,
            extent: found.extent.clone(),
            cell: found.cell,
            claims,
            pattern: Pattern::of(found),
            openings,
            tardy: BTreeSet::new(),
            asked_task: None,
            asked_own: None,
            moves: 0,
            since: self.now,
        };
        self.disputes.insert(id, dispute);
        self.opinions_wanted.insert(id);
        self.find_judge(id);
        id
    }

    /// May this worker give an opinion: of the class, no party, not asked in vain?
    pub(crate) fn may_judge(&self, number: WorkerNumber, id: u64) -> bool {
        self.disputes.get(&id).is_some_and(|dispute| {
            let is_party = |claim: &Claim<Party>| claim.party.worker == number;
            self.may_serve(number, &dispute.class, |number| {
                dispute.tardy.contains(&number) || dispute.claims.iter().any(is_party)
            })
        })
    }

    /// The own engine is asked, and where it cannot, workers; where they cannot either, the job waits, but not for ever.
    pub(crate) fn find_judge(&mut self, id: u64) {
        let Some(dispute) = self.disputes.get(&id) else {
            return;
        };
        let work = (
            dispute.extent.pixel_count(),
            self.samples_in(&dispute.extent),
        );
        let able = |number| self.may_judge(number, id);
        let affords = |number| self.affords_cells(number, work, Glm::ZERO);
        let servers = self.servers(&dispute.class, dispute.since, able, affords);
        let (frame, class, since) = (dispute.frame, dispute.class, dispute.since);
        let extent = dispute.extent.clone();
        let what = format!(
            "who is right about {} of frame {}",
            rect_list(&extent.rects),
            self.frame_number(frame)
        );
        let request = self.ask_own(OwnPurpose::Opinion(id), frame, class, extent);
        let own_engine_serves = self.own_engine_serves(&class);
        match (request, self.disputes.get_mut(&id)) {
            (Some(_), Some(dispute)) => {
                dispute.asked_own = request;
                self.opinions_wanted.remove(&id);
            }
            (None, _) if servers == Servers::Soon => {}
            // Nobody else is left: those who did not come to it get another chance.
            (None, Some(dispute)) if !own_engine_serves && !dispute.tardy.is_empty() => {
                dispute.tardy.clear();
            }
            _ => self.give_up_waiting(&class, since, &what, servers),
        }
    }

    /// The opinion asked for with this task will not come; another is wanted.
    pub(crate) fn want_opinion(&mut self, id: u64, task: TaskId) {
        if let Some(dispute) = self.disputes.get_mut(&id)
            && dispute.asked_task == Some(task)
        {
            dispute.asked_task = None;
            self.opinions_wanted.insert(id);
        }
    }

    pub(crate) fn answer_opinion(&mut self, id: u64, answer: Answer, cells: &[Blake3Hash]) {
        let Some(dispute) = self
            .disputes
            .get_mut(&id)
            .filter(|dispute| dispute.asked_task == Some(answer.opening.task))
        else {
            return self.ledger.release(answer.price);
        };
        dispute.asked_task = None;
        dispute.claims.push(answer.claim(verifier::digest(cells)));
        let root = answer.opening.root;
        dispute.openings.push((answer.worker, answer.opening));
        self.hold_blob(root);
        self.decide(id, None);
    }

    pub(crate) fn own_opinion(&mut self, id: u64, request: u64, cells: Option<Vec<Blake3Hash>>) {
        let now = self.now;
        let Some(dispute) = self
            .disputes
            .get_mut(&id)
            .filter(|dispute| dispute.asked_own == Some(request))
        else {
            return;
        };
        dispute.asked_own = None;
        match cells {
            Some(cells) => self.decide(id, Some(verifier::digest(&cells))),
            None => {
                dispute.since = now;
                self.opinions_wanted.insert(id);
            }
        }
    }

    fn decide(&mut self, id: u64, own: Option<Blake3Hash>) {
        let now = self.now;
        let Some(dispute) = self.disputes.get_mut(&id) else {
            return;
        };
        let (losers, value) = match verifier::arbitrate(&dispute.claims, own) {
            Verdict::Inconclusive => {
                dispute.since = now;
                self.opinions_wanted.insert(id);
                return self.find_judge(id);
            }
            Verdict::Accepted => (Vec::new(), None),
            Verdict::Rejected { parties, value } => (parties, Some(value)),
        };
        let evidence = value.map(|value| self.evidence(id, value, own));
        self.checks.arbitrations += 1;
        let pattern = self
            .disputes
            .get(&id)
            .map_or(Pattern::Any, |dispute| dispute.pattern);
        for party in &losers {
            self.drop_claim(id, *party);
        }
        let accused: Vec<Accused> = losers.iter().map(Accused::by).collect();
        let (remaining, roots) = self.close_dispute(id);
        if let Some(evidence) = evidence {
            self.convict(&accused, pattern, evidence);
        }
        self.reward(id, &remaining);
        roots.into_iter().for_each(|root| self.release_blob(root));
    }

    /// The consequences of being wrong. Isolated cells cost the tile; who is wrong more often, or more, is out, and a cheat if
    /// few of the cells that were compared are between its faults.
    pub(crate) fn convict(&mut self, accused: &[Accused], pattern: Pattern, evidence: Evidence) {
        let (mut flaky, mut frauds) = (Vec::new(), Vec::new());
        for Accused { worker, tiles } in accused {
            if self.worker(*worker).standing == Standing::Quarantined {
                tiles.iter().for_each(|at| self.void_tile(*at));
                continue;
            }
            let accused = self.worker_mut(*worker);
            let faults = accused.flaky + 1;
            let is_often = accused.agreed_cells < u64::from(faults) * FLAKY_ONE_OF;
            match pattern {
                Pattern::Isolated if faults <= FLAKY_MAX => {
                    accused.flaky = faults;
                    self.effects.push(Effect::Fault {
                        worker: self.worker(*worker).id,
                        evidence: Box::new(evidence.clone()),
                    });
                    tiles.iter().for_each(|at| self.void_tile(*at));
                }
                Pattern::Isolated if !is_often => flaky.push(*worker),
                Pattern::Isolated | Pattern::Any => frauds.push(*worker),
            }
        }
        self.quarantine(&flaky, FaultKind::Flaky, &evidence);
        self.quarantine(&frauds, FaultKind::Fraud, &evidence);
    }

    pub(crate) fn convict_by_own_engine(&mut self, probe: ProbeRef, found: Contradiction) {
        let Some(worker) = self.delivery(probe.at).map(|delivery| delivery.worker) else {
            self.checks.probe_mismatches += 1;
            return;
        };
        let accused = Accused {
            worker,
            tiles: vec![probe.at],
        };
        let (place, testimony) = (
            (probe.at.frame, self.class_of(probe.at)),
            self.testimony_of(probe.at),
        );
        self.convict_by_own_word(accused, place, testimony, &found);
    }

    /// The own engine contradicts what a worker said (`found.left`) of a frame of this class.
    pub(crate) fn convict_by_own_word(
        &mut self,
        accused: Accused,
        (frame, class): (u32, Blake3Hash),
        testimony: Option<Testimony>,
        found: &Contradiction,
    ) {
        self.checks.probe_mismatches += 1;
        let evidence = Evidence {
            frame: self.frame_number(frame),
            samples: found.extent.samples,
            rects: found.extent.rects.to_vec(),
            pixels: found.extent.pixels,
            cell: found.cell,
            class,
            statements: vec![Statement {
                worker: self.worker(accused.worker).id,
                value: found.left,
                is_wrong: true,
                testimony,
            }],
            own: Some(found.right),
            noise: None,
        };
        self.convict(&[accused], Pattern::of(found), evidence);
    }

    fn evidence(&self, id: u64, value: Blake3Hash, own: Option<Blake3Hash>) -> Evidence {
        let dispute = self.disputes.get(&id);
        let statement = |claim: &Claim<Party>| Statement {
            worker: self.worker(claim.party.worker).id,
            value: claim.value,
            is_wrong: claim.value != value,
            testimony: match claim.party.stake {
                Stake::Tile(at) => self.testimony_of(at),
                Stake::Task { id, .. } => {
                    let mut openings = dispute.into_iter().flat_map(|dispute| &dispute.openings);
                    openings
                        .find(|(_, opening)| opening.task == id)
                        .and_then(|(number, opening)| opening.testimony(self.worker(*number).id))
                }
            },
        };
        let claims = dispute.map_or(&[][..], |dispute| dispute.claims.as_slice());
        Evidence {
            frame: dispute.map_or(0, |dispute| self.frame_number(dispute.frame)),
            samples: dispute.and_then(|dispute| dispute.extent.samples),
            rects: dispute.map_or(Vec::new(), |dispute| dispute.extent.rects.to_vec()),
            pixels: dispute.and_then(|dispute| dispute.extent.pixels),
            cell: dispute.and_then(|dispute| dispute.cell),
            class: dispute.map_or(Blake3Hash([0; 32]), |dispute| dispute.class),
            statements: claims.iter().map(statement).collect(),
            own,
            noise: None,
        }
    }

    /// Removes a claim that has lost or is void; what was set aside for it is free.
    fn drop_claim(&mut self, id: u64, party: Party) {
        let Some(dispute) = self.disputes.get_mut(&id) else {
            return;
        };
        dispute.claims.retain(|claim| claim.party != party);
        match party.stake {
            Stake::Task { id, price } => {
                self.ledger.release(price);
                self.reject_task(party.worker, id, "it does not agree with the others".into());
            }
            Stake::Tile(at) => {
                if let Some(delivery) = self.delivery_mut(at) {
                    delivery.disputes.remove(&id);
                }
            }
        }
    }

    /// Ends a dispute and returns the parties whose claims were left in it, and the blobs that were kept for it.
    fn close_dispute(&mut self, id: u64) -> (Vec<Party>, Vec<Blake3Hash>) {
        self.opinions_wanted.remove(&id);
        let Some(dispute) = self.disputes.remove(&id) else {
            return Default::default();
        };
        if let Some(task) = dispute.asked_task {
            self.cancel_task(task);
        }
        if let Some(request) = dispute.asked_own {
            self.own_requests.remove(&request);
        }
        let roots = dispute.openings.iter().map(|(_, opening)| opening.root);
        let parties = dispute.claims.iter().map(|claim| claim.party);
        (parties.collect(), roots.collect())
    }

    /// Those who were right are paid, their tiles go on: contested probes are drawn from another worker.
    fn reward(&mut self, id: u64, parties: &[Party]) {
        for party in parties {
            match party.stake {
                Stake::Task { id, price } => self.accept_task(party.worker, id, price, false),
                Stake::Tile(at) => self.uncontest(id, at),
            }
        }
    }

    fn uncontest(&mut self, id: u64, at: TileRef) {
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        delivery.disputes.remove(&id);
        let contested = |probe: &Probe| probe.check == Check::Contested(id);
        let index = delivery.probes.iter().position(contested);
        match index.and_then(|index| u8::try_from(index).ok()) {
            Some(index) => self.want_probe(ProbeRef { at, index }),
            None => self.settle(at),
        }
    }

    /// A party's word no longer counts. If the others agree now the dispute is over; as nothing was proven, their tiles
    /// go on and their probes and opinions are not paid.
    pub(crate) fn withdraw(&mut self, id: u64, number: WorkerNumber) {
        let Some(dispute) = self.disputes.get(&id) else {
            return;
        };
        let parties = dispute.claims.iter().map(|claim| claim.party);
        let void: Vec<Party> = parties.filter(|party| party.worker == number).collect();
        for party in void {
            self.drop_claim(id, party);
        }
        let Some(dispute) = self.disputes.get(&id) else {
            return;
        };
        let first = dispute.claims.first().map(|claim| claim.value);
        let mut claims = dispute.claims.iter();
        if claims.all(|claim| Some(claim.value) == first) {
            self.end_undecided(id);
        }
    }

    fn end_undecided(&mut self, id: u64) {
        let (parties, roots) = self.close_dispute(id);
        for party in parties {
            self.dismiss_claim(id, party);
        }
        roots.into_iter().for_each(|root| self.release_blob(root));
    }

    /// A claim in a dispute that ended undecided.
    fn dismiss_claim(&mut self, dispute: u64, party: Party) {
        match party.stake {
            Stake::Task { id, price } => {
                self.ledger.release(price);
                self.reject_task(party.worker, id, "the dispute ended undecided".into());
            }
            Stake::Tile(at) => self.uncontest(dispute, at),
        }
    }

    /// Ends all disputes without a verdict: nobody is blamed, nobody is paid.
    pub(crate) fn drop_disputes(&mut self) {
        let open: Vec<u64> = self.disputes.keys().copied().collect();
        for id in open {
            self.end_undecided(id);
        }
    }
}

impl Accused {
    fn by(party: &Party) -> Self {
        Self {
            worker: party.worker,
            tiles: match party.stake {
                Stake::Tile(at) => vec![at],
                Stake::Task { .. } => Vec::new(),
            },
        }
    }
}

impl Answer {
    fn claim(&self, value: Blake3Hash) -> Claim<Party> {
        let (id, price) = (self.opening.task, self.price);
        let stake = Stake::Task { id, price };
        Claim {
            party: Party {
                worker: self.worker,
                stake,
            },
            value,
        }
    }
}
