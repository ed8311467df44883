//! Wallets in files that a password protects: Ethereum's JSON keystores of version 3, which geth, MyCrypto and ethers write
//! and read too. Making and decrypting one takes about a second and 256 MiB.

mod foreign_key;
mod password;
#[cfg(test)]
mod tests;
mod v3;

pub use foreign_key::ForeignKey;
pub use password::{Password, PasswordError};

use crate::{Wallet, private_file};
use protocol::Address;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};
use v3::Sealed;

/// Most bytes read of a keystore; one has about 500.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// An encrypted key that was read from a file or stands in one now.
#[derive(Debug)]
pub struct Keystore {
    path: PathBuf,
    sealed: Sealed,
}

/// Why there is no keystore, or no wallet out of it.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file cannot be read or made.
    #[error("cannot use the keystore {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a file already, which may hold somebody's money.
    #[error("{0} is there already and is never overwritten: move it away, or choose another place")]
    Exists(PathBuf),
    /// Others than the owner may read or write the file.
    #[error(
        "{path} has mode {mode:03o}, so others can reach it: run `chmod 600 {path}`; if others may have read it, move the money to a new key"
    )]
    LoosePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file's content.
    #[error("the keystore {path}: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// What was given as somebody's key.
    #[error(
        "{0} holds neither a secp256k1 key as 64 hexadecimal digits nor a JSON keystore: give the file that another wallet exported"
    )]
    NotAKey(PathBuf),
}

/// What is wrong with the content of a keystore.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The checksum differs.
    #[error("the password is wrong, or the file was altered: try again, or use a copy of the file")]
    WrongPassword,
    /// It cannot be read at all.
    #[error("it is damaged, or none of version 3: use a copy of the file ({0})")]
    Malformed(String),
    /// Another version.
    #[error("it has version {0}: let a wallet that reads it export the key as version 3")]
    Version(String),
    /// Another cipher.
    #[error("it uses the cipher {0}: let a wallet that reads it export the key with aes-128-ctr")]
    Cipher(String),
    /// Another way to stretch passwords.
    #[error(
        "it stretches the password with {0}: let a wallet that reads it export the key with scrypt, or pbkdf2 with hmac-sha256"
    )]
    Kdf(String),
    /// Trying a password would take too much memory or time.
    #[error(
        "to try a password would take too much memory or time ({0}): if the file is yours, export the key again with standard strength"
    )]
    TooCostly(String),
    /// The file says another address than its key has.
    #[error("it says that it is of {claimed} and holds the key of {held}: use a copy of the file")]
    OtherAddress {
        /// By the file.
        claimed: Address,
        /// By the key.
        held: Address,
    },
}

impl Keystore {
    /// Encrypts the key of a wallet, with standard strength, and stores it for the owner only. The file appears complete or
    /// not at all.
    ///
    /// # Errors
    /// When the file cannot be made. An existing one is never overwritten.
    pub fn create(
        path: impl Into<PathBuf>,
        wallet: &Wallet,
        password: &Password,
    ) -> Result<Self, KeystoreError> {
        let path = path.into();
        Self::refuse_existing(&path)?;
        let sealed = v3::standard_strength().and_then(|cost| Sealed::seal(wallet, password, cost));
        let sealed = sealed.map_err(|fault| content_error(&path, fault))?;
        let store = Self { path, sealed };
        store.write()?;
        Ok(store)
    }

    /// Says early that [`Keystore::create`] would not overwrite a file, before a password is asked for.
    ///
    /// # Errors
    /// When there is anything of this name.
    pub fn refuse_existing(path: &Path) -> Result<(), KeystoreError> {
        match path.symlink_metadata() {
            Ok(_) => Err(KeystoreError::Exists(path.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(file_error(path, source)),
        }
    }

    fn write(&self) -> Result<(), KeystoreError> {
        let json = self.sealed.to_json();
        private_file::create(&self.path, json.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeystoreError::Exists(self.path.clone()),
            _ => file_error(&self.path, source),
        })
    }

    /// Reads a keystore without decrypting it.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others (on Unix), or holds no keystore that can be decrypted here.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeystoreError> {
        let path = path.into();
        let file = File::open(&path).map_err(|source| file_error(&path, source))?;
        refuse_loose_permissions(&path, &file)?;
        let content = private_file::read(file, FILE_BYTES_MAX);
        let content = content.map_err(|source| file_error(&path, source))?;
        Self::parse(path, &content)
    }

    fn parse(path: PathBuf, content: &[u8]) -> Result<Self, KeystoreError> {
        let sealed = Sealed::parse(content).map_err(|fault| content_error(&path, fault))?;
        Ok(Self { path, sealed })
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it says that it is. Some programs do not write that down; nothing proves it before it is decrypted.
    pub fn address(&self) -> Option<Address> {
        self.sealed.address
    }

    /// How it makes guesses of its password slow, for people.
    pub fn stretching(&self) -> String {
        self.sealed.stretching().to_string()
    }

    /// Decrypts the key.
    ///
    /// # Errors
    /// When the password is wrong, or the file does not hold the key of its address.
    pub fn decrypt(&self, password: &Password) -> Result<Wallet, KeystoreError> {
        let wallet = self.sealed.unseal(password);
        wallet.map_err(|fault| content_error(&self.path, fault))
    }
}

fn file_error(path: &Path, source: io::Error) -> KeystoreError {
    KeystoreError::File {
        path: path.into(),
        source,
    }
}

fn content_error(path: &Path, fault: Fault) -> KeystoreError {
    KeystoreError::Content {
        path: path.into(),
        fault,
    }
}

fn refuse_loose_permissions(path: &Path, file: &File) -> Result<(), KeystoreError> {
    match private_file::loose_mode(file).map_err(|source| file_error(path, source))? {
        Some(mode) => Err(KeystoreError::LoosePermissions {
            path: path.into(),
            mode,
        }),
        None => Ok(()),
    }
}
