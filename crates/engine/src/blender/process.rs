//! The Blender process: starting it with nothing of our environment, talking to the driver script in it,
//! and ending it.

use super::{
    BlenderOptions,
    device::{self, Device, ListedDevice},
    discovery::{Found, ProgramKind},
    ending,
    passes::LayerPass,
    watch::Watch,
};
use crate::{
    CancelFlag, EngineError,
    environment::isolated,
    frame_file::Attributes,
    log::{Log, for_lines},
    scratch::Scratch,
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

const DRIVER: &str = include_str!("driver.py");
/// What the driver imports, beside it.
const DRIVER_MODULES: [(&str, &str); 6] = [
    ("assembled_frame.py", include_str!("assembled_frame.py")),
    ("cycles_devices.py", include_str!("cycles_devices.py")),
    ("scene_files.py", include_str!("scene_files.py")),
    ("scene_geometry.py", include_str!("scene_geometry.py")),
    ("scene_pictures.py", include_str!("scene_pictures.py")),
    ("scene_scripts.py", include_str!("scene_scripts.py")),
];

/// What keeps Cycles from kernels that only some processors have: 5.0 knows the first, 3.4 both.
const COMMON_KERNEL: [&str; 2] = ["CYCLES_CPU_NO_AVX2", "CYCLES_CPU_NO_AVX"];
/// Most output of a program that only tells its version.
const PROBE_OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// How often a wait looks at the cancel flag.
const POLL_MS: u64 = 20;
/// Longest time from the start to the driver's first word.
const START_SECONDS_MAX: u64 = 180;
/// A cancelled command that ends by itself within this time leaves the process, and its loaded scene, alive.
const CANCEL_GRACE_MS: u64 = 300;
/// Longest time that the log may lag behind an answer.
const LOG_LAG_MS_MAX: u64 = 2_000;
/// Exit status of a driver whose script failed.
const SCRIPT_FAILED: &str = "70";

/// A command with an empty environment and private folders below `home`.
pub(super) fn private_command(program: &Path, home: &Path) -> Command {
    let mut command = isolated(program, home);
    command
        .envs(["BLENDER_USER_RESOURCES", "BLENDER_USER_CONFIG"].map(|name| (name, home)))
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONUTF8", "1")
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Runs a short program and returns what it printed.
pub(super) fn run_bounded(mut command: Command, limit: Duration) -> Result<String, String> {
    let mut child = command
        .spawn()
        .map_err(|e| format!("does not start: {e}"))?;
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(output) = output {
            // Whatever could be read before an error is judged by the caller.
            let _ = output.take(PROBE_OUTPUT_BYTES_MAX).read_to_end(&mut text);
        }
        text
    });
    let started = Instant::now();
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no answer in {} s", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    }
    let text = reader.join().unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A command to the driver script, see driver.py.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum DriverCommand<'a> {
    /// Lists what Cycles can render with.
    Devices,
    /// Renders with this card from now on.
    Use {
        /// As Cycles calls them.
        backend: &'a str,
        id: &'a str,
    },
    /// Opens a scene and describes it.
    Open {
        /// The .blend file, absolute.
        path: &'a Path,
        /// One of its scenes, if not the file's own choice.
        scene: Option<&'a str>,
        /// A folder for trials.
        scratch: &'a Path,
    },
    /// Renders one rectangle into a multi-layer EXR.
    Render {
        frame: i32,
        size: [u32; 2],
        rect: [u32; 4],
        samples: u32,
        /// First and number of those that are rendered, if not all.
        range: Option<[u32; 2]>,
        /// Are the passes wanted that ranges are weighed by?
        weights: bool,
        /// Added to the scene's own.
        seed: u32,
        threads: u32,
        output: &'a Path,
    },
    /// Denoises a layer's multi-layer EXR with denoising data.
    Denoise {
        layer: &'a str,
        exr: &'a Path,
        output: &'a Path,
    },
    /// Turns an assembled frame into the files that Blender would have written.
    Finish(FinishCommand<'a>),
}

/// See [`DriverCommand::Finish`].
#[derive(Debug, Clone, Serialize)]
pub(super) struct FinishCommand<'a> {
    pub(super) frame: i32,
    pub(super) size: [u32; 2],
    pub(super) threads: u32,
    /// The passes one after the other, in 32-bit floats.
    pub(super) pixels: &'a Path,
    pub(super) passes: &'a [LayerPass],
    /// Texts for the headers of files that have them.
    pub(super) metadata: &'a Attributes,
    /// Format by the ending of files, or else the scene's own.
    pub(super) ending: Option<&'a str>,
    pub(super) output: &'a Path,
}

impl DriverCommand<'_> {
    /// Does it work on pixels?
    fn is_work(&self) -> bool {
        matches!(
            self,
            Self::Render { .. } | Self::Denoise { .. } | Self::Finish { .. }
        )
    }
}

#[derive(Serialize)]
struct Request<'a> {
    id: u64,
    #[serde(flatten)]
    command: &'a DriverCommand<'a>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    ok: Option<serde_json::Value>,
    scene_error: Option<String>,
    error: Option<String>,
}

/// The driver's first word.
#[derive(Deserialize)]
pub(super) struct Hello {
    pub(super) version: String,
    pub(super) build_hash: String,
}

/// A running Blender with our script in it.
pub(super) struct Driver {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    log: Arc<Mutex<Log>>,
    home: Scratch,
    next_id: u64,
    watch: Watch,
    /// Has it ended, or was it ended because it could not go on?
    is_lost: bool,
    /// Has it answered a command that works on pixels?
    has_rendered: bool,
}

impl Driver {
    /// Starts Blender and waits for the driver's first word.
    pub(super) fn start(
        found: &Found,
        options: &BlenderOptions,
        cancel: &CancelFlag,
    ) -> Result<(Self, Hello), EngineError> {
        let failed = |what: &str, e: io::Error| EngineError::Failed(format!("{what}: {e}"));
        let home =
            Scratch::new("blender").map_err(|e| failed("no temporary folder for Blender", e))?;
        let script = home.path().join("driver.py");
        for (name, text) in DRIVER_MODULES.into_iter().chain([("driver.py", DRIVER)]) {
            fs::write(home.path().join(name), text)
                .map_err(|e| failed("the driver script was not written", e))?;
        }
        let nonce = home
            .path()
            .file_name()
            .unwrap_or(OsStr::new("driver"))
            .to_string_lossy()
            .into_owned();
        let mut command = private_command(&found.path, home.path());
        match found.kind {
            ProgramKind::Module => command.arg("-I").arg(&script),
            ProgramKind::Binary => command
                .args(["--factory-startup", "--disable-autoexec", "-noaudio", "-b"])
                .args(["--python-exit-code", SCRIPT_FAILED, "--python"])
                .arg(&script),
        };
        command.envs(options.device.environment());
        if options.common_kernel {
            command.envs(COMMON_KERNEL.map(|name| (name, "1")));
        }
        let mut child = command
            .args(["--", &nonce])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| EngineError::Missing(format!("{found} does not start: {e}")))?;
        let (Some(commands), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EngineError::Failed("Blender has no pipes".into()));
        };
        let log = Arc::new(Mutex::new(Log::default()));
        let answers = read_answers(stdout, nonce.clone());
        read_log(stderr, nonce, Arc::clone(&log));
        let watch = Watch::new(child.id(), options.limits);
        let mut driver = Self {
            child,
            commands,
            answers,
            log,
            home,
            next_id: 0,
            watch,
            is_lost: false,
            has_rendered: false,
        };
        let hello = driver.answer(cancel, Duration::from_secs(START_SECONDS_MAX))?;
        Ok((driver, hello))
    }

    /// Has it not ended yet?
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A private folder that lives as long as the process.
    pub(super) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Sends one command and waits for its answer. After any error but [`EngineError::Scene`] the process must
    /// be thrown away; dropping this value does.
    pub(super) fn request<T: DeserializeOwned>(
        &mut self,
        command: &DriverCommand<'_>,
        cancel: &CancelFlag,
        limit: Duration,
    ) -> Result<T, EngineError> {
        self.lock_log().take_errors();
        let request = Request {
            id: self.next_id,
            command,
        };
        let mut line = serde_json::to_vec(&request)
            .map_err(|e| EngineError::Failed(format!("a command has no JSON form: {e}")))?;
        line.push(b'\n');
        if self
            .commands
            .write_all(&line)
            .and_then(|()| self.commands.flush())
            .is_err()
        {
            return Err(self.died());
        }
        self.watch.begin();
        let answer = self.answer(cancel, limit)?;
        self.has_rendered |= command.is_work();
        Ok(answer)
    }

    /// What Cycles can render with.
    pub(super) fn devices(
        &mut self,
        cancel: &CancelFlag,
    ) -> Result<Vec<ListedDevice>, EngineError> {
        let limit = Duration::from_secs(START_SECONDS_MAX);
        self.request(&DriverCommand::Devices, cancel, limit)
    }

    /// Chooses what renders from now on; gives the card, none when it is the processor.
    pub(super) fn use_device(
        &mut self,
        device: Device,
        cancel: &CancelFlag,
    ) -> Result<Option<ListedDevice>, EngineError> {
        if device.is_cpu() {
            return Ok(None);
        }
        let listed = self.devices(cancel)?;
        let card = device::choose(device, &listed)?;
        let (backend, id) = (card.backend.as_str(), card.id.as_str());
        let limit = Duration::from_secs(START_SECONDS_MAX);
        self.request::<IgnoredAny>(&DriverCommand::Use { backend, id }, cancel, limit)?;
        Ok(Some(card.clone()))
    }

    /// Did the process end or have to be ended, after it had rendered something? Then what was asked of it may be
    /// possible for a fresh one.
    pub(super) fn is_lost_when_warm(&self) -> bool {
        self.is_lost && self.has_rendered
    }

    /// The known errors in what Blender printed during the last command.
    pub(super) fn take_log_errors(&mut self) -> Vec<String> {
        self.lock_log().take_errors()
    }

    fn answer<T: DeserializeOwned>(
        &mut self,
        cancel: &CancelFlag,
        limit: Duration,
    ) -> Result<T, EngineError> {
        let text = self.wait(cancel, limit)?;
        let bad = |what: &str| EngineError::Failed(format!("Blender's driver answered {what}"));
        let answer: Answer = serde_json::from_str(&text).map_err(|e| bad(&e.to_string()))?;
        if answer.id != self.next_id {
            return Err(bad("something else"));
        }
        self.next_id += 1;
        self.wait_for_log(answer.id);
        match answer {
            Answer {
                scene_error: Some(why),
                ..
            } => Err(EngineError::Scene(why)),
            Answer {
                error: Some(why), ..
            } => Err(EngineError::Failed(self.with_log(&why))),
            Answer {
                ok: Some(value), ..
            } => serde_json::from_value(value).map_err(|e| bad(&e.to_string())),
            _ => Err(bad("nothing")),
        }
    }

    fn wait(&mut self, cancel: &CancelFlag, limit: Duration) -> Result<String, EngineError> {
        let started = Instant::now();
        let mut cancelled = None;
        loop {
            match self.answers.recv_timeout(Duration::from_millis(POLL_MS)) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if cancel.is_cancelled() {
                let since = *cancelled.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_millis(CANCEL_GRACE_MS) {
                    return Err(EngineError::Cancelled);
                }
            }
            if let Some(why) = self.watch.look() {
                self.is_lost = true;
                return Err(EngineError::Failed(why));
            }
            if started.elapsed() > limit {
                let why = format!("Blender did not answer in {} s", limit.as_secs());
                return Err(EngineError::Failed(self.with_log(&why)));
            }
        }
    }

    /// Both pipes are read by threads of their own: waits until the log has everything up to this answer.
    fn wait_for_log(&self, id: u64) {
        let started = Instant::now();
        while self.lock_log().command_seen != Some(id)
            && started.elapsed() < Duration::from_millis(LOG_LAG_MS_MAX)
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn died(&mut self) -> EngineError {
        self.is_lost = true;
        let status = self.child.wait().ok();
        self.wait_for_end_of_log();
        EngineError::Failed(ending::told(status, &self.lock_log(), &self.watch))
    }

    /// The last that a process prints says most; what it started may hold the pipe open.
    fn wait_for_end_of_log(&self) {
        let started = Instant::now();
        while !self.lock_log().has_ended
            && started.elapsed() < Duration::from_millis(LOG_LAG_MS_MAX)
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn with_log(&self, why: &str) -> String {
        match self.lock_log().relevant_line() {
            Some(line) => format!("{why}; the last it printed: {line}"),
            None => why.to_owned(),
        }
    }

    fn lock_log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forwards the driver's answers; lines without the nonce are Blender's own, printed before the driver began.
fn read_answers(stdout: impl Read + Send + 'static, nonce: String) -> Receiver<String> {
    let (sender, receiver): (SyncSender<String>, _) = sync_channel(4);
    thread::spawn(move || {
        for_lines(stdout, |line| match line.strip_prefix(nonce.as_str()) {
            Some(answer) => sender.send(answer.to_owned()).is_ok(),
            None => true,
        });
    });
    receiver
}

/// Keeps what Blender prints, and notes the marks `NONCE ID` that the driver writes before it answers.
fn read_log(stderr: impl Read + Send + 'static, nonce: String, log: Arc<Mutex<Log>>) {
    thread::spawn(move || {
        for_lines(stderr, |line| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let mark = line
                .strip_prefix(nonce.as_str())
                .and_then(|id| id.trim().parse().ok());
            match mark {
                Some(id) => log.command_seen = Some(id),
                None => log.push(line),
            }
            true
        });
        log.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
    });
}
