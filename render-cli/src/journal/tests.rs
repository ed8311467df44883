//! What is in a journal after it was closed, after a crash, and after its disk was full.

use super::*;
use redb::StorageBackend;
use std::{
    io,
    sync::{Mutex, MutexGuard},
};

#[tokio::test]
async fn what_was_appended_is_read_and_a_checkpoint_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let mut journal = Journal::create(&path, b"begin").unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::InUse)));
    for number in 0..3 {
        journal.append(vec![vec![number]], 0, None).await.unwrap();
    }
    drop(journal);
    let (mut journal, contents) = reopen(&path);
    assert_eq!(contents.checkpoint, b"begin");
    assert_eq!(contents.tail, [[0], [1], [2]]);
    let many = vec![vec![7]; TAIL_MIN as usize];
    journal.append(many, 0, None).await.unwrap();
    assert!(journal.wants_checkpoint());
    let last = Some(b"later".to_vec());
    journal.append(vec![vec![8]], 0, last).await.unwrap();
    assert!(!journal.wants_checkpoint());
    journal.append(vec![vec![9]], 1, None).await.unwrap();
    assert!(!journal.wants_checkpoint());
    journal.append(Vec::new(), PIXELS_MIN, None).await.unwrap();
    assert!(journal.wants_checkpoint());
    drop(journal);
    let (mut journal, contents) = reopen(&path);
    assert_eq!(contents.checkpoint, b"later");
    assert_eq!(contents.tail, [[9]]);
    journal.append(vec![vec![10]], 0, None).await.unwrap();
    drop(journal);
    let (_, contents) = reopen(&path);
    assert_eq!(contents.tail, [[9], [10]]);
    assert!(!contents.is_cut);
}

/// The thread that holds the file ends soon after its journal.
fn released(path: &Path) -> Result<(Journal, Contents), JournalError> {
    loop {
        match Journal::open(path) {
            Err(JournalError::InUse) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

fn reopen(path: &Path) -> (Journal, Contents) {
    released(path).unwrap()
}

/// What a program asked of its disk.
#[derive(Debug, Clone)]
enum Order {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    orders: Vec<Order>,
    /// Bytes that may still be written; none when there is room for all.
    room: Option<usize>,
    is_closed: bool,
}

/// A disk in memory that remembers every order, and may become full.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk with these bytes.
    fn with(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().bytes = bytes;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn database(&self) -> (Database, bool) {
        open(|builder| builder.create_with_backend(self.clone())).unwrap()
    }

    fn read(&self) -> (Journal, Contents) {
        let (database, is_cut) = self.database();
        Journal::go_on(database, is_cut).unwrap()
    }

    /// The thread of a journal that was dropped has let go of the disk.
    fn wait(&self) {
        while !self.state().is_closed {
            std::thread::yield_now();
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, offset) = (self.state(), offset as usize);
        let bytes = state.bytes.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.orders.push(Order::Length(length));
        state.bytes.resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state().orders.push(Order::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if let Some(room) = &mut state.room {
            *room = room
                .checked_sub(data.len())
                .ok_or(io::ErrorKind::StorageFull)?;
        }
        state.orders.push(Order::Write(offset, data.to_vec()));
        let offset = offset as usize;
        state.bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.state().is_closed = true;
        Ok(())
    }
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What is on the disk when the power fails after these orders: everything before the last sync, and of the orders since
/// some, some not, and of some only the first sectors. With luck 0 all are, as when only the program is killed.
fn after_power_cut(orders: &[Order], mut luck: u64) -> Vec<u8> {
    let is_killed = luck == 0;
    let synced = orders
        .iter()
        .rposition(|order| matches!(order, Order::Sync));
    let mut bytes = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let fate = match synced {
            Some(synced) if number < synced => 0,
            _ if is_killed => 0,
            _ => (luck >> 60) % 3,
        };
        match order {
            Order::Write(offset, data) if fate < 2 => {
                let sectors = data.len() / SECTOR;
                let kept = match fate {
                    0 => data.len(),
                    _ => (luck >> 32) as usize % (sectors + 1) * SECTOR,
                };
                let offset = *offset as usize;
                let end = offset + kept;
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset..end].copy_from_slice(&data[..kept]);
            }
            Order::Length(length) if fate < 2 => bytes.resize(*length as usize, 0),
            _ => {}
        }
    }
    bytes
}

/// Contents as they are after each append, and the orders on the disk by then.
async fn appends(disk: &Disk) -> (Vec<(Vec<u8>, Vec<Vec<u8>>)>, Vec<usize>) {
    let mut journal = Journal::begin(disk.database().0, b"begin").unwrap();
    let mut now = (b"begin".to_vec(), Vec::new());
    let (mut states, mut orders) = (vec![now.clone()], vec![disk.state().orders.len()]);
    for number in 0..12_u8 {
        // Of several pages, so that there is much to cut.
        let entries = vec![vec![number; 3_000]; 1 + usize::from(number) % 3];
        let checkpoint = (number % 5 == 4).then(|| vec![number; 20_000]);
        match &checkpoint {
            Some(checkpoint) => now = (checkpoint.clone(), Vec::new()),
            None => now.1.extend(entries.clone()),
        }
        journal.append(entries, 0, checkpoint).await.unwrap();
        states.push(now.clone());
        orders.push(disk.state().orders.len());
    }
    (states, orders)
}

#[tokio::test]
async fn a_power_cut_loses_nothing_but_the_write_that_was_under_way() {
    let disk = Disk::default();
    let (states, acknowledged) = appends(&disk).await;
    let orders = disk.state().orders.clone();
    let (mut lost, mut kept, mut cut_short) = (0, 0, 0);
    for cut in acknowledged[0]..=acknowledged[states.len() - 1] {
        let done = acknowledged.iter().rposition(|by| *by <= cut).unwrap();
        for luck in 0..4 {
            let after = Disk::with(after_power_cut(&orders[..cut], luck * cut as u64));
            let (mut journal, contents) = after.read();
            let found = (contents.checkpoint, contents.tail);
            if found == states[done] {
                lost += 1;
                cut_short += usize::from(contents.is_cut);
            } else {
                assert!(found == states[done + 1], "cut {cut}, luck {luck}");
                assert!(!contents.is_cut);
                kept += 1;
            }
            journal.append(vec![vec![77]], 0, None).await.unwrap();
            drop(journal);
            after.wait();
            assert_eq!(after.read().1.tail.last().unwrap(), &[77]);
        }
    }
    // Cuts everywhere: before the write that was under way could be complete, and after.
    let counts = [lost, kept, cut_short];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn a_full_disk_fails_the_append_and_loses_nothing_before_it() {
    for room in [0, 5_000, 30_000] {
        let disk = Disk::default();
        let (states, _) = appends(&disk).await;
        disk.wait();
        disk.state().is_closed = false;
        let (mut journal, _) = disk.read();
        disk.state().room = Some(room);
        let entries = vec![vec![1; 50_000]];
        let full = journal.append(entries.clone(), 0, None).await;
        assert!(full.is_err());
        assert!(journal.append(Vec::new(), 0, None).await.is_err());
        drop(journal);
        disk.wait();
        disk.state().room = None;
        let (mut journal, contents) = disk.read();
        let (checkpoint, tail) = states.last().unwrap();
        assert!((&contents.checkpoint, &contents.tail) == (checkpoint, tail));
        journal.append(entries, 0, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let mut journal = Journal::create(&path, b"begin").unwrap();
    journal.append(vec![vec![3; 9_000]], 0, None).await.unwrap();
    drop(journal);
    drop(reopen(&path));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, 320, 4_096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let opened = released(&path).map(|_| ());
        assert!(
            matches!(opened, Err(JournalError::Storage(_))),
            "{length} of {} bytes: {opened:?}",
            whole.len()
        );
    }
    assert!(matches!(
        Journal::open(&folder.path().join("none.redb")),
        Err(JournalError::Storage(_))
    ));
}
