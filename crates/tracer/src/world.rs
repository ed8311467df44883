//! One instant of a scene in world space: what the glTF reader hands to the renderer, and nothing else passes
//! between the two. Animation, skins and morph targets are already applied; all colours are scene-linear
//! Rec. 709; lengths are the scene's units (metres in glTF); y is up and cameras look along -z, as in glTF.

use crate::math::Vec3;
use std::sync::Arc;

/// Everything that decides the pixels of one frame.
#[derive(Debug, Clone)]
pub struct World {
    /// Where from.
    pub camera: Camera,
    /// Triangle meshes, in the order of the scene's nodes (the order is part of what is hashed).
    pub meshes: Vec<Mesh>,
    /// Materials, addressed by [`Mesh::material`].
    pub materials: Vec<Material>,
    /// Decoded images, shared between frames, addressed by [`TextureRef::texture`].
    pub textures: Arc<Vec<Texture>>,
    /// Point, spot and directional lights.
    pub lights: Vec<Light>,
    /// What rays see that leave the scene.
    pub environment: Arc<Environment>,
}

/// A camera: an orthonormal frame and a projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Eye.
    pub position: Vec3,
    /// Unit vector to the right of the image.
    pub right: Vec3,
    /// Unit vector to the top of the image.
    pub up: Vec3,
    /// Unit vector into the scene.
    pub forward: Vec3,
    /// How rays leave it.
    pub projection: Projection,
    /// Distances along `forward` that are cut away, as the scene asks (far may be infinite).
    pub near: f32,
    /// See `near`.
    pub far: f32,
}

/// How a camera maps the image plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Projection {
    /// Pinhole: tangent of half the vertical angle of view; the horizontal one follows from the frame's shape
    /// (pixels are square).
    Perspective {
        /// Tangent of half the vertical angle.
        tan_half_y: f32,
    },
    /// Parallel rays: half the height of what is seen, in scene units.
    Orthographic {
        /// Half the height.
        half_height: f32,
    },
}

/// A triangle mesh in world space. Per-vertex lists are empty or as long as `positions`.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// Vertex positions.
    pub positions: Vec<Vec3>,
    /// Unit vertex normals; empty means flat shading.
    pub normals: Vec<Vec3>,
    /// Unit tangents and the sign of the bitangent, for normal maps; empty where no material needs them.
    pub tangents: Vec<(Vec3, f32)>,
    /// Texture coordinates, sets 0 and 1 (empty when absent). Origin top left, as in glTF.
    pub texcoords: [Vec<[f32; 2]>; 2],
    /// Linear vertex colours with alpha; empty means white.
    pub colors: Vec<[f32; 4]>,
    /// Triangles, counter-clockwise from the front *in world space* (the reader flips mirrored nodes).
    pub triangles: Vec<[u32; 3]>,
    /// Index into [`World::materials`].
    pub material: usize,
}

/// A metallic-roughness material of glTF 2.0.
#[derive(Debug, Clone)]
pub struct Material {
    /// For messages.
    pub name: String,
    /// Linear base colour factor with alpha.
    pub base_color: [f32; 4],
    /// sRGB image, decoded to linear on look-up.
    pub base_color_texture: Option<TextureRef>,
    /// Metallic factor.
    pub metallic: f32,
    /// Roughness factor (perceptual; alpha = roughness squared).
    pub roughness: f32,
    /// Green is roughness, blue metallic.
    pub metallic_roughness_texture: Option<TextureRef>,
    /// Tangent-space normal map.
    pub normal_texture: Option<TextureRef>,
    /// Scale of the normal map's x and y.
    pub normal_scale: f32,
    /// Red is ambient occlusion: read, and applied to nothing, because a path tracer computes occlusion.
    pub occlusion_texture: Option<TextureRef>,
    /// Emitted radiance, factor times KHR_materials_emissive_strength.
    pub emissive: Vec3,
    /// sRGB image that scales it.
    pub emissive_texture: Option<TextureRef>,
    /// What alpha means.
    pub alpha: AlphaMode,
    /// Are back faces shaded (with a flipped normal)? If not, rays pass through them as glTF's culling asks.
    pub double_sided: bool,
    /// KHR_materials_unlit: base colour is shown as it is.
    pub unlit: bool,
}

/// What a material's alpha means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlphaMode {
    /// Ignored.
    Opaque,
    /// Below the cutoff is a hole.
    Mask {
        /// The cutoff.
        cutoff: f32,
    },
    /// Coverage.
    Blend,
}

/// A use of an image by a material.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextureRef {
    /// Index into [`World::textures`].
    pub texture: usize,
    /// Which set of texture coordinates, 0 or 1.
    pub texcoord: usize,
    /// KHR_texture_transform: offset, rotation in radians (counter-clockwise as glTF says), scale.
    pub offset: [f32; 2],
    /// See `offset`.
    pub rotation: f32,
    /// See `offset`.
    pub scale: [f32; 2],
}

/// A decoded image with its sampler.
#[derive(Debug, Clone)]
pub struct Texture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// RGBA, rows from the top. sRGB images are stored *already linear* in f32 (colour only, never alpha);
    /// data images as value / 255 (or / 65535).
    pub pixels: Vec<[f32; 4]>,
    /// Wrapping in u and v.
    pub wrap: [Wrap; 2],
    /// Nearest instead of bilinear filtering.
    pub nearest: bool,
}

/// What happens outside 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// Start again.
    Repeat,
    /// Every other copy mirrored.
    Mirror,
    /// The edge goes on.
    Clamp,
}

/// A KHR_lights_punctual light in world space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Its kind and place.
    pub kind: LightKind,
    /// Colour times intensity: candela for point and spot (radiant intensity here: W/sr with glTF's unit taken
    /// as it stands), lux (irradiance) for directional.
    pub intensity: Vec3,
    /// Distance at which it is cut off smoothly as the extension recommends; infinite when none.
    pub range: f32,
}

/// Kinds of punctual lights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LightKind {
    /// In all directions.
    Point {
        /// Where.
        position: Vec3,
    },
    /// A cone with a soft edge, falling off as the extension says.
    Spot {
        /// Where.
        position: Vec3,
        /// Unit axis, away from the light.
        direction: Vec3,
        /// Cosine of the inner cone's half angle.
        cos_inner: f32,
        /// Cosine of the outer cone's half angle.
        cos_outer: f32,
    },
    /// From infinitely far.
    Directional {
        /// Unit vector that the light travels along.
        direction: Vec3,
    },
}

/// What rays see that leave the scene.
#[derive(Debug, Clone)]
pub enum Environment {
    /// The same radiance everywhere (black: none).
    Constant(Vec3),
    /// Latitude-longitude map: rows from the zenith (+y), the middle column is -z, u grows to +x.
    Map {
        /// Pixels around.
        width: u32,
        /// Pixels from zenith to nadir.
        height: u32,
        /// Radiance.
        pixels: Vec<Vec3>,
    },
}
