//! Drives one job: network events and time go into the coordinator, its effects go out to peers, ledger and files.

use crate::{
    accounts::Accounts,
    books::Books,
    bundle::Lists,
    delivery::{self, Arriving},
    failure::{Code, Failure},
    frames::write_frame,
    jobs::{self, JobFolder, State, Status},
    judging::{self, Accused},
    output::Pattern,
    own_engine::OwnEngineHandle,
    payments::Payments,
    peers::Peers,
    providers::Providers,
    report::Report,
    requests::translate,
    settlement, standing,
    thread::lock,
};
use engine::{Merging, Plane};
use farm::{
    Farm,
    event::{Effect, Event, Outcome},
};
use network::{BlobStore, Node, NodeEvent};
use protocol::{
    Address, Blake3Hash, JobSpec, NodeId, TaskId, TaskSpec,
    message::{Request, Terms, bounded_text},
    pixels,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Events that may wait for the coordinator.
const EVENTS_MAX: usize = 4096;
/// How often the coordinator learns that time passes.
const TICK: Duration = Duration::from_millis(250);
/// Frames written at once: a frame is held in memory while it is.
const FRAMES_WRITING_MAX: usize = 2;
/// Deliveries fetched and hashed at once.
const DELIVERIES_MAX: usize = 8;
/// How often it is looked whether the user has denied a worker, from another process.
const DENIED_POLL: Duration = Duration::from_secs(2);

/// Everything that a job needs from outside.
pub struct JobContext {
    /// The connection to the workers.
    pub node: Node,
    /// Scenes and tiles.
    pub blobs: BlobStore,
    /// Lists of the segments of the scene's files.
    pub lists: Lists,
    /// The job.
    pub spec: JobSpec,
    /// Who pays.
    pub payer: Address,
    /// How it is paid.
    pub terms: Terms,
    /// How the user's local workers are.
    pub local_terms: Terms,
    /// The money.
    pub accounts: Accounts,
    /// Decides disputes, finishes frames.
    pub own_engine: OwnEngineHandle,
    /// Names of the passes' channels in frame files.
    pub planes: Vec<Plane>,
    /// How ranges of samples are put together.
    pub merging: Merging,
    /// Where frames go.
    pub pattern: Pattern,
    /// Workers that the user started: they are trusted as the user's own.
    pub own_workers: BTreeSet<NodeId>,
    /// What is remembered of the others.
    pub providers: Arc<Providers>,
    /// Where the job's state lies.
    pub folder: JobFolder,
    /// Where evidence is kept.
    pub data_dir: PathBuf,
    /// The own engine's version, for whoever reads evidence.
    pub engine_build: String,
}

/// State shared with the tasks that wait for answers.
pub struct Shared {
    pub context: JobContext,
    pub events: mpsc::Sender<Event>,
    pub peers: Peers,
    /// What each lease is for, until it is decided.
    pub tasks: Mutex<BTreeMap<TaskId, TaskSpec>>,
    pub payments: Payments,
    pub arriving: Arriving,
    pub deliveries: Semaphore,
    pub writing: Semaphore,
}

/// Leases that the job had given before this process: their workers may come back and deliver.
fn leased(farm: &Farm) -> BTreeMap<TaskId, TaskSpec> {
    farm.leased_tasks().map(|task| (task.id, task)).collect()
}

/// Runs the job to its end; the first Ctrl-C stops it cleanly, a second at once. `first` comes before everything: what this run may spend.
pub async fn run(
    context: JobContext,
    books: &mut Books,
    first: Event,
    mut network_events: mpsc::Receiver<NodeEvent>,
    report: &mut Report,
) -> Result<Outcome, Failure> {
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let shared = Arc::new(Shared {
        peers: Peers::new(
            context.node.clone(),
            events.clone(),
            context.accounts.clone(),
        ),
        context,
        events,
        tasks: Mutex::new(leased(&books.farm)),
        payments: Payments::resumed(&books.farm.progress().workers),
        arriving: Arriving::default(),
        deliveries: Semaphore::new(DELIVERIES_MAX),
        writing: Semaphore::new(FRAMES_WRITING_MAX),
    });
    let paying = tokio::spawn(pay(Arc::clone(&shared)));
    if books.farm.config().mixed_classes {
        spawn(&shared, |shared| async move {
            let class = shared.context.own_engine.class().await;
            if let Err(error) = &class {
                tracing::warn!(error, "classes cannot be mixed");
            }
            let class = class.ok();
            let _ = shared.events.send(Event::OwnClass { class }).await;
        });
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = tokio::time::interval(DENIED_POLL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut stopping, mut told_status) = (false, None);
    let mut first = Some(first);
    loop {
        let (told, event) = match first.take() {
            Some(first) => (Some(first), None),
            None => tokio::select! {
                event = network_events.recv() => match event {
                    Some(event) => (None, translate(&shared, event)),
                    None => (None, Some(Event::Stop)),
                },
                told = inbox.recv() => (told, None),
                _ = ticks.tick() => (None, Some(tick(&shared.context.folder, &books.farm, &mut told_status))),
                _ = looks.tick() => {
                    spawn(&shared, |shared| async move { standing::drop_denied(&shared).await });
                    (None, None)
                }
                _ = interrupted() => {
                    if stopping {
                        std::process::exit(Code::Interrupted as i32);
                    }
                    stopping = true;
                    report.say("stopping: what is accepted is kept and paid; Ctrl-C again stops at once");
                    (None, Some(Event::Stop))
                }
            },
        };
        // All that is there goes to disk in one write, a worker's quote before the end of its connection.
        let mut batch: Vec<Event> = told.into_iter().collect();
        let waiting = inbox.len();
        batch.extend(std::iter::from_fn(|| inbox.try_recv().ok()).take(waiting));
        batch.extend(event);
        if batch.is_empty() {
            continue;
        }
        batch.iter().for_each(|event| report.observe(event));
        let arrived: Vec<Blake3Hash> = batch.iter().filter_map(delivered_root).collect();
        let entered = books.enter(batch).await;
        let effects = entered.map_err(unwritable)?;
        arrived
            .into_iter()
            .for_each(|root| shared.arriving.leave(root));
        // While the pixels are here that it rests on.
        standing::remember_faults(&shared, &effects).await;
        forget(&shared, books.take_unneeded(&shared.arriving));
        let mut outcome = None;
        for effect in effects {
            report.observe_effect(&effect);
            match effect {
                Effect::Finished { outcome: ended } => outcome = Some(ended),
                other => perform(&shared, other),
            }
        }
        if report.wants_update() {
            report.update(&books.farm.progress());
        }
        if let Some(outcome) = outcome {
            farewell(&shared, paying, report).await;
            return Ok(outcome);
        }
    }
}

fn unwritable(why: String) -> Failure {
    Failure::new(
        Code::FramesFailed,
        format!("the journal of the job cannot be written: {why}"),
    )
    .hint("make room on the disk, then resume the job: `render jobs` lists it")
}

/// Time passes: other processes learn how far the job is, and may have asked it to stop.
fn tick(folder: &JobFolder, farm: &Farm, told: &mut Option<Status>) -> Event {
    let status = jobs::status(State::Running, "", &farm.progress());
    if !told
        .as_ref()
        .is_some_and(|told| told.says_the_same(&status))
    {
        match folder.set_status(&status) {
            Ok(()) => *told = Some(status),
            Err(error) => tracing::debug!(%error, "the status was not written"),
        }
    }
    match folder.orders() {
        Some(_) => Event::Stop,
        None => Event::Tick,
    }
}

fn delivered_root(event: &Event) -> Option<Blake3Hash> {
    match event {
        Event::Delivered { root, .. } => Some(*root),
        _ => None,
    }
}

/// Deletes blobs that nothing needs any more.
fn forget(shared: &Arc<Shared>, roots: Vec<Blake3Hash>) {
    if roots.is_empty() {
        return;
    }
    let blobs = shared.context.blobs.clone();
    tokio::task::spawn_blocking(move || {
        for root in roots {
            if let Err(error) = blobs.remove(root) {
                tracing::warn!(%error, "a tile was not deleted");
            }
        }
    });
}

/// Ctrl-C, or the terminate signal that a job scheduler sends.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Carries out an effect without waiting for anybody.
fn perform(shared: &Arc<Shared>, effect: Effect) {
    let job = shared.context.spec.id;
    match effect {
        Effect::Lease {
            worker,
            tasks,
            next,
            reason: _,
        } => {
            lock(&shared.tasks).extend(tasks.iter().map(|task| (task.id, task.clone())));
            let lease = Request::Lease { job, tasks, next };
            shared.peers.send(worker, lease);
        }
        Effect::Cancel { worker, tasks } => {
            let mut known = lock(&shared.tasks);
            tasks.iter().for_each(|task| drop(known.remove(task)));
            drop(known);
            shared.context.accounts.forget(worker, &tasks);
            shared.peers.send(worker, Request::Cancel { job, tasks });
        }
        Effect::Reject {
            worker,
            task,
            reason,
        } => {
            lock(&shared.tasks).remove(&task);
            shared.context.accounts.forget(worker, &[task]);
            let rejected = Some(bounded_text(&reason));
            shared.peers.send(
                worker,
                Request::Verdict {
                    job,
                    task,
                    rejected,
                },
            );
        }
        Effect::Quarantine {
            worker, evidence, ..
        } => {
            shared.context.accounts.forget_all(worker);
            let rejected = Some(bounded_text(&evidence.to_string()));
            let verdict = Request::Verdict {
                job,
                task: TaskId(u64::MAX),
                rejected,
            };
            shared.peers.send(worker, verdict);
            shared.peers.send(worker, Request::Close { job });
        }
        Effect::Reveal { worker, task, due } => spawn(shared, move |shared| async move {
            if let Some(event) = delivery::fetch(&shared, worker, task, due).await {
                let _ = shared.events.send(event).await;
            }
        }),
        Effect::Accept { worker, task, .. } => {
            lock(&shared.tasks).remove(&task);
            let rejected = None;
            shared.peers.send(
                worker,
                Request::Verdict {
                    job,
                    task,
                    rejected,
                },
            );
        }
        Effect::Pay {
            worker,
            payee,
            task,
            amount,
        } => {
            shared.context.accounts.owe(worker, payee, task, amount);
            shared.payments.owe(worker, payee, task, amount);
        }
        Effect::Compare {
            request,
            rects,
            pixels,
            left,
            right,
        } => spawn(shared, move |shared| async move {
            let found = delivery::compare(&shared.context, rects, pixels, left, right).await;
            let _ = shared.events.send(Event::Compared { request, found }).await;
        }),
        Effect::Judge {
            request,
            frame,
            samples,
            rects,
            root,
            regions,
            seed,
        } => {
            let accused = Accused {
                frame,
                samples,
                rects,
                root,
                regions,
                seed,
            };
            spawn(shared, move |shared| async move {
                let verdict = judging::judge(&shared.context, accused).await;
                if let Err(error) = &verdict {
                    tracing::warn!(error, "a tile of another class cannot be judged");
                }
                let judged = Event::Judged { request, verdict };
                let _ = shared.events.send(judged).await;
            });
        }
        Effect::RenderOwn {
            request,
            frame,
            samples,
            class,
            rects,
            pixels,
        } => {
            spawn(shared, move |shared| async move {
                let own_engine = &shared.context.own_engine;
                let passes = shared.context.spec.settings.passes.len();
                let part = (frame, samples);
                let delivered = own_engine.delivery(part, rects, pixels, class).await;
                let cells = delivered.map(|bytes| pixels::cell_hashes(&bytes, passes));
                let _ = shared
                    .events
                    .send(Event::OwnRendered { request, cells })
                    .await;
            });
        }
        Effect::WriteFrame { frame, tiles } => spawn(shared, move |shared| async move {
            let outcome = write_frame(&shared, frame, tiles).await;
            let _ = shared
                .events
                .send(Event::FrameWritten { frame, outcome })
                .await;
        }),
        // Books keep blobs until the journal names them no more; faults are remembered before; the end is the loop's.
        Effect::Forget { .. } | Effect::Fault { .. } | Effect::Finished { .. } => {}
    }
}

pub fn spawn<F>(shared: &Arc<Shared>, work: impl FnOnce(Arc<Shared>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(work(Arc::clone(shared)));
}

/// Pays for what is accepted and sends the vouchers, until the payments are closed.
async fn pay(shared: Arc<Shared>) -> Result<(), String> {
    let job = shared.context.spec.id;
    let deliver = |worker, signed| shared.peers.send(worker, Request::Voucher { job, signed });
    let accounts = &shared.context.accounts;
    shared.payments.run(accounts, deliver).await
}

/// Tells all workers that the job is over and pays out.
async fn farewell(shared: &Arc<Shared>, paying: JoinHandle<Result<(), String>>, report: &Report) {
    shared.payments.close();
    let paid = paying.await.unwrap_or_else(|e| Err(e.to_string()));
    if let Err(error) = paid {
        tracing::error!(error, "not everything could be paid");
    }
    settlement::settle(shared, report).await;
    let job = shared.context.spec.id;
    shared.peers.part_with_all(&Request::Close { job }).await;
}
