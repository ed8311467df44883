//! The worker's book: the highest voucher of every requestor, enough to cash in alone.

use crate::{StoreError, VoucherError, store, voucher::verify_voucher_on};
use protocol::{
    Address, Glm,
    message::{SignedVoucher, Voucher},
};
use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, ReadableDatabase, ReadableTable,
    TableDefinition,
};
use std::path::Path;

/// Most epochs kept of one requestor on one ledger, so that a stranger's key cannot fill the disk.
pub const EPOCHS_PER_REQUESTOR_MAX: u64 = 65_536;

/// Chain, contract, requestor, epoch to the [`SignedVoucher`] in postcard.
const VOUCHERS: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("vouchers");

type StoredKey = (u64, &'static [u8; 20], &'static [u8; 20], u64);

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

/// What one escrow has earned so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earnings {
    /// The highest voucher: whoever holds it can redeem it, and only the worker is paid.
    pub signed: SignedVoucher,
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
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Earnings>, StoreError> {
        let path = path.as_ref();
        let opened = Builder::new()
            .set_cache_size(store::CACHE_BYTES)
            .set_concurrency_mode(ConcurrencyMode::SingleWriter)
            .open_read_only(path);
        match opened {
            Ok(database) => rows(&database),
            Err(DatabaseError::RepairAborted) => {
                rows(&store::open(path, ConcurrencyMode::SingleWriter)?)
            }
            Err(error) => Err(store::open_error(path, error)),
        }
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
        transaction.commit().map_err(StoreError::from)?;
        Ok(increase)
    }

    /// The highest voucher of each escrow, of every ledger, by ledger, requestor and epoch.
    ///
    /// # Errors
    /// When the file fails.
    pub fn summary(&self) -> Result<Vec<Earnings>, StoreError> {
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

fn rows(database: &impl ReadableDatabase) -> Result<Vec<Earnings>, StoreError> {
    let transaction = database.begin_read()?;
    let vouchers = transaction.open_table(VOUCHERS)?;
    vouchers
        .iter()?
        .map(|row| {
            let (_, bytes) = row?;
            let signed = store::from_bytes(bytes.value())?;
            Ok(Earnings { signed })
        })
        .collect()
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
