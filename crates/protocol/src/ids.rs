//! Identifiers: small fixed-size byte strings that print as lowercase hexadecimal.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not an id of the expected length in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected_digits} hexadecimal digits: `{text}`")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
    /// How many digits the id has.
    pub expected_digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = || ParseIdError {
        text: text.chars().take(80).collect(),
        expected_digits: N * 2,
    };
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != N * 2 {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16).ok_or_else(error)?;
        let low = (pair[1] as char).to_digit(16).ok_or_else(error)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// The first eight hexadecimal digits: enough for a person to tell a few apart.
            pub fn short(&self) -> String {
                self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

byte_id!(
    /// A peer: the ed25519 public key of its libp2p identity.
    NodeId, 32, ""
);
byte_id!(
    /// A job: 16 random bytes drawn by the requestor.
    JobId, 16, ""
);
byte_id!(
    /// A blake3 hash: of a blob, a canonical tile, a specification, a commitment.
    Blake3Hash, 32, ""
);
byte_id!(
    /// An account of the Ethereum family.
    Address, 20, "0x"
);

impl Blake3Hash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl From<blake3::Hash> for Blake3Hash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

/// A task of a job, numbered by its requestor; a task that is given again to somebody else gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// 64 bytes of an ed25519 signature, in two halves because serde stops at arrays of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The first half.
    pub r: [u8; 32],
    /// The second half.
    pub s: [u8; 32],
}

impl Signature {
    /// Splits the usual 64-byte form.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Self { r, s }
    }

    /// The usual 64-byte form.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.r);
        bytes[32..].copy_from_slice(&self.s);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_back() {
        let id = JobId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        let address = Address([0x0f; 20]);
        assert_eq!(address.to_string(), format!("0x{}", "0f".repeat(20)));
        assert_eq!(address.to_string().parse(), Ok(address));
        assert!("0x12".parse::<Address>().is_err());
        assert!("zz".repeat(16).parse::<JobId>().is_err());
    }
}
