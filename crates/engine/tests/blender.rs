//! The Blender engine against a real Blender: rectangles, passes and finished pictures compared bit for bit
//! with what Blender makes alone, in a process of its own.

mod support;

use engine::{
    BlenderEngine, BlenderOptions, CancelFlag, Engine, EngineError, SceneDescription,
    blender::Finished, frame_file,
};
use protocol::{Pass, Rect, RenderSettings, RenderedRect, SampleRange, Size};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use support::{blender, rect, render, settings};

/// A whole frame rendered by Blender alone.
fn alone(scene: &str, frame: i32, format: &str) -> PathBuf {
    let output = blender()
        .folder
        .path()
        .join(format!("{scene}-{frame}.{format}"));
    let scene = blender().folder.path().join(scene);
    blender().script(
        "whole_frame.py",
        &[
            scene.to_str().unwrap(),
            &frame.to_string(),
            format,
            output.to_str().unwrap(),
        ],
    );
    output
}

fn prepare_error(scene: &str) -> String {
    let mut engine = BlenderEngine::new(blender().found.clone(), BlenderOptions::default());
    match engine.prepare(blender().folder.path(), scene, None) {
        Err(EngineError::Scene(why)) => why,
        other => panic!("{scene}: {other:?}"),
    }
}
/// Every pixel of a rectangle has the bits that it has in the whole frame.
fn assert_equal_in(whole: &RenderedRect, part: &RenderedRect, what: &str) {
    assert_eq!(whole.planes.len(), part.planes.len());
    for ((pass, all), (_, some)) in whole.planes.iter().zip(&part.planes) {
        assert_eq!(some.len() as u64, part.rect.area());
        let different = (0..some.len())
            .filter(|&i| {
                let (x, y) = (
                    part.rect.x + i as u32 % part.rect.width,
                    part.rect.y + i as u32 / part.rect.width,
                );
                let pixel = all[(y * whole.rect.width + x) as usize];
                pixel.map(f32::to_bits) != some[i].map(f32::to_bits)
            })
            .count();
        assert_eq!(
            different, 0,
            "{what}: {different} pixels of {} in pass {pass}",
            part.rect
        );
    }
}

/// A picture that shows something: a test on empty pixels would prove nothing.
fn assert_varied(frame: &RenderedRect) {
    for (pass, plane) in &frame.planes {
        assert!(
            plane.iter().any(|pixel| *pixel != plane[0]),
            "pass {pass} is constant"
        );
    }
}

#[test]
fn rectangles_equal_whole_frames_in_every_pass() {
    let blender = blender();
    let scene = blender.scene("plain");
    let (mut engine, description) = blender.engine(&scene);
    assert_eq!(
        description.size,
        Some(Size {
            width: 320,
            height: 288
        })
    );
    assert_eq!(
        (
            description.frames,
            description.samples,
            description.guard_px
        ),
        ((1, 10), Some(4), 0)
    );
    assert!(
        description
            .planes
            .iter()
            .any(|plane| plane.channels.contains(&"Second.Diffuse Color.R".into()))
    );
    assert_eq!(description.warnings, [""; 0]);
    let settings = settings(&description, description.planes.len());
    let whole = |frame| {
        let path = alone(&scene, frame, "exr");
        frame_file::read_exr(&path, settings.size.rect(), &description.planes).unwrap()
    };
    let frames = [whole(3), whole(5)];
    frames.iter().for_each(assert_varied);
    assert_ne!(frames[0], frames[1]);
    let parts = [
        (3, rect(160, 120, 8, 8)),
        (5, rect(128, 96, 64, 64)),
        (3, rect(312, 280, 8, 8)),
        (5, rect(0, 0, 8, 8)),
        (3, rect(64, 0, 256, 288)),
        (3, rect(0, 224, 64, 64)),
        (5, settings.size.rect()),
    ];
    for (frame, part) in parts {
        let rendered = render(&mut engine, &settings, frame, part);
        assert_equal_in(
            &frames[usize::from(frame == 5)],
            &rendered,
            &format!("frame {frame}"),
        );
    }
    // Fewer passes give the same bits.
    let few = RenderSettings {
        passes: vec![Pass::Combined],
        ..settings.clone()
    };
    let colour = render(&mut engine, &few, 3, rect(128, 96, 64, 64));
    let only = RenderedRect {
        planes: frames[0].planes[..1].to_vec(),
        ..frames[0].clone()
    };
    assert_equal_in(&only, &colour, "colour alone");
    // Other samples than the scene's are other bits, and the way back is exact.
    let more = RenderSettings {
        samples: 8,
        ..few.clone()
    };
    assert_ne!(render(&mut engine, &more, 3, rect(128, 96, 64, 64)), colour);
    assert_eq!(render(&mut engine, &few, 3, rect(128, 96, 64, 64)), colour);
    let whole = render(&mut engine, &settings, 5, rect(128, 96, 64, 64));
    assert_ranges_make(&whole, &mut engine, &description, &settings);
    // None is left of the ranges.
    assert_eq!(
        render(&mut engine, &settings, 5, rect(128, 96, 64, 64)),
        whole
    );
}

/// The merged ranges of a part of frame 5.
fn merged(
    part: Rect,
    engine: &mut BlenderEngine,
    description: &SceneDescription,
    settings: &RenderSettings,
) -> RenderedRect {
    let cancel = CancelFlag::default();
    let mut ranges = SampleRange::strata(settings.samples, 2).map(|range| {
        let rendered = engine.render_range(settings, (5, Some(range)), &[part], &cancel);
        (rendered.unwrap().remove(0), range.count)
    });
    let (first, samples) = ranges.next().unwrap();
    let mut merger = description.merging.begin(&first, samples);
    ranges.for_each(|(next, samples)| merger.add(&next, samples).unwrap());
    merger.finish()
}

/// Ranges of samples are what the whole is of: what the first sample met bit for bit, means within rounding.
fn assert_ranges_make(
    whole: &RenderedRect,
    engine: &mut BlenderEngine,
    description: &SceneDescription,
    settings: &RenderSettings,
) {
    const ROUNDING: f32 = 1e-5;
    assert_eq!(description.indivisible, None);
    let merged = merged(whole.rect, engine, description, settings);
    assert_eq!(merged.planes.len(), whole.planes.len());
    for ((pass, expected), (_, found)) in whole.planes.iter().zip(&merged.planes) {
        let mut named = description.planes.iter();
        let plane = named.find(|plane| plane.pass == *pass).unwrap();
        for (channel, name) in plane.channels.iter().enumerate() {
            let mut pairs = expected.iter().zip(found);
            let apart = |(a, b): (&[f32; 4], &[f32; 4])| (a[channel] - b[channel]).abs();
            match name {
                // Blender leaves some lists unsorted.
                name if name.contains("Crypto") => {}
                name if name.contains(".Depth.") => {
                    assert!(pairs.all(|pair| apart(pair) == 0.0), "{name}");
                }
                name => assert!(
                    pairs.all(|pair| apart(pair) <= ROUNDING * pair.0[channel].abs().max(1.0)),
                    "{name}"
                ),
            }
        }
    }
    let beyond = SampleRange {
        first: settings.samples,
        count: 1,
    };
    let never = CancelFlag::default();
    let refused = engine.render_range(settings, (5, Some(beyond)), &[whole.rect], &never);
    assert!(matches!(refused, Err(EngineError::Failed(why)) if why.contains("not some of")));
}

#[test]
fn the_guard_makes_adaptive_sampling_exact() {
    let blender = blender();
    let scene = blender.scene("adaptive");
    let (mut engine, description) = blender.engine(&scene);
    assert_eq!(description.guard_px, 32 / 16 + 2);
    let settings = settings(&description, 1);
    let path = alone(&scene, 5, "exr");
    let whole =
        frame_file::read_exr(&path, settings.size.rect(), &description.planes[..1]).unwrap();
    for part in [
        rect(128, 96, 64, 64),
        rect(160, 200, 8, 8),
        rect(256, 224, 64, 64),
    ] {
        assert_equal_in(&whole, &render(&mut engine, &settings, 5, part), "adaptive");
    }
    // Ranges say how many samples they took, for this alone.
    let colour: BTreeSet<Pass> = settings.passes.iter().copied().collect();
    let counted = RenderSettings {
        passes: description.merging.with_weights(colour),
        ..settings.clone()
    };
    let [Pass::Combined, counts] = counted.passes[..] else {
        panic!("{:?}", counted.passes);
    };
    assert!(description.merging.only_weighs(counts) && !description.passes().contains(&counts));
    let part = rect(128, 96, 64, 64);
    let (range, never) = (
        SampleRange {
            first: 8,
            count: 24,
        },
        CancelFlag::default(),
    );
    let rendered = engine.render_range(&counted, (5, Some(range)), &[part], &never);
    let shares = &rendered.unwrap().remove(0).planes[1].1;
    assert!(shares.iter().all(|share| share[0] > 0.0 && share[0] <= 1.0));
    let merged = merged(part, &mut engine, &description, &counted);
    assert_eq!(merged.planes.len(), 1);
    assert_varied(&merged);
    assert_equal_in(&whole, &render(&mut engine, &settings, 5, part), "adaptive");
}

/// Makes the scene that we show by its own script.
fn make_gyroscope(name: &str) {
    let path = blender().folder.path().join(name);
    let path = path.to_str().unwrap();
    blender().script("../../../../scenes/make_gyroscope.py", &[path]);
}

/// Glass, metals, motion blur and a camera that moves.
#[test]
fn rectangles_of_our_own_scene_equal_its_frame() {
    let blender = blender();
    let scene = "gyroscope.blend";
    make_gyroscope(scene);
    let (mut engine, description) = blender.engine(scene);
    assert_eq!(description.warnings, [""; 0]);
    assert_eq!(description.frames, (1, 48));
    let settings = settings(&description, description.planes.len());
    let whole = frame_file::read_exr(
        &alone(scene, 20, "exr"),
        settings.size.rect(),
        &description.planes,
    )
    .unwrap();
    assert_varied(&whole);
    render(&mut engine, &settings, 41, rect(0, 0, 8, 8));
    for part in [
        rect(192, 16, 96, 96),
        rect(96, 120, 8, 8),
        rect(424, 216, 56, 54),
    ] {
        assert_equal_in(
            &whole,
            &render(&mut engine, &settings, 20, part),
            "frame 20",
        );
    }
}

/// Processors without AVX2 have the common kernel only: with it, others give the same bits as they do.
#[test]
fn the_common_kernel_is_another_one_where_the_processor_has_more() {
    let scene = "common.blend";
    make_gyroscope(scene);
    let bits = |common_kernel: bool| {
        let (mut engine, description) = blender().engine_with(scene, common_kernel);
        let settings = RenderSettings {
            samples: 8,
            ..settings(&description, 1)
        };
        let part = render(&mut engine, &settings, 20, rect(192, 16, 96, 96));
        let bits = part.planes[0].1.iter().flatten();
        bits.map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let (common, best) = (bits(true), bits(false));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(common != best, is_x86_feature_detected!("avx2"));
    assert_eq!(common, bits(true));
}

/// Judges of other classes render with two seeds: the second changes the noise, and nothing of what comes after.
#[test]
fn another_seed_is_another_noise_and_leaves_no_trace() {
    let scene = blender().scene("plain");
    let (mut engine, description) = blender().engine(&scene);
    let settings = settings(&description, 1);
    let mut part = |seed, frame| {
        let settings = RenderSettings {
            seed,
            ..settings.clone()
        };
        render(&mut engine, &settings, frame, rect(192, 96, 32, 32)).planes
    };
    let (fifth, sixth) = (part(0, 5), part(0, 6));
    let other = part(7, 5);
    assert!(fifth != other && part(8, 5) != other);
    assert!(part(7, 6) != sixth && part(7, 5) == other);
    assert!(part(0, 5) == fifth && part(0, 6) == sixth);
}

#[test]
fn a_finished_frame_equals_blenders_own_picture() {
    let blender = blender();
    for kind in ["plain", "composited"] {
        let scene = blender.scene(kind);
        let (mut engine, description) = blender.engine(&scene);
        let settings = settings(&description, description.planes.len());
        let own = image::open(alone(&scene, 5, "png")).unwrap();
        let size = settings.size;
        // The frame comes from two halves, as it does from two workers.
        let halves = [rect(0, 0, 160, 288), rect(160, 0, 160, 288)];
        let parts = engine
            .render(&settings, 5, &halves, &CancelFlag::default())
            .unwrap();
        let png = blender.folder.path().join(format!("{kind}-finished.png"));
        finish(&mut engine, &settings, &joined(size, &parts), &png).unwrap();
        let finished = image::open(&png).unwrap();
        assert_eq!(finished.color(), own.color(), "{kind}");
        assert_eq!(
            (finished.width(), finished.height()),
            (size.width, size.height)
        );
        assert!(
            finished.as_bytes() == own.as_bytes(),
            "{kind}: the pictures differ"
        );
        // Finishing leaves no trace in what is rendered next.
        let again = render(&mut engine, &settings, 5, rect(128, 96, 64, 64));
        assert_equal_in(&joined(size, &parts), &again, "after finishing");
    }
}

/// Denoised by the requestor, after assembly: rounding in the denoiser may move a dithered value by one step.
#[test]
fn a_denoised_frame_equals_blenders_own_within_rounding() {
    let blender = blender();
    let scene = blender.scene("denoised");
    let (mut engine, description) = blender.engine(&scene);
    let size = description.size.unwrap();
    if description
        .warnings
        .iter()
        .any(|warning| warning.contains("without OpenImageDenoise"))
    {
        // Some packagers leave the denoiser out; then Blender alone does not denoise either.
        return;
    }
    let finish_planes = description.finish_passes.len();
    assert!((2..description.planes.len()).contains(&finish_planes));
    let settings = settings(&description, finish_planes);
    let whole = render(&mut engine, &settings, 5, size.rect());
    let folder = blender.folder.path();
    let png = folder.join("denoised.png");
    finish(&mut engine, &settings, &whole, &png).unwrap();
    // Without its data a frame is refused, not spoilt.
    let bare = RenderedRect {
        planes: whole.planes[..1].to_vec(),
        ..whole.clone()
    };
    let refused = finish(&mut engine, &settings, &bare, &folder.join("bare.png"));
    assert!(
        matches!(&refused, Err(EngineError::Failed(why)) if why.contains("Denoising")),
        "{refused:?}"
    );
    let (own, finished) = (
        image::open(alone(&scene, 5, "png")).unwrap(),
        image::open(&png).unwrap(),
    );
    assert_eq!(finished.color(), own.color());
    let pairs = || own.as_bytes().iter().zip(finished.as_bytes());
    let different = pairs().filter(|(a, b)| a != b).count();
    println!("{different} of {} values differ", own.as_bytes().len());
    assert!(pairs().all(|(a, b)| a.abs_diff(*b) <= 1));
    assert!(
        different * 1000 < own.as_bytes().len(),
        "{different} values differ"
    );
}

/// Finishes frame 5.
fn finish(
    engine: &mut BlenderEngine,
    settings: &RenderSettings,
    assembled: &RenderedRect,
    path: &Path,
) -> Result<(), EngineError> {
    let out = Finished {
        path: path.to_owned(),
        ending: None,
    };
    let files = engine.finish(settings, 5, assembled, &out, &CancelFlag::default())?;
    assert_eq!(files, [path]);
    Ok(())
}

/// Engines that draw have no tiles: any rectangle is cut out of the whole frame.
#[test]
fn drawn_frames_equal_blenders_own() {
    let blender = blender();
    let scene = blender.scene("workbench");
    let mut engine = BlenderEngine::new(blender.found.clone(), BlenderOptions::default());
    let description = match engine.prepare(blender.folder.path(), &scene, None) {
        Err(EngineError::Missing(why)) => {
            // Nothing draws here: that is said, and what to do.
            assert!(
                why.contains("graphics context") && why.contains("hint:"),
                "{why}"
            );
            return;
        }
        prepared => prepared.unwrap(),
    };
    assert!(description.whole_frames && description.indivisible.is_some());
    let settings = settings(&description, 1);
    let path = alone(&scene, 5, "exr");
    let whole =
        frame_file::read_exr(&path, settings.size.rect(), &description.planes[..1]).unwrap();
    assert_varied(&whole);
    for part in [rect(128, 96, 64, 64), settings.size.rect()] {
        assert_equal_in(&whole, &render(&mut engine, &settings, 5, part), "drawn");
    }
}

fn joined(size: Size, parts: &[RenderedRect]) -> RenderedRect {
    let mut planes: Vec<(Pass, Vec<[f32; 4]>)> = parts[0]
        .planes
        .iter()
        .map(|(pass, _)| (*pass, vec![[0.0; 4]; size.area() as usize]))
        .collect();
    for part in parts {
        for ((_, plane), (_, pixels)) in planes.iter_mut().zip(&part.planes) {
            for (row, line) in pixels.chunks_exact(part.rect.width as usize).enumerate() {
                let at = (part.rect.y as usize + row) * size.width as usize + part.rect.x as usize;
                plane[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
    RenderedRect {
        rect: size.rect(),
        planes,
    }
}

#[test]
fn scenes_that_cannot_render_right_are_refused_by_name() {
    let blender = blender();
    let why = prepare_error(&blender.scene("missing"));
    assert!(why.contains("wood.png"), "{why}");
    let why = prepare_error(&blender.scene("unbaked"));
    assert!(why.contains("Cloth of Cube"), "{why}");
    fs::write(blender.folder.path().join("garbage.blend"), [7; 5000]).unwrap();
    let why = prepare_error("garbage.blend");
    assert!(why.contains("cannot read"), "{why}");
    let why = prepare_error("nothing.blend");
    assert!(why.contains("nothing.blend"), "{why}");
}
