//! The wallet for real chains: a keystore in the data folder of either program, its password, and the commands about it.
//!
//! Networks of test GLM on this computer need none: they use the key in `payment.key`, which makes itself.

mod chain_command;
mod command;
mod password_source;

pub use command::{WalletArguments, run};
pub use password_source::{PASSWORD_VARIABLES, PasswordArguments, PasswordSource};

use crate::config::WorkerError;
use payment::{
    LedgerError, StoreError, Wallet,
    chain::{ChainError, Network},
    keystore::{Fault, Keystore, KeystoreError, PasswordError},
};
use protocol::Address;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The wallet's name in its data folder.
const FILE: &str = "wallet.json";

/// Why a wallet is not made, opened, shown or exported: nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum WalletFailure {
    /// None was made or imported yet.
    #[error("there is no wallet in {0}")]
    NoWallet(PathBuf),
    /// Its file, or another of its kind.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The password that was given.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// None was given, and there is nobody to ask.
    #[error("there is no {0}, and no terminal to ask for it")]
    NoPassword(&'static str),
    /// A new password was mistyped.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// An environment variable that is no text.
    #[error("the environment variable {0} is not UTF-8 text")]
    NotText(&'static str),
    /// Asking failed.
    #[error("cannot ask on the terminal: {0}")]
    Terminal(io::Error),
    /// What was typed is no key.
    #[error("what was typed is not a secp256k1 key as 64 hexadecimal digits")]
    NotAKey,
    /// The wallet of a network.
    #[error(transparent)]
    Wallet(Box<WorkerError>),
    /// There is no chain to ask.
    #[error("the network {0} is no chain")]
    NoChain(Network),
    /// The chain, or the way to it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Where a network's files are kept.
    #[error("cannot make {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others write keystores without their address.
    #[error("the wallet in {0} does not tell its address")]
    NoAddress(PathBuf),
    /// Nobody said yes.
    #[error("not confirmed: nothing was sent")]
    NotConfirmed,
    /// A transfer of an earlier run that the chain did not carry out after all.
    #[error("the transfer was undone, or another program took its place: nothing was sent")]
    NotSent,
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl From<ChainError> for WalletFailure {
    fn from(error: ChainError) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<StoreError> for WalletFailure {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl WalletFailure {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoWallet(_) => {
                "`wallet new` makes one, `wallet import` takes over a key that you have; --data-dir picks another folder"
            }
            Self::Keystore(KeystoreError::Content {
                fault: Fault::WrongPassword,
                ..
            }) => {
                "the password is taken from --password-file, else from RENDER_WALLET_PASSWORD, else from the terminal"
            }
            Self::Keystore(_) => {
                "nothing was changed; --data-dir picks another folder for the wallet"
            }
            Self::Password(_) | Self::NoPassword(_) | Self::NotText(_) => {
                "write it into a file that only you can read and name that with --password-file (--new-password-file for an export)"
            }
            Self::PasswordsDiffer | Self::NotAKey => "nothing was written: try again",
            Self::Terminal(_) => "--password-file PATH needs no terminal",
            Self::Wallet(error) => error.hint(),
            Self::NoChain(_) => "name one: --network polygon, or another of `--help`",
            Self::Ledger(_) => {
                "check --network and --rpc, and what the account holds: `wallet balance`"
            }
            Self::Folder { .. } => "check space and permissions, or give another --data-dir",
            Self::NoAddress(_) => "`wallet import` of the file writes one that does",
            Self::NotSent => "see `wallet balance`, and send it again",
            Self::NotConfirmed => "answer y, or give --yes",
            Self::Output(_) => "check where standard output goes",
        }
    }
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Whether there is a wallet for real chains, readable or not.
pub fn has_wallet(data_dir: &Path) -> bool {
    let found = file(data_dir).symlink_metadata();
    !found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Decrypts the wallet, which takes about a second and 256 MiB. Blocks, and may ask for the password on the terminal.
///
/// # Errors
/// When there is none, its file is open to others or damaged, or the password is missing or wrong.
pub fn open_wallet(data_dir: &Path, password: &PasswordSource) -> Result<Wallet, WalletFailure> {
    // Its faults first: they cost no password.
    let store = keystore(data_dir)?;
    Ok(store.decrypt(&password.read()?)?)
}

/// The wallet's address, which its file tells without a password.
///
/// # Errors
/// When there is no wallet, its file is open to others or damaged, or tells none.
pub fn wallet_address(data_dir: &Path) -> Result<Address, WalletFailure> {
    let address = keystore(data_dir)?.address();
    address.ok_or_else(|| WalletFailure::NoAddress(data_dir.into()))
}

fn keystore(data_dir: &Path) -> Result<Keystore, WalletFailure> {
    match has_wallet(data_dir) {
        true => Ok(Keystore::open(file(data_dir))?),
        false => Err(WalletFailure::NoWallet(data_dir.into())),
    }
}
