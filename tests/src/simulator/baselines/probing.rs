//! Our scheme: probes of every tile, drawn by the real verifier from a real commitment for several workers each; some
//! tiles rendered twice whole; rim cells that neighbours render; pay held back; and all that a caught worker delivered or
//! vouched for taken up again. A single wrong cell is taken for bad memory, as the coordinator does: it costs the tile, the
//! third one the job.

use super::{
    TILE_CELLS, Tally,
    crowd::{Answer, Crowd, Number, value_at},
    policy::{Judge, Part, Policy, Probes},
};
use crate::simulator::strategies::Strategy;
use farm::limits::{FLAKY_MAX, OWN_AUDIT_ONE_OF};
use protocol::{Blake3Hash, NodeId};
use std::collections::{HashMap, VecDeque};
use verifier::{Claim, Trust, Verdict};

/// Opinions in a dispute before nobody is blamed.
const OPINIONS_MAX: usize = 9;
/// Times that a tile is rendered before the job gives it up.
const TRIES_MAX: u32 = 50;

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
            let probes = job.draw_probes(tile, 0, &answer);
            let unseen = job.check_copy(tile, 0, &answer, copier, false).passed
                && job.check(0, &answer, probes, false).passed;
            passed += u64::from(unseen);
        }
    }
    (wrong, passed)
}

/// Somebody who was shown to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loser {
    number: Number,
    /// In a single cell of many, which saves no work.
    is_isolated: bool,
}

/// What came of a check.
struct Checked {
    passed: bool,
    losers: Vec<Loser>,
    vouchers: Vec<Number>,
}

impl Checked {
    fn nothing_seen() -> Self {
        Self {
            passed: true,
            losers: Vec::new(),
            vouchers: Vec::new(),
        }
    }

    /// Adds those who lost; false if the worker of the tile is one of them.
    fn add(&mut self, losers: Vec<Loser>, worker: Number) -> bool {
        self.passed &= losers.iter().all(|loser| loser.number != worker);
        self.losers.extend(losers);
        self.passed
    }
}

impl Job {
    fn new(mut crowd: Crowd, policy: Policy) -> Self {
        let secret = crowd.random.bytes();
        Self {
            crowd,
            policy,
            secret,
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
        self.crowd.tally.rendered += self.policy.probe_share() + self.policy.rim_share();
        let mut checked = self.check_copy(tile, worker, &answer, copier, ring_alone);
        // A copy that says the same is paid if the tile is accepted.
        let confirmed = copier.filter(|_| checked.passed && checked.losers.is_empty());
        if checked.passed && self.may_differ(&answer) {
            let probes = self.draw_probes(tile, worker, &answer);
            let more = self.check(worker, &answer, probes, true);
            checked.passed = more.passed;
            checked.losers.extend(more.losers);
            checked.vouchers.extend(more.vouchers);
        }
        for loser in checked.losers {
            self.convict(loser);
        }
        if self.crowd.is_banned(worker) || !checked.passed {
            self.crowd.refuse(worker);
            return self.todo.push_back(tile);
        }
        if let Some(copier) = confirmed {
            self.earn(copier);
        }
        self.accept(tile, worker, answer, checked.vouchers);
    }

    /// A tile's pay, for whoever rendered it first or again: held back for a while.
    fn earn(&mut self, number: Number) {
        let person = &mut self.crowd.people[number];
        match person.held < self.policy.checks.held_tiles {
            true => person.held += 1,
            false => self.crowd.pay(number, 1.0),
        }
    }

    /// Who renders a tile a second time, if anybody does.
    fn draw_copier(&mut self, worker: Number) -> Option<Number> {
        let draw = self.crowd.random.below(verifier::trust::SHARES.into());
        let is_copied = draw < self.policy.checks.replica_share.into();
        is_copied.then(|| self.crowd.draw(&[worker])).flatten()
    }

    fn accept(&mut self, tile: u32, worker: Number, answer: Answer, vouchers: Vec<Number>) {
        let is_bad = answer.is_some();
        self.standing.insert(tile, Standing { worker, is_bad });
        self.delivered.entry(worker).or_default().push(tile);
        if is_bad {
            self.wrong.insert(tile, answer);
            for voucher in vouchers {
                match self.crowd.is_banned(voucher) {
                    true => self.check_again(tile),
                    false => self.vouched.entry(voucher).or_default().push(tile),
                }
            }
        }
        self.earn(worker);
    }

    /// A worker has lost. If by single cells, only too many of them end its part in the job, and what was accepted of it
    /// stands and is paid; else all it did is taken up again and its held pay is kept.
    fn convict(&mut self, loser: Loser) {
        let number = loser.number;
        if self.crowd.is_banned(number) {
            return;
        }
        let person = &mut self.crowd.people[number];
        if loser.is_isolated && person.flaky < FLAKY_MAX {
            person.flaky += 1;
            return;
        }
        if loser.is_isolated {
            let held = std::mem::take(&mut person.held);
            self.crowd.pay(number, held as f64);
            return self.crowd.ban(number);
        }
        self.crowd.ban(number);
        for tile in self.delivered.remove(&number).unwrap_or_default() {
            self.take_back(tile, number);
        }
        for tile in self.vouched.remove(&number).unwrap_or_default() {
            self.check_again(tile);
        }
    }

    /// A tile of this worker, if it stands, is to be rendered again.
    fn take_back(&mut self, tile: u32, worker: Number) {
        if (self.standing.get(&tile)).is_some_and(|standing| standing.worker == worker) {
            self.standing.remove(&tile);
            self.crowd.refuse(worker);
            self.wrong.remove(&tile);
            self.todo.push_back(tile);
        }
    }

    /// Somebody who vouched for a tile was caught: another worker looks at what is kept for that.
    fn check_again(&mut self, tile: u32) {
        let (Some(standing), Some(answer)) = (self.standing.get(&tile), self.wrong.get(&tile))
        else {
            return;
        };
        let (worker, answer) = (standing.worker, answer.clone());
        let Some(later) = self.draw_probes(tile, worker, &answer).later else {
            return;
        };
        self.crowd.tally.rendered += later.share();
        let checked = self.ask_each(worker, &answer, &[later], true);
        for voucher in checked.vouchers {
            self.vouched.entry(voucher).or_default().push(tile);
        }
        if !checked.passed {
            self.take_back(tile, worker);
        }
        for loser in checked.losers {
            self.convict(loser);
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
        let mut checked = Checked::nothing_seen();
        let Some(copier) = copier else {
            return checked;
        };
        let copy = self.crowd.deliver(copier, tile, ring_alone);
        if copy == *answer {
            checked.vouchers.push(copier);
            return checked;
        }
        let differs = |cell: &usize| value_at(answer, *cell) != value_at(&copy, *cell);
        let wrong: Vec<usize> = (0..TILE_CELLS as usize).filter(differs).collect();
        // Two may fake other pixels of the same cells alike.
        let cell = wrong.first().copied().unwrap_or(0);
        let claims = [
            (worker, value_at(answer, cell)),
            (copier, value_at(&copy, cell)),
        ];
        let losers = self.decide(&claims, wrong.len() == 1);
        if losers.iter().all(|loser| loser.number != copier) {
            self.earn(copier);
        }
        checked.add(losers, worker);
        checked
    }

    /// Can anybody who checks this see or say anything but that it is right?
    fn may_differ(&self, answer: &Answer) -> bool {
        let setting = &self.crowd.setting;
        answer.is_some() || setting.hostile_percent > 0 && setting.strategy.lies_as_prober()
    }

    /// What is drawn of a tile.
    fn draw_probes(&mut self, tile: u32, worker: Number, answer: &Answer) -> Probes {
        let node = NodeId(*blake3::hash(&worker.to_le_bytes()).as_bytes());
        let spec = Blake3Hash::of(&tile.to_le_bytes());
        let root = Blake3Hash::of(&[u8::from(answer.is_some())]);
        let salt = self.crowd.random.bytes();
        let commitment = verifier::commitment(&node, &spec, &salt, &root);
        self.policy.probes(&self.secret, &commitment)
    }

    /// Rim cells and probes.
    fn check(
        &mut self,
        worker: Number,
        answer: &Answer,
        mut probes: Probes,
        replaces: bool,
    ) -> Checked {
        if self.is_audited() && !probes.dealt.is_empty() {
            let part = probes.dealt.remove(0);
            self.crowd.tally.rendered_by_requestor += part.share();
            let wrong_cells = part.wrong_cells(answer);
            if wrong_cells > 0 {
                let mut checked = Checked::nothing_seen();
                let loser = Loser {
                    number: worker,
                    is_isolated: part.is_isolated(wrong_cells),
                };
                checked.add(vec![loser], worker);
                return checked;
            }
        }
        let mut parts = self.policy.rims(&mut self.crowd.random);
        parts.extend(probes.dealt);
        self.ask_each(worker, answer, &parts, replaces)
    }

    /// Does the requestor's own engine take a part of this tile, as of one stranger's in so many?
    fn is_audited(&mut self) -> bool {
        self.policy.judge == Judge::Requestor
            && self.policy.trust < Trust::Trusted
            && self.crowd.random.below(OWN_AUDIT_ONE_OF.into()) == 0
    }

    /// Asks another worker for each part. A prober that loses is followed by another, unless the crowd is to stay as it is.
    fn ask_each(
        &mut self,
        worker: Number,
        answer: &Answer,
        parts: &[Part],
        replaces: bool,
    ) -> Checked {
        let mut checked = Checked::nothing_seen();
        let mut asked = vec![worker];
        let mut at = 0;
        while at < parts.len() {
            let others = self.crowd.draw(&asked);
            let Some(prober) = others.or_else(|| self.crowd.draw(&[worker])) else {
                break;
            };
            asked.push(prober);
            let Some((claims, is_isolated)) = self.ask(worker, answer, prober, &parts[at]) else {
                if self.vouches(worker, prober) {
                    checked.vouchers.push(prober);
                }
                at += 1;
                continue;
            };
            let losers = self.decide(&claims, is_isolated);
            let prober_lost = losers.iter().any(|loser| loser.number == prober);
            if !checked.add(losers, worker) {
                break;
            }
            let goes_on = replaces && prober_lost && asked.len() < self.crowd.people.len();
            at += usize::from(!goes_on);
        }
        checked
    }

    fn vouches(&self, worker: Number, other: Number) -> bool {
        self.crowd.is_of_ring(worker) && self.crowd.is_of_ring(other)
    }

    /// What tile and prober say of the first cell on which they differ, if they do, and whether it is the only one.
    fn ask(
        &mut self,
        worker: Number,
        answer: &Answer,
        prober: Number,
        part: &Part,
    ) -> Option<([(Number, u32); 2], bool)> {
        if self.vouches(worker, prober) {
            return None;
        }
        let strategy = self.crowd.setting.strategy;
        let lies = self.crowd.is_hostile(prober) && strategy.lies_as_prober();
        let (wrong_cells, said) = match lies && !matches!(part, Part::Rim(_)) {
            true => (lied_about(strategy, part), LIE),
            false => (part.wrong_cells(answer), 0),
        };
        let mine = answer.as_ref().map_or(0, |faked| faked.filler);
        let claims = [(worker, mine), (prober, said)];
        (wrong_cells > 0).then(|| (claims, part.is_isolated(wrong_cells)))
    }

    /// Who is wrong about a cell.
    fn decide(&mut self, claims: &[(Number, u32)], is_isolated: bool) -> Vec<Loser> {
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
                Verdict::Rejected { parties, .. } => {
                    let loser = |number| Loser {
                        number,
                        is_isolated,
                    };
                    return parties.into_iter().map(loser).collect();
                }
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
                let held = self.crowd.people[number].held as f64;
                self.crowd.pay(number, held);
            }
        }
        self.crowd.finish()
    }
}

/// About how many cells of its part a lying prober lies.
fn lied_about(strategy: Strategy, part: &Part) -> usize {
    match strategy {
        Strategy::GarbageProber | Strategy::RepeatingProber => part.cells(),
        _ => 1,
    }
}

/// What a lying prober says.
const LIE: u32 = u32::MAX;
