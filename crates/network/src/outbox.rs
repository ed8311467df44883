//! Events that wait until the application takes them.
//!
//! The application is told of every change, but may be slow; the queue stays bounded because a change that
//! undoes a waiting one takes it out again, and because requests are refused when too many wait.

use crate::event::NodeEvent;
use protocol::NodeId;
use std::collections::VecDeque;

/// Requests and discoveries that may wait before further ones are dropped.
const WAITING_MAX: usize = 256;

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    events: VecDeque<NodeEvent>,
    droppable: usize,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn connected(&mut self, peer: NodeId, address: String) {
        self.events
            .push_back(NodeEvent::Connected { peer, address });
    }

    /// Reports the end of a connection, or forgets the connection if its beginning still waits.
    pub fn disconnected(&mut self, peer: NodeId) {
        let begins =
            |event: &NodeEvent| matches!(event, NodeEvent::Connected { peer: p, .. } if *p == peer);
        let Some(start) = self.events.iter().rposition(begins) else {
            return self.events.push_back(NodeEvent::Disconnected { peer });
        };
        let mut index = 0;
        self.events.retain(|event| {
            index += 1;
            let gone = index > start && is_from_connection(event, peer);
            if gone && is_droppable(event) {
                self.droppable -= 1;
            }
            !gone
        });
    }

    /// Queues a request or discovery; false when too many wait, and then it is dropped.
    #[must_use]
    pub fn offer(&mut self, event: NodeEvent) -> bool {
        let fits = self.droppable < WAITING_MAX;
        if fits {
            self.droppable += 1;
            self.events.push_back(event);
        }
        fits
    }

    pub fn pop(&mut self) -> Option<NodeEvent> {
        let event = self.events.pop_front()?;
        if is_droppable(&event) {
            self.droppable -= 1;
        }
        Some(event)
    }
}

fn is_droppable(event: &NodeEvent) -> bool {
    match event {
        NodeEvent::Discovered { .. } | NodeEvent::Request { .. } => true,
        NodeEvent::Connected { .. } | NodeEvent::Disconnected { .. } => false,
    }
}

/// Whether the event means nothing once the connection is gone.
fn is_from_connection(event: &NodeEvent, of: NodeId) -> bool {
    match event {
        NodeEvent::Connected { peer, .. } | NodeEvent::Request { peer, .. } => *peer == of,
        NodeEvent::Disconnected { .. } | NodeEvent::Discovered { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Replier;
    use protocol::{JobId, message::Request};

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn discovered(peer: NodeId) -> NodeEvent {
        let address = String::new();
        NodeEvent::Discovered { peer, address }
    }

    fn request(peer: NodeId) -> NodeEvent {
        let job = JobId([0; 16]);
        NodeEvent::Request {
            peer,
            request: Request::Close { job },
            reply: Replier::new().0,
        }
    }

    #[test]
    fn connections_that_come_and_go_unseen_leave_nothing_behind() {
        let mut outbox = Outbox::default();
        outbox.connected(A, String::new());
        assert!(matches!(
            outbox.pop(),
            Some(NodeEvent::Connected { peer: A, .. })
        ));
        for _ in 0..1000 {
            outbox.disconnected(A);
            outbox.connected(A, String::new());
            outbox.connected(B, String::new());
            assert!(outbox.offer(request(B)));
            outbox.disconnected(A);
            outbox.disconnected(B);
            outbox.connected(A, String::new());
        }
        let mut left = Vec::new();
        while let Some(event) = outbox.pop() {
            left.push(event);
        }
        assert!(matches!(
            left[..],
            [
                NodeEvent::Disconnected { peer: A },
                NodeEvent::Connected { peer: A, .. }
            ]
        ));
        assert_eq!(outbox.droppable, 0);
    }

    #[test]
    fn what_may_be_dropped_is_bounded() {
        let mut outbox = Outbox::default();
        for _ in 0..WAITING_MAX {
            assert!(outbox.offer(discovered(A)));
        }
        assert!(!outbox.offer(discovered(A)));
        outbox.disconnected(A);
        outbox.pop().unwrap();
        assert!(outbox.offer(discovered(A)));
    }
}
