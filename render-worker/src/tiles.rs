//! Rendered tiles in the blob store. Equal tiles of different tasks share a blob, so uses are counted.

use network::{Access, BlobStore, StoreError};
use protocol::{Blake3Hash, NodeId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The tiles that somebody may still ask for; clones share them. All calls block.
#[derive(Clone)]
pub struct Tiles {
    blobs: BlobStore,
    uses: Arc<Mutex<HashMap<Blake3Hash, usize>>>,
}

impl Tiles {
    pub fn new(blobs: BlobStore) -> Self {
        Self {
            blobs,
            uses: Arc::default(),
        }
    }

    /// Stores a tile for one requestor.
    pub fn keep(&self, bytes: &[u8], requestor: NodeId) -> Result<Blake3Hash, StoreError> {
        // Held over the write, or the tile could be forgotten for its first use while it is added for the second.
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.blobs.add_bytes(bytes)?;
        self.blobs.allow(root, Access::Only(requestor));
        *uses.entry(root).or_default() += 1;
        Ok(root)
    }

    /// Ends one use; the last one deletes the blob.
    pub fn forget(&self, root: Blake3Hash) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = uses.get_mut(&root) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            uses.remove(&root);
            if let Err(error) = self.blobs.remove(root) {
                tracing::warn!("a tile stays on disk: {error}");
            }
        }
    }
}
