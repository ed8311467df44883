//! Materials with their images resolved: what a surface is at one point.

use super::{bsdf::Surface, texture::TextureMap};
use crate::{
    math::{Vec3, vec3},
    world::{AlphaMode, Material, Texture, TextureRef},
};

/// A material, ready to look up.
#[derive(Debug, Clone)]
pub(super) struct ShadingMaterial {
    base_color: [f32; 4],
    base_color_map: Option<TextureMap>,
    metallic: f32,
    roughness: f32,
    metallic_roughness_map: Option<TextureMap>,
    pub normal_map: Option<TextureMap>,
    pub normal_scale: f32,
    pub emissive: Vec3,
    pub emissive_map: Option<TextureMap>,
    alpha: AlphaMode,
    pub double_sided: bool,
    pub unlit: bool,
}

/// What a material needs to know of the point.
#[derive(Debug, Clone, Copy)]
pub(super) struct PointAttributes {
    pub texcoords: [[f32; 2]; 2],
    pub color: [f32; 4],
}

impl ShadingMaterial {
    pub fn new(material: &Material) -> ShadingMaterial {
        let map = |usage: &Option<TextureRef>| usage.as_ref().map(TextureMap::new);
        ShadingMaterial {
            base_color: material.base_color,
            base_color_map: map(&material.base_color_texture),
            metallic: material.metallic,
            roughness: material.roughness,
            metallic_roughness_map: map(&material.metallic_roughness_texture),
            normal_map: map(&material.normal_texture),
            normal_scale: material.normal_scale,
            emissive: material.emissive,
            emissive_map: map(&material.emissive_texture),
            alpha: material.alpha,
            double_sided: material.double_sided,
            unlit: material.unlit,
        }
    }

    /// Does every ray stop here, whatever the point and side?
    pub fn stops_every_ray(&self) -> bool {
        self.double_sided && self.alpha == AlphaMode::Opaque
    }

    pub fn emits(&self) -> bool {
        !self.unlit && self.emissive.max_component() > 0.0
    }

    fn base_color(&self, textures: &[Texture], at: &PointAttributes) -> [f32; 4] {
        let mut color: [f32; 4] = std::array::from_fn(|i| self.base_color[i] * at.color[i]);
        if let Some(map) = &self.base_color_map {
            let texel = map.look_up(textures, &at.texcoords);
            for (value, factor) in color.iter_mut().zip(texel) {
                *value *= factor;
            }
        }
        color
    }

    /// Coverage at a point, from 0 to 1.
    pub fn coverage(&self, textures: &[Texture], at: &PointAttributes) -> f32 {
        let alpha = || self.base_color(textures, at)[3];
        match self.alpha {
            AlphaMode::Opaque => 1.0,
            AlphaMode::Mask { cutoff } if alpha() >= cutoff => 1.0,
            AlphaMode::Mask { .. } => 0.0,
            AlphaMode::Blend => alpha().clamp(0.0, 1.0),
        }
    }

    /// Colour, metalness and roughness at a point, inside the ranges that the specification gives.
    pub fn surface(&self, textures: &[Texture], at: &PointAttributes) -> Surface {
        let [red, green, blue, _] = self.base_color(textures, at);
        let (mut metallic, mut roughness) = (self.metallic, self.roughness);
        if let Some(map) = &self.metallic_roughness_map {
            let [_, rough, metal, _] = map.look_up(textures, &at.texcoords);
            metallic *= metal;
            roughness *= rough;
        }
        Surface {
            base_color: vec3(
                red.clamp(0.0, 1.0),
                green.clamp(0.0, 1.0),
                blue.clamp(0.0, 1.0),
            ),
            metallic: metallic.clamp(0.0, 1.0),
            roughness: roughness.clamp(0.0, 1.0),
        }
    }

    /// Radiance that the surface itself sends out.
    pub fn emission(&self, textures: &[Texture], at: &PointAttributes) -> Vec3 {
        if self.unlit {
            let [red, green, blue, _] = self.base_color(textures, at);
            return vec3(red, green, blue);
        }
        match &self.emissive_map {
            Some(map) if self.emits() => {
                let [red, green, blue, _] = map.look_up(textures, &at.texcoords);
                self.emissive * vec3(red, green, blue)
            }
            _ => self.emissive,
        }
    }
}
