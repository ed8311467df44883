//! Comparisons of renders, region by region, and what probes of a few regions come to.

use super::{
    Class, FRAME_PX, Scene, Work,
    render::{Render, Studio},
    tail::Tail,
};
use crate::simulator::random::Random;
use std::io;
use verifier::noise::{
    Fault, Finding, Limits, Measurement, NoiseVerdict, Pixel, Region, decide, findings, measure,
};

/// Sides of the square regions that are studied, in pixels.
pub const SIDES_PX: [usize; 2] = [32, 16];
/// Probes drawn from each comparison of two frames.
const PROBES_OF_FRAME: u64 = 500;

type Measured = Result<Measurement, Fault>;

/// One frame by the judge's class against the same frame by somebody else.
pub struct Comparison {
    /// Name of the scene.
    pub scene: String,
    /// Who the other is.
    pub work: Work,
    /// The regions, for each of [`SIDES_PX`].
    pub regions: [Vec<Measured>; 2],
    /// How the bits differ.
    pub bits: Bits,
}

/// Shares of a frame's pixels that differ at all, by more than a thousandth and by more than a hundredth in a colour.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bits {
    /// In their bits.
    pub differ: f64,
    /// By more than 1e-3 of the larger value.
    pub by_thousandth: f64,
    /// By more than 1e-2 of it.
    pub by_hundredth: f64,
}

impl Bits {
    fn between(left: &[Pixel], right: &[Pixel]) -> Self {
        let share = |differ: &dyn Fn(f32, f32) -> bool| {
            let pixels = left.iter().zip(right);
            let differing = pixels.filter(|(l, r)| (0..3).any(|at| differ(l[at], r[at])));
            differing.count() as f64 / left.len() as f64
        };
        let by = |least: f32| move |l: f32, r: f32| (l - r).abs() > least * l.abs().max(r.abs());
        Self {
            differ: share(&|l, r| l.to_bits() != r.to_bits()),
            by_thousandth: share(&by(1e-3)),
            by_hundredth: share(&by(1e-2)),
        }
    }
}

/// Compares everything that was rendered of a scene.
///
/// # Errors
/// When a render cannot be read.
pub fn compare(studio: &Studio, scene: &Scene) -> io::Result<Vec<Comparison>> {
    let judge = |frame, seed| studio.read(scene, &Render::honest(scene, Class::Judge, frame, seed));
    let compared = |work, judge: &[Pixel], accused: &[Pixel], reference: &[Pixel]| Comparison {
        scene: scene.name(),
        work,
        regions: SIDES_PX.map(|side| measured(side, judge, accused, reference)),
        bits: Bits::between(judge, accused),
    };
    let mut comparisons = Vec::new();
    for frame in 0..scene.frames {
        let seeds = [judge(frame, 0)?, judge(frame, 1)?];
        for seed in [0, 1] {
            let render = Render::honest(scene, Class::Common, frame, seed as u32);
            let accused = studio.read(scene, &render)?;
            comparisons.push(compared(
                Work::Kernel,
                &seeds[seed],
                &accused,
                &seeds[1 - seed],
            ));
        }
    }
    let others = Work::ALL.into_iter().filter(|&work| match work {
        Work::Kernel => false,
        Work::Version => studio.other_python.is_some(),
        _ => true,
    });
    let others: Vec<Work> = others.collect();
    for frame in scene.cheated_frames() {
        let (of_judge, reference) = (judge(frame, 0)?, judge(frame, 1)?);
        for &work in &others {
            let accused = studio.read(scene, &Render::work(scene, work, frame))?;
            comparisons.push(compared(work, &of_judge, &accused, &reference));
        }
    }
    Ok(comparisons)
}

/// The regions of a frame: whole squares, none overlapping another.
fn measured(side: usize, judge: &[Pixel], accused: &[Pixel], reference: &[Pixel]) -> Vec<Measured> {
    let (width, height) = FRAME_PX;
    let corners = (0..height / side)
        .flat_map(|row| (0..width / side).map(move |column| (column * side, row * side)));
    let cut = |pixels: &[Pixel], left: usize, top: usize| -> Vec<Pixel> {
        let row = |y: usize| &pixels[(y * width + left)..][..side];
        (top..top + side).flat_map(row).copied().collect()
    };
    let at = |(left, top)| {
        measure(&Region {
            width: side,
            height: side,
            judge: &cut(judge, left, top),
            accused: &cut(accused, left, top),
            reference: &cut(reference, left, top),
        })
    };
    corners.map(at).collect()
}

/// The regions that could be measured, of several comparisons.
pub fn measurements<'a>(
    comparisons: &'a [&Comparison],
    side_index: usize,
) -> impl Iterator<Item = &'a Measurement> {
    let regions = comparisons
        .iter()
        .flat_map(move |one| &one.regions[side_index]);
    regions.filter_map(|region| region.as_ref().ok())
}

/// What became of probes of a few regions each.
#[derive(Default)]
pub struct Probes {
    /// How many were drawn.
    pub drawn: usize,
    /// Accepted.
    pub accepted: usize,
    /// Rejected or malformed.
    pub rejected: usize,
}

impl Probes {
    /// Probes of so many different regions with noise, all of one frame, drawn at random from all comparisons. Frames with
    /// fewer such regions are left out.
    pub fn draw(comparisons: &[&Comparison], side_index: usize, regions: usize) -> Self {
        let limits = limits(side_index);
        let mut random = Random::new(1);
        let mut probes = Self::default();
        for comparison in comparisons {
            let tells = |region: &&Measured| region.as_ref().map_or(true, |one| one.noisy);
            let all = comparison.regions[side_index].iter().filter(tells);
            let all: Vec<Measured> = all.copied().collect();
            if all.len() < regions {
                continue;
            }
            for _ in 0..PROBES_OF_FRAME {
                let mut left = all.clone();
                let mut take = || left.swap_remove(random.below(left.len() as u64) as usize);
                let probe: Vec<Measured> = (0..regions).map(|_| take()).collect();
                probes.count(decide(&probe, &limits));
            }
        }
        probes
    }

    fn count(&mut self, verdict: NoiseVerdict) {
        self.drawn += 1;
        match verdict {
            NoiseVerdict::Accepted => self.accepted += 1,
            NoiseVerdict::Malformed(_) | NoiseVerdict::Rejected(_) => self.rejected += 1,
            NoiseVerdict::Inconclusive(_) => {}
        }
    }

    /// How many decide nothing.
    pub fn inconclusive(&self) -> usize {
        self.drawn - self.accepted - self.rejected
    }
}

/// The limits for the regions of a side.
pub fn limits(side_index: usize) -> Limits {
    Limits::for_region_of(SIDES_PX[side_index] * SIDES_PX[side_index])
}

/// What each test found, at most, in any single region.
pub fn largest_findings(comparisons: &[&Comparison], side_index: usize) -> Vec<Finding> {
    let limits = limits(side_index);
    let mut largest = findings(&[], &limits);
    for measurement in measurements(comparisons, side_index) {
        // Twice, for of a single region not all tests can convict.
        let of_region = findings(&[*measurement; 2], &limits);
        for (largest, found) in largest.iter_mut().zip(of_region) {
            if found.value >= largest.value {
                *largest = found;
            }
        }
    }
    largest.to_vec()
}

/// How often honest work would be rejected, by the tails of what was measured.
pub struct Rarity {
    /// Probability that the eta of a region with noise convicts.
    pub eta: f64,
    /// Probability that its bulk does.
    pub bulk: f64,
    /// How much more often two such regions of a frame both have a large eta (one of the largest hundredth) than if they
    /// were independent.
    pub clustering: f64,
}

impl Rarity {
    /// Of comparisons with honest work; none when there is too little of it or it has no tail.
    pub fn of(comparisons: &[&Comparison], side_index: usize) -> Option<Self> {
        let limits = limits(side_index);
        let noisy = |one: &&Measurement| one.noisy;
        let each = |value: fn(&Measurement) -> f64| -> Vec<f64> {
            let all = measurements(comparisons, side_index).filter(noisy);
            all.map(value).collect()
        };
        let etas = each(|one| one.eta);
        let eta = Tail::fit(&etas)?;
        let bulk = Tail::fit(&each(|one| one.bulk_eta))?;
        Some(Self {
            eta: eta.beyond(limits.eta.reject),
            bulk: bulk.beyond(limits.bulk_eta.reject),
            clustering: clustering(comparisons, side_index, &eta),
        })
    }

    /// Probability that a probe of two regions is rejected: both by eta, or one by its bulk.
    pub fn of_probe(&self) -> f64 {
        (self.clustering * self.eta * self.eta).min(self.eta) + 2.0 * self.bulk
    }
}

fn clustering(comparisons: &[&Comparison], side_index: usize, tail: &Tail) -> f64 {
    let (mut pairs, mut pairs_beyond) = (0.0, 0.0);
    for comparison in comparisons {
        let of_frame = [*comparison];
        let noisy = measurements(&of_frame, side_index).filter(|one| one.noisy);
        let beyond: Vec<bool> = noisy.map(|one| one.eta > tail.start).collect();
        let count = beyond.len() as f64;
        let count_beyond = beyond.iter().filter(|is| **is).count() as f64;
        pairs += count * (count - 1.0);
        pairs_beyond += count_beyond * (count_beyond - 1.0);
    }
    pairs_beyond / pairs / (tail.share * tail.share)
}
