//! Meshes as the file stores them: attributes, triangles and morph targets of each primitive, at rest.

use super::accessor::Accessors;
use super::error::{self, Fault};
use super::schema;
use super::tangents;
use crate::math::{Vec3, vec3};
use crate::world::Material;
use std::collections::BTreeMap;

/// Sets of four joints that one vertex may have.
const JOINT_SETS_MAX: usize = 8;
/// Bytes that a vertex of a [`crate::world::Mesh`] takes at most.
const WORLD_VERTEX_BYTES: u64 = 72;
/// Bytes that a triangle takes.
const TRIANGLE_BYTES: u64 = 12;

const POINTS: u32 = 0;
const LINE_STRIP: u32 = 3;
const TRIANGLES: u32 = 4;
const TRIANGLE_STRIP: u32 = 5;
const TRIANGLE_FAN: u32 = 6;

/// Triangles with one material. Per-vertex lists are empty or as long as `positions`.
#[derive(Debug, Default)]
pub(super) struct Primitive {
    pub positions: Vec<Vec3>,
    pub normals: Vec<Vec3>,
    pub tangents: Vec<(Vec3, f32)>,
    pub texcoords: [Vec<[f32; 2]>; 2],
    pub colors: Vec<[f32; 4]>,
    /// Sets of four joints and their weights.
    pub influences: Vec<InfluenceSet>,
    pub targets: Vec<MorphTarget>,
    pub triangles: Vec<[u32; 3]>,
    pub material: usize,
}

/// Four joints of each vertex, and their weights.
#[derive(Debug, Default)]
pub(super) struct InfluenceSet {
    pub joints: Vec<[u16; 4]>,
    pub weights: Vec<[f32; 4]>,
}

/// What a weight of one adds to each vertex.
#[derive(Debug, Default)]
pub(super) struct MorphTarget {
    pub positions: Vec<Vec3>,
    pub normals: Vec<Vec3>,
    pub tangents: Vec<Vec3>,
}

impl Primitive {
    /// Bytes of the world-space mesh that is made of it for a frame.
    pub fn world_bytes(&self) -> u64 {
        self.positions.len() as u64 * WORLD_VERTEX_BYTES
            + self.triangles.len() as u64 * TRIANGLE_BYTES
    }

    /// Appends copies of vertices.
    pub fn duplicate(&mut self, vertices: &[u32]) {
        fn copy<T: Copy>(list: &mut Vec<T>, vertices: &[u32]) {
            if !list.is_empty() {
                list.reserve(vertices.len());
                for &vertex in vertices {
                    list.push(list[vertex as usize]);
                }
            }
        }
        copy(&mut self.positions, vertices);
        copy(&mut self.normals, vertices);
        copy(&mut self.tangents, vertices);
        copy(&mut self.colors, vertices);
        for set in &mut self.texcoords {
            copy(set, vertices);
        }
        for set in &mut self.influences {
            copy(&mut set.joints, vertices);
            copy(&mut set.weights, vertices);
        }
        for target in &mut self.targets {
            copy(&mut target.positions, vertices);
            copy(&mut target.normals, vertices);
            copy(&mut target.tangents, vertices);
        }
    }
}

/// Reads a primitive; none when it shows no triangles (points, lines, or nothing at all).
///
/// `materials` decides whether tangents are made where the file has none; `fallback` is the material of
/// primitives that name none.
pub(super) fn primitive(
    entry: &schema::Primitive,
    materials: &[Material],
    fallback: usize,
    accessors: &mut Accessors,
    warnings: &mut Vec<String>,
) -> Result<Option<Primitive>, Fault> {
    let mode = entry.mode.unwrap_or(TRIANGLES);
    if (POINTS..=LINE_STRIP).contains(&mode) {
        warnings.push("points and lines are not rendered".to_owned());
        return Ok(None);
    }
    let attributes = &entry.attributes;
    let Some(&positions) = attributes.get("POSITION") else {
        warnings.push("a mesh without positions is not rendered".to_owned());
        return Ok(None);
    };
    let mut primitive = Primitive {
        positions: vectors(accessors, positions)?,
        material: match entry.material {
            Some(index) => {
                error::entry(&materials[..fallback], index, "material")?;
                index as usize
            }
            None => fallback,
        },
        ..Primitive::default()
    };
    primitive.triangles = triangles(entry, mode, primitive.positions.len(), accessors)?;
    if primitive.triangles.is_empty() {
        return Ok(None);
    }
    read_attributes(&mut primitive, attributes, accessors)?;
    for target in &entry.targets {
        primitive.targets.push(morph_target(target, accessors)?);
    }
    check_lengths(&primitive)?;
    add_tangents(&mut primitive, materials, accessors)?;
    Ok(Some(primitive))
}

fn vectors(accessors: &mut Accessors, index: u32) -> Result<Vec<Vec3>, Fault> {
    let values = accessors.floats::<3>(index)?;
    Ok(values.into_iter().map(Vec3::from).collect())
}

fn read_attributes(
    primitive: &mut Primitive,
    attributes: &BTreeMap<String, u32>,
    accessors: &mut Accessors,
) -> Result<(), Fault> {
    if let Some(&index) = attributes.get("NORMAL") {
        primitive.normals = vectors(accessors, index)?;
    }
    if let Some(&index) = attributes.get("TANGENT") {
        let tangents = accessors.floats::<4>(index)?;
        let sign = |w: f32| if w < 0.0 { -1.0 } else { 1.0 };
        primitive.tangents = tangents
            .into_iter()
            .map(|[x, y, z, w]| (vec3(x, y, z), sign(w)))
            .collect();
    }
    for (set, name) in ["TEXCOORD_0", "TEXCOORD_1"].into_iter().enumerate() {
        if let Some(&index) = attributes.get(name) {
            primitive.texcoords[set] = accessors.floats::<2>(index)?;
        }
    }
    if let Some(&index) = attributes.get("COLOR_0") {
        primitive.colors = match accessors.width(index)? {
            3 => {
                let colors = accessors.floats::<3>(index)?;
                colors.into_iter().map(|[r, g, b]| [r, g, b, 1.0]).collect()
            }
            _ => accessors.floats::<4>(index)?,
        };
    }
    for set in 0..JOINT_SETS_MAX {
        let joints = attributes.get(&format!("JOINTS_{set}"));
        let weights = attributes.get(&format!("WEIGHTS_{set}"));
        let Some((&joints, &weights)) = joints.zip(weights) else {
            break;
        };
        primitive.influences.push(InfluenceSet {
            joints: accessors.joints(joints)?,
            weights: accessors.floats::<4>(weights)?,
        });
    }
    Ok(())
}

fn morph_target(
    entry: &BTreeMap<String, u32>,
    accessors: &mut Accessors,
) -> Result<MorphTarget, Fault> {
    let mut read = |name: &str| match entry.get(name) {
        Some(&index) => vectors(accessors, index),
        None => Ok(Vec::new()),
    };
    Ok(MorphTarget {
        positions: read("POSITION")?,
        normals: read("NORMAL")?,
        tangents: read("TANGENT")?,
    })
}

fn check_lengths(primitive: &Primitive) -> Result<(), Fault> {
    let mut lengths = vec![
        primitive.normals.len(),
        primitive.tangents.len(),
        primitive.colors.len(),
        primitive.texcoords[0].len(),
        primitive.texcoords[1].len(),
    ];
    for set in &primitive.influences {
        lengths.extend([set.joints.len(), set.weights.len()]);
    }
    for target in &primitive.targets {
        lengths.extend([
            target.positions.len(),
            target.normals.len(),
            target.tangents.len(),
        ]);
    }
    let vertices = primitive.positions.len();
    match lengths.into_iter().find(|&n| n != 0 && n != vertices) {
        Some(length) => Err(Fault::Damaged(format!(
            "a mesh of {vertices} vertices has an attribute for {length}"
        ))),
        None => Ok(()),
    }
}

/// Triangles as vertex indices, every one of them in range.
fn triangles(
    entry: &schema::Primitive,
    mode: u32,
    vertices: usize,
    accessors: &mut Accessors,
) -> Result<Vec<[u32; 3]>, Fault> {
    let corners = match entry.indices {
        Some(index) => accessors.indices(index)?,
        None => {
            accessors.charge(vertices as u64 * 4)?;
            (0..vertices as u32).collect()
        }
    };
    if let Some(&corner) = corners.iter().find(|&&corner| corner as usize >= vertices) {
        return Err(Fault::Damaged(format!(
            "a mesh of {vertices} vertices refers to vertex {corner}"
        )));
    }
    accessors.charge(corners.len() as u64 * TRIANGLE_BYTES)?;
    Ok(match mode {
        TRIANGLES => corners.as_chunks::<3>().0.to_vec(),
        TRIANGLE_STRIP => (2..corners.len())
            .map(|end| {
                let (a, b, c) = (corners[end - 2], corners[end - 1], corners[end]);
                if end % 2 == 0 { [a, b, c] } else { [a, c, b] }
            })
            .collect(),
        TRIANGLE_FAN => (2..corners.len())
            .map(|end| [corners[end - 1], corners[end], corners[0]])
            .collect(),
        _ => return Err(Fault::Damaged(format!("{mode} is not a primitive mode"))),
    })
}

/// Makes tangents where a normal map needs them and the file has none; drops them where nothing needs them.
fn add_tangents(
    primitive: &mut Primitive,
    materials: &[Material],
    accessors: &mut Accessors,
) -> Result<(), Fault> {
    let Some(map) = &materials[primitive.material].normal_texture else {
        primitive.tangents = Vec::new();
        return Ok(());
    };
    if primitive.tangents.is_empty() && !primitive.texcoords[map.texcoord].is_empty() {
        let vertices = primitive.positions.len() as u64;
        accessors.charge(vertices * (WORLD_VERTEX_BYTES + TRIANGLE_BYTES))?;
        tangents::generate(primitive, map.texcoord);
    }
    Ok(())
}
