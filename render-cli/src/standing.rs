//! Where the table of providers and a running job meet: faults go into it, and who is denied meanwhile goes out of the job.

use crate::{
    evidence::{self, Accusation},
    job::{JobContext, Shared},
    jobs,
};
use farm::event::{Effect, Event, Evidence};
use protocol::{NodeId, message::Request};
use std::{path::PathBuf, sync::Arc, time::Duration};
use verifier::FaultKind;

/// Time for a worker to hear that the job is over for it, before its connection is cut.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Providers that were caught are to stay caught, whatever becomes of this process: what they did goes into the table, and
/// evidence of it to a file. Waits until both are on disk.
pub async fn remember_faults(shared: &Arc<Shared>, effects: &[Effect]) {
    let convicted: Vec<_> = effects.iter().filter_map(conviction).collect();
    if convicted.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    let remembering = tokio::task::spawn_blocking(move || {
        for (worker, kind, evidence) in convicted {
            remember_fault(&shared, worker, kind, &evidence);
        }
    });
    if let Err(error) = remembering.await {
        tracing::warn!(%error, "what providers were caught at is not on disk");
    }
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

fn remember_fault(shared: &Shared, worker: NodeId, kind: FaultKind, evidence: &Evidence) {
    let context = &shared.context;
    let bundle = match keep_bundle(context, worker, evidence) {
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

/// Keeps what convinces others, if all that it takes is still remembered: one cell, and what was signed about it.
fn keep_bundle(
    context: &JobContext,
    worker: NodeId,
    evidence: &Evidence,
) -> Result<Option<PathBuf>, String> {
    let [cell] = evidence.rects.as_slice() else {
        return Ok(None);
    };
    let said = evidence.statements.iter();
    let testimonies: Vec<_> = said.filter_map(|said| said.testimony.clone()).collect();
    if !testimonies.iter().any(|said| said.worker == worker) {
        return Ok(None);
    }
    let accusation = Accusation {
        frame: evidence.frame,
        cell: *cell,
        class: evidence.class,
        engine_build: context.engine_build.clone(),
        wrong: vec![worker],
        own_value: evidence.own,
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
