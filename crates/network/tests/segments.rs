//! Blobs put together from what is here of an earlier version and what is fetched.

mod common;

use common::{QUIC, TestNode, pair, pattern};
use network::{Access, Assembly, NetworkError};
use protocol::{Blake3Hash, Segment, SegmentHash, SegmentList, Segmented};
use std::{fs, os::unix::fs::FileExt};

const MIB: usize = 1 << 20;

/// Bytes without any pattern, for cuts that depend on them.
fn noise(seed: &[u8], bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed).finalize_xof().fill(&mut data);
    data
}

/// 12 MiB, and the same with a few changes and 1000 bytes more.
fn versions() -> (Vec<u8>, Vec<u8>) {
    let old = noise(b"scene", 12 * MIB);
    let mut new = old.clone();
    new[100..108].copy_from_slice(b"a change");
    new.splice(5 * MIB..5 * MIB, noise(b"more", 1000));
    new.truncate(new.len() - 7);
    (old, new)
}

/// The list that `server` has of a blob, which `client` may fetch.
fn list(server: &TestNode, hash: Blake3Hash, bytes: usize) -> SegmentList {
    server.blobs.allow(hash, Access::Anyone);
    let segmented = server.blobs.segment(hash).unwrap().unwrap();
    assert_eq!(segmented, server.blobs.segment(hash).unwrap().unwrap());
    let list = server.blobs.read(segmented.list, segmented.list_bytes());
    SegmentList::decode(&list.unwrap(), bytes as u64).unwrap()
}

/// What names a list, which is put where the node looks for it.
fn named(client: &TestNode, file: Blake3Hash, list: &SegmentList) -> Segmented {
    Segmented {
        file,
        list: client.blobs.add_bytes(&list.encode()).unwrap(),
        segments: list.segments().len() as u32,
    }
}

async fn assemble(
    client: &TestNode,
    hash: Blake3Hash,
    list: SegmentList,
    kept: &[Blake3Hash],
) -> Assembly {
    let segments = list.segments().iter();
    let bytes = segments.map(|segment| u64::from(segment.bytes)).sum();
    let list = named(client, hash, &list);
    let begun = client.node.assemble(list, bytes, kept.to_vec()).await;
    begun.unwrap().unwrap()
}

/// No file without a name stays behind.
fn is_tidy(client: &TestNode) -> bool {
    client.files().iter().all(|name| !name.ends_with(".part"))
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let (client, server) = pair(&[QUIC]).await;
    let (old, new) = versions();
    let (kept, hash) = (
        client.blobs.add_bytes(&old).unwrap(),
        server.blobs.add_bytes(&new).unwrap(),
    );
    let list = list(&server, hash, new.len());
    // One that is not here and one that has nothing of it do no harm.
    let other = client.blobs.add_bytes(&pattern(5 * MIB)).unwrap();
    let versions = [Blake3Hash::of(b"gone"), other, kept];
    let mut assembly = assemble(&client, hash, list.clone(), &versions).await;
    assert!(assembly.kept_bytes() > 11 * MIB as u64);
    client
        .node
        .complete(server.node.id(), &mut assembly)
        .await
        .unwrap();
    assert_eq!(assembly.arrived_bytes(), server.node.bytes_served());
    assert!(
        assembly.arrived_bytes() < 300_000,
        "{}",
        assembly.arrived_bytes()
    );
    assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
    drop(assembly);
    assert!(is_tidy(&client));
    let list = named(&client, hash, &list);
    let bytes = new.len() as u64;
    let again = client.node.assemble(list, bytes, vec![kept]).await;
    assert!(again.unwrap().is_none());
    // A list that is of no file of that length, and one that is not here.
    client.blobs.remove(hash).unwrap();
    let wrong = client.node.assemble(list, bytes + 1, vec![kept]).await;
    assert!(matches!(wrong, Err(NetworkError::Segments { .. })));
    client.blobs.remove(list.list).unwrap();
    let missing = client.node.assemble(list, bytes, vec![kept]).await;
    assert!(matches!(missing, Err(NetworkError::Store(_))));
}

#[tokio::test]
async fn a_version_that_differs_everywhere_is_fetched_in_many_ranges() {
    let (client, server) = pair(&[QUIC]).await;
    let old = noise(b"scene", 20 * MIB);
    let mut new = old.clone();
    new.iter_mut().step_by(30_000).for_each(|byte| *byte ^= 1);
    let (kept, hash) = (
        client.blobs.add_bytes(&old).unwrap(),
        server.blobs.add_bytes(&new).unwrap(),
    );
    let list = list(&server, hash, new.len());
    let mut assembly = assemble(&client, hash, list, &[kept]).await;
    assert!(assembly.kept_bytes() > 0);
    client
        .node
        .complete(server.node.id(), &mut assembly)
        .await
        .unwrap();
    assert!(assembly.arrived_bytes() < 20 * MIB as u64);
    assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
}

/// Every segment of an old file with something new behind it.
#[tokio::test]
async fn more_ranges_than_one_ask_may_have_are_asked_for_one_after_the_other() {
    let (client, server) = pair(&[QUIC]).await;
    let old = noise(b"long", 84 * MIB);
    let kept = client.blobs.add_bytes(&old).unwrap();
    let cut = client.blobs.segment(kept).unwrap().unwrap();
    assert!(cut.segments > 4_100, "{}", cut.segments);
    let list = client.blobs.read(cut.list, cut.list_bytes()).unwrap();
    let list = SegmentList::decode(&list, old.len() as u64).unwrap();
    let (mut new, mut segments, mut place) = (Vec::new(), Vec::new(), 0);
    // The last one may be shorter than one that others follow.
    let (_, followed) = list.segments().split_last().unwrap();
    for (number, segment) in followed.iter().enumerate() {
        let end = place + segment.bytes as usize;
        let more = noise(&number.to_le_bytes(), 4096);
        new.extend_from_slice(&old[place..end]);
        new.extend_from_slice(&more);
        let hash = SegmentHash::of(&more);
        segments.extend([*segment, Segment { bytes: 4096, hash }]);
        place = end;
    }
    let hash = server.blobs.add_bytes(&new).unwrap();
    server.blobs.allow(hash, Access::Anyone);
    let list = SegmentList::new(segments, new.len() as u64).unwrap();
    let mut assembly = assemble(&client, hash, list, &[kept]).await;
    assert_eq!(assembly.kept_bytes(), place as u64);
    client.node.disconnect(server.node.id()).await;
    let away = client.node.complete(server.node.id(), &mut assembly).await;
    assert!(matches!(away, Err(NetworkError::NotConnected { .. })));
    client.node.dial(&server.address().await).await.unwrap();
    client
        .node
        .complete(server.node.id(), &mut assembly)
        .await
        .unwrap();
    assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
}

#[tokio::test]
async fn a_kept_file_that_was_altered_on_disk_only_helps_less() {
    let (client, server) = pair(&[QUIC]).await;
    let (old, new) = versions();
    let (kept, hash) = (
        client.blobs.add_bytes(&old).unwrap(),
        server.blobs.add_bytes(&new).unwrap(),
    );
    let list = list(&server, hash, new.len());
    let file = fs::File::options()
        .write(true)
        .open(client.blobs.path(kept))
        .unwrap();
    for place in (0..old.len()).step_by(200_000) {
        file.write_all_at(b"rot", place as u64).unwrap();
    }
    file.set_len(9 * MIB as u64 + 1).unwrap();
    let mut assembly = assemble(&client, hash, list, &[kept]).await;
    let lacking = new.len() as u64 - assembly.kept_bytes();
    assert!(assembly.kept_bytes() > 5 * MIB as u64 && lacking > 3 * MIB as u64);
    client
        .node
        .complete(server.node.id(), &mut assembly)
        .await
        .unwrap();
    assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
}

#[tokio::test]
async fn a_list_that_lies_makes_no_wrong_blob() {
    let (client, server) = pair(&[QUIC]).await;
    let (old, new) = versions();
    let (kept, hash) = (
        client.blobs.add_bytes(&old).unwrap(),
        server.blobs.add_bytes(&new).unwrap(),
    );
    let honest = list(&server, hash, new.len());
    let all = honest.segments();
    // Each of these adds up to the length of the blob.
    let mut swapped = all.to_vec();
    swapped.swap(200, 201);
    let one = all
        .iter()
        .map(|segment| Segment {
            hash: all[200].hash,
            ..*segment
        })
        .collect();
    let of_old = |bytes: u32| Segment {
        bytes,
        hash: SegmentHash::of(&old[..bytes as usize]),
    };
    let even = new.len() as u32 / 4096;
    let mut short = vec![of_old(4096); even as usize];
    short.push(of_old(new.len() as u32 - even * 4096));
    for lie in [swapped, one, short] {
        let lie = SegmentList::new(lie, new.len() as u64).unwrap();
        let mut assembly = assemble(&client, hash, lie, &[kept]).await;
        match client.node.complete(server.node.id(), &mut assembly).await {
            Err(NetworkError::Segments { .. }) => assert!(!client.blobs.contains(hash)),
            Ok(()) => {
                assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
                client.blobs.remove(hash).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        drop(assembly);
        assert!(is_tidy(&client));
    }
    // The whole blob is to be had all the same.
    client
        .node
        .fetch(server.node.id(), hash, u64::MAX, |_| {})
        .await
        .unwrap();
    assert!(client.blobs.read(hash, u64::MAX).unwrap() == new);
}

#[tokio::test]
async fn wrong_lengths_and_forbidden_blobs_end_an_assembly() {
    let (client, server) = pair(&[QUIC]).await;
    let (old, new) = versions();
    let (kept, hash) = (
        client.blobs.add_bytes(&old).unwrap(),
        server.blobs.add_bytes(&new).unwrap(),
    );
    let honest = list(&server, hash, new.len());
    let mut longer = honest.segments().to_vec();
    longer.insert(
        0,
        Segment {
            bytes: 65_536,
            hash: SegmentHash::of(b"nowhere"),
        },
    );
    let longer = SegmentList::new(longer, new.len() as u64 + 65_536).unwrap();
    let mut assembly = assemble(&client, hash, longer, &[kept]).await;
    let completed = client.node.complete(server.node.id(), &mut assembly).await;
    assert!(
        matches!(
            completed,
            Err(NetworkError::Interrupted { .. } | NetworkError::Refused { .. })
        ),
        "{completed:?}"
    );
    drop(assembly);
    let secret = server.blobs.add_bytes(&noise(b"secret", 5 * MIB)).unwrap();
    let list = vec![Segment {
        bytes: 65_536,
        hash: SegmentHash::of(b"?"),
    }];
    let list = SegmentList::new(list, 65_536).unwrap();
    let mut assembly = assemble(&client, secret, list, &[]).await;
    let completed = client.node.complete(server.node.id(), &mut assembly).await;
    assert!(
        matches!(completed, Err(NetworkError::Refused { .. })),
        "{completed:?}"
    );
    drop(assembly);
    assert!(is_tidy(&client));
}

#[tokio::test]
async fn short_blobs_are_not_cut() {
    let server = TestNode::start(&[]).await;
    let hash = server
        .blobs
        .add_bytes(&noise(b"short", 4 * MIB - 1))
        .unwrap();
    assert_eq!(server.blobs.segment(hash).unwrap(), None);
    let hash = server.blobs.add_bytes(&noise(b"long", 4 * MIB)).unwrap();
    let segmented = server.blobs.segment(hash).unwrap().unwrap();
    server.blobs.remove(hash).unwrap();
    assert!(server.blobs.segment(hash).is_err());
    assert!(segmented.segments > 100 && server.blobs.contains(segmented.list));
}
