//! The renderer: a world in, linear passes out, the same bits whatever the tile, thread count or build.
//!
//! Every random number is a function of seed, frame, pixel, sample and dimension; each pixel is summed by one
//! thread in the order of its samples; nothing here calls the platform's math library.

mod albedo;
pub mod bsdf;
pub mod bvh;
pub mod camera;
mod check;
#[cfg(test)]
mod chi_squared;
mod display;
mod distribution;
mod environment;
mod film;
mod integrator;
mod lights;
mod material;
pub mod sampler;
mod scene;
mod texture;
pub mod warp;

use crate::world::{Camera, World};
use environment::EnvironmentLight;
use film::{Film, Job};
use lights::Lights;
use protocol::{Rect, RenderSettings, RenderedRect, Size};
use scene::Scene;

pub use display::to_srgb8;
pub use film::BACKGROUND_DEPTH;
pub use integrator::BOUNCES_MAX;
pub use protocol::SampleRange;

/// Why a world is not rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Something in the world refers to what is not there, or has the wrong length.
    #[error("the scene is inconsistent: {0}")]
    World(String),
    /// Too many triangles for one hierarchy.
    #[error("{found} triangles: at most {} can be rendered", bvh::TRIANGLES_MAX)]
    TriangleCount {
        /// Triangles found.
        found: usize,
    },
    /// The rectangle does not lie in the frame.
    #[error("the rectangle {rect} is not inside the {size} frame")]
    Rect {
        /// The rectangle.
        rect: Rect,
        /// The frame's size.
        size: Size,
    },
    /// The settings ask for no samples or for another size than the renderer was made for.
    #[error("cannot render with these settings: {0}")]
    Settings(String),
    /// The caller asked to stop.
    #[error("the rendering was cancelled")]
    Cancelled,
}

/// One frame, ready to trace.
#[derive(Debug)]
pub struct Renderer {
    camera: Camera,
    size: Size,
    scene: Scene,
    lights: Lights,
    filter: camera::PixelFilter,
}

impl Renderer {
    /// Builds the hierarchy and the tables of lights, on the current rayon pool. Triangles with coordinates that are
    /// not finite are left out.
    ///
    /// # Errors
    /// [`RenderError::World`] when an index or a length in the world is wrong; [`RenderError::TriangleCount`].
    pub fn new(world: World, size: Size) -> Result<Renderer, RenderError> {
        check::world(&world)?;
        let scene = Scene::new(world.meshes, &world.materials, world.textures)?;
        let environment = EnvironmentLight::new(world.environment);
        let lights = Lights::new(&scene, world.lights, environment);
        Ok(Renderer {
            camera: world.camera,
            size,
            scene,
            lights,
            filter: camera::PixelFilter::default(),
        })
    }

    /// Renders a rectangle: rows from the top, planes in the order of `settings.passes`. Pixels are the same for
    /// every rectangle that contains them. Runs on the current rayon pool; `cancelled` is asked before every pixel.
    ///
    /// Combined is radiance with alpha 1 (the environment is opaque). Depth is that of the pixel's first sample
    /// along the camera's axis, [`BACKGROUND_DEPTH`] where it meets nothing. Normal (in the world, towards the viewer)
    /// and Albedo (base colour) are means over all samples, zero for those that meet nothing.
    ///
    /// # Errors
    /// [`RenderError::Rect`], [`RenderError::Settings`], [`RenderError::Cancelled`].
    pub fn render(
        &self,
        settings: &RenderSettings,
        frame: i32,
        rect: Rect,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<RenderedRect, RenderError> {
        let whole = SampleRange::all(settings.samples);
        let mut rendered = self.render_parts(settings, frame, &[(rect, whole)], cancelled)?;
        rendered.pop().ok_or(RenderError::Rect {
            rect,
            size: self.size,
        })
    }

    /// Renders rectangles (from single pixels to the frame), each with a range of the job's `settings.samples`
    /// samples: passes as [`Renderer::render`] gives them, as means over the range; Depth is that of its first sample.
    ///
    /// Samples are summed in f64 in their order and rounded once to f32, so all samples give the bits of
    /// [`Renderer::render`], and any range gives the same bits in whatever company it is rendered.
    ///
    /// # Errors
    /// As [`Renderer::render`]; [`RenderError::Settings`] also when a range is empty or goes beyond the job's samples.
    pub fn render_parts(
        &self,
        settings: &RenderSettings,
        frame: i32,
        parts: &[(Rect, SampleRange)],
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<RenderedRect>, RenderError> {
        for (rect, range) in parts {
            self.check(settings, *rect, *range)?;
        }
        let films: Vec<Film<'_>> = parts
            .iter()
            .map(|&(rect, whole)| Film {
                rect,
                whole,
                strata: &[],
            })
            .collect();
        let job = Job {
            renderer: self,
            settings,
            frame,
            cancelled,
        };
        Ok(job.render(&films)?.into_iter().flatten().collect())
    }

    /// Renders a rectangle once and gives it twice: as a whole with the bits of [`Renderer::render`], and as
    /// `strata` means over consecutive ranges ([`SampleRange::strata`]) with the bits of [`Renderer::render_parts`].
    ///
    /// The whole is summed sample by sample and not made of the rounded strata: rendering in strata changes no pixel. The
    /// strata's mean, weighted by their samples, equals it up to the rounding of each to f32.
    ///
    /// # Errors
    /// As [`Renderer::render`]; [`RenderError::Settings`] also when `strata` is zero.
    pub fn render_strata(
        &self,
        settings: &RenderSettings,
        frame: i32,
        rect: Rect,
        strata: u32,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(RenderedRect, Vec<RenderedRect>), RenderError> {
        let whole = SampleRange::all(settings.samples);
        self.check(settings, rect, whole)?;
        let ranges: Vec<SampleRange> = SampleRange::strata(settings.samples, strata).collect();
        if ranges.is_empty() {
            return Err(RenderError::Settings("0 strata".into()));
        }
        let film = Film {
            rect,
            whole,
            strata: &ranges,
        };
        let job = Job {
            renderer: self,
            settings,
            frame,
            cancelled,
        };
        let mut rendered: Vec<RenderedRect> = job.render(&[film])?.into_iter().flatten().collect();
        let strata = rendered.split_off(1);
        let whole = rendered.pop().ok_or(RenderError::Rect {
            rect,
            size: self.size,
        })?;
        Ok((whole, strata))
    }

    fn check(
        &self,
        settings: &RenderSettings,
        rect: Rect,
        range: SampleRange,
    ) -> Result<(), RenderError> {
        let wrong = |what: String| Err(RenderError::Settings(what));
        if settings.size != self.size {
            let (asked, prepared) = (settings.size, self.size);
            return wrong(format!("size {asked} where {prepared} was prepared"));
        }
        if settings.samples == 0 {
            return wrong("0 samples a pixel".into());
        }
        let SampleRange { first, count } = range;
        if count == 0 || count > settings.samples.saturating_sub(first) {
            let samples = settings.samples;
            return wrong(format!("{count} samples from {first} on, of {samples}"));
        }
        match rect.is_inside(self.size) {
            true => Ok(()),
            false => Err(RenderError::Rect {
                rect,
                size: self.size,
            }),
        }
    }
}
