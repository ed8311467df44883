//! Keyframe animation: which property of which node follows which curve, and its value at a time.
//!
//! All animations of a file play together, each from its own first key; where two drive the same property, the
//! later one in the file wins. Before the first key and after the last a curve keeps that key's value.

use super::accessor::Accessors;
use super::error::{Fault, entry};
use super::hierarchy::{Hierarchy, Placement};
use super::schema;
use crate::math::{self, Vec3, vec3};
use crate::transform::Quat;

/// What a channel drives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Property {
    Translation,
    Rotation,
    Scale,
    Weights,
}

/// How a curve gets from key to key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Interpolation {
    Step,
    Linear,
    CubicSpline,
}

/// A property of a node that changes over time.
#[derive(Debug)]
pub(super) struct Channel {
    node: usize,
    property: Property,
    curve: Curve,
}

/// Keys with `width` numbers each; cubic splines have three such groups a key (in-tangent, value, out-tangent).
#[derive(Debug)]
struct Curve {
    interpolation: Interpolation,
    times: Vec<f32>,
    width: usize,
    values: Vec<f32>,
}

/// The state of all nodes at an instant.
pub(super) struct Pose {
    /// Where each node is in its parent.
    pub placements: Vec<Placement>,
    /// Weights of morph targets that are animated, by node; empty where they are not.
    pub weights: Vec<Vec<f32>>,
}

/// Reads all channels; what cannot be played is told in `warnings`.
pub(super) fn channels(
    entries: &[schema::Animation],
    hierarchy: &Hierarchy,
    accessors: &mut Accessors,
    warnings: &mut Vec<String>,
) -> Result<Vec<Channel>, Fault> {
    let mut channels = Vec::new();
    for animation in entries {
        for channel in &animation.channels {
            let Some(target) = channel.target.node else {
                continue;
            };
            let node = entry(&hierarchy.nodes, target, "node")?;
            let Some(property) = property(&channel.target.path) else {
                let path: String = channel.target.path.chars().take(40).collect();
                warnings.push(format!("animation of `{path}` is not known and ignored"));
                continue;
            };
            if property != Property::Weights && matches!(node.placement, Placement::Matrix(_)) {
                warnings.push(format!(
                    "node {target} has a matrix, so its animation is ignored"
                ));
                continue;
            }
            let sampler = entry(&animation.samplers, channel.sampler, "animation sampler")?;
            if let Some(curve) = curve(sampler, property, accessors)? {
                channels.push(Channel {
                    node: target as usize,
                    property,
                    curve,
                });
            }
        }
    }
    Ok(channels)
}

/// The time of the last key, in seconds.
pub(super) fn duration(channels: &[Channel]) -> f32 {
    let ends = channels
        .iter()
        .filter_map(|channel| channel.curve.times.last());
    ends.fold(0.0, |latest, &end| math::max(end, latest))
}

fn property(path: &str) -> Option<Property> {
    Some(match path {
        "translation" => Property::Translation,
        "rotation" => Property::Rotation,
        "scale" => Property::Scale,
        "weights" => Property::Weights,
        _ => return None,
    })
}

/// Reads a curve; none when it has no keys.
fn curve(
    sampler: &schema::AnimationSampler,
    property: Property,
    accessors: &mut Accessors,
) -> Result<Option<Curve>, Fault> {
    let interpolation = match sampler.interpolation.as_deref() {
        None | Some("LINEAR") => Interpolation::Linear,
        Some("STEP") => Interpolation::Step,
        Some("CUBICSPLINE") => Interpolation::CubicSpline,
        Some(other) => {
            let name: String = other.chars().take(20).collect();
            return Err(Fault::Damaged(format!("{name} is not an interpolation")));
        }
    };
    let times: Vec<f32> = accessors.floats::<1>(sampler.input)?.concat();
    if times.is_empty() {
        return Ok(None);
    }
    if !times.is_sorted() {
        return Err(Fault::damaged("keys of an animation are not in order"));
    }
    let values: Vec<f32> = match property {
        Property::Translation | Property::Scale => accessors.floats::<3>(sampler.output)?.concat(),
        Property::Rotation => accessors.floats::<4>(sampler.output)?.concat(),
        Property::Weights => accessors.floats::<1>(sampler.output)?.concat(),
    };
    let groups = match interpolation {
        Interpolation::CubicSpline => 3 * times.len(),
        _ => times.len(),
    };
    let width = match property {
        Property::Translation | Property::Scale => 3,
        Property::Rotation => 4,
        Property::Weights => values.len() / groups,
    };
    match values.len() == groups * width {
        true => Ok(Some(Curve {
            interpolation,
            times,
            width,
            values,
        })),
        false => Err(Fault::Damaged(format!(
            "an animation has {} values for {} keys",
            values.len(),
            times.len()
        ))),
    }
}

/// The state of all nodes at a time in seconds.
pub(super) fn pose(hierarchy: &Hierarchy, channels: &[Channel], time: f32) -> Pose {
    let nodes = &hierarchy.nodes;
    let mut pose = Pose {
        placements: nodes.iter().map(|node| node.placement).collect(),
        weights: vec![Vec::new(); nodes.len()],
    };
    for channel in channels {
        let curve = &channel.curve;
        if channel.property == Property::Weights {
            pose.weights[channel.node] = curve.sample(time);
            continue;
        }
        let Placement::Parts(parts) = &mut pose.placements[channel.node] else {
            continue;
        };
        match channel.property {
            Property::Translation => parts.translation = vector(&curve.sample(time)),
            Property::Scale => parts.scale = vector(&curve.sample(time)),
            Property::Rotation | Property::Weights => parts.rotation = curve.sample_rotation(time),
        }
    }
    pose
}

fn vector(values: &[f32]) -> Vec3 {
    match values {
        [x, y, z, ..] => vec3(*x, *y, *z),
        _ => Vec3::ZERO,
    }
}

fn quaternion(values: &[f32]) -> Quat {
    match values {
        [x, y, z, w, ..] => Quat::from_array([*x, *y, *z, *w]).normalized(),
        _ => Quat::IDENTITY,
    }
}

/// Where a time falls among keys.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// On a key, before the first or after the last.
    At(usize),
    /// Between a key and its successor: how far, 0 to 1, and seconds between the two.
    Between(usize, f32, f32),
}

impl Curve {
    fn place(&self, time: f32) -> Place {
        let after = self.times.partition_point(|&key| key <= time);
        if after == 0 {
            return Place::At(0);
        }
        if after == self.times.len() {
            return Place::At(after - 1);
        }
        let (from, to) = (self.times[after - 1], self.times[after]);
        let span = to - from;
        Place::Between(after - 1, (time - from) / span, span)
    }

    /// One group of numbers.
    fn group(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }

    /// The value at a key.
    fn key(&self, index: usize) -> &[f32] {
        match self.interpolation {
            Interpolation::CubicSpline => self.group(3 * index + 1),
            _ => self.group(index),
        }
    }

    /// The numbers at a time, each interpolated by itself.
    fn sample(&self, time: f32) -> Vec<f32> {
        let (key, t, span) = match self.place(time) {
            Place::At(key) => return self.key(key).to_vec(),
            Place::Between(key, t, span) => (key, t, span),
        };
        match self.interpolation {
            Interpolation::Step => self.key(key).to_vec(),
            Interpolation::Linear => {
                let pairs = self.key(key).iter().zip(self.key(key + 1));
                pairs.map(|(a, b)| a * (1.0 - t) + b * t).collect()
            }
            Interpolation::CubicSpline => self.hermite(key, t, span),
        }
    }

    /// The cubic Hermite spline of glTF 2.0, appendix C.
    fn hermite(&self, key: usize, t: f32, span: f32) -> Vec<f32> {
        let (t2, t3) = (t * t, t * t * t);
        let from = 2.0 * t3 - 3.0 * t2 + 1.0;
        let leaving = span * (t3 - 2.0 * t2 + t);
        let to = 3.0 * t2 - 2.0 * t3;
        let arriving = span * (t3 - t2);
        let out_tangents = self.group(3 * key + 2);
        let in_tangents = self.group(3 * (key + 1));
        let (start, end) = (self.key(key), self.key(key + 1));
        (0..self.width)
            .map(|i| {
                start[i] * from
                    + out_tangents[i] * leaving
                    + end[i] * to
                    + in_tangents[i] * arriving
            })
            .collect()
    }

    /// A rotation at a time: linear keys are met along the sphere, and every result has length one.
    fn sample_rotation(&self, time: f32) -> Quat {
        match (self.interpolation, self.place(time)) {
            (Interpolation::Linear, Place::Between(key, t, _)) => {
                quaternion(self.key(key)).slerp(quaternion(self.key(key + 1)), t)
            }
            _ => quaternion(&self.sample(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(interpolation: Interpolation, width: usize, values: &[f32]) -> Curve {
        Curve {
            interpolation,
            times: vec![1.0, 3.0],
            width,
            values: values.to_vec(),
        }
    }

    #[test]
    fn steps_hold_until_the_next_key() {
        let curve = curve(Interpolation::Step, 1, &[5.0, 7.0]);
        let values: Vec<f32> = [0.0, 1.0, 2.9, 3.0, 9.0]
            .iter()
            .flat_map(|&time| curve.sample(time))
            .collect();
        assert_eq!(values, [5.0, 5.0, 5.0, 7.0, 7.0]);
    }

    #[test]
    fn lines_are_straight_between_keys_and_flat_outside() {
        let curve = curve(
            Interpolation::Linear,
            3,
            &[0.0, 10.0, -1.0, 4.0, 20.0, -1.0],
        );
        assert_eq!(curve.sample(1.5), [1.0, 12.5, -1.0]);
        assert_eq!(curve.sample(-5.0), [0.0, 10.0, -1.0]);
        assert_eq!(curve.sample(5.0), [4.0, 20.0, -1.0]);
    }

    #[test]
    fn splines_follow_their_tangents() {
        // In-tangent, value, out-tangent of two keys, two seconds apart.
        let curve = curve(
            Interpolation::CubicSpline,
            1,
            &[9.0, 1.0, 2.0, -1.0, 5.0, 9.0],
        );
        assert_eq!(curve.sample(1.0), [1.0]);
        assert_eq!(curve.sample(3.0), [5.0]);
        // At t = 1/2: 1 * 1/2 + 2 * 2 * 1/8 + 5 * 1/2 + 2 * -1 * -1/8.
        assert_eq!(curve.sample(2.0), [3.75]);
        // At t = 1/4: 1 * 27/32 + 2 * 2 * 9/64 + 5 * 5/32 + 2 * -1 * -3/64.
        assert_eq!(curve.sample(1.5), [2.28125]);
    }

    #[test]
    fn rotations_move_along_the_sphere() {
        let half = core::f32::consts::FRAC_1_SQRT_2;
        let turn = curve(
            Interpolation::Linear,
            4,
            &[0.0, 0.0, 0.0, 1.0, 0.0, half, 0.0, half],
        );
        // A quarter turn about y in two seconds: after half a second 22.5 degrees, half of which is 11.25.
        let expected = [0.195_090_32, 0.980_785_3];
        let rotation = turn.sample_rotation(1.5);
        assert!((rotation.y - expected[0]).abs() < 1e-6);
        assert!((rotation.w - expected[1]).abs() < 1e-6);
    }
}
