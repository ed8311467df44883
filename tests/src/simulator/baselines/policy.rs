//! Our trust levels, and what those who check a tile see of it: pixels and squares drawn by the real verifier, dealt out as
//! the real coordinator does it.

use super::{
    CELL_PIXELS, TILE, TILE_CELLS, TILE_SIDE_CELLS,
    alone::outermost,
    crowd::{Answer, Faked, WHOLE_CELL},
};
use crate::simulator::random::Random;
use farm::limits::{FLAKY_CELLS_MIN, PROBES_PER_TILE_MAX, SQUARES_PER_PROBE_MIN};
use protocol::{Blake3Hash, Rect, SecretPixels, geometry::Cell};
use verifier::{ProbeShape, Trust, TrustPolicy};

/// Secret rim cells of a tile that its neighbours' workers render, on each side, where probes are pixels.
const RIM_CELLS_PER_SIDE: usize = 4;
/// How many times what a rectangle costs besides its pixels a whole frame costs, where probes are squares: a minute at
/// 0.2 s a rectangle.
const RECTANGLES_PER_FRAME: u32 = 300;
/// Squares of a frame that is one task, as the verifier shapes them at that price.
const SQUARES: ProbeShape = ProbeShape::Squares {
    side_cells: 2,
    price_px: PIXELS / RECTANGLES_PER_FRAME + 4 * CELL_PIXELS,
};
/// Pixels of a tile.
const PIXELS: u32 = TILE_CELLS * CELL_PIXELS;

/// Who decides when two disagree about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The requestor renders it.
    Requestor,
    /// Other workers, until two agree.
    Workers,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What people call it.
    pub name: &'static str,
    /// The level.
    pub trust: Trust,
    /// What the level buys.
    pub checks: TrustPolicy,
    /// What probes look like.
    pub shape: ProbeShape,
    /// Who decides disputes.
    pub judge: Judge,
}

impl Policy {
    /// Strangers.
    pub const UNKNOWN: Policy = Policy::level("ours, unknown", Trust::Unknown);
    /// Those known for a while.
    pub const PROBATION: Policy = Policy::level("ours, probation", Trust::Probation);
    /// Those known for long.
    pub const TRUSTED: Policy = Policy::level("ours, trusted", Trust::Trusted);
    /// The requestor's own.
    pub const OWN: Policy = Policy::level("ours, own", Trust::Own);
    /// Strangers that are judged by others alone: no engine where the requestor is.
    pub const JUDGED_BY_WORKERS: Policy = Policy {
        name: "ours, no own engine",
        judge: Judge::Workers,
        ..Policy::UNKNOWN
    };
    /// Strangers, with an engine that charges for each rectangle.
    pub const SQUARES_UNKNOWN: Policy = Policy {
        name: "squares, unknown",
        shape: SQUARES,
        ..Policy::UNKNOWN
    };
    /// Those known for a while, likewise.
    pub const SQUARES_PROBATION: Policy = Policy {
        name: "squares, probation",
        shape: SQUARES,
        ..Policy::PROBATION
    };
    /// Those known for long, likewise.
    pub const SQUARES_TRUSTED: Policy = Policy {
        name: "squares, trusted",
        shape: SQUARES,
        ..Policy::TRUSTED
    };

    const fn level(name: &'static str, trust: Trust) -> Self {
        Self {
            name,
            trust,
            checks: trust.policy(),
            shape: ProbeShape::Pixels,
            judge: Judge::Requestor,
        }
    }

    /// What a tile's probes cost on average, in tiles; for squares what may be spent, of which a few parts in a hundred are left.
    pub fn probe_share(&self) -> f64 {
        let checks = &self.checks;
        match self.shape {
            ProbeShape::Pixels => {
                let drawn = f64::from(checks.probe_pixels) / f64::from(checks.pixels_every);
                drawn / f64::from(CELL_PIXELS)
            }
            ProbeShape::Squares { .. } => {
                f64::from(checks.squares_share) / f64::from(verifier::trust::SHARES)
            }
        }
    }

    /// Squares of a tile on average.
    pub fn squares(&self) -> f64 {
        let thousandths = verifier::squares_thousandths(&TILE, self.shape, &self.checks);
        f64::from(thousandths) / 1e3
    }

    /// What the cells cost that a tile renders of its neighbours, in tiles; where probes are squares a task is a whole frame.
    pub fn rim_share(&self) -> f64 {
        let cells = match self.shape {
            ProbeShape::Pixels => 4 * RIM_CELLS_PER_SIDE as u32,
            ProbeShape::Squares { .. } => 0,
        };
        f64::from(cells) / f64::from(TILE_CELLS)
    }

    /// What a tile costs that passes all checks, in tiles.
    pub fn overhead(&self) -> f64 {
        let replicas = f64::from(self.checks.replica_share) / f64::from(verifier::trust::SHARES);
        1.0 + self.probe_share() + self.rim_share() + replicas
    }

    /// What each neighbour sees of a tile.
    pub fn rims(&self, random: &mut Random) -> Vec<Part> {
        let line = |side| outermost(side).collect::<Vec<usize>>();
        match self.shape {
            ProbeShape::Pixels => (0..4)
                .map(|side| {
                    Part::Rim(
                        (0..RIM_CELLS_PER_SIDE)
                            .map(|_| random.pick(&line(side)))
                            .collect(),
                    )
                })
                .collect(),
            ProbeShape::Squares { .. } => Vec::new(),
        }
    }

    /// What is drawn of a tile with this commitment.
    pub fn probes(&self, secret: &[u8; 32], commitment: &Blake3Hash) -> Probes {
        let squares = verifier::draw_probes(secret, commitment, &TILE, self.shape, &self.checks);
        if !squares.is_empty() {
            let most = (squares.len() / SQUARES_PER_PROBE_MIN).min(PROBES_PER_TILE_MAX);
            let parts = verifier::split_probes(secret, commitment, &squares, most);
            return Probes {
                later: Some(self.of_squares(&squares)),
                dealt: parts.iter().map(|part| self.of_squares(part)).collect(),
            };
        }
        if self.shape != ProbeShape::Pixels {
            return Probes::default();
        }
        let most = self.checks.probe_pixels.min(PROBES_PER_TILE_MAX as u8);
        let drawn = verifier::draw_pixels(secret, commitment, &self.checks, most);
        let mut parts = drawn.into_iter().map(Part::Pixels);
        Probes {
            later: parts.next(),
            dealt: parts.collect(),
        }
    }

    fn of_squares(&self, squares: &[Rect]) -> Part {
        let price_px = match self.shape {
            ProbeShape::Squares { price_px, .. } => u64::from(price_px),
            ProbeShape::Pixels => 0,
        };
        let cells = squares.iter().flat_map(Rect::cells);
        let at = |(cell, _): (Cell, Rect)| (cell.row * TILE_SIDE_CELLS + cell.column) as usize;
        Part::Squares {
            cells: cells.map(at).collect(),
            price_px: squares.len() as u64 * price_px,
        }
    }
}

/// What is drawn of a tile.
#[derive(Debug, Default)]
pub struct Probes {
    /// Asked of one worker if somebody who vouched for the tile is caught.
    pub later: Option<Part>,
    /// Asked of one worker each.
    pub dealt: Vec<Part>,
}

/// What somebody who checks a tile renders of it.
#[derive(Debug, Clone)]
pub enum Part {
    /// Cells at its rim: part of a neighbour's tile.
    Rim(Vec<usize>),
    /// Squares.
    Squares {
        /// Their cells.
        cells: Vec<usize>,
        /// What they cost, in pixels of a tile that cost as much.
        price_px: u64,
    },
    /// Secret pixels.
    Pixels(SecretPixels),
}

impl Part {
    /// Cells that it looks into.
    pub fn cells(&self) -> usize {
        match self {
            Part::Rim(cells) | Part::Squares { cells, .. } => cells.len(),
            Part::Pixels(_) => TILE_CELLS as usize,
        }
    }

    /// What it costs, in tiles.
    pub fn share(&self) -> f64 {
        let pixels = match self {
            Part::Rim(cells) => cells.len() as u64 * u64::from(CELL_PIXELS),
            Part::Squares { price_px, .. } => *price_px,
            Part::Pixels(pixels) => pixels.count(&TILE),
        };
        pixels as f64 / TILE.area() as f64
    }

    /// In how many cells it shows that a delivery is wrong.
    pub fn wrong_cells(&self, answer: &Answer) -> usize {
        let Some(faked) = answer else {
            return 0;
        };
        match self {
            Part::Rim(cells) | Part::Squares { cells, .. } => {
                let wrong = cells.iter().filter(|cell| faked.cells.contains(**cell));
                wrong.count()
            }
            // Whichever pixel of a cell it is.
            Part::Pixels(_) if faked.pixels == WHOLE_CELL => faked.cells.count() as usize,
            Part::Pixels(pixels) => wrong_by_pixels(pixels, faked),
        }
    }

    /// Is a fault in so many of its cells taken for bad memory? Neighbours compare more cells than one side's.
    pub fn is_isolated(&self, wrong_cells: usize) -> bool {
        let compares_many = matches!(self, Part::Rim(_)) || self.cells() >= FLAKY_CELLS_MIN;
        wrong_cells == 1 && compares_many
    }
}

fn wrong_by_pixels(pixels: &SecretPixels, faked: &Faked) -> usize {
    let places = pixels.places(&TILE).into_iter();
    let wrong = places.filter(|&(cell, pixel)| faked.covers(cell, u32::from(pixel)));
    let mut cells: Vec<usize> = wrong.map(|(cell, _)| cell).collect();
    cells.dedup();
    cells.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::strategies::CellSet;

    const LEVELS: [Policy; 5] = [
        Policy::UNKNOWN,
        Policy::TRUSTED,
        Policy::OWN,
        Policy::SQUARES_UNKNOWN,
        Policy::SQUARES_TRUSTED,
    ];

    fn drawn(policy: &Policy, number: u32) -> Probes {
        policy.probes(&[7; 32], &Blake3Hash::of(&number.to_le_bytes()))
    }

    fn one_cell(cell: usize, pixels: u64) -> Answer {
        let mut cells = CellSet::none(TILE_CELLS as usize);
        cells.insert(cell);
        Some(Faked {
            cells,
            pixels,
            filler: 1,
        })
    }

    #[test]
    fn probes_cost_what_is_drawn() {
        for policy in LEVELS {
            let each = (0..2_000).map(|number| {
                let dealt = drawn(&policy, number).dealt;
                dealt.iter().map(Part::share).sum::<f64>()
            });
            let mean = each.sum::<f64>() / 2_000.0;
            let spent = mean / policy.probe_share();
            let least = match policy.shape {
                ProbeShape::Pixels => 0.92,
                // A few are left out for blocks that are about as wide as high.
                ProbeShape::Squares { .. } => 0.85,
            };
            assert!(spent > least && spent < 1.08, "{}: {mean}", policy.name);
        }
    }

    #[test]
    fn squares_are_those_of_a_frame_that_takes_a_minute() {
        let rect_px = PIXELS / RECTANGLES_PER_FRAME;
        assert_eq!(SQUARES, ProbeShape::squares(rect_px.into(), 0));
    }

    /// What a square of wrong pixels in one cell is seen by: a share of its area each time.
    #[test]
    fn a_part_sees_a_whole_cell_always_and_pixels_of_it_by_their_share() {
        for (pixels, share) in [(WHOLE_CELL, 1.0), (0x0f0f_0f0f, 0.25), (1 << 9, 1.0 / 64.0)] {
            let answer = one_cell(77, pixels);
            let parts = (0..1_000).flat_map(|number| drawn(&Policy::UNKNOWN, number).dealt);
            let seen: usize = parts.map(|part| part.wrong_cells(&answer)).sum();
            let off = seen as f64 / 8_000.0 / share - 1.0;
            assert!(off.abs() < 0.3, "{seen} of 8000, not {share}");
        }
    }

    #[test]
    fn pixels_that_are_all_wrong_are_counted_as_the_draw_has_them() {
        let answer = one_cell(1_023, WHOLE_CELL);
        let faked = answer.as_ref().unwrap();
        for part in drawn(&Policy::TRUSTED, 1).dealt {
            let Part::Pixels(pixels) = &part else {
                panic!("{part:?}");
            };
            assert_eq!(wrong_by_pixels(pixels, faked), part.wrong_cells(&answer));
        }
    }

    #[test]
    fn the_levels_cost_what_the_pages_say() {
        let cost = |policy: Policy| (policy.overhead() * 1e3).round() as u32;
        assert_eq!(cost(Policy::UNKNOWN), 1_391);
        assert_eq!(cost(Policy::PROBATION), 1_278);
        assert_eq!(cost(Policy::TRUSTED), 1_098);
        assert_eq!(cost(Policy::OWN), 1_028);
    }
}
