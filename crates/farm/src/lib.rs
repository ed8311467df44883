//! The coordinator of one job as a pure state machine: plan, lease, verify, pay.
//!
//! [`Farm::handle`] takes an [`event::Event`] with the time it happened and returns [`event::Effect`]s for the
//! program around it to carry out. No I/O, no clock, no random source in here: the same events give the same
//! effects, so production and simulator run the same code.

pub mod event;
