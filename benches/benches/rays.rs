//! Rays a second of the tracer's hierarchy on one thread, beside the eight-wide compressed hierarchy of obvhs,
//! which is also the oracle: both must find the same hits.

use benches::landscape;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use obvhs::{
    BvhBuildParams,
    cwbvh::{CwBvh, builder::build_cwbvh_from_tris},
    ray::RayHit,
    triangle::Triangle,
};
use protocol::Size;
use std::time::Duration;
use tracer::{
    math::Vec3,
    render::bvh::{Bvh, KeepAll, Ray, Traversal},
};

/// Twice the square of this many triangles.
const SIDE: u32 = 500;
const SIZE: Size = Size {
    width: 512,
    height: 512,
};
/// Distances agree when they differ by at most this share (or this much, below one).
const TOLERANCE: f32 = 1e-4;
/// One ray in this many may be judged differently: the oracle's triangles are not watertight at their edges.
const DISAGREEMENT_ONE_IN: usize = 2_000;

/// The oracle with its triangles in the order of its leaves.
struct Oracle {
    bvh: CwBvh,
    triangles: Vec<Triangle>,
}

impl Oracle {
    fn build(triangles: &[[Vec3; 3]]) -> Self {
        let triangles: Vec<Triangle> = triangles.iter().map(converted).collect();
        let mut time = Duration::ZERO;
        let params = BvhBuildParams::medium_build();
        let bvh = build_cwbvh_from_tris(&triangles, params, &mut time);
        let in_order = |&index: &u32| triangles[index as usize];
        let triangles = bvh.primitive_indices.iter().map(in_order).collect();
        Self { bvh, triangles }
    }

    fn nearest(&self, ray: &obvhs::ray::Ray) -> Option<f32> {
        let mut hit = RayHit::none();
        let intersect = |ray: &_, index: usize| self.triangles[index].intersect(ray);
        let is_hit = self.bvh.ray_traverse(*ray, &mut hit, intersect);
        is_hit.then_some(hit.t)
    }
}

fn converted(corners: &[Vec3; 3]) -> Triangle {
    let [v0, v1, v2] = corners.map(|corner| corner.to_array().into());
    Triangle { v0, v1, v2 }
}

fn converted_ray(ray: &Ray) -> obvhs::ray::Ray {
    let [origin, direction] = [ray.origin, ray.direction].map(|v| v.to_array().into());
    obvhs::ray::Ray::new(origin, direction, ray.t_min, ray.t_max)
}

fn agree(own: Option<f32>, other: Option<f32>) -> bool {
    match (own, other) {
        (Some(own), Some(other)) => (own - other).abs() <= TOLERANCE * own.max(1.0),
        (own, other) => own.is_none() && other.is_none(),
    }
}

fn distances(bvh: &Bvh, rays: &[Ray]) -> Vec<Option<f32>> {
    let mut traversal = Traversal::default();
    let mut nearest = |ray| bvh.nearest(ray, &mut KeepAll, &mut traversal);
    rays.iter()
        .map(|ray| nearest(ray).map(|hit| hit.t))
        .collect()
}

fn check(name: &str, own: &[Option<f32>], oracle: &[Option<f32>]) {
    let pairs = own.iter().zip(oracle);
    let different = pairs.filter(|&(&own, &other)| !agree(own, other)).count();
    let hits = own.iter().flatten().count();
    println!(
        "{name}: {} rays, {hits} hit, {different} differ from the oracle",
        own.len()
    );
    assert!(hits > own.len() / 10, "{name}: hardly any ray hits");
    assert!(different * DISAGREEMENT_ONE_IN <= own.len(), "{name}");
}

fn rays(criterion: &mut Criterion) {
    let triangles = landscape::hills(SIDE);
    let (bvh, oracle) = (Bvh::build(&triangles), Oracle::build(&triangles));
    let camera = landscape::camera_rays(SIZE);
    let diffuse = landscape::diffuse_rays(&bvh, &camera);
    for (name, rays) in [("camera rays", camera), ("diffuse rays", diffuse)] {
        let oracle_rays: Vec<_> = rays.iter().map(converted_ray).collect();
        let trace_oracle =
            || -> Vec<_> { oracle_rays.iter().map(|ray| oracle.nearest(ray)).collect() };
        check(name, &distances(&bvh, &rays), &trace_oracle());
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(rays.len() as u64));
        group.bench_function("tracer", |bencher| bencher.iter(|| distances(&bvh, &rays)));
        group.bench_function("obvhs", |bencher| bencher.iter(trace_oracle));
        group.finish();
    }
    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements(triangles.len() as u64));
    group.bench_function("tracer", |bencher| bencher.iter(|| Bvh::build(&triangles)));
    group.bench_function("obvhs", |bencher| {
        bencher.iter(|| Oracle::build(&triangles))
    });
    group.finish();
}

criterion_group! {
    name = group;
    config = benches::samples_of(3);
    targets = rays
}
criterion_main!(group);
