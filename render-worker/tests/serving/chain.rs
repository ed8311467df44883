//! One development chain for all tests of this program, and accounts on it.

use payment::{
    EarningsBook, EscrowKey, Ledger, Release as Ending, Wallet,
    chain::{ChainLedger, ChainSettings, DevChain, Patience},
};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{SignedVoucher, Terms, Voucher},
};
use render_worker::Chain;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Longest that anything on the chain may take.
pub const CHAIN_TIME_MAX: Duration = Duration::from_secs(60);

pub fn glm(amount: u64) -> Glm {
    Glm::from_glm(amount)
}

/// The chain, with both contracts on it. It ends with this program.
pub fn settings() -> ChainSettings {
    static CHAIN: OnceLock<DevChain> = OnceLock::new();
    let settings = |chain: &DevChain| ChainSettings {
        patience: Patience {
            poll: Duration::from_millis(100),
            ..Patience::default()
        },
        // So that redeeming costs about a tenth of a GLM.
        glm_per_coin: 1_000,
        ..ChainSettings::dev(chain.url().to_owned())
    };
    settings(CHAIN.get_or_init(|| {
        let chain = DevChain::start(None).unwrap();
        DevChain::prepare(&settings(&chain)).unwrap();
        chain
    }))
}

pub fn terms() -> Terms {
    let settings = settings();
    Terms::Escrow {
        chain_id: settings.chain_id,
        contract: settings.escrow(),
    }
}

fn ask(method: &str, parameters: Value) -> Value {
    settings().rpc().unwrap().call(method, parameters).unwrap()
}

/// Lets time pass on the chain.
pub fn pass(time: Duration) {
    ask("evm_increaseTime", json!([time.as_secs()]));
    ask("evm_mine", json!([]));
}

/// A key that no other test uses.
pub fn new_wallet() -> Wallet {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Wallet::from_secret(&[NEXT.fetch_add(1, Ordering::Relaxed); 32]).unwrap()
}

fn open(wallet: &Wallet, folder: &Path) -> (ChainLedger, Arc<std::sync::atomic::AtomicBool>) {
    let stop = Arc::default();
    let outbox = folder.join("transactions.redb");
    let ledger = ChainLedger::open(settings(), wallet.clone(), outbox, Arc::clone(&stop));
    (ledger.unwrap(), stop)
}

/// A worker's account with coins for fees.
pub fn account(wallet: &Wallet, folder: &Path) -> Chain {
    DevChain::give_coins(&settings(), wallet.address()).unwrap();
    let (ledger, stop) = open(wallet, folder);
    Chain {
        ledger: Arc::new(ledger),
        wallet: wallet.clone(),
        folder: folder.to_owned(),
        stop,
    }
}

/// A requestor's account with 1000 GLM, and the worker that it pays.
pub struct Payer {
    pub wallet: Wallet,
    pub ledger: ChainLedger,
    worker: Address,
    _folder: TempDir,
}

impl Payer {
    pub fn of(worker: Address) -> Self {
        // All test GLM comes from one account, whose transactions have an order.
        static FUNDING: Mutex<()> = Mutex::new(());
        let (wallet, folder) = (new_wallet(), tempfile::tempdir().unwrap());
        let _funding = FUNDING.lock().unwrap_or_else(PoisonError::into_inner);
        DevChain::fund(&settings(), wallet.address()).unwrap();
        let (ledger, _) = open(&wallet, folder.path());
        Self {
            wallet,
            ledger,
            worker,
            _folder: folder,
        }
    }

    pub fn key(&self, epoch: u64) -> EscrowKey {
        EscrowKey {
            requestor: self.wallet.address(),
            worker: self.worker,
            epoch,
        }
    }

    pub fn open(&self, epoch: u64, deposit: Glm) {
        self.ledger.open(&self.key(epoch), deposit).unwrap();
    }

    /// The number of the voucher is what it promises: nothing is promised twice.
    pub fn voucher(&self, epoch: u64, job: JobId, cumulative: u64) -> SignedVoucher {
        let voucher = Voucher {
            chain_id: self.ledger.chain_id(),
            contract: self.ledger.contract(),
            requestor: self.wallet.address(),
            worker: self.worker,
            epoch,
            job,
            cumulative: glm(cumulative),
            sequence: cumulative,
            receipts_root: Blake3Hash([0; 32]),
        };
        self.wallet.sign_voucher(&voucher).unwrap()
    }

    pub fn announce(&self, epoch: u64) {
        let ending = self.ledger.release(&self.key(epoch)).unwrap();
        assert!(matches!(ending, Ending::Thawing { .. }), "{ending:?}");
    }

    /// Waits until the worker's account holds so much.
    pub fn wait_for_pay(&self, sum: Glm) {
        let begun = std::time::Instant::now();
        while self.ledger.balance(self.worker).unwrap() != sum {
            assert!(begun.elapsed() < CHAIN_TIME_MAX, "{sum} GLM do not come");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The book of a worker that is not running, in its data folder.
pub fn book(data_dir: &Path, worker: Address) -> (EarningsBook, PathBuf) {
    let settings = settings();
    let genesis = DevChain::genesis(&settings).unwrap();
    let folder = data_dir.join("dev").join(genesis);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("earnings.redb");
    let book = EarningsBook::open(&path, worker, settings.chain_id, settings.escrow());
    (book.unwrap(), folder)
}
