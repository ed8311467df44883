//! Engines: what turns (bundle, frame, rectangle) into pixels, behind one small trait.

pub mod blender;
pub mod child;
pub mod cost;
pub mod doctor;
mod environment;
pub mod fingerprint;
pub mod frame_file;
mod log;
pub mod merging;
pub mod sandbox;
mod scratch;
mod system;
mod tracer_engine;

pub use blender::{BlenderEngine, BlenderOptions, Device, ProcessLimits, find_blender};
pub use child::{ChildEngine, ChildProgram, serve_child};
pub use cost::{RectangleCost, measure_cost};
pub use fingerprint::{Calibration, calibrate, class_fingerprint};
pub use frame_file::Plane;
pub use merging::Merging;
pub use tracer_engine::TracerEngine;

use protocol::{EngineKind, Pass, Rect, RenderSettings, RenderedRect, SampleRange, Size};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Something that renders scenes. One value serves one job: [`Engine::prepare`] once, then rectangles.
/// Calls block; run them on a thread of their own.
pub trait Engine: Send {
    /// Starts what takes time and does not need the scene, which will lie in the folder `bundle`. Optional, and best
    /// effort: what fails here fails again, and says so, in [`Engine::prepare`].
    fn warm_up(&mut self, _bundle: &Path) {}

    /// Loads the scene file below `bundle`, and of its scenes the named one or else the file's own choice, and keeps it
    /// loaded.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError>;

    /// Renders rectangles of one frame, in the order given, each with the passes of `settings`: whole cells, and where
    /// single pixels cost no more than others (the tracer) any, thousands in one call.
    /// The same arguments give the same bits, whatever was rendered before.
    ///
    /// # Errors
    /// See [`EngineError`]; [`EngineError::Cancelled`] soon after `cancel` is set.
    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError>;

    /// As [`Engine::render`], but of each pixel only these of its `settings.samples`, if they are given: means over them.
    ///
    /// # Errors
    /// See [`EngineError`]; an engine that renders no ranges of samples says so.
    fn render_range(
        &mut self,
        settings: &RenderSettings,
        (frame, range): (i32, Option<SampleRange>),
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        match range {
            None => self.render(settings, frame, rects, cancel),
            Some(range) => Err(EngineError::Failed(format!(
                "samples {range} were asked for: this engine renders all or none"
            ))),
        }
    }

    /// Program, version and build, known once a scene was prepared, as part of the determinism class: `tracer 0.1.0`, `blender 5.0.1 a1b2c3 CPU`.
    fn build(&self) -> String;

    /// Devices that the engine reads, writes and commands, besides those that every program needs.
    fn device_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Folders and files that the engine's own program reads, besides those of the system: what a sandbox must
    /// leave open.
    fn program_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Asks a running render to stop; shared between threads.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Sets it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Is it set?
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a scene says of itself.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SceneDescription {
    /// The engine that read it.
    pub engine: EngineKind,
    /// Size that the scene asks for (percentage applied), if it has an opinion.
    pub size: Option<Size>,
    /// Does it render a part of the camera's picture, so that its size is fixed?
    pub has_border: bool,
    /// Are frames drawn as a whole only, not in rectangles?
    pub whole_frames: bool,
    /// First and last frame of its animation.
    pub frames: (i32, i32),
    /// Every how many frames one is rendered.
    pub frame_step: i32,
    /// Frames a second.
    pub frame_rate: f32,
    /// Samples a pixel that the scene asks for, if it has an opinion.
    pub samples: Option<u32>,
    /// What the engine can deliver for it, in canonical order, with the names that frame files have for it. A job asks for
    /// the first so many.
    pub planes: Vec<Plane>,
    /// Why its samples cannot be divided into ranges, if so.
    pub indivisible: Option<String>,
    /// Do its view layers have different numbers of samples? Then these can be divided only where a job gives all the same.
    pub unequal_samples: bool,
    /// How ranges of its samples are merged, and what a job has to ask for besides to do so.
    pub merging: Merging,
    /// Those that finishing a frame needs (compositing, denoising): ask for at least these.
    pub finish_passes: Vec<Pass>,
    /// Where the scene's own program would write frames.
    pub output: Option<SceneOutput>,
    /// See [`RenderSettings::guard_px`].
    pub guard_px: u32,
    /// What a person should know: "no camera: the scene was framed automatically".
    pub notes: Vec<String>,
    /// What will make the result differ from the scene's own program ("compositing is on: not applied yet").
    pub warnings: Vec<String>,
}

impl SceneDescription {
    /// Everything that the engine can deliver.
    pub fn passes(&self) -> Vec<Pass> {
        self.planes.iter().map(|plane| plane.pass).collect()
    }
}

/// Where and how a scene's own program writes frames.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SceneOutput {
    /// A path with `#` for each digit of the frame's number.
    pub path: PathBuf,
    /// The format's name in that program.
    pub format: String,
    /// What stands behind the names of files where there is one for each view.
    pub suffixes: Vec<String>,
}

/// Why an engine could not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file is not a scene, is damaged, or asks for something that this engine refuses by name.
    #[error("{0}")]
    Scene(String),
    /// The engine's program was not found or does not start.
    #[error("{0}")]
    Missing(String),
    /// The engine failed or returned something other than what was asked.
    #[error("{0}")]
    Failed(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}
