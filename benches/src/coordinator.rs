//! What the coordinator itself costs a tile: honest fake workers, no network, no pixels.

use farm::{
    Farm, FarmConfig,
    event::{Effect, Event, Trust},
};
use protocol::{
    Address, Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Pass, Rect, RenderSettings, Size,
    TaskId, TaskSpec, TileGrid, ids::Signature, pixels::Looks,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

const SALT: [u8; 32] = [1; 32];
/// The hash that all workers find for every cell.
const CELL: Blake3Hash = Blake3Hash([7; 32]);
const SIZE: Size = Size {
    width: 1920,
    height: 1080,
};
/// Milliseconds between two ticks; each worker sends about one event in that time.
const TICK_MS: u64 = 250;

/// A job and who works on it.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Workers, all of one class and ready from the start.
    pub workers: u64,
    /// Tiles at least; whole frames are rendered, so there may be some more.
    pub tiles: u64,
    /// Side of a tile in pixels.
    pub tile_px: u32,
}

/// What a job took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Tiles of the job; all were accepted.
    pub tiles: u64,
    /// Events that the coordinator handled.
    pub events: u64,
    /// Time inside the coordinator.
    pub spent: Duration,
}

impl Load {
    /// Tiles of the whole frames that the job has.
    pub fn tile_count(&self) -> u64 {
        let tiles = u64::from(self.grid().tile_count());
        self.tiles.div_ceil(tiles) * tiles
    }

    fn grid(&self) -> TileGrid {
        TileGrid::new(SIZE, self.tile_px)
    }

    /// Does the job from the first worker's arrival to its end.
    ///
    /// # Panics
    /// When the job does not end with every tile accepted.
    pub fn run(&self) -> Cost {
        self.finish().1
    }

    /// The same; gives the coordinator at the end too.
    ///
    /// # Panics
    /// As [`Load::run`].
    pub fn finish(&self) -> (Farm, Cost) {
        let mut farm = Farm::new(self.config()).expect("a valid job");
        let mut workers = FakeWorkers::arriving(self.workers);
        let mut spent = Duration::ZERO;
        let (mut events, mut idle_ms, mut finished) = (0, 0, false);
        while !finished {
            let now = events * TICK_MS / self.workers + idle_ms;
            let event = match workers.queue.is_empty() {
                true => {
                    idle_ms += TICK_MS;
                    None
                }
                false if events % self.workers == 0 => None,
                false => workers.next_event(),
            };
            events += 1;
            // What the workers made for this event is not the coordinator's time, what it does with it is.
            let begin = Instant::now();
            let effects = farm.handle(now, event.unwrap_or(Event::Tick));
            spent += begin.elapsed();
            for effect in effects {
                finished |= matches!(effect, Effect::Finished { .. });
                workers.carry_out(effect);
            }
        }
        let progress = farm.progress();
        assert_eq!(progress.tiles_accepted, progress.tiles_total);
        let cost = Cost {
            tiles: progress.tiles_total,
            events,
            spent,
        };
        (farm, cost)
    }

    fn config(&self) -> FarmConfig {
        let grid = self.grid();
        let frames = self.tiles.div_ceil(grid.tile_count().into()) as i32;
        FarmConfig {
            job: job(),
            frames: (0..frames).collect(),
            grid,
            secret: [1; 32],
            budget: None,
            deadline: None,
            price_megasample_max: None,
            probes: verifier::ProbeShape::Pixels,
            paranoid: false,
            mixed_classes: false,
            providers_wait_ms: 60_000,
        }
    }
}

fn job() -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        blender: None,
        settings: RenderSettings {
            size: SIZE,
            samples: 64,
            seed: 0,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
            scene: None,
        },
    }
}

/// Workers that finish whatever they are given at once and agree on every cell.
struct FakeWorkers {
    job: JobSpec,
    /// Deliveries of tasks that are committed to and not yet asked for.
    done: HashMap<TaskId, Delivery>,
    /// What the coordinator will hear next.
    queue: VecDeque<Message>,
}

enum Message {
    Event(Event),
    Delivery(Delivery),
}

/// A delivery on its way. It gets its cells when it arrives, as in production, where they are hashed then: thousands
/// under way would fill the memory in place of the coordinator.
struct Delivery {
    worker: NodeId,
    task: TaskId,
    root: Blake3Hash,
    /// The first rectangle of the task.
    first: Rect,
    /// Hashes that are due.
    cell_count: usize,
}

impl Delivery {
    fn arrive(self) -> Event {
        let cells: Arc<[Blake3Hash]> = std::iter::repeat_n(CELL, self.cell_count).collect();
        Event::Delivered {
            worker: self.worker,
            task: self.task,
            salt: SALT,
            root: self.root,
            cells: Ok(cells),
            looks: Looks::Ordinary,
        }
    }
}

impl FakeWorkers {
    fn arriving(count: u64) -> Self {
        let mut queue = VecDeque::new();
        for index in 0..count {
            let worker = NodeId(Blake3Hash::of(&index.to_le_bytes()).0);
            queue.push_back(Message::Event(Event::Quoted {
                worker,
                trust: Trust::Unknown,
                payee: Address([9; 20]),
                price_megasample: Glm::from_wei(1),
                held: Vec::new(),
                hold_ms: 0,
            }));
            queue.push_back(Message::Event(Event::Ready {
                worker,
                class: Blake3Hash([1; 32]),
                is_comparable: false,
                megasample_ms: 1,
            }));
        }
        Self {
            job: job(),
            done: HashMap::new(),
            queue,
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        self.queue.pop_front().map(|message| match message {
            Message::Event(event) => event,
            Message::Delivery(delivery) => delivery.arrive(),
        })
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Lease { worker, tasks, .. } => {
                for spec in tasks {
                    self.render(worker, &spec);
                }
            }
            Effect::Reveal { task, due, .. } => {
                let delivery = self.done.remove(&task).map(|delivery| {
                    let cell_count = due.hashes(&delivery.first);
                    Message::Delivery(Delivery {
                        cell_count,
                        ..delivery
                    })
                });
                self.queue.extend(delivery);
            }
            Effect::WriteFrame { frame, .. } => {
                let outcome = Ok(());
                let written = Event::FrameWritten { frame, outcome };
                self.queue.push_back(Message::Event(written));
            }
            _ => {}
        }
    }

    fn render(&mut self, worker: NodeId, spec: &TaskSpec) {
        let task = spec.id;
        // Equal pixels for equal tasks: replicas agree.
        let first = spec.rects[0];
        let kind = spec.rects.len() as u32 + u32::from(spec.pixels.is_some()) * 1_000;
        let name = [spec.frame as u32, first.x, first.y, kind];
        let root = Blake3Hash::of(name.map(u32::to_le_bytes).as_flattened());
        self.queue.push_back(Message::Event(Event::Committed {
            worker,
            task,
            commitment: verifier::commitment(&worker, &spec.hash(&self.job), &SALT, &root),
            signature: Signature::from_bytes(&[0; 64]),
            render_ms: 0,
        }));
        let delivery = Delivery {
            worker,
            task,
            root,
            first,
            cell_count: 0,
        };
        self.done.insert(task, delivery);
    }
}
