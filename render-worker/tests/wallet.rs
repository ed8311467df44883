//! `render-worker wallet` as a user or a script sees it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const ADDRESS: &str = "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b";

/// A command without a terminal, with this password in the environment and this text on standard input.
fn wallet(data: &Path, arguments: &[&str], password: Option<&str>, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_render-worker"));
    command.arg("wallet").args(arguments);
    command.arg("--data-dir").arg(data);
    for variable in render_worker::wallet::PASSWORD_VARIABLES {
        command.env_remove(variable);
    }
    command.envs(password.map(|password| ("RENDER_WALLET_PASSWORD", password)));
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that is refused before it reads has closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn assert_refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.starts_with("error: ") && told.contains(why) && told.contains("\nhint: "),
        "{told}"
    );
}

#[test]
fn a_key_from_standard_input_becomes_the_wallet_and_comes_out_with_its_password_alone() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let nonsense = wallet(&data, &["import"], Some("right"), "a key");
    assert_refused(&nonsense, "standard input");
    let empty = wallet(&data, &["import"], Some(""), KEY);
    assert_refused(&empty, "password is empty");
    let none = wallet(&data, &["import"], None, KEY);
    assert_refused(&none, "no terminal");
    assert!(!data.join("wallet.json").exists());

    let imported = wallet(&data, &["import"], Some("right"), &format!("0x{KEY}\n"));
    let told = String::from_utf8(imported.stdout).unwrap();
    assert!(told.contains(ADDRESS), "{told}");
    let shown = wallet(&data, &["show"], None, "");
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), told);
    let file = fs::read_to_string(data.join("wallet.json")).unwrap();
    assert!(!file.contains(KEY));

    let wrong = wallet(&data, &["export", "--plain"], Some("wrong"), "");
    assert_refused(&wrong, "password is wrong");
    let password = data.join("password");
    let mut private = tempfile::NamedTempFile::new_in(&data).unwrap();
    private.write_all(b"right\n").unwrap();
    private.persist(&password).unwrap();
    let by_file = [
        "export",
        "--plain",
        "--password-file",
        password.to_str().unwrap(),
    ];
    // The file comes before the environment.
    let plain = wallet(&data, &by_file, Some("wrong"), "");
    assert_eq!(String::from_utf8(plain.stdout).unwrap(), format!("{KEY}\n"));
}

#[test]
fn a_new_wallet_opens_in_the_library() {
    use payment::keystore::Keystore;
    use render_worker::wallet::{PasswordArguments, has_wallet, open_wallet};
    let data = tempfile::tempdir().unwrap();
    assert!(!has_wallet(data.path()));
    let none = open_wallet(data.path(), &PasswordArguments::default().source());
    assert!(none.unwrap_err().to_string().contains("no wallet"));
    let made = wallet(data.path(), &["new"], Some("right"), "");
    assert!(made.status.success(), "{made:?}");
    assert!(has_wallet(data.path()));
    let store = Keystore::open(data.path().join("wallet.json")).unwrap();
    let address = store.address().unwrap().to_string();
    assert!(String::from_utf8(made.stdout).unwrap().contains(&address));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = store.path().metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    let again = wallet(data.path(), &["new"], Some("right"), "");
    assert_refused(&again, "never overwritten");
}
