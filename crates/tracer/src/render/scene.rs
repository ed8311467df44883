//! The world's meshes as one list of triangles: attributes at a hit, side and coverage, light paths' starts.

use super::{
    RenderError,
    bvh::{Bvh, Hit, HitFilter, Ray, Traversal},
    material::{PointAttributes, ShadingMaterial},
    sampler::Sampler,
};
use crate::{
    math::{Vec3, max, min, vec3},
    world::{Mesh, Texture, World},
};
use std::sync::Arc;

/// Ray origins move off the surface by this many times the largest coordinate nearby: rounding of the hit's
/// position and of the next intersection both grow with it.
const OFFSET: f32 = 24.0 * f32::EPSILON;
/// Smallest cosine between a shading normal and the ray it is seen by.
const COSINE_MIN: f32 = 1e-3;

/// Geometry, materials and images.
#[derive(Debug)]
pub(super) struct Scene {
    pub meshes: Vec<Mesh>,
    /// By mesh: index of its first triangle in the whole list.
    pub first_triangles: Vec<u32>,
    /// By triangle of the whole list: its mesh.
    mesh_of: Vec<u32>,
    pub materials: Vec<ShadingMaterial>,
    pub textures: Arc<Vec<Texture>>,
    pub bvh: Bvh,
}

/// A point of a surface, seen from one side; normals point to that side.
#[derive(Debug, Clone, Copy)]
pub(super) struct SurfacePoint {
    pub position: Vec3,
    pub geometric_normal: Vec3,
    pub shading_normal: Vec3,
    /// How far rays that start here must keep off the surface.
    pub offset: f32,
    pub attributes: PointAttributes,
    pub material: usize,
}

impl SurfacePoint {
    /// Where a ray towards `direction` starts.
    pub fn ray_origin(&self, direction: Vec3) -> Vec3 {
        let side = if direction.dot(self.geometric_normal) < 0.0 {
            -self.offset
        } else {
            self.offset
        };
        self.position + self.geometric_normal * side
    }
}

impl Scene {
    pub fn new(world: &mut World) -> Result<Scene, RenderError> {
        let meshes = std::mem::take(&mut world.meshes);
        let (mut first_triangles, mut mesh_of, mut corners) = (Vec::new(), Vec::new(), Vec::new());
        for (index, mesh) in meshes.iter().enumerate() {
            first_triangles.push(corners.len() as u32);
            mesh_of.resize(mesh_of.len() + mesh.triangles.len(), index as u32);
            corners.extend(
                mesh.triangles
                    .iter()
                    .map(|triangle| triangle.map(|corner| mesh.positions[corner as usize])),
            );
        }
        if corners.len() > super::bvh::TRIANGLES_MAX {
            return Err(RenderError::TriangleCount {
                found: corners.len(),
            });
        }
        Ok(Scene {
            bvh: Bvh::build(&corners),
            meshes,
            first_triangles,
            mesh_of,
            materials: world.materials.iter().map(ShadingMaterial::new).collect(),
            textures: world.textures.clone(),
        })
    }

    /// The mesh of a triangle of the whole list, and the triangle's index in it.
    pub fn locate(&self, triangle: u32) -> (usize, usize) {
        let mesh = self.mesh_of[triangle as usize] as usize;
        (mesh, (triangle - self.first_triangles[mesh]) as usize)
    }

    /// Texture coordinates and colour at a point of a triangle.
    pub fn attributes(&self, mesh: &Mesh, corners: [u32; 3], v: f32, w: f32) -> PointAttributes {
        let corners = corners.map(|corner| corner as usize);
        let weights = [1.0 - v - w, v, w];
        let texcoords = [0, 1].map(|set: usize| match &mesh.texcoords[set] {
            list if list.is_empty() => [0.0; 2],
            list => blend(list, corners, weights),
        });
        let color = match &mesh.colors {
            list if list.is_empty() => [1.0; 4],
            list => blend(list, corners, weights),
        };
        PointAttributes { texcoords, color }
    }

    /// Everything about the point of a hit, seen against `direction`.
    pub fn surface_point(&self, hit: &Hit, direction: Vec3) -> SurfacePoint {
        let (mesh_index, triangle) = self.locate(hit.triangle);
        let mesh = &self.meshes[mesh_index];
        let corners = mesh.triangles[triangle];
        let [a, b, c] = corners.map(|corner| mesh.positions[corner as usize]);
        let side = if hit.front { 1.0 } else { -1.0 };
        let geometric_normal = unit_normal(a, b, c) * side;
        let attributes = self.attributes(mesh, corners, hit.v, hit.w);
        let position = a * (1.0 - hit.v - hit.w) + b * hit.v + c * hit.w;
        let shading_normal = self
            .shading_normal(mesh, corners, hit, &attributes)
            .map_or(geometric_normal, |normal| normal * side);
        SurfacePoint {
            position,
            geometric_normal,
            shading_normal: face_viewer(shading_normal, geometric_normal, -direction),
            offset: offset_for([a, b, c]),
            attributes,
            material: mesh.material,
        }
    }

    /// The interpolated normal, bent by the normal map; none where the mesh is flat.
    fn shading_normal(
        &self,
        mesh: &Mesh,
        corners: [u32; 3],
        hit: &Hit,
        attributes: &PointAttributes,
    ) -> Option<Vec3> {
        if mesh.normals.is_empty() {
            return None;
        }
        let weights = [1.0 - hit.v - hit.w, hit.v, hit.w];
        let [a, b, c] = corners.map(|corner| mesh.normals[corner as usize]);
        let normal = unit(a * weights[0] + b * weights[1] + c * weights[2])?;
        let material = &self.materials[mesh.material];
        let (Some(map), false) = (&material.normal_map, mesh.tangents.is_empty()) else {
            return Some(normal);
        };
        let [a, b, c] = corners.map(|corner| mesh.tangents[corner as usize]);
        let tangent = a.0 * weights[0] + b.0 * weights[1] + c.0 * weights[2];
        let bitangent = normal.cross(tangent) * a.1;
        let [x, y, z, _] = map.look_up(&self.textures, &attributes.texcoords);
        let scale = 2.0 * material.normal_scale;
        unit(
            tangent * ((x - 0.5) * scale)
                + bitangent * ((y - 0.5) * scale)
                + normal * (2.0 * z - 1.0),
        )
        .or(Some(normal))
    }

    /// Is this hit on a side, and at a point, where there is something?
    pub fn coverage(&self, hit: &Hit) -> f32 {
        let (mesh_index, triangle) = self.locate(hit.triangle);
        let mesh = &self.meshes[mesh_index];
        let material = &self.materials[mesh.material];
        if material.stops_every_ray() {
            return 1.0;
        }
        if !hit.front && !material.double_sided {
            return 0.0;
        }
        let attributes = self.attributes(mesh, mesh.triangles[triangle], hit.v, hit.w);
        material.coverage(&self.textures, &attributes)
    }

    /// The nearest point where there is something; partial coverage is decided by a number of its own for each
    /// triangle and bounce.
    pub fn nearest(
        &self,
        ray: &Ray,
        bounce: u32,
        sampler: &Sampler,
        traversal: &mut Traversal,
    ) -> Option<Hit> {
        let mut filter = Stochastic {
            scene: self,
            bounce,
            sampler,
        };
        self.bvh.nearest(ray, &mut filter, traversal)
    }

    /// The share of light that gets through: the product of what each surface on the way lets pass.
    pub fn transmittance(&self, ray: &Ray, traversal: &mut Traversal) -> f32 {
        let mut filter = Shadow {
            scene: self,
            transmittance: 1.0,
        };
        match self.bvh.occluded(ray, &mut filter, traversal) {
            true => 0.0,
            false => filter.transmittance,
        }
    }
}

struct Stochastic<'a> {
    scene: &'a Scene,
    bounce: u32,
    sampler: &'a Sampler,
}

impl HitFilter for Stochastic<'_> {
    fn keep(&mut self, hit: &Hit) -> bool {
        let coverage = self.scene.coverage(hit);
        coverage >= 1.0
            || (coverage > 0.0 && self.sampler.independent(self.bounce, hit.triangle) < coverage)
    }
}

struct Shadow<'a> {
    scene: &'a Scene,
    transmittance: f32,
}

impl HitFilter for Shadow<'_> {
    fn keep(&mut self, hit: &Hit) -> bool {
        let coverage = self.scene.coverage(hit);
        self.transmittance *= 1.0 - coverage;
        coverage >= 1.0
    }
}

/// The normal of a triangle from its front, also for triangles so small that squares of lengths vanish.
pub(super) fn unit_normal(a: Vec3, b: Vec3, c: Vec3) -> Vec3 {
    let (first, second) = (b - a, c - a);
    let size = max(largest(first), largest(second));
    unit((first / size).cross(second / size)).unwrap_or(vec3(0.0, 0.0, 1.0))
}

/// How far rays must start off a triangle.
pub(super) fn offset_for([a, b, c]: [Vec3; 3]) -> f32 {
    OFFSET * max(max(largest(a), largest(b)), largest(c))
}

/// Largest absolute coordinate.
fn largest(v: Vec3) -> f32 {
    max(max(v.x.abs(), v.y.abs()), v.z.abs())
}

/// Length one; none for zero and what is not finite.
fn unit(v: Vec3) -> Option<Vec3> {
    let length = v.length();
    (length > 0.0 && length.is_finite()).then(|| v / length)
}

fn blend<const N: usize>(list: &[[f32; N]], corners: [usize; 3], weights: [f32; 3]) -> [f32; N] {
    let [a, b, c] = corners.map(|corner| &list[corner]);
    std::array::from_fn(|i| a[i] * weights[0] + b[i] * weights[1] + c[i] * weights[2])
}

/// Bends a shading normal as little as makes the mirrored ray leave on the geometric side. Without this, silhouettes
/// of smooth meshes and steep normal maps show black rims.
///
/// With z the geometric normal and the shading normal at angle a from it, the mirrored ray's z is
/// `x sin 2a + z cos 2a` for a viewer at x, z in their plane; that is solved for a.
fn face_viewer(shading: Vec3, geometric: Vec3, viewer: Vec3) -> Vec3 {
    let height = viewer.dot(geometric);
    let floor = min(COSINE_MIN, 0.9 * height);
    if floor <= 0.0 {
        return geometric;
    }
    let toward = shading.dot(viewer);
    let mirrored = 2.0 * toward * shading.dot(geometric) - height;
    if toward > 0.0 && mirrored >= floor {
        return shading;
    }
    let Some(aside) = unit(shading - geometric * shading.dot(geometric)) else {
        return geometric;
    };
    let across = viewer.dot(aside);
    let square = across * across + height * height;
    let cos_twice = (height * floor - across * (square - floor * floor).sqrt()) / square;
    let cos_twice = cos_twice.clamp(-1.0, 1.0);
    let (sin, cos) = (
        ((1.0 - cos_twice) * 0.5).sqrt(),
        ((1.0 + cos_twice) * 0.5).sqrt(),
    );
    unit(aside * sin + geometric * cos).unwrap_or(geometric)
}
