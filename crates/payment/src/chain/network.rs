//! The payment networks by name: what is known of each chain before it is asked.

use protocol::Address;
use std::{fmt, str::FromStr};

/// Where money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The embedded ledger: test GLM in a file of the requestor's, no chain.
    Local,
    /// Nobody pays: pools whose members render for each other at price 0.
    Free,
    /// Anvil on this computer, with test GLM for everybody.
    Dev,
    /// A public chain.
    Chain(&'static Preset),
}

/// What is known of a public chain.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What users call it.
    pub name: &'static str,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The GLM token.
    pub token: Address,
    /// Symbol of the coin that fees are paid in.
    pub coin: &'static str,
    /// Blocks, its own included, after which a transaction counts as final.
    pub confirmations: u64,
    /// Most gwei a unit of gas that is ever offered; what Golem's payment driver caps at.
    pub fee_cap_gwei: u64,
    /// What one coin is worth in GLM, roughly: only to tell whether a sum is worth its fee. The user may say better.
    pub glm_per_coin: u64,
    /// A public endpoint, for who names none.
    pub endpoint: &'static str,
}

const fn preset(
    (name, coin): (&'static str, &'static str),
    chain_id: u64,
    token: [u8; 20],
    (confirmations, fee_cap_gwei, glm_per_coin): (u64, u64, u64),
    endpoint: &'static str,
) -> Preset {
    Preset {
        name,
        chain_id,
        token: Address(token),
        coin,
        confirmations,
        fee_cap_gwei,
        glm_per_coin,
        endpoint,
    }
}

const fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => byte - b'A' + 10,
        }
    }
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// All public chains. Tokens: Golem's documentation. Endpoints are of a public service without keys and may be slow.
pub static PRESETS: [Preset; 6] = [
    preset(
        ("ethereum", "ETH"),
        1,
        hex(b"7DD9c5Cba05E151C895FDe1CF355C9A1D5DA6429"),
        (6, 40, 15_000),
        "https://ethereum-rpc.publicnode.com",
    ),
    preset(
        ("polygon", "POL"),
        137,
        hex(b"0B220b82F3eA3B7F6d9A1D8ab58930C064A2b5Bf"),
        (16, 500, 1),
        "https://polygon-bor-rpc.publicnode.com",
    ),
    preset(
        ("hoodi", "ETH"),
        560_048,
        hex(b"55555555555556AcFf9C332Ed151758858bd7a26"),
        (3, 40, 15_000),
        "https://ethereum-hoodi-rpc.publicnode.com",
    ),
    preset(
        ("holesky", "ETH"),
        17_000,
        hex(b"8888888815bf4DB87e57B609A50f938311EEd068"),
        (3, 40, 15_000),
        "https://ethereum-holesky-rpc.publicnode.com",
    ),
    preset(
        ("sepolia", "ETH"),
        11_155_111,
        hex(b"167b15ada84c63427c6c813B915a42eFC72E7175"),
        (3, 40, 15_000),
        "https://ethereum-sepolia-rpc.publicnode.com",
    ),
    preset(
        ("amoy", "POL"),
        80_002,
        hex(b"2b60e60d3fb0b36a7ccb388f9e71570da4c4594f"),
        (3, 500, 1),
        "https://polygon-amoy-bor-rpc.publicnode.com",
    ),
];

impl Network {
    /// Does it need endpoints, gas and confirmations?
    pub fn is_chain(&self) -> bool {
        matches!(self, Self::Dev | Self::Chain(_))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Free => "free",
            Self::Dev => "dev",
            Self::Chain(preset) => preset.name,
        })
    }
}

/// A text that names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no payment network: local, free, dev, ethereum, polygon, hoodi, holesky, sepolia and amoy are"
)]
pub struct ParseNetworkError(String);

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let named = |preset: &&Preset| preset.name == text;
        match text {
            "local" => Ok(Self::Local),
            "free" => Ok(Self::Free),
            "dev" => Ok(Self::Dev),
            _ => PRESETS
                .iter()
                .find(named)
                .map(Self::Chain)
                .ok_or_else(|| ParseNetworkError(text.chars().take(40).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_called_by_its_name() {
        let chains = PRESETS.iter().map(Network::Chain);
        for network in chains.chain([Network::Local, Network::Free, Network::Dev]) {
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        assert!("Mainnet".parse::<Network>().is_err());
    }

    #[test]
    fn tokens_are_where_they_are_said_to_be() {
        let tokens = PRESETS.iter().map(|preset| preset.token.to_string());
        assert_eq!(
            tokens.collect::<Vec<_>>(),
            [
                "0x7dd9c5cba05e151c895fde1cf355c9a1d5da6429",
                "0x0b220b82f3ea3b7f6d9a1d8ab58930c064a2b5bf",
                "0x55555555555556acff9c332ed151758858bd7a26",
                "0x8888888815bf4db87e57b609a50f938311eed068",
                "0x167b15ada84c63427c6c813b915a42efc72e7175",
                "0x2b60e60d3fb0b36a7ccb388f9e71570da4c4594f",
            ]
        );
    }
}
