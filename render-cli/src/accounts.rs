//! The requestor's money: where it lies, what is promised of it, and what is settled at the end.
//!
//! Everything of the ledger blocks, on a chain for as long as blocks take, and runs beside the job. That work is covered before it
//! is leased is `cover`'s.

use crate::{
    cover::{Covering, Extent},
    failure::{Code, Failure},
};
use payment::{
    EmbeddedLedger, Ending, Ledger, LedgerError, Settled, SettlementError, VoucherBook, Wallet,
    chain::{ChainLedger, ChainSettings, DevChain, Network},
    endings, fund_escrow, settle, settle_many,
};
use protocol::{
    Address, Blake3Hash, Glm, JobId, NodeId, TaskId, TaskSpec,
    message::{SignedRelease, SignedVoucher, Terms},
};
use render_worker::money::{NetworkArguments, OUTBOX_FILE};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// The network as this run uses it: with the endpoint of a development chain that was started for it.
pub struct PaymentNetwork {
    /// What local workers are told too.
    pub arguments: NetworkArguments,
    settings: Option<ChainSettings>,
    /// Ends with this.
    _chain: Option<DevChain>,
}

impl PaymentNetwork {
    /// Starts a development chain, if one is asked for and none is named. Blocking.
    pub fn start(mut arguments: NetworkArguments) -> Result<Self, Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::preflight(e.to_string());
        let mut chain = None;
        if arguments.network == Network::Dev && arguments.rpc.is_empty() {
            let started = DevChain::start(None).map_err(|e| fail(&e))?;
            arguments.rpc = vec![started.url().to_owned()];
            chain = Some(started);
        }
        let settings = arguments.settings().map_err(|e| fail(&e))?;
        if let (Network::Dev, Some(settings)) = (arguments.network, &settings) {
            DevChain::prepare(settings).map_err(|e| fail(&e))?;
        }
        Ok(Self {
            arguments,
            settings,
            _chain: chain,
        })
    }

    /// What providers have to agree to.
    pub fn terms(&self) -> Terms {
        self.arguments.terms(self.settings.as_ref())
    }

    /// How the chain is reached, if there is one.
    pub fn settings(&self) -> Option<&ChainSettings> {
        self.settings.as_ref()
    }

    /// Who pays.
    pub fn wallet(&self, data_dir: &Path) -> Result<Wallet, Failure> {
        let wallet = self.arguments.wallet(data_dir);
        wallet.map_err(|e| Failure::preflight(e.to_string()).hint(e.hint()))
    }

    /// What local workers are told: on a public chain nobody pays himself.
    pub fn of_local_workers(&self) -> NetworkArguments {
        let network = match self.arguments.network {
            Network::Chain(_) => Network::Free,
            network => network,
        };
        NetworkArguments {
            network,
            ..self.arguments.clone()
        }
    }

    /// The terms of local workers.
    pub fn local_terms(&self) -> Terms {
        self.of_local_workers().terms(self.settings.as_ref())
    }

    /// The folder of this network's books.
    pub fn folder(&self, data_dir: &Path) -> Result<PathBuf, Failure> {
        let folder = self.arguments.folder(data_dir, self.settings.as_ref());
        let folder = folder.map_err(|e| Failure::preflight(e.to_string()))?;
        std::fs::create_dir_all(&folder)
            .map_err(|e| Failure::preflight(format!("cannot make {}: {e}", folder.display())))?;
        Ok(folder)
    }
}

/// A ledger and the book of what was promised on it.
pub struct Money {
    pub ledger: Box<dyn Ledger>,
    pub book: VoucherBook,
}

impl Money {
    /// Opens wallet, ledger and book of a network; a new account of a test network is given test GLM. None where nobody pays.
    pub fn open(
        payment_network: &PaymentNetwork,
        data_dir: &Path,
    ) -> Result<Option<Self>, Failure> {
        let fail = |e: &dyn std::fmt::Display| {
            Failure::preflight(format!("the accounts in {}: {e}", data_dir.display()))
                .hint("another `render` may be running with the same data; wait for it or give --data-dir")
        };
        let folder = payment_network.folder(data_dir)?;
        if payment_network.arguments.network == Network::Free {
            return Ok(None);
        }
        let wallet = payment_network.wallet(data_dir)?;
        let ledger: Box<dyn Ledger> = match (
            payment_network.arguments.network,
            payment_network.settings(),
        ) {
            (_, Some(settings)) => {
                Box::new(open_chain(payment_network, settings, &wallet, &folder)?)
            }
            (_, None) => {
                let ledger = EmbeddedLedger::open(folder.join("ledger.redb"));
                let ledger = ledger.map_err(|e| fail(&e))?;
                let given = ledger.fund_first_time(wallet.address());
                given.map_err(|e| fail(&e))?;
                Box::new(ledger)
            }
        };
        let vouchers = folder.join("vouchers.redb");
        let book = VoucherBook::open(vouchers, wallet, ledger.chain_id(), ledger.contract());
        let book = book.map_err(|e| fail(&e))?;
        Ok(Some(Self { ledger, book }))
    }

    /// What can be spent: what is free, and what is in open escrows and not promised.
    fn available(&self) -> Result<Glm, LedgerError> {
        let mut available = self.ledger.spendable(self.book.requestor())?;
        if !self.ledger.is_chain() {
            return Ok(available);
        }
        for (worker, epoch, last) in self.book.all()? {
            let key = payment::EscrowKey {
                requestor: self.book.requestor(),
                worker,
                epoch,
            };
            let promised = last.map_or(Glm::ZERO, |signed| signed.voucher.cumulative);
            let escrow = self.ledger.escrow(&key)?;
            let open = escrow.filter(|escrow| !escrow.released && escrow.withdrawable_at.is_none());
            let left = open.and_then(|escrow| escrow.deposit.checked_sub(promised));
            available = available
                .checked_add(left.unwrap_or_default())
                .ok_or(LedgerError::TooLarge)?;
        }
        Ok(available)
    }
}

/// Opens the escrow of a chain.
pub fn open_chain(
    payment_network: &PaymentNetwork,
    settings: &ChainSettings,
    wallet: &Wallet,
    folder: &Path,
) -> Result<ChainLedger, Failure> {
    let fail = |e: &dyn std::fmt::Display| {
        Failure::preflight(e.to_string()).hint("check --network and --rpc")
    };
    if payment_network.arguments.network == Network::Dev {
        DevChain::fund(settings, wallet.address()).map_err(|e| fail(&e))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let outbox = folder.join(OUTBOX_FILE);
    ChainLedger::open(settings.clone(), wallet.clone(), outbox, stop).map_err(|e| fail(&e))
}

/// The requestor's side of the ledger for one job.
pub struct Purse {
    money: Option<Money>,
    job: JobId,
    terms: Terms,
}

impl Purse {
    /// The purse of a job.
    pub fn new(money: Option<Money>, job: JobId, terms: Terms) -> Self {
        Self { money, job, terms }
    }

    /// Who pays; nobody where nobody does.
    pub fn payer(&self) -> Address {
        self.money
            .as_ref()
            .map_or(Address([0; 20]), |money| money.book.requestor())
    }

    /// How it pays.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// What can be spent.
    pub fn balance(&self) -> Result<Glm, Failure> {
        match &self.money {
            None => Ok(Glm::ZERO),
            Some(money) => money
                .available()
                .map_err(|e| Failure::new(Code::Budget, e.to_string())),
        }
    }

    /// Within a runtime. Work is covered on a chain only.
    pub fn start(self, job: Option<Extent>) -> Accounts {
        let purse = Arc::new(self);
        let is_on_chain = purse.money().is_some_and(|money| money.ledger.is_chain());
        let job = job.filter(|_| is_on_chain);
        let covering = job.map(|job| Covering::start(Arc::clone(&purse), job));
        Accounts {
            purse,
            covering: covering.map(Arc::new),
        }
    }

    /// Ledger and book, if somebody pays.
    pub fn money(&self) -> Option<&Money> {
        self.money.as_ref()
    }

    /// What was promised to an account for this job.
    pub fn promised(&self, payee: Address) -> Result<Glm, payment::StoreError> {
        self.money
            .as_ref()
            .map_or(Ok(Glm::ZERO), |money| money.book.promised(payee, self.job))
    }

    fn pay(
        &self,
        payee: Address,
        receipts: Blake3Hash,
        total: Glm,
    ) -> Result<Option<SignedVoucher>, String> {
        let Some(Money { ledger, book }) = &self.money else {
            return Ok(None);
        };
        let promised = book.promised(payee, self.job);
        let promised = promised.map_err(|e| e.to_string())?;
        let amount = total.checked_sub(promised).unwrap_or_default();
        if amount == Glm::ZERO {
            // A job that was resumed: what the old process promised may not have reached anybody.
            return book.last(payee).map_err(|e| e.to_string());
        }
        if !ledger.is_chain() {
            let funded = fund_escrow(ledger.as_ref(), book, payee, amount);
            funded.map_err(|e| e.to_string())?;
        }
        let signed = book
            .raise_to(payee, self.job, total, receipts)
            .map_err(|e| e.to_string())?;
        if !ledger.is_chain() {
            // The ledger is ours: a promise is as good as paid, and it costs nothing.
            ledger.redeem(&signed).map_err(|e| e.to_string())?;
        }
        Ok(Some(signed))
    }

    fn settle(&self, payees: &[Address]) -> Result<Vec<(Address, Settled)>, String> {
        let Some(Money { ledger, book }) = &self.money else {
            return Ok(Vec::new());
        };
        if ledger.is_chain() {
            return settle_many(ledger.as_ref(), book, payees, false).map_err(|e| e.to_string());
        }
        for payee in payees {
            match settle(ledger.as_ref(), book, *payee) {
                // All that was promised was settled by an earlier run.
                Ok(_) | Err(SettlementError::Ledger(LedgerError::NotOpen(_))) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Vec::new())
    }
}

/// A handle to the money; clones share it.
#[derive(Clone)]
pub struct Accounts {
    purse: Arc<Purse>,
    covering: Option<Arc<Covering>>,
}

impl Accounts {
    /// Nobody pays.
    #[cfg(test)]
    pub fn free() -> Self {
        Purse::new(None, JobId([0; 16]), Terms::Free).start(None)
    }

    /// Pays what is missing to `total` for this job. `receipts` is a hash of the tasks accepted since the last payment.
    /// The voucher is on disk before it comes back; there is none when all that was promised is settled.
    pub async fn pay(
        &self,
        payee: Address,
        receipts: Blake3Hash,
        total: Glm,
    ) -> Result<Option<SignedVoucher>, String> {
        if let Some(covering) = &self.covering {
            covering.owe_in_all(payee, total);
            covering.cover_account(payee).await?;
        }
        let paid = self
            .blocking(move |purse| purse.pay(payee, receipts, total))
            .await?;
        if let (Some(covering), Some(signed)) = (&self.covering, &paid) {
            covering.promised(payee, signed.voucher.cumulative, total);
        }
        Ok(paid)
    }

    /// Pays out what was promised to these and takes back what was left in escrow, as far as it is worth its fee and their
    /// workers have agreed.
    pub async fn settle(&self, payees: Vec<Address>) -> Result<Vec<(Address, Settled)>, String> {
        self.blocking(move |purse| purse.settle(&payees)).await
    }

    /// The escrows of these accounts that are worth closing, where that takes the worker's release.
    pub async fn endings(&self, payees: Vec<Address>) -> Result<Vec<Ending>, String> {
        if self.covering.is_none() {
            return Ok(Vec::new());
        }
        self.blocking(move |purse| {
            let Some(Money { ledger, book }) = purse.money() else {
                return Ok(Vec::new());
            };
            endings(ledger.as_ref(), book, &payees).map_err(|e| e.to_string())
        })
        .await
    }

    /// Keeps a worker's agreement to the end of its escrow: it works no more for that, whatever becomes of this process.
    pub async fn keep_release(&self, signed: SignedRelease) -> Result<(), String> {
        self.blocking(move |purse| {
            let kept = purse
                .money()
                .map_or(Ok(()), |money| money.book.keep_release(&signed));
            kept.map_err(|e| e.to_string())
        })
        .await
    }

    /// Whose escrows this job has used, each with its workers.
    pub fn covered(&self) -> Vec<(Address, Vec<NodeId>)> {
        let payees = self.covering.as_ref().map(|covering| covering.payees());
        payees.unwrap_or_default().into_iter().collect()
    }

    /// Does money move on a chain?
    pub fn is_on_chain(&self) -> bool {
        self.covering.is_some()
    }

    /// A worker has given its price.
    pub fn quoted(&self, worker: NodeId, payee: Address, price_megasample: Glm, held: &[TaskSpec]) {
        if let Some(covering) = &self.covering {
            covering.quoted(worker, payee, price_megasample, held);
        }
    }

    /// Sees to it that a worker's escrow covers these tasks beside all that it has, before they are leased.
    pub async fn cover(&self, worker: NodeId, tasks: &[TaskSpec]) -> Result<(), String> {
        match &self.covering {
            Some(covering) => covering.cover(worker, tasks).await,
            None => Ok(()),
        }
    }

    /// These will not be paid.
    pub fn forget(&self, worker: NodeId, tasks: &[TaskId]) {
        if let Some(covering) = &self.covering {
            covering.forget(worker, tasks);
        }
    }

    /// Nothing of this worker will be paid any more.
    pub fn forget_all(&self, worker: NodeId) {
        if let Some(covering) = &self.covering {
            covering.forget_all(worker);
        }
    }

    /// A task is to be paid.
    pub fn owe(&self, worker: NodeId, payee: Address, task: TaskId, amount: Glm) {
        if let Some(covering) = &self.covering {
            covering.owe(worker, payee, task, amount);
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Purse) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let purse = Arc::clone(&self.purse);
        let done = tokio::task::spawn_blocking(move || work(&purse)).await;
        done.unwrap_or_else(|e| Err(e.to_string()))
    }
}
