//! The command `redeem`: hands the last vouchers of all requestors in, without a worker and without the requestors.

use crate::{
    arguments::RedeemArguments,
    bookkeeper::BOOK_FILE,
    chain::Chain,
    config::WorkerError,
    escrows::{lookout::note_all, redeemer::redeem},
};
use payment::{
    Earnings, EarningsBook, Ledger, LedgerError, Redeemed, StoreError, chain::ChainError,
};
use protocol::Glm;
use serde_json::json;
use std::{collections::BTreeSet, path::Path};

/// What became of one voucher.
struct Outcome {
    row: Earnings,
    /// None where it was left alone.
    redeemed: Option<Redeemed>,
    remark: String,
}

/// Redeems, and tells what each voucher gave.
pub fn run(arguments: &RedeemArguments, data_dir: &Path) -> Result<String, WorkerError> {
    let Some(chain) = Chain::open(&arguments.money, data_dir).map_err(at_work)? else {
        return Err(WorkerError::NoChain(arguments.money.network));
    };
    let ledger = chain.ledger.as_ref();
    let book = EarningsBook::open(
        chain.folder.join(BOOK_FILE),
        ledger.account(),
        ledger.chain_id(),
        ledger.contract(),
    );
    let book = book.map_err(|error| at_work(error.into()))?;
    // What an earlier process sent may have paid already.
    ledger.finish_pending()?;
    let mut rows = book.escrows()?;
    rows.retain(Earnings::is_open);
    let requestors: BTreeSet<_> = rows.iter().map(Earnings::requestor).collect();
    for requestor in requestors {
        let present = ledger.present(requestor, ledger.account())?;
        let theirs = rows.iter().filter(|row| row.requestor() == requestor);
        note_all(&book, theirs, present)?;
    }
    let fee = ledger.redeem_fee()?;
    let mut outcomes = Vec::new();
    for mut row in rows {
        row.progress = book.progress(&row.key())?;
        let remark = left(&row, fee, arguments.all);
        outcomes.push(Outcome {
            row,
            redeemed: None,
            remark: remark.unwrap_or_default(),
        });
    }
    hand_in(ledger, &book, &mut outcomes)?;
    Ok(match arguments.json {
        true => as_json(&outcomes, fee),
        false => as_table(&outcomes),
    })
}

/// A worker that runs holds the account's files.
fn at_work(error: WorkerError) -> WorkerError {
    match error {
        WorkerError::Earnings(StoreError::InUse(path))
        | WorkerError::Ledger(
            LedgerError::Store(StoreError::InUse(path))
            | LedgerError::Chain(ChainError::Store(StoreError::InUse(path))),
        ) => WorkerError::AtWork(path.parent().unwrap_or(&path).to_owned()),
        other => other,
    }
}

/// Why a voucher is left alone, if so.
fn left(row: &Earnings, fee: Glm, all: bool) -> Option<String> {
    let (sum, progress) = (row.redeemable(), &row.progress);
    if progress.is_closed {
        return Some("the escrow is closed: nothing is left of it".into());
    }
    if progress.seen.is_none() {
        return Some("the escrow was never opened".into());
    }
    if sum == Glm::ZERO {
        return Some(short(row.promised(), progress.claimed));
    }
    (!all && sum <= fee).then(|| {
        format!("{sum} GLM are not worth the fee of about {fee:.6} GLM: --all redeems them too")
    })
}

fn short(promised: Glm, claimed: Glm) -> String {
    let short = promised.checked_sub(claimed).unwrap_or_default();
    format!("{short} GLM are not covered by the escrow")
}

fn hand_in(
    ledger: &dyn Ledger,
    book: &EarningsBook,
    outcomes: &mut [Outcome],
) -> Result<(), LedgerError> {
    let mut due: Vec<&mut Outcome> = outcomes
        .iter_mut()
        .filter(|outcome| outcome.remark.is_empty())
        .collect();
    let vouchers: Vec<_> = due.iter().map(|outcome| outcome.row.signed).collect();
    let redeemed = redeem(ledger, book, &vouchers)?;
    for (outcome, redeemed) in due.iter_mut().zip(redeemed) {
        outcome.redeemed = Some(redeemed);
        if redeemed.short > Glm::ZERO {
            outcome.remark = short(outcome.row.promised(), redeemed.cumulative_claimed);
        }
    }
    Ok(())
}

fn paid(outcome: &Outcome) -> (Glm, Glm) {
    match outcome.redeemed {
        Some(redeemed) => (redeemed.paid, redeemed.cumulative_claimed),
        None => (Glm::ZERO, outcome.row.progress.claimed),
    }
}

fn as_table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<42}  {:>6}  {:>24}  {:>24}  {:>24}\n",
        "requestor", "escrow", "promised GLM", "redeemed now GLM", "redeemed in all GLM"
    );
    let mut total = Glm::ZERO;
    for outcome in outcomes {
        let (now, in_all) = paid(outcome);
        total = [total, now].into_iter().sum();
        let (requestor, epoch) = (outcome.row.requestor().to_string(), outcome.row.key().epoch);
        let [promised, now, in_all] =
            [outcome.row.promised(), now, in_all].map(|glm| glm.to_string());
        let line = format!(
            "{requestor:<42}  {epoch:>6}  {promised:>24}  {now:>24}  {in_all:>24}  {}",
            outcome.remark
        );
        text += &format!("{}\n", line.trim_end());
    }
    let total = total.to_string();
    text + &format!("{:<42}  {:>6}  {:>24}  {total:>24}\n", "total", "", "")
}

fn as_json(outcomes: &[Outcome], fee: Glm) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let (now, in_all) = paid(outcome);
        json!({
            "requestor": outcome.row.requestor().to_string(),
            "epoch": outcome.row.key().epoch,
            "promised": outcome.row.promised().to_string(),
            "redeemed_now": now.to_string(),
            "redeemed": in_all.to_string(),
            "remark": (!outcome.remark.is_empty()).then_some(&outcome.remark),
        })
    });
    let total: Glm = outcomes.iter().map(|outcome| paid(outcome).0).sum();
    let report = json!({
        "vouchers": rows.collect::<Vec<_>>(),
        "redeemed_now": total.to_string(),
        "fee": fee.to_string(),
    });
    format!("{report}\n")
}
