//! How a user names a provider: its identity in hexadecimal, the beginning of a known one's, or the address of a worker.

use protocol::{NodeId, message::printable};

/// Digits of an identity.
const DIGITS: usize = 64;
/// Characters of a wrong identity that are shown again.
const SHOWN_MAX: usize = 80;
/// What stands before the key in the name that ends an address: the hash function "identity", 36 bytes; a public key of the
/// kind ed25519, 32 bytes.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The identity that a text names by itself: all of its digits, or a worker's address or the end of one.
///
/// # Errors
/// One line that says what an identity looks like.
pub fn parse(text: &str) -> Result<NodeId, String> {
    let named = text.parse().ok();
    let end = text.rsplit('/').next().unwrap_or_default();
    named.or_else(|| of_address(end)).ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        format!(
            "`{}` is no identity: {DIGITS} hexadecimal digits, or the end of a worker's address",
            printable(&shown)
        )
    })
}

/// As [`parse`], or the one of these providers whose identity begins so.
///
/// # Errors
/// One line that says why it is none.
pub fn find<'a>(text: &str, known: impl Iterator<Item = &'a NodeId>) -> Result<NodeId, String> {
    let is_beginning =
        (1..DIGITS).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_beginning {
        return parse(text);
    }
    let beginning = text.to_ascii_lowercase();
    let mut found = known.filter(|node| node.to_string().starts_with(&beginning));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(*node),
        (None, _) => {
            parse(text).map_err(|_| format!("no known provider's identity begins with `{text}`"))
        }
        (Some(_), Some(_)) => Err(format!("several providers' identities begin with `{text}`")),
    }
}

fn of_address(name: &str) -> Option<NodeId> {
    let bytes: [u8; 38] = base58(name)?;
    let key = bytes.strip_prefix(&PEER_PREFIX)?;
    Some(NodeId(key.try_into().ok()?))
}

/// A number of `N` bytes, whose leading zeros are ones in base 58.
fn base58<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for digit in text.bytes() {
        let value = BASE58.iter().position(|&known| known == digit)?;
        let mut carry = value as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let ones = text.bytes().take_while(|&digit| digit == b'1').count();
    (zeros == ones).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::{BlobStore, Identity, Node, NodeConfig};

    #[test]
    fn identities_are_named_in_full_or_by_their_beginning() {
        let (one, two) = (NodeId([0xab; 32]), NodeId([0xac; 32]));
        let known = [one, two];
        let find = |text: &str| super::find(text, known.iter());
        let stranger = NodeId([7; 32]);
        assert_eq!(find(&stranger.to_string()), Ok(stranger));
        assert_eq!(find("AB"), Ok(one));
        for wrong in [
            "",
            "a",
            "b",
            "xyz",
            "\u{1b}[2J\n",
            "/ip4/1",
            &"a".repeat(65),
        ] {
            let error = find(wrong).unwrap_err();
            assert!(!error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[tokio::test]
    async fn an_address_names_its_worker() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let mut config = NodeConfig::new(Identity::generate(), blobs);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        let (node, _events) = Node::start(config).await.unwrap();
        let address = node.addresses().await.remove(0);
        assert_eq!(parse(&address), Ok(node.id()));
        let name = address.rsplit('/').next().unwrap();
        assert_eq!(find(name, [].iter()), Ok(node.id()));
        assert!(parse(&name[1..]).is_err());
        assert!(parse(&format!("1{name}")).is_err());
        assert!(parse(&format!("{name}{name}")).is_err());
    }
}
