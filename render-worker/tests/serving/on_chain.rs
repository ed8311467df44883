//! What a worker does for requestors who pay on a chain: nothing that is not covered, nothing once the end is announced.

use crate::{
    away::{GATED_FRAME, Gate, gated},
    chain::{CHAIN_TIME_MAX, Payer, account, glm, new_wallet, settings, terms},
    requestor::{Requestor, Worker, tile},
};
use payment::{Ledger, Wallet, chain::DevChain, voucher::verify_release_on};
use protocol::{
    Glm, JobSpec, TaskId,
    message::{Reply, Request, SignedRelease, SignedVoucher, Terms},
};
use std::{path::Path, sync::Arc};
use tokio::task::block_in_place;

/// A worker that asks 1 GLM for each of the tests' tiles: 16 x 8 pixels of core, two samples each.
async fn worker(wallet: &Wallet, folder: &Path) -> (Worker, Arc<Gate>) {
    let chain = block_in_place(|| account(wallet, folder));
    gated(|config| {
        config.terms = terms();
        config.payee = wallet.address();
        config.chain = Some(chain);
        config.price_megasample = Glm::from_glm(1_000_000)
            .checked_mul_ratio(1, 16 * 8 * 2)
            .unwrap();
    })
    .await
}

/// A requestor with a job that is ready, on an escrow of so much in epoch 0.
async fn requestor(worker: &Worker, payer: &Payer, deposit: Option<u64>) -> (Requestor, JobSpec) {
    if let Some(deposit) = deposit {
        block_in_place(|| payer.open(0, glm(deposit)));
    }
    let mut requestor = Requestor::of(worker).await;
    (requestor.payer, requestor.terms) = (payer.wallet.address(), terms());
    let job = requestor.job();
    let reply = requestor.offer(&job).await;
    assert!(matches!(reply, Reply::Quote { .. }), "{reply:?}");
    requestor.prepare(&job).await;
    (requestor, job)
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn pay(requestor: &Requestor, job: &JobSpec, signed: SignedVoucher) -> Reply {
    let job = job.id;
    requestor.ask(Request::Voucher { job, signed }).await
}

async fn release(requestor: &Requestor, job: &JobSpec, epoch: u64, cumulative: u64) -> Reply {
    let release = Request::Release {
        job: job.id,
        epoch,
        cumulative: glm(cumulative),
    };
    requestor.ask(release).await
}

fn released(reply: Reply) -> SignedRelease {
    match reply {
        Reply::Released(signed) => *signed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_taken_as_far_as_the_escrow_covers_them() {
    let (wallet, folder) = (new_wallet(), tempfile::tempdir().unwrap());
    let payer = block_in_place(|| Payer::of(wallet.address()));
    let (worker, _) = worker(&wallet, folder.path()).await;
    let (mut requestor, job) = requestor(&worker, &payer, None).await;
    let tasks = [1, 2, 3].map(|id| tile(id, 1));
    let reason = refusal(requestor.try_lease(&job, &tasks[..1]).await);
    assert!(reason.contains("no escrow"), "{reason}");

    block_in_place(|| payer.open(0, glm(2)));
    requestor.lease(&job, &tasks[..2]).await;
    // A lease that comes again costs nothing.
    requestor.lease(&job, &tasks[1..2]).await;
    let reason = refusal(requestor.try_lease(&job, &tasks[2..]).await);
    assert!(reason.ends_with("add 1 GLM"), "{reason}");
    // What was accepted is owed, and what is promised stays so.
    requestor.accept(&job, &tasks[0]).await;
    let reason = refusal(requestor.try_lease(&job, &tasks[2..]).await);
    assert!(reason.ends_with("add 1 GLM"), "{reason}");
    let next_epoch = payer.voucher(1, job.id, 1);
    let reason = refusal(pay(&requestor, &job, next_epoch).await);
    assert!(reason.contains("present escrow"), "{reason}");
    let voucher = payer.voucher(0, job.id, 1);
    assert_eq!(pay(&requestor, &job, voucher).await, Reply::Done);
    let reason = refusal(requestor.try_lease(&job, &tasks[2..]).await);
    assert!(reason.ends_with("add 1 GLM"), "{reason}");
    requestor.accept(&job, &tasks[1]).await;
    block_in_place(|| payer.ledger.top_up(&payer.key(0), glm(1)).unwrap());
    requestor.lease(&job, &tasks[2..]).await;
    requestor.accept(&job, &tasks[2]).await;
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_withdrawal_stops_the_work_and_has_the_voucher_redeemed() {
    let (wallet, folder) = (new_wallet(), tempfile::tempdir().unwrap());
    let payer = block_in_place(|| Payer::of(wallet.address()));
    let (worker, gate) = worker(&wallet, folder.path()).await;
    let (mut requestor, job) = requestor(&worker, &payer, Some(5)).await;
    let done = tile(1, 1);
    requestor.lease(&job, std::slice::from_ref(&done)).await;
    requestor.accept(&job, &done).await;
    let voucher = payer.voucher(0, job.id, 1);
    assert_eq!(pay(&requestor, &job, voucher).await, Reply::Done);
    // Two tasks that would never end, and nobody redeems one GLM for a tenth.
    let tasks = [tile(2, GATED_FRAME), tile(3, GATED_FRAME)];
    requestor.lease(&job, &tasks).await;

    block_in_place(|| payer.announce(0));
    let heard = tokio::time::timeout(CHAIN_TIME_MAX, requestor.hear()).await;
    match heard.expect("the work stops") {
        Request::Failed { task, reason, .. } => {
            assert_eq!(
                (task, reason.contains("announced")),
                (None, true),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    block_in_place(|| payer.wait_for_pay(glm(1)));
    gate.wait(|counts| counts.rendered == 0);
    let reason = refusal(requestor.try_lease(&job, &[tile(4, 1)]).await);
    assert!(reason.contains("not ready"), "{reason}");
    // The engine is free for others, whose escrow is open.
    let other = block_in_place(|| Payer::of(wallet.address()));
    let (mut second, second_job) = self::requestor(&worker, &other, Some(1)).await;
    second.lease(&second_job, std::slice::from_ref(&done)).await;
    second.accept(&second_job, &done).await;
    let voucher = other.voucher(0, second_job.id, 1);
    assert_eq!(pay(&second, &second_job, voucher).await, Reply::Done);
    // The one that withdraws may come again, and gets nothing done.
    assert!(matches!(requestor.offer(&job).await, Reply::Quote { .. }));
    requestor.prepare(&job).await;
    refusal(requestor.try_lease(&job, &[tile(4, 1)]).await);
    // Who has no job any more is not forgotten.
    let job = second_job.id;
    assert_eq!(second.ask(Request::Close { job }).await, Reply::Done);
    block_in_place(|| {
        other.announce(0);
        other.wait_for_pay(glm(2));
    });
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_agreed_to_when_nothing_is_owed_and_kept_to_after_a_restart() {
    let (wallet, folder) = (new_wallet(), tempfile::tempdir().unwrap());
    let payer = block_in_place(|| Payer::of(wallet.address()));
    let (first, gate) = worker(&wallet, folder.path()).await;
    let (mut requestor, job) = requestor(&first, &payer, Some(3)).await;
    let task = tile(1, GATED_FRAME);
    requestor.lease(&job, std::slice::from_ref(&task)).await;
    let reason = refusal(release(&requestor, &job, 0, 3).await);
    assert!(reason.contains("not judged"), "{reason}");
    gate.allow(1);
    requestor.accept(&job, &task).await;
    let reason = refusal(release(&requestor, &job, 0, 0).await);
    assert!(reason.contains("owed"), "{reason}");
    let voucher = payer.voucher(0, job.id, 2);
    assert_eq!(pay(&requestor, &job, voucher).await, Reply::Done);
    for (epoch, cumulative) in [(0, 1), (0, 4), (1, 2)] {
        refusal(release(&requestor, &job, epoch, cumulative).await);
    }
    // What was refused is forgotten: the escrow still serves.
    requestor.lease(&job, &[tile(2, 1)]).await;
    requestor.accept(&job, &tile(2, 1)).await;
    let signed = released(release(&requestor, &job, 0, 3).await);
    assert_eq!(released(release(&requestor, &job, 0, 3).await), signed);
    let Terms::Escrow { chain_id, contract } = terms() else {
        panic!("no chain");
    };
    assert_eq!(verify_release_on(&signed, chain_id, contract), Ok(()));
    let reason = refusal(requestor.try_lease(&job, &[tile(3, 1)]).await);
    assert!(reason.contains("agreed to the end"), "{reason}");
    first.end().await;

    let (second, _) = worker(&wallet, folder.path()).await;
    let (mut requestor, job) = self::requestor(&second, &payer, None).await;
    let reason = refusal(requestor.try_lease(&job, &[tile(3, 1)]).await);
    assert!(reason.contains("agreed to the end"), "{reason}");
    block_in_place(|| {
        let returned = payer.ledger.close(&[signed]).unwrap();
        assert_eq!(returned, [Glm::ZERO]);
        payer.wait_for_pay(glm(3));
        payer.open(1, glm(1));
    });
    requestor.lease(&job, &[tile(3, 1)]).await;
    requestor.accept(&job, &tile(3, 1)).await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_coins_works_on_and_redeems_once_it_has_some() {
    let (wallet, folder) = (new_wallet(), tempfile::tempdir().unwrap());
    let payer = block_in_place(|| Payer::of(wallet.address()));
    let (worker, _) = worker(&wallet, folder.path()).await;
    block_in_place(|| {
        let rpc = settings().rpc().unwrap();
        let nothing = serde_json::json!([wallet.address().to_string(), "0x0"]);
        rpc.call("anvil_setBalance", nothing).unwrap();
    });
    let (mut requestor, job) = requestor(&worker, &payer, Some(30)).await;
    // Twenty times the fee and more.
    let voucher = payer.voucher(0, job.id, 28);
    assert_eq!(pay(&requestor, &job, voucher).await, Reply::Done);
    for id in 1..3 {
        let task = tile(id, 1);
        requestor.lease(&job, std::slice::from_ref(&task)).await;
        requestor.accept(&job, &task).await;
    }
    block_in_place(|| {
        DevChain::give_coins(&settings(), wallet.address()).unwrap();
        payer.wait_for_pay(glm(28));
    });
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_works_for_nothing_says_so_and_takes_no_vouchers() {
    let worker = Worker::start(|config| config.terms = Terms::Free).await;
    let mut requestor = Requestor::of(&worker).await;
    let job = requestor.job();
    assert!(matches!(
        requestor.offer(&job).await,
        Reply::Declined { .. }
    ));
    requestor.terms = Terms::Free;
    let Reply::Quote {
        price_megasample, ..
    } = requestor.offer(&job).await
    else {
        panic!("no quote");
    };
    assert_eq!(price_megasample, Glm::ZERO);
    requestor.prepare(&job).await;
    requestor.lease(&job, &[tile(1, 1)]).await;
    assert_eq!(requestor.hear_commitment().await.task, TaskId(1));
    let mut voucher = block_in_place(|| Payer::of(new_wallet().address())).voucher(0, job.id, 1);
    voucher.voucher.requestor = requestor.payer;
    let reason = refusal(pay(&requestor, &job, voucher).await);
    assert!(reason.contains("for nothing"), "{reason}");
    worker.end().await;
}
