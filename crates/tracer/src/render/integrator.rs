//! Path tracing: light sampled at every bounce, weighted against the BSDF's own samples (Veach 1997).

use super::{
    bsdf::Bsdf,
    bvh::{Hit, Ray, Traversal},
    lights::Lights,
    sampler::{Sampler, Use},
    scene::{Scene, SurfacePoint},
    warp::{Frame, power_heuristic},
};
use crate::math::{Vec3, min};

/// Most times a path is scattered.
pub const BOUNCES_MAX: u32 = 8;
/// Bounces before paths may end by chance.
const SURVIVAL_BOUNCES_MIN: u32 = 3;
/// No path goes on with a higher probability than this once they may end.
const SURVIVAL_MAX: f32 = 0.95;

/// What one sample of a pixel finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathSample {
    pub radiance: Vec3,
    /// The first surface, if any.
    pub first: Option<FirstSurface>,
}

/// The surface that a camera ray meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstSurface {
    /// Along the camera's axis.
    pub depth: f32,
    pub normal: Vec3,
    pub albedo: Vec3,
}

/// How the ray of a path was sampled at the last surface.
#[derive(Clone, Copy)]
struct Scattered {
    density: f32,
    normal: Vec3,
}

/// Follows one path from a camera ray.
pub(super) fn trace(
    scene: &Scene,
    lights: &Lights,
    mut ray: Ray,
    sampler: &Sampler,
    traversal: &mut Traversal,
) -> PathSample {
    let mut sample = PathSample {
        radiance: Vec3::ZERO,
        first: None,
    };
    let mut throughput = Vec3::ONE;
    let mut scattered: Option<Scattered> = None;
    for bounce in 0..=BOUNCES_MAX {
        let direction = ray.direction.normalized();
        let Some(hit) = scene.nearest(&ray, bounce, sampler, traversal) else {
            let weight = scattered.map_or(1.0, |from| {
                let light = lights.environment_density(from.normal, direction);
                power_heuristic(from.density, light)
            });
            sample.radiance += throughput * lights.environment.radiance(direction) * weight;
            break;
        };
        let point = scene.surface_point(&hit, direction);
        let material = &scene.materials[point.material];
        let surface = material.surface(&scene.textures, &point.attributes);
        if bounce == 0 {
            sample.first = Some(FirstSurface {
                depth: hit.t,
                normal: point.shading_normal,
                albedo: surface.base_color,
            });
        }
        let emission = material.emission(&scene.textures, &point.attributes);
        if emission.max_component() > 0.0 {
            let weight = scattered.map_or(1.0, |from| {
                let light = hit_density(scene, lights, &ray, &hit, &point);
                power_heuristic(from.density, light)
            });
            sample.radiance += throughput * emission * weight;
        }
        if bounce == BOUNCES_MAX || material.unlit {
            break;
        }
        let vertex = Vertex::new(&point, |outgoing| Bsdf::new(&surface, outgoing), direction);
        sample.radiance +=
            throughput * vertex.direct_light(scene, lights, bounce, sampler, traversal);
        let Some((next, weight, density)) = vertex.scatter(bounce, sampler) else {
            break;
        };
        throughput *= weight;
        if bounce >= SURVIVAL_BOUNCES_MIN {
            let survival = min(throughput.max_component(), SURVIVAL_MAX);
            if sampler.single(bounce, Use::Survival) >= survival {
                break;
            }
            throughput = throughput / survival;
        }
        scattered = Some(Scattered {
            density,
            normal: point.shading_normal,
        });
        ray = next;
    }
    sample
}

/// Density with which light sampling would have given the point where a ray has met a surface.
fn hit_density(scene: &Scene, lights: &Lights, ray: &Ray, hit: &Hit, point: &SurfacePoint) -> f32 {
    // Scattered rays have directions of length one.
    let cosine = ray.direction.dot(point.geometric_normal).abs();
    lights.triangle_density(scene, hit.triangle, hit.t, cosine)
}

/// A surface point where a path scatters.
struct Vertex<'a> {
    point: &'a SurfacePoint,
    frame: Frame,
    bsdf: Bsdf,
}

impl Vertex<'_> {
    fn new<'a>(
        point: &'a SurfacePoint,
        bsdf: impl Fn(Vec3) -> Bsdf,
        direction: Vec3,
    ) -> Vertex<'a> {
        let frame = Frame::around(point.shading_normal);
        Vertex {
            point,
            bsdf: bsdf(frame.to_local(-direction)),
            frame,
        }
    }

    /// Light that arrives straight from one sampled light and goes on along the path.
    fn direct_light(
        &self,
        scene: &Scene,
        lights: &Lights,
        bounce: u32,
        sampler: &Sampler,
        traversal: &mut Traversal,
    ) -> Vec3 {
        let choice = sampler.single(bounce, Use::LightChoice);
        let place = sampler.pair(bounce, Use::LightPoint);
        let Some(light) = lights.sample(scene, self.point, choice, place) else {
            return Vec3::ZERO;
        };
        let openness = self.openness(light.direction);
        if openness <= 0.0 {
            return Vec3::ZERO;
        }
        let value = self.bsdf.evaluate(self.frame.to_local(light.direction));
        let weight = match light.extended {
            true => power_heuristic(light.density, value.density),
            false => 1.0,
        };
        let arriving = light.radiance * value.weight * (openness * weight / light.density);
        if arriving.max_component() <= 0.0 {
            return Vec3::ZERO;
        }
        arriving * scene.transmittance(&light.shadow, traversal)
    }

    /// The ray that goes on, the factor it is worth and the density of its direction.
    fn scatter(&self, bounce: u32, sampler: &Sampler) -> Option<(Ray, Vec3, f32)> {
        let lobe = sampler.single(bounce, Use::Lobe);
        let place = sampler.pair(bounce, Use::Scatter);
        let (local, value) = self.bsdf.sample(lobe, place)?;
        let direction = self.frame.to_world(local).normalized();
        let openness = self.openness(direction);
        if openness <= 0.0 {
            return None;
        }
        let weight = value.weight * (openness / value.density);
        let ray = Ray::new(self.point.ray_origin(direction), direction);
        (weight.max_component() > 0.0).then_some((ray, weight, value.density))
    }

    /// Zero below the true surface; near it, falls off smoothly where the shading normal leans away, so that the edge
    /// of light on coarse smooth meshes does not follow their triangles (Chiang et al., "Taming the Shadow
    /// Terminator", 2019).
    fn openness(&self, direction: Vec3) -> f32 {
        let geometric = direction.dot(self.point.geometric_normal);
        if geometric <= 0.0 {
            return 0.0;
        }
        let shading = direction.dot(self.point.shading_normal);
        let between = self.point.shading_normal.dot(self.point.geometric_normal);
        let bound = shading * between;
        if geometric >= bound {
            return 1.0;
        }
        let ratio = geometric / bound;
        ratio + ratio * ratio * (1.0 - ratio)
    }
}
