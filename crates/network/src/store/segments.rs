//! Lists of the segments of blobs, for peers that have earlier versions of them.

use super::{BlobStore, StoreError};
use crate::cut::cut;
use protocol::{
    Blake3Hash, Segment, SegmentHash, SegmentList, Segmented,
    limits::{FILE_SEGMENTS_MAX, SEGMENTED_BYTES_MIN},
};
use std::{fs, ops::ControlFlow, path::PathBuf};

impl BlobStore {
    /// Cuts a blob into segments and stores the list of them as a blob of its own; none for one that is too short for
    /// that to pay, or too long. What was cut once is remembered. Blocking.
    ///
    /// # Errors
    /// When the blob is not here or the store fails.
    pub fn segment(&self, hash: Blake3Hash) -> Result<Option<Segmented>, StoreError> {
        let data = self.open_data(hash)?;
        let path = self.path(hash);
        let bytes = data.metadata().map_err(|e| StoreError::io(&path, e))?.len();
        if bytes < SEGMENTED_BYTES_MIN {
            return Ok(None);
        }
        let of_list = |list, segments| Segmented {
            file: hash,
            list,
            segments,
        };
        if let Some((list, segments)) = self.remembered_cut(hash) {
            return Ok(Some(of_list(list, segments)));
        }
        let mut segments = Vec::new();
        let cut = cut(data, |bytes| {
            segments.push(Segment {
                bytes: bytes.len() as u32,
                hash: SegmentHash::of(bytes),
            });
            match segments.len() > FILE_SEGMENTS_MAX as usize {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        cut.map_err(|e| StoreError::io(&path, e))?;
        let count = segments.len() as u32;
        // Too many, or a file that was written to meanwhile: then it is sent whole.
        let Ok(list) = SegmentList::new(segments, bytes) else {
            return Ok(None);
        };
        let list = self.add_bytes(&list.encode())?;
        let cut_path = self.cut_path(hash);
        fs::write(&cut_path, list.0).map_err(|e| StoreError::io(&cut_path, e))?;
        Ok(Some(of_list(list, count)))
    }

    /// Where it is remembered which blob lists the segments of this one. The ending changes with the places of cuts.
    pub(super) fn cut_path(&self, hash: Blake3Hash) -> PathBuf {
        self.inner.folder.join(format!("{hash}.cut"))
    }

    fn remembered_cut(&self, hash: Blake3Hash) -> Option<(Blake3Hash, u32)> {
        let list = Blake3Hash(fs::read(self.cut_path(hash)).ok()?.try_into().ok()?);
        let count = self.size(list)? / Segmented::ENTRY_BYTES;
        Some((list, u32::try_from(count).ok()?))
    }
}
