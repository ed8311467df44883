//! A real Blender, scenes made for the tests, and an engine on them.

use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, Engine, SceneDescription,
    blender::{Found, ProgramKind},
    find_blender,
};
use protocol::{Rect, RenderSettings, RenderedRect};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};
use tempfile::TempDir;

pub struct Blender {
    pub found: Found,
    pub folder: TempDir,
}

pub fn blender() -> &'static Blender {
    static BLENDER: OnceLock<Blender> = OnceLock::new();
    BLENDER.get_or_init(|| {
        let found = find_blender(None).unwrap_or_else(|e| {
            panic!("{e}\nthese tests need a Blender: .ci/run installs one; or set BLENDER_PYTHON to a Python with bpy")
        });
        let folder = tempfile::tempdir().unwrap();
        Blender { found, folder }
    })
}

impl Blender {
    /// Runs one of our scripts in a Blender of its own.
    pub fn script(&self, name: &str, args: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/blender")
            .join(name);
        let mut command = Command::new(&self.found.path);
        match self.found.kind {
            ProgramKind::Module => command.arg("-I"),
            ProgramKind::Binary => command.args([
                "--factory-startup",
                "-b",
                "--python-exit-code",
                "1",
                "--python",
            ]),
        };
        let output = command
            .arg(script)
            .arg("--")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name} {args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Makes a scene of a kind that make_scene.py knows.
    pub fn scene(&self, kind: &str) -> String {
        let name = format!("{kind}-{:?}.blend", thread::current().id());
        let path = self.folder.path().join(&name);
        self.script("make_scene.py", &[kind, path.to_str().unwrap()]);
        name
    }

    pub fn engine(&self, scene: &str) -> (BlenderEngine, SceneDescription) {
        self.engine_with(scene, false)
    }

    /// With the kernel that every processor has, or the best.
    pub fn engine_with(
        &self,
        scene: &str,
        common_kernel: bool,
    ) -> (BlenderEngine, SceneDescription) {
        let options = BlenderOptions {
            threads: 1,
            common_kernel,
            ..BlenderOptions::default()
        };
        let mut engine = BlenderEngine::new(self.found.clone(), options);
        let description = engine.prepare(self.folder.path(), scene, None).unwrap();
        (engine, description)
    }
}

/// Settings with the first so many planes of the scene's passes.
pub fn settings(description: &SceneDescription, planes: usize) -> RenderSettings {
    RenderSettings {
        size: description.size.unwrap(),
        samples: description.samples.unwrap(),
        seed: 0,
        passes: description.passes()[..planes].to_vec(),
        guard_px: description.guard_px,
        scene: None,
    }
}

pub fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

pub fn render(
    engine: &mut BlenderEngine,
    settings: &RenderSettings,
    frame: i32,
    part: Rect,
) -> RenderedRect {
    let mut rendered = engine
        .render(settings, frame, &[part], &CancelFlag::default())
        .unwrap();
    assert_eq!(rendered.len(), 1);
    rendered.remove(0)
}
