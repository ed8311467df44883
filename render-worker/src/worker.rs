//! The worker's loop: answers requestors, hands tasks to renderers, tells what became of them.

use crate::{
    blender_release::check_blender,
    bookkeeper::Bookkeeper,
    bundle,
    config::{Started, WorkerConfig, WorkerError},
    dialling::keep_connected,
    early_engine::EarlyEngine,
    job::{Committed, Contact, Held, Job, Stage},
    limits::{GUARD_MAX_PX, HEARTBEAT, JOBS_HELD_MAX, JOBS_MAX, NOTES_MAX, STOP_MAX},
    postman::Postman,
    renderer::{MakeEngine, News, Note, Renderer, Work},
    scenes::Scenes,
    tiles::Tiles,
};
use engine::{CancelFlag, Engine, EngineError};
use network::{BlobStore, NetworkError, Node, NodeConfig, NodeEvent, Replier};
use protocol::{
    Address, Blake3Hash, EngineKind, JobId, JobSpec, NodeId, Segmented, TaskId, TaskSpec,
    limits::TASKS_HELD_MAX,
    message::{Reply, Request, Terms, bounded_text},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};

/// Works for requestors until `stop` completes. Every job gets an engine of its own from `make_engine`, which is
/// called on the job's thread.
///
/// # Errors
/// When the data folder or an address cannot be used; trouble with a job is told to its requestor instead.
pub async fn serve(
    mut config: WorkerConfig,
    make_engine: impl Fn(EngineKind) -> Result<Box<dyn Engine>, EngineError> + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let (scenes, book) = tokio::task::block_in_place(|| open_data(&config))?;
    let blobs = scenes.blobs().clone();
    let mut node_config = NodeConfig::new(config.identity.clone(), blobs.clone());
    if !config.listen.is_empty() {
        node_config.listen.clone_from(&config.listen);
    }
    node_config.mdns = config.mdns;
    let (node, mut events) = Node::start(node_config).await?;
    if let Some(started) = config.started.take() {
        // Nobody waits for it any more: no reason not to work.
        let _ = started.send(Started {
            node: node.id(),
            addresses: node.addresses().await,
            payee: config.payee,
        });
    }
    let (notes, mut note_receiver) = mpsc::channel(NOTES_MAX);
    let (connected, connections) = watch::channel(HashSet::new());
    let (bad_peer, mut bad_peers) = mpsc::channel(1);
    for address in config.peers.clone() {
        let (node, connections) = (node.clone(), connections.clone());
        tokio::spawn(keep_connected(node, address, connections, bad_peer.clone()));
    }
    let mut worker = Worker {
        jobs_dir: jobs_dir(&config.data_dir),
        tiles: Tiles::new(blobs),
        make_engine: Arc::new(make_engine),
        jobs: HashMap::new(),
        rendering: None,
        runs: 0,
        turns: 0,
        spare: None,
        config,
        node,
        scenes,
        book,
        notes,
        connected,
    };
    worker.start_spare()?;
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(stop);
    let outcome = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            Some(error) = bad_peers.recv() => break Err(WorkerError::Network(error)),
            event = events.recv() => match event {
                Some(event) => worker.event(event),
                None => break Err(WorkerError::Network(NetworkError::Stopped)),
            },
            Some(note) = note_receiver.recv() => worker.note(note),
            _ = heartbeat.tick() => worker.tick(),
        }
        worker.dispatch();
    };
    worker.stop(note_receiver).await;
    outcome
}

fn jobs_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("jobs")
}

fn open_data(config: &WorkerConfig) -> Result<(Scenes, Bookkeeper), WorkerError> {
    let (data_dir, jobs) = (&config.data_dir, jobs_dir(&config.data_dir));
    match fs::remove_dir_all(&jobs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(WorkerError::io(format!("cannot clear {}", jobs.display()))(
                error,
            ));
        }
        _ => {}
    }
    fs::create_dir_all(&jobs)
        .map_err(WorkerError::io(format!("cannot make {}", jobs.display())))?;
    // The book comes first: it refuses a folder that another worker uses.
    let book = Bookkeeper::start(data_dir, config.payee)?;
    let blobs = BlobStore::open(data_dir.join("blobs"))?;
    let failed = WorkerError::io(format!("cannot keep scenes in {}", data_dir.display()));
    Ok((Scenes::open(blobs, config).map_err(failed)?, book))
}

struct Worker {
    config: WorkerConfig,
    jobs_dir: PathBuf,
    node: Node,
    scenes: Scenes,
    tiles: Tiles,
    book: Bookkeeper,
    make_engine: Arc<MakeEngine>,
    jobs: HashMap<JobId, Job>,
    /// The run whose renderer is at work.
    rendering: Option<u64>,
    runs: u64,
    turns: u64,
    /// The engine of the first job.
    spare: Option<EarlyEngine>,
    notes: mpsc::Sender<Note>,
    connected: watch::Sender<HashSet<NodeId>>,
}

fn refused(reason: &str) -> Reply {
    Reply::Refused {
        reason: reason.into(),
    }
}

impl Worker {
    fn event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Connected { peer, address } => {
                tracing::info!(%peer, address, "connected");
                self.connected.send_modify(|all| {
                    all.insert(peer);
                });
            }
            NodeEvent::Disconnected { peer } => {
                tracing::info!(%peer, "disconnected");
                self.connected.send_modify(|all| {
                    all.remove(&peer);
                });
                self.left(peer);
            }
            NodeEvent::Discovered { .. } => {}
            NodeEvent::Request {
                peer,
                request,
                reply,
            } => self.request(peer, request, reply),
        }
    }

    fn request(&mut self, peer: NodeId, request: Request, replier: Replier) {
        let answer = match request {
            Request::Offer { job, payer, terms } => Ok(self.offer(peer, *job, (payer, terms))),
            Request::Prepare { job, segmented } => self.prepare(peer, job, segmented),
            Request::Lease { job, tasks, next } => self.lease(peer, job, tasks, next),
            Request::Reveal { job, task } => self.reveal(peer, job, task),
            Request::Verdict {
                job,
                task,
                rejected,
            } => self.verdict(peer, job, task, rejected),
            Request::Voucher { job, signed } => match self.job(peer, job) {
                Ok(job) if signed.voucher.requestor == job.payer => {
                    return self.book.enter(signed, replier);
                }
                Ok(_) => Err(refused("the voucher is not of this job's payer")),
                Err(refusal) => Err(refusal),
            },
            Request::Release { .. } => Err(refused("this escrow ends by itself")),
            Request::Cancel { job, tasks } => self.cancel(peer, job, &tasks),
            Request::Close { job } => self.job(peer, job).map(|_| ()).map(|()| {
                self.close(job);
                Reply::Done
            }),
            Request::Ready { .. }
            | Request::Heartbeat { .. }
            | Request::Commit { .. }
            | Request::Failed { .. } => Err(refused("this peer is no requestor")),
        };
        replier.send(answer.unwrap_or_else(|refusal| refusal));
    }

    fn job(&mut self, peer: NodeId, job: JobId) -> Result<&mut Job, Reply> {
        match self.jobs.get_mut(&job) {
            Some(found) if found.requestor == peer => Ok(found),
            _ => Err(refused("no such job of yours")),
        }
    }

    /// Keeps what is done for a requestor whose connection is gone, or drops it.
    fn left(&mut self, peer: NodeId) {
        let theirs = self.jobs.iter_mut().find(|(_, job)| job.requestor == peer);
        let Some((&id, job)) = theirs else {
            return;
        };
        match self.config.hold.is_zero() {
            true => self.close(id),
            false => job.leave(),
        }
    }

    fn offer(&mut self, peer: NodeId, spec: JobSpec, (payer, terms): (Address, Terms)) -> Reply {
        let earlier = self.jobs.iter().find(|(_, job)| job.requestor == peer);
        let goes_on = earlier.is_some_and(|(_, job)| {
            !self.config.hold.is_zero() && *job.spec == spec && job.payer == payer
        });
        let earlier = earlier.map(|(id, _)| *id);
        let acceptable = self
            .check_terms(terms)
            .and_then(|()| self.acceptable(peer, &spec, goes_on));
        if let Err(reason) = acceptable {
            tracing::warn!(requestor = %peer.short(), job = %spec.id.short(), "declined an offer: {reason}");
            return Reply::Declined {
                reason: bounded_text(&reason),
            };
        }
        let version = spec.blender.map(|version| format!(" {version}"));
        let version = version.unwrap_or_default();
        let about = bounded_text(&format!("{}, {}{version}", self.config.about, spec.engine));
        let device = self.config.device_of(spec.engine).to_owned();
        let id = spec.id;
        if !goes_on {
            earlier.into_iter().for_each(|id| self.close(id));
            self.jobs.insert(id, Job::new(peer, payer, spec));
        }
        let mut held = Vec::new();
        if let Some(job) = self.jobs.get_mut(&id) {
            // What is under way to the requestor's earlier process or connection may not arrive: it is said again
            // after the next Prepare.
            job.contact = Contact::Quoted(Instant::now());
            held.extend(job.tasks.keys().copied());
            held.sort_unstable();
        }
        Reply::Quote {
            price_megasample: self.config.price_megasample,
            payee: self.config.payee,
            about,
            device,
            held,
            hold_s: u32::try_from(self.config.hold.as_secs()).unwrap_or(u32::MAX),
        }
    }

    fn check_terms(&self, asked: Terms) -> Result<(), String> {
        match asked == self.config.terms {
            true => Ok(()),
            false => Err(format!(
                "it is paid {asked}, this worker {}: see --network",
                self.config.terms
            )),
        }
    }

    fn acceptable(&self, peer: NodeId, spec: &JobSpec, goes_on: bool) -> Result<(), String> {
        let only = &self.config.serve_only;
        if !only.is_empty() && !only.contains(&peer) {
            return Err("this worker serves other requestors only".into());
        }
        spec.check().map_err(|e| e.to_string())?;
        if !self.config.engines.contains(&spec.engine) {
            return Err(format!("this worker has no {}", spec.engine));
        }
        check_blender(spec.blender, self.config.blender)?;
        if spec.settings.guard_px > GUARD_MAX_PX {
            return Err(format!(
                "a guard band of {} pixels: at most {GUARD_MAX_PX} are allowed",
                spec.settings.guard_px
            ));
        }
        let known = self.jobs.get(&spec.id);
        if known.is_some_and(|job| job.requestor != peer) {
            return Err("another job has this id".into());
        }
        if goes_on {
            return Ok(());
        }
        // A requestor that comes back after a crash with something else, or asks anew, gives up what it had.
        let is_under_way =
            |job: &Job| matches!(job.contact, Contact::Open(_)) && job.spec.id != spec.id;
        let mut theirs = self.jobs.values().filter(|job| job.requestor == peer);
        if theirs.any(is_under_way) {
            return Err("one job at a time for a requestor".into());
        }
        let others = self.jobs.values().filter(|job| job.requestor != peer);
        let busy = others.filter(|job| job.only_kept_since().is_none());
        match busy.count() >= JOBS_MAX {
            true => Err("this worker has enough to do".into()),
            false => Ok(()),
        }
    }

    fn prepare(
        &mut self,
        peer: NodeId,
        id: JobId,
        segmented: Vec<Segmented>,
    ) -> Result<Reply, Reply> {
        let node = self.node.clone();
        let job = self.job(peer, id)?;
        if matches!(job.contact, Contact::Open(_)) {
            return Ok(Reply::Done);
        }
        job.contact = Contact::Open(Postman::start(node, peer));
        match job.stage {
            Stage::Unloaded | Stage::Broken(_) => self.load(id, segmented),
            Stage::Loading => {}
            Stage::Ready { .. } => job.say_all(),
        }
        Ok(Reply::Done)
    }

    /// Fetches the job's scene and loads it into an engine of its own.
    fn load(&mut self, id: JobId, segmented: Vec<Segmented>) {
        let (node, scenes, notes) = (self.node.clone(), self.scenes.clone(), self.notes.clone());
        let (make_engine, tiles) = (Arc::clone(&self.make_engine), self.tiles.clone());
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        self.runs += 1;
        let (run, spec, requestor) = (self.runs, Arc::clone(&job.spec), job.requestor);
        remove_folder(job.unload());
        let spare = self.spare.take().filter(|spare| spare.kind == spec.engine);
        let early = spare.map_or_else(
            || {
                let folder = self.jobs_dir.join(format!("{id}-{run}"));
                EarlyEngine::start(spec.engine, folder, Arc::clone(&make_engine))
            },
            Ok,
        );
        let early = match early {
            Ok(early) => early,
            Err(error) => return job.break_off(&format!("no folder for the scene: {error}")),
        };
        let folder = early.folder.clone();
        (job.stage, job.run, job.folder) = (Stage::Loading, run, Some(folder.clone()));
        let (work, work_receiver) = mpsc::channel(1);
        job.work = Some(work);
        let renderer = Renderer {
            run,
            spec: Arc::clone(&spec),
            requestor,
            folder: folder.clone(),
            make_engine,
            tiles,
            cancel: job.cancel.clone(),
            notes: notes.clone(),
        };
        let (scene, is_there) = oneshot::channel();
        if let Err(error) = renderer.start(early, is_there, work_receiver) {
            return job.break_off(&format!("no thread for the engine: {error}"));
        }
        let fetching = tokio::spawn(async move {
            let wanted = (spec, segmented);
            match bundle::fetch(node, scenes, requestor, wanted, folder).await {
                // Nobody waits for it when the job was put away.
                Ok(found) => drop(scene.send(found)),
                Err(reason) => {
                    let news = News::Broken { reason };
                    // Fails only when the worker has stopped.
                    let _ = notes.send(Note { job: id, run, news }).await;
                }
            }
        });
        job.fetching = Some(fetching.abort_handle());
    }

    /// Starts the engine of the first job before there is one, if the configuration asks for it.
    fn start_spare(&mut self) -> Result<(), WorkerError> {
        if let Some(kind) = self.config.spare {
            let folder = self.jobs_dir.join("first");
            let spare = EarlyEngine::start(kind, folder, Arc::clone(&self.make_engine));
            self.spare = Some(spare.map_err(WorkerError::io("cannot start an engine"))?);
        }
        Ok(())
    }

    fn lease(
        &mut self,
        peer: NodeId,
        id: JobId,
        tasks: Vec<TaskSpec>,
        next: bool,
    ) -> Result<Reply, Reply> {
        let job = self.job(peer, id)?;
        if !matches!(job.stage, Stage::Ready { .. }) {
            return Err(refused("the job is not ready"));
        }
        for task in &tasks {
            task.check(&job.spec)
                .map_err(|e| refused(&bounded_text(&e.to_string())))?;
        }
        if job.tasks.len() + tasks.len() > TASKS_HELD_MAX {
            return Err(refused("too many tasks are held already"));
        }
        let mut place = if next { 0 } else { job.queue.len() };
        for task in tasks {
            tracing::info!(job = %id, task = %task.id, "leased");
            // A lease that was sent again after a lost reply changes nothing.
            if let std::collections::hash_map::Entry::Vacant(entry) = job.tasks.entry(task.id) {
                entry.insert(Held::Queued);
                job.queue.insert(place, task);
                place += 1;
            }
        }
        Ok(Reply::Done)
    }

    fn reveal(&mut self, peer: NodeId, id: JobId, task: TaskId) -> Result<Reply, Reply> {
        match self.job(peer, id)?.tasks.get(&task) {
            Some(Held::Committed(committed)) => Ok(Reply::Revealed {
                salt: committed.salt,
                root: committed.root,
            }),
            _ => Err(refused("no commitment to that task")),
        }
    }

    fn verdict(
        &mut self,
        peer: NodeId,
        id: JobId,
        task: TaskId,
        rejected: Option<String>,
    ) -> Result<Reply, Reply> {
        let job = self.job(peer, id)?;
        match rejected {
            Some(reason) => tracing::warn!(job = %id, %task, reason, "rejected"),
            None => tracing::info!(job = %id, %task, "accepted"),
        }
        if let Some(Held::Committed(committed)) = job.tasks.get(&task) {
            let root = committed.root;
            job.tasks.remove(&task);
            self.forget(vec![root]);
        }
        Ok(Reply::Done)
    }

    fn cancel(&mut self, peer: NodeId, id: JobId, tasks: &[TaskId]) -> Result<Reply, Reply> {
        let job = self.job(peer, id)?;
        let mut roots = Vec::new();
        for task in tasks {
            match job.tasks.remove(task) {
                Some(Held::Rendering(cancel)) => cancel.cancel(),
                Some(Held::Committed(committed)) => roots.push(committed.root),
                Some(Held::Queued) => job.queue.retain(|queued| queued.id != *task),
                None => {}
            }
        }
        self.forget(roots);
        Ok(Reply::Done)
    }

    fn close(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let (folder, roots) = job.end();
        self.forget(roots);
        remove_folder(folder);
    }

    fn forget(&self, roots: Vec<Blake3Hash>) {
        if roots.is_empty() {
            return;
        }
        let tiles = self.tiles.clone();
        tokio::task::spawn_blocking(move || roots.into_iter().for_each(|root| tiles.forget(root)));
    }

    fn tick(&mut self) {
        let (hold, engine_idle) = (self.config.hold, self.config.engine_idle);
        for job in self.jobs.values_mut() {
            if job.is_engine_idle(engine_idle) {
                tracing::info!(job = %job.spec.id, "the engine is put away: the requestor is away");
                remove_folder(job.unload());
            }
        }
        let abandoned = self.jobs.iter().filter(|(_, job)| job.is_abandoned(hold));
        let mut closed: Vec<JobId> = abandoned.map(|(id, _)| *id).collect();
        closed.extend(self.held_too_many());
        for id in closed {
            tracing::info!(job = %id, "closed: its requestor is gone");
            self.close(id);
        }
        self.jobs.values().for_each(Job::beat);
    }

    /// The jobs whose requestors are away longest, beyond those whose results can be kept.
    fn held_too_many(&self) -> Vec<JobId> {
        let kept = self.jobs.iter();
        let kept = kept.filter_map(|(id, job)| Some((job.only_kept_since()?, *id)));
        let mut kept: Vec<(Instant, JobId)> = kept.collect();
        kept.sort_unstable();
        kept.truncate(kept.len().saturating_sub(JOBS_HELD_MAX));
        kept.into_iter().map(|(_, id)| id).collect()
    }

    fn note(&mut self, note: Note) {
        let Note { job: id, run, news } = note;
        if self.rendering == Some(run) && !matches!(news, News::Ready { .. }) {
            self.rendering = None;
        }
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.run == run) else {
            if let News::Rendered { root, .. } = news {
                self.forget(vec![root]);
            }
            return;
        };
        match news {
            News::Ready {
                class,
                calibration,
                megasample_ms,
            } if job.stage == Stage::Loading => {
                job.stage = Stage::Ready {
                    class,
                    calibration,
                    megasample_ms,
                };
                job.say_all();
            }
            News::Rendered {
                task,
                root,
                render_ms,
            } => self.rendered(id, task, root, render_ms),
            News::TaskFailed { task, reason } => {
                if job.tasks.remove(&task).is_some() {
                    job.say_failed(Some(task), &reason);
                }
            }
            News::TaskCancelled { task } => {
                job.tasks.remove(&task);
            }
            News::Broken { reason } => job.break_off(&reason),
            News::Ended if matches!(job.stage, Stage::Loading | Stage::Ready { .. }) => {
                job.break_off("the engine's thread has ended");
            }
            // An engine that was put away before it was ready.
            News::Ready { .. } | News::Ended => {}
        }
    }

    /// Commits to a task, unless it was cancelled meanwhile.
    fn rendered(&mut self, id: JobId, task: TaskId, root: Blake3Hash, render_ms: u32) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(Held::Rendering(_)) = job.tasks.get(&task) else {
            return self.forget(vec![root]);
        };
        let mut salt = [0; 32];
        let hash = job.rendering_hash.take();
        let (Ok(()), Some(hash)) = (getrandom::fill(&mut salt), hash) else {
            job.tasks.remove(&task);
            job.say_failed(Some(task), "no random salt for the commitment");
            return self.forget(vec![root]);
        };
        let commitment = verifier::commitment(&self.node.id(), &hash, &salt, &root);
        let statement = verifier::commitment_statement(&id, task, &commitment);
        let committed = Committed {
            salt,
            root,
            commitment,
            signature: self.node.sign(&statement),
            render_ms,
        };
        tracing::info!(job = %id, %task, "committed");
        job.say_committed(task, &committed);
        job.tasks.insert(task, Held::Committed(committed));
    }

    /// Hands the next task to its renderer when none is at work; jobs take turns.
    fn dispatch(&mut self) {
        if self.rendering.is_some() {
            return;
        }
        let waiting = self.jobs.values_mut();
        let waiting =
            waiting.filter(|job| matches!(job.stage, Stage::Ready { .. }) && !job.queue.is_empty());
        let Some(job) = waiting.min_by_key(|job| job.turn) else {
            return;
        };
        let (Some(task), Some(work)) = (job.queue.pop_front(), &job.work) else {
            return;
        };
        let cancel = CancelFlag::default();
        job.tasks.insert(task.id, Held::Rendering(cancel.clone()));
        job.rendering_hash = Some(task.hash(&job.spec));
        self.turns += 1;
        job.turn = self.turns;
        // A renderer that has ended says so in a note of its own.
        if work.try_send(Work { task, cancel }).is_ok() {
            self.rendering = Some(job.run);
        }
    }

    /// Ends every job, then waits a little for renderers to stop; processes that do not are ended with ours.
    async fn stop(mut self, mut notes: mpsc::Receiver<Note>) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.into_iter().for_each(|id| self.close(id));
        let node = self.node.clone();
        drop(self);
        let renderers_end = async { while notes.recv().await.is_some() {} };
        // Those that are still loading a scene are not waited for.
        let _ = tokio::time::timeout(STOP_MAX, renderers_end).await;
        node.shutdown().await;
    }
}

fn remove_folder(folder: Option<PathBuf>) {
    let Some(folder) = folder else {
        return;
    };
    tokio::task::spawn_blocking(move || match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{}: {error}", folder.display());
        }
        _ => {}
    });
}
