//! A job goes on in a new process, and finished frames are taken up again.

use crate::{
    coordinator::{Farm, OwnPurpose},
    event::{Effect, Millis},
    frame::Frame,
};
use protocol::Glm;

impl Farm {
    /// Leases wait for workers that come back, what waited for this process is asked for again.
    pub(crate) fn on_resumed(&mut self, budget: Option<Glm>, deadline: Option<Millis>) {
        self.ledger.set_budget(budget);
        self.config.deadline = deadline;
        self.nobody_since = None;
        self.first_ready_at = None;
        self.everybody_is_away();
        self.wait_anew();
        self.ask_own_again();
        for (request, comparison) in &self.comparisons {
            self.effects.push(comparison.effect(*request));
        }
        // Also frames that are no longer to be written as they were: the answers of the old process never come.
        let open: Vec<u32> = self.open.iter().map(|(frame, _)| frame).collect();
        for frame in open {
            if let Some(open) = self.open.get_mut(frame) {
                (open.writing, open.writes_under_way) = (false, 0);
            }
            self.touched_frames.insert(frame);
        }
        self.writing_frames.clear();
    }

    /// Who could check something had no chance to do so while this process was not there, nor had the own engine.
    fn wait_anew(&mut self) {
        let now = self.now;
        self.own_engine_works = true;
        for probe in self.probes_wanted.clone() {
            self.want_probe(probe);
        }
        for dispute in self.disputes.values_mut() {
            dispute.since = now;
        }
    }

    fn ask_own_again(&mut self) {
        let now = self.now;
        let mut asked = Vec::new();
        for (&request, own) in &mut self.own_requests {
            own.asked_at = now;
            asked.push((request, own.purpose, own.extent.clone()));
        }
        for (request, purpose, extent) in asked {
            let about = match purpose {
                OwnPurpose::Judge(probe) => {
                    match self.judge_effect(request, probe) {
                        Some(effect) => self.effects.push(effect),
                        None => drop(self.own_requests.remove(&request)),
                    }
                    continue;
                }
                OwnPurpose::Probe(probe) => {
                    let delivery = self.delivery(probe.at);
                    delivery.map(|delivery| (probe.at.frame, delivery.class))
                }
                OwnPurpose::Audit(id) => self
                    .audited
                    .get(&id)
                    .map(|vouched| (vouched.frame, vouched.class)),
                OwnPurpose::Opinion(id) => self
                    .disputes
                    .get(&id)
                    .map(|dispute| (dispute.frame, dispute.class)),
            };
            match about {
                Some((frame, class)) => {
                    let frame = self.frame_number(frame);
                    self.effects.push(Effect::RenderOwn {
                        request,
                        frame,
                        samples: extent.samples,
                        class,
                        rects: extent.rects.to_vec(),
                        pixels: extent.pixels,
                    });
                }
                None => drop(self.own_requests.remove(&request)),
            }
        }
    }

    /// Opens finished and failed frames anew; what was paid for them stays paid.
    pub(crate) fn open_again(&mut self, frames: &[i32]) {
        for &number in frames {
            let Some(frame) = self.frame_position(number) else {
                continue;
            };
            let sealed = self.sealed.remove(&frame);
            if sealed.is_none() && self.failed.remove(&frame).is_none() {
                continue;
            }
            let tiles = sealed.map_or(0, |tiles| tiles.len());
            self.tiles_accepted = self.tiles_accepted.saturating_sub(tiles as u64);
            self.open
                .insert(frame, Frame::new(self.config.grid.tile_count()));
            self.pending_frames.insert(frame);
            self.refresh_frame(frame);
        }
    }
}
