//! Bytes a second from one node's blob store into another's over loopback: verified, written to disk.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use network::{Access, BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::Blake3Hash;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc::Receiver};

const BYTES: usize = 64 << 20;
const TRANSPORTS: [(&str, &str); 2] = [
    ("quic", "/ip4/127.0.0.1/udp/0/quic-v1"),
    ("tcp", "/ip4/127.0.0.1/tcp/0"),
];

/// A node with what must live as long as it does.
struct Peer {
    node: Node,
    blobs: BlobStore,
    _events: Receiver<NodeEvent>,
    _folder: TempDir,
}

impl Peer {
    async fn start(listen: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = BlobStore::open(folder.path()).expect("a store");
        let mut config = NodeConfig::new(Identity::generate(), blobs.clone());
        config.listen = listen.into_iter().map(str::to_owned).collect();
        let (node, events) = Node::start(config).await.expect("a node");
        Self {
            node,
            blobs,
            _events: events,
            _folder: folder,
        }
    }
}

/// Time of `count` transfers of the blob, each into a store without it.
async fn transfers(from: &Peer, to: &Peer, blob: Blake3Hash, count: u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..count {
        let begin = Instant::now();
        let fetched = to.node.fetch(from.node.id(), blob, BYTES as u64, |_| {});
        fetched.await.expect("the blob arrives");
        spent += begin.elapsed();
        to.blobs.remove(blob).expect("the blob was here");
    }
    spent
}

fn blobs(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    let data: Vec<u8> = (0..BYTES as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let mut group = criterion.benchmark_group("blobs");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(BYTES as u64));
    for (name, listen) in TRANSPORTS {
        let (from, to) = runtime.block_on(async {
            let (from, to) = (Peer::start(Some(listen)).await, Peer::start(None).await);
            let address = from.node.addresses().await.remove(0);
            to.node.dial(&address).await.expect("a connection");
            (from, to)
        });
        let blob = from.blobs.add_bytes(&data).expect("room for the blob");
        from.blobs.allow(blob, Access::Only(to.node.id()));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| runtime.block_on(transfers(&from, &to, blob, count)));
        });
        runtime.block_on(async {
            to.node.shutdown().await;
            from.node.shutdown().await;
        });
    }
    group.finish();
}

criterion_group! {
    name = group;
    config = benches::samples_of(5);
    targets = blobs
}
criterion_main!(group);
