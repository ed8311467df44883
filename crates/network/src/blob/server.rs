//! Serving: who gets how much at once, and one stream on which chunks of a blob are sent.

use super::{Ask, BATCH_TIMEOUT, OPEN_TIMEOUT, Status, answer, blocking, write};
use crate::{
    batches::{self, Batches, ChunkRange},
    error::NetworkError,
    node::Shared,
    peers::node_id,
    store::{BlobStore, Source, StoreError},
    swarm::BLOB_PROTOCOL,
};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};

/// Blobs served at once, each with about two batches in memory.
const SERVED_MAX: usize = 128;
/// Blobs served at once to one peer.
const SERVED_PER_PEER_MAX: usize = 40;

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
        let ask = timeout(OPEN_TIMEOUT, Ask::read(stream)).await??;
        let Some(source) = self.open(&ask).await else {
            return reply(stream, Status::Refused, 0).await;
        };
        write(stream, &answer(Status::Serving, source.bytes())).await?;
        self.shared.serve_to(self.peer);
        let mut batches = Batches::new(ask.ranges, source.bytes());
        let source = Arc::new(source);
        let mut next = encode(source.clone(), batches.next()).await?;
        while let Some(current) = next {
            let ahead = encode(source.clone(), batches.next());
            let sent = async {
                write(stream, &(current.len() as u32).to_le_bytes()).await?;
                write(stream, &current).await
            };
            (next, ()) = tokio::try_join!(ahead, sent)?;
            let bytes = current.len() as u64;
            self.shared.bytes_served.fetch_add(bytes, Ordering::Relaxed);
        }
        timeout(BATCH_TIMEOUT, stream.close()).await?
    }

    /// The blob that is asked for, if this peer may have it and the ranges are of it.
    async fn open(&self, ask: &Ask) -> Option<Source> {
        let hash = ask.hash;
        let node = node_id(&self.peer)?;
        if !self.blobs.is_allowed(hash, node) {
            return None;
        }
        let blobs = self.blobs.clone();
        match blocking(move || blobs.source(hash)).await.ok()? {
            Ok(source) => batches::are_of(&ask.ranges, source.bytes()).then_some(source),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => {
                tracing::warn!(%hash, %error, "cannot serve a blob");
                None
            }
        }
    }
}

async fn encode(
    source: Arc<Source>,
    batch: Option<Vec<ChunkRange>>,
) -> io::Result<Option<Vec<u8>>> {
    let Some(batch) = batch else {
        return Ok(None);
    };
    let encoded = blocking(move || source.batch(&batch)).await;
    encoded.map_err(io::Error::other)?.map(Some)
}

async fn reply(stream: &mut Stream, status: Status, bytes: u64) -> io::Result<()> {
    write(stream, &answer(status, bytes)).await?;
    timeout(OPEN_TIMEOUT, stream.close()).await?
}
