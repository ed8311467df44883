//! The requestor's money on a thread of its own: covers, promises and pays what was accepted, in that order.

use crate::{
    failure::{Code, Failure},
    thread::{Answer, ask},
};
use payment::{
    EmbeddedLedger, Ledger, LedgerError, SettlementError, VoucherBook, Wallet, fund_escrow, settle,
};
use protocol::{Address, Blake3Hash, Glm, JobId, message::SignedVoucher};
use std::{collections::BTreeSet, path::Path, sync::mpsc};

/// Requests that may wait: one payment at a time, and the settlement.
const QUEUE_MAX: usize = 4;

enum Command {
    Pay {
        payee: Address,
        receipts: Blake3Hash,
        total: Glm,
        answer: Answer<Option<SignedVoucher>>,
    },
    Settle {
        answer: Answer<()>,
    },
}

/// A handle to the money's thread; clones share it.
#[derive(Clone)]
pub struct Accounts(mpsc::SyncSender<Command>);

/// The requestor's side of the embedded ledger.
pub struct Purse {
    ledger: EmbeddedLedger,
    book: VoucherBook,
    job: JobId,
}

impl Purse {
    /// Opens keys, ledger and book below `data_dir`; a new account is given test GLM.
    pub fn open(data_dir: &Path, job: JobId) -> Result<Self, Failure> {
        let fail = |e: &dyn std::fmt::Display| {
            Failure::preflight(format!("the accounts in {}: {e}", data_dir.display()))
                .hint("another `render` may be running with the same data; wait for it or give --data-dir")
        };
        let wallet = Wallet::load_or_create(data_dir.join("payment.key")).map_err(|e| fail(&e))?;
        let ledger = EmbeddedLedger::open(data_dir.join("ledger.redb")).map_err(|e| fail(&e))?;
        ledger
            .fund_first_time(wallet.address())
            .map_err(|e| fail(&e))?;
        let book = VoucherBook::open(
            data_dir.join("vouchers.redb"),
            wallet,
            ledger.chain_id(),
            ledger.contract(),
        )
        .map_err(|e| fail(&e))?;
        Ok(Self { ledger, book, job })
    }

    /// Who pays.
    pub fn payer(&self) -> Address {
        self.book.requestor()
    }

    /// What can be spent.
    pub fn balance(&self) -> Result<Glm, Failure> {
        self.ledger
            .balance(self.payer())
            .map_err(|e| Failure::new(Code::Budget, e.to_string()))
    }

    /// Moves to a thread, which ends when all handles are dropped.
    pub fn start(self) -> Accounts {
        let (sender, receiver) = mpsc::sync_channel(QUEUE_MAX);
        std::thread::spawn(move || {
            let mut payees = BTreeSet::new();
            while let Ok(command) = receiver.recv() {
                match command {
                    Command::Pay {
                        payee,
                        receipts,
                        total,
                        answer,
                    } => {
                        payees.insert(payee);
                        let _ = answer.send(self.pay(payee, receipts, total));
                    }
                    Command::Settle { answer } => {
                        let settled = payees.iter().try_for_each(|payee| {
                            match settle(&self.ledger, &self.book, *payee) {
                                // All that was promised was settled by an earlier run.
                                Ok(_) | Err(SettlementError::Ledger(LedgerError::NotOpen(_))) => {
                                    Ok(())
                                }
                                Err(error) => Err(error),
                            }
                        });
                        let _ = answer.send(settled.map_err(|e| e.to_string()));
                    }
                }
            }
        });
        Accounts(sender)
    }

    fn pay(
        &self,
        payee: Address,
        receipts: Blake3Hash,
        total: Glm,
    ) -> Result<Option<SignedVoucher>, String> {
        let promised = self.book.promised(payee, self.job);
        let promised = promised.map_err(|e| e.to_string())?;
        let amount = total.checked_sub(promised).unwrap_or_default();
        if amount == Glm::ZERO {
            // A job that was resumed: what the old process promised may not have reached anybody.
            return self.book.last(payee).map_err(|e| e.to_string());
        }
        fund_escrow(&self.ledger, &self.book, payee, amount).map_err(|e| e.to_string())?;
        let signed = self
            .book
            .raise_to(payee, self.job, total, receipts)
            .map_err(|e| e.to_string())?;
        self.ledger.redeem(&signed).map_err(|e| e.to_string())?;
        Ok(Some(signed))
    }
}

impl Accounts {
    /// Pays what is missing to `total` for this job. `receipts` is a hash of the tasks accepted since the last payment.
    /// The voucher is on disk before it comes back; there is none when all that was promised is settled.
    pub async fn pay(
        &self,
        payee: Address,
        receipts: Blake3Hash,
        total: Glm,
    ) -> Result<Option<SignedVoucher>, String> {
        ask(&self.0, "the accounts thread", |answer| Command::Pay {
            payee,
            receipts,
            total,
            answer,
        })
        .await
    }

    /// Pays out all vouchers of this run and takes back what was left in escrow.
    pub async fn settle(&self) -> Result<(), String> {
        ask(&self.0, "the accounts thread", |answer| Command::Settle {
            answer,
        })
        .await
    }
}
