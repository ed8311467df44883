//! Random sequences of calls: after each call the chain has to be exactly as the model says, and the invariants have to hold
//! whatever the model says.

use crate::{
    calls::{
        self, Channel, Contracts, Key, Refusal, Release, Signature, address, escrow, probe, uint,
    },
    evm::Evm,
    model::{
        ACCOUNTS, CLOSED, Delegation, FUNDS, Model, No, OWNER, Pair, Promise, REQUESTORS, STRANGER,
        Seal, Step, THAW, WORKERS,
    },
};
use protocol::{
    Address, Glm,
    message::{SignedVoucher, Voucher},
};
use std::{collections::HashMap, fmt::Write};

const AMOUNT_MAX: u64 = 12;
const STEPS_MIN: u64 = 6;
const STEPS_MAX: u64 = 24;

/// The accounts, and signatures made before: the same promises come up again and again.
pub struct Cast {
    keys: Vec<Key>,
    addresses: [Address; ACCOUNTS],
    signatures: HashMap<(usize, [u8; 32]), Signature>,
}

impl Cast {
    pub fn new() -> Self {
        let keys: Vec<Key> = (0..ACCOUNTS as u8)
            .map(|number| Key::new(21 + number))
            .collect();
        Self {
            addresses: std::array::from_fn(|number| keys[number].address()),
            keys,
            signatures: HashMap::new(),
        }
    }

    /// Makes the contracts, with funds for everybody who pays.
    pub fn deploy(&self, evm: &mut dyn Evm, chain_id: u64) -> Stage {
        let contracts = Contracts::deploy(evm, chain_id, calls::test_token());
        for account in [REQUESTORS[0], REQUESTORS[1], REQUESTORS[2], OWNER, STRANGER] {
            contracts.fund(evm, self.addresses[account], FUNDS);
        }
        evm.send(Address([0xd0; 20]), None, &probe().bytecode)
            .unwrap();
        Stage {
            contracts,
            probe: evm.created(),
        }
    }

    fn sign(&mut self, account: usize, digest: [u8; 32]) -> Signature {
        let key = &self.keys[account];
        *self
            .signatures
            .entry((account, digest))
            .or_insert_with(|| key.sign(digest))
    }
}

/// The contracts of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    contracts: Contracts,
    probe: Address,
}

/// How often each call was made and what came of it.
#[derive(Debug, Default, Clone)]
pub struct Counts(HashMap<&'static str, [u64; 2]>);

impl Counts {
    pub fn add(&mut self, other: &Self) {
        for (name, [accepted, refused]) in &other.0 {
            let sum = self.0.entry(name).or_default();
            sum[0] += accepted;
            sum[1] += refused;
        }
    }

    pub fn calls(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// The calls that were never accepted or never refused.
    pub fn one_sided(&self) -> Vec<&'static str> {
        let is_one_sided = |[accepted, refused]: &[u64; 2]| *accepted == 0 || *refused == 0;
        self.0
            .iter()
            .filter(|(_, counts)| is_one_sided(counts))
            .map(|(name, _)| *name)
            .collect()
    }

    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort();
        rows.iter()
            .fold(String::new(), |mut text, (name, [accepted, refused])| {
                writeln!(
                    text,
                    "{name:20} {accepted:>10} accepted {refused:>10} refused"
                )
                .unwrap();
                text
            })
    }
}

/// splitmix64: a seed gives the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    fn amount(&mut self) -> u128 {
        self.below(AMOUNT_MAX + 1).into()
    }
}

/// Runs the sequence of a seed; an error names the seed and the steps.
pub fn run(evm: &mut dyn Evm, stage: &Stage, cast: &mut Cast, seed: u64) -> Result<Counts, String> {
    let mut sequence = Sequence {
        stage: *stage,
        random: Random(seed),
        model: Model::new(),
        promised: HashMap::new(),
        counts: Counts::default(),
    };
    let mut story = String::new();
    let mut seen = sequence.look(evm, cast);
    // Every other time the hot key has an owner from the beginning.
    let mut first = Vec::new();
    if sequence.random.one_in(2) {
        first = vec![Step::Raise(OWNER, 2, 3 * FUNDS / 4), Step::Serve(2, OWNER)];
    }
    for _ in 0..STEPS_MIN + sequence.random.below(STEPS_MAX - STEPS_MIN + 1) {
        if sequence.random.one_in(3) {
            let seconds = sequence.random.below(2 * THAW);
            writeln!(story, "pass {seconds} s").unwrap();
            evm.pass(seconds);
        }
        let step = first.pop().unwrap_or_else(|| sequence.draw());
        writeln!(story, "{step:?}").unwrap();
        seen = sequence
            .check(evm, cast, &step, seen)
            .map_err(|problem| format!("seed {seed}: {problem}, after\n{story}"))?;
    }
    Ok(sequence.counts)
}

struct Sequence {
    stage: Stage,
    random: Random,
    model: Model,
    /// The most that was rightly promised or agreed in an epoch.
    promised: HashMap<(Pair, u64), u128>,
    counts: Counts,
}

impl Sequence {
    fn any_pair(&mut self) -> Pair {
        (self.random.index(3), self.random.index(3))
    }

    /// Mostly one with an open channel, if there is one.
    fn pair(&mut self) -> Pair {
        let (requestor, worker) = self.any_pair();
        let is_open = |channel: Channel| channel.epochs != 0 && channel.withdrawable_at != CLOSED;
        let mut pairs = (0..9).map(|step| ((requestor + step / 3) % 3, (worker + step) % 3));
        match pairs.find(|pair| is_open(self.channel(*pair))) {
            Some(open) if !self.random.one_in(12) => open,
            _ => (requestor, worker),
        }
    }

    fn channel(&self, (requestor, worker): Pair) -> Channel {
        self.model.channels[requestor][worker]
    }

    /// Mostly the present epoch.
    fn epoch(&mut self, pair: Pair) -> u64 {
        match self.random.below(10) {
            0 => self.random.below(4),
            1 => self.channel(pair).epochs,
            _ => self.channel(pair).epochs.saturating_sub(1),
        }
    }

    /// Mostly one that can be opened, and mostly as it must be.
    fn opening(&mut self, requestor: usize) -> (usize, u64, u128) {
        let mut worker = self.random.index(3);
        for _ in 0..3 {
            let channel = self.channel((requestor, worker));
            if channel.epochs == 0 || channel.withdrawable_at == CLOSED {
                break;
            }
            worker = (worker + 1) % 3;
        }
        let epoch = match self.random.below(12) {
            0 => self.random.below(4),
            _ => self.channel((requestor, worker)).epochs,
        };
        (worker, epoch, self.random.amount())
    }

    fn promise(&mut self) -> Promise {
        let pair = self.pair();
        let seal = match self.random.below(30) {
            0 => Seal::OtherKey(self.random.index(ACCOUNTS)),
            1 => Seal::Twin,
            2 => Seal::Altered,
            3 => Seal::RecoveryId,
            _ => Seal::Good,
        };
        Promise {
            pair,
            epoch: self.epoch(pair),
            cumulative: self.random.amount() + self.random.amount() / 2,
            seal,
        }
    }

    /// Mostly of no more than the deposit, as a release must be.
    fn covered(&mut self) -> Promise {
        let mut promise = self.promise();
        if !self.random.one_in(5) {
            promise.cumulative = promise.cumulative.min(self.channel(promise.pair).deposit);
        }
        promise
    }

    /// Mostly somebody who may.
    fn payer(&mut self, (requestor, _): Pair) -> usize {
        match self.random.below(8) {
            0 => self.random.index(ACCOUNTS),
            1 => OWNER,
            _ => requestor,
        }
    }

    fn announced(&self) -> Option<Pair> {
        let mut pairs = (0..9).map(|number| (number / 3, number % 3));
        pairs.find(|pair| self.channel(*pair).withdrawable_at > CLOSED)
    }

    fn owner(&mut self) -> usize {
        if self.random.one_in(5) {
            STRANGER
        } else {
            OWNER
        }
    }

    /// Mostly one that serves somebody, if there is one.
    fn key(&mut self) -> usize {
        let key = self.random.index(3);
        let mut keys = (0..3).map(|step| (key + step) % 3);
        let servant = keys.find(|key| self.model.delegations[*key].owner.is_some());
        servant.filter(|_| !self.random.one_in(8)).unwrap_or(key)
    }

    fn draw(&mut self) -> Step {
        let pair = self.pair();
        let is_open = |channel: &Channel| channel.epochs != 0 && channel.withdrawable_at != CLOSED;
        let is_any_open = self.model.channels.iter().flatten().any(is_open);
        // With nothing open nearly everything is refused.
        let bound = if is_any_open || self.random.one_in(4) {
            100
        } else {
            24
        };
        match self.random.below(bound) {
            0..12 => {
                let (requestor, _) = self.any_pair();
                let (worker, epoch, deposit) = self.opening(requestor);
                Step::Open((requestor, worker), epoch, deposit)
            }
            12..24 => {
                let (requestor, _) = self.any_pair();
                let openings = (0..self.random.below(4))
                    .map(|_| self.opening(requestor))
                    .collect();
                Step::OpenMany(requestor, openings)
            }
            24..34 => Step::TopUp(pair, self.epoch(pair), self.random.amount()),
            34..54 => Step::Redeem(self.random.index(ACCOUNTS), self.promise()),
            54..62 => {
                let promises = (0..self.random.below(5)).map(|_| self.promise()).collect();
                Step::RedeemMany(self.random.index(ACCOUNTS), promises)
            }
            62..71 => Step::Announce(self.payer(pair), pair, self.epoch(pair)),
            71..80 => {
                let announced = self.announced();
                match announced {
                    None if !self.random.one_in(4) => {
                        Step::Announce(self.payer(pair), pair, self.epoch(pair))
                    }
                    _ => {
                        let pair = announced.unwrap_or(pair);
                        Step::Withdraw(self.payer(pair), pair, self.epoch(pair))
                    }
                }
            }
            80..86 => {
                let promise = self.covered();
                Step::Release(self.payer(promise.pair), promise)
            }
            86..89 => Step::ReleaseAndOpen(self.covered(), self.random.amount()),
            89..92 => Step::Serve(2 - self.random.index(3) / 2, self.owner()),
            92..97 => Step::Raise(self.owner(), self.key(), self.random.amount() * 3),
            _ => Step::Revoke(self.owner(), self.key()),
        }
    }

    fn voucher(&self, cast: &Cast, promise: &Promise) -> Voucher {
        let (requestor, worker) = promise.pair;
        self.stage.contracts.voucher(
            cast.addresses[REQUESTORS[requestor]],
            cast.addresses[WORKERS[worker]],
            promise.epoch,
            promise.cumulative,
        )
    }

    /// Signs with what the seal says wrong about it. A key that happens to be the right one makes it good.
    fn seal(
        &mut self,
        cast: &mut Cast,
        promise: &mut Promise,
        signer: usize,
        digest: [u8; 32],
    ) -> Signature {
        let key = match promise.seal {
            Seal::OtherKey(key) => key,
            _ => signer,
        };
        if key == signer && matches!(promise.seal, Seal::OtherKey(_)) {
            promise.seal = Seal::Good;
        }
        let signature = cast.sign(key, digest);
        if promise.seal == Seal::Good {
            let most = self
                .promised
                .entry((promise.pair, promise.epoch))
                .or_default();
            *most = promise.cumulative.max(*most);
        }
        match promise.seal {
            Seal::Twin => signature.malleable_twin(),
            Seal::RecoveryId => Signature {
                v: signature.v - 27,
                ..signature
            },
            _ => signature,
        }
    }

    fn signed(&mut self, cast: &mut Cast, promise: &mut Promise) -> SignedVoucher {
        let mut voucher = self.voucher(cast, promise);
        let digest = payment::voucher::digest(&voucher);
        let requestor = REQUESTORS[promise.pair.0];
        let Signature { v, r, s } = self.seal(cast, promise, requestor, digest);
        if promise.seal == Seal::Altered {
            voucher.cumulative = Glm::from_wei(promise.cumulative + 1);
        }
        SignedVoucher { voucher, r, s, v }
    }

    fn signed_release(&mut self, cast: &mut Cast, promise: &mut Promise) -> Vec<u8> {
        let (requestor, worker) = promise.pair;
        let mut agreed = Release {
            requestor: cast.addresses[REQUESTORS[requestor]],
            worker: cast.addresses[WORKERS[worker]],
            epoch: promise.epoch,
            cumulative: promise.cumulative,
        };
        let digest = agreed.digest(self.stage.contracts.chain_id, self.stage.contracts.escrow);
        let signature = self.seal(cast, promise, WORKERS[worker], digest);
        if promise.seal == Seal::Altered {
            agreed.epoch += 1;
            promise.epoch += 1;
        }
        calls::release(&agreed, signature)
    }

    /// Who calls, and with what. Signing may find out that a seal is good after all.
    fn input(&mut self, cast: &mut Cast, step: &mut Step) -> (usize, Vec<u8>) {
        let worker_of = |cast: &Cast, worker: usize| cast.addresses[WORKERS[worker]];
        let three = |cast: &Cast, (requestor, worker): Pair, epoch: u64| {
            [
                address(cast.addresses[requestor]),
                address(worker_of(cast, worker)),
                uint(epoch),
            ]
        };
        match step {
            Step::Open((requestor, worker), epoch, deposit) => {
                let words = [
                    address(worker_of(cast, *worker)),
                    uint(*epoch),
                    uint(*deposit),
                ];
                (*requestor, calls::call(escrow(), "open", &words))
            }
            Step::OpenMany(requestor, openings) => {
                let openings: Vec<_> = openings
                    .iter()
                    .map(|(worker, epoch, deposit)| (worker_of(cast, *worker), *epoch, *deposit))
                    .collect();
                (*requestor, calls::open_many(&openings))
            }
            Step::TopUp((requestor, worker), epoch, amount) => {
                let words = [
                    address(worker_of(cast, *worker)),
                    uint(*epoch),
                    uint(*amount),
                ];
                (*requestor, calls::call(escrow(), "topUp", &words))
            }
            Step::Redeem(caller, promise) => {
                let signed = self.signed(cast, promise);
                (
                    *caller,
                    calls::call(escrow(), "redeem", &[calls::signed_token(&signed)]),
                )
            }
            Step::RedeemMany(caller, promises) => {
                let signed: Vec<_> = promises
                    .iter_mut()
                    .map(|promise| self.signed(cast, promise))
                    .collect();
                (*caller, calls::redeem_many(&signed))
            }
            Step::Announce(caller, pair, epoch) => (
                *caller,
                calls::call(escrow(), "announceWithdrawal", &three(cast, *pair, *epoch)),
            ),
            Step::Withdraw(caller, pair, epoch) => (
                *caller,
                calls::call(escrow(), "withdraw", &three(cast, *pair, *epoch)),
            ),
            Step::Release(caller, promise) => (*caller, self.signed_release(cast, promise)),
            Step::ReleaseAndOpen(promise, deposit) => {
                let (requestor, worker) = promise.pair;
                let release = self.signed_release(cast, promise);
                let open =
                    calls::open_many(&[(worker_of(cast, worker), promise.epoch + 1, *deposit)]);
                let calls = [release, open].map(calls::Token::Bytes).to_vec();
                (
                    requestor,
                    calls::call(escrow(), "multicall", &[calls::Token::Array(calls)]),
                )
            }
            Step::Serve(caller, owner) => (
                *caller,
                calls::call(escrow(), "serveOwner", &[address(cast.addresses[*owner])]),
            ),
            Step::Raise(caller, key, amount) => {
                let words = [address(cast.addresses[*key]), uint(*amount)];
                (*caller, calls::call(escrow(), "raiseCap", &words))
            }
            Step::Revoke(caller, key) => (
                *caller,
                calls::call(escrow(), "revokeCap", &[address(cast.addresses[*key])]),
            ),
        }
    }

    fn check(
        &mut self,
        evm: &mut dyn Evm,
        cast: &mut Cast,
        step: &Step,
        before: Model,
    ) -> Result<Model, String> {
        let mut step = step.clone();
        let (caller, input) = self.input(cast, &mut step);
        let outcome = evm
            .send(
                cast.addresses[caller],
                Some(self.stage.contracts.escrow),
                &input,
            )
            .map_err(Refusal::from);
        let mut next = self.model.clone();
        let expected = next.take(&step, evm.now());
        let counts = self.counts.0.entry(step.name()).or_default();
        counts[usize::from(outcome.is_err())] += 1;
        match (&outcome, &expected) {
            (Ok(done), Ok(paid)) => {
                self.model = next;
                let returned = done
                    .output
                    .last_chunk()
                    .map_or(0, |low| u128::from_be_bytes(*low));
                let returns_paid = matches!(step, Step::Redeem(..) | Step::RedeemMany(..));
                if returns_paid && returned != *paid {
                    return Err(format!("{returned} was paid, not {paid}"));
                }
            }
            (Err(_), Err(No)) => {}
            (Ok(_), Err(No)) => return Err("accepted, which it must not be".into()),
            (Err(refusal), Ok(_)) => return Err(format!("refused with {refusal:?}")),
        }
        let after = self.look(evm, cast);
        self.invariants(&step, outcome.is_ok(), &before, &after)?;
        if after != self.model {
            return Err(format!(
                "the chain has\n{after:?}\nand the model\n{:?}",
                self.model
            ));
        }
        Ok(after)
    }

    /// The chain as it is.
    fn look(&self, evm: &mut dyn Evm, cast: &Cast) -> Model {
        let list = |accounts: &[usize]| {
            calls::Token::Array(
                accounts
                    .iter()
                    .map(|account| address(cast.addresses[*account]))
                    .collect(),
            )
        };
        let function = probe().abi.function("look").unwrap();
        let input = function
            .encode_input(&[
                address(self.stage.contracts.escrow),
                list(&REQUESTORS),
                list(&WORKERS),
                list(&[0, 1, 2, 3, 4, 5, 6]),
            ])
            .unwrap();
        let output = evm.look(self.stage.probe, &input).unwrap();
        let words = |at: usize| u128::from_be_bytes(*output[..32 * (at + 1)].last_chunk().unwrap());
        // Three arrays: each where its offset says, a length and then its words.
        let array = |number: usize| words(number) as usize / 32 + 1;
        let (channels, delegations, balances) = (array(0), array(1), array(2));
        let mut model = Model::new();
        for requestor in 0..3 {
            for worker in 0..3 {
                let at = channels + 4 * (3 * requestor + worker);
                model.channels[requestor][worker] = Channel {
                    deposit: words(at),
                    claimed: words(at + 1),
                    withdrawable_at: words(at + 2) as u64,
                    epochs: words(at + 3) as u64,
                };
            }
            let at = delegations + 2 * requestor;
            let owner = &output[32 * at + 12..32 * (at + 1)];
            model.delegations[requestor] = Delegation {
                owner: cast.addresses.iter().position(|account| account.0 == owner),
                cap: words(at + 1),
            };
        }
        model.escrow = words(balances);
        model.balances = std::array::from_fn(|account| words(balances + 1 + account));
        model
    }

    /// What must hold of the chain alone, without the model.
    fn invariants(
        &self,
        step: &Step,
        is_accepted: bool,
        before: &Model,
        after: &Model,
    ) -> Result<(), String> {
        if !is_accepted && before != after {
            return Err("a refused call changed something".into());
        }
        let sum = |model: &Model| model.escrow + model.balances.iter().sum::<u128>();
        let unclaimed: u128 = after
            .channels
            .iter()
            .flatten()
            .map(Channel::unclaimed)
            .sum();
        if sum(before) != sum(after) || after.escrow != unclaimed {
            return Err("money is not conserved".into());
        }
        let mut earned = [0_i128; ACCOUNTS];
        for requestor in 0..3 {
            for worker in 0..3 {
                let (old, new) = (
                    before.channels[requestor][worker],
                    after.channels[requestor][worker],
                );
                let is_same_epoch = old.epochs == new.epochs;
                let is_old_closed = old.epochs == 0 || old.withdrawable_at == CLOSED;
                let is_monotone = if is_same_epoch {
                    new.claimed >= old.claimed
                        && (new.withdrawable_at == old.withdrawable_at
                            || old.withdrawable_at != CLOSED)
                        && (new.withdrawable_at == old.withdrawable_at
                            || old.withdrawable_at == 0
                            || new.withdrawable_at == CLOSED)
                } else {
                    let is_next = new.epochs == old.epochs + 1 && new.claimed == 0;
                    is_next && (is_old_closed || matches!(step, Step::ReleaseAndOpen(..)))
                };
                if !is_monotone || new.claimed > new.deposit {
                    return Err(format!("from {old:?} to {new:?}"));
                }
                if is_same_epoch {
                    earned[WORKERS[worker]] += (new.claimed - old.claimed) as i128;
                }
                let promised = new
                    .epochs
                    .checked_sub(1)
                    .and_then(|epoch| self.promised.get(&((requestor, worker), epoch)));
                if new.claimed > promised.copied().unwrap_or(0) {
                    return Err(format!(
                        "{} was paid and {promised:?} promised",
                        new.claimed
                    ));
                }
            }
        }
        // Redeeming moves money to the workers of the vouchers and to or from nobody else.
        if matches!(step, Step::Redeem(..) | Step::RedeemMany(..)) {
            for (account, earned) in earned.iter().enumerate() {
                let gained = after.balances[account] as i128 - before.balances[account] as i128;
                if gained != *earned {
                    return Err(format!(
                        "account {account} gained {gained} for vouchers of {earned}"
                    ));
                }
            }
        }
        Ok(())
    }
}
