//! Drives one job: network events and time go into the coordinator, its effects go out to peers, ledger and files.

use crate::{
    accounts::Accounts,
    books::Books,
    delivery::{self, Arriving},
    failure::{Code, Failure},
    jobs::{self, JobFolder, State},
    output::{Format, Pattern, assemble, display_pixels},
    own_engine::OwnEngineHandle,
    payments::Payments,
    report::Report,
};
use engine::frame_file::{Packing, part_path, write_exr, write_png};
use farm::{
    Farm,
    event::{Effect, Event, Outcome, Piece},
};
use network::{BlobStore, Node, NodeEvent, Replier};
use protocol::{
    Address, Blake3Hash, JobSpec, NodeId, TaskId, TaskSpec,
    message::{Reply, Request, bounded_text, printable},
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
use verifier::Trust;

/// Events that may wait for the coordinator.
const EVENTS_MAX: usize = 4096;
/// Events that are written to the journal at once.
const BATCH_MAX: usize = 256;
/// Messages that may wait for one worker.
const OUTBOX_MAX: usize = 1024;
/// How often the coordinator learns that time passes.
const TICK: Duration = Duration::from_millis(250);
/// Frames written at once: a frame is held in memory while it is.
const FRAMES_WRITING_MAX: usize = 2;
/// Deliveries fetched and hashed at once.
const DELIVERIES_MAX: usize = 8;
/// Longest wait for farewells to workers.
const FAREWELL: Duration = Duration::from_secs(3);

/// Everything that a job needs from outside.
pub struct JobContext {
    /// The connection to the workers.
    pub node: Node,
    /// Scenes and tiles.
    pub blobs: BlobStore,
    /// The job.
    pub spec: JobSpec,
    /// Who pays.
    pub payer: Address,
    /// The money.
    pub accounts: Accounts,
    /// Decides disputes, finishes frames.
    pub own_engine: OwnEngineHandle,
    /// Prefix of channel names in the scene's own frame files.
    pub layer: Option<String>,
    /// Must Blender finish the pictures?
    pub blender_finishes: bool,
    /// Where frames go.
    pub pattern: Pattern,
    /// For raw frames that wait for Blender's finish.
    pub work_dir: PathBuf,
    /// Workers that the user started: they are trusted as the user's own.
    pub own_workers: BTreeSet<NodeId>,
    /// Where the job's state lies.
    pub folder: JobFolder,
}

/// What is known of a connected worker besides what the coordinator knows.
struct Peer {
    outbox: mpsc::Sender<Request>,
}

/// State shared with the tasks that wait for answers.
pub struct Shared {
    pub context: JobContext,
    events: mpsc::Sender<Event>,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    pub tasks: Mutex<BTreeMap<TaskId, TaskSpec>>,
    payments: Payments,
    pub arriving: Arriving,
    pub deliveries: Semaphore,
    writing: Semaphore,
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs the job to its end; the first Ctrl-C stops it cleanly, a second at once. `first` comes before everything.
pub async fn run(
    context: JobContext,
    books: &mut Books,
    first: Option<Event>,
    mut network_events: mpsc::Receiver<NodeEvent>,
    report: &mut Report,
) -> Result<Outcome, Failure> {
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let shared = Arc::new(Shared {
        context,
        events,
        peers: Mutex::default(),
        tasks: Mutex::default(),
        payments: Payments::resumed(&books.farm.progress().workers),
        arriving: Arriving::default(),
        deliveries: Semaphore::new(DELIVERIES_MAX),
        writing: Semaphore::new(FRAMES_WRITING_MAX),
    });
    let paying = tokio::spawn(pay(Arc::clone(&shared)));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopping = false;
    let mut batch: Vec<Event> = first.into_iter().collect();
    loop {
        if batch.is_empty() {
            let event = tokio::select! {
                event = network_events.recv() => match event {
                    Some(event) => translate(&shared, event),
                    None => Some(Event::Stop),
                },
                event = inbox.recv() => event,
                _ = ticks.tick() => Some(tick(&shared, &books.farm)),
                _ = interrupted() => {
                    if stopping {
                        std::process::exit(Code::Interrupted as i32);
                    }
                    stopping = true;
                    report.say("stopping: what is accepted is kept and paid; Ctrl-C again stops at once");
                    Some(Event::Stop)
                }
            };
            batch.extend(event);
        }
        // All that is there goes to disk in one write.
        while batch.len() < BATCH_MAX
            && let Ok(event) = inbox.try_recv()
        {
            batch.push(event);
        }
        batch.iter().for_each(|event| report.observe(event));
        let arrived: Vec<Blake3Hash> = batch.iter().filter_map(delivered_root).collect();
        let entered = books.enter(std::mem::take(&mut batch)).await;
        let effects = entered.map_err(unwritable)?;
        arrived
            .into_iter()
            .for_each(|root| shared.arriving.leave(root));
        forget(&shared, books.take_unneeded(&shared.arriving));
        let mut outcome = None;
        for effect in effects {
            report.observe_effect(&effect);
            match effect {
                Effect::Finished { outcome: ended } => outcome = Some(ended),
                other => perform(&shared, other),
            }
        }
        report.update(&books.farm.progress());
        if let Some(outcome) = outcome {
            farewell(&shared, paying).await;
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
fn tick(shared: &Arc<Shared>, farm: &Farm) -> Event {
    let folder = &shared.context.folder;
    if let Err(error) = folder.set_status(&jobs::status(State::Running, "", &farm.progress())) {
        tracing::debug!(%error, "the status was not written");
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

/// What a network event means to the coordinator, if anything.
fn translate(shared: &Arc<Shared>, event: NodeEvent) -> Option<Event> {
    match event {
        NodeEvent::Connected { peer, .. } => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { offer(&shared, peer).await });
            None
        }
        NodeEvent::Disconnected { peer } => lock(&shared.peers)
            .remove(&peer)
            .map(|_| Event::Left { worker: peer }),
        NodeEvent::Discovered { address, .. } => {
            let node = shared.context.node.clone();
            tokio::spawn(async move {
                if let Err(error) = node.dial(&address).await {
                    tracing::info!(address, %error, "a peer of this network is no worker");
                }
            });
            None
        }
        NodeEvent::Request {
            peer,
            request,
            reply,
        } => answer(shared, peer, request, reply),
    }
}

/// Offers the job to a peer; a quote makes it a worker.
async fn offer(shared: &Arc<Shared>, worker: NodeId) {
    let context = &shared.context;
    let request = Request::Offer {
        job: Box::new(context.spec.clone()),
        payer: context.payer,
    };
    match context.node.request(worker, request).await {
        Ok(Reply::Quote {
            price_megasample,
            payee,
            about,
            held,
            hold_s,
        }) => {
            tracing::info!(worker = %worker.short(), %price_megasample, about, "quote");
            let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
            lock(&shared.peers).insert(worker, Peer { outbox });
            shared.payments.remind(worker, payee);
            tokio::spawn(deliver_messages(Arc::clone(shared), worker, queue));
            let trust = match context.own_workers.contains(&worker) {
                true => Trust::Own,
                false => Trust::Unknown,
            };
            let quoted = Event::Quoted {
                worker,
                trust,
                payee,
                price_megasample,
                held,
                hold_ms: u64::from(hold_s) * 1000,
            };
            let _ = shared.events.send(quoted).await;
            send(
                shared,
                worker,
                Request::Prepare {
                    job: context.spec.id,
                },
            );
        }
        Ok(Reply::Declined { reason } | Reply::Refused { reason }) => {
            tracing::warn!(worker = %worker.short(), reason, "declined the job");
        }
        Ok(_) => tracing::warn!(worker = %worker.short(), "answered an offer with something else"),
        Err(error) => tracing::warn!(worker = %worker.short(), %error, "no answer to the offer"),
    }
}

/// Sends a worker's messages one after the other, so that a lease is never overtaken by its cancellation.
async fn deliver_messages(shared: Arc<Shared>, worker: NodeId, mut queue: mpsc::Receiver<Request>) {
    while let Some(request) = queue.recv().await {
        let is_duty = matches!(request, Request::Lease { .. } | Request::Prepare { .. });
        let reason = match shared.context.node.request(worker, request).await {
            Ok(Reply::Refused { reason }) => printable(&reason),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        tracing::info!(worker = %worker.short(), reason, "a message was not taken");
        if is_duty {
            let failed = Event::Failed {
                worker,
                task: None,
                reason: bounded_text(&reason),
            };
            let _ = shared.events.send(failed).await;
        }
    }
}

/// Queues a message; a worker that takes none for long is dropped.
fn send(shared: &Shared, worker: NodeId, request: Request) {
    let mut peers = lock(&shared.peers);
    let full = peers
        .get(&worker)
        .is_some_and(|peer| peer.outbox.try_send(request).is_err());
    if full {
        peers.remove(&worker);
        shared.context.node.block(worker);
    }
}

/// Answers a request at once and says what it means to the coordinator.
fn answer(shared: &Arc<Shared>, peer: NodeId, request: Request, reply: Replier) -> Option<Event> {
    let (job, event) = match request {
        Request::Ready {
            job,
            class,
            megasample_ms,
        } => (
            job,
            Event::Ready {
                worker: peer,
                class,
                megasample_ms,
            },
        ),
        Request::Heartbeat { job, tasks } => (
            job,
            Event::Heartbeat {
                worker: peer,
                tasks,
            },
        ),
        Request::Failed { job, task, reason } => (
            job,
            Event::Failed {
                worker: peer,
                task,
                reason: printable(&reason),
            },
        ),
        Request::Commit {
            job,
            task,
            commitment,
            signature,
            render_ms,
        } => {
            let statement = verifier::commitment_statement(&job, task, &commitment);
            if !verifier::verify_signature(&peer, &statement, &signature) {
                reply.send(Reply::Refused {
                    reason: "the commitment's signature is wrong".into(),
                });
                return None;
            }
            (
                job,
                Event::Committed {
                    worker: peer,
                    task,
                    commitment,
                    render_ms,
                },
            )
        }
        _ => {
            reply.send(Reply::Refused {
                reason: "a requestor does not take this message".into(),
            });
            return None;
        }
    };
    let known = job == shared.context.spec.id && lock(&shared.peers).contains_key(&peer);
    match known {
        true => {
            reply.send(Reply::Done);
            Some(event)
        }
        false => {
            reply.send(Reply::Refused {
                reason: format!("no part in job {job}"),
            });
            None
        }
    }
}

/// Carries out an effect without waiting for anybody.
fn perform(shared: &Arc<Shared>, effect: Effect) {
    let job = shared.context.spec.id;
    match effect {
        Effect::Lease { worker, tasks, .. } => {
            lock(&shared.tasks).extend(tasks.iter().map(|task| (task.id, task.clone())));
            send(shared, worker, Request::Lease { job, tasks });
        }
        Effect::Cancel { worker, tasks } => {
            let mut known = lock(&shared.tasks);
            tasks.iter().for_each(|task| drop(known.remove(task)));
            drop(known);
            send(shared, worker, Request::Cancel { job, tasks });
        }
        Effect::Reject {
            worker,
            task,
            reason,
        } => {
            lock(&shared.tasks).remove(&task);
            let rejected = Some(bounded_text(&reason));
            send(
                shared,
                worker,
                Request::Verdict {
                    job,
                    task,
                    rejected,
                },
            );
        }
        Effect::Quarantine { worker, evidence } => {
            let rejected = Some(bounded_text(&evidence));
            let verdict = Request::Verdict {
                job,
                task: TaskId(u64::MAX),
                rejected,
            };
            send(shared, worker, verdict);
            send(shared, worker, Request::Close { job });
        }
        Effect::Reveal { worker, task } => spawn(shared, move |shared| async move {
            let event = delivery::fetch(&shared, worker, task).await;
            let _ = shared.events.send(event).await;
        }),
        Effect::Accept {
            worker,
            payee,
            task,
            amount,
        } => {
            lock(&shared.tasks).remove(&task);
            let rejected = None;
            send(
                shared,
                worker,
                Request::Verdict {
                    job,
                    task,
                    rejected,
                },
            );
            shared.payments.owe(worker, payee, task, amount);
        }
        Effect::RenderOwn {
            request,
            frame,
            class,
            rects,
        } => {
            spawn(shared, move |shared| async move {
                let cells = shared.context.own_engine.cells(frame, rects, class).await;
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
        // Books keep blobs until the journal names them no more; the end is the loop's.
        Effect::Forget { .. } | Effect::Finished { .. } => {}
    }
}

fn spawn<F>(shared: &Arc<Shared>, work: impl FnOnce(Arc<Shared>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(work(Arc::clone(shared)));
}

/// Assembles a frame and writes its file.
async fn write_frame(shared: &Arc<Shared>, frame: i32, tiles: Vec<Piece>) -> Result<(), String> {
    let _permit = shared.writing.acquire().await.map_err(|e| e.to_string())?;
    let context = &shared.context;
    let out = context.pattern.path(frame);
    let raw = context.work_dir.join(format!("{frame}.exr"));
    let finish = context.blender_finishes && context.pattern.format == Format::Png;
    let write = {
        let (shared, out, raw) = (Arc::clone(shared), out.clone(), raw.clone());
        move || {
            let context = &shared.context;
            let settings = &context.spec.settings;
            let whole = assemble(settings.size, &settings.passes, &tiles, &context.blobs)?;
            let layer = context.layer.as_deref();
            match (context.pattern.format, finish) {
                (Format::Exr, _) => write_exr(&whole, layer, Packing::Zip, &out),
                (Format::Png, true) => write_exr(&whole, layer, Packing::None, &raw),
                (Format::Png, false) => write_png(settings.size, &display_pixels(&whole), &out),
            }
            .map_err(|e| e.to_string())
        }
    };
    let written = tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|e| Err(e.to_string()));
    let written = match (written, finish) {
        (Ok(()), true) => {
            let size = context.spec.settings.size;
            context
                .own_engine
                .finish_png(size, frame, raw.clone(), out.clone())
                .await
        }
        (written, _) => written,
    };
    if finish {
        let _ = tokio::fs::remove_file(&raw).await;
    }
    if written.is_err() {
        // A disk that is full gets its space back; the frame before it stays whole because of the rename.
        let _ = tokio::fs::remove_file(part_path(&out)).await;
    }
    written
}

/// Pays for what is accepted and sends the vouchers, until the payments are closed.
async fn pay(shared: Arc<Shared>) -> Result<(), String> {
    let job = shared.context.spec.id;
    let deliver = |worker, signed| send(&shared, worker, Request::Voucher { job, signed });
    let accounts = &shared.context.accounts;
    shared.payments.run(accounts, deliver).await
}

/// Tells all workers that the job is over and pays out.
async fn farewell(shared: &Arc<Shared>, paying: JoinHandle<Result<(), String>>) {
    shared.payments.close();
    let paid = paying.await.unwrap_or_else(|e| Err(e.to_string()));
    if let Err(error) = paid {
        tracing::error!(error, "not everything could be paid");
    }
    if let Err(error) = shared.context.accounts.settle().await {
        tracing::error!(error, "settling failed; it is tried again in the next run");
    }
    let job = shared.context.spec.id;
    let peers = std::mem::take(&mut *lock(&shared.peers));
    let mut queues = Vec::new();
    for (_, peer) in peers {
        let _ = peer.outbox.try_send(Request::Close { job });
        queues.push(peer.outbox);
    }
    // A queue is empty once all its places are free again.
    let drained = async {
        for queue in &queues {
            let _ = queue.reserve_many(OUTBOX_MAX).await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL, drained).await;
}
