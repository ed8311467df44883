//! `render providers`: who worked for the user, how far each is trusted and why, and the user's own word on it.

use crate::{
    commands::{Common, age, data_dir},
    failure::{Code, Failure},
    jobs,
    providers::{Provider, Providers, Word},
    session::only_user,
};
use clap::{Args, Subcommand};
use protocol::NodeId;
use serde_json::json;
use verifier::{
    Trust,
    trust::{PROBATION, QUARANTINE_S, TRUSTED},
};

#[derive(Debug, Args)]
pub struct ProvidersArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a worker as your own: next to nothing of its work is checked
    Own(One),
    /// Give a worker no jobs
    Deny(One),
    /// Take back what you said of a worker
    Clear(One),
    /// Forget all of a worker: it is a stranger again
    Forget(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its identity, the last part of its address
    node: NodeId,
    #[command(flatten)]
    common: Common,
}

/// Carries out the command.
pub fn run(arguments: &ProvidersArguments) -> Result<(), Failure> {
    match &arguments.action {
        None => list(&arguments.common),
        Some(Action::Own(one)) => say(one, Some(Word::Own)),
        Some(Action::Deny(one)) => say(one, Some(Word::Denied)),
        Some(Action::Clear(one)) => say(one, None),
        Some(Action::Forget(one)) => forget(one),
    }
}

fn open(common: &Common) -> Result<Providers, Failure> {
    Providers::open(&data_dir(common)?)
}

fn save(providers: &Providers) -> Result<(), Failure> {
    let saved = providers.save();
    saved.map_err(|e| Failure::preflight(format!("the list of providers: {e}")))
}

fn say(one: &One, word: Option<Word>) -> Result<(), Failure> {
    // A running job writes the file too.
    let _only = only_user(&data_dir(&one.common)?)?;
    let mut providers = open(&one.common)?;
    providers.say(one.node, word, jobs::now());
    save(&providers)
}

fn forget(one: &One) -> Result<(), Failure> {
    let _only = only_user(&data_dir(&one.common)?)?;
    let mut providers = open(&one.common)?;
    if !providers.forget(one.node) {
        let message = format!("no provider {} is known", one.node);
        return Err(Failure::new(Code::Usage, message).hint("`render providers` lists them"));
    }
    save(&providers)
}

fn list(common: &Common) -> Result<(), Failure> {
    let (providers, now) = (open(common)?, jobs::now());
    if !common.json {
        println!(
            "{:<64} {:<12} {:>8} {:>10}  why",
            "provider", "level", "checked", "known"
        );
    }
    for (node, provider) in providers.iter() {
        let (level, why) = (level_name(provider, now), why(provider, now));
        match common.json {
            true => println!(
                "{}",
                json!({
                    "provider": node, "level": level, "checked_tiles": provider.checked_tiles(),
                    "first_seen": provider.first_seen, "word": provider.word, "fault": provider.fault, "why": why,
                })
            ),
            false => println!(
                "{node:<64} {level:<12} {:>8} {:>10}  {why}",
                provider.checked_tiles(),
                age(provider.first_seen)
            ),
        }
    }
    Ok(())
}

fn level_name(provider: &Provider, now: u64) -> &'static str {
    match provider.level(now) {
        Some(Trust::Unknown) => "unknown",
        Some(Trust::Probation) => "probation",
        Some(Trust::Trusted) => "trusted",
        Some(Trust::Own) => "own",
        None if provider.word == Some(Word::Denied) => "denied",
        None => "quarantined",
    }
}

fn why(provider: &Provider, now: u64) -> String {
    let days = |seconds: u64| seconds / 86_400;
    let needs = |(tiles, time_s): (u64, u64), what: &str| {
        format!(
            "{what} with {tiles} checked tiles and after {} days",
            days(time_s)
        )
    };
    let rise = match provider.level(now) {
        _ if provider.word.is_some() => "as you said".to_owned(),
        Some(Trust::Unknown) => needs(PROBATION, "probation"),
        Some(Trust::Probation) => needs(TRUSTED, "trusted"),
        Some(Trust::Trusted | Trust::Own) => "half as many cells are checked".to_owned(),
        None => format!("no work for {} days", days(QUARANTINE_S)),
    };
    match &provider.fault {
        Some(fault) => format!("{rise}; caught {}: {}", age(fault.at), fault.evidence),
        None => rise,
    }
}
