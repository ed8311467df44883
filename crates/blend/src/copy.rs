//! Copies of scene files with other paths in them, so that a scene finds its files in another place.

use crate::{
    BlendError, Compression, NamedPath, blocks::Place, frames::FrameWriter, source::Source,
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

/// What a block's content is a multiple of.
const BLOCK_ALIGNMENT: usize = 4;

/// A piece of the unpacked file that is replaced by another.
struct Patch {
    at: u64,
    removed: usize,
    inserted: Vec<u8>,
}

/// Writes a copy of a scene file, packed as Blender packs if it is packed so and else not at all, in which each of these paths of it is replaced by the text beside it.
///
/// # Errors
/// When the file cannot be read or the copy not written, or a text has no room where its path stands.
pub fn copy_with_paths(
    file: &Path,
    paths: &[(&NamedPath, String)],
    to: &mut impl Write,
) -> Result<(), BlendError> {
    let patches = paths.iter().map(|(path, text)| patches_of(path, text));
    let mut patches: Vec<Patch> = patches
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    patches.sort_by_key(|patch| patch.at);
    let (source, compression) = Source::new(File::open(file).map_err(BlendError::Io)?)?;
    match compression {
        Compression::Zstd => {
            let mut packed = FrameWriter::new(to)?;
            write_patched(source, &patches, &mut packed)?;
            packed.finish().map_err(BlendError::Io)
        }
        // Only old files are packed otherwise.
        Compression::None | Compression::Gzip => write_patched(source, &patches, to),
    }
}

fn write_patched<R: Read + Seek>(
    mut source: Source<R>,
    patches: &[Patch],
    to: &mut impl Write,
) -> Result<(), BlendError> {
    for patch in patches {
        let before = patch.at.checked_sub(source.position());
        let before = before.ok_or_else(|| BlendError::damaged("two of its paths overlap"))?;
        source.copy(before, to)?;
        source.copy(patch.removed as u64, &mut io::sink())?;
        to.write_all(&patch.inserted).map_err(BlendError::Io)?;
    }
    source.copy_rest(to)
}

fn patches_of(path: &NamedPath, text: &str) -> Result<Vec<Patch>, BlendError> {
    let mut bytes = text.as_bytes().to_vec();
    match path.place {
        Place::Field { at, bytes: room } => {
            if bytes.len() >= room {
                let what = format!("there is no room for the path {text}");
                return Err(BlendError::TooLarge(what));
            }
            bytes.resize(room, 0);
            Ok(vec![Patch {
                at,
                removed: room,
                inserted: bytes,
            }])
        }
        Place::Block {
            length_at,
            length_bytes,
            at,
            bytes: removed,
        } => {
            bytes.resize((bytes.len() + 1).next_multiple_of(BLOCK_ALIGNMENT), 0);
            let length = (bytes.len() as u64).to_le_bytes();
            let length = Patch {
                at: length_at,
                removed: length_bytes,
                inserted: length[..length_bytes].to_vec(),
            };
            let content = Patch {
                at,
                removed,
                inserted: bytes,
            };
            Ok(vec![length, content])
        }
    }
}
