//! What moves by simulation, so that a frame cannot be rendered without those before it, unless it was baked.

use crate::view::View;
use serde::Serialize;

// Bits and numbers as Blender has them.
const HIDDEN_IN_RENDERS: i64 = 1 << 2;
const MODIFIER_RENDERS: i64 = 1 << 1;
const CACHE_BAKED: i64 = 1 << 0;
const FLUID_DOMAIN: i64 = 1 << 0;
/// Any of data, noise, mesh, particles and guiding.
const FLUID_BAKED: i64 = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 9;
const RIGID_WORLD_MUTED: i64 = 1 << 0;
const RIGID_BODY_PASSIVE: i64 = 1;
const RIGID_BODY_KINEMATIC: i64 = 1 << 0;
/// Grease pencil objects before 4.3 and after.
const GREASE_PENCILS: [i64; 2] = [26, 30];

/// A simulation that renders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// What it is and where, for a person.
    pub name: String,
    /// Is its result stored?
    pub baked: bool,
}

/// The objects of the scene.
pub(crate) fn objects<'a>(scene: &View<'a>) -> Vec<View<'a>> {
    let layer = scene.list("view_layers").next();
    let bases = layer.map(|layer| layer.list("object_bases"));
    bases
        .into_iter()
        .flatten()
        .filter_map(|base| base.follow("object"))
        .collect()
}

pub(crate) fn of(scene: &View<'_>) -> Vec<Simulation> {
    let objects = objects(scene);
    let mut found: Vec<Simulation> = rigid_bodies(scene, &objects).into_iter().collect();
    for object in objects.iter().filter(|object| renders(object)) {
        let modifiers = object.list("modifiers");
        found.extend(modifiers.filter_map(|modifier| of_modifier(object, &modifier)));
    }
    found
}

/// Names of the scene's grease pencil objects that render.
pub(crate) fn grease_pencils(scene: &View<'_>) -> Vec<String> {
    let is_one = |object: &View<'_>| {
        let kind = object.integer("type");
        renders(object) && kind.is_some_and(|kind| GREASE_PENCILS.contains(&kind))
    };
    let found = objects(scene).into_iter().filter(is_one);
    found.filter_map(|object| object.id_name()).collect()
}

fn renders(object: &View<'_>) -> bool {
    let field = ["visibility_flag", "restrictflag"]
        .into_iter()
        .find(|field| object.has_field(field));
    field.is_some_and(|field| !object.has(field, HIDDEN_IN_RENDERS))
}

fn rigid_bodies(scene: &View<'_>, objects: &[View<'_>]) -> Option<Simulation> {
    let world = scene.follow("rigidbody_world")?;
    world.pointer("group")?;
    let moves = |object: &View<'_>| {
        object.follow("rigidbody_object").is_some_and(|body| {
            !body.has("flag", RIGID_BODY_KINEMATIC)
                && body.integer("type") != Some(RIGID_BODY_PASSIVE)
        })
    };
    if world.has("flag", RIGID_WORLD_MUTED) || !objects.iter().any(moves) {
        return None;
    }
    let cache = world
        .follow("shared")
        .and_then(|shared| shared.follow("pointcache"));
    Some(Simulation {
        name: "rigid bodies".into(),
        baked: is_baked(cache),
    })
}

fn is_baked(cache: Option<View<'_>>) -> bool {
    cache.is_some_and(|cache| cache.has("flag", CACHE_BAKED))
}

fn of_modifier(object: &View<'_>, modifier: &View<'_>) -> Option<Simulation> {
    if !modifier.has("modifier.mode", MODIFIER_RENDERS) {
        return None;
    }
    let baked = match modifier.struct_name() {
        "ClothModifierData" => is_baked(modifier.follow("point_cache")),
        "SoftbodyModifierData" => {
            let shared = object.follow("soft").and_then(|soft| soft.follow("shared"));
            is_baked(shared.and_then(|shared| shared.follow("pointcache")))
        }
        "FluidModifierData" if modifier.has("type", FLUID_DOMAIN) => {
            let domain = modifier.follow("domain");
            domain.is_some_and(|domain| domain.has("cache_flag", FLUID_BAKED))
        }
        // Bakes of nodes are files that only Blender can match with its nodes.
        "NodesModifierData" if simulates(modifier) => false,
        _ => return None,
    };
    let name = modifier.text("modifier.name").unwrap_or_default();
    let owner = object.id_name().unwrap_or_default();
    Some(Simulation {
        name: format!("{name} of {owner}"),
        baked,
    })
}

fn simulates(modifier: &View<'_>) -> bool {
    let Some(group) = modifier.follow("node_group") else {
        return false;
    };
    group
        .list("nodes")
        .any(|node| node.text("idname").as_deref() == Some("GeometryNodeSimulationOutput"))
}
