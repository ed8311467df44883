//! What of a scene's passes is a mean over samples, and what weighs it.

use super::passes::LayerPass;
use crate::{
    frame_file::Plane,
    merging::{ChannelPlace, Merging, Rule},
};

/// The pass with the share of the samples that adaptive sampling took of each pixel.
const COUNTS: &str = "Debug Sample Count";
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
/// Beginning of the names of passes in which each pixel lists what covers it: lists have no mean.
const CRYPTOMATTE: &str = "Crypto";

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
    let place_of = |pass: &LayerPass| {
        let wanted = pass.names().next()?;
        let mut found = places().filter(|(_, name)| **name == wanted);
        found.next().map(|(place, _)| place)
    };
    let all = passes.into_iter().flatten();
    let rules = all.flat_map(|pass| {
        let counts = pass.other(COUNTS, "X");
        let counted_by = adaptive.then(|| place_of(&counts)).flatten();
        let rule = rule(&pass.pass, counted_by);
        pass.names().map(move |name| (name, rule))
    });
    let rules: Vec<(String, Rule)> = rules.collect();
    let found = places().filter_map(|(place, name)| {
        let (_, rule) = rules.iter().find(|(ruled, _)| ruled == name)?;
        Some((place, *rule))
    });
    Merging::new(found, planes[1].iter().map(|plane| plane.pass))
}

fn rule(pass: &str, counted_by: Option<ChannelPlace>) -> Rule {
    match pass {
        // Of each range it is the share of the range's samples that was taken.
        COUNTS => Rule::Mean { counts: None },
        name if OF_FIRST_SAMPLE.contains(&name) || name.starts_with(CRYPTOMATTE) => Rule::First,
        _ => Rule::Mean { counts: counted_by },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::passes::{further_planes, planes},
        *,
    };
    use protocol::Pass;

    fn pass(layer: &str, pass: &str, channels: &str) -> LayerPass {
        LayerPass {
            layer: layer.into(),
            pass: pass.into(),
            view: None,
            channels: channels.into(),
            denoised: false,
        }
    }

    #[test]
    fn each_layer_is_weighed_by_its_own_counts() {
        let passes = [
            pass("A", "Combined", "RGBA"),
            pass("A", "Depth", "Z"),
            pass("A", "CryptoObject00", "RGBA"),
            pass("A", COUNTS, "X"),
            pass("B", "Combined", "RGBA"),
        ];
        let further = [pass("B", COUNTS, "X")];
        let (own, _) = planes(&passes, 1);
        let counts = further_planes(&further, own.len());
        assert_eq!(counts[0].channels, ["B.Debug Sample Count.X"]);
        let merging = merging(&[&own, &counts], [&passes, &further], true);
        let of = |name: &str| {
            let both = own.iter().chain(&counts);
            let plane = both.filter(|plane| plane.channels.iter().any(|other| other == name));
            let plane = plane.take(1).next().unwrap();
            let channel = plane.channels.iter().position(|other| other == name);
            merging.rule(plane.pass, channel.unwrap())
        };
        let mean = |place| Rule::Mean { counts: place };
        let a = ChannelPlace::new(Pass::Plane(1), 1);
        let b = ChannelPlace::new(counts[0].pass, 0);
        assert_eq!(of("A.Combined.R"), mean(Some(a)));
        assert_eq!(of("B.Combined.A"), mean(Some(b)));
        assert_eq!(of("A.Depth.Z"), Rule::First);
        assert_eq!(of("A.CryptoObject00.B"), Rule::First);
        assert_eq!(of("A.Debug Sample Count.X"), mean(None));
        assert_eq!(of("B.Debug Sample Count.X"), mean(None));
        assert!(
            merging
                .weights()
                .into_iter()
                .eq([Pass::Plane(1), counts[0].pass])
        );
        assert!(merging.only_weighs(counts[0].pass) && !merging.only_weighs(Pass::Plane(1)));
    }
}
