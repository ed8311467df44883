//! How much of the light the microfacet lobes reflect in all, by angle and roughness: tables that the
//! [`Bsdf`](super::bsdf::Bsdf) balances its energy with, made once a process.

use super::{
    bsdf::{DIELECTRIC_F0, Ggx, multiple_scattering},
    warp::root_of_one_minus_square,
};
use crate::math::{Vec3, max, min, vec3};
use std::sync::LazyLock;

/// Steps of the square root of the cosine, and of roughness.
const STEPS: usize = 32;
/// Directions an entry is integrated with, along each axis of the unit square.
const STRATA: usize = 20;
/// Steps of the integral over the cosine.
const MEAN_STEPS: usize = 256;
/// Below this, what single scattering loses is not worth its rounding error.
const LOSS_MIN: f32 = 1e-4;

/// Directional albedos for one angle and roughness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Albedo {
    /// Of single scattering with a Fresnel factor of one.
    pub single: f32,
    /// Of single scattering with Schlick's grazing factor as the Fresnel factor.
    pub grazing: f32,
    /// Of a dielectric, multiple scattering included.
    pub dielectric: f32,
}

/// Cosine-weighted means over angles for one roughness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    pub single: f32,
    pub dielectric: f32,
    /// One over what single scattering loses; zero where that is nothing.
    pub inverse_loss: f32,
    /// One over what a dielectric leaves to the diffuse lobe.
    pub inverse_rest: f32,
}

/// The tables.
#[derive(Debug)]
pub(super) struct AlbedoTable {
    /// By roughness, by root of the cosine.
    albedos: Vec<[Albedo; STEPS]>,
    /// By roughness: means of `single` and `dielectric`.
    means: Vec<[f32; 2]>,
}

static SHARED: LazyLock<AlbedoTable> = LazyLock::new(AlbedoTable::new);

impl AlbedoTable {
    pub fn shared() -> &'static AlbedoTable {
        &SHARED
    }

    fn new() -> AlbedoTable {
        let mut table = AlbedoTable {
            albedos: Vec::with_capacity(STEPS),
            means: Vec::with_capacity(STEPS),
        };
        for row in 0..STEPS {
            let roughness = max(row as f32 / (STEPS - 1) as f32, 0.01);
            let mut albedos: [Albedo; STEPS] = std::array::from_fn(|column| {
                let root = column as f32 / (STEPS - 1) as f32;
                single_scattering(max(root * root, 1e-4), roughness * roughness)
            });
            let single = mean_of(&albedos, |albedo| albedo.single);
            let colour = multiple_scattering(Vec3::splat(DIELECTRIC_F0), single).x;
            for albedo in &mut albedos {
                albedo.dielectric += (1.0 - albedo.single) * colour;
            }
            let dielectric = mean_of(&albedos, |albedo| albedo.dielectric);
            table.albedos.push(albedos);
            table.means.push([single, dielectric]);
        }
        table
    }

    /// Interpolated albedos for a cosine and a roughness from 0 to 1.
    pub fn at(&self, cosine: f32, roughness: f32) -> Albedo {
        let (row, down) = place(roughness);
        let (column, right) = place(max(cosine, 0.0).sqrt());
        let rows = [&self.albedos[row], &self.albedos[row + 1]];
        let [upper, lower] = rows.map(|row| row[column].lerp(&row[column + 1], right));
        upper.lerp(&lower, down)
    }

    /// Interpolated means for a roughness from 0 to 1.
    pub fn mean(&self, roughness: f32) -> Mean {
        let (row, down) = place(roughness);
        let (upper, lower) = (&self.means[row], &self.means[row + 1]);
        let [single, dielectric] = [0, 1].map(|i: usize| upper[i] * (1.0 - down) + lower[i] * down);
        let loss = 1.0 - single;
        Mean {
            single,
            dielectric,
            inverse_loss: if loss > LOSS_MIN { 1.0 / loss } else { 0.0 },
            inverse_rest: 1.0 / (1.0 - dielectric),
        }
    }
}

impl Albedo {
    fn lerp(&self, other: &Albedo, t: f32) -> Albedo {
        let blend = |a: f32, b: f32| a * (1.0 - t) + b * t;
        Albedo {
            single: blend(self.single, other.single),
            grazing: blend(self.grazing, other.grazing),
            dielectric: blend(self.dielectric, other.dielectric),
        }
    }
}

/// Index of the lower entry and how far above it, for a coordinate from 0 to 1.
fn place(coordinate: f32) -> (usize, f32) {
    let scaled = coordinate * (STEPS - 1) as f32;
    let index = (scaled as usize).min(STEPS - 2);
    (index, min(scaled - index as f32, 1.0))
}

/// Integrates the lobe over the hemisphere with its own sampling; `dielectric` is still without multiple scattering.
fn single_scattering(cosine: f32, alpha: f32) -> Albedo {
    let outgoing = vec3(root_of_one_minus_square(cosine), 0.0, cosine);
    let lobe = Ggx::new(alpha, outgoing);
    let (mut single, mut grazing) = (0.0f64, 0.0f64);
    for i in 0..STRATA * STRATA {
        let middle = |index: usize| (index as f32 + 0.5) / STRATA as f32;
        let incoming = lobe.sample([middle(i / STRATA), middle(i % STRATA)]);
        if incoming.z > 0.0 {
            let value = lobe.evaluate(incoming);
            let weight = f64::from(value.weight / value.density);
            single += weight;
            grazing += weight * f64::from(value.schlick);
        }
    }
    let count = (STRATA * STRATA) as f64;
    let single = min((single / count) as f32, 1.0);
    let grazing = min((grazing / count) as f32, single);
    Albedo {
        single,
        grazing,
        dielectric: DIELECTRIC_F0 * (single - grazing) + grazing,
    }
}

/// Twice the integral of value times cosine over the cosine, with the interpolation that look-ups use.
fn mean_of(albedos: &[Albedo; STEPS], value: impl Fn(&Albedo) -> f32) -> f32 {
    let mut sum = 0.0f64;
    for step in 0..MEAN_STEPS {
        let cosine = (step as f32 + 0.5) / MEAN_STEPS as f32;
        let (column, right) = place(cosine.sqrt());
        let albedo = albedos[column].lerp(&albedos[column + 1], right);
        sum += f64::from(value(&albedo) * cosine);
    }
    (2.0 * sum / MEAN_STEPS as f64) as f32
}
