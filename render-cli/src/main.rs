//! `render`: the requestor's program. Reads a scene, buys rendering for its frames, checks, assembles and pays.

mod accounts;
mod arguments;
mod bundle;
mod failure;
mod job;
mod local_workers;
mod output;
mod own_engine;
mod payments;
mod report;
mod thread;

use accounts::Purse;
use arguments::{Arguments, EngineChoice};
use clap::Parser;
use engine::{CancelFlag, SceneDescription};
use failure::{Code, Failure};
use farm::{Farm, FarmConfig, PlanRequest, event::Outcome, plan};
use local_workers::LocalWorker;
use network::{BlobStore, Identity, Node, NodeConfig};
use output::{Format, Pattern};
use own_engine::OwnEngine;
use protocol::{
    EngineKind, FrameRange, Glm, JobId, JobSpec, NodeId, Pass, RenderSettings, Size,
    frames::summarize, limits::SAMPLES_MAX,
};
use report::{Report, Voice};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::task::JoinSet;
use verifier::ProbeShape;

/// Size of frames when neither user nor scene has an opinion.
const SIZE_DEFAULT: Size = Size {
    width: 1280,
    height: 720,
};
/// Samples a pixel when neither user nor scene has an opinion.
const SAMPLES_DEFAULT: u32 = 64;
/// Local workers when the user names neither workers nor their number.
const LOCAL_WORKERS_DEFAULT: u32 = 2;
/// Most local workers.
const LOCAL_WORKERS_MAX: u32 = 64;
/// How long to wait for somebody to work, in milliseconds: peers may be on their way, local workers that are gone
/// do not come back.
const PROVIDERS_WAIT_MS: u64 = 30_000;
const LOCAL_PROVIDERS_WAIT_MS: u64 = 5_000;
/// How often a named peer that is away is dialled again.
const REDIAL: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "worker") {
        // Local workers are this same program, so that one file is a whole installation.
        return render_worker::main(vec!["worker".into()], words.collect());
    }
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,render=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::preflight(format!("cannot start the runtime: {error}")).report();
        }
    };
    let ended = runtime.block_on(render(arguments));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn engine_kind(arguments: &Arguments) -> Result<EngineKind, Failure> {
    let scene = &arguments.scene;
    if !scene.is_file() {
        return Err(Failure::preflight(format!(
            "no scene at {}",
            scene.display()
        )));
    }
    let ending = scene
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match (arguments.engine, ending.to_ascii_lowercase().as_str()) {
        (EngineChoice::Tracer, _) | (EngineChoice::Auto, "glb" | "gltf") => Ok(EngineKind::Tracer),
        (EngineChoice::Blender, _) | (EngineChoice::Auto, "blend") => Ok(EngineKind::Blender),
        (EngineChoice::Auto, _) => Err(Failure::preflight(format!(
            "{} is not a scene: its name does not end in .glb, .gltf or .blend",
            scene.display()
        ))
        .hint("name the engine with --engine")),
    }
}

fn frames(arguments: &Arguments, description: &SceneDescription, report: &Report) -> Vec<i32> {
    let range = arguments.frames.clone();
    let range =
        range.unwrap_or_else(|| FrameRange::span(description.frames.0, description.frames.1));
    let expansion = range.expand();
    if expansion.duplicates > 0 {
        report.say(&format!(
            "warning: {} frames are named twice and rendered once",
            expansion.duplicates
        ));
    }
    report.say(&format!(
        "frames   {} ({})",
        summarize(&expansion.frames),
        expansion.frames.len()
    ));
    expansion.frames
}

/// What decides the pixels, from arguments first and the scene second.
fn settings(
    arguments: &Arguments,
    description: &SceneDescription,
    format: Format,
) -> Result<RenderSettings, Failure> {
    let samples = arguments
        .samples
        .or(description.samples)
        .unwrap_or(SAMPLES_DEFAULT);
    if samples == 0 || samples > SAMPLES_MAX {
        let message = format!("{samples} samples: from 1 to {SAMPLES_MAX} are allowed");
        return Err(Failure::new(Code::Usage, message));
    }
    let mut passes = match format {
        Format::Exr => description.passes.clone(),
        Format::Png => description.finish_passes.clone(),
    };
    passes.push(Pass::Combined);
    passes.sort();
    passes.dedup();
    // Adaptive sampling spreads with the samples that are taken, not with those that the scene asks for.
    let guard_px = match (description.guard_px, description.samples) {
        (0, _) => 0,
        (guard, Some(own)) => guard.max(guard * samples.div_ceil(own.max(1))),
        (guard, None) => guard,
    };
    Ok(RenderSettings {
        size: arguments.size.or(description.size).unwrap_or(SIZE_DEFAULT),
        samples,
        seed: 0,
        passes,
        guard_px,
    })
}

fn data_dir(arguments: &Arguments) -> Result<PathBuf, Failure> {
    let home = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let chosen = arguments
        .data_dir
        .clone()
        .or_else(|| home("XDG_DATA_HOME").map(|dir| dir.join("render")))
        .or_else(|| home("HOME").map(|dir| dir.join(".local/share/render")));
    let chosen = chosen.ok_or_else(|| {
        Failure::new(Code::Usage, "there is no home folder").hint("name a place with --data-dir")
    })?;
    std::fs::create_dir_all(&chosen)
        .map_err(|e| Failure::preflight(format!("cannot make {}: {e}", chosen.display())))?;
    Ok(chosen)
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::preflight(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|e| Err(Failure::preflight(e.to_string())))
}

async fn start_node(
    data_dir: &Path,
    arguments: &Arguments,
) -> Result<
    (
        Node,
        tokio::sync::mpsc::Receiver<network::NodeEvent>,
        BlobStore,
    ),
    Failure,
> {
    let fail = |e: &dyn std::fmt::Display| Failure::preflight(e.to_string());
    let identity = Identity::load_or_create(data_dir.join("identity.key")).map_err(|e| fail(&e))?;
    let blobs = BlobStore::open(data_dir.join("blobs")).map_err(|e| fail(&e))?;
    let mut config = NodeConfig::new(identity, blobs.clone());
    config.mdns = arguments.mdns;
    if arguments.is_local() {
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()];
    }
    let (node, events) = Node::start(config).await.map_err(|e| fail(&e))?;
    Ok((node, events, blobs))
}

/// Keeps dialling a named peer while it is away.
async fn keep_dialling(node: Node, address: String) {
    let mut silent = false;
    loop {
        // Dialling a peer that is connected is answered at once.
        if let Err(error) = node.dial(&address).await
            && !std::mem::replace(&mut silent, true)
        {
            eprintln!("warning: {address} cannot be reached: {error}");
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// Loads the scene here while the local workers start. What is wrong with the scene comes before what is wrong with them.
async fn load_and_start(
    local: u32,
    kind: EngineKind,
    requestor: NodeId,
    arguments: &Arguments,
    data_dir: &Path,
) -> Result<(OwnEngine, Vec<LocalWorker>), Failure> {
    let own = own_engine::locate(kind, arguments.blender.as_deref())?;
    let blender = own.program().map(Path::to_owned);
    let mut starting: JoinSet<_> = (0..local)
        .map(|index| {
            local_workers::start(
                index,
                local,
                kind,
                requestor,
                blender.clone(),
                data_dir.to_owned(),
            )
        })
        .collect();
    let scene = arguments.scene.clone();
    let own = blocking(move || OwnEngine::load(own, &scene)).await?;
    let mut workers = Vec::new();
    while let Some(started) = starting.join_next().await {
        workers.push(started.map_err(|e| Failure::preflight(e.to_string()))??);
    }
    Ok((own, workers))
}

async fn render(arguments: Arguments) -> Result<(), Failure> {
    let voice = match (arguments.json, arguments.quiet) {
        (true, _) => Voice::Json,
        (_, true) => Voice::Quiet,
        _ => Voice::Bars,
    };
    let mut report = Report::new(voice);
    let pattern = Pattern::parse(&arguments.output)?;
    let kind = engine_kind(&arguments)?;
    pattern.check_writable()?;
    let data_dir = data_dir(&arguments)?;

    let local = match (arguments.local, arguments.is_local()) {
        (Some(count), _) => count.min(LOCAL_WORKERS_MAX),
        (None, true) => LOCAL_WORKERS_DEFAULT,
        (None, false) => 0,
    };
    let (node, network_events, blobs) = start_node(&data_dir, &arguments).await?;
    let (own, workers) = load_and_start(local, kind, node.id(), &arguments, &data_dir).await?;
    let description = own.description.clone();
    for note in &description.notes {
        report.say(&format!("note: {note}"));
    }
    for warning in &description.warnings {
        report.say(&format!("warning: {warning}"));
    }
    let frames = frames(&arguments, &description, &report);
    let settings = settings(&arguments, &description, pattern.format)?;

    let job_id = JobId(random()?);
    let purse = {
        let data_dir = data_dir.clone();
        blocking(move || Purse::open(&data_dir, job_id)).await?
    };
    let bundle = {
        let (scene, files, blobs) = (
            arguments.scene.clone(),
            own.dependencies.clone(),
            blobs.clone(),
        );
        blocking(move || bundle::make(&scene, &files, &blobs)).await?
    };
    let spec = JobSpec {
        id: job_id,
        manifest: bundle.manifest,
        manifest_bytes: bundle.manifest_bytes,
        engine: kind,
        settings: settings.clone(),
    };
    let planned = plan(&PlanRequest {
        size: settings.size,
        frames: frames.len() as u64,
        samples: settings.samples,
        passes: settings.passes.len(),
        workers: u64::from(local) + arguments.peer.len() as u64,
        tile_px: arguments.tile,
        hints: cost_hints(kind),
    });
    report.say(&format!(
        "job      {} at {}, {} samples, {}; scene {} bytes",
        job_id.short(),
        settings.size,
        settings.samples,
        planned.why,
        bundle.bytes
    ));
    let balance = purse.balance()?;
    let farm = Farm::new(FarmConfig {
        job: spec.clone(),
        frames,
        grid: planned.grid,
        secret: random()?,
        budget: Some(
            arguments
                .budget
                .map_or(balance, |budget| budget.min(balance)),
        ),
        price_megasample_max: None,
        probes: match kind {
            EngineKind::Tracer => ProbeShape::Cells,
            EngineKind::Blender => ProbeShape::BLENDER,
        },
        providers_wait_ms: match arguments.is_local() {
            true => LOCAL_PROVIDERS_WAIT_MS,
            false => PROVIDERS_WAIT_MS,
        },
    })
    .map_err(|e| Failure::preflight(e.to_string()))?;

    let work_dir = data_dir.join("jobs").join(job_id.to_string());
    std::fs::create_dir_all(&work_dir)
        .map_err(|e| Failure::preflight(format!("cannot make {}: {e}", work_dir.display())))?;
    let cancel = CancelFlag::default();
    let context = job::JobContext {
        node: node.clone(),
        blobs,
        payer: purse.payer(),
        accounts: purse.start(),
        own_engine: own.start(settings, cancel.clone()),
        layer: description.layer.clone(),
        blender_finishes: kind == EngineKind::Blender,
        pattern,
        work_dir: work_dir.clone(),
        own_workers: workers.iter().map(|worker| worker.node).collect(),
        spec,
    };
    let addresses = workers.iter().map(|worker| worker.address.clone());
    let dialling: Vec<_> = addresses
        .chain(arguments.peer.iter().cloned())
        .map(|address| tokio::spawn(keep_dialling(node.clone(), address)))
        .collect();
    let (outcome, farm) = job::run(context, farm, network_events, &mut report).await;
    dialling.iter().for_each(|task| task.abort());
    cancel.cancel();
    let progress = farm.progress();
    let output = arguments.output.display().to_string();
    report.close(
        outcome_name(&outcome),
        &progress,
        &output,
        node.bytes_served(),
    );
    let _ = std::fs::remove_dir_all(&work_dir);
    node.shutdown().await;
    drop(workers);
    conclude(outcome, balance, arguments.budget)
}

fn cost_hints(kind: EngineKind) -> farm::CostHints {
    farm::CostHints {
        samples_per_second: farm::plan::SAMPLES_PER_SECOND_DEFAULT,
        rect_overhead_ms: match kind {
            EngineKind::Tracer => 0,
            // What a small rectangle of a production scene costs in a warm Blender: 0.06 to 0.34 s.
            EngineKind::Blender => 200,
        },
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::FramesFailed { .. } => "frames_failed",
        Outcome::BudgetSpent { .. } => "budget_spent",
        Outcome::Unverified { .. } => "unverified",
        Outcome::NoProviders => "no_providers",
        Outcome::Stopped => "stopped",
    }
}

fn conclude(outcome: Outcome, balance: Glm, budget: Option<Glm>) -> Result<(), Failure> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::FramesFailed { frames } => {
            let list: Vec<i32> = frames.iter().map(|(frame, _)| *frame).collect();
            let first = frames
                .first()
                .map(|(_, reason)| reason.as_str())
                .unwrap_or_default();
            let message = format!("frames {} failed: {first}", summarize(&list));
            Err(Failure::new(Code::FramesFailed, message)
                .hint("render just these again with --frames"))
        }
        Outcome::BudgetSpent { missing } => {
            let what = match budget {
                Some(budget) if budget <= balance => format!("the budget of {budget} GLM"),
                _ => format!("the account's {balance} GLM"),
            };
            let message = format!(
                "{what} does not cover the rest, about {missing} GLM; what is done is kept and paid"
            );
            Err(Failure::new(Code::Budget, message)
                .hint("raise --budget and render the remaining frames"))
        }
        Outcome::Unverified { reason } => Err(Failure::new(Code::Unverified, reason)),
        Outcome::NoProviders => Err(Failure::new(
            Code::NoProviders,
            "no provider works on this job",
        )
        .hint("start one with `render-worker`, or use --local N")),
        Outcome::Stopped => Err(Failure::new(
            Code::Interrupted,
            "stopped; what is written is kept",
        )),
    }
}
