//! Is a world consistent? Checked once, so that the inner loops may trust every index.

use super::RenderError;
use crate::world::{Environment, Material, Mesh, TextureRef, World};

/// Refuses indices out of range and lists of the wrong length.
pub(super) fn world(world: &World) -> Result<(), RenderError> {
    for (index, mesh) in world.meshes.iter().enumerate() {
        check_mesh(mesh, world.materials.len())
            .map_err(|problem| RenderError::World(format!("mesh {index} {problem}")))?;
    }
    for material in &world.materials {
        for usage in texture_uses(material) {
            if usage.texture >= world.textures.len() {
                return Err(RenderError::World(format!(
                    "material `{}` uses image {} of {}",
                    material.name,
                    usage.texture,
                    world.textures.len()
                )));
            }
        }
    }
    for (index, texture) in world.textures.iter().enumerate() {
        check_image(texture.width, texture.height, texture.pixels.len())
            .map_err(|problem| RenderError::World(format!("image {index} {problem}")))?;
    }
    if let Environment::Map {
        width,
        height,
        pixels,
    } = &*world.environment
    {
        check_image(*width, *height, pixels.len())
            .map_err(|problem| RenderError::World(format!("the environment map {problem}")))?;
    }
    check_camera(world)
}

fn check_mesh(mesh: &Mesh, materials: usize) -> Result<(), String> {
    let vertices = mesh.positions.len();
    let lists = [
        ("normals", mesh.normals.len()),
        ("tangents", mesh.tangents.len()),
        ("texture coordinates", mesh.texcoords[0].len()),
        ("texture coordinates", mesh.texcoords[1].len()),
        ("colours", mesh.colors.len()),
    ];
    for (name, length) in lists {
        if length != 0 && length != vertices {
            return Err(format!("has {length} {name} for {vertices} vertices"));
        }
    }
    if mesh.material >= materials {
        return Err(format!("uses material {} of {materials}", mesh.material));
    }
    let outside = |corner: &&u32| **corner as usize >= vertices;
    match mesh.triangles.iter().flatten().find(outside) {
        Some(corner) => Err(format!("uses vertex {corner} of {vertices}")),
        None => Ok(()),
    }
}

fn texture_uses(material: &Material) -> impl Iterator<Item = &TextureRef> {
    [
        &material.base_color_texture,
        &material.metallic_roughness_texture,
        &material.normal_texture,
        &material.emissive_texture,
    ]
    .into_iter()
    .flatten()
}

fn check_image(width: u32, height: u32, pixels: usize) -> Result<(), String> {
    let expected = u64::from(width) * u64::from(height);
    // Indices are computed in i32 and sides are doubled to mirror them.
    let side_max = 1 << 24;
    if expected == 0 || width > side_max || height > side_max || expected != pixels as u64 {
        return Err(format!("is {width}x{height} with {pixels} pixels"));
    }
    Ok(())
}

fn check_camera(world: &World) -> Result<(), RenderError> {
    let camera = &world.camera;
    let vectors = [camera.position, camera.right, camera.up, camera.forward];
    if vectors.iter().all(|vector| vector.is_finite()) && camera.near < camera.far {
        return Ok(());
    }
    Err(RenderError::World(
        "the camera's place is not finite, or its clipping planes leave nothing".into(),
    ))
}
