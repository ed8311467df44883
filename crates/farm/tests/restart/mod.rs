//! A requestor that stops at any moment goes on from its journal: the same state, the same frames, nothing paid twice.

use crate::fakes::{Random, Strategy, World, job};
use farm::{
    Farm, FarmConfig,
    event::{Effect, Event, Millis, Outcome, Trust},
    journal::{entry, read_entry},
};
use protocol::{Blake3Hash, Size, TileGrid};
use std::{collections::BTreeMap, sync::Arc};

/// Simulated time after which a job counts as stuck.
const JOB_MS_MAX: Millis = 40 * 3_600_000;

/// What would lie on disk: a checkpoint, the events since, and the cells of the blobs.
struct Disk {
    checkpoint: Vec<u8>,
    tail: Vec<Vec<u8>>,
    cells: BTreeMap<Blake3Hash, Arc<[Blake3Hash]>>,
}

impl Disk {
    fn new(farm: &Farm) -> Self {
        Self {
            checkpoint: farm.checkpoint().unwrap(),
            tail: Vec::new(),
            cells: BTreeMap::new(),
        }
    }

    fn write(&mut self, now: Millis, event: &Event) {
        if let Event::Delivered {
            root,
            cells: Ok(cells),
            ..
        } = event
        {
            self.cells.insert(*root, Arc::clone(cells));
        }
        self.tail.push(entry(now, event).unwrap());
    }

    fn compact(&mut self, farm: &Farm) {
        *self = Self {
            cells: std::mem::take(&mut self.cells),
            ..Self::new(farm)
        };
    }

    fn restore(&self) -> Farm {
        let mut farm = Farm::restore(&self.checkpoint).unwrap();
        for bytes in &self.tail {
            let (now, mut event) = read_entry(bytes).unwrap();
            if let Event::Delivered {
                root,
                cells: Ok(cells),
                ..
            } = &mut event
            {
                *cells = Arc::clone(&self.cells[root]);
            }
            farm.handle(now, event);
        }
        farm
    }
}

fn begin(seed: u64, strategies: &[Strategy]) -> (Farm, World) {
    let mut random = Random::new(seed);
    let size = Size::new(64 + random.below(160), 64 + random.below(100)).unwrap();
    let grid = TileGrid::new(size, 64);
    let config = FarmConfig {
        job: job(size),
        frames: vec![4, 1, 7],
        grid,
        secret: random.bytes(),
        budget: None,
        deadline: None,
        price_megasample_max: None,
        probes: verifier::ProbeShape::Cells,
        providers_wait_ms: 60_000,
    };
    let mut world = World::new(seed, grid, true, seed.is_multiple_of(2));
    for strategy in strategies {
        world.join(*strategy, Trust::Unknown);
    }
    (Farm::new(config).unwrap(), world)
}

fn workers(seed: u64) -> Vec<Strategy> {
    let trouble = Strategy::TROUBLE;
    let cheat = trouble[seed as usize % trouble.len()];
    vec![Strategy::Honest, Strategy::Honest, cheat]
}

fn resumed(again: &[i32]) -> Event {
    Event::Resumed {
        budget: None,
        deadline: None,
        again: again.to_vec(),
    }
}

/// Goes on to the end; `crash_at` counts events.
fn run(seed: u64, crash_at: Option<usize>, lose_effects: bool) -> (usize, Farm, World) {
    let (mut farm, mut world) = begin(seed, &workers(seed));
    let mut disk = Disk::new(&farm);
    let mut random = Random::new(seed ^ 0xd15c);
    for count in 0.. {
        let stuck = world.now >= JOB_MS_MAX;
        assert!(
            !stuck,
            "seed {seed}, crash {crash_at:?}: no end; {:#?}",
            farm.progress()
        );
        let (now, event) = world.next_event();
        disk.write(now, &event);
        let mut effects = farm.handle(now, event);
        if random.below(40) == 0 {
            disk.compact(&farm);
        }
        if crash_at == Some(count) {
            if !lose_effects {
                world.carry_out(effects);
            }
            farm = disk.restore();
            let resumed = resumed(&[]);
            disk.write(now, &resumed);
            world.restart(farm.progress().spent);
            effects = farm.handle(now, resumed);
        }
        if let Some(outcome) = world.carry_out(effects) {
            assert_eq!(outcome, Outcome::Done, "seed {seed}, crash {crash_at:?}");
            return (count, farm, world);
        }
    }
    unreachable!()
}

#[test]
fn the_journal_gives_the_state_that_was() {
    for seed in 0..20 {
        let (mut farm, mut world) = begin(seed, &workers(seed));
        let mut disk = Disk::new(&farm);
        loop {
            let (now, event) = world.next_event();
            disk.write(now, &event);
            let ended = world.carry_out(farm.handle(now, event)).is_some();
            let same = disk.restore().checkpoint() == farm.checkpoint();
            assert!(same, "seed {seed}, at {now} ms");
            if disk.tail.len() > 20 {
                disk.compact(&farm);
            }
            if ended {
                break;
            }
        }
    }
}

#[test]
fn a_crash_at_any_event_loses_leases_only() {
    for seed in 0..10 {
        let (events, ..) = run(seed, None, false);
        for crash_at in 0..events {
            let (_, farm, world) = run(seed, Some(crash_at), crash_at.is_multiple_of(2));
            let progress = farm.progress();
            let said = format!("seed {seed}, crash at {crash_at}");
            assert_eq!(progress.frames_done, 3, "{said}");
            assert_eq!(progress.tiles_accepted, progress.tiles_total, "{said}");
            assert_eq!(progress.spent, world.paid, "{said}");
            assert_eq!(world.written.len(), 3, "{said}");
            world.check_frames();
        }
    }
}

#[test]
fn finished_frames_can_be_rendered_again() {
    let (_, mut farm, mut world) = run(3, None, false);
    let (now, spent) = (world.now, farm.progress().spent);
    world.restart(spent);
    let written = world.written.clone();
    // Nothing is left to do: the job ends at once.
    let ended = world.carry_out(farm.handle(now, resumed(&[])));
    assert_eq!(ended, Some(Outcome::Done));
    let mut effects = farm.handle(now, resumed(&[7, 99]));
    world.written.clear();
    while world.carry_out(effects).is_none() {
        let (now, event) = world.next_event();
        effects = farm.handle(now, event);
    }
    assert_eq!(farm.progress().frames_done, 3);
    assert_eq!(world.written.keys().collect::<Vec<_>>(), [&7]);
    assert_eq!(world.written[&7], written[&7]);
    assert!(farm.progress().spent > spent);
}

#[test]
fn other_versions_and_damage_are_refused() {
    let (farm, _) = begin(1, &[]);
    let good = farm.checkpoint().unwrap();
    let mut other = good.clone();
    other[0] += 1;
    for bad in [&other[..], &good[..good.len() / 2], &[]] {
        assert!(Farm::restore(bad).is_err());
        assert!(read_entry(bad).is_err());
    }
    assert!(farm.checkpoint().is_ok_and(|bytes| bytes == good));
    let finished = Effect::Finished {
        outcome: Outcome::Stopped,
    };
    let mut restored = Farm::restore(&good).unwrap();
    assert_eq!(restored.handle(1, Event::Stop), [finished]);
}
