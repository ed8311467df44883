//! What a worker answers and does for its requestors.

mod away;
mod chain;
mod on_chain;
mod redeeming;
mod requestor;
mod versions;

use protocol::{
    EngineKind, JobId, NodeId, SecretPixels, TaskId, TaskSpec,
    message::{Reply, Request},
};
use requestor::{Requestor, Worker, tile};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_offers_are_declined_and_strangers_refused() {
    let worker = Worker::start(|_| {}).await;
    let requestor = Requestor::of(&worker).await;
    let good = requestor.job();
    let mut bad = good.clone();
    bad.settings.samples = 0;
    let mut wide = good.clone();
    wide.settings.guard_px = 1_000;
    let mut missing = good.clone();
    missing.engine = EngineKind::Blender;
    for job in [bad, wide, missing] {
        let reply = requestor.offer(&job).await;
        assert!(matches!(reply, Reply::Declined { .. }), "{reply:?}");
    }
    let reply = requestor.offer(&good).await;
    assert!(matches!(reply, Reply::Quote { price_megasample, .. } if price_megasample.wei() == 5));
    let (job, task) = (JobId([2; 16]), TaskId(0));
    let reply = requestor.ask(Request::Reveal { job, task }).await;
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    worker.end().await;
}

/// Before anything of the job is fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_another_blender_is_declined_by_name() {
    let offered = async |own: Option<&str>, needed: &str| {
        let worker = Worker::start(|config| {
            config.engines = vec![EngineKind::Tracer, EngineKind::Blender];
            config.blender = own.map(|version| version.parse().unwrap());
        })
        .await;
        let requestor = Requestor::of(&worker).await;
        let mut job = requestor.job();
        (job.engine, job.blender) = (EngineKind::Blender, needed.parse().ok());
        let reply = requestor.offer(&job).await;
        worker.end().await;
        reply
    };
    for (own, needed, why) in [
        (
            Some("4.5.15"),
            "5.0.1",
            "the job needs Blender 5.0.1, this worker has 4.5.15",
        ),
        (
            None,
            "5.0.1",
            "the job needs Blender 5.0.1, this worker has none",
        ),
    ] {
        let reply = offered(own, needed).await;
        assert!(
            matches!(&reply, Reply::Declined { reason } if reason == why),
            "{reply:?}"
        );
    }
    let reply = offered(Some("4.5.15"), "4.5.15").await;
    assert!(
        matches!(&reply, Reply::Quote { about, device, .. } if about.ends_with("blender 4.5.15") && device == "cpu"),
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_others_declines() {
    let worker = Worker::start(|config| config.serve_only = vec![NodeId([3; 32])]).await;
    let requestor = Requestor::of(&worker).await;
    let reply = requestor.offer(&requestor.job()).await;
    assert!(matches!(reply, Reply::Declined { .. }), "{reply:?}");
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_rendered_committed_and_delivered() {
    let worker = Worker::start(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    requestor.offer(&job).await;
    requestor.prepare(&job).await;
    let task = tile(4, 1);
    requestor.lease(&job, std::slice::from_ref(&task)).await;
    let commitment = requestor.hear_commitment().await;
    requestor.take(&job, &task, &commitment).await;

    let verdict = Request::Verdict {
        job: job.id,
        task: task.id,
        rejected: None,
    };
    assert_eq!(requestor.ask(verdict).await, Reply::Done);
    let reveal = Request::Reveal {
        job: job.id,
        task: task.id,
    };
    assert!(matches!(requestor.ask(reveal).await, Reply::Refused { .. }));
    assert_eq!(
        requestor.ask(Request::Close { job: job.id }).await,
        Reply::Done
    );
    let closed = requestor.ask(Request::Close { job: job.id }).await;
    assert!(matches!(closed, Reply::Refused { .. }), "{closed:?}");
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_pixels_are_those_of_their_tile() {
    let worker = Worker::start(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    requestor.offer(&job).await;
    requestor.prepare(&job).await;
    let whole = tile(4, 1);
    let secret = SecretPixels {
        challenge: [7; 32],
        per_cell: 3,
        packed: None,
    };
    let pixels = TaskSpec {
        id: TaskId(5),
        pixels: Some(secret),
        ..whole.clone()
    };
    let passes = job.settings.passes.len();
    requestor
        .lease(&job, &[whole.clone(), pixels.clone()])
        .await;
    let commitment = requestor.hear_commitment().await;
    let tile_bytes = requestor.take(&job, &whole, &commitment).await;
    let commitment = requestor.hear_commitment().await;
    let pixel_bytes = requestor.take(&job, &pixels, &commitment).await;
    let extracted = secret.extract(&whole.rects[0], passes, &tile_bytes);
    assert_eq!(extracted, Some(pixel_bytes));
    worker.end().await;
}
