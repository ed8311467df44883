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
use lights::Lights;
use protocol::{Rect, RenderSettings, RenderedRect, Size};
use scene::Scene;

pub use display::to_srgb8;
pub use film::BACKGROUND_DEPTH;
pub use integrator::BOUNCES_MAX;

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
    pub fn new(mut world: World, size: Size) -> Result<Renderer, RenderError> {
        check::world(&world)?;
        let scene = Scene::new(&mut world)?;
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
        if settings.size != self.size {
            return Err(RenderError::Settings(format!(
                "size {} where {} was prepared",
                settings.size, self.size
            )));
        }
        if settings.samples == 0 {
            return Err(RenderError::Settings("0 samples a pixel".into()));
        }
        if !rect.is_inside(self.size) {
            return Err(RenderError::Rect {
                rect,
                size: self.size,
            });
        }
        film::render(self, settings, frame, rect, cancelled)
    }
}
