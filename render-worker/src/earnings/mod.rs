//! What `earnings` lists: what requestors have promised and paid, of all networks in the data folder.

mod text;

use crate::{
    arguments::EarningsArguments,
    bookkeeper::BOOK_FILE,
    config::WorkerError,
    escrows::{cover::Present, lookout::note_all},
};
use payment::{
    Earnings, EarningsBook, JobEarnings, StoreError,
    chain::{ChainError, ChainSettings, Network},
};
use protocol::{Address, Glm};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What one network's book says.
pub struct NetworkEarnings {
    /// As users call it; a development chain with the hash of its first block.
    pub network: String,
    pub escrows: Vec<Earnings>,
    pub jobs: Vec<JobEarnings>,
}

/// What rows add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub promised: Glm,
    pub redeemed: Glm,
    pub redeemable: Glm,
}

impl Totals {
    pub fn of<'a>(rows: impl Iterator<Item = &'a Earnings>) -> Self {
        rows.fold(Self::default(), |totals, row| {
            let add = |left: Glm, right: Glm| [left, right].into_iter().sum();
            Self {
                promised: add(totals.promised, row.promised()),
                redeemed: add(totals.redeemed, row.progress.claimed),
                redeemable: add(totals.redeemable, row.redeemable()),
            }
        })
    }
}

/// The command: reads all books, or asks one chain and reads its own.
pub fn report(arguments: &EarningsArguments, data_dir: &Path) -> Result<String, WorkerError> {
    let networks = match arguments.money.settings()? {
        None => all(data_dir)?,
        Some(settings) => {
            let folder = arguments.money.folder(data_dir, Some(&settings))?;
            let network = arguments.money.network.to_string();
            let mut read = read(network, &folder)?;
            if let Some(read) = &mut read {
                look(&settings, read, &folder.join(BOOK_FILE))?;
            }
            read.into_iter().collect()
        }
    };
    Ok(match (arguments.json, arguments.csv) {
        (true, _) => text::json(&networks),
        (_, true) => text::csv(&networks),
        _ => text::table(&networks),
    })
}

fn all(data_dir: &Path) -> Result<Vec<NetworkEarnings>, WorkerError> {
    let mut found = vec![read("local".into(), data_dir)?];
    for folder in folders(data_dir)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(Network::Chain(preset)) = name.parse() {
            found.push(read(preset.name.into(), &folder)?);
        }
    }
    for folder in folders(&data_dir.join("dev"))? {
        let chain = folder.file_name().unwrap_or_default().to_string_lossy();
        found.push(read(format!("dev {chain}"), &folder)?);
    }
    Ok(found.into_iter().flatten().collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, WorkerError> {
    let failed = || WorkerError::io(format!("cannot read {}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed())?,
    };
    let paths = entries.map(|entry| Ok(entry.map_err(failed())?.path()));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, WorkerError>>()?;
    paths.sort();
    Ok(paths)
}

fn read(network: String, folder: &Path) -> Result<Option<NetworkEarnings>, StoreError> {
    let path = folder.join(BOOK_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let summary = EarningsBook::read(&path)?;
    Ok(Some(NetworkEarnings {
        network,
        escrows: summary.escrows,
        jobs: summary.jobs,
    }))
}

/// Brings rows up to date with the chain, and the book too unless a worker writes in it: that looks by itself.
fn look(
    chain: &ChainSettings,
    earnings: &mut NetworkEarnings,
    path: &Path,
) -> Result<(), WorkerError> {
    let contract = chain.escrow();
    let of_ledger = |row: &Earnings| {
        let voucher = &row.signed.voucher;
        (voucher.chain_id, voucher.contract) == (chain.chain_id, contract)
    };
    let mut present = BTreeMap::<(Address, Address), Present>::new();
    for row in earnings.escrows.iter().filter(|row| of_ledger(row)) {
        let key = row.key();
        if let std::collections::btree_map::Entry::Vacant(entry) =
            present.entry((key.requestor, key.worker))
        {
            let seen = chain.present(key.requestor, key.worker);
            entry.insert(seen.map_err(ChainError::from)?);
        }
    }
    for (&(requestor, worker), &seen) in &present {
        let theirs = |row: &&Earnings| {
            of_ledger(row) && (row.requestor(), row.key().worker) == (requestor, worker)
        };
        let rows = earnings.escrows.iter().filter(theirs);
        match EarningsBook::open(path, worker, chain.chain_id, contract) {
            Ok(book) => note_all(&book, rows, seen)?,
            Err(StoreError::InUse(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for row in earnings.escrows.iter_mut().filter(|row| of_ledger(row)) {
        let key = row.key();
        let seen = present.get(&(key.requestor, key.worker)).copied().flatten();
        if let Some((epoch, escrow)) = seen {
            row.progress = match key.epoch.cmp(&epoch) {
                std::cmp::Ordering::Equal => row.progress.after(row.promised(), &escrow),
                std::cmp::Ordering::Less => row.progress.when_over(),
                std::cmp::Ordering::Greater => row.progress,
            };
        }
    }
    Ok(())
}
