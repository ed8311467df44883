//! Files of many blocks, read with threads that help and without.

use super::*;
use crate::{
    BlendError,
    blocks::{Blend, Code, Kept},
    header,
    seekable::{SEEKABLE_MAGIC, TABLE_MAGIC},
};
use proptest::{prelude::*, sample::Index};
use std::{io::Cursor, time::Duration};

const ALONE: Help = Help {
    after_bytes: 0,
    frames: 1,
    threads: 0,
};
const HELPED: Help = Help {
    after_bytes: 0,
    frames: 3,
    threads: 3,
};
/// What Blender gathers before it writes a frame, and the largest block that it gathers.
const GATHERED_BYTES: usize = 2 << 20;
const LARGE_BYTES: usize = 1 << 20;

/// The bytes of a file, and where one may begin to read: at headers and at contents.
#[derive(Debug)]
struct Made {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Made {
    fn new(headers: BlockHeaders) -> Self {
        let start: &[u8] = match headers {
            BlockHeaders::Small => b"BLENDER-v405",
            BlockHeaders::Large => b"BLENDER17-01v0500",
        };
        Self {
            bytes: start.to_vec(),
            places: Vec::new(),
        }
    }

    fn add(&mut self, headers: BlockHeaders, code: Code, content: &[u8]) {
        self.places.push(self.bytes.len());
        self.bytes.extend(block(headers, code, content));
        self.places.push(self.bytes.len() - content.len());
    }

    fn end(&mut self, headers: BlockHeaders) {
        self.add(headers, walk::DNA1, &description());
        self.add(headers, walk::END, &[]);
    }

    /// In frames that are cut at these places.
    fn packed(&self, mut cuts: Vec<usize>) -> Vec<u8> {
        cuts.extend([0, self.bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let (mut packed, mut table) = (Vec::new(), Vec::new());
        for frame in cuts.windows(2) {
            let content = zstd::bulk::compress(&self.bytes[frame[0]..frame[1]], 1).unwrap();
            table.extend((content.len() as u32).to_le_bytes());
            table.extend(((frame[1] - frame[0]) as u32).to_le_bytes());
            packed.extend(content);
        }
        packed.extend(TABLE_MAGIC.to_le_bytes());
        packed.extend((table.len() as u32 + 9).to_le_bytes());
        packed.extend(&table);
        packed.extend((cuts.len() as u32 - 1).to_le_bytes());
        packed.push(0);
        packed.extend(SEEKABLE_MAGIC.to_le_bytes());
        packed
    }

    /// In frames as Blender writes them.
    fn packed_by_blender(&self) -> Vec<u8> {
        let (mut cuts, mut gathered) = (Vec::new(), 0);
        for piece in self.places.windows(2) {
            let bytes = piece[1] - piece[0];
            if bytes > LARGE_BYTES {
                cuts.extend((piece[0]..piece[1]).step_by(LARGE_BYTES));
                gathered = piece[1];
                cuts.push(gathered);
            } else if piece[1] - gathered > GATHERED_BYTES - 1 {
                cuts.push(piece[0]);
                gathered = piece[0];
            }
        }
        self.packed(cuts)
    }
}

fn block(headers: BlockHeaders, code: Code, content: &[u8]) -> Vec<u8> {
    // Some address that differs from block to block.
    let address = 0x7f00_0000_0000 + content.len() as u64 * 16;
    let (length, structure, count) = (content.len(), 0_u32, 1_u64);
    let mut bytes = code.to_vec();
    match headers {
        BlockHeaders::Small => {
            bytes.extend((length as u32).to_le_bytes());
            bytes.extend(address.to_le_bytes());
            bytes.extend(structure.to_le_bytes());
            bytes.extend((count as u32).to_le_bytes());
        }
        BlockHeaders::Large => {
            bytes.extend(structure.to_le_bytes());
            bytes.extend(address.to_le_bytes());
            bytes.extend((length as u64).to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
    }
    bytes.extend(content);
    bytes
}

/// The description of one struct without fields.
fn description() -> Vec<u8> {
    let mut bytes = b"SDNANAME\x01\0\0\0x\0\0\0TYPE\x01\0\0\0int\0TLEN\x04\0\0\0".to_vec();
    bytes.extend(b"STRC\x01\0\0\0\0\0\0\0");
    bytes
}

fn read(bytes: &[u8], help: Help) -> Result<Vec<Kept>, BlendError> {
    Blend::read_with(Cursor::new(bytes.to_vec()), help).map(|blend| blend.kept())
}

/// The same, or an error in both cases.
fn assert_same(bytes: &[u8]) -> Result<(), TestCaseError> {
    match (read(bytes, ALONE), read(bytes, HELPED)) {
        (Ok(alone), Ok(helped)) => prop_assert!(alone == helped),
        (Err(alone), Err(helped)) => prop_assert_eq!(alone.to_string(), helped.to_string()),
        (alone, helped) => prop_assert!(false, "{:?} {:?}", alone.err(), helped.err()),
    }
    Ok(())
}

fn headers() -> impl Strategy<Value = BlockHeaders> {
    prop_oneof![Just(BlockHeaders::Small), Just(BlockHeaders::Large)]
}

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![
        6 => Just(walk::DATA),
        1 => Just(*b"ME\0\0"),
        1 => Just(*b"OB\0\0"),
        1 => Just(*b"IM\0\0"),
        1 => Just(*b"GLOB"),
    ]
}

/// Numbers, nothing, or what looks like blocks itself.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..64_usize, 4000..4200_usize, 5000..30_000_usize];
    let plain = (length, any::<u32>()).prop_map(|(length, seed)| {
        let number = |at: usize| (at as u32).wrapping_mul(seed) >> 24;
        (0..length).map(|at| number(at) as u8).collect()
    });
    let inner = (code(), 0..3000_usize, any::<u8>());
    let decoys = (headers(), prop::collection::vec(inner, 1..8), 0..8_usize);
    let decoys = decoys.prop_map(|(headers, inner, shift)| {
        let mut bytes = vec![0; shift];
        for (code, length, value) in inner {
            bytes.extend(block(headers, code, &vec![value; length]));
        }
        bytes
    });
    prop_oneof![3 => plain, 1 => decoys]
}

fn made() -> impl Strategy<Value = Made> {
    let blocks = prop::collection::vec((code(), content()), 1..120);
    (headers(), blocks).prop_map(|(headers, blocks)| {
        let mut made = Made::new(headers);
        for (code, content) in blocks {
            made.add(headers, code, &content);
        }
        made.end(headers);
        made
    })
}

/// A file in frames that are cut anywhere, or where Blender might.
fn packed() -> impl Strategy<Value = Vec<u8>> {
    let cuts = prop::collection::vec((any::<bool>(), any::<Index>()), 0..60);
    (made(), cuts).prop_map(|(made, cuts)| {
        let place = |(between, at): (bool, Index)| match between {
            true => *at.get(&made.places),
            false => at.index(made.bytes.len()),
        };
        made.packed(cuts.into_iter().map(place).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn help_changes_nothing(bytes in packed()) {
        let helped = read(&bytes, HELPED).unwrap();
        let plain = zstd::stream::decode_all(&bytes[..]).unwrap();
        prop_assert!(helped == read(&plain, ALONE).unwrap());
        prop_assert!(helped == read(&bytes, ALONE).unwrap());
    }

    #[test]
    fn help_changes_nothing_of_damaged_files(
        bytes in packed(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        assert_same(&bytes)?;
    }

    #[test]
    fn help_changes_nothing_of_packed_damage(
        made in made(),
        cuts in prop::collection::vec(any::<Index>(), 8..40),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut made = made;
        for (at, value) in changes {
            // In headers, where it matters.
            let at = at.get(&made.places).saturating_sub(1 + usize::from(value % 32));
            made.bytes[at] = value;
        }
        let cuts = cuts.iter().map(|at| at.index(made.bytes.len()));
        assert_same(&made.packed(cuts.collect()))?;
    }
}

/// Meshes whose arrays are of these lengths.
fn meshes(count: usize, arrays: &[usize]) -> Made {
    let headers = BlockHeaders::Large;
    let mut made = Made::new(headers);
    for _ in 0..count {
        made.add(headers, *b"ME\0\0", &[1; 2000]);
        for bytes in arrays {
            made.add(headers, walk::DATA, &vec![0; *bytes]);
            made.add(headers, walk::DATA, &[2; 24]);
        }
    }
    made.end(headers);
    made
}

/// How many bytes threads walked of a file for a reader that gives them time.
fn walked_by_threads(bytes: Vec<u8>) -> u64 {
    let (mut source, _) = Source::new(Cursor::new(bytes)).unwrap();
    let (_, headers) = header::read(&mut source).unwrap();
    let (mut ahead, mut walked) = (Ahead::new(headers, HELPED), Walked::default());
    let mut by_threads = 0;
    loop {
        if let Some(part) = ahead.part_from(&mut source, walked.keeps_parts()) {
            by_threads += part.headers.end - part.headers.start;
            source.pass_over(part.headers.end, part.unpacked).unwrap();
            walked.append(part.walked).unwrap();
            continue;
        }
        thread::sleep(Duration::from_millis(1));
        let header = BlockHeader::read(&mut source, headers).unwrap();
        match header.code {
            walk::END => return by_threads,
            walk::DNA1 => source.skip(header.bytes).unwrap(),
            _ => walked.add(&header, &mut source).unwrap(),
        }
    }
}

#[test]
fn threads_walk_most_of_a_file_of_blender() {
    // All gathered; some written by themselves; in frames that begin in the middle of anything.
    let gathered = meshes(40, &[300_000, 700_000]);
    let large = meshes(20, &[300_000, 900_000, 1_300_000]);
    for made in [&gathered, &large] {
        let walked = walked_by_threads(made.packed_by_blender());
        let all = made.bytes.len() as u64;
        assert!(walked > all / 2, "{walked} of {all} bytes");
        let anywhere = (0..made.bytes.len()).step_by(999_983).collect();
        let walked = walked_by_threads(made.packed(anywhere));
        assert!(walked > all / 2, "{walked} of {all} bytes");
    }
}

#[test]
fn a_chain_of_blocks_within_a_block_is_not_taken_for_blocks() {
    let headers = BlockHeaders::Small;
    let mut inner = Vec::new();
    for at in 0..2000_usize {
        let code = if at % 3 == 0 { *b"OB\0\0" } else { walk::DATA };
        inner.extend(block(headers, code, &[7; 500]));
    }
    let mut made = Made::new(headers);
    made.add(headers, *b"ME\0\0", &[1; 100]);
    made.add(headers, walk::DATA, &inner);
    made.add(headers, *b"OB\0\0", &[2; 100]);
    made.end(headers);
    let packed = made.packed((0..made.bytes.len()).step_by(10_007).collect());
    assert_eq!(walked_by_threads(packed.clone()), 0);
    let kept = read(&packed, HELPED).unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept == read(&packed, ALONE).unwrap());
}

#[test]
fn threads_end_with_the_reader() {
    let bytes = meshes(20, &[300_000, 700_000]).packed_by_blender();
    let (mut source, _) = Source::new(Cursor::new(bytes)).unwrap();
    let (_, headers) = header::read(&mut source).unwrap();
    let mut ahead = Ahead::new(headers, HELPED);
    let _ = ahead.part_from(&mut source, false);
    let parts = Arc::clone(ahead.parts.as_ref().unwrap());
    drop(ahead);
    assert_eq!(Arc::strong_count(&parts), 1);
    assert!(parts.take().is_none());
}

#[test]
fn threads_hold_little_that_nobody_fetches() {
    // Every byte is a block's that is kept: empty ones, 24 bytes of file for each.
    let headers = BlockHeaders::Small;
    let mut made = Made::new(headers);
    let empty = block(headers, walk::DATA, &[]);
    made.bytes.extend(empty.repeat((40 << 20) / empty.len()));
    made.end(headers);
    let packed = made.packed((0..made.bytes.len()).step_by(4 << 20).collect());
    let (mut source, _) = Source::new(Cursor::new(packed)).unwrap();
    let mut ahead = Ahead::new(
        headers,
        Help {
            frames: 10,
            ..HELPED
        },
    );
    let _ = header::read(&mut source).unwrap();
    ahead.start(&mut source);
    let parts = Arc::clone(ahead.parts.as_ref().unwrap());
    let found = parts.fetch(0, ahead.spare.as_mut());
    let memory = found.map_or(0, |found| found.memory());
    assert!(
        memory < limits::PART_BYTES_MAX + (1 << 20),
        "{memory} bytes"
    );
}
