//! The chain ledger on anvil: what every ledger must do, and everything that goes wrong with chains, endpoints and processes.

#[path = "../conformance/mod.rs"]
mod conformance;
mod endpoints;
mod faults;
mod kills;
mod proxy;
mod reorganisations;
mod support;
mod worker_kills;

use conformance::glm;
use payment::{
    EscrowKey, Ledger, LedgerError, Release,
    chain::{ChainError, ChainSettings, State},
};
use protocol::{Glm, message::Release as Agreement};
use support::{Place, wallet};

#[test]
fn the_life_of_an_escrow() {
    let place = Place::new(1);
    let accounts = place.accounts();
    conformance::check_life_of_an_escrow(&place.ledger(), &accounts, &|seconds| {
        place.chain.pass(seconds);
    });
}

#[test]
fn refusals_move_nothing() {
    let place = Place::new(2);
    conformance::check_refusals(&place.ledger(), &place.accounts());
}

#[test]
fn redeeming_at_once_pays_once() {
    let place = Place::new(3);
    conformance::check_concurrent_redeeming(&place.ledger(), &place.accounts());
}

#[test]
fn a_release_of_the_worker_closes_at_once() {
    let place = Place::new(4);
    conformance::check_closing_by_release(&place.ledger(), &place.worker, &place.accounts());
}

#[test]
fn many_escrows_are_opened_paid_and_closed_together() {
    let place = Place::new(5);
    let ledger = place.ledger();
    let before = ledger.balance(place.requestor.address()).unwrap();
    let workers: Vec<_> = (0..120u8).map(|number| wallet(&[5, number, 1])).collect();
    let openings: Vec<_> = workers
        .iter()
        .map(|worker| (place.key_of(worker.address(), 0), Glm::from_wei(1_000)))
        .collect();
    ledger.open_many(&openings).unwrap();
    let vouchers: Vec<_> = workers
        .iter()
        .map(|worker| place.voucher(&ledger, worker.address(), 0, 600))
        .collect();
    let redeemed = ledger.redeem_many(&vouchers).unwrap();
    assert!(redeemed.iter().all(|redeemed| redeemed.paid.wei() == 600));
    let releases: Vec<_> = workers
        .iter()
        .map(|worker| {
            let release = Agreement {
                chain_id: ledger.chain_id(),
                contract: ledger.contract(),
                requestor: place.requestor.address(),
                worker: worker.address(),
                epoch: 0,
                cumulative: Glm::from_wei(700),
            };
            worker.sign_release(&release).unwrap()
        })
        .collect();
    let returned = ledger.close(&releases).unwrap();
    assert!(returned.iter().all(|rest| rest.wei() == 300));
    for worker in &workers {
        assert_eq!(ledger.balance(worker.address()).unwrap().wei(), 700);
    }
    let after = ledger.balance(place.requestor.address()).unwrap();
    assert_eq!(before.wei() - after.wei(), 120 * 700);
    // One allowance, and two batches each of opening, paying and closing.
    let transactions = ledger.transactions().unwrap();
    assert_eq!(transactions.len(), 7, "{transactions:#?}");
    ledger.finalize().unwrap();
    let states = ledger.transactions().unwrap();
    assert!(
        states
            .iter()
            .all(|one| matches!(one.state, State::Final(_)))
    );
}

#[test]
fn a_hot_key_spends_up_to_its_cap() {
    let place = Place::new(6);
    let ledger = place.ledger();
    let hot = place.ledger_of(&wallet(&[6, 9]));
    hot.serve_owner(place.requestor.address()).unwrap();
    ledger.raise_cap(hot.account(), glm(3)).unwrap();
    assert_eq!(hot.spendable(hot.account()).unwrap(), glm(3));
    let key = EscrowKey {
        requestor: hot.account(),
        worker: place.worker.address(),
        epoch: 0,
    };
    let before = ledger.balance(place.requestor.address()).unwrap();
    hot.open(&key, glm(2)).unwrap();
    let after = ledger.balance(place.requestor.address()).unwrap();
    assert_eq!(before.checked_sub(after), Some(glm(2)));
    assert!(matches!(
        hot.top_up(&key, glm(2)),
        Err(LedgerError::InsufficientBalance { .. })
    ));
    ledger.revoke_cap(hot.account()).unwrap();
    assert_eq!(hot.spendable(hot.account()).unwrap(), Glm::ZERO);
}

#[test]
fn what_is_lacking_is_told_in_one_line() {
    let place = Place::new(7);
    let poor = place.ledger_without_coins(&wallet(&[7, 7]));
    let refused = poor.open(&place.key_of_other(poor.account()), Glm::from_wei(1));
    assert!(
        matches!(refused, Err(LedgerError::InsufficientBalance { .. })),
        "{refused:?}"
    );
    place.mint(poor.account(), glm(1));
    let refused = poor.open(&place.key_of_other(poor.account()), Glm::from_wei(1));
    let Err(LedgerError::Chain(error @ ChainError::NoCoin { .. })) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("send it some"), "{error}");
    assert!(poor.transactions().unwrap().is_empty());

    let settings = ChainSettings {
        fee_cap_gwei: 0,
        ..place.settings()
    };
    let capped = place.open(settings, &place.requestor, "capped");
    let refused = capped.unwrap().open(&place.key(0), Glm::from_wei(1));
    assert!(
        matches!(
            refused,
            Err(LedgerError::Chain(ChainError::FeeAboveCap { .. }))
        ),
        "{refused:?}"
    );
    // A token for which nobody has put an escrow there.
    let settings = ChainSettings {
        token: place.worker.address(),
        ..place.settings()
    };
    let refused = place
        .open(settings, &place.requestor, "nowhere")
        .unwrap_err();
    assert!(
        matches!(refused, ChainError::NoContract { .. }),
        "{refused}"
    );
}

#[test]
fn a_withdrawal_waits_for_the_thaw_and_vouchers_are_good_until_then() {
    let place = Place::new(8);
    let ledger = place.ledger();
    let key = place.key(0);
    ledger.open(&key, glm(5)).unwrap();
    let Release::Thawing { until_unix_s } = ledger.release(&key).unwrap() else {
        panic!("returned at once");
    };
    let again = ledger.release(&key).unwrap();
    assert_eq!(again, Release::Thawing { until_unix_s });
    let escrow = ledger.escrow(&key).unwrap().unwrap();
    assert_eq!(escrow.withdrawable_at, Some(until_unix_s));
    // The worker redeems with an account and coins of its own.
    let worker = place.ledger_of(&place.worker);
    let voucher = place.voucher(&ledger, place.worker.address(), 0, 7);
    assert_eq!(worker.redeem(&voucher).unwrap().paid.wei(), 7);
    place.chain.pass(25 * 3600);
    let Release::Returned(rest) = ledger.release(&key).unwrap() else {
        panic!("still thawing");
    };
    assert_eq!(rest.wei(), glm(5).wei() - 7);
    assert_eq!(
        ledger
            .present(key.requestor, key.worker)
            .unwrap()
            .map(|(epoch, _)| epoch),
        Some(0)
    );
}
