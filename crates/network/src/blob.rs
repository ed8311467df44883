//! The blob protocol: how one file travels from the peer that has it to the peer that asks.
//!
//! On a stream of its own the asking side sends a [`Ask`]: hash (32 bytes) and the first piece it lacks
//! (u64). The other side answers with one status byte and the blob's length in bytes (u64), then, if the
//! status is [`Status::Serving`], every piece from the first on: length (u32) and encoded bytes, see
//! [`crate::piece`]. Integers are little endian. Whether a blob is unknown or not allowed is not told apart.

use crate::{
    error::NetworkError,
    node::Shared,
    peers::node_id,
    piece::{self, PIECE_BYTES, PIECE_ENCODED_BYTES_MAX},
    store::{BlobStore, Incoming, PieceError, Source, StoreError},
    swarm::BLOB_PROTOCOL,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream};
use protocol::{Blake3Hash, NodeId, limits::BLOB_BYTES_MAX};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};

/// A stream must be open, and an [`Ask`] read, within this time.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A piece must have arrived or been taken within this time: at least 17 KB/s.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// Blobs served at once, each with about two pieces in memory.
const SERVED_MAX: usize = 128;
/// Blobs served at once to one peer.
const SERVED_PER_PEER_MAX: usize = 40;
/// A stream that is dropped before the answer is tried again: libp2p drops streams that open too fast.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; it doubles with each further one.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

const ASK_BYTES: usize = 40;
const ANSWER_BYTES: usize = 9;

struct Ask {
    hash: Blake3Hash,
    first_piece: u64,
}

impl Ask {
    fn to_bytes(&self) -> [u8; ASK_BYTES] {
        let mut bytes = [0; ASK_BYTES];
        bytes[..32].copy_from_slice(&self.hash.0);
        bytes[32..].copy_from_slice(&self.first_piece.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ASK_BYTES]) -> Self {
        let (mut hash, mut first_piece) = ([0; 32], [0; 8]);
        hash.copy_from_slice(&bytes[..32]);
        first_piece.copy_from_slice(&bytes[32..]);
        Self {
            hash: Blake3Hash(hash),
            first_piece: u64::from_le_bytes(first_piece),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The pieces follow.
    Serving = 0,
    /// Not here, or not for this peer.
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

/// Serves the blobs of `blobs` to whoever may have them, until aborted.
pub fn serve(
    mut streams: libp2p_stream::Control,
    blobs: BlobStore,
    shared: Arc<Shared>,
) -> Result<JoinHandle<()>, NetworkError> {
    let mut incoming = streams
        .accept(BLOB_PROTOCOL)
        .map_err(|e| NetworkError::Start(e.to_string()))?;
    let places = Places::default();
    Ok(tokio::spawn(async move {
        let mut serving = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { break };
                    let place = places.take(peer);
                    let server = Server { peer, blobs: blobs.clone(), shared: shared.clone() };
                    serving.spawn(server.run(stream, place));
                }
                Some(_) = serving.join_next() => {}
            }
        }
    }))
}

/// How many blobs are being served, in all and to each peer.
#[derive(Clone)]
struct Places {
    all: Arc<Semaphore>,
    by_peer: Arc<Mutex<HashMap<PeerId, usize>>>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(SERVED_MAX)),
            by_peer: Arc::default(),
        }
    }
}

impl Places {
    fn take(&self, peer: PeerId) -> Option<Place> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_peer.entry(peer).or_default();
        if *taken >= SERVED_PER_PEER_MAX {
            return None;
        }
        *taken += 1;
        Some(Place {
            peer,
            places: self.clone(),
            _permit: permit,
        })
    }
}

/// The right to be served; given back when dropped.
struct Place {
    peer: PeerId,
    places: Places,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let by_peer = &self.places.by_peer;
        let mut by_peer = by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_peer.get_mut(&self.peer) {
            *taken -= 1;
            if *taken == 0 {
                by_peer.remove(&self.peer);
            }
        }
    }
}

/// One stream on which a blob is served.
struct Server {
    peer: PeerId,
    blobs: BlobStore,
    shared: Arc<Shared>,
}

impl Server {
    async fn run(self, mut stream: Stream, place: Option<Place>) {
        let served = match place {
            Some(_place) => self.serve(&mut stream).await,
            None => reply(&mut stream, Status::Busy, 0).await,
        };
        let peer = self.peer;
        match served {
            Ok(()) => tracing::debug!(%peer, "served a blob"),
            Err(error) => tracing::debug!(%peer, %error, "did not serve a blob"),
        }
    }

    async fn serve(&self, stream: &mut Stream) -> io::Result<()> {
        let mut ask = [0; ASK_BYTES];
        timeout(OPEN_TIMEOUT, stream.read_exact(&mut ask)).await??;
        let ask = Ask::from_bytes(&ask);
        let Some(source) = self.open(&ask).await else {
            return reply(stream, Status::Refused, 0).await;
        };
        let pieces = piece::count(source.bytes());
        write(stream, &answer(Status::Serving, source.bytes())).await?;
        let source = Arc::new(source);
        let mut next = encode(source.clone(), ask.first_piece).await?;
        for piece in ask.first_piece..pieces {
            let current = next;
            let ahead = async {
                match piece + 1 < pieces {
                    true => encode(source.clone(), piece + 1).await,
                    false => Ok(Vec::new()),
                }
            };
            let sent = async {
                write(stream, &(current.len() as u32).to_le_bytes()).await?;
                write(stream, &current).await
            };
            (next, ()) = tokio::try_join!(ahead, sent)?;
            let bytes = current.len() as u64;
            self.shared.bytes_served.fetch_add(bytes, Ordering::Relaxed);
        }
        timeout(PIECE_TIMEOUT, stream.close()).await?
    }

    /// The blob that is asked for, if this peer may have it and it reaches that far.
    async fn open(&self, ask: &Ask) -> Option<Source> {
        let hash = ask.hash;
        let node = node_id(&self.peer)?;
        if !self.blobs.is_allowed(hash, node) {
            return None;
        }
        let blobs = self.blobs.clone();
        match blocking(move || blobs.source(hash)).await.ok()? {
            Ok(source) => (ask.first_piece < piece::count(source.bytes())).then_some(source),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => {
                tracing::warn!(%hash, %error, "cannot serve a blob");
                None
            }
        }
    }
}

async fn encode(source: Arc<Source>, piece: u64) -> io::Result<Vec<u8>> {
    let encoded = blocking(move || source.piece(piece)).await;
    encoded.map_err(io::Error::other)?
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    timeout(PIECE_TIMEOUT, stream.write_all(bytes)).await?
}

async fn reply(stream: &mut Stream, status: Status, bytes: u64) -> io::Result<()> {
    write(stream, &answer(status, bytes)).await?;
    timeout(OPEN_TIMEOUT, stream.close()).await?
}

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
        let (mut stream, bytes) = self.open(first_piece).await?;
        let pieces = piece::count(bytes);
        if first_piece >= pieces {
            incoming.discard();
            return Err(self.interrupted(0, "its length is not what it was"));
        }
        // While one piece arrives, the one before it is checked and written.
        let mut storing = spawn_accept(incoming, bytes, None);
        for piece in first_piece..pieces {
            let arrived = timeout(PIECE_TIMEOUT, read_piece(&mut stream)).await;
            let incoming = self.stored(storing).await?;
            let here = incoming.pieces() * PIECE_BYTES;
            let encoded = match arrived {
                Ok(Ok(encoded)) => encoded,
                Ok(Err(error)) => return Err(self.interrupted(here, error)),
                Err(_) => return Err(self.interrupted(here, "the peer has paused for too long")),
            };
            storing = spawn_accept(incoming, bytes, Some(encoded));
            progress((piece * PIECE_BYTES).min(bytes));
        }
        self.stored(storing).await?;
        progress(bytes);
        Ok(())
    }

    /// Opens a stream, asks, and gives the length of the blob.
    async fn open(&mut self, first_piece: u64) -> Result<(Stream, u64), NetworkError> {
        let (peer, hash) = (self.peer, self.hash);
        let (stream, status, bytes) = self.ask(first_piece).await?;
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

    async fn ask(&mut self, first_piece: u64) -> Result<(Stream, Status, u64), NetworkError> {
        let ask = Ask {
            hash: self.hash,
            first_piece,
        };
        let mut attempt = 0;
        loop {
            match self.ask_once(&ask).await {
                Ok(asked) => return Ok(asked),
                Err(error) => {
                    attempt += 1;
                    if attempt == ATTEMPTS_MAX {
                        return Err(self.interrupted(first_piece * PIECE_BYTES, error));
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
        timeout(PIECE_TIMEOUT, stream.read_exact(&mut answer)).await??;
        let [status, bytes @ ..] = answer;
        let status = Status::from_byte(status)
            .ok_or_else(|| io::Error::other("an answer with an unknown status"))?;
        Ok((stream, status, u64::from_le_bytes(bytes)))
    }

    async fn stored(&self, storing: Storing) -> Result<Incoming, NetworkError> {
        match storing.await.map_err(|_| NetworkError::Stopped)? {
            Ok(incoming) => Ok(incoming),
            Err(PieceError::Store(error)) => Err(error.into()),
            Err(PieceError::Wrong { offset }) => Err(NetworkError::Corrupt {
                peer: self.peer,
                hash: self.hash,
                offset,
            }),
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

async fn read_piece(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > PIECE_ENCODED_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a piece of {length} bytes is over the limit of {PIECE_ENCODED_BYTES_MAX}"
        )));
    }
    let mut encoded = vec![0; length];
    stream.read_exact(&mut encoded).await?;
    Ok(encoded)
}
