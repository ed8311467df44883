//! One chain for all tests of this program, and who works on it.

use engine::{CancelFlag, Engine, EngineError, SceneDescription, TracerEngine};
use network::Identity;
use payment::{
    EarningsBook, Wallet,
    chain::{ChainSettings, DevChain},
};
use protocol::{Address, EngineKind, Glm, Rect, RenderSettings, RenderedRect, message::Terms};
use render_worker::{Started, WorkerConfig, serve};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, Weak},
    thread,
    time::Duration,
};
use tempfile::TempDir;
use tests::render_program;
use tokio::{runtime::Runtime, sync::oneshot};

/// Anvil with token and escrow.
pub struct Chain(DevChain);

impl Chain {
    /// What a new account is given.
    pub const GIVEN: Glm = Glm::from_glm(1_000);

    /// The running one, or a new one.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Chain>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let chain = Arc::new(Self(DevChain::start(None).unwrap()));
            DevChain::prepare(&chain.settings()).unwrap();
            *shared = Arc::downgrade(&chain);
            chain
        })
    }

    pub fn url(&self) -> &str {
        self.0.url()
    }

    pub fn settings(&self) -> ChainSettings {
        ChainSettings::dev(self.url().to_owned())
    }

    pub fn terms(&self) -> Terms {
        Terms::Escrow {
            chain_id: DevChain::CHAIN_ID,
            contract: self.settings().escrow(),
        }
    }

    /// GLM of an account.
    pub fn balance(&self, account: Address) -> Glm {
        self.settings().holdings(account).unwrap().0
    }

    /// What the contract holds of a requestor for a worker.
    pub fn in_escrow(&self, requestor: Address, worker: Address) -> Glm {
        let present = self.settings().present(requestor, worker).unwrap();
        present.map_or(Glm::ZERO, |(_, escrow)| {
            escrow.deposit.checked_sub(escrow.claimed).unwrap()
        })
    }
}

/// A `render-worker` on the chain.
pub struct Worker {
    process: Mutex<Child>,
    folder: TempDir,
    pub node: String,
    pub address: String,
    pub payee: Address,
}

fn program() -> PathBuf {
    render_program().with_file_name("render-worker")
}

impl Worker {
    pub fn start(chain: &Chain, price: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(program())
            .args([
                "--json",
                "--engine",
                "tracer",
                "--threads",
                "1",
                "--price",
                price,
            ])
            .args([
                "--listen",
                "/ip4/127.0.0.1/udp/0/quic-v1",
                "--exit-with-parent",
            ])
            .args(["--network", "dev", "--rpc", chain.url(), "--data-dir"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        Self {
            process: Mutex::new(process),
            folder,
            node: text(&said["node"]),
            address: text(&said["addresses"][0]),
            payee: text(&said["payee"]).parse().unwrap(),
        }
    }

    /// All that it was promised, by its book.
    fn promised(&self) -> Glm {
        let chains = std::fs::read_dir(self.folder.path().join("dev")).unwrap();
        let books = chains.map(|chain| chain.unwrap().path().join("earnings.redb"));
        let summaries = books.filter_map(|book| EarningsBook::read(book).ok());
        let escrows = summaries.flat_map(|summary| summary.escrows);
        escrows.map(|escrow| escrow.promised()).sum()
    }

    /// Waits until it has been promised something.
    pub fn wait_for_voucher(&self) -> Glm {
        loop {
            match self.promised() {
                Glm::ZERO => thread::sleep(Duration::from_millis(100)),
                promised => return promised,
            }
        }
    }

    /// Ends it and reads what it was promised to the end.
    pub fn promised_after_it_ends(&self, at_least: Glm) -> Glm {
        let mut process = self.process.lock().unwrap();
        drop(process.stdin.take());
        process.wait().unwrap();
        let promised = self.promised();
        assert!(promised >= at_least);
        promised
    }

    /// Another command of the same provider.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(program())
            .args(arguments)
            .arg("--data-dir")
            .arg(self.folder.path())
            .output()
            .unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        drop(process.stdin.take());
        process.wait().unwrap();
    }
}

/// A worker in this process that renders black.
pub struct Cheat {
    pub node: String,
    pub address: String,
    pub payee: Address,
    // It ends with this.
    _runtime: Runtime,
}

impl Cheat {
    pub fn start(chain: &Chain, dir: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let payee = Wallet::generate().address();
        let (started, starting) = oneshot::channel();
        let config = WorkerConfig {
            terms: chain.terms(),
            chain: None,
            identity: Identity::generate(),
            payee,
            data_dir: dir.join("cheat"),
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
            peers: Vec::new(),
            mdns: false,
            spare: None,
            engines: vec![EngineKind::Tracer],
            blender: None,
            device: engine::Device::default(),
            price_megasample: Glm::from_wei(1_000_000_000_000),
            cache_bytes: 1 << 30,
            requestor_blobs: None,
            serve_only: Vec::new(),
            hold: Duration::ZERO,
            engine_idle: Duration::ZERO,
            about: "test".into(),
            started: Some(started),
        };
        let make = |_| Ok(Box::new(Black::default()) as Box<dyn Engine>);
        let started: Started = runtime.block_on(async {
            tokio::spawn(serve(config, make, std::future::pending()));
            starting.await.unwrap()
        });
        Self {
            node: started.node.to_string(),
            address: started.addresses[0].clone(),
            payee,
            _runtime: runtime,
        }
    }
}

/// The calibration renders the same cells twice.
const CALIBRATION_RENDERS: u32 = 2;

/// Renders its calibration and nothing else.
#[derive(Default)]
struct Black {
    tracer: TracerEngine,
    renders: u32,
}

impl Engine for Black {
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        self.tracer.prepare(bundle, entry, scene)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        let mut rendered = self.tracer.render(settings, frame, rects, cancel)?;
        self.renders += 1;
        if self.renders > CALIBRATION_RENDERS {
            let planes = rendered.iter_mut().flat_map(|rect| &mut rect.planes);
            planes.for_each(|(_, pixels)| pixels.fill([0.0, 0.0, 0.0, 1.0]));
        }
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.tracer.build()
    }
}
