//! Transactions that are lost, swallowed, refused, too cheap, robbed of their nonce, or undone: nothing is paid twice, and
//! nothing is lost.

use crate::{
    conformance::glm,
    proxy::{Fault, Proxy},
    support::{Chain, Place, wait_until, wallet},
};
use payment::{
    Cover, EscrowKey, Ledger, LedgerError, VoucherBook, Wallet,
    chain::{
        ChainError, ChainLedger, ChainSettings, DevChain, Outbox, Patience, State, Transaction,
    },
    cover,
};
use protocol::Glm;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const GWEI: u128 = 1_000_000_000;
/// The file of the ledger that is tried.
const OUTBOX: &str = "through";

/// A place on a chain of its own.
fn alone(number: u8) -> Place {
    Place::on(Arc::new(Chain::start()), number)
}

/// Quick to look and to offer more.
fn quick(place: &Place) -> ChainSettings {
    ChainSettings {
        patience: Patience {
            poll: Duration::from_millis(100),
            bump: Duration::from_millis(700),
            give_up: Duration::from_secs(60),
        },
        ..place.settings()
    }
}

fn quick_through(place: &Place, proxy: &Proxy) -> ChainSettings {
    ChainSettings {
        endpoints: vec![proxy.url().to_owned()],
        ..quick(place)
    }
}

/// The requestor's ledger through a proxy.
fn through(place: &Place, proxy: &Proxy) -> ChainLedger {
    let settings = quick_through(place, proxy);
    place.open(settings, &place.requestor, OUTBOX).unwrap()
}

/// The last transaction in the file that a ledger is writing to.
fn last_sent(place: &Place, wallet: &Wallet, file: &str) -> Option<Transaction> {
    let path = place.folder.path().join(file);
    Outbox::read(path, DevChain::CHAIN_ID, wallet.address())
        .unwrap()
        .pop()
}

/// Waits until a further transaction has so many attempts.
fn wait_for_attempts(place: &Place, nonce: u64, attempts: usize) -> Transaction {
    let mut found = None;
    wait_until("a transaction is sent so often", || {
        found = last_sent(place, &place.requestor, OUTBOX);
        found
            .as_ref()
            .is_some_and(|last| last.nonce == nonce && last.attempts.len() >= attempts)
    });
    found.unwrap()
}

/// All that the requestor had is in its account or in escrow, where `sum` is.
fn assert_deposited(place: &Place, ledger: &ChainLedger, sum: Glm) {
    let balance = ledger.balance(place.requestor.address()).unwrap();
    assert_eq!(glm(100).checked_sub(balance), Some(sum));
    let escrow = ledger.escrow(&place.key(0)).unwrap().unwrap();
    assert_eq!(escrow.deposit, sum);
}

/// Everything that was ordered was done, by as many transactions, and is over.
fn assert_done_by(place: &Place, ledger: &ChainLedger, count: usize) {
    ledger.finalize().unwrap();
    let transactions = ledger.transactions().unwrap();
    for transaction in &transactions {
        assert!(
            matches!(transaction.state, State::Final(inclusion) if inclusion.succeeded),
            "{transaction:?}"
        );
    }
    assert_eq!(transactions.len(), count);
    assert_eq!(place.chain.count(ledger.account()), count as u64);
}

/// Each attempt offers enough more to be taken, and none more than the cap.
fn assert_attempts_grow(transaction: &Transaction, cap: u128) {
    for pair in transaction.attempts.windows(2) {
        assert!(pair[1].max_fee * 10 >= pair[0].max_fee * 11);
        assert!(pair[1].priority_fee * 10 >= pair[0].priority_fee * 11);
    }
    assert!(transaction.attempts.iter().all(|one| one.max_fee <= cap));
}

#[test]
fn an_answer_that_is_lost_after_the_broadcast_pays_once() {
    let place = Place::new(30);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    proxy.spoil_broadcasts(usize::MAX, Fault::CutAfter);
    ledger.open(&place.key(0), glm(3)).unwrap();
    ledger.top_up(&place.key(0), glm(2)).unwrap();
    assert_deposited(&place, &ledger, glm(5));
    assert_done_by(&place, &ledger, 3);
    for transaction in ledger.transactions().unwrap() {
        assert_eq!(transaction.attempts.len(), 1);
    }
}

#[test]
fn a_transaction_that_is_swallowed_is_sent_again_for_more() {
    let place = Place::new(31);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    proxy.spoil_broadcasts(2, Fault::Result(json!("0x00")));
    ledger.top_up(&place.key(0), glm(2)).unwrap();
    assert_deposited(&place, &ledger, glm(3));
    assert_done_by(&place, &ledger, 3);
    let last = ledger.transactions().unwrap().pop().unwrap();
    assert!(last.attempts.len() >= 3, "{last:?}");
    assert_attempts_grow(&last, 500 * GWEI);
    let taken = last.inclusion().unwrap().hash;
    assert!(last.attempts.iter().any(|attempt| attempt.hash == taken));
    let worker = place.worker.address();
    let paid = ledger
        .redeem(&place.voucher(&ledger, worker, 0, 7))
        .unwrap();
    assert_eq!(paid.paid.wei(), 7);
    assert_eq!(ledger.balance(worker).unwrap().wei(), 7);
}

#[test]
fn a_transaction_that_stays_out_is_replaced_and_every_attempt_was_sent() {
    let place = alone(32);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    place.chain.stop_mining();
    thread::scope(|scope| {
        let top_up = scope.spawn(|| ledger.top_up(&place.key(0), glm(2)));
        wait_for_attempts(&place, 2, 3);
        place.chain.mine_every_second();
        top_up.join().unwrap().unwrap();
    });
    assert_deposited(&place, &ledger, glm(3));
    assert_done_by(&place, &ledger, 3);
    let last = ledger.transactions().unwrap().pop().unwrap();
    assert_attempts_grow(&last, 500 * GWEI);
    let sent: Vec<Value> = proxy.asked();
    for attempt in &last.attempts {
        let hex: String = attempt
            .raw
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let is_it = |request: &Value| request["params"][0] == json!(format!("0x{hex}"));
        assert!(sent.iter().any(is_it), "never sent: {attempt:?}");
    }
}

#[test]
fn at_the_cap_waiting_ends_and_a_later_ledger_with_a_higher_cap_sees_it_through() {
    let place = alone(33);
    let proxy = Proxy::start(place.chain.url());
    through(&place, &proxy).open(&place.key(0), glm(1)).unwrap();
    place.chain.stop_mining();
    let mut settings = quick_through(&place, &proxy);
    settings.fee_cap_gwei = 3;
    settings.patience.give_up = Duration::from_secs(3);
    let capped = place.open(settings, &place.requestor, OUTBOX).unwrap();
    let stuck = capped.top_up(&place.key(0), glm(2));
    let Err(LedgerError::Chain(error @ ChainError::Stuck { .. })) = stuck else {
        panic!("{stuck:?}");
    };
    assert!(error.to_string().contains("--fee-cap"), "{error}");
    let left = capped.transactions().unwrap().pop().unwrap();
    assert_eq!(left.state, State::Pending);
    assert_attempts_grow(&left, 3 * GWEI);
    drop(capped);

    // The chain has become dearer than what was signed.
    place.chain.set_base_fee(20);
    place.chain.mine(1);
    place.chain.mine_every_second();
    let ledger = through(&place, &proxy);
    // Who asks for the same without having looked is told to look.
    let again = ledger.top_up(&place.key(0), glm(2));
    assert!(
        matches!(again, Err(LedgerError::Chain(ChainError::Outdated))),
        "{again:?}"
    );
    assert_deposited(&place, &ledger, glm(3));
    assert_done_by(&place, &ledger, 3);
    let last = ledger.transactions().unwrap().pop().unwrap();
    assert!(last.attempts.len() > left.attempts.len());
    assert_attempts_grow(&last, 500 * GWEI);
}

#[test]
fn a_base_fee_that_rose_after_signing_is_met() {
    let place = alone(34);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    place.chain.stop_mining();
    thread::scope(|scope| {
        let top_up = scope.spawn(|| ledger.top_up(&place.key(0), glm(2)));
        let first = wait_for_attempts(&place, 2, 1).attempts[0].clone();
        assert!(first.max_fee < 50 * GWEI);
        place.chain.set_base_fee(50);
        place.chain.mine(1);
        place.chain.mine_every_second();
        top_up.join().unwrap().unwrap();
    });
    assert_deposited(&place, &ledger, glm(3));
    assert_done_by(&place, &ledger, 3);
}

#[test]
fn whatever_a_node_says_it_is_done_once() {
    let place = Place::new(35);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    let mut sum = glm(1);
    for (count, said) in [
        "replacement transaction underpriced",
        "already known",
        "nonce too low",
        "max fee per gas less than block base fee",
        "txpool is full",
        "unknown transaction type",
    ]
    .into_iter()
    .enumerate()
    {
        proxy.spoil_broadcasts(2, Fault::Says(said.into()));
        ledger.top_up(&place.key(0), glm(1)).unwrap();
        sum = sum.checked_add(glm(1)).unwrap();
        assert_deposited(&place, &ledger, sum);
        assert_done_by(&place, &ledger, count + 3);
    }
    for transaction in ledger.transactions().unwrap() {
        assert_attempts_grow(&transaction, 500 * GWEI);
    }
}

#[test]
fn what_no_node_takes_is_stuck_and_is_not_sent_beside_something_new() {
    let place = Place::new(36);
    let proxy = Proxy::start(place.chain.url());
    through(&place, &proxy).open(&place.key(0), glm(1)).unwrap();
    proxy.spoil_broadcasts(usize::MAX, Fault::Says("txpool is full".into()));
    let mut settings = quick_through(&place, &proxy);
    settings.patience.give_up = Duration::from_secs(1);
    let impatient = place.open(settings, &place.requestor, OUTBOX).unwrap();
    for _ in 0..2 {
        let stuck = impatient.top_up(&place.key(0), glm(2));
        let Err(LedgerError::Chain(error @ ChainError::Stuck { .. })) = stuck else {
            panic!("{stuck:?}");
        };
        assert!(error.to_string().contains("txpool is full"), "{error}");
    }
    assert_eq!(impatient.transactions().unwrap().len(), 3);
    drop(impatient);
    proxy.behave();
    let ledger = through(&place, &proxy);
    let book = VoucherBook::open(
        place.folder.path().join("vouchers"),
        place.requestor.clone(),
        ledger.chain_id(),
        ledger.contract(),
    )
    .unwrap();
    let one = Cover {
        worker: place.worker.address(),
        unpromised: glm(3),
        spare: Glm::ZERO,
    };
    assert_eq!(cover(&ledger, &book, &[one]).unwrap()[0].deposit, glm(3));
    assert_deposited(&place, &ledger, glm(3));
    assert_done_by(&place, &ledger, 3);
}

#[test]
fn a_nonce_that_is_taken_elsewhere_displaces_and_a_repeat_works() {
    let place = Place::new(37);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    // The chain hears nothing of it until another program has used the key.
    proxy.spoil_broadcasts(usize::MAX, Fault::Result(json!("0x00")));
    let other = place.open(quick(&place), &place.requestor, "elsewhere");
    let other = other.unwrap();
    let displaced = thread::scope(|scope| {
        let top_up = scope.spawn(|| ledger.top_up(&place.key(0), glm(2)));
        wait_for_attempts(&place, 2, 1);
        other.top_up(&place.key(0), glm(5)).unwrap();
        top_up.join().unwrap()
    });
    assert!(
        matches!(
            displaced,
            Err(LedgerError::Chain(ChainError::Displaced { nonce: 2, .. }))
        ),
        "{displaced:?}"
    );
    assert_deposited(&place, &ledger, glm(6));
    proxy.behave();
    ledger.top_up(&place.key(0), glm(2)).unwrap();
    assert_deposited(&place, &ledger, glm(8));
    let states: Vec<State> = ledger
        .transactions()
        .unwrap()
        .iter()
        .map(|transaction| transaction.state)
        .collect();
    assert_eq!(states.len(), 4);
    assert_eq!(states[2], State::Displaced);
    assert!(matches!(states[3], State::Final(_)));
}

#[test]
fn a_gap_that_a_lost_transaction_of_another_program_left_is_filled() {
    let place = alone(38);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &proxy);
    ledger.open(&place.key(0), glm(1)).unwrap();
    place.chain.stop_mining();
    let stop = Arc::new(AtomicBool::new(false));
    let other = ChainLedger::open(
        quick(&place),
        place.requestor.clone(),
        place.folder.path().join("elsewhere"),
        Arc::clone(&stop),
    )
    .unwrap();
    thread::scope(|scope| {
        let lost = scope.spawn(|| other.top_up(&place.key(0), glm(5)));
        wait_until("the other program has sent", || {
            last_sent(&place, &place.requestor, "elsewhere").is_some()
                && place.chain.ask("txpool_status", json!([]))["pending"] == json!("0x1")
        });
        stop.store(true, Ordering::Relaxed);
        let interrupted = lost.join().unwrap();
        assert!(
            matches!(
                interrupted,
                Err(LedgerError::Chain(ChainError::Interrupted))
            ),
            "{interrupted:?}"
        );
        let ours = scope.spawn(|| ledger.top_up(&place.key(0), glm(2)));
        wait_for_attempts(&place, 3, 1);
        let sent = last_sent(&place, &place.requestor, "elsewhere").unwrap();
        for attempt in sent.attempts {
            place
                .chain
                .ask("anvil_dropTransaction", json!([attempt.hash.to_string()]));
        }
        place.chain.mine_every_second();
        ours.join().unwrap().unwrap();
    });
    assert_deposited(&place, &ledger, glm(3));
    // Allowance, opening, what fills the gap, top-up.
    assert_done_by(&place, &ledger, 4);
    stop.store(false, Ordering::Relaxed);
    other.finish_pending().unwrap();
    let states = other.transactions().unwrap();
    assert_eq!(states[0].state, State::Displaced);
    assert_deposited(&place, &ledger, glm(3));
}

#[test]
fn what_is_mined_and_undone_is_told_once_it_is_final_and_a_repeat_decides_anew() {
    let place = alone(39);
    let owner = place.ledger();
    let hot_key = wallet(&[39, 9]);
    DevChain::give_coins(&place.settings(), hot_key.address()).unwrap();
    let proxy = Proxy::start(place.chain.url());
    let settings = ChainSettings {
        confirmations: 3,
        ..quick_through(&place, &proxy)
    };
    let hot = place.open(settings, &hot_key, OUTBOX).unwrap();
    hot.serve_owner(owner.account()).unwrap();
    owner.raise_cap(hot.account(), glm(10)).unwrap();
    let key = EscrowKey {
        requestor: hot.account(),
        ..place.key(0)
    };
    hot.open(&key, glm(1)).unwrap();
    // Between its estimate and its block the owner takes the money away.
    proxy.spoil_broadcasts(usize::MAX, Fault::Result(json!("0x00")));
    let undone = thread::scope(|scope| {
        let top_up = scope.spawn(|| hot.top_up(&key, glm(2)));
        wait_until("the top-up is on disk", || {
            last_sent(&place, &hot_key, OUTBOX).is_some_and(|last| last.nonce == 2)
        });
        owner.revoke_cap(hot.account()).unwrap();
        proxy.behave();
        top_up.join().unwrap()
    });
    assert!(
        matches!(&undone, Err(LedgerError::Chain(ChainError::Refused { reason, .. })) if reason.contains("undid")),
        "{undone:?}"
    );
    let last = hot.transactions().unwrap().pop().unwrap();
    assert!(
        matches!(last.state, State::Final(inclusion) if !inclusion.succeeded),
        "{last:?}"
    );
    let deposit = || hot.escrow(&key).unwrap().unwrap().deposit;
    assert_eq!(deposit(), glm(1));
    let refused = hot.top_up(&key, glm(2));
    assert!(
        matches!(refused, Err(LedgerError::InsufficientBalance { .. })),
        "{refused:?}"
    );
    owner.raise_cap(hot.account(), glm(10)).unwrap();
    hot.top_up(&key, glm(2)).unwrap();
    assert_eq!(deposit(), glm(3));
    let balance = owner.balance(owner.account()).unwrap();
    assert_eq!(glm(100).checked_sub(balance), Some(glm(3)));
}
