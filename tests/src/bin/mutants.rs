//! Breaks the verification on purpose, one rule at a time, and asks whether a test notices.
//!
//! Each mutant is a piece of the source that is replaced in a copy of the tree. It has to build, and the tests named with
//! it have to fail or never end; a mutant that they pass lives, and the program ends with 1. A piece that is not found any
//! more is a mutant to be written anew.

use clap::Parser;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// Tests that take seconds and have not ended by then do not end.
const ENDLESS: Duration = Duration::from_secs(180);

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
const PROTOCOL: &[&str] = &["-p", "protocol", "--lib"];
const WORKER: &[&str] = &["-p", "render-worker", "--test", "serving"];

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
        file: "crates/farm/src/dealing.rs",
        piece: "verifier::draw_pixels(&self.config.secret, commitment, &policy, parts)",
        instead: "verifier::draw_pixels(&self.config.secret, &Blake3Hash([commitment.0[0] & 0; 32]), &policy, parts)",
        tests: RULES,
    },
    Mutant {
        name: "early draw: squares are known before the commitment",
        file: "verifier/src/probes.rs",
        piece: "SecretDraw::new(secret, DRAW_CONTEXT, &commitment.0)",
        instead: "SecretDraw::new(secret, DRAW_CONTEXT, &[commitment.0[0] & 0; 32])",
        tests: VERIFIER,
    },
    Mutant {
        name: "early draw: all workers of a tile render the same pixels",
        file: "verifier/src/probes.rs",
        piece: "    hasher.update(&[number]);\n",
        instead: "    let _ = number;\n",
        tests: VERIFIER,
    },
    Mutant {
        name: "early draw: secret pixels do not depend on the challenge",
        file: "crates/protocol/src/secret_pixels.rs",
        piece: "Draw::new(&self.challenge)",
        instead: "Draw::new(&[self.challenge[0] & 0; 32])",
        tests: PROTOCOL,
    },
    Mutant {
        name: "what probes say is not compared",
        file: "crates/farm/src/probing.rs",
        piece: "                Some(found) => Compared::Differs(found),",
        instead: "                Some(found) if found.cells == 0 => Compared::Differs(found),\n                Some(_) => Compared::Agrees,",
        tests: RULES,
    },
    Mutant {
        name: "who confirmed what is wrong is believed",
        file: "crates/farm/src/audits.rs",
        piece: "            if !self.own_engine_works {",
        instead: "            if true {",
        tests: RULES,
    },
    Mutant {
        name: "votes kept: answers of a caught prober go on being compared",
        file: "crates/farm/src/quarantine.rs",
        piece: "                    self.void_comparisons(number);\n",
        instead: "                    let _ = Self::void_comparisons;\n",
        tests: RULES,
    },
    Mutant {
        name: "reused salt: the worker's is always the same",
        file: "render-worker/src/worker.rs",
        piece: "(getrandom::fill(&mut salt), hash)",
        instead: "(Ok::<(), getrandom::Error>(salt.fill(1)), hash)",
        tests: WORKER,
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
        piece: "Pattern::Isolated if faults <= FLAKY_MAX",
        instead: "Pattern::Isolated if faults <= FLAKY_MAX * 0",
        tests: RULES,
    },
    Mutant {
        name: "single wrong cells are forgiven for ever",
        file: "crates/farm/src/arbitration.rs",
        piece: "                    accused.flaky = faults;\n",
        instead: "",
        tests: RULES,
    },
    Mutant {
        name: "single wrong cells are bad memory however few are compared",
        file: "crates/farm/src/arbitration.rs",
        piece: "Pattern::Isolated if !is_often",
        instead: "Pattern::Isolated if !is_often || true",
        tests: RULES,
    },
    Mutant {
        name: "a class gets tiles while it is tried",
        file: "crates/farm/src/class.rs",
        piece: "            && (self.is_admitted(&class) || !is_tried())\n",
        instead: "            && (true || !is_tried())\n",
        tests: RULES,
    },
    Mutant {
        name: "versions of an engine are mixed",
        file: "crates/farm/src/coordinator.rs",
        piece: "if is_comparable {",
        instead: "if is_comparable || true {",
        tests: RULES,
    },
    Mutant {
        name: "the noise is not looked at",
        file: "crates/farm/src/checking.rs",
        piece: "delivery.probes.extend(self.draw_judgement(at, &delivery));",
        instead: "delivery.probes.extend(None);",
        tests: RULES,
    },
    Mutant {
        name: "what the noise does not decide is accepted",
        file: "crates/farm/src/across.rs",
        piece: "self.fail_trial(&class, false);\n                self.leave_undecided(judged);",
        instead: "self.pass(judged, Prober::OwnEngine);",
        tests: RULES,
    },
    Mutant {
        name: "a tile in dispute is accepted by its noise",
        file: "crates/farm/src/across.rs",
        piece: "true => self.leave_undecided(judged),\n                    false => self.pass",
        instead: "true => self.pass(judged, Prober::OwnEngine),\n                    false => self.pass",
        tests: RULES,
    },
    Mutant {
        name: "newcomers may have all tiles",
        file: "crates/farm/src/newcomers.rs",
        piece: "worker.trust != Trust::Unknown\n            || self",
        instead: "worker.trust != Trust::Own\n            || self",
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

fn cargo(tree: &Path, tests: &[&str], verb: &[&str]) -> Result<Child, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .arg("test")
        .args(["--locked", "--quiet"])
        .args(tests)
        .args(verb)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target().join("mutants/target"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command.spawn().map_err(|e| format!("cargo: {e}"))
}

fn builds(tree: &Path, tests: &[&str]) -> Result<bool, String> {
    let status = cargo(tree, tests, &["--no-run"])?.wait();
    status
        .map(|status| status.success())
        .map_err(|e| format!("cargo: {e}"))
}

/// Do the tests pass? Those that do not end are stopped and do not.
fn pass(tree: &Path, tests: &[&str]) -> Result<bool, String> {
    let failed = |e| format!("cargo: {e}");
    let mut child = cargo(tree, tests, &[])?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status.success());
        }
        if begun.elapsed() > ENDLESS {
            let group = format!("-{}", child.id());
            let killed = Command::new("kill").args(["--", &group]).status();
            killed.and_then(|_| child.wait()).map_err(failed)?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The file that a mutant changes, in which its piece is.
fn source_of(mutant: &Mutant, tree: &Path) -> Result<String, String> {
    let file = tree.join(mutant.file);
    let source = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    match source.matches(mutant.piece).count() {
        1 => Ok(source),
        _ => {
            let (piece, file) = (mutant.piece, mutant.file);
            Err(format!("`{piece}` is not in {file} exactly once"))
        }
    }
}

/// Does a test notice this mutant?
fn dies(mutant: &Mutant, tree: &Path) -> Result<bool, String> {
    let file = tree.join(mutant.file);
    let source = source_of(mutant, tree)?;
    let write = |text: &str| fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()));
    write(&source.replace(mutant.piece, mutant.instead))?;
    let outcome = match builds(tree, mutant.tests)? {
        true => pass(tree, mutant.tests).map(|passed| !passed),
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
    let wanted: Vec<&Mutant> = MUTANTS
        .iter()
        .filter(|mutant| mutant.name.contains(&arguments.name))
        .collect();
    let suites: BTreeSet<&[&str]> = wanted.iter().map(|mutant| mutant.tests).collect();
    for tests in suites {
        if !(builds(tree, tests)? && pass(tree, tests)?) {
            return Err(format!("the tests {tests:?} fail without any mutant"));
        }
    }
    let mut alive = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_finds_its_piece() {
        for mutant in MUTANTS {
            assert_eq!(
                source_of(mutant, &root()).map(drop),
                Ok(()),
                "{}",
                mutant.name
            );
            assert_ne!(mutant.piece, mutant.instead);
        }
    }
}
