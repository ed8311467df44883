//! A bounding volume hierarchy over triangles: what answers "what does this ray hit first?".
//!
//! [`build`] makes a binary tree with the surface area heuristic and folds it into a tree of [`WIDTH`] children
//! a node; [`traverse`] walks it. Both work lane by lane on fixed arrays, which the compiler may or may not turn
//! into vector instructions: the bits are the same. Among hits at equal distance the triangle with the lowest
//! index wins, so an answer does not depend on the shape of the tree.

mod build;
mod traverse;
mod triangle;

use crate::math::{Vec3, max, min};
use triangle::TrianglePacket;

pub use traverse::{Hit, HitFilter, KeepAll, Ray, Traversal};

/// Children of a node.
pub const WIDTH: usize = 4;
/// Triangles that are intersected together, and the most in a leaf.
pub const PACKET: usize = 4;
/// Triangles with a coordinate beyond this are left out: squares of lengths would overflow.
pub const COORDINATE_MAX: f32 = 1e18;
/// Most triangles of one hierarchy: references to leaves spend one bit.
pub const TRIANGLES_MAX: usize = (1 << 31) - 1;

/// Marks a child that is a leaf; the rest of the bits are then the index of its packet.
const LEAF: u32 = 1 << 31;

/// An axis-aligned box; empty when a lower bound is above an upper one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aabb {
    /// Lower corner.
    pub low: Vec3,
    /// Upper corner.
    pub high: Vec3,
}

impl Aabb {
    /// Contains nothing.
    pub const EMPTY: Aabb = Aabb {
        low: Vec3::splat(f32::INFINITY),
        high: Vec3::splat(f32::NEG_INFINITY),
    };

    fn of_triangle([a, b, c]: &[Vec3; 3]) -> Aabb {
        Aabb {
            low: a.min(*b).min(*c),
            high: a.max(*b).max(*c),
        }
    }

    fn union(&self, other: &Aabb) -> Aabb {
        Aabb {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    fn grow(&mut self, point: Vec3) {
        self.low = self.low.min(point);
        self.high = self.high.max(point);
    }

    /// Half of the surface area; zero when empty.
    fn half_area(&self) -> f32 {
        let size = self.high - self.low;
        if size.x >= 0.0 {
            size.x * size.y + size.y * size.z + size.z * size.x
        } else {
            0.0
        }
    }

    /// Grown by a few units in the last place of its largest coordinate, so that rounding in the slab test and
    /// rays that run exactly along a face lose nothing.
    fn padded(&self) -> Aabb {
        let largest = max(
            max(self.low.max_component(), -min_component(self.low)),
            max(self.high.max_component(), -min_component(self.high)),
        );
        let margin = Vec3::splat(largest * (2.0 * f32::EPSILON) + f32::MIN_POSITIVE);
        Aabb {
            low: self.low - margin,
            high: self.high + margin,
        }
    }
}

fn min_component(v: Vec3) -> f32 {
    min(min(v.x, v.y), v.z)
}

/// A node: the boxes of its children, lane by lane, and where they are.
#[derive(Debug, Clone)]
struct Node {
    /// By axis, by child.
    low: [[f32; WIDTH]; 3],
    /// By axis, by child. Unused children have empty boxes.
    high: [[f32; WIDTH]; 3],
    /// Index of a node, or of a packet where [`LEAF`] is set.
    children: [u32; WIDTH],
}

impl Node {
    const EMPTY: Node = Node {
        low: [[f32::INFINITY; WIDTH]; 3],
        high: [[f32::NEG_INFINITY; WIDTH]; 3],
        children: [LEAF; WIDTH],
    };

    fn set_child(&mut self, lane: usize, bounds: &Aabb, reference: u32) {
        let padded = bounds.padded();
        for axis in 0..3 {
            self.low[axis][lane] = padded.low[axis];
            self.high[axis][lane] = padded.high[axis];
        }
        self.children[lane] = reference;
    }
}

/// The hierarchy over a list of triangles.
#[derive(Debug)]
pub struct Bvh {
    nodes: Vec<Node>,
    packets: Vec<TrianglePacket>,
    bounds: Aabb,
}

impl Bvh {
    /// Builds the hierarchy, on several threads of the current rayon pool; the result does not depend on how many.
    ///
    /// A hit names the index of its triangle in this list. Triangles with a coordinate that is not finite or
    /// beyond [`COORDINATE_MAX`] are left out, as are those past [`TRIANGLES_MAX`].
    pub fn build(triangles: &[[Vec3; 3]]) -> Bvh {
        build::build(&triangles[..triangles.len().min(TRIANGLES_MAX)])
    }

    /// The box around all triangles that are in.
    pub fn bounds(&self) -> Aabb {
        self.bounds
    }

    /// Bytes that the nodes and triangles take.
    pub fn byte_size(&self) -> usize {
        std::mem::size_of_val(&self.nodes[..]) + std::mem::size_of_val(&self.packets[..])
    }
}
