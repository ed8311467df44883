//! Breaks the verification on purpose, one rule at a time, and asks whether a test notices.
//!
//! Each mutant is a piece of the source that is replaced in a copy of the tree. It has to build, and the tests named with
//! it have to fail; a mutant that they pass lives, and the program ends with 1. A piece that is not found any more is a
//! mutant to be written anew.

use clap::Parser;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

#[derive(Parser)]
#[command(about = "Breaks the verification on purpose and asks whether a test notices")]
struct Arguments {
    /// Only mutants whose names hold this
    #[arg(default_value = "")]
    name: String,
}

struct Mutant {
    name: &'static str,
    file: &'static str,
    piece: &'static str,
    instead: &'static str,
    tests: &'static [&'static str],
}

const RULES: &[&str] = &["-p", "farm", "--test", "rules"];
const VERIFIER: &[&str] = &["-p", "verifier", "--lib"];

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "no probe",
        file: "crates/farm/src/checking.rs",
        piece: "        self.want_probes(at);\n        self.check_overlaps(at);",
        instead: "        self.check_overlaps(at);",
        tests: RULES,
    },
    Mutant {
        name: "no overlap",
        file: "crates/farm/src/checking.rs",
        piece: "        self.want_probes(at);\n        self.check_overlaps(at);",
        instead: "        self.want_probes(at);",
        tests: RULES,
    },
    Mutant {
        name: "no replica",
        file: "crates/farm/src/checking.rs",
        piece: "delivery.probes.extend(self.draw_replica(&task, &opening));",
        instead: "let _ = self.draw_replica(&task, &opening);",
        tests: RULES,
    },
    Mutant {
        name: "reused salt: the commitment does not depend on it",
        file: "verifier/src/commitment.rs",
        piece: "    hasher.update(salt);\n",
        instead: "    let _ = salt;\n",
        tests: VERIFIER,
    },
    Mutant {
        name: "copied commitment: it does not depend on who made it",
        file: "verifier/src/commitment.rs",
        piece: "    hasher.update(&worker.0);\n",
        instead: "    let _ = worker;\n",
        tests: VERIFIER,
    },
    Mutant {
        name: "early draw: probes are known before the commitment",
        file: "crates/farm/src/probing.rs",
        piece: "verifier::draw_probes(secret, commitment, &core, shape, trust)",
        instead: "verifier::draw_probes(secret, &Blake3Hash([0; 32]), &core, shape, trust)",
        tests: RULES,
    },
    Mutant {
        name: "early draw: probes do not depend on the secret",
        file: "verifier/src/draw.rs",
        piece: "blake3::Hasher::new_keyed(secret)",
        instead: "blake3::Hasher::new_keyed(&[secret[0] & 0; 32])",
        tests: VERIFIER,
    },
    Mutant {
        name: "unaudited success counts",
        file: "crates/farm/src/checking.rs",
        piece: "worker.tiles_checked += u64::from(is_checked);",
        instead: "worker.tiles_checked += u64::from(is_checked | true);",
        tests: RULES,
    },
    Mutant {
        name: "votes kept: probes of a caught prober stand in open frames",
        file: "crates/farm/src/quarantine.rs",
        piece: "        for probe in vouched {\n            self.want_probe(probe);\n        }\n",
        instead: "        let _ = vouched;\n",
        tests: RULES,
    },
    Mutant {
        name: "votes kept: probes of a caught prober stand in finished frames",
        file: "crates/farm/src/quarantine.rs",
        piece: "                    self.void_sealed(number);\n",
        instead: "",
        tests: RULES,
    },
    Mutant {
        name: "pixels other than those committed to",
        file: "crates/farm/src/checking.rs",
        piece: "!= commitment.hash {",
        instead: "!= commitment.hash && false {",
        tests: RULES,
    },
    Mutant {
        name: "an empty list of cells passes",
        file: "verifier/src/cells.rs",
        piece: "found if found == due => Ok(()),",
        instead: "found if found == due || found == 0 => Ok(()),",
        tests: RULES,
    },
    Mutant {
        name: "nothing is held back",
        file: "crates/farm/src/pay.rs",
        piece: "worker.trust.policy().held_tiles);",
        instead: "worker.trust.policy().held_tiles * 0);",
        tests: RULES,
    },
    Mutant {
        name: "a caught cheat keeps what was held back",
        file: "crates/farm/src/quarantine.rs",
        piece: "                    self.forfeit(number);\n",
        instead: "",
        tests: RULES,
    },
    Mutant {
        name: "one prober renders all probes of a tile",
        file: "crates/farm/src/limits.rs",
        piece: "pub const PROBES_PER_TILE_MAX: usize = 8;",
        instead: "pub const PROBES_PER_TILE_MAX: usize = 1;",
        tests: RULES,
    },
    Mutant {
        name: "a single vote decides",
        file: "verifier/src/arbitration.rs",
        piece: "(most >= 2 &&",
        instead: "(most >= 1 &&",
        tests: VERIFIER,
    },
    Mutant {
        name: "single wrong cells are fraud at once",
        file: "crates/farm/src/arbitration.rs",
        piece: "Pattern::Isolated if *flaky < FLAKY_MAX",
        instead: "Pattern::Isolated if *flaky < FLAKY_MAX * 0",
        tests: RULES,
    },
    Mutant {
        name: "single wrong cells are forgiven for ever",
        file: "crates/farm/src/arbitration.rs",
        piece: "                    *flaky += 1;\n",
        instead: "",
        tests: RULES,
    },
    Mutant {
        name: "newcomers may have all tiles",
        file: "crates/farm/src/newcomers.rs",
        piece: "worker.trust != Trust::Unknown",
        instead: "worker.trust != Trust::Own",
        tests: RULES,
    },
    Mutant {
        name: "a fault is forgotten",
        file: "verifier/src/record.rs",
        piece: "pub const FRAUD_QUARANTINE_S: u64 = 7 * DAY_S;",
        instead: "pub const FRAUD_QUARANTINE_S: u64 = 0;",
        tests: VERIFIER,
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from)
}

/// Copies all files of the repository, but none that is ignored.
fn copy_tree(to: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in listed.lines() {
        let (from, to) = (root().join(name), to.join(name));
        if from.is_file() {
            let folder = to.parent().unwrap_or(&to).to_owned();
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", to.display()))?;
            fs::copy(&from, &to).map_err(|e| format!("{}: {e}", to.display()))?;
        }
    }
    Ok(())
}

fn cargo(tree: &Path, arguments: &[&str], tests: &[&str]) -> Result<bool, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .arg("test")
        .args(["--locked", "--quiet"])
        .args(tests)
        .args(arguments)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target().join("mutants/target"))
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status
        .map(|status| status.success())
        .map_err(|e| format!("cargo: {e}"))
}

/// Does a test notice this mutant?
fn dies(mutant: &Mutant, tree: &Path) -> Result<bool, String> {
    let file = tree.join(mutant.file);
    let source = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    if source.matches(mutant.piece).count() != 1 {
        let (piece, file) = (mutant.piece, mutant.file);
        return Err(format!("`{piece}` is not in {file} exactly once"));
    }
    let write = |text: &str| fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()));
    write(&source.replace(mutant.piece, mutant.instead))?;
    let outcome = match cargo(tree, &["--no-run"], mutant.tests)? {
        true => cargo(tree, &[], mutant.tests).map(|passed| !passed),
        false => Err("it does not build".into()),
    };
    write(&source)?;
    outcome
}

fn run(arguments: &Arguments) -> Result<usize, String> {
    // Always in the same place, so that what is not changed is not built again.
    let tree = &target().join("mutants/tree");
    let _ = fs::remove_dir_all(tree);
    copy_tree(tree)?;
    for tests in [RULES, VERIFIER] {
        if !cargo(tree, &[], tests)? {
            return Err(format!("the tests {tests:?} fail without any mutant"));
        }
    }
    let mut alive = 0;
    let wanted = MUTANTS
        .iter()
        .filter(|mutant| mutant.name.contains(&arguments.name));
    for mutant in wanted {
        let said = match dies(mutant, tree) {
            Ok(true) => "killed".to_owned(),
            Ok(false) => "LIVES: no test fails".to_owned(),
            Err(why) => format!("BROKEN: {why}"),
        };
        alive += usize::from(said != "killed");
        println!("{:<66} {said}", mutant.name);
    }
    Ok(alive)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
