//! What a table of providers keeps and forgets, and how it bears other processes, damage and a full disk.

use super::super::row::{Fault, Proof, Word};
use super::*;
use protocol::{Blake3Hash, EngineKind};
use redb::{StorageBackend, backends::InMemoryBackend};
use std::{
    collections::BTreeMap,
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use verifier::{FaultKind, record::HALVING_S};

const FEW: Limits = Limits {
    strangers: 60,
    faulted: 40,
};
/// Bytes that the file is written in.
const PAGE: usize = 4096;
const ENGINE: EngineKind = EngineKind::Tracer;

fn node(number: u64) -> NodeId {
    NodeId(Blake3Hash::of(&number.to_le_bytes()).0)
}

fn worked(tiles: u64, now: u64) -> Provider {
    let mut provider = Provider::new(now);
    provider.count("job", tiles);
    provider.earn(ENGINE, "cpu", tiles, now);
    provider
}

fn caught(proof: Proof, now: u64) -> Provider {
    let mut provider = Provider::new(now);
    provider.blame(Fault {
        at: now,
        learned: now,
        kind: FaultKind::Fraud,
        proof,
        job: "job".into(),
        evidence: "frame 1: black".into(),
        bundle: None,
    });
    provider
}

fn store(folder: &tempfile::TempDir, limits: Limits) -> Store {
    Store::new(folder.path().join("providers.redb"), limits)
}

fn put(store: &Store, rows: impl Iterator<Item = (NodeId, Provider)>) {
    let written = store.write(|table| {
        for (node, provider) in rows {
            table.put(node, &provider)?;
        }
        Ok(())
    });
    written.unwrap();
}

#[test]
fn rows_are_written_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, FEW);
    assert!(store.all().unwrap().is_empty() && !store.path.exists());
    let rows = [(node(1), worked(5, 0)), (node(2), caught(Proof::Seen, 0))];
    put(&store, rows.clone().into_iter());
    let found = store.find(&[node(2), node(3), node(1)]).unwrap();
    assert_eq!(found, [rows[1].clone(), rows[0].clone()]);
    put(&store, [(node(2), worked(7, 0))].into_iter());
    assert_eq!(store.find(&[node(2)]).unwrap()[0].1, worked(7, 0));
    for known in [true, false] {
        assert_eq!(store.write(|rows| rows.remove(node(2))).unwrap(), known);
    }
    assert_eq!(store.all().unwrap(), rows[..1]);
    // An error takes back what came before it.
    let failed: Result<(), _> = store.write(|rows| {
        rows.remove(node(1))?;
        Err("no".into())
    });
    assert!(matches!(failed, Err(StoreError::Storage { .. })));
    assert_eq!(store.all().unwrap(), rows[..1]);
}

#[test]
fn a_flood_of_new_keys_pushes_out_nobody_with_a_record_and_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, FEW);
    let kept: Vec<(NodeId, Provider)> = (0..50)
        .map(|number| match number % 5 {
            0 => (node(number), worked(20, 0)),
            1 => (node(number), worked(1_000, 0)),
            2 => (node(number), caught(Proof::Seen, 0)),
            3 => (node(number), caught(Proof::Verified, 0)),
            _ => {
                let mut denied = Provider::new(0);
                denied.word = Some(Word::Denied);
                (node(number), denied)
            }
        })
        .collect();
    put(&store, kept.iter().cloned());
    let long_gone = (node(50), worked(1, 0));
    put(&store, [long_gone.clone()].into_iter());
    let now = 2 * HALVING_S;
    let mut bytes = Vec::new();
    for flood in 0..8 {
        let numbers = (1_000 * (flood + 1)..).take(1_000);
        put(
            &store,
            numbers.map(|number| match number % 2 {
                0 => (node(number), worked(1, now)),
                _ => (node(number), caught(Proof::Claimed, now)),
            }),
        );
        bytes.push(fs::metadata(&store.path).unwrap().len());
    }
    let all = store.all().unwrap();
    assert_eq!(all.len() as u64, FEW.strangers + FEW.faulted + 10);
    for row in &kept {
        assert!(all.contains(row), "{row:?}");
    }
    assert!(!all.contains(&long_gone));
    assert_eq!(bytes[3], bytes[7], "{bytes:?}");
    // Of equals the one goes that was seen first.
    let newcomer = (node(9_999_999), worked(1, now + 1));
    put(&store, [newcomer.clone()].into_iter());
    put(&store, [(node(9_999_998), worked(1, now))].into_iter());
    assert!(store.all().unwrap().contains(&newcomer));
}

#[test]
fn a_provider_moves_between_the_groups_and_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = Limits {
        strangers: 1,
        faulted: 1,
    };
    let store = store(&folder, one);
    let mut named = worked(1, 0);
    named.word = Some(Word::Own);
    for row in [
        worked(3, 0),
        caught(Proof::Claimed, 5),
        caught(Proof::Seen, 6),
        named,
        worked(9, 1),
    ] {
        put(&store, [(node(1), row)].into_iter());
    }
    put(
        &store,
        [(node(2), caught(Proof::Seen, 2)), (node(3), worked(1, 1))].into_iter(),
    );
    let mut nodes: Vec<NodeId> = store
        .all()
        .unwrap()
        .into_iter()
        .map(|(node, _)| node)
        .collect();
    nodes.sort();
    let mut expected = [node(1), node(2)];
    expected.sort();
    assert_eq!(nodes, expected);
}

#[test]
fn others_have_the_file_for_a_moment_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, FEW);
    put(&store, [(node(1), worked(1, 0))].into_iter());
    let other = Database::open(&store.path).unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| store.all());
        let writing = scope.spawn(|| store.write(|rows| rows.put(node(2), &worked(1, 0))));
        // However long the others take.
        std::thread::sleep(5 * POLL);
        drop(other);
        assert!(!reading.join().unwrap().unwrap().is_empty());
        writing.join().unwrap().unwrap();
    });
    assert_eq!(store.all().unwrap().len(), 2);
}

#[test]
fn what_a_killed_process_left_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let killed = store(&folder, FEW);
    put(&killed, [(node(1), worked(1, 0))].into_iter());
    let database = killed.database().unwrap();
    write(&database, FEW, |rows| rows.put(node(2), &worked(1, 0))).unwrap();
    let left = folder.path().join("left.redb");
    fs::copy(&killed.path, &left).unwrap();
    let found = Store::new(left.clone(), FEW);
    assert!(matches!(
        builder().open_read_only(&left),
        Err(DatabaseError::RepairAborted)
    ));
    assert_eq!(found.all().unwrap().len(), 2);
    found.check().unwrap();
}

#[test]
fn a_damaged_file_is_an_error_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, FEW);
    put(&store, (0..30).map(|number| (node(number), worked(1, 0))));
    let whole = fs::read(&store.path).unwrap();
    for length in [1, 320, 4_096, whole.len() / 2, whole.len() - 1] {
        fs::write(&store.path, &whole[..length]).unwrap();
        let error = store.check().unwrap_err().to_string();
        assert!(error.contains("providers.redb"), "{length}: {error}");
        assert!(
            store
                .write(|rows| rows.put(node(1), &worked(2, 0)))
                .is_err()
        );
    }
    let rows = (0..30).map(|number| (node(number), worked(1, 0)));
    let rows: BTreeMap<_, _> = rows.collect();
    let mut found = 0;
    for offset in (0..whole.len() - PAGE).step_by(PAGE) {
        let mut damaged = whole.clone();
        damaged[offset + PAGE / 2] ^= 1;
        fs::write(&store.path, &damaged).unwrap();
        match store.check() {
            Err(_) => found += 1,
            Ok(()) => assert!(store.all().unwrap().into_iter().eq(rows.clone())),
        }
    }
    assert!(found > 0);
    fs::write(&store.path, &whole).unwrap();
    let rubbish = store.write(|rows| {
        rows.is_changed = true;
        rows.rows
            .insert(&node(77).0, b"{\"x\":".as_slice())
            .map_err(told)?;
        Ok(())
    });
    rubbish.unwrap();
    let error = store.all().unwrap_err().to_string();
    assert!(error.contains(&node(77).to_string()), "{error}");
}

/// A disk in memory that may become full.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<(InMemoryBackend, AtomicBool)>);

impl Disk {
    fn database(&self) -> Database {
        Builder::new().create_with_backend(self.clone()).unwrap()
    }

    fn fill(&self, is_full: bool) {
        self.0.1.store(is_full, Ordering::Relaxed);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.0.1.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.0.0.write(offset, data),
        }
    }
}

#[test]
fn a_full_disk_fails_the_change_and_loses_nothing_before_it() {
    let disk = Disk::default();
    let database = disk.database();
    let put = |database: &Database, number| {
        write(database, FEW, |rows| rows.put(node(number), &worked(1, 0)))
    };
    put(&database, 1).unwrap();
    disk.fill(true);
    assert!(put(&database, 2).is_err());
    drop(database);
    disk.fill(false);
    let database = disk.database();
    put(&database, 3).unwrap();
    let known = |number| {
        write(&database, FEW, |rows| rows.get(node(number)))
            .unwrap()
            .is_some()
    };
    assert_eq!([1, 2, 3].map(known), [true, false, true]);
}
