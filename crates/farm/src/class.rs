//! Which determinism classes work on the job: only workers of one class give bits that can be compared.
//!
//! The first worker of the user's own settles the job's class; without one, what most strangers have after a short while.
//! When nobody of the class is left another takes over: tiles accepted so far stay, undecided ones are given up.
//!
//! Where the user mixes classes, others of the same build of the engine work beside it as long as the requestor's own
//! engine judges them: a class that is not the own engine's gets a single tile, its trial, and no second one before a
//! trial was found to be honest work by its noise (`across`). The job's class is then the own engine's, if anybody is of it.

use crate::{
    coordinator::Farm,
    event::Trust,
    frame::TileRef,
    limits::{
        CLASS_SETTLE_MS, CLASS_WAIT_MS, CLASSES_MAX, CONTRADICTED_MAX, TRIALS_MAX,
        UNDECIDED_TILES_MAX,
    },
    worker::{Standing, WorkerNumber},
};
use protocol::{Blake3Hash, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a class that the own engine judges.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Admission {
    /// Was a tile of it found to be honest work, and none found to be none since?
    pub is_admitted: bool,
    /// Trials in vain, one after the other.
    pub failed_trials: u32,
    /// The tile by which it is tried, with its lease; one that is gone is no trial any more.
    pub trial: Option<(TaskId, TileRef)>,
}

impl Farm {
    pub(crate) fn elect_class(&mut self) {
        if self.config.mixed_classes && !self.is_own_class_told {
            return;
        }
        if self.config.mixed_classes && self.judging_class().is_none() && self.class.is_some() {
            self.give_up_strays();
        }
        let current = self.class;
        if current.is_some_and(|class| self.ready.contains_key(&class)) {
            self.classless_since = None;
            return;
        }
        if self.class.is_some() {
            let since = *self.classless_since.get_or_insert(self.now);
            if self.now.saturating_sub(since) < CLASS_WAIT_MS {
                return;
            }
        }
        let settled = self
            .first_ready_at
            .is_some_and(|at| self.now.saturating_sub(at) >= CLASS_SETTLE_MS);
        if let Some(class) = self.candidate_class(settled) {
            if self.class.is_some() {
                self.give_up_undecided();
            }
            self.class = Some(class);
            self.classless_since = None;
            self.refresh_all();
        }
    }

    fn refresh_all(&mut self) {
        for number in 0..self.workers.len() as WorkerNumber {
            self.refresh(number);
        }
    }

    /// Where classes are mixed that of the own engine, else the class of the first own worker, else (once settled) of most
    /// workers, of equals the one that was first.
    fn candidate_class(&self, settled: bool) -> Option<Blake3Hash> {
        let own = self.judging_class();
        if own.is_some_and(|class| self.ready.contains_key(&class)) {
            return own;
        }
        let mut votes: BTreeMap<Blake3Hash, (usize, usize)> = BTreeMap::new();
        for (order, worker) in self.workers.iter().enumerate() {
            if worker.standing != Standing::Ready {
                continue;
            }
            let Some(class) = worker.class else { continue };
            if worker.trust == Trust::Own {
                return Some(class);
            }
            votes.entry(class).or_insert((0, order)).0 += 1;
        }
        votes
            .into_iter()
            .filter(|_| settled)
            .max_by_key(|(_, (count, order))| (*count, std::cmp::Reverse(*order)))
            .map(|(class, _)| class)
    }

    /// The own engine's class is told: from now on it judges others.
    pub(crate) fn on_own_class(&mut self, class: Option<Blake3Hash>) {
        self.is_own_class_told = true;
        self.own_class = class;
        self.own_engine_works = class.is_some();
        self.comparable.extend(class);
        self.elect_class();
        self.refresh_all();
    }

    /// A class is of the own engine's build.
    pub(crate) fn note_comparable(&mut self, class: Blake3Hash) {
        if self.config.mixed_classes && self.comparable.len() < CLASSES_MAX {
            self.comparable.insert(class);
        }
    }

    /// The class of the own engine while it judges others.
    fn judging_class(&self) -> Option<Blake3Hash> {
        let judges = self.config.mixed_classes && self.own_engine_works;
        self.own_class.filter(|_| judges)
    }

    /// Can the own engine render cells of this class bit for bit, as far as is known?
    pub(crate) fn own_engine_serves(&self, class: &Blake3Hash) -> bool {
        self.own_engine_works && self.own_class.is_none_or(|own| own == *class)
    }

    /// Is what this class renders judged by its noise, because the own engine gives other bits?
    pub(crate) fn is_judged(&self, class: &Blake3Hash) -> bool {
        let other = self.judging_class().is_some_and(|own| own != *class);
        other && self.comparable.contains(class)
    }

    pub(crate) fn is_admitted(&self, class: &Blake3Hash) -> bool {
        let admission = self.admissions.get(class);
        !self.is_judged(class) || admission.is_some_and(|admission| admission.is_admitted)
    }

    /// Was this class tried in vain too often?
    pub(crate) fn is_refused(&self, class: &Blake3Hash) -> bool {
        let admission = self.admissions.get(class);
        self.is_judged(class) && admission.is_some_and(|one| one.failed_trials >= TRIALS_MAX)
    }

    /// Is this the job's class, or one that may work beside it? Versions of an engine are never mixed.
    pub(crate) fn is_at_work(&self, class: &Blake3Hash) -> bool {
        let of_own_build = |class: &Blake3Hash| self.comparable.contains(class);
        let is_mixed = || {
            self.judging_class().is_some()
                && of_own_build(class)
                && self.class.is_some_and(|class| of_own_build(&class))
                && !self.is_refused(class)
        };
        self.class.as_ref() == Some(class) || is_mixed()
    }

    /// Workers of all classes at work.
    pub(crate) fn ready_at_work(&self) -> impl Iterator<Item = WorkerNumber> {
        let classes = self.ready.iter();
        let at_work = classes.filter(|(class, _)| self.is_at_work(class));
        at_work.flat_map(|(_, workers)| workers.iter().copied())
    }

    /// Is this worker of a class that may have another tile now?
    pub(crate) fn may_take_tiles(&self, number: WorkerNumber) -> bool {
        let Some(class) = self.worker(number).class else {
            return false;
        };
        let is_tried = || {
            let admission = self.admissions.get(&class);
            admission.is_some_and(|admission| admission.trial.is_some())
        };
        self.is_at_work(&class)
            && (self.is_admitted(&class) || !is_tried())
            && !self.is_doubtful(number)
    }

    /// May a worker of its class have this tile? Not if the noise of such a class decided nothing about it, or would not.
    pub(crate) fn is_of_class_for(&self, number: WorkerNumber, at: TileRef) -> bool {
        let class = self.worker(number).class;
        let frame = self.open.get(at.frame);
        let is_spared = frame.is_some_and(|frame| frame.for_own_class.contains(&at.tile));
        class == self.class
            || class.is_some_and(|class| !self.is_judged(&class))
            || (!is_spared && self.can_be_judged(at.tile))
    }

    /// May this worker have a copy of a tile? A trial is no copy: it has to be judged.
    pub(crate) fn may_have_copy(&self, number: WorkerNumber, at: TileRef) -> bool {
        let class = self.worker(number).class;
        class.is_some_and(|class| self.is_admitted(&class))
            && self.may_take_tiles(number)
            && self.is_of_class_for(number, at)
    }

    /// Has a worker of a judged class brought so much that nobody can decide that it gets no more work? That is no fault.
    pub(crate) fn is_doubtful(&self, number: WorkerNumber) -> bool {
        let worker = self.worker(number);
        let is_there = |other: &&WorkerNumber| {
            let other = self.worker(**other);
            other.standing != Standing::Quarantined
        };
        (worker.undecided > 0 || !worker.contradicts.is_empty())
            && worker.class != self.class
            && worker.class.is_some_and(|class| self.is_judged(&class))
            && (worker.undecided >= UNDECIDED_TILES_MAX
                || worker.contradicts.iter().filter(is_there).count() >= CONTRADICTED_MAX)
    }

    /// The first tile of a class is leased.
    pub(crate) fn begin_trial(&mut self, class: Blake3Hash, task: TaskId, at: TileRef) {
        if self.is_admitted(&class) {
            return;
        }
        self.admissions.entry(class).or_default().trial = Some((task, at));
        self.refresh_class(&class);
    }

    fn refresh_class(&mut self, class: &Blake3Hash) {
        let workers: Vec<WorkerNumber> = self.ready_in(class).collect();
        workers.into_iter().for_each(|number| self.refresh(number));
    }

    /// Trials whose tile is gone, by whatever way, may begin again.
    pub(crate) fn check_trials(&mut self) {
        let is_over = |admission: &Admission| {
            admission.trial.is_some_and(|(task, at)| {
                let delivered = self.delivery(at).and_then(|delivery| delivery.unpaid);
                !self.tasks.contains_key(&task) && delivered != Some(task)
            })
        };
        let admissions = self.admissions.iter();
        let over = admissions.filter(|(_, admission)| is_over(admission));
        let over: Vec<Blake3Hash> = over.map(|(class, _)| *class).collect();
        for class in over {
            if let Some(admission) = self.admissions.get_mut(&class) {
                admission.trial = None;
            }
            self.refresh_class(&class);
        }
    }

    /// A tile of the class is honest work by its noise.
    pub(crate) fn admit(&mut self, class: &Blake3Hash) {
        if self.is_admitted(class) {
            return;
        }
        let admitted = Admission {
            is_admitted: true,
            ..Admission::default()
        };
        self.admissions.insert(*class, admitted);
        self.refresh_class(class);
    }

    /// A tile of the class is not, or nobody knows: one that was admitted is so no more if `is_proven`. Workers of a class
    /// that was tried in vain too often leave the job.
    pub(crate) fn fail_trial(&mut self, class: &Blake3Hash, is_proven: bool) {
        let Some(admission) = self.admissions.get_mut(class) else {
            return;
        };
        if admission.is_admitted && !is_proven {
            return;
        }
        admission.failed_trials += u32::from(!admission.is_admitted);
        (admission.is_admitted, admission.trial) = (false, None);
        let workers: Vec<WorkerNumber> = self.ready_in(class).collect();
        for number in workers {
            match self.is_refused(class) {
                true => self.leave(number),
                false => self.refresh(number),
            }
        }
    }
}
