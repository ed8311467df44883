//! What is committed is what the sources compile to, and nothing in it is for an owner.

use crate::calls::escrow;
use std::{collections::BTreeSet, path::Path, process::Command};

fn contracts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contracts"))
}

#[test]
fn the_committed_bytecode_is_what_the_sources_compile_to() {
    let output = Command::new("node")
        .arg(contracts().join("build.mjs"))
        .arg("--check")
        .output()
        .expect("Node.js compiles the contracts: tests/run says how to get it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn no_function_is_for_an_owner_a_pause_or_an_upgrade() {
    let functions: BTreeSet<&str> = escrow()
        .abi
        .functions()
        .map(|function| function.name.as_str())
        .collect();
    let changing = [
        "announceWithdrawal",
        "multicall",
        "open",
        "openMany",
        "raiseCap",
        "redeem",
        "redeemMany",
        "release",
        "revokeCap",
        "serveOwner",
        "topUp",
        "withdraw",
    ];
    let reading = [
        "RELEASE_TYPEHASH",
        "THAW",
        "TOKEN",
        "VOUCHER_TYPEHASH",
        "channels",
        "delegations",
        "eip712Domain",
        "releaseDigest",
        "voucherDigest",
    ];
    assert_eq!(functions, changing.into_iter().chain(reading).collect());
    let is_reading =
        |function: &&ethers_core::abi::Function| reading.contains(&function.name.as_str());
    for function in escrow().abi.functions() {
        use ethers_core::abi::StateMutability::{NonPayable, View};
        let expected = if is_reading(&function) {
            View
        } else {
            NonPayable
        };
        assert_eq!(function.state_mutability, expected, "{}", function.name);
    }
    assert!(!escrow().abi.receive && !escrow().abi.fallback);
}

#[test]
fn the_tests_that_hold_the_invariants_exist() {
    let page = std::fs::read_to_string(contracts().join("README.md")).unwrap();
    let tests: String = std::fs::read_dir(contracts().join("../tests/escrow"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let mut named = 0;
    // Of each invariant the names between backquotes after "Held by".
    for paragraph in page
        .split("\n\n")
        .filter(|paragraph| paragraph.starts_with("Invariant:"))
    {
        let (_, holders) = paragraph
            .split_once("Held by")
            .unwrap_or_else(|| panic!("nothing holds: {paragraph}"));
        for name in holders.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&format!("fn {name}(")), "no test {name}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
