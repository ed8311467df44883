//! Cheating workers against real jobs: each must be caught, quarantined and unpaid, and the frames must be right.
//!
//! A cheat is a real worker in this process whose engine returns something else than what was asked. Honest workers stand
//! beside the cheats, all of them unknown to the requestor, which is the `render` program.

mod blender;
mod conduct;
mod gate;
mod rubbish;
mod tracer;

use conduct::{Cheat, Conduct};
use engine::{CancelFlag, Device, Engine, Plane, find_blender, frame_file::read_exr};
use gate::Gate;
use network::Identity;
use protocol::{
    Address, BlenderVersion, EngineKind, Glm, NodeId, Pass, RenderSettings, RenderedRect, Size,
    pixels::task_bytes,
};
use render_worker::{Started, WorkerConfig, serve};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tests::{job, render, render_program, words};
use tokio::{runtime::Runtime, sync::oneshot};

/// An engine, or one with the scene of this name open.
type MakeEngine = dyn Fn(Option<&'static str>) -> Box<dyn Engine> + Send + Sync;

/// What a job renders, and with what.
struct Task {
    kind: EngineKind,
    scene: PathBuf,
    frames: std::ops::RangeInclusive<i32>,
    size: Size,
    samples: u32,
    tile_px: u32,
    /// What its frames have, with the names of their files.
    planes: Vec<Plane>,
}

impl Task {
    fn passes(&self) -> Vec<Pass> {
        self.planes.iter().map(|plane| plane.pass).collect()
    }

    fn settings(&self) -> RenderSettings {
        RenderSettings {
            size: self.size,
            samples: self.samples,
            seed: 0,
            passes: self.passes(),
            guard_px: 0,
            scene: None,
        }
    }

    /// Runs `render` with these peers.
    fn run(&self, dir: &Path, name: &str, peers: &[String]) -> Ran {
        let (from, to) = (self.frames.start(), self.frames.end());
        let (size, samples, tile) = (self.size, self.samples, self.tile_px);
        let mut options =
            format!("--frames {from}-{to} --size {size} --samples {samples} --tile {tile} --raw");
        for peer in peers {
            options += &format!(" --peer {peer}");
        }
        let output = job(dir, &self.scene, &format!("{name}-####.exr"), &options);
        assert!(output.status.success(), "{name}: {}", words(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        Ran(lines.collect())
    }

    /// The frames as the engine renders them by itself.
    fn truth(&self, engine: &mut dyn Engine) -> BTreeMap<i32, RenderedRect> {
        let frame = |frame| {
            let rects = [self.size.rect()];
            let rendered = engine.render(&self.settings(), frame, &rects, &CancelFlag::default());
            (frame, rendered.unwrap().remove(0))
        };
        self.frames.clone().map(frame).collect()
    }

    fn read(&self, dir: &Path, name: &str, frame: i32) -> RenderedRect {
        let path = dir.join(format!("{name}-{frame:04}.exr"));
        read_exr(&path, self.size.rect(), &self.planes).unwrap()
    }

    /// All passes of all frames have the bits that the engine gives.
    fn assert_right(&self, dir: &Path, name: &str, truth: &BTreeMap<i32, RenderedRect>) {
        let passes = self.passes();
        let bytes =
            |frame: &RenderedRect| task_bytes(std::slice::from_ref(frame), &passes).unwrap();
        for frame in self.frames.clone() {
            let found = self.read(dir, name, frame);
            assert!(
                bytes(&found) == bytes(&truth[&frame]),
                "{name}, frame {frame}"
            );
        }
    }
}

/// The lines that `render --json` printed.
struct Ran(Vec<serde_json::Value>);

impl Ran {
    fn summary(&self) -> &serde_json::Value {
        self.0.last().unwrap()
    }

    /// What the summary says of a worker; nothing if it never took part.
    fn row(&self, node: NodeId) -> serde_json::Value {
        let rows = self.summary()["workers"].as_array().unwrap();
        let id = node.to_string();
        let found = rows.iter().find(|row| row["worker"] == id.as_str());
        found.cloned().unwrap_or_default()
    }

    /// Why a worker was quarantined.
    fn why(&self, node: NodeId) -> &str {
        let id = node.to_string();
        let is_it = |line: &&serde_json::Value| {
            line["event"] == "quarantined" && line["worker"] == id.as_str()
        };
        let line = self.0.iter().find(is_it);
        line.and_then(|line| line["evidence"].as_str()).unwrap()
    }
}

/// The Blender of this computer, which the jobs of these tests need.
fn own_blender() -> BlenderVersion {
    find_blender(None).unwrap().release().unwrap()
}

/// Starts a worker in this process; it ends with the runtime.
async fn start(
    kind: EngineKind,
    dir: &Path,
    make_engine: impl Fn() -> Cheat + Send + Sync + 'static,
) -> Started {
    let (started, starting) = oneshot::channel();
    let identity = Identity::generate();
    let config = WorkerConfig {
        terms: protocol::message::Terms::LOCAL,
        chain: None,
        payee: Address([7; 20]),
        data_dir: dir.join(identity.node().to_string()),
        identity,
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
        peers: Vec::new(),
        mdns: false,
        spare: None,
        engines: vec![kind],
        blender: (kind == EngineKind::Blender).then(own_blender),
        device: Device::default(),
        price_megasample: Glm::from_wei(1_000_000_000_000),
        cache_bytes: 1 << 30,
        requestor_blobs: None,
        serve_only: Vec::new(),
        hold: std::time::Duration::ZERO,
        engine_idle: std::time::Duration::ZERO,
        about: "test".into(),
        started: Some(started),
    };
    tokio::spawn(serve(
        config,
        move |_| Ok(Box::new(make_engine()) as Box<dyn Engine>),
        std::future::pending(),
    ));
    starting.await.expect("the worker starts")
}

/// Cheats and honest workers.
struct Company {
    cheats: Vec<(Conduct, Started)>,
    honest: Vec<Started>,
    // The workers end with it.
    _runtime: Runtime,
}

impl Company {
    /// Starts them; the honest ones begin once each cheat has rendered `tiles` tiles.
    fn start(
        kind: EngineKind,
        dir: &Path,
        (conducts, tiles): (&[Conduct], usize),
        honest: usize,
        make_engine: &Arc<MakeEngine>,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let names = conducts.iter().map(|conduct| format!("{conduct:?}"));
        let gate = Gate::new(names, tiles);
        let hire = |conduct: Conduct| {
            let (make_engine, gate) = (Arc::clone(make_engine), gate.clone());
            let cheat = move || {
                let other = match conduct {
                    Conduct::OtherScene(name) => Some(make_engine(Some(name))),
                    _ => None,
                };
                Cheat::new(conduct, make_engine(None), other, gate.clone())
            };
            runtime.block_on(start(kind, dir, cheat))
        };
        let cheats = conducts.iter().map(|&conduct| (conduct, hire(conduct)));
        let cheats = cheats.collect();
        let honest = (0..honest).map(|_| hire(Conduct::Honest)).collect();
        Self {
            cheats,
            honest,
            _runtime: runtime,
        }
    }

    fn peers(&self) -> Vec<String> {
        let cheats = self.cheats.iter().map(|(_, worker)| worker);
        let all = self.honest.iter().chain(cheats);
        all.map(|worker| worker.addresses[0].clone()).collect()
    }

    /// Every cheat is quarantined with evidence and unpaid.
    fn assert_caught(&self, dir: &Path, ran: &Ran) {
        let evidence = evidence(dir);
        for (conduct, worker) in &self.cheats {
            let row = ran.row(worker.node);
            assert_eq!(row["state"], "quarantined", "{conduct:?}: {row}");
            assert_eq!(row["tiles"], 0, "{conduct:?}: {row}");
            assert_eq!(row["glm"], "0", "{conduct:?}: {row}");
            let why = ran.why(worker.node);
            let is_kept = evidence.iter().any(|found| accuses(found, worker.node));
            assert!(is_kept, "{conduct:?}: {why}");
        }
        assert!(!evidence.is_empty());
    }

    /// Nobody honest is blamed for anything.
    fn assert_nobody_honest_blamed(&self, dir: &Path, ran: &Ran) {
        let evidence = evidence(dir);
        for worker in &self.honest {
            let row = ran.row(worker.node);
            let state = row["state"].as_str().unwrap();
            assert!(["idle", "rendering"].contains(&state), "{row}");
            assert_eq!(row["flaky"], 0, "{row}");
            let accused = evidence.iter().find(|found| accuses(found, worker.node));
            assert!(accused.is_none(), "{accused:?}");
        }
    }
}

/// What `render evidence` lists; all of it proves what it says.
fn evidence(dir: &Path) -> Vec<serde_json::Value> {
    let listed = render(dir, &["evidence", "--json"]);
    assert!(listed.status.success(), "{}", words(&listed));
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let found: Vec<serde_json::Value> = lines.collect();
    let is_genuine = |found: &serde_json::Value| found["genuine"] == true;
    assert!(found.iter().all(is_genuine), "{text}");
    found
}

fn accuses(evidence: &serde_json::Value, node: NodeId) -> bool {
    let accused = evidence["accused"].as_array().unwrap();
    accused.iter().any(|id| *id == node.to_string().as_str())
}

/// Somebody else renders the cell of each piece of evidence and finds the accused wrong.
fn assert_anybody_finds_them_wrong(dir: &Path, scene: &Path) {
    for found in evidence(dir) {
        let checked = Command::new(render_program().with_file_name("render-worker"))
            .args(["check-evidence", found["file"].as_str().unwrap()])
            .arg("--scene")
            .arg(scene)
            .output()
            .expect("render-worker starts");
        assert_eq!(checked.status.code(), Some(0), "{}", words(&checked));
    }
}
