//! Cheats that render with Blender.

use crate::{Company, MakeEngine, Task, assert_anybody_finds_them_wrong, conduct::Conduct};
use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, Engine, EngineError, SceneDescription, find_blender,
};
use protocol::{EngineKind, Rect, RenderSettings, RenderedRect, Size};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};
use tests::{scene, words};

/// Saves the scene seen from closer, so that nothing is in sight that cheats would get right; and as some of them have it:
/// with another seed, and with direct light alone.
const VARIANTS: &str = "
import bpy, sys
blend, folder = sys.argv[1:3]
bpy.ops.wm.open_mainfile(filepath=blend)
camera = bpy.context.scene.camera.data
camera.lens *= 2.2
camera.shift_y = -0.4
layer = bpy.context.view_layer
layer.use_pass_normal = layer.use_pass_z = True
bpy.ops.wm.save_as_mainfile(filepath=folder + '/closer.blend')
cycles = bpy.context.scene.cycles
cycles.seed += 1
bpy.ops.wm.save_as_mainfile(filepath=folder + '/other_seed.blend')
cycles.seed -= 1
cycles.max_bounces = 0
bpy.ops.wm.save_as_mainfile(filepath=folder + '/no_bounces.blend')
";

/// All that a worker can do wrong to whole tiles with this engine, each so that a few squares of a tile surely show it.
const CONDUCTS: [Conduct; 14] = [
    Conduct::Black,
    Conduct::PreviousFrame,
    Conduct::Shifted,
    Conduct::RimOnly,
    Conduct::Band(50),
    Conduct::SparseCells(50),
    Conduct::FewerSamples,
    Conduct::FewerSamplesDenoised,
    Conduct::OtherScene("other_seed.blend"),
    Conduct::OtherScene("no_bounces.blend"),
    Conduct::HalfResolution,
    Conduct::AlphaOnly,
    Conduct::NormalsOnly,
    Conduct::Denormals,
];

/// One Blender for many workers: it gives the same bits to all of them.
#[derive(Clone)]
struct SharedEngine(Arc<Mutex<(BlenderEngine, SceneDescription)>>);

impl SharedEngine {
    fn open(scene: &Path) -> Self {
        let found = find_blender(None).unwrap();
        let mut blender = BlenderEngine::new(found, BlenderOptions::default());
        let name = scene.file_name().unwrap().to_str().unwrap();
        let about = blender
            .prepare(scene.parent().unwrap(), name, None)
            .unwrap();
        Self(Arc::new(Mutex::new((blender, about))))
    }
}

impl Engine for SharedEngine {
    /// The scene is open already.
    fn prepare(
        &mut self,
        _: &Path,
        _: &str,
        _: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        Ok(self.0.lock().unwrap().1.clone())
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        self.0
            .lock()
            .unwrap()
            .0
            .render(settings, frame, rects, cancel)
    }

    fn build(&self) -> String {
        self.0.lock().unwrap().0.build()
    }
}

#[test]
fn cheats_with_blender_are_caught_and_the_frames_are_right() {
    let python = std::env::var_os("BLENDER_PYTHON").expect("BLENDER_PYTHON is set by tests/run");
    let dir = tempfile::tempdir().unwrap();
    let saved = Command::new(python)
        .args(["-c", VARIANTS])
        .arg(scene("gyroscope.blend"))
        .arg(dir.path())
        .output()
        .expect("python starts");
    assert!(saved.status.success(), "{}", words(&saved));
    let scene_file = dir.path().join("closer.blend");
    let mut blender = SharedEngine::open(&scene_file);
    let task = Task {
        kind: EngineKind::Blender,
        scene: scene_file,
        frames: 3..=7,
        size: Size {
            width: 256,
            height: 256,
        },
        samples: 4,
        tile_px: 128,
        planes: blender.0.lock().unwrap().1.planes.clone(),
    };
    let variants: BTreeMap<&str, SharedEngine> = ["other_seed.blend", "no_bounces.blend"]
        .map(|name| (name, SharedEngine::open(&dir.path().join(name))))
        .into();
    let truth = task.truth(&mut blender);
    let make_engine: Arc<MakeEngine> = Arc::new(move |name: Option<&'static str>| {
        Box::new(name.map_or(&blender, |name| &variants[name]).clone())
    });
    let company = Company::start(task.kind, dir.path(), (&CONDUCTS, 1), 3, &make_engine);
    let ran = task.run(dir.path(), "cheated", &company.peers());
    company.assert_caught(dir.path(), &ran);
    company.assert_nobody_honest_blamed(dir.path(), &ran);
    task.assert_right(dir.path(), "cheated", &truth);
    assert_anybody_finds_them_wrong(dir.path(), &task.scene);
}
