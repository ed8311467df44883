//! Decoding of textures to linear floats, with the same bits everywhere.
//!
//! PNG is lossless. JPEG leaves its arithmetic to the decoder: zune-jpeg's SIMD paths are built to agree with its
//! scalar ones but do not promise it, so only the scalar, all-integer path is used, on every machine. sRGB is
//! undone through tables made with the pinned `libm`.

use super::error::Fault;
use super::limits::IMAGE_SIDE_MAX_PX;
use super::materials::TextureUse;
use crate::world::Texture;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, Limits};
use std::io::Cursor;
use std::sync::LazyLock;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = b"\xff\xd8\xff";

/// Linear values of all 8 and all 16 bit sRGB codes.
static SRGB_8: LazyLock<Vec<f32>> = LazyLock::new(|| srgb_table(255));
static SRGB_16: LazyLock<Vec<f32>> = LazyLock::new(|| srgb_table(65535));

/// The sRGB transfer function of IEC 61966-2-1 for the codes 0 to `largest`.
fn srgb_table(largest: u32) -> Vec<f32> {
    let linear = |code: u32| {
        let value = f64::from(code) / f64::from(largest);
        match value <= 0.04045 {
            true => value / 12.92,
            false => libm::pow((value + 0.055) / 1.055, 2.4),
        }
    };
    (0..=largest).map(|code| linear(code) as f32).collect()
}

/// Decodes an image for a use; `pixels_left` is what the budget of all textures still has, in pixels.
pub(super) fn texture(
    bytes: &[u8],
    used: &TextureUse,
    pixels_left: &mut u64,
) -> Result<Texture, String> {
    let image = match bytes {
        _ if bytes.starts_with(PNG_SIGNATURE) => png(bytes, pixels_left)?,
        _ if bytes.starts_with(JPEG_SIGNATURE) => jpeg(bytes, pixels_left)?,
        _ => return Err("it is neither PNG nor JPEG".to_owned()),
    };
    Ok(Texture {
        width: image.width(),
        height: image.height(),
        pixels: pixels(&image, used.srgb)?,
        wrap: used.wrap,
        nearest: used.nearest,
    })
}

fn take_pixels(width: u64, height: u64, pixels_left: &mut u64) -> Result<(), String> {
    let side = 1..=u64::from(IMAGE_SIDE_MAX_PX);
    if !side.contains(&width) || !side.contains(&height) {
        return Err(format!(
            "its size of {width}x{height} px is outside 1 to {IMAGE_SIDE_MAX_PX}"
        ));
    }
    *pixels_left = pixels_left
        .checked_sub(width * height)
        .ok_or("all textures together have too many pixels")?;
    Ok(())
}

fn png(bytes: &[u8], pixels_left: &mut u64) -> Result<DynamicImage, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(IMAGE_SIDE_MAX_PX);
    limits.max_image_height = Some(IMAGE_SIDE_MAX_PX);
    limits.max_alloc = Some(u64::from(IMAGE_SIDE_MAX_PX) * u64::from(IMAGE_SIDE_MAX_PX) * 8);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits);
    let decoder = decoder.map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    take_pixels(width.into(), height.into(), pixels_left)?;
    DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())
}

fn jpeg(bytes: &[u8], pixels_left: &mut u64) -> Result<DynamicImage, String> {
    let scalar = DecoderOptions::new_safe()
        .set_max_width(IMAGE_SIDE_MAX_PX as usize)
        .set_max_height(IMAGE_SIDE_MAX_PX as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), scalar);
    decoder
        .decode_headers()
        .map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it has no header")?;
    take_pixels(info.width.into(), info.height.into(), pixels_left)?;
    let rgb = decoder.decode().map_err(|error| error.to_string())?;
    image::RgbImage::from_raw(info.width.into(), info.height.into(), rgb)
        .map(DynamicImage::ImageRgb8)
        .ok_or_else(|| "its pixels do not fill it".to_owned())
}

fn pixels(image: &DynamicImage, srgb: bool) -> Result<Vec<[f32; 4]>, String> {
    let byte_color = |code: u8| match srgb {
        true => SRGB_8[usize::from(code)],
        false => f32::from(code) / 255.0,
    };
    let byte_data = |code: u8| f32::from(code) / 255.0;
    let word_color = |code: u16| match srgb {
        true => SRGB_16[usize::from(code)],
        false => f32::from(code) / 65535.0,
    };
    let word_data = |code: u16| f32::from(code) / 65535.0;
    Ok(match image {
        DynamicImage::ImageLuma8(image) => spread::<1, _>(image, byte_color, byte_data),
        DynamicImage::ImageLumaA8(image) => spread::<2, _>(image, byte_color, byte_data),
        DynamicImage::ImageRgb8(image) => spread::<3, _>(image, byte_color, byte_data),
        DynamicImage::ImageRgba8(image) => spread::<4, _>(image, byte_color, byte_data),
        DynamicImage::ImageLuma16(image) => spread::<1, _>(image, word_color, word_data),
        DynamicImage::ImageLumaA16(image) => spread::<2, _>(image, word_color, word_data),
        DynamicImage::ImageRgb16(image) => spread::<3, _>(image, word_color, word_data),
        DynamicImage::ImageRgba16(image) => spread::<4, _>(image, word_color, word_data),
        _ => return Err("its pixels have an unusual format".to_owned()),
    })
}

/// RGBA from grey, grey and alpha, RGB, or RGBA samples.
fn spread<const CHANNELS: usize, T: Copy>(
    samples: &[T],
    color: impl Fn(T) -> f32,
    data: impl Fn(T) -> f32,
) -> Vec<[f32; 4]> {
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let alpha = CHANNELS.is_multiple_of(2).then_some(CHANNELS - 1);
    let rgba = |pixel: &[T; CHANNELS]| {
        let [r, g, b] = match CHANNELS >= 3 {
            true => [pixel[0], pixel[1], pixel[2]],
            false => [pixel[0]; 3],
        };
        let alpha = alpha.map_or(1.0, |channel| data(pixel[channel]));
        [color(r), color(g), color(b), alpha]
    };
    pixels.iter().map(rgba).collect()
}

/// For messages: how a file calls an image.
pub(super) fn unreadable(image: &super::schema::Image, index: u32, reason: String) -> Fault {
    let name = image.uri.as_ref().filter(|uri| !uri.starts_with("data:"));
    let name = name.or(image.name.as_ref());
    Fault::Image {
        image: name.map_or_else(|| format!("number {index}"), |name| format!("`{name}`")),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_srgb_table_has_its_known_values() {
        assert_eq!((SRGB_8[0], SRGB_8[255]), (0.0, 1.0));
        assert!((SRGB_8[128] - 0.215_860_5).abs() < 1e-7);
        assert!((SRGB_8[10] - 10.0 / 255.0 / 12.92).abs() < 1e-9);
        assert_eq!(SRGB_16[65535], 1.0);
        assert_eq!(SRGB_16[257 * 77], SRGB_8[77]);
    }
}
