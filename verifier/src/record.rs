//! What a provider's past says of its trust level: checked work raises it, faults and absence take it back.
//!
//! Only tiles that others rendered cells of again count for a provider, only on the engine and device that rendered them,
//! and only while the provider is seen now and then. A fault counts for the identity as a whole: whoever fakes tiles on
//! one device fakes them on the next.
//!
//! Whitewashing, a new key after a fault, is pointless: a new key starts as [`Trust::Unknown`], where a caught one starts
//! again too. It spares the days of the quarantine, which a cheat that rents keys cannot be made to pay anyway, and every
//! tile of a stranger is checked so closely that the next fake is found as soon as the first.

use crate::trust::Trust;
use serde::{Deserialize, Serialize};

const DAY_S: u64 = 86_400;

/// What a level asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Tiles that others checked and found right.
    pub checked_tiles: u64,
    /// Seconds since the first of them, without a fault.
    pub known_s: u64,
}

/// To leave the strangers.
pub const PROBATION: Threshold = Threshold {
    checked_tiles: 20,
    known_s: DAY_S,
};
/// To be trusted.
pub const TRUSTED: Threshold = Threshold {
    checked_tiles: 200,
    known_s: 7 * DAY_S,
};

/// How long a provider gets no work after a proven fraud.
pub const FRAUD_QUARANTINE_S: u64 = 7 * DAY_S;
/// Flaky faults within [`FLAKY_WINDOW_S`] from which each brings a quarantine: one is a cosmic ray, three are bad memory.
pub const FLAKY_MAX: usize = 3;
/// The time in which flaky faults are counted together.
pub const FLAKY_WINDOW_S: u64 = 30 * DAY_S;
/// How long a provider gets no work after the last of so many flaky faults: time enough to look at the machine.
pub const FLAKY_QUARANTINE_S: u64 = DAY_S;
/// Every such time without being seen halves a provider's checked tiles: keys are sold and machines change hands or are
/// rebuilt, so that old work says little of who has the key now. Shorter than the pauses between a studio's jobs would
/// punish honest providers for having no work.
pub const HALVING_S: u64 = 60 * DAY_S;

/// What a provider was caught at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Isolated wrong cells that save no work, such as bad memory makes.
    Flaky,
    /// It saved itself work, or blamed another wrongly.
    Fraud,
}

/// A fault, as seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastFault {
    /// What it was.
    pub kind: FaultKind,
    /// Did this requestor see it or check its evidence? What others merely claim resets trust, but never quarantines:
    /// else a rumour would shut honest providers out.
    pub is_proven: bool,
    /// Seconds since.
    pub ago_s: u64,
}

/// What is remembered of a provider on one engine and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Tiles that passed the check of others since the last fault, as many as they were when it was last seen.
    pub checked_tiles: u64,
    /// Seconds since the first of them.
    pub known_s: u64,
    /// Seconds since it was last seen.
    pub unseen_s: u64,
    /// Faults of the identity, on any engine and device, in any order.
    pub faults: &'a [PastFault],
}

/// What a record comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets no work.
    Quarantined {
        /// For what.
        kind: FaultKind,
        /// Seconds until it gets work again.
        left_s: u64,
    },
    /// It gets work, checked as this level says.
    Level(Trust),
}

/// Checked tiles that still count after so many seconds without being seen.
pub const fn decayed(checked_tiles: u64, unseen_s: u64) -> u64 {
    match unseen_s / HALVING_S {
        halvings @ 0..64 => checked_tiles >> halvings,
        _ => 0,
    }
}

/// Seconds without being seen until none of these tiles count any more.
pub const fn fades_after_s(checked_tiles: u64) -> u64 {
    (u64::BITS - checked_tiles.leading_zeros()) as u64 * HALVING_S
}

/// The longest quarantine that these faults still bring: for what, and seconds until its end.
pub fn quarantine(faults: &[PastFault]) -> Option<(FaultKind, u64)> {
    faults
        .iter()
        .map(|fault| {
            let left_s = quarantine_s(fault, faults).saturating_sub(fault.ago_s);
            (left_s, fault.kind)
        })
        .max()
        .filter(|&(left_s, _)| left_s > 0)
        .map(|(left_s, kind)| (kind, left_s))
}

/// How long a fault keeps its provider from work, counted from the fault.
fn quarantine_s(fault: &PastFault, faults: &[PastFault]) -> u64 {
    match fault.kind {
        _ if !fault.is_proven => 0,
        FaultKind::Fraud => FRAUD_QUARANTINE_S,
        FaultKind::Flaky => {
            let window = fault.ago_s..=fault.ago_s.saturating_add(FLAKY_WINDOW_S);
            let alike = |other: &&PastFault| {
                other.is_proven && other.kind == FaultKind::Flaky && window.contains(&other.ago_s)
            };
            match faults.iter().filter(alike).count() >= FLAKY_MAX {
                true => FLAKY_QUARANTINE_S,
                false => 0,
            }
        }
    }
}

impl Record<'_> {
    /// Is this record under quarantine, and if not, at which level?
    pub fn standing(&self) -> Standing {
        if let Some((kind, left_s)) = quarantine(self.faults) {
            return Standing::Quarantined { kind, left_s };
        }
        let (tiles, clean_s) = (self.tiles_that_count(), self.clean_s());
        let reaches = |level: Threshold| tiles >= level.checked_tiles && clean_s >= level.known_s;
        Standing::Level(match (reaches(TRUSTED), reaches(PROBATION)) {
            (true, _) => Trust::Trusted,
            (false, true) => Trust::Probation,
            (false, false) => Trust::Unknown,
        })
    }

    /// The level; none while it is quarantined.
    pub fn level(&self) -> Option<Trust> {
        match self.standing() {
            Standing::Level(level) => Some(level),
            Standing::Quarantined { .. } => None,
        }
    }

    /// Checked tiles that count today.
    pub const fn tiles_that_count(&self) -> u64 {
        decayed(self.checked_tiles, self.unseen_s)
    }

    /// Seconds that count: since its first checked tile, its last fault and the end of the last quarantine.
    pub fn clean_s(&self) -> u64 {
        let since = |fault: &PastFault| {
            let quarantine_s = quarantine_s(fault, self.faults);
            fault.ago_s.saturating_sub(quarantine_s)
        };
        self.faults.iter().map(since).fold(self.known_s, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(checked_tiles: u64, days: u64, faults: &[PastFault]) -> Record<'_> {
        Record {
            checked_tiles,
            known_s: days * DAY_S,
            unseen_s: 0,
            faults,
        }
    }

    fn fault(kind: FaultKind, days: u64) -> PastFault {
        PastFault {
            kind,
            is_proven: true,
            ago_s: days * DAY_S,
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
            let level = record(tiles, days, &[]).level();
            assert_eq!(level, Some(expected), "{tiles} tiles, {days} days");
        }
    }

    #[test]
    fn a_fraud_costs_a_week_and_the_time_that_was_earned() {
        for (tiles, days, expected) in [
            (0, 0, None),
            (1_000, 6, None),
            (0, 7, Some(Trust::Unknown)),
            (1_000, 7, Some(Trust::Unknown)),
            (1_000, 8, Some(Trust::Probation)),
            (1_000, 14, Some(Trust::Trusted)),
        ] {
            let faults = [fault(FaultKind::Fraud, days)];
            let level = record(tiles, 1_000, &faults).level();
            assert_eq!(level, expected, "{tiles} tiles, {days} days after");
        }
        let faults = [fault(FaultKind::Fraud, 5), fault(FaultKind::Flaky, 0)];
        let standing = record(0, 1_000, &faults).standing();
        let (kind, left_s) = (FaultKind::Fraud, 2 * DAY_S);
        assert_eq!(standing, Standing::Quarantined { kind, left_s });
    }

    #[test]
    fn flaky_faults_reset_and_three_in_a_month_cost_a_day() {
        for (days, expected) in [
            (&[0][..], Some(Trust::Unknown)),
            (&[0, 1], Some(Trust::Unknown)),
            (&[1], Some(Trust::Probation)),
            (&[0, 1, 30], None),
            (&[0, 1, 31], Some(Trust::Unknown)),
            (&[0, 31, 32, 33], Some(Trust::Unknown)),
            (&[1, 2, 3], Some(Trust::Unknown)),
            (&[2, 3, 4], Some(Trust::Probation)),
            (&[8, 9, 10], Some(Trust::Trusted)),
        ] {
            let faults: Vec<_> = days.iter().map(|&d| fault(FaultKind::Flaky, d)).collect();
            let level = record(1_000, 1_000, &faults).level();
            assert_eq!(level, expected, "flaky {days:?} days ago");
        }
    }

    #[test]
    fn a_claim_resets_and_never_quarantines() {
        let claim = |kind, days| PastFault {
            is_proven: false,
            ..fault(kind, days)
        };
        let faults = [claim(FaultKind::Fraud, 0), claim(FaultKind::Flaky, 0)];
        assert_eq!(quarantine(&faults), None);
        let level = record(1_000, 1_000, &faults).level();
        assert_eq!(level, Some(Trust::Unknown));
        let faults = [claim(FaultKind::Fraud, 1)];
        let level = record(1_000, 1_000, &faults).level();
        assert_eq!(level, Some(Trust::Probation));
        // Nor do claims make one flaky fault three.
        let mut faults = [claim(FaultKind::Flaky, 1); 3];
        faults[0].is_proven = true;
        assert_eq!(quarantine(&faults), None);
    }

    #[test]
    fn who_is_away_for_long_is_forgotten_by_halves() {
        for (tiles, days, left) in [
            (200, 0, 200),
            (200, 59, 200),
            (200, 60, 100),
            (200, 120, 50),
            (u64::MAX, 60 * 63, 1),
            (u64::MAX, 60 * 64, 0),
        ] {
            assert_eq!(decayed(tiles, days * DAY_S), left, "{tiles}, {days} days");
        }
        for tiles in [0, 1, 2, 200, u64::MAX] {
            let fades = fades_after_s(tiles);
            assert_eq!(decayed(tiles, fades), 0);
            assert!(tiles == 0 || decayed(tiles, fades - 1) == 1, "{tiles}");
        }
        let away = Record {
            unseen_s: HALVING_S,
            ..record(200, 1_000, &[])
        };
        assert_eq!(away.level(), Some(Trust::Probation));
    }

    /// Levels in their order, no work at all first.
    fn rank(record: &Record<'_>) -> u8 {
        record.level().map_or(0, |level| level as u8 + 1)
    }

    fn seconds() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..100 * DAY_S, 1 => any::<u64>()]
    }

    fn faults() -> impl Strategy<Value = Vec<PastFault>> {
        let kind = prop_oneof![Just(FaultKind::Flaky), Just(FaultKind::Fraud)];
        let fault =
            (kind, any::<bool>(), seconds()).prop_map(|(kind, is_proven, ago_s)| PastFault {
                kind,
                is_proven,
                ago_s,
            });
        proptest::collection::vec(fault, 0..8)
    }

    proptest! {
        #[test]
        fn more_faults_never_raise_a_level(
            checked_tiles in 0..1_000_u64, known_s in seconds(), unseen_s in seconds(), faults in faults()
        ) {
            let ranks: Vec<u8> = (0..=faults.len())
                .map(|count| rank(&Record { checked_tiles, known_s, unseen_s, faults: &faults[..count] }))
                .collect();
            prop_assert!(ranks.is_sorted_by(|fewer, more| fewer >= more), "{ranks:?}");
        }

        #[test]
        fn time_alone_never_raises_above_unknown(
            checked_tiles in 0..PROBATION.checked_tiles, known_s in any::<u64>(), unseen_s in any::<u64>(), faults in faults()
        ) {
            let level = Record { checked_tiles, known_s, unseen_s, faults: &faults }.level();
            prop_assert!(level.is_none_or(|level| level == Trust::Unknown), "{level:?}");
        }

        #[test]
        fn absence_never_raises_a_level(
            checked_tiles in any::<u64>(), known_s in seconds(), unseen_s in seconds(), longer_s in seconds(), faults in faults()
        ) {
            let seen = Record { checked_tiles, known_s, unseen_s, faults: &faults };
            let unseen_s = unseen_s.saturating_add(longer_s);
            let away = Record { unseen_s, ..seen };
            prop_assert!(away.tiles_that_count() <= seen.tiles_that_count());
            prop_assert!(rank(&away) <= rank(&seen));
        }
    }
}
