//! What is compared, and the page that says what came of it.

use super::{
    baselines::{Scheme, Setting, Tally, crowd::Crowd, policy::Policy, probing::passed_alone},
    strategies::Strategy,
};
use protocol::geometry::CELL_PX;
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    ops::Range,
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
pub const SCHEMES: [Scheme; 12] = [
    Scheme::Overlap,
    Scheme::Crops,
    Scheme::Adaptive,
    Scheme::Quorum(2),
    Scheme::Quorum(3),
    Scheme::Probing(Policy::JUDGED_BY_WORKERS),
    Scheme::Probing(Policy::UNKNOWN),
    Scheme::Probing(Policy::PROBATION),
    Scheme::Probing(Policy::TRUSTED),
    Scheme::Probing(Policy::SQUARES_UNKNOWN),
    Scheme::Probing(Policy::SQUARES_PROBATION),
    Scheme::Probing(Policy::SQUARES_TRUSTED),
];
/// Those for engines that render single pixels at their price.
pub const WITH_PIXELS: Range<usize> = 0..9;
/// Ours among them, with an engine where the requestor is.
pub const OURS: Range<usize> = 6..9;
/// Those for engines that charge for each rectangle.
pub const WITH_SQUARES: Range<usize> = 9..12;

/// What hostile workers do, and what people call it.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Which cells are faked, when, and by whom.
    pub strategy: Strategy,
    /// Side of the square of pixels that is wrong in each of these cells.
    pub fake_px: u32,
    /// A row's name.
    pub label: &'static str,
}

const fn cells(strategy: Strategy, label: &'static str) -> Attack {
    pixels(strategy, CELL_PX, label)
}

const fn pixels(strategy: Strategy, fake_px: u32, label: &'static str) -> Attack {
    Attack {
        strategy,
        fake_px,
        label,
    }
}

const BLACK: Attack = cells(Strategy::Black, "whole tile, own garbage");
const ALIKE: Attack = cells(
    Strategy::FewerSamples,
    "whole tile, alike (fewer samples, other seed, old frame or scene)",
);
const UPSCALED: Attack = cells(Strategy::Upscaled, "half resolution, enlarged");
const RIM_ONLY: Attack = cells(Strategy::RimOnly, "only the rim rendered");
const BAND: Attack = cells(Strategy::Band, "a quarter of the rows");
const COSTLY: Attack = cells(Strategy::CostlyCells, "the dearest eighth of the cells");
const SPARSE: Attack = cells(Strategy::Sparse(10), "10 % of the cells");
const RING: Attack = cells(Strategy::Ring, "ring: the same inner 10 %");
const ONE_CELL: Attack = cells(Strategy::OneCell, "one whole cell");
const FOUR_PIXELS: Attack = pixels(Strategy::OneCell, 4, "4x4 pixels of one cell");
/// The least that can be wrong.
pub const ONE_PIXEL: Attack = pixels(Strategy::OneCell, 1, "one pixel");
const FRAMING: Attack = cells(Strategy::Framing, "right tiles, frames others as prober");
const LAZY: Attack = cells(Strategy::GarbageProber, "right tiles, lazy prober");

/// The attacks, in the order of rows.
pub const ATTACKS: [Attack; 24] = [
    BLACK,
    ALIKE,
    UPSCALED,
    RIM_ONLY,
    BAND,
    COSTLY,
    SPARSE,
    cells(Strategy::Sparse(5), "5 % of the cells"),
    cells(Strategy::Sparse(2), "2 % of the cells"),
    pixels(Strategy::Black, 1, "one pixel of every cell"),
    cells(Strategy::Selective, "one whole tile in ten"),
    cells(Strategy::Rare, "10 % of one tile in a hundred"),
    cells(Strategy::Sleeper, "honest for 4 tiles, then whole tiles"),
    cells(
        Strategy::LateSleeper,
        "honest for 30 tiles, then whole tiles",
    ),
    RING,
    cells(
        Strategy::CarefulRing,
        "ring, only where it holds all copies",
    ),
    cells(Strategy::Neighbours, "ring: whole tiles, overlaps agree"),
    cells(
        Strategy::Whitewashing,
        "whole tiles, five new keys when caught",
    ),
    FRAMING,
    LAZY,
    ONE_CELL,
    FOUR_PIXELS,
    ONE_PIXEL,
    cells(
        Strategy::FlakyMemory,
        "flaky memory: a cell of one tile in a hundred",
    ),
];
/// Of these, those that save no work: a cell or less of a tile.
pub const SAVING_NOTHING: Range<usize> = 20..24;

/// What the promise is about, and is the hardest to see: a tenth of a tile; and a single cell.
const HARDEST: [(Attack, u32); 5] = [(SPARSE, 0), (RING, 0), (RING, 5), (RING, 20), (ONE_CELL, 0)];
/// Others that the promise is about; they are seen more easily and are run for a tenth of the volume.
const EASIER: [Attack; 6] = [COSTLY, BAND, RIM_ONLY, ALIKE, UPSCALED, BLACK];
/// Edits that save nothing, by how little is wrong.
const EDITS: [Attack; 3] = [ONE_CELL, FOUR_PIXELS, ONE_PIXEL];
/// Those who check them.
const EDIT_CHECKS: [Policy; 5] = [
    Policy::UNKNOWN,
    Policy::PROBATION,
    Policy::TRUSTED,
    Policy::SQUARES_UNKNOWN,
    Policy::SQUARES_TRUSTED,
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
    /// Tiles with a small edit for each cell of the table of these.
    pub edited_tiles: u64,
}

impl Volume {
    /// For the page.
    pub const FULL: Volume = Volume {
        seeds: 10,
        tiles: 4_000,
        wrong_tiles: 3_000_000,
        right_tiles: 1_500_000,
        edited_tiles: 100_000,
    };
    /// To see that all of it runs.
    pub const QUICK: Volume = Volume {
        seeds: 1,
        tiles: 500,
        wrong_tiles: 10_000,
        right_tiles: 10_000,
        edited_tiles: 2_000,
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
    pub attack: Attack,
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
    /// The same with small edits.
    pub edits: Vec<Passed>,
    /// Right tiles among lying probers.
    pub right: Vec<(Attack, Policy, Tally)>,
    /// An honest job of the requestor's own workers.
    pub own: Tally,
}

fn setting(attack: Attack, crowd: Option<usize>, tiles: u32) -> Setting {
    let (hostile_percent, ring_percent) = crowd.map_or((0, 0), |crowd| CROWDS[crowd]);
    Setting {
        tiles,
        workers: WORKERS,
        hostile_percent,
        ring_percent,
        strategy: attack.strategy,
        fake_px: attack.fake_px,
        returns: false,
    }
}

/// Runs everything; `tell` hears how many of how many parts are done.
pub fn run(volume: Volume, tell: impl Fn(usize, usize) + Sync) -> Findings {
    let places = places();
    let (questions, edits) = (questions(volume), edits(volume));
    let (done, total) = (
        AtomicUsize::new(0),
        places.len() + 2 * questions.len() + edits.len() + LIARS.len(),
    );
    let step = || tell(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let jobs = places
        .par_iter()
        .map(|place| {
            let setting = setting(ATTACKS[place.attack], place.crowd, volume.tiles);
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
    let edits = (edits.iter())
        .map(|question| self::alone(*question, &step))
        .collect();
    let right = LIARS
        .iter()
        .map(|(attack, policy)| (*attack, *policy, right(*attack, *policy, volume, &step)))
        .collect();
    let own = Scheme::Probing(Policy::OWN);
    Findings {
        jobs,
        alone,
        returning,
        edits,
        right,
        own: own.run(setting(BLACK, None, volume.tiles * volume.seeds as u32), 0),
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
    attack: Attack,
    policy: Policy,
    ring_percent: u32,
    wrong: u64,
    /// The same for workers that fake one tile ever.
    alone: u64,
}

/// How often more tiles of workers that fake one tile ever are run where so few are accepted that it takes that many to see.
const RAREST_TIMES: u64 = 10;

/// Squares, which miss many more, are run for a tenth of the volume.
fn questions(volume: Volume) -> Vec<Question> {
    let mut questions = Vec::new();
    for (policy, wrong) in [
        (Policy::UNKNOWN, volume.wrong_tiles),
        (Policy::TRUSTED, volume.wrong_tiles),
        (Policy::SQUARES_UNKNOWN, volume.wrong_tiles / 10),
        (Policy::SQUARES_TRUSTED, volume.wrong_tiles / 10),
    ] {
        let hardest = HARDEST.map(|(attack, ring)| (attack, ring, wrong));
        let easier = EASIER.map(|attack| (attack, 0, wrong / 10));
        let rows = hardest.into_iter().chain(easier);
        questions.extend(rows.map(|(attack, ring_percent, wrong)| {
            let is_rarest = policy == Policy::UNKNOWN && ring_percent == 20;
            Question {
                attack,
                policy,
                ring_percent,
                wrong,
                alone: wrong * if is_rarest { RAREST_TIMES } else { 1 },
            }
        }));
    }
    questions
}

fn edits(volume: Volume) -> Vec<Question> {
    let question = |attack, policy| Question {
        attack,
        policy,
        ring_percent: 0,
        wrong: 0,
        alone: volume.edited_tiles,
    };
    let of = |attack| EDIT_CHECKS.map(|policy| question(attack, policy));
    EDITS.into_iter().flat_map(of).collect()
}

/// Liars about right tiles, and the checks that they are part of.
const LIARS: [(Attack, Policy); 6] = [
    (FRAMING, Policy::UNKNOWN),
    (LAZY, Policy::UNKNOWN),
    (FRAMING, Policy::TRUSTED),
    (LAZY, Policy::TRUSTED),
    (FRAMING, Policy::SQUARES_UNKNOWN),
    (LAZY, Policy::SQUARES_UNKNOWN),
];

type Step<'a> = &'a (dyn Fn() + Sync);

fn alone(question: Question, step: Step) -> Passed {
    let Question {
        attack,
        policy,
        ring_percent,
        alone: wrong,
        ..
    } = question;
    let tiles = ALONE_TILES.min(wrong as u32);
    let setting = Setting {
        hostile_percent: ring_percent.max(1),
        ring_percent,
        ..setting(attack, None, tiles)
    };
    let parts = wrong.div_ceil(tiles.into());
    let part = |seed| passed_alone(Crowd::new(setting, seed ^ 0xa10e), policy);
    let both = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let all = (0..parts).into_par_iter().map(part);
    let (wrong, passed) = all.reduce(|| (0, 0), both);
    step();
    Passed {
        attack,
        policy,
        ring_percent,
        wrong,
        passed,
    }
}

fn returning(question: Question, step: Step) -> Passed {
    let Question {
        attack,
        policy,
        ring_percent,
        wrong,
        ..
    } = question;
    let setting = Setting {
        hostile_percent: 30,
        ring_percent,
        returns: true,
        ..setting(attack, None, VOLUME_TILES.min(wrong as u32))
    };
    // Three wrong deliveries for seven right ones, and a few more jobs, as chance does not give exactly that.
    let jobs = (wrong * 7 / 3 * 51 / 50).div_ceil(setting.tiles.into());
    let tally = many(jobs, |seed| {
        Scheme::Probing(policy).run(setting, seed ^ 0x2e7)
    });
    step();
    Passed {
        attack,
        policy,
        ring_percent,
        wrong: tally.bad_delivered,
        passed: tally.bad_accepted,
    }
}

fn right(attack: Attack, policy: Policy, volume: Volume, step: Step) -> Tally {
    let setting = Setting {
        hostile_percent: 30,
        ring_percent: 20,
        returns: true,
        ..setting(attack, None, VOLUME_TILES.min(volume.right_tiles as u32))
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
