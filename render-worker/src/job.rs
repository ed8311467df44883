//! One job of one requestor, as the worker's loop sees it.

use crate::{limits::JOB_IDLE_MAX, postman::Postman, renderer::Work};
use engine::CancelFlag;
use protocol::{
    Address, Blake3Hash, Glm, JobSpec, NodeId, TaskId, TaskSpec,
    ids::Signature,
    message::{Request, bounded_text},
};
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::AbortHandle};

/// How far the engine is with the scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not asked for, or put away.
    Unloaded,
    Loading,
    Ready {
        class: Blake3Hash,
        calibration: Blake3Hash,
        megasample_ms: u32,
    },
    /// It cannot go on, since then.
    Broken(Instant),
}

/// How the requestor takes part.
pub enum Contact {
    /// It has our quote and has not followed it up, since then.
    Quoted(Instant),
    Open(Postman),
    /// Its connection is gone, since then.
    Away(Instant),
}

/// What was said of a task that is done, and what it takes to open the commitment.
#[derive(Debug, Clone)]
pub struct Committed {
    pub salt: [u8; 32],
    pub root: Blake3Hash,
    pub commitment: Blake3Hash,
    pub signature: Signature,
    pub render_ms: u32,
}

/// Where a task of a lease stands.
pub enum Held {
    Queued,
    Rendering(CancelFlag),
    Committed(Committed),
}

/// A task of a lease.
pub struct Task {
    pub held: Held,
    /// What is paid for it at least.
    pub value: Glm,
}

pub struct Job {
    pub requestor: NodeId,
    pub payer: Address,
    pub spec: Arc<JobSpec>,
    pub contact: Contact,
    pub stage: Stage,
    /// Tells this loading of the scene from earlier ones.
    pub run: u64,
    /// The scene's files for this run.
    pub folder: Option<PathBuf>,
    pub tasks: HashMap<TaskId, Task>,
    pub queue: VecDeque<TaskSpec>,
    /// What the commitment to the task that is rendering is bound to.
    pub rendering_hash: Option<Blake3Hash>,
    /// To the renderer of this run.
    pub work: Option<mpsc::Sender<Work>>,
    pub cancel: CancelFlag,
    pub fetching: Option<AbortHandle>,
    /// When the last task was handed to the renderer, as a count of all tasks.
    pub turn: u64,
    /// Since when the requestor is away and nothing is left to render.
    resting_since: Option<Instant>,
}

impl Job {
    pub fn new(requestor: NodeId, payer: Address, spec: JobSpec) -> Self {
        Self {
            requestor,
            payer,
            spec: Arc::new(spec),
            contact: Contact::Quoted(Instant::now()),
            stage: Stage::Unloaded,
            run: 0,
            folder: None,
            tasks: HashMap::new(),
            queue: VecDeque::new(),
            rendering_hash: None,
            work: None,
            cancel: CancelFlag::default(),
            fetching: None,
            turn: 0,
            resting_since: None,
        }
    }

    /// Says something to the requestor. One that does not listen is told when it takes part again.
    pub fn say(&self, request: Request) {
        if let Contact::Open(postman) = &self.contact {
            postman.say(request);
        }
    }

    /// Says what the requestor has to know when it takes part, and may have missed while it was away.
    pub fn say_all(&self) {
        let Stage::Ready {
            class,
            calibration,
            megasample_ms,
        } = self.stage
        else {
            return;
        };
        let job = self.spec.id;
        self.say(Request::Ready {
            job,
            class,
            calibration,
            megasample_ms,
        });
        let committed = |(id, task): (&TaskId, &Task)| match &task.held {
            Held::Committed(committed) => Some((*id, committed.clone())),
            _ => None,
        };
        let mut all: Vec<_> = self.tasks.iter().filter_map(committed).collect();
        all.sort_unstable_by_key(|(task, _)| *task);
        for (task, committed) in all {
            self.say_committed(task, &committed);
        }
    }

    pub fn say_committed(&self, task: TaskId, committed: &Committed) {
        self.say(Request::Commit {
            job: self.spec.id,
            task,
            commitment: committed.commitment,
            signature: committed.signature,
            render_ms: committed.render_ms,
        });
    }

    pub fn say_failed(&self, task: Option<TaskId>, reason: &str) {
        self.say(Request::Failed {
            job: self.spec.id,
            task,
            reason: bounded_text(reason),
        });
    }

    /// Tells which tasks are queued or rendering, unless other messages are on their way.
    pub fn beat(&self) {
        let Contact::Open(postman) = &self.contact else {
            return;
        };
        if self.is_at_work() && postman.is_idle() {
            postman.say(Request::Heartbeat {
                job: self.spec.id,
                tasks: self
                    .unfinished()
                    .take(protocol::limits::LEASE_TASKS_MAX)
                    .collect(),
            });
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = TaskId> {
        let is_unfinished = |task: &Task| !matches!(task.held, Held::Committed(_));
        let unfinished = self
            .tasks
            .iter()
            .filter(move |(_, task)| is_unfinished(task));
        unfinished.map(|(id, _)| *id)
    }

    /// What its tasks that are not judged are worth.
    pub fn in_flight(&self) -> Glm {
        self.tasks.values().map(|task| task.value).sum()
    }

    /// The requestor cannot be reached: what it has to know is said when it is back.
    pub fn leave(&mut self) {
        if !matches!(self.contact, Contact::Away(_)) {
            self.contact = Contact::Away(Instant::now());
        }
    }

    /// The job ends without its requestor's word. Results are kept for `hold`.
    pub fn is_abandoned(&self, hold: Duration) -> bool {
        match (&self.contact, self.stage) {
            (Contact::Quoted(since), _) => since.elapsed() > JOB_IDLE_MAX,
            (Contact::Open(_), Stage::Broken(since)) => since.elapsed() > JOB_IDLE_MAX,
            (Contact::Open(_), _) => false,
            (Contact::Away(since), stage) => {
                let is_useless = stage == Stage::Unloaded && self.tasks.is_empty();
                is_useless || since.elapsed() > hold
            }
        }
    }

    /// Has the engine had nothing to do for so long, with nobody there who could give it something?
    pub fn is_engine_idle(&mut self, longest: Duration) -> bool {
        let is_away = matches!(self.contact, Contact::Away(_));
        if !is_away || self.stage == Stage::Unloaded || self.unfinished().next().is_some() {
            self.resting_since = None;
            return false;
        }
        let since = *self.resting_since.get_or_insert_with(Instant::now);
        since.elapsed() > longest
    }

    /// When the requestor left, if nothing is done for it any more but to keep its results.
    pub fn only_kept_since(&self) -> Option<Instant> {
        match (&self.contact, self.stage) {
            (Contact::Away(since), Stage::Unloaded) => Some(*since),
            _ => None,
        }
    }

    /// The engine cannot go on: what it was to render is lost, what it has rendered is not.
    pub fn break_off(&mut self, reason: &str) {
        tracing::warn!(job = %self.spec.id, reason, "the job failed");
        self.stage = Stage::Broken(Instant::now());
        self.queue.clear();
        self.tasks
            .retain(|_, task| matches!(task.held, Held::Committed(_)));
        self.say_failed(None, reason);
    }

    /// Has it anything to render, or may it get it?
    pub fn is_at_work(&self) -> bool {
        matches!(self.stage, Stage::Loading | Stage::Ready { .. })
    }

    /// Is something queued or rendering?
    pub fn is_rendering(&self) -> bool {
        self.unfinished().next().is_some()
    }

    /// Renders nothing more, for a reason of the worker's own.
    pub fn call_off(&mut self, reason: &str) {
        for task in self.tasks.values() {
            if let Held::Rendering(cancel) = &task.held {
                cancel.cancel();
            }
        }
        self.break_off(reason);
    }

    /// Lets the engine end and gives the folder that it no longer needs.
    pub fn unload(&mut self) -> Option<PathBuf> {
        self.stage = Stage::Unloaded;
        self.work = None;
        if let Some(fetching) = self.fetching.take() {
            fetching.abort();
        }
        self.folder.take()
    }

    /// Stops everything that works for it; gives its folder and the tiles that are no longer needed.
    pub fn end(mut self) -> (Option<PathBuf>, Vec<Blake3Hash>) {
        self.cancel.cancel();
        let folder = self.unload();
        let root = |task: Task| match task.held {
            Held::Rendering(cancel) => {
                cancel.cancel();
                None
            }
            Held::Committed(committed) => Some(committed.root),
            Held::Queued => None,
        };
        (folder, self.tasks.into_values().filter_map(root).collect())
    }
}
