//! The coordinator's rules one by one: short scripts of events and what must come of them.

mod checks;
mod classes;
mod makespan;
mod ranges;
mod schedule;
mod script;
mod squares;

use farm::{
    Farm, WorkerState,
    event::{Effect, Event, Outcome, Trust},
    limits::{HEARTBEAT_TIMEOUT_MS, OPINION_WAIT_MS, PROGRESS_MS_MIN, REVEAL_MS_MIN},
};
use protocol::{Address, Blake3Hash, Glm, Size, TaskId, TaskSpec, TileGrid, pixels::Looks};
use script::{SALT, SIGNATURE, Script, config, node, true_cells, true_hashes};

/// Two unknown workers, one of which has delivered the only tile of the first frame.
fn probe_due(frames: i32) -> (Script, TaskSpec, TaskSpec) {
    let mut script = Script::new(config(frames, 0));
    script.join(1, Trust::Unknown);
    script.join(2, Trust::Unknown);
    script.wait(2_000);
    let tile = script.work(1);
    if frames > 1 {
        script.work(2);
    }
    let probe = (script.leases.values()).find(|(worker, spec)| {
        *worker == node(2) && spec.frame == tile.frame && spec.pixels.is_some()
    });
    let probe = probe.expect("a probe").1.clone();
    (script, tile, probe)
}

#[test]
fn a_tile_is_paid_once_another_worker_has_agreed_and_its_frame_written() {
    let (mut script, tile, probe) = probe_due(1);
    assert_eq!(script.farm.progress().spent, Glm::ZERO);
    // With one prober only, all eight pixels of each of 128 cells are his.
    assert_eq!((probe.rects.len(), probe.pixel_count()), (1, 1_024));
    script.commit_and_deliver(2, &probe, true_cells(&probe));
    assert_eq!(script.accepted(), [(node(1), tile.id), (node(2), probe.id)]);
    assert_eq!(script.written(), [1]);
    // 8192 px and 1024 of them again, 100 samples each, at one wei a sample.
    assert_eq!(
        script.farm.progress().spent,
        Glm::from_wei(819_200 + 102_400)
    );
    let frame = 1;
    let outcome = Ok(());
    script.send(Event::FrameWritten { frame, outcome });
    assert_eq!(script.outcome(), Some(&Outcome::Done));
}

#[test]
fn pixels_other_than_those_committed_to_are_rejected() {
    let mut script = Script::new(config(1, 0));
    script.join(1, Trust::Own);
    let tile = script.lease_of(1).unwrap();
    script.commit(1, &tile, &[Blake3Hash([0; 32])]);
    let effects = script.deliver(1, &tile, true_cells(&tile));
    assert!(matches!(&effects[0], Effect::Reject { reason, .. } if reason.contains("commitment")));
    assert_eq!(script.state(1), WorkerState::Resting);
}

#[test]
fn too_few_cells_are_rejected() {
    let mut script = Script::new(config(1, 0));
    script.join(1, Trust::Own);
    let tile = script.lease_of(1).unwrap();
    let cells = true_cells(&tile);
    script.commit(1, &tile, &cells);
    let due = script.farm.cells_due(tile.id);
    assert!(!due.pixels.is_empty() && due.cells.is_empty());
    let effects = script.send(Event::Delivered {
        worker: node(1),
        task: tile.id,
        salt: SALT,
        root: script::root_of(&cells),
        cells: Ok([].into()),
        looks: Looks::Ordinary,
    });
    assert!(matches!(&effects[0], Effect::Reject { reason, .. } if reason.contains("cells")));
}

/// Cells of the overlap belong to the neighbour's core: no probe of this tile ever hits them.
#[test]
fn a_wrong_overlap_is_found_by_comparing_neighbours() {
    let mut script = Script::new(config(1, 64));
    script.join(1, Trust::Unknown);
    script.join(2, Trust::Unknown);
    script.join(3, Trust::Unknown);
    script.wait(2_000);
    let tile = script.lease_of(1).unwrap();
    assert!(tile.rects[0].width == 64 && tile.rects.len() > 1);
    let mut cells = true_cells(&tile);
    cells[64..].fill(Blake3Hash([0; 32]));
    script.commit_and_deliver(1, &tile, cells);
    while let Some(busy) = [3, 2].into_iter().find(|&n| script.lease_of(n).is_some()) {
        script.work(busy);
        if script.state(1) == WorkerState::Quarantined {
            break;
        }
    }
    assert_eq!(script.state(1), WorkerState::Quarantined);
    assert_eq!(script.farm.progress().checks.overlap_mismatches, 1);
}

#[test]
fn a_lying_prober_is_caught_by_a_third_opinion() {
    let (mut script, _, probe) = probe_due(1);
    script.join(3, Trust::Unknown);
    let mut lie = true_cells(&probe);
    // Pixels of two cells, eight cells to a packed one.
    lie[30..34].fill(Blake3Hash([0; 32]));
    script.commit_and_deliver(2, &probe, lie);
    let opinion = script.lease_of(3).unwrap();
    assert_eq!(opinion.rects, probe.rects);
    assert_eq!(opinion.pixels, probe.pixels.map(|pixels| pixels.only(0)));
    script.work(3);
    assert_eq!(script.state(2), WorkerState::Quarantined);
    assert_eq!(script.farm.progress().checks.arbitrations, 1);
    // Its probe is void: the third renders all of them.
    assert_eq!(script.lease_of(3).unwrap().pixels, probe.pixels);
    script.work(3);
    assert_eq!(script.written(), [1]);
}

#[test]
fn a_cheat_caught_by_a_probe_loses_its_tile_to_others() {
    let mut script = Script::with_own_engine(config(1, 0));
    script.join(1, Trust::Unknown);
    script.join(2, Trust::Unknown);
    script.wait(2_000);
    let tile = script.lease_of(1).unwrap();
    let black = vec![Blake3Hash([0; 32]); true_cells(&tile).len()];
    script.commit_and_deliver(1, &tile, black);
    let probe = script.work(2);
    let (request, asked) = script.own.pop().expect("the own engine is asked");
    assert_eq!(asked.pixels, probe.pixels.map(|pixels| pixels.only(0)));
    let cells = Ok(true_hashes(&asked));
    script.send(Event::OwnRendered { request, cells });
    assert_eq!(script.state(1), WorkerState::Quarantined);
    assert!(script.accepted() == [(node(2), probe.id)]);
    let again = script.lease_of(2).unwrap();
    assert_eq!((again.frame, again.rects), (tile.frame, tile.rects));
}

#[test]
fn a_finished_frame_is_rendered_again_when_its_worker_is_caught_later() {
    let (mut script, first, probe) = probe_due(3);
    script.commit_and_deliver(2, &probe, true_cells(&probe));
    let outcome = Ok(());
    script.send(Event::FrameWritten { frame: 1, outcome });
    assert_eq!(script.farm.progress().frames_done, 1);
    script.join(3, Trust::Unknown);
    // The probes of frame 2: the first worker lies, the third knows better.
    let probe = (script.leases.values())
        .find(|(worker, spec)| *worker == node(1) && spec.pixels.is_some())
        .map(|(_, spec)| spec.clone())
        .unwrap();
    let lie = vec![Blake3Hash([0; 32]); true_cells(&probe).len()];
    script.commit_and_deliver(1, &probe, lie);
    let opinion = (script.leases.values())
        .find(|(worker, spec)| {
            *worker == node(3) && spec.rects == probe.rects && spec.pixels.is_some()
        })
        .map(|(_, spec)| spec.clone())
        .unwrap();
    script.commit_and_deliver(3, &opinion, true_cells(&opinion));
    assert_eq!(script.state(1), WorkerState::Quarantined);
    assert_eq!(script.farm.progress().frames_done, 0);
    assert_eq!(script.farm.progress().checks.frames_reopened, 1);
    let again = |script: &Script| {
        let mut leases = script.leases.values();
        leases.any(|(_, spec)| (spec.frame, &spec.rects) == (first.frame, &first.rects))
    };
    while !again(&script) {
        let busy = [2, 3].into_iter().find(|&n| script.lease_of(n).is_some());
        script.work(busy.expect("somebody has work"));
    }
}

#[test]
fn a_finished_frame_is_probed_again_when_its_prober_is_caught_later() {
    let (mut script, _, probe) = probe_due(6);
    script.commit_and_deliver(2, &probe, true_cells(&probe));
    let outcome = Ok(());
    script.send(Event::FrameWritten { frame: 1, outcome });
    script.join(3, Trust::Unknown);
    let other = (script.leases.values())
        .find(|(worker, spec)| *worker == node(2) && spec.pixels.is_none())
        .map(|(_, spec)| spec.clone())
        .unwrap();
    // Its tile is black; everybody else says so.
    let black = vec![Blake3Hash([0; 32]); true_cells(&other).len()];
    script.commit_and_deliver(2, &other, black);
    let spent = script.farm.progress().spent;
    while script.state(2) != WorkerState::Quarantined {
        let busy = [3, 1].into_iter().find(|&n| script.lease_of(n).is_some());
        script.work(busy.expect("somebody has work"));
    }
    assert!(script.farm.progress().spent > spent);
    let again = (script.leases.values())
        .any(|(worker, spec)| *worker == node(3) && spec.frame == 1 && spec.rects == probe.rects)
        || script.farm.progress().probes_waiting > 0;
    assert!(again, "{:?}", script.leases);
    for _ in 0..10 {
        let busy = [3, 1].into_iter().find(|&n| script.lease_of(n).is_some());
        let Some(busy) = busy else { break };
        script.work(busy);
    }
    // Nothing of frame 1 had to be rendered again.
    assert!(script.farm.progress().frames_done >= 1);
    assert!(script.leases.values().all(|(_, spec)| spec.frame != 1));
}

#[test]
fn in_an_open_frame_the_word_of_a_caught_prober_is_void() {
    // A secret that leaves the first tile's probes to workers.
    let secret = [10; 32];
    let mut script = Script::new(farm::FarmConfig {
        secret,
        ..config(1, 64)
    });
    script.join(1, Trust::Unknown);
    script.join(2, Trust::Unknown);
    script.wait(2_000);
    let (tile, other) = (script.work(1), script.lease_of(2).unwrap());
    let probe = (script.leases.values())
        .find(|(worker, spec)| *worker == node(2) && spec.id != other.id)
        .map(|(_, spec)| spec.clone())
        .unwrap();
    script.commit_and_deliver(2, &probe, true_cells(&probe));
    assert!(script.accepted().contains(&(node(1), tile.id)));
    script.join(3, Trust::Unknown);
    let black = vec![Blake3Hash([0; 32]); true_cells(&other).len()];
    script.commit_and_deliver(2, &other, black);
    while script.state(2) != WorkerState::Quarantined {
        script.step(&[2]);
    }
    assert_eq!(script.farm.progress().tiles_accepted, 0);
    // Its word is void: the third renders those pixels again.
    let again = |script: &Script| {
        let mut leases = script.leases.values();
        let again = leases.find(|(_, spec)| spec.pixels == probe.pixels);
        again.map(|(worker, spec)| (*worker, spec.clone()))
    };
    let (worker, spec) = again(&script).expect("the probe is leased again");
    assert_eq!(worker, node(3));
    script.commit_and_deliver(3, &spec, true_cells(&spec));
    // The tile counts again; its worker is not paid a second time.
    assert_eq!(script.farm.progress().tiles_accepted, 1);
    let paid_tiles = script.accepted();
    assert!(
        paid_tiles.iter().all(|(worker, _)| *worker == node(3)),
        "{paid_tiles:?}"
    );
}

#[test]
fn the_answer_to_an_outdated_write_does_not_finish_a_frame() {
    let (mut script, tile, probe) = probe_due(2);
    script.commit_and_deliver(2, &probe, true_cells(&probe));
    assert_eq!(script.written(), [1]);
    script.join(3, Trust::Unknown);
    let probe = script.lease_of(1).unwrap();
    let lie = vec![Blake3Hash([0; 32]); true_cells(&probe).len()];
    script.commit_and_deliver(1, &probe, lie);
    while script.state(1) != WorkerState::Quarantined {
        script.work(3);
    }
    let again = |script: &Script| {
        let mut leases = script.leases.iter();
        leases.find_map(|(_, (worker, spec))| {
            (spec.rects == tile.rects).then(|| (worker.0[0], spec.clone()))
        })
    };
    let (worker, spec) = again(&script).unwrap();
    script.commit_and_deliver(worker, &spec, true_cells(&spec));
    let mut writes = 0;
    while let Some(busy) = [2, 3].into_iter().find(|&n| script.lease_of(n).is_some()) {
        script.work(busy);
        writes += script.written().iter().filter(|frame| **frame == 1).count();
    }
    assert_eq!(writes, 1);
    for done in [0, 1] {
        let outcome = Ok(());
        script.send(Event::FrameWritten { frame: 1, outcome });
        assert_eq!(script.farm.progress().frames_done, done);
    }
}

#[test]
fn one_unknown_worker_is_checked_by_our_own_engine_or_not_believed() {
    let mut script = Script::with_own_engine(config(1, 0));
    script.join(1, Trust::Unknown);
    script.wait(2_000);
    script.work(1);
    let Some(Effect::RenderOwn { request, .. }) = script.effects.last().cloned() else {
        panic!("{:?}", script.effects)
    };
    let cells = Err("no such engine here".into());
    script.send(Event::OwnRendered { request, cells });
    script.wait(OPINION_WAIT_MS / 2);
    assert_eq!(script.outcome(), None);
    script.wait(OPINION_WAIT_MS);
    assert!(matches!(script.outcome(), Some(Outcome::Unverified { .. })));
    assert_eq!(script.farm.progress().spent, Glm::ZERO);
}

#[test]
fn an_own_worker_alone_is_believed_and_this_is_counted() {
    let mut script = Script::new(config(20, 0));
    script.join(1, Trust::Own);
    for _ in 0..20 {
        script.work(1);
    }
    // About every second tile would be probed if somebody else were there.
    let unprobed = script.farm.progress().checks.unprobed_tiles;
    assert!((4..=16).contains(&unprobed), "{unprobed}");
    assert_eq!(script.farm.progress().tiles_accepted, 20);
    // Only what others looked at counts for it.
    assert_eq!(script.farm.progress().workers[0].tiles_checked, 0);
}

#[test]
fn silence_lateness_and_departure_return_leases() {
    for end in ["silent", "late", "gone", "forgotten"] {
        let mut script = Script::new(config(1, 0));
        script.join(1, Trust::Own);
        let tile = script.lease_of(1).unwrap();
        script.join(2, Trust::Own);
        assert_eq!(script.lease_of(2), None);
        match end {
            "silent" => drop(script.wait(HEARTBEAT_TIMEOUT_MS + 1).len()),
            "late" => {
                for _ in 0..=PROGRESS_MS_MIN / 5_000 {
                    script.heartbeats(&[1, 2]);
                    script.wait(5_000);
                }
            }
            "gone" => drop(script.send(Event::Left { worker: node(1) }).len()),
            _ => {
                script.now += HEARTBEAT_TIMEOUT_MS + 1;
                let (worker, tasks) = (node(1), Vec::new());
                script.send(Event::Heartbeat { worker, tasks });
            }
        }
        let again = script.lease_of(2).unwrap_or_else(|| panic!("{end}"));
        assert_eq!(again.rects, tile.rects, "{end}");
        assert_ne!(again.id, tile.id, "{end}");
    }
}

#[test]
fn a_commitment_that_is_never_opened_is_given_up() {
    let mut script = Script::new(config(1, 0));
    script.join(1, Trust::Own);
    let tile = script.lease_of(1).unwrap();
    script.commit(1, &tile, &true_cells(&tile));
    script.join(2, Trust::Own);
    for _ in 0..=REVEAL_MS_MIN / 5_000 + 1 {
        script.heartbeats(&[1, 2]);
        script.wait(5_000);
    }
    assert!(script.lease_of(2).is_some());
    // Its pixels come too late: they are dropped and nobody is paid for them.
    script.deliver(1, &tile, true_cells(&tile));
    assert_eq!(script.farm.progress().tiles_accepted, 0);
}

#[test]
fn a_frame_that_fails_on_three_workers_is_given_up_and_the_rest_goes_on() {
    let mut script = Script::new(config(2, 0));
    for number in 1..=4 {
        script.join(number, Trust::Own);
    }
    for _ in 0..3 {
        let bad = (script.leases.values()).find(|(_, spec)| spec.frame == 1);
        let (worker, spec) = bad.cloned().expect("somebody tries");
        script.leases.remove(&spec.id);
        let (task, reason) = (Some(spec.id), "no memory".into());
        script.send(Event::Failed {
            worker,
            task,
            reason,
        });
    }
    assert_eq!(script.farm.progress().frames_failed, 1);
    let good = script.leases.values().next().cloned().unwrap();
    assert_eq!(good.1.frame, 2);
    let worker = good.0.0[0];
    script.work(worker);
    while let Some(prober) = (1..=4).find(|&n| script.lease_of(n).is_some()) {
        script.work(prober);
    }
    let outcome = Ok(());
    script.send(Event::FrameWritten { frame: 2, outcome });
    let frames = vec![(1, "no memory".to_owned())];
    assert_eq!(script.outcome(), Some(&Outcome::FramesFailed { frames }));
}

#[test]
fn strangers_cannot_fail_a_frame_that_others_can_render() {
    let mut script = Script::new(config(1, 0));
    for number in 1..=5 {
        script.join(number, Trust::Unknown);
    }
    script.wait(5_000);
    for _ in 0..4 {
        let (worker, spec) = script.leases.values().next().cloned().expect("a lease");
        script.leases.remove(&spec.id);
        let (task, reason) = (Some(spec.id), "no memory".into());
        script.send(Event::Failed {
            worker,
            task,
            reason,
        });
        assert_eq!(script.farm.progress().frames_failed, 0);
    }
    // The fifth is the last that could.
    let (worker, spec) = script.leases.values().next().cloned().expect("a lease");
    let (task, reason) = (Some(spec.id), "no memory".into());
    script.send(Event::Failed {
        worker,
        task,
        reason,
    });
    assert_eq!(script.farm.progress().frames_failed, 1);
}

#[test]
fn a_budget_is_reserved_before_leasing_and_its_end_is_told() {
    let mut poor = config(3, 0);
    // A tile and its probes cost 819,200 and 51,200 wei at most.
    poor.budget = Some(Glm::from_wei(1_000_000));
    let mut script = Script::new(poor);
    script.join(1, Trust::Own);
    assert_eq!(script.leases.len(), 1);
    script.work(1);
    assert_eq!(script.written(), [1]);
    let outcome = Ok(());
    script.send(Event::FrameWritten { frame: 1, outcome });
    let missing = Glm::from_wei(2 * 819_200);
    assert_eq!(script.outcome(), Some(&Outcome::BudgetSpent { missing }));
}

#[test]
fn prices_over_the_limit_get_no_work() {
    let mut limited = config(1, 0);
    limited.price_megasample_max = Some(Glm::from_wei(10));
    let mut script = Script::new(limited);
    script.quote(1, Trust::Unknown, 11);
    assert_eq!(script.state(1), WorkerState::TooExpensive);
    script.quote(2, Trust::Unknown, 10);
    assert_eq!(script.state(2), WorkerState::Preparing);
}

#[test]
fn nobody_for_a_minute_ends_the_job() {
    let mut script = Script::new(config(1, 0));
    script.wait(0);
    script.wait(59_999);
    assert_eq!(script.outcome(), None);
    script.wait(1);
    assert_eq!(script.outcome(), Some(&Outcome::NoProviders));
}

#[test]
fn a_worker_stays_with_its_frame() {
    let mut script = Script::new(config(2, 32));
    script.join(1, Trust::Own);
    script.join(2, Trust::Own);
    let frames = [1, 2].map(|number| script.lease_of(number).unwrap().frame);
    let tiles = script.farm.progress().tiles_total / 2;
    assert_eq!(tiles, 8);
    let mut tiles_done = [0, 0];
    for turn in 0..12 {
        let spec = script.work(turn % 2 + 1);
        if spec.rects[0].width > 8 {
            assert_eq!(spec.frame, frames[turn as usize % 2]);
            tiles_done[turn as usize % 2] += 1;
        }
    }
    assert!(tiles_done.iter().all(|&tiles| tiles >= 2), "{tiles_done:?}");
}

/// 32 tiles a frame, two leases a worker: eleven find more tiles waiting than workers when they come, the twelfth does
/// not; a worker that leaves makes room for another, because its tiles wait again.
#[test]
fn workers_join_the_earliest_frame_that_has_room() {
    let mut script = Script::new(config(3, 16));
    for number in 1..=15 {
        script.join(number, Trust::Own);
    }
    let frame = |script: &Script, number| script.lease_of(number).unwrap().frame;
    for number in 1..=15 {
        let expected = if number <= 11 { 1 } else { 2 };
        assert_eq!(frame(&script, number), expected, "worker {number}");
    }
    for number in 1..=2 {
        let worker = node(number);
        script.send(Event::Left { worker });
        script.leases.retain(|_, (holder, _)| *holder != worker);
    }
    for (number, expected) in [(16, 1), (17, 1), (18, 2)] {
        script.join(number, Trust::Own);
        assert_eq!(frame(&script, number), expected, "worker {number}");
    }
}

#[test]
fn events_that_make_no_sense_change_nothing() {
    let mut script = Script::new(config(2, 0));
    script.join(1, Trust::Own);
    let tile = script.lease_of(1).unwrap();
    let before = script.farm.progress();
    let (stranger, class) = (node(99), Blake3Hash([7; 32]));
    let root = Blake3Hash([3; 32]);
    let events = [
        Event::Ready {
            worker: stranger,
            class,
            is_comparable: false,
            megasample_ms: 1,
        },
        Event::Ready {
            worker: node(1),
            class,
            is_comparable: false,
            megasample_ms: 1,
        },
        Event::Left { worker: stranger },
        Event::Committed {
            worker: stranger,
            task: tile.id,
            commitment: root,
            signature: SIGNATURE,
            render_ms: 0,
        },
        Event::Committed {
            worker: node(1),
            task: TaskId(999),
            commitment: root,
            signature: SIGNATURE,
            render_ms: 0,
        },
        Event::Failed {
            worker: node(1),
            task: Some(TaskId(999)),
            reason: String::new(),
        },
        Event::FrameWritten {
            frame: 1,
            outcome: Ok(()),
        },
        Event::FrameWritten {
            frame: 77,
            outcome: Err(String::new()),
        },
        Event::OwnRendered {
            request: 5,
            cells: Ok(Vec::new()),
        },
        Event::Quoted {
            worker: node(1),
            trust: Trust::Unknown,
            payee: Address([9; 20]),
            price_megasample: Glm::from_glm(9),
            held: Vec::new(),
            hold_ms: 0,
        },
    ];
    for event in events {
        assert_eq!(script.send(event), []);
    }
    // Pixels of a task that was not committed to are not taken, and their blob is dropped.
    let cells = Ok(Vec::new().into());
    let forget = [Effect::Forget { root }];
    let (worker, task, salt) = (node(1), tile.id, SALT);
    let delivered = Event::Delivered {
        worker,
        task,
        salt,
        root,
        cells,
        looks: Looks::Ordinary,
    };
    assert_eq!(script.send(delivered), forget);
    assert_eq!(script.farm.progress(), before);
}

#[test]
fn impossible_jobs_are_refused() {
    let mut other_size = config(1, 0);
    other_size.grid.size.width = 64;
    assert!(Farm::new(other_size).is_err());
    let mut huge = config(1, 0);
    huge.job.settings.size = Size::new(8192, 8192).unwrap();
    huge.grid = TileGrid::new(huge.job.settings.size, 0);
    assert!(Farm::new(huge).is_err());
    let mut invalid = config(1, 0);
    invalid.job.settings.samples = 0;
    assert!(Farm::new(invalid).is_err());
}
