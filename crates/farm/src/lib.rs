//! The coordinator of one job as a pure state machine: plan, lease, verify, pay.
//!
//! [`Farm::handle`] takes an [`event::Event`] with the time it happened and returns [`event::Effect`]s for the
//! program around it to carry out. No I/O, no clock, no random source in here: the same events give the same
//! effects, so production and simulator run the same code.
//!
//! Life of a tile: pending, leased, committed, delivered (the commitment is opened and the pixels are here), checked
//! (cell count, commitment, overlap with neighbours, secret probes rendered by other workers, some tiles whole), accepted,
//! and once all tiles of its frame are, written. It is final when it is paid: after some more tiles of its worker, or at
//! the job's end. Where checks disagree, arbitration finds who is wrong; that worker is
//! quarantined and everything it delivered or vouched for is checked or rendered again.
//!
//! | module | holds |
//! |---|---|
//! | [`mod@plan`] | how frames are divided |
//! | `coordinator` | the state and the reaction to each event |
//! | `leasing` | who gets what next |
//! | `newcomers` | what keys that nobody knows may have |
//! | `runs` | how much at once, and how long it will take |
//! | `samples` | the ranges that a frame's samples are divided into |
//! | `stragglers` | copies of late tiles |
//! | `arrivals`, `losses` | workers that come, tasks that fail or are lost |
//! | `absence` | workers whose connection breaks, and those that come back |
//! | `deadlines` | silence, lateness, rest |
//! | `class` | which determinism classes work on the job |
//! | `across` | tiles of other classes than the own engine's, judged by their noise |
//! | `checking`, `dealing`, `probing`, `arbitration`, `quarantine`, `audits` | the checks and what follows from them |
//! | `pay` | what is held back and paid |
//! | `completion` | writing and sealing frames, ending the job |
//! | `lookup` | maps whose order is never seen |
//! | [`progress`] | what a person sees |
//!
//! Known limits: only one determinism class works at a time, unless the user mixes them; workers of others wait.

mod absence;
mod across;
mod arbitration;
mod arrivals;
mod audits;
mod checking;
mod class;
mod completion;
mod coordinator;
mod deadlines;
mod dealing;
pub mod event;
mod frame;
pub mod journal;
mod leasing;
mod ledger;
pub mod limits;
mod lookup;
mod losses;
mod newcomers;
mod pay;
pub mod plan;
mod probing;
pub mod progress;
mod quarantine;
mod resume;
mod runs;
mod samples;
mod stragglers;
mod worker;

pub use coordinator::{Farm, FarmConfig, FarmError};
pub use plan::{CostHints, Plan, PlanRequest, plan};
pub use progress::{Checks, Copies, Progress, WorkerRow, WorkerState};
