//! Do two sets of pictures show the same thing but for their noise?

use protocol::Size;

/// Side of the squares whose means are compared: of so many pixels that the means are normally distributed.
const BLOCK_PX: usize = 8;
/// Differences of this share of a value are rounding, which goes into the noise so that noiseless blocks count too.
const ROUNDING: f64 = 1e-4;
/// A mean that differs by more standard errors than these is wrong: one run in 16,000 by chance.
const FRAME_ERRORS_MAX: f64 = 4.0;
/// Mean square of the blocks' differences in standard errors: one by chance, with a standard deviation of about
/// 0.2 for a hundred blocks.
const MEAN_SQUARE_MAX: f64 = 1.5;
/// Below this, what is taken for noise is larger than the noise, and would hide differences.
const MEAN_SQUARE_MIN: f64 = 0.3;

/// One picture as the means of its blocks, channel by channel.
pub type Blocks = Vec<f64>;

/// The means of a plane's blocks in its first channels.
pub fn blocks(plane: &[[f32; 4]], size: Size, channels: usize) -> Blocks {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut means = Vec::new();
    for channel in 0..channels {
        for top in (0..height).step_by(BLOCK_PX) {
            for left in (0..width).step_by(BLOCK_PX) {
                let rows = plane.chunks(width).skip(top).take(BLOCK_PX);
                let pixels = rows.flat_map(|row| row.iter().skip(left).take(BLOCK_PX));
                let values: Vec<f64> = pixels.map(|pixel| f64::from(pixel[channel])).collect();
                means.push(values.iter().sum::<f64>() / values.len() as f64);
            }
        }
    }
    means
}

/// By how much two engines' models may differ before it counts.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// As a share of the value.
    pub relative: f64,
    /// In any case.
    pub absolute: f64,
}

impl Tolerance {
    /// Noise alone.
    pub const NONE: Tolerance = Tolerance::share(0.0);

    /// A share of each value.
    pub const fn share(relative: f64) -> Tolerance {
        Tolerance {
            relative,
            absolute: 0.0,
        }
    }
}

/// A mean of independent measurements.
#[derive(Clone, Copy)]
struct Estimate {
    mean: f64,
    /// Of the mean.
    variance: f64,
    freedom: f64,
}

impl Estimate {
    fn of(values: &[f64]) -> Estimate {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = |value: &f64| (value - mean).powi(2);
        let freedom = count - 1.0;
        Estimate {
            mean,
            variance: values.iter().map(square).sum::<f64>() / freedom / count,
            freedom,
        }
    }
}

/// Two estimates of what ought to be one value.
struct Difference {
    /// What is left over the tolerance.
    excess: f64,
    /// Variance of the difference, rounding included.
    variance: f64,
    /// Of the variance (Welch 1947).
    freedom: f64,
}

impl Difference {
    fn between(a: Estimate, b: Estimate, tolerance: Tolerance) -> Difference {
        let size = a.mean.abs().max(b.mean.abs());
        let allowed = tolerance.relative * size + tolerance.absolute;
        let rounding = (ROUNDING * (size + tolerance.absolute)).powi(2) + f64::MIN_POSITIVE;
        let part = |e: Estimate| e.variance.powi(2) / e.freedom;
        let noise = a.variance + b.variance;
        Difference {
            excess: ((a.mean - b.mean).abs() - allowed).max(0.0),
            variance: noise + rounding,
            freedom: match noise > 0.0 {
                true => noise.powi(2) / (part(a) + part(b)),
                false => f64::INFINITY,
            },
        }
    }

    /// The squared difference in standard errors, scaled so that its mean is one: with few measurements, the
    /// estimated variance of Student's t is above one.
    fn square(&self) -> f64 {
        self.excess.powi(2) / self.variance * (1.0 - 2.0 / self.freedom)
    }
}

/// How two sets of pictures compare.
#[derive(Debug)]
pub struct Agreement {
    /// Mean of the first set over that of the second, and its standard error.
    ratio: f64,
    ratio_error: f64,
    /// The ratio may be off one by this.
    ratio_tolerance: f64,
    /// Means of [`Difference::square`] over all blocks, with the tolerance and with none.
    mean_square: f64,
    noise_square: f64,
}

/// Compares pictures that differ among themselves by nothing but the seed.
pub fn compare(first: &[Blocks], second: &[Blocks], tolerance: Tolerance) -> Agreement {
    let count = first[0].len();
    let block = |index: usize| {
        [first, second].map(|pictures| {
            let values: Vec<f64> = pictures.iter().map(|picture| picture[index]).collect();
            Estimate::of(&values)
        })
    };
    let mean_square = |tolerance: Tolerance| {
        let square = |index: usize| {
            let [a, b] = block(index);
            Difference::between(a, b, tolerance).square()
        };
        (0..count).map(square).sum::<f64>() / count as f64
    };
    let [a, b] = [first, second].map(|pictures| {
        let mean = |picture: &Blocks| picture.iter().sum::<f64>() / count as f64;
        Estimate::of(&pictures.iter().map(mean).collect::<Vec<_>>())
    });
    let ratio = a.mean / b.mean;
    let relative = |e: Estimate| e.variance / e.mean.powi(2) + ROUNDING.powi(2);
    Agreement {
        ratio,
        ratio_error: ratio.abs() * (relative(a) + relative(b)).sqrt(),
        ratio_tolerance: tolerance.relative + tolerance.absolute / b.mean.abs(),
        mean_square: mean_square(tolerance),
        noise_square: mean_square(Tolerance::NONE),
    }
}

impl Agreement {
    /// Is noise all that differs, but for the tolerance?
    pub fn holds(&self) -> bool {
        let frame_differs = (self.ratio - 1.0).abs();
        frame_differs <= self.ratio_tolerance + FRAME_ERRORS_MAX * self.ratio_error
            && self.mean_square <= MEAN_SQUARE_MAX
    }

    /// Is the noise as large as it was taken for? Blocks without any count as nothing.
    pub fn noise_is_real(&self) -> bool {
        self.noise_square >= MEAN_SQUARE_MIN
    }
}
