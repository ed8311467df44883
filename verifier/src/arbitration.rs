//! Arbitration: when two workers disagree about cells, further opinions decide, or nothing is decided.

use protocol::Blake3Hash;
use serde::{Deserialize, Serialize};

/// What somebody says the disputed cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim<Party> {
    /// Who says so; each party has at most one claim in a dispute.
    pub party: Party,
    /// Hash of the cells ([`crate::digest`]).
    pub value: Blake3Hash,
}

/// What became of a tile or of a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<Party> {
    /// All claims agree.
    Accepted,
    /// These parties are wrong: the evidence is that the cells have this value.
    Rejected {
        /// Who is wrong.
        parties: Vec<Party>,
        /// What the cells are.
        value: Blake3Hash,
    },
    /// No value has two votes: another opinion is needed, nobody is to blame yet.
    Inconclusive,
}

/// Decides between claims. The requestor's own render (`own`), where there is one, decides alone; otherwise the value
/// that two parties state independently. When two values have two votes each, the better supported wins, and a draw
/// is inconclusive.
pub fn arbitrate<Party: Copy>(claims: &[Claim<Party>], own: Option<Blake3Hash>) -> Verdict<Party> {
    let Some(value) = own.or_else(|| supported(claims)) else {
        return Verdict::Inconclusive;
    };
    let parties: Vec<Party> = claims
        .iter()
        .filter(|claim| claim.value != value)
        .map(|claim| claim.party)
        .collect();
    match parties.is_empty() {
        true => Verdict::Accepted,
        false => Verdict::Rejected { parties, value },
    }
}

fn supported<Party>(claims: &[Claim<Party>]) -> Option<Blake3Hash> {
    let votes = |value: Blake3Hash| claims.iter().filter(|claim| claim.value == value).count();
    let most = claims.iter().map(|claim| votes(claim.value)).max()?;
    let mut leaders = claims
        .iter()
        .map(|claim| claim.value)
        .filter(|&value| votes(value) == most);
    let first = leaders.next()?;
    (most >= 2 && leaders.all(|value| value == first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(values: &[u8]) -> Vec<Claim<usize>> {
        let of = |(party, &byte): (usize, &u8)| Claim {
            party,
            value: Blake3Hash([byte; 32]),
        };
        values.iter().enumerate().map(of).collect()
    }

    fn rejected(parties: &[usize], byte: u8) -> Verdict<usize> {
        Verdict::Rejected {
            parties: parties.to_vec(),
            value: Blake3Hash([byte; 32]),
        }
    }

    #[test]
    fn two_votes_decide_and_one_does_not() {
        assert_eq!(arbitrate(&claims(&[1, 2]), None), Verdict::Inconclusive);
        assert_eq!(arbitrate(&claims(&[1, 2, 3]), None), Verdict::Inconclusive);
        assert_eq!(arbitrate(&claims(&[1, 2, 1]), None), rejected(&[1], 1));
        assert_eq!(
            arbitrate(&claims(&[1, 2, 3, 2]), None),
            rejected(&[0, 2], 2)
        );
        assert_eq!(
            arbitrate(&claims(&[1, 2, 1, 2]), None),
            Verdict::Inconclusive
        );
        assert_eq!(arbitrate(&claims(&[1]), None), Verdict::Inconclusive);
        assert_eq!(arbitrate(&claims(&[1, 1]), None), Verdict::Accepted);
        assert_eq!(arbitrate(&claims(&[]), None), Verdict::Inconclusive);
    }

    #[test]
    fn the_requestors_own_render_outvotes_everybody() {
        let own = |byte: u8| Some(Blake3Hash([byte; 32]));
        assert_eq!(arbitrate(&claims(&[1, 2, 1]), own(2)), rejected(&[0, 2], 2));
        assert_eq!(arbitrate(&claims(&[1, 2]), own(3)), rejected(&[0, 1], 3));
        assert_eq!(arbitrate(&claims(&[1]), own(1)), Verdict::Accepted);
    }
}
