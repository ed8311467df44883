//! The engine of simulated workers: a cell's pixels are a hash of class, frame and cell, so that the truth is known. A
//! single pixel is the hash of its cell and its place there: who does not know a cell knows none of its pixels.

use super::random::Random;
use farm::event::Due;
use protocol::{
    Blake3Hash, EngineKind, JobId, JobSpec, Pass, Rect, RenderSettings, SecretPixels, Size,
    TaskSpec, geometry::Cell, secret_pixels::PACKED_PIXELS,
};

/// Samples a pixel of every simulated job.
pub const SAMPLES: u32 = 16;
/// The determinism class of most workers and of the requestor's own engine.
pub const CLASS: Blake3Hash = Blake3Hash([1; 32]);
/// The class of workers with another kind of processor.
pub const OTHER_CLASS: Blake3Hash = Blake3Hash([2; 32]);

/// Classes whose engine renders what it should.
pub const HONEST_CLASSES: [Blake3Hash; 2] = [CLASS, OTHER_CLASS];

/// A job of frames of this size.
pub fn job(size: Size) -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        blender: None,
        settings: RenderSettings {
            size,
            samples: SAMPLES,
            seed: 0,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
            scene: None,
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

/// How many of these cells no honest class would render so.
pub fn wrong_cells(frame: i32, cells: impl Iterator<Item = (Cell, Blake3Hash)>) -> usize {
    let is_wrong = |(cell, value): &(Cell, Blake3Hash)| {
        let mut classes = HONEST_CLASSES.iter();
        classes.all(|class| true_cell(*class, frame, *cell) != *value)
    };
    cells.filter(is_wrong).count()
}

/// What a task delivers when it is rendered honestly: a hash for each cell, or for each secret pixel that of its cell.
pub fn true_content(class: Blake3Hash, spec: &TaskSpec) -> Vec<Blake3Hash> {
    let cells = true_cells(class, spec.frame, &spec.rects);
    match &spec.pixels {
        Some(pixels) => of_pixels(pixels, &spec.rects[0], &cells),
        None => cells,
    }
}

/// For each secret pixel of a rectangle its cell, of those of the rectangle.
pub fn of_pixels(pixels: &SecretPixels, rect: &Rect, cells: &[Blake3Hash]) -> Vec<Blake3Hash> {
    let places = pixels.places(rect).into_iter();
    places.map(|(cell, _)| cells[cell]).collect()
}

/// The hash of each packed cell of these pixels.
pub fn packed_hashes(pixels: &SecretPixels, rect: &Rect, values: &[Blake3Hash]) -> Vec<Blake3Hash> {
    let places: Vec<(usize, u8)> = pixels.places(rect);
    let placed: Vec<_> = places.iter().zip(values).collect();
    let packed = placed.chunks(PACKED_PIXELS).map(|pixels| {
        let mut bytes = Vec::with_capacity(33 * PACKED_PIXELS);
        for ((_, place), value) in pixels {
            bytes.extend(value.0);
            bytes.push(*place);
        }
        Blake3Hash::of(&bytes)
    });
    packed.collect()
}

/// The hashes that are due of what a task delivers; none when something is missing.
pub fn hashes_due(spec: &TaskSpec, content: &[Blake3Hash], due: &Due) -> Option<Vec<Blake3Hash>> {
    let rect = &spec.rects[0];
    if let Some(pixels) = &spec.pixels {
        let is_whole = content.len() as u64 == pixels.count(rect);
        return is_whole.then(|| packed_hashes(pixels, rect, content));
    }
    let count: usize = spec.rects.iter().map(Rect::cell_count).sum();
    if content.len() != count {
        return None;
    }
    let mut hashes = Vec::new();
    for pixels in &due.pixels {
        let values = of_pixels(pixels, rect, content);
        hashes.extend(packed_hashes(pixels, rect, &values));
    }
    hashes.extend(verifier::cells::select(&spec.rects, content, &due.cells)?);
    Some(hashes)
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
