//! Endpoints that are of another chain, fail, hang, talk nonsense, say no, or are behind.

use crate::{
    conformance::glm,
    proxy::{Fault, Proxy},
    support::{Place, open, quantity, wallet},
};
use payment::{
    Cover, Ledger, LedgerError, VoucherBook,
    chain::{ChainError, ChainLedger, ChainSettings, DevChain, RpcError},
    cover,
};
use protocol::Glm;
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

/// The place's own ledger, reached through these endpoints, in the order given.
fn through(place: &Place, endpoints: &[&str]) -> ChainLedger {
    place
        .open(settings(place, endpoints), &place.requestor, "through")
        .unwrap()
}

fn settings(place: &Place, endpoints: &[&str]) -> ChainSettings {
    ChainSettings {
        endpoints: endpoints.iter().map(|&url| url.to_owned()).collect(),
        timeout: Duration::from_secs(1),
        ..place.settings()
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn deposit(place: &Place, ledger: &ChainLedger) -> Glm {
    ledger.escrow(&place.key(0)).unwrap().unwrap().deposit
}

/// What the requestor had, less what is in escrow, to the wei.
fn assert_deposited(place: &Place, ledger: &ChainLedger, sum: Glm) {
    let balance = ledger.balance(place.requestor.address()).unwrap();
    assert_eq!(glm(100).checked_sub(balance), Some(sum));
    assert_eq!(deposit(place, ledger), sum);
}

#[test]
fn an_endpoint_of_another_chain_is_passed_over_and_named_when_it_is_alone() {
    let place = Place::new(20);
    let other = Proxy::start(place.chain.url());
    other.rule(|request| match request["method"] == "eth_chainId" {
        true => Fault::Result(json!("0x5")),
        false => Fault::None,
    });
    let ledger = through(&place, &[other.url(), place.chain.url()]);
    ledger.open(&place.key(0), glm(2)).unwrap();
    assert_deposited(&place, &ledger, glm(2));
    // It heard nothing but the question which chain it is of.
    assert_eq!(other.asked().len(), other.count("eth_chainId"));

    let alone = settings(&place, &[other.url()]);
    let refused = open(alone, &place.requestor, &place.folder.path().join("alone"));
    let Err(error @ ChainError::Rpc(RpcError::OtherChain { actual: 5, .. })) = refused else {
        panic!("{refused:?}");
    };
    let told = error.to_string();
    assert!(told.contains(other.url()) && !told.contains('\n'), "{told}");

    // One that does not answer may come back, so nothing is said for good.
    let nobody = nobody();
    let both = settings(&place, &[other.url(), &nobody]);
    let refused = both.rpc().unwrap().call("eth_blockNumber", json!([]));
    let Err(RpcError::Unreachable(told)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        told.contains("of chain 5") && told.contains(&nobody),
        "{told}"
    );
}

#[test]
fn endpoints_that_fail_are_passed_over_and_not_asked_first_again() {
    let place = Place::new(21);
    let mut sum = glm(1);
    place.ledger().open(&place.key(0), sum).unwrap();
    for fault in [
        Fault::Status(500),
        Fault::Status(429),
        Fault::Hang,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Garbage,
        Fault::Huge(9 << 20),
    ] {
        let broken = Proxy::start(place.chain.url());
        let ledger = through(&place, &[broken.url(), place.chain.url()]);
        // It fails in the middle of its work, and stays so.
        let heard = broken.asked().len();
        assert!(heard > 0);
        let spoilt = fault.clone();
        broken.rule(move |_| spoilt.clone());
        ledger.top_up(&place.key(0), Glm::from_wei(1)).unwrap();
        sum = sum.checked_add(Glm::from_wei(1)).unwrap();
        assert_deposited(&place, &ledger, sum);
        assert_eq!(broken.asked().len(), heard + 1, "{fault:?}");
    }
}

#[test]
fn all_endpoints_that_fail_are_named_in_one_line() {
    let place = Place::new(22);
    let (nobody, garbage) = (nobody(), Proxy::start(place.chain.url()));
    garbage.rule(|_| Fault::Garbage);
    let rpc = settings(&place, &[&nobody, garbage.url()]).rpc().unwrap();
    let error = rpc.call("eth_blockNumber", json!([])).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains(&nobody) && told.contains(garbage.url()),
        "{told}"
    );
    assert!(!told.contains('\n'), "{told}");
    garbage.behave();
    assert!(rpc.call("eth_blockNumber", json!([])).is_ok());
}

#[test]
fn an_endpoint_that_knows_nothing_of_pending_transactions_serves() {
    let place = Place::new(23);
    let proxy = Proxy::start(place.chain.url());
    proxy.rule(|request| match request["params"][1] == "pending" {
        true => Fault::Says("the block tag pending is not supported".into()),
        false => Fault::None,
    });
    let ledger = through(&place, &[proxy.url()]);
    ledger.open(&place.key(0), glm(1)).unwrap();
    ledger.top_up(&place.key(0), glm(1)).unwrap();
    assert_deposited(&place, &ledger, glm(2));
}

/// As a node that knows blocks up to this one answers.
fn behind(request: &Value, known: u64) -> Fault {
    let block = |value: &Value| u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok();
    let parameters = &request["params"];
    match request["method"].as_str().unwrap() {
        "eth_blockNumber" => Fault::Result(json!(format!("{known:#x}"))),
        "eth_call" if block(&parameters[1]).is_some_and(|asked| asked > known) => {
            Fault::Says("header not found".into())
        }
        "eth_call" if parameters[1] == "latest" => {
            let mut older = request.clone();
            older["params"][1] = json!(format!("{known:#x}"));
            Fault::Instead(older)
        }
        _ => Fault::None,
    }
}

#[test]
fn nothing_is_topped_up_twice_because_a_node_is_behind() {
    let place = Place::new(24);
    let proxy = Proxy::start(place.chain.url());
    let ledger = through(&place, &[proxy.url()]);
    let book = VoucherBook::open(
        place.folder.path().join("vouchers"),
        place.requestor.clone(),
        ledger.chain_id(),
        ledger.contract(),
    )
    .unwrap();
    let cover_with = |sum| {
        let one = Cover {
            worker: place.worker.address(),
            unpromised: glm(sum),
            spare: Glm::ZERO,
        };
        cover(&ledger, &book, &[one]).unwrap()
    };
    cover_with(2);
    let known = quantity(&place.chain.ask("eth_blockNumber", json!([])));
    cover_with(3);
    // Of three nodes behind the endpoint two do not know of the top-up yet.
    let mut calls = 0;
    proxy.rule(move |request| {
        calls += usize::from(request["method"] == "eth_call");
        match calls % 3 {
            0 => Fault::None,
            _ => behind(request, known),
        }
    });
    assert_eq!(cover_with(3)[0].deposit, glm(3));
    proxy.behave();
    assert_deposited(&place, &ledger, glm(3));
    assert_eq!(ledger.transactions().unwrap().len(), 3);
}

#[test]
fn a_contract_that_refuses_costs_nothing_and_is_quoted() {
    let place = Place::new(25);
    let ledger = place.ledger();
    let before = place.settings().holdings(ledger.account()).unwrap();
    let stranger = wallet(&[25, 9]).address();
    let refused = ledger.revoke_cap(stranger);
    let Err(ChainError::Refused { reason, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert!(reason.starts_with("NotYours"), "{reason}");
    assert_eq!(place.settings().holdings(ledger.account()).unwrap(), before);
    assert!(ledger.transactions().unwrap().is_empty());
}

#[test]
fn a_development_chain_that_is_not_there_is_told_at_once() {
    let begun = Instant::now();
    let refused = DevChain::start(Some(Path::new("/nowhere/anvil"))).unwrap_err();
    assert!(refused.to_string().contains("npm install"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_development_chain_serves_many_who_begin_at_once() {
    let dev = DevChain::start(None).unwrap();
    let settings = ChainSettings::dev(dev.url().to_owned());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let settings = &settings;
            scope.spawn(move || {
                DevChain::prepare(settings).unwrap();
                let account = wallet(&[27, number]).address();
                DevChain::fund(settings, account).unwrap();
                let (held, _) = settings.holdings(account).unwrap();
                assert_eq!(held, glm(1_000));
            });
        }
    });
}

#[test]
fn a_broadcast_that_one_endpoint_keeps_for_itself_goes_out_by_another() {
    let place = Place::new(26);
    let keeps = Proxy::start(place.chain.url());
    keeps.spoil_broadcasts(usize::MAX, Fault::Result(json!("0x00")));
    let mut settings = settings(&place, &[keeps.url(), place.chain.url()]);
    settings.patience.bump = Duration::from_millis(500);
    let ledger = place.open(settings, &place.requestor, "kept").unwrap();
    ledger.open(&place.key(0), glm(1)).unwrap();
    assert_deposited(&place, &ledger, glm(1));
    assert!(matches!(
        ledger.open(&place.key(0), glm(1)),
        Err(LedgerError::AlreadyOpen(_))
    ));
}
