//! The store on disk: restarts, leftovers, damage and full disks.

mod common;

use common::{files, pattern};
use network::{BlobStore, StoreError};
use protocol::Blake3Hash;
use std::fs;

const PIECE: usize = 1 << 20;

#[test]
fn a_file_and_its_bytes_are_the_same_blob() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path().join("made/on/demand")).unwrap();
    for bytes in [0, 1, PIECE, PIECE + 1, 5 * PIECE] {
        let data = pattern(bytes);
        let file = folder.path().join("file");
        fs::write(&file, &data).unwrap();
        let (hash, length) = store.add_file(&file).unwrap();
        assert_eq!((hash, length), (Blake3Hash::of(&data), bytes as u64));
        assert_eq!(store.add_bytes(&data).unwrap(), hash);
        assert_eq!(store.size(hash), Some(bytes as u64));
        assert!(fs::read(store.path(hash)).unwrap() == data);
        // The original may go.
        fs::remove_file(&file).unwrap();
        assert!(store.read(hash, bytes as u64).unwrap() == data);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    for path in [folder.path().join("nothing"), folder.path().to_owned()] {
        let refused = store.add_file(&path);
        match refused {
            Err(StoreError::Io { path: named, .. }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn blobs_survive_a_restart_and_leftovers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = pattern(2 * PIECE);
    let hash = BlobStore::open(folder.path())
        .unwrap()
        .add_bytes(&data)
        .unwrap();
    let kept = files(folder.path());
    fs::write(folder.path().join("0.part"), b"half a file").unwrap();
    let other = Blake3Hash::of(b"other");
    fs::write(folder.path().join(format!("{other}.part")), b"half a blob").unwrap();

    let store = BlobStore::open(folder.path()).unwrap();
    assert_eq!(files(folder.path()), kept);
    assert!(store.contains(hash) && !store.contains(other));
    assert!(store.read(hash, u64::MAX).unwrap() == data);
}

#[test]
fn reading_checks_presence_length_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let hash = store.add_bytes(&pattern(2 * PIECE)).unwrap();
    let missing = store.read(Blake3Hash([1; 32]), 1);
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    let long = store.read(hash, 2 * PIECE as u64 - 1);
    assert!(matches!(long, Err(StoreError::TooLarge { .. })));

    let mut data = fs::read(store.path(hash)).unwrap();
    data[PIECE + 5] ^= 0x10;
    fs::write(store.path(hash), data).unwrap();
    let damaged = store.read(hash, u64::MAX);
    assert!(matches!(damaged, Err(StoreError::Damaged { .. })));
    assert!(!store.contains(hash));
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn removing_leaves_nothing_and_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let hash = store.add_bytes(&pattern(2 * PIECE)).unwrap();
    store.remove(hash).unwrap();
    store.remove(hash).unwrap();
    assert_eq!(store.size(hash), None);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

/// Files that stand for a full disk: every write to `/dev/full` fails as on one.
#[cfg(target_os = "linux")]
mod full_disk {
    use super::*;
    use common::{QUIC, pair};
    use network::{Access, NetworkError};
    use std::os::unix::fs::symlink;

    #[test]
    fn adding_to_a_full_disk_says_so_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        symlink("/dev/full", folder.path().join("0.part")).unwrap();
        let small = store.add_bytes(b"some bytes");
        assert!(matches!(small, Err(StoreError::DiskFull { .. })));
        symlink("/dev/full", folder.path().join("1.part")).unwrap();
        let large = store.add_bytes(&pattern(3 * PIECE));
        assert!(matches!(large, Err(StoreError::DiskFull { .. })));
        // The hash tree has a file of its own.
        symlink("/dev/full", folder.path().join("4.part")).unwrap();
        let tree = store.add_bytes(&pattern(3 * PIECE));
        assert!(matches!(tree, Err(StoreError::DiskFull { .. })));
        assert_eq!(files(folder.path()), Vec::<String>::new());
        store.add_bytes(b"some bytes").unwrap();
    }

    #[tokio::test]
    async fn fetching_to_a_full_disk_says_so_and_the_node_goes_on() {
        let (a, b) = pair(&[QUIC]).await;
        let hash = b.blobs.add_bytes(&pattern(3 * PIECE)).unwrap();
        b.blobs.allow(hash, Access::Anyone);
        let part = a.folder.path().join(format!("{hash}.part"));
        symlink("/dev/full", part).unwrap();
        let full = a.node.fetch(b.node.id(), hash, u64::MAX, |_| {}).await;
        assert!(matches!(
            full,
            Err(NetworkError::Store(StoreError::DiskFull { .. }))
        ));
        assert_eq!(a.files(), Vec::<String>::new());
        let fetched = a.node.fetch(b.node.id(), hash, u64::MAX, |_| {}).await;
        fetched.unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_blob_is_shared_by_stores_of_one_computer_until_both_have_removed_it() {
    let folders = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folders.path().join("a"), folders.path().join("b"));
    let (their_store, store) = (
        BlobStore::open(&theirs).unwrap(),
        BlobStore::open(&ours).unwrap(),
    );
    let hash = their_store.add_bytes(b"a scene").unwrap();
    assert!(!store.share(&theirs, hash, 6) && !store.contains(hash));
    assert!(!store.share(&theirs, Blake3Hash::of(b"none"), 7));
    assert!(store.share(&theirs, hash, 7));
    their_store.remove(hash).unwrap();
    assert_eq!(store.read(hash, 7).unwrap(), b"a scene");
}
