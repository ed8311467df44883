//! Pictures that Blender renders wrong and reports as rendered: refused where they are made, each in one line.

mod support;

use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, Engine, EngineError, SceneDescription,
    frame_file::write_png,
};
use protocol::{RenderSettings, Size};
use support::{blender, rect, render, settings};

/// A scene of make_broken.py in a folder of its own, so that the files beside it are its own.
fn prepared(kind: &str) -> Result<(BlenderEngine, SceneDescription), EngineError> {
    let folder = blender().folder.path().join(kind);
    std::fs::create_dir_all(&folder).unwrap();
    let scene = folder.join("scene.blend");
    blender().script("make_broken.py", &[kind, scene.to_str().unwrap()]);
    let mut engine = BlenderEngine::new(blender().found.clone(), BlenderOptions::default());
    let description = engine.prepare(&folder, "scene.blend", None)?;
    Ok((engine, description))
}

fn colour(description: &SceneDescription) -> RenderSettings {
    settings(description, 1)
}

/// Why a scene is refused, as it is opened or as it is rendered.
fn refusal(kind: &str) -> String {
    let rendered = prepared(kind).and_then(|(mut engine, description)| {
        let part = rect(0, 0, 32, 16);
        engine.render(&colour(&description), 1, &[part], &CancelFlag::default())
    });
    let Err(refused) = rendered else {
        panic!("{kind} is rendered");
    };
    let why = refused.to_string();
    assert_eq!(why.lines().count(), 1, "{why}");
    why
}

#[test]
fn a_gap_in_a_sequence_fails_its_frame_and_no_other() {
    let (mut engine, description) = prepared("sequence").unwrap();
    let part = rect(0, 0, 32, 16);
    for _ in 0..2 {
        let never = CancelFlag::default();
        let gap = engine.render(&colour(&description), 3, &[part], &never);
        let Err(EngineError::Scene(why)) = gap else {
            panic!("{gap:?}");
        };
        assert!(
            why.contains("frame 3") && why.contains("leaves003.png"),
            "{why}"
        );
    }
    let whole = render(&mut engine, &colour(&description), 4, part);
    assert_eq!(whole.rect, part);
}

#[test]
fn a_picture_that_is_none_is_named() {
    let why = refusal("garbage");
    assert!(why.contains("garbage.png"), "{why}");
    refusal("truncated");
}

#[test]
fn an_object_that_its_library_has_lost_is_named() {
    let why = refusal("linked");
    assert!(
        why.contains("Plane") && why.contains("library.blend"),
        "{why}"
    );
}

#[test]
fn a_volume_that_is_none_is_named() {
    let why = refusal("volume");
    assert!(why.contains("Cloud"), "{why}");
}

/// Half of the picture is a black world, and a fisheye's corners show nothing: both were rendered, as their alpha says.
#[test]
fn what_is_black_by_right_is_delivered() {
    for kind in ["half", "fisheye"] {
        let (mut engine, description) = prepared(kind).unwrap();
        let rendered = render(&mut engine, &colour(&description), 1, rect(0, 0, 32, 16));
        let pixels = &rendered.planes[0].1;
        assert!(pixels.contains(&[0.0, 0.0, 0.0, 1.0]), "{kind}");
        assert!(pixels.iter().any(|pixel| pixel[0] > 0.0), "{kind}");
    }
}

/// The node of this scene that has the picture is connected to nothing.
#[test]
fn a_picture_that_nothing_shows_may_vanish() {
    let textures = blender().folder.path().join("textures");
    std::fs::create_dir_all(&textures).unwrap();
    let size = Size::new(1, 1).unwrap();
    let grain = textures.join("grain.png");
    write_png(size, &[90, 60, 30, 255], &grain).unwrap();
    let (mut engine, description) = blender().engine(&blender().scene("textured"));
    std::fs::remove_file(grain).unwrap();
    let part = rect(160, 120, 8, 8);
    assert_eq!(
        render(&mut engine, &colour(&description), 2, part).rect,
        part
    );
}
