//! An open frame: its tiles, and what is known of each delivery until the frame is final.

use crate::{
    event::{Millis, Testimony},
    probing::Answer,
    worker::WorkerNumber,
};
use protocol::{
    Blake3Hash, Glm, NodeId, Rect, SampleRange, SecretPixels, TaskId, TaskSpec, ids::Signature,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A tile of the job: position of its frame in the user's order, position in the frame and its ranges of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TileRef {
    pub frame: u32,
    pub tile: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Tile {
    Pending,
    Leased(TaskId),
    Delivered(Box<Delivery>),
}

/// What is left of a delivery's pixels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Pixels {
    /// The blob, and of the cells' hashes those that a check can still ask for: all of them would be a megabyte for
    /// a frame in one tile. Those of its probes lie with the probes.
    Fresh {
        root: Blake3Hash,
        /// The cells that neighbours render too ([`verifier::Overlap::shared`]).
        shared: Box<[Blake3Hash]>,
    },
    /// The frame is written and the blob gone: only the digest of its probes is known.
    Sealed,
}

/// One of the checks of a tile that somebody else renders: a part of its probes, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProbeRef {
    pub at: TileRef,
    pub index: u8,
}

/// Who found a probe right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Prober {
    Worker(WorkerNumber),
    OwnEngine,
    /// Nobody was there, and its worker is believed; or it was one check more than needed.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Check {
    /// It waits for somebody to render it.
    Wanted {
        since: Millis,
    },
    /// Another worker renders it.
    Leased(TaskId),
    /// The requestor's own engine renders it.
    Own(u64),
    /// A replica has another root: where it differs is being looked up.
    Comparing(u64),
    /// It disagreed; this dispute decides.
    Contested(u64),
    Passed(Prober),
}

/// What a tile has where it is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expected {
    Cells(Box<[Blake3Hash]>),
    /// Only the digest of the cells is left.
    Digest(Blake3Hash),
    /// The whole delivery is rendered twice, and should have this root.
    Replica(Blake3Hash),
    /// Only the own engine is asked, which is of another class: the noise decides.
    Noise,
}

/// What a task renders of a frame: rectangles of whole cells, with all samples or some, or secret pixels of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub samples: Option<SampleRange>,
    pub rects: Arc<[Rect]>,
    pub pixels: Option<SecretPixels>,
}

impl Extent {
    pub(crate) fn cells(rects: impl Into<Arc<[Rect]>>, samples: Option<SampleRange>) -> Self {
        Self {
            samples,
            rects: rects.into(),
            pixels: None,
        }
    }

    pub(crate) fn pixels(tile: Rect, pixels: SecretPixels) -> Self {
        Self {
            samples: None,
            rects: [tile].into(),
            pixels: Some(pixels),
        }
    }

    /// The part of it that the hash at this place is of: a cell, or a packed cell.
    pub(crate) fn part(&self, place: usize) -> Self {
        let rects = Arc::clone(&self.rects);
        match self.pixels {
            Some(pixels) => Self {
                samples: self.samples,
                rects,
                pixels: Some(pixels.only(place as u32)),
            },
            None => {
                let cells = rects.iter().flat_map(Rect::cells).map(|(_, cell)| cell);
                let cell: Vec<Rect> = cells.skip(place).take(1).collect();
                Self::cells(cell, self.samples)
            }
        }
    }

    /// The cell, if it is just one.
    pub(crate) fn one_cell(&self) -> Option<Rect> {
        match (self.pixels, &*self.rects) {
            (None, [cell]) if cell.cell_count() == 1 => Some(*cell),
            _ => None,
        }
    }

    pub(crate) fn spec(&self, id: TaskId, frame: i32) -> TaskSpec {
        TaskSpec {
            id,
            frame,
            samples: self.samples,
            rects: self.rects.to_vec(),
            pixels: self.pixels,
        }
    }

    /// Pixels to render.
    pub(crate) fn pixel_count(&self) -> u64 {
        match (&self.pixels, self.rects.first()) {
            (Some(pixels), Some(rect)) => pixels.count(rect),
            _ => self.rects.iter().map(Rect::area).sum(),
        }
    }

    /// Cells of the frame that it looks into.
    pub(crate) fn cell_count(&self) -> usize {
        self.rects.iter().map(Rect::cell_count).sum()
    }

    /// Cells or packed cells of its delivery.
    pub(crate) fn hash_count(&self) -> usize {
        match (&self.pixels, self.rects.first()) {
            (Some(pixels), Some(rect)) => pixels.packed_count(rect),
            _ => self.cell_count(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub extent: Extent,
    pub expected: Expected,
    pub check: Check,
    /// Who answered so far: nobody is asked twice.
    pub probers: Vec<WorkerNumber>,
    /// Who was asked and did not answer: others are asked first.
    pub tardy: BTreeSet<WorkerNumber>,
    /// How often it was taken from a worker that was late.
    pub moves: u32,
    /// The answer that agrees, to be accepted with the tile.
    pub answer: Option<Answer>,
    /// The delivery of a replica that agrees. It is accepted with the tile, and takes its place should that fall.
    pub twin: Option<Box<Delivery>>,
}

impl Probe {
    pub(crate) fn new(extent: Extent, expected: Expected) -> Self {
        Self {
            extent,
            expected,
            check: Check::Passed(Prober::Nobody),
            probers: Vec::new(),
            tardy: BTreeSet::new(),
            moves: 0,
            answer: None,
            twin: None,
        }
    }

    pub(crate) fn is_replica(&self) -> bool {
        matches!(self.expected, Expected::Replica(_))
    }

    pub(crate) fn is_of_noise(&self) -> bool {
        self.expected == Expected::Noise
    }

    pub(crate) fn passed(&self) -> Option<Prober> {
        match self.check {
            Check::Passed(prober) => Some(prober),
            _ => None,
        }
    }

    pub(crate) fn prober(&self) -> Option<WorkerNumber> {
        match self.check {
            Check::Passed(Prober::Worker(number)) => Some(number),
            _ => None,
        }
    }
}

/// A commitment with its signature and what opens it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub task: TaskId,
    pub extent: Extent,
    pub commitment: Blake3Hash,
    pub signature: Signature,
    pub salt: [u8; 32],
    pub root: Blake3Hash,
}

impl Opening {
    /// What its worker says with it about cells; secret pixels prove nothing of a whole one.
    pub(crate) fn testimony(&self, worker: NodeId) -> Option<Testimony> {
        self.extent.pixels.is_none().then(|| Testimony {
            worker,
            task: self.task,
            rects: self.extent.rects.to_vec(),
            commitment: self.commitment,
            signature: self.signature,
            salt: self.salt,
            root: self.root,
        })
    }
}

/// What makes a commitment evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub task: TaskId,
    pub signature: Signature,
    pub salt: [u8; 32],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub worker: WorkerNumber,
    /// The lease, as long as it is not accepted.
    pub unpaid: Option<TaskId>,
    pub class: Blake3Hash,
    pub commitment: Blake3Hash,
    /// None once its frame was finished.
    pub signed: Option<Signed>,
    /// Digest of what its later probe has in it: of secret pixels that nobody was asked for, or of all its squares.
    pub probe_digest: Blake3Hash,
    pub pixels: Pixels,
    pub probes: Vec<Probe>,
    /// Open disputes about its cells.
    pub disputes: BTreeSet<u64>,
    /// What its worker earns; set aside until it is accepted.
    pub price: Glm,
    /// Set aside for its probes.
    pub probe_allowance: Glm,
    /// Does somebody of its class say something else, where the own engine is of another?
    pub is_disputed: bool,
    /// The cell about which.
    pub disputed: Option<Rect>,
}

impl Delivery {
    pub(crate) fn is_passed(&self) -> bool {
        self.probes.iter().all(|probe| probe.passed().is_some()) && self.disputes.is_empty()
    }

    /// Has anybody else rendered cells of it and found them right?
    pub(crate) fn is_checked(&self) -> bool {
        let checked = |probe: &Probe| !matches!(probe.passed(), None | Some(Prober::Nobody));
        self.probes.iter().any(checked)
    }

    /// Does this worker render one of its probes, or has it?
    pub(crate) fn is_probed_by(
        &self,
        number: WorkerNumber,
        leased: impl Fn(TaskId) -> bool,
    ) -> bool {
        self.probes.iter().any(|probe| {
            probe.probers.contains(&number)
                || matches!(probe.check, Check::Leased(id) if leased(id))
        })
    }
}

/// Workers that vouched for a finished tile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Vouchers {
    One(Option<WorkerNumber>),
    Many(Box<[WorkerNumber]>),
}

impl Vouchers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = WorkerNumber> + '_ {
        let (one, many) = match self {
            Self::One(one) => (*one, [].as_slice()),
            Self::Many(many) => (None, &**many),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

impl FromIterator<WorkerNumber> for Vouchers {
    fn from_iter<T: IntoIterator<Item = WorkerNumber>>(numbers: T) -> Self {
        let all: Vec<WorkerNumber> = numbers.into_iter().collect();
        match all.as_slice() {
            [] => Self::One(None),
            [one] => Self::One(Some(*one)),
            _ => Self::Many(all.into()),
        }
    }
}

/// What stays of a tile when its frame is written, until the job ends: whom to blame, and what it takes to draw its
/// probes again and compare them, should its worker or one of its probers be caught later. A job has up to millions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SealedTile {
    pub worker: WorkerNumber,
    /// Its place in the coordinator's list of classes.
    pub class: u32,
    pub vouchers: Vouchers,
    pub commitment: Blake3Hash,
    pub probe_digest: Blake3Hash,
}

impl SealedTile {
    /// Back to a delivery that was accepted: one probe, if it had any.
    pub(crate) fn reopened(&self, class: Blake3Hash, probe: Option<Extent>) -> Delivery {
        let probe = probe.map(|extent| Probe::new(extent, Expected::Digest(self.probe_digest)));
        let probes = probe.into_iter().collect();
        Delivery {
            worker: self.worker,
            unpaid: None,
            class,
            commitment: self.commitment,
            signed: None,
            probe_digest: self.probe_digest,
            pixels: Pixels::Sealed,
            probes,
            disputes: BTreeSet::new(),
            price: Glm::ZERO,
            probe_allowance: Glm::ZERO,
            is_disputed: false,
            disputed: None,
        }
    }
}

/// Who could not do a tile.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Troubles {
    /// Said so, or delivered what is no delivery.
    pub failed: Vec<WorkerNumber>,
    /// Lost the lease.
    pub lost: BTreeSet<WorkerNumber>,
}

impl Troubles {
    pub(crate) fn has(&self, number: WorkerNumber) -> bool {
        self.lost.contains(&number) || self.failed.contains(&number)
    }
}

/// Frames begun and not final, by their position in the user's order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct OpenFrames {
    /// A place for each frame ever begun: eight bytes buy that most lookups of the coordinator search nothing.
    places: Vec<Option<Box<Frame>>>,
    count: usize,
}

impl OpenFrames {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn get(&self, position: u32) -> Option<&Frame> {
        self.places.get(position as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, position: u32) -> Option<&mut Frame> {
        self.places.get_mut(position as usize)?.as_deref_mut()
    }

    pub(crate) fn insert(&mut self, position: u32, frame: Frame) {
        let place = position as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if self.places[place].replace(Box::new(frame)).is_none() {
            self.count += 1;
        }
    }

    pub(crate) fn remove(&mut self, position: u32) -> Option<Box<Frame>> {
        let frame = self.places.get_mut(position as usize)?.take()?;
        self.count -= 1;
        Some(frame)
    }

    /// Open frames with their positions, in the user's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Frame)> {
        let frames = (0..).zip(&self.places);
        frames.filter_map(|(position, frame)| Some((position, frame.as_deref()?)))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub tiles: Vec<Tile>,
    /// Tiles to be leased.
    pub pending: BTreeSet<u32>,
    /// Tiles not accepted yet; in a failed frame only those whose checks still run.
    pub unsettled: BTreeSet<u32>,
    pub troubles: BTreeMap<u32, Troubles>,
    /// Tiles about which the noise of another class decided nothing: they are for the job's own class alone.
    pub for_own_class: BTreeSet<u32>,
    /// Second leases of tiles: whose first is late, or whose first delivery is being checked.
    pub copies: BTreeMap<u32, TaskId>,
    /// Tiles to be leased as the coordinator's sum of all frames has them.
    pub counted: usize,
    /// Workers that render this frame now.
    pub workers: Vec<WorkerNumber>,
    /// Is it handed out to be written, unchanged since?
    pub writing: bool,
    /// Answers to come from writing it.
    pub writes_under_way: u32,
    /// Is it a finished frame under audit, its blobs gone?
    pub sealed: bool,
    pub failed: Option<String>,
}

impl Frame {
    pub(crate) fn new(tile_count: u32) -> Self {
        Self {
            tiles: vec![Tile::Pending; tile_count as usize],
            pending: (0..tile_count).collect(),
            unsettled: (0..tile_count).collect(),
            troubles: BTreeMap::new(),
            for_own_class: BTreeSet::new(),
            copies: BTreeMap::new(),
            counted: 0,
            workers: Vec::new(),
            writing: false,
            writes_under_way: 0,
            sealed: false,
            failed: None,
        }
    }

    /// A finished frame that is taken up again.
    pub(crate) fn audit(tiles: Vec<Tile>) -> Self {
        Self {
            tiles,
            sealed: true,
            ..Self::new(0)
        }
    }

    pub(crate) fn delivery(&self, tile: u32) -> Option<&Delivery> {
        match self.tiles.get(tile as usize) {
            Some(Tile::Delivered(delivery)) => Some(delivery),
            _ => None,
        }
    }

    pub(crate) fn delivery_mut(&mut self, tile: u32) -> Option<&mut Delivery> {
        match self.tiles.get_mut(tile as usize) {
            Some(Tile::Delivered(delivery)) => Some(delivery),
            _ => None,
        }
    }
}

/// A commitment to a task's pixels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Commitment {
    pub hash: Blake3Hash,
    pub signature: Signature,
    /// In how many parts the secret pixels of the tile are dealt out, if it is one.
    pub parts: u8,
    /// Since when its pixels are awaited.
    pub since: Millis,
}

/// A lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub worker: WorkerNumber,
    pub purpose: Purpose,
    /// Position of the frame in the user's order.
    pub frame: u32,
    pub extent: Extent,
    pub pixels: u64,
    pub class: Blake3Hash,
    pub leased_at: Millis,
    /// Set aside for it.
    pub price: Glm,
    /// Set aside for its probes, if it is a tile.
    pub probe_allowance: Glm,
    pub committed: Option<Commitment>,
    /// Does its commitment wait for the checks of another worker's delivery of the same tile?
    pub is_parked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Tile(TileRef),
    Probe(ProbeRef),
    /// An opinion in this dispute.
    Opinion(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_frames_are_found_in_the_users_order_until_removed() {
        let mut open = OpenFrames::default();
        for position in [7, 2, 4, 2] {
            open.insert(position, Frame::new(position));
        }
        assert!(open.remove(4).is_some() && open.remove(4).is_none() && open.remove(99).is_none());
        let tiles: Vec<(u32, usize)> = open
            .iter()
            .map(|(at, frame)| (at, frame.tiles.len()))
            .collect();
        assert_eq!(tiles, [(2, 2), (7, 7)]);
        assert!(open.get(4).is_none() && open.get_mut(7).is_some());
        assert!(open.remove(2).is_some() && !open.is_empty());
        assert!(open.remove(7).is_some() && open.is_empty());
    }

    #[test]
    fn a_million_finished_tiles_take_88_megabytes() {
        assert!(size_of::<SealedTile>() <= 88);
    }

    #[test]
    fn vouchers_are_kept_whatever_their_number() {
        for numbers in [vec![], vec![3], vec![3, 1, 2]] {
            let vouchers: Vouchers = numbers.iter().copied().collect();
            assert!(vouchers.iter().eq(numbers));
        }
    }
}
