//! Where a cheat puts an edit: which answers it bends so that they add up to what it delivered.

use super::sums::{GROUPS, Sums};
use crate::simulator::random::Random;

/// How the strata are made to fit the edited cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Not at all: the answers are those of the honest strata.
    MeanAlone,
    /// In equal parts into so many strata, drawn at random.
    Spread(usize),
    /// Into so many strata that were chosen, once the groups were known, to hide it best: what brightens fills up the
    /// darkest ones to one level, what darkens takes its part from the brightest ones.
    Hidden(usize),
}

impl Placement {
    /// All placements that are tried with this many strata: the plain ones first.
    pub fn all(strata: usize) -> Vec<Placement> {
        let mut all = vec![
            Placement::MeanAlone,
            Placement::Spread(1),
            Placement::Spread(strata),
        ];
        let halves = std::iter::successors(Some(1), |count| Some(count * 2));
        let some = halves.take_while(|&count| count < strata);
        all.extend(some.map(Placement::Hidden));
        // Three quarters: black needs all, half as bright needs half of them.
        all.push(Placement::Hidden(strata * 3 / 4));
        all
    }

    /// How many of [`Placement::all`] are plain: the mean alone, one stratum, all strata.
    pub const PLAIN: usize = 3;

    /// The answers for honest sums and the sums that the edited cell is due; strata have equally many samples.
    pub fn answers(self, honest: &[Sums], due: &[f64; GROUPS], random: &mut Random) -> Vec<Sums> {
        let mut answers = honest.to_vec();
        let chosen = self.strata(honest, due, random);
        for group in 0..GROUPS {
            let light = |of: &Sums| f64::from(of[group]);
            let missing = due[group] * honest.len() as f64 - honest.iter().map(light).sum::<f64>();
            let before: Vec<f64> = chosen.iter().map(|&at| light(&honest[at])).collect();
            let after = match self {
                Placement::Hidden(_) if missing > 0.0 => filled_up(&before, missing),
                Placement::Hidden(_) => {
                    let factor = 1.0 + missing / before.iter().sum::<f64>().max(1e-30);
                    before.iter().map(|light| light * factor).collect()
                }
                _ => {
                    let part = missing / before.len().max(1) as f64;
                    before.iter().map(|light| light + part).collect()
                }
            };
            for (&at, light) in chosen.iter().zip(after) {
                answers[at][group] = light as f32;
            }
        }
        answers
    }

    fn strata(self, honest: &[Sums], due: &[f64; GROUPS], random: &mut Random) -> Vec<usize> {
        let mut order: Vec<usize> = (0..honest.len()).collect();
        let total = |at: usize| honest[at].iter().map(|&sum| f64::from(sum)).sum::<f64>();
        let count = match self {
            Placement::MeanAlone => 0,
            Placement::Spread(count) => {
                for last in (1..order.len()).rev() {
                    order.swap(last, random.below(last as u64 + 1) as usize);
                }
                count
            }
            Placement::Hidden(count) => {
                order.sort_by(|&a, &b| total(a).total_cmp(&total(b)));
                let mean = order.iter().map(|&at| total(at)).sum::<f64>() / honest.len() as f64;
                if due.iter().sum::<f64>() < mean {
                    order.reverse();
                }
                count
            }
        };
        order.truncate(count);
        order
    }
}

/// Adds `missing` to the smallest values so that those that grow end at one level.
fn filled_up(before: &[f64], missing: f64) -> Vec<f64> {
    let mut sorted = before.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut sum = 0.0;
    let mut level = 0.0;
    for (count, light) in (1..).zip(&sorted) {
        sum += light;
        level = (sum + missing) / f64::from(count);
        if sorted.get(count as usize).is_none_or(|&next| next >= level) {
            break;
        }
    }
    before.iter().map(|&light| light.max(level)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bent_answers_add_up_and_touch_only_their_strata() {
        let mut random = Random::new(4);
        let honest: Vec<Sums> = (0..16)
            .map(|at| [1.0 + (at * 7 % 5) as f32; GROUPS])
            .collect();
        for factor in [1.5, 0.8] {
            let mean = honest.iter().map(|of| f64::from(of[0])).sum::<f64>() / 16.0;
            let due = [mean * factor; GROUPS];
            for placement in Placement::all(16).into_iter().skip(1) {
                let answers = placement.answers(&honest, &due, &mut random);
                let stated = answers.iter().map(|of| f64::from(of[2])).sum::<f64>() / 16.0;
                assert!((stated - due[2]).abs() < 1e-5, "{placement:?}");
                let touched = honest.iter().zip(&answers).filter(|(a, b)| a != b).count();
                let (Placement::Spread(count) | Placement::Hidden(count)) = placement else {
                    continue;
                };
                assert!(touched > 0 && touched <= count, "{placement:?}: {touched}");
            }
        }
    }
}
