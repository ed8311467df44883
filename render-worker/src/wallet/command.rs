//! `wallet`: makes, takes over, shows and exports the wallet; what it does on a chain is `chain_command`'s.

use super::{
    PasswordArguments, PasswordSource, WalletFailure,
    chain_command::{
        self, BalanceArguments, CapArguments, DeployArguments, OwnerArguments, SendArguments,
    },
    file, keystore, open_wallet,
    password_source::ask,
};
use clap::{Args, Subcommand};
use payment::{
    Wallet,
    keystore::{ForeignKey, Keystore},
};
use serde_json::json;
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The arguments of `wallet`, in both programs.
#[derive(Debug, Args)]
pub struct WalletArguments {
    #[command(subcommand)]
    command: WalletCommand,
    /// Folder of the wallet, where this program keeps its other keys and data
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum WalletCommand {
    /// Make a wallet with a new key; an existing wallet is never overwritten
    New(PasswordArguments),
    /// Make the wallet of a key that you have; an existing wallet is never overwritten
    Import(ImportArguments),
    /// Show the wallet's address and file; takes no password
    Show(ShowArguments),
    /// Write the wallet's key to a keystore under a new password, for geth, MyCrypto, ethers and others
    Export(ExportArguments),
    /// Show what the wallet holds on a network; takes no password
    Balance(BalanceArguments),
    /// Send GLM, or the chain's coin
    Send(SendArguments),
    /// Put the escrow contract on a chain that has none: anybody may, once for everybody
    Deploy(DeployArguments),
    /// Make this wallet's key a hot key: it signs vouchers all day and spends an owner's GLM, up to a cap that the owner sets
    Serve(OwnerArguments),
    /// Let a hot key that serves this wallet put more of its GLM into escrows, or nothing more
    Cap(CapArguments),
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// File with a JSON keystore, whose password the wallet keeps, or with 64 hexadecimal digits; without it those are read
    /// from standard input
    key: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// The new file
    #[arg(required_unless_present = "plain", conflicts_with = "plain")]
    file: Option<PathBuf>,
    /// Print the key itself, in 64 hexadecimal digits: whoever sees them has the money
    #[arg(long)]
    plain: bool,
    /// File with the new file's password as its only line; without it the environment variable RENDER_WALLET_NEW_PASSWORD,
    /// else the terminal is asked
    #[arg(long, value_name = "PATH", conflicts_with = "plain")]
    new_password_file: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordArguments,
}

/// Carries out the command on the wallet of a data folder: data goes to standard output, talk to standard error. Blocks.
///
/// # Errors
/// When the wallet is not there or would be overwritten, the password is missing or wrong, or a file is open to others.
pub fn run(arguments: &WalletArguments, data_dir: &Path) -> Result<(), WalletFailure> {
    match &arguments.command {
        WalletCommand::New(password) => create(data_dir, &password.source()),
        WalletCommand::Import(import) => take_over(data_dir, import),
        WalletCommand::Show(show) => print(&description(&keystore(data_dir)?, show.json)),
        WalletCommand::Export(export) => match &export.file {
            Some(file) => export_keystore(data_dir, export, file),
            None => export_plain(data_dir, &export.password.source()),
        },
        WalletCommand::Balance(arguments) => chain_command::balance(arguments, data_dir),
        WalletCommand::Send(arguments) => chain_command::send(arguments, data_dir),
        WalletCommand::Deploy(arguments) => chain_command::deploy(arguments, data_dir),
        WalletCommand::Serve(arguments) => chain_command::serve(arguments, data_dir),
        WalletCommand::Cap(arguments) => chain_command::cap(arguments, data_dir),
    }
}

fn create(data_dir: &Path, password: &PasswordSource) -> Result<(), WalletFailure> {
    Keystore::refuse_existing(&file(data_dir))?;
    let password = password.choose()?;
    let made = Keystore::create(file(data_dir), &Wallet::generate(), &password)?;
    eprintln!(
        "keep a copy of the file and of its password: without both nobody can get at the money again"
    );
    print(&description(&made, false))
}

fn take_over(data_dir: &Path, import: &ImportArguments) -> Result<(), WalletFailure> {
    Keystore::refuse_existing(&file(data_dir))?;
    let source = import.password.source();
    let (wallet, password) = match foreign_key(import.key.as_deref())? {
        ForeignKey::Plain(wallet) => (wallet, source.choose()?),
        ForeignKey::Encrypted(store) => {
            let password = source.read()?;
            (store.decrypt(&password)?, password)
        }
    };
    let made = Keystore::create(file(data_dir), &wallet, &password)?;
    if let Some(key) = &import.key {
        eprintln!("the key stands in {} too, as before", key.display());
    }
    print(&description(&made, false))
}

fn foreign_key(path: Option<&Path>) -> Result<ForeignKey, WalletFailure> {
    let input = io::stdin();
    match path {
        Some(path) => Ok(ForeignKey::read_file(path)?),
        None if input.is_terminal() => {
            let typed = ask("private key, 64 hexadecimal digits", "")?;
            let wallet = Wallet::from_hex(&typed).ok_or(WalletFailure::NotAKey)?;
            Ok(ForeignKey::Plain(wallet))
        }
        None => Ok(ForeignKey::read(input.lock(), Path::new("standard input"))?),
    }
}

fn export_keystore(
    data_dir: &Path,
    export: &ExportArguments,
    file: &Path,
) -> Result<(), WalletFailure> {
    Keystore::refuse_existing(file)?;
    let wallet = open_wallet(data_dir, &export.password.source())?;
    let password = PasswordSource::of_export(export.new_password_file.clone()).choose()?;
    let made = Keystore::create(file, &wallet, &password)?;
    print(&description(&made, false))
}

fn export_plain(data_dir: &Path, password: &PasswordSource) -> Result<(), WalletFailure> {
    let wallet = open_wallet(data_dir, password)?;
    eprintln!(
        "warning: whoever sees this key has the money of {}; it is not encrypted",
        wallet.address()
    );
    let mut line = Zeroizing::new(String::with_capacity(65));
    line.push_str(&wallet.secret_hex());
    line.push('\n');
    print(&line)
}

fn description(store: &Keystore, as_json: bool) -> String {
    let address = store.address().map(|address| address.to_string());
    let (path, stretching) = (store.path().display(), store.stretching());
    if as_json {
        let described = json!({
            "address": address, "file": path.to_string(), "kind": "keystore v3", "kdf": stretching,
        });
        return format!("{described}\n");
    }
    let address = address.unwrap_or("not told by the file".into());
    format!(
        "address  {address}\nfile     {path}\nkind     JSON keystore, version 3 ({stretching})\n"
    )
}

pub(super) fn print(text: &str) -> Result<(), WalletFailure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(WalletFailure::Output)
}
