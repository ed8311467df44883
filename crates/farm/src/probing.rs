//! Probes: cells of a tile that others render again, and replicas: whole tiles rendered twice.
//!
//! The probes of a tile are dealt out to several workers, so that one accomplice cannot vouch for all of it. Who gets
//! which part is drawn from the secret: nobody can come to a probe by asking for it. One part goes to somebody of a
//! higher trust level where there is one; where there is none the requestor's own engine takes its turn.

use crate::{
    coordinator::{Farm, OwnPurpose},
    event::{Difference, Effect, Trust},
    frame::{Check, Delivery, Expected, Extent, Opening, Pixels, Probe, ProbeRef, Prober, TileRef},
    leasing::Outbox,
    limits::{OWN_AUDIT_ONE_OF, OWN_REQUESTS_MAX, PROBES_QUEUED_MAX},
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, Glm, Rect};
use serde::{Deserialize, Serialize};
use verifier::draw::SecretDraw;

const PROBER_CONTEXT: &[u8] = b"open render farm 2026 prober draw v1";
const OWN_AUDIT_CONTEXT: &[u8] = b"open render farm 2026 own audit draw v1";
/// Workers drawn among the better trusted, among those at work on the same frame, among all.
const TRIES: [usize; 3] = [8, 8, 24];

/// A probe, replica or opinion that came, with what makes it evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub worker: WorkerNumber,
    /// Set aside for it.
    pub price: Glm,
    pub opening: Opening,
}

/// A replica whose root differs from its tile's, or secret pixels that do: both blobs are kept until it is known where, and
/// on how many cells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub probe: ProbeRef,
    /// The tile's root, or that of the delivery that stands for it.
    pub left: Blake3Hash,
    pub answer: Answer,
}

/// Where two parties disagree, what each says the cells there are, and on how many cells of how many they do.
pub(crate) struct Contradiction {
    pub extent: Extent,
    /// The cell that is wrong, where it is known.
    pub cell: Option<Rect>,
    pub left: Blake3Hash,
    pub right: Blake3Hash,
    pub wrong_cells: usize,
    pub cells: usize,
}

impl Farm {
    pub(crate) fn probe(&self, probe: ProbeRef) -> Option<&Probe> {
        let delivery = self.delivery(probe.at)?;
        delivery.probes.get(usize::from(probe.index))
    }

    pub(crate) fn probe_mut(&mut self, probe: ProbeRef) -> Option<&mut Probe> {
        let delivery = self.delivery_mut(probe.at)?;
        delivery.probes.get_mut(usize::from(probe.index))
    }

    /// All probes of a tile are to be rendered.
    pub(crate) fn want_probes(&mut self, at: TileRef) {
        let probes = self
            .delivery(at)
            .map_or(0, |delivery| delivery.probes.len());
        for index in 0..probes as u8 {
            self.want_probe(ProbeRef { at, index });
        }
    }

    /// A probe is to be rendered (again).
    pub(crate) fn want_probe(&mut self, wanted: ProbeRef) {
        let since = self.now;
        let probe = self.probe_mut(wanted);
        let (answer, twin) = probe.map_or((None, None), |probe| {
            (probe.answer.take(), probe.twin.take())
        });
        let reason = "its worker was caught";
        if let Some(twin) = twin {
            self.reject_twin(&twin, reason);
        }
        if let Some(answer) = answer {
            self.ledger.release(answer.price);
            self.reject_task(answer.worker, answer.opening.task, reason.into());
        }
        if let Some(probe) = self.probe_mut(wanted) {
            probe.check = Check::Wanted { since };
            self.probes_wanted.insert(wanted);
            self.probes_unassigned.insert(wanted);
            self.unsettle(wanted.at);
        }
    }

    /// Gives new probes to workers that are drawn for them. Those for which nobody was found wait for idle workers.
    pub(crate) fn assign_probes(&mut self, outbox: &mut Outbox) {
        for wanted in std::mem::take(&mut self.probes_unassigned) {
            let is_of_noise = self.probe(wanted).is_some_and(Probe::is_of_noise);
            if is_of_noise {
                self.find_own_judge(wanted);
            }
            if is_of_noise
                || !self.probes_wanted.contains(&wanted)
                || self.take_to_own_engine(wanted)
            {
                continue;
            }
            if let Some(number) = self.draw_prober(wanted) {
                self.lease_probe_of(number, wanted, outbox);
            }
            if self.probes_wanted.contains(&wanted) {
                self.find_prober(wanted);
            }
        }
    }

    /// Strangers' tiles, where nobody is better trusted than they, are looked at by the own engine now and then, and
    /// those that look strange always.
    fn take_to_own_engine(&mut self, wanted: ProbeRef) -> bool {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return false;
        };
        let is_suspect = self.suspects.contains(&wanted.at);
        let trust = self.worker(delivery.worker).trust;
        let is_first = wanted.index == 0 && !probe.is_replica();
        let class = delivery.class;
        if !is_first
            || trust >= Trust::Trusted
            || self.own_requests.len() >= OWN_REQUESTS_MAX
            || self.is_judged(&class)
        {
            return false;
        }
        let mut draw = SecretDraw::new(
            &self.config.secret,
            OWN_AUDIT_CONTEXT,
            &delivery.commitment.0,
        );
        let is_drawn = draw.below(OWN_AUDIT_ONE_OF) == 0
            && !self
                .better_trusted(trust)
                .iter()
                .any(|number| self.is_ready(*number, &class));
        (is_suspect || is_drawn) && self.ask_own_probe(wanted)
    }

    /// Workers that may vouch for one of this level before others.
    fn better_trusted(&self, than: Trust) -> &[WorkerNumber] {
        match than < Trust::Trusted {
            true => &self.trusted,
            false => &[],
        }
    }

    /// Is anybody of this class there who may vouch for strangers?
    pub(crate) fn has_better_trusted(&self, class: &Blake3Hash) -> bool {
        let mut better = self.trusted.iter();
        better.any(|number| self.is_ready(*number, class))
    }

    fn is_ready(&self, number: WorkerNumber, class: &Blake3Hash) -> bool {
        let worker = self.worker(number);
        worker.standing == Standing::Ready && worker.class.as_ref() == Some(class)
    }

    /// Who renders a probe: drawn from the secret among those better trusted (for the first part), those at work on the
    /// same frame, and all.
    fn draw_prober(&self, wanted: ProbeRef) -> Option<WorkerNumber> {
        let delivery = self.delivery(wanted.at)?;
        let probe = self.probe(wanted)?;
        let turn = probe.probers.len() + probe.tardy.len() + probe.moves as usize;
        let mut name = delivery.commitment.0.to_vec();
        name.push(wanted.index);
        name.extend_from_slice(&(turn as u32).to_le_bytes());
        let mut draw = SecretDraw::new(&self.config.secret, PROBER_CONTEXT, &name);
        let trust = self.worker(delivery.worker).trust;
        let better = match wanted.index {
            0 => self.better_trusted(trust),
            _ => &[],
        };
        let at_it = self.open.get(wanted.at.frame);
        let at_it = at_it.map_or(&[][..], |frame| frame.workers.as_slice());
        let all = self.workers.len() as u32;
        for (group, tries) in [better, at_it].into_iter().zip(TRIES) {
            for _ in 0..tries.min(group.len() * 2) {
                let number = group[draw.below(group.len() as u32) as usize];
                if self.is_free_for(number, wanted) {
                    return Some(number);
                }
            }
        }
        (0..TRIES[2])
            .map(|_| draw.below(all))
            .find(|number| self.is_free_for(*number, wanted))
    }

    /// May this worker render a probe, has it no other part of the tile, and will it come to it soon?
    fn is_free_for(&self, number: WorkerNumber, wanted: ProbeRef) -> bool {
        let worker = self.worker(number);
        self.may_probe(number, wanted)
            && !self.has_part_of(number, wanted.at)
            && worker.queue.len() < worker.run + PROBES_QUEUED_MAX
            && !self.is_overdue(number)
            && worker.revealing.len() < self.revealing_max(number)
            && worker.resting_until <= self.now
            && (worker.queue.is_empty() || !self.is_slow(worker))
    }

    pub(crate) fn has_part_of(&self, number: WorkerNumber, at: TileRef) -> bool {
        let is_leased = |id| {
            self.tasks
                .get(&id)
                .is_some_and(|task| task.worker == number)
        };
        self.delivery(at)
            .is_some_and(|delivery| delivery.is_probed_by(number, is_leased))
    }

    fn ask_own_probe(&mut self, wanted: ProbeRef) -> bool {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return false;
        };
        let (class, extent) = (delivery.class, probe.extent.clone());
        let purpose = OwnPurpose::Probe(wanted);
        let Some(request) = self.ask_own(purpose, wanted.at.frame, class, extent) else {
            return false;
        };
        self.probes_wanted.remove(&wanted);
        if let Some(probe) = self.probe_mut(wanted) {
            probe.check = Check::Own(request);
        }
        true
    }

    /// If no worker can render this probe soon: own workers are believed and replicas left out; for others the own engine
    /// does it, and where it cannot, the job waits for somebody, but not for ever.
    pub(crate) fn find_prober(&mut self, wanted: ProbeRef) {
        let Some((delivery, probe)) = self.delivery(wanted.at).zip(self.probe(wanted)) else {
            return;
        };
        let Check::Wanted { since } = probe.check else {
            return;
        };
        let (allowance, class) = (delivery.probe_allowance, delivery.class);
        if probe.is_of_noise() {
            return self.find_own_judge(wanted);
        }
        let owner = self.worker(delivery.worker);
        let work = (probe.extent.pixel_count(), self.samples_in(&probe.extent));
        let is_replica = probe.is_replica();
        let able = |number| self.may_probe(number, wanted);
        let affords = |number| self.affords_cells(number, work, allowance);
        let servers = self.servers(&class, since, able, affords);
        if servers == crate::checking::Servers::Soon {
            return;
        }
        if is_replica {
            self.checks.replicas_left_out += 1;
            return self.pass(wanted, Prober::Nobody);
        }
        if owner.trust.policy().accepted_unprobed {
            self.checks.unprobed_tiles += 1;
            return self.pass(wanted, Prober::Nobody);
        }
        if self.is_judged(&class) {
            return self.judge_instead(wanted, servers);
        }
        if !self.ask_own_probe(wanted) && !self.ask_the_tardy(wanted) {
            let frame = self.frame_number(wanted.at.frame);
            let what = format!("tile {} of frame {frame}", wanted.at.tile);
            self.give_up_waiting(&class, since, &what, servers);
        }
    }

    /// Nobody else is left: those who did not come to a probe get another chance.
    fn ask_the_tardy(&mut self, wanted: ProbeRef) -> bool {
        let own_engine_works = self.own_engine_serves(&self.class_of(wanted.at));
        self.probe_mut(wanted)
            .is_some_and(|probe| !own_engine_works && !std::mem::take(&mut probe.tardy).is_empty())
    }

    pub(crate) fn answer_probe(
        &mut self,
        answered: ProbeRef,
        answer: Answer,
        cells: &[Blake3Hash],
        twin: Option<Delivery>,
    ) {
        let (number, task, price) = (answer.worker, answer.opening.task, answer.price);
        let probe = self.probe_mut(answered);
        let Some(probe) = probe.filter(|probe| probe.check == Check::Leased(task)) else {
            return self.ledger.release(price);
        };
        probe.probers.push(number);
        match probe.is_replica() {
            true => self.checks.replicas += 1,
            false => self.checks.probes += 1,
        }
        match self.compare(answered, answer.opening.root, cells) {
            Compared::Agrees => match twin {
                Some(twin) => {
                    self.hold_blob(answer.opening.root);
                    probe_twin(self.probe_mut(answered), twin);
                    self.pass(answered, Prober::Worker(number));
                }
                None => self.agree(answered, answer),
            },
            Compared::Differs(found) => match self.comparable(answered) {
                Some(left) => self.begin_comparison(Comparison {
                    probe: answered,
                    left,
                    answer,
                }),
                None => self.dispute_probe(answered, answer, found),
            },
            Compared::RootsDiffer(left) => self.begin_comparison(Comparison {
                probe: answered,
                left,
                answer,
            }),
        }
    }

    /// The tile in whose pixels can be looked up on how many cells an answer of secret pixels disagrees: one wrong pixel is
    /// a fault of memory perhaps, and a packed cell is of 64.
    fn comparable(&self, answered: ProbeRef) -> Option<Blake3Hash> {
        let is_of_pixels = |probe: &Probe| {
            probe.extent.pixels.is_some() && matches!(probe.expected, Expected::Cells(_))
        };
        self.probe(answered).filter(|probe| is_of_pixels(probe))?;
        match self.delivery(answered.at)?.pixels {
            Pixels::Fresh { root, .. } => Some(root),
            Pixels::Sealed => None,
        }
    }

    fn agree(&mut self, answered: ProbeRef, answer: Answer) {
        let prober = Prober::Worker(answer.worker);
        if let Some(probe) = self.probe_mut(answered) {
            probe.answer = Some(answer);
        }
        self.pass(answered, prober);
    }

    /// The first cell (or, where only a digest is left, all probes) on which an answer to a tile's probes and the tile
    /// disagree.
    fn compare(&self, answered: ProbeRef, root: Blake3Hash, answer: &[Blake3Hash]) -> Compared {
        let Some(probe) = self.probe(answered) else {
            return Compared::Agrees;
        };
        let whole = |left: Blake3Hash, right: Blake3Hash| Contradiction {
            extent: probe.extent.clone(),
            cell: probe.extent.one_cell(),
            left,
            right,
            wrong_cells: answer.len(),
            cells: answer.len(),
        };
        match &probe.expected {
            Expected::Replica(left) if *left == root => Compared::Agrees,
            Expected::Replica(left) => Compared::RootsDiffer(*left),
            Expected::Digest(left) => match verifier::digest(answer) {
                right if right == *left => Compared::Agrees,
                right => Compared::Differs(whole(*left, right)),
            },
            Expected::Noise => Compared::Agrees,
            Expected::Cells(expected) => match first_wrong(&probe.extent, expected, answer) {
                Some(found) => Compared::Differs(found),
                None => Compared::Agrees,
            },
        }
    }

    fn begin_comparison(&mut self, comparison: Comparison) {
        let request = self.fresh_number();
        self.hold_blob(comparison.left);
        self.hold_blob(comparison.answer.opening.root);
        if let Some(probe) = self.probe_mut(comparison.probe) {
            probe.check = Check::Comparing(request);
        }
        self.effects.push(comparison.effect(request));
        self.comparisons.insert(request, comparison);
    }

    pub(crate) fn on_compared(&mut self, request: u64, found: Result<Option<Difference>, String>) {
        let Some(comparison) = self.comparisons.remove(&request) else {
            return;
        };
        let (compared, answer) = (comparison.probe, comparison.answer);
        let roots = [comparison.left, answer.opening.root];
        let extent = &answer.opening.extent;
        let cells = extent.cell_count();
        let is_of_pixels = extent.pixels.is_some();
        match found {
            Ok(Some(found)) => {
                let contradiction = Contradiction {
                    extent: match found.packed {
                        Some(packed) => extent.part(packed as usize),
                        None => Extent::cells([found.rect], extent.samples),
                    },
                    cell: Some(found.rect),
                    left: found.left,
                    right: found.right,
                    wrong_cells: found.cells as usize,
                    cells,
                };
                self.dispute_probe(compared, answer, contradiction);
            }
            Ok(None) if !is_of_pixels => self.agree(compared, answer),
            // The pixels cannot be read here: nobody is to blame, and it is rendered once more.
            Ok(None) | Err(_) => {
                self.ledger.release(answer.price);
                self.reject_task(
                    answer.worker,
                    answer.opening.task,
                    "it could not be read".into(),
                );
                self.want_probe(compared);
            }
        }
        roots.into_iter().for_each(|root| self.release_blob(root));
    }

    /// A comparison that nobody needs any more.
    pub(crate) fn drop_comparison(&mut self, request: u64, reason: &str) {
        if let Some(Comparison { left, answer, .. }) = self.comparisons.remove(&request) {
            self.ledger.release(answer.price);
            self.reject_task(answer.worker, answer.opening.task, reason.into());
            self.release_blob(left);
            self.release_blob(answer.opening.root);
        }
    }

    pub(crate) fn own_probe(
        &mut self,
        request: u64,
        probed: ProbeRef,
        cells: Option<Vec<Blake3Hash>>,
    ) {
        let probe = self.probe(probed);
        if probe.is_none_or(|probe| probe.check != Check::Own(request)) {
            return;
        }
        let Some(cells) = cells else {
            return self.want_probe(probed);
        };
        self.checks.own_probes += 1;
        match self.compare(probed, NO_ROOT, &cells) {
            Compared::Agrees => self.pass(probed, Prober::OwnEngine),
            Compared::Differs(found) => self.convict_by_own_engine(probed, found),
            // Replicas are never asked of the own engine.
            Compared::RootsDiffer(_) => self.want_probe(probed),
        }
    }

    /// The tile is accepted, and with it the delivery that equals it.
    pub(crate) fn accept_twin(&mut self, twin: &Delivery) {
        if self.worker(twin.worker).standing == Standing::Quarantined {
            return self.reject_twin(twin, "its worker was caught");
        }
        if let Some(task) = twin.unpaid {
            self.accept_task(twin.worker, task, twin.price, false);
        }
        self.drop_twin_blob(twin);
    }

    /// The delivery of a replica that stands for nothing any more.
    pub(crate) fn reject_twin(&mut self, twin: &Delivery, reason: &str) {
        self.ledger.release(twin.price);
        if let Some(task) = twin.unpaid {
            self.reject_task(twin.worker, task, reason.into());
        }
        self.drop_twin_blob(twin);
    }

    fn drop_twin_blob(&mut self, twin: &Delivery) {
        if let Pixels::Fresh { root, .. } = twin.pixels {
            self.release_blob(root);
        }
    }

    pub(crate) fn pass(&mut self, passed: ProbeRef, prober: Prober) {
        self.probes_wanted.remove(&passed);
        if let Some(probe) = self.probe_mut(passed) {
            probe.check = Check::Passed(prober);
            let cells = probe.extent.cell_count() as u64;
            self.count_agreed(passed, prober, cells);
        }
        self.settle(passed.at);
    }

    fn count_agreed(&mut self, passed: ProbeRef, prober: Prober, cells: u64) {
        let other = match prober {
            Prober::Worker(number) => Some(number),
            Prober::OwnEngine => None,
            Prober::Nobody => return,
        };
        let worker = self.delivery(passed.at).map(|delivery| delivery.worker);
        for number in [worker, other].into_iter().flatten() {
            self.worker_mut(number).agreed_cells += cells;
        }
    }
}

/// The first cell or packed cell on which two say something else.
pub(crate) fn first_wrong(
    extent: &Extent,
    left: &[Blake3Hash],
    right: &[Blake3Hash],
) -> Option<Contradiction> {
    let pairs = left.iter().zip(right).enumerate();
    let mut wrong = pairs.filter(|(_, (left, right))| left != right);
    let (place, (&left, &right_first)) = wrong.next()?;
    let extent = extent.part(place);
    Some(Contradiction {
        cell: extent.one_cell(),
        extent,
        left,
        right: right_first,
        wrong_cells: 1 + wrong.count(),
        cells: right.len(),
    })
}

fn probe_twin(probe: Option<&mut Probe>, twin: Delivery) {
    if let Some(probe) = probe {
        probe.twin = Some(Box::new(twin));
    }
}

/// The own engine renders cells, not deliveries.
const NO_ROOT: Blake3Hash = Blake3Hash([0; 32]);

impl Comparison {
    pub(crate) fn effect(&self, request: u64) -> Effect {
        Effect::Compare {
            request,
            rects: self.answer.opening.extent.rects.to_vec(),
            pixels: self.answer.opening.extent.pixels,
            left: self.left,
            right: self.answer.opening.root,
        }
    }
}

enum Compared {
    Agrees,
    Differs(Contradiction),
    RootsDiffer(Blake3Hash),
}
