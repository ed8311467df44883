//! Zstandard files with a table of their frames at the end, as Blender writes them (a frame for each MiB or two): frames
//! that nobody asks for are passed over, and reading may begin at any frame.
//!
//! The table is the file's own word. What it says of places and lengths is checked before it is used, and of a frame's
//! length again when that is unpacked.

use crate::{BlendError, limits};
use std::{
    io::{Read, Seek, SeekFrom},
    sync::{Arc, Mutex},
};
use zstd::bulk::Decompressor;

pub(crate) const TABLE_MAGIC: u32 = 0x184d_2a5e;
pub(crate) const SEEKABLE_MAGIC: u32 = 0x8f92_eab1;
/// Magic number and length before the table; number of frames, flags and magic number after it.
const HEAD_BYTES: u64 = 8;
pub(crate) const FOOT_BYTES: u64 = 9;
const HAS_CHECKSUMS: u8 = 1 << 7;
/// Flags that mean nothing yet.
const RESERVED: u8 = 0x7c;

/// Bytes of a piece of a large block.
const PIECE_BYTES: u32 = 1 << 20;

/// Where a frame lies in the file, and what part of the unpacked file it is.
#[derive(Clone, Copy)]
struct Frame {
    at: u64,
    packed: u32,
    /// Where it begins in the unpacked file.
    start: u64,
    unpacked: u32,
}

impl Frame {
    fn end(&self) -> u64 {
        self.start + u64::from(self.unpacked)
    }
}

/// A file for several readers, each with its own place.
struct Shared<R> {
    inner: Mutex<R>,
    frames: Vec<Frame>,
}

pub(crate) struct Seekable<R> {
    file: Arc<Shared<R>>,
    decoder: Decompressor<'static>,
    /// Where the next byte lies in the unpacked file.
    position: u64,
    /// The frame at that place, or the last one before it that was asked for.
    index: usize,
    /// Does `current` begin with the content of that frame?
    is_loaded: bool,
    current: Vec<u8>,
    packed: Vec<u8>,
    unpacked: u64,
}

impl<R: Read + Seek> Seekable<R> {
    /// Gives the reader back where the file has no table, or none that can be right.
    pub fn new(mut inner: R, bytes: u64) -> Result<Result<Self, R>, BlendError> {
        let Some(frames) = read_table(&mut inner, bytes)? else {
            return Ok(Err(inner));
        };
        let inner = Mutex::new(inner);
        Self::reading(Arc::new(Shared { inner, frames })).map(Ok)
    }

    fn reading(file: Arc<Shared<R>>) -> Result<Self, BlendError> {
        Ok(Self {
            file,
            decoder: Decompressor::new()?,
            position: 0,
            index: 0,
            is_loaded: false,
            current: Vec::new(),
            packed: Vec::new(),
            unpacked: 0,
        })
    }

    /// Another reader of the file, from its beginning.
    pub fn another(&self) -> Result<Self, BlendError> {
        Self::reading(Arc::clone(&self.file))
    }

    /// Frames behind the current one where reading may begin, so many or somewhat more apart, and how many there are.
    ///
    /// Blender writes a block of more than a MiB in frames of a MiB each and one for the rest; behind them a frame begins
    /// with a header. Others begin anywhere.
    pub fn promising_frames(&mut self, apart: usize) -> Vec<usize> {
        let (mut next, frames) = (self.index() + 1, &self.file.frames);
        let follows_large_block = |at: &usize| {
            let before = at.checked_sub(2).and_then(|from| frames.get(from..*at));
            before
                .is_some_and(|two| two[0].unpacked == PIECE_BYTES && two[1].unpacked < PIECE_BYTES)
        };
        let mut promising = Vec::new();
        while next < frames.len() {
            let near = next..frames.len().min(next + apart);
            let start = near.clone().find(follows_large_block).unwrap_or(next);
            promising.push(start);
            next = start + apart;
        }
        promising.push(frames.len());
        promising
    }

    /// Goes to where a frame begins, or to the end for the index after the last.
    pub fn go_to_frame(&mut self, index: usize) {
        if index != self.index {
            self.index = index.min(self.file.frames.len());
            self.is_loaded = false;
        }
        let frame = self.file.frames.get(index);
        self.position = frame.map_or_else(|| self.end(), |frame| frame.start);
    }

    fn end(&self) -> u64 {
        self.file.frames.last().map_or(0, Frame::end)
    }

    /// The frame that the next byte is in.
    pub fn index(&mut self) -> usize {
        let frames = &self.file.frames;
        while frames
            .get(self.index)
            .is_some_and(|f| f.end() <= self.position)
        {
            self.index += 1;
            self.is_loaded = false;
        }
        self.index
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// How much was unpacked until now.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Reads as many bytes as there are at once; 0 at the end.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlendError> {
        self.load()?;
        let rest = self.rest_of_frame();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length as u64;
        Ok(length)
    }

    /// The bytes from here to the end of the frame, if it was loaded; none at the end of the file.
    pub fn rest_of_frame(&self) -> &[u8] {
        let frame = self.file.frames.get(self.index);
        let frame = frame.filter(|_| self.is_loaded);
        let rest = frame.and_then(|frame| {
            let read = usize::try_from(self.position - frame.start).ok()?;
            self.current.get(read..frame.unpacked as usize)
        });
        rest.unwrap_or(&[])
    }

    /// Unpacks the frame that the next byte is in.
    pub fn load(&mut self) -> Result<(), BlendError> {
        let index = self.index();
        match self.file.frames.get(index).copied() {
            Some(frame) if !self.is_loaded => self.unpack(frame),
            _ => Ok(()),
        }
    }

    /// Passes over bytes; a frame is unpacked when something of it is read.
    pub fn skip(&mut self, bytes: u64) -> Result<(), BlendError> {
        let position = self.position.saturating_add(bytes);
        if position > self.end() {
            return Err(BlendError::CutShort);
        }
        self.position = position;
        Ok(())
    }

    /// The frame that begins here as it is packed, and how long it is unpacked, unless that is more than so many bytes.
    pub fn whole_frame(&mut self, bytes_max: u64) -> Result<Option<(&[u8], u32)>, BlendError> {
        let index = self.index();
        let frame = self.file.frames.get(index).copied();
        let is_whole =
            |frame: &Frame| frame.start == self.position && u64::from(frame.unpacked) <= bytes_max;
        let Some(frame) = frame.filter(is_whole) else {
            return Ok(None);
        };
        self.read_packed(frame)?;
        Ok(Some((
            &self.packed[..frame.packed as usize],
            frame.unpacked,
        )))
    }

    /// How many bytes there are to the end of the current frame.
    pub fn left_of_frame(&mut self) -> u64 {
        let index = self.index();
        let frame = self.file.frames.get(index);
        frame.map_or(0, |frame| frame.end() - self.position)
    }

    /// How many bytes there are to the end of the file.
    pub fn left(&self) -> u64 {
        self.end() - self.position
    }

    fn read_packed(&mut self, frame: Frame) -> Result<(), BlendError> {
        let packed = frame.packed as usize;
        self.packed.resize(packed.max(self.packed.len()), 0);
        let gone = |_| BlendError::damaged("another reader of it failed");
        let mut inner = self.file.inner.lock().map_err(gone)?;
        inner.seek(SeekFrom::Start(frame.at))?;
        Ok(inner.read_exact(&mut self.packed[..packed])?)
    }

    fn unpack(&mut self, frame: Frame) -> Result<(), BlendError> {
        self.read_packed(frame)?;
        let unpacked = frame.unpacked as usize;
        self.current.resize(unpacked.max(self.current.len()), 0);
        let (packed, current) = (
            &self.packed[..frame.packed as usize],
            &mut self.current[..unpacked],
        );
        let written = self.decoder.decompress_to_buffer(packed, current);
        let written = written.map_err(|e| BlendError::damaged(e.to_string()))?;
        if written != unpacked {
            let message = "a frame is not as long as its table says";
            return Err(BlendError::damaged(message));
        }
        self.is_loaded = true;
        self.unpacked = self.unpacked.saturating_add(u64::from(frame.unpacked));
        Ok(())
    }
}

/// The table at the end of a file; none where it is absent or contradicts the file.
fn read_table<R: Read + Seek>(inner: &mut R, bytes: u64) -> Result<Option<Vec<Frame>>, BlendError> {
    let Some(foot_at) = bytes.checked_sub(FOOT_BYTES) else {
        return Ok(None);
    };
    let mut foot = [0; FOOT_BYTES as usize];
    inner.seek(SeekFrom::Start(foot_at))?;
    inner.read_exact(&mut foot)?;
    let [a, b, c, d, flags, magic @ ..] = foot;
    let count = u64::from(u32::from_le_bytes([a, b, c, d]));
    let entry_bytes: u64 = if flags & HAS_CHECKSUMS != 0 { 12 } else { 8 };
    let table_bytes = count * entry_bytes + FOOT_BYTES;
    let table_at = bytes.checked_sub(table_bytes + HEAD_BYTES);
    let is_table = u32::from_le_bytes(magic) == SEEKABLE_MAGIC && flags & RESERVED == 0;
    let Some(table_at) = table_at.filter(|_| is_table && count <= limits::FRAMES_MAX) else {
        return Ok(None);
    };
    inner.seek(SeekFrom::Start(table_at))?;
    let mut head = [0; HEAD_BYTES as usize];
    inner.read_exact(&mut head)?;
    let expected = [
        TABLE_MAGIC.to_le_bytes(),
        (table_bytes as u32).to_le_bytes(),
    ]
    .concat();
    if head[..] != expected[..] {
        return Ok(None);
    }
    let (mut frames, mut at, mut start) = (Vec::new(), 0_u64, 0_u64);
    let mut entry = vec![0; entry_bytes as usize];
    let mut reader = std::io::BufReader::new(inner);
    for _ in 0..count {
        reader.read_exact(&mut entry)?;
        let number = |at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let (packed, unpacked) = (number(0), number(4));
        if packed.max(unpacked) > limits::FRAME_BYTES_MAX {
            return Ok(None);
        }
        frames.push(Frame {
            at,
            packed,
            start,
            unpacked,
        });
        at += u64::from(packed);
        start += u64::from(unpacked);
    }
    Ok((at == table_at).then_some(frames))
}
