//! A chain that is called by its name, with wallets, passwords and money of one's own: what goes wrong is told in one line.

use payment::chain::{DevChain, Network};
use protocol::{Address, Glm};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::{command, render, scene, words};

/// Anvil that says it is Sepolia, with a token where GLM is there.
struct Sepolia(DevChain);

impl Sepolia {
    fn start() -> Self {
        let Network::Chain(preset) = "sepolia".parse().unwrap() else {
            panic!("a chain");
        };
        let chain = DevChain::start_as(preset.chain_id).unwrap();
        let sepolia = Self(chain);
        // Code of the plain token that development chains have; its storage begins empty.
        let dev = DevChain::start(None).unwrap();
        let settings = payment::chain::ChainSettings::dev(dev.url().to_owned());
        DevChain::prepare(&settings).unwrap();
        let code = settings.rpc().unwrap();
        let code = code
            .call("eth_getCode", json!([settings.token.to_string(), "latest"]))
            .unwrap();
        sepolia.ask("anvil_setCode", json!([preset.token.to_string(), code]));
        sepolia
    }

    fn url(&self) -> &str {
        self.0.url()
    }

    fn settings(&self) -> payment::chain::ChainSettings {
        let network: Network = "sepolia".parse().unwrap();
        payment::chain::ChainSettings {
            endpoints: vec![self.url().to_owned()],
            ..network.settings().unwrap()
        }
    }

    /// Everybody may make the token that stands in for GLM.
    fn mint(&self, account: Address, sum: Glm) {
        DevChain::mint(&self.settings(), account, sum).unwrap();
    }

    fn ask(&self, method: &str, parameters: serde_json::Value) -> serde_json::Value {
        self.settings()
            .rpc()
            .unwrap()
            .call(method, parameters)
            .unwrap()
    }
}

fn password(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn job(dir: &Path, url: &str, password: &Path) -> Command {
    let mut job = command(dir, &[]);
    job.arg(scene("orrery.glb"))
        .arg("-o")
        .arg(dir.join("####.png"));
    job.args([
        "--frames",
        "1",
        "--size",
        "64x64",
        "--samples",
        "1",
        "--local",
        "1",
    ]);
    job.args(["--network", "sepolia", "--rpc", url, "--password-file"]);
    job.arg(password);
    job
}

/// One line of error, perhaps with a hint, and this exit code.
fn assert_refused(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}", words(output));
    let errors: Vec<&str> = error
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{error}");
    assert!(errors[0].contains(says), "{error}");
}

#[test]
fn what_is_wrong_with_wallet_chain_or_account_is_told_in_one_line() {
    let (sepolia, dir) = (Sepolia::start(), tempfile::tempdir().unwrap());
    let right = password(dir.path(), "right", "correct horse");
    let wrong = password(dir.path(), "wrong", "battery staple");
    let run = |url: &str, password: &Path| job(dir.path(), url, password).output().unwrap();
    assert_refused(&run(sepolia.url(), &right), 4, "no wallet");

    let right_text = right.to_str().unwrap();
    let made = render(
        dir.path(),
        &["wallet", "new", "--password-file", right_text],
    );
    assert!(made.status.success(), "{}", words(&made));
    let text = String::from_utf8(made.stdout).unwrap();
    let address = text
        .lines()
        .find_map(|line| line.strip_prefix("address"))
        .unwrap();
    let address: Address = address.trim().parse().unwrap();
    assert_refused(&run(sepolia.url(), &wrong), 4, "password");

    let other = DevChain::start(None).unwrap();
    assert_refused(
        &run(other.url(), &right),
        4,
        "is of chain 31337, not of chain 11155111",
    );
    assert_refused(
        &run("http://127.0.0.1:9", &right),
        4,
        "no endpoint of the chain answers",
    );

    let deploy = || {
        let words = [
            "wallet",
            "deploy",
            "--network",
            "sepolia",
            "--rpc",
            sepolia.url(),
            "--password-file",
            right_text,
        ];
        render(dir.path(), &words)
    };
    assert_refused(
        &run(sepolia.url(), &right),
        4,
        "there is no escrow contract",
    );
    assert_refused(&deploy(), 4, "for the fee");
    sepolia.ask(
        "anvil_setBalance",
        json!([address.to_string(), "0xde0b6b3a7640000"]),
    );
    let deployed = deploy();
    assert!(deployed.status.success(), "{}", words(&deployed));
    // Local workers cost nothing on a public chain.
    let free = run(sepolia.url(), &right);
    assert!(free.status.success(), "{}", words(&free));

    let loose = dir.path().join("wallet.json");
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&run(sepolia.url(), &right), 4, "chmod 600");
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o600)).unwrap();

    let send = |amount: &str| {
        let to = Address([7; 20]).to_string();
        let words = [
            "wallet",
            "send",
            &to,
            amount,
            "--yes",
            "--network",
            "sepolia",
            "--rpc",
            sepolia.url(),
            "--password-file",
            right_text,
        ];
        render(dir.path(), &words)
    };
    assert_refused(&send("1"), 4, "holds 0 GLM");
    sepolia.mint(address, Glm::from_glm(3));
    let sent = send("1.25");
    assert!(sent.status.success(), "{}", words(&sent));
    let held = |account| sepolia.settings().holdings(account).unwrap().0;
    assert_eq!(held(Address([7; 20])), "1.25".parse().unwrap());
    assert_eq!(held(address), "1.75".parse().unwrap());
    let balance = render(
        dir.path(),
        &[
            "wallet",
            "balance",
            "--json",
            "--network",
            "sepolia",
            "--rpc",
            sepolia.url(),
        ],
    );
    let told: serde_json::Value = serde_json::from_slice(&balance.stdout).unwrap();
    assert_eq!(told["glm"], "1.75");
}
