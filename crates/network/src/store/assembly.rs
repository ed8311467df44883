//! A blob that is put together from segments of other blobs and from what is fetched.

use super::{BlobStore, Part, PieceError, StoreError};
use crate::{
    batches::ChunkRange,
    blob::blocking,
    cut::cut,
    error::NetworkError,
    piece::{self, CHUNK_BYTES},
};
use protocol::{Blake3Hash, SegmentHash, SegmentList};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    ops::{ControlFlow, Range},
    sync::Arc,
};
use tokio::sync::OwnedMutexGuard;

/// No further blobs are cut when less than this part of the new one is still to be found.
const LACKING_PART_MIN: u64 = 8;

/// A blob of which some segments are here. When dropped before it is complete nothing of it is kept.
#[derive(Debug)]
pub struct Assembly {
    store: BlobStore,
    hash: Blake3Hash,
    bytes: u64,
    /// None once it has its name.
    part: Option<Arc<Part>>,
    lacking: VecDeque<ChunkRange>,
    kept_bytes: u64,
    arrived_bytes: u64,
    /// One writer a blob.
    _guard: OwnedMutexGuard<()>,
}

impl BlobStore {
    /// Begins the blob of this list with what these others have of it. Blocking.
    pub(crate) fn assemble(
        &self,
        hash: Blake3Hash,
        list: &SegmentList,
        kept: &[Blake3Hash],
        guard: OwnedMutexGuard<()>,
    ) -> Result<Assembly, StoreError> {
        let mut wanted = Wanted::new(list);
        let part = Part::create(&self.inner)?;
        let failed = |e| StoreError::io(part.path(), e);
        part.file().set_len(wanted.bytes).map_err(failed)?;
        for kept in kept {
            if wanted.lacking_bytes() <= wanted.bytes / LACKING_PART_MIN {
                break;
            }
            let Ok(data) = self.open_data(*kept) else {
                continue;
            };
            let copied = wanted.copy_from(data, part.file());
            copied.map_err(|e| StoreError::io(part.path(), e))?;
        }
        Ok(Assembly {
            store: self.clone(),
            hash,
            bytes: wanted.bytes,
            part: Some(Arc::new(part)),
            lacking: wanted.lacking(),
            kept_bytes: wanted.found_bytes,
            arrived_bytes: 0,
            _guard: guard,
        })
    }
}

/// Where segments belong that are still to be found.
struct Wanted {
    /// In order of their hashes.
    segments: Vec<WantedSegment>,
    bytes: u64,
    found_bytes: u64,
}

struct WantedSegment {
    hash: SegmentHash,
    place: Range<u64>,
    is_found: bool,
}

impl Wanted {
    fn new(list: &SegmentList) -> Self {
        let mut bytes = 0;
        let place = |segment: &protocol::Segment| {
            let start = bytes;
            bytes += u64::from(segment.bytes);
            WantedSegment {
                hash: segment.hash,
                place: start..bytes,
                is_found: false,
            }
        };
        let mut segments: Vec<_> = list.segments().iter().map(place).collect();
        segments.sort_unstable_by_key(|segment| segment.hash);
        Self {
            segments,
            bytes,
            found_bytes: 0,
        }
    }

    fn lacking_bytes(&self) -> u64 {
        self.bytes - self.found_bytes
    }

    /// Copies what another blob has of it. Where that cannot be read, nothing more is found; writing may fail.
    fn copy_from(&mut self, data: File, to: &File) -> io::Result<()> {
        let mut written = Ok(());
        let cut = cut(data, |bytes| {
            written = self.found(bytes, to);
            match written.is_err() || self.lacking_bytes() == 0 {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if let Err(error) = cut {
            tracing::debug!(%error, "a kept blob cannot be read");
        }
        written
    }

    /// Writes a segment to every place where it belongs.
    fn found(&mut self, bytes: &[u8], mut to: &File) -> io::Result<()> {
        let hash = SegmentHash::of(bytes);
        let first = self.segments.partition_point(|wanted| wanted.hash < hash);
        let same = self.segments[first..].iter_mut();
        for wanted in same.take_while(|wanted| wanted.hash == hash) {
            let length = wanted.place.end - wanted.place.start;
            if wanted.is_found || length != bytes.len() as u64 {
                continue;
            }
            to.seek(SeekFrom::Start(wanted.place.start))?;
            to.write_all(bytes)?;
            wanted.is_found = true;
            self.found_bytes += length;
        }
        Ok(())
    }

    /// The chunks that hold what was not found.
    fn lacking(&self) -> VecDeque<ChunkRange> {
        let lacking = self.segments.iter().filter(|wanted| !wanted.is_found);
        let mut places: Vec<_> = lacking.map(|wanted| wanted.place.clone()).collect();
        places.sort_unstable_by_key(|place| place.start);
        let mut ranges = VecDeque::<ChunkRange>::new();
        for place in places {
            let (start, end) = (place.start / CHUNK_BYTES, place.end.div_ceil(CHUNK_BYTES));
            match ranges.back_mut() {
                Some(range) if range.end >= start => range.end = end,
                _ => ranges.push_back(start..end),
            }
        }
        ranges
    }
}

impl Assembly {
    /// The blob's name.
    pub fn hash(&self) -> Blake3Hash {
        self.hash
    }

    /// The blob's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that other blobs had of it.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Bytes that were fetched, with their proofs.
    pub fn arrived_bytes(&self) -> u64 {
        self.arrived_bytes
    }

    /// The first so many ranges that are still to be fetched.
    pub(crate) fn lacking(&self, count: usize) -> Vec<ChunkRange> {
        self.lacking.iter().take(count).cloned().collect()
    }

    /// Checks the batch that what is lacking begins with and writes it.
    pub(crate) async fn accept(
        &mut self,
        batch: Vec<ChunkRange>,
        encoded: Vec<u8>,
    ) -> Result<Result<(), PieceError>, NetworkError> {
        let Some(part) = self.part.clone() else {
            return Ok(Ok(()));
        };
        let (hash, bytes) = (self.hash, self.bytes);
        let arrived = encoded.len() as u64;
        let Some(end) = batch.last().map(|range| range.end) else {
            return Ok(Ok(()));
        };
        let written = blocking(move || {
            let offset = batch.first().map_or(0, |range| range.start) * CHUNK_BYTES;
            let stretches = piece::decode_batch(hash, bytes, &batch, &encoded);
            let stretches = stretches.ok_or(PieceError::Wrong { offset })?;
            let written = write_all(part.file(), &stretches);
            written.map_err(|e| PieceError::Store(StoreError::io(part.path(), e)))
        });
        if let Err(error) = written.await? {
            return Ok(Err(error));
        }
        self.arrived_bytes += arrived;
        self.is_here_up_to(end);
        Ok(Ok(()))
    }

    fn is_here_up_to(&mut self, end: u64) {
        while self.lacking.front().is_some_and(|range| range.end <= end) {
            self.lacking.pop_front();
        }
        if let Some(range) = self.lacking.front_mut() {
            range.start = range.start.max(end);
        }
    }

    /// Gives the file its name, if it is the blob.
    pub(crate) async fn finish(&mut self) -> Result<(), NetworkError> {
        let Some(part) = self.part.take().and_then(Arc::into_inner) else {
            return Ok(());
        };
        let (store, hash) = (self.store.clone(), self.hash);
        let finished = blocking(move || {
            let found = hash_of(part.file()).map_err(|e| StoreError::io(part.path(), e))?;
            match found == hash {
                true => part.rename_to(&store.path(hash)).map(|()| true),
                false => Ok::<_, StoreError>(false),
            }
        });
        match finished.await?? {
            true => Ok(()),
            false => Err(NetworkError::Segments { hash }),
        }
    }
}

fn write_all(mut file: &File, stretches: &[(u64, Vec<u8>)]) -> io::Result<()> {
    for (place, bytes) in stretches {
        file.seek(SeekFrom::Start(*place))?;
        file.write_all(bytes)?;
    }
    Ok(())
}

fn hash_of(mut file: &File) -> io::Result<Blake3Hash> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().into())
}
