//! What is remembered of one provider: one row of the table.

use protocol::{EngineKind, limits::DEVICE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use verifier::{
    FaultKind, PastFault, Record, Trust,
    record::{fades_after_s, quarantine},
};

/// Faults that are remembered of one provider; the least grave and oldest go first.
pub const FAULTS_MAX: usize = 8;
/// Longest text of a fault's evidence in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 512;
/// Pairs of engine and device that are remembered of one provider: a key may claim a thousand devices.
const WORK_MAX: usize = 8;
/// Jobs whose tiles are known to be counted already. A job that is resumed after so many others counts again.
const COUNTED_MAX: usize = 32;

/// The user's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It is the user's own: next to nothing is checked.
    Own,
    /// It gets jobs also where only known providers do.
    Allowed,
    /// It gets no jobs.
    Denied,
}

/// How a fault is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Another requestor says so.
    Claimed,
    /// Another requestor says so, with evidence that was checked here.
    Verified,
    /// It was caught in a job of this user.
    Seen,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it happened, in seconds since 1970.
    pub at: u64,
    /// When this user came to know of it.
    pub learned: u64,
    /// What it was.
    pub kind: FaultKind,
    /// How it is known.
    pub proof: Proof,
    /// In which job.
    pub job: String,
    /// What it did, in words.
    pub evidence: String,
    /// The file with which anybody can check it, if there is one.
    pub bundle: Option<PathBuf>,
}

impl Fault {
    /// Faults of greater weight are kept longer.
    fn weight(&self) -> (bool, FaultKind, u64) {
        (self.proof > Proof::Claimed, self.kind, self.learned)
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.kind, self.at, &self.job) == (other.kind, other.at, &other.job)
    }
}

/// Checked work on one engine and device since the last fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The engine.
    pub engine: EngineKind,
    /// The device, as the provider calls it.
    pub device: String,
    /// Tiles that others checked and found right, as many as they were when the last was.
    pub checked: u64,
    /// When the first of them was counted, in seconds since 1970.
    pub since: u64,
    /// When the last of them was.
    pub last_seen: u64,
}

impl Work {
    fn record<'a>(&self, faults: &'a [PastFault], now: u64) -> Record<'a> {
        Record {
            checked_tiles: self.checked,
            known_s: now.saturating_sub(self.since),
            unseen_s: now.saturating_sub(self.last_seen),
            faults,
        }
    }

    fn fades_at(&self) -> u64 {
        self.last_seen.saturating_add(fades_after_s(self.checked))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    job: String,
    tiles: u64,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// When this user first heard of it, in seconds since 1970.
    pub first_seen: u64,
    /// When work of it was last counted, or a fault.
    pub last_seen: u64,
    /// What the user says of it.
    pub word: Option<Word>,
    /// What it was caught at.
    pub faults: Vec<Fault>,
    /// Its checked work.
    pub work: Vec<Work>,
    counted: Vec<Counted>,
}

/// Which bounded group of the table a provider belongs to, and how soon it is forgotten there: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By the moment at which its checked tiles will have faded: all that a flood of new keys can push out is what
    /// counts for nothing.
    Stranger(u64),
    /// Mere claims before proven faults, then the keys that were not seen for longest.
    Faulted(u8, u64),
    /// The user said something of it: never forgotten.
    Kept,
}

impl Provider {
    /// A provider of which nothing is known.
    pub fn new(now: u64) -> Self {
        Self {
            first_seen: now,
            last_seen: now,
            word: None,
            faults: Vec::new(),
            work: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// Is there nothing to remember?
    pub fn is_blank(&self) -> bool {
        self.word.is_none() && self.faults.is_empty() && self.counted.is_empty()
    }

    /// See [`Place`].
    pub fn place(&self) -> Place {
        if self.word.is_some() {
            return Place::Kept;
        }
        if self.faults.is_empty() {
            let fades = self.work.iter().map(Work::fades_at).max();
            return Place::Stranger(fades.unwrap_or(self.last_seen));
        }
        let is_proven = self.faults.iter().any(|fault| fault.proof > Proof::Claimed);
        Place::Faulted(u8::from(is_proven), self.last_seen)
    }

    fn past(&self, now: u64) -> Vec<PastFault> {
        let past = |fault: &Fault| {
            let is_proven = fault.proof > Proof::Claimed;
            let since = if is_proven { fault.at } else { fault.learned };
            PastFault {
                kind: fault.kind,
                is_proven,
                ago_s: now.saturating_sub(since),
            }
        };
        self.faults.iter().map(past).collect()
    }

    /// For what it is quarantined, and until when in seconds since 1970.
    pub fn quarantined(&self, now: u64) -> Option<(FaultKind, u64)> {
        let (kind, left_s) = quarantine(&self.past(now))?;
        Some((kind, now.saturating_add(left_s)))
    }

    /// Does it get work at all?
    pub fn gets_work(&self, now: u64) -> bool {
        match self.word {
            Some(Word::Own) => true,
            Some(Word::Denied) => false,
            Some(Word::Allowed) | None => self.quarantined(now).is_none(),
        }
    }

    /// Does it get work where only known providers do?
    pub fn is_known(&self, now: u64) -> bool {
        let rose = |work: &Work| self.level(work.engine, &work.device, now) > Some(Trust::Unknown);
        matches!(self.word, Some(Word::Own | Word::Allowed)) || self.work.iter().any(rose)
    }

    /// Its level on an engine and device; none when it gets no work.
    pub fn level(&self, engine: EngineKind, device: &str, now: u64) -> Option<Trust> {
        match self.word {
            Some(Word::Own) => Some(Trust::Own),
            Some(Word::Denied) => None,
            Some(Word::Allowed) | None => {
                let known = |work: &&Work| work.engine == engine && work.device == device;
                let past = self.past(now);
                match self.work.iter().find(known) {
                    Some(work) => work.record(&past, now).level(),
                    None => quarantine(&past).is_none().then_some(Trust::Unknown),
                }
            }
        }
    }

    /// Tiles that count today and the seconds that do, of one of its rows of work.
    pub fn earned(&self, work: &Work, now: u64) -> (u64, u64) {
        let past = self.past(now);
        let record = work.record(&past, now);
        (record.tiles_that_count(), record.clean_s())
    }

    /// Counts the checked tiles that a job has shown by now; gives those that are new.
    pub fn count(&mut self, job: &str, tiles: u64) -> u64 {
        let earlier = self.counted.iter().position(|counted| counted.job == job);
        let before = earlier.map_or(0, |place| self.counted.remove(place).tiles);
        self.counted.push(Counted {
            job: job.to_owned(),
            tiles: before.max(tiles),
        });
        if self.counted.len() > COUNTED_MAX {
            self.counted.remove(0);
        }
        tiles.saturating_sub(before)
    }

    /// Tiles on an engine and device were checked and found right.
    pub fn earn(&mut self, engine: EngineKind, device: &str, tiles: u64, now: u64) {
        if tiles == 0 || device.len() > DEVICE_BYTES_MAX {
            return;
        }
        self.last_seen = now;
        let known = |work: &Work| work.engine == engine && work.device == device;
        let mut work = match self.work.iter().position(known) {
            Some(place) => self.work.remove(place),
            None => Work {
                engine,
                device: device.to_owned(),
                checked: 0,
                since: now,
                last_seen: now,
            },
        };
        let left = work.record(&[], now).tiles_that_count();
        if left == 0 {
            // Time counts only for who works meanwhile.
            work.since = now;
        }
        work.checked = left.saturating_add(tiles);
        work.last_seen = now;
        self.work.push(work);
        if self.work.len() > WORK_MAX {
            let least = (0..self.work.len()).min_by_key(|&place| self.work[place].fades_at());
            least.map(|place| self.work.remove(place));
        }
    }

    /// It was caught, or is said to have been: all that it earned is lost. False when that was known.
    pub fn blame(&mut self, mut fault: Fault) -> bool {
        if let Some(place) = self.faults.iter().position(|known| known.is_same(&fault)) {
            if self.faults[place].proof >= fault.proof {
                return false;
            }
            self.faults.remove(place);
        }
        fault.evidence = shortened(&fault.evidence, EVIDENCE_BYTES_MAX);
        self.faults.push(fault);
        if self.faults.len() > FAULTS_MAX {
            let least = (0..self.faults.len()).min_by_key(|&place| self.faults[place].weight());
            if let Some(place) = least {
                self.faults.remove(place);
                if place == FAULTS_MAX {
                    return false;
                }
            }
        }
        self.work.clear();
        true
    }
}

/// Shortens a text at a character's edge.
fn shortened(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use verifier::record::{FRAUD_QUARANTINE_S, HALVING_S, PROBATION};

    const ENGINE: EngineKind = EngineKind::Tracer;

    fn fault(kind: FaultKind, at: u64, proof: Proof) -> Fault {
        Fault {
            at,
            learned: at,
            kind,
            proof,
            job: "job".into(),
            evidence: "frame 1: black".into(),
            bundle: None,
        }
    }

    fn risen() -> Provider {
        let mut provider = Provider::new(0);
        provider.earn(ENGINE, "cpu", PROBATION.checked_tiles, 0);
        provider
    }

    #[test]
    fn work_counts_for_its_engine_and_device_and_a_fault_for_all() {
        let (mut provider, now) = (risen(), PROBATION.known_s);
        assert_eq!(provider.level(ENGINE, "cpu", now), Some(Trust::Probation));
        assert!(provider.is_known(now));
        for (engine, device) in [(ENGINE, "gpu"), (EngineKind::Blender, "cpu")] {
            assert_eq!(provider.level(engine, device, now), Some(Trust::Unknown));
        }
        assert!(provider.blame(fault(FaultKind::Fraud, now, Proof::Seen)));
        for (engine, device) in [(ENGINE, "cpu"), (EngineKind::Blender, "gpu")] {
            assert_eq!(provider.level(engine, device, now), None);
            let after = now + FRAUD_QUARANTINE_S;
            assert_eq!(provider.level(engine, device, after), Some(Trust::Unknown));
        }
        provider.word = Some(Word::Allowed);
        assert!(!provider.gets_work(now));
        provider.word = Some(Word::Own);
        assert_eq!(provider.level(ENGINE, "gpu", now), Some(Trust::Own));
    }

    #[test]
    fn a_claim_costs_what_was_earned_but_no_work_and_counts_once() {
        let (mut provider, now) = (risen(), PROBATION.known_s);
        let claim = fault(FaultKind::Fraud, 5, Proof::Claimed);
        assert!(provider.blame(claim.clone()));
        assert!(provider.gets_work(now) && !provider.is_known(now));
        provider.earn(ENGINE, "cpu", 1, now);
        assert!(!provider.blame(claim));
        assert_eq!(provider.work.len(), 1);
        // With evidence it is a fault like one's own.
        assert!(provider.blame(fault(FaultKind::Fraud, 5, Proof::Verified)));
        assert!(!provider.gets_work(now) && provider.faults.len() == 1);
    }

    #[test]
    fn the_gravest_faults_are_kept() {
        let mut provider = Provider::new(0);
        assert!(provider.blame(fault(FaultKind::Fraud, 1, Proof::Seen)));
        for at in 2..30 {
            provider.blame(fault(FaultKind::Flaky, at, Proof::Seen));
        }
        for at in 100..130 {
            assert!(!provider.blame(fault(FaultKind::Fraud, at, Proof::Claimed)));
        }
        let kept: Vec<u64> = provider.faults.iter().map(|fault| fault.at).collect();
        assert_eq!(kept, [1, 23, 24, 25, 26, 27, 28, 29]);
        let mut long = fault(FaultKind::Fraud, 200, Proof::Seen);
        long.evidence = "ä".repeat(EVIDENCE_BYTES_MAX);
        provider.blame(long);
        let last = provider.faults.last().unwrap();
        assert_eq!(last.evidence.len(), EVIDENCE_BYTES_MAX);
    }

    #[test]
    fn what_faded_does_not_come_back() {
        let mut provider = risen();
        let later = HALVING_S;
        provider.earn(ENGINE, "cpu", 1, later);
        assert_eq!(provider.work[0].checked, PROBATION.checked_tiles / 2 + 1);
        let much_later = 20 * HALVING_S;
        provider.earn(ENGINE, "cpu", PROBATION.checked_tiles, much_later);
        assert_eq!(provider.work[0].since, much_later);
        assert_eq!(
            provider.level(ENGINE, "cpu", much_later),
            Some(Trust::Unknown)
        );
    }

    #[test]
    fn a_row_has_its_limits() {
        let mut provider = Provider::new(0);
        for number in 0..1_000 {
            let tiles = 1 + u64::from(number == 500);
            provider.earn(ENGINE, &format!("gpu{number}"), tiles, 0);
            provider.count(&format!("{number:032x}"), u64::MAX);
            provider.blame(fault(FaultKind::Fraud, number, Proof::Seen));
            provider.earn(ENGINE, &format!("gpu{number}"), u64::MAX, 0);
        }
        for number in 0..100 {
            provider.earn(EngineKind::Blender, &format!("gpu{number}"), 1, 0);
        }
        let devices: Vec<&str> = provider.work.iter().map(|w| w.device.as_str()).collect();
        assert_eq!(devices.len(), WORK_MAX);
        assert!(devices.contains(&"gpu999"), "{devices:?}");
        assert_eq!(provider.counted.len(), COUNTED_MAX);
        assert_eq!(provider.count(&format!("{:032x}", 999), u64::MAX), 0);
        let row = serde_json::to_vec(&provider).unwrap();
        assert!(row.len() < 16 << 10, "{} bytes", row.len());
    }
}
