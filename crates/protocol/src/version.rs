//! Versions of Blender. Two releases, even of one series, may render other pixels, so a job names the one that it needs.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A release of Blender: `4.5.15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlenderVersion {
    /// The 4 of `4.5.15`.
    pub major: u16,
    /// The 5 of `4.5.15`.
    pub minor: u16,
    /// The 15 of `4.5.15`.
    pub patch: u16,
}

/// The first Blender whose parts of a pixel's samples make up the whole.
const DIVIDES_SAMPLES_FROM: (u16, u16) = (4, 4);

impl BlenderVersion {
    /// Can it render a range of a pixel's samples as they are among all of them?
    pub fn divides_samples(self) -> bool {
        (self.major, self.minor) >= DIVIDES_SAMPLES_FROM
    }
}

impl fmt::Display for BlenderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that names no release of Blender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version of Blender, such as 4.5.15")]
pub struct ParseVersionError(String);

impl FromStr for BlenderVersion {
    type Err = ParseVersionError;

    /// Reads `4.5.15`, `5.0` and what Blender says of itself: `4.5.15 LTS`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseVersionError(text.chars().take(80).collect());
        let number = text.split_whitespace().next().ok_or_else(error)?;
        let mut parts = number.splitn(3, '.').map(|part| part.parse::<u16>().ok());
        let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
            return Err(error());
        };
        let patch = parts.next().unwrap_or(Some(0)).ok_or_else(error)?;
        Ok(Self {
            major,
            minor,
            patch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_blender_tells_them() {
        let version = |major, minor, patch| {
            Ok(BlenderVersion {
                major,
                minor,
                patch,
            })
        };
        assert_eq!("4.5.15 LTS".parse(), version(4, 5, 15));
        assert_eq!("5.0.1".parse(), version(5, 0, 1));
        assert_eq!("5.1".parse(), version(5, 1, 0));
        assert_eq!(
            "4.5.15".parse::<BlenderVersion>().unwrap().to_string(),
            "4.5.15"
        );
        for bad in ["", "LTS", "5", "5.x", "5.0.1.2", "99999.0"] {
            assert!(bad.parse::<BlenderVersion>().is_err(), "{bad}");
        }
        let divides = |text: &str| text.parse::<BlenderVersion>().unwrap().divides_samples();
        assert!(divides("4.4.0") && divides("5.0.1") && !divides("4.3.9") && !divides("3.6.23"));
        assert!("4.10.0".parse::<BlenderVersion>().ok() > "4.9.3".parse().ok());
    }
}
