//! Simulated providers: what they are like, what they hold, what they deliver.

use super::{
    engine::{CLASS, OTHER_CLASS, SAMPLES, true_cell, true_cells},
    network::Link,
    random::Random,
};
use farm::event::{Millis, Trust};
use protocol::{Blake3Hash, Glm, NodeId, Rect, TaskId, TaskSpec, geometry::Cell};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Time that a worker of ordinary speed takes for a million samples.
pub const MEGASAMPLE_MS: u64 = 40_000;
/// Time that a rectangle costs beside its samples.
const TASK_MS: Millis = 20;
/// Tasks that a sleeper does honestly.
const SLEEPING_TASKS: u32 = 4;

/// How a worker treats its requestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Does what it should.
    Honest,
    /// Honest and a hundred times slower than it says.
    Slow,
    /// Honest, of another determinism class.
    OtherClass,
    /// Tiles and probes are black.
    Black,
    /// Tiles are those of the frame before.
    PreviousFrame,
    /// Tiles are shifted by a cell.
    Shifted,
    /// Only the outermost cells of a tile are rendered.
    RimOnly,
    /// A quarter of a tile's rows is not rendered.
    Band,
    /// Its tiles are right; in probes and opinions the first cell is a lie.
    LyingProber,
    /// Honest at first, then its tiles are black.
    Sleeper,
    /// Honest at first, then as the lying prober.
    SleepingProber,
    /// Commits and never opens a commitment.
    CommitNeverReveal,
    /// Takes leases and is never heard again.
    Silent,
    /// Heartbeats for ever, delivers nothing.
    Hostage,
    /// Its process dies now and then with what it holds; it comes back.
    Crashing,
    /// Cannot do any task and says so.
    Failing,
    /// Delivers a cell too few.
    WrongCount,
    /// Commits to one thing and delivers another.
    Recommitting,
}

use Strategy::*;

impl Strategy {
    /// Those that deliver wrong pixels: they are to be caught, and nobody else.
    pub const WRONG_PIXELS: &[Strategy] = &[
        Black,
        PreviousFrame,
        Shifted,
        RimOnly,
        Band,
        LyingProber,
        Sleeper,
        SleepingProber,
    ];
    /// All that make trouble.
    pub const TROUBLE: &[Strategy] = &[
        Slow,
        Black,
        PreviousFrame,
        Shifted,
        RimOnly,
        Band,
        LyingProber,
        Sleeper,
        SleepingProber,
        CommitNeverReveal,
        Silent,
        Hostage,
        Crashing,
        Failing,
        WrongCount,
        Recommitting,
    ];

    /// The determinism class of its engine.
    pub fn class(self) -> Blake3Hash {
        match self {
            OtherClass => OTHER_CLASS,
            _ => CLASS,
        }
    }

    /// Will its pixels ever be wrong?
    pub fn is_wrong(self) -> bool {
        Self::WRONG_PIXELS.contains(&self)
    }
}

/// What a worker is like.
#[derive(Debug, Clone)]
pub struct Member {
    /// How it treats the requestor.
    pub strategy: Strategy,
    /// What the requestor thinks of it.
    pub trust: Trust,
    /// Of the ordinary speed, in percent.
    pub speed_percent: u64,
    /// Price of a million samples.
    pub price_megasample: Glm,
    /// How long it keeps tasks and results for a requestor that is away.
    pub hold_ms: Millis,
    /// Its way to the requestor.
    pub link: Link,
    /// How many of a hundred thousand milliseconds its clock is ahead or behind.
    pub drift: i64,
    /// Does it come back with its disk whatever happens to it?
    pub comes_back: bool,
}

impl Member {
    /// A worker of ordinary speed near the requestor.
    pub fn plain(strategy: Strategy, trust: Trust) -> Self {
        Self {
            strategy,
            trust,
            speed_percent: 100,
            price_megasample: Glm::from_wei(1_000_000),
            hold_ms: 0,
            link: Link::new(5, 10_000),
            drift: 0,
            comes_back: true,
        }
    }

    /// Time for a million samples.
    pub fn megasample_ms(&self) -> u64 {
        MEGASAMPLE_MS * 100 / self.speed_percent.max(1)
    }

    /// A span of its own clock on the world's.
    pub fn by_its_clock(&self, span: Millis) -> Millis {
        span.saturating_add_signed(span as i64 / 1_000 * self.drift / 100)
    }
}

/// A task that is rendered and committed to.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What it was.
    pub spec: TaskSpec,
    /// Salt of the commitment.
    pub salt: [u8; 32],
    /// Hash of the delivery.
    pub root: Blake3Hash,
    /// Cells of the delivery.
    pub cells: Arc<[Blake3Hash]>,
    /// What it said before.
    pub commitment: Blake3Hash,
    /// How long it took.
    pub render_ms: u32,
    /// When it was finished.
    pub at: Millis,
}

/// A worker and its state.
pub struct Worker {
    /// What it is like.
    pub member: Member,
    /// Its identity.
    pub id: NodeId,
    /// Is its process alive?
    pub is_up: bool,
    /// Does the network keep it from the requestor?
    pub is_cut: bool,
    /// Has it a connection, as it sees it?
    pub is_connected: bool,
    /// Does the requestor still have to notice that the connection is gone?
    pub loss_pending: bool,
    /// Was it told that all is over?
    pub is_closed: bool,
    /// Number of its connection.
    pub connection: u32,
    /// Number of its try to connect.
    pub attempt: u32,
    /// Number of what it renders.
    pub render: u32,
    /// Does it render the first of its queue?
    pub is_rendering: bool,
    /// Has it loaded the scene?
    pub has_scene: bool,
    /// It does nothing before.
    pub stalled_until: Millis,
    /// Its disk is full before.
    pub disk_full_until: Millis,
    /// Tasks that it renders one after the other.
    pub queue: VecDeque<TaskSpec>,
    /// Tasks that it has committed to.
    pub finished: BTreeMap<TaskId, Finished>,
    tasks_seen: u32,
    /// What it delivers instead of pixels: each cheat has its own, two with the same would vouch for each other.
    fake: Blake3Hash,
}

impl Worker {
    /// A worker with nothing to do.
    pub fn new(member: Member, id: NodeId) -> Self {
        Self {
            member,
            id,
            is_up: true,
            is_cut: false,
            is_connected: false,
            loss_pending: false,
            is_closed: false,
            connection: 0,
            attempt: 0,
            render: 0,
            is_rendering: false,
            has_scene: false,
            stalled_until: 0,
            disk_full_until: 0,
            queue: VecDeque::new(),
            finished: BTreeMap::new(),
            tasks_seen: 0,
            fake: Blake3Hash::of(&id.0),
        }
    }

    /// Tasks that it has not committed to.
    pub fn queued(&self) -> Vec<TaskId> {
        self.queue.iter().map(|spec| spec.id).collect()
    }

    /// All tasks that it holds.
    pub fn held(&self) -> Vec<TaskId> {
        let finished = self.finished.keys().copied();
        self.queued().into_iter().chain(finished).collect()
    }

    /// Takes tasks into its queue: at the end, or behind the one that it renders.
    pub fn take(&mut self, tasks: Vec<TaskSpec>, next: bool) {
        let mut at = if next { 1 } else { self.queue.len() };
        for spec in tasks {
            at = at.min(self.queue.len());
            self.queue.insert(at, spec);
            at += 1;
            self.tasks_seen += 1;
        }
    }

    /// Drops a task; one that it renders is broken off.
    pub fn drop_task(&mut self, id: TaskId) {
        self.finished.remove(&id);
        if self.is_rendering && self.queue.front().is_some_and(|spec| spec.id == id) {
            self.break_off();
        }
        self.queue.retain(|spec| spec.id != id);
    }

    /// Drops everything that it holds.
    pub fn drop_all(&mut self) {
        self.break_off();
        self.queue.clear();
        self.finished.clear();
    }

    fn break_off(&mut self) {
        self.render += 1;
        self.is_rendering = false;
    }

    /// Time that it takes for a task.
    pub fn time_for(&self, spec: &TaskSpec, random: &mut Random) -> Millis {
        let samples = spec.rects.iter().map(Rect::area).sum::<u64>() * u64::from(SAMPLES);
        let slowness = if self.member.strategy == Slow { 100 } else { 1 };
        let exact = TASK_MS + samples * self.member.megasample_ms() * slowness / 1_000_000;
        exact + random.below(exact / 10 + 10)
    }

    /// The cells that it delivers for a task.
    pub fn cells(&self, spec: &TaskSpec) -> Vec<Blake3Hash> {
        let class = self.member.strategy.class();
        let honest = true_cells(class, spec.frame, &spec.rects);
        let rect = spec.rects[0];
        let is_tile = is_tile(spec);
        let (across, down) = (rect.cells_across() as usize, rect.cells_down() as usize);
        // The first rectangle is the tile itself, its neighbours' cells follow.
        let edit = |keep: &dyn Fn(usize, usize) -> bool| {
            let is_kept = |at: usize| at >= rect.cell_count() || keep(at % across, at / across);
            let cell = |(at, cell): (usize, &Blake3Hash)| match is_kept(at) {
                true => *cell,
                false => self.fake,
            };
            honest.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        match self.member.strategy {
            Black => vec![self.fake; honest.len()],
            PreviousFrame if is_tile => true_cells(class, spec.frame - 1, &spec.rects),
            Shifted if is_tile => {
                let shift = |(cell, _): (Cell, Rect)| Cell {
                    column: cell.column + 1,
                    ..cell
                };
                let cells = spec.rects.iter().flat_map(Rect::cells).map(shift);
                cells
                    .map(|cell| true_cell(class, spec.frame, cell))
                    .collect()
            }
            RimOnly if is_tile => {
                edit(&|x, y| x == 0 || y == 0 || x + 1 == across || y + 1 == down)
            }
            Band if is_tile => edit(&|_, y| y < down / 2 || y > down / 2 + down / 4),
            Sleeper if is_tile && self.tasks_seen > SLEEPING_TASKS => {
                vec![self.fake; honest.len()]
            }
            SleepingProber if self.tasks_seen <= SLEEPING_TASKS => honest,
            LyingProber | SleepingProber if !is_tile => {
                let mut cells = honest;
                cells[0] = self.fake;
                cells
            }
            WrongCount => honest[1..].to_vec(),
            _ => honest,
        }
    }
}

/// Is this task a tile (or a replica of one, which looks the same), and not cells that check one? Those come one cell a
/// rectangle.
pub fn is_tile(spec: &TaskSpec) -> bool {
    spec.rects[0].cell_count() > 1
}
