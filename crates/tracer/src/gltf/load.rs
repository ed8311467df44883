//! From a file's bytes to a [`Scene`]: the steps in their order, and what the user is told about it.

use super::accessor::Accessors;
use super::animation::{self, Channel};
use super::camera::{self, ViewBounds};
use super::container::{Address, Source};
use super::environment::{self, extra};
use super::error::{Fault, entry};
use super::geometry;
use super::hierarchy::Hierarchy;
use super::images;
use super::lights::{self, NodeLight};
use super::limits::{
    FRAME_RATE_MAX, GEOMETRY_BYTES_MAX, JOINTS_MAX, TEXTURE_PIXELS_MAX, TRIANGLES_MAX,
};
use super::materials::{self, Materials, TextureUse};
use super::schema::{self, Document, Extras};
use super::{About, FRAME_RATE_DEFAULT, LoadedMesh, Scene, Skin, View};
use crate::math::Vec3;
use crate::transform::Affine;
use crate::world::{Environment, Material, Texture};
use protocol::limits::JOB_FRAMES_MAX;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extensions that are read, or that change nothing about how a file is read.
const EXTENSIONS: [&str; 5] = [
    "KHR_lights_punctual",
    "KHR_materials_emissive_strength",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
];

/// Frames that are looked at to frame an animated scene without a camera.
const FRAMING_SAMPLES_MAX: i32 = 64;
/// Vertices that are placed at most to find that frame; a larger scene is looked at less often.
const FRAMING_VERTICES_MAX: u64 = 100_000_000;
/// Bytes that a joint of a skin takes.
const JOINT_BYTES: u64 = (size_of::<Affine>() + size_of::<usize>()) as u64;
/// Warnings and notes that are kept.
const WARNINGS_MAX: usize = 50;

/// See [`Scene::load`].
pub(super) fn scene(path: &Path) -> Result<Scene, Fault> {
    let mut source = Source::open(path)?;
    let mut warnings = extension_warnings(&source.document)?;
    let hierarchy = hierarchy(&mut source.document)?;
    let shown = shown_meshes(&source.document, &hierarchy)?;
    let used = used_materials(&source.document, &shown);
    let Materials { materials, uses } =
        materials::materials(&source.document, &used, &mut warnings)?;

    let buffers = source.buffers()?;
    let document = &source.document;
    let mut accessors = Accessors::new(document, &buffers);
    let meshes = meshes(document, &shown, &materials, &mut accessors, &mut warnings)?;
    let skins = skins(document, &hierarchy, &mut accessors)?;
    let channels = animation::channels(
        &document.animations,
        &hierarchy,
        &mut accessors,
        &mut warnings,
    )?;
    let (shown_camera, cameras) = camera::cameras(&document.cameras, &hierarchy)?;
    let no_lights = Vec::new();
    let declared = document.extensions.lights.as_ref();
    let lights = lights::lights(declared.map_or(&no_lights, |l| &l.lights), &hierarchy)?;
    let extras = scene_extras(document);
    let frame_rate = frame_rate(document, extras, &mut warnings);
    let settings = environment::settings(extras)?;
    let textures = textures(&mut source, &buffers, &uses)?;

    let mut notes = Vec::new();
    camera_notes(&cameras, &mut notes);
    let environment = match settings {
        Some(settings) => settings.load(&mut source)?,
        None => default_environment(&lights, &materials, &used, &mut notes),
    };
    let (view, framed) = match shown_camera {
        Some(shown) => (View::Camera(shown), false),
        None => (View::Framing(ViewBounds::new()), true),
    };
    let about = About {
        notes,
        frames: (1, last_frame(&channels, frame_rate, &mut warnings)),
        warnings: distinct(warnings),
        frame_rate,
        triangles: triangle_count(&hierarchy, &meshes)?,
        has_animation: !channels.is_empty(),
        cameras,
    };
    let mut scene = Scene {
        file: path.to_owned(),
        about,
        hierarchy,
        channels,
        meshes,
        skins,
        view,
        lights,
        materials,
        textures: Arc::new(textures),
        environment: Arc::new(environment),
    };
    if framed {
        scene.view = View::Framing(scene.bounds_over_time()?);
    }
    Ok(scene)
}

/// See [`Scene::dependencies`].
pub(super) fn dependencies(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut source = Source::open(path)?;
    extension_warnings(&source.document)?;
    let hierarchy = hierarchy(&mut source.document)?;
    let document = &source.document;
    let shown = shown_meshes(document, &hierarchy)?;
    let used = used_materials(document, &shown);
    let uses = materials::materials(document, &used, &mut Vec::new())?.uses;
    let images = uses
        .iter()
        .filter_map(|used| document.images.get(used.image as usize))
        .filter_map(|image| image.uri.as_deref());
    let buffers = document
        .buffers
        .iter()
        .filter_map(|buffer| buffer.uri.as_deref());
    let settings = environment::settings(scene_extras(document))?;
    let mut addresses = Vec::new();
    for uri in buffers.chain(images) {
        addresses.push(Address::parse(uri)?);
    }
    if let Some(settings) = &settings {
        addresses.extend(settings.address()?);
    }
    let files: BTreeSet<PathBuf> = addresses
        .into_iter()
        .filter_map(|address| match address {
            Address::File(path) => Some(path),
            Address::Data(_) => None,
        })
        .collect();
    let missing: Vec<String> = files
        .iter()
        .filter(|file| !source.has_file(file))
        .map(|file| file.display().to_string())
        .collect();
    match missing.is_empty() {
        true => Ok(files.into_iter().collect()),
        false => Err(Fault::MissingFiles(missing)),
    }
}

/// Refuses required extensions that are not read, and warns of optional ones.
fn extension_warnings(document: &Document) -> Result<Vec<String>, Fault> {
    let unknown = |name: &&String| !EXTENSIONS.contains(&name.as_str());
    if let Some(name) = document.extensions_required.iter().find(unknown) {
        return Err(Fault::RequiredExtension(name.chars().take(80).collect()));
    }
    let ignored = document.extensions_used.iter().filter(unknown);
    Ok(ignored
        .map(|name| {
            let name: String = name.chars().take(80).collect();
            format!("the extension {name} is not supported and ignored")
        })
        .collect())
}

/// The scene that is shown, if the file has any.
fn shown_scene(document: &Document) -> Option<&schema::Scene> {
    let scene = document.scene.unwrap_or(0);
    document.scenes.get(scene as usize)
}

fn scene_extras(document: &Document) -> &Extras {
    shown_scene(document).map_or(&None, |scene| &scene.extras)
}

fn hierarchy(document: &mut Document) -> Result<Hierarchy, Fault> {
    let nodes = std::mem::take(&mut document.nodes);
    if let Some(scene) = document.scene {
        entry(&document.scenes, scene, "scene")?;
    }
    Hierarchy::new(nodes, shown_scene(document).map(|s| s.nodes.as_slice()))
}

/// Which meshes of the file the scene shows.
fn shown_meshes(document: &Document, hierarchy: &Hierarchy) -> Result<Vec<bool>, Fault> {
    let mut shown = vec![false; document.meshes.len()];
    for &node in &hierarchy.shown {
        if let Some(mesh) = hierarchy.nodes[node].mesh {
            entry(&document.meshes, mesh, "mesh")?;
            shown[mesh as usize] = true;
        }
    }
    Ok(shown)
}

/// Which materials of the file the shown meshes use.
fn used_materials(document: &Document, shown: &[bool]) -> Vec<bool> {
    let mut used = vec![false; document.materials.len()];
    let meshes = document
        .meshes
        .iter()
        .zip(shown)
        .filter(|(_, shown)| **shown);
    for primitive in meshes.flat_map(|(mesh, _)| &mesh.primitives) {
        let material = primitive.material.and_then(|m| used.get_mut(m as usize));
        if let Some(used) = material {
            *used = true;
        }
    }
    used
}

fn meshes(
    document: &Document,
    shown: &[bool],
    materials: &[Material],
    accessors: &mut Accessors,
    warnings: &mut Vec<String>,
) -> Result<Vec<LoadedMesh>, Fault> {
    let fallback = document.materials.len();
    let mut meshes = Vec::with_capacity(document.meshes.len());
    for (mesh, &shown) in document.meshes.iter().zip(shown) {
        let mut loaded = LoadedMesh::default();
        if shown {
            loaded.weights.clone_from(&mesh.weights);
            for primitive in &mesh.primitives {
                let primitive =
                    geometry::primitive(primitive, materials, fallback, accessors, warnings)?;
                loaded.primitives.extend(primitive);
            }
        }
        meshes.push(loaded);
    }
    Ok(meshes)
}

fn skins(
    document: &Document,
    hierarchy: &Hierarchy,
    accessors: &mut Accessors,
) -> Result<Vec<Skin>, Fault> {
    let mut skins = Vec::with_capacity(document.skins.len());
    for skin in &document.skins {
        Fault::check(
            "joints in a skin",
            skin.joints.len() as u64,
            JOINTS_MAX as u64,
        )?;
        accessors.charge(skin.joints.len() as u64 * JOINT_BYTES)?;
        for &joint in &skin.joints {
            entry(&hierarchy.nodes, joint, "node")?;
        }
        let inverse_bind: Vec<Affine> = match skin.inverse_bind_matrices {
            Some(index) => {
                let matrices = accessors.floats::<16>(index)?;
                matrices.iter().map(Affine::from_columns).collect()
            }
            None => vec![Affine::IDENTITY; skin.joints.len()],
        };
        if inverse_bind.len() < skin.joints.len() {
            return Err(Fault::Damaged(format!(
                "a skin of {} joints has {} inverse bind matrices",
                skin.joints.len(),
                inverse_bind.len()
            )));
        }
        skins.push(Skin {
            joints: skin.joints.iter().map(|&joint| joint as usize).collect(),
            inverse_bind,
        });
    }
    for &node in &hierarchy.shown {
        if let Some(skin) = hierarchy.nodes[node].skin {
            entry(&skins, skin, "skin")?;
        }
    }
    Ok(skins)
}

/// Decodes all textures; an image that is used in two ways is read twice.
fn textures(
    source: &mut Source,
    buffers: &[Option<Vec<u8>>],
    uses: &[TextureUse],
) -> Result<Vec<Texture>, Fault> {
    let mut pixels_left = TEXTURE_PIXELS_MAX;
    let mut textures = Vec::with_capacity(uses.len());
    let images = std::mem::take(&mut source.document.images);
    for used in uses {
        let image = entry(&images, used.image, "image")?;
        let owned;
        let bytes = match (&image.uri, image.buffer_view) {
            (Some(uri), _) => {
                owned = source.bytes(Address::parse(uri)?)?;
                owned.as_slice()
            }
            (None, Some(view)) => Accessors::new(&source.document, buffers).image_bytes(view)?,
            (None, None) => return Err(Fault::damaged("an image has no data")),
        };
        let texture = images::texture(bytes, used, &mut pixels_left)
            .map_err(|reason| images::unreadable(image, used.image, reason))?;
        textures.push(texture);
    }
    source.document.images = images;
    Ok(textures)
}

fn frame_rate(document: &Document, scene: &Extras, warnings: &mut Vec<String>) -> f64 {
    let places = [scene, &document.asset.extras];
    let named = places
        .into_iter()
        .flat_map(|extras| [extra(extras, "frame_rate"), extra(extras, "fps")])
        .flatten()
        .next();
    let Some(value) = named else {
        return FRAME_RATE_DEFAULT;
    };
    match value.as_f64() {
        Some(rate) if rate > 0.0 && rate <= FRAME_RATE_MAX => rate,
        _ => {
            warnings.push(format!(
                "the frame rate in the file is not between 0 and {FRAME_RATE_MAX}; \
                 {FRAME_RATE_DEFAULT} is used"
            ));
            FRAME_RATE_DEFAULT
        }
    }
}

/// The frame of the last key.
fn last_frame(channels: &[Channel], frame_rate: f64, warnings: &mut Vec<String>) -> i32 {
    let last = 1.0 + (f64::from(animation::duration(channels)) * frame_rate).round();
    if last > JOB_FRAMES_MAX as f64 {
        warnings.push(format!(
            "the animation is cut after {JOB_FRAMES_MAX} of its {last} frames"
        ));
        return JOB_FRAMES_MAX as i32;
    }
    last as i32
}

fn camera_notes(cameras: &[String], notes: &mut Vec<String>) {
    match cameras {
        [] => notes.push("no camera: the scene is framed automatically".to_owned()),
        [_] => {}
        [first, ..] => notes.push(format!(
            "{} cameras: `{first}`, the first, is used",
            cameras.len()
        )),
    }
}

/// Black, or white when nothing else gives light.
fn default_environment(
    lights: &[NodeLight],
    materials: &[Material],
    used: &[bool],
    notes: &mut Vec<String>,
) -> Environment {
    let mut shown = materials.iter().zip(used).filter(|(_, used)| **used);
    if !lights.is_empty() || shown.any(|(material, _)| material.emissive != Vec3::ZERO) {
        return Environment::Constant(Vec3::ZERO);
    }
    notes.push("no light: a neutral white environment is used".to_owned());
    Environment::Constant(Vec3::ONE)
}

/// Triangles of one frame, within the limits of memory.
fn triangle_count(hierarchy: &Hierarchy, meshes: &[LoadedMesh]) -> Result<u64, Fault> {
    let (mut triangles, mut bytes) = (0u64, 0u64);
    for &node in &hierarchy.shown {
        let mesh = hierarchy.nodes[node]
            .mesh
            .and_then(|mesh| meshes.get(mesh as usize));
        for primitive in mesh.map_or(&[][..], |mesh| &mesh.primitives) {
            triangles = triangles.saturating_add(primitive.triangles.len() as u64);
            bytes = bytes.saturating_add(primitive.world_bytes());
        }
    }
    Fault::check("triangles", triangles, TRIANGLES_MAX)?;
    Fault::check("bytes of geometry in a frame", bytes, GEOMETRY_BYTES_MAX)?;
    match triangles {
        0 => Err(Fault::Empty),
        _ => Ok(triangles),
    }
}

/// Each message once, and not too many.
fn distinct(messages: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<String> = messages
        .into_iter()
        .filter(|message| seen.insert(message.clone()))
        .collect();
    if kept.len() > WARNINGS_MAX {
        let more = kept.len() - WARNINGS_MAX;
        kept.truncate(WARNINGS_MAX);
        kept.push(format!("and {more} more warnings"));
    }
    kept
}

impl Scene {
    /// A box around everything that is shown in frames spread evenly over the animation, first and last among
    /// them, so that one camera fits them all.
    fn bounds_over_time(&self) -> Result<ViewBounds, Fault> {
        let (first, last) = self.about.frames;
        let mut vertices = 0u64;
        for &node in &self.hierarchy.shown {
            let mesh = self.hierarchy.nodes[node].mesh;
            let mesh = mesh.and_then(|mesh| self.meshes.get(mesh as usize));
            for primitive in mesh.map_or(&[][..], |mesh| &mesh.primitives) {
                vertices = vertices.saturating_add(primitive.positions.len() as u64);
            }
        }
        let affordable = (FRAMING_VERTICES_MAX / vertices.max(1)).max(2) as i64;
        let steps = i64::from(last - first)
            .min(i64::from(FRAMING_SAMPLES_MAX) - 1)
            .min(affordable - 1);
        let mut bounds = ViewBounds::new();
        for step in 0..=steps {
            let offset = i64::from(last - first) * step / steps.max(1);
            let state = self.state(first + offset as i32);
            for mesh in self.meshes(&state)? {
                for triangle in &mesh.triangles {
                    for &vertex in triangle {
                        bounds.include(mesh.positions[vertex as usize]);
                    }
                }
            }
        }
        Ok(bounds)
    }
}
