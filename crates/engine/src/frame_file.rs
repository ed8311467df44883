//! Frames as files: multi-layer float EXR for raw passes, PNG for pictures.
//!
//! Channels are named as Blender names them, so that Blender and compositing programs read the files as its
//! own: `ViewLayer.Combined.R`, `ViewLayer.Depth.Z`, `ViewLayer.Normal.X`, `ViewLayer.Denoising Albedo.R`. A
//! frame without a layer has the plain colour names `R`, `G`, `B`, `A` that every viewer shows, and
//! `Depth.Z`, `Normal.X`, `Albedo.R`.

use exr::prelude::*;
use protocol::{Pass, Rect, RenderedRect, Size, limits::PASSES_MAX};
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

/// Room for the header of a file, over the pixels themselves.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Channels that a file may have: all passes of a job.
const FILE_CHANNELS_MAX: u64 = 4 * PASSES_MAX as u64;
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

/// The channels of a file that carry a pass, in the order of [`RenderedRect`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plane {
    /// The pass.
    pub pass: Pass,
    /// Names of at most four channels; those that a pass has besides are zero.
    pub channels: Vec<String>,
}

/// The planes of passes that have names: as Blender names their channels in a layer, or without a layer.
pub fn named_planes(layer: Option<&str>, passes: &[Pass]) -> Vec<Plane> {
    let plane = |&pass: &Pass| Plane {
        pass,
        channels: channel_names(layer, pass),
    };
    passes.iter().map(plane).collect()
}

fn channel_names(layer: Option<&str>, pass: Pass) -> Vec<String> {
    let number;
    let (name, components) = match (pass, layer) {
        (Pass::Combined, _) => ("Combined", "RGBA"),
        (Pass::Depth, _) => ("Depth", "Z"),
        (Pass::Normal, _) => ("Normal", "XYZ"),
        (Pass::Albedo, Some(_)) => ("Denoising Albedo", "RGB"),
        (Pass::Albedo, None) => ("Albedo", "RGB"),
        (Pass::Plane(_), _) => {
            number = pass.to_string();
            (number.as_str(), "XYZW")
        }
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
    planes: &[Plane],
    attributes: &Attributes,
    packing: Packing,
    path: &Path,
) -> std::result::Result<(), FrameFileError> {
    let rect = frame.rect;
    let mut channels = Vec::new();
    for (pass, pixels) in &frame.planes {
        if pixels.len() as u64 != rect.area() {
            let why = format!("pass {pass} has {} pixels", pixels.len());
            return Err(unexpected(path, why));
        }
        let named = planes.iter().filter(|plane| plane.pass == *pass);
        for (index, name) in named.flat_map(|plane| plane.channels.iter().enumerate()) {
            channels.push((
                name.clone(),
                pixels.iter().map(|pixel| pixel[index]).collect(),
            ));
        }
    }
    let part = part_path(path);
    write_channels(rect, channels, attributes, packing, &part)?;
    fs::rename(&part, path).map_err(|e| io_error(path, e))
}

/// Texts in the header of a file, by their names.
pub type Attributes = BTreeMap<String, String>;

/// What readers know a multi-layer file by.
pub fn multi_layer_attributes() -> Attributes {
    let (name, value) = MULTI_LAYER_ATTRIBUTE;
    Attributes::from([(name.to_owned(), value.to_owned())])
}

/// The texts in the header of a file.
///
/// # Errors
/// [`FrameFileError::Format`].
pub(crate) fn read_attributes(path: &Path) -> std::result::Result<Attributes, FrameFileError> {
    let meta = MetaData::read_from_file(path, false).map_err(|e| format_error(path, e))?;
    let mut found = Attributes::new();
    for header in &meta.headers {
        let both = [
            &header.shared_attributes.other,
            &header.own_attributes.other,
        ];
        for (name, value) in both.into_iter().flatten() {
            if let AttributeValue::Text(text) = value {
                found.insert(name.to_string(), text.to_string());
            }
        }
    }
    Ok(found)
}

/// Writes named channels and text attributes, lossless.
pub(crate) fn write_channels(
    rect: Rect,
    channels: Vec<(String, Vec<f32>)>,
    attributes: &Attributes,
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

/// Reads these planes of a file that covers exactly `rect`. Where a file has its views as parts, their names stand
/// before the component's: `ViewLayer.Combined.left.R`.
///
/// # Errors
/// See [`FrameFileError`]; [`FrameFileError::Unexpected`] when the size or a channel is not the one asked for.
/// Nothing is decoded before the size is known to fit.
pub fn read_exr(
    path: &Path,
    rect: Rect,
    planes: &[Plane],
) -> std::result::Result<RenderedRect, FrameFileError> {
    check_size(path, rect)?;
    let image = read_all_flat_layers_from_file(path).map_err(|e| format_error(path, e))?;
    let mut channels = HashMap::new();
    for layer in &image.layer_data {
        let view = layer.attributes.view_name.as_ref().map(Text::to_string);
        for channel in &layer.channel_data.list {
            let name = with_view(channel.name.to_string(), view.as_deref());
            channels.insert(name, &channel.sample_data);
        }
    }
    let read = |plane: &Plane| {
        let mut pixels = vec![[0.0; 4]; rect.area() as usize];
        for (index, name) in plane.channels.iter().enumerate() {
            let samples = match channels.get(name) {
                Some(FlatSamples::F32(samples)) => samples,
                Some(_) => {
                    let why = format!("channel `{name}` is not 32-bit float");
                    return Err(unexpected(path, why));
                }
                None => return Err(unexpected(path, format!("it has no channel `{name}`"))),
            };
            for (pixel, sample) in pixels.iter_mut().zip(samples) {
                pixel[index] = *sample;
            }
        }
        Ok((plane.pass, pixels))
    };
    let planes = planes
        .iter()
        .map(read)
        .collect::<std::result::Result<_, _>>()?;
    Ok(RenderedRect { rect, planes })
}

/// A channel's name with the view that its part of the file is of.
fn with_view(name: String, view: Option<&str>) -> String {
    match (view, name.rsplit_once('.')) {
        (Some(view), Some((before, component))) if !before.ends_with(&format!(".{view}")) => {
            format!("{before}.{view}.{component}")
        }
        _ => name,
    }
}

/// Checks by its header that a file covers exactly `rect`.
fn check_size(path: &Path, rect: Rect) -> std::result::Result<(), FrameFileError> {
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
    let channels = meta.headers.iter().map(|header| header.channels.list.len());
    match channels.sum::<usize>() as u64 {
        count if count > FILE_CHANNELS_MAX => {
            Err(unexpected(path, format!("it has {count} channels")))
        }
        _ => Ok(()),
    }
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
            let planes = named_planes(layer, &Pass::ALL);
            let attributes = multi_layer_attributes();
            write_exr(&written, &planes, &attributes, Packing::Zip, &path).unwrap();
            let read = read_exr(&path, written.rect, &planes).unwrap();
            assert_eq!(read_attributes(&path).unwrap(), attributes);
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
        let planes = named_planes(Some("A"), &[Pass::Combined]);
        write_exr(&written, &planes, &Attributes::new(), Packing::None, &path).unwrap();
        let rect = written.rect;
        let read = |layer, rect, passes: &[Pass]| {
            read_exr(&path, rect, &named_planes(Some(layer), passes))
        };
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
