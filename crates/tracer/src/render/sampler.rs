//! Random numbers: Owen-scrambled Sobol points by integer hashing.
//!
//! Every number is a pure function of seed, frame, pixel, sample and dimension. Dimensions are used in pairs;
//! each pair is the two-dimensional Sobol sequence, shuffled and scrambled by hashes of its own (Burley,
//! "Practical Hash-based Owen Scrambling", JCGT 2020, with Vegdahl's constants for the Laine-Karras hash).

/// A dimension: which use of random numbers in a path draws them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Place in the pixel (pair).
    Filter,
    /// Which light.
    LightChoice,
    /// Where on the light (pair).
    LightPoint,
    /// Which part of the material.
    Lobe,
    /// Direction of the scattered ray (pair).
    Scatter,
    /// Does the path go on?
    Survival,
}

/// Dimensions a bounce reserves: one for each [`Use`].
const USES: u64 = 6;

/// The random numbers of one pixel.
#[derive(Debug, Clone, Copy)]
pub struct PixelSampler {
    key: u64,
}

impl PixelSampler {
    /// The numbers of pixel `x`, `y` of `frame` in a job with this seed.
    pub fn new(seed: u32, frame: i32, x: u32, y: u32) -> Self {
        let job = mix(u64::from(seed) << 32 | u64::from(frame as u32));
        Self {
            key: mix(job ^ (u64::from(y) << 32 | u64::from(x))),
        }
    }

    /// The numbers of one sample.
    pub fn sample(self, index: u32) -> Sampler {
        Sampler {
            key: self.key,
            index,
        }
    }
}

/// The random numbers of one sample of one pixel, each in 0 <= u < 1.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    key: u64,
    index: u32,
}

impl Sampler {
    fn seed(&self, bounce: u32, usage: Use) -> u64 {
        mix(self.key ^ (u64::from(bounce) * USES + usage as u64 + 1).wrapping_mul(0x9e37_79b9))
    }

    /// One number: stratified over the samples of the pixel.
    pub fn single(&self, bounce: u32, usage: Use) -> f32 {
        let seed = self.seed(bounce, usage);
        let shuffled = owen(self.index.reverse_bits(), seed as u32);
        unit(owen(shuffled.reverse_bits(), (seed >> 32) as u32).reverse_bits())
    }

    /// Two numbers, stratified together.
    pub fn pair(&self, bounce: u32, usage: Use) -> [f32; 2] {
        let seed = self.seed(bounce, usage);
        let shuffled = owen(self.index.reverse_bits(), seed as u32).reverse_bits();
        let third = (seed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32;
        [
            unit(owen(shuffled, (seed >> 32) as u32).reverse_bits()),
            unit(owen(pascal(shuffled), third).reverse_bits()),
        ]
    }

    /// A number that is independent of all others, for the meeting of ray `bounce` with `triangle`.
    pub fn independent(&self, bounce: u32, triangle: u32) -> f32 {
        let ray = mix(self.key ^ (u64::from(self.index) << 32 | u64::from(bounce) << 1 | 1));
        unit((mix(ray ^ u64::from(triangle)) >> 32) as u32)
    }
}

/// A bijection that spreads every bit over all others (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Owen scrambling of a number whose bits are in reverse: each bit flips depending on the lower ones only.
fn owen(mut x: u32, seed: u32) -> u32 {
    x ^= x.wrapping_mul(0x3d20_adea);
    x = x.wrapping_add(seed);
    x = x.wrapping_mul((seed >> 16) | 1);
    x ^= x.wrapping_mul(0x0552_6c56);
    x ^ x.wrapping_mul(0x53a2_2864)
}

/// The second Sobol dimension with its bits in reverse: Pascal's triangle modulo two. Output bit k is the parity
/// of the input bits whose position contains k as a subset.
fn pascal(mut x: u32) -> u32 {
    x ^= (x >> 1) & 0x5555_5555;
    x ^= (x >> 2) & 0x3333_3333;
    x ^= (x >> 4) & 0x0f0f_0f0f;
    x ^= (x >> 8) & 0x00ff_00ff;
    x ^ (x >> 16)
}

/// The upper 24 bits as a fraction.
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 2^k points of a (0,2)-sequence put one point into every elementary interval.
    #[test]
    fn pairs_fill_every_elementary_interval_once() {
        for pixel in 0..40 {
            let pixel = PixelSampler::new(pixel * 7, 3, pixel, 1000 - pixel);
            for log_count in 0..=10u32 {
                let count = 1u32 << log_count;
                for log_across in 0..=log_count {
                    let (across, down) = (1u32 << log_across, 1u32 << (log_count - log_across));
                    let mut filled = vec![false; count as usize];
                    for index in 0..count {
                        let [u, v] = pixel.sample(index).pair(2, Use::Scatter);
                        let column = (u * across as f32) as u32;
                        let row = (v * down as f32) as u32;
                        let place = &mut filled[(row * across + column) as usize];
                        assert!(!*place, "{index} of {count} in {across}x{down}");
                        *place = true;
                    }
                }
            }
        }
    }

    #[test]
    fn singles_are_stratified() {
        for pixel in 0..100 {
            let pixel = PixelSampler::new(1, -4, pixel, 0);
            let mut strata = [false; 256];
            for index in 0..256 {
                strata[(pixel.sample(index).single(1, Use::Lobe) * 256.0) as usize] = true;
            }
            assert!(strata.iter().all(|&filled| filled));
        }
    }

    /// The mean product of centred numbers of independent dimensions is near zero over pixels and samples.
    #[test]
    fn dimensions_and_pixels_are_uncorrelated() {
        let draws: [fn(&Sampler) -> f32; 6] = [
            |s| s.pair(0, Use::Filter)[0],
            |s| s.pair(0, Use::Filter)[1],
            |s| s.single(0, Use::Lobe),
            |s| s.pair(1, Use::Scatter)[0],
            |s| s.pair(2, Use::Scatter)[0],
            |s| s.independent(1, 77),
        ];
        for (i, first) in draws.iter().enumerate() {
            for second in &draws[..i] {
                let mut sum = 0.0;
                for pixel in 0..4096u32 {
                    let sampler =
                        PixelSampler::new(5, 1, pixel % 64, pixel / 64).sample(pixel % 16);
                    sum += (first(&sampler) - 0.5) * (second(&sampler) - 0.5);
                }
                // Standard deviation of a product is 1/12; four of them over 64 root samples.
                assert!((sum / 4096.0).abs() < 4.0 / 12.0 / 64.0);
            }
        }
    }
}
