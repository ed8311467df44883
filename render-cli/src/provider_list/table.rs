//! Providers as tables for people and as JSON for programs.

use super::reasons;
use crate::{
    commands::age,
    providers::row::{Proof, Provider, Work},
};
use protocol::{NodeId, message::printable};
use serde_json::{Value, json};

/// A provider in the list: a line for it and one for each engine and device.
pub fn lines(node: NodeId, provider: &Provider, now: u64) -> Vec<String> {
    let (standing, why) = (
        reasons::standing(provider, now),
        reasons::of_provider(provider, now),
    );
    let seen = age(provider.last_seen);
    let head = format!("{node}  {standing:<11}  {seen:<10}  {}", printable(&why));
    let mut lines = vec![head.trim_end().to_owned()];
    lines.extend(
        provider
            .work
            .iter()
            .map(|work| work_line(provider, work, now)),
    );
    lines
}

fn work_line(provider: &Provider, work: &Work, now: u64) -> String {
    let what = format!("{} on {}", work.engine, printable(&work.device));
    let why = reasons::of_work(provider, work, now);
    format!("  {what:<24} {}: {why}", level(provider, work, now))
}

fn level(provider: &Provider, work: &Work, now: u64) -> &'static str {
    let level = provider.level(work.engine, &work.device, now);
    level.map_or(reasons::standing(provider, now), reasons::level_name)
}

/// Everything that is known of a provider.
pub fn details(node: NodeId, provider: &Provider, now: u64) -> Vec<String> {
    let mut lines = vec![
        format!("provider {node}"),
        format!("level    {}", reasons::standing(provider, now)),
    ];
    let why = reasons::of_provider(provider, now);
    if !why.is_empty() {
        lines.push(format!("why      {}", printable(&why)));
    }
    lines.push(format!("known    {}", reasons::date(provider.first_seen)));
    if !provider.work.is_empty() || !provider.faults.is_empty() {
        lines.push(format!("seen     {}", reasons::date(provider.last_seen)));
    }
    lines.push("work".to_owned());
    lines.extend(
        provider
            .work
            .iter()
            .map(|work| work_line(provider, work, now)),
    );
    if provider.work.is_empty() {
        lines.push("  none that counts".to_owned());
    }
    lines.push("faults".to_owned());
    for fault in &provider.faults {
        let (at, kind) = (reasons::date(fault.at), reasons::kind_name(fault.kind));
        let proof = match fault.proof {
            Proof::Seen => "seen here",
            Proof::Verified => "told, and verified here",
            Proof::Claimed => "told, not verified",
        };
        let evidence = printable(&fault.evidence);
        lines.push(format!(
            "  {at} {kind} ({proof}), job {}: {evidence}",
            fault.job
        ));
        if let Some(bundle) = &fault.bundle {
            let bundle = bundle.display().to_string();
            lines.push(format!("    evidence {}", printable(&bundle)));
        }
    }
    if provider.faults.is_empty() {
        lines.push("  none".to_owned());
    }
    lines
}

/// The same for programs.
pub fn json(node: NodeId, provider: &Provider, now: u64) -> Value {
    let quarantined = provider
        .quarantined(now)
        .map(|(kind, until)| json!({ "until": until, "kind": kind }));
    let work = provider.work.iter().map(|work| {
        let (tiles, clean_s) = provider.earned(work, now);
        json!({
            "engine": work.engine, "device": work.device, "level": level(provider, work, now),
            "checked_tiles": tiles, "clean_s": clean_s, "since": work.since, "last_seen": work.last_seen,
            "why": reasons::of_work(provider, work, now),
        })
    });
    json!({
        "provider": node.to_string(), "level": reasons::standing(provider, now), "why": reasons::of_provider(provider, now),
        "word": provider.word, "first_seen": provider.first_seen, "last_seen": provider.last_seen,
        "quarantined": quarantined, "flaky": reasons::flaky(provider, now), "work": work.collect::<Vec<_>>(),
        "faults": provider.faults,
    })
}
