//! How long jobs take among workers of different speeds, in virtual time, over the ideal of work that can be divided
//! at will.

use crate::script::{SALT, SIGNATURE, config, hashes, node, root_of, true_cells, true_hashes};
use farm::{
    Farm, FarmConfig, Progress,
    event::{Effect, Event, Millis, Trust},
};
use protocol::{Address, Glm, NodeId, TaskId, TaskSpec, pixels::Looks};
use std::collections::{BTreeMap, VecDeque};

const LATENCY_MS: Millis = 20;
/// Of a worker of speed one, for a million samples.
const MEGASAMPLE_MS: u64 = 10_000;

/// A worker that renders its queue one task after the other.
struct Worker {
    speed: f64,
    queue: VecDeque<TaskSpec>,
    rendering: Option<TaskId>,
}

struct Simulation {
    farm: Farm,
    workers: BTreeMap<NodeId, Worker>,
    future: BTreeMap<(Millis, u64), Event>,
    scheduled: u64,
    done: BTreeMap<TaskId, TaskSpec>,
    now: Millis,
}

impl Simulation {
    fn schedule(&mut self, after: Millis, event: Event) {
        self.scheduled += 1;
        self.future
            .insert((self.now + after, self.scheduled), event);
    }

    fn start_next(&mut self, id: NodeId) {
        let job = self.farm.config().job.clone();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.rendering.is_some() {
            return;
        }
        let Some(spec) = worker.queue.pop_front() else {
            return;
        };
        worker.rendering = Some(spec.id);
        let pixels = spec.pixel_count();
        let samples = (pixels * u64::from(job.settings.samples)) as f64;
        let took = samples / 1e6 * MEGASAMPLE_MS as f64 / worker.speed;
        let root = root_of(&true_cells(&spec));
        let committed = Event::Committed {
            worker: id,
            task: spec.id,
            commitment: verifier::commitment(&id, &spec.hash(&job), &SALT, &root),
            signature: SIGNATURE,
            render_ms: 0,
        };
        self.done.insert(spec.id, spec);
        self.schedule(took as Millis + LATENCY_MS, committed);
    }

    fn carry_out(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Lease {
                worker,
                tasks,
                next,
                ..
            } => {
                let queue = &mut self.workers.get_mut(&worker).unwrap().queue;
                match next {
                    true => tasks
                        .into_iter()
                        .rev()
                        .for_each(|task| queue.push_front(task)),
                    false => queue.extend(tasks),
                }
                self.start_next(worker);
            }
            Effect::Cancel { worker, tasks } => {
                let found = self.workers.get_mut(&worker).unwrap();
                found.queue.retain(|spec| !tasks.contains(&spec.id));
                if found.rendering.is_some_and(|task| tasks.contains(&task)) {
                    found.rendering = None;
                }
                self.start_next(worker);
            }
            Effect::Reveal { worker, task, due } => {
                let spec = &self.done[&task];
                let cells = true_cells(spec);
                let due = hashes(spec, &cells, &due).unwrap();
                let delivered = Event::Delivered {
                    worker,
                    task,
                    salt: SALT,
                    root: root_of(&cells),
                    cells: Ok(due.into()),
                    looks: Looks::Ordinary,
                };
                self.schedule(2 * LATENCY_MS, delivered);
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
                    frame,
                    samples,
                    rects,
                    pixels,
                };
                let cells = Ok(true_hashes(&asked));
                self.schedule(500, Event::OwnRendered { request, cells });
            }
            Effect::WriteFrame { frame, .. } => {
                let outcome = Ok(());
                self.schedule(50, Event::FrameWritten { frame, outcome });
            }
            Effect::Finished { .. } => return true,
            _ => {}
        }
        false
    }

    /// Runs to the end; gives its time.
    fn run(mut self) -> (Millis, Progress) {
        loop {
            let ((at, _), event) = self.future.pop_first().unwrap();
            self.now = at;
            match &event {
                Event::Tick => self.schedule(250, Event::Tick),
                Event::Heartbeat { worker, .. } => {
                    let (worker, tasks) = (*worker, Vec::new());
                    self.schedule(2_000, Event::Heartbeat { worker, tasks });
                }
                Event::Committed { worker, task, .. } => {
                    let (id, task) = (*worker, *task);
                    let worker = self.workers.get_mut(&id).unwrap();
                    if worker.rendering != Some(task) {
                        continue;
                    }
                    worker.rendering = None;
                    self.start_next(id);
                }
                _ => {}
            }
            let event = match event {
                Event::Heartbeat { worker, .. } => {
                    let found = &self.workers[&worker];
                    let queued = found.queue.iter().map(|spec| spec.id);
                    let tasks = queued.chain(found.rendering).collect();
                    Event::Heartbeat { worker, tasks }
                }
                other => other,
            };
            for effect in self.farm.handle(at, event) {
                if self.carry_out(effect) {
                    return (at, self.farm.progress());
                }
            }
        }
    }
}

fn job(config: FarmConfig, speeds: &[f64], claimed: &[f64], trust: Trust) -> (Millis, Progress) {
    let mut simulation = Simulation {
        farm: Farm::new(config).unwrap(),
        workers: BTreeMap::new(),
        future: BTreeMap::new(),
        scheduled: 0,
        done: BTreeMap::new(),
        now: 0,
    };
    simulation.schedule(0, Event::Tick);
    for (number, (&speed, claimed)) in (1..).zip(speeds.iter().zip(claimed)) {
        let worker = node(number);
        let (queue, rendering) = (VecDeque::new(), None);
        let fake = Worker {
            speed,
            queue,
            rendering,
        };
        simulation.workers.insert(worker, fake);
        simulation.schedule(
            0,
            Event::Quoted {
                worker,
                trust,
                payee: Address([9; 20]),
                price_megasample: Glm::from_wei(1),
                held: Vec::new(),
                hold_ms: 0,
            },
        );
        let ready = Event::Ready {
            worker,
            class: protocol::Blake3Hash([1; 32]),
            is_comparable: false,
            megasample_ms: (MEGASAMPLE_MS as f64 / claimed) as u32,
        };
        simulation.schedule(100 * u64::from(number), ready);
        let tasks = Vec::new();
        simulation.schedule(2_000, Event::Heartbeat { worker, tasks });
    }
    simulation.run()
}

/// Time over that of all samples (tiles with their overlap and the probes of own workers) at the sum of all speeds.
fn ratio(frames: i32, tile_px: u32, speeds: &[f64], claimed: &[f64], trust: Trust) -> f64 {
    let config = config(frames, tile_px);
    let overlap = verifier::Overlap {
        secret: &config.secret,
        grid: &config.grid,
        shape: config.probes,
    };
    let tiles = 0..config.grid.tile_count();
    let rects = |frame| {
        let tiles = tiles.clone();
        tiles.flat_map(move |tile| overlap.rects(frame, tile))
    };
    let rendered: u64 = (1..=frames).flat_map(rects).map(|rect| rect.area()).sum();
    let core = config.grid.core(0);
    let probes = verifier::probe_pixels_max(&core, config.probes, &Trust::Own.policy());
    let probes = probes * u64::from(config.grid.tile_count()) * frames as u64;
    let samples = (rendered + probes) * u64::from(config.job.settings.samples);
    let sum: f64 = speeds.iter().sum();
    let ideal = samples as f64 / 1e6 * MEGASAMPLE_MS as f64 / sum;
    let (took, progress) = job(config, speeds, claimed, trust);
    assert_eq!(progress.tiles_accepted, progress.tiles_total);
    took as f64 / ideal
}

#[test]
fn a_worker_at_a_tenth_of_the_speed_costs_at_most_a_tenth() {
    for speeds in [&[1.0, 1.0, 1.0, 0.1][..], &[1.0, 0.1], &[0.1, 1.0, 1.0]] {
        let equal: Vec<f64> = speeds.iter().copied().filter(|&s| s == 1.0).collect();
        for (frames, tile_px) in [(60, 0), (30, 64), (10, 32)] {
            let said = format!("{frames} frames, {tile_px} px, {speeds:?}");
            let own = ratio(frames, tile_px, speeds, speeds, Trust::Own);
            assert!(own <= 1.1, "{said}: {own:.3} of the ideal time");
            // Among strangers tiles are checked, which costs something with and without the slow one.
            let with = ratio(frames, tile_px, speeds, speeds, Trust::Unknown);
            let without = ratio(frames, tile_px, &equal, &equal, Trust::Unknown);
            assert!(
                with <= without.max(1.0) * 1.1,
                "{said}: {with:.3}, without it {without:.3}"
            );
        }
    }
}

#[test]
fn a_worker_that_gets_stuck_is_not_waited_for() {
    for trust in [Trust::Own, Trust::Unknown] {
        let without = ratio(60, 0, &[1.0; 3], &[1.0; 3], trust);
        let speeds = [1.0, 0.001, 1.0, 1.0];
        let with = ratio(60, 0, &speeds, &[1.0; 4], trust);
        assert!(
            with <= without * 1.1,
            "{trust:?}: {with:.3}, without it {without:.3}"
        );
    }
}
