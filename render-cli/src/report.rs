//! What a person sees of a job: bars while it runs, a table when it ends; or JSON lines for programs.

use farm::{
    Checks, Copies, Progress, WorkerState,
    event::{Effect, Event, FaultKind},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use protocol::{JobId, NodeId, frames::summarize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    time::{Duration, Instant},
};

/// How often bars move.
const UPDATE: Duration = Duration::from_millis(200);

/// How the user wants to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Bars and a table on stderr.
    Bars,
    /// One JSON object a line on stdout.
    Json,
    /// Errors only.
    Quiet,
}

/// How much of the scene went over the network in this run.
#[derive(Debug, Clone, Copy)]
pub struct SceneSent {
    /// With proofs and lists.
    pub bytes: u64,
    /// The scene with all its files, once.
    pub whole_bytes: u64,
    /// Workers that lacked anything of it.
    pub workers: usize,
    /// Were there none but those of this computer, who share it?
    pub is_local: bool,
}

impl fmt::Display for SceneSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (sent, whole) = (megabytes(self.bytes), megabytes(self.whole_bytes));
        match self.workers {
            0 => write!(f, "nothing of {whole:.1} MB sent: the workers have it"),
            1 => write!(f, "{sent:.1} of {whole:.1} MB sent"),
            workers => write!(
                f,
                "{sent:.1} MB sent to {workers} workers, of {whole:.1} MB each"
            ),
        }
    }
}

/// The running report.
pub struct Report {
    voice: Voice,
    /// Does the user want to know why each lease is given?
    explains: bool,
    bars: MultiProgress,
    job: ProgressBar,
    workers: BTreeMap<NodeId, ProgressBar>,
    started: Instant,
    /// Tiles accepted before this run of the job.
    tiles_before: Option<u64>,
    updated: Option<Instant>,
}

fn state_name(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Preparing => "preparing",
        WorkerState::Working => "rendering",
        WorkerState::Idle => "idle",
        WorkerState::Resting => "resting after a failure",
        WorkerState::OtherClass => "other determinism class",
        WorkerState::TooExpensive => "too expensive",
        WorkerState::Away => "away, keeps its work",
        WorkerState::Left => "gone",
        WorkerState::Quarantined => "quarantined",
    }
}

impl Report {
    /// Starts to report.
    pub fn new(voice: Voice, explains: bool) -> Self {
        let bars = MultiProgress::new();
        if voice != Voice::Bars {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{bar:30} {msg}");
        let job = bars.add(
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        );
        Self {
            voice,
            explains,
            bars,
            job,
            workers: BTreeMap::new(),
            started: Instant::now(),
            tiles_before: None,
            updated: None,
        }
    }

    /// One line of talk.
    pub fn say(&self, line: &str) {
        if self.voice == Voice::Bars {
            // Without a terminal nothing is drawn, and lines would get lost.
            if self.bars.is_hidden() {
                eprintln!("{line}")
            } else {
                let _ = self.bars.println(line);
            }
        }
    }

    /// One line for programs.
    pub fn data(&self, value: &serde_json::Value) {
        if self.voice == Voice::Json {
            // A reader that went away is no reason to stop rendering.
            let _ = writeln!(std::io::stdout(), "{value}");
        }
    }

    /// Tells of events that a person or program wants to know at once.
    pub fn observe(&self, event: &Event) {
        match event {
            Event::FrameWritten {
                frame,
                outcome: Ok(()),
            } => {
                self.data(&json!({"event": "frame", "frame": frame}));
            }
            Event::FrameWritten {
                frame,
                outcome: Err(reason),
            } => {
                self.say(&format!("frame {frame} was not written: {reason}"));
                self.data(&json!({"event": "frame_failed", "frame": frame, "reason": reason}));
            }
            Event::OwnClass { class: None } => {
                self.say("classes are not mixed: the engine of this computer could not render its calibration");
                self.data(&json!({"event": "classes_not_mixed"}));
            }
            Event::Failed { worker, reason, .. } => {
                self.say(&format!("worker {}: {reason}", worker.short()));
                self.data(&json!({"event": "worker_failed", "worker": worker.to_string(), "reason": reason}));
            }
            _ => {}
        }
    }

    /// Tells of decisions.
    pub fn observe_effect(&self, effect: &Effect) {
        match effect {
            Effect::Quarantine {
                worker,
                fault,
                evidence,
            } => {
                let why = match fault {
                    FaultKind::Fraud => "is quarantined",
                    FaultKind::Flaky => {
                        "delivers single wrong cells too often and gets no more work"
                    }
                };
                self.say(&format!("worker {} {why}: {evidence}", worker.short()));
                self.data(&json!({
                    "event": "quarantined", "worker": worker.to_string(), "fault": fault, "evidence": evidence.to_string(),
                }));
            }
            Effect::Fault { worker, evidence } => {
                self.say(&format!(
                    "worker {} delivered a wrong cell, its tile is rendered again: {evidence}",
                    worker.short()
                ));
                self.data(&json!({
                    "event": "fault", "worker": worker.to_string(), "evidence": evidence.to_string(),
                }));
            }
            Effect::Lease {
                worker,
                tasks,
                reason,
                ..
            } if self.explains => {
                let mut frames: Vec<i32> = tasks.iter().map(|task| task.frame).collect();
                frames.dedup();
                let frames = summarize(&frames);
                self.say(&format!(
                    "lease    {} gets {} of frame {frames}; {reason}",
                    worker.short(),
                    tasks.len()
                ));
                self.data(&json!({
                    "event": "lease", "worker": worker.to_string(), "tasks": tasks.len(), "frames": frames,
                    "reason": reason.to_string(),
                }));
            }
            _ => {}
        }
    }

    /// Is it time to move the bars?
    pub fn wants_update(&self) -> bool {
        self.voice == Voice::Bars && self.updated.is_none_or(|at| at.elapsed() >= UPDATE)
    }

    /// Moves the bars.
    pub fn update(&mut self, progress: &Progress) {
        self.updated = Some(Instant::now());
        self.tiles_before.get_or_insert(progress.tiles_accepted);
        self.job.set_length(progress.tiles_total.max(1));
        self.job.set_position(progress.tiles_accepted);
        self.job.set_message(format!(
            "{}/{} frames, {}/{} tiles, {} left, {:.6} GLM",
            progress.frames_done,
            progress.frames_total,
            progress.tiles_accepted,
            progress.tiles_total,
            self.time_left(progress),
            progress.spent,
        ));
        for row in &progress.workers {
            let bars = &self.bars;
            let line = self.workers.entry(row.worker).or_insert_with(|| {
                let style = ProgressStyle::with_template("  {msg}");
                bars.add(
                    ProgressBar::new(1)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
                )
            });
            let frame = row
                .frame
                .map_or(String::new(), |frame| format!(" frame {frame}"));
            line.set_message(format!(
                "{} {}{frame}, {} tiles",
                row.worker.short(),
                state_name(row.state),
                row.tiles_accepted
            ));
        }
    }

    fn time_left(&self, progress: &Progress) -> String {
        let before = self.tiles_before.unwrap_or_default();
        let done = progress.tiles_accepted.saturating_sub(before);
        if done == 0 {
            return "?".into();
        }
        let left = progress.tiles_total.saturating_sub(progress.tiles_accepted);
        let seconds = self.started.elapsed().as_secs_f64() * left as f64 / done as f64;
        duration(Duration::from_secs_f64(seconds))
    }

    /// The closing table, or its JSON.
    pub fn close(
        &self,
        outcome: &str,
        job: JobId,
        progress: &Progress,
        where_to: &str,
        sent: &SceneSent,
    ) {
        self.job.finish_and_clear();
        self.workers
            .values()
            .for_each(ProgressBar::finish_and_clear);
        let checks = &progress.checks;
        let failed = checks.overlap_mismatches + checks.probe_mismatches;
        let made = checks.overlaps + checks.probes + checks.replicas + checks.own_probes;
        self.data(&json!({
            "event": "finished", "job": job.to_string(), "outcome": outcome, "seconds": self.started.elapsed().as_secs_f64(),
            "frames_done": progress.frames_done, "frames_total": progress.frames_total,
            "frames_failed": progress.frames_failed,
            "tiles_accepted": progress.tiles_accepted, "tiles_total": progress.tiles_total,
            "checks": made, "checks_failed": failed, "arbitrations": checks.arbitrations,
            "overlaps": checks.overlaps, "probes": checks.probes, "own_probes": checks.own_probes,
            "judged": checks.judged, "undecided": checks.undecided,
            "replicas": checks.replicas, "replicas_left_out": checks.replicas_left_out, "tiles_pink": checks.pink_tiles,
            "check_overhead": checks.overhead(), "check_glm": checks.spent.to_string(),
            "tiles_unprobed": checks.unprobed_tiles, "copies": progress.copies.leased, "copies_won": progress.copies.won,
            "glm": progress.spent.to_string(), "output": where_to,
            "bytes_sent": sent.bytes, "scene_bytes": sent.whole_bytes, "sent_to": sent.workers,
            "workers": progress.workers.iter().map(|row| json!({
                "worker": row.worker.to_string(), "state": state_name(row.state), "tiles": row.tiles_accepted,
                "checked": row.tiles_checked,
                "rejected": row.tasks_rejected, "flaky": row.flaky, "glm": row.earned.to_string(),
                "held": row.held.to_string(), "forfeited": row.forfeited.to_string(),
            })).collect::<Vec<_>>(),
        }));
        if self.voice != Voice::Bars {
            return;
        }
        eprintln!();
        eprintln!(
            "frames   {} of {} ({} failed)",
            progress.frames_done, progress.frames_total, progress.frames_failed
        );
        eprintln!(
            "tiles    {} of {}",
            progress.tiles_accepted, progress.tiles_total
        );
        if !sent.is_local {
            eprintln!("scene    {sent}");
        }
        say_checks(checks);
        if progress.copies.leased > 0 {
            let Copies { leased, won } = progress.copies;
            eprintln!(
                "late     {leased} tiles given to a second worker, {won} of them first there"
            );
        }
        eprintln!("time     {}", duration(self.started.elapsed()));
        eprintln!("paid     {} GLM", progress.spent);
        eprintln!("frames in {where_to}");
        eprintln!();
        eprintln!(
            "{:<10} {:>7} {:>9} {:>14}  state",
            "provider", "tiles", "rejected", "GLM"
        );
        for row in &progress.workers {
            eprintln!(
                "{:<10} {:>7} {:>9} {:>14.8}  {}",
                row.worker.short(),
                row.tiles_accepted,
                row.tasks_rejected,
                row.earned,
                state_name(row.state)
            );
        }
    }
}

/// What was checked, what came of it and what it cost.
fn say_checks(checks: &Checks) {
    let share = |pixels: u64| 100.0 * pixels as f64 / checks.tile_pixels.max(1) as f64;
    let row = |what: &str, number: u64, pixels: u64| {
        eprintln!("  {what:<34} {number:>9} {:>9.2} %", share(pixels));
    };
    eprintln!("checks {:>38} {:>11}", "number", "rendering");
    row(
        "overlaps of neighbouring tiles",
        checks.overlaps,
        checks.overlap_pixels,
    );
    row(
        "probes by other workers",
        checks.probes,
        checks.probe_pixels,
    );
    row(
        "whole tiles rendered twice",
        checks.replicas,
        checks.replica_pixels,
    );
    row(
        "probes by this computer",
        checks.own_probes,
        checks.own_pixels,
    );
    let failed = checks.overlap_mismatches + checks.probe_mismatches;
    let decided = checks.arbitrations;
    eprintln!(
        "  all together {:>41.2} %, {} GLM; {failed} failed, {decided} disputes decided",
        100.0 * checks.overhead(),
        checks.spent
    );
    if checks.judged > 0 {
        eprintln!(
            "  {} tiles of other classes judged by their noise, {} of them rendered again undecided",
            checks.judged, checks.undecided
        );
    }
    if checks.unprobed_tiles > 0 {
        eprintln!(
            "  {} tiles of your own workers were not probed: nobody else was there",
            checks.unprobed_tiles
        );
    }
    if checks.pink_tiles > 0 {
        eprintln!(
            "warning: {} tiles have the pink of missing textures: is a file of the scene missing?",
            checks.pink_tiles
        );
    }
}

/// A time as people say it.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
