//! The node hierarchy: who is whose child, what the scene shows, and where every node is at an instant.

use super::error::{Fault, entry};
use super::schema;
use crate::math::Vec3;
use crate::transform::{Affine, Quat};

/// Where a node is in its parent when nothing animates it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placement {
    Matrix(Affine),
    Parts(Parts),
}

/// Translation, rotation and scale of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub translation: Vec3,
    pub rotation: Quat,
    pub scale: Vec3,
}

impl Placement {
    pub fn transform(&self) -> Affine {
        match self {
            Placement::Matrix(matrix) => *matrix,
            Placement::Parts(parts) => {
                Affine::from_parts(parts.translation, parts.rotation, parts.scale)
            }
        }
    }
}

/// A node as the file states it.
#[derive(Debug)]
pub(super) struct Node {
    pub name: Option<String>,
    pub placement: Placement,
    /// Weights of the morph targets, if the node states them itself.
    pub weights: Option<Vec<f32>>,
    pub mesh: Option<u32>,
    pub skin: Option<u32>,
    pub camera: Option<u32>,
    pub light: Option<u32>,
    parent: Option<usize>,
}

/// All nodes of a file.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub nodes: Vec<Node>,
    /// Nodes of the shown scene, depth first, children in their order: the order of everything in a world.
    pub shown: Vec<usize>,
    /// All nodes, each after its parent.
    parents_first: Vec<usize>,
}

impl Hierarchy {
    /// Takes the nodes over, and shows those below `roots`; without roots, all.
    pub fn new(mut entries: Vec<schema::Node>, roots: Option<&[u32]>) -> Result<Hierarchy, Fault> {
        let children: Vec<Vec<u32>> = entries
            .iter_mut()
            .map(|node| std::mem::take(&mut node.children))
            .collect();
        let mut nodes: Vec<Node> = entries.into_iter().map(node).collect();
        adopt(&mut nodes, &children)?;
        let orphans: Vec<u32> = (0..nodes.len() as u32)
            .filter(|&index| nodes[index as usize].parent.is_none())
            .collect();
        let parents_first = depth_first(&children, &orphans)?;
        // Every node but those of a cycle hangs below one that has no parent.
        if parents_first.len() != nodes.len() {
            return Err(Fault::damaged("some nodes are their own ancestors"));
        }
        let shown = match roots {
            Some(roots) => depth_first(&children, roots)?,
            None => parents_first.clone(),
        };
        Ok(Hierarchy {
            nodes,
            shown,
            parents_first,
        })
    }

    /// Places every node in the world, given where each is in its parent.
    pub fn globals(&self, placements: &[Placement]) -> Vec<Affine> {
        let mut globals = vec![Affine::IDENTITY; self.nodes.len()];
        for &index in &self.parents_first {
            let local = placements[index].transform();
            globals[index] = match self.nodes[index].parent {
                Some(parent) => globals[parent].after(&local),
                None => local,
            };
        }
        globals
    }
}

fn node(entry: schema::Node) -> Node {
    let placement = match &entry.matrix {
        Some(matrix) => Placement::Matrix(Affine::from_columns(matrix)),
        None => Placement::Parts(Parts {
            translation: entry.translation.map_or(Vec3::ZERO, Vec3::from),
            rotation: entry
                .rotation
                .map_or(Quat::IDENTITY, Quat::from_array)
                .normalized(),
            scale: entry.scale.map_or(Vec3::ONE, Vec3::from),
        }),
    };
    Node {
        name: entry.name,
        placement,
        weights: entry.weights,
        mesh: entry.mesh,
        skin: entry.skin,
        camera: entry.camera,
        light: entry.extensions.light.map(|used| used.light),
        parent: None,
    }
}

fn adopt(nodes: &mut [Node], children: &[Vec<u32>]) -> Result<(), Fault> {
    for (parent, children) in children.iter().enumerate() {
        for &child in children {
            entry(nodes, child, "node")?;
            let node = &mut nodes[child as usize];
            if node.parent.replace(parent).is_some() {
                return Err(Fault::Damaged(format!("node {child} has two parents")));
            }
        }
    }
    Ok(())
}

/// Visits nodes depth first, each once, with a stack of its own: a deep file must not overflow the thread's.
fn depth_first(children: &[Vec<u32>], roots: &[u32]) -> Result<Vec<usize>, Fault> {
    let mut seen = vec![false; children.len()];
    let mut order = Vec::new();
    let mut stack: Vec<u32> = roots.iter().rev().copied().collect();
    while let Some(index) = stack.pop() {
        let below = entry(children, index, "node")?;
        if !std::mem::replace(&mut seen[index as usize], true) {
            order.push(index as usize);
            stack.extend(below.iter().rev());
        }
    }
    Ok(order)
}
