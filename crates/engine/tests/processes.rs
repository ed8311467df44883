//! Engines in other processes: the same bits as in this process, and what happens when such a process is lost.
//!
//! The tests run one after the other, because they kill whatever children this program has. This program is its own child (`--serve`), so it has a `main` of its own instead of the usual harness.

mod support;

use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, ChildEngine, ChildProgram, Engine, EngineError,
    ProcessLimits, TracerEngine, calibrate, class_fingerprint, find_blender, sandbox::Enforcement,
    serve_child,
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
                    ..BlenderOptions::default()
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
    let tests: [(&str, fn()); 8] = [
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
            "a_warm_blender_that_is_lost_costs_nothing_but_time",
            a_warm_blender_that_is_lost_costs_nothing_but_time,
        ),
        (
            "a_blender_that_stands_still_is_ended",
            a_blender_that_stands_still_is_ended,
        ),
        (
            "a_scene_that_needs_too_much_memory_is_told_so",
            a_scene_that_needs_too_much_memory_is_told_so,
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
    let settings = support::settings(&description, description.planes.len());
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

/// A render that takes minutes unless something comes between.
fn long(settings: &RenderSettings) -> RenderSettings {
    RenderSettings {
        samples: 60_000,
        ..settings.clone()
    }
}

/// Waits until the only child of this program uses a processor for a command, then sends it a signal.
fn signal_while_rendering(name: &str) -> u32 {
    let ours = children();
    assert_eq!(ours.len(), 1);
    thread::sleep(Duration::from_millis(300));
    signal(ours[0], name);
    ours[0]
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The first process had rendered nothing yet: whoever asked for it has to know.
fn a_killed_blender_is_reported_and_started_again() {
    let blender = support::blender();
    let scene = blender.scene("plain");
    // Blender's own handler of other signals waits for a thread that holds on, where it is the wrong one that gets them.
    for (name, told) in [
        ("KILL", "killed by somebody (SIGKILL)"),
        ("ILL", "crashed (SIGILL)"),
    ] {
        let (mut engine, description) = blender.engine(&scene);
        let settings = support::settings(&description, 1);
        let long = long(&settings);
        let running = thread::spawn(move || {
            let result = engine.render(&long, 3, &[long.size.rect()], &CancelFlag::default());
            (engine, result)
        });
        signal_while_rendering(name);
        let (mut engine, result) = running.join().unwrap();
        let Err(EngineError::Failed(why)) = result else {
            panic!("{name}: {result:?}");
        };
        assert!(why.contains(told) && why.lines().count() == 1, "{why}");
        assert!(!why.contains("Fra:") && !why.contains("quit"), "{why}");
        support::render(&mut engine, &settings, 3, support::rect(160, 120, 8, 8));
    }
}

/// Killed in the middle of a render after another: the render is done by a fresh process, and nobody notices.
fn a_warm_blender_that_is_lost_costs_nothing_but_time() {
    let blender = support::blender();
    let scene = blender.scene("plain");
    let (mut engine, description) = blender.engine(&scene);
    let settings = RenderSettings {
        samples: 64,
        ..support::settings(&description, 1)
    };
    let part = support::rect(64, 64, 192, 128);
    let expected = support::render(&mut engine, &settings, 3, part);
    let running = thread::spawn(move || (support::render(&mut engine, &settings, 3, part), engine));
    let lost = signal_while_rendering("KILL");
    let (rendered, mut engine) = running.join().unwrap();
    assert_eq!(rendered, expected);
    assert!(!children().contains(&lost));

    // Cancelling ends a render that would take minutes, and is not taken for a loss.
    let settings = support::settings(&description, 1);
    let cancel = CancelFlag::default();
    let later = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        later.cancel();
    });
    let long = long(&settings);
    let result = engine.render(&long, 3, &[long.size.rect()], &cancel);
    canceller.join().unwrap();
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    support::render(&mut engine, &settings, 3, support::rect(160, 120, 8, 8));
    engine.prepare(blender.folder.path(), &scene, None).unwrap();
}

fn limited(limits: ProcessLimits, folder: &Path, scene: &str) -> (BlenderEngine, RenderSettings) {
    let options = BlenderOptions {
        threads: 1,
        limits,
        ..BlenderOptions::default()
    };
    let mut engine = BlenderEngine::new(support::blender().found.clone(), options);
    let description = engine.prepare(folder, scene, None).unwrap();
    (engine, support::settings(&description, 1))
}

fn a_blender_that_stands_still_is_ended() {
    let blender = support::blender();
    let limits = ProcessLimits {
        idle_max: Duration::from_secs(1),
        ..ProcessLimits::default()
    };
    let (mut engine, settings) = limited(limits, blender.folder.path(), &blender.scene("plain"));
    let long = long(&settings);
    let running = thread::spawn(move || {
        let result = engine.render(&long, 3, &[long.size.rect()], &CancelFlag::default());
        (engine, result)
    });
    let stopped = signal_while_rendering("STOP");
    let (mut engine, result) = running.join().unwrap();
    let Err(EngineError::Failed(why)) = result else {
        panic!("{result:?}");
    };
    assert!(why.starts_with("Blender hangs"), "{why}");
    assert!(!children().contains(&stopped));
    support::render(&mut engine, &settings, 3, support::rect(160, 120, 8, 8));
}

fn a_scene_that_needs_too_much_memory_is_told_so() {
    let blender = support::blender();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.blend");
    blender.script("make_broken.py", &["heavy", path.to_str().unwrap()]);
    let limits = ProcessLimits {
        memory_bytes_max: 700 << 20,
        ..ProcessLimits::default()
    };
    let (mut engine, settings) = limited(limits, folder.path(), "scene.blend");
    let result = engine.render(
        &settings,
        1,
        &[support::rect(0, 0, 16, 16)],
        &CancelFlag::default(),
    );
    let Err(EngineError::Failed(why)) = result else {
        panic!("it did not need much memory");
    };
    assert!(
        why.starts_with("out of memory: Blender holds") && why.contains("0.68 GiB"),
        "{why}"
    );
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
