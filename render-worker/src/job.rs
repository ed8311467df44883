//! One job of one requestor, as the worker's loop sees it.

use crate::{
    limits::{JOB_IDLE_MAX, OUTBOX_MAX, RETRY},
    renderer::Work,
};
use engine::CancelFlag;
use network::Node;
use protocol::{Address, Blake3Hash, JobSpec, NodeId, TaskId, TaskSpec, message::Request};
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};
use tokio::{sync::mpsc, task::AbortHandle};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Offered,
    Preparing,
    Ready,
    Broken,
}

/// Where a task of a lease stands.
pub enum Held {
    Queued,
    Rendering(CancelFlag),
    Committed { salt: [u8; 32], root: Blake3Hash },
}

pub struct Job {
    /// Tells this run of the job from earlier ones with the same id.
    pub run: u64,
    pub requestor: NodeId,
    pub payer: Address,
    pub spec: Arc<JobSpec>,
    pub folder: PathBuf,
    pub phase: Phase,
    pub tasks: HashMap<TaskId, Held>,
    pub queue: VecDeque<TaskSpec>,
    /// What the commitment to the task that is rendering is bound to.
    pub rendering_hash: Option<Blake3Hash>,
    /// To the job's renderer, once it is prepared.
    pub work: Option<mpsc::Sender<Work>>,
    pub cancel: CancelFlag,
    pub fetching: Option<AbortHandle>,
    /// When the last task was handed to the renderer, as a count of all tasks.
    pub turn: u64,
    /// Has the requestor been away since the offer?
    pub interrupted: bool,
    /// Since when nothing is due from us: the requestor is away, or has not followed up.
    pub idle_since: Option<Instant>,
    outbox: mpsc::Sender<Request>,
    postman: AbortHandle,
}

impl Job {
    pub fn new(
        run: u64,
        requestor: NodeId,
        payer: Address,
        spec: JobSpec,
        folder: PathBuf,
        node: Node,
    ) -> Self {
        let (outbox, receiver) = mpsc::channel(OUTBOX_MAX);
        let postman = tokio::spawn(deliver(node, requestor, receiver)).abort_handle();
        Self {
            run,
            requestor,
            payer,
            spec: Arc::new(spec),
            folder,
            phase: Phase::Offered,
            tasks: HashMap::new(),
            queue: VecDeque::new(),
            rendering_hash: None,
            work: None,
            cancel: CancelFlag::default(),
            fetching: None,
            turn: 0,
            interrupted: false,
            idle_since: Some(Instant::now()),
            outbox,
            postman,
        }
    }

    /// Says something to the requestor, after all that was said before.
    pub fn say(&self, request: Request) {
        if self.outbox.try_send(request).is_err() {
            tracing::warn!(job = %self.spec.id, "a message to the requestor was dropped: too many wait");
        }
    }

    /// Tells which tasks are queued or rendering, unless other messages are on their way.
    pub fn beat(&self) {
        let is_open = matches!(self.phase, Phase::Preparing | Phase::Ready);
        if !is_open || self.outbox.capacity() < self.outbox.max_capacity() {
            return;
        }
        let held = |(task, held): (&TaskId, &Held)| {
            (!matches!(held, Held::Committed { .. })).then_some(*task)
        };
        self.say(Request::Heartbeat {
            job: self.spec.id,
            tasks: self
                .tasks
                .iter()
                .filter_map(held)
                .take(protocol::limits::LEASE_TASKS_MAX)
                .collect(),
        });
    }

    /// The job ends without its requestor's word.
    pub fn is_abandoned(&self) -> bool {
        self.idle_since
            .is_some_and(|since| since.elapsed() > JOB_IDLE_MAX)
    }

    /// Stops everything that works for it; gives the tiles that are no longer needed.
    pub fn end(mut self) -> (PathBuf, Vec<Blake3Hash>) {
        self.postman.abort();
        self.cancel.cancel();
        if let Some(fetching) = self.fetching.take() {
            fetching.abort();
        }
        let root = |held: Held| match held {
            Held::Rendering(cancel) => {
                cancel.cancel();
                None
            }
            Held::Committed { root, .. } => Some(root),
            Held::Queued => None,
        };
        let tasks = std::mem::take(&mut self.tasks);
        (
            std::mem::take(&mut self.folder),
            tasks.into_values().filter_map(root).collect(),
        )
    }
}

/// Sends one message after another, each until the requestor has answered it.
async fn deliver(node: Node, requestor: NodeId, mut outbox: mpsc::Receiver<Request>) {
    while let Some(request) = outbox.recv().await {
        while let Err(error) = node.request(requestor, request.clone()).await {
            tracing::debug!("{error}");
            if matches!(request, Request::Heartbeat { .. }) {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
