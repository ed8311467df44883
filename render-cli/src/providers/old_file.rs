//! What earlier versions remembered, in one file of JSON: read once into the table, then set aside.

use super::{
    row::{Fault, Proof, Provider, Word},
    store::{Store, StoreError},
};
use crate::failure::Failure;
use protocol::{EngineKind, NodeId};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, io, path::Path};
use verifier::FaultKind;

const NAME: &str = "providers.json";
const IMPORTED: &str = "providers.json.imported";
/// All that rendered when the file was written.
const DEVICE: &str = "cpu";

#[derive(Debug, Deserialize)]
struct OldFault {
    at: u64,
    job: String,
    evidence: String,
}

#[derive(Debug, Deserialize)]
struct OldProvider {
    first_seen: u64,
    word: Option<Word>,
    fault: Option<OldFault>,
    checked: BTreeMap<String, u64>,
}

impl OldProvider {
    /// Its work counts where the job tells which engine did it; with a fault nobody knows any more what came after it.
    fn into_provider(self, engine_of: &impl Fn(&str) -> Option<EngineKind>) -> Provider {
        let mut provider = Provider::new(self.first_seen);
        provider.word = self.word;
        for (job, tiles) in self.checked {
            let more = provider.count(&job, tiles);
            if let Some(engine) = engine_of(&job) {
                provider.earn(engine, DEVICE, more, self.first_seen);
            }
        }
        if let Some(fault) = self.fault {
            provider.last_seen = fault.at;
            provider.blame(Fault {
                at: fault.at,
                learned: fault.at,
                kind: FaultKind::Fraud,
                proof: Proof::Seen,
                job: fault.job,
                evidence: fault.evidence,
                bundle: None,
            });
        }
        provider
    }
}

/// Takes the file of a data folder into the table, if there is one. `now` is when its work was last seen.
pub fn import(
    data_dir: &Path,
    store: &Store,
    engine_of: impl Fn(&str) -> Option<EngineKind>,
    now: u64,
) -> Result<(), Failure> {
    let path = data_dir.join(NAME);
    let fail = |error: &dyn std::fmt::Display| {
        Failure::preflight(format!("{}: {error}", path.display()))
            .hint("put a copy back, or remove the file: then all providers are strangers again")
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(&error)),
    };
    let old: BTreeMap<String, OldProvider> =
        serde_json::from_slice(&bytes).map_err(|e| fail(&e))?;
    let mut providers = Vec::with_capacity(old.len());
    for (node, provider) in old {
        let node: NodeId = node.parse().map_err(|e| fail(&e))?;
        let mut provider = provider.into_provider(&engine_of);
        if !provider.work.is_empty() {
            provider.last_seen = now;
        }
        for work in &mut provider.work {
            work.last_seen = now;
        }
        providers.push((node, provider));
    }
    enter(store, providers).map_err(|e| fail(&e))?;
    fs::rename(&path, data_dir.join(IMPORTED)).map_err(|e| fail(&e))
}

/// Rows that are there are newer: an earlier import was cut short before it set the file aside.
fn enter(store: &Store, providers: Vec<(NodeId, Provider)>) -> Result<(), StoreError> {
    store.write(|rows| {
        for (node, provider) in &providers {
            if rows.get(*node)?.is_none() {
                rows.put(*node, provider)?;
            }
        }
        Ok(())
    })
}
