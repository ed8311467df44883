//! Commands besides rendering: check a scene; list jobs that were begun, look at one, stop it, go on with it, render
//! frames again, tidy up; the wallet.

use crate::{
    arguments::Arguments,
    check::{self, CheckArguments},
    evidence_list::{self, EvidenceArguments},
    failure::{Code, Failure},
    jobs::{self, JobFolder, Order, Record, State, Status},
    payments_command::{self, PaymentsArguments},
    provider_list::{self, ProvidersArguments},
    resume,
    session::{self, Asked},
};
use clap::{Args, CommandFactory, Parser, Subcommand};
use network::BlobStore;
use protocol::{FrameRange, Glm};
use render_worker::wallet::{self, WalletArguments};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Longest wait for a running job to stop.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Parser)]
#[command(name = "render", version)]
struct Words {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a scene renders and needs, and what of it would not come out right; nothing is rendered
    Check(CheckArguments),
    /// List all jobs
    Jobs(Common),
    /// Show how far a job is
    Status(OneJob),
    /// Go on with a job that was stopped or killed
    Resume(Resume),
    /// Stop a running job; what is done is kept
    Pause(OneJob),
    /// Give a job up; what is accepted is kept and paid
    Cancel(OneJob),
    /// Render frames of a job again
    Again(Again),
    /// Remove what is kept of jobs that are done or cancelled; frames stay
    Clean(Common),
    /// List the providers that worked for you, with their trust levels and why; or say something of one
    Providers(ProvidersArguments),
    /// List the evidence against workers that were caught, or show that of a job
    Evidence(EvidenceArguments),
    /// Show what stands in escrow for whom and what was sent for it; pay out, or take back
    #[command(after_help = "Exit codes: 0 done, 2 usage, 4 refused.")]
    Payments(PaymentsArguments),
    /// Make, import, show or export the wallet for real money; what it holds, and sending it
    #[command(after_help = "Exit codes: 0 done, 2 usage, 4 refused.")]
    Wallet(WalletArguments),
}

#[derive(Debug, Args)]
pub struct Common {
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where keys, ledger and jobs are kept
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct OneJob {
    /// The job's id, or its beginning
    job: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Resume {
    #[command(flatten)]
    of: OneJob,
    /// Most GLM to spend on the whole job
    #[arg(long)]
    budget: Option<Glm>,
    /// When to stop, counted from the start of this run, such as 90m or 8h30m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct Again {
    #[command(flatten)]
    resume: Resume,
    /// The frames
    #[arg(long, allow_hyphen_values = true)]
    frames: FrameRange,
}

/// Is this word one of the commands?
pub fn is_command(word: &str) -> bool {
    Words::command().find_subcommand(word).is_some()
}

/// Carries out the command line's command; a job that it begins comes back with its arguments.
pub fn run() -> Result<Option<(Arguments, Asked)>, Failure> {
    match Words::parse().command {
        Command::Check(arguments) => check::run(&arguments).map(|()| None),
        Command::Jobs(common) => list(&common).map(|()| None),
        Command::Status(of) => show(&of).map(|()| None),
        Command::Pause(of) => stop(&of, Order::Pause).map(|()| None),
        Command::Cancel(of) => stop(&of, Order::Cancel).map(|()| None),
        Command::Clean(common) => clean(&common).map(|()| None),
        Command::Providers(arguments) => provider_list::run(&arguments).map(|()| None),
        Command::Evidence(arguments) => evidence_list::run(&arguments).map(|()| None),
        Command::Payments(arguments) => payments_command::run(&arguments).map(|()| None),
        Command::Wallet(arguments) => {
            let data_dir = session::data_dir(arguments.data_dir.as_deref())?;
            let done = wallet::run(&arguments, &data_dir);
            done.map_err(|failure| Failure::preflight(failure.to_string()).hint(failure.hint()))?;
            Ok(None)
        }
        Command::Resume(resume) => go_on(&resume, Vec::new()).map(Some),
        Command::Again(again) => {
            let frames = again.frames.expand().frames;
            go_on(&again.resume, frames).map(Some)
        }
    }
}

pub fn data_dir(common: &Common) -> Result<PathBuf, Failure> {
    session::data_dir(common.data_dir.as_deref())
}

/// A status as it is: a job that says it runs and is not locked was killed.
fn true_status(folder: &JobFolder) -> Option<Status> {
    let mut status = folder.status()?;
    if status.state == State::Running && folder.lock().is_ok_and(|lock| lock.is_some()) {
        status.state = State::Paused;
        status.reason = "its process ended unexpectedly".into();
    }
    Some(status)
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Paused => "paused",
        State::Done => "done",
        State::Cancelled => "cancelled",
    }
}

fn as_json(record: &Record, status: Option<&Status>) -> serde_json::Value {
    json!({
        "job": record.id.to_string(), "scene": record.scene, "begun": record.begun, "words": record.words,
        "folder": record.folder, "status": status,
    })
}

fn list(common: &Common) -> Result<(), Failure> {
    let jobs = jobs::all(&data_dir(common)?)?;
    if !common.json {
        println!(
            "{:<10} {:<10} {:>13} {:>14} {:>10}  scene",
            "job", "state", "frames", "GLM", "begun"
        );
    }
    for (folder, record) in jobs {
        let status = true_status(&folder);
        if common.json {
            println!("{}", as_json(&record, status.as_ref()));
            continue;
        }
        let (state, frames, glm) = match &status {
            Some(status) => (
                state_name(status.state),
                format!("{} of {}", status.frames_done, status.frames_total),
                status.glm.as_str(),
            ),
            None => ("begun", String::new(), "0"),
        };
        println!(
            "{:<10} {state:<10} {frames:>13} {glm:>14} {:>10}  {}",
            record.id.short().to_string(),
            age(record.begun),
            record.scene.display()
        );
    }
    Ok(())
}

/// How long ago, in the largest unit that fits.
pub fn age(since: u64) -> String {
    let seconds = jobs::now().saturating_sub(since);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn show(of: &OneJob) -> Result<(), Failure> {
    let (folder, record) = jobs::find(&data_dir(&of.common)?, &of.job)?;
    let status = true_status(&folder);
    if of.common.json {
        println!("{}", as_json(&record, status.as_ref()));
        return Ok(());
    }
    println!("job      {}", record.id);
    println!("command  render {}", record.words.join(" "));
    println!("in       {}", record.folder.display());
    println!("begun    {}", age(record.begun));
    let Some(status) = status else {
        println!("state    begun");
        return Ok(());
    };
    let reason = match status.reason.is_empty() || status.reason == state_name(status.state) {
        true => String::new(),
        false => format!(": {}", status.reason),
    };
    println!("state    {}{reason}", state_name(status.state));
    println!(
        "frames   {} of {} ({} failed)",
        status.frames_done, status.frames_total, status.frames_failed
    );
    println!(
        "tiles    {} of {}",
        status.tiles_accepted, status.tiles_total
    );
    println!("paid     {} GLM", status.glm);
    Ok(())
}

/// Asks the job's process to stop and waits for it.
fn stop(of: &OneJob, order: Order) -> Result<(), Failure> {
    let (folder, record) = jobs::find(&data_dir(&of.common)?, &of.job)?;
    let fail = |e: std::io::Error| Failure::preflight(format!("job {}: {e}", record.id.short()));
    let status = true_status(&folder);
    let state = status.as_ref().map(|status| status.state);
    match (state, order) {
        (Some(State::Running), _) => {
            folder.order(order).map_err(fail)?;
            let asked = Instant::now();
            while folder.lock().map_err(fail)?.is_none() {
                if asked.elapsed() > STOP_MAX {
                    let message = format!("job {} does not stop", record.id.short());
                    return Err(Failure::new(Code::FramesFailed, message)
                        .hint("stop its process; what is done is kept"));
                }
                std::thread::sleep(POLL);
            }
        }
        (Some(State::Paused), Order::Cancel) => {
            if let Some(mut status) = status {
                (status.state, status.reason) = (State::Cancelled, "cancelled".into());
                folder.set_status(&status).map_err(fail)?;
            }
        }
        (state, _) => {
            let state = state.map_or("begun", state_name);
            let message = format!(
                "job {} is {state}: there is nothing to stop",
                record.id.short()
            );
            return Err(Failure::new(Code::Usage, message));
        }
    }
    show(of)
}

fn clean(common: &Common) -> Result<(), Failure> {
    let data_dir = data_dir(common)?;
    let blobs = BlobStore::open(data_dir.join("blobs"));
    let blobs = blobs.map_err(|e| Failure::preflight(e.to_string()))?;
    for (folder, record) in jobs::all(&data_dir)? {
        let status = true_status(&folder);
        let is_over = |status: &Status| matches!(status.state, State::Done | State::Cancelled);
        if !status.as_ref().is_some_and(is_over) {
            continue;
        }
        for root in resume::tiles(&folder) {
            // A tile may be gone already.
            let _ = blobs.remove(root);
        }
        let removed = folder.remove();
        removed.map_err(|e| Failure::preflight(format!("job {}: {e}", record.id.short())))?;
        match common.json {
            true => println!("{}", json!({ "removed": record.id.to_string() })),
            false => println!("removed  {} {}", record.id.short(), record.scene.display()),
        }
    }
    Ok(())
}

/// The arguments that began the job, where they were given.
fn go_on(resume: &Resume, again: Vec<i32>) -> Result<(Arguments, Asked), Failure> {
    let data_dir = data_dir(&resume.of.common)?;
    let (folder, record) = jobs::find(&data_dir, &resume.of.job)?;
    let damaged = |why: String| {
        Failure::preflight(format!("the job in {}: {why}", data_dir.display()))
            .hint("begin it anew with the same command")
    };
    let data_dir = std::path::absolute(&data_dir).map_err(|e| damaged(e.to_string()))?;
    let words = std::iter::once("render".to_owned()).chain(record.words.iter().cloned());
    let mut arguments = Arguments::try_parse_from(words).map_err(|e| damaged(e.to_string()))?;
    enter(&record.folder)?;
    arguments.json = resume.of.common.json;
    arguments.quiet = resume.quiet;
    arguments.budget = resume.budget.or(arguments.budget);
    arguments.deadline = resume.deadline.or(arguments.deadline);
    arguments.data_dir = Some(data_dir);
    let asked = Asked {
        words: record.words.clone(),
        resume: Some((folder, record)),
        again,
    };
    Ok((arguments, asked))
}

fn enter(folder: &Path) -> Result<(), Failure> {
    std::env::set_current_dir(folder).map_err(|e| {
        Failure::preflight(format!(
            "the job was begun in {}, which cannot be entered: {e}",
            folder.display()
        ))
    })
}
