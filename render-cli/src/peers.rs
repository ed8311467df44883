//! The connected workers: what is said to each, in order, and what becomes of it when a connection breaks.

use crate::{accounts::Accounts, thread::lock};
use farm::event::Event;
use network::Node;
use protocol::{
    NodeId,
    message::{Reply, Request, bounded_text, printable},
};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};

/// Messages that may wait for one worker.
const OUTBOX_MAX: usize = 1024;
/// Attempts at one message while the connection stands.
const ATTEMPTS_MAX: u32 = 4;
/// Wait before the second attempt; it grows with each.
const RETRY: Duration = Duration::from_millis(500);
/// Longest wait for farewells to workers.
const FAREWELL: Duration = Duration::from_secs(3);

/// All peers that are connected.
pub struct Peers {
    node: Node,
    events: mpsc::Sender<Event>,
    accounts: Accounts,
    /// With the messages to those that take part in the job.
    connected: Mutex<BTreeMap<NodeId, Option<Outbox>>>,
}

struct Outbox {
    messages: mpsc::Sender<Request>,
    delivering: JoinHandle<()>,
}

impl Outbox {
    /// What waits in it is void.
    fn discard(self) {
        self.delivering.abort();
    }
}

/// A worker's part in the job, from its quote to the end of its connection.
#[derive(Debug)]
pub struct Part(mpsc::WeakSender<Request>);

impl Part {
    /// Is the connection gone? The coordinator has been told, or will be.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Peers {
    /// `events` hears of quotes and of messages that were not taken.
    pub fn new(node: Node, events: mpsc::Sender<Event>, accounts: Accounts) -> Self {
        Self {
            node,
            events,
            accounts,
            connected: Mutex::default(),
        }
    }

    /// A peer is connected.
    pub fn come(&self, peer: NodeId) {
        lock(&self.connected).insert(peer, None);
    }

    /// Its connection is gone: what waits to be said to it is void.
    pub fn leave(&self, peer: NodeId) -> Option<Event> {
        let outbox = lock(&self.connected).remove(&peer).flatten();
        outbox.map(Outbox::discard)?;
        Some(Event::Left { worker: peer })
    }

    /// A peer that has given its quote takes part, unless it has left meanwhile.
    pub async fn enter(&self, worker: NodeId, quoted: Event) {
        let Ok(place) = self.events.reserve().await else {
            return;
        };
        // One lock over both: the coordinator hears of the quote before it hears that the worker has left.
        let mut connected = lock(&self.connected);
        let Some(part) = connected.get_mut(&worker) else {
            return;
        };
        let (messages, queue) = mpsc::channel(OUTBOX_MAX);
        let (node, events) = (self.node.clone(), self.events.clone());
        let accounts = self.accounts.clone();
        let outbox = Outbox {
            messages,
            delivering: tokio::spawn(deliver(node, worker, queue, (events, accounts))),
        };
        if let Some(earlier) = part.replace(outbox) {
            earlier.discard();
        }
        place.send(quoted);
    }

    /// What a worker does now that it takes part; none for others.
    pub fn part(&self, worker: NodeId) -> Option<Part> {
        let connected = lock(&self.connected);
        let outbox = connected.get(&worker)?.as_ref()?;
        Some(Part(outbox.messages.downgrade()))
    }

    /// Queues a message to a worker, if it takes part; one that takes none for long is dropped.
    pub fn send(&self, worker: NodeId, request: Request) {
        let connected = lock(&self.connected);
        let outbox = connected.get(&worker).and_then(Option::as_ref);
        if outbox.is_some_and(|outbox| outbox.messages.try_send(request).is_err()) {
            self.node.block(worker);
        }
    }

    /// Says a last word to all workers and waits a little until they have heard everything.
    pub async fn part_with_all(&self, last: &Request) {
        let outboxes = std::mem::take(&mut *lock(&self.connected));
        let mut delivering = Vec::new();
        for outbox in outboxes.into_values().flatten() {
            // A worker that takes nothing is not told.
            let _ = outbox.messages.try_send(last.clone());
            delivering.push(outbox.delivering);
        }
        let delivered = async {
            for outbox in delivering {
                // Fails only when it panicked, and then nothing more is delivered.
                let _ = outbox.await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, delivered).await;
    }
}

/// Sends a worker's messages one after the other, so that a lease is never overtaken by its cancellation.
async fn deliver(
    node: Node,
    worker: NodeId,
    mut queue: mpsc::Receiver<Request>,
    (events, accounts): (mpsc::Sender<Event>, Accounts),
) {
    while let Some(request) = queue.recv().await {
        let is_duty = matches!(request, Request::Lease { .. } | Request::Prepare { .. });
        let covered = match &request {
            Request::Lease { tasks, .. } => accounts.cover(worker, tasks).await,
            _ => Ok(()),
        };
        let taken = match covered {
            Ok(()) => hand_over(&node, worker, request).await,
            Err(reason) => Err(reason),
        };
        let Err(reason) = taken else {
            continue;
        };
        tracing::info!(worker = %worker.short(), reason, "a message was not taken");
        if is_duty {
            let failed = Event::Failed {
                worker,
                task: None,
                reason: bounded_text(&reason),
            };
            // Fails only when the job is over.
            let _ = events.send(failed).await;
        }
    }
}

/// Sends one message until it is answered; gives why it was not taken. One that comes twice changes nothing at a worker.
/// When the connection is gone this is discarded before the attempts are used up.
async fn hand_over(node: &Node, worker: NodeId, request: Request) -> Result<(), String> {
    let mut attempt = 1;
    loop {
        match node.request(worker, request.clone()).await {
            Ok(Reply::Refused { reason }) => return Err(printable(&reason)),
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS_MAX => return Err(error.to_string()),
            Err(error) => tracing::debug!(worker = %worker.short(), %error, "said again"),
        }
        tokio::time::sleep(RETRY * attempt).await;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::{BlobStore, Identity, NodeConfig, NodeEvent, Replier};
    use protocol::{Address, Glm, JobId};
    use verifier::Trust;

    const JOB: JobId = JobId([1; 16]);

    struct Pair {
        peers: Peers,
        inbox: mpsc::Receiver<Event>,
        requestor: mpsc::Receiver<NodeEvent>,
        worker: Node,
        at_worker: mpsc::Receiver<NodeEvent>,
    }

    async fn node(folder: &std::path::Path) -> (Node, mpsc::Receiver<NodeEvent>) {
        let blobs = BlobStore::open(folder).unwrap();
        let mut config = NodeConfig::new(Identity::generate(), blobs);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        Node::start(config).await.unwrap()
    }

    impl Pair {
        /// A requestor and a worker that has quoted.
        async fn new(folder: &std::path::Path) -> Self {
            let (node, mut requestor) = self::node(&folder.join("requestor")).await;
            let (worker, at_worker) = self::node(&folder.join("worker")).await;
            let (events, inbox) = mpsc::channel(16);
            let peers = Peers::new(node.clone(), events, Accounts::free());
            node.dial(&worker.addresses().await[0]).await.unwrap();
            while !matches!(requestor.recv().await, Some(NodeEvent::Connected { .. })) {}
            peers.come(worker.id());
            let quoted = Event::Quoted {
                worker: worker.id(),
                trust: Trust::Unknown,
                payee: Address([2; 20]),
                price_megasample: Glm::ZERO,
                held: Vec::new(),
                hold_ms: 0,
            };
            peers.enter(worker.id(), quoted).await;
            Self {
                peers,
                inbox,
                requestor,
                worker,
                at_worker,
            }
        }

        async fn asked(&mut self) -> Replier {
            loop {
                if let Some(NodeEvent::Request { reply, .. }) = self.at_worker.recv().await {
                    return reply;
                }
            }
        }

        async fn rest(mut self) -> Vec<Event> {
            drop(self.peers);
            let mut all = Vec::new();
            while let Some(event) = self.inbox.recv().await {
                all.push(event);
            }
            all
        }
    }

    #[tokio::test]
    async fn a_lease_that_is_refused_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Pair::new(folder.path()).await;
        let worker = pair.worker.id();
        let tasks = Vec::new();
        let lease = Request::Lease {
            job: JOB,
            tasks,
            next: false,
        };
        pair.peers.send(worker, lease);
        let reason = "too busy".into();
        pair.asked().await.send(Reply::Refused { reason });
        let told = pair.rest().await;
        let [Event::Quoted { .. }, Event::Failed { task, reason, .. }] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!((*task, reason.as_str()), (None, "too busy"));
    }

    #[tokio::test]
    async fn a_lease_that_the_connection_lost_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Pair::new(folder.path()).await;
        let worker = pair.worker.id();
        let part = pair.peers.part(worker).unwrap();
        let tasks = Vec::new();
        let lease = Request::Lease {
            job: JOB,
            tasks,
            next: false,
        };
        pair.peers.send(worker, lease);
        let unanswered = pair.asked().await;
        assert!(!part.is_over());
        pair.worker.clone().shutdown().await;
        while !matches!(
            pair.requestor.recv().await,
            Some(NodeEvent::Disconnected { .. })
        ) {}
        let left = pair.peers.leave(worker);
        assert!(matches!(left, Some(Event::Left { .. })), "{left:?}");
        drop(unanswered);
        assert!(part.is_over());
        assert!(pair.peers.part(worker).is_none());
        let told = pair.rest().await;
        assert!(
            matches!(told.as_slice(), [Event::Quoted { .. }]),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn a_peer_that_left_before_its_quote_was_heard_takes_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let (node, _events) = node(folder.path()).await;
        let (events, mut inbox) = mpsc::channel(16);
        let peers = Peers::new(node.clone(), events, Accounts::free());
        let worker = NodeId([1; 32]);
        peers.come(worker);
        assert!(peers.leave(worker).is_none());
        peers.enter(worker, Event::Tick).await;
        assert!(peers.part(worker).is_none());
        drop(peers);
        assert!(inbox.recv().await.is_none());
    }
}
