//! What the contract takes for a signature is exactly what the Rust code signs, in one form and on one chain.

use crate::{
    FUNDS, Scene,
    anvil::{Anvil, CHAIN_ID, Chain},
    calls::{self, Key, Release, Signature},
    evm::Evm,
    refused_with,
};
use payment::voucher::{VOUCHER_TYPE, digest};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{SignedVoucher, Voucher},
};
use serde_json::json;

fn digest_on_chain(chain: &mut Chain<'_>, contract: Address, voucher: &Voucher) -> Vec<u8> {
    let input = calls::call(
        calls::escrow(),
        "voucherDigest",
        &[calls::voucher_token(voucher)],
    );
    chain.look(contract, &input).unwrap()
}

/// The first vector of voucher.rs, which Python's eth-account made: the contract at that address, on that chain.
#[test]
fn digests_are_those_of_eth_account() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let voucher = Voucher {
        chain_id: 137,
        contract: Address([0xc0; 20]),
        requestor: "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"
            .parse()
            .unwrap(),
        worker: Address([0xb1; 20]),
        epoch: 3,
        job: JobId(std::array::from_fn(|i| i as u8)),
        cumulative: Glm::from_wei(1_234_567_890_123_456_789_012),
        sequence: 42,
        receipts_root: Blake3Hash(std::array::from_fn(|i| 32 + i as u8)),
    };
    let code = chain.ask(
        "eth_getCode",
        json!([scene.contracts.escrow.to_string(), "latest"]),
    );
    chain.ask("anvil_setCode", json!([voucher.contract.to_string(), code]));
    chain.ask("anvil_setChainId", json!([137]));
    let digest = digest_on_chain(chain, voucher.contract, &voucher);
    chain.ask("anvil_setChainId", json!([CHAIN_ID]));
    let expected = "49d60144b3e5eb1e4bdc7491cf96cfc98e23e53cb968b0a5a213a05defad7aea";
    assert_eq!(digest, calls::from_hex(expected));
}

#[test]
fn digests_are_those_of_the_rust_code() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contract = scene.contracts.escrow;
    for number in 0..20_u8 {
        let byte = |salt: u8| number.wrapping_mul(13).wrapping_add(salt);
        let voucher = Voucher {
            chain_id: CHAIN_ID,
            contract,
            requestor: Address([byte(1); 20]),
            worker: Address([byte(2); 20]),
            epoch: u64::MAX >> number,
            job: JobId([byte(3); 16]),
            cumulative: Glm::from_wei(u128::MAX >> (5 * number)),
            sequence: u64::MAX >> (2 * number),
            receipts_root: Blake3Hash([byte(4); 32]),
        };
        assert_eq!(digest_on_chain(chain, contract, &voucher), digest(&voucher));
        let release = Release {
            requestor: voucher.requestor,
            worker: voucher.worker,
            epoch: voucher.epoch,
            cumulative: voucher.cumulative.wei(),
        };
        let input = calls::call(calls::escrow(), "releaseDigest", &[release.token()]);
        let on_chain = chain.look(contract, &input).unwrap();
        assert_eq!(on_chain, release.digest(CHAIN_ID, contract));
    }
    for (constant, text) in [
        ("VOUCHER_TYPEHASH", VOUCHER_TYPE),
        ("RELEASE_TYPEHASH", calls::RELEASE_TYPE),
    ] {
        let on_chain = chain
            .look(contract, &calls::call(calls::escrow(), constant, &[]))
            .unwrap();
        assert_eq!(on_chain, ethers_core::utils::keccak256(text));
    }
}

/// raiden #292 (no chain id), and a contract of the same code beside it.
#[test]
fn a_voucher_for_another_chain_or_contract_is_worth_nothing() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let worker = scene.worker.address();
    let other = Scene::opened(chain, 100);
    let here = scene.voucher(0, 10);
    let mut elsewhere = Vec::new();
    for chain_id in [0, 1, 137] {
        elsewhere.push(Voucher {
            chain_id,
            ..here.voucher
        });
    }
    elsewhere.push(other.voucher(0, 10).voucher);
    elsewhere.push(Voucher {
        contract: scene.contracts.token,
        ..here.voucher
    });
    for voucher in elsewhere {
        let signed = scene.requestor.sign_voucher(voucher);
        refused_with("NotSigned", scene.contracts.redeem(chain, worker, &signed));
    }
    // A chain that splits off with another id, and the contract on it.
    chain.ask("anvil_setChainId", json!([CHAIN_ID + 1]));
    let on_the_other_side = scene.contracts.redeem(chain, worker, &here);
    let there = Voucher {
        chain_id: CHAIN_ID + 1,
        ..here.voucher
    };
    let its_own = scene
        .contracts
        .redeem(chain, worker, &scene.requestor.sign_voucher(there));
    chain.ask("anvil_setChainId", json!([CHAIN_ID]));
    refused_with("NotSigned", on_the_other_side);
    assert_eq!(its_own, Ok(10));
    assert_eq!(
        scene.contracts.redeem(chain, worker, &scene.voucher(0, 12)),
        Ok(2)
    );
}

#[test]
fn only_the_canonical_signature_counts() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let worker = scene.worker.address();
    let good = scene.voucher(0, 10);
    let SignedVoucher { voucher, r, s, v } = good;
    let twin = Signature { v, r, s }.malleable_twin();
    let mut bad = vec![SignedVoucher {
        voucher,
        r: twin.r,
        s: twin.s,
        v: twin.v,
    }];
    bad.push(SignedVoucher { v: 55 - v, ..good });
    bad.push(SignedVoucher { r: [0; 32], ..good });
    bad.push(SignedVoucher { s: [0; 32], ..good });
    bad.push(SignedVoucher {
        r: [0; 32],
        s: [0; 32],
        v: 0,
        voucher,
    });
    bad.push(SignedVoucher {
        r: [0xff; 32],
        ..good
    });
    bad.extend([0, 1, 2, 26, 29, 35, 37, 255].map(|v| SignedVoucher { v, ..good }));
    for bad in bad {
        refused_with("NotSigned", scene.contracts.redeem(chain, worker, &bad));
    }
    // No signature at all recovers to the zero address, which must not be a requestor.
    let of_nobody = Voucher {
        requestor: Address([0; 20]),
        ..voucher
    };
    let unsigned = SignedVoucher {
        voucher: of_nobody,
        r: [0; 32],
        s: [0; 32],
        v: 27,
    };
    refused_with(
        "NotSigned",
        scene.contracts.redeem(chain, worker, &unsigned),
    );
    assert_eq!(scene.contracts.redeem(chain, worker, &good), Ok(10));
}

#[test]
fn every_altered_field_is_noticed() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let good = scene.voucher(0, 10);
    let alterations: [fn(&mut Voucher); 7] = [
        |v| v.requestor.0[7] ^= 1,
        |v| v.worker.0[19] ^= 1,
        |v| v.epoch += 1,
        |v| v.job.0[15] ^= 1,
        |v| v.cumulative = Glm::from_wei(v.cumulative.wei() + 1),
        |v| v.sequence += 1,
        |v| v.receipts_root.0[31] ^= 1,
    ];
    for alter in alterations {
        let mut bad = good;
        alter(&mut bad.voucher);
        refused_with(
            "NotSigned",
            scene.contracts.redeem(chain, scene.worker.address(), &bad),
        );
    }
    assert_eq!(scene.balances(chain), [FUNDS - 100, 0, 100]);
}

/// A contract as requestor can promise nothing (no ERC-1271), and gets its deposit back like anybody.
#[test]
fn a_contract_cannot_promise() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contracts = scene.contracts;
    let (contract, worker) = (contracts.token, scene.worker.address());
    contracts.fund(chain, contract, 50);
    contracts.open(chain, contract, (worker, 0, 50)).unwrap();
    let voucher = contracts.voucher(contract, worker, 0, 10);
    for key in [Key::new(1), Key::new(2)] {
        refused_with(
            "NotSigned",
            contracts.redeem(chain, worker, &key.sign_voucher(voucher)),
        );
    }
    contracts
        .announce(chain, contract, (contract, worker, 0))
        .unwrap();
    chain.pass(24 * 3600);
    contracts
        .withdraw(chain, contract, (contract, worker, 0))
        .unwrap();
    assert_eq!(contracts.balance(chain, contract), 50);
}
