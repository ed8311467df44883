//! Epochs come one after the other, each paid for when it opens.

use crate::{
    FUNDS, Scene, accepted,
    anvil::Anvil,
    calls::{self, Channel, Release},
    refused_with,
};
use protocol::Address;

#[test]
fn epochs_are_opened_in_order_and_one_at_a_time() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    refused_with(
        "NotTheNextEpoch",
        contracts.open(chain, requestor, (worker, 1, 10)),
    );
    refused_with(
        "NotOpen",
        contracts.top_up(chain, requestor, (worker, 0, 1)),
    );
    refused_with(
        "NotOpen",
        contracts.announce(chain, requestor, scene.key(0)),
    );
    refused_with(
        "NotOpen",
        contracts.withdraw(chain, requestor, scene.key(0)),
    );
    accepted(contracts.open(chain, requestor, (worker, 0, 10)));
    // The same order sent again opens nothing and takes nothing.
    refused_with(
        "NotTheNextEpoch",
        contracts.open(chain, requestor, (worker, 0, 10)),
    );
    refused_with(
        "StillOpen",
        contracts.open(chain, requestor, (worker, 1, 10)),
    );
    let release = Release {
        requestor,
        worker,
        epoch: 0,
        cumulative: 4,
    };
    accepted(contracts.release(chain, requestor, &scene.worker, release));
    refused_with(
        "NotTheNextEpoch",
        contracts.open(chain, requestor, (worker, 0, 10)),
    );
    refused_with(
        "NotTheNextEpoch",
        contracts.open(chain, requestor, (worker, 2, 10)),
    );
    refused_with(
        "NotOpen",
        contracts.top_up(chain, requestor, (worker, 0, 1)),
    );
    accepted(contracts.open(chain, requestor, (worker, 1, 20)));
    assert_eq!(
        scene.channel(chain),
        Channel {
            deposit: 20,
            claimed: 0,
            withdrawable_at: 0,
            epochs: 2
        }
    );
    assert_eq!(scene.balances(chain), [FUNDS - 24, 4, 20]);
}

#[test]
fn many_channels_open_together_or_not_at_all() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contracts = scene.contracts;
    let requestor = scene.requestor.address();
    let worker = |number: u8| Address([number; 20]);
    let three = [(worker(11), 0, 5), (worker(12), 0, 6), (worker(13), 0, 0)];
    accepted(contracts.send(chain, requestor, &calls::open_many(&three)));
    assert_eq!(scene.balances(chain), [FUNDS - 11, 0, 11]);
    for (worker, _, deposit) in three {
        let channel = contracts.channel(chain, requestor, worker);
        assert_eq!(
            channel,
            Channel {
                deposit,
                epochs: 1,
                ..Channel::default()
            }
        );
    }
    let bad: [(&str, Vec<calls::Opening>); 6] = [
        (
            "NotTheNextEpoch",
            vec![(worker(14), 0, 1), (worker(11), 0, 1)],
        ),
        (
            "NotTheNextEpoch",
            vec![(worker(14), 0, 1), (worker(14), 0, 1)],
        ),
        ("StillOpen", vec![(worker(14), 0, 1), (worker(14), 1, 1)]),
        ("NotAWorker", vec![(worker(14), 0, 1), (worker(0), 0, 1)]),
        (
            "NotAWorker",
            vec![(worker(14), 0, 1), (contracts.escrow, 0, 1)],
        ),
        (
            "ERC20InsufficientBalance",
            vec![(worker(14), 0, 1), (worker(15), 0, FUNDS)],
        ),
    ];
    for (name, openings) in bad {
        refused_with(
            name,
            contracts.send(chain, requestor, &calls::open_many(&openings)),
        );
    }
    assert_eq!(
        contracts.channel(chain, requestor, worker(14)),
        Channel::default()
    );
    assert_eq!(scene.balances(chain), [FUNDS - 11, 0, 11]);
    accepted(contracts.send(chain, requestor, &calls::open_many(&[])));
}

#[test]
fn nobody_opens_or_tops_up_for_another() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 10);
    let (requestor, worker, _) = scene.key(0);
    // Both go to the sender's own channel, and are the sender's own money.
    let stranger = scene.stranger.address();
    refused_with(
        "NotOpen",
        scene.contracts.top_up(chain, stranger, (worker, 0, 5)),
    );
    accepted(scene.contracts.open(chain, stranger, (worker, 0, 5)));
    assert_eq!(scene.channel(chain).deposit, 10);
    assert_eq!(scene.contracts.balance(chain, requestor), FUNDS - 10);
    assert_eq!(scene.contracts.balance(chain, stranger), FUNDS - 5);
}

#[test]
fn several_calls_in_one_transaction_are_the_senders() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::opened(chain, 10);
    let contracts = scene.contracts;
    let (requestor, worker, _) = scene.key(0);
    let agreed = Release {
        requestor,
        worker,
        epoch: 0,
        cumulative: 4,
    };
    let signature = scene
        .worker
        .sign(agreed.digest(contracts.chain_id, contracts.escrow));
    let calls = [
        calls::release(&agreed, signature),
        calls::open_many(&[(worker, 1, 7)]),
        calls::call(
            calls::escrow(),
            "topUp",
            &[calls::address(worker), calls::uint(1), calls::uint(2)],
        ),
    ];
    let calls = calls.map(calls::Token::Bytes).to_vec();
    let all = calls::call(calls::escrow(), "multicall", &[calls::Token::Array(calls)]);
    refused_with(
        "NotYours",
        contracts.send(chain, scene.stranger.address(), &all),
    );
    accepted(contracts.send(chain, requestor, &all));
    assert_eq!(
        scene.channel(chain),
        Channel {
            deposit: 9,
            claimed: 0,
            withdrawable_at: 0,
            epochs: 2
        }
    );
    assert_eq!(scene.balances(chain), [FUNDS - 13, 4, 9]);
    refused_with("NotOpen", contracts.send(chain, requestor, &all));
}
