//! The built-in path tracer as an engine.

use crate::{CancelFlag, Engine, EngineError, Merging, SceneDescription, frame_file::named_planes};
use protocol::{EngineKind, Pass, Rect, RenderSettings, RenderedRect, Size};
use std::{collections::VecDeque, path::Path};
use tracer::{
    gltf::Scene,
    render::{RenderError, Renderer, SampleRange},
};

/// Frames that stay ready to trace: the current one, and the one whose probes come in between.
const RENDERERS_MAX: usize = 2;

/// A glTF scene and the frames of it that were rendered last.
#[derive(Default)]
pub struct TracerEngine {
    scene: Option<Scene>,
    /// Latest first.
    renderers: VecDeque<(i32, Size, Renderer)>,
}

impl TracerEngine {
    /// An engine without a scene.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frame ready to trace, built unless it is one of the last.
    fn renderer(&mut self, frame: i32, size: Size) -> Result<&Renderer, EngineError> {
        let known = self
            .renderers
            .iter()
            .position(|known| (known.0, known.1) == (frame, size));
        let entry = match known.and_then(|index| self.renderers.remove(index)) {
            Some(entry) => entry,
            None => {
                let scene = self.scene.as_ref();
                let scene =
                    scene.ok_or_else(|| EngineError::Failed("no scene was prepared".into()))?;
                let world = scene
                    .world(frame, size)
                    .map_err(|e| EngineError::Scene(e.to_string()))?;
                self.renderers.truncate(RENDERERS_MAX - 1);
                (
                    frame,
                    size,
                    Renderer::new(world, size).map_err(render_error)?,
                )
            }
        };
        self.renderers.push_front(entry);
        match self.renderers.front() {
            Some((_, _, renderer)) => Ok(renderer),
            None => Err(EngineError::Failed("no frame is ready".into())),
        }
    }
}

impl Engine for TracerEngine {
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        if let Some(scene) = scene {
            let why = format!("scenes of glTF files are not chosen by name: {scene}");
            return Err(EngineError::Scene(why));
        }
        *self = Self::default();
        let scene =
            Scene::load(&bundle.join(entry)).map_err(|e| EngineError::Scene(e.to_string()))?;
        let about = scene.about().clone();
        self.scene = Some(scene);
        Ok(SceneDescription {
            engine: EngineKind::Tracer,
            size: None,
            has_border: false,
            whole_frames: false,
            frames: about.frames,
            frame_step: 1,
            frame_rate: about.frame_rate as f32,
            samples: None,
            planes: named_planes(None, &Pass::ALL),
            finish_passes: vec![Pass::Combined],
            indivisible: Some("the built-in renderer's samples are not divided".into()),
            unequal_samples: false,
            merging: Merging::default(),
            output: None,
            guard_px: 0,
            notes: about.notes,
            warnings: about.warnings,
        })
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        let renderer = self.renderer(frame, settings.size)?;
        // All at once: single pixels are shared out among the processor's cores too.
        let whole = SampleRange::all(settings.samples);
        let parts: Vec<(Rect, SampleRange)> = rects.iter().map(|&rect| (rect, whole)).collect();
        renderer
            .render_parts(settings, frame, &parts, &|| cancel.is_cancelled())
            .map_err(render_error)
    }

    fn build(&self) -> String {
        format!("tracer {}", env!("CARGO_PKG_VERSION"))
    }
}

fn render_error(error: RenderError) -> EngineError {
    match error {
        RenderError::Cancelled => EngineError::Cancelled,
        RenderError::World(_) | RenderError::TriangleCount { .. } => {
            EngineError::Scene(error.to_string())
        }
        RenderError::Rect { .. } | RenderError::Settings(_) => {
            EngineError::Failed(error.to_string())
        }
    }
}
