//! Ranges of a frame's samples put together: means over all samples, except for what has no mean.

mod mattes;

pub(crate) use mattes::Matte;

use mattes::Coverages;
use protocol::{Pass, RenderedRect};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Channels of a plane.
const CHANNELS: usize = 4;

/// A channel of a job's passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelPlace {
    pass: Pass,
    channel: u8,
}

impl ChannelPlace {
    /// A channel of a pass, below four.
    pub(crate) fn new(pass: Pass, channel: usize) -> Self {
        Self {
            pass,
            channel: (channel % CHANNELS) as u8,
        }
    }

    fn index(self) -> usize {
        self.channel.into()
    }
}

/// How the values that ranges have of a channel become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// That of the first range.
    First,
    /// The mean over all samples.
    Mean {
        /// Where each range says which share of its samples was taken, if it may not have been all.
        counts: Option<ChannelPlace>,
        /// What the engine has divided the channel by, if by more than the samples: ranges weigh by it too.
        divisor: Option<ChannelPlace>,
    },
}

impl Rule {
    /// A range weighs as much as it has samples.
    pub(crate) const PLAIN: Self = Self::Mean {
        counts: None,
        divisor: None,
    };

    fn weights(&self) -> impl Iterator<Item = ChannelPlace> + use<> {
        let places = match *self {
            Self::First => [None, None],
            Self::Mean { counts, divisor } => [counts, divisor],
        };
        places.into_iter().flatten()
    }
}

/// How all channels of a scene are merged; without a word on one it is the mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Merging {
    rules: Vec<(Pass, [Rule; CHANNELS])>,
    mattes: Vec<Matte>,
    extra: Vec<Pass>,
}

impl Merging {
    /// By the rules of single channels, the mattes, whose channels follow rules only where some are missing, and the passes
    /// that serve for nothing but weighing.
    pub(crate) fn new(
        rules: impl Iterator<Item = (ChannelPlace, Rule)>,
        mattes: Vec<Matte>,
        extra: impl Iterator<Item = Pass>,
    ) -> Self {
        let mut merging = Self {
            rules: Vec::new(),
            mattes,
            extra: extra.collect(),
        };
        for (place, rule) in rules {
            let known = merging
                .rules
                .iter()
                .position(|(pass, _)| *pass == place.pass);
            let index = known.unwrap_or_else(|| {
                merging.rules.push((place.pass, [Rule::PLAIN; CHANNELS]));
                merging.rules.len() - 1
            });
            merging.rules[index].1[place.index()] = rule;
        }
        merging
    }

    /// The passes that a job asks for, in canonical order: those that are wanted, and what they are weighed by.
    pub fn with_weights(&self, mut wanted: BTreeSet<Pass>) -> Vec<Pass> {
        loop {
            let rules = self.rules.iter().filter(|(pass, _)| wanted.contains(pass));
            let rules = rules.flat_map(|(_, rules)| rules.iter().flat_map(Rule::weights));
            let mattes = self.mattes.iter().filter(|matte| matte.is_in(&wanted));
            let places = rules.chain(mattes.filter_map(|matte| matte.counts));
            let weights: BTreeSet<Pass> = places.map(|place| place.pass).collect();
            // Weights may be weighed themselves.
            match weights.is_subset(&wanted) {
                true => return wanted.into_iter().collect(),
                false => wanted.extend(weights),
            }
        }
    }

    /// Is this pass asked for to weigh by, and gone from what is merged?
    pub fn only_weighs(&self, pass: Pass) -> bool {
        self.extra.contains(&pass)
    }

    pub(crate) fn rule(&self, pass: Pass, channel: usize) -> Rule {
        let found = self.rules.iter().find(|(known, _)| *known == pass);
        found.map_or(Rule::PLAIN, |(_, rules)| rules[channel])
    }

    /// Begins with the first range, of so many samples.
    pub fn begin(&self, first: &RenderedRect, samples: u32) -> Merger<'_> {
        let there: BTreeSet<Pass> = first.planes.iter().map(|(pass, _)| *pass).collect();
        let sums = |(pass, plane): &(Pass, Vec<[f32; CHANNELS]>)| {
            (*pass, vec![[0.0; CHANNELS]; plane.len()])
        };
        let mattes = self.mattes.iter().filter(|matte| matte.is_in(&there));
        let pixels = first.rect.area() as usize;
        let mut merger = Merger {
            merging: self,
            whole: RenderedRect {
                rect: first.rect,
                planes: Vec::new(),
            },
            sums: first.planes.iter().map(sums).collect(),
            coverages: mattes.map(|matte| Coverages::new(matte, pixels)).collect(),
            samples: 0.0,
        };
        merger.sum(first, samples);
        merger
    }
}

type Sums = (Pass, Vec<[f64; CHANNELS]>);

/// Ranges that are being merged: sums of samples in double precision, so that nothing is lost in them.
pub struct Merger<'a> {
    merging: &'a Merging,
    whole: RenderedRect,
    sums: Vec<Sums>,
    coverages: Vec<Coverages<'a>>,
    samples: f64,
}

impl Merger<'_> {
    /// Adds the same rectangle in a further range.
    ///
    /// # Errors
    /// When it is another rectangle or has other passes.
    pub fn add(&mut self, part: &RenderedRect, samples: u32) -> Result<(), String> {
        let passes = self.sums.iter().map(|(pass, sums)| (*pass, sums.len()));
        let theirs = part.planes.iter().map(|(pass, plane)| (*pass, plane.len()));
        if part.rect != self.whole.rect || !passes.eq(theirs) {
            return Err(format!("{} is not the same in all ranges", part.rect));
        }
        self.sum(part, samples);
        Ok(())
    }

    fn sum(&mut self, part: &RenderedRect, samples: u32) {
        let length = f64::from(samples);
        let is_first = self.samples == 0.0;
        self.samples += length;
        for ((pass, sums), (_, plane)) in self.sums.iter_mut().zip(&part.planes) {
            for channel in 0..CHANNELS {
                let rule = self.merging.rule(*pass, channel);
                let weights: Vec<_> = rule.weights().filter_map(|at| values(part, at)).collect();
                for (index, (sum, value)) in sums.iter_mut().zip(plane).enumerate() {
                    let value = f64::from(value[channel]);
                    let weights = weights
                        .iter()
                        .map(|(plane, at)| f64::from(plane[index][*at]));
                    match rule {
                        Rule::First if is_first => sum[channel] = value,
                        Rule::First => {}
                        Rule::Mean { .. } => {
                            sum[channel] += length * weights.product::<f64>() * value;
                        }
                    }
                }
            }
        }
        for coverages in &mut self.coverages {
            coverages.add(part, length);
        }
    }

    /// The merged rectangle, without what only weighed it.
    pub fn finish(self) -> RenderedRect {
        let kept = |(pass, _): &&Sums| !self.merging.only_weighs(*pass);
        let planes = self.sums.iter().filter(kept);
        let planes = planes.map(|(pass, sums)| (*pass, self.merged(*pass, sums)));
        let mut whole = RenderedRect {
            rect: self.whole.rect,
            planes: planes.collect(),
        };
        for coverages in self.coverages {
            let counts = coverages.matte().counts;
            let weights = |index| summed(&self.sums, counts, index).unwrap_or(self.samples);
            coverages.write(&weights, &mut whole);
        }
        whole
    }

    fn merged(&self, pass: Pass, sums: &[[f64; CHANNELS]]) -> Vec<[f32; CHANNELS]> {
        let rules: [Rule; CHANNELS] =
            std::array::from_fn(|channel| self.merging.rule(pass, channel));
        // What a channel was weighed by was summed itself, weighed by what comes before it.
        let weight = |rule: Rule, index: usize| {
            let weights = rule.weights();
            let summed = weights.filter_map(|place| summed(&self.sums, Some(place), index));
            summed.last().unwrap_or(self.samples)
        };
        let pixel = |(index, sum): (usize, &[f64; CHANNELS])| {
            std::array::from_fn(|channel| match rules[channel] {
                Rule::First => sum[channel] as f32,
                rule => mean(sum[channel], weight(rule, index)),
            })
        };
        sums.iter().enumerate().map(pixel).collect()
    }
}

fn summed(sums: &[Sums], place: Option<ChannelPlace>, index: usize) -> Option<f64> {
    let place = place?;
    let (_, sums) = sums.iter().find(|(pass, _)| *pass == place.pass)?;
    Some(sums[index][place.index()])
}

/// The plane with a channel, and which of its channels it is; none where the job did not ask for it.
fn values(part: &RenderedRect, place: ChannelPlace) -> Option<(&[[f32; CHANNELS]], usize)> {
    let (_, plane) = part.planes.iter().find(|(pass, _)| *pass == place.pass)?;
    Some((plane, place.index()))
}

/// Nothing where no sample was taken.
fn mean(sum: f64, weight: f64) -> f32 {
    match weight > 0.0 {
        true => (sum / weight) as f32,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Rect;

    const DATA: Pass = Pass::Plane(0);
    const COUNTS: Pass = Pass::Plane(1);

    fn merging(rules: &[(Pass, usize, Rule)], extra: &[Pass]) -> Merging {
        let rules = rules
            .iter()
            .map(|(pass, channel, rule)| (ChannelPlace::new(*pass, *channel), *rule));
        Merging::new(rules, Vec::new(), extra.iter().copied())
    }

    fn rect(width: u32) -> Rect {
        Rect {
            x: 8,
            y: 0,
            width,
            height: 1,
        }
    }

    fn part(colour: f32, data: f32, counts: [f32; 2]) -> RenderedRect {
        RenderedRect {
            rect: rect(2),
            planes: vec![
                (Pass::Combined, vec![[colour, 0.0, 0.0, 1.0]; 2]),
                (DATA, vec![[data, colour, 0.0, 0.0]; 2]),
                (COUNTS, counts.map(|count| [count, 0.0, 0.0, 0.0]).to_vec()),
            ],
        }
    }

    #[test]
    fn ranges_weigh_by_their_samples_and_what_has_no_mean_is_of_the_first() {
        let merging = merging(&[(DATA, 0, Rule::First)], &[COUNTS]);
        let mut merger = merging.begin(&part(1.0, 7.0, [1.0; 2]), 1);
        merger.add(&part(5.0, 9.0, [1.0; 2]), 3).unwrap();
        let merged = merger.finish();
        assert_eq!(merged.planes.len(), 2);
        assert_eq!(merged.planes[0].1, [[4.0, 0.0, 0.0, 1.0]; 2]);
        assert_eq!(merged.planes[1].1, [[7.0, 4.0, 0.0, 0.0]; 2]);
    }

    #[test]
    fn where_samples_are_counted_each_counts_once() {
        let counted = Rule::Mean {
            counts: Some(ChannelPlace::new(COUNTS, 0)),
            divisor: None,
        };
        let merging = merging(&[0, 1, 2, 3].map(|at| (Pass::Combined, at, counted)), &[]);
        // Of the second pixel the first range took half of its eight samples, the second a quarter.
        let mut merger = merging.begin(&part(1.0, 0.0, [1.0, 0.5]), 8);
        merger.add(&part(4.0, 0.0, [1.0, 0.25]), 8).unwrap();
        let merged = merger.finish();
        assert_eq!(merged.planes[0].1[0], [2.5, 0.0, 0.0, 1.0]);
        assert_eq!(merged.planes[0].1[1], [2.0, 0.0, 0.0, 1.0]);
        assert_eq!(merged.planes[2].1[1][0], 0.375);
    }

    #[test]
    fn quotients_weigh_by_what_they_were_divided_by() {
        let divided = Rule::Mean {
            counts: None,
            divisor: Some(ChannelPlace::new(DATA, 1)),
        };
        let merging = merging(&[(DATA, 0, divided)], &[]);
        let part = |quotient: f32, divisor: f32| RenderedRect {
            rect: rect(1),
            planes: vec![(DATA, vec![[quotient, divisor, 0.0, 0.0]])],
        };
        let mut merger = merging.begin(&part(8.0, 0.25), 2);
        merger.add(&part(0.0, 0.0), 2).unwrap();
        merger.add(&part(2.0, 0.5), 4).unwrap();
        // (2 * 0.25 * 8 + 4 * 0.5 * 2) / (2 * 0.25 + 4 * 0.5), and the mean of what it was divided by.
        assert_eq!(merger.finish().planes[0].1[0], [3.2, 0.3125, 0.0, 0.0]);
        // Nothing was met at all.
        let nothing = merging.begin(&part(0.0, 0.0), 2).finish();
        assert_eq!(nothing.planes[0].1[0], [0.0; 4]);
    }

    #[test]
    fn other_rectangles_and_passes_are_refused() {
        let merging = Merging::default();
        let first = part(1.0, 1.0, [1.0; 2]);
        let mut merger = merging.begin(&first, 4);
        let mut other = first.clone();
        other.planes.pop();
        assert!(merger.add(&other, 4).is_err());
        other = RenderedRect {
            rect: rect(3),
            ..first.clone()
        };
        assert!(merger.add(&other, 4).is_err());
        assert!(merger.add(&first, 4).is_ok());
        assert_eq!(merger.finish().planes[0].1, first.planes[0].1);
    }
}
