//! Our scheme: secret pixels of every cell of every tile, drawn by the real verifier from a real commitment for
//! several workers each; some tiles rendered twice whole; a few secret rim cells that neighbours render; pay held back; and all
//! that a caught worker delivered or vouched for taken up again.

use super::{
    TILE, TILE_CELLS, Tally,
    alone::outermost,
    crowd::{Answer, Crowd, Number, value_at},
};
use protocol::{Blake3Hash, NodeId};
use std::collections::{HashMap, VecDeque};
use verifier::{Claim, ProbeShape, Trust, Verdict};

/// Secret rim cells of a tile that its neighbours' workers render, on each side.
const RIM_CELLS_PER_SIDE: usize = 4;
/// Opinions in a dispute before nobody is blamed.
const OPINIONS_MAX: usize = 9;
/// Times that a tile is rendered before the job gives it up.
const TRIES_MAX: u32 = 50;

/// Who decides when two disagree about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The requestor renders it.
    Requestor,
    /// Other workers, until two agree.
    Workers,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What people call it.
    pub name: &'static str,
    /// The level whose probes are drawn.
    pub trust: Trust,
    /// Of a thousand tiles so many are rendered twice whole.
    pub replicas_permille: u64,
    /// Accepted tiles of a worker whose pay is held back.
    pub hold: u32,
    /// Who decides disputes.
    pub judge: Judge,
}

impl Policy {
    /// Strangers.
    pub const UNKNOWN: Policy = Policy {
        name: "ours, unknown",
        trust: Trust::Unknown,
        replicas_permille: 250,
        hold: 20,
        judge: Judge::Requestor,
    };
    /// Those known for a while.
    pub const PROBATION: Policy = Policy {
        name: "ours, probation",
        trust: Trust::Probation,
        replicas_permille: 200,
        hold: 64,
        judge: Judge::Requestor,
    };
    /// Those known for long.
    pub const TRUSTED: Policy = Policy {
        name: "ours, trusted",
        trust: Trust::Trusted,
        replicas_permille: 20,
        hold: 32,
        judge: Judge::Requestor,
    };
    /// Strangers that are judged by others alone: no engine where the requestor is.
    pub const JUDGED_BY_WORKERS: Policy = Policy {
        name: "ours, no own engine",
        judge: Judge::Workers,
        ..Policy::UNKNOWN
    };
}

/// The cells of a tile that each of its probers sees a pixel of: where the models meet the verifier.
fn probe_groups(secret: &[u8; 32], commitment: &Blake3Hash, policy: &Policy) -> Vec<Vec<usize>> {
    let policy = policy.trust.policy();
    let drawn = verifier::draw_pixels(secret, commitment, &policy, policy.probe_pixels);
    // The first are kept for later.
    let probers = drawn.iter().skip(1);
    probers
        .map(|_| (0..TILE_CELLS as usize).collect())
        .collect()
}

/// A tile that was accepted.
struct Standing {
    worker: Number,
    is_bad: bool,
}

/// A job under way.
struct Job {
    crowd: Crowd,
    policy: Policy,
    secret: [u8; 32],
    probe_share: f64,
    standing: HashMap<u32, Standing>,
    /// What each worker has standing.
    delivered: HashMap<Number, Vec<u32>>,
    /// The accomplices that vouched for a wrong tile that stands.
    vouched: HashMap<Number, Vec<u32>>,
    /// Answers of wrong tiles that stand, to be checked again.
    wrong: HashMap<u32, Answer>,
    todo: VecDeque<u32>,
    tries: HashMap<u32, u32>,
}

/// Does a job.
pub fn run(crowd: Crowd, policy: Policy) -> Tally {
    let tiles = crowd.setting.tiles;
    let mut job = Job::new(crowd, policy);
    job.todo.extend(0..tiles);
    while let Some(tile) = job.todo.pop_front() {
        job.render(tile);
    }
    job.finish()
}

/// How many wrong tiles there were and how many of them passed all checks, where each is of another worker that fakes
/// this one only: nobody is caught by a second tile. The crowd, whose first is hostile, stays as it is.
pub fn passed_alone(crowd: Crowd, policy: Policy) -> (u64, u64) {
    let tiles = crowd.setting.tiles;
    let mut job = Job::new(crowd, policy);
    let (mut wrong, mut passed) = (0, 0);
    for tile in 0..tiles {
        let copier = job.draw_copier(0);
        let answer = job.crowd.deliver(0, tile, false);
        if answer.is_some() {
            wrong += 1;
            let unseen = job.check_copy(tile, 0, &answer, copier, false).passed
                && job.check(tile, 0, &answer, false).passed;
            passed += u64::from(unseen);
        }
    }
    (wrong, passed)
}

/// What came of a check.
struct Checked {
    passed: bool,
    losers: Vec<Number>,
    vouchers: Vec<Number>,
}

impl Job {
    fn new(mut crowd: Crowd, policy: Policy) -> Self {
        let secret = crowd.random.bytes();
        let trust = policy.trust.policy();
        let probes = verifier::probe_pixels_max(&TILE, ProbeShape::Pixels, &trust);
        let probe_share = probes as f64 / TILE.area() as f64;
        Self {
            crowd,
            policy,
            secret,
            probe_share,
            standing: HashMap::new(),
            delivered: HashMap::new(),
            vouched: HashMap::new(),
            wrong: HashMap::new(),
            todo: VecDeque::new(),
            tries: HashMap::new(),
        }
    }

    fn render(&mut self, tile: u32) {
        let tries = self.tries.entry(tile).or_default();
        *tries += 1;
        let Some(worker) = self.crowd.draw(&[]).filter(|_| *tries <= TRIES_MAX) else {
            self.crowd.tally.unfinished += 1;
            return;
        };
        let copier = self.draw_copier(worker);
        let ring_alone = copier.is_some_and(|copier| self.crowd.is_of_ring(copier))
            && self.crowd.is_of_ring(worker);
        let answer = self.crowd.deliver(worker, tile, ring_alone);
        let rim = (4 * RIM_CELLS_PER_SIDE) as f64 / f64::from(TILE_CELLS);
        self.crowd.tally.rendered += self.probe_share + rim;
        let mut checked = self.check_copy(tile, worker, &answer, copier, ring_alone);
        if checked.passed {
            let more = self.check(tile, worker, &answer, true);
            checked.passed = more.passed;
            checked.losers.extend(more.losers);
            checked.vouchers.extend(more.vouchers);
        }
        for loser in checked.losers {
            self.catch(loser);
        }
        if self.crowd.is_banned(worker) || !checked.passed {
            self.crowd.refuse(worker);
            return self.todo.push_back(tile);
        }
        self.accept(tile, worker, answer, checked.vouchers);
    }

    /// Who renders a tile a second time, if anybody does.
    fn draw_copier(&mut self, worker: Number) -> Option<Number> {
        let is_copied = self.crowd.random.below(1_000) < self.policy.replicas_permille;
        is_copied.then(|| self.crowd.draw(&[worker])).flatten()
    }

    fn accept(&mut self, tile: u32, worker: Number, answer: Answer, vouchers: Vec<Number>) {
        let is_bad = answer.is_some();
        self.standing.insert(tile, Standing { worker, is_bad });
        self.delivered.entry(worker).or_default().push(tile);
        if is_bad {
            for voucher in vouchers {
                self.vouched.entry(voucher).or_default().push(tile);
            }
            self.wrong.insert(tile, answer);
        }
        let person = &mut self.crowd.people[worker];
        match person.held < self.policy.hold {
            true => person.held += 1,
            false => self.crowd.pay(worker, 1.0),
        }
    }

    /// A worker has lost: what it delivered is rendered again, what it vouched for is checked again, its held pay is kept.
    fn catch(&mut self, number: Number) {
        if self.crowd.is_banned(number) {
            return;
        }
        self.crowd.ban(number);
        for tile in self.delivered.remove(&number).unwrap_or_default() {
            if (self.standing.get(&tile)).is_some_and(|standing| standing.worker == number) {
                self.standing.remove(&tile);
                self.crowd.refuse(number);
                self.wrong.remove(&tile);
                self.todo.push_back(tile);
            }
        }
        for tile in self.vouched.remove(&number).unwrap_or_default() {
            self.check_again(tile);
        }
    }

    fn check_again(&mut self, tile: u32) {
        let (Some(standing), Some(answer)) = (self.standing.get(&tile), self.wrong.get(&tile))
        else {
            return;
        };
        let (worker, answer) = (standing.worker, answer.clone());
        self.crowd.tally.rendered += self.probe_share;
        let checked = self.check(tile, worker, &answer, true);
        for voucher in checked.vouchers {
            self.vouched.entry(voucher).or_default().push(tile);
        }
        for loser in checked.losers {
            self.catch(loser);
        }
    }

    fn check_copy(
        &mut self,
        tile: u32,
        worker: Number,
        answer: &Answer,
        copier: Option<Number>,
        ring_alone: bool,
    ) -> Checked {
        let mut checked = Checked {
            passed: true,
            losers: Vec::new(),
            vouchers: Vec::new(),
        };
        let Some(copier) = copier else {
            return checked;
        };
        let copy = self.crowd.deliver(copier, tile, ring_alone);
        if copy == *answer {
            self.crowd.pay(copier, 1.0);
            checked.vouchers.push(copier);
            return checked;
        }
        let differs = |cell: &usize| value_at(answer, *cell) != value_at(&copy, *cell);
        let cell = (0..TILE_CELLS as usize).find(differs).unwrap_or(0);
        let claims = [
            (worker, value_at(answer, cell)),
            (copier, value_at(&copy, cell)),
        ];
        checked.losers = self.decide(&claims);
        checked.passed = !checked.losers.contains(&worker);
        if !checked.losers.contains(&copier) {
            self.crowd.pay(copier, 1.0);
        }
        checked
    }

    /// Rim cells and probes. A prober that loses is followed by another, unless the crowd is to stay as it is.
    fn check(&mut self, tile: u32, worker: Number, answer: &Answer, replaces: bool) -> Checked {
        let mut checked = Checked {
            passed: true,
            losers: Vec::new(),
            vouchers: Vec::new(),
        };
        let lies = self.crowd.setting.strategy.lies_as_prober();
        if answer.is_none() && !(lies && self.crowd.setting.hostile_percent > 0) {
            return checked;
        }
        let mut groups: Vec<Vec<usize>> = (0..4)
            .map(|side| {
                let cells: Vec<usize> = outermost(side).collect();
                let pick = |_| cells[self.crowd.random.below(cells.len() as u64) as usize];
                (0..RIM_CELLS_PER_SIDE).map(pick).collect()
            })
            .collect();
        let rims = groups.len();
        let commitment = self.commitment(tile, worker, answer);
        groups.extend(probe_groups(&self.secret, &commitment, &self.policy));
        let mut asked = vec![worker];
        let mut at = 0;
        while at < groups.len() {
            let prober = self
                .crowd
                .draw(&asked)
                .or_else(|| self.crowd.draw(&[worker]));
            let Some(prober) = prober else {
                break;
            };
            asked.push(prober);
            let Some((mine, theirs)) = self.ask(worker, answer, prober, &groups[at], at < rims)
            else {
                if self.vouches(worker, prober) {
                    checked.vouchers.push(prober);
                }
                at += 1;
                continue;
            };
            let losers = self.decide(&[(worker, mine), (prober, theirs)]);
            checked.passed = !losers.contains(&worker);
            let goes_on =
                replaces && losers.contains(&prober) && asked.len() < self.crowd.people.len();
            checked.losers.extend(losers);
            if !checked.passed {
                break;
            }
            at += usize::from(!goes_on);
        }
        checked
    }

    fn commitment(&mut self, tile: u32, worker: Number, answer: &Answer) -> Blake3Hash {
        let node = NodeId(*blake3::hash(&worker.to_le_bytes()).as_bytes());
        let spec = Blake3Hash::of(&tile.to_le_bytes());
        let root = Blake3Hash::of(&[u8::from(answer.is_some())]);
        verifier::commitment(&node, &spec, &self.crowd.random.bytes(), &root)
    }

    fn vouches(&self, worker: Number, other: Number) -> bool {
        self.crowd.is_of_ring(worker) && self.crowd.is_of_ring(other)
    }

    /// The first of these cells on which a prober contradicts a tile, and what each says.
    fn ask(
        &mut self,
        worker: Number,
        answer: &Answer,
        prober: Number,
        cells: &[usize],
        is_rim: bool,
    ) -> Option<(u32, u32)> {
        if self.vouches(worker, prober) {
            return None;
        }
        let lies = self.crowd.is_hostile(prober) && self.crowd.setting.strategy.lies_as_prober();
        if lies && !is_rim {
            return cells.first().map(|cell| (value_at(answer, *cell), LIE));
        }
        let mine = cells.iter().map(|cell| value_at(answer, *cell));
        mine.into_iter()
            .find(|mine| *mine != 0)
            .map(|mine| (mine, 0))
    }

    /// Who is wrong about a cell.
    fn decide(&mut self, claims: &[(Number, u32)]) -> Vec<Number> {
        let value = |said: u32| Blake3Hash::of(&said.to_le_bytes());
        let mut claims: Vec<Claim<Number>> = claims
            .iter()
            .map(|&(party, said)| Claim {
                party,
                value: value(said),
            })
            .collect();
        let (first, second) = (claims[0], claims[1]);
        let mut own = None;
        if self.policy.judge == Judge::Requestor {
            own = Some(value(0));
            let cell = 1.0 / f64::from(TILE_CELLS);
            self.crowd.tally.rendered += cell;
            self.crowd.tally.rendered_by_requestor += cell;
        }
        while claims.len() < OPINIONS_MAX {
            match verifier::arbitrate(&claims, own) {
                Verdict::Accepted => return Vec::new(),
                Verdict::Rejected { parties, .. } => return parties,
                Verdict::Inconclusive => {}
            }
            let parties: Vec<Number> = claims.iter().map(|claim| claim.party).collect();
            let Some(judge) = self.crowd.draw(&parties) else {
                break;
            };
            let side = [&first, &second]
                .into_iter()
                .find(|claim| self.vouches(claim.party, judge));
            claims.push(Claim {
                party: judge,
                value: side.map_or(value(0), |claim| claim.value),
            });
        }
        Vec::new()
    }

    fn finish(mut self) -> Tally {
        let bad = self.standing.values().filter(|standing| standing.is_bad);
        self.crowd.tally.bad_accepted += bad.count() as u64;
        for number in 0..self.crowd.people.len() {
            if !self.crowd.is_banned(number) {
                let held = f64::from(self.crowd.people[number].held);
                self.crowd.pay(number, held);
            }
        }
        self.crowd.finish()
    }
}

/// What a lying prober says.
const LIE: u32 = u32::MAX;
