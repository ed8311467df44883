//! Simulations of geometry nodes, and whether they were baked.

use crate::{dependencies::NODE_BAKE_OWN_FOLDER, limits, paths, view::View};
use std::path::{Path, PathBuf};

/// How deep groups of nodes lie in groups.
const DEPTH_MAX: usize = 32;

/// Has the modifier simulations, and if so, are all of them baked? From 4.1 on each has an entry for its bake.
pub(crate) fn simulations_baked(modifier: &View<'_>, file: &Path) -> Option<bool> {
    let group = modifier.follow("node_group")?;
    let mut groups_left = limits::FILES_MAX;
    if !simulates(&group, DEPTH_MAX, &mut groups_left) {
        return None;
    }
    let bakes = modifier.array("bakes");
    let mut simulations = bakes
        .iter()
        .filter(|bake| is_simulation(&group, bake.integer("id")))
        .peekable();
    let has_any = simulations.peek().is_some();
    Some(has_any && simulations.all(|bake| is_baked(modifier, bake, file)))
}

fn simulates(group: &View<'_>, depth: usize, groups_left: &mut usize) -> bool {
    group.list("nodes").any(|node| {
        if node.text("idname").as_deref() == Some("GeometryNodeSimulationOutput") {
            return true;
        }
        let inner = node.follow("id");
        let inner = inner.filter(|inner| inner.struct_name() == "bNodeTree");
        *groups_left = groups_left.saturating_sub(1);
        depth > 0
            && *groups_left > 0
            && inner.is_some_and(|inner| simulates(&inner, depth - 1, groups_left))
    })
}

/// Does this number lead to a simulation? It may be in a group within the group, which has its own number for it.
fn is_simulation(group: &View<'_>, number: Option<i64>) -> bool {
    let (mut group, mut number) = (*group, number);
    for _ in 0..DEPTH_MAX {
        let references = group.array("nested_node_refs");
        let reference = references.iter().find(|r| r.integer("id") == number);
        let Some(reference) = reference else {
            return false;
        };
        let wanted = reference.integer("path.node_id");
        let mut nodes = group.list("nodes");
        let Some(node) = nodes.find(|node| node.integer("identifier") == wanted) else {
            return false;
        };
        match node.follow("id").filter(|_| is_group(&node)) {
            Some(inner) => (group, number) = (inner, reference.integer("path.id_in_node")),
            None => {
                return node.text("idname").as_deref() == Some("GeometryNodeSimulationOutput");
            }
        }
    }
    false
}

fn is_group(node: &View<'_>) -> bool {
    node.text("idname").as_deref() == Some("GeometryNodeGroup")
}

/// Is it packed into the file, or are there files of it?
fn is_baked(modifier: &View<'_>, bake: &View<'_>, file: &Path) -> bool {
    bake.pointer("packed").is_some()
        || folder(modifier, bake, file)
            .is_some_and(|folder| !paths::files_below(&folder.join("meta")).is_empty())
}

fn folder(modifier: &View<'_>, bake: &View<'_>, file: &Path) -> Option<PathBuf> {
    let beside = file.parent()?;
    if bake.has("flag", NODE_BAKE_OWN_FOLDER) {
        return Some(paths::resolve(&bake.text("directory")?, beside));
    }
    let shared = modifier.text("simulation_bake_directory")?;
    let number = bake.integer("id")?;
    Some(paths::resolve(&shared, beside).join(number.to_string()))
}
