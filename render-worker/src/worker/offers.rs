//! Which jobs a worker takes, and on what terms.

use super::Worker;
use crate::{
    blender_release::check_blender,
    job::{Contact, Job},
    limits::{GUARD_MAX_PX, JOBS_MAX},
};
use protocol::{
    Address, JobSpec, NodeId,
    message::{Reply, Terms, bounded_text},
};
use std::time::Instant;

impl Worker {
    pub(super) fn offer(
        &mut self,
        peer: NodeId,
        spec: JobSpec,
        (payer, terms): (Address, Terms),
    ) -> Reply {
        let earlier = self.jobs.iter().find(|(_, job)| job.requestor == peer);
        let goes_on = earlier.is_some_and(|(_, job)| {
            !self.config.hold.is_zero() && *job.spec == spec && job.payer == payer
        });
        let earlier = earlier.map(|(id, _)| *id);
        let acceptable = self
            .check_terms(terms)
            .and_then(|()| self.acceptable(peer, &spec, goes_on));
        if let Err(reason) = acceptable {
            tracing::warn!(requestor = %peer.short(), job = %spec.id.short(), "declined an offer: {reason}");
            return Reply::Declined {
                reason: bounded_text(&reason),
            };
        }
        let version = spec.blender.map(|version| format!(" {version}"));
        let version = version.unwrap_or_default();
        let about = bounded_text(&format!("{}, {}{version}", self.config.about, spec.engine));
        let device = self.config.device_of(spec.engine).to_owned();
        let id = spec.id;
        if !goes_on {
            earlier.into_iter().for_each(|id| self.close(id));
            self.jobs.insert(id, Job::new(peer, payer, spec));
        }
        let mut held = Vec::new();
        if let Some(job) = self.jobs.get_mut(&id) {
            // What is under way to the requestor's earlier process or connection may not arrive: it is said again
            // after the next Prepare.
            job.contact = Contact::Quoted(Instant::now());
            held.extend(job.tasks.keys().copied());
            held.sort_unstable();
        }
        Reply::Quote {
            price_megasample: self.config.price(),
            payee: self.config.payee,
            about,
            device,
            held,
            hold_s: u32::try_from(self.config.hold.as_secs()).unwrap_or(u32::MAX),
        }
    }

    fn check_terms(&self, asked: Terms) -> Result<(), String> {
        match asked == self.config.terms {
            true => Ok(()),
            false => Err(format!(
                "it is paid {asked}, this worker {}: see --network",
                self.config.terms
            )),
        }
    }

    fn acceptable(&self, peer: NodeId, spec: &JobSpec, goes_on: bool) -> Result<(), String> {
        let only = &self.config.serve_only;
        if !only.is_empty() && !only.contains(&peer) {
            return Err("this worker serves other requestors only".into());
        }
        spec.check().map_err(|e| e.to_string())?;
        if !self.config.engines.contains(&spec.engine) {
            return Err(format!("this worker has no {}", spec.engine));
        }
        check_blender(spec.blender, self.config.blender)?;
        if spec.settings.guard_px > GUARD_MAX_PX {
            return Err(format!(
                "a guard band of {} pixels: at most {GUARD_MAX_PX} are allowed",
                spec.settings.guard_px
            ));
        }
        let known = self.jobs.get(&spec.id);
        if known.is_some_and(|job| job.requestor != peer) {
            return Err("another job has this id".into());
        }
        if goes_on {
            return Ok(());
        }
        // A requestor that comes back after a crash with something else, or asks anew, gives up what it had.
        let is_under_way =
            |job: &Job| matches!(job.contact, Contact::Open(_)) && job.spec.id != spec.id;
        let mut theirs = self.jobs.values().filter(|job| job.requestor == peer);
        if theirs.any(is_under_way) {
            return Err("one job at a time for a requestor".into());
        }
        let others = self.jobs.values().filter(|job| job.requestor != peer);
        let busy = others.filter(|job| job.only_kept_since().is_none());
        match busy.count() >= JOBS_MAX {
            true => Err("this worker has enough to do".into()),
            false => Ok(()),
        }
    }
}
