//! Secret pixels: a few of every cell, to be rendered again with all their samples.

use super::{CELL_PIXELS, Challenge, draw::Draw};
use protocol::{
    Rect,
    geometry::{CELL_PX, Cell},
};

const PIXELS_CONTEXT: &str = "open render farm 2026 secret pixels v1";

impl Challenge {
    /// The secret pixels of a tile as (x, y) in the frame, cell by cell in canonical order: `count` of each whole cell,
    /// from 1 to 64; of a cell that the rectangle cuts, those that lie in it.
    ///
    /// An order that fills a cell block by block, entered at a random pixel, is cut into `count` parts as equal as whole
    /// pixels allow, and each part has one pixel: with a `count` that divides 64 every pixel is as likely as every other,
    /// and what covers a part is always hit.
    pub fn pixels(&self, tile: &Rect, count: u32) -> Vec<(u32, u32)> {
        let in_cell = |(cell, part): (Cell, Rect)| {
            let corner = cell.square();
            let places = self.places(cell, count).into_iter();
            let pixels = places.map(move |(column, row)| (corner.x + column, corner.y + row));
            pixels.filter(move |(x, y)| {
                (part.x..part.right()).contains(x) && (part.y..part.bottom()).contains(y)
            })
        };
        tile.cells().flat_map(in_cell).collect()
    }

    /// Column and row in the cell.
    fn places(&self, cell: Cell, count: u32) -> Vec<(u32, u32)> {
        let count = count.clamp(1, CELL_PIXELS as u32);
        let mut draw = Draw::new(PIXELS_CONTEXT, &self.0, cell);
        // Turning the order by a random step and cutting it into equal parts leaves each pixel equally likely.
        let turn = draw.below(CELL_PIXELS as u32);
        let start = |part: u32| part * CELL_PIXELS as u32 / count;
        (0..count)
            .map(|part| start(part) + draw.below(start(part + 1) - start(part)))
            .map(|place| along_blocks((place + turn) % CELL_PIXELS as u32))
            .collect()
    }
}

/// The pixel at a place of the order that fills 2x2, then 4x4 blocks before it goes on (Morton's).
fn along_blocks(place: u32) -> (u32, u32) {
    let even_bits = |bits: u32| bits & 1 | bits >> 1 & 2 | bits >> 2 & 4;
    let (column, row) = (even_bits(place), even_bits(place >> 1));
    debug_assert!(column < CELL_PX && row < CELL_PX);
    (column, row)
}
