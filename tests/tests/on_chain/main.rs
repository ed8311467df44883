//! Jobs that are paid on a chain: real programs, a real escrow contract on anvil, and accounts that add up to the wei.

mod company;
mod sepolia;

use company::{Chain, Cheat, Worker};
use protocol::{Address, Glm};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};
use tests::{job, job_command, scene, summary, words};

/// What a worker asks for a million samples.
const PRICE: &str = "0.01";
/// 32 tiles of a frame, 64 x 64 pixels with eight samples each.
const JOB: &str = "--frames 1-3 --size 512x256 --samples 8 --tile 64";

fn options(chain: &Chain, more: &str, workers: &[&Worker]) -> String {
    let peers = workers
        .iter()
        .map(|worker| format!("--peer {} ", worker.address));
    let peers: String = peers.collect();
    format!("{JOB} --network dev --rpc {} {more} {peers}", chain.url())
}

/// What the summary says of a worker.
fn row(summary: &serde_json::Value, node: &str) -> serde_json::Value {
    let rows = summary["workers"].as_array().unwrap();
    let found = rows.iter().find(|row| row["worker"] == node);
    found.cloned().unwrap_or_default()
}

fn glm(value: &serde_json::Value) -> Glm {
    value.as_str().unwrap().parse().unwrap()
}

/// Who paid, by the key that made itself.
fn requestor(dir: &Path) -> Address {
    payment::Wallet::load_or_create(dir.join("payment.key"))
        .unwrap()
        .address()
}

#[test]
fn three_workers_are_paid_to_the_wei_and_a_cheat_gets_nothing() {
    let (chain, dir) = (Chain::shared(), tempfile::tempdir().unwrap());
    let workers: Vec<Worker> = (0..3).map(|_| Worker::start(&chain, PRICE)).collect();
    let cheat = Cheat::start(&chain, dir.path());
    let all: Vec<&Worker> = workers.iter().collect();
    // So much work that the cheat gets some, however late its escrow is open.
    let options = options(&chain, &format!("--peer {}", cheat.address), &all)
        .replace("--samples 8", "--samples 24");
    let output = job(dir.path(), &scene("reading_room.glb"), "####.exr", &options);
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    let (mut paid, mut tiles) = (Glm::ZERO, 0);
    for worker in &workers {
        let row = row(&summary, &worker.node);
        let earned = glm(&row["glm"]);
        assert_eq!(chain.balance(worker.payee), earned, "{row}");
        paid = paid.checked_add(earned).unwrap();
        tiles += row["tiles"].as_u64().unwrap();
    }
    assert_eq!(tiles, summary["tiles_accepted"].as_u64().unwrap());
    // Every tile has its price, and what checked tiles of others has one too.
    let checks = glm(&summary["check_glm"]);
    let tile = Glm::from_wei(PRICE.parse::<Glm>().unwrap().wei() * (64 * 64 * 24) / 1_000_000);
    let of_tiles = Glm::from_wei(tile.wei() * u128::from(tiles));
    assert_eq!(of_tiles.checked_add(checks), Some(paid));
    let caught = row(&summary, &cheat.node);
    assert_eq!(
        (&caught["state"], &caught["glm"]),
        (&"quarantined".into(), &"0".into()),
        "{caught}"
    );
    assert_eq!(chain.balance(cheat.payee), Glm::ZERO);
    // What left the requestor is with the workers, and in the cheat's escrow, which it may take back after a thaw.
    let held = chain.in_escrow(requestor(dir.path()), cheat.payee);
    let gone = Chain::GIVEN.checked_sub(chain.balance(requestor(dir.path())));
    assert_eq!(gone, paid.checked_add(held));
    for worker in &workers {
        assert_eq!(
            chain.in_escrow(requestor(dir.path()), worker.payee),
            Glm::ZERO
        );
    }
}

#[test]
fn a_requestor_that_is_killed_again_and_again_pays_everything_once() {
    let (chain, dir) = (Chain::shared(), tempfile::tempdir().unwrap());
    let worker = Worker::start(&chain, PRICE);
    // So many frames that the job is never done before it is killed.
    let options = options(&chain, "", &[&worker]).replace("--frames 1-3", "--frames 1-8");
    let start = || {
        job_command(dir.path(), &scene("orrery.glb"), "####.exr", &options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for kill in [0, 2, 4] {
        let mut job = start();
        let mut lines = BufReader::new(job.stdout.take().unwrap()).lines();
        // Somewhere: before the first tile is paid, or later each time.
        for _ in 0..=kill {
            lines.next();
        }
        job.kill().unwrap();
        job.wait().unwrap();
    }
    // Another ledger would pay all of it again.
    let elsewhere = options.replace("--network dev", "--network local");
    let elsewhere = job(dir.path(), &scene("orrery.glb"), "####.exr", &elsewhere);
    assert_eq!(elsewhere.status.code(), Some(4), "{}", words(&elsewhere));
    assert!(words(&elsewhere).contains("is paid on chain 31337"));
    let output = start().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    let jobs = std::fs::read_dir(dir.path().join("jobs")).unwrap();
    assert_eq!(jobs.count(), 1, "it is one job all the time");
    let earned = glm(&row(&summary, &worker.node)["glm"]);
    assert_eq!(earned, glm(&summary["glm"]));
    assert_eq!(chain.balance(worker.payee), earned);
    let requestor = requestor(dir.path());
    let left = chain.in_escrow(requestor, worker.payee);
    let there = chain.balance(requestor).checked_add(left).unwrap();
    assert_eq!(there.checked_add(earned), Some(Chain::GIVEN));
}

#[test]
fn a_worker_whose_requestor_is_gone_cashes_its_last_voucher_by_one_command() {
    let (chain, dir) = (Chain::shared(), tempfile::tempdir().unwrap());
    let worker = Worker::start(&chain, PRICE);
    let options = options(&chain, "", &[&worker]).replace("--samples 8", "--samples 64");
    let mut job = job_command(dir.path(), &scene("orrery.glb"), "####.exr", &options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let promised = worker.wait_for_voucher();
    job.kill().unwrap();
    job.wait().unwrap();
    let promised = worker.promised_after_it_ends(promised);
    assert!(promised > Glm::ZERO);
    let redeemed = worker.run(&["redeem", "--all", "--network", "dev", "--rpc", chain.url()]);
    assert!(redeemed.status.success(), "{}", words(&redeemed));
    assert_eq!(chain.balance(worker.payee), promised);
}
