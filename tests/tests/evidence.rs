//! Evidence from two real tiles, one of them defaced, checked by the programs as anybody would.

use engine::{CancelFlag, Engine, TracerEngine, calibrate, class_fingerprint};
use network::{BlobStore, Identity, verify_proof};
use protocol::{
    Blake3Hash, BundleFile, EngineKind, JobId, JobSpec, Manifest, Pass, Rect, RenderSettings, Size,
    TaskId,
    job::task_hash,
    pixels::{canonical_length, task_bytes},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::{render, render_program, scene, words};
use verifier::{
    Bundle, Statement, Testimony, commitment, commitment_statement, evidence::EVIDENCE_VERSION,
};

const FRAME: i32 = 3;
/// In the overlap of the two tiles.
const CELL: Rect = Rect {
    x: 32,
    y: 16,
    width: 8,
    height: 8,
};

struct Farm {
    engine: TracerEngine,
    blobs: BlobStore,
    job: JobSpec,
    manifest: Manifest,
    class: Blake3Hash,
}

impl Farm {
    fn new(dir: &Path) -> Self {
        let blobs = BlobStore::open(dir.join("blobs")).unwrap();
        let path = scene("reading_room.glb");
        let (hash, bytes) = blobs.add_file(&path).unwrap();
        let entry = "reading_room.glb".to_owned();
        let file = BundleFile {
            path: entry.clone(),
            hash,
            bytes,
        };
        let manifest = Manifest {
            entry: entry.clone(),
            files: vec![file],
        };
        let encoded = postcard::to_stdvec(&manifest).unwrap();
        let settings = RenderSettings {
            size: Size {
                width: 75,
                height: 50,
            },
            samples: 2,
            seed: 0,
            passes: vec![Pass::Combined, Pass::Depth],
            guard_px: 0,
            scene: None,
        };
        let mut engine = TracerEngine::new();
        let about = engine
            .prepare(path.parent().unwrap(), &entry, None)
            .unwrap();
        let never = CancelFlag::default();
        let calibration = calibrate(&mut engine, &settings, about.frames.0, &never).unwrap();
        Self {
            class: class_fingerprint(&engine.build(), calibration.root),
            engine,
            blobs,
            job: JobSpec {
                id: JobId([0xc5; 16]),
                manifest: Blake3Hash::of(&encoded),
                manifest_bytes: encoded.len() as u64,
                engine: EngineKind::Tracer,
                blender: None,
                settings,
            },
            manifest,
        }
    }

    /// What a worker says that renders these columns, and makes one pixel of the cell brighter by `added`.
    fn says(&mut self, x: u32, width: u32, added: f32) -> Statement {
        let (job, passes) = (&self.job, &self.job.settings.passes);
        let tile = Rect {
            x,
            y: 0,
            width,
            height: 50,
        };
        let never = CancelFlag::default();
        let rendered = self.engine.render(&job.settings, FRAME, &[tile], &never);
        let mut rendered = rendered.unwrap();
        let (column, row) = (CELL.x + 2 - x, CELL.y + 5);
        rendered[0].planes[0].1[(row * width + column) as usize][1] += added;
        let pixels = task_bytes(&rendered, passes).unwrap();
        let root = self.blobs.add_bytes(&pixels).unwrap();
        let identity = Identity::generate();
        let (worker, task, salt) = (identity.node(), TaskId(u64::from(x)), [7; 32]);
        let spec = task_hash(job, (FRAME, None), &[tile], None);
        let commitment = commitment(&worker, &spec, &salt, &root);
        let testimony = Testimony {
            worker,
            task,
            rects: vec![tile],
            commitment,
            signature: identity.sign(&commitment_statement(&job.id, task, &commitment)),
            salt,
            root,
        };
        let range = testimony.cell_range(&CELL, passes.len()).unwrap();
        let proof = self.blobs.proof(root, range.clone()).unwrap();
        let bytes = canonical_length(&[tile], passes.len());
        Statement {
            testimony,
            cell_bytes: verify_proof(root, bytes, range, &proof).unwrap(),
            proof,
        }
    }

    /// The left tile's worker is accused; it made a pixel brighter by `added`.
    fn evidence(&mut self, left: f32, right: f32) -> Bundle {
        let statements = vec![self.says(0, 40, left), self.says(32, 43, right)];
        Bundle {
            version: EVIDENCE_VERSION,
            job: self.job.clone(),
            manifest: self.manifest.clone(),
            engine_build: self.engine.build(),
            class: self.class,
            frame: FRAME,
            samples: None,
            cell: CELL,
            wrong: vec![statements[0].testimony.worker],
            own_value: None,
            text: "the overlap of two tiles".into(),
            statements,
        }
    }
}

/// Runs `render-worker check-evidence FILE --scene SCENE --json`.
fn check(file: &Path, scene: &Path) -> Output {
    Command::new(render_program().with_file_name("render-worker"))
        .arg("check-evidence")
        .arg(file)
        .arg("--scene")
        .arg(scene)
        .arg("--json")
        .output()
        .expect("render-worker starts")
}

fn expect(output: &Output, code: i32, verdict: &str) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(code), "{}", words(output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], verdict, "{}", words(output));
    report
}

fn write(dir: &Path, name: &str, bundle: &Bundle) -> PathBuf {
    let path = dir.join(name);
    let json = bundle.to_json().unwrap();
    assert!(json.len() < 100_000, "{} bytes", json.len());
    fs::write(&path, json).unwrap();
    path
}

#[test]
fn anybody_finds_out_who_was_right_by_rendering_one_cell() {
    let dir = tempfile::tempdir().unwrap();
    let mut farm = Farm::new(dir.path());
    let room = scene("reading_room.glb");
    let here = |report: &serde_json::Value| {
        let row = |index: usize| {
            report["workers"][index]["here"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        [row(0), row(1)]
    };

    let guilty = farm.evidence(0.25, 0.0);
    let file = write(dir.path(), "guilty.json", &guilty);
    let report = expect(&check(&file, &room), 0, "wrong");
    assert_eq!(here(&report), ["wrong", "right"]);
    assert_eq!(report["same_class"], true);

    let innocent = farm.evidence(0.0, 0.25);
    let file = write(dir.path(), "innocent.json", &innocent);
    let report = expect(&check(&file, &room), 3, "falsely_accused");
    assert_eq!(here(&report), ["right", "wrong"]);

    let mut elsewhere = guilty.clone();
    elsewhere.class.0[0] ^= 1;
    let file = write(dir.path(), "class.json", &elsewhere);
    let output = check(&file, &room);
    let report = expect(&output, 5, "undecided");
    assert_eq!(here(&report), ["not reproduced", "right"]);
    assert!(words(&output).contains("this machine's class differs"));

    let nobody = farm.evidence(0.25, 0.5);
    let file = write(dir.path(), "nobody.json", &nobody);
    let report = expect(&check(&file, &room), 5, "undecided");
    assert_eq!(here(&report), ["not reproduced", "not reproduced"]);
}

#[test]
fn evidence_that_was_tampered_with_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut farm = Farm::new(dir.path());
    let room = scene("reading_room.glb");
    let guilty = farm.evidence(0.25, 0.0);
    let changes: [&dyn Fn(&mut Bundle); 5] = [
        &|bundle| bundle.statements[0].testimony.salt[0] ^= 1,
        &|bundle| bundle.statements[0].testimony.signature.s[0] ^= 1,
        &|bundle| bundle.statements[0].proof[70] ^= 1,
        &|bundle| bundle.job.settings.samples += 1,
        &|bundle| bundle.manifest.files[0].hash.0[0] ^= 1,
    ];
    for change in changes {
        let mut bundle = guilty.clone();
        change(&mut bundle);
        let file = write(dir.path(), "changed.json", &bundle);
        expect(&check(&file, &room), 4, "not_genuine");
    }
    let agreed = farm.evidence(0.0, 0.0);
    let file = write(dir.path(), "agreed.json", &agreed);
    expect(&check(&file, &room), 4, "not_genuine");
    let whole = guilty.to_json().unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    expect(&check(&file, &room), 4, "not_genuine");
}

#[test]
fn only_the_scene_of_the_job_decides() {
    let dir = tempfile::tempdir().unwrap();
    let guilty = Farm::new(dir.path()).evidence(0.25, 0.0);
    let file = write(dir.path(), "guilty.json", &guilty);
    let changed = dir.path().join("reading_room.glb");
    let mut bytes = fs::read(scene("reading_room.glb")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&changed, bytes).unwrap();
    let cases = [
        (changed, "is not the file of the job"),
        (scene("orrery.glb"), "the job's scene is called"),
        (dir.path().join("none/reading_room.glb"), "No such file"),
    ];
    for (scene, why) in cases {
        let output = check(&file, &scene);
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        assert!(words(&output).contains(why), "{}", words(&output));
    }
}

#[test]
fn the_requestor_lists_shows_and_checks_what_it_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let guilty = Farm::new(dir.path()).evidence(0.25, 0.0);
    let folder = dir.path().join("evidence");
    fs::create_dir(&folder).unwrap();
    let file = write(&folder, &format!("{}-f3.json", guilty.job.id), &guilty);
    let accused = guilty.wrong[0].to_string();
    let picture = dir.path().join("cell.png");
    let out = picture.to_str().unwrap();
    let says = |arguments: &[&str]| {
        let output = render(dir.path(), arguments);
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    assert!(says(&["evidence"]).contains(file.to_str().unwrap()));
    let shown = says(&["evidence", "c5c5", "3:34,21", "--picture", out]);
    assert!(shown.contains("pixel 34,21 of combined"), "{shown}");
    assert!(shown.contains(&format!("accused  {accused}")), "{shown}");
    assert!(picture.is_file());
    let line: serde_json::Value = serde_json::from_str(&says(&["evidence", "--json"])).unwrap();
    assert_eq!(line["genuine"], true);
    assert_eq!(line["accused"][0], accused);
    for missing in [
        ["evidence", "c6", "3"],
        ["evidence", "c5", "4"],
        ["evidence", "c5", "3:74,0"],
    ] {
        let output = render(dir.path(), &missing);
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    }
    let output = Command::new(render_program())
        .args(["worker", "check-evidence"])
        .arg(&file)
        .arg("--scene")
        .arg(scene("reading_room.glb"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let text = words(&output);
    assert!(
        text.contains("verdict  wrong") && text.contains("of the same class"),
        "{text}"
    );
}

/// Runs `render providers ... --data-dir DATA --json`.
fn providers(data: &Path, arguments: &[&Path]) -> Output {
    Command::new(render_program())
        .arg("providers")
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .arg("--json")
        .output()
        .expect("render starts")
}

/// Imports a file; the faults that are new, those that were known, and those that were proven.
fn import(data: &Path, file: &Path, scene: Option<&Path>) -> [u64; 3] {
    let mut arguments = vec![Path::new("import"), file];
    if let Some(scene) = scene {
        arguments.extend([Path::new("--scene"), scene]);
    }
    let output = providers(data, &arguments);
    assert!(output.status.success(), "{}", words(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    ["new", "known", "proven"].map(|name| told[name].as_u64().unwrap())
}

/// How each known fault is known.
fn proofs(data: &Path) -> Vec<String> {
    let output = providers(data, &[]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let faults = lines.lines().flat_map(|line| {
        let provider: serde_json::Value = serde_json::from_str(line).unwrap();
        provider["faults"].as_array().unwrap().clone()
    });
    let told = |fault: serde_json::Value| {
        let word = |name: &str| fault[name].as_str().unwrap().to_owned();
        format!("{} {}", word("kind"), word("proof"))
    };
    faults.map(told).collect()
}

#[test]
fn evidence_of_others_counts_as_far_as_it_is_proven_here() {
    let dir = tempfile::tempdir().unwrap();
    let (data, room) = (dir.path().join("data"), scene("reading_room.glb"));
    fs::create_dir(&data).unwrap();
    let mut farm = Farm::new(dir.path());
    let guilty = farm.evidence(0.25, 0.0);
    let file = write(dir.path(), "guilty.json", &guilty);
    assert_eq!(import(&data, &file, None), [1, 0, 0]);
    assert_eq!(proofs(&data), ["flaky claimed"]);
    assert_eq!(import(&data, &file, Some(&room)), [1, 0, 1]);
    assert_eq!(proofs(&data), ["flaky verified"]);
    // A copy of it tells of the same cell again.
    let copy = write(dir.path(), "copy.json", &guilty);
    assert_eq!(import(&data, &copy, Some(&room)), [0, 1, 1]);

    let mut elsewhere = farm.evidence(0.25, 0.0);
    elsewhere.class.0[0] ^= 1;
    let file = write(dir.path(), "class.json", &elsewhere);
    assert_eq!(import(&data, &file, Some(&room)), [1, 0, 0]);
    let mut known = proofs(&data);
    known.sort();
    assert_eq!(known, ["flaky claimed", "flaky verified"]);
}

#[test]
fn evidence_against_the_innocent_is_not_imported_nor_what_comes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, room) = (dir.path().join("data"), scene("reading_room.glb"));
    fs::create_dir(&data).unwrap();
    let mut farm = Farm::new(dir.path());
    let guilty = farm.evidence(0.25, 0.0);
    let guilty_file = write(dir.path(), "guilty.json", &guilty);
    let innocent = farm.evidence(0.0, 0.25);
    let mut forged = guilty.clone();
    forged.statements[0].testimony.salt[0] ^= 1;
    for (bundle, why) in [
        (innocent, "signed the pixels that the scene gives"),
        (forged, "is not its own"),
    ] {
        let file = write(dir.path(), "wrong.json", &bundle);
        let scene = Path::new("--scene");
        let both = [Path::new("import"), &guilty_file, &file, scene, &room];
        let refused = providers(&data, &both);
        assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
        let told = words(&refused);
        assert!(
            told.contains(why) && told.contains("nothing was imported"),
            "{told}"
        );
        assert_eq!(proofs(&data), Vec::<String>::new());
    }
}
