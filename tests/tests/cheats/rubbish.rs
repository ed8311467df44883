//! Peers that keep to the protocol's letter and talk rubbish: the job goes on without them, and they earn nothing.

use crate::{
    conduct::{Cheat, Conduct},
    gate::Gate,
    start, tracer,
};
use engine::{CancelFlag, Engine, TracerEngine, calibrate, class_fingerprint};
use network::{Access, BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::{
    Address, Blake3Hash, Glm, JobId, JobSpec, NodeId, Pass, TaskId, TaskSpec,
    ids::Signature,
    message::{Reply, Request},
    pixels::{CELL_PASS_BYTES, canonical_length, task_bytes},
};
use std::{collections::HashMap, path::Path};
use tests::scene;
use tokio::{io::AsyncWriteExt, net::TcpListener};

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
    /// The right pixels, one of which is no number.
    NotANumber,
    /// The right pixels, one of which is infinite.
    Infinite,
    /// All passes but the last.
    MissingPass,
    /// All rectangles but the last, or half of the only one.
    MissingRect,
    /// An empty list of rectangles.
    Nothing,
    /// A row of cells more than the rectangle has.
    TooManyRows,
}

/// Fewer of them ask for tiles than may fail one before its frame is given up.
const ALL: [Rubbish; 10] = [
    Rubbish::Words,
    Rubbish::Commitments,
    Rubbish::Pixels,
    Rubbish::Halves,
    Rubbish::NotANumber,
    Rubbish::Infinite,
    Rubbish::MissingPass,
    Rubbish::MissingRect,
    Rubbish::Nothing,
    Rubbish::TooManyRows,
];

/// The class that honest workers of this job have, so that a liar gets leases.
fn class_of(engine: &mut TracerEngine, job: &JobSpec) -> Blake3Hash {
    let room = scene("reading_room.glb");
    let described = engine.prepare(room.parent().unwrap(), "reading_room.glb", None);
    let (frame, settings) = (described.unwrap().frames.0, &job.settings);
    let calibration = calibrate(engine, settings, frame, &CancelFlag::default()).unwrap();
    class_fingerprint(&engine.build(), calibration.root)
}

/// A peer that talks rubbish to whoever offers it a job.
struct Babbler {
    node: Node,
    blobs: BlobStore,
    engine: TracerEngine,
    rubbish: Rubbish,
    gate: Gate,
    job: Option<JobSpec>,
    commitments: HashMap<TaskId, Blake3Hash>,
}

impl Babbler {
    /// Starts one; it ends with the runtime.
    async fn start(rubbish: Rubbish, dir: &Path, gate: Gate) -> (NodeId, String) {
        let blobs = BlobStore::open(dir.join(format!("{rubbish:?}"))).unwrap();
        let mut config = NodeConfig::new(Identity::generate(), blobs.clone());
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()];
        let (node, mut events) = Node::start(config).await.unwrap();
        let (id, address) = (node.id(), node.addresses().await.remove(0));
        let mut babbler = Self {
            node,
            blobs,
            engine: TracerEngine::new(),
            rubbish,
            gate,
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
                class: class_of(&mut self.engine, &job),
                calibration: Blake3Hash([0; 32]),
                megasample_ms: 0,
            }],
            Request::Lease { tasks, .. } => {
                let commit = tasks.iter().map(|task| self.commit(&job, task, peer));
                commit.collect()
            }
            _ => return,
        };
        let is_done = self.rubbish == Rubbish::Words || !self.commitments.is_empty();
        for request in said {
            // Whether it is refused or the connection is cut is the requestor's choice.
            let _ = self.node.request(peer, request).await;
        }
        if is_done {
            self.gate.pass(&format!("{:?}", self.rubbish));
        }
    }

    /// What it delivers for a task, if there is anything.
    fn pixels(&mut self, job: &JobSpec, task: &TaskSpec) -> Option<Vec<u8>> {
        let due = task.delivery_bytes(job) as usize;
        match self.rubbish {
            Rubbish::Words | Rubbish::Commitments => return None,
            Rubbish::Pixels => return Some(vec![255; due]),
            Rubbish::Halves => return Some(vec![0; due / 2]),
            Rubbish::Nothing => return Some(Vec::new()),
            _ => {}
        }
        let mut passes = job.settings.passes.clone();
        if self.rubbish == Rubbish::MissingPass {
            passes.pop();
        }
        let mut pixels = self.right_pixels(job, task, &passes);
        let rects = task.delivered();
        match self.rubbish {
            Rubbish::MissingRect => pixels.truncate(match rects.as_ref() {
                [kept @ .., _] if !kept.is_empty() => canonical_length(kept, passes.len()) as usize,
                _ => due / 2,
            }),
            Rubbish::TooManyRows => {
                let row = rects[0].cells_across() as usize * passes.len() * CELL_PASS_BYTES;
                pixels.extend_from_within(..row);
            }
            Rubbish::NotANumber => spoil(&mut pixels, f32::NAN),
            Rubbish::Infinite => spoil(&mut pixels, f32::INFINITY),
            _ => {}
        }
        Some(pixels)
    }

    fn right_pixels(&mut self, job: &JobSpec, task: &TaskSpec, passes: &[Pass]) -> Vec<u8> {
        let mut settings = job.settings.clone();
        settings.passes = passes.to_vec();
        let secret = task.pixels.zip(task.rects.first());
        let rects = match secret {
            Some((pixels, rect)) => pixels.rects(rect),
            None => task.rects.clone(),
        };
        let never = CancelFlag::default();
        let rendered = self.engine.render(&settings, task.frame, &rects, &never);
        let rendered = rendered.unwrap();
        let bytes = match secret {
            Some((pixels, rect)) => pixels.pack(rect, passes, &rendered),
            None => task_bytes(&rendered, passes),
        };
        bytes.unwrap()
    }

    fn commit(&mut self, job: &JobSpec, task: &TaskSpec, requestor: NodeId) -> Request {
        let root = match self.pixels(job, task) {
            Some(pixels) => self.blobs.add_bytes(&pixels).unwrap(),
            None => Blake3Hash([7; 32]),
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

/// Sets one value in the middle.
fn spoil(pixels: &mut [u8], value: f32) {
    let middle = pixels.len() / 2;
    pixels[middle..middle + 4].copy_from_slice(&value.to_le_bytes());
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
    let (task, make_engine) = (tracer::task(), tracer::engines());
    let gate = Gate::new(ALL.iter().map(|rubbish| format!("{rubbish:?}")), 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (babblers, peers) = runtime.block_on(async {
        let mut peers = vec![noise().await];
        let mut babblers = Vec::new();
        for rubbish in ALL {
            let (node, address) = Babbler::start(rubbish, dir.path(), gate.clone()).await;
            babblers.push((rubbish, node));
            peers.push(address);
        }
        for _ in 0..2 {
            let (make_engine, gate) = (make_engine.clone(), gate.clone());
            let honest = move || Cheat::new(Conduct::Honest, make_engine(None), None, gate.clone());
            let mut honest = start(task.kind, dir.path(), honest).await;
            peers.push(honest.addresses.remove(0));
        }
        (babblers, peers)
    });
    let ran = task.run(dir.path(), "rubbish", &peers);
    task.assert_right(dir.path(), "rubbish", tracer::truth());
    for (rubbish, node) in babblers {
        let row = ran.row(node);
        assert!(
            row.is_object(),
            "{rubbish:?} took no part: {}",
            ran.summary()
        );
        assert_ne!(row["state"], "quarantined", "{rubbish:?}: {row}");
        assert_eq!(row["tiles"], 0, "{rubbish:?}: {row}");
        assert_eq!(row["glm"], "0", "{rubbish:?}: {row}");
        let is_refused = row["rejected"].as_u64() > Some(0);
        assert_eq!(is_refused, rubbish != Rubbish::Words, "{rubbish:?}: {row}");
    }
}
