//! Both ends of a rendering process: how the worker starts it, and what it runs.

use crate::{
    arguments::EngineArguments,
    config::WorkerError,
    limits::{ADDRESSES_PER_MEMORY, MEMORY_GIB_DEFAULT},
};
use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, ChildEngine, ChildProgram, Device, Engine,
    EngineError, ProcessLimits, SceneDescription, TracerEngine, blender::Found, serve_child,
};
use protocol::{EngineKind, Rect, RenderSettings, RenderedRect};
use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

/// How engines are started in processes of their own.
pub struct EngineProcesses {
    /// Our own executable.
    pub executable: PathBuf,
    /// Arguments that make it a worker.
    pub program: Vec<String>,
    /// Render threads; 0 means one a processor.
    pub threads: u32,
    /// The Blender to use, if there is one.
    pub blender: Option<Found>,
    /// Does Blender render with the kernel that every processor has?
    pub common_kernel: bool,
    /// What Blender renders with.
    pub device: Device,
    /// Most memory that a process may hold, in GiB.
    pub memory_gib: u32,
}

impl EngineProcesses {
    /// Engines that run this very executable.
    pub fn new(
        program: Vec<String>,
        threads: u32,
        blender: Option<Found>,
        (common_kernel, device): (bool, Device),
    ) -> Result<Self, WorkerError> {
        let executable = env::current_exe().map_err(WorkerError::io("cannot find this program"))?;
        Ok(Self {
            executable,
            program,
            threads,
            blender,
            common_kernel,
            device,
            memory_gib: MEMORY_GIB_DEFAULT,
        })
    }

    /// Starts a process with an engine of this kind.
    pub fn spawn(&self, kind: EngineKind) -> Result<Box<dyn Engine>, EngineError> {
        let mut args: Vec<OsString> = self.program.iter().map(Into::into).collect();
        args.extend(["engine".into(), "--kind".into(), kind.to_string().into()]);
        args.extend(["--threads".into(), self.threads.to_string().into()]);
        if let Some(blender) = &self.blender {
            args.extend(["--blender".into(), blender.path.as_os_str().to_owned()]);
            args.extend(["--blender-facts".into(), blender.facts().into()]);
        }
        args.extend(["--device".into(), self.device.to_string().into()]);
        if self.common_kernel {
            args.push("--common-kernel".into());
        }
        args.extend(["--memory".into(), self.memory_gib.to_string().into()]);
        let program = ChildProgram {
            memory_bytes_max: bytes(self.memory_gib).saturating_mul(ADDRESSES_PER_MEMORY),
            ..ChildProgram::new(&self.executable, args)
        };
        Ok(Box::new(ChildEngine::spawn(program)?))
    }
}

fn bytes(gib: u32) -> u64 {
    u64::from(gib) << 30
}

/// The process: serves one engine over standard input and output.
pub fn run(arguments: &EngineArguments) -> Result<(), WorkerError> {
    let threads = arguments.threads;
    let engine: Box<dyn Engine> = match arguments.kind.into() {
        EngineKind::Tracer => Box::new(ThreadedTracer {
            tracer: TracerEngine::new(),
            threads,
        }),
        EngineKind::Blender => {
            let (path, facts) = (&arguments.blender, &arguments.blender_facts);
            let (Some(path), Some(facts)) = (path, facts) else {
                let message = "which Blender it is was not said".into();
                return Err(EngineError::Missing(message).into());
            };
            let found = Found::known(path, facts)?;
            let options = BlenderOptions {
                threads,
                common_kernel: arguments.common_kernel,
                device: arguments.device,
                limits: ProcessLimits {
                    memory_bytes_max: bytes(arguments.memory),
                    ..ProcessLimits::default()
                },
            };
            Box::new(BlenderEngine::new(found, options))
        }
    };
    serve_child(engine, io::stdin(), io::stdout())
        .map_err(WorkerError::io("lost the parent process"))
}

/// The tracer, with its thread pool started only once a scene is loaded: threads from before the process confined
/// itself would stay free.
struct ThreadedTracer {
    tracer: TracerEngine,
    threads: u32,
}

impl Engine for ThreadedTracer {
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads as usize)
            .build_global()
            .map_err(|e| EngineError::Failed(e.to_string()))?;
        self.tracer.prepare(bundle, entry, scene)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        self.tracer.render(settings, frame, rects, cancel)
    }

    fn build(&self) -> String {
        self.tracer.build()
    }
}
