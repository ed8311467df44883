//! How rare a value is that was never seen: the tail of a sample as a power law.

/// At most so large a share of the sample is its tail.
const TAIL_SHARE: f64 = 0.01;
/// Fewer values than this make no tail.
const TAIL_MIN: usize = 10;
/// Decay of a tail that is told from fewer values than the above, pessimistically.
const SLOWEST_DECAY: f64 = 1.0;

/// `P(X > x) = share (x / start)^-decay` from `start` on, by Hill's estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Where it begins.
    pub start: f64,
    /// How much of the sample lies beyond.
    pub share: f64,
    /// The exponent.
    pub decay: f64,
}

impl Tail {
    /// The tail of a sample of positive values; none when the sample is too small to have one.
    pub fn fit(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let count = ((sorted.len() as f64 * TAIL_SHARE) as usize).max(TAIL_MIN);
        let start = *sorted.get(count)?;
        if start <= 0.0 {
            return None;
        }
        let logs: f64 = sorted[..count].iter().map(|x| (x / start).ln()).sum();
        let decay = match logs > 0.0 {
            true => count as f64 / logs,
            false => SLOWEST_DECAY,
        };
        Some(Self {
            start,
            share: count as f64 / sorted.len() as f64,
            decay,
        })
    }

    /// Probability of a value beyond `x`; at most the tail's own share.
    pub fn beyond(&self, x: f64) -> f64 {
        self.share * (x / self.start).max(1.0).powf(-self.decay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_law_is_found() {
        // Quantiles of P(X > x) = x^-2.
        let sample: Vec<f64> = (1..10_000)
            .map(|i| (f64::from(i) / 1e4).powf(-0.5))
            .collect();
        let tail = Tail::fit(&sample).unwrap();
        assert!((tail.decay - 2.0).abs() < 0.15, "{tail:?}");
        let rare = tail.beyond(100.0);
        assert!((rare / 1e-4 - 1.0).abs() < 0.8, "{rare}");
        assert!((tail.beyond(0.0) - TAIL_SHARE).abs() < 1e-3);
    }

    #[test]
    fn few_values_have_no_tail() {
        assert_eq!(Tail::fit(&[1.0; TAIL_MIN]), None);
        assert_eq!(Tail::fit(&[0.0; 1000]), None);
        assert_eq!(Tail::fit(&[1.0; 1000]).unwrap().decay, SLOWEST_DECAY);
    }
}
