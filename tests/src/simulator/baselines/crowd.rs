//! Who is there and what each delivers: honest workers, cheats alone, cheats in a ring.

use super::{CELL_PIXELS, Setting, TILE_CELLS, TILE_SIDE_CELLS, Tally};
use crate::simulator::{
    engine::cell_cost,
    random::Random,
    strategies::{CellSet, Fakes, Filling, Strategy, When},
};
use protocol::geometry::{CELL_PX, Cell};
use std::sync::OnceLock;

/// A worker, by its place.
pub type Number = usize;

/// On whose side a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nobody's.
    Honest,
    /// Its own.
    Alone,
    /// The ring's.
    Ring,
}

/// One worker.
#[derive(Debug, Clone)]
pub struct Person {
    /// On whose side.
    pub side: Side,
    /// Tiles that it took.
    pub tasks: u32,
    /// Tiles with a wrong cell that it delivered.
    pub bad: u64,
    /// Valid results in a row.
    pub streak: u64,
    /// Accepted tiles whose pay is held back.
    pub held: usize,
    /// Single wrong cells that it was found to have and was forgiven.
    pub flaky: u32,
    /// What it was paid less what its rendering was worth, in tiles.
    pub gain: f64,
    /// New keys that it may still come back under.
    rebirths: u32,
    is_banned: bool,
}

/// The wrong pixels of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faked {
    /// In which cells they are.
    pub cells: CellSet,
    /// Which pixels of each of these are wrong: a bit for each, row by row.
    pub pixels: u64,
    /// What stands there: alike fillers look alike.
    pub filler: u32,
}

/// All pixels of a cell.
pub const WHOLE_CELL: u64 = u64::MAX;

impl Faked {
    /// Is this pixel of this cell wrong? Pixels are counted row by row.
    pub fn covers(&self, cell: usize, pixel: u32) -> bool {
        self.cells.contains(cell) && self.pixels >> pixel & 1 == 1
    }
}

/// A square of pixels at a random place in a cell.
fn square(side: u32, random: &mut Random) -> u64 {
    let mut corner = || random.below(u64::from(CELL_PX - side + 1)) as u32;
    let (x, y) = (corner(), corner());
    let pixels = (0..side).flat_map(|row| (0..side).map(move |column| (x + column, y + row)));
    pixels.fold(0, |all, (x, y)| all | 1 << (y * CELL_PX + x))
}

/// What a worker says a tile is: the truth, or not.
pub type Answer = Option<Faked>;

/// What it says of a cell: 0 for the truth.
pub fn value_at(answer: &Answer, cell: usize) -> u32 {
    match answer {
        Some(faked) if faked.cells.contains(cell) => faked.filler,
        _ => 0,
    }
}

const ALIKE_FILLER: u32 = 1;
const RING_FILLER: u32 = 2;
const OWN_FILLERS: u32 = 3;

/// Everybody, and chance.
pub struct Crowd {
    /// The job.
    pub setting: Setting,
    /// What comes of it.
    pub tally: Tally,
    /// All who ever came.
    pub people: Vec<Person>,
    /// Chance.
    pub random: Random,
    seed: u64,
    /// Those who get work.
    active: Vec<Number>,
}

impl Crowd {
    /// The people of a setting.
    pub fn new(setting: Setting, seed: u64) -> Self {
        let share = |percent: u32| (setting.workers * percent).div_ceil(100);
        let (hostile, ring) = (share(setting.hostile_percent), share(setting.ring_percent));
        let mut crowd = Self {
            setting,
            tally: Tally {
                tiles: setting.tiles.into(),
                ..Tally::default()
            },
            people: Vec::new(),
            random: Random::new(seed ^ 0xc20_3d5),
            seed,
            active: Vec::new(),
        };
        for number in 0..setting.workers {
            let side = match number {
                number if number < ring.min(hostile) => Side::Ring,
                number if number < hostile => Side::Alone,
                _ => Side::Honest,
            };
            crowd.join(side, setting.strategy.rebirths());
        }
        crowd
    }

    fn join(&mut self, side: Side, rebirths: u32) {
        self.active.push(self.people.len());
        self.people.push(Person {
            side,
            tasks: 0,
            bad: 0,
            streak: 0,
            held: 0,
            flaky: 0,
            gain: 0.0,
            rebirths,
            is_banned: false,
        });
    }

    /// Somebody random who gets work and is none of these; none if nobody is.
    pub fn draw(&mut self, but: &[Number]) -> Option<Number> {
        let others = |number: &&Number| !but.contains(number);
        if self.active.len() <= but.len() && self.active.iter().find(others).is_none() {
            return None;
        }
        loop {
            let at = self.random.below(self.active.len() as u64) as usize;
            if !but.contains(&self.active[at]) {
                return Some(self.active[at]);
            }
        }
    }

    /// Is this worker hostile?
    pub fn is_hostile(&self, number: Number) -> bool {
        self.people[number].side != Side::Honest
    }

    /// Is it of the ring?
    pub fn is_of_ring(&self, number: Number) -> bool {
        self.people[number].side == Side::Ring
    }

    /// Does it get no more work?
    pub fn is_banned(&self, number: Number) -> bool {
        self.people[number].is_banned
    }

    /// A worker takes a tile whole and delivers it; `ring_alone` if only accomplices hold it. Counts its work.
    pub fn deliver(&mut self, number: Number, tile: u32, ring_alone: bool) -> Answer {
        let answer = match self.is_hostile(number) {
            true => self.fake(number, tile, ring_alone),
            false => None,
        };
        self.people[number].tasks += 1;
        self.tally.rendered += 1.0;
        let person = &mut self.people[number];
        self.tally.honest_delivered += u64::from(person.side == Side::Honest);
        match &answer {
            None => person.gain -= 1.0,
            Some(faked) => {
                self.tally.bad_delivered += 1;
                person.bad += 1;
                person.gain -= rendered_share(&self.setting, faked);
            }
        }
        answer
    }

    fn fake(&self, number: Number, tile: u32, ring_alone: bool) -> Answer {
        let strategy = self.setting.strategy;
        let in_ring = self.is_of_ring(number);
        let filler = match (in_ring, strategy.filling()) {
            (_, Filling::Alike) => ALIKE_FILLER,
            (true, _) => RING_FILLER,
            (false, _) => OWN_FILLERS + number as u32,
        };
        let mut random = Random::new(
            self.seed
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(u64::from(tile) << 32 | u64::from(filler)),
        );
        let fakes_now = match strategy.when() {
            When::Always => true,
            When::After(tasks) => self.people[number].tasks >= tasks,
            When::OneIn(tiles) => random.below(tiles) == 0,
        };
        let dares = strategy != Strategy::CarefulRing || (in_ring && ring_alone);
        if !fakes_now || !dares || strategy.fakes() == Fakes::Nothing {
            return None;
        }
        let first = Cell { column: 0, row: 0 };
        let (across, down) = (TILE_SIDE_CELLS, TILE_SIDE_CELLS);
        let cells = strategy.fakes().draw(across, down, first, &mut random);
        let pixels = match self.setting.fake_px {
            side if side < CELL_PX => square(side, &mut random),
            _ => WHOLE_CELL,
        };
        Some(Faked {
            cells,
            pixels,
            filler,
        })
    }

    /// A worker's delivery of a tile is not taken.
    pub fn refuse(&mut self, number: Number) {
        self.tally.honest_refused += u64::from(!self.is_hostile(number));
    }

    /// A tile's pay is final.
    pub fn pay(&mut self, number: Number, tiles: f64) {
        self.people[number].gain += tiles;
    }

    /// A worker lost a comparison; if it was honest it stays, which only somebody who knows the truth could decide.
    pub fn ban_if_hostile(&mut self, number: Number) {
        match self.is_hostile(number) {
            true => self.ban(number),
            false => self.tally.honest_blamed += 1,
        }
    }

    /// A worker lost a comparison.
    pub fn ban(&mut self, number: Number) {
        if std::mem::replace(&mut self.people[number].is_banned, true) {
            return;
        }
        self.active.retain(|active| *active != number);
        let person = &self.people[number];
        match person.side {
            Side::Honest => self.tally.honest_blamed += 1,
            side => {
                self.tally.caught += 1;
                self.tally.bad_until_caught += person.bad;
                let rebirths = person.rebirths;
                if self.setting.returns || rebirths > 0 {
                    self.join(side, rebirths.saturating_sub(1));
                }
            }
        }
    }

    /// The job is over.
    pub fn finish(mut self) -> Tally {
        for person in &self.people {
            let took_part = person.tasks > 0 || person.is_banned;
            if person.side != Side::Honest && took_part {
                self.tally.hostile += 1;
                self.tally.gain += person.gain;
            }
        }
        self.tally
    }
}

/// The share of a tile's work that is in its right pixels; those who copy do nothing.
fn rendered_share(setting: &Setting, faked: &Faked) -> f64 {
    if setting.strategy == Strategy::CopiedReplica {
        return 0.0;
    }
    let costs = costs();
    let cells: u64 = faked.cells.iter().map(|cell| costs[cell]).sum();
    let saved = f64::from(faked.pixels.count_ones()) / f64::from(CELL_PIXELS) * cells as f64;
    1.0 - saved / costs.iter().sum::<u64>() as f64
}

/// What each cell of a tile costs.
fn costs() -> &'static [u64] {
    static COSTS: OnceLock<Vec<u64>> = OnceLock::new();
    COSTS.get_or_init(|| {
        let cell = |at: u32| Cell {
            column: at % TILE_SIDE_CELLS,
            row: at / TILE_SIDE_CELLS,
        };
        (0..TILE_CELLS).map(|at| cell_cost(cell(at))).collect()
    })
}
