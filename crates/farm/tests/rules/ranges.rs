//! Where the samples of frames are divided into ranges: what is leased, checked, paid, written and rendered again.

use crate::script::{Script, config, node, root_of, true_cells, true_hashes};
use farm::{
    Farm, FarmConfig, FarmError, WorkerState,
    event::{Effect, Event, Piece, Trust},
};
use protocol::{Blake3Hash, EngineKind, Glm, SampleRange, TaskSpec};
use std::collections::BTreeSet;
use verifier::ProbeShape;

/// Frames of 100 samples in four ranges.
fn in_ranges(frames: i32, tile_px: u32) -> FarmConfig {
    let mut config = config(frames, tile_px);
    config.job.engine = EngineKind::Blender;
    config.job.blender = "5.0.1".parse().ok();
    config.grid = config.grid.in_ranges(4);
    config.probes = ProbeShape::squares(100, 0);
    config
}

fn strangers(config: FarmConfig, count: u8) -> Script {
    let mut script = Script::with_own_engine(config);
    (1..=count).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    script
}

fn ranges() -> Vec<SampleRange> {
    SampleRange::strata(100, 4).collect()
}

/// More than any job here takes.
const STEPS_MAX: usize = 500;

/// Lets everybody work honestly until a frame is to be written.
fn first_written(script: &mut Script) -> (i32, Vec<Piece>) {
    for _ in 0..STEPS_MAX {
        if let Some(written) = script.writes.pop() {
            return written;
        }
        script.step(&[]);
    }
    panic!("nothing is ever written");
}

/// Says that all frames are written that are to be.
fn write(script: &mut Script) {
    for (frame, _) in std::mem::take(&mut script.writes) {
        let outcome = Ok(());
        script.send(Event::FrameWritten { frame, outcome });
    }
}

#[test]
fn each_range_is_leased_checked_and_paid_by_its_samples() {
    let mut script = strangers(in_ranges(1, 0), 3);
    let whole = script.farm.config().grid.core(0);
    let mut seen = BTreeSet::new();
    let mut tasks = BTreeSet::new();
    for _ in 0..STEPS_MAX {
        if script.farm.progress().tiles_accepted == 4 {
            break;
        }
        for (_, spec) in script.leases.values() {
            let samples = spec.samples.expect("a range");
            assert!(ranges().contains(&samples));
            tasks.insert(spec.id);
            if spec.rects == [whole] {
                seen.insert(samples);
            }
        }
        for (_, asked) in &script.own {
            assert!(asked.samples.is_some());
        }
        script.step(&[]);
    }
    assert!(seen.into_iter().eq(ranges()));
    // Probes and replicas besides the tiles.
    assert!(tasks.len() > 4, "{tasks:?}");
    let progress = script.farm.progress();
    assert_eq!((progress.tiles_total, progress.samples_left), (4, 0));
    // A wei a sample: as much as for frames that are not divided, and the checks.
    let checks = progress.checks.spent;
    let whole = Glm::from_wei(u128::from(whole.area()) * 100);
    assert_eq!(progress.spent, whole.checked_add(checks).unwrap());
}

#[test]
fn a_frame_is_written_of_all_ranges_of_each_tile_one_after_the_other() {
    let mut script = strangers(in_ranges(1, 64), 3);
    let (_, written) = first_written(&mut script);
    let grid = script.farm.config().grid;
    let expected = (0..grid.square_count()).flat_map(|square| {
        let ranges = ranges().into_iter();
        ranges.map(move |samples| (grid.core(square), Some(samples)))
    });
    let found = written.iter().map(|piece| (piece.core, piece.samples));
    assert!(found.eq(expected), "{written:?}");
    let roots: BTreeSet<Blake3Hash> = written.iter().map(|piece| piece.root).collect();
    assert_eq!(roots.len(), written.len());
}

#[test]
fn a_finished_frame_is_rendered_again_in_all_ranges_when_a_worker_of_one_is_caught() {
    let mut script = strangers(in_ranges(20, 0), 3);
    let whole = script.farm.config().grid.core(0);
    let (frame, pieces) = first_written(&mut script);
    assert_eq!(pieces.len(), 4);
    script.writes.push((frame, pieces));
    write(&mut script);
    let is_done = |script: &Script| script.farm.frames_done().any(|done| done == frame);
    assert!(is_done(&script));
    for _ in 0..STEPS_MAX {
        match script.lease_of(1) {
            Some(spec) if spec.rects == [whole] => {
                let black = vec![Blake3Hash([0; 32]); true_cells(&spec).len()];
                script.commit_and_deliver(1, &spec, black);
            }
            Some(_) => drop(script.work(1)),
            None => {}
        }
        if script.state(1) == WorkerState::Quarantined {
            break;
        }
        script.step(&[1]);
        write(&mut script);
    }
    assert_eq!(script.state(1), WorkerState::Quarantined);
    assert!(!is_done(&script));
    for _ in 0..STEPS_MAX {
        let again = script.writes.iter().find(|(again, _)| *again == frame);
        if let Some((_, pieces)) = again {
            assert_eq!(pieces.len(), 4);
            return;
        }
        write(&mut script);
        script.step(&[]);
    }
    panic!("it is not written again");
}

#[test]
fn evidence_names_the_samples_that_it_is_about() {
    let mut script = strangers(in_ranges(1, 0), 2);
    let tile = script.lease_of(1).unwrap();
    let black = vec![Blake3Hash([0; 32]); true_cells(&tile).len()];
    script.commit_and_deliver(1, &tile, black);
    let mut evidence = None;
    for _ in 0..STEPS_MAX {
        evidence = script.effects.iter().find_map(|effect| match effect {
            Effect::Quarantine { evidence, .. } => Some(evidence.clone()),
            _ => None,
        });
        if evidence.is_some() {
            break;
        }
        script.step(&[1]);
    }
    let evidence = evidence.expect("it is caught");
    assert_eq!((evidence.frame, evidence.samples), (1, tile.samples));
    assert!(
        evidence.to_string().contains("in samples 0..25"),
        "{evidence}"
    );
    let said = evidence.statements.iter().find(|said| said.is_wrong);
    assert_eq!(said.map(|said| said.worker), Some(node(1)));
}

#[test]
fn a_commitment_to_another_range_is_rejected() {
    let mut script = strangers(in_ranges(1, 0), 1);
    let tile = script.lease_of(1).unwrap();
    let samples = ranges().pop();
    assert_ne!(tile.samples, samples);
    let other = TaskSpec {
        samples,
        ..tile.clone()
    };
    let cells = true_cells(&tile);
    script.commit(1, &other, &cells);
    let effects = script.deliver(1, &tile, cells);
    assert!(matches!(&effects[0], Effect::Reject { reason, .. } if reason.contains("commitment")));
}

#[test]
fn a_job_that_goes_on_asks_for_the_same_ranges() {
    let mut script = strangers(in_ranges(1, 0), 2);
    let tile = script.work(1);
    assert_ne!(root_of(&true_hashes(&tile)), Blake3Hash([0; 32]));
    let restored = Farm::restore(&script.farm.checkpoint().unwrap()).unwrap();
    let leases = |farm: &Farm| farm.leased_tasks().collect::<Vec<TaskSpec>>();
    assert!(leases(&restored).iter().all(|spec| spec.samples.is_some()));
    assert_eq!(leases(&restored), leases(&script.farm));
    for spec in leases(&restored) {
        assert_eq!(restored.spec_of(spec.id), Some(spec));
    }
}

#[test]
fn ranges_that_no_engine_can_render_are_refused() {
    let refused = |change: &dyn Fn(&mut FarmConfig)| {
        let mut config = in_ranges(1, 0);
        change(&mut config);
        matches!(Farm::new(config), Err(FarmError::Ranges { .. }))
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|config| config.grid = config.grid.in_ranges(65)));
    assert!(refused(&|config| config.job.settings.samples = 7));
    assert!(refused(&|config| config.job.blender = "4.3.2".parse().ok()));
    assert!(refused(&|config| {
        config.job.engine = EngineKind::Tracer;
        config.job.blender = None;
    }));
    assert!(refused(&|config| config.grid.ranges = 0));
}
