//! Keys that other wallets exported, encrypted or not.

use super::{
    FILE_BYTES_MAX, Keystore, KeystoreError, file_error, private_file, refuse_loose_permissions,
};
use crate::Wallet;
use std::{fs::File, io::Read, path::Path};

/// A key to take over.
#[derive(Debug)]
pub enum ForeignKey {
    /// It stood there for all to see.
    Plain(Wallet),
    /// It takes a password.
    Encrypted(Keystore),
}

impl ForeignKey {
    /// Reads 64 hexadecimal digits or a keystore. Others may be able to reach the file of a keystore, which is made for being
    /// copied about, but not that of a plain key.
    ///
    /// # Errors
    /// When the file cannot be read, holds neither, or holds a plain key that others can reach.
    pub fn read_file(path: &Path) -> Result<Self, KeystoreError> {
        let file = File::open(path).map_err(|source| file_error(path, source))?;
        let key = Self::read(&file, path)?;
        if matches!(key, Self::Plain(_)) {
            refuse_loose_permissions(path, &file)?;
        }
        Ok(key)
    }

    /// Reads the same from anywhere; `name` is how messages call it.
    ///
    /// # Errors
    /// When it cannot be read or is neither.
    pub fn read(source: impl Read, name: &Path) -> Result<Self, KeystoreError> {
        let content = private_file::read(source, FILE_BYTES_MAX);
        let content = content.map_err(|source| file_error(name, source))?;
        if content.trim_ascii_start().starts_with(b"{") {
            return Keystore::parse(name.into(), &content).map(Self::Encrypted);
        }
        let text = str::from_utf8(&content).ok();
        let wallet = text.and_then(Wallet::from_hex);
        wallet
            .map(Self::Plain)
            .ok_or_else(|| KeystoreError::NotAKey(name.into()))
    }
}
