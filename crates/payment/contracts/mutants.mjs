// Breaks the contract rule by rule and asks whether a test notices. A mutant that survives fails the run.
//
//   node mutants.mjs [PART OF A NAME]
//
// Needs what tests/run installs, and ANVIL as it sets it.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

// Name, what is replaced (once, it must be there once), by what.
const mutants = [
  ["who calls is paid", "_pay(voucher.worker, paid);", "_pay(msg.sender, paid);"],
  ["more than the deposit is paid", "cumulative < deposit ? cumulative : deposit;", "cumulative;"],
  ["a low deposit burns the rest", "channel.claimed = uint96(target);", "channel.claimed = uint96(cumulative);"],
  ["a large amount is cut off", "cumulative < deposit ? cumulative", "uint96(cumulative) < deposit ? uint96(cumulative)"],
  ["each voucher adds up", "return target - claimed;", "return target;"],
  ["old vouchers touch the present epoch", "if (voucher.epoch != epochs - 1 || channel.withdrawableAt", "if (channel.withdrawableAt"],
  ["an epoch is cut off", "voucher.epoch >= epochs", "uint24(voucher.epoch) >= epochs"],
  ["vouchers of the next epoch are taken", "voucher.epoch >= epochs)", "voucher.epoch > epochs)"],
  ["an old voucher makes a batch fail", "channel.withdrawableAt == CLOSED) return 0;", "channel.withdrawableAt == CLOSED) revert NotSigned();"],
  ["a paid voucher makes a batch fail", "if (target <= claimed) return 0;", "if (target <= claimed) revert NotSigned();"],
  ["anybody signs", " || recovered != signer", ""],
  ["nobody signs", "failure != ECDSA.RecoverError.NoError || recovered != signer", "recovered != signer"],
  [
    "the malleable twin counts",
    "(address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, v, r, s);\n        if (failure != ECDSA.RecoverError.NoError ||",
    "address recovered = ecrecover(digest, v, r, s);\n        if (recovered == address(0) ||",
  ],
  ["a voucher is good everywhere", "return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, voucher)));", "return keccak256(abi.encode(VOUCHER_TYPEHASH, voucher));"],
  ["another type of voucher", "uint256 sequence,bytes32 receiptsRoot)", "uint64 sequence,bytes32 receiptsRoot)"],
  ["another domain", 'EIP712("render escrow", "1")', 'EIP712("render escrow", "2")'],
  ["a release is good everywhere", "return _hashTypedDataV4(keccak256(abi.encode(RELEASE_TYPEHASH, agreed)));", "return keccak256(abi.encode(RELEASE_TYPEHASH, agreed));"],
  ["no thaw", "withdrawableAt == 0 || block.timestamp < withdrawableAt", "withdrawableAt == 0"],
  ["no announcement", "withdrawableAt == 0 || block.timestamp", "block.timestamp"],
  ["a second more of thaw", "block.timestamp < withdrawableAt", "block.timestamp <= withdrawableAt"],
  ["23 hours of thaw", "72 hours : 24 hours", "72 hours : 23 hours"],
  ["no longer thaw on Ethereum", "72 hours : 24 hours", "24 hours : 24 hours"],
  ["an announcement again begins the thaw again", "if (channel.withdrawableAt != 0) revert AlreadyAnnounced(channel.withdrawableAt);", ""],
  ["a top-up cancels the thaw", "channel.deposit = deposit;\n        emit ToppedUp", "channel.deposit = deposit;\n        channel.withdrawableAt = 0;\n        emit ToppedUp"],
  ["anybody announces", "_onlyPayer(requestor);\n        Channel storage channel = _present(requestor, worker, epoch);\n        if (channel", "Channel storage channel = _present(requestor, worker, epoch);\n        if (channel"],
  ["anybody withdraws", "_onlyPayer(requestor);\n        Channel storage channel = _present(requestor, worker, epoch);\n        uint256", "Channel storage channel = _present(requestor, worker, epoch);\n        uint256"],
  ["anybody releases", "_onlyPayer(agreed.requestor);", ""],
  ["a release needs no worker", "_onlySignedBy(agreed.worker, releaseDigest(agreed), signed.v, signed.r, signed.s);", ""],
  ["a release pays less than it names", "if (agreed.cumulative > channel.deposit) revert Short(channel.deposit);", ""],
  ["a release pays nothing", "_pay(agreed.worker, due);", ""],
  ["a release pays before it closes", "uint256 rest = _close(channel, agreed.requestor, agreed.worker, agreed.epoch);\n        _pay(agreed.worker, due);", "_pay(agreed.worker, due);\n        uint256 rest = _close(channel, agreed.requestor, agreed.worker, agreed.epoch);"],
  ["any epoch is the present one", "epochs == 0 || epoch != epochs - 1 ||", "epochs == 0 ||"],
  ["a closed epoch is open", " || channel.withdrawableAt == CLOSED) {", ") {"],
  ["what was returned may be claimed", "channel.deposit = claimed;\n        channel.withdrawableAt = CLOSED;", "channel.withdrawableAt = CLOSED;"],
  ["an epoch stays open after its end", "channel.withdrawableAt = CLOSED;\n", "\n"],
  ["the whole deposit is returned", "rest = channel.deposit - claimed;", "rest = channel.deposit;"],
  ["epochs in any order", "if (epoch != next) revert NotTheNextEpoch(worker, next);", ""],
  ["an open epoch is replaced", "if (epoch != 0 && channel.withdrawableAt != CLOSED) revert StillOpen(worker);", ""],
  ["anything is a worker", "if (worker == address(0) || worker == address(this)) revert NotAWorker(worker);", ""],
  ["the last deposit pays for all", "sum += opening.deposit;", "sum = opening.deposit;"],
  ["a part that is kept goes unnoticed", "if (TOKEN.balanceOf(address(this)) != before + amount) revert NotReceived();", ""],
  ["a transfer that fails goes unnoticed", "if (amount != 0) TOKEN.safeTransfer(account, amount);", "if (amount != 0) TOKEN.transfer(account, amount) ;"],
  ["a deposit that fails goes unnoticed", "TOKEN.safeTransferFrom(payer, address(this), amount);", "TOKEN.transferFrom(payer, address(this), amount);"],
  ["no cap", "if (amount > cap) revert OverCap(cap);", "if (amount > cap) amount = amount + 0;"],
  ["a cap that does not shrink", "delegation.cap = cap - uint96(amount);", "delegation.cap = cap;"],
  ["the hot key pays itself", "payer = owner;", ""],
  ["the hot key gets what is returned", "return owner == address(0) ? requestor : owner;", "return owner == address(0) ? requestor : requestor;"],
  ["another owner later", " || delegation.owner != address(0)) {", ") {"],
  ["anybody raises caps", "if (delegation.owner != msg.sender) revert NotYours(hotKey);", ""],
  ["the key raises its cap", "if (delegation.owner != msg.sender)", "if (delegation.owner != msg.sender && hotKey != msg.sender)"],
  ["a revoked key goes on", "_servant(hotKey).cap = 0;", "_servant(hotKey);"],
  ["a raise replaces the cap", "uint96 cap = delegation.cap + amount;", "uint96 cap = amount;"],
  ["openings are not logged", "emit Opened(msg.sender, worker, deposit);", ""],
  ["what is logged is a part", "emit Redeemed(requestor, worker, epoch, target);", "emit Redeemed(requestor, worker, epoch, target - claimed);"],
  ["the owner cannot act for its key", " && msg.sender != delegations[requestor].owner", ""],
];

function run(program, args, env = {}) {
  return spawnSync(program, args, { encoding: "utf8", env: { ...process.env, ...env } });
}

// The program of the tests, built once: what is broken are files that it reads.
function testProgram() {
  const args = ["test", "--locked", "--workspace", "--test", "escrow", "--no-run", "--message-format=json"];
  const build = spawnSync("cargo", args, { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "inherit"] });
  const messages = build.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const program = messages.find((message) => message.target?.name === "escrow" && message.executable)?.executable;
  if (!program) throw new Error("the tests do not build");
  return program;
}

const program = testProgram();
const source = readFileSync(join(here, "src/RenderEscrow.sol"), "utf8");
const wanted = mutants.filter(([name]) => name.includes(process.argv[2] ?? ""));
let failures = 0;
for (const [name, from, to] of wanted) {
  const work = mkdtempSync(join(tmpdir(), "escrow-mutant-"));
  cpSync(join(here, "src"), join(work, "src"), { recursive: true });
  cpSync(join(here, "built"), join(work, "built"), { recursive: true });
  let verdict;
  if (source.split(from).length !== 2) {
    verdict = "NOT FOUND ONCE";
  } else {
    writeFileSync(join(work, "src/RenderEscrow.sol"), source.replace(from, () => to));
    const built = join(work, "built");
    const build = run("node", [join(here, "build.mjs"), "--warn", "--sources", work, "--built", built]);
    if (build.status !== 0) {
      verdict = `DOES NOT COMPILE: ${build.stderr.split("\n")[0]}`;
    } else {
      // The random sequences take longest, so they come last.
      const parts = [["--skip", "building::", "--skip", "gas::", "--skip", "sequences::"], ["sequences::"]];
      verdict = "SURVIVED";
      for (const part of parts) {
        const tests = run(program, part, { CONTRACTS_BUILT: built, RUST_BACKTRACE: "0" });
        if (tests.status === 0) continue;
        const noticed = new Set([...tests.stdout.matchAll(/^    ([a-z]+::\w+)$/gm)].map((match) => match[1]));
        verdict = noticed.size > 0 ? `noticed by ${noticed.size}: ${[...noticed][0]}` : `NO TEST RAN: ${tests.stderr.slice(-200)}`;
        break;
      }
    }
  }
  if (!verdict.startsWith("noticed")) failures += 1;
  console.log(`${name}: ${verdict}`);
  rmSync(work, { recursive: true });
}
console.log(`${wanted.length - failures} of ${wanted.length} mutants were noticed`);
process.exit(failures === 0 ? 0 : 1);
