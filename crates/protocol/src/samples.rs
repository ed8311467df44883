//! Ranges of a pixel's samples: what can be rendered by itself, here or by somebody else.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Consecutive samples of every pixel, out of all those of a job.
///
/// A sample's random numbers depend on its index and not on the range that it is rendered in, so ranges that
/// partition the samples hold the same paths as the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SampleRange {
    /// Index of the first sample.
    pub first: u32,
    /// How many samples.
    pub count: u32,
}

impl SampleRange {
    /// All samples of a job.
    pub const fn all(samples: u32) -> Self {
        Self {
            first: 0,
            count: samples,
        }
    }

    /// One past the last sample.
    pub fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }

    /// The partition of `samples` into `strata` ranges in order, as equal as whole samples allow; no more ranges than
    /// samples, so that none is empty.
    pub fn strata(samples: u32, strata: u32) -> impl Iterator<Item = Self> {
        let strata = strata.min(samples);
        let start = move |index: u32| {
            (u64::from(samples) * u64::from(index) / u64::from(strata.max(1))) as u32
        };
        (0..strata).map(move |index| Self {
            first: start(index),
            count: start(index + 1) - start(index),
        })
    }
}

impl fmt::Display for SampleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_partition_the_samples_evenly() {
        for samples in 0..70 {
            for strata in 0..40 {
                let ranges: Vec<SampleRange> = SampleRange::strata(samples, strata).collect();
                assert_eq!(ranges.len() as u32, strata.min(samples));
                let mut next = 0;
                for range in &ranges {
                    assert_eq!(range.first, next);
                    assert!(range.count >= samples / strata && range.count > 0);
                    assert!(range.count <= samples.div_ceil(strata));
                    next = range.end();
                }
                assert!(ranges.is_empty() || next == samples);
            }
        }
    }
}
