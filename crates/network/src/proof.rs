//! Proofs of a few bytes of a blob for somebody who does not have it.
//!
//! A proof is the bao encoding of the chunks that hold the bytes: the chunks and the hashes that tie them to the root of
//! the blob's blake3 tree. [`crate::BlobStore::proof`] makes one, [`verify_proof`] needs the root and the length alone.

use crate::piece::{CHUNK_BYTES, decode_chunks};
use bao_tree::{
    ChunkNum, ChunkRanges,
    io::sync::{Outboard, ReadAt, Size, encode_ranges},
};
use protocol::Blake3Hash;
use std::{io, ops::Range};

/// Most bytes that one proof covers.
pub const PROVEN_BYTES_MAX: u64 = 1 << 20;

/// Why a proof shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No bytes, bytes behind the end, or too many.
    #[error(
        "bytes {start} to {end} of a blob of {blob_bytes}: 1 to {PROVEN_BYTES_MAX} bytes inside it can be proven"
    )]
    Range {
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Length of the blob.
        blob_bytes: u64,
    },
    /// It is no proof of these bytes under this root.
    #[error("the bytes are not proven to be those of blob {root}")]
    Wrong {
        /// The blob.
        root: Blake3Hash,
    },
}

/// The chunks that hold the bytes `range`.
pub fn chunks(blob_bytes: u64, range: &Range<u64>) -> Result<ChunkRanges, ProofError> {
    let fits = range.start < range.end
        && range.end <= blob_bytes
        && range.end - range.start <= PROVEN_BYTES_MAX;
    match fits {
        true => Ok(ChunkRanges::from(
            ChunkNum(range.start / CHUNK_BYTES)..ChunkNum(range.end.div_ceil(CHUNK_BYTES)),
        )),
        false => Err(ProofError::Range {
            start: range.start,
            end: range.end,
            blob_bytes,
        }),
    }
}

/// Chunks with their hashes. Nothing is checked.
pub fn encode(
    data: impl ReadAt + Size,
    outboard: impl Outboard,
    chunks: &ChunkRanges,
) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    encode_ranges(data, outboard, chunks, &mut encoded).map_err(io::Error::other)?;
    Ok(encoded)
}

/// The bytes `range` of the blob `root` of `blob_bytes`, if `proof` proves them.
///
/// # Errors
/// An empty, outlying or too long range; a proof of anything else, too short or too long.
pub fn verify_proof(
    root: Blake3Hash,
    blob_bytes: u64,
    range: Range<u64>,
    proof: &[u8],
) -> Result<Vec<u8>, ProofError> {
    let chunks = chunks(blob_bytes, &range)?;
    let start = range.start / CHUNK_BYTES * CHUNK_BYTES;
    let end = range
        .end
        .checked_next_multiple_of(CHUNK_BYTES)
        .map_or(blob_bytes, |end| end.min(blob_bytes));
    let wrong = ProofError::Wrong { root };
    let data = decode_chunks(root, blob_bytes, &chunks, start..end, proof).ok_or(wrong.clone())?;
    let (from, to) = ((range.start - start) as usize, (range.end - start) as usize);
    Ok(data.get(from..to).ok_or(wrong)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobStore, StoreError, piece::PIECE_BYTES};

    fn blob(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| ((i / 7) ^ (i * 31)) as u8).collect()
    }

    #[test]
    fn any_bytes_of_a_blob_of_any_size_are_proven() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        for bytes in [1, 1024, 4096, 16_384, 40_000, PIECE_BYTES + 17_000] {
            let data = blob(bytes as usize);
            let root = store.add_bytes(&data).unwrap();
            for range in [
                0..1,
                0..bytes.min(1024),
                bytes / 3..bytes / 3 + 1,
                bytes / 2..bytes.min(bytes / 2 + 4096),
                bytes.saturating_sub(20_000)..bytes,
            ] {
                let proof = store.proof(root, range.clone()).unwrap();
                let part = &data[range.start as usize..range.end as usize];
                let proven = verify_proof(root, bytes, range.clone(), &proof);
                assert_eq!(proven.as_deref(), Ok(part), "{range:?} of {bytes}");
            }
        }
    }

    #[test]
    fn a_proof_of_a_chunk_is_a_chunk_and_a_pair_of_hashes_a_level() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let root = store.add_bytes(&blob(1 << 20)).unwrap();
        assert_eq!(store.proof(root, 5120..6144).unwrap().len(), 1024 + 10 * 64);
    }

    #[test]
    fn a_proof_of_other_bytes_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let data = blob(100_000);
        let root = store.add_bytes(&data).unwrap();
        let (bytes, range) = (100_000, 30_720..34_816);
        let proof = store.proof(root, range.clone()).unwrap();
        let wrong = |root| Err(ProofError::Wrong { root });
        for at in (0..proof.len()).step_by(101) {
            let mut flipped = proof.clone();
            flipped[at] ^= 4;
            let proven = verify_proof(root, bytes, range.clone(), &flipped);
            assert_eq!(proven, wrong(root), "{at}");
        }
        for cut in [0, 1, proof.len() - 1] {
            let proven = verify_proof(root, bytes, range.clone(), &proof[..cut]);
            assert_eq!(proven, wrong(root), "{cut}");
        }
        let longer = [&proof[..], &[0]].concat();
        assert_eq!(
            verify_proof(root, bytes, range.clone(), &longer),
            wrong(root)
        );
        let elsewhere = verify_proof(root, bytes, 34_816..38_912, &proof);
        assert_eq!(elsewhere, wrong(root));
        let other = Blake3Hash::of(b"x");
        assert_eq!(verify_proof(other, bytes, range, &proof), wrong(other));
    }

    #[test]
    fn ranges_that_are_empty_outside_or_too_long_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let root = store.add_bytes(&blob(5000)).unwrap();
        #[expect(clippy::reversed_empty_ranges, reason = "what a stranger may send")]
        let ranges = [0..0, 9..3, 4999..5001, u64::MAX - 1..u64::MAX];
        for range in ranges {
            let proven = verify_proof(root, 5000, range.clone(), &[]);
            assert!(matches!(proven, Err(ProofError::Range { .. })), "{range:?}");
            let made = store.proof(root, range);
            assert!(matches!(made, Err(StoreError::Io { .. })));
        }
        let proven = verify_proof(root, u64::MAX, 0..PROVEN_BYTES_MAX + 1, &[]);
        assert!(matches!(proven, Err(ProofError::Range { .. })));
        assert!(verify_proof(root, u64::MAX, u64::MAX - 1..u64::MAX, &[1; 99]).is_err());
    }

    #[test]
    fn a_blob_that_was_damaged_on_disk_proves_nothing_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let mut data = blob(2 << 20);
        let root = store.add_bytes(&data).unwrap();
        data[70_000] ^= 1;
        std::fs::write(store.path(root), &data).unwrap();
        assert!(matches!(
            store.proof(root, 69_632..70_656),
            Err(StoreError::Damaged { .. })
        ));
        assert!(!store.contains(root));
    }
}
