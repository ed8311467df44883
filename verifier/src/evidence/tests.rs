//! Evidence with keys of the test's own. The proof of a cell is the whole tile here: `network` makes shorter ones.

use super::*;
use ed25519_dalek::{Signer, SigningKey};
use protocol::{BundleFile, EngineKind, JobId, Pass, RenderSettings, Size};

/// A change, and what is then found to be wrong.
type Case<'a, T> = (&'a dyn Fn(&mut T), Flaw);

const CLASS: Blake3Hash = Blake3Hash([9; 32]);
const TILE: Rect = rect(8, 0, 24, 16);
const CELL: Rect = rect(16, 8, 8, 8);

const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

fn job() -> JobSpec {
    JobSpec {
        id: JobId([1; 16]),
        manifest: Blake3Hash([2; 32]),
        manifest_bytes: 10,
        engine: EngineKind::Tracer,
        blender: None,
        settings: RenderSettings {
            size: Size {
                width: 60,
                height: 30,
            },
            samples: 4,
            seed: 0,
            passes: vec![Pass::Combined],
            guard_px: 0,
            scene: None,
        },
    }
}

fn node(key: u8) -> NodeId {
    NodeId(
        SigningKey::from_bytes(&[key; 32])
            .verifying_key()
            .to_bytes(),
    )
}

fn sign(key: u8, said: &mut Testimony) {
    let statement = commitment_statement(&job().id, said.task, &said.commitment);
    let signature = SigningKey::from_bytes(&[key; 32]).sign(&statement);
    said.signature = Signature::from_bytes(&signature.to_bytes());
}

/// What the worker with this key says of these rectangles: each byte of the cell that the evidence is about is `value`.
fn says(key: u8, rects: &[Rect], value: u8) -> Statement {
    let mut said = Testimony {
        worker: node(key),
        task: TaskId(key.into()),
        rects: rects.to_vec(),
        commitment: CLASS,
        signature: Signature::from_bytes(&[0; 64]),
        salt: [key; 32],
        root: CLASS,
    };
    let mut blob = vec![0; canonical_length(rects, 1) as usize];
    let cell_bytes = vec![value; CELL_PASS_BYTES];
    let range = said.cell_range(&CELL, 1).unwrap();
    blob[range.start as usize..range.end as usize].copy_from_slice(&cell_bytes);
    said.root = Blake3Hash::of(&blob);
    let spec = task_hash(&job(), (3, None), rects, None);
    said.commitment = commitment(&said.worker, &spec, &said.salt, &said.root);
    sign(key, &mut said);
    Statement {
        testimony: said,
        cell_bytes,
        proof: blob,
    }
}

/// Worker 1 says 10 of a cell of its tile, workers 2 and 3 say 20: one in a tile, one as a prober.
fn evidence() -> Bundle {
    let file = BundleFile {
        path: "scene.glb".into(),
        hash: CLASS,
        bytes: 5,
    };
    Bundle {
        version: EVIDENCE_VERSION,
        job: job(),
        manifest: Manifest {
            entry: "scene.glb".into(),
            files: vec![file],
        },
        engine_build: "tracer 0.1.0".into(),
        class: CLASS,
        frame: 3,
        samples: None,
        cell: CELL,
        wrong: vec![node(1)],
        own_value: None,
        text: "two say so".into(),
        statements: vec![
            says(1, &[TILE], 10),
            says(2, &[rect(0, 0, 24, 24)], 20),
            says(3, &[rect(0, 0, 8, 8), CELL, rect(56, 24, 4, 6)], 20),
        ],
    }
}

fn whole(root: &Blake3Hash, bytes: u64, range: Range<u64>, proof: &[u8]) -> Option<Vec<u8>> {
    let is_whole = proof.len() as u64 == bytes && Blake3Hash::of(proof) == *root;
    is_whole.then(|| proof[range.start as usize..range.end as usize].to_vec())
}

fn cell(value: u8) -> Blake3Hash {
    Blake3Hash::of(&[value; CELL_PASS_BYTES])
}

fn ruling(bundle: &Bundle, rendered: u8, class: Blake3Hash) -> Ruling {
    bundle.rule(&bundle.examine(whole), cell(rendered), class)
}

fn first_flaw(bundle: &Bundle) -> Flaw {
    bundle.examine(whole)[0].unwrap_err()
}

#[test]
fn genuine_evidence_says_what_each_worker_said() {
    let bundle = evidence();
    assert_eq!(
        bundle.examine(whole),
        [Ok(cell(10)), Ok(cell(20)), Ok(cell(20))]
    );
    assert_eq!(ruling(&bundle, 20, CLASS), Ruling::Wrong);
    let read = Bundle::from_json(&bundle.to_json().unwrap());
    assert_eq!(read, Ok(bundle));
}

#[test]
fn who_states_what_is_rendered_is_right_in_any_class() {
    let mut bundle = evidence();
    let other = Blake3Hash([8; 32]);
    let falsely = Ruling::FalselyAccused(vec![node(1)]);
    assert_eq!(ruling(&bundle, 10, CLASS), falsely);
    assert_eq!(ruling(&bundle, 10, other), falsely);
    assert_eq!(ruling(&bundle, 20, other), Ruling::OtherClass);
    assert_eq!(ruling(&bundle, 30, other), Ruling::OtherClass);
    assert_eq!(ruling(&bundle, 30, CLASS), Ruling::NotReproduced);
    bundle.own_value = Some(cell(30));
    assert_eq!(ruling(&bundle, 30, CLASS), Ruling::Wrong);
    bundle.wrong.push(node(2));
    let falsely = Ruling::FalselyAccused(vec![node(2)]);
    assert_eq!(ruling(&bundle, 20, CLASS), falsely);
}

#[test]
fn a_worker_that_says_both_is_wrong() {
    let mut bundle = evidence();
    bundle.statements.push(says(1, &[CELL], 20));
    // Whatever is rendered, and by whom.
    for (rendered, class) in [(10, CLASS), (20, CLASS), (30, CLASS), (30, cell(1))] {
        assert_eq!(ruling(&bundle, rendered, class), Ruling::Wrong);
    }
    // Of one that is accused with it nothing is known by that.
    bundle.wrong.push(node(2));
    assert_eq!(ruling(&bundle, 30, CLASS), Ruling::NotReproduced);
}

#[test]
fn one_statement_is_enough_beside_the_requestors_own_render() {
    let mut bundle = evidence();
    bundle.statements.truncate(1);
    assert!(bundle.check().is_err());
    bundle.own_value = Some(cell(20));
    assert_eq!(bundle.check(), Ok(()));
    assert_eq!(ruling(&bundle, 20, CLASS), Ruling::Wrong);
    assert_eq!(
        ruling(&bundle, 10, CLASS),
        Ruling::FalselyAccused(vec![node(1)])
    );
    assert_eq!(ruling(&bundle, 30, CLASS), Ruling::NotReproduced);
    assert_eq!(ruling(&bundle, 20, cell(1)), Ruling::OtherClass);
}

#[test]
fn statements_that_agree_leave_nothing_to_decide() {
    let mut bundle = evidence();
    bundle.statements[0] = says(1, &[TILE], 20);
    assert_eq!(ruling(&bundle, 20, CLASS), Ruling::NoContradiction);
    bundle.own_value = Some(cell(30));
    assert_eq!(ruling(&bundle, 30, CLASS), Ruling::Wrong);
}

#[test]
fn each_part_that_is_not_the_workers_is_found() {
    let tampered = |tamper: &dyn Fn(&mut Statement)| {
        let mut bundle = evidence();
        tamper(&mut bundle.statements[0]);
        let forged = Ruling::NotGenuine(vec![node(1)]);
        assert_eq!(ruling(&bundle, 20, CLASS), forged);
        first_flaw(&bundle)
    };
    let signature = Signature::from_bytes(&[7; 64]);
    let cases: [Case<Statement>; 9] = [
        (
            &|said| said.testimony.signature = signature,
            Flaw::Signature,
        ),
        (&|said| said.testimony.task.0 += 1, Flaw::Signature),
        (&|said| said.testimony.commitment.0[0] ^= 1, Flaw::Signature),
        (&|said| said.testimony.salt[31] ^= 1, Flaw::Commitment),
        (&|said| said.testimony.root.0[5] ^= 1, Flaw::Commitment),
        (&|said| said.testimony.rects[0].width += 8, Flaw::Commitment),
        (&|said| said.cell_bytes[100] ^= 1, Flaw::Proof),
        (&|said| said.proof[0] ^= 1, Flaw::Proof),
        (&|said| said.proof.truncate(1024), Flaw::Proof),
    ];
    for (tamper, flaw) in cases {
        assert_eq!(tampered(tamper), flaw);
    }
    // What somebody else signed is nothing that the accused said.
    let stolen = |said: &mut Statement| {
        *said = says(2, &[TILE], 10);
        said.testimony.worker = node(1);
    };
    assert_eq!(tampered(&stolen), Flaw::Signature);
}

#[test]
fn a_forged_statement_of_another_does_not_save_the_accused() {
    let mut bundle = evidence();
    bundle.statements[1].testimony.salt[0] ^= 1;
    assert_eq!(bundle.examine(whole)[1], Err(Flaw::Commitment));
    assert_eq!(ruling(&bundle, 20, CLASS), Ruling::Wrong);
}

#[test]
fn what_was_said_holds_for_its_job_frame_and_cell_only() {
    let changed = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = evidence();
        change(&mut bundle);
        first_flaw(&bundle)
    };
    let cases: [Case<Bundle>; 7] = [
        (&|bundle| bundle.job.id.0[0] ^= 1, Flaw::Signature),
        (&|bundle| bundle.job.manifest.0[0] ^= 1, Flaw::Commitment),
        (&|bundle| bundle.job.settings.samples += 1, Flaw::Commitment),
        (
            &|bundle| bundle.job.settings.guard_px += 1,
            Flaw::Commitment,
        ),
        (&|bundle| bundle.frame += 1, Flaw::Commitment),
        (&|bundle| bundle.cell = rect(24, 8, 8, 8), Flaw::Proof),
        (&|bundle| bundle.cell = rect(40, 8, 8, 8), Flaw::Cell),
    ];
    for (change, flaw) in cases {
        assert_eq!(changed(change), flaw);
    }
    let wide = |bundle: &mut Bundle| bundle.statements[0].testimony.rects[0].width = u32::MAX;
    assert_eq!(changed(&wide), Flaw::Task);
    let range = |bundle: &mut Bundle| bundle.samples = Some(SampleRange { first: 0, count: 2 });
    // The job's engine divides no samples; one that does has signed something else.
    assert_eq!(changed(&range), Flaw::Task);
    let of_blender = |bundle: &mut Bundle| {
        range(bundle);
        bundle.job.engine = EngineKind::Blender;
        bundle.job.blender = "5.0.1".parse().ok();
    };
    assert_eq!(changed(&of_blender), Flaw::Commitment);
}

#[test]
fn limits_hold_when_evidence_is_written_and_read() {
    let cases: [&dyn Fn(&mut Bundle); 12] = [
        &|bundle| bundle.statements.truncate(1),
        &|bundle| bundle.statements = vec![says(1, &[TILE], 10); STATEMENTS.end() + 1],
        &|bundle| bundle.cell = rect(17, 8, 8, 8),
        &|bundle| bundle.cell = rect(56, 24, 8, 8),
        &|bundle| bundle.cell = rect(u32::MAX, u32::MAX, 8, 8),
        &|bundle| bundle.wrong.clear(),
        &|bundle| bundle.wrong.push(node(7)),
        &|bundle| bundle.wrong = vec![node(1); 4],
        &|bundle| bundle.text = "x".repeat(TEXT_BYTES_MAX + 1),
        &|bundle| bundle.statements[1].proof = vec![0; PROOF_BYTES_MAX + 1],
        &|bundle| bundle.statements[1].cell_bytes.truncate(9),
        &|bundle| bundle.manifest.files[0].path = "../scene.glb".into(),
    ];
    for (number, change) in cases.iter().enumerate() {
        let mut bundle = evidence();
        change(&mut bundle);
        let written = bundle.to_json();
        assert!(matches!(written, Err(EvidenceError::Limit(_))), "{number}");
        let json = serde_json::to_vec(&bundle).unwrap();
        let read = Bundle::from_json(&json);
        assert!(matches!(read, Err(EvidenceError::Limit(_))), "{number}");
    }
    // A cell that is cut at the frame's edge.
    let mut bundle = evidence();
    bundle.cell = rect(56, 24, 4, 6);
    assert!(bundle.to_json().is_ok());
}

#[test]
fn texts_that_are_no_evidence_are_refused() {
    let json = evidence().to_json().unwrap();
    for cut in (0..json.len() - 1).step_by(json.len() / 50) {
        let read = Bundle::from_json(&json[..cut]);
        assert!(matches!(read, Err(EvidenceError::Malformed(_))), "{cut}");
    }
    let text = String::from_utf8(json).unwrap();
    let later = text.replacen("\"version\": 3", "\"version\": 4", 1);
    assert_eq!(
        Bundle::from_json(later.as_bytes()),
        Err(EvidenceError::Version(4))
    );
    let id = node(1).to_string();
    for (old, new) in [
        (id.as_str(), "zz"),
        ("24x16+8+0", "24x16"),
        ("\"proof\"", "\"prove\""),
    ] {
        let read = Bundle::from_json(text.replace(old, new).as_bytes());
        assert!(matches!(read, Err(EvidenceError::Malformed(_))), "{old}");
    }
    let bytes = EVIDENCE_BYTES_MAX + 1;
    assert_eq!(
        Bundle::from_json(&vec![b' '; bytes]),
        Err(EvidenceError::TooLarge { bytes })
    );
    for deep in ["[".repeat(100_000), "{\"version\":".repeat(100_000)] {
        let read = Bundle::from_json(deep.as_bytes());
        assert!(matches!(read, Err(EvidenceError::Malformed(_))));
    }
}
