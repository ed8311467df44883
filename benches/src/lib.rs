//! What the benches share: how they sample, a landscape with rays to trace, and a coordinator among fake workers.

pub mod coordinator;
pub mod landscape;

use criterion::Criterion;
use std::time::Duration;

/// Ten samples of about so many seconds together: what is measured here takes long.
pub fn samples_of(seconds: u64) -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(seconds))
}
