//! Segments: how a peer that has an earlier version of a file finds out what of the new one it has already.
//!
//! A file is cut where its content says so, so that a stretch that did not change is the same segment in both versions,
//! wherever it lies. The requestor sends the list of a file's segments as a blob of its own; the provider cuts the files
//! that it has in the same way, copies what it finds, and fetches the rest. A list is a hint and nothing else: it decides
//! how many bytes travel, the hash of the file decides what the file is.
//!
//! A list is 18 bytes a segment: its length less one (u16, little endian) and the beginning of its blake3 hash.

use crate::{
    ids::Blake3Hash,
    job::SpecError,
    limits::{FILE_SEGMENTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN},
};
use serde::{Deserialize, Serialize};

/// Bytes of the hash of a segment: two that differ by chance have the same one in 2^64 lists of a large file.
const HASH_BYTES: usize = 16;
/// Bytes of a segment in a list.
const ENTRY_BYTES: usize = 2 + HASH_BYTES;

/// The beginning of the blake3 hash of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentHash([u8; HASH_BYTES]);

impl SegmentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&Blake3Hash::of(bytes).0[..HASH_BYTES]);
        Self(hash)
    }
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its length.
    pub bytes: u32,
    /// What it holds.
    pub hash: SegmentHash,
}

/// All segments of a file, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentList(Vec<Segment>);

/// A file of a bundle and where the list of its segments is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segmented {
    /// The file.
    pub file: Blake3Hash,
    /// The list: a blob as well.
    pub list: Blake3Hash,
    /// How many segments it lists.
    pub segments: u32,
}

impl Segmented {
    /// Bytes of a segment in a list.
    pub const ENTRY_BYTES: u64 = ENTRY_BYTES as u64;

    /// Bytes of the list.
    pub fn list_bytes(&self) -> u64 {
        u64::from(self.segments) * Self::ENTRY_BYTES
    }
}

fn malformed(why: impl std::fmt::Display) -> SpecError {
    SpecError(format!("a list of segments is malformed: {why}"))
}

impl SegmentList {
    /// The list of these segments, which are those of a file of `file_bytes`.
    ///
    /// # Errors
    /// Says which rule they break: too many, too short, too long, or not as long together as the file.
    pub fn new(segments: Vec<Segment>, file_bytes: u64) -> Result<Self, SpecError> {
        if segments.len() > FILE_SEGMENTS_MAX as usize {
            return Err(malformed(format!("{} segments", segments.len())));
        }
        let last = segments.len().saturating_sub(1);
        let mut total = 0;
        for (index, segment) in segments.iter().enumerate() {
            let least = if index == last { 1 } else { SEGMENT_BYTES_MIN };
            if !(least..=SEGMENT_BYTES_MAX).contains(&segment.bytes) {
                return Err(malformed(format!("a segment of {} bytes", segment.bytes)));
            }
            total += u64::from(segment.bytes);
        }
        match total == file_bytes {
            true => Ok(Self(segments)),
            false => Err(malformed(format!("{total} bytes of {file_bytes}"))),
        }
    }

    /// Reads what [`SegmentList::encode`] wrote, for a file of `file_bytes`.
    ///
    /// # Errors
    /// For whatever is no list of that file's segments, as far as lengths tell.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, SpecError> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || entries.len() > FILE_SEGMENTS_MAX as usize {
            return Err(malformed(format!("{} bytes", bytes.len())));
        }
        let segment = |[low, high, hash @ ..]: &[u8; ENTRY_BYTES]| Segment {
            bytes: u32::from(u16::from_le_bytes([*low, *high])) + 1,
            hash: SegmentHash(*hash),
        };
        Self::new(entries.iter().map(segment).collect(), file_bytes)
    }

    /// The bytes of the list.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY_BYTES);
        for segment in &self.0 {
            // From 1 to 65,536, as `new` has seen to.
            let less_one = segment.bytes.wrapping_sub(1) as u16;
            bytes.extend_from_slice(&less_one.to_le_bytes());
            bytes.extend_from_slice(&segment.hash.0);
        }
        bytes
    }

    /// The segments in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(lengths: &[u32]) -> Vec<Segment> {
        let segment = |(index, bytes): (usize, &u32)| Segment {
            bytes: *bytes,
            hash: SegmentHash::of(&index.to_le_bytes()),
        };
        lengths.iter().enumerate().map(segment).collect()
    }

    #[test]
    fn a_list_survives_the_wire() {
        let all = segments(&[SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, 1]);
        let bytes = u64::from(SEGMENT_BYTES_MIN + SEGMENT_BYTES_MAX + 1);
        let list = SegmentList::new(all, bytes).unwrap();
        let encoded = list.encode();
        assert_eq!(encoded.len(), 54);
        assert_eq!(SegmentList::decode(&encoded, bytes), Ok(list));
        assert_eq!(SegmentList::decode(&[], 0).unwrap().segments(), []);
    }

    #[test]
    fn lists_that_are_not_of_the_file_are_refused() {
        let (least, most) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        for lengths in [
            vec![least - 1, least],
            vec![most + 1],
            vec![least, 0],
            vec![u32::MAX; 3],
        ] {
            let bytes = lengths.iter().map(|bytes| u64::from(*bytes)).sum();
            assert!(
                SegmentList::new(segments(&lengths), bytes).is_err(),
                "{lengths:?}"
            );
        }
        let two = segments(&[least, 7]);
        let bytes = u64::from(least) + 7;
        assert!(SegmentList::new(two.clone(), bytes).is_ok());
        assert!(SegmentList::new(two.clone(), bytes - 1).is_err());
        let encoded = SegmentList::new(two, bytes).unwrap().encode();
        for wrong in [0, bytes + 1, u64::MAX] {
            assert!(SegmentList::decode(&encoded, wrong).is_err());
        }
        assert!(SegmentList::decode(&encoded[1..], bytes).is_err());
        let many = vec![segments(&[least])[0]; FILE_SEGMENTS_MAX as usize + 1];
        let bytes = many.len() as u64 * u64::from(least);
        assert!(SegmentList::new(many, bytes).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in any::<u64>()) {
            let _ = SegmentList::decode(&bytes, length);
        }
    }
}
