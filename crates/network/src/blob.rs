//! The blob protocol: how one file, or parts of it, travel from the peer that has it to the peer that asks.
//!
//! On a stream of its own the asking side sends an [`Ask`]: hash (32 bytes), number of ranges (u32), and each range of
//! chunks as its first and the one behind its last (u64 each). The other side answers with one status byte and the blob's
//! length in bytes (u64), then, if the status is [`Status::Serving`], every batch of the ranges ([`crate::batches`]): length
//! (u32) and encoded bytes. Integers are little endian. Whether a blob is unknown or not allowed is not told apart.

mod fetch;
mod server;

pub use fetch::Fetch;
pub use server::serve;

use crate::{
    batches::{ASK_RANGES_MAX, ChunkRange},
    error::NetworkError,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use protocol::Blake3Hash;
use std::{io, time::Duration};
use tokio::time::timeout;

/// A stream must be open, and an [`Ask`] read, within this time.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A batch must have arrived or been taken within this time: at least 17 KB/s.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

const ASK_HEAD_BYTES: usize = 36;
const RANGE_BYTES: usize = 16;
const ANSWER_BYTES: usize = 9;

#[derive(Debug, PartialEq, Eq)]
struct Ask {
    hash: Blake3Hash,
    ranges: Vec<ChunkRange>,
}

impl Ask {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ASK_HEAD_BYTES + self.ranges.len() * RANGE_BYTES);
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for range in &self.ranges {
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&range.end.to_le_bytes());
        }
        bytes
    }

    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let (mut hash, mut count) = ([0; 32], [0; 4]);
        stream.read_exact(&mut hash).await?;
        stream.read_exact(&mut count).await?;
        let count = u32::from_le_bytes(count) as usize;
        if count > ASK_RANGES_MAX {
            return Err(io::Error::other(format!(
                "{count} ranges are over the limit of {ASK_RANGES_MAX}"
            )));
        }
        let mut bytes = vec![0; count * RANGE_BYTES];
        stream.read_exact(&mut bytes).await?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let (pairs, _) = numbers.as_chunks::<2>();
        let range =
            |[start, end]: &[[u8; 8]; 2]| u64::from_le_bytes(*start)..u64::from_le_bytes(*end);
        Ok(Self {
            hash: Blake3Hash(hash),
            ranges: pairs.iter().map(range).collect(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The batches follow.
    Serving = 0,
    /// Not here, or not for this peer, or not that far.
    Refused = 1,
    /// Too many transfers.
    Busy = 2,
}

impl Status {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Serving, Self::Refused, Self::Busy];
        all.into_iter().find(|status| *status as u8 == byte)
    }
}

fn answer(status: Status, bytes: u64) -> [u8; ANSWER_BYTES] {
    let mut answer = [0; ANSWER_BYTES];
    answer[0] = status as u8;
    answer[1..].copy_from_slice(&bytes.to_le_bytes());
    answer
}

/// Runs `work` on a thread where it may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NetworkError> {
    let joined = tokio::task::spawn_blocking(work).await;
    // Fails only when the runtime shuts down.
    joined.map_err(|_| NetworkError::Stopped)
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    timeout(BATCH_TIMEOUT, stream.write_all(bytes)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_come_back_and_absurd_ones_are_refused() {
        let ask = Ask {
            hash: Blake3Hash([7; 32]),
            ranges: vec![0..1, 5..1000, 2000..u64::MAX],
        };
        let bytes = ask.to_bytes();
        assert_eq!(Ask::read(&mut &bytes[..]).await.unwrap(), ask);
        assert!(Ask::read(&mut &bytes[..bytes.len() - 1]).await.is_err());
        let mut absurd = bytes.clone();
        absurd[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Ask::read(&mut &absurd[..]).await.is_err());
    }
}
