//! The environment that a scene's `extras` name (see the module documentation of [`super`]).

use super::container::{Address, Source};
use super::error::Fault;
use super::limits::{ENVIRONMENT_PIXELS_MAX, EXTRAS_BYTES_MAX, IMAGE_SIDE_MAX_PX};
use super::schema::Extras;
use crate::math::{Vec3, vec3};
use crate::world::Environment;
use image::codecs::hdr::HdrDecoder;
use image::{DynamicImage, ImageDecoder};
use serde::Deserialize;
use std::io::Cursor;

const EXR_SIGNATURE: &[u8] = &[0x76, 0x2f, 0x31, 0x01];
const HDR_SIGNATURE: &[u8] = b"#?";

/// Radiance above this is cut off, so that sums over a whole sky stay finite.
const RADIANCE_MAX: f32 = 1e12;

/// What a scene's `extras.environment` says.
#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    color: Option<[f32; 3]>,
    map: Option<String>,
    strength: Option<f32>,
    rotation_degrees: Option<f32>,
}

/// The named member of an `extras` object, if it is one and has it.
pub(super) fn extra(extras: &Extras, name: &str) -> Option<serde_json::Value> {
    let text = extras.as_ref()?.get();
    if text.len() > EXTRAS_BYTES_MAX {
        return None;
    }
    let mut members: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(members.get_mut(name)?.take())
}

/// Reads the settings from a scene's `extras`.
pub(super) fn settings(extras: &Extras) -> Result<Option<Settings>, Fault> {
    let Some(value) = extra(extras, "environment") else {
        return Ok(None);
    };
    let settings: Settings = serde_json::from_value(value)
        .map_err(|error| Fault::Environment(format!("extras.environment: {error}")))?;
    match settings.color.is_some() == settings.map.is_some() {
        true => Err(Fault::Environment(
            "extras.environment needs either color or map".to_owned(),
        )),
        false => Ok(Some(settings)),
    }
}

impl Settings {
    /// The map's address, if there is a map.
    pub fn address(&self) -> Result<Option<Address<'_>>, Fault> {
        self.map.as_deref().map(Address::parse).transpose()
    }

    /// Decodes the environment.
    pub fn load(&self, source: &mut Source) -> Result<Environment, Fault> {
        let strength = self.strength.unwrap_or(1.0);
        let Some(address) = self.address()? else {
            let color = Vec3::from(self.color.unwrap_or([0.0; 3]));
            return Ok(Environment::Constant(radiance(color, strength)));
        };
        let bytes = source.bytes(address)?;
        let (width, height, pixels) = map_pixels(&bytes).map_err(Fault::Environment)?;
        let bright: Vec<Vec3> = pixels.iter().map(|&p| radiance(p, strength)).collect();
        let degrees = self.rotation_degrees.unwrap_or(0.0);
        Ok(Environment::Map {
            width: width as u32,
            height: height as u32,
            pixels: rotated(bright, width, degrees),
        })
    }
}

/// Scaled, and never negative, endless or no number at all.
fn radiance(color: Vec3, strength: f32) -> Vec3 {
    let bounded = |value: f32| match value.is_nan() {
        true => 0.0,
        false => value.clamp(0.0, RADIANCE_MAX),
    };
    let scaled = color * strength;
    vec3(bounded(scaled.x), bounded(scaled.y), bounded(scaled.z))
}

type Pixels = (usize, usize, Vec<Vec3>);

fn map_pixels(bytes: &[u8]) -> Result<Pixels, String> {
    match bytes {
        _ if bytes.starts_with(HDR_SIGNATURE) => hdr(bytes),
        _ if bytes.starts_with(EXR_SIGNATURE) => exr(bytes),
        _ => Err("the map is neither a Radiance .hdr nor an OpenEXR .exr file".to_owned()),
    }
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    let side = 1..=IMAGE_SIDE_MAX_PX as usize;
    let area = width as u64 * height as u64;
    match side.contains(&width) && side.contains(&height) && area <= ENVIRONMENT_PIXELS_MAX {
        true => Ok(()),
        false => Err(format!(
            "the map's size of {width}x{height} px is too large"
        )),
    }
}

fn hdr(bytes: &[u8]) -> Result<Pixels, String> {
    let decoder = HdrDecoder::new_nonstrict(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    check_size(width as usize, height as usize)?;
    let DynamicImage::ImageRgb32F(image) =
        DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?
    else {
        return Err("the map has an unusual pixel format".to_owned());
    };
    let (pixels, _) = image.as_raw().as_chunks::<3>();
    let pixels = pixels.iter().map(|&pixel| Vec3::from(pixel)).collect();
    Ok((width as usize, height as usize, pixels))
}

fn exr(bytes: &[u8]) -> Result<Pixels, String> {
    use exr::prelude::*;
    let meta =
        MetaData::read_from_buffered(Cursor::new(bytes), false).map_err(|e| e.to_string())?;
    for header in &meta.headers {
        check_size(header.layer_size.0, header.layer_size.1)?;
    }
    let reader = read()
        .no_deep_data()
        .largest_resolution_level()
        .rgb_channels(
            |size, _| (size.0, vec![Vec3::ZERO; size.0 * size.1]),
            |(width, pixels): &mut (usize, std::vec::Vec<Vec3>),
             place,
             (r, g, b): (f32, f32, f32)| {
                pixels[place.1 * *width + place.0] = vec3(r, g, b);
            },
        )
        .first_valid_layer()
        .all_attributes();
    let image = reader
        .from_buffered(Cursor::new(bytes))
        .map_err(|e| e.to_string())?;
    let size = image.layer_data.size;
    Ok((size.0, size.1, image.layer_data.channel_data.pixels.1))
}

/// Turns a map about the vertical axis, counter-clockwise seen from above; columns between two are mixed.
fn rotated(pixels: Vec<Vec3>, width: usize, degrees: f32) -> Vec<Vec3> {
    let turns = f64::from(degrees) / 360.0;
    let columns = (turns - turns.floor()) * width as f64;
    if columns == 0.0 || !columns.is_finite() {
        return pixels;
    }
    let whole = columns.floor();
    let share = (columns - whole) as f32;
    let shifted = |row: &[Vec3], column: usize, shift: usize| row[(column + shift) % row.len()];
    pixels
        .chunks_exact(width)
        .flat_map(|row| {
            (0..width).map(move |column| {
                let from = shifted(row, column, whole as usize);
                from.lerp(shifted(row, column, whole as usize + 1), share)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Vec<Vec3> {
        values.iter().map(|&value| Vec3::splat(value)).collect()
    }

    #[test]
    fn a_quarter_turn_moves_what_was_ahead_to_the_left() {
        // Columns look towards +z (the seam), -x, -z (the middle) and +x.
        let turned = rotated(row(&[0.0, 1.0, 2.0, 3.0]), 4, 90.0);
        assert_eq!(turned, row(&[1.0, 2.0, 3.0, 0.0]));
        assert_eq!(rotated(turned, 4, -90.0), row(&[0.0, 1.0, 2.0, 3.0]));
    }

    #[test]
    fn turns_between_columns_are_mixed() {
        let turned = rotated(row(&[0.0, 4.0]), 2, 45.0);
        assert_eq!(turned, row(&[1.0, 3.0]));
    }

    #[test]
    fn radiance_is_bounded() {
        let wild = vec3(f32::NAN, f32::INFINITY, -3.0);
        assert_eq!(radiance(wild, 1.0), vec3(0.0, RADIANCE_MAX, 0.0));
    }
}
