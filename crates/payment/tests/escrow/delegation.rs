//! A hot key promises and opens channels; its owner pays up to a cap and gets back what is unclaimed.

use crate::{
    CHAIN_ID, FUNDS, Scene, accepted,
    anvil::{Anvil, Chain},
    calls::{self, Contracts, Key, Outcome, Release},
    evm::Evm,
    refused_with,
};
use protocol::Address;

/// An owner whose hot key is the scene's requestor, with a cap of 100. The hot key has nothing of its own.
struct Owned {
    scene: Scene,
    owner: Address,
}

fn cap(contracts: &Contracts, chain: &mut Chain<'_>, key: Address) -> u128 {
    let output = chain
        .look(
            contracts.escrow,
            &calls::call(calls::escrow(), "delegations", &[calls::address(key)]),
        )
        .unwrap();
    u128::from_be_bytes(*output.last_chunk().unwrap())
}

fn raise(
    contracts: &Contracts,
    chain: &mut Chain<'_>,
    owner: Address,
    key: Address,
    amount: u128,
) -> Outcome {
    contracts.call(
        chain,
        owner,
        "raiseCap",
        &[calls::address(key), calls::uint(amount)],
    )
}

fn serve(contracts: &Contracts, chain: &mut Chain<'_>, key: Address, owner: Address) -> Outcome {
    contracts.call(chain, key, "serveOwner", &[calls::address(owner)])
}

impl Owned {
    fn new(chain: &mut Chain<'_>) -> Self {
        let contracts = Contracts::deploy(chain, CHAIN_ID, calls::test_token());
        let scene = Scene {
            contracts,
            requestor: Key::new(5),
            worker: Key::new(2),
            stranger: Key::new(3),
        };
        let owner = Key::new(6).address();
        contracts.fund(chain, owner, FUNDS);
        accepted(serve(&contracts, chain, scene.requestor.address(), owner));
        accepted(raise(
            &contracts,
            chain,
            owner,
            scene.requestor.address(),
            100,
        ));
        Self { scene, owner }
    }
}

#[test]
fn a_hot_key_spends_its_owners_money_up_to_the_cap_and_promises_alone() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let Owned { scene, owner } = Owned::new(chain);
    let contracts = scene.contracts;
    let (hot, worker, _) = scene.key(0);
    refused_with("OverCap", contracts.open(chain, hot, (worker, 0, 101)));
    accepted(contracts.open(chain, hot, (worker, 0, 60)));
    refused_with("OverCap", contracts.top_up(chain, hot, (worker, 0, 41)));
    accepted(contracts.top_up(chain, hot, (worker, 0, 10)));
    let many = calls::open_many(&[(Address([11; 20]), 0, 20), (Address([12; 20]), 0, 11)]);
    refused_with("OverCap", contracts.send(chain, hot, &many));
    assert_eq!(cap(&contracts, chain, hot), 30);
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 50)),
        Ok(50)
    );
    // The owner does not promise: who holds a voucher need not ask whether the key still serves.
    let by_owner = Key::new(6).sign_voucher(scene.voucher(0, 60).voucher);
    refused_with("NotSigned", contracts.redeem(chain, worker, &by_owner));
    assert_eq!(contracts.balance(chain, owner), FUNDS - 70);
    assert_eq!(scene.balances(chain), [0, 50, 20]);
}

#[test]
fn what_is_unclaimed_goes_to_the_owner_and_leaves_the_cap_as_it_is() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let Owned { scene, owner } = Owned::new(chain);
    let contracts = scene.contracts;
    let (hot, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    accepted(contracts.open(chain, hot, (worker, 0, 60)));
    let agreed = Release {
        requestor: hot,
        worker,
        epoch: 0,
        cumulative: 20,
    };
    accepted(contracts.release(chain, hot, &scene.worker, agreed));
    assert_eq!(contracts.balance(chain, owner), FUNDS - 20);
    accepted(contracts.open(chain, hot, (worker, 1, 40)));
    refused_with("OverCap", contracts.top_up(chain, hot, (worker, 1, 1)));
    // The owner gets it back without the hot key, which may be lost, and nobody else does.
    for other in [scene.stranger.address(), worker] {
        refused_with("NotYours", contracts.announce(chain, other, scene.key(1)));
    }
    accepted(contracts.announce(chain, owner, scene.key(1)));
    refused_with(
        "AlreadyAnnounced",
        contracts.announce(chain, hot, scene.key(1)),
    );
    chain.pass(24 * 3600);
    accepted(contracts.withdraw(chain, owner, scene.key(1)));
    refused_with("NotOpen", contracts.withdraw(chain, owner, key));
    assert_eq!(contracts.balance(chain, owner), FUNDS - 20);
    assert_eq!(scene.balances(chain), [0, 20, 0]);
    // An owner may close with a release too.
    accepted(raise(&contracts, chain, owner, hot, 10));
    accepted(contracts.open(chain, hot, (worker, 2, 10)));
    let agreed = Release {
        epoch: 2,
        cumulative: 1,
        ..agreed
    };
    accepted(contracts.release(chain, owner, &scene.worker, agreed));
    assert_eq!(contracts.balance(chain, owner), FUNDS - 21);
}

#[test]
fn a_revoked_key_spends_nothing_more_and_its_promises_hold() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let Owned { scene, owner } = Owned::new(chain);
    let contracts = scene.contracts;
    let (hot, worker, _) = scene.key(0);
    accepted(contracts.open(chain, hot, (worker, 0, 60)));
    for other in [hot, scene.stranger.address()] {
        refused_with(
            "NotYours",
            contracts.call(chain, other, "revokeCap", &[calls::address(hot)]),
        );
        refused_with("NotYours", raise(&contracts, chain, other, hot, 1));
    }
    accepted(contracts.call(chain, owner, "revokeCap", &[calls::address(hot)]));
    refused_with("OverCap", contracts.top_up(chain, hot, (worker, 0, 1)));
    refused_with(
        "OverCap",
        contracts.open(chain, hot, (Address([9; 20]), 0, 1)),
    );
    // What was promised is the worker's, revoked or not.
    assert_eq!(
        contracts.redeem(chain, worker, &scene.voucher(0, 30)),
        Ok(30)
    );
    let agreed = Release {
        requestor: hot,
        worker,
        epoch: 0,
        cumulative: 30,
    };
    accepted(contracts.release(chain, hot, &scene.worker, agreed));
    assert_eq!(cap(&contracts, chain, hot), 0);
    assert_eq!(contracts.balance(chain, owner), FUNDS - 30);
}

#[test]
fn nobody_becomes_an_owner_without_the_key_or_pays_without_consent() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let Owned { scene, owner } = Owned::new(chain);
    let contracts = scene.contracts;
    let (hot, worker, _) = scene.key(0);
    let stranger = scene.stranger.address();
    // Serving is for good: a thief of the key cannot turn the returns to himself.
    refused_with("CannotServe", serve(&contracts, chain, hot, stranger));
    for unfit in [stranger, Address([0; 20]), contracts.escrow] {
        refused_with("CannotServe", serve(&contracts, chain, stranger, unfit));
    }
    // Naming somebody who has let the escrow take his tokens does not take them.
    accepted(serve(&contracts, chain, stranger, owner));
    refused_with("OverCap", contracts.open(chain, stranger, (worker, 0, 1)));
    refused_with(
        "NotYours",
        raise(&contracts, chain, stranger, stranger, 100),
    );
    // A cap for a key that does not serve the caller is refused.
    let free = Key::new(9).address();
    refused_with("NotYours", raise(&contracts, chain, owner, free, 100));
    refused_with("NotYours", raise(&contracts, chain, owner, owner, 100));
    assert_eq!(contracts.balance(chain, owner), FUNDS);
}

#[test]
fn the_owner_may_be_a_contract() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let Owned { scene, .. } = Owned::new(chain);
    let contracts = scene.contracts;
    // anvil lets any contract send; a multisig would call the same functions.
    let (contract, hot, worker) = (contracts.token, Key::new(7), scene.worker.address());
    contracts.fund(chain, contract, 100);
    accepted(serve(&contracts, chain, hot.address(), contract));
    accepted(raise(&contracts, chain, contract, hot.address(), 50));
    accepted(contracts.open(chain, hot.address(), (worker, 0, 50)));
    let key = (hot.address(), worker, 0);
    accepted(contracts.announce(chain, contract, key));
    chain.pass(24 * 3600);
    accepted(contracts.withdraw(chain, contract, key));
    assert_eq!(contracts.balance(chain, contract), 100);
}

#[test]
fn channels_opened_before_serving_return_to_the_owner_too() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 100);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let owner = scene.stranger.address();
    accepted(serve(&contracts, chain, requestor, owner));
    let agreed = Release {
        requestor,
        worker,
        epoch: 0,
        cumulative: 30,
    };
    accepted(contracts.release(chain, requestor, &scene.worker, agreed));
    assert_eq!(scene.balances(chain), [FUNDS - 100, 30, 0]);
    assert_eq!(contracts.balance(chain, owner), FUNDS + 70);
    // And nothing of its own is spent from then on.
    refused_with("OverCap", contracts.open(chain, requestor, (worker, 1, 1)));
}
