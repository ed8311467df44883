//! A Blender user's frames: those of `render` equal, bit for bit, those that Blender renders by itself.

use protocol::{Pass, Size};
use std::{path::Path, process::Command};
use tests::{render, scene, words};

/// Blender as its own user would run it: whole frames, written by Blender.
const REFERENCE: &str = "
import bpy, sys
blend, folder, frames = sys.argv[1], sys.argv[2], [int(f) for f in sys.argv[3].split(',')]
bpy.ops.wm.open_mainfile(filepath=blend)
scene = bpy.context.scene
r = scene.render
r.resolution_x, r.resolution_y, r.resolution_percentage = 161, 91, 100
scene.cycles.samples = 4
layer = bpy.context.view_layer
layer.use_pass_z = layer.use_pass_normal = True
layer.cycles.denoising_store_passes = True
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

fn our_frames(data: &Path, pattern: &str) {
    let blend = scene("gyroscope.blend");
    let output = data.join(pattern);
    let output = render(
        data,
        &[
            blend.to_str().unwrap(),
            "--frames",
            "3,11",
            "--size",
            "161x91",
            "--samples",
            "4",
            "--local",
            "2",
            "--tile",
            "64",
            "-o",
            output.to_str().unwrap(),
        ],
    );
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
    our_frames(dir.path(), "our####.exr");
    our_frames(dir.path(), "our####.png");
    let size = Size {
        width: 161,
        height: 91,
    };
    for frame in [3, 11] {
        let exr = |who: &str| {
            let path = dir.path().join(format!("{who}{frame:04}.exr"));
            engine::frame_file::read_exr(&path, Some("ViewLayer"), size.rect(), &Pass::ALL).unwrap()
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
