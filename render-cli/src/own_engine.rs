//! The requestor's own engine on a thread of its own: describes the scene before the job, decides disputes during it,
//! and lets Blender finish its own frames.

use crate::{
    failure::{Code, Failure},
    thread::{Answer, ask},
};
use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, Device, Engine, EngineError, SceneDescription,
    TracerEngine,
    blender::{Finished, Found},
    calibrate, class_fingerprint, find_blender,
    frame_file::Attributes,
    measure_cost,
};
use farm::CostHints;
use protocol::{
    Blake3Hash, BlenderVersion, EngineKind, Rect, RenderSettings, RenderedRect, SampleRange,
    SecretPixels, pixels,
};
use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

/// Requests that may wait for the engine.
const QUEUE_MAX: usize = 256;

/// The engine that this job needs, with or without its scene.
pub enum Chosen {
    Tracer(Box<TracerEngine>),
    Blender(Box<BlenderEngine>),
}

/// Finds the engine; a Blender is not started yet.
pub fn locate(
    kind: EngineKind,
    blender: Option<&Path>,
    (common_kernel, device): (bool, Device),
) -> Result<Chosen, Failure> {
    Ok(match kind {
        EngineKind::Tracer if !device.is_cpu() => {
            let message = format!("--device {device}: the built-in renderer uses the processor");
            return Err(Failure::new(Code::Usage, message));
        }
        EngineKind::Tracer => Chosen::Tracer(Box::new(TracerEngine::new())),
        EngineKind::Blender => {
            let found = find_blender(blender).map_err(refused)?;
            let options = BlenderOptions {
                common_kernel,
                device,
                ..BlenderOptions::default()
            };
            let engine = BlenderEngine::new(found, options);
            Chosen::Blender(Box::new(engine))
        }
    })
}

impl Chosen {
    /// The Blender that local workers start too.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Tracer(_) => None,
            Self::Blender(engine) => Some(engine.found()),
        }
    }

    /// The release of Blender that the job needs, if it is one of Blender's: that of this computer, whose engine decides
    /// and finishes.
    pub fn blender(&self) -> Result<Option<BlenderVersion>, Failure> {
        self.found()
            .map(|found| found.release().map_err(refused))
            .transpose()
    }

    /// Refuses a scene that a newer Blender saved: an older one opens it and leaves out what it does not know.
    pub fn check_file(&self, scene: &Path) -> Result<(), Failure> {
        let Some(own) = self.blender()? else {
            return Ok(());
        };
        // What is no scene at all the engine itself refuses.
        let Ok(saved_by) = blend::version(scene) else {
            return Ok(());
        };
        match saved_by.0 > file_version(own) {
            false => Ok(()),
            true => Err(Failure::preflight(format!(
                "{} was saved by Blender {saved_by}, this computer has {own}: an older Blender would leave things out",
                scene.display()
            ))
            .hint(format!("give a Blender {saved_by} with --blender, or save the scene with an older one"))),
        }
    }

    fn engine(&mut self) -> &mut dyn Engine {
        match self {
            Self::Tracer(engine) => engine.as_mut(),
            Self::Blender(engine) => engine.as_mut(),
        }
    }
}

/// A frame, or of each of its pixels these samples.
pub type FramePart = (i32, Option<SampleRange>);

/// A loaded scene, before the job begins.
pub struct OwnEngine {
    loaded: Chosen,
    /// What the scene says of itself.
    pub description: SceneDescription,
    /// Files besides a scene of the tracer, absolute.
    pub dependencies: Vec<PathBuf>,
}

enum Command {
    Delivery {
        part: FramePart,
        rects: Vec<Rect>,
        pixels: Option<SecretPixels>,
        class: Blake3Hash,
        answer: Answer<Vec<u8>>,
    },
    Class {
        answer: Answer<Blake3Hash>,
    },
    TwoSeeds {
        part: FramePart,
        rects: Vec<Rect>,
        other_seed: u32,
        answer: Answer<TwoSeeds>,
    },
    Finish {
        frame: i32,
        assembled: RenderedRect,
        out: Finished,
        answer: Answer<()>,
    },
    Metadata {
        frame: i32,
        answer: Answer<Attributes>,
    },
}

/// The same rectangles with the job's seed and with another.
pub struct TwoSeeds {
    pub own: Vec<RenderedRect>,
    pub other: Vec<RenderedRect>,
}

/// A handle to the engine's thread; clones share it.
#[derive(Clone)]
pub struct OwnEngineHandle(mpsc::SyncSender<Command>);

/// Longest wait for the engine to end: what it leaves then the next process removes.
const END_MAX: Duration = Duration::from_secs(3);

/// The end of the engine's thread.
pub struct EngineEnd(mpsc::Receiver<()>);

impl EngineEnd {
    /// Waits a little for the engine to end with its processes and its files. Blocking.
    pub fn wait(self) {
        // Nothing is ever sent: the channel closes.
        let _ = self.0.recv_timeout(END_MAX);
    }
}

/// The version that this Blender writes into its files: 405 is 4.5.
fn file_version(blender: BlenderVersion) -> u16 {
    blender
        .major
        .saturating_mul(100)
        .saturating_add(blender.minor)
}

/// Errors of engines carry their hint in the same line.
fn refused(error: EngineError) -> Failure {
    with_hint(&error.to_string())
}

/// A refusal whose hint stands in the same line.
fn with_hint(message: &str) -> Failure {
    match message.split_once("; hint: ") {
        Some((what, hint)) => Failure::preflight(what).hint(hint),
        None => Failure::preflight(message),
    }
}

impl OwnEngine {
    /// See [`Chosen::blender`].
    pub fn blender(&self) -> Result<Option<BlenderVersion>, Failure> {
        self.loaded.blender()
    }

    /// The engine's version, for a person.
    pub fn build(&mut self) -> String {
        self.loaded.engine().build()
    }

    /// Loads a scene; blocks, for seconds with Blender.
    pub fn load(
        mut loaded: Chosen,
        scene: &Path,
        scene_name: Option<&str>,
    ) -> Result<Self, Failure> {
        let folder = scene.parent().unwrap_or(Path::new("."));
        let entry = scene
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let description = loaded
            .engine()
            .prepare(folder, entry, scene_name)
            .map_err(refused)?;
        let dependencies = match &loaded {
            // What a .blend file needs is read from it without Blender.
            Chosen::Blender(_) => Vec::new(),
            Chosen::Tracer(_) => {
                let files = tracer::gltf::Scene::dependencies(scene);
                let files = files.map_err(|e| Failure::preflight(e.to_string()))?;
                files.iter().map(|file| folder.join(file)).collect()
            }
        };
        Ok(Self {
            loaded,
            description,
            dependencies,
        })
    }

    /// Refuses to divide samples that cannot be. `samples` is the one number that the user gives all layers.
    pub fn check_divisible(&self, samples: Option<u32>) -> Result<(), Failure> {
        if let Some(why) = &self.description.indivisible {
            return Err(with_hint(&format!("--sample-ranges: {why}")));
        }
        match self.description.unequal_samples && samples.is_none() {
            true => Err(Failure::preflight(
                "--sample-ranges: the view layers have different numbers of samples",
            )
            .hint("give one number for all with --samples")),
            false => Ok(()),
        }
    }

    /// What rectangles cost here; blocks for the time of some small ones, and for building the first frame. It says how
    /// they compare with whole tiles on other computers too.
    pub fn measure(&mut self, settings: &RenderSettings) -> Result<CostHints, EngineError> {
        let (engine, frame) = (self.loaded.engine(), self.description.frames.0);
        let cost = measure_cost(engine, settings, frame, &CancelFlag::default())?;
        Ok(CostHints {
            samples_per_second: cost.samples_per_second,
            rect_overhead_ms: u64::try_from(cost.overhead.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Moves the engine to its thread, which ends when all handles are dropped.
    pub fn start(
        self,
        settings: RenderSettings,
        cancel: CancelFlag,
    ) -> (OwnEngineHandle, EngineEnd) {
        let (ends, end) = mpsc::sync_channel(1);
        let (sender, receiver) = mpsc::sync_channel(QUEUE_MAX);
        let first_frame = self.description.frames.0;
        let loaded = self.loaded;
        std::thread::spawn(move || {
            // Dropped last, after the engine.
            let _ends: mpsc::SyncSender<()> = ends;
            let mut loaded = loaded;
            let mut class = None;
            while let Ok(command) = receiver.recv() {
                match command {
                    Command::Delivery {
                        part,
                        rects,
                        pixels,
                        class: wanted,
                        answer,
                    } => {
                        let engine = loaded.engine();
                        let own = *class.get_or_insert_with(|| {
                            own_class(engine, &settings, first_frame, &cancel)
                        });
                        let bytes = match own {
                            Some(own) if own == wanted => {
                                let asked = (rects.as_slice(), pixels);
                                delivery(engine, &settings, part, asked, &cancel)
                            }
                            _ => Err("the own engine is of another determinism class".into()),
                        };
                        let _ = answer.send(bytes);
                    }
                    Command::Class { answer } => {
                        let own = *class.get_or_insert_with(|| {
                            own_class(loaded.engine(), &settings, first_frame, &cancel)
                        });
                        let failed = "the own engine could not render its calibration";
                        let _ = answer.send(own.ok_or_else(|| failed.into()));
                    }
                    Command::TwoSeeds {
                        part,
                        rects,
                        other_seed,
                        answer,
                    } => {
                        let other = RenderSettings {
                            seed: settings.seed.wrapping_add(other_seed),
                            ..settings.clone()
                        };
                        let mut render = |settings: &RenderSettings| {
                            let engine = loaded.engine();
                            let rendered = engine.render_range(settings, part, &rects, &cancel);
                            rendered.map_err(|e| e.to_string())
                        };
                        let both = render(&settings)
                            .and_then(|own| render(&other).map(|other| TwoSeeds { own, other }));
                        let _ = answer.send(both);
                    }
                    Command::Finish {
                        frame,
                        assembled,
                        out,
                        answer,
                    } => {
                        let outcome = match &mut loaded {
                            Chosen::Blender(engine) => engine
                                .finish(&settings, frame, &assembled, &out, &cancel)
                                .map(drop)
                                .map_err(|e| e.to_string()),
                            Chosen::Tracer(_) => Err("only Blender finishes frames".into()),
                        };
                        let _ = answer.send(outcome);
                    }
                    Command::Metadata { frame, answer } => {
                        let outcome = match &mut loaded {
                            Chosen::Blender(engine) => {
                                let found = engine.metadata(&settings, frame, &cancel);
                                found.map_err(|e| e.to_string())
                            }
                            Chosen::Tracer(_) => Ok(Attributes::new()),
                        };
                        let _ = answer.send(outcome);
                    }
                }
            }
        });
        (OwnEngineHandle(sender), EngineEnd(end))
    }
}

fn own_class(
    engine: &mut dyn Engine,
    settings: &RenderSettings,
    frame: i32,
    cancel: &CancelFlag,
) -> Option<Blake3Hash> {
    let calibration = calibrate(engine, settings, frame, cancel).ok()?;
    Some(class_fingerprint(&engine.build(), calibration.root))
}

fn delivery(
    engine: &mut dyn Engine,
    settings: &RenderSettings,
    part: FramePart,
    (rects, secret): (&[Rect], Option<SecretPixels>),
    cancel: &CancelFlag,
) -> Result<Vec<u8>, String> {
    let secret = secret.zip(rects.first());
    let single = secret.map(|(secret, rect)| secret.rects(rect));
    let rendered = engine
        .render_range(settings, part, single.as_deref().unwrap_or(rects), cancel)
        .map_err(|e| e.to_string())?;
    let bytes = match secret {
        Some((secret, rect)) => secret.pack(rect, &settings.passes, &rendered),
        None => pixels::task_bytes(&rendered, &settings.passes),
    };
    bytes.map_err(|e| e.to_string())
}

impl OwnEngineHandle {
    /// What a worker of this class would deliver of these rectangles, or of secret pixels of the one, if the own engine is of
    /// it: cells in canonical bytes.
    pub async fn delivery(
        &self,
        part: FramePart,
        rects: Vec<Rect>,
        pixels: Option<SecretPixels>,
        class: Blake3Hash,
    ) -> Result<Vec<u8>, String> {
        ask(&self.0, "the own engine", |answer| Command::Delivery {
            part,
            rects,
            pixels,
            class,
            answer,
        })
        .await
    }

    /// The determinism class of the own engine.
    pub async fn class(&self) -> Result<Blake3Hash, String> {
        ask(&self.0, "the own engine", |answer| Command::Class {
            answer,
        })
        .await
    }

    /// Renders rectangles with the job's seed and with one that is larger by `other_seed`, whatever class the own engine is of.
    pub async fn two_seeds(
        &self,
        part: FramePart,
        rects: Vec<Rect>,
        other_seed: u32,
    ) -> Result<TwoSeeds, String> {
        ask(&self.0, "the own engine", |answer| Command::TwoSeeds {
            part,
            rects,
            other_seed,
            answer,
        })
        .await
    }

    /// Has Blender write the files of an assembled frame.
    pub async fn finish(
        &self,
        frame: i32,
        assembled: RenderedRect,
        out: Finished,
    ) -> Result<(), String> {
        ask(&self.0, "the own engine", |answer| Command::Finish {
            frame,
            assembled,
            out,
            answer,
        })
        .await
    }

    /// What the file of a frame's raw passes says besides pixels.
    pub async fn metadata(&self, frame: i32) -> Result<Attributes, String> {
        ask(&self.0, "the own engine", |answer| Command::Metadata {
            frame,
            answer,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::blender::{Found, ProgramKind};
    use std::fs;

    #[test]
    fn a_file_of_a_newer_blender_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let found = Found {
            kind: ProgramKind::Binary,
            path: "blender".into(),
            version: "4.5.15 LTS".into(),
            build_hash: String::new(),
        };
        let engine = BlenderEngine::new(found, BlenderOptions::default());
        let own = Chosen::Blender(Box::new(engine));
        let scene = dir.path().join("scene.blend");
        let check = |start: &[u8]| {
            fs::write(&scene, [start, &[0; 64]].concat()).unwrap();
            own.check_file(&scene)
        };
        assert!(check(b"BLENDER-v304").is_ok());
        assert!(check(b"BLENDER-v405").is_ok());
        let refused = check(b"BLENDER17-01v0500").unwrap_err();
        assert_eq!(refused.code, Code::Preflight);
        let why = refused.to_string();
        assert!(
            why.contains("saved by Blender 5.0") && why.contains("has 4.5.15"),
            "{why}"
        );
        // The engine says itself that this is no scene.
        assert!(check(b"no scene").is_ok());
    }
}
