//! How the frames of a job are divided.
//!
//! Whole frames are best: nothing is rendered twice at borders and a scene is built once a frame. Tiles are for long
//! frames, so that a task takes tens of seconds and a lost one costs little; for more workers than frames; and for
//! frames too large to be delivered in one piece.

use protocol::{
    Size, TileGrid, geometry::CELL_PX, limits::TASK_BYTES_MAX, pixels::canonical_length,
};

/// Samples a second of one worker while none has joined (a small processor on a plain scene).
pub const SAMPLES_PER_SECOND_DEFAULT: u64 = 2_000_000;
/// A task longer than this is divided, in milliseconds.
pub const TASK_MS_LONG: u64 = 60_000;
/// What a task should take when frames are divided, in milliseconds.
pub const TASK_MS_TARGET: u64 = 20_000;
/// No task is made shorter than this for the sake of more workers, in milliseconds.
pub const TASK_MS_MIN: u64 = 2_000;
/// Tasks for each worker, where workers outnumber frames: the fast ones take more.
pub const TASKS_PER_WORKER: u64 = 3;
/// No tile is planned smaller than this: an 8 px overlap is 27 % of a tile of 64 px.
pub const TILE_PX_MIN: u32 = 64;
/// Most tiles of a frame.
pub const FRAME_TILES_MAX: u32 = 16_384;
/// The rest of a tile takes at least so many times the fixed cost of starting on one.
const RECT_OVERHEADS_MIN: u64 = 10;

/// What is known beforehand of an engine's cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostHints {
    /// Samples a second of one worker ([`SAMPLES_PER_SECOND_DEFAULT`] while unknown).
    pub samples_per_second: u64,
    /// Fixed time for each rectangle in milliseconds: nothing for the tracer, 60 to 340 for Blender.
    pub rect_overhead_ms: u64,
}

impl CostHints {
    /// What a rectangle costs besides its pixels, in pixels at so many samples that cost as much.
    pub fn rect_px(&self, samples: u32) -> u64 {
        let samples_in_it = u128::from(self.rect_overhead_ms) * u128::from(self.samples_per_second);
        let pixels = samples_in_it / 1000 / u128::from(samples.max(1));
        u64::try_from(pixels).unwrap_or(u64::MAX)
    }
}

/// What is to be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRequest {
    /// Size of a frame.
    pub size: Size,
    /// Frames of the job.
    pub frames: u64,
    /// Samples a pixel.
    pub samples: u32,
    /// Ranges that they are divided into; 1 for none.
    pub ranges: u32,
    /// Passes of a delivery.
    pub passes: usize,
    /// Workers to expect.
    pub workers: u64,
    /// Side of a tile in pixels if the user asked for one; 0 for whole frames.
    pub tile_px: Option<u32>,
    /// The engine's cost.
    pub hints: CostHints,
}

/// A division and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The tiles of each frame.
    pub grid: TileGrid,
    /// One line for a person.
    pub why: String,
}

/// Divides the frames of a job. The result never breaks the limits on a task's bytes and a frame's tiles.
pub fn plan(request: &PlanRequest) -> Plan {
    let range_ms = range_ms(request);
    let (tile_px, reason) = match request.tile_px {
        Some(tile_px) => (tile_px, "as asked".to_owned()),
        None => wished_tile(request, range_ms),
    };
    let wished = TileGrid::new(request.size, tile_px).in_ranges(request.ranges);
    let grid = within_limits(wished, request.passes);
    let limited = match grid == wished {
        true => "",
        false => "; changed to fit the limits of one delivery and one frame",
    };
    let task_ms = range_ms / u64::from(grid.square_count());
    let division = match grid.square_count() {
        1 => format!("whole frames of {}", request.size),
        tiles => format!("{tiles} tiles of {} px a frame", grid.tile_cells * CELL_PX),
    };
    let division = match grid.ranges {
        1 => division,
        ranges => format!("{division} in {ranges} ranges of samples"),
    };
    Plan {
        grid,
        why: format!(
            "{division}, about {} each: {reason}{limited}",
            duration(task_ms)
        ),
    }
}

/// Time of a whole frame, or of one range of its samples, on one worker.
fn range_ms(request: &PlanRequest) -> u64 {
    let of_pixel = request.samples.div_ceil(request.ranges.max(1));
    let samples = u128::from(request.size.area()) * u128::from(of_pixel);
    let ms = samples * 1000 / u128::from(request.hints.samples_per_second.max(1));
    u64::try_from(ms)
        .unwrap_or(u64::MAX)
        .saturating_add(request.hints.rect_overhead_ms)
}

/// The side of tiles that suits a frame, or each range of its samples: these are as good as frames to share out.
fn wished_tile(request: &PlanRequest, range_ms: u64) -> (u32, String) {
    let parts = request.frames * u64::from(request.ranges.max(1));
    let shortest = TASK_MS_MIN.max(request.hints.rect_overhead_ms * RECT_OVERHEADS_MIN);
    let tiles_most = range_ms / shortest;
    let for_length = match range_ms > TASK_MS_LONG {
        true => range_ms.div_ceil(TASK_MS_TARGET),
        false => 1,
    };
    let for_workers = match request.workers > parts {
        true => (request.workers * TASKS_PER_WORKER).div_ceil(parts.max(1)),
        false => 1,
    };
    let tiles = for_length.max(for_workers).min(tiles_most.max(1));
    let count = |n: u64, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let (frames, workers) = (
        count(request.frames, "frame"),
        count(request.workers, "worker"),
    );
    let reason = match tiles {
        1 => format!("{frames} for {workers}"),
        _ if for_workers >= for_length => format!("only {frames} for {workers}"),
        _ if request.ranges > 1 => format!("a whole range would take about {}", duration(range_ms)),
        _ => format!("a whole frame would take about {}", duration(range_ms)),
    };
    match tiles {
        1 => (0, reason),
        tiles => (side_for(request.size, tiles), reason),
    }
}

/// Side of square tiles so that a frame has about this many, in whole cells.
fn side_for(size: Size, tiles: u64) -> u32 {
    let side = (size.area() / tiles.max(1)).isqrt() as u32;
    (side / CELL_PX * CELL_PX).max(TILE_PX_MIN)
}

fn within_limits(wished: TileGrid, passes: usize) -> TileGrid {
    let mut grid = wished;
    while grid.tile_count() > FRAME_TILES_MAX {
        grid.tile_cells += grid.tile_cells.div_ceil(8);
    }
    while grid.tile_cells > 1 && canonical_length(&[grid.rendered(0)], passes) > TASK_BYTES_MAX {
        grid.tile_cells -= grid.tile_cells.div_ceil(8).min(grid.tile_cells - 1);
    }
    grid
}

fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => "under a second".to_owned(),
        1_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(width: u64, height: u64, frames: u64, workers: u64) -> PlanRequest {
        PlanRequest {
            size: Size::new(width, height).unwrap(),
            frames,
            samples: 16,
            ranges: 1,
            passes: 4,
            workers,
            tile_px: None,
            hints: CostHints {
                samples_per_second: SAMPLES_PER_SECOND_DEFAULT,
                rect_overhead_ms: 0,
            },
        }
    }

    #[test]
    fn a_rectangle_costs_as_much_as_fewer_pixels_of_more_samples() {
        let hints = |rect_overhead_ms, samples_per_second| CostHints {
            samples_per_second,
            rect_overhead_ms,
        };
        assert_eq!(hints(200, 2_000_000).rect_px(128), 3_125);
        assert_eq!(hints(200, 2_000_000).rect_px(16), 25_000);
        assert_eq!(hints(0, 2_000_000).rect_px(0), 0);
        assert_eq!(hints(u64::MAX, u64::MAX).rect_px(1), u64::MAX);
    }

    #[test]
    fn short_frames_for_few_workers_stay_whole() {
        let plan = plan(&request(1920, 1080, 250, 4));
        assert_eq!(plan.grid.tile_count(), 1);
        assert_eq!(
            plan.why,
            "whole frames of 1920x1080, about 16 s each: 250 frames for 4 workers"
        );
    }

    #[test]
    fn long_frames_are_divided_into_tasks_of_tens_of_seconds() {
        let mut long = request(1920, 1080, 250, 4);
        long.samples = 1024;
        let plan = plan(&long);
        let task_ms = range_ms(&long) / u64::from(plan.grid.tile_count());
        assert!((10_000..40_000).contains(&task_ms), "{}", plan.why);
        assert!(
            plan.why.ends_with("a whole frame would take about 17 min"),
            "{}",
            plan.why
        );
    }

    #[test]
    fn more_workers_than_frames_share_frames_but_tasks_stay_worth_while() {
        let shared = plan(&request(1920, 1080, 1, 2));
        assert!(shared.grid.tile_count() >= 6, "{}", shared.why);
        assert!(
            shared.why.ends_with("only 1 frame for 2 workers"),
            "{}",
            shared.why
        );
        let tiny = plan(&request(64, 64, 1, 100));
        assert_eq!(tiny.grid.tile_count(), 1, "{}", tiny.why);
        let mut costly = request(1920, 1080, 1, 100);
        costly.hints.rect_overhead_ms = 300;
        let tiles = plan(&costly).grid.tile_count();
        assert!((2..=8).contains(&tiles), "{tiles} tiles at 300 ms each");
    }

    #[test]
    fn the_users_tile_size_wins_within_the_limits() {
        let asked = |width, height, tile_px| {
            plan(&PlanRequest {
                tile_px: Some(tile_px),
                ..request(width, height, 10, 4)
            })
        };
        assert_eq!(asked(1920, 1080, 256).grid.tile_cells, 32);
        assert_eq!(asked(1920, 1080, 0).grid.tile_count(), 1);
        let huge = asked(16384, 8192, 0);
        assert!(canonical_length(&[huge.grid.rendered(0)], 4) <= TASK_BYTES_MAX);
        assert!(huge.grid.tile_count() > 1 && huge.why.contains("limits"));
        let many = asked(16384, 8192, 8);
        assert!(many.grid.tile_count() <= FRAME_TILES_MAX, "{}", many.why);
    }
}
