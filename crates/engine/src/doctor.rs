//! What this machine can render with and how well it is protected, for a person who sets up a provider.

use crate::{
    Engine, TracerEngine,
    blender::{Found, ListedDevice, find_blender},
    sandbox::{self, Enforcement},
};
use std::{fmt, path::Path};

/// The state of the engines on this machine.
#[derive(Debug)]
pub struct Report {
    /// The built-in engine's build.
    pub tracer: String,
    /// The Blender that would be used, or why there is none.
    pub blender: Result<Found, String>,
    /// What it can render with.
    pub devices: Vec<ListedDevice>,
    /// How far files and network would be out of reach of a rendering process.
    pub files: Enforcement,
}

/// Looks for Blender as [`find_blender`] does, and tries the sandbox on a thread that ends at once.
pub fn examine(blender: Option<&Path>) -> Report {
    let started = find_blender(blender).and_then(Found::with_devices);
    let (blender, devices) = match started {
        Ok((found, devices)) => (Ok(found), devices),
        Err(error) => (Err(error.to_string()), Vec::new()),
    };
    Report {
        tracer: TracerEngine::new().build(),
        blender,
        devices,
        files: sandbox::probe(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ok       {} (glTF scenes)", self.tracer)?;
        match &self.blender {
            Ok(found) => writeln!(f, "ok       {found}")?,
            Err(why) => writeln!(f, "missing  {why}")?,
        }
        for device in &self.devices {
            writeln!(f, "ok       Blender renders with {device}")?;
        }
        match self.files {
            Enforcement::Full => {
                writeln!(f, "ok       sandbox: a rendering process {}", self.files)
            }
            _ => writeln!(f, "warning  sandbox: a rendering process {}", self.files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_blender_is_one_line_with_a_hint() {
        let report = examine(Some(Path::new("/no/such/blender"))).to_string();
        assert_eq!(report.lines().count(), 3, "{report}");
        assert!(
            report.contains("missing  ") && report.contains("hint:"),
            "{report}"
        );
    }
}
