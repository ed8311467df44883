//! What is remembered of providers from job to job.

use super::*;
use claims::Claim;
use farm::WorkerState;
use protocol::{Address, Glm};
use verifier::record::{FRAUD_QUARANTINE_S, PROBATION, TRUSTED};

const NODE: NodeId = NodeId([1; 32]);
const JOB: JobId = JobId([2; 16]);
const ENGINE: EngineKind = EngineKind::Tracer;

fn row(tiles_checked: u64, state: WorkerState) -> WorkerRow {
    WorkerRow {
        worker: NODE,
        payee: Address([3; 20]),
        state,
        tiles_accepted: tiles_checked,
        tiles_checked,
        trust: Trust::Unknown,
        tasks_rejected: 0,
        earned: Glm::ZERO,
        held: Glm::ZERO,
        forfeited: Glm::ZERO,
        flaky: 0,
        fault: (state == WorkerState::Quarantined).then_some(FaultKind::Fraud),
        frame: None,
        megasample_ms: 1,
    }
}

fn open(folder: &tempfile::TempDir) -> Providers {
    Providers::open(folder.path(), Admission::default()).unwrap()
}

fn note(providers: &Providers, tiles: u64, now: u64) {
    let rows = [row(tiles, WorkerState::Idle)];
    providers.note(JOB, ENGINE, &rows, now).unwrap();
}

fn level(providers: &Providers, now: u64) -> Option<Trust> {
    match providers.find(NODE).unwrap() {
        Some(provider) => provider.level(ENGINE, "cpu", now),
        None => Some(Trust::Unknown),
    }
}

#[test]
fn work_counts_once_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let providers = open(&folder);
    assert_eq!(level(&providers, 0), Some(Trust::Unknown));
    providers.quoted(NODE, "cpu".into());
    for tiles in [5, PROBATION.checked_tiles, PROBATION.checked_tiles] {
        note(&providers, tiles, 100);
    }
    let providers = open(&folder);
    let (_, provider) = providers.all().unwrap().remove(0);
    assert_eq!(provider.work[0].checked, PROBATION.checked_tiles);
    assert_eq!(level(&providers, 100), Some(Trust::Unknown));
    let later = 100 + PROBATION.known_s;
    assert_eq!(level(&providers, later), Some(Trust::Probation));
    // In another run of the job nobody knows yet what it renders on; then what is new counts.
    note(&providers, 30, later);
    providers.quoted(NODE, "cpu".into());
    note(&providers, 35, later);
    let provider = providers.find(NODE).unwrap().unwrap();
    assert_eq!(provider.work[0].checked, PROBATION.checked_tiles + 5);
}

#[test]
fn who_changes_its_device_within_a_run_earns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let providers = open(&folder);
    for device in ["cpu", "cpu", "gpu", "cpu"] {
        providers.quoted(NODE, device.into());
    }
    note(&providers, 1_000, 0);
    assert!(providers.find(NODE).unwrap().unwrap().work.is_empty());
}

#[test]
fn strangers_without_checked_work_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let providers = open(&folder);
    providers.quoted(NODE, "cpu".into());
    note(&providers, 0, 0);
    let own = WorkerRow {
        trust: Trust::Own,
        ..row(9, WorkerState::Idle)
    };
    providers.note(JOB, ENGINE, &[own], 0).unwrap();
    assert!(providers.all().unwrap().is_empty());
}

#[test]
fn who_is_caught_begins_anew_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let providers = open(&folder);
    providers.quoted(NODE, "cpu".into());
    note(&providers, 1_000, 0);
    let caught_at = TRUSTED.known_s;
    assert_eq!(level(&providers, caught_at), Some(Trust::Trusted));
    let caught = providers.caught(
        NODE,
        FaultKind::Fraud,
        JOB,
        "frame 1: black",
        None,
        caught_at,
    );
    caught.unwrap();
    let rows = [row(1_007, WorkerState::Quarantined)];
    providers.note(JOB, ENGINE, &rows, caught_at + 1).unwrap();
    assert_eq!(level(&providers, caught_at + FRAUD_QUARANTINE_S - 1), None);
    let much_later = caught_at + 5 * FRAUD_QUARANTINE_S;
    assert_eq!(level(&providers, much_later), Some(Trust::Unknown));
    let provider = providers.find(NODE).unwrap().unwrap();
    assert_eq!(provider.faults.len(), 1);
    assert_eq!(provider.faults[0].evidence, "frame 1: black");
    assert!(provider.work.is_empty());
    for known in [true, false] {
        assert_eq!(providers.forget(NODE).unwrap(), known);
    }
    // The process was killed before the fault was on disk: the job's journal still has it.
    providers.note(JOB, ENGINE, &rows, caught_at).unwrap();
    assert_eq!(level(&providers, caught_at), None);
}

#[tokio::test]
async fn the_users_word_holds_at_once_also_from_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let (running, command) = (Arc::new(open(&folder)), open(&folder));
    assert!(running.admit(NODE, 0).await.is_ok());
    running.quoted(NODE, "cpu".into());
    assert_eq!(running.denied().unwrap(), []);
    command.say(NODE, Some(Word::Denied), 0).unwrap();
    assert!(running.admit(NODE, 0).await.is_err());
    assert_eq!(running.denied().unwrap(), [NODE]);
    assert_eq!(running.denied().unwrap(), []);
    command.say(NODE, Some(Word::Own), 0).unwrap();
    let own = running.admit(NODE, 0).await.unwrap();
    assert_eq!(own.level(ENGINE, "any", 0), Some(Trust::Own));
    command.say(NODE, None, 0).unwrap();
    assert!(running.all().unwrap().is_empty());
}

#[tokio::test]
async fn only_known_providers_may_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let only = |allowed: &[NodeId]| {
        let admission = Admission {
            only_known: true,
            allowed: allowed.iter().copied().collect(),
        };
        Arc::new(Providers::open(folder.path(), admission).unwrap())
    };
    let providers = only(&[]);
    assert!(providers.admit(NODE, 0).await.is_err());
    assert!(only(&[NODE]).admit(NODE, 0).await.is_ok());
    providers.say(NODE, Some(Word::Allowed), 0).unwrap();
    let allowed = providers.admit(NODE, 0).await.unwrap();
    assert_eq!(allowed.level(ENGINE, "cpu", 0), Some(Trust::Unknown));
    providers.say(NODE, None, 0).unwrap();
    providers.quoted(NODE, "cpu".into());
    note(&providers, PROBATION.checked_tiles, 0);
    assert!(providers.admit(NODE, 0).await.is_err());
    assert!(providers.admit(NODE, PROBATION.known_s).await.is_ok());
    // Allowed is not forgiven.
    let caught = providers.caught(NODE, FaultKind::Fraud, JOB, "frame 1: black", None, 0);
    caught.unwrap();
    assert!(only(&[NODE]).admit(NODE, 0).await.is_err());
}

#[test]
fn claims_of_others_count_once_and_quarantine_with_evidence_only() {
    let folder = tempfile::tempdir().unwrap();
    let providers = open(&folder);
    let claim = Claim {
        node: NODE,
        kind: FaultKind::Fraud,
        at: u64::MAX,
        job: JOB,
        evidence: "frame 1: black".into(),
        bundle: None,
    };
    let learn = |is_verified| {
        let claims = vec![(claim.clone(), is_verified)];
        providers.learn(claims, 50).unwrap()
    };
    let (new, old) = (Learned { new: 1, old: 0 }, Learned { new: 0, old: 1 });
    assert_eq!([learn(false), learn(false)], [new, old]);
    assert_eq!(level(&providers, 50), Some(Trust::Unknown));
    assert_eq!([learn(true), learn(true), learn(false)], [new, old, old]);
    assert_eq!(level(&providers, 50), None);
}

const OLD_FILE: &str = r#"{
  "NODE": {"first_seen": 10, "word": null, "fault": null, "checked": {"JOB": 21, "OTHER": 500}},
  "CAUGHT": {"first_seen": 10, "word": "denied",
    "fault": {"at": 90, "job": "JOB", "evidence": "frame 1: black", "checked_before": 3}, "checked": {"JOB": 3}}
}"#;

#[test]
fn the_file_of_earlier_versions_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let record = jobs::Record {
        id: JOB,
        words: Vec::new(),
        folder: folder.path().to_owned(),
        scene: "room.glb".into(),
        fingerprint: protocol::Blake3Hash([4; 32]),
        terms: protocol::message::Terms::LOCAL,
        begun: 0,
    };
    let job = JobFolder::of(folder.path(), JOB);
    job.create().unwrap();
    job.set_record(&record).unwrap();
    let caught = NodeId([9; 32]);
    let names = [
        ("NODE", NODE.to_string()),
        ("CAUGHT", caught.to_string()),
        ("JOB", JOB.to_string()),
    ];
    let text = names.iter().fold(OLD_FILE.to_owned(), |text, (name, id)| {
        text.replace(name, id)
    });
    let path = folder.path().join("providers.json");
    std::fs::write(&path, &text).unwrap();
    let providers = open(&folder);
    let known = providers.find(NODE).unwrap().unwrap();
    // Of a job that is gone nobody knows which engine rendered it.
    assert_eq!((known.first_seen, known.work[0].checked), (10, 21));
    assert_eq!(level(&providers, jobs::now()), Some(Trust::Probation));
    let denied = providers.find(caught).unwrap().unwrap();
    assert_eq!(denied.word, Some(Word::Denied));
    assert_eq!(denied.faults[0].evidence, "frame 1: black");
    assert!(!path.exists() && folder.path().join("providers.json.imported").exists());
    // Killed before the file was set aside: what came since stays.
    providers.say(NODE, Some(Word::Own), 0).unwrap();
    std::fs::write(&path, &text).unwrap();
    let again = open(&folder).find(NODE).unwrap().unwrap();
    assert_eq!(again.word, Some(Word::Own));
    std::fs::write(&path, "{\"x\":").unwrap();
    assert!(Providers::open(folder.path(), Admission::default()).is_err());
}
