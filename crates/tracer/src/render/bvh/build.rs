//! Building: binary by the binned surface area heuristic (Wald 2007), then folded into wide nodes.

use super::{Aabb, Bvh, COORDINATE_MAX, LEAF, Node, PACKET, TrianglePacket, WIDTH};
use crate::math::{Vec3, vec3};
use rayon::prelude::*;

/// Bins an axis is cut into when a split is sought.
const BINS: usize = 16;
/// What visiting a binary node costs, in tests of one packet.
const NODE_COST: f32 = 0.6;
/// From this depth on, halves are split by count, which bounds the depth whatever the triangles are.
const DEPTH_HEURISTIC_MAX: u32 = 64;
/// Subtrees of fewer triangles are built by one thread.
const PARALLEL_MIN: usize = 4096;

/// A triangle while it is sorted.
#[derive(Clone, Copy)]
struct Primitive {
    bounds: Aabb,
    index: u32,
}

impl Primitive {
    /// Twice the middle of the box.
    fn center(&self) -> Vec3 {
        self.bounds.low + self.bounds.high
    }
}

/// A node of the binary tree, in one array: a subtree of n triangles fills at most 2n - 1 places.
#[derive(Clone, Copy)]
struct BinaryNode {
    bounds: Aabb,
    /// Triangles, when it is a leaf; else zero.
    count: u32,
    /// Start of the leaf's triangles, or index of the right child (the left one follows the node).
    first: u32,
}

const UNUSED: BinaryNode = BinaryNode {
    bounds: Aabb::EMPTY,
    count: 0,
    first: 0,
};

pub(super) fn build(triangles: &[[Vec3; 3]]) -> Bvh {
    let mut primitives: Vec<Primitive> = triangles
        .par_iter()
        .enumerate()
        .filter(|(_, corners)| corners.iter().all(|&corner| is_sound(corner)))
        .map(|(index, corners)| Primitive {
            bounds: Aabb::of_triangle(corners),
            index: index as u32,
        })
        .collect();
    if primitives.is_empty() {
        return Bvh {
            nodes: vec![Node::EMPTY],
            packets: Vec::new(),
            bounds: Aabb::EMPTY,
        };
    }
    let mut tree = vec![UNUSED; primitives.len() * 2 - 1];
    let places = Places {
        node: 0,
        primitive: 0,
    };
    split(&mut tree, &mut primitives, places, 0);
    let mut fold = Fold {
        tree: &tree,
        primitives: &primitives,
        triangles,
        nodes: vec![Node::EMPTY],
        packets: Vec::with_capacity(primitives.len() / 2),
    };
    fold.fold_into(0, 0);
    Bvh {
        bounds: tree[0].bounds,
        nodes: fold.nodes,
        packets: fold.packets,
    }
}

fn is_sound(corner: Vec3) -> bool {
    corner
        .to_array()
        .iter()
        .all(|coordinate| coordinate.abs() <= COORDINATE_MAX)
}

/// Where the slices that a subtree works on begin in the whole arrays.
#[derive(Clone, Copy)]
struct Places {
    node: u32,
    primitive: u32,
}

/// Fills `tree[0]` and what follows with the subtree over `primitives`, which it sorts.
fn split(tree: &mut [BinaryNode], primitives: &mut [Primitive], at: Places, depth: u32) {
    let count = primitives.len();
    let (mut bounds, mut centers) = (Aabb::EMPTY, Aabb::EMPTY);
    for primitive in primitives.iter() {
        bounds = bounds.union(&primitive.bounds);
        centers.grow(primitive.center());
    }
    let leaf = BinaryNode {
        bounds,
        count: count as u32,
        first: at.primitive,
    };
    let best = match depth < DEPTH_HEURISTIC_MAX && count > 1 {
        true => best_split(primitives, &centers),
        false => None,
    };
    let left_count = match best {
        Some(best) if count > PACKET || best.cost < (1.0 - NODE_COST) * bounds.half_area() => {
            partition(primitives, |primitive| best.is_left(primitive))
        }
        _ if count > PACKET => count / 2,
        _ => {
            tree[0] = leaf;
            return;
        }
    };
    let (left_tree, right_tree) = tree[1..].split_at_mut(left_count * 2 - 1);
    let (left, right) = primitives.split_at_mut(left_count);
    let left_at = Places {
        node: at.node + 1,
        primitive: at.primitive,
    };
    let right_at = Places {
        node: at.node + left_count as u32 * 2,
        primitive: at.primitive + left_count as u32,
    };
    if count >= PARALLEL_MIN {
        rayon::join(
            || split(left_tree, left, left_at, depth + 1),
            || split(right_tree, right, right_at, depth + 1),
        );
    } else {
        split(left_tree, left, left_at, depth + 1);
        split(right_tree, right, right_at, depth + 1);
    }
    tree[0] = BinaryNode {
        bounds,
        count: 0,
        first: right_at.node,
    };
}

/// Moves what is left to the front; returns how many. Both sides must get something.
fn partition(primitives: &mut [Primitive], is_left: impl Fn(&Primitive) -> bool) -> usize {
    let mut left = 0;
    for at in 0..primitives.len() {
        if is_left(&primitives[at]) {
            primitives.swap(left, at);
            left += 1;
        }
    }
    left
}

/// A plane between two bins.
#[derive(Clone, Copy)]
struct Split {
    axis: usize,
    low: f32,
    scale: f32,
    /// Bins below this one go left.
    bin: usize,
    /// Sum over both sides of half area times packets.
    cost: f32,
}

impl Split {
    fn is_left(&self, primitive: &Primitive) -> bool {
        bin_of(primitive.center()[self.axis], self.low, self.scale) < self.bin
    }
}

fn bin_of(center: f32, low: f32, scale: f32) -> usize {
    (((center - low) * scale) as usize).min(BINS - 1)
}

/// The cheapest plane with something on either side.
fn best_split(primitives: &[Primitive], centers: &Aabb) -> Option<Split> {
    let extent = centers.high - centers.low;
    let scale = vec3(
        BINS as f32 / extent.x,
        BINS as f32 / extent.y,
        BINS as f32 / extent.z,
    );
    let mut bins = [[(Aabb::EMPTY, 0usize); BINS]; 3];
    for primitive in primitives {
        let center = primitive.center();
        for (axis, bins) in bins.iter_mut().enumerate() {
            let (bounds, count) = &mut bins[bin_of(center[axis], centers.low[axis], scale[axis])];
            *bounds = bounds.union(&primitive.bounds);
            *count += 1;
        }
    }
    let mut best: Option<Split> = None;
    for (axis, bins) in bins.iter().enumerate() {
        // An axis without extent has an infinite scale and everything in one bin.
        if !scale[axis].is_finite() {
            continue;
        }
        for (bin, cost) in plane_costs(bins) {
            if best.is_none_or(|best| cost < best.cost) {
                best = Some(Split {
                    axis,
                    low: centers.low[axis],
                    scale: scale[axis],
                    bin,
                    cost,
                });
            }
        }
    }
    best
}

/// Cost of each plane that has something on either side.
fn plane_costs(bins: &[(Aabb, usize); BINS]) -> impl Iterator<Item = (usize, f32)> {
    let cost = |bounds: &Aabb, count: usize| bounds.half_area() * (count.div_ceil(PACKET) as f32);
    let mut right_costs = [0.0; BINS];
    let (mut right, mut right_count) = (Aabb::EMPTY, 0);
    for (at, (bounds, count)) in bins.iter().enumerate().rev() {
        right = right.union(bounds);
        right_count += count;
        right_costs[at] = cost(&right, right_count);
    }
    let total = right_count;
    let (mut left, mut left_count) = (Aabb::EMPTY, 0);
    (1..BINS).filter_map(move |bin| {
        let (bounds, count) = &bins[bin - 1];
        left = left.union(bounds);
        left_count += count;
        (left_count > 0 && left_count < total)
            .then(|| (bin, cost(&left, left_count) + right_costs[bin]))
    })
}

/// Folding of the binary tree into wide nodes.
struct Fold<'a> {
    tree: &'a [BinaryNode],
    primitives: &'a [Primitive],
    triangles: &'a [[Vec3; 3]],
    nodes: Vec<Node>,
    packets: Vec<TrianglePacket>,
}

impl Fold<'_> {
    /// Makes wide node `target` of what hangs below `root`.
    fn fold_into(&mut self, root: u32, target: usize) {
        let (members, count) = self.members(root);
        let members = &members[..count];
        let inner = members.iter().filter(|&&at| !self.is_leaf(at)).count();
        let mut next = self.nodes.len();
        self.nodes.resize(next + inner, Node::EMPTY);
        for (lane, &at) in members.iter().enumerate() {
            let node = self.tree[at as usize];
            let reference = if self.is_leaf(at) {
                self.packets.push(self.packet(&node));
                LEAF | (self.packets.len() - 1) as u32
            } else {
                next += 1;
                (next - 1) as u32
            };
            self.nodes[target].set_child(lane, &node.bounds, reference);
            if reference & LEAF == 0 {
                self.fold_into(at, reference as usize);
            }
        }
    }

    fn is_leaf(&self, at: u32) -> bool {
        self.tree[at as usize].count > 0
    }

    /// Up to [`WIDTH`] nodes that together cover `root`: the one with the largest box is opened again and again.
    fn members(&self, root: u32) -> ([u32; WIDTH], usize) {
        let mut members = [root; WIDTH];
        let mut count = 1;
        while count < WIDTH {
            let mut largest: Option<(usize, f32)> = None;
            for (lane, &at) in members[..count].iter().enumerate() {
                let area = self.tree[at as usize].bounds.half_area();
                if !self.is_leaf(at) && largest.is_none_or(|(_, most)| area > most) {
                    largest = Some((lane, area));
                }
            }
            let Some((lane, _)) = largest else { break };
            let opened = members[lane];
            members[lane] = opened + 1;
            members[count] = self.tree[opened as usize].first;
            count += 1;
        }
        (members, count)
    }

    fn packet(&self, leaf: &BinaryNode) -> TrianglePacket {
        let members = &self.primitives[leaf.first as usize..][..leaf.count as usize];
        let mut packet = TrianglePacket::EMPTY;
        for (lane, primitive) in members.iter().enumerate() {
            packet.set(
                lane,
                primitive.index,
                &self.triangles[primitive.index as usize],
            );
        }
        packet
    }
}
