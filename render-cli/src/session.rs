//! One run of `render`: from the command line over preflight, workers and the job to the closing table.

use crate::{
    accounts::{Money, PaymentNetwork, Purse},
    arguments::{Arguments, EngineChoice},
    books::Books,
    bundle,
    conclusion::{conclude, outcome_name},
    cover::Extent,
    failure::{Code, Failure},
    job,
    jobs::{self, JobFolder, Lock, Record},
    local_workers::{self, LocalWorker},
    output::Pattern,
    own_engine::{self, OwnEngine},
    planning::{Division, assumed_hints, cost_hints, new_farm},
    preflight::{Wanted, before_engines, preflight, refuse_ranges},
    providers::{Admission, Providers, identity},
    report::{Report, SceneSent, Voice},
    resume,
    video::Encoder,
};
use engine::CancelFlag;
use farm::{CostHints, FarmConfig, Progress, event::Event};
use network::{BlobStore, Identity, Node, NodeConfig};
use protocol::{
    Blake3Hash, BlenderVersion, EngineKind, Glm, JobId, JobSpec, NodeId, message::Terms,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Local workers when the user names neither workers nor their number.
const LOCAL_WORKERS_DEFAULT: u32 = 2;
/// Most local workers.
const LOCAL_WORKERS_MAX: u32 = 64;
/// How often a named peer that is away is dialled again.
const REDIAL: Duration = Duration::from_secs(5);

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

/// Where frames go: as asked for, or as the scene has it.
fn pattern(asked: Option<Pattern>, own: &OwnEngine) -> Result<Pattern, Failure> {
    let of_scene = || own.description.output.as_ref().map(Pattern::of_scene);
    let pattern = asked.or_else(of_scene).ok_or_else(|| {
        Failure::new(Code::Usage, "the scene names no output").hint("name the files with -o")
    })?;
    pattern.check_writable()?;
    Ok(pattern)
}

/// The folder of keys, ledger and jobs, made if it is not there.
pub fn data_dir(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let home = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let chosen = chosen
        .map(Path::to_owned)
        .or_else(|| home("XDG_DATA_HOME").map(|dir| dir.join("render")))
        .or_else(|| home("HOME").map(|dir| dir.join(".local/share/render")));
    let chosen = chosen.ok_or_else(|| {
        Failure::new(Code::Usage, "there is no home folder").hint("name a place with --data-dir")
    })?;
    std::fs::create_dir_all(&chosen)
        .map_err(|e| Failure::preflight(format!("cannot make {}: {e}", chosen.display())))?;
    Ok(chosen)
}

pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::preflight(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

pub async fn blocking<T: Send + 'static>(
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
    (data_dir, payment_network): (&Path, &PaymentNetwork),
) -> Result<(OwnEngine, Vec<LocalWorker>), Failure> {
    let own = own_engine::locate(
        kind,
        arguments.blender.as_deref(),
        (arguments.common_kernel, arguments.device),
    )?;
    own.check_file(&arguments.scene)?;
    let blender = own.found().cloned();
    let mut starting: JoinSet<_> = (0..local)
        .map(|index| {
            local_workers::start(
                index,
                local,
                kind,
                requestor,
                (blender.clone(), arguments.common_kernel, arguments.device),
                (payment_network.of_local_workers(), data_dir.to_owned()),
            )
        })
        .collect();
    let (scene, name) = (arguments.scene.clone(), arguments.scene_name.clone());
    let own = blocking(move || OwnEngine::load(own, &scene, name.as_deref())).await?;
    let mut workers = Vec::new();
    while let Some(started) = starting.join_next().await {
        workers.push(started.map_err(|e| Failure::preflight(e.to_string()))??);
    }
    Ok((own, workers))
}

/// What is asked for besides the arguments.
#[derive(Default)]
pub struct Asked {
    /// The command line that the arguments come from.
    pub words: Vec<String>,
    /// The job that goes on; by itself one goes on that equals what the arguments ask for.
    pub resume: Option<(JobFolder, Record)>,
    /// Finished frames to be rendered again.
    pub again: Vec<i32>,
}

/// A job that begins or goes on.
struct Begun {
    books: Books,
    /// Finished and failed frames that are rendered again.
    again: Vec<i32>,
    _lock: Lock,
}

fn voice(arguments: &Arguments) -> Voice {
    match (arguments.json, arguments.quiet) {
        (true, _) => Voice::Json,
        (_, true) => Voice::Quiet,
        _ => Voice::Bars,
    }
}

pub fn local_workers_wanted(arguments: &Arguments) -> u32 {
    match (arguments.local, arguments.is_local()) {
        (Some(count), _) => count.min(LOCAL_WORKERS_MAX),
        (None, true) => LOCAL_WORKERS_DEFAULT,
        (None, false) => 0,
    }
}

/// Whom the arguments let take part.
fn admission(arguments: &Arguments) -> Result<Admission, Failure> {
    let named = |text: &String| {
        identity::parse(text).map_err(|why| Failure::new(Code::Usage, format!("--allow: {why}")))
    };
    Ok(Admission {
        only_known: arguments.only_known,
        allowed: arguments
            .allow
            .iter()
            .map(named)
            .collect::<Result<_, _>>()?,
    })
}

/// Renders: from the command line to the closing table.
pub async fn render(arguments: Arguments, asked: Asked) -> Result<(), Failure> {
    let started = Instant::now();
    let mut report = Report::new(voice(&arguments), arguments.explain);
    let admission = admission(&arguments)?;
    let kind = engine_kind(&arguments)?;
    refuse_ranges(kind, &arguments)?;
    let asked_pattern = Pattern::asked(arguments.output.as_deref(), kind, arguments.raw)?;
    asked_pattern
        .as_ref()
        .map_or(Ok(()), Pattern::check_writable)?;
    let encodes = asked_pattern
        .as_ref()
        .is_some_and(|pattern| pattern.video.is_some());
    let encoder = encodes.then(Encoder::find).transpose()?;
    let known = before_engines(kind, &arguments, &report).await?;
    let data_dir = data_dir(arguments.data_dir.as_deref())?;
    let _only = only_user(&data_dir)?;
    let local = local_workers_wanted(&arguments);
    let (node, network_events, blobs) = start_node(&data_dir, &arguments).await?;
    let money = arguments.money.clone();
    let payment_network = blocking(move || PaymentNetwork::start(money)).await?;
    let (own, workers) = load_and_start(
        local,
        kind,
        node.id(),
        &arguments,
        (&data_dir, &payment_network),
    )
    .await?;
    let pattern = pattern(asked_pattern, &own)?;
    let planes = own.description.planes.clone();
    let frame_rate = own.description.frame_rate;
    let merging = own.description.merging.clone();
    let division = Division::asked(&arguments, &own)?;
    let wanted = preflight(
        &arguments,
        &own,
        (known, &pattern.format),
        (&blobs, &data_dir),
        &report,
    )
    .await?;
    let settings = wanted.settings.clone();
    let frames = wanted.frames.clone();
    let scene_bytes = wanted.bundle.bytes;
    let lists = match arguments.is_local() {
        true => bundle::Lists::none(),
        false => bundle::Lists::start(blobs.clone(), wanted.bundle.large.clone()),
    };
    let fingerprint = fingerprint(&pattern, division, &wanted)?;
    let resume = which_job(asked.resume, fingerprint, &arguments, &data_dir)?;
    let job_id = match &resume {
        Some((_, record)) => {
            same_ledger(record, payment_network.terms())?;
            record.id
        }
        None => JobId(random()?),
    };
    let payment_network = Arc::new(payment_network);
    let (purse, balance) = {
        let (data_dir, payment_network) = (data_dir.clone(), Arc::clone(&payment_network));
        blocking(move || {
            let purse = Purse::new(
                Money::open(&payment_network, &data_dir)?,
                job_id,
                payment_network.terms(),
            );
            let balance = purse.balance()?;
            Ok((purse, balance))
        })
        .await?
    };
    let (mut own, hints) = match &resume {
        None => cost_hints(own, kind, &settings, &arguments, &report).await?,
        Some(_) => (own, assumed_hints(kind)),
    };
    let folder = JobFolder::of(&data_dir, job_id);
    let mut begun = match resume {
        None => {
            let record = Record {
                id: job_id,
                words: asked.words,
                folder: std::env::current_dir().unwrap_or_default(),
                scene: arguments.scene.clone(),
                fingerprint,
                begun: jobs::now(),
                terms: payment_network.terms(),
            };
            let engine = (kind, own.blender()?);
            begin(
                &folder,
                record,
                (engine, hints, division),
                wanted,
                &arguments,
                &report,
            )?
        }
        Some(_) => go_on(&folder, &blobs, &pattern, asked.again, &report)?,
    };
    same_blender(begun.books.farm.config().job.blender, own.blender()?)?;
    let farm = &begun.books.farm;
    let first = Event::Resumed {
        budget: resume::budget(arguments.budget, balance, farm),
        deadline: arguments
            .deadline
            .map(|after| resume::deadline(after.saturating_sub(started.elapsed()), farm)),
        again: begun.again,
    };
    let cancel = CancelFlag::default();
    let providers = Arc::new(Providers::open(&data_dir, admission)?);
    let engine_build = own.build();
    let (own_engine, engine_end) = own.start(settings, cancel.clone());
    let context = job::JobContext {
        engine_build,
        data_dir: data_dir.clone(),
        node: node.clone(),
        blobs,
        lists,
        payer: purse.payer(),
        terms: purse.terms(),
        local_terms: payment_network.local_terms(),
        accounts: purse.start(Some(extent(
            &begun.books.farm.config().job,
            &frames,
            arguments.budget,
        ))),
        own_engine,
        planes,
        merging,
        pattern: pattern.clone(),
        providers: Arc::clone(&providers),
        own_workers: workers.iter().map(|worker| worker.node).collect(),
        spec: begun.books.farm.config().job.clone(),
        folder: folder.clone(),
    };
    let addresses = workers.iter().map(|worker| worker.address.clone());
    let dialling: Vec<_> = addresses
        .chain(arguments.peer.iter().cloned())
        .map(|address| tokio::spawn(keep_dialling(node.clone(), address)))
        .collect();
    let books = &mut begun.books;
    let ended = job::run(context, books, first, network_events, &mut report).await;
    dialling.iter().for_each(|task| task.abort());
    cancel.cancel();
    tokio::task::block_in_place(|| engine_end.wait());
    let progress = begun.books.farm.progress();
    remember(&providers, begun.books.farm.config(), &progress);
    let ended = ended.and_then(|outcome| {
        let output = pattern.to_string();
        let sent = SceneSent {
            bytes: node.bytes_served(),
            whole_bytes: scene_bytes,
            workers: node.peers_served(),
            is_local: arguments.is_local(),
        };
        report.close(outcome_name(&outcome), job_id, &progress, &output, &sent);
        conclude(outcome, job_id, balance, arguments.budget)
    });
    let ended = match (ended, &encoder) {
        (Ok(()), Some(encoder)) => film(encoder, &frames, &pattern, frame_rate, &report),
        (ended, _) => ended,
    };
    resume::close(&folder, &ended, &progress);
    node.shutdown().await;
    drop(workers);
    drop(payment_network);
    ended
}

fn extent(spec: &JobSpec, frames: &[i32], budget: Option<Glm>) -> Extent {
    let pixels = u128::from(spec.settings.size.area()) * frames.len() as u128;
    Extent {
        spec: spec.clone(),
        samples: pixels * u128::from(spec.settings.samples),
        budget,
    }
}

/// Makes the video of all frames, if one is asked for.
fn film(
    encoder: &Encoder,
    frames: &[i32],
    pattern: &Pattern,
    rate: f32,
    report: &Report,
) -> Result<(), Failure> {
    let Some(video) = &pattern.video else {
        return Ok(());
    };
    report.say(&format!(
        "video    {} of {} frames",
        video.display(),
        frames.len()
    ));
    tokio::task::block_in_place(|| encoder.encode(frames, pattern, rate, video))?;
    report.data(&serde_json::json!({ "event": "video", "file": video, "frames": frames.len() }));
    Ok(())
}

/// Keeps for later jobs what this one has shown of its providers.
fn remember(providers: &Providers, config: &FarmConfig, progress: &Progress) {
    let (job, engine) = (config.job.id, config.job.engine);
    if let Err(error) = providers.note(job, engine, &progress.workers, jobs::now()) {
        tracing::warn!(%error, "what was learned of the providers is not on disk");
    }
}

/// The job that goes on: the one that was asked for, or one that equals what the arguments ask for.
fn which_job(
    asked: Option<(JobFolder, Record)>,
    fingerprint: Blake3Hash,
    arguments: &Arguments,
    data_dir: &Path,
) -> Result<Option<(JobFolder, Record)>, Failure> {
    match asked {
        Some((_, record)) if record.fingerprint != fingerprint => {
            let message = format!(
                "job {} was begun with another content of {}",
                record.id.short(),
                arguments.scene.display()
            );
            Err(Failure::preflight(message)
                .hint("put the old scene back, or render anew with the command that began the job"))
        }
        Some(job) => Ok(Some(job)),
        None => jobs::unfinished(data_dir, fingerprint),
    }
}

/// Puts a new job on disk.
fn begin(
    folder: &JobFolder,
    record: Record,
    ((engine, blender), hints, division): (
        (EngineKind, Option<BlenderVersion>),
        CostHints,
        Division,
    ),
    wanted: Wanted,
    arguments: &Arguments,
    report: &Report,
) -> Result<Begun, Failure> {
    let spec = JobSpec {
        id: record.id,
        manifest: wanted.bundle.manifest,
        manifest_bytes: wanted.bundle.manifest_bytes,
        engine,
        blender,
        settings: wanted.settings,
    };
    let farm = new_farm(spec, wanted.frames, hints, division, arguments, report)?;
    let (books, lock) = resume::begin(folder, &record, farm)?;
    Ok(Begun {
        books,
        again: Vec::new(),
        _lock: lock,
    })
}

/// What a job owes on one ledger another knows nothing of: everything would be paid again.
fn same_ledger(record: &Record, terms: Terms) -> Result<(), Failure> {
    if record.terms == terms {
        return Ok(());
    }
    let message = format!(
        "job {} is paid {}, and this run would pay {terms}",
        record.id.short(),
        record.terms
    );
    Err(Failure::preflight(message)
        .hint("give the --network that began it, or give the job up: `render cancel JOB`"))
}

/// Frames that two releases of Blender have a part in would be of neither.
fn same_blender(
    begun_with: Option<BlenderVersion>,
    own: Option<BlenderVersion>,
) -> Result<(), Failure> {
    match (begun_with, own) {
        (Some(begun_with), Some(own)) if begun_with != own => Err(Failure::preflight(format!(
            "the job was begun with Blender {begun_with}, this computer has {own}"
        ))
        .hint("give that one with --blender, or give the job up: `render jobs` lists it")),
        _ => Ok(()),
    }
}

/// Takes a job up where its journal ends, with these finished frames to be rendered again.
fn go_on(
    folder: &JobFolder,
    blobs: &BlobStore,
    pattern: &Pattern,
    asked_again: Vec<i32>,
    report: &Report,
) -> Result<Begun, Failure> {
    let (books, lock) = resume::go_on(folder, blobs, report)?;
    let mut again = resume::frames_again(&books.farm, pattern);
    again.extend(asked_again);
    let (job, progress) = (books.farm.config().job.id, books.farm.progress());
    report.say(&format!(
        "resume   job {}: {} of {} frames are done, {} are rendered again",
        job.short(),
        progress.frames_done,
        progress.frames_total,
        again.len()
    ));
    report.data(&serde_json::json!({
        "event": "resumed", "job": job.to_string(), "frames_done": progress.frames_done,
        "frames_again": again.len(),
    }));
    Ok(Begun {
        books,
        again,
        _lock: lock,
    })
}

/// Keys, ledger and local workers serve one process at a time.
pub fn only_user(data_dir: &Path) -> Result<Lock, Failure> {
    let fail = |why: &str| Failure::preflight(format!("the folder {}: {why}", data_dir.display()));
    match jobs::lock(data_dir) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(fail("another `render` uses it")
            .hint("wait for it, stop it with `render pause JOB`, or give another --data-dir")),
        Err(error) => Err(fail(&error.to_string())),
    }
}

/// Hash of everything that decides the frames and where they go.
fn fingerprint(
    pattern: &Pattern,
    division: Division,
    wanted: &Wanted,
) -> Result<Blake3Hash, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::preflight(e.to_string());
    let output = std::path::absolute(pattern.to_string()).map_err(|e| fail(&e))?;
    let (manifest, settings, frames) = (wanted.bundle.manifest, &wanted.settings, &wanted.frames);
    let all = (manifest, settings, frames, output, division);
    let bytes = postcard::to_stdvec(&all).map_err(|e| fail(&e))?;
    Ok(Blake3Hash::of(&bytes))
}
