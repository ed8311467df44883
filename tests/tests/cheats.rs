//! Cheating workers against a real job: each must be caught, quarantined and unpaid, and the frames must be right.
//!
//! A cheat is a real worker whose engine returns something else than what was asked. Two honest workers stand beside
//! it, all three unknown to the requestor. Peers that are no workers at all send rubbish; the job goes on without them.

use engine::{
    CancelFlag, Engine, EngineError, SceneDescription, TracerEngine, calibrate, class_fingerprint,
};
use network::{Access, BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::{
    Address, Blake3Hash, EngineKind, Glm, JobId, JobSpec, NodeId, Rect, RenderSettings,
    RenderedRect, TaskId, TaskSpec,
    ids::Signature,
    message::{Reply, Request},
};
use render_worker::{Started, WorkerConfig, serve};
use std::{collections::HashMap, path::Path};
use tests::{job, render, scene, summary, words};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::oneshot};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Conduct {
    Honest,
    Black,
    PreviousFrame,
    Shifted,
    RimOnly,
}

struct Cheat {
    honest: TracerEngine,
    conduct: Conduct,
}

/// Calibrations are rendered honestly, as a cheat would: nobody works with a stranger's class.
const CALIBRATION_AREA: u64 = 64 * 64;

impl Engine for Cheat {
    fn prepare(&mut self, bundle: &Path, entry: &str) -> Result<SceneDescription, EngineError> {
        self.honest.prepare(bundle, entry)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        let is_calibration = rects.len() == 1 && rects[0].area() <= CALIBRATION_AREA;
        if self.conduct == Conduct::Honest || is_calibration {
            return self.honest.render(settings, frame, rects, cancel);
        }
        let shown = if self.conduct == Conduct::PreviousFrame {
            frame - 1
        } else {
            frame
        };
        let mut rendered = self.honest.render(settings, shown, rects, cancel)?;
        for rect in &mut rendered {
            let (width, height) = (rect.rect.width as usize, rect.rect.height as usize);
            for (_, plane) in &mut rect.planes {
                match self.conduct {
                    Conduct::Black => plane.fill([0.0, 0.0, 0.0, 1.0]),
                    Conduct::Shifted => plane.rotate_right(1),
                    Conduct::RimOnly => {
                        for y in 8..height.saturating_sub(16) {
                            for x in 8..width.saturating_sub(16) {
                                plane[y * width + x] = [0.5, 0.5, 0.5, 1.0];
                            }
                        }
                    }
                    Conduct::Honest | Conduct::PreviousFrame => {}
                }
            }
        }
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.honest.build()
    }
}

/// Starts a worker in this process; it ends with the runtime.
async fn start(conduct: Conduct, dir: &Path, number: u8) -> Started {
    let (started, starting) = oneshot::channel();
    let config = WorkerConfig {
        identity: Identity::generate(),
        payee: Address([number; 20]),
        data_dir: dir.join(format!("worker{number}")),
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
        peers: Vec::new(),
        mdns: false,
        engines: vec![EngineKind::Tracer],
        price_megasample: Glm::from_wei(1_000_000_000_000),
        serve_only: Vec::new(),
        hold: std::time::Duration::ZERO,
        engine_idle: std::time::Duration::ZERO,
        about: "test".into(),
        started: Some(started),
    };
    tokio::spawn(serve(
        config,
        move |_| {
            Ok(Box::new(Cheat {
                honest: TracerEngine::new(),
                conduct,
            }) as Box<dyn Engine>)
        },
        std::future::pending(),
    ));
    starting.await.expect("the worker starts")
}

fn frames(dir: &Path, name: &str, options: &str) -> serde_json::Value {
    let options = format!("--frames 2-4 --size 256x256 --samples 1 --tile 128 {options}");
    let pattern = format!("{name}-####.exr");
    let output = job(dir, &scene("reading_room.glb"), &pattern, &options);
    assert!(output.status.success(), "{name}: {}", words(&output));
    summary(&output)
}

fn assert_right(dir: &Path, name: &str) {
    for frame in 2..=4 {
        let read = |name: &str| std::fs::read(dir.join(format!("{name}-{frame:04}.exr"))).unwrap();
        assert!(read(name) == read("reference"), "{name}, frame {frame}");
    }
}

/// What the summary says of a worker; nothing if it never took part.
fn row(summary: &serde_json::Value, node: NodeId) -> serde_json::Value {
    let rows = summary["workers"].as_array().unwrap();
    let id = node.to_string();
    let found = rows.iter().find(|row| row["worker"] == id.as_str());
    found.cloned().unwrap_or_default()
}

#[test]
fn cheats_are_caught_quarantined_and_unpaid_and_the_frames_are_right() {
    let dir = tempfile::tempdir().unwrap();
    frames(dir.path(), "reference", "--local 1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut number = 0;
    for conduct in [
        Conduct::Black,
        Conduct::PreviousFrame,
        Conduct::Shifted,
        Conduct::RimOnly,
    ] {
        let workers: Vec<Started> = [conduct, Conduct::Honest, Conduct::Honest]
            .into_iter()
            .map(|conduct| {
                number += 1;
                runtime.block_on(start(conduct, dir.path(), number))
            })
            .collect();
        let peers = workers
            .iter()
            .map(|worker| format!("--peer {} ", worker.addresses[0]));
        let name = format!("{conduct:?}");
        let summary = frames(dir.path(), &name, &peers.collect::<String>());
        let cheat = row(&summary, workers[0].node);
        assert_eq!(cheat["state"], "quarantined", "{name}: {summary}");
        assert_eq!(cheat["tiles"], 0, "{name}: {summary}");
        for honest in &workers[1..] {
            let honest = row(&summary, honest.node);
            assert_ne!(honest["state"], "quarantined", "{name}: {summary}");
        }
        assert!(summary["checks_failed"].as_u64().unwrap() > 0);
        assert_right(dir.path(), &name);
        if conduct == Conduct::RimOnly {
            stays_caught(dir.path(), &workers);
        }
    }
}

/// The first of these was caught in an earlier job: it is known for it and gets no work in the next.
fn stays_caught(dir: &Path, workers: &[Started]) {
    let known = render(dir, &["providers", "--json"]);
    let known = String::from_utf8(known.stdout).unwrap();
    let cheat = workers[0].node.to_string();
    let line = known.lines().find(|line| line.contains(&cheat));
    let known: serde_json::Value = serde_json::from_str(line.expect(&known)).unwrap();
    assert_eq!(known["level"], "quarantined", "{known}");
    let evidence = known["faults"][0]["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("frame "), "{known}");
    let peers = workers
        .iter()
        .map(|worker| format!("--peer {} ", worker.addresses[0]));
    let summary = frames(dir, "again", &peers.collect::<String>());
    assert!(row(&summary, workers[0].node).is_null(), "{summary}");
    assert_eq!(summary["checks_failed"], 0, "{summary}");
    assert_right(dir, "again");
}

/// What a peer says that keeps to the protocol's letter and talks rubbish.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rubbish {
    /// Terms and messages without sense.
    Words,
    /// Commitments that it cannot open.
    Commitments,
    /// Pixels that are no numbers.
    Pixels,
    /// Half of the pixels.
    Halves,
}

/// The class that honest workers of this job have, so that a liar gets leases.
fn class_of(job: &JobSpec) -> Blake3Hash {
    let mut engine = TracerEngine::new();
    let room = scene("reading_room.glb");
    let described = engine.prepare(room.parent().unwrap(), "reading_room.glb");
    let (frame, settings) = (described.unwrap().frames.0, &job.settings);
    let calibration = calibrate(&mut engine, settings, frame, &CancelFlag::default()).unwrap();
    class_fingerprint(&engine.build(), calibration.root)
}

/// A peer that talks rubbish to whoever offers it a job.
struct Babbler {
    node: Node,
    blobs: BlobStore,
    rubbish: Rubbish,
    job: Option<JobSpec>,
    commitments: HashMap<TaskId, Blake3Hash>,
}

impl Babbler {
    /// Starts one; it ends with the runtime.
    async fn start(rubbish: Rubbish, dir: &Path) -> (NodeId, String) {
        let blobs = BlobStore::open(dir.join(format!("{rubbish:?}"))).unwrap();
        let mut config = NodeConfig::new(Identity::generate(), blobs.clone());
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()];
        let (node, mut events) = Node::start(config).await.unwrap();
        let (id, address) = (node.id(), node.addresses().await.remove(0));
        let mut babbler = Self {
            node,
            blobs,
            rubbish,
            job: None,
            commitments: HashMap::new(),
        };
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let NodeEvent::Request {
                    peer,
                    request,
                    reply,
                } = event
                {
                    reply.send(babbler.reply(&request));
                    babbler.talk(peer, request).await;
                }
            }
        });
        (id, address)
    }

    fn reply(&mut self, request: &Request) -> Reply {
        match request {
            Request::Offer { job, .. } => {
                self.job = Some(job.as_ref().clone());
                Reply::Quote {
                    price_megasample: match self.rubbish {
                        Rubbish::Words => Glm::from_wei(u128::MAX),
                        _ => Glm::from_wei(1),
                    },
                    payee: Address([255; 20]),
                    about: "\u{1b}[31mred\r\n\0".repeat(100),
                    device: "\u{1b}[2J\0".repeat(12),
                    held: vec![TaskId(u64::MAX); 3],
                    hold_s: u32::MAX,
                }
            }
            Request::Reveal { task, .. } => match self.commitments.get(task) {
                Some(&root) => Reply::Revealed {
                    salt: [0; 32],
                    root,
                },
                None => Reply::Quote {
                    price_megasample: Glm::ZERO,
                    payee: Address([0; 20]),
                    about: String::new(),
                    device: String::new(),
                    held: Vec::new(),
                    hold_s: 0,
                },
            },
            _ => Reply::Done,
        }
    }

    async fn talk(&mut self, peer: NodeId, request: Request) {
        let Some(job) = self.job.clone() else { return };
        let said = match request {
            Request::Prepare { .. } if self.rubbish == Rubbish::Words => nonsense(job.id),
            Request::Prepare { .. } => vec![Request::Ready {
                job: job.id,
                class: class_of(&job),
                calibration: Blake3Hash([0; 32]),
                megasample_ms: 0,
            }],
            Request::Lease { tasks, .. } => {
                let commit = tasks.iter().map(|task| self.commit(&job, task, peer));
                commit.collect()
            }
            _ => Vec::new(),
        };
        for request in said {
            // Whether it is refused or the connection is cut is the requestor's choice.
            let _ = self.node.request(peer, request).await;
        }
    }

    fn commit(&mut self, job: &JobSpec, task: &TaskSpec, requestor: NodeId) -> Request {
        let due = task.delivery_bytes(job) as usize;
        let root = match self.rubbish {
            Rubbish::Words | Rubbish::Commitments => Blake3Hash([7; 32]),
            Rubbish::Pixels => self.blobs.add_bytes(&vec![255; due]).unwrap(),
            Rubbish::Halves => self.blobs.add_bytes(&vec![0; due / 2]).unwrap(),
        };
        self.blobs.allow(root, Access::Only(requestor));
        self.commitments.insert(task.id, root);
        let hash = task.hash(job);
        let commitment = verifier::commitment(&self.node.id(), &hash, &[0; 32], &root);
        let statement = verifier::commitment_statement(&job.id, task.id, &commitment);
        Request::Commit {
            job: job.id,
            task: task.id,
            commitment,
            signature: self.node.sign(&statement),
            render_ms: 0,
        }
    }
}

/// Messages that are well formed and mean nothing here.
fn nonsense(job: JobId) -> Vec<Request> {
    let (other, task) = (JobId([9; 16]), TaskId(u64::MAX));
    vec![
        Request::Ready {
            job: other,
            class: Blake3Hash([1; 32]),
            calibration: Blake3Hash([1; 32]),
            megasample_ms: u32::MAX,
        },
        Request::Ready {
            job,
            class: Blake3Hash([1; 32]),
            calibration: Blake3Hash([1; 32]),
            megasample_ms: 0,
        },
        Request::Commit {
            job,
            task,
            commitment: Blake3Hash([2; 32]),
            signature: Signature::from_bytes(&[3; 64]),
            render_ms: u32::MAX,
        },
        Request::Heartbeat {
            job,
            tasks: (0..64).map(TaskId).collect(),
        },
        Request::Failed {
            job,
            task: Some(task),
            reason: "\u{202e}\n\t".repeat(200),
        },
        Request::Lease {
            job,
            tasks: Vec::new(),
            next: true,
        },
        Request::Close { job },
        Request::Failed {
            job,
            task: None,
            reason: String::new(),
        },
    ]
}

/// A port that answers every connection with bytes that are no protocol at all.
async fn noise() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The other side hangs up at some byte.
            let _ = stream.write_all(&[0xa5; 100_000]).await;
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}")
}

#[test]
fn peers_that_send_rubbish_do_not_stop_a_job() {
    let dir = tempfile::tempdir().unwrap();
    frames(dir.path(), "reference", "--local 1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (babblers, peers) = runtime.block_on(async {
        let mut peers = vec![noise().await];
        let mut babblers = Vec::new();
        for rubbish in [
            Rubbish::Words,
            Rubbish::Commitments,
            Rubbish::Pixels,
            Rubbish::Halves,
        ] {
            let (node, address) = Babbler::start(rubbish, dir.path()).await;
            babblers.push((rubbish, node));
            peers.push(address);
        }
        for number in 1..=2 {
            let mut honest = start(Conduct::Honest, dir.path(), number).await;
            peers.push(honest.addresses.remove(0));
        }
        (babblers, peers)
    });
    let options: String = peers.iter().map(|peer| format!("--peer {peer} ")).collect();
    let summary = frames(dir.path(), "rubbish", &options);
    assert_right(dir.path(), "rubbish");
    for (rubbish, node) in babblers {
        let row = row(&summary, node);
        assert!(row.is_object(), "{rubbish:?} took no part: {summary}");
        assert_eq!(row["tiles"], 0, "{rubbish:?}: {summary}");
        assert_eq!(row["glm"], "0", "{rubbish:?}: {summary}");
    }
}
