//! Brings committed pixels here and hashes their cells.

use crate::{
    job::{JobContext, Shared},
    thread::lock,
};
use farm::event::{Difference, Event};
use network::{BlobStore, NetworkError};
use protocol::{
    Blake3Hash, NodeId, Pass, Rect, RenderedRect, TaskId, TaskSpec,
    message::{Reply, Request, printable},
    pixels::{self, Looks},
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
/// `due` are the cells whose hashes are wanted.
pub async fn fetch(
    shared: &Arc<Shared>,
    worker: NodeId,
    task: TaskId,
    due: Vec<Rect>,
) -> Option<Event> {
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
        let error = match bring(shared, worker, &spec, &due).await {
            Ok(Brought { salt, root, seen }) => {
                let looks = seen.as_ref().map_or(Looks::Ordinary, |(_, looks)| *looks);
                return Some(Event::Delivered {
                    worker,
                    task,
                    salt,
                    root,
                    cells: seen.map(|(cells, _)| cells),
                    looks,
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
    seen: Result<Seen, String>,
}

/// Hashes of the cells that are due, and what the pixels look like.
type Seen = (Arc<[Blake3Hash]>, Looks);

enum Trouble {
    Refusal(String),
    Network(NetworkError),
}

async fn bring(
    shared: &Shared,
    worker: NodeId,
    spec: &TaskSpec,
    cells: &[Rect],
) -> Result<Brought, Trouble> {
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
    let (rects, cells) = (spec.rects.clone(), cells.to_vec());
    let looking = tokio::task::spawn_blocking(move || look(&blobs, root, &rects, &passes, &cells));
    let seen = looking.await.unwrap_or_else(|e| Err(e.to_string()));
    Ok(Brought { salt, root, seen })
}

/// Checks that a delivery is finite pixels of the right shape, and hashes the cells that are due.
pub fn look(
    blobs: &BlobStore,
    root: Blake3Hash,
    rects: &[Rect],
    passes: &[Pass],
    cells: &[Rect],
) -> Result<Seen, String> {
    let due = pixels::canonical_length(rects, passes.len());
    let bytes = blobs.read(root, due).map_err(|e| e.to_string())?;
    if bytes.len() as u64 != due {
        return Err(format!(
            "{} bytes of pixels where {due} were due",
            bytes.len()
        ));
    }
    let mut rest = bytes.as_slice();
    for rect in rects {
        let length = pixels::canonical_length(&[*rect], passes.len()) as usize;
        let (part, after) = rest.split_at(length.min(rest.len()));
        RenderedRect::check_canonical(*rect, passes, part).map_err(|e| e.to_string())?;
        rest = after;
    }
    let places = verifier::cells::places(rects, cells);
    let hashes = places.and_then(|places| pixels::cell_hashes_at(&bytes, passes.len(), &places));
    let hashes = hashes.ok_or("a cell that is to be checked lies outside the task")?;
    let first = rects.first().map_or(0, |rect| {
        pixels::canonical_length(&[*rect], passes.len()) as usize
    });
    Ok((hashes.into(), Looks::of(&bytes[..first], passes.len())))
}

/// Where two deliveries of the same rectangles differ.
pub async fn compare(
    context: &JobContext,
    rects: Vec<Rect>,
    left: Blake3Hash,
    right: Blake3Hash,
) -> Result<Option<Difference>, String> {
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.len());
    let comparing = tokio::task::spawn_blocking(move || {
        let read = |root| blobs.read(root, pixels::canonical_length(&rects, passes));
        let (left, right) = (read(left)?, read(right)?);
        Ok::<_, network::StoreError>(difference(&rects, passes, &left, &right))
    });
    let compared = comparing.await.map_err(|e| e.to_string())?;
    compared.map_err(|e| e.to_string())
}

fn difference(rects: &[Rect], passes: usize, left: &[u8], right: &[u8]) -> Option<Difference> {
    let length = passes.max(1) * pixels::CELL_PASS_BYTES;
    let cells = rects.iter().flat_map(Rect::cells).map(|(_, rect)| rect);
    let pairs = left.chunks(length).zip(right.chunks(length));
    let mut differing = cells.zip(pairs).filter(|(_, (left, right))| left != right);
    let (rect, (left, right)) = differing.next()?;
    Some(Difference {
        rect,
        left: Blake3Hash::of(left),
        right: Blake3Hash::of(right),
        cells: 1 + differing.count() as u32,
    })
}
