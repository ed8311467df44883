//! Tokens that do what GLM does not: nobody is paid twice, and no channel is left uncovered.

use crate::{
    CHAIN_ID, FUNDS, Scene, accepted,
    anvil::{Anvil, Chain},
    calls::{self, Channel, Contracts, Key, Release, hostile_token},
    evm::Evm,
    refused_with,
};
use protocol::Address;

fn hostile(chain: &mut Chain<'_>) -> Scene {
    let contracts = Contracts::deploy(chain, CHAIN_ID, hostile_token());
    let scene = Scene {
        contracts,
        requestor: Key::new(1),
        worker: Key::new(2),
        stranger: Key::new(3),
    };
    let (requestor, worker, _) = scene.key(0);
    contracts.fund(chain, requestor, FUNDS);
    accepted(contracts.open(chain, requestor, (worker, 0, 100)));
    // Others' money that must not be touched.
    contracts.fund(chain, scene.stranger.address(), FUNDS);
    accepted(contracts.open(
        chain,
        scene.stranger.address(),
        (Key::new(4).address(), 0, 100),
    ));
    scene
}

fn call_back(scene: &Scene, chain: &mut Chain<'_>, input: Vec<u8>) {
    let arguments = [
        calls::address(scene.contracts.escrow),
        calls::Token::Bytes(input),
    ];
    accepted(
        scene
            .contracts
            .token(chain, Address([9; 20]), "callBack", &arguments),
    );
}

/// How many callbacks succeeded and how many failed.
fn callbacks(scene: &Scene, chain: &mut Chain<'_>) -> [u8; 2] {
    ["callbacksSucceeded", "callbacksFailed"].map(|name| {
        let input = calls::call(hostile_token(), name, &[]);
        *chain
            .look(scene.contracts.token, &input)
            .unwrap()
            .last()
            .unwrap()
    })
}

#[test]
fn a_token_that_keeps_a_part_opens_nothing() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = hostile(chain);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    accepted(contracts.token(chain, requestor, "keepFee", &[calls::uint(1)]));
    let other = Address([11; 20]);
    refused_with(
        "NotReceived",
        contracts.open(chain, requestor, (other, 0, 10)),
    );
    refused_with(
        "NotReceived",
        contracts.send(chain, requestor, &calls::open_many(&[(other, 0, 10)])),
    );
    refused_with(
        "NotReceived",
        contracts.top_up(chain, requestor, (worker, 0, 10)),
    );
    assert_eq!(
        contracts.channel(chain, requestor, other),
        Channel::default()
    );
    assert_eq!(scene.balances(chain), [FUNDS - 100, 0, 200]);
}

#[test]
fn a_transfer_that_fails_in_silence_changes_nothing() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = hostile(chain);
    let contracts = scene.contracts;
    let (requestor, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    accepted(contracts.announce(chain, requestor, key));
    let before = scene.channel(chain);
    chain.pass(24 * 3600);
    let fails = |fails| [calls::Token::Bool(fails)];
    accepted(contracts.token(chain, requestor, "failSilently", &fails(true)));
    let failed = "SafeERC20FailedOperation";
    refused_with(
        failed,
        contracts.redeem(chain, worker, &scene.voucher(0, 40)),
    );
    refused_with(failed, contracts.top_up(chain, requestor, (worker, 0, 10)));
    refused_with(failed, contracts.withdraw(chain, requestor, key));
    assert_eq!(scene.channel(chain), before);
    accepted(contracts.token(chain, requestor, "failSilently", &fails(false)));
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 40)),
        Ok(40)
    );
    accepted(contracts.withdraw(chain, requestor, key));
    assert_eq!(scene.balances(chain), [FUNDS - 40, 40, 100]);
}

#[test]
fn a_token_that_calls_back_gets_nobody_paid_twice() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = hostile(chain);
    let contracts = scene.contracts;
    let worker = scene.worker.address();
    let voucher = scene.voucher(0, 40);
    // The same voucher, then a larger one, while the first is being paid.
    call_back(
        &scene,
        chain,
        calls::call(calls::escrow(), "redeem", &[calls::signed_token(&voucher)]),
    );
    assert_eq!(contracts.redeem(chain, worker, &voucher), Ok(40));
    assert_eq!(callbacks(&scene, chain), [1, 0]);
    let larger = scene.voucher(0, 70);
    call_back(
        &scene,
        chain,
        calls::call(calls::escrow(), "redeem", &[calls::signed_token(&larger)]),
    );
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 50)),
        Ok(10)
    );
    assert_eq!(callbacks(&scene, chain), [2, 0]);
    assert_eq!(scene.balances(chain), [FUNDS - 100, 70, 130]);
}

#[test]
fn a_token_that_calls_back_returns_nothing_twice_and_covers_nothing_with_others_money() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = hostile(chain);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    // The token itself as the requestor, so that its callback may withdraw.
    let token = contracts.token;
    contracts.fund(chain, token, 50);
    accepted(contracts.open(chain, token, (worker, 0, 50)));
    accepted(contracts.announce(chain, token, (token, worker, 0)));
    chain.pass(24 * 3600);
    let words = [
        calls::address(token),
        calls::address(worker),
        calls::uint(0),
    ];
    call_back(
        &scene,
        chain,
        calls::call(calls::escrow(), "withdraw", &words),
    );
    accepted(contracts.withdraw(chain, token, (token, worker, 0)));
    assert_eq!(callbacks(&scene, chain), [0, 1]);
    assert_eq!(contracts.balance(chain, token), 50);
    // While a deposit is on its way it is written already: what is paid out of it before it has come undoes all.
    let other = Key::new(8).address();
    let early = scene
        .requestor
        .sign_voucher(contracts.voucher(requestor, other, 0, 60));
    call_back(
        &scene,
        chain,
        calls::call(calls::escrow(), "redeem", &[calls::signed_token(&early)]),
    );
    refused_with(
        "NotReceived",
        contracts.open(chain, requestor, (other, 0, 60)),
    );
    assert_eq!(scene.balances(chain), [FUNDS - 100, 0, 200]);
    assert_eq!(contracts.balance(chain, other), 0);
}

#[test]
fn a_release_closes_its_epoch_before_it_pays_and_not_the_next_one() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = hostile(chain);
    let contracts = scene.contracts;
    let (token, worker) = (contracts.token, scene.worker.address());
    contracts.fund(chain, token, 50);
    accepted(contracts.open(chain, token, (worker, 0, 20)));
    let agreed = Release {
        requestor: token,
        worker,
        epoch: 0,
        cumulative: 5,
    };
    // While the worker is paid the token, as the requestor, hands the release in again and opens the next epoch, which
    // the release must not close. The second attempt is while the rest goes back.
    let signature = scene
        .worker
        .sign(agreed.digest(contracts.chain_id, contracts.escrow));
    let again = [
        calls::release(&agreed, signature),
        calls::open_many(&[(worker, 1, 30)]),
    ];
    let again = calls::Token::Array(again.map(calls::Token::Bytes).to_vec());
    call_back(
        &scene,
        chain,
        calls::call(calls::escrow(), "multicall", &[again]),
    );
    accepted(contracts.release(chain, token, &scene.worker, agreed));
    assert_eq!(callbacks(&scene, chain), [0, 2]);
    assert_eq!(
        contracts.channel(chain, token, worker),
        Channel {
            deposit: 5,
            claimed: 5,
            withdrawable_at: 1,
            epochs: 1
        }
    );
    assert_eq!(contracts.balance(chain, worker), 5);
    assert_eq!(contracts.balance(chain, token), 45);
}
