//! Version 3 of Ethereum's JSON keystore (the Web3 Secret Storage Definition): a password is stretched to 32 bytes, the first
//! half of them encrypts the key with AES-128 in counter mode, the second half goes into a Keccak hash that tells a wrong
//! password.

use super::{Fault, Password};
use crate::Wallet;
use aes::Aes128;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use ethers_core::{
    rand::{RngCore, rngs::OsRng},
    utils::{hex, keccak256},
};
use pbkdf2::{pbkdf2_hmac, sha2::Sha256};
use protocol::Address;
use scrypt::Params;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};
use std::fmt;
use zeroize::Zeroizing;

const VERSION: u64 = 3;
const CIPHER: &str = "aes-128-ctr";
const SCRYPT: &str = "scrypt";
const PBKDF2: &str = "pbkdf2";
const PBKDF2_FUNCTION: &str = "hmac-sha256";
/// Bytes that a password is stretched to; more, where a file asks for them, would not be used.
const DERIVED_BYTES: usize = 32;
const SECRET_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
/// Most memory that a file may have us take, in bytes: somewhat more than twice what standard strength takes.
const SCRYPT_BYTES_MAX: u64 = 576 << 20;
/// Most blocks (n * r * p) that a file may have us mix: sixteen times standard strength, some ten seconds.
const SCRYPT_BLOCKS_MAX: u64 = 16 * (8 << 18);
/// Most rounds of pbkdf2 that a file may ask for, some ten seconds; 262144 are usual.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

/// What geth calls its standard: 256 MiB and about a second for each guess of a password.
pub(super) fn standard_strength() -> Result<Params, Fault> {
    Params::new(18, 8, 1).map_err(|e| Fault::Malformed(e.to_string()))
}

/// How a password is stretched, with what makes equal passwords differ.
#[derive(Debug)]
enum Stretching {
    Scrypt { cost: Params, salt: Vec<u8> },
    Pbkdf2 { rounds: u32, salt: Vec<u8> },
}

/// An encrypted key.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Whose it says that it is; nothing proves it before it is decrypted.
    pub address: Option<Address>,
    stretching: Stretching,
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    mac: [u8; 32],
}

/// The fields as they stand in the file.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    address: Option<String>,
    // Some write the one, some the other.
    #[serde(alias = "Crypto")]
    crypto: CryptoFields,
}

#[derive(Deserialize)]
struct CryptoFields {
    cipher: String,
    cipherparams: CipherFields,
    ciphertext: HexBytes,
    kdf: String,
    kdfparams: Value,
    mac: HexBytes,
}

#[derive(Deserialize)]
struct CipherFields {
    iv: HexBytes,
}

#[derive(Deserialize)]
struct ScryptFields {
    dklen: u64,
    n: u64,
    r: u32,
    p: u32,
    salt: HexBytes,
}

#[derive(Deserialize)]
struct Pbkdf2Fields {
    dklen: u64,
    c: u32,
    prf: String,
    salt: HexBytes,
}

/// Bytes in hexadecimal, perhaps after `0x`.
struct HexBytes(Vec<u8>);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(de::Error::custom)
    }
}

impl Sealed {
    /// Encrypts the key of a wallet.
    pub fn seal(wallet: &Wallet, password: &Password, cost: Params) -> Result<Self, Fault> {
        let stretching = Stretching::Scrypt {
            cost,
            salt: random::<SALT_BYTES>().into(),
        };
        let iv = random();
        let derived = stretching.derive(password)?;
        let mut text = wallet.secret();
        apply_aes_128_ctr(&derived, &iv, text.as_mut());
        Ok(Self {
            address: Some(wallet.address()),
            mac: mac(&derived, text.as_ref()),
            ciphertext: text.to_vec(),
            stretching,
            iv,
        })
    }

    /// Decrypts the key.
    pub fn unseal(&self, password: &Password) -> Result<Wallet, Fault> {
        let derived = self.stretching.derive(password)?;
        if mac(&derived, &self.ciphertext) != self.mac {
            return Err(Fault::WrongPassword);
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        // Some programs leave out leading zeros of a key.
        let text = &mut secret[SECRET_BYTES - self.ciphertext.len()..];
        text.copy_from_slice(&self.ciphertext);
        apply_aes_128_ctr(&derived, &self.iv, text);
        let wallet = Wallet::from_secret(&secret);
        let wallet = wallet.map_err(|e| Fault::Malformed(e.to_string()))?;
        match self.address {
            Some(claimed) if claimed != wallet.address() => Err(Fault::OtherAddress {
                claimed,
                held: wallet.address(),
            }),
            _ => Ok(wallet),
        }
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        let (kdf, parameters) = match &self.stretching {
            Stretching::Scrypt { cost, salt } => (
                SCRYPT,
                json!({
                    "dklen": DERIVED_BYTES, "n": cost.n(), "r": cost.r(), "p": cost.p(),
                    "salt": hex::encode(salt),
                }),
            ),
            Stretching::Pbkdf2 { rounds, salt } => (
                PBKDF2,
                json!({
                    "dklen": DERIVED_BYTES, "c": rounds, "prf": PBKDF2_FUNCTION, "salt": hex::encode(salt),
                }),
            ),
        };
        let file = json!({
            // Without `0x`, as geth writes it.
            "address": self.address.map(|address| hex::encode(address.0)),
            "crypto": {
                "cipher": CIPHER,
                "cipherparams": { "iv": hex::encode(self.iv) },
                "ciphertext": hex::encode(&self.ciphertext),
                "kdf": kdf,
                "kdfparams": parameters,
                "mac": hex::encode(self.mac),
            },
            "id": random_uuid(),
            "version": VERSION,
        });
        format!("{file}\n")
    }

    /// Reads a file's content. Nothing is derived yet, and nothing will be that takes more than the limits allow.
    pub fn parse(content: &[u8]) -> Result<Self, Fault> {
        let file: Value = serde_json::from_slice(content).map_err(malformed)?;
        match file.get("version") {
            Some(version) if version.as_u64() == Some(VERSION) => {}
            Some(version) => return Err(Fault::Version(version.to_string())),
            None => return Err(Fault::Malformed("it names no version".into())),
        }
        let Fields { address, crypto } = Fields::deserialize(file).map_err(malformed)?;
        if crypto.cipher != CIPHER {
            return Err(Fault::Cipher(crypto.cipher));
        }
        let ciphertext = crypto.ciphertext.0;
        if ciphertext.is_empty() || ciphertext.len() > SECRET_BYTES {
            let length = ciphertext.len();
            return Err(Fault::Malformed(format!(
                "{length} encrypted bytes are no key"
            )));
        }
        Ok(Self {
            address: address.as_deref().map_or(Ok(None), parse_address)?,
            stretching: Stretching::parse(&crypto.kdf, crypto.kdfparams)?,
            iv: exactly(crypto.cipherparams.iv, "the initialization vector")?,
            ciphertext,
            mac: exactly(crypto.mac, "the checksum `mac`")?,
        })
    }

    /// How the password is stretched, for people.
    pub fn stretching(&self) -> impl fmt::Display + '_ {
        &self.stretching
    }
}

impl Stretching {
    fn parse(name: &str, parameters: Value) -> Result<Self, Fault> {
        match name {
            SCRYPT => Self::parse_scrypt(parameters),
            PBKDF2 => Self::parse_pbkdf2(parameters),
            other => Err(Fault::Kdf(other.into())),
        }
    }

    fn parse_scrypt(parameters: Value) -> Result<Self, Fault> {
        let fields = ScryptFields::deserialize(parameters).map_err(malformed)?;
        check_derived_length(fields.dklen)?;
        let ScryptFields { n, r, p, .. } = fields;
        let (n_wide, r_wide, p_wide) = (u128::from(n), u128::from(r), u128::from(p));
        let bytes = 128 * r_wide * (n_wide + p_wide);
        let blocks = n_wide.saturating_mul(r_wide * p_wide);
        if bytes > SCRYPT_BYTES_MAX.into() || blocks > SCRYPT_BLOCKS_MAX.into() {
            return Err(Fault::TooCostly(format!(
                "scrypt with n = {n}, r = {r}, p = {p}"
            )));
        }
        let log_n = n.is_power_of_two().then(|| n.trailing_zeros() as u8);
        // One is no work at all.
        let log_n = log_n.filter(|log_n| *log_n > 0);
        let cost = log_n.and_then(|log_n| Params::new(log_n, r, p).ok());
        let cost = cost.ok_or_else(|| {
            Fault::Malformed(format!(
                "scrypt has no parameters n = {n}, r = {r}, p = {p}"
            ))
        })?;
        let salt = fields.salt.0;
        Ok(Self::Scrypt { cost, salt })
    }

    fn parse_pbkdf2(parameters: Value) -> Result<Self, Fault> {
        let fields = Pbkdf2Fields::deserialize(parameters).map_err(malformed)?;
        check_derived_length(fields.dklen)?;
        if fields.prf != PBKDF2_FUNCTION {
            return Err(Fault::Kdf(format!("{PBKDF2} with {}", fields.prf)));
        }
        match fields.c {
            0 => Err(Fault::Malformed("pbkdf2 has no rounds".into())),
            1..=PBKDF2_ROUNDS_MAX => Ok(Self::Pbkdf2 {
                rounds: fields.c,
                salt: fields.salt.0,
            }),
            rounds => Err(Fault::TooCostly(format!("pbkdf2 with {rounds} rounds"))),
        }
    }

    fn derive(&self, password: &Password) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, Fault> {
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            Self::Scrypt { cost, salt } => {
                scrypt::scrypt(password.as_bytes(), salt, cost, derived.as_mut())
                    .map_err(|e| Fault::Malformed(e.to_string()))?;
            }
            Self::Pbkdf2 { rounds, salt } => {
                pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, *rounds, derived.as_mut());
            }
        }
        Ok(derived)
    }
}

impl fmt::Display for Stretching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scrypt { cost, .. } => {
                let (n, r, p) = (cost.n(), cost.r(), cost.p());
                write!(f, "scrypt, n = {n}, r = {r}, p = {p}")
            }
            Self::Pbkdf2 { rounds, .. } => write!(f, "pbkdf2, {rounds} rounds"),
        }
    }
}

fn malformed(error: serde_json::Error) -> Fault {
    Fault::Malformed(error.to_string())
}

fn check_derived_length(bytes: u64) -> Result<(), Fault> {
    match bytes >= DERIVED_BYTES as u64 {
        true => Ok(()),
        false => Err(Fault::Malformed(format!(
            "{bytes} derived bytes are too few"
        ))),
    }
}

/// Some programs leave the address empty.
fn parse_address(text: &str) -> Result<Option<Address>, Fault> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|e| Fault::Malformed(format!("the address is {e}"))),
    }
}

fn exactly<const N: usize>(bytes: HexBytes, what: &str) -> Result<[u8; N], Fault> {
    let length = bytes.0.len();
    let wrong = |_| Fault::Malformed(format!("{what} has {length} bytes instead of {N}"));
    bytes.0.try_into().map_err(wrong)
}

/// Encrypts what is plain and decrypts what is encrypted.
fn apply_aes_128_ctr(derived: &[u8; DERIVED_BYTES], iv: &[u8; 16], text: &mut [u8]) {
    let (key, _) = derived.split_at(16);
    Ctr128BE::<Aes128>::new(key.into(), iv.into()).apply_keystream(text);
}

fn mac(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; 32] {
    let (_, key) = derived.split_at(16);
    keccak256(Zeroizing::new([key, ciphertext].concat()))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Version 4: all of it random but six bits.
fn random_uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|group| &digits[group]).join("-")
}
