//! What a worker does for a requestor whose connection is gone, and when it is back.

use crate::requestor::{Requestor, Worker, tile};
use engine::{CancelFlag, Engine, EngineError, SceneDescription, TracerEngine};
use protocol::{
    JobId, Rect, RenderSettings, RenderedRect, TaskId,
    message::{Reply, Request},
};
use render_worker::WorkerConfig;
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// Frames from here on are rendered when the test allows it; calibrations are not.
pub const GATED_FRAME: i32 = 100;

#[derive(Default)]
pub struct Counts {
    allowed: usize,
    pub rendered: usize,
    loaded: usize,
    ended: usize,
}

/// Lets a test decide when renders end, and see what the engines do.
#[derive(Default)]
pub struct Gate {
    counts: Mutex<Counts>,
    changed: Condvar,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
    }

    pub fn allow(&self, renders: usize) {
        self.change(|counts| counts.allowed += renders);
    }

    pub fn wait(&self, until: impl Fn(&Counts) -> bool) {
        tokio::task::block_in_place(|| {
            let counts = self.counts.lock().unwrap();
            drop(self.changed.wait_while(counts, |counts| !until(counts)));
        });
    }
}

struct GatedEngine {
    tracer: TracerEngine,
    gate: Arc<Gate>,
}

impl Drop for GatedEngine {
    fn drop(&mut self) {
        self.gate.change(|counts| counts.ended += 1);
    }
}

impl Engine for GatedEngine {
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        self.gate.change(|counts| counts.loaded += 1);
        self.tracer.prepare(bundle, entry, scene)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        if frame < GATED_FRAME {
            return self.tracer.render(settings, frame, rects, cancel);
        }
        let counts = self.gate.counts.lock().unwrap();
        let waited = self.gate.changed.wait_while(counts, |counts| {
            counts.rendered == counts.allowed && !cancel.is_cancelled()
        });
        drop(waited);
        let rendered = self.tracer.render(settings, frame, rects, cancel)?;
        self.gate.change(|counts| counts.rendered += 1);
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.tracer.build()
    }
}

pub async fn gated(change: impl FnOnce(&mut WorkerConfig)) -> (Worker, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let of_engine = Arc::clone(&gate);
    let make = move || -> Box<dyn Engine> {
        Box::new(GatedEngine {
            tracer: TracerEngine::new(),
            gate: Arc::clone(&of_engine),
        })
    };
    (Worker::with_engine(change, make).await, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rendering_goes_on_and_everything_is_said_again() {
    let (worker, gate) = gated(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    assert_eq!(requestor.offer_again(&job).await, []);
    let ready = requestor.prepare(&job).await;
    let tasks = [1, 2, 3].map(|id| tile(id, GATED_FRAME + id as i32));
    requestor.lease(&job, &tasks).await;
    gate.allow(1);
    let first = requestor.hear_commitment().await;
    requestor.leave().await;
    gate.allow(2);
    gate.wait(|counts| counts.rendered == 3);

    requestor.come().await;
    let Reply::Quote { held, hold_s, .. } = requestor.offer(&job).await else {
        panic!("no quote");
    };
    assert_eq!(held, [TaskId(1), TaskId(2), TaskId(3)]);
    assert_eq!(hold_s, 3600);
    assert_eq!(requestor.prepare(&job).await, ready);
    let mut commitments = Vec::new();
    for _ in &tasks {
        commitments.push(requestor.hear_commitment().await);
    }
    assert_eq!(commitments[0], first);
    for (task, commitment) in tasks.iter().zip(&commitments) {
        requestor.take(&job, task, commitment).await;
    }
    gate.wait(|counts| (counts.loaded, counts.ended) == (1, 0));

    // What is judged is not said again, not even to a requestor whose old connection was never seen to end.
    let verdict = Request::Verdict {
        job: job.id,
        task: TaskId(1),
        rejected: None,
    };
    assert_eq!(requestor.ask(verdict).await, Reply::Done);
    assert_eq!(requestor.offer_again(&job).await, [TaskId(2), TaskId(3)]);
    assert_eq!(requestor.prepare(&job).await, ready);
    assert_eq!(requestor.hear_commitment().await, commitments[1]);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_job_takes_the_place_of_the_one_that_was_held() {
    let (worker, gate) = gated(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    requestor.offer(&job).await;
    requestor.prepare(&job).await;
    requestor.lease(&job, &[tile(1, 1)]).await;
    requestor.hear_commitment().await;
    requestor.leave().await;
    requestor.come().await;
    let mut other = job.clone();
    other.settings.samples += 1;
    assert_eq!(requestor.offer_again(&other).await, []);
    gate.wait(|counts| counts.ended == 1);
    let (job, task) = (job.id, TaskId(1));
    let reply = requestor.ask(Request::Reveal { job, task }).await;
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_held_for_longer_than_agreed() {
    for hold in [Duration::ZERO, Duration::from_millis(1)] {
        let (worker, gate) = gated(|config| config.hold = hold).await;
        let mut requestor = Requestor::of(&worker).await;
        let job = requestor.job();
        requestor.offer(&job).await;
        requestor.prepare(&job).await;
        requestor.lease(&job, &[tile(1, 1)]).await;
        requestor.hear_commitment().await;
        requestor.leave().await;
        gate.wait(|counts| counts.ended == 1);
        requestor.come().await;
        assert_eq!(requestor.offer_again(&job).await, [], "{hold:?}");
        worker.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_engine_is_put_away_and_its_results_are_not() {
    let (worker, gate) = gated(|config| config.engine_idle = Duration::ZERO).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    requestor.offer(&job).await;
    let ready = requestor.prepare(&job).await;
    let task = tile(1, 1);
    requestor.lease(&job, std::slice::from_ref(&task)).await;
    let commitment = requestor.hear_commitment().await;
    requestor.leave().await;
    gate.wait(|counts| counts.ended == 1);
    requestor.come().await;
    assert_eq!(requestor.offer_again(&job).await, [task.id]);
    let class = |ready: &Request| match ready {
        Request::Ready { class, .. } => *class,
        other => panic!("{other:?}"),
    };
    assert_eq!(class(&requestor.prepare(&job).await), class(&ready));
    assert_eq!(requestor.hear_commitment().await, commitment);
    requestor.take(&job, &task, &commitment).await;
    requestor.lease(&job, &[tile(2, 1)]).await;
    assert_eq!(requestor.hear_commitment().await.task, TaskId(2));
    gate.wait(|counts| counts.loaded == 2);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_are_kept_leave_room_for_other_jobs() {
    let (worker, gate) = gated(|config| config.engine_idle = Duration::ZERO).await;
    let mut gone = Vec::new();
    for _ in 0..4 {
        let mut requestor = Requestor::of(&worker).await;
        let job = requestor.job();
        requestor.offer(&job).await;
        requestor.prepare(&job).await;
        requestor.lease(&job, &[tile(1, 1)]).await;
        requestor.hear_commitment().await;
        gone.push((requestor, job));
    }
    let late = Requestor::of(&worker).await;
    let reply = late.offer(&late.job()).await;
    assert!(matches!(reply, Reply::Declined { .. }), "{reply:?}");
    for (requestor, _) in &mut gone {
        requestor.leave().await;
    }
    gate.wait(|counts| counts.ended == 4);
    for fresh in 0..4 {
        let mut job = late.job();
        job.id = JobId([fresh; 16]);
        let requestor = Requestor::of(&worker).await;
        assert_eq!(requestor.offer_again(&job).await, []);
    }
    for (requestor, job) in &gone {
        requestor.come().await;
        assert_eq!(requestor.offer_again(job).await, [TaskId(1)]);
    }
    worker.end().await;
}
