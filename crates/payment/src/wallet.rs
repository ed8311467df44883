//! The secp256k1 key that signs vouchers, and its file.

use crate::{
    chain::Transaction,
    private_file,
    voucher::{digest, release_digest},
};
use ethers_core::{
    k256::ecdsa::SigningKey,
    rand::{RngCore, rngs::OsRng},
    types::{Eip1559TransactionRequest, H160, transaction::eip2718::TypedTransaction},
};
use ethers_signers::{LocalWallet, Signer};
use protocol::{
    Address,
    message::{Release, SignedRelease, SignedVoucher, Voucher},
};
use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Most bytes read of a key file: 64 digits, perhaps `0x` and a line end.
const KEY_FILE_BYTES_MAX: u64 = 128;

/// A secp256k1 key with the account that belongs to it. Never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct Wallet {
    signer: LocalWallet,
}

/// Why there is no wallet, or why it does not sign.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The file cannot be read or made.
    #[error("cannot use the key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error(
        "the key file {path} has mode {mode:03o}, so others can reach it: run `chmod 600 {path}`; if others may have read it, move the money to a new key"
    )]
    LoosePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error(
        "the key file {0} does not hold a secp256k1 secret as 64 hexadecimal digits: restore it from a copy, or move it away to start with a new key"
    )]
    NotAKey(PathBuf),
    /// The bytes are not a secret of the curve.
    #[error("the secret is zero or beyond the order of secp256k1")]
    NotASecret,
    /// The voucher is of somebody else.
    #[error("the voucher is of requestor {requestor}, this wallet is {wallet}")]
    NotRequestor {
        /// Who promises, by the voucher.
        requestor: Address,
        /// Who was asked to sign.
        wallet: Address,
    },
    /// The release is of somebody else.
    #[error("the release is of worker {worker}, this wallet is {wallet}")]
    NotWorker {
        /// Who agrees, by the release.
        worker: Address,
        /// Who was asked to sign.
        wallet: Address,
    },
    /// The signature could not be made.
    #[error("cannot sign: {0}")]
    Signing(String),
}

impl Wallet {
    /// Reads the key at `path`, or draws one and stores it there, readable by its owner only.
    ///
    /// The file appears complete or not at all; of two processes that make it at once both use the same key.
    ///
    /// # Errors
    /// When the file cannot be read or made, is open to others (on Unix), or holds no key. It is never overwritten.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, WalletError> {
        let path = path.as_ref();
        match File::open(path) {
            Ok(file) => Self::load(path, file),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                create_key_file(path).map_err(|source| file_error(path, source))?;
                let file = File::open(path).map_err(|source| file_error(path, source))?;
                Self::load(path, file)
            }
            Err(source) => Err(file_error(path, source)),
        }
    }

    fn load(path: &Path, file: File) -> Result<Self, WalletError> {
        let loose_mode = private_file::loose_mode(&file).map_err(|e| file_error(path, e))?;
        if let Some(mode) = loose_mode {
            let path = path.into();
            return Err(WalletError::LoosePermissions { path, mode });
        }
        let bytes = private_file::read(file, KEY_FILE_BYTES_MAX);
        let bytes = bytes.map_err(|source| file_error(path, source))?;
        let text = str::from_utf8(&bytes).ok();
        text.and_then(Self::from_hex)
            .ok_or_else(|| WalletError::NotAKey(path.into()))
    }

    /// A wallet of a key that nobody had before.
    pub fn generate() -> Self {
        loop {
            let mut secret = Zeroizing::new([0; 32]);
            OsRng.fill_bytes(secret.as_mut());
            // Next to no secret is beyond the order of the curve.
            if let Ok(wallet) = Self::from_secret(&secret) {
                return wallet;
            }
        }
    }

    /// The wallet of a secret in 64 hexadecimal digits, perhaps after `0x` and between white space; none if it is not one.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_secret(&*parse_secret(text.trim())?).ok()
    }

    /// The wallet of a secret scalar, big endian.
    ///
    /// # Errors
    /// When the scalar is zero or not below the order of the curve.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, WalletError> {
        let key = SigningKey::from_slice(secret).map_err(|_| WalletError::NotASecret)?;
        Ok(Self {
            signer: LocalWallet::from(key),
        })
    }

    /// The secret scalar, big endian.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signer.signer().to_bytes().into())
    }

    /// The secret in 64 hexadecimal digits: whoever sees it has the money.
    pub fn secret_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.secret().iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// The account of the key.
    pub fn address(&self) -> Address {
        Address(self.signer.address().0)
    }

    /// Signs a promise of this wallet as EIP-712 typed data ([`crate::voucher`]); equal vouchers get equal signatures.
    ///
    /// # Errors
    /// When the voucher's requestor is another account.
    pub fn sign_voucher(&self, voucher: &Voucher) -> Result<SignedVoucher, WalletError> {
        if voucher.requestor != self.address() {
            return Err(WalletError::NotRequestor {
                requestor: voucher.requestor,
                wallet: self.address(),
            });
        }
        let (r, s, v) = self.sign(digest(voucher))?;
        Ok(SignedVoucher {
            voucher: *voucher,
            r,
            s,
            v,
        })
    }

    /// Agrees as the worker that an epoch ends with what the release names; equal releases get equal signatures.
    ///
    /// # Errors
    /// When the release's worker is another account.
    pub fn sign_release(&self, release: &Release) -> Result<SignedRelease, WalletError> {
        if release.worker != self.address() {
            return Err(WalletError::NotWorker {
                worker: release.worker,
                wallet: self.address(),
            });
        }
        let (r, s, v) = self.sign(release_digest(release))?;
        Ok(SignedRelease {
            release: *release,
            r,
            s,
            v,
        })
    }

    fn sign(&self, digest: [u8; 32]) -> Result<([u8; 32], [u8; 32], u8), WalletError> {
        let signature = self
            .signer
            .sign_hash(digest.into())
            .map_err(|e| WalletError::Signing(e.to_string()))?;
        let (mut r, mut s) = ([0; 32], [0; 32]);
        signature.r.to_big_endian(&mut r);
        signature.s.to_big_endian(&mut s);
        let v = u8::try_from(signature.v)
            .map_err(|_| WalletError::Signing(format!("recovery id {}", signature.v)))?;
        Ok((r, s, v))
    }

    /// Signs a transaction of this account (EIP-1559) and gives the bytes that are sent. Fees are wei a unit of gas.
    pub(crate) fn sign_transaction(
        &self,
        chain_id: u64,
        transaction: &Transaction,
        max_fee: u128,
        priority_fee: u128,
    ) -> Result<Vec<u8>, WalletError> {
        let request = Eip1559TransactionRequest::new()
            .chain_id(chain_id)
            .nonce(transaction.nonce)
            .to(H160(transaction.to.0))
            .value(transaction.value)
            .data(transaction.data.clone())
            .gas(transaction.gas)
            .max_fee_per_gas(max_fee)
            .max_priority_fee_per_gas(priority_fee);
        let request = TypedTransaction::Eip1559(request);
        let signed = self.signer.sign_transaction_sync(&request);
        let signature = signed.map_err(|e| WalletError::Signing(e.to_string()))?;
        Ok(request.rlp_signed(&signature).to_vec())
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.address())
    }
}

fn file_error(path: &Path, source: io::Error) -> WalletError {
    WalletError::File {
        path: path.into(),
        source,
    }
}

fn parse_secret(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut secret = Zeroizing::new([0; 32]);
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(secret)
}

/// Stores a new key, unless somebody else was faster.
fn create_key_file(path: &Path) -> io::Result<()> {
    let digits = Wallet::generate().secret_hex();
    let mut text = Zeroizing::new(String::with_capacity(digits.len() + 1));
    text.push_str(&digits);
    text.push('\n');
    match private_file::create(path, text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/wallet.key");
        let made = Wallet::load_or_create(&path).unwrap();
        let read = Wallet::load_or_create(&path).unwrap();
        assert_eq!(made.address(), read.address());
        let other = Wallet::load_or_create(folder.path().join("other.key")).unwrap();
        assert_ne!(made.address(), other.address());
        assert_eq!(
            std::fs::read_dir(folder.path().join("new"))
                .unwrap()
                .count(),
            1
        );
        assert_eq!(format!("{made:?}"), format!("Wallet({})", made.address()));
    }

    #[test]
    fn threads_that_make_the_key_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.key");
        let addresses: Vec<Address> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Wallet::load_or_create(&path).unwrap().address()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    }

    #[cfg(unix)]
    #[test]
    fn key_files_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.key");
        Wallet::load_or_create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for loose in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(loose)).unwrap();
            let error = Wallet::load_or_create(&path).unwrap_err();
            assert!(matches!(error, WalletError::LoosePermissions { mode, .. } if mode == loose));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.key");
        Wallet::load_or_create(&path).unwrap();
        let bad: [&[u8]; 6] = [
            b"",
            b"not a key",
            &[b'0'; 64],
            &[b'f'; 64],
            &[0xff; 64],
            &[b'1'; 1000],
        ];
        for content in bad {
            std::fs::write(&path, content).unwrap();
            let error = Wallet::load_or_create(&path).unwrap_err();
            assert!(matches!(error, WalletError::NotAKey(_)), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }
}
