//! Pieces of a blob and their proofs.
//!
//! A blob travels as pieces of 1 MiB, each with the hashes that tie its 16 KiB groups to the root of the
//! blob's blake3 tree (the bao encoding of that range). So sender and receiver hold a piece or two at a time
//! whatever the size of the blob, a transfer can start at any piece, and a wrong byte is found before
//! anything of its piece is written.

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
/// Most bytes of an encoded piece: its 63 inner nodes and those above it, 64 bytes each, with room to spare.
pub const PIECE_ENCODED_BYTES_MAX: usize = PIECE_BYTES as usize + 64 * 128;
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

fn chunks(piece: u64) -> ChunkRanges {
    let per_piece = PIECE_BYTES / CHUNK_BYTES;
    let start = piece * per_piece;
    ChunkRanges::from(ChunkNum(start)..ChunkNum(start + per_piece))
}

/// The bytes of a piece with their proof. Nothing is checked: the receiver does that.
pub fn encode(
    data: impl ReadAt + Size,
    outboard: impl Outboard,
    piece: u64,
) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::with_capacity(PIECE_ENCODED_BYTES_MAX);
    encode_ranges(data, outboard, &chunks(piece), &mut encoded).map_err(io::Error::other)?;
    Ok(encoded)
}

/// The bytes of piece `piece` of the blob `root` of `bytes`; none when `encoded` is anything else.
pub fn decode(root: Blake3Hash, bytes: u64, piece: u64, encoded: &[u8]) -> Option<Vec<u8>> {
    let start = piece * PIECE_BYTES;
    let length = bytes.checked_sub(start)?.min(PIECE_BYTES);
    decode_chunks(root, bytes, &chunks(piece), start..start + length, encoded)
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
mod tests {
    use super::*;
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
                let encoded = encode(&data[..], &outboard, piece).unwrap();
                assert!(encoded.len() <= PIECE_ENCODED_BYTES_MAX);
                decoded.extend(decode(root, bytes as u64, piece, &encoded).unwrap());
            }
            assert_eq!(decoded, data, "{bytes}");
        }
    }

    #[test]
    fn any_flipped_missing_or_added_byte_is_found() {
        let bytes = PIECE_BYTES as usize + 40_000;
        let data = blob(bytes);
        let root = Blake3Hash::of(&data);
        let outboard = PostOrderMemOutboard::create(&data, GROUP);
        let encoded = encode(&data[..], &outboard, 1).unwrap();
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
        let encoded = encode(&data[..], &outboard, 0).unwrap();
        for claimed in [0, 1, 49_999, 50_001, PIECE_BYTES, u64::MAX] {
            assert_eq!(decode(root, claimed, 0, &encoded), None, "{claimed}");
        }
        assert_eq!(decode(Blake3Hash::of(b"x"), 0, 0, &[]), None);
        assert_eq!(decode(root, 50_000, 1, &encoded), None);
    }
}
