//! The libp2p side of a node: transports, the behaviours that run on every connection, and their limits.

use crate::{codec::FrameCodec, error::NetworkError, node::NodeConfig};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, identify,
    identity::Keypair,
    mdns, memory_connection_limits, noise, ping, request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};
use std::time::Duration;

/// The family of protocols, as identify tells it.
const PROTOCOL_FAMILY: &str = "/openrender/1";
/// Requests and replies.
pub const CONTROL_PROTOCOL: &str = "/openrender/control/1";
/// Verified blobs.
pub const BLOB_PROTOCOL: StreamProtocol = StreamProtocol::new("/openrender/blob/2");

/// A request must be answered within this time.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection must be up within this time.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without streams is closed after this time.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections to one peer: both sides may dial at once, over both transports.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Handshakes of strangers at once.
const PENDING_INCOMING_MAX: u32 = 64;
/// Dials at once.
const PENDING_OUTGOING_MAX: u32 = 64;
/// Control streams at once on one connection, in both directions.
pub const CONTROL_STREAMS_MAX: usize = 64;
/// Streams at once that one peer may have open on one QUIC connection.
const QUIC_STREAMS_MAX: u32 = 128;
/// No new connections while the process uses more than this part of the machine's memory.
const MEMORY_PART_MAX: f64 = 0.9;

/// What runs on every connection.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    // The three that refuse connections come first, so that nothing else sees what they refuse.
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub connection_limits: connection_limits::Behaviour,
    pub memory_limits: memory_connection_limits::Behaviour,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub control: request_response::Behaviour<FrameCodec>,
    pub blobs: libp2p_stream::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair, config: &NodeConfig) -> std::io::Result<Self> {
        let peer = key.public().to_peer_id();
        let mdns = match config.mdns {
            true => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), peer)?),
            false => None,
        };
        let control = request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(CONTROL_STREAMS_MAX);
        Ok(Self {
            blocked: allow_block_list::Behaviour::default(),
            connection_limits: connection_limits::Behaviour::new(
                connection_limits::ConnectionLimits::default()
                    .with_max_pending_incoming(Some(PENDING_INCOMING_MAX))
                    .with_max_pending_outgoing(Some(PENDING_OUTGOING_MAX))
                    .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
                    .with_max_established(Some(config.connections_max)),
            ),
            memory_limits: memory_connection_limits::Behaviour::with_max_percentage(
                MEMORY_PART_MAX,
            ),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_FAMILY.into(), key.public())
                    .with_agent_version(format!("openrender/{}", env!("CARGO_PKG_VERSION"))),
            ),
            ping: ping::Behaviour::default(),
            mdns: mdns.into(),
            control: request_response::Behaviour::new(
                [(
                    StreamProtocol::new(CONTROL_PROTOCOL),
                    request_response::ProtocolSupport::Full,
                )],
                control,
            ),
            blobs: libp2p_stream::Behaviour::new(),
        })
    }
}

/// Builds the swarm; it does not listen yet.
pub fn build(config: &NodeConfig) -> Result<Swarm<Behaviour>, NetworkError> {
    let failed = |e: &dyn std::fmt::Display| NetworkError::Start(e.to_string());
    let (stream_window, connection_window) = (
        config.quic_stream_window_bytes,
        config.quic_connection_window_bytes,
    );
    let swarm = SwarmBuilder::with_existing_identity(config.identity.keypair())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|e| failed(&e))?
        .with_quic_config(|mut quic| {
            quic.max_stream_data = stream_window;
            quic.max_connection_data = connection_window;
            quic.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
            quic
        })
        .with_behaviour(|key| Ok(Behaviour::new(key, config)?))
        .map_err(|e| failed(&e))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT))
        .with_connection_timeout(CONNECTION_TIMEOUT)
        .build();
    Ok(swarm)
}
