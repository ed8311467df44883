//! The same bits on every machine and build: a change of the hash is a change of every rendered pixel's history.

use crate::builder::{Builder, size};
use tracer::math::Vec3;
use tracer::world::{LightKind, Projection, World};

fn vectors(hasher: &mut blake3::Hasher, vectors: &[Vec3]) {
    for value in vectors.iter().flat_map(|vector| vector.to_array()) {
        hasher.update(&value.to_bits().to_le_bytes());
    }
}

fn numbers(hasher: &mut blake3::Hasher, values: &[f32]) {
    for value in values {
        hasher.update(&value.to_bits().to_le_bytes());
    }
}

fn add(hasher: &mut blake3::Hasher, world: &World) {
    let camera = &world.camera;
    vectors(
        hasher,
        &[camera.position, camera.right, camera.up, camera.forward],
    );
    match camera.projection {
        Projection::Perspective { tan_half_y } => numbers(hasher, &[tan_half_y]),
        Projection::Orthographic { half_height } => numbers(hasher, &[half_height]),
    }
    for mesh in &world.meshes {
        vectors(hasher, &mesh.positions);
        vectors(hasher, &mesh.normals);
        for &(tangent, sign) in &mesh.tangents {
            vectors(hasher, &[tangent]);
            numbers(hasher, &[sign]);
        }
    }
    for texture in world.textures.iter() {
        numbers(hasher, texture.pixels.as_flattened());
    }
    for light in &world.lights {
        if let LightKind::Spot {
            position,
            direction,
            cos_inner,
            cos_outer,
        } = light.kind
        {
            vectors(hasher, &[position, direction]);
            numbers(hasher, &[cos_inner, cos_outer]);
        }
    }
}

#[test]
fn worlds_have_the_same_bits_everywhere() {
    let seen = Builder::everything();
    let mut framed = Builder::everything();
    framed.json.as_object_mut().unwrap().remove("cameras");
    for node in framed.json["nodes"].as_array_mut().unwrap() {
        node.as_object_mut().unwrap().remove("camera");
    }
    let mut hasher = blake3::Hasher::new();
    for builder in [seen, framed] {
        let scene = builder.load().unwrap();
        for frame in [1, 2, 7, 13, 24, 25] {
            add(&mut hasher, &scene.world(frame, size(640, 360)).unwrap());
        }
    }
    assert_eq!(
        hasher.finalize().to_hex()[..32],
        *"1c9fa3a890dc8b6773889942bfa3272c"
    );
}
