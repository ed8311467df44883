//! Ranges of samples: the same bits however they are rendered, and a whole that is their mean.

mod worlds;

use protocol::{Pass, Rect, RenderedRect};
use tracer::render::{RenderError, Renderer, SampleRange};

const RECT: Rect = Rect {
    x: 43,
    y: 30,
    width: 37,
    height: 21,
};

fn render(renderer: &Renderer, parts: &[(Rect, SampleRange)]) -> Vec<RenderedRect> {
    let settings = worlds::settings(worlds::GOLDEN_SIZE, worlds::GOLDEN_SAMPLES);
    renderer
        .render_parts(&settings, worlds::GOLDEN_FRAME, parts, &|| false)
        .unwrap()
}

#[test]
fn strata_come_out_alike_together_and_alone_and_the_whole_is_unchanged() {
    for (name, world) in worlds::golden_worlds() {
        let renderer = Renderer::new(world, worlds::GOLDEN_SIZE).unwrap();
        let settings = worlds::settings(worlds::GOLDEN_SIZE, worlds::GOLDEN_SAMPLES);
        let frame = worlds::GOLDEN_FRAME;
        let plain = renderer.render(&settings, frame, RECT, &|| false).unwrap();
        for count in [1, 3, 8] {
            let (whole, strata) = renderer
                .render_strata(&settings, frame, RECT, count, &|| false)
                .unwrap();
            assert_eq!(whole, plain, "{name}: {count} strata");
            let parts: Vec<_> = SampleRange::strata(settings.samples, count)
                .map(|range| (RECT, range))
                .collect();
            assert_eq!(render(&renderer, &parts), strata, "{name}: {count} strata");
        }
    }
}

#[test]
fn a_pixel_alone_equals_the_same_pixel_of_a_rectangle() {
    let renderer = Renderer::new(worlds::cornell_box(), worlds::GOLDEN_SIZE).unwrap();
    let range = SampleRange { first: 3, count: 4 };
    let whole = &render(&renderer, &[(RECT, range)])[0];
    let pixels: Vec<_> = (0..RECT.area() as u32)
        .map(|index| Rect {
            x: RECT.x + index % RECT.width,
            y: RECT.y + index / RECT.width,
            width: 1,
            height: 1,
        })
        .map(|rect| (rect, range))
        .collect();
    for (index, pixel) in render(&renderer, &pixels).iter().enumerate() {
        for ((_, one), (_, plane)) in pixel.planes.iter().zip(&whole.planes) {
            assert_eq!(one[0], plane[index]);
        }
    }
}

#[test]
fn the_weighted_mean_of_the_strata_is_the_whole_up_to_rounding() {
    let renderer = Renderer::new(worlds::sky_and_holes(), worlds::GOLDEN_SIZE).unwrap();
    let samples = worlds::GOLDEN_SAMPLES;
    let whole = &render(&renderer, &[(RECT, SampleRange::all(samples))])[0];
    let ranges: Vec<SampleRange> = SampleRange::strata(samples, 3).collect();
    let parts: Vec<_> = ranges.iter().map(|&range| (RECT, range)).collect();
    let strata = render(&renderer, &parts);
    assert_ne!(strata[0].planes[0].1, strata[1].planes[0].1);
    let combined = |rendered: &RenderedRect, index: usize, channel: usize| {
        assert_eq!(rendered.planes[0].0, Pass::Combined);
        f64::from(rendered.planes[0].1[index][channel])
    };
    for index in 0..RECT.area() as usize {
        for channel in 0..3 {
            let weighted = strata.iter().zip(&ranges).map(|(stratum, range)| {
                combined(stratum, index, channel) * f64::from(range.count) / f64::from(samples)
            });
            let (mean, expected) = (weighted.sum::<f64>(), combined(whole, index, channel));
            // Each stratum and the whole are off by half a unit in the last place at most.
            assert!((mean - expected).abs() <= expected * f64::from(f32::EPSILON));
        }
    }
}

#[test]
fn ranges_beyond_the_samples_are_refused() {
    let renderer = Renderer::new(worlds::cornell_box(), worlds::GOLDEN_SIZE).unwrap();
    let settings = worlds::settings(worlds::GOLDEN_SIZE, 8);
    for (first, count) in [(0, 0), (0, 9), (8, 1), (7, 2), (u32::MAX, 1), (1, u32::MAX)] {
        let parts = [(RECT, SampleRange { first, count })];
        let refused = renderer.render_parts(&settings, 1, &parts, &|| false);
        assert!(
            matches!(refused, Err(RenderError::Settings(_))),
            "{first} {count}"
        );
    }
    let none = renderer.render_strata(&settings, 1, RECT, 0, &|| false);
    assert!(matches!(none, Err(RenderError::Settings(_))));
}
