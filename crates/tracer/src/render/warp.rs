//! Warps of uniform random numbers into directions and points, coordinate frames, and the few transcendental
//! functions of the inner loop as polynomials of our own.

use crate::math::{Vec3, vec3};
use std::f32::consts::{PI, TAU};

/// Sine and cosine of `turns` full turns, for 0 <= turns <= 1, within 2e-7.
pub fn sin_cos_turns(turns: f32) -> (f32, f32) {
    let quadrant = (turns * 4.0 + 0.5) as i32;
    // Exact, within an eighth of a turn around zero.
    let x = (turns - quadrant as f32 * 0.25) * TAU;
    let x2 = x * x;
    let sin =
        x * (1.0 + x2 * (-1.0 / 6.0 + x2 * (1.0 / 120.0 + x2 * (-1.0 / 5040.0 + x2 / 362_880.0))));
    let cos = 1.0 + x2 * (-0.5 + x2 * (1.0 / 24.0 + x2 * (-1.0 / 720.0 + x2 / 40_320.0)));
    match quadrant & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// `1 - x * x` without a negative result from rounding, under the root.
pub fn root_of_one_minus_square(x: f32) -> f32 {
    let square = 1.0 - x * x;
    if square > 0.0 { square.sqrt() } else { 0.0 }
}

/// A direction around +z with density cosine / pi.
pub fn cosine_hemisphere([u, v]: [f32; 2]) -> Vec3 {
    let (sin, cos) = sin_cos_turns(u);
    let radius = v.sqrt();
    vec3(radius * cos, radius * sin, (1.0 - v).sqrt())
}

/// A direction with density 1 / (4 pi).
#[cfg(test)]
pub fn uniform_sphere([u, v]: [f32; 2]) -> Vec3 {
    let (sin, cos) = sin_cos_turns(u);
    let z = 1.0 - 2.0 * v;
    let radius = root_of_one_minus_square(z);
    vec3(radius * cos, radius * sin, z)
}

/// Density of [`cosine_hemisphere`] for a direction with this z.
pub fn cosine_hemisphere_density(z: f32) -> f32 {
    if z > 0.0 { z / PI } else { 0.0 }
}

/// Weights of the second and third corner of a triangle, uniform over its area (Heitz, "A Low-Distortion Map
/// Between Triangle and Square", 2019).
pub fn triangle_weights([u, v]: [f32; 2]) -> [f32; 2] {
    if u < v {
        let half = u * 0.5;
        [half, v - half]
    } else {
        let half = v * 0.5;
        [u - half, half]
    }
}

/// Share of the first of two techniques by the power heuristic (Veach 1997), from their densities.
pub fn power_heuristic(own: f32, other: f32) -> f32 {
    if own.is_infinite() {
        return 1.0;
    }
    // A quotient, because squares of large densities overflow.
    let ratio = other / own;
    1.0 / (1.0 + ratio * ratio)
}

/// An orthonormal frame whose z is a given normal.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    x: Vec3,
    y: Vec3,
    /// The normal.
    pub z: Vec3,
}

impl Frame {
    /// A frame around a unit vector (Duff et al., "Building an Orthonormal Basis, Revisited", JCGT 2017).
    pub fn around(z: Vec3) -> Frame {
        let sign = if z.z < 0.0 { -1.0 } else { 1.0 };
        let a = -1.0 / (sign + z.z);
        let b = z.x * z.y * a;
        Frame {
            x: vec3(1.0 + sign * z.x * z.x * a, sign * b, -sign * z.x),
            y: vec3(b, sign + z.y * z.y * a, -z.y),
            z,
        }
    }

    /// From the world into the frame.
    pub fn to_local(&self, v: Vec3) -> Vec3 {
        vec3(v.dot(self.x), v.dot(self.y), v.dot(self.z))
    }

    /// From the frame into the world.
    pub fn to_world(&self, v: Vec3) -> Vec3 {
        self.x * v.x + self.y * v.y + self.z * v.z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_near_the_true_ones() {
        for i in 0..=100_000 {
            let turns = i as f32 / 100_000.0;
            let (sin, cos) = sin_cos_turns(turns);
            let angle = f64::from(turns) * std::f64::consts::TAU;
            assert!((f64::from(sin) - libm::sin(angle)).abs() < 3e-7, "{turns}");
            assert!((f64::from(cos) - libm::cos(angle)).abs() < 3e-7, "{turns}");
        }
    }

    #[test]
    fn frames_are_orthonormal() {
        for i in 0..1000 {
            let z = uniform_sphere([(i % 31) as f32 / 31.0, i as f32 / 999.0]).normalized();
            let frame = Frame::around(z);
            for v in [Vec3::ONE, vec3(0.3, -2.0, 5.0)] {
                assert!((frame.to_world(frame.to_local(v)) - v).length() < 1e-5);
            }
            assert!((frame.x.cross(frame.y) - z).length() < 1e-5);
        }
    }

    #[test]
    fn power_heuristic_adds_to_one() {
        for (a, b) in [(1.0, 3.0), (1e30, 1e-30), (2.0, 0.0), (1e-20, 1e-20)] {
            assert!((power_heuristic(a, b) + power_heuristic(b, a) - 1.0).abs() < 1e-6);
        }
    }
}
