//! Where a password comes from: a file, else the environment, else the terminal. Never the command line, which others see.

use super::WalletFailure;
use clap::Args;
use payment::keystore::Password;
use std::{
    env,
    io::{self, IsTerminal},
    path::PathBuf,
};
use zeroize::Zeroizing;

const WALLET_VARIABLE: &str = "RENDER_WALLET_PASSWORD";
const EXPORT_VARIABLE: &str = "RENDER_WALLET_NEW_PASSWORD";
/// The environment variables that may hold a password: no business of programs that are started.
pub const PASSWORD_VARIABLES: [&str; 2] = [WALLET_VARIABLE, EXPORT_VARIABLE];

/// The option of every command that needs the wallet's key.
#[derive(Debug, Clone, Default, Args)]
pub struct PasswordArguments {
    /// File with the wallet's password as its only line; without it the environment variable RENDER_WALLET_PASSWORD, else the
    /// terminal is asked
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

impl PasswordArguments {
    /// Where the wallet's password comes from.
    pub fn source(&self) -> PasswordSource {
        PasswordSource {
            file: self.password_file.clone(),
            variable: WALLET_VARIABLE,
            what: "password of the wallet",
        }
    }
}

/// Where a password comes from.
#[derive(Debug, Clone)]
pub struct PasswordSource {
    file: Option<PathBuf>,
    variable: &'static str,
    what: &'static str,
}

impl PasswordSource {
    pub(super) fn of_export(file: Option<PathBuf>) -> Self {
        Self {
            file,
            variable: EXPORT_VARIABLE,
            what: "new password of the exported file",
        }
    }

    /// A password that was chosen before.
    ///
    /// # Errors
    /// When there is none, it is empty, or others can reach its file.
    pub fn read(&self) -> Result<Password, WalletFailure> {
        match self.given()? {
            Some(password) => Ok(password),
            None => Ok(Password::new(ask(self.what, "")?)?),
        }
    }

    /// A new password, which nobody can correct later: it is asked for twice.
    pub(super) fn choose(&self) -> Result<Password, WalletFailure> {
        if let Some(password) = self.given()? {
            return Ok(password);
        }
        let chosen = Password::new(ask(self.what, "")?)?;
        let again = Password::new(ask(self.what, " again")?)?;
        match chosen == again {
            true => Ok(chosen),
            false => Err(WalletFailure::PasswordsDiffer),
        }
    }

    fn given(&self) -> Result<Option<Password>, WalletFailure> {
        if let Some(file) = &self.file {
            return Ok(Some(Password::read_file(file)?));
        }
        match env::var(self.variable) {
            Ok(text) => Ok(Some(Password::new(text.into())?)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(WalletFailure::NotText(self.variable)),
        }
    }
}

/// Asks for something that is not shown while it is typed.
pub(super) fn ask(what: &'static str, more: &str) -> Result<Zeroizing<String>, WalletFailure> {
    // Where neither is a terminal nobody looks, even if the process has one.
    if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
        return Err(WalletFailure::NoPassword(what));
    }
    rpassword::prompt_password(format!("{what}{more}: "))
        .map(Zeroizing::new)
        .map_err(WalletFailure::Terminal)
}
