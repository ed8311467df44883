//! A primitive at an instant: morph targets, then skin or node transform, into world space.

use super::error::Fault;
use super::geometry::Primitive;
use super::limits::COORDINATE_MAX;
use super::tangents::perpendicular;
use crate::math::{Vec3, vec3};
use crate::transform::{Affine, Directions};
use crate::world::Mesh;

/// What carries a mesh into the world.
pub(super) enum Carrier<'a> {
    /// Its node.
    Node(&'a Affine),
    /// Its skin's joints (their place in the world after their inverse bind matrix); the node has no say.
    Joints(&'a [Affine]),
}

/// Places a primitive in the world.
pub(super) fn world_mesh(
    primitive: &Primitive,
    weights: &[f32],
    carrier: &Carrier,
) -> Result<Mesh, Fault> {
    let mut mesh = morphed(primitive, weights);
    match carrier {
        Carrier::Node(transform) => place(&mut mesh, transform),
        Carrier::Joints(joints) if primitive.influences.is_empty() => {
            place(&mut mesh, joints.first().unwrap_or(&Affine::IDENTITY));
        }
        Carrier::Joints(joints) => skin(&mut mesh, primitive, joints)?,
    }
    let inside = |p: &Vec3| p.to_array().iter().all(|c| c.abs() <= COORDINATE_MAX);
    if !mesh.positions.iter().all(inside) {
        return Err(Fault::Damaged(format!(
            "a vertex lies further out than {COORDINATE_MAX:e} or nowhere"
        )));
    }
    repair_directions(&mut mesh);
    Ok(mesh)
}

/// The mesh with its morph targets added, still where it was modelled.
fn morphed(primitive: &Primitive, weights: &[f32]) -> Mesh {
    let mut mesh = Mesh {
        positions: primitive.positions.clone(),
        normals: primitive.normals.clone(),
        tangents: primitive.tangents.clone(),
        texcoords: primitive.texcoords.clone(),
        colors: primitive.colors.clone(),
        triangles: primitive.triangles.clone(),
        material: primitive.material,
    };
    for (target, &weight) in primitive.targets.iter().zip(weights) {
        if weight == 0.0 {
            continue;
        }
        add(mesh.positions.iter_mut(), &target.positions, weight);
        add(mesh.normals.iter_mut(), &target.normals, weight);
        let tangents = mesh.tangents.iter_mut().map(|(tangent, _)| tangent);
        add(tangents, &target.tangents, weight);
    }
    mesh
}

fn add<'a>(vectors: impl Iterator<Item = &'a mut Vec3>, changes: &[Vec3], weight: f32) {
    for (vector, &change) in vectors.zip(changes) {
        *vector += change * weight;
    }
}

fn place(mesh: &mut Mesh, transform: &Affine) {
    for position in &mut mesh.positions {
        *position = transform.point(*position);
    }
    let directions = transform.directions();
    for vertex in 0..mesh.positions.len() {
        turn(mesh, vertex, &directions);
    }
    if directions.mirrored {
        for triangle in &mut mesh.triangles {
            triangle.swap(1, 2);
        }
    }
}

/// Linear blend skinning: each vertex moves by the weighted mean of its joints' transforms.
fn skin(mesh: &mut Mesh, primitive: &Primitive, joints: &[Affine]) -> Result<(), Fault> {
    let mut mirrored = vec![false; mesh.positions.len()];
    for (vertex, mirrored) in mirrored.iter_mut().enumerate() {
        let blend = blended(primitive, joints, vertex)?;
        mesh.positions[vertex] = blend.point(mesh.positions[vertex]);
        let directions = blend.directions();
        turn(mesh, vertex, &directions);
        *mirrored = directions.mirrored;
    }
    for triangle in &mut mesh.triangles {
        if mirrored[triangle[0] as usize] {
            triangle.swap(1, 2);
        }
    }
    Ok(())
}

/// The transform of one vertex. Weights count relative to their sum; a vertex without any follows its first joint.
fn blended(primitive: &Primitive, joints: &[Affine], vertex: usize) -> Result<Affine, Fault> {
    let pairs = primitive.influences.iter().flat_map(|set| {
        let weights = set.weights[vertex];
        set.joints[vertex].into_iter().zip(weights)
    });
    let joint = |index: u16| {
        joints.get(usize::from(index)).ok_or_else(|| {
            Fault::Damaged(format!(
                "a vertex follows joint {index} of {}",
                joints.len()
            ))
        })
    };
    let (mut blend, mut sum, mut first) = (Affine::ZERO, 0.0, None);
    for (index, weight) in pairs {
        first.get_or_insert(index);
        if weight > 0.0 {
            blend.add_scaled(joint(index)?, weight);
            sum += weight;
        }
    }
    if sum > 0.0 {
        let mut mean = Affine::ZERO;
        mean.add_scaled(&blend, 1.0 / sum);
        return Ok(mean);
    }
    joint(first.unwrap_or(0)).copied()
}

fn turn(mesh: &mut Mesh, vertex: usize, directions: &Directions) {
    if let Some(normal) = mesh.normals.get_mut(vertex) {
        *normal = directions.normal(*normal);
    }
    if let Some((tangent, sign)) = mesh.tangents.get_mut(vertex) {
        *tangent = directions.tangent(*tangent);
        if directions.mirrored {
            *sign = -*sign;
        }
    }
}

/// Gives a direction to normals and tangents that have lost theirs: the mean of the faces around, or just any.
fn repair_directions(mesh: &mut Mesh) {
    let lost = |v: &Vec3| !v.is_finite() || *v == Vec3::ZERO;
    if mesh.normals.iter().any(lost) {
        let mut faces = vec![Vec3::ZERO; mesh.positions.len()];
        for triangle in &mesh.triangles {
            let [a, b, c] = triangle.map(|vertex| mesh.positions[vertex as usize]);
            let face = (b - a).cross(c - a).normalized();
            for &vertex in triangle {
                faces[vertex as usize] += face;
            }
        }
        for (normal, face) in mesh.normals.iter_mut().zip(faces) {
            if lost(normal) {
                let face = face.normalized();
                *normal = if lost(&face) {
                    vec3(0.0, 1.0, 0.0)
                } else {
                    face
                };
            }
        }
    }
    for (vertex, (tangent, _)) in mesh.tangents.iter_mut().enumerate() {
        if lost(tangent) {
            let normal = mesh.normals.get(vertex).copied();
            *tangent = perpendicular(normal.unwrap_or(Vec3::ZERO));
        }
    }
}
