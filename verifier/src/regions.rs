//! Where a tile is judged by its noise: regions drawn secretly, once its worker has committed to it.

use crate::{
    draw::SecretDraw,
    noise::{Pixel, REGION_SIDE_PX_MIN, SMALL_REGION_SIDE_PX_BELOW},
};
use protocol::{Blake3Hash, Rect, geometry::CELL_PX};

const REGIONS_CONTEXT: &[u8] = b"open render farm 2026 region draw v1";
/// Sides of regions, in pixels, with how many of them a tile gets; the first that fits twice is taken.
const SHAPES: [(u32, usize); 2] = [
    (SMALL_REGION_SIDE_PX_BELOW as u32, 2),
    (REGION_SIDE_PX_MIN as u32, 4),
];
/// With fewer regions nothing can be decided.
const REGIONS_MIN: u32 = 2;
/// By how much of itself a value of albedo, normal or depth may differ; smaller ones count as large as this.
const DATA_TOLERANCE: f32 = 0.01;
/// One pixel of so many may differ by more.
const DATA_OUTSIDE: usize = 10;

/// Squares of whole cells within a tile, none of which overlap: two of 32x32 px, in small tiles up to four of 16x16 px; none
/// where not even two of these fit. If a cell of the tile is given, the first region has it.
pub fn draw_regions(
    secret: &[u8; 32],
    commitment: &Blake3Hash,
    core: &Rect,
    around: Option<&Rect>,
) -> Vec<Rect> {
    let Some((side, count)) = shape_for(core) else {
        return Vec::new();
    };
    let mut draw = SecretDraw::new(secret, REGIONS_CONTEXT, &commitment.0);
    let (across, down) = (core.width / side, core.height / side);
    // The lattice of regions lies anywhere in the tile.
    let mut shift = |length: u32| draw.below((length % side) / CELL_PX + 1) * CELL_PX;
    let (left, top) = (core.x + shift(core.width), core.y + shift(core.height));
    let order = draw.permutation(across * down);
    let region = |place: &u32| Rect {
        x: left + place % across * side,
        y: top + place / across * side,
        width: side,
        height: side,
    };
    let mut regions: Vec<Rect> = around
        .and_then(|cell| region_around(core, cell, side))
        .into_iter()
        .collect();
    let overlaps = |one: &Rect, other: &Rect| {
        one.x < other.x + side
            && other.x < one.x + side
            && one.y < other.y + side
            && other.y < one.y + side
    };
    for drawn in order.iter().map(region) {
        if regions.len() < count && !regions.iter().any(|other| overlaps(other, &drawn)) {
            regions.push(drawn);
        }
    }
    regions
}

/// Can a tile of this core be judged?
pub fn has_regions(core: &Rect) -> bool {
    shape_for(core).is_some()
}

/// Do two renders of albedo, normal or depth agree as far as honest classes do? All but a tenth of the pixels have to, within a
/// hundredth: rounding and diverged paths stay far below, so more of a difference is in doubt. It convicts nobody.
pub fn data_agrees(one: &[Pixel], other: &[Pixel]) -> bool {
    let is_near = |(one, other): (&f32, &f32)| {
        let (apart, size) = ((one - other).abs(), one.abs().max(other.abs()));
        apart <= DATA_TOLERANCE * size.max(DATA_TOLERANCE)
    };
    let apart = |(one, other): &(&Pixel, &Pixel)| !one.iter().zip(*other).all(is_near);
    let differing = one.iter().zip(other).filter(apart).count();
    one.len() == other.len() && differing * DATA_OUTSIDE <= one.len()
}

fn shape_for(core: &Rect) -> Option<(u32, usize)> {
    let fits = |(side, _): &(u32, usize)| (core.width / side) * (core.height / side) >= REGIONS_MIN;
    SHAPES.into_iter().find(fits)
}

/// The region with a cell in its middle, as far as the tile goes; none if the cell lies outside.
fn region_around(core: &Rect, cell: &Rect, side: u32) -> Option<Rect> {
    let place = |cell: u32, start: u32, length: u32| {
        (start..start + length).contains(&cell).then(|| {
            let most = (length - side) / CELL_PX * CELL_PX;
            let middle = (cell - start).saturating_sub(side / 2) / CELL_PX * CELL_PX;
            start + middle.min(most)
        })
    };
    Some(Rect {
        x: place(cell.x, core.x, core.width)?,
        y: place(cell.y, core.y, core.height)?,
        width: side,
        height: side,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Size;

    fn tile(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    fn holds(whole: &Rect, part: &Rect) -> bool {
        whole.intersection(part) == Some(*part)
    }

    fn drawn(seed: u8, core: &Rect, around: Option<&Rect>) -> Vec<Rect> {
        draw_regions(&[seed; 32], &Blake3Hash([7; 32]), core, around)
    }

    #[test]
    fn regions_lie_apart_within_the_tile_and_on_whole_cells() {
        let frame = Size::new(4_000, 4_000).unwrap();
        let tiles = [
            (tile(64, 128, 256, 256), 2, 32),
            (tile(0, 0, 67, 45), 2, 32),
            (tile(8, 8, 47, 33), 4, 16),
            (tile(8, 8, 16, 33), 2, 16),
            (tile(0, 0, 63, 16), 3, 16),
        ];
        for (core, count, side) in tiles {
            for seed in 0..50 {
                let regions = drawn(seed, &core, None);
                assert_eq!(regions.len(), count, "{core}");
                for (at, one) in regions.iter().enumerate() {
                    assert_eq!((one.width, one.height), (side, side));
                    assert!(
                        one.is_whole_cells(frame) && holds(&core, one),
                        "{one} of {core}"
                    );
                    for other in &regions[at + 1..] {
                        let apart =
                            one.x.abs_diff(other.x) >= side || one.y.abs_diff(other.y) >= side;
                        assert!(apart, "{one} and {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn tiles_that_are_too_small_have_none() {
        for core in [tile(0, 0, 31, 31), tile(0, 0, 15, 640), tile(0, 0, 8, 8)] {
            assert!(!has_regions(&core) && drawn(1, &core, None).is_empty());
        }
    }

    #[test]
    fn a_disputed_cell_is_in_the_first_region() {
        let core = tile(64, 64, 128, 72);
        for (x, y) in [(64, 64), (184, 128), (120, 96), (64, 128)] {
            let cell = tile(x, y, 8, 8);
            let regions = drawn(3, &core, Some(&cell));
            assert_eq!(regions.len(), 2, "{cell}");
            assert!(holds(&regions[0], &cell) && holds(&core, &regions[0]));
        }
        let outside = tile(0, 0, 8, 8);
        assert_eq!(drawn(3, &core, Some(&outside)), drawn(3, &core, None));
    }

    #[test]
    fn data_agrees_up_to_a_tenth_of_the_pixels() {
        let render: Vec<Pixel> = (0..100).map(|at| [at as f32, 1.0, -0.5, 0.0]).collect();
        let with = |count: usize, factor: f32| {
            let mut other = render.clone();
            other[50..50 + count]
                .iter_mut()
                .for_each(|pixel| pixel[0] *= factor);
            other
        };
        assert!(data_agrees(&render, &with(50, 1.009)));
        assert!(data_agrees(&render, &with(10, 2.0)));
        assert!(!data_agrees(&render, &with(11, 1.02)));
        assert!(!data_agrees(&render, &with(11, f32::NAN)));
        assert!(!data_agrees(&render, &render[1..]));
    }

    #[test]
    fn every_cell_may_be_judged_and_nobody_can_tell_which_will() {
        let core = tile(0, 0, 72, 72);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            for region in drawn(seed, &core, None) {
                seen.extend(region.cells().map(|(cell, _)| (cell.column, cell.row)));
            }
        }
        assert_eq!(seen.len(), 81);
        assert_ne!(drawn(1, &core, None), drawn(2, &core, None));
    }
}
