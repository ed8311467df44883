//! Brings committed pixels here and hashes their cells.

use crate::{job::Shared, thread::lock};
use farm::event::Event;
use network::{BlobStore, NetworkError};
use protocol::{
    Blake3Hash, NodeId, Pass, RenderedRect, TaskId, TaskSpec,
    message::{Reply, Request, printable},
    pixels,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Attempts at one delivery while the connection stands.
const ATTEMPTS_MAX: u32 = 3;
/// Wait before the second attempt; it grows with each.
const RETRY: Duration = Duration::from_millis(500);

/// Blobs on their way to the coordinator, with how often: they are not deleted meanwhile.
#[derive(Debug, Default)]
pub struct Arriving(Mutex<BTreeMap<Blake3Hash, usize>>);

impl Arriving {
    /// A delivery is fetched.
    pub fn enter(&self, root: Blake3Hash) {
        *lock(&self.0).entry(root).or_default() += 1;
    }

    /// The coordinator knows of it, or it did not come.
    pub fn leave(&self, root: Blake3Hash) {
        let mut all = lock(&self.0);
        if let Some(count) = all.get_mut(&root) {
            *count -= 1;
            if *count == 0 {
                all.remove(&root);
            }
        }
    }

    /// Is it on its way?
    pub fn has(&self, root: &Blake3Hash) -> bool {
        lock(&self.0).contains_key(root)
    }
}

/// Opens a commitment and brings its pixels here. Nothing comes of it when the worker leaves meanwhile: it is asked again
/// when it is back.
pub async fn fetch(shared: &Arc<Shared>, worker: NodeId, task: TaskId) -> Option<Event> {
    let part = shared.peers.part(worker)?;
    let failed = |reason: String| Event::Failed {
        worker,
        task: Some(task),
        reason,
    };
    let Ok(_permit) = shared.deliveries.acquire().await else {
        return Some(failed("stopping".into()));
    };
    let Some(spec) = lock(&shared.tasks).get(&task).cloned() else {
        return Some(failed("the task is no longer wanted".into()));
    };
    let mut attempt = 1;
    loop {
        let error = match bring(shared, worker, &spec).await {
            Ok(Brought { salt, root, cells }) => {
                return Some(Event::Delivered {
                    worker,
                    task,
                    salt,
                    root,
                    cells,
                });
            }
            Err(Trouble::Refusal(reason)) => return Some(failed(reason)),
            Err(Trouble::Network(error)) => error,
        };
        tracing::debug!(worker = %worker.short(), %task, %error, "a delivery broke off");
        if !is_passing(&error) || (attempt == ATTEMPTS_MAX && !part.is_over()) {
            return Some(failed(error.to_string()));
        }
        tokio::time::sleep(RETRY * attempt).await;
        if part.is_over() {
            return None;
        }
        attempt += 1;
    }
}

/// Might the next attempt succeed, or the connection be gone?
fn is_passing(error: &NetworkError) -> bool {
    matches!(
        error,
        NetworkError::NotConnected { .. }
            | NetworkError::Request { .. }
            | NetworkError::Busy { .. }
            | NetworkError::Interrupted { .. }
            | NetworkError::Stopped
    )
}

struct Brought {
    salt: [u8; 32],
    root: Blake3Hash,
    cells: Result<Arc<[Blake3Hash]>, String>,
}

enum Trouble {
    Refusal(String),
    Network(NetworkError),
}

async fn bring(shared: &Shared, worker: NodeId, spec: &TaskSpec) -> Result<Brought, Trouble> {
    let context = &shared.context;
    let due = spec.delivery_bytes(&context.spec);
    let request = Request::Reveal {
        job: context.spec.id,
        task: spec.id,
    };
    let (salt, root) = match context.node.request(worker, request).await {
        Ok(Reply::Revealed { salt, root }) => (salt, root),
        Ok(Reply::Refused { reason }) => {
            let reason = printable(&format!("refused to reveal: {reason}"));
            return Err(Trouble::Refusal(reason));
        }
        Ok(_) => {
            let reason = "answered a reveal with something else";
            return Err(Trouble::Refusal(reason.into()));
        }
        Err(error) => return Err(Trouble::Network(error)),
    };
    shared.arriving.enter(root);
    if let Err(error) = context.node.fetch(worker, root, due, |_| {}).await {
        shared.arriving.leave(root);
        return Err(Trouble::Network(error));
    }
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.clone());
    let spec = spec.clone();
    let hashed = tokio::task::spawn_blocking(move || hash_cells(&blobs, root, due, &spec, &passes));
    let cells = hashed.await.unwrap_or_else(|e| Err(e.to_string()));
    Ok(Brought { salt, root, cells })
}

/// Checks that a delivery is finite pixels of the right shape and hashes its cells.
fn hash_cells(
    blobs: &BlobStore,
    root: Blake3Hash,
    due: u64,
    spec: &TaskSpec,
    passes: &[Pass],
) -> Result<Arc<[Blake3Hash]>, String> {
    let bytes = blobs.read(root, due).map_err(|e| e.to_string())?;
    if bytes.len() as u64 != due {
        return Err(format!(
            "{} bytes of pixels where {due} were due",
            bytes.len()
        ));
    }
    let mut rest = bytes.as_slice();
    for rect in &spec.rects {
        let length = pixels::canonical_length(&[*rect], passes.len()) as usize;
        let (part, after) = rest.split_at(length.min(rest.len()));
        RenderedRect::check_canonical(*rect, passes, part).map_err(|e| e.to_string())?;
        rest = after;
    }
    Ok(pixels::cell_hashes(&bytes, passes.len()).into())
}
