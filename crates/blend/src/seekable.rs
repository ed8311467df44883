//! Zstandard files with a table of their frames at the end, as Blender writes them (a frame for each MiB): frames that
//! nobody asks for are passed over, and others are unpacked by several threads when they are read in a row.
//!
//! The table is the file's own word. What it says of places and lengths is checked before it is used, and of a frame's
//! length again when that is unpacked.

use crate::{BlendError, limits};
use std::{
    collections::VecDeque,
    io::{Read, Seek, SeekFrom},
    sync::{Arc, Mutex, mpsc},
    thread,
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

/// Where a frame lies in the file, and how long it is when it is unpacked.
#[derive(Clone, Copy)]
struct Frame {
    at: u64,
    packed: u32,
    unpacked: u32,
}

type Unpacked = Result<Vec<u8>, BlendError>;

/// A frame for a thread to unpack.
struct Work {
    packed: Vec<u8>,
    unpacked_bytes: u32,
    answer: mpsc::SyncSender<Unpacked>,
}

pub(crate) struct Seekable<R> {
    inner: R,
    decoder: Decompressor<'static>,
    frames: Vec<Frame>,
    /// The frame after the current one.
    next: usize,
    /// Frames before it that were read without passing over any.
    in_a_row: usize,
    /// The frame that is read, and how far.
    current: Vec<u8>,
    read: usize,
    /// Frames that threads unpack, by their indices, in order.
    ahead: VecDeque<(usize, mpsc::Receiver<Unpacked>)>,
    threads: Option<mpsc::SyncSender<Work>>,
    unpacked: u64,
}

impl<R: Read + Seek> Seekable<R> {
    /// Gives the reader back where the file has no table, or none that can be right.
    pub fn new(mut inner: R, bytes: u64) -> Result<Result<Self, R>, BlendError> {
        Ok(match read_table(&mut inner, bytes)? {
            None => Err(inner),
            Some(frames) => Ok(Self {
                inner,
                decoder: Decompressor::new()?,
                frames,
                next: 0,
                in_a_row: 0,
                current: Vec::new(),
                read: 0,
                ahead: VecDeque::new(),
                threads: None,
                unpacked: 0,
            }),
        })
    }

    /// How much was unpacked until now.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Reads as many bytes as there are at once; 0 at the end.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlendError> {
        while self.read == self.current.len() {
            if self.next == self.frames.len() {
                return Ok(0);
            }
            self.load()?;
        }
        let rest = &self.current[self.read..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }

    pub fn skip(&mut self, bytes: u64) -> Result<(), BlendError> {
        let rest = self.current.len() - self.read;
        let here = usize::try_from(bytes).map_or(rest, |bytes| bytes.min(rest));
        self.read += here;
        let mut left = bytes - here as u64;
        while left > 0 {
            let frame = self.frames.get(self.next).ok_or(BlendError::CutShort)?;
            if u64::from(frame.unpacked) > left {
                self.load()?;
                self.read = usize::try_from(left).map_err(|_| BlendError::CutShort)?;
                return Ok(());
            }
            left -= u64::from(frame.unpacked);
            self.next += 1;
            self.in_a_row = 0;
            self.current.clear();
            self.read = 0;
        }
        Ok(())
    }

    /// Makes the next frame the current one; where frames are read in a row threads go on with those after it.
    fn load(&mut self) -> Result<(), BlendError> {
        let index = self.next;
        self.next += 1;
        self.read = 0;
        while self.ahead.front().is_some_and(|(first, _)| *first < index) {
            self.ahead.pop_front();
        }
        if self.in_a_row > 1 {
            self.unpack_ahead(index)?;
        }
        self.in_a_row += 1;
        self.current = match self.ahead.front() {
            Some((first, _)) if *first == index => {
                let (_, answer) = self.ahead.pop_front().ok_or(BlendError::CutShort)?;
                let gone = |_| BlendError::damaged("a frame was not unpacked");
                answer.recv().map_err(gone)??
            }
            _ => {
                let packed = self.packed(index)?;
                unpack(&mut self.decoder, &packed, self.frames[index].unpacked)?
            }
        };
        self.unpacked = self.unpacked.saturating_add(self.current.len() as u64);
        Ok(())
    }

    /// Hands frames from this one on to threads.
    fn unpack_ahead(&mut self, index: usize) -> Result<(), BlendError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(limits::UNPACKING_THREADS_MAX);
        let ahead = self.in_a_row.min(2 * threads);
        let end = self.frames.len().min(index + ahead);
        let from = self.ahead.back().map_or(index, |(last, _)| last + 1);
        for index in from.max(index)..end {
            let packed = self.packed(index)?;
            let (answer, answered) = mpsc::sync_channel(1);
            let work = Work {
                packed,
                unpacked_bytes: self.frames[index].unpacked,
                answer,
            };
            let to = self.threads.get_or_insert_with(|| start(threads));
            to.send(work)
                .map_err(|_| BlendError::damaged("nobody unpacks its frames"))?;
            self.ahead.push_back((index, answered));
        }
        Ok(())
    }

    fn packed(&mut self, index: usize) -> Result<Vec<u8>, BlendError> {
        let frame = self.frames[index];
        let mut packed = vec![0; frame.packed as usize];
        self.inner.seek(SeekFrom::Start(frame.at))?;
        self.inner.read_exact(&mut packed)?;
        Ok(packed)
    }
}

/// Threads that end when nobody can hand them work any more.
fn start(threads: usize) -> mpsc::SyncSender<Work> {
    let (sender, receiver) = mpsc::sync_channel::<Work>(2 * threads);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let receiver = Arc::clone(&receiver);
        thread::spawn(move || {
            let Ok(mut decoder) = Decompressor::new() else {
                return;
            };
            loop {
                let work = match receiver.lock() {
                    Ok(receiver) => receiver.recv(),
                    Err(_) => return,
                };
                let Ok(work) = work else {
                    return;
                };
                // Nobody waits any more when the frame was passed over.
                let unpacked = unpack(&mut decoder, &work.packed, work.unpacked_bytes);
                let _ = work.answer.send(unpacked);
            }
        });
    }
    sender
}

fn unpack(decoder: &mut Decompressor<'_>, packed: &[u8], bytes: u32) -> Unpacked {
    let unpacked = decoder.decompress(packed, bytes as usize);
    let unpacked = unpacked.map_err(|e| BlendError::damaged(e.to_string()))?;
    match unpacked.len() == bytes as usize {
        true => Ok(unpacked),
        false => Err(BlendError::damaged(
            "a frame is not as long as its table says",
        )),
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
    let (mut frames, mut at) = (Vec::new(), 0_u64);
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
            unpacked,
        });
        at += u64::from(packed);
    }
    Ok((at == table_at).then_some(frames))
}
