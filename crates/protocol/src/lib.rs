//! The words that every part of the market shares: ids, frame ranges, tile and cell geometry, canonical
//! pixel bytes, jobs, control messages, limits and money.
//!
//! This crate does no I/O and knows nothing of libp2p, chains or engines; whatever two peers must agree
//! on bit for bit is defined here and nowhere else.

pub mod frames;
pub mod geometry;
pub mod ids;
pub mod job;
pub mod limits;
pub mod message;
pub mod money;
pub mod pixels;
pub mod samples;
pub mod secret_pixels;
pub mod segments;
pub mod version;

pub use frames::{FrameRange, FrameRangeError};
pub use geometry::{Rect, Size, TileGrid};
pub use ids::{Address, Blake3Hash, JobId, NodeId, TaskId};
pub use job::{BundleFile, EngineKind, JobSpec, Manifest, Pass, RenderSettings, TaskSpec};
pub use money::Glm;
pub use pixels::RenderedRect;
pub use samples::SampleRange;
pub use secret_pixels::SecretPixels;
pub use segments::{Segment, SegmentHash, SegmentList, Segmented};
pub use version::BlenderVersion;
