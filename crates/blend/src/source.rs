//! The bytes of a `.blend` file, unpacked as they are read: plain, gzip (before 3.0) or Zstandard (3.0 on).

use crate::{BlendError, limits};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use serde::Serialize;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};

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
/// Frames without content, such as the seek table at the end; the last four bits are free.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

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
    Zstd(Box<Zstd<R>>),
}

impl<R: Read + Seek> Source<R> {
    pub fn new(mut inner: R) -> Result<(Self, Compression), BlendError> {
        let bytes = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(inner);
        let mut magic = [0; 4];
        reader.read_exact(&mut magic)?;
        reader.seek(SeekFrom::Start(0))?;
        let (reader, compression) = if magic[..2] == GZIP_MAGIC {
            let decoder = Box::new(MultiGzDecoder::new(reader));
            (Reader::Gzip(decoder), Compression::Gzip)
        } else if u32::from_le_bytes(magic) == ZSTD_MAGIC {
            (
                Reader::Zstd(Box::new(Zstd::new(reader, bytes))),
                Compression::Zstd,
            )
        } else {
            (Reader::Plain(reader, bytes), Compression::None)
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

    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), BlendError> {
        let wanted = buffer.len() as u64;
        self.position = self.position.saturating_add(wanted);
        match &mut self.reader {
            Reader::Plain(reader, left) => {
                *left = left.checked_sub(wanted).ok_or(BlendError::CutShort)?;
                return Ok(reader.read_exact(buffer)?);
            }
            Reader::Gzip(decoder) => decoder.read_exact(buffer)?,
            Reader::Zstd(zstd) => zstd.read_exact(buffer)?,
        }
        self.count(wanted)
    }

    /// Reads this many bytes, which must already have been found to be few enough.
    pub fn read_vec(&mut self, bytes: u64) -> Result<Vec<u8>, BlendError> {
        let length = usize::try_from(bytes).map_err(|_| BlendError::CutShort)?;
        let mut buffer = vec![0; length];
        self.read_exact(&mut buffer)?;
        Ok(buffer)
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
                let room = limits::UNPACKED_BYTES_MAX.saturating_sub(self.unpacked);
                let most = bytes.min(room.saturating_add(1));
                let skipped = std::io::copy(&mut decoder.take(most), &mut std::io::sink())?;
                self.count(skipped)?;
                match skipped == bytes {
                    true => Ok(()),
                    false => Err(BlendError::CutShort),
                }
            }
            Reader::Zstd(zstd) => {
                let before = zstd.unpacked;
                zstd.skip(bytes)?;
                let unpacked = zstd.unpacked.saturating_sub(before);
                self.count(unpacked)
            }
        }
    }

    /// Copies the next bytes.
    pub fn copy(&mut self, bytes: u64, to: &mut impl Write) -> Result<(), BlendError> {
        let (mut left, mut piece) = (bytes, vec![0; PIECE_BYTES]);
        while left > 0 {
            let length = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            self.read_exact(&mut piece[..length])?;
            to.write_all(&piece[..length]).map_err(BlendError::Io)?;
            left -= length as u64;
        }
        Ok(())
    }

    /// Copies everything that is left.
    pub fn copy_rest(&mut self, to: &mut impl Write) -> Result<(), BlendError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = self.read_some(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&piece[..read]).map_err(BlendError::Io)?;
        }
    }

    /// Reads as many bytes as there are at once; 0 at the end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlendError> {
        let read = match &mut self.reader {
            Reader::Plain(reader, left) => {
                let read = reader.read(buffer)?;
                *left = left.saturating_sub(read as u64);
                read
            }
            Reader::Gzip(decoder) => decoder.read(buffer)?,
            Reader::Zstd(zstd) => zstd.read_some(buffer)?,
        };
        self.position = self.position.saturating_add(read as u64);
        self.count(read as u64)?;
        Ok(read)
    }

    fn count(&mut self, bytes: u64) -> Result<(), BlendError> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        match self.unpacked > limits::UNPACKED_BYTES_MAX {
            true => Err(unpacks_to_too_much()),
            false => Ok(()),
        }
    }
}

fn unpacks_to_too_much() -> BlendError {
    BlendError::TooLarge(format!(
        "it unpacks to more than {} GiB",
        limits::UNPACKED_BYTES_MAX >> 30
    ))
}

/// Where a Zstandard frame lies in the file.
#[derive(Clone, Copy)]
struct Frame {
    end: u64,
    /// Bytes that it unpacks to, where it says so.
    content: Option<u64>,
}

/// A file of many Zstandard frames, as Blender writes one for each MiB: those that nobody asks for are not unpacked.
struct Zstd<R> {
    inner: BufReader<R>,
    bytes: u64,
    /// Where the next frame begins.
    next: u64,
    decoder: FrameDecoder,
    /// The frame that is being read, and the bytes that were read of it.
    current: Option<(Frame, u64)>,
    unpacked: u64,
}

impl<R: Read + Seek> Zstd<R> {
    fn new(inner: BufReader<R>, bytes: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(limits::WINDOW_BYTES_MAX);
        Self {
            inner,
            bytes,
            next: 0,
            decoder,
            current: None,
            unpacked: 0,
        }
    }

    /// Finds the next frame that has content, and goes to its beginning; none at the end.
    fn find_frame(&mut self) -> Result<Option<Frame>, BlendError> {
        loop {
            let start = self.next;
            if start >= self.bytes {
                return Ok(None);
            }
            self.inner.seek(SeekFrom::Start(start))?;
            let magic = u32::from_le_bytes(self.array()?);
            if magic & !0xf == SKIPPABLE_MAGIC {
                let content = u32::from_le_bytes(self.array()?);
                self.next = start.saturating_add(8).saturating_add(content.into());
                continue;
            }
            if magic != ZSTD_MAGIC {
                return Err(BlendError::damaged("a compressed frame begins wrongly"));
            }
            let frame = self.walk_frame()?;
            self.next = frame.end;
            self.inner.seek(SeekFrom::Start(start))?;
            return Ok(Some(frame));
        }
    }

    /// Goes through a frame's blocks by their headers (RFC 8878, 3.1.1).
    fn walk_frame(&mut self) -> Result<Frame, BlendError> {
        let [descriptor] = self.array()?;
        let single_segment = descriptor & 0x20 != 0;
        let content_bytes = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let before_content = dictionary_bytes + i64::from(!single_segment);
        self.inner.seek_relative(before_content)?;
        let mut content = [0; 8];
        self.inner.read_exact(&mut content[..content_bytes])?;
        let content = u64::from_le_bytes(content) + if content_bytes == 2 { 256 } else { 0 };
        loop {
            let [a, b, c] = self.array()?;
            let header = u32::from_le_bytes([a, b, c, 0]);
            let stored = match header >> 1 & 3 {
                // A run of one byte.
                1 => 1,
                _ => i64::from(header >> 3),
            };
            self.inner.seek_relative(stored)?;
            if header & 1 == 1 {
                break;
            }
        }
        if descriptor & 4 != 0 {
            self.inner.seek_relative(4)?;
        }
        let end = self.inner.stream_position()?;
        match end > self.bytes {
            true => Err(BlendError::CutShort),
            false => Ok(Frame {
                end,
                content: (content_bytes > 0).then_some(content),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlendError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&mut self, frame: Frame) -> Result<(), BlendError> {
        self.decoder
            .reset(&mut self.inner)
            .map_err(|e| BlendError::damaged(e.to_string()))?;
        self.current = Some((frame, 0));
        Ok(())
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), BlendError> {
        while !buffer.is_empty() {
            let taken = self.read_some(buffer)?;
            if taken == 0 {
                return Err(BlendError::CutShort);
            }
            buffer = &mut buffer[taken..];
        }
        Ok(())
    }

    /// Reads as many bytes as there are at once; 0 at the end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlendError> {
        loop {
            let Some((_, read)) = &mut self.current else {
                let Some(frame) = self.find_frame()? else {
                    return Ok(0);
                };
                self.open(frame)?;
                continue;
            };
            let taken = self.decoder.read(buffer)?;
            if taken > 0 {
                *read += taken as u64;
                self.unpacked += taken as u64;
                return Ok(taken);
            }
            if self.decoder.is_finished() {
                self.current = None;
            } else {
                self.decoder
                    .decode_blocks(&mut self.inner, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| BlendError::damaged(e.to_string()))?;
            }
        }
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), BlendError> {
        while bytes > 0 {
            let (frame, read) = match self.current {
                Some(current) => current,
                None => (self.find_frame()?.ok_or(BlendError::CutShort)?, 0),
            };
            let left = frame.content.and_then(|content| content.checked_sub(read));
            if let Some(left) = left.filter(|left| *left <= bytes) {
                bytes -= left;
                self.current = None;
                continue;
            }
            if self.current.is_none() {
                self.open(frame)?;
            }
            bytes -= self.skip_by_unpacking(bytes)?;
        }
        Ok(())
    }

    /// Unpacks some of these bytes and says how many.
    fn skip_by_unpacking(&mut self, bytes: u64) -> Result<u64, BlendError> {
        let mut discarded = [0; 4096];
        let length = usize::try_from(bytes).map_or(discarded.len(), |b| b.min(discarded.len()));
        self.read_exact(&mut discarded[..length])?;
        if self.unpacked > limits::UNPACKED_BYTES_MAX {
            return Err(unpacks_to_too_much());
        }
        Ok(length as u64)
    }
}
