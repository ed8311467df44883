//! Which strata of a cell are rendered again.

use super::{GROUPS, Sums};
use protocol::{Blake3Hash, geometry::Cell};

const STRATA_CONTEXT: &str = "open render farm 2026 strata draw v1";

/// How many strata of a cell are drawn in which way. A stratum is drawn once: the sum is the most that is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In proportion to what a stratum adds to the cell: sees what brightens, spread in whatever way.
    pub by_value: u32,
    /// In proportion to how far it departs from its siblings: sees what is put into few strata.
    pub by_deviation: u32,
    /// Each as likely as the other: sees what is spread over many, and what darkens.
    pub by_chance: u32,
}

/// Random numbers that are a function of a purpose, a key and a cell.
pub(super) struct Draw(blake3::OutputReader);

impl Draw {
    pub fn new(context: &str, key: &[u8], cell: Cell) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(key);
        hasher.update(&cell.column.to_le_bytes());
        hasher.update(&cell.row.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    fn next(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// A number below `end`, which is small: the bias is `end` in 2^32.
    pub fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(end)) >> 32) as u32
    }

    /// A fraction in [0, 1).
    fn unit(&mut self) -> f64 {
        f64::from(self.next()) / 4_294_967_296.0
    }

    /// Fisher and Yates.
    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// How far each stratum departs from its siblings, as a share of the cell's light: the root of the mean square, over
/// the groups, of its distance from the median stratum.
///
/// It is an effect and no significance: what the cell would change by if this stratum were an ordinary one. So the noise
/// needs no model, and a firefly counts for as much as an edit of its size, not more.
pub fn deviations(sums: &[Sums]) -> Vec<f64> {
    let mut squares = vec![0.0; sums.len()];
    for group in 0..GROUPS {
        let mut sorted: Vec<f32> = sums.iter().map(|of| of[group]).collect();
        sorted.sort_by(f32::total_cmp);
        let median = f64::from(sorted.get(sums.len() / 2).copied().unwrap_or(0.0));
        let total: f64 = sorted.iter().map(|&sum| f64::from(sum)).sum();
        if total > 0.0 {
            for (square, of) in squares.iter_mut().zip(sums) {
                let share = (f64::from(of[group]) - median) / total;
                *square += share * share / GROUPS as f64;
            }
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// The part of the cell's light that each stratum holds, all groups alike.
fn values(sums: &[Sums]) -> Vec<f64> {
    let mut totals = [0.0_f64; GROUPS];
    for of in sums {
        for (total, sum) in totals.iter_mut().zip(of) {
            *total += f64::from(*sum);
        }
    }
    let share = |(sum, total): (&f32, &f64)| match *total > 0.0 {
        true => f64::from(*sum) / total,
        false => 0.0,
    };
    sums.iter()
        .map(|of| of.iter().zip(&totals).map(share).sum())
        .collect()
}

/// Gives a weight to each stratum of a cell.
type Weigh = fn(&[Sums]) -> Vec<f64>;

/// The strata of a cell that are rendered again, in order: a keyed function of the job's secret seed, the hash of all
/// answers of the tile (so that no answer can be given once the draw is known) and the cell's own, checked, answers.
pub fn draw_strata(
    secret: &[u8; 32],
    answers: &Blake3Hash,
    cell: Cell,
    sums: &[Sums],
    quota: Quota,
) -> Vec<u32> {
    let key = [*secret, answers.0];
    let mut draw = Draw::new(STRATA_CONTEXT, key.as_flattened(), cell);
    let mut left: Vec<usize> = (0..sums.len()).collect();
    draw.shuffle(&mut left);
    let mut drawn = Vec::new();
    let ways: [(Weigh, u32); 3] = [
        (values, quota.by_value),
        (deviations, quota.by_deviation),
        (|sums| vec![1.0; sums.len()], quota.by_chance),
    ];
    for (weigh, count) in ways.into_iter().filter(|(_, count)| *count > 0) {
        let picked = in_proportion(&mut draw, &left, &weigh(sums), count as usize);
        left.retain(|stratum| !picked.contains(stratum));
        drawn.extend(picked);
    }
    let mut drawn: Vec<u32> = drawn.into_iter().map(|stratum| stratum as u32).collect();
    drawn.sort_unstable();
    drawn
}

/// Draws `count` of `items` without repeating any, with probabilities in proportion to their weights: those that weigh a
/// whole draw or more for certain, the others at equal steps along their sum (systematic sampling, Madow 1949). Without
/// any weight, the first ones.
fn in_proportion(draw: &mut Draw, items: &[usize], weights: &[f64], count: usize) -> Vec<usize> {
    let mut rest: Vec<usize> = items.to_vec();
    let mut picked = Vec::new();
    let count = count.min(rest.len());
    loop {
        let total: f64 = rest.iter().map(|&item| weights[item]).sum();
        let missing = count - picked.len();
        if missing == 0 {
            return picked;
        }
        if total <= 0.0 {
            picked.extend(&rest[..missing]);
            return picked;
        }
        let step = total / missing as f64;
        let (certain, mut others): (Vec<usize>, Vec<usize>) =
            rest.iter().partition(|&&item| weights[item] >= step);
        if certain.is_empty() {
            let start = draw.unit() * step;
            let mut stepped = at_steps(&others, weights, start, step, missing);
            // The last step can lie beyond the sum by rounding.
            others.retain(|item| !stepped.contains(item));
            others.truncate(missing - stepped.len());
            stepped.append(&mut others);
            picked.append(&mut stepped);
            return picked;
        }
        // No more than `missing` items can weigh a step each, except by rounding.
        picked.extend(certain.into_iter().take(missing));
        rest = others;
    }
}

/// The items at `start`, `start + step` and so on along the sum of the weights, each of which is below a step.
fn at_steps(items: &[usize], weights: &[f64], start: f64, step: f64, count: usize) -> Vec<usize> {
    let mut picked = Vec::new();
    let mut sum = 0.0;
    for &item in items {
        sum += weights[item];
        if picked.len() < count && start + step * picked.len() as f64 <= sum && weights[item] > 0.0
        {
            picked.push(item);
        }
    }
    picked
}
