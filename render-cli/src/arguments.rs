//! The command line of `render`.

use clap::{Parser, ValueEnum};
use engine::Device;
use protocol::{FrameRange, Glm, Size, limits::SAMPLE_RANGES_MAX};
use std::{path::PathBuf, time::Duration};

/// Renders a scene on other people's machines, or on local workers when no peer is given.
#[derive(Debug, Parser)]
#[command(name = "render", version)]
#[command(
    after_help = "Before a job: `render check SCENE`. Commands about jobs: `render jobs`, `status JOB`, `resume JOB`, `pause JOB`, `cancel JOB`, \
                  `again JOB --frames R`, `clean`; about workers: `render providers`, `render evidence`; \
                  about your money: `render wallet`. The same command line again goes on with a job that was stopped.\n\n\
                  Exit codes: 0 done, 2 usage, 3 frames failed, 4 preflight refused, 5 budget spent or deadline passed, \
                        6 unverified, 7 no providers, 130 interrupted."
)]
pub struct Arguments {
    /// Scene file: .glb, .gltf or .blend
    pub scene: PathBuf,
    /// Frames, such as 1-250, 1..10, 10-1, 1-10x2 or 1,5,9 (default: the scene's own)
    #[arg(long, allow_hyphen_values = true)]
    pub frames: Option<FrameRange>,
    /// Output files: #### becomes the frame number, the ending is the format; .mp4, .mkv or .webm makes a video and keeps its
    /// frames beside it (default: where and as the .blend says, else out/####.png)
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Write the passes as they were rendered, in 32-bit float: no denoising, no compositing (.exr; glTF scenes have no others)
    #[arg(long)]
    pub raw: bool,
    /// The scene to render of a .blend that has several (default: the one that was open when it was saved)
    #[arg(long = "scene", value_name = "NAME")]
    pub scene_name: Option<String>,
    /// Size of the frames, such as 640x360 (default: the scene's own, else 1280x720)
    #[arg(long)]
    pub size: Option<Size>,
    /// Samples a pixel (default: the scene's own, else 64)
    #[arg(long)]
    pub samples: Option<u32>,
    /// Which engine renders
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub engine: EngineChoice,
    /// Blender, or a Python that imports bpy
    #[arg(long)]
    pub blender: Option<PathBuf>,
    /// What Blender renders with here, in local workers and in the engine that decides and finishes: cpu, or a graphics card
    /// by cuda, optix, hip, oneapi or metal, the second of several as cuda:1
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Let Blender render with the kernel that every processor has, 5 to 8 % slower: computers of different ages then give
    /// the same bits (workers elsewhere need `render-worker --common-kernel`)
    #[arg(long)]
    pub common_kernel: bool,
    /// Side of a tile in pixels, 0 for whole frames (default: planned)
    #[arg(long)]
    pub tile: Option<u32>,
    /// Divide the samples of each frame into so many ranges, which are rendered each by itself and merged: for small frames
    /// with many samples. Merged frames equal whole ones within rounding, with adaptive sampling only about (Cycles of Blender
    /// 4.4 and later)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SAMPLE_RANGES_MAX)))]
    pub sample_ranges: Option<u32>,
    /// Local worker processes (default: 2 when no other worker is asked for, else 0)
    #[arg(long)]
    pub local: Option<u32>,
    /// Worker to use, by its multiaddress; may be repeated
    #[arg(long)]
    pub peer: Vec<String>,
    /// Use the workers that announce themselves in the local network (`render-worker --mdns`)
    #[arg(long)]
    pub mdns: bool,
    /// Give the job only to workers that you own or allow, or whose work was checked often enough to leave the strangers
    #[arg(long)]
    pub only_known: bool,
    /// With --only-known, identity of a further worker that gets this job; may be repeated
    #[arg(long, value_name = "NODE", requires = "only_known")]
    pub allow: Vec<String>,
    #[command(flatten)]
    pub money: render_worker::money::NetworkArguments,
    /// Most GLM to spend
    #[arg(long)]
    pub budget: Option<Glm>,
    /// When to stop, counted from the start of this run, such as 90m or 8h30m: no tile is given out that would end later
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub deadline: Option<Duration>,
    /// Check everybody's work as a stranger's. Tracer: eight secret pixels of every cell of every tile are rendered again, each
    /// by another worker where so many are there, also of your own workers' tiles: sees every cell that is wrong as a
    /// whole, costs an eighth more. Blender: every tile is rendered twice where a second worker is there: sees any wrong
    /// pixel unless both are accomplices, costs as much again
    #[arg(long)]
    pub paranoid: bool,
    /// Let workers of other kinds of processor work beside the job's own kind, with the same version of Blender: this
    /// computer's Blender judges them by the noise of their pictures, and no kind gets a second tile before one was found
    /// right. Frames then equal Blender's own only up to the rounding of single light paths
    #[arg(long)]
    pub mixed_classes: bool,
    /// Say of every lease why its worker gets so much
    #[arg(long)]
    pub explain: bool,
    /// One JSON object a line on stdout instead of bars and tables
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Where keys, ledger and cached scenes are kept
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

impl Arguments {
    /// Do only processes of this computer work on the job?
    pub fn is_local(&self) -> bool {
        self.peer.is_empty() && !self.mdns
    }
}

/// A choice of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// By the scene file's ending.
    Auto,
    /// The built-in path tracer (.glb, .gltf).
    Tracer,
    /// Blender with Cycles (.blend).
    Blender,
}
