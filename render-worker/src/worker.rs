//! The worker's loop: answers requestors, hands tasks to renderers, tells what became of them.

mod data;
mod leases;
mod offers;

use crate::{
    bookkeeper::Bookkeeper,
    bundle,
    config::{Started, WorkerConfig, WorkerError},
    dialling::keep_connected,
    early_engine::EarlyEngine,
    escrows::{Escrows, Lease},
    job::{Committed, Contact, Held, Job, Stage},
    limits::{HEARTBEAT, JOBS_HELD_MAX, NOTES_MAX, STOP_MAX},
    postman::Postman,
    renderer::{MakeEngine, News, Note, Renderer, Work},
    scenes::Scenes,
    tiles::Tiles,
};
use engine::{CancelFlag, Engine, EngineError};
use network::{NetworkError, Node, NodeConfig, NodeEvent, Replier};
use protocol::{
    Blake3Hash, EngineKind, Glm, JobId, NodeId, Segmented, TaskId,
    message::{Reply, Request},
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs,
    future::Future,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
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
    let data::Opened {
        scenes,
        book,
        escrows,
        mut seen,
        lock: _lock,
    } = tokio::task::block_in_place(|| data::open(&config))?;
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
        jobs_dir: data::jobs_dir(&config.data_dir),
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
        escrows,
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
            Some(seen) = seen.recv() => worker.seen(seen),
            _ = heartbeat.tick() => worker.tick(),
        }
        worker.dispatch();
    };
    // Nobody waits for the loop to hear what was seen.
    drop(seen);
    worker.stop(note_receiver).await;
    outcome
}

struct Worker {
    config: WorkerConfig,
    jobs_dir: PathBuf,
    node: Node,
    scenes: Scenes,
    tiles: Tiles,
    /// None where nobody pays.
    book: Option<Bookkeeper>,
    /// On a chain only.
    escrows: Option<Escrows>,
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
            Request::Lease { job, tasks, next } => {
                let lease = Lease {
                    peer,
                    job,
                    tasks,
                    next,
                };
                return self.lease(lease, replier);
            }
            Request::Reveal { job, task } => self.reveal(peer, job, task),
            Request::Verdict {
                job,
                task,
                rejected,
            } => self.verdict(peer, job, task, rejected),
            Request::Voucher { job, signed } => return self.voucher(peer, job, signed, replier),
            Request::Release {
                job,
                epoch,
                cumulative,
            } => return self.release((peer, job), (epoch, cumulative), replier),
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

    fn reveal(&mut self, peer: NodeId, id: JobId, task: TaskId) -> Result<Reply, Reply> {
        match self.job(peer, id)?.tasks.get(&task).map(|task| &task.held) {
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
        let is_accepted = rejected.is_none();
        match rejected {
            Some(reason) => tracing::warn!(job = %id, %task, reason, "rejected"),
            None => tracing::info!(job = %id, %task, "accepted"),
        }
        if let Entry::Occupied(entry) = job.tasks.entry(task)
            && let Held::Committed(committed) = &entry.get().held
        {
            let (root, value, payer) = (committed.root, entry.get().value, job.payer);
            entry.remove();
            if is_accepted && let Some(escrows) = &self.escrows {
                escrows.accounts.owe(payer, id, value);
            }
            self.forget(vec![root]);
        }
        Ok(Reply::Done)
    }

    fn cancel(&mut self, peer: NodeId, id: JobId, tasks: &[TaskId]) -> Result<Reply, Reply> {
        let job = self.job(peer, id)?;
        let mut roots = Vec::new();
        for task in tasks {
            match job.tasks.remove(task).map(|task| task.held) {
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
        if let Some(escrows) = &self.escrows {
            let unpaid = escrows.accounts.close(job.payer, id);
            if unpaid > Glm::ZERO {
                tracing::warn!(job = %id, requestor = %job.payer, "{unpaid} GLM of accepted work stay unpaid");
            }
        }
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
        self.watch_escrows();
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
        let rendering = job.tasks.get_mut(&task);
        let rendering = rendering.filter(|task| matches!(task.held, Held::Rendering(_)));
        if rendering.is_none() {
            return self.forget(vec![root]);
        }
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
        if let Some(task) = job.tasks.get_mut(&task) {
            task.held = Held::Committed(committed);
        }
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
        if let Some(task) = job.tasks.get_mut(&task.id) {
            task.held = Held::Rendering(cancel.clone());
        }
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
        let escrows = self.escrows.take();
        if let Some(chain) = &self.config.chain {
            chain.stop.store(true, Ordering::Relaxed);
        }
        drop(self);
        let renderers_end = async { while notes.recv().await.is_some() {} };
        // Those that are still loading a scene are not waited for.
        let _ = tokio::time::timeout(STOP_MAX, renderers_end).await;
        // What is under way on the chain is on disk, and seen to at the next start.
        let looking_ends = tokio::task::spawn_blocking(|| escrows.map(Escrows::stop));
        let _ = tokio::time::timeout(STOP_MAX, looking_ends).await;
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
