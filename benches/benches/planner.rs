//! Time to divide a job, and what the coordinator costs each tile of one, among fake workers.

use benches::coordinator::Load;
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use farm::plan::{CostHints, PlanRequest, SAMPLES_PER_SECOND_DEFAULT, plan};
use protocol::{Pass, Size};
use std::{hint::black_box, time::Duration};

/// What the coordinator may take for each tile.
const TILE_MAX: Duration = Duration::from_micros(50);

fn division(criterion: &mut Criterion) {
    let request = PlanRequest {
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
    for (workers, tiles) in [(100, 10_000), (1_000, 20_000), (10_000, 100_000)] {
        let load = Load {
            workers,
            tiles,
            tile_px: 256,
        };
        group.throughput(Throughput::Elements(load.tile_count()));
        let id = BenchmarkId::new(format!("{workers} workers"), format!("{tiles} tiles"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| spent(&load)).sum());
        });
    }
    group.finish();
}

/// Time that the coordinator takes for the whole job.
fn spent(load: &Load) -> Duration {
    let cost = load.run();
    assert_eq!(cost.tiles, load.tile_count());
    let each = cost.spent.as_secs_f64() / cost.tiles as f64;
    assert!(each < TILE_MAX.as_secs_f64(), "{load:?}: {each} s a tile");
    cost.spent
}

criterion_group! {
    name = group;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    targets = division, scheduling
}
criterion_main!(group);
