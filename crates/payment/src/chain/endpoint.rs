//! One JSON-RPC endpoint over HTTP: bounded answers, bounded time, and a name that gives no key away.

use super::words;
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// Longest answer in bytes; a receipt of a hundred transfers has about 200,000.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// JSON-RPC errors that speak of the endpoint and not of the request: rate limits, resources, internal trouble.
const ENDPOINT_ERRORS: [i64; 5] = [-32005, -32002, -32016, -32603, 429];

/// Why an endpoint gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did not answer, or not with JSON-RPC: another may.
    Broken(String),
    /// The chain itself says no.
    Refused {
        message: String,
        data: Option<String>,
    },
}

pub(super) struct Endpoint {
    agent: ureq::Agent,
    url: String,
}

impl Endpoint {
    pub(super) fn new(url: &str, timeout: Duration) -> Self {
        let roots = ureq::tls::RootCerts::PlatformVerifier;
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
            .build();
        Self {
            agent: config.into(),
            url: url.to_owned(),
        }
    }

    pub(super) fn call(&self, method: &str, parameters: &Value) -> Result<Value, Silence> {
        let broken = |e: &dyn fmt::Display| Silence::Broken(words::shown(&e.to_string()));
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters })
            .to_string();
        let mut response = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .send(request)
            .map_err(|error| match error {
                // It repeats the address, which may have a key in it.
                ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                    Silence::Broken("this is no address with http:// or https://".into())
                }
                error => broken(&error),
            })?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(|e| broken(&e))?;
        // Some endpoints say what is wrong with a request in JSON and with a status that is no success.
        match serde_json::from_slice::<Value>(&body) {
            Ok(mut answer) => read(&mut answer, status.as_u16()),
            Err(_) if !status.is_success() => Err(broken(&format!("HTTP status {status}"))),
            Err(error) => Err(broken(&format!("not JSON: {error}"))),
        }
    }
}

fn read(answer: &mut Value, status: u16) -> Result<Value, Silence> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let code = error["code"].as_i64();
        let message = error["message"].as_str().or(error.as_str());
        let message = words::shown(message.unwrap_or("no reason"));
        let data = error["data"].as_str().map(str::to_owned);
        // Some nodes call it an internal error when a contract undoes a call.
        let is_undone = data.is_some() || words::is_undone(&message);
        let refuses_us = matches!(status, 401 | 403 | 429 | 500..);
        return match code {
            Some(code)
                if is_undone
                    || !ENDPOINT_ERRORS.contains(&code)
                        && !refuses_us
                        && !words::is_of_the_endpoint(&message) =>
            {
                Err(Silence::Refused { message, data })
            }
            _ => Err(Silence::Broken(message)),
        };
    }
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(Silence::Broken("neither a result nor an error".into())),
    }
}

impl fmt::Display for Endpoint {
    /// Scheme and host: what comes after may be somebody's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_shown() {
        for (url, shown) in [
            ("https://rpc.example/v3/0123secret", "https://rpc.example"),
            (
                "https://user:secret@rpc.example:8545?key=1",
                "https://rpc.example:8545",
            ),
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ] {
            assert_eq!(
                Endpoint::new(url, Duration::from_secs(1)).to_string(),
                shown
            );
        }
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        for url in [
            "rpc.example/v3/0123secret",
            "ftp://rpc.example/0123secret",
            "http:// /0123secret",
        ] {
            let silence =
                Endpoint::new(url, Duration::from_secs(1)).call("eth_chainId", &json!([]));
            let Err(Silence::Broken(why)) = silence else {
                panic!("{silence:?}");
            };
            assert!(!why.contains("0123secret"), "{why}");
        }
    }

    #[test]
    fn limits_of_the_endpoint_are_not_the_chains_word() {
        for (answer, status) in [
            (
                json!({ "error": { "code": -32005, "message": "slow down" } }),
                200,
            ),
            (
                json!({ "error": { "code": -32000, "message": "daily quota used up" } }),
                200,
            ),
            (
                json!({ "error": { "code": -32000, "message": "no key" } }),
                401,
            ),
            (
                json!({ "error": { "code": -32000, "message": "upstream" } }),
                503,
            ),
            (
                json!({ "error": { "code": -32603, "message": "out of memory" } }),
                200,
            ),
            (json!({ "error": "go away" }), 200),
            (json!({}), 200),
            (json!([]), 200),
        ] {
            let read = read(&mut answer.clone(), status);
            assert!(
                matches!(read, Err(Silence::Broken(_))),
                "{answer}: {read:?}"
            );
        }
        for error in [
            json!({ "code": 3, "message": "execution reverted", "data": "0x08" }),
            json!({ "code": -32603, "message": "reverted with a reason", "data": "0x08" }),
        ] {
            let read = read(&mut json!({ "error": error }), 500);
            assert!(
                matches!(&read, Err(Silence::Refused { data: Some(data), .. }) if data == "0x08"),
                "{read:?}"
            );
        }
        assert_eq!(read(&mut json!({ "result": null }), 200), Ok(Value::Null));
    }

    #[test]
    fn words_of_an_endpoint_steer_no_terminal() {
        let mut answer = json!({ "error": { "code": 1, "message": "\u{1b}[2J".repeat(1_000) } });
        let Err(Silence::Refused { message, .. }) = read(&mut answer, 200) else {
            panic!("no error");
        };
        assert!(!message.contains('\u{1b}') && message.len() < 2_000);
    }
}
