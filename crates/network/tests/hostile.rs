//! Peers and strangers that do not keep to the protocol: they lose their own stream or connection, and
//! nobody else notices.

mod common;

use common::{QUIC, TCP, TestNode, close_request, pair, pattern, within};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use libp2p_stream::{Control, IncomingStreams};
use network::{Access, NetworkError, NodeEvent};
use protocol::{
    Blake3Hash, NodeId, Segment, SegmentHash, SegmentList, Segmented,
    limits::MESSAGE_BYTES_MAX,
    message::{Reply, decode, encode},
};
use std::io::Write;

const CONTROL: StreamProtocol = StreamProtocol::new("/openrender/control/1");
const BLOB: StreamProtocol = StreamProtocol::new("/openrender/blob/2");

#[derive(NetworkBehaviour)]
struct RawBehaviour {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A peer that speaks libp2p correctly and everything above it as the test likes.
struct RawPeer {
    node: NodeId,
    address: String,
    streams: Control,
}

impl RawPeer {
    async fn start() -> Self {
        let mut swarm: Swarm<RawBehaviour> = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_quic()
            .with_behaviour(|key| RawBehaviour {
                identify: identify::Behaviour::new(identify::Config::new(
                    "/raw/1".into(),
                    key.public(),
                )),
                streams: libp2p_stream::Behaviour::new(),
            })
            .unwrap()
            .build();
        swarm.listen_on(QUIC.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.to_string();
            }
        };
        let peer = *swarm.local_peer_id();
        let streams = swarm.behaviour().streams.new_control();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        let digest = peer.to_bytes();
        let key = libp2p::identity::PublicKey::try_decode_protobuf(&digest[2..]).unwrap();
        Self {
            node: NodeId(key.try_into_ed25519().unwrap().to_bytes()),
            address,
            streams,
        }
    }

    /// Starts answering `protocol`, and shows so to those who connect from now on.
    fn accept(&mut self, protocol: StreamProtocol) -> IncomingStreams {
        self.streams.accept(protocol).unwrap()
    }

    /// Opens a stream to `to`, sends `bytes` and gives what comes back until the end.
    async fn send(&mut self, to: NodeId, protocol: StreamProtocol, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(to, protocol).await;
        // The other side may hang up at any byte.
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        answer
    }

    async fn open(&mut self, to: NodeId, protocol: StreamProtocol) -> Stream {
        let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(&to.0).unwrap();
        let peer: PeerId = libp2p::identity::PublicKey::from(key).to_peer_id();
        within(self.streams.open_stream(peer, protocol))
            .await
            .unwrap()
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// The honest pair still understands each other.
async fn still_talk(a: &TestNode, b: &mut TestNode) {
    let (node, asked) = (a.node.clone(), b.node.id());
    let request = tokio::spawn(async move { node.request(asked, close_request()).await });
    match b.next().await {
        NodeEvent::Request { peer, reply, .. } => {
            assert_eq!(peer, a.node.id());
            reply.send(Reply::Done);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(request.await.unwrap().unwrap(), Reply::Done);
}

#[tokio::test]
async fn noise_on_the_ports_disturbs_nobody() {
    let (a, mut b) = pair(&[QUIC, TCP]).await;
    let addresses = b.node.addresses().await;
    let port = |address: &str| address.split('/').nth(4).unwrap().parse::<u16>().unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let noise = pattern(20_000);
    for chunk in noise.chunks(1200) {
        udp.send_to(chunk, ("127.0.0.1", port(&addresses[0])))
            .unwrap();
    }
    let tcp: Vec<_> = (0..20)
        .map(|i| {
            let mut stream =
                std::net::TcpStream::connect(("127.0.0.1", port(&addresses[1]))).unwrap();
            // The node may hang up at any byte.
            let _ = stream.write_all(&noise[i * 100..]);
            stream
        })
        .collect();
    still_talk(&a, &mut b).await;
    drop(tcp);
    still_talk(&a, &mut b).await;
}

#[tokio::test]
async fn nonsense_on_the_control_protocol_is_refused_in_words_or_dropped() {
    let (a, mut b) = pair(&[QUIC]).await;
    let mut raw = RawPeer::start().await;
    let mut accepted = raw.accept(CONTROL);
    b.node.dial(&raw.address).await.unwrap();
    b.connected_to(raw.node).await;
    let to = b.node.id();

    let request = encode(&close_request()).unwrap();
    let mut other_version = request.clone();
    other_version[0] = 9;
    for (nonsense, word) in [
        (pattern(1000), "version"),
        (vec![], "shorter"),
        (other_version, "version 9"),
        ([&request[..], &[0]].concat(), "too many"),
    ] {
        let answer = raw.send(to, CONTROL, &frame(&nonsense)).await;
        match decode::<Reply>(&answer[4..]).unwrap() {
            Reply::Refused { reason } => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let too_long = (MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes();
    for broken in [
        &[0xff; 4][..],
        &too_long,
        &[100, 0, 0, 0, 1, 2, 3],
        &[1],
        &[],
    ] {
        assert_eq!(raw.send(to, CONTROL, broken).await, b"", "{broken:?}");
    }
    // Its connection is as good as ever.
    let asking = tokio::spawn(async move { raw.send(to, CONTROL, &frame(&request)).await });
    match b.next().await {
        NodeEvent::Request { reply, .. } => reply.send(Reply::Done),
        other => panic!("{other:?}"),
    }
    assert_eq!(asking.await.unwrap(), frame(&encode(&Reply::Done).unwrap()));
    still_talk(&a, &mut b).await;
    assert!(futures::poll!(accepted.next()).is_pending());
}

#[tokio::test]
async fn nonsense_as_reply_fails_that_request_only() {
    let mut a = TestNode::start(&[]).await;
    let mut raw = RawPeer::start().await;
    let mut incoming = raw.accept(CONTROL);
    a.node.dial(&raw.address).await.unwrap();
    a.connected_to(raw.node).await;
    let replies = [
        frame(&pattern(100)),
        frame(&[]),
        vec![0xff; 4],
        vec![9, 0, 0, 0, 1],
        vec![],
        frame(&encode(&Reply::Done).unwrap()),
    ];
    let expected = replies.len();
    let answering = tokio::spawn(async move {
        for reply in replies {
            let (_, mut stream) = incoming.next().await.unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            stream.write_all(&reply).await.unwrap();
            stream.close().await.unwrap();
        }
    });
    let mut outcomes = Vec::new();
    for _ in 0..expected {
        outcomes.push(within(a.node.request(raw.node, close_request())).await);
    }
    answering.await.unwrap();
    assert!(matches!(outcomes[0], Err(NetworkError::Reply { .. })));
    assert!(matches!(outcomes[1], Err(NetworkError::Reply { .. })));
    for broken in &outcomes[2..5] {
        assert!(
            matches!(broken, Err(NetworkError::Request { .. })),
            "{broken:?}"
        );
    }
    assert!(matches!(outcomes[5], Ok(Reply::Done)));
}

#[tokio::test]
async fn a_peer_of_another_protocol_is_not_reported() {
    let mut a = TestNode::start(&[QUIC]).await;
    let raw = RawPeer::start().await;
    let stranger = within(a.node.dial(&raw.address)).await;
    assert!(matches!(stranger, Err(NetworkError::NotOurs { .. })));
    let refused = a.node.request(raw.node, close_request()).await;
    assert!(matches!(refused, Err(NetworkError::NotConnected { .. })));
    // The first thing that is reported is an honest peer.
    let b = TestNode::start(&[]).await;
    b.node.dial(&a.address().await).await.unwrap();
    a.connected_to(b.node.id()).await;
}

#[tokio::test]
async fn nonsense_on_the_blob_protocol_is_refused() {
    let (a, b) = pair(&[QUIC]).await;
    let mut raw = RawPeer::start().await;
    let _accepted = raw.accept(CONTROL);
    b.node.dial(&raw.address).await.unwrap();
    let hash = b.blobs.add_bytes(&pattern(5000)).unwrap();
    b.blobs.allow(hash, Access::Anyone);
    let ask = |count: u32, ranges: &[(u64, u64)]| {
        let ends = ranges.iter().flat_map(|(start, end)| [*start, *end]);
        let numbers: Vec<u8> = ends.flat_map(u64::to_le_bytes).collect();
        [&hash.0[..], &count.to_le_bytes(), &numbers].concat()
    };
    let outside: [&[(u64, u64)]; 7] = [
        &[(5, 6)],
        &[(1 << 40, u64::MAX)],
        &[(u64::MAX, u64::MAX)],
        &[(2, 2)],
        &[(3, 1)],
        &[(2, 4), (0, 1)],
        &[],
    ];
    for ranges in outside {
        let ask = ask(ranges.len() as u32, ranges);
        let answer = raw.send(b.node.id(), BLOB, &ask).await;
        assert_eq!(answer, [1, 0, 0, 0, 0, 0, 0, 0, 0], "{ranges:?}");
    }
    for absurd in [u32::MAX, 4097, 3] {
        let ask = ask(absurd, &[(0, 1), (1, 2)]);
        assert_eq!(raw.send(b.node.id(), BLOB, &ask).await, b"");
    }
    assert_eq!(raw.send(b.node.id(), BLOB, &[1, 2, 3]).await, b"");
    // One who asks and leaves.
    let mut stream = raw.open(b.node.id(), BLOB).await;
    stream.write_all(&ask(1, &[(0, u64::MAX)])).await.unwrap();
    drop(stream);
    a.node.fetch(b.node.id(), hash, 5000, |_| {}).await.unwrap();
}

/// What a dishonest server sends after it was asked for a blob of 3 MiB.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let serving = |bytes: u64| [&[0][..], &bytes.to_le_bytes()].concat();
    let bytes = 3 << 20;
    vec![
        ("status", vec![77; 9]),
        ("silence", vec![]),
        ("endless", serving(u64::MAX)),
        ("long", serving(bytes + 1)),
        ("no piece", serving(bytes)),
        ("huge piece", [serving(bytes), vec![0xff; 4]].concat()),
        (
            "half a piece",
            [serving(bytes), frame(&pattern(9000))[..5000].to_vec()].concat(),
        ),
        ("noise", [serving(bytes), frame(&pattern(1 << 20))].concat()),
        ("empty piece", [serving(bytes), frame(&[])].concat()),
        ("empty blob", [serving(0), frame(&[])].concat()),
    ]
}

#[tokio::test]
async fn a_server_that_lies_is_named_and_nothing_is_kept() {
    let a = TestNode::start(&[]).await;
    let hash = Blake3Hash::of(&pattern(3 << 20));
    for (name, lie) in lies() {
        let mut raw = RawPeer::start().await;
        let _control = raw.accept(CONTROL);
        let mut incoming = raw.accept(BLOB);
        a.node.dial(&raw.address).await.unwrap();
        let serving = tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let mut ask = [0; 52];
                stream.read_exact(&mut ask).await.unwrap();
                // The other side may hang up at any byte.
                let _ = stream.write_all(&lie).await;
                let _ = stream.close().await;
            }
        });
        let fetched = within(a.node.fetch(raw.node, hash, 3 << 20, |_| {})).await;
        let error = fetched.unwrap_err();
        match name {
            "noise" | "empty piece" | "empty blob" => {
                assert!(matches!(error, NetworkError::Corrupt { peer, .. } if peer == raw.node));
            }
            "endless" | "long" => assert!(matches!(error, NetworkError::TooLarge { .. })),
            _ => assert!(matches!(error, NetworkError::Interrupted { bytes: 0, .. })),
        }
        assert_eq!(a.files(), Vec::<String>::new(), "{name}");
        // The same to somebody who asks for parts of it.
        a.node.dial(&raw.address).await.unwrap();
        let segment = Segment {
            bytes: 65_536,
            hash: SegmentHash::of(b"something"),
        };
        let list = SegmentList::new(vec![segment; 48], 3 << 20).unwrap();
        let segmented = Segmented {
            file: hash,
            list: a.blobs.add_bytes(&list.encode()).unwrap(),
            segments: 48,
        };
        let begun = a.node.assemble(segmented, 3 << 20, Vec::new()).await;
        a.blobs.remove(segmented.list).unwrap();
        let mut assembly = begun.unwrap().unwrap();
        let completed = within(a.node.complete(raw.node, &mut assembly)).await;
        serving.abort();
        let error = completed.unwrap_err();
        match name {
            "noise" | "empty piece" => {
                assert!(matches!(error, NetworkError::Corrupt { peer, .. } if peer == raw.node));
            }
            "endless" | "long" => assert!(matches!(error, NetworkError::TooLarge { .. })),
            _ => assert!(matches!(error, NetworkError::Interrupted { bytes: 0, .. })),
        }
        drop(assembly);
        assert_eq!(a.files(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn a_full_node_turns_others_away_and_keeps_its_peers() {
    let mut b = TestNode::start_with(&[QUIC], |config| config.connections_max = 1).await;
    let a = TestNode::start(&[]).await;
    a.node.dial(&b.address().await).await.unwrap();
    b.connected_to(a.node.id()).await;
    let late = TestNode::start(&[]).await;
    let refused = within(late.node.dial(&b.address().await)).await;
    assert!(matches!(refused, Err(NetworkError::Dial { .. })));
    still_talk(&a, &mut b).await;
}
