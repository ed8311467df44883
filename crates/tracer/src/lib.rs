//! The built-in engine: a path tracer for glTF 2.0 that gives the same bits on every machine and build.
//!
//! Two halves meet in [`world`]: `gltf` reads a scene file and evaluates it at a frame's time; `render`
//! turns the resulting [`world::World`] into pixels.

pub mod gltf;
pub mod math;
pub mod render;
pub mod transform;
pub mod world;
