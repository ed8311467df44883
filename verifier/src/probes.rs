//! Probes: secret cells of a tile, drawn after its worker committed to it, to be rendered again by somebody else.
//!
//! The draw is a keyed function of (the job's secret seed, the commitment): a worker cannot know it before committing,
//! and the requestor cannot choose cells by hand. Positions are multi-jittered (Chiu, Shirley, Wang: "Multi-jittered
//! sampling", Graphics Gems IV): one to a block of the tile and, within the blocks, one to a fine row and a fine column.
//! So no band of rows or columns that is as thick as their spacing slips between, while every cell is equally likely.

use crate::{
    draw::SecretDraw,
    trust::{SHARES, TILE_CELLS, Trust, TrustPolicy},
};
use protocol::{Blake3Hash, Rect, geometry::CELL_PX, limits::TASK_RECTS_MAX};
use serde::{Deserialize, Serialize};

const DRAW_CONTEXT: &[u8] = b"open render farm 2026 probe draw v2";
const SPLIT_CONTEXT: &[u8] = b"open render farm 2026 probe split v1";
const REPLICA_CONTEXT: &[u8] = b"open render farm 2026 replica draw v1";

/// Most probe cells of a tile, however large it is: they miss a fake of a fiftieth of it once in 30,000 times.
pub const PROBE_CELLS_MAX: u32 = 512;
const _: () = assert!(PROBE_CELLS_MAX as usize <= TASK_RECTS_MAX);

/// What probes look like, by what a rectangle costs the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeShape {
    /// Single cells, for engines that render any rectangle at the price of its pixels.
    Cells,
    /// A few squares, for engines that charge for each rectangle.
    Squares {
        /// Side of a square in cells.
        side_cells: u32,
        /// Squares in a tile of an unknown worker.
        count: u32,
    },
}

impl ProbeShape {
    /// For Blender, where a rectangle costs 0.06 to 0.3 s: four squares of 4 x 4 cells.
    pub const BLENDER: ProbeShape = ProbeShape::Squares {
        side_cells: 4,
        count: 4,
    };
}

/// The probes of a tile: rectangles of whole cells inside `core`, sorted, at most [`TASK_RECTS_MAX`]. Empty when the
/// trust level leaves this tile unprobed.
pub fn draw_probes(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    core: &Rect,
    shape: ProbeShape,
    trust: Trust,
) -> Vec<Rect> {
    let mut draw = Lattice(SecretDraw::new(secret, DRAW_CONTEXT, &commitment.0));
    let policy = trust.policy();
    match shape {
        ProbeShape::Cells => draw.cells(core, cell_quota(core, policy)),
        ProbeShape::Squares { side_cells, count } => {
            if draw.below(policy.squares_every) != 0 {
                return Vec::new();
            }
            let count = count.clamp(1, policy.squares_max.min(TASK_RECTS_MAX as u32));
            draw.squares(core, side_cells.max(1), count)
        }
    }
}

/// Deals the probes of a tile out in `parts` of about equal size, each to be rendered by another worker; in their order within
/// each. Who renders one of them cannot tell from it where the others lie.
pub fn split_probes(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    probes: &[Rect],
    parts: usize,
) -> Vec<Vec<Rect>> {
    let parts = parts.clamp(1, probes.len().max(1));
    let mut draw = SecretDraw::new(secret, SPLIT_CONTEXT, &commitment.0);
    let order = draw.permutation(probes.len() as u32);
    let part = |first: usize| {
        let mut chosen: Vec<u32> = order.iter().copied().skip(first).step_by(parts).collect();
        chosen.sort_unstable();
        let probe = |index: u32| probes[index as usize];
        chosen.into_iter().map(probe).collect()
    };
    (0..parts).map(part).collect()
}

/// Is this tile one of those that are rendered twice whole?
pub fn draw_replica(secret: &[u8; 32], commitment: &Blake3Hash, trust: Trust) -> bool {
    let mut draw = SecretDraw::new(secret, REPLICA_CONTEXT, &commitment.0);
    draw.below(SHARES) < trust.policy().replica_share
}

/// Most pixels that the probes of a tile can have: what to set aside for them before they are drawn.
pub fn probe_pixels_max(core: &Rect, shape: ProbeShape, trust: Trust) -> u64 {
    let policy = trust.policy();
    let cells = match shape {
        ProbeShape::Cells => u64::from(cell_quota(core, policy)),
        ProbeShape::Squares { side_cells, count } => {
            let side = u64::from(side_cells).min(core.cell_count() as u64);
            side * side * u64::from(count.clamp(1, policy.squares_max.min(TASK_RECTS_MAX as u32)))
        }
    };
    cells * u64::from(CELL_PX) * u64::from(CELL_PX)
}

/// Probe cells of a tile: in proportion to its cells, rounded up, at least the level's minimum or a quarter of the tile,
/// never over what exists or [`PROBE_CELLS_MAX`].
fn cell_quota(core: &Rect, policy: TrustPolicy) -> u32 {
    let cells = core.cell_count() as u64;
    let share = (cells * u64::from(policy.probe_cells)).div_ceil(u64::from(TILE_CELLS));
    share
        .max(u64::from(policy.probe_cells_min).min(cells.div_ceil(4)))
        .min(u64::from(PROBE_CELLS_MAX))
        .min(cells) as u32
}

/// Positions of probes in a tile, as a stream of secret numbers has them.
struct Lattice(SecretDraw);

impl Lattice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.below(limit)
    }

    /// `count` permutations of the numbers below `length`, one after the other.
    fn permutations(&mut self, count: u32, length: u32) -> Vec<u32> {
        (0..count)
            .flat_map(|_| self.0.permutation(length))
            .collect()
    }

    /// `count` multi-jittered points of a lattice of `columns` x `rows`; two may fall on one lattice point.
    fn points(&mut self, columns: u32, rows: u32, count: u32) -> Vec<(u32, u32)> {
        let (across, down) = blocks(columns, rows, count);
        let fine_columns = self.permutations(across, down);
        let fine_rows = self.permutations(down, across);
        let mut points = Vec::with_capacity(count as usize);
        for i in 0..across {
            for j in 0..down {
                let fine_column = i * down + fine_columns[(i * down + j) as usize];
                let fine_row = j * across + fine_rows[(j * across + i) as usize];
                let column = self.within(fine_column, count, columns);
                points.push((column, self.within(fine_row, count, rows)));
            }
        }
        points
    }

    /// A lattice line of `lines`, uniform in stratum `index` of `strata`.
    fn within(&mut self, index: u32, strata: u32, lines: u32) -> u32 {
        let whole = u64::from(index) * u64::from(lines);
        ((whole + u64::from(self.below(lines))) / u64::from(strata.max(1))) as u32
    }

    fn cells(&mut self, core: &Rect, count: u32) -> Vec<Rect> {
        let (columns, rows) = (core.cells_across(), core.cells_down());
        let mut chosen = CellSet::new(columns, rows);
        let points = self.points(columns, rows, count).into_iter();
        let mut missing = count as usize - points.filter(|point| chosen.insert(*point)).count();
        // Where blocks do not align with cells two points can share one; others take the place of such twins.
        while missing > 0 {
            let row = self.below(rows);
            missing -= usize::from(chosen.insert((self.below(columns), row)));
        }
        let rect = |(column, row)| {
            let (x, y) = (core.x + column * CELL_PX, core.y + row * CELL_PX);
            Rect {
                x,
                y,
                width: CELL_PX.min(core.right() - x),
                height: CELL_PX.min(core.bottom() - y),
            }
        };
        let mut found = Vec::with_capacity(count as usize);
        chosen.for_each(|point| found.push(rect(point)));
        found
    }

    /// Squares may stick out of the tile and are cut there: else cells at its rim would be less likely than others.
    fn squares(&mut self, core: &Rect, side: u32, count: u32) -> Vec<Rect> {
        let columns = core.cells_across().saturating_add(side - 1);
        let rows = core.cells_down().saturating_add(side - 1);
        let inset = i64::from(side - 1);
        let mut found: Vec<Rect> = self
            .points(columns, rows, count)
            .into_iter()
            .filter_map(|(column, row)| {
                square(
                    core,
                    i64::from(column) - inset,
                    i64::from(row) - inset,
                    side,
                )
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Cells of a tile, a bit for each: sorted and distinct without being compared.
struct CellSet {
    columns: u32,
    bits: Vec<u64>,
}

impl CellSet {
    fn new(columns: u32, rows: u32) -> Self {
        let cells = columns as usize * rows as usize;
        Self {
            columns,
            bits: vec![0; cells.div_ceil(64)],
        }
    }

    /// Adds the cell at a column and a row; false when it is there already.
    fn insert(&mut self, (column, row): (u32, u32)) -> bool {
        let index = row as usize * self.columns as usize + column as usize;
        let (word, bit) = (&mut self.bits[index / 64], 1 << (index % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Visits column and row of each cell, row by row.
    fn for_each(&self, mut visit: impl FnMut((u32, u32))) {
        for (index, &word) in self.bits.iter().enumerate() {
            let mut left = word;
            while left != 0 {
                let cell = index * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let columns = self.columns as usize;
                visit(((cell % columns) as u32, (cell / columns) as u32));
            }
        }
    }
}

/// Divides a lattice into exactly `count` blocks, as square as the divisors of `count` allow: blocks across and down.
fn blocks(columns: u32, rows: u32, count: u32) -> (u32, u32) {
    let count = count.max(1);
    let shape = |across: u32| {
        let (wide, high) = (
            u64::from(columns) * u64::from(count / across),
            u64::from(rows) * u64::from(across),
        );
        // The longer side of a block in units of the shorter, in thousandths.
        wide.max(high) * 1000 / wide.min(high).max(1)
    };
    let across = (1..=count)
        .filter(|across| count.is_multiple_of(*across))
        .min_by_key(|&across| shape(across))
        .unwrap_or(1);
    (across, count / across)
}

/// A square of cells at a position within a tile (in cells, possibly negative), cut at the tile's edge.
fn square(core: &Rect, column: i64, row: i64, side: u32) -> Option<Rect> {
    let pixels = |start: u32, cell: i64, limit: u32| {
        let at = (i64::from(start) + cell * i64::from(CELL_PX)).clamp(0, i64::from(limit));
        at as u32
    };
    let (x, y) = (
        pixels(core.x, column, core.right()).max(core.x),
        pixels(core.y, row, core.bottom()).max(core.y),
    );
    let right = pixels(core.x, column + i64::from(side), core.right());
    let bottom = pixels(core.y, row + i64::from(side), core.bottom());
    (x < right && y < bottom).then(|| Rect {
        x,
        y,
        width: right - x,
        height: bottom - y,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const TILE: Rect = Rect {
        x: 256,
        y: 512,
        width: 256,
        height: 256,
    };

    fn seeded(number: u64) -> Blake3Hash {
        Blake3Hash::of(&number.to_le_bytes())
    }

    fn unknown_cells(number: u64, core: &Rect) -> Vec<Rect> {
        draw_probes(
            &[7; 32],
            &seeded(number),
            core,
            ProbeShape::Cells,
            Trust::Unknown,
        )
    }

    #[test]
    fn counts_follow_trust_and_tile_size() {
        let count = |core: Rect, trust| {
            draw_probes(&[7; 32], &seeded(1), &core, ProbeShape::Cells, trust).len()
        };
        let small = Rect {
            width: 16,
            height: 12,
            ..TILE
        };
        let tile_64 = Rect {
            width: 64,
            height: 64,
            ..TILE
        };
        let large = Rect {
            width: 2048,
            height: 2048,
            ..TILE
        };
        assert_eq!(count(TILE, Trust::Unknown), 128);
        assert_eq!(count(TILE, Trust::Own), 8);
        assert_eq!(count(small, Trust::Unknown), 1);
        assert_eq!(count(tile_64, Trust::Unknown), 16);
        assert_eq!(count(small, Trust::Own), 1);
        assert_eq!(count(large, Trust::Unknown), PROBE_CELLS_MAX as usize);
    }

    #[test]
    fn the_draw_depends_on_secret_and_commitment_alone() {
        let first = unknown_cells(1, &TILE);
        assert_eq!(first, unknown_cells(1, &TILE));
        assert_ne!(first, unknown_cells(2, &TILE));
        let other_secret = draw_probes(
            &[8; 32],
            &seeded(1),
            &TILE,
            ProbeShape::Cells,
            Trust::Unknown,
        );
        assert_ne!(first, other_secret);
    }

    /// Finished tiles are probed again with the probes of their first check: a draw must never change.
    #[test]
    fn the_draws_are_those_of_earlier_builds() {
        let mut hasher = blake3::Hasher::new();
        for (number, columns, rows, cut) in [(1, 32, 32, 0), (2, 240, 135, 0), (3, 7, 9, 3)] {
            let core = Rect {
                x: 64,
                y: 8,
                width: columns * 8 - cut,
                height: rows * 8 - cut,
            };
            for shape in [ProbeShape::Cells, ProbeShape::BLENDER] {
                for probe in draw_probes(&[7; 32], &seeded(number), &core, shape, Trust::Unknown) {
                    hasher.update(probe.to_string().as_bytes());
                }
            }
        }
        let expected = "c6f590290f922c879792625d051ffb8dc853e682c20b5b9407ba48639b757825";
        assert_eq!(hasher.finalize().to_string(), expected);
    }

    #[test]
    fn no_band_of_a_tenth_of_the_tile_slips_between() {
        for number in 0..500 {
            let probes = unknown_cells(number, &TILE);
            for line in 0..32 {
                let in_row = probes.iter().filter(|rect| rect.y == TILE.y + line * 8);
                let in_column = probes.iter().filter(|rect| rect.x == TILE.x + line * 8);
                // Four to a row and to a column: so a band of one line is hit, more so one of a tenth.
                assert_eq!((in_row.count(), in_column.count()), (4, 4), "draw {number}");
            }
        }
    }

    #[test]
    fn every_cell_is_about_equally_likely() {
        let (mut hits, draws) = ([0u32; 1024], 4000);
        for number in 0..draws {
            for rect in unknown_cells(number, &TILE) {
                hits[((rect.y - TILE.y) / 8 * 32 + (rect.x - TILE.x) / 8) as usize] += 1;
            }
        }
        // 4000 draws of one cell in eight: 500 hits, standard deviation 21; six of them bound all 1024 cells.
        let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
        assert!(*least > 374 && *most < 626, "{least} to {most}");
    }

    #[test]
    fn squares_reach_every_cell_alike_and_own_tiles_now_and_then() {
        let (mut hits, mut own_tiles) = ([0u32; 1024], 0);
        for number in 0..4000 {
            let draw =
                |trust| draw_probes(&[7; 32], &seeded(number), &TILE, ProbeShape::BLENDER, trust);
            let squares = draw(Trust::Unknown);
            assert!((1..=4).contains(&squares.len()));
            for (cell, _) in squares.iter().flat_map(Rect::cells) {
                hits[((cell.row - TILE.y / 8) * 32 + cell.column - TILE.x / 8) as usize] += 1;
            }
            let own = draw(Trust::Own);
            assert!(own.len() <= 1);
            own_tiles += own.len();
        }
        // Each cell lies in 16 of 35 x 35 positions, four draws each: 209 expected.
        let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
        assert!(*least > 120 && *most < 300, "{least} to {most}");
        assert!((400..600).contains(&own_tiles), "{own_tiles} of 4000");
    }

    #[test]
    fn parts_hold_every_probe_once_and_are_of_equal_size() {
        let probes = unknown_cells(1, &TILE);
        let parts = split_probes(&[7; 32], &seeded(1), &probes, 8);
        assert!(parts.iter().all(|part| part.len() == 16));
        let mut together = parts.concat();
        together.sort_unstable();
        let mut sorted = probes.clone();
        sorted.sort_unstable();
        assert_eq!(together, sorted);
        assert_eq!(
            split_probes(&[7; 32], &seeded(1), &probes, 1),
            std::slice::from_ref(&probes)
        );
        assert_eq!(split_probes(&[7; 32], &seeded(1), &probes[..3], 8).len(), 3);
        assert_ne!(parts, split_probes(&[8; 32], &seeded(1), &probes, 8));
    }

    #[test]
    fn replicas_are_as_many_as_the_level_says() {
        for (trust, least, most) in [
            (Trust::Unknown, 2_300, 2_700),
            (Trust::Probation, 1_850, 2_150),
            (Trust::Trusted, 150, 250),
            (Trust::Own, 30, 75),
        ] {
            let is_drawn = |number: &u64| draw_replica(&[7; 32], &seeded(*number), trust);
            let drawn = (0..10_000).filter(is_drawn).count();
            assert!((least..most).contains(&drawn), "{trust:?}: {drawn}");
        }
    }

    proptest! {
        #[test]
        fn probes_are_distinct_whole_cells_inside_the_tile(
            columns in 1u32..70, rows in 1u32..70, cut in 0u32..8, side in 1u32..6, number in any::<u64>(),
        ) {
            let core = Rect { x: 64, y: 8, width: columns * 8 - cut, height: rows * 8 - cut };
            for (shape, trust) in [
                (ProbeShape::Cells, Trust::Unknown),
                (ProbeShape::Cells, Trust::Own),
                (ProbeShape::Squares { side_cells: side, count: 4 }, Trust::Unknown),
            ] {
                let probes = draw_probes(&[3; 32], &seeded(number), &core, shape, trust);
                let distinct: BTreeSet<Rect> = probes.iter().copied().collect();
                prop_assert!(!probes.is_empty() && distinct.len() == probes.len());
                prop_assert!(probes.iter().map(Rect::area).sum::<u64>() <= probe_pixels_max(&core, shape, trust));
                for probe in &probes {
                    prop_assert_eq!(probe.intersection(&core), Some(*probe));
                    prop_assert!(probe.x.is_multiple_of(8) && probe.y.is_multiple_of(8));
                    prop_assert!(probe.right().is_multiple_of(8) || probe.right() == core.right());
                    prop_assert!(probe.bottom().is_multiple_of(8) || probe.bottom() == core.bottom());
                }
            }
        }

        #[test]
        fn bands_of_two_probe_spacings_are_always_hit(columns in 8u32..50, rows in 8u32..50, number in any::<u64>()) {
            let core = Rect { x: 0, y: 0, width: columns * 8, height: rows * 8 };
            let probes = unknown_cells(number, &core);
            let thick = |lines: u32| (2 * lines).div_ceil(probes.len() as u32).max(2);
            for first in 0..=rows.saturating_sub(thick(rows)) {
                let band = first * 8..(first + thick(rows)) * 8;
                prop_assert!(probes.iter().any(|rect| band.contains(&rect.y)));
            }
            for first in 0..=columns.saturating_sub(thick(columns)) {
                let band = first * 8..(first + thick(columns)) * 8;
                prop_assert!(probes.iter().any(|rect| band.contains(&rect.x)));
            }
        }
    }
}
