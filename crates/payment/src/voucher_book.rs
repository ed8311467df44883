//! The requestor's book of promises: every voucher is on disk before it leaves.

use crate::{EscrowKey, StoreError, Wallet, WalletError, store};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{SignedRelease, SignedVoucher, Voucher},
};
use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Chain, contract, requestor, worker to a [`Promise`] in postcard.
const PROMISES: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("promises");
/// Hash of promise key and job to what was promised for the job in all, in wei.
const TOTALS: TableDefinition<&[u8; 32], u128> = TableDefinition::new("totals");

/// Of the same key the [`SignedRelease`] that its worker gave last, in postcard.
const RELEASES: TableDefinition<StoredKey, &[u8]> = TableDefinition::new("releases");

type StoredKey = (u64, &'static [u8; 20], &'static [u8; 20], &'static [u8; 20]);

/// What one worker was promised in the present epoch.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Promise {
    epoch: u64,
    last: Option<SignedVoucher>,
}

/// Why no voucher was made; the worker is promised what it was before.
#[derive(Debug, thiserror::Error)]
pub enum VoucherBookError {
    /// Its file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signature.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A sum beyond what amounts can hold.
    #[error("the promise to {0} is too large")]
    TooLarge(Address),
}

/// The promises of one wallet on one ledger, in a redb file that one process at a time may hold.
#[derive(Debug)]
pub struct VoucherBook {
    database: Database,
    wallet: Wallet,
    requestor: Address,
    chain_id: u64,
    contract: Address,
}

impl VoucherBook {
    /// Opens or makes the file. `chain_id` and `contract` are those of the ledger in use; a file may serve several.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process holds the file (after a short wait).
    pub fn open(
        path: impl AsRef<Path>,
        wallet: Wallet,
        chain_id: u64,
        contract: Address,
    ) -> Result<Self, StoreError> {
        let database = store::open(path.as_ref(), ConcurrencyMode::ExclusiveWriter)?;
        let transaction = database.begin_write()?;
        transaction.open_table(PROMISES)?;
        transaction.open_table(TOTALS)?;
        transaction.open_table(RELEASES)?;
        transaction.commit()?;
        Ok(Self {
            database,
            requestor: wallet.address(),
            wallet,
            chain_id,
            contract,
        })
    }

    /// Who promises.
    pub fn requestor(&self) -> Address {
        self.requestor
    }

    /// Promises `worker` what is missing to `total` for all its accepted tiles of a job, and returns the voucher, which is
    /// on disk by then. Asked again for a total that was promised before, as happens when a job is resumed, the last
    /// voucher comes back and nothing is added.
    ///
    /// `receipts` is a hash over the tiles accepted since the voucher before. The voucher's receipts root becomes
    /// `blake3(root || job || receipts || amount in wei, 16 bytes big endian)`, from zeros in each epoch.
    ///
    /// # Errors
    /// When the file fails, or the promise is larger than amounts can be.
    pub fn raise_to(
        &self,
        worker: Address,
        job: JobId,
        total: Glm,
        receipts: Blake3Hash,
    ) -> Result<SignedVoucher, VoucherBookError> {
        let transaction = self.database.begin_write().map_err(StoreError::from)?;
        let signed = {
            let mut promises = transaction.open_table(PROMISES).map_err(StoreError::from)?;
            let mut totals = transaction.open_table(TOTALS).map_err(StoreError::from)?;
            let promise = promise_in(&promises, self.key(&worker))?;
            let key = self.job_key(worker, job);
            let before = total_in(&totals, &key)?;
            let mut voucher = self.following(&promise, worker, job)?;
            match (total.checked_sub(before), promise.last) {
                (None | Some(Glm::ZERO), Some(last)) => return Ok(last),
                // Promised in an epoch that is settled: the first voucher of this one promises nothing yet.
                (None | Some(Glm::ZERO), None) => {}
                (Some(amount), _) => {
                    voucher.cumulative = voucher
                        .cumulative
                        .checked_add(amount)
                        .ok_or(VoucherBookError::TooLarge(worker))?;
                    voucher.receipts_root =
                        following_root(voucher.receipts_root, job, receipts, amount);
                    totals
                        .insert(&key.0, total.wei())
                        .map_err(StoreError::from)?;
                }
            }
            let signed = self.wallet.sign_voucher(&voucher)?;
            let bytes = store::to_bytes(&Promise {
                last: Some(signed),
                ..promise
            })?;
            promises
                .insert(self.key(&worker), bytes.as_slice())
                .map_err(StoreError::from)?;
            signed
        };
        transaction.commit().map_err(StoreError::from)?;
        Ok(signed)
    }

    /// What `worker` was promised for a job in all.
    ///
    /// # Errors
    /// When the file fails.
    pub fn promised(&self, worker: Address, job: JobId) -> Result<Glm, StoreError> {
        let transaction = self.database.begin_read()?;
        total_in(&transaction.open_table(TOTALS)?, &self.job_key(worker, job))
    }

    /// The last voucher that `worker` was given in the present epoch.
    ///
    /// # Errors
    /// When the file fails.
    pub fn last(&self, worker: Address) -> Result<Option<SignedVoucher>, StoreError> {
        Ok(self.promise(worker)?.last)
    }

    /// Everybody who was ever promised something, with the present epoch and its last voucher.
    ///
    /// # Errors
    /// When the file fails.
    pub fn all(&self) -> Result<Vec<(Address, u64, Option<SignedVoucher>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(PROMISES)?;
        let (first, last) = (Address([0; 20]), Address([0xff; 20]));
        table
            .range(self.key(&first)..=self.key(&last))?
            .map(|row| {
                let (key, bytes) = row?;
                let promise: Promise = store::from_bytes(bytes.value())?;
                let (_, _, _, worker) = key.value();
                Ok((Address(*worker), promise.epoch, promise.last))
            })
            .collect()
    }

    /// The epoch that the next voucher for `worker` will name.
    ///
    /// # Errors
    /// When the file fails.
    pub fn epoch(&self, worker: Address) -> Result<u64, StoreError> {
        Ok(self.promise(worker)?.epoch)
    }

    /// Keeps a worker's agreement to the end of an escrow, on disk when this returns. The caller has seen that it is genuine,
    /// or the ledger will.
    ///
    /// # Errors
    /// When the file fails.
    pub fn keep_release(&self, signed: &SignedRelease) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(RELEASES)?.insert(
            self.key(&signed.release.worker),
            store::to_bytes(signed)?.as_slice(),
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The agreement to the end of this escrow, if there is one.
    ///
    /// # Errors
    /// When the file fails.
    pub fn release(&self, key: &EscrowKey) -> Result<Option<SignedRelease>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(RELEASES)?;
        let Some(bytes) = table.get(self.key(&key.worker))? else {
            return Ok(None);
        };
        let signed: SignedRelease = store::from_bytes(bytes.value())?;
        Ok(Some(signed).filter(|signed| EscrowKey::from(&signed.release) == *key))
    }

    /// Begins the epoch after `epoch`, whose escrow was released, unless that was done before.
    ///
    /// # Errors
    /// When the file fails.
    pub fn close_epoch(&self, worker: Address, epoch: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut promises = transaction.open_table(PROMISES)?;
            let promise = promise_in(&promises, self.key(&worker))?;
            if promise.epoch != epoch {
                return Ok(());
            }
            let next = Promise {
                epoch: epoch
                    .checked_add(1)
                    .ok_or_else(|| StoreError::Damaged("no epoch is left".into()))?,
                last: None,
            };
            promises.insert(self.key(&worker), store::to_bytes(&next)?.as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn promise(&self, worker: Address) -> Result<Promise, StoreError> {
        let transaction = self.database.begin_read()?;
        promise_in(&transaction.open_table(PROMISES)?, self.key(&worker))
    }

    /// The next voucher in sequence with nothing added yet.
    fn following(
        &self,
        promise: &Promise,
        worker: Address,
        job: JobId,
    ) -> Result<Voucher, VoucherBookError> {
        let Some(SignedVoucher { voucher: last, .. }) = promise.last else {
            return Ok(Voucher {
                chain_id: self.chain_id,
                contract: self.contract,
                requestor: self.requestor(),
                worker,
                epoch: promise.epoch,
                job,
                cumulative: Glm::ZERO,
                sequence: 1,
                receipts_root: Blake3Hash([0; 32]),
            });
        };
        let sequence = last
            .sequence
            .checked_add(1)
            .ok_or(VoucherBookError::TooLarge(worker))?;
        Ok(Voucher {
            job,
            sequence,
            ..last
        })
    }

    fn key<'a>(&'a self, worker: &'a Address) -> (u64, &'a [u8; 20], &'a [u8; 20], &'a [u8; 20]) {
        (
            self.chain_id,
            &self.contract.0,
            &self.requestor.0,
            &worker.0,
        )
    }

    fn job_key(&self, worker: Address, job: JobId) -> Blake3Hash {
        Blake3Hash::of(
            &[
                &self.chain_id.to_be_bytes()[..],
                &self.contract.0,
                &self.requestor.0,
                &worker.0,
                &job.0,
            ]
            .concat(),
        )
    }
}

fn total_in(
    totals: &impl ReadableTable<&'static [u8; 32], u128>,
    key: &Blake3Hash,
) -> Result<Glm, StoreError> {
    let total = totals.get(&key.0)?;
    Ok(total.map_or(Glm::ZERO, |wei| Glm::from_wei(wei.value())))
}

fn following_root(root: Blake3Hash, job: JobId, receipts: Blake3Hash, amount: Glm) -> Blake3Hash {
    Blake3Hash::of(
        &[
            &root.0[..],
            &job.0,
            &receipts.0,
            &amount.wei().to_be_bytes(),
        ]
        .concat(),
    )
}

fn promise_in(
    promises: &impl ReadableTable<StoredKey, &'static [u8]>,
    key: (u64, &[u8; 20], &[u8; 20], &[u8; 20]),
) -> Result<Promise, StoreError> {
    match promises.get(key)? {
        Some(bytes) => store::from_bytes(bytes.value()),
        None => Ok(Promise::default()),
    }
}
