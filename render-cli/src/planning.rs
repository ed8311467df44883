//! How a job's frames are divided, and how much of each tile is checked, by what rendering costs.

use crate::{
    arguments::Arguments,
    failure::{Code, Failure},
    own_engine::OwnEngine,
    report::Report,
    session::{blocking, local_workers_wanted, random},
};
use engine::SceneDescription;
use farm::{CostHints, Farm, FarmConfig, PlanRequest, plan};
use protocol::{EngineKind, Glm, JobSpec, RenderSettings, TileGrid};
use serde::Serialize;
use verifier::{ProbeShape, Trust, squares_thousandths};

/// How long to wait for somebody to work, in milliseconds: peers may be on their way, local workers that are gone
/// do not come back.
const PROVIDERS_WAIT_MS: u64 = 30_000;
const LOCAL_PROVIDERS_WAIT_MS: u64 = 5_000;
/// What a small rectangle of a production scene costs in a warm Blender is 0.06 to 0.34 s.
const BLENDER_RECT_MS: u64 = 200;

/// How the user wants frames to be divided.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Division {
    /// The side of tiles, 0 for whole frames; none is planned.
    pub tile_px: Option<u32>,
    /// Ranges of samples; 1 for none.
    pub ranges: u32,
}

impl Division {
    /// As asked for, if the scene's engine can do so.
    pub fn asked(arguments: &Arguments, own: &OwnEngine) -> Result<Self, Failure> {
        let ranges = arguments.sample_ranges.unwrap_or(1);
        if ranges > 1 {
            own.check_divisible(arguments.samples)?;
        }
        Ok(Self {
            tile_px: tile_px(arguments, &own.description)?,
            ranges,
        })
    }
}

/// The side of tiles that is asked for; whole frames where the scene's engine draws no others.
fn tile_px(arguments: &Arguments, description: &SceneDescription) -> Result<Option<u32>, Failure> {
    match (arguments.tile, description.whole_frames) {
        (tile, false) => Ok(tile),
        (None | Some(0), true) => Ok(Some(0)),
        (Some(_), true) => Err(Failure::new(
            Code::Usage,
            "the scene is rendered as whole frames: --tile has no use",
        )),
    }
}

/// What an engine is taken to cost while nothing is measured.
pub fn assumed_hints(kind: EngineKind) -> CostHints {
    CostHints {
        samples_per_second: farm::plan::SAMPLES_PER_SECOND_DEFAULT,
        rect_overhead_ms: match kind {
            EngineKind::Tracer => 0,
            EngineKind::Blender => BLENDER_RECT_MS,
        },
    }
}

/// What the job's engine costs. For jobs that others render with Blender it is measured, because it decides how much of
/// their work is checked; by the own engine, because they would gain by a wrong figure. The user's own workers are checked
/// next to nothing, and need not wait for it.
pub async fn cost_hints(
    own: OwnEngine,
    kind: EngineKind,
    settings: &RenderSettings,
    arguments: &Arguments,
    report: &Report,
) -> Result<(OwnEngine, CostHints), Failure> {
    if kind == EngineKind::Tracer || arguments.is_local() {
        return Ok((own, assumed_hints(kind)));
    }
    let (mut own, settings) = (own, settings.clone());
    let (own, measured) = blocking(move || {
        let measured = own.measure(&settings);
        Ok((own, measured))
    })
    .await?;
    let hints = measured.unwrap_or_else(|error| {
        report.say(&format!(
            "warning: what rendering costs is assumed, measuring it failed: {error}"
        ));
        assumed_hints(kind)
    });
    Ok((own, hints))
}

/// The coordinator of a job that begins.
pub fn new_farm(
    job: JobSpec,
    frames: Vec<i32>,
    hints: CostHints,
    division: Division,
    arguments: &Arguments,
    report: &Report,
) -> Result<Farm, Failure> {
    let settings = &job.settings;
    let planned = plan(&PlanRequest {
        size: settings.size,
        frames: frames.len() as u64,
        samples: settings.samples,
        ranges: division.ranges,
        passes: settings.passes.len(),
        workers: u64::from(local_workers_wanted(arguments)) + arguments.peer.len() as u64,
        tile_px: division.tile_px,
        hints,
    });
    report.say(&format!(
        "job      {} at {}, {} samples, {}",
        job.id.short(),
        settings.size,
        settings.samples,
        planned.why,
    ));
    let probes = match job.engine {
        EngineKind::Tracer => ProbeShape::Pixels,
        EngineKind::Blender => {
            let samples = settings.samples.div_ceil(division.ranges);
            ProbeShape::squares(hints.rect_px(samples), settings.guard_px)
        }
    };
    if let Some(line) = checks_line(probes, &planned.grid) {
        report.say(&line);
    }
    Farm::new(FarmConfig {
        frames,
        grid: planned.grid,
        secret: random()?,
        // Every run brings its own with its first event.
        budget: Some(Glm::ZERO),
        deadline: None,
        price_megasample_max: None,
        probes,
        paranoid: arguments.paranoid,
        mixed_classes: arguments.mixed_classes,
        providers_wait_ms: match arguments.is_local() {
            true => LOCAL_PROVIDERS_WAIT_MS,
            false => PROVIDERS_WAIT_MS,
        },
        job,
    })
    .map_err(|e| Failure::preflight(e.to_string()))
}

/// How much of a tile is checked, for a person, where that follows from its cost.
fn checks_line(probes: ProbeShape, grid: &TileGrid) -> Option<String> {
    let ProbeShape::Squares { side_cells, .. } = probes else {
        return None;
    };
    let core = grid.core(0);
    let count = |trust: Trust| {
        let thousandths = squares_thousandths(&core, probes, &trust.policy());
        match thousandths {
            0..10_000 => format!("{:.1}", f64::from(thousandths) / 1000.0),
            _ => (thousandths / 1000).to_string(),
        }
    };
    Some(format!(
        "checks   squares of {side_cells}x{side_cells} cells: of a stranger's tile {}, of a trusted provider's {}",
        count(Trust::Unknown),
        count(Trust::Trusted)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Size;

    #[test]
    fn what_is_checked_is_said_where_it_follows_from_the_cost() {
        let size = Size {
            width: 1920,
            height: 1080,
        };
        let grid = TileGrid::new(size, 0);
        let rect_px = assumed_hints(EngineKind::Blender).rect_px(128);
        let line = checks_line(ProbeShape::squares(rect_px, 0), &grid);
        assert_eq!(
            line.unwrap(),
            "checks   squares of 4x4 cells: of a stranger's tile 69, of a trusted provider's 39"
        );
        let line = checks_line(ProbeShape::squares(100_000, 0), &grid);
        assert!(
            line.unwrap()
                .ends_with("tile 2.9, of a trusted provider's 1.6")
        );
        assert_eq!(checks_line(ProbeShape::Pixels, &grid), None);
    }
}
