//! Trust levels: how much of a provider's work is checked, and how a provider rises and falls between them.
//!
//! Only tiles that others rendered cells of again count for a provider, and only time that it was known. A proven fault
//! takes everything back: the provider gets no work for a while and begins as a stranger then.

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

const DAY_S: u64 = 86_400;
/// Checked tiles and time to leave the strangers.
pub const PROBATION: (u64, u64) = (20, DAY_S);
/// Checked tiles and time to be trusted.
pub const TRUSTED: (u64, u64) = (200, 7 * DAY_S);
/// How long a provider gets no work after a proven fault.
pub const QUARANTINE_S: u64 = 7 * DAY_S;

/// What is remembered of a provider's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Tiles of it that passed the check of others, since its last fault.
    pub checked_tiles: u64,
    /// Seconds that it has been known.
    pub known_s: u64,
    /// Seconds since its last proven fault, if it has any.
    pub fault_s: Option<u64>,
}

impl Record {
    /// The level of a provider with this record; none while it is quarantined.
    pub fn level(&self) -> Option<Trust> {
        let clean_s = match self.fault_s {
            Some(since) => since.checked_sub(QUARANTINE_S)?.min(self.known_s),
            None => self.known_s,
        };
        let reaches = |(tiles, time_s)| self.checked_tiles >= tiles && clean_s >= time_s;
        Some(match (reaches(TRUSTED), reaches(PROBATION)) {
            (true, _) => Trust::Trusted,
            (false, true) => Trust::Probation,
            (false, false) => Trust::Unknown,
        })
    }
}

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

    fn record(checked_tiles: u64, days: u64, fault_days: Option<u64>) -> Record {
        Record {
            checked_tiles,
            known_s: days * DAY_S,
            fault_s: fault_days.map(|days| days * DAY_S),
        }
    }

    #[test]
    fn levels_need_checked_tiles_and_time() {
        for (tiles, days, expected) in [
            (0, 0, Trust::Unknown),
            (1_000_000, 0, Trust::Unknown),
            (19, 100, Trust::Unknown),
            (20, 1, Trust::Probation),
            (199, 100, Trust::Probation),
            (1_000, 6, Trust::Probation),
            (200, 7, Trust::Trusted),
        ] {
            let level = record(tiles, days, None).level();
            assert_eq!(level, Some(expected), "{tiles} tiles, {days} days");
        }
    }

    #[test]
    fn a_fault_costs_a_week_and_all_that_was_earned() {
        for (tiles, fault_days, expected) in [
            (0, 0, None),
            (1_000, 6, None),
            (0, 7, Some(Trust::Unknown)),
            (1_000, 7, Some(Trust::Unknown)),
            (1_000, 8, Some(Trust::Probation)),
            (1_000, 14, Some(Trust::Trusted)),
        ] {
            let level = record(tiles, 1_000, Some(fault_days)).level();
            assert_eq!(level, expected, "{tiles} tiles, {fault_days} days after");
        }
    }

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
