//! The requestor gets back what is unclaimed, after a thaw that nobody shortens or stretches, or with the worker's release.

use crate::{
    FUNDS, Scene, accepted,
    anvil::{Anvil, CHAIN_ID},
    calls::{self, Channel, Contracts, Release, test_token},
    evm::Evm,
    refused_with,
};
use serde_json::json;

const HOUR: u64 = 3600;

#[test]
fn the_rest_is_withdrawn_after_the_thaw_and_not_before() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    refused_with("NotThawed", contracts.withdraw(chain, requestor, key));
    accepted(contracts.announce(chain, requestor, key));
    let thawed = chain.now() + 24 * HOUR;
    assert_eq!(scene.channel(chain).withdrawable_at, thawed);
    refused_with("NotThawed", contracts.withdraw(chain, requestor, key));
    // Redeeming works during the thaw.
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 30)),
        Ok(30)
    );
    // The next block comes a second after the time that was let pass.
    chain.pass(thawed - chain.now() - 2);
    refused_with("NotThawed", contracts.withdraw(chain, requestor, key));
    assert_eq!(chain.now(), thawed - 1);
    accepted(contracts.withdraw(chain, requestor, key));
    assert_eq!(scene.balances(chain), [FUNDS - 30, 30, 0]);
    let closed = scene.channel(chain);
    assert_eq!(
        closed,
        Channel {
            deposit: 30,
            claimed: 30,
            withdrawable_at: 1,
            epochs: 1
        }
    );
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 50)),
        Ok(0)
    );
    for refused in [
        contracts.withdraw(chain, requestor, key),
        contracts.announce(chain, requestor, key),
        contracts.top_up(chain, requestor, (worker, 0, 1)),
    ] {
        refused_with("NotOpen", refused);
    }
}

#[test]
fn vouchers_are_good_until_the_withdrawal_itself() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    accepted(contracts.announce(chain, requestor, key));
    chain.pass(1_000 * HOUR);
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 60)),
        Ok(60)
    );
    // What was promised beyond the deposit can be covered until then.
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 120)),
        Ok(40)
    );
    accepted(contracts.top_up(chain, requestor, (worker, 0, 25)));
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 120)),
        Ok(20)
    );
    accepted(contracts.withdraw(chain, requestor, key));
    assert_eq!(scene.balances(chain), [FUNDS - 120, 120, 0]);
}

#[test]
fn the_thaw_is_72_hours_on_ethereum() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let thaw = |chain: &mut crate::Chain<'_>| {
        let contracts = Contracts::deploy(chain, CHAIN_ID, test_token());
        let input = calls::call(calls::escrow(), "THAW", &[]);
        let output = chain.look(contracts.escrow, &input).unwrap();
        u64::from_be_bytes(*output.last_chunk().unwrap())
    };
    let mut thaws = Vec::new();
    for chain_id in [1, 137, 560_048, CHAIN_ID] {
        chain.ask("anvil_setChainId", json!([chain_id]));
        thaws.push(thaw(chain));
    }
    assert_eq!(thaws, [72 * HOUR, 24 * HOUR, 24 * HOUR, 24 * HOUR]);
}

/// Livepeer (third parties cancel a thaw).
#[test]
fn nobody_cancels_shortens_or_stretches_a_thaw() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    let stranger = scene.stranger.address();
    for other in [stranger, worker] {
        refused_with("NotYours", contracts.announce(chain, other, key));
    }
    accepted(contracts.announce(chain, requestor, key));
    let withdrawable_at = scene.channel(chain).withdrawable_at;
    chain.pass(12 * HOUR);
    for other in [stranger, worker] {
        refused_with("NotYours", contracts.announce(chain, other, key));
        refused_with("NotYours", contracts.withdraw(chain, other, key));
    }
    refused_with(
        "AlreadyAnnounced",
        contracts.announce(chain, requestor, key),
    );
    refused_with(
        "StillOpen",
        contracts.open(chain, requestor, (worker, 1, 10)),
    );
    accepted(contracts.top_up(chain, requestor, (worker, 0, 10)));
    accepted(contracts.open(chain, stranger, (worker, 0, 10)));
    assert_eq!(
        contracts.redeem(chain, stranger, &scene.voucher(0, 1)),
        Ok(1)
    );
    assert_eq!(scene.channel(chain).withdrawable_at, withdrawable_at);
    chain.pass(12 * HOUR);
    for other in [stranger, worker] {
        refused_with("NotYours", contracts.withdraw(chain, other, key));
    }
    accepted(contracts.withdraw(chain, requestor, key));
    assert_eq!(scene.balances(chain), [FUNDS - 1, 1, 10]);
    // The next epoch knows nothing of it.
    accepted(contracts.open(chain, requestor, (worker, 1, 10)));
    refused_with(
        "NotThawed",
        contracts.withdraw(chain, requestor, scene.key(1)),
    );
}

/// Golem's first LockPayment (fees are paid twice on close).
#[test]
fn a_release_pays_what_it_names_once_and_returns_the_rest_at_once() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    // Redeemed before the release: nothing, a part, all of it, more than it names.
    for (redeemed, named, paid) in [
        (0, 40, 40),
        (15, 40, 40),
        (40, 40, 40),
        (50, 40, 50),
        (0, 0, 0),
        (0, 100, 100),
    ] {
        let scene = Scene::opened(chain, 100);
        let (requestor, worker, _) = scene.key(0);
        scene
            .contracts
            .redeem(chain, worker, &scene.voucher(0, redeemed))
            .unwrap();
        let agreed = Release {
            requestor,
            worker,
            epoch: 0,
            cumulative: named,
        };
        accepted(
            scene
                .contracts
                .release(chain, requestor, &scene.worker, agreed),
        );
        assert_eq!(scene.balances(chain), [FUNDS - paid, paid, 0]);
        let closed = scene.channel(chain);
        assert_eq!(
            closed,
            Channel {
                deposit: paid,
                claimed: paid,
                withdrawable_at: 1,
                epochs: 1
            }
        );
        refused_with(
            "NotOpen",
            scene
                .contracts
                .release(chain, requestor, &scene.worker, agreed),
        );
        assert_eq!(
            scene
                .contracts
                .redeem(chain, worker, &scene.voucher(0, 100)),
            Ok(0)
        );
        assert_eq!(scene.balances(chain), [FUNDS - paid, paid, 0]);
    }
}

#[test]
fn a_release_needs_the_worker_the_payer_and_the_money() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let agreed = Release {
        requestor,
        worker,
        epoch: 0,
        cumulative: 40,
    };
    // A worker could name anything, so the call has to be the payer's.
    for other in [worker, scene.stranger.address()] {
        refused_with(
            "NotYours",
            contracts.release(chain, other, &scene.worker, agreed),
        );
    }
    // A requestor could take back anything, so the signature has to be the worker's.
    for other in [&scene.requestor, &scene.stranger] {
        refused_with(
            "NotSigned",
            contracts.release(chain, requestor, other, agreed),
        );
    }
    let signature = scene
        .worker
        .sign(agreed.digest(contracts.chain_id, contracts.escrow));
    let lower = Release {
        cumulative: 39,
        ..agreed
    };
    refused_with(
        "NotSigned",
        contracts.send(chain, requestor, &calls::release(&lower, signature)),
    );
    let twin = calls::release(&agreed, signature.malleable_twin());
    refused_with("NotSigned", contracts.send(chain, requestor, &twin));
    for (chain_id, contract) in [(137, contracts.escrow), (CHAIN_ID, contracts.token)] {
        let signature = scene.worker.sign(agreed.digest(chain_id, contract));
        refused_with(
            "NotSigned",
            contracts.send(chain, requestor, &calls::release(&agreed, signature)),
        );
    }
    let short = Release {
        cumulative: 101,
        ..agreed
    };
    refused_with(
        "Short",
        contracts.release(chain, requestor, &scene.worker, short),
    );
    let other_epoch = Release { epoch: 1, ..agreed };
    refused_with(
        "NotOpen",
        contracts.release(chain, requestor, &scene.worker, other_epoch),
    );
    assert_eq!(scene.balances(chain), [FUNDS - 100, 0, 100]);
    // A voucher is no release and a release no voucher.
    let voucher = scene.voucher(0, 40);
    let as_release = calls::Signature {
        v: voucher.v,
        r: voucher.r,
        s: voucher.s,
    };
    refused_with(
        "NotSigned",
        contracts.send(chain, requestor, &calls::release(&agreed, as_release)),
    );
    accepted(contracts.announce(chain, requestor, scene.key(0)));
    accepted(contracts.send(chain, requestor, &calls::release(&agreed, signature)));
    assert_eq!(scene.balances(chain), [FUNDS - 40, 40, 0]);
}
