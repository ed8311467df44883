//! Times the hierarchy alone, on one thread: `rays SIDE` builds it over a landscape of twice the square of SIDE
//! triangles and sends camera rays, then one diffuse ray from each hit.

#[path = "../tests/worlds/mod.rs"]
mod worlds;

use protocol::Size;
use std::{error::Error, time::Instant};
use tracer::{
    math::Vec3,
    render::{
        bvh::{Bvh, KeepAll, Ray, Traversal},
        camera::camera_ray,
        sampler::{PixelSampler, Use},
        warp::{Frame, cosine_hemisphere},
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    let side = std::env::args().nth(1).ok_or("usage: rays SIDE")?;
    let world = worlds::landscape(side.parse()?);
    let triangles: Vec<[Vec3; 3]> = world
        .meshes
        .iter()
        .flat_map(|mesh| {
            let corners =
                |corners: &[u32; 3]| corners.map(|corner| mesh.positions[corner as usize]);
            mesh.triangles.iter().map(corners)
        })
        .collect();
    let start = Instant::now();
    let bvh = Bvh::build(&triangles);
    println!(
        "{} triangles, built in {:.3} s, {:.0} bytes a triangle",
        triangles.len(),
        start.elapsed().as_secs_f64(),
        bvh.byte_size() as f64 / triangles.len() as f64
    );
    let size = Size::new(1024, 1024)?;
    let camera_rays: Vec<Ray> = (0..size.width * size.height)
        .map(|i| {
            let place = [(i % size.width) as f32 + 0.5, (i / size.width) as f32 + 0.5];
            camera_ray(&world.camera, size, place)
        })
        .collect();
    let hits = shoot("camera", &bvh, &camera_rays);
    let diffuse_rays: Vec<Ray> = camera_rays
        .iter()
        .zip(&hits)
        .enumerate()
        .filter_map(|(i, (ray, t))| {
            let place = ray.origin + ray.direction * (*t)? * 0.9999;
            let sampler = PixelSampler::new(0, 0, i as u32, 0).sample(0);
            let up = Frame::around(tracer::math::vec3(0.0, 1.0, 0.0));
            let around = up.to_world(cosine_hemisphere(sampler.pair(0, Use::Scatter)));
            Some(Ray::new(place, around))
        })
        .collect();
    shoot("diffuse", &bvh, &diffuse_rays);
    Ok(())
}

fn shoot(name: &str, bvh: &Bvh, rays: &[Ray]) -> Vec<Option<f32>> {
    let mut traversal = Traversal::default();
    let start = Instant::now();
    let hits: Vec<_> = rays
        .iter()
        .map(|ray| {
            let hit = bvh.nearest(ray, &mut KeepAll, &mut traversal);
            hit.map(|hit| hit.t)
        })
        .collect();
    println!(
        "{name}: {:.2} million rays/s, {} of {} hit",
        rays.len() as f64 / start.elapsed().as_secs_f64() / 1e6,
        hits.iter().flatten().count(),
        rays.len()
    );
    hits
}
