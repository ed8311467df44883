//! `render check`: what a scene renders and needs, and what of it would not come out right, in milliseconds: no engine
//! is started and nothing is sent.

mod blender;

use crate::failure::{Code, Failure};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Lines of one kind that are printed; `--json` has all.
const LINES_MAX: usize = 20;

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Scene file: .glb, .gltf or .blend
    scene: PathBuf,
    /// One JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Checked {
    /// Everything, for scripts.
    json: serde_json::Value,
    /// Names and values, for a person.
    rows: Vec<(&'static str, String)>,
    /// Why the scene is not rendered.
    refusals: Vec<String>,
    /// What will be different from what the scene asks for.
    warnings: Vec<String>,
}

/// Carries the command out; a scene that cannot render right is a failure.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let scene = &arguments.scene;
    if !scene.is_file() {
        let message = format!("no scene at {}", scene.display());
        return Err(Failure::preflight(message));
    }
    let ending = scene.extension().unwrap_or_default().to_string_lossy();
    let checked = match ending.to_ascii_lowercase().as_str() {
        "blend" => blender::check(scene)?,
        "glb" | "gltf" => gltf(scene)?,
        _ => {
            let message = format!(
                "{} is not a scene: its name does not end in .glb, .gltf or .blend",
                scene.display()
            );
            return Err(Failure::preflight(message));
        }
    };
    match arguments.json {
        true => print_json(scene, &checked),
        false => print_table(&checked),
    }
    match checked.refusals.len() {
        0 => Ok(()),
        1 => Err(Failure::preflight("the scene is not rendered as it is")),
        count => Err(Failure::new(
            Code::Preflight,
            format!("the scene is not rendered as it is, for {count} reasons"),
        )),
    }
}

fn gltf(scene: &Path) -> Result<Checked, Failure> {
    let refused = |e: tracer::gltf::SceneError| Failure::preflight(e.to_string());
    let files = tracer::gltf::Scene::dependencies(scene).map_err(refused)?;
    let loaded = tracer::gltf::Scene::load(scene).map_err(refused)?;
    let about = loaded.about();
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = files.iter().map(|file| length(file)).sum::<u64>() + length(scene);
    let mut rows = vec![
        ("engine", "built-in path tracer".into()),
        ("frames", format!("{}-{}", about.frames.0, about.frames.1)),
        ("rate", format!("{} frames a second", about.frame_rate)),
        ("triangles", about.triangles.to_string()),
        ("bytes", bytes.to_string()),
    ];
    let shown = files.iter().map(|file| file.display().to_string());
    rows.extend(shown.map(|file| ("file", file)));
    rows.extend(about.notes.iter().map(|note| ("note", note.clone())));
    Ok(Checked {
        json: json!({
            "engine": "tracer", "frames": about.frames, "frame_rate": about.frame_rate,
            "triangles": about.triangles, "bytes": bytes, "cameras": about.cameras,
            "dependencies": files, "notes": about.notes,
        }),
        rows,
        refusals: Vec::new(),
        warnings: about.warnings.clone(),
    })
}

fn print_json(scene: &Path, checked: &Checked) {
    let mut object = checked.json.clone();
    object["scene"] = json!(scene);
    object["refusals"] = json!(checked.refusals);
    object["warnings"] = json!(checked.warnings);
    println!("{object}");
}

fn print_table(checked: &Checked) {
    for (name, value) in &checked.rows {
        println!("{name:<11} {}", printable(value));
    }
    for (name, lines) in [
        ("warning", &checked.warnings),
        ("refused", &checked.refusals),
    ] {
        for line in lines.iter().take(LINES_MAX) {
            println!("{name:<11} {}", printable(line));
        }
        if lines.len() > LINES_MAX {
            println!("{name:<11} and {} more", lines.len() - LINES_MAX);
        }
    }
}

/// Names in a scene may hold what commands a terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(shown).collect()
}
