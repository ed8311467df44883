//! What workers may be up to: each kind of trouble as data (which cells are not rendered, what stands there instead, when)
//! and, for the simulated coordinator, the cells that follow. The models of other schemes use the same data.

use super::{
    engine::{CLASS, OTHER_CLASS, cell_cost},
    random::Random,
};
use protocol::{Blake3Hash, geometry::Cell};

/// The class of workers whose engine is wrong in one and the same way.
pub const WRONG_CLASS: Blake3Hash = Blake3Hash([4; 32]);

/// How a worker treats its requestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Does what it should.
    Honest,
    /// Honest and a hundred times slower than it says.
    Slow,
    /// Honest, of another determinism class.
    OtherClass,
    /// Tiles and probes are black.
    Black,
    /// Tiles are those of the frame before.
    PreviousFrame,
    /// Tiles are shifted by a cell.
    Shifted,
    /// Only the outermost cells of a tile are rendered.
    RimOnly,
    /// A quarter of a tile's rows is not rendered.
    Band,
    /// Its tiles are right; in probes and opinions the first cell is a lie.
    LyingProber,
    /// Honest at first, then its tiles are black.
    Sleeper,
    /// Honest at first, then as the lying prober.
    SleepingProber,
    /// Commits and never opens a commitment.
    CommitNeverReveal,
    /// Takes leases and is never heard again.
    Silent,
    /// Heartbeats for ever, delivers nothing.
    Hostage,
    /// Its process dies now and then with what it holds; it comes back.
    Crashing,
    /// Cannot do any task and says so.
    Failing,
    /// Delivers a cell too few.
    WrongCount,
    /// Commits to one thing and delivers another.
    Recommitting,
    /// So many of a hundred cells of each tile, drawn at random, are not rendered.
    Sparse(u8),
    /// One cell of each tile is wrong.
    OneCell,
    /// Takes fewer samples: every cell differs, in the same way for all who do it.
    FewerSamples,
    /// Renders with another seed: every cell differs, in the same way for all who do it.
    WrongSeed,
    /// Renders at half the resolution and enlarges that: only a few flat cells are right.
    Upscaled,
    /// Renders an older copy of the scene.
    StaleScene,
    /// Commits to what a black tile would be.
    GuessedRoot,
    /// Renders the cheap cells and fakes the dear ones.
    CostlyCells,
    /// Renders nine tiles of ten and fakes the tenth whole.
    Selective,
    /// Fakes a tenth of one tile in a hundred.
    Rare,
    /// Honest for long, then its tiles are black.
    LateSleeper,
    /// Accomplices fake the same tenth of a tile, away from its rim, and vouch for each other in probes and opinions.
    Ring,
    /// The same, but only where accomplices alone hold a tile and its whole copies; honest otherwise.
    CarefulRing,
    /// Two keys of one person: whole tiles are faked, each key vouches for the other.
    SybilPair,
    /// Accomplices fake whole tiles, so that the overlaps of neighbouring ones agree.
    Neighbours,
    /// Delivers what an accomplice of the ring would, without rendering anything.
    CopiedReplica,
    /// Its tiles are right; it vouches for accomplices of the ring.
    Voucher,
    /// Its tiles are right; it says of every probe that the tile is wrong, as its accomplices do.
    Framing,
    /// Answers each probe with the same garbage.
    GarbageProber,
    /// Answers each probe with what was right a frame ago.
    RepeatingProber,
    /// Black tiles; caught, it comes back at once under a new key.
    Whitewashing,
    /// Takes a lease, is gone, and comes under a new key.
    KeyFlood,
    /// Says it is of the class that it is not of.
    ClassFraud,
    /// Now and then a cell of a tile is wrong: its memory, not its will.
    FlakyMemory,
    /// Of a class whose engine is wrong, alike for all of it.
    WrongClass,
    /// Sends its first commitment again for every task.
    ReplayedCommitment,
}

use Strategy::*;

/// Which cells of a tile are not rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fakes {
    /// None.
    Nothing,
    /// All.
    All,
    /// All but the outermost.
    AllButRim,
    /// A quarter of the rows.
    Band,
    /// So many of a hundred, anywhere.
    Percent(u64),
    /// So many of a hundred, none of them outermost.
    InnerPercent(u64),
    /// One, anywhere.
    One,
    /// All but a few that have one colour.
    AllButFlat,
    /// The dearest eighth.
    Dear,
}

/// What stands in cells that are not rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Something of the worker's own.
    Own,
    /// The same for everybody who saves work in this way.
    Alike,
    /// The same for all accomplices, who vouch for it.
    Ring,
}

/// Which tiles are faked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those after the first so many tasks.
    After(u32),
    /// One of so many, at random.
    OneIn(u64),
}

impl Strategy {
    /// Those that deliver wrong pixels: they are to be caught, and nobody else.
    pub const WRONG_PIXELS: &[Strategy] = &[
        Black,
        PreviousFrame,
        Shifted,
        RimOnly,
        Band,
        LyingProber,
        Sleeper,
        SleepingProber,
    ];
    /// All that make trouble in jobs drawn from a seed; the seeds of tests are pinned to this list.
    pub const TROUBLE: &[Strategy] = &[
        Slow,
        Black,
        PreviousFrame,
        Shifted,
        RimOnly,
        Band,
        LyingProber,
        Sleeper,
        SleepingProber,
        CommitNeverReveal,
        Silent,
        Hostage,
        Crashing,
        Failing,
        WrongCount,
        Recommitting,
    ];
    /// Of those above, those that may be of another class than the own engine's in jobs drawn from a seed. The noise sees a
    /// tile by two regions, so what fakes a part of it is seen for certain by probes only.
    pub const TROUBLE_ACROSS: &[Strategy] = &[
        Slow,
        Black,
        PreviousFrame,
        Shifted,
        RimOnly,
        LyingProber,
        Sleeper,
        SleepingProber,
        CommitNeverReveal,
        Silent,
        Hostage,
        Crashing,
        Failing,
        WrongCount,
        Recommitting,
    ];
    /// Further attacks with wrong pixels, in tiles or in answers to probes.
    pub const WRONG_ATTACKS: &[Strategy] = &[
        Sparse(2),
        Sparse(5),
        Sparse(10),
        OneCell,
        FewerSamples,
        WrongSeed,
        Upscaled,
        StaleScene,
        GuessedRoot,
        CostlyCells,
        Selective,
        Rare,
        LateSleeper,
        Ring,
        CarefulRing,
        SybilPair,
        Neighbours,
        CopiedReplica,
        Voucher,
        Framing,
        GarbageProber,
        RepeatingProber,
        Whitewashing,
        ClassFraud,
        FlakyMemory,
        WrongClass,
    ];

    /// The determinism class that it says its engine is of, unless its member is of another.
    pub fn class(self) -> Blake3Hash {
        match self {
            OtherClass => OTHER_CLASS,
            WrongClass => WRONG_CLASS,
            _ => CLASS,
        }
    }

    /// Will its pixels ever be wrong?
    pub fn is_wrong(self) -> bool {
        Self::WRONG_PIXELS.contains(&self) || Self::WRONG_ATTACKS.contains(&self)
    }

    /// Which cells of a tile it fakes, where it fakes any.
    pub fn fakes(self) -> Fakes {
        match self {
            Black | PreviousFrame | Shifted | FewerSamples | WrongSeed | StaleScene
            | GuessedRoot | Selective | Sleeper | LateSleeper | SybilPair | Neighbours
            | Whitewashing | ClassFraud | WrongClass => Fakes::All,
            RimOnly => Fakes::AllButRim,
            Band => Fakes::Band,
            Sparse(percent) => Fakes::Percent(percent.into()),
            Rare => Fakes::Percent(10),
            Ring | CarefulRing | CopiedReplica => Fakes::InnerPercent(10),
            OneCell | FlakyMemory => Fakes::One,
            Upscaled => Fakes::AllButFlat,
            CostlyCells => Fakes::Dear,
            _ => Fakes::Nothing,
        }
    }

    /// What it puts there.
    pub fn filling(self) -> Filling {
        match self {
            PreviousFrame | Shifted | FewerSamples | WrongSeed | Upscaled | StaleScene
            | GuessedRoot | ClassFraud | WrongClass => Filling::Alike,
            Ring | CarefulRing | CopiedReplica | SybilPair | Neighbours => Filling::Ring,
            _ => Filling::Own,
        }
    }

    /// Which of its tiles it fakes.
    pub fn when(self) -> When {
        match self {
            Sleeper => When::After(4),
            LateSleeper => When::After(30),
            Selective => When::OneIn(10),
            Rare | FlakyMemory => When::OneIn(100),
            _ => When::Always,
        }
    }

    /// Does it confirm what accomplices of its ring have faked?
    pub fn vouches(self) -> bool {
        matches!(
            self,
            Ring | CarefulRing | CopiedReplica | SybilPair | Voucher
        )
    }

    /// Does it lie about right tiles when it is asked to check them?
    pub fn lies_as_prober(self) -> bool {
        matches!(
            self,
            LyingProber | SleepingProber | Framing | GarbageProber | RepeatingProber
        )
    }

    /// New keys that it begins again with, one after the other.
    pub fn rebirths(self) -> u32 {
        match self {
            Whitewashing => 5,
            KeyFlood => 30,
            _ => 0,
        }
    }
}

/// A set of cells of a tile, by their number in canonical order: a bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSet {
    words: Vec<u64>,
}

impl CellSet {
    /// None of `cells` cells.
    pub fn none(cells: usize) -> Self {
        Self {
            words: vec![0; cells.div_ceil(64)],
        }
    }

    /// Adds a cell; false if it was there.
    pub fn insert(&mut self, cell: usize) -> bool {
        let (word, bit) = (&mut self.words[cell / 64], 1 << (cell % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Is this cell in it?
    pub fn contains(&self, cell: usize) -> bool {
        (self.words.get(cell / 64)).is_some_and(|word| word >> (cell % 64) & 1 == 1)
    }

    /// The cells in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// How many cells are in it.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }
}

impl Fakes {
    /// The cells that are not rendered of a tile of so many cells across and down, whose first cell is `first`.
    pub fn draw(self, across: u32, down: u32, first: Cell, random: &mut Random) -> CellSet {
        let cells = across as usize * down as usize;
        let mut set = CellSet::none(cells);
        match self {
            Fakes::Nothing => {}
            Fakes::One => {
                set.insert(random.below(cells as u64) as usize);
            }
            Fakes::Percent(percent) => {
                let mut left = (cells as u64 * percent).div_ceil(100);
                while left > 0 {
                    left -= u64::from(set.insert(random.below(cells as u64) as usize));
                }
            }
            Fakes::InnerPercent(percent) if across > 2 && down > 2 => {
                let inner = u64::from(across - 2) * u64::from(down - 2);
                let mut left = (cells as u64 * percent).div_ceil(100).min(inner);
                while left > 0 {
                    let row = 1 + random.below(u64::from(down - 2));
                    let at = row * u64::from(across) + 1 + random.below(u64::from(across - 2));
                    left -= u64::from(set.insert(at as usize));
                }
            }
            Fakes::InnerPercent(_) => {}
            _ => {
                let is_faked = |at: &usize| self.covers(across, down, first, *at as u32);
                for at in (0..cells).filter(is_faked) {
                    set.insert(at);
                }
            }
        }
        set
    }

    fn covers(self, across: u32, down: u32, first: Cell, at: u32) -> bool {
        let (x, y) = (at % across, at / across);
        let cell = Cell {
            column: first.column + x,
            row: first.row + y,
        };
        match self {
            Fakes::All => true,
            Fakes::AllButRim => x > 0 && y > 0 && x + 1 < across && y + 1 < down,
            Fakes::Band => y >= down / 2 && y <= down / 2 + down / 4,
            Fakes::AllButFlat => !is_flat(cell),
            Fakes::Dear => cell_cost(cell) >= DEAR_COST,
            _ => false,
        }
    }
}

/// From this cost on a cell is dear: an eighth of all cells, five eighths of the work.
const DEAR_COST: u64 = 8;
/// One cell of so many has one colour.
const FLAT_ONE_IN: u64 = 16;

fn is_flat(cell: Cell) -> bool {
    let place = u64::from(cell.column) << 32 | u64::from(cell.row);
    Random::new(place ^ 0xf1a7).below(FLAT_ONE_IN) == 0
}
