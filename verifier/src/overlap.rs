//! The overlap: cells on both sides of the border between two tiles that both of their workers render.
//!
//! Where single cells cost no more than their pixels these are secret: of each few cells along a border one is drawn,
//! on one side or the other, and the tile on the other side renders it too. A worker sees which cells of its neighbours
//! it renders, never which of its own a neighbour does. That is a quarter of what a line of cells on each border costs,
//! and sees the same: wrong frames, seeds, scenes, shifted tiles. Engines that charge for each rectangle render the
//! whole line, in one rectangle with the tile.

use crate::{draw::SecretDraw, probes::ProbeShape};
use protocol::{
    Rect, TileGrid,
    geometry::{CELL_PX, Cell},
};

const CONTEXT: &[u8] = b"open render farm 2026 overlap draw v1";
/// Cells of a border of which one is drawn, at least.
const STRATUM_CELLS: u32 = 4;
/// Most cells drawn on one border.
const BORDER_CELLS_MAX: u32 = 16;

/// Most rectangles of a tile's task: the tile, and cells along four borders.
pub const TILE_RECTS_MAX: usize = 1 + 4 * BORDER_CELLS_MAX as usize;

/// The overlaps of all tiles of a job.
#[derive(Debug, Clone, Copy)]
pub struct Overlap<'a> {
    /// The job's secret.
    pub secret: &'a [u8; 32],
    /// The division of each frame.
    pub grid: &'a TileGrid,
    /// What rectangles cost.
    pub shape: ProbeShape,
}

/// A cell that two tiles render: the first is left of the second or above it.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    cell: Cell,
    is_of_first: bool,
}

impl Overlap<'_> {
    /// What the worker of a tile renders: first the rectangle that holds the tile itself, then single cells of its
    /// neighbours, sorted.
    pub fn rects(&self, frame: i32, tile: u32) -> Vec<Rect> {
        let mut rects = vec![self.first_rect(tile)];
        if self.shape == ProbeShape::Pixels {
            let theirs = self.borders(frame, tile);
            let theirs = theirs.filter(|(is_first, drawn)| *is_first != drawn.is_of_first);
            let cells = theirs.filter_map(|(_, drawn)| drawn.cell.rect(self.grid.size));
            rects.extend(cells);
            rects[1..].sort_unstable();
            rects.dedup();
        }
        rects
    }

    /// The rectangle that holds the tile itself.
    pub fn first_rect(&self, tile: u32) -> Rect {
        match self.shape {
            ProbeShape::Pixels => self.grid.core(tile),
            ProbeShape::Squares { .. } => self.grid.rendered(tile),
        }
    }

    /// All cells that the workers of this tile and of a neighbour both render, sorted.
    pub fn shared(&self, frame: i32, tile: u32) -> Vec<Cell> {
        let mut cells: Vec<Cell> = match self.shape {
            ProbeShape::Pixels => {
                let drawn = self.borders(frame, tile);
                drawn.map(|(_, drawn)| drawn.cell).collect()
            }
            ProbeShape::Squares { .. } => self.lines(tile),
        };
        cells.sort_unstable();
        cells.dedup();
        cells
    }

    /// The drawn cells on a tile's borders, each with whether the tile is the first of the two there.
    fn borders(&self, frame: i32, tile: u32) -> impl Iterator<Item = (bool, Drawn)> {
        let columns = self.grid.columns();
        let (column, row) = self.grid.place(tile);
        let right = (column + 1 < columns).then_some((true, tile, true));
        let below = (row + 1 < self.grid.rows()).then_some((true, tile, false));
        let left = (column > 0).then(|| (false, tile - 1, true));
        let above = (row > 0).then(|| (false, tile - columns, false));
        let borders = [right, below, left, above].into_iter().flatten();
        borders.flat_map(move |(is_first, first, is_upright)| {
            let drawn = self.border(frame, first, is_upright);
            drawn.into_iter().map(move |drawn| (is_first, drawn))
        })
    }

    /// The cells drawn on the border between a tile and the one right of it (upright) or below it.
    fn border(&self, frame: i32, first: u32, is_upright: bool) -> Vec<Drawn> {
        let core = self.grid.core(first);
        let mut name = [0; 9];
        name[..4].copy_from_slice(&frame.to_le_bytes());
        name[4..8].copy_from_slice(&first.to_le_bytes());
        name[8] = u8::from(is_upright);
        let mut draw = SecretDraw::new(self.secret, CONTEXT, &name);
        let length = match is_upright {
            true => core.cells_down(),
            false => core.cells_across(),
        };
        let stratum = STRATUM_CELLS.max(length.div_ceil(BORDER_CELLS_MAX));
        let start = Cell {
            column: core.x / CELL_PX,
            row: core.y / CELL_PX,
        };
        let strata = (0..length).step_by(stratum as usize);
        let drawn = strata.map(|from| {
            let along = from + draw.below(stratum.min(length - from));
            let is_of_first = draw.below(2) == 0;
            let across = |cells: u32| cells - u32::from(is_of_first);
            let cell = match is_upright {
                true => Cell {
                    column: start.column + across(core.cells_across()),
                    row: start.row + along,
                },
                false => Cell {
                    column: start.column + along,
                    row: start.row + across(core.cells_down()),
                },
            };
            Drawn { cell, is_of_first }
        });
        drawn.collect()
    }

    /// The outermost line of cells on each side of what a tile's worker renders that has a neighbour.
    fn lines(&self, tile: u32) -> Vec<Cell> {
        let rendered = self.grid.rendered(tile);
        let (column, row) = self.grid.place(tile);
        let first = Cell {
            column: rendered.x / CELL_PX,
            row: rendered.y / CELL_PX,
        };
        let last = Cell {
            column: first.column + rendered.cells_across() - 1,
            row: first.row + rendered.cells_down() - 1,
        };
        let is_shared = |cell: &Cell| {
            (column > 0 && cell.column == first.column)
                || (row > 0 && cell.row == first.row)
                || (column + 1 < self.grid.columns() && cell.column == last.column)
                || (row + 1 < self.grid.rows() && cell.row == last.row)
        };
        let cells = rendered.cells().map(|(cell, _)| cell);
        cells.filter(is_shared).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Size;
    use std::collections::{BTreeMap, BTreeSet};

    const GRIDS: [(u64, u64, u32); 7] = [
        (100, 70, 32),
        (64, 64, 8),
        (65, 71, 16),
        (200, 9, 40),
        (9, 200, 8),
        (50, 50, 0),
        (1000, 900, 256),
    ];

    fn overlap<'a>(secret: &'a [u8; 32], grid: &'a TileGrid, shape: ProbeShape) -> Overlap<'a> {
        Overlap {
            secret,
            grid,
            shape,
        }
    }

    /// How many tiles render each cell.
    fn renders(overlap: &Overlap) -> BTreeMap<Cell, u32> {
        let mut renders = BTreeMap::new();
        for tile in 0..overlap.grid.tile_count() {
            for (cell, _) in overlap.rects(7, tile).iter().flat_map(Rect::cells) {
                *renders.entry(cell).or_default() += 1;
            }
        }
        renders
    }

    #[test]
    fn shared_cells_are_exactly_those_that_another_tile_renders_too() {
        for (width, height, tile_px) in GRIDS {
            let grid = TileGrid::new(Size::new(width, height).unwrap(), tile_px);
            for shape in [ProbeShape::Pixels, ProbeShape::squares(3_000, 0)] {
                let overlap = overlap(&[4; 32], &grid, shape);
                let renders = renders(&overlap);
                for tile in 0..grid.tile_count() {
                    let rects = overlap.rects(7, tile);
                    let mine = rects.iter().flat_map(Rect::cells).map(|(cell, _)| cell);
                    let expected: BTreeSet<Cell> = mine.filter(|cell| renders[cell] > 1).collect();
                    let shared = overlap.shared(7, tile);
                    assert!(shared.is_sorted());
                    let found: BTreeSet<Cell> = shared.into_iter().collect();
                    assert_eq!(
                        found, expected,
                        "tile {tile} of {width}x{height} by {tile_px}"
                    );
                    assert!(rects.iter().all(|rect| rect.is_whole_cells(grid.size)));
                    assert!(rects.len() <= TILE_RECTS_MAX);
                    assert_eq!(
                        rects[0].intersection(&grid.core(tile)),
                        Some(grid.core(tile))
                    );
                }
            }
        }
    }

    #[test]
    fn secret_cells_cost_a_quarter_of_a_line_and_reach_every_cell_of_the_rim() {
        let grid = TileGrid::new(Size::new(768, 768).unwrap(), 256);
        let middle = grid.core(4);
        let mut hit = BTreeSet::new();
        let mut extra = 0;
        for secret in 0..200 {
            let secret = [secret; 32];
            let overlap = overlap(&secret, &grid, ProbeShape::Pixels);
            extra += overlap.rects(1, 4).len() - 1;
            let shared = overlap.shared(1, 4);
            let inside = |cell: &Cell| cell.square().intersection(&middle).is_some();
            hit.extend(shared.into_iter().filter(inside));
        }
        // 32 of 1024 cells lie on one side; a line right and below would be 65.
        let cells = extra as f64 / 200.0;
        assert!((cells - 16.0).abs() < 0.5, "{cells} cells");
        assert_eq!(hit.len(), 4 * 31);
    }

    #[test]
    fn tiles_share_cells_with_those_of_their_own_range_of_samples() {
        for (width, height, tile_px) in GRIDS {
            let plain = TileGrid::new(Size::new(width, height).unwrap(), tile_px);
            let grid = plain.in_ranges(2);
            for shape in [ProbeShape::Pixels, ProbeShape::squares(3_000, 0)] {
                let (one, both) = (
                    overlap(&[4; 32], &plain, shape),
                    overlap(&[4; 32], &grid, shape),
                );
                for tile in 0..plain.tile_count() {
                    assert_eq!(both.shared(7, tile), one.shared(7, tile));
                    let next = tile + plain.tile_count();
                    assert_eq!(both.first_rect(next), one.first_rect(tile));
                    assert!(both.rects(7, next).len() <= TILE_RECTS_MAX);
                }
            }
        }
    }

    #[test]
    fn other_frames_ranges_and_secrets_share_other_cells() {
        let grid = TileGrid::new(Size::new(768, 768).unwrap(), 256).in_ranges(2);
        let (one, two) = ([1; 32], [2; 32]);
        let first = overlap(&one, &grid, ProbeShape::Pixels);
        assert_ne!(first.shared(1, 4), first.shared(2, 4));
        assert_ne!(first.shared(1, 4), first.shared(1, 4 + 9));
        assert_ne!(
            first.shared(1, 4),
            overlap(&two, &grid, ProbeShape::Pixels).shared(1, 4)
        );
    }
}
