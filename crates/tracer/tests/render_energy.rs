//! Furnaces and lights whose answer is known: the integrator neither gains nor loses energy, and every way of
//! sampling light gives the same mean.

mod worlds;

use protocol::{Pass, Size};
use std::sync::Arc;
use tracer::{
    math::{Vec3, vec3},
    render::{
        BOUNCES_MAX, Renderer,
        bsdf::{Bsdf, Surface},
    },
    world::{Environment, Light, LightKind, Material, World},
};

/// Mean and largest luminance of the pixels of a square image.
fn luminances(world: World, side: u64, samples: u32) -> (f64, f64) {
    let size = Size::new(side, side).unwrap();
    let settings = worlds::settings(size, samples);
    let renderer = Renderer::new(world, size).unwrap();
    let rendered = renderer
        .render(&settings, 1, size.rect(), &|| false)
        .unwrap();
    let (pass, plane) = &rendered.planes[0];
    assert_eq!(*pass, Pass::Combined);
    let values = plane
        .iter()
        .map(|&[r, g, b, _]| f64::from(vec3(r, g, b).luminance()));
    let count = plane.len() as f64;
    (
        values.clone().sum::<f64>() / count,
        values.fold(0.0, |a, b| if a > b { a } else { b }),
    )
}

fn assert_near(found: f64, expected: f64, tolerance: f64, context: &str) {
    assert!(
        (found / expected - 1.0).abs() < tolerance,
        "{context}: {found} instead of {expected}"
    );
}

/// A white sphere cannot be told from a white sky.
#[test]
fn a_white_sphere_vanishes_in_a_white_furnace() {
    for metallic in [0.0, 1.0] {
        for roughness in [0.0, 0.2, 0.5, 0.8, 1.0] {
            let mut world = worlds::empty(vec3(0.0, 0.0, 3.0), Vec3::ZERO, 0.3);
            world.environment = Arc::new(Environment::Constant(Vec3::ONE));
            world.materials = vec![worlds::glossy([1.0; 3], metallic, roughness)];
            world.meshes = vec![worlds::sphere(Vec3::ZERO, 1.0, 64, 0)];
            let (mean, largest) = luminances(world, 24, 64);
            let context = format!("metallic {metallic}, roughness {roughness}");
            assert_near(mean, 1.0, 0.01, &context);
            assert!(largest < 1.25, "{context}: {largest}");
        }
    }
}

/// In a closed room whose white walls glow, every bounce adds the glow once.
#[test]
fn a_closed_glowing_room_adds_up_its_bounces() {
    let mut world = worlds::empty(vec3(0.1, 0.2, 0.3), vec3(1.0, 0.0, 0.4), 0.7);
    world.materials = vec![Material {
        emissive: Vec3::splat(0.5),
        ..worlds::matte([1.0; 3])
    }];
    let (x, y, z) = (
        vec3(2.0, 0.0, 0.0),
        vec3(0.0, 2.0, 0.0),
        vec3(0.0, 0.0, 2.0),
    );
    let corner = vec3(-1.0, -1.0, -1.0);
    world.meshes = [
        (corner, x, y),
        (corner, y, z),
        (corner, z, x),
        (corner + z, x, y),
        (corner + x, y, z),
        (corner + y, z, x),
    ]
    .map(|(corner, across, up)| worlds::quad(corner, across, up, 0))
    .to_vec();
    let (mean, _) = luminances(world, 24, 64);
    assert_near(mean, 0.5 * f64::from(BOUNCES_MAX + 1), 0.01, "room");
}

/// A floor seen from straight above at the origin.
fn floor(roughness: f32) -> World {
    let mut world = worlds::empty(vec3(0.0, 4.0, 1e-3), Vec3::ZERO, 1e-3);
    world.materials = vec![worlds::glossy([0.6, 0.5, 0.4], 0.0, roughness)];
    world.meshes = vec![worlds::quad(
        vec3(-2.0, 0.0, 2.0),
        vec3(4.0, 0.0, 0.0),
        vec3(0.0, 0.0, -4.0),
        0,
    )];
    world
}

/// The floor's BSDF times cosine for light from a direction (y up), seen from straight above.
fn reflected(roughness: f32, toward_light: Vec3) -> f64 {
    let surface = Surface {
        base_color: vec3(0.6, 0.5, 0.4),
        metallic: 0.0,
        roughness,
    };
    let local = vec3(toward_light.x, toward_light.z, toward_light.y);
    let bsdf = Bsdf::new(&surface, vec3(0.0, 0.0, 1.0));
    f64::from(bsdf.evaluate(local).weight().luminance())
}

#[test]
fn punctual_lights_arrive_by_the_inverse_square() {
    let position = vec3(0.8, 1.5, -0.4);
    let toward = position.normalized();
    let distance_squared = f64::from(position.length_squared());
    let kinds = [
        (LightKind::Point { position }, 1.0 / distance_squared),
        (
            LightKind::Spot {
                position,
                direction: -toward,
                cos_inner: 0.9,
                cos_outer: 0.8,
            },
            1.0 / distance_squared,
        ),
        (LightKind::Directional { direction: -toward }, 1.0),
    ];
    for roughness in [0.3, 1.0] {
        for (kind, attenuation) in kinds {
            let mut world = floor(roughness);
            world.lights = vec![Light {
                kind,
                intensity: Vec3::splat(5.0),
                range: f32::INFINITY,
            }];
            let (mean, _) = luminances(world, 4, 4);
            let expected = 5.0 * attenuation * reflected(roughness, toward);
            assert_near(mean, expected, 0.01, &format!("{kind:?}"));
        }
    }
}

/// A square lamp over the floor, against a sum over its surface.
#[test]
fn an_area_light_is_the_integral_over_its_surface() {
    let (corner, across, up) = (
        vec3(-0.5, 1.2, -0.1),
        vec3(1.1, 0.0, 0.0),
        vec3(0.0, 0.3, 0.9),
    );
    let normal = across.cross(up);
    let (area, normal) = (f64::from(normal.length()), normal.normalized());
    let mut expected = 0.0;
    const STEPS: u32 = 200;
    for i in 0..STEPS * STEPS {
        let at = |index: u32| (index as f32 + 0.5) / STEPS as f32;
        let point = corner + across * at(i % STEPS) + up * at(i / STEPS);
        let toward = point.normalized();
        let solid = area / f64::from(STEPS * STEPS) * f64::from(toward.dot(normal).abs())
            / f64::from(point.length_squared());
        expected += 3.0 * reflected(0.5, toward) * solid;
    }
    for unlit in [false, true] {
        let mut world = floor(0.5);
        // A camera below the lamp, so that the lamp does not hide the floor.
        world.camera.position = vec3(0.0, 0.2, 2e-5);
        world.materials.push(lamp(3.0, unlit));
        world.meshes.push(worlds::quad(corner, across, up, 1));
        let (mean, _) = luminances(world, 12, 256);
        assert_near(mean, expected, 0.015, &format!("unlit {unlit}"));
    }
}

/// A lamp that light sampling knows, or an unlit one of the same radiance that only scattered rays find.
fn lamp(radiance: f32, unlit: bool) -> Material {
    match unlit {
        false => worlds::emitter(Vec3::splat(radiance)),
        true => Material {
            base_color: [radiance, radiance, radiance, 1.0],
            unlit,
            ..worlds::matte([1.0; 3])
        },
    }
}

#[test]
fn light_sampling_changes_no_mean() {
    let means = [false, true].map(|unlit| {
        let mut world = worlds::cornell_box();
        world.materials[3] = lamp(10.0, unlit);
        luminances(world, 32, 256).0
    });
    assert_near(means[0], means[1], 0.02, "box");
}

/// The same white sky, once sampled around the normal and once by the cells of a map.
#[test]
fn a_constant_map_is_a_constant_sky() {
    let sky = |environment: Environment| {
        let mut world = worlds::punctual_lights();
        world.lights.clear();
        world.environment = Arc::new(environment);
        luminances(world, 24, 64).0
    };
    let constant = sky(Environment::Constant(Vec3::splat(0.7)));
    let map = sky(Environment::Map {
        width: 5,
        height: 3,
        pixels: vec![Vec3::splat(0.7); 15],
    });
    assert_near(map, constant, 0.005, "sky");
}
