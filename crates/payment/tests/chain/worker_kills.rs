//! A worker that is killed at a hundred random moments of taking vouchers and cashing them: what it was promised it has, once.

use crate::{
    kills::{Miner, Random, hurried, kill_at_a_moment},
    proxy::Proxy,
    support::{Chain, Place, wallet},
};
use payment::{
    EarningsBook, EscrowKey, Ledger,
    chain::{ChainLedger, State},
};
use protocol::{
    Blake3Hash, Glm, JobId,
    message::{SignedVoucher, Voucher},
};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

const NAME: &str = "worker_kills::a_worker_that_is_killed_at_any_moment_is_paid_once";
/// For the process that is killed: its folder, its endpoint, and whether it ends after one voucher.
const FOLDER: &str = "PAYMENT_TEST_WORKER_KILL_FOLDER";
const ENDPOINT: &str = "PAYMENT_TEST_WORKER_KILL_ENDPOINT";
const LAST: &str = "PAYMENT_TEST_WORKER_KILL_LAST";

const NUMBER: u8 = 62;
const KILLS: usize = 100;
/// Requests that opening the account and cashing two vouchers take, about.
const REQUESTS: u64 = 60;
/// What each voucher adds, in wei.
const STEP: u128 = 100;

fn key() -> EscrowKey {
    EscrowKey {
        requestor: wallet(&[NUMBER, 1]).address(),
        worker: wallet(&[NUMBER, 2]).address(),
        epoch: 0,
    }
}

/// The requestor's voucher with this number.
fn voucher(ledger: &ChainLedger, sequence: u64) -> SignedVoucher {
    let EscrowKey {
        requestor,
        worker,
        epoch,
    } = key();
    let voucher = Voucher {
        chain_id: ledger.chain_id(),
        contract: ledger.contract(),
        requestor,
        worker,
        epoch,
        job: JobId([7; 16]),
        cumulative: Glm::from_wei(STEP * u128::from(sequence)),
        sequence,
        receipts_root: Blake3Hash([9; 32]),
    };
    wallet(&[NUMBER, 1]).sign_voucher(&voucher).unwrap()
}

struct Worker {
    ledger: ChainLedger,
    book: EarningsBook,
}

impl Worker {
    fn open(folder: &Path, endpoint: &str) -> Self {
        let wallet = wallet(&[NUMBER, 2]);
        let account = wallet.address();
        let outbox = folder.join("worker-outbox");
        let ledger = ChainLedger::open(hurried(endpoint), wallet, outbox, Arc::default()).unwrap();
        let path = folder.join("earnings");
        let book = EarningsBook::open(path, account, ledger.chain_id(), ledger.contract());
        let book = book.unwrap();
        Self { ledger, book }
    }

    /// The number of the last voucher in its book.
    fn last(&self) -> u64 {
        let earned = self.book.escrows().unwrap();
        earned.first().map_or(0, |one| one.signed.voucher.sequence)
    }

    /// Cashes what the book has, then takes the next voucher and cashes that.
    fn go_on(&self) {
        for sequence in [self.last(), self.last() + 1] {
            if sequence > 0 {
                let signed = voucher(&self.ledger, sequence);
                self.book.accept(signed).unwrap();
                self.ledger.redeem(&signed).unwrap();
                let escrow = self.ledger.escrow(&key()).unwrap().unwrap();
                self.book.note(&key(), &escrow).unwrap();
            }
        }
    }
}

fn spawn_worker(folder: &Path, endpoint: &str, is_last: bool) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([NAME, "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(ENDPOINT, endpoint);
    if is_last {
        command.env(LAST, "1");
    }
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_worker_that_is_killed_at_any_moment_is_paid_once() {
    if let (Some(folder), Ok(endpoint)) = (env::var_os(FOLDER), env::var(ENDPOINT)) {
        let worker = Worker::open(&PathBuf::from(folder), &endpoint);
        loop {
            worker.go_on();
            if env::var_os(LAST).is_some() {
                return;
            }
        }
    }
    let place = Place::on(Arc::new(Chain::start()), NUMBER);
    let _miner = Miner::start(&place.chain);
    place.ledger().open(&key(), Glm::from_glm(1)).unwrap();
    let (proxy, folder) = (Proxy::start(place.chain.url()), place.folder.path());
    let mut random = Random(NUMBER.into());
    for _ in 0..KILLS {
        let child = spawn_worker(folder, proxy.url(), false);
        kill_at_a_moment(&proxy, &mut random, REQUESTS, child);
    }
    proxy.behave();
    assert!(
        spawn_worker(folder, proxy.url(), true)
            .wait()
            .unwrap()
            .success()
    );
    let worker = Worker::open(folder, proxy.url());
    worker.ledger.finalize().unwrap();
    let promised = STEP * u128::from(worker.last());
    assert!(
        worker.last() > KILLS as u64 / 10,
        "{} vouchers",
        worker.last()
    );
    let escrow = worker.ledger.escrow(&key()).unwrap().unwrap();
    let balance = worker.ledger.balance(key().worker).unwrap();
    let noted = worker.book.progress(&key()).unwrap().claimed;
    let sums = [escrow.claimed, balance, noted].map(Glm::wei);
    assert_eq!(sums, [promised; 3]);
    let transactions = worker.ledger.transactions().unwrap();
    let is_done = |state| matches!(state, State::Final(inclusion) if inclusion.succeeded);
    assert!(
        transactions.iter().all(|one| is_done(one.state)),
        "{transactions:#?}"
    );
    assert_eq!(place.chain.count(key().worker), transactions.len() as u64);
}
