//! Which chunks of a blob are asked for, and in which batches they travel.
//!
//! Both sides cut the ranges into the same batches, so that nothing has to be said of them: as many ranges as make up one
//! MiB, but not too many, because each comes with hashes of its own. Ranges of whole chunks (1 KiB) and not of groups
//! (16 KiB), because what lies between two places that changed is most of what need not travel.

use crate::piece::{CHUNK_BYTES, PIECE_BYTES};
use std::ops::Range;

/// Chunks of a blob, by their numbers.
pub type ChunkRange = Range<u64>;

/// Most ranges in one ask: 64 KiB.
pub const ASK_RANGES_MAX: usize = 4_096;
/// Most ranges in one batch.
const BATCH_RANGES_MAX: usize = 64;
/// Most chunks in one batch.
const BATCH_CHUNKS_MAX: u64 = PIECE_BYTES / CHUNK_BYTES;
/// Most bytes of an encoded batch. Beside its data it has one hash pair for each two of its chunks at most, and for each
/// of its ranges the pairs on the way down to both its ends, of which a tree of 2^64 bytes has fewer than 54.
pub const BATCH_ENCODED_BYTES_MAX: usize =
    PIECE_BYTES as usize + 64 * (BATCH_CHUNKS_MAX as usize + 2 * 54 * BATCH_RANGES_MAX);

/// Chunks of a blob of `bytes`; at least one.
fn chunk_count(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES).max(1)
}

/// Are these ranges of a blob of `bytes`: some, in order, none empty or beginning behind the end?
pub fn are_of(ranges: &[ChunkRange], bytes: u64) -> bool {
    let in_order = ranges.is_sorted_by(|a, b| a.end <= b.start);
    let inside = |range: &ChunkRange| range.start < range.end && range.start < chunk_count(bytes);
    !ranges.is_empty() && in_order && ranges.iter().all(inside)
}

/// The bytes of a blob of `bytes` that some of its chunks are.
pub fn byte_range(chunks: &ChunkRange, bytes: u64) -> Range<u64> {
    let place = |chunk: u64| chunk.saturating_mul(CHUNK_BYTES).min(bytes);
    place(chunks.start)..place(chunks.end)
}

/// The batches of ranges that [`are_of`] a blob.
pub struct Batches<R> {
    ranges: R,
    begun: Option<ChunkRange>,
    chunk_count: u64,
}

impl<R: Iterator<Item = ChunkRange>> Batches<R> {
    /// For a blob of `bytes`.
    pub fn new(ranges: impl IntoIterator<IntoIter = R>, bytes: u64) -> Self {
        Self {
            ranges: ranges.into_iter(),
            begun: None,
            chunk_count: chunk_count(bytes),
        }
    }
}

impl<R: Iterator<Item = ChunkRange>> Iterator for Batches<R> {
    type Item = Vec<ChunkRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut batch, mut room) = (Vec::new(), BATCH_CHUNKS_MAX);
        while room > 0 && batch.len() < BATCH_RANGES_MAX {
            let Some(range) = self.begun.take().or_else(|| self.ranges.next()) else {
                break;
            };
            let whole_end = range.end.min(self.chunk_count);
            let end = whole_end.min(range.start + room);
            self.begun = (end < whole_end).then_some(end..whole_end);
            room -= end - range.start;
            batch.push(range.start..end);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "one range is meant, not its numbers"
)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_a_mebibyte_or_so_many_ranges() {
        let all = |ranges: &[ChunkRange], bytes| -> Vec<Vec<ChunkRange>> {
            Batches::new(ranges.to_vec(), bytes).collect()
        };
        let whole = 0..u64::MAX;
        assert_eq!(all(std::slice::from_ref(&whole), 0), [[0..1]]);
        let pieces = all(&[whole], 2 * PIECE_BYTES + 1);
        assert_eq!(pieces, [[0..1024], [1024..2048], [2048..2049]]);
        let scattered = all(&[3..5, 1000..2500], 10 * PIECE_BYTES);
        assert_eq!(scattered, [vec![3..5, 1000..2022], vec![2022..2500]]);
        let many: Vec<_> = (0..100).map(|i| 2 * i..2 * i + 1).collect();
        let lengths: Vec<_> = all(&many, PIECE_BYTES).iter().map(Vec::len).collect();
        assert_eq!(lengths, [64, 36]);
    }

    #[test]
    fn ranges_that_are_none_of_the_blob_are_refused() {
        let bytes = 10 * CHUNK_BYTES + 1;
        assert!(are_of(&[0..3, 3..4, 10..u64::MAX], bytes));
        for (start, end) in [(4, 4), (4, 3), (11, 12), (u64::MAX, u64::MAX)] {
            assert!(!are_of(&[start..end], bytes), "{start}..{end}");
        }
        assert!(!are_of(&[], bytes));
        assert!(!are_of(&[5..6, 0..1], bytes));
        assert!(!are_of(&[0..6, 5..7], bytes));
    }
}
