//! What workers do with what they are told: render, commit, reveal, drop.

use super::{
    disk::Blob,
    engine::{HONEST_CLASSES, hashes_due, root_of, true_content},
    network::{Happening, Message, WorkerIndex},
    worker::{Finished, Member, Strategy, Worker},
    world::World,
};
use farm::event::{Due, Event, Millis};
use protocol::{Blake3Hash, TaskId, TaskSpec, ids::Signature, pixels::Looks};
use std::sync::Arc;

/// The coordinator keeps signatures and leaves it to others to check them.
pub(super) const SIGNATURE: Signature = Signature {
    r: [6; 32],
    s: [7; 32],
};
/// A result that nobody asked about for so long is dropped.
const RESULT_MS_MAX: Millis = 1_200_000;
/// A caught worker tries once more after this time.
const CAUGHT_RETRY_MS: Millis = 30_000;

impl Worker {
    /// Is it ever heard of between its messages about tasks?
    pub(super) fn speaks(&self) -> bool {
        self.member.strategy != Strategy::Silent && !self.is_closed
    }
}

impl World {
    pub(super) fn happen_to_worker(&mut self, happening: Happening) -> Result<(), String> {
        if let Some(index) = busy_worker(&happening) {
            let later = self.workers[index].stalled_until;
            if later > self.now {
                self.agenda.add(later, happening);
                return Ok(());
            }
        }
        match happening {
            Happening::Connect { worker, attempt } => self.connect(worker, attempt),
            Happening::Prepared { worker, connection } => self.prepared(worker, connection),
            Happening::Heartbeat { worker, connection } => self.heartbeat(worker, connection),
            Happening::LossNoticed { worker, connection } => {
                return self.loss_noticed(worker, connection);
            }
            Happening::HoldEnds { worker, connection } => self.hold_ends(worker, connection),
            Happening::Rendered { worker, render } => self.rendered(worker, render),
            Happening::Reach {
                worker,
                connection,
                message,
            } => return self.reach(worker, connection, *message),
            Happening::Trouble { worker } => self.trouble(worker),
            Happening::Heal { worker } => self.heal(worker),
            Happening::Reboot { worker } => self.reboot(worker),
            _ => {}
        }
        Ok(())
    }

    fn reach(
        &mut self,
        index: WorkerIndex,
        connection: u32,
        message: Message,
    ) -> Result<(), String> {
        let worker = &mut self.workers[index];
        if !worker.is_connected || worker.connection != connection {
            return Ok(());
        }
        match message {
            Message::Lease(tasks, next) => return self.take_lease(index, tasks, next),
            Message::Cancel(tasks) => {
                for task in tasks {
                    worker.drop_task(task);
                }
                self.start_next(index);
            }
            Message::Reveal(task, due) => self.reveal(index, task, &due),
            Message::Verdict(task) => drop(worker.finished.remove(&task)),
            Message::Close => {
                worker.drop_all();
                if !worker.is_closed {
                    worker.is_closed = true;
                    self.break_connection(index, 0);
                    self.begin_under_a_new_key(index);
                    self.seek(index, CAUGHT_RETRY_MS);
                }
            }
        }
        Ok(())
    }

    fn take_lease(
        &mut self,
        index: WorkerIndex,
        tasks: Vec<TaskSpec>,
        next: bool,
    ) -> Result<(), String> {
        let worker = &mut self.workers[index];
        let now = self.now;
        (worker.finished).retain(|_, done| done.at + RESULT_MS_MAX > now);
        worker.take(tasks, next);
        let held = worker.queue.len() + worker.finished.len();
        self.referee.check_held(&worker.id, held)?;
        if worker.member.strategy == Strategy::Crashing && self.random.below(6) == 0 {
            self.crash(index);
        }
        if self.workers[index].member.strategy == Strategy::KeyFlood {
            self.workers[index].drop_all();
            self.break_connection(index, 0);
            self.workers[index].is_up = false;
            self.begin_under_a_new_key(index);
        }
        self.start_next(index);
        Ok(())
    }

    /// Somebody whose key is of no use any more comes as somebody new, as often as it has keys.
    fn begin_under_a_new_key(&mut self, index: WorkerIndex) {
        let member = &self.workers[index].member;
        if let Some(rebirths) = member.rebirths.checked_sub(1) {
            let member = Member {
                rebirths,
                ..member.clone()
            };
            self.join(member);
        }
    }

    /// Begins with the first task of the queue, unless another is under way.
    pub(super) fn start_next(&mut self, index: WorkerIndex) {
        let worker = &mut self.workers[index];
        let never = matches!(worker.member.strategy, Strategy::Silent | Strategy::Hostage);
        if worker.is_rendering || never || !worker.is_up {
            return;
        }
        let Some(spec) = worker.queue.front() else {
            return;
        };
        let took = worker.time_for(spec, &mut self.random);
        worker.is_rendering = true;
        worker.render += 1;
        let render = worker.render;
        let worker = index;
        self.agenda
            .add(self.now + took, Happening::Rendered { worker, render });
    }

    fn rendered(&mut self, index: WorkerIndex, render: u32) {
        let worker = &mut self.workers[index];
        if !worker.is_rendering || worker.render != render {
            return;
        }
        worker.is_rendering = false;
        let Some(spec) = worker.queue.pop_front() else {
            return;
        };
        let reason = match worker.member.strategy {
            Strategy::Failing => Some("out of memory"),
            _ if worker.disk_full_until > self.now => Some("no space left on device"),
            _ => None,
        };
        let said = match reason {
            Some(reason) => Event::Failed {
                worker: worker.id,
                task: Some(spec.id),
                reason: reason.into(),
            },
            None => self.commit(index, spec),
        };
        self.say(index, said);
        self.start_next(index);
    }

    fn commit(&mut self, index: WorkerIndex, spec: TaskSpec) -> Event {
        let cells: Arc<[Blake3Hash]> = self.workers[index].deliver(&spec).into();
        let worker = &self.workers[index];
        let strategy = worker.member.strategy;
        let is_right = !strategy.is_wrong()
            && !matches!(strategy, Strategy::WrongCount | Strategy::Recommitting)
            || self.is_true(index, &spec, &cells);
        self.referee.rendered(spec.id, is_right);
        let (salt, root) = (self.random.bytes(), root_of(&cells));
        let committed = match strategy {
            Strategy::Recommitting => Blake3Hash([3; 32]),
            _ => root,
        };
        let opening = verifier::commitment(&worker.id, &spec.hash(&self.job), &salt, &committed);
        let worker = &mut self.workers[index];
        let commitment = worker.said_commitment(opening);
        let render_ms = worker.time_for(&spec, &mut self.random) as u32;
        let task = spec.id;
        let done = Finished {
            spec,
            salt,
            root,
            cells,
            commitment,
            render_ms,
            at: self.now,
        };
        worker.finished.insert(task, done);
        Event::Committed {
            worker: worker.id,
            task,
            commitment,
            signature: SIGNATURE,
            render_ms,
        }
    }

    /// Is this what the worker's class renders, or, where classes are mixed, any honest class?
    fn is_true(&self, index: WorkerIndex, spec: &TaskSpec, cells: &[Blake3Hash]) -> bool {
        let claimed = [self.workers[index].member.class];
        let classes = match self.scenario.mixed_classes {
            true => &HONEST_CLASSES[..],
            false => &claimed,
        };
        let mut classes = classes.iter();
        classes.any(|class| cells == true_content(*class, spec))
    }

    fn reveal(&mut self, index: WorkerIndex, task: TaskId, due: &Due) {
        let worker = &self.workers[index];
        if worker.member.strategy == Strategy::CommitNeverReveal {
            return;
        }
        let Some(done) = worker.finished.get(&task) else {
            return;
        };
        let (spec, cells) = (&done.spec, &done.cells);
        let picked = hashes_due(spec, cells, due);
        let event = Event::Delivered {
            worker: worker.id,
            task,
            salt: done.salt,
            root: done.root,
            cells: picked
                .map(Into::into)
                .ok_or_else(|| "cells are missing".into()),
            looks: Looks::Ordinary,
        };
        let is_true =
            worker.member.strategy == Strategy::Honest || self.is_true(index, spec, cells);
        let blob = Blob {
            cells: Some(Arc::clone(cells)),
            truth: (is_true && spec.pixels.is_none()).then_some((spec.frame, spec.rects[0])),
        };
        let bytes = spec.delivery_bytes(&self.job);
        self.bring(index, bytes, event, blob);
    }
}

/// The worker that has to be awake for this to happen.
fn busy_worker(happening: &Happening) -> Option<WorkerIndex> {
    match happening {
        Happening::Prepared { worker, .. }
        | Happening::Heartbeat { worker, .. }
        | Happening::Rendered { worker, .. }
        | Happening::HoldEnds { worker, .. }
        | Happening::Reach { worker, .. } => Some(*worker),
        _ => None,
    }
}
