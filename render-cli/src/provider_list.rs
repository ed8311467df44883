//! `render providers`: who worked for the user, how far each is trusted and why, the user's own word on it, and faults told
//! to and by other requestors.

mod import;
mod reasons;
mod table;

use crate::{
    commands::{Common, data_dir},
    failure::{Code, Failure},
    jobs,
    providers::{Admission, Providers, claims, identity, row::Word},
};
use clap::{Args, Subcommand};
use protocol::NodeId;
use serde_json::json;
use std::io::{ErrorKind, Write};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "NODE is a worker's identity: 64 hexadecimal digits, the first digits of a known one, or its address.\n\n\
                  Levels, for each engine and device: unknown (a new key: many cells of every tile are checked), probation (20 checked tiles \
                  and a day: half as many), trusted (200 and a week), own (as you said: a few). A fraud costs a week without work and all that was \
                  earned; single wrong cells that save no work are flaky: they cost what was earned, the third in 30 days a day without work. Who is not seen \
                  for 60 days loses half of its checked tiles, and so on every 60 days."
)]
pub struct ProvidersArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// One provider, in detail
    node: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a worker as your own: next to nothing of its work is checked
    Own(One),
    /// Give a worker no jobs; one that is running drops it too
    Deny(One),
    /// Give a worker jobs also under `render --only-known`; it is checked as its level says
    Allow(One),
    /// Take back what you said of a worker
    Clear(One),
    /// Forget all of a worker: it is a stranger again
    Forget(One),
    /// Learn of the faults that another requestor exported, and of evidence: each is a claim, and makes its worker a stranger
    /// again, unless the evidence is proven here
    Import(import::Import),
    /// Print the faults that were seen here, one JSON object a line, for other requestors
    Export(Common),
}

#[derive(Debug, Args)]
struct One {
    /// Its identity, the first digits of it, or its address
    node: String,
    #[command(flatten)]
    common: Common,
}

/// Carries out the command.
pub fn run(arguments: &ProvidersArguments) -> Result<(), Failure> {
    match (&arguments.action, &arguments.node) {
        (None, None) => list(&arguments.common),
        (None, Some(node)) => show(node, &arguments.common),
        (Some(Action::Own(one)), _) => say(one, Some(Word::Own)),
        (Some(Action::Deny(one)), _) => say(one, Some(Word::Denied)),
        (Some(Action::Allow(one)), _) => say(one, Some(Word::Allowed)),
        (Some(Action::Clear(one)), _) => say(one, None),
        (Some(Action::Forget(one)), _) => forget(one),
        (Some(Action::Import(import)), _) => import::run(import),
        (Some(Action::Export(common)), _) => export(common),
    }
}

fn open(common: &Common) -> Result<Providers, Failure> {
    Providers::open(&data_dir(common)?, Admission::default())
}

/// A reader that has seen enough, as `head` does, is no failure.
fn print(lines: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.map_err(|e| Failure::preflight(format!("stdout: {e}")))?,
        }
    }
    Ok(())
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, message).hint("`render providers` lists all that are known")
}

fn named(text: &str, providers: &Providers) -> Result<NodeId, Failure> {
    let known = providers.all()?;
    identity::find(text, known.iter().map(|(node, _)| node)).map_err(usage)
}

fn list(common: &Common) -> Result<(), Failure> {
    let (all, now) = (open(common)?.all()?, jobs::now());
    if common.json {
        let lines = all.iter();
        return print(lines.map(|(node, provider)| table::json(*node, provider, now).to_string()));
    }
    if all.is_empty() {
        return print(["no provider has worked for you yet".to_owned()].into_iter());
    }
    let lines = all.iter();
    print(lines.flat_map(|(node, provider)| table::lines(*node, provider, now)))
}

fn show(text: &str, common: &Common) -> Result<(), Failure> {
    let providers = open(common)?;
    let node = named(text, &providers)?;
    let Some(provider) = providers.find(node)? else {
        return Err(usage(format!("nothing is known of provider {node}")));
    };
    let now = jobs::now();
    match common.json {
        true => print([table::json(node, &provider, now).to_string()].into_iter()),
        false => print(table::details(node, &provider, now).into_iter()),
    }
}

fn say(one: &One, word: Option<Word>) -> Result<(), Failure> {
    let providers = open(&one.common)?;
    let node = named(&one.node, &providers)?;
    providers.say(node, word, jobs::now())?;
    let line = match one.common.json {
        true => json!({ "provider": node.to_string(), "word": word }).to_string(),
        false => format!("{node} {}", reasons::of_word(word)),
    };
    print([line].into_iter())
}

fn forget(one: &One) -> Result<(), Failure> {
    let providers = open(&one.common)?;
    let node = named(&one.node, &providers)?;
    if !providers.forget(node)? {
        return Err(usage(format!("nothing is known of provider {node}")));
    }
    let line = match one.common.json {
        true => json!({ "provider": node.to_string(), "forgotten": true }).to_string(),
        false => format!("{node} is forgotten"),
    };
    print([line].into_iter())
}

fn export(common: &Common) -> Result<(), Failure> {
    let all = open(common)?.all()?;
    let lines = all
        .iter()
        .flat_map(|(node, provider)| claims::lines(*node, provider));
    print(lines.map(|line| line.to_string()))
}
