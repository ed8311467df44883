//! Cameras, automatic framing, lights and environments.

use crate::builder::{Builder, assert_close, size, write};
use protocol::Size;
use serde_json::json;
use tempfile::TempDir;
use tracer::gltf::Scene;
use tracer::math::{self, Vec3};
use tracer::world::{Camera, Environment, LightKind, Projection, World};

const QUARTER_ABOUT_Y: [f32; 4] = [0.0, 0.707_106_77, 0.0, 0.707_106_77];

fn with_camera(camera: serde_json::Value, node: serde_json::Value) -> Builder {
    let mut builder = Builder::triangle();
    builder.add("cameras", camera);
    let node = builder.root(node);
    builder.json["nodes"][node]["camera"] = json!(0);
    builder
}

fn camera(builder: &Builder, size: Size) -> Camera {
    builder.load().unwrap().world(1, size).unwrap().camera
}

fn tan_half_y(camera: &Camera) -> f32 {
    match camera.projection {
        Projection::Perspective { tan_half_y } => tan_half_y,
        Projection::Orthographic { half_height } => panic!("parallel, {half_height}"),
    }
}

#[test]
fn cameras_look_along_their_nodes() {
    let lens =
        json!({ "type": "perspective", "perspective": { "yfov": 1.570_796_4, "znear": 0.5 } });
    let node = json!({ "name": "Eye", "translation": [1, 2, 3], "rotation": QUARTER_ABOUT_Y, "scale": [-2, 1, 5] });
    let builder = with_camera(lens, node);
    let camera = camera(&builder, size(200, 100));
    assert_close(camera.position, [1.0, 2.0, 3.0]);
    assert_close(camera.forward, [-1.0, 0.0, 0.0]);
    assert_close(camera.up, [0.0, 1.0, 0.0]);
    assert_close(camera.right, [0.0, 0.0, -1.0]);
    assert!((tan_half_y(&camera) - 1.0).abs() < 1e-6);
    assert_eq!((camera.near, camera.far), (0.5, f32::INFINITY));
    let scene = builder.load().unwrap();
    assert_eq!(scene.about().cameras, ["Eye"]);
    assert_eq!(
        scene.about().notes,
        ["no light: a neutral white environment is used"]
    );
}

#[test]
fn a_stated_aspect_ratio_stays_in_sight() {
    let lens = json!({ "yfov": 1.570_796_4, "znear": 0.5, "zfar": 9, "aspectRatio": 2 });
    let builder = with_camera(
        json!({ "type": "perspective", "perspective": lens }),
        json!({}),
    );
    for (width, height, expected) in [
        (400, 100, 1.0),
        (200, 100, 1.0),
        (100, 100, 2.0),
        (50, 100, 4.0),
    ] {
        let camera = camera(&builder, size(width, height));
        assert!(
            (tan_half_y(&camera) - expected).abs() < 1e-5,
            "{width}x{height}"
        );
        assert_eq!(camera.far, 9.0);
    }
}

#[test]
fn parallel_cameras_keep_their_rectangle_in_sight() {
    let lens = json!({ "xmag": 4, "ymag": 3, "znear": 0, "zfar": 100 });
    let builder = with_camera(
        json!({ "type": "orthographic", "orthographic": lens }),
        json!({}),
    );
    for (width, height, expected) in [(400, 100, 3.0), (100, 100, 4.0), (50, 100, 8.0)] {
        let camera = camera(&builder, size(width, height));
        assert_eq!(
            camera.projection,
            Projection::Orthographic {
                half_height: expected
            }
        );
    }
}

#[test]
fn a_flattened_camera_still_has_three_axes() {
    let lens = json!({ "type": "perspective", "perspective": { "yfov": 1, "znear": 0.1 } });
    for scale in [[0, 0, 0], [1, 0, 1], [1, 1, 0], [0, 1, 1]] {
        let builder = with_camera(lens.clone(), json!({ "scale": scale }));
        let camera = camera(&builder, size(10, 10));
        for axis in [camera.right, camera.up, camera.forward] {
            assert!((axis.length() - 1.0).abs() < 1e-6, "{scale:?}");
        }
        assert!(camera.right.dot(camera.forward).abs() < 1e-6, "{scale:?}");
    }
}

#[test]
fn cameras_move_with_their_nodes_and_the_first_is_used() {
    let lens = json!({ "type": "perspective", "perspective": { "yfov": 1, "znear": 0.1 } });
    let mut builder = with_camera(lens, json!({ "name": "First" }));
    builder.root(json!({ "name": "Second", "camera": 0, "translation": [50, 0, 0] }));
    builder.json["asset"]["extras"] = json!({ "fps": 1 });
    builder.animate(
        1,
        "translation",
        "LINEAR",
        &[0.0, 2.0],
        &[0.0, 0.0, 0.0, 0.0, 6.0, 0.0],
    );
    assert_close(builder.world(2).camera.position, [0.0, 3.0, 0.0]);
    let scene = builder.load().unwrap();
    assert_eq!(scene.about().cameras, ["First", "Second"]);
    assert_eq!(
        scene.about().notes[0],
        "2 cameras: `First`, the first, is used"
    );
}

#[test]
fn impossible_lenses_are_refused() {
    for lens in [
        json!({ "yfov": 0, "znear": 0.1 }),
        json!({ "yfov": 3.2, "znear": 0.1 }),
        json!({ "yfov": 1, "znear": -1 }),
        json!({ "yfov": 1, "znear": 2, "zfar": 1 }),
    ] {
        let builder = with_camera(
            json!({ "type": "perspective", "perspective": lens }),
            json!({}),
        );
        assert!(builder.fault().contains("impossible lens"), "{lens}");
    }
}

/// Where a point falls in the image: -1 to 1 is inside.
fn projected(camera: &Camera, size: Size, point: Vec3) -> [f32; 2] {
    let arm = point - camera.position;
    let depth = arm.dot(camera.forward);
    assert!(depth > camera.near, "{point:?} is behind the camera");
    let tan_y = tan_half_y(camera);
    let tan_x = tan_y * size.width as f32 / size.height as f32;
    [
        arm.dot(camera.right) / depth / tan_x,
        arm.dot(camera.up) / depth / tan_y,
    ]
}

fn extent(world: &World, size: Size) -> f32 {
    let points = world.meshes.iter().flat_map(|mesh| &mesh.positions);
    points
        .flat_map(|&point| projected(&world.camera, size, point))
        .fold(0.0, |largest, at| math::max(largest, at.abs()))
}

#[test]
fn scenes_without_a_camera_are_framed_in_any_shape() {
    for scale in [
        [1.0, 1.0, 1.0],
        [100.0, 1.0, 1.0],
        [0.01, 30.0, 1.0],
        [1e-6, 1e-6, 1e-6],
    ] {
        let mut builder = Builder::triangle();
        builder.json["nodes"][0]["scale"] = json!(scale);
        builder.json["nodes"][0]["translation"] = json!([3, -20, 7]);
        builder.root(json!({ "mesh": 0, "scale": scale, "rotation": QUARTER_ABOUT_Y }));
        let scene = builder.load().unwrap();
        assert!(scene.about().notes[0].contains("framed automatically"));
        for size in [
            size(640, 360),
            size(360, 640),
            size(100, 100),
            size(2000, 100),
            size(100, 2000),
        ] {
            let extent = extent(&scene.world(1, size).unwrap(), size);
            assert!(extent < 1.0, "{scale:?} at {size}: {extent}");
            assert!(extent > 0.6, "{scale:?} at {size}: {extent}");
        }
    }
}

#[test]
fn the_automatic_camera_stands_still_and_sees_the_whole_animation() {
    let mut builder = Builder::triangle();
    builder.animate(
        0,
        "translation",
        "LINEAR",
        &[0.0, 1.0, 2.0],
        &[0.0, 0.0, 0.0, 50.0, 9.0, 0.0, 0.0, 0.0, -8.0],
    );
    let scene = builder.load().unwrap();
    let size = size(320, 180);
    let first = scene.world(1, size).unwrap().camera;
    for frame in 1..=scene.about().frames.1 {
        let world = scene.world(frame, size).unwrap();
        assert_eq!(world.camera, first);
        assert!(extent(&world, size) < 1.0, "frame {frame}");
    }
}

#[test]
fn a_scene_of_one_point_is_still_framed() {
    let mut builder = Builder::triangle();
    builder.json["nodes"][0]["scale"] = json!([0, 0, 0]);
    let world = builder.world(1);
    assert!(world.camera.position.is_finite() && world.camera.position.length() > 0.5);
}

#[test]
fn lights_follow_their_nodes_but_not_their_scale() {
    let mut builder = Builder::triangle();
    builder.json["extensionsRequired"] = json!(["KHR_lights_punctual"]);
    builder.json["extensions"]["KHR_lights_punctual"]["lights"] = json!([
        { "type": "point", "color": [1, 0.5, 0], "intensity": 10, "range": 3 },
        { "type": "directional" },
        { "type": "spot", "intensity": 2, "spot": { "innerConeAngle": 0, "outerConeAngle": std::f32::consts::FRAC_PI_3 } },
    ]);
    for light in 0..3 {
        builder.root(json!({
            "translation": [0, light, 0], "rotation": QUARTER_ABOUT_Y, "scale": [3, 3, 3],
            "extensions": { "KHR_lights_punctual": { "light": light } }
        }));
    }
    let world = builder.world(1);
    let [point, sun, spot] = world.lights[..] else {
        panic!("{} lights", world.lights.len());
    };
    assert_eq!(
        point.kind,
        LightKind::Point {
            position: Vec3::ZERO
        }
    );
    assert_eq!(
        (point.intensity, point.range),
        (Vec3::from([10.0, 5.0, 0.0]), 3.0)
    );
    let LightKind::Directional { direction } = sun.kind else {
        panic!("{:?}", sun.kind);
    };
    assert_close(direction, [-1.0, 0.0, 0.0]);
    assert_eq!((sun.intensity, sun.range), (Vec3::ONE, f32::INFINITY));
    let LightKind::Spot {
        position,
        direction,
        cos_inner,
        cos_outer,
    } = spot.kind
    else {
        panic!("{:?}", spot.kind);
    };
    assert_close(position, [0.0, 2.0, 0.0]);
    assert_close(direction, [-1.0, 0.0, 0.0]);
    assert!((cos_inner - 1.0).abs() < 1e-6 && (cos_outer - 0.5).abs() < 1e-6);
    // Lights and no named environment: black around.
    assert!(matches!(
        *world.environment,
        Environment::Constant(Vec3::ZERO)
    ));
}

#[test]
fn emitting_materials_make_the_surroundings_black() {
    let mut builder = Builder::triangle();
    builder.add("materials", json!({ "emissiveFactor": [1, 1, 1] }));
    assert!(matches!(
        *builder.world(1).environment,
        Environment::Constant(Vec3::ONE)
    ));
    builder.json["meshes"][0]["primitives"][0]["material"] = json!(0);
    assert!(matches!(
        *builder.world(1).environment,
        Environment::Constant(Vec3::ZERO)
    ));
}

#[test]
fn constant_environments_are_scaled() {
    let mut builder = Builder::triangle();
    builder.json["scenes"][0]["extras"] =
        json!({ "environment": { "color": [0.5, 0.25, 0], "strength": 4 } });
    let world = builder.world(1);
    let Environment::Constant(color) = *world.environment else {
        panic!("{:?}", world.environment);
    };
    assert_eq!(color, Vec3::from([2.0, 1.0, 0.0]));
    let scene = builder.load().unwrap();
    assert_eq!(
        scene.about().notes,
        ["no camera: the scene is framed automatically"]
    );
    builder.json["scenes"][0]["extras"] = json!({ "environment": { "strength": 4 } });
    assert!(builder.fault().contains("either color or map"));
}

/// A Radiance file, 2x1 pixels: 1, 2, 4 and 0.5, 0, 0.
const RADIANCE: &[u8] =
    b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n\x20\x40\x80\x83\x80\x00\x00\x80";

#[test]
fn radiance_and_openexr_maps_are_read_turned_and_scaled() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "sky.hdr", RADIANCE);
    let pixel = |x: usize, _: usize| [(1.0f32, 2.0f32, 4.0f32), (0.5, 0.0, 0.0)][x];
    exr::prelude::write_rgb_file(folder.path().join("sky.exr"), 2, 1, pixel).unwrap();
    for map in ["sky.hdr", "sky.exr"] {
        let mut builder = Builder::triangle();
        builder.json["scenes"][0]["extras"]["environment"] =
            json!({ "map": map, "strength": 2, "rotation_degrees": 180 });
        let file = write(folder.path(), "scene.glb", &builder.glb());
        assert_eq!(
            Scene::dependencies(&file).unwrap(),
            [std::path::PathBuf::from(map)]
        );
        let world = Scene::load(&file).unwrap().world(1, size(8, 8)).unwrap();
        let Environment::Map {
            width: 2,
            height: 1,
            pixels,
        } = &*world.environment
        else {
            panic!("{map}: {:?}", world.environment);
        };
        assert_eq!(
            *pixels,
            [Vec3::from([1.0, 0.0, 0.0]), Vec3::from([2.0, 4.0, 8.0])]
        );
    }
}
