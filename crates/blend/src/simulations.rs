//! What moves by simulation, so that a frame cannot be rendered without those before it, unless it was baked.

use crate::{node_bakes, particles, paths, view::View};
use serde::Serialize;
use std::path::Path;

// Bits and numbers as Blender has them.
const HIDDEN_IN_RENDERS: i64 = 1 << 2;
const MODIFIER_RENDERS: i64 = 1 << 1;
const CACHE_BAKED: i64 = 1 << 0;
const CACHE_ON_DISK: i64 = 1 << 6;
pub(crate) const CACHE_EXTERNAL: i64 = 1 << 9;
const FLUID_DOMAIN: i64 = 1 << 0;
/// Any of data, noise, mesh, particles and guiding.
const FLUID_BAKED: i64 = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 9;
const PAINT_CANVAS: i64 = 1 << 0;
const PAINT_SURFACE_ACTIVE: i64 = 1 << 0;
/// Paint that lies in the points of a mesh; other paint is written to pictures.
const PAINT_IN_POINTS: i64 = 1;
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

/// Those of a scene of this file.
pub(crate) fn of(scene: &View<'_>, file: &Path) -> Vec<Simulation> {
    let objects = objects(scene);
    let bodies = rigid_bodies(scene, &objects, &PointCaches { file });
    bodies
        .into_iter()
        .chain(of_objects(&objects, file))
        .collect()
}

/// Those of objects of this file that render.
pub(crate) fn of_objects(objects: &[View<'_>], file: &Path) -> Vec<Simulation> {
    let caches = PointCaches { file };
    let rendered = objects.iter().filter(|object| renders(object));
    let modified = rendered.flat_map(|object| {
        let modifiers = object.list("modifiers");
        modifiers.map(move |modifier| (object, modifier))
    });
    modified
        .filter_map(|(object, modifier)| of_modifier(object, &modifier, &caches))
        .collect()
}

/// The caches that cloth, particles and the like have, and where those on disk lie.
pub(crate) struct PointCaches<'a> {
    file: &'a Path,
}

impl PointCaches<'_> {
    /// Is what was simulated stored, and still there?
    pub fn is_baked(&self, cache: Option<View<'_>>) -> bool {
        cache.is_some_and(|cache| {
            let is_stored = cache.has("flag", CACHE_BAKED | CACHE_EXTERNAL);
            let in_folder = cache.has("flag", CACHE_ON_DISK) && !cache.has("flag", CACHE_EXTERNAL);
            is_stored && (!in_folder || self.has_folder())
        })
    }

    fn has_folder(&self) -> bool {
        paths::shared_bakes(self.file).is_some_and(|folder| folder.is_dir())
    }
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

fn rigid_bodies(
    scene: &View<'_>,
    objects: &[View<'_>],
    caches: &PointCaches<'_>,
) -> Option<Simulation> {
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
        baked: caches.is_baked(cache),
    })
}

/// Is a modifier on for rendering?
pub(crate) fn renders_modifier(modifier: &View<'_>) -> bool {
    modifier.has("modifier.mode", MODIFIER_RENDERS)
}

fn of_modifier(
    object: &View<'_>,
    modifier: &View<'_>,
    caches: &PointCaches<'_>,
) -> Option<Simulation> {
    if !renders_modifier(modifier) {
        return None;
    }
    let baked = match modifier.struct_name() {
        "ParticleSystemModifierData" => return particles::simulation(object, modifier, caches),
        "ClothModifierData" => caches.is_baked(modifier.follow("point_cache")),
        "SoftbodyModifierData" => {
            let shared = object.follow("soft").and_then(|soft| soft.follow("shared"));
            caches.is_baked(shared.and_then(|shared| shared.follow("pointcache")))
        }
        "FluidModifierData" if modifier.has("type", FLUID_DOMAIN) => {
            let domain = modifier.follow("domain");
            domain.is_some_and(|domain| domain.has("cache_flag", FLUID_BAKED))
        }
        "DynamicPaintModifierData" if modifier.has("type", PAINT_CANVAS) => {
            let canvas = modifier.follow("canvas")?;
            let mut surfaces = painted_surfaces(&canvas).peekable();
            surfaces.peek()?;
            surfaces.all(|surface| caches.is_baked(surface.follow("pointcache")))
        }
        "NodesModifierData" => node_bakes::simulations_baked(modifier, caches.file)?,
        _ => return None,
    };
    let name = modifier.text("modifier.name").unwrap_or_default();
    let owner = object.id_name().unwrap_or_default();
    Some(Simulation {
        name: format!("{name} of {owner}"),
        baked,
    })
}

/// Surfaces of a canvas that take paint or waves, and keep them from frame to frame.
fn painted_surfaces<'a>(canvas: &View<'a>) -> impl Iterator<Item = View<'a>> {
    canvas.list("surfaces").filter(|surface| {
        surface.has("flags", PAINT_SURFACE_ACTIVE)
            && surface.integer("format") == Some(PAINT_IN_POINTS)
    })
}
