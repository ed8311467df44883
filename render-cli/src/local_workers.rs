//! Local worker processes: the same program as a remote worker, started by `render` and gone with it.

use crate::failure::{Code, Failure};
use engine::{Device, blender::Found};
use protocol::{EngineKind, NodeId};
use render_worker::{money::NetworkArguments, wallet::PASSWORD_VARIABLES};
use serde::Deserialize;
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Longest a local worker may take to say its address.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest line that is read from it.
const GREETING_BYTES_MAX: u64 = 16 << 10;

/// What a worker says of itself on its first line.
#[derive(Debug, Deserialize)]
struct Greeting {
    node: String,
    addresses: Vec<String>,
}

/// A running local worker; killed when dropped.
pub struct LocalWorker {
    /// Its identity.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
    // Held so that the worker's standard input stays open: it ends with us.
    _process: Child,
}

/// Starts worker number `index` of `count`, which serves nobody but `requestor`.
pub async fn start(
    index: u32,
    count: u32,
    engine: EngineKind,
    requestor: NodeId,
    (blender, common_kernel, device): (Option<Found>, bool, Device),
    (money, data_dir): (NetworkArguments, PathBuf),
) -> Result<LocalWorker, Failure> {
    let fail = |why: String| {
        Failure::new(
            Code::NoProviders,
            format!("local worker {} does not start: {why}", index + 1),
        )
    };
    let program = std::env::current_exe().map_err(|e| fail(e.to_string()))?;
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let mut command = Command::new(program);
    command
        .arg("worker")
        .args([
            "--json",
            "--exit-with-parent",
            "--listen",
            "/ip4/127.0.0.1/udp/0/quic-v1",
        ])
        .args(["--engine", &engine.to_string()])
        .args(["--threads", &processors.div_ceil(count).max(1).to_string()])
        .args(["--serve-only", &requestor.to_string()])
        // It ends with us: nobody comes back for its results.
        .args(["--hold", "0"])
        .arg("--requestor-blobs")
        .arg(data_dir.join("blobs"))
        .arg("--data-dir")
        .arg(data_dir.join("workers").join((index + 1).to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    for password in PASSWORD_VARIABLES {
        command.env_remove(password);
    }
    if let Some(blender) = blender {
        command.arg("--blender").arg(&blender.path);
        command.args(["--blender-facts", &blender.facts()]);
    }
    // Not as an argument: an endpoint may have a key in it.
    command.env("RENDER_RPC", money.rpc.join(","));
    command.args(["--network", &money.network.to_string()]);
    command.args(["--device", &device.to_string()]);
    if common_kernel {
        command.arg("--common-kernel");
    }
    let mut process = command.spawn().map_err(|e| fail(e.to_string()))?;
    let stdout = process
        .stdout
        .take()
        .ok_or_else(|| fail("no standard output".into()))?;
    let mut line = String::new();
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::take(stdout, GREETING_BYTES_MAX));
    match tokio::time::timeout(START_TIMEOUT, reader.read_line(&mut line)).await {
        Ok(Ok(read)) if read > 0 => {}
        _ => return Err(fail("it said nothing; see its messages above".into())),
    }
    let greeting: Greeting = serde_json::from_str(&line).map_err(|e| fail(e.to_string()))?;
    let node = greeting
        .node
        .parse()
        .map_err(|e: protocol::ids::ParseIdError| fail(e.to_string()))?;
    let address = greeting
        .addresses
        .into_iter()
        .next()
        .ok_or_else(|| fail("no address".into()))?;
    Ok(LocalWorker {
        node,
        address,
        _process: process,
    })
}
