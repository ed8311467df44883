//! Questions to a thread that works alone: one bounded queue, one answer each. And locks between threads.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use tokio::sync::oneshot;

/// Takes the answer to one question.
pub type Answer<T> = oneshot::Sender<Result<T, String>>;

/// Asks the thread called `who` and waits for its answer; a full queue is an error at once.
pub async fn ask<C, T>(
    thread: &mpsc::SyncSender<C>,
    who: &str,
    command: impl FnOnce(Answer<T>) -> C,
) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    thread
        .try_send(command(answer))
        .map_err(|_| format!("{who} is too busy"))?;
    answered.await.map_err(|_| format!("{who} stopped"))?
}

/// Locks even what a thread held that panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
