//! How a worker shall run, what it tells when it runs, and why it could not.

use crate::{chain::Chain, wallet::WalletFailure};
use engine::{Device, EngineError};
use network::{Identity, IdentityError, NetworkError, StoreError};
use payment::WalletError;
use protocol::{Address, BlenderVersion, EngineKind, Glm, NodeId, message::Terms};
use std::{io, path::PathBuf, time::Duration};
use tokio::sync::oneshot;

/// How a worker shall run.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Who it is on the network.
    pub identity: Identity,
    /// Who is paid.
    pub payee: Address,
    /// How it is paid; offers on other terms are declined.
    pub terms: Terms,
    /// Its account, where the terms name a chain.
    pub chain: Option<Chain>,
    /// Folder of blobs, scenes, jobs and earnings; one worker at a time.
    pub data_dir: PathBuf,
    /// Multiaddrs to listen on; none means free ports of all IPv4 interfaces.
    pub listen: Vec<String>,
    /// Multiaddrs to dial, and to dial again whenever the connection is lost.
    pub peers: Vec<String>,
    /// Whether it announces itself in the local network.
    pub mdns: bool,
    /// Engines that it has.
    pub engines: Vec<EngineKind>,
    /// The release of its Blender, if it has one.
    pub blender: Option<BlenderVersion>,
    /// What its Blender renders with.
    pub device: Device,
    /// Price of one million samples.
    pub price_megasample: Glm,
    /// Disk for the scenes of jobs that are over, in bytes.
    pub cache_bytes: u64,
    /// Folder of the requestor's blobs, for a worker that it started itself.
    pub requestor_blobs: Option<PathBuf>,
    /// The only requestors that it works for; none means all.
    pub serve_only: Vec<NodeId>,
    /// An engine to start before anybody asks for it.
    pub spare: Option<EngineKind>,
    /// How long leases and results of a requestor that is away are kept; zero drops them at once.
    pub hold: Duration,
    /// How long an engine that has nothing to render stays loaded while its requestor is away.
    pub engine_idle: Duration,
    /// For people, in every quote: program, version, threads.
    pub about: String,
    /// Hears once that the worker listens.
    pub started: Option<oneshot::Sender<Started>>,
}

impl WorkerConfig {
    /// What it asks for one million samples.
    pub(crate) fn price(&self) -> Glm {
        match self.terms {
            Terms::Free => Glm::ZERO,
            Terms::Escrow { .. } => self.price_megasample,
        }
    }

    /// The kind of device that an engine renders with: the tracer has the processor only.
    pub(crate) fn device_of(&self, engine: EngineKind) -> &'static str {
        match engine {
            EngineKind::Tracer => Device::default().kind(),
            EngineKind::Blender => self.device.kind(),
        }
    }
}

/// What a peer must know to use a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Who it is on the network.
    pub node: NodeId,
    /// Where it listens, as multiaddrs.
    pub addresses: Vec<String>,
    /// Who is paid.
    pub payee: Address,
}

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The network key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The payment key.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet for real money.
    #[error(transparent)]
    ChainWallet(#[from] WalletFailure),
    /// The node, or an address to dial.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The folder of blobs.
    #[error(transparent)]
    Blobs(#[from] StoreError),
    /// The book of earnings.
    #[error(transparent)]
    Earnings(#[from] payment::StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] payment::LedgerError),
    /// An engine that was asked for by name.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Vouchers of an account that a worker uses.
    #[error("a worker is at work with {0}: it redeems by itself what is worth its fee")]
    AtWork(PathBuf),
    /// Where there is no chain.
    #[error("nothing is redeemed on the network {0}: requestors pay out by themselves there")]
    NoChain(payment::chain::Network),
    /// Something of the system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Evidence that cannot be checked here.
    #[error("{0}")]
    Evidence(String),
    /// There is neither a home folder nor a data folder in the environment.
    #[error("no folder for the worker's data: neither XDG_DATA_HOME nor HOME is set")]
    NoDataDir,
}

impl WorkerError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Identity(_) | Self::Wallet(_) => {
                "keys must be readable by their owner only (chmod 600); --data-dir picks another folder"
            }
            Self::ChainWallet(failure) => failure.hint(),
            Self::Network(_) => "check --listen and --peer",
            Self::Blobs(_) | Self::Earnings(_) | Self::Io { .. } => {
                "check space and permissions; each worker needs a --data-dir of its own"
            }
            Self::Engine(_) => "see `doctor` for what this machine can render with",
            Self::AtWork(_) => "stop it to redeem the rest now",
            Self::NoChain(_) => "name a chain with --network",
            Self::Evidence(_) => {
                "--scene must be the very scene of the job, with its files where they were beside it"
            }
            Self::Ledger(_) => {
                "check --network and --rpc, and what the account holds: `wallet balance`"
            }
            Self::NoDataDir => "give one with --data-dir",
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
