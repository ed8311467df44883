//! What must hold at every step, whatever happens: the referee sees each event and its effects once they are in the
//! journal, and knows which pixels are right.

use super::{disk::Disk, engine::job};
use farm::{
    Farm, Progress, WorkerState,
    event::{Effect, Event, Evidence, FaultKind, LeaseReason, Piece},
    limits::WRITING_FRAMES_MAX,
};
use protocol::{
    Blake3Hash, Glm, JobSpec, NodeId, TaskId, TaskSpec, TileGrid,
    limits::{LEASE_TASKS_MAX, TASKS_HELD_MAX},
};
use std::collections::{HashMap, HashSet};

/// What an event means to the referee; taken before the coordinator has it.
#[derive(Debug, Clone)]
pub enum Note {
    /// A blob is here.
    Delivered(Blake3Hash),
    /// A worker begins a connection.
    Ready(NodeId),
    /// A process begins: all connections do.
    Resumed {
        /// Does it render frames again that were paid for?
        again: bool,
    },
    /// Nothing.
    Other,
}

impl Note {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Delivered { root, .. } => Self::Delivered(*root),
            Event::Ready { worker, .. } => Self::Ready(*worker),
            Event::Resumed { again, .. } => Self::Resumed {
                again: !again.is_empty(),
            },
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Leased,
    Accepted,
    Rejected,
}

/// A task that is leased and not judged.
struct Task {
    worker: NodeId,
    spec: TaskSpec,
    /// Were the pixels right that its worker committed to?
    is_right: Option<bool>,
    /// Is it a tile, and not a check of one?
    is_tile: bool,
    /// Over which connection it was to be revealed last.
    revealed: Option<u32>,
}

/// What the referee knows of a worker.
#[derive(Default)]
struct Account {
    owed: Glm,
    /// Accepted tasks that are not paid.
    unpaid: HashMap<TaskId, Glm>,
    connections: u32,
    is_wrong: bool,
    is_caught: bool,
    /// Was it caught at more than single cells?
    is_expelled: bool,
}

/// Watches a job.
pub struct Referee {
    grid: TileGrid,
    job: JobSpec,
    budget: Option<Glm>,
    accounts: HashMap<NodeId, Account>,
    tasks: HashMap<TaskId, Task>,
    fates: Vec<Fate>,
    /// Tiles paid, each with how many reasons to pay it again there had been.
    paid: HashMap<(i32, u32, u32), u32>,
    /// Workers caught and frames taken up again so far.
    reasons_to_pay_again: u32,
    total: Glm,
    /// Blobs that came and were not forgotten.
    live: HashSet<Blake3Hash>,
    live_max: usize,
    open_tiles: usize,
    caught: u64,
    is_over: bool,
}

impl Referee {
    /// Watches from the beginning.
    pub fn new(grid: TileGrid, budget: Option<Glm>) -> Self {
        Self {
            grid,
            job: job(grid.size),
            budget,
            accounts: HashMap::new(),
            tasks: HashMap::new(),
            fates: Vec::new(),
            paid: HashMap::new(),
            reasons_to_pay_again: 0,
            total: Glm::ZERO,
            live: HashSet::new(),
            live_max: 0,
            open_tiles: 0,
            caught: 0,
            is_over: false,
        }
    }

    /// A worker is there; may it be caught?
    pub fn meet(&mut self, worker: NodeId, is_wrong: bool) {
        self.accounts.entry(worker).or_default().is_wrong = is_wrong;
    }

    /// A worker has rendered a task.
    pub fn rendered(&mut self, task: TaskId, is_right: bool) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.is_right = Some(is_right);
        }
    }

    /// All money that is owed.
    pub fn total(&self) -> Glm {
        self.total
    }

    /// Workers caught.
    pub fn caught(&self) -> u64 {
        self.caught
    }

    /// Most blobs that the job needed at a time.
    pub fn live_max(&self) -> usize {
        self.live_max
    }

    /// A worker holds so many tasks.
    pub fn check_held(&self, worker: &NodeId, held: usize) -> Result<(), String> {
        match held <= TASKS_HELD_MAX {
            true => Ok(()),
            false => Err(format!(
                "{} holds {held} tasks, over the protocol's {TASKS_HELD_MAX}",
                worker.short()
            )),
        }
    }

    /// An event and what the coordinator made of it.
    pub fn watch(&mut self, note: &Note, effects: &[Effect], disk: &Disk) -> Result<(), String> {
        match note {
            // What comes when all is over is dropped unseen.
            Note::Delivered(root) if !self.is_over => {
                self.live.insert(*root);
            }
            Note::Ready(worker) => self.accounts.entry(*worker).or_default().connections += 1,
            Note::Resumed { again } => {
                self.accounts
                    .values_mut()
                    .for_each(|account| account.connections += 1);
                self.reasons_to_pay_again += u32::from(*again);
                self.is_over = false;
            }
            Note::Delivered(_) | Note::Other => {}
        }
        for effect in effects {
            self.judge(effect, disk)?;
        }
        self.live_max = self.live_max.max(self.live.len());
        self.check_memory()
    }

    fn judge(&mut self, effect: &Effect, disk: &Disk) -> Result<(), String> {
        match effect {
            Effect::Lease {
                worker,
                tasks,
                reason,
                ..
            } => self.lease(*worker, tasks, *reason),
            Effect::Reveal { worker, task, .. } => self.reveal(worker, *task),
            Effect::Accept {
                worker,
                task,
                amount,
                ..
            } => self.accept(*worker, *task, *amount),
            Effect::Reject { worker, task, .. } => self.reject(*worker, *task),
            Effect::Pay {
                worker,
                task,
                amount,
                ..
            } => self.pay(worker, *task, *amount),
            Effect::Quarantine {
                worker,
                fault,
                evidence,
            } => self.quarantine(*worker, *fault, evidence),
            Effect::Fault { worker, evidence } => self.blame(*worker, evidence),
            Effect::WriteFrame { frame, tiles } => self.check_pieces(*frame, tiles, disk),
            Effect::Forget { root } => {
                self.live.remove(root);
                Ok(())
            }
            Effect::Finished { .. } => {
                self.is_over = true;
                self.check_all_paid()
            }
            Effect::Cancel { .. }
            | Effect::RenderOwn { .. }
            | Effect::Compare { .. }
            | Effect::Judge { .. } => Ok(()),
        }
    }

    fn lease(
        &mut self,
        worker: NodeId,
        tasks: &[TaskSpec],
        reason: LeaseReason,
    ) -> Result<(), String> {
        let short = worker.short();
        let account = self.accounts.entry(worker).or_default();
        if account.is_caught {
            return Err(format!("{short} was caught and gets work"));
        }
        if tasks.is_empty() || tasks.len() > LEASE_TASKS_MAX {
            return Err(format!("a lease of {} tasks", tasks.len()));
        }
        for spec in tasks {
            let id = spec.id;
            let place = id.0 as usize;
            if place >= self.fates.len() {
                self.fates.resize(place + 1, Fate::Unknown);
            }
            let before = std::mem::replace(&mut self.fates[place], Fate::Leased);
            if before != Fate::Unknown {
                return Err(format!("a new task has the number of {id}, {before:?}"));
            }
            spec.check(&self.job)
                .map_err(|e| format!("task {id}: {e}"))?;
            let is_tile = reason != LeaseReason::Check;
            self.open_tiles += usize::from(is_tile);
            let task = Task {
                worker,
                spec: spec.clone(),
                is_tile,
                is_right: None,
                revealed: None,
            };
            self.tasks.insert(id, task);
        }
        Ok(())
    }

    fn reveal(&mut self, worker: &NodeId, id: TaskId) -> Result<(), String> {
        let connections = self.accounts.get(worker).map(|account| account.connections);
        let task = self.task_of(worker, id)?;
        if task.revealed == connections {
            return Err(format!("task {id} is to be revealed twice"));
        }
        task.revealed = connections;
        Ok(())
    }

    fn task_of(&mut self, worker: &NodeId, id: TaskId) -> Result<&mut Task, String> {
        let fate = self.fates.get(id.0 as usize);
        match self.tasks.get_mut(&id) {
            Some(task) if task.worker == *worker => Ok(task),
            Some(task) => Err(format!(
                "task {id} is of {}, not of {}",
                task.worker.short(),
                worker.short()
            )),
            None => Err(format!("task {id} is not open but {fate:?}")),
        }
    }

    fn close(&mut self, worker: &NodeId, id: TaskId, fate: Fate) -> Result<Task, String> {
        self.task_of(worker, id)?;
        let Some(task) = self.tasks.remove(&id) else {
            return Err(format!("task {id} is not open"));
        };
        self.fates[id.0 as usize] = fate;
        self.open_tiles -= usize::from(task.is_tile);
        Ok(task)
    }

    fn accept(&mut self, worker: NodeId, id: TaskId, amount: Glm) -> Result<(), String> {
        let task = self.close(&worker, id, Fate::Accepted)?;
        if task.is_right != Some(true) {
            return Err(format!(
                "task {id} of {} is paid, its pixels are wrong",
                worker.short()
            ));
        }
        if task.is_tile {
            let at = task.spec.rects[0];
            let reasons = self.reasons_to_pay_again;
            let before = self.paid.insert((task.spec.frame, at.x, at.y), reasons);
            if before == Some(reasons) {
                return Err(format!(
                    "task {id}: tile {at} of frame {} is paid twice",
                    task.spec.frame
                ));
            }
        }
        let account = self.accounts.entry(worker).or_default();
        let add = |sum: Glm| sum.checked_add(amount).ok_or("money overflows");
        account.owed = add(account.owed)?;
        account.unpaid.insert(id, amount);
        self.total = add(self.total)?;
        match self.budget {
            Some(budget) if self.total > budget => {
                Err(format!("{} is spent of a budget of {budget}", self.total))
            }
            _ => Ok(()),
        }
    }

    fn reject(&mut self, worker: NodeId, id: TaskId) -> Result<(), String> {
        self.close(&worker, id, Fate::Rejected).map(drop)
    }

    fn pay(&mut self, worker: &NodeId, task: TaskId, amount: Glm) -> Result<(), String> {
        let account = self.accounts.entry(*worker).or_default();
        match account.unpaid.remove(&task) == Some(amount) && !account.is_expelled {
            true => Ok(()),
            false => {
                let short = worker.short();
                Err(format!(
                    "{short} is paid {amount} for task {task}, which is not due"
                ))
            }
        }
    }

    fn check_all_paid(&self) -> Result<(), String> {
        let unpaid = |(_, account): &(&NodeId, &Account)| !account.unpaid.is_empty();
        match self.accounts.iter().find(unpaid) {
            None => Ok(()),
            Some((worker, account)) => {
                let (short, count) = (worker.short(), account.unpaid.len());
                Err(format!("{count} tasks of {short} are never paid"))
            }
        }
    }

    fn quarantine(
        &mut self,
        worker: NodeId,
        fault: FaultKind,
        evidence: &Evidence,
    ) -> Result<(), String> {
        let account = self.accounts.entry(worker).or_default();
        account.is_caught = true;
        if fault == FaultKind::Fraud {
            account.is_expelled = true;
            for (_, amount) in account.unpaid.drain() {
                account.owed = account.owed.checked_sub(amount).ok_or("money is lost")?;
                self.total = self.total.checked_sub(amount).ok_or("money is lost")?;
            }
        }
        self.caught += 1;
        self.blame(worker, evidence)
    }

    /// Somebody is said to be wrong: it has to be true, and its tiles may have to be paid to somebody else.
    fn blame(&mut self, worker: NodeId, evidence: &Evidence) -> Result<(), String> {
        self.reasons_to_pay_again += 1;
        let account = self.accounts.entry(worker).or_default();
        if !account.is_wrong {
            let short = worker.short();
            return Err(format!("{short} is honest and blamed for {evidence}"));
        }
        let mut statements = evidence.statements.iter();
        match statements.any(|statement| statement.worker == worker && statement.is_wrong) {
            true => Ok(()),
            false => Err(format!(
                "evidence that does not name the guilty: {evidence}"
            )),
        }
    }

    fn check_pieces(&self, frame: i32, tiles: &[Piece], disk: &Disk) -> Result<(), String> {
        if tiles.len() != self.grid.tile_count() as usize {
            return Err(format!("frame {frame} is written of {} tiles", tiles.len()));
        }
        for (index, piece) in (0..).zip(tiles) {
            let core = self.grid.core(index);
            if (piece.core, piece.rendered) != (core, core) {
                return Err(format!("tile {index} of frame {frame} is of other pixels"));
            }
            if !disk.blobs.contains_key(&piece.root) {
                return Err(format!("the blob of tile {index} of frame {frame} is gone"));
            }
        }
        Ok(())
    }

    /// Needed blobs are those of open frames. A frame is open while a tile of it is leased or not judged, while a worker
    /// stays with it to do its waiting tiles (each with one frame at most), or while it is written.
    fn check_memory(&self) -> Result<(), String> {
        let frames = self.open_tiles + self.accounts.len() + WRITING_FRAMES_MAX + 1;
        let most = frames * self.grid.tile_count() as usize;
        match self.live.len() <= most {
            true => Ok(()),
            false => Err(format!(
                "{} blobs are kept for {} open tiles",
                self.live.len(),
                self.open_tiles
            )),
        }
    }

    /// Compares the coordinator's own account of money and blobs with what was seen.
    pub fn audit(&self, farm: &Farm) -> Result<(), String> {
        let progress = farm.progress();
        if progress.spent != self.total {
            let (spent, total) = (progress.spent, self.total);
            return Err(format!("{spent} is spent, {total} was paid"));
        }
        self.check_rows(&progress)?;
        let blobs = farm.blobs();
        if blobs.len() != self.live.len() || blobs.iter().any(|root| !self.live.contains(root)) {
            let (needed, kept) = (blobs.len(), self.live.len());
            return Err(format!("{needed} blobs are needed, {kept} are kept"));
        }
        Ok(())
    }

    fn check_rows(&self, progress: &Progress) -> Result<(), String> {
        let mut sum = Glm::ZERO;
        for row in &progress.workers {
            sum = sum.checked_add(row.earned).ok_or("money overflows")?;
            let account = self.accounts.get(&row.worker);
            let owed = account.map_or(Glm::ZERO, |account| account.owed);
            if row.earned != owed {
                let (short, earned) = (row.worker.short(), row.earned);
                return Err(format!("{short} earned {earned} and was paid {owed}"));
            }
            let caught = account.is_some_and(|account| account.is_caught);
            if caught != (row.state == WorkerState::Quarantined) {
                return Err(format!("{} is {:?}", row.worker.short(), row.state));
            }
        }
        match sum == progress.spent {
            true => Ok(()),
            false => Err(format!("{} is spent, workers earned {sum}", progress.spent)),
        }
    }
}

/// What is wrong with the pixels of a frame that is written, if anything.
pub fn content_of(frame: i32, tiles: &[Piece], disk: &Disk) -> Result<(), String> {
    for piece in tiles {
        let known = disk.blobs.get(&piece.root).and_then(|blob| blob.truth);
        if known != Some((frame, piece.rendered)) {
            return Err(format!("{} of frame {frame} is wrong", piece.rendered));
        }
    }
    Ok(())
}

/// At the end of a job that is done: every frame is written and true.
pub fn check_files(farm: &Farm, disk: &Disk) -> Result<(), String> {
    for frame in farm.frames_done() {
        match disk.files.get(&frame) {
            Some(content) => content.clone()?,
            None => return Err(format!("frame {frame} is done and has no file")),
        }
    }
    Ok(())
}
