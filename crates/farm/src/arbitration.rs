//! Disputes: two parties say different things about the same cells; further opinions decide who is wrong.
//!
//! Opinions come from workers of the class that are no party, one after the other, until two agree; where there is no
//! such worker the requestor's own engine decides alone. Nobody is blamed before.

use crate::{
    checking::{Contradiction, Servers, rect_list},
    coordinator::{Farm, OwnPurpose},
    event::Millis,
    frame::{Check, Task, TileRef},
    worker::WorkerNumber,
};
use protocol::{Blake3Hash, Glm, Rect, TaskId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dispute {
    pub frame: u32,
    pub class: Blake3Hash,
    pub rects: Arc<[Rect]>,
    pub claims: Vec<Claim<Party>>,
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
        let stakes = [(at, found.left), (other, found.right)];
        let claims: Vec<Claim<Party>> = stakes
            .into_iter()
            .filter_map(|(at, value)| self.tile_claim(at, value))
            .collect();
        self.open_dispute(at, found.rects, claims);
    }

    pub(crate) fn dispute_probe(
        &mut self,
        at: TileRef,
        id: TaskId,
        task: &Task,
        found: Contradiction,
    ) {
        let price = task.price;
        let prober = Claim {
            party: Party {
                worker: task.worker,
                stake: Stake::Task { id, price },
            },
            value: found.right,
        };
        let mut claims: Vec<Claim<Party>> = self.tile_claim(at, found.left).into_iter().collect();
        claims.push(prober);
        let dispute = self.open_dispute(at, found.rects, claims);
        if let Some(delivery) = self.delivery_mut(at) {
            delivery.check = Check::Contested(dispute);
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

    fn open_dispute(&mut self, at: TileRef, rects: Vec<Rect>, claims: Vec<Claim<Party>>) -> u64 {
        let id = self.fresh_number();
        for claim in &claims {
            if let Stake::Tile(tile) = claim.party.stake {
                if let Some(delivery) = self.delivery_mut(tile) {
                    delivery.disputes.insert(id);
                }
                self.unsettle(tile);
            }
        }
        let class = self.delivery(at).map(|delivery| delivery.class);
        let dispute = Dispute {
            frame: at.frame,
            class: class.unwrap_or(Blake3Hash([0; 32])),
            rects: rects.into(),
            claims,
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

    /// Where no worker can judge soon, the own engine is asked, and where it cannot, the job waits, but not for ever.
    pub(crate) fn find_judge(&mut self, id: u64) {
        let Some(dispute) = self.disputes.get(&id) else {
            return;
        };
        let pixels = dispute.rects.iter().map(Rect::area).sum();
        let able = |number| self.may_judge(number, id);
        let affords = |number| self.affords_cells(number, pixels, Glm::ZERO);
        let servers = self.servers(&dispute.class, dispute.since, able, affords);
        if servers == Servers::Soon {
            return;
        }
        let (frame, class, since) = (dispute.frame, dispute.class, dispute.since);
        let rects = dispute.rects.clone();
        let what = format!(
            "who is right about {} of frame {}",
            rect_list(&rects),
            self.frame_number(frame)
        );
        let request = self.ask_own(OwnPurpose::Opinion(id), frame, class, rects);
        let own_engine_works = self.own_engine_works;
        match (request, self.disputes.get_mut(&id)) {
            (Some(_), Some(dispute)) => {
                dispute.asked_own = request;
                self.opinions_wanted.remove(&id);
            }
            // Nobody else is left: those who did not come to it get another chance.
            (None, Some(dispute)) if !own_engine_works && !dispute.tardy.is_empty() => {
                dispute.tardy.clear();
            }
            _ => self.give_up_waiting(since, &what, servers),
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

    pub(crate) fn answer_opinion(
        &mut self,
        id: u64,
        task_id: TaskId,
        task: &Task,
        cells: &[Blake3Hash],
    ) {
        let Some(dispute) = self
            .disputes
            .get_mut(&id)
            .filter(|dispute| dispute.asked_task == Some(task_id))
        else {
            return self.ledger.release(task.price);
        };
        dispute.asked_task = None;
        dispute.claims.push(Claim {
            party: Party {
                worker: task.worker,
                stake: Stake::Task {
                    id: task_id,
                    price: task.price,
                },
            },
            value: verifier::digest(cells),
        });
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
        let evidence = value.map(|value| self.evidence(id, value, own.is_some()));
        self.checks.arbitrations += 1;
        for party in &losers {
            self.drop_claim(id, *party);
        }
        let guilty: Vec<WorkerNumber> = losers.iter().map(|party| party.worker).collect();
        let remaining = self.close_dispute(id);
        self.quarantine(&guilty, evidence.as_deref().unwrap_or_default());
        self.reward(id, &remaining);
    }

    fn evidence(&self, id: u64, value: Blake3Hash, by_own_engine: bool) -> String {
        let Some(dispute) = self.disputes.get(&id) else {
            return String::new();
        };
        let mut text = format!(
            "frame {}, {} is {value}",
            self.frame_number(dispute.frame),
            rect_list(&dispute.rects)
        );
        if by_own_engine {
            text += " by our own engine";
        }
        for claim in &dispute.claims {
            let worker = self.worker(claim.party.worker).id.short();
            text += &format!("; {worker} says {}", claim.value);
        }
        protocol::message::bounded_text(&text)
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

    /// Ends a dispute and returns the parties whose claims were left in it.
    fn close_dispute(&mut self, id: u64) -> Vec<Party> {
        self.opinions_wanted.remove(&id);
        let Some(dispute) = self.disputes.remove(&id) else {
            return Vec::new();
        };
        if let Some(task) = dispute.asked_task {
            self.cancel_task(task);
        }
        if let Some(request) = dispute.asked_own {
            self.own_requests.remove(&request);
        }
        dispute.claims.iter().map(|claim| claim.party).collect()
    }

    /// Those who were right are paid, their tiles go on: contested probes are drawn from another worker.
    fn reward(&mut self, id: u64, parties: &[Party]) {
        for party in parties {
            match party.stake {
                Stake::Task { id, price } => self.accept_task(party.worker, id, price),
                Stake::Tile(at) => self.uncontest(id, at),
            }
        }
    }

    fn uncontest(&mut self, id: u64, at: TileRef) {
        let Some(delivery) = self.delivery_mut(at) else {
            return;
        };
        delivery.disputes.remove(&id);
        match delivery.check == Check::Contested(id) {
            true => self.want_probe(at),
            false => self.settle(at),
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
            for party in self.close_dispute(id) {
                self.dismiss(id, party);
            }
        }
    }

    /// A claim in a dispute that ended undecided.
    fn dismiss(&mut self, dispute: u64, party: Party) {
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
            for party in self.close_dispute(id) {
                self.dismiss(id, party);
            }
        }
    }
}
