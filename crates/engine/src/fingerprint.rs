//! The determinism class of an engine on this machine: measured with a small render, never believed.

use crate::{CancelFlag, Engine, EngineError, cost::middle};
use protocol::{Blake3Hash, RenderSettings, pixels::task_bytes};
use std::time::{Duration, Instant};

/// Side of the rectangle that is rendered, in cells.
const CALIBRATION_CELLS: u32 = 8;
/// Samples of the calibration render, fewer if the job has fewer.
const CALIBRATION_SAMPLES_MAX: u32 = 16;

/// What a calibration render gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calibration {
    /// Hash of its canonical bytes.
    pub root: Blake3Hash,
    /// How long it took, scene load not counted: a first frame is rendered, then the one that is timed.
    pub took: Duration,
    /// Pixels times samples that were rendered in that time.
    pub pixel_samples: u64,
}

/// Renders a few cells in the middle of a frame, twice: the first pays for building the frame, the second is
/// timed.
///
/// # Errors
/// Those of the engine; [`EngineError::Failed`] when the two renders differ, because then nothing that it renders
/// can be compared.
pub fn calibrate(
    engine: &mut dyn Engine,
    settings: &RenderSettings,
    frame: i32,
    cancel: &CancelFlag,
) -> Result<Calibration, EngineError> {
    let rect = middle(settings, CALIBRATION_CELLS);
    let mut reduced = settings.clone();
    reduced.samples = settings.samples.min(CALIBRATION_SAMPLES_MAX);
    let mut root = || -> Result<Blake3Hash, EngineError> {
        let rendered = engine.render(&reduced, frame, &[rect], cancel)?;
        let bytes = task_bytes(&rendered, &reduced.passes)
            .map_err(|e| EngineError::Failed(format!("the calibration render: {e}")))?;
        Ok(Blake3Hash::of(&bytes))
    };
    let first = root()?;
    let started = Instant::now();
    let second = root()?;
    let took = started.elapsed();
    if first != second {
        return Err(EngineError::Failed(
            "two renders of the same cells differ: this engine is not deterministic here".into(),
        ));
    }
    let pixel_samples = rect.area() * u64::from(reduced.samples);
    Ok(Calibration {
        root: first,
        took,
        pixel_samples,
    })
}

/// The class of an engine: what gives the same bits has the same one.
pub fn class_fingerprint(build: &str, calibration: Blake3Hash) -> Blake3Hash {
    let mut hasher = blake3::Hasher::new_derive_key("open render farm 2026 determinism class v1");
    hasher.update(&(build.len() as u64).to_le_bytes());
    hasher.update(build.as_bytes());
    hasher.update(&calibration.0);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_differ_by_build_and_by_pixels() {
        let (a, b) = (Blake3Hash::of(b"a"), Blake3Hash::of(b"b"));
        let class = class_fingerprint("tracer 1", a);
        assert_eq!(class, class_fingerprint("tracer 1", a));
        assert_ne!(class, class_fingerprint("tracer 2", a));
        assert_ne!(class, class_fingerprint("tracer 1", b));
    }
}
