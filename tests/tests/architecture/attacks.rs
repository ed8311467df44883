//! The page of attacks names strategies and tests that are there, and forgets none.

use super::{assert_none, quoted, root, rust_sources};
use std::fs;

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("the file is there")
}

/// The names of an enumeration's variants.
fn variants(source: &str, enumeration: &str) -> Vec<String> {
    let (_, body) = source
        .split_once(&format!("pub enum {enumeration} {{\n"))
        .expect("the enumeration is there");
    let (body, _) = body.split_once("\n}").expect("it ends");
    let name = |line: &str| {
        let word: String = line
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        word.starts_with(|first: char| first.is_ascii_uppercase())
            .then_some(word)
    };
    body.lines().map(str::trim).filter_map(name).collect()
}

/// What the page names that is not there, and what is there that it does not name.
fn faults(page: &str, known: &[String], sources: &[(String, String)]) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows.flat_map(quoted).collect();
    let is_test = |name: &str| {
        let definition = format!("fn {name}(");
        sources.iter().any(|(_, text)| text.contains(&definition))
    };
    let missing = named
        .iter()
        .filter(|name| !is_test(name) && !known.iter().any(|known| known == *name))
        .map(|name| format!("{name} is not there"));
    let forgotten = known
        .iter()
        .filter(|known| !named.contains(&known.as_str()))
        .map(|known| format!("{known} is not named"));
    missing.chain(forgotten).collect()
}

#[test]
fn the_page_of_attacks_keeps_up() {
    let strategies = read("tests/src/simulator/strategies.rs");
    let conducts = read("tests/tests/cheats/conduct.rs");
    let conducts = variants(&conducts, "Conduct").into_iter();
    let mut known = variants(&strategies, "Strategy");
    known.extend(conducts.map(|conduct| format!("Conduct::{conduct}")));
    known.retain(|name| !name.ends_with("Honest"));
    assert!(known.len() > 50, "{known:?}");
    let page = read("docs/verification-attacks.md");
    let sources = rust_sources("");
    assert_none(
        "faults of the page of attacks",
        &faults(&page, &known, &sources),
    );
    let planted = page.replace("`Black`", "`Blue`");
    assert_eq!(
        faults(&planted, &known, &sources),
        ["Blue is not there", "Black is not named"]
    );
}
