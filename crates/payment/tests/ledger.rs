//! The embedded ledger against what every ledger must do, and its file.

mod conformance;

use conformance::{Accounts, glm, voucher};
use payment::{
    EmbeddedLedger, EscrowKey, FAUCET, Ledger, LedgerError, Release, StoreError, Wallet,
};
use proptest::prelude::*;
use protocol::{Address, Glm};
use std::path::Path;

fn wallet(number: u8) -> Wallet {
    Wallet::from_secret(&[number; 32]).unwrap()
}

fn accounts() -> Accounts {
    Accounts {
        requestor: wallet(1),
        worker: wallet(2).address(),
    }
}

fn funded(folder: &Path) -> EmbeddedLedger {
    let ledger = EmbeddedLedger::open(folder.join("ledger.redb")).unwrap();
    ledger.fund(wallet(1).address(), glm(100)).unwrap();
    ledger
}

#[test]
fn the_life_of_an_escrow() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check_life_of_an_escrow(&funded(folder.path()), &accounts(), &|_| {
        panic!("the embedded ledger has no thaw");
    });
}

#[test]
fn a_release_of_the_worker_closes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check_closing_by_release(&funded(folder.path()), &wallet(2), &accounts());
}

#[test]
fn refusals_move_nothing() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check_refusals(&funded(folder.path()), &accounts());
}

#[test]
fn redeeming_at_once_pays_once() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check_concurrent_redeeming(&funded(folder.path()), &accounts());
}

#[test]
fn the_faucet_gives_once_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let account = wallet(1).address();
    for minted in [FAUCET, Glm::ZERO, Glm::ZERO] {
        let ledger = EmbeddedLedger::open(&path).unwrap();
        assert_eq!(ledger.fund_first_time(account).unwrap(), minted);
        assert_eq!(ledger.balance(account).unwrap(), FAUCET);
    }
}

#[test]
fn amounts_that_overflow_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = funded(folder.path());
    let everything = Glm::from_wei(u128::MAX);
    let refused = ledger.fund(wallet(1).address(), everything);
    assert!(matches!(refused, Err(LedgerError::TooLarge)));
    assert_eq!(ledger.balance(wallet(1).address()).unwrap(), glm(100));
}

#[test]
fn a_file_in_use_and_a_file_that_is_none_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let first = EmbeddedLedger::open(&path).unwrap();
    let second = EmbeddedLedger::open(&path).unwrap_err();
    assert!(matches!(second, LedgerError::Store(StoreError::InUse(_))));
    assert!(second.to_string().contains("in use"), "{second}");
    drop(first);
    EmbeddedLedger::open(&path).unwrap();
    std::fs::write(&path, b"not a ledger, but long enough to look at").unwrap();
    let damaged = EmbeddedLedger::open(&path).unwrap_err();
    assert!(
        matches!(damaged, LedgerError::Store(StoreError::Open { .. })),
        "{damaged}"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Fund(u64),
    Open(u8, u64),
    TopUp(u8, u64),
    Redeem(u8, u64),
    Release(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..50u64).prop_map(Step::Fund),
        (0..3u8, 0..60u64).prop_map(|(epoch, amount)| Step::Open(epoch, amount)),
        (0..3u8, 0..40u64).prop_map(|(epoch, amount)| Step::TopUp(epoch, amount)),
        (0..3u8, 0..120u64).prop_map(|(epoch, amount)| Step::Redeem(epoch, amount)),
        (0..3u8).prop_map(Step::Release),
        Just(Step::Restart),
    ]
}

fn apply(ledger: &EmbeddedLedger, accounts: &Accounts, step: &Step) -> Result<(), LedgerError> {
    let key = |epoch: u8| EscrowKey {
        requestor: accounts.requestor.address(),
        worker: accounts.worker,
        epoch: epoch.into(),
    };
    match *step {
        Step::Fund(amount) => ledger.fund(accounts.requestor.address(), glm(amount)),
        Step::Open(epoch, amount) => ledger.open(&key(epoch), glm(amount)),
        Step::TopUp(epoch, amount) => ledger.top_up(&key(epoch), glm(amount)),
        Step::Redeem(epoch, amount) => {
            let mut promise = voucher(ledger, accounts, glm(amount)).voucher;
            promise.epoch = epoch.into();
            let signed = accounts.requestor.sign_voucher(&promise).unwrap();
            ledger.redeem(&signed).map(|redeemed| {
                let covered = redeemed.cumulative_claimed.checked_add(redeemed.short);
                assert!(covered.unwrap() >= glm(amount));
                assert!(redeemed.paid <= glm(amount));
            })
        }
        Step::Release(epoch) => ledger
            .release(&key(epoch))
            .map(|release| assert!(matches!(release, Release::Returned(_)))),
        Step::Restart => Ok(()),
    }
}

/// What an observer sees: balances of both accounts, claimed in each epoch.
fn view(ledger: &EmbeddedLedger, accounts: &Accounts) -> (Glm, Glm, Vec<Glm>) {
    let requestor: Address = accounts.requestor.address();
    let claimed = (0..3)
        .map(|epoch| {
            let key = EscrowKey {
                requestor,
                worker: accounts.worker,
                epoch,
            };
            let escrow = ledger.escrow(&key).unwrap();
            escrow.map_or(Glm::ZERO, |escrow| {
                assert!(escrow.claimed <= escrow.deposit);
                escrow.claimed
            })
        })
        .collect();
    (
        ledger.balance(requestor).unwrap(),
        ledger.balance(accounts.worker).unwrap(),
        claimed,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_nothing_is_lost_and_claims_only_grow(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let accounts = accounts();
        let mut ledger = funded(folder.path());
        for step in &steps {
            let before = view(&ledger, &accounts);
            let result = apply(&ledger, &accounts, step);
            if let Step::Restart = step {
                drop(ledger);
                ledger = EmbeddedLedger::open(folder.path().join("ledger.redb")).unwrap();
            }
            let after = view(&ledger, &accounts);
            if result.is_err() || matches!(step, Step::Restart) {
                prop_assert_eq!(&before, &after);
            }
            prop_assert!(ledger.totals().unwrap().is_conserved());
            prop_assert!(before.2.iter().zip(&after.2).all(|(before, after)| before <= after));
            prop_assert_eq!(after.2.iter().copied().sum::<Glm>(), after.1);
        }
    }
}
