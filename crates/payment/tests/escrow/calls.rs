//! The contracts of `contracts/built` and how their functions are called and their answers read.

use crate::evm::{Done, Evm, Reverted};
pub use ethers_core::abi::Token;
use ethers_core::{
    abi::Abi,
    types::{H160, U256},
    utils::keccak256,
};
use ethers_signers::LocalWallet;
use payment::voucher::digest;
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{SignedVoucher, Voucher},
};
use std::{fmt, sync::OnceLock};

/// EIP-712 type of a worker's release.
pub const RELEASE_TYPE: &str =
    "Release(address requestor,address worker,uint256 epoch,uint256 cumulative)";

/// A contract of `contracts/built`.
pub struct Artifact {
    pub abi: Abi,
    pub bytecode: Vec<u8>,
}

macro_rules! artifact {
    ($function:ident, $name:literal) => {
        pub fn $function() -> &'static Artifact {
            static ARTIFACT: OnceLock<Artifact> = OnceLock::new();
            ARTIFACT.get_or_init(|| {
                let committed = include_str!(concat!("../../contracts/built/", $name, ".json"));
                // mutants.mjs has broken contracts elsewhere.
                match std::env::var_os("CONTRACTS_BUILT") {
                    Some(folder) => {
                        let path = std::path::Path::new(&folder).join(concat!($name, ".json"));
                        read(&std::fs::read_to_string(path).unwrap())
                    }
                    None => read(committed),
                }
            })
        }
    };
}
artifact!(escrow, "RenderEscrow");
artifact!(test_token, "TestToken");
artifact!(hostile_token, "HostileToken");
artifact!(probe, "Probe");

fn read(text: &str) -> Artifact {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    Artifact {
        abi: serde_json::from_value(json["abi"].clone()).unwrap(),
        bytecode: from_hex(json["bytecode"].as_str().unwrap()),
    }
}

pub fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

pub fn address(address: Address) -> Token {
    Token::Address(H160(address.0))
}

pub fn uint(number: impl Into<U256>) -> Token {
    Token::Uint(number.into())
}

pub fn call(artifact: &Artifact, function: &str, arguments: &[Token]) -> Vec<u8> {
    artifact
        .abi
        .function(function)
        .unwrap()
        .encode_input(arguments)
        .unwrap()
}

/// A contract that answered with an error of its own, by name, or with something else.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Reverted> for Refusal {
    fn from(Reverted(data): Reverted) -> Self {
        for artifact in [escrow(), test_token()] {
            for error in artifact.abi.errors() {
                if data.get(..4) == Some(&error.signature().0[..4]) {
                    return Self(error.name.clone());
                }
            }
        }
        match data.get(..4) {
            Some([0x4e, 0x48, 0x7b, 0x71]) => Self("Panic".into()),
            _ => Self(format!("{data:02x?}")),
        }
    }
}

/// A key that signs anything, other than [`payment::Wallet`], which signs its own vouchers only.
#[derive(Clone)]
pub struct Key(LocalWallet);

impl Key {
    pub fn of_secret(secret: &[u8; 32]) -> Self {
        Self(LocalWallet::from_bytes(secret).unwrap())
    }

    pub fn new(number: u8) -> Self {
        Self::of_secret(&[number; 32])
    }

    pub fn address(&self) -> Address {
        use ethers_signers::Signer;
        Address(self.0.address().0)
    }

    pub fn sign(&self, digest: [u8; 32]) -> Signature {
        let signature = self.0.sign_hash(digest.into()).unwrap();
        let (mut r, mut s) = ([0; 32], [0; 32]);
        signature.r.to_big_endian(&mut r);
        signature.s.to_big_endian(&mut s);
        Signature {
            v: signature.v.try_into().unwrap(),
            r,
            s,
        }
    }

    pub fn sign_voucher(&self, voucher: Voucher) -> SignedVoucher {
        let Signature { v, r, s } = self.sign(digest(&voucher));
        SignedVoucher { voucher, r, s, v }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    pub v: u8,
    pub r: [u8; 32],
    pub s: [u8; 32],
}

impl Signature {
    /// The other signature that the same key could have made of this one, which must not count.
    pub fn malleable_twin(self) -> Self {
        let order = U256::from_big_endian(&[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c,
            0xd0, 0x36, 0x41, 0x41,
        ]);
        let mut s = [0; 32];
        (order - U256::from_big_endian(&self.s)).to_big_endian(&mut s);
        Self {
            v: 55 - self.v,
            s,
            ..self
        }
    }

    fn tokens(self) -> [Token; 3] {
        [
            uint(self.v),
            Token::FixedBytes(self.r.to_vec()),
            Token::FixedBytes(self.s.to_vec()),
        ]
    }
}

pub fn voucher_token(voucher: &Voucher) -> Token {
    let mut job = voucher.job.0.to_vec();
    job.resize(32, 0);
    Token::Tuple(vec![
        address(voucher.requestor),
        address(voucher.worker),
        uint(voucher.epoch),
        Token::FixedBytes(job),
        uint(voucher.cumulative.wei()),
        uint(voucher.sequence),
        Token::FixedBytes(voucher.receipts_root.0.to_vec()),
    ])
}

pub fn signed_token(signed: &SignedVoucher) -> Token {
    let SignedVoucher { voucher, r, s, v } = *signed;
    let mut fields = vec![voucher_token(&voucher)];
    fields.extend(Signature { v, r, s }.tokens());
    Token::Tuple(fields)
}

/// What a worker signs to end an epoch early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    pub requestor: Address,
    pub worker: Address,
    pub epoch: u64,
    pub cumulative: u128,
}

impl Release {
    pub fn token(&self) -> Token {
        Token::Tuple(vec![
            address(self.requestor),
            address(self.worker),
            uint(self.epoch),
            uint(self.cumulative),
        ])
    }

    /// The bytes to sign, computed here as EIP-712 says and not by the contract.
    pub fn digest(&self, chain_id: u64, contract: Address) -> [u8; 32] {
        let word = |number: u128| {
            let mut word = [0; 32];
            word[16..].copy_from_slice(&number.to_be_bytes());
            word
        };
        let account = |address: Address| {
            let mut word = [0; 32];
            word[12..].copy_from_slice(&address.0);
            word
        };
        let domain = keccak256(
            [
                keccak256(payment::voucher::DOMAIN_TYPE),
                keccak256(payment::voucher::DOMAIN_NAME),
                keccak256(payment::voucher::DOMAIN_VERSION),
                word(chain_id.into()),
                account(contract),
            ]
            .concat(),
        );
        let fields = keccak256(
            [
                keccak256(RELEASE_TYPE),
                account(self.requestor),
                account(self.worker),
                word(self.epoch.into()),
                word(self.cumulative),
            ]
            .concat(),
        );
        keccak256([&[0x19, 0x01][..], &domain, &fields].concat())
    }
}

/// A channel as the contract keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channel {
    pub deposit: u128,
    pub claimed: u128,
    pub withdrawable_at: u64,
    pub epochs: u64,
}

impl Channel {
    /// Of four words.
    pub fn of(fields: &[Token]) -> Self {
        let field = |at: usize| fields[at].clone().into_uint().unwrap();
        Self {
            deposit: field(0).as_u128(),
            claimed: field(1).as_u128(),
            withdrawable_at: field(2).as_u64(),
            epochs: field(3).as_u64(),
        }
    }

    pub fn unclaimed(&self) -> u128 {
        self.deposit - self.claimed
    }
}

/// An opening in [`Contracts::open_many`]: worker, epoch, deposit.
pub type Opening = (Address, u64, u128);

pub fn open_many(openings: &[Opening]) -> Vec<u8> {
    let openings = openings
        .iter()
        .map(|(worker, epoch, deposit)| {
            Token::Tuple(vec![address(*worker), uint(*epoch), uint(*deposit)])
        })
        .collect();
    call(escrow(), "openMany", &[Token::Array(openings)])
}

pub fn redeem_many(vouchers: &[SignedVoucher]) -> Vec<u8> {
    let vouchers = vouchers.iter().map(signed_token).collect();
    call(escrow(), "redeemMany", &[Token::Array(vouchers)])
}

pub fn release(release: &Release, signature: Signature) -> Vec<u8> {
    let mut fields = vec![release.token()];
    fields.extend(signature.tokens());
    call(escrow(), "release", &[Token::Tuple(fields)])
}

/// An escrow and its token on some chain.
#[derive(Debug, Clone, Copy)]
pub struct Contracts {
    pub chain_id: u64,
    pub escrow: Address,
    pub token: Address,
}

pub type Paid = Result<u128, Refusal>;
pub type Outcome = Result<Done, Refusal>;

impl Contracts {
    /// Makes `token` and an escrow for it.
    pub fn deploy(evm: &mut dyn Evm, chain_id: u64, token: &Artifact) -> Self {
        let deployer = Address([0xd0; 20]);
        evm.send(deployer, None, &token.bytecode).unwrap();
        let token = evm.created();
        let code = escrow()
            .abi
            .constructor()
            .unwrap()
            .encode_input(escrow().bytecode.clone(), &[address(token)])
            .unwrap();
        evm.send(deployer, None, &code).unwrap();
        Self {
            chain_id,
            escrow: evm.created(),
            token,
        }
    }

    pub fn send(&self, evm: &mut dyn Evm, from: Address, input: &[u8]) -> Outcome {
        Ok(evm.send(from, Some(self.escrow), input)?)
    }

    pub fn call(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        name: &str,
        arguments: &[Token],
    ) -> Outcome {
        self.send(evm, from, &call(escrow(), name, arguments))
    }

    pub fn token(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        name: &str,
        arguments: &[Token],
    ) -> Outcome {
        // The functions of the hostile token are a superset.
        let input = call(hostile_token(), name, arguments);
        Ok(evm.send(from, Some(self.token), &input)?)
    }

    /// Mints, and lets the escrow take it.
    pub fn fund(&self, evm: &mut dyn Evm, account: Address, amount: u128) {
        self.token(evm, account, "mint", &[address(account), uint(amount)])
            .unwrap();
        self.token(
            evm,
            account,
            "approve",
            &[address(self.escrow), uint(U256::MAX)],
        )
        .unwrap();
    }

    pub fn balance(&self, evm: &mut dyn Evm, account: Address) -> u128 {
        let input = call(test_token(), "balanceOf", &[address(account)]);
        U256::from_big_endian(&evm.look(self.token, &input).unwrap()).as_u128()
    }

    pub fn channel(&self, evm: &mut dyn Evm, requestor: Address, worker: Address) -> Channel {
        let function = escrow().abi.function("channels").unwrap();
        let input = function
            .encode_input(&[address(requestor), address(worker)])
            .unwrap();
        let output = evm.look(self.escrow, &input).unwrap();
        Channel::of(&function.decode_output(&output).unwrap())
    }

    pub fn open(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        (worker, epoch, deposit): Opening,
    ) -> Outcome {
        self.call(
            evm,
            from,
            "open",
            &[address(worker), uint(epoch), uint(deposit)],
        )
    }

    pub fn top_up(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        (worker, epoch, amount): Opening,
    ) -> Outcome {
        self.call(
            evm,
            from,
            "topUp",
            &[address(worker), uint(epoch), uint(amount)],
        )
    }

    pub fn redeem(&self, evm: &mut dyn Evm, from: Address, signed: &SignedVoucher) -> Paid {
        paid(self.call(evm, from, "redeem", &[signed_token(signed)]))
    }

    pub fn redeem_many(&self, evm: &mut dyn Evm, from: Address, signed: &[SignedVoucher]) -> Paid {
        paid(self.send(evm, from, &redeem_many(signed)))
    }

    pub fn announce(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        (requestor, worker, epoch): (Address, Address, u64),
    ) -> Outcome {
        self.call(
            evm,
            from,
            "announceWithdrawal",
            &[address(requestor), address(worker), uint(epoch)],
        )
    }

    pub fn withdraw(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        (requestor, worker, epoch): (Address, Address, u64),
    ) -> Outcome {
        self.call(
            evm,
            from,
            "withdraw",
            &[address(requestor), address(worker), uint(epoch)],
        )
    }

    pub fn release(
        &self,
        evm: &mut dyn Evm,
        from: Address,
        worker: &Key,
        agreed: Release,
    ) -> Outcome {
        let signature = worker.sign(agreed.digest(self.chain_id, self.escrow));
        self.send(evm, from, &release(&agreed, signature))
    }

    /// A voucher for this contract; job, sequence and receipts are of no account on chain.
    pub fn voucher(
        &self,
        requestor: Address,
        worker: Address,
        epoch: u64,
        cumulative: u128,
    ) -> Voucher {
        Voucher {
            chain_id: self.chain_id,
            contract: self.escrow,
            requestor,
            worker,
            epoch,
            job: JobId([7; 16]),
            cumulative: Glm::from_wei(cumulative),
            sequence: 1,
            receipts_root: Blake3Hash([9; 32]),
        }
    }
}

fn paid(outcome: Outcome) -> Paid {
    Ok(U256::from_big_endian(&outcome?.output).as_u128())
}
