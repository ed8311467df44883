//! Blobs from one node's store into another's.

mod common;

use common::{QUIC, TCP, TestNode, pair, pattern};
use network::{Access, BlobStore, NetworkError};
use protocol::Blake3Hash;
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

const GROUP: usize = 16_384;
const PIECE: usize = 1 << 20;

/// Fetches blobs of `sizes` from `b` to `a` and compares them.
async fn transfer(a: &TestNode, b: &TestNode, sizes: &[usize]) {
    for &bytes in sizes {
        let data = pattern(bytes);
        let hash = b.blobs.add_bytes(&data).unwrap();
        assert_eq!(hash, Blake3Hash::of(&data));
        b.blobs.allow(hash, Access::Only(a.node.id()));
        let last = AtomicU64::new(u64::MAX);
        let progress = |bytes| last.store(bytes, Ordering::Relaxed);
        let fetched = a
            .node
            .fetch(b.node.id(), hash, bytes as u64, progress)
            .await;
        fetched.unwrap();
        assert_eq!(last.into_inner(), bytes as u64);
        assert!(a.blobs.read(hash, bytes as u64).unwrap() == data, "{bytes}");
    }
}

#[tokio::test]
async fn blobs_of_every_size_arrive_over_quic() {
    let (a, b) = pair(&[QUIC]).await;
    let sizes = [
        0,
        1,
        1000,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        40 << 20,
    ];
    transfer(&a, &b, &sizes).await;
    // The other way over the same connection.
    transfer(&b, &a, &[5 * GROUP]).await;
    assert!(a.files().iter().all(|name| !name.ends_with(".part")));
}

#[tokio::test]
async fn blobs_arrive_over_tcp() {
    let (a, b) = pair(&[TCP]).await;
    transfer(&a, &b, &[0, GROUP, 3 * PIECE + 1]).await;
}

#[tokio::test]
async fn what_is_here_is_not_transferred_again() {
    let (a, b) = pair(&[QUIC]).await;
    transfer(&a, &b, &[2 * PIECE + 5]).await;
    let served = b.node.bytes_served();
    assert!(served > 2 * PIECE as u64 && served < 3 * PIECE as u64);
    transfer(&a, &b, &[2 * PIECE + 5]).await;
    assert_eq!(b.node.bytes_served(), served);
    // A blob that was fetched can be served on.
    let (c, d) = pair(&[QUIC]).await;
    let hash = Blake3Hash::of(&pattern(2 * PIECE + 5));
    let reaches = c.node.dial(&d.address().await).await;
    assert_eq!(reaches.unwrap(), d.node.id());
    fs::copy(a.blobs.path(hash), d.blobs.path(hash)).unwrap();
    d.blobs.allow(hash, Access::Anyone);
    c.node
        .fetch(d.node.id(), hash, u64::MAX, |_| {})
        .await
        .unwrap();
    assert!(c.blobs.contains(hash));
}

#[tokio::test]
async fn many_blobs_at_once_all_arrive_and_each_once() {
    let (a, b) = pair(&[QUIC]).await;
    let hashes: Vec<Blake3Hash> = (0..60)
        .map(|i| b.blobs.add_bytes(&pattern(100_000 + i)).unwrap())
        .collect();
    let fetches: Vec<_> = [&hashes[..], &hashes[..]]
        .concat()
        .into_iter()
        .map(|hash| {
            b.blobs.allow(hash, Access::Anyone);
            let (node, peer) = (a.node.clone(), b.node.id());
            tokio::spawn(async move { node.fetch(peer, hash, 200_000, |_| {}).await })
        })
        .collect();
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert!(b.node.bytes_served() < 60 * 102_000);
    assert!(hashes.iter().all(|hash| a.blobs.contains(*hash)));
}

#[tokio::test]
async fn unknown_and_forbidden_blobs_are_refused_alike() {
    let (a, b) = pair(&[QUIC]).await;
    let hash = b.blobs.add_bytes(b"secret").unwrap();
    let unknown = Blake3Hash::of(b"unknown");
    b.blobs.allow(unknown, Access::Anyone);
    b.blobs.allow(hash, Access::Only(b.node.id()));
    for hash in [hash, unknown] {
        let fetched = a.node.fetch(b.node.id(), hash, 100, |_| {}).await;
        assert!(matches!(fetched, Err(NetworkError::Refused { .. })));
        assert_eq!(a.files(), Vec::<String>::new());
    }
    // Once more peers are allowed, the first ones still are.
    b.blobs.allow(hash, Access::Only(a.node.id()));
    a.node.fetch(b.node.id(), hash, 100, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_too_long_is_not_fetched() {
    let (a, b) = pair(&[QUIC]).await;
    let hash = b.blobs.add_bytes(&pattern(5000)).unwrap();
    b.blobs.allow(hash, Access::Anyone);
    let fetched = a.node.fetch(b.node.id(), hash, 4999, |_| {}).await;
    assert!(matches!(
        fetched,
        Err(NetworkError::TooLarge {
            bytes: 5000,
            bytes_max: 4999,
            ..
        })
    ));
    assert_eq!(a.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_flipped_byte_is_found_and_nothing_is_kept() {
    let (mut a, b) = pair(&[QUIC]).await;
    let hash = b.blobs.add_bytes(&pattern(3 * PIECE)).unwrap();
    b.blobs.allow(hash, Access::Anyone);
    let mut data = fs::read(b.blobs.path(hash)).unwrap();
    data[2 * PIECE + 77] ^= 1;
    fs::write(b.blobs.path(hash), data).unwrap();
    let fetched = a.node.fetch(b.node.id(), hash, u64::MAX, |_| {}).await;
    match fetched {
        Err(NetworkError::Corrupt { peer, offset, .. }) => {
            assert_eq!((peer, offset), (b.node.id(), 2 * PIECE as u64));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(a.files(), Vec::<String>::new());
    a.disconnected_from(b.node.id()).await;
}

#[tokio::test]
async fn a_transfer_that_broke_off_goes_on_where_it_was() {
    let (mut a, mut b) = pair(&[QUIC]).await;
    let bytes = 40 * PIECE;
    let hash = b.blobs.add_bytes(&pattern(bytes)).unwrap();
    b.blobs.allow(hash, Access::Anyone);
    // Cut the connection after the first pieces.
    let (cut, mut cutting) = tokio::sync::mpsc::channel(1);
    let (node, peer) = (a.node.clone(), b.node.id());
    let fetch = tokio::spawn(async move {
        let progress = |bytes| {
            if bytes >= 3 * PIECE as u64 {
                let _ = cut.try_send(());
            }
        };
        node.fetch(peer, hash, u64::MAX, progress).await
    });
    cutting.recv().await.unwrap();
    a.node.disconnect(b.node.id()).await;
    let kept = match fetch.await.unwrap() {
        Err(NetworkError::Interrupted { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    assert!(kept >= 3 * PIECE as u64 && kept < bytes as u64);
    a.disconnected_from(b.node.id()).await;
    b.disconnected_from(a.node.id()).await;

    a.node.dial(&b.address().await).await.unwrap();
    let first = AtomicU64::new(u64::MAX);
    let progress = |bytes| {
        first.fetch_min(bytes, Ordering::Relaxed);
    };
    let fetched = a.node.fetch(b.node.id(), hash, u64::MAX, progress).await;
    fetched.unwrap();
    assert_eq!(first.into_inner(), kept);
    assert!(a.blobs.read(hash, u64::MAX).unwrap() == pattern(bytes));
}

#[tokio::test]
async fn a_source_without_connection_is_named() {
    let a = TestNode::start(&[]).await;
    let b = TestNode::start(&[QUIC]).await;
    let fetched = a
        .node
        .fetch(b.node.id(), Blake3Hash([1; 32]), 1, |_| {})
        .await;
    assert!(matches!(fetched, Err(NetworkError::NotConnected { .. })));
    let blobs = BlobStore::open(a.folder.path()).unwrap();
    assert!(!blobs.contains(Blake3Hash([1; 32])));
}
