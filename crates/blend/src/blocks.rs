//! The blocks of a file: those that a summary is made of are kept, the others are passed over.
//!
//! A datablock (scene, image, object) has a block of its own, whose code tells its kind, and is followed by the
//! blocks of its parts with the code `DATA`. Addresses of parts are only unique within one datablock.

use crate::{
    BlendError, Compression, Version,
    ahead::{Ahead, Help},
    dna::{Dna, POINTER_BYTES, Struct},
    header::{self, BlockHeaders},
    limits,
    source::Source,
    view::View,
    walk::{self, BlockHeader, Walked},
};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    io::{Read, Seek},
    ops::Range,
};

/// A block's code, which for datablocks is also how their names begin.
pub(crate) type Code = [u8; 4];

/// The struct of blocks that have none.
const RAW: usize = 0;

/// A block that is kept.
pub(crate) struct Block {
    pub code: Code,
    /// Which datablock it belongs to.
    pub datablock: u32,
    /// Where it was in Blender's memory.
    pub address: u64,
    pub struct_index: usize,
    /// Where its content begins in the unpacked file.
    pub at: u64,
    /// Its content among that of others.
    pub piece: usize,
    pub content: Range<usize>,
}

/// Where a text stands in the unpacked file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a field with room for so many bytes, the zero at the end among them.
    Field {
        /// Where it begins.
        at: u64,
        /// Its room.
        bytes: usize,
    },
    /// In a block of its own, as long as the text.
    Block {
        /// Where the header says how long the block is.
        length_at: u64,
        /// In so many bytes.
        length_bytes: usize,
        /// Where the content begins.
        at: u64,
        /// How long it is.
        bytes: usize,
    },
}

/// A file's kept blocks and the description of its structs.
pub(crate) struct Blend {
    pub version: Version,
    pub compression: Compression,
    headers: BlockHeaders,
    dna: Dna,
    blocks: Vec<Block>,
    /// The content of all of them.
    contents: Vec<Vec<u8>>,
    datablocks: Datablocks,
    parts: Parts,
    /// Elements of lists that were followed: a list may lead back to its beginning.
    list_items: Cell<usize>,
}

impl Blend {
    pub fn read<R: Read + Seek + Send + 'static>(inner: R) -> Result<Self, BlendError> {
        Self::read_with(inner, Help::of_all_processors())
    }

    pub fn read_with<R: Read + Seek + Send + 'static>(
        inner: R,
        help: Help,
    ) -> Result<Self, BlendError> {
        let (mut source, compression) = Source::new(inner)?;
        let (version, headers) = header::read(&mut source)?;
        let (mut walked, mut dna) = (Walked::default(), Dna::default());
        let mut ahead = Ahead::new(headers, help);
        loop {
            if let Some(part) = ahead.part_from(&mut source, walked.keeps_parts()) {
                source.pass_over(part.headers.end, part.unpacked)?;
                walked.append(part.walked)?;
                continue;
            }
            let header = BlockHeader::read(&mut source, headers)?;
            match header.code {
                walk::END => break,
                walk::DNA1 => dna = read_dna(&mut source, header.bytes)?,
                _ => walked.add(&header, &mut source)?,
            }
        }
        if dna.structs.is_empty() {
            return Err(BlendError::damaged("it does not describe its structs"));
        }
        let (datablocks, parts) = addresses_of(&walked.blocks);
        Ok(Blend {
            version,
            compression,
            headers,
            dna,
            blocks: walked.blocks,
            contents: walked.contents,
            datablocks,
            parts,
            list_items: Cell::new(0),
        })
    }

    /// All that was kept, for comparison.
    #[cfg(test)]
    pub fn kept(&self) -> Vec<Kept> {
        let kept = self.blocks.iter().map(|block| {
            let bytes = self.bytes(block).to_vec();
            (block.code, block.datablock, block.address, block.at, bytes)
        });
        kept.collect()
    }

    fn bytes(&self, block: &Block) -> &[u8] {
        &self.contents[block.piece][block.content.clone()]
    }

    pub fn dna(&self) -> &Dna {
        &self.dna
    }

    /// The first struct of a block; none when its length is not that of the struct.
    fn view<'a>(&'a self, block: &'a Block) -> Option<View<'a>> {
        let structure = self.dna.structs.get(block.struct_index)?;
        let bytes = self.bytes(block).get(..structure.bytes)?;
        Some(View::new(self, block.datablock, structure, bytes, block.at))
    }

    fn block_at(&self, datablock: u32, address: u64) -> Option<&Block> {
        let part = self.parts.get(&(datablock, address));
        let index = part.or_else(|| self.datablocks.get(&address))?;
        self.blocks.get(*index)
    }

    /// What an address means to a datablock: one of its parts, or another datablock.
    pub fn at(&self, datablock: u32, address: u64) -> Option<View<'_>> {
        self.view(self.block_at(datablock, address)?)
    }

    /// The structs of an array.
    pub fn array_at(&self, datablock: u32, address: u64) -> Vec<View<'_>> {
        let block = self.block_at(datablock, address);
        let elements = block.into_iter().flat_map(|block| self.elements(block));
        elements.collect()
    }

    /// A text in a block of its own, and where it stands.
    pub fn text_at(&self, datablock: u32, address: u64) -> Option<(&[u8], Place)> {
        let block = self.block_at(datablock, address)?;
        let (before, length_bytes) = match self.headers {
            BlockHeaders::Small => (20, 4),
            BlockHeaders::Large => (16, 8),
        };
        let place = Place::Block {
            length_at: block.at.checked_sub(before)?,
            length_bytes,
            at: block.at,
            bytes: block.content.len(),
        };
        Some((self.bytes(block), place))
    }

    /// The datablock of this number.
    pub fn datablock(&self, number: u32) -> Option<View<'_>> {
        let start = self.blocks.partition_point(|b| b.datablock < number);
        let own = self.blocks.get(start).filter(|b| b.datablock == number)?;
        self.view(own)
    }

    /// Counts an element of a list by its index; false when it may not be followed.
    pub fn count_list_item(&self, index: usize) -> bool {
        let more = match index < self.blocks.len() {
            true => 1,
            false => limits::LIST_ITEMS_MAX,
        };
        self.list_items
            .set(self.list_items.get().saturating_add(more));
        !self.has_endless_list()
    }

    /// Were more elements of lists followed than a sound file has?
    pub fn has_endless_list(&self) -> bool {
        self.list_items.get() > limits::LIST_ITEMS_MAX
    }

    /// All datablocks of a kind.
    pub fn of_code(&self, code: [u8; 2]) -> impl Iterator<Item = View<'_>> {
        let code = [code[0], code[1], 0, 0];
        let of_code = move |block: &&Block| block.code == code;
        self.blocks
            .iter()
            .filter(of_code)
            .filter_map(|block| self.view(block))
    }

    /// All datablocks.
    pub fn datablocks(&self) -> impl Iterator<Item = View<'_>> {
        let whole = self.blocks.iter().filter(|block| block.code != walk::DATA);
        whole.filter_map(|block| self.view(block))
    }

    /// All structs of this name, those of arrays too.
    pub fn of_struct(&self, name: &str) -> impl Iterator<Item = View<'_>> {
        let wanted = self.dna.structure(name);
        let is_one = move |block: &&Block| {
            let own = self.dna.structs.get(block.struct_index);
            wanted
                .zip(own)
                .is_some_and(|(wanted, own)| std::ptr::eq(wanted, own))
        };
        let blocks = self.blocks.iter().filter(is_one);
        blocks.flat_map(|block| self.elements(block))
    }

    fn elements<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = View<'a>> {
        let structure = self.dna.structs.get(block.struct_index);
        structure.into_iter().flat_map(move |structure| {
            let elements = self.bytes(block).chunks_exact(structure.bytes.max(1));
            elements.enumerate().map(move |(index, bytes)| {
                let at = block.at + (index * structure.bytes) as u64;
                View::new(self, block.datablock, structure, bytes, at)
            })
        })
    }

    /// The datablocks that these refer to, those again, and so on; with themselves.
    pub fn reachable(&self, from: impl Iterator<Item = u32>) -> HashSet<u32> {
        let mut offsets: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut waiting: Vec<u32> = from.collect();
        let mut reached: HashSet<u32> = waiting.iter().copied().collect();
        while let Some(datablock) = waiting.pop() {
            let start = self.blocks.partition_point(|b| b.datablock < datablock);
            let own = |block: &&Block| block.datablock == datablock;
            for block in self.blocks[start..].iter().take_while(own) {
                let structure = self.dna.structs.get(block.struct_index);
                let content = (block.struct_index, self.bytes(block));
                for address in addresses(&self.dna, content, structure, &mut offsets) {
                    let to = self.datablocks.get(&address);
                    let to = to.and_then(|index| self.blocks.get(*index));
                    if let Some(to) = to.filter(|to| reached.insert(to.datablock)) {
                        waiting.push(to.datablock);
                    }
                }
            }
        }
        reached
    }
}

/// A kept block: its code, its datablock, where it was in memory and in the file, and its content.
#[cfg(test)]
pub(crate) type Kept = (Code, u32, u64, u64, Vec<u8>);

/// Which block each address means: to the parts of one datablock, and to all.
type Datablocks = HashMap<u64, usize>;
type Parts = HashMap<(u32, u64), usize>;

fn addresses_of(blocks: &[Block]) -> (Datablocks, Parts) {
    let (mut datablocks, mut parts) = (Datablocks::new(), Parts::new());
    for (index, block) in blocks.iter().enumerate() {
        match block.code {
            walk::DATA => parts.insert((block.datablock, block.address), index),
            _ => datablocks.insert(block.address, index),
        };
    }
    (datablocks, parts)
}

/// The addresses in a block: those of its structs' pointers, or all that may be one where it has no struct.
fn addresses(
    dna: &Dna,
    (struct_index, bytes): (usize, &[u8]),
    structure: Option<&Struct>,
    offsets: &mut HashMap<usize, Vec<usize>>,
) -> Vec<u64> {
    let (step, offsets): (usize, &[usize]) = match structure {
        Some(structure) if struct_index != RAW && structure.bytes > 0 => {
            let known = offsets.entry(struct_index);
            let known = known.or_insert_with(|| dna.pointer_offsets(structure));
            (structure.bytes, known)
        }
        _ => (POINTER_BYTES, &[0]),
    };
    let address_at = |element: &[u8], at: &usize| {
        let bytes = element.get(*at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes)).filter(|address| *address != 0)
    };
    let elements = bytes.chunks_exact(step);
    elements
        .flat_map(|element| offsets.iter().filter_map(move |at| address_at(element, at)))
        .collect()
}

fn read_dna<R: Read + Seek>(source: &mut Source<R>, bytes: u64) -> Result<Dna, BlendError> {
    match bytes > limits::DNA_BYTES_MAX {
        true => Err(BlendError::damaged("its description of structs is huge")),
        false => Dna::parse(&source.read_vec(bytes)?),
    }
}
