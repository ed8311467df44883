//! A scene that comes again, changed.

use crate::requestor::{Requestor, Worker};
use network::Access;
use protocol::{
    Blake3Hash, BundleFile, JobId, JobSpec, Segment, SegmentHash, SegmentList, Segmented,
    message::{Reply, Request},
};

const MIB: usize = 1 << 20;

fn noise(seed: &[u8], bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed).finalize_xof().fill(&mut data);
    data
}

impl Requestor {
    /// A job whose scene has a large file besides, and the list of its segments.
    fn job_with(&self, large: &[u8]) -> (JobSpec, Segmented) {
        let hash = self.blobs().add_bytes(large).unwrap();
        self.blobs().allow(hash, Access::Anyone);
        let list = self.blobs().segment(hash).unwrap().unwrap();
        self.blobs().allow(list.list, Access::Anyone);
        let file = BundleFile {
            path: "scene/large.bin".into(),
            hash,
            bytes: large.len() as u64,
        };
        let mut job = self.job_of(vec![file]);
        job.id = JobId(hash.0[..16].try_into().unwrap());
        (job, list)
    }

    /// Has the worker load a job and gives how many bytes that took.
    async fn load(&mut self, job: &JobSpec, segmented: Vec<Segmented>) -> u64 {
        let before = self.node().bytes_served();
        self.offer(job).await;
        let prepare = Request::Prepare {
            job: job.id,
            segmented,
        };
        assert_eq!(self.ask(prepare).await, Reply::Done);
        let ready = self.hear().await;
        assert!(matches!(ready, Request::Ready { .. }), "{ready:?}");
        assert_eq!(self.ask(Request::Close { job: job.id }).await, Reply::Done);
        self.node().bytes_served() - before
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_changed_scene_only_the_changes_are_fetched() {
    let worker = Worker::start(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let mut large = noise(b"scene", 8 * MIB);
    let (job, list) = requestor.job_with(&large);
    let first = requestor.load(&job, vec![list]).await;
    assert!(first > 8 * MIB as u64);
    large.splice(3 * MIB..3 * MIB + 5, *b"a changed object");
    let (job, list) = requestor.job_with(&large);
    let second = requestor.load(&job, vec![list]).await;
    assert!(second > 1000 && second < 200_000, "{second}");
    // Another requestor's files are none of its business.
    let mut other = Requestor::of(&worker).await;
    large[0] ^= 1;
    let (job, list) = other.job_with(&large);
    assert!(other.load(&job, vec![list]).await > 8 * MIB as u64);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_wrong_costs_time_and_nothing_else() {
    let worker = Worker::start(|_| {}).await;
    let mut requestor = Requestor::of(&worker).await;
    let mut large = noise(b"scene", 6 * MIB);
    let (job, list) = requestor.job_with(&large);
    requestor.load(&job, vec![list]).await;
    let old = large.clone();
    let kept = |bytes: u32| Segment {
        bytes,
        hash: SegmentHash::of(&old[..bytes as usize]),
    };
    // Of another file, of the right length but with segments of elsewhere, no list at all, and none that is there.
    let elsewhere = SegmentList::new(vec![kept(65_536); 96], 6 * MIB as u64).unwrap();
    let lists = [
        list_of_another(&requestor),
        elsewhere.encode(),
        vec![7; 18 * 5],
        Vec::new(),
    ];
    for (number, wrong) in lists.into_iter().enumerate() {
        large[number * 70_000] ^= 1;
        let (job, honest) = requestor.job_with(&large);
        let list = match wrong.is_empty() {
            true => Blake3Hash([9; 32]),
            false => requestor.blobs().add_bytes(&wrong).unwrap(),
        };
        requestor.blobs().allow(list, Access::Anyone);
        let segments = (wrong.len() / 18) as u32;
        let segmented = Segmented {
            list,
            segments,
            ..honest
        };
        let bytes = requestor.load(&job, vec![segmented]).await;
        assert!(bytes > 6 * MIB as u64, "{number}: {bytes}");
    }
    worker.end().await;
}

fn list_of_another(requestor: &Requestor) -> Vec<u8> {
    let (_, list) = requestor.job_with(&noise(b"another", 5 * MIB));
    requestor
        .blobs()
        .read(list.list, list.list_bytes())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_keeps_nothing_fetches_everything() {
    let worker = Worker::start(|config| config.cache_bytes = 0).await;
    let mut requestor = Requestor::of(&worker).await;
    let mut large = noise(b"scene", 5 * MIB);
    for _ in 0..2 {
        let (job, list) = requestor.job_with(&large);
        let bytes = requestor.load(&job, vec![list]).await;
        assert!(bytes > 5 * MIB as u64, "{bytes}");
        large[0] ^= 1;
        // Scenes are removed when the engine has ended.
        worker.keeps_no_scene().await;
    }
    worker.end().await;
}
