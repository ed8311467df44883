//! Reads Blender's scene files (`.blend`) without Blender: what they render, and every file that they need.
//!
//! A `.blend` is a sequence of blocks, memory images of C structs, and a block `DNA1` that describes those structs. So
//! nothing here knows an offset: fields are asked for by their names in that description, and a file of any version
//! from 2.8 on can be read. Meshes and packed files, which make up most of a file, are passed over.
//!
//! Files come from strangers: every length is checked before anything is allocated, memory and the bytes that are
//! unpacked are bounded (see [`limits`]), and damage is an error, never a panic.
//!
//! Not here: what can be rendered and what cannot, which is for those who render to say.

mod ahead;
mod blocks;
mod compositor;
mod copy;
mod dependencies;
mod dna;
mod drivers;
mod error;
mod expressions;
mod frames;
mod header;
mod id_properties;
pub mod limits;
mod linked;
mod node_bakes;
mod particles;
mod paths;
mod scene;
mod seekable;
mod sequencer;
mod simulations;
mod source;
mod summary;
mod view;
mod walk;

pub use compositor::Compositor;
pub use copy::copy_with_paths;
pub use dependencies::{Dependency, DependencyKind, NamedPath, State};
pub use drivers::FrozenDriver;
pub use error::BlendError;
pub use header::Version;
pub use paths::is_of_windows;
pub use scene::{Border, Cycles, Output, SceneSummary, ViewLayer};
pub use simulations::Simulation;
pub use source::Compression;
pub use summary::{Summary, read, version};
