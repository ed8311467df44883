//! The end of a job on the money's side: workers agree that their escrows end, what was promised is paid, the rest comes back.

use crate::{job::Shared, report::Report};
use payment::{Ending, Settled};
use protocol::{
    Address, Glm, NodeId,
    message::{Reply, Request, printable},
};
use std::{sync::Arc, time::Duration};

/// Between two times that a worker is asked: its last verdicts and voucher are on their way.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is asked.
const ATTEMPTS: u32 = 10;

/// Settles with all whom the job has paid.
pub async fn settle(shared: &Arc<Shared>, report: &Report) {
    let accounts = &shared.context.accounts;
    let mut payees = shared.payments.payees();
    if accounts.is_on_chain() {
        // Those too that had nothing to do.
        payees = accounts.covered();
    }
    let all = payees.iter().map(|(payee, _)| *payee).collect();
    let endings = accounts.endings(all).await.unwrap_or_else(|error| {
        tracing::warn!(error, "no worker is asked to let its escrow end");
        Vec::new()
    });
    if !endings.is_empty() {
        report.say(&format!("settling {} escrows", endings.len()));
    }
    let mut asking = tokio::task::JoinSet::new();
    for (payee, workers) in payees.clone() {
        let ending = endings.iter().find(|ending| ending.key.worker == payee);
        if let Some(ending) = ending.copied() {
            let shared = Arc::clone(shared);
            asking.spawn(async move { ask(&shared, &workers, ending).await });
        }
    }
    asking.join_all().await;
    let payees = payees.into_iter().map(|(payee, _)| payee).collect();
    match accounts.settle(payees).await {
        Ok(settled) => tell(report, &settled),
        Err(error) => {
            tracing::error!(error, "settling failed; it is tried again in the next run");
        }
    }
}

/// Asks the workers of an account for its release, and keeps it; one that is away or has reason not to gives none.
async fn ask(shared: &Shared, workers: &[NodeId], ending: Ending) {
    let job = shared.context.spec.id;
    let request = Request::Release {
        job,
        epoch: ending.key.epoch,
        cumulative: ending.promised,
    };
    for worker in workers {
        for _ in 0..ATTEMPTS {
            if shared.peers.part(*worker).is_none() {
                break;
            }
            match shared.context.node.request(*worker, request.clone()).await {
                Ok(Reply::Released(signed)) if signed.release.worker == ending.key.worker => {
                    if let Err(error) = shared.context.accounts.keep_release(*signed).await {
                        tracing::error!(error, "a release is not on disk");
                    }
                    return;
                }
                Ok(Reply::Refused { reason }) => {
                    let reason = printable(&reason);
                    tracing::info!(worker = %worker.short(), reason, "no release yet");
                }
                Ok(_) => break,
                Err(error) => tracing::debug!(worker = %worker.short(), %error, "no answer"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn tell(report: &Report, settled: &[(Address, Settled)]) {
    if settled.is_empty() {
        return;
    }
    let (mut paid, mut returned, mut carried, mut left) = (0u128, 0u128, 0u128, 0u128);
    for (payee, settled) in settled {
        let (name, amounts) = match settled {
            Settled::Closed { paid, returned } => {
                ("closed", [*paid, *returned, Glm::ZERO, Glm::ZERO])
            }
            Settled::Paid { paid, left } => ("paid", [*paid, Glm::ZERO, Glm::ZERO, *left]),
            Settled::Carried { promised, left } => {
                ("carried", [Glm::ZERO, Glm::ZERO, *promised, *left])
            }
        };
        paid += amounts[0].wei();
        returned += amounts[1].wei();
        carried += amounts[2].wei();
        left += amounts[3].wei();
        report.data(&serde_json::json!({
            "event": "settled", "payee": payee.to_string(), "escrow": name,
            "paid": amounts[0].to_string(), "returned": amounts[1].to_string(),
            "carried": amounts[2].to_string(), "left": amounts[3].to_string(),
        }));
    }
    let [paid, returned, carried, left] = [paid, returned, carried, left].map(Glm::from_wei);
    report.say(&format!(
        "settled  {} escrows: {paid} GLM paid, {returned} GLM returned",
        settled.len()
    ));
    if carried > Glm::ZERO || left > Glm::ZERO {
        report.say(&format!(
            "carried  {carried} GLM promised and {left} GLM left in open escrows: too little for its fee, or without a release; \
             see `render payments`"
        ));
    }
}
