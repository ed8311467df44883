//! Pixels: samples summed one by one, passes put together.

use super::{
    RenderError, Renderer,
    bvh::Traversal,
    camera::camera_ray,
    integrator::{PathSample, trace},
    sampler::{PixelSampler, Use},
};
use crate::math::Vec3;
use protocol::{Pass, Rect, RenderSettings, RenderedRect};
use rayon::prelude::*;

/// Depth of a pixel whose first sample meets nothing.
pub const BACKGROUND_DEPTH: f32 = 1e10;

/// What a pixel has gathered.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    radiance: [f64; 3],
    normal: [f64; 3],
    albedo: [f64; 3],
    depth: f32,
}

impl Pixel {
    const EMPTY: Pixel = Pixel {
        radiance: [0.0; 3],
        normal: [0.0; 3],
        albedo: [0.0; 3],
        depth: BACKGROUND_DEPTH,
    };

    /// Adds a sample; what is not finite counts as black.
    fn add(&mut self, sample: &PathSample, is_first: bool) {
        add(&mut self.radiance, sample.radiance);
        if let Some(first) = &sample.first {
            add(&mut self.normal, first.normal);
            add(&mut self.albedo, first.albedo);
            if is_first && first.depth.is_finite() {
                self.depth = first.depth;
            }
        }
    }

    fn pass(&self, pass: Pass, samples: u32) -> [f32; 4] {
        let mean = |sum: &[f64; 3], last: f32| {
            let [x, y, z] = sum.map(|channel| (channel / f64::from(samples)) as f32);
            [x, y, z, last]
        };
        match pass {
            Pass::Combined => mean(&self.radiance, 1.0),
            Pass::Depth => [self.depth, 0.0, 0.0, 0.0],
            Pass::Normal => mean(&self.normal, 0.0),
            Pass::Albedo => mean(&self.albedo, 0.0),
        }
    }
}

fn add(sum: &mut [f64; 3], value: Vec3) {
    if value.is_finite() {
        for (sum, value) in sum.iter_mut().zip(value.to_array()) {
            *sum += f64::from(value);
        }
    }
}

pub(super) fn render(
    renderer: &Renderer,
    settings: &RenderSettings,
    frame: i32,
    rect: Rect,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<RenderedRect, RenderError> {
    // Cell by cell, because neighbouring rays meet the same nodes; row by row in it, so that the threads share even
    // a single cell.
    let spans: Vec<Rect> = rect.cells().flat_map(|(_, part)| rows(part)).collect();
    let rendered: Vec<Vec<Pixel>> = spans
        .par_iter()
        .map(|span| render_span(renderer, settings, frame, *span, cancelled))
        .collect::<Result<_, _>>()?;
    let planes = settings.passes.iter().map(|&pass| {
        let mut plane = vec![[0.0; 4]; rect.area() as usize];
        for (span, pixels) in spans.iter().zip(&rendered) {
            let start =
                (span.y - rect.y) as usize * rect.width as usize + (span.x - rect.x) as usize;
            for (target, pixel) in plane[start..].iter_mut().zip(pixels) {
                *target = pixel.pass(pass, settings.samples);
            }
        }
        (pass, plane)
    });
    Ok(RenderedRect {
        rect,
        planes: planes.collect(),
    })
}

fn rows(rect: Rect) -> impl Iterator<Item = Rect> {
    (rect.y..rect.bottom()).map(move |y| Rect {
        y,
        height: 1,
        ..rect
    })
}

/// The pixels of a rectangle one pixel high.
fn render_span(
    renderer: &Renderer,
    settings: &RenderSettings,
    frame: i32,
    span: Rect,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Pixel>, RenderError> {
    let mut traversal = Traversal::default();
    let pixel = |x: u32| match cancelled() {
        true => Err(RenderError::Cancelled),
        false => {
            let sampler = PixelSampler::new(settings.seed, frame, x, span.y);
            let place = [x as f32, span.y as f32];
            let samples = settings.samples;
            Ok(renderer.render_pixel(place, &sampler, samples, &mut traversal))
        }
    };
    (span.x..span.right()).map(pixel).collect()
}

impl Renderer {
    /// Sums the samples of the pixel with this top left corner.
    fn render_pixel(
        &self,
        [x, y]: [f32; 2],
        sampler: &PixelSampler,
        samples: u32,
        traversal: &mut Traversal,
    ) -> Pixel {
        let mut pixel = Pixel::EMPTY;
        for index in 0..samples {
            let sampler = sampler.sample(index);
            let [u, v] = sampler.pair(0, Use::Filter);
            let place = [
                x + 0.5 + self.filter.offset(u),
                y + 0.5 + self.filter.offset(v),
            ];
            let ray = camera_ray(&self.camera, self.size, place);
            let sample = trace(&self.scene, &self.lights, ray, &sampler, traversal);
            pixel.add(&sample, index == 0);
        }
        pixel
    }
}
