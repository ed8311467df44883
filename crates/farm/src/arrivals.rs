//! Workers that come: their terms, and that they are ready.

use crate::{
    coordinator::Farm,
    event::{Millis, Trust},
    limits::WORKERS_MAX,
    worker::{Standing, Worker, WorkerNumber},
};
use protocol::{Address, Blake3Hash, Glm, NodeId, TaskId};

/// What a quote says besides names.
pub(crate) struct Terms {
    pub trust: Trust,
    pub price_megasample: Glm,
    pub hold_ms: Millis,
}

impl Farm {
    pub(crate) fn on_quoted(&mut self, id: NodeId, payee: Address, terms: Terms, held: &[TaskId]) {
        let number = match self.numbers.get(&id) {
            Some(&number) => number,
            None if self.workers.len() >= WORKERS_MAX && terms.trust != Trust::Own => return,
            None => {
                let number = self.workers.len() as WorkerNumber;
                let price = terms.price_megasample;
                let mut worker = Worker::new(id, terms.trust, payee, price, self.now);
                worker.standing = Standing::Gone;
                self.workers.push(worker);
                self.numbers.insert(id, number);
                if terms.trust >= Trust::Trusted {
                    self.trusted.push(number);
                }
                number
            }
        };
        if !matches!(
            self.worker(number).standing,
            Standing::Gone | Standing::Away | Standing::TooExpensive
        ) {
            return;
        }
        self.keep_held(number, held);
        let (now, most) = (self.now, self.config.price_megasample_max);
        let settings = &self.config.job.settings;
        let (area, samples) = (settings.size.area(), settings.samples);
        let worker = self.worker_mut(number);
        worker.price_megasample = terms.price_megasample;
        worker.hold_ms = terms.hold_ms;
        (worker.class, worker.last_heard) = (None, now);
        let dear = most.is_some_and(|most| terms.price_megasample > most);
        if dear || worker.price(area, samples).is_none() {
            self.leave(number);
            self.worker_mut(number).standing = Standing::TooExpensive;
        } else {
            worker.standing = Standing::Preparing;
            self.nobody_since = None;
        }
    }

    pub(crate) fn on_ready(&mut self, number: WorkerNumber, class: Blake3Hash, megasample_ms: u32) {
        let now = self.now;
        let worker = self.worker_mut(number);
        if worker.standing != Standing::Preparing {
            return;
        }
        worker.class = Some(class);
        worker.megasample_ms = megasample_ms;
        let trust = worker.trust;
        if self.is_refused(&class) {
            return self.leave(number);
        }
        self.stand(number, Standing::Ready);
        self.first_ready_at.get_or_insert(now);
        if trust == Trust::Own {
            self.elect_class();
        }
        self.come_back(number);
        self.refresh(number);
    }
}
