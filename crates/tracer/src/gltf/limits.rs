//! How large a scene file may be: a file comes from a stranger, so every length in it is held against one of
//! these before memory is taken for it. All are far above what one computer renders.

/// Bytes of the scene file, and of all files together that it refers to.
pub const FILE_BYTES_MAX: u64 = 4 << 30;
/// Bytes of the JSON part, data URIs included.
pub const JSON_BYTES_MAX: usize = 256 << 20;
/// Objects (opening braces) in the JSON part: each becomes a few hundred bytes of memory.
pub const JSON_OBJECTS_MAX: usize = 4 << 20;
/// Bytes of one `extras` that is looked into.
pub const EXTRAS_BYTES_MAX: usize = 64 << 10;
/// Bytes of geometry, animation and skin data after decoding, and of one frame's meshes.
pub const GEOMETRY_BYTES_MAX: u64 = 24 << 30;
/// Elements of an accessor without a buffer behind it (all zero but for its sparse entries).
pub const UNBACKED_ELEMENTS_MAX: u64 = 1 << 24;
/// Triangles of one frame, instances counted.
pub const TRIANGLES_MAX: u64 = 200_000_000;
/// Nodes of the file.
pub const NODES_MAX: usize = 1 << 20;
/// Joints of one skin: indices are 16 bits.
pub const JOINTS_MAX: usize = 1 << 16;
/// Pixels of one side of an image.
pub const IMAGE_SIDE_MAX_PX: u32 = 16_384;
/// Pixels of all textures together: 16 bytes each after decoding.
pub const TEXTURE_PIXELS_MAX: u64 = 1 << 29;
/// Pixels of an environment map: 12 bytes each after decoding.
pub const ENVIRONMENT_PIXELS_MAX: u64 = 1 << 27;
/// Distance from the origin that a vertex or camera may have on each axis: its square is still finite.
pub const COORDINATE_MAX: f32 = 1e15;
/// Frames a second.
pub const FRAME_RATE_MAX: f64 = 1000.0;
