//! Tangents for normal maps where the file brings none.
//!
//! Each triangle's direction of growing u is projected into the plane of each of its vertices' normals and
//! added up, weighted by the triangle's angle there, as MikkTSpace does. Unlike it, all triangles of one
//! vertex with the same handedness share a tangent; where mirrored texture coordinates meet at a vertex, the
//! vertex is split in two. Tangents are made for the mesh at rest and follow morphs, skins and nodes from there.

use super::geometry::Primitive;
use crate::math::Vec3;

/// Fills `tangents` from a set of texture coordinates; may append vertices.
pub(super) fn generate(primitive: &mut Primitive, texcoord: usize) {
    split_mirrored(primitive, texcoord);
    let mut sums = vec![(Vec3::ZERO, 1.0); primitive.positions.len()];
    for triangle in &primitive.triangles {
        let Some((direction, sign)) = growing_u(primitive, texcoord, triangle) else {
            continue;
        };
        for corner in 0..3 {
            let vertex = triangle[corner] as usize;
            let normal = normal(primitive, triangle, vertex);
            let along = direction - normal * normal.dot(direction);
            let (sum, handedness) = &mut sums[vertex];
            *sum += along.normalized() * angle(primitive, triangle, corner);
            *handedness = sign;
        }
    }
    for (vertex, (sum, _)) in sums.iter_mut().enumerate() {
        let normal = primitive.normals.get(vertex).copied().unwrap_or(Vec3::ZERO);
        *sum = sum.normalized();
        if *sum == Vec3::ZERO {
            *sum = perpendicular(normal);
        }
    }
    primitive.tangents = sums;
}

/// A unit vector at a right angle to another (any, for the zero vector).
pub(super) fn perpendicular(normal: Vec3) -> Vec3 {
    let axis = match normal.x.abs() <= normal.y.abs() && normal.x.abs() <= normal.z.abs() {
        true => Vec3::from([1.0, 0.0, 0.0]),
        false => Vec3::from([0.0, 1.0, 0.0]),
    };
    (axis - normal * normal.dot(axis)).normalized()
}

fn corners(primitive: &Primitive, triangle: &[u32; 3]) -> [Vec3; 3] {
    triangle.map(|vertex| primitive.positions[vertex as usize])
}

/// The vertex's normal, or the triangle's where the mesh has none.
fn normal(primitive: &Primitive, triangle: &[u32; 3], vertex: usize) -> Vec3 {
    match primitive.normals.get(vertex) {
        Some(normal) => normal.normalized(),
        None => {
            let [a, b, c] = corners(primitive, triangle);
            (b - a).cross(c - a).normalized()
        }
    }
}

/// Twice the signed area that a triangle covers in texture space.
fn texture_area(primitive: &Primitive, texcoord: usize, triangle: &[u32; 3]) -> f32 {
    let [a, b, c] = triangle.map(|vertex| primitive.texcoords[texcoord][vertex as usize]);
    (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
}

/// The direction in which u grows on a triangle, and the sign of the bitangent; none where u does not grow.
///
/// In glTF v grows downwards in the image and the bitangent points to smaller v, so the sign is that of the
/// area with v turned over.
fn growing_u(primitive: &Primitive, texcoord: usize, triangle: &[u32; 3]) -> Option<(Vec3, f32)> {
    let [a, b, c] = corners(primitive, triangle);
    let [ta, tb, tc] = triangle.map(|vertex| primitive.texcoords[texcoord][vertex as usize]);
    let area = texture_area(primitive, texcoord, triangle);
    if area == 0.0 || !area.is_finite() {
        return None;
    }
    let along = (b - a) * (tc[1] - ta[1]) - (c - a) * (tb[1] - ta[1]);
    let side = if area < 0.0 { -1.0 } else { 1.0 };
    Some(((along * side).normalized(), -side)).filter(|(direction, _)| *direction != Vec3::ZERO)
}

/// The triangle's angle at one of its corners, in radians.
fn angle(primitive: &Primitive, triangle: &[u32; 3], corner: usize) -> f32 {
    let points = corners(primitive, triangle);
    let to = |other: usize| (points[(corner + other) % 3] - points[corner]).normalized();
    libm::acosf(to(1).dot(to(2)).clamp(-1.0, 1.0))
}

/// Gives triangles with mirrored texture coordinates vertices of their own where others use them too.
fn split_mirrored(primitive: &mut Primitive, texcoord: usize) {
    let mirrored: Vec<bool> = primitive
        .triangles
        .iter()
        .map(|triangle| texture_area(primitive, texcoord, triangle) < 0.0)
        .collect();
    let mut used_upright = vec![false; primitive.positions.len()];
    for (triangle, _) in primitive
        .triangles
        .iter()
        .zip(&mirrored)
        .filter(|(_, m)| !**m)
    {
        for &vertex in triangle {
            used_upright[vertex as usize] = true;
        }
    }
    let first_copy = primitive.positions.len();
    let mut copy_of = vec![None; first_copy];
    let mut copied = Vec::new();
    for (triangle, _) in primitive
        .triangles
        .iter_mut()
        .zip(&mirrored)
        .filter(|(_, m)| **m)
    {
        for vertex in triangle {
            let original = *vertex as usize;
            if used_upright[original] {
                *vertex = *copy_of[original].get_or_insert_with(|| {
                    copied.push(original as u32);
                    (first_copy + copied.len() - 1) as u32
                });
            }
        }
    }
    primitive.duplicate(&copied);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::vec3;

    /// Two triangles in the plane z = 0, sharing an edge on x = 0; u grows away from that edge on both sides.
    fn butterfly() -> Primitive {
        Primitive {
            positions: vec![
                vec3(0.0, 0.0, 0.0),
                vec3(0.0, 1.0, 0.0),
                vec3(1.0, 0.0, 0.0),
                vec3(-1.0, 0.0, 0.0),
            ],
            normals: vec![vec3(0.0, 0.0, 1.0); 4],
            texcoords: [
                vec![[0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]],
                Vec::new(),
            ],
            triangles: vec![[0, 2, 1], [0, 1, 3]],
            ..Primitive::default()
        }
    }

    #[test]
    fn tangents_follow_u_and_bitangents_point_up_the_image() {
        let mut primitive = butterfly();
        primitive.triangles.truncate(1);
        generate(&mut primitive, 0);
        for vertex in [0, 1, 2] {
            let (tangent, sign) = primitive.tangents[vertex];
            assert!((tangent - vec3(1.0, 0.0, 0.0)).length() < 1e-6);
            // Up the image is +y here: the image's first row, v = 0, lies at y = 1.
            let bitangent = primitive.normals[vertex].cross(tangent) * sign;
            assert!((bitangent - vec3(0.0, 1.0, 0.0)).length() < 1e-6);
        }
    }

    #[test]
    fn vertices_between_mirrored_halves_are_split() {
        let mut primitive = butterfly();
        generate(&mut primitive, 0);
        assert_eq!(primitive.positions.len(), 6);
        assert_eq!(primitive.normals.len(), 6);
        assert_eq!(primitive.tangents.len(), 6);
        for (triangle, x) in [(0, 1.0), (1, -1.0)] {
            for vertex in primitive.triangles[triangle] {
                let (tangent, sign) = primitive.tangents[vertex as usize];
                assert!((tangent - vec3(x, 0.0, 0.0)).length() < 1e-6);
                assert_eq!(sign, x);
            }
        }
    }

    #[test]
    fn triangles_without_texture_area_still_get_some_tangent() {
        let mut primitive = butterfly();
        primitive.texcoords[0] = vec![[0.5, 0.5]; 4];
        generate(&mut primitive, 0);
        for (tangent, _) in primitive.tangents {
            assert_eq!(tangent.length(), 1.0);
            assert_eq!(tangent.z, 0.0);
        }
    }
}
