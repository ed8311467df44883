//! `render wallet` as a user or a script sees it.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Folders and password files of a test, with no password in the environment and no terminal.
struct Place(tempfile::TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file for its owner only.
    fn file(&self, name: &str, content: &str) -> String {
        let mut file = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        let path = self.path(name);
        file.persist(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn wallet(&self, data: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_render"));
        command.arg("wallet").args(arguments);
        command.arg("--data-dir").arg(self.path(data));
        command.env_remove("RENDER_WALLET_PASSWORD");
        command.env_remove("RENDER_WALLET_NEW_PASSWORD");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, data: &str, arguments: &[&str]) -> String {
        let output = self.wallet(data, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of a command that must be refused, and changes nothing of what is there.
    fn refused(&self, data: &str, arguments: &[&str]) -> String {
        let before = files(self.0.path());
        let output = self.wallet(data, arguments);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {output:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert_eq!(files(self.0.path()), before, "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.starts_with("error: ") && told.contains("\nhint: "),
            "{told}"
        );
        told
    }

    fn address(&self, data: &str) -> String {
        let shown = self.done(data, &["show", "--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            shown["file"],
            self.path(data).join("wallet.json").to_str().unwrap()
        );
        shown["address"].as_str().unwrap().to_owned()
    }
}

/// Files below a folder with their content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_wallet_is_made_shown_exported_and_imported_again() {
    let place = Place(tempfile::tempdir().unwrap());
    let right = place.file("right", "correct horse\n");
    let other = place.file("other", "battery staple\n");
    let exported = place.path("exported.json");
    let exported = exported.to_str().unwrap();

    assert!(place.refused("data", &["show"]).contains("no wallet"));
    assert!(place.refused("data", &["new"]).contains("no terminal"));
    let made = place.done("data", &["new", "--password-file", &right]);
    let address = place.address("data");
    assert!(made.contains(&address), "{made}");
    let again = place.refused("data", &["new", "--password-file", &right]);
    assert!(again.contains("never overwritten"), "{again}");

    let wrong = [
        "export",
        exported,
        "--new-password-file",
        &right,
        "--password-file",
        &other,
    ];
    let told = place.refused("data", &wrong);
    assert!(told.contains("password is wrong"), "{told}");
    let export = [
        "export",
        exported,
        "--new-password-file",
        &other,
        "--password-file",
        &right,
    ];
    assert!(place.done("data", &export).contains(&address));
    assert!(place.refused("data", &export).contains("never overwritten"));
    place.done("copy", &["import", exported, "--password-file", &other]);
    assert_eq!(place.address("copy"), address);

    let plain = place.wallet("copy", &["export", "--plain", "--password-file", &other]);
    let warning = String::from_utf8(plain.stderr).unwrap();
    assert!(warning.contains("warning") && warning.contains(&address));
    let key = String::from_utf8(plain.stdout).unwrap();
    let key: payment::Wallet = payment::Wallet::from_hex(&key).unwrap();
    assert_eq!(key.address().to_string(), address);
}

#[cfg(unix)]
#[test]
fn files_that_others_can_reach_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place(tempfile::tempdir().unwrap());
    let loosen = |path: &str| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    let password = place.file("password", "correct horse\n");
    let key = place.file("key", &"1".repeat(64));
    loosen(&key);
    let import = ["import", &key, "--password-file", &password];
    assert!(place.refused("data", &import).contains("chmod 600"));
    loosen(&password);
    let new = ["new", "--password-file", &password];
    assert!(place.refused("data", &new).contains("chmod 600"));
    fs::create_dir_all(place.path("data")).unwrap();
    loosen(&place.file("data/wallet.json", "{}"));
    assert!(place.refused("data", &["show"]).contains("chmod 600"));
}

#[test]
fn a_password_or_a_key_is_never_an_argument() {
    let place = Place(tempfile::tempdir().unwrap());
    for wrong in [
        &["new", "--password", "secret"][..],
        &["import", "--key", "11"],
        &["export"],
        &["export", "file", "--plain"],
        &[],
    ] {
        let output = place.wallet("data", wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
}
