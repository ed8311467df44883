//! What can go wrong between two peers, said so that the reader knows which peer and what to do.

use crate::store::StoreError;
use protocol::{Blake3Hash, NodeId, message::MessageError};

/// Why something on the network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Not a multiaddr, or one whose host does not resolve.
    #[error(
        "`{address}` is not an address: {reason}; expected the like of /ip4/192.0.2.1/udp/4100/quic-v1"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node could not be built or cannot listen.
    #[error("cannot start the node: {0}")]
    Start(String),
    /// Nobody answered at an address, or whoever did was not the expected peer.
    #[error("cannot reach {address}: {reason}")]
    Dial {
        /// As given.
        address: String,
        /// Per transport tried.
        reason: String,
    },
    /// Connected, but to a program that does not speak this protocol or another version of it.
    #[error("the peer at {address} does not speak {protocol}")]
    NotOurs {
        /// As given.
        address: String,
        /// The protocol it lacks.
        protocol: &'static str,
    },
    /// There is no connection to the peer: dial it first.
    #[error("not connected to {peer}")]
    NotConnected {
        /// Who is meant.
        peer: NodeId,
    },
    /// A request got no reply: the peer is slow, gone or sent no message.
    #[error("request to {peer} failed: {reason}")]
    Request {
        /// Who was asked.
        peer: NodeId,
        /// What happened.
        reason: String,
    },
    /// Our own message breaks a limit.
    #[error("cannot send: {0}")]
    Message(#[from] MessageError),
    /// The reply of a peer is not a message.
    #[error("{peer} sent a reply that is no message: {source}")]
    Reply {
        /// Who sent it.
        peer: NodeId,
        /// What is wrong with it.
        source: MessageError,
    },
    /// The peer does not have the blob or does not give it to us (it does not say which).
    #[error("{peer} does not serve blob {hash}")]
    Refused {
        /// Who was asked.
        peer: NodeId,
        /// For what.
        hash: Blake3Hash,
    },
    /// The peer has too much to do; ask again later.
    #[error("{peer} is too busy to serve blob {hash}")]
    Busy {
        /// Who was asked.
        peer: NodeId,
        /// For what.
        hash: Blake3Hash,
    },
    /// The blob is longer than the caller wants.
    #[error("blob {hash} of {peer} has {bytes} bytes, at most {bytes_max} are wanted")]
    TooLarge {
        /// Who has it.
        peer: NodeId,
        /// Which blob.
        hash: Blake3Hash,
        /// Its length as the peer says.
        bytes: u64,
        /// The caller's limit.
        bytes_max: u64,
    },
    /// The peer sent bytes that do not belong to the blob. Nothing was kept, the connection was dropped.
    #[error("{peer} sent wrong bytes for blob {hash}, near byte {offset}")]
    Corrupt {
        /// Who sent them.
        peer: NodeId,
        /// Which blob.
        hash: Blake3Hash,
        /// Start of the piece with the wrong bytes.
        offset: u64,
    },
    /// The transfer broke off; what has arrived is verified and kept, fetch again to go on from there.
    #[error("transfer of blob {hash} from {peer} broke off after {bytes} bytes: {reason}")]
    Interrupted {
        /// Who sent it.
        peer: NodeId,
        /// Which blob.
        hash: Blake3Hash,
        /// Bytes that are already here.
        bytes: u64,
        /// What happened.
        reason: String,
    },
    /// What was put together from segments is another blob: their list is wrong. Nothing was kept; fetch it whole.
    #[error("the list of segments of blob {hash} is not that of its segments")]
    Segments {
        /// Which blob.
        hash: Blake3Hash,
    },
    /// The local store failed, for instance because the disk is full ([`StoreError::DiskFull`]).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node was shut down.
    #[error("the node is shut down")]
    Stopped,
}
