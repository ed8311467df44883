//! How a chain is reached, what may be spent on fees, and how long is waited for what.

use super::{
    contract::{self, Channel, Deployment},
    network::{Network, Preset},
    rpc::{Rpc, RpcError, nonsense},
};
use crate::Escrow;
use protocol::{Address, Glm};
use serde_json::{Value, json};
use std::time::Duration;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks for a receipt.
    pub poll: Duration,
    /// Before a transaction that is in no block is replaced by one with a higher fee.
    pub bump: Duration,
    /// Before waiting ends with [`ChainError::Stuck`]; it goes on at the next occasion.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            bump: Duration::from_secs(45),
            give_up: Duration::from_secs(15 * 60),
        }
    }
}

/// Which chain, how it is reached, and how its transactions are sent.
#[derive(Debug, Clone)]
pub struct ChainSettings {
    /// The chain's id.
    pub chain_id: u64,
    /// The GLM token.
    pub token: Address,
    /// Endpoints in the order of preference.
    pub endpoints: Vec<String>,
    /// Symbol of the coin that fees are paid in.
    pub coin: String,
    /// Most gwei a unit of gas.
    pub fee_cap_gwei: u64,
    /// Blocks after which a transaction is final.
    pub confirmations: u64,
    /// What a coin is worth in GLM, roughly.
    pub glm_per_coin: u64,
    /// How long is waited for what.
    pub patience: Patience,
    /// How long one endpoint may take to answer.
    pub timeout: Duration,
}

impl ChainSettings {
    /// Longest an endpoint may take to answer.
    pub const TIMEOUT: Duration = Duration::from_secs(15);

    /// What the preset of a public chain says, with its public endpoint.
    pub fn of(preset: &Preset) -> Self {
        Self {
            chain_id: preset.chain_id,
            token: preset.token,
            endpoints: vec![preset.endpoint.to_owned()],
            coin: preset.coin.to_owned(),
            fee_cap_gwei: preset.fee_cap_gwei,
            confirmations: preset.confirmations,
            glm_per_coin: preset.glm_per_coin,
            patience: Patience::default(),
            timeout: Self::TIMEOUT,
        }
    }

    /// A development chain at an endpoint.
    pub fn dev(endpoint: String) -> Self {
        Self {
            chain_id: super::DevChain::CHAIN_ID,
            token: Deployment::test_token().address,
            endpoints: vec![endpoint],
            coin: "ETH".into(),
            fee_cap_gwei: 500,
            confirmations: 1,
            // Fees are worth nothing: everything is settled.
            glm_per_coin: 0,
            patience: Patience {
                poll: Duration::from_millis(500),
                ..Patience::default()
            },
            timeout: Self::TIMEOUT,
        }
    }

    /// Where the escrow lies.
    pub fn escrow(&self) -> Address {
        contract::escrow_address(self.token)
    }

    /// What an account holds: GLM, and coins in the same unit of 10^-18.
    ///
    /// # Errors
    /// When no endpoint answers, or the token is not there.
    pub fn holdings(&self, account: Address) -> Result<(Glm, Glm), RpcError> {
        let rpc = self.rpc()?;
        let answer = rpc.look(self.token, &contract::balance_of(account))?;
        let held =
            contract::read_number(&answer).ok_or_else(|| nonsense("balanceOf", &Value::Null))?;
        let parameters = json!([account.to_string(), "latest"]);
        let coins = rpc.number("eth_getBalance", parameters)?;
        Ok((Glm::from_wei(held), Glm::from_wei(coins)))
    }

    /// The last epoch between two accounts, and its escrow; for who has no account there.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub fn present(
        &self,
        requestor: Address,
        worker: Address,
    ) -> Result<Option<(u64, Escrow)>, RpcError> {
        let asked = contract::channels(requestor, worker);
        let answer = self.rpc()?.look(self.escrow(), &asked)?;
        let channel = Channel::read(&answer).ok_or_else(|| nonsense("channels", &Value::Null))?;
        Ok(channel.present())
    }

    /// The endpoints as one.
    ///
    /// # Errors
    /// When there are none.
    pub fn rpc(&self) -> Result<Rpc, RpcError> {
        Rpc::new(&self.endpoints, self.chain_id, self.timeout)
    }
}

impl Network {
    /// How a public chain is reached; none for the others.
    pub fn settings(&self) -> Option<ChainSettings> {
        match self {
            Self::Chain(preset) => Some(ChainSettings::of(preset)),
            _ => None,
        }
    }
}
