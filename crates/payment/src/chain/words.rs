//! What nodes say in words: there are few codes for it, and every kind of node has words of its own.

use super::{contract, rpc::from_hex};
use protocol::message::printable;

/// Most characters of a node's words that are shown.
const SHOWN_MAX: usize = 300;

/// What an endpoint says of a transaction that it was sent. None of it means that the transaction will not happen: another
/// node may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It has it, now or from before.
    Taken,
    /// The nonce is used: by the transaction itself, or by another.
    Used,
    /// It wants more for it.
    Underpriced,
    /// The account cannot pay for it.
    NoCoin,
    /// It does not take it, perhaps for now.
    Declined(String),
}

impl Told {
    pub(super) fn of(message: &str) -> Self {
        let low = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| low.contains(word));
        if says(&["already known", "already imported", "alreadyknown"])
            || low.starts_with("known transaction")
        {
            return Self::Taken;
        }
        if says(&[
            "nonce too low",
            "nonce is too low",
            "oldnonce",
            "nonce below",
            "nonce has already been used",
        ]) {
            return Self::Used;
        }
        if says(&[
            "underpriced",
            "less than block base fee",
            "fee too low",
            "feetoolow",
            "gas price too low",
            "below minimum",
            "below configured minimum",
            "lower than the minimum",
        ]) {
            return Self::Underpriced;
        }
        match is_without_coin(message) {
            true => Self::NoCoin,
            false => Self::Declined(shown(message)),
        }
    }
}

/// The account cannot pay.
pub(super) fn is_without_coin(message: &str) -> bool {
    let low = message.to_ascii_lowercase();
    low.contains("insufficient funds") || low.contains("exceeds account balance")
}

/// A contract undid the call, whatever the code says.
pub(super) fn is_undone(message: &str) -> bool {
    message.to_ascii_lowercase().contains("revert")
}

/// The endpoint has enough of us for now, or will not serve us at all: no word of the chain's.
pub(super) fn is_of_the_endpoint(message: &str) -> bool {
    let low = message.to_ascii_lowercase();
    [
        "rate limit",
        "too many requests",
        "quota",
        "unauthorized",
        "forbidden",
    ]
    .iter()
    .any(|word| low.contains(word))
}

/// The node does not have the block that it was asked about, or not yet.
pub(super) fn is_behind(message: &str) -> bool {
    let low = message.to_ascii_lowercase();
    [
        "header not found",
        "block not found",
        "unknown block",
        "outofrange",
        "out of range",
        "header for hash not found",
        "future block",
        "beyond current head",
        "state not available",
        "missing trie node",
    ]
    .iter()
    .any(|word| low.contains(word))
}

/// What a contract's refusal says, else the node's own words.
pub(super) fn reason(message: &str, data: Option<&str>) -> String {
    let data = data.and_then(from_hex).filter(|data| data.len() >= 4);
    match data {
        Some(data) => contract::refusal(&data),
        None => shown(message),
    }
}

/// A stranger's words, short and without what steers a terminal.
pub(super) fn shown(message: &str) -> String {
    printable(&message.chars().take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_understood() {
        let declined = |message: &str| Told::Declined(message.into());
        for (message, told) in [
            ("already known", Told::Taken),
            ("ALREADY_EXISTS: already known", Told::Taken),
            ("known transaction: 0x12", Told::Taken),
            ("nonce too low: next nonce 5, tx nonce 4", Told::Used),
            ("replacement transaction underpriced", Told::Underpriced),
            (
                "max fee per gas less than block base fee",
                Told::Underpriced,
            ),
            (
                "transaction gas price below minimum: gas tip cap 1",
                Told::Underpriced,
            ),
            (
                "insufficient funds for gas * price + value: have 1",
                Told::NoCoin,
            ),
            // Not "known transaction".
            (
                "unknown transaction type",
                declined("unknown transaction type"),
            ),
            ("txpool is full", declined("txpool is full")),
            ("\u{1b}[2J", declined("\u{fffd}[2J")),
        ] {
            assert_eq!(Told::of(message), told, "{message}");
        }
    }

    #[test]
    fn a_node_that_is_late_is_told_from_a_contract_that_refuses() {
        assert!(is_behind("header not found"));
        assert!(is_behind(
            "BlockOutOfRangeError: block height is 5 but requested was 6"
        ));
        assert!(!is_behind("execution reverted"));
        assert!(is_of_the_endpoint("daily quota exceeded"));
        assert!(!is_of_the_endpoint("exceeds block gas limit"));
    }
}
