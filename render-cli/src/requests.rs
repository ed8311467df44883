//! What peers say to a requestor, and what it means to the coordinator.

use crate::{
    job::{Shared, spawn},
    jobs,
    thread::lock,
};
use engine::class_fingerprint;
use farm::event::Event;
use network::{NodeEvent, Replier};
use protocol::{
    Glm, NodeId, TaskSpec,
    message::{Reply, Request, Terms, bounded_text, printable},
};
use std::sync::Arc;
use verifier::Trust;

/// What a network event means to the coordinator, if anything.
pub fn translate(shared: &Arc<Shared>, event: NodeEvent) -> Option<Event> {
    match event {
        NodeEvent::Connected { peer, .. } => {
            shared.peers.come(peer);
            let shared = Arc::clone(shared);
            tokio::spawn(async move { offer(&shared, peer).await });
            None
        }
        NodeEvent::Disconnected { peer } => shared.peers.leave(peer),
        NodeEvent::Discovered { address, .. } => {
            let node = shared.context.node.clone();
            tokio::spawn(async move {
                if let Err(error) = node.dial(&address).await {
                    tracing::info!(address, %error, "a peer of this network is no worker");
                }
            });
            None
        }
        NodeEvent::Request {
            peer,
            request,
            reply,
        } => answer(shared, peer, request, reply),
    }
}

/// Offers the job to a peer; a quote makes it a worker.
async fn offer(shared: &Arc<Shared>, worker: NodeId) {
    let context = &shared.context;
    let admitted = match context.own_workers.contains(&worker) {
        true => Ok(None),
        false => context.providers.admit(worker, jobs::now()).await.map(Some),
    };
    let known = match admitted {
        Ok(known) => known,
        Err(reason) => {
            tracing::warn!(worker = %worker.short(), "{reason}");
            return;
        }
    };
    let terms = match context.own_workers.contains(&worker) {
        true => context.local_terms,
        false => context.terms,
    };
    let request = Request::Offer {
        job: Box::new(context.spec.clone()),
        payer: context.payer,
        terms,
    };
    match context.node.request(worker, request).await {
        Ok(Reply::Quote {
            price_megasample,
            payee,
            about,
            device,
            held,
            hold_s,
        }) => {
            tracing::info!(worker = %worker.short(), %price_megasample, about, device, "quote");
            let engine = context.spec.engine;
            let trust = known.map_or(Some(Trust::Own), |provider| {
                provider.level(engine, &device, jobs::now())
            });
            let Some(trust) = trust else { return };
            context.providers.quoted(worker, device);
            if terms == Terms::Free && price_megasample > Glm::ZERO {
                tracing::warn!(worker = %worker.short(), %price_megasample, "wants to be paid, in a job that nobody pays for");
                return;
            }
            let still_held: Vec<TaskSpec> = {
                let tasks = lock(&shared.tasks);
                held.iter()
                    .filter_map(|task| tasks.get(task).cloned())
                    .collect()
            };
            context
                .accounts
                .quoted(worker, payee, price_megasample, &still_held);
            let quoted = Event::Quoted {
                worker,
                trust,
                payee,
                price_megasample,
                held,
                hold_ms: u64::from(hold_s) * 1000,
            };
            shared.peers.enter(worker, quoted).await;
            shared.payments.remind(worker, payee);
            let job = context.spec.id;
            let segmented = match context.own_workers.contains(&worker) {
                true => Vec::new(),
                false => context.lists.get().await,
            };
            let prepare = Request::Prepare { job, segmented };
            shared.peers.send(worker, prepare);
        }
        Ok(Reply::Declined { reason } | Reply::Refused { reason }) => {
            tracing::warn!(worker = %worker.short(), reason, "declined the job");
        }
        Ok(_) => tracing::warn!(worker = %worker.short(), "answered an offer with something else"),
        Err(error) => tracing::warn!(worker = %worker.short(), %error, "no answer to the offer"),
    }
}

/// Answers a request at once and says what it means to the coordinator.
fn answer(shared: &Arc<Shared>, peer: NodeId, request: Request, reply: Replier) -> Option<Event> {
    let (job, event) = match request {
        Request::Ready {
            job,
            class,
            calibration,
            megasample_ms,
        } => (
            job,
            Event::Ready {
                worker: peer,
                class,
                is_comparable: class_fingerprint(&shared.context.engine_build, calibration)
                    == class,
                megasample_ms,
            },
        ),
        Request::Heartbeat { job, tasks } => (
            job,
            Event::Heartbeat {
                worker: peer,
                tasks,
            },
        ),
        Request::Failed { job, task, reason } => (
            job,
            Event::Failed {
                worker: peer,
                task,
                reason: printable(&reason),
            },
        ),
        Request::Commit {
            job,
            task,
            commitment,
            signature,
            render_ms,
        } => {
            let statement = verifier::commitment_statement(&job, task, &commitment);
            if !verifier::verify_signature(&peer, &statement, &signature) {
                reply.send(Reply::Refused {
                    reason: "the commitment's signature is wrong".into(),
                });
                return None;
            }
            (
                job,
                Event::Committed {
                    worker: peer,
                    task,
                    commitment,
                    signature,
                    render_ms,
                },
            )
        }
        _ => {
            reply.send(Reply::Refused {
                reason: "a requestor does not take this message".into(),
            });
            return None;
        }
    };
    let known = job == shared.context.spec.id && shared.peers.part(peer).is_some();
    match known {
        true => {
            reply.send(Reply::Done);
            match event {
                Event::Ready { .. } if shared.context.accounts.is_on_chain() => {
                    spawn(shared, move |shared| admit(shared, peer, event));
                    None
                }
                event => Some(event),
            }
        }
        false => {
            reply.send(Reply::Refused {
                reason: format!("no part in job {job}"),
            });
            None
        }
    }
}

/// Lets a worker that is ready take part once its escrow is open: it would not work without.
async fn admit(shared: Arc<Shared>, worker: NodeId, ready: Event) {
    let covered = shared.context.accounts.cover(worker, &[]).await;
    // Who has left meanwhile is ready again when he is back.
    if shared.peers.part(worker).is_none() {
        return;
    }
    let event = match covered {
        Ok(()) => ready,
        Err(reason) => Event::Failed {
            worker,
            task: None,
            reason: bounded_text(&reason),
        },
    };
    let _ = shared.events.send(event).await;
}
