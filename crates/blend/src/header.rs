//! The first bytes of a `.blend` file: which Blender wrote it, and how its blocks are headed.

use crate::{BlendError, source::Source};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    io::{Read, Seek},
};

const MAGIC: &[u8; 7] = b"BLENDER";
/// What later headers say of their own length.
const LARGE_HEADER_BYTES: &[u8; 2] = b"17";
const LARGE_FORMAT: u32 = 1;

/// The version of Blender that wrote a file: 405 is 4.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 2.79 and 2.80 have two digits after the point.
        match self.0 {
            ..300 => write!(f, "{}.{:02}", self.0 / 100, self.0 % 100),
            _ => write!(f, "{}.{}", self.0 / 100, self.0 % 100),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How the blocks of a file are headed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockHeaders {
    /// 24 bytes: code, length (32 bits), address, struct, count.
    Small,
    /// 32 bytes, from 5.0 on: code, struct, address, length (64 bits), count.
    Large,
}

impl BlockHeaders {
    pub fn bytes(self) -> usize {
        match self {
            BlockHeaders::Small => 24,
            BlockHeaders::Large => 32,
        }
    }
}

pub(crate) fn read<R: Read + Seek>(
    source: &mut Source<R>,
) -> Result<(Version, BlockHeaders), BlendError> {
    let mut start = [0; 12];
    source.read_exact(&mut start)?;
    let rest = start.strip_prefix(MAGIC).ok_or(BlendError::NotBlend)?;
    match rest {
        [b'-' | b'_', b'V', ..] => Err(BlendError::Machine("big-endian")),
        [b'_', b'v', ..] => Err(BlendError::Machine("32-bit")),
        [b'-', b'v', digits @ ..] => Ok((version(digits)?, BlockHeaders::Small)),
        [a, b, b'-', c, d] if [*a, *b] == *LARGE_HEADER_BYTES => {
            let mut rest = [0; 5];
            source.read_exact(&mut rest)?;
            let format = number(&[*c, *d])?;
            match (format, &rest) {
                (LARGE_FORMAT, [b'v', digits @ ..]) => Ok((version(digits)?, BlockHeaders::Large)),
                (LARGE_FORMAT, _) => Err(BlendError::Machine("big-endian")),
                _ => Err(BlendError::Format(format)),
            }
        }
        [a, b, b'-', c, d] if [a, b].iter().all(|digit| digit.is_ascii_digit()) => {
            Err(BlendError::Format(number(&[*c, *d])?))
        }
        _ => Err(BlendError::NotBlend),
    }
}

fn version(digits: &[u8]) -> Result<Version, BlendError> {
    let number = number(digits)?;
    u16::try_from(number)
        .map(Version)
        .map_err(|_| BlendError::NotBlend)
}

fn number(digits: &[u8]) -> Result<u32, BlendError> {
    let text = std::str::from_utf8(digits).map_err(|_| BlendError::NotBlend)?;
    text.parse().map_err(|_| BlendError::NotBlend)
}
