//! Secret pixels: a few of every cell of a tile, drawn once its worker has committed to it, to be rendered again by
//! somebody else and compared bit for bit.
//!
//! 64 of them, one after the other, make up a packed cell: 8x8 pixels in canonical bytes, all passes, as if the packed
//! cells stood side by side in a rectangle of their own. So what is hashed, stored and proven of whole cells is that of
//! packed ones too.

use crate::{
    geometry::{CELL_PX, Rect},
    job::{Pass, SpecError},
    pixels::{CELL_PASS_BYTES, PixelsError, RenderedRect},
};
use serde::{Deserialize, Serialize};

/// Most secret pixels of each cell in one task.
pub const PER_CELL_MAX: u8 = 8;
/// Pixels of a packed cell.
pub const PACKED_PIXELS: usize = (CELL_PX * CELL_PX) as usize;

const CONTEXT: &str = "open render farm 2026 secret pixels v2";
const PIXEL_BYTES: usize = 16;

/// Which pixels of a rectangle a task renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SecretPixels {
    /// What the draw follows from. Unpredictable for the worker of the tile, and nothing follows from it about others.
    pub challenge: [u8; 32],
    /// Pixels of each cell, from 1 to [`PER_CELL_MAX`]; of a cell that the frame cuts to fewer, all.
    pub per_cell: u8,
    /// Only the pixels of this packed cell, if given.
    pub packed: Option<u32>,
}

/// A pixel that was drawn: its cell's number in canonical order, and its column and row in the cell.
#[derive(Debug, Clone, Copy)]
struct Place {
    cell: usize,
    column: u32,
    row: u32,
}

impl SecretPixels {
    /// Checks everything a stranger may have set wrongly; `rect` is whole cells of the frame.
    ///
    /// # Errors
    /// Says which value is outside its limit.
    pub fn check(&self, rect: &Rect) -> Result<(), SpecError> {
        if self.per_cell == 0 || self.per_cell > PER_CELL_MAX {
            let count = self.per_cell;
            return Err(SpecError(format!(
                "{count} pixels of each cell: from 1 to {PER_CELL_MAX} are allowed"
            )));
        }
        match self.packed {
            Some(packed) if u64::from(packed) >= self.packed_in(rect) => Err(SpecError(format!(
                "packed cell {packed} where {rect} has {}",
                self.packed_in(rect)
            ))),
            _ => Ok(()),
        }
    }

    /// The same pixels, of one packed cell only.
    pub fn only(self, packed: u32) -> Self {
        Self {
            packed: Some(packed),
            ..self
        }
    }

    /// All that are drawn in a rectangle, whatever `packed` says.
    fn drawn_in(&self, rect: &Rect) -> u64 {
        let each = u64::from(self.per_cell);
        let corner = u64::from(rect.width % CELL_PX) * u64::from(rect.height % CELL_PX);
        // Only a cell that is cut on two sides can have fewer pixels than are drawn of each.
        let missing = match corner {
            0 => 0,
            area => each.saturating_sub(area),
        };
        rect.cell_count() as u64 * each - missing
    }

    fn packed_in(&self, rect: &Rect) -> u64 {
        self.drawn_in(rect).div_ceil(PACKED_PIXELS as u64)
    }

    /// Pixels that the task renders.
    pub fn count(&self, rect: &Rect) -> u64 {
        let all = self.drawn_in(rect);
        match self.packed {
            None => all,
            Some(packed) => {
                let before = u64::from(packed) * PACKED_PIXELS as u64;
                all.saturating_sub(before).min(PACKED_PIXELS as u64)
            }
        }
    }

    /// Packed cells that the task delivers.
    pub fn packed_count(&self, rect: &Rect) -> usize {
        self.count(rect).div_ceil(PACKED_PIXELS as u64) as usize
    }

    /// The packed cells side by side: the rectangle whose canonical bytes the task delivers.
    pub fn packed_rect(&self, rect: &Rect) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width: self.packed_count(rect) as u32 * CELL_PX,
            height: CELL_PX,
        }
    }

    /// The pixels as rectangles of one pixel, cell by cell in canonical order and, within each, in the order drawn.
    pub fn rects(&self, rect: &Rect) -> Vec<Rect> {
        let mut rects = Vec::with_capacity(self.count(rect) as usize);
        let across = rect.cells_across().max(1) as usize;
        self.each(rect, |place| {
            rects.push(Rect {
                x: rect.x + (place.cell % across) as u32 * CELL_PX + place.column,
                y: rect.y + (place.cell / across) as u32 * CELL_PX + place.row,
                width: 1,
                height: 1,
            });
        });
        rects
    }

    /// Visits the task's pixels in their order.
    ///
    /// Of each cell, an order of its pixels is entered at a random place and cut into as many parts of about equal size as
    /// pixels are drawn; each part has one. So every pixel is about as likely as every other (the bias is a thousandth at
    /// most), and in a whole cell, whose order fills it block by block, what covers a part is always hit.
    fn each(&self, rect: &Rect, mut visit: impl FnMut(Place)) {
        let mut draw = Draw::new(&self.challenge);
        let per_cell = u32::from(self.per_cell.clamp(1, PER_CELL_MAX));
        let first = u64::from(self.packed.unwrap_or(0)) * PACKED_PIXELS as u64;
        let wanted = first..first + self.count(rect);
        let across = rect.cells_across();
        let (mut index, mut cell) = (0, 0);
        // By arithmetic, not by `Rect::cells`: requestors draw tens of thousands of pixels for a tile.
        for line in 0..rect.cells_down() {
            let height = CELL_PX.min(rect.height - line * CELL_PX);
            for stack in 0..across {
                let width = CELL_PX.min(rect.width - stack * CELL_PX);
                let area = width * height;
                draw.pixels(per_cell.min(area), area, |at| {
                    if wanted.contains(&index) {
                        let (column, row) = match area as usize == PACKED_PIXELS {
                            true => along_blocks(at),
                            false => (at % width, at / width),
                        };
                        visit(Place { cell, column, row });
                    }
                    index += 1;
                });
                cell += 1;
            }
            if index >= wanted.end {
                return;
            }
        }
    }

    /// The canonical bytes of the task from its pixels, rendered one by one ([`SecretPixels::rects`]).
    ///
    /// # Errors
    /// [`PixelsError::Plane`] when the pixels are not those of the task, or not in `passes`.
    pub fn pack(
        &self,
        rect: &Rect,
        passes: &[Pass],
        rendered: &[RenderedRect],
    ) -> Result<Vec<u8>, PixelsError> {
        let mut out = self.zeros(rect, passes.len());
        let due = self.rects(rect);
        let wrong = |rect: Rect, found: usize| PixelsError::Plane { rect, found };
        if due.len() != rendered.len() {
            return Err(wrong(*rect, rendered.len()));
        }
        for (index, (pixel, rendered)) in due.iter().zip(rendered).enumerate() {
            let fits = rendered.rect == *pixel && rendered.planes.len() == passes.len();
            for (number, (pass, plane)) in rendered.planes.iter().enumerate() {
                let (true, [value]) = (fits && passes[number] == *pass, plane.as_slice()) else {
                    return Err(wrong(*pixel, plane.len()));
                };
                let at = packed_at(index, number, passes.len());
                for (bytes, channel) in out[at..].chunks_exact_mut(4).zip(value) {
                    bytes.copy_from_slice(&channel.to_le_bytes());
                }
            }
            if !fits {
                return Err(wrong(*pixel, 0));
            }
        }
        Ok(out)
    }

    /// The canonical bytes of the task from those of the whole rectangle; none when these are too short.
    pub fn extract(&self, rect: &Rect, passes: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let cell_bytes = passes * CELL_PASS_BYTES;
        let whole = bytes.get(..rect.cell_count() * cell_bytes)?;
        let mut out = self.zeros(rect, passes);
        let mut index = 0;
        let (from, _) = whole.as_chunks::<PIXEL_BYTES>();
        let (to, _) = out.as_chunks_mut::<PIXEL_BYTES>();
        self.each(rect, |place| {
            let pixel = (place.row * CELL_PX + place.column) as usize;
            let packed = index / PACKED_PIXELS * passes * PACKED_PIXELS + index % PACKED_PIXELS;
            for pass in 0..passes {
                let at = (place.cell * passes + pass) * PACKED_PIXELS + pixel;
                to[packed + pass * PACKED_PIXELS] = from[at];
            }
            index += 1;
        });
        Some(out)
    }

    fn zeros(&self, rect: &Rect, passes: usize) -> Vec<u8> {
        vec![0; self.packed_count(rect) * passes * CELL_PASS_BYTES]
    }

    /// The places of the task's pixels: the number of each pixel's cell in the rectangle's canonical order, and the pixel's in
    /// the cell, row by row.
    pub fn places(&self, rect: &Rect) -> Vec<(usize, u8)> {
        let mut places = Vec::with_capacity(self.count(rect) as usize);
        self.each(rect, |place| {
            places.push((place.cell, (place.row * CELL_PX + place.column) as u8));
        });
        places
    }

    /// Where two deliveries of this task differ: the first packed cell, the frame's cell that its first wrong pixel lies in,
    /// and on how many cells of the frame. None when they are alike.
    pub fn difference(
        &self,
        rect: &Rect,
        passes: usize,
        left: &[u8],
        right: &[u8],
    ) -> Option<PixelsDifference> {
        let same = |index: usize| {
            (0..passes).all(|pass| {
                let at = packed_at(index, pass, passes);
                left.get(at..at + PIXEL_BYTES) == right.get(at..at + PIXEL_BYTES)
            })
        };
        self.differing(rect, |index| !same(index))
    }

    /// The same for any deliveries of which it is known on which of the task's pixels they differ.
    pub fn differing(
        &self,
        rect: &Rect,
        mut differs: impl FnMut(usize) -> bool,
    ) -> Option<PixelsDifference> {
        let mut found: Option<(usize, usize, u32, usize)> = None;
        for (index, (cell, _)) in self.places(rect).into_iter().enumerate() {
            if differs(index) {
                found = Some(match found {
                    None => (index, cell, 1, cell),
                    Some((first, first_cell, cells, last)) => {
                        (first, first_cell, cells + u32::from(last != cell), cell)
                    }
                });
            }
        }
        let (first, cell, cells, _) = found?;
        let (_, part) = rect.cells().nth(cell)?;
        Some(PixelsDifference {
            packed: (first / PACKED_PIXELS) as u32 + self.packed.unwrap_or(0),
            cell: part,
            cells,
        })
    }
}

/// Where two deliveries of secret pixels differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelsDifference {
    /// The first packed cell on which they do.
    pub packed: u32,
    /// The cell of the frame with the first pixel on which they do.
    pub cell: Rect,
    /// On how many cells of the frame they do.
    pub cells: u32,
}

/// Where the pixel of this number stands in the bytes of packed cells.
fn packed_at(index: usize, pass: usize, passes: usize) -> usize {
    (index / PACKED_PIXELS * passes + pass) * CELL_PASS_BYTES + index % PACKED_PIXELS * PIXEL_BYTES
}

/// The pixel at a place of the order that fills 2x2, then 4x4 blocks before it goes on (Morton's).
fn along_blocks(place: u32) -> (u32, u32) {
    let even_bits = |bits: u32| bits & 1 | bits >> 1 & 2 | bits >> 2 & 4;
    (even_bits(place), even_bits(place >> 1))
}

/// Random numbers that follow from a challenge, in their order.
struct Draw {
    stream: blake3::OutputReader,
    bytes: [u8; Draw::BYTES],
    used: usize,
}

impl Draw {
    /// Bytes of the stream taken at a time.
    const BYTES: usize = 1024;

    fn new(challenge: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(challenge);
        Self {
            stream: hasher.finalize_xof(),
            bytes: [0; Self::BYTES],
            used: Self::BYTES,
        }
    }

    /// Visits `count` of `area` pixels of a cell, by their places in its order.
    fn pixels(&mut self, count: u32, area: u32, mut visit: impl FnMut(u32)) {
        if count == 1 {
            return visit(self.below(area));
        }
        let turn = self.below(area);
        for number in 0..count {
            let (start, end) = (number * area / count, (number + 1) * area / count);
            visit((start + self.below(end - start) + turn) % area);
        }
    }

    /// A number below `end`, which is at most 64: the bias is a thousandth at most.
    fn below(&mut self, end: u32) -> u32 {
        if self.used == Self::BYTES {
            self.stream.fill(&mut self.bytes);
            self.used = 0;
        }
        let number = u16::from_le_bytes([self.bytes[self.used], self.bytes[self.used + 1]]);
        self.used += 2;
        (u32::from(number) * end) >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PASSES: [Pass; 2] = [Pass::Combined, Pass::Depth];
    /// 4 x 3 cells, cut to 3 and 2 pixels on the right and below.
    const CUT: Rect = Rect {
        x: 16,
        y: 8,
        width: 27,
        height: 18,
    };

    fn drawn(number: u8, per_cell: u8) -> SecretPixels {
        SecretPixels {
            challenge: [number; 32],
            per_cell,
            packed: None,
        }
    }

    #[test]
    fn each_cell_has_its_pixels_inside_the_rectangle() {
        for per_cell in 1..=PER_CELL_MAX {
            let pixels = drawn(per_cell, per_cell);
            assert_eq!(pixels.check(&CUT), Ok(()));
            let rects = pixels.rects(&CUT);
            assert_eq!(rects.len() as u64, pixels.count(&CUT));
            let distinct: BTreeSet<Rect> = rects.iter().copied().collect();
            assert_eq!(distinct.len(), rects.len());
            for (_, part) in CUT.cells() {
                let inside = rects
                    .iter()
                    .filter(|pixel| part.intersection(pixel) == Some(**pixel));
                assert_eq!(inside.count() as u64, u64::from(per_cell).min(part.area()));
            }
        }
        assert!(drawn(1, 0).check(&CUT).is_err());
        assert!(drawn(1, PER_CELL_MAX + 1).check(&CUT).is_err());
        assert!(drawn(1, 8).only(1).check(&CUT).is_ok());
        assert!(drawn(1, 8).only(2).check(&CUT).is_err());
    }

    #[test]
    fn every_pixel_of_a_cell_is_about_equally_likely() {
        for (width, height, per_cell) in [(8, 8, 1), (8, 8, 3), (3, 8, 1), (3, 2, 4)] {
            let rect = Rect {
                x: 0,
                y: 0,
                width,
                height,
            };
            let mut hits = vec![0u32; rect.area() as usize];
            let draws = 300 * rect.area() as u32;
            for number in 0..draws {
                let challenge = *blake3::hash(&number.to_le_bytes()).as_bytes();
                for pixel in (SecretPixels {
                    challenge,
                    ..drawn(0, per_cell)
                })
                .rects(&rect)
                {
                    hits[(pixel.y * width + pixel.x) as usize] += 1;
                }
            }
            let expected = 300.0 * f64::from(per_cell);
            // Six standard deviations.
            let most = 6.0 * expected.sqrt();
            assert!(
                hits.iter()
                    .all(|hit| (f64::from(*hit) - expected).abs() < most),
                "{hits:?}"
            );
        }
    }

    fn shade(x: u32, y: u32) -> [f32; 4] {
        [x as f32, y as f32, (x * y) as f32, 1.0]
    }

    fn rendered(rect: Rect) -> RenderedRect {
        let places =
            (rect.y..rect.bottom()).flat_map(|y| (rect.x..rect.right()).map(move |x| (x, y)));
        let plane: Vec<[f32; 4]> = places.map(|(x, y)| shade(x, y)).collect();
        let planes = PASSES.map(|pass| (pass, plane.clone())).to_vec();
        RenderedRect { rect, planes }
    }

    #[test]
    fn what_is_rendered_alone_and_what_is_taken_from_the_tile_are_the_same_bytes() {
        let mut tile = Vec::new();
        rendered(CUT).write_canonical(&PASSES, &mut tile).unwrap();
        for per_cell in [1, 5, 8] {
            let pixels = drawn(7, per_cell);
            let all = pixels.extract(&CUT, 2, &tile).unwrap();
            let alone: Vec<RenderedRect> = pixels.rects(&CUT).into_iter().map(rendered).collect();
            assert_eq!(pixels.pack(&CUT, &PASSES, &alone).unwrap(), all);
            let packed_rect = pixels.packed_rect(&CUT);
            assert!(RenderedRect::check_canonical(packed_rect, &PASSES, &all).is_ok());
            assert!(pixels.pack(&CUT, &PASSES, &alone[1..]).is_err());
            let mut parts = Vec::new();
            for packed in 0..pixels.packed_count(&CUT) as u32 {
                let part = pixels.only(packed);
                let alone: Vec<RenderedRect> = part.rects(&CUT).into_iter().map(rendered).collect();
                let bytes = part.extract(&CUT, 2, &tile).unwrap();
                assert_eq!(part.pack(&CUT, &PASSES, &alone).unwrap(), bytes);
                parts.extend(bytes);
            }
            assert_eq!(parts, all);
            let hashes = crate::pixels::cell_hashes(&all, 2);
            assert_eq!(hashes.len(), pixels.packed_count(&CUT));
        }
        assert_eq!(drawn(7, 1).extract(&CUT, 2, &tile[1..]), None);
    }

    #[test]
    fn differences_are_found_by_packed_cell_and_cell() {
        let pixels = drawn(3, 8);
        let mut tile = Vec::new();
        rendered(CUT).write_canonical(&PASSES, &mut tile).unwrap();
        let left = pixels.extract(&CUT, 2, &tile).unwrap();
        assert_eq!(pixels.difference(&CUT, 2, &left, &left), None);
        // The last two of twelve cells are wrong.
        let cell = 2 * CELL_PASS_BYTES;
        tile[10 * cell..].iter_mut().for_each(|byte| *byte ^= 1);
        let right = pixels.extract(&CUT, 2, &tile).unwrap();
        let found = pixels.difference(&CUT, 2, &left, &right).unwrap();
        assert_eq!((found.packed, found.cells), (1, 2));
        assert_eq!(Some(found.cell), CUT.cells().nth(10).map(|(_, part)| part));
        let only = pixels.only(1);
        let cut = |bytes: &[u8]| bytes[cell..].to_vec();
        assert_eq!(
            only.difference(&CUT, 2, &cut(&left), &cut(&right)),
            Some(found)
        );
    }
}
