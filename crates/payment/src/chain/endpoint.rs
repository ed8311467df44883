//! One JSON-RPC endpoint over HTTP: bounded answers, bounded time, and a name that gives no key away.

use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// Longest answer in bytes; a receipt of a hundred transfers has about 200,000.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// JSON-RPC errors that speak of the endpoint and not of the request: rate limits, resources, internal trouble.
const ENDPOINT_ERRORS: [i64; 3] = [-32005, -32002, -32603];

/// Why an endpoint gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did not answer, or not with JSON-RPC: another may.
    Broken(String),
    /// The chain itself says no.
    Refused {
        code: i64,
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
        let broken = |e: &dyn fmt::Display| Silence::Broken(e.to_string());
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters })
            .to_string();
        let mut response = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .send(request)
            .map_err(|e| broken(&e))?;
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
        let code = error["code"].as_i64().unwrap_or_default();
        let message = error["message"].as_str().unwrap_or("no reason").to_owned();
        return Err(match ENDPOINT_ERRORS.contains(&code) || status == 429 {
            true => Silence::Broken(format!("{message} ({code})")),
            false => Silence::Refused {
                code,
                message,
                data: error["data"].as_str().map(str::to_owned),
            },
        });
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
    fn limits_of_the_endpoint_are_not_the_chains_word() {
        let mut limited = json!({ "error": { "code": -32005, "message": "slow down" } });
        assert!(matches!(read(&mut limited, 200), Err(Silence::Broken(_))));
        let mut reverted =
            json!({ "error": { "code": 3, "message": "execution reverted", "data": "0x08" } });
        assert!(matches!(
            read(&mut reverted, 200),
            Err(Silence::Refused { code: 3, data: Some(data), .. }) if data == "0x08"
        ));
        assert_eq!(read(&mut json!({ "result": null }), 200), Ok(Value::Null));
        assert!(matches!(read(&mut json!({}), 200), Err(Silence::Broken(_))));
    }
}
