//! What of a `.blend` file is rendered, with a warning or not at all: the same that the Blender engine says once it has
//! opened the scene, from the file alone.

use super::Checked;
use crate::failure::Failure;
use blend::{Cycles, Dependency, DependencyKind, SceneSummary, State, Summary};
use serde_json::json;
use std::path::Path;

/// The environment variable by which Blender takes another OpenColorIO configuration than its own.
const COLOUR_CONFIGURATION: &str = "OCIO";
/// Frames of more pixels have tiles enough.
const RANGES_PIXELS_MAX: i64 = 1_000_000;
/// Fewer samples are not worth dividing.
const RANGES_SAMPLES_MIN: i64 = 512;
/// Names in one line.
const NAMES_MAX: usize = 5;

/// Reads the file and judges one of its scenes: that of this name, or the active one.
pub fn check(file: &Path, scene: Option<&str>) -> Result<(Summary, Checked), Failure> {
    let refused = |why: String| Failure::preflight(format!("{}: {why}", file.display()));
    let summary = blend::read(file).map_err(|e| refused(e.to_string()))?;
    let scene = match scene {
        None => summary
            .active()
            .ok_or_else(|| refused("its active scene is linked from another file".into()))?,
        Some(name) => summary.scene(name).ok_or_else(|| {
            let there = names(summary.scenes.iter().map(|scene| scene.name.as_str()));
            refused(format!("it has no scene {name}; there are: {there}"))
        })?,
    };
    let mut refusals = refusals_of_scene(scene);
    let simulations = scene.simulations.iter().chain(&summary.linked_simulations);
    let unbaked = simulations.filter(|simulation| !simulation.baked);
    refusals.extend(unbaked.map(|simulation| {
        format!(
            "a simulation is not baked: {}; hint: bake it to disk and save",
            simulation.name
        )
    }));
    refusals.extend(refusals_of_files(&summary, scene));
    let mut warnings = warnings_of_scene(scene);
    warnings.extend(warnings_of_file(&summary, scene));
    warnings.extend(std::env::var_os(COLOUR_CONFIGURATION).map(|path| {
        let path = path.to_string_lossy();
        format!(
            "{COLOUR_CONFIGURATION} names the colour configuration {path}: Blender's own is used instead, here and by \
             the workers"
        )
    }));
    let checked = Checked {
        json: json!({ "engine": "blender", "checked": scene.name, "summary": summary }),
        rows: rows(&summary, scene),
        notes: notes_of_scene(scene),
        refusals,
        warnings,
    };
    Ok((summary, checked))
}

fn rows(summary: &Summary, scene: &SceneSummary) -> Vec<(&'static str, String)> {
    let [width, height] = scene.size;
    let mut rows = vec![
        ("blender", format!("file of version {}", summary.version)),
        (
            "scene",
            format!("{} of {}", scene.name, summary.scenes.len()),
        ),
        ("engine", scene.engine.clone()),
        ("size", format!("{width}x{height} ({} %)", scene.percentage)),
        ("frames", frames(scene)),
        ("rate", rate(scene)),
    ];
    if let Some(cycles) = &scene.cycles {
        let extra = [
            (cycles.adaptive_sampling, ", adaptive"),
            (cycles.denoising, ", denoised"),
        ];
        let extra: String = extra
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, text)| *text)
            .collect();
        rows.push(("samples", format!("{}{extra}", cycles.samples)));
        if is_for_ranges(scene, cycles) {
            let what = "many for small frames: more workers than frames can share them by --sample-ranges (Blender 4.4 and later)";
            rows.push(("", what.into()));
        }
    }
    let layers = scene.view_layers.iter().filter(|layer| layer.enabled);
    rows.push(("layers", names(layers.map(|layer| layer.name.as_str()))));
    rows.push(("camera", scene.camera.clone().unwrap_or("none".into())));
    rows.push(("colours", scene.view_transform.clone()));
    rows.push((
        "output",
        format!("{} ({})", scene.output.path, scene.output.format),
    ));
    rows.extend(features(scene).map(|feature| ("with", feature)));
    let writes = scene.compositor.iter().flat_map(|nodes| &nodes.writes);
    rows.extend(writes.map(|path| ("writes", format!("{path} (File Output node)"))));
    rows.extend(
        summary
            .dependencies
            .iter()
            .map(|needed| ("needs", needed_row(needed))),
    );
    rows
}

/// Are frames so small, and their samples so many, that tiles would be small too?
fn is_for_ranges(scene: &SceneSummary, cycles: &Cycles) -> bool {
    let [width, height] = scene.size.map(i64::from);
    width * height <= RANGES_PIXELS_MAX
        && cycles.samples >= RANGES_SAMPLES_MIN
        && !cycles.adaptive_sampling
}

/// What goes beyond one plain picture a frame.
fn features(scene: &SceneSummary) -> impl Iterator<Item = String> {
    let border = scene.border.map(|border| {
        let [left, right, bottom, top] = border.sides.map(|side| (side * 100.0).round());
        let crop = if border.crop { ", cropped to it" } else { "" };
        format!("a border: {left}-{right} % across, {bottom}-{top} % up{crop}")
    });
    let others = [
        (scene.compositor.is_some(), "compositor"),
        (scene.multiview, "several views"),
    ];
    let others = others.into_iter().filter(|(is_so, _)| *is_so);
    border
        .into_iter()
        .chain(others.map(|(_, name)| name.to_owned()))
}

fn frames(scene: &SceneSummary) -> String {
    let [first, last] = scene.frames;
    match scene.frame_step {
        1 => format!("{first}-{last}"),
        step => format!("{first}-{last}x{step}"),
    }
}

fn rate(scene: &SceneSummary) -> String {
    let rate = f64::from(scene.frame_rate) / scene.frame_rate_base;
    format!("{} frames a second", (rate * 1000.0).round() / 1000.0)
}

fn needed_row(needed: &Dependency) -> String {
    let state = match &needed.state {
        State::Packed => "packed".into(),
        State::Present { files, bytes } => format!("{files} files, {bytes} bytes"),
        State::Missing(paths) => format!("{} missing", paths.len()),
        State::Unreadable(_) => "unreadable".into(),
    };
    format!("{} {} ({state})", kind(needed), needed.file.display())
}

fn kind(needed: &Dependency) -> &'static str {
    match needed.kind {
        DependencyKind::Image if needed.is_sequence => "image sequence",
        DependencyKind::Image => "image",
        DependencyKind::Tiles => "image tiles",
        DependencyKind::Movie => "movie",
        DependencyKind::Library => "library",
        DependencyKind::Font => "font",
        DependencyKind::Sound => "sound",
        DependencyKind::MovieClip => "movie clip",
        DependencyKind::Cache => "cache",
        DependencyKind::Volume => "volume",
        DependencyKind::Ies => "light profile",
        DependencyKind::Script => "shader",
        DependencyKind::Bake => "bake",
    }
}

/// A list for a person.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = names.collect();
    all.sort_unstable();
    all.dedup();
    let more = all.len().saturating_sub(NAMES_MAX);
    let shown = all[..all.len() - more].join(", ");
    match (shown.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => shown,
        (false, more) => format!("{shown} and {more} more"),
    }
}

/// Engines of Blender itself that draw with a graphics context, a whole frame at once.
const DRAWN: [&str; 3] = ["BLENDER_EEVEE", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"];

fn notes_of_scene(scene: &SceneSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if DRAWN.contains(&scene.engine.as_str()) {
        notes.push(format!(
            "{}: rendered as whole frames, needs a graphics context on the workers",
            scene.engine
        ));
    }
    let cycles = scene.cycles.as_ref();
    if cycles.is_some_and(|cycles| cycles.open_shading_language) {
        notes.push("the scene uses the Open Shading Language".into());
    }
    if cycles.is_some_and(|cycles| cycles.path_guiding) {
        notes.push("path guiding is on: rendered as whole frames".into());
    }
    if scene.output.is_movie {
        notes.push(
            "the scene writes a movie: pictures are written first; -o out.mp4 makes a film of them"
                .into(),
        );
    }
    if scene.pixel_aspect[0] != scene.pixel_aspect[1] {
        notes.push("pixels are not square".into());
    }
    notes
}

fn refusals_of_scene(scene: &SceneSummary) -> Vec<String> {
    let mut refusals = Vec::new();
    let engine = scene.engine.as_str();
    if engine != "CYCLES" && !DRAWN.contains(&engine) {
        refusals.push(format!(
            "the scene's render engine {engine} is none of Blender's own; hint: set Render Properties > Render Engine \
             to Cycles and save"
        ));
    }
    if scene.sequencer {
        refusals.push(
            "the video sequencer has strips, which Blender would show in place of the scene; hint: turn off Output > \
             Post Processing > Sequencer and save"
                .into(),
        );
    }
    if !scene.view_layers.iter().any(|layer| layer.enabled) {
        refusals.push("no view layer of the scene is enabled for rendering".into());
    }
    if scene.camera.is_none() && scene.marker_cameras.is_empty() {
        refusals.push("the scene has no camera; hint: add one and make it active".into());
    }
    refusals
}

/// Sounds change no pixel, footage only where the compositor reads it.
fn changes_pixels(needed: &Dependency, scene: &SceneSummary) -> bool {
    match needed.kind {
        DependencyKind::Sound => false,
        DependencyKind::MovieClip => scene
            .compositor
            .as_ref()
            .is_some_and(|nodes| nodes.movie_clips.contains(&needed.name)),
        _ => true,
    }
}

fn refusals_of_files(summary: &Summary, scene: &SceneSummary) -> Vec<String> {
    let mut refusals = Vec::new();
    let changing = |needed: &&Dependency| changes_pixels(needed, scene);
    for needed in summary.dependencies.iter().filter(changing) {
        match &needed.state {
            State::Packed | State::Present { .. } => {}
            State::Missing(paths) => {
                refusals.extend(paths.iter().map(|path| missing(needed, path)));
            }
            State::Unreadable(why) => refusals.push(format!(
                "the {} {}: {why}",
                kind(needed),
                needed.file.display()
            )),
        }
    }
    refusals
}

/// A path of another computer is shown as it stands in the file.
fn missing(needed: &Dependency, path: &Path) -> String {
    let (kind, name) = (kind(needed), &needed.name);
    match blend::is_of_windows(&needed.path) && cfg!(not(windows)) {
        true => format!(
            "the {kind} {name} is missing: {} is a path of a Windows computer; hint: pack the file there, or relink it \
             here (File > External Data > Find Missing Files), and save",
            needed.path
        ),
        false => format!("the {kind} {name} is missing: {}", path.display()),
    }
}

fn warnings_of_scene(scene: &SceneSummary) -> Vec<String> {
    let cycles = scene.cycles.as_ref();
    let cases = [
        (
            scene.freestyle,
            "Freestyle lines are on: left out, because they need whole frames",
        ),
        (
            !scene.grease_pencils.is_empty(),
            "grease pencil objects need a graphics context: they may be missing",
        ),
        (
            cycles.is_some_and(|c| c.time_limit_seconds > 0.0),
            "a time limit is set: all samples are rendered instead",
        ),
        (
            cycles.is_some_and(|c| c.graphics_card),
            "the scene asks for a graphics card: rendered on the processor",
        ),
    ];
    let found = cases.into_iter().filter(|(is_so, _)| *is_so);
    found.map(|(_, text)| text.to_owned()).collect()
}

fn warnings_of_file(summary: &Summary, scene: &SceneSummary) -> Vec<String> {
    let mut warnings = Vec::new();
    if !summary.scripts.is_empty() {
        let scripts = names(summary.scripts.iter().map(String::as_str));
        warnings.push(format!("scripts do not run: {scripts}"));
    }
    warnings.extend(summary.drivers.iter().map(|driver| {
        format!(
            "{} of {} stands still: its driver needs Python: {}",
            driver.property, driver.owner, driver.expression
        )
    }));
    let harmless = |needed: &&Dependency| !changes_pixels(needed, scene);
    for needed in summary.dependencies.iter().filter(harmless) {
        if let State::Missing(paths) = &needed.state {
            let file = paths[0].display();
            warnings.push(format!(
                "the {} {} is missing: {file}",
                kind(needed),
                needed.name
            ));
        }
    }
    warnings
}
