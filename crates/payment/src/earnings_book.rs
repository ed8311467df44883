//! The worker's book: the highest voucher of every requestor, enough to cash in alone, and what became of each.

use crate::{Escrow, EscrowKey, StoreError, VoucherError, store, voucher::verify_voucher_on};
use protocol::{
    Address, Glm, JobId,
    message::{SignedVoucher, Voucher},
};
use redb::{
    ConcurrencyMode, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::SystemTime};

/// Most epochs kept of one requestor on one ledger, so that a stranger's key cannot fill the disk.
pub const EPOCHS_PER_REQUESTOR_MAX: u64 = 65_536;

/// Most jobs kept of one requestor on one ledger; what further ones promise is counted together.
pub const JOBS_PER_REQUESTOR_MAX: usize = 65_536;
/// In place of a job's id: further jobs than are kept.
pub const OTHER_JOBS: JobId = JobId([0; 16]);

/// Chain, contract, requestor, epoch to the [`SignedVoucher`] in postcard.
const VOUCHERS: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("vouchers");
/// Chain, contract, requestor, epoch to the [`Progress`] of that escrow in postcard.
const PROGRESS: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("progress");
/// Chain, contract, requestor, job to what was promised for it, in wei.
const JOBS: TableDefinition<JobKey, u128> = TableDefinition::new("jobs");

type StoredKey = (u64, &'static [u8; 20], &'static [u8; 20], u64);
type JobKey = (u64, &'static [u8; 20], &'static [u8; 20], &'static [u8; 16]);

/// Why a voucher was not accepted; the one before it stays.
#[derive(Debug, thiserror::Error)]
pub enum EarningsError {
    /// The book's file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not genuine, or for another ledger.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    /// It pays somebody else.
    #[error("the voucher pays {paid}, this worker is {worker}")]
    OtherWorker {
        /// Who is paid, by the voucher.
        paid: Address,
        /// Who was to accept it.
        worker: Address,
    },
    /// Its sequence is not above that of the last one.
    #[error("the voucher has sequence {sequence}, number {last} came before")]
    OldSequence {
        /// In the voucher.
        sequence: u64,
        /// In the voucher kept.
        last: u64,
    },
    /// It promises less than the last one.
    #[error("the voucher promises {cumulative} GLM in all, the one before promised {last} GLM")]
    Lower {
        /// In the voucher.
        cumulative: Glm,
        /// In the voucher kept.
        last: Glm,
    },
    /// The requestor has used more than [`EPOCHS_PER_REQUESTOR_MAX`] epochs.
    #[error("requestor {0} has more than {EPOCHS_PER_REQUESTOR_MAX} escrows with this worker")]
    TooManyEpochs(Address),
}

/// What became of an escrow, as far as the worker has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Put in by the requestor.
    pub deposit: Glm,
    /// Paid out of it.
    pub claimed: Glm,
    /// From this Unix time on the rest may be taken back.
    pub withdrawable_at: Option<u64>,
    /// Over for good.
    pub is_closed: bool,
    /// Since when, in Unix seconds, something promised is not paid.
    pub waits_since: Option<u64>,
    /// Most that the worker has agreed to the end of this escrow with, and when, in Unix seconds.
    pub released: Option<(Glm, u64)>,
    /// When the ledger was looked at last, in Unix seconds.
    pub seen: Option<u64>,
}

impl Progress {
    /// The same once this was seen of an escrow in which so much is promised.
    pub fn after(self, promised: Glm, escrow: &Escrow) -> Self {
        let now = unix_now();
        let waited_since = self.waits_since.filter(|_| escrow.claimed == self.claimed);
        let waits = promised > escrow.claimed && !escrow.released;
        Self {
            deposit: escrow.deposit,
            claimed: escrow.claimed,
            withdrawable_at: escrow.withdrawable_at,
            is_closed: escrow.released,
            waits_since: waits.then(|| waited_since.unwrap_or(now)),
            seen: Some(now),
            ..self
        }
    }

    /// The same once the next epoch has begun, of which on the ledger nothing is left to see: what was paid is what was seen
    /// last, or what the worker agreed to.
    pub fn when_over(self) -> Self {
        let agreed = self.released.map_or(Glm::ZERO, |(agreed, _)| agreed);
        Self {
            claimed: self.claimed.max(agreed),
            withdrawable_at: None,
            is_closed: true,
            waits_since: None,
            seen: Some(unix_now()),
            ..self
        }
    }
}

/// What one escrow has earned so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earnings {
    /// The highest voucher: whoever holds it can redeem it, and only the worker is paid.
    pub signed: SignedVoucher,
    /// What became of it.
    pub progress: Progress,
}

impl Earnings {
    /// Promised in this epoch.
    pub fn promised(&self) -> Glm {
        self.signed.voucher.cumulative
    }

    /// Who promised it.
    pub fn requestor(&self) -> Address {
        self.signed.voucher.requestor
    }

    /// The escrow that it is promised on.
    pub fn key(&self) -> EscrowKey {
        EscrowKey::from(&self.signed.voucher)
    }

    /// What redeeming would give by what was last seen of the escrow.
    pub fn redeemable(&self) -> Glm {
        let Progress {
            deposit, claimed, ..
        } = self.progress;
        match self.progress.is_closed {
            true => Glm::ZERO,
            false => {
                let due = self.promised().min(deposit);
                due.checked_sub(claimed).unwrap_or_default()
            }
        }
    }

    /// May there still be something to get?
    pub fn is_open(&self) -> bool {
        !self.progress.is_closed && self.promised() > self.progress.claimed
    }
}

/// What a requestor has promised for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEarnings {
    /// The ledger's chain.
    pub chain_id: u64,
    /// Its escrow contract.
    pub contract: Address,
    /// Who promised.
    pub requestor: Address,
    /// The job; [`OTHER_JOBS`] for all beyond those that are kept.
    pub job: JobId,
    /// In all vouchers together.
    pub promised: Glm,
}

/// Everything in a book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The highest voucher of each escrow, by ledger, requestor and epoch.
    pub escrows: Vec<Earnings>,
    /// By ledger, requestor and job. Books of earlier releases do not know of jobs before.
    pub jobs: Vec<JobEarnings>,
}

/// The vouchers of one worker on one ledger, in a redb file. One process may write; others may read with
/// [`EarningsBook::read`].
#[derive(Debug)]
pub struct EarningsBook {
    database: Database,
    worker: Address,
    chain_id: u64,
    contract: Address,
}

impl EarningsBook {
    /// Opens or makes the file for vouchers that pay `worker` on the ledger with this chain id and contract.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process writes to it (after a short wait).
    pub fn open(
        path: impl AsRef<Path>,
        worker: Address,
        chain_id: u64,
        contract: Address,
    ) -> Result<Self, StoreError> {
        let database = store::open(path.as_ref(), ConcurrencyMode::SingleWriter)?;
        let transaction = database.begin_write()?;
        transaction.open_table(VOUCHERS)?;
        transaction.open_table(PROGRESS)?;
        transaction.open_table(JOBS)?;
        transaction.commit()?;
        Ok(Self {
            database,
            worker,
            chain_id,
            contract,
        })
    }

    /// All rows of a book that another process may be writing to; one whose writer was killed is repaired first.
    ///
    /// # Errors
    /// When there is no book at `path`, or it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Summary, StoreError> {
        rows(&store::open_to_read(path.as_ref())?)
    }

    /// Checks a voucher and keeps it in place of the one before; returns by how much it is higher.
    ///
    /// The very voucher that is kept may come again and adds nothing. The caller makes sure that the requestor is the
    /// payer of a job that this worker has taken, and that its escrow covers the sum.
    ///
    /// # Errors
    /// When it is not genuine, for another ledger or worker, or not above the one before in sequence and sum.
    pub fn accept(&self, signed: SignedVoucher) -> Result<Glm, EarningsError> {
        let voucher = &signed.voucher;
        if voucher.worker != self.worker {
            return Err(EarningsError::OtherWorker {
                paid: voucher.worker,
                worker: self.worker,
            });
        }
        verify_voucher_on(&signed, self.chain_id, self.contract)?;
        let transaction = self.database.begin_write().map_err(StoreError::from)?;
        let increase = {
            let mut vouchers = transaction.open_table(VOUCHERS).map_err(StoreError::from)?;
            let kept = match vouchers.get(key(voucher)).map_err(StoreError::from)? {
                Some(bytes) => Some(store::from_bytes::<SignedVoucher>(bytes.value())?),
                None => None,
            };
            let increase = match kept {
                Some(kept) if kept == signed => return Ok(Glm::ZERO),
                Some(kept) => increase(&kept.voucher, voucher)?,
                None => {
                    refuse_too_many_epochs(&vouchers, voucher)?;
                    voucher.cumulative
                }
            };
            let bytes = store::to_bytes(&signed)?;
            vouchers
                .insert(key(voucher), bytes.as_slice())
                .map_err(StoreError::from)?;
            increase
        };
        if increase > Glm::ZERO {
            add_to_job(
                &mut transaction.open_table(JOBS).map_err(StoreError::from)?,
                voucher,
                increase,
            )?;
            change(
                &mut transaction.open_table(PROGRESS).map_err(StoreError::from)?,
                key(voucher),
                |progress| {
                    progress.waits_since.get_or_insert_with(unix_now);
                },
            )?;
        }
        transaction.commit().map_err(StoreError::from)?;
        Ok(increase)
    }

    /// Notes what the ledger says of an escrow; nothing is written where that is known.
    ///
    /// # Errors
    /// When the file fails.
    pub fn note(&self, key: &EscrowKey, escrow: &Escrow) -> Result<(), StoreError> {
        let promised = self.promised(key)?;
        let kept = self.progress(key)?;
        let seen = kept.after(promised, escrow);
        match kept.seen.is_some()
            && seen
                == (Progress {
                    seen: seen.seen,
                    ..kept
                }) {
            true => Ok(()),
            false => self.change(key, |progress| *progress = progress.after(promised, escrow)),
        }
    }

    /// Notes that an escrow is over of which the ledger keeps nothing.
    ///
    /// # Errors
    /// When the file fails.
    pub fn note_over(&self, key: &EscrowKey) -> Result<(), StoreError> {
        self.change(key, |progress| *progress = progress.when_over())
    }

    /// Notes that the worker agrees to the end of an escrow, on disk when this returns: nothing more is done in it then.
    ///
    /// # Errors
    /// When the file fails.
    pub fn agree(&self, key: &EscrowKey, cumulative: Glm) -> Result<(), StoreError> {
        self.change(key, |progress| {
            let (most, since) = progress.released.unwrap_or((cumulative, unix_now()));
            progress.released = Some((most.max(cumulative), since));
        })
    }

    /// What was promised in an escrow.
    ///
    /// # Errors
    /// When the file fails.
    pub fn promised(&self, key: &EscrowKey) -> Result<Glm, StoreError> {
        let transaction = self.database.begin_read()?;
        let vouchers = transaction.open_table(VOUCHERS)?;
        Ok(match vouchers.get(self.stored(key))? {
            Some(bytes) => {
                store::from_bytes::<SignedVoucher>(bytes.value())?
                    .voucher
                    .cumulative
            }
            None => Glm::ZERO,
        })
    }

    /// What became of an escrow.
    ///
    /// # Errors
    /// When the file fails.
    pub fn progress(&self, key: &EscrowKey) -> Result<Progress, StoreError> {
        let transaction = self.database.begin_read()?;
        progress_in(&transaction.open_table(PROGRESS)?, self.stored(key))
    }

    /// The last epoch of each requestor that the worker has agreed to the end of.
    ///
    /// # Errors
    /// When the file fails.
    pub fn agreed(&self) -> Result<Vec<EscrowKey>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(PROGRESS)?;
        let first = (self.chain_id, &self.contract.0, &[0; 20], 0);
        let last = (self.chain_id, &self.contract.0, &[0xff; 20], u64::MAX);
        let mut agreed: Vec<EscrowKey> = Vec::new();
        for row in table.range(first..=last)? {
            let (key, bytes) = row?;
            let (_, _, requestor, epoch) = key.value();
            let requestor = Address(*requestor);
            if store::from_bytes::<Progress>(bytes.value())?
                .released
                .is_none()
            {
                continue;
            }
            agreed.retain(|earlier| earlier.requestor != requestor);
            agreed.push(EscrowKey {
                requestor,
                worker: self.worker,
                epoch,
            });
        }
        Ok(agreed)
    }

    fn change(&self, key: &EscrowKey, how: impl FnOnce(&mut Progress)) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        change(
            &mut transaction.open_table(PROGRESS)?,
            self.stored(key),
            how,
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn stored<'a>(&'a self, key: &'a EscrowKey) -> (u64, &'a [u8; 20], &'a [u8; 20], u64) {
        (self.chain_id, &self.contract.0, &key.requestor.0, key.epoch)
    }

    /// The highest voucher of each escrow of the ledger that the book was opened for, by requestor and epoch.
    ///
    /// # Errors
    /// When the file fails.
    pub fn escrows(&self) -> Result<Vec<Earnings>, StoreError> {
        let mut escrows = self.summary()?.escrows;
        escrows.retain(|row| {
            let voucher = &row.signed.voucher;
            (voucher.chain_id, voucher.contract) == (self.chain_id, self.contract)
        });
        Ok(escrows)
    }

    /// Everything in the book, of every ledger.
    ///
    /// # Errors
    /// When the file fails.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        rows(&self.database)
    }
}

fn key(voucher: &Voucher) -> (u64, &[u8; 20], &[u8; 20], u64) {
    (
        voucher.chain_id,
        &voucher.contract.0,
        &voucher.requestor.0,
        voucher.epoch,
    )
}

fn rows(database: &impl ReadableDatabase) -> Result<Summary, StoreError> {
    let transaction = database.begin_read()?;
    let vouchers = transaction.open_table(VOUCHERS)?;
    // Books of earlier releases have vouchers only.
    let progress = match transaction.open_table(PROGRESS) {
        Err(TableError::TableDoesNotExist(_)) => None,
        other => Some(other?),
    };
    let jobs = match transaction.open_table(JOBS) {
        Err(TableError::TableDoesNotExist(_)) => None,
        other => Some(other?),
    };
    let escrows = vouchers.iter()?.map(|row| {
        let (key, bytes) = row?;
        let progress = progress.as_ref();
        let progress = progress.map(|progress| progress_in(progress, key.value()));
        Ok(Earnings {
            signed: store::from_bytes(bytes.value())?,
            progress: progress.transpose()?.unwrap_or_default(),
        })
    });
    let escrows = escrows.collect::<Result<_, StoreError>>()?;
    let mut summary = Summary {
        escrows,
        jobs: Vec::new(),
    };
    if let Some(jobs) = jobs {
        for row in jobs.iter()? {
            let (key, wei) = row?;
            let (chain_id, contract, requestor, job) = key.value();
            summary.jobs.push(JobEarnings {
                chain_id,
                contract: Address(*contract),
                requestor: Address(*requestor),
                job: JobId(*job),
                promised: Glm::from_wei(wei.value()),
            });
        }
    }
    Ok(summary)
}

fn progress_in(
    table: &impl ReadableTable<StoredKey, &'static [u8]>,
    key: (u64, &[u8; 20], &[u8; 20], u64),
) -> Result<Progress, StoreError> {
    match table.get(key)? {
        Some(bytes) => store::from_bytes(bytes.value()),
        None => Ok(Progress::default()),
    }
}

fn change(
    table: &mut Table<'_, StoredKey, &'static [u8]>,
    key: (u64, &[u8; 20], &[u8; 20], u64),
    how: impl FnOnce(&mut Progress),
) -> Result<(), StoreError> {
    let mut progress = progress_in(table, key)?;
    how(&mut progress);
    table.insert(key, store::to_bytes(&progress)?.as_slice())?;
    Ok(())
}

/// Adds to what was promised for the voucher's job.
fn add_to_job(
    table: &mut Table<'_, JobKey, u128>,
    voucher: &Voucher,
    increase: Glm,
) -> Result<(), StoreError> {
    let (chain_id, contract, requestor, _) = key(voucher);
    let of = |job| (chain_id, contract, requestor, job);
    let job = match table.get(of(&voucher.job.0))? {
        Some(_) => voucher.job,
        None => {
            let jobs = table.range(of(&[0; 16])..=of(&[0xff; 16]))?;
            match jobs.count() < JOBS_PER_REQUESTOR_MAX {
                true => voucher.job,
                false => OTHER_JOBS,
            }
        }
    };
    let before = table.get(of(&job.0))?.map_or(0, |wei| wei.value());
    table.insert(of(&job.0), before.saturating_add(increase.wei()))?;
    Ok(())
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn increase(kept: &Voucher, next: &Voucher) -> Result<Glm, EarningsError> {
    if next.sequence <= kept.sequence {
        return Err(EarningsError::OldSequence {
            sequence: next.sequence,
            last: kept.sequence,
        });
    }
    next.cumulative
        .checked_sub(kept.cumulative)
        .ok_or(EarningsError::Lower {
            cumulative: next.cumulative,
            last: kept.cumulative,
        })
}

fn refuse_too_many_epochs(
    vouchers: &impl ReadableTable<StoredKey, &'static [u8]>,
    voucher: &Voucher,
) -> Result<(), EarningsError> {
    let (chain_id, contract, requestor, _) = key(voucher);
    let epochs = vouchers
        .range((chain_id, contract, requestor, 0)..=(chain_id, contract, requestor, u64::MAX))
        .map_err(StoreError::from)?;
    if epochs.count() as u64 >= EPOCHS_PER_REQUESTOR_MAX {
        return Err(EarningsError::TooManyEpochs(voucher.requestor));
    }
    Ok(())
}
