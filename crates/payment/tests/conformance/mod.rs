//! What every implementation of [`Ledger`] must do, whatever moves the money.

use payment::{EscrowKey, Ledger, LedgerError, Release, Totals, VoucherError, Wallet};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{Release as Agreement, SignedVoucher, Voucher},
};

/// A requestor whose account holds 100 GLM, and a worker account unused so far.
pub struct Accounts {
    /// Signs the vouchers; the ledger can spend for it.
    pub requestor: Wallet,
    /// Is paid.
    pub worker: Address,
}

pub fn glm(amount: u64) -> Glm {
    Glm::from_glm(amount)
}

/// A voucher of the requestor in epoch 0.
pub fn voucher(ledger: &dyn Ledger, accounts: &Accounts, cumulative: Glm) -> SignedVoucher {
    let voucher = Voucher {
        chain_id: ledger.chain_id(),
        contract: ledger.contract(),
        requestor: accounts.requestor.address(),
        worker: accounts.worker,
        epoch: 0,
        job: JobId([7; 16]),
        cumulative,
        sequence: 1,
        receipts_root: Blake3Hash([9; 32]),
    };
    accounts.requestor.sign_voucher(&voucher).unwrap()
}

fn key(accounts: &Accounts) -> EscrowKey {
    EscrowKey {
        requestor: accounts.requestor.address(),
        worker: accounts.worker,
        epoch: 0,
    }
}

fn conserved(ledger: &dyn Ledger) -> Totals {
    let totals = ledger.totals().unwrap();
    assert!(totals.is_conserved(), "{totals:?}");
    totals
}

/// Takes back what is left, with `pass` for the seconds of a thaw.
fn take_back(ledger: &dyn Ledger, key: &EscrowKey, pass: &dyn Fn(u64)) -> Glm {
    const DAY_S: u64 = 24 * 3600;
    for _ in 0..4 {
        match ledger.release(key).unwrap() {
            Release::Returned(rest) => return rest,
            Release::Thawing { .. } => pass(DAY_S),
        }
    }
    panic!("a thaw of more than three days");
}

/// Opens, redeems beyond the deposit, tops up, redeems again, releases: every step, and each again.
pub fn check_life_of_an_escrow(ledger: &dyn Ledger, accounts: &Accounts, pass: &dyn Fn(u64)) {
    let (key, requestor) = (key(accounts), accounts.requestor.address());
    let supply = conserved(ledger).supply;
    assert_eq!(ledger.escrow(&key).unwrap(), None);
    ledger.open(&key, glm(10)).unwrap();
    assert_eq!(ledger.balance(requestor).unwrap(), glm(90));
    assert!(matches!(
        ledger.open(&key, glm(1)),
        Err(LedgerError::AlreadyOpen(_))
    ));

    let four = voucher(ledger, accounts, glm(4));
    let fifteen = voucher(ledger, accounts, glm(15));
    let redeemed = ledger.redeem(&four).unwrap();
    assert_eq!((redeemed.paid, redeemed.short), (glm(4), Glm::ZERO));
    let replayed = ledger.redeem(&four).unwrap();
    assert_eq!(
        (replayed.paid, replayed.cumulative_claimed),
        (Glm::ZERO, glm(4))
    );

    let beyond = ledger.redeem(&fifteen).unwrap();
    assert_eq!((beyond.paid, beyond.short), (glm(6), glm(5)));
    assert_eq!(ledger.redeem(&four).unwrap().paid, Glm::ZERO);
    ledger.top_up(&key, glm(8)).unwrap();
    let rest = ledger.redeem(&fifteen).unwrap();
    assert_eq!((rest.paid, rest.short), (glm(5), Glm::ZERO));
    assert_eq!(ledger.balance(accounts.worker).unwrap(), glm(15));

    assert_eq!(take_back(ledger, &key, pass), glm(3));
    assert_eq!(ledger.release(&key).unwrap(), Release::Returned(Glm::ZERO));
    assert_eq!(ledger.balance(requestor).unwrap(), glm(85));
    assert!(matches!(
        ledger.top_up(&key, glm(1)),
        Err(LedgerError::Released(_))
    ));
    assert!(matches!(
        ledger.open(&key, glm(1)),
        Err(LedgerError::AlreadyOpen(_))
    ));
    let late = ledger.redeem(&voucher(ledger, accounts, glm(20))).unwrap();
    assert_eq!((late.paid, late.short), (Glm::ZERO, glm(5)));
    let after = conserved(ledger).supply;
    // On a test chain others make money meanwhile.
    assert!(after == supply || ledger.is_chain() && after > supply);
}

/// A worker's release pays what it names, returns the rest without delay, and closes once.
pub fn check_closing_by_release(ledger: &dyn Ledger, worker: &Wallet, accounts: &Accounts) {
    let (key, requestor) = (key(accounts), accounts.requestor.address());
    let release = |cumulative| Agreement {
        chain_id: ledger.chain_id(),
        contract: ledger.contract(),
        requestor,
        worker: worker.address(),
        epoch: 0,
        cumulative,
    };
    let signed = |cumulative| worker.sign_release(&release(cumulative)).unwrap();
    assert!(matches!(
        ledger.close(&[signed(glm(1))]),
        Err(LedgerError::NotOpen(_))
    ));
    ledger.open(&key, glm(10)).unwrap();
    ledger.redeem(&voucher(ledger, accounts, glm(2))).unwrap();
    assert!(matches!(
        ledger.close(&[signed(glm(11))]),
        Err(LedgerError::NotCovered(_))
    ));
    let mut raised = signed(glm(3));
    raised.release.cumulative = glm(1);
    assert!(matches!(
        ledger.close(&[raised]),
        Err(LedgerError::Voucher(VoucherError::WrongReleaser { .. }))
    ));
    assert!(accounts.requestor.sign_release(&release(glm(1))).is_err());
    assert_eq!(ledger.close(&[signed(glm(3))]).unwrap(), [glm(7)]);
    assert_eq!(ledger.close(&[signed(glm(3))]).unwrap(), [Glm::ZERO]);
    assert_eq!(ledger.balance(worker.address()).unwrap(), glm(3));
    assert_eq!(ledger.balance(requestor).unwrap(), glm(97));
    assert!(ledger.escrow(&key).unwrap().unwrap().released);
    conserved(ledger);
}

/// What must be refused, without moving anything.
pub fn check_refusals(ledger: &dyn Ledger, accounts: &Accounts) {
    let key = key(accounts);
    let none = voucher(ledger, accounts, glm(1));
    assert!(matches!(ledger.redeem(&none), Err(LedgerError::NotOpen(_))));
    assert!(matches!(
        ledger.top_up(&key, glm(1)),
        Err(LedgerError::NotOpen(_))
    ));
    assert!(matches!(ledger.release(&key), Err(LedgerError::NotOpen(_))));
    let too_much = ledger.open(&key, Glm::from_wei(glm(100).wei() + 1));
    assert!(matches!(
        too_much,
        Err(LedgerError::InsufficientBalance { .. })
    ));
    assert_eq!(ledger.escrow(&key).unwrap(), None);

    ledger.open(&key, glm(10)).unwrap();
    let good = voucher(ledger, accounts, glm(1));
    let resigned = |change: fn(&mut Voucher)| {
        let mut voucher = good.voucher;
        change(&mut voucher);
        ledger.redeem(&accounts.requestor.sign_voucher(&voucher).unwrap())
    };
    let other_chain = resigned(|voucher| voucher.chain_id += 1);
    let other_contract = resigned(|voucher| voucher.contract.0[0] ^= 1);
    for refused in [other_chain, other_contract] {
        assert!(matches!(
            refused,
            Err(LedgerError::Voucher(VoucherError::OtherLedger { .. }))
        ));
    }
    let other_epoch = resigned(|voucher| voucher.epoch += 1);
    assert!(matches!(other_epoch, Err(LedgerError::NotOpen(_))));
    let other_worker = resigned(|voucher| voucher.worker.0[0] ^= 1);
    assert!(matches!(other_worker, Err(LedgerError::NotOpen(_))));
    let mut raised = good;
    raised.voucher.cumulative = glm(9);
    assert!(matches!(
        ledger.redeem(&raised),
        Err(LedgerError::Voucher(_))
    ));
    assert_eq!(ledger.balance(accounts.worker).unwrap(), Glm::ZERO);
    assert_eq!(ledger.escrow(&key).unwrap().unwrap().claimed, Glm::ZERO);
    conserved(ledger);
}

/// Threads that redeem the same vouchers at once pay each part once.
pub fn check_concurrent_redeeming(ledger: &dyn Ledger, accounts: &Accounts) {
    ledger.open(&key(accounts), glm(8)).unwrap();
    let vouchers: Vec<_> = (1..=8)
        .map(|amount| voucher(ledger, accounts, glm(amount)))
        .collect();
    let paid: Glm = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> Glm {
                    let redeem = |signed| ledger.redeem(signed).unwrap().paid;
                    vouchers.iter().map(redeem).sum()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(paid, glm(8));
    assert_eq!(ledger.balance(accounts.worker).unwrap(), glm(8));
    conserved(ledger);
}
