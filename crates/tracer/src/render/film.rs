//! Pixels: samples summed one by one, as a whole or in ranges, and passes put together.

use super::{
    RenderError, Renderer,
    bvh::Traversal,
    camera::camera_ray,
    integrator::{PathSample, trace},
    sampler::{PixelSampler, Sampler, Use},
};
use crate::math::Vec3;
use protocol::{Pass, Rect, RenderSettings, RenderedRect, SampleRange};
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
            // Nobody asks the tracer for what only other engines have.
            Pass::Plane(_) => [0.0; 4],
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

/// What is gathered of a rectangle: a range of samples as a whole and, besides, consecutive ranges that partition it.
#[derive(Clone, Copy)]
pub(super) struct Film<'a> {
    pub rect: Rect,
    pub whole: SampleRange,
    /// May be empty.
    pub strata: &'a [SampleRange],
}

/// What all pixels of a call have in common.
pub(super) struct Job<'a> {
    pub renderer: &'a Renderer,
    pub settings: &'a RenderSettings,
    pub frame: i32,
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Job<'_> {
    /// For each film the whole and then its strata.
    pub fn render(&self, films: &[Film<'_>]) -> Result<Vec<Vec<RenderedRect>>, RenderError> {
        // Cell by cell, because neighbouring rays meet the same nodes; row by row in it, so that the threads share even
        // a single cell.
        let spans: Vec<(usize, Rect)> = films
            .iter()
            .enumerate()
            .flat_map(|(index, film)| {
                let cells = film.rect.cells();
                cells.flat_map(move |(_, part)| rows(part).map(move |span| (index, span)))
            })
            .collect();
        let rendered: Vec<Vec<[f32; 4]>> = spans
            .par_iter()
            .map(|(index, span)| self.span(*span, &films[*index]))
            .collect::<Result<_, _>>()?;
        let mut results: Vec<Vec<RenderedRect>> = films
            .iter()
            .map(|film| vec![self.empty(film.rect); 1 + film.strata.len()])
            .collect();
        for ((index, span), values) in spans.iter().zip(&rendered) {
            let planes = results[*index].iter_mut().flat_map(|range| {
                let rect = range.rect;
                range.planes.iter_mut().map(move |plane| (rect, plane))
            });
            for ((rect, (_, plane)), row) in planes.zip(values.chunks(span.width as usize)) {
                let start =
                    (span.y - rect.y) as usize * rect.width as usize + (span.x - rect.x) as usize;
                plane[start..start + row.len()].copy_from_slice(row);
            }
        }
        Ok(results)
    }

    fn empty(&self, rect: Rect) -> RenderedRect {
        let plane = |&pass| (pass, vec![[0.0; 4]; rect.area() as usize]);
        RenderedRect {
            rect,
            planes: self.settings.passes.iter().map(plane).collect(),
        }
    }

    /// The pixels of a rectangle one pixel high: for the whole and each stratum, and in it for each pass, a row.
    fn span(&self, span: Rect, film: &Film<'_>) -> Result<Vec<[f32; 4]>, RenderError> {
        let passes = &self.settings.passes;
        let width = span.width as usize;
        let mut values = vec![[0.0; 4]; (1 + film.strata.len()) * passes.len() * width];
        let mut traversal = Traversal::default();
        let mut pixels = Vec::with_capacity(1 + film.strata.len());
        for (column, x) in (span.x..span.right()).enumerate() {
            if (self.cancelled)() {
                return Err(RenderError::Cancelled);
            }
            pixels.clear();
            pixels.resize(1 + film.strata.len(), Pixel::EMPTY);
            self.pixel([x, span.y], film, &mut pixels, &mut traversal);
            let ranges = std::iter::once(&film.whole).chain(film.strata);
            let means = pixels.iter().zip(ranges).flat_map(|(pixel, range)| {
                passes.iter().map(|&pass| pixel.pass(pass, range.count))
            });
            for (row, mean) in means.enumerate() {
                values[row * width + column] = mean;
            }
        }
        Ok(values)
    }

    /// Sums the samples of a pixel in their order, into the first of `pixels` and into that of their stratum.
    fn pixel(
        &self,
        [x, y]: [u32; 2],
        film: &Film<'_>,
        pixels: &mut [Pixel],
        traversal: &mut Traversal,
    ) {
        let Some((whole, pixels)) = pixels.split_first_mut() else {
            return;
        };
        let sampler = PixelSampler::new(self.settings.seed, self.frame, x, y);
        let corner = [x as f32, y as f32];
        let mut strata = film.strata.iter().zip(pixels);
        let mut current = strata.next();
        for index in film.whole.first..film.whole.end() {
            let sampler = sampler.sample(index);
            let sample = self.renderer.sample(corner, &sampler, traversal);
            whole.add(&sample, index == film.whole.first);
            if let Some((stratum, pixel)) = &mut current {
                pixel.add(&sample, index == stratum.first);
                if index + 1 == stratum.end() {
                    current = strata.next();
                }
            }
        }
    }
}

fn rows(rect: Rect) -> impl Iterator<Item = Rect> {
    (rect.y..rect.bottom()).map(move |y| Rect {
        y,
        height: 1,
        ..rect
    })
}

impl Renderer {
    /// One sample of the pixel with this top left corner.
    fn sample(&self, [x, y]: [f32; 2], sampler: &Sampler, traversal: &mut Traversal) -> PathSample {
        let [u, v] = sampler.pair(0, Use::Filter);
        let place = [
            x + 0.5 + self.filter.offset(u),
            y + 0.5 + self.filter.offset(v),
        ];
        let ray = camera_ray(&self.camera, self.size, place);
        trace(&self.scene, &self.lights, ray, sampler, traversal)
    }
}
