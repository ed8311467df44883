//! What parent and child say to each other: postcard messages after a four-byte length, little endian. The
//! canonical bytes of a rectangle follow their message unwrapped.

use crate::{EngineError, SceneDescription, sandbox::Confinement};
use protocol::{
    Rect, RenderSettings,
    limits::{MESSAGE_BYTES_MAX, TASK_BYTES_MAX, TEXT_BYTES_MAX},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

/// From parent to child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// The first message: confine yourself, then load this scene.
    Prepare {
        bundle: PathBuf,
        entry: String,
        scratch: PathBuf,
        memory_bytes_max: u64,
    },
    /// Render; answered by one [`FromChild::Rect`] each, then [`FromChild::Rendered`].
    Render {
        number: u64,
        settings: RenderSettings,
        frame: i32,
        rects: Vec<Rect>,
    },
    /// Stop the render of this number.
    Cancel { number: u64 },
}

/// From child to parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// The first message: the engine is there.
    Hello,
    /// The answer to `Prepare`.
    Prepared(Result<Prepared, Failure>),
    /// This many canonical bytes of a rectangle follow.
    Rect { rect: Rect, bytes: u64 },
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

/// The bytes that follow a [`FromChild::Rect`].
pub(super) fn receive_pixels(pipe: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    if bytes > TASK_BYTES_MAX {
        return Err(io::Error::other("a rectangle is too large"));
    }
    let mut pixels = vec![0; bytes as usize];
    pipe.read_exact(&mut pixels)?;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Size;

    #[test]
    fn messages_come_back_and_absurd_lengths_are_refused() {
        let mut pipe = Vec::new();
        let rect = Size::new(8, 8).unwrap().rect();
        send(&mut pipe, &FromChild::Rect { rect, bytes: 1024 }).unwrap();
        let mut reader = pipe.as_slice();
        let back = receive(&mut reader).unwrap();
        assert!(matches!(back, Some(FromChild::Rect { bytes: 1024, .. })));
        assert!(matches!(receive::<FromChild>(&mut reader), Ok(None)));
        assert!(receive::<FromChild>(&mut [255; 8].as_slice()).is_err());
        assert!(receive_pixels(&mut io::empty(), u64::MAX).is_err());
    }
}
