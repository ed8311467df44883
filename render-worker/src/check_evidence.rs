//! `check-evidence`: whose are the statements of evidence, and who is right by a render of the disputed cell here.
//!
//! The file and the scene may come from a stranger: limits hold before anything is done, and the cell is rendered by a
//! confined process without keys.

use crate::{
    blender_release::check_blender, config::WorkerError, engine_process::EngineProcesses,
    limits::GUARD_MAX_PX,
};
use engine::{CancelFlag, Device, calibrate, class_fingerprint, find_blender};
use network::verify_proof;
use protocol::{Blake3Hash, EngineKind, Manifest, NodeId, message::printable, pixels::task_bytes};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};
use verifier::{
    Flaw, Ruling,
    evidence::{Bundle, EVIDENCE_BYTES_MAX},
};

const EXIT_FALSELY_ACCUSED: u8 = 3;
const EXIT_NOT_GENUINE: u8 = 4;
const EXIT_UNDECIDED: u8 = 5;

/// With what evidence is checked.
#[derive(Debug, Clone)]
pub struct Checking {
    /// Arguments that make the current executable a worker.
    pub program: Vec<String>,
    /// The job's scene, with its files beside it. Without it no cell is rendered.
    pub scene: Option<PathBuf>,
    /// Blender's program, or a Python that has bpy.
    pub blender: Option<PathBuf>,
    /// Does Blender render with the kernel that every processor has?
    pub common_kernel: bool,
    /// Render threads; 0 is one a processor.
    pub threads: u32,
}

/// What came of a check.
pub enum Checked {
    /// The file is no evidence at all.
    Unreadable(String),
    /// It was examined.
    Examined(Box<Examined>),
}

/// Evidence with what is known of it.
pub struct Examined {
    bundle: Bundle,
    /// What each statement says, if it is its worker's.
    values: Vec<Result<Blake3Hash, Flaw>>,
    /// None when the evidence proves nothing whatever the cell is, or there is no scene.
    rendered: Option<Rendered>,
    /// None when there is no scene to render.
    ruling: Option<Ruling>,
}

/// The cell as this machine renders it.
struct Rendered {
    value: Blake3Hash,
    build: String,
    class: Blake3Hash,
}

/// Checks a file of evidence.
///
/// # Errors
/// When the file or the scene cannot be read, or the cell cannot be rendered here.
pub fn check(checking: &Checking, file: &Path) -> Result<Checked, WorkerError> {
    let bundle = match Bundle::from_json(&read(file)?) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Checked::Unreadable(error.to_string())),
    };
    if !is_of_job(&bundle) {
        let why = "its list of files is not that of the job";
        return Ok(Checked::Unreadable(why.into()));
    }
    let values =
        bundle.examine(|root, bytes, range, proof| verify_proof(*root, bytes, range, proof).ok());
    let (rendered, ruling) = match (bundle.refute(&values), &checking.scene) {
        (Some(ruling), _) => (None, Some(ruling)),
        (None, None) => (None, None),
        (None, Some(scene)) => {
            let rendered = render(checking, scene, &bundle)?;
            let ruling = bundle.rule(&values, rendered.value, rendered.class);
            (Some(rendered), Some(ruling))
        }
    };
    Ok(Checked::Examined(Box::new(Examined {
        bundle,
        values,
        rendered,
        ruling,
    })))
}

fn read(path: &Path) -> Result<Vec<u8>, WorkerError> {
    let failed = || WorkerError::io(format!("cannot read {}", path.display()));
    let file = File::open(path).map_err(failed())?;
    let mut bytes = Vec::new();
    file.take(EVIDENCE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed())?;
    Ok(bytes)
}

/// Are its files those that the job names by their hash?
fn is_of_job(bundle: &Bundle) -> bool {
    postcard::to_stdvec(&bundle.manifest).is_ok_and(|bytes| {
        bytes.len() as u64 == bundle.job.manifest_bytes
            && Blake3Hash::of(&bytes) == bundle.job.manifest
    })
}

/// The folder that the manifest's paths start from, once all files in it are the manifest's.
fn check_scene(scene: &Path, manifest: &Manifest) -> Result<PathBuf, WorkerError> {
    let refuse = |what: String| WorkerError::Evidence(printable(&what));
    let entry = Path::new(&manifest.entry);
    let absolute =
        std::path::absolute(scene).map_err(|e| refuse(format!("{}: {e}", scene.display())))?;
    let folder = absolute.ancestors().nth(entry.components().count());
    let Some(folder) = folder.filter(|_| absolute.ends_with(entry)) else {
        let (scene, entry) = (scene.display(), entry.display());
        return Err(refuse(format!(
            "the job's scene is called {entry}, not {scene}"
        )));
    };
    for file in &manifest.files {
        let path = folder.join(&file.path);
        let name = path.display();
        let (hash, bytes) = hash_file(&path).map_err(|e| refuse(format!("{name}: {e}")))?;
        if (hash, bytes) != (file.hash, file.bytes) {
            return Err(refuse(format!("{name} is not the file of the job")));
        }
    }
    Ok(folder.to_owned())
}

fn hash_file(path: &Path) -> std::io::Result<(Blake3Hash, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(metadata.len()))?;
    Ok((hasher.finalize().into(), metadata.len()))
}

/// Renders the cell as a worker of the job would.
fn render(checking: &Checking, scene: &Path, bundle: &Bundle) -> Result<Rendered, WorkerError> {
    let settings = &bundle.job.settings;
    if settings.guard_px > GUARD_MAX_PX {
        let guard = settings.guard_px;
        let why = format!("a guard band of {guard} pixels: at most {GUARD_MAX_PX} are rendered");
        return Err(WorkerError::Evidence(why));
    }
    let folder = check_scene(scene, &bundle.manifest)?;
    let blender = match bundle.job.engine {
        EngineKind::Tracer => None,
        EngineKind::Blender => {
            let found = find_blender(checking.blender.as_deref())?;
            check_blender(bundle.job.blender, Some(found.release()?))
                .map_err(WorkerError::Evidence)?;
            Some(found)
        }
    };
    let processes = EngineProcesses::new(
        checking.program.clone(),
        checking.threads,
        blender,
        (checking.common_kernel, Device::default()),
    )?;
    let cancel = CancelFlag::default();
    let mut engine = processes.spawn(bundle.job.engine)?;
    let (first_frame, _) = engine
        .prepare(
            &folder,
            &bundle.manifest.entry,
            bundle.job.settings.scene.as_deref(),
        )?
        .frames;
    let calibration = calibrate(engine.as_mut(), settings, first_frame, &cancel)?;
    let part = (bundle.frame, bundle.samples);
    let cells = engine.render_range(settings, part, &[bundle.cell], &cancel)?;
    let bytes = task_bytes(&cells, &settings.passes);
    let bytes = bytes.map_err(|e| WorkerError::Evidence(e.to_string()))?;
    let build = engine.build();
    Ok(Rendered {
        value: Blake3Hash::of(&bytes),
        class: class_fingerprint(&build, calibration.root),
        build,
    })
}

impl Checked {
    /// The evidence and what is known of it (nothing when there was no scene to render), or why it is no evidence.
    pub fn ruling(&self) -> Result<(&Bundle, Option<&Ruling>), &str> {
        match self {
            Self::Unreadable(why) => Err(why),
            Self::Examined(examined) => Ok((&examined.bundle, examined.ruling.as_ref())),
        }
    }

    /// In a sentence.
    pub fn why(&self) -> String {
        match self {
            Self::Unreadable(why) => printable(why),
            Self::Examined(examined) => examined.verdict().1,
        }
    }

    /// What is printed: lines for a person, or one of JSON.
    pub fn report(&self, is_json: bool) -> String {
        match (self, is_json) {
            (Self::Unreadable(why), false) => {
                format!("verdict  not genuine: {}\n", printable(why))
            }
            (Self::Unreadable(why), true) => {
                format!("{}\n", json!({ "verdict": "not_genuine", "why": why }))
            }
            (Self::Examined(examined), false) => examined.table(),
            (Self::Examined(examined), true) => format!("{}\n", examined.json()),
        }
    }

    /// See the help of the command.
    pub fn exit_code(&self) -> ExitCode {
        let Self::Examined(examined) = self else {
            return EXIT_NOT_GENUINE.into();
        };
        match examined.ruling {
            Some(Ruling::Wrong) => ExitCode::SUCCESS,
            Some(Ruling::FalselyAccused(_)) => EXIT_FALSELY_ACCUSED.into(),
            Some(Ruling::NotGenuine(_) | Ruling::NoContradiction) => EXIT_NOT_GENUINE.into(),
            Some(Ruling::OtherClass | Ruling::NotReproduced) | None => EXIT_UNDECIDED.into(),
        }
    }
}

impl Examined {
    /// What the render says of one statement.
    fn word(&self, value: Result<Blake3Hash, Flaw>) -> &'static str {
        let reproduced = self.rendered.as_ref().map(|own| Ok(own.value) == value);
        match (value, reproduced, &self.ruling) {
            (Err(_), _, _) => "not genuine",
            (_, Some(true), _) => "right",
            (_, Some(false), Some(Ruling::Wrong)) => "wrong",
            (_, Some(false), Some(Ruling::FalselyAccused(_))) if self.is_of_class() => "wrong",
            (_, Some(false), _) => "not reproduced",
            (_, None, _) => "not rendered",
        }
    }

    fn is_of_class(&self) -> bool {
        let own = self.rendered.as_ref();
        own.is_some_and(|own| own.class == self.bundle.class)
    }

    fn verdict(&self) -> (&'static str, String) {
        let names = |nodes: &[NodeId]| {
            let names: Vec<String> = nodes.iter().map(NodeId::short).collect();
            names.join(", ")
        };
        match &self.ruling {
            Some(Ruling::Wrong) => {
                let why = format!(
                    "{} signed pixels that are not those of the scene",
                    names(&self.bundle.wrong)
                );
                ("wrong", why)
            }
            Some(Ruling::FalselyAccused(nodes)) => (
                "falsely_accused",
                format!("{} signed the pixels that the scene gives", names(nodes)),
            ),
            Some(Ruling::NotGenuine(nodes)) => (
                "not_genuine",
                format!("what {} is said to have signed is not its own", names(nodes)),
            ),
            Some(Ruling::NoContradiction) => {
                ("not_genuine", "all who speak of the cell say the same".into())
            }
            Some(Ruling::OtherClass) => (
                "undecided",
                "this machine's class differs and no accused value is reproduced: check it on a machine of that class"
                    .into(),
            ),
            Some(Ruling::NotReproduced) => (
                "undecided",
                "neither value is reproduced here, though the class is the same".into(),
            ),
            None => ("undecided", "there is no scene to render it from".into()),
        }
    }

    fn table(&self) -> String {
        let (bundle, settings) = (&self.bundle, &self.bundle.job.settings);
        let mut text = format!(
            "job      {}: {}, {} with {} samples\ncell     {} of frame {}\nclaim    {}\n",
            bundle.job.id,
            bundle.job.engine,
            settings.size,
            settings.samples,
            bundle.cell,
            bundle.frame,
            printable(&bundle.text)
        );
        if let Some(own) = &self.rendered {
            let class = match self.is_of_class() {
                true => "of the same class",
                false => "of another class",
            };
            text += &format!("here     {} by {}, {class}\n", own.value.short(), own.build);
        }
        text += &format!(
            "\n{:<64}  {:<8}  {:<8}  here\n",
            "worker", "accused", "says"
        );
        for (worker, accused, value) in self.rows() {
            let said = value.map_or_else(|_| String::new(), |value| value.short());
            let accused = if accused { "yes" } else { "" };
            let word = self.word(value);
            text += &format!("{worker}  {accused:<8}  {said:<8}  {word}");
            if let Err(flaw) = value {
                text += &format!(": {flaw}");
            }
            text += "\n";
        }
        let (verdict, why) = self.verdict();
        text + &format!("\nverdict  {}: {why}\n", verdict.replace('_', " "))
    }

    fn rows(&self) -> impl Iterator<Item = (NodeId, bool, Result<Blake3Hash, Flaw>)> {
        let pairs = self.bundle.statements.iter().zip(&self.values);
        pairs.map(|(said, value)| {
            let worker = said.testimony.worker;
            (worker, self.bundle.wrong.contains(&worker), *value)
        })
    }

    fn json(&self) -> Value {
        let row = |(worker, accused, value): (NodeId, bool, Result<Blake3Hash, Flaw>)| {
            json!({
                "worker": worker.to_string(), "accused": accused, "here": self.word(value),
                "value": value.ok().map(|value| value.to_string()),
                "flaw": value.err().map(|flaw| flaw.to_string()),
            })
        };
        let (verdict, why) = self.verdict();
        json!({
            "verdict": verdict, "why": why, "job": self.bundle.job.id.to_string(), "frame": self.bundle.frame, "samples": self.bundle.samples,
            "cell": self.bundle.cell.to_string(), "same_class": self.is_of_class(),
            "rendered": self.rendered.as_ref().map(|own| own.value.to_string()),
            "build": self.rendered.as_ref().map(|own| own.build.as_str()),
            "workers": self.rows().map(row).collect::<Vec<_>>(),
        })
    }
}
