//! Compares folders of pictures: the same files with the same pixels, and in EXR the same channels and cryptomatte manifests.

use exr::prelude::{AttributeValue, FlatSamples, Text, read_all_flat_layers_from_file};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Endings of scenes and their shaders; Blender compiles these beside their sources.
const OF_SCENES: [&str; 3] = ["blend", "osl", "oso"];

/// Everything in which two folders differ, a line each; empty when nothing does. Scenes themselves are not looked at. Values in
/// EXR may be `rounding` apart.
pub fn differences(own: &Path, our: &Path, rounding: f32) -> Vec<String> {
    let is_of_scene = |file: &PathBuf| {
        OF_SCENES
            .iter()
            .any(|e| file.extension() == Some(e.as_ref()))
    };
    let pictures = |folder| -> BTreeSet<PathBuf> {
        files(folder)
            .into_iter()
            .filter(|file| !is_of_scene(file))
            .collect()
    };
    let (owns, ours) = (pictures(own), pictures(our));
    let missing = owns.difference(&ours);
    let mut found: Vec<String> = missing
        .map(|file| format!("{} is missing", file.display()))
        .collect();
    let extra = ours.difference(&owns);
    found.extend(extra.map(|file| format!("{} is too many", file.display())));
    for file in owns.intersection(&ours) {
        let (one, other) = (own.join(file), our.join(file));
        let apart = match file.extension().and_then(|ending| ending.to_str()) {
            Some("exr") => exr_differences(&one, &other, rounding),
            _ => picture_differences(&one, &other),
        };
        found.extend(
            apart
                .iter()
                .map(|apart| format!("{}: {apart}", file.display())),
        );
    }
    found
}

/// All files below a folder, relative to it.
pub fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a readable folder").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let relative = path.strip_prefix(folder).expect("it is below");
                    found.insert(relative.to_owned());
                }
            }
        }
    }
    found
}

fn picture_differences(own: &Path, our: &Path) -> Vec<String> {
    let read =
        |path: &Path| image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (own, our) = (read(own), read(our));
    let kind = |picture: &image::DynamicImage| (picture.width(), picture.height(), picture.color());
    if kind(&own) != kind(&our) {
        return vec![format!("{:?} in place of {:?}", kind(&our), kind(&own))];
    }
    let (one, other) = (own.to_rgba16(), our.to_rgba16());
    let apart: Vec<u16> = one
        .iter()
        .zip(other.iter())
        .map(|(l, r)| l.abs_diff(*r))
        .collect();
    let most = apart.iter().max().copied().unwrap_or_default();
    let count = apart.iter().filter(|apart| **apart > 0).count();
    match count {
        0 => Vec::new(),
        _ => vec![format!(
            "{count} of {} values differ, by up to {most} of 65535",
            apart.len()
        )],
    }
}

/// A channel's type and its values' bits.
#[derive(PartialEq)]
struct Channel {
    kind: &'static str,
    bits: Vec<u32>,
    values: Vec<f32>,
}

/// What an EXR holds, of whatever parts.
struct Exr {
    size: (usize, usize),
    channels: BTreeMap<String, Channel>,
    manifests: BTreeMap<String, String>,
}

impl Exr {
    fn read(path: &Path) -> Self {
        let image = read_all_flat_layers_from_file(path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut read = Self {
            size: image.attributes.display_window.size.into(),
            channels: BTreeMap::new(),
            manifests: BTreeMap::new(),
        };
        for part in image.layer_data {
            for channel in part.channel_data.list {
                let name = channel.name.to_string();
                read.channels
                    .insert(name, Channel::new(channel.sample_data));
            }
            let all = part
                .attributes
                .other
                .into_iter()
                .chain(image.attributes.other.clone());
            read.manifests
                .extend(all.filter_map(|(name, value)| manifest(&name, value)));
        }
        read
    }
}

/// What cryptomatte says of itself.
fn manifest(name: &Text, value: AttributeValue) -> Option<(String, String)> {
    match value {
        AttributeValue::Text(text) if name.to_string().starts_with("cryptomatte/") => {
            Some((name.to_string(), text.to_string()))
        }
        _ => None,
    }
}

impl Channel {
    fn new(samples: FlatSamples) -> Self {
        let (kind, bits) = match &samples {
            FlatSamples::F16(values) => {
                ("half", values.iter().map(|v| v.to_bits().into()).collect())
            }
            FlatSamples::F32(values) => ("float", values.iter().map(|v| v.to_bits()).collect()),
            FlatSamples::U32(values) => ("uint", values.clone()),
        };
        Self {
            kind,
            bits,
            values: samples.values_as_f32().collect(),
        }
    }

    fn difference(&self, other: &Self, rounding: f32) -> Option<String> {
        if self.kind != other.kind || self.bits.len() != other.bits.len() {
            return Some(format!("{} in place of {}", other.kind, self.kind));
        }
        let bits = self.bits.iter().zip(&other.bits);
        let count = bits.filter(|(l, r)| l != r).count();
        let values = self.values.iter().zip(&other.values);
        let most = values.map(|(l, r)| (l - r).abs()).fold(0.0, f32::max);
        let within = most > 0.0 && most <= rounding;
        (count > 0 && !within).then(|| {
            format!(
                "{count} of {} values differ, by up to {most:.3e}",
                self.bits.len()
            )
        })
    }
}

fn exr_differences(own: &Path, our: &Path, rounding: f32) -> Vec<String> {
    let (own, our) = (Exr::read(own), Exr::read(our));
    let mut found = Vec::new();
    if own.size != our.size {
        found.push(format!("{:?} in place of {:?} pixels", our.size, own.size));
    }
    if own.manifests != our.manifests {
        let names = |exr: &Exr| exr.manifests.keys().cloned().collect::<Vec<_>>();
        found.push(format!(
            "cryptomatte {:?} in place of {:?}, or another manifest",
            names(&our),
            names(&own)
        ));
    }
    for (name, channel) in &own.channels {
        match our.channels.get(name) {
            None => found.push(format!("channel {name} is missing")),
            Some(other) => {
                let apart = channel.difference(other, rounding);
                found.extend(apart.map(|apart| format!("channel {name}: {apart}")));
            }
        }
    }
    let extra = our
        .channels
        .keys()
        .filter(|name| !own.channels.contains_key(*name));
    found.extend(extra.map(|name| format!("channel {name} is too many")));
    found
}
