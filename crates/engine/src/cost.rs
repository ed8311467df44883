//! What rectangles cost an engine on this machine: by the clock, so for plans and for the number of checks only.

use crate::{CancelFlag, Engine, EngineError};
use protocol::{Rect, RenderSettings, geometry::CELL_PX};
use std::time::{Duration, Instant};

/// Samples that are measured with first.
const SAMPLES_FIRST: u32 = 16;
/// The larger of two rectangles is rendered for so many times as long as the smaller: then noise decides little.
const TIMES_LONGER: u32 = 3;
/// Work beyond the smallest rectangle takes at least one part of so many of the time measured.
const NOISE_SHARE: u32 = 16;

/// What a rectangle costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RectangleCost {
    /// Pixels times samples a second.
    pub samples_per_second: u64,
    /// What any rectangle costs besides.
    pub overhead: Duration,
}

/// Time that a number of samples took.
#[derive(Debug, Clone, Copy)]
struct Timed {
    took: Duration,
    samples: u64,
}

/// Measures it with renders of the job's scene: of one cell in the middle of a frame, and of squares around it, each of
/// four times the work, until one takes long. It takes some ten times as long as a small rectangle.
///
/// # Errors
/// Those of the engine.
pub fn measure_cost(
    engine: &mut dyn Engine,
    settings: &RenderSettings,
    frame: i32,
    cancel: &CancelFlag,
) -> Result<RectangleCost, EngineError> {
    compare(settings, |settings, rect| {
        let started = Instant::now();
        engine.render(settings, frame, &[rect], cancel)?;
        Ok(started.elapsed())
    })
}

/// The cost by the times that renders take.
fn compare(
    settings: &RenderSettings,
    mut render: impl FnMut(&RenderSettings, Rect) -> Result<Duration, EngineError>,
) -> Result<RectangleCost, EngineError> {
    let mut reduced = settings.clone();
    reduced.samples = settings.samples.min(SAMPLES_FIRST);
    let mut time = |reduced: &RenderSettings, rect: Rect| -> Result<Timed, EngineError> {
        let pixels = rect.grown(reduced.guard_px, reduced.size).area();
        Ok(Timed {
            took: render(reduced, rect)?,
            samples: pixels * u64::from(reduced.samples),
        })
    };
    let cell = middle(settings, 1);
    // The first pays for building the frame.
    time(&reduced, cell)?;
    let (first, second) = (time(&reduced, cell)?, time(&reduced, cell)?);
    let small = match first.took < second.took {
        true => first,
        false => second,
    };
    let (mut cells, whole) = (8, settings.size.rect());
    loop {
        let rect = middle(settings, cells);
        let large = time(&reduced, rect)?;
        match rect == whole {
            _ if large.took >= small.took * TIMES_LONGER => return Ok(between(small, large)),
            true if reduced.samples >= settings.samples => return Ok(between(small, large)),
            true => reduced.samples = reduced.samples.saturating_mul(4).min(settings.samples),
            false => cells *= 2,
        }
    }
}

/// Cost a sample from the difference of the two, and what is left of the small one besides its samples.
fn between(small: Timed, large: Timed) -> RectangleCost {
    let longer = large.took.saturating_sub(small.took);
    let longer = longer.max(large.took / NOISE_SHARE).as_nanos().max(1);
    let more = large.samples.saturating_sub(small.samples).max(1);
    let of_samples = longer * u128::from(small.samples) / u128::from(more);
    let of_samples = Duration::from_nanos(u64::try_from(of_samples).unwrap_or(u64::MAX));
    let a_second = u128::from(more) * 1_000_000_000 / longer;
    RectangleCost {
        samples_per_second: u64::try_from(a_second).unwrap_or(u64::MAX).max(1),
        overhead: small.took.saturating_sub(of_samples),
    }
}

/// So many cells across and down in the middle of the frame, or all that there are.
pub(crate) fn middle(settings: &RenderSettings, cells: u32) -> Rect {
    let span = |side: u32| {
        let start = side.div_ceil(CELL_PX).saturating_sub(cells) / 2 * CELL_PX;
        (start, cells.saturating_mul(CELL_PX).min(side - start))
    };
    let ((x, width), (y, height)) = (span(settings.size.width), span(settings.size.height));
    Rect {
        x,
        y,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Pass, Size};

    fn settings(width: u64, height: u64, samples: u32, guard_px: u32) -> RenderSettings {
        RenderSettings {
            size: Size::new(width, height).unwrap(),
            samples,
            seed: 0,
            passes: vec![Pass::Combined],
            guard_px,
            scene: None,
        }
    }

    fn timed(millis: u64, samples: u64) -> Timed {
        Timed {
            took: Duration::from_millis(millis),
            samples,
        }
    }

    #[test]
    fn two_times_give_the_cost_of_a_sample_and_of_a_rectangle() {
        let cost = between(timed(201, 1_024), timed(1_200, 1_024_000));
        assert_eq!(cost.samples_per_second, 1_024_000);
        assert_eq!(cost.overhead, Duration::from_millis(200));
        // Within the noise nothing is called infinitely fast, nor anything negative.
        let cost = between(timed(200, 1_024), timed(160, 65_536));
        assert_eq!(cost.samples_per_second, 6_451_200);
        let cost = between(timed(0, 1_024), timed(0, 1_024));
        assert_eq!(cost.overhead, Duration::ZERO);
    }

    #[test]
    fn work_grows_until_it_takes_long_or_is_all_there_is() {
        let measure = |overhead: Duration, a_sample: Duration, settings: &RenderSettings| {
            let mut rendered = Vec::new();
            let cost = compare(settings, |settings, rect| {
                rendered.push((rect, settings.samples));
                let pixels = rect.grown(settings.guard_px, settings.size).area() as u32;
                Ok(overhead + a_sample * pixels * settings.samples)
            });
            (cost.unwrap(), rendered)
        };
        let large = settings(640, 360, 64, 0);
        let (tenth, microsecond) = (Duration::from_millis(100), Duration::from_micros(1));
        let (cost, rendered) = measure(tenth, microsecond, &large);
        assert_eq!((cost.samples_per_second, cost.overhead), (1_000_000, tenth));
        assert_eq!(rendered.len(), 5);
        assert_eq!(rendered[4], (middle(&large, 16), 16));
        // A guard band is rendered with each rectangle, and is no part of what it costs besides.
        let guarded = settings(640, 360, 64, 6);
        let (cost, _) = measure(tenth, microsecond, &guarded);
        assert_eq!((cost.samples_per_second, cost.overhead), (1_000_000, tenth));
        let small = settings(20, 20, 64, 2);
        let (_, rendered) = measure(tenth, Duration::ZERO, &small);
        assert_eq!(rendered.last(), Some(&(small.size.rect(), 64)));
        let steps = rendered.iter().map(|(_, samples)| *samples);
        assert!(steps.eq([16, 16, 16, 16, 64]));
    }

    #[test]
    fn rectangles_in_the_middle_are_whole_cells_of_any_frame() {
        for (width, height) in [(641, 359), (5, 3), (64, 64), (72, 1000), (1, 8)] {
            let settings = settings(width, height, 4, 0);
            for cells in [1, 8, 64, u32::MAX] {
                let rect = middle(&settings, cells);
                assert!(rect.is_whole_cells(settings.size), "{rect}");
            }
            assert_eq!(middle(&settings, u32::MAX), settings.size.rect());
        }
    }
}
