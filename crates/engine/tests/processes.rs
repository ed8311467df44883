//! Engines in other processes: the same bits as in this process, and what happens when such a process is lost.
//!
//! The tests run one after the other, because they kill whatever children this program has. This program is its own child (`--serve`), so it has a `main` of its own instead of the usual harness.

mod support;

use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, ChildEngine, ChildProgram, Engine, EngineError,
    TracerEngine, calibrate, class_fingerprint, find_blender, sandbox::Enforcement, serve_child,
};
use protocol::{Pass, Rect, RenderSettings, Size};
use std::{env, fs, io, path::Path, process::Command, thread, time::Duration};

/// A red triangle without a camera or a light.
const TRIANGLE: &str = r#"{
  "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
  "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
  "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0.1, 0.1, 1]}}],
  "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}],
  "bufferViews": [{"buffer": 0, "byteLength": 36}],
  "buffers": [{"byteLength": 36, "uri": "data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"}]
}"#;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve", "tracer"] => {
            serve_child(Box::new(TracerEngine::new()), io::stdin(), io::stdout())
        }
        ["--serve", "blender", path] => {
            let found = find_blender(Some(Path::new(path))).map_err(io::Error::other)?;
            let engine = BlenderEngine::new(
                found,
                BlenderOptions {
                    threads: 1,
                    common_kernel: false,
                },
            );
            serve_child(Box::new(engine), io::stdin(), io::stdout())
        }
        _ => {
            let filter = args.iter().find(|arg| !arg.starts_with('-'));
            run_tests(filter.map(String::as_str).unwrap_or_default());
            Ok(())
        }
    }
}

fn run_tests(filter: &str) {
    let tests: [(&str, fn()); 5] = [
        ("a_child_gives_the_same_bits", a_child_gives_the_same_bits),
        (
            "a_lost_child_is_reported_and_replaced",
            a_lost_child_is_reported_and_replaced,
        ),
        ("a_cancelled_child_renders_on", a_cancelled_child_renders_on),
        (
            "a_killed_blender_is_reported_and_started_again",
            a_killed_blender_is_reported_and_started_again,
        ),
        (
            "a_confined_blender_is_of_the_same_class",
            a_confined_blender_is_of_the_same_class,
        ),
    ];
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(filter)) {
        test();
        println!("test {name} ... ok");
    }
}

fn settings() -> RenderSettings {
    let size = Size {
        width: 75,
        height: 50,
    };
    RenderSettings {
        size,
        samples: 4,
        seed: 7,
        passes: Pass::ALL.to_vec(),
        guard_px: 0,
        scene: None,
    }
}

fn rects() -> [Rect; 2] {
    [support::rect(16, 8, 40, 32), support::rect(64, 40, 11, 10)]
}

fn tracer_child(bundle: &Path) -> ChildEngine {
    fs::write(bundle.join("triangle.gltf"), TRIANGLE).unwrap();
    let program = ChildProgram::new(&env::current_exe().unwrap(), ["--serve", "tracer"]);
    let mut child = ChildEngine::spawn(program).unwrap();
    child.prepare(bundle, "triangle.gltf", None).unwrap();
    child
}

fn a_child_gives_the_same_bits() {
    let bundle = tempfile::tempdir().unwrap();
    let mut child = tracer_child(bundle.path());
    let mut direct = TracerEngine::new();
    assert_eq!(
        child.prepare(bundle.path(), "triangle.gltf", None).unwrap(),
        direct
            .prepare(bundle.path(), "triangle.gltf", None)
            .unwrap()
    );
    assert_eq!(child.build(), direct.build());
    let never = CancelFlag::default();
    let expected = direct.render(&settings(), 1, &rects(), &never).unwrap();
    assert!(
        expected[0].planes[0]
            .1
            .iter()
            .any(|pixel| *pixel != expected[0].planes[0].1[0])
    );
    assert_eq!(
        child.render(&settings(), 1, &rects(), &never).unwrap(),
        expected
    );
    // Single pixels, more than go into one message: the frame's, again and again.
    let frame = settings().size.rect();
    let pixel = |at: u32| Rect {
        x: at % frame.width,
        y: at / frame.width % frame.height,
        width: 1,
        height: 1,
    };
    let pixels: Vec<Rect> = (0..20_000).map(pixel).collect();
    let few = RenderSettings {
        samples: 1,
        passes: vec![Pass::Combined],
        ..settings()
    };
    let whole = direct.render(&few, 1, &[frame], &never).unwrap();
    let whole = &whole[0].planes[0].1;
    for rendered in child.render(&few, 1, &pixels, &never).unwrap() {
        let at = rendered.rect.y * frame.width + rendered.rect.x;
        assert_eq!(rendered.planes[0].1, [whole[at as usize]]);
    }
    let error = child
        .prepare(bundle.path(), "nothing.gltf", None)
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::Scene(why) if why.contains("nothing.gltf")),
        "{error}"
    );
    if cfg!(target_os = "linux") {
        assert!(child.confinement().unwrap().memory);
    }
}

fn a_lost_child_is_reported_and_replaced() {
    let bundle = tempfile::tempdir().unwrap();
    let mut child = tracer_child(bundle.path());
    let never = CancelFlag::default();
    let expected = child.render(&settings(), 1, &rects(), &never).unwrap();
    let running = children();
    assert_eq!(running.len(), 1);
    Command::new("kill")
        .args(["-9", &running[0].to_string()])
        .status()
        .unwrap();
    let error = child.render(&settings(), 1, &rects(), &never).unwrap_err();
    assert!(matches!(error, EngineError::Failed(_)), "{error}");
    assert_eq!(
        child.render(&settings(), 1, &rects(), &never).unwrap(),
        expected
    );
    drop(child);
    assert_eq!(children(), [0; 0]);
}

fn a_cancelled_child_renders_on() {
    let bundle = tempfile::tempdir().unwrap();
    let mut child = tracer_child(bundle.path());
    let cancel = CancelFlag::default();
    let later = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        later.cancel();
    });
    let endless = RenderSettings {
        samples: 60_000,
        size: Size {
            width: 2_000,
            height: 2_000,
        },
        ..settings()
    };
    let error = child
        .render(&endless, 1, &[endless.size.rect()], &cancel)
        .unwrap_err();
    canceller.join().unwrap();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    child
        .render(&settings(), 1, &rects(), &CancelFlag::default())
        .unwrap();
}

fn a_confined_blender_is_of_the_same_class() {
    let blender = support::blender();
    let scene = blender.scene("plain");
    let (mut direct, description) = blender.engine(&scene);
    let settings = support::settings(&description, &Pass::ALL);
    let path = blender.found.path.to_str().unwrap();
    let program = ChildProgram::new(&env::current_exe().unwrap(), ["--serve", "blender", path]);
    let mut child = ChildEngine::spawn(program).unwrap();
    assert_eq!(
        child.prepare(blender.folder.path(), &scene, None).unwrap(),
        description
    );
    let never = CancelFlag::default();
    let class = |engine: &mut dyn Engine| {
        let calibration = calibrate(engine, &settings, 3, &never).unwrap();
        class_fingerprint(&engine.build(), calibration.root)
    };
    assert_eq!(class(&mut child), class(&mut direct));
    println!("confinement: {}", child.confinement().unwrap());
    assert!(child.confinement().unwrap().files != Enforcement::None || !cfg!(target_os = "linux"));
}

fn a_killed_blender_is_reported_and_started_again() {
    let blender = support::blender();
    let scene = blender.scene("plain");
    let (mut engine, description) = blender.engine(&scene);
    let settings = support::settings(&description, &[Pass::Combined]);
    let expected = support::render(&mut engine, &settings, 3, support::rect(320, 160, 64, 64));
    let long = RenderSettings {
        samples: 60_000,
        ..settings.clone()
    };
    let ours = children();
    assert_eq!(ours.len(), 1);
    let running = thread::spawn(move || {
        let result = engine.render(&long, 3, &[long.size.rect()], &CancelFlag::default());
        (engine, result)
    });
    thread::sleep(Duration::from_millis(200));
    for id in ours {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
    }
    let (mut engine, result) = running.join().unwrap();
    assert!(matches!(result, Err(EngineError::Failed(_))), "{result:?}");
    assert_eq!(
        support::render(&mut engine, &settings, 3, support::rect(320, 160, 64, 64)),
        expected
    );

    // Cancelling ends a render that would take minutes.
    let cancel = CancelFlag::default();
    let later = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        later.cancel();
    });
    let long = RenderSettings {
        samples: 60_000,
        ..settings.clone()
    };
    let result = engine.render(&long, 3, &[long.size.rect()], &cancel);
    canceller.join().unwrap();
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    assert_eq!(
        support::render(&mut engine, &settings, 3, support::rect(320, 160, 64, 64)),
        expected
    );
    engine.prepare(blender.folder.path(), &scene, None).unwrap();
}

/// The processes that this test program started from a thread and that still run.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}
