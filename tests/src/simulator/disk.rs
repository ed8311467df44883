//! The requestor's simulated disk: the journal of the job, the blobs of its tiles, the files of its frames.

use super::engine::{hashes_due, of_pixels, packed_hashes, wrong_cells};
use farm::{
    Farm,
    event::{Difference, Event, Millis},
    journal::{entry, read_entry},
};
use protocol::{Blake3Hash, Rect, SecretPixels};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use verifier::noise::{Band, Finding, NoiseVerdict, Test};

/// Events since a checkpoint, at least.
const TAIL_MIN: usize = 100;
/// Bytes of a checkpoint for which it is worth another event in the tail: large ones are written more rarely.
const CHECKPOINT_BYTES_PER_EVENT: usize = 1024;

/// Which share of the cells of a tile's regions is wrong if the own engine accepts and rejects it.
const WRONG_SHARE: Band = Band {
    accept: 0.0,
    reject: 0.125,
};

/// Pixels on disk.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its cells, if the journal or a comparison may ask for them.
    pub cells: Option<Arc<[Blake3Hash]>>,
    /// Which frame's pixels these are, and where, if they are the truth.
    pub truth: Option<(i32, Rect)>,
}

/// The journal.
struct Journal {
    checkpoint: Vec<u8>,
    tail: Vec<Vec<u8>>,
}

/// Everything that survives the requestor's process.
pub struct Disk {
    journal: Option<Journal>,
    /// Pixels of deliveries.
    pub blobs: HashMap<Blake3Hash, Blob>,
    /// Frames that are written, and what is wrong with them.
    pub files: BTreeMap<i32, Result<(), String>>,
    /// Blobs that no tile needs and that the journal's tail still names.
    unneeded: Vec<Blake3Hash>,
    /// Those that it no longer names.
    unnamed: Vec<Blake3Hash>,
    keeps_cells: bool,
}

impl Disk {
    /// The disk of a job that begins; without a journal a process that ends is the job's end.
    /// Cells are kept where deliveries may differ.
    pub fn new(farm: &Farm, has_journal: bool, keeps_cells: bool) -> Result<Self, String> {
        let journal = match has_journal {
            true => Some(Journal {
                checkpoint: checkpoint(farm)?,
                tail: Vec::new(),
            }),
            false => None,
        };
        Ok(Self {
            journal,
            blobs: HashMap::new(),
            files: BTreeMap::new(),
            unneeded: Vec::new(),
            unnamed: Vec::new(),
            keeps_cells: keeps_cells || has_journal,
        })
    }

    /// Is there a journal?
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Pixels arrive.
    pub fn add_blob(&mut self, root: Blake3Hash, mut blob: Blob) {
        if !self.keeps_cells {
            blob.cells = None;
        }
        let truth = blob.truth;
        let known = self.blobs.entry(root).or_insert(blob);
        known.truth = known.truth.or(truth);
    }

    /// Where two blobs of the same rectangles differ, or a tile and secret pixels of it.
    pub fn difference(
        &self,
        rects: &[Rect],
        pixels: Option<&SecretPixels>,
        left: &Blake3Hash,
        right: &Blake3Hash,
    ) -> Result<Option<Difference>, String> {
        let cells = |root| {
            let blob = self
                .blobs
                .get(root)
                .ok_or("a blob that is compared is gone")?;
            blob.cells.as_ref().ok_or("its cells were not kept")
        };
        if let (Some(pixels), Some(rect)) = (pixels, rects.first()) {
            let left = of_pixels(pixels, rect, cells(left)?);
            return Ok(pixel_difference(pixels, rect, &left, cells(right)?));
        }
        let pairs = cells(left)?.iter().zip(cells(right)?.iter());
        let rects = rects.iter().flat_map(Rect::cells).map(|(_, rect)| rect);
        let mut differing = rects.zip(pairs).filter(|(_, (left, right))| left != right);
        let first = differing.next();
        Ok(first.map(|(rect, (&left, &right))| Difference {
            rect,
            packed: None,
            left,
            right,
            cells: 1 + differing.count() as u32,
        }))
    }

    /// What the own engine says of a tile by its noise: nothing is wrong, a few cells of its regions are, or more.
    pub fn judge(
        &self,
        frame: i32,
        rects: &[Rect],
        regions: &[Rect],
        root: &Blake3Hash,
    ) -> Result<NoiseVerdict, String> {
        let blob = self.blobs.get(root).ok_or("a blob to be judged is gone")?;
        let cells = blob.cells.as_ref().ok_or("its cells were not kept")?;
        let places =
            verifier::cells::places(rects, regions).ok_or("regions outside of the tile")?;
        let wanted = regions.iter().flat_map(Rect::cells).map(|(cell, _)| cell);
        let found = wanted.zip(places.iter().map(|place| cells[*place]));
        let share = wrong_cells(frame, found) as f64 / places.len().max(1) as f64;
        let finding = Finding {
            test: Test::Eta,
            value: share,
            band: WRONG_SHARE,
        };
        Ok(match share {
            share if share <= WRONG_SHARE.accept => NoiseVerdict::Accepted,
            share if share < WRONG_SHARE.reject => NoiseVerdict::Inconclusive(Some(finding)),
            _ => NoiseVerdict::Rejected(finding),
        })
    }

    /// Writes events.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Vec<u8>>) {
        if let Some(journal) = &mut self.journal {
            journal.tail.extend(entries);
        }
    }

    /// Should the next write bring a checkpoint?
    pub fn wants_checkpoint(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| {
            journal.tail.len() > TAIL_MIN.max(journal.checkpoint.len() / CHECKPOINT_BYTES_PER_EVENT)
        })
    }

    /// Puts a checkpoint in the tail's place.
    pub fn compact(&mut self, farm: &Farm) -> Result<(), String> {
        if let Some(journal) = &mut self.journal {
            journal.checkpoint = checkpoint(farm)?;
            journal.tail.clear();
        }
        self.unnamed.append(&mut self.unneeded);
        Ok(())
    }

    /// A blob that no tile needs.
    pub fn forget(&mut self, root: Blake3Hash) {
        match self.journal {
            Some(_) => self.unneeded.push(root),
            None => self.unnamed.push(root),
        }
    }

    /// Deletes what neither a tile nor the journal needs. What is on its way again will be named by the journal again: it
    /// waits for another checkpoint.
    pub fn delete_unnamed(&mut self, farm: &Farm, is_arriving: impl Fn(&Blake3Hash) -> bool) {
        for root in std::mem::take(&mut self.unnamed) {
            match (farm.needs_blob(&root), is_arriving(&root)) {
                (true, _) => {}
                (false, true) => self.forget(root),
                (false, false) => drop(self.blobs.remove(&root)),
            }
        }
    }

    /// The last entry of the tail was written in part only: reading leaves it out.
    pub fn tear(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.tail.pop();
        }
    }

    /// The coordinator as the journal has it. Blobs that its last events no longer need are deleted some time later.
    pub fn restore(&mut self) -> Result<Farm, String> {
        let (farm, unneeded) = self.read()?;
        (self.unneeded, self.unnamed) = (unneeded, Vec::new());
        Ok(farm)
    }

    /// The coordinator as the journal has it, and blobs that its last events no longer need.
    pub fn read(&self) -> Result<(Farm, Vec<Blake3Hash>), String> {
        let journal = self.journal.as_ref().ok_or("there is no journal")?;
        let mut farm = Farm::restore(&journal.checkpoint).map_err(|e| e.to_string())?;
        let mut unneeded = Vec::new();
        for bytes in &journal.tail {
            let (now, mut event) = read_entry(bytes).map_err(|e| e.to_string())?;
            self.find_cells(&mut event, &farm)?;
            for effect in farm.handle(now, event) {
                if let farm::event::Effect::Forget { root } = effect {
                    unneeded.push(root);
                }
            }
        }
        Ok((farm, unneeded))
    }

    fn find_cells(&self, event: &mut Event, farm: &Farm) -> Result<(), String> {
        if let Event::Delivered {
            task,
            root,
            cells: Ok(cells),
            ..
        } = event
        {
            let (spec, due) = (farm.spec_of(*task), farm.cells_due(*task));
            let Some(spec) = spec else { return Ok(()) };
            let blob = self.blobs.get(root).and_then(|blob| blob.cells.as_ref());
            let found = blob.and_then(|cells| hashes_due(&spec, cells, &due));
            let found =
                found.ok_or_else(|| format!("the journal names the blob {root}, it is gone"));
            *cells = found?.into();
        }
        Ok(())
    }
}

fn pixel_difference(
    pixels: &SecretPixels,
    rect: &Rect,
    left: &[Blake3Hash],
    right: &[Blake3Hash],
) -> Option<Difference> {
    let found = pixels.differing(rect, |index| left.get(index) != right.get(index))?;
    let place = (found.packed - pixels.packed.unwrap_or(0)) as usize;
    let hash = |values: &[Blake3Hash]| packed_hashes(pixels, rect, values)[place];
    Some(Difference {
        rect: found.cell,
        packed: Some(found.packed),
        left: hash(left),
        right: hash(right),
        cells: found.cells,
    })
}

/// The coordinator's state in bytes.
pub fn checkpoint(farm: &Farm) -> Result<Vec<u8>, String> {
    farm.checkpoint().map_err(|e| e.to_string())
}

/// An event as it stands in the journal.
pub fn entry_of(at: Millis, event: &Event) -> Result<Vec<u8>, String> {
    entry(at, event).map_err(|e| e.to_string())
}
