//! Cheats that render with the built-in tracer.

use crate::{
    Company, MakeEngine, Ran, Task, assert_anybody_finds_them_wrong,
    conduct::{Conduct, defaced},
};
use engine::{Engine, TracerEngine, frame_file::named_planes};
use farm::limits::FLAKY_MAX;
use protocol::{EngineKind, Pass, Rect, RenderedRect, Size, TileGrid};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, OnceLock},
};
use tests::{render, scene};

/// Tiles that a cheat renders before honest workers begin: enough for it to be out of the job by single cells.
const TILES_OF_CELLS: usize = FLAKY_MAX as usize + 1;

/// All that a worker can do wrong to whole tiles with this engine, whose scenes say nothing of bounces.
const CONDUCTS: [Conduct; 14] = [
    Conduct::Black,
    Conduct::PreviousFrame,
    Conduct::Shifted,
    Conduct::RimOnly,
    Conduct::Band(10),
    Conduct::SparseCells(2),
    Conduct::FewerSamples,
    Conduct::FewerSamplesDenoised,
    Conduct::WrongSeed,
    Conduct::HalfResolution,
    Conduct::OtherScene("orrery.glb"),
    Conduct::AlphaOnly,
    Conduct::NormalsOnly,
    Conduct::Denormals,
];

/// Few tiles, of the size that tiles have.
pub fn task() -> Task {
    Task {
        kind: EngineKind::Tracer,
        scene: scene("reading_room.glb"),
        frames: 2..=6,
        size: Size {
            width: 512,
            height: 256,
        },
        samples: 2,
        tile_px: 256,
        planes: named_planes(None, &Pass::ALL),
    }
}

fn engine(name: &str) -> TracerEngine {
    let mut engine = TracerEngine::new();
    let path = scene(name);
    engine.prepare(path.parent().unwrap(), name, None).unwrap();
    engine
}

/// The right frames of [`task`].
pub fn truth() -> &'static BTreeMap<i32, RenderedRect> {
    static TRUTH: OnceLock<BTreeMap<i32, RenderedRect>> = OnceLock::new();
    TRUTH.get_or_init(|| task().truth(&mut engine("reading_room.glb")))
}

pub fn engines() -> Arc<MakeEngine> {
    Arc::new(|name: Option<&'static str>| Box::new(engine(name.unwrap_or("reading_room.glb"))))
}

#[test]
fn cheats_are_caught_quarantined_and_unpaid_and_the_frames_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let task = task();
    let company = Company::start(task.kind, dir.path(), (&CONDUCTS, 1), 2, &engines());
    let ran = task.run(dir.path(), "cheated", &company.peers());
    company.assert_caught(dir.path(), &ran);
    company.assert_nobody_honest_blamed(dir.path(), &ran);
    task.assert_right(dir.path(), "cheated", truth());
    assert_anybody_finds_them_wrong(dir.path(), &task.scene);
    stay_caught(dir.path(), &company);
}

/// Who was caught in an earlier job is known for it and gets no work in the next.
fn stay_caught(dir: &Path, company: &Company) {
    let known = render(dir, &["providers", "--json"]);
    let known = String::from_utf8(known.stdout).unwrap();
    for (conduct, worker) in &company.cheats {
        let id = worker.node.to_string();
        let line = known.lines().find(|line| line.contains(&id));
        let known: serde_json::Value = serde_json::from_str(line.expect(&known)).unwrap();
        assert_eq!(known["level"], "quarantined", "{conduct:?}: {known}");
        let evidence = known["faults"][0]["evidence"].as_str().unwrap();
        assert!(evidence.starts_with("frame "), "{conduct:?}: {known}");
    }
    let task = Task {
        frames: 2..=2,
        ..task()
    };
    let ran = task.run(dir, "again", &company.peers());
    for (conduct, worker) in &company.cheats {
        let row = ran.row(worker.node);
        assert!(row.is_null(), "{conduct:?}: {row}");
    }
    assert_eq!(ran.summary()["checks_failed"], 0, "{}", ran.summary());
    task.assert_right(dir, "again", truth());
}

#[test]
fn one_wrong_cell_is_caught_for_certain() {
    let dir = tempfile::tempdir().unwrap();
    let (company, ran) = deface(dir.path(), Conduct::OneCell);
    let row = ran.row(company.cheats[0].1.node);
    assert_eq!(row["state"], "quarantined", "{row}");
    assert_eq!(row["flaky"], FLAKY_MAX, "{row}");
    assert_eq!(row["tiles"], 0, "{row}");
    task().assert_right(dir.path(), "defaced", truth());
}

#[test]
fn one_wrong_pixel_is_never_blamed_on_others() {
    let dir = tempfile::tempdir().unwrap();
    let (company, ran) = deface(dir.path(), Conduct::OnePixel);
    let (task, row) = (task(), ran.row(company.cheats[0].1.node));
    let frames = task.frames.clone();
    let wrong: usize = frames
        .map(|frame| {
            let found = task.read(dir.path(), "defaced", frame);
            defaced_tiles(&task, &found, &truth()[&frame])
        })
        .sum();
    // What it delivered and nobody looked at: nothing else in the frames is wrong.
    assert_eq!(row["tiles"], wrong, "{row}");
    let is_out = row["state"] == "quarantined";
    let faults = row["flaky"].as_u64().unwrap();
    assert!(!is_out || faults == u64::from(FLAKY_MAX), "{row}");
    assert!(wrong as u64 + faults > 0, "{row}");
}

/// A job in which one worker defaces its tiles while nobody honest is blamed.
fn deface(dir: &Path, conduct: Conduct) -> (Company, Ran) {
    let task = task();
    let company = Company::start(task.kind, dir, (&[conduct], TILES_OF_CELLS), 2, &engines());
    let ran = task.run(dir, "defaced", &company.peers());
    company.assert_nobody_honest_blamed(dir, &ran);
    (company, ran)
}

/// How many tiles of a frame are wrong in the pixel that the cheat defaces; they are wrong nowhere else.
fn defaced_tiles(task: &Task, found: &RenderedRect, right: &RenderedRect) -> usize {
    let grid = TileGrid::new(task.size, task.tile_px);
    let pixels: Vec<Rect> = (0..grid.tile_count())
        .map(|tile| defaced(Conduct::OnePixel, &grid.core(tile)))
        .collect();
    let width = task.size.width as usize;
    let mut wrong = BTreeSet::new();
    for ((_, found), (_, right)) in found.planes.iter().zip(&right.planes) {
        for index in (0..found.len()).filter(|&index| found[index] != right[index]) {
            let (x, y) = ((index % width) as u32, (index / width) as u32);
            let tile = pixels.iter().position(|pixel| (pixel.x, pixel.y) == (x, y));
            wrong.insert(tile.unwrap_or_else(|| panic!("pixel {x},{y} is wrong")));
        }
    }
    wrong.len()
}
