//! Jobs of the real coordinator among simulated workers, honest and not: what must hold whatever happens, over many
//! seeds. The simulator itself asserts its invariants at every step; a seed that breaks one is named and fails again.
//!
//! `RENDER_TEST_SEEDS` and `RENDER_TEST_CRASHES` ask for more seeds of the chaotic jobs and more crashes of the requestor.

use farm::{
    Farm, WorkerRow, WorkerState,
    event::{Effect, Event, Outcome, Trust},
    journal::read_entry,
};
use protocol::{Glm, Size, TileGrid};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};
use tests::simulator::{
    Report, Simulation,
    engine::OTHER_CLASS,
    random::Random,
    scenario::{Crashes, Failure, Loss, Scenario, Wanted, draw_grid},
    worker::{Member, Strategy},
};

/// Seeds of the chaotic jobs, if nothing else is asked for.
const CHAOTIC_SEEDS: u64 = 10_000;
/// Jobs with crashes at random moments, and crashes of each.
const CRASHING_JOBS: u64 = 40;
const CRASHES_OF_A_JOB: u64 = 25;

/// A number from the environment.
fn asked(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number of seeds"),
        Err(_) => otherwise,
    }
}

/// Does something for each seed, on all cores.
fn each_seed(seeds: u64, job: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    job(seed);
                }
            });
        }
    });
}

fn members(strategies: &[Strategy], own: usize) -> Vec<Member> {
    let trust = |index| match index < own {
        true => Trust::Own,
        false => Trust::Unknown,
    };
    let strategies = strategies.iter().enumerate();
    strategies
        .map(|(index, strategy)| Member::plain(*strategy, trust(index)))
        .collect()
}

/// A job without failures but unruly messages, among these workers.
fn company(seed: u64, random: &mut Random, frames: u64, strategies: &[Strategy]) -> Scenario {
    let frames = (1..=frames as i32).collect();
    let grid = draw_grid(random);
    let mut scenario = Scenario::calm(seed, grid, frames, members(strategies, 0));
    if random.percent(50) {
        scenario.failures = vec![Failure::Messages];
    }
    scenario
}

fn run(scenario: Scenario) -> Report {
    let strategies: Vec<Strategy> = scenario.members.iter().map(|m| m.strategy).collect();
    let run = Simulation::new(scenario).and_then(|mut simulation| simulation.run());
    run.unwrap_or_else(|violation| panic!("{violation} {strategies:?}"))
}

fn done(scenario: Scenario) -> Report {
    let (seed, frames) = (scenario.seed, scenario.frames.len() as u64);
    let report = run(scenario);
    assert_eq!(report.outcome, Some(Outcome::Done), "seed {seed}");
    assert_eq!(report.progress.frames_done, frames, "seed {seed}");
    report
}

/// So many different kinds of trouble.
fn troubles(random: &mut Random, count: u64) -> Vec<Strategy> {
    let mut left = Strategy::TROUBLE.to_vec();
    let draw = |_| left.swap_remove(random.below(left.len() as u64) as usize);
    (0..count).map(draw).collect()
}

#[test]
fn jobs_end_well_while_honest_workers_live() {
    each_seed(120, |seed| {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut strategies = vec![Strategy::Honest; 1 + random.below(3) as usize];
        let count = random.below(5);
        strategies.extend(troubles(&mut random, count));
        let frames = 1 + random.below(6);
        done(company(seed, &mut random, frames, &strategies));
    });
}

#[test]
fn three_honest_workers_need_no_engine_of_our_own() {
    each_seed(70, |seed| {
        let mut random = Random::new(seed ^ 0xface);
        let mut strategies = vec![Strategy::Honest; 3];
        strategies.push(random.pick(Strategy::TROUBLE));
        let (own, frames) = (random.below(2) as usize, 1 + random.below(5));
        let mut scenario = company(seed, &mut random, frames, &strategies);
        scenario.members = members(&strategies, own);
        scenario.own_engine = false;
        done(scenario);
    });
}

/// Every cheat that renders the wrong pixels is caught, in every kind of company, and no honest worker ever is
/// (the simulator asserts the latter whenever somebody is quarantined).
#[test]
fn each_cheat_is_quarantined() {
    for strategy in Strategy::WRONG_PIXELS {
        each_seed(6, |seed| {
            let mut random = Random::new(seed ^ 0xbad);
            let strategies = [*strategy, Strategy::Honest, Strategy::Honest];
            let mut scenario = company(seed, &mut random, 20, &strategies);
            scenario.own_engine = seed % 2 == 0;
            let report = done(scenario);
            let is_caught = |row: &&WorkerRow| row.state == WorkerState::Quarantined;
            let caught = report.progress.workers.iter().filter(is_caught).count();
            assert_eq!(caught, 1, "seed {seed} {strategy:?}");
        });
    }
}

#[test]
fn a_budget_is_never_exceeded_and_its_end_is_told() {
    let mut ends = BTreeMap::new();
    for seed in 0..70 {
        let mut random = Random::new(seed ^ 0xb0d6e7);
        let cheat = random.pick(Strategy::TROUBLE);
        let strategies = [Strategy::Honest, Strategy::Honest, cheat];
        let mut scenario = company(seed, &mut random, 4, &strategies);
        scenario.budget = Some(Glm::from_wei(u128::from(random.below(6_000_000))));
        let outcome = run(scenario).outcome;
        match &outcome {
            Some(Outcome::Done) => {}
            Some(Outcome::BudgetSpent { missing }) => assert!(*missing > Glm::ZERO, "seed {seed}"),
            other => panic!("seed {seed}: {other:?}"),
        }
        *ends.entry(outcome == Some(Outcome::Done)).or_insert(0) += 1;
    }
    assert!(ends.len() == 2, "both ends should be seen: {ends:?}");
}

#[test]
fn without_honest_workers_every_job_still_ends_and_no_wrong_tile_is_paid() {
    each_seed(70, |seed| {
        let mut random = Random::new(seed ^ 0xdead);
        let count = 1 + random.below(4);
        let strategies = troubles(&mut random, count);
        let mut scenario = company(seed, &mut random, 3, &strategies);
        scenario.own_engine = random.below(2) == 0;
        assert!(run(scenario).outcome.is_some());
    });
}

#[test]
fn workers_of_two_classes_share_a_job_without_blame() {
    each_seed(50, |seed| {
        let mut random = Random::new(seed ^ 0xc1a55);
        let strategies = [
            Strategy::Honest,
            Strategy::OtherClass,
            Strategy::OtherClass,
            Strategy::Crashing,
        ];
        let own = random.below(2) as usize;
        let mut scenario = company(seed, &mut random, 4, &strategies);
        scenario.members = members(&strategies, own);
        done(scenario);
    });
}

#[test]
fn stop_cancels_leases_and_ends_at_once() {
    let grid = TileGrid::new(Size::new(300, 200).unwrap(), 64);
    let members = members(&[Strategy::Honest], 1);
    let mut simulation = Simulation::new(Scenario::calm(1, grid, vec![1, 2], members)).unwrap();
    while simulation.report().events < 50 {
        assert_eq!(simulation.step(), Ok(true));
    }
    let (now, mut farm) = simulation.into_farm();
    let effects = farm.handle(now, Event::Stop);
    let last = Effect::Finished {
        outcome: Outcome::Stopped,
    };
    assert_eq!(effects.last(), Some(&last));
    assert!(matches!(&effects[0], Effect::Cancel { tasks, .. } if !tasks.is_empty()));
    assert_eq!(farm.handle(now, Event::Tick), []);
}

/// Everything that can go wrong, in small jobs.
fn chaotic() -> Wanted {
    Wanted {
        workers: 8,
        tiles: 30,
        chaos: 2,
        cheats_percent: 25,
        failures: Failure::ALL.to_vec(),
        crashes: 2,
        budget: None,
        deadline: None,
        slow: 0,
    }
}

/// Runs a job drawn from a seed; the simulator asserts what must hold.
fn drawn(seed: u64, wanted: &Wanted) -> Report {
    let scenario = Scenario::draw(seed, wanted);
    match scenario.must_be_done() {
        true => done(scenario),
        false => run(scenario),
    }
}

#[test]
fn the_same_seed_gives_the_same_job() {
    let wanted = chaotic();
    for seed in 0..10 {
        let (first, second) = (drawn(seed, &wanted), drawn(seed, &wanted));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.outcome, second.outcome, "seed {seed}");
        assert_eq!(first.progress, second.progress, "seed {seed}");
        // A run that is stopped gets to the same event.
        let until = first.events / 2;
        let part = |until| {
            let simulation = Simulation::traced(Scenario::draw(seed, &wanted), None, until);
            simulation.and_then(|mut part| part.run()).unwrap()
        };
        assert_eq!(part(until).events, until, "seed {seed}");
        assert_eq!(part(until).hash, part(until).hash, "seed {seed}");
        assert_ne!(part(until).hash, first.hash, "seed {seed}");
    }
}

#[test]
fn invariants_hold_whatever_goes_wrong() {
    let wanted = chaotic();
    each_seed(asked("RENDER_TEST_SEEDS", CHAOTIC_SEEDS), |seed| {
        drawn(seed, &wanted);
    });
}

/// Seeds at which the coordinator was wrong once: tiles of frames given up were counted twice, a resumed job gave up
/// before anybody was back, probes went to the same lazy worker for ever, and to nobody after all had failed once; who
/// was caught while its answer was compared was paid for it; a tile of a class that nobody judged any more stayed undecided.
#[test]
fn what_was_found_once_stays_mended() {
    let chaotic = chaotic();
    let found = [
        (5, 12, 60, 1, 30, 0),
        (33, 8, 30, 2, 25, 2),
        (83, 8, 30, 2, 25, 2),
        (439, 8, 30, 2, 25, 2),
        (2907, 5, 10, 0, 60, 0),
        (20563, 4, 20, 3, 50, 0),
        (7158, 8, 30, 2, 25, 2),
        (9297, 8, 30, 2, 25, 2),
        (7035, 8, 30, 2, 25, 2),
        (6461, 8, 30, 2, 25, 2),
    ];
    for (seed, workers, tiles, chaos, cheats_percent, crashes) in found {
        let wanted = Wanted {
            workers,
            tiles,
            chaos,
            cheats_percent,
            crashes,
            ..chaotic.clone()
        };
        drawn(seed, &wanted);
    }
}

/// The chaotic jobs are of use for this only if they judge tiles, decide nothing about some and reject some.
#[test]
fn some_chaotic_jobs_mix_classes() {
    let wanted = chaotic();
    let seeds = 0..60;
    let mixed = seeds.filter(|seed| Scenario::draw(*seed, &wanted).mixed_classes);
    let reports: Vec<Report> = mixed.map(|seed| drawn(seed, &wanted)).collect();
    let checks = || reports.iter().map(|report| report.progress.checks);
    assert!(checks().any(|checks| checks.judged > 10));
    assert!(checks().any(|checks| checks.undecided > 0));
    let accepted = checks().map(|checks| checks.judged - checks.undecided);
    assert!(accepted.max() > Some(10));
}

#[test]
fn each_failure_alone_is_survived() {
    for failure in Failure::ALL {
        let wanted = Wanted {
            chaos: 3,
            failures: vec![*failure],
            crashes: 0,
            ..chaotic()
        };
        each_seed(20, |seed| {
            drawn(seed, &wanted);
        });
    }
}

#[test]
fn a_deadline_is_no_reason_to_break_anything() {
    let wanted = Wanted {
        deadline: Some(10_000),
        ..chaotic()
    };
    each_seed(20, |seed| {
        drawn(seed, &wanted);
    });
}

/// A small job with a cheat, whose journal is written at each event; in some of them classes are mixed.
fn journalled(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let size = Size::new(64 + random.below(160), 64 + random.below(100)).unwrap();
    let cheat = Strategy::TROUBLE[seed as usize % Strategy::TROUBLE.len()];
    let strategies = [Strategy::Honest, Strategy::Honest, cheat];
    let mut members = members(&strategies, 0);
    members
        .iter_mut()
        .for_each(|member| member.hold_ms = random.pick(&[0, 60_000, 300_000]));
    let grid = TileGrid::new(size, 64);
    let mixed_classes = seed % 4 == 2;
    if mixed_classes {
        members[1].class = OTHER_CLASS;
    }
    let mut scenario = Scenario::calm(seed, grid, vec![4, 1, 7], members);
    scenario.mixed_classes = mixed_classes;
    if seed.is_multiple_of(2) {
        scenario.failures = vec![Failure::Messages];
    }
    scenario
}

#[test]
fn the_journal_gives_the_state_that_was() {
    each_seed(20, |seed| {
        let mut scenario = journalled(seed);
        scenario.checks_journal = true;
        done(scenario);
    });
}

#[test]
fn a_crash_at_any_event_loses_leases_only() {
    each_seed(10, |seed| {
        let writes = done(journalled(seed)).writes;
        for write in 0..writes - 1 {
            let mut scenario = journalled(seed);
            let loss = Loss::ALL[write as usize % Loss::ALL.len()];
            scenario.crashes = Crashes::AtWrite(write, loss);
            let report = done(scenario);
            let said = format!("seed {seed}, {loss:?} at {write}");
            assert_eq!(report.crashes, 1, "{said}");
            let progress = &report.progress;
            assert_eq!(progress.tiles_accepted, progress.tiles_total, "{said}");
        }
    });
}

#[test]
fn crashes_at_random_moments_lose_leases_only() {
    let wanted = Wanted {
        workers: 20,
        tiles: 150,
        chaos: 0,
        crashes: CRASHES_OF_A_JOB as u32,
        ..chaotic()
    };
    let crashes = AtomicU64::new(0);
    let asked = asked("RENDER_TEST_CRASHES", CRASHING_JOBS * CRASHES_OF_A_JOB);
    each_seed(asked.div_ceil(CRASHES_OF_A_JOB), |seed| {
        let report = drawn(seed, &wanted);
        crashes.fetch_add(u64::from(report.crashes), Ordering::Relaxed);
    });
    assert!(
        crashes.into_inner() * 10 > asked * 9,
        "too few crashes came"
    );
}

#[test]
fn finished_frames_can_be_rendered_again() {
    let mut scenario = journalled(3);
    scenario.checks_journal = true;
    let mut simulation = Simulation::new(scenario).unwrap();
    let first = simulation.run().unwrap();
    // Nothing is left to do: the job ends at once.
    simulation.begin_again(Vec::new()).unwrap();
    let idle = simulation.run().unwrap();
    assert_eq!(idle.outcome, Some(Outcome::Done));
    assert_eq!(idle.events, first.events + 1);
    simulation.begin_again(vec![7, 99]).unwrap();
    let again = simulation.run().unwrap();
    assert_eq!(again.outcome, Some(Outcome::Done));
    assert_eq!(again.progress.frames_done, 3);
    assert!(again.paid > first.paid);
    let per_frame = first.progress.tiles_total / 3;
    let accepted = |report: &Report| {
        let rows = report.progress.workers.iter();
        rows.map(|row| row.tiles_accepted).sum::<u64>()
    };
    assert_eq!(accepted(&again) - accepted(&first), per_frame);
}

#[test]
fn other_versions_and_damage_are_refused() {
    let (_, farm) = Simulation::new(journalled(1)).unwrap().into_farm();
    let good = farm.checkpoint().unwrap();
    let mut other = good.clone();
    other[0] += 1;
    for bad in [&other[..], &good[..good.len() / 2], &[]] {
        assert!(Farm::restore(bad).is_err());
        assert!(read_entry(bad).is_err());
    }
    let finished = Effect::Finished {
        outcome: Outcome::Stopped,
    };
    let mut restored = Farm::restore(&good).unwrap();
    assert!(restored.checkpoint().is_ok_and(|bytes| bytes == good));
    assert_eq!(restored.handle(1, Event::Stop), [finished]);
}
