//! A gate that honest workers wait at until every cheat has shown what it does, so that no test depends on who is faster.

use engine::{CancelFlag, EngineError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// Then a test fails with what it found rather than hang.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// How often a waiting engine looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Clones share it.
#[derive(Clone)]
pub struct Gate(Arc<(Mutex<BTreeMap<String, usize>>, Condvar)>);

impl Gate {
    /// A gate that opens when all these have passed so many times.
    pub fn new(expected: impl IntoIterator<Item = String>, times: usize) -> Self {
        let expected = expected.into_iter().map(|name| (name, times));
        Self(Arc::new((Mutex::new(expected.collect()), Condvar::new())))
    }

    /// This one has shown what it does.
    pub fn pass(&self, name: &str) {
        let (missing, changed) = &*self.0;
        let mut missing = missing.lock().unwrap();
        if let Some(times) = missing.get_mut(name) {
            *times -= 1;
            if *times == 0 {
                missing.remove(name);
                changed.notify_all();
            }
        }
    }

    /// Waits until all have passed.
    pub fn wait(&self, cancel: &CancelFlag) -> Result<(), EngineError> {
        let (missing, changed) = &*self.0;
        let begun = Instant::now();
        let mut left = missing.lock().unwrap();
        while !left.is_empty() && begun.elapsed() < WAIT_MAX {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            left = changed.wait_timeout(left, GLANCE).unwrap().0;
        }
        Ok(())
    }
}
