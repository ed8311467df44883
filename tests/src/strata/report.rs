//! What was measured, as the page that the command writes.

use super::sums::{Challenge, GROUPS, Sums, check_sums, draw_strata};
use super::{
    edits::Edit,
    placement::Placement,
    scheme::{Scheme, mixed},
    tiles::{CyclesTimes, Pixel, Prepared, Tile, tile_rects},
    trials::Bench,
};
use crate::simulator::random::Random;
use protocol::Blake3Hash;
use std::{
    error::Error,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tracer::render::SampleRange;

/// Runs of a timing, of which the shortest counts.
const RUNS: usize = 3;

/// Caught share, rounded down, so that 100 means all.
fn percent(caught: u32, trials: u32) -> String {
    match caught == trials {
        true => "100".into(),
        false => format!(
            "{:.1}",
            (f64::from(caught) / f64::from(trials) * 1e3).floor() / 10.0
        ),
    }
}

/// A table of caught shares: plain placements, then the worst of all.
pub fn detection(tiles: &[Tile], schemes: &[(String, Scheme)], trials: u32) -> String {
    let bench = Bench::new(tiles);
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(vec![String::new(); Edit::ALL.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&edit) = Edit::ALL.get(at) else {
                        break;
                    };
                    let row = row(&bench, edit, schemes, trials);
                    rows.lock().unwrap_or_else(|e| e.into_inner())[at] = row;
                }
            });
        }
    });
    let mut table = String::from("| edit of one cell |");
    for (name, _) in schemes {
        let _ = write!(table, " {name} |");
    }
    let _ = write!(table, "\n|---|{}\n", "---|".repeat(schemes.len()));
    for row in rows.into_inner().unwrap_or_else(|e| e.into_inner()) {
        let _ = writeln!(table, "{row}");
    }
    table
}

fn row(bench: &Bench<'_>, edit: Edit, schemes: &[(String, Scheme)], trials: u32) -> String {
    let caught = bench.caught(edit, schemes, trials);
    let mut row = format!("| {} |", edit.name());
    for scheme in 0..schemes.len() {
        let least = |placements: &[Vec<u32>]| {
            let of_scheme = placements.iter().map(|caught| caught[scheme]);
            percent(of_scheme.min().unwrap_or(0), trials)
        };
        let (plain, worst) = (least(&caught[..Placement::PLAIN]), least(&caught));
        let _ = write!(row, " {plain} / {worst} |");
    }
    row
}

/// Honest work checked for real: what was compared, and what was held against it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Honest {
    /// Cells whose answers were added up.
    pub added: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Strata of cells that were rendered again.
    pub strata: u64,
    /// Of those, with other sums.
    pub strata_differ: u64,
    /// Secret pixels that were rendered again.
    pub pixels: u64,
    /// Of those, different.
    pub pixels_differ: u64,
}

impl Honest {
    /// Adds up all cells of a tile under many challenges.
    pub fn add_up(&mut self, tile: &Tile, challenges: u64) {
        for number in 0..challenges {
            let challenge = Challenge::new(&[9; 32], &Blake3Hash::of(&number.to_le_bytes()));
            for light in &tile.cells {
                let groups = challenge.groups(light.cell);
                let sums: Vec<Sums> = light
                    .strata
                    .iter()
                    .map(|pixels| groups.sums(pixels))
                    .collect();
                let check = check_sums(&groups, &light.pixels, &sums, &tile.samples);
                self.added += 1;
                self.refused += u64::from(check.is_err());
            }
        }
    }

    /// Renders what is drawn of a tile again, strata and pixels, and compares the bits.
    ///
    /// # Errors
    /// What the tracer says.
    pub fn render_again(
        &mut self,
        scene: &Prepared,
        tile: &Tile,
        seed: u64,
    ) -> Result<(), Box<dyn Error>> {
        let samples: u32 = tile.samples.iter().sum();
        let strata = tile.samples.len() as u32;
        let ranges: Vec<SampleRange> = SampleRange::strata(samples, strata).collect();
        let mut random = Random::new(seed);
        let (secret, hash) = (random.bytes(), Blake3Hash(random.bytes()));
        let challenge = Challenge::new(&secret, &hash);
        let (mut parts, mut due) = (Vec::new(), Vec::new());
        let (mut pixel_parts, mut pixels_due) = (Vec::new(), Vec::new());
        for light in &tile.cells {
            let groups = challenge.groups(light.cell);
            let sums: Vec<Sums> = light
                .strata
                .iter()
                .map(|pixels| groups.sums(pixels))
                .collect();
            for stratum in draw_strata(&secret, &hash, light.cell, &sums, mixed(strata / 8)) {
                let stratum = stratum as usize;
                parts.push((light.cell.square(), ranges[stratum]));
                due.push((groups.clone(), sums[stratum]));
            }
            for pixel in challenge.pixels(&light.cell.square(), 2) {
                pixels_due.push(light.pixels[(pixel.y % 8 * 8 + pixel.x % 8) as usize]);
                pixel_parts.push((pixel, SampleRange::all(samples)));
            }
        }
        let rendered = scene.parts(samples, &parts)?;
        for (pixels, (groups, sums)) in rendered.iter().zip(due) {
            self.strata += 1;
            self.strata_differ += u64::from(groups.sums(pixels) != sums);
        }
        let rendered = scene.parts(samples, &pixel_parts)?;
        for (pixel, due) in rendered.iter().zip(pixels_due) {
            self.pixels += 1;
            self.pixels_differ += u64::from(pixel[0].map(f32::to_bits) != due.map(f32::to_bits));
        }
        Ok(())
    }
}

/// Processor seconds that this process has used, all threads together: other programs do not change them as they
/// change the time on the wall. Only Linux says; in hundredths of a second.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field, the program's name in parentheses, may hold spaces; user and system time are the 14th and 15th.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Times of several ways to render, each the shortest of some runs that take turns.
fn shortest(ways: &[&dyn Fn() -> Result<(), Box<dyn Error>>]) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut least = vec![f64::INFINITY; ways.len()];
    for _ in 0..RUNS {
        for (least, way) in least.iter_mut().zip(ways) {
            let began = processor_seconds()?;
            way()?;
            *least = least.min(processor_seconds()? - began);
        }
    }
    Ok(least)
}

/// A row of the table of costs: times in units of the plain render of one tile.
///
/// # Errors
/// What the tracer says.
pub fn costs(scene: &Prepared, samples: u32) -> Result<String, Box<dyn Error>> {
    let rect = tile_rects()[0];
    let in_strata = |strata| scene.in_strata(rect, samples, strata).map(drop);
    let some_strata = |strata: u32| {
        let ranges: Vec<SampleRange> = SampleRange::strata(samples, strata).collect();
        let mut random = Random::new(1);
        let cells = rect.cells().flat_map(|(cell, _)| {
            let drawn = (0..strata / 8).map(|_| random.pick(&ranges));
            drawn
                .map(|range| (cell.square(), range))
                .collect::<Vec<_>>()
        });
        scene.parts(samples, &cells.collect::<Vec<_>>()).map(drop)
    };
    let some_pixels = |count: u8| {
        let whole = SampleRange::all(samples);
        let challenge = Challenge::new(&[1; 32], &Blake3Hash([2; 32]));
        let pixels = challenge.pixels(&rect, count).into_iter();
        let parts: Vec<_> = pixels.map(|pixel| (pixel, whole)).collect();
        scene.parts(samples, &parts).map(drop)
    };
    let times = shortest(&[
        &|| scene.plain(rect, samples).map(drop),
        &|| in_strata(64),
        &|| some_strata(16),
        &|| some_strata(64),
        &|| some_pixels(1),
        &|| some_pixels(4),
        &|| some_pixels(8),
    ])?;
    let mut row = format!("| {}, {samples} samples | {:.2} s |", scene.name, times[0]);
    for time in &times[1..] {
        let _ = write!(row, " {:.3} |", time / times[0]);
    }
    Ok(row)
}

/// Bytes of answers and strata, by number of strata, beside those of the delivered pixels.
pub fn bytes() -> String {
    let delivered = 64 * size_of::<Pixel>();
    let mut table =
        String::from("| strata | answers | strata that the worker keeps |\n|---|---|---|\n");
    for strata in [8, 16, 32, 64] {
        let answers = strata * GROUPS * size_of::<f32>();
        let _ = writeln!(
            table,
            "| {strata} | {answers} bytes a cell: {:.2} | {strata} |",
            answers as f64 / delivered as f64
        );
    }
    table
}

/// What Cycles took, in words.
pub fn cycles(times: &CyclesTimes) -> String {
    let strata: f64 = times.strata.iter().sum();
    format!(
        "The tile at once took {:.2} processor seconds, its {} strata {:.2} one after the other in the same warm process ({:.2} of it), one \
         stratum of one cell {:.3}. The mean of the strata differs from the tile at once by at most {:.1e} relative.",
        times.whole,
        times.strata.len(),
        strata,
        strata / times.whole,
        times.cell,
        times.difference_max,
    )
}
