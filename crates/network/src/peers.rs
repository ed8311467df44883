//! Between our names of peers and libp2p's.

use libp2p::{
    PeerId,
    identity::{PublicKey, ed25519},
};
use protocol::NodeId;

/// Multihash code of a peer id that holds its public key itself, as all ed25519 ones do.
const IDENTITY_CODE: u64 = 0;

/// The libp2p name of `node`; none when its bytes are no point of the curve.
pub fn peer_id(node: NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// Our name of `peer`; none when its key is not ed25519.
pub fn node_id(peer: &PeerId) -> Option<NodeId> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_CODE {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(NodeId(key.try_into_ed25519().ok()?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn names_translate_both_ways() {
        let identity = Identity::generate();
        let peer = peer_id(identity.node()).unwrap();
        assert_eq!(peer, identity.keypair().public().to_peer_id());
        assert_eq!(node_id(&peer), Some(identity.node()));
        assert_eq!(node_id(&PeerId::random()), None);
    }
}
