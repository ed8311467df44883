//! A world of fake workers around a coordinator: it carries out effects, makes events, and checks what it sees.

use farm::event::{Effect, Event, Millis, Outcome, Piece, Trust};
use protocol::{
    Address, Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Pass, Rect, RenderSettings, Size,
    TaskId, TaskSpec, TileGrid, geometry::Cell,
};
use std::collections::{BTreeMap, BTreeSet};

/// A small seeded source of numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn bytes(&mut self) -> [u8; 32] {
        *blake3::hash(&self.next().to_le_bytes()).as_bytes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Honest,
    /// Honest and a hundred times slower.
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
    CommitNeverReveal,
    /// Takes leases and is never heard again.
    Silent,
    /// Heartbeats for ever, delivers nothing.
    Hostage,
    /// Its connection breaks now and then; it comes back.
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

    fn class(self) -> Blake3Hash {
        match self {
            OtherClass => Blake3Hash([2; 32]),
            _ => Blake3Hash([1; 32]),
        }
    }
}

pub fn job(size: Size) -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        settings: RenderSettings {
            size,
            samples: 16,
            seed: 0,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
        },
    }
}

fn truth(class: Blake3Hash, frame: i32, cell: Cell) -> Blake3Hash {
    let mut bytes = class.0.to_vec();
    bytes.extend(frame.to_le_bytes());
    bytes.extend(cell.column.to_le_bytes());
    bytes.extend(cell.row.to_le_bytes());
    Blake3Hash::of(&bytes)
}

fn true_cells(class: Blake3Hash, frame: i32, rects: &[Rect]) -> Vec<Blake3Hash> {
    let cells = rects.iter().flat_map(Rect::cells);
    cells.map(|(cell, _)| truth(class, frame, cell)).collect()
}

fn root_of(cells: &[Blake3Hash]) -> Blake3Hash {
    let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.0).collect();
    Blake3Hash::of(&bytes)
}

/// Tasks that a sleeper does honestly.
const SLEEPING_TASKS: u32 = 4;

struct FakeWorker {
    id: NodeId,
    strategy: Strategy,
    trust: Trust,
    connected: bool,
    quarantined: bool,
    held: BTreeMap<TaskId, TaskSpec>,
    done: BTreeMap<TaskId, ([u8; 32], Blake3Hash, Vec<Blake3Hash>)>,
    busy_until: Millis,
    tasks_seen: u32,
}

impl FakeWorker {
    fn render(&self, spec: &TaskSpec) -> Vec<Blake3Hash> {
        let class = self.strategy.class();
        let honest = true_cells(class, spec.frame, &spec.rects);
        // Each cheat has a fake of its own: two with the same would vouch for each other.
        let fake = Blake3Hash([self.strategy as u8; 32]);
        let rect = spec.rects[0];
        let is_tile = spec.rects.len() == 1 && rect.cell_count() > 1;
        let (across, down) = (rect.cells_across() as usize, rect.cells_down() as usize);
        let edit = |keep: &dyn Fn(usize, usize) -> bool| {
            let cell =
                |(index, cell): (usize, &Blake3Hash)| match keep(index % across, index / across) {
                    true => *cell,
                    false => fake,
                };
            honest.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        match self.strategy {
            Black => vec![fake; honest.len()],
            PreviousFrame if is_tile => true_cells(class, spec.frame - 1, &spec.rects),
            Shifted if is_tile => {
                let shift = |(cell, _): (Cell, Rect)| Cell {
                    column: cell.column + 1,
                    ..cell
                };
                let cells = rect.cells().map(shift);
                cells.map(|cell| truth(class, spec.frame, cell)).collect()
            }
            RimOnly if is_tile => {
                edit(&|x, y| x == 0 || y == 0 || x + 1 == across || y + 1 == down)
            }
            Band if is_tile => edit(&|_, y| y < down / 2 || y > down / 2 + down / 4),
            Sleeper if is_tile && self.tasks_seen > SLEEPING_TASKS => vec![fake; honest.len()],
            SleepingProber if self.tasks_seen <= SLEEPING_TASKS => honest,
            LyingProber | SleepingProber if !is_tile => {
                let mut cells = honest;
                cells[0] = fake;
                cells
            }
            WrongCount => honest[1..].to_vec(),
            _ => honest,
        }
    }
}

/// What a task was, to judge later events about it.
struct Record {
    worker: NodeId,
    cells_true: Option<bool>,
    revealed: bool,
    accepted: bool,
    rejected: bool,
}

pub struct World {
    seed: u64,
    pub now: Millis,
    pub grid: TileGrid,
    random: Random,
    own_engine: bool,
    duplicates: bool,
    workers: Vec<FakeWorker>,
    future: BTreeMap<(Millis, u64), Event>,
    scheduled: u64,
    records: BTreeMap<TaskId, Record>,
    pub blobs: BTreeSet<Blake3Hash>,
    pub written: BTreeMap<i32, Vec<Piece>>,
    pub paid: Glm,
}

impl World {
    pub fn new(seed: u64, grid: TileGrid, own_engine: bool, duplicates: bool) -> Self {
        let mut world = Self {
            seed,
            now: 0,
            grid,
            random: Random::new(seed),
            own_engine,
            duplicates,
            workers: Vec::new(),
            future: BTreeMap::new(),
            scheduled: 0,
            records: BTreeMap::new(),
            blobs: BTreeSet::new(),
            written: BTreeMap::new(),
            paid: Glm::ZERO,
        };
        world.schedule(0, Event::Tick);
        world
    }

    fn schedule(&mut self, after: Millis, event: Event) {
        self.scheduled += 1;
        self.future
            .insert((self.now + after, self.scheduled), event);
    }

    /// As `schedule`, sometimes twice, as networks do.
    fn send(&mut self, after: Millis, event: Event) {
        if self.duplicates && self.random.below(10) == 0 {
            let later = after + self.random.below(3_000);
            self.schedule(later, event.clone());
        }
        self.schedule(after, event);
    }

    pub fn join(&mut self, strategy: Strategy, trust: Trust) {
        let number = self.workers.len() as u64;
        let id = NodeId(*blake3::hash(&(number, self.seed).0.to_le_bytes()).as_bytes());
        self.workers.push(FakeWorker {
            id,
            strategy,
            trust,
            connected: false,
            quarantined: false,
            held: BTreeMap::new(),
            done: BTreeMap::new(),
            busy_until: 0,
            tasks_seen: 0,
        });
        let after = self.random.below(3_000);
        self.connect(self.workers.len() - 1, after);
    }

    fn connect(&mut self, index: usize, after: Millis) {
        let worker = &mut self.workers[index];
        worker.connected = true;
        worker.busy_until = 0;
        let (id, trust, class) = (worker.id, worker.trust, worker.strategy.class());
        let price_megasample = Glm::from_wei(1_000_000 + u128::from(self.random.below(100_000)));
        self.send(
            after,
            Event::Quoted {
                worker: id,
                trust,
                payee: Address([9; 20]),
                price_megasample,
                held: Vec::new(),
                hold_ms: 0,
            },
        );
        let loaded = after + 3_001 + self.random.below(2_000);
        self.send(
            loaded,
            Event::Ready {
                worker: id,
                class,
                megasample_ms: 1_000,
            },
        );
        self.schedule(
            loaded + 5_000,
            Event::Heartbeat {
                worker: id,
                tasks: Vec::new(),
            },
        );
    }

    /// The requestor's process ends and begins anew: connections break, and what was under way in it is gone. Vouchers
    /// name totals, so that what was accepted and not paid is paid now.
    pub fn restart(&mut self, spent: Glm) {
        self.paid = spent;
        self.future.clear();
        self.schedule(250, Event::Tick);
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            worker.held.clear();
            worker.done.clear();
            if !worker.quarantined {
                let after = self.random.below(3_000);
                self.connect(index, after);
            }
        }
    }

    /// The next thing to happen; the clock moves on to it.
    pub fn next_event(&mut self) -> (Millis, Event) {
        loop {
            let ((at, _), mut event) = self.future.pop_first().unwrap();
            self.now = at;
            match &mut event {
                Event::Tick => self.schedule(250, Event::Tick),
                Event::Heartbeat { worker, tasks } => {
                    let Some(found) = self.workers.iter().find(|known| known.id == *worker) else {
                        return (at, event);
                    };
                    if !found.connected || found.quarantined || found.strategy == Silent {
                        continue;
                    }
                    *tasks = found.held.keys().copied().collect();
                    let next = Event::Heartbeat {
                        worker: *worker,
                        tasks: Vec::new(),
                    };
                    self.schedule(5_000, next);
                }
                Event::Left { worker } => {
                    let worker = *worker;
                    let index = self.index(worker);
                    self.workers[index].held.clear();
                    self.workers[index].done.clear();
                    self.workers[index].connected = false;
                    let after = 5_000 + self.random.below(20_000);
                    if !self.workers[index].quarantined {
                        self.connect(index, after);
                    }
                }
                Event::Committed { worker, task, .. } => {
                    let index = self.index(*worker);
                    // Cancelled, or lost with a crash.
                    let mine = self.workers[index].held.contains_key(task);
                    if !mine && !self.workers[index].done.contains_key(task) {
                        continue;
                    }
                    self.workers[index].held.remove(task);
                }
                Event::Delivered { root, .. } => {
                    self.blobs.insert(*root);
                }
                _ => {}
            }
            return (at, event);
        }
    }

    fn index(&self, id: NodeId) -> usize {
        self.workers
            .iter()
            .position(|worker| worker.id == id)
            .unwrap()
    }

    /// Does what the coordinator asks and checks it.
    pub fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Outcome> {
        let seed = self.seed;
        for effect in effects {
            match effect {
                Effect::Lease { worker, tasks, .. } => self.lease(worker, tasks),
                Effect::Reveal { worker, task } => self.reveal(worker, task),
                Effect::Cancel { worker, tasks } => {
                    let index = self.index(worker);
                    for task in tasks {
                        self.workers[index].held.remove(&task);
                        self.workers[index].done.remove(&task);
                    }
                }
                Effect::Accept {
                    worker,
                    task,
                    amount,
                    ..
                } => {
                    let index = self.index(worker);
                    let record = self.records.get_mut(&task).unwrap();
                    assert_eq!(record.worker, worker, "seed {seed}: the wrong one is paid");
                    assert!(
                        !record.rejected && !record.accepted,
                        "seed {seed}: task {task} twice"
                    );
                    let strategy = self.workers[index].strategy;
                    let right = record.cells_true == Some(true);
                    assert!(right, "seed {seed}: a wrong task of {strategy:?} was paid");
                    record.accepted = true;
                    self.paid = self.paid.checked_add(amount).unwrap();
                }
                Effect::Reject { worker, task, .. } => {
                    let record = self.records.get_mut(&task).unwrap();
                    assert_eq!(record.worker, worker, "seed {seed}");
                    assert!(
                        !record.accepted,
                        "seed {seed}: task {task} was paid and then rejected"
                    );
                    record.rejected = true;
                }
                Effect::Quarantine { worker, evidence } => {
                    let index = self.index(worker);
                    let found = &mut self.workers[index];
                    found.quarantined = true;
                    let guilty = Strategy::WRONG_PIXELS.contains(&found.strategy);
                    assert!(guilty, "seed {seed}: {:?} for {evidence}", found.strategy);
                    assert!(evidence.starts_with("frame "), "seed {seed}: `{evidence}`");
                }
                Effect::RenderOwn {
                    request,
                    frame,
                    class,
                    rects,
                } => {
                    let able = self.own_engine && class == Honest.class();
                    let cells = match able {
                        true => Ok(true_cells(class, frame, &rects)),
                        false => Err("no engine".into()),
                    };
                    let after = self.random.below(2_000);
                    self.schedule(after, Event::OwnRendered { request, cells });
                }
                Effect::WriteFrame { frame, tiles } => {
                    assert_eq!(tiles.len(), self.grid.tile_count() as usize, "seed {seed}");
                    for piece in &tiles {
                        let here = self.blobs.contains(&piece.root);
                        assert!(here, "seed {seed}: a blob of frame {frame} is gone");
                    }
                    self.written.insert(frame, tiles);
                    let after = self.random.below(1_000);
                    let outcome = Ok(());
                    self.schedule(after, Event::FrameWritten { frame, outcome });
                }
                Effect::Forget { root } => {
                    self.blobs.remove(&root);
                }
                Effect::Finished { outcome } => return Some(outcome),
            }
        }
        None
    }

    fn lease(&mut self, id: NodeId, tasks: Vec<TaskSpec>) {
        let seed = self.seed;
        let index = self.index(id);
        for spec in tasks {
            let worker = &mut self.workers[index];
            assert!(
                !worker.quarantined,
                "seed {seed}: a caught worker gets work"
            );
            assert_eq!(spec.check(&job(self.grid.size)), Ok(()), "seed {seed}");
            let record = Record {
                worker: id,
                cells_true: None,
                revealed: false,
                accepted: false,
                rejected: false,
            };
            assert!(
                self.records.insert(spec.id, record).is_none(),
                "seed {seed}: an old number"
            );
            worker.held.insert(spec.id, spec.clone());
            // What is not committed to, as the worker sees it; a cancellation may be on its way.
            self.work_on(index, spec);
        }
    }

    fn work_on(&mut self, index: usize, spec: TaskSpec) {
        let pixels: u64 = spec.rects.iter().map(Rect::area).sum();
        self.workers[index].tasks_seen += 1;
        let cells = self.workers[index].render(&spec);
        let (id, strategy) = (self.workers[index].id, self.workers[index].strategy);
        let slowness = if strategy == Slow { 100 } else { 1 };
        let took = (pixels * 16 / 1_000 + self.random.below(500)) * slowness;
        let done_at = self.workers[index].busy_until.max(self.now) + took;
        let task = spec.id;
        match strategy {
            Silent | Hostage => return,
            Crashing if self.random.below(6) == 0 => {
                return self.send(took / 2, Event::Left { worker: id });
            }
            Failing => {
                let reason = "out of memory".to_owned();
                let task = Some(task);
                return self.send(
                    took,
                    Event::Failed {
                        worker: id,
                        task,
                        reason,
                    },
                );
            }
            _ => {}
        }
        self.workers[index].busy_until = done_at;
        let honest = cells == true_cells(strategy.class(), spec.frame, &spec.rects);
        self.records.get_mut(&task).unwrap().cells_true = Some(honest);
        let (salt, root) = (self.random.bytes(), root_of(&cells));
        let committed_root = match strategy {
            Recommitting => Blake3Hash([3; 32]),
            _ => root,
        };
        let job = job(self.grid.size);
        let commitment = verifier::commitment(&id, &spec.hash(&job), &salt, &committed_root);
        self.workers[index].done.insert(task, (salt, root, cells));
        let event = Event::Committed {
            worker: id,
            task,
            commitment,
            render_ms: took as u32,
        };
        self.send(done_at - self.now, event);
    }

    fn reveal(&mut self, id: NodeId, task: TaskId) {
        let index = self.index(id);
        let record = self.records.get_mut(&task).unwrap();
        assert!(!record.revealed, "seed {}: asked twice", self.seed);
        record.revealed = true;
        let worker = &self.workers[index];
        if worker.strategy == CommitNeverReveal {
            return;
        }
        let Some((salt, root, cells)) = worker.done.get(&task).cloned() else {
            return;
        };
        let after = 10 + self.random.below(500);
        let event = Event::Delivered {
            worker: id,
            task,
            salt,
            root,
            cells: Ok(cells.into()),
        };
        self.send(after, event);
    }

    /// Everything written is the truth, every pixel of every frame once.
    pub fn check_frames(&self) {
        let honest = |frame: i32, rect: Rect, class| root_of(&true_cells(class, frame, &[rect]));
        for (&frame, tiles) in &self.written {
            for (index, piece) in (0..).zip(tiles) {
                assert_eq!(piece.core, self.grid.core(index), "seed {}", self.seed);
                assert_eq!(
                    piece.rendered,
                    self.grid.rendered(index),
                    "seed {}",
                    self.seed
                );
                let right = [Honest, OtherClass]
                    .iter()
                    .any(|kind| piece.root == honest(frame, piece.rendered, kind.class()));
                assert!(right, "seed {}: tile {index} of frame {frame}", self.seed);
            }
        }
    }
}
