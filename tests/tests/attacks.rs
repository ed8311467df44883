//! Every attack on verification in the simulated farm: the cheat is caught or does no harm, and gains nothing.
//!
//! The real coordinator and verifier decide; the simulator asserts that no wrong pixels are paid and that nobody honest is
//! blamed, and fails the run where they are. Tiles have 1024 cells, as the numbers of the trust table mean them.

use farm::{WorkerRow, WorkerState, event::Outcome, event::Trust, limits::TRIALS_MAX};
use protocol::{Glm, Size, TileGrid};
use tests::simulator::{
    Report, Simulation, Violation,
    engine::OTHER_CLASS,
    scenario::{Failure, Scenario},
    worker::{Member, Strategy},
};

/// Frames of four tiles.
const FRAMES: i32 = 10;
/// Jobs for each attack.
const SEEDS: u64 = 3;
/// Price of a cell of simulated workers, in wei: 64 pixels of 16 samples at a wei each.
const CELL_WEI: f64 = 1024.0;
/// What the requestor's referee says when wrong pixels are paid.
const WRONG_PAID: &str = "its pixels are wrong";

fn honest(count: usize) -> Vec<Member> {
    vec![Member::plain(Strategy::Honest, Trust::Unknown); count]
}

fn lone(strategy: Strategy) -> Vec<Member> {
    vec![Member::plain(strategy, Trust::Unknown)]
}

fn run(seed: u64, cheats: Vec<Member>, others: Vec<Member>) -> Result<Report, Violation> {
    let grid = TileGrid::new(Size::new(512, 512).unwrap(), 256);
    let members = cheats.into_iter().chain(others).collect();
    let mut scenario = Scenario::calm(seed, grid, (1..=FRAMES).collect(), members);
    if seed % 2 == 1 {
        scenario.failures = vec![Failure::Messages];
    }
    Simulation::new(scenario)?.run()
}

fn done(seed: u64, cheats: Vec<Member>, others: Vec<Member>) -> Report {
    let report = run(seed, cheats, others).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.outcome, Some(Outcome::Done), "seed {seed}");
    report
}

fn is_caught(row: &&WorkerRow) -> bool {
    row.state == WorkerState::Quarantined
}

fn caught(report: &Report) -> usize {
    report.progress.workers.iter().filter(is_caught).count()
}

/// What the hostile earned, less the same pay for the work that they did, in cells; prices are rounded to less than one.
fn gain(report: &Report, hostile: impl Fn(usize) -> bool) -> f64 {
    let numbered = report.efforts.iter().enumerate();
    let hostile = numbered.filter(|(number, _)| hostile(*number));
    let each = hostile.map(|(_, (worker, effort))| {
        let rows = &report.progress.workers;
        let row = rows.iter().find(|row| row.worker == *worker);
        let earned = row.map_or(Glm::ZERO, |row| row.earned).wei() as f64 / CELL_WEI;
        earned - effort.rendered_millicells as f64 / 1_000.0
    });
    each.sum::<f64>().floor()
}

/// It is caught in every job and has less than honest work would have brought.
fn is_caught_and_gains_nothing(strategy: Strategy) {
    for seed in 0..SEEDS {
        let report = done(seed, lone(strategy), honest(3));
        assert_eq!(caught(&report), 1, "seed {seed} {strategy:?}");
        let gain = gain(&report, |number| number == 0);
        assert!(gain <= 0.0, "seed {seed} {strategy:?} gains {gain} cells");
    }
}

/// Nobody is caught, the job is done, and no more is paid than was rendered.
fn is_harmless(strategy: Strategy, keys: usize) {
    for seed in 0..SEEDS {
        let report = done(seed, vec![lone(strategy)[0].clone(); keys], honest(3));
        assert_eq!(caught(&report), 0, "seed {seed} {strategy:?}");
        let gain = gain(&report, |number| number < keys);
        assert!(gain <= 0.0, "seed {seed} {strategy:?} gains {gain} cells");
    }
}

#[test]
fn a_tenth_of_the_cells() {
    is_caught_and_gains_nothing(Strategy::Sparse(10));
}

#[test]
fn a_twentieth_of_the_cells() {
    is_caught_and_gains_nothing(Strategy::Sparse(5));
}

#[test]
fn a_fiftieth_of_the_cells() {
    is_caught_and_gains_nothing(Strategy::Sparse(2));
}

/// A pixel of every cell is rendered again: one wrong cell is seen for certain.
#[test]
fn one_cell_is_caught_and_gains_nothing() {
    is_caught_and_gains_nothing(Strategy::OneCell);
}

/// Even of the user's own worker, whom nobody suspects otherwise.
#[test]
fn one_cell_of_an_own_worker_is_caught_by_the_paranoid() {
    for seed in 0..SEEDS {
        let grid = TileGrid::new(Size::new(512, 512).unwrap(), 256);
        let own = Member::plain(Strategy::OneCell, Trust::Own);
        let members = std::iter::once(own).chain(honest(3)).collect();
        let mut scenario = Scenario::calm(seed, grid, (1..=FRAMES).collect(), members);
        scenario.paranoid = true;
        let run = Simulation::new(scenario).and_then(|mut simulation| simulation.run());
        let report = run.unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(report.outcome, Some(Outcome::Done), "seed {seed}");
        assert_eq!(caught(&report), 1, "seed {seed}");
        assert_eq!(report.progress.checks.unprobed_tiles, 0, "seed {seed}");
    }
}

#[test]
fn fewer_samples() {
    is_caught_and_gains_nothing(Strategy::FewerSamples);
}

#[test]
fn wrong_seed() {
    is_caught_and_gains_nothing(Strategy::WrongSeed);
}

#[test]
fn half_the_resolution_enlarged() {
    is_caught_and_gains_nothing(Strategy::Upscaled);
}

#[test]
fn a_stale_scene() {
    is_caught_and_gains_nothing(Strategy::StaleScene);
}

#[test]
fn a_guessed_root() {
    is_caught_and_gains_nothing(Strategy::GuessedRoot);
}

#[test]
fn only_the_cheap_cells() {
    is_caught_and_gains_nothing(Strategy::CostlyCells);
}

#[test]
fn one_tile_in_ten() {
    let report = long_job(Strategy::Selective);
    assert_eq!(caught(&report), 1);
    assert!(gain(&report, |number| number == 0) <= 0.0);
}

#[test]
fn honest_for_long() {
    let report = long_job(Strategy::LateSleeper);
    assert_eq!(caught(&report), 1);
    assert!(gain(&report, |number| number == 0) <= 0.0);
}

#[test]
fn a_tenth_of_one_tile_in_a_hundred() {
    let report = long_job(Strategy::Rare);
    assert!(gain(&report, |number| number == 0) <= 0.0);
}

/// A job long enough for those who wait.
fn long_job(strategy: Strategy) -> Report {
    let grid = TileGrid::new(Size::new(512, 512).unwrap(), 256);
    let members = lone(strategy).into_iter().chain(honest(2)).collect();
    let scenario = Scenario::calm(1, grid, (1..=60).collect(), members);
    let run = Simulation::new(scenario).and_then(|mut simulation| simulation.run());
    run.unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn lies_of_a_prober() {
    is_caught_and_gains_nothing(Strategy::Framing);
}

#[test]
fn a_lazy_prober_with_garbage() {
    is_caught_and_gains_nothing(Strategy::GarbageProber);
}

#[test]
fn a_lazy_prober_that_repeats_itself() {
    is_caught_and_gains_nothing(Strategy::RepeatingProber);
}

#[test]
fn a_class_that_it_is_not_of() {
    is_caught_and_gains_nothing(Strategy::ClassFraud);
}

/// It comes under six keys; each is caught.
#[test]
fn new_keys_for_a_caught_one() {
    for seed in 0..SEEDS {
        let report = done(seed, lone(Strategy::Whitewashing), honest(3));
        assert!(report.efforts.len() > 4, "seed {seed}: it never came back");
        assert!(caught(&report) >= 2, "seed {seed}");
        let gain = gain(&report, |number| number == 0 || number >= 4);
        assert!(gain <= 0.0, "seed {seed}: {gain}");
    }
}

/// Sixty keys take tiles and are gone. Frames whose tiles are lost so often are given up, which a second start mends.
#[test]
fn a_flood_of_keys() {
    for seed in 0..SEEDS {
        let grid = TileGrid::new(Size::new(512, 512).unwrap(), 256);
        let flood = vec![lone(Strategy::KeyFlood)[0].clone(); 2];
        let members = flood.into_iter().chain(honest(3)).collect();
        let mut scenario = Scenario::calm(seed, grid, (1..=FRAMES).collect(), members);
        scenario.resumes_max = 30;
        let run = Simulation::new(scenario).and_then(|mut simulation| simulation.run());
        let report = run.unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(report.outcome, Some(Outcome::Done), "seed {seed}");
        assert_eq!(caught(&report), 0, "seed {seed}");
        assert!(report.efforts.len() > 40, "seed {seed}: no flood");
        let gain = gain(&report, |number| !(2..5).contains(&number));
        assert!(gain <= 0.0, "seed {seed}: {gain}");
    }
}

#[test]
fn the_same_commitment_again() {
    is_harmless(Strategy::ReplayedCommitment, 1);
}

/// A class that is wrong alike agrees with itself. Where it is the minority it gets no work.
#[test]
fn a_wrong_class_that_is_the_minority() {
    is_harmless(Strategy::WrongClass, 1);
}

/// Memory that fails now and then: its tile may pass, but nobody else is blamed for it.
#[test]
fn flaky_memory_blames_nobody_else() {
    for seed in 0..SEEDS {
        match run(seed, lone(Strategy::FlakyMemory), honest(3)) {
            Ok(report) => assert!(caught(&report) <= 1, "seed {seed}"),
            Err(violation) => assert!(violation.what.contains(WRONG_PAID), "{violation}"),
        }
    }
}

/// Two accomplices among six honest workers, a quarter of all: they are caught, nobody honest is, and they gain nothing.
fn accomplices_gain_nothing(strategies: &[Strategy]) {
    for seed in 0..8 {
        let report = done(seed, Member::accomplices(strategies), honest(6));
        assert!(caught(&report) >= 1, "seed {seed} {strategies:?}");
        let gain = gain(&report, |number| number < strategies.len());
        assert!(gain <= 0.0, "seed {seed} {strategies:?} gain {gain} cells");
    }
}

#[test]
fn a_ring() {
    accomplices_gain_nothing(&[Strategy::Ring; 2]);
}

#[test]
fn a_pair_of_keys() {
    accomplices_gain_nothing(&[Strategy::SybilPair; 2]);
}

#[test]
fn neighbours_whose_overlaps_agree() {
    accomplices_gain_nothing(&[Strategy::Neighbours; 2]);
}

#[test]
fn a_copied_replica() {
    accomplices_gain_nothing(&[Strategy::Ring, Strategy::CopiedReplica]);
}

#[test]
fn a_voucher() {
    accomplices_gain_nothing(&[Strategy::Ring, Strategy::Voucher]);
}

#[test]
fn two_who_frame_others() {
    accomplices_gain_nothing(&[Strategy::Framing; 2]);
}

fn across(strategy: Strategy, count: usize) -> Vec<Member> {
    let member = Member::plain(strategy, Trust::Unknown).of_class(OTHER_CLASS);
    vec![member; count]
}

/// A job in which classes are mixed; these first, then honest workers of the own engine's class.
fn mixed(seed: u64, first: Vec<Member>, honest_ones: usize, own_engine: bool) -> Report {
    let grid = TileGrid::new(Size::new(512, 512).unwrap(), 256);
    let members = first.into_iter().chain(honest(honest_ones)).collect();
    let mut scenario = Scenario::calm(seed, grid, (1..=FRAMES).collect(), members);
    scenario.mixed_classes = true;
    scenario.own_engine = own_engine;
    let run = Simulation::new(scenario).and_then(|mut simulation| simulation.run());
    let report = run.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.outcome, Some(Outcome::Done), "seed {seed}");
    report
}

fn earned(report: &Report, number: usize) -> Glm {
    let (worker, _) = report.efforts[number];
    let mut rows = report.progress.workers.iter();
    let row = rows.find(|row| row.worker == worker);
    row.map_or(Glm::ZERO, |row| row.earned)
}

/// It earns where classes are mixed and the requestor's own engine can judge it, and nowhere else.
#[test]
fn honest_workers_of_another_class_earn() {
    for seed in 0..SEEDS {
        for count in [1, 3] {
            let report = mixed(seed, across(Strategy::Honest, count), 3, true);
            assert_eq!(caught(&report), 0, "seed {seed}");
            let checks = report.progress.checks;
            assert!(checks.judged > 0 && checks.undecided == 0, "{checks:?}");
            for number in 0..count {
                assert!(earned(&report, number) > Glm::ZERO, "seed {seed}, {number}");
            }
        }
        let blind = mixed(seed, across(Strategy::Honest, 1), 3, false);
        let unmixed = done(seed, across(Strategy::Honest, 1), honest(3));
        for report in [blind, unmixed] {
            assert_eq!(earned(&report, 0), Glm::ZERO, "seed {seed}");
            assert_eq!(report.progress.checks.judged, 0, "seed {seed}");
        }
    }
}

/// Where nobody else could probe them, the own engine looks at every tile.
#[test]
fn a_lone_worker_of_another_class_is_judged_at_every_tile() {
    let report = mixed(1, across(Strategy::Honest, 1), 3, true);
    let (worker, _) = report.efforts[0];
    let rows = &report.progress.workers;
    let row = rows.iter().find(|row| row.worker == worker).unwrap();
    assert!(row.tiles_accepted > 1);
    assert!(report.progress.checks.judged >= row.tiles_accepted);
}

#[test]
fn fewer_samples_in_another_class() {
    for strategy in [
        Strategy::FewerSamples,
        Strategy::WrongSeed,
        Strategy::Upscaled,
    ] {
        for seed in 0..SEEDS {
            let report = mixed(seed, across(strategy, 1), 3, true);
            assert_eq!(caught(&report), 1, "seed {seed} {strategy:?}");
            let gain = gain(&report, |number| number == 0);
            assert!(gain <= 0.0, "seed {seed} {strategy:?} gains {gain} cells");
        }
    }
}

/// Its trials fail, one after the other, and then nobody of it is tried any more.
#[test]
fn a_class_that_is_wrong_alike_gets_nothing_accepted() {
    for seed in 0..SEEDS {
        let report = mixed(
            seed,
            vec![lone(Strategy::WrongClass)[0].clone(); 5],
            2,
            true,
        );
        assert_eq!(caught(&report), TRIALS_MAX as usize, "seed {seed}");
        for number in 0..5 {
            assert_eq!(earned(&report, number), Glm::ZERO, "seed {seed}");
        }
    }
}

/// Who says it is of the other class and is of the own engine's renders honestly, but nobody of that class can confirm it:
/// it is not paid, nobody is blamed, and the others of the class go on.
#[test]
fn a_class_that_it_is_not_of_where_classes_are_mixed() {
    for seed in 0..SEEDS {
        let fraud = lone(Strategy::ClassFraud);
        let caught_by_own = mixed(seed, fraud, 3, true);
        assert_eq!(caught(&caught_by_own), 1, "seed {seed}");

        let mut first = across(Strategy::ClassFraud, 1);
        first.extend(across(Strategy::Honest, 3));
        let report = mixed(seed, first, 3, true);
        assert_eq!(caught(&report), 0, "seed {seed}");
        let gain = gain(&report, |number| number == 0);
        assert!(gain <= 0.0, "seed {seed}: {gain} cells");
        for number in 1..4 {
            assert!(earned(&report, number) > Glm::ZERO, "seed {seed}, {number}");
        }
    }
}

/// In another class nobody can say which of two is right: those who lie there are not paid, nobody honest is blamed.
#[test]
fn liars_of_another_class() {
    for strategy in [
        Strategy::Sparse(10),
        Strategy::OneCell,
        Strategy::Framing,
        Strategy::GarbageProber,
        Strategy::Sleeper,
    ] {
        for seed in 0..SEEDS {
            let mut first = across(strategy, 1);
            first.extend(across(Strategy::Honest, 3));
            let report = mixed(seed, first, 3, true);
            let gain = gain(&report, |number| number == 0);
            assert!(gain <= 0.0, "seed {seed} {strategy:?} gains {gain} cells");
        }
    }
}
