//! The lists of a bundle's large files, made while the job begins: workers that have earlier versions of these files get
//! only what changed.

use network::{Access, BlobStore};
use protocol::{Blake3Hash, Segmented};
use std::{sync::Arc, thread, time::Duration};
use tokio::sync::watch;

/// Longest that a worker waits for lists. It gets those that are there; other files are sent whole.
const WAIT: Duration = Duration::from_secs(20);

/// Lists that are there or being made; clones share them.
#[derive(Debug, Clone)]
pub struct Lists(watch::Receiver<Made>);

#[derive(Debug, Default)]
struct Made {
    lists: Vec<Segmented>,
    /// Are no more to come?
    is_all: bool,
}

impl Lists {
    /// No lists: for workers of this computer, who share the files.
    pub fn none() -> Self {
        let is_all = true;
        Self(
            watch::channel(Made {
                is_all,
                lists: Vec::new(),
            })
            .1,
        )
    }

    /// Starts to cut these files, one after the other.
    pub fn start(blobs: BlobStore, files: Vec<Blake3Hash>) -> Self {
        let (sender, receiver) = watch::channel(Made::default());
        let sender = Arc::new(sender);
        let cutting = Arc::clone(&sender);
        let started = thread::Builder::new()
            .name("segments".into())
            .spawn(move || {
                for file in files {
                    if cutting.is_closed() {
                        return;
                    }
                    let Some(list) = list_of(&blobs, file) else {
                        continue;
                    };
                    cutting.send_modify(|made| made.lists.push(list));
                }
                cutting.send_modify(|made| made.is_all = true);
            });
        if let Err(error) = started {
            tracing::warn!(%error, "files are sent whole");
            sender.send_modify(|made| made.is_all = true);
        }
        Self(receiver)
    }

    /// All lists, or those that are made in time.
    pub async fn get(&self) -> Vec<Segmented> {
        let mut made = self.0.clone();
        // Fails when the thread has ended early: then no more are made.
        let _ = tokio::time::timeout(WAIT, made.wait_for(|made| made.is_all)).await;
        let made = made.borrow();
        made.lists.clone()
    }
}

fn list_of(blobs: &BlobStore, file: Blake3Hash) -> Option<Segmented> {
    match blobs.segment(file) {
        Ok(list) => list.inspect(|list| blobs.allow(list.list, Access::Anyone)),
        Err(error) => {
            tracing::warn!(%error, "a file is sent whole");
            None
        }
    }
}
