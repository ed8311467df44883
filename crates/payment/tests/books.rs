//! The books of requestor and worker together with a ledger: replay, restart, kill, settlement.

use payment::{
    Cover, EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, EarningsBook, EarningsError, EmbeddedLedger,
    Escrow, EscrowKey, FAUCET, Ledger, Release, Settled, StoreError, Summary, VoucherBook,
    VoucherBookError, VoucherError, Wallet, cover, fund_escrow, settle, settle_many,
};
use protocol::{
    Address, Blake3Hash, Glm, JobId,
    message::{Release as Agreement, SignedVoucher},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const JOB: JobId = JobId([5; 16]);
const OTHER_JOB: JobId = JobId([6; 16]);

fn wallet() -> Wallet {
    Wallet::from_secret(&[1; 32]).unwrap()
}

fn worker() -> Address {
    Address([2; 20])
}

fn receipts(number: u64) -> Blake3Hash {
    Blake3Hash::of(&number.to_le_bytes())
}

fn glm(amount: u64) -> Glm {
    Glm::from_glm(amount)
}

fn voucher_book(folder: &Path) -> VoucherBook {
    VoucherBook::open(
        folder.join("vouchers.redb"),
        wallet(),
        EMBEDDED_CHAIN_ID,
        EMBEDDED_CONTRACT,
    )
    .unwrap()
}

fn earnings_book(folder: &Path) -> EarningsBook {
    EarningsBook::open(
        folder.join("earnings.redb"),
        worker(),
        EMBEDDED_CHAIN_ID,
        EMBEDDED_CONTRACT,
    )
    .unwrap()
}

fn ledger(folder: &Path) -> EmbeddedLedger {
    let ledger = EmbeddedLedger::open(folder.join("ledger.redb")).unwrap();
    ledger.fund_first_time(wallet().address()).unwrap();
    ledger
}

fn raise_to(book: &VoucherBook, total: u64) -> SignedVoucher {
    book.raise_to(worker(), JOB, glm(total), receipts(total))
        .unwrap()
}

#[test]
fn promises_grow_through_restarts_and_a_tile_is_paid_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = raise_to(&voucher_book(folder.path()), 2);
    let book = voucher_book(folder.path());
    let second = raise_to(&book, 5);
    assert_eq!(
        (first.voucher.cumulative, first.voucher.sequence),
        (glm(2), 1)
    );
    assert_eq!(
        (second.voucher.cumulative, second.voucher.sequence),
        (glm(5), 2)
    );
    assert_ne!(first.voucher.receipts_root, second.voucher.receipts_root);
    assert_eq!(raise_to(&book, 5), second);
    assert_eq!(raise_to(&book, 2), second);
    assert_eq!(book.last(worker()).unwrap(), Some(second));
    let most = Glm::from_wei(u128::MAX);
    let too_large = book.raise_to(worker(), OTHER_JOB, most, receipts(3));
    assert!(matches!(too_large, Err(VoucherBookError::TooLarge(_))));
    assert_eq!(book.promised(worker(), OTHER_JOB).unwrap(), Glm::ZERO);
    assert_eq!(raise_to(&book, 6).voucher.sequence, 3);
    let other = book.raise_to(worker(), OTHER_JOB, glm(1), receipts(1));
    assert_eq!(other.unwrap().voucher.cumulative, glm(7));
    let promised = [JOB, OTHER_JOB].map(|job| book.promised(worker(), job).unwrap());
    assert_eq!(promised, [glm(6), glm(1)]);
}

#[test]
fn threads_that_promise_at_once_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let book = voucher_book(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let book = &book;
            scope.spawn(move || {
                let job = JobId([thread; 16]);
                for total in 1..=5 {
                    book.raise_to(worker(), job, glm(total), receipts(total))
                        .unwrap();
                }
            });
        }
    });
    let last = book.last(worker()).unwrap().unwrap().voucher;
    assert_eq!((last.cumulative, last.sequence), (glm(20), 20));
}

#[test]
fn the_worker_keeps_the_highest_voucher() {
    let folder = tempfile::tempdir().unwrap();
    let book = voucher_book(folder.path());
    let [first, second, third] = [2, 5, 9].map(|total| raise_to(&book, total));
    {
        let earnings = earnings_book(folder.path());
        assert_eq!(earnings.accept(first).unwrap(), glm(2));
        assert_eq!(earnings.accept(third).unwrap(), glm(7));
    }
    let earnings = earnings_book(folder.path());
    assert_eq!(earnings.accept(third).unwrap(), Glm::ZERO);
    assert!(matches!(
        earnings.accept(second),
        Err(EarningsError::OldSequence {
            sequence: 2,
            last: 3
        })
    ));
    let resign = |cumulative: Glm, sequence: u64| {
        let mut voucher = third.voucher;
        (voucher.cumulative, voucher.sequence) = (cumulative, sequence);
        wallet().sign_voucher(&voucher).unwrap()
    };
    assert!(matches!(
        earnings.accept(resign(glm(50), 3)),
        Err(EarningsError::OldSequence { .. })
    ));
    assert!(matches!(
        earnings.accept(resign(glm(8), 4)),
        Err(EarningsError::Lower { .. })
    ));
    let summary = earnings.summary().unwrap().escrows;
    assert_eq!(summary.len(), 1);
    assert_eq!(summary[0].signed, third);
    assert_eq!(summary[0].promised(), glm(9));
    assert_eq!(summary[0].requestor(), wallet().address());
}

#[test]
fn the_worker_refuses_what_it_could_not_cash() {
    let folder = tempfile::tempdir().unwrap();
    let good = raise_to(&voucher_book(folder.path()), 2);
    let earnings = earnings_book(folder.path());
    let mut other = good.voucher;
    other.worker = Address([3; 20]);
    let refused = earnings.accept(wallet().sign_voucher(&other).unwrap());
    assert!(matches!(refused, Err(EarningsError::OtherWorker { .. })));
    for (chain_id, contract) in [(1, EMBEDDED_CONTRACT), (0, Address([1; 20]))] {
        let mut other = good.voucher;
        (other.chain_id, other.contract) = (chain_id, contract);
        let refused = earnings.accept(wallet().sign_voucher(&other).unwrap());
        assert!(matches!(
            refused,
            Err(EarningsError::Voucher(VoucherError::OtherLedger { .. }))
        ));
    }
    let mut forged = good;
    forged.voucher.cumulative = glm(1_000_000);
    assert!(matches!(
        earnings.accept(forged),
        Err(EarningsError::Voucher(
            VoucherError::WrongSigner { .. } | VoucherError::NotASignature
        ))
    ));
    assert_eq!(earnings.summary().unwrap(), Summary::default());
}

#[test]
fn earnings_can_be_read_while_the_worker_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("earnings.redb");
    assert!(matches!(
        EarningsBook::read(&path),
        Err(StoreError::Open { .. })
    ));
    let book = voucher_book(folder.path());
    let earnings = earnings_book(folder.path());
    earnings.accept(raise_to(&book, 2)).unwrap();
    assert_eq!(
        EarningsBook::read(&path).unwrap().escrows[0].promised(),
        glm(2)
    );
    earnings.accept(raise_to(&book, 4)).unwrap();
    assert_eq!(
        EarningsBook::read(&path).unwrap().escrows[0].promised(),
        glm(4)
    );
    let second = EarningsBook::open(&path, worker(), EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT);
    assert!(matches!(second, Err(StoreError::InUse(_))));
}

#[test]
fn earnings_of_a_killed_worker_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let earnings = earnings_book(folder.path());
    let book = voucher_book(folder.path());
    earnings.accept(raise_to(&book, 2)).unwrap();
    // What a kill leaves behind: the file of a book that was never closed.
    let left = folder.path().join("left.redb");
    std::fs::copy(folder.path().join("earnings.redb"), &left).unwrap();
    assert_eq!(
        EarningsBook::read(&left).unwrap().escrows[0].promised(),
        glm(2)
    );
}

fn key(epoch: u64) -> EscrowKey {
    EscrowKey {
        requestor: wallet().address(),
        worker: worker(),
        epoch,
    }
}

#[test]
fn what_jobs_promised_adds_up_through_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let book = voucher_book(folder.path());
    let other = |total| {
        book.raise_to(worker(), OTHER_JOB, glm(total), receipts(total))
            .unwrap()
    };
    for signed in [raise_to(&book, 2), other(3), raise_to(&book, 5)] {
        let earnings = earnings_book(folder.path());
        earnings.accept(signed).unwrap();
        assert_eq!(earnings.accept(signed).unwrap(), Glm::ZERO);
    }
    let jobs = EarningsBook::read(folder.path().join("earnings.redb"))
        .unwrap()
        .jobs;
    let jobs: Vec<_> = jobs.iter().map(|row| (row.job, row.promised)).collect();
    assert_eq!(jobs, [(JOB, glm(5)), (OTHER_JOB, glm(3))]);
}

#[test]
fn what_became_of_an_escrow_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let book = voucher_book(folder.path());
    let seen = |deposit, claimed, withdrawable_at| Escrow {
        deposit: glm(deposit),
        claimed: glm(claimed),
        released: false,
        withdrawable_at,
    };
    {
        let earnings = earnings_book(folder.path());
        earnings.accept(raise_to(&book, 5)).unwrap();
        let row = earnings.summary().unwrap().escrows[0];
        assert_eq!((row.redeemable(), row.progress.seen), (Glm::ZERO, None));
        assert!(row.is_open() && row.progress.waits_since.is_some());
        earnings.note(&key(0), &seen(4, 1, None)).unwrap();
        assert_eq!(earnings.summary().unwrap().escrows[0].redeemable(), glm(3));
        earnings.note(&key(0), &seen(8, 5, Some(7))).unwrap();
    }
    let earnings = earnings_book(folder.path());
    let row = earnings.summary().unwrap().escrows[0];
    assert_eq!(row.progress.claimed, glm(5));
    assert_eq!(row.progress.withdrawable_at, Some(7));
    assert_eq!((row.redeemable(), row.is_open()), (Glm::ZERO, false));
    assert_eq!(row.progress.waits_since, None);
    earnings.accept(raise_to(&book, 6)).unwrap();
    assert!(earnings.progress(&key(0)).unwrap().waits_since.is_some());
    earnings.note_over(&key(0)).unwrap();
    let row = earnings.summary().unwrap().escrows[0];
    assert_eq!((row.redeemable(), row.is_open()), (Glm::ZERO, false));
    assert_eq!(row.progress.claimed, glm(5));
}

#[test]
fn an_agreed_end_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    {
        let earnings = earnings_book(folder.path());
        assert_eq!(earnings.agreed().unwrap(), []);
        earnings.agree(&key(0), glm(2)).unwrap();
        earnings.agree(&key(1), glm(7)).unwrap();
        earnings.agree(&key(1), glm(4)).unwrap();
    }
    let earnings = earnings_book(folder.path());
    assert_eq!(earnings.agreed().unwrap(), [key(1)]);
    let progress = earnings.progress(&key(1)).unwrap();
    assert_eq!(progress.released.map(|(most, _)| most), Some(glm(7)));
    earnings.note_over(&key(1)).unwrap();
    assert_eq!(earnings.progress(&key(1)).unwrap().claimed, glm(7));
}

/// The table of vouchers is all that a book of an earlier release has.
#[test]
fn a_book_of_an_earlier_release_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("earnings.redb");
    let book = voucher_book(folder.path());
    let signed = raise_to(&book, 2);
    {
        let voucher = signed.voucher;
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        type Key = (u64, &'static [u8; 20], &'static [u8; 20], u64);
        let table = redb::TableDefinition::<Key, &[u8]>::new("vouchers");
        let place = (0, &voucher.contract.0, &voucher.requestor.0, 0);
        let bytes = postcard::to_stdvec(&signed).unwrap();
        let mut vouchers = transaction.open_table(table).unwrap();
        vouchers.insert(place, bytes.as_slice()).unwrap();
        drop(vouchers);
        transaction.commit().unwrap();
    }
    let old = EarningsBook::read(&path).unwrap();
    assert_eq!((old.escrows[0].signed, old.jobs.len()), (signed, 0));
    let earnings = earnings_book(folder.path());
    assert_eq!(earnings.accept(raise_to(&book, 5)).unwrap(), glm(3));
    let summary = earnings.summary().unwrap();
    assert_eq!(summary.escrows[0].promised(), glm(5));
    assert_eq!(summary.jobs[0].promised, glm(3));
}

#[test]
fn a_job_is_covered_paid_and_settled_and_the_next_uses_a_new_escrow() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    for epoch in 0..2 {
        let key = fund_escrow(&ledger, &book, worker(), glm(5)).unwrap();
        assert_eq!(key.epoch, epoch);
        raise_to(&book, 3 * (epoch + 1));
        fund_escrow(&ledger, &book, worker(), glm(4)).unwrap();
        let escrow = ledger.escrow(&key).unwrap().unwrap();
        assert_eq!(escrow.deposit, glm(7));
        let settlement = settle(&ledger, &book, worker()).unwrap();
        assert_eq!((settlement.paid, settlement.short), (glm(3), Glm::ZERO));
        assert_eq!(settlement.release, Some(Release::Returned(glm(4))));
        assert_eq!(book.last(worker()).unwrap(), None);
    }
    assert_eq!(ledger.balance(worker()).unwrap(), glm(6));
    assert!(ledger.totals().unwrap().is_conserved());
}

#[test]
fn what_is_spare_is_cut_from_all_alike_where_there_is_too_little() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    let covers = [(worker(), 3_000), (Address([3; 20]), 1_000)].map(|(worker, spare)| Cover {
        worker,
        unpromised: glm(100),
        spare: glm(spare),
    });
    let deposits = cover(&ledger, &book, &covers).unwrap();
    // 1,000 GLM are there and 200 needed: a fifth of what is spare remains.
    for (covered, most) in deposits.iter().zip([700, 300]) {
        let missing = glm(most).checked_sub(covered.deposit).unwrap();
        assert!(missing < Glm::from_wei(1_000_000_000_000), "{covered:?}");
    }
    // Nothing is put in where nothing lacks, and what is needed is put in to the last wei.
    assert_eq!(cover(&ledger, &book, &covers).unwrap(), deposits);
    let rest = ledger.balance(wallet().address()).unwrap();
    let more = Cover {
        unpromised: deposits[0].deposit.checked_add(rest).unwrap(),
        ..covers[0]
    };
    cover(&ledger, &book, &[more]).unwrap();
    assert_eq!(ledger.balance(wallet().address()).unwrap(), Glm::ZERO);
}

#[test]
fn a_short_promise_keeps_the_escrow_open_until_it_is_covered() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    fund_escrow(&ledger, &book, worker(), glm(2)).unwrap();
    raise_to(&book, 5);
    let settlement = settle(&ledger, &book, worker()).unwrap();
    assert_eq!((settlement.paid, settlement.short), (glm(2), glm(3)));
    assert_eq!(settlement.release, None);
    fund_escrow(&ledger, &book, worker(), Glm::ZERO).unwrap();
    let settlement = settle(&ledger, &book, worker()).unwrap();
    assert_eq!(
        (settlement.paid, settlement.cumulative_claimed),
        (glm(3), glm(5))
    );
    assert_eq!(settlement.release, Some(Release::Returned(Glm::ZERO)));
}

#[test]
fn a_release_that_is_not_covered_keeps_nobody_from_being_paid() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    let workers = [2, 3].map(|number| Wallet::from_secret(&[number; 32]).unwrap());
    let payees = workers.each_ref().map(Wallet::address);
    let covers = payees.map(|worker| Cover {
        worker,
        unpromised: glm(4),
        spare: Glm::ZERO,
    });
    cover(&ledger, &book, &covers).unwrap();
    for (at, promised) in [(0, 6), (1, 3)] {
        book.raise_to(payees[at], JOB, glm(promised), receipts(1))
            .unwrap();
        let release = Agreement {
            chain_id: EMBEDDED_CHAIN_ID,
            contract: EMBEDDED_CONTRACT,
            requestor: wallet().address(),
            worker: payees[at],
            epoch: 0,
            cumulative: glm(promised),
        };
        book.keep_release(&workers[at].sign_release(&release).unwrap())
            .unwrap();
    }
    let settled = settle_many(&ledger, &book, &payees, true).unwrap();
    let (paid, left) = (glm(4), Glm::ZERO);
    assert_eq!(settled[0], (payees[0], Settled::Paid { paid, left }));
    let (paid, returned) = (glm(3), glm(1));
    assert_eq!(settled[1], (payees[1], Settled::Closed { paid, returned }));
    assert_eq!(
        payees.map(|payee| ledger.balance(payee).unwrap()),
        [glm(4), glm(3)]
    );
}

#[test]
fn what_a_worker_agreed_to_is_closed_by_the_next_process_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Wallet::from_secret(&[7; 32]).unwrap();
    let (worker, job) = (hand.address(), JOB);
    let release = |epoch, cumulative| Agreement {
        chain_id: EMBEDDED_CHAIN_ID,
        contract: EMBEDDED_CONTRACT,
        requestor: wallet().address(),
        worker,
        epoch,
        cumulative,
    };
    let need = |unpromised| Cover {
        worker,
        unpromised: glm(unpromised),
        spare: Glm::ZERO,
    };
    {
        let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
        cover(&ledger, &book, &[need(5)]).unwrap();
        book.raise_to(worker, job, glm(3), receipts(1)).unwrap();
        // More than it is owed, or what it did not sign: the escrow goes on.
        let mut forged = hand.sign_release(&release(0, glm(2))).unwrap();
        forged.release.cumulative = glm(3);
        for wrong in [hand.sign_release(&release(0, glm(5))).unwrap(), forged] {
            book.keep_release(&wrong).unwrap();
            assert_eq!(cover(&ledger, &book, &[need(1)]).unwrap()[0].key.epoch, 0);
        }
        assert_eq!(ledger.balance(worker).unwrap(), Glm::ZERO);
        let agreed = hand.sign_release(&release(0, glm(3))).unwrap();
        book.keep_release(&agreed).unwrap();
    }
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    let covered = cover(&ledger, &book, &[need(2)]).unwrap();
    assert_eq!((covered[0].key.epoch, covered[0].deposit), (1, glm(2)));
    assert_eq!(ledger.balance(worker).unwrap(), glm(3));
    let spent = FAUCET.checked_sub(ledger.balance(wallet().address()).unwrap());
    assert_eq!(spent, Some(glm(5)));
}

#[test]
fn a_stop_between_release_and_book_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
        let key = fund_escrow(&ledger, &book, worker(), glm(5)).unwrap();
        ledger.redeem(&raise_to(&book, 3)).unwrap();
        ledger.release(&key).unwrap();
    }
    let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
    let key = fund_escrow(&ledger, &book, worker(), glm(1)).unwrap();
    assert_eq!(key.epoch, 1);
    let replayed = raise_to(&book, 3).voucher;
    assert_eq!((replayed.epoch, replayed.cumulative), (1, Glm::ZERO));
    assert_eq!(raise_to(&book, 4).voucher.cumulative, glm(1));
    let settlement = settle(&ledger, &book, worker()).unwrap();
    assert_eq!(settlement.paid, glm(1));
    assert_eq!(ledger.balance(worker()).unwrap(), glm(4));
}

const CRASH_FOLDER: &str = "PAYMENT_TEST_CRASH_FOLDER";

/// Pays tile after tile and settles now and then, telling of each voucher only after it was made.
fn pay_until_killed(folder: &Path) -> ! {
    let (ledger, book) = (ledger(folder), voucher_book(folder));
    let started = book
        .last(worker())
        .unwrap()
        .map_or(0, |l| l.voucher.sequence);
    let epoch = book.epoch(worker()).unwrap();
    // A job of its own for each process: totals begin anew.
    let mut job = JobId([7; 16]);
    job.0[..8].copy_from_slice(&((epoch << 32) + started).to_le_bytes());
    for number in 0.. {
        fund_escrow(&ledger, &book, worker(), Glm::from_wei(1)).unwrap();
        let total = Glm::from_wei(u128::from(number) + 1);
        let signed = book
            .raise_to(worker(), job, total, receipts(number))
            .unwrap();
        let voucher = signed.voucher;
        println!("voucher {} {}", voucher.epoch, voucher.sequence);
        std::io::stdout().flush().unwrap();
        ledger.redeem(&signed).unwrap();
        if number % 5 == 4 {
            settle(&ledger, &book, worker()).unwrap();
        }
    }
    unreachable!()
}

#[test]
fn a_killed_requestor_loses_no_promise_and_no_money() {
    if let Some(folder) = std::env::var_os(CRASH_FOLDER) {
        pay_until_killed(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut told = (0, 0);
    for vouchers_before_kill in [1, 4, 7, 11] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "a_killed_requestor_loses_no_promise_and_no_money",
                "--exact",
                "--nocapture",
            ])
            .env(CRASH_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let vouchers: Vec<(u64, u64)> = lines
            .map_while(Result::ok)
            .filter_map(|line| {
                let (_, numbers) = line.split_once("voucher ")?;
                let (epoch, sequence) = numbers.split_once(' ')?;
                Some((epoch.parse().ok()?, sequence.parse().ok()?))
            })
            .take(vouchers_before_kill)
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(vouchers.len(), vouchers_before_kill);
        for voucher in vouchers {
            assert!(voucher > told, "{voucher:?} after {told:?}");
            told = voucher;
        }
        let (ledger, book) = (ledger(folder.path()), voucher_book(folder.path()));
        assert!(ledger.totals().unwrap().is_conserved());
        let kept = book
            .last(worker())
            .unwrap()
            .map_or(0, |l| l.voucher.sequence);
        assert!((book.epoch(worker()).unwrap(), kept) >= told);
    }
}
