//! `strata`: what checks by sample strata and by secret pixels catch and cost, measured on real tiles; writes
//! `docs/verification-strata.md`.

use clap::Parser;
use std::{error::Error, fmt::Write, fs, path::PathBuf};
use tests::{
    root,
    strata::{
        report::{self, Honest},
        scheme::Scheme,
        tiles::{Prepared, Tile, by_cycles, tile_rects},
    },
};

const SCENES: [&str; 3] = ["reading_room", "lighthouse", "orrery"];
/// Samples a pixel and strata of a tile.
/// Samples a pixel of the tiles, with the strata: they are rendered in the most and merged to fewer.
const SETTINGS: [(u32, &[u32]); 2] = [(64, &[64, 32, 16, 8]), (256, &[32])];
const CYCLES_SAMPLES: u32 = 64;
const CYCLES_STRATA: u32 = 16;

/// Measures the checks by sample strata and secret pixels and writes the page about them.
#[derive(Parser)]
struct Arguments {
    /// Trials of each edit, placement and scheme
    #[arg(long, default_value_t = 10_000)]
    trials: u32,
    /// Challenges for which each honest tile is added up
    #[arg(long, default_value_t = 64)]
    challenges: u64,
    /// A Python that imports bpy, for the part about Cycles
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the page is written; docs/verification-strata.md by default
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Text that stands before and between the tables.
mod page {
    pub const HEAD: &str = include_str!("../strata/page_head.md");
    pub const DETECTION: &str = include_str!("../strata/page_detection.md");
    pub const CYCLES: &str = include_str!("../strata/page_cycles.md");
}

fn tiles(scenes: &[Prepared], samples: u32, strata: u32) -> Result<Vec<Tile>, Box<dyn Error>> {
    let mut tiles = Vec::new();
    for scene in scenes {
        for rect in tile_rects() {
            tiles.push(scene.in_strata(rect, samples, strata)?);
        }
    }
    Ok(tiles)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let scenes: Vec<Prepared> = SCENES
        .into_iter()
        .map(Prepared::load)
        .collect::<Result<_, _>>()?;
    let mut costs = String::new();
    for scene in &scenes {
        let row = report::costs(scene, SETTINGS[0].0)?;
        println!("{row}");
        writeln!(costs, "{row}")?;
    }
    let mut honest = Honest::default();
    let mut detection = String::new();
    for (samples, most) in SETTINGS {
        let finest = tiles(&scenes, samples, most[0])?;
        for (index, tile) in finest.iter().enumerate() {
            honest.add_up(tile, arguments.challenges);
            let scene = &scenes[index / tile_rects().len()];
            honest.render_again(scene, tile, u64::from(samples) + index as u64)?;
        }
        for &strata in most {
            let tiles: Vec<Tile> = finest
                .iter()
                .map(|tile| tile.merged(strata as usize))
                .collect();
            let table = report::detection(&tiles, &Scheme::of_an_eighth(strata), arguments.trials);
            println!("{samples} samples, {strata} strata\n{table}");
            writeln!(
                detection,
                "### {samples} samples in {strata} strata\n\n{table}"
            )?;
        }
    }
    println!("{honest:?}");
    let mut text = format!("{}\n", page::HEAD);
    writeln!(
        text,
        "Honest work: the answers of {} cells were added up, {} refused; {} strata of cells and {} secret pixels were \
         rendered again alone, {} and {} differed.\n",
        honest.added,
        honest.refused,
        honest.strata,
        honest.pixels,
        honest.strata_differ,
        honest.pixels_differ
    )?;
    writeln!(
        text,
        "## Costs\n\nTimes in units of the plain render of the tile (first column), processor seconds, shortest of three.\n\n\
         | tile of 96x96 | plain | in 64 strata | 2 of 16 strata of every cell | 8 of 64 | \
         1 pixel of every cell | 4 pixels | 8 pixels |\n|---|---|---|---|---|---|---|---|\n{costs}"
    )?;
    writeln!(
        text,
        "Bytes in units of the delivered pass:\n\n{}",
        report::bytes()
    )?;
    writeln!(text, "{}\n{detection}", page::DETECTION)?;
    if let Some(python) = &arguments.python {
        let (tile, times) = by_cycles(python, CYCLES_SAMPLES, CYCLES_STRATA)?;
        honest = Honest::default();
        honest.add_up(&tile, arguments.challenges * 8);
        let table = report::detection(&[tile], &Scheme::of_whole_tiles(), arguments.trials);
        let words = report::cycles(&times);
        println!("{words}\n{honest:?}\n{table}");
        writeln!(
            text,
            "{}\n{words} Of {} honest cells that were added up {} were refused.\n",
            page::CYCLES,
            honest.added,
            honest.refused
        )?;
        writeln!(text, "{table}")?;
    }
    let output = arguments
        .output
        .unwrap_or_else(|| root().join("docs/verification-strata.md"));
    fs::write(output, text.trim_end().to_owned() + "\n")?;
    Ok(())
}
