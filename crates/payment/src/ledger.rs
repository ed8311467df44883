//! What a payment network must do: accounts, escrows, redeeming vouchers, returning what is left.

use crate::{StoreError, VoucherError, chain::ChainError};
use protocol::{
    Address, Glm,
    message::{Release as Agreement, SignedRelease, SignedVoucher, Voucher},
};

/// Names an escrow: `epoch` counts those between the same two accounts. A key is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EscrowKey {
    /// Who pays.
    pub requestor: Address,
    /// Who is paid.
    pub worker: Address,
    /// Counts from zero.
    pub epoch: u64,
}

impl From<&Voucher> for EscrowKey {
    fn from(voucher: &Voucher) -> Self {
        Self {
            requestor: voucher.requestor,
            worker: voucher.worker,
            epoch: voucher.epoch,
        }
    }
}

impl From<&Agreement> for EscrowKey {
    fn from(agreement: &Agreement) -> Self {
        Self {
            requestor: agreement.requestor,
            worker: agreement.worker,
            epoch: agreement.epoch,
        }
    }
}

/// GLM set aside for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escrow {
    /// Everything ever put in, less what was returned.
    pub deposit: Glm,
    /// What the worker has been paid out of it.
    pub claimed: Glm,
    /// Closed for good: the rest went back to the requestor.
    pub released: bool,
    /// Announced: from this Unix time on what is unclaimed may be taken back.
    pub withdrawable_at: Option<u64>,
}

/// What redeeming a voucher did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeemed {
    /// Paid to the worker now; zero when the voucher was redeemed before.
    pub paid: Glm,
    /// Everything paid out of this escrow so far.
    pub cumulative_claimed: Glm,
    /// Promised by this voucher and not covered by the deposit: redeemable after a top-up.
    pub short: Glm,
}

/// What asking for the rest of an escrow did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The escrow is closed and this went back to the requestor.
    Returned(Glm),
    /// The withdrawal is announced; ask again at this Unix time in seconds. Workers can redeem until then. The
    /// embedded ledger has no such delay.
    Thawing {
        /// When the rest can be returned.
        until_unix_s: u64,
    },
}

/// Where all GLM of a ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// All there is.
    pub supply: Glm,
    /// In accounts.
    pub accounts: Glm,
    /// In escrows, not yet paid out or returned.
    pub escrowed: Glm,
}

impl Totals {
    /// Whether nothing was lost or made from nothing.
    pub fn is_conserved(&self) -> bool {
        self.accounts.checked_add(self.escrowed) == Some(self.supply)
    }
}

/// Why a ledger did not do what was asked; nothing has moved then.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Its file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The voucher is worth nothing here.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    /// The account holds less than the deposit.
    #[error(
        "account {account} holds {balance} GLM, {needed} GLM are needed: fund it or lower the budget"
    )]
    InsufficientBalance {
        /// Whose.
        account: Address,
        /// What it holds.
        balance: Glm,
        /// What was asked for.
        needed: Glm,
    },
    /// Opened before: top it up, or use the next epoch if it was released.
    #[error("the escrow {0:?} was opened before: top it up or use the next epoch")]
    AlreadyOpen(EscrowKey),
    /// Never opened.
    #[error("there is no escrow {0:?}: open it first")]
    NotOpen(EscrowKey),
    /// Closed for good.
    #[error("the escrow {0:?} was released: use the next epoch")]
    Released(EscrowKey),
    /// A release that names more than the deposit.
    #[error("the escrow {0:?} holds less than what its release names: top it up first")]
    NotCovered(EscrowKey),
    /// The chain, or the way to it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A sum beyond what amounts can hold.
    #[error("the amount is too large")]
    TooLarge,
}

/// A payment network with escrows, keyed by requestor, worker and epoch.
///
/// Calls block until their effect is durable and may take as long as a chain needs: never call them on an async
/// thread. Each either has its whole effect or none. All but [`open`](Ledger::open) and [`top_up`](Ledger::top_up)
/// may be repeated safely after a crash. An implementation that needs the requestor's signature holds its wallet.
pub trait Ledger: Send + Sync {
    /// Chain id that vouchers must name.
    fn chain_id(&self) -> u64;

    /// Escrow contract that vouchers must name.
    fn contract(&self) -> Address;

    /// Does each movement take time and a fee?
    fn is_chain(&self) -> bool;

    /// What an account holds outside escrows; zero for an unknown one.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn balance(&self, account: Address) -> Result<Glm, LedgerError>;

    /// What a requestor can put into escrows: a hot key spends its owner's.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn spendable(&self, requestor: Address) -> Result<Glm, LedgerError>;

    /// What redeeming one voucher costs at present, about, in GLM.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn redeem_fee(&self) -> Result<Glm, LedgerError>;

    /// Moves deposits from the requestor's account into new escrows of its own.
    ///
    /// # Errors
    /// When the account holds less, or a key was used before.
    fn open_many(&self, openings: &[(EscrowKey, Glm)]) -> Result<(), LedgerError>;

    /// Moves `deposit` from the requestor's account into a new escrow.
    ///
    /// # Errors
    /// When the account holds less, or the key was used before.
    fn open(&self, key: &EscrowKey, deposit: Glm) -> Result<(), LedgerError> {
        self.open_many(&[(*key, deposit)])
    }

    /// Moves `amount` more from the requestor's account into an open escrow.
    ///
    /// # Errors
    /// When the account holds less, or the escrow is not open; [`ChainError::Outdated`] when a movement of before came
    /// through only now, which may have been the same.
    fn top_up(&self, key: &EscrowKey, amount: Glm) -> Result<(), LedgerError>;

    /// The escrow, if it was ever opened.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn escrow(&self, key: &EscrowKey) -> Result<Option<Escrow>, LedgerError>;

    /// Waits for movements that an earlier process began, so that what is read afterwards is what they did.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn finish_pending(&self) -> Result<(), LedgerError>;

    /// Pays each voucher's worker `min(cumulative, deposit) - claimed`; nothing for a voucher that is no higher than an
    /// earlier one. Anybody may redeem.
    ///
    /// # Errors
    /// When a voucher is not genuine, is for another ledger, or its escrow was never opened.
    fn redeem_many(&self, signed: &[SignedVoucher]) -> Result<Vec<Redeemed>, LedgerError>;

    /// Redeems one voucher, see [`Ledger::redeem_many`].
    ///
    /// # Errors
    /// As there.
    fn redeem(&self, signed: &SignedVoucher) -> Result<Redeemed, LedgerError> {
        let redeemed = self.redeem_many(std::slice::from_ref(signed))?;
        redeemed.first().copied().ok_or(LedgerError::TooLarge)
    }

    /// Pays what the releases of workers name, closes their escrows for good, and returns what is left of each to the
    /// requestor, without delay.
    ///
    /// # Errors
    /// When a release is not genuine, is for another ledger, names more than the deposit, or its escrow was never opened.
    fn close(&self, releases: &[SignedRelease]) -> Result<Vec<Glm>, LedgerError>;

    /// Returns what is neither claimed nor returned yet to the requestor and closes the escrow for good.
    ///
    /// Redeem the last voucher first: what a released escrow does not cover is lost to the worker.
    ///
    /// # Errors
    /// When the escrow was never opened.
    fn release(&self, key: &EscrowKey) -> Result<Release, LedgerError>;

    /// Where all GLM is, summed afresh.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    fn totals(&self) -> Result<Totals, LedgerError>;
}
