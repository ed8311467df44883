//! A worker in this process, and bare nodes that play its requestors.

use engine::{Device, Engine, TracerEngine};
use network::{Access, BlobStore, Identity, Node, NodeConfig, NodeEvent};
use protocol::{
    Address, Blake3Hash, BundleFile, EngineKind, Glm, JobId, JobSpec, Manifest, NodeId, Pass, Rect,
    RenderSettings, Size, TaskId, TaskSpec,
    ids::Signature,
    message::{Reply, Request, Terms},
};
use render_worker::{Started, WorkerConfig, WorkerError, serve};
use std::{collections::HashMap, path::Path, sync::Mutex, time::Duration};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

const TRIANGLE: &str = r#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],
"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],
"buffers":[{"byteLength":36,"uri":"data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"}],
"bufferViews":[{"buffer":0,"byteLength":36}],
"accessors":[{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}]}"#;

const PAYER: Address = Address([7; 20]);
const HOUR: Duration = Duration::from_secs(3600);

pub struct Worker {
    started: Started,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), WorkerError>>,
    folder: TempDir,
}

fn config(data_dir: &Path, started: oneshot::Sender<Started>) -> WorkerConfig {
    WorkerConfig {
        terms: Terms::LOCAL,
        chain: None,
        identity: Identity::generate(),
        payee: Address([9; 20]),
        data_dir: data_dir.to_owned(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        peers: Vec::new(),
        mdns: false,
        spare: None,
        engines: vec![EngineKind::Tracer],
        blender: None,
        device: Device::default(),
        price_megasample: Glm::from_wei(5),
        cache_bytes: 1 << 30,
        requestor_blobs: None,
        serve_only: Vec::new(),
        hold: HOUR,
        engine_idle: HOUR,
        about: "test".into(),
        started: Some(started),
    }
}

impl Worker {
    pub async fn start(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        Self::with_engine(change, || Box::new(TracerEngine::new())).await
    }

    pub async fn with_engine(
        change: impl FnOnce(&mut WorkerConfig),
        make: impl Fn() -> Box<dyn Engine> + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (started, starts) = oneshot::channel();
        let mut config = config(folder.path(), started);
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            Box::pin(serve(config, move |_| Ok(make()), stop)).await
        });
        Self {
            started: starts.await.unwrap(),
            stop,
            served,
            folder,
        }
    }

    /// Waits until no scene of a job that is over is on disk.
    pub async fn keeps_no_scene(&self) {
        for folder in ["scenes", "blobs"] {
            let folder = self.folder.path().join(folder);
            while std::fs::read_dir(&folder).unwrap().next().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub async fn end(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    pub task: TaskId,
    commitment: Blake3Hash,
    signature: Signature,
}

pub struct Requestor {
    /// Who pays, and how.
    pub payer: Address,
    pub terms: Terms,
    node: Node,
    events: mpsc::Receiver<NodeEvent>,
    blobs: BlobStore,
    address: String,
    worker: NodeId,
    /// For which task each salt was drawn.
    salts: Mutex<HashMap<[u8; 32], TaskId>>,
    _folder: TempDir,
}

impl Requestor {
    pub async fn of(worker: &Worker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let mut own = NodeConfig::new(Identity::generate(), blobs.clone());
        own.listen.clear();
        let (node, events) = Node::start(own).await.unwrap();
        let requestor = Self {
            payer: PAYER,
            terms: Terms::LOCAL,
            node,
            events,
            blobs,
            address: worker.started.addresses[0].clone(),
            worker: worker.started.node,
            salts: Mutex::default(),
            _folder: folder,
        };
        requestor.come().await;
        requestor
    }

    pub async fn come(&self) {
        assert_eq!(self.node.dial(&self.address).await.unwrap(), self.worker);
    }

    pub async fn leave(&mut self) {
        self.node.disconnect(self.worker).await;
        while !matches!(
            self.events.recv().await.unwrap(),
            NodeEvent::Disconnected { .. }
        ) {}
    }

    pub async fn ask(&self, request: Request) -> Reply {
        self.node.request(self.worker, request).await.unwrap()
    }

    pub async fn offer(&self, job: &JobSpec) -> Reply {
        let job = Box::new(job.clone());
        self.ask(Request::Offer {
            job,
            payer: self.payer,
            terms: self.terms,
        })
        .await
    }

    /// The tasks that the worker says it has of a job.
    pub async fn offer_again(&self, job: &JobSpec) -> Vec<TaskId> {
        match self.offer(job).await {
            Reply::Quote { held, .. } => held,
            other => panic!("{other:?}"),
        }
    }

    /// Prepares the job and gives what the worker says of its engine.
    pub async fn prepare(&mut self, job: &JobSpec) -> Request {
        let prepare = Request::Prepare {
            job: job.id,
            segmented: Vec::new(),
        };
        assert_eq!(self.ask(prepare).await, Reply::Done);
        let ready = self.hear().await;
        assert!(matches!(ready, Request::Ready { .. }), "{ready:?}");
        ready
    }

    pub async fn lease(&self, job: &JobSpec, tasks: &[TaskSpec]) {
        assert_eq!(self.try_lease(job, tasks).await, Reply::Done);
    }

    pub async fn try_lease(&self, job: &JobSpec, tasks: &[TaskSpec]) -> Reply {
        let tasks = tasks.to_vec();
        let lease = Request::Lease {
            job: job.id,
            tasks,
            next: false,
        };
        self.ask(lease).await
    }

    /// Has a task delivered and accepts it.
    pub async fn accept(&mut self, job: &JobSpec, task: &TaskSpec) {
        let commitment = self.hear_commitment().await;
        self.take(job, task, &commitment).await;
        let verdict = Request::Verdict {
            job: job.id,
            task: task.id,
            rejected: None,
        };
        assert_eq!(self.ask(verdict).await, Reply::Done);
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    pub fn job(&self) -> JobSpec {
        self.job_of(Vec::new())
    }

    /// A job whose scene has these files before its own.
    pub fn job_of(&self, mut files: Vec<BundleFile>) -> JobSpec {
        let scene = self.blobs.add_bytes(TRIANGLE.as_bytes()).unwrap();
        let file = BundleFile {
            path: "scene/triangle.gltf".into(),
            hash: scene,
            bytes: TRIANGLE.len() as u64,
        };
        let entry = file.path.clone();
        files.push(file);
        let manifest = Manifest { entry, files };
        let bytes = postcard::to_stdvec(&manifest).unwrap();
        let manifest = self.blobs.add_bytes(&bytes).unwrap();
        self.blobs.allow(scene, Access::Only(self.worker));
        self.blobs.allow(manifest, Access::Only(self.worker));
        let mut id = [0; 16];
        id.copy_from_slice(&self.node.id().0[..16]);
        JobSpec {
            id: JobId(id),
            manifest,
            manifest_bytes: bytes.len() as u64,
            engine: EngineKind::Tracer,
            blender: None,
            settings: RenderSettings {
                size: Size::new(32, 16).unwrap(),
                samples: 2,
                seed: 1,
                passes: vec![Pass::Combined],
                guard_px: 0,
                scene: None,
            },
        }
    }

    /// The next thing that the worker says, heartbeats aside.
    pub async fn hear(&mut self) -> Request {
        loop {
            if let NodeEvent::Request { request, reply, .. } = self.events.recv().await.unwrap() {
                reply.send(Reply::Done);
                if !matches!(request, Request::Heartbeat { .. }) {
                    return request;
                }
            }
        }
    }

    /// The next commitment, whose signature is right.
    pub async fn hear_commitment(&mut self) -> Commitment {
        let Request::Commit {
            job,
            task,
            commitment,
            signature,
            ..
        } = self.hear().await
        else {
            panic!("no commitment");
        };
        let statement = verifier::commitment_statement(&job, task, &commitment);
        let is_signed = verifier::verify_signature(&self.worker, &statement, &signature);
        assert!(is_signed);
        Commitment {
            task,
            commitment,
            signature,
        }
    }

    /// Has a commitment opened and fetches the pixels.
    pub async fn take(&self, job: &JobSpec, task: &TaskSpec, committed: &Commitment) -> Vec<u8> {
        assert_eq!(task.id, committed.task);
        let reveal = Request::Reveal {
            job: job.id,
            task: task.id,
        };
        let Reply::Revealed { salt, root } = self.ask(reveal).await else {
            panic!("not revealed");
        };
        let opened = verifier::commitment(&self.worker, &task.hash(job), &salt, &root);
        assert_eq!(opened, committed.commitment);
        let before = *self.salts.lock().unwrap().entry(salt).or_insert(task.id);
        assert_eq!(before, task.id);
        let bytes = task.delivery_bytes(job);
        let fetched = self.node.fetch(self.worker, root, bytes, |_| {}).await;
        fetched.unwrap();
        let pixels = self.blobs.read(root, bytes).unwrap();
        assert_eq!(
            (pixels.len() as u64, Blake3Hash::of(&pixels)),
            (bytes, root)
        );
        pixels
    }
}

/// A tile of the job.
pub fn tile(id: u64, frame: i32) -> TaskSpec {
    TaskSpec {
        id: TaskId(id),
        frame,
        rects: vec![Rect {
            x: 8,
            y: 0,
            width: 24,
            height: 16,
        }],
        samples: None,
        pixels: None,
    }
}
