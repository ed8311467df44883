//! `render check`: what a scene renders and needs, and what of it would not come out right, in milliseconds: no engine
//! is started and nothing is sent.

mod blender;

use crate::failure::{Code, Failure};
use blend::Summary;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What refusals for want of a file say.
const MISSING: &str = " is missing: ";
/// Lines of one kind that are printed; `--json` has all.
const LINES_MAX: usize = 20;

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Scene file: .glb, .gltf or .blend
    #[arg(value_name = "SCENE")]
    file: PathBuf,
    /// Of several scenes in a .blend file the one of this name (default: the active one)
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
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
    /// How it is rendered, where that is not as usual.
    notes: Vec<String>,
    /// Why the scene is not rendered.
    refusals: Vec<String>,
    /// What will be different from what the scene asks for.
    warnings: Vec<String>,
}

/// Carries the command out; a scene that cannot render right is a failure.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let file = &arguments.file;
    if !file.is_file() {
        let message = format!("no scene at {}", file.display());
        return Err(Failure::preflight(message));
    }
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    let checked = match (ending.to_ascii_lowercase().as_str(), &arguments.scene) {
        ("blend", scene) => blender::check(file, scene.as_deref())?.1,
        ("glb" | "gltf", None) => gltf(file)?,
        ("glb" | "gltf", Some(_)) => {
            let message = "--scene names one of several scenes in a .blend file";
            return Err(Failure::new(Code::Usage, message));
        }
        _ => {
            let message = format!(
                "{} is not a scene: its name does not end in .glb, .gltf or .blend",
                file.display()
            );
            return Err(Failure::preflight(message));
        }
    };
    match arguments.json {
        true => print_json(file, &checked),
        false => print_table(&checked),
    }
    refuse(&checked.refusals)
}

/// What is said of a scene that renders.
pub struct Remarks {
    /// How it is rendered, where that is not as usual.
    pub notes: Vec<String>,
    /// What will be different from what it asks for.
    pub warnings: Vec<String>,
    /// What was read of the file.
    pub summary: Summary,
}

/// Checks a .blend file before any Blender is started; what is wrong with it is said on stderr, a line each.
pub fn before_blender(file: &Path, scene: Option<&str>) -> Result<Remarks, Failure> {
    let (summary, mut checked) = blender::check(file, scene)?;
    if let [refusal] = checked.refusals.as_mut_slice() {
        let refusal = std::mem::take(refusal);
        return Err(match refusal.split_once("; hint: ") {
            Some((what, hint)) => Failure::preflight(printable(what)).hint(hint),
            None => with_hint(Failure::preflight(printable(&refusal)), &refusal),
        });
    }
    for line in listed("refused", &checked.refusals) {
        eprintln!("{line}");
    }
    refuse(&checked.refusals)?;
    let said = |lines: &[String]| lines.iter().map(|line| printable(line)).collect();
    Ok(Remarks {
        notes: said(&checked.notes),
        warnings: said(&checked.warnings),
        summary,
    })
}

fn refuse(refusals: &[String]) -> Result<(), Failure> {
    let message = match refusals.len() {
        0 => return Ok(()),
        1 => "the scene is not rendered as it is".to_owned(),
        count => format!("the scene is not rendered as it is, for {count} reasons"),
    };
    let missing = refusals.iter().find(|refusal| refusal.contains(MISSING));
    let failure = Failure::preflight(message);
    Err(match missing {
        Some(refusal) => with_hint(failure, refusal),
        None => failure,
    })
}

/// Missing files have one remedy for all of them.
fn with_hint(failure: Failure, refusal: &str) -> Failure {
    match refusal.contains(MISSING) {
        true => failure.hint(
            "put what is missing there, or relink it in Blender (File > External Data > Find Missing Files), and save",
        ),
        false => failure,
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
    Ok(Checked {
        json: json!({
            "engine": "tracer", "frames": about.frames, "frame_rate": about.frame_rate,
            "triangles": about.triangles, "bytes": bytes, "cameras": about.cameras,
            "dependencies": files,
        }),
        rows,
        notes: about.notes.clone(),
        refusals: Vec::new(),
        warnings: about.warnings.clone(),
    })
}

fn print_json(scene: &Path, checked: &Checked) {
    let mut object = checked.json.clone();
    object["scene"] = json!(scene);
    object["notes"] = json!(checked.notes);
    object["refusals"] = json!(checked.refusals);
    object["warnings"] = json!(checked.warnings);
    println!("{object}");
}

fn print_table(checked: &Checked) {
    for (name, value) in &checked.rows {
        println!("{name:<11} {}", printable(value));
    }
    for (name, lines) in [
        ("note", &checked.notes),
        ("warning", &checked.warnings),
        ("refused", &checked.refusals),
    ] {
        for line in listed(name, lines) {
            println!("{line}");
        }
    }
}

/// The first of these lines, each behind its name.
fn listed(name: &str, lines: &[String]) -> Vec<String> {
    let shown = lines.iter().take(LINES_MAX);
    let mut listed: Vec<String> = shown
        .map(|line| format!("{name:<11} {}", printable(line)))
        .collect();
    if lines.len() > LINES_MAX {
        listed.push(format!("{name:<11} and {} more", lines.len() - LINES_MAX));
    }
    listed
}

/// Names in a scene may hold what commands a terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(shown).collect()
}
