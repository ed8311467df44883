//! Discrete distributions, sampled by binary search in their cumulative sums.

/// Indices with probabilities in proportion to weights.
///
/// Probabilities are differences of the stored sums, hence exactly those of [`Discrete::sample`].
#[derive(Debug, Clone)]
pub struct Discrete {
    /// Normalised sums before each index, and one at the end.
    sums: Vec<f32>,
}

impl Discrete {
    /// From weights that are finite and not negative; none if their sum is zero.
    pub fn new(weights: impl Iterator<Item = f32> + Clone) -> Option<Discrete> {
        let total: f64 = weights.clone().map(f64::from).sum();
        if total.is_nan() || total <= 0.0 {
            return None;
        }
        let mut sum = 0.0;
        let mut sums = vec![0.0];
        for weight in weights {
            sum += f64::from(weight);
            sums.push((sum / total) as f32);
        }
        // Rounding must not leave a last index that cannot be told from the end.
        if let Some(last) = sums.last_mut() {
            *last = 1.0;
        }
        Some(Discrete { sums })
    }

    /// The index at `u` in 0 <= u < 1, its probability, and where in it `u` lies, again in 0 <= u < 1.
    pub fn sample(&self, u: f32) -> (usize, f32, f32) {
        let index = self.sums[1..]
            .partition_point(|&sum| sum <= u)
            .min(self.sums.len() - 2);
        let probability = self.probability(index);
        let rest = (u - self.sums[index]) / probability;
        (index, probability, below_one(rest))
    }

    /// Probability of an index.
    pub fn probability(&self, index: usize) -> f32 {
        self.sums[index + 1] - self.sums[index]
    }
}

/// Into 0 <= u < 1.
fn below_one(u: f32) -> f32 {
    const LAST: f32 = 1.0 - f32::EPSILON / 2.0;
    if u < LAST { u } else { LAST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_as_often_as_their_weights_say() {
        let weights = [0.0f32, 3.0, 0.0, 1.0, 4.0, 0.0];
        let discrete = Discrete::new(weights.iter().copied()).unwrap();
        let mut counts = [0; 6];
        for i in 0..8000 {
            let (index, probability, rest) = discrete.sample(i as f32 / 8000.0);
            assert!((probability - weights[index] / 8.0).abs() < 1e-6);
            assert!((0.0..1.0).contains(&rest));
            counts[index] += 1;
        }
        assert_eq!(counts, [0, 3000, 0, 1000, 4000, 0]);
    }

    #[test]
    fn no_weight_no_distribution() {
        assert!(Discrete::new([0.0f32; 3].into_iter()).is_none());
        assert!(Discrete::new(std::iter::empty::<f32>()).is_none());
    }
}
