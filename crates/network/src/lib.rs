//! Peers and what flows between them: identity, connections, control messages, verified blobs.
//!
//! This is the only crate that names libp2p and bao-tree; the rest of the product sees a [`Node`], its
//! [`NodeEvent`]s and a [`BlobStore`].
//!
//! Two protocols run over one authenticated, encrypted connection (QUIC, or TCP with noise and yamux), and
//! both sides may start either:
//!
//! | protocol | carries |
//! |---|---|
//! | control | one request and its reply a stream, see [`protocol::message`]; at most 1 MiB each |
//! | blob | one file a stream, or parts of it, in pieces that are verified against its blake3 hash as they arrive |
//!
//! Goals: whatever a stranger sends costs him at most his own stream or connection; memory stays bounded by
//! constants; a blob never has to fit into memory. Not goals: reconnecting, choosing peers, deciding what a
//! message means. Those belong to the caller.

mod batches;
mod blob;
mod codec;
mod cut;
mod driver;
mod error;
mod event;
mod identity;
mod node;
mod outbox;
mod peers;
mod piece;
mod proof;
mod store;
mod swarm;

pub use error::NetworkError;
pub use event::{NodeEvent, Replier};
pub use identity::{Identity, IdentityError, verify};
pub use node::{Node, NodeConfig};
pub use proof::{PROVEN_BYTES_MAX, ProofError, verify_proof};
pub use store::{Access, Assembly, BlobStore, StoreError};
