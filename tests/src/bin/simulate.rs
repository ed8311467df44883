//! `simulate`: jobs of the real coordinator among simulated workers in virtual time, over one seed or many.

use clap::Parser;
use farm::event::Outcome;
use indicatif::ProgressBar;
use protocol::Glm;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};
use tests::simulator::{
    Report, Simulation, Violation,
    scenario::{Failure, Scenario, Wanted},
    trace::Sink,
};

/// Of a hundred workers so many make trouble, unless something else is asked for.
const CHEATS_PERCENT: u64 = 15;

/// Simulates render jobs: the real coordinator, verifier and journal, thousands of workers, honest and not, a network and
/// disks that fail. The seed decides everything.
#[derive(Parser)]
struct Arguments {
    /// The seed, or the first of several
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Workers
    #[arg(long, default_value_t = 12)]
    workers: u64,
    /// Tiles, at least: whole frames are rendered
    #[arg(long, default_value_t = 60)]
    tiles: u64,
    /// How much goes wrong: 0 nothing, 3 very much
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3))]
    chaos: u64,
    /// Nothing goes wrong and nobody cheats
    #[arg(long, conflicts_with_all = ["chaos", "failures"])]
    calm: bool,
    /// What goes wrong; everything by default
    #[arg(long, value_delimiter = ',')]
    failures: Vec<Failure>,
    /// Of a hundred workers so many cheat or make trouble in other ways
    #[arg(long)]
    cheats: Option<u64>,
    /// Crashes of the requestor, at random moments
    #[arg(long, default_value_t = 0)]
    crashes: u32,
    /// Most GLM that may be spent; a tile costs about 0.0000000000000001
    #[arg(long)]
    budget: Option<Glm>,
    /// Seconds within which the job has to end
    #[arg(long)]
    deadline: Option<u64>,
    /// So many of the workers have a tenth of the ordinary speed
    #[arg(long, default_value_t = 0)]
    slow: u64,
    /// Print every event and effect
    #[arg(long, conflicts_with = "seeds")]
    trace: bool,
    /// Stop after the event with this number
    #[arg(long)]
    until: Option<u64>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn wanted(&self) -> Wanted {
        let failures: Vec<Failure> = match self.failures.is_empty() {
            true => Failure::ALL.to_vec(),
            false => self.failures.clone(),
        };
        let cheats = if self.calm { 0 } else { CHEATS_PERCENT };
        Wanted {
            workers: self.workers,
            tiles: self.tiles,
            chaos: if self.calm { 0 } else { self.chaos },
            cheats_percent: self.cheats.unwrap_or(cheats),
            failures,
            crashes: self.crashes,
            budget: self.budget,
            deadline: self.deadline.map(|seconds| seconds * 1_000),
            slow: self.slow,
        }
    }

    fn simulate(&self, seed: u64) -> Result<Report, Violation> {
        let scenario = Scenario::draw(seed, &self.wanted());
        let must_be_done = scenario.must_be_done();
        let until = self.until.unwrap_or(u64::MAX);
        let sink = self
            .trace
            .then(|| Box::new(|line: &str| println!("{line}")) as Sink);
        let mut simulation = Simulation::traced(scenario, sink, until)?;
        let run = catch_unwind(AssertUnwindSafe(|| simulation.run()));
        let report = run.unwrap_or_else(|_| {
            let at = simulation.report();
            Err(Violation {
                seed,
                at: at.makespan_ms,
                event: at.events,
                what: "it panics".into(),
            })
        })?;
        match &report.outcome {
            Some(outcome) if must_be_done && *outcome != Outcome::Done => Err(Violation {
                seed,
                at: report.makespan_ms,
                event: report.events,
                what: format!("an honest worker is there and the job ends with {outcome:?}"),
            }),
            _ => Ok(report),
        }
    }

    /// The command that gets to the same event again and shows what led to it.
    fn replay(&self, violation: &Violation) -> String {
        let mut command = String::from("cargo run --release -p tests --bin simulate --");
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            match word.as_str() {
                "--seed" | "--seeds" | "--until" => drop(given.next()),
                "--trace" | "--json" => {}
                other
                    if ["--seed=", "--seeds=", "--until="]
                        .iter()
                        .any(|p| other.starts_with(p)) => {}
                other => command += &format!(" {other}"),
            }
        }
        let Violation { seed, event, .. } = violation;
        command + &format!(" --seed {seed} --trace --until {event}")
    }
}

/// Runs all seeds, on all cores.
fn run_all(arguments: &Arguments) -> (Vec<Report>, Option<Violation>) {
    let bar = match arguments.seeds {
        0 | 1 => ProgressBar::hidden(),
        seeds => ProgressBar::new(seeds),
    };
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new((Vec::new(), None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(arguments.seeds as usize) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.seeds {
                        break;
                    }
                    let result = arguments.simulate(arguments.seed + number);
                    let mut results = results.lock().unwrap_or_else(|e| e.into_inner());
                    match result {
                        Ok(report) => results.0.push(report),
                        Err(violation) => {
                            failed.store(true, Ordering::Relaxed);
                            results.1.get_or_insert(violation);
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    results.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// Most memory that this process has held so far; only Linux says.
fn memory_peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Name and value of each line of the summary.
fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let (checks, copies) = (report.progress.checks, report.progress.copies);
    let tiles = report.progress.tiles_accepted;
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1_000.0);
    let outcome = report.outcome.as_ref();
    let outcome = outcome.map_or("not yet".into(), |outcome| format!("{outcome:?}"));
    let each = report.coordinator.as_secs_f64() * 1e6 / tiles.max(1) as f64;
    let world = report.wall.saturating_sub(report.coordinator);
    vec![
        ("seed", report.seed.to_string()),
        ("outcome", outcome),
        ("workers", report.workers.to_string()),
        ("tiles", tiles.to_string()),
        ("virtual makespan", seconds(report.makespan_ms)),
        ("ideal makespan", seconds(report.ideal_ms)),
        (
            "ratio",
            format!(
                "{:.3}",
                report.makespan_ms as f64 / report.ideal_ms.max(1) as f64
            ),
        ),
        ("events", report.events.to_string()),
        ("journal writes", report.writes.to_string()),
        ("requestor crashes", report.crashes.to_string()),
        ("started again", report.resumes.to_string()),
        ("caught", report.caught.to_string()),
        (
            "checks",
            format!(
                "{} probes, {} by our own engine, {} overlaps, {} disputes",
                checks.probes, checks.own_probes, checks.overlaps, checks.arbitrations
            ),
        ),
        (
            "late tiles",
            format!("{} given to a second, {} won", copies.leased, copies.won),
        ),
        ("most blobs kept", report.blobs_max.to_string()),
        ("paid", format!("{} GLM", report.paid)),
        ("coordinator", format!("{each:.2} us a tile")),
        ("time in coordinator", format!("{:.1?}", report.coordinator)),
        ("time in the world", format!("{world:.1?}")),
        ("hash", report.hash.to_string()),
    ]
}

fn print(reports: &[Report], began: Instant, is_json: bool) {
    let mut lines = match reports {
        [report] => rows(report),
        _ => vec![
            ("seeds", reports.len().to_string()),
            (
                "events",
                reports.iter().map(|r| r.events).sum::<u64>().to_string(),
            ),
            (
                "requestor crashes",
                reports.iter().map(|r| r.crashes).sum::<u32>().to_string(),
            ),
            (
                "started again",
                reports.iter().map(|r| r.resumes).sum::<u32>().to_string(),
            ),
            (
                "caught",
                reports.iter().map(|r| r.caught).sum::<u64>().to_string(),
            ),
        ],
    };
    if let Some(peak) = memory_peak_kb() {
        lines.push(("peak memory", format!("{} MB", peak / 1_024)));
    }
    lines.push(("wall time", format!("{:.1?}", began.elapsed())));
    if is_json {
        let pairs = lines
            .into_iter()
            .map(|(name, value)| (name.replace(' ', "_"), value.into()));
        println!("{}", serde_json::Value::Object(pairs.collect()));
        return;
    }
    for (name, value) in lines {
        println!("{name:<20} {value}");
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let (reports, violation) = run_all(&arguments);
    if let Some(violation) = violation {
        eprintln!("{violation}\nreplay: {}", arguments.replay(&violation));
        return ExitCode::FAILURE;
    }
    print(&reports, began, arguments.json);
    ExitCode::SUCCESS
}
