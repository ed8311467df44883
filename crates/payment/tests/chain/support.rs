//! One anvil for all tests of this program, and for each test accounts of its own on it.

use crate::conformance::Accounts;
use ethers_core::utils::keccak256;
use payment::{
    EscrowKey, Ledger, Wallet,
    chain::{ChainError, ChainLedger, ChainSettings, DevChain, Patience},
};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{SignedVoucher, Voucher},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Arc, Mutex, Weak, atomic::AtomicBool},
    time::Duration,
};
use tempfile::TempDir;

/// A wallet of its own for each name.
pub fn wallet(name: &[u8]) -> Wallet {
    Wallet::from_secret(&keccak256(name)).unwrap()
}

/// The chain that all tests share.
pub struct Chain {
    dev: DevChain,
}

impl Chain {
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Chain>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let chain = Arc::new(Self::start());
            *shared = Arc::downgrade(&chain);
            chain
        })
    }

    /// One of its own, for tests that disturb others.
    pub fn start() -> Self {
        let chain = Self {
            dev: DevChain::start(None).unwrap(),
        };
        DevChain::prepare(&chain.settings()).unwrap();
        chain
    }

    pub fn url(&self) -> &str {
        self.dev.url()
    }

    pub fn settings(&self) -> ChainSettings {
        ChainSettings {
            patience: Patience {
                poll: Duration::from_millis(200),
                bump: Duration::from_secs(5),
                give_up: Duration::from_secs(120),
            },
            ..ChainSettings::dev(self.url().to_owned())
        }
    }

    /// Asks anvil anything.
    pub fn ask(&self, method: &str, parameters: Value) -> Value {
        self.settings()
            .rpc()
            .unwrap()
            .call(method, parameters)
            .unwrap()
    }

    /// Makes no blocks but those that are asked for.
    pub fn stop_mining(&self) {
        self.ask("evm_setAutomine", json!([false]));
        self.ask("evm_setIntervalMining", json!([0]));
    }

    pub fn mine_every_second(&self) {
        self.ask("evm_setIntervalMining", json!([1]));
    }

    pub fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.ask("evm_mine", json!([]));
        }
    }

    /// Throws out this block and all after it with what is in them, and makes as many empty ones.
    pub fn throw_out_from(&self, block: u64) {
        self.stop_mining();
        let head = quantity(&self.ask("eth_blockNumber", json!([])));
        self.ask("anvil_reorg", json!([head - block + 1, []]));
    }

    /// The base fee of the next block, in gwei.
    pub fn set_base_fee(&self, gwei: u64) {
        let fee = format!("{:#x}", u128::from(gwei) * 1_000_000_000);
        self.ask("anvil_setNextBlockBaseFeePerGas", json!([fee]));
    }

    /// How many transactions of an account are in blocks.
    pub fn count(&self, account: Address) -> u64 {
        let parameters = json!([account.to_string(), "latest"]);
        quantity(&self.ask("eth_getTransactionCount", parameters))
    }

    pub fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds]));
        self.ask("evm_mine", json!([]));
    }
}

/// Where one test plays: a requestor with 100 GLM, a worker, a folder.
pub struct Place {
    pub chain: Arc<Chain>,
    pub requestor: Wallet,
    pub worker: Wallet,
    pub folder: TempDir,
}

impl Place {
    pub fn new(number: u8) -> Self {
        Self::on(Chain::shared(), number)
    }

    pub fn on(chain: Arc<Chain>, number: u8) -> Self {
        let place = Self {
            chain,
            requestor: wallet(&[number, 1]),
            worker: wallet(&[number, 2]),
            folder: tempfile::tempdir().unwrap(),
        };
        DevChain::give_coins(&place.settings(), place.requestor.address()).unwrap();
        DevChain::give_coins(&place.settings(), place.worker.address()).unwrap();
        place.mint(place.requestor.address(), Glm::from_glm(100));
        place
    }

    pub fn settings(&self) -> ChainSettings {
        self.chain.settings()
    }

    pub fn accounts(&self) -> Accounts {
        Accounts {
            requestor: self.requestor.clone(),
            worker: self.worker.address(),
        }
    }

    /// Test GLM that anybody may make.
    pub fn mint(&self, account: Address, amount: Glm) {
        DevChain::mint(&self.settings(), account, amount).unwrap();
    }

    pub fn open(
        &self,
        settings: ChainSettings,
        wallet: &Wallet,
        file: &str,
    ) -> Result<ChainLedger, ChainError> {
        open(settings, wallet, &self.folder.path().join(file))
    }

    pub fn ledger(&self) -> ChainLedger {
        self.ledger_of(&self.requestor)
    }

    pub fn ledger_of(&self, wallet: &Wallet) -> ChainLedger {
        DevChain::give_coins(&self.settings(), wallet.address()).unwrap();
        self.ledger_without_coins(wallet)
    }

    pub fn ledger_without_coins(&self, wallet: &Wallet) -> ChainLedger {
        self.open(self.settings(), wallet, &wallet.address().to_string())
            .unwrap()
    }

    pub fn key(&self, epoch: u64) -> EscrowKey {
        self.key_of(self.worker.address(), epoch)
    }

    pub fn key_of(&self, worker: Address, epoch: u64) -> EscrowKey {
        EscrowKey {
            requestor: self.requestor.address(),
            worker,
            epoch,
        }
    }

    pub fn key_of_other(&self, requestor: Address) -> EscrowKey {
        EscrowKey {
            requestor,
            worker: self.worker.address(),
            epoch: 0,
        }
    }

    pub fn voucher(
        &self,
        ledger: &dyn Ledger,
        worker: Address,
        epoch: u64,
        wei: u128,
    ) -> SignedVoucher {
        let voucher = Voucher {
            chain_id: ledger.chain_id(),
            contract: ledger.contract(),
            requestor: self.requestor.address(),
            worker,
            epoch,
            job: JobId([7; 16]),
            cumulative: Glm::from_wei(wei),
            sequence: 1,
            receipts_root: Blake3Hash([9; 32]),
        };
        self.requestor.sign_voucher(&voucher).unwrap()
    }
}

/// A number as JSON-RPC writes it.
pub fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

/// Waits for what will be so before long.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn open(
    settings: ChainSettings,
    wallet: &Wallet,
    outbox: &Path,
) -> Result<ChainLedger, ChainError> {
    ChainLedger::open(
        settings,
        wallet.clone(),
        outbox.to_owned(),
        Arc::new(AtomicBool::new(false)),
    )
}
