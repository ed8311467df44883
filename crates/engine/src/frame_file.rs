//! Frames as files: multi-layer float EXR for raw passes, PNG for pictures.
//!
//! Channels are named as Blender names them, so that Blender and compositing programs read the files as its
//! own: `ViewLayer.Combined.R`, `ViewLayer.Depth.Z`, `ViewLayer.Normal.X`, `ViewLayer.Denoising Albedo.R`. A
//! frame without a layer has the plain colour names `R`, `G`, `B`, `A` that every viewer shows, and
//! `Depth.Z`, `Normal.X`, `Albedo.R`. Normals of Cycles' denoising data are read as normals where a file has no others.

use exr::prelude::*;
use protocol::{Pass, Rect, RenderedRect, Size};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Room for the header of a file, over the pixels themselves.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Channels that a file may have: those asked for and a few that Blender adds.
const FILE_CHANNELS_MAX: u64 = 64;
/// Readers know a multi-layer file by this attribute.
const MULTI_LAYER_ATTRIBUTE: (&str, &str) = ("BlenderMultiChannel", "Blender V2.55.1 and newer");

/// Why a frame file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameFileError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The content is not a picture of this format.
    #[error("{path}: {why}")]
    Format {
        /// The file.
        path: String,
        /// What the decoder said.
        why: String,
    },
    /// It is a picture, but not the one that was asked for.
    #[error("{path}: {why}")]
    Unexpected {
        /// The file.
        path: String,
        /// What differs.
        why: String,
    },
}

fn io_error(path: &Path, source: io::Error) -> FrameFileError {
    FrameFileError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn format_error(path: &Path, why: impl ToString) -> FrameFileError {
    FrameFileError::Format {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

fn unexpected(path: &Path, why: String) -> FrameFileError {
    FrameFileError::Unexpected {
        path: path.display().to_string(),
        why,
    }
}

/// How the pixels of a file are packed; both lose nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Smaller, for files that are kept.
    Zip,
    /// Ten times faster, for files that are read once.
    None,
}

/// The name under which a file is written before it is complete: `frame.exr.part`.
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// The names of a pass's channels in a file, in the order of [`RenderedRect`].
pub(crate) fn channel_names(layer: Option<&str>, pass: Pass) -> Vec<String> {
    let (name, components) = match (pass, layer) {
        (Pass::Combined, _) => ("Combined", "RGBA"),
        (Pass::Depth, _) => ("Depth", "Z"),
        (Pass::Normal, _) => ("Normal", "XYZ"),
        (Pass::Albedo, Some(_)) => ("Denoising Albedo", "RGB"),
        (Pass::Albedo, None) => ("Albedo", "RGB"),
    };
    components
        .chars()
        .map(|component| match (layer, pass) {
            (Some(layer), _) => format!("{layer}.{name}.{component}"),
            (None, Pass::Combined) => component.to_string(),
            (None, _) => format!("{name}.{component}"),
        })
        .collect()
}

/// Writes a whole frame as lossless 32-bit float EXR: first to [`part_path`], then renamed.
///
/// # Errors
/// [`FrameFileError::Io`], [`FrameFileError::Format`], or [`FrameFileError::Unexpected`] when a plane does not
/// have one pixel a pixel of the rectangle.
pub fn write_exr(
    frame: &RenderedRect,
    layer: Option<&str>,
    packing: Packing,
    path: &Path,
) -> std::result::Result<(), FrameFileError> {
    let rect = frame.rect;
    let mut channels = Vec::new();
    for (pass, plane) in &frame.planes {
        if plane.len() as u64 != rect.area() {
            let why = format!("pass {pass} has {} pixels", plane.len());
            return Err(unexpected(path, why));
        }
        for (index, name) in channel_names(layer, *pass).into_iter().enumerate() {
            channels.push((name, plane.iter().map(|pixel| pixel[index]).collect()));
        }
    }
    let attributes = layer.map(|_| MULTI_LAYER_ATTRIBUTE);
    let part = part_path(path);
    write_channels(rect, channels, attributes.as_slice(), packing, &part)?;
    fs::rename(&part, path).map_err(|e| io_error(path, e))
}

/// Writes named channels and text attributes, lossless.
pub(crate) fn write_channels(
    rect: Rect,
    channels: Vec<(String, Vec<f32>)>,
    attributes: &[(&str, &str)],
    packing: Packing,
    path: &Path,
) -> std::result::Result<(), FrameFileError> {
    let mut list = SmallVec::new();
    for (name, samples) in channels {
        let text = Text::new_or_none(&name)
            .ok_or_else(|| format_error(path, format!("`{name}` is no channel name")))?;
        list.push(AnyChannel::new(text, FlatSamples::F32(samples)));
    }
    let mut about = LayerAttributes::default();
    for (name, value) in attributes {
        let texts = Text::new_or_none(name).zip(Text::new_or_none(value));
        let (name, value) =
            texts.ok_or_else(|| format_error(path, format!("`{name}` is no attribute name")))?;
        about.other.insert(name, AttributeValue::Text(value));
    }
    let encoding = Encoding {
        compression: match packing {
            Packing::Zip => Compression::ZIP16,
            Packing::None => Compression::Uncompressed,
        },
        blocks: Blocks::ScanLines,
        line_order: LineOrder::Increasing,
    };
    let size = (rect.width as usize, rect.height as usize);
    let layer = Layer::new(size, about, encoding, AnyChannels::sort(list));
    Image::from_layer(layer)
        .write()
        .to_file(path)
        .map_err(|e| format_error(path, e))
}

/// Reads the named passes of a file that covers exactly `rect`.
///
/// # Errors
/// See [`FrameFileError`]; [`FrameFileError::Unexpected`] when the size or a channel is not the one asked for.
/// Nothing is decoded before the size is known to fit.
pub fn read_exr(
    path: &Path,
    layer: Option<&str>,
    rect: Rect,
    passes: &[Pass],
) -> std::result::Result<RenderedRect, FrameFileError> {
    check_exr(path, layer, rect, passes)?;
    let image = read_all_flat_layers_from_file(path).map_err(|e| format_error(path, e))?;
    // The scene's own normals come before those of the denoising data.
    let channel = |name: &str| {
        let all = || {
            image
                .layer_data
                .iter()
                .flat_map(|layer| &layer.channel_data.list)
        };
        all()
            .find(|channel| channel.name == *name)
            .or_else(|| all().find(|channel| is_channel(&channel.name, name)))
            .ok_or_else(|| unexpected(path, format!("it has no channel `{name}`")))
    };
    let mut planes = Vec::with_capacity(passes.len());
    for &pass in passes {
        let mut plane = vec![[0.0; 4]; rect.area() as usize];
        for (index, name) in channel_names(layer, pass).iter().enumerate() {
            let FlatSamples::F32(samples) = &channel(name)?.sample_data else {
                return Err(unexpected(
                    path,
                    format!("channel `{name}` is not 32-bit float"),
                ));
            };
            for (pixel, sample) in plane.iter_mut().zip(samples) {
                pixel[index] = *sample;
            }
        }
        planes.push((pass, plane));
    }
    Ok(RenderedRect { rect, planes })
}

/// Checks by its header that a file covers exactly `rect` and has these passes.
///
/// # Errors
/// As [`read_exr`].
pub(crate) fn check_exr(
    path: &Path,
    layer: Option<&str>,
    rect: Rect,
    passes: &[Pass],
) -> std::result::Result<(), FrameFileError> {
    let bytes = fs::metadata(path).map_err(|e| io_error(path, e))?.len();
    if bytes > rect.area() * FILE_CHANNELS_MAX * 4 + HEADER_BYTES_MAX {
        return Err(unexpected(
            path,
            format!("{bytes} bytes are too many for {rect}"),
        ));
    }
    let meta = MetaData::read_from_file(path, false).map_err(|e| format_error(path, e))?;
    let other =
        |found: Vec2<usize>| (found.0, found.1) != (rect.width as usize, rect.height as usize);
    if let Some(Vec2(width, height)) = meta
        .headers
        .iter()
        .map(|header| header.layer_size)
        .find(|&size| other(size))
    {
        return Err(unexpected(
            path,
            format!("it has {width}x{height} pixels instead of {rect}"),
        ));
    }
    let channels = || meta.headers.iter().flat_map(|header| &header.channels.list);
    if channels().count() as u64 > FILE_CHANNELS_MAX {
        return Err(unexpected(
            path,
            format!("it has {} channels", channels().count()),
        ));
    }
    for name in passes.iter().flat_map(|&pass| channel_names(layer, pass)) {
        if !channels().any(|channel| is_channel(&channel.name, &name)) {
            return Err(unexpected(path, format!("it has no channel `{name}`")));
        }
    }
    Ok(())
}

/// Does a channel of a file carry this name, or stand for it?
fn is_channel(found: &Text, wanted: &str) -> bool {
    *found == *wanted || *found == *wanted.replace(".Normal.", ".Denoising Normal.")
}

/// Writes 8-bit RGBA pixels, rows from the top, as PNG: first to [`part_path`], then renamed.
///
/// # Errors
/// [`FrameFileError::Unexpected`] when `rgba` has not 4 bytes a pixel; else as [`write_exr`].
pub fn write_png(size: Size, rgba: &[u8], path: &Path) -> std::result::Result<(), FrameFileError> {
    if rgba.len() as u64 != size.area() * 4 {
        return Err(unexpected(path, format!("{} bytes for {size}", rgba.len())));
    }
    let part = part_path(path);
    image::save_buffer_with_format(
        &part,
        rgba,
        size.width,
        size.height,
        image::ColorType::Rgba8,
        image::ImageFormat::Png,
    )
    .map_err(|e| format_error(&part, e))?;
    fs::rename(&part, path).map_err(|e| io_error(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rect: Rect) -> RenderedRect {
        let plane = |pass: Pass, scale: f32| {
            let pixel = |i: u64| {
                let mut pixel = [0.0; 4];
                pixel
                    .iter_mut()
                    .take(pass.channels())
                    .enumerate()
                    .for_each(|(c, value)| *value = (i as f32 + c as f32 * 0.1) * scale);
                pixel
            };
            (pass, (0..rect.area()).map(pixel).collect())
        };
        RenderedRect {
            rect,
            planes: vec![
                plane(Pass::Combined, 0.37),
                plane(Pass::Depth, 1e6),
                plane(Pass::Normal, -0.1),
                plane(Pass::Albedo, 3.3e-7),
            ],
        }
    }

    #[test]
    fn frames_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frame.exr");
        let written = frame(Rect {
            x: 0,
            y: 0,
            width: 37,
            height: 21,
        });
        for layer in [None, Some("View Layer")] {
            write_exr(&written, layer, Packing::Zip, &path).unwrap();
            let read = read_exr(&path, layer, written.rect, &Pass::ALL).unwrap();
            assert_eq!(read, written);
        }
        assert!(!part_path(&path).exists());
    }

    #[test]
    fn another_size_or_pass_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frame.exr");
        let mut written = frame(Rect {
            x: 0,
            y: 0,
            width: 16,
            height: 9,
        });
        written.planes.truncate(1);
        write_exr(&written, Some("A"), Packing::None, &path).unwrap();
        let rect = written.rect;
        let read = |layer, rect, passes: &[Pass]| read_exr(&path, Some(layer), rect, passes);
        assert!(read("A", rect, &[Pass::Combined]).is_ok());
        let wider = Rect { width: 17, ..rect };
        for result in [
            read("A", wider, &[Pass::Combined]),
            read("B", rect, &[Pass::Combined]),
            read("A", rect, &Pass::ALL),
        ] {
            assert!(
                matches!(result, Err(FrameFileError::Unexpected { .. })),
                "{result:?}"
            );
        }
        fs::write(&path, b"garbage").unwrap();
        assert!(matches!(
            read("A", rect, &Pass::ALL),
            Err(FrameFileError::Format { .. })
        ));
    }

    #[test]
    fn pictures_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frame.png");
        let rgba: Vec<u8> = (0..3 * 5 * 4).map(|i| i * 4).collect();
        let size = Size {
            width: 3,
            height: 5,
        };
        write_png(size, &rgba, &path).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgba8().into_raw(), rgba);
        assert!(write_png(size, &rgba[1..], &path).is_err());
    }
}
