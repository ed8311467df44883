//! Mixed determinism classes: trials, what the own engine judges, and what follows.

use crate::{
    checks::large,
    script::{Script, node, true_cells},
};
use farm::{
    WorkerState,
    event::{Effect, Event, FaultKind, NoiseVerdict},
    limits::{TRIALS_MAX, UNDECIDED_TILES_MAX},
};
use protocol::{Blake3Hash, NodeId, Rect, TaskId};
use verifier::noise::{Band, Finding, Test};

const OWN: Blake3Hash = Blake3Hash([1; 32]);
const OTHER: Blake3Hash = Blake3Hash([2; 32]);
const BAD: Blake3Hash = Blake3Hash([0; 32]);

fn finding() -> Finding {
    Finding {
        test: Test::Eta,
        value: 0.6,
        band: Band {
            accept: 0.02,
            reject: 0.04,
        },
    }
}

/// A job of mixed classes with an own engine of the class `own`, one worker of that class, and these of the other.
fn mixed(own: Option<Blake3Hash>, others: &[u8]) -> Script {
    let mut config = large(100, 3);
    config.mixed_classes = true;
    let mut script = Script::with_own_engine(config);
    script.send(Event::OwnClass { class: own });
    script.join_class(1, OWN, true);
    for &number in others {
        script.join_class(number, OTHER, true);
    }
    script.wait(2_000);
    script
}

fn leases(script: &Script, numbers: &[u8]) -> usize {
    let leases = script.leases.values();
    let is_of = |worker: &u8| numbers.contains(worker);
    leases.filter(|(worker, _)| is_of(&worker.0[0])).count()
}

/// Tiles of one of these, delivered honestly; what was asked of the own engine then.
fn deliver(script: &mut Script, number: u8) -> Option<(u64, Vec<Rect>, Rect)> {
    let tile = script.work(number);
    judge_asked(script).map(|(request, regions)| (request, regions, tile.rects[0]))
}

fn judge_asked(script: &Script) -> Option<(u64, Vec<Rect>)> {
    script.effects.iter().find_map(|effect| match effect {
        Effect::Judge {
            request, regions, ..
        } => Some((*request, regions.clone())),
        _ => None,
    })
}

fn judge(script: &mut Script, request: u64, verdict: NoiseVerdict) {
    script.send(Event::Judged {
        request,
        verdict: Ok(verdict),
    });
}

/// Who has got a tile on trial.
fn tried(script: &Script, others: &[u8]) -> u8 {
    let mut tried = others
        .iter()
        .filter(|number| script.lease_of(**number).is_some());
    *tried.next().expect("somebody is tried")
}

#[test]
fn a_class_gets_one_tile_until_that_was_judged() {
    let mut script = mixed(Some(OWN), &[2, 3]);
    assert_eq!(leases(&script, &[2, 3]), 1);
    let first = tried(&script, &[2, 3]);
    let (request, regions, tile) = deliver(&mut script, first).expect("a trial is judged");
    assert_eq!(regions.len(), 2);
    for region in regions {
        assert_eq!((region.width, region.height), (32, 32));
        assert_eq!(tile.intersection(&region), Some(region));
    }
    script.wait(5_000);
    let is_tile = |spec: &protocol::TaskSpec| spec.pixels.is_none() && spec.rects[0].area() > 64;
    let tiles = |script: &Script| {
        let leases = script.leases.values();
        let others = leases.filter(|(worker, spec)| *worker != node(1) && is_tile(spec));
        others.count()
    };
    assert_eq!(tiles(&script), 0);
    judge(&mut script, request, NoiseVerdict::Accepted);
    assert!(tiles(&script) >= 2);
}

#[test]
fn other_builds_and_jobs_without_an_own_engine_are_not_mixed() {
    let script = mixed(None, &[2]);
    assert_eq!(leases(&script, &[2]), 0);
    assert_eq!(script.state(2), WorkerState::OtherClass);
    let mut script = mixed(Some(OWN), &[]);
    script.join_class(2, OTHER, false);
    script.wait(2_000);
    assert_eq!(leases(&script, &[2]), 0);
    // Where nobody mixes classes, it does not matter what the own engine is.
    let mut script = Script::with_own_engine(large(100, 3));
    script.send(Event::OwnClass { class: Some(OWN) });
    script.join_class(1, OWN, true);
    script.join_class(2, OTHER, true);
    script.wait(2_000);
    assert!(leases(&script, &[1]) > 0);
    assert_eq!(leases(&script, &[2]), 0);
}

#[test]
fn a_rejected_trial_is_fraud_and_after_some_the_class_is_out() {
    let others = [2, 3, 4, 5, 6];
    let mut script = mixed(Some(OWN), &others);
    for trial in 0..TRIALS_MAX {
        let number = tried(&script, &others);
        let (request, ..) = deliver(&mut script, number).unwrap();
        judge(&mut script, request, NoiseVerdict::Rejected(finding()));
        assert_eq!(script.quarantines.len(), trial as usize + 1);
        assert_eq!(
            script.quarantines.last(),
            Some(&(node(number), FaultKind::Fraud))
        );
        let evidence = script.effects.iter().find_map(|effect| match effect {
            Effect::Quarantine { evidence, .. } => Some(evidence.to_string()),
            _ => None,
        });
        assert!(evidence.is_some_and(|text| text.contains("Eta is 0.6")));
        script.wait(2_000);
    }
    assert_eq!(leases(&script, &others), 0);
    // Nor does somebody new of the class.
    script.join_class(7, OTHER, true);
    script.wait(2_000);
    assert_eq!(leases(&script, &[7]), 0);
}

#[test]
fn what_is_undecided_is_rendered_by_the_own_class_and_nobodys_fault() {
    let mut script = mixed(Some(OWN), &[2]);
    let lease = script.lease_of(2).unwrap();
    let (request, ..) = deliver(&mut script, 2).unwrap();
    judge(
        &mut script,
        request,
        NoiseVerdict::Inconclusive(Some(finding())),
    );
    let is_rejected =
        |effect: &Effect| matches!(effect, Effect::Reject { task, .. } if *task == lease.id);
    assert!(script.effects.iter().any(is_rejected));
    assert!(script.quarantines.is_empty());
    for _ in 0..40 {
        script.step(&[2]);
    }
    let again = script.farm.progress().tiles_accepted;
    assert!(again > 0, "the other tiles and this one go on");
    let leases = script.leases.values();
    let mut of_other = leases.filter(|(worker, _)| *worker == node(2));
    assert!(of_other.all(|(_, spec)| (spec.frame, &spec.rects) != (lease.frame, &lease.rects)));
}

/// Admits the other class by the first trial; gives its worker's next tile.
fn admitted(others: &[u8]) -> Script {
    let mut script = mixed(Some(OWN), others);
    let number = tried(&script, others);
    let (request, ..) = deliver(&mut script, number).unwrap();
    judge(&mut script, request, NoiseVerdict::Accepted);
    script
}

#[test]
fn a_lone_worker_is_judged_at_every_tile_and_stops_after_many_undecided_ones() {
    let mut script = admitted(&[2]);
    for _ in 0..UNDECIDED_TILES_MAX {
        let (request, ..) = deliver(&mut script, 2).expect("nobody else can probe it");
        judge(&mut script, request, NoiseVerdict::Inconclusive(None));
    }
    assert!(script.quarantines.is_empty());
    let held: Vec<TaskId> = script.leases.keys().copied().collect();
    script.wait(2_000);
    let is_new = |(id, (worker, _)): (&TaskId, &(protocol::NodeId, protocol::TaskSpec))| {
        *worker == node(2) && !held.contains(id)
    };
    assert!(!script.leases.iter().any(is_new));
}

#[test]
fn a_dispute_in_another_class_is_for_the_noise() {
    for (verdict, caught) in [
        (NoiseVerdict::Accepted, 0),
        (NoiseVerdict::Rejected(finding()), 1),
    ] {
        let mut script = mixed(Some(OWN), &[2, 3]);
        let (owner, prober) = match tried(&script, &[2, 3]) {
            2 => (2, 3),
            _ => (3, 2),
        };
        let tile = script.lease_of(owner).unwrap();
        let (first, ..) = deliver(&mut script, owner).unwrap();
        let probe = script.lease_of(prober).expect("a probe of the trial");
        let mut cells = true_cells(&probe);
        cells.fill(BAD);
        script.commit_and_deliver(prober, &probe, cells);
        assert!(script.own.is_empty(), "the own engine gives other bits");
        let (request, _) = judge_asked(&script).expect("its noise is looked at again");
        assert_ne!(request, first);
        judge(&mut script, request, verdict);
        assert_eq!(script.quarantines.len(), caught);
        assert!(
            script
                .quarantines
                .iter()
                .all(|(worker, _)| *worker == node(owner))
        );
        let is_rejected =
            |effect: &Effect| matches!(effect, Effect::Reject { task, .. } if *task == tile.id);
        assert!(script.effects.iter().any(is_rejected), "{verdict:?}");
        let accepted = script.accepted();
        let is_of_both =
            |(worker, task): &(NodeId, TaskId)| *worker == node(owner) || *task == probe.id;
        assert!(!accepted.iter().any(is_of_both), "both may be wrong");
    }
}

#[test]
fn without_the_judge_a_tile_is_given_back_and_the_class_gets_no_more() {
    let mut script = mixed(Some(OWN), &[2]);
    let (request, ..) = deliver(&mut script, 2).unwrap();
    script.send(Event::Judged {
        request,
        verdict: Err("it crashed".into()),
    });
    script.wait(2_000);
    assert!(script.quarantines.is_empty());
    assert_eq!(leases(&script, &[2]), 0);
    assert_eq!(script.state(2), WorkerState::OtherClass);
}

#[test]
fn a_resumed_job_asks_again_and_goes_on_with_its_classes() {
    let mut script = mixed(Some(OWN), &[2]);
    let (request, regions, _) = deliver(&mut script, 2).unwrap();
    script.farm = farm::Farm::restore(&script.farm.checkpoint().unwrap()).unwrap();
    script.send(Event::Resumed {
        budget: None,
        deadline: None,
        again: Vec::new(),
    });
    assert_eq!(judge_asked(&script), Some((request, regions)));
    script.send(Event::OwnClass { class: Some(OWN) });
    judge(&mut script, request, NoiseVerdict::Accepted);
    script.join_class(1, OWN, true);
    script.join_class(2, OTHER, true);
    script.wait(2_000);
    assert!(leases(&script, &[2]) > 1, "its class is admitted");
}
