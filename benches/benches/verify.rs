//! What it takes the requestor to verify a delivered tile of 512 pixels a side, beside the plain hash of its bytes: the
//! check that all is finite and no picture of nothing, the commitment, the draw of its secret pixels (eight of each cell for
//! others, one kept for later), the hashes of these and of the cells of the overlap, and their comparison. The hash of the whole is checked piece by piece while the tile comes in; one
//! bench has it on top.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use protocol::{
    Blake3Hash, NodeId, Pass, Rect, RenderedRect, Size, TileGrid,
    pixels::{Looks, canonical_length, cell_hashes, cell_hashes_at, task_bytes},
};
use std::hint::black_box;
use verifier::{Overlap, ProbeShape, Trust};

const TILE_PX: u32 = 512;

const FRAME: i32 = 7;
const TILE: u32 = 4;
const SECRET: [u8; 32] = [4; 32];

/// A tile in the middle of a frame, and its bytes.
struct Tile {
    grid: TileGrid,
    rects: Vec<Rect>,
    bytes: Vec<u8>,
}

impl Tile {
    fn new(passes: &[Pass]) -> Self {
        let side = 3 * TILE_PX;
        let size = Size {
            width: side,
            height: side,
        };
        let grid = TileGrid::new(size, TILE_PX);
        let rects = overlap(&grid).rects(FRAME, TILE);
        let rendered = |rect: &Rect| {
            let pixel = |index: u64| [index as f32, 0.5, 1.0 / (index + 1) as f32, 1.0];
            let plane: Vec<[f32; 4]> = (0..rect.area()).map(pixel).collect();
            let planes = passes.iter().map(|&pass| (pass, plane.clone())).collect();
            RenderedRect {
                rect: *rect,
                planes,
            }
        };
        let rendered: Vec<RenderedRect> = rects.iter().map(rendered).collect();
        let bytes = task_bytes(&rendered, passes).expect("a tile");
        Self { grid, rects, bytes }
    }

    /// All that is done with a delivery before its worker is paid, but for the render of its probes.
    fn verify(&self, passes: &[Pass]) -> bool {
        let mut rest = self.bytes.as_slice();
        for rect in &self.rects {
            let length = canonical_length(&[*rect], passes.len()) as usize;
            let (part, after) = rest.split_at(length);
            if RenderedRect::check_canonical(*rect, passes, part).is_err() {
                return false;
            }
            rest = after;
        }
        let looks = Looks::of(&self.bytes, passes.len());
        let root = Blake3Hash([1; 32]);
        let commitment = verifier::commitment(&NodeId([2; 32]), &root, &[3; 32], &root);
        let core = self.grid.core(TILE);
        let policy = Trust::Unknown.policy();
        let probes = verifier::draw_pixels(&SECRET, &commitment, &policy, policy.probe_pixels);
        let mut packed = Vec::new();
        for pixels in &probes {
            let bytes = pixels.extract(&core, passes.len(), &self.bytes);
            packed.extend(cell_hashes(&bytes.unwrap_or_default(), passes.len()));
        }
        let counted: usize = probes.iter().map(|pixels| pixels.packed_count(&core)).sum();
        let shared = overlap(&self.grid).shared(FRAME, TILE);
        let rim = shared.iter().filter_map(|cell| cell.rect(self.grid.size));
        let due: Vec<Rect> = rim.collect();
        let places = verifier::cells::places(&self.rects, &due).unwrap_or_default();
        let hashes = cell_hashes_at(&self.bytes, passes.len(), &places).unwrap_or_default();
        let is_whole = verifier::check_count(&due, &hashes).is_ok() && packed.len() == counted;
        let differs = verifier::mismatches((&shared, &hashes), (&shared, &hashes));
        let same = packed.iter().eq(packed.clone().iter());
        looks == Looks::Ordinary && is_whole && differs.is_empty() && same
    }
}

fn overlap(grid: &TileGrid) -> Overlap<'_> {
    Overlap {
        secret: &SECRET,
        grid,
        shape: ProbeShape::Pixels,
    }
}

fn tiles(criterion: &mut Criterion) {
    for passes in [&[Pass::Combined][..], &Pass::ALL] {
        let tile = Tile::new(passes);
        let mut group = criterion.benchmark_group(format!("tile of {} passes", passes.len()));
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Bytes(tile.bytes.len() as u64));
        group.bench_function("blake3", |bencher| {
            bencher.iter(|| Blake3Hash::of(black_box(&tile.bytes)));
        });
        group.bench_function("verify", |bencher| {
            bencher.iter(|| assert!(black_box(&tile).verify(passes)));
        });
        group.bench_function("verify and blake3", |bencher| {
            bencher.iter(|| {
                assert!(black_box(&tile).verify(passes));
                Blake3Hash::of(black_box(&tile.bytes))
            });
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
