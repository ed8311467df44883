//! Small vectors with one result everywhere: plain IEEE add, multiply, divide and square root in a fixed order.
//!
//! Not here and not allowed in this crate: `mul_add`, std's transcendental functions (they call the platform's
//! math library), approximate reciprocals. Use `libm` for sine and friends.

use std::ops::{Add, AddAssign, Div, Index, Mul, MulAssign, Neg, Sub};

/// The smaller of two numbers, the second when they are equal or either is not a number.
///
/// std's `f32::min` leaves open which zero it returns for -0 and +0, so builds may differ; a comparison does not.
#[inline]
pub fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger of two numbers, the second when they are equal or either is not a number (see [`min`]).
#[inline]
pub fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Three floats: a point, a direction, or a linear RGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vec3 {
    /// First component, or red.
    pub x: f32,
    /// Second component, or green.
    pub y: f32,
    /// Third component, or blue.
    pub z: f32,
}

/// Shorthand for [`Vec3`].
pub const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// All zero.
    pub const ZERO: Vec3 = vec3(0.0, 0.0, 0.0);
    /// All one.
    pub const ONE: Vec3 = vec3(1.0, 1.0, 1.0);

    /// The same value three times.
    pub const fn splat(value: f32) -> Vec3 {
        vec3(value, value, value)
    }

    /// Scalar product.
    pub fn dot(self, other: Vec3) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// Vector product.
    pub fn cross(self, other: Vec3) -> Vec3 {
        vec3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// Squared length.
    pub fn length_squared(self) -> f32 {
        self.dot(self)
    }

    /// Length.
    pub fn length(self) -> f32 {
        self.length_squared().sqrt()
    }

    /// The same direction with length one; zero stays zero.
    pub fn normalized(self) -> Vec3 {
        let length = self.length();
        if length > 0.0 {
            self / length
        } else {
            Vec3::ZERO
        }
    }

    /// Component by component minimum.
    pub fn min(self, other: Vec3) -> Vec3 {
        vec3(
            min(self.x, other.x),
            min(self.y, other.y),
            min(self.z, other.z),
        )
    }

    /// Component by component maximum.
    pub fn max(self, other: Vec3) -> Vec3 {
        vec3(
            max(self.x, other.x),
            max(self.y, other.y),
            max(self.z, other.z),
        )
    }

    /// The largest component.
    pub fn max_component(self) -> f32 {
        max(max(self.x, self.y), self.z)
    }

    /// Linear interpolation: `self` at 0, `other` at 1.
    pub fn lerp(self, other: Vec3, t: f32) -> Vec3 {
        self * (1.0 - t) + other * t
    }

    /// Relative luminance of a linear Rec. 709 colour.
    pub fn luminance(self) -> f32 {
        0.2126 * self.x + 0.7152 * self.y + 0.0722 * self.z
    }

    /// Are all components finite?
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// As an array.
    pub fn to_array(self) -> [f32; 3] {
        [self.x, self.y, self.z]
    }
}

impl From<[f32; 3]> for Vec3 {
    fn from([x, y, z]: [f32; 3]) -> Self {
        vec3(x, y, z)
    }
}

impl Index<usize> for Vec3 {
    type Output = f32;
    fn index(&self, axis: usize) -> &f32 {
        match axis {
            0 => &self.x,
            1 => &self.y,
            _ => &self.z,
        }
    }
}

impl Add for Vec3 {
    type Output = Vec3;
    fn add(self, other: Vec3) -> Vec3 {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vec3 {
    fn add_assign(&mut self, other: Vec3) {
        *self = *self + other;
    }
}

impl Sub for Vec3 {
    type Output = Vec3;
    fn sub(self, other: Vec3) -> Vec3 {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Neg for Vec3 {
    type Output = Vec3;
    fn neg(self) -> Vec3 {
        vec3(-self.x, -self.y, -self.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Vec3;
    fn mul(self, factor: f32) -> Vec3 {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Mul for Vec3 {
    type Output = Vec3;
    fn mul(self, other: Vec3) -> Vec3 {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl MulAssign<f32> for Vec3 {
    fn mul_assign(&mut self, factor: f32) {
        *self = *self * factor;
    }
}

impl MulAssign for Vec3 {
    fn mul_assign(&mut self, other: Vec3) {
        *self = *self * other;
    }
}

impl Div<f32> for Vec3 {
    type Output = Vec3;
    fn div(self, divisor: f32) -> Vec3 {
        vec3(self.x / divisor, self.y / divisor, self.z / divisor)
    }
}
