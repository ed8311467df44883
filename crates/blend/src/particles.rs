//! Particle systems that move, and whether their motion is stored.

use crate::{
    Simulation,
    simulations::{PointCaches, renders_modifier},
    view::View,
};

// As Blender numbers them.
const HAIR: i64 = 2;
const HAIR_DYNAMICS: i64 = 1 << 2;
/// Physics that need the frame before: Newton's, boids, fluid.
const MOVING: [i64; 3] = [1, 3, 4];

/// The simulation of a particle system's modifier, where it is one.
pub(crate) fn simulation(
    object: &View<'_>,
    modifier: &View<'_>,
    caches: &PointCaches<'_>,
) -> Option<Simulation> {
    let system = modifier.follow("psys")?;
    let settings = system.follow("part")?;
    let moves = match settings.integer("type")? {
        HAIR => system.has("flag", HAIR_DYNAMICS),
        _ => {
            let physics = settings.integer("phystype");
            physics.is_some_and(|physics| MOVING.contains(&physics))
        }
    };
    (moves && renders_modifier(modifier)).then(|| Simulation {
        name: format!(
            "particles {} of {}",
            system.text("name").unwrap_or_default(),
            object.id_name().unwrap_or_default()
        ),
        baked: caches.is_baked(system.follow("pointcache")),
    })
}
