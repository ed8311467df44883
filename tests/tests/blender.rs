//! A Blender user's frames: those of `render` equal, bit for bit, those that Blender renders by itself.

use protocol::{Pass, Size};
use std::{path::Path, process::Command};
use tests::{job, scene, words};

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
bpy.ops.wm.save_as_mainfile(filepath=folder + '/half.blend')
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
    let options = "--frames 3,11 --local 2 --tile 64";
    let output = job(data, &data.join("half.blend"), pattern, options);
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
        width: 320,
        height: 179,
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
