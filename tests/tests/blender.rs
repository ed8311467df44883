//! A Blender user's frames: those of `render` equal, bit for bit, those that Blender renders by itself.

use engine::frame_file::{named_planes, read_exr};
use protocol::{Pass, RenderedRect, Size};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tests::{job, render_program, scene, summary, words};

/// Blender as its own user would run it: whole frames, written by Blender. It saves the scene that it rendered first, of
/// an odd size at half scale.
const REFERENCE: &str = "
import bpy, sys
blend, folder, frames = sys.argv[1], sys.argv[2], [int(f) for f in sys.argv[3].split(',')]
bpy.ops.wm.open_mainfile(filepath=blend)
scene = bpy.context.scene
r = scene.render
r.resolution_x, r.resolution_y, r.resolution_percentage = 641, 359, 50
scene.cycles.samples = 4
layer = bpy.context.view_layer
layer.use_pass_z = layer.use_pass_normal = True
layer.cycles.denoising_store_passes = True
bpy.ops.wm.save_as_mainfile(filepath=folder + '/half.blend')
for f in frames:
    scene.frame_set(f)
    r.image_settings.media_type = 'MULTI_LAYER_IMAGE'
    r.image_settings.file_format = 'OPEN_EXR_MULTILAYER'
    r.image_settings.color_depth = '32'
    r.image_settings.exr_codec = 'ZIP'
    r.filepath = folder + '/own%04d.exr' % f
    bpy.ops.render.render(write_still=True)
    r.image_settings.media_type = 'IMAGE'
    r.image_settings.file_format = 'PNG'
    r.image_settings.color_depth = '8'
    r.image_settings.color_mode = 'RGBA'
    r.filepath = folder + '/own%04d.png' % f
    bpy.ops.render.render(write_still=True)
";

fn our_frames(data: &Path, pattern: &str, more: &str) {
    let options = format!("--frames 3,11 --local 2 --tile 64 {more}");
    let output = job(data, &data.join("half.blend"), pattern, &options);
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn frames_equal_those_of_blender_alone() {
    let python = std::env::var_os("BLENDER_PYTHON").expect("BLENDER_PYTHON is set by tests/run");
    let dir = tempfile::tempdir().unwrap();
    let own = Command::new(python)
        .args(["-c", REFERENCE])
        .arg(scene("gyroscope.blend").canonicalize().unwrap())
        .arg(dir.path())
        .arg("3,11")
        .output()
        .expect("python starts");
    assert!(own.status.success(), "{}", words(&own));
    our_frames(dir.path(), "our####.exr", "--raw");
    our_frames(dir.path(), "our####.png", "");
    let size = Size {
        width: 320,
        height: 179,
    };
    for frame in [3, 11] {
        let exr = |who: &str| {
            let path = dir.path().join(format!("{who}{frame:04}.exr"));
            let planes = named_planes(Some("ViewLayer"), &Pass::ALL);
            read_exr(&path, size.rect(), &planes).unwrap()
        };
        assert!(
            exr("own") == exr("our"),
            "the passes of frame {frame} differ"
        );
        let png = |who: &str| {
            let path = dir.path().join(format!("{who}{frame:04}.png"));
            image::open(path).unwrap().to_rgba8()
        };
        assert!(
            png("own") == png("our"),
            "the picture of frame {frame} differs"
        );
    }
}

/// A worker that renders with the kernel that every processor has, in a process of its own.
struct CommonKernel {
    process: Child,
    node: String,
    address: String,
}

impl CommonKernel {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(render_program())
            .args(["worker", "--json", "--engine", "blender", "--common-kernel"])
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"])
            .arg(folder.join("provider"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let greeting: serde_json::Value = serde_json::from_str(&line).expect(&line);
        let text = |value: &serde_json::Value| value.as_str().expect(&line).to_owned();
        Self {
            process,
            node: text(&greeting["node"]),
            address: text(&greeting["addresses"][0]),
        }
    }
}

impl Drop for CommonKernel {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gyroscope(folder: &Path, name: &str, frame: i32) -> RenderedRect {
    let size = Size::new(320, 180).unwrap();
    let path = folder.join(format!("{name}{frame:04}.exr"));
    let planes = named_planes(Some("ViewLayer"), &[Pass::Combined]);
    read_exr(&path, size.rect(), &planes).unwrap()
}

/// In how many of a thousand pixels two pictures differ at all, and by more than a hundredth.
fn differing(one: &RenderedRect, other: &RenderedRect) -> (u64, u64) {
    let pixels = |rendered: &RenderedRect| rendered.planes[0].1.clone();
    let (one, other) = (pixels(one), pixels(other));
    let apart = |(l, r): (&[f32; 4], &[f32; 4])| {
        let apart = l
            .iter()
            .zip(r)
            .map(|(l, r)| (l - r).abs() / (l.abs() + 0.01));
        apart.fold(0.0, f32::max)
    };
    let apart: Vec<f32> = one.iter().zip(&other).map(apart).collect();
    let share = |least: f32| {
        let count = apart.iter().filter(|apart| **apart > least).count() as u64;
        count * 1000 / apart.len() as u64
    };
    (share(0.0), share(0.01))
}

/// Two classes where the processor has more than the common kernel; with one they are one, and all of this holds too.
#[test]
fn a_worker_with_another_kernel_earns_where_classes_are_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene("gyroscope.blend");
    let other = CommonKernel::start(dir.path());
    let options = "--frames 1-6 --size 320x180 --samples 8 --tile 64 --raw";
    let mixed = format!(
        "{options} --local 1 --mixed-classes --peer {}",
        other.address
    );
    let output = job(dir.path(), &scene, "mixed####.exr", &mixed);
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    let rows = summary["workers"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{summary}");
    assert!(rows.iter().any(|row| row["worker"] == other.node.as_str()));
    for row in rows {
        assert_ne!(row["state"], "quarantined", "{}", words(&output));
        assert!(row["tiles"].as_u64() > Some(0), "{}", words(&output));
    }
    assert_eq!(summary["undecided"], 0, "{summary}");
    let alone = job(
        dir.path(),
        &scene,
        "alone####.exr",
        &format!("{options} --local 1"),
    );
    assert!(alone.status.success(), "{}", words(&alone));
    let frames = (1..=6).map(|frame| {
        let [mixed, alone] = ["mixed", "alone"].map(|name| gyroscope(dir.path(), name, frame));
        differing(&mixed, &alone)
    });
    let differing: Vec<(u64, u64)> = frames.collect();
    let visible = differing.iter().map(|(_, visible)| *visible).max();
    assert!(visible < Some(20), "{differing:?}");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        assert!(summary["judged"].as_u64() > Some(0), "{summary}");
        assert!(differing.iter().any(|(any, _)| *any > 0), "{differing:?}");
    }
}
