//! `wallet` on a chain: what an account holds, sending it, and keys that spend an owner's money.

use super::{WalletFailure, command::print};
use crate::money::{NetworkArguments, OUTBOX_FILE};
use clap::Args;
use payment::{
    EmbeddedLedger, Ledger,
    chain::{ChainLedger, Network, State},
};
use protocol::{Address, Glm};
use serde_json::json;
use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

#[derive(Debug, Args)]
pub(super) struct BalanceArguments {
    #[command(flatten)]
    money: NetworkArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SendArguments {
    /// Account to send to
    to: Address,
    /// How much, such as 12.5
    amount: Glm,
    /// Send the chain's own coin, which pays for fees, and not GLM
    #[arg(long)]
    coin: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    money: NetworkArguments,
}

#[derive(Debug, Args)]
pub(super) struct DeployArguments {
    #[command(flatten)]
    money: NetworkArguments,
}

#[derive(Debug, Args)]
pub(super) struct OwnerArguments {
    /// Account whose GLM this wallet's key shall put into escrows, and which gets back what is not claimed
    owner: Address,
    /// Do not ask: it is for good
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    money: NetworkArguments,
}

#[derive(Debug, Args)]
pub(super) struct CapArguments {
    /// Hot key that serves this wallet
    key: Address,
    /// How much more of this wallet's GLM it may put into escrows; 0 takes back what it was allowed
    amount: Glm,
    #[command(flatten)]
    money: NetworkArguments,
}

fn open(money: &NetworkArguments, data_dir: &Path) -> Result<ChainLedger, WalletFailure> {
    let Some(settings) = money.settings()? else {
        return Err(WalletFailure::NoChain(money.network));
    };
    let folder = money.folder(data_dir, Some(&settings))?;
    fs::create_dir_all(&folder).map_err(|source| WalletFailure::Folder {
        path: folder.clone(),
        source,
    })?;
    // Boxed: it would make every failure of this module as large.
    let wallet = money
        .wallet(data_dir)
        .map_err(|e| WalletFailure::Wallet(Box::new(e)))?;
    let stop = Arc::new(AtomicBool::new(false));
    let outbox = folder.join(OUTBOX_FILE);
    let ledger = ChainLedger::open_without_contract(settings, wallet, outbox, stop)?;
    Ok(ledger)
}

pub(super) fn balance(arguments: &BalanceArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    let (money, file) = (&arguments.money, data_dir.join("ledger.redb"));
    if money.network == Network::Local && file.exists() {
        let account = money
            .wallet(data_dir)
            .map_err(|e| WalletFailure::Wallet(Box::new(e)))?;
        let held = EmbeddedLedger::open(file)?.balance(account.address())?;
        return tell(arguments, account.address(), held, None);
    }
    let Some(settings) = money.settings()? else {
        return Err(WalletFailure::NoChain(money.network));
    };
    // The address is enough: no password is asked for.
    let account = money
        .address(data_dir)
        .map_err(|e| WalletFailure::Wallet(Box::new(e)))?;
    let (held, coins) = settings
        .holdings(account)
        .map_err(payment::chain::ChainError::from)?;
    tell(arguments, account, held, Some((coins, &settings.coin)))
}

fn tell(
    arguments: &BalanceArguments,
    account: Address,
    held: Glm,
    coins: Option<(Glm, &str)>,
) -> Result<(), WalletFailure> {
    let network = arguments.money.network;
    if arguments.json {
        let told = json!({
            "network": network.to_string(), "address": account.to_string(), "glm": held.to_string(),
            "coins": coins.map(|(coins, _)| coins.to_string()), "coin": coins.map(|(_, coin)| coin),
        });
        return print(&format!("{told}\n"));
    }
    let unit = match network {
        Network::Local | Network::Dev => "test GLM",
        _ => "GLM",
    };
    let coins = coins.map(|(coins, coin)| format!("for fees {coins} {coin}\n"));
    print(&format!(
        "network  {network}\naddress  {account}\nholds    {held} {unit}\n{}",
        coins.unwrap_or_default()
    ))
}

pub(super) fn send(arguments: &SendArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    let (to, amount) = (arguments.to, arguments.amount);
    let ledger = open(&arguments.money, data_dir)?;
    let unit = match arguments.coin {
        true => ledger.settings().coin.clone(),
        false => "GLM".into(),
    };
    let question = format!(
        "send {amount} {unit} from {} to {to} on {}",
        ledger.account(),
        arguments.money.network
    );
    let standing = || ledger.last_transfer(to, amount, arguments.coin);
    if standing()? == Some(State::Pending) {
        eprintln!(
            "this very transfer is on its way since an earlier run: it is waited for, and not sent again"
        );
    } else {
        confirm(&question, arguments.yes)?;
        match arguments.coin {
            true => ledger.send_coins(to, amount)?,
            false => ledger.send_glm(to, amount)?,
        }
        eprintln!("it is in a block; waiting until it is final");
    }
    ledger.finalize()?;
    match standing()? {
        Some(State::Final(found)) if found.succeeded => {}
        _ => return Err(WalletFailure::NotSent),
    }
    print(&format!("sent {amount} {unit} to {to}\n"))
}

/// Nobody can take a transfer back.
fn confirm(question: &str, is_sure: bool) -> Result<(), WalletFailure> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(WalletFailure::NotConfirmed);
    }
    eprint!("{question}? [y/N] ");
    io::stderr().flush().map_err(WalletFailure::Terminal)?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(WalletFailure::Terminal)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(WalletFailure::NotConfirmed),
    }
}

pub(super) fn deploy(arguments: &DeployArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    let escrow = open(&arguments.money, data_dir)?.deploy()?;
    print(&format!("escrow   {escrow}\n"))
}

pub(super) fn serve(arguments: &OwnerArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    let ledger = open(&arguments.money, data_dir)?;
    let question = format!(
        "let {} spend for {} for good, and return what is left to it",
        ledger.account(),
        arguments.owner
    );
    confirm(&question, arguments.yes)?;
    ledger.serve_owner(arguments.owner)?;
    print(&format!(
        "{} serves {}\n",
        ledger.account(),
        arguments.owner
    ))
}

pub(super) fn cap(arguments: &CapArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    let ledger = open(&arguments.money, data_dir)?;
    match arguments.amount {
        Glm::ZERO => ledger.revoke_cap(arguments.key)?,
        amount => ledger.raise_cap(arguments.key, amount)?,
    }
    let (_, cap) = ledger.delegation(arguments.key)?;
    print(&format!(
        "{} may put {cap} GLM into escrows\n",
        arguments.key
    ))
}
