//! The built-in tracer against Cycles: the same glTF files, and pictures that differ by no more than their noise.
//!
//! Both engines render each scene with several seeds, so that the noise of every block of pixels is known; see
//! [`statistics`]. Each comparison is made once more with a scene whose light or roughness was changed a little for
//! the tracer alone, and must then fail.
//!
//! What differs on purpose, and how the scenes and `render.py` deal with it:
//! - Fresnel: Cycles takes the exact factor of a dielectric, the tracer Schlick's approximation, as glTF's appendix B
//!   does. A smooth surface under light from everywhere reflects 0.092 of it by the one, 0.086 by the other.
//! - Cycles takes what a dielectric's coat reflects from its diffuse layer on the way out alone, the tracer also on
//!   the way in: up to 1.5 % for one direction of light, nothing for light from everywhere.
//! - What microfacets lose to multiple scattering, Cycles adds to the specular lobe, the tracer sends in all
//!   directions. The energy is the same, hence all roughnesses under a uniform sky; elsewhere metals are smooth
//!   enough to lose next to nothing. (With single scattering alone in both, metals of roughness 0.3 agree, too.)
//! - Soft edges of spot lights follow other curves: ours is sharp. `range` of a light is not imported.
//! - Cycles interpolates sRGB images before they are linear, glTF the other way round: ours are not interpolated.
//! - Blender knows no culling: all materials are double-sided.

mod gltf;
mod scenes;
mod statistics;

use engine::{
    CancelFlag, Engine, TracerEngine,
    frame_file::{named_planes, read_exr},
};
use gltf::Gltf;
use protocol::{Pass, RenderSettings, RenderedRect, Size};
use statistics::{Agreement, Blocks, Tolerance, blocks, compare};
use std::{path::Path, process::Command, sync::LazyLock};
use tests::words;

const SIZE: Size = Size {
    width: 96,
    height: 64,
};
/// Pictures of each scene and engine.
const SEEDS: u32 = 8;
/// Samples a pixel. Cycles puts the first in the pixel's centre whatever the filter, so these are not few.
const SAMPLES: u32 = 32;
/// What is left of the differences named above in scenes chosen to have little of them.
const MODEL: Tolerance = Tolerance::share(0.003);

/// One frame a seed.
type Frames = Vec<RenderedRect>;

fn traced(gltf: &Gltf, samples: u32) -> Frames {
    let dir = tempfile::tempdir().unwrap();
    gltf.write(dir.path());
    let mut engine = TracerEngine::new();
    let about = engine.prepare(dir.path(), "scene.gltf", None).unwrap();
    assert_eq!(about.warnings, [""; 0]);
    let render = |seed| {
        let settings = RenderSettings {
            size: SIZE,
            samples,
            seed,
            passes: Pass::ALL.to_vec(),
            guard_px: 0,
            scene: None,
        };
        let rects = [SIZE.rect()];
        let frames = engine.render(&settings, 1, &rects, &CancelFlag::default());
        frames.unwrap().remove(0)
    };
    (0..SEEDS).map(render).collect()
}

fn by_cycles(gltf: &Gltf, samples: u32) -> Frames {
    let python = std::env::var_os("BLENDER_PYTHON").expect("BLENDER_PYTHON is set by tests/run");
    let dir = tempfile::tempdir().unwrap();
    gltf.write(dir.path());
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cycles/render.py"))
        .arg(dir.path().join("scene.gltf"))
        .arg(dir.path())
        .args([SIZE.width, SIZE.height, samples, SEEDS].map(|number| number.to_string()))
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", words(&output));
    let read = |seed| {
        let path = dir.path().join(format!("{seed:04}.exr"));
        read_exr(
            &path,
            SIZE.rect(),
            &named_planes(Some("ViewLayer"), &Pass::ALL),
        )
    };
    let frames: Result<Frames, _> = (0..SEEDS).map(read).collect();
    frames.unwrap_or_else(|error| panic!("{error}\n{}", words(&output)))
}

fn plane(frame: &RenderedRect, pass: Pass) -> &[[f32; 4]] {
    let found = frame.planes.iter().find(|(found, _)| *found == pass);
    &found.expect("all passes are rendered").1
}

fn blocks_of(frames: &Frames, pass: Pass) -> Vec<Blocks> {
    let of_frame = |frame| blocks(plane(frame, pass), SIZE, 3);
    frames.iter().map(of_frame).collect()
}

fn compare_light(ours: &Frames, cycles: &Frames) -> Agreement {
    let [ours, cycles] = [ours, cycles].map(|frames| blocks_of(frames, Pass::Combined));
    compare(&ours, &cycles, MODEL)
}

fn assert_agrees(ours: &Frames, cycles: &Frames) {
    let agreement = compare_light(ours, cycles);
    // Told with --nocapture, to see how near it is to failing.
    println!("{agreement:?}");
    assert!(agreement.holds(), "{agreement:?}");
    assert!(agreement.noise_is_real(), "{agreement:?}");
}

/// What the tracer makes of a changed scene does not agree with what Cycles makes of the scene itself.
fn assert_change_is_seen(changed: &Frames, cycles: &Frames) {
    let agreement = compare_light(changed, cycles);
    println!("changed: {agreement:?}");
    assert!(!agreement.holds(), "{agreement:?}");
}

fn brighter(strength: f64) -> f64 {
    strength * 1.03
}

fn rougher(roughness: f64) -> f64 {
    roughness + 0.05
}

/// The interior as the tracer and Cycles render it, for the tests that look at it.
static INTERIOR: LazyLock<[Frames; 2]> = LazyLock::new(|| {
    let scene = scenes::interior();
    [traced(&scene, SAMPLES), by_cycles(&scene, SAMPLES)]
});

#[test]
fn light_in_a_closed_room_agrees() {
    let [ours, cycles] = &*INTERIOR;
    assert_agrees(ours, cycles);
    let changed = scenes::interior().with(scenes::LAMP_STRENGTH, brighter);
    assert_change_is_seen(&traced(&changed, SAMPLES), cycles);
}

#[test]
fn metals_under_a_sky_agree() {
    let scene = scenes::sky();
    let cycles = by_cycles(&scene, SAMPLES);
    assert_agrees(&traced(&scene, SAMPLES), &cycles);
    let changed = scene.with(scenes::SPHERE_ROUGHNESS, rougher);
    assert_change_is_seen(&traced(&changed, SAMPLES), &cycles);
}

#[test]
fn energy_agrees_at_every_roughness() {
    let scene = scenes::furnace();
    let cycles = by_cycles(&scene, SAMPLES);
    assert_agrees(&traced(&scene, SAMPLES), &cycles);
    let changed = scene.with(scenes::GOLD_RED, |red| red * 0.97);
    assert_change_is_seen(&traced(&changed, SAMPLES), &cycles);
}

#[test]
fn punctual_lights_agree() {
    const SAMPLES: u32 = 64;
    let scene = scenes::punctual();
    let cycles = by_cycles(&scene, SAMPLES);
    assert_agrees(&traced(&scene, SAMPLES), &cycles);
    for light in scenes::PUNCTUAL_LIGHTS {
        // Each gives only a part of the light.
        let changed = scene
            .clone()
            .with(&scenes::light_intensity(light), |intensity| {
                intensity * 1.05
            });
        assert_change_is_seen(&traced(&changed, SAMPLES), &cycles);
    }
}

/// Values of one pass at one pixel, a seed each.
fn values_at(frames: &Frames, pass: Pass, pixel: usize) -> impl Iterator<Item = [f32; 4]> {
    frames.iter().map(move |frame| plane(frame, pass)[pixel])
}

/// Share of the pixels whose depth, `scale` times Cycles', is one that the tracer finds there or nearly so.
fn depths_in_range(ours: &Frames, cycles: &Frames, scale: f32) -> f64 {
    let is_in_range = |&pixel: &usize| {
        let depths = |frames| values_at(frames, Pass::Depth, pixel).map(|value| value[0]);
        let low = depths(ours).fold(f32::MAX, f32::min);
        let high = depths(ours).fold(f32::MIN, f32::max);
        let margin = (high - low) + 1e-4 * high;
        depths(cycles).all(|depth| (low - margin..=high + margin).contains(&(depth * scale)))
    };
    let pixels = SIZE.area() as usize;
    (0..pixels).filter(is_in_range).count() as f64 / pixels as f64
}

/// Both mean the distance along the camera's axis. The tracer's is that of the first sample, whose place in the
/// pixel depends on the seed, and Cycles' that of the pixel's centre.
#[test]
fn depths_agree() {
    let [ours, cycles] = &*INTERIOR;
    let share = depths_in_range(ours, cycles, 1.0);
    assert!(share > 0.99, "{share}");
    let share = depths_in_range(ours, cycles, 1.01);
    assert!(share < 0.9, "a wrong scale is not seen: {share}");
}

/// From Blender's axes, where z is up, to glTF's.
fn from_blender(mut frame: RenderedRect) -> RenderedRect {
    for (_, plane) in frame.planes.iter_mut().filter(|(p, _)| *p == Pass::Normal) {
        for [_, y, z, _] in plane {
            (*y, *z) = (*z, -*y);
        }
    }
    frame
}

/// Both are means over the samples, in the world and towards the viewer, but each in its own axes.
#[test]
fn normals_agree() {
    let [ours, cycles] = &*INTERIOR;
    let compare_normals = |cycles: &Frames| {
        let [ours, cycles] = [ours, cycles].map(|frames| blocks_of(frames, Pass::Normal));
        let tolerance = Tolerance {
            relative: 0.0,
            absolute: 0.002,
        };
        compare(&ours, &cycles, tolerance)
    };
    let turned: Frames = cycles.iter().cloned().map(from_blender).collect();
    let agreement = compare_normals(&turned);
    assert!(agreement.holds(), "{agreement:?}");
    assert!(!compare_normals(cycles).holds());
}

/// Share of the pixels below the lamp where a coat that reflects at most a tenth explains the difference between
/// Cycles' albedo and `scale` times the tracer's.
fn albedos_explained(ours: &Frames, cycles: &Frames, scale: f32) -> f64 {
    let mean = |frames, pixel, channel: usize| {
        let values = values_at(frames, Pass::Albedo, pixel);
        values.map(|value| value[channel]).sum::<f32>() / SEEDS as f32
    };
    let is_explained = |&pixel: &usize| {
        (0..3).all(|channel| {
            let base = scale * mean(ours, pixel, channel);
            let coat = (mean(cycles, pixel, channel) - base) / (1.0 - base);
            (0.0..0.1).contains(&coat)
        })
    };
    let below_lamp = (SIZE.width * scenes::LAMP_ROWS_PX) as usize..SIZE.area() as usize;
    let explained = below_lamp.clone().filter(is_explained).count();
    explained as f64 / below_lamp.len() as f64
}

/// The tracer's albedo is the base colour. Cycles' is what the surface reflects, its coat included; where a lamp is
/// seen, Cycles adds its light. The sample in the middle of the pixel moves some pixels at edges.
#[test]
fn albedos_differ_by_the_coat() {
    let [ours, cycles] = &*INTERIOR;
    let share = albedos_explained(ours, cycles, 1.0);
    assert!(share > 0.97, "{share}");
    let share = albedos_explained(ours, cycles, 1.03);
    assert!(share < 0.9, "a wrong scale is not seen: {share}");
}
