//! The commands `redeem` and `earnings` on a chain, without a worker and without the requestor.

use crate::chain::{Payer, book, glm, pass, settings};
use payment::{Ledger, Wallet};
use protocol::JobId;
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

const JOB: JobId = JobId([5; 16]);

/// Runs a command with a coin that is worth so much.
fn worker(command: &str, data_dir: &Path, glm_per_coin: &str, more: &[&str]) -> Output {
    let mut words = Command::new(env!("CARGO_BIN_EXE_render-worker"));
    words.args([
        command,
        "--network",
        "dev",
        "--rpc",
        &settings().endpoints[0],
    ]);
    words.args(["--glm-per-coin", glm_per_coin]);
    words.arg("--data-dir").arg(data_dir).args(more);
    words.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_last_vouchers_are_redeemed_with_the_requestors_gone_and_during_a_thaw() {
    let data = tempfile::tempdir().unwrap();
    let wallet = Wallet::load_or_create(data.path().join("payment.key")).unwrap();
    let [gone, thawing, short] = [(); 3].map(|()| Payer::of(wallet.address()));
    {
        let (book, _) = book(data.path(), wallet.address());
        for payer in [&gone, &thawing, &short] {
            payer.open(0, glm(4));
        }
        thawing.announce(0);
        for (payer, promised) in [(&gone, 3), (&thawing, 4), (&short, 6)] {
            book.accept(payer.voucher(0, JOB, promised)).unwrap();
        }
        // A worker that runs has the book.
        let busy = worker("redeem", data.path(), "1000", &[]);
        let text = String::from_utf8(busy.stderr).unwrap();
        assert_eq!(busy.status.code(), Some(1));
        assert!(
            text.starts_with("error: a worker is at work with"),
            "{text}"
        );
        let listed = json(&worker("earnings", data.path(), "1000", &["--json"]));
        assert_eq!(listed["redeemable"], "11");
    }
    // Half of the thaw of 24 hours.
    pass(Duration::from_secs(12 * 3600));
    let redeemed = json(&worker("redeem", data.path(), "1000", &["--json"]));
    assert_eq!(redeemed["redeemed_now"], "11", "{redeemed}");
    gone.wait_for_pay(glm(11));
    let remarks = redeemed["vouchers"].as_array().unwrap();
    let remarks: Vec<&str> = remarks
        .iter()
        .filter_map(|row| row["remark"].as_str())
        .collect();
    assert_eq!(remarks, ["2 GLM are not covered by the escrow"]);

    short.ledger.top_up(&short.key(0), glm(2)).unwrap();
    let again = json(&worker("redeem", data.path(), "1000", &["--json"]));
    assert_eq!(
        (
            again["redeemed_now"].as_str(),
            again["vouchers"].as_array().map(Vec::len)
        ),
        (Some("2"), Some(1))
    );
    let listed = json(&worker("earnings", data.path(), "1000", &["--json"]));
    assert_eq!(
        (&listed["total"], &listed["redeemed"]),
        (&"13".into(), &"13".into())
    );
    let states = listed["vouchers"].as_array().unwrap().iter();
    let mut states: Vec<&str> = states.filter_map(|row| row["state"].as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["open", "open", "thawing"]);
}

#[test]
fn what_is_not_worth_its_fee_is_left_unless_all_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let wallet = Wallet::load_or_create(data.path().join("payment.key")).unwrap();
    let payer = Payer::of(wallet.address());
    payer.open(0, glm(4));
    let (book, _) = book(data.path(), wallet.address());
    book.accept(payer.voucher(0, JOB, 3)).unwrap();
    drop(book);
    // Three GLM for a fee of some hundred thousand.
    let left = worker("redeem", data.path(), "1000000000", &["--json"]);
    let left = json(&left);
    assert_eq!(left["redeemed_now"], "0");
    let remark = left["vouchers"][0]["remark"].as_str().unwrap();
    assert!(remark.contains("--all"), "{remark}");
    let all = worker("redeem", data.path(), "1000000000", &["--json", "--all"]);
    let all = json(&all);
    assert_eq!(all["redeemed_now"], "3");
    // Known from disk alone, without the chain.
    let listed = Command::new(env!("CARGO_BIN_EXE_render-worker"))
        .args(["earnings", "--csv", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[1].ends_with(",3,3,0,open,"), "{text}");
    assert!(rows[2].contains(&format!(",{JOB},3,")), "{text}");
}
