//! What it takes the requestor to verify a delivered tile of 512 pixels a side, beside the plain hash of its bytes: the
//! check that all is finite, the hash of each cell, the commitment, the cells of probes and overlap and their comparison.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use protocol::{
    Blake3Hash, NodeId, Pass, Rect, RenderedRect, Size, TileGrid,
    geometry::CELL_PX,
    pixels::{canonical_length, cell_hashes, task_bytes},
};
use std::hint::black_box;
use verifier::{ProbeShape, Trust};

const TILE_PX: u32 = 512;

/// A tile in the middle of a frame, with the cells that it shares.
fn tile(passes: &[Pass]) -> (TileGrid, Rect, Vec<u8>) {
    let grid = TileGrid::new(
        Size {
            width: 3 * TILE_PX,
            height: 3 * TILE_PX,
        },
        TILE_PX,
    );
    let rect = grid.rendered(4);
    let pixel = |index: u64| [index as f32, 0.5, 1.0 / (index + 1) as f32, 1.0];
    let plane: Vec<[f32; 4]> = (0..rect.area()).map(pixel).collect();
    let planes = passes.iter().map(|&pass| (pass, plane.clone())).collect();
    let bytes = task_bytes(&[RenderedRect { rect, planes }], passes);
    (grid, rect, bytes.expect("a tile"))
}

/// All that is done with a delivery before its worker is paid, but for the render of its probes.
fn verify(grid: &TileGrid, rect: Rect, passes: &[Pass], bytes: &[u8]) -> bool {
    let finite = RenderedRect::check_canonical(rect, passes, bytes);
    let cells = cell_hashes(bytes, passes.len());
    let counted = verifier::check_count(&[rect], &cells);
    let root = Blake3Hash([1; 32]);
    let commitment = verifier::commitment(&NodeId([2; 32]), &root, &[3; 32], &root);
    let core = grid.core(4);
    let probes = verifier::draw_probes(
        &[4; 32],
        &commitment,
        &core,
        ProbeShape::Cells,
        Trust::Unknown,
    );
    let answers = verifier::cells::select(&rect, &cells, &probes).unwrap_or_default();
    let rim = [Rect {
        height: CELL_PX,
        ..rect
    }];
    let shared = verifier::cells::select(&rect, &cells, &rim).unwrap_or_default();
    let differs = verifier::mismatches(&rim, &shared, &rim, &shared);
    let same = verifier::digest(&answers) == verifier::digest(&answers.clone());
    finite.is_ok() && counted.is_ok() && differs.is_empty() && same
}

fn tiles(criterion: &mut Criterion) {
    for passes in [&[Pass::Combined][..], &Pass::ALL] {
        let (grid, rect, bytes) = tile(passes);
        let mut group = criterion.benchmark_group(format!("tile of {} passes", passes.len()));
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Bytes(canonical_length(&[rect], passes.len())));
        group.bench_function("blake3", |bencher| {
            bencher.iter(|| Blake3Hash::of(black_box(&bytes)));
        });
        group.bench_function("verify", |bencher| {
            bencher.iter(|| assert!(verify(&grid, rect, passes, black_box(&bytes))));
        });
        group.bench_function("cell hashes", |bencher| {
            bencher.iter(|| cell_hashes(black_box(&bytes), passes.len()));
        });
        group.finish();
    }
}

criterion_group! {
    name = group;
    config = benches::samples_of(2);
    targets = tiles
}
criterion_main!(group);
