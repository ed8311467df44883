//! Trust levels: how much of a provider's work is checked at each. [`crate::record`] says how a provider comes to one.

use serde::{Deserialize, Serialize};

/// How far a provider is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// A new key: many secret cells are checked.
    Unknown,
    /// Checked and known for a while: half as many.
    Probation,
    /// Checked often and known for long.
    Trusted,
    /// Started or pinned by the user: a few cells are checked.
    Own,
}

/// What a trust level buys in checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustPolicy {
    /// Probe cells in a tile of [`TILE_CELLS`] cells; other tiles in proportion.
    pub probe_cells: u32,
    /// Fewest probe cells in any tile (or a quarter of it): small tiles are checked more densely.
    pub probe_cells_min: u32,
    /// Tiles of [`SHARES`] that are rendered twice whole.
    pub replica_share: u32,
    /// Accepted tiles that stay unpaid until as many more were accepted, or the job ends: what a cheat loses.
    pub held_tiles: usize,
    /// One tile of this many gets its full count of squares, where probes are squares.
    pub squares_every: u32,
    /// Squares in a tile that gets any, at most.
    pub squares_max: u32,
    /// Is a tile accepted without probes when nobody else is there to render them?
    pub accepted_unprobed: bool,
}

/// What [`TrustPolicy::replica_share`] is a share of.
pub const SHARES: u32 = 1000;
/// Cells that [`TrustPolicy::probe_cells`] counts are of: a tile of 256 x 256 pixels.
pub const TILE_CELLS: u32 = 1024;

impl Trust {
    /// The table of levels. For Unknown 128 of 1024 cells miss a fake of a tenth of the tile once in 700,000 times; 64
    /// miss it once in 850, and all that a caught provider delivered is rendered again.
    pub const fn policy(self) -> TrustPolicy {
        match self {
            Trust::Unknown => TrustPolicy {
                probe_cells: 128,
                probe_cells_min: 16,
                replica_share: 250,
                held_tiles: 20,
                squares_every: 1,
                squares_max: u32::MAX,
                accepted_unprobed: false,
            },
            Trust::Probation => TrustPolicy {
                probe_cells: 64,
                probe_cells_min: 8,
                replica_share: 200,
                held_tiles: 64,
                squares_every: 1,
                squares_max: u32::MAX,
                accepted_unprobed: false,
            },
            Trust::Trusted => TrustPolicy {
                replica_share: 20,
                held_tiles: 32,
                ..Trust::Probation.policy()
            },
            Trust::Own => TrustPolicy {
                probe_cells: 8,
                probe_cells_min: 1,
                replica_share: 5,
                held_tiles: 0,
                squares_every: 8,
                squares_max: 1,
                accepted_unprobed: true,
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
            assert!(less.probe_cells >= more.probe_cells);
            assert!(less.replica_share >= more.replica_share);
        }
    }
}
