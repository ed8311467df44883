//! Rotations and affine transforms for the node hierarchy, in plain IEEE arithmetic (see [`crate::math`]).

use crate::math::{self, Vec3, vec3};

/// Two quaternions whose cosine is above this are mixed linearly: there slerp divides by nearly zero.
const SLERP_COSINE_MAX: f32 = 0.9995;

/// A rotation as a quaternion; unit length is the caller's duty ([`Quat::normalized`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quat {
    /// First imaginary part.
    pub x: f32,
    /// Second imaginary part.
    pub y: f32,
    /// Third imaginary part.
    pub z: f32,
    /// Real part.
    pub w: f32,
}

impl Quat {
    /// No rotation.
    pub const IDENTITY: Quat = Quat {
        x: 0.0,
        y: 0.0,
        z: 0.0,
        w: 1.0,
    };

    /// From glTF's order x, y, z, w.
    pub const fn from_array([x, y, z, w]: [f32; 4]) -> Quat {
        Quat { x, y, z, w }
    }

    /// Cosine of half the angle between two rotations, negative when they are on opposite sides of the sphere.
    pub fn dot(self, other: Quat) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z + self.w * other.w
    }

    /// The same rotation with length one; what has no length becomes the identity.
    pub fn normalized(self) -> Quat {
        let length = self.dot(self).sqrt();
        match length > 0.0 && length.is_finite() {
            true => Quat {
                x: self.x / length,
                y: self.y / length,
                z: self.z / length,
                w: self.w / length,
            },
            false => Quat::IDENTITY,
        }
    }

    fn mixed(self, weight: f32, other: Quat, other_weight: f32) -> Quat {
        Quat {
            x: self.x * weight + other.x * other_weight,
            y: self.y * weight + other.y * other_weight,
            z: self.z * weight + other.z * other_weight,
            w: self.w * weight + other.w * other_weight,
        }
    }

    /// Spherical linear interpolation along the shorter arc: `self` at 0, `other` at 1, both of unit length.
    pub fn slerp(self, other: Quat, t: f32) -> Quat {
        let cosine = self.dot(other);
        let (sign, cosine) = if cosine < 0.0 {
            (-1.0, -cosine)
        } else {
            (1.0, cosine)
        };
        if cosine > SLERP_COSINE_MAX {
            return self.mixed(1.0 - t, other, sign * t).normalized();
        }
        let angle = libm::acosf(cosine);
        let sine = libm::sinf(angle);
        let from = libm::sinf((1.0 - t) * angle) / sine;
        let to = libm::sinf(t * angle) / sine;
        self.mixed(from, other, sign * to).normalized()
    }
}

/// An affine map: the images of the three axes and of the origin (a 4x4 matrix with last row 0 0 0 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Image of the x axis.
    pub x: Vec3,
    /// Image of the y axis.
    pub y: Vec3,
    /// Image of the z axis.
    pub z: Vec3,
    /// Image of the origin.
    pub translation: Vec3,
}

impl Affine {
    /// Leaves everything where it is.
    pub const IDENTITY: Affine = Affine {
        x: vec3(1.0, 0.0, 0.0),
        y: vec3(0.0, 1.0, 0.0),
        z: vec3(0.0, 0.0, 1.0),
        translation: Vec3::ZERO,
    };

    /// Maps everything to the origin: where a weighted sum starts.
    pub const ZERO: Affine = Affine {
        x: Vec3::ZERO,
        y: Vec3::ZERO,
        z: Vec3::ZERO,
        translation: Vec3::ZERO,
    };

    /// From a column-major 4x4 matrix, whose last row is taken as 0 0 0 1.
    pub fn from_columns(m: &[f32; 16]) -> Affine {
        Affine {
            x: vec3(m[0], m[1], m[2]),
            y: vec3(m[4], m[5], m[6]),
            z: vec3(m[8], m[9], m[10]),
            translation: vec3(m[12], m[13], m[14]),
        }
    }

    /// Scales, then rotates by a unit quaternion, then translates.
    pub fn from_parts(translation: Vec3, rotation: Quat, scale: Vec3) -> Affine {
        let Quat { x, y, z, w } = rotation;
        let (x2, y2, z2) = (x + x, y + y, z + z);
        let (xx, yy, zz) = (x * x2, y * y2, z * z2);
        let (xy, xz, yz) = (x * y2, x * z2, y * z2);
        let (wx, wy, wz) = (w * x2, w * y2, w * z2);
        Affine {
            x: vec3(1.0 - (yy + zz), xy + wz, xz - wy) * scale.x,
            y: vec3(xy - wz, 1.0 - (xx + zz), yz + wx) * scale.y,
            z: vec3(xz + wy, yz - wx, 1.0 - (xx + yy)) * scale.z,
            translation,
        }
    }

    /// `self` after `first`.
    pub fn after(&self, first: &Affine) -> Affine {
        Affine {
            x: self.vector(first.x),
            y: self.vector(first.y),
            z: self.vector(first.z),
            translation: self.point(first.translation),
        }
    }

    /// Where a point goes.
    pub fn point(&self, point: Vec3) -> Vec3 {
        self.vector(point) + self.translation
    }

    /// Where a direction goes; its length changes as the map stretches.
    pub fn vector(&self, vector: Vec3) -> Vec3 {
        self.x * vector.x + self.y * vector.y + self.z * vector.z
    }

    /// Adds `weight` times another map, as linear blend skinning does.
    pub fn add_scaled(&mut self, other: &Affine, weight: f32) {
        self.x += other.x * weight;
        self.y += other.y * weight;
        self.z += other.z * weight;
        self.translation += other.translation * weight;
    }

    /// How it treats directions, apart from their length.
    pub fn directions(&self) -> Directions {
        let largest = |v: Vec3| Vec3::max_component(vec3(v.x.abs(), v.y.abs(), v.z.abs()));
        let size = math::max(math::max(largest(self.x), largest(self.y)), largest(self.z));
        // Dividing by the largest entry keeps tiny and huge scales away from underflow and overflow.
        let size = if size > 0.0 { size } else { 1.0 };
        let tangents = [self.x / size, self.y / size, self.z / size];
        let [x, y, z] = tangents;
        let mirrored = x.cross(y).dot(z) < 0.0;
        let sign = if mirrored { -1.0 } else { 1.0 };
        Directions {
            tangents,
            normals: [y.cross(z) * sign, z.cross(x) * sign, x.cross(y) * sign],
            mirrored,
        }
    }
}

/// The linear part of an [`Affine`], scaled so that its largest entry is one: for normals and tangents.
#[derive(Debug, Clone, Copy)]
pub struct Directions {
    tangents: [Vec3; 3],
    normals: [Vec3; 3],
    /// Does the map turn a right hand into a left hand?
    pub mirrored: bool,
}

impl Directions {
    fn apply(columns: &[Vec3; 3], vector: Vec3) -> Vec3 {
        (columns[0] * vector.x + columns[1] * vector.y + columns[2] * vector.z).normalized()
    }

    /// A normal by the inverse transpose, with length one; zero when it has no direction any more.
    pub fn normal(&self, normal: Vec3) -> Vec3 {
        Self::apply(&self.normals, normal)
    }

    /// A direction along the surface, with length one; zero when it has no direction any more.
    pub fn tangent(&self, tangent: Vec3) -> Vec3 {
        Self::apply(&self.tangents, tangent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Vec3, b: Vec3) {
        assert!((a - b).length() < 1e-6, "{a:?} is not {b:?}");
    }

    fn about_z(degrees: f64) -> Quat {
        let half = degrees * (std::f64::consts::PI / 360.0);
        Quat::from_array([0.0, 0.0, libm::sin(half) as f32, libm::cos(half) as f32])
    }

    #[test]
    fn slerp_moves_by_equal_angles_along_the_shorter_arc() {
        let (from, to) = (Quat::IDENTITY, about_z(90.0));
        for (t, degrees) in [(0.0, 0.0), (1.0 / 3.0, 30.0), (0.5, 45.0), (1.0, 90.0)] {
            let expected = about_z(degrees);
            assert!((from.slerp(to, t).dot(expected) - 1.0).abs() < 1e-6, "{t}");
            let negated = Quat::from_array([-to.x, -to.y, -to.z, -to.w]);
            assert!(
                (from.slerp(negated, t).dot(expected) - 1.0).abs() < 1e-6,
                "{t}"
            );
        }
    }

    #[test]
    fn slerp_of_nearly_equal_rotations_stays_of_unit_length() {
        let mixed = about_z(10.0).slerp(about_z(10.001), 0.5);
        assert!((mixed.dot(mixed) - 1.0).abs() < 1e-6);
        assert!((mixed.dot(about_z(10.0005)) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_zero_quaternion_turns_nothing() {
        assert_eq!(Quat::from_array([0.0; 4]).normalized(), Quat::IDENTITY);
    }

    #[test]
    fn parts_are_scaled_then_rotated_then_translated() {
        let map = Affine::from_parts(vec3(10.0, 0.0, 0.0), about_z(90.0), vec3(2.0, 1.0, 1.0));
        close(map.point(vec3(1.0, 0.0, 0.0)), vec3(10.0, 2.0, 0.0));
        close(map.point(vec3(0.0, 1.0, 0.0)), vec3(9.0, 0.0, 0.0));
        let twice = map.after(&map);
        let point = vec3(0.3, -2.0, 5.0);
        close(twice.point(point), map.point(map.point(point)));
    }

    #[test]
    fn normals_stay_upright_on_stretched_and_mirrored_surfaces() {
        for scale in [
            vec3(4.0, 1.0, 1.0),
            vec3(-4.0, 1.0, 0.5),
            vec3(1e-20, 3e-20, 2e-20),
        ] {
            let map = Affine::from_parts(Vec3::ZERO, about_z(25.0), scale);
            let (edge_a, edge_b) = (vec3(1.0, -1.0, 0.0), vec3(0.0, 1.0, -1.0));
            let directions = map.directions();
            let normal = directions.normal(vec3(1.0, 1.0, 1.0));
            assert!((normal.length() - 1.0).abs() < 1e-6);
            assert!(normal.dot(directions.tangent(edge_a)).abs() < 1e-6);
            assert!(normal.dot(directions.tangent(edge_b)).abs() < 1e-6);
            assert!(normal.dot(directions.tangent(vec3(1.0, 1.0, 1.0))) > 0.0);
            assert_eq!(directions.mirrored, scale.x < 0.0);
        }
    }
}
