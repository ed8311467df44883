//! Finding Blender on this machine: the program itself, or a Python that imports it as the module `bpy`.

use super::{
    BlenderOptions,
    device::{Device, ListedDevice},
    process::{Driver, private_command, run_bounded},
};
use crate::{CancelFlag, EngineError};
use protocol::{BlenderVersion, version::ParseVersionError};
use std::{
    env, fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Oldest major version that the driver script knows.
const VERSION_MIN: u32 = 3;
/// Longest time that a program may take to tell its version (a cold disk reads a few hundred megabytes).
const PROBE_SECONDS_MAX: u64 = 120;
/// What a Python prints to show that it has Blender. Only a module whose package tells no version is imported for it,
/// which takes half a second.
const MODULE_PROBE: &str = "
from importlib import metadata, util
if util.find_spec('bpy'):
    try:
        version = metadata.version('bpy')
    except metadata.PackageNotFoundError:
        import bpy
        version = bpy.app.version_string
    print('Blender', version)
";

/// How Blender is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// The program `blender`.
    Binary,
    /// A Python that imports `bpy`.
    Module,
}

/// A Blender that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How it is started.
    pub kind: ProgramKind,
    /// The program or the Python.
    pub path: PathBuf,
    /// `5.0.1`.
    pub version: String,
    /// Hash of the source it was built from; empty until it runs, and where the packager left it out.
    pub build_hash: String,
}

impl Found {
    /// Which release it is, without what a packager adds to its name.
    ///
    /// # Errors
    /// When it calls itself something that names no release.
    pub fn release(&self) -> Result<BlenderVersion, EngineError> {
        let named = self.version.parse();
        named.map_err(|e: ParseVersionError| {
            EngineError::Missing(format!("{}: {e}", self.path.display()))
        })
    }

    /// What was found besides the path, as one word or more of text: for a process that starts the same Blender.
    pub fn facts(&self) -> String {
        let kind = match self.kind {
            ProgramKind::Binary => "program",
            ProgramKind::Module => "module",
        };
        format!("{kind} {} {}", self.build_hash, self.version)
    }

    /// The Blender at this path, of which a process that found it told its [`facts`](Self::facts): looking for it again
    /// would take a tenth of a second and more.
    ///
    /// # Errors
    /// When these are no facts.
    pub fn known(path: &Path, facts: &str) -> Result<Self, EngineError> {
        let mut words = facts.splitn(3, ' ');
        let (kind, build_hash, version) = (words.next(), words.next(), words.next());
        let kind = match kind {
            Some("program") => Some(ProgramKind::Binary),
            Some("module") => Some(ProgramKind::Module),
            _ => None,
        };
        let (Some(kind), Some(build_hash), Some(version)) = (kind, build_hash, version) else {
            let message = format!("`{facts}` tells nothing of a Blender");
            return Err(EngineError::Missing(message));
        };
        Ok(Self {
            kind,
            path: path.to_owned(),
            version: version.to_owned(),
            build_hash: build_hash.to_owned(),
        })
    }

    /// Starts it once and gives what it then says of itself, if it can render with this device.
    ///
    /// # Errors
    /// When it does not run, with the last of what it printed, or has no such device.
    pub fn proven(self, device: Device) -> Result<Self, EngineError> {
        let (found, mut driver) = self.started(device)?;
        driver.use_device(device, &CancelFlag::default())?;
        Ok(found)
    }

    /// Starts it once and gives what it then says of itself and of what it can render with.
    ///
    /// # Errors
    /// When it does not run, with the last of what it printed.
    pub fn with_devices(self) -> Result<(Self, Vec<ListedDevice>), EngineError> {
        let (found, mut driver) = self.started(Device::default())?;
        let devices = driver.devices(&CancelFlag::default())?;
        Ok((found, devices))
    }

    fn started(mut self, device: Device) -> Result<(Self, Driver), EngineError> {
        let options = BlenderOptions {
            device,
            ..BlenderOptions::default()
        };
        let (driver, hello) = Driver::start(&self, &options, &CancelFlag::default())?;
        self.version = hello.version;
        self.build_hash = hello.build_hash;
        Ok((self, driver))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ProgramKind::Binary => "program",
            ProgramKind::Module => "Python module",
        };
        write!(
            f,
            "Blender {} {} ({kind} {})",
            self.version,
            self.build_hash,
            self.path.display()
        )
    }
}

/// Finds Blender: `explicit` alone if given; else `BLENDER_EXECUTABLE`, `BLENDER_PYTHON`, `blender` in the
/// path, `python3` and `python` in the path. A path may name the program or a Python that has `bpy`. That it runs is
/// known once it was started, see [`Found::proven`].
///
/// # Errors
/// [`EngineError::Missing`] with everything that was tried and a hint. A path that was given explicitly or by
/// environment variable and does not work is an error even if others would.
pub fn find_blender(explicit: Option<&Path>) -> Result<Found, EngineError> {
    if let Some(path) = explicit {
        return probe(path).map_err(|why| missing(&[why]));
    }
    for name in ["BLENDER_EXECUTABLE", "BLENDER_PYTHON"] {
        if let Some(path) = env::var_os(name).filter(|value| !value.is_empty()) {
            return probe(Path::new(&path)).map_err(|why| missing(&[format!("{name}: {why}")]));
        }
    }
    let mut tried = Vec::new();
    for name in ["blender", "python3", "python"] {
        match in_path(name) {
            None => tried.push(format!("no `{name}` in the path")),
            Some(path) => match probe(&path) {
                Ok(found) => return Ok(found),
                Err(why) => tried.push(why),
            },
        }
    }
    Err(missing(&tried))
}

fn missing(tried: &[String]) -> EngineError {
    EngineError::Missing(format!(
        "no Blender found ({}); hint: give --blender PATH, set BLENDER_EXECUTABLE, or `pip install bpy`",
        tried.join("; ")
    ))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
}

/// Asks one program what it is.
fn probe(path: &Path) -> Result<Found, String> {
    let run = |args: &[&str]| {
        let home = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
        let mut command = private_command(path, home.path());
        command.args(args);
        run_bounded(command, Duration::from_secs(PROBE_SECONDS_MAX))
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    let greeting = run(&["--version"])?;
    let (kind, text) = if greeting.lines().any(|line| line.starts_with("Blender ")) {
        (ProgramKind::Binary, greeting)
    } else if greeting.starts_with("Python 3") {
        (ProgramKind::Module, run(&["-I", "-c", MODULE_PROBE])?)
    } else {
        return Err(format!(
            "{} is neither Blender nor a Python",
            path.display()
        ));
    };
    let (version, build_hash) =
        parse_version(&text).ok_or_else(|| format!("{}: no module bpy", path.display()))?;
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < VERSION_MIN) {
        return Err(format!(
            "{}: Blender {version} is older than {VERSION_MIN}.0",
            path.display()
        ));
    }
    Ok(Found {
        kind,
        path: path.to_owned(),
        version,
        build_hash,
    })
}

/// Reads `Blender 5.0.1 ...` and, anywhere after it, `build hash: a3db93c5b259`.
fn parse_version(text: &str) -> Option<(String, String)> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Blender "))?;
    let version = line.split_whitespace().next()?.to_owned();
    let build_hash = text
        .split_once("build hash:")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_default();
    Some((version, build_hash.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_both_forms() {
        let program = "Blender 3.4.1\n\tbuild date: 2022-12-20\n\tbuild hash: 55485cb379f7\n";
        assert_eq!(
            parse_version(program),
            Some(("3.4.1".into(), "55485cb379f7".into()))
        );
        let module = "Blender 5.0.1\n";
        assert_eq!(parse_version(module), Some(("5.0.1".into(), "".into())));
        assert_eq!(parse_version("Traceback (most recent call last)"), None);
    }

    #[test]
    fn what_was_found_is_known_from_its_facts() {
        for (kind, build_hash, version) in [
            (ProgramKind::Binary, "55485cb379f7", "3.4.1"),
            (ProgramKind::Module, "", "4.2.1 LTS"),
        ] {
            let found = Found {
                kind,
                path: "/somewhere/else".into(),
                version: version.into(),
                build_hash: build_hash.into(),
            };
            let known = Found::known(&found.path, &found.facts());
            assert_eq!(known.unwrap(), found);
        }
        for facts in ["", "program", "program 3.4.1", "python 55485cb379f7 3.4.1"] {
            let known = Found::known(Path::new("blender"), facts);
            assert!(known.is_err(), "{facts:?}: {known:?}");
        }
    }

    #[test]
    fn a_path_that_is_no_blender_is_refused_with_a_hint() {
        let Err(EngineError::Missing(text)) = find_blender(Some(Path::new("/no/such/blender")))
        else {
            panic!("found something at /no/such/blender");
        };
        assert!(
            text.contains("/no/such/blender") && text.contains("hint:"),
            "{text}"
        );
    }
}
