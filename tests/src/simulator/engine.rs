//! The engine of simulated workers: a cell's pixels are a hash of class, frame and cell, so that the truth is known.

use super::random::Random;
use protocol::{
    Blake3Hash, EngineKind, JobId, JobSpec, Pass, Rect, RenderSettings, Size, geometry::Cell,
};

/// Samples a pixel of every simulated job.
pub const SAMPLES: u32 = 16;
/// The determinism class of most workers and of the requestor's own engine.
pub const CLASS: Blake3Hash = Blake3Hash([1; 32]);
/// The class of workers with another build of the engine.
pub const OTHER_CLASS: Blake3Hash = Blake3Hash([2; 32]);

/// A job of frames of this size.
pub fn job(size: Size) -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        settings: RenderSettings {
            size,
            samples: SAMPLES,
            seed: 0,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
        },
    }
}

/// What a cell's pixels hash to.
pub fn true_cell(class: Blake3Hash, frame: i32, cell: Cell) -> Blake3Hash {
    let mut bytes = [0; 44];
    bytes[..32].copy_from_slice(&class.0);
    bytes[32..36].copy_from_slice(&frame.to_le_bytes());
    bytes[36..40].copy_from_slice(&cell.column.to_le_bytes());
    bytes[40..].copy_from_slice(&cell.row.to_le_bytes());
    Blake3Hash::of(&bytes)
}

/// Mean of [`cell_cost`].
pub const MEAN_CELL_COST: u64 = 4;
/// Cost of the dearest cells, a power of two.
const CELL_COST_MAX: u64 = 64;

/// What a cell costs to render: half of them 1, a quarter 2, and so on, as few cells of a scene take most of its time.
pub fn cell_cost(cell: Cell) -> u64 {
    let place = u64::from(cell.column) << 32 | u64::from(cell.row);
    1 << Random::new(place ^ 0xc057)
        .below(CELL_COST_MAX)
        .trailing_zeros()
        .min(6)
}

/// The cells of rectangles in canonical order.
pub fn true_cells(class: Blake3Hash, frame: i32, rects: &[Rect]) -> Vec<Blake3Hash> {
    let cells = rects.iter().flat_map(Rect::cells);
    cells
        .map(|(cell, _)| true_cell(class, frame, cell))
        .collect()
}

/// The hash of a delivery: of its cells' hashes, because there are no pixels.
pub fn root_of(cells: &[Blake3Hash]) -> Blake3Hash {
    let mut hasher = blake3::Hasher::new();
    for cell in cells {
        hasher.update(&cell.0);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cost_what_is_said_on_average() {
        let cell = |at: u32| Cell {
            column: at % 1_000,
            row: at / 1_000,
        };
        let sum: u64 = (0..1_000_000).map(|at| cell_cost(cell(at))).sum();
        let mean = sum as f64 / 1e6;
        assert!((mean - MEAN_CELL_COST as f64).abs() < 0.05, "{mean}");
    }
}
