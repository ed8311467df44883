//! How much of a file is believed.

/// Bytes that are unpacked of a compressed file. Frames of Zstandard files that are passed over do not count.
pub const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Memory that one Zstandard frame may ask for: what its own tools allow.
pub const WINDOW_BYTES_MAX: u64 = 128 << 20;
/// Bytes of a frame, packed or not, that is unpacked at once by the table of its file; Blender's have up to 2 MiB.
pub const FRAME_BYTES_MAX: u32 = 4 << 20;
/// Frames in the table of a file.
pub const FRAMES_MAX: u64 = 1 << 20;
/// Bytes that the reader unpacks before threads help.
pub const ALONE_BYTES: u64 = 4 << 20;
/// Threads that help.
pub const UNPACKING_THREADS_MAX: usize = 8;
/// Frames that a thread looks at by itself.
pub const FRAMES_OF_PART: usize = 4;
/// Frames in which it looks for the first header.
pub const LEAD_FRAMES_MAX: usize = 2;
/// Bytes that it may keep of them.
pub const PART_BYTES_MAX: u64 = 32 << 20;
/// Bytes that all threads may have kept when one begins a further part.
pub const AHEAD_BYTES_MAX: u64 = 256 << 20;
/// Blocks of a file.
pub const BLOCKS_MAX: u32 = 1 << 24;
/// Bytes of all blocks that are kept.
pub const KEPT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a block that is kept; longer ones are arrays of something that is not looked at.
pub const KEPT_BLOCK_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a block that is kept although it belongs to a mesh or the like, because of what it may refer to.
pub const SMALL_BLOCK_BYTES_MAX: u64 = 1 << 12;
/// Bytes of the description of structs; Blender's own has some 200 KB.
pub const DNA_BYTES_MAX: u64 = 2 << 20;
/// Elements of all lists together that are followed; no list has more of them than the file has blocks.
pub const LIST_ITEMS_MAX: usize = 1 << 22;
/// Files of one sequence, one folder or one set of tiles that are counted.
pub const FILES_MAX: usize = 1 << 17;
/// How often linked libraries are opened, with those that they link.
pub const LIBRARIES_MAX: usize = 1 << 10;
