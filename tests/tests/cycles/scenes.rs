//! The scenes that both engines render, and where in their files the numbers stand that the tests change.

use crate::gltf::{Gltf, Shape};
use serde_json::{Value, json};

/// Of [`interior`].
pub const LAMP_STRENGTH: &str =
    "/materials/0/extensions/KHR_materials_emissive_strength/emissiveStrength";
/// Pixel rows from the top in which the lamp of [`interior`] is seen, and some more.
pub const LAMP_ROWS_PX: u32 = 4;
/// Of the middle sphere in [`sky`].
pub const SPHERE_ROUGHNESS: &str = "/materials/1/pbrMetallicRoughness/roughnessFactor";
/// The red of the roughest gold in [`furnace`].
pub const GOLD_RED: &str = "/materials/4/pbrMetallicRoughness/baseColorFactor/0";
/// In [`punctual`]: point, spot, directional.
pub const PUNCTUAL_LIGHTS: std::ops::Range<usize> = 0..3;

/// Of one of these.
pub fn light_intensity(light: usize) -> String {
    format!("/extensions/KHR_lights_punctual/lights/{light}/intensity")
}

const UPRIGHT: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

fn matte(color: [f32; 3]) -> Value {
    let [red, green, blue] = color;
    json!({ "pbrMetallicRoughness": {
        "baseColorFactor": [red, green, blue, 1.0], "metallicFactor": 0.0, "roughnessFactor": 1.0
    } })
}

fn metal(color: [f32; 3], roughness: f32) -> Value {
    let mut material = matte(color);
    material["pbrMetallicRoughness"]["metallicFactor"] = json!(1.0);
    material["pbrMetallicRoughness"]["roughnessFactor"] = json!(roughness);
    material
}

fn lamp(color: [f32; 3], strength: f32) -> Value {
    let mut material = metal([0.0; 3], 1.0);
    material["emissiveFactor"] = json!(color);
    material["extensions"] =
        json!({ "KHR_materials_emissive_strength": { "emissiveStrength": strength } });
    material
}

/// Matte walls and blocks inside a closed room under a lamp at its ceiling: many bounces.
pub fn interior() -> Gltf {
    let (right, up, away) = ([3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, -3.0]);
    let near = away.map(|c: f32| -c);
    let corner = [-1.5, 0.0, 1.5];
    let floor_and_white_walls = Shape::default()
        .quad(corner, right, away)
        .quad([-1.5, 2.0, -1.5], right, near)
        .quad([-1.5, 0.0, -1.5], right, up)
        .quad(corner, up, right);
    let shape = Shape::default;
    Gltf::seen_from([0.0, 1.0, 1.45], 0.0, 0.9)
        .shape(
            &shape().quad([-0.5, 1.98, -0.7], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
            lamp([1.0, 0.85, 0.6], 10.0),
        )
        .shape(&floor_and_white_walls, matte([0.75, 0.75, 0.75]))
        .shape(&shape().quad(corner, away, up), matte([0.6, 0.1, 0.08]))
        .shape(
            &shape().quad([1.5, 0.0, -1.5], near, up),
            matte([0.1, 0.5, 0.12]),
        )
        .shape(
            &shape().block([-0.9, 0.0, -0.9], [0.7, 1.1, 0.7], 0.4),
            matte([0.5, 0.5, 0.7]),
        )
        .shape(
            &shape().block([0.2, 0.0, -0.2], [0.6, 0.5, 0.6], -0.3),
            matte([0.7, 0.6, 0.3]),
        )
}

fn row_of_spheres(mut gltf: Gltf, materials: &[Value]) -> Gltf {
    for (index, material) in materials.iter().enumerate() {
        let x = index as f32 - (materials.len() - 1) as f32 / 2.0;
        let shape = Shape::default().sphere([x * 0.95, 0.0, 0.0], 0.45);
        gltf = gltf.shape(&shape, material.clone());
    }
    gltf
}

/// Spheres of every roughness under a uniform sky: how much they reflect in all. White metals lose nothing.
pub fn furnace() -> Gltf {
    let materials = [
        metal([1.0; 3], 0.25),
        metal([1.0; 3], 0.6),
        metal([1.0; 3], 1.0),
        metal([0.9, 0.5, 0.1], 0.5),
        metal([0.9, 0.5, 0.1], 1.0),
        matte([0.9, 0.5, 0.1]),
    ];
    row_of_spheres(Gltf::seen_from([0.0, 0.0, 6.0], 0.0, 0.65), &materials)
        .environment(json!({ "color": [0.5, 0.7, 1.0], "strength": 1.5 }))
}

/// A latitude-longitude map with a bright spot and no two columns alike.
fn map() -> Vec<u8> {
    let (width, height) = (64usize, 32usize);
    let pixel = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        let (dx, dy) = (x - 45.0, y - 8.0);
        let sun = 8.0 * (-(dx * dx + dy * dy) / 8.0).exp();
        let blue = 0.3 + 0.7 * (1.0 - y / height as f32);
        let red = 0.5 * x / width as f32 + 0.1;
        image::Rgb([sun + red, sun * 0.9 + blue * 0.5, sun * 0.7 + blue])
    };
    let pixels: Vec<_> = (0..width * height).map(pixel).collect();
    let mut bytes = Vec::new();
    image::codecs::hdr::HdrEncoder::new(&mut bytes)
        .encode(&pixels, width, height)
        .expect("a map is encoded");
    bytes
}

/// Smooth metal spheres over a metal floor under a map: the lobes' shapes and colours.
pub fn sky() -> Gltf {
    let materials = [
        metal([0.95, 0.95, 0.95], 0.1),
        metal([0.9, 0.6, 0.2], 0.15),
        metal([0.9, 0.3, 0.3], 0.2),
    ];
    let floor = Shape::default().quad([-3.0, -0.45, 1.5], [6.0, 0.0, 0.0], [0.0, 0.0, -4.0]);
    row_of_spheres(Gltf::seen_from([0.0, 0.6, 3.3], 0.18, 0.5), &materials)
        .shape(&floor, metal([0.5, 0.55, 0.6], 0.1))
        .file("sky.hdr", map())
        .environment(json!({ "map": "sky.hdr", "strength": 0.8 }))
}

/// A point, a spot and a directional light, each mirrored by a textured metal floor with a block, and a little light
/// from everywhere, so that nothing is black.
pub fn punctual() -> Gltf {
    let squares = image::RgbImage::from_fn(16, 16, |x, y| {
        let blue = if (x + y) % 2 == 0 { 200 } else { 90 };
        image::Rgb([(x * 16 + 15) as u8, (y * 16 + 15) as u8, blue])
    });
    let mut material = metal([1.0; 3], 0.2);
    material["pbrMetallicRoughness"]["baseColorTexture"] = json!({ "index": 0 });
    let downwards = |angle: f32| [-(angle / 2.0).sin(), 0.0, 0.0, (angle / 2.0).cos()];
    let floor = Shape::default().quad([-3.0, 0.0, 3.0], [6.0, 0.0, 0.0], [0.0, 0.0, -6.0]);
    let block = Shape::default().block([0.1, 0.0, -0.3], [0.4, 0.3, 0.4], 0.5);
    Gltf::seen_from([0.0, 2.2, 2.2], 0.8, 0.7)
        .environment(json!({ "color": [0.2, 0.2, 0.2] }))
        .texture("squares.png", &squares)
        .shape(&floor, material.clone())
        .shape(&block, material)
        .light(
            json!({ "type": "point", "intensity": 2.0, "color": [1.0, 0.8, 0.6] }),
            [-0.9, 0.8, -0.4],
            UPRIGHT,
        )
        .light(
            json!({
                "type": "spot", "intensity": 16.0, "color": [0.5, 0.8, 1.0],
                "spot": { "outerConeAngle": 0.5, "innerConeAngle": 0.4995 }
            }),
            [1.0, 1.5, -1.0],
            downwards(2.2),
        )
        .light(
            json!({ "type": "directional", "intensity": 0.5 }),
            [0.0; 3],
            downwards(2.5),
        )
}
