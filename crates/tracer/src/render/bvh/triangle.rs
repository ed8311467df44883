//! Ray against a packet of triangles: watertight, after Woop, Benthin and Wald, "Watertight Ray/Triangle
//! Intersection", JCGT 2013. Edges and corners belong to both sides, so the paper's second pass in double
//! precision is not needed.

use super::{PACKET, Ray};
use crate::math::{Vec3, max, min};

/// Triangles side by side. Unused lanes are degenerate, which no ray hits.
#[derive(Debug, Clone)]
pub(super) struct TrianglePacket {
    /// By corner, by axis, by lane.
    corners: [[[f32; PACKET]; 3]; 3],
    /// Indices in the caller's list.
    pub indices: [u32; PACKET],
}

/// What a ray meets in each lane; only lanes set in `mask` mean anything.
pub(super) struct PacketHits {
    pub mask: u32,
    pub t: [f32; PACKET],
    /// Twice the signed area as the ray sees it: positive from the front.
    pub determinant: [f32; PACKET],
    /// Weight of the second corner times the determinant.
    pub v: [f32; PACKET],
    /// Weight of the third corner times the determinant.
    pub w: [f32; PACKET],
}

/// A ray's direction as an axis to look along and a shear that makes it that axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shear {
    axes: [usize; 3],
    factors: [f32; 3],
}

impl Shear {
    pub fn new(direction: Vec3) -> Shear {
        let size = direction.to_array().map(f32::abs);
        let z = match (size[0] > size[1], size[0] > size[2], size[1] > size[2]) {
            (true, true, _) => 0,
            (false, _, true) => 1,
            _ => 2,
        };
        let (mut x, mut y) = ((z + 1) % 3, (z + 2) % 3);
        // Keeps the winding that decides front and back.
        if direction[z] < 0.0 {
            std::mem::swap(&mut x, &mut y);
        }
        Shear {
            axes: [x, y, z],
            factors: [
                direction[x] / direction[z],
                direction[y] / direction[z],
                1.0 / direction[z],
            ],
        }
    }
}

impl TrianglePacket {
    pub const EMPTY: TrianglePacket = TrianglePacket {
        corners: [[[0.0; PACKET]; 3]; 3],
        indices: [u32::MAX; PACKET],
    };

    pub fn set(&mut self, lane: usize, index: u32, corners: &[Vec3; 3]) {
        self.indices[lane] = index;
        for (lanes, corner) in self.corners.iter_mut().zip(corners) {
            for axis in 0..3 {
                lanes[axis][lane] = corner[axis];
            }
        }
    }

    /// Hits with `ray.t_min < t <= t_max`, from both sides.
    #[inline]
    pub fn intersect(&self, ray: &Ray, shear: &Shear, t_max: f32) -> PacketHits {
        let [ax, ay, az] = self.sheared(0, ray.origin, shear);
        let [bx, by, bz] = self.sheared(1, ray.origin, shear);
        let [cx, cy, cz] = self.sheared(2, ray.origin, shear);
        let mut hits = PacketHits {
            mask: 0,
            t: [0.0; PACKET],
            determinant: [0.0; PACKET],
            v: [0.0; PACKET],
            w: [0.0; PACKET],
        };
        let mut inside = [false; PACKET];
        for i in 0..PACKET {
            let u = cx[i] * by[i] - cy[i] * bx[i];
            let v = ax[i] * cy[i] - ay[i] * cx[i];
            let w = bx[i] * ay[i] - by[i] * ax[i];
            let determinant = u + v + w;
            let t = (u * az[i] + v * bz[i] + w * cz[i]) / determinant;
            let one_side = (min(min(u, v), w) >= 0.0) | (max(max(u, v), w) <= 0.0);
            // A zero determinant makes t infinite or not a number, and fails here.
            inside[i] = one_side & (t > ray.t_min) & (t <= t_max) & (determinant != 0.0);
            (hits.t[i], hits.determinant[i]) = (t, determinant);
            (hits.v[i], hits.w[i]) = (v, w);
        }
        for (lane, &inside) in inside.iter().enumerate() {
            hits.mask |= u32::from(inside) << lane;
        }
        hits
    }

    /// One corner of each triangle, seen from the ray's origin with the ray as the z axis.
    #[inline(always)]
    fn sheared(&self, corner: usize, origin: Vec3, shear: &Shear) -> [[f32; PACKET]; 3] {
        let [x, y, z] = shear.axes;
        let lanes = &self.corners[corner];
        let (xs, ys, zs) = (&lanes[x], &lanes[y], &lanes[z]);
        let (origin_x, origin_y, origin_z) = (origin[x], origin[y], origin[z]);
        let mut out = [[0.0; PACKET]; 3];
        for i in 0..PACKET {
            let depth = zs[i] - origin_z;
            out[0][i] = xs[i] - origin_x - shear.factors[0] * depth;
            out[1][i] = ys[i] - origin_y - shear.factors[1] * depth;
            out[2][i] = shear.factors[2] * depth;
        }
        out
    }
}
