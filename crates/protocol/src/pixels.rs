//! Rendered pixels and their canonical bytes.
//!
//! Canonical bytes are what is hashed, committed to and sent: the rectangle's cells row by row; in a cell the
//! job's passes in their order; in a pass 8 rows of 8 pixels of RGBA f32, little endian. Pixels of an edge cell
//! that lie outside the rectangle are zeros. So one pass of one cell is exactly one BLAKE3 chunk of 1024 bytes,
//! and the plain blake3 hash of the whole is a Merkle root over cells.

use crate::{
    geometry::{CELL_PX, Rect},
    ids::Blake3Hash,
    job::Pass,
};
use serde::{Deserialize, Serialize};

/// Bytes of one pass of one cell.
pub const CELL_PASS_BYTES: usize = (CELL_PX * CELL_PX) as usize * 16;

/// A rectangle of a frame as an engine returns it: one plane a pass, rows from the top, four channels a pixel
/// (unused channels are zero).
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedRect {
    /// Where it lies in the frame.
    pub rect: Rect,
    /// A plane for each pass of the job, in the job's order, `rect.area()` pixels each.
    pub planes: Vec<(Pass, Vec<[f32; 4]>)>,
}

/// Why bytes are not the canonical form of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PixelsError {
    /// The length does not fit the rectangles and passes.
    #[error("{found} bytes of pixels where {expected} were due")]
    Length {
        /// Bytes due.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A value is infinite or not a number.
    #[error("pixel {x},{y} of pass {pass} is not finite")]
    NotFinite {
        /// Column in the frame.
        x: u32,
        /// Row in the frame.
        y: u32,
        /// The pass.
        pass: Pass,
    },
    /// A plane is missing or has the wrong number of pixels.
    #[error("a plane of {rect} has {found} pixels or the wrong pass")]
    Plane {
        /// The rectangle.
        rect: Rect,
        /// Pixels found.
        found: usize,
    },
}

/// Canonical bytes of rectangles of this many passes.
pub fn canonical_length(rects: &[Rect], passes: usize) -> u64 {
    rects
        .iter()
        .map(|rect| rect.cell_count() as u64)
        .sum::<u64>()
        * (passes * CELL_PASS_BYTES) as u64
}

impl RenderedRect {
    /// Appends the canonical bytes of this rectangle.
    ///
    /// # Errors
    /// [`PixelsError::Plane`] when the planes are not those of `passes`, each with one pixel a pixel of the rectangle.
    pub fn write_canonical(&self, passes: &[Pass], out: &mut Vec<u8>) -> Result<(), PixelsError> {
        let pixels = self.rect.area() as usize;
        let fits = self.planes.len() == passes.len()
            && self
                .planes
                .iter()
                .zip(passes)
                .all(|((found, plane), pass)| found == pass && plane.len() == pixels);
        if !fits {
            let found = self
                .planes
                .iter()
                .map(|(_, plane)| plane.len())
                .min()
                .unwrap_or(0);
            return Err(PixelsError::Plane {
                rect: self.rect,
                found,
            });
        }
        for (cell, part) in self.rect.cells() {
            let square = cell.square();
            for (_, plane) in &self.planes {
                let start = out.len();
                out.resize(start + CELL_PASS_BYTES, 0);
                for y in part.y..part.bottom() {
                    let from =
                        ((y - self.rect.y) * self.rect.width + part.x - self.rect.x) as usize;
                    let to = start + ((y - square.y) * CELL_PX + part.x - square.x) as usize * 16;
                    let row = &mut out[to..to + part.width as usize * 16];
                    for (bytes, pixel) in row.chunks_exact_mut(16).zip(&plane[from..]) {
                        for (channel, value) in bytes.chunks_exact_mut(4).zip(pixel) {
                            channel.copy_from_slice(&value.to_le_bytes());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one rectangle back from exactly its canonical bytes.
    ///
    /// # Errors
    /// A wrong length, or a value that is not finite.
    pub fn from_canonical(rect: Rect, passes: &[Pass], bytes: &[u8]) -> Result<Self, PixelsError> {
        check_length(rect, passes, bytes)?;
        let mut planes: Vec<(Pass, Vec<[f32; 4]>)> = passes
            .iter()
            .map(|&pass| (pass, vec![[0.0; 4]; rect.area() as usize]))
            .collect();
        let mut chunks = bytes.chunks_exact(CELL_PASS_BYTES);
        for (cell, part) in rect.cells() {
            let square = cell.square();
            for (pass, plane) in &mut planes {
                let Some(chunk) = chunks.next() else { break };
                for y in part.y..part.bottom() {
                    for x in part.x..part.right() {
                        let at = ((y - square.y) * CELL_PX + x - square.x) as usize * 16;
                        let mut pixel = [0.0; 4];
                        for (channel, value) in pixel.iter_mut().enumerate() {
                            let mut raw = [0; 4];
                            raw.copy_from_slice(&chunk[at + channel * 4..at + channel * 4 + 4]);
                            *value = f32::from_le_bytes(raw);
                        }
                        if !pixel.iter().all(|value| value.is_finite()) {
                            return Err(PixelsError::NotFinite { x, y, pass: *pass });
                        }
                        plane[((y - rect.y) * rect.width + x - rect.x) as usize] = pixel;
                    }
                }
            }
        }
        Ok(Self { rect, planes })
    }

    /// Would [`RenderedRect::from_canonical`] read these bytes? Reads them once and keeps nothing.
    ///
    /// # Errors
    /// As that.
    pub fn check_canonical(rect: Rect, passes: &[Pass], bytes: &[u8]) -> Result<(), PixelsError> {
        check_length(rect, passes, bytes)?;
        // A value is not finite when all bits of its exponent are set.
        const EXPONENT: u32 = 0x7f80_0000;
        const VALUES_OF_A_RUN: usize = 1024;
        let is_wild = |value: &[u8; 4]| u32::from_le_bytes(*value) & EXPONENT == EXPONENT;
        let (values, _) = bytes.as_chunks::<4>();
        // A run is looked at to its end, many values at a time.
        let has_wild = |run: &[[u8; 4]]| run.iter().fold(false, |any, value| any | is_wild(value));
        match !values.chunks(VALUES_OF_A_RUN).any(has_wild) {
            true => Ok(()),
            // Says where, unless it is padding.
            false => Self::from_canonical(rect, passes, bytes).map(|_| ()),
        }
    }
}

fn check_length(rect: Rect, passes: &[Pass], bytes: &[u8]) -> Result<(), PixelsError> {
    let (expected, found) = (canonical_length(&[rect], passes.len()), bytes.len() as u64);
    match found == expected {
        true => Ok(()),
        false => Err(PixelsError::Length { expected, found }),
    }
}

/// The canonical bytes of a whole task: its rectangles' bytes one after the other.
///
/// # Errors
/// As [`RenderedRect::write_canonical`].
pub fn task_bytes(rects: &[RenderedRect], passes: &[Pass]) -> Result<Vec<u8>, PixelsError> {
    let shapes: Vec<Rect> = rects.iter().map(|rendered| rendered.rect).collect();
    let mut bytes = Vec::with_capacity(canonical_length(&shapes, passes.len()) as usize);
    for rendered in rects {
        rendered.write_canonical(passes, &mut bytes)?;
    }
    Ok(bytes)
}

/// What pixels look like at first sight: grounds for a closer look, never for a verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Looks {
    /// Like a picture.
    #[default]
    Ordinary,
    /// All of one colour: sky perhaps, or nothing was rendered.
    OneColour,
    /// Much of it has the pink of missing textures.
    Pink,
}

/// Of so many pixels one may be pink in an ordinary picture.
const PINK_ONE_OF: usize = 20;

impl Looks {
    /// Judges canonical bytes by the first pixel of each cell in the first pass.
    pub fn of(bytes: &[u8], passes: usize) -> Self {
        let cells = bytes.chunks_exact(passes.max(1) * CELL_PASS_BYTES);
        let (mut first, mut is_plain) = (None, true);
        let (mut count, mut pink) = (0, 0);
        for cell in cells {
            let value = |at: usize| {
                f32::from_le_bytes([cell[at], cell[at + 1], cell[at + 2], cell[at + 3]])
            };
            let [red, green, blue] = [value(0), value(4), value(8)];
            let colour = *first.get_or_insert((red, green, blue));
            is_plain &= colour == (red, green, blue);
            count += 1;
            pink += usize::from(red > 0.05 && green < 0.02 * red && (red - blue).abs() < 0.1 * red);
        }
        match (pink * PINK_ONE_OF > count, is_plain && count > 1) {
            (true, _) => Self::Pink,
            (false, true) => Self::OneColour,
            (false, false) => Self::Ordinary,
        }
    }
}

/// The hash of each cell of a task (all passes together), rectangle after rectangle in canonical order.
pub fn cell_hashes(bytes: &[u8], passes: usize) -> Vec<Blake3Hash> {
    bytes
        .chunks(passes.max(1) * CELL_PASS_BYTES)
        .map(Blake3Hash::of)
        .collect()
}

/// The hashes of the cells at these places of the canonical order; none when one lies outside the bytes.
pub fn cell_hashes_at(bytes: &[u8], passes: usize, places: &[usize]) -> Option<Vec<Blake3Hash>> {
    let length = passes.max(1) * CELL_PASS_BYTES;
    let cell = |place: &usize| bytes.get(place * length..(place + 1) * length);
    places
        .iter()
        .map(|place| cell(place).map(Blake3Hash::of))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_and_pink_are_noticed() {
        let looks = |colour: &dyn Fn(usize) -> [f32; 4]| {
            let rect = Rect {
                x: 0,
                y: 0,
                width: 64,
                height: 32,
            };
            let plane = (0..rect.area() as usize).map(colour).collect();
            let planes = vec![(Pass::Combined, plane)];
            let bytes = task_bytes(&[RenderedRect { rect, planes }], &[Pass::Combined]);
            Looks::of(&bytes.unwrap(), 1)
        };
        let shade = |at: usize| at as f32 / 2048.0;
        assert_eq!(looks(&|_| [0.0, 0.0, 0.0, 1.0]), Looks::OneColour);
        assert_eq!(looks(&|at| [shade(at); 4]), Looks::Ordinary);
        let pink = |at| [shade(at) + 0.1, 0.0, shade(at) + 0.1, 1.0];
        assert_eq!(looks(&pink), Looks::Pink);
        assert_eq!(Looks::of(&[], 4), Looks::Ordinary);
    }

    fn gradient(rect: Rect) -> RenderedRect {
        let plane = |scale: f32| {
            (0..rect.area())
                .map(|i| [i as f32 * scale, 1.0, -0.5, scale])
                .collect::<Vec<_>>()
        };
        RenderedRect {
            rect,
            planes: vec![(Pass::Combined, plane(1.0)), (Pass::Depth, plane(2.0))],
        }
    }

    #[test]
    fn canonical_bytes_read_back_and_are_chunks() {
        let passes = [Pass::Combined, Pass::Depth];
        let rect = Rect {
            x: 8,
            y: 16,
            width: 21,
            height: 9,
        };
        let rendered = gradient(rect);
        let bytes = task_bytes(std::slice::from_ref(&rendered), &passes).unwrap();
        assert_eq!(bytes.len() as u64, canonical_length(&[rect], 2));
        assert_eq!(bytes.len(), 3 * 2 * 2 * CELL_PASS_BYTES);
        assert_eq!(
            RenderedRect::from_canonical(rect, &passes, &bytes),
            Ok(rendered)
        );
        let all = cell_hashes(&bytes, 2);
        assert_eq!(all.len(), 6);
        let some = cell_hashes_at(&bytes, 2, &[5, 0, 3]);
        assert_eq!(some, Some(vec![all[5], all[0], all[3]]));
        assert_eq!(cell_hashes_at(&bytes, 2, &[6]), None);
    }

    #[test]
    fn a_cell_has_the_same_bytes_in_every_rectangle_that_holds_it() {
        let (whole, cell) = (
            Rect {
                x: 0,
                y: 0,
                width: 24,
                height: 24,
            },
            Rect {
                x: 8,
                y: 8,
                width: 8,
                height: 8,
            },
        );
        let big = gradient(whole);
        let plane = |index: usize| {
            let (_, plane) = &big.planes[index];
            (0..64)
                .map(|i| plane[(8 + i / 8) * 24 + 8 + i % 8])
                .collect::<Vec<_>>()
        };
        let small = RenderedRect {
            rect: cell,
            planes: vec![(Pass::Combined, plane(0)), (Pass::Depth, plane(1))],
        };
        let passes = [Pass::Combined, Pass::Depth];
        let of =
            |rendered: RenderedRect| cell_hashes(&task_bytes(&[rendered], &passes).unwrap(), 2);
        assert_eq!(of(big)[4], of(small)[0]);
    }

    #[test]
    fn garbage_is_refused() {
        let rect = Rect {
            x: 0,
            y: 0,
            width: 8,
            height: 8,
        };
        let passes = [Pass::Combined];
        assert!(matches!(
            RenderedRect::from_canonical(rect, &passes, &[0; 7]),
            Err(PixelsError::Length { .. })
        ));
        let mut bytes = vec![0; CELL_PASS_BYTES];
        let check = |bytes: &[u8]| RenderedRect::check_canonical(rect, &passes, bytes);
        assert!(check(&bytes).is_ok());
        assert!(matches!(check(&[0; 7]), Err(PixelsError::Length { .. })));
        for not_finite in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            bytes[16..20].copy_from_slice(&not_finite.to_le_bytes());
            let expected = PixelsError::NotFinite {
                x: 1,
                y: 0,
                pass: Pass::Combined,
            };
            let read = RenderedRect::from_canonical(rect, &passes, &bytes);
            assert_eq!(read, Err(expected.clone()));
            assert_eq!(check(&bytes), Err(expected));
        }
        assert!(
            RenderedRect {
                rect,
                planes: vec![]
            }
            .write_canonical(&passes, &mut Vec::new())
            .is_err()
        );
    }
}
