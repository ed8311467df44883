//! Vouchers are worth what they promise, once, to the worker, as far as the deposit goes.

use crate::{FUNDS, Scene, anvil::Anvil, calls::Key, refused_with};
use payment::Wallet;
use protocol::Glm;

#[test]
fn a_voucher_of_the_wallet_pays_the_worker_whoever_hands_it_in() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let wallet = Wallet::from_secret(&[1; 32]).unwrap();
    for (sender, cumulative, paid) in [
        (&scene.stranger, 10, 10),
        (&scene.worker, 25, 15),
        (&scene.requestor, 60, 35),
    ] {
        let (requestor, worker, _) = scene.key(0);
        let voucher = scene.contracts.voucher(requestor, worker, 0, cumulative);
        let signed = wallet.sign_voucher(&voucher).unwrap();
        assert_eq!(
            scene.contracts.redeem(chain, sender.address(), &signed),
            Ok(paid)
        );
    }
    assert_eq!(scene.balances(chain), [FUNDS - 100, 60, 40]);
    let stranger = scene.stranger.address();
    assert_eq!(scene.contracts.balance(chain, stranger), FUNDS);
}

/// swarm #1639 (over-issued cheques bounce), TAP (a low escrow burns the remainder).
#[test]
fn what_a_low_deposit_does_not_cover_is_paid_after_a_top_up() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 10);
    let (requestor, worker, _) = scene.key(0);
    let voucher = scene.voucher(0, 35);
    assert_eq!(scene.contracts.redeem(chain, worker, &voucher), Ok(10));
    assert_eq!(scene.contracts.redeem(chain, worker, &voucher), Ok(0));
    for (amount, paid) in [(5, 5), (0, 0), (100, 20)] {
        scene
            .contracts
            .top_up(chain, requestor, (worker, 0, amount))
            .unwrap();
        assert_eq!(scene.contracts.redeem(chain, worker, &voucher), Ok(paid));
    }
    assert_eq!(scene.balances(chain), [FUNDS - 115, 35, 80]);
}

/// specs-actors #660 (a voucher with an equal nonce is accepted again).
#[test]
fn equal_older_and_lower_vouchers_add_nothing() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let stranger = scene.stranger.address();
    let mut steps = Vec::new();
    // The sequence is the requestor's own count: only the amount counts here.
    for (sequence, cumulative, paid) in [
        (5, 20, 20),
        (5, 20, 0),
        (5, 30, 10),
        (6, 30, 0),
        (9, 29, 0),
        (1, 31, 1),
        (0, 0, 0),
    ] {
        let mut voucher = scene.voucher(0, cumulative).voucher;
        voucher.sequence = sequence;
        steps.push((scene.requestor.sign_voucher(voucher), paid));
    }
    for (voucher, paid) in &steps {
        assert_eq!(scene.contracts.redeem(chain, stranger, voucher), Ok(*paid));
    }
    for (voucher, _) in &steps {
        assert_eq!(scene.contracts.redeem(chain, stranger, voucher), Ok(0));
    }
    assert_eq!(scene.balances(chain), [FUNDS - 100, 31, 69]);
}

/// specs-actors #612 (a voucher is valid in another channel).
#[test]
fn a_voucher_is_worth_nothing_in_another_channel() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let (other_worker, other_requestor) = (Key::new(9), &scene.stranger);
    contracts
        .open(chain, requestor, (other_worker.address(), 0, 100))
        .unwrap();
    contracts
        .open(chain, other_requestor.address(), (worker, 0, 100))
        .unwrap();
    let good = scene.voucher(0, 50);
    let mut for_another = good;
    for_another.voucher.worker = other_worker.address();
    let mut of_another = good;
    of_another.voucher.requestor = other_requestor.address();
    let mut larger = good;
    larger.voucher.cumulative = Glm::from_wei(51);
    for voucher in [for_another, of_another, larger] {
        refused_with("NotSigned", contracts.redeem(chain, worker, &voucher));
    }
    // A worker who opens a channel to himself gets at his own deposit only.
    let own = scene
        .worker
        .sign_voucher(contracts.voucher(worker, worker, 0, 50));
    refused_with("NotOpen", contracts.redeem(chain, worker, &own));
    assert_eq!(scene.balances(chain), [FUNDS - 200, 0, 300]);
}

/// raiden-contracts #141 (a reopened channel takes old vouchers).
#[test]
fn a_reopened_channel_is_out_of_reach_of_old_vouchers_and_releases() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 10);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let short = scene.voucher(0, 90);
    assert_eq!(contracts.redeem(chain, worker, &short), Ok(10));
    let release = crate::calls::Release {
        requestor,
        worker,
        epoch: 0,
        cumulative: 3,
    };
    contracts
        .release(chain, requestor, &scene.worker, release)
        .unwrap();
    assert_eq!(contracts.redeem(chain, worker, &short), Ok(0));
    for epoch in 1..4 {
        let next = scene.voucher(epoch, 7);
        refused_with("NotOpen", contracts.redeem(chain, worker, &next));
        contracts
            .open(chain, requestor, (worker, epoch, 20))
            .unwrap();
        for old in 0..epoch {
            assert_eq!(
                contracts.redeem(chain, worker, &scene.voucher(old, 90)),
                Ok(0)
            );
            let old = crate::calls::Release {
                epoch: old,
                ..release
            };
            refused_with(
                "NotOpen",
                contracts.release(chain, requestor, &scene.worker, old),
            );
        }
        assert_eq!(contracts.redeem(chain, worker, &next), Ok(7));
        let release = crate::calls::Release {
            epoch,
            cumulative: 7,
            ..release
        };
        contracts
            .release(chain, requestor, &scene.worker, release)
            .unwrap();
    }
    assert_eq!(scene.balances(chain), [FUNDS - 31, 31, 0]);
}

#[test]
fn numbers_beyond_a_channels_width_are_not_cut_off() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let (requestor, worker, _) = scene.key(0);
    for epoch in [1 << 24, 1 << 32, 1 << 40, u64::MAX] {
        let voucher = scene.voucher(epoch, 50);
        refused_with("NotOpen", scene.contracts.redeem(chain, worker, &voucher));
        refused_with(
            "NotOpen",
            scene.contracts.top_up(chain, requestor, (worker, epoch, 1)),
        );
        refused_with(
            "NotOpen",
            scene.contracts.announce(chain, requestor, scene.key(epoch)),
        );
    }
    let vast = scene.voucher(0, (1 << 96) + 5);
    assert_eq!(scene.contracts.redeem(chain, worker, &vast), Ok(100));
    for amount in [1_u128 << 96, u128::MAX] {
        let outcome = scene
            .contracts
            .top_up(chain, requestor, (worker, 0, amount));
        assert!(outcome.is_err());
    }
    let supply = (1 << 96) - 1;
    scene.contracts.fund(chain, requestor, supply);
    let overflow = scene
        .contracts
        .top_up(chain, requestor, (worker, 0, supply));
    refused_with("Panic", overflow);
    assert_eq!(scene.channel(chain).deposit, 100);
}

#[test]
fn a_batch_pays_each_once_and_nobody_can_make_it_fail() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let stranger = scene.stranger.address();
    let others: Vec<Key> = (10..14).map(Key::new).collect();
    for other in &others {
        contracts
            .open(chain, requestor, (other.address(), 0, 10))
            .unwrap();
    }
    contracts.open(chain, stranger, (worker, 0, 10)).unwrap();
    let mut batch: Vec<_> = others
        .iter()
        .map(|other| contracts.voucher(requestor, other.address(), 0, 8))
        .map(|voucher| scene.requestor.sign_voucher(voucher))
        .collect();
    let of_stranger = contracts.voucher(stranger, worker, 0, 4);
    batch.extend([
        scene.voucher(0, 30),
        scene.voucher(0, 20),
        scene.voucher(0, 30),
    ]);
    batch.push(scene.stranger.sign_voucher(of_stranger));
    // One redeems his own first, one releases his: the batch pays the others.
    assert_eq!(contracts.redeem(chain, stranger, &batch[1]), Ok(8));
    let release = crate::calls::Release {
        requestor,
        worker: others[2].address(),
        epoch: 0,
        cumulative: 5,
    };
    contracts
        .release(chain, requestor, &others[2], release)
        .unwrap();
    assert_eq!(
        contracts.redeem_many(chain, stranger, &batch),
        Ok(8 + 8 + 30 + 4)
    );
    assert_eq!(contracts.redeem_many(chain, stranger, &batch), Ok(0));
    let paid: Vec<u128> = others
        .iter()
        .map(|other| contracts.balance(chain, other.address()))
        .collect();
    assert_eq!(paid, [8, 8, 5, 8]);
    assert_eq!(contracts.balance(chain, worker), 34);
    assert_eq!(contracts.redeem_many(chain, stranger, &[]), Ok(0));

    let mut forged = batch[3];
    forged.voucher.cumulative = Glm::from_wei(9);
    let before = scene.balances(chain);
    refused_with(
        "NotSigned",
        contracts.redeem_many(chain, stranger, &[scene.voucher(0, 40), forged]),
    );
    assert_eq!(scene.balances(chain), before);
}

#[test]
fn a_contract_is_paid_like_anybody() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contracts = scene.contracts;
    let (requestor, contract) = (scene.requestor.address(), contracts.token);
    contracts
        .open(chain, requestor, (contract, 0, 100))
        .unwrap();
    let voucher = scene
        .requestor
        .sign_voucher(contracts.voucher(requestor, contract, 0, 40));
    assert_eq!(
        contracts.redeem(chain, scene.stranger.address(), &voucher),
        Ok(40)
    );
    assert_eq!(contracts.balance(chain, contract), 40);
}

#[test]
fn tokens_that_are_sent_to_the_contract_are_nobodys_claim() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 10);
    let contracts = scene.contracts;
    let stranger = scene.stranger.address();
    let gift = [
        crate::calls::address(contracts.escrow),
        crate::calls::uint(500),
    ];
    contracts.token(chain, stranger, "transfer", &gift).unwrap();
    assert_eq!(
        contracts.redeem(chain, stranger, &scene.voucher(0, 400)),
        Ok(10)
    );
    assert_eq!(scene.balances(chain), [FUNDS - 10, 10, 500]);
    contracts
        .open(chain, scene.requestor.address(), (stranger, 0, 1))
        .unwrap();
}
