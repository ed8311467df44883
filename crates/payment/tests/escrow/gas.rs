//! What each call costs in gas, beside plain transfers and Golem's constants: writes and checks contracts/GAS.md.

use crate::{
    CHAIN_ID,
    anvil::{Anvil, Chain},
    calls::{self, Contracts, Key, Opening, Release, address, escrow, uint},
    evm::Evm,
};
use protocol::{Address, Blake3Hash, Glm, JobId, message::SignedVoucher};
use std::fmt::Write;

/// How many channels are opened, redeemed and closed together.
const MANY: u64 = 100;
/// The promises of the project, in gas for each channel, and what others need.
const LIMITS: [(&str, u64, &str); 3] = [
    (OPEN_MANY, 26_000, "nothing like it"),
    (
        REDEEM,
        55_000,
        "Golem counts 48,000 to 60,000 for a transfer",
    ),
    (
        REDEEM_MANY,
        35_000,
        "Golem's packed transfers about 28,000 a payee, ten payees at most",
    ),
];
const OPEN_MANY: &str = "`openMany`, 100 workers for the first time";
const REDEEM: &str = "`redeem`, to a holder";
const REDEEM_MANY: &str = "`redeemMany`, 100 to holders";
/// Addresses and signatures differ from run to run in their zero bytes, which are cheaper.
const TOLERANCE: f64 = 0.005;

struct Row {
    what: &'static str,
    gas: u64,
    channels: u64,
}

impl Row {
    fn each(&self) -> u64 {
        self.gas / self.channels
    }
}

struct Table {
    contracts: Contracts,
    requestor: Key,
    rows: Vec<Row>,
}

fn worker(group: u8, number: u64) -> Key {
    let mut secret = [group; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    Key::of_secret(&secret)
}

/// An amount with all its digits, about 1.2 GLM, as tiles add up to.
fn amount(number: u64) -> u128 {
    1_234_567_890_123_456_789 + u128::from(number) * 7_654_321_012_345_678
}

impl Table {
    fn add(&mut self, what: &'static str, channels: u64, gas: u64) {
        self.rows.push(Row {
            what,
            gas,
            channels,
        });
    }

    fn row(&self, what: &str) -> &Row {
        self.rows.iter().find(|row| row.what == what).unwrap()
    }

    fn openings(&self, group: u8, epoch: u64) -> Vec<Opening> {
        (0..MANY)
            .map(|number| (worker(group, number).address(), epoch, 3 * amount(number)))
            .collect()
    }

    fn voucher(&self, worker: Address, epoch: u64, cumulative: u128) -> SignedVoucher {
        let mut voucher =
            self.contracts
                .voucher(self.requestor.address(), worker, epoch, cumulative);
        let random = Blake3Hash::of(&worker.0);
        voucher.job = JobId(*random.0.first_chunk().unwrap());
        voucher.sequence = 42;
        voucher.receipts_root = random;
        voucher.cumulative = Glm::from_wei(cumulative);
        self.requestor.sign_voucher(voucher)
    }

    fn vouchers(&self, group: u8, epoch: u64, part: u128) -> Vec<SignedVoucher> {
        (0..MANY)
            .map(|number| {
                self.voucher(
                    worker(group, number).address(),
                    epoch,
                    part * amount(number),
                )
            })
            .collect()
    }

    fn all(&self, group: u8, name: &str, epoch: u64) -> Vec<u8> {
        let calls = (0..MANY).map(|number| {
            let words = [
                address(self.requestor.address()),
                address(worker(group, number).address()),
                uint(epoch),
            ];
            calls::Token::Bytes(calls::call(escrow(), name, &words))
        });
        calls::call(
            escrow(),
            "multicall",
            &[calls::Token::Array(calls.collect())],
        )
    }

    fn send(&self, chain: &mut Chain<'_>, input: &[u8]) -> u64 {
        self.contracts
            .send(chain, self.requestor.address(), input)
            .unwrap()
            .gas
    }
}

fn measure(chain: &mut Chain<'_>) -> Table {
    let contracts = Contracts::deploy(chain, CHAIN_ID, calls::test_token());
    let mut table = Table {
        contracts,
        requestor: Key::of_secret(&[0x46; 32]),
        rows: Vec::new(),
    };
    let requestor = table.requestor.address();
    contracts.fund(chain, requestor, 1_000_000 * amount(0));

    let transfer = |chain: &mut Chain<'_>, to: Address, wei: u128| {
        contracts
            .token(chain, requestor, "transfer", &[address(to), uint(wei)])
            .unwrap()
            .gas
    };
    let holder = worker(1, 0).address();
    let gas = transfer(chain, holder, amount(0));
    table.add("plain ERC-20 transfer, to a new holder", 1, gas);
    let gas = transfer(chain, holder, amount(1));
    table.add("plain ERC-20 transfer, to a holder", 1, gas);

    // The very first deposit also makes the contract a holder, once for all.
    let open = |chain: &mut Chain<'_>, opening: Opening| {
        contracts.open(chain, requestor, opening).unwrap().gas
    };
    open(chain, (worker(2, 0).address(), 0, amount(0)));
    let one = worker(1, 0);
    let gas = open(chain, (one.address(), 0, 3 * amount(0)));
    table.add("`open`, a worker for the first time", 1, gas);
    let gas = contracts
        .top_up(chain, requestor, (one.address(), 0, amount(1)))
        .unwrap()
        .gas;
    table.add("`topUp`", 1, gas);

    let redeem =
        |table: &Table, chain: &mut Chain<'_>, worker: Address, epoch: u64, cumulative: u128| {
            let signed = table.voucher(worker, epoch, cumulative);
            contracts
                .call(chain, requestor, "redeem", &[calls::signed_token(&signed)])
                .unwrap()
                .gas
        };
    let fresh = worker(2, 1).address();
    open(chain, (fresh, 0, 3 * amount(0)));
    let gas = redeem(&table, chain, fresh, 0, amount(0));
    table.add("`redeem`, to a new holder", 1, gas);
    let gas = redeem(&table, chain, one.address(), 0, amount(0));
    table.add(REDEEM, 1, gas);

    let agreed = Release {
        requestor,
        worker: one.address(),
        epoch: 0,
        cumulative: 2 * amount(0),
    };
    let gas = contracts
        .release(chain, requestor, &one, agreed)
        .unwrap()
        .gas;
    table.add("`release`, which pays and returns", 1, gas);
    let gas = open(chain, (one.address(), 1, 3 * amount(0)));
    table.add("`open`, the next epoch", 1, gas);
    let key = (requestor, one.address(), 1);
    let gas = contracts.announce(chain, requestor, key).unwrap().gas;
    table.add("`announceWithdrawal`", 1, gas);
    chain.pass(24 * 3600);
    let gas = contracts.withdraw(chain, requestor, key).unwrap().gas;
    table.add("`withdraw`", 1, gas);

    let gas = table.send(chain, &calls::open_many(&table.openings(3, 0)));
    table.add(OPEN_MANY, MANY, gas);
    let gas = table.send(chain, &calls::redeem_many(&table.vouchers(3, 0, 1)));
    table.add("`redeemMany`, 100 to new holders", MANY, gas);
    let gas = table.send(chain, &calls::redeem_many(&table.vouchers(3, 0, 2)));
    table.add(REDEEM_MANY, MANY, gas);
    let gas = table.send(chain, &table.all(3, "announceWithdrawal", 0));
    table.add("`multicall` of 100 `announceWithdrawal`", MANY, gas);
    chain.pass(24 * 3600);
    let gas = table.send(chain, &table.all(3, "withdraw", 0));
    table.add("`multicall` of 100 `withdraw`", MANY, gas);
    let gas = table.send(chain, &calls::open_many(&table.openings(3, 1)));
    table.add("`openMany`, 100 in the next epoch", MANY, gas);
    let releases = (0..MANY).map(|number| {
        let worker = worker(3, number);
        let agreed = Release {
            requestor,
            worker: worker.address(),
            epoch: 1,
            cumulative: amount(number),
        };
        let signature = worker.sign(agreed.digest(CHAIN_ID, contracts.escrow));
        calls::Token::Bytes(calls::release(&agreed, signature))
    });
    let releases = calls::call(
        escrow(),
        "multicall",
        &[calls::Token::Array(releases.collect())],
    );
    let gas = table.send(chain, &releases);
    table.add(
        "`multicall` of 100 `release`, which pay and return",
        MANY,
        gas,
    );

    let owner = Key::of_secret(&[0x47; 32]).address();
    contracts.fund(chain, owner, 1_000_000 * amount(0));
    let hot = Key::of_secret(&[0x48; 32]).address();
    let gas = contracts
        .call(chain, hot, "serveOwner", &[address(owner)])
        .unwrap()
        .gas;
    table.add("`serveOwner`, once", 1, gas);
    let gas = contracts
        .call(
            chain,
            owner,
            "raiseCap",
            &[address(hot), uint(1_000 * amount(0))],
        )
        .unwrap()
        .gas;
    table.add("`raiseCap`", 1, gas);
    let gas = contracts
        .send(chain, hot, &calls::open_many(&table.openings(3, 0)))
        .unwrap()
        .gas;
    table.add("`openMany` by a hot key, 100 for the first time", MANY, gas);
    table
}

fn page(table: &Table) -> String {
    let mut page = "# Gas\n\nMeasured on anvil by the test `gas_is_as_the_table_says`, which fails where it is more than half a percent off and writes\n\
        this page with `WRITE_PAGES=1`. The token is a plain ERC-20 of OpenZeppelin; amounts have all their 18 decimals.\n\n\
        | call | gas | for each channel |\n|---|---:|---:|\n"
        .to_owned();
    for row in &table.rows {
        writeln!(page, "| {} | {} | {} |", row.what, row.gas, row.each()).unwrap();
    }
    page.push_str("\n## Beside the promises and others\n\n| call | here, each | promised | others |\n|---|---:|---:|---|\n");
    for (what, promised, others) in LIMITS {
        let here = table.row(what).each();
        writeln!(page, "| {what} | {here} | {promised} | {others} |").unwrap();
    }
    page.push_str(REMARKS);
    page
}

const REMARKS: &str = include_str!("gas_remarks.md");

/// The numbers of the second column.
fn numbers(page: &str) -> Vec<(String, f64)> {
    page.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((cells.next()?.to_owned(), cells.next()?.trim().parse().ok()?))
        })
        .collect()
}

#[test]
fn gas_is_as_the_table_says() {
    let anvil = Anvil::shared();
    let chain = &mut anvil.chain();
    let table = measure(chain);
    let page = page(&table);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/GAS.md");
    if std::env::var_os("WRITE_PAGES").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    let (measured, written) = (numbers(&page), numbers(&committed));
    assert_eq!(measured.len(), written.len(), "{page}");
    for ((what, gas), (written_what, written_gas)) in measured.iter().zip(&written) {
        assert_eq!(what, written_what);
        assert!(
            (gas / written_gas - 1.0).abs() <= TOLERANCE,
            "{what}: {gas}, not {written_gas}"
        );
    }
    assert!(committed.ends_with(REMARKS));
    for (what, limit, _) in LIMITS {
        let each = table.row(what).each();
        assert!(each <= limit, "{what}: {each}");
    }
}
