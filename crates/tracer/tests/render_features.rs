//! What the scene description promises: sides, coverage, clipping, passes, and errors for what makes no sense.

mod worlds;

use protocol::{Pass, Rect, RenderedRect, Size};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tracer::{
    math::{Vec3, vec3},
    render::{BACKGROUND_DEPTH, RenderError, Renderer},
    world::{AlphaMode, Environment, Material, Projection, World},
};

fn size() -> Size {
    Size::new(8, 8).unwrap()
}

fn render(world: World, samples: u32) -> RenderedRect {
    let renderer = Renderer::new(world, size()).unwrap();
    renderer
        .render(
            &worlds::settings(size(), samples),
            1,
            size().rect(),
            &|| false,
        )
        .unwrap()
}

fn middle(rendered: &RenderedRect, pass: Pass) -> [f32; 4] {
    let plane = rendered.planes.iter().find(|(found, _)| *found == pass);
    plane.unwrap().1[4 * 8 + 4]
}

/// A camera at the origin that sees nothing but a quad three units away under a red sky.
fn facing(material: Material) -> World {
    let mut world = worlds::empty(Vec3::ZERO, vec3(0.0, 0.0, -1.0), 0.2);
    world.environment = Arc::new(Environment::Constant(vec3(1.0, 0.0, 0.0)));
    world.materials = vec![material];
    world.meshes = vec![worlds::quad(
        vec3(-2.0, -2.0, -3.0),
        vec3(4.0, 0.0, 0.0),
        vec3(0.0, 4.0, 0.0),
        0,
    )];
    world
}

fn green_sign() -> Material {
    Material {
        unlit: true,
        ..worlds::matte([0.0, 0.5, 0.0])
    }
}

const SKY: [f32; 4] = [1.0, 0.0, 0.0, 1.0];
const SIGN: [f32; 4] = [0.0, 0.5, 0.0, 1.0];

#[test]
fn unlit_surfaces_show_their_colour() {
    assert_eq!(
        middle(&render(facing(green_sign()), 3), Pass::Combined),
        SIGN
    );
}

#[test]
fn back_faces_are_culled_unless_double_sided() {
    for (double_sided, turned, expected) in [
        (false, false, SIGN),
        (false, true, SKY),
        (true, false, SIGN),
        (true, true, SIGN),
    ] {
        let mut world = facing(Material {
            double_sided,
            ..green_sign()
        });
        if turned {
            for triangle in &mut world.meshes[0].triangles {
                triangle.swap(0, 1);
            }
        }
        assert_eq!(middle(&render(world, 1), Pass::Combined), expected);
    }
}

#[test]
fn coverage_is_opaque_masked_or_blended() {
    let with = |alpha: AlphaMode, value: f32| {
        middle(
            &render(
                facing(Material {
                    alpha,
                    base_color: [0.0, 0.5, 0.0, value],
                    ..green_sign()
                }),
                256,
            ),
            Pass::Combined,
        )
    };
    assert_eq!(with(AlphaMode::Opaque, 0.0), SIGN);
    assert_eq!(with(AlphaMode::Mask { cutoff: 0.5 }, 0.49), SKY);
    assert_eq!(with(AlphaMode::Mask { cutoff: 0.5 }, 0.5), SIGN);
    assert_eq!(with(AlphaMode::Blend, 1.0), SIGN);
    assert_eq!(with(AlphaMode::Blend, 0.0), SKY);
    let [red, green, _, alpha] = with(AlphaMode::Blend, 0.25);
    assert!((red - 0.75).abs() < 0.1 && (green - 0.125).abs() < 0.05 && alpha == 1.0);
}

/// Shadow rays multiply what panes let through.
#[test]
fn panes_dim_the_light_behind_them() {
    let lit = |panes: u32| {
        let mut world = facing(worlds::matte([0.5; 3]));
        world.environment = Arc::new(Environment::Constant(Vec3::ZERO));
        world.lights = vec![tracer::world::Light {
            kind: tracer::world::LightKind::Directional {
                direction: vec3(0.6, -0.0, -0.8),
            },
            intensity: Vec3::ONE,
            range: f32::INFINITY,
        }];
        world.materials.push(Material {
            alpha: AlphaMode::Blend,
            base_color: [0.0, 0.0, 0.0, 0.5],
            ..worlds::glossy([0.0; 3], 1.0, 1.0)
        });
        for pane in 0..panes {
            let corner = vec3(-30.0, -2.0, 1.0 + pane as f32);
            let (x, y) = (vec3(60.0, 0.0, 0.0), vec3(0.0, 4.0, 0.0));
            world.meshes.push(worlds::quad(corner, x, y, 1));
        }
        f64::from(middle(&render(world, 16), Pass::Combined)[0])
    };
    // Black panes behind the camera send nothing back to it.
    let (none, one, two) = (lit(0), lit(1), lit(2));
    assert!((one / none - 0.5).abs() < 1e-3 && (two / none - 0.25).abs() < 1e-3);
}

#[test]
fn clipping_planes_cut_along_the_axis() {
    for (near, far, expected) in [(0.1, 10.0, SIGN), (3.1, 10.0, SKY), (0.1, 2.9, SKY)] {
        let mut world = facing(green_sign());
        (world.camera.near, world.camera.far) = (near, far);
        assert_eq!(middle(&render(world, 4), Pass::Combined), expected);
    }
}

#[test]
fn passes_tell_depth_normal_and_colour() {
    let rendered = render(facing(worlds::matte([0.1, 0.2, 0.3])), 4);
    for pixel in &rendered.planes[1].1 {
        assert!((pixel[0] - 3.0).abs() < 1e-6 && pixel[1..] == [0.0; 3]);
    }
    assert_eq!(middle(&rendered, Pass::Normal), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(middle(&rendered, Pass::Albedo), [0.1, 0.2, 0.3, 0.0]);

    let mut orthographic = facing(green_sign());
    orthographic.camera.projection = Projection::Orthographic { half_height: 1.0 };
    assert_eq!(middle(&render(orthographic, 1), Pass::Depth)[0], 3.0);

    let mut nothing = facing(green_sign());
    nothing.meshes.clear();
    let rendered = render(nothing, 2);
    assert_eq!(middle(&rendered, Pass::Combined), SKY);
    assert_eq!(middle(&rendered, Pass::Depth)[0], BACKGROUND_DEPTH);
    assert_eq!(middle(&rendered, Pass::Normal), [0.0; 4]);
}

/// Coarse smooth spheres and steep normal maps have no black pixels at their rims in a bright sky.
#[test]
fn smooth_normals_leave_no_black_rims() {
    for roughness in [0.05, 0.5] {
        let mut world = worlds::empty(vec3(0.0, 0.0, 3.0), Vec3::ZERO, 0.3);
        world.environment = Arc::new(Environment::Constant(Vec3::ONE));
        world.materials = vec![worlds::glossy([0.9; 3], 1.0, roughness)];
        world.meshes = vec![worlds::sphere(Vec3::ZERO, 0.8, 6, 0)];
        let size = Size::new(64, 64).unwrap();
        let rendered = Renderer::new(world, size)
            .unwrap()
            .render(&worlds::settings(size, 32), 1, size.rect(), &|| false)
            .unwrap();
        let darkest = rendered.planes[0].1.iter().map(|pixel| pixel[0]);
        let darkest = darkest.fold(1.0, tracer::math::min);
        assert!(darkest > 0.5, "{roughness}: {darkest}");
    }
}

/// Lights at infinity, on surfaces, of infinite power: pixels stay finite.
#[test]
fn no_pixel_is_ever_infinite() {
    let mut world = worlds::punctual_lights();
    for light in &mut world.lights {
        light.intensity = Vec3::splat(f32::MAX);
    }
    world.materials[1].emissive = Vec3::splat(f32::INFINITY);
    world.materials[2].emissive = Vec3::splat(f32::NAN);
    world.materials[3].roughness = f32::NAN;
    world.meshes[2].normals.fill(Vec3::ZERO);
    world.meshes[0].texcoords[0][2] = [f32::NAN, f32::INFINITY];
    let rendered = render(world, 8);
    for (pass, plane) in &rendered.planes {
        assert!(plane.iter().flatten().all(|v| v.is_finite()), "{pass}");
    }
}

#[test]
fn inconsistent_worlds_are_refused_by_name() {
    let refuse = |change: fn(&mut World)| {
        let mut world = worlds::cornell_box();
        change(&mut world);
        match Renderer::new(world, size()) {
            Err(RenderError::World(problem)) => problem,
            other => panic!("{other:?}"),
        }
    };
    let problem = refuse(|world| world.meshes[1].triangles[0][2] = 99);
    assert_eq!(problem, "mesh 1 uses vertex 99 of 4");
    let problem = refuse(|world| world.meshes[0].material = 17);
    assert_eq!(problem, "mesh 0 uses material 17 of 6");
    refuse(|world| world.meshes[0].normals.truncate(3));
    refuse(|world| world.textures = Arc::default());
    refuse(|world| world.camera.position.x = f32::NAN);
    refuse(|world| {
        world.environment = Arc::new(Environment::Map {
            width: 0,
            height: 0,
            pixels: Vec::new(),
        });
    });
}

#[test]
fn bad_requests_and_cancellation_are_errors() {
    let renderer = Renderer::new(worlds::cornell_box(), size()).unwrap();
    let settings = worlds::settings(size(), 1);
    let outside = Rect {
        x: 4,
        ..size().rect()
    };
    assert!(matches!(
        renderer.render(&settings, 1, outside, &|| false),
        Err(RenderError::Rect { .. })
    ));
    let none = worlds::settings(size(), 0);
    assert!(matches!(
        renderer.render(&none, 1, size().rect(), &|| false),
        Err(RenderError::Settings(_))
    ));
    let asked = AtomicU32::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 10;
    assert_eq!(
        renderer.render(&settings, 1, size().rect(), &cancelled),
        Err(RenderError::Cancelled)
    );
    assert!(asked.into_inner() < 20);
}
