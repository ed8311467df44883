//! Walking: nearest hit and any hit, children in the order of their distance.

use super::{Bvh, LEAF, Node, PACKET, WIDTH, triangle::Shear};
use crate::math::{Vec3, max, min, vec3};

/// Directions smaller than this along an axis are taken as this, so that no quotient is undefined.
const DIRECTION_MIN: f32 = 1e-20;
/// Widens the far end of a slab by its rounding error (Ize, "Robust BVH Ray Traversal", JCGT 2013).
const FAR_WIDENING: f32 = 1.0 + 4.0 * f32::EPSILON;

/// A ray: points `origin + t * direction` with `t_min < t <= t_max`. The direction need not have length one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ray {
    /// Where it starts.
    pub origin: Vec3,
    /// Where it goes.
    pub direction: Vec3,
    /// Hits must be beyond this, at least zero.
    pub t_min: f32,
    /// Hits must not be beyond this.
    pub t_max: f32,
}

impl Ray {
    /// A ray without an end.
    pub fn new(origin: Vec3, direction: Vec3) -> Ray {
        Ray {
            origin,
            direction,
            t_min: 0.0,
            t_max: f32::INFINITY,
        }
    }
}

/// Where a ray meets a triangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Along the ray, in lengths of its direction.
    pub t: f32,
    /// Index of the triangle in the list that the hierarchy was built from.
    pub triangle: u32,
    /// Weight of the second corner.
    pub v: f32,
    /// Weight of the third corner.
    pub w: f32,
    /// Does the ray come from where the corners run counter-clockwise?
    pub front: bool,
}

/// Decides which hits count: holes, culled back faces.
///
/// It is asked in an order that depends on the tree and may be asked about hits that turn out to lie behind the
/// nearest one, so its answer must depend on nothing but the hit.
pub trait HitFilter {
    /// Does this hit count?
    fn keep(&mut self, hit: &Hit) -> bool;
}

/// Every hit counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl HitFilter for KeepAll {
    fn keep(&mut self, _: &Hit) -> bool {
        true
    }
}

/// Scratch memory of a walk, to be used again for the next ray.
#[derive(Debug, Default)]
pub struct Traversal {
    /// Children still to visit with the distance at which the ray enters them, nearest last.
    stack: Vec<(u32, f32)>,
}

/// A ray prepared for slab tests.
struct Slabs {
    origin: Vec3,
    inverse: Vec3,
    negative: [bool; 3],
    t_min: f32,
}

impl Slabs {
    fn new(ray: &Ray) -> Slabs {
        let inverse = |component: f32| {
            1.0 / if component.abs() < DIRECTION_MIN {
                DIRECTION_MIN
            } else {
                component
            }
        };
        let direction = ray.direction;
        let inverse = vec3(
            inverse(direction.x),
            inverse(direction.y),
            inverse(direction.z),
        );
        Slabs {
            origin: ray.origin,
            inverse,
            negative: [inverse.x < 0.0, inverse.y < 0.0, inverse.z < 0.0],
            t_min: ray.t_min,
        }
    }

    /// Distances at which the children are entered, and the set of those that are.
    #[inline(always)]
    fn enter(&self, node: &Node, t_max: f32) -> ([f32; WIDTH], u32) {
        let mut near = [self.t_min; WIDTH];
        let mut far = [t_max; WIDTH];
        for axis in 0..3 {
            let (first, last) = match self.negative[axis] {
                false => (&node.low[axis], &node.high[axis]),
                true => (&node.high[axis], &node.low[axis]),
            };
            let (origin, inverse) = (self.origin[axis], self.inverse[axis]);
            for i in 0..WIDTH {
                near[i] = max((first[i] - origin) * inverse, near[i]);
                far[i] = min((last[i] - origin) * inverse, far[i]);
            }
        }
        let mut mask = 0;
        for i in 0..WIDTH {
            mask |= u32::from(near[i] <= far[i] * FAR_WIDENING) << i;
        }
        (near, mask)
    }
}

impl Bvh {
    /// The nearest hit that the filter keeps.
    pub fn nearest(
        &self,
        ray: &Ray,
        filter: &mut impl HitFilter,
        traversal: &mut Traversal,
    ) -> Option<Hit> {
        self.walk::<false>(ray, filter, traversal)
    }

    /// Is there any hit that the filter keeps? The filter sees each hit at most once, and every hit until it
    /// keeps one.
    pub fn occluded(
        &self,
        ray: &Ray,
        filter: &mut impl HitFilter,
        traversal: &mut Traversal,
    ) -> bool {
        self.walk::<true>(ray, filter, traversal).is_some()
    }

    #[inline]
    fn walk<const ANY: bool>(
        &self,
        ray: &Ray,
        filter: &mut impl HitFilter,
        traversal: &mut Traversal,
    ) -> Option<Hit> {
        let (slabs, shear) = (Slabs::new(ray), Shear::new(ray.direction));
        let stack = &mut traversal.stack;
        stack.clear();
        let mut best: Option<Hit> = None;
        let mut t_max = ray.t_max;
        let mut current = 0;
        loop {
            if current & LEAF == 0 {
                let node = &self.nodes[current as usize];
                let (near, mask) = slabs.enter(node, t_max);
                if push_in_order(stack, node, &near, mask) {
                    // The nearest child is on top: no need to look at its distance again.
                    if let Some((child, _)) = stack.pop() {
                        current = child;
                        continue;
                    }
                }
            } else {
                self.meet_packet(current & !LEAF, ray, &shear, filter, &mut best);
                if let Some(hit) = best {
                    if ANY {
                        return best;
                    }
                    t_max = hit.t;
                }
            }
            current = loop {
                match stack.pop() {
                    None => return best,
                    Some((child, near)) if near <= t_max => break child,
                    Some(_) => {}
                }
            };
        }
    }

    #[inline(always)]
    fn meet_packet(
        &self,
        packet: u32,
        ray: &Ray,
        shear: &Shear,
        filter: &mut impl HitFilter,
        best: &mut Option<Hit>,
    ) {
        let packet = &self.packets[packet as usize];
        let t_max = best.map_or(ray.t_max, |hit| hit.t);
        let hits = packet.intersect(ray, shear, t_max);
        if hits.mask == 0 {
            return;
        }
        for lane in 0..PACKET {
            if hits.mask & 1 << lane == 0 {
                continue;
            }
            let (t, triangle) = (hits.t[lane], packet.indices[lane]);
            let is_nearer = best
                .is_none_or(|best: Hit| t < best.t || (t == best.t && triangle < best.triangle));
            if is_nearer {
                let determinant = hits.determinant[lane];
                let hit = Hit {
                    t,
                    triangle,
                    v: hits.v[lane] / determinant,
                    w: hits.w[lane] / determinant,
                    front: determinant > 0.0,
                };
                if filter.keep(&hit) {
                    *best = Some(hit);
                }
            }
        }
    }
}

/// Pushes the children in `mask`, the nearest last; says whether there were any.
#[inline(always)]
fn push_in_order(
    stack: &mut Vec<(u32, f32)>,
    node: &Node,
    near: &[f32; WIDTH],
    mut mask: u32,
) -> bool {
    let start = stack.len();
    while mask != 0 {
        let lane = mask.trailing_zeros() as usize % WIDTH;
        mask &= mask - 1;
        stack.push((node.children[lane], near[lane]));
        let mut at = stack.len() - 1;
        while at > start && stack[at - 1].1 < stack[at].1 {
            stack.swap(at - 1, at);
            at -= 1;
        }
    }
    stack.len() > start
}
