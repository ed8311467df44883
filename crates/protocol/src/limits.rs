//! Every bound on what a peer may send or a user may ask, as a named constant with its unit last.

/// Version of the wire messages; peers refuse others by name.
pub const PROTOCOL_VERSION: u16 = 7;

/// Longest side of a frame in pixels.
pub const FRAME_SIDE_MAX_PX: u32 = 32_768;
/// Most pixels in one frame (16,384 x 8,192).
pub const FRAME_AREA_MAX_PX: u64 = 1 << 27;
/// Most frames in one job.
pub const JOB_FRAMES_MAX: usize = 1_000_000;
/// Most samples a pixel.
pub const SAMPLES_MAX: u32 = 65_536;
/// Most ranges that the samples of a frame are divided into: when it is written there is a delivery of each on disk.
pub const SAMPLE_RANGES_MAX: u32 = 64;
/// Fewest samples of a range: Blender 4.5 and 5.0 crash at some rectangles when they render one.
pub const RANGE_SAMPLES_MIN: u32 = 2;

/// Most passes of a job, of four channels each: some forty layers with everything on.
pub const PASSES_MAX: usize = 1_024;
/// Longest name of a scene within a file, in bytes.
pub const SCENE_NAME_BYTES_MAX: usize = 256;

/// Most rectangles in one task (a tile task has one and cells of its neighbours, a probe task a few).
pub const TASK_RECTS_MAX: usize = 1_024;
/// Most bytes of canonical pixels one task may deliver (4 megapixels of four passes).
pub const TASK_BYTES_MAX: u64 = 1 << 28;
/// Most tasks of a job that a provider holds: queued, rendering or not yet judged. Requestors stay below.
pub const TASKS_HELD_MAX: usize = 256;
/// Most tasks in one lease.
pub const LEASE_TASKS_MAX: usize = 64;

/// Longest control message in bytes.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Longest human text in a message (a reason, an error), in bytes.
pub const TEXT_BYTES_MAX: usize = 2_048;
/// Longest name of what renders (`cpu`, the kind of a graphics card), in bytes.
pub const DEVICE_BYTES_MAX: usize = 64;
/// Longest manifest of a bundle in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Most files in a bundle.
pub const BUNDLE_FILES_MAX: usize = 65_536;
/// Largest blob (a file of a scene) in bytes.
pub const BLOB_BYTES_MAX: u64 = 64 << 30;
/// Most bytes of a whole bundle.
pub const BUNDLE_BYTES_MAX: u64 = 256 << 30;

/// Files shorter than this are not cut into segments: they are sent in a moment.
pub const SEGMENTED_BYTES_MIN: u64 = 4 << 20;
/// Shortest segment of a file in bytes, the last one excepted.
pub const SEGMENT_BYTES_MIN: u32 = 4 << 10;
/// Segments of random bytes are about this long, in bytes.
pub const SEGMENT_BYTES_MEAN: u32 = 16 << 10;
/// Longest segment in bytes.
pub const SEGMENT_BYTES_MAX: u32 = 64 << 10;
/// Most segments in a list, so that it has at most 18 MiB; files of some 20 GB have as many, larger ones are not cut.
pub const FILE_SEGMENTS_MAX: u32 = 1 << 20;
/// Most files of a job that are cut into segments: the largest ones.
pub const SEGMENTED_FILES_MAX: usize = 1_024;
