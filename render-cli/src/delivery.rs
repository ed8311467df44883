//! Brings committed pixels here and hashes their cells.

use crate::job::{Shared, lock};
use farm::event::Event;
use network::BlobStore;
use protocol::{
    Blake3Hash, NodeId, Pass, RenderedRect, TaskId, TaskSpec,
    message::{Reply, Request, printable},
    pixels,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

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

/// Opens a commitment and brings its pixels here.
pub async fn fetch(shared: &Arc<Shared>, worker: NodeId, task: TaskId) -> Event {
    let failed = |reason: String| Event::Failed {
        worker,
        task: Some(task),
        reason,
    };
    let Ok(_permit) = shared.deliveries.acquire().await else {
        return failed("stopping".into());
    };
    let context = &shared.context;
    let Some(spec) = lock(&shared.tasks).get(&task).cloned() else {
        return failed("the task is no longer wanted".into());
    };
    let due = spec.delivery_bytes(&context.spec);
    let request = Request::Reveal {
        job: context.spec.id,
        task,
    };
    let (salt, root) = match context.node.request(worker, request).await {
        Ok(Reply::Revealed { salt, root }) => (salt, root),
        Ok(Reply::Refused { reason }) => {
            return failed(printable(&format!("refused to reveal: {reason}")));
        }
        Ok(_) => return failed("answered a reveal with something else".into()),
        Err(error) => return failed(error.to_string()),
    };
    shared.arriving.enter(root);
    if let Err(error) = context.node.fetch(worker, root, due, |_| {}).await {
        shared.arriving.leave(root);
        return failed(error.to_string());
    }
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.clone());
    let hashed = tokio::task::spawn_blocking(move || hash_cells(&blobs, root, due, &spec, &passes));
    let cells = hashed.await.unwrap_or_else(|e| Err(e.to_string()));
    Event::Delivered {
        worker,
        task,
        salt,
        root,
        cells,
    }
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
        RenderedRect::from_canonical(*rect, passes, part).map_err(|e| e.to_string())?;
        rest = after;
    }
    Ok(pixels::cell_hashes(&bytes, passes.len()).into())
}
