//! Pixel geometry: frames, rectangles, the fixed lattice of 8x8 cells, and the division of a frame into tiles.
//!
//! The origin is the top left pixel, x grows to the right, y downward. Engines that think otherwise
//! (Blender counts rows from the bottom) translate at their own border.

use crate::{
    limits::{FRAME_AREA_MAX_PX, FRAME_SIDE_MAX_PX},
    samples::SampleRange,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Side of a cell in pixels: 8x8 RGBA f32 pixels are 1024 bytes, one BLAKE3 chunk.
pub const CELL_PX: u32 = 8;

/// Width and height of a frame in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Why a size is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not of the form `WIDTHxHEIGHT`.
    #[error("`{0}` is not a size such as 640x360")]
    Form(String),
    /// A side is zero or the frame is over the limits.
    #[error(
        "{width}x{height} is outside the limits: sides from 1 to {FRAME_SIDE_MAX_PX} px, at most {FRAME_AREA_MAX_PX} px in all"
    )]
    Limits {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
    },
}

impl Size {
    /// A size within the limits of [`crate::limits`].
    pub fn new(width: u64, height: u64) -> Result<Self, SizeError> {
        let side = 1..=u64::from(FRAME_SIDE_MAX_PX);
        let fits =
            side.contains(&width) && side.contains(&height) && width * height <= FRAME_AREA_MAX_PX;
        match fits {
            true => Ok(Self {
                width: width as u32,
                height: height as u32,
            }),
            false => Err(SizeError::Limits { width, height }),
        }
    }

    /// The whole frame as a rectangle.
    pub fn rect(self) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width: self.width,
            height: self.height,
        }
    }

    /// Pixels in the frame.
    pub fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::Form(text.chars().take(80).collect());
        let (width, height) = text.split_once(['x', 'X']).ok_or_else(form)?;
        let side = |digits: &str| digits.parse::<u64>().map_err(|_| form());
        Size::new(side(width)?, side(height)?)
    }
}

/// A rectangle of pixels of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rect {
    /// Left column.
    pub x: u32,
    /// Top row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// One past the right column.
    pub fn right(&self) -> u32 {
        self.x.saturating_add(self.width)
    }

    /// One past the bottom row.
    pub fn bottom(&self) -> u32 {
        self.y.saturating_add(self.height)
    }

    /// Pixels in the rectangle.
    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Is it non-empty and inside a frame of this size?
    pub fn is_inside(&self, size: Size) -> bool {
        self.width > 0
            && self.height > 0
            && u64::from(self.x) + u64::from(self.width) <= u64::from(size.width)
            && u64::from(self.y) + u64::from(self.height) <= u64::from(size.height)
    }

    /// Does it consist of whole cells of a frame of this size (cells at the right and bottom edge are cut)?
    pub fn is_whole_cells(&self, size: Size) -> bool {
        let aligned = |start: u32, end: u32, limit: u32| {
            start.is_multiple_of(CELL_PX) && (end.is_multiple_of(CELL_PX) || end == limit)
        };
        self.is_inside(size)
            && aligned(self.x, self.right(), size.width)
            && aligned(self.y, self.bottom(), size.height)
    }

    /// The common part of two rectangles, if any.
    pub fn intersection(&self, other: &Rect) -> Option<Rect> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let (right, bottom) = (
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        );
        (x < right && y < bottom).then(|| Rect {
            x,
            y,
            width: right - x,
            height: bottom - y,
        })
    }

    /// Grown by `margin` pixels on every side, cut at the frame's edge.
    pub fn grown(&self, margin: u32, size: Size) -> Rect {
        let (x, y) = (self.x.saturating_sub(margin), self.y.saturating_sub(margin));
        let right = self.right().saturating_add(margin).min(size.width);
        let bottom = self.bottom().saturating_add(margin).min(size.height);
        Rect {
            x,
            y,
            width: right - x,
            height: bottom - y,
        }
    }

    /// Columns of cells that it touches.
    pub fn cells_across(&self) -> u32 {
        self.right().div_ceil(CELL_PX) - self.x / CELL_PX
    }

    /// Rows of cells that it touches.
    pub fn cells_down(&self) -> u32 {
        self.bottom().div_ceil(CELL_PX) - self.y / CELL_PX
    }

    /// Cells that it touches.
    pub fn cell_count(&self) -> usize {
        self.cells_across() as usize * self.cells_down() as usize
    }

    /// The cells that it touches, row by row, each cut to the rectangle: the order of canonical bytes.
    pub fn cells(&self) -> impl Iterator<Item = (Cell, Rect)> + use<> {
        let whole = *self;
        let (first_column, first_row) = (whole.x / CELL_PX, whole.y / CELL_PX);
        let (columns, rows) = (whole.cells_across(), whole.cells_down());
        (first_row..first_row + rows).flat_map(move |row| {
            (first_column..first_column + columns).filter_map(move |column| {
                let cell = Cell { column, row };
                cell.square().intersection(&whole).map(|rect| (cell, rect))
            })
        })
    }
}

impl fmt::Display for Rect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}+{}+{}", self.width, self.height, self.x, self.y)
    }
}

/// A cell of a frame's fixed 8x8 lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Column of the lattice.
    pub column: u32,
    /// Row of the lattice.
    pub row: u32,
}

impl Cell {
    /// Its 8x8 square, not cut at the frame's edge.
    pub fn square(self) -> Rect {
        Rect {
            x: self.column * CELL_PX,
            y: self.row * CELL_PX,
            width: CELL_PX,
            height: CELL_PX,
        }
    }

    /// Its pixels in a frame of this size; none outside the frame.
    pub fn rect(self, size: Size) -> Option<Rect> {
        self.square().intersection(&size.rect())
    }
}

/// The division of a frame into tiles: a grid of equal squares of whole cells, cut at the right and bottom.
///
/// A tile's *core* is what it contributes to the frame; cores partition the frame. Its *rendered* rectangle
/// is the core and one more cell to the right and below (the overlap): each border between two tiles is thus
/// rendered by both, at about 6 % more work for 256 px tiles.
///
/// Where the samples of a frame are divided into ranges, each square is a tile in each range: tiles are numbered row by row
/// in the first range, and on in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TileGrid {
    /// The frame.
    pub size: Size,
    /// Side of a tile in cells.
    pub tile_cells: u32,
    /// Ranges of samples that are rendered each by itself; 1 where all are rendered at once.
    pub ranges: u32,
}

impl TileGrid {
    /// A grid whose tiles are `tile_px` wide, rounded up to whole cells; 0 means one tile a frame.
    pub fn new(size: Size, tile_px: u32) -> Self {
        let whole = size.width.max(size.height);
        let side = if tile_px == 0 {
            whole
        } else {
            tile_px.min(whole)
        };
        Self {
            size,
            tile_cells: side.div_ceil(CELL_PX).max(1),
            ranges: 1,
        }
    }

    /// The same squares in so many ranges of samples.
    pub fn in_ranges(self, ranges: u32) -> Self {
        Self {
            ranges: ranges.max(1),
            ..self
        }
    }

    fn tile_px(&self) -> u32 {
        self.tile_cells * CELL_PX
    }

    /// Tiles across.
    pub fn columns(&self) -> u32 {
        self.size.width.div_ceil(self.tile_px())
    }

    /// Tiles down.
    pub fn rows(&self) -> u32 {
        self.size.height.div_ceil(self.tile_px())
    }

    /// Squares that a frame is divided into: the tiles of each range.
    pub fn square_count(&self) -> u32 {
        self.columns() * self.rows()
    }

    /// Tiles in a frame.
    pub fn tile_count(&self) -> u32 {
        self.square_count() * self.ranges
    }

    /// Column and row of a tile.
    pub fn place(&self, index: u32) -> (u32, u32) {
        let square = index % self.square_count();
        (square % self.columns(), square / self.columns())
    }

    /// Which of the ranges of a frame's samples a tile is of; none where they are not divided.
    pub fn samples(&self, index: u32, all: u32) -> Option<SampleRange> {
        let range = (index / self.square_count()) as usize;
        match self.ranges {
            1 => None,
            ranges => SampleRange::strata(all, ranges).nth(range),
        }
    }

    /// The pixels that tile `index` contributes to the frame.
    ///
    /// # Panics
    /// When `index` is not below [`Self::tile_count`].
    pub fn core(&self, index: u32) -> Rect {
        assert!(
            index < self.tile_count(),
            "tile {index} of {}",
            self.tile_count()
        );
        let (column, row) = self.place(index);
        let (x, y) = (column * self.tile_px(), row * self.tile_px());
        Rect {
            x,
            y,
            width: self.tile_px().min(self.size.width - x),
            height: self.tile_px().min(self.size.height - y),
        }
    }

    /// The core of tile `index` and its overlap: what its worker renders and commits to.
    pub fn rendered(&self, index: u32) -> Rect {
        let core = self.core(index);
        Rect {
            width: (core.width + CELL_PX).min(self.size.width - core.x),
            height: (core.height + CELL_PX).min(self.size.height - core.y),
            ..core
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cores_partition_any_frame(width in 1u64..700, height in 1u64..700, tile in 0u32..300) {
            let size = Size::new(width, height).unwrap();
            let grid = TileGrid::new(size, tile);
            let mut covered = vec![0u8; size.area() as usize];
            for index in 0..grid.tile_count() {
                let core = grid.core(index);
                prop_assert!(core.is_whole_cells(size));
                prop_assert!(grid.rendered(index).is_whole_cells(size));
                for y in core.y..core.bottom() {
                    for x in core.x..core.right() {
                        covered[(y * size.width + x) as usize] += 1;
                    }
                }
            }
            prop_assert!(covered.iter().all(|&count| count == 1));
        }

        #[test]
        fn inner_borders_are_rendered_twice(width in 9u64..500, height in 9u64..500, tile in 8u32..100) {
            let grid = TileGrid::new(Size::new(width, height).unwrap(), tile);
            for index in 0..grid.tile_count() {
                let core = grid.core(index);
                if core.x > 0 {
                    prop_assert!(grid.rendered(index - 1).intersection(&core).is_some());
                }
                if core.y > 0 {
                    prop_assert!(grid.rendered(index - grid.columns()).intersection(&core).is_some());
                }
            }
        }

        #[test]
        fn cells_partition_a_rectangle(x in 0u32..50, y in 0u32..50, width in 1u32..70, height in 1u32..70) {
            let rect = Rect { x, y, width, height };
            prop_assert_eq!(rect.cells().map(|(_, part)| part.area()).sum::<u64>(), rect.area());
            prop_assert_eq!(rect.cells().count(), rect.cell_count());
        }

        #[test]
        fn sizes_print_and_parse_back(width in 1u64..4000, height in 1u64..4000) {
            let size = Size::new(width, height).unwrap();
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }
    }

    #[test]
    fn ranges_of_samples_repeat_the_squares() {
        let plain = TileGrid::new(Size::new(100, 70).unwrap(), 32);
        let grid = plain.in_ranges(3);
        assert_eq!((plain.tile_count(), grid.tile_count()), (12, 36));
        for index in 0..36 {
            assert_eq!(grid.core(index), plain.core(index % 12));
            assert_eq!(grid.rendered(index), plain.rendered(index % 12));
        }
        let range = |index| grid.samples(index, 10).map(|range| range.to_string());
        let ranges = [0, 11, 12, 24, 35].map(|index| range(index).unwrap());
        assert_eq!(ranges, ["0..3", "0..3", "3..6", "6..10", "6..10"]);
        assert_eq!(plain.samples(11, 10), None);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(matches!(
            "100000x100000".parse::<Size>(),
            Err(SizeError::Limits { .. })
        ));
        assert!(matches!(
            "0x5".parse::<Size>(),
            Err(SizeError::Limits { .. })
        ));
        assert!(matches!("640".parse::<Size>(), Err(SizeError::Form(_))));
        assert!(matches!(
            "99999999999999999999x1".parse::<Size>(),
            Err(SizeError::Form(_))
        ));
    }
}
