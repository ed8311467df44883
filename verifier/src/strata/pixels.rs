//! Secret pixels: a few of every cell, to be rendered again with all their samples.

use super::{CELL_PIXELS, draw::Draw};
use protocol::{
    Blake3Hash,
    geometry::{CELL_PX, Cell},
};

const PIXELS_CONTEXT: &str = "open render farm 2026 secret pixels v1";

/// Positions (column, row) of `count` distinct secret pixels of a cell, at most all, drawn from the job's secret seed and
/// the tile's commitment. An order that fills the cell block by block, entered at a random pixel, is cut into `count`
/// parts as equal as whole pixels allow, and each part has one: with a `count` that divides 64 every pixel is as likely
/// as every other, and what covers a part is always hit.
///
/// Positions may lie outside a cell that the frame's edge cuts; then leave them out.
pub fn secret_pixels(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    cell: Cell,
    count: u32,
) -> Vec<(u32, u32)> {
    let count = count.clamp(1, CELL_PIXELS as u32);
    let mut draw = Draw::new(PIXELS_CONTEXT, secret, commitment, cell);
    // Turning the order by a random step and cutting it into equal parts leaves each pixel equally likely.
    let turn = draw.below(CELL_PIXELS as u32);
    let start = |part: u32| part * CELL_PIXELS as u32 / count;
    (0..count)
        .map(|part| start(part) + draw.below(start(part + 1) - start(part)))
        .map(|place| along_blocks((place + turn) % CELL_PIXELS as u32))
        .collect()
}

/// The pixel at a place of the order that fills 2x2, then 4x4 blocks before it goes on (Morton's).
fn along_blocks(place: u32) -> (u32, u32) {
    let even_bits = |bits: u32| bits & 1 | bits >> 1 & 2 | bits >> 2 & 4;
    let (column, row) = (even_bits(place), even_bits(place >> 1));
    debug_assert!(column < CELL_PX && row < CELL_PX);
    (column, row)
}
