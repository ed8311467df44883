//! Why a provider stands where it does, in words.

use crate::providers::row::{Fault, Proof, Provider, Word, Work};
use std::time::{Duration, SystemTime};
use verifier::{
    FaultKind, Trust,
    record::{FLAKY_WINDOW_S, PROBATION, TRUSTED, Threshold},
};

const DAY_S: u64 = 86_400;
/// The last second that has a date of four digits.
const DATE_MAX_S: u64 = 253_402_300_799;

/// A moment in seconds since 1970, as a date and time of day.
pub fn date(at: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at.min(DATE_MAX_S));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// What the user said.
pub fn of_word(word: Option<Word>) -> &'static str {
    match word {
        Some(Word::Own) => "is your own: next to nothing of its work is checked",
        Some(Word::Allowed) => "is allowed: it gets jobs also under --only-known",
        Some(Word::Denied) => "is denied: it gets no jobs",
        None => "is as its record says",
    }
}

/// What a level is called.
pub fn level_name(level: Trust) -> &'static str {
    match level {
        Trust::Unknown => "unknown",
        Trust::Probation => "probation",
        Trust::Trusted => "trusted",
        Trust::Own => "own",
    }
}

/// What a kind of fault is called.
pub fn kind_name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Fraud => "fraud",
        FaultKind::Flaky => "flaky",
    }
}

/// Where a provider stands as a whole: its highest level on any engine and device, or why it gets no work.
pub fn standing(provider: &Provider, now: u64) -> &'static str {
    let levels = provider.work.iter();
    let levels = levels.filter_map(|work| provider.level(work.engine, &work.device, now));
    match (provider.word, provider.quarantined(now)) {
        (Some(Word::Own), _) => "own",
        (Some(Word::Denied), _) => "denied",
        (_, Some(_)) => "quarantined",
        (_, None) => level_name(levels.max().unwrap_or(Trust::Unknown)),
    }
}

/// Why it stands there as a whole.
pub fn of_provider(provider: &Provider, now: u64) -> String {
    let mut reasons = Vec::new();
    if provider.word.is_some() {
        reasons.push(of_word(provider.word).to_owned());
    }
    if let Some((kind, until)) = provider.quarantined(now) {
        let (name, until) = (kind_name(kind), date(until));
        let of_kind = |fault: &&Fault| fault.kind == kind && fault.proof > Proof::Claimed;
        let last = provider
            .faults
            .iter()
            .filter(of_kind)
            .max_by_key(|fault| fault.at);
        let what = last.map_or(String::new(), |fault| format!(": {}", fault.evidence));
        reasons.push(format!("quarantined until {until} for {name}{what}"));
    } else if let Some(fault) = provider.faults.iter().max_by_key(|fault| fault.learned) {
        let (at, name) = (date(fault.learned), kind_name(fault.kind));
        reasons.push(match fault.proof {
            Proof::Claimed => format!("began anew {at}: another requestor claims a fault ({name})"),
            Proof::Verified | Proof::Seen => {
                format!("began anew after {name}, {at}: {}", fault.evidence)
            }
        });
    }
    match flaky(provider, now) {
        0 => {}
        count => reasons.push(format!(
            "flaky {count} times in {} days",
            FLAKY_WINDOW_S / DAY_S
        )),
    }
    reasons.join("; ")
}

/// Flaky faults that still count together.
pub fn flaky(provider: &Provider, now: u64) -> usize {
    let counts = |fault: &&Fault| {
        fault.kind == FaultKind::Flaky
            && fault.proof > Proof::Claimed
            && now.saturating_sub(fault.at) <= FLAKY_WINDOW_S
    };
    provider.faults.iter().filter(counts).count()
}

/// Why it is at its level on one engine and device.
pub fn of_work(provider: &Provider, work: &Work, now: u64) -> String {
    let (tiles, clean_s) = provider.earned(work, now);
    let towards = |next: Threshold| {
        format!(
            "{tiles} of {} checked tiles, {} of {} days",
            next.checked_tiles,
            clean_s / DAY_S,
            next.known_s / DAY_S
        )
    };
    let reason = match provider.level(work.engine, &work.device, now) {
        Some(Trust::Unknown) => towards(PROBATION),
        Some(Trust::Probation) => towards(TRUSTED),
        _ => format!("{tiles} checked tiles, {} days", clean_s / DAY_S),
    };
    match work.checked.saturating_sub(tiles) {
        0 => reason,
        faded => format!("{reason} ({faded} faded while it was away)"),
    }
}
