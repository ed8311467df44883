//! Tasks are taken, vouchers entered and escrows ended: on a chain only after a look at it.

use super::{Worker, refused};
use crate::{
    escrows::{
        Lease, Question, Seen,
        cover::{Present, check_cover, check_end, refusal_of},
    },
    job::{Held, Job, Stage, Task},
};
use network::Replier;
use payment::{Escrow, Ledger};
use protocol::{
    Address, Glm, JobId, JobSpec, NodeId, TaskSpec,
    limits::TASKS_HELD_MAX,
    message::{Release, Reply, SignedVoucher, bounded_text},
};
use std::{
    collections::{BTreeSet, hash_map::Entry},
    sync::Arc,
};

fn too_many() -> Reply {
    refused("too much waits for the chain")
}

fn refusal(reason: &str) -> Reply {
    refused(&bounded_text(reason))
}

impl Worker {
    /// Takes leased tasks, on a chain if the escrow covers them: that is answered when it was looked at.
    pub(super) fn lease(&mut self, lease: Lease, replier: Replier) {
        let (payer, in_flight) = match self.check_lease(&lease) {
            Ok(checked) => checked,
            Err(refusal) => return replier.send(refusal),
        };
        match &mut self.escrows {
            Some(escrows) if !escrows.is_covered(payer, in_flight) => {
                if let Err(replier) = escrows.ask(payer, Question::Lease(lease), replier) {
                    replier.send(too_many());
                }
            }
            _ => replier.send(self.admit(lease)),
        }
    }

    /// Whose escrow has to cover how much, with the tasks of this lease that are new.
    fn check_lease(&mut self, lease: &Lease) -> Result<(Address, Glm), Reply> {
        let price = self.config.price();
        let job = self.job(lease.peer, lease.job)?;
        if !matches!(job.stage, Stage::Ready { .. }) {
            return Err(refused("the job is not ready"));
        }
        for task in &lease.tasks {
            task.check(&job.spec).map_err(|e| refusal(&e.to_string()))?;
        }
        if job.tasks.len() + lease.tasks.len() > TASKS_HELD_MAX {
            return Err(refused("too many tasks are held already"));
        }
        let (payer, spec) = (job.payer, Arc::clone(&job.spec));
        let new = lease.tasks.iter();
        let new = new.filter(|task| !job.tasks.contains_key(&task.id));
        let new: Glm = new.map(|task| value(task, &spec, price)).sum();
        Ok((payer, [self.in_flight(payer), new].into_iter().sum()))
    }

    /// What all tasks of a requestor's account are worth that are not judged.
    fn in_flight(&self, payer: Address) -> Glm {
        let theirs = self.jobs.values().filter(|job| job.payer == payer);
        theirs.map(Job::in_flight).sum()
    }

    fn admit(&mut self, lease: Lease) -> Reply {
        let price = self.config.price();
        let id = lease.job;
        let Some(job) = self.jobs.get_mut(&id) else {
            return refused("no such job of yours");
        };
        let mut place = if lease.next { 0 } else { job.queue.len() };
        for task in lease.tasks {
            tracing::info!(job = %id, task = %task.id, "leased");
            // A lease that was sent again after a lost reply changes nothing.
            if let Entry::Vacant(entry) = job.tasks.entry(task.id) {
                entry.insert(Task {
                    held: Held::Queued,
                    value: value(&task, &job.spec, price),
                });
                job.queue.insert(place, task);
                place += 1;
            }
        }
        Reply::Done
    }

    /// Enters a voucher; on a chain one of another escrow than the present is worth nothing.
    pub(super) fn voucher(
        &mut self,
        peer: NodeId,
        id: JobId,
        signed: SignedVoucher,
        replier: Replier,
    ) {
        let voucher = signed.voucher;
        match self.job(peer, id) {
            Ok(job) if voucher.requestor == job.payer => {}
            Ok(_) => return replier.send(refused("the voucher is not of this job's payer")),
            Err(refusal) => return replier.send(refusal),
        }
        match &mut self.escrows {
            Some(escrows) if escrows.epoch_seen(voucher.requestor) != Some(voucher.epoch) => {
                let question = Question::Voucher(Box::new(signed));
                if let Err(replier) = escrows.ask(voucher.requestor, question, replier) {
                    replier.send(too_many());
                }
            }
            _ => self.enter(signed, true, replier),
        }
    }

    fn enter(&self, signed: SignedVoucher, is_present: bool, replier: Replier) {
        match &self.book {
            Some(book) => book.enter(signed, is_present, replier),
            None => replier.send(refused("this worker works for nothing")),
        }
    }

    /// Agrees to the end of an escrow when nothing is owed in it, once the chain was looked at.
    pub(super) fn release(
        &mut self,
        (peer, id): (NodeId, JobId),
        (epoch, cumulative): (u64, Glm),
        replier: Replier,
    ) {
        let requestor = match self.job(peer, id) {
            Ok(job) => job.payer,
            Err(refusal) => return replier.send(refusal),
        };
        let worker = self.config.payee;
        let Some((escrows, chain)) = self.escrows.as_mut().zip(self.config.chain.as_ref()) else {
            return replier.send(refused("this escrow ends by itself"));
        };
        let question = Question::Release(Release {
            chain_id: chain.ledger.chain_id(),
            contract: chain.ledger.contract(),
            requestor,
            worker,
            epoch,
            cumulative,
        });
        if let Err(replier) = escrows.ask(requestor, question, replier) {
            replier.send(too_many());
        }
    }

    fn agree(&mut self, present: Present, release: Release, replier: Replier) {
        let Release {
            requestor,
            epoch,
            cumulative,
            ..
        } = release;
        let theirs = self.jobs.values().filter(|job| job.payer == requestor);
        let held: usize = theirs.map(|job| job.tasks.len()).sum();
        if held > 0 {
            return replier.send(refusal(&format!("{held} of your tasks are not judged")));
        }
        if let Err(reason) = check_end(present, epoch, cumulative) {
            return replier.send(refusal(&reason));
        }
        let (Some(escrows), Some(book)) = (&self.escrows, &self.book) else {
            return replier.send(refused("this escrow ends by itself"));
        };
        // From here on nothing is taken in this epoch, unless the bookkeeper knows of something that is owed.
        let before = escrows.accounts.agree(requestor, epoch);
        if let Err(replier) = book.agree(release, before, replier) {
            escrows.accounts.disagree(requestor, before);
            replier.send(too_many());
        }
    }

    /// The chain was looked at: jobs whose escrow ends are called off, and the request that waited for it is answered.
    pub(super) fn seen(&mut self, seen: Seen) {
        let Some(escrows) = &mut self.escrows else {
            return;
        };
        let asked = escrows.see(&seen);
        if let Ok(Some(present)) = &seen.present
            && let Some(reason) = refusal_of(&present.1)
        {
            self.call_off(seen.payer, present, reason);
        }
        match asked {
            None => {}
            Some((question, replier)) => self.answer(question, seen.present, replier),
        }
    }

    fn answer(&mut self, question: Question, present: Result<Present, String>, replier: Replier) {
        match (question, present) {
            // It can do no harm to have it.
            (Question::Voucher(signed), Err(_)) => self.enter(*signed, false, replier),
            (_, Err(reason)) => replier.send(refusal(&reason)),
            (Question::Voucher(signed), Ok(present)) => match present {
                Some((epoch, _)) if epoch == signed.voucher.epoch => {
                    self.enter(*signed, true, replier);
                }
                _ => replier.send(refused("the voucher is not of the present escrow")),
            },
            (Question::Release(release), Ok(present)) => self.agree(present, release, replier),
            (Question::Lease(lease), Ok(present)) => {
                let covered = self.check_lease(&lease).and_then(|(payer, in_flight)| {
                    let account = self.escrows.as_ref().map(|escrows| escrows.account(payer));
                    check_cover(present, &account.unwrap_or_default(), in_flight)
                        .map_err(|reason| refusal(&reason))
                });
                if let Err(Reply::Refused { reason }) = &covered {
                    tracing::info!(job = %lease.job, "a lease is refused: {reason}");
                }
                let reply = covered.map(|()| self.admit(lease));
                replier.send(reply.unwrap_or_else(|refusal| refusal));
            }
        }
    }

    /// Ends the rendering for a requestor whose escrow ends.
    fn call_off(&mut self, payer: Address, (epoch, escrow): &(u64, Escrow), reason: &str) {
        // One that was closed with this worker's consent had nothing under way.
        let is_theirs = |job: &&mut Job| {
            job.payer == payer && job.is_at_work() && (!escrow.released || job.is_rendering())
        };
        for job in self.jobs.values_mut().filter(is_theirs) {
            tracing::warn!(requestor = %payer, epoch, "work stops: {reason}");
            job.call_off(reason);
        }
    }

    /// Has the escrows of all requestors with jobs looked at.
    pub(super) fn watch_escrows(&mut self) {
        let payers: BTreeSet<Address> = self.jobs.values().map(|job| job.payer).collect();
        if let Some(escrows) = &mut self.escrows {
            escrows.watch(payers);
        }
    }
}

/// What is paid for a task at least.
fn value(task: &TaskSpec, job: &JobSpec, price_megasample: Glm) -> Glm {
    let value = price_megasample.for_samples(task.samples_paid_at_least(job));
    // Beyond any amount, and so beyond any escrow.
    value.unwrap_or(Glm::from_wei(u128::MAX))
}
