//! Measures what the coordinator itself costs a tile: honest workers, no network, no pixels.
//!
//! `cargo run --release -p farm --example scheduling_cost -- [workers] [tiles] [tile size in px]`

use farm::{
    Farm, FarmConfig,
    event::{Effect, Event, Trust},
};
use protocol::{
    Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Pass, RenderSettings, Size, TaskSpec,
    TileGrid,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

const SALT: [u8; 32] = [1; 32];

fn job(size: Size) -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        settings: RenderSettings {
            size,
            samples: 64,
            seed: 0,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
        },
    }
}

/// Everything that one event sets off, as the world would answer it.
fn answers(
    job: &JobSpec,
    effect: Effect,
    done: &mut Vec<(TaskSpec, Event)>,
    queue: &mut VecDeque<Event>,
) {
    match effect {
        Effect::Lease { worker, tasks } => {
            for spec in tasks {
                let count = spec.rects.iter().map(protocol::Rect::cell_count).sum();
                let cells: Arc<[Blake3Hash]> = vec![Blake3Hash([7; 32]); count].into();
                let root = Blake3Hash::of(&spec.id.0.to_le_bytes());
                let commitment = verifier::commitment(&worker, &spec.hash(job), &SALT, &root);
                let task = spec.id;
                queue.push_back(Event::Committed {
                    worker,
                    task,
                    commitment,
                    render_ms: 0,
                });
                let cells = Ok(cells);
                done.push((
                    spec,
                    Event::Delivered {
                        worker,
                        task,
                        salt: SALT,
                        root,
                        cells,
                    },
                ));
            }
        }
        Effect::Reveal { task, .. } => {
            if let Some(at) = done.iter().position(|(spec, _)| spec.id == task) {
                queue.push_back(done.swap_remove(at).1);
            }
        }
        Effect::WriteFrame { frame, .. } => {
            let outcome = Ok(());
            queue.push_back(Event::FrameWritten { frame, outcome });
        }
        _ => {}
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (workers, tiles, tile_px) = (number(0, 100), number(1, 100_000), number(2, 256));
    let size = Size {
        width: 1920,
        height: 1080,
    };
    let grid = TileGrid::new(size, tile_px as u32);
    let frames = tiles.div_ceil(grid.tile_count().into()) as i32;
    let config = FarmConfig {
        job: job(size),
        frames: (0..frames).collect(),
        grid,
        secret: [1; 32],
        budget: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Cells,
        providers_wait_ms: 60_000,
    };
    let job = job(size);
    let mut farm = Farm::new(config).expect("a valid job");
    let (mut queue, mut done) = (VecDeque::new(), Vec::new());
    for index in 0..workers {
        let worker = NodeId(Blake3Hash::of(&index.to_le_bytes()).0);
        let price_megasample = Glm::from_wei(1);
        let trust = Trust::Unknown;
        queue.push_back(Event::Quoted {
            worker,
            trust,
            price_megasample,
        });
        let class = Blake3Hash([1; 32]);
        queue.push_back(Event::Ready {
            worker,
            class,
            megasample_ms: 1,
        });
    }
    let (mut spent, mut events, mut idle_ms, mut finished) = (Duration::ZERO, 0u64, 0, false);
    while !finished {
        // Each worker sends about four events a second, and four times a second there is a tick.
        let now = events * 250 / workers + idle_ms;
        let event = match queue.pop_front() {
            Some(event) if events % workers != 0 => event,
            Some(event) => {
                queue.push_front(event);
                Event::Tick
            }
            None => {
                idle_ms += 250;
                Event::Tick
            }
        };
        events += 1;
        let begin = Instant::now();
        let effects = farm.handle(now, event);
        spent += begin.elapsed();
        for effect in effects {
            finished |= matches!(effect, Effect::Finished { .. });
            answers(&job, effect, &mut done, &mut queue);
        }
    }
    let progress = farm.progress();
    assert_eq!(progress.tiles_accepted, progress.tiles_total);
    println!(
        "{workers} workers, {} tiles of {tile_px} px: {events} events in {:.2} s, {:.1} us a tile",
        progress.tiles_total,
        spent.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / progress.tiles_total as f64
    );
}
