//! Copies of scene files with other paths in them, so that a scene finds its files in another place.

use crate::{
    BlendError, Compression, NamedPath, blocks::Place, frames::FrameWriter, source::Source,
};
use std::{
    fs::File,
    io::{Read, Seek, Write},
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
            write_patched(source, &patches, &mut packed, Source::copy_frames)?;
            packed.finish().map_err(BlendError::Io)
        }
        // Only old files are packed otherwise.
        Compression::None | Compression::Gzip => write_patched(source, &patches, to, Source::copy),
    }
}

/// Copies the next bytes of a source, or all that are left.
type Copy<R, W> = fn(&mut Source<R>, Option<u64>, &mut W) -> Result<(), BlendError>;

fn write_patched<R: Read + Seek, W: Write>(
    mut source: Source<R>,
    patches: &[Patch],
    to: &mut W,
    copy: Copy<R, W>,
) -> Result<(), BlendError> {
    for patch in patches {
        let before = patch.at.checked_sub(source.position());
        let before = before.ok_or_else(|| BlendError::damaged("two of its paths overlap"))?;
        copy(&mut source, Some(before), to)?;
        source.skip(patch.removed as u64)?;
        to.write_all(&patch.inserted).map_err(BlendError::Io)?;
    }
    copy(&mut source, None, to)
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
