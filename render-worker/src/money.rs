//! How a program is told where money moves, and which files that concerns: the same options for both programs.

use crate::{
    config::WorkerError,
    wallet::{PasswordArguments, open_wallet, wallet_address},
};
use clap::Args;
use payment::{
    Wallet,
    chain::{ChainError, ChainSettings, DevChain, Network, RpcError},
};
use protocol::{Address, message::Terms};
use std::path::{Path, PathBuf};

/// Where money moves, and how a chain is reached.
#[derive(Debug, Clone, Args)]
pub struct NetworkArguments {
    /// Where money moves: local (test GLM in a file), free (nobody pays), dev (a chain on this computer), or a chain: ethereum,
    /// polygon, hoodi, holesky, sepolia, amoy.
    #[arg(long, value_name = "NETWORK", default_value = "local")]
    pub network: Network,
    /// Endpoint of the chain; of several the first that works. By default a public one.
    #[arg(
        long,
        value_name = "URL",
        env = "RENDER_RPC",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub rpc: Vec<String>,
    /// Most gwei that a unit of gas may cost (default: the chain's usual cap).
    #[arg(long, value_name = "GWEI", value_parser = clap::value_parser!(u64).range(1..))]
    pub fee_cap: Option<u64>,
    /// About what one coin of the chain is worth in GLM, to tell whether a sum is worth its fee.
    #[arg(long, value_name = "GLM", value_parser = clap::value_parser!(u64).range(1..))]
    pub glm_per_coin: Option<u64>,
    /// Of the wallet of a public chain.
    #[command(flatten)]
    pub password: PasswordArguments,
}

impl NetworkArguments {
    /// How the chain is reached; none where there is none.
    ///
    /// # Errors
    /// When a development chain has no endpoint.
    pub fn settings(&self) -> Result<Option<ChainSettings>, ChainError> {
        let settings = match self.network {
            Network::Local | Network::Free => return Ok(None),
            Network::Dev => {
                let endpoint = self.rpc.first().ok_or(RpcError::NoEndpoint)?;
                ChainSettings::dev(endpoint.clone())
            }
            Network::Chain(preset) => ChainSettings::of(preset),
        };
        Ok(Some(ChainSettings {
            endpoints: match self.rpc.is_empty() {
                true => settings.endpoints,
                false => self.rpc.clone(),
            },
            fee_cap_gwei: self.fee_cap.unwrap_or(settings.fee_cap_gwei),
            glm_per_coin: self.glm_per_coin.unwrap_or(settings.glm_per_coin),
            ..settings
        }))
    }

    /// The wallet whose money moves: that of the keystore on a public chain, a key that makes itself where nothing has a value.
    ///
    /// # Errors
    /// When there is none, it is open to others, or the password is missing or wrong.
    pub fn wallet(&self, data_dir: &Path) -> Result<Wallet, WorkerError> {
        match self.network {
            Network::Chain(_) => Ok(open_wallet(data_dir, &self.password.source())?),
            _ => Ok(Wallet::load_or_create(data_dir.join("payment.key"))?),
        }
    }

    /// Its address, for which no password is needed.
    ///
    /// # Errors
    /// When there is no wallet, or its file is open to others or damaged.
    pub fn address(&self, data_dir: &Path) -> Result<Address, WorkerError> {
        match self.network {
            Network::Chain(_) => Ok(wallet_address(data_dir)?),
            _ => Ok(self.wallet(data_dir)?.address()),
        }
    }

    /// What requestor and provider have to agree on.
    pub fn terms(&self, settings: Option<&ChainSettings>) -> Terms {
        match (self.network, settings) {
            (Network::Free, _) => Terms::Free,
            (_, Some(settings)) => Terms::Escrow {
                chain_id: settings.chain_id,
                contract: settings.escrow(),
            },
            (_, None) => Terms::LOCAL,
        }
    }

    /// The folder of books and transactions. Each development chain has its own: a new one knows nothing of another's epochs.
    ///
    /// # Errors
    /// When the development chain does not answer.
    pub fn folder(
        &self,
        data_dir: &Path,
        settings: Option<&ChainSettings>,
    ) -> Result<PathBuf, ChainError> {
        Ok(match (self.network, settings) {
            (Network::Dev, Some(settings)) => {
                data_dir.join("dev").join(DevChain::genesis(settings)?)
            }
            (Network::Chain(preset), _) => data_dir.join(preset.name),
            _ => data_dir.to_owned(),
        })
    }
}

/// The file of transactions in a network's folder.
pub const OUTBOX_FILE: &str = "transactions.redb";

impl From<ChainError> for WorkerError {
    fn from(error: ChainError) -> Self {
        Self::Ledger(error.into())
    }
}
