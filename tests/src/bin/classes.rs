//! `classes`: renders scenes honestly and not, with Blender, and measures how far apart the judge across determinism
//! classes finds them.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tests::classes::{
    Class, Scene, Work, plot,
    render::Studio,
    report,
    study::{self, Comparison, SIDES_PX},
};
use verifier::noise::{Limits, Measurement};

/// Renders each scene with two seeds by two kernels, by the cheats and, if given, by another version of Blender; compares;
/// prints tables and writes plots. What was rendered is kept in the folder, so a run that was stopped goes on.
#[derive(Parser)]
struct Arguments {
    /// Scenes, as FILE,SAMPLES,FRAMES,CHEATED: samples a pixel, frames over the animation, how many the cheats render
    #[arg(required = true)]
    scenes: Vec<Scene>,
    /// A Python that imports bpy
    #[arg(long, env = "BLENDER_PYTHON")]
    python: PathBuf,
    /// A Python that imports another version of bpy
    #[arg(long)]
    other_python: Option<PathBuf>,
    /// Where renders are kept
    #[arg(long, default_value = "target/classes")]
    folder: PathBuf,
    /// Where the plots `eta-*.svg` are written
    #[arg(long, default_value = "docs")]
    plots: PathBuf,
}

fn run(arguments: Arguments) -> io::Result<()> {
    let studio = Studio {
        folder: arguments.folder,
        python: arguments.python,
        other_python: arguments.other_python,
    };
    let steps = 4 * arguments.scenes.len() as u64;
    let style = "{bar:40} {pos}/{len} {msg}";
    let style = ProgressStyle::with_template(style).map_err(io::Error::other)?;
    let bar = ProgressBar::new(steps).with_style(style);
    let mut comparisons = Vec::new();
    for scene in &arguments.scenes {
        for class in [Class::Judge, Class::Common, Class::Other] {
            bar.set_message(format!("{} rendered by {class:?}", scene.name()));
            studio.render(scene, class)?;
            bar.inc(1);
        }
        comparisons.extend(study::compare(&studio, scene)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{}", report::tables(&comparisons));
    write_plots(&arguments.plots, &comparisons)
}

fn write_plots(folder: &Path, comparisons: &[Comparison]) -> io::Result<()> {
    for (side_index, side) in SIDES_PX.into_iter().enumerate() {
        let limits = Limits::for_region_of(side * side);
        let regions = format!("regions of {side}x{side} px, all scenes");
        let eta = rows(comparisons, side_index, |one| one.eta);
        let svg = plot::distributions(&format!("eta, {regions}"), &eta, limits.eta);
        fs::write(folder.join(format!("eta-{side}.svg")), svg)?;
        let bulk = rows(comparisons, side_index, |one| one.bulk_eta);
        let svg = plot::distributions(&format!("bulk eta, {regions}"), &bulk, limits.bulk_eta);
        fs::write(folder.join(format!("eta-bulk-{side}.svg")), svg)?;
    }
    Ok(())
}

/// A number of all noisy regions, for each kind of work.
fn rows(
    comparisons: &[Comparison],
    side_index: usize,
    value: fn(&Measurement) -> f64,
) -> Vec<(Work, Vec<f64>)> {
    let of = |work| {
        let all: Vec<&Comparison> = comparisons.iter().filter(|one| one.work == work).collect();
        let noisy = study::measurements(&all, side_index).filter(|one| one.noisy);
        (work, noisy.map(value).collect::<Vec<f64>>())
    };
    let rows = Work::ALL.map(of).into_iter();
    rows.filter(|(_, values)| !values.is_empty()).collect()
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("classes: {error}");
            ExitCode::FAILURE
        }
    }
}
