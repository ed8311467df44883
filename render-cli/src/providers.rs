//! What is remembered of providers beyond one job, in a table of the data folder: how much of their work was checked, what
//! they were caught at, and what the user says of them. Another process may change it while a job runs.

pub mod claims;
pub mod identity;
mod old_file;
pub mod row;
mod store;

use crate::{
    failure::Failure,
    jobs::{self, JobFolder},
    thread::lock,
};
use claims::Claim;
use farm::WorkerRow;
use protocol::{EngineKind, JobId, NodeId};
use row::{Fault, Proof, Provider, Word};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use store::{Limits, Store};
use verifier::{FaultKind, Trust};

pub use store::StoreError;

/// Providers that are remembered without a word of the user. Rows take a few hundred bytes, a few thousand at most.
const LIMITS: Limits = Limits {
    strangers: 20_000,
    faulted: 10_000,
};
/// Quoting workers of one run whose device is remembered; work of further ones is not counted.
const QUOTED_MAX: usize = 65_536;

/// Who gets a job, beyond what their records say.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Only providers that are known, and those that the user allows.
    pub only_known: bool,
    /// Allowed for this run.
    pub allowed: BTreeSet<NodeId>,
}

/// What a worker said that it renders on.
#[derive(Debug)]
enum Device {
    One(String),
    /// It said different things in one run: nobody knows which of them its tiles are from.
    Several,
}

/// All that are remembered.
#[derive(Debug)]
pub struct Providers {
    store: Store,
    admission: Admission,
    /// The workers that quoted in this run.
    quoted: Mutex<BTreeMap<NodeId, Device>>,
}

/// What became of claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// Faults that are known now.
    pub new: usize,
    /// Faults that were known, or that graver ones leave no place for.
    pub old: usize,
}

impl Providers {
    /// Opens the table of a data folder; none is there before the first job.
    pub fn open(data_dir: &Path, admission: Admission) -> Result<Self, Failure> {
        let store = Store::new(data_dir.join("providers.redb"), LIMITS);
        store.check()?;
        old_file::import(
            data_dir,
            &store,
            |job| engine_of(data_dir, job),
            jobs::now(),
        )?;
        Ok(Self {
            store,
            admission,
            quoted: Mutex::default(),
        })
    }

    /// All, by identity.
    pub fn all(&self) -> Result<Vec<(NodeId, Provider)>, StoreError> {
        self.store.all()
    }

    /// One, if anything is known of it.
    pub fn find(&self, node: NodeId) -> Result<Option<Provider>, StoreError> {
        let found = self.store.find(&[node])?;
        Ok(found.into_iter().next().map(|(_, provider)| provider))
    }

    /// What is known of a provider that may get this run's job; else why it gets none. For async callers.
    pub async fn admit(self: &Arc<Self>, node: NodeId, now: u64) -> Result<Provider, String> {
        let providers = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || providers.find(node)).await;
        let found = found.map_err(|e| e.to_string())?;
        let provider = found.map_err(|e| e.to_string())?;
        self.judge(node, provider.unwrap_or_else(|| Provider::new(now)), now)
    }

    fn judge(&self, node: NodeId, provider: Provider, now: u64) -> Result<Provider, String> {
        let admission = &self.admission;
        if !provider.gets_work(now) {
            return Err("gets no job: see `render providers`".into());
        }
        match !admission.only_known || admission.allowed.contains(&node) || provider.is_known(now) {
            true => Ok(provider),
            false => Err("is not known, and only known providers get this job".into()),
        }
    }

    /// A worker quoted in this run and told what it renders on.
    pub fn quoted(&self, node: NodeId, device: String) {
        let mut quoted = lock(&self.quoted);
        let is_full = quoted.len() >= QUOTED_MAX;
        match quoted.get_mut(&node) {
            Some(Device::One(known)) if *known == device => {}
            Some(known) => *known = Device::Several,
            None if is_full => {}
            None => drop(quoted.insert(node, Device::One(device))),
        }
    }

    /// Workers that quoted in this run and that the user has denied since; each is told once.
    pub fn denied(&self) -> Result<Vec<NodeId>, StoreError> {
        let nodes: Vec<NodeId> = lock(&self.quoted).keys().copied().collect();
        if nodes.is_empty() {
            return Ok(nodes);
        }
        let mut known = self.store.find(&nodes)?;
        known.retain(|(_, provider)| provider.word == Some(Word::Denied));
        let denied: Vec<NodeId> = known.into_iter().map(|(node, _)| node).collect();
        let mut quoted = lock(&self.quoted);
        denied.iter().for_each(|node| drop(quoted.remove(node)));
        Ok(denied)
    }

    /// The user says something of a provider, or takes it back.
    pub fn say(&self, node: NodeId, word: Option<Word>, now: u64) -> Result<(), StoreError> {
        self.store.write(|rows| {
            let mut provider = rows.get(node)?.unwrap_or_else(|| Provider::new(now));
            provider.word = word;
            match provider.is_blank() {
                true => rows.remove(node).map(drop),
                false => rows.put(node, &provider),
            }
        })
    }

    /// Forgets all of a provider; was it known?
    pub fn forget(&self, node: NodeId) -> Result<bool, StoreError> {
        self.store.write(|rows| rows.remove(node))
    }

    /// A provider was caught in a job; `bundle` is the file of evidence, if there is one.
    pub fn caught(
        &self,
        node: NodeId,
        kind: FaultKind,
        job: JobId,
        evidence: &str,
        bundle: Option<PathBuf>,
        now: u64,
    ) -> Result<(), StoreError> {
        self.store.write(|rows| {
            let mut provider = rows.get(node)?.unwrap_or_else(|| Provider::new(now));
            blame(&mut provider, kind, job, (evidence, bundle), now);
            rows.put(node, &provider)
        })
    }

    /// Others tell of faults, each with evidence that was checked and found right or without.
    pub fn learn(&self, claims: Vec<(Claim, bool)>, now: u64) -> Result<Learned, StoreError> {
        self.store.write(|rows| {
            let mut learned = Learned::default();
            for (claim, is_verified) in claims {
                let node = claim.node;
                let mut provider = rows.get(node)?.unwrap_or_else(|| Provider::new(now));
                match provider.blame(claim.into_fault(is_verified, now)) {
                    true => learned.new += 1,
                    false => learned.old += 1,
                }
                rows.put(node, &provider)?;
            }
            Ok(learned)
        })
    }

    /// Takes note of the work in a job, said as often as one likes. Local workers are the user's own by themselves.
    pub fn note(
        &self,
        job: JobId,
        engine: EngineKind,
        rows: &[WorkerRow],
        now: u64,
    ) -> Result<(), StoreError> {
        let quoted = lock(&self.quoted);
        let strangers = rows.iter().filter(|row| row.trust != Trust::Own);
        let noted: Vec<_> = strangers
            .filter(|row| row.tiles_checked > 0 || row.fault.is_some())
            .map(|row| {
                let device = match quoted.get(&row.worker) {
                    Some(Device::One(device)) => Some(device.clone()),
                    _ => None,
                };
                (row, device)
            })
            .collect();
        drop(quoted);
        if noted.is_empty() {
            return Ok(());
        }
        self.store.write(|rows| {
            for (row, device) in noted {
                let known = rows.get(row.worker)?;
                let mut provider = known.unwrap_or_else(|| Provider::new(now));
                note_one(&mut provider, job, engine, row, device, now);
                rows.put(row.worker, &provider)?;
            }
            Ok(())
        })
    }
}

/// What one row of a job says of its provider. What it delivered before it was caught counts no more, also when it is told
/// later.
fn note_one(
    provider: &mut Provider,
    job: JobId,
    engine: EngineKind,
    row: &WorkerRow,
    device: Option<String>,
    now: u64,
) {
    let more = provider.count(&job.to_string(), row.tiles_checked);
    match (row.fault, device) {
        (Some(FaultKind::Fraud), _) => {
            // Told already, unless the process was killed before that was on disk.
            let evidence = ("caught in this job", None);
            blame(provider, FaultKind::Fraud, job, evidence, now);
        }
        // What was right before and after a wrong cell does not make up for it in the same job.
        (Some(FaultKind::Flaky), _) => {}
        (None, Some(device)) => provider.earn(engine, &device, more, now),
        (None, None) => {}
    }
}

/// Enters what was seen here; a worker is quarantined once a job.
fn blame(
    provider: &mut Provider,
    kind: FaultKind,
    job: JobId,
    (evidence, bundle): (&str, Option<PathBuf>),
    now: u64,
) {
    let job = job.to_string();
    let is_known =
        |fault: &Fault| (fault.kind, fault.proof, &fault.job) == (kind, Proof::Seen, &job);
    if kind == FaultKind::Fraud && provider.faults.iter().any(is_known) {
        return;
    }
    provider.last_seen = now;
    provider.blame(Fault {
        at: now,
        learned: now,
        kind,
        proof: Proof::Seen,
        job,
        evidence: evidence.to_owned(),
        bundle,
    });
}

/// The engine of a job that is still on disk.
fn engine_of(data_dir: &Path, job: &str) -> Option<EngineKind> {
    let record = JobFolder::of(data_dir, job.parse().ok()?).record().ok()?;
    match record.scene.extension()?.to_str()? {
        "blend" => Some(EngineKind::Blender),
        "glb" | "gltf" => Some(EngineKind::Tracer),
        _ => None,
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Busy(_) => "try again",
            StoreError::Storage { .. } => {
                "put a copy back, or remove the file: then all providers are strangers again"
            }
        };
        Failure::preflight(error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests;
