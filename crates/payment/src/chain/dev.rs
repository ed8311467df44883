//! A chain of one's own on this computer: anvil, with test GLM and coins for who asks.

use super::{
    contract::{self, DEPLOYER, Deployment},
    error::ChainError,
    rpc::{Rpc, RpcError, hex},
    settings::ChainSettings,
    words::Told,
};
use protocol::{Address, Glm};
use serde_json::{Value, json};
use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Longest it may take to listen.
const START_MAX: Duration = Duration::from_secs(30);
/// Blocks whose state is kept, in memory: anvil would write all others to disk, and leave them there when it is ended.
const STATES_KEPT: u32 = 256;
/// Longest one of its transactions may take.
const TRANSACTION_MAX: Duration = Duration::from_secs(30);
/// Coins that an account is given, in wei.
const COINS: u128 = 100_000_000_000_000_000_000;
/// Test GLM that an account is given.
const TEST_GLM: Glm = Glm::from_glm(1_000);

/// A running anvil; it ends when this is dropped, or with this process.
#[derive(Debug)]
pub struct DevChain {
    process: Child,
    url: String,
}

impl DevChain {
    /// The chain id that anvil has unless it is told another.
    pub const CHAIN_ID: u64 = 31_337;

    /// Starts anvil: `program`, else the one that the environment variable `ANVIL` names, else the one in the path.
    ///
    /// # Errors
    /// When it is not there or does not listen in time.
    pub fn start(program: Option<&Path>) -> Result<Self, ChainError> {
        Self::run(program, Self::CHAIN_ID)
    }

    /// Starts anvil as [`DevChain::start`] does, with the id of another chain: to try what is meant for that.
    ///
    /// # Errors
    /// As there.
    pub fn start_as(chain_id: u64) -> Result<Self, ChainError> {
        Self::run(None, chain_id)
    }

    fn run(program: Option<&Path>, chain_id: u64) -> Result<Self, ChainError> {
        let named = env::var_os("ANVIL").filter(|name| !name.is_empty());
        let program = program.map(|program| program.as_os_str().to_owned());
        let program = program.or(named).unwrap_or_else(|| "anvil".into());
        let fail = |why: &str| {
            ChainError::Dev(format!(
                "no development chain: {} {why}; hint: `npm install @foundry-rs/anvil`, then set ANVIL to its program, or give the endpoint of a running one with --rpc",
                Path::new(&program).display()
            ))
        };
        // The shell ends anvil when our end of the pipe closes, even if we are killed; it lets go of the output, so that this
        // ends when anvil does.
        let mut process = Command::new("sh")
            .args(["-c", r#""$@" & exec >&-; read -r _; kill $!"#, "sh"])
            .arg(&program)
            .args(["--port", "0", "--block-time", "1", "--accounts", "1"])
            .args(["--chain-id", &chain_id.to_string()])
            .args(["--prune-history", &STATES_KEPT.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| fail(&e.to_string()))?;
        let Some(stdout) = process.stdout.take() else {
            return Err(fail("has no output"));
        };
        let (listening, heard) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("Listening on ") {
                    // Whoever waited may have given up; it goes on writing, and somebody has to read.
                    let _ = listening.try_send(address.trim().to_owned());
                }
            }
        });
        let mut chain = Self {
            process,
            url: String::new(),
        };
        let address = heard.recv_timeout(START_MAX);
        let address = address.map_err(|_| fail("does not say where it listens"))?;
        chain.url = format!("http://{address}");
        Ok(chain)
    }

    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts token and escrow on a development chain, where they are missing.
    ///
    /// # Errors
    /// When it is no development chain, or does not do it in time.
    pub fn prepare(settings: &ChainSettings) -> Result<(), ChainError> {
        let rpc = settings.rpc()?;
        for deployment in [Deployment::test_token(), Deployment::escrow(settings.token)] {
            let asked = json!([deployment.address.to_string(), "latest"]);
            let is_there = || -> Result<bool, RpcError> {
                Ok(!rpc.bytes("eth_getCode", asked.clone())?.is_empty())
            };
            if is_there()? {
                continue;
            }
            let sent = send(&rpc, deployment.address, DEPLOYER, &deployment.input);
            // Of two processes that do it at once the second is refused.
            if !is_there()? {
                sent?;
            }
        }
        Ok(())
    }

    /// Gives an account coins and, the first time, test GLM.
    ///
    /// # Errors
    /// When it is no development chain, or does not do it in time.
    pub fn fund(settings: &ChainSettings, account: Address) -> Result<(), ChainError> {
        let rpc = settings.rpc()?;
        let holder = account.to_string();
        if rpc.number("eth_getBalance", json!([holder, "latest"]))? < COINS / 2 {
            call(
                &rpc,
                "anvil_setBalance",
                json!([holder, format!("{COINS:#x}")]),
            )?;
        }
        let held = rpc.look(settings.token, &contract::balance_of(account))?;
        if contract::read_number(&held) == Some(0) {
            Self::mint(settings, account, TEST_GLM)?;
        }
        Ok(())
    }

    /// Makes test GLM.
    ///
    /// # Errors
    /// When it is no development chain, or does not do it in time.
    pub fn mint(settings: &ChainSettings, account: Address, sum: Glm) -> Result<(), ChainError> {
        send(
            &settings.rpc()?,
            account,
            settings.token,
            &contract::mint(account, sum),
        )
    }

    /// Gives an account coins for fees.
    ///
    /// # Errors
    /// When it is no development chain.
    pub fn give_coins(settings: &ChainSettings, account: Address) -> Result<(), ChainError> {
        let rpc = settings.rpc()?;
        call(
            &rpc,
            "anvil_setBalance",
            json!([account.to_string(), format!("{COINS:#x}")]),
        )?;
        Ok(())
    }

    /// A name for this chain: a development chain that is started anew has its blocks from another time.
    ///
    /// # Errors
    /// When its endpoint does not answer.
    pub fn genesis(settings: &ChainSettings) -> Result<String, ChainError> {
        let block = settings
            .rpc()?
            .call("eth_getBlockByNumber", json!(["0x0", false]))?;
        let hash = block["hash"].as_str().unwrap_or_default();
        Ok(hash.trim_start_matches("0x").chars().take(16).collect())
    }
}

impl Drop for DevChain {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // The shell ends with anvil.
        let _ = self.process.wait();
    }
}

fn call(rpc: &Rpc, method: &str, parameters: Value) -> Result<Value, ChainError> {
    rpc.call(method, parameters).map_err(|error| match error {
        RpcError::Refused { message, .. } => ChainError::Dev(format!(
            "the endpoint is no development chain: {method}: {message}"
        )),
        error => error.into(),
    })
}

/// Sends a transaction of an account that is nobody's: anvil takes it without a key. What several processes want at once comes
/// from an account for each `beneficiary`, since one account would give two of them the same nonce.
fn send(rpc: &Rpc, beneficiary: Address, to: Address, data: &[u8]) -> Result<(), ChainError> {
    let hash = ethers_core::utils::keccak256([&b"faucet"[..], &beneficiary.0].concat());
    let from = hex(&hash[..20]);
    call(
        rpc,
        "anvil_setBalance",
        json!([from, format!("{COINS:#x}")]),
    )?;
    call(rpc, "anvil_impersonateAccount", json!([from]))?;
    let transaction = json!({ "from": from, "to": to.to_string(), "data": hex(data) });
    let begun = Instant::now();
    let mut hash = None;
    while begun.elapsed() < TRANSACTION_MAX {
        match &hash {
            None => hash = hand_in(rpc, &transaction)?,
            Some(hash) => {
                let receipt = call(rpc, "eth_getTransactionReceipt", json!([hash]))?;
                match receipt["status"].as_str() {
                    Some("0x1") => return Ok(()),
                    Some(_) => {
                        return Err(ChainError::Dev(
                            "the development chain undid what it was asked".into(),
                        ));
                    }
                    None => {}
                }
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(ChainError::Dev(
        "the development chain makes no blocks".into(),
    ))
}

/// Gives nothing where another process uses the same account at the moment.
fn hand_in(rpc: &Rpc, transaction: &Value) -> Result<Option<Value>, ChainError> {
    match rpc.call("eth_sendTransaction", json!([transaction])) {
        Err(RpcError::Refused { message, .. })
            if matches!(
                Told::of(&message),
                Told::Taken | Told::Used | Told::Underpriced
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ChainError::Dev(format!(
            "the development chain does not take it: {error}"
        ))),
        Ok(hash) => Ok(Some(hash)),
    }
}
