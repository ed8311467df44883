//! Ranges of a frame's samples put together: means weighted by the samples that each has, except for what has no mean.

use protocol::{Pass, RenderedRect};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Channels of a plane.
const CHANNELS: usize = 4;

/// A channel of a job's passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    },
}

/// How all channels of a scene are merged; without a word on one it is the mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merging {
    rules: Vec<(Pass, [Rule; CHANNELS])>,
    extra: Vec<Pass>,
}

const PLAIN: Rule = Rule::Mean { counts: None };

impl Merging {
    /// By the rules of single channels, and the passes that serve for nothing else.
    pub(crate) fn new(
        rules: impl Iterator<Item = (ChannelPlace, Rule)>,
        extra: impl Iterator<Item = Pass>,
    ) -> Self {
        let mut merging = Self {
            rules: Vec::new(),
            extra: extra.collect(),
        };
        for (place, rule) in rules {
            let known = merging
                .rules
                .iter()
                .position(|(pass, _)| *pass == place.pass);
            let index = known.unwrap_or_else(|| {
                merging.rules.push((place.pass, [PLAIN; CHANNELS]));
                merging.rules.len() - 1
            });
            merging.rules[index].1[usize::from(place.channel)] = rule;
        }
        merging
    }

    /// Passes that ranges are weighed by: a job has to ask for them.
    pub fn weights(&self) -> BTreeSet<Pass> {
        let rules = self.rules.iter().flat_map(|(_, rules)| rules);
        let counts = rules.filter_map(|rule| match rule {
            Rule::Mean { counts } => counts.as_ref(),
            Rule::First => None,
        });
        counts.map(|place| place.pass).collect()
    }

    /// Is this pass asked for to weigh by, and gone from what is merged?
    pub fn only_weighs(&self, pass: Pass) -> bool {
        self.extra.contains(&pass)
    }

    pub(crate) fn rule(&self, pass: Pass, channel: usize) -> Rule {
        let found = self.rules.iter().find(|(known, _)| *known == pass);
        found.map_or(PLAIN, |(_, rules)| rules[channel])
    }

    /// Begins with the first range, of so many samples.
    pub fn begin(&self, first: &RenderedRect, samples: u32) -> Merger<'_> {
        let sums = |(pass, plane): &(Pass, Vec<[f32; CHANNELS]>)| {
            (*pass, vec![[0.0; CHANNELS]; plane.len()])
        };
        let mut merger = Merger {
            merging: self,
            whole: RenderedRect {
                rect: first.rect,
                planes: Vec::new(),
            },
            sums: first.planes.iter().map(sums).collect(),
            samples: 0.0,
        };
        merger.sum(first, samples, true);
        merger
    }
}

/// Ranges that are being merged: sums of samples in double precision, so that nothing is lost in them.
pub struct Merger<'a> {
    merging: &'a Merging,
    whole: RenderedRect,
    sums: Vec<(Pass, Vec<[f64; CHANNELS]>)>,
    samples: f64,
}

impl Merger<'_> {
    /// Adds the same rectangle in a further range.
    ///
    /// # Errors
    /// When it is another rectangle or has other passes.
    pub fn add(&mut self, part: &RenderedRect, samples: u32) -> Result<(), String> {
        let same = |((pass, sums), (other, plane)): (
            &(Pass, Vec<[f64; CHANNELS]>),
            &(Pass, Vec<[f32; CHANNELS]>),
        )| pass == other && sums.len() == plane.len();
        let is_alike = part.rect == self.whole.rect
            && part.planes.len() == self.sums.len()
            && self.sums.iter().zip(&part.planes).all(same);
        if !is_alike {
            return Err(format!("{} is not the same in all ranges", part.rect));
        }
        self.sum(part, samples, false);
        Ok(())
    }

    fn sum(&mut self, part: &RenderedRect, samples: u32, is_first: bool) {
        let length = f64::from(samples);
        self.samples += length;
        for ((pass, sums), (_, plane)) in self.sums.iter_mut().zip(&part.planes) {
            for channel in 0..CHANNELS {
                let counts = match self.merging.rule(*pass, channel) {
                    Rule::First => {
                        if is_first {
                            let both = sums.iter_mut().zip(plane);
                            both.for_each(|(sum, value)| sum[channel] = value[channel].into());
                        }
                        continue;
                    }
                    Rule::Mean { counts } => counts.and_then(|place| values(part, place)),
                };
                for (index, (sum, value)) in sums.iter_mut().zip(plane).enumerate() {
                    let share = counts
                        .as_ref()
                        .map_or(1.0, |(counts, at)| counts[index][*at]);
                    sum[channel] += length * f64::from(share) * f64::from(value[channel]);
                }
            }
        }
    }

    /// The merged rectangle, without what only weighed it.
    pub fn finish(self) -> RenderedRect {
        let weight = |place: Option<ChannelPlace>, index: usize| {
            let place = place.and_then(|place| {
                let sums = self.sums.iter().find(|(pass, _)| *pass == place.pass);
                sums.map(|(_, sums)| sums[index][usize::from(place.channel)])
            });
            place.unwrap_or(self.samples)
        };
        let merged = |(pass, sums): &(Pass, Vec<[f64; CHANNELS]>)| {
            let rules: [Rule; CHANNELS] =
                std::array::from_fn(|channel| self.merging.rule(*pass, channel));
            let pixel = |(index, sum): (usize, &[f64; CHANNELS])| {
                std::array::from_fn(|channel| match rules[channel] {
                    Rule::First => sum[channel] as f32,
                    Rule::Mean { counts } => mean(sum[channel], weight(counts, index)),
                })
            };
            (*pass, sums.iter().enumerate().map(pixel).collect())
        };
        let kept = |(pass, _): &&(Pass, Vec<_>)| !self.merging.only_weighs(*pass);
        let planes = self.sums.iter().filter(kept).map(merged).collect();
        RenderedRect {
            planes,
            ..self.whole
        }
    }
}

/// The plane with a channel, and which of its channels it is; none where the job did not ask for it.
fn values(part: &RenderedRect, place: ChannelPlace) -> Option<(&[[f32; CHANNELS]], usize)> {
    let (_, plane) = part.planes.iter().find(|(pass, _)| *pass == place.pass)?;
    Some((plane, place.channel.into()))
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
        let place = |pass, channel| ChannelPlace::new(pass, channel);
        let rules = [(place(DATA, 0), Rule::First)];
        let merging = Merging::new(rules.into_iter(), [COUNTS].into_iter());
        let mut merger = merging.begin(&part(1.0, 7.0, [1.0; 2]), 1);
        merger.add(&part(5.0, 9.0, [1.0; 2]), 3).unwrap();
        let merged = merger.finish();
        assert_eq!(merged.planes.len(), 2);
        assert_eq!(merged.planes[0].1, [[4.0, 0.0, 0.0, 1.0]; 2]);
        assert_eq!(merged.planes[1].1, [[7.0, 4.0, 0.0, 0.0]; 2]);
    }

    #[test]
    fn where_samples_are_counted_each_counts_once() {
        let counts = Some(ChannelPlace::new(COUNTS, 0));
        let rules = (0..CHANNELS).map(|channel| {
            let place = ChannelPlace::new(Pass::Combined, channel);
            (place, Rule::Mean { counts })
        });
        let merging = Merging::new(rules, [].into_iter());
        // Of the second pixel the first range took half of its eight samples, the second a quarter.
        let mut merger = merging.begin(&part(1.0, 0.0, [1.0, 0.5]), 8);
        merger.add(&part(4.0, 0.0, [1.0, 0.25]), 8).unwrap();
        let merged = merger.finish();
        assert_eq!(merged.planes[0].1[0], [2.5, 0.0, 0.0, 1.0]);
        assert_eq!(merged.planes[0].1[1], [2.0, 0.0, 0.0, 1.0]);
        assert_eq!(merged.planes[2].1[1][0], 0.375);
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
