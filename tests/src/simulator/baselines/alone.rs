//! Schemes that render each tile once and look at a part of it: crops that the requestor renders itself, as Golem does
//! for Blender, and overlaps of neighbouring tiles.

use super::{
    TILE_CELLS, TILE_SIDE_CELLS, Tally,
    crowd::{Answer, Crowd, Faked, Number, value_at},
};
use crate::simulator::strategies::{Fakes, Filling};
use protocol::{Rect, geometry::CELL_PX};

/// Crops of a tile, and the side of one in pixels: a tenth of the tile's.
const CROPS: u32 = 3;
const CROP_PX: u32 = 26;
/// Cells that a tile renders of its neighbours', for overlaps of a cell.
const OVERLAP_CELLS: u32 = 2 * TILE_SIDE_CELLS;
/// Times that a tile is rendered before the job gives it up.
const TRIES_MAX: usize = 50;

/// What a check of a delivery says.
pub enum Finding {
    /// Nothing is seen.
    Passed,
    /// Its worker is at fault.
    Caught,
}

/// Does a job; `check` looks at each delivery.
pub fn run(mut crowd: Crowd, check: impl Fn(&mut Crowd, Number, &Answer) -> Finding) -> Tally {
    for tile in 0..crowd.setting.tiles {
        let mut tries = 0..TRIES_MAX;
        let is_done = tries.any(|_| try_tile(&mut crowd, tile, &check));
        crowd.tally.unfinished += u64::from(!is_done);
    }
    crowd.finish()
}

/// Renders a tile; false if it was not taken.
fn try_tile(
    crowd: &mut Crowd,
    tile: u32,
    check: &impl Fn(&mut Crowd, Number, &Answer) -> Finding,
) -> bool {
    let Some(worker) = crowd.draw(&[]) else {
        return false;
    };
    let answer = crowd.deliver(worker, tile, false);
    if let Finding::Caught = check(crowd, worker, &answer) {
        crowd.refuse(worker);
        crowd.ban_if_hostile(worker);
        return false;
    }
    crowd.tally.bad_accepted += u64::from(answer.is_some());
    crowd.pay(worker, 1.0);
    true
}

/// The requestor renders three crops and compares every pixel, which sees more than the image metrics of Golem do.
pub fn crops(crowd: &mut Crowd, _: Number, answer: &Answer) -> Finding {
    let side = TILE_SIDE_CELLS * CELL_PX;
    let cost = f64::from(CROPS * CROP_PX * CROP_PX) / f64::from(side * side);
    crowd.tally.rendered += cost;
    crowd.tally.rendered_by_requestor += cost;
    let Some(faked) = answer else {
        return Finding::Passed;
    };
    for _ in 0..CROPS {
        let places = u64::from(side - CROP_PX + 1);
        let crop = Rect {
            x: crowd.random.below(places) as u32,
            y: crowd.random.below(places) as u32,
            width: CROP_PX,
            height: CROP_PX,
        };
        if touches(&crop, faked) {
            return Finding::Caught;
        }
    }
    Finding::Passed
}

/// Is a wrong pixel in this crop?
fn touches(crop: &Rect, faked: &Faked) -> bool {
    crop.cells().any(|(cell, part)| {
        let at = (cell.row * TILE_SIDE_CELLS + cell.column) as usize;
        let row = |y: u32| (part.x..part.right()).map(move |x| y % CELL_PX * CELL_PX + x % CELL_PX);
        let mut pixels = (part.y..part.bottom()).flat_map(row);
        faked.cells.contains(at) && pixels.any(|pixel| faked.covers(at, pixel))
    })
}

/// Each side's outermost cells are compared with what its neighbour's worker rendered of them; a third decides.
pub fn overlap(crowd: &mut Crowd, worker: Number, answer: &Answer) -> Finding {
    crowd.tally.rendered += f64::from(OVERLAP_CELLS) / f64::from(TILE_CELLS);
    for side in 0..4 {
        let Some(cell) = outermost(side).find(|cell| value_at(answer, *cell) != 0) else {
            continue;
        };
        let Some(neighbour) = crowd.draw(&[worker]) else {
            continue;
        };
        let (mine, theirs) = (
            value_at(answer, cell),
            said(crowd, worker, neighbour, answer, cell),
        );
        if mine == theirs {
            continue;
        }
        let judge = crowd.draw(&[worker, neighbour]);
        let judged = judge.map_or(0, |judge| said(crowd, worker, judge, answer, cell));
        if theirs != judged {
            crowd.ban_if_hostile(neighbour);
        }
        if mine != judged {
            return Finding::Caught;
        }
    }
    Finding::Passed
}

/// What somebody who renders beside this tile says of a cell of it: accomplices agree, and so do those who save work in
/// the same way everywhere.
fn said(crowd: &Crowd, worker: Number, other: Number, answer: &Answer, cell: usize) -> u32 {
    let strategy = crowd.setting.strategy;
    let is_accomplice = crowd.is_of_ring(worker) && crowd.is_of_ring(other);
    let does_alike = crowd.is_hostile(other)
        && strategy.fakes() == Fakes::All
        && strategy.filling() == Filling::Alike;
    match is_accomplice || does_alike {
        true => value_at(answer, cell),
        false => 0,
    }
}

/// The cells along a side of a tile.
pub fn outermost(side: u32) -> impl Iterator<Item = usize> {
    let last = TILE_SIDE_CELLS - 1;
    (0..TILE_SIDE_CELLS).map(move |along| {
        let (column, row) = match side {
            0 => (along, 0),
            1 => (along, last),
            2 => (0, along),
            _ => (last, along),
        };
        (row * TILE_SIDE_CELLS + column) as usize
    })
}
