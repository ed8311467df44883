//! `render payments`: what stands in escrow for whom, what was sent, and ending it.

use crate::{
    accounts::{Money, PaymentNetwork},
    failure::{Code, Failure},
    session,
};
use clap::{Args, Subcommand};
use payment::{
    Escrow, EscrowKey, Release, Settled,
    chain::{Network, Outbox, State, Transaction},
    settle_many,
};
use protocol::{Address, Glm};
use render_worker::money::{NetworkArguments, OUTBOX_FILE};
use serde_json::json;
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

#[derive(Debug, Args)]
pub struct PaymentsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    money: NetworkArguments,
    /// One JSON object on stdout instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// The escrows as lines with commas, the first one with their names
    #[arg(long, global = true, conflicts_with = "json")]
    csv: bool,
    /// Where keys, ledger and jobs are kept
    #[arg(long, global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Pay out everything that was promised, whatever the fee
    Settle,
    /// Take back what is in escrow and not promised: announces it, and fetches it once the thaw is over
    Withdraw,
}

/// One escrow as the list shows it.
struct Row {
    key: EscrowKey,
    escrow: Option<Escrow>,
    promised: Glm,
}

impl Row {
    fn state(&self) -> String {
        match self.escrow {
            None => "not open".into(),
            Some(escrow) if escrow.released => "closed".into(),
            Some(escrow) => match escrow.withdrawable_at {
                Some(until) => format!("thaws until {}", time(until)),
                None => "open".into(),
            },
        }
    }

    /// Deposited and paid out.
    fn amounts(&self) -> (Glm, Glm) {
        self.escrow
            .map_or_else(Default::default, |escrow| (escrow.deposit, escrow.claimed))
    }

    /// Promised and not paid out.
    fn due(&self) -> Glm {
        self.promised
            .checked_sub(self.amounts().1)
            .unwrap_or_default()
    }

    /// In escrow and not promised.
    fn left(&self) -> Glm {
        let open = self.escrow.filter(|escrow| !escrow.released);
        let left = open.and_then(|escrow| escrow.deposit.checked_sub(self.promised));
        left.unwrap_or_default()
    }
}

fn time(unix_s: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s);
    humantime::format_rfc3339_seconds(time).to_string()
}

pub fn run(arguments: &PaymentsArguments) -> Result<(), Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::preflight(e.to_string());
    let data_dir = session::data_dir(arguments.data_dir.as_deref())?;
    if arguments.money.network == Network::Free {
        return Err(Failure::new(
            Code::Usage,
            "on the network free nobody is paid",
        ));
    }
    if arguments.money.network == Network::Dev && arguments.money.rpc.is_empty() {
        let message = "a development chain ends with its job";
        return Err(Failure::new(Code::Usage, message)
            .hint("name the endpoint of one that runs with --rpc"));
    }
    let _only = session::only_user(&data_dir)?;
    let payment_network = PaymentNetwork::start(arguments.money.clone())?;
    let Some(money) = Money::open(&payment_network, &data_dir)? else {
        return Ok(());
    };
    match arguments.action {
        None => {}
        Some(Action::Settle) => settle(&money).map_err(|e| fail(&e))?,
        Some(Action::Withdraw) => withdraw(&money).map_err(|e| fail(&e))?,
    }
    let mut rows = rows(&money).map_err(|e| fail(&e))?;
    // The epoch after one that was closed, of a provider that has not worked since.
    rows.retain(|row| row.escrow.is_some() || row.promised > Glm::ZERO);
    let transactions = transactions(&payment_network, &money, &data_dir)?;
    let text = match (arguments.json, arguments.csv) {
        (true, _) => as_json(&rows, &transactions),
        (_, true) => as_csv(&rows),
        _ => as_tables(&rows, &transactions),
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|e| fail(&e))
}

fn rows(money: &Money) -> Result<Vec<Row>, payment::LedgerError> {
    let all = money.book.all()?;
    let rows = all.into_iter().map(|(worker, epoch, last)| {
        let key = EscrowKey {
            requestor: money.book.requestor(),
            worker,
            epoch,
        };
        Ok(Row {
            key,
            escrow: money.ledger.escrow(&key)?,
            promised: last.map_or(Glm::ZERO, |signed| signed.voucher.cumulative),
        })
    });
    rows.collect()
}

fn transactions(
    payment_network: &PaymentNetwork,
    money: &Money,
    data_dir: &Path,
) -> Result<Vec<Transaction>, Failure> {
    if !money.ledger.is_chain() {
        return Ok(Vec::new());
    }
    let outbox = payment_network.folder(data_dir)?.join(OUTBOX_FILE);
    let transactions = Outbox::read(outbox, money.ledger.chain_id(), money.book.requestor());
    transactions.map_err(|e| Failure::preflight(e.to_string()))
}

fn settle(money: &Money) -> Result<(), payment::SettlementError> {
    let all = money.book.all()?;
    let payees: Vec<Address> = all.into_iter().map(|(worker, ..)| worker).collect();
    let settled = settle_many(money.ledger.as_ref(), &money.book, &payees, true)?;
    let paid = settled.iter().filter_map(|(_, settled)| match settled {
        Settled::Paid { paid, .. } => Some(*paid),
        _ => None,
    });
    eprintln!("paid out {} GLM", paid.sum::<Glm>());
    Ok(())
}

fn withdraw(money: &Money) -> Result<(), payment::LedgerError> {
    for row in rows(money)? {
        let is_open = row.escrow.is_some_and(|escrow| !escrow.released);
        if !is_open || row.left() == Glm::ZERO {
            continue;
        }
        match money.ledger.release(&row.key)? {
            Release::Returned(rest) => {
                eprintln!("{}: {rest} GLM are back", row.key.worker);
                money.book.close_epoch(row.key.worker, row.key.epoch)?;
            }
            Release::Thawing { until_unix_s } => eprintln!(
                "{}: announced; fetch it with the same command after {}",
                row.key.worker,
                time(until_unix_s)
            ),
        }
    }
    Ok(())
}

fn as_csv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        let (deposit, claimed) = row.amounts();
        format!(
            "{},{},{},{deposit},{},{claimed},{},{}\n",
            row.key.worker,
            row.key.epoch,
            row.state(),
            row.promised,
            row.due(),
            row.left()
        )
    });
    let names = "provider,epoch,state,deposit,promised,paid,due,left\n";
    std::iter::once(names.to_owned()).chain(lines).collect()
}

fn as_json(rows: &[Row], transactions: &[Transaction]) -> String {
    let escrows = rows.iter().map(|row| {
        json!({
            "provider": row.key.worker.to_string(), "epoch": row.key.epoch, "state": row.state(),
            "deposit": row.escrow.map(|escrow| escrow.deposit.to_string()),
            "promised": row.promised.to_string(),
            "paid": row.escrow.map(|escrow| escrow.claimed.to_string()),
            "due": row.due().to_string(), "left": row.left().to_string(),
        })
    });
    let sent = transactions.iter().map(|transaction| {
        let (state, fee) = state(transaction);
        json!({
            "nonce": transaction.nonce, "purpose": transaction.purpose, "state": state,
            "fee": fee.map(|fee| fee.to_string()), "attempts": transaction.attempts.len(),
            "hash": transaction.attempts.last().map(|last| last.hash.to_string()),
        })
    });
    let all =
        json!({ "escrows": escrows.collect::<Vec<_>>(), "transactions": sent.collect::<Vec<_>>() });
    format!("{all}\n")
}

/// Where a transaction stands, and what it cost in coins.
fn state(transaction: &Transaction) -> (&'static str, Option<Glm>) {
    match transaction.state {
        State::Pending => ("pending", None),
        State::Displaced => ("displaced", None),
        State::Mined(found) | State::Final(found) if !found.succeeded => {
            ("undone", Some(Glm::from_wei(found.fee)))
        }
        State::Mined(found) => ("mined", Some(Glm::from_wei(found.fee))),
        State::Final(found) => ("final", Some(Glm::from_wei(found.fee))),
    }
}

fn as_tables(rows: &[Row], transactions: &[Transaction]) -> String {
    let mut text = format!(
        "{:<42}  {:>6}  {:>16}  {:>16}  {:>16}  {:>16}  {}\n",
        "provider", "escrow", "deposit GLM", "promised", "paid", "left", "state"
    );
    for row in rows {
        let (deposit, claimed) = row.amounts();
        text += &format!(
            "{:<42}  {:>6}  {deposit:>16.8}  {:>16.8}  {claimed:>16.8}  {:>16.8}  {}\n",
            row.key.worker.to_string(),
            row.key.epoch,
            row.promised,
            row.left(),
            row.state()
        );
    }
    if transactions.is_empty() {
        return text;
    }
    text += &format!(
        "\n{:>5}  {:<9}  {:>14}  {:<66}  {}\n",
        "nonce", "state", "fee", "transaction", "purpose"
    );
    for transaction in transactions {
        let (state, fee) = state(transaction);
        let fee = fee.map(|fee| format!("{fee:.8}")).unwrap_or_default();
        let hash = transaction
            .attempts
            .last()
            .map(|last| last.hash.to_string());
        text += &format!(
            "{:>5}  {state:<9}  {fee:>14}  {:<66}  {}\n",
            transaction.nonce,
            hash.unwrap_or_default(),
            transaction.purpose
        );
    }
    text
}
