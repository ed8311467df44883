//! Camera rays, and the pixel filter by importance sampling: the Blackman-Harris window that is Blender's default.

use super::bvh::Ray;
use crate::world::{Camera, Projection};
use protocol::Size;

/// Width of the pixel filter in pixels; what Blender calls 1.5 is half of it.
pub const FILTER_WIDTH_PX: f64 = 3.0;
/// Entries of the filter's inverted distribution.
const FILTER_STEPS: usize = 1024;

/// Places in a pixel, distributed as the pixel filter weighs them.
#[derive(Debug)]
pub struct PixelFilter {
    /// Offset from the pixel's centre by probability, from 0 to 1 in equal steps.
    offsets: Vec<f32>,
}

impl Default for PixelFilter {
    fn default() -> Self {
        let offset = |step: usize| invert(step as f64 / FILTER_STEPS as f64) * FILTER_WIDTH_PX;
        Self {
            offsets: (0..=FILTER_STEPS).map(|step| offset(step) as f32).collect(),
        }
    }
}

impl PixelFilter {
    /// Offset from the centre along one axis, in pixels, for 0 <= u < 1.
    pub fn offset(&self, u: f32) -> f32 {
        let scaled = u * FILTER_STEPS as f32;
        let index = (scaled as usize).min(FILTER_STEPS - 1);
        let t = scaled - index as f32;
        self.offsets[index] * (1.0 - t) + self.offsets[index + 1] * t
    }
}

/// Integral of the Blackman-Harris window from -1/2 to `x` in -1/2..1/2, as a share of the whole.
fn blackman_harris_integral(x: f64) -> f64 {
    use std::f64::consts::TAU;
    let sine = |times: f64| libm::sin(TAU * times * x) / (TAU * times);
    0.5 + x + (0.488_29 * sine(1.0) + 0.141_28 * sine(2.0) + 0.011_68 * sine(3.0)) / 0.358_75
}

/// Where the integral has this value, by bisection.
fn invert(share: f64) -> f64 {
    let (mut low, mut high) = (-0.5, 0.5);
    for _ in 0..40 {
        let middle = (low + high) * 0.5;
        if blackman_harris_integral(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) * 0.5
}

/// The ray through a point of the image, in pixels from the top left corner. Its direction is one long along the
/// camera's axis, so that its t is depth; it is cut at the clipping planes.
pub fn camera_ray(camera: &Camera, size: Size, [x, y]: [f32; 2]) -> Ray {
    let (width, height) = (size.width as f32, size.height as f32);
    // In halves of the height, from the centre.
    let right = (2.0 * x - width) / height;
    let up = 1.0 - 2.0 * y / height;
    let aside = |scale: f32| camera.right * (right * scale) + camera.up * (up * scale);
    let (origin, direction) = match camera.projection {
        Projection::Perspective { tan_half_y } => {
            (camera.position, camera.forward + aside(tan_half_y))
        }
        Projection::Orthographic { half_height } => {
            (camera.position + aside(half_height), camera.forward)
        }
    };
    Ray {
        origin,
        direction,
        t_min: camera.near,
        t_max: camera.far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::vec3;

    #[test]
    fn offsets_follow_the_filter() {
        let filter = PixelFilter::default();
        let mut counts = [0.0f64; 30];
        const SAMPLES: usize = 300_000;
        for i in 0..SAMPLES {
            let offset = f64::from(filter.offset((i as f32 + 0.5) / SAMPLES as f32));
            assert!(offset.abs() <= FILTER_WIDTH_PX / 2.0);
            counts[((offset / FILTER_WIDTH_PX + 0.5) * 30.0) as usize] += 1.0 / SAMPLES as f64;
        }
        for (bin, count) in counts.iter().enumerate() {
            let edge = |bin: usize| blackman_harris_integral(bin as f64 / 30.0 - 0.5);
            assert!((edge(bin + 1) - edge(bin) - count).abs() < 5e-4, "{bin}");
        }
    }

    #[test]
    fn the_image_is_upright_and_its_pixels_square() {
        let mut camera = Camera {
            position: vec3(1.0, 2.0, 3.0),
            right: vec3(1.0, 0.0, 0.0),
            up: vec3(0.0, 1.0, 0.0),
            forward: vec3(0.0, 0.0, -1.0),
            projection: Projection::Perspective { tan_half_y: 0.5 },
            near: 0.1,
            far: 100.0,
        };
        let size = Size::new(200, 100).unwrap();
        let corner = camera_ray(&camera, size, [0.0, 0.0]);
        assert_eq!(corner.direction, vec3(-1.0, 0.5, -1.0));
        assert_eq!((corner.t_min, corner.t_max), (0.1, 100.0));
        camera.projection = Projection::Orthographic { half_height: 2.0 };
        let middle_right = camera_ray(&camera, size, [200.0, 50.0]);
        assert_eq!(middle_right.origin, camera.position + vec3(4.0, 0.0, 0.0));
        assert_eq!(middle_right.direction, camera.forward);
    }
}
