//! One anvil for all tests of this program, and what is said to it over HTTP.

use crate::{
    calls::from_hex,
    evm::{Done, Evm, Reverted},
};
use protocol::Address;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Chain id of anvil unless a test changes it.
pub const CHAIN_ID: u64 = 31337;

/// The process; ends when no test uses it, or when this program does.
pub struct Anvil {
    process: Mutex<Child>,
    connection: Mutex<Connection>,
}

struct Connection {
    stream: BufReader<TcpStream>,
    now: u64,
    created: Address,
}

impl Anvil {
    /// The running one, or a new one.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Anvil>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let anvil = Arc::new(Self::start());
            *shared = Arc::downgrade(&anvil);
            anvil
        })
    }

    fn start() -> Self {
        let program = std::env::var("ANVIL").unwrap_or_else(|_| "anvil".into());
        // The shell ends anvil when this program's end of the pipe closes, even if it is killed.
        let mut process = Command::new("sh")
            .args(["-c", r#""$@" & read -r _; kill $!"#, "sh", &program])
            .args(["--port", "0", "--auto-impersonate", "--base-fee", "0"])
            .args(["--gas-price", "0", "--accounts", "1", "--no-mining"])
            // Only the last states: they would stay on disk, gigabytes of them.
            .args(["--prune-history", "64"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("Listening on ")?.to_owned()))
            .unwrap_or_else(|| {
                panic!("{program} does not start: tests/run installs anvil; or set ANVIL to one")
            });
        // Nobody may read its words, but it must be able to write them.
        std::thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(&listening).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut connection = Connection {
            stream: BufReader::new(stream),
            now: 0,
            created: Address([0; 20]),
        };
        let block = connection.ask("eth_getBlockByNumber", json!(["latest", false]));
        connection.now = number(&block["timestamp"]);
        Self {
            process: Mutex::new(process),
            connection: Mutex::new(connection),
        }
    }

    /// The chain, for one test at a time.
    pub fn chain(&self) -> Chain<'_> {
        // A test that failed leaves contracts and accounts of its own, which disturb nobody.
        Chain(
            self.connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        drop(process.stdin.take());
        process.wait().unwrap();
    }
}

pub struct Chain<'a>(MutexGuard<'a, Connection>);

impl Chain<'_> {
    /// Asks anvil anything.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.0.ask(method, parameters)
    }
}

impl Connection {
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.answer(method, &parameters)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn answer(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        let request =
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).to_string();
        let mut answer = self.exchange(&request);
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    fn exchange(&mut self, request: &str) -> Value {
        let stream = self.stream.get_mut();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{request}",
            request.len()
        )
        .unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

impl Evm for Chain<'_> {
    fn send(&mut self, from: Address, to: Option<Address>, input: &[u8]) -> Result<Done, Reverted> {
        let connection = &mut *self.0;
        let mut transaction = json!({"from": from.to_string(), "data": hex(input), "gas": "0xf00000", "gasPrice": "0x0"});
        if let Some(to) = to {
            transaction["to"] = json!(to.to_string());
        }
        let hash = connection.ask("eth_sendTransaction", json!([transaction]));
        // Mined when asked, with this transaction alone: left to itself anvil was seen to mine an empty block in its place.
        connection.now += 1;
        connection.ask("evm_mine", json!([connection.now]));
        let receipt = connection.ask("eth_getTransactionReceipt", json!([hash]));
        if let Some(created) = receipt["contractAddress"].as_str() {
            connection.created = created.parse().unwrap();
        }
        let tracer = json!({"tracer": "callTracer", "tracerConfig": {"onlyTopCall": true}});
        let trace = connection.ask("debug_traceTransaction", json!([hash, tracer]));
        let output = from_hex(trace["output"].as_str().unwrap_or_default());
        if number(&receipt["status"]) == 0 {
            return Err(Reverted(output));
        }
        Ok(Done {
            output,
            gas: number(&receipt["gasUsed"]),
            logs: receipt["logs"]
                .as_array()
                .unwrap()
                .iter()
                .map(log)
                .collect(),
        })
    }

    fn look(&mut self, to: Address, input: &[u8]) -> Result<Vec<u8>, Reverted> {
        let call = json!([{"to": to.to_string(), "data": hex(input)}, "latest"]);
        match self.0.answer("eth_call", &call) {
            Ok(output) => Ok(from_hex(output.as_str().unwrap())),
            Err(error) => Err(Reverted(from_hex(
                error["data"]
                    .as_str()
                    .unwrap_or_else(|| panic!("eth_call: {error}")),
            ))),
        }
    }

    fn created(&self) -> Address {
        self.0.created
    }

    fn now(&self) -> u64 {
        self.0.now
    }

    fn pass(&mut self, seconds: u64) {
        self.0.now += seconds;
    }
}

fn log(log: &Value) -> (Vec<[u8; 32]>, Vec<u8>) {
    let bytes = |value: &Value| from_hex(value.as_str().unwrap());
    let topics = log["topics"].as_array().unwrap();
    let topics = topics.iter().map(|topic| bytes(topic).try_into().unwrap());
    (topics.collect(), bytes(&log["data"]))
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
