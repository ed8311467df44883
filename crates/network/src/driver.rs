//! The task that owns the swarm: turns commands into libp2p calls and libp2p's events into [`NodeEvent`]s.
//!
//! A peer is `Connected` once it has shown that it speaks our protocol, by identify or by a request of its
//! own, and `Disconnected` when its last connection closes.

use crate::{
    codec::Frame,
    error::NetworkError,
    event::{NodeEvent, Replier},
    node::Shared,
    outbox::Outbox,
    peers::node_id,
    swarm::{Behaviour, BehaviourEvent, CONNECTION_TIMEOUT, CONTROL_PROTOCOL},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    identify, mdns,
    multiaddr::Protocol,
    ping,
    request_response::{self, Message, OutboundRequestId, ResponseChannel},
    swarm::{ConnectionId, DialError, StreamUpgradeError, SwarmEvent, dial_opts::DialOpts},
};
use protocol::{
    NodeId,
    message::{Reply, Request, bounded_text, decode, encode},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Requests whose reply the application still owes; further ones are refused.
const REPLIES_MAX: usize = 1024;
/// After this time a shutdown no longer waits for connections to close in good order.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// What a [`crate::Node`] asks of its network task.
#[derive(Debug)]
pub enum Command {
    Dial {
        address: Multiaddr,
        /// The address as the caller wrote it, for errors.
        text: String,
        done: oneshot::Sender<Result<NodeId, NetworkError>>,
    },
    Request {
        peer: PeerId,
        frame: Frame,
        done: oneshot::Sender<Result<Frame, String>>,
    },
    Disconnect {
        peer: PeerId,
        done: oneshot::Sender<()>,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
}

/// Somebody who waits for a dial to succeed.
struct Dialler {
    text: String,
    done: oneshot::Sender<Result<NodeId, NetworkError>>,
}

impl Dialler {
    fn fail(self, reason: String) {
        let address = self.text;
        // The caller may have stopped waiting.
        let _ = self.done.send(Err(NetworkError::Dial { address, reason }));
    }
}

struct Peer {
    node: NodeId,
    address: Multiaddr,
    /// Whether the application knows of it.
    reported: bool,
    /// Who waits for it to show that it speaks our protocol.
    diallers: Vec<Dialler>,
    /// Who waits for its connections to close.
    closing: Vec<oneshot::Sender<()>>,
}

type PendingReply = BoxFuture<'static, (ResponseChannel<Frame>, Option<Reply>)>;

#[expect(
    clippy::large_enum_variant,
    reason = "one exists at a time, and most are the large one"
)]
enum Step {
    Swarm(SwarmEvent<BehaviourEvent>),
    Command(Option<Command>),
    Reply(ResponseChannel<Frame>, Option<Reply>),
    Event(Option<mpsc::OwnedPermit<NodeEvent>>),
    Blocked,
}

/// State of the network task.
pub struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    /// Whether commands are no longer taken.
    stopping: bool,
    /// None once the application has dropped its receiver.
    events: Option<mpsc::Sender<NodeEvent>>,
    outbox: Outbox,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    peers: HashMap<PeerId, Peer>,
    dials: HashMap<ConnectionId, Dialler>,
    requests: HashMap<OutboundRequestId, oneshot::Sender<Result<Frame, String>>>,
    replies: FuturesUnordered<PendingReply>,
}

impl Driver {
    /// A driver for `swarm`; `server` is the task that serves blobs and ends with it.
    pub fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NodeEvent>,
        shared: Arc<Shared>,
        server: JoinHandle<()>,
    ) -> Self {
        Self {
            swarm,
            commands,
            stopping: false,
            events: Some(events),
            outbox: Outbox::default(),
            shared,
            server,
            peers: HashMap::new(),
            dials: HashMap::new(),
            requests: HashMap::new(),
            replies: FuturesUnordered::new(),
        }
    }

    /// Starts listening on `addresses` and waits until each listener has an address.
    pub async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        let mut waiting: HashSet<ListenerId> = HashSet::new();
        for address in addresses {
            let failed = |e| NetworkError::Start(format!("cannot listen on {address}: {e}"));
            waiting.insert(self.swarm.listen_on(address.clone()).map_err(failed)?);
        }
        let all_up = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr { listener_id, .. } => {
                        waiting.remove(listener_id);
                    }
                    SwarmEvent::ListenerClosed {
                        reason: Err(reason),
                        ..
                    } => return Err(NetworkError::Start(format!("cannot listen: {reason}"))),
                    _ => {}
                }
                self.on_swarm(event);
            }
            Ok(())
        };
        tokio::time::timeout(CONNECTION_TIMEOUT, all_up)
            .await
            .unwrap_or_else(|_| Err(NetworkError::Start("no interface to listen on".into())))
    }

    /// Runs until it is told to shut down or the last handle is gone.
    pub async fn run(mut self) {
        let stopped = loop {
            match self.step().await {
                Step::Command(Some(Command::Shutdown { done })) => break Some(done),
                Step::Command(None) => break None,
                step => self.take(step),
            }
        };
        self.stopping = true;
        self.commands.close();
        self.server.abort();
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.close(peer);
        }
        let drained = async {
            while !self.peers.is_empty() || !self.outbox.is_empty() {
                let step = self.step().await;
                self.take(step);
            }
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained)
            .await
            .is_err()
        {
            tracing::debug!("connections or events were left at shutdown");
        }
        drop(self);
        if let Some(done) = stopped {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }

    async fn step(&mut self) -> Step {
        let events = self.events.clone().filter(|_| !self.outbox.is_empty());
        let permit = async {
            match events {
                Some(events) => events.reserve_owned().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.swarm.select_next_some() => Step::Swarm(event),
            command = self.commands.recv(), if !self.stopping => Step::Command(command),
            Some((channel, reply)) = self.replies.next() => Step::Reply(channel, reply),
            permit = permit => Step::Event(permit),
            () = self.shared.blocked_changed.notified() => Step::Blocked,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Swarm(event) => self.on_swarm(event),
            Step::Command(command) => {
                if let Some(command) = command {
                    self.on_command(command);
                }
            }
            Step::Reply(channel, reply) => self.send_reply(channel, reply),
            Step::Event(Some(permit)) => {
                if let Some(event) = self.outbox.pop() {
                    permit.send(event);
                }
            }
            Step::Event(None) => {
                self.events = None;
                self.outbox = Outbox::default();
            }
            Step::Blocked => {
                for peer in self.shared.take_blocked() {
                    self.swarm.behaviour_mut().blocked.block_peer(peer);
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial {
                address,
                text,
                done,
            } => self.dial(address, Dialler { text, done }),
            Command::Request { peer, frame, done } => {
                let control = &mut self.swarm.behaviour_mut().control;
                let id = control.send_request(&peer, frame);
                self.requests.insert(id, done);
            }
            Command::Disconnect { peer, done } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.closing.push(done);
                }
                self.close(peer);
            }
            // `run` handles it.
            Command::Shutdown { .. } => {}
        }
    }

    fn close(&mut self, peer: PeerId) {
        // Fails only when the peer is not connected, which is what is wanted.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn dial(&mut self, address: Multiaddr, dialler: Dialler) {
        if let Some(Protocol::P2p(peer)) = address.iter().last()
            && let Some(known) = self.peers.get(&peer)
            && known.reported
        {
            let _ = dialler.done.send(Ok(known.node));
            return;
        }
        let options = DialOpts::unknown_peer_id().address(address).build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, dialler);
            }
            Err(error) => dialler.fail(dial_reason(&error)),
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Control(event)) => self.on_control(event),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                found
                    .into_iter()
                    .for_each(|(peer, at)| self.on_found(peer, at));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            })) => {
                self.swarm.close_connection(connection);
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let address = endpoint.get_remote_address().clone();
                self.on_established(peer_id, connection_id, address);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => self.on_gone(peer_id),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(dialler) = self.dials.remove(&connection_id) {
                    dialler.fail(dial_reason(&error));
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.shared.listening().push(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listening().retain(|known| *known != address);
            }
            other => tracing::trace!(?other, "swarm event"),
        }
    }

    fn on_found(&mut self, peer: PeerId, address: Multiaddr) {
        let Some(node) = node_id(&peer) else { return };
        let address = match address.iter().last() {
            Some(Protocol::P2p(_)) => address,
            _ => address.with(Protocol::P2p(peer)),
        };
        let event = NodeEvent::Discovered {
            peer: node,
            address: address.to_string(),
        };
        self.offer(event);
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        let dialler = self.dials.remove(&connection);
        let Some(node) = node_id(&peer) else {
            if let Some(dialler) = dialler {
                dialler.fail("its key is not ed25519".into());
            }
            return self.close(peer);
        };
        let known = self.peers.entry(peer).or_insert_with(|| Peer {
            node,
            address,
            reported: false,
            diallers: Vec::new(),
            closing: Vec::new(),
        });
        let Some(dialler) = dialler else { return };
        if known.reported {
            let _ = dialler.done.send(Ok(node));
        } else {
            known.diallers.push(dialler);
        }
    }

    fn on_gone(&mut self, peer: PeerId) {
        let Some(known) = self.peers.remove(&peer) else {
            return;
        };
        if known.reported {
            self.shared.remove_connected(known.node);
            if self.events.is_some() {
                self.outbox.disconnected(known.node);
            }
        }
        for dialler in known.diallers {
            dialler.fail("it closed the connection at once".into());
        }
        for closed in known.closing {
            // The caller may have stopped waiting.
            let _ = closed.send(());
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } => {
                let ours = |protocol: &libp2p::StreamProtocol| *protocol == CONTROL_PROTOCOL;
                if info.protocols.iter().any(ours) {
                    self.report(peer_id);
                } else {
                    self.reject(peer_id);
                }
            }
            identify::Event::Error {
                peer_id,
                error: StreamUpgradeError::NegotiationFailed,
                ..
            } => self.reject(peer_id),
            // The connection broke, or libp2p closes it when it stays silent.
            identify::Event::Error { .. } => {}
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {}
        }
    }

    /// Closes the connections to a peer that does not speak our protocol.
    fn reject(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get_mut(&peer).filter(|known| !known.reported) else {
            return;
        };
        for Dialler { text, done } in known.diallers.drain(..) {
            let protocol = CONTROL_PROTOCOL;
            let address = text;
            // The caller may have stopped waiting.
            let _ = done.send(Err(NetworkError::NotOurs { address, protocol }));
        }
        self.close(peer);
    }

    /// Tells the application of a peer that has shown to speak our protocol, unless it knows.
    fn report(&mut self, peer: PeerId) -> Option<NodeId> {
        let known = self.peers.get_mut(&peer)?;
        if !known.reported {
            known.reported = true;
            self.shared.add_connected(known.node);
            if self.events.is_some() {
                self.outbox.connected(known.node, known.address.to_string());
            }
            for dialler in known.diallers.drain(..) {
                let _ = dialler.done.send(Ok(known.node));
            }
        }
        Some(known.node)
    }

    fn on_control(&mut self, event: request_response::Event<Frame, Frame>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request, channel, ..
                } => self.on_request(peer, request, channel),
                Message::Response {
                    request_id,
                    response,
                } => self.answer(request_id, Ok(response)),
            },
            request_response::Event::OutboundFailure {
                request_id, error, ..
            } => self.answer(request_id, Err(error.to_string())),
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a request came to nothing");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn answer(&mut self, id: OutboundRequestId, reply: Result<Frame, String>) {
        if let Some(done) = self.requests.remove(&id) {
            // The caller may have stopped waiting.
            let _ = done.send(reply);
        }
    }

    fn on_request(&mut self, peer: PeerId, frame: Frame, channel: ResponseChannel<Frame>) {
        let request = match decode::<Request>(&frame.0) {
            Ok(request) => request,
            Err(error) => return self.refuse(channel, &error.to_string()),
        };
        let Some(node) = self.report(peer) else {
            return;
        };
        if self.replies.len() >= REPLIES_MAX {
            return self.refuse(channel, "busy");
        }
        let (reply, reply_receiver) = Replier::new();
        let event = NodeEvent::Request {
            peer: node,
            request,
            reply,
        };
        if !self.offer(event) {
            return self.refuse(channel, "busy");
        }
        let replied = reply_receiver.map(|reply| (channel, reply.ok()));
        self.replies.push(replied.boxed());
    }

    /// Queues an event that may be lost; false when it is.
    fn offer(&mut self, event: NodeEvent) -> bool {
        self.events.is_some() && self.outbox.offer(event)
    }

    fn refuse(&mut self, channel: ResponseChannel<Frame>, reason: &str) {
        let reason = bounded_text(reason);
        self.send_reply(channel, Some(Reply::Refused { reason }));
    }

    fn send_reply(&mut self, channel: ResponseChannel<Frame>, reply: Option<Reply>) {
        let reply = reply.unwrap_or_else(|| Reply::Refused {
            reason: "no reply to this".into(),
        });
        match encode(&reply) {
            Ok(bytes) => {
                let control = &mut self.swarm.behaviour_mut().control;
                // Fails when the peer is gone or its request has timed out: nobody is left to tell.
                let _ = control.send_response(channel, Frame(bytes));
            }
            Err(error) => tracing::error!(%error, "a reply breaks a limit and is not sent"),
        }
    }
}

fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "that is this peer itself".into(),
        DialError::WrongPeerId { obtained, .. } => format!("another peer answers: {obtained}"),
        DialError::Transport(errors) if !errors.is_empty() => {
            let each = errors.iter().map(|(_, error)| error.to_string());
            each.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string().to_lowercase(),
    }
}
