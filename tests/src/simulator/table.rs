//! What is compared, and the page that says what came of it.

use super::{
    baselines::{
        Scheme, Setting, Tally,
        crowd::Crowd,
        probing::{Policy, passed_alone},
    },
    strategies::Strategy,
};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Workers of a modelled job.
const WORKERS: u32 = 100;
/// Tiles of a job with volume: many wrong ones for each worker that comes back.
const VOLUME_TILES: u32 = 10_000;
/// Wrong tiles that one task of the volume runs is.
const ALONE_TILES: u32 = 50_000;

/// Of a hundred workers so many are hostile, and of these so many (of all) in a ring.
pub const CROWDS: [(u32, u32); 6] = [(1, 0), (10, 0), (10, 5), (30, 0), (30, 5), (30, 20)];

/// The schemes, in the order of columns.
pub const SCHEMES: [Scheme; 9] = [
    Scheme::Overlap,
    Scheme::Crops,
    Scheme::Adaptive,
    Scheme::Quorum(2),
    Scheme::Quorum(3),
    Scheme::Probing(Policy::JUDGED_BY_WORKERS),
    Scheme::Probing(Policy::UNKNOWN),
    Scheme::Probing(Policy::PROBATION),
    Scheme::Probing(Policy::TRUSTED),
];

/// The attacks, in the order of rows, each with what people call it.
pub const ATTACKS: [(Strategy, &str); 21] = [
    (Strategy::Black, "whole tile, own garbage"),
    (
        Strategy::FewerSamples,
        "whole tile, alike (fewer samples, other seed, old frame or scene)",
    ),
    (Strategy::Upscaled, "half resolution, enlarged"),
    (Strategy::RimOnly, "only the rim rendered"),
    (Strategy::Band, "a quarter of the rows"),
    (Strategy::CostlyCells, "the dearest eighth of the cells"),
    (Strategy::Sparse(10), "10 % of the cells"),
    (Strategy::Sparse(5), "5 % of the cells"),
    (Strategy::Sparse(2), "2 % of the cells"),
    (Strategy::OneCell, "one cell"),
    (Strategy::Selective, "one whole tile in ten"),
    (Strategy::Rare, "10 % of one tile in a hundred"),
    (Strategy::Sleeper, "honest for 4 tiles, then whole tiles"),
    (
        Strategy::LateSleeper,
        "honest for 30 tiles, then whole tiles",
    ),
    (Strategy::Ring, "ring: the same inner 10 %"),
    (
        Strategy::CarefulRing,
        "ring, only where it holds all copies",
    ),
    (Strategy::Neighbours, "ring: whole tiles, overlaps agree"),
    (
        Strategy::Whitewashing,
        "whole tiles, five new keys when caught",
    ),
    (Strategy::Framing, "right tiles, frames others as prober"),
    (Strategy::GarbageProber, "right tiles, lazy prober"),
    (
        Strategy::FlakyMemory,
        "flaky memory: a cell of one tile in a hundred",
    ),
];

/// The least attacks that the promise is about, a tenth of a tile: the hardest to see.
const HARDEST: [(Strategy, u32); 4] = [
    (Strategy::Sparse(10), 0),
    (Strategy::Ring, 0),
    (Strategy::Ring, 5),
    (Strategy::Ring, 20),
];
/// Others that the promise is about; they are seen more easily and are run for a tenth of the volume.
const EASIER: [Strategy; 6] = [
    Strategy::CostlyCells,
    Strategy::Band,
    Strategy::RimOnly,
    Strategy::FewerSamples,
    Strategy::Upscaled,
    Strategy::Black,
];

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub struct Volume {
    /// Jobs for each cell of the tables.
    pub seeds: u64,
    /// Tiles of each of these jobs.
    pub tiles: u32,
    /// Wrong tiles for each row of the promise with one of the hardest attacks.
    pub wrong_tiles: u64,
    /// Right tiles for each row of the other promise.
    pub right_tiles: u64,
}

impl Volume {
    /// For the page.
    pub const FULL: Volume = Volume {
        seeds: 10,
        tiles: 4_000,
        wrong_tiles: 3_000_000,
        right_tiles: 1_000_000,
    };
    /// To see that all of it runs.
    pub const QUICK: Volume = Volume {
        seeds: 1,
        tiles: 500,
        wrong_tiles: 10_000,
        right_tiles: 10_000,
    };
}

/// Where a job of the tables is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Row.
    pub attack: usize,
    /// Column.
    pub scheme: usize,
    /// Which crowd of [`CROWDS`]; none if all are honest.
    pub crowd: Option<usize>,
}

/// Wrong tiles of one kind, and how many were accepted.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// What was done.
    pub strategy: Strategy,
    /// How it was checked.
    pub policy: Policy,
    /// Of a hundred workers so many are in the ring.
    pub ring_percent: u32,
    /// Wrong tiles.
    pub wrong: u64,
    /// Of these, accepted.
    pub passed: u64,
}

/// All that was found.
pub struct Findings {
    /// Jobs.
    pub jobs: BTreeMap<Place, Tally>,
    /// Wrong tiles by workers that fake one tile ever.
    pub alone: Vec<Passed>,
    /// Wrong tiles in jobs whose cheats come back whenever they are caught.
    pub returning: Vec<Passed>,
    /// Right tiles among lying probers.
    pub right: Vec<(Strategy, Policy, Tally)>,
}

fn setting(strategy: Strategy, crowd: Option<usize>, tiles: u32) -> Setting {
    let (hostile_percent, ring_percent) = crowd.map_or((0, 0), |crowd| CROWDS[crowd]);
    Setting {
        tiles,
        workers: WORKERS,
        hostile_percent,
        ring_percent,
        strategy,
        returns: false,
    }
}

/// Runs everything; `tell` hears how many of how many parts are done.
pub fn run(volume: Volume, tell: impl Fn(usize, usize) + Sync) -> Findings {
    let places = places();
    let questions = questions(volume);
    let (done, total) = (
        AtomicUsize::new(0),
        places.len() + 2 * questions.len() + LIARS.len(),
    );
    let step = || tell(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let jobs = places
        .par_iter()
        .map(|place| {
            let setting = setting(ATTACKS[place.attack].0, place.crowd, volume.tiles);
            let run = |seed| SCHEMES[place.scheme].run(setting, seed);
            let tally = (0..volume.seeds)
                .map(run)
                .fold(Tally::default(), Tally::plus);
            step();
            (*place, tally)
        })
        .collect();
    let alone = (questions.iter())
        .map(|question| alone(*question, &step))
        .collect();
    let returning = (questions.iter())
        .map(|question| returning(*question, &step))
        .collect();
    let right = LIARS
        .iter()
        .map(|(strategy, policy)| (*strategy, *policy, right(*strategy, *policy, volume, &step)))
        .collect();
    Findings {
        jobs,
        alone,
        returning,
        right,
    }
}

fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for scheme in 0..SCHEMES.len() {
        let crowd = None;
        places.push(Place {
            attack: 0,
            scheme,
            crowd,
        });
        for attack in 0..ATTACKS.len() {
            let crowds = (0..CROWDS.len()).map(Some);
            places.extend(crowds.map(|crowd| Place {
                attack,
                scheme,
                crowd,
            }));
        }
    }
    places
}

/// An attack, how it is checked, how large the ring is, and how many wrong tiles are asked for.
#[derive(Clone, Copy)]
struct Question {
    strategy: Strategy,
    policy: Policy,
    ring_percent: u32,
    wrong: u64,
}

fn questions(volume: Volume) -> Vec<Question> {
    let mut questions = Vec::new();
    for policy in [Policy::UNKNOWN, Policy::TRUSTED] {
        let hardest = HARDEST.map(|(strategy, ring)| (strategy, ring, volume.wrong_tiles));
        let easier = EASIER.map(|strategy| (strategy, 0, volume.wrong_tiles / 10));
        let rows = hardest.into_iter().chain(easier);
        questions.extend(rows.map(|(strategy, ring_percent, wrong)| Question {
            strategy,
            policy,
            ring_percent,
            wrong,
        }));
    }
    questions
}

/// Liars about right tiles, and the checks that they are part of.
const LIARS: [(Strategy, Policy); 4] = [
    (Strategy::Framing, Policy::UNKNOWN),
    (Strategy::GarbageProber, Policy::UNKNOWN),
    (Strategy::Framing, Policy::TRUSTED),
    (Strategy::GarbageProber, Policy::TRUSTED),
];

type Step<'a> = &'a (dyn Fn() + Sync);

fn alone(question: Question, step: Step) -> Passed {
    let Question {
        strategy,
        policy,
        ring_percent,
        wrong,
    } = question;
    let tiles = ALONE_TILES.min(wrong as u32);
    let setting = Setting {
        hostile_percent: ring_percent.max(1),
        ring_percent,
        ..setting(strategy, None, tiles)
    };
    let parts = wrong.div_ceil(tiles.into());
    let part = |seed| passed_alone(Crowd::new(setting, seed ^ 0xa10e), policy);
    let both = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let all = (0..parts).into_par_iter().map(part);
    let (wrong, passed) = all.reduce(|| (0, 0), both);
    step();
    Passed {
        strategy,
        policy,
        ring_percent,
        wrong,
        passed,
    }
}

fn returning(question: Question, step: Step) -> Passed {
    let Question {
        strategy,
        policy,
        ring_percent,
        wrong,
    } = question;
    let setting = Setting {
        hostile_percent: 30,
        ring_percent,
        returns: true,
        ..setting(strategy, None, VOLUME_TILES.min(wrong as u32))
    };
    // Three wrong deliveries for seven right ones, and a few more jobs, as chance does not give exactly that.
    let jobs = (wrong * 7 / 3 * 51 / 50).div_ceil(setting.tiles.into());
    let tally = many(jobs, |seed| {
        Scheme::Probing(policy).run(setting, seed ^ 0x2e7)
    });
    step();
    Passed {
        strategy,
        policy,
        ring_percent,
        wrong: tally.bad_delivered,
        passed: tally.bad_accepted,
    }
}

fn right(strategy: Strategy, policy: Policy, volume: Volume, step: Step) -> Tally {
    let setting = Setting {
        hostile_percent: 30,
        ring_percent: 20,
        returns: true,
        ..setting(strategy, None, VOLUME_TILES.min(volume.right_tiles as u32))
    };
    let jobs = volume.right_tiles.div_ceil(setting.tiles.into());
    let tally = many(jobs, |seed| {
        Scheme::Probing(policy).run(setting, seed ^ 0x519)
    });
    step();
    tally
}

fn many(jobs: u64, job: impl Fn(u64) -> Tally + Sync + Send) -> Tally {
    // Collected first: sums of floats depend on their order.
    let all: Vec<Tally> = (0..jobs).into_par_iter().map(job).collect();
    all.into_iter().fold(Tally::default(), Tally::plus)
}
