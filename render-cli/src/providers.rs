//! What is remembered of providers beyond one job, in `providers.json` of the data folder: how much of their work was
//! checked, what they were caught at, and what the user says of them.

use crate::{failure::Failure, jobs};
use farm::{WorkerRow, WorkerState};
use protocol::{JobId, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use verifier::{Record, Trust};

/// Providers that are remembered; beyond, those of least work are forgotten, those with a fault or a word of the user never.
const PROVIDERS_MAX: usize = 100_000;

/// The user's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It is the user's own: next to nothing is checked.
    Own,
    /// It gets no jobs.
    Denied,
}

/// A proven fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// Seconds since 1970.
    pub at: u64,
    /// In which job.
    pub job: String,
    /// What it did.
    pub evidence: String,
    /// Its checked tiles until then: they count no more.
    checked_before: u64,
}

/// One provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provider {
    /// When it first worked for this user, in seconds since 1970.
    pub first_seen: u64,
    /// What the user says of it.
    pub word: Option<Word>,
    /// The last thing that it was caught at.
    pub fault: Option<Fault>,
    /// Tiles that others checked and found right, of each job.
    checked: BTreeMap<String, u64>,
}

impl Provider {
    fn new(now: u64) -> Self {
        Self {
            first_seen: now,
            word: None,
            fault: None,
            checked: BTreeMap::new(),
        }
    }

    /// Checked tiles since its last fault.
    pub fn checked_tiles(&self) -> u64 {
        let before = self.fault.as_ref().map_or(0, |fault| fault.checked_before);
        self.checked.values().sum::<u64>().saturating_sub(before)
    }

    /// Its level; none when it gets no work.
    pub fn level(&self, now: u64) -> Option<Trust> {
        match self.word {
            Some(Word::Own) => Some(Trust::Own),
            Some(Word::Denied) => None,
            None => Record {
                checked_tiles: self.checked_tiles(),
                known_s: now.saturating_sub(self.first_seen),
                fault_s: (self.fault.as_ref()).map(|fault| now.saturating_sub(fault.at)),
            }
            .level(),
        }
    }
}

/// All that are remembered.
#[derive(Debug)]
pub struct Providers {
    path: PathBuf,
    all: BTreeMap<String, Provider>,
}

impl Providers {
    /// Reads the file of a data folder; none is there before the first job.
    pub fn open(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join("providers.json");
        let all = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        match all {
            Ok(all) => Ok(Self { path, all }),
            Err(error) => Err(
                Failure::preflight(format!("{}: {error}", path.display())).hint(
                    "put a copy back, or remove the file: then all providers are strangers again",
                ),
            ),
        }
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Provider)> {
        self.all
            .iter()
            .map(|(node, provider)| (node.as_str(), provider))
    }

    /// The level of a provider; none when it gets no work.
    pub fn level(&self, node: NodeId, now: u64) -> Option<Trust> {
        let known = self.all.get(&node.to_string());
        known.map_or(Some(Trust::Unknown), |provider| provider.level(now))
    }

    fn entry(&mut self, node: NodeId, now: u64) -> &mut Provider {
        let entry = self.all.entry(node.to_string());
        entry.or_insert_with(|| Provider::new(now))
    }

    /// The user says something of a provider, or takes it back.
    pub fn say(&mut self, node: NodeId, word: Option<Word>, now: u64) {
        self.entry(node, now).word = word;
    }

    /// Forgets all of a provider.
    pub fn forget(&mut self, node: NodeId) -> bool {
        self.all.remove(&node.to_string()).is_some()
    }

    /// A provider was caught.
    pub fn caught(&mut self, node: NodeId, job: JobId, evidence: &str, now: u64) {
        let provider = self.entry(node, now);
        provider.fault = Some(Fault {
            at: now,
            job: job.to_string(),
            evidence: evidence.to_owned(),
            checked_before: provider.checked.values().sum(),
        });
    }

    /// Takes note of the work in a job, said as often as one likes. Local workers are the user's own by themselves.
    pub fn note(&mut self, job: JobId, rows: &[WorkerRow], now: u64) {
        let strangers = rows.iter().filter(|row| row.trust != Trust::Own);
        for row in strangers.filter(|row| row.tiles_accepted > 0) {
            let provider = self.entry(row.worker, now);
            let checked = provider.checked.entry(job.to_string()).or_default();
            let more = row.tiles_checked.saturating_sub(*checked);
            *checked += more;
            // What it delivered before it was caught counts no more, also when it is told later.
            if row.state == WorkerState::Quarantined
                && let Some(fault) = &mut provider.fault
            {
                fault.checked_before += more;
            }
        }
        self.forget_some();
    }

    fn forget_some(&mut self) {
        while self.all.len() > PROVIDERS_MAX {
            let plain = (self.all.iter())
                .filter(|(_, provider)| provider.word.is_none() && provider.fault.is_none());
            let least = plain.min_by_key(|(_, provider)| provider.checked_tiles());
            let Some(node) = least.map(|(node, _)| node.clone()) else {
                return;
            };
            self.all.remove(&node);
        }
    }

    /// Writes the file whole, beside its place first.
    pub fn save(&self) -> io::Result<()> {
        jobs::write_json(&self.path, &self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Address, Glm};
    use verifier::trust::{PROBATION, QUARANTINE_S};

    const NODE: NodeId = NodeId([1; 32]);
    const JOB: JobId = JobId([2; 16]);

    fn row(tiles_checked: u64, state: WorkerState) -> WorkerRow {
        WorkerRow {
            worker: NODE,
            payee: Address([3; 20]),
            state,
            tiles_accepted: tiles_checked,
            tiles_checked,
            trust: Trust::Unknown,
            tasks_rejected: 0,
            earned: Glm::ZERO,
            held: Glm::ZERO,
            forfeited: Glm::ZERO,
            flaky: 0,
            frame: None,
            megasample_ms: 1,
        }
    }

    #[test]
    fn work_counts_once_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut providers = Providers::open(folder.path()).unwrap();
        assert_eq!(providers.level(NODE, 0), Some(Trust::Unknown));
        for tiles in [5, PROBATION.0, PROBATION.0] {
            providers.note(JOB, &[row(tiles, WorkerState::Idle)], 100);
        }
        providers.save().unwrap();
        let providers = Providers::open(folder.path()).unwrap();
        let (_, provider) = providers.iter().next().unwrap();
        assert_eq!(provider.checked_tiles(), PROBATION.0);
        assert_eq!(providers.level(NODE, 100), Some(Trust::Unknown));
        assert_eq!(
            providers.level(NODE, 100 + PROBATION.1),
            Some(Trust::Probation)
        );
    }

    #[test]
    fn who_is_caught_begins_anew_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let mut providers = Providers::open(folder.path()).unwrap();
        providers.note(JOB, &[row(1_000, WorkerState::Idle)], 0);
        let caught_at = 10 * QUARANTINE_S;
        assert_eq!(providers.level(NODE, caught_at), Some(Trust::Trusted));
        providers.caught(NODE, JOB, "frame 1: black", caught_at);
        providers.note(JOB, &[row(1_007, WorkerState::Quarantined)], caught_at);
        assert_eq!(providers.level(NODE, caught_at + QUARANTINE_S - 1), None);
        assert_eq!(
            providers.level(NODE, caught_at + 5 * QUARANTINE_S),
            Some(Trust::Unknown)
        );
        assert_eq!(providers.iter().next().unwrap().1.checked_tiles(), 0);
        providers.say(NODE, Some(Word::Own), caught_at);
        assert_eq!(providers.level(NODE, caught_at), Some(Trust::Own));
        providers.say(NODE, Some(Word::Denied), caught_at);
        assert_eq!(providers.level(NODE, 99 * caught_at), None);
        assert!(providers.forget(NODE) && !providers.forget(NODE));
        assert_eq!(providers.level(NODE, caught_at), Some(Trust::Unknown));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("providers.json"), b"{\"x\":").unwrap();
        assert!(Providers::open(folder.path()).is_err());
    }
}
