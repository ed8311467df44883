//! Animation, skins and morph targets at given frames.

use crate::builder::{Builder, UNSIGNED_BYTE, assert_close, facing, size};
use serde_json::json;

/// A triangle whose file runs at one frame a second, so that frame n is second n - 1.
fn triangle() -> Builder {
    let mut builder = Builder::triangle();
    builder.json["scenes"][0]["extras"] = json!({ "frame_rate": 1 });
    builder
}

#[test]
fn translations_follow_their_keys() {
    for (interpolation, values, at_half) in [
        ("STEP", vec![0.0, 0.0, 0.0, 8.0, 4.0, 2.0], [0.0, 0.0, 0.0]),
        (
            "LINEAR",
            vec![0.0, 0.0, 0.0, 8.0, 4.0, 2.0],
            [4.0, 2.0, 1.0],
        ),
        (
            // In-tangent, value, out-tangent of each key, two seconds apart: at the middle the value is the mean
            // plus 2 * (out-tangent - in-tangent) / 8.
            "CUBICSPLINE",
            vec![
                9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, -4.0, 0.0, 8.0, 4.0, 2.0, 9.0,
                9.0, 9.0,
            ],
            [5.0, 3.0, 1.0],
        ),
    ] {
        let mut builder = triangle();
        builder.animate(0, "translation", interpolation, &[1.0, 3.0], &values);
        let scene = builder.load().unwrap();
        assert!(scene.about().has_animation);
        assert_eq!(scene.about().frames, (1, 4));
        let at = |frame| scene.world(frame, size(8, 8)).unwrap().meshes[0].positions[0];
        assert_close(at(1), [0.0, 0.0, 0.0]);
        assert_close(at(2), [0.0, 0.0, 0.0]);
        assert_close(at(3), at_half);
        assert_close(at(4), [8.0, 4.0, 2.0]);
        assert_close(at(1_000_000), [8.0, 4.0, 2.0]);
        assert_close(at(-7), [0.0, 0.0, 0.0]);
    }
}

#[test]
fn rotations_take_the_shorter_way_at_equal_speed() {
    let half = 0.707_106_77;
    for sign in [1.0, -1.0] {
        let mut builder = triangle();
        let turned = [0.0, 0.0, half * sign, half * sign];
        let values = [[0.0, 0.0, 0.0, 1.0], turned].concat();
        builder.animate(0, "rotation", "LINEAR", &[0.0, 3.0], &values);
        let positions = &builder.world(2).meshes[0].positions;
        assert_close(positions[1], [0.866_025_4, 0.5, 0.0]);
    }
}

#[test]
fn spline_rotations_have_length_one() {
    let mut builder = triangle();
    let zero = [0.0; 4];
    let keys = [
        zero,
        [0.0, 0.0, 0.0, 1.0],
        zero,
        zero,
        [0.0, 0.0, 1.0, 0.0],
        zero,
    ];
    builder.animate(0, "rotation", "CUBICSPLINE", &[0.0, 2.0], &keys.concat());
    // Half way between no turn and a half turn, (0, 0, 1/2, 1/2), normalised: a quarter turn.
    assert_close(builder.world(2).meshes[0].positions[1], [0.0, 1.0, 0.0]);
}

#[test]
fn scales_follow_their_keys() {
    let mut builder = triangle();
    builder.animate(
        0,
        "scale",
        "LINEAR",
        &[0.0, 2.0],
        &[1.0, 1.0, 1.0, 3.0, 5.0, 1.0],
    );
    let positions = &builder.world(2).meshes[0].positions;
    assert_close(positions[1], [2.0, 0.0, 0.0]);
    assert_close(positions[2], [0.0, 3.0, 0.0]);
}

#[test]
fn animations_play_together_and_the_later_wins() {
    let mut builder = triangle();
    builder.animate(0, "scale", "STEP", &[0.0], &[2.0, 2.0, 2.0]);
    builder.animate(0, "translation", "STEP", &[0.0], &[5.0, 0.0, 0.0]);
    builder.animate(0, "translation", "STEP", &[0.0], &[7.0, 0.0, 0.0]);
    assert_close(builder.world(1).meshes[0].positions[1], [9.0, 0.0, 0.0]);
}

#[test]
fn frames_and_rates_come_from_the_file() {
    let mut builder = Builder::triangle();
    builder.animate(
        0,
        "scale",
        "LINEAR",
        &[0.0, 1.0],
        &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
    );
    let about = |builder: &Builder| {
        let scene = builder.load().unwrap();
        (scene.about().frames, scene.about().frame_rate)
    };
    assert_eq!(about(&builder), ((1, 25), 24.0));
    builder.json["asset"]["extras"] = json!({ "fps": 30 });
    assert_eq!(about(&builder), ((1, 31), 30.0));
    builder.json["scenes"][0]["extras"] = json!({ "frame_rate": 12.5 });
    assert_eq!(about(&builder), ((1, 14), 12.5));
    builder.json["scenes"][0]["extras"] = json!({ "frame_rate": -1 });
    assert_eq!(about(&builder), ((1, 25), 24.0));
    assert_eq!(builder.load().unwrap().about().warnings.len(), 1);
    assert_eq!(Builder::triangle().load().unwrap().about().frames, (1, 1));
}

/// Adds two morph targets: one lifts the second vertex by (0, 0, 1), one moves all by (10, 0, 0).
fn with_targets() -> Builder {
    let mut builder = triangle();
    let lift = builder.floats("VEC3", &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    let shift = builder.floats("VEC3", &[10.0, 0.0, 0.0].repeat(3));
    let normals = builder.floats("VEC3", &[0.0, 0.0, 1.0].repeat(3));
    let turned = builder.floats("VEC3", &[1.0, 0.0, -1.0].repeat(3));
    let primitive = &mut builder.json["meshes"][0]["primitives"][0];
    primitive["attributes"]["NORMAL"] = json!(normals);
    primitive["targets"] = json!([{ "POSITION": lift, "NORMAL": turned }, { "POSITION": shift }]);
    builder
}

#[test]
fn morph_targets_are_weighted_by_mesh_then_node_then_animation() {
    let mut builder = with_targets();
    let second = |builder: &Builder, frame| builder.world(frame).meshes[0].positions[1];
    assert_close(second(&builder, 1), [1.0, 0.0, 0.0]);
    builder.json["meshes"][0]["weights"] = json!([0.5, 0.0]);
    assert_close(second(&builder, 1), [1.0, 0.0, 0.5]);
    builder.json["nodes"][0]["weights"] = json!([1.0, 0.5]);
    assert_close(second(&builder, 1), [6.0, 0.0, 1.0]);
    assert_close(builder.world(1).meshes[0].normals[0], [1.0, 0.0, 0.0]);
    builder.animate(0, "weights", "LINEAR", &[0.0, 2.0], &[0.0, 0.0, 2.0, 0.2]);
    assert_close(second(&builder, 1), [1.0, 0.0, 0.0]);
    assert_close(second(&builder, 2), [2.0, 0.0, 1.0]);
    assert_close(second(&builder, 3), [3.0, 0.0, 2.0]);
}

/// The triangle as a skin of two joints: the first vertex follows joint 0, the second joint 1, the third both.
fn with_skin() -> Builder {
    let mut builder = triangle();
    let joints = [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0];
    let joints = builder.accessor("VEC4", UNSIGNED_BYTE, 3, &joints);
    let weights = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.0];
    let weights = builder.floats("VEC4", &weights);
    let attributes = &mut builder.json["meshes"][0]["primitives"][0]["attributes"];
    attributes["JOINTS_0"] = json!(joints);
    attributes["WEIGHTS_0"] = json!(weights);
    let still = builder.root(json!({}));
    let moved = builder.root(json!({ "translation": [0, 0, 4] }));
    // The second joint's own place at rest is (0, 0, 3).
    #[rustfmt::skip]
    let inverse_bind = [
        1.0, 0.0, 0.0, 0.0,  0.0, 1.0, 0.0, 0.0,  0.0, 0.0, 1.0, 0.0,  0.0, 0.0, 0.0, 1.0,
        1.0, 0.0, 0.0, 0.0,  0.0, 1.0, 0.0, 0.0,  0.0, 0.0, 1.0, 0.0,  0.0, 0.0, -3.0, 1.0,
    ];
    let inverse_bind = builder.floats("MAT4", &inverse_bind);
    let skin = json!({ "joints": [still, moved], "inverseBindMatrices": inverse_bind });
    builder.add("skins", skin);
    builder.json["nodes"][0]["skin"] = json!(0);
    builder
}

#[test]
fn skins_follow_their_joints_and_not_their_node() {
    let mut builder = with_skin();
    builder.json["nodes"][0]["translation"] = json!([100, 100, 100]);
    let positions = builder.world(1).meshes[0].positions.clone();
    assert_close(positions[0], [0.0, 0.0, 0.0]);
    assert_close(positions[1], [1.0, 0.0, 1.0]);
    assert_close(positions[2], [0.0, 1.0, 0.75]);
    builder.animate(
        2,
        "translation",
        "LINEAR",
        &[0.0, 1.0],
        &[0.0, 0.0, 4.0, 0.0, 0.0, 8.0],
    );
    assert_close(builder.world(2).meshes[0].positions[1], [1.0, 0.0, 5.0]);
}

#[test]
fn joints_beyond_the_first_four_count() {
    let mut builder = with_skin();
    let joints = builder.accessor("VEC4", UNSIGNED_BYTE, 3, &[1, 0, 0, 0].repeat(3));
    let weights = builder.floats("VEC4", &[1.0, 0.0, 0.0, 0.0].repeat(3));
    let attributes = &mut builder.json["meshes"][0]["primitives"][0]["attributes"];
    attributes["JOINTS_1"] = json!(joints);
    attributes["WEIGHTS_1"] = json!(weights);
    // Weights count relative to their sum of two.
    assert_close(builder.world(1).meshes[0].positions[0], [0.0, 0.0, 0.5]);
}

#[test]
fn mirrored_skeletons_flip_the_winding() {
    let mut builder = with_skin();
    assert!(facing(&builder.world(1), 0, 0).z > 0.0);
    for joint in [1, 2] {
        builder.json["nodes"][joint]["scale"] = json!([-1, 1, 1]);
    }
    assert!(facing(&builder.world(1), 0, 0).z > 0.0);
}

#[test]
fn joints_that_do_not_exist_are_refused() {
    let mut builder = with_skin();
    let joints = builder.accessor("VEC4", UNSIGNED_BYTE, 3, &[7, 0, 0, 0].repeat(3));
    builder.json["meshes"][0]["primitives"][0]["attributes"]["JOINTS_0"] = json!(joints);
    let fault = builder.fault();
    assert!(fault.contains("joint 7 of 2"), "{fault}");
}
