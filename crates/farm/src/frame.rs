//! An open frame: its tiles, and what is known of each delivery until the frame is final.

use crate::{event::Millis, worker::WorkerNumber};
use protocol::{Blake3Hash, Glm, Rect, TaskId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A tile of the job: position of its frame in the user's order, position in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TileRef {
    pub frame: u32,
    pub tile: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Tile {
    Pending,
    Leased(TaskId),
    Delivered(Box<Delivery>),
}

/// What is left of a delivery's pixels.
#[derive(Debug, Clone)]
pub(crate) enum Pixels {
    /// All of it: the blob and the hash of every cell.
    Fresh {
        root: Blake3Hash,
        cells: Arc<[Blake3Hash]>,
    },
    /// The frame is written and the blob gone; only what the probes of this commitment must answer is known.
    Sealed { probe_digest: Blake3Hash },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Its probes wait for somebody to render them.
    ProbeWanted { since: Millis },
    /// Another worker renders them.
    ProbeLeased(TaskId),
    /// The requestor's own engine renders them.
    ProbeOwn(u64),
    /// A probe disagreed; this dispute decides.
    Contested(u64),
    /// They agree, or the trust level asks for none.
    Passed { prober: Option<WorkerNumber> },
}

#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub worker: WorkerNumber,
    pub task: TaskId,
    pub class: Blake3Hash,
    pub commitment: Blake3Hash,
    /// The probes that follow from the commitment.
    pub probes: Vec<Rect>,
    pub pixels: Pixels,
    pub check: Check,
    /// Who answered its probes so far: nobody is asked twice.
    pub probers: Vec<WorkerNumber>,
    /// Open disputes about its cells.
    pub disputes: BTreeSet<u64>,
    /// What its worker earns; set aside until it is paid.
    pub price: Glm,
    /// Set aside for its probes.
    pub probe_allowance: Glm,
    pub paid: bool,
}

/// What stays of a tile when its frame is written.
#[derive(Debug, Clone)]
pub(crate) struct SealedTile {
    pub worker: WorkerNumber,
    pub prober: Option<WorkerNumber>,
    pub task: TaskId,
    pub class: Blake3Hash,
    pub commitment: Blake3Hash,
    pub probe_digest: Blake3Hash,
}

impl SealedTile {
    /// Back to a delivery that was accepted and paid.
    pub(crate) fn reopened(&self, probes: Vec<Rect>) -> Delivery {
        Delivery {
            worker: self.worker,
            task: self.task,
            class: self.class,
            commitment: self.commitment,
            probes,
            pixels: Pixels::Sealed {
                probe_digest: self.probe_digest,
            },
            check: Check::Passed {
                prober: self.prober,
            },
            probers: self.prober.into_iter().collect(),
            disputes: BTreeSet::new(),
            price: Glm::ZERO,
            probe_allowance: Glm::ZERO,
            paid: true,
        }
    }
}

/// Who could not do a tile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Troubles {
    /// Said so, or delivered what is no delivery.
    pub failed: Vec<WorkerNumber>,
    /// Lost the lease.
    pub lost: BTreeSet<WorkerNumber>,
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub tiles: Vec<Tile>,
    /// Tiles to be leased.
    pub pending: BTreeSet<u32>,
    /// Tiles not accepted yet; in a failed frame only those whose checks still run.
    pub unsettled: BTreeSet<u32>,
    pub troubles: BTreeMap<u32, Troubles>,
    /// Workers that render this frame now.
    pub workers: usize,
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
            workers: 0,
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

/// A lease.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub worker: WorkerNumber,
    pub purpose: Purpose,
    /// Position of the frame in the user's order.
    pub frame: u32,
    pub rects: Vec<Rect>,
    pub class: Blake3Hash,
    pub leased_at: Millis,
    /// Set aside for it.
    pub price: Glm,
    /// Set aside for its probes, if it is a tile.
    pub probe_allowance: Glm,
    /// The commitment and when it came.
    pub committed: Option<(Blake3Hash, Millis)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Tile(TileRef),
    /// The probes of this tile.
    Probe(TileRef),
    /// An opinion in this dispute.
    Opinion(u64),
}
