//! An open frame: its tiles, and what is known of each delivery until the frame is final.

use crate::{event::Millis, worker::WorkerNumber};
use protocol::{Blake3Hash, Glm, Rect, TaskId, TileGrid, geometry::CELL_PX};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A tile of the job: position of its frame in the user's order, position in the frame.
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
    /// a frame in one tile.
    Fresh {
        root: Blake3Hash,
        /// The cells of its probes.
        answers: Box<[Blake3Hash]>,
        /// The cells that neighbours render too ([`shared_strips`]).
        shared: Box<[Blake3Hash]>,
    },
    /// The frame is written and the blob gone: only the digest of its probes is known.
    Sealed,
}

/// The cells of a tile that its neighbours render too, because a rendered rectangle is the core and one more cell to
/// the right and below: the outermost line of cells on each side that has a neighbour. Disjoint, from top to bottom;
/// sides without a neighbour are empty.
pub(crate) fn shared_strips(grid: &TileGrid, tile: u32) -> [Rect; 4] {
    let rendered = grid.rendered(tile);
    let (column, row) = (tile % grid.columns(), tile / grid.columns());
    let line = |there: bool| if there { CELL_PX } else { 0 };
    let above = line(row > 0);
    // The last cells are cut where the frame ends within them.
    let rest = |length: u32| (length - 1) % CELL_PX + 1;
    let (last_column, last_row) = (rest(rendered.width), rest(rendered.height));
    let below = line(row + 1 < grid.rows()).min(last_row);
    let after = line(column + 1 < grid.columns()).min(last_column);
    let between = Rect {
        y: rendered.y + above,
        height: rendered.height.saturating_sub(above + below),
        ..rendered
    };
    [
        Rect {
            height: above.min(rendered.height),
            ..rendered
        },
        Rect {
            width: line(column > 0).min(rendered.width),
            ..between
        },
        Rect {
            x: rendered.right() - last_column,
            width: after,
            ..between
        },
        Rect {
            y: rendered.bottom() - last_row,
            height: below,
            ..rendered
        },
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub worker: WorkerNumber,
    /// The lease, as long as it is not paid.
    pub unpaid: Option<TaskId>,
    pub class: Blake3Hash,
    pub commitment: Blake3Hash,
    /// The probes that follow from the commitment.
    pub probes: Arc<[Rect]>,
    /// Digest of the cells that these probes have in it.
    pub probe_digest: Blake3Hash,
    pub pixels: Pixels,
    pub check: Check,
    /// Who answered its probes so far: nobody is asked twice.
    pub probers: Vec<WorkerNumber>,
    /// Who was asked for its probes and did not answer: others are asked first.
    pub tardy: BTreeSet<WorkerNumber>,
    /// How often its probes were taken from a worker that was late.
    pub moves: u32,
    /// Open disputes about its cells.
    pub disputes: BTreeSet<u64>,
    /// What its worker earns; set aside until it is paid.
    pub price: Glm,
    /// Set aside for its probes.
    pub probe_allowance: Glm,
}

/// What stays of a tile when its frame is written, until the job ends: whom to blame, and what it takes to draw its
/// probes again and compare them, should its worker or its prober be caught later. A job has up to millions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SealedTile {
    pub worker: WorkerNumber,
    pub prober: Option<WorkerNumber>,
    /// Its place in the coordinator's list of classes.
    pub class: u32,
    pub commitment: Blake3Hash,
    pub probe_digest: Blake3Hash,
}

impl SealedTile {
    /// Back to a delivery that was accepted and paid.
    pub(crate) fn reopened(&self, class: Blake3Hash, probes: Arc<[Rect]>) -> Delivery {
        Delivery {
            worker: self.worker,
            unpaid: None,
            class,
            commitment: self.commitment,
            probes,
            probe_digest: self.probe_digest,
            pixels: Pixels::Sealed,
            check: Check::Passed {
                prober: self.prober,
            },
            probers: self.prober.into_iter().collect(),
            tardy: BTreeSet::new(),
            moves: 0,
            disputes: BTreeSet::new(),
            price: Glm::ZERO,
            probe_allowance: Glm::ZERO,
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
    /// Second leases of tiles: whose first is late, or whose first delivery is being checked.
    pub copies: BTreeMap<u32, TaskId>,
    /// Tiles to be leased as the coordinator's sum of all frames has them.
    pub counted: usize,
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
            copies: BTreeMap::new(),
            counted: 0,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub worker: WorkerNumber,
    pub purpose: Purpose,
    /// Position of the frame in the user's order.
    pub frame: u32,
    pub rects: Arc<[Rect]>,
    pub pixels: u64,
    pub class: Blake3Hash,
    pub leased_at: Millis,
    /// Set aside for it.
    pub price: Glm,
    /// Set aside for its probes, if it is a tile.
    pub probe_allowance: Glm,
    /// The commitment and since when its pixels are awaited.
    pub committed: Option<(Blake3Hash, Millis)>,
    /// Does its commitment wait for the checks of another worker's delivery of the same tile?
    pub is_parked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Tile(TileRef),
    /// The probes of this tile.
    Probe(TileRef),
    /// An opinion in this dispute.
    Opinion(u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Size;
    use std::collections::BTreeSet;

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
    fn a_million_finished_tiles_take_80_megabytes() {
        assert!(size_of::<SealedTile>() <= 80);
    }

    #[test]
    fn strips_are_exactly_the_cells_that_other_tiles_render_too() {
        for (width, height, tile_px) in [
            (100, 70, 32),
            (64, 64, 8),
            (65, 71, 16),
            (200, 9, 40),
            (9, 200, 8),
            (50, 50, 0),
        ] {
            let grid = TileGrid::new(Size::new(width, height).unwrap(), tile_px);
            for tile in 0..grid.tile_count() {
                let strips = shared_strips(&grid, tile);
                let inside = strips.iter().flat_map(Rect::cells).map(|(cell, _)| cell);
                let cells: Vec<_> = inside.collect();
                let found: BTreeSet<_> = cells.iter().copied().collect();
                assert_eq!(found.len(), cells.len(), "strips overlap in tile {tile}");
                let counted = strips.iter().map(Rect::cell_count).sum::<usize>();
                assert_eq!(counted, cells.len(), "an empty strip of tile {tile} counts");
                let others = (0..grid.tile_count()).filter(|other| *other != tile);
                let shared = others
                    .filter_map(|other| grid.rendered(tile).intersection(&grid.rendered(other)));
                let expected: BTreeSet<_> = shared
                    .flat_map(|rect| rect.cells().collect::<Vec<_>>())
                    .map(|(cell, _)| cell)
                    .collect();
                assert_eq!(
                    found, expected,
                    "tile {tile} of {width}x{height} by {tile_px}"
                );
            }
        }
    }
}
