//! A worker in this process, and a bare node that plays its requestor.

use engine::{Engine, TracerEngine};
use network::{Access, BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::{
    Address, Blake3Hash, BundleFile, EngineKind, Glm, JobId, JobSpec, Manifest, NodeId, Pass, Rect,
    RenderSettings, Size, TaskId, TaskSpec,
    message::{Reply, Request},
};
use render_worker::{Started, WorkerConfig, serve};
use std::path::Path;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const TRIANGLE: &str = r#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],
"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],
"buffers":[{"byteLength":36,"uri":"data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"}],
"bufferViews":[{"buffer":0,"byteLength":36}],
"accessors":[{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}]}"#;

const PAYER: Address = Address([7; 20]);

fn config(data_dir: &Path, serve_only: Vec<NodeId>) -> (WorkerConfig, oneshot::Receiver<Started>) {
    let (started, starts) = oneshot::channel();
    let config = WorkerConfig {
        identity: Identity::generate(),
        payee: Address([9; 20]),
        data_dir: data_dir.to_owned(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        peers: Vec::new(),
        mdns: false,
        engines: vec![EngineKind::Tracer],
        price_megasample: Glm::from_wei(5),
        serve_only,
        about: "test".into(),
        started: Some(started),
    };
    (config, starts)
}

struct Requestor {
    node: Node,
    events: mpsc::Receiver<NodeEvent>,
    blobs: BlobStore,
    worker: NodeId,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<Result<(), render_worker::WorkerError>>,
    _folders: [TempDir; 2],
}

impl Requestor {
    async fn with_worker(serve_only: Vec<NodeId>) -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (config, starts) = config(folders[0].path(), serve_only);
        let (stop, stopped) = oneshot::channel::<()>();
        let make = |_| Ok(Box::new(TracerEngine::new()) as Box<dyn Engine>);
        let served = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            Box::pin(serve(config, make, stop)).await
        });
        let started = starts.await.unwrap();
        let blobs = BlobStore::open(folders[1].path()).unwrap();
        let mut own = NodeConfig::new(Identity::generate(), blobs.clone());
        own.listen.clear();
        let (node, events) = Node::start(own).await.unwrap();
        let worker = node.dial(&started.addresses[0]).await.unwrap();
        assert_eq!(worker, started.node);
        Self {
            node,
            events,
            blobs,
            worker,
            stop: Some(stop),
            served,
            _folders: folders,
        }
    }

    async fn ask(&self, request: Request) -> Reply {
        self.node.request(self.worker, request).await.unwrap()
    }

    async fn offer(&self, job: &JobSpec) -> Reply {
        let job = Box::new(job.clone());
        self.ask(Request::Offer { job, payer: PAYER }).await
    }

    fn job(&self) -> JobSpec {
        let scene = self.blobs.add_bytes(TRIANGLE.as_bytes()).unwrap();
        let file = BundleFile {
            path: "scene/triangle.gltf".into(),
            hash: scene,
            bytes: TRIANGLE.len() as u64,
        };
        let manifest = Manifest {
            entry: file.path.clone(),
            files: vec![file],
        };
        let bytes = postcard::to_stdvec(&manifest).unwrap();
        let manifest = self.blobs.add_bytes(&bytes).unwrap();
        self.blobs.allow(scene, Access::Only(self.worker));
        self.blobs.allow(manifest, Access::Only(self.worker));
        JobSpec {
            id: JobId([1; 16]),
            manifest,
            manifest_bytes: bytes.len() as u64,
            engine: EngineKind::Tracer,
            settings: RenderSettings {
                size: Size::new(32, 16).unwrap(),
                samples: 2,
                seed: 1,
                passes: vec![Pass::Combined],
                guard_px: 0,
            },
        }
    }

    /// The next thing that the worker says, heartbeats aside.
    async fn hear(&mut self) -> Request {
        loop {
            if let NodeEvent::Request { request, reply, .. } = self.events.recv().await.unwrap() {
                reply.send(Reply::Done);
                if !matches!(request, Request::Heartbeat { .. }) {
                    return request;
                }
            }
        }
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_offers_are_declined_and_strangers_refused() {
    let requestor = Requestor::with_worker(Vec::new()).await;
    let good = requestor.job();
    let mut bad = good.clone();
    bad.settings.samples = 0;
    let mut wide = good.clone();
    wide.settings.guard_px = 1_000;
    let mut missing = good.clone();
    missing.engine = EngineKind::Blender;
    for job in [bad, wide, missing] {
        let reply = requestor.offer(&job).await;
        assert!(matches!(reply, Reply::Declined { .. }), "{reply:?}");
    }
    let reply = requestor.offer(&good).await;
    assert!(matches!(reply, Reply::Quote { price_megasample, .. } if price_megasample.wei() == 5));
    let (job, task) = (JobId([2; 16]), TaskId(0));
    let reply = requestor.ask(Request::Reveal { job, task }).await;
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    requestor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_others_declines() {
    let requestor = Requestor::with_worker(vec![NodeId([3; 32])]).await;
    let reply = requestor.offer(&requestor.job()).await;
    assert!(matches!(reply, Reply::Declined { .. }), "{reply:?}");
    requestor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_rendered_committed_and_delivered() {
    let mut requestor = Requestor::with_worker(Vec::new()).await;
    let job = requestor.job();
    requestor.offer(&job).await;
    assert_eq!(
        requestor.ask(Request::Prepare { job: job.id }).await,
        Reply::Done
    );
    let ready = requestor.hear().await;
    assert!(matches!(ready, Request::Ready { .. }), "{ready:?}");
    let task = TaskSpec {
        id: TaskId(4),
        frame: 1,
        rects: vec![Rect {
            x: 8,
            y: 0,
            width: 24,
            height: 16,
        }],
    };
    let lease = Request::Lease {
        job: job.id,
        tasks: vec![task.clone()],
    };
    assert_eq!(requestor.ask(lease).await, Reply::Done);
    let Request::Commit {
        commitment,
        signature,
        ..
    } = requestor.hear().await
    else {
        panic!("no commitment");
    };
    let statement = verifier::commitment_statement(&job.id, task.id, &commitment);
    assert!(verifier::verify_signature(
        &requestor.worker,
        &statement,
        &signature
    ));
    let reveal = Request::Reveal {
        job: job.id,
        task: task.id,
    };
    let Reply::Revealed { salt, root } = requestor.ask(reveal.clone()).await else {
        panic!("not revealed");
    };
    let hash = task.hash(&job);
    assert_eq!(
        verifier::commitment(&requestor.worker, &hash, &salt, &root),
        commitment
    );
    let bytes = task.delivery_bytes(&job);
    requestor
        .node
        .fetch(requestor.worker, root, bytes, |_| {})
        .await
        .unwrap();
    let pixels = requestor.blobs.read(root, bytes).unwrap();
    assert_eq!(
        (pixels.len() as u64, Blake3Hash::of(&pixels)),
        (bytes, root)
    );

    let verdict = Request::Verdict {
        job: job.id,
        task: task.id,
        rejected: None,
    };
    assert_eq!(requestor.ask(verdict).await, Reply::Done);
    assert!(matches!(requestor.ask(reveal).await, Reply::Refused { .. }));
    assert_eq!(
        requestor.ask(Request::Close { job: job.id }).await,
        Reply::Done
    );
    let closed = requestor.ask(Request::Close { job: job.id }).await;
    assert!(matches!(closed, Reply::Refused { .. }), "{closed:?}");
    requestor.end().await;
}
