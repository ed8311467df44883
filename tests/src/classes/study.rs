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
    found: Vec<Vec<f64>>,
    limits: Vec<f64>,
}

impl Probes {
    /// Probes of so many different regions of one frame, drawn at random from all comparisons.
    pub fn draw(comparisons: &[&Comparison], side_index: usize, regions: usize) -> Self {
        let side = SIDES_PX[side_index];
        let limits = Limits::for_region_of(side * side);
        let mut random = Random::new(1);
        let mut probes = Self::default();
        for comparison in comparisons {
            for _ in 0..PROBES_OF_FRAME {
                let mut left = comparison.regions[side_index].clone();
                let mut take = || left.swap_remove(random.below(left.len() as u64) as usize);
                let probe: Vec<Measured> = (0..regions).map(|_| take()).collect();
                probes.count(&probe, &limits);
            }
        }
        probes
    }

    fn count(&mut self, probe: &[Measured], limits: &Limits) {
        self.drawn += 1;
        match decide(probe, limits) {
            NoiseVerdict::Accepted => self.accepted += 1,
            NoiseVerdict::Malformed(_) | NoiseVerdict::Rejected(_) => self.rejected += 1,
            NoiseVerdict::Inconclusive(_) => {}
        }
        let measured: Vec<Measurement> = probe.iter().copied().filter_map(Result::ok).collect();
        self.note(&findings(&measured, limits));
    }

    fn note(&mut self, findings: &[Finding]) {
        self.limits = findings.iter().map(|finding| finding.band.reject).collect();
        self.found.resize(findings.len(), Vec::new());
        for (values, finding) in self.found.iter_mut().zip(findings) {
            values.push(finding.value);
        }
    }

    /// Share of the probes that decide nothing.
    pub fn inconclusive_share(&self) -> f64 {
        let undecided = self.drawn - self.accepted - self.rejected;
        undecided as f64 / self.drawn.max(1) as f64
    }

    /// Probability of a rejection, from the tails of what each test found.
    pub fn rejection_by_tails(&self) -> f64 {
        let tails = self.found.iter().map(|values| Tail::fit(values));
        let beyond = tails.zip(&self.limits);
        beyond
            .map(|(tail, &limit)| tail.map_or(0.0, |tail| tail.beyond(limit)))
            .sum()
    }
}
