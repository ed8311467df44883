//! A provider: takes jobs of requestors, renders their tiles in a confined process and keeps what it is promised.
//!
//! [`serve`] is the whole provider with its engine left open; [`main`] is the command line around it. [`wallet`] serves requestors
//! too.

mod arguments;
mod blender_release;
mod bookkeeper;
mod bundle;
mod chain;
pub mod check_evidence;
mod config;
mod dialling;
mod early_engine;
mod earnings;
mod engine_process;
mod escrows;
mod job;
mod limits;
mod main_command;
pub mod money;
mod postman;
mod redeem;
mod renderer;
mod reports;
mod scenes;
mod size;
mod tiles;
pub mod wallet;
mod worker;

pub use chain::Chain;
pub use config::{Started, WorkerConfig, WorkerError};
pub use main_command::main;
pub use worker::serve;
