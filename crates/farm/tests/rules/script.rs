//! A coordinator driven by hand: one event after the other, with an eye on its leases.

use farm::{
    Farm, FarmConfig, WorkerState,
    event::{
        Difference, Due, Effect, Event, FaultKind, LeaseReason, Millis, Outcome, Piece, Trust,
    },
};
use protocol::{
    Address, Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Pass, Rect, RenderSettings,
    SecretPixels, Size, TaskId, TaskSpec, TileGrid, ids::Signature, pixels::Looks,
    secret_pixels::PACKED_PIXELS,
};
use std::collections::BTreeMap;

pub const SIZE: Size = Size {
    width: 128,
    height: 64,
};
pub const SALT: [u8; 32] = [5; 32];
/// Nobody checks it within the coordinator.
pub const SIGNATURE: Signature = Signature {
    r: [6; 32],
    s: [7; 32],
};

/// A farm and the leases it gave, driven by hand.
pub struct Script {
    pub farm: Farm,
    pub now: Millis,
    pub leases: BTreeMap<TaskId, (NodeId, TaskSpec)>,
    pub effects: Vec<Effect>,
    /// Why leases were given, in their order.
    pub reasons: Vec<(NodeId, LeaseReason)>,
    pub has_own_engine: bool,
    /// What the own engine was asked for.
    pub own: Vec<(u64, TaskSpec)>,
    /// What was delivered, by its root.
    pub blobs: BTreeMap<Blake3Hash, Vec<Blake3Hash>>,
    /// What each worker was paid.
    pub paid: BTreeMap<NodeId, Glm>,
    /// Frames that were to be written, each time of which pieces.
    pub writes: Vec<(i32, Vec<Piece>)>,
    /// Workers that were quarantined, and for what.
    pub quarantines: Vec<(NodeId, FaultKind)>,
}

pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

pub fn config(frames: i32, tile_px: u32) -> FarmConfig {
    FarmConfig {
        job: JobSpec {
            id: JobId([1; 16]),
            manifest: Blake3Hash([2; 32]),
            manifest_bytes: 10,
            engine: EngineKind::Tracer,
            blender: None,
            settings: RenderSettings {
                size: SIZE,
                samples: 100,
                seed: 0,
                passes: Pass::ALL.to_vec(),
                guard_px: 0,
                scene: None,
            },
        },
        frames: (1..=frames).collect(),
        grid: TileGrid::new(SIZE, tile_px),
        // Under this one the first tile of the jobs here gets no replica.
        secret: [47; 32],
        budget: None,
        deadline: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Pixels,
        paranoid: false,
        mixed_classes: false,
        providers_wait_ms: 60_000,
    }
}

/// What a task delivers: a hash for each cell, or for each secret pixel that of its cell.
pub fn true_cells(spec: &TaskSpec) -> Vec<Blake3Hash> {
    let cells = spec.rects.iter().flat_map(Rect::cells);
    let of = match spec.samples {
        None => spec.frame.to_string(),
        Some(samples) => format!("{} {samples}", spec.frame),
    };
    let cells: Vec<Blake3Hash> = cells
        .map(|(cell, _)| Blake3Hash::of(format!("{of} {} {}", cell.column, cell.row).as_bytes()))
        .collect();
    match &spec.pixels {
        Some(pixels) => of_pixels(pixels, &spec.rects[0], &cells),
        None => cells,
    }
}

fn of_pixels(pixels: &SecretPixels, rect: &Rect, cells: &[Blake3Hash]) -> Vec<Blake3Hash> {
    let places = pixels.places(rect).into_iter();
    places.map(|(cell, _)| cells[cell]).collect()
}

/// The hash of each packed cell of these pixels.
fn packed(values: &[Blake3Hash]) -> Vec<Blake3Hash> {
    values.chunks(PACKED_PIXELS).map(verifier::digest).collect()
}

/// The hashes that are due of these cells.
pub fn hashes(spec: &TaskSpec, cells: &[Blake3Hash], due: &Due) -> Option<Vec<Blake3Hash>> {
    if spec.pixels.is_some() {
        return Some(packed(cells));
    }
    let pixels = due.pixels.iter();
    let mut all: Vec<Blake3Hash> = pixels
        .flat_map(|pixels| packed(&of_pixels(pixels, &spec.rects[0], cells)))
        .collect();
    all.extend(verifier::cells::select(&spec.rects, cells, &due.cells)?);
    Some(all)
}

/// What the own engine answers when it renders honestly.
pub fn true_hashes(spec: &TaskSpec) -> Vec<Blake3Hash> {
    match spec.pixels {
        Some(_) => packed(&true_cells(spec)),
        None => true_cells(spec),
    }
}

pub fn root_of(cells: &[Blake3Hash]) -> Blake3Hash {
    verifier::digest(cells)
}

impl Script {
    /// A requestor without an engine of its own, so that workers decide disputes.
    pub fn new(config: FarmConfig) -> Self {
        Self {
            has_own_engine: false,
            farm: Farm::new(config).unwrap(),
            now: 0,
            leases: BTreeMap::new(),
            effects: Vec::new(),
            reasons: Vec::new(),
            own: Vec::new(),
            blobs: BTreeMap::new(),
            paid: BTreeMap::new(),
            writes: Vec::new(),
            quarantines: Vec::new(),
        }
    }

    /// The same with one.
    pub fn with_own_engine(config: FarmConfig) -> Self {
        Self {
            has_own_engine: true,
            ..Self::new(config)
        }
    }

    /// So many strangers, of which the first delivers the first tile as `edit` has it; others hold theirs.
    pub fn first_tile(
        config: FarmConfig,
        workers: u8,
        edit: impl Fn(&mut Vec<Blake3Hash>),
    ) -> (Self, TaskSpec) {
        let mut script = Self::new(config);
        for number in 1..=workers {
            script.join(number, Trust::Unknown);
        }
        script.wait(2_000);
        let tile = script.lease_of(1).unwrap();
        let mut cells = true_cells(&tile);
        edit(&mut cells);
        script.commit_and_deliver(1, &tile, cells);
        (script, tile)
    }

    pub fn send(&mut self, event: Event) -> &[Effect] {
        self.effects = self.farm.handle(self.now, event);
        let is_own = |effect: &Effect| match effect {
            Effect::RenderOwn { request, .. } => Some(*request),
            _ => None,
        };
        loop {
            let at = self
                .effects
                .iter()
                .position(|effect| is_own(effect).is_some());
            let own = at.filter(|_| !self.has_own_engine);
            let (at, answer) = if let Some(at) = own
                && let Some(request) = is_own(&self.effects[at])
            {
                let cells = Err("there is none".into());
                (at, Event::OwnRendered { request, cells })
            } else if let Some(compared) = self.comparison() {
                compared
            } else {
                break;
            };
            self.effects.remove(at);
            self.effects.extend(self.farm.handle(self.now, answer));
        }
        for effect in &self.effects {
            match effect {
                Effect::Lease {
                    worker,
                    tasks,
                    reason,
                    ..
                } => {
                    self.reasons.push((*worker, *reason));
                    let lease = |task: &TaskSpec| (task.id, (*worker, task.clone()));
                    self.leases.extend(tasks.iter().map(lease));
                }
                Effect::Cancel { tasks, .. } => {
                    self.leases.retain(|id, _| !tasks.contains(id));
                }
                Effect::Pay { worker, amount, .. } => {
                    let paid = self.paid.entry(*worker).or_default();
                    *paid = paid.checked_add(*amount).unwrap();
                }
                Effect::RenderOwn {
                    request,
                    frame,
                    samples,
                    rects,
                    pixels,
                    ..
                } => {
                    let asked = TaskSpec {
                        id: TaskId(0),
                        frame: *frame,
                        samples: *samples,
                        rects: rects.clone(),
                        pixels: *pixels,
                    };
                    self.own.push((*request, asked));
                }
                Effect::WriteFrame { frame, tiles } => self.writes.push((*frame, tiles.clone())),
                Effect::Quarantine { worker, fault, .. } => {
                    self.quarantines.push((*worker, *fault));
                    self.leases.retain(|_, (holder, _)| holder != worker);
                }
                _ => {}
            }
        }
        &self.effects
    }

    /// The first question where secret pixels differ from their tile, with its answer.
    fn comparison(&self) -> Option<(usize, Event)> {
        let mut numbered = self.effects.iter().enumerate();
        numbered.find_map(|(at, effect)| match effect {
            Effect::Compare {
                request,
                rects,
                pixels: Some(pixels),
                left,
                right,
            } => {
                let left = of_pixels(pixels, &rects[0], &self.blobs[left]);
                let right = &self.blobs[right];
                let found = pixels.differing(&rects[0], |index| left[index] != right[index]);
                let found = found.map(|found| Difference {
                    rect: found.cell,
                    packed: Some(found.packed),
                    left: packed(&left)[found.packed as usize],
                    right: packed(right)[found.packed as usize],
                    cells: found.cells,
                });
                let (request, found) = (*request, Ok(found));
                Some((at, Event::Compared { request, found }))
            }
            _ => None,
        })
    }

    pub fn join(&mut self, number: u8, trust: Trust) {
        self.quote(number, trust, 1_000_000);
        self.ready(number, 1_000);
    }

    pub fn ready(&mut self, number: u8, megasample_ms: u32) -> &[Effect] {
        let worker = node(number);
        let class = Blake3Hash([1; 32]);
        self.send(Event::Ready {
            worker,
            class,
            is_comparable: false,
            megasample_ms,
        })
    }

    /// A worker of a class, of the own engine's build or of another.
    pub fn join_class(&mut self, number: u8, class: Blake3Hash, is_comparable: bool) {
        self.quote(number, Trust::Unknown, 1_000_000);
        self.send(Event::Ready {
            worker: node(number),
            class,
            is_comparable,
            megasample_ms: 1_000,
        });
    }

    pub fn quote(&mut self, number: u8, trust: Trust, wei: u128) {
        self.send(Event::Quoted {
            worker: node(number),
            trust,
            payee: Address([9; 20]),
            price_megasample: Glm::from_wei(wei),
            held: Vec::new(),
            hold_ms: 0,
        });
    }

    /// The oldest lease of a worker.
    pub fn lease_of(&self, number: u8) -> Option<TaskSpec> {
        let mut leases = self.leases.values();
        leases
            .find(|(worker, _)| *worker == node(number))
            .map(|(_, spec)| spec.clone())
    }

    /// Commits to these cells; false if nobody asks for them now.
    pub fn commit(&mut self, number: u8, spec: &TaskSpec, cells: &[Blake3Hash]) -> bool {
        let worker = node(number);
        let hash = spec.hash(&self.farm.config().job);
        let commitment = verifier::commitment(&worker, &hash, &SALT, &root_of(cells));
        let task = spec.id;
        let effects = self.send(Event::Committed {
            worker,
            task,
            commitment,
            signature: SIGNATURE,
            render_ms: 1,
        });
        let is_asked = |effect: &Effect| matches!(effect, Effect::Reveal { worker: by, task: of, .. } if (*by, *of) == (worker, task));
        effects.iter().any(is_asked)
    }

    pub fn deliver(&mut self, number: u8, spec: &TaskSpec, cells: Vec<Blake3Hash>) -> &[Effect] {
        self.leases.remove(&spec.id);
        let due = self.farm.cells_due(spec.id);
        let root = root_of(&cells);
        let due = hashes(spec, &cells, &due);
        self.blobs.insert(root, cells);
        self.send(Event::Delivered {
            worker: node(number),
            task: spec.id,
            salt: SALT,
            root,
            cells: due
                .map(Into::into)
                .ok_or_else(|| "cells are missing".into()),
            looks: Looks::Ordinary,
        })
    }

    /// Delivers these cells under a commitment to the true ones: what the draw of its probes depends on is as it was.
    pub fn deliver_committed(&mut self, number: u8, spec: &TaskSpec, cells: Vec<Blake3Hash>) {
        let root = root_of(&true_cells(spec));
        self.leases.remove(&spec.id);
        let due = self.farm.cells_due(spec.id);
        let due = hashes(spec, &cells, &due).unwrap();
        self.blobs.insert(root, cells);
        self.send(Event::Delivered {
            worker: node(number),
            task: spec.id,
            salt: SALT,
            root,
            cells: Ok(due.into()),
            looks: Looks::Ordinary,
        });
    }

    pub fn commit_and_deliver(&mut self, number: u8, spec: &TaskSpec, cells: Vec<Blake3Hash>) {
        match self.commit(number, spec, &cells) {
            true => drop(self.deliver(number, spec, cells).len()),
            // The tile is here from somebody else: its pixels are asked for if that falls.
            false => drop(self.leases.remove(&spec.id)),
        }
    }

    /// Renders a worker's oldest lease honestly.
    pub fn work(&mut self, number: u8) -> TaskSpec {
        let spec = self.lease_of(number).expect("a lease");
        self.commit_and_deliver(number, &spec, true_cells(&spec));
        spec
    }

    /// Lets somebody who has something to do go on honestly: the own engine, or a worker but for these.
    pub fn step(&mut self, but: &[u8]) {
        if let Some((request, asked)) = self.own.pop() {
            let cells = Ok(true_hashes(&asked));
            self.send(Event::OwnRendered { request, cells });
            return;
        }
        let mut leases = self.leases.values();
        let lease = leases.find(|(worker, _)| !but.contains(&worker.0[0]));
        match lease.map(|(worker, _)| worker.0[0]) {
            Some(worker) => drop(self.work(worker)),
            None => drop(self.wait(250).len()),
        }
    }

    pub fn wait(&mut self, ms: Millis) -> &[Effect] {
        self.now += ms;
        self.send(Event::Tick)
    }

    pub fn heartbeats(&mut self, numbers: &[u8]) {
        for &number in numbers {
            let worker = node(number);
            let held = |(id, (holder, _)): (&TaskId, &(NodeId, TaskSpec))| {
                (*holder == worker).then_some(*id)
            };
            let tasks = self.leases.iter().filter_map(held).collect();
            self.send(Event::Heartbeat { worker, tasks });
        }
    }

    pub fn written(&self) -> Vec<i32> {
        let frame = |effect: &Effect| match effect {
            Effect::WriteFrame { frame, .. } => Some(*frame),
            _ => None,
        };
        self.effects.iter().filter_map(frame).collect()
    }

    pub fn outcome(&self) -> Option<&Outcome> {
        match self.effects.last() {
            Some(Effect::Finished { outcome }) => Some(outcome),
            _ => None,
        }
    }

    pub fn state(&self, number: u8) -> WorkerState {
        let workers = self.farm.progress().workers;
        let row = workers.iter().find(|row| row.worker == node(number));
        row.unwrap().state
    }

    pub fn accepted(&self) -> Vec<(NodeId, TaskId)> {
        let accept = |effect: &Effect| match effect {
            Effect::Accept { worker, task, .. } => Some((*worker, *task)),
            _ => None,
        };
        self.effects.iter().filter_map(accept).collect()
    }
}
