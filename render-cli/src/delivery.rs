//! Brings committed pixels here and hashes their cells.

use crate::{
    job::{JobContext, Shared},
    thread::lock,
};
use farm::event::{Difference, Due, Event};
use network::{BlobStore, NetworkError};
use protocol::{
    Blake3Hash, NodeId, Pass, Rect, RenderedRect, SecretPixels, TaskId, TaskSpec,
    limits::TASK_BYTES_MAX,
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
/// `due` says whose hashes are wanted.
pub async fn fetch(shared: &Arc<Shared>, worker: NodeId, task: TaskId, due: Due) -> Option<Event> {
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

/// The hashes that are due, and what the pixels look like.
type Seen = (Arc<[Blake3Hash]>, Looks);

enum Trouble {
    Refusal(String),
    Network(NetworkError),
}

async fn bring(
    shared: &Shared,
    worker: NodeId,
    spec: &TaskSpec,
    due: &Due,
) -> Result<Brought, Trouble> {
    let context = &shared.context;
    let bytes = spec.delivery_bytes(&context.spec);
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
    if let Err(error) = context.node.fetch(worker, root, bytes, |_| {}).await {
        shared.arriving.leave(root);
        return Err(Trouble::Network(error));
    }
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.clone());
    let (spec, due) = (spec.clone(), due.clone());
    let looking = tokio::task::spawn_blocking(move || look(&blobs, root, &spec, &passes, &due));
    let seen = looking.await.unwrap_or_else(|e| Err(e.to_string()));
    Ok(Brought { salt, root, seen })
}

/// Checks that a delivery is finite pixels of the right shape, and hashes what is due.
pub fn look(
    blobs: &BlobStore,
    root: Blake3Hash,
    spec: &TaskSpec,
    passes: &[Pass],
    due: &Due,
) -> Result<Seen, String> {
    let rects = spec.delivered();
    let length = pixels::canonical_length(&rects, passes.len());
    let bytes = blobs.read(root, length).map_err(|e| e.to_string())?;
    if bytes.len() as u64 != length {
        return Err(format!(
            "{} bytes of pixels where {length} were due",
            bytes.len()
        ));
    }
    let mut rest = bytes.as_slice();
    for rect in rects.iter() {
        let length = pixels::canonical_length(&[*rect], passes.len()) as usize;
        let (part, after) = rest.split_at(length.min(rest.len()));
        RenderedRect::check_canonical(*rect, passes, part).map_err(|e| e.to_string())?;
        rest = after;
    }
    if spec.pixels.is_some() {
        let hashes = pixels::cell_hashes(&bytes, passes.len());
        return Ok((hashes.into(), Looks::Ordinary));
    }
    let hashes = hashes_due(&spec.rects, passes.len(), &bytes, due);
    let hashes = hashes.ok_or("what is to be checked lies outside the task")?;
    let first = rects.first().map_or(0, |rect| {
        pixels::canonical_length(&[*rect], passes.len()) as usize
    });
    Ok((hashes.into(), Looks::of(&bytes[..first], passes.len())))
}

/// The hashes of packed secret pixels of the first rectangle, then of cells; none when they are not there.
fn hashes_due(rects: &[Rect], passes: usize, bytes: &[u8], due: &Due) -> Option<Vec<Blake3Hash>> {
    let mut hashes = Vec::new();
    for pixels in &due.pixels {
        let packed = pixels.extract(rects.first()?, passes, bytes)?;
        hashes.extend(pixels::cell_hashes(&packed, passes));
    }
    let places = verifier::cells::places(rects, &due.cells)?;
    hashes.extend(pixels::cell_hashes_at(bytes, passes, &places)?);
    Some(hashes)
}

/// Where two deliveries of the same rectangles differ, or a tile and `secret` pixels of it.
pub async fn compare(
    context: &JobContext,
    rects: Vec<Rect>,
    secret: Option<SecretPixels>,
    left: Blake3Hash,
    right: Blake3Hash,
) -> Result<Option<Difference>, String> {
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.len());
    let comparing = tokio::task::spawn_blocking(move || {
        let read = |root| blobs.read(root, TASK_BYTES_MAX);
        let (left, right) = (read(left)?, read(right)?);
        Ok::<_, network::StoreError>(match (secret, rects.first()) {
            (Some(secret), Some(tile)) => pixel_difference(&secret, tile, passes, &left, &right),
            _ => difference(&rects, passes, &left, &right),
        })
    });
    let compared = comparing.await.map_err(|e| e.to_string())?;
    compared.map_err(|e| e.to_string())
}

/// The first cell of a delivered tile of which a secret pixel differs from what the own engine rendered of them.
pub async fn first_wrong_cell(
    context: &JobContext,
    tile: Rect,
    secret: SecretPixels,
    root: Blake3Hash,
    own: Vec<u8>,
) -> Option<Rect> {
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.len());
    let comparing = tokio::task::spawn_blocking(move || {
        let delivered = blobs.read(root, TASK_BYTES_MAX).ok()?;
        pixel_difference(&secret, &tile, passes, &delivered, &own)
    });
    comparing.await.ok()?.map(|found| found.rect)
}

fn difference(rects: &[Rect], passes: usize, left: &[u8], right: &[u8]) -> Option<Difference> {
    let length = passes.max(1) * pixels::CELL_PASS_BYTES;
    let cells = rects.iter().flat_map(Rect::cells).map(|(_, rect)| rect);
    let pairs = left.chunks(length).zip(right.chunks(length));
    let mut differing = cells.zip(pairs).filter(|(_, (left, right))| left != right);
    let (rect, (left, right)) = differing.next()?;
    Some(Difference {
        rect,
        packed: None,
        left: Blake3Hash::of(left),
        right: Blake3Hash::of(right),
        cells: 1 + differing.count() as u32,
    })
}

fn pixel_difference(
    secret: &SecretPixels,
    tile: &Rect,
    passes: usize,
    left: &[u8],
    right: &[u8],
) -> Option<Difference> {
    let left = secret.extract(tile, passes, left)?;
    let found = secret.difference(tile, passes, &left, right)?;
    let place = (found.packed - secret.packed.unwrap_or(0)) as usize;
    let hash = |bytes: &[u8]| pixels::cell_hashes(bytes, passes).get(place).copied();
    Some(Difference {
        rect: found.cell,
        packed: Some(found.packed),
        left: hash(&left)?,
        right: hash(right)?,
        cells: found.cells,
    })
}
