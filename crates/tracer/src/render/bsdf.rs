//! The metallic-roughness surface of glTF 2.0 as a reciprocal, energy-conserving BSDF.
//!
//! - Specular: GGX with height-correlated Smith shadowing and Schlick's Fresnel, f0 from 0.04 to the base colour
//!   with metalness (glTF 2.0, appendix B).
//! - What GGX loses between facets comes back as a diffuse-like lobe (Kulla and Conty, "Revisiting Physically
//!   Based Shading", 2017).
//! - Diffuse gets what the specular part of a dielectric leaves, on the way in and on the way out (Kelemen and
//!   Szirmay-Kalos 2001), so a white surface neither gains nor loses energy.
//!
//! Directions are in a local frame whose z is the shading normal; both point away from the surface.

use super::{
    albedo::AlbedoTable,
    warp::{cosine_hemisphere, cosine_hemisphere_density, root_of_one_minus_square, sin_cos_turns},
};
use crate::math::{Vec3, max, vec3};
use std::f32::consts::PI;

/// Normal reflectance of a dielectric of index 1.5.
pub(super) const DIELECTRIC_F0: f32 = 0.04;
/// Roughness below this is rendered as this: facets' density stays far from the ends of f32.
const ROUGHNESS_MIN: f32 = 0.03;
/// A lobe that reflects anything is chosen at least this often.
const LOBE_SHARE_MIN: f32 = 0.05;

/// What a material is at one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surface {
    /// Linear base colour, 0 to 1.
    pub base_color: Vec3,
    /// From dielectric 0 to metal 1.
    pub metallic: f32,
    /// Perceptual roughness, 0 to 1.
    pub roughness: f32,
}

/// The BSDF of a surface for one outgoing direction.
#[derive(Debug, Clone, Copy)]
pub struct Bsdf {
    outgoing: Vec3,
    alpha: f32,
    f0: Vec3,
    /// Weight of the lobe that returns what single scattering loses, without its incoming factor.
    multiple: Vec3,
    /// Weight of the diffuse lobe without its incoming factor.
    diffuse: Vec3,
    /// Probability of sampling the specular lobe.
    specular_share: f32,
    roughness: f32,
}

/// Value of a BSDF for a pair of directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BsdfValue {
    /// BSDF times the cosine of the incoming direction.
    pub weight: Vec3,
    /// Probability density of sampling that direction, per steradian.
    pub density: f32,
}

impl Bsdf {
    /// For a unit direction towards the viewer with z > 0.
    pub fn new(surface: &Surface, outgoing: Vec3) -> Bsdf {
        let table = AlbedoTable::shared();
        let roughness = max(surface.roughness, ROUGHNESS_MIN);
        let (color, metallic) = (surface.base_color, surface.metallic);
        let f0 = Vec3::splat(DIELECTRIC_F0).lerp(color, metallic);
        let at = table.at(outgoing.z, roughness);
        let mean = table.mean(roughness);
        let multiple =
            multiple_scattering(f0, mean.single) * ((1.0 - at.single) * mean.inverse_loss);
        let diffuse = color * ((1.0 - metallic) * (1.0 - at.dielectric) * mean.inverse_rest);
        let specular_albedo = (f0 * (at.single - at.grazing) + Vec3::splat(at.grazing)).luminance();
        // What the two cosine lobes reflect in all: their incoming factors integrate to their loss.
        let rest = multiple * (1.0 - mean.single) + diffuse * (1.0 - mean.dielectric);
        let rest = rest.luminance();
        let specular_share = match rest > 0.0 {
            true => (specular_albedo / (specular_albedo + rest))
                .clamp(LOBE_SHARE_MIN, 1.0 - LOBE_SHARE_MIN),
            false => 1.0,
        };
        Bsdf {
            outgoing,
            alpha: roughness * roughness,
            f0,
            multiple,
            diffuse,
            specular_share,
            roughness,
        }
    }

    /// Value and density for an incoming unit direction; zero from below.
    pub fn evaluate(&self, incoming: Vec3) -> BsdfValue {
        if incoming.z <= 0.0 || self.outgoing.z <= 0.0 {
            return BsdfValue {
                weight: Vec3::ZERO,
                density: 0.0,
            };
        }
        let microfacet = Ggx::new(self.alpha, self.outgoing).evaluate(incoming);
        let fresnel = self.f0 + (Vec3::ONE - self.f0) * microfacet.schlick;
        let at = AlbedoTable::shared().at(incoming.z, self.roughness);
        let diffuse = self.multiple * (1.0 - at.single) + self.diffuse * (1.0 - at.dielectric);
        BsdfValue {
            weight: fresnel * microfacet.weight + diffuse * (incoming.z / PI),
            density: self.specular_share * microfacet.density
                + (1.0 - self.specular_share) * cosine_hemisphere_density(incoming.z),
        }
    }

    /// A direction to follow, from three random numbers; none where the surface absorbs.
    pub fn sample(&self, lobe: f32, point: [f32; 2]) -> Option<(Vec3, BsdfValue)> {
        let incoming = if lobe < self.specular_share {
            Ggx::new(self.alpha, self.outgoing).sample(point)
        } else {
            cosine_hemisphere(point)
        };
        let value = self.evaluate(incoming);
        (value.density > 0.0).then_some((incoming, value))
    }
}

/// The colour that light takes on between facets: the geometric series over further bounces with mean Fresnel.
pub(super) fn multiple_scattering(f0: Vec3, single_mean: f32) -> Vec3 {
    let mean = (f0 * 20.0 + Vec3::ONE) * (1.0 / 21.0);
    let series = |f: f32| f * f * single_mean / (1.0 - f * (1.0 - single_mean));
    vec3(series(mean.x), series(mean.y), series(mean.z))
}

/// Microfacets without colour for one outgoing direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ggx {
    alpha: f32,
    outgoing: Vec3,
    /// Length of the outgoing direction stretched by alpha.
    stretched: f32,
    /// How far the cap of visible reflections reaches down (Eto and Tokuyoshi, "Bounded VNDF Sampling for
    /// Smith-GGX Reflections", 2023).
    bound: f32,
}

/// Value of the microfacet lobe for a pair of directions.
pub(super) struct GgxValue {
    /// Lobe with a Fresnel factor of one, times the cosine of the incoming direction.
    pub weight: f32,
    /// Schlick's factor: the fifth power of one minus the cosine at the facet.
    pub schlick: f32,
    pub density: f32,
}

impl Ggx {
    pub fn new(alpha: f32, outgoing: Vec3) -> Ggx {
        let across = outgoing.x * outgoing.x + outgoing.y * outgoing.y;
        let square = alpha * alpha;
        let reach = 1.0 + across.sqrt();
        let reach = reach * reach;
        let z = outgoing.z * outgoing.z;
        Ggx {
            alpha,
            outgoing,
            stretched: (square * across + z).sqrt(),
            bound: (1.0 - square) * reach / (reach + square * z),
        }
    }

    pub fn evaluate(&self, incoming: Vec3) -> GgxValue {
        let outgoing = self.outgoing;
        let half = (incoming + outgoing).normalized();
        let square = self.alpha * self.alpha;
        // In this form nothing cancels for smooth surfaces.
        let slope = (half.x * half.x + half.y * half.y) / square + half.z * half.z;
        let facets = 1.0 / (PI * square * slope * slope);
        let across = incoming.x * incoming.x + incoming.y * incoming.y;
        let stretched = (square * across + incoming.z * incoming.z).sqrt();
        let shadowing = 0.5 / (outgoing.z * stretched + incoming.z * self.stretched);
        let miss = 1.0 - half.dot(outgoing);
        let miss = max(miss, 0.0);
        let square_miss = miss * miss;
        GgxValue {
            weight: facets * shadowing * incoming.z,
            schlick: square_miss * square_miss * miss,
            density: facets / (2.0 * (self.bound * outgoing.z + self.stretched)),
        }
    }

    /// A reflected direction; may lie below the surface.
    pub fn sample(&self, [u, v]: [f32; 2]) -> Vec3 {
        let outgoing = self.outgoing;
        let stretch = |direction: Vec3| {
            vec3(
                direction.x * self.alpha,
                direction.y * self.alpha,
                direction.z,
            )
        };
        let standard = stretch(outgoing).normalized();
        let lowest = self.bound * standard.z;
        let z = (1.0 - v) * (1.0 + lowest) - lowest;
        let (sin, cos) = sin_cos_turns(u);
        let radius = root_of_one_minus_square(z);
        let facet = stretch(standard + vec3(radius * cos, radius * sin, z)).normalized();
        (facet * (2.0 * outgoing.dot(facet)) - outgoing).normalized()
    }
}
