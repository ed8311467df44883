//! A coordinator driven by hand: one event after the other, with an eye on its leases.

use farm::{
    Farm, FarmConfig, WorkerState,
    event::{Effect, Event, LeaseReason, Millis, Outcome, Trust},
};
use protocol::{
    Address, Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Pass, Rect, RenderSettings, Size,
    TaskId, TaskSpec, TileGrid,
};
use std::collections::BTreeMap;

pub const SIZE: Size = Size {
    width: 128,
    height: 64,
};
pub const SALT: [u8; 32] = [5; 32];

/// A farm and the leases it gave, driven by hand.
pub struct Script {
    pub farm: Farm,
    pub now: Millis,
    pub leases: BTreeMap<TaskId, (NodeId, TaskSpec)>,
    pub effects: Vec<Effect>,
    /// Why leases were given, in their order.
    pub reasons: Vec<(NodeId, LeaseReason)>,
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
            settings: RenderSettings {
                size: SIZE,
                samples: 100,
                seed: 0,
                passes: Pass::ALL.to_vec(),
                guard_px: 0,
            },
        },
        frames: (1..=frames).collect(),
        grid: TileGrid::new(SIZE, tile_px),
        secret: [9; 32],
        budget: None,
        deadline: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Cells,
        providers_wait_ms: 60_000,
    }
}

pub fn true_cells(spec: &TaskSpec) -> Vec<Blake3Hash> {
    let cells = spec.rects.iter().flat_map(Rect::cells);
    cells
        .map(|(cell, _)| {
            Blake3Hash::of(format!("{} {} {}", spec.frame, cell.column, cell.row).as_bytes())
        })
        .collect()
}

pub fn root_of(cells: &[Blake3Hash]) -> Blake3Hash {
    verifier::digest(cells)
}

impl Script {
    pub fn new(config: FarmConfig) -> Self {
        Self {
            farm: Farm::new(config).unwrap(),
            now: 0,
            leases: BTreeMap::new(),
            effects: Vec::new(),
            reasons: Vec::new(),
        }
    }

    pub fn send(&mut self, event: Event) -> &[Effect] {
        self.effects = self.farm.handle(self.now, event);
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
                Effect::Quarantine { worker, .. } => {
                    self.leases.retain(|_, (holder, _)| holder != worker);
                }
                _ => {}
            }
        }
        &self.effects
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
            megasample_ms,
        })
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

    pub fn commit(&mut self, number: u8, spec: &TaskSpec, cells: &[Blake3Hash]) {
        let worker = node(number);
        let hash = spec.hash(&config(1, 64).job);
        let commitment = verifier::commitment(&worker, &hash, &SALT, &root_of(cells));
        let task = spec.id;
        let effects = self.send(Event::Committed {
            worker,
            task,
            commitment,
            render_ms: 1,
        });
        assert!(effects.contains(&Effect::Reveal { worker, task }));
    }

    pub fn deliver(&mut self, number: u8, spec: &TaskSpec, cells: Vec<Blake3Hash>) -> &[Effect] {
        self.leases.remove(&spec.id);
        self.send(Event::Delivered {
            worker: node(number),
            task: spec.id,
            salt: SALT,
            root: root_of(&cells),
            cells: Ok(cells.into()),
        })
    }

    pub fn commit_and_deliver(&mut self, number: u8, spec: &TaskSpec, cells: Vec<Blake3Hash>) {
        self.commit(number, spec, &cells);
        self.deliver(number, spec, cells);
    }

    /// Renders a worker's oldest lease honestly.
    pub fn work(&mut self, number: u8) -> TaskSpec {
        let spec = self.lease_of(number).expect("a lease");
        self.commit_and_deliver(number, &spec, true_cells(&spec));
        spec
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
