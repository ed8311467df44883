//! Carries what a worker says to one requestor, one message after another.

use crate::limits::{OUTBOX_MAX, RETRY};
use network::Node;
use protocol::{NodeId, message::Request};
use tokio::{sync::mpsc, task::AbortHandle};

/// Delivers messages until it is dropped; those that still wait are then lost.
pub struct Postman {
    outbox: mpsc::Sender<Request>,
    delivering: AbortHandle,
}

impl Postman {
    pub fn start(node: Node, requestor: NodeId) -> Self {
        let (outbox, receiver) = mpsc::channel(OUTBOX_MAX);
        let delivering = tokio::spawn(deliver(node, requestor, receiver)).abort_handle();
        Self { outbox, delivering }
    }

    /// Says something after all that was said before.
    pub fn say(&self, request: Request) {
        if self.outbox.try_send(request).is_err() {
            tracing::warn!("a message to the requestor was dropped: too many wait");
        }
    }

    /// Is everything delivered, or on its way?
    pub fn is_idle(&self) -> bool {
        self.outbox.capacity() == self.outbox.max_capacity()
    }
}

impl Drop for Postman {
    fn drop(&mut self) {
        self.delivering.abort();
    }
}

/// Sends one message after another, each until the requestor has answered it.
async fn deliver(node: Node, requestor: NodeId, mut outbox: mpsc::Receiver<Request>) {
    while let Some(request) = outbox.recv().await {
        while let Err(error) = node.request(requestor, request.clone()).await {
            tracing::debug!("{error}");
            if matches!(request, Request::Heartbeat { .. }) {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
