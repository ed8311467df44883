//! Finds the repository's files and takes Rust sources apart, just far enough to tell code from comments and text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold no sources of ours.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "out", "node_modules", "__pycache__"];

/// The root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests package is in the repository")
        .to_path_buf()
}

/// All files below a folder, in order, without build outputs and git's own; `.ci` is looked into.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display()))
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let name = path
            .file_name()
            .expect("entries have names")
            .to_string_lossy()
            .into_owned();
        let hidden = name.starts_with('.') && name != ".ci" && name != ".gitignore";
        if hidden || SKIPPED_FOLDERS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

/// All Rust files below a folder of the repository (`""` for all of it), with their text.
pub fn rust_sources(folder: &str) -> Vec<(String, String)> {
    let root = root();
    let sources: Vec<(String, String)> = files_below(&root.join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            (
                path.strip_prefix(&root)
                    .expect("below the root")
                    .display()
                    .to_string(),
                text,
            )
        })
        .collect();
    assert!(!sources.is_empty(), "no Rust files below {folder:?}");
    sources
}

/// The identifiers and keywords of Rust code with their line numbers: not those in comments and literals.
pub fn identifiers(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < bytes.len() {
        let length = token_length(&bytes[at..]);
        let token = &bytes[at..at + length];
        if is_word(token[0]) && !token.contains(&b'"') && !token[0].is_ascii_digit() {
            found.push((line, &source[at..at + length]));
        }
        line += token.iter().filter(|&&byte| byte == b'\n').count();
        at += length;
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes of the token that `rest` starts with: a comment, a literal, a word, or one other byte.
fn token_length(rest: &[u8]) -> usize {
    if rest.starts_with(b"//") {
        return rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_length(rest);
    }
    if let Some(length) = raw_string_length(rest) {
        return length;
    }
    match rest[0] {
        b'"' => quoted_length(rest),
        b'\'' => character_length(rest),
        byte if is_word(byte) => rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len()),
        _ => 1,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"r"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?
        .len();
    let hashes = rest[prefix..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let start = prefix + hashes;
    if rest.get(start) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[start + 1..];
    let length = body.windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| start + 1 + length + end.len()))
}

fn quoted_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, or just the quote of a lifetime.
fn character_length(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|&byte| byte == b'\'');
        return close.map_or(rest.len(), |close| close + 4);
    }
    let text = &rest[1..rest.len().min(6)];
    let character = (1..=text.len()).find_map(|n| str::from_utf8(&text[..n]).ok()?.chars().next());
    let length = character.map_or(0, char::len_utf8);
    if length > 0 && rest.get(1 + length) == Some(&b'\'') {
        length + 2
    } else {
        1
    }
}

#[test]
fn comments_and_literals_hold_no_identifiers() {
    let source = "// unsafe\n/* unsafe /* nested */ unsafe */ let x = \"un\\\"safe\";\n\
                  r#\"unsafe \" unsafe\"#; b\"unsafe\"; 'u'; '\\''; '\\u{e9}'; 'é'; fn f<'a>() { unsafe {} }";
    let words: Vec<&str> = identifiers(source)
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(words, ["let", "x", "b", "fn", "f", "a", "unsafe"]);
    assert_eq!(identifiers(source).last(), Some(&(3, "unsafe")));
}
