//! Connections between workers and the requestor: how they begin, what passes over them, how they break.

use super::{
    disk::Blob,
    network::{Happening, Message, WorkerIndex},
    scenario::Failure,
    tasks::SIGNATURE,
    world::World,
};
use farm::event::{Event, Millis};
use protocol::{Address, NodeId};

/// Between two heartbeats of a worker, by its clock.
const HEARTBEAT_MS: Millis = 2_000;
/// Between two tries to reach a requestor that does not answer.
const RETRY_MS: Millis = 2_000;
/// Of a hundred messages so many come twice, and so many late, where messages do.
const UNRULY_PERCENT: u64 = 8;
/// By how much, at most.
const LATE_MS: Millis = 3_000;
/// Time to load a scene that is not loaded yet, at most.
const LOAD_MS: Millis = 5_000;

impl World {
    /// A worker will try to reach the requestor.
    pub(super) fn seek(&mut self, worker: WorkerIndex, after: Millis) {
        let found = &mut self.workers[worker];
        found.attempt += 1;
        let attempt = found.attempt;
        self.agenda
            .add(self.now + after, Happening::Connect { worker, attempt });
    }

    pub(super) fn connect(&mut self, index: WorkerIndex, attempt: u32) {
        let worker = &mut self.workers[index];
        if worker.attempt != attempt || worker.is_connected || !worker.is_up || worker.is_cut {
            return;
        }
        // Somebody starts the requestor again and all workers look for it then.
        if !self.requestor.is_up {
            return;
        }
        if worker.loss_pending || self.requestor.is_asleep || worker.stalled_until > self.now {
            return self.seek(index, RETRY_MS);
        }
        worker.is_connected = true;
        worker.connection += 1;
        let quoted = Event::Quoted {
            worker: worker.id,
            trust: worker.member.trust,
            payee: Address([9; 20]),
            price_megasample: worker.member.price_megasample,
            held: worker.held(),
            hold_ms: worker.member.hold_ms,
        };
        let connection = worker.connection;
        let load = match worker.has_scene {
            true => 50,
            false => LOAD_MS / 5 + self.random.below(LOAD_MS),
        };
        self.say(index, quoted);
        let at = self.now + load;
        let worker = index;
        self.agenda
            .add(at, Happening::Prepared { worker, connection });
    }

    /// The scene is loaded: the worker says so, and again what it has committed to.
    pub(super) fn prepared(&mut self, index: WorkerIndex, connection: u32) {
        let worker = &mut self.workers[index];
        if !worker.is_connected || worker.connection != connection {
            return;
        }
        worker.has_scene = true;
        let id = worker.id;
        let mut said = vec![Event::Ready {
            worker: id,
            class: worker.member.class,
            is_comparable: true,
            megasample_ms: worker.member.megasample_ms() as u32,
        }];
        said.extend(worker.finished.iter().map(|(task, done)| Event::Committed {
            worker: id,
            task: *task,
            commitment: done.commitment,
            signature: SIGNATURE,
            render_ms: done.render_ms,
        }));
        for event in said {
            self.say(index, event);
        }
        self.plan_heartbeat(index);
    }

    fn plan_heartbeat(&mut self, worker: WorkerIndex) {
        let found = &self.workers[worker];
        let connection = found.connection;
        let at = self.now + found.member.by_its_clock(HEARTBEAT_MS);
        self.agenda
            .add(at, Happening::Heartbeat { worker, connection });
    }

    pub(super) fn heartbeat(&mut self, index: WorkerIndex, connection: u32) {
        let worker = &self.workers[index];
        if !worker.is_connected || worker.connection != connection || !worker.speaks() {
            return;
        }
        let heartbeat = Event::Heartbeat {
            worker: worker.id,
            tasks: worker.queued(),
        };
        self.say(index, heartbeat);
        self.plan_heartbeat(index);
    }

    /// A worker's message goes to the requestor, after those before it.
    pub(super) fn say(&mut self, index: WorkerIndex, event: Event) {
        let worker = &mut self.workers[index];
        if !worker.is_connected {
            return;
        }
        let connection = worker.connection;
        let mut at = worker.member.link.say(self.now, &mut self.random);
        if self.scenario.failures.contains(&Failure::Messages) {
            if self.random.percent(UNRULY_PERCENT) {
                let later = at + self.random.below(LATE_MS);
                self.send(later, index, connection, event.clone(), None);
            }
            let is_greeting = matches!(event, Event::Quoted { .. } | Event::Ready { .. });
            if !is_greeting && self.random.percent(UNRULY_PERCENT) {
                at += self.random.below(LATE_MS);
            }
        }
        self.send(at, index, connection, event, None);
    }

    /// Pixels go to the requestor.
    pub(super) fn bring(&mut self, index: WorkerIndex, bytes: u64, event: Event, blob: Blob) {
        let worker = &mut self.workers[index];
        let connection = worker.connection;
        let at = (worker.member.link).bring(self.now, bytes, &mut self.random);
        let is_unruly = self.scenario.failures.contains(&Failure::Messages);
        if is_unruly && self.random.percent(UNRULY_PERCENT) {
            let later = at + self.random.below(LATE_MS);
            let blob = Some(Box::new(blob.clone()));
            self.send(later, index, connection, event.clone(), blob);
        }
        self.send(at, index, connection, event, Some(Box::new(blob)));
    }

    fn send(
        &mut self,
        at: Millis,
        worker: WorkerIndex,
        connection: u32,
        event: Event,
        blob: Option<Box<Blob>>,
    ) {
        let process = self.requestor.process;
        let arrive = Happening::Arrive {
            worker,
            connection,
            process,
            event: Box::new(event),
            blob,
        };
        self.agenda.add(at, arrive);
    }

    /// Does a message still mean something when it comes? Greetings only over a connection that lives, others until the
    /// requestor notices that it does not; pixels that were on their way may be all here by then.
    pub(super) fn reaches_requestor(
        &mut self,
        index: WorkerIndex,
        connection: u32,
        process: u32,
        event: &Event,
    ) -> bool {
        if !self.requestor.is_up || self.requestor.process != process {
            return false;
        }
        let worker = &self.workers[index];
        let is_last = worker.connection == connection;
        let lives = is_last && worker.is_connected;
        match event {
            Event::Quoted { .. } | Event::Ready { .. } => lives,
            Event::Delivered { .. } => lives || self.random.percent(50),
            _ => lives || (is_last && worker.loss_pending),
        }
    }

    /// The requestor's message goes to a worker, after those before it.
    pub(super) fn tell(&mut self, id: NodeId, message: Message) {
        let Some(&index) = self.indices.get(&id) else {
            return;
        };
        let worker = &mut self.workers[index];
        if !worker.is_connected {
            return;
        }
        let connection = worker.connection;
        let at = worker.member.link.tell(self.now, &mut self.random);
        let reach = Happening::Reach {
            worker: index,
            connection,
            message: Box::new(message),
        };
        self.agenda.add(at, reach);
    }

    /// A connection breaks; the requestor notices it after a while, the worker keeps what it holds for a while.
    pub(super) fn break_connection(&mut self, index: WorkerIndex, noticed_after: Millis) {
        let worker = &mut self.workers[index];
        if !worker.is_connected {
            return;
        }
        let connection = worker.connection;
        worker.loss_pending = true;
        self.lose(index);
        let at = self.now + noticed_after;
        let worker = index;
        self.agenda
            .add(at, Happening::LossNoticed { worker, connection });
    }

    /// The worker's side of a connection that is gone.
    pub(super) fn lose(&mut self, index: WorkerIndex) {
        let worker = &mut self.workers[index];
        if !self.requestor.is_up {
            worker.loss_pending = false;
        }
        if !worker.is_connected {
            return;
        }
        worker.is_connected = false;
        let connection = worker.connection;
        let hold = worker.member.by_its_clock(worker.member.hold_ms);
        match hold {
            0 => worker.drop_all(),
            _ => self.agenda.add(
                self.now + hold,
                Happening::HoldEnds {
                    worker: index,
                    connection,
                },
            ),
        }
    }

    pub(super) fn loss_noticed(
        &mut self,
        index: WorkerIndex,
        connection: u32,
    ) -> Result<(), String> {
        let worker = &mut self.workers[index];
        if worker.connection != connection || !worker.loss_pending {
            return Ok(());
        }
        worker.loss_pending = false;
        let left = Event::Left { worker: worker.id };
        self.requestor_hears(left)
    }

    pub(super) fn hold_ends(&mut self, index: WorkerIndex, connection: u32) {
        let worker = &mut self.workers[index];
        if worker.connection == connection && !worker.is_connected {
            worker.drop_all();
        }
    }
}
