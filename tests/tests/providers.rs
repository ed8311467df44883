//! `render providers`: the user's word on providers, faults told between requestors, and a word that takes effect while a
//! job runs.

use engine::{CancelFlag, Device, Engine, EngineError, SceneDescription, TracerEngine};
use network::Identity;
use protocol::{Address, EngineKind, Glm, NodeId, Rect, RenderSettings, RenderedRect};
use render_worker::{Started, WorkerConfig, serve};
use std::{
    path::Path,
    process::Output,
    sync::{Arc, Condvar, Mutex, mpsc},
    time::Duration,
};
use tests::{job, render, scene, summary, words};
use tokio::sync::oneshot;

const NODE: NodeId = NodeId([0xab; 32]);
const OTHER: NodeId = NodeId([0xcd; 32]);

fn providers(data: &Path, arguments: &[&str]) -> Output {
    render(data, &[&["providers"], arguments].concat())
}

fn said(data: &Path, arguments: &[&str]) -> String {
    let output = providers(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What is known of a provider, as JSON.
fn known(data: &Path, node: NodeId) -> serde_json::Value {
    serde_json::from_str(&said(data, &[&node.to_string(), "--json"])).unwrap()
}

#[test]
fn the_users_word_is_kept_shown_and_taken_back() {
    let data = tempfile::tempdir().unwrap();
    let (data, node) = (data.path(), NODE.to_string());
    assert!(said(data, &[]).contains("no provider"));
    assert_eq!(said(data, &["--json"]), "");
    for (command, word) in [("own", "own"), ("deny", "denied"), ("allow", "allowed")] {
        assert!(said(data, &[command, &node]).starts_with(&node));
        assert_eq!(known(data, NODE)["word"], word);
        let list = said(data, &[]);
        assert!(list.contains(&node) && list.contains(word), "{list}");
        // Its first digits are enough now.
        assert!(said(data, &["AB"]).contains(word));
    }
    let told = said(data, &["deny", &OTHER.to_string(), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["provider"], &told["word"]),
        (&OTHER.to_string().into(), &"denied".into())
    );
    said(data, &["clear", "ab"]);
    said(data, &["forget", "cd"]);
    assert_eq!(said(data, &["--json"]), "");
}

#[test]
fn what_is_no_identity_is_refused_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let short = "a".repeat(63);
    for command in ["own", "deny", "allow", "clear", "forget"] {
        for wrong in [
            "",
            "xyz",
            "ab",
            "\u{1b}[2J\n",
            &short,
            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooW",
        ] {
            let output = providers(data.path(), &[command, wrong]);
            assert_eq!(output.status.code(), Some(2), "{command} {wrong:?}");
            let told = String::from_utf8(output.stderr).unwrap();
            let errors: Vec<&str> = told
                .lines()
                .filter(|line| line.starts_with("error: "))
                .collect();
            assert_eq!((errors.len(), told.lines().count()), (1, 2), "{told}");
        }
    }
    let stranger = providers(data.path(), &[&NODE.to_string()]);
    assert_eq!(stranger.status.code(), Some(2), "{}", words(&stranger));
    let arguments = ["none.glb", "--only-known", "--allow", "xyz"];
    let output = render(data.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("error: --allow: `xyz`"),
        "{}",
        words(&output)
    );
}

#[test]
fn faults_told_by_others_are_claims_and_are_not_passed_on() {
    let data = tempfile::tempdir().unwrap();
    let (data, file) = (data.path(), data.path().join("faults.jsonl"));
    let path = file.to_str().unwrap();
    let line = |kind: &str| {
        let job = "0123456789abcdef".repeat(2);
        let evidence = "frame 3: black \u{1b}[31m";
        serde_json::json!({
            "node": NODE.to_string(), "kind": kind, "at": 1_700_000_000, "job": job, "evidence": evidence, "bundle": "3.evidence"
        })
    };
    std::fs::write(&file, format!("{}\n{}\n", line("fraud"), line("rude"))).unwrap();
    let refused = providers(data, &["import", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(words(&refused).contains("line 2"), "{}", words(&refused));
    assert_eq!(said(data, &["--json"]), "");
    std::fs::write(&file, format!("{}\n{}\n", line("fraud"), line("flaky"))).unwrap();
    for new in [2, 0] {
        let told: serde_json::Value =
            serde_json::from_str(&said(data, &["import", path, "--json"])).unwrap();
        assert_eq!(
            (&told["new"], &told["known"]),
            (&new.into(), &(2 - new).into())
        );
    }
    let known = known(data, NODE);
    assert_eq!(
        (&known["level"], &known["quarantined"]),
        (&"unknown".into(), &().into())
    );
    assert_eq!(known["faults"][0]["proof"], "claimed");
    let details = said(data, &[&NODE.to_string()]);
    let bundle = data.join("3.evidence").display().to_string();
    assert!(
        details.contains("not verified") && details.contains(&bundle),
        "{details}"
    );
    assert!(!details.contains('\u{1b}'));
    assert_eq!(said(data, &["export"]), "");
}

/// Opens once, for all who wait at it.
#[derive(Debug, Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn is_open_after(&self, wait: Duration) -> bool {
        let shut = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(shut, wait, |is_open| !*is_open);
        *waited.unwrap().0
    }
}

/// What a worker's engine does with tiles.
#[derive(Clone)]
enum Conduct {
    /// Tells that it was asked and holds the tile until the requestor wants it no more; then the gate opens.
    Holds(mpsc::SyncSender<()>, Gate),
    /// Renders as soon as the gate is open.
    Waits(Gate),
}

struct Conditional {
    tracer: TracerEngine,
    conduct: Conduct,
}

/// Calibrations are rendered at once.
const CALIBRATION_AREA: u64 = 64 * 64;
const LOOK: Duration = Duration::from_millis(10);

impl Engine for Conditional {
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
        let is_calibration = rects.len() == 1 && rects[0].area() <= CALIBRATION_AREA;
        match &self.conduct {
            _ if is_calibration => {}
            Conduct::Holds(asked, gate) => {
                // Only the first time is waited for.
                let _ = asked.try_send(());
                while !cancel.is_cancelled() {
                    std::thread::sleep(LOOK);
                }
                gate.open();
            }
            Conduct::Waits(gate) => while !gate.is_open_after(LOOK) && !cancel.is_cancelled() {},
        }
        self.tracer.render(settings, frame, rects, cancel)
    }

    fn build(&self) -> String {
        self.tracer.build()
    }
}

/// Starts a worker in this process; it ends with the runtime.
async fn start(conduct: Conduct, dir: &Path, number: u8) -> Started {
    let (started, starting) = oneshot::channel();
    let config = WorkerConfig {
        terms: protocol::message::Terms::LOCAL,
        chain: None,
        identity: Identity::generate(),
        payee: Address([number; 20]),
        data_dir: dir.join(format!("worker{number}")),
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
        peers: Vec::new(),
        mdns: false,
        spare: None,
        engines: vec![EngineKind::Tracer],
        blender: None,
        device: Device::default(),
        price_megasample: Glm::from_wei(1_000_000_000_000),
        cache_bytes: 1 << 30,
        requestor_blobs: None,
        serve_only: Vec::new(),
        hold: Duration::ZERO,
        engine_idle: Duration::ZERO,
        about: "test".into(),
        started: Some(started),
    };
    let make = move |_| {
        let (tracer, conduct) = (TracerEngine::new(), conduct.clone());
        Ok(Box::new(Conditional { tracer, conduct }) as Box<dyn Engine>)
    };
    tokio::spawn(serve(config, make, std::future::pending()));
    starting.await.expect("the worker starts")
}

#[test]
fn a_worker_that_is_denied_while_it_works_is_dropped_from_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (gate, (tell, asked)) = (Gate::default(), mpsc::sync_channel(1));
    let conducts = [
        Conduct::Holds(tell, gate.clone()),
        Conduct::Waits(gate.clone()),
        Conduct::Waits(gate),
    ];
    let workers: Vec<Started> = conducts
        .into_iter()
        .zip(1..)
        .map(|(conduct, number)| runtime.block_on(start(conduct, dir.path(), number)))
        .collect();
    let peers = workers
        .iter()
        .map(|worker| format!("--peer {} ", worker.addresses[0]));
    let options = format!(
        "--frames 2-4 --size 256x256 --samples 1 --tile 128 --deadline 5m {}",
        peers.collect::<String>()
    );
    let output = std::thread::scope(|scope| {
        let running =
            scope.spawn(|| job(dir.path(), &scene("reading_room.glb"), "####.exr", &options));
        // Nobody delivers a tile before the denied worker's are taken back; if they are not, the deadline ends the job.
        asked.recv().unwrap();
        said(dir.path(), &["deny", &workers[0].addresses[0]]);
        running.join().unwrap()
    });
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    let rows = summary["workers"].as_array().unwrap();
    for (worker, has_tiles) in workers.iter().zip([false, true, true]) {
        let id = worker.node.to_string();
        let row = rows
            .iter()
            .find(|row| row["worker"] == id.as_str())
            .unwrap();
        assert_eq!(row["tiles"].as_u64().unwrap() > 0, has_tiles, "{summary}");
    }
    assert_eq!(known(dir.path(), workers[0].node)["word"], "denied");
    let honest = known(dir.path(), workers[1].node);
    assert_eq!(honest["work"][0]["device"], "cpu", "{honest}");
    assert_eq!(honest["work"][0]["engine"], "tracer", "{honest}");
    let why = honest["work"][0]["why"].as_str().unwrap();
    assert!(why.ends_with("of 20 checked tiles, 0 of 1 days"), "{why}");
    // Now nobody but the allowed one is known.
    let options = format!("{options} --only-known --allow {}", workers[1].addresses[0]);
    let output = job(
        dir.path(),
        &scene("reading_room.glb"),
        "again-####.exr",
        &options,
    );
    let again = tests::summary(&output);
    let named = again["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["worker"].clone());
    assert_eq!(
        named.collect::<Vec<_>>(),
        [workers[1].node.to_string()],
        "{again}"
    );
}
