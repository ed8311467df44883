//! Mattes in which each pixel lists what covers it, and how much: lists of several ranges become one by what they name.

use super::{CHANNELS, ChannelPlace, mean, values};
use protocol::{Pass, RenderedRect};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a matte's lists stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Matte {
    /// For each place of a list what is named there, by a number, and its coverage; the largest first.
    pub(crate) ranks: Vec<(ChannelPlace, ChannelPlace)>,
    /// See [`super::Rule::Mean`].
    pub(crate) counts: Option<ChannelPlace>,
}

impl Matte {
    /// Are all its channels among these passes?
    pub(super) fn is_in(&self, passes: &BTreeSet<Pass>) -> bool {
        let mut places = self.ranks.iter().flat_map(|(name, share)| [name, share]);
        places.all(|place| passes.contains(&place.pass))
    }
}

/// What covers each pixel in the ranges so far.
pub(super) struct Coverages<'a> {
    matte: &'a Matte,
    /// Bits of the number, and coverage times samples.
    pixels: Vec<Vec<(u32, f64)>>,
}

impl<'a> Coverages<'a> {
    pub(super) fn new(matte: &'a Matte, pixels: usize) -> Self {
        Self {
            matte,
            pixels: vec![Vec::new(); pixels],
        }
    }

    pub(super) fn matte(&self) -> &'a Matte {
        self.matte
    }

    /// Adds a range of so many samples.
    pub(super) fn add(&mut self, part: &RenderedRect, samples: f64) {
        let counts = self.matte.counts.and_then(|place| values(part, place));
        for (name, share) in &self.matte.ranks {
            let Some(((names, name), (shares, share))) =
                values(part, *name).zip(values(part, *share))
            else {
                continue;
            };
            for (index, pixel) in self.pixels.iter_mut().enumerate() {
                let taken = counts.map_or(1.0, |(counts, at)| counts[index][at]);
                let covers = samples * f64::from(taken) * f64::from(shares[index][share]);
                if covers > 0.0 {
                    cover(pixel, names[index][name].to_bits(), covers);
                }
            }
        }
    }

    /// Writes the lists, where pixels have so many samples; what finds no place in one is left out.
    pub(super) fn write(self, samples: &impl Fn(usize) -> f64, whole: &mut RenderedRect) {
        for (index, mut pixel) in self.pixels.into_iter().enumerate() {
            // Of equals the one that was met first, as the engine has it.
            pixel.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            let mut listed = pixel.into_iter();
            for (name, share) in &self.matte.ranks {
                let (number, covers) = listed.next().unwrap_or_default();
                set(whole, *name, index, f32::from_bits(number));
                set(whole, *share, index, mean(covers, samples(index)));
            }
        }
    }
}

fn cover(pixel: &mut Vec<(u32, f64)>, number: u32, covers: f64) {
    match pixel.iter_mut().find(|(known, _)| *known == number) {
        Some((_, sum)) => *sum += covers,
        None => pixel.push((number, covers)),
    }
}

fn set(whole: &mut RenderedRect, place: ChannelPlace, index: usize, value: f32) {
    let mut planes = whole.planes.iter_mut();
    let plane: Option<&mut Vec<[f32; CHANNELS]>> = planes
        .find(|(pass, _)| *pass == place.pass)
        .map(|(_, plane)| plane);
    if let Some(plane) = plane {
        plane[index][place.index()] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Merging, Rule},
        *,
    };
    use protocol::Rect;

    const LISTS: Pass = Pass::Plane(3);

    fn merged(parts: &[([f32; 4], u32)]) -> [f32; 4] {
        let place = |channel| ChannelPlace::new(LISTS, channel);
        let matte = Matte {
            ranks: vec![(place(0), place(1)), (place(2), place(3))],
            counts: None,
        };
        let first = [0, 1, 2, 3].map(|channel| (place(channel), Rule::First));
        let merging = Merging::new(first.into_iter(), vec![matte], [].into_iter());
        let rendered = |list: [f32; 4]| RenderedRect {
            rect: Rect {
                x: 0,
                y: 0,
                width: 1,
                height: 1,
            },
            planes: vec![(LISTS, vec![list])],
        };
        let (list, samples) = parts[0];
        let mut merger = merging.begin(&rendered(list), samples);
        for (list, samples) in &parts[1..] {
            merger.add(&rendered(*list), *samples).unwrap();
        }
        merger.finish().planes[0].1[0]
    }

    #[test]
    fn lists_are_merged_by_what_they_name() {
        let (cup, table, wall) = (1.5, 2.5e20, -3.5);
        // The cup covers 3 of the first 4 samples, and 3 of the next 12, which see more of the table.
        let ranges = [([cup, 0.75, table, 0.25], 4), ([table, 0.5, cup, 0.25], 12)];
        assert_eq!(merged(&ranges), [table, 0.437_5, cup, 0.375]);
        assert_eq!(
            merged(&[([0.0; 4], 4), ([cup, 1.0, 0.0, 0.0], 4)]),
            [cup, 0.5, 0.0, 0.0]
        );
        // There is room for two.
        let three = [([cup, 0.5, table, 0.5], 4), ([wall, 1.0, 0.0, 0.0], 2)];
        let [first, covers, second, less] = merged(&three);
        assert_eq!((first, second), (cup, table));
        assert!((covers - 1.0 / 3.0).abs() < 1e-6 && covers == less);
    }
}
