//! What is known and decided before a job begins: what a scene is refused for, which frames it has and with which settings.

use crate::{
    arguments::Arguments,
    bundle::{self, Needed},
    check,
    failure::{Code, Failure},
    output::Format,
    own_engine::OwnEngine,
    report::Report,
    session::blocking,
};
use engine::SceneDescription;
use network::BlobStore;
use protocol::{
    EngineKind, FrameRange, Pass, RenderSettings, Size,
    frames::summarize,
    limits::{RANGE_SAMPLES_MIN, SAMPLES_MAX},
};
use std::{collections::BTreeSet, path::Path};

/// Size of frames when neither user nor scene has an opinion.
const SIZE_DEFAULT: Size = Size {
    width: 1280,
    height: 720,
};

/// Samples a pixel when neither user nor scene has an opinion.
const SAMPLES_DEFAULT: u32 = 64;

/// What is rendered, as arguments and scene decide it.
pub struct Wanted {
    pub frames: Vec<i32>,
    pub settings: RenderSettings,
    pub bundle: bundle::Bundle,
}

/// What is known of a scene before an engine or a worker starts.
#[derive(Default)]
pub struct Known {
    /// What was said of it.
    lines: Vec<String>,
    /// Where the file was read for it.
    summary: Option<Box<blend::Summary>>,
}

/// Reads a .blend file, refuses it or says what is to be said of it.
pub async fn before_engines(
    kind: EngineKind,
    arguments: &Arguments,
    report: &Report,
) -> Result<Known, Failure> {
    if kind != EngineKind::Blender {
        return Ok(Known::default());
    }
    let (scene, name) = (arguments.scene.clone(), arguments.scene_name.clone());
    let remarks = blocking(move || check::before_blender(&scene, name.as_deref())).await?;
    let notes = remarks.notes.iter().map(|note| format!("note: {note}"));
    let warnings = remarks.warnings.iter();
    let warnings = warnings.map(|warning| format!("warning: {warning}"));
    let lines: Vec<String> = notes.chain(warnings).collect();
    lines.iter().for_each(|line| report.say(line));
    Ok(Known {
        lines,
        summary: Some(Box::new(remarks.summary)),
    })
}

/// The built-in renderer has no use for ranges of samples: each of its pixels can be rendered by itself.
pub fn refuse_ranges(kind: EngineKind, arguments: &Arguments) -> Result<(), Failure> {
    match (kind, arguments.sample_ranges) {
        (EngineKind::Tracer, Some(2..)) => Err(Failure::new(
            Code::Usage,
            "the built-in renderer divides no samples: --sample-ranges is for Blender's Cycles",
        )
        .hint("leave it out: tiles divide frames as finely as one likes")),
        _ => Ok(()),
    }
}

/// Decides what is rendered, says what the scene has to say, and bundles it.
pub async fn preflight(
    arguments: &Arguments,
    own: &OwnEngine,
    (known, format): (Known, &Format),
    (blobs, data_dir): (&BlobStore, &Path),
    report: &Report,
) -> Result<Wanted, Failure> {
    let description = &own.description;
    let notes = description.notes.iter().map(|note| format!("note: {note}"));
    let warnings = description.warnings.iter();
    let warnings = warnings.map(|warning| format!("warning: {warning}"));
    let new = notes
        .chain(warnings)
        .filter(|line| !known.lines.contains(line));
    new.for_each(|line| report.say(&line));
    let frames = frames(arguments, description, report);
    let settings = settings(arguments, description, format)?;
    if arguments.sample_ranges > Some(1) && shows_shadow_catcher(description, &settings) {
        report.say("warning: of the pass Shadow Catcher ranges of samples give about the mean: it has none");
    }
    let (scene, blobs) = (arguments.scene.clone(), blobs.clone());
    let needed = match known.summary {
        Some(summary) => Needed::Blend(summary),
        None => Needed::Files(own.dependencies.clone()),
    };
    let scratch = data_dir.to_owned();
    let bundle = blocking(move || bundle::make(&scene, &needed, &blobs, &scratch)).await?;
    report.say(&format!("scene    {} bytes with its files", bundle.bytes));
    Ok(Wanted {
        frames,
        settings,
        bundle,
    })
}

fn frames(arguments: &Arguments, description: &SceneDescription, report: &Report) -> Vec<i32> {
    let range = arguments.frames.clone();
    let range = range.unwrap_or_else(|| {
        let (first, last) = description.frames;
        FrameRange::span(first, last, description.frame_step.unsigned_abs())
    });
    let expansion = range.expand();
    if expansion.duplicates > 0 {
        report.say(&format!(
            "warning: {} frames are named twice and rendered once",
            expansion.duplicates
        ));
    }
    report.say(&format!(
        "frames   {} ({})",
        summarize(&expansion.frames),
        expansion.frames.len()
    ));
    expansion.frames
}

/// What decides the pixels, from arguments first and the scene second.
fn settings(
    arguments: &Arguments,
    description: &SceneDescription,
    format: &Format,
) -> Result<RenderSettings, Failure> {
    if arguments.size.is_some() && description.has_border {
        let message = "the scene renders a part of its picture: its size cannot be changed";
        return Err(Failure::new(Code::Usage, message)
            .hint("leave out --size, or turn off Output Properties > Format > Render Region"));
    }
    let samples = arguments
        .samples
        .or(description.samples)
        .unwrap_or(SAMPLES_DEFAULT);
    if samples == 0 || samples > SAMPLES_MAX {
        let message = format!("{samples} samples: from 1 to {SAMPLES_MAX} are allowed");
        return Err(Failure::new(Code::Usage, message));
    }
    let mut passes = match asks_for_all(format, description) {
        true => description.passes(),
        false => description.finish_passes.clone(),
    };
    if let Some(ranges) = arguments.sample_ranges.filter(|ranges| *ranges > 1) {
        let most = samples / RANGE_SAMPLES_MIN;
        if ranges > most {
            let message = format!("{samples} samples cannot be divided into {ranges} ranges");
            return Err(Failure::new(Code::Usage, message).hint(format!(
                "a range has at least {RANGE_SAMPLES_MIN} samples: ask for {most} at most"
            )));
        }
        let wanted: BTreeSet<Pass> = passes.into_iter().collect();
        passes = description.merging.with_weights(wanted);
    }
    // Adaptive sampling spreads with the samples that are taken, not with those that the scene asks for.
    let guard_px = match (description.guard_px, description.samples) {
        (0, _) => 0,
        (guard, Some(own)) => guard.max(guard * samples.div_ceil(own.max(1))),
        (guard, None) => guard,
    };
    Ok(RenderSettings {
        size: arguments.size.or(description.size).unwrap_or(SIZE_DEFAULT),
        samples,
        seed: 0,
        passes,
        guard_px,
        scene: arguments.scene_name.clone(),
    })
}

/// Is a pass rendered that is a quotient of what no pass has?
fn shows_shadow_catcher(description: &SceneDescription, settings: &RenderSettings) -> bool {
    let planes = description.planes.iter();
    let mut asked = planes.filter(|plane| settings.passes.contains(&plane.pass));
    asked.any(|plane| {
        let mut names = plane.channels.iter();
        names.any(|name| name.contains(".Shadow Catcher."))
    })
}

/// Does a file of this format hold every pass?
fn asks_for_all(format: &Format, description: &SceneDescription) -> bool {
    let own = description.output.as_ref().map(|own| own.format.as_str());
    match (format, own) {
        (Format::Raw, _) => true,
        (Format::Picture, _) => false,
        (Format::Finished(None), own) => own == Some("OPEN_EXR_MULTILAYER"),
        // A scene that writes plain EXR does so here too; any other gets all passes in an EXR.
        (Format::Finished(Some(ending)), own) => ending == "exr" && own != Some("OPEN_EXR"),
    }
}
