//! Light sampling: which light, where on it, how much of it arrives, and with what density.
//!
//! A light is chosen from one of three groups (environment, punctual lights, emissive triangles) in proportion
//! to power, with a share that every group gets in any case. Punctual lights have no extent: no ray finds them by
//! chance, so their samples are not weighted against the BSDF's.

use super::{
    bvh::Ray,
    distribution::Discrete,
    environment::EnvironmentLight,
    material::PointAttributes,
    scene::{Scene, SurfacePoint, unit_normal},
    warp::triangle_weights,
};
use crate::{
    math::{Vec3, max},
    world::{Light, LightKind},
};
use std::f32::consts::PI;

/// Share of the choice that is the same for every group of lights, however dim.
const EVEN_SHARE: f32 = 0.5;
/// Shadow rays stop this fraction short of a point light or an emissive triangle.
const SHADOW_END: f32 = 1.0 - 1e-5;
/// Points along each edge of a triangle at which a textured emission is looked up, at most.
const EMISSION_STEPS_MAX: f32 = 16.0;

/// Everything that gives light.
#[derive(Debug)]
pub(super) struct Lights {
    pub environment: EnvironmentLight,
    punctual: Vec<Light>,
    punctual_choice: Option<Discrete>,
    /// Emissive triangles of the whole list, ascending.
    triangles: Vec<u32>,
    triangle_choice: Option<Discrete>,
    /// Over environment, punctual lights, triangles; none in the dark.
    groups: Option<Discrete>,
}

const ENVIRONMENT: usize = 0;
const PUNCTUAL: usize = 1;
const TRIANGLES: usize = 2;

/// Light that would arrive at a point if nothing were in the way.
pub(super) struct LightSample {
    /// Unit vector towards the light.
    pub direction: Vec3,
    /// From the point to the light.
    pub shadow: Ray,
    /// Radiance; irradiance across the direction for a light without extent.
    pub radiance: Vec3,
    /// Per steradian for lights with extent, a plain probability for others.
    pub density: f32,
    /// Has the light an extent that other rays may find?
    pub extended: bool,
}

impl Lights {
    pub fn new(scene: &Scene, punctual: Vec<Light>, environment: EnvironmentLight) -> Lights {
        let bounds = scene.bvh.bounds();
        let radius = max((bounds.high - bounds.low).length() * 0.5, 0.0);
        let radius = if radius.is_finite() { radius } else { 0.0 };
        let disc = PI * radius * radius;
        let punctual_powers: Vec<f32> = punctual.iter().map(|light| power(light, disc)).collect();
        let (triangles, triangle_powers) = emissive_triangles(scene);
        let total =
            |powers: &[f32]| powers.iter().map(|&power| f64::from(power)).sum::<f64>() as f32;
        let powers = [
            environment.mean * PI * max(disc, f32::MIN_POSITIVE),
            total(&punctual_powers),
            total(&triangle_powers),
        ];
        Lights {
            punctual_choice: Discrete::new(punctual_powers.iter().copied()),
            triangle_choice: Discrete::new(triangle_powers.iter().copied()),
            groups: group_choice(powers),
            environment,
            punctual,
            triangles,
        }
    }

    /// A light and a point of it, from three random numbers.
    pub fn sample(
        &self,
        scene: &Scene,
        from: &SurfacePoint,
        choice: f32,
        point: [f32; 2],
    ) -> Option<LightSample> {
        let (group, probability, choice) = self.groups.as_ref()?.sample(choice);
        let mut sample = match group {
            ENVIRONMENT => self.sample_environment(from, point),
            PUNCTUAL => self.sample_punctual(from, choice),
            _ => self.sample_triangle(scene, from, choice, point),
        }?;
        sample.density *= probability;
        (sample.density > 0.0).then_some(sample)
    }

    /// Density per steradian with which [`Self::sample`] gives a direction that leaves the scene.
    pub fn environment_density(&self, normal: Vec3, direction: Vec3) -> f32 {
        self.group_probability(ENVIRONMENT) * self.environment.density(normal, direction)
    }

    /// Density per steradian with which [`Self::sample`] gives the point where a ray has met a triangle, `distance`
    /// away and at this cosine.
    pub fn triangle_density(
        &self,
        scene: &Scene,
        triangle: u32,
        distance: f32,
        cosine: f32,
    ) -> f32 {
        let (Some(choice), Ok(index)) = (
            &self.triangle_choice,
            self.triangles.binary_search(&triangle),
        ) else {
            return 0.0;
        };
        let area = area(scene.corners(triangle));
        let probability = self.group_probability(TRIANGLES) * choice.probability(index);
        per_steradian(probability, area, distance, cosine)
    }

    fn group_probability(&self, group: usize) -> f32 {
        self.groups
            .as_ref()
            .map_or(0.0, |groups| groups.probability(group))
    }

    fn sample_environment(&self, from: &SurfacePoint, point: [f32; 2]) -> Option<LightSample> {
        let (direction, radiance, density) = self.environment.sample(from.shading_normal, point)?;
        Some(LightSample {
            direction,
            shadow: Ray::new(from.ray_origin(direction), direction),
            radiance,
            density,
            extended: true,
        })
    }

    fn sample_punctual(&self, from: &SurfacePoint, choice: f32) -> Option<LightSample> {
        let (index, probability, _) = self.punctual_choice.as_ref()?.sample(choice);
        let light = &self.punctual[index];
        let (direction, shadow, attenuation) = match light.kind {
            LightKind::Directional { direction } => {
                let direction = -direction;
                let shadow = Ray::new(from.ray_origin(direction), direction);
                (direction, shadow, 1.0)
            }
            LightKind::Point { position } | LightKind::Spot { position, .. } => {
                let toward = position - from.position;
                let distance = toward.length();
                let direction = toward.normalized();
                let attenuation = range_window(distance, light.range) * cone(light, -direction)
                    / (distance * distance);
                (
                    direction,
                    shadow_ray(from, direction, position),
                    attenuation,
                )
            }
        };
        (attenuation > 0.0).then_some(LightSample {
            direction,
            shadow,
            radiance: light.intensity * attenuation,
            density: probability,
            extended: false,
        })
    }

    fn sample_triangle(
        &self,
        scene: &Scene,
        from: &SurfacePoint,
        choice: f32,
        point: [f32; 2],
    ) -> Option<LightSample> {
        let (index, probability, _) = self.triangle_choice.as_ref()?.sample(choice);
        let triangle = self.triangles[index];
        let [v, w] = triangle_weights(point);
        let target = scene.emitter_point(triangle, v, w);
        let toward = target.position - from.position;
        let (distance, direction) = (toward.length(), toward.normalized());
        let cosine = -direction.dot(target.normal);
        if cosine <= 0.0 && !target.double_sided {
            return None;
        }
        let side = if cosine < 0.0 {
            -target.offset
        } else {
            target.offset
        };
        let end = target.position + target.normal * side;
        let density = per_steradian(
            probability,
            area(scene.corners(triangle)),
            distance,
            cosine.abs(),
        );
        (density > 0.0 && density.is_finite()).then(|| LightSample {
            direction,
            shadow: shadow_ray(from, direction, end),
            radiance: target.emission,
            density,
            extended: true,
        })
    }
}

/// From a surface to just before a point, which is at t = 1.
fn shadow_ray(from: &SurfacePoint, direction: Vec3, to: Vec3) -> Ray {
    let origin = from.ray_origin(direction);
    Ray {
        origin,
        direction: to - origin,
        t_min: 0.0,
        t_max: SHADOW_END,
    }
}

fn per_steradian(probability: f32, area: f32, distance: f32, cosine: f32) -> f32 {
    if area > 0.0 && cosine > 0.0 {
        probability * (distance * distance) / (area * cosine)
    } else {
        0.0
    }
}

fn area([a, b, c]: [Vec3; 3]) -> f32 {
    (b - a).cross(c - a).length() * 0.5
}

/// The choice between groups: in proportion to power, but each group that gives light gets its even share.
fn group_choice(powers: [f32; 3]) -> Option<Discrete> {
    let total: f32 = powers.iter().sum();
    let lit = powers.iter().filter(|&&power| power > 0.0).count() as f32;
    let weights = powers.map(|power| match power > 0.0 {
        true => EVEN_SHARE / lit + (1.0 - EVEN_SHARE) * (power / total),
        false => 0.0,
    });
    Discrete::new(weights.iter().copied())
}

/// What a light sends into the scene, whose disc seen from afar has this area; the exact value matters little.
fn power(light: &Light, disc: f32) -> f32 {
    let solid_angle = match light.kind {
        LightKind::Point { .. } => 4.0 * PI,
        LightKind::Spot { cos_outer, .. } => 2.0 * PI * max(1.0 - cos_outer, 1e-3),
        LightKind::Directional { .. } => max(disc, f32::MIN_POSITIVE),
    };
    let power = light.intensity.luminance() * solid_angle;
    if power.is_finite() {
        max(power, 0.0)
    } else {
        0.0
    }
}

/// The smooth end of a light's range that KHR_lights_punctual recommends.
fn range_window(distance: f32, range: f32) -> f32 {
    let ratio = distance / range;
    let square = ratio * ratio;
    (1.0 - square * square).clamp(0.0, 1.0)
}

/// Falloff towards a spot's edge, as KHR_lights_punctual recommends.
fn cone(light: &Light, away: Vec3) -> f32 {
    let LightKind::Spot {
        direction,
        cos_inner,
        cos_outer,
        ..
    } = light.kind
    else {
        return 1.0;
    };
    let scale = 1.0 / max(cos_inner - cos_outer, 1e-3);
    let edge = ((direction.dot(away) - cos_outer) * scale).clamp(0.0, 1.0);
    edge * edge
}

/// The triangles that give light and what each gives, ascending.
fn emissive_triangles(scene: &Scene) -> (Vec<u32>, Vec<f32>) {
    let (mut triangles, mut powers) = (Vec::new(), Vec::new());
    for (mesh, &first) in scene.meshes.iter().zip(&scene.first_triangles) {
        let material = &scene.materials[mesh.material];
        if !material.emits() {
            continue;
        }
        let sides = if material.double_sided { 2.0 } else { 1.0 };
        for triangle in first..first + mesh.triangles.len() as u32 {
            let area = area(scene.corners(triangle));
            let power = PI * sides * area * mean_emission(scene, triangle).luminance();
            if power > 0.0 && power.is_finite() {
                triangles.push(triangle);
                powers.push(power);
            }
        }
    }
    (triangles, powers)
}

/// Mean of the emitted radiance over a triangle, from a grid about as fine as the image's texels.
fn mean_emission(scene: &Scene, triangle: u32) -> Vec3 {
    let (mesh, index) = scene.locate(triangle);
    let mesh = &scene.meshes[mesh];
    let material = &scene.materials[mesh.material];
    let Some(map) = &material.emissive_map else {
        return material.emissive;
    };
    let corners = mesh.triangles[index];
    let texel_area = match &mesh.texcoords[map.texcoord] {
        list if list.is_empty() => 0.0,
        list => map.texel_area(&scene.textures, corners.map(|corner| list[corner as usize])),
    };
    let steps = texel_area.sqrt().clamp(2.0, EMISSION_STEPS_MAX) as u32;
    let mut sum = Vec3::ZERO;
    for i in 0..steps * steps {
        let middle = |index: u32| (index as f32 + 0.5) / steps as f32;
        let [v, w] = triangle_weights([middle(i % steps), middle(i / steps)]);
        let at: PointAttributes = scene.attributes(mesh, corners, v, w);
        sum += material.emission(&scene.textures, &at);
    }
    sum / (steps * steps) as f32
}

/// A point of an emissive triangle.
pub(super) struct EmitterPoint {
    position: Vec3,
    /// Towards the front.
    normal: Vec3,
    offset: f32,
    emission: Vec3,
    double_sided: bool,
}

impl Scene {
    /// Corners of a triangle of the whole list.
    fn corners(&self, triangle: u32) -> [Vec3; 3] {
        let (mesh, index) = self.locate(triangle);
        let mesh = &self.meshes[mesh];
        mesh.triangles[index].map(|corner| mesh.positions[corner as usize])
    }

    fn emitter_point(&self, triangle: u32, v: f32, w: f32) -> EmitterPoint {
        let (mesh, index) = self.locate(triangle);
        let mesh = &self.meshes[mesh];
        let [a, b, c] = self.corners(triangle);
        let material = &self.materials[mesh.material];
        let at = self.attributes(mesh, mesh.triangles[index], v, w);
        EmitterPoint {
            position: a * (1.0 - v - w) + b * v + c * w,
            normal: unit_normal(a, b, c),
            offset: super::scene::offset_for([a, b, c]),
            emission: material.emission(&self.textures, &at)
                * material.coverage(&self.textures, &at),
            double_sided: material.double_sided,
        }
    }
}
