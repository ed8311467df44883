//! Holds what ARCHITECTURE.md promises of the code itself: who may depend on whom, which crates stay pure, where
//! `unsafe` may stand, that channels are bounded, and that pages and scenes keep up with the code.

mod attacks;
mod scenes;
mod source;

use cargo_metadata::MetadataCommand;
use source::{files_below, identifiers, root, rust_sources};
use std::{collections::BTreeMap, fs};

/// Which crates of ours each crate may use; `tests` and `benches` may use all.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("protocol", &[]),
    ("blend", &[]),
    ("tracer", &["protocol"]),
    ("verifier", &["protocol"]),
    ("network", &["protocol"]),
    ("payment", &["protocol"]),
    ("engine", &["protocol", "tracer"]),
    ("farm", &["protocol", "verifier"]),
    (
        "render-worker",
        &[
            "protocol", "tracer", "verifier", "network", "payment", "engine",
        ],
    ),
    (
        "render-cli",
        &[
            "protocol",
            "blend",
            "tracer",
            "verifier",
            "network",
            "payment",
            "engine",
            "farm",
            "render-worker",
        ],
    ),
];
const MAY_USE_ALL: [&str; 2] = ["tests", "benches"];

/// Dependencies, by prefix, that one crate alone may name.
const ONE_USER: [(&str, &str); 3] = [
    ("libp2p", "network"),
    ("bao-tree", "network"),
    ("ethers", "payment"),
];

/// Folders of the crates that decide without doing.
const PURE: [&str; 3] = ["crates/farm/src", "crates/protocol/src", "verifier/src"];

/// Words by which code reaches files, the network, a clock, chance, threads or other programs.
const IMPURE_WORDS: [&str; 20] = [
    "File",
    "Instant",
    "OnceLock",
    "OsRng",
    "RandomState",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UNIX_EPOCH",
    "env",
    "fs",
    "getrandom",
    "net",
    "process",
    "rand",
    "rayon",
    "thread",
    "thread_rng",
    "tokio",
];

/// How the channels that never push back are called.
const UNBOUNDED_WORDS: [&str; 6] = [
    "UnboundedReceiver",
    "UnboundedSender",
    "unbounded",
    "unbounded_channel",
    "unbounded_send",
    "SegQueue",
];

/// The dependencies of each crate of the workspace, of any kind.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let names = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .map(|d| d.name.to_string())
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|p| (p.name.to_string(), names(p)))
        .collect()
}

/// Every dependency that breaks the direction, as a line to read.
fn wrong_dependencies(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (user, used) in dependencies {
        let allowed = MAY_USE
            .iter()
            .find(|(name, _)| name == user)
            .map(|(_, allowed)| *allowed);
        if allowed.is_none() && !MAY_USE_ALL.contains(&user.as_str()) {
            wrong.push(format!("{user} has no place in the dependency direction"));
        }
        for name in used {
            let ours = dependencies.contains_key(name);
            if ours && allowed.is_some_and(|allowed| !allowed.contains(&name.as_str())) {
                wrong.push(format!("{user} may not use {name}"));
            }
            let only = ONE_USER.iter().find(|(prefix, _)| name.starts_with(prefix));
            if let Some((prefix, only)) = only.filter(|(_, only)| only != user) {
                wrong.push(format!(
                    "{user} may not use {name}: only {only} names {prefix}*"
                ));
            }
        }
    }
    wrong
}

/// Where one of the words stands as code.
fn words_found(sources: &[(String, String)], words: &[&str]) -> Vec<String> {
    let in_file = |(path, text): &(String, String)| {
        let found = identifiers(text)
            .into_iter()
            .filter(|(_, word)| words.contains(word));
        found
            .map(|(line, word)| format!("{path}:{line}: {word}"))
            .collect::<Vec<_>>()
    };
    sources.iter().flat_map(in_file).collect()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn planted(text: &str) -> Vec<(String, String)> {
    vec![("planted.rs".into(), text.into())]
}

#[test]
fn dependencies_point_one_way() {
    let dependencies = dependencies();
    for (name, allowed) in MAY_USE {
        assert!(
            dependencies.contains_key(name),
            "{name} is not in the workspace"
        );
        assert!(
            allowed.iter().all(|a| dependencies.contains_key(*a)),
            "{name} may use unknown crates"
        );
    }
    for (prefix, user) in ONE_USER {
        let used = dependencies[user]
            .iter()
            .any(|name| name.starts_with(prefix));
        assert!(used, "{user} no longer uses {prefix}: update the rule");
    }
    assert_none(
        "dependencies against the direction",
        &wrong_dependencies(&dependencies),
    );
}

#[test]
fn a_wrong_dependency_is_seen() {
    let mut dependencies = dependencies();
    for (user, used) in [
        ("farm", "network"),
        ("render-worker", "farm"),
        ("engine", "libp2p-stream"),
    ] {
        dependencies
            .get_mut(user)
            .expect("a crate of ours")
            .push(used.into());
    }
    dependencies.insert("stray".into(), vec![]);
    assert_eq!(wrong_dependencies(&dependencies).len(), 4);
}

#[test]
fn farm_verifier_and_protocol_are_pure() {
    for folder in PURE {
        assert_none(
            "code that is not pure",
            &words_found(&rust_sources(folder), &IMPURE_WORDS),
        );
    }
    let sources = planted("use std::{fs, time::Instant}; // rand\nfn f() { let _ = \"net\"; }");
    assert_eq!(
        words_found(&sources, &IMPURE_WORDS),
        ["planted.rs:1: fs", "planted.rs:1: Instant"]
    );
}

#[test]
fn unsafe_stays_in_the_engine() {
    let sources: Vec<(String, String)> = rust_sources("")
        .into_iter()
        .filter(|(path, _)| !path.starts_with("crates/engine/"))
        .collect();
    assert_none("unsafe code", &words_found(&sources, &["unsafe"]));
    assert_eq!(
        words_found(&planted("unsafe fn f() {}"), &["unsafe"]).len(),
        1
    );
}

#[test]
fn every_crate_inherits_the_lints() {
    let inherits = |manifest: &str| manifest.contains("\n[lints]\nworkspace = true\n");
    // A workspace of its own: it needs an EVM, and nothing else here should build one.
    let apart = root().join("crates/payment/contracts/fuzz/Cargo.toml");
    let own_lints = fs::read_to_string(&apart).expect("the fuzzer has a manifest");
    assert!(own_lints.contains("\n[lints.rust]\nunsafe_code = \"forbid\"\n"));
    let manifests: Vec<_> = files_below(&root())
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml") && *path != root().join("Cargo.toml"))
        .filter(|path| *path != apart)
        .collect();
    assert_eq!(
        manifests.len(),
        dependencies().len(),
        "a crate outside the workspace"
    );
    for path in manifests {
        let manifest = fs::read_to_string(&path).expect("a manifest is readable");
        assert!(
            inherits(&manifest),
            "{} does not inherit the workspace's lints",
            path.display()
        );
    }
    let workspace =
        fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is readable");
    assert!(
        workspace.contains("\nunsafe_code = \"forbid\"\n"),
        "unsafe code is not forbidden"
    );
    assert!(!inherits("[package]\nname = \"stray\"\n"));
}

#[test]
fn channels_are_bounded() {
    assert_none(
        "unbounded channels",
        &words_found(&rust_sources(""), &UNBOUNDED_WORDS),
    );
    let lints = fs::read_to_string(root().join("clippy.toml")).expect("clippy.toml is readable");
    for constructor in [
        "tokio::sync::mpsc::unbounded_channel",
        "std::sync::mpsc::channel",
    ] {
        assert!(
            lints.contains(&format!("\"{constructor}\"")),
            "clippy.toml allows {constructor}"
        );
    }
    let sources = planted("let (a, b) = mpsc::unbounded_channel();");
    assert_eq!(words_found(&sources, &UNBOUNDED_WORDS).len(), 1);
}

/// The texts between backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What is wrong with the page: crates it does not name, invariants whose test or lint does not exist.
fn faults_of_page(page: &str, crates: &[String], sources: &[(String, String)]) -> Vec<String> {
    let unnamed = crates
        .iter()
        .filter(|name| !quoted(page).any(|word| word == name.as_str()));
    let mut faults: Vec<String> = unnamed
        .map(|name| format!("{name} is not described"))
        .collect();
    for paragraph in page.split("\n\n").filter(|p| p.starts_with("Invariant:")) {
        let holders: Vec<&str> = paragraph
            .split("Held by")
            .skip(1)
            .flat_map(quoted)
            .collect();
        if holders.is_empty() {
            faults.push(format!("nothing holds: {paragraph}"));
        }
        let is_test = |name: &str| {
            let definition = format!("fn {name}(");
            sources.iter().any(|(_, text)| text.contains(&definition))
        };
        let missing = holders
            .iter()
            .filter(|name| !is_test(name) && !root().join(name).is_file());
        faults.extend(missing.map(|name| format!("neither a test nor a file: {name}")));
    }
    faults
}

#[test]
fn the_architecture_page_keeps_up() {
    let page =
        fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is readable");
    let crates: Vec<String> = dependencies().into_keys().collect();
    let sources = rust_sources("");
    assert_none(
        "faults of ARCHITECTURE.md",
        &faults_of_page(&page, &crates, &sources),
    );
    assert!(
        page.matches("\nInvariant:").count() >= 8,
        "invariants are gone from ARCHITECTURE.md"
    );
    let wrong = "`protocol`\n\nInvariant: all is well.\n\nInvariant: so is this. Held by `no_such_test_anywhere`.";
    let crates = ["protocol".to_string(), "farm".to_string()];
    assert_eq!(faults_of_page(wrong, &crates, &sources).len(), 3);
}

/// Lines that name a folder of one person's or one machine's.
fn private_paths(text: &str) -> Vec<String> {
    // In two parts, so that this file does not find itself.
    let folders = ["home", "root", "Users", "work"].map(|name| format!("/{name}/"));
    let names_one = |line: &&str| folders.iter().any(|folder| line.contains(folder.as_str()));
    text.lines().filter(names_one).map(str::to_string).collect()
}

#[test]
fn no_file_names_a_private_folder() {
    for path in files_below(&root()) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let found: Vec<String> = private_paths(&text)
            .into_iter()
            .filter(|line| !line.contains("://"))
            .collect();
        assert_none(
            &format!("paths of one machine in {}", path.display()),
            &found,
        );
    }
    assert_eq!(
        private_paths(&["open(\"", "home", "somebody/scene.blend\")"].join("/")).len(),
        1
    );
}
