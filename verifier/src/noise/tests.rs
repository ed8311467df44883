//! The judge on synthetic noise: each sample of a pixel is a hash of seed, pixel and number, so renders with some of
//! the samples, or with other paths in some pixels, are exact.

use super::*;
use proptest::prelude::*;

const SAMPLES: u64 = 64;
const REGIONS: u64 = 4;

/// A scene: how bright, how noisy a sample is (0: not at all, 1: exponentially distributed), and which one.
#[derive(Debug, Clone, Copy)]
struct World {
    brightness: f32,
    noise: f32,
    number: u64,
    side: usize,
}

const WORLD: World = World {
    brightness: 0.4,
    noise: 1.0,
    number: 7,
    side: 32,
};

fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn sample(seed: u64, pixel: u64, number: u64) -> f32 {
    let hash = mixed(mixed(mixed(seed) ^ pixel) ^ number);
    let uniform = (hash >> 40) as f32 / (1u64 << 24) as f32;
    -(1.0 - uniform).max(1e-7).ln()
}

impl World {
    fn pixels(&self) -> u64 {
        (self.side * self.side) as u64
    }

    /// One region's pixels, each from the value that its samples come to.
    fn picture(&self, region: u64, mean: impl Fn(u64) -> f32) -> Vec<Pixel> {
        let pixel = |at: u64| {
            let content = self.brightness * (1.0 + 0.5 * (at as f32 / 40.0).sin());
            let value = content * (1.0 + self.noise * (mean(region * self.pixels() + at) - 1.0));
            [value, 0.8 * value, 0.5 * value, 1.0]
        };
        (0..self.pixels()).map(pixel).collect()
    }

    fn sampled(&self, region: u64, seed: u64, samples: u64) -> Vec<Pixel> {
        let seed = mixed(self.number) ^ seed;
        self.picture(region, |pixel| {
            let sum: f32 = (0..samples).map(|number| sample(seed, pixel, number)).sum();
            sum / samples as f32
        })
    }

    /// The verdict on an accused who delivers pixels for a region, given its number and the judge's.
    fn verdict(&self, accused: impl Fn(u64, &[Pixel]) -> Vec<Pixel>) -> NoiseVerdict {
        decide(&self.regions(accused), &self.limits())
    }

    fn limits(&self) -> Limits {
        Limits::for_region_of(self.side * self.side)
    }

    fn regions(
        &self,
        accused: impl Fn(u64, &[Pixel]) -> Vec<Pixel>,
    ) -> Vec<Result<Measurement, Fault>> {
        let measured = |region| {
            let judge = self.sampled(region, 0, SAMPLES);
            measure(&Region {
                width: self.side,
                height: self.side,
                accused: &accused(region, &judge),
                reference: &self.sampled(region, 1, SAMPLES),
                judge: &judge,
            })
        };
        (0..REGIONS).map(measured).collect()
    }

    /// Rounds everything differently, and in two of a hundred pixels takes other paths for some of the samples.
    fn honest(&self, region: u64, judge: &[Pixel], others: u64) -> Vec<Pixel> {
        let seed = mixed(self.number);
        let own = self.picture(region, |pixel| {
            let other = |number| {
                let seed = if number < others { !seed } else { seed };
                sample(seed, pixel, number)
            };
            (0..SAMPLES).map(other).sum::<f32>() / SAMPLES as f32
        });
        let rounded = |pixel: &Pixel| pixel.map(|value| value * (1.0 + 3e-7));
        let diverges = |at: usize| mixed(at as u64 ^ region << 32).is_multiple_of(50);
        let pixels = judge.iter().zip(&own).enumerate();
        let chosen =
            pixels.map(|(at, (judge, own))| if diverges(at) { *own } else { rounded(judge) });
        chosen.map(|[r, g, b, _]| [r, g, b, 1.0]).collect()
    }
}

fn scaled(pixels: &[Pixel], factor: f32) -> Vec<Pixel> {
    let scale = |&[r, g, b, a]: &Pixel| [r * factor, g * factor, b * factor, a];
    pixels.iter().map(scale).collect()
}

fn rejected_by(verdict: NoiseVerdict) -> Option<Test> {
    match verdict {
        NoiseVerdict::Rejected(finding) => Some(finding.test),
        _ => None,
    }
}

#[test]
fn the_same_bits_are_accepted() {
    assert_eq!(
        WORLD.verdict(|_, judge| judge.to_vec()),
        NoiseVerdict::Accepted
    );
}

#[test]
fn an_honest_twin_is_accepted() {
    for side in [16, 32] {
        let world = World { side, ..WORLD };
        let verdict = world.verdict(|region, judge| world.honest(region, judge, 8));
        assert_eq!(verdict, NoiseVerdict::Accepted, "{side}");
    }
    // Pixels that diverge with all their paths are as far apart as honest work ever is.
    let verdict = WORLD.verdict(|region, judge| WORLD.honest(region, judge, SAMPLES));
    assert_eq!(rejected_by(verdict), None);
}

#[test]
fn fewer_samples_are_rejected_down_to_five_percent() {
    for side in [16, 32] {
        let world = World { side, ..WORLD };
        for (percent, test) in [
            (50, Test::Eta),
            (75, Test::Eta),
            (90, Test::BulkEta),
            (95, Test::BulkEta),
        ] {
            let taken = SAMPLES * percent / 100;
            let verdict = world.verdict(|region, _| world.sampled(region, 0, taken));
            let found = rejected_by(verdict);
            let early = found == Some(Test::Eta) && percent == 90;
            assert!(
                found == Some(test) || early,
                "{side} px, {percent} %: {verdict:?}"
            );
        }
    }
}

/// A quarter of the samples is stolen in one of so many pixels.
fn stolen_in_one_of(pixels: usize) -> NoiseVerdict {
    WORLD.verdict(|region, judge| {
        let cheap = WORLD.sampled(region, 0, SAMPLES * 3 / 4);
        let mixed = |(at, pixels_of): (usize, (&Pixel, &Pixel))| match at.is_multiple_of(pixels) {
            true => *pixels_of.1,
            false => *pixels_of.0,
        };
        judge.iter().zip(&cheap).enumerate().map(mixed).collect()
    })
}

/// The second half is where the method ends: it saves 1.6 % of the work.
#[test]
fn thefts_in_a_fifth_of_the_pixels_are_rejected_and_in_a_sixteenth_not() {
    assert_eq!(rejected_by(stolen_in_one_of(5)), Some(Test::BulkEta));
    assert_eq!(stolen_in_one_of(16), NoiseVerdict::Accepted);
}

#[test]
fn other_samples_are_rejected() {
    let verdict = WORLD.verdict(|region, _| WORLD.sampled(region, 2, SAMPLES));
    assert_eq!(rejected_by(verdict), Some(Test::Eta));
}

/// The middle noise level of a worker's regions.
fn noise_level(accused: impl Fn(u64, &[Pixel]) -> Vec<Pixel>) -> f64 {
    let regions = WORLD.regions(accused);
    middle(
        regions
            .iter()
            .map(|region| region.as_ref().unwrap().noise_level)
            .collect(),
    )
}

#[test]
fn the_noise_level_tells_denoised_work_from_fewer_samples() {
    let denoised = |region, _: &[Pixel]| WORLD.picture(region, |_| 1.0);
    assert!(noise_level(denoised).abs() < 0.2);
    assert!(rejected_by(WORLD.verdict(denoised)).is_some());
    let fewer = |region, _: &[Pixel]| WORLD.sampled(region, 2, SAMPLES / 2);
    assert!((noise_level(fewer) - 2.0).abs() < 0.3);
    assert!(rejected_by(WORLD.verdict(fewer)).is_some());
    let honest = |region, judge: &[Pixel]| WORLD.honest(region, judge, 8);
    assert!((noise_level(honest) - 1.0).abs() < 0.02);
}

/// What each test alone would say of a change that grows with the judge's own deviation from the truth.
#[test]
fn a_little_denoising_is_too_clean_and_a_little_noise_too_noisy() {
    let drawn_to_truth = |share: f32| {
        let regions = WORLD.regions(|region, judge| {
            let truth = WORLD.picture(region, |_| 1.0);
            let mixed =
                |(j, t): (&Pixel, &Pixel)| [0, 1, 2, 3].map(|at| j[at] + share * (t[at] - j[at]));
            judge.iter().zip(&truth).map(mixed).collect()
        });
        let measured: Vec<Measurement> = regions.into_iter().map(Result::unwrap).collect();
        let all = findings(&measured, &WORLD.limits()).into_iter();
        let convicting = all.filter(|finding| finding.value >= finding.band.reject);
        convicting
            .map(|finding| finding.test)
            .collect::<Vec<Test>>()
    };
    assert_eq!(drawn_to_truth(0.25), [Test::BulkEta, Test::TooClean]);
    assert_eq!(drawn_to_truth(-0.25), [Test::BulkEta, Test::TooNoisy]);
    assert_eq!(drawn_to_truth(0.0), [] as [Test; 0]);
}

#[test]
fn two_percent_of_light_more_are_rejected() {
    let brighter = |_, judge: &[Pixel]| scaled(judge, 1.02);
    // The noise of one sample a pixel: the differences are lost in it, all but their mean.
    let noisy = World {
        brightness: 2.0,
        ..WORLD
    };
    let regions: Vec<Measurement> = (0..REGIONS)
        .map(|region| {
            let judge = noisy.sampled(region, 0, 1);
            let reference = noisy.sampled(region, 1, 1);
            let (width, height) = (noisy.side, noisy.side);
            let accused = scaled(&judge, 1.02);
            measure(&Region {
                width,
                height,
                judge: &judge,
                accused: &accused,
                reference: &reference,
            })
            .unwrap()
        })
        .collect();
    let regions: Vec<Result<Measurement, Fault>> = regions.into_iter().map(Ok).collect();
    assert_eq!(
        rejected_by(decide(&regions, &noisy.limits())),
        Some(Test::Bias)
    );
    assert!(rejected_by(WORLD.verdict(brighter)).is_some());
    let exact = World {
        noise: 0.0,
        ..WORLD
    };
    assert!(rejected_by(exact.verdict(brighter)).is_some());
}

#[test]
fn without_noise_only_rounding_is_accepted() {
    let exact = World {
        noise: 0.0,
        ..WORLD
    };
    let rounded = exact.verdict(|_, judge| scaled(judge, 1.0 + 1e-6));
    assert_eq!(rounded, NoiseVerdict::Accepted);
    let other = exact.verdict(|_, judge| scaled(judge, 1.002));
    assert_eq!(rejected_by(other), Some(Test::BulkEta));
    let black = World {
        brightness: 0.0,
        ..WORLD
    };
    let rounded = black.verdict(|_, judge| judge.iter().map(|_| [1e-8, 0.0, 0.0, 1.0]).collect());
    assert_eq!(rounded, NoiseVerdict::Accepted);
    let grey = black.verdict(|_, judge| judge.iter().map(|_| [0.001, 0.001, 0.001, 1.0]).collect());
    assert_eq!(rejected_by(grey), Some(Test::BulkEta));
}

#[test]
fn between_honest_work_and_cheating_nothing_is_decided() {
    // Differences of 1/500 of the noise's variance in all pixels.
    let verdict = WORLD.verdict(|region, judge| {
        let other = WORLD.sampled(region, 2, SAMPLES);
        let near =
            |(j, o): (&Pixel, &Pixel)| [0, 1, 2, 3].map(|at| j[at] + 0.045 * (o[at] - j[at]));
        judge.iter().zip(&other).map(near).collect()
    });
    let NoiseVerdict::Inconclusive(Some(finding)) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(finding.test, Test::BulkEta);
    assert_eq!(
        decide(&[], &WORLD.limits()),
        NoiseVerdict::Inconclusive(None)
    );
}

/// What the accused makes of one pixel of the first region; the rest is the judge's.
fn with_pixel(pixel: Pixel) -> NoiseVerdict {
    WORLD.verdict(|region, judge| {
        let mut own = judge.to_vec();
        if region == 0 {
            own[100] = pixel;
        }
        own
    })
}

#[test]
fn a_single_firefly_convicts_nobody_and_a_faked_region_does() {
    let NoiseVerdict::Inconclusive(Some(finding)) = with_pixel([9.0, 9.0, 9.0, 1.0]) else {
        panic!("one firefly decides");
    };
    assert_eq!(finding.test, Test::EtaWorst);
    let verdict = WORLD.verdict(|region, judge| match region {
        2 => judge.iter().map(|_| [0.0, 0.0, 0.0, 1.0]).collect(),
        _ => judge.to_vec(),
    });
    assert_eq!(rejected_by(verdict), Some(Test::BulkEta));
}

#[test]
fn a_single_region_convicts_by_its_bulk_alone() {
    let of_first = |accused: &dyn Fn(&[Pixel]) -> Vec<Pixel>| {
        let regions = WORLD.regions(|_, judge| accused(judge));
        decide(&regions[..1], &WORLD.limits())
    };
    let blinding = |judge: &[Pixel]| {
        let mut own = judge.to_vec();
        own[100] = [9.0, 9.0, 9.0, 1.0];
        own
    };
    let NoiseVerdict::Inconclusive(Some(finding)) = of_first(&blinding) else {
        panic!("a single region decides");
    };
    assert_eq!(finding.test, Test::Eta);
    let other = of_first(&|judge| scaled(judge, 1.2));
    assert_eq!(rejected_by(other), Some(Test::BulkEta));
}

#[test]
fn malformed_work_is_told_from_a_malformed_judge() {
    let party = Party::Accused;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let fault = Fault::NotFinite { party, pixel: 100 };
        assert_eq!(
            with_pixel([0.1, value, 0.1, 1.0]),
            NoiseVerdict::Malformed(fault)
        );
    }
    let fault = Fault::Alpha {
        party,
        pixel: 100,
        alpha: 2.0,
    };
    assert_eq!(
        with_pixel([0.1, 0.1, 0.1, 2.0]),
        NoiseVerdict::Malformed(fault)
    );
    let short = WORLD.verdict(|_, judge| judge[1..].to_vec());
    let fault = Fault::Size {
        party,
        due: 1024,
        found: 1023,
    };
    assert_eq!(short, NoiseVerdict::Malformed(fault));
    let transparent =
        WORLD.verdict(|_, judge| judge.iter().map(|p| [p[0], p[1], p[2], 0.9]).collect());
    assert_eq!(rejected_by(transparent), Some(Test::Alpha));

    let good = WORLD.sampled(0, 0, SAMPLES);
    let mut bad = good.clone();
    bad[5][2] = f32::NAN;
    let region = Region {
        width: 32,
        height: 32,
        judge: &good,
        accused: &bad,
        reference: &bad,
    };
    let measured = measure(&region);
    let fault = Fault::NotFinite {
        party: Party::Judge,
        pixel: 5,
    };
    assert_eq!(measured, Err(fault));
    let verdict = decide(&[measured], &WORLD.limits());
    assert_eq!(verdict, NoiseVerdict::Inconclusive(None));
    let usable = WORLD.regions(|_, judge| judge.to_vec());
    let with_one_that_is_not: Vec<_> = usable.into_iter().chain([measured]).collect();
    let verdict = decide(&with_one_that_is_not, &WORLD.limits());
    assert_eq!(verdict, NoiseVerdict::Inconclusive(None));
}

#[test]
fn values_beyond_the_largest_are_the_same() {
    let blinding = World {
        brightness: 1e6,
        noise: 0.01,
        ..WORLD
    };
    let brighter = blinding.verdict(|_, judge| scaled(judge, 2.0));
    assert_eq!(brighter, NoiseVerdict::Accepted);
}

#[test]
fn the_same_change_in_every_pixel_is_a_bias() {
    let regions = WORLD.regions(|_, judge| {
        let lift = |&[r, g, b, a]: &Pixel| [r + 0.5, g + 0.5, b + 0.5, a];
        judge.iter().map(lift).collect()
    });
    let bias = bias_of_all(&regions.into_iter().map(Result::unwrap).collect::<Vec<_>>());
    assert!(bias > 0.5, "{bias}");
    let sums = BiasSums {
        difference: 1.0,
        brightness: 10.0,
        ..BiasSums::default()
    };
    assert_eq!(sums.significant_share(), 0.1);
}

#[test]
fn small_regions_have_wider_limits() {
    assert_eq!(Limits::for_region_of(1024), Limits::LARGE);
    assert_eq!(Limits::for_region_of(1023), Limits::SMALL);
    let [small, large] = [1023, 1024].map(|pixels| Limits::for_region_of(pixels).eta);
    assert!(small.accept > large.accept && small.reject > large.reject);
}

#[test]
fn regions_are_whole_blocks_of_a_sensible_size() {
    for (width, height) in [(8, 32), (32, 20), (72, 32), (0, 0), (usize::MAX, 16)] {
        let none: &[Pixel] = &[];
        let region = Region {
            width,
            height,
            judge: none,
            accused: none,
            reference: none,
        };
        assert_eq!(measure(&region), Err(Fault::Region { width, height }));
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let side = prop_oneof![Just(16), Just(24), Just(32)];
    let parts = (0.01f32..1.5, 0.2f32..1.0, any::<u64>(), side);
    parts.prop_map(|(brightness, noise, number, side)| World {
        brightness,
        noise,
        number,
        side,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn honest_work_is_never_rejected(world in any_world(), others in 1..=SAMPLES) {
        let verdict = world.verdict(|region, judge| world.honest(region, judge, others));
        prop_assert_eq!(rejected_by(verdict), None);
    }

    #[test]
    fn work_with_fewer_samples_is_always_rejected(world in any_world(), taken in 1..=60u64) {
        let verdict = world.verdict(|region, _| world.sampled(region, 0, taken));
        prop_assert!(rejected_by(verdict).is_some(), "{:?}", verdict);
    }

    #[test]
    fn any_bits_of_a_stranger_get_a_verdict(
        bits in proptest::collection::vec(any::<[u32; 4]>(), 250..260),
        judge_is_black in any::<bool>(),
    ) {
        let accused: Vec<Pixel> = bits.iter().map(|pixel| pixel.map(f32::from_bits)).collect();
        let judge = vec![if judge_is_black { [0.0; 4] } else { [1.0; 4] }; 256];
        let region = Region { width: 16, height: 16, judge: &judge, accused: &accused, reference: &judge };
        let verdict = decide(&[measure(&region)], &Limits::SMALL);
        prop_assert_ne!(verdict, NoiseVerdict::Accepted);
    }
}
