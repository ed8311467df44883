//! Blocks that are thrown out with our transactions in them: what was done is done again, once.

use crate::{
    conformance::glm,
    proxy::{Fault, Proxy},
    support::{Chain, Place, wait_until},
};
use payment::{
    Cover, Ledger, LedgerError, VoucherBook,
    chain::{ChainError, ChainLedger, ChainSettings, DevChain, Outbox, Patience, State},
    cover,
};
use protocol::Glm;
use serde_json::json;
use std::{sync::Arc, thread, time::Duration};

const OUTBOX: &str = "through";

/// A ledger that waits for three blocks, on a chain of its own that makes none by itself once the place is ready.
fn settings(place: &Place, url: &str) -> ChainSettings {
    ChainSettings {
        confirmations: 3,
        endpoints: vec![url.to_owned()],
        patience: Patience {
            poll: Duration::from_millis(100),
            bump: Duration::from_millis(700),
            give_up: Duration::from_secs(60),
        },
        ..place.settings()
    }
}

fn ledger(place: &Place, url: &str) -> ChainLedger {
    place
        .open(settings(place, url), &place.requestor, OUTBOX)
        .unwrap()
}

fn deposit(place: &Place, ledger: &ChainLedger) -> Option<Glm> {
    let escrow = ledger.escrow(&place.key(0)).unwrap();
    escrow.map(|escrow| escrow.deposit)
}

fn states(ledger: &ChainLedger) -> Vec<State> {
    let transactions = ledger.transactions().unwrap();
    transactions.iter().map(|one| one.state).collect()
}

/// The sum is in escrow and the rest in the account, everything is final, and there were so many transactions.
fn assert_ends_with(place: &Place, ledger: &ChainLedger, sum: Glm, transactions: usize) {
    ledger.finalize().unwrap();
    assert_eq!(deposit(place, ledger), Some(sum));
    let balance = ledger.balance(place.requestor.address()).unwrap();
    assert_eq!(glm(100).checked_sub(balance), Some(sum));
    let states = states(ledger);
    assert!(
        states
            .iter()
            .all(|state| matches!(state, State::Final(inclusion) if inclusion.succeeded)),
        "{states:?}"
    );
    assert_eq!(states.len(), transactions);
    assert_eq!(place.chain.count(ledger.account()), transactions as u64);
}

fn cover_with(place: &Place, ledger: &ChainLedger, sum: Glm) -> Glm {
    let book = VoucherBook::open(
        place.folder.path().join("vouchers"),
        place.requestor.clone(),
        ledger.chain_id(),
        ledger.contract(),
    )
    .unwrap();
    let one = Cover {
        worker: place.worker.address(),
        unpromised: sum,
        spare: Glm::ZERO,
    };
    cover(ledger, &book, &[one]).unwrap()[0].deposit
}

#[test]
fn an_opening_that_is_thrown_out_is_noticed_and_sent_again() {
    let place = Place::on(Arc::new(Chain::start()), 50);
    let ledger = ledger(&place, place.chain.url());
    ledger.open(&place.key(0), glm(2)).unwrap();
    place.chain.stop_mining();
    assert!(matches!(states(&ledger)[1], State::Mined(_)));
    place.chain.reorganise(1);
    assert_eq!(deposit(&place, &ledger), None);
    place.chain.mine_every_second();
    ledger.finish_pending().unwrap();
    assert_eq!(deposit(&place, &ledger), Some(glm(2)));
    assert_ends_with(&place, &ledger, glm(2), 2);
}

#[test]
fn a_top_up_that_is_thrown_out_is_done_once_more_and_not_twice() {
    let place = Place::on(Arc::new(Chain::start()), 51);
    let ledger = ledger(&place, place.chain.url());
    ledger.open(&place.key(0), glm(2)).unwrap();
    ledger.top_up(&place.key(0), glm(3)).unwrap();
    place.chain.stop_mining();
    place.chain.reorganise(1);
    assert_eq!(deposit(&place, &ledger), Some(glm(2)));
    place.chain.mine_every_second();
    // Whoever saw two and adds three is told to look again.
    let again = ledger.top_up(&place.key(0), glm(3));
    assert!(
        matches!(again, Err(LedgerError::Chain(ChainError::Outdated))),
        "{again:?}"
    );
    assert_eq!(cover_with(&place, &ledger, glm(5)), glm(5));
    assert_ends_with(&place, &ledger, glm(5), 3);
}

#[test]
fn what_was_final_and_is_thrown_out_all_the_same_is_sent_again_before_anything_is_decided() {
    let place = Place::on(Arc::new(Chain::start()), 52);
    let ledger = ledger(&place, place.chain.url());
    ledger.open(&place.key(0), glm(2)).unwrap();
    ledger.top_up(&place.key(0), glm(3)).unwrap();
    ledger.finalize().unwrap();
    place.chain.stop_mining();
    let head = place.chain.ask("eth_blockNumber", json!([]));
    let head = u32::from_str_radix(&head.as_str().unwrap()[2..], 16).unwrap();
    // Down to before the opening: the allowance was the first of ours.
    let State::Final(opened) = states(&ledger)[1] else {
        panic!("{:?}", states(&ledger));
    };
    place
        .chain
        .reorganise(head - u32::try_from(opened.block).unwrap() + 1);
    assert_eq!(deposit(&place, &ledger), None);
    assert_eq!(place.chain.count(ledger.account()), 1);
    place.chain.mine_every_second();
    assert_eq!(cover_with(&place, &ledger, glm(6)), glm(6));
    assert_ends_with(&place, &ledger, glm(6), 4);
}

#[test]
fn what_is_missing_before_a_transaction_on_its_way_is_sent_again() {
    let place = Place::on(Arc::new(Chain::start()), 53);
    let proxy = Proxy::start(place.chain.url());
    let ledger = ledger(&place, proxy.url());
    ledger.open(&place.key(0), glm(2)).unwrap();
    ledger.finalize().unwrap();
    // The next one does not reach the chain before that has forgotten the one before it.
    proxy.spoil_broadcasts(usize::MAX, Fault::Result(json!("0x00")));
    thread::scope(|scope| {
        let top_up = scope.spawn(|| ledger.top_up(&place.key(0), glm(3)));
        wait_until("the top-up is on disk", || {
            let path = place.folder.path().join(OUTBOX);
            let sent = Outbox::read(path, DevChain::CHAIN_ID, place.requestor.address());
            sent.unwrap().len() == 3
        });
        place.chain.stop_mining();
        let head = place.chain.ask("eth_blockNumber", json!([]));
        let head = u32::from_str_radix(&head.as_str().unwrap()[2..], 16).unwrap();
        let State::Final(opened) = states(&ledger)[1] else {
            panic!("{:?}", states(&ledger));
        };
        place
            .chain
            .reorganise(head - u32::try_from(opened.block).unwrap() + 1);
        assert_eq!(place.chain.count(ledger.account()), 1);
        proxy.behave();
        place.chain.mine_every_second();
        top_up.join().unwrap().unwrap();
    });
    assert_ends_with(&place, &ledger, glm(5), 3);
}

#[test]
fn a_nonce_is_lost_to_another_program_only_when_its_block_is_final() {
    let place = Place::on(Arc::new(Chain::start()), 54);
    let proxy = Proxy::start(place.chain.url());
    let ledger = ledger(&place, proxy.url());
    ledger.open(&place.key(0), glm(1)).unwrap();
    ledger.finalize().unwrap();
    let other = place.open(place.settings(), &place.requestor, "elsewhere");
    let other = other.unwrap();
    proxy.spoil_broadcasts(usize::MAX, Fault::Result(json!("0x00")));
    thread::scope(|scope| {
        let top_up = scope.spawn(|| ledger.top_up(&place.key(0), glm(2)));
        wait_until("the top-up is on disk", || {
            let path = place.folder.path().join(OUTBOX);
            let sent = Outbox::read(path, DevChain::CHAIN_ID, place.requestor.address());
            sent.unwrap().len() == 3
        });
        other.top_up(&place.key(0), glm(5)).unwrap();
        place.chain.stop_mining();
        let looked = proxy.count("eth_getTransactionReceipt");
        wait_until("the ledger has looked often", || {
            proxy.count("eth_getTransactionReceipt") > looked + 20
        });
        assert!(!top_up.is_finished());
        place.chain.reorganise(1);
        proxy.behave();
        place.chain.mine_every_second();
        top_up.join().unwrap().unwrap();
    });
    assert_ends_with(&place, &ledger, glm(3), 3);
}
