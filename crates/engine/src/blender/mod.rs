//! The Blender engine: one warm Blender process per job, driven by our own script, rendering rectangles with
//! Cycles.
//!
//! What makes rectangles equal to whole frames: borders aimed inside integer pixels and checked on return, raw
//! linear passes without denoising, compositing or sequencer, the scene's own seed (the job's is added to it), and no feature whose
//! result depends on what was rendered before.

mod denoise;
mod device;
mod discovery;
mod ending;
mod finish;
mod passes;
mod picture;
mod process;
mod ranges;
mod watch;

pub use device::{Backend, Device, ListedDevice};
pub use discovery::{Found, ProgramKind, find_blender};
pub use finish::{Finished, write_raw};
pub use watch::ProcessLimits;

use crate::{
    CancelFlag, Engine, EngineError, SceneDescription, SceneOutput,
    frame_file::{self, Attributes, Plane},
    sandbox,
};
use passes::LayerPass;
use process::{Driver, DriverCommand};
use protocol::{EngineKind, Rect, RenderSettings, RenderedRect, SampleRange, Size};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest time that opening a scene may take.
const OPEN_SECONDS_MAX: u64 = 1_800;
/// Longest time that one rectangle may take; leases end sooner and cancel.
const RENDER_SECONDS_MAX: u64 = 48 * 3_600;
/// A warm process is restarted once it has grown by this much since its first rectangle.
const GROWTH_BYTES_MAX: u64 = 4 << 30;
/// Samples a pixel over which the influence of adaptive sampling spreads by one more pixel in Cycles.
const SAMPLES_PER_GUARD_PX: u32 = 16;
/// Pixels to each side that Cycles filters the guides of volumes over.
const VOLUME_FILTER_PX: u32 = 5;
/// Width of the edge that adaptive sampling changes in any case.
const ADAPTIVE_EDGE_PX: u32 = 2;

/// How to run Blender.
#[derive(Debug, Clone, Default)]
pub struct BlenderOptions {
    /// Render threads; 0 means one a processor. The number changes no pixel.
    pub threads: u32,
    /// Render with the kernel that every processor has, so that processors of different ages share a determinism class;
    /// costs some 5 to 8 % of the time.
    pub common_kernel: bool,
    /// What renders.
    pub device: Device,
    /// What its process may do before it is ended.
    pub limits: ProcessLimits,
}

/// A scene opened in Blender.
pub struct BlenderEngine {
    found: Found,
    options: BlenderOptions,
    scene: Option<OpenScene>,
    driver: Option<Driver>,
    /// A process that has opened no scene yet.
    idle: Option<Driver>,
    /// Memory of the process after its first rectangle.
    first_resident_bytes: Option<u64>,
    /// Are the texts in the header of the next rectangle wanted?
    keep_attributes: bool,
    attributes: Attributes,
    /// Was the last process lost after it had rendered something?
    is_lost_when_warm: bool,
    /// The card that renders, once the process runs.
    card: Option<ListedDevice>,
}

#[derive(Clone)]
struct OpenScene {
    path: PathBuf,
    /// The scene of the file that was asked for.
    name: Option<String>,
    passes: Vec<LayerPass>,
    passes_needed: usize,
    planes: Vec<Plane>,
    /// What ranges of samples are weighed by, besides.
    weight_planes: Vec<Plane>,
    whole_frames: bool,
}

impl OpenScene {
    /// Are passes asked for that ranges are weighed by, and that the scene itself does not deliver?
    fn weighs(&self, settings: &RenderSettings) -> bool {
        let mut passes = self.weight_planes.iter().map(|plane| plane.pass);
        passes.any(|pass| settings.passes.contains(&pass))
    }
}

/// The driver's answer to `open`.
#[derive(Deserialize)]
struct Opened {
    size: (u32, u32),
    has_border: bool,
    whole_frames: bool,
    frames: (i32, i32),
    frame_step: i32,
    frame_rate: f32,
    samples: u32,
    adaptive: bool,
    guided_volumes: bool,
    passes: Vec<LayerPass>,
    needed_passes: usize,
    /// What ranges of samples are weighed by, and the scene itself does not deliver.
    weight_passes: Vec<LayerPass>,
    indivisible: Option<String>,
    unequal_samples: bool,
    output: SceneOutput,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Done {
    resident_bytes: u64,
    /// Has every pixel that was rendered an alpha?
    #[serde(default)]
    opaque: bool,
    /// Cycles' id of the card that rendered.
    #[serde(default)]
    card: Option<String>,
}

impl BlenderEngine {
    /// An engine that starts this Blender when it is first needed.
    pub fn new(found: Found, options: BlenderOptions) -> Self {
        Self {
            found,
            options,
            scene: None,
            driver: None,
            idle: None,
            first_resident_bytes: None,
            keep_attributes: false,
            attributes: Attributes::new(),
            is_lost_when_warm: false,
            card: None,
        }
    }

    /// Its Blender, as far as it is known before it runs.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn start(&mut self, cancel: &CancelFlag) -> Result<Driver, EngineError> {
        let (mut driver, hello) = Driver::start(&self.found, &self.options, cancel)?;
        self.found.version = hello.version;
        self.found.build_hash = hello.build_hash;
        self.card = driver.use_device(self.options.device, cancel)?;
        Ok(driver)
    }

    fn open(
        &mut self,
        path: &Path,
        scene: Option<&str>,
        cancel: &CancelFlag,
    ) -> Result<Opened, EngineError> {
        self.driver = None;
        self.first_resident_bytes = None;
        self.idle.take_if(|driver| !driver.is_running());
        let mut driver = match self.idle.take() {
            Some(driver) => driver,
            None => self.start(cancel)?,
        };
        let scratch = driver.folder().to_owned();
        let command = DriverCommand::Open {
            path,
            scene,
            scratch: &scratch,
        };
        let opened = driver
            .request(&command, cancel, Duration::from_secs(OPEN_SECONDS_MAX))
            .map_err(without_graphics)?;
        if let Some(error) = driver.take_log_errors().first() {
            return Err(EngineError::Scene(format!(
                "Blender reads the scene with errors: {error}"
            )));
        }
        self.driver = Some(driver);
        Ok(opened)
    }

    /// The process with the scene open, started again if it is gone.
    fn driver(&mut self, cancel: &CancelFlag) -> Result<&mut Driver, EngineError> {
        if self.driver.is_none() {
            let scene = self.scene.clone();
            let scene = scene.ok_or_else(no_scene)?;
            self.open(&scene.path, scene.name.as_deref(), cancel)?;
        }
        self.driver
            .as_mut()
            .ok_or_else(|| EngineError::Failed("Blender is not running".into()))
    }

    /// Does something that needs the process, and once more in a fresh one if the warm one was lost with it: what it had
    /// gathered, or somebody who ended it, may have been the reason.
    fn once_more<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.is_lost_when_warm = false;
        match work(self) {
            Err(EngineError::Failed(_)) if self.is_lost_when_warm => work(self),
            result => result,
        }
    }

    /// Sends a command; a process that failed it is not used again.
    fn request<T: serde::de::DeserializeOwned>(
        &mut self,
        command: &DriverCommand<'_>,
        cancel: &CancelFlag,
    ) -> Result<T, EngineError> {
        let driver = self.driver(cancel)?;
        let result = driver.request(command, cancel, Duration::from_secs(RENDER_SECONDS_MAX));
        let errors = driver.take_log_errors();
        self.is_lost_when_warm = driver.is_lost_when_warm();
        let result = match (result, errors.first()) {
            (Ok(_), Some(error)) => Err(EngineError::Failed(format!("Blender printed: {error}"))),
            (result, _) => result,
        };
        if matches!(result, Err(EngineError::Failed(_) | EngineError::Cancelled)) {
            self.driver = None;
        }
        result
    }

    fn render_one(
        &mut self,
        settings: &RenderSettings,
        (frame, range): (i32, Option<SampleRange>),
        rect: Rect,
        cancel: &CancelFlag,
    ) -> Result<RenderedRect, EngineError> {
        let scene = self.scene.clone().ok_or_else(no_scene)?;
        let planes = planes_of(&scene, settings)?;
        let grown = match scene.whole_frames {
            true => settings.size.rect(),
            false => rect.grown(settings.guard_px, settings.size),
        };
        let output = self.driver(cancel)?.folder().join("rectangle.exr");
        let command = DriverCommand::Render {
            frame,
            size: [settings.size.width, settings.size.height],
            rect: [grown.x, grown.y, grown.width, grown.height],
            samples: settings.samples,
            range: range.map(|range| [range.first, range.count]),
            weights: scene.weighs(settings),
            seed: settings.seed,
            threads: self.options.threads,
            output: &output,
        };
        let done = self.request::<Done>(&command, cancel)?;
        let rendered = frame_file::read_exr(&output, grown, &planes)
            .map_err(|e| EngineError::Failed(format!("rectangle {grown} of frame {frame}: {e}")))?;
        if self.keep_attributes {
            self.attributes = frame_file::read_attributes(&output)
                .map_err(|e| EngineError::Failed(e.to_string()))?;
        }
        fs::remove_file(&output)
            .map_err(|e| EngineError::Failed(format!("{}: {e}", output.display())))?;
        self.check_card(done.card.as_deref())?;
        picture::check(&rendered, frame, done.opaque)?;
        self.restart_when_grown(done.resident_bytes);
        Ok(crop(rendered, rect))
    }

    /// Can this Blender render these of so many samples of a pixel?
    fn check_range(&self, range: SampleRange, samples: u32) -> Result<(), EngineError> {
        let divides = self.found.release()?.divides_samples();
        let whole_frames = self.scene.as_ref().is_some_and(|scene| scene.whole_frames);
        if !divides || whole_frames {
            return Err(EngineError::Failed(format!(
                "samples {range} were asked for: only Cycles of Blender 4.4 and later divides them"
            )));
        }
        match range.count > 0 && range.end() <= samples {
            true => Ok(()),
            false => Err(EngineError::Failed(format!(
                "samples {range} are not some of {samples}"
            ))),
        }
    }

    /// What rendered is what was to render.
    fn check_card(&self, rendered_with: Option<&str>) -> Result<(), EngineError> {
        let wanted = self.card.as_ref();
        match wanted.map(|card| card.id.as_str()) == rendered_with {
            true => Ok(()),
            false => Err(EngineError::Failed(format!(
                "Blender did not render with the device {} but with {}",
                self.options.device,
                rendered_with.unwrap_or("the processor")
            ))),
        }
    }

    fn restart_when_grown(&mut self, resident_bytes: u64) {
        let first = *self.first_resident_bytes.get_or_insert(resident_bytes);
        if resident_bytes > first.saturating_add(GROWTH_BYTES_MAX) {
            self.driver = None;
            self.first_resident_bytes = None;
        }
    }
}

impl Engine for BlenderEngine {
    fn warm_up(&mut self, _bundle: &Path) {
        self.idle = self.start(&CancelFlag::default()).ok();
    }

    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        self.scene = None;
        let path = absolute(&bundle.join(entry))?;
        if !path.is_file() {
            return Err(EngineError::Scene(format!(
                "{} is not a file",
                path.display()
            )));
        }
        let opened = self.open(&path, scene, &CancelFlag::default())?;
        let size = Size::new(opened.size.0.into(), opened.size.1.into())
            .map_err(|e| EngineError::Scene(format!("the scene's resolution: {e}")))?;
        let (planes, planes_needed) = passes::planes(&opened.passes, opened.needed_passes);
        let weight_planes = passes::further_planes(&opened.weight_passes, planes.len());
        let finish_passes = planes[..planes_needed].iter().map(|plane| plane.pass);
        let merging = ranges::merging(
            &[&planes, &weight_planes],
            [&opened.passes, &opened.weight_passes],
            opened.adaptive,
        );
        let description = SceneDescription {
            engine: EngineKind::Blender,
            size: Some(size),
            has_border: opened.has_border,
            whole_frames: opened.whole_frames,
            frames: opened.frames,
            frame_step: opened.frame_step,
            frame_rate: opened.frame_rate,
            samples: Some(opened.samples),
            finish_passes: finish_passes.collect(),
            planes: planes.clone(),
            indivisible: opened.indivisible,
            unequal_samples: opened.unequal_samples,
            merging,
            output: Some(opened.output),
            guard_px: guard_px(opened.adaptive, opened.guided_volumes, opened.samples),
            notes: Vec::new(),
            warnings: opened.warnings,
        };
        self.scene = Some(OpenScene {
            path,
            name: scene.map(str::to_owned),
            passes: opened.passes,
            passes_needed: opened.needed_passes,
            planes,
            weight_planes,
            whole_frames: opened.whole_frames,
        });
        Ok(description)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        self.render_range(settings, (frame, None), rects, cancel)
    }

    fn render_range(
        &mut self,
        settings: &RenderSettings,
        part: (i32, Option<SampleRange>),
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        if settings.samples == 0 {
            return Err(EngineError::Failed("0 samples were asked for".into()));
        }
        if let Some(rect) = rects.iter().find(|rect| !rect.is_inside(settings.size)) {
            let size = settings.size;
            return Err(EngineError::Failed(format!(
                "{rect} is outside of a {size} frame"
            )));
        }
        let whole_frames = self.scene.as_ref().is_some_and(|scene| scene.whole_frames);
        if let Some(range) = part.1 {
            self.check_range(range, settings.samples)?;
        }
        let whole = match whole_frames {
            true => {
                let all = settings.size.rect();
                Some(self.once_more(|engine| engine.render_one(settings, part, all, cancel))?)
            }
            false => None,
        };
        let mut rendered = Vec::with_capacity(rects.len());
        for &rect in rects {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            rendered.push(match &whole {
                Some(whole) => crop(whole.clone(), rect),
                None => self.once_more(|engine| engine.render_one(settings, part, rect, cancel))?,
            });
        }
        Ok(rendered)
    }

    fn build(&self) -> String {
        let Found {
            version,
            build_hash,
            ..
        } = &self.found;
        match &self.card {
            None => format!("blender {version} {build_hash} CPU"),
            Some(card) => format!(
                "blender {version} {build_hash} {} {}",
                card.backend, card.name
            ),
        }
    }

    fn program_files(&self) -> Vec<PathBuf> {
        sandbox::installation(&self.found.path)
    }

    fn device_files(&self) -> Vec<PathBuf> {
        self.options.device.files()
    }
}

/// Pixels at the edge of a border render that adaptive sampling makes differ from a whole frame's: measured 1 to
/// 2 at 64 samples; by Cycles' source the influence can spread one pixel per 16 samples. What guides the sampling of volumes
/// is filtered after 1, 2, 4 and so on samples, not after the last: measured 8 pixels at 4 samples, 12 at 64 and 256.
fn guard_px(adaptive: bool, guided_volumes: bool, samples: u32) -> u32 {
    let of_sampling = match adaptive {
        true => samples / SAMPLES_PER_GUARD_PX + ADAPTIVE_EDGE_PX,
        false => 0,
    };
    let of_volumes = match guided_volumes {
        true => samples.max(2).next_power_of_two().ilog2() * VOLUME_FILTER_PX,
        false => 0,
    };
    of_sampling + of_volumes
}

/// The planes that are asked for: the first of the scene's, and perhaps what weighs ranges of samples.
fn planes_of(scene: &OpenScene, settings: &RenderSettings) -> Result<Vec<Plane>, EngineError> {
    let there = scene.planes.iter().chain(&scene.weight_planes);
    let asked = there.filter(|plane| settings.passes.contains(&plane.pass));
    let planes: Vec<Plane> = asked.cloned().collect();
    match planes.len() == settings.passes.len() {
        true => Ok(planes),
        false => Err(EngineError::Failed(format!(
            "the scene has {} planes of passes, not the {} that are asked for",
            scene.planes.len(),
            settings.passes.len()
        ))),
    }
}

/// What Blender prints before it aborts because nothing draws.
const NO_GRAPHICS: [&str; 2] = ["GLX or EGL context", "No OpenGL vendor"];

/// Says what is missing where Blender ended for want of a graphics context.
fn without_graphics(error: EngineError) -> EngineError {
    match error {
        EngineError::Failed(why) if NO_GRAPHICS.iter().any(|known| why.contains(known)) => {
            EngineError::Missing(
                "the scene's render engine draws with a graphics card, and there is no graphics context here; hint: install \
                 the card's driver, or Mesa's (Debian: libegl1 libgl1-mesa-dri), or set Render Properties > Render Engine to \
                 Cycles"
                    .into(),
            )
        }
        error => error,
    }
}

fn no_scene() -> EngineError {
    EngineError::Failed("no scene was prepared".into())
}

fn absolute(path: &Path) -> Result<PathBuf, EngineError> {
    std::path::absolute(path).map_err(|e| EngineError::Failed(format!("{}: {e}", path.display())))
}

/// The part of a rendered rectangle that was asked for.
fn crop(rendered: RenderedRect, rect: Rect) -> RenderedRect {
    if rendered.rect == rect {
        return rendered;
    }
    let whole = rendered.rect;
    let planes = rendered
        .planes
        .into_iter()
        .map(|(pass, plane)| {
            let rows = plane
                .chunks_exact(whole.width as usize)
                .skip((rect.y - whole.y) as usize);
            let left = (rect.x - whole.x) as usize;
            let part = rows
                .take(rect.height as usize)
                .flat_map(|row| &row[left..left + rect.width as usize])
                .copied()
                .collect();
            (pass, part)
        })
        .collect();
    RenderedRect { rect, planes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Pass;

    #[test]
    fn a_guard_is_cropped_away() {
        let whole = Rect {
            x: 6,
            y: 5,
            width: 12,
            height: 9,
        };
        let part = Rect {
            x: 8,
            y: 8,
            width: 8,
            height: 4,
        };
        let plane = (0..whole.area())
            .map(|i| [i as f32, 0.0, 0.0, 1.0])
            .collect();
        let rendered = RenderedRect {
            rect: whole,
            planes: vec![(Pass::Combined, plane)],
        };
        let cropped = crop(rendered, part);
        assert_eq!(cropped.rect, part);
        let (_, plane) = &cropped.planes[0];
        assert_eq!(plane.len(), 32);
        assert_eq!(
            (plane[0][0], plane[31][0]),
            ((3 * 12 + 2) as f32, (6 * 12 + 9) as f32)
        );
    }

    #[test]
    fn the_guard_follows_the_samples() {
        assert_eq!(
            [
                guard_px(false, false, 512),
                guard_px(true, false, 64),
                guard_px(true, false, 1),
                guard_px(false, true, 1),
                guard_px(false, true, 24)
            ],
            [0, 6, 2, 5, 25]
        );
    }
}
