//! Time to divide a job, and what the coordinator costs each tile of one, among fake workers.

use benches::coordinator::Load;
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use farm::{
    Farm,
    plan::{CostHints, PlanRequest, SAMPLES_PER_SECOND_DEFAULT, plan},
};
use protocol::{Pass, Size};
use std::{hint::black_box, time::Duration};

/// What the coordinator may take for each tile of 256 pixels a side.
const TILE_MAX: Duration = Duration::from_micros(50);
/// The same for a whole frame in one tile: it has 30 times the cells and eight times the probes.
const WHOLE_FRAME_MAX: Duration = Duration::from_micros(400);
/// A checkpoint of such a night: the file of the journal may hold three of them.
const CHECKPOINT_BYTES_MAX: usize = 60_000_000;
/// Most memory that all of this may ever have taken; what the fake workers hold is small beside it.
const MEMORY_KB_MAX: u64 = 1_000_000;

fn division(criterion: &mut Criterion) {
    let request = PlanRequest {
        ranges: 1,
        size: Size {
            width: 3840,
            height: 2160,
        },
        frames: 250,
        samples: 1024,
        passes: Pass::ALL.len(),
        workers: 10_000,
        tile_px: None,
        hints: CostHints {
            samples_per_second: SAMPLES_PER_SECOND_DEFAULT,
            rect_overhead_ms: 100,
        },
    };
    assert!(plan(&request).grid.tile_count() > 1, "nothing is divided");
    criterion.bench_function("plan", |bencher| bencher.iter(|| plan(black_box(&request))));
}

fn scheduling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coordinator");
    group.sampling_mode(SamplingMode::Flat);
    for (workers, tiles, tile_px, most) in [
        (100, 10_000, 256, TILE_MAX),
        (1_000, 20_000, 256, TILE_MAX),
        (10_000, 100_000, 256, TILE_MAX),
        (1_000, 3_000, 0, WHOLE_FRAME_MAX),
    ] {
        let load = Load {
            workers,
            tiles,
            tile_px,
        };
        group.throughput(Throughput::Elements(load.tile_count()));
        let kind = if tile_px == 0 {
            "whole frames"
        } else {
            "tiles"
        };
        let id = BenchmarkId::new(format!("{workers} workers"), format!("{tiles} {kind}"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| spent(&load, most)).sum());
        });
    }
    group.finish();
    if let Some(peak) = memory_peak_kb() {
        println!("most memory taken: {peak} kB");
        assert!(peak < MEMORY_KB_MAX, "{peak} kB of memory");
    }
}

/// Checkpoints of a night's work: 2,000 frames of 64 tiles and more.
fn journal(criterion: &mut Criterion) {
    let load = Load {
        workers: 100,
        tiles: 2_000 * 66,
        tile_px: 184,
    };
    let (farm, _) = load.finish();
    let checkpoint = farm.checkpoint().expect("a checkpoint");
    let bytes = checkpoint.len();
    println!("checkpoint of {} tiles: {bytes} bytes", load.tile_count());
    assert!(bytes < CHECKPOINT_BYTES_MAX, "{bytes} bytes");
    let mut group = criterion.benchmark_group("journal");
    group.bench_function("checkpoint", |bencher| bencher.iter(|| farm.checkpoint()));
    group.bench_function("restore", |bencher| {
        bencher.iter(|| Farm::restore(&checkpoint).expect("a coordinator"));
    });
    group.finish();
}

/// Time that the coordinator takes for the whole job.
fn spent(load: &Load, most: Duration) -> Duration {
    let cost = load.run();
    assert_eq!(cost.tiles, load.tile_count());
    let each = cost.spent.as_secs_f64() / cost.tiles as f64;
    assert!(each < most.as_secs_f64(), "{load:?}: {each} s a tile");
    cost.spent
}

/// Most memory that this process has held so far; only Linux says.
fn memory_peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

criterion_group! {
    name = group;
    config = benches::samples_of(4);
    targets = division, journal, scheduling
}
criterion_main!(group);
