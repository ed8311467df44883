//! Punctual lights of KHR_lights_punctual, placed in the world.

use super::error::{Fault, entry};
use super::hierarchy::Hierarchy;
use super::schema;
use crate::math::{Vec3, vec3};
use crate::transform::Affine;
use crate::world::{Light, LightKind};
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};

/// A light at a node; its kind's place and direction follow the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeLight {
    node: usize,
    light: Light,
}

/// Reads the lights of the shown nodes.
pub(super) fn lights(
    entries: &[schema::Light],
    hierarchy: &Hierarchy,
) -> Result<Vec<NodeLight>, Fault> {
    let mut lights = Vec::new();
    for &node in &hierarchy.shown {
        if let Some(index) = hierarchy.nodes[node].light {
            let light = light(entry(entries, index, "light")?)?;
            lights.push(NodeLight { node, light });
        }
    }
    Ok(lights)
}

fn light(entry: &schema::Light) -> Result<Light, Fault> {
    let color = Vec3::from(entry.color.unwrap_or([1.0; 3]));
    let intensity = color * entry.intensity.unwrap_or(1.0);
    let usable = |value: f32| value >= 0.0 && value.is_finite();
    if !intensity.to_array().into_iter().all(usable) {
        return Err(Fault::damaged(
            "a light gives less than nothing or without end",
        ));
    }
    let (position, direction) = (Vec3::ZERO, vec3(0.0, 0.0, -1.0));
    let kind = match entry.kind.as_str() {
        "point" => LightKind::Point { position },
        "directional" => LightKind::Directional { direction },
        "spot" => spot(&entry.spot.unwrap_or_default()),
        other => {
            let kind: String = other.chars().take(20).collect();
            return Err(Fault::Damaged(format!("{kind} is not a kind of light")));
        }
    };
    Ok(Light {
        kind,
        intensity,
        range: entry
            .range
            .filter(|&range| range > 0.0)
            .unwrap_or(f32::INFINITY),
    })
}

fn spot(spot: &schema::Spot) -> LightKind {
    let outer = spot.outer_cone_angle.unwrap_or(FRAC_PI_4);
    let outer = outer.clamp(0.0, FRAC_PI_2);
    let inner = spot.inner_cone_angle.unwrap_or(0.0).clamp(0.0, outer);
    LightKind::Spot {
        position: Vec3::ZERO,
        direction: vec3(0.0, 0.0, -1.0),
        cos_inner: libm::cosf(inner),
        cos_outer: libm::cosf(outer),
    }
}

impl NodeLight {
    /// The light where its node is; scale has no say, as the extension demands.
    pub fn placed(&self, globals: &[Affine]) -> Light {
        let node = &globals[self.node];
        let turned = |direction: &mut Vec3| {
            let world = node.directions().tangent(*direction);
            if world != Vec3::ZERO && world.is_finite() {
                *direction = world;
            }
        };
        let mut light = self.light;
        match &mut light.kind {
            LightKind::Point { position } => *position = node.translation,
            LightKind::Directional { direction } => turned(direction),
            LightKind::Spot {
                position,
                direction,
                ..
            } => {
                *position = node.translation;
                turned(direction);
            }
        }
        light
    }
}
