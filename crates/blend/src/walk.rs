//! The way through a file from block to block: what is kept of it, and what is passed over.

use crate::{
    BlendError,
    blocks::{Block, Code},
    header::BlockHeaders,
    limits,
    source::Source,
};
use std::io::{Read, Seek};

pub(crate) const DATA: Code = *b"DATA";
pub(crate) const DNA1: Code = *b"DNA1";
pub(crate) const END: Code = *b"ENDB";
/// The longest header of a block.
pub(crate) const HEADER_BYTES_MAX: usize = 32;

/// Datablocks that are kept with their parts: scenes, images, libraries, fonts, sounds, movie clips, caches, volumes,
/// node trees and what has one, objects, texts, collections, and what the file says of itself. Of other kinds only small
/// parts are kept.
const KEPT_WHOLE: [Code; 18] = [
    *b"SC\0\0", *b"IM\0\0", *b"LI\0\0", *b"VF\0\0", *b"SO\0\0", *b"MC\0\0", *b"CF\0\0", *b"VO\0\0",
    *b"NT\0\0", *b"MA\0\0", *b"LA\0\0", *b"WO\0\0", *b"LS\0\0", *b"TE\0\0", *b"OB\0\0", *b"TX\0\0",
    *b"GR\0\0", *b"GLOB",
];

pub(crate) struct BlockHeader {
    pub code: Code,
    pub bytes: u64,
    pub address: u64,
    pub struct_index: usize,
}

impl BlockHeader {
    /// From the bytes of its file; those of the last block are its code alone.
    pub fn parse(bytes: &[u8; HEADER_BYTES_MAX], headers: BlockHeaders) -> Self {
        let small = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let large = |at: usize| u64::from(small(at)) | u64::from(small(at + 4)) << 32;
        let (length, struct_at) = match headers {
            BlockHeaders::Small => (u64::from(small(4)), 16),
            BlockHeaders::Large => (large(16), 4),
        };
        BlockHeader {
            code: [bytes[0], bytes[1], bytes[2], bytes[3]],
            bytes: length,
            address: large(8),
            struct_index: small(struct_at) as usize,
        }
    }

    pub fn read<R: Read + Seek>(
        source: &mut Source<R>,
        headers: BlockHeaders,
    ) -> Result<Self, BlendError> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        // The last block of some files is its code alone.
        source.read_exact(&mut bytes[..4])?;
        if bytes[..4] != END {
            source.read_exact(&mut bytes[4..headers.bytes()])?;
        }
        match bytes[..2].iter().all(u8::is_ascii_alphanumeric) {
            true => Ok(Self::parse(&bytes, headers)),
            false => Err(BlendError::damaged("a block has no kind")),
        }
    }
}

/// What was kept on the way through a file, or through a part of it.
#[derive(Default)]
pub(crate) struct Walked {
    pub blocks: Vec<Block>,
    /// The content of all of them, that of many in one: there are too many for memory of their own each.
    pub contents: Vec<Vec<u8>>,
    kept_bytes: usize,
    /// Blocks that were met.
    met: u32,
    datablock: Datablock,
}

/// Which datablock the blocks belong to that are being read.
#[derive(Default)]
struct Datablock {
    number: u32,
    keeps_parts: bool,
}

impl Walked {
    /// Begins among the parts of some datablock.
    pub fn among_parts(keeps_parts: bool) -> Self {
        Self {
            datablock: Datablock {
                number: 0,
                keeps_parts,
            },
            ..Self::default()
        }
    }

    /// Are large parts of the current datablock kept?
    pub fn keeps_parts(&self) -> bool {
        self.datablock.keeps_parts
    }

    /// Keeps a block whose header was just read, or passes over it.
    pub fn add<R: Read + Seek>(
        &mut self,
        header: &BlockHeader,
        source: &mut Source<R>,
    ) -> Result<(), BlendError> {
        self.meet(1)?;
        self.datablock.advance(header.code);
        if !self.datablock.keeps(header) {
            return source.skip(header.bytes);
        }
        let length = usize::try_from(header.bytes).map_err(|_| BlendError::CutShort)?;
        self.make_room(length)?;
        if self.contents.is_empty() {
            self.contents.push(Vec::new());
        }
        let piece = self.contents.len() - 1;
        let (at, contents) = (source.position(), &mut self.contents[piece]);
        let start = contents.len();
        contents.resize(start + length, 0);
        source.read_exact(&mut contents[start..])?;
        self.blocks.push(Block {
            code: header.code,
            datablock: self.datablock.number,
            address: header.address,
            struct_index: header.struct_index,
            at,
            piece,
            content: start..start + length,
        });
        Ok(())
    }

    /// Adds what was kept of the part of the file that follows, which was walked by itself.
    pub fn append(&mut self, part: Walked) -> Result<(), BlendError> {
        self.meet(part.met)?;
        self.make_room(part.kept_bytes)?;
        let (number, piece) = (self.datablock.number, self.contents.len());
        self.contents.extend(part.contents);
        self.contents.push(Vec::new());
        self.blocks.extend(part.blocks.into_iter().map(|mut block| {
            block.datablock += number;
            block.piece += piece;
            block
        }));
        self.datablock = Datablock {
            number: number + part.datablock.number,
            ..part.datablock
        };
        Ok(())
    }

    /// Memory that it takes.
    pub fn memory(&self) -> u64 {
        (self.kept_bytes + self.blocks.len() * size_of::<Block>()) as u64
    }

    fn meet(&mut self, blocks: u32) -> Result<(), BlendError> {
        self.met = self.met.saturating_add(blocks);
        match self.met > limits::BLOCKS_MAX {
            true => Err(BlendError::TooLarge(format!(
                "it has more than {} blocks",
                limits::BLOCKS_MAX
            ))),
            false => Ok(()),
        }
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), BlendError> {
        self.kept_bytes += bytes;
        match self.kept_bytes as u64 > limits::KEPT_BYTES_MAX {
            true => Err(BlendError::TooLarge(format!(
                "its objects and nodes take more than {} GiB",
                limits::KEPT_BYTES_MAX >> 30
            ))),
            false => Ok(()),
        }
    }
}

impl Datablock {
    fn advance(&mut self, code: Code) {
        if code != DATA {
            self.number += 1;
            self.keeps_parts = KEPT_WHOLE.contains(&code);
        }
    }

    fn keeps(&self, header: &BlockHeader) -> bool {
        let is_datablock = header.code != DATA;
        header.bytes
            <= match self.keeps_parts || is_datablock {
                true => limits::KEPT_BLOCK_BYTES_MAX,
                false => limits::SMALL_BLOCK_BYTES_MAX,
            }
    }
}
