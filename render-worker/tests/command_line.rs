//! The program as a user or a parent process sees it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

fn worker(data_dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_render-worker"));
    command.args(args).arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn doctor_tells_who_the_worker_is_and_keeps_its_keys_private() {
    let data = tempfile::tempdir().unwrap();
    let blender = ["doctor", "--json", "--blender", "/no/such/blender"];
    let first = worker(data.path(), &blender);
    assert!(first.status.success(), "{first:?}");
    let report: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(report["node"].as_str().unwrap().len(), 64);
    assert!(report["blender"].is_null());
    assert_eq!(worker(data.path(), &blender).stdout, first.stdout);
    #[cfg(unix)]
    for key in ["identity.key", "payment.key"] {
        use std::os::unix::fs::PermissionsExt;
        let metadata = data.path().join(key).metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{key}");
    }
}

#[test]
fn mistakes_have_their_exit_codes() {
    let data = tempfile::tempdir().unwrap();
    for wrong in [
        ["--no-such", ""],
        ["--hold", "8"],
        ["--hold", "soon"],
        ["--device", "gpu"],
    ] {
        assert_eq!(worker(data.path(), &wrong).status.code(), Some(2));
    }
    let refused = worker(data.path(), &["--engine", "tracer", "--listen", "nonsense"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.starts_with("error: ") && text.contains("\nhint: "),
        "{text}"
    );
}

#[test]
fn a_worker_without_vouchers_has_earned_nothing() {
    let data = tempfile::tempdir().unwrap();
    let earnings = worker(data.path(), &["earnings", "--json"]);
    let earnings: serde_json::Value = serde_json::from_slice(&earnings.stdout).unwrap();
    assert_eq!(earnings["vouchers"].as_array().unwrap().len(), 0);
}

#[test]
fn a_worker_says_where_it_is_and_ends_with_its_parent() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_render-worker"))
        .args(["--json", "--exit-with-parent", "--engine", "tracer"])
        .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"])
        .arg(data.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = started["addresses"][0].as_str().unwrap();
    assert!(address.starts_with("/ip4/127.0.0.1/tcp/"), "{address}");
    // Even one that keeps no book would clear away what this one renders.
    let second = worker(data.path(), &["--engine", "tracer", "--network", "free"]);
    let text = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Cycles has no Metal but on Apple's computers: what is there instead is named, and nothing is served on the processor.
#[cfg(not(target_os = "macos"))]
#[test]
fn a_card_that_is_not_there_is_one_line_that_names_what_is() {
    let data = tempfile::tempdir().unwrap();
    let refused = worker(data.path(), &["--device", "metal"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    let line = text.lines().find(|line| line.starts_with("error: "));
    let line = line.expect("an error");
    assert!(
        line.contains("no device metal") && line.contains("(CPU)"),
        "{text}"
    );
    let report = worker(data.path(), &["doctor"]);
    let report = String::from_utf8(report.stdout).unwrap();
    let devices: Vec<&str> = report
        .lines()
        .filter(|line| line.contains("Blender renders with"))
        .collect();
    assert!(
        devices.iter().any(|line| line.ends_with("(CPU)")),
        "{report}"
    );
}
