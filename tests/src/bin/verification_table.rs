//! `verification_table`: compares ways to check rendered tiles, ours and others', and writes the page about it.

use clap::Parser;
use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};
use tests::simulator::{
    table::{self, Volume},
    table_page::page,
};

/// Compares ways to check rendered tiles and writes a page of tables.
#[derive(Parser)]
struct Arguments {
    /// Few tiles, to see that all of it runs
    #[arg(long)]
    quick: bool,
    /// Wrong tiles for each row of the promise, if another number than the page's
    #[arg(long)]
    wrong_tiles: Option<u64>,
    /// The page
    #[arg(long, default_value = "docs/verification.md")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut volume = match arguments.quick {
        true => Volume::QUICK,
        false => Volume::FULL,
    };
    volume.wrong_tiles = arguments.wrong_tiles.unwrap_or(volume.wrong_tiles);
    let shown = AtomicUsize::new(0);
    let found = table::run(volume, |done, total| {
        let percent = done * 100 / total;
        if shown.fetch_max(percent, Ordering::Relaxed) < percent {
            let mut progress = std::io::stderr().lock();
            let _ = write!(progress, "\r{percent:>3} %, {done} of {total} parts");
            let _ = progress.flush();
        }
    });
    eprintln!();
    let given: Vec<String> = std::env::args().skip(1).collect();
    let program = "cargo run --release -p tests --bin verification_table";
    let command = match given.is_empty() {
        true => program.into(),
        false => format!("{program} -- {}", given.join(" ")),
    };
    match std::fs::write(&arguments.out, page(&found, volume, &command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {}: {error}", arguments.out.display());
            ExitCode::FAILURE
        }
    }
}
