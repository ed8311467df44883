//! Simulated providers: what they are like, what they hold, what they deliver.

pub use super::strategies::Strategy;
use super::{
    engine::{CLASS, OTHER_CLASS, SAMPLES, cell_cost, true_cell, true_content},
    network::Link,
    random::Random,
    strategies::{CellSet, Filling, When},
};
use Strategy::*;
use farm::event::{Millis, Trust};
use protocol::{Blake3Hash, Glm, NodeId, Rect, TaskId, TaskSpec, geometry::Cell};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

/// Time that a worker of ordinary speed takes for a million samples.
pub const MEGASAMPLE_MS: u64 = 40_000;
/// Time that a rectangle costs beside its samples.
const TASK_MS: Millis = 20;
/// Tasks that a prober does honestly before it begins to lie.
const SLEEPING_TASKS: u32 = 4;

/// What a worker is like.
#[derive(Debug, Clone)]
pub struct Member {
    /// How it treats the requestor.
    pub strategy: Strategy,
    /// The determinism class that it says its engine is of.
    pub class: Blake3Hash,
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
    /// Those that it works with, if it does.
    pub ring: Ring,
    /// New keys that it may still begin again with.
    pub rebirths: u32,
}

/// What accomplices tell each other: the cells, with their frames, that they have faked.
#[derive(Debug, Clone, Default)]
pub struct Ring(Arc<Mutex<BTreeSet<(i32, Cell)>>>);

impl Ring {
    fn told(&self) -> std::sync::MutexGuard<'_, BTreeSet<(i32, Cell)>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Member {
    /// A worker of ordinary speed near the requestor.
    pub fn plain(strategy: Strategy, trust: Trust) -> Self {
        Self {
            strategy,
            class: strategy.class(),
            trust,
            speed_percent: 100,
            price_megasample: Glm::from_wei(1_000_000),
            hold_ms: 0,
            link: Link::new(5, 10_000),
            drift: 0,
            comes_back: true,
            ring: Ring::default(),
            rebirths: strategy.rebirths(),
        }
    }

    /// So many strangers who work together.
    pub fn accomplices(strategies: &[Strategy]) -> Vec<Self> {
        let ring = Ring::default();
        let member = |strategy: &Strategy| Self {
            ring: ring.clone(),
            ..Self::plain(*strategy, Trust::Unknown)
        };
        strategies.iter().map(member).collect()
    }

    /// The same of another class.
    pub fn of_class(self, class: Blake3Hash) -> Self {
        Self { class, ..self }
    }

    /// The class that its engine is of.
    pub fn engine_class(&self) -> Blake3Hash {
        match self.strategy {
            ClassFraud if self.class == OTHER_CLASS => CLASS,
            ClassFraud => OTHER_CLASS,
            _ => self.class,
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

/// What a worker's work was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Cells that it committed to.
    pub cells: u64,
    /// Thousandths of cells that it rendered, each task's cells counted by their [`cell_cost`].
    pub rendered_millicells: u64,
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
    /// What its work was.
    pub effort: Effort,
    first_commitment: Option<Blake3Hash>,
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
            effort: Effort::default(),
            first_commitment: None,
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
        let samples = spec.pixel_count() * u64::from(SAMPLES);
        let slowness = if self.member.strategy == Slow { 100 } else { 1 };
        let exact = TASK_MS + samples * self.member.megasample_ms() * slowness / 1_000_000;
        exact + random.below(exact / 10 + 10)
    }

    /// The commitment that it sends where this one would open.
    pub fn said_commitment(&mut self, commitment: Blake3Hash) -> Blake3Hash {
        match self.member.strategy {
            ReplayedCommitment => *self.first_commitment.get_or_insert(commitment),
            _ => commitment,
        }
    }

    /// The cells, or those of each pixel, that it delivers for a task; counts what they cost.
    pub fn deliver(&mut self, spec: &TaskSpec) -> Vec<Blake3Hash> {
        let strategy = self.member.strategy;
        let honest = true_content(self.member.engine_class(), spec);
        let cells = match is_tile(spec) {
            true => self.tile_cells(spec, &honest),
            false => self.probe_cells(spec, &honest),
        };
        let is_copied = strategy == CopiedReplica && is_tile(spec);
        let (mut due, mut rendered) = (0, 0);
        for (cell, (said, right)) in places(spec).into_iter().zip(cells.iter().zip(&honest)) {
            let cost = cell_cost(cell);
            due += cost;
            rendered += if said == right && !is_copied { cost } else { 0 };
        }
        // In cells of 64 pixels, whatever is rendered.
        let share = match spec.pixels {
            Some(_) => 64,
            None => 1,
        };
        let count = honest.len() as u64;
        self.effort.cells += count / share;
        self.effort.rendered_millicells += count * 1_000 * rendered / due.max(1) / share;
        cells
    }

    fn tile_cells(&self, spec: &TaskSpec, honest: &[Blake3Hash]) -> Vec<Blake3Hash> {
        let strategy = self.member.strategy;
        let other = |frame: i32, right: u32| {
            let class = self.member.engine_class();
            let cells = spec.rects.iter().flat_map(Rect::cells);
            let moved = cells.map(|(cell, _)| Cell {
                column: cell.column + right,
                ..cell
            });
            moved.map(|cell| true_cell(class, frame, cell)).collect()
        };
        match strategy {
            PreviousFrame => other(spec.frame - 1, 0),
            Shifted => other(spec.frame, 1),
            WrongCount => honest[1..].to_vec(),
            ClassFraud | WrongClass => honest.to_vec(),
            _ if !self.fakes_now(spec) => honest.to_vec(),
            _ => self.faked(spec, honest),
        }
    }

    fn fakes_now(&self, spec: &TaskSpec) -> bool {
        match self.member.strategy.when() {
            When::Always => true,
            When::After(tasks) => self.tasks_seen > tasks,
            When::OneIn(tiles) => self.chance(spec).below(tiles) == 0,
        }
    }

    /// Chance that is the same for all who fake alike, whenever they render this tile.
    fn chance(&self, spec: &TaskSpec) -> Random {
        let rect = spec.rects[0];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&spec.frame.to_le_bytes());
        hasher
            .update(&rect.x.to_le_bytes())
            .update(&rect.y.to_le_bytes());
        if self.member.strategy.filling() == Filling::Own {
            hasher.update(&self.fake.0);
        }
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().split_at(8);
        Random::new(
            first
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }

    /// The tile with some of its cells replaced; the cells of neighbours that come with it too, if all are.
    fn faked(&self, spec: &TaskSpec, honest: &[Blake3Hash]) -> Vec<Blake3Hash> {
        let (strategy, core) = (self.member.strategy, spec.rects[0]);
        let mut random = self.chance(spec);
        let first = Cell {
            column: core.x / protocol::geometry::CELL_PX,
            row: core.y / protocol::geometry::CELL_PX,
        };
        let (across, down) = (core.cells_across(), core.cells_down());
        let faked: CellSet = strategy.fakes().draw(across, down, first, &mut random);
        let all = faked.count() == core.cell_count() as u64;
        let mut told = self.member.ring.told();
        let places = spec.rects.iter().flat_map(Rect::cells).enumerate();
        places
            .zip(honest)
            .map(|((at, (cell, _)), right)| {
                let in_core = at < core.cell_count();
                if !(in_core && faked.contains(at) || !in_core && all) {
                    return *right;
                }
                if strategy.filling() == Filling::Ring {
                    told.insert((spec.frame, cell));
                }
                self.filler(spec.frame, cell)
            })
            .collect()
    }

    /// What stands in a cell that is not rendered.
    fn filler(&self, frame: i32, cell: Cell) -> Blake3Hash {
        let place = |what: &str| Blake3Hash::of(format!("{what} {frame} {cell:?}").as_bytes());
        match (self.member.strategy, self.member.strategy.filling()) {
            (GuessedRoot, _) => Blake3Hash([0; 32]),
            (_, Filling::Own) => self.fake,
            (strategy, Filling::Alike) => place(&format!("{strategy:?}")),
            (_, Filling::Ring) => place("ring"),
        }
    }

    fn probe_cells(&self, spec: &TaskSpec, honest: &[Blake3Hash]) -> Vec<Blake3Hash> {
        let mut cells = honest.to_vec();
        match self.member.strategy {
            Black | GarbageProber => cells.fill(self.fake),
            LyingProber => cells[0] = self.fake,
            SleepingProber if self.tasks_seen > SLEEPING_TASKS => cells[0] = self.fake,
            WrongCount => drop(cells.remove(0)),
            Framing => cells[0] = Blake3Hash::of(&[&b"framed"[..], &cells[0].0].concat()),
            RepeatingProber => {
                let before = TaskSpec {
                    frame: spec.frame - 1,
                    ..spec.clone()
                };
                cells = true_content(self.member.class, &before);
            }
            strategy if strategy.vouches() => {
                let told = self.member.ring.told();
                for (place, cell) in places(spec).into_iter().zip(&mut cells) {
                    if told.contains(&(spec.frame, place)) {
                        *cell = Blake3Hash::of(format!("ring {} {place:?}", spec.frame).as_bytes());
                    }
                }
            }
            _ => {}
        }
        cells
    }
}

/// The cell of each hash that a task delivers.
fn places(spec: &TaskSpec) -> Vec<Cell> {
    let cells: Vec<Cell> = spec
        .rects
        .iter()
        .flat_map(Rect::cells)
        .map(|(cell, _)| cell)
        .collect();
    match &spec.pixels {
        Some(pixels) => {
            let places = pixels.places(&spec.rects[0]).into_iter();
            places.map(|(cell, _)| cells[cell]).collect()
        }
        None => cells,
    }
}

/// Is this task a tile (or a replica of one, which looks the same), and not what checks one? That is pixels, or one cell.
pub fn is_tile(spec: &TaskSpec) -> bool {
    spec.pixels.is_none() && spec.rects[0].cell_count() > 1
}
