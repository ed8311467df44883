//! Reads glTF 2.0 files (`.glb`, and `.gltf` with data URIs or files beside it) and evaluates them at any frame.
//!
//! Not here: anything that decides how light behaves (`render`). A [`Scene`] is read once; [`Scene::world`] then
//! gives the [`World`] of a frame from memory alone, with the same bits on every machine: all arithmetic is plain
//! IEEE or the pinned `libm`, and JSON, PNG, JPEG, Radiance and OpenEXR are read by exact integer or scalar code.
//!
//! # What is read
//!
//! Core glTF 2.0: nodes, triangles (lists, strips, fans), morph targets, skins with up to 32 joints a vertex,
//! animation of translation, rotation, scale and weights (step, linear, cubic spline), perspective and
//! orthographic cameras, metallic-roughness materials, PNG and JPEG textures, sparse and normalised accessors.
//! Extensions: KHR_lights_punctual, KHR_materials_emissive_strength, KHR_materials_unlit, KHR_mesh_quantization,
//! KHR_texture_transform. A file that *requires* another one is refused by name; one that merely uses it is read
//! with a warning. Points and lines are left out with a warning.
//!
//! The default scene is shown; without one the first; without any, all nodes. Of several cameras the first in
//! the order of the nodes (depth first) is used. All animations play together; where two drive the same
//! property, the later in the file wins. A camera that states its aspect ratio keeps all of that rectangle in
//! sight in frames of another shape.
//!
//! # Frames
//!
//! Frame 1 is time 0, frame n is time (n - 1) / rate seconds, and curves hold their first and last keys beyond
//! them, so every number is a valid frame. A file's frames are 1 to 1 + round(end * rate), `end` being the time
//! of its last key: both the first and the last key are shown. The rate is `extras.frame_rate` or `extras.fps`
//! of the scene, else of the asset, else 24.
//!
//! # Environment
//!
//! glTF has no portable one, so the scene's `extras.environment` is read, with either of
//!
//! ```json
//! { "color": [0.4, 0.5, 0.7], "strength": 2.0 }
//! { "map": "sky.hdr", "strength": 1.0, "rotation_degrees": 90.0 }
//! ```
//!
//! `color` is linear Rec. 709 radiance; `map` is a latitude-longitude image (Radiance `.hdr` or OpenEXR `.exr`, by
//! a relative path below the scene's folder or a data URI) whose middle column lies towards -z and whose right
//! half towards +x, turned counter-clockwise about +y as seen from above by `rotation_degrees`; `strength` scales
//! both. A scene that names no environment is surrounded by black, or by white of radiance one if it has
//! neither a light nor a shown material that emits. A scene without a camera is framed automatically, with one
//! fixed camera for the whole animation. [`About::notes`] tells of both.
//!
//! # Normals and tangents
//!
//! Meshes without normals are shaded flat (`normals` stays empty). Where a normal map has no tangents to go by
//! they are made from the texture coordinates (see `tangents`). Mirrored nodes and joints flip winding and
//! bitangents, so that triangles stay counter-clockwise from their front in the world.

mod accessor;
mod animation;
mod camera;
mod container;
mod deform;
mod environment;
mod error;
mod geometry;
mod hierarchy;
mod images;
mod lights;
mod limits;
mod load;
mod materials;
mod schema;
mod tangents;

pub use error::{Fault, SceneError};

use crate::transform::Affine;
use crate::world::{Camera, Environment, Material, Mesh, Texture, World};
use animation::{Channel, Pose};
use camera::{ShownCamera, ViewBounds};
use deform::Carrier;
use geometry::Primitive;
use hierarchy::Hierarchy;
use lights::NodeLight;
use protocol::Size;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames a second when the file does not say.
pub const FRAME_RATE_DEFAULT: f64 = 24.0;

/// A loaded scene file, cheap to evaluate at any frame.
#[derive(Debug)]
pub struct Scene {
    file: PathBuf,
    about: About,
    hierarchy: Hierarchy,
    channels: Vec<Channel>,
    meshes: Vec<LoadedMesh>,
    skins: Vec<Skin>,
    view: View,
    lights: Vec<NodeLight>,
    materials: Vec<Material>,
    textures: Arc<Vec<Texture>>,
    environment: Arc<Environment>,
}

/// What a user should know of a scene before it is rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// What was decided for the user: automatic framing, a neutral environment, one of several cameras.
    pub notes: Vec<String>,
    /// What will look different from what the file asks for.
    pub warnings: Vec<String>,
    /// First and last frame.
    pub frames: (i32, i32),
    /// Frames a second.
    pub frame_rate: f64,
    /// Triangles of one frame, instances counted.
    pub triangles: u64,
    /// Does anything move?
    pub has_animation: bool,
    /// Names of the scene's cameras; the first is used.
    pub cameras: Vec<String>,
}

/// The primitives of a mesh; empty for those that the scene does not show.
#[derive(Debug, Default)]
struct LoadedMesh {
    primitives: Vec<Primitive>,
    weights: Vec<f32>,
}

#[derive(Debug)]
struct Skin {
    joints: Vec<usize>,
    /// One for each joint.
    inverse_bind: Vec<Affine>,
}

/// Where the scene is seen from.
#[derive(Debug)]
enum View {
    Camera(ShownCamera),
    Framing(ViewBounds),
}

impl Scene {
    /// Reads a scene file and everything that it needs.
    ///
    /// # Errors
    /// When the file or one of those that it refers to is missing, damaged, empty, too large, or needs an
    /// extension that is not supported.
    pub fn load(path: &Path) -> Result<Scene, SceneError> {
        load::scene(path).map_err(|fault| SceneError {
            file: path.to_owned(),
            fault,
        })
    }

    /// What a user should know of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Every file beside it that a scene file needs (buffers, images, environment map), as sorted paths relative
    /// to its folder.
    ///
    /// # Errors
    /// When the scene file cannot be read, or files that it needs are missing: the error names them all.
    pub fn dependencies(path: &Path) -> Result<Vec<PathBuf>, SceneError> {
        load::dependencies(path).map_err(|fault| SceneError {
            file: path.to_owned(),
            fault,
        })
    }

    /// The scene at a frame (1 is time zero), seen in a frame of this size.
    ///
    /// # Errors
    /// When the animation moves something out of reach or a vertex follows a joint that does not exist.
    pub fn world(&self, frame: i32, size: Size) -> Result<World, SceneError> {
        let state = self.state(frame);
        let meshes = self.meshes(&state);
        let camera = self.camera(&state, size);
        let (meshes, camera) =
            meshes
                .and_then(|meshes| Ok((meshes, camera?)))
                .map_err(|fault| SceneError {
                    file: self.file.clone(),
                    fault,
                })?;
        Ok(World {
            camera,
            meshes,
            materials: self.materials.clone(),
            textures: Arc::clone(&self.textures),
            lights: self
                .lights
                .iter()
                .map(|light| light.placed(&state.globals))
                .collect(),
            environment: Arc::clone(&self.environment),
        })
    }

    fn state(&self, frame: i32) -> State {
        let time = (f64::from(frame) - 1.0) / self.about.frame_rate;
        let pose = animation::pose(&self.hierarchy, &self.channels, time as f32);
        let globals = self.hierarchy.globals(&pose.placements);
        State { pose, globals }
    }

    fn camera(&self, state: &State, size: Size) -> Result<Camera, Fault> {
        match &self.view {
            View::Camera(shown) => shown.lens.camera(&state.globals[shown.node], size),
            View::Framing(bounds) => Ok(bounds.camera(size)),
        }
    }

    /// All meshes in the order of their nodes.
    fn meshes(&self, state: &State) -> Result<Vec<Mesh>, Fault> {
        let joints: Vec<Vec<Affine>> = self
            .skins
            .iter()
            .map(|skin| skin.transforms(&state.globals))
            .collect();
        let mut meshes = Vec::new();
        for &index in &self.hierarchy.shown {
            let node = &self.hierarchy.nodes[index];
            let Some(mesh) = node.mesh.and_then(|mesh| self.meshes.get(mesh as usize)) else {
                continue;
            };
            let animated = Some(&state.pose.weights[index]).filter(|weights| !weights.is_empty());
            let weights = animated.or(node.weights.as_ref()).unwrap_or(&mesh.weights);
            let carrier = match node.skin.and_then(|skin| joints.get(skin as usize)) {
                Some(joints) => Carrier::Joints(joints),
                None => Carrier::Node(&state.globals[index]),
            };
            for primitive in &mesh.primitives {
                meshes.push(deform::world_mesh(primitive, weights, &carrier)?);
            }
        }
        Ok(meshes)
    }
}

/// All nodes at an instant.
struct State {
    pose: Pose,
    globals: Vec<Affine>,
}

impl Skin {
    fn transforms(&self, globals: &[Affine]) -> Vec<Affine> {
        self.joints
            .iter()
            .zip(&self.inverse_bind)
            .map(|(&joint, inverse_bind)| globals[joint].after(inverse_bind))
            .collect()
    }
}
