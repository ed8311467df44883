//! An engine in a process of its own: what renders a stranger's scene shares no memory with our keys, and a
//! crash, a kill or a runaway loses only that process.

mod messages;
mod serve;

pub use serve::serve_child;

use crate::{
    CancelFlag, Engine, EngineError, SceneDescription,
    environment::isolated,
    log::{Log, for_lines},
    sandbox::{Confinement, MEMORY_BYTES_MAX_DEFAULT},
    scratch::Scratch,
};
use messages::{
    FromChild, RENDER_RECTS_MAX, SceneFile, ToChild, pixel_bytes, read_pixels, receive,
    receive_pixels, send,
};
use protocol::{Rect, RenderSettings, RenderedRect, SampleRange};
use std::{
    ffi::OsString,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a wait looks at the cancel flag.
const POLL_MS: u64 = 10;
/// Longest time from the start to the child's first word: it may have to look for Blender.
const START_SECONDS_MAX: u64 = 300;
/// A child that does not stop by itself within this time of a cancel is killed.
const CANCEL_GRACE_MS: u64 = 1_000;

/// How to start the child.
#[derive(Debug, Clone)]
pub struct ChildProgram {
    /// Our own program.
    pub program: PathBuf,
    /// The arguments that make it call [`serve_child`].
    pub args: Vec<OsString>,
    /// Memory of the child and of each process that it starts.
    pub memory_bytes_max: u64,
}

impl ChildProgram {
    /// A child with the default memory limit.
    pub fn new(program: &Path, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            memory_bytes_max: MEMORY_BYTES_MAX_DEFAULT,
        }
    }
}

/// An engine that runs in a child process, started again when it was lost.
pub struct ChildEngine {
    program: ChildProgram,
    build: String,
    running: Option<Running>,
    scene: Option<SceneFile>,
    confinement: Option<Confinement>,
}

impl ChildEngine {
    /// Starts the child, whose build is known once a scene was prepared.
    ///
    /// # Errors
    /// [`EngineError::Missing`] when the child does not start or its engine is not there.
    pub fn spawn(program: ChildProgram) -> Result<Self, EngineError> {
        let running = Running::start(&program)?;
        Ok(Self {
            program,
            build: String::new(),
            running: Some(running),
            scene: None,
            confinement: None,
        })
    }

    /// What confines the child, once a scene was prepared.
    pub fn confinement(&self) -> Option<&Confinement> {
        self.confinement.as_ref()
    }

    /// Lets a fresh child confine itself and load the scene.
    fn load(
        &mut self,
        file: SceneFile,
        cancel: &CancelFlag,
    ) -> Result<SceneDescription, EngineError> {
        self.running
            .take_if(|running| !running.can_load(&file.bundle));
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.program)?,
        };
        running.confine(&file.bundle, self.program.memory_bytes_max)?;
        running.has_loaded = true;
        running.send(&ToChild::Prepare(file))?;
        let prepared = match running.wait(None, cancel, None)? {
            Event::Message(FromChild::Prepared(prepared)) => prepared,
            _ => return Err(running.broken("it answered something else than a scene")),
        };
        let prepared = prepared.map_err(EngineError::from)?;
        self.confinement = Some(prepared.confinement);
        self.build = prepared.build;
        self.running = Some(running);
        Ok(prepared.description)
    }
}

impl Engine for ChildEngine {
    fn warm_up(&mut self, bundle: &Path) {
        let memory_bytes_max = self.program.memory_bytes_max;
        if let (Some(running), Ok(bundle)) = (&mut self.running, bundle.canonicalize())
            && running.confine(&bundle, memory_bytes_max).is_err()
        {
            self.running = None;
        }
    }

    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        let bundle = bundle
            .canonicalize()
            .map_err(|e| EngineError::Scene(format!("{}: {e}", bundle.display())))?;
        let file = SceneFile {
            bundle,
            entry: entry.to_owned(),
            scene: scene.map(str::to_owned),
        };
        let description = self.load(file.clone(), &CancelFlag::default())?;
        self.scene = Some(file);
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
        if self.running.is_none() {
            let scene = self.scene.clone();
            let file = scene.ok_or_else(|| EngineError::Failed("no scene was prepared".into()))?;
            self.load(file, cancel)?;
        }
        let Some(running) = &mut self.running else {
            return Err(EngineError::Failed(
                "the rendering process is not running".into(),
            ));
        };
        let mut rendered = Vec::with_capacity(rects.len());
        for some in rects.chunks(RENDER_RECTS_MAX) {
            match running.render(settings, part, some, cancel) {
                Ok(more) => rendered.extend(more),
                Err(error) => {
                    if !running.is_idle {
                        self.running = None;
                    }
                    return Err(error);
                }
            }
        }
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.build.clone()
    }
}

/// What comes from the child.
enum Event {
    Message(FromChild),
    Pixels { count: u32, bytes: Vec<u8> },
}

/// A running child.
struct Running {
    child: Child,
    stdin: ChildStdin,
    events: Receiver<io::Result<Event>>,
    log: Arc<Mutex<Log>>,
    scratch: Scratch,
    number: u64,
    /// Has it answered all that it was asked?
    is_idle: bool,
    /// The folder of the scene that it confined itself to, for good.
    confined_to: Option<PathBuf>,
    /// Was it told to load a scene?
    has_loaded: bool,
}

impl Running {
    fn start(program: &ChildProgram) -> Result<Self, EngineError> {
        let name = program.program.display();
        let scratch = Scratch::new("child")
            .map_err(|e| EngineError::Failed(format!("no temporary folder: {e}")))?;
        let mut child = isolated(&program.program, scratch.path())
            .args(&program.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| EngineError::Missing(format!("{name} does not start: {e}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EngineError::Failed(format!("{name} has no pipes")));
        };
        let log = Arc::new(Mutex::new(Log::default()));
        read_log(stderr, Arc::clone(&log));
        let events = read_events(stdout);
        let mut running = Self {
            child,
            stdin,
            events,
            log,
            scratch,
            number: 0,
            is_idle: true,
            confined_to: None,
            has_loaded: false,
        };
        let limit = Duration::from_secs(START_SECONDS_MAX);
        match running.wait(None, &CancelFlag::default(), Some(limit)) {
            Ok(Event::Message(FromChild::Hello)) => Ok(running),
            Ok(_) => Err(running.broken("it did not introduce itself")),
            Err(error) => Err(EngineError::Missing(error.to_string())),
        }
    }

    /// Can it load a scene of this folder? It confines itself to one scene for good, and may have ended while it waited.
    fn can_load(&mut self, bundle: &Path) -> bool {
        let is_elsewhere = self.confined_to.as_deref().is_some_and(|to| to != bundle);
        !self.has_loaded && !is_elsewhere && matches!(self.child.try_wait(), Ok(None))
    }

    /// Has it confine itself to the scene in this folder, if it has not done so, and warm up; does not wait for it.
    fn confine(&mut self, bundle: &Path, memory_bytes_max: u64) -> Result<(), EngineError> {
        if self.confined_to.as_deref() == Some(bundle) {
            return Ok(());
        }
        self.confined_to = Some(bundle.to_owned());
        let scratch = self.scratch.path().to_owned();
        self.send(&ToChild::Confine {
            bundle: bundle.to_owned(),
            scratch,
            memory_bytes_max,
        })
    }

    fn send(&mut self, message: &ToChild) -> Result<(), EngineError> {
        send(&mut self.stdin, message).map_err(|e| self.broken(&e.to_string()))
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        (frame, range): (i32, Option<SampleRange>),
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        self.number += 1;
        self.is_idle = false;
        let (number, settings_sent) = (self.number, settings.clone());
        self.send(&ToChild::Render {
            number,
            settings: settings_sent,
            frame,
            range,
            rects: rects.to_vec(),
        })?;
        let mut rendered = Vec::with_capacity(rects.len());
        loop {
            match self.wait(Some(number), cancel, None)? {
                Event::Pixels { count, bytes } => {
                    let mut rest = bytes.as_slice();
                    let due = &rects[rendered.len()..];
                    for rect in due.iter().take(count as usize) {
                        let length = pixel_bytes(rect, &settings.passes).min(rest.len());
                        let (pixels, after) = rest.split_at(length);
                        let pixels = read_pixels(*rect, &settings.passes, pixels);
                        let pixels = pixels.ok_or_else(|| self.broken("it sent no pixels"))?;
                        rendered.push(pixels);
                        rest = after;
                    }
                    if !rest.is_empty() || count == 0 || count as usize > due.len() {
                        return Err(self.broken("it sent pixels that nobody asked for"));
                    }
                }
                Event::Message(FromChild::Rendered(result)) => {
                    self.is_idle = true;
                    result.map_err(EngineError::from)?;
                    return match rendered.len() == rects.len() {
                        true => Ok(rendered),
                        false => Err(self.broken("it left rectangles out")),
                    };
                }
                _ => return Err(self.broken("it answered something else than was asked")),
            }
        }
    }

    /// The next event. When cancelled, asks the child to stop the render of this number, then gives up on it.
    fn wait(
        &mut self,
        render: Option<u64>,
        cancel: &CancelFlag,
        limit: Option<Duration>,
    ) -> Result<Event, EngineError> {
        let started = Instant::now();
        let mut cancelled: Option<Instant> = None;
        loop {
            match self.events.recv_timeout(Duration::from_millis(POLL_MS)) {
                Ok(Ok(event)) => return Ok(event),
                Ok(Err(e)) => return Err(self.broken(&e.to_string())),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match cancelled {
                None if cancel.is_cancelled() => {
                    cancelled = Some(Instant::now());
                    if let Some(number) = render {
                        self.send(&ToChild::Cancel { number })?;
                    }
                }
                Some(since) if since.elapsed() > Duration::from_millis(CANCEL_GRACE_MS) => {
                    return Err(EngineError::Cancelled);
                }
                _ => {}
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                return Err(self.broken("it does not answer"));
            }
        }
    }

    fn died(&mut self) -> EngineError {
        match self.child.wait() {
            Ok(status) => self.broken(&status.to_string()),
            Err(e) => self.broken(&e.to_string()),
        }
    }

    fn broken(&self, why: &str) -> EngineError {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        EngineError::Failed(match log.relevant_line() {
            None => format!("the rendering process failed: {why}"),
            Some(line) => {
                format!("the rendering process failed: {why}; the last it printed: {line}")
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_events(stdout: impl Read + Send + 'static) -> Receiver<io::Result<Event>> {
    let (sender, receiver): (SyncSender<io::Result<Event>>, _) = sync_channel(2);
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let event = match receive(&mut stdout) {
                Ok(Some(FromChild::Rects { count, bytes })) => {
                    receive_pixels(&mut stdout, bytes).map(|bytes| Event::Pixels { count, bytes })
                }
                Ok(Some(message)) => Ok(Event::Message(message)),
                Ok(None) => return,
                Err(e) => Err(e),
            };
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn read_log(stderr: impl Read + Send + 'static, log: Arc<Mutex<Log>>) {
    thread::spawn(move || {
        for_lines(stderr, |line| {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            true
        });
    });
}
