//! What of a scene's passes is a mean over samples, and what weighs it.

use super::passes::LayerPass;
use crate::{
    frame_file::Plane,
    merging::{ChannelPlace, Matte, Merging, Rule},
};
use std::collections::{BTreeMap, HashMap};

/// The pass with the share of the samples that adaptive sampling took of each pixel.
const COUNTS: &str = "Debug Sample Count";
/// Passes that Cycles has divided by another, sample by sample summed: by their names from Blender 5.0 on and before.
const DIVIDED: [(&str, &str); 13] = [
    ("Diffuse Direct", "Diffuse Color"),
    ("Diffuse Indirect", "Diffuse Color"),
    ("Glossy Direct", "Glossy Color"),
    ("Glossy Indirect", "Glossy Color"),
    ("Transmission Direct", "Transmission Color"),
    ("Transmission Indirect", "Transmission Color"),
    ("DiffDir", "DiffCol"),
    ("DiffInd", "DiffCol"),
    ("GlossDir", "GlossCol"),
    ("GlossInd", "GlossCol"),
    ("TransDir", "TransCol"),
    ("TransInd", "TransCol"),
    // Only samples that meet something move, and in this channel each of them is a one.
    (MOTION, "UV"),
];
const MOTION: &str = "Vector";
const MET_CHANNEL: usize = 2;
/// Passes that have what the first sample of a pixel met, by their names from Blender 5.0 on and before. Ranges that begin
/// later leave them empty.
const OF_FIRST_SAMPLE: [&str; 6] = [
    "Depth",
    "Position",
    "Object Index",
    "Material Index",
    "IndexOB",
    "IndexMA",
];
/// Beginning of the names of passes in which each pixel lists what covers it, two to a pass; `CryptoObject00` goes on in
/// `CryptoObject01`.
const CRYPTOMATTE: &str = "Crypto";
const CRYPTOMATTE_DIGITS: usize = 2;

/// How the channels of these planes are merged: first those that files have, then those that only weigh.
pub(super) fn merging(
    planes: &[&[Plane]; 2],
    passes: [&[LayerPass]; 2],
    adaptive: bool,
) -> Merging {
    let places = || {
        let planes = planes.iter().copied().flatten();
        planes.flat_map(|plane| {
            let channels = plane.channels.iter().enumerate();
            channels.map(|(channel, name)| (ChannelPlace::new(plane.pass, channel), name))
        })
    };
    let known: HashMap<&str, ChannelPlace> = places()
        .map(|(place, name)| (name.as_str(), place))
        .collect();
    let all = || passes.iter().copied().flatten();
    // A channel of a pass of the same layer and view, if that is delivered.
    let beside = |pass: &LayerPass, name: &str, channel: usize| {
        let is_it = |other: &&LayerPass| {
            (&other.layer, other.pass.as_str(), &other.view) == (&pass.layer, name, &pass.view)
        };
        let name = all().find(is_it)?.names().nth(channel)?;
        known.get(name.as_str()).copied()
    };
    let rules = all().flat_map(|pass| {
        let channels = pass.names().enumerate();
        let ruled = channels.filter_map(|(channel, name)| {
            let rule = rule(pass, channel, adaptive, &beside);
            known.get(name.as_str()).map(|place| (*place, rule))
        });
        ruled.collect::<Vec<_>>()
    });
    let mut mattes: BTreeMap<_, Matte> = BTreeMap::new();
    for pass in all().filter(|pass| pass.pass.starts_with(CRYPTOMATTE)) {
        let ranks = ranks(pass, &known);
        let digits = pass.pass.len().saturating_sub(CRYPTOMATTE_DIGITS);
        let name = pass.pass.get(..digits);
        let matte = mattes.entry((&pass.layer, &pass.view, name));
        let counts = adaptive.then(|| beside(pass, COUNTS, 0)).flatten();
        let matte = matte.or_insert_with(|| Matte {
            ranks: Vec::new(),
            counts,
        });
        matte.ranks.extend(ranks);
    }
    let mattes = mattes.into_values().collect();
    Merging::new(rules, mattes, planes[1].iter().map(|plane| plane.pass))
}

/// What stands in a pass of a matte: a name and its coverage, and another two.
fn ranks(
    pass: &LayerPass,
    known: &HashMap<&str, ChannelPlace>,
) -> Vec<(ChannelPlace, ChannelPlace)> {
    let places = pass.names().map(|name| known.get(name.as_str()).copied());
    let places: Vec<ChannelPlace> = places.map_while(|place| place).collect();
    let (pairs, _) = places.as_chunks::<2>();
    pairs
        .iter()
        .map(|[name, covers]| (*name, *covers))
        .collect()
}

fn rule(
    pass: &LayerPass,
    channel: usize,
    adaptive: bool,
    beside: &impl Fn(&LayerPass, &str, usize) -> Option<ChannelPlace>,
) -> Rule {
    let name = pass.pass.as_str();
    let counts = || adaptive.then(|| beside(pass, COUNTS, 0)).flatten();
    let divisor = || {
        let (_, divisor) = DIVIDED.iter().find(|(divided, _)| *divided == name)?;
        match name {
            MOTION => beside(pass, divisor, MET_CHANNEL),
            _ => beside(pass, divisor, channel),
        }
    };
    match name {
        // Of each range it is the share of the range's samples that was taken.
        COUNTS => Rule::PLAIN,
        _ if OF_FIRST_SAMPLE.contains(&name) || name.starts_with(CRYPTOMATTE) => Rule::First,
        _ => Rule::Mean {
            counts: counts(),
            divisor: divisor(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::passes::{further_planes, planes, tests::pass},
        *,
    };
    use protocol::Pass;

    #[test]
    fn each_layer_is_weighed_by_its_own_counts() {
        let passes = [
            pass("A", "Combined", "RGBA"),
            pass("A", "Depth", "Z"),
            pass("A", "CryptoObject00", "RGBA"),
            pass("A", COUNTS, "X"),
            pass("B", "Combined", "RGBA"),
            pass("B", "Vector", "XYZW"),
            pass("B", "DiffDir", "RGB"),
        ];
        let further = [
            pass("B", COUNTS, "X"),
            pass("B", "DiffCol", "RGB"),
            pass("B", "UV", "UVA"),
        ];
        let (own, _) = planes(&passes, 1);
        let counts = further_planes(&further, own.len());
        let names = counts.iter().map(|plane| plane.channels.join(" "));
        let names: Vec<String> = names.collect();
        assert_eq!(
            names,
            [
                "B.Debug Sample Count.X B.DiffCol.R B.DiffCol.G B.DiffCol.B",
                "B.UV.U B.UV.V B.UV.A"
            ]
        );
        let merging = merging(&[&own, &counts], [&passes, &further], true);
        let of = |name: &str| {
            let both = own.iter().chain(&counts);
            let plane = both.filter(|plane| plane.channels.iter().any(|other| other == name));
            let plane = plane.take(1).next().unwrap();
            let channel = plane.channels.iter().position(|other| other == name);
            merging.rule(plane.pass, channel.unwrap())
        };
        let mean = |counts| Rule::Mean {
            counts,
            divisor: None,
        };
        let a = ChannelPlace::new(Pass::Plane(1), 1);
        let b = ChannelPlace::new(counts[0].pass, 0);
        assert_eq!(of("A.Combined.R"), mean(Some(a)));
        assert_eq!(of("B.Combined.A"), mean(Some(b)));
        let divided = |pass, channel| Rule::Mean {
            counts: Some(b),
            divisor: Some(ChannelPlace::new(pass, channel)),
        };
        assert_eq!(of("B.Vector.X"), divided(counts[1].pass, 2));
        assert_eq!(of("B.Vector.W"), divided(counts[1].pass, 2));
        assert_eq!(of("B.DiffDir.G"), divided(counts[0].pass, 2));
        assert_eq!(of("A.Depth.Z"), Rule::First);
        assert_eq!(of("A.CryptoObject00.B"), Rule::First);
        assert_eq!(of("A.Debug Sample Count.X"), mean(None));
        assert_eq!(of("B.Debug Sample Count.X"), mean(None));
        // The plane with the first layer's counts has colours of the other, which are weighed too.
        let asked = |last: u16| (0..last).map(Pass::Plane).chain([Pass::Combined]);
        let needs = |last: u16| merging.with_weights(asked(last).collect());
        assert_eq!(needs(0), [Pass::Combined, Pass::Plane(1), counts[0].pass]);
        let most = [own.as_slice(), &counts].concat();
        assert!(needs(5).into_iter().eq(most.iter().map(|plane| plane.pass)));
        assert!(merging.only_weighs(counts[0].pass) && !merging.only_weighs(Pass::Plane(1)));
    }
}
