//! The thread of one job: loads its scene into an engine, then renders one task after another.

use crate::{bundle::Fetched, early_engine::EarlyEngine, limits::RESTARTS_MAX, tiles::Tiles};
use engine::{CancelFlag, Engine, EngineError, SceneDescription, calibrate, class_fingerprint};
use protocol::{
    Blake3Hash, EngineKind, JobId, JobSpec, NodeId, TaskId, TaskSpec, pixels::task_bytes,
};
use std::{borrow::Cow, path::PathBuf, sync::Arc, thread, time::Instant};
use tokio::sync::{mpsc, oneshot};

/// Makes an engine without a scene.
pub type MakeEngine = dyn Fn(EngineKind) -> Result<Box<dyn Engine>, EngineError> + Send + Sync;

/// What the worker's loop is told, with the job and the number of its run.
pub struct Note {
    pub job: JobId,
    pub run: u64,
    pub news: News,
}

/// What became of a job or a task.
pub enum News {
    Ready {
        class: Blake3Hash,
        calibration: Blake3Hash,
        megasample_ms: u32,
    },
    Rendered {
        task: TaskId,
        root: Blake3Hash,
        render_ms: u32,
    },
    TaskFailed {
        task: TaskId,
        reason: String,
    },
    TaskCancelled {
        task: TaskId,
    },
    /// The job cannot go on.
    Broken {
        reason: String,
    },
    /// The thread has ended, for whatever reason.
    Ended,
}

/// A task to render.
pub struct Work {
    pub task: TaskSpec,
    pub cancel: CancelFlag,
}

/// Everything that the thread of a job needs.
pub struct Renderer {
    pub run: u64,
    pub spec: Arc<JobSpec>,
    pub requestor: NodeId,
    pub folder: PathBuf,
    pub make_engine: Arc<MakeEngine>,
    pub tiles: Tiles,
    pub cancel: CancelFlag,
    pub notes: mpsc::Sender<Note>,
}

/// Tells the end of the thread even when an engine panics.
struct EndNote(JobId, u64, mpsc::Sender<Note>);

impl Drop for EndNote {
    fn drop(&mut self) {
        // Fails only when the worker has stopped.
        let _ = self.2.blocking_send(Note {
            job: self.0,
            run: self.1,
            news: News::Ended,
        });
    }
}

impl Renderer {
    /// Starts the thread; it ends when `work` does, or when no `scene` comes: that it is in the folder.
    pub fn start(
        self,
        early: EarlyEngine,
        scene: oneshot::Receiver<Fetched>,
        work: mpsc::Receiver<Work>,
    ) -> std::io::Result<()> {
        let builder = thread::Builder::new().name(format!("job {}", self.spec.id.short()));
        builder.spawn(move || {
            let _end = EndNote(self.spec.id, self.run, self.notes.clone());
            if let Ok(scene) = scene.blocking_recv() {
                self.serve(early, &scene.entry, work);
            }
        })?;
        Ok(())
    }

    fn serve(&self, early: EarlyEngine, entry: &str, mut work: mpsc::Receiver<Work>) {
        let mut engine = match self.load_and_calibrate(early, entry) {
            Ok(engine) => Some(engine),
            Err(error) => return self.broken(&error),
        };
        let mut failures = 0;
        while let Some(Work { task, cancel }) = work.blocking_recv() {
            let mut loaded = match engine.take().map_or_else(|| self.load(entry), Ok) {
                Ok(loaded) => loaded,
                Err(error) => return self.broken(&error),
            };
            let news = self.render(loaded.as_mut(), &task, &cancel);
            let failed = matches!(news, Err(EngineError::Failed(_) | EngineError::Missing(_)));
            failures = if failed { failures + 1 } else { 0 };
            if !failed {
                engine = Some(loaded);
            }
            self.tell(match news {
                Ok(news) => news,
                Err(EngineError::Cancelled) => News::TaskCancelled { task: task.id },
                Err(error) => News::TaskFailed {
                    task: task.id,
                    reason: error.to_string(),
                },
            });
            if failures > RESTARTS_MAX {
                let error = "the engine failed too often in a row".into();
                return self.broken(&EngineError::Failed(error));
            }
        }
    }

    fn prepare(
        &self,
        engine: &mut dyn Engine,
        entry: &str,
    ) -> Result<SceneDescription, EngineError> {
        let scene = self.spec.settings.scene.as_deref();
        engine.prepare(&self.folder, entry, scene)
    }

    fn load(&self, entry: &str) -> Result<Box<dyn Engine>, EngineError> {
        let mut engine = (self.make_engine)(self.spec.engine)?;
        self.prepare(engine.as_mut(), entry)?;
        Ok(engine)
    }

    fn load_and_calibrate(
        &self,
        early: EarlyEngine,
        entry: &str,
    ) -> Result<Box<dyn Engine>, EngineError> {
        let mut engine = early.started()?;
        let (first_frame, _) = self.prepare(engine.as_mut(), entry)?.frames;
        let settings = &self.spec.settings;
        let calibration = calibrate(engine.as_mut(), settings, first_frame, &self.cancel)?;
        let nanoseconds = calibration.took.as_nanos();
        let megasample_ms = nanoseconds / u128::from(calibration.pixel_samples.max(1));
        self.tell(News::Ready {
            class: class_fingerprint(&engine.build(), calibration.root),
            calibration: calibration.root,
            // Nanoseconds a sample are milliseconds a million samples.
            megasample_ms: u32::try_from(megasample_ms.max(1)).unwrap_or(u32::MAX),
        });
        Ok(engine)
    }

    fn render(
        &self,
        engine: &mut dyn Engine,
        task: &TaskSpec,
        cancel: &CancelFlag,
    ) -> Result<News, EngineError> {
        let started = Instant::now();
        let settings = &self.spec.settings;
        let secret = task.pixels.zip(task.rects.first());
        let rects = match secret {
            Some((pixels, rect)) => Cow::Owned(pixels.rects(rect)),
            None => Cow::Borrowed(&task.rects),
        };
        let rendered = engine.render_range(settings, (task.frame, task.samples), &rects, cancel)?;
        let render_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        let failed = |why: String| EngineError::Failed(why);
        if !rendered.iter().map(|part| &part.rect).eq(rects.iter()) {
            return Err(failed("the engine rendered other rectangles".into()));
        }
        let bytes = match secret {
            Some((pixels, rect)) => pixels.pack(rect, &settings.passes, &rendered),
            None => task_bytes(&rendered, &settings.passes),
        };
        let bytes = bytes.map_err(|e| failed(e.to_string()))?;
        let root = self.tiles.keep(&bytes, self.requestor);
        Ok(News::Rendered {
            task: task.id,
            root: root.map_err(|e| failed(e.to_string()))?,
            render_ms,
        })
    }

    fn broken(&self, error: &EngineError) {
        self.tell(News::Broken {
            reason: error.to_string(),
        });
    }

    fn tell(&self, news: News) {
        let note = Note {
            job: self.spec.id,
            run: self.run,
            news,
        };
        // Fails only when the worker has stopped.
        let _ = self.notes.blocking_send(note);
    }
}
