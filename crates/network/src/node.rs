//! The handle through which the rest of the product uses the network.

use crate::{
    blob::{self, Fetch},
    codec::Frame,
    driver::{Command, Driver},
    error::NetworkError,
    event::NodeEvent,
    identity::Identity,
    peers::peer_id,
    store::{Assembly, BlobStore},
    swarm::{self, CONNECTION_TIMEOUT, CONTROL_STREAMS_MAX, REQUEST_TIMEOUT},
};
use libp2p::{
    Multiaddr, PeerId,
    multiaddr::{self, Protocol},
};
use protocol::{
    Blake3Hash, NodeId, SegmentList, Segmented,
    ids::Signature,
    message::{Reply, Request, decode, encode},
};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

/// Commands that may wait for the network task.
const COMMANDS_MAX: usize = 64;
/// Events that may lie ready for the application.
const EVENTS_MAX: usize = 64;
/// Requests under way to one peer at once; further ones wait. Half of what a connection carries, since the
/// peer may ask as many.
const REQUESTS_PER_PEER_MAX: usize = CONTROL_STREAMS_MAX / 2;
/// Blobs fetched at once; further ones wait. Each holds about three pieces in memory.
const FETCHES_MAX: usize = 32;
/// Peers that were sent something, as far as they are counted.
const SERVED_PEERS_MAX: usize = 65_536;
/// The network task is told of a timeout by libp2p; this much later it is taken for stuck.
const GRACE: Duration = Duration::from_secs(5);

/// How a node shall run.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Multiaddrs to listen on; port 0 takes a free one. None: this node only dials.
    pub listen: Vec<String>,
    /// Who it is.
    pub identity: Identity,
    /// What it serves, and where it puts what it fetches.
    pub blobs: BlobStore,
    /// Whether it announces itself in the local network and looks for others there.
    pub mdns: bool,
    /// Connections at once.
    pub connections_max: u32,
    /// Bytes in flight on one QUIC stream: window / round trip time bounds the speed of one blob.
    pub quic_stream_window_bytes: u32,
    /// Bytes in flight on one QUIC connection.
    pub quic_connection_window_bytes: u32,
}

impl NodeConfig {
    /// Listens on free ports of all IPv4 interfaces, over QUIC and TCP; no mdns; 256 connections.
    pub fn new(identity: Identity, blobs: BlobStore) -> Self {
        Self {
            listen: vec![
                "/ip4/0.0.0.0/udp/0/quic-v1".into(),
                "/ip4/0.0.0.0/tcp/0".into(),
            ],
            identity,
            blobs,
            mdns: false,
            connections_max: 256,
            quic_stream_window_bytes: 10_000_000,
            quic_connection_window_bytes: 15_000_000,
        }
    }
}

/// What the handle and the network task share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The peers that speak our protocol, each with its places for requests under way.
    connected: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
    listening: Mutex<Vec<Multiaddr>>,
    blocked: Mutex<Vec<PeerId>>,
    /// Signals that `blocked` is not empty.
    pub blocked_changed: Notify,
    /// Encoded bytes of blobs sent to others.
    pub bytes_served: AtomicU64,
    served_to: Mutex<HashSet<PeerId>>,
}

/// A poisoned lock is used on: the collections behind it are whole after every single operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn add_connected(&self, peer: NodeId) {
        let places = Arc::new(Semaphore::new(REQUESTS_PER_PEER_MAX));
        lock(&self.connected).insert(peer, places);
    }

    pub fn remove_connected(&self, peer: NodeId) {
        lock(&self.connected).remove(&peer);
    }

    pub fn listening(&self) -> MutexGuard<'_, Vec<Multiaddr>> {
        lock(&self.listening)
    }

    /// A peer is sent something.
    pub fn serve_to(&self, peer: PeerId) {
        let mut served_to = lock(&self.served_to);
        if served_to.len() < SERVED_PEERS_MAX {
            served_to.insert(peer);
        }
    }

    pub fn take_blocked(&self) -> Vec<PeerId> {
        std::mem::take(&mut lock(&self.blocked))
    }
}

/// A running peer; clones are the same peer. It stops when [`Node::shutdown`] is called or the last clone is
/// dropped.
#[derive(Clone)]
pub struct Node {
    identity: Identity,
    blobs: BlobStore,
    commands: mpsc::Sender<Command>,
    streams: libp2p_stream::Control,
    shared: Arc<Shared>,
    fetches: Arc<Semaphore>,
    /// Lists of segments take memory, and cutting a processor: one at a time.
    cutting: Arc<Semaphore>,
}

impl Node {
    /// Starts a peer and waits until it listens on every address of `config`. Events that nobody takes from
    /// the receiver wait; requests beyond a few hundred waiting ones are then refused.
    ///
    /// # Errors
    /// When an address is malformed or taken.
    pub async fn start(
        config: NodeConfig,
    ) -> Result<(Self, mpsc::Receiver<NodeEvent>), NetworkError> {
        let listen = config
            .listen
            .iter()
            .map(|address| parse(address))
            .collect::<Result<Vec<_>, _>>()?;
        let swarm = swarm::build(&config)?;
        let streams = swarm.behaviour().blobs.new_control();
        let shared = Arc::new(Shared::default());
        let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let (events, event_receiver) = mpsc::channel(EVENTS_MAX);
        let server = blob::serve(streams.clone(), config.blobs.clone(), shared.clone())?;
        let mut driver = Driver::new(swarm, command_receiver, events, shared.clone(), server);
        driver.listen(listen).await?;
        tokio::spawn(driver.run());
        let node = Self {
            identity: config.identity,
            blobs: config.blobs,
            commands,
            streams,
            shared,
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            cutting: Arc::new(Semaphore::new(1)),
        };
        Ok((node, event_receiver))
    }

    /// This peer's public name.
    pub fn id(&self) -> NodeId {
        self.identity.node()
    }

    /// Signs with this peer's identity; [`crate::verify`] checks it.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        self.identity.sign(bytes)
    }

    /// Where this peer listens, each with its peer id; QUIC first, then other hosts' reach before loopback.
    pub async fn addresses(&self) -> Vec<String> {
        let mut addresses = self.shared.listening().clone();
        addresses.sort_by_cached_key(|address| {
            let quic = address.iter().any(|part| part == Protocol::QuicV1);
            let loopback = host(address).is_some_and(|host| host.is_loopback());
            (!quic, loopback, address.clone())
        });
        let peer = self.identity.keypair().public().to_peer_id();
        let full = addresses
            .into_iter()
            .map(|address| address.with(Protocol::P2p(peer)));
        full.map(|address| address.to_string()).collect()
    }

    /// Bytes of blobs, with their proofs, that this peer has sent since it started.
    pub fn bytes_served(&self) -> u64 {
        self.shared.bytes_served.load(Ordering::Relaxed)
    }

    /// How many peers it has sent blobs to.
    pub fn peers_served(&self) -> usize {
        lock(&self.shared.served_to).len()
    }

    /// Connects to the peer at `address` (a multiaddr; a host name as `/dns/...` is looked up) and waits until
    /// it has shown that it speaks our protocol. If the address ends in `/p2p/...`, it must be that peer.
    ///
    /// # Errors
    /// After at most about half a minute: nobody there, somebody else, or a stranger to our protocol.
    pub async fn dial(&self, address: &str) -> Result<NodeId, NetworkError> {
        let mut failure = None;
        for resolved in resolve(address).await? {
            let (done, connected) = oneshot::channel();
            let text = address.to_owned();
            self.command(Command::Dial {
                address: resolved,
                text,
                done,
            })
            .await?;
            let waited = tokio::time::timeout(CONNECTION_TIMEOUT + GRACE, connected).await;
            match waited {
                Ok(Ok(Ok(peer))) => return Ok(peer),
                Ok(Ok(Err(error))) => failure = Some(error),
                Ok(Err(_)) => return Err(NetworkError::Stopped),
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| NetworkError::Dial {
            address: address.to_owned(),
            reason: format!("no answer within {} s", CONNECTION_TIMEOUT.as_secs()),
        }))
    }

    /// Asks a connected peer and waits for its reply, at most 10 seconds.
    ///
    /// # Errors
    /// When not connected, without a reply in time, or with one that is no message.
    pub async fn request(&self, peer: NodeId, request: Request) -> Result<Reply, NetworkError> {
        let frame = Frame(encode(&request)?);
        let (to, places) = self.connected_peer(peer)?;
        let permit = places.acquire().await;
        let _permit = permit.map_err(|_| NetworkError::Stopped)?;
        let (done, reply) = oneshot::channel();
        self.command(Command::Request {
            peer: to,
            frame,
            done,
        })
        .await?;
        let failed = |reason: String| NetworkError::Request { peer, reason };
        match tokio::time::timeout(REQUEST_TIMEOUT + GRACE, reply).await {
            Ok(Ok(Ok(frame))) => {
                decode(&frame.0).map_err(|source| NetworkError::Reply { peer, source })
            }
            Ok(Ok(Err(reason))) => Err(failed(reason)),
            Ok(Err(_)) => Err(NetworkError::Stopped),
            Err(_) => Err(failed("no reply in time".into())),
        }
    }

    /// Fetches a blob of a connected peer into the store, verified piece by piece; `progress` hears how many
    /// of its bytes are here. Nothing is transferred when it is in the store already; a transfer that broke
    /// off goes on where it was.
    ///
    /// # Errors
    /// When not connected; when the peer refuses, has more than `bytes_max` bytes, sends wrong ones (then
    /// its connections are dropped), or pauses for a minute; when the store fails.
    pub async fn fetch(
        &self,
        peer: NodeId,
        hash: Blake3Hash,
        bytes_max: u64,
        progress: impl Fn(u64) + Send,
    ) -> Result<(), NetworkError> {
        let permit = self.fetches.acquire().await;
        let _permit = permit.map_err(|_| NetworkError::Stopped)?;
        let guard = self.blobs.lock_incoming(hash).await;
        let blobs = self.blobs.clone();
        if let Some(bytes) = blob::blocking(move || blobs.size(hash)).await? {
            progress(bytes);
            return Ok(());
        }
        let fetch = Fetch {
            peer,
            peer_id: self.connected_peer(peer)?.0,
            hash,
            bytes_max,
            streams: self.streams.clone(),
            blobs: self.blobs.clone(),
        };
        let fetched = fetch.run(guard, progress).await;
        self.after(peer, fetched).await
    }

    /// Begins a file of `bytes` with those of its segments that other blobs of the store have: `kept`, which are cut in this
    /// order until most of it is found. The list of its segments is in the store. None when the file is here already.
    ///
    /// # Errors
    /// When the list is none of a file of so many bytes, or the store fails. Blobs in `kept` that are missing or damaged only
    /// help less.
    pub async fn assemble(
        &self,
        segmented: Segmented,
        bytes: u64,
        kept: Vec<Blake3Hash>,
    ) -> Result<Option<Assembly>, NetworkError> {
        let hash = segmented.file;
        let guard = self.blobs.lock_incoming(hash).await;
        let permit = self.cutting.acquire().await;
        let _permit = permit.map_err(|_| NetworkError::Stopped)?;
        let blobs = self.blobs.clone();
        let begun = blob::blocking(move || {
            if blobs.contains(hash) {
                return Ok(None);
            }
            let list = blobs.read(segmented.list, segmented.list_bytes())?;
            let list = SegmentList::decode(&list, bytes);
            let list = list.map_err(|_| NetworkError::Segments { hash })?;
            Ok(Some(blobs.assemble(hash, &list, &kept, guard)?))
        });
        begun.await?
    }

    /// Fetches what an assembly lacks from a connected peer, verified as it arrives, and puts the blob into the store if
    /// the whole is what it should be. After an error that a later attempt may not meet it can be called again.
    ///
    /// # Errors
    /// Those of [`Node::fetch`], and [`NetworkError::Segments`] when the list of segments was wrong.
    pub async fn complete(
        &self,
        peer: NodeId,
        assembly: &mut Assembly,
    ) -> Result<(), NetworkError> {
        let permit = self.fetches.acquire().await;
        let _permit = permit.map_err(|_| NetworkError::Stopped)?;
        let fetch = Fetch {
            peer,
            peer_id: self.connected_peer(peer)?.0,
            hash: assembly.hash(),
            bytes_max: assembly.bytes(),
            streams: self.streams.clone(),
            blobs: self.blobs.clone(),
        };
        let fetched = fetch.run_for(assembly).await;
        self.after(peer, fetched).await?;
        assembly.finish().await
    }

    /// Who sends wrong bytes is left.
    async fn after(
        &self,
        peer: NodeId,
        fetched: Result<(), NetworkError>,
    ) -> Result<(), NetworkError> {
        if let Err(NetworkError::Corrupt { .. }) = &fetched {
            self.disconnect(peer).await;
        }
        fetched
    }

    /// Closes all connections to a peer; nothing happens when there are none.
    pub async fn disconnect(&self, peer: NodeId) {
        let Some(peer) = peer_id(peer) else { return };
        let (done, closed) = oneshot::channel();
        // Both fail only when the node is shut down, and then the connections are closed too.
        if self
            .command(Command::Disconnect { peer, done })
            .await
            .is_ok()
        {
            let _ = closed.await;
        }
    }

    /// Closes all connections to a peer and accepts none from now on.
    pub fn block(&self, peer: NodeId) {
        if let Some(peer) = peer_id(peer) {
            lock(&self.shared.blocked).push(peer);
            self.shared.blocked_changed.notify_one();
        }
    }

    /// Closes all connections and stops; returns when the ports are free. The event receiver then ends.
    pub async fn shutdown(self) {
        let (done, stopped) = oneshot::channel();
        if self.command(Command::Shutdown { done }).await.is_ok() {
            let _ = stopped.await;
        }
    }

    fn connected_peer(&self, peer: NodeId) -> Result<(PeerId, Arc<Semaphore>), NetworkError> {
        let places = lock(&self.shared.connected).get(&peer).cloned();
        peer_id(peer)
            .zip(places)
            .ok_or(NetworkError::NotConnected { peer })
    }

    async fn command(&self, command: Command) -> Result<(), NetworkError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| NetworkError::Stopped)
    }
}

fn parse(address: &str) -> Result<Multiaddr, NetworkError> {
    if address.is_empty() {
        return Err(malformed(address, "it is empty"));
    }
    address
        .parse()
        .map_err(|e: multiaddr::Error| malformed(address, e))
}

fn malformed(address: &str, reason: impl std::fmt::Display) -> NetworkError {
    NetworkError::Address {
        address: address.chars().take(200).collect(),
        reason: reason.to_string(),
    }
}

fn host(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(host) => Some(host.into()),
        Protocol::Ip6(host) => Some(host.into()),
        _ => None,
    }
}

/// The address with its host name, if it starts with one, replaced by each of the host's addresses.
async fn resolve(address: &str) -> Result<Vec<Multiaddr>, NetworkError> {
    let parsed = parse(address)?;
    let name = match parsed.iter().next() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => name,
        _ => return Ok(vec![parsed]),
    };
    let found = tokio::net::lookup_host((&*name, 0)).await;
    let wanted = |host: &SocketAddr| match parsed.iter().next() {
        Some(Protocol::Dns4(_)) => host.is_ipv4(),
        Some(Protocol::Dns6(_)) => host.is_ipv6(),
        _ => true,
    };
    let with_host = |host: SocketAddr| {
        parsed.replace(0, |_| {
            Some(match host.ip() {
                IpAddr::V4(host) => Protocol::Ip4(host),
                IpAddr::V6(host) => Protocol::Ip6(host),
            })
        })
    };
    let resolved: Vec<Multiaddr> = found
        .map_err(|e| malformed(address, e))?
        .filter(wanted)
        .filter_map(with_host)
        .take(RESOLVED_MAX)
        .collect();
    match resolved.is_empty() {
        true => Err(malformed(address, "its host has no such address")),
        false => Ok(resolved),
    }
}

/// Addresses of one host name that are tried.
const RESOLVED_MAX: usize = 4;
