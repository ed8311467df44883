//! Vouchers as EIP-712 typed data: what is signed, and how a signature is checked.
//!
//! The domain is [`DOMAIN_TYPE`] with name [`DOMAIN_NAME`], version [`DOMAIN_VERSION`], the voucher's chain id and its
//! contract; the structure is [`VOUCHER_TYPE`]. A job id has 16 bytes and stands in the upper half of its `bytes32`,
//! zeros below, as Solidity widens a `bytes16`.

use ethers_core::{
    types::{RecoveryMessage, Signature, U256},
    utils::keccak256,
};
use protocol::{
    Address,
    message::{Release, SignedRelease, SignedVoucher, Voucher},
};

/// EIP-712 type of the domain.
pub const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
/// Name in the domain.
pub const DOMAIN_NAME: &str = "render escrow";
/// Version in the domain.
pub const DOMAIN_VERSION: &str = "1";
/// EIP-712 type of a voucher; its hash is the type hash that a contract compares with.
pub const VOUCHER_TYPE: &str = "Voucher(address requestor,address worker,uint256 epoch,bytes32 job,uint256 cumulative,uint256 sequence,bytes32 receiptsRoot)";
/// EIP-712 type of a worker's release.
pub const RELEASE_TYPE: &str =
    "Release(address requestor,address worker,uint256 epoch,uint256 cumulative)";

/// Half the order of secp256k1, rounded down, big endian: a larger `s` is the malleable twin of a smaller one.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Why a voucher is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// `v` is neither 27 nor 28.
    #[error("the voucher's recovery id is {0}, only 27 and 28 are valid")]
    RecoveryId(u8),
    /// `s` is in the upper half of the curve's order: somebody may have altered the signature.
    #[error("the voucher's signature is not in its low-s form")]
    HighS,
    /// No public key fits the signature.
    #[error("the voucher's signature is not one of secp256k1")]
    NotASignature,
    /// Signed by another key, or altered after signing.
    #[error("the voucher is of requestor {requestor} but was signed by {signer}, or altered")]
    WrongSigner {
        /// Who promises, by the voucher.
        requestor: Address,
        /// Whose signature it is.
        signer: Address,
    },
    /// A release that the worker did not sign.
    #[error("the release is of worker {worker} but was signed by {signer}, or altered")]
    WrongReleaser {
        /// Who agrees, by the release.
        worker: Address,
        /// Whose signature it is.
        signer: Address,
    },
    /// Made for another chain or escrow contract.
    #[error(
        "it is for chain {chain_id}, contract {contract}; expected chain {expected_chain_id}, contract {expected_contract}"
    )]
    OtherLedger {
        /// Chain in the voucher.
        chain_id: u64,
        /// Contract in the voucher.
        contract: Address,
        /// Chain in use here.
        expected_chain_id: u64,
        /// Contract in use here.
        expected_contract: Address,
    },
}

fn address_word(address: Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address.0);
    word
}

fn number_word(number: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&number.to_be_bytes());
    word
}

fn domain_separator(chain_id: u64, contract: Address) -> [u8; 32] {
    keccak256(
        [
            keccak256(DOMAIN_TYPE),
            keccak256(DOMAIN_NAME),
            keccak256(DOMAIN_VERSION),
            number_word(chain_id.into()),
            address_word(contract),
        ]
        .concat(),
    )
}

fn struct_hash(voucher: &Voucher) -> [u8; 32] {
    let mut job = [0; 32];
    job[..16].copy_from_slice(&voucher.job.0);
    keccak256(
        [
            keccak256(VOUCHER_TYPE),
            address_word(voucher.requestor),
            address_word(voucher.worker),
            number_word(voucher.epoch.into()),
            job,
            number_word(voucher.cumulative.wei()),
            number_word(voucher.sequence.into()),
            voucher.receipts_root.0,
        ]
        .concat(),
    )
}

/// The 32 bytes that a requestor signs: `keccak256(0x1901 || domain separator || struct hash)` (EIP-712).
pub fn digest(voucher: &Voucher) -> [u8; 32] {
    typed_data(voucher.chain_id, voucher.contract, struct_hash(voucher))
}

/// The 32 bytes that a worker signs to let an epoch end.
pub fn release_digest(release: &Release) -> [u8; 32] {
    let hash = keccak256(
        [
            keccak256(RELEASE_TYPE),
            address_word(release.requestor),
            address_word(release.worker),
            number_word(release.epoch.into()),
            number_word(release.cumulative.wei()),
        ]
        .concat(),
    );
    typed_data(release.chain_id, release.contract, hash)
}

fn typed_data(chain_id: u64, contract: Address, hash: [u8; 32]) -> [u8; 32] {
    let domain = domain_separator(chain_id, contract);
    keccak256([&[0x19, 0x01][..], &domain, &hash].concat())
}

/// Checks the signature and returns who signed, which is the voucher's requestor.
///
/// # Errors
/// When the signature is not in its one canonical form, or of somebody else.
pub fn verify_voucher(signed: &SignedVoucher) -> Result<Address, VoucherError> {
    let signer = signer(digest(&signed.voucher), (signed.r, signed.s, signed.v))?;
    let requestor = signed.voucher.requestor;
    if signer != requestor {
        return Err(VoucherError::WrongSigner { requestor, signer });
    }
    Ok(signer)
}

fn signer(digest: [u8; 32], (r, s, v): ([u8; 32], [u8; 32], u8)) -> Result<Address, VoucherError> {
    if !matches!(v, 27 | 28) {
        return Err(VoucherError::RecoveryId(v));
    }
    if s > HALF_ORDER {
        return Err(VoucherError::HighS);
    }
    let signature = Signature {
        r: U256::from_big_endian(&r),
        s: U256::from_big_endian(&s),
        v: v.into(),
    };
    let signer = signature.recover(RecoveryMessage::Hash(digest.into()));
    signer
        .map(|address| Address(address.0))
        .map_err(|_| VoucherError::NotASignature)
}

/// Checks that a voucher is made for the given chain and contract and rightly signed.
pub(crate) fn verify_voucher_on(
    signed: &SignedVoucher,
    expected_chain_id: u64,
    expected_contract: Address,
) -> Result<(), VoucherError> {
    let Voucher {
        chain_id, contract, ..
    } = signed.voucher;
    check_ledger((chain_id, contract), (expected_chain_id, expected_contract))?;
    verify_voucher(signed).map(|_| ())
}

/// Checks that a release is made for the given chain and contract and rightly signed by its worker.
///
/// # Errors
/// When it is not.
pub fn verify_release_on(
    signed: &SignedRelease,
    expected_chain_id: u64,
    expected_contract: Address,
) -> Result<(), VoucherError> {
    let Release {
        chain_id,
        contract,
        worker,
        ..
    } = signed.release;
    check_ledger((chain_id, contract), (expected_chain_id, expected_contract))?;
    let digest = release_digest(&signed.release);
    match signer(digest, (signed.r, signed.s, signed.v))? {
        signer if signer == worker => Ok(()),
        signer => Err(VoucherError::WrongReleaser { worker, signer }),
    }
}

fn check_ledger(
    (chain_id, contract): (u64, Address),
    (expected_chain_id, expected_contract): (u64, Address),
) -> Result<(), VoucherError> {
    if (chain_id, contract) != (expected_chain_id, expected_contract) {
        return Err(VoucherError::OtherLedger {
            chain_id,
            contract,
            expected_chain_id,
            expected_contract,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wallet;
    use protocol::{Blake3Hash, Glm, JobId};

    fn from_hex<const N: usize>(text: &str) -> [u8; N] {
        let mut bytes = [0; N];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        }
        bytes
    }

    fn wallet() -> Wallet {
        Wallet::from_secret(&[0x46; 32]).unwrap()
    }

    fn counting<const N: usize>(first: u8) -> [u8; N] {
        std::array::from_fn(|i| first + i as u8)
    }

    fn voucher() -> Voucher {
        Voucher {
            chain_id: 137,
            contract: Address([0xc0; 20]),
            requestor: wallet().address(),
            worker: Address([0xb1; 20]),
            epoch: 3,
            job: JobId(counting(0)),
            cumulative: Glm::from_wei(1_234_567_890_123_456_789_012),
            sequence: 42,
            receipts_root: Blake3Hash(counting(32)),
        }
    }

    /// Expected values are those of Python's eth-account 0.14.0 (`encode_typed_data`, `sign_message`), secret 0x46 x 32.
    #[test]
    fn hashes_and_signatures_are_those_of_eth_account() {
        let mut last = Address([0; 20]);
        last.0[19] = 1;
        let largest = Voucher {
            chain_id: 0,
            contract: Address([0; 20]),
            worker: last,
            epoch: 0,
            cumulative: Glm::from_wei(u128::MAX),
            sequence: u64::MAX,
            ..voucher()
        };
        let vectors = [
            (
                voucher(),
                "4adaec2349b308b0d0a05d4d424cb24c3d32e454386063559e8a0bfd70a9e709",
                "70f20634908ec8a34b93c89ba36777b996de07c3f260d828d5aa21adace4160a",
                "49d60144b3e5eb1e4bdc7491cf96cfc98e23e53cb968b0a5a213a05defad7aea",
                "af5230ce417595ddfc90c3084123005c40b566852bd2b3d8964d83e1d4f91a6e",
                "5bf287e84a283939daaf1b1238b69508bda20d3c7446ae66fb9b3354fb50884a",
            ),
            (
                largest,
                "15615e7f448e55fcbd6858a99eae0b7557c806cc78cbf9d63a3af5ac86cb38e0",
                "08a2a37c7a95eb445a1f78e25c937ee01d353f937df3fd68963fdc6617a87b2f",
                "d5c89cbc2ffbc52fee2431c084bf58e80f996b41c174ff1ffbc9ae8683ac00b7",
                "5bcfa784099092c5f489840c71a60e9ef0b11e769ff33f577c7a044fd255aded",
                "4fd03901d5830015a577008433271501912b77d81f95da7819c40958c48e2b0d",
            ),
        ];
        assert_eq!(
            wallet().address().to_string(),
            "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"
        );
        for (voucher, domain, hash, signed_bytes, r, s) in vectors {
            assert_eq!(
                domain_separator(voucher.chain_id, voucher.contract),
                from_hex(domain)
            );
            assert_eq!(struct_hash(&voucher), from_hex(hash));
            assert_eq!(digest(&voucher), from_hex(signed_bytes));
            let signed = wallet().sign_voucher(&voucher).unwrap();
            assert_eq!(
                (signed.r, signed.s, signed.v),
                (from_hex(r), from_hex(s), 28)
            );
            assert_eq!(verify_voucher(&signed), Ok(wallet().address()));
        }
    }

    #[test]
    fn every_altered_field_is_noticed() {
        let good = wallet().sign_voucher(&voucher()).unwrap();
        let alterations: [fn(&mut Voucher); 9] = [
            |v| v.chain_id += 1,
            |v| v.contract.0[0] ^= 1,
            |v| v.requestor.0[7] ^= 1,
            |v| v.worker.0[19] ^= 1,
            |v| v.epoch += 1,
            |v| v.job.0[15] ^= 1,
            |v| v.cumulative = Glm::from_wei(v.cumulative.wei() + 1),
            |v| v.sequence += 1,
            |v| v.receipts_root.0[31] ^= 1,
        ];
        for (number, alter) in alterations.iter().enumerate() {
            let mut bad = good;
            alter(&mut bad.voucher);
            assert!(verify_voucher(&bad).is_err(), "alteration {number}");
        }
        let mut bad = good;
        bad.r[5] ^= 1;
        assert!(verify_voucher(&bad).is_err());
        let mut bad = good;
        bad.s[31] ^= 1;
        assert!(verify_voucher(&bad).is_err());
        let mut bad = good;
        bad.v = 27;
        assert!(verify_voucher(&bad).is_err());
    }

    #[test]
    fn malleable_and_degenerate_signatures_are_refused() {
        const ORDER: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c,
            0xd0, 0x36, 0x41, 0x41,
        ];
        let good = wallet().sign_voucher(&voucher()).unwrap();
        let mut twin = good;
        (U256::from_big_endian(&ORDER) - U256::from_big_endian(&good.s)).to_big_endian(&mut twin.s);
        twin.v = 27;
        assert_eq!(verify_voucher(&twin), Err(VoucherError::HighS));
        for v in [0, 1, 26, 29, 35, 255] {
            assert_eq!(
                verify_voucher(&SignedVoucher { v, ..good }),
                Err(VoucherError::RecoveryId(v))
            );
        }
        for bad in [
            SignedVoucher { r: [0; 32], ..good },
            SignedVoucher { s: [0; 32], ..good },
            SignedVoucher { r: ORDER, ..good },
        ] {
            assert_eq!(verify_voucher(&bad), Err(VoucherError::NotASignature));
        }
    }

    #[test]
    fn another_key_cannot_promise_for_the_requestor() {
        let stranger = Wallet::from_secret(&[0x47; 32]).unwrap();
        assert!(stranger.sign_voucher(&voucher()).is_err());
        let own = Voucher {
            requestor: stranger.address(),
            ..voucher()
        };
        let mut forged = stranger.sign_voucher(&own).unwrap();
        forged.voucher.requestor = wallet().address();
        assert!(matches!(
            verify_voucher(&forged),
            Err(VoucherError::WrongSigner { .. })
        ));
    }
}
