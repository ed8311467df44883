//! Whole jobs over loopback, as a user starts them: how long the smallest one takes, and the samples a second of a
//! real one with one and two local workers, checks and payments included.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const FRAMES: u64 = 4;
const SIZE: (u64, u64) = (320, 180);
const SAMPLES: u64 = 4;

/// The `render` program in the profile of this bench, built if it is not yet.
fn render_program() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "render-cli"])
        .status()
        .expect("cargo starts");
    assert!(built.success(), "`render` does not build");
    let bench = std::env::current_exe().expect("a bench has a path");
    let profile = bench.ancestors().nth(2).expect("benches lie in deps");
    profile.join("render")
}

fn run(program: &Path, folder: &Path, options: &str) {
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenes/reading_room.glb");
    let status = Command::new(program)
        .arg(scene)
        .args(options.split_whitespace())
        .arg("--quiet")
        .arg("-o")
        .arg(folder.join("####.exr"))
        .arg("--data-dir")
        .arg(folder)
        .status()
        .expect("`render` starts");
    assert!(status.success(), "`render` failed");
}

fn jobs(criterion: &mut Criterion) {
    let program = render_program();
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("job");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("one small frame", |bencher| {
        bencher.iter(|| {
            let options = "--frames 1 --size 8x8 --samples 1 --local 1";
            run(&program, folder.path(), options);
        });
    });
    group.throughput(Throughput::Elements(FRAMES * SIZE.0 * SIZE.1 * SAMPLES));
    for workers in [1, 2] {
        group.bench_function(format!("workers {workers}"), |bencher| {
            let (width, height) = SIZE;
            let options = format!(
                "--frames 1-{FRAMES} --size {width}x{height} --samples {SAMPLES} --local {workers}"
            );
            bencher.iter(|| run(&program, folder.path(), &options));
        });
    }
    group.finish();
}

criterion_group! {
    name = group;
    config = benches::samples_of(5);
    targets = jobs
}
criterion_main!(group);
