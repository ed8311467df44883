//! What a worker on a chain keeps to: no work that the requestor's escrow does not cover, none once its end is announced, and
//! no voucher left behind.
//!
//! `cover` has the rules, `accounts` what requestors promised and owe, `lookout` looks at the chain on a thread of its own and says
//! when a voucher is worth redeeming, `redeemer` hands it in on another. [`Escrows`] is the loop's side: what was seen last,
//! and the requests that wait for a look.

pub mod accounts;
pub mod cover;
pub mod lookout;
pub mod redeemer;

pub use lookout::{Lookout, Seen};

use crate::limits::{QUESTIONS_MAX, SIGHT_FRESH};
use accounts::{Account, Accounts};
use cover::{Present, check_cover};
use network::Replier;
use protocol::{
    Address, Glm, JobId, NodeId, TaskSpec,
    message::{Release, SignedVoucher},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

/// Tasks that a requestor leases.
pub struct Lease {
    pub peer: NodeId,
    pub job: JobId,
    pub tasks: Vec<TaskSpec>,
    pub next: bool,
}

/// A request that waits for a look at its requestor's escrow.
pub enum Question {
    Lease(Lease),
    Voucher(Box<SignedVoucher>),
    Release(Release),
}

/// The loop's side.
pub struct Escrows {
    pub accounts: Arc<Accounts>,
    lookout: Lookout,
    sights: HashMap<Address, (Instant, Present)>,
    questions: HashMap<u64, (Question, Replier)>,
    asked: u64,
}

impl Escrows {
    pub fn new(accounts: Arc<Accounts>, lookout: Lookout) -> Self {
        Self {
            accounts,
            lookout,
            sights: HashMap::new(),
            questions: HashMap::new(),
            asked: 0,
        }
    }

    pub fn account(&self, payer: Address) -> Account {
        self.accounts.get(payer)
    }

    /// Does what was seen a moment ago cover so much work? If not, the chain may know better.
    pub fn is_covered(&self, payer: Address, in_flight: Glm) -> bool {
        let fresh = self.sights.get(&payer);
        fresh.is_some_and(|(at, present)| {
            at.elapsed() < SIGHT_FRESH
                && check_cover(*present, &self.account(payer), in_flight).is_ok()
        })
    }

    /// The epoch that was the last one when it was looked at last.
    pub fn epoch_seen(&self, payer: Address) -> Option<u64> {
        let (_, present) = self.sights.get(&payer)?;
        present.map(|(epoch, _)| epoch)
    }

    /// Has the chain looked at; gives the request back when too many wait.
    pub fn ask(
        &mut self,
        payer: Address,
        question: Question,
        replier: Replier,
    ) -> Result<(), Replier> {
        self.asked += 1;
        if self.questions.len() >= QUESTIONS_MAX || !self.lookout.ask(self.asked, payer) {
            return Err(replier);
        }
        self.questions.insert(self.asked, (question, replier));
        Ok(())
    }

    /// Remembers what was seen, and gives the request that waited for it.
    pub fn see(&mut self, seen: &Seen) -> Option<(Question, Replier)> {
        if let Ok(present) = seen.present {
            self.sights.insert(seen.payer, (Instant::now(), present));
        }
        self.questions.remove(&seen.question?)
    }

    /// Looks at the escrows of these requestors until told otherwise, and forgets what others had.
    pub fn watch(&mut self, payers: BTreeSet<Address>) {
        self.sights.retain(|payer, _| payers.contains(payer));
        self.lookout.watch(payers);
    }

    /// Ends looking and redeeming. Blocking: a transaction that is under way is left where it is.
    pub fn stop(self) {
        self.lookout.stop();
    }
}
