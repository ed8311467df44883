//! Several endpoints of one chain as one: the first that works answers, and none that is of another chain.

use super::{
    endpoint::{Endpoint, Silence},
    words,
};
use protocol::Address;
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long an endpoint that failed is passed over while others work.
const REST: Duration = Duration::from_secs(30);
/// Between two looks for an endpoint that knows a block.
const BEHIND_POLL: Duration = Duration::from_millis(500);
/// How often is looked for one: longer than nodes of one service differ, shorter than a person waits.
const BEHIND_LOOKS_MAX: usize = 40;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No endpoint was given.
    #[error("no endpoint of the chain is known: give one with --rpc URL")]
    NoEndpoint,
    /// None of them answered.
    #[error("no endpoint of the chain answers ({0})")]
    Unreachable(String),
    /// Those that answer are of another chain.
    #[error("{endpoint} is of chain {actual}, not of chain {expected}: check --network and --rpc")]
    OtherChain {
        /// Which, without what may be a key in its path.
        endpoint: String,
        /// The chain that was asked for.
        expected: u64,
        /// The chain that it says it is of.
        actual: u64,
    },
    /// None of them knows a block that was seen before.
    #[error(
        "the endpoints of the chain do not know block {0}, which was seen before: ask again later, or give another with --rpc"
    )]
    Behind(u64),
    /// The chain refuses the request.
    #[error("{method}: {message}")]
    Refused {
        /// What was asked.
        method: String,
        /// What it says.
        message: String,
        /// What a contract says of a call that it undid, in hexadecimal.
        data: Option<String>,
    },
    /// An answer that makes no sense.
    #[error("{method}: the answer makes no sense: {what}")]
    Nonsense {
        /// What was asked.
        method: String,
        /// What is wrong with the answer.
        what: String,
    },
}

/// The endpoints of one chain.
pub struct Rpc {
    chain_id: u64,
    endpoints: Vec<(Endpoint, Mutex<Health>)>,
    /// The one that answered last.
    present: AtomicUsize,
    /// Nothing is read of the chain as it was before this block.
    seen: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Health {
    /// It has said that it is of this chain.
    is_checked: bool,
    failed: Option<(Instant, String)>,
    other_chain: Option<u64>,
}

impl Rpc {
    /// Endpoints in the order of preference; nothing is asked yet. Each call may take `timeout` at each of them.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(urls: &[String], chain_id: u64, timeout: Duration) -> Result<Self, RpcError> {
        if urls.is_empty() {
            return Err(RpcError::NoEndpoint);
        }
        let endpoints = urls
            .iter()
            .map(|url| (Endpoint::new(url, timeout), Mutex::default()));
        Ok(Self {
            chain_id,
            endpoints: endpoints.collect(),
            present: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
        })
    }

    /// The chain that all answers are of.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Asks the chain.
    ///
    /// # Errors
    /// See [`RpcError`]. An endpoint that fails is passed over for a while when another works.
    pub fn call(&self, method: &str, parameters: Value) -> Result<Value, RpcError> {
        let first = self.present.load(Ordering::Relaxed);
        let count = self.endpoints.len();
        let mut order: Vec<usize> = (0..count).map(|at| (first + at) % count).collect();
        // Those that failed lately come last; of another chain is one for good.
        order.sort_by_key(|&at| self.health(at).is_resting());
        for at in order {
            let (endpoint, _) = &self.endpoints[at];
            let answer = self
                .check_chain(at)
                .and_then(|()| endpoint.call(method, &parameters));
            match answer {
                Ok(answer) => {
                    self.present.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Silence::Refused { message, data, .. }) => {
                    let method = method.to_owned();
                    return Err(RpcError::Refused {
                        method,
                        message,
                        data,
                    });
                }
                Err(Silence::Broken(why)) => {
                    tracing_failure(endpoint, method, &why);
                    self.set_health(at, |health| {
                        health.is_checked = false;
                        health.failed = Some((Instant::now(), why));
                    });
                }
            }
        }
        Err(self.why_nobody_answers())
    }

    /// Asks an endpoint for its chain before it is asked for anything else, and again after each failure.
    fn check_chain(&self, at: usize) -> Result<(), Silence> {
        let health = self.health(at);
        if health.is_checked {
            return Ok(());
        }
        let answer = self.endpoints[at].0.call("eth_chainId", &json!([]))?;
        let actual = number(&answer).ok_or_else(|| Silence::Broken("no chain id".into()))?;
        let is_this = actual == u128::from(self.chain_id);
        self.set_health(at, |health| {
            health.is_checked = is_this;
            health.other_chain = (!is_this).then_some(u64::try_from(actual).unwrap_or(u64::MAX));
            health.failed = None;
        });
        match is_this {
            true => Ok(()),
            false => Err(Silence::Broken(format!("it is of chain {actual}"))),
        }
    }

    /// Lets another endpoint answer next: the present one works, but what it was told may not have come further.
    pub(super) fn ask_another(&self) {
        let next = self.present.load(Ordering::Relaxed) + 1;
        self.present
            .store(next % self.endpoints.len(), Ordering::Relaxed);
    }

    fn why_nobody_answers(&self) -> RpcError {
        let healths =
            || (0..self.endpoints.len()).map(|at| (&self.endpoints[at].0, self.health(at)));
        // One that is right and only does not answer at present may come back.
        let all_are_others = healths().all(|(_, health)| health.other_chain.is_some());
        if let Some((endpoint, actual)) = healths()
            .find_map(|(endpoint, health)| Some((endpoint, health.other_chain?)))
            .filter(|_| all_are_others)
        {
            return RpcError::OtherChain {
                endpoint: endpoint.to_string(),
                expected: self.chain_id,
                actual,
            };
        }
        let told = healths().filter_map(|(endpoint, health)| {
            let (_, why) = health.failed?;
            Some(format!("{endpoint}: {why}"))
        });
        RpcError::Unreachable(told.collect::<Vec<_>>().join("; "))
    }

    fn health(&self, at: usize) -> Health {
        let health = self.endpoints[at].1.lock();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_health(&self, at: usize, change: impl FnOnce(&mut Health)) {
        let health = self.endpoints[at].1.lock();
        change(&mut health.unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks for a number.
    ///
    /// # Errors
    /// As [`Rpc::call`], and when the answer is none of at most 128 bits.
    pub(super) fn number(&self, method: &str, parameters: Value) -> Result<u128, RpcError> {
        let answer = self.call(method, parameters)?;
        number(&answer).ok_or_else(|| nonsense(method, &answer))
    }

    /// Asks for bytes.
    pub(super) fn bytes(&self, method: &str, parameters: Value) -> Result<Vec<u8>, RpcError> {
        let answer = self.call(method, parameters)?;
        bytes(&answer).ok_or_else(|| nonsense(method, &answer))
    }

    /// A transaction of ours was seen in this block: what is read from now on is read as of it or of a later one.
    pub(super) fn has_seen(&self, block: u64) {
        self.seen.fetch_max(block, Ordering::Relaxed);
    }

    /// Asks for something as of the newest block; the block is the last parameter. A service has several nodes, and some are
    /// behind: a decision on what was before our own last transaction would do that a second time.
    pub(super) fn at_head(&self, method: &str, parameters: &[Value]) -> Result<Value, RpcError> {
        let seen = self.seen.load(Ordering::Relaxed);
        for look in 0..BEHIND_LOOKS_MAX {
            if look > 0 {
                self.ask_another();
                thread::sleep(BEHIND_POLL);
            }
            let head = self.number("eth_blockNumber", json!([]))?;
            // Whoever tells the number and whoever answers may be different nodes.
            let block = json!(format!("{:#x}", head.max(seen.into())));
            let parameters = parameters.iter().cloned().chain([block]);
            match self.call(method, Value::Array(parameters.collect())) {
                Err(RpcError::Refused { message, .. }) if words::is_behind(&message) => {}
                answer => return answer,
            }
        }
        Err(RpcError::Behind(seen))
    }

    /// Calls a contract without changing anything.
    pub(super) fn look(&self, to: Address, input: &[u8]) -> Result<Vec<u8>, RpcError> {
        let call = json!({ "to": to.to_string(), "data": hex(input) });
        let answer = self.at_head("eth_call", &[call])?;
        bytes(&answer).ok_or_else(|| nonsense("eth_call", &answer))
    }
}

impl Health {
    fn is_resting(&self) -> bool {
        let rests = |(since, _): &(Instant, String)| since.elapsed() < REST;
        self.failed.as_ref().is_some_and(rests)
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self
            .endpoints
            .iter()
            .map(|(endpoint, _)| endpoint.to_string());
        write!(
            f,
            "Rpc({}, {:?})",
            self.chain_id,
            endpoints.collect::<Vec<_>>()
        )
    }
}

fn tracing_failure(endpoint: &Endpoint, method: &str, why: &str) {
    tracing::debug!(%endpoint, method, why, "an endpoint of the chain failed");
}

pub(super) fn nonsense(method: &str, answer: &Value) -> RpcError {
    RpcError::Nonsense {
        method: method.to_owned(),
        what: words::shown(&answer.to_string()),
    }
}

/// A quantity as JSON-RPC writes it.
pub(super) fn number(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Bytes as JSON-RPC writes them.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    from_hex(value.as_str()?)
}

/// Reads `0x...`.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// Writes `0x...`.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_read_strictly() {
        assert_eq!(number(&json!("0x10")), Some(16));
        for bad in [
            json!("16"),
            json!("0x"),
            json!(16),
            json!(null),
            json!("0x1ffffffffffffffffffffffffffffffff"),
        ] {
            assert_eq!(number(&bad), None, "{bad}");
        }
        assert_eq!(bytes(&json!("0x")), Some(vec![]));
        assert_eq!(from_hex(&hex(&[0, 0x7f, 0xff])), Some(vec![0, 0x7f, 0xff]));
        for bad in ["00", "0x0", "0xgg", "0x\u{e4}\u{e4}"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
