//! What changes is logged, so that both sides can follow a channel without asking for its state.

use crate::{
    Scene,
    anvil::Anvil,
    calls::{Key, Outcome, Release, address, call, escrow, open_many, uint},
    evm::Evm,
};
use ethers_core::abi::{RawLog, Token};

/// The escrow's events of a transaction: name and values, indexed ones first.
fn events(outcome: Outcome) -> Vec<(String, Vec<Token>)> {
    let mut events = Vec::new();
    for (topics, data) in outcome.unwrap().logs {
        let Some(event) = escrow()
            .abi
            .events()
            .find(|event| event.signature().0 == topics[0])
        else {
            // The token's.
            continue;
        };
        let topics = topics.into_iter().map(Into::into).collect();
        let log = event.parse_log(RawLog { topics, data }).unwrap();
        let values = log.params.into_iter().map(|parameter| parameter.value);
        events.push((event.name.clone(), values.collect()));
    }
    events
}

#[test]
fn every_change_is_logged_with_what_is_so_after_it() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let scene = Scene::new(chain);
    let contracts = scene.contracts;
    let (requestor, worker, key) = (
        scene.requestor.address(),
        scene.worker.address(),
        scene.key(0),
    );
    let pair = |name: &str, numbers: &[u64]| {
        let mut values = vec![address(requestor), address(worker)];
        values.extend(numbers.iter().map(|number| uint(*number)));
        (name.to_owned(), values)
    };
    let opened = events(contracts.open(chain, requestor, (worker, 0, 100)));
    assert_eq!(opened, [pair("Opened", &[100])]);
    let topped_up = events(contracts.top_up(chain, requestor, (worker, 0, 20)));
    assert_eq!(topped_up, [pair("ToppedUp", &[0, 120])]);
    for (cumulative, logged) in [
        (30, vec![pair("Redeemed", &[0, 30])]),
        (30, vec![]),
        (45, vec![pair("Redeemed", &[0, 45])]),
    ] {
        let voucher = crate::calls::signed_token(&scene.voucher(0, cumulative));
        assert_eq!(
            events(contracts.call(chain, worker, "redeem", &[voucher])),
            logged
        );
    }
    let announced = events(contracts.announce(chain, requestor, key));
    let withdrawable_at = chain.now() + 24 * 3600;
    assert_eq!(
        announced,
        [pair("WithdrawalAnnounced", &[0, withdrawable_at])]
    );
    chain.pass(24 * 3600);
    let closed = events(contracts.withdraw(chain, requestor, key));
    assert_eq!(closed, [pair("Closed", &[0, 75])]);

    let many = open_many(&[(worker, 1, 10)]);
    assert_eq!(
        events(contracts.send(chain, requestor, &many)),
        [pair("Opened", &[10])]
    );
    let agreed = Release {
        requestor,
        worker,
        epoch: 1,
        cumulative: 4,
    };
    let released = events(contracts.release(chain, requestor, &scene.worker, agreed));
    assert_eq!(
        released,
        [pair("Redeemed", &[1, 4]), pair("Closed", &[1, 6])]
    );

    let (hot, owner) = (Key::new(9).address(), scene.stranger.address());
    let of_key = |name: &str, cap: Option<u64>| {
        let mut values = vec![address(hot), address(owner)];
        values.extend(cap.map(uint));
        (name.to_owned(), values)
    };
    let served = events(contracts.call(chain, hot, "serveOwner", &[address(owner)]));
    assert_eq!(served, [of_key("OwnerServed", None)]);
    for (name, amount, cap) in [
        ("raiseCap", Some(7), 7),
        ("raiseCap", Some(5), 12),
        ("revokeCap", None, 0),
    ] {
        let mut words = vec![address(hot)];
        words.extend(amount.map(|amount: u64| uint(amount)));
        let changed = events(contracts.send(chain, owner, &call(escrow(), name, &words)));
        assert_eq!(changed, [of_key("CapChanged", Some(cap))]);
    }
}
