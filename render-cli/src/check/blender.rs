//! What of a `.blend` file is rendered, with a warning or not at all: the same that the Blender engine says once it has
//! opened the scene, from the file alone.

use super::Checked;
use crate::failure::Failure;
use blend::{Dependency, DependencyKind, SceneSummary, State, Summary};
use serde_json::json;
use std::path::Path;

/// Names in one line.
const NAMES_MAX: usize = 5;

pub fn check(scene: &Path) -> Result<Checked, Failure> {
    let refused = |why: String| Failure::preflight(format!("{}: {why}", scene.display()));
    let absolute = std::path::absolute(scene).map_err(|e| refused(e.to_string()))?;
    let summary = blend::read(scene).map_err(|e| refused(e.to_string()))?;
    let active = summary
        .active()
        .ok_or_else(|| refused("its active scene is linked from another file".into()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let mut refusals = refusals_of_scene(active);
    refusals.extend(refusals_of_files(&summary.dependencies, folder));
    let mut warnings = warnings_of_scene(active);
    warnings.extend(warnings_of_file(&summary));
    Ok(Checked {
        json: json!({ "engine": "blender", "summary": summary }),
        rows: rows(&summary, active),
        refusals,
        warnings,
    })
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
    }
    let layers = scene.view_layers.iter().filter(|layer| layer.enabled);
    rows.push(("layers", names(layers.map(|layer| layer.name.as_str()))));
    rows.push(("camera", scene.camera.clone().unwrap_or("none".into())));
    rows.push((
        "output",
        format!("{} ({})", scene.output.path, scene.output.format),
    ));
    rows.extend(
        summary
            .dependencies
            .iter()
            .map(|needed| ("needs", needed_row(needed))),
    );
    rows
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

fn refusals_of_scene(scene: &SceneSummary) -> Vec<String> {
    let mut refusals = Vec::new();
    if scene.engine != "CYCLES" {
        refusals.push(format!(
            "the scene's render engine is {}: only CYCLES can be divided into tiles; hint: set Render Properties > \
             Render Engine to Cycles and save",
            scene.engine
        ));
    }
    if scene
        .cycles
        .as_ref()
        .is_some_and(|cycles| cycles.open_shading_language)
    {
        refusals.push("the scene uses Open Shading Language, which is not supported".into());
    }
    if !scene.view_layers.iter().any(|layer| layer.enabled) {
        refusals.push("no view layer of the scene is enabled for rendering".into());
    }
    if scene.camera.is_none() && scene.marker_cameras.is_empty() {
        refusals.push("the scene has no camera; hint: add one and make it active".into());
    }
    let unbaked = scene
        .simulations
        .iter()
        .filter(|simulation| !simulation.baked);
    refusals.extend(unbaked.map(|simulation| {
        format!(
            "a simulation is not baked: {}; hint: bake it to disk and save",
            simulation.name
        )
    }));
    refusals
}

/// Sounds and footage change no rendered pixel.
fn changes_pixels(needed: &&Dependency) -> bool {
    !matches!(
        needed.kind,
        DependencyKind::Sound | DependencyKind::MovieClip
    )
}

fn refusals_of_files(dependencies: &[Dependency], folder: &Path) -> Vec<String> {
    let mut refusals = Vec::new();
    for needed in dependencies.iter().filter(changes_pixels) {
        match &needed.state {
            State::Packed => {}
            State::Missing(paths) => refusals.extend(paths.iter().map(|path| {
                format!("the {} {} is missing: {}", kind(needed), needed.name, path.display())
            })),
            State::Unreadable(why) => refusals.push(format!(
                "the {} {}: {why}",
                kind(needed),
                needed.file.display()
            )),
            State::Present { files: 0, .. } => {}
            State::Present { .. } if needed.file.starts_with(folder) => {}
            State::Present { .. } => refusals.push(format!(
                "the {} {} lies outside the scene's folder: {}; hint: pack it, or move it beside the scene",
                kind(needed),
                needed.name,
                needed.file.display()
            )),
        }
    }
    refusals
}

fn warnings_of_scene(scene: &SceneSummary) -> Vec<String> {
    let mut warnings = Vec::new();
    let enabled: Vec<&str> = scene
        .view_layers
        .iter()
        .filter(|layer| layer.enabled)
        .map(|layer| layer.name.as_str())
        .collect();
    if let [first, others @ ..] = enabled.as_slice()
        && !others.is_empty()
    {
        let others = names(others.iter().copied());
        warnings.push(format!(
            "only the view layer {first} is rendered, not {others}"
        ));
    }
    let cycles = scene.cycles.as_ref();
    let cases = [
        (
            scene.border.is_some(),
            "the scene renders a part of the frame only: whole frames are rendered",
        ),
        (
            scene.frame_step > 1,
            "the scene leaves out frames: all are rendered unless --frames says otherwise",
        ),
        (
            scene.sequencer,
            "the video sequencer is on: its strips are left out",
        ),
        (
            scene.multiview,
            "stereo views are on: only one view is rendered",
        ),
        (
            scene.output.is_movie,
            "the scene writes a movie: pictures are written instead",
        ),
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
            cycles.is_some_and(|c| c.path_guiding),
            "path guiding is on: rendered without it, because it depends on what was rendered before",
        ),
        (
            cycles.is_some_and(|c| c.graphics_card),
            "the scene asks for a graphics card: rendered on the processor",
        ),
    ];
    let found = cases.into_iter().filter(|(is_so, _)| *is_so);
    warnings.extend(found.map(|(_, text)| text.to_owned()));
    if scene.pixel_aspect[0] != scene.pixel_aspect[1] {
        warnings.push("pixels are not square".into());
    }
    warnings
}

fn warnings_of_file(summary: &Summary) -> Vec<String> {
    let mut warnings = Vec::new();
    if !summary.scripts.is_empty() {
        let scripts = names(summary.scripts.iter().map(String::as_str));
        warnings.push(format!("scripts do not run: {scripts}"));
    }
    for needed in summary
        .dependencies
        .iter()
        .filter(|needed| !changes_pixels(needed))
    {
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
