//! The coordinator against simulated workers, honest and not, over many seeds: what must hold whatever happens.
//!
//! A pixel is a hash of (class, frame, cell), so the truth is known exactly. Everything that happens is decided by the
//! seed; a seed that fails is named in the message and fails again.

mod fakes;
mod restart;

use fakes::{Random, Strategy, World, job};
use farm::{
    Farm, FarmConfig, WorkerRow, WorkerState,
    event::{Effect, Event, Millis, Outcome, Trust},
};
use protocol::{Glm, TileGrid};
use std::collections::BTreeMap;

/// Simulated time after which a job counts as stuck.
const JOB_MS_MAX: Millis = 40 * 3_600_000;

struct Setting {
    strategies: Vec<Strategy>,
    own_workers: usize,
    own_engine: bool,
    budget: Option<Glm>,
    grid: TileGrid,
    frames: i32,
    duplicates: bool,
}

/// Runs a job to its end and checks on the way all that the world can see. Returns the end and the world.
fn run(seed: u64, setting: &Setting) -> (Outcome, World, Farm) {
    let mut random = Random::new(seed);
    let config = FarmConfig {
        job: job(setting.grid.size),
        frames: (1..=setting.frames).collect(),
        grid: setting.grid,
        secret: random.bytes(),
        budget: setting.budget,
        deadline: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Cells,
        providers_wait_ms: 60_000,
    };
    let mut farm = Farm::new(config).unwrap();
    let mut world = World::new(seed, setting.grid, setting.own_engine, setting.duplicates);
    for (index, strategy) in setting.strategies.iter().enumerate() {
        let trust = match index < setting.own_workers {
            true => Trust::Own,
            false => Trust::Unknown,
        };
        world.join(*strategy, trust);
    }
    while world.now < JOB_MS_MAX {
        let (now, event) = world.next_event();
        let effects = farm.handle(now, event);
        if let Some(outcome) = world.carry_out(effects) {
            let progress = farm.progress();
            assert_eq!(progress.spent, world.paid, "seed {seed}");
            return (outcome, world, farm);
        }
        if let Some(budget) = setting.budget {
            assert!(world.paid <= budget, "seed {seed}: over the budget");
        }
    }
    panic!("seed {seed}: no end; {:#?}", farm.progress());
}

fn check_done(seed: u64, setting: &Setting, world: &World, farm: &Farm) {
    let progress = farm.progress();
    assert_eq!(progress.frames_done, setting.frames as u64, "seed {seed}");
    assert_eq!(progress.tiles_accepted, progress.tiles_total, "seed {seed}");
    assert_eq!(world.written.len(), setting.frames as usize, "seed {seed}");
    world.check_frames();
    assert!(
        world.blobs.is_empty(),
        "seed {seed}: {} blobs were never forgotten",
        world.blobs.len()
    );
}

/// Tiles are whole but for a cut of less than a cell, so that none is too small for probes to be sure.
fn grid(random: &mut Random) -> TileGrid {
    let tile_px = 64 + random.below(96) / 8 * 8;
    let mut side = |tiles| tile_px * (1 + random.below(tiles)) - random.below(8);
    let size = protocol::Size::new(side(4), side(3)).unwrap();
    match random.below(4) {
        0 => TileGrid::new(size, 0),
        _ => TileGrid::new(size, tile_px as u32),
    }
}

#[test]
fn jobs_end_well_while_honest_workers_live() {
    for seed in 0..120 {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut strategies = vec![Strategy::Honest; 1 + random.below(3) as usize];
        let mut cheats = Strategy::TROUBLE.to_vec();
        for _ in 0..random.below(5) {
            let choice = random.below(cheats.len() as u64) as usize;
            strategies.push(cheats.swap_remove(choice));
        }
        let setting = Setting {
            own_workers: 0,
            own_engine: true,
            budget: None,
            grid: grid(&mut random),
            frames: 1 + random.below(6) as i32,
            duplicates: random.below(2) == 0,
            strategies,
        };
        let (outcome, world, farm) = run(seed, &setting);
        assert_eq!(
            outcome,
            Outcome::Done,
            "seed {seed} {:?}",
            setting.strategies
        );
        check_done(seed, &setting, &world, &farm);
    }
}

#[test]
fn three_honest_workers_need_no_engine_of_our_own() {
    for seed in 0..70 {
        let mut random = Random::new(seed ^ 0xface);
        let mut strategies = vec![Strategy::Honest; 3];
        let cheats = Strategy::TROUBLE;
        strategies.push(cheats[random.below(cheats.len() as u64) as usize]);
        let setting = Setting {
            own_workers: random.below(2) as usize,
            own_engine: false,
            budget: None,
            grid: grid(&mut random),
            frames: 1 + random.below(5) as i32,
            duplicates: true,
            strategies,
        };
        let (outcome, world, farm) = run(seed, &setting);
        assert_eq!(
            outcome,
            Outcome::Done,
            "seed {seed} {:?}",
            setting.strategies
        );
        check_done(seed, &setting, &world, &farm);
    }
}

/// Every cheat that renders the wrong pixels is caught, in every kind of company, and no honest worker ever is
/// (the latter is asserted in the world whenever somebody is quarantined).
#[test]
fn each_cheat_is_quarantined() {
    for strategy in Strategy::WRONG_PIXELS {
        for seed in 0..6 {
            let mut random = Random::new(seed ^ 0xbad);
            let setting = Setting {
                strategies: vec![*strategy, Strategy::Honest, Strategy::Honest],
                own_workers: 0,
                own_engine: seed % 2 == 0,
                budget: None,
                grid: grid(&mut random),
                frames: 20,
                duplicates: false,
            };
            let (outcome, world, farm) = run(seed, &setting);
            assert_eq!(outcome, Outcome::Done, "seed {seed} {strategy:?}");
            check_done(seed, &setting, &world, &farm);
            let is_caught = |row: &&WorkerRow| row.state == WorkerState::Quarantined;
            let caught = farm.progress().workers.iter().filter(is_caught).count();
            assert_eq!(caught, 1, "seed {seed} {strategy:?}");
        }
    }
}

#[test]
fn a_budget_is_never_exceeded_and_its_end_is_told() {
    let mut ends = BTreeMap::new();
    for seed in 0..70 {
        let mut random = Random::new(seed ^ 0xb0d6e7);
        let cheats = Strategy::TROUBLE;
        let setting = Setting {
            strategies: vec![
                Strategy::Honest,
                Strategy::Honest,
                cheats[random.below(cheats.len() as u64) as usize],
            ],
            own_workers: 0,
            own_engine: true,
            budget: Some(Glm::from_wei(u128::from(random.below(3_000_000)))),
            grid: grid(&mut random),
            frames: 4,
            duplicates: true,
        };
        let (outcome, world, farm) = run(seed, &setting);
        match outcome {
            Outcome::Done => check_done(seed, &setting, &world, &farm),
            Outcome::BudgetSpent { missing } => assert!(missing > Glm::ZERO, "seed {seed}"),
            other => panic!("seed {seed}: {other:?}"),
        }
        *ends.entry(outcome == Outcome::Done).or_insert(0) += 1;
    }
    assert!(ends.len() == 2, "both ends should be seen: {ends:?}");
}

#[test]
fn without_honest_workers_every_job_still_ends_and_no_wrong_tile_is_paid() {
    for seed in 0..70 {
        let mut random = Random::new(seed ^ 0xdead);
        let mut cheats = Strategy::TROUBLE.to_vec();
        let mut strategies = Vec::new();
        for _ in 0..1 + random.below(4) {
            let choice = random.below(cheats.len() as u64) as usize;
            strategies.push(cheats.swap_remove(choice));
        }
        let setting = Setting {
            own_workers: 0,
            own_engine: random.below(2) == 0,
            budget: None,
            grid: grid(&mut random),
            frames: 3,
            duplicates: true,
            strategies,
        };
        let (_, world, _) = run(seed, &setting);
        world.check_frames();
    }
}

#[test]
fn workers_of_two_classes_share_a_job_without_blame() {
    for seed in 0..50 {
        let mut random = Random::new(seed ^ 0xc1a55);
        let setting = Setting {
            strategies: vec![
                Strategy::Honest,
                Strategy::OtherClass,
                Strategy::OtherClass,
                Strategy::Crashing,
            ],
            own_workers: random.below(2) as usize,
            own_engine: true,
            budget: None,
            grid: grid(&mut random),
            frames: 4,
            duplicates: true,
        };
        let (outcome, world, farm) = run(seed, &setting);
        assert_eq!(outcome, Outcome::Done, "seed {seed}");
        check_done(seed, &setting, &world, &farm);
    }
}

#[test]
fn the_same_seed_gives_the_same_job() {
    let setting = Setting {
        strategies: vec![Strategy::Honest, Strategy::Black, Strategy::Crashing],
        own_workers: 0,
        own_engine: true,
        budget: None,
        grid: TileGrid::new(protocol::Size::new(300, 200).unwrap(), 64),
        frames: 3,
        duplicates: true,
    };
    let (first, second) = (run(7, &setting), run(7, &setting));
    assert_eq!(first.0, second.0);
    assert_eq!(first.2.progress(), second.2.progress());
}

#[test]
fn stop_cancels_leases_and_ends_at_once() {
    let mut world = World::new(
        1,
        TileGrid::new(protocol::Size::new(300, 200).unwrap(), 64),
        true,
        false,
    );
    world.join(Strategy::Honest, Trust::Own);
    let mut farm = Farm::new(FarmConfig {
        job: job(protocol::Size::new(300, 200).unwrap()),
        frames: vec![1, 2],
        grid: world.grid,
        secret: [1; 32],
        budget: None,
        deadline: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Cells,
        providers_wait_ms: 60_000,
    })
    .unwrap();
    for _ in 0..50 {
        let (now, event) = world.next_event();
        assert_eq!(world.carry_out(farm.handle(now, event)), None);
    }
    let effects = farm.handle(world.now, Event::Stop);
    let last = Effect::Finished {
        outcome: Outcome::Stopped,
    };
    assert_eq!(effects.last(), Some(&last));
    assert!(matches!(&effects[0], Effect::Cancel { tasks, .. } if !tasks.is_empty()));
    assert_eq!(farm.handle(world.now, Event::Tick), []);
}
