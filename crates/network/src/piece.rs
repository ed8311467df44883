//! Pieces of a blob and their proofs.
//!
//! A whole blob travels as pieces of 1 MiB, each with the hashes that tie its 16 KiB groups to the root of the
//! blob's blake3 tree (the bao encoding of that range). So sender and receiver hold a piece or two at a time
//! whatever the size of the blob, a transfer can start at any piece, and a wrong byte is found before
//! anything of its piece is written. Parts of a blob travel as [`crate::batches`] of as much, of which this is one.

use crate::batches::{ChunkRange, byte_range};
use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    io::{
        BaoContentItem, Leaf,
        sync::{DecodeResponseIter, Outboard, ReadAt, Size, encode_ranges},
    },
};
use protocol::Blake3Hash;
use std::{io, ops::Range};

/// Bytes of a piece (the last one of a blob may be shorter, that of an empty blob is empty).
pub const PIECE_BYTES: u64 = 1 << 20;
/// Hashes are kept for groups of 2^4 blake3 chunks: 16 KiB.
const GROUP: BlockSize = BlockSize::from_chunk_log(4);
/// Bytes of a blake3 chunk.
pub const CHUNK_BYTES: u64 = 1024;

/// The tree over a blob of `bytes`.
pub fn tree(bytes: u64) -> BaoTree {
    BaoTree::new(bytes, GROUP)
}

/// Pieces of a blob of `bytes`; at least one.
pub fn count(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES).max(1)
}

/// The chunks of a piece.
fn chunks(piece: u64) -> ChunkRange {
    let per_piece = PIECE_BYTES / CHUNK_BYTES;
    let start = piece * per_piece;
    start..start + per_piece
}

/// The chunks from a piece to the end of whatever blob.
pub fn from(first_piece: u64) -> ChunkRange {
    chunks(first_piece).start..u64::MAX
}

fn of_batch(batch: &[ChunkRange]) -> ChunkRanges {
    batch.iter().fold(ChunkRanges::empty(), |all, range| {
        all | ChunkRanges::from(ChunkNum(range.start)..ChunkNum(range.end))
    })
}

/// The bytes of some chunks with their proof. Nothing is checked: the receiver does that.
pub fn encode(
    data: impl ReadAt + Size,
    outboard: impl Outboard,
    batch: &[ChunkRange],
) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    encode_ranges(data, outboard, &of_batch(batch), &mut encoded).map_err(io::Error::other)?;
    Ok(encoded)
}

/// The bytes of these chunks of the blob `root` of `bytes`, each stretch with its place; none when `encoded` is anything
/// else.
pub fn decode_batch(
    root: Blake3Hash,
    bytes: u64,
    batch: &[ChunkRange],
    encoded: &[u8],
) -> Option<Vec<(u64, Vec<u8>)>> {
    let ranges = of_batch(batch);
    let (mut stretches, mut rest) = (Vec::<(u64, Vec<u8>)>::new(), encoded);
    for item in DecodeResponseIter::new(root.0.into(), tree(bytes), &mut rest, &ranges) {
        let BaoContentItem::Leaf(Leaf { offset, data }) = item.ok()? else {
            continue;
        };
        match stretches.last_mut() {
            Some((start, bytes)) if *start + bytes.len() as u64 == offset => {
                bytes.extend_from_slice(&data);
            }
            _ => stretches.push((offset, data.to_vec())),
        }
    }
    let wanted = batch.iter().map(|range| byte_range(range, bytes));
    let wanted: u64 = wanted.map(|range| range.end - range.start).sum();
    let here = stretches.iter().map(|(_, bytes)| bytes.len() as u64);
    (rest.is_empty() && wanted == here.sum::<u64>()).then_some(stretches)
}

/// The bytes of piece `piece` of the blob `root` of `bytes`; none when `encoded` is anything else.
pub fn decode(root: Blake3Hash, bytes: u64, piece: u64, encoded: &[u8]) -> Option<Vec<u8>> {
    let start = piece * PIECE_BYTES;
    let length = bytes.checked_sub(start)?.min(PIECE_BYTES);
    let ranges = of_batch(&[chunks(piece)]);
    decode_chunks(root, bytes, &ranges, start..start + length, encoded)
}

/// The bytes of the chunks `ranges`, which are the bytes `span` of the blob; none when `encoded` is anything else.
pub fn decode_chunks(
    root: Blake3Hash,
    bytes: u64,
    ranges: &ChunkRanges,
    span: Range<u64>,
    encoded: &[u8],
) -> Option<Vec<u8>> {
    let length = span.end - span.start;
    let mut data = Vec::with_capacity(length as usize);
    let mut rest = encoded;
    for item in DecodeResponseIter::new(root.0.into(), tree(bytes), &mut rest, ranges) {
        match item.ok()? {
            BaoContentItem::Parent(_) => {}
            BaoContentItem::Leaf(Leaf { offset, data: leaf }) => {
                if offset != span.start + data.len() as u64 {
                    return None;
                }
                data.extend_from_slice(&leaf);
            }
        }
    }
    (rest.is_empty() && data.len() as u64 == length).then_some(data)
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "one range is meant, not its numbers"
)]
mod tests {
    use super::*;
    use crate::batches::{BATCH_ENCODED_BYTES_MAX, Batches};
    use bao_tree::io::outboard::PostOrderMemOutboard;

    fn blob(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| ((i / 7) ^ (i * 31)) as u8).collect()
    }

    #[test]
    fn pieces_of_every_boundary_size_decode_to_the_blob() {
        let piece = PIECE_BYTES as usize;
        for bytes in [
            0,
            1,
            1023,
            1024,
            1025,
            16_383,
            16_384,
            16_385,
            40_000,
            piece - 1,
            piece,
            piece + 1,
            3 * piece,
            3 * piece + 16_385,
        ] {
            let data = blob(bytes);
            let root = Blake3Hash::of(&data);
            let outboard = PostOrderMemOutboard::create(&data, GROUP);
            assert_eq!(Blake3Hash::from(outboard.root), root);
            let mut decoded = Vec::new();
            for piece in 0..count(bytes as u64) {
                let encoded = encode(&data[..], &outboard, &[chunks(piece)]).unwrap();
                assert!(encoded.len() <= BATCH_ENCODED_BYTES_MAX);
                decoded.extend(decode(root, bytes as u64, piece, &encoded).unwrap());
            }
            assert_eq!(decoded, data, "{bytes}");
        }
    }

    #[test]
    fn scattered_chunks_decode_to_the_bytes_of_their_places() {
        let bytes = 3 * PIECE_BYTES + 16_385;
        let data = blob(bytes as usize);
        let root = Blake3Hash::of(&data);
        let outboard = PostOrderMemOutboard::create(&data, GROUP);
        let every_other = (0..bytes / CHUNK_BYTES).step_by(2);
        let every_other: Vec<_> = every_other.map(|chunk| chunk..chunk + 1).collect();
        let some = vec![3..5, 17..18, 100..2500, 3087..u64::MAX];
        for ranges in [vec![0..u64::MAX], some, every_other] {
            let mut last = 0;
            for batch in Batches::new(ranges, bytes) {
                let encoded = encode(&data[..], &outboard, &batch).unwrap();
                assert!(encoded.len() <= BATCH_ENCODED_BYTES_MAX);
                for (place, stretch) in decode_batch(root, bytes, &batch, &encoded).unwrap() {
                    let end = place as usize + stretch.len();
                    assert!(data[place as usize..end] == stretch);
                    last = end as u64;
                }
                assert_eq!(byte_range(batch.last().unwrap(), bytes).end, last);
                for other in [vec![0..1], vec![9..10, 3087..3089]] {
                    assert!(
                        batch == other || decode_batch(root, bytes, &other, &encoded).is_none()
                    );
                }
            }
        }
    }

    #[test]
    fn any_flipped_missing_or_added_byte_is_found() {
        let bytes = PIECE_BYTES as usize + 40_000;
        let data = blob(bytes);
        let root = Blake3Hash::of(&data);
        let outboard = PostOrderMemOutboard::create(&data, GROUP);
        let encoded = encode(&data[..], &outboard, &[chunks(1)]).unwrap();
        let accepts = |encoded: &[u8]| decode(root, bytes as u64, 1, encoded).is_some();
        assert!(accepts(&encoded));
        for at in (0..encoded.len()).step_by(997) {
            let mut flipped = encoded.clone();
            flipped[at] ^= 4;
            assert!(!accepts(&flipped), "{at}");
        }
        assert!(!accepts(&encoded[..encoded.len() - 1]));
        assert!(!accepts(&[&encoded[..], &[0]].concat()));
        assert!(!accepts(&[]));
    }

    #[test]
    fn a_lie_about_the_length_is_found_at_the_last_piece() {
        let data = blob(50_000);
        let root = Blake3Hash::of(&data);
        let outboard = PostOrderMemOutboard::create(&data, GROUP);
        let encoded = encode(&data[..], &outboard, &[chunks(0)]).unwrap();
        for claimed in [0, 1, 49_999, 50_001, PIECE_BYTES, u64::MAX] {
            assert_eq!(decode(root, claimed, 0, &encoded), None, "{claimed}");
        }
        assert_eq!(decode(Blake3Hash::of(b"x"), 0, 0, &[]), None);
        assert_eq!(decode(root, 50_000, 1, &encoded), None);
    }
}
