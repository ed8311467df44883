//! The command line.

use crate::{
    limits::{MEMORY_GIB_DEFAULT, MEMORY_GIB_MAX},
    money::NetworkArguments,
    wallet::WalletArguments,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::Device;
use protocol::{EngineKind, Glm, NodeId};
use std::{path::PathBuf, time::Duration};

/// Renders for others and is paid for it.
#[derive(Debug, Parser)]
#[command(
    name = "render-worker",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what this machine can render with and who it is.
    Doctor(ReportArguments),
    /// List what requestors have promised and paid, by escrow and job: of all networks, as it was last seen. With a chain as
    /// --network, that is looked at now.
    Earnings(EarningsArguments),
    /// Hand the last vouchers of all requestors in, whether they are there or not.
    Redeem(RedeemArguments),
    /// Check evidence against a worker: who signed what, and who is right by a render of the disputed cell here.
    #[command(
        after_help = "Exit codes: 0 the accused is wrong, 1 it could not be checked (another scene, no engine), 2 usage, \
                            3 an accused worker is right, 4 the evidence is not genuine and proves nothing, \
                            5 undecided: this machine is of another determinism class, or agrees with nobody."
    )]
    CheckEvidence(CheckArguments),
    /// Make, import, show or export the wallet for real money.
    Wallet(WalletArguments),
    /// Serve one engine to a parent process.
    #[command(hide = true)]
    Engine(EngineArguments),
}

#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Multiaddr to listen on; free ports of all interfaces if none is given.
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// Requestor to dial, again and again.
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,
    /// What to render with; `auto` is everything that is found.
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: EngineChoice,
    /// Render threads; 0 is one a processor.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: u32,
    /// Price of one million samples in GLM.
    #[arg(long, value_name = "GLM", default_value = "0.0001")]
    pub price: Glm,
    #[command(flatten)]
    pub money: NetworkArguments,
    /// Folder of keys, scenes and earnings; by default render-worker in the user's data folder.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Blender's program, or a Python that has bpy.
    #[arg(long, value_name = "PATH")]
    pub blender: Option<PathBuf>,
    /// What is already known of that Blender, by who starts this worker.
    #[arg(long, value_name = "FACTS", requires = "blender", hide = true)]
    pub blender_facts: Option<String>,
    /// What Blender renders with: cpu, or a graphics card by cuda, optix, hip, oneapi or metal, the second of several as cuda:1.
    /// Workers with different devices give different bits, and so are of different classes.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Let Blender render with the kernel that every processor has, 5 to 8 % slower: computers of different ages then give
    /// the same bits and can check each other's work. All of a farm have to, and `render --common-kernel`.
    #[arg(long)]
    pub common_kernel: bool,
    /// Most memory that rendering may take, in GiB. A Blender that needs more is ended and its task given back; one is
    /// ended earlier where the computer has hardly any left.
    #[arg(long, value_name = "GIB", default_value_t = MEMORY_GIB_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=MEMORY_GIB_MAX))]
    pub memory: u32,
    /// Disk for scenes of earlier jobs, such as 20GB: of a scene that comes again changed only the changes are fetched. The
    /// least recently used ones are removed first; those of running jobs stay, whatever they take.
    #[arg(long, value_name = "SIZE", default_value = "20GB", value_parser = crate::size::parse)]
    pub cache: u64,
    /// Folder of blobs of the requestor that starts this worker: scenes are shared with it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub requestor_blobs: Option<PathBuf>,
    /// Accept offers from this requestor only; may be given several times.
    #[arg(long, value_name = "NODEID")]
    pub serve_only: Vec<NodeId>,
    /// How long tasks and results are kept for a requestor that is away, such as 90s, 30m or 8h; 0 drops them at once.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    pub hold: Duration,
    /// Print who and where this worker is as one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// Stop when standard input ends.
    #[arg(long)]
    pub exit_with_parent: bool,
    /// Announce this worker in the local network.
    #[arg(long)]
    pub mdns: bool,
}

#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Folder of keys, scenes and earnings; by default render-worker in the user's data folder.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Blender's program, or a Python that has bpy.
    #[arg(long, value_name = "PATH")]
    pub blender: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EarningsArguments {
    #[command(flatten)]
    pub money: NetworkArguments,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print comma-separated values with all decimals.
    #[arg(long)]
    pub csv: bool,
    /// Folder of keys, scenes and earnings; by default render-worker in the user's data folder.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RedeemArguments {
    #[command(flatten)]
    pub money: NetworkArguments,
    /// Redeem also what gives less than its fee.
    #[arg(long)]
    pub all: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Folder of keys, scenes and earnings; by default render-worker in the user's data folder.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The evidence, as `render evidence` lists it.
    pub file: PathBuf,
    /// The job's scene, with its files beside it.
    #[arg(long, value_name = "PATH")]
    pub scene: PathBuf,
    /// Blender's program, or a Python that has bpy.
    #[arg(long, value_name = "PATH")]
    pub blender: Option<PathBuf>,
    /// Let Blender render with the kernel that every processor has, as the job's workers did.
    #[arg(long)]
    pub common_kernel: bool,
    /// Render threads; 0 is one a processor.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct EngineArguments {
    #[arg(long, value_enum)]
    pub kind: KindArgument,
    #[arg(long)]
    pub threads: u32,
    #[arg(long)]
    pub common_kernel: bool,
    #[arg(long)]
    pub device: Device,
    #[arg(long)]
    pub memory: u32,
    #[arg(long, requires = "blender_facts")]
    pub blender: Option<PathBuf>,
    #[arg(long, requires = "blender")]
    pub blender_facts: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum EngineChoice {
    Tracer,
    Blender,
    Auto,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindArgument {
    Tracer,
    Blender,
}

impl From<KindArgument> for EngineKind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Tracer => Self::Tracer,
            KindArgument::Blender => Self::Blender,
        }
    }
}
