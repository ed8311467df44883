//! Sample strata: checks that cover every cell of a tile for a share of the price of rendering it twice.
//!
//! A path-traced pixel is a mean over samples, and samples can be rendered in consecutive ranges (strata), by different
//! peers. So a tile can be checked cell by cell:
//!
//! 1. The worker commits to the tile, as always, and keeps the strata.
//! 2. The requestor sends a [`Challenge`], drawn from its secret and the commitment: a division of each cell's values
//!    into [`GROUPS`] secret groups. The worker answers with the sum of each group in each stratum.
//! 3. [`check_sums`]: the answers of a cell must add up to the sums over the delivered pixels, rounding apart.
//! 4. [`draw_strata`]: drawn from the secret and the answers, some strata of each cell are rendered by others: by chance,
//!    and with a probability in proportion to what a stratum adds to the cell or departs from its siblings. Their sums
//!    must be the answered ones, bit for bit.
//!
//! Strata need no commitment of their own. The tile is committed to before the groups are known, so an edit of it changes
//! the sum that its groups are due; then at least one answer of that cell is untrue, whatever the worker keeps, and
//! the answers are given before the draw is known. What is left is the chance to draw an untrue stratum.
//!
//! An edit that adds a share `f` to the (edited) cell is drawn by each draw in proportion to value with a
//! probability of at least `f`, over however many strata it is spread and however noisy they are: those strata hold
//! the share `f` or more of the sum that the draw is made from. That is dollar-unit sampling of audits (Neter, Leitch,
//! Fienberg: "Dollar unit sampling", The Accounting Review 1978). Strata that hold more than a draw's part of the sum
//! are always drawn. An edit that darkens must take away from strata, and no stratum holds less than nothing.
//!
//! Secret pixels are the other way to cover every cell: a few of each with all their samples. They need no answers and no
//! strata, but an engine to which single pixels cost no more than pixels of a tile. They are what the farm uses.
//!
//! What it cannot see: edits so small beside the cell's light, or of so few pixels, that they are not drawn; light
//! taken away that came from a few strata. Radiance below zero is refused, so scenes with negative light cannot be checked.

mod draw;

pub use draw::{Quota, deviations, draw_strata};

use protocol::{Blake3Hash, Rect, SecretPixels, geometry::Cell};

/// Groups that a cell's values are divided into.
pub const GROUPS: usize = 4;
/// Channels that are summed: the light of a pixel, not its alpha.
const CHANNELS: usize = 3;
/// Pixels of a whole cell.
const CELL_PIXELS: usize = 64;
const CHALLENGE_CONTEXT: &str = "open render farm 2026 strata challenge v1";
/// Half of the distance between 1 and the next f32: the relative error of rounding once.
const ROUNDING: f64 = (f32::EPSILON / 2.0) as f64;

/// What is asked about a tile once its worker has committed to it. Unpredictable before, no secret after: it goes to the
/// worker, who answers about its strata, and to whoever renders strata or pixels again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge(pub [u8; 32]);

/// The sums of a cell's groups in one stratum.
pub type Sums = [f32; GROUPS];

/// Why the answers of a cell cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SumsError {
    /// More or fewer strata than due.
    #[error("sums of {found} strata were answered where {due} are due")]
    Count {
        /// Strata due.
        due: usize,
        /// Strata answered.
        found: usize,
    },
    /// A sum that light cannot have.
    #[error("a sum of stratum {stratum} is negative or not finite")]
    NotLight {
        /// The first such stratum.
        stratum: usize,
    },
    /// The mean over the strata is not that of the pixels.
    #[error("the strata add up to {stated} where the pixels have {due}")]
    Misfit {
        /// Weighted mean of the answers of the group.
        stated: f64,
        /// Sum of the group's pixels.
        due: f64,
    },
}

impl Challenge {
    /// So many secret pixels of every cell, drawn as the farm draws them: rectangles of one pixel.
    pub fn pixels(&self, tile: &Rect, per_cell: u8) -> Vec<Rect> {
        let pixels = SecretPixels {
            challenge: self.0,
            per_cell,
            packed: None,
        };
        pixels.rects(tile)
    }

    /// The challenge to the worker of this commitment, from the job's secret seed.
    pub fn new(secret: &[u8; 32], commitment: &Blake3Hash) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CHALLENGE_CONTEXT);
        hasher.update(secret);
        hasher.update(&commitment.0);
        Self(hasher.finalize().into())
    }

    /// The groups of a cell.
    pub fn groups(&self, cell: Cell) -> Groups {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&cell.column.to_le_bytes());
        hasher.update(&cell.row.to_le_bytes());
        let mut of = [0; CELL_PIXELS * CHANNELS];
        hasher.finalize_xof().fill(&mut of);
        Groups(of.map(|byte| byte % GROUPS as u8))
    }
}

/// Which group each value (pixel by pixel, channel by channel) of a cell belongs to.
#[derive(Debug, Clone)]
pub struct Groups([u8; CELL_PIXELS * CHANNELS]);

impl Groups {
    /// The sums over a cell's pixels, rows from the top, cut at the tile's edge: summed in f64 in that order and
    /// rounded once, so that everybody who has the same pixels has the same bits.
    pub fn sums(&self, pixels: &[[f32; 4]]) -> Sums {
        self.exact(pixels).map(|sum| sum as f32)
    }

    fn exact(&self, pixels: &[[f32; 4]]) -> [f64; GROUPS] {
        let mut sums = [0.0; GROUPS];
        for (pixel, groups) in pixels.iter().zip(self.0.as_chunks::<CHANNELS>().0) {
            for (value, group) in pixel.iter().zip(groups) {
                sums[usize::from(*group)] += f64::from(*value);
            }
        }
        sums
    }
}

/// Do a cell's answers, one for each stratum, add up to its pixels? `samples` are those of each stratum.
///
/// The bound is that of honest rounding: pixels of strata, their sums and pixels of the tile are each rounded once to
/// f32, which moves a sum of light by at most 2^-24 of it; the rest is for the f64 sums. What hides in it is less
/// than a quarter of a millionth of the cell's light.
///
/// # Errors
/// [`SumsError`]; honest answers about scenes without negative light never fail.
pub fn check_sums(
    groups: &Groups,
    pixels: &[[f32; 4]],
    sums: &[Sums],
    samples: &[u32],
) -> Result<(), SumsError> {
    if sums.len() != samples.len() {
        let (due, found) = (samples.len(), sums.len());
        return Err(SumsError::Count { due, found });
    }
    let is_light = |sum: &f32| sum.is_finite() && *sum >= 0.0;
    if let Some(stratum) = sums.iter().position(|of| !of.iter().all(is_light)) {
        return Err(SumsError::NotLight { stratum });
    }
    let total: f64 = samples.iter().map(|&count| f64::from(count)).sum();
    for (group, due) in groups.exact(pixels).into_iter().enumerate() {
        let weighted = sums.iter().zip(samples);
        let stated: f64 = weighted
            .map(|(sums, &count)| f64::from(sums[group]) * f64::from(count))
            .sum::<f64>()
            / total.max(1.0);
        // Below the smallest normal f32 rounding is absolute.
        let bound = 4.0 * ROUNDING * due.abs().max(stated) + f64::from(f32::MIN_POSITIVE);
        if !due.is_finite() || (stated - due).abs() > bound {
            return Err(SumsError::Misfit { stated, due });
        }
    }
    Ok(())
}

/// The mean over strata with these many samples each, plane by plane of equal length: summed in f64 in the order of
/// the strata, each times its samples, divided by all samples, rounded once to f32. For engines that render ranges
/// one by one; everybody who merges the same strata has the same bits. None when a plane is missing or too short.
pub fn merge(strata: &[&[[f32; 4]]], samples: &[u32]) -> Option<Vec<[f32; 4]>> {
    let pixels = strata.first()?.len();
    let total: f64 = samples.iter().map(|&count| f64::from(count)).sum();
    let fits = strata.len() == samples.len() && strata.iter().all(|plane| plane.len() == pixels);
    if !fits || total == 0.0 {
        return None;
    }
    let mut sums = vec![[0.0_f64; 4]; pixels];
    for (plane, &count) in strata.iter().zip(samples) {
        for (sum, pixel) in sums.iter_mut().zip(*plane) {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += f64::from(*value) * f64::from(count);
            }
        }
    }
    let rounded = |sum: [f64; 4]| sum.map(|value| (value / total) as f32);
    Some(sums.into_iter().map(rounded).collect())
}

#[cfg(test)]
mod tests;
