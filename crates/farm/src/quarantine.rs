//! What follows when a worker is caught, and how tiles go back to where they can be rendered again.

use crate::{
    coordinator::Farm,
    event::{Effect, Evidence, FaultKind},
    frame::{Check, Delivery, Frame, Pixels, ProbeRef, SealedTile, Tile, TileRef},
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, TaskId};

impl Farm {
    /// Ends all dealings with workers that were proven wrong. What they delivered is rendered again, what they vouched
    /// for is probed again, in finished frames too; their word in disputes is void and what they were not paid yet is
    /// forfeit. Flaky ones keep what was accepted of them, and its pay.
    pub(crate) fn quarantine(
        &mut self,
        guilty: &[WorkerNumber],
        fault: FaultKind,
        evidence: &Evidence,
    ) {
        let fresh: Vec<WorkerNumber> = guilty
            .iter()
            .copied()
            .filter(|number| self.worker(*number).standing != Standing::Quarantined)
            .collect();
        for &number in &fresh {
            self.stand(number, Standing::Quarantined);
            self.worker_mut(number).fault = Some(fault);
            let worker = self.worker(number).id;
            self.effects.push(Effect::Quarantine {
                worker,
                fault,
                evidence: Box::new(evidence.clone()),
            });
            self.move_to_frame(number, None);
            self.refresh(number);
        }
        for &number in &fresh {
            self.void_leases(number);
            match fault {
                FaultKind::Fraud => {
                    self.forfeit(number);
                    self.void_deliveries(number, true);
                    self.void_sealed(number);
                    self.void_comparisons(number);
                    self.void_claims(number);
                }
                FaultKind::Flaky => {
                    self.pay_held(number, 0);
                    self.void_deliveries(number, false);
                }
            }
        }
    }

    /// One tile is wrong; others of its worker stand.
    pub(crate) fn void_tile(&mut self, at: TileRef) {
        let Some(delivery) = self.delivery(at) else {
            return;
        };
        let (number, unpaid) = (delivery.worker, delivery.unpaid);
        if let Some(task) = unpaid {
            self.reject_task(number, task, "a cell of it is wrong".into());
        }
        self.return_tile(at);
    }

    fn void_leases(&mut self, number: WorkerNumber) {
        let worker = self.worker(number);
        let leases: Vec<TaskId> = worker
            .queue
            .iter()
            .chain(&worker.revealing)
            .copied()
            .collect();
        for id in leases {
            self.release_task(id);
        }
    }

    /// What it delivered to frames that are not finished, all or only what is not accepted; in the first case what it
    /// vouched for too.
    fn void_deliveries(&mut self, number: WorkerNumber, all: bool) {
        let mut delivered = Vec::new();
        let mut vouched = Vec::new();
        for (frame, open) in self.open.iter() {
            for (tile, state) in (0..).zip(&open.tiles) {
                let Tile::Delivered(delivery) = state else {
                    continue;
                };
                let at = TileRef { frame, tile };
                if delivery.worker == number {
                    if all || delivery.unpaid.is_some() {
                        delivered.push((at, delivery.unpaid));
                    }
                } else if all {
                    let probes = (0..).zip(&delivery.probes);
                    let its = probes.filter(|(_, probe)| probe.prober() == Some(number));
                    vouched.extend(its.map(|(index, _)| ProbeRef { at, index }));
                }
            }
        }
        for probe in vouched {
            self.want_probe(probe);
        }
        for (at, unpaid) in delivered {
            if let Some(task) = unpaid {
                self.reject_task(number, task, "its worker was caught".into());
            }
            self.return_tile(at);
        }
    }

    /// Answers that were being compared when their worker was caught: somebody else is asked.
    fn void_comparisons(&mut self, number: WorkerNumber) {
        let compared = self.comparisons.iter();
        let its: Vec<(u64, ProbeRef)> = compared
            .filter(|(_, comparison)| comparison.answer.worker == number)
            .map(|(request, comparison)| (*request, comparison.probe))
            .collect();
        for (request, probe) in its {
            self.drop_comparison(request, "its worker was caught");
            self.want_probe(probe);
        }
    }

    fn void_claims(&mut self, number: WorkerNumber) {
        let with_claim: Vec<u64> = self
            .disputes
            .iter()
            .filter(|(_, dispute)| {
                let mut claims = dispute.claims.iter();
                claims.any(|claim| claim.party.worker == number)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in with_claim {
            self.withdraw(id, number);
        }
    }

    /// Finished frames: with tiles of it they are rendered again whole, their blobs are gone; where it only vouched
    /// the tiles are probed again.
    fn void_sealed(&mut self, number: WorkerNumber) {
        let mut frames = std::mem::take(&mut self.worker_mut(number).sealed);
        frames.sort_unstable();
        frames.dedup();
        for frame in frames {
            let Some(tiles) = self.sealed.get(&frame) else {
                continue;
            };
            let delivered = tiles.iter().any(|tile| tile.worker == number);
            let vouched: Vec<u32> = (0..)
                .zip(tiles.iter())
                .filter(|(_, tile)| tile.vouchers.iter().any(|voucher| voucher == number))
                .map(|(tile, _)| tile)
                .collect();
            if !delivered && vouched.is_empty() {
                continue;
            }
            self.checks.frames_reopened += 1;
            let reopened = |(tile, sealed): (u32, &SealedTile)| {
                let probe = self.later_probe(tile, sealed.worker, &sealed.commitment);
                let class = self.sealed_classes[sealed.class as usize];
                Tile::Delivered(Box::new(sealed.reopened(class, probe)))
            };
            let open = Frame::audit((0..).zip(tiles.iter()).map(reopened).collect());
            self.sealed.remove(&frame);
            self.open.insert(frame, open);
            if delivered {
                self.render_whole_again(frame);
            } else {
                for tile in vouched {
                    self.want_probes(TileRef { frame, tile });
                }
                // A tile that was only rendered twice has no probes to wait for.
                self.touched_frames.insert(frame);
            }
        }
    }

    /// A tile waits to be leased again; what there was of it is dropped.
    pub(crate) fn return_tile(&mut self, at: TileRef) {
        match self.open.get(at.frame) {
            Some(frame) if frame.sealed => self.render_whole_again(at.frame),
            Some(_) => self.make_pending(at),
            None => {}
        }
    }

    fn render_whole_again(&mut self, frame: u32) {
        let Some(open) = self.open.get_mut(frame) else {
            return;
        };
        open.sealed = false;
        for tile in 0..open.tiles.len() as u32 {
            self.make_pending(TileRef { frame, tile });
        }
    }

    fn make_pending(&mut self, at: TileRef) {
        let twin = self.drop_delivery(at);
        self.unsettle(at);
        if let Some(twin) = twin {
            return self.take_tile(at, twin);
        }
        let Some(frame) = self.open.get_mut(at.frame) else {
            return;
        };
        frame.tiles[at.tile as usize] = Tile::Pending;
        if frame.failed.is_some() {
            frame.unsettled.remove(&at.tile);
            self.touched_frames.insert(at.frame);
        } else if !self.promote_copy(at)
            && let Some(frame) = self.open.get_mut(at.frame)
        {
            frame.pending.insert(at.tile);
            self.refresh_frame(at.frame);
        }
    }

    /// Lets go of all that hangs on a delivery: its blob, money, probes, claims. Another delivery of the same, which had
    /// confirmed it, may take its place.
    fn drop_delivery(&mut self, at: TileRef) -> Option<Box<Delivery>> {
        let mut delivery = self.delivery(at).cloned()?;
        self.suspects.remove(&at);
        let disputes = std::mem::take(&mut delivery.disputes);
        if let Some(frame) = self.open.get_mut(at.frame) {
            frame.tiles[at.tile as usize] = Tile::Pending;
        }
        for id in disputes {
            self.withdraw(id, delivery.worker);
        }
        for (index, probe) in (0..).zip(&delivery.probes) {
            self.probes_wanted.remove(&ProbeRef { at, index });
            match probe.check {
                Check::Leased(task) => self.cancel_task(task),
                Check::Own(request) => {
                    self.own_requests.remove(&request);
                }
                Check::Comparing(request) => {
                    self.drop_comparison(request, "the tile is rendered again");
                }
                Check::Wanted { .. } | Check::Contested(_) | Check::Passed(_) => {}
            }
        }
        if delivery.unpaid.is_some() {
            self.ledger.release(delivery.price);
        }
        self.ledger.release(delivery.probe_allowance);
        self.worker_mut(delivery.worker).unverified.remove(&at);
        self.refresh(delivery.worker);
        if let Pixels::Fresh { root, .. } = delivery.pixels {
            self.release_blob(root);
        }
        self.audit_vouchers(at.frame, &mut delivery);
        let twins = delivery.probes.iter_mut();
        let twin = twins.filter_map(|probe| probe.twin.take()).next()?;
        let is_failed = self.open.get(at.frame)?.failed.is_some();
        let is_good = self.worker(twin.worker).standing != Standing::Quarantined;
        if is_good && !is_failed && self.is_at_work(&twin.class) {
            return Some(twin);
        }
        self.reject_twin(&twin, "the tile that it confirms is void");
        None
    }

    /// Nobody of the class is left who could check what is undecided: it is rendered again by another class. What workers of
    /// still another class delivered, which worked beside it, stays.
    pub(crate) fn give_up_undecided(&mut self) {
        self.drop_disputes();
        self.give_up_of(|farm, class| !farm.ready.contains_key(class));
    }

    /// Nobody judges other classes any more: what is undecided of them is rendered again by the job's own.
    pub(crate) fn give_up_strays(&mut self) {
        self.give_up_of(|farm, class| !farm.is_at_work(class));
    }

    fn give_up_of(&mut self, is_over: impl Fn(&Farm, &Blake3Hash) -> bool) {
        let mut undecided = Vec::new();
        for (frame, open) in self.open.iter() {
            for &tile in &open.unsettled {
                let delivery = open.delivery(tile);
                if let Some(delivery) = delivery.filter(|one| is_over(self, &one.class)) {
                    let unpaid = delivery.unpaid.map(|task| (delivery.worker, task));
                    undecided.push((TileRef { frame, tile }, unpaid));
                }
            }
        }
        for (at, unpaid) in undecided {
            if let Some((worker, task)) = unpaid {
                let reason = "nobody of its determinism class works on the job any more";
                self.reject_task(worker, task, reason.into());
            }
            self.return_tile(at);
        }
    }
}
