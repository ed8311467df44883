//! Probes: secret pixels or cells of a tile, drawn after its worker committed to it, to be rendered again by somebody else.
//!
//! The draw is a keyed function of (the job's secret seed, the commitment): a worker cannot know it before committing,
//! and the requestor cannot choose by hand.
//!
//! Where an engine renders single pixels at their price, several workers each render a secret pixel of *every* cell
//! ([`draw_pixels`]). A cell that is faked whole passes only if all of them are accomplices, at a sixty-fourth of the
//! tile's cost for each. Edits of a few pixels in a cell are seen with the share that they have of it, each time.
//!
//! Where rectangles have a price of their own, probes are squares ([`draw_probes`]), which see shares of a tile: as many
//! as a stated part of the tile's own cost pays for, so that a long task gets many and a short one few or, now and then, none.
//! Their positions are multi-jittered (Chiu, Shirley, Wang: "Multi-jittered sampling", Graphics Gems IV): one to a block of
//! the tile and, within the blocks, one to a fine row and a fine column, while every cell is equally likely.

use crate::{
    draw::SecretDraw,
    trust::{SHARES, TrustPolicy},
};
use protocol::{Blake3Hash, Rect, SecretPixels, geometry::CELL_PX, secret_pixels::PER_CELL_MAX};
use serde::{Deserialize, Serialize};

/// Most squares of a tile: what is kept of them takes half a kilobyte each.
pub const SQUARES_MAX: u32 = 256;
/// Longest side of a square in cells: more small ones see more of a strip than fewer large ones.
const SIDE_CELLS_MAX: u32 = 4;
/// So much of its squares may be left out for a number that divides the tile into better blocks: one part of so many.
const SQUARES_SPARED: u32 = 8;
/// A block with sides of three to two is good, in thousandths.
const GOOD_ELONGATION: u64 = 1_500;

const DRAW_CONTEXT: &[u8] = b"open render farm 2026 probe draw v3";
const PIXELS_CONTEXT: &[u8] = b"open render farm 2026 pixel probe draw v1";
const CHALLENGE_CONTEXT: &[u8] = b"open render farm 2026 pixel probe challenge v1";
const SPLIT_CONTEXT: &[u8] = b"open render farm 2026 probe split v1";
const REPLICA_CONTEXT: &[u8] = b"open render farm 2026 replica draw v1";

/// What probes look like, by what a rectangle costs the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeShape {
    /// Single pixels of every cell, for engines that render any rectangle at the price of its pixels.
    Pixels,
    /// Squares, for engines that charge for each rectangle.
    Squares {
        /// Side of a square in cells.
        side_cells: u32,
        /// What one costs, in pixels of a tile that cost as much.
        price_px: u32,
    },
}

impl ProbeShape {
    /// Squares for an engine to which a rectangle costs as much as `rect_px` pixels besides its own and those of a
    /// guard band around it. They are as large as their cells cost about as much as what comes with them.
    pub fn squares(rect_px: u64, guard_px: u32) -> Self {
        let own_px = |side_cells: u32| u64::from(side_cells * CELL_PX).pow(2);
        let price_px = |side_cells: u32| {
            let rendered = u64::from(side_cells * CELL_PX) + 2 * u64::from(guard_px);
            rect_px.saturating_add(rendered.saturating_pow(2))
        };
        // A half more is allowed, because single cells see little of what is scattered.
        let is_worth_it =
            |side: &u32| 2 * own_px(*side) <= (price_px(*side) - own_px(*side)).saturating_mul(3);
        let side_cells = (2..=SIDE_CELLS_MAX).rev().find(is_worth_it).unwrap_or(1);
        Self::Squares {
            side_cells,
            price_px: u32::try_from(price_px(side_cells)).unwrap_or(u32::MAX),
        }
    }
}

/// Squares that a tile gets on average, in thousandths; none where probes are pixels.
pub fn squares_thousandths(core: &Rect, shape: ProbeShape, policy: &TrustPolicy) -> u32 {
    let ProbeShape::Squares { price_px, .. } = shape else {
        return 0;
    };
    let worth = core.area().saturating_mul(u64::from(policy.squares_share));
    let count = worth / u64::from(price_px.max(1));
    count.min(u64::from(SQUARES_MAX) * u64::from(SHARES)) as u32
}

/// The squares of a tile: rectangles of whole cells inside `core`, sorted, at most [`SQUARES_MAX`]. Empty when this tile
/// is left unprobed because one costs more than the policy spends, or its probes are pixels.
pub fn draw_probes(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    core: &Rect,
    shape: ProbeShape,
    policy: &TrustPolicy,
) -> Vec<Rect> {
    let ProbeShape::Squares { side_cells, .. } = shape else {
        return Vec::new();
    };
    let mut draw = Lattice(SecretDraw::new(secret, DRAW_CONTEXT, &commitment.0));
    // What is left of a whole square is had by chance: so the average is what the policy spends.
    let count = (squares_thousandths(core, shape, policy) + draw.below(SHARES)) / SHARES;
    match count {
        0 => Vec::new(),
        count => draw.squares(core, side_cells.max(1), count),
    }
}

/// The secret pixels of a tile: first those that are asked of nobody unless its worker or one of its probers is caught
/// later (one of each cell), then a part for each of so many probers, together as many of each cell as the policy says.
/// Empty when the policy leaves this tile unprobed.
///
/// Each part has a challenge of its own, derived by a keyed hash from the commitment and its number: who renders one
/// learns nothing about the others.
pub fn draw_pixels(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    policy: &TrustPolicy,
    parts: u8,
) -> Vec<SecretPixels> {
    let mut draw = SecretDraw::new(secret, PIXELS_CONTEXT, &commitment.0);
    if draw.below(policy.pixels_every) != 0 {
        return Vec::new();
    }
    let all = policy.probe_pixels.max(1);
    let parts = parts.clamp(1, all);
    let counts = (0..parts).map(|part| ((all + part) / parts).min(PER_CELL_MAX));
    let pixels = |(number, per_cell): (u8, u8)| SecretPixels {
        challenge: challenge(secret, commitment, number),
        per_cell,
        packed: None,
    };
    (0..)
        .zip(std::iter::once(1).chain(counts))
        .map(pixels)
        .collect()
}

fn challenge(secret: &[u8; 32], commitment: &Blake3Hash, number: u8) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&(CHALLENGE_CONTEXT.len() as u64).to_le_bytes());
    hasher.update(CHALLENGE_CONTEXT).update(&commitment.0);
    hasher.update(&[number]);
    hasher.finalize().into()
}

/// Deals the probes of a tile out in `parts` of about equal size, each to be rendered by another worker; in their order within
/// each. Who renders one of them cannot tell from it where the others lie.
pub fn split_probes(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    probes: &[Rect],
    parts: usize,
) -> Vec<Vec<Rect>> {
    let parts = parts.clamp(1, probes.len().max(1));
    let mut draw = SecretDraw::new(secret, SPLIT_CONTEXT, &commitment.0);
    let order = draw.permutation(probes.len() as u32);
    let part = |first: usize| {
        let mut chosen: Vec<u32> = order.iter().copied().skip(first).step_by(parts).collect();
        chosen.sort_unstable();
        let probe = |index: u32| probes[index as usize];
        chosen.into_iter().map(probe).collect()
    };
    (0..parts).map(part).collect()
}

/// Is this tile one of those that are rendered twice whole?
pub fn draw_replica(secret: &[u8; 32], commitment: &Blake3Hash, policy: &TrustPolicy) -> bool {
    let mut draw = SecretDraw::new(secret, REPLICA_CONTEXT, &commitment.0);
    draw.below(SHARES) < policy.replica_share
}

/// Most pixels that the probes of a tile can have: what to set aside for them before they are drawn.
pub fn probe_pixels_max(core: &Rect, shape: ProbeShape, policy: &TrustPolicy) -> u64 {
    match shape {
        ProbeShape::Pixels => core.cell_count() as u64 * u64::from(policy.probe_pixels),
        ProbeShape::Squares { side_cells, .. } => {
            let side = u64::from(side_cells).min(core.cell_count() as u64);
            let count = squares_thousandths(core, shape, policy).div_ceil(SHARES);
            side * side * u64::from(count) * u64::from(CELL_PX) * u64::from(CELL_PX)
        }
    }
}

/// Positions of probes in a tile, as a stream of secret numbers has them.
struct Lattice(SecretDraw);

impl Lattice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.below(limit)
    }

    /// `count` permutations of the numbers below `length`, one after the other.
    fn permutations(&mut self, count: u32, length: u32) -> Vec<u32> {
        (0..count)
            .flat_map(|_| self.0.permutation(length))
            .collect()
    }

    /// `count` multi-jittered points of a lattice of `columns` x `rows`; two may fall on one lattice point.
    fn points(&mut self, columns: u32, rows: u32, count: u32) -> Vec<(u32, u32)> {
        let (across, down) = blocks(columns, rows, count);
        let fine_columns = self.permutations(across, down);
        let fine_rows = self.permutations(down, across);
        let mut points = Vec::with_capacity(count as usize);
        for i in 0..across {
            for j in 0..down {
                let fine_column = i * down + fine_columns[(i * down + j) as usize];
                let fine_row = j * across + fine_rows[(j * across + i) as usize];
                let column = self.within(fine_column, count, columns);
                points.push((column, self.within(fine_row, count, rows)));
            }
        }
        points
    }

    /// A lattice line of `lines`, uniform in stratum `index` of `strata`.
    fn within(&mut self, index: u32, strata: u32, lines: u32) -> u32 {
        let whole = u64::from(index) * u64::from(lines);
        ((whole + u64::from(self.below(lines))) / u64::from(strata.max(1))) as u32
    }

    /// Squares may stick out of the tile and are cut there: else cells at its rim would be less likely than others.
    fn squares(&mut self, core: &Rect, side: u32, count: u32) -> Vec<Rect> {
        let columns = core.cells_across().saturating_add(side - 1);
        let rows = core.cells_down().saturating_add(side - 1);
        let inset = i64::from(side - 1);
        let count = divisible(columns, rows, count);
        let mut found: Vec<Rect> = self
            .points(columns, rows, count)
            .into_iter()
            .filter_map(|(column, row)| {
                square(
                    core,
                    i64::from(column) - inset,
                    i64::from(row) - inset,
                    side,
                )
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// How far the blocks are from squares if a lattice is divided into so many across and down: the longer side in units of the
/// shorter, in thousandths.
fn elongation(columns: u32, rows: u32, across: u32, down: u32) -> u64 {
    let wide = u64::from(columns) * u64::from(down);
    let high = u64::from(rows) * u64::from(across);
    wide.max(high) * 1000 / wide.min(high).max(1)
}

/// Divides a lattice into exactly `count` blocks, as square as the divisors of `count` allow: blocks across and down.
fn blocks(columns: u32, rows: u32, count: u32) -> (u32, u32) {
    let count = count.max(1);
    let across = (1..=count)
        .filter(|across| count.is_multiple_of(*across))
        .min_by_key(|&across| elongation(columns, rows, across, count / across))
        .unwrap_or(1);
    (across, count / across)
}

/// The largest number, this or a little below, that divides a lattice into blocks of a good shape; else into the best.
fn divisible(columns: u32, rows: u32, count: u32) -> u32 {
    let shape = |count: &u32| {
        let (across, down) = blocks(columns, rows, *count);
        elongation(columns, rows, across, down).max(GOOD_ELONGATION)
    };
    let candidates = (count - count / SQUARES_SPARED..=count).rev();
    candidates.min_by_key(shape).unwrap_or(count)
}

/// A square of cells at a position within a tile (in cells, possibly negative), cut at the tile's edge.
fn square(core: &Rect, column: i64, row: i64, side: u32) -> Option<Rect> {
    let pixels = |start: u32, cell: i64, limit: u32| {
        let at = (i64::from(start) + cell * i64::from(CELL_PX)).clamp(0, i64::from(limit));
        at as u32
    };
    let (x, y) = (
        pixels(core.x, column, core.right()).max(core.x),
        pixels(core.y, row, core.bottom()).max(core.y),
    );
    let right = pixels(core.x, column + i64::from(side), core.right());
    let bottom = pixels(core.y, row + i64::from(side), core.bottom());
    (x < right && y < bottom).then(|| Rect {
        x,
        y,
        width: right - x,
        height: bottom - y,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trust;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const TILE: Rect = Rect {
        x: 256,
        y: 512,
        width: 256,
        height: 256,
    };
    /// Four squares in such a tile of a stranger.
    const SQUARES: ProbeShape = ProbeShape::Squares {
        side_cells: 4,
        price_px: 2293,
    };

    fn seeded(number: u64) -> Blake3Hash {
        Blake3Hash::of(&number.to_le_bytes())
    }

    fn squares(number: u64, trust: Trust) -> Vec<Rect> {
        let (secret, policy) = ([7; 32], trust.policy());
        draw_probes(&secret, &seeded(number), &TILE, SQUARES, &policy)
    }

    fn pixels(number: u64, trust: Trust, parts: u8) -> Vec<SecretPixels> {
        draw_pixels(&[7; 32], &seeded(number), &trust.policy(), parts)
    }

    #[test]
    fn the_draw_depends_on_secret_and_commitment_alone() {
        let first = squares(1, Trust::Unknown);
        assert_eq!(first, squares(1, Trust::Unknown));
        assert_ne!(first, squares(2, Trust::Unknown));
        let policy = Trust::Unknown.policy();
        let other = draw_probes(&[8; 32], &seeded(1), &TILE, SQUARES, &policy);
        assert_ne!(first, other);
        assert_ne!(
            pixels(1, Trust::Unknown, 8),
            draw_pixels(&[8; 32], &seeded(1), &policy, 8)
        );
    }

    #[test]
    fn pixels_are_dealt_out_whole_and_no_two_parts_have_one_challenge() {
        for (trust, all) in [
            (Trust::Unknown, 8),
            (Trust::Probation, 4),
            (Trust::Trusted, 4),
        ] {
            for parts in 0..10 {
                let drawn = pixels(1, trust, parts);
                let (kept, dealt) = drawn.split_first().unwrap();
                assert_eq!(kept.per_cell, 1);
                assert_eq!(dealt.len(), usize::from(parts.clamp(1, all)));
                assert_eq!(dealt.iter().map(|part| part.per_cell).sum::<u8>(), all);
                let challenges: BTreeSet<_> = drawn.iter().map(|part| part.challenge).collect();
                assert_eq!(challenges.len(), drawn.len());
                // What is kept for later is the same however many probers there were.
                assert_eq!(pixels(1, trust, 1)[0], *kept);
            }
        }
        assert_ne!(pixels(1, Trust::Unknown, 8), pixels(2, Trust::Unknown, 8));
        let probed = (0..1_000).filter(|number| !pixels(*number, Trust::Own, 1).is_empty());
        assert!((420..580).contains(&probed.count()));
        let paranoid = Trust::Own.policy().paranoid(ProbeShape::Pixels);
        assert!(
            (0..100).all(|number| draw_pixels(&[7; 32], &seeded(number), &paranoid, 8).len() == 9)
        );
    }

    /// Finished tiles are probed again with the probes of their first check: a draw must never change.
    #[test]
    fn the_draws_are_those_of_earlier_builds() {
        let mut hasher = blake3::Hasher::new();
        for (number, columns, rows, cut) in [(1, 32, 32, 0), (2, 240, 135, 0), (3, 7, 9, 3)] {
            let core = Rect {
                x: 64,
                y: 8,
                width: columns * 8 - cut,
                height: rows * 8 - cut,
            };
            let (shape, policy) = (SQUARES, Trust::Unknown.policy());
            let squares = draw_probes(&[7; 32], &seeded(number), &core, shape, &policy);
            let parts = draw_pixels(&[7; 32], &seeded(number), &policy, 3).into_iter();
            let pixels = parts.flat_map(|pixels| pixels.rects(&core));
            for probe in squares.into_iter().chain(pixels) {
                hasher.update(probe.to_string().as_bytes());
            }
        }
        let expected = "c3f985b707b58ea2d6f74e2b03546f0776fa51011635d24a38c61492100badb3";
        assert_eq!(hasher.finalize().to_string(), expected);
    }

    #[test]
    fn squares_reach_every_cell_alike_and_own_tiles_now_and_then() {
        let (mut hits, mut own_tiles) = ([0u32; 1024], 0);
        for number in 0..4000 {
            let drawn = squares(number, Trust::Unknown);
            assert!((1..=5).contains(&drawn.len()));
            for (cell, _) in drawn.iter().flat_map(Rect::cells) {
                hits[((cell.row - TILE.y / 8) * 32 + cell.column - TILE.x / 8) as usize] += 1;
            }
            let own = squares(number, Trust::Own);
            assert!(own.len() <= 1);
            own_tiles += own.len();
        }
        // Each cell lies in 16 of 35 x 35 positions, four draws each: 209 expected.
        let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
        assert!(*least > 120 && *most < 300, "{least} to {most}");
        // A square is worth 3.5 hundredths of the tile, and one hundredth is spent.
        assert!((1_000..1_300).contains(&own_tiles), "{own_tiles} of 4000");
    }

    #[test]
    fn squares_follow_the_cost_of_a_tile_and_are_no_dearer_than_they_need_be() {
        let policy = Trust::Trusted.policy();
        let count = |side_px: u32, rect_px: u64, guard_px: u32| {
            let core = Rect {
                x: 0,
                y: 0,
                width: side_px,
                height: side_px,
            };
            let shape = ProbeShape::squares(rect_px, guard_px);
            let ProbeShape::Squares { side_cells, .. } = shape else {
                panic!("{shape:?}");
            };
            (side_cells, squares_thousandths(&core, shape, &policy))
        };
        // A rectangle that costs nothing besides its pixels: single cells, 8 % of all.
        assert_eq!(count(256, 0, 0), (1, 81_920));
        assert_eq!(count(256, 200, 0), (2, 11_497));
        assert_eq!(count(256, 600, 0), (3, 4_458));
        assert_eq!(count(256, 40_000, 0), (4, 127));
        // A wide guard band costs most: then larger squares cost little more.
        assert_eq!(count(1_024, 0, 66), (4, 3_118));
        assert_eq!(count(8_192, 1_000, 0), (4, 256_000));
        assert_eq!(count(8_192, u64::MAX, u32::MAX), (4, 1));
        let pixels = squares_thousandths(&TILE, ProbeShape::Pixels, &policy);
        assert_eq!(pixels, 0);
    }

    /// As many blocks as a strip of a tenth needs lines of, however little a number divides.
    #[test]
    fn numbers_that_divide_badly_are_a_little_smaller() {
        for (count, fewer) in [
            (1, 1),
            (2, 2),
            (5, 5),
            (7, 7),
            (11, 10),
            (37, 36),
            (131, 130),
        ] {
            assert_eq!(divisible(243, 138, count), fewer, "{count}");
        }
        for count in 1..=SQUARES_MAX {
            assert!(divisible(243, 138, count) >= count - count / SQUARES_SPARED);
        }
    }

    #[test]
    fn parts_hold_every_probe_once_and_are_of_equal_size() {
        let shape = ProbeShape::Squares {
            side_cells: 1,
            price_px: 71,
        };
        let policy = Trust::Unknown.policy();
        let mut probes = draw_probes(&[7; 32], &seeded(1), &TILE, shape, &policy);
        probes.truncate(96);
        let parts = split_probes(&[7; 32], &seeded(1), &probes, 8);
        assert!(parts.iter().all(|part| part.len() == 12));
        let mut together = parts.concat();
        together.sort_unstable();
        let mut sorted = probes.clone();
        sorted.sort_unstable();
        assert_eq!(together, sorted);
        assert_eq!(
            split_probes(&[7; 32], &seeded(1), &probes, 1),
            std::slice::from_ref(&probes)
        );
        assert_eq!(split_probes(&[7; 32], &seeded(1), &probes[..3], 8).len(), 3);
        assert_ne!(parts, split_probes(&[8; 32], &seeded(1), &probes, 8));
    }

    #[test]
    fn replicas_are_as_many_as_the_level_says() {
        for (trust, least, most) in [
            (Trust::Unknown, 2_300, 2_700),
            (Trust::Probation, 1_850, 2_150),
            (Trust::Trusted, 150, 250),
            (Trust::Own, 30, 75),
        ] {
            let is_drawn = |number: &u64| draw_replica(&[7; 32], &seeded(*number), &trust.policy());
            let drawn = (0..10_000).filter(is_drawn).count();
            assert!((least..most).contains(&drawn), "{trust:?}: {drawn}");
        }
    }

    proptest! {
        #[test]
        fn probes_are_distinct_whole_cells_inside_the_tile(
            columns in 1u32..70, rows in 1u32..70, cut in 0u32..8, side in 1u32..6,
            price_px in 1u32..20_000, number in any::<u64>(),
        ) {
            let core = Rect { x: 64, y: 8, width: columns * 8 - cut, height: rows * 8 - cut };
            let shape = ProbeShape::Squares { side_cells: side, price_px };
            let policy = Trust::Unknown.policy();
            let probes = draw_probes(&[3; 32], &seeded(number), &core, shape, &policy);
            let distinct: BTreeSet<Rect> = probes.iter().copied().collect();
            prop_assert_eq!(distinct.len(), probes.len());
            prop_assert!(!probes.is_empty() || squares_thousandths(&core, shape, &policy) < SHARES);
            prop_assert!(probes.len() <= SQUARES_MAX as usize);
            prop_assert!(probes.iter().map(Rect::area).sum::<u64>() <= probe_pixels_max(&core, shape, &policy));
            for probe in &probes {
                prop_assert_eq!(probe.intersection(&core), Some(*probe));
                prop_assert!(probe.x.is_multiple_of(8) && probe.y.is_multiple_of(8));
                prop_assert!(probe.right().is_multiple_of(8) || probe.right() == core.right());
                prop_assert!(probe.bottom().is_multiple_of(8) || probe.bottom() == core.bottom());
            }
            let drawn = draw_pixels(&[3; 32], &seeded(number), &policy, 8);
            let count: u64 = drawn[1..].iter().map(|pixels| pixels.count(&core)).sum();
            prop_assert!(count <= probe_pixels_max(&core, ProbeShape::Pixels, &policy));
        }
    }
}
