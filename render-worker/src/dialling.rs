//! Keeps the worker connected to the requestors that its user named.

use crate::limits::REDIAL;
use network::{NetworkError, Node};
use protocol::NodeId;
use std::{collections::HashSet, time::Duration};
use tokio::sync::{mpsc, watch};

/// Dials a peer for ever, so that a worker may be started before its requestor.
pub async fn keep_connected(
    node: Node,
    address: String,
    mut connections: watch::Receiver<HashSet<NodeId>>,
    bad_peer: mpsc::Sender<NetworkError>,
) {
    let mut wait = REDIAL.0;
    loop {
        match node.dial(&address).await {
            Ok(peer) => {
                wait = REDIAL.0;
                // The loop hears of the connection a little later than we do.
                let known = connections.wait_for(|all| all.contains(&peer));
                let _ = tokio::time::timeout(REDIAL.1, known).await;
                if connections
                    .wait_for(|all| !all.contains(&peer))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(NetworkError::Stopped) => return,
            Err(error @ NetworkError::Address { .. }) if !address.starts_with("/dns") => {
                // Fails only when the worker stops anyway.
                let _ = bad_peer.send(error).await;
                return;
            }
            Err(error) => tracing::info!("{error}; next attempt in {} s", wait.as_secs()),
        }
        tokio::time::sleep(wait).await;
        wait = Duration::min(wait * 2, REDIAL.1);
    }
}
