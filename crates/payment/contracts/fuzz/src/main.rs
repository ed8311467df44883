//! The random sequences of the payment crate's tests on an EVM in process: a million in minutes.
//!
//!     cargo run --release -- [--sequences N] [--first SEED] [--threads N]
//!
//! Each seed is one sequence; a failure prints its seed and steps and ends with status 1.

#[path = "../../../tests/escrow/calls.rs"]
#[allow(dead_code)]
mod calls;
#[path = "../../../tests/escrow/evm.rs"]
#[allow(dead_code)]
mod evm;
#[path = "../../../tests/escrow/model.rs"]
mod model;
#[path = "../../../tests/escrow/player.rs"]
mod player;

use evm::{Done, Evm, Reverted};
use player::{Cast, Counts, Stage};
use protocol::Address;
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{BlockEnv, TxEnv},
    context_interface::result::{ExecutionResult, Output},
    database::{CacheDB, EmptyDB},
    handler::MainnetContext,
    primitives::{Bytes, TxKind, U256},
};
use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

const CHAIN_ID: u64 = 1337;
const GENESIS_UNIX_S: u64 = 1_700_000_000;

type Database = CacheDB<EmptyDB>;

/// A chain in memory.
struct InProcess {
    evm: MainnetEvm<MainnetContext<Database>>,
    now: u64,
    created: Address,
}

impl InProcess {
    fn new(database: Database) -> Self {
        let evm = Context::mainnet()
            .with_db(database)
            .modify_cfg_chained(|cfg| {
                cfg.chain_id = CHAIN_ID;
                cfg.disable_nonce_check = true;
            })
            .build_mainnet();
        Self {
            evm,
            now: GENESIS_UNIX_S,
            created: Address([0; 20]),
        }
    }

    fn transaction(from: Address, to: TxKind, input: &[u8]) -> TxEnv {
        TxEnv::builder()
            .caller(from.0.into())
            .kind(to)
            .data(Bytes::copy_from_slice(input))
            .chain_id(Some(CHAIN_ID))
            .gas_limit(15_000_000)
            .gas_price(0)
            .build()
            .expect("a transaction of known fields")
    }

    fn set_time(&mut self) {
        self.evm.set_block(BlockEnv {
            timestamp: U256::from(self.now),
            number: U256::from(self.now),
            basefee: 0,
            ..BlockEnv::default()
        });
    }
}

impl Evm for InProcess {
    fn send(&mut self, from: Address, to: Option<Address>, input: &[u8]) -> Result<Done, Reverted> {
        self.now += 1;
        self.set_time();
        let to = to.map_or(TxKind::Create, |to| TxKind::Call(to.0.into()));
        let result = self
            .evm
            .transact_commit(Self::transaction(from, to, input))
            .expect("a valid transaction");
        let gas = result.tx_gas_used();
        match result {
            ExecutionResult::Success {
                output: Output::Create(_, address),
                ..
            } => {
                self.created = Address(address.expect("a created contract").0.0);
                Ok(Done {
                    output: Vec::new(),
                    gas,
                    logs: Vec::new(),
                })
            }
            ExecutionResult::Success {
                output: Output::Call(output),
                ..
            } => Ok(Done {
                output: output.to_vec(),
                gas,
                logs: Vec::new(),
            }),
            ExecutionResult::Revert { output, .. } => Err(Reverted(output.to_vec())),
            ExecutionResult::Halt { reason, .. } => panic!("{reason:?}"),
        }
    }

    fn look(&mut self, to: Address, input: &[u8]) -> Result<Vec<u8>, Reverted> {
        let to = TxKind::Call(to.0.into());
        let result = self
            .evm
            .transact(Self::transaction(Address([0xee; 20]), to, input))
            .expect("a valid call");
        match result.result {
            ExecutionResult::Success { output, .. } => Ok(output.into_data().to_vec()),
            ExecutionResult::Revert { output, .. } => Err(Reverted(output.to_vec())),
            ExecutionResult::Halt { reason, .. } => panic!("{reason:?}"),
        }
    }

    fn created(&self) -> Address {
        self.created
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
    }
}

struct Options {
    sequences: u64,
    first: u64,
    threads: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        sequences: 10_000,
        first: 0,
        threads: std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--sequences" => options.sequences = number,
            "--first" => options.first = number,
            "--threads" => options.threads = number.max(1),
            _ => {
                return Err(format!(
                    "{word}: only --sequences, --first and --threads are known"
                ));
            }
        }
    }
    Ok(options)
}

/// Takes seeds until there are none left.
fn work(next: &AtomicU64, end: u64, database: &Database, stage: &Stage) -> Result<Counts, String> {
    let mut cast = Cast::new();
    let mut counts = Counts::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return Ok(counts);
        }
        let mut evm = InProcess::new(database.clone());
        let of_one = player::run(&mut evm, stage, &mut cast, seed);
        counts.add(&of_one.inspect_err(|_| next.store(end, Ordering::Relaxed))?);
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("escrow-fuzz: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut evm = InProcess::new(Database::default());
    let stage = Cast::new().deploy(&mut evm, CHAIN_ID);
    let database = evm.evm.ctx.journaled_state.database;
    let started = Instant::now();
    let next = AtomicU64::new(options.first);
    let end = options.first.saturating_add(options.sequences);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|_| scope.spawn(|| work(&next, end, &database, &stage)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread of the fuzzer"))
            .collect()
    });
    let mut counts = Counts::default();
    for result in results {
        match result {
            Ok(of_one) => counts.add(&of_one),
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{}", counts.table());
    println!(
        "{} sequences of {} calls in {:.0} s: every invariant held",
        options.sequences,
        counts.calls(),
        started.elapsed().as_secs_f64()
    );
    let one_sided = counts.one_sided();
    if options.sequences >= 1_000 && !one_sided.is_empty() {
        eprintln!(
            "always accepted or always refused: {}",
            one_sided.join(", ")
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
