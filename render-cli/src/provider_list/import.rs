//! `render providers import`: faults that other requestors tell of, and evidence of them, which is checked as far as this
//! computer can.
//!
//! Evidence counts as proven when its parts are those of who signed them and a render of the cell here shows that the
//! accused is wrong. It proves one wrong cell, so it is held against a provider as one. A worker does not sign its
//! determinism class: where an engine has several (Blender), evidence stays a claim whatever the render shows.

use super::{open, print};
use crate::{
    commands::Common,
    failure::{Code, Failure},
    jobs,
    providers::{
        Providers,
        claims::{self, Claim},
    },
};
use clap::Args;
use protocol::{EngineKind, NodeId, message::printable};
use render_worker::check_evidence::{Checked, Checking, check};
use serde_json::json;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};
use verifier::{Bundle, FaultKind, Ruling};

/// So much of a file tells what it is.
const HEAD_BYTES: u64 = 64;

#[derive(Debug, Args)]
pub struct Import {
    /// Files of `render providers export`, or of evidence as `render evidence` lists them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The scene that the evidence is about, with its files beside it; without it evidence is a claim
    #[arg(long, value_name = "PATH")]
    scene: Option<PathBuf>,
    /// Blender's program, or a Python that has bpy
    #[arg(long, value_name = "PATH")]
    blender: Option<PathBuf>,
    /// Let Blender render with the kernel that every processor has, as the job's workers did
    #[arg(long)]
    common_kernel: bool,
    #[command(flatten)]
    common: Common,
}

/// Carries out the command: all files are read and checked before anything is learned.
pub fn run(import: &Import) -> Result<(), Failure> {
    let (providers, now) = (open(&import.common)?, jobs::now());
    let mut told = Vec::new();
    for path in &import.files {
        let fail = |error: &dyn std::fmt::Display| {
            Failure::new(Code::Usage, format!("{}: {error}", path.display())).hint(
                "nothing was imported; `render providers export` and `render evidence` name such files",
            )
        };
        let whole = std::path::absolute(path).map_err(|e| fail(&e))?;
        match is_evidence(path).map_err(|e| fail(&e))? {
            true => {
                let checked = check(&import.checking(), path).map_err(|e| fail(&e))?;
                let (bundle, is_proven) = judge(&checked).map_err(|e| fail(&e))?;
                for accused in &bundle.wrong {
                    let claim = claim(bundle, *accused, &whole, &providers, now)?;
                    told.push((claim, is_proven));
                }
            }
            false => {
                let file = File::open(path).map_err(|e| fail(&e))?;
                let folder = whole.parent().unwrap_or(Path::new("/"));
                let claims = claims::read(BufReader::new(file), folder).map_err(|e| fail(&e))?;
                told.extend(claims.into_iter().map(|claim| (claim, false)));
            }
        }
    }
    let proven = told.iter().filter(|(_, is_proven)| *is_proven).count();
    let learned = providers.learn(told, now)?;
    let line = match import.common.json {
        true => json!({ "new": learned.new, "known": learned.old, "proven": proven }).to_string(),
        false => format!(
            "{} faults are new, {} were known or weigh too little to be kept; {proven} are proven here",
            learned.new, learned.old
        ),
    };
    print([line].into_iter())
}

impl Import {
    fn checking(&self) -> Checking {
        Checking {
            // This program is a worker too, with this first argument.
            program: vec!["worker".into()],
            scene: self.scene.clone(),
            blender: self.blender.clone(),
            common_kernel: self.common_kernel,
            threads: 0,
        }
    }
}

/// Evidence is one object over many lines, or begins with its version; told faults are an object a line.
fn is_evidence(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    BufReader::new(File::open(path)?)
        .take(HEAD_BYTES)
        .read_until(b'\n', &mut head)?;
    let head = head.trim_ascii();
    Ok(head == b"{" || head.starts_with(b"{\"version\""))
}

/// The evidence, and whether it is proven here; or why it accuses nobody.
fn judge(checked: &Checked) -> Result<(&Bundle, bool), String> {
    let (bundle, ruling) = checked.ruling().map_err(printable)?;
    match ruling {
        Some(Ruling::Wrong) => Ok((bundle, bundle.job.engine == EngineKind::Tracer)),
        Some(Ruling::OtherClass | Ruling::NotReproduced) | None => Ok((bundle, false)),
        Some(Ruling::FalselyAccused(_) | Ruling::NotGenuine(_) | Ruling::NoContradiction) => {
            Err(checked.why())
        }
    }
}

/// What evidence says of one of the accused. Evidence has no date: what is known of the cell keeps its own.
fn claim(
    bundle: &Bundle,
    accused: NodeId,
    file: &Path,
    providers: &Providers,
    now: u64,
) -> Result<Claim, Failure> {
    let place = format!("frame {}, cell {}: ", bundle.frame, bundle.cell);
    let job = bundle.job.id.to_string();
    let known = providers.find(accused)?;
    let mut faults = known.iter().flat_map(|provider| &provider.faults);
    let same = faults.find(|fault| fault.job == job && fault.evidence.starts_with(&place));
    Ok(Claim {
        node: accused,
        kind: FaultKind::Flaky,
        at: same.map_or(now, |fault| fault.at),
        job: bundle.job.id,
        evidence: place + &printable(&bundle.text),
        bundle: Some(file.to_owned()),
    })
}
