//! What the squares see that are drawn of a tile where rectangles have a price of their own (Blender), for frames of many
//! sizes that take from a second to twenty minutes. Writes docs/verification-blender.md and checks that it is true.

use protocol::{
    Blake3Hash, EngineKind, JobId, JobSpec, Pass, Rect, RenderSettings, Size, TaskId, TaskSpec,
};
use rayon::prelude::*;
use std::{collections::BTreeSet, fmt::Write, fs};
use verifier::{ProbeShape, Trust, squares_thousandths};

const PAGE: &str = "docs/verification-blender.md";
/// What a rectangle costs besides its pixels, in seconds.
const RECT_SECONDS: f64 = 0.2;
const SIZES: [(u32, u32); 5] = [
    (320, 180),
    (640, 360),
    (1280, 720),
    (1920, 1080),
    (3840, 2160),
];
const SECONDS: [u32; 6] = [1, 5, 20, 60, 300, 1200];
/// Parts of a tile that are faked.
const SHARES: [f64; 2] = [0.1, 0.05];
const SECRET: [u8; 32] = [7; 32];
const DRAWS: u64 = 400;
/// Places across and down at which a faked block is tried.
const BLOCK_PLACES: u32 = 24;

/// A frame that is rendered as one task.
#[derive(Clone, Copy)]
struct Task {
    core: Rect,
    seconds: u32,
    shape: ProbeShape,
}

impl Task {
    fn new((width, height): (u32, u32), seconds: u32) -> Self {
        let core = Size { width, height }.rect();
        let rect_px = RECT_SECONDS / f64::from(seconds) * core.area() as f64;
        Self {
            core,
            seconds,
            shape: ProbeShape::squares(rect_px as u64, 0),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let tasks = |size| SECONDS.map(|seconds| Self::new(size, seconds));
        SIZES.into_iter().flat_map(tasks)
    }

    fn draw(&self, number: u64, trust: Trust) -> Vec<Rect> {
        let commitment = Blake3Hash::of(&number.to_le_bytes());
        verifier::draw_probes(
            &SECRET,
            &commitment,
            &self.core,
            self.shape,
            &trust.policy(),
        )
    }

    fn price_px(&self) -> u32 {
        match self.shape {
            ProbeShape::Squares { price_px, .. } => price_px,
            ProbeShape::Pixels => 0,
        }
    }
}

/// Averages over draws: what the squares cost, and how likely they see fakes.
#[derive(Default, Clone, Copy)]
struct Seen {
    squares: f64,
    cells: f64,
    /// Of the tile's own cost.
    cost: f64,
    /// For each of [`SHARES`]: the worse of a strip across and one down, anywhere; a block of the tile's shape, anywhere;
    /// cells by chance.
    fakes: [Fakes; 2],
}

#[derive(Default, Clone, Copy)]
struct Fakes {
    strip: f64,
    block: f64,
    scattered: f64,
}

/// The share of all places at which a strip of so many of `lines` is hit by spans of lines.
fn strip(lines: u32, share: f64, spans: &[(u32, u32)]) -> f64 {
    let width = (f64::from(lines) * share).ceil() as u32;
    let is_hit = |place: u32| {
        spans
            .iter()
            .any(|(from, to)| *from < place + width && *to > place)
    };
    let hits = (0..=lines - width).filter(|place| is_hit(*place)).count();
    hits as f64 / f64::from(lines - width + 1)
}

/// The same of a block that has the tile's shape.
fn block(tile: &Cells, share: f64, squares: &[Cells]) -> f64 {
    let side = share.sqrt();
    let span = |lines: u32, place: u32| {
        let width = (f64::from(lines) * side).ceil() as u32;
        let from = (lines - width) * place / (BLOCK_PLACES - 1);
        (from, from + width)
    };
    let is_hit = |(column, row): (u32, u32)| {
        let (columns, rows) = (span(tile.columns.1, column), span(tile.rows.1, row));
        let meet = |a: (u32, u32), b: (u32, u32)| a.0 < b.1 && b.0 < a.1;
        let mut squares = squares.iter();
        squares.any(|square| meet(square.columns, columns) && meet(square.rows, rows))
    };
    let places = (0..BLOCK_PLACES).flat_map(|x| (0..BLOCK_PLACES).map(move |y| (x, y)));
    let hits = places.filter(|place| is_hit(*place)).count();
    hits as f64 / f64::from(BLOCK_PLACES * BLOCK_PLACES)
}

/// A rectangle in cells: from and to.
struct Cells {
    columns: (u32, u32),
    rows: (u32, u32),
}

impl Cells {
    fn of(rect: &Rect) -> Self {
        let span = |from: u32, cells: usize| (from / 8, from / 8 + cells as u32);
        Self {
            columns: span(rect.x, rect.cells_across() as usize),
            rows: span(rect.y, rect.cells_down() as usize),
        }
    }
}

fn look(task: &Task, trust: Trust) -> Seen {
    let tile = Cells::of(&task.core);
    let mut seen = Seen::default();
    let mut strips = [[0.0; 2]; 2];
    for number in 0..DRAWS {
        let drawn = task.draw(number, trust);
        let squares: Vec<Cells> = drawn.iter().map(Cells::of).collect();
        let cells: BTreeSet<_> = drawn
            .iter()
            .flat_map(Rect::cells)
            .map(|(at, _)| at)
            .collect();
        seen.squares += drawn.len() as f64;
        seen.cells += cells.len() as f64;
        let rows: Vec<_> = squares.iter().map(|square| square.rows).collect();
        let columns: Vec<_> = squares.iter().map(|square| square.columns).collect();
        for (index, share) in SHARES.into_iter().enumerate() {
            strips[index][0] += strip(tile.rows.1, share, &rows);
            strips[index][1] += strip(tile.columns.1, share, &columns);
            let fakes = &mut seen.fakes[index];
            fakes.block += block(&tile, share, &squares);
            fakes.scattered += 1.0 - (1.0 - share).powi(cells.len() as i32);
        }
    }
    let average = |sum: &mut f64| *sum /= DRAWS as f64;
    average(&mut seen.squares);
    average(&mut seen.cells);
    for (fakes, [across, down]) in seen.fakes.iter_mut().zip(strips) {
        fakes.strip = across.min(down);
        [&mut fakes.strip, &mut fakes.block, &mut fakes.scattered]
            .into_iter()
            .for_each(average);
    }
    seen.cost = seen.squares * f64::from(task.price_px()) / task.core.area() as f64;
    seen
}

fn looked_at(trust: Trust) -> Vec<(Task, Seen)> {
    let tasks: Vec<Task> = Task::all().collect();
    tasks
        .par_iter()
        .map(|task| (*task, look(task, trust)))
        .collect()
}

fn probability(value: f64) -> String {
    match value {
        0.99995.. => "1".to_owned(),
        0.99.. => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}

fn time(seconds: u32) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

fn table(trust: Trust) -> String {
    let mut text = String::from(
        "| frame | one task takes | squares | side | cost | strip of 10 % | scattered 10 % | block of 10 % | strip of 5 % | scattered 5 % | block of 5 % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (task, seen) in looked_at(trust) {
        let ProbeShape::Squares { side_cells, .. } = task.shape else {
            continue;
        };
        let [tenth, twentieth] = seen.fakes;
        let size = format!("{}x{}", task.core.width, task.core.height);
        let figures = [tenth, twentieth]
            .map(|fakes| [fakes.strip, fakes.scattered, fakes.block])
            .concat();
        let figures: Vec<String> = figures.into_iter().map(probability).collect();
        let _ = writeln!(
            text,
            "| {size} | {} | {:.1} | {side_cells} | {:.1} % | {} |",
            time(task.seconds),
            seen.squares,
            100.0 * seen.cost,
            figures.join(" | ")
        );
    }
    text
}

/// What an honest share of fakes is seen, and what it costs.
#[test]
fn the_page_tells_what_is_drawn() {
    let (head, foot) = (
        include_str!("squares/head.md"),
        include_str!("squares/foot.md"),
    );
    let page = format!(
        "{head}\n## Strangers: 14 % for squares, and every fourth tile twice\n\n{}\n\
         ## Trusted providers: 8 % for squares, and one tile of fifty twice\n\n{}\n{foot}",
        table(Trust::Unknown),
        table(Trust::Trusted)
    );
    let path = tests::root().join(PAGE);
    if std::env::var_os("WRITE_PAGES").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "WRITE_PAGES=1 writes {PAGE}");
}

#[test]
fn squares_cost_what_the_level_spends_and_long_tasks_are_seen_through() {
    for trust in [Trust::Unknown, Trust::Trusted] {
        let policy = trust.policy();
        let spent = f64::from(policy.squares_share) / 1000.0;
        for (task, seen) in looked_at(trust) {
            let what = format!("{trust:?}, {} in {} s", task.core, task.seconds);
            let count = squares_thousandths(&task.core, task.shape, &policy);
            let most = u64::from(count) * u64::from(task.price_px());
            assert!(
                most <= task.core.area() * u64::from(policy.squares_share),
                "{what}: too dear"
            );
            assert!(seen.cost < 1.1 * spent + 0.002, "{what}: {}", seen.cost);
            // Where one square in ten is a line of the tile, no strip of a tenth lies between two.
            for (share, fakes) in SHARES.into_iter().zip(seen.fakes) {
                if seen.squares >= 2.2 / share {
                    assert!(fakes.strip > 0.999, "{what}: {}", fakes.strip);
                }
                if seen.cells >= 7.0 / share {
                    assert!(fakes.scattered > 0.999, "{what}: {}", fakes.scattered);
                }
            }
        }
    }
}

/// A minute of a trusted provider's work, half a minute of a stranger's.
#[test]
fn a_tenth_of_a_large_frame_that_takes_minutes_is_seen_for_certain() {
    for (trust, seconds) in [(Trust::Unknown, 35), (Trust::Trusted, 60)] {
        for size in &SIZES[2..] {
            for seconds in [seconds, 120, 600, 1200] {
                let [tenth, _] = look(&Task::new(*size, seconds), trust).fakes;
                let what = format!("{trust:?}, {size:?} in {seconds} s");
                assert!(tenth.strip > 0.999, "{what}: {}", tenth.strip);
                assert!(tenth.scattered > 0.999, "{what}: {}", tenth.scattered);
            }
        }
    }
}

#[test]
fn requests_for_squares_keep_the_limits_of_tasks() {
    for task in Task::all() {
        let job = JobSpec {
            id: JobId([1; 16]),
            manifest: Blake3Hash([2; 32]),
            manifest_bytes: 10,
            engine: EngineKind::Blender,
            blender: "5.0.1".parse().ok(),
            settings: RenderSettings {
                size: Size {
                    width: task.core.width,
                    height: task.core.height,
                },
                samples: 128,
                seed: 0,
                passes: vec![Pass::Combined],
                guard_px: 0,
                scene: None,
            },
        };
        job.check().unwrap();
        for number in 0..20 {
            let drawn = task.draw(number, Trust::Unknown);
            for parts in [1, 8] {
                let commitment = Blake3Hash::of(&number.to_le_bytes());
                let dealt = verifier::split_probes(&SECRET, &commitment, &drawn, parts);
                for rects in dealt.into_iter().filter(|rects| !rects.is_empty()) {
                    let spec = TaskSpec {
                        id: TaskId(number),
                        frame: 1,
                        rects,
                        samples: None,
                        pixels: None,
                    };
                    spec.check(&job).unwrap();
                }
            }
        }
    }
}
