//! What the compositor of a scene reads besides what is rendered, and where it writes by itself.

use crate::{limits, view::View};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};

const NODE_MUTED: i64 = 1 << 9;

/// The nodes that work on rendered frames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compositor {
    /// Names of the pictures that it reads.
    pub images: BTreeSet<String>,
    /// Names of the footage that it reads.
    pub movie_clips: BTreeSet<String>,
    /// Where its File Output nodes write, as it stands in the file.
    pub writes: BTreeSet<String>,
}

/// The compositor of a scene, where it has one. From 5.0 on its nodes are a group of the scene; before, a tree that could
/// be switched off.
pub(crate) fn of(scene: &View<'_>) -> Option<Compositor> {
    let tree = match scene.has_field("compositing_node_group") {
        true => scene.follow("compositing_node_group"),
        false => {
            let tree = scene.follow("nodetree");
            tree.filter(|_| scene.has("use_nodes", 0xff))
        }
    }?;
    let (mut found, mut seen) = (Compositor::default(), HashSet::new());
    let mut waiting = vec![tree];
    while let Some(tree) = waiting.pop() {
        if !seen.insert((tree.datablock(), tree.text("id.name"))) || seen.len() > limits::FILES_MAX
        {
            continue;
        }
        let nodes = tree
            .list("nodes")
            .filter(|node| !node.has("flag", NODE_MUTED));
        waiting.extend(nodes.filter_map(|node| found.add(&node)));
    }
    Some(found)
}

impl Compositor {
    /// Adds what a node reads and writes; gives the group that it is, if it is one.
    fn add<'a>(&mut self, node: &View<'a>) -> Option<View<'a>> {
        let kind = node.text("idname")?;
        if kind == "CompositorNodeOutputFile" {
            let storage = node.follow("storage");
            self.writes
                .extend(storage.and_then(|storage| storage.text("base_path")));
        }
        let read = node.follow("id")?;
        match (kind.as_str(), read.struct_name()) {
            (_, "bNodeTree") => return Some(read),
            // Viewers have pictures too, which they write.
            ("CompositorNodeImage", _) => self.images.extend(read.id_name()),
            (_, "MovieClip") => self.movie_clips.extend(read.id_name()),
            _ => {}
        }
        None
    }
}
