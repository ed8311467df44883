//! Why a chain did not do what was asked, for whoever has to do something about it.

use super::{outbox::ChainHash, rpc::RpcError};
use crate::{StoreError, WalletError};
use protocol::Address;

/// Why a chain did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The endpoints.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The file of transactions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// No coin for fees.
    #[error(
        "account {account} holds {balance} {coin} and {needed} {coin} are needed for the fee: send it some"
    )]
    NoCoin {
        /// Whose.
        account: Address,
        /// What it holds, in coins.
        balance: String,
        /// What the transaction may cost, in coins.
        needed: String,
        /// The coin's symbol.
        coin: String,
    },
    /// The chain is too dear at present.
    #[error(
        "the chain asks for {asked} gwei a unit of gas and the cap is {cap}: wait, or raise --fee-cap"
    )]
    FeeAboveCap {
        /// Base fee in gwei, rounded up.
        asked: u128,
        /// The cap in gwei.
        cap: u128,
    },
    /// A contract does not take it.
    #[error("{purpose}: {reason}")]
    Refused {
        /// What it was to do.
        purpose: String,
        /// What the contract says.
        reason: String,
    },
    /// A transaction that the same key made elsewhere took its place; nothing happened.
    #[error(
        "{purpose}: another program used the same key (nonce {nonce}); nothing was done, try again"
    )]
    Displaced {
        /// What it was to do.
        purpose: String,
        /// The nonce that was taken.
        nonce: u64,
    },
    /// Not in a block, or not deep enough in the chain, for a long time.
    #[error(
        "{purpose}: transaction {hash} is not through after {minutes} minutes{said}; it is seen to again at the next occasion, with `--fee-cap` if the chain has become dearer"
    )]
    Stuck {
        /// What it does.
        purpose: String,
        /// Its last attempt.
        hash: ChainHash,
        /// How long was waited.
        minutes: u64,
        /// What was heard of it last, with what joins it to the sentence; may be empty.
        said: String,
    },
    /// What was decided on may be otherwise by now: an earlier transaction came through only after it was read.
    #[error("an earlier transaction came through only now: look again, nothing else was done")]
    Outdated,
    /// The program is asked to end; what is on its way is seen to at the next start.
    #[error("interrupted; what is on its way is seen to at the next start")]
    Interrupted,
    /// There is no escrow contract.
    #[error(
        "there is no escrow contract at {address} on chain {chain_id}: `render wallet deploy` puts it there, once for everybody"
    )]
    NoContract {
        /// Where it would be.
        address: Address,
        /// The chain.
        chain_id: u64,
    },
    /// A development chain.
    #[error("{0}")]
    Dev(String),
}

impl ChainError {
    /// May waiting mend it?
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Rpc(error) => {
                !matches!(error, RpcError::NoEndpoint | RpcError::OtherChain { .. })
            }
            Self::FeeAboveCap { .. } => true,
            _ => false,
        }
    }
}
