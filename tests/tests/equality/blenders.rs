//! The Blenders of this computer, and what they do by themselves.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tests::{root, words};

/// A Blender: a program, or a Python that imports bpy.
#[derive(Clone)]
pub struct Blender {
    /// For messages.
    pub name: String,
    pub program: PathBuf,
    is_module: bool,
}

/// With which Blenders something is tried.
#[derive(Clone, Copy)]
pub enum Which {
    /// The one that tests need.
    Newest,
    /// It, the one with long-term support before it, and an installed program.
    Every,
}

fn module(variable: &str) -> Blender {
    let program = env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is set by tests/run"))
        .into();
    Blender {
        name: format!("of {variable}"),
        program,
        is_module: true,
    }
}

/// The `blender` that is installed, if there is one.
fn installed() -> Option<Blender> {
    let path = env::var_os("PATH")?;
    let program = env::split_paths(&path)
        .map(|folder| folder.join("blender"))
        .find(|program| program.is_file());
    if program.is_none() {
        eprintln!("no blender in PATH: frames are not compared with an installed program's");
    }
    program.map(|program| Blender {
        name: program.display().to_string(),
        program,
        is_module: false,
    })
}

impl Which {
    pub fn all(self) -> Vec<Blender> {
        let mut all = vec![module("BLENDER_PYTHON")];
        if matches!(self, Self::Every) {
            all.push(module("BLENDER_PYTHON_4_5"));
            all.extend(installed());
        }
        all
    }
}

impl Blender {
    /// Runs a script of ours in this Blender.
    fn run(&self, script: &Path, arguments: &[&str]) {
        let script = script.canonicalize().expect("our script is there");
        let mut command = Command::new(&self.program);
        if !self.is_module {
            command.args(["-b", "--factory-startup", "--python-exit-code", "3", "-P"]);
        }
        command.arg(script);
        if !self.is_module {
            command.arg("--");
        }
        let ran = command.args(arguments).stdin(Stdio::null()).output();
        let output = ran.expect("Blender starts");
        assert!(output.status.success(), "{}", words(&output));
    }

    /// Is it one that renders ranges of samples? Those that are modules here are new enough.
    pub fn divides_samples(&self) -> bool {
        self.is_module
    }

    /// Makes a scene by its script.
    pub fn make(&self, scene: &str, variant: &[&str], blend: &Path) {
        let script = root().join(format!("scenes/make_{scene}.py"));
        let blend = blend.to_str().expect("a plain name");
        self.run(&script, &[variant, &[blend]].concat());
    }

    /// Lets Blender alone render; see `reference.py`.
    pub fn reference(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/equality/reference.py");
        self.run(&script, arguments);
    }
}
