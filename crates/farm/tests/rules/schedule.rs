//! Late tiles, absent workers, deadlines, runs.

use crate::script::{SALT, SIGNATURE, Script, config, node, root_of, true_cells};
use farm::{
    WorkerState,
    event::{Effect, Event, LeaseReason, Millis, Outcome, RunLimit, Trust},
    limits::{AWAY_MS_MAX, COPIES_EVERY_MS, PROBE_WAIT_MS, RUN_TASKS_MAX},
};
use protocol::{Address, Blake3Hash, Glm, NodeId, TaskId, TaskSpec};

/// A whole frame of the script takes a worker so long at a second for a million samples.
const FRAME_MS: Millis = 819;
const SLOWLY: u32 = 10_000;
const HOLD_MS: Millis = 60_000;

fn quote(script: &mut Script, number: u8, trust: Trust, held: &[TaskId]) {
    script.send(Event::Quoted {
        worker: node(number),
        trust,
        payee: Address([9; 20]),
        price_megasample: Glm::from_wei(1_000_000),
        held: held.to_vec(),
        hold_ms: HOLD_MS,
    });
}

fn join(script: &mut Script, number: u8, trust: Trust, megasample_ms: u32) {
    quote(script, number, trust, &[]);
    script.ready(number, megasample_ms);
}

fn leave(script: &mut Script, number: u8) {
    let worker = node(number);
    script.send(Event::Left { worker });
}

fn leases(script: &Script, number: u8) -> Vec<TaskSpec> {
    let own = script.leases.values();
    let own = own.filter(|(worker, _)| *worker == node(number));
    own.map(|(_, spec)| spec.clone()).collect()
}

fn frames(script: &Script, number: u8) -> Vec<i32> {
    let leases = leases(script, number);
    leases.iter().map(|spec| spec.frame).collect()
}

fn reveals(script: &Script) -> Vec<TaskId> {
    let reveal = |effect: &Effect| match effect {
        Effect::Reveal { task, .. } => Some(*task),
        _ => None,
    };
    script.effects.iter().filter_map(reveal).collect()
}

fn cancelled(script: &Script) -> Vec<TaskId> {
    let cancel = |effect: &Effect| match effect {
        Effect::Cancel { tasks, .. } => tasks.clone(),
        _ => Vec::new(),
    };
    script.effects.iter().flat_map(cancel).collect()
}

/// Why the worker got its last lease.
fn reason(script: &Script, number: u8) -> LeaseReason {
    let mut reasons = script.reasons.iter().rev();
    let last = reasons.find(|(worker, _)| *worker == node(number));
    last.expect("a lease").1
}

#[test]
fn an_idle_worker_takes_what_waits_and_copies_what_is_late() {
    let mut script = Script::new(config(2, 0));
    join(&mut script, 1, Trust::Own, SLOWLY);
    assert_eq!(frames(&script, 1), [1, 2]);
    script.now += COPIES_EVERY_MS;
    join(&mut script, 2, Trust::Own, 1_000);
    // What the slow worker has not begun is taken from it.
    assert_eq!((frames(&script, 1), frames(&script, 2)), (vec![1], vec![2]));
    script.now += FRAME_MS;
    script.work(2);
    let (first, copy) = (leases(&script, 1)[0].clone(), leases(&script, 2)[0].clone());
    assert_eq!((first.frame, &first.rects), (copy.frame, &copy.rects));
    let LeaseReason::Copy {
        holder,
        remaining_ms,
    } = reason(&script, 2)
    else {
        panic!("{:?}", reason(&script, 2));
    };
    assert_eq!(holder, node(1));
    assert_eq!(remaining_ms, 10 * FRAME_MS + 2 - COPIES_EVERY_MS - FRAME_MS);
    assert_eq!(script.farm.progress().copies.leased, 1);
    let spent = script.farm.progress().spent;
    script.work(2);
    // The first that is there is paid, the other is told to stop.
    assert_eq!(script.accepted(), [(node(2), copy.id)]);
    assert_eq!(cancelled(&script), [first.id]);
    let progress = script.farm.progress();
    assert_eq!(progress.spent, spent.checked_add(spent).unwrap());
    assert_eq!(progress.copies.won, 1);
}

#[test]
fn nothing_is_copied_that_its_worker_has_sooner() {
    let mut script = Script::new(config(1, 0));
    join(&mut script, 1, Trust::Own, 1_000);
    join(&mut script, 2, Trust::Own, 1_000);
    for _ in 0..8 {
        script.wait(COPIES_EVERY_MS);
        assert_eq!(leases(&script, 2), [], "at {} ms", script.now);
    }
    // Twice and a half its time: who knows what became of it.
    script.wait(FRAME_MS * 3);
    assert_eq!(frames(&script, 2), [1]);
}

/// Worker 1 is slow, 2 copies its tile, 3 is to probe.
fn copied() -> (Script, TaskSpec, TaskSpec) {
    let mut script = Script::new(config(1, 0));
    join(&mut script, 1, Trust::Unknown, SLOWLY);
    script.wait(0);
    script.wait(2_000);
    let first = leases(&script, 1)[0].clone();
    for number in [2, 3] {
        script.now += COPIES_EVERY_MS;
        join(&mut script, number, Trust::Unknown, 1_000);
    }
    let copy = leases(&script, 2)[0].clone();
    (script, first, copy)
}

fn wrong(spec: &TaskSpec) -> Vec<Blake3Hash> {
    vec![Blake3Hash([7; 32]); true_cells(spec).len()]
}

/// All probes and opinions are rendered, by whoever has them.
fn check(script: &mut Script) {
    let is_check = |(_, spec): &&(NodeId, TaskSpec)| spec.pixels.is_some();
    while let Some((worker, spec)) = script.leases.values().find(is_check).cloned() {
        script.commit_and_deliver(worker.0[0], &spec, true_cells(&spec));
    }
}

#[test]
fn a_second_commitment_waits_for_the_checks_of_the_first_delivery() {
    let (mut script, first, copy) = copied();
    script.commit_and_deliver(2, &copy, wrong(&copy));
    let cells = true_cells(&first);
    let (worker, task) = (node(1), first.id);
    let hash = first.hash(&config(1, 64).job);
    let commitment = verifier::commitment(&worker, &hash, &SALT, &root_of(&cells));
    script.send(Event::Committed {
        worker,
        task,
        commitment,
        signature: SIGNATURE,
        render_ms: 1,
    });
    assert_eq!(reveals(&script), []);
    // Minutes of silence about it are no lateness.
    script.heartbeats(&[1, 2, 3]);
    script.now += 100_000;
    script.heartbeats(&[1, 2, 3]);
    script.wait(1);
    // The first falls: the second is asked for and takes its place.
    check(&mut script);
    assert_eq!(script.state(2), WorkerState::Quarantined);
    assert_eq!(reveals(&script), [first.id]);
    script.deliver(1, &first, cells);
    check(&mut script);
    // A part of its pixels that nobody else takes goes to a worker that had another.
    script.wait(PROBE_WAIT_MS);
    check(&mut script);
    assert!(script.accepted().contains(&(node(1), first.id)));
    assert_eq!(script.written(), [1]);
}

#[test]
fn a_tile_whose_two_deliveries_are_gone_is_leased_again() {
    let (mut script, first, copy) = copied();
    let cells = true_cells(&first);
    script.commit(1, &first, &cells);
    script.commit(2, &copy, &wrong(&copy));
    script.deliver(2, &copy, wrong(&copy));
    // Both were asked for: the second comes in vain, and nobody blames its worker.
    script.deliver(1, &first, cells);
    assert_eq!(cancelled(&script), [first.id]);
    check(&mut script);
    assert_eq!(script.state(2), WorkerState::Quarantined);
    let again = leases(&script, 1).iter().chain(&leases(&script, 3)).count();
    assert_eq!(again, 1, "{:?}", script.leases);
    let rows = script.farm.progress().workers;
    assert_eq!(rows[0].tasks_rejected, 0);
}

#[test]
fn a_worker_that_comes_back_goes_on_with_what_it_holds() {
    let mut script = Script::new(config(3, 0));
    join(&mut script, 1, Trust::Own, 1_000);
    let [committed, queued] = <[TaskSpec; 2]>::try_from(leases(&script, 1)).unwrap();
    script.commit(1, &committed, &true_cells(&committed));
    let lost = leases(&script, 1).last().unwrap().clone();
    leave(&mut script, 1);
    assert_eq!(script.state(1), WorkerState::Away);
    let leased: Vec<TaskId> = script.farm.leased_tasks().map(|spec| spec.id).collect();
    assert_eq!(leased, [queued.id, lost.id, committed.id]);
    script.wait(HOLD_MS - 1);
    // It names a task of which nobody knows, and one less than it had.
    quote(
        &mut script,
        1,
        Trust::Own,
        &[committed.id, queued.id, TaskId(77)],
    );
    assert_eq!(cancelled(&script), [lost.id, TaskId(77)]);
    script.ready(1, 1_000);
    assert_eq!(reveals(&script), [committed.id]);
    script.leases.remove(&lost.id);
    for spec in [committed, queued] {
        if reveals(&script) != [spec.id] {
            script.commit(1, &spec, &true_cells(&spec));
        }
        script.deliver(1, &spec, true_cells(&spec));
        assert_eq!(script.accepted(), [(node(1), spec.id)]);
    }
    let again = leases(&script, 1);
    assert_eq!(frames(&script, 1), [lost.frame]);
    assert_ne!(again[0].id, lost.id);
}

#[test]
fn leases_wait_as_long_as_they_are_held_and_no_longer() {
    for (waits, hold_ms) in [(HOLD_MS, HOLD_MS), (AWAY_MS_MAX, Millis::MAX), (0, 0)] {
        let mut script = Script::new(config(1, 0));
        script.send(Event::Quoted {
            worker: node(1),
            trust: Trust::Own,
            payee: Address([9; 20]),
            price_megasample: Glm::ZERO,
            held: Vec::new(),
            hold_ms,
        });
        script.ready(1, 1_000);
        let leased = |script: &Script| script.farm.leased_tasks().count();
        assert_eq!(leased(&script), 1);
        leave(&mut script, 1);
        // Others are there, but busy for long: so nobody copies it.
        if waits > 0 {
            script.wait(waits / 2);
            assert_eq!(leased(&script), 1, "hold {hold_ms}");
        }
        script.now = waits;
        script.heartbeats(&[]);
        assert!(script.outcome().is_none() || waits > HOLD_MS);
        script.wait(1);
        assert_eq!(leased(&script), 0, "hold {hold_ms}");
    }
}

#[test]
fn what_an_absent_worker_holds_is_copied_by_others() {
    let mut script = Script::new(config(1, 0));
    join(&mut script, 1, Trust::Own, 1_000);
    join(&mut script, 2, Trust::Own, SLOWLY);
    leave(&mut script, 1);
    script.wait(COPIES_EVERY_MS);
    assert_eq!(frames(&script, 2), [1]);
    let why = reason(&script, 2).to_string();
    assert!(why.ends_with("is away"), "{why}");
    let held = leases(&script, 1)[0].clone();
    quote(&mut script, 1, Trust::Own, &[held.id]);
    script.ready(1, 1_000);
    script.wait(250);
    // The other is too slow and too busy to be waited for with the probes of the user's own worker.
    script.commit_and_deliver(1, &held, true_cells(&held));
    assert_eq!(script.accepted(), [(node(1), held.id)]);
    assert_eq!(cancelled(&script).len(), 1);
    assert_eq!(leases(&script, 2), []);
}

#[test]
fn a_job_that_goes_on_gets_what_was_rendered_meanwhile() {
    let mut script = Script::new(config(2, 0));
    join(&mut script, 1, Trust::Own, 1_000);
    let [committed, queued] = <[TaskSpec; 2]>::try_from(leases(&script, 1)).unwrap();
    script.commit(1, &committed, &true_cells(&committed));
    script.send(Event::Resumed {
        budget: None,
        deadline: None,
        again: Vec::new(),
    });
    assert_eq!(script.state(1), WorkerState::Away);
    quote(&mut script, 1, Trust::Own, &[committed.id, queued.id]);
    script.ready(1, 1_000);
    assert_eq!(reveals(&script), [committed.id]);
    script.deliver(1, &committed, true_cells(&committed));
    assert_eq!(script.accepted(), [(node(1), committed.id)]);
    script.commit_and_deliver(1, &queued, true_cells(&queued));
    assert_eq!(script.accepted(), [(node(1), queued.id)]);
}

#[test]
fn nothing_is_leased_that_would_end_after_the_deadline() {
    let mut config = config(4, 0);
    config.deadline = Some(3_000);
    let mut script = Script::new(config);
    join(&mut script, 1, Trust::Own, SLOWLY);
    assert_eq!(leases(&script, 1), []);
    let Some(Outcome::DeadlinePassed {
        missing,
        missing_ms: _,
    }) = script.outcome()
    else {
        panic!("{:?}", script.effects);
    };
    // Four frames of 819,200 samples.
    assert_eq!(*missing, Glm::from_wei(4 * 819_200));
    let resumed = Event::Resumed {
        budget: None,
        deadline: Some(10_000),
        again: Vec::new(),
    };
    script.send(resumed);
    join(&mut script, 2, Trust::Own, 1_000);
    while script.now + FRAME_MS + 1 < 8_000 && script.lease_of(2).is_some() {
        script.wait(FRAME_MS);
        script.work(2);
    }
    assert_eq!(script.farm.progress().tiles_accepted, 4);
}

#[test]
fn at_the_deadline_the_job_ends_and_tells_what_the_rest_takes() {
    let mut config = config(4, 0);
    config.deadline = Some(9_000);
    let mut script = Script::new(config);
    join(&mut script, 1, Trust::Own, 1_000);
    script.wait(FRAME_MS);
    script.work(1);
    script.wait(9_000 - FRAME_MS - 1);
    assert_eq!(script.outcome(), None);
    script.wait(1);
    let Some(Outcome::DeadlinePassed {
        missing,
        missing_ms,
    }) = script.outcome()
    else {
        panic!("{:?}", script.effects);
    };
    assert_eq!(*missing, Glm::from_wei(3 * 819_200));
    assert!(
        missing_ms.abs_diff(3 * FRAME_MS) < FRAME_MS / 2,
        "{missing_ms}"
    );
    assert_eq!(script.farm.progress().tiles_accepted, 1);
}

#[test]
fn runs_grow_with_short_tasks_and_shrink_at_the_end() {
    let mut script = Script::new(config(40, 16));
    join(&mut script, 1, Trust::Own, 1_000);
    assert_eq!(leases(&script, 1).len(), 2);
    let mut longest = 0;
    while script.lease_of(1).is_some() {
        script.now += 26;
        script.work(1);
        longest = longest.max(leases(&script, 1).len());
    }
    let limit = |(_, reason): &(NodeId, LeaseReason)| match reason {
        LeaseReason::Run { limit, .. } => Some(*limit),
        _ => None,
    };
    let mut limits: Vec<RunLimit> = script.reasons.iter().filter_map(limit).collect();
    limits.dedup();
    assert_eq!(longest, RUN_TASKS_MAX);
    let expected = [
        RunLimit::Least,
        RunLimit::Record,
        RunLimit::Most,
        RunLimit::Share,
        RunLimit::Least,
    ];
    assert_eq!(limits, expected);
    assert_eq!(script.farm.progress().tiles_accepted, 40 * 32);
}
