//! The words of the two contracts: how calls are written, answers and refusals read, and where the escrow lies.
//!
//! The escrow is made through the deterministic deployment proxy (EIP-2470's predecessor, the same account on every chain),
//! so its address follows from its code and its token: everybody computes it, and whoever needs it first puts it there.

use super::rpc::from_hex;
use crate::{Escrow, EscrowKey};
use ethers_core::{
    abi::{Abi, Token},
    types::{H160, U256},
    utils::{get_create2_address_from_hash, keccak256},
};
use protocol::{
    Address, Glm,
    message::{SignedRelease, SignedVoucher},
};
use serde::Deserialize;
use std::sync::OnceLock;

/// The deterministic deployment proxy: 32 bytes of salt and the code to run make a contract.
pub(super) const DEPLOYER: Address = Address([
    0x4e, 0x59, 0xb4, 0x48, 0x47, 0xb3, 0x79, 0x57, 0x85, 0x88, 0x92, 0x0c, 0xa7, 0x8f, 0xbf, 0x26,
    0xc0, 0xb4, 0x95, 0x6c,
]);
/// The contract's word for an epoch that is over, in place of a time.
const CLOSED: u64 = 1;

#[derive(Deserialize)]
struct Artifact {
    abi: Abi,
    bytecode: String,
}

fn escrow() -> &'static Artifact {
    static ARTIFACT: OnceLock<Artifact> = OnceLock::new();
    ARTIFACT.get_or_init(|| artifact(include_str!("../../contracts/built/RenderEscrow.json")))
}

fn test_token() -> &'static Artifact {
    static ARTIFACT: OnceLock<Artifact> = OnceLock::new();
    ARTIFACT.get_or_init(|| artifact(include_str!("../../contracts/built/TestToken.json")))
}

/// What is committed is read by every test of this crate: it is JSON with these fields.
fn artifact(text: &str) -> Artifact {
    serde_json::from_str(text).unwrap_or_else(|_| Artifact {
        abi: Abi::default(),
        bytecode: String::new(),
    })
}

/// A contract that is put on a chain by [`DEPLOYER`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Where it lies then.
    pub address: Address,
    /// What the proxy is called with.
    pub(super) input: Vec<u8>,
}

impl Deployment {
    fn of(mut code: Vec<u8>, arguments: &[Token]) -> Self {
        code.extend(ethers_core::abi::encode(arguments));
        let salt = [0; 32];
        let address = get_create2_address_from_hash(H160(DEPLOYER.0), salt, keccak256(&code));
        Self {
            address: Address(address.0),
            input: [&salt[..], &code].concat(),
        }
    }

    /// The escrow for a token.
    pub fn escrow(token: Address) -> Self {
        let code = from_hex(&escrow().bytecode).unwrap_or_default();
        Self::of(code, &[account(token)])
    }

    /// The token of test chains.
    pub(super) fn test_token() -> Self {
        Self::of(from_hex(&test_token().bytecode).unwrap_or_default(), &[])
    }
}

/// Where the escrow for a token lies, on every chain.
pub fn escrow_address(token: Address) -> Address {
    Deployment::escrow(token).address
}

fn account(address: Address) -> Token {
    Token::Address(H160(address.0))
}

fn uint(number: impl Into<U256>) -> Token {
    Token::Uint(number.into())
}

fn amount(glm: Glm) -> Token {
    uint(glm.wei())
}

fn word(bytes: [u8; 32]) -> Token {
    Token::FixedBytes(bytes.to_vec())
}

/// What a contract is called with; empty for a function that it does not have, which no caller asks for.
fn call(artifact: &Artifact, function: &str, arguments: &[Token]) -> Vec<u8> {
    let function = artifact.abi.function(function);
    let encoded = function.and_then(|function| function.encode_input(arguments));
    debug_assert!(encoded.is_ok(), "{encoded:?}");
    encoded.unwrap_or_default()
}

pub(super) fn approve(spender: Address, most: Glm) -> Vec<u8> {
    call(test_token(), "approve", &[account(spender), amount(most)])
}

pub(super) fn transfer(to: Address, sum: Glm) -> Vec<u8> {
    call(test_token(), "transfer", &[account(to), amount(sum)])
}

pub(super) fn mint(to: Address, sum: Glm) -> Vec<u8> {
    call(test_token(), "mint", &[account(to), amount(sum)])
}

pub(super) fn balance_of(holder: Address) -> Vec<u8> {
    call(test_token(), "balanceOf", &[account(holder)])
}

pub(super) fn allowance(holder: Address, spender: Address) -> Vec<u8> {
    call(
        test_token(),
        "allowance",
        &[account(holder), account(spender)],
    )
}

pub(super) fn total_supply() -> Vec<u8> {
    call(test_token(), "totalSupply", &[])
}

pub(super) fn token() -> Vec<u8> {
    call(escrow(), "TOKEN", &[])
}

pub(super) fn open_many(openings: &[(EscrowKey, Glm)]) -> Vec<u8> {
    let opening = |(key, deposit): &(EscrowKey, Glm)| {
        Token::Tuple(vec![account(key.worker), uint(key.epoch), amount(*deposit)])
    };
    let openings = openings.iter().map(opening).collect();
    call(escrow(), "openMany", &[Token::Array(openings)])
}

pub(super) fn top_up(key: &EscrowKey, sum: Glm) -> Vec<u8> {
    let arguments = [account(key.worker), uint(key.epoch), amount(sum)];
    call(escrow(), "topUp", &arguments)
}

pub(super) fn announce_withdrawal(key: &EscrowKey) -> Vec<u8> {
    call(escrow(), "announceWithdrawal", &of_key(key))
}

pub(super) fn withdraw(key: &EscrowKey) -> Vec<u8> {
    call(escrow(), "withdraw", &of_key(key))
}

fn of_key(key: &EscrowKey) -> [Token; 3] {
    [account(key.requestor), account(key.worker), uint(key.epoch)]
}

pub(super) fn redeem_many(vouchers: &[SignedVoucher]) -> Vec<u8> {
    let vouchers = vouchers.iter().map(signed_voucher).collect();
    call(escrow(), "redeemMany", &[Token::Array(vouchers)])
}

fn signed_voucher(signed: &SignedVoucher) -> Token {
    let voucher = &signed.voucher;
    let mut job = [0; 32];
    job[..16].copy_from_slice(&voucher.job.0);
    let fields = Token::Tuple(vec![
        account(voucher.requestor),
        account(voucher.worker),
        uint(voucher.epoch),
        word(job),
        amount(voucher.cumulative),
        uint(voucher.sequence),
        word(voucher.receipts_root.0),
    ]);
    Token::Tuple(vec![fields, uint(signed.v), word(signed.r), word(signed.s)])
}

/// Hands in releases, all or none.
pub(super) fn release_many(releases: &[SignedRelease]) -> Vec<u8> {
    let calls = releases.iter().map(|signed| {
        let release = &signed.release;
        let fields = Token::Tuple(vec![
            account(release.requestor),
            account(release.worker),
            uint(release.epoch),
            amount(release.cumulative),
        ]);
        let signed = Token::Tuple(vec![fields, uint(signed.v), word(signed.r), word(signed.s)]);
        Token::Bytes(call(escrow(), "release", &[signed]))
    });
    call(escrow(), "multicall", &[Token::Array(calls.collect())])
}

pub(super) fn serve_owner(owner: Address) -> Vec<u8> {
    call(escrow(), "serveOwner", &[account(owner)])
}

pub(super) fn raise_cap(hot_key: Address, sum: Glm) -> Vec<u8> {
    call(escrow(), "raiseCap", &[account(hot_key), amount(sum)])
}

pub(super) fn revoke_cap(hot_key: Address) -> Vec<u8> {
    call(escrow(), "revokeCap", &[account(hot_key)])
}

pub(super) fn delegations(hot_key: Address) -> Vec<u8> {
    call(escrow(), "delegations", &[account(hot_key)])
}

pub(super) fn channels(requestor: Address, worker: Address) -> Vec<u8> {
    call(escrow(), "channels", &[account(requestor), account(worker)])
}

/// The words of an answer as numbers of at most 128 bits.
fn words<const N: usize>(answer: &[u8]) -> Option<[u128; N]> {
    let mut words = [0; N];
    if answer.len() != 32 * N {
        return None;
    }
    for (word, bytes) in words.iter_mut().zip(answer.chunks_exact(32)) {
        let (high, low) = bytes.split_at(16);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        *word = u128::from_be_bytes(low.try_into().ok()?);
    }
    Some(words)
}

/// A number that a contract answered with.
pub(super) fn read_number(answer: &[u8]) -> Option<u128> {
    words::<1>(answer).map(|[number]| number)
}

/// An account that a contract answered with.
pub(super) fn read_account(answer: &[u8]) -> Option<Address> {
    let bytes = answer.get(12..32).filter(|_| answer.len() == 32)?;
    bytes.try_into().ok().map(Address)
}

/// Whom a hot key serves and how much more it may put into channels.
pub(super) fn read_delegation(answer: &[u8]) -> Option<(Option<Address>, Glm)> {
    let (owner, cap) = answer.split_at_checked(32)?;
    let owner = read_account(owner)?;
    let owner = (owner != Address([0; 20])).then_some(owner);
    Some((owner, Glm::from_wei(read_number(cap)?)))
}

/// What the contract keeps of a requestor and a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel {
    deposit: u128,
    claimed: u128,
    withdrawable_at: u64,
    epochs: u64,
}

impl Channel {
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let [deposit, claimed, withdrawable_at, epochs] = words(answer)?;
        Some(Self {
            deposit,
            claimed,
            withdrawable_at: withdrawable_at.try_into().ok()?,
            epochs: epochs.try_into().ok()?,
        })
    }

    /// The last epoch that was opened and its escrow.
    pub(super) fn present(&self) -> Option<(u64, Escrow)> {
        let last = self.epochs.checked_sub(1)?;
        self.epoch(last).map(|escrow| (last, escrow))
    }

    /// The escrow of one epoch; of one that was followed by another nothing is kept but that it is over.
    pub(super) fn epoch(&self, epoch: u64) -> Option<Escrow> {
        let last = self.epochs.checked_sub(1)?;
        match epoch.cmp(&last) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Less => Some(Escrow {
                deposit: Glm::ZERO,
                claimed: Glm::ZERO,
                released: true,
                withdrawable_at: None,
            }),
            std::cmp::Ordering::Equal => Some(Escrow {
                deposit: Glm::from_wei(self.deposit),
                claimed: Glm::from_wei(self.claimed),
                released: self.withdrawable_at == CLOSED,
                withdrawable_at: Some(self.withdrawable_at).filter(|at| *at > CLOSED),
            }),
        }
    }
}

/// What a contract refused a call with, in words.
pub(super) fn refusal(data: &[u8]) -> String {
    let Some(selector) = data.get(..4) else {
        return "the contract gives no reason".into();
    };
    let errors = escrow().abi.errors().chain(test_token().abi.errors());
    for error in errors {
        if error.signature().0[..4] == *selector {
            let values = error.decode(&data[4..]).unwrap_or_default();
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            return format!("{}({})", error.name, values.join(", "));
        }
    }
    // Error(string), of older contracts such as GLM itself.
    if selector == [0x08, 0xc3, 0x79, 0xa0]
        && let Ok(values) =
            ethers_core::abi::decode(&[ethers_core::abi::ParamType::String], &data[4..])
        && let Some(Token::String(text)) = values.first()
    {
        return protocol::message::printable(&text.chars().take(200).collect::<String>());
    }
    format!(
        "the contract refuses with {}",
        super::rpc::hex(&data[..data.len().min(68)])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_contracts_are_read() {
        assert!(escrow().abi.function("openMany").is_ok());
        assert!(test_token().abi.function("mint").is_ok());
        assert!(Deployment::escrow(Address([1; 20])).input.len() > 5_000);
        assert_ne!(
            escrow_address(Address([1; 20])),
            escrow_address(Address([2; 20]))
        );
    }

    #[test]
    fn channels_are_told_by_epoch() {
        let channel = Channel {
            deposit: 10,
            claimed: 4,
            withdrawable_at: 0,
            epochs: 3,
        };
        assert_eq!(channel.epoch(3), None);
        assert!(channel.epoch(1).unwrap().released);
        let present = channel.epoch(2).unwrap();
        assert_eq!(
            (
                present.deposit.wei(),
                present.claimed.wei(),
                present.released
            ),
            (10, 4, false)
        );
        let thawing = Channel {
            withdrawable_at: 1_800_000_000,
            ..channel
        };
        assert_eq!(
            thawing.epoch(2).unwrap().withdrawable_at,
            Some(1_800_000_000)
        );
        let closed = Channel {
            withdrawable_at: CLOSED,
            ..channel
        };
        assert!(closed.epoch(2).unwrap().released);
        let never = Channel {
            epochs: 0,
            ..channel
        };
        assert_eq!(never.epoch(0), None);
    }

    #[test]
    fn refusals_are_told_by_name() {
        let error = escrow().abi.error("OverCap").unwrap();
        let data = [&error.signature().0[..4], &[0; 31], &[7]].concat();
        assert_eq!(refusal(&data), "OverCap(7)");
        let text = ethers_core::abi::encode(&[Token::String("paused\u{1b}".into())]);
        let data = [&[0x08, 0xc3, 0x79, 0xa0][..], &text].concat();
        assert_eq!(refusal(&data), "paused\u{fffd}");
        assert_eq!(refusal(&[]), "the contract gives no reason");
        assert_eq!(
            refusal(&[1, 2, 3, 4]),
            "the contract refuses with 0x01020304"
        );
    }
}
