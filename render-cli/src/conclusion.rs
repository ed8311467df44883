//! How a job ended: its name for programs; exit code, message and hint for people.

use crate::failure::{Code, Failure};
use farm::event::Outcome;
use protocol::{Glm, JobId, frames::summarize};
use std::time::Duration;

/// The outcome's name in JSON.
pub fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::FramesFailed { .. } => "frames_failed",
        Outcome::BudgetSpent { .. } => "budget_spent",
        Outcome::DeadlinePassed { .. } => "deadline_passed",
        Outcome::Unverified { .. } => "unverified",
        Outcome::NoProviders => "no_providers",
        Outcome::Stopped => "stopped",
    }
}

/// An outcome as the shell hears it. `balance` and `budget` are what the run began with.
pub fn conclude(
    outcome: Outcome,
    job: JobId,
    balance: Glm,
    budget: Option<Glm>,
) -> Result<(), Failure> {
    let resume = format!("`render resume {}` goes on with it", job.short());
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::FramesFailed { frames } => {
            let list: Vec<i32> = frames.iter().map(|(frame, _)| *frame).collect();
            let first = frames
                .first()
                .map(|(_, reason)| reason.as_str())
                .unwrap_or_default();
            let message = format!("frames {} failed: {first}", summarize(&list));
            Err(Failure::new(Code::FramesFailed, message)
                .hint(format!("`render resume {}` tries them again", job.short())))
        }
        Outcome::BudgetSpent { missing } => {
            let what = match budget {
                Some(budget) if budget <= balance => format!("the budget of {budget} GLM"),
                _ => format!("the account's {balance} GLM"),
            };
            let message = format!(
                "{what} does not cover the rest, about {missing} GLM; what is done is kept and paid"
            );
            Err(Failure::new(Code::Budget, message).hint(format!(
                "raise --budget and resume: `render resume {} --budget GLM`",
                job.short()
            )))
        }
        Outcome::DeadlinePassed {
            missing,
            missing_ms,
        } => {
            let seconds = Duration::from_secs(missing_ms.div_ceil(1000));
            let time = humantime::format_duration(seconds);
            let message = format!(
                "the deadline leaves no time for the rest, about {time} and {missing} GLM; what is done is kept and paid"
            );
            Err(Failure::new(Code::Budget, message).hint(format!(
                "give it more time: `render resume {} --deadline DURATION`",
                job.short()
            )))
        }
        Outcome::Unverified { reason } => Err(Failure::new(Code::Unverified, reason)),
        Outcome::NoProviders => Err(Failure::new(
            Code::NoProviders,
            "no provider works on this job",
        )
        .hint("start one with `render-worker`, or use --local N")),
        Outcome::Stopped => {
            Err(Failure::new(Code::Interrupted, "stopped; what is done is kept").hint(resume))
        }
    }
}
