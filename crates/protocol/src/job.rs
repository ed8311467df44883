//! What a requestor asks for: the job as providers see it, its bundle, its tasks.

use crate::{
    geometry::{CELL_PX, Rect, Size},
    ids::{Blake3Hash, JobId, TaskId},
    limits::{
        BLOB_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, PASSES_MAX, RANGE_SAMPLES_MIN,
        SAMPLES_MAX, SCENE_NAME_BYTES_MAX, TASK_BYTES_MAX, TASK_RECTS_MAX,
    },
    pixels::canonical_length,
    samples::SampleRange,
    secret_pixels::SecretPixels,
    version::BlenderVersion,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// Which engine turns the bundle into pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The built-in path tracer (glTF).
    Tracer,
    /// Blender with Cycles (.blend).
    Blender,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracer => "tracer",
            Self::Blender => "blender",
        })
    }
}

/// A raw, linear float image that an engine produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Scene-linear colour with alpha (premultiplied).
    Combined,
    /// Distance along the camera's view axis or ray, as the engine defines it, in the first channel.
    Depth,
    /// Shading normal in world space, in the first three channels.
    Normal,
    /// Surface colour without light, in the first three channels.
    Albedo,
    /// Four more channels of what the scene itself enables (layers, light passes, cryptomatte, views), by their number in
    /// the engine's description of the scene.
    Plane(u16),
}

impl Pass {
    /// Every pass that has a name, in canonical order.
    pub const ALL: [Pass; 4] = [Pass::Combined, Pass::Depth, Pass::Normal, Pass::Albedo];

    /// Channels that carry data (the rest are zero).
    pub fn channels(self) -> usize {
        match self {
            Pass::Combined | Pass::Plane(_) => 4,
            Pass::Depth => 1,
            Pass::Normal | Pass::Albedo => 3,
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combined => f.write_str("combined"),
            Self::Depth => f.write_str("depth"),
            Self::Normal => f.write_str("normal"),
            Self::Albedo => f.write_str("albedo"),
            Self::Plane(number) => write!(f, "plane {number}"),
        }
    }
}

/// Everything besides the bundle that decides pixels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RenderSettings {
    /// Size of the whole frame in pixels.
    pub size: Size,
    /// Samples a pixel.
    pub samples: u32,
    /// Seed of the job, for engines that take one (Blender keeps the scene's own).
    pub seed: u32,
    /// The passes to deliver, in canonical order.
    pub passes: Vec<Pass>,
    /// Pixels rendered and thrown away on each side of a rectangle because the engine's edge pixels are not exact.
    pub guard_px: u32,
    /// The scene of a file that has several, unless it is the file's own choice.
    pub scene: Option<String>,
}

/// A job as its requestor describes it to providers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobSpec {
    /// Drawn at random by the requestor.
    pub id: JobId,
    /// Hash of the postcard bytes of the [`Manifest`].
    pub manifest: Blake3Hash,
    /// Bytes of the manifest blob.
    pub manifest_bytes: u64,
    /// Which engine renders it.
    pub engine: EngineKind,
    /// The Blender that must render it: only the same release gives the same bits. None for other engines.
    pub blender: Option<BlenderVersion>,
    /// What decides the pixels.
    pub settings: RenderSettings,
}

/// A value of a job or task that breaks a limit or a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(pub String);

impl JobSpec {
    /// Checks everything a stranger may have set wrongly.
    ///
    /// # Errors
    /// Says which value is outside its limit.
    pub fn check(&self) -> Result<(), SpecError> {
        let settings = &self.settings;
        Size::new(settings.size.width.into(), settings.size.height.into())
            .map_err(|e| SpecError(e.to_string()))?;
        if settings.samples == 0 || settings.samples > SAMPLES_MAX {
            return Err(SpecError(format!(
                "{} samples: from 1 to {SAMPLES_MAX} are allowed",
                settings.samples
            )));
        }
        if let Some(scene) = &settings.scene
            && (scene.is_empty() || scene.len() > SCENE_NAME_BYTES_MAX)
        {
            return Err(SpecError(format!(
                "a scene's name of {} bytes is outside the limit",
                scene.len()
            )));
        }
        if settings.passes.len() > PASSES_MAX {
            return Err(SpecError(format!(
                "{} passes are over the limit",
                settings.passes.len()
            )));
        }
        if self.blender.is_some() != (self.engine == EngineKind::Blender) {
            return Err(SpecError(format!(
                "a version of Blender is named for jobs of Blender, and for no others: this one is of {}",
                self.engine
            )));
        }
        if settings.passes.is_empty() || !settings.passes.is_sorted_by(|a, b| a < b) {
            return Err(SpecError(
                "passes are missing, repeated or out of order".into(),
            ));
        }
        if self.manifest_bytes > crate::limits::MANIFEST_BYTES_MAX {
            return Err(SpecError(format!(
                "a manifest of {} bytes is over the limit",
                self.manifest_bytes
            )));
        }
        Ok(())
    }
}

/// A task of a lease: rectangles of one frame, or secret pixels of one rectangle. A tile is one rectangle, perhaps with
/// cells of its neighbours; a probe is a few small ones, or pixels of a tile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its number within the job.
    pub id: TaskId,
    /// The frame.
    pub frame: i32,
    /// If given, only these samples of each pixel: Blender's alone, from 4.4 on.
    pub samples: Option<SampleRange>,
    /// What to render: whole cells of the frame, delivered in this order.
    pub rects: Vec<Rect>,
    /// If given, only these pixels of the one rectangle, delivered as packed cells.
    pub pixels: Option<SecretPixels>,
}

impl TaskSpec {
    /// Bytes that its delivery must have.
    pub fn delivery_bytes(&self, job: &JobSpec) -> u64 {
        canonical_length(&self.delivered(), job.settings.passes.len())
    }

    /// The rectangles whose canonical bytes are delivered: its own, or the packed cells side by side.
    pub fn delivered(&self) -> Cow<'_, [Rect]> {
        match (&self.pixels, self.rects.first()) {
            (Some(pixels), Some(rect)) => Cow::Owned(vec![pixels.packed_rect(rect)]),
            _ => Cow::Borrowed(&self.rects),
        }
    }

    /// Pixels to render.
    pub fn pixel_count(&self) -> u64 {
        match (&self.pixels, self.rects.first()) {
            (Some(pixels), Some(rect)) => pixels.count(rect),
            _ => self.rects.iter().map(Rect::area).sum(),
        }
    }

    /// Fewest samples that are paid for it, as far as its provider can tell: of a tile its core alone is paid, neither the
    /// overlap to the right and below nor cells of its neighbours; what is rendered for checks is paid in full.
    pub fn samples_paid_at_least(&self, job: &JobSpec) -> u128 {
        let range = self.samples.map(|range| range.count);
        let a_pixel = u128::from(range.unwrap_or(job.settings.samples));
        u128::from(self.pixels_paid_at_least(job.settings.size)) * a_pixel
    }

    fn pixels_paid_at_least(&self, size: Size) -> u64 {
        let (None, Some((first, others))) = (&self.pixels, self.rects.split_first()) else {
            return self.pixel_count();
        };
        if others.is_empty() {
            return core_at_least(first, size).area();
        }
        let around = first.grown(CELL_PX, size);
        let is_neighbours =
            |rect: &&Rect| rect.cell_count() == 1 && rect.intersection(&around) == Some(**rect);
        let paid = others.iter().filter(|rect| !is_neighbours(rect));
        first.area() + paid.map(Rect::area).sum::<u64>()
    }

    /// Checks everything a stranger may have set wrongly.
    ///
    /// # Errors
    /// Says which value is outside its limit.
    pub fn check(&self, job: &JobSpec) -> Result<(), SpecError> {
        if self.rects.is_empty() || self.rects.len() > TASK_RECTS_MAX {
            return Err(SpecError(format!(
                "a task of {} rectangles",
                self.rects.len()
            )));
        }
        if let Some(rect) = self
            .rects
            .iter()
            .find(|rect| !rect.is_whole_cells(job.settings.size))
        {
            return Err(SpecError(format!(
                "{rect} is not whole cells of a {} frame",
                job.settings.size
            )));
        }
        // Of pixels too the whole rectangle counts: what they are of is a tile.
        let bytes = canonical_length(&self.rects, job.settings.passes.len());
        if bytes > TASK_BYTES_MAX {
            return Err(SpecError(format!(
                "a task of {bytes} bytes is over the limit"
            )));
        }
        if let Some(samples) = self.samples {
            check_samples(samples, job)?;
        }
        match (&self.pixels, self.rects.as_slice()) {
            (None, _) => Ok(()),
            (Some(_), _) if job.engine != EngineKind::Tracer => Err(SpecError(format!(
                "single pixels are not asked of {}",
                job.engine
            ))),
            (Some(pixels), [rect]) => pixels.check(rect),
            (Some(_), rects) => Err(SpecError(format!("pixels of {} rectangles", rects.len()))),
        }
    }

    /// What a commitment to this task's pixels is bound to ([`task_hash`]).
    pub fn hash(&self, job: &JobSpec) -> Blake3Hash {
        let pixels = self.pixels.as_ref();
        task_hash(job, (self.frame, self.samples), &self.rects, pixels)
    }
}

/// The core of a tile of which this may be the rendered rectangle: the last cells may be overlap.
fn core_at_least(rendered: &Rect, size: Size) -> Rect {
    let core = |length: u32, end: u32, frame: u32| {
        let overlap = match frame % CELL_PX {
            cut if end == frame && cut > 0 => cut,
            _ => CELL_PX,
        };
        match length > overlap {
            true => length - overlap,
            false => length,
        }
    };
    Rect {
        width: core(rendered.width, rendered.right(), size.width),
        height: core(rendered.height, rendered.bottom(), size.height),
        ..*rendered
    }
}

/// Are these samples of the job, and does its engine render some alone?
fn check_samples(samples: SampleRange, job: &JobSpec) -> Result<(), SpecError> {
    if !job.blender.is_some_and(BlenderVersion::divides_samples) {
        return Err(SpecError(
            "samples are divided by Blender 4.4 and later only".into(),
        ));
    }
    let end = u64::from(samples.first) + u64::from(samples.count);
    match samples.count < RANGE_SAMPLES_MIN || end > u64::from(job.settings.samples) {
        true => Err(SpecError(format!(
            "samples {samples} are not some of {}, at least {RANGE_SAMPLES_MIN} of them",
            job.settings.samples
        ))),
        false => Ok(()),
    }
}

/// What a commitment to these rectangles of a frame is bound to: the job, the frame, the samples and the secret pixels if
/// only these are rendered, the rectangles, all settings. The task's number is left out, so that a tile has one hash whoever renders it.
pub fn task_hash(
    job: &JobSpec,
    (frame, samples): (i32, Option<SampleRange>),
    rects: &[Rect],
    pixels: Option<&SecretPixels>,
) -> Blake3Hash {
    let mut hasher = blake3::Hasher::new_derive_key("open render farm 2026 task specification v1");
    // Most coordinates take two bytes, the rest of a task is short.
    let room = Vec::with_capacity(128 + rects.len() * 8);
    // postcard of these plain structures into memory cannot fail; the fallback still separates tasks by frame.
    let bytes = postcard::to_extend(&(job, frame, rects), room).unwrap_or_default();
    hasher
        .update(&(bytes.len() as u64).to_le_bytes())
        .update(&bytes);
    if let Some(pixels) = pixels {
        hasher.update(&postcard::to_stdvec(pixels).unwrap_or_default());
    }
    if let Some(SampleRange { first, count }) = samples {
        // Shorter than any secret pixels, so that it is none.
        hasher.update(&first.to_le_bytes());
        hasher.update(&count.to_le_bytes());
    }
    hasher.finalize().into()
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    /// Relative path with forward slashes: no root, no `..`, no drive letter.
    pub path: String,
    /// Its content's hash: the address of the blob.
    pub hash: Blake3Hash,
    /// Its length.
    pub bytes: u64,
}

/// A scene with everything it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Path of the scene file, one of `files`.
    pub entry: String,
    /// All files, sorted by path.
    pub files: Vec<BundleFile>,
}

impl Manifest {
    /// Checks everything a stranger may have set wrongly; a path that passes stays below the folder it is written to.
    ///
    /// # Errors
    /// Says which file breaks which rule.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.files.len() > BUNDLE_FILES_MAX {
            return Err(SpecError(format!(
                "a bundle of {} files is over the limit",
                self.files.len()
            )));
        }
        let mut total = 0u64;
        for file in &self.files {
            let path = &file.path;
            let part_is_bad =
                |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255;
            if path.len() > 4096
                || path.contains(['\\', '\0', ':'])
                || path.split('/').any(part_is_bad)
            {
                return Err(SpecError(format!("`{path}` is not a plain relative path")));
            }
            if file.bytes > BLOB_BYTES_MAX {
                return Err(SpecError(format!(
                    "`{path}` has {} bytes, over the limit",
                    file.bytes
                )));
            }
            total = total.saturating_add(file.bytes);
        }
        if total > BUNDLE_BYTES_MAX {
            return Err(SpecError(format!(
                "a bundle of {total} bytes is over the limit"
            )));
        }
        if !self.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(SpecError(
                "the files of a bundle are not sorted, or one stands twice".into(),
            ));
        }
        match self.files.iter().any(|file| file.path == self.entry) {
            true => Ok(()),
            false => Err(SpecError(format!(
                "the scene `{}` is not in its bundle",
                self.entry
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::TileGrid;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn job() -> JobSpec {
        JobSpec {
            id: JobId([1; 16]),
            manifest: Blake3Hash([2; 32]),
            manifest_bytes: 10,
            engine: EngineKind::Tracer,
            blender: None,
            settings: RenderSettings {
                size: Size {
                    width: 100,
                    height: 50,
                },
                samples: 4,
                seed: 0,
                passes: Pass::ALL.to_vec(),
                guard_px: 0,
                scene: None,
            },
        }
    }

    fn task(rects: &[Rect]) -> TaskSpec {
        TaskSpec {
            id: TaskId(0),
            frame: 1,
            samples: None,
            rects: rects.to_vec(),
            pixels: None,
        }
    }

    proptest! {
        #[test]
        fn a_tile_is_worth_its_core_or_a_little_less(width in 9u64..300, height in 9u64..300, tile in 8u32..100) {
            let mut job = job();
            job.settings.size = Size::new(width, height).unwrap();
            let grid = TileGrid::new(job.settings.size, tile);
            for index in 0..grid.tile_count() {
                let core = grid.core(index);
                let paid = u128::from(core.area() * 4);
                let rendered = task(&[grid.rendered(index)]).samples_paid_at_least(&job);
                prop_assert!(rendered <= paid);
                let is_inside = u64::from(core.right()) < width && u64::from(core.bottom()) < height;
                prop_assert!(!is_inside || rendered == paid);
                let around = core.grown(CELL_PX, job.settings.size);
                let mut rects = vec![core];
                rects.extend(around.cells().map(|(_, cell)| cell).filter(|cell| cell.intersection(&core).is_none()));
                let with_cells = task(&rects).samples_paid_at_least(&job);
                prop_assert!(with_cells <= paid);
                prop_assert!(rects.len() == 1 || with_cells == paid);
            }
        }
    }

    #[test]
    fn what_is_rendered_for_checks_is_worth_all_of_it() {
        let cell = |x, y| Rect {
            x,
            y,
            width: 8,
            height: 8,
        };
        let mut squares = task(&[cell(0, 0), cell(40, 0), cell(80, 40)]);
        assert_eq!(squares.samples_paid_at_least(&job()), 3 * 64 * 4);
        squares.samples = Some(SampleRange { first: 1, count: 2 });
        assert_eq!(squares.samples_paid_at_least(&job()), 3 * 64 * 2);
        let pixels = SecretPixels {
            challenge: [3; 32],
            per_cell: 2,
            packed: None,
        };
        let mut secret = task(&[cell(0, 0)]);
        secret.pixels = Some(pixels);
        assert_eq!(secret.samples_paid_at_least(&job()), 2 * 4);
        // A rectangle cannot hide behind a small one.
        let mut hidden = task(&[cell(0, 0), cell(8, 0)]);
        hidden.rects.push(Rect {
            x: 16,
            y: 0,
            width: 80,
            height: 48,
        });
        assert_eq!(hidden.samples_paid_at_least(&job()), (64 + 80 * 48) * 4);
    }

    #[test]
    fn secret_pixels_are_of_one_rectangle_and_of_the_tracer() {
        let whole = Rect {
            x: 0,
            y: 0,
            width: 100,
            height: 50,
        };
        let pixels = SecretPixels {
            challenge: [1; 32],
            per_cell: 2,
            packed: None,
        };
        let with = |rects: &[Rect], pixels| TaskSpec {
            pixels: Some(pixels),
            ..task(rects)
        };
        let good = with(&[whole], pixels);
        assert_eq!(good.check(&job()), Ok(()));
        // 13 x 7 cells: 182 pixels in three packed cells.
        assert_eq!(
            (good.pixel_count(), good.delivery_bytes(&job())),
            (182, 3 * 4096)
        );
        let last = with(&[whole], pixels.only(2));
        assert_eq!(last.check(&job()), Ok(()));
        assert_eq!(
            (last.pixel_count(), last.delivery_bytes(&job())),
            (54, 4096)
        );
        assert!(with(&[whole], pixels.only(3)).check(&job()).is_err());
        assert!(with(&[whole, whole], pixels).check(&job()).is_err());
        assert!(
            with(&[Rect { x: 1, ..whole }], pixels)
                .check(&job())
                .is_err()
        );
        let blender = JobSpec {
            engine: EngineKind::Blender,
            ..job()
        };
        assert!(good.check(&blender).is_err());
        let hashes = [
            task(&[whole]).hash(&job()),
            good.hash(&job()),
            last.hash(&job()),
        ];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }

    #[test]
    fn specs_outside_the_limits_are_refused() {
        let good = job();
        assert_eq!(good.check(), Ok(()));
        let mut bad = good.clone();
        bad.settings.samples = 0;
        assert!(bad.check().is_err());
        bad = good.clone();
        bad.settings.passes.reverse();
        assert!(bad.check().is_err());
        bad = good.clone();
        bad.settings.size.width = u32::MAX;
        assert!(bad.check().is_err());
        bad = good.clone();
        bad.engine = EngineKind::Blender;
        assert!(bad.check().is_err());
        bad.blender = "5.0.1".parse().ok();
        assert_eq!(bad.check(), Ok(()));
        bad.engine = EngineKind::Tracer;
        assert!(bad.check().is_err());

        let whole = Rect {
            x: 0,
            y: 0,
            width: 100,
            height: 50,
        };
        assert_eq!(task(&[whole]).check(&good), Ok(()));
        assert!(task(&[]).check(&good).is_err());
        assert!(task(&[Rect { x: 1, ..whole }]).check(&good).is_err());
        assert!(
            task(&[Rect {
                width: u32::MAX,
                ..whole
            }])
            .check(&good)
            .is_err()
        );
        assert!(task(&vec![whole; TASK_RECTS_MAX + 1]).check(&good).is_err());
    }

    #[test]
    fn a_task_hash_covers_frame_rects_and_settings_but_not_the_number() {
        let whole = Rect {
            x: 0,
            y: 0,
            width: 100,
            height: 50,
        };
        let (first, mut second) = (task(&[whole]), task(&[whole]));
        second.id = TaskId(9);
        assert_eq!(first.hash(&job()), second.hash(&job()));
        second.frame = 2;
        assert_ne!(first.hash(&job()), second.hash(&job()));
        let mut other = job();
        other.settings.samples = 5;
        assert_ne!(first.hash(&job()), first.hash(&other));
    }

    #[test]
    fn ranges_of_samples_are_of_the_job_and_of_a_blender_that_divides_them() {
        let whole = job().settings.size.rect();
        let of = |first, count| TaskSpec {
            samples: Some(SampleRange { first, count }),
            ..task(&[whole])
        };
        let with = |version: &str| JobSpec {
            engine: EngineKind::Blender,
            blender: version.parse().ok(),
            ..job()
        };
        let newer = with("4.4.0");
        assert_eq!(of(0, 4).check(&newer), Ok(()));
        assert_eq!(of(2, 2).check(&newer), Ok(()));
        for (first, count) in [(0, 0), (3, 1), (3, 2), (0, 5), (2, u32::MAX), (u32::MAX, 2)] {
            assert!(of(first, count).check(&newer).is_err(), "{first} {count}");
        }
        assert!(of(0, 2).check(&with("4.3.2")).is_err());
        assert!(of(0, 2).check(&job()).is_err());
        let all = [task(&[whole]), of(0, 2), of(2, 2), of(0, 4)];
        let hashes: BTreeSet<Blake3Hash> = all.iter().map(|task| task.hash(&newer)).collect();
        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn manifests_that_reach_outside_are_refused() {
        let file = |path: &str| BundleFile {
            path: path.into(),
            hash: Blake3Hash([0; 32]),
            bytes: 1,
        };
        let manifest = |paths: &[&str], entry: &str| Manifest {
            entry: entry.into(),
            files: paths.iter().map(|path| file(path)).collect(),
        };
        assert_eq!(
            manifest(&["a.glb", "textures/b.png"], "a.glb").check(),
            Ok(())
        );
        for path in ["../a", "/a", "a//b", "a/../b", "C:/a", "a\\b", "", "a/."] {
            assert!(manifest(&[path], path).check().is_err(), "{path}");
        }
        assert!(manifest(&["a.glb"], "b.glb").check().is_err());
        assert!(manifest(&["b", "a"], "a").check().is_err());
        assert!(manifest(&["a", "a"], "a").check().is_err());
    }
}
