//! Nodes on loopback for the tests of this crate.
#![allow(dead_code, reason = "each test program uses a part of it")]

use network::{BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::{JobId, NodeId, message::Request};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

/// Long enough for any machine: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A node with its events and its folder.
pub struct TestNode {
    pub node: Node,
    pub events: Receiver<NodeEvent>,
    pub blobs: BlobStore,
    pub folder: TempDir,
}

impl TestNode {
    pub async fn start(listen: &[&str]) -> Self {
        Self::start_with(listen, |_| {}).await
    }

    pub async fn start_with(listen: &[&str], change: impl FnOnce(&mut NodeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let mut config = NodeConfig::new(Identity::generate(), blobs.clone());
        config.listen = listen.iter().map(|address| (*address).to_owned()).collect();
        change(&mut config);
        let (node, events) = Node::start(config).await.unwrap();
        Self {
            node,
            events,
            blobs,
            folder,
        }
    }

    pub async fn address(&self) -> String {
        self.node.addresses().await.remove(0)
    }

    pub async fn next(&mut self) -> NodeEvent {
        within(self.events.recv()).await.expect("the node runs")
    }

    pub async fn connected_to(&mut self, expected: NodeId) {
        match self.next().await {
            NodeEvent::Connected { peer, .. } if peer == expected => {}
            other => panic!("expected a connection to {expected}, got {other:?}"),
        }
    }

    pub async fn disconnected_from(&mut self, expected: NodeId) {
        match self.next().await {
            NodeEvent::Disconnected { peer } if peer == expected => {}
            other => panic!("expected the end of a connection to {expected}, got {other:?}"),
        }
    }

    pub fn files(&self) -> Vec<String> {
        files(self.folder.path())
    }
}

pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

/// Two nodes, the first connected to the second, with the events of that taken.
pub async fn pair(listen: &[&str]) -> (TestNode, TestNode) {
    let (mut a, mut b) = (TestNode::start(&[]).await, TestNode::start(listen).await);
    let peer = a.node.dial(&b.address().await).await.unwrap();
    assert_eq!(peer, b.node.id());
    a.connected_to(b.node.id()).await;
    b.connected_to(a.node.id()).await;
    (a, b)
}

pub fn close_request() -> Request {
    let job = JobId([7; 16]);
    Request::Close { job }
}

/// Bytes that differ from place to place.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}
