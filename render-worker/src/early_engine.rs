//! An engine that starts before its job's scene is there: Blender takes a second or more to start.

use crate::renderer::MakeEngine;
use engine::{Engine, EngineError};
use protocol::EngineKind;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

/// An engine without a scene, starting on a thread of its own.
pub struct EarlyEngine {
    /// What it renders.
    pub kind: EngineKind,
    /// Where its scene is to lie: the engine's process may read no other folder.
    pub folder: PathBuf,
    starting: JoinHandle<Result<Box<dyn Engine>, EngineError>>,
}

impl EarlyEngine {
    /// Starts it for the scene that will lie in `folder`, which is made.
    pub fn start(
        kind: EngineKind,
        folder: PathBuf,
        make_engine: Arc<MakeEngine>,
    ) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let bundle = folder.clone();
        let builder = thread::Builder::new().name("early engine".into());
        let starting = builder.spawn(move || warm(kind, &bundle, make_engine.as_ref()))?;
        Ok(Self {
            kind,
            folder,
            starting,
        })
    }

    /// Waits for it.
    pub fn started(self) -> Result<Box<dyn Engine>, EngineError> {
        let panicked = |_| {
            Err(EngineError::Failed(
                "the engine panicked at its start".into(),
            ))
        };
        self.starting.join().unwrap_or_else(panicked)
    }
}

fn warm(
    kind: EngineKind,
    bundle: &Path,
    make_engine: &MakeEngine,
) -> Result<Box<dyn Engine>, EngineError> {
    let mut engine = make_engine(kind)?;
    engine.warm_up(bundle);
    Ok(engine)
}
