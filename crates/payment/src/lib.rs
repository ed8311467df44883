//! Who owes whom how much GLM: wallet, signed vouchers, escrow ledgers and both sides' account books.
//!
//! A requestor opens an escrow for a worker ([`Ledger::open`]), raises one cumulative [`voucher`] as tiles are
//! accepted ([`VoucherBook`]), and settles at the end of the job ([`settle`]). The worker keeps the highest voucher
//! ([`EarningsBook`]); anybody may redeem it, and only the worker is paid. The key of a [`Wallet`] for real money stands in a
//! [`keystore`].
//!
//! Everything here blocks (files are synced): async callers use a blocking task. No other crate names ethers.

pub mod chain;
mod earnings_book;
mod embedded;
mod ending;
pub mod keystore;
mod ledger;
mod private_file;
mod settlement;
mod store;
pub mod voucher;
mod voucher_book;
mod wallet;

pub use earnings_book::{
    EPOCHS_PER_REQUESTOR_MAX, Earnings, EarningsBook, EarningsError, JOBS_PER_REQUESTOR_MAX,
    JobEarnings, OTHER_JOBS, Progress, Summary,
};
pub use embedded::{EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, EmbeddedLedger, FAUCET};
pub use ending::{Ending, FEES_WORTH, Settled, endings, settle_many};
pub use ledger::{Escrow, EscrowKey, Ledger, LedgerError, Redeemed, Release, Totals};
pub use settlement::{Cover, Covered, Settlement, SettlementError, cover, fund_escrow, settle};
pub use store::StoreError;
pub use voucher::{VoucherError, verify_voucher};
pub use voucher_book::{VoucherBook, VoucherBookError};
pub use wallet::{Wallet, WalletError};
