//! What the benches share: a landscape with rays to trace, and a coordinator among fake workers.

pub mod coordinator;
pub mod landscape;
