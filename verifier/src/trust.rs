//! Trust levels: how much of a provider's work is checked at each. [`crate::record`] says how a provider comes to one.

use crate::probes::ProbeShape;
use serde::{Deserialize, Serialize};

/// How far a provider is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// A new key: its tiles are checked most.
    Unknown,
    /// Checked and known for a while: half as much.
    Probation,
    /// Checked often and known for long.
    Trusted,
    /// Started or pinned by the user: checked a little, against bad memory.
    Own,
}

/// What a trust level buys in checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustPolicy {
    /// Secret pixels of each cell that are rendered again, where probes are pixels: each by another worker where so many
    /// are there.
    pub probe_pixels: u8,
    /// One tile of this many has them.
    pub pixels_every: u32,
    /// Tiles of [`SHARES`] that are rendered twice whole.
    pub replica_share: u32,
    /// Accepted tiles that stay unpaid until as many more were accepted, or the job ends: what a cheat loses.
    pub held_tiles: usize,
    /// What a tile's squares may cost, where probes are squares, in [`SHARES`] of the tile's own cost.
    pub squares_share: u32,
    /// Is a tile accepted without probes when nobody else is there to render them?
    pub accepted_unprobed: bool,
}

/// What [`TrustPolicy::replica_share`] and [`TrustPolicy::squares_share`] are shares of.
pub const SHARES: u32 = 1000;

impl Trust {
    /// The table of levels. One secret pixel of every cell sees any cell that is faked whole; several, each rendered by
    /// another worker, are there against accomplices: a share `g` of them passes a fake with a probability of `g` to the
    /// power of their number.
    pub const fn policy(self) -> TrustPolicy {
        match self {
            Trust::Unknown => TrustPolicy {
                probe_pixels: 8,
                pixels_every: 1,
                replica_share: 250,
                held_tiles: 20,
                squares_share: 140,
                accepted_unprobed: false,
            },
            Trust::Probation => TrustPolicy {
                probe_pixels: 4,
                replica_share: 200,
                held_tiles: 64,
                squares_share: 80,
                ..Trust::Unknown.policy()
            },
            Trust::Trusted => TrustPolicy {
                replica_share: 20,
                held_tiles: 32,
                ..Trust::Probation.policy()
            },
            Trust::Own => TrustPolicy {
                probe_pixels: 1,
                pixels_every: 2,
                replica_share: 5,
                held_tiles: 0,
                squares_share: 10,
                accepted_unprobed: true,
            },
        }
    }
}

impl TrustPolicy {
    /// As much as there is to be had, whoever renders: no tile without probes, and as many pixels as of a stranger's; where
    /// probes are squares, every tile twice.
    pub const fn paranoid(self, shape: ProbeShape) -> Self {
        let all = Trust::Unknown.policy();
        match shape {
            ProbeShape::Pixels => Self {
                probe_pixels: all.probe_pixels,
                pixels_every: all.pixels_every,
                ..self
            },
            ProbeShape::Squares { .. } => Self {
                replica_share: SHARES,
                ..self
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_trust_is_never_checked_more() {
        let levels = [Trust::Unknown, Trust::Probation, Trust::Trusted, Trust::Own];
        for pair in levels.windows(2) {
            assert!(pair[0] < pair[1]);
            let (less, more) = (pair[0].policy(), pair[1].policy());
            assert!(less.probe_pixels >= more.probe_pixels);
            assert!(less.pixels_every <= more.pixels_every);
            assert!(less.replica_share >= more.replica_share);
            assert!(less.squares_share >= more.squares_share);
        }
    }

    /// Extra rendering where probes are squares: a tenth for trusted providers, 1.4 times the work for strangers.
    #[test]
    fn squares_and_replicas_stay_within_what_is_promised() {
        let spent = |trust: Trust| {
            let policy = trust.policy();
            policy.squares_share + policy.replica_share
        };
        assert!(spent(Trust::Trusted) <= SHARES / 10);
        assert!(spent(Trust::Unknown) <= SHARES * 4 / 10);
    }
}
