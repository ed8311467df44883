//! The bytes of a `.blend` file, unpacked as they are read: plain, gzip (before 3.0) or Zstandard (3.0 on).

use crate::{BlendError, frames::FrameWriter, limits, seekable::Seekable};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use zstd::stream::read::Decoder;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Before Blender 3.0.
    Gzip,
    /// From Blender 3.0 on.
    Zstd,
}

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 1 << 16;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: u32 = 0xfd2f_b528;

/// A file that is read forwards.
pub(crate) struct Source<R: Read + Seek> {
    reader: Reader<R>,
    position: u64,
    unpacked: u64,
}

enum Reader<R: Read + Seek> {
    /// With the bytes that are left.
    Plain(BufReader<R>, u64),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Seekable(Box<Seekable<R>>),
    Zstd(Box<Decoder<'static, BufReader<R>>>),
}

impl<R: Read + Seek> Source<R> {
    pub fn new(mut inner: R) -> Result<(Self, Compression), BlendError> {
        let bytes = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        let mut magic = [0; 4];
        inner.read_exact(&mut magic)?;
        inner.seek(SeekFrom::Start(0))?;
        let buffered = |inner| BufReader::with_capacity(PIECE_BYTES, inner);
        let (reader, compression) = if magic[..2] == GZIP_MAGIC {
            let decoder = Box::new(MultiGzDecoder::new(buffered(inner)));
            (Reader::Gzip(decoder), Compression::Gzip)
        } else if u32::from_le_bytes(magic) == ZSTD_MAGIC {
            let reader = match Seekable::new(inner, bytes)? {
                Ok(seekable) => Reader::Seekable(Box::new(seekable)),
                Err(mut inner) => {
                    inner.seek(SeekFrom::Start(0))?;
                    let mut decoder = Decoder::with_buffer(buffered(inner))?;
                    decoder.window_log_max(limits::WINDOW_BYTES_MAX.ilog2())?;
                    Reader::Zstd(Box::new(decoder))
                }
            };
            (reader, Compression::Zstd)
        } else {
            (Reader::Plain(buffered(inner), bytes), Compression::None)
        };
        let source = Self {
            reader,
            position: 0,
            unpacked: 0,
        };
        Ok((source, compression))
    }

    /// Where the next byte lies in the unpacked file.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), BlendError> {
        while !buffer.is_empty() {
            let read = self.read_some(buffer)?;
            if read == 0 {
                return Err(BlendError::CutShort);
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// Reads this many bytes, which must already have been found to be few enough.
    pub fn read_vec(&mut self, bytes: u64) -> Result<Vec<u8>, BlendError> {
        let length = usize::try_from(bytes).map_err(|_| BlendError::CutShort)?;
        let mut buffer = vec![0; length];
        self.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    /// How much was unpacked until now.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// The frame that the next byte is in, where the file has a table of them.
    pub fn frame(&mut self) -> Option<usize> {
        self.seekable().map(Seekable::index)
    }

    /// Frames behind the current one where reading may begin, so many or somewhat more apart, and how many there are.
    pub fn promising_frames(&mut self, apart: usize) -> Option<Vec<usize>> {
        self.seekable()
            .map(|seekable| seekable.promising_frames(apart))
    }

    /// Another reader of the same file, where it has a table of frames.
    pub fn another(&mut self) -> Option<Self> {
        let seekable = self.seekable()?.another().ok()?;
        Some(Self {
            reader: Reader::Seekable(Box::new(seekable)),
            position: 0,
            unpacked: 0,
        })
    }

    /// Goes to where a frame begins.
    pub fn go_to_frame(&mut self, index: usize) {
        if let Some(seekable) = self.seekable() {
            seekable.go_to_frame(index);
            self.position = seekable.position();
        }
    }

    /// The bytes from here to the end of the frame that the next one is in; none at the end of the file.
    pub fn rest_of_frame(&mut self) -> Result<&[u8], BlendError> {
        match &mut self.reader {
            Reader::Seekable(seekable) => {
                let before = seekable.unpacked();
                seekable.load()?;
                self.unpacked += seekable.unpacked() - before;
                Ok(seekable.rest_of_frame())
            }
            _ => Ok(&[]),
        }
    }

    /// Passes over what another reader has unpacked.
    pub fn pass_over(&mut self, end: u64, unpacked: u64) -> Result<(), BlendError> {
        self.skip(end.saturating_sub(self.position))?;
        let unpacked = self.unpacked.saturating_add(unpacked);
        self.set_unpacked(unpacked)
    }

    fn seekable(&mut self) -> Option<&mut Seekable<R>> {
        match &mut self.reader {
            Reader::Seekable(seekable) => Some(seekable),
            _ => None,
        }
    }

    /// Passes over bytes, without unpacking them where that can be done.
    pub fn skip(&mut self, bytes: u64) -> Result<(), BlendError> {
        self.position = self.position.saturating_add(bytes);
        match &mut self.reader {
            Reader::Plain(reader, left) => {
                *left = left.checked_sub(bytes).ok_or(BlendError::CutShort)?;
                let forward = i64::try_from(bytes).map_err(|_| BlendError::CutShort)?;
                Ok(reader.seek_relative(forward)?)
            }
            Reader::Gzip(decoder) => {
                let skipped = discard(decoder, bytes, self.unpacked)?;
                self.set_unpacked(self.unpacked.saturating_add(skipped))
            }
            Reader::Zstd(decoder) => {
                let skipped = discard(decoder, bytes, self.unpacked)?;
                self.set_unpacked(self.unpacked.saturating_add(skipped))
            }
            Reader::Seekable(seekable) => seekable.skip(bytes),
        }
    }

    /// Copies the next bytes, or all that are left.
    pub fn copy<W: Write>(&mut self, bytes: Option<u64>, to: &mut W) -> Result<(), BlendError> {
        let (mut left, mut piece) = (bytes.unwrap_or(u64::MAX), vec![0; PIECE_BYTES]);
        while left > 0 {
            let length = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let read = self.read_some(&mut piece[..length])?;
            if read == 0 {
                return match bytes {
                    Some(_) => Err(BlendError::CutShort),
                    None => Ok(()),
                };
            }
            to.write_all(&piece[..read]).map_err(BlendError::Io)?;
            left -= read as u64;
        }
        Ok(())
    }

    /// The same to a file that is packed: whole frames are copied as they are.
    pub fn copy_frames<W: Write>(
        &mut self,
        bytes: Option<u64>,
        to: &mut FrameWriter<W>,
    ) -> Result<(), BlendError> {
        let mut left = match (bytes, self.seekable()) {
            (_, None) => return self.copy(bytes, to),
            (Some(bytes), _) => bytes,
            (None, Some(seekable)) => seekable.left(),
        };
        while left > 0 {
            left -= self.copy_from_frame(left, to)?;
        }
        Ok(())
    }

    /// Copies the frame that begins here, or what is wanted of it; gives how many bytes that was.
    fn copy_from_frame<W: Write>(
        &mut self,
        wanted: u64,
        to: &mut FrameWriter<W>,
    ) -> Result<u64, BlendError> {
        let seekable = self.seekable().ok_or(BlendError::CutShort)?;
        if let Some((packed, unpacked)) = seekable.whole_frame(wanted)? {
            to.write_packed(packed, unpacked).map_err(BlendError::Io)?;
            self.skip(unpacked.into())?;
            return Ok(unpacked.into());
        }
        match seekable.left_of_frame().min(wanted) {
            0 => Err(BlendError::CutShort),
            piece => self.copy(Some(piece), to).map(|()| piece),
        }
    }

    /// Reads as many bytes as there are at once; 0 at the end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlendError> {
        let (read, unpacked) = match &mut self.reader {
            Reader::Plain(reader, left) => {
                let read = reader.read(buffer)?;
                *left = left.saturating_sub(read as u64);
                (read, 0)
            }
            Reader::Gzip(decoder) => {
                let read = decoder.read(buffer)?;
                (read, self.unpacked.saturating_add(read as u64))
            }
            Reader::Seekable(seekable) => {
                let before = seekable.unpacked();
                let read = seekable.read_some(buffer)?;
                let unpacked = seekable.unpacked() - before;
                (read, self.unpacked.saturating_add(unpacked))
            }
            Reader::Zstd(decoder) => {
                let read = decoder.read(buffer)?;
                (read, self.unpacked.saturating_add(read as u64))
            }
        };
        self.position = self.position.saturating_add(read as u64);
        self.set_unpacked(unpacked)?;
        Ok(read)
    }

    /// Sets how much was unpacked until now, which may not be too much.
    fn set_unpacked(&mut self, bytes: u64) -> Result<(), BlendError> {
        self.unpacked = bytes;
        match self.unpacked > limits::UNPACKED_BYTES_MAX {
            true => Err(unpacks_to_too_much()),
            false => Ok(()),
        }
    }
}

/// Unpacks bytes and forgets them, but not many more than may be unpacked of a file.
fn discard(reader: &mut impl Read, bytes: u64, unpacked: u64) -> Result<u64, BlendError> {
    let room = limits::UNPACKED_BYTES_MAX.saturating_sub(unpacked);
    let most = bytes.min(room.saturating_add(1));
    let discarded = io::copy(&mut reader.take(most), &mut io::sink())?;
    match discarded == most {
        true => Ok(discarded),
        false => Err(BlendError::CutShort),
    }
}

fn unpacks_to_too_much() -> BlendError {
    BlendError::TooLarge(format!(
        "it unpacks to more than {} GiB",
        limits::UNPACKED_BYTES_MAX >> 30
    ))
}
