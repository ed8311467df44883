//! Metallic-roughness materials, and which images they use how.

use super::error::{Fault, entry};
use super::schema::{self, Document};
use crate::math::Vec3;
use crate::world::{AlphaMode, Material, TextureRef, Wrap};
use std::collections::BTreeMap;

const FILTER_NEAREST: u32 = 9728;
const WRAP_CLAMP: u32 = 33_071;
const WRAP_MIRROR: u32 = 33_648;

/// How an image is used: the same image decoded or sampled in another way is another texture.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextureUse {
    /// Index of the image in the file.
    pub image: u32,
    /// Are its colours stored as sRGB?
    pub srgb: bool,
    pub wrap: [Wrap; 2],
    pub nearest: bool,
}

/// A [`TextureUse`] in numbers, to find it again.
type TextureKey = (u32, bool, [u8; 2], bool);

impl TextureUse {
    fn key(&self) -> TextureKey {
        let wrap = self.wrap.map(|wrap| wrap as u8);
        (self.image, self.srgb, wrap, self.nearest)
    }
}

/// Materials of a file and the textures that they need.
#[derive(Debug, Default)]
pub(super) struct Materials {
    /// As in the file, and one more for meshes that name none.
    pub materials: Vec<Material>,
    /// What [`TextureRef::texture`] counts.
    pub uses: Vec<TextureUse>,
}

/// Reads all materials; the textures of those that `used` tells are not shown are left out.
pub(super) fn materials(
    document: &Document,
    used: &[bool],
    warnings: &mut Vec<String>,
) -> Result<Materials, Fault> {
    let mut reader = Reader {
        document,
        uses: Vec::new(),
        known: BTreeMap::new(),
        warnings,
    };
    let mut materials = Vec::with_capacity(document.materials.len() + 1);
    for (entry, &used) in document.materials.iter().zip(used) {
        materials.push(reader.material(entry, used)?);
    }
    let plain = schema::Material::default();
    materials.push(reader.material(&plain, true)?);
    Ok(Materials {
        materials,
        uses: reader.uses,
    })
}

struct Reader<'a> {
    document: &'a Document,
    uses: Vec<TextureUse>,
    known: BTreeMap<TextureKey, usize>,
    warnings: &'a mut Vec<String>,
}

/// A factor between 0 and 1.
fn unit(value: Option<f32>) -> f32 {
    value.unwrap_or(1.0).clamp(0.0, 1.0)
}

impl Reader<'_> {
    fn material(&mut self, entry: &schema::Material, used: bool) -> Result<Material, Fault> {
        let pbr = &entry.pbr_metallic_roughness;
        let mut texture = |info: &Option<schema::TextureInfo>, srgb: bool| match info {
            Some(info) if used => self.texture(info, srgb),
            _ => Ok(None),
        };
        Ok(Material {
            name: entry.name.clone().unwrap_or_default(),
            base_color: pbr
                .base_color_factor
                .unwrap_or([1.0; 4])
                .map(|factor| unit(Some(factor))),
            base_color_texture: texture(&pbr.base_color_texture, true)?,
            metallic: unit(pbr.metallic_factor),
            roughness: unit(pbr.roughness_factor),
            metallic_roughness_texture: texture(&pbr.metallic_roughness_texture, false)?,
            normal_texture: texture(&entry.normal_texture, false)?,
            normal_scale: entry
                .normal_texture
                .as_ref()
                .and_then(|info| info.scale)
                .filter(|scale| scale.is_finite())
                .unwrap_or(1.0),
            occlusion_texture: texture(&entry.occlusion_texture, false)?,
            emissive: emission(entry)?,
            emissive_texture: texture(&entry.emissive_texture, true)?,
            alpha: alpha(entry)?,
            double_sided: entry.double_sided,
            unlit: entry.extensions.unlit.is_some(),
        })
    }

    fn texture(
        &mut self,
        info: &schema::TextureInfo,
        srgb: bool,
    ) -> Result<Option<TextureRef>, Fault> {
        let texture = entry(&self.document.textures, info.index, "texture")?;
        let Some(image) = texture.source else {
            let index = info.index;
            self.warn(format!(
                "texture {index} has no PNG or JPEG image and is ignored"
            ));
            return Ok(None);
        };
        entry(&self.document.images, image, "image")?;
        let transform = info.extensions.transform.as_ref();
        let texcoord = transform
            .and_then(|transform| transform.tex_coord)
            .unwrap_or(info.tex_coord);
        if texcoord > 1 {
            self.warn(format!(
                "a texture with coordinate set {texcoord} is ignored (only 0 and 1)"
            ));
            return Ok(None);
        }
        let used = self.use_of(image, texture.sampler, srgb)?;
        let texture = *self.known.entry(used.key()).or_insert_with(|| {
            self.uses.push(used);
            self.uses.len() - 1
        });
        let reference = TextureRef {
            texture,
            texcoord: texcoord as usize,
            offset: transform.and_then(|t| t.offset).unwrap_or([0.0; 2]),
            rotation: transform.and_then(|t| t.rotation).unwrap_or(0.0),
            scale: transform.and_then(|t| t.scale).unwrap_or([1.0; 2]),
        };
        let numbers = [reference.offset, reference.scale, [reference.rotation; 2]];
        match numbers.as_flattened().iter().all(|n| n.is_finite()) {
            true => Ok(Some(reference)),
            false => Err(Fault::damaged("a texture transform is not finite")),
        }
    }

    fn use_of(&self, image: u32, sampler: Option<u32>, srgb: bool) -> Result<TextureUse, Fault> {
        let plain = schema::Sampler::default();
        let sampler = match sampler {
            Some(index) => entry(&self.document.samplers, index, "sampler")?,
            None => &plain,
        };
        let wrap = |code: Option<u32>| match code {
            Some(WRAP_CLAMP) => Wrap::Clamp,
            Some(WRAP_MIRROR) => Wrap::Mirror,
            _ => Wrap::Repeat,
        };
        Ok(TextureUse {
            image,
            srgb,
            wrap: [wrap(sampler.wrap_s), wrap(sampler.wrap_t)],
            nearest: sampler.mag_filter == Some(FILTER_NEAREST),
        })
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

fn emission(entry: &schema::Material) -> Result<Vec3, Fault> {
    let factor = Vec3::from(entry.emissive_factor.unwrap_or([0.0; 3]));
    let strength = entry.extensions.emissive_strength.as_ref();
    let strength = strength.and_then(|s| s.emissive_strength).unwrap_or(1.0);
    let emission = factor * strength;
    match emission.is_finite() && emission.to_array().iter().all(|&e| e >= 0.0) {
        true => Ok(emission),
        false => Err(Fault::damaged(
            "a material emits less than nothing or without end",
        )),
    }
}

fn alpha(entry: &schema::Material) -> Result<AlphaMode, Fault> {
    Ok(match entry.alpha_mode.as_deref() {
        None | Some("OPAQUE") => AlphaMode::Opaque,
        Some("MASK") => AlphaMode::Mask {
            cutoff: entry.alpha_cutoff.unwrap_or(0.5),
        },
        Some("BLEND") => AlphaMode::Blend,
        Some(other) => {
            let mode: String = other.chars().take(20).collect();
            return Err(Fault::Damaged(format!("{mode} is not an alpha mode")));
        }
    })
}
