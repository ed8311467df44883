//! What parent and child say to each other: postcard messages after a four-byte length, little endian. The pixels of
//! rectangles follow their message unwrapped: plane after plane, row after row, four values of f32 each.

use crate::{EngineError, SceneDescription, sandbox::Confinement};
use protocol::{
    Pass, Rect, RenderSettings, RenderedRect, SampleRange,
    limits::{MESSAGE_BYTES_MAX, TASK_BYTES_MAX, TEXT_BYTES_MAX},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

/// Most rectangles in one [`ToChild::Render`]: in bytes far below a message's limit.
pub(super) const RENDER_RECTS_MAX: usize = 16_384;
const _: () = assert!((RENDER_RECTS_MAX * size_of::<Rect>() * 2) as u64 <= MESSAGE_BYTES_MAX);

/// From parent to child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// The first message: confine yourself to a scene that will lie in this folder, and warm up.
    Confine {
        bundle: PathBuf,
        scratch: PathBuf,
        memory_bytes_max: u64,
    },
    /// The second message: load this scene, of that folder.
    Prepare(SceneFile),
    /// Render at most [`RENDER_RECTS_MAX`] rectangles; answered by some [`FromChild::Rects`], then
    /// [`FromChild::Rendered`].
    Render {
        number: u64,
        settings: RenderSettings,
        frame: i32,
        range: Option<SampleRange>,
        rects: Vec<Rect>,
    },
    /// Stop the render of this number.
    Cancel { number: u64 },
}

/// What a child loads, as [`crate::Engine::prepare`] is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SceneFile {
    pub(super) bundle: PathBuf,
    pub(super) entry: String,
    pub(super) scene: Option<String>,
}

/// From child to parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// The first message: the engine is there.
    Hello,
    /// The answer to `Prepare`.
    Prepared(Box<Result<Prepared, Failure>>),
    /// The pixels of the next so many rectangles follow, in so many bytes.
    Rects { count: u32, bytes: u64 },
    /// The answer to `Render`, after its rectangles.
    Rendered(Result<(), Failure>),
}

/// What a child is once it has loaded a scene.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) description: SceneDescription,
    pub(super) confinement: Confinement,
    /// The engine's build; some know it only once they run.
    pub(super) build: String,
}

/// An [`EngineError`] that travels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Scene(String),
    Missing(String),
    Failed(String),
    Cancelled,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let short = |text: String| text.chars().take(TEXT_BYTES_MAX / 4).collect();
        match error {
            EngineError::Scene(text) => Self::Scene(short(text)),
            EngineError::Missing(text) => Self::Missing(short(text)),
            EngineError::Failed(text) => Self::Failed(short(text)),
            EngineError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Scene(text) => Self::Scene(text),
            Failure::Missing(text) => Self::Missing(text),
            Failure::Failed(text) => Self::Failed(text),
            Failure::Cancelled => Self::Cancelled,
        }
    }
}

pub(super) fn send(pipe: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|&length| u64::from(length) <= MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the message is too long"))?;
    pipe.write_all(&length.to_le_bytes())?;
    pipe.write_all(&bytes)?;
    pipe.flush()
}

/// The next message; none at the end of the pipe.
pub(super) fn receive<T: DeserializeOwned>(pipe: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match pipe.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_le_bytes(length);
    if u64::from(length) > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = vec![0; length as usize];
    pipe.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes)
        .map(Some)
        .map_err(io::Error::other)
}

/// The bytes that follow a [`FromChild::Rects`].
pub(super) fn receive_pixels(pipe: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    if bytes > TASK_BYTES_MAX {
        return Err(io::Error::other("a rectangle is too large"));
    }
    let mut pixels = vec![0; bytes as usize];
    pipe.read_exact(&mut pixels)?;
    Ok(pixels)
}

/// Appends the pixels of a rectangle.
pub(super) fn write_pixels(rendered: &RenderedRect, out: &mut Vec<u8>) {
    for (_, plane) in &rendered.planes {
        let values = plane.iter().flatten();
        out.extend(values.flat_map(|value| value.to_le_bytes()));
    }
}

/// Bytes of a rectangle's pixels.
pub(super) fn pixel_bytes(rect: &Rect, passes: &[Pass]) -> usize {
    rect.area() as usize * passes.len() * PIXEL_BYTES
}

/// Reads the pixels of a rectangle; none when there are more or fewer bytes, or a value is not finite.
pub(super) fn read_pixels(rect: Rect, passes: &[Pass], bytes: &[u8]) -> Option<RenderedRect> {
    if bytes.len() != pixel_bytes(&rect, passes) {
        return None;
    }
    let value = |raw: &[u8; 4]| f32::from_le_bytes(*raw);
    let pixel = |raw: &[u8; PIXEL_BYTES]| {
        let (channels, _) = raw.as_chunks::<4>();
        [0, 1, 2, 3].map(|channel| value(&channels[channel]))
    };
    let (pixels, _) = bytes.as_chunks::<PIXEL_BYTES>();
    let area = rect.area() as usize;
    let plane = |(number, &pass): (usize, &Pass)| {
        let plane = &pixels[number * area..(number + 1) * area];
        (pass, plane.iter().map(pixel).collect())
    };
    let planes: Vec<(Pass, Vec<[f32; 4]>)> = passes.iter().enumerate().map(plane).collect();
    let mut values = planes.iter().flat_map(|(_, plane)| plane.iter().flatten());
    let is_finite = values.all(|value| value.is_finite());
    is_finite.then_some(RenderedRect { rect, planes })
}

/// Bytes of a pixel of one pass.
const PIXEL_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back_unless_one_is_missing_or_not_finite() {
        let rect = Rect {
            x: 3,
            y: 4,
            width: 2,
            height: 1,
        };
        let passes = [Pass::Combined, Pass::Depth];
        let planes = passes.map(|pass| (pass, vec![[1.0, 2.0, 3.0, 4.0], [5.0; 4]]));
        let rendered = RenderedRect {
            rect,
            planes: planes.to_vec(),
        };
        let mut bytes = Vec::new();
        write_pixels(&rendered, &mut bytes);
        assert_eq!(bytes.len(), pixel_bytes(&rect, &passes));
        assert_eq!(read_pixels(rect, &passes, &bytes), Some(rendered));
        assert_eq!(read_pixels(rect, &passes, &bytes[1..]), None);
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(read_pixels(rect, &passes, &bytes), None);
    }

    #[test]
    fn messages_come_back_and_absurd_lengths_are_refused() {
        let mut pipe = Vec::new();
        let sent = FromChild::Rects {
            count: 3,
            bytes: 1024,
        };
        send(&mut pipe, &sent).unwrap();
        let mut reader = pipe.as_slice();
        let back = receive(&mut reader).unwrap();
        assert!(matches!(back, Some(FromChild::Rects { bytes: 1024, .. })));
        assert!(matches!(receive::<FromChild>(&mut reader), Ok(None)));
        assert!(receive::<FromChild>(&mut [255; 8].as_slice()).is_err());
        assert!(receive_pixels(&mut io::empty(), u64::MAX).is_err());
    }
}
