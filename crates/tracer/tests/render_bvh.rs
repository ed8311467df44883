//! The hierarchy finds exactly what testing every triangle finds.

use tracer::{
    math::{Vec3, vec3},
    render::bvh::{Bvh, Hit, HitFilter, KeepAll, Ray, Traversal},
};

/// Repeatable random numbers.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / 16_777_216.0
    }

    fn point(&mut self) -> Vec3 {
        vec3(self.unit() - 0.5, self.unit() - 0.5, self.unit() - 0.5)
    }
}

/// One hierarchy of one triangle each: no tree to go wrong in.
fn brute_force(singles: &[Bvh], ray: &Ray) -> Option<Hit> {
    let mut best: Option<Hit> = None;
    for (index, single) in singles.iter().enumerate() {
        let found = single.nearest(ray, &mut KeepAll, &mut Traversal::default());
        if let Some(hit) = found
            && best.is_none_or(|best| hit.t < best.t)
        {
            best = Some(Hit {
                triangle: index as u32,
                ..hit
            });
        }
    }
    best
}

fn compare(name: &str, triangles: &[[Vec3; 3]], center: Vec3, reach: f32) {
    let bvh = Bvh::build(triangles);
    let singles: Vec<Bvh> = triangles.iter().map(|t| Bvh::build(&[*t])).collect();
    let mut random = Random(99);
    let mut traversal = Traversal::default();
    let mut hits = 0;
    for i in 0..3000 {
        let origin = center + random.point() * reach;
        let mut direction = random.point();
        match i % 5 {
            0 => direction.x = 0.0,
            1 => (direction.y, direction.z) = (0.0, -0.0),
            2 => {
                // At a corner exactly: the worst case for gaps between triangles.
                let triangle = triangles[i * 31 % triangles.len()];
                direction = triangle[i % 3] - origin;
            }
            _ => {}
        }
        let mut ray = Ray::new(origin, direction);
        if i % 7 == 0 {
            (ray.t_min, ray.t_max) = (0.3, 1.1);
        }
        let expected = brute_force(&singles, &ray);
        let found = bvh.nearest(&ray, &mut KeepAll, &mut traversal);
        assert_eq!(found, expected, "{name}: ray {i} {ray:?}");
        let blocked = bvh.occluded(&ray, &mut KeepAll, &mut traversal);
        assert_eq!(blocked, expected.is_some(), "{name}: ray {i} {ray:?}");
        hits += usize::from(expected.is_some());
    }
    assert!(hits > 200, "{name}: only {hits} of 3000 rays hit");
}

fn soup(count: usize, size: f32, offset: Vec3) -> Vec<[Vec3; 3]> {
    let mut random = Random(count as u64);
    let mut triangle = || {
        let corner = random.point() + offset;
        [
            corner,
            corner + random.point() * size,
            corner + random.point() * size,
        ]
    };
    (0..count).map(|_| triangle()).collect()
}

#[test]
fn random_triangles() {
    for (count, size) in [(1, 1.0), (2, 0.9), (5, 0.8), (60, 0.4), (700, 0.15)] {
        compare("soup", &soup(count, size, Vec3::ZERO), Vec3::ZERO, 2.0);
    }
}

#[test]
fn far_from_the_origin() {
    let offset = vec3(1e6, -3e6, 2e5);
    compare("far", &soup(300, 8.0, offset), offset, 16.0);
    let tiny: Vec<_> = soup(200, 0.4, Vec3::ZERO)
        .iter()
        .map(|triangle| triangle.map(|corner| corner * 1e-12))
        .collect();
    compare("tiny", &tiny, Vec3::ZERO, 2e-12);
}

#[test]
fn degenerate_coplanar_and_repeated_triangles() {
    let mut triangles = soup(100, 0.5, Vec3::ZERO);
    for i in 0..50 {
        let [a, b, _] = triangles[i];
        triangles.push([a, b, a]);
        triangles.push([a, a, a]);
        triangles.push(triangles[i]);
    }
    for i in 0..100 {
        let at = |k: usize| ((i * 7 + k * 13) % 20) as f32 / 20.0 - 0.5;
        triangles.push([0, 1, 2].map(|k| vec3(at(k), at(k + 5), 0.0)));
    }
    compare("degenerate", &triangles, Vec3::ZERO, 2.0);
}

#[test]
fn triangles_that_are_not_finite_are_left_out() {
    let mut triangles = soup(20, 0.5, Vec3::ZERO);
    triangles[3][1].x = f32::NAN;
    triangles[4][2].y = f32::INFINITY;
    triangles[5][0].z = 1e30;
    let bvh = Bvh::build(&triangles);
    assert!(bvh.bounds().low.is_finite() && bvh.bounds().high.is_finite());
    let mut traversal = Traversal::default();
    let mut random = Random(3);
    for _ in 0..1000 {
        let ray = Ray::new(random.point() * 2.0, random.point());
        if let Some(hit) = bvh.nearest(&ray, &mut KeepAll, &mut traversal) {
            assert!(!(3..=5).contains(&hit.triangle));
        }
    }
    let nothing = Bvh::build(&[]);
    let ray = Ray::new(Vec3::ZERO, vec3(0.0, 0.0, -1.0));
    assert_eq!(nothing.nearest(&ray, &mut KeepAll, &mut traversal), None);
}

/// Rays at every edge and corner of a closed mesh from inside must not get out.
#[test]
fn a_closed_mesh_has_no_gaps() {
    let mut triangles = Vec::new();
    let at = |i: usize, j: usize| {
        let (u, v) = (i as f64 / 24.0, j as f64 / 12.0);
        let (theta, phi) = (v * std::f64::consts::PI, u * std::f64::consts::TAU);
        let ring = if j == 0 || j == 12 {
            0.0
        } else {
            libm::sin(theta)
        };
        vec3(
            (ring * libm::cos(if i == 24 { 0.0 } else { phi })) as f32 + 100.0,
            libm::cos(theta) as f32,
            (ring * libm::sin(if i == 24 { 0.0 } else { phi })) as f32,
        )
    };
    for i in 0..24 {
        for j in 0..12 {
            let (a, b, c, d) = (at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i + 1, j));
            triangles.extend([[a, b, c], [a, c, d]]);
        }
    }
    let bvh = Bvh::build(&triangles);
    let mut random = Random(8);
    let mut traversal = Traversal::default();
    for round in 0..40 {
        let origin = vec3(100.0, 0.0, 0.0) + random.point() * 0.8;
        for triangle in &triangles {
            let t = round as f32 / 40.0;
            let target = triangle[0].lerp(triangle[1], t);
            let ray = Ray::new(origin, target - origin);
            let hit = bvh.nearest(&ray, &mut KeepAll, &mut traversal);
            assert!(hit.is_some(), "{ray:?}");
        }
    }
}

#[test]
fn front_is_where_corners_run_counter_clockwise() {
    let triangle = [
        vec3(0.0, 0.0, 0.0),
        vec3(1.0, 0.0, 0.0),
        vec3(0.0, 1.0, 0.0),
    ];
    let turned = |triangle: [Vec3; 3], turn: usize| {
        triangle.map(|v| {
            let [x, y, z] = v.to_array();
            [vec3(x, y, z), vec3(z, x, y), vec3(y, z, x)][turn]
        })
    };
    for turn in 0..3 {
        let corners = turned(triangle, turn);
        let [origin, direction, _] = turned(
            [vec3(0.2, 0.3, 2.0), vec3(0.0, 0.0, -1.0), Vec3::ZERO],
            turn,
        );
        let bvh = Bvh::build(&[corners]);
        let mut traversal = Traversal::default();
        let front = bvh.nearest(&Ray::new(origin, direction), &mut KeepAll, &mut traversal);
        let hit = front.unwrap();
        assert!(hit.front && hit.t == 2.0, "{hit:?}");
        assert!((hit.v - 0.2).abs() < 1e-6 && (hit.w - 0.3).abs() < 1e-6);
        let behind = Ray::new(origin + direction * 4.0, -direction);
        let back = bvh.nearest(&behind, &mut KeepAll, &mut traversal);
        assert!(!back.unwrap().front);
    }
}

/// A filter that refuses some triangles sees what is behind them.
#[test]
fn filtered_hits_let_rays_through() {
    struct Odd;
    impl HitFilter for Odd {
        fn keep(&mut self, hit: &Hit) -> bool {
            hit.triangle % 2 == 1
        }
    }
    let triangles = soup(400, 0.5, Vec3::ZERO);
    let odd: Vec<_> = triangles.iter().skip(1).step_by(2).copied().collect();
    let (all, half) = (Bvh::build(&triangles), Bvh::build(&odd));
    let (mut random, mut traversal) = (Random(5), Traversal::default());
    for _ in 0..2000 {
        let ray = Ray::new(random.point() * 2.0, random.point());
        let found = all.nearest(&ray, &mut Odd, &mut traversal);
        let expected = half.nearest(&ray, &mut KeepAll, &mut traversal);
        assert_eq!(
            found.map(|hit| hit.triangle / 2),
            expected.map(|hit| hit.triangle)
        );
        assert_eq!(
            all.occluded(&ray, &mut Odd, &mut traversal),
            expected.is_some()
        );
    }
}
