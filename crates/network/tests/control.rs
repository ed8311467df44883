//! Connections and control messages between honest nodes.

mod common;

use common::{QUIC, TCP, TestNode, close_request, pair, within};
use network::{NetworkError, NodeEvent};
use protocol::{
    JobId, NodeId, TaskId,
    limits::TEXT_BYTES_MAX,
    message::{Reply, Request},
};

async fn both_may_ask(listen: &str) {
    let (mut a, mut b) = pair(&[listen]).await;
    for _ in 0..2 {
        let (asked, answer) = (b.node.id(), Reply::Done);
        let asking = a.node.clone();
        let request = tokio::spawn(async move { asking.request(asked, close_request()).await });
        match b.next().await {
            NodeEvent::Request {
                peer,
                request,
                reply,
            } => {
                assert_eq!((peer, request), (a.node.id(), close_request()));
                reply.send(answer.clone());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(request.await.unwrap().unwrap(), answer);
        std::mem::swap(&mut a, &mut b);
    }
}

#[tokio::test]
async fn both_sides_of_a_quic_connection_may_ask() {
    both_may_ask(QUIC).await;
}

#[tokio::test]
async fn both_sides_of_a_tcp_connection_may_ask() {
    both_may_ask(TCP).await;
}

#[tokio::test]
async fn a_connection_is_reported_once_and_its_end_once() {
    let (mut a, mut b) = (
        TestNode::start(&[QUIC, TCP]).await,
        TestNode::start(&[QUIC, TCP]).await,
    );
    // Both dial both addresses of the other at the same time.
    let (to_a, to_b) = (a.node.addresses().await, b.node.addresses().await);
    assert_eq!((to_a.len(), to_b.len()), (2, 2));
    let dials = tokio::join!(
        a.node.dial(&to_b[0]),
        a.node.dial(&to_b[1]),
        b.node.dial(&to_a[0]),
        b.node.dial(&to_a[1]),
    );
    assert_eq!(dials.0.unwrap(), b.node.id());
    assert_eq!(dials.3.unwrap(), a.node.id());
    a.connected_to(b.node.id()).await;
    b.connected_to(a.node.id()).await;
    a.node.disconnect(b.node.id()).await;
    a.disconnected_from(b.node.id()).await;
    b.disconnected_from(a.node.id()).await;
    let gone = a.node.request(b.node.id(), close_request()).await;
    assert!(matches!(gone, Err(NetworkError::NotConnected { .. })));
    // Nothing more was reported: the next events are those of a new connection.
    b.node.dial(&to_a[0]).await.unwrap();
    a.connected_to(b.node.id()).await;
    b.connected_to(a.node.id()).await;
    b.node.clone().shutdown().await;
    a.disconnected_from(b.node.id()).await;
    b.disconnected_from(a.node.id()).await;
    assert!(within(b.events.recv()).await.is_none());
}

#[tokio::test]
async fn dialling_works_without_the_peer_id_and_names_its_failures() {
    let (a, b) = (
        TestNode::start(&[QUIC]).await,
        TestNode::start(&[QUIC]).await,
    );
    let full = b.address().await;
    let (bare, _) = full.split_once("/p2p/").unwrap();
    assert_eq!(a.node.dial(bare).await.unwrap(), b.node.id());
    assert_eq!(a.node.dial(&full).await.unwrap(), b.node.id());
    let named = bare.replace("/ip4/127.0.0.1", "/dns4/localhost");
    assert_eq!(a.node.dial(&named).await.unwrap(), b.node.id());

    let own = a.address().await;
    let error = a.node.dial(&own).await.unwrap_err().to_string();
    assert!(error.contains("this peer itself"), "{error}");
    let (_, own_id) = own.split_once("/p2p/").unwrap();
    let c = TestNode::start(&[QUIC]).await;
    let error = c.node.dial(&format!("{bare}/p2p/{own_id}")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another peer answers"), "{error}");
    for nonsense in [
        "",
        "localhost:80",
        "/ip4/1.2.3/udp/1",
        &format!("/dns4/{}/tcp/1", "x".repeat(300)),
    ] {
        let error = a.node.dial(nonsense).await.unwrap_err();
        assert!(matches!(error, NetworkError::Address { .. }), "{error}");
    }
}

#[tokio::test]
async fn dialling_nobody_ends() {
    let a = TestNode::start(&[]).await;
    for transport in ["/tcp/", "/udp/"] {
        // A port that was free a moment ago.
        let free = match transport {
            "/tcp/" => std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr(),
            _ => std::net::UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr(),
        };
        let port = free.unwrap().port();
        let quic = if transport == "/udp/" { "/quic-v1" } else { "" };
        let address = format!("/ip4/127.0.0.1{transport}{port}{quic}");
        let error = within(a.node.dial(&address)).await.unwrap_err();
        assert!(matches!(&error, NetworkError::Dial { address: at, .. } if *at == address));
    }
}

#[tokio::test]
async fn a_taken_address_is_an_error_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let blobs = network::BlobStore::open(folder.path()).unwrap();
    let mut config = network::NodeConfig::new(network::Identity::generate(), blobs);
    config.listen = vec![address];
    let started = network::Node::start(config).await;
    assert!(matches!(started.err(), Some(NetworkError::Start(_))));
}

#[tokio::test]
async fn a_dropped_replier_refuses_and_a_long_message_stays_here() {
    let (a, mut b) = pair(&[QUIC]).await;
    let (node, peer) = (a.node.clone(), b.node.id());
    let request = tokio::spawn(async move { node.request(peer, close_request()).await });
    drop(b.next().await);
    assert!(matches!(
        request.await.unwrap().unwrap(),
        Reply::Refused { .. }
    ));
    let long = Request::Failed {
        job: JobId([0; 16]),
        task: Some(TaskId(0)),
        reason: "x".repeat(2 << 20),
    };
    let refused = a.node.request(b.node.id(), long).await;
    assert!(matches!(refused, Err(NetworkError::Message(_))));
    // A text over its own limit passes our encoder and is refused by the other side, in words.
    let wordy = Request::Failed {
        job: JobId([0; 16]),
        task: None,
        reason: "x".repeat(TEXT_BYTES_MAX + 1),
    };
    let reply = a.node.request(b.node.id(), wordy).await.unwrap();
    assert!(matches!(reply, Reply::Refused { reason } if reason.contains("text")));
}

#[tokio::test]
async fn requests_that_nobody_takes_are_refused_not_piled_up() {
    let b = TestNode::start(&[QUIC]).await;
    let (address, asked) = (b.address().await, b.node.id());
    // Never read: `b.events`. Channel and queue together hold 320, of the 384 requests that come.
    let mut requests = tokio::task::JoinSet::new();
    let mut askers = Vec::new();
    for _ in 0..12 {
        let asker = TestNode::start(&[]).await;
        asker.node.dial(&address).await.unwrap();
        for _ in 0..32 {
            let node = asker.node.clone();
            requests.spawn(async move { node.request(asked, close_request()).await });
        }
        askers.push(asker);
    }
    let mut busy = false;
    while let Some(replied) = within(requests.join_next()).await {
        if let Ok(Reply::Refused { reason }) = replied.unwrap() {
            busy = reason == "busy";
            break;
        }
    }
    assert!(busy);
}

#[tokio::test]
async fn a_crowd_of_requests_to_one_peer_is_answered() {
    let (a, mut b) = pair(&[QUIC]).await;
    let (node, asked) = (a.node.clone(), b.node.id());
    let answering = tokio::spawn(async move {
        for _ in 0..500 {
            match b.next().await {
                NodeEvent::Request { reply, .. } => reply.send(Reply::Done),
                other => panic!("{other:?}"),
            }
        }
        b
    });
    let request = |_| {
        let node = node.clone();
        tokio::spawn(async move { node.request(asked, close_request()).await })
    };
    let requests: Vec<_> = (0..500).map(request).collect();
    for request in requests {
        assert_eq!(within(request).await.unwrap().unwrap(), Reply::Done);
    }
    answering.await.unwrap();
}

#[tokio::test]
async fn a_blocked_peer_is_cut_off_and_stays_out() {
    let (mut a, mut b) = pair(&[QUIC]).await;
    b.node.block(a.node.id());
    b.disconnected_from(a.node.id()).await;
    a.disconnected_from(b.node.id()).await;
    let refused = within(a.node.dial(&b.address().await)).await;
    assert!(matches!(refused, Err(NetworkError::Dial { .. })));
}

#[tokio::test]
async fn a_stopped_node_says_so() {
    let a = TestNode::start(&[QUIC]).await;
    let address = a.address().await;
    let again = a.node.clone();
    a.node.shutdown().await;
    let error = again.dial(&address).await.unwrap_err();
    assert!(matches!(error, NetworkError::Stopped));
    let nobody = again.request(NodeId([9; 32]), close_request()).await;
    assert!(matches!(nobody, Err(NetworkError::NotConnected { .. })));
    // The port is free again.
    let (bare, _) = address.split_once("/p2p/").unwrap();
    TestNode::start(&[bare]).await;
}
