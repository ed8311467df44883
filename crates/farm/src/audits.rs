//! What probers said of a tile that fell: looked at before they are paid for it.

use crate::{
    arbitration::Accused,
    coordinator::{Farm, OwnPurpose},
    frame::{Delivery, Expected},
    limits::OWN_REQUESTS_MAX,
    probing::{Answer, first_wrong},
    worker::Standing,
};
use protocol::Blake3Hash;
use serde::{Deserialize, Serialize};

/// An answer to probes of a tile that fell: who agrees with a fake is an accomplice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vouched {
    pub frame: u32,
    pub class: Blake3Hash,
    pub cells: Box<[Blake3Hash]>,
    pub answer: Answer,
}

impl Farm {
    /// What probers said of a tile that fell is looked at by the own engine before they are paid for it; where that cannot,
    /// they are believed, but not where the own engine is of another class: they may be accomplices, and nobody can say.
    pub(crate) fn audit_vouchers(&mut self, frame: u32, delivery: &mut Delivery) {
        let is_void = self.is_judged(&delivery.class);
        for probe in &mut delivery.probes {
            let Some(answer) = probe.answer.take() else {
                continue;
            };
            if is_void {
                self.dismiss(answer, "the tile that it confirms was not accepted");
                continue;
            }
            let vouched = match std::mem::replace(&mut probe.expected, Expected::Cells([].into())) {
                Expected::Cells(cells) => Vouched {
                    frame,
                    class: delivery.class,
                    cells,
                    answer,
                },
                Expected::Digest(_) | Expected::Replica(_) | Expected::Noise => {
                    self.believe(&answer);
                    continue;
                }
            };
            self.audits.push_back(vouched);
        }
        self.begin_audits();
    }

    /// Asks the own engine about as many of them as it takes.
    pub(crate) fn begin_audits(&mut self) {
        while let Some(vouched) = self.audits.pop_front() {
            if !self.own_engine_works {
                self.believe(&vouched.answer);
                continue;
            }
            if self.own_requests.len() >= OWN_REQUESTS_MAX {
                return self.audits.push_front(vouched);
            }
            let extent = vouched.answer.opening.extent.clone();
            let (frame, class) = (vouched.frame, vouched.class);
            let number = self.fresh_number();
            let purpose = OwnPurpose::Audit(number);
            match self.ask_own(purpose, frame, class, extent) {
                Some(_) => drop(self.audited.insert(number, vouched)),
                None => self.believe(&vouched.answer),
            }
        }
    }

    /// The job ends before these were looked at.
    pub(crate) fn believe_all(&mut self) {
        let waiting = std::mem::take(&mut self.audits).into_iter();
        let all = waiting.chain(std::mem::take(&mut self.audited).into_values());
        let all: Vec<Vouched> = all.collect();
        all.iter().for_each(|vouched| self.believe(&vouched.answer));
    }

    fn believe(&mut self, answer: &Answer) {
        match self.worker(answer.worker).standing {
            Standing::Quarantined => {
                self.ledger.release(answer.price);
                let reason = "its worker was caught";
                self.reject_task(answer.worker, answer.opening.task, reason.into());
            }
            _ => self.accept_task(answer.worker, answer.opening.task, answer.price, false),
        }
    }

    pub(crate) fn own_audit(&mut self, number: u64, cells: Option<Vec<Blake3Hash>>) {
        let Some(vouched) = self.audited.remove(&number) else {
            return;
        };
        let Vouched { frame, answer, .. } = &vouched;
        let own = cells.unwrap_or_default();
        let Some(found) = first_wrong(&answer.opening.extent, &vouched.cells, &own) else {
            return self.believe(answer);
        };
        self.ledger.release(answer.price);
        let reason = "it confirmed what is wrong";
        self.reject_task(answer.worker, answer.opening.task, reason.into());
        let accused = Accused {
            worker: answer.worker,
            tiles: Vec::new(),
        };
        let testimony = answer.opening.testimony(self.worker(answer.worker).id);
        self.convict_by_own_word(accused, (*frame, vouched.class), testimony, &found);
    }
}
