//! Writes Zstandard files as Blender does: in frames of a MiB, and a table of the frames at the end.

use crate::{
    BlendError,
    seekable::{FOOT_BYTES, SEEKABLE_MAGIC, TABLE_MAGIC},
};
use std::io::{self, Write};
use zstd::bulk::Compressor;

/// Bytes of a frame before they are packed.
const FRAME_BYTES: usize = 1 << 20;

/// Packs what is written to it.
pub(crate) struct FrameWriter<W> {
    inner: W,
    compressor: Compressor<'static>,
    waiting: Vec<u8>,
    /// Lengths of the frames, packed and unpacked.
    frames: Vec<[u32; 2]>,
}

impl<W: Write> FrameWriter<W> {
    pub fn new(inner: W) -> Result<Self, BlendError> {
        Ok(Self {
            inner,
            compressor: Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).map_err(BlendError::Io)?,
            waiting: Vec::with_capacity(FRAME_BYTES),
            frames: Vec::new(),
        })
    }

    /// Writes a frame that is packed already.
    pub fn write_packed(&mut self, packed: &[u8], unpacked: u32) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.write_frame()?;
        }
        let too_long = |_| io::Error::other("a frame is too long");
        let bytes = u32::try_from(packed.len()).map_err(too_long)?;
        self.frames.push([bytes, unpacked]);
        self.inner.write_all(packed)
    }

    fn write_frame(&mut self) -> io::Result<()> {
        let packed = self.compressor.compress(&self.waiting)?;
        let lengths = [packed.len(), self.waiting.len()];
        // Neither is much longer than a MiB.
        self.frames.push(lengths.map(|length| length as u32));
        self.waiting.clear();
        self.inner.write_all(&packed)
    }

    /// Writes what is left, and the table.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.write_frame()?;
        }
        let too_many = |_| io::Error::other("it has too many frames");
        let count = u32::try_from(self.frames.len()).map_err(too_many)?;
        let entries = self.frames.iter().flatten();
        let entries: Vec<u8> = entries.flat_map(|length| length.to_le_bytes()).collect();
        let bytes = u32::try_from(entries.len() + FOOT_BYTES as usize).map_err(too_many)?;
        let inner = &mut self.inner;
        inner.write_all(&TABLE_MAGIC.to_le_bytes())?;
        inner.write_all(&bytes.to_le_bytes())?;
        inner.write_all(&entries)?;
        inner.write_all(&count.to_le_bytes())?;
        inner.write_all(&[0])?;
        inner.write_all(&SEEKABLE_MAGIC.to_le_bytes())
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = FRAME_BYTES - self.waiting.len();
        let taken = bytes.len().min(room);
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == FRAME_BYTES {
            self.write_frame()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
