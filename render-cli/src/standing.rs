//! Where the table of providers and a running job meet: faults go into it, and who is denied meanwhile goes out of the job.

use crate::{job::Shared, jobs};
use farm::event::Event;
use protocol::{NodeId, message::Request};
use std::{sync::Arc, time::Duration};
use verifier::FaultKind;

/// Time for a worker to hear that the job is over for it, before its connection is cut.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A provider that was caught is to stay caught, whatever becomes of this process.
pub fn remember_fault(shared: &Arc<Shared>, worker: NodeId, kind: FaultKind, evidence: String) {
    let (providers, job) = (
        Arc::clone(&shared.context.providers),
        shared.context.spec.id,
    );
    tokio::task::spawn_blocking(move || {
        let caught = providers.caught(worker, kind, job, &evidence, jobs::now());
        if let Err(error) = caught {
            tracing::warn!(%error, "what a provider was caught at is not on disk");
        }
    });
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
