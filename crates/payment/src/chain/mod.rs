//! GLM on a real chain: which chains, how they are reached, transactions that survive anything, and the ledger on the
//! escrow contract.
//!
//! [`ChainLedger`] is what the rest of the program uses. Below it, `contract` knows the words of the two contracts,
//! `sender` brings one transaction after another into a block (`delivery` makes them and tells endpoints), `outbox` has each on disk before it leaves, and
//! `rpc` asks whichever of the user's endpoints answers; `words` understands what these say. `dev` starts a chain of one's own.

mod contract;
mod delivery;
mod dev;
mod endpoint;
mod error;
mod ledger;
mod network;
mod outbox;
mod rpc;
mod sender;
mod settings;
mod words;

pub use contract::{Deployment, escrow_address};
pub use dev::DevChain;
pub use error::ChainError;
pub use ledger::ChainLedger;
pub use network::{Network, ParseNetworkError, Preset};
pub use outbox::{Attempt, ChainHash, Inclusion, Outbox, State, Transaction};
pub use rpc::{Rpc, RpcError};
pub use settings::{ChainSettings, Patience};
