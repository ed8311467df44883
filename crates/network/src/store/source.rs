//! A blob that is being served: its file and its hash tree.

use super::{BlobStore, Part, StoreError, WRITE_BUFFER_BYTES};
use crate::{
    batches::ChunkRange,
    piece::{self, PIECE_BYTES, tree},
    proof::{self, verify_proof},
};
use bao_tree::{
    blake3,
    io::{
        outboard::{PostOrderMemOutboard, PostOrderOutboard},
        sync::outboard_post_order,
    },
};
use protocol::Blake3Hash;
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    ops::Range,
    path::Path,
};

/// A blob open for serving.
pub struct Source {
    data: File,
    bytes: u64,
    outboard: Outboard,
}

enum Outboard {
    Memory(PostOrderMemOutboard),
    File(PostOrderOutboard<File>),
}

impl BlobStore {
    /// Opens a blob for serving; makes its hash tree if that is missing. Blocking.
    pub(crate) fn source(&self, hash: Blake3Hash) -> Result<Source, StoreError> {
        let data = self.open_data(hash)?;
        let failed = |e| StoreError::io(&self.path(hash), e);
        let bytes = data.metadata().map_err(failed)?.len();
        let outboard = if bytes > PIECE_BYTES {
            Outboard::File(self.stored_outboard(hash, &data, bytes)?)
        } else {
            Outboard::Memory(small_outboard(&data, bytes).map_err(failed)?)
        };
        let source = Source {
            data,
            bytes,
            outboard,
        };
        // A stored tree is only made from matching data; a small blob was hashed just now.
        match source.root() == hash {
            true => Ok(source),
            false => Err(self.damaged(hash)),
        }
    }

    /// A proof that the bytes `range` of a blob are what they are, for [`verify_proof`]: those bytes, cut at chunks of
    /// 1024, and the hashes that tie them to the root, 64 bytes for each level of the tree. Blocking.
    ///
    /// # Errors
    /// When the blob is not here or was damaged on disk, or the range is empty, outside it or too long.
    pub fn proof(&self, hash: Blake3Hash, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let source = self.source(hash)?;
        let failed = |e| StoreError::io(&self.path(hash), e);
        let chunks = proof::chunks(source.bytes, &range)
            .map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let encoded = match &source.outboard {
            Outboard::Memory(outboard) => proof::encode(&source.data, outboard, &chunks),
            Outboard::File(outboard) => proof::encode(&source.data, outboard, &chunks),
        };
        let encoded = encoded.map_err(failed)?;
        match verify_proof(hash, source.bytes, range, &encoded) {
            Ok(_) => Ok(encoded),
            Err(_) => Err(self.damaged(hash)),
        }
    }

    fn stored_outboard(
        &self,
        hash: Blake3Hash,
        data: &File,
        bytes: u64,
    ) -> Result<PostOrderOutboard<File>, StoreError> {
        let path = self.tree_path(hash);
        let failed = |e| StoreError::io(&path, e);
        let lock = self.hash_lock(hash);
        let _one_at_a_time = lock.blocking_lock();
        let complete =
            |file: &File| Ok::<_, io::Error>(file.metadata()?.len() == tree(bytes).outboard_size());
        let file = match File::open(&path) {
            Ok(file) if complete(&file).map_err(failed)? => file,
            _ => {
                self.make_outboard(hash, data, bytes, &path)?;
                File::open(&path).map_err(failed)?
            }
        };
        Ok(PostOrderOutboard {
            root: blake3::Hash::from(hash.0),
            tree: tree(bytes),
            data: file,
        })
    }

    fn make_outboard(
        &self,
        hash: Blake3Hash,
        data: &File,
        bytes: u64,
        path: &Path,
    ) -> Result<(), StoreError> {
        let part = Part::create(&self.inner)?;
        let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, part.file());
        let reader = BufReader::with_capacity(WRITE_BUFFER_BYTES, data);
        let root = outboard_post_order(reader, tree(bytes), &mut writer)
            .and_then(|root| writer.flush().map(|()| root))
            .map_err(|e| StoreError::io(part.path(), e))?;
        drop(writer);
        if Blake3Hash::from(root) != hash {
            return Err(self.damaged(hash));
        }
        part.rename_to(path)
    }
}

fn small_outboard(data: &File, bytes: u64) -> io::Result<PostOrderMemOutboard> {
    let mut outboard = Vec::new();
    let root = outboard_post_order(data, tree(bytes), &mut outboard)?;
    Ok(PostOrderMemOutboard {
        root,
        tree: tree(bytes),
        data: outboard,
    })
}

impl Source {
    /// Length of the blob in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn root(&self) -> Blake3Hash {
        match &self.outboard {
            Outboard::Memory(outboard) => outboard.root.into(),
            Outboard::File(outboard) => outboard.root.into(),
        }
    }

    /// The encoded chunks; they are not checked against the hash, which the receiver does. Blocking.
    pub fn batch(&self, batch: &[ChunkRange]) -> io::Result<Vec<u8>> {
        match &self.outboard {
            Outboard::Memory(outboard) => piece::encode(&self.data, outboard, batch),
            Outboard::File(outboard) => piece::encode(&self.data, outboard, batch),
        }
    }
}
