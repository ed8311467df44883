//! What the application is told.

use protocol::{
    NodeId,
    message::{Reply, Request},
};
use tokio::sync::oneshot;

/// What happened on the network.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "few wait at a time, and requests are what most of them are"
)]
pub enum NodeEvent {
    /// A peer that speaks our protocol is connected. Followed by exactly one `Disconnected`.
    Connected {
        /// Who.
        peer: NodeId,
        /// Its address as seen from here.
        address: String,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// Who.
        peer: NodeId,
    },
    /// Another peer in the local network; it need not speak our protocol, dialling it will show.
    Discovered {
        /// Who.
        peer: NodeId,
        /// Where to dial it.
        address: String,
    },
    /// A connected peer asks something.
    Request {
        /// Who.
        peer: NodeId,
        /// What.
        request: Request,
        /// Takes the reply, within 10 seconds.
        reply: Replier,
    },
}

/// Takes the reply to one request. Dropped without one, the peer is told that it was refused.
#[derive(Debug)]
pub struct Replier(oneshot::Sender<Reply>);

impl Replier {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Sends the reply; if the peer is gone meanwhile, nothing happens.
    pub fn send(self, reply: Reply) {
        // Fails only when the node is shut down, and then there is nobody to tell.
        let _ = self.0.send(reply);
    }
}
