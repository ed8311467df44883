//! A requestor that is killed, or cut off, at a hundred random moments of paying: at the end everybody has what was promised,
//! to the wei, and nothing was put into an escrow twice.

use crate::{
    proxy::{Fault, Proxy},
    support::{Chain, Place, wallet},
};
use payment::{
    Cover, EscrowKey, Ledger, SettlementError, VoucherBook, VoucherBookError, Wallet,
    chain::{
        ChainError, ChainLedger, ChainSettings, DevChain, Outbox, Patience, State, Transaction,
    },
    cover, settle_many,
};
use protocol::{Address, Blake3Hash, Glm, JobId, message::Release};
use serde_json::{Value, json};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

const NAME: &str = "kills::a_requestor_that_is_killed_at_any_moment_pays_everybody_once";
/// For the process that is killed: its folder, its endpoint, and whether it ends after the epoch that it is in.
const FOLDER: &str = "PAYMENT_TEST_KILL_FOLDER";
const ENDPOINT: &str = "PAYMENT_TEST_KILL_ENDPOINT";
const LAST: &str = "PAYMENT_TEST_KILL_LAST";

const KILLS: usize = 100;
/// Requests that an epoch takes, about.
const REQUESTS_OF_AN_EPOCH: u64 = 200;
/// Between two blocks; a transaction is then on its way for a good part of the time.
const BLOCK: Duration = Duration::from_millis(40);
const OUTBOX: &str = "outbox";

/// Numbers that follow from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Makes blocks until it is dropped.
pub struct Miner {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Miner {
    pub fn start(chain: &Arc<Chain>) -> Self {
        chain.stop_mining();
        let (ends, chain) = (Arc::new(AtomicBool::new(false)), Arc::clone(chain));
        let ended = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                chain.mine(1);
                thread::sleep(BLOCK);
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// The requestor and its three workers, by the number of the test.
struct Parties {
    requestor: Wallet,
    workers: Vec<Wallet>,
}

impl Parties {
    fn new(number: u8) -> Self {
        Self {
            requestor: wallet(&[number, 1]),
            workers: (0..3).map(|worker| wallet(&[number, 10, worker])).collect(),
        }
    }
}

/// What the worker is promised in an epoch, first and in the end.
fn promised(worker: usize, epoch: u64) -> [Glm; 2] {
    let share = worker as u128 + 1;
    [100, 200].map(|amount| Glm::from_wei(amount * share + u128::from(epoch)))
}

/// What is put into an escrow, first and in the end.
fn deposits(worker: usize) -> [Glm; 2] {
    let share = worker as u128 + 1;
    [1_000, 5_000].map(|amount| Glm::from_wei(amount * share))
}

/// A chain whose blocks come every [`BLOCK`].
pub fn hurried(endpoint: &str) -> ChainSettings {
    ChainSettings {
        confirmations: 2,
        patience: Patience {
            poll: Duration::from_millis(40),
            bump: Duration::from_millis(500),
            give_up: Duration::from_secs(30),
        },
        timeout: Duration::from_secs(2),
        ..ChainSettings::dev(endpoint.to_owned())
    }
}

struct Requestor {
    ledger: ChainLedger,
    book: VoucherBook,
    workers: Vec<Wallet>,
}

impl Requestor {
    fn open(folder: &Path, endpoint: &str, parties: &Parties) -> Result<Self, ChainError> {
        let ledger = ChainLedger::open(
            hurried(endpoint),
            parties.requestor.clone(),
            folder.join(OUTBOX),
            Arc::default(),
        )?;
        let book = VoucherBook::open(
            folder.join("vouchers"),
            parties.requestor.clone(),
            ledger.chain_id(),
            ledger.contract(),
        )?;
        Ok(Self {
            ledger,
            book,
            workers: parties.workers.clone(),
        })
    }

    /// Covers, promises, tops up, pays, promises more and closes; from wherever an earlier process was stopped. What it does
    /// depends on book and chain alone.
    fn play_an_epoch(&self) -> Result<(), SettlementError> {
        let payees: Vec<Address> = self.workers.iter().map(Wallet::address).collect();
        if self.is_ending()? {
            self.end_epoch(&payees)?;
        }
        self.cover_to(0)?;
        self.promise(0)?;
        self.cover_to(1)?;
        let mut vouchers = Vec::new();
        for payee in &payees {
            vouchers.extend(self.book.last(*payee)?);
        }
        self.ledger.redeem_many(&vouchers)?;
        self.promise(1)?;
        self.end_epoch(&payees)
    }

    /// Has a worker agreed to the end of an escrow that is still open? Then the others are asked too, as before the stop.
    fn is_ending(&self) -> Result<bool, SettlementError> {
        self.ledger.finish_pending()?;
        for worker in &self.workers {
            let key = EscrowKey {
                requestor: self.book.requestor(),
                worker: worker.address(),
                epoch: self.book.epoch(worker.address())?,
            };
            let escrow = self.ledger.escrow(&key)?;
            let is_open = escrow.is_some_and(|escrow| !escrow.released);
            if is_open && self.book.release(&key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn end_epoch(&self, payees: &[Address]) -> Result<(), SettlementError> {
        for worker in &self.workers {
            let payee = worker.address();
            let release = Release {
                chain_id: self.ledger.chain_id(),
                contract: self.ledger.contract(),
                requestor: self.book.requestor(),
                worker: payee,
                epoch: self.book.epoch(payee)?,
                cumulative: self.promised_to(payee)?,
            };
            self.book
                .keep_release(&worker.sign_release(&release).unwrap())?;
        }
        settle_many(&self.ledger, &self.book, payees, true)?;
        Ok(())
    }

    /// Where the book has yet to hear that an epoch was closed, a little less is put in at first.
    fn cover_to(&self, step: usize) -> Result<(), SettlementError> {
        let mut covers = Vec::new();
        for (number, worker) in self.workers.iter().enumerate() {
            let promised = self.promised_to(worker.address())?;
            covers.push(Cover {
                worker: worker.address(),
                unpromised: deposits(number)[step]
                    .checked_sub(promised)
                    .unwrap_or_default(),
                spare: Glm::ZERO,
            });
        }
        cover(&self.ledger, &self.book, &covers).map(drop)
    }

    fn promise(&self, step: usize) -> Result<(), SettlementError> {
        for (number, worker) in self.workers.iter().enumerate() {
            let epoch = self.book.epoch(worker.address())?;
            let mut job = JobId([0; 16]);
            job.0[..8].copy_from_slice(&epoch.to_le_bytes());
            let total = promised(number, epoch)[step];
            let raised =
                self.book
                    .raise_to(worker.address(), job, total, Blake3Hash([step as u8; 32]));
            match raised {
                Ok(_) => {}
                Err(VoucherBookError::Store(error)) => return Err(error.into()),
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    fn promised_to(&self, worker: Address) -> Result<Glm, SettlementError> {
        let last = self.book.last(worker)?;
        Ok(last.map_or(Glm::ZERO, |signed| signed.voucher.cumulative))
    }
}

/// Everything that moved between requestor and escrow since the beginning, by the token's own events.
fn put_into_escrow(place: &Place, requestor: Address) -> u128 {
    let topic = |account: Address| format!("0x{:0>64}", account.to_string()[2..].to_lowercase());
    let moved = ethers_core::utils::keccak256("Transfer(address,address,uint256)");
    let moved: String = moved.iter().map(|byte| format!("{byte:02x}")).collect();
    let settings = place.settings();
    let filter = json!([{
        "fromBlock": "0x0", "address": settings.token.to_string(),
        "topics": [format!("0x{moved}"), topic(requestor), topic(settings.escrow())],
    }]);
    let logs = place.chain.ask("eth_getLogs", filter);
    let amount = |log: &Value| u128::from_str_radix(&log["data"].as_str().unwrap()[34..], 16);
    logs.as_array()
        .unwrap()
        .iter()
        .map(|log| amount(log).unwrap())
        .sum()
}

/// Money adds up to the wei, and every transaction was done once.
fn check_the_end(place: &Place, parties: &Parties, requestor: &Requestor, epochs_min: u64) {
    let ledger = &requestor.ledger;
    ledger.finalize().unwrap();
    let account = parties.requestor.address();
    let (mut paid, mut deposited) = (0, 0);
    let mut epochs = Vec::new();
    for (number, worker) in parties.workers.iter().enumerate() {
        let (last, escrow) = ledger.present(account, worker.address()).unwrap().unwrap();
        assert!(escrow.released, "epoch {last}: {escrow:?}");
        let due: u128 = (0..=last)
            .map(|epoch| promised(number, epoch)[1].wei())
            .sum();
        assert_eq!(ledger.balance(worker.address()).unwrap().wei(), due);
        paid += due;
        deposited += u128::from(last + 1) * deposits(number)[1].wei();
        epochs.push(last + 1);
    }
    assert!(epochs.iter().all(|count| *count == epochs[0]), "{epochs:?}");
    assert!(epochs[0] >= epochs_min, "{} epochs", epochs[0]);
    let left = ledger.balance(account).unwrap();
    assert_eq!(left.wei() + paid, Glm::from_glm(100).wei());
    assert_eq!(ledger.totals().unwrap().escrowed, Glm::ZERO);
    // What went in twice would have come back with the release: count what went in.
    assert_eq!(put_into_escrow(place, account), deposited);
    let transactions = ledger.transactions().unwrap();
    for transaction in &transactions {
        assert!(
            matches!(transaction.state, State::Final(inclusion) if inclusion.succeeded),
            "{transaction:?}"
        );
    }
    assert_eq!(place.chain.count(account), transactions.len() as u64);
    // Payments alone may be more, a voucher that was raised before a kill is redeemed after it, and top-ups smaller.
    let count = |purpose: &str| {
        let is_it = |one: &&Transaction| one.purpose.starts_with(purpose);
        transactions.iter().filter(is_it).count() as u64
    };
    let counted = ["let the escrow", "open ", "pay 3 providers and close"].map(count);
    assert_eq!(counted, [1, epochs[0], epochs[0]]);
}

/// Plays epoch after epoch, in a process that expects to be killed.
fn play_until_killed(folder: &Path, endpoint: &str, parties: &Parties) {
    let requestor = Requestor::open(folder, endpoint, parties).unwrap();
    loop {
        requestor.play_an_epoch().unwrap();
        if env::var_os(LAST).is_some() {
            return;
        }
    }
}

fn spawn_requestor(folder: &Path, endpoint: &str, is_last: bool) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([NAME, "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(ENDPOINT, endpoint);
    if is_last {
        command.env(LAST, "1");
    }
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[test]
fn a_requestor_that_is_killed_at_any_moment_pays_everybody_once() {
    let parties = Parties::new(60);
    if let (Some(folder), Ok(endpoint)) = (env::var_os(FOLDER), env::var(ENDPOINT)) {
        return play_until_killed(&PathBuf::from(folder), &endpoint, &parties);
    }
    let place = Place::on(Arc::new(Chain::start()), 60);
    let _miner = Miner::start(&place.chain);
    let (proxy, folder) = (Proxy::start(place.chain.url()), place.folder.path());
    let mut random = Random(60);
    for _ in 0..KILLS {
        let child = spawn_requestor(folder, proxy.url(), false);
        kill_at_a_moment(&proxy, &mut random, REQUESTS_OF_AN_EPOCH, child);
        if folder.join(OUTBOX).exists() {
            check_one_is_on_its_way(&folder.join(OUTBOX), &parties);
        }
    }
    proxy.behave();
    let ended = spawn_requestor(folder, proxy.url(), true).wait().unwrap();
    assert!(ended.success());
    let requestor = Requestor::open(folder, proxy.url(), &parties).unwrap();
    check_the_end(&place, &parties, &requestor, 10);
}

/// Kills a process at a moment of its own in what it does: at one of the next so many requests, and a little after.
pub fn kill_at_a_moment(proxy: &Proxy, random: &mut Random, requests: u64, mut child: Child) {
    let mut left = random.below(requests) + 1;
    let (reached, moment) = mpsc::sync_channel(1);
    proxy.rule(move |_| {
        left = left.saturating_sub(1);
        if left == 0 {
            let _ = reached.try_send(());
        }
        Fault::None
    });
    let alive = moment.recv_timeout(Duration::from_secs(60));
    thread::sleep(Duration::from_micros(random.below(20_000)));
    assert!(
        alive.is_ok() && child.try_wait().unwrap().is_none(),
        "it ended by itself"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

fn check_one_is_on_its_way(outbox: &Path, parties: &Parties) {
    let account = parties.requestor.address();
    // Killed while the file was made, it has no tables yet.
    let Ok(transactions) = Outbox::read(outbox, DevChain::CHAIN_ID, account) else {
        return;
    };
    let is_pending = |state: State| state == State::Pending;
    let pending = transactions.iter().filter(|one| is_pending(one.state));
    assert!(pending.count() <= 1, "{transactions:#?}");
}

#[test]
fn a_requestor_that_is_cut_off_at_any_moment_pays_everybody_once() {
    const CUTS: usize = 100;
    let parties = Parties::new(61);
    let place = Place::on(Arc::new(Chain::start()), 61);
    let _miner = Miner::start(&place.chain);
    let proxy = Proxy::start(place.chain.url());
    let (mut random, cuts) = (Random(61), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&cuts);
    proxy.rule(move |request| {
        // A broadcast is one request of many, and the one that matters most.
        let often = if request["method"] == "eth_sendRawTransaction" {
            3
        } else {
            40
        };
        if random.below(often) != 0 {
            return Fault::None;
        }
        *counted.lock().unwrap() += 1;
        match random.below(4) {
            0 => Fault::CutBefore,
            1 => Fault::Status(503),
            2 => Fault::Garbage,
            _ => Fault::CutAfter,
        }
    });
    let requestor = loop {
        if let Ok(requestor) = Requestor::open(place.folder.path(), proxy.url(), &parties) {
            break requestor;
        }
    };
    let mut done = 0;
    while done < 10 || *cuts.lock().unwrap() < CUTS {
        match requestor.play_an_epoch() {
            Ok(()) => done += 1,
            Err(error) => assert!(error.to_string().contains("no endpoint"), "{error}"),
        }
    }
    proxy.behave();
    // An epoch may have been begun and left; this ends it.
    requestor.play_an_epoch().unwrap();
    check_the_end(&place, &parties, &requestor, 10);
}
