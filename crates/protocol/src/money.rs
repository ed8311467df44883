//! Money: GLM as an integer count of wei (10^-18 GLM). No floating point ever touches an amount.

use serde::{Deserialize, Serialize};
use std::{fmt, iter::Sum, str::FromStr};

/// Decimals of the token.
pub const GLM_DECIMALS: u32 = 18;
const WEI_PER_GLM: u128 = 10u128.pow(GLM_DECIMALS);

/// An amount of GLM in wei.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Glm(u128);

/// A text that is not an amount such as `12.5`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of GLM such as 12.5 (at most {GLM_DECIMALS} decimals)")]
pub struct ParseGlmError(String);

impl Glm {
    /// Nothing.
    pub const ZERO: Glm = Glm(0);

    /// An amount in wei.
    pub const fn from_wei(wei: u128) -> Self {
        Self(wei)
    }

    /// A whole number of GLM.
    pub const fn from_glm(glm: u64) -> Self {
        Self(glm as u128 * WEI_PER_GLM)
    }

    /// The amount in wei.
    pub const fn wei(self) -> u128 {
        self.0
    }

    /// The sum, unless it overflows.
    pub fn checked_add(self, other: Glm) -> Option<Glm> {
        self.0.checked_add(other.0).map(Glm)
    }

    /// The difference, unless it is negative.
    pub fn checked_sub(self, other: Glm) -> Option<Glm> {
        self.0.checked_sub(other.0).map(Glm)
    }

    /// This price times `numerator / denominator`, rounded down to the wei; `None` on overflow or division by zero.
    pub fn checked_mul_ratio(self, numerator: u128, denominator: u128) -> Option<Glm> {
        self.0
            .checked_mul(numerator)?
            .checked_div(denominator)
            .map(Glm)
    }

    /// What so many samples (pixels times samples a pixel) cost at this price of a million, rounded down to the wei; `None`
    /// when that is beyond any amount. Requestor and provider both count with it.
    pub fn for_samples(self, samples: u128) -> Option<Glm> {
        self.checked_mul_ratio(samples, 1_000_000)
    }
}

impl Sum for Glm {
    /// Saturates: totals are shown, balances use [`Glm::checked_add`].
    fn sum<I: Iterator<Item = Glm>>(amounts: I) -> Glm {
        amounts.fold(Glm::ZERO, |total, amount| {
            Glm(total.0.saturating_add(amount.0))
        })
    }
}

impl fmt::Display for Glm {
    /// All digits that matter: `0.017`, `12`, never an exponent. A precision cuts decimals (`{:.4}`), rounding down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:018}", self.0 % WEI_PER_GLM);
        let text = match f.precision() {
            Some(0) => (self.0 / WEI_PER_GLM).to_string(),
            Some(precision) => format!(
                "{}.{}",
                self.0 / WEI_PER_GLM,
                &decimals[..precision.min(18)]
            ),
            None => match decimals.trim_end_matches('0') {
                "" => (self.0 / WEI_PER_GLM).to_string(),
                shown => format!("{}.{shown}", self.0 / WEI_PER_GLM),
            },
        };
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

impl FromStr for Glm {
    type Err = ParseGlmError;
    fn from_str(text: &str) -> Result<Self, ParseGlmError> {
        let error = || ParseGlmError(text.chars().take(80).collect());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_bad =
            (whole.is_empty() && decimals.is_empty()) || !digits(whole) || !digits(decimals);
        if is_bad || decimals.len() > GLM_DECIMALS as usize {
            return Err(error());
        }
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| error())?
        };
        let fraction: u128 = format!("{decimals:0<18}").parse().map_err(|_| error())?;
        whole
            .checked_mul(WEI_PER_GLM)
            .and_then(|wei| wei.checked_add(fraction))
            .map(Glm)
            .ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn amounts_print_and_parse_back(wei in any::<u128>()) {
            let amount = Glm::from_wei(wei);
            prop_assert_eq!(amount.to_string().parse::<Glm>(), Ok(amount));
        }
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(
            "12.5".parse::<Glm>(),
            Ok(Glm::from_wei(12_500_000_000_000_000_000))
        );
        assert_eq!(
            ".5".parse::<Glm>(),
            Ok(Glm::from_wei(500_000_000_000_000_000))
        );
        assert_eq!("3".parse::<Glm>(), Ok(Glm::from_glm(3)));
        for bad in [
            "",
            ".",
            "-1",
            "1e3",
            "1,5",
            "0.0000000000000000001",
            "abc",
            "999999999999999999999999",
        ] {
            assert!(bad.parse::<Glm>().is_err(), "{bad}");
        }
        assert_eq!(
            format!("{:.4}", Glm::from_wei(1_234_567_000_000_000_000)),
            "1.2345"
        );
    }

    #[test]
    fn ratios_round_down_and_never_wrap() {
        assert_eq!(
            Glm::from_wei(10).checked_mul_ratio(2, 3),
            Some(Glm::from_wei(6))
        );
        assert_eq!(Glm::from_wei(u128::MAX).checked_mul_ratio(2, 3), None);
        assert_eq!(Glm::from_wei(1).checked_mul_ratio(1, 0), None);
    }
}
