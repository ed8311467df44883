//! Fetching: a whole blob, from where an earlier transfer broke off, or what an assembly lacks.

use super::{ANSWER_BYTES, Ask, BATCH_TIMEOUT, OPEN_TIMEOUT, Status, blocking, write};
use crate::{
    batches::{ASK_RANGES_MAX, BATCH_ENCODED_BYTES_MAX, Batches, ChunkRange},
    error::NetworkError,
    piece::{self, PIECE_BYTES},
    store::{Assembly, BlobStore, Incoming, PieceError},
    swarm::BLOB_PROTOCOL,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use protocol::{Blake3Hash, NodeId, limits::BLOB_BYTES_MAX};
use std::{io, time::Duration};
use tokio::{sync::OwnedMutexGuard, task::JoinHandle, time::timeout};

/// A stream that is dropped before the answer is tried again: libp2p drops streams that open too fast.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; it doubles with each further one.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// One blob to fetch from one peer.
pub struct Fetch {
    pub peer: NodeId,
    pub peer_id: PeerId,
    pub hash: Blake3Hash,
    pub bytes_max: u64,
    pub streams: libp2p_stream::Control,
    pub blobs: BlobStore,
}

impl Fetch {
    /// Fetches what is missing; `guard` is the lock of this blob.
    pub async fn run(
        mut self,
        guard: OwnedMutexGuard<()>,
        progress: impl Fn(u64) + Send,
    ) -> Result<(), NetworkError> {
        let (blobs, hash) = (self.blobs.clone(), self.hash);
        let incoming = blocking(move || blobs.incoming(hash, guard)).await??;
        let first_piece = incoming.pieces();
        let rest = piece::from(first_piece);
        let (mut stream, bytes) = self.open(vec![rest], first_piece * PIECE_BYTES).await?;
        let pieces = piece::count(bytes);
        if first_piece >= pieces {
            incoming.discard();
            return Err(self.interrupted(0, "its length is not what it was"));
        }
        // While one piece arrives, the one before it is checked and written.
        let mut storing = spawn_accept(incoming, bytes, None);
        for piece in first_piece..pieces {
            let arrived = read_batch(&mut stream).await;
            let incoming = self.stored(storing).await?;
            let here = incoming.pieces() * PIECE_BYTES;
            let encoded = arrived.map_err(|why| self.interrupted(here, why))?;
            storing = spawn_accept(incoming, bytes, Some(encoded));
            progress((piece * PIECE_BYTES).min(bytes));
        }
        self.stored(storing).await?;
        progress(bytes);
        Ok(())
    }

    /// Fetches what an assembly lacks.
    pub async fn run_for(mut self, assembly: &mut Assembly) -> Result<(), NetworkError> {
        loop {
            let ranges = assembly.lacking(ASK_RANGES_MAX);
            if ranges.is_empty() {
                return Ok(());
            }
            let here = assembly.arrived_bytes();
            let (mut stream, bytes) = self.open(ranges.clone(), here).await?;
            if bytes != assembly.bytes() {
                return Err(self.interrupted(here, "its length is not that of its segments"));
            }
            for batch in Batches::new(ranges, bytes) {
                let arrived = read_batch(&mut stream).await;
                let encoded =
                    arrived.map_err(|why| self.interrupted(assembly.arrived_bytes(), why))?;
                let accepted = assembly.accept(batch, encoded).await?;
                accepted.map_err(|error| self.refused_piece(error))?;
            }
        }
    }

    /// Opens a stream, asks, and gives the length of the blob, of which some bytes are here.
    async fn open(
        &mut self,
        ranges: Vec<ChunkRange>,
        here: u64,
    ) -> Result<(Stream, u64), NetworkError> {
        let (peer, hash) = (self.peer, self.hash);
        let (stream, status, bytes) = self.ask(ranges, here).await?;
        match status {
            Status::Serving => {}
            Status::Refused => return Err(NetworkError::Refused { peer, hash }),
            Status::Busy => return Err(NetworkError::Busy { peer, hash }),
        }
        let bytes_max = self.bytes_max.min(BLOB_BYTES_MAX);
        if bytes > bytes_max {
            return Err(NetworkError::TooLarge {
                peer,
                hash,
                bytes,
                bytes_max,
            });
        }
        Ok((stream, bytes))
    }

    async fn ask(
        &mut self,
        ranges: Vec<ChunkRange>,
        here: u64,
    ) -> Result<(Stream, Status, u64), NetworkError> {
        let ask = Ask {
            hash: self.hash,
            ranges,
        };
        let mut attempt = 0;
        loop {
            match self.ask_once(&ask).await {
                Ok(asked) => return Ok(asked),
                Err(error) => {
                    attempt += 1;
                    if attempt == ATTEMPTS_MAX {
                        return Err(self.interrupted(here, error));
                    }
                    tokio::time::sleep(ATTEMPT_PAUSE * (1 << attempt)).await;
                }
            }
        }
    }

    async fn ask_once(&mut self, ask: &Ask) -> io::Result<(Stream, Status, u64)> {
        // Without a connection libp2p would never answer: hence the timeout.
        let opened = self.streams.open_stream(self.peer_id, BLOB_PROTOCOL);
        let mut stream = timeout(OPEN_TIMEOUT, opened)
            .await?
            .map_err(io::Error::other)?;
        write(&mut stream, &ask.to_bytes()).await?;
        stream.flush().await?;
        let mut answer = [0; ANSWER_BYTES];
        timeout(BATCH_TIMEOUT, stream.read_exact(&mut answer)).await??;
        let [status, bytes @ ..] = answer;
        let status = Status::from_byte(status)
            .ok_or_else(|| io::Error::other("an answer with an unknown status"))?;
        Ok((stream, status, u64::from_le_bytes(bytes)))
    }

    async fn stored(&self, storing: Storing) -> Result<Incoming, NetworkError> {
        let stored = storing.await.map_err(|_| NetworkError::Stopped)?;
        stored.map_err(|error| self.refused_piece(error))
    }

    fn refused_piece(&self, error: PieceError) -> NetworkError {
        match error {
            PieceError::Store(error) => error.into(),
            PieceError::Wrong { offset } => NetworkError::Corrupt {
                peer: self.peer,
                hash: self.hash,
                offset,
            },
        }
    }

    fn interrupted(&self, bytes: u64, reason: impl ToString) -> NetworkError {
        NetworkError::Interrupted {
            peer: self.peer,
            hash: self.hash,
            bytes,
            reason: reason.to_string(),
        }
    }
}

type Storing = JoinHandle<Result<Incoming, PieceError>>;

fn spawn_accept(incoming: Incoming, bytes: u64, encoded: Option<Vec<u8>>) -> Storing {
    tokio::task::spawn_blocking(move || match encoded {
        Some(encoded) => incoming.accept(bytes, &encoded),
        None => Ok(incoming),
    })
}

/// The next batch, or why there is none.
async fn read_batch(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, String> {
    let read = async {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let length = u32::from_le_bytes(length) as usize;
        if length > BATCH_ENCODED_BYTES_MAX {
            return Err(io::Error::other(format!(
                "a batch of {length} bytes is over the limit of {BATCH_ENCODED_BYTES_MAX}"
            )));
        }
        let mut encoded = vec![0; length];
        stream.read_exact(&mut encoded).await?;
        Ok(encoded)
    };
    match timeout(BATCH_TIMEOUT, read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the peer has paused for too long".into()),
    }
}
