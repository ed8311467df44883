//! Where the table of providers and a running job meet: faults go into it, and who is denied meanwhile goes out of the job.

use crate::{
    delivery,
    evidence::{self, Accusation},
    job::{JobContext, Shared},
    jobs,
};
use farm::event::{Effect, Event, Evidence};
use protocol::{Blake3Hash, NodeId, Rect, SecretPixels, message::Request};
use std::{path::PathBuf, sync::Arc, time::Duration};
use verifier::FaultKind;

/// Time for a worker to hear that the job is over for it, before its connection is cut.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Longest wait for the own engine to render what is to be evidence.
const OWN_WAIT: Duration = Duration::from_secs(30);

/// Providers that were caught are to stay caught, whatever becomes of this process: what they did goes into the table, and
/// evidence of it to a file. Waits until both are on disk.
pub async fn remember_faults(shared: &Arc<Shared>, effects: &[Effect]) {
    let mut convicted = Vec::new();
    for (worker, kind, evidence) in effects.iter().filter_map(conviction) {
        let disputed = disputed(shared, worker, &evidence).await;
        convicted.push((worker, kind, evidence, disputed));
    }
    if convicted.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    let remembering = tokio::task::spawn_blocking(move || {
        for (worker, kind, evidence, disputed) in convicted {
            remember_fault(&shared, worker, kind, &evidence, disputed);
        }
    });
    if let Err(error) = remembering.await {
        tracing::warn!(%error, "what providers were caught at is not on disk");
    }
}

/// A cell that somebody has wrong, and what it is by the own engine.
struct Disputed {
    cell: Rect,
    own: Option<Blake3Hash>,
}

/// The cell that can be shown to others. Where secret pixels were disputed, what was said of them proves nothing about a
/// whole cell: then the own engine renders that one, as whoever is to be convinced will.
async fn disputed(shared: &Arc<Shared>, worker: NodeId, evidence: &Evidence) -> Option<Disputed> {
    let Some(secret) = evidence.pixels else {
        let (cell, own) = (evidence.cell?, evidence.own);
        return Some(Disputed { cell, own });
    };
    let cell = match evidence.cell {
        Some(cell) => cell,
        None => wrong_cell(shared, worker, evidence, secret).await?,
    };
    let rendered = own_delivery(shared, evidence, cell, None).await;
    let own = rendered.map(|bytes| Blake3Hash::of(&bytes));
    Some(Disputed { cell, own })
}

/// Where the own engine alone found secret pixels of a tile wrong: the first cell of which one is.
async fn wrong_cell(
    shared: &Arc<Shared>,
    worker: NodeId,
    evidence: &Evidence,
    secret: SecretPixels,
) -> Option<Rect> {
    let tile = *evidence.rects.first()?;
    let said = evidence
        .statements
        .iter()
        .find(|said| said.worker == worker);
    let root = said?.testimony.as_ref()?.root;
    let own = own_delivery(shared, evidence, tile, Some(secret)).await?;
    delivery::first_wrong_cell(&shared.context, tile, secret, root, own).await
}

/// What the own engine delivers of a rectangle, or of secret pixels of it.
async fn own_delivery(
    shared: &Arc<Shared>,
    evidence: &Evidence,
    rect: Rect,
    secret: Option<SecretPixels>,
) -> Option<Vec<u8>> {
    let (part, class) = ((evidence.frame, evidence.samples), evidence.class);
    let asked = shared
        .context
        .own_engine
        .delivery(part, vec![rect], secret, class);
    tokio::time::timeout(OWN_WAIT, asked).await.ok()?.ok()
}

fn conviction(effect: &Effect) -> Option<(NodeId, FaultKind, Box<Evidence>)> {
    match effect {
        Effect::Quarantine {
            worker,
            fault,
            evidence,
        } => Some((*worker, *fault, evidence.clone())),
        Effect::Fault { worker, evidence } => Some((*worker, FaultKind::Flaky, evidence.clone())),
        _ => None,
    }
}

fn remember_fault(
    shared: &Shared,
    worker: NodeId,
    kind: FaultKind,
    evidence: &Evidence,
    disputed: Option<Disputed>,
) {
    let context = &shared.context;
    let bundle = match keep_bundle(context, worker, evidence, disputed) {
        Ok(bundle) => bundle,
        Err(error) => {
            tracing::warn!(worker = %worker.short(), error, "evidence of its fault is not on disk");
            None
        }
    };
    let (job, text, now) = (context.spec.id, evidence.to_string(), jobs::now());
    if let Err(error) = context
        .providers
        .caught(worker, kind, job, &text, bundle, now)
    {
        tracing::warn!(%error, "what a provider was caught at is not on disk");
    }
}

/// Keeps what convinces others, if all that it takes is still remembered: one cell, what was signed about it, and somebody
/// who says something else.
fn keep_bundle(
    context: &JobContext,
    worker: NodeId,
    evidence: &Evidence,
    disputed: Option<Disputed>,
) -> Result<Option<PathBuf>, String> {
    let Some(Disputed {
        cell,
        own: own_value,
    }) = disputed
    else {
        return Ok(None);
    };
    let said = evidence.statements.iter();
    let testimonies: Vec<_> = said.filter_map(|said| said.testimony.clone()).collect();
    let is_contradicted = own_value.is_some() || testimonies.len() > 1;
    if !is_contradicted || !testimonies.iter().any(|said| said.worker == worker) {
        return Ok(None);
    }
    let accusation = Accusation {
        frame: evidence.frame,
        samples: evidence.samples,
        cell,
        class: evidence.class,
        engine_build: context.engine_build.clone(),
        wrong: vec![worker],
        own_value,
        text: evidence.to_string(),
    };
    let bundle = evidence::assemble(&context.blobs, &context.spec, accusation, testimonies)?;
    let kept = evidence::keep(&context.data_dir, &bundle);
    kept.map(Some).map_err(|e| e.to_string())
}

/// Workers that the user has denied meanwhile take no part any more.
pub async fn drop_denied(shared: &Arc<Shared>) {
    let providers = Arc::clone(&shared.context.providers);
    let denied = match tokio::task::spawn_blocking(move || providers.denied()).await {
        Ok(Ok(denied)) if denied.is_empty() => return,
        Ok(Ok(denied)) => denied,
        Ok(Err(error)) => return tracing::warn!(%error, "who is denied cannot be read"),
        Err(error) => return tracing::warn!(%error, "who is denied cannot be read"),
    };
    let job = shared.context.spec.id;
    for &worker in &denied {
        tracing::warn!(worker = %worker.short(), "is denied: it is dropped from the job");
        let failed = Event::Failed {
            worker,
            task: None,
            reason: "the user denied it".into(),
        };
        // Fails only when the job is over.
        let _ = shared.events.send(failed).await;
        shared.peers.send(worker, Request::Close { job });
    }
    tokio::time::sleep(LAST_WORD).await;
    for worker in denied {
        shared.context.node.block(worker);
    }
}
