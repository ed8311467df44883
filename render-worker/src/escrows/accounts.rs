//! What each requestor has promised and owes, as the worker's loop and its bookkeeper both see it.

use payment::{EarningsBook, StoreError};
use protocol::{Address, Glm, JobId, message::Voucher};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What one requestor has promised and owes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// The epoch of its last voucher.
    pub epoch: u64,
    /// Promised there.
    pub promised: Glm,
    /// Accepted work of present jobs that no voucher has paid yet, counted at what is paid for it at least.
    pub unpaid: Glm,
    /// The last epoch to whose end this worker has agreed.
    pub agreed: Option<u64>,
}

impl Account {
    /// Promised in an epoch.
    pub fn promised_in(&self, epoch: u64) -> Glm {
        match self.epoch == epoch {
            true => self.promised,
            false => Glm::ZERO,
        }
    }
}

/// The accounts of all requestors on one ledger.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    accounts: HashMap<Address, Account>,
    /// What each job's part of what is unpaid is.
    jobs: HashMap<JobId, Glm>,
}

impl Accounts {
    /// What a book says of them. What was accepted and not paid is not in it: that is known to the process alone.
    pub fn of(book: &EarningsBook) -> Result<Self, StoreError> {
        let mut accounts = HashMap::<Address, Account>::new();
        // By epoch: the last one stays.
        for row in book.escrows()? {
            let account = accounts.entry(row.requestor()).or_default();
            (account.epoch, account.promised) = (row.key().epoch, row.promised());
        }
        for key in book.agreed()? {
            accounts.entry(key.requestor).or_default().agreed = Some(key.epoch);
        }
        Ok(Self(Mutex::new(Kept {
            accounts,
            jobs: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, requestor: Address) -> Account {
        let kept = self.lock();
        kept.accounts.get(&requestor).copied().unwrap_or_default()
    }

    /// Work of this value was accepted.
    pub fn owe(&self, requestor: Address, job: JobId, value: Glm) {
        if value > Glm::ZERO {
            let mut kept = self.lock();
            let account = kept.accounts.entry(requestor).or_default();
            account.unpaid = [account.unpaid, value].into_iter().sum();
            let unpaid = kept.jobs.entry(job).or_default();
            *unpaid = [*unpaid, value].into_iter().sum();
        }
    }

    /// A voucher promises so much more.
    pub fn promise(&self, voucher: &Voucher, increase: Glm) {
        let mut kept = self.lock();
        let account = kept.accounts.entry(voucher.requestor).or_default();
        if voucher.epoch >= account.epoch {
            (account.epoch, account.promised) = (voucher.epoch, voucher.cumulative);
        }
        kept.pay(voucher.requestor, voucher.job, increase);
    }

    /// The job is over; gives what stays unpaid of it. It is written off: a requestor that was killed pays when it resumes the
    /// job, and may have another one meanwhile.
    pub fn close(&self, requestor: Address, job: JobId) -> Glm {
        self.lock().pay(requestor, job, Glm::from_wei(u128::MAX))
    }

    /// Nothing more is done up to this epoch; gives what was agreed to before.
    pub fn agree(&self, requestor: Address, epoch: u64) -> Option<u64> {
        let mut kept = self.lock();
        let account = kept.accounts.entry(requestor).or_default();
        let before = account.agreed;
        account.agreed = before.max(Some(epoch));
        before
    }

    /// The end was not agreed to after all.
    pub fn disagree(&self, requestor: Address, before: Option<u64>) {
        if let Some(account) = self.lock().accounts.get_mut(&requestor) {
            account.agreed = before;
        }
    }
}

impl Kept {
    /// Takes from what a job has unpaid at most so much; gives what was taken.
    fn pay(&mut self, requestor: Address, job: JobId, most: Glm) -> Glm {
        let Some(unpaid) = self.jobs.remove(&job) else {
            return Glm::ZERO;
        };
        let paid = unpaid.min(most);
        let rest = unpaid.checked_sub(paid).unwrap_or_default();
        if rest > Glm::ZERO {
            self.jobs.insert(job, rest);
        }
        if let Some(account) = self.accounts.get_mut(&requestor) {
            account.unpaid = account.unpaid.checked_sub(paid).unwrap_or_default();
        }
        paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use payment::{EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, EscrowKey, Wallet};
    use protocol::Blake3Hash;

    #[test]
    fn what_a_book_knows_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (requestor, worker) = (Wallet::from_secret(&[1; 32]).unwrap(), Address([2; 20]));
        let (chain_id, contract) = (EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT);
        let path = folder.path().join("earnings.redb");
        let book = EarningsBook::open(path, worker, chain_id, contract).unwrap();
        let accounts = Accounts::of(&book).unwrap();
        let payer = requestor.address();
        assert_eq!(accounts.get(payer), Account::default());
        let (job, other) = (JobId([3; 16]), JobId([4; 16]));
        accounts.owe(payer, job, Glm::from_glm(7));
        accounts.owe(payer, other, Glm::from_glm(9));
        for epoch in [0, 1] {
            let voucher = Voucher {
                chain_id,
                contract,
                requestor: payer,
                worker,
                epoch,
                job,
                cumulative: Glm::from_glm(2 + epoch),
                sequence: 1,
                receipts_root: Blake3Hash([0; 32]),
            };
            let signed = requestor.sign_voucher(&voucher).unwrap();
            let increase = book.accept(signed).unwrap();
            accounts.promise(&voucher, increase);
        }
        let key = EscrowKey {
            requestor: payer,
            worker,
            epoch: 0,
        };
        book.agree(&key, Glm::from_glm(2)).unwrap();
        assert_eq!(accounts.agree(payer, 0), None);
        // What another job has unpaid is not paid by this one's vouchers, and is written off with it.
        assert_eq!(accounts.close(payer, other), Glm::from_glm(9));
        assert_eq!(accounts.close(payer, other), Glm::ZERO);
        let known = Account {
            epoch: 1,
            promised: Glm::from_glm(3),
            unpaid: Glm::from_glm(2),
            agreed: Some(0),
        };
        assert_eq!(accounts.get(payer), known);
        let again = Account {
            unpaid: Glm::ZERO,
            ..known
        };
        assert_eq!(Accounts::of(&book).unwrap().get(payer), again);
    }
}
