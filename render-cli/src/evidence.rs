//! Evidence against workers that were caught: put together from what they signed and delivered, and kept on disk.

use network::{BlobStore, verify_proof};
use protocol::{
    Blake3Hash, JobSpec, Manifest, NodeId, Rect, SampleRange, limits::MANIFEST_BYTES_MAX,
    message::bounded_text, pixels::canonical_length,
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};
use verifier::{
    Bundle, EvidenceError, Statement, Testimony,
    evidence::{EVIDENCE_BYTES_MAX, EVIDENCE_VERSION, STATEMENTS},
};

/// Most pieces of evidence that are kept; the oldest go.
const FILES_MAX: usize = 256;

/// What is claimed about one cell.
#[derive(Debug, Clone)]
pub struct Accusation {
    /// The frame.
    pub frame: i32,
    /// The samples of each pixel that all speak of, if not of all.
    pub samples: Option<SampleRange>,
    /// A whole cell of it, on which the accused and others differ.
    pub cell: Rect,
    /// Determinism class of those who spoke.
    pub class: Blake3Hash,
    /// The own engine's build, for a person.
    pub engine_build: String,
    /// Who is wrong about the cell.
    pub wrong: Vec<NodeId>,
    /// Hash of the cell by the own engine, if it was asked.
    pub own_value: Option<Blake3Hash>,
    /// What happened, for a person.
    pub text: String,
}

/// Puts evidence together while the deliveries are still among the blobs; the testimonies of whoever spoke about the
/// cell, those of others are left out. Blocks.
///
/// # Errors
/// When the delivery of an accused is gone or there is nobody beside him, or the scene's manifest is gone.
pub fn assemble(
    blobs: &BlobStore,
    job: &JobSpec,
    accusation: Accusation,
    mut testimonies: Vec<Testimony>,
) -> Result<Bundle, String> {
    let is_accused = |said: &Testimony| accusation.wrong.contains(&said.worker);
    // The accused come first, so that they are never among those that are too many.
    testimonies.sort_by_key(|said| !is_accused(said));
    let mut statements = Vec::new();
    for said in testimonies {
        let accused = is_accused(&said);
        match state(blobs, job, &accusation.cell, said) {
            Ok(statement) => statements.extend(statement),
            Err(why) if accused => return Err(why),
            Err(why) => tracing::debug!(%why, "a statement is missing in evidence"),
        }
    }
    statements.truncate(*STATEMENTS.end());
    let bundle = Bundle {
        version: EVIDENCE_VERSION,
        job: job.clone(),
        manifest: manifest(blobs, job)?,
        engine_build: accusation.engine_build,
        class: accusation.class,
        frame: accusation.frame,
        samples: accusation.samples,
        cell: accusation.cell,
        wrong: accusation.wrong,
        own_value: accusation.own_value,
        text: bounded_text(&accusation.text),
        statements,
    };
    // Whoever is to be convinced reads it only if it keeps the limits.
    bundle.check().map_err(|e| e.to_string())?;
    Ok(bundle)
}

fn manifest(blobs: &BlobStore, job: &JobSpec) -> Result<Manifest, String> {
    let bytes = blobs.read(job.manifest, MANIFEST_BYTES_MAX);
    let bytes = bytes.map_err(|e| e.to_string())?;
    postcard::from_bytes(&bytes).map_err(|e| format!("the scene's manifest: {e}"))
}

/// What a worker says of the cell; none if the cell is not of its task.
fn state(
    blobs: &BlobStore,
    job: &JobSpec,
    cell: &Rect,
    testimony: Testimony,
) -> Result<Option<Statement>, String> {
    let passes = job.settings.passes.len();
    let Some(range) = testimony.cell_range(cell, passes) else {
        return Ok(None);
    };
    let (root, bytes) = (testimony.root, canonical_length(&testimony.rects, passes));
    let proof = blobs.proof(root, range.clone());
    let proof = proof.map_err(|e| e.to_string())?;
    let cell_bytes = verify_proof(root, bytes, range, &proof).map_err(|e| e.to_string())?;
    Ok(Some(Statement {
        testimony,
        cell_bytes,
        proof,
    }))
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("evidence")
}

/// Writes evidence below the data folder and gives its place. Blocks.
pub fn keep(data_dir: &Path, bundle: &Bundle) -> io::Result<PathBuf> {
    let folder = folder(data_dir);
    fs::create_dir_all(&folder)?;
    let accused = bundle.wrong.iter().map(NodeId::to_string).next();
    let name = format!(
        "{}-f{}-x{}-y{}-{}",
        bundle.job.id,
        bundle.frame,
        bundle.cell.x,
        bundle.cell.y,
        accused.unwrap_or_default()
    );
    let (path, part) = (
        folder.join(format!("{name}.json")),
        folder.join(format!("{name}.part")),
    );
    let json = bundle.to_json().map_err(io::Error::other)?;
    fs::write(&part, json)
        .and_then(|()| fs::rename(&part, &path))
        .inspect_err(|_| {
            // What is left of it is of no use, and may not even be there.
            let _ = fs::remove_file(&part);
        })?;
    prune(&folder, &path, FILES_MAX)?;
    Ok(path)
}

/// Removes the oldest files until `files_max` are left, among them `newest`.
fn prune(folder: &Path, newest: &Path, files_max: usize) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = json_files(folder)?
        .into_iter()
        .filter(|path| path != newest)
        .map(|path| Ok((fs::metadata(&path)?.modified()?, path)))
        .collect::<io::Result<_>>()?;
    files.sort();
    let surplus = (files.len() + 1).saturating_sub(files_max);
    files
        .iter()
        .take(surplus)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

fn json_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths: io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    Ok(paths?.into_iter().filter(is_json).collect())
}

/// The files of evidence from jobs whose id begins so, sorted by name.
pub fn of_job(data_dir: &Path, job: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = json_files(&folder(data_dir))?;
    let job = job.to_ascii_lowercase();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&job))
    });
    files.sort();
    Ok(files)
}

/// Reads a file of evidence.
pub fn read(path: &Path) -> Result<Bundle, EvidenceError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let limit = EVIDENCE_BYTES_MAX as u64 + 1;
        file.take(limit).read_to_end(&mut bytes)
    });
    read.map_err(|e| EvidenceError::Malformed(e.to_string()))?;
    Bundle::from_json(&bytes)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use network::Identity;
    use protocol::{
        BundleFile, EngineKind, JobId, Pass, RenderSettings, Size, TaskId, job::task_hash,
    };
    use std::time::Duration;
    use verifier::{Flaw, commitment, commitment_statement};

    const CELL: Rect = rect(16, 8, 8, 8);
    const TILE: Rect = rect(0, 0, 64, 64);

    const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    /// A data folder with the blobs of a job.
    pub struct World {
        pub dir: tempfile::TempDir,
        blobs: BlobStore,
        job: JobSpec,
    }

    impl World {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let blobs = BlobStore::open(dir.path().join("blobs")).unwrap();
            let file = BundleFile {
                path: "a.glb".into(),
                hash: Blake3Hash::of(b"a"),
                bytes: 1,
            };
            let manifest = Manifest {
                entry: "a.glb".into(),
                files: vec![file],
            };
            let manifest = postcard::to_stdvec(&manifest).unwrap();
            let job = JobSpec {
                id: JobId([0xab; 16]),
                manifest: blobs.add_bytes(&manifest).unwrap(),
                manifest_bytes: manifest.len() as u64,
                engine: EngineKind::Tracer,
                blender: None,
                settings: RenderSettings {
                    size: Size {
                        width: 64,
                        height: 64,
                    },
                    samples: 1,
                    seed: 0,
                    passes: vec![Pass::Combined, Pass::Depth],
                    guard_px: 0,
                    scene: None,
                },
            };
            Self { dir, blobs, job }
        }

        /// A worker delivers these rectangles, all of whose values are `value`.
        fn deliver(&self, rects: &[Rect], value: f32) -> Testimony {
            let identity = Identity::generate();
            let (worker, task, salt) = (identity.node(), TaskId(4), [3; 32]);
            let values = canonical_length(rects, 2) as usize / 4;
            let root = self.blobs.add_bytes(&value.to_le_bytes().repeat(values));
            let root = root.unwrap();
            let spec = task_hash(&self.job, (2, None), rects, None);
            let commitment = commitment(&worker, &spec, &salt, &root);
            let statement = commitment_statement(&self.job.id, task, &commitment);
            Testimony {
                worker,
                task,
                rects: rects.to_vec(),
                commitment,
                signature: identity.sign(&statement),
                salt,
                root,
            }
        }

        fn accuse(&self, accused: &Testimony) -> Accusation {
            Accusation {
                frame: 2,
                samples: None,
                cell: CELL,
                class: Blake3Hash([1; 32]),
                engine_build: "tracer".into(),
                wrong: vec![accused.worker],
                own_value: None,
                text: "a prober \u{1b}[2J says otherwise".into(),
            }
        }

        /// Evidence against a worker whose values are all 0.25 by a prober whose values are 0.75.
        pub fn evidence(&self) -> Bundle {
            let accused = self.deliver(&[TILE], 0.25);
            let prober = self.deliver(&[rect(0, 0, 8, 8), CELL], 0.75);
            let accusation = self.accuse(&accused);
            assemble(&self.blobs, &self.job, accusation, vec![prober, accused]).unwrap()
        }
    }

    fn examine(bundle: &Bundle) -> Vec<Result<Blake3Hash, Flaw>> {
        bundle.examine(|root, bytes, range, proof| verify_proof(*root, bytes, range, proof).ok())
    }

    #[test]
    fn what_was_delivered_becomes_genuine_evidence() {
        let bundle = World::new().evidence();
        let value = |value: f32| Ok(Blake3Hash::of(&value.to_le_bytes().repeat(512)));
        assert_eq!(examine(&bundle), [value(0.25), value(0.75)]);
        assert_eq!(bundle.refute(&examine(&bundle)), None);
        assert!(bundle.to_json().unwrap().len() < 100_000);
    }

    #[test]
    fn evidence_needs_the_delivery_of_the_accused_and_of_another() {
        let world = World::new();
        let accused = world.deliver(&[TILE], 0.25);
        let other = world.deliver(&[CELL], 0.75);
        let elsewhere = world.deliver(&[rect(0, 0, 8, 8)], 0.5);
        let of = |testimonies: &[&Testimony]| {
            let testimonies = testimonies.iter().map(|&said| said.clone()).collect();
            assemble(
                &world.blobs,
                &world.job,
                world.accuse(&accused),
                testimonies,
            )
        };
        let both = of(&[&elsewhere, &other, &accused]).unwrap();
        assert_eq!(both.statements.len(), 2);
        assert!(of(&[&accused, &elsewhere]).is_err());
        assert!(of(&[&other, &elsewhere]).is_err());
        let crowd = vec![&other; 40];
        let most = of(&[&crowd[..], &[&accused]].concat()).unwrap();
        assert_eq!(most.statements.len(), *STATEMENTS.end());
        assert_eq!(most.statements[0].testimony.worker, accused.worker);
        world.blobs.remove(accused.root).unwrap();
        assert!(of(&[&other, &accused]).unwrap_err().contains("no blob"));
    }

    #[test]
    fn evidence_is_found_by_its_job_and_reads_back() {
        let world = World::new();
        let bundle = world.evidence();
        let path = keep(world.dir.path(), &bundle).unwrap();
        let of = |job: &str| of_job(world.dir.path(), job).unwrap();
        assert_eq!(of("ABab"), std::slice::from_ref(&path));
        assert_eq!(of("abac"), [] as [PathBuf; 0]);
        assert_eq!(read(&path), Ok(bundle.clone()));
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = format!("{}-f2-x16-y8-{}.json", bundle.job.id, bundle.wrong[0]);
        assert_eq!(name, expected);
        let empty = tempfile::tempdir().unwrap();
        assert!(of_job(empty.path(), "").unwrap().is_empty());
        assert!(read(&empty.path().join("a")).is_err());
    }

    #[test]
    fn the_oldest_evidence_goes() {
        let dir = tempfile::tempdir().unwrap();
        let place = |number: u64| dir.path().join(format!("{number}.json"));
        for number in 0..6 {
            let file = File::create(place(number)).unwrap();
            // The highest number is the oldest.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - number);
            file.set_modified(time).unwrap();
        }
        prune(dir.path(), &place(5), 3).unwrap();
        let mut left = json_files(dir.path()).unwrap();
        left.sort();
        assert_eq!(left, [place(0), place(1), place(5)]);
    }
}
