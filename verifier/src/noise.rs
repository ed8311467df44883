//! The judge across determinism classes: may two renders of the same pixels, whose bits differ, both be honest?
//!
//! With the same seed two classes trace the same paths, except for the few that a last bit sends elsewhere. So nearly
//! every pixel of honest work agrees to six digits, and what remains is small in units of the scene's own noise. Work
//! with fewer samples, with another seed, denoised or scaled up differs in every pixel, and by much of that noise.
//!
//! Three renders of each region come in: the judge's, the accused's, and a reference by the judge's class with another
//! seed and as many samples, from which the scene's own noise is known. [`measure`] turns a region into numbers,
//! [`decide`] turns the numbers of a tile's regions into a verdict. Where honest work and cheats of real scenes lie,
//! how the limits were chosen and where the method ends: `docs/verification-classes.md`.
//!
//! Only additions, multiplications, divisions and square roots in a fixed order: the verdict is the same everywhere.

use serde::{Deserialize, Serialize};

/// Scene-linear values count up to here, so that one firefly does not outweigh a region.
pub const VALUE_MAX: f32 = 10.0;
/// Smallest side of a region, in pixels: fewer pixels say too little.
pub const REGION_SIDE_PX_MIN: usize = 16;
/// Largest side of a region, in pixels: bounds what is allocated.
pub const REGION_SIDE_PX_MAX: usize = 64;
/// Regions with a smaller side have limits of their own, because a diverged path weighs more in them.
pub const SMALL_REGION_SIDE_PX_BELOW: usize = 32;
/// Side of the blocks within which the bias test estimates the spread of differences; a region is whole blocks.
const BLOCK_PX: usize = 8;
const BLOCK_PIXELS: f64 = (BLOCK_PX * BLOCK_PX) as f64;
/// Noise below this share of a region's brightness counts as this share, so in regions without noise all tests become
/// tests of the relative difference.
pub const NOISE_SHARE_MIN: f64 = 2e-3;
/// A region darker than this, in scene-linear units, is judged as if it were this bright.
const BRIGHTNESS_MIN: f64 = 1e-3;
/// The bulk of a region: all pixels but the tenth with the largest differences, which diverged paths may own.
const BULK_OUTSIDE: usize = 10;
/// Fewer regions with noise than this have no middle: one of them may be an honest outlier.
const NOISY_REGIONS_MIN: usize = 2;
/// How far alpha may leave 0 to 1 by rounding.
const ALPHA_ROUNDING: f32 = 1e-3;
/// Fewer degrees of freedom mean that the differences lie in a block or two: no bias of the whole.
const BIAS_FREEDOM_MIN: f64 = 30.0;
/// A bias counts from this many standard errors on: one in a million by chance at the fewest degrees of freedom.
const BIAS_ERRORS_MIN: f64 = 6.0;

/// RGBA, scene-linear.
pub type Pixel = [f32; 4];

/// The three renders of one rectangle of a frame, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    /// Pixels across: a multiple of 8, from [`REGION_SIDE_PX_MIN`] to [`REGION_SIDE_PX_MAX`].
    pub width: usize,
    /// Pixels down, likewise.
    pub height: usize,
    /// Rendered by whom the requestor trusts in this.
    pub judge: &'a [Pixel],
    /// Rendered with the same seed by the worker in question.
    pub accused: &'a [Pixel],
    /// Rendered like `judge`, with another seed that the accused could not know.
    pub reference: &'a [Pixel],
}

/// Whose render it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// Who rendered `judge` and `reference`.
    Judge,
    /// Who rendered `accused`.
    Accused,
}

/// What makes a region useless before any statistics.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Fault {
    /// The region itself is unfit.
    #[error(
        "a region of {width}x{height} px cannot be judged: its sides must be multiples of 8 from 16 to 64 px"
    )]
    Region {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
    /// Too many or too few pixels.
    #[error("{party:?} has {found} pixels where {due} are due")]
    Size {
        /// Whose render.
        party: Party,
        /// Pixels of the region.
        due: usize,
        /// Pixels delivered.
        found: usize,
    },
    /// A value is infinite or no number.
    #[error("{party:?} has a value that is not finite in pixel {pixel}")]
    NotFinite {
        /// Whose render.
        party: Party,
        /// Its index in the region.
        pixel: usize,
    },
    /// Alpha is outside 0 to 1.
    #[error("{party:?} has the alpha {alpha} in pixel {pixel}")]
    Alpha {
        /// Whose render.
        party: Party,
        /// Its index in the region.
        pixel: usize,
        /// The value.
        alpha: f32,
    },
}

impl Fault {
    /// Who is to blame; nobody when the region was ill chosen.
    pub fn party(&self) -> Option<Party> {
        match *self {
            Self::Region { .. } => None,
            Self::Size { party, .. }
            | Self::NotFinite { party, .. }
            | Self::Alpha { party, .. } => Some(party),
        }
    }
}

/// What a region says, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Both renders have the same bits.
    pub equal: bool,
    /// Variance of the judge's pixels around the true picture, over all pixels and colours:
    /// `mean((judge - reference)^2) / 2`.
    pub noise_variance: f64,
    /// There is enough noise for `eta` to measure samples; else it is the relative difference in other units.
    pub noisy: bool,
    /// `mean((judge - accused)^2) / (2 noise_variance)`: 0 for the same bits, 1 for independent noise.
    pub eta: f64,
    /// The same of the bulk: the nine-tenths quantile of a pixel's squared difference, in units of the same quantile
    /// between judge and reference. Diverged paths, being few, do not show; fewer samples change every pixel.
    pub bulk_eta: f64,
    /// Variance of the accused's noise in units of the judge's,
    /// `2 mean((accused - reference)^2) / mean((judge - reference)^2) - 1`: 0 if denoised, 2 with half the samples.
    pub noise_level: f64,
    /// Mean absolute difference of alpha.
    pub alpha_difference: f64,
    /// Sums for the bias test, a colour each.
    pub bias: [BiasSums; 3],
}

/// What the bias test needs of one colour, summed over 8x8 blocks; sums of several regions add up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BiasSums {
    /// Sum over pixels of accused minus judge.
    pub difference: f64,
    /// Its variance, estimated in each block by itself.
    pub variance: f64,
    /// Sum of the blocks' squared variances over their degrees of freedom.
    pub variance_of_variance: f64,
    /// Sum of the judge's absolute values, and the darkest that counts as brightness.
    pub brightness: f64,
}

impl BiasSums {
    fn add(&mut self, other: &Self) {
        self.difference += other.difference;
        self.variance += other.variance;
        self.variance_of_variance += other.variance_of_variance;
        self.brightness += other.brightness;
    }

    /// The bias as a share of the brightness, 0 where chance explains it. Welch's test: the blocks' spreads may
    /// differ, and the Welch-Satterthwaite equation says how many degrees of freedom that leaves. Differences are taken
    /// pixel by pixel, so the picture's content, which varies far more than its noise, cancels.
    fn significant_share(&self) -> f64 {
        let freedom = self.variance * self.variance / self.variance_of_variance;
        let errors = self.difference.abs() / self.variance.sqrt();
        // Without any spread the bias is the same in every pixel, and certain.
        let constant = self.variance == 0.0 && self.difference != 0.0;
        match constant || (freedom >= BIAS_FREEDOM_MIN && errors >= BIAS_ERRORS_MIN) {
            true => self.difference.abs() / self.brightness,
            false => 0.0,
        }
    }
}

/// Up to `accept` a number speaks for the accused, from `reject` on against; in between it decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// The largest honest value.
    pub accept: f64,
    /// The smallest value that convicts.
    pub reject: f64,
}

/// Where honest work ends and cheating begins; measured, see `docs/verification-classes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// For the middle of the regions' `eta`.
    pub eta: Band,
    /// Largest `eta` of any region of an accepted tile; more convicts nobody, for a single diverged firefly can do it.
    pub eta_worst: f64,
    /// For the largest `bulk_eta` of any region.
    pub bulk_eta: Band,
    /// For the bias of all regions together, as a share of their brightness.
    pub bias: Band,
    /// For the middle of the regions' `1 - noise_level`: denoised.
    pub too_clean: Band,
    /// For the middle of the regions' `noise_level - 1`: fewer samples.
    pub too_noisy: Band,
    /// For the largest `alpha_difference` of any region.
    pub alpha: Band,
}

impl Limits {
    /// Limits for regions of so many pixels each.
    pub fn for_region_of(pixels: usize) -> Self {
        match pixels < SMALL_REGION_SIDE_PX_BELOW * SMALL_REGION_SIDE_PX_BELOW {
            true => Self::SMALL,
            false => Self::LARGE,
        }
    }

    /// For regions of at least 32x32 px.
    pub const LARGE: Self = Self {
        eta: Band {
            accept: 0.02,
            reject: 0.04,
        },
        eta_worst: 0.1,
        bulk_eta: Band {
            accept: 1e-3,
            reject: 4e-3,
        },
        bias: Band {
            accept: 2e-3,
            reject: 8e-3,
        },
        too_clean: Band {
            accept: 0.15,
            reject: 0.3,
        },
        too_noisy: Band {
            accept: 0.1,
            reject: 0.25,
        },
        alpha: Band {
            accept: 0.005,
            reject: 0.02,
        },
    };

    /// For regions from 16x16 px up: a diverged path weighs four times as much.
    pub const SMALL: Self = Self {
        eta: Band {
            accept: 0.03,
            reject: 0.08,
        },
        eta_worst: 0.2,
        alpha: Band {
            accept: 0.01,
            reject: 0.04,
        },
        ..Self::LARGE
    };
}

/// The tests, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// Alpha differs.
    Alpha,
    /// The middle region differs by too much of the scene's noise.
    Eta,
    /// One region differs by much of the scene's noise; this alone convicts nobody.
    EtaWorst,
    /// More than a tenth of a region's pixels differ by more than rounding.
    BulkEta,
    /// Brighter or darker on the whole.
    Bias,
    /// Less noise than the samples leave: denoised.
    TooClean,
    /// More noise than the samples leave: fewer samples.
    TooNoisy,
}

/// What came of one test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which test.
    pub test: Test,
    /// What it measured.
    pub value: f64,
    /// What it allows and what convicts.
    pub band: Band,
}

/// May the accused's tile be honest work of another class?
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum NoiseVerdict {
    /// It differs no more than honest work does.
    Accepted,
    /// It is malformed.
    Malformed(Fault),
    /// It differs more than honest work does: by this test.
    Rejected(Finding),
    /// It lies between honest work and cheats by this test, or, without a finding, nothing could be tested: a third
    /// worker, of the accused's class, has to decide.
    Inconclusive(Option<Finding>),
}

impl std::fmt::Display for NoiseVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("it differs no more than honest work does"),
            Self::Malformed(fault) => fault.fmt(f),
            Self::Rejected(Finding { test, value, band }) => {
                let most = band.accept;
                write!(
                    f,
                    "{test:?} is {value:.4} where honest work has {most} at most"
                )
            }
            Self::Inconclusive(Some(Finding { test, value, .. })) => {
                write!(f, "{test:?} is {value:.4}, which decides nothing")
            }
            Self::Inconclusive(None) => f.write_str("nothing could be tested"),
        }
    }
}

/// Measures one region.
///
/// # Errors
/// [`Fault`] when a render is malformed: the judge's are looked at first, so that nobody is accused for nothing.
pub fn measure(region: &Region<'_>) -> Result<Measurement, Fault> {
    check(region)?;
    let (judge, accused, reference) = (region.judge, region.accused, region.reference);
    let values = (3 * judge.len()) as f64;
    let brightness = judge.iter().map(brightness).sum::<f64>() / values;
    let least_variance = square(NOISE_SHARE_MIN * brightness.max(BRIGHTNESS_MIN));
    // Of the difference of two renders, hence twice that of one.
    let noise_square = squares(judge, reference).sum::<f64>() / values;
    let accused_square = squares(accused, reference).sum::<f64>() / values;
    let unit = noise_square.max(2.0 * least_variance);
    let alphas = judge.iter().zip(accused);
    let alpha_apart = alphas.map(|(a, b)| f64::from((a[3] - b[3]).abs()));
    Ok(Measurement {
        equal: same_bits(judge, accused),
        noise_variance: noise_square / 2.0,
        noisy: noise_square > 2.0 * least_variance,
        eta: squares(judge, accused).sum::<f64>() / values / unit,
        bulk_eta: bulk(judge, accused) / bulk(judge, reference).max(6.0 * least_variance),
        noise_level: 1.0 + 2.0 * (accused_square - noise_square) / unit,
        alpha_difference: alpha_apart.sum::<f64>() / judge.len() as f64,
        bias: [0, 1, 2].map(|colour| bias(region, colour)),
    })
}

/// The verdict on a tile from its regions, all of a size; `limits` are those of that size.
///
/// Honest divergence is local, so what convicts is the middle region's eta and noise level (of an even number the
/// lower of the two in the middle, of two regions the lower, of one none), the bias of all together, and any region's bulk
/// and alpha.
pub fn decide(regions: &[Result<Measurement, Fault>], limits: &Limits) -> NoiseVerdict {
    let mut measured = Vec::with_capacity(regions.len());
    for region in regions {
        match region {
            Ok(measurement) => measured.push(*measurement),
            Err(fault) if fault.party() == Some(Party::Accused) => {
                return NoiseVerdict::Malformed(*fault);
            }
            Err(_) => {}
        }
    }
    // A render by the judge that cannot be used says nothing about the accused, not even that it may be accepted.
    if measured.is_empty() || measured.len() < regions.len() {
        return NoiseVerdict::Inconclusive(None);
    }
    if measured.iter().all(|region| region.equal) {
        return NoiseVerdict::Accepted;
    }
    let findings = findings(&measured, limits);
    let convicts = |finding: &&Finding| finding.value >= finding.band.reject;
    let clears = |finding: &Finding| finding.value <= finding.band.accept;
    match findings.iter().find(convicts) {
        Some(finding) => NoiseVerdict::Rejected(*finding),
        None => match findings.iter().find(|finding| !clears(finding)) {
            Some(finding) => NoiseVerdict::Inconclusive(Some(*finding)),
            None => NoiseVerdict::Accepted,
        },
    }
}

/// What each test says of a tile's regions, in order: the numbers behind [`decide`].
pub fn findings(regions: &[Measurement], limits: &Limits) -> [Finding; 7] {
    let finding = |test, value, band| Finding { test, value, band };
    let noisy: Vec<&Measurement> = regions.iter().filter(|region| region.noisy).collect();
    let of_noisy = |test, value: fn(&Measurement) -> f64, band: Band| {
        let value = middle(noisy.iter().map(|&region| value(region)).collect());
        let reject = match noisy.len() < NOISY_REGIONS_MIN {
            true => f64::INFINITY,
            false => band.reject,
        };
        finding(test, value, Band { reject, ..band })
    };
    let worst = |value: fn(&Measurement) -> f64| regions.iter().map(value).fold(0.0, f64::max);
    let never = Band {
        accept: limits.eta_worst,
        reject: f64::INFINITY,
    };
    [
        finding(
            Test::Alpha,
            worst(|region| region.alpha_difference),
            limits.alpha,
        ),
        of_noisy(Test::Eta, |region| region.eta, limits.eta),
        finding(
            Test::BulkEta,
            worst(|region| region.bulk_eta),
            limits.bulk_eta,
        ),
        finding(Test::Bias, bias_of_all(regions), limits.bias),
        of_noisy(
            Test::TooClean,
            |region| 1.0 - region.noise_level,
            limits.too_clean,
        ),
        of_noisy(
            Test::TooNoisy,
            |region| region.noise_level - 1.0,
            limits.too_noisy,
        ),
        finding(Test::EtaWorst, worst(|region| region.eta), never),
    ]
}

/// The median, of an even number of values the lower; 0 of none, for nothing measured accuses nobody.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) / 2;
    values.get(at).copied().unwrap_or(0.0)
}

fn bias_of_all(regions: &[Measurement]) -> f64 {
    let mut sums = [BiasSums::default(); 3];
    for region in regions {
        for (sum, of_region) in sums.iter_mut().zip(&region.bias) {
            sum.add(of_region);
        }
    }
    let shares = sums.iter().map(BiasSums::significant_share);
    shares.fold(0.0, f64::max)
}

fn check(region: &Region<'_>) -> Result<(), Fault> {
    let (width, height) = (region.width, region.height);
    let fits = |side: usize| {
        (REGION_SIDE_PX_MIN..=REGION_SIDE_PX_MAX).contains(&side) && side.is_multiple_of(BLOCK_PX)
    };
    if !fits(width) || !fits(height) {
        return Err(Fault::Region { width, height });
    }
    let due = width * height;
    check_render(region.judge, due, Party::Judge)?;
    check_render(region.reference, due, Party::Judge)?;
    check_render(region.accused, due, Party::Accused)
}

fn check_render(pixels: &[Pixel], due: usize, party: Party) -> Result<(), Fault> {
    let found = pixels.len();
    if found != due {
        return Err(Fault::Size { party, due, found });
    }
    for (pixel, values) in pixels.iter().enumerate() {
        let alpha = values[3];
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Fault::NotFinite { party, pixel });
        }
        if !(-ALPHA_ROUNDING..=1.0 + ALPHA_ROUNDING).contains(&alpha) {
            return Err(Fault::Alpha {
                party,
                pixel,
                alpha,
            });
        }
    }
    Ok(())
}

fn same_bits(left: &[Pixel], right: &[Pixel]) -> bool {
    let bits = |pixel: &Pixel| pixel.map(f32::to_bits);
    left.iter().zip(right).all(|(l, r)| bits(l) == bits(r))
}

fn square(value: f64) -> f64 {
    value * value
}

/// A colour of a pixel as the statistics see it.
fn value(pixel: &Pixel, colour: usize) -> f64 {
    f64::from(pixel[colour].clamp(-VALUE_MAX, VALUE_MAX))
}

fn brightness(pixel: &Pixel) -> f64 {
    (0..3).map(|colour| value(pixel, colour).abs()).sum()
}

/// Of each pixel the squared difference, summed over its colours.
fn squares(left: &[Pixel], right: &[Pixel]) -> impl Iterator<Item = f64> {
    let apart = |l, r| {
        (0..3)
            .map(|colour| square(value(l, colour) - value(r, colour)))
            .sum()
    };
    left.iter().zip(right).map(move |(l, r)| apart(l, r))
}

/// The largest squared difference of the bulk of the pixels.
fn bulk(left: &[Pixel], right: &[Pixel]) -> f64 {
    let mut all: Vec<f64> = squares(left, right).collect();
    let at = all.len() - 1 - all.len() / BULK_OUTSIDE;
    *all.select_nth_unstable_by(at, f64::total_cmp).1
}

fn bias(region: &Region<'_>, colour: usize) -> BiasSums {
    let mut sums = BiasSums::default();
    for top in (0..region.height).step_by(BLOCK_PX) {
        for left in (0..region.width).step_by(BLOCK_PX) {
            sums.add(&bias_of_block(region, colour, left, top));
        }
    }
    sums
}

fn bias_of_block(region: &Region<'_>, colour: usize, left: usize, top: usize) -> BiasSums {
    let rows = top..top + BLOCK_PX;
    let pixels = rows.flat_map(|y| (left..left + BLOCK_PX).map(move |x| y * region.width + x));
    let (mut difference, mut of_squares, mut brightness) = (0.0, 0.0, 0.0);
    for at in pixels {
        let judge = value(&region.judge[at], colour);
        let apart = value(&region.accused[at], colour) - judge;
        difference += apart;
        of_squares += square(apart);
        brightness += judge.abs() + BRIGHTNESS_MIN;
    }
    let freedom = BLOCK_PIXELS - 1.0;
    let of_pixel = (of_squares - square(difference) / BLOCK_PIXELS).max(0.0) / freedom;
    let variance = of_pixel * BLOCK_PIXELS;
    BiasSums {
        difference,
        variance,
        variance_of_variance: square(variance) / freedom,
        brightness,
    }
}

#[cfg(test)]
mod tests;
