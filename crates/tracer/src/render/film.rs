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
    // Cells rather than rows: neighbouring rays meet the same nodes.
    let cells: Vec<Rect> = rect.cells().map(|(_, part)| part).collect();
    let rendered: Vec<Vec<Pixel>> = cells
        .par_iter()
        .map(|cell| render_cell(renderer, settings, frame, *cell, cancelled))
        .collect::<Result<_, _>>()?;
    let planes = settings.passes.iter().map(|&pass| {
        let mut plane = vec![[0.0; 4]; rect.area() as usize];
        for (cell, pixels) in cells.iter().zip(&rendered) {
            let rows = pixels.chunks_exact(cell.width as usize);
            for (y, row) in (cell.y..).zip(rows) {
                let start =
                    (y - rect.y) as usize * rect.width as usize + (cell.x - rect.x) as usize;
                for (target, pixel) in plane[start..].iter_mut().zip(row) {
                    *target = pixel.pass(pass, settings.samples);
                }
            }
        }
        (pass, plane)
    });
    Ok(RenderedRect {
        rect,
        planes: planes.collect(),
    })
}

fn render_cell(
    renderer: &Renderer,
    settings: &RenderSettings,
    frame: i32,
    cell: Rect,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Pixel>, RenderError> {
    let mut traversal = Traversal::default();
    let mut pixels = Vec::with_capacity(cell.area() as usize);
    for y in cell.y..cell.bottom() {
        for x in cell.x..cell.right() {
            if cancelled() {
                return Err(RenderError::Cancelled);
            }
            let sampler = PixelSampler::new(settings.seed, frame, x, y);
            let mut pixel = Pixel::EMPTY;
            for index in 0..settings.samples {
                let sampler = sampler.sample(index);
                let [u, v] = sampler.pair(0, Use::Filter);
                let place = [
                    x as f32 + 0.5 + renderer.filter.offset(u),
                    y as f32 + 0.5 + renderer.filter.offset(v),
                ];
                let ray = camera_ray(&renderer.camera, renderer.size, place);
                let sample = trace(
                    &renderer.scene,
                    &renderer.lights,
                    ray,
                    &sampler,
                    &mut traversal,
                );
                pixel.add(&sample, index == 0);
            }
            pixels.push(pixel);
        }
    }
    Ok(pixels)
}
