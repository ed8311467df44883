//! What is simulated: a job, who works on it, what goes wrong. Drawn from a seed, or put together by a test.

use super::{
    engine::{CLASS, OTHER_CLASS, SAMPLES},
    network::Link,
    random::Random,
    worker::{MEGASAMPLE_MS, Member, Strategy},
};
use farm::event::{Millis, Trust};
use protocol::{Glm, Size, TileGrid};

/// From so many tiles on all frames are alike: 64 tiles of 64 pixels a side.
const MANY_TILES: u64 = 5_000;
/// A run without troubles ends by itself; with them they end after so many times what the job would ideally take.
const TROUBLES_TIMES: u64 = 20;
/// The same, besides.
const TROUBLES_MS: Millis = 600_000;
/// Chances of a hundred that a worker has each of these speeds, in percent of the ordinary one.
const SPEEDS: [(u64, u64); 9] = [
    (3, 10),
    (6, 20),
    (12, 40),
    (20, 70),
    (22, 100),
    (17, 150),
    (12, 250),
    (5, 500),
    (3, 1_000),
];
/// Among so many workers are some of another determinism class.
const MIXED_WORKERS: u64 = 20;
/// Of a hundred so many.
const OTHER_CLASS_PERCENT: u64 = 8;
/// In so many of a hundred jobs in which much goes wrong classes are mixed,
const MIXED_PERCENT: u64 = 30;
/// in so many of these the requestor has no engine,
const ENGINELESS_PERCENT: u64 = 10;
/// and so many of their workers are of another class.
const ACROSS_PERCENT: u64 = 40;
/// How long workers wait for a requestor that is away.
const HOLDS: [(u64, Millis); 5] = [
    (20, 0),
    (10, 5_000),
    (20, 60_000),
    (40, 300_000),
    (10, 900_000),
];

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Failure {
    /// Workers' processes die; they come back with their disk, without it as somebody new, or never.
    Crash,
    /// Workers do nothing for a while.
    Stall,
    /// Some links have much delay and little bandwidth.
    SlowLinks,
    /// Workers cannot reach the requestor for a while.
    Partition,
    /// Messages come twice, or later than those after them.
    Messages,
    /// Workers' clocks run too fast or too slow.
    Drift,
    /// Workers' disks are full for a while.
    FullDisk,
    /// The requestor's disk is full for a while: for frames, or for the journal too.
    RequestorDisk,
    /// The requestor's computer sleeps, or its clock jumps forward.
    Suspend,
}

impl Failure {
    /// All of them.
    pub const ALL: &[Failure] = &[
        Failure::Crash,
        Failure::Stall,
        Failure::SlowLinks,
        Failure::Partition,
        Failure::Messages,
        Failure::Drift,
        Failure::FullDisk,
        Failure::RequestorDisk,
        Failure::Suspend,
    ];
}

/// How much of a write of the journal and of what follows from it is lost when the requestor's process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing reached the disk.
    Write,
    /// The last entry is cut short; nothing left the process.
    LastEntry,
    /// All is on disk; of the effects so many of four parts left the process.
    Effects(u8),
}

impl Loss {
    /// All kinds.
    pub const ALL: [Loss; 5] = [
        Loss::Write,
        Loss::LastEntry,
        Loss::Effects(0),
        Loss::Effects(2),
        Loss::Effects(4),
    ];
}

/// When the requestor's process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    /// Never.
    Never,
    /// Once, at this write of its journal.
    AtWrite(u64, Loss),
    /// So often, each time after a number of writes that is drawn below twice this.
    Often(u32, u64),
}

/// Everything that decides a run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Decides what chance decides.
    pub seed: u64,
    /// The division of each frame.
    pub grid: TileGrid,
    /// The frames.
    pub frames: Vec<i32>,
    /// Those who work from the start.
    pub members: Vec<Member>,
    /// Has the requestor an engine of its own?
    pub own_engine: bool,
    /// Does it check everybody's work as much as there is to be had?
    pub paranoid: bool,
    /// May workers of several classes share the job?
    pub mixed_classes: bool,
    /// Most that may be spent.
    pub budget: Option<Glm>,
    /// When the job has to end, by its own clock.
    pub deadline: Option<Millis>,
    /// What goes wrong.
    pub failures: Vec<Failure>,
    /// Time between two troubles of a worker, on average.
    pub trouble_every_ms: Millis,
    /// After this nothing goes wrong any more.
    pub troubles_until: Millis,
    /// When the requestor's process dies.
    pub crashes: Crashes,
    /// Time that a write of the journal takes; 0 for each event at once.
    pub journal_ms: Millis,
    /// Is the journal read after each write and compared with the state?
    pub checks_journal: bool,
    /// How often the user may start a job again that ended early.
    pub resumes_max: u32,
}

/// What a user asks of the program.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Workers.
    pub workers: u64,
    /// Tiles, at least.
    pub tiles: u64,
    /// How much goes wrong: 0 nothing, 1 some, 3 very much.
    pub chaos: u64,
    /// Cheats and other trouble among a hundred workers.
    pub cheats_percent: u64,
    /// What goes wrong, if anything does.
    pub failures: Vec<Failure>,
    /// Crashes of the requestor.
    pub crashes: u32,
    /// Most that may be spent.
    pub budget: Option<Glm>,
    /// When the job has to end, by its own clock.
    pub deadline: Option<Millis>,
    /// Workers at a tenth of the ordinary speed, of those above.
    pub slow: u64,
}

impl Scenario {
    /// A job without failures.
    pub fn calm(seed: u64, grid: TileGrid, frames: Vec<i32>, members: Vec<Member>) -> Self {
        Self {
            seed,
            grid,
            frames,
            members,
            own_engine: true,
            paranoid: false,
            mixed_classes: false,
            budget: None,
            deadline: None,
            failures: Vec::new(),
            trouble_every_ms: Millis::MAX,
            troubles_until: 0,
            crashes: Crashes::Never,
            journal_ms: 0,
            checks_journal: false,
            resumes_max: 0,
        }
    }

    /// What a user asked for, with all else decided by the seed.
    pub fn draw(seed: u64, wanted: &Wanted) -> Self {
        let mut random = Random::new(seed ^ 0x5ce9_a210);
        let grid = match wanted.tiles >= MANY_TILES {
            true => TileGrid::new(
                Size {
                    width: 512,
                    height: 512,
                },
                64,
            ),
            false => draw_grid(&mut random),
        };
        let frames = wanted.tiles.div_ceil(u64::from(grid.tile_count())).max(1);
        let mut members = draw_members(&mut random, wanted);
        let mut own_engine = random.percent(70);
        let honest = members
            .iter()
            .filter(|member| member.strategy == Strategy::Honest);
        if honest.count() < 3 {
            own_engine = true;
        }
        if wanted.chaos == 0 && wanted.cheats_percent == 0 {
            own_engine = true;
        }
        members
            .iter_mut()
            .filter(|member| member.strategy == Strategy::Honest)
            .take(3)
            .for_each(|member| member.comes_back = true);
        let mut scenario = Self::calm(seed, grid, (1..=frames as i32).collect(), members);
        scenario.own_engine = own_engine;
        scenario.budget = wanted.budget;
        scenario.deadline = wanted.deadline;
        scenario.go_wrong(wanted, &mut random);
        if wanted.chaos > 0 {
            scenario.mix_classes();
        }
        scenario
    }

    /// In some jobs classes are mixed; the first worker stays of the own engine's.
    fn mix_classes(&mut self) {
        let mut random = Random::new(self.seed ^ 0x0c1a_55e5);
        self.mixed_classes = random.percent(MIXED_PERCENT);
        if !self.mixed_classes {
            return;
        }
        self.own_engine = !random.percent(ENGINELESS_PERCENT);
        for member in self.members.iter_mut().skip(1) {
            let strategy = member.strategy;
            let may = strategy == Strategy::Honest || Strategy::TROUBLE_ACROSS.contains(&strategy);
            if may && random.percent(ACROSS_PERCENT) {
                member.class = OTHER_CLASS;
            }
        }
    }

    fn go_wrong(&mut self, wanted: &Wanted, random: &mut Random) {
        let ideal = self.ideal_ms();
        if wanted.crashes > 0 {
            // Two events a tile and one or two for its probes, ticks, and what follows from failures.
            let writes = self.tile_count() * 4 + ideal / 100;
            self.crashes = Crashes::Often(wanted.crashes, writes / u64::from(wanted.crashes) / 2);
        }
        let chaotic = wanted.chaos > 0 || wanted.crashes > 0;
        if chaotic {
            self.journal_ms = random.pick(&[0, 1, 5, 30]);
        }
        if wanted.chaos == 0 {
            return;
        }
        self.failures = wanted.failures.clone();
        self.trouble_every_ms = (ideal * 3 / wanted.chaos).max(20_000);
        self.troubles_until = ideal * TROUBLES_TIMES + TROUBLES_MS;
        self.resumes_max = 30;
        let has = |failure| wanted.failures.contains(&failure);
        for member in &mut self.members {
            if has(Failure::SlowLinks) && random.percent(10 * wanted.chaos) {
                member.link.latency_ms = random.between(200, 2_000);
                member.link.bytes_per_ms = random.between(50, 1_000);
            }
            if has(Failure::Drift) && random.percent(50) {
                member.drift = random.between(0, 10_000) as i64 - 5_000;
            }
        }
    }

    /// Tiles of the job.
    pub fn tile_count(&self) -> u64 {
        self.frames.len() as u64 * u64::from(self.grid.tile_count())
    }

    /// Time that the job takes if its honest workers do nothing but its tiles, without overlaps, and all end at once.
    pub fn ideal_ms(&self) -> Millis {
        let pixels = self.grid.size.area() * self.frames.len() as u64;
        let samples = u128::from(pixels) * u128::from(SAMPLES);
        let honest = |member: &&Member| member.strategy == Strategy::Honest;
        let speeds = self.members.iter().filter(honest);
        let percent: u64 = speeds.map(|member| member.speed_percent).sum();
        let work = samples * u128::from(MEGASAMPLE_MS) / 1_000_000;
        (work * 100 / u128::from(percent.max(1))) as Millis
    }

    /// Does this job have to end with all frames written, because somebody honest is there to the end and what it does
    /// can be checked? Without an engine of the requestor's own that takes three.
    pub fn must_be_done(&self) -> bool {
        let honest = |member: &&Member| {
            member.strategy == Strategy::Honest && member.comes_back && member.class == CLASS
        };
        let honest = self.members.iter().filter(honest).count();
        let checked = self.own_engine || (honest >= 3 && !self.mixed_classes);
        honest >= 1 && checked && self.budget.is_none() && self.deadline.is_none()
    }
}

/// Frames of up to twelve tiles, cut by less than a cell, so that no tile is too small for probes to be sure.
pub fn draw_grid(random: &mut Random) -> TileGrid {
    let tile_px = 64 + random.below(96) / 8 * 8;
    let mut side = |tiles| (tile_px * (1 + random.below(tiles)) - random.below(8)) as u32;
    let (width, height) = (side(4), side(3));
    let size = Size { width, height };
    match random.below(4) {
        0 => TileGrid::new(size, 0),
        _ => TileGrid::new(size, tile_px as u32),
    }
}

fn draw_members(random: &mut Random, wanted: &Wanted) -> Vec<Member> {
    let mut members = Vec::with_capacity(wanted.workers as usize);
    let owns = random.percent(30);
    let is_calm = wanted.chaos == 0;
    let mixes = !is_calm && wanted.workers >= MIXED_WORKERS;
    for number in 0..wanted.workers {
        // The first is honest, and is the user's own in some runs.
        let cheats = number > 0 && random.percent(wanted.cheats_percent);
        let strategy = match cheats {
            true => random.pick(Strategy::TROUBLE),
            false if mixes && number > 0 && random.percent(OTHER_CLASS_PERCENT) => {
                Strategy::OtherClass
            }
            false => Strategy::Honest,
        };
        let trust = match owns && number == 0 && !is_calm {
            true => Trust::Own,
            false => Trust::Unknown,
        };
        let mut member = Member::plain(strategy, trust);
        member.speed_percent = match number + wanted.slow >= wanted.workers {
            true => 10,
            false => random.weighted(&SPEEDS),
        };
        member.price_megasample = Glm::from_wei(u128::from(random.between(500_000, 2_000_000)));
        member.hold_ms = random.weighted(&HOLDS);
        member.comes_back = number == 0 || random.percent(60);
        member.link = Link::new(random.between(2, 80), random.between(1_000, 20_000));
        members.push(member);
    }
    members
}
