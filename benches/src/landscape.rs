//! A mesh to trace, and the two kinds of rays that a path tracer sends: coherent ones from the camera, and
//! scattered ones from where those arrive.

use protocol::Size;
use std::ops::Range;
use tracer::{
    math::{Vec3, vec3},
    render::{
        bvh::{Bvh, KeepAll, Ray, Traversal},
        camera::camera_ray,
        sampler::{PixelSampler, Use},
        warp::{Frame, cosine_hemisphere},
    },
    world::{Camera, Projection},
};

/// Side of the square that the hills cover.
const EXTENT: f32 = 20.0;
/// Scattered rays start this share of the way to the hit, to stay on its side of the surface.
const WAY_TO_HIT: f32 = 0.9999;

/// Hills of `side * side * 2` triangles around the origin, y up.
pub fn hills(side: u32) -> Vec<[Vec3; 3]> {
    let point = |column: u32, row: u32| {
        let [x, z] = [column, row].map(|at| (at as f32 / side as f32 - 0.5) * EXTENT);
        let broad = (x * 0.9).sin() * (z * 1.2).cos();
        let fine = 0.12 * (x * 8.0 - z * 6.0).sin();
        vec3(x, broad + fine, z)
    };
    let cell = |(column, row)| {
        let [a, b] = [point(column, row), point(column + 1, row)];
        let [c, d] = [point(column, row + 1), point(column + 1, row + 1)];
        [[a, c, d], [a, d, b]]
    };
    square(0..side).flat_map(cell).collect()
}

/// One ray through the middle of each pixel, from above one edge of the hills towards their middle.
pub fn camera_rays(size: Size) -> Vec<Ray> {
    let position = vec3(0.0, 6.0, 14.0);
    let forward = (-position).normalized();
    let right = forward.cross(vec3(0.0, 1.0, 0.0)).normalized();
    let camera = Camera {
        position,
        right,
        up: right.cross(forward),
        forward,
        projection: Projection::Perspective { tan_half_y: 0.4 },
        near: 0.01,
        far: f32::INFINITY,
    };
    let rows = (0..size.height).map(|row| row as f32 + 0.5);
    let columns = (0..size.width).map(|column| column as f32 + 0.5);
    rows.flat_map(|y| columns.clone().map(move |x| [x, y]))
        .map(|place| camera_ray(&camera, size, place))
        .collect()
}

/// One ray from each place that `rays` hit, its direction distributed by the cosine to the vertical.
pub fn diffuse_rays(bvh: &Bvh, rays: &[Ray]) -> Vec<Ray> {
    let mut traversal = Traversal::default();
    let upwards = Frame::around(vec3(0.0, 1.0, 0.0));
    let mut scattered = Vec::with_capacity(rays.len());
    for (index, ray) in (0..).zip(rays) {
        if let Some(hit) = bvh.nearest(ray, &mut KeepAll, &mut traversal) {
            let sampler = PixelSampler::new(0, 0, index, 0).sample(0);
            let direction = cosine_hemisphere(sampler.pair(0, Use::Scatter));
            let origin = ray.origin + ray.direction * (hit.t * WAY_TO_HIT);
            scattered.push(Ray::new(origin, upwards.to_world(direction)));
        }
    }
    scattered
}

/// Every pair of the range's numbers.
fn square(range: Range<u32>) -> impl Iterator<Item = (u32, u32)> {
    let columns = range.clone();
    range.flat_map(move |row| columns.clone().map(move |column| (column, row)))
}
