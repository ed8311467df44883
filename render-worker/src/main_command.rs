//! The command line's way through the worker: keys, engines, signals, exit codes.

use crate::{
    arguments::{Arguments, Command, EngineChoice, ServeArguments},
    chain::Chain,
    check_evidence::{self, Checking},
    config::{Started, WorkerConfig, WorkerError},
    earnings,
    engine_process::{self, EngineProcesses},
    limits::ENGINE_IDLE_MAX,
    redeem, reports, wallet, worker,
};
use clap::Parser;
use engine::{blender::Found, find_blender};
use network::Identity;
use payment::Wallet;
use protocol::{Address, EngineKind};
use serde_json::json;
use std::{
    env,
    ffi::OsString,
    fs,
    future::Future,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::sync::oneshot;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

const EXIT_FAILURE: u8 = 1;
const EXIT_INTERRUPTED: u8 = 130;

/// Runs the command line `arguments` (without the program's name). `program` are the arguments that make the
/// current executable call this function, for the processes that it starts.
pub fn main(program: Vec<String>, arguments: Vec<OsString>) -> ExitCode {
    let name = [OsString::from("render-worker")];
    let arguments = match Arguments::try_parse_from(name.into_iter().chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, a mistake to standard error; if that is closed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_FAILURE));
        }
    };
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    // A second subscriber is refused: then the caller has set up its own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
    match run(program, arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn run(program: Vec<String>, arguments: Arguments) -> Result<ExitCode, WorkerError> {
    let report = match arguments.command {
        None => return serve(program, arguments.serve),
        Some(Command::Engine(arguments)) => {
            engine_process::run(&arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::CheckEvidence(arguments)) => {
            let checking = Checking {
                program,
                scene: Some(arguments.scene),
                blender: arguments.blender,
                common_kernel: arguments.common_kernel,
                threads: arguments.threads,
            };
            let checked = check_evidence::check(&checking, &arguments.file)?;
            print(&checked.report(arguments.json))?;
            return Ok(checked.exit_code());
        }
        Some(Command::Wallet(arguments)) => {
            wallet::run(&arguments, &data_dir(arguments.data_dir.clone())?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Doctor(arguments)) => {
            let data_dir = data_dir(arguments.data_dir.clone())?;
            reports::doctor(&arguments, &data_dir)?
        }
        Some(Command::Earnings(arguments)) => {
            let data_dir = data_dir(arguments.data_dir.clone())?;
            earnings::report(&arguments, &data_dir)?
        }
        Some(Command::Redeem(arguments)) => {
            let data_dir = data_dir(arguments.data_dir.clone())?;
            redeem::run(&arguments, &data_dir)?
        }
    };
    print(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), WorkerError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(WorkerError::io("cannot write to standard output"))
}

fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, WorkerError> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    given
        .or_else(|| absolute("XDG_DATA_HOME").map(|data| data.join("render-worker")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share/render-worker")))
        .ok_or(WorkerError::NoDataDir)
}

/// Who a worker is; only the parent process ever reads the files.
pub struct Keys {
    pub identity: Identity,
    pub payee: Address,
}

impl Keys {
    pub fn load(data_dir: &Path) -> Result<Self, WorkerError> {
        let made = fs::create_dir_all(data_dir);
        made.map_err(WorkerError::io(format!(
            "cannot make {}",
            data_dir.display()
        )))?;
        Ok(Self {
            identity: Identity::load_or_create(data_dir.join("identity.key"))?,
            payee: Wallet::load_or_create(data_dir.join("payment.key"))?.address(),
        })
    }
}

/// The engines to offer, and the Blender behind one of them. Found here, because the rendering process has no
/// environment to find it by.
fn engines(arguments: &ServeArguments) -> Result<(Vec<EngineKind>, Option<Found>), WorkerError> {
    let blender = || {
        let found = match (&arguments.blender, &arguments.blender_facts) {
            (Some(path), Some(facts)) => Found::known(path, facts)?,
            (path, _) => find_blender(path.as_deref())?,
        };
        // The requestor of local workers starts the same Blender itself; a provider must not offer what does not run.
        match arguments.exit_with_parent {
            true => Ok(found),
            false => found.proven(arguments.device),
        }
    };
    match arguments.engine {
        EngineChoice::Tracer => Ok((vec![EngineKind::Tracer], None)),
        EngineChoice::Blender => Ok((vec![EngineKind::Blender], Some(blender()?))),
        EngineChoice::Auto => match blender() {
            Ok(found) => Ok((vec![EngineKind::Tracer, EngineKind::Blender], Some(found))),
            Err(error) if arguments.blender.is_some() || !arguments.device.is_cpu() => {
                Err(error.into())
            }
            Err(_) => Ok((vec![EngineKind::Tracer], None)),
        },
    }
}

fn serve(program: Vec<String>, arguments: ServeArguments) -> Result<ExitCode, WorkerError> {
    let data_dir = data_dir(arguments.data_dir.clone())?;
    let keys = Keys::load(&data_dir)?;
    let (engines, found) = engines(&arguments)?;
    let release = found.as_ref().map(Found::release).transpose()?;
    let choices = (arguments.common_kernel, arguments.device);
    let mut processes = EngineProcesses::new(program, arguments.threads, found, choices)?;
    processes.memory_gib = arguments.memory;
    let (started, starts) = oneshot::channel();
    let chain = Chain::open(&arguments.money, &data_dir)?;
    let settings = chain.as_ref().map(|chain| chain.ledger.settings());
    let config = WorkerConfig {
        terms: arguments.money.terms(settings),
        identity: keys.identity,
        payee: chain
            .as_ref()
            .map_or(keys.payee, |chain| chain.wallet.address()),
        chain,
        data_dir,
        listen: arguments.listen,
        peers: arguments.peer,
        mdns: arguments.mdns,
        blender: release,
        device: arguments.device,
        price_megasample: arguments.price,
        cache_bytes: arguments.cache,
        requestor_blobs: arguments.requestor_blobs,
        serve_only: arguments.serve_only,
        hold: arguments.hold,
        engine_idle: ENGINE_IDLE_MAX,
        about: about(arguments.threads),
        spare: arguments.exit_with_parent.then(|| engines[0]),
        engines,
        started: Some(started),
    };
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(WorkerError::io("cannot start the runtime"))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let served = runtime.block_on(async {
        let json = arguments.json;
        tokio::spawn(async move {
            if let Ok(started) = starts.await
                && let Err(error) = announce(&started, json)
            {
                tracing::warn!("{error}");
            }
        });
        let stop = stop(arguments.exit_with_parent, Arc::clone(&interrupted));
        Box::pin(worker::serve(
            config,
            move |kind| processes.spawn(kind),
            stop,
        ))
        .await
    });
    // Threads that still load a scene end with the process, and their children with them.
    runtime.shutdown_background();
    served?;
    match interrupted.load(Ordering::Relaxed) {
        true => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn about(threads: u32) -> String {
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    let threads = match threads {
        0 => processors(),
        threads => threads as usize,
    };
    format!(
        "render-worker {}, {threads} threads",
        env!("CARGO_PKG_VERSION")
    )
}

fn announce(started: &Started, is_json: bool) -> Result<(), WorkerError> {
    if is_json {
        let line = json!({
            "node": started.node.to_string(),
            "addresses": started.addresses,
            "payee": started.payee.to_string(),
        });
        return print(&format!("{line}\n"));
    }
    eprintln!("node {}, paid to {}", started.node, started.payee);
    for address in &started.addresses {
        eprintln!("listening on {address}");
    }
    Ok(())
}

/// Completes on the first interrupt or, if wanted, at the end of standard input; a second interrupt ends the process
/// at once.
async fn stop(exit_with_parent: bool, interrupted: Arc<AtomicBool>) {
    let parent_ends = async {
        match exit_with_parent {
            true => end_of_input().await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupt() => {
            interrupted.store(true, Ordering::Relaxed);
            tokio::spawn(async {
                interrupt().await;
                std::process::exit(EXIT_INTERRUPTED.into());
            });
        }
        () = parent_ends => {}
    }
}

/// A read of standard input cannot be given up, so a plain thread does it.
fn end_of_input() -> impl Future<Output = ()> {
    let (ended, end) = oneshot::channel::<()>();
    thread::spawn(move || {
        let _ended = ended;
        let mut buffer = [0; 4096];
        while matches!(io::stdin().read(&mut buffer), Ok(1..)) {}
    });
    async move {
        // The sender is dropped, never used: both ways mean the end.
        let _ = end.await;
    }
}

#[cfg(unix)]
async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn interrupt() {
    let _ = tokio::signal::ctrl_c().await;
}
