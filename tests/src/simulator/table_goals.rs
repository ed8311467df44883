//! The section of the page that says which goals of the verification are met, judged from what was found.

use super::{
    baselines::{Tally, policy::Policy},
    strategies::Strategy,
    table::{ATTACKS, CROWDS, Findings, OURS, Passed, WITH_SQUARES},
    table_page::{level, name, of, share, thousands},
};
use std::fmt::Write;

/// Workers of a tile's job beside its own.
const OTHERS: u32 = 99;

/// What was promised, and what became of it.
pub(super) fn goals(text: &mut String, found: &Findings) {
    *text += "## The goals, and which are met

**Fewer than one in a million accepted** of tiles with a tenth of the cells wrong or more, at 95 %; the worst attack of those with a ring of this size.
\"In jobs\" and \"one tile ever\" are explained with the rows below; workers whose work is not known yet are \"unknown\".

| level | where | no ring | ring of 5 % | ring of 20 % |
|---|---|---|---|---|
";
    let wheres = [
        ("in jobs", &found.returning),
        ("one tile ever", &found.alone),
    ];
    let policies = [
        Policy::UNKNOWN,
        Policy::TRUSTED,
        Policy::SQUARES_UNKNOWN,
        Policy::SQUARES_TRUSTED,
    ];
    for (policy, (place, passed)) in policies
        .iter()
        .flat_map(|policy| wheres.map(|at| (policy, at)))
    {
        let cells = [0, 5, 20].map(|ring| below_a_millionth(passed, policy, ring));
        let _ = writeln!(
            text,
            "| {} | {place} | {} |",
            level(policy),
            cells.join(" | ")
        );
    }
    *text += "
**No honest tile refused** of a million inside a class; **overhead**, by arithmetic, at most 1.40 for unknown and 1.10 for trusted workers; **no attack
pays** in any of the six crowds below (a gain of less than a thousandth of a tile is the saved work of a few pixels, and counts as none).

| goal | level | found | |
|---|---|---|---|
";
    refused(text, found);
    for (policy, most) in policies.iter().zip([1.4, 1.1, 1.4, 1.1]) {
        let overhead = policy.overhead();
        let _ = writeln!(
            text,
            "| overhead at most {most:.2} | {} | {overhead:.3} | {} |",
            level(policy),
            // The sum of a few shares.
            verdict(overhead <= most + 1e-9),
        );
    }
    for scheme in OURS.chain(WITH_SQUARES) {
        let (attack, gain) = best_gain(found, scheme);
        let pays = gain >= 0.001;
        let what = match pays {
            true => format!("{gain:+.3} tiles: {attack}"),
            false => "none does".into(),
        };
        let _ = writeln!(
            text,
            "| no attack pays | {} | {} | {} |",
            name(scheme),
            what,
            verdict(!pays),
        );
    }
    let [unknown, trusted] = [Policy::UNKNOWN, Policy::TRUSTED]
        .map(|policy| all_of_ring(20, policy.checks.probe_pixels));
    let _ = write!(
        text,
        "
Only accomplices can let a cell that is wrong as a whole pass where probes are pixels: all probers of its tile have to be of the ring. In a
ring of 20 of 100 workers that is so for {unknown:.1e} of an unknown worker's tiles, and for {trusted:.1e} of a trusted one's, before what copies and
the own engine see is taken off. Squares see shares of a tile and do not reach these rates in a single tile.

"
    );
}

fn refused(text: &mut String, found: &Findings) {
    for policy in [Policy::UNKNOWN, Policy::TRUSTED, Policy::SQUARES_UNKNOWN] {
        let rows = found.right.iter().filter(|(_, of, _)| *of == policy);
        let tally = rows.fold(Tally::default(), |sum, (_, _, tally)| sum.plus(*tally));
        let met = match tally.honest_refused {
            0 if tally.honest_delivered < 1_000_000 => "none seen, but too few",
            refused => verdict(refused == 0),
        };
        let _ = writeln!(
            text,
            "| no honest tile refused | {} | {} of {} | {met} |",
            level(&policy),
            tally.honest_refused,
            thousands(tally.honest_delivered),
        );
    }
}

/// The attack that pays best in any crowd, and what it gains.
fn best_gain(found: &Findings, scheme: usize) -> (&'static str, f64) {
    let each = (0..ATTACKS.len()).flat_map(|attack| {
        let gain = move |crowd| of(found, scheme, Some(crowd), attack).gain_each();
        (0..CROWDS.len()).map(move |crowd| (ATTACKS[attack].label, gain(crowd)))
    });
    let best = each.max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or_default()
}

fn verdict(is_met: bool) -> &'static str {
    match is_met {
        true => "met",
        false => "**not met**",
    }
}

/// The worst of the attacks that fake a tenth of a tile or more.
fn below_a_millionth(passed: &[Passed], policy: &Policy, ring: u32) -> String {
    let rows = passed.iter().filter(|row| {
        row.policy == *policy
            && row.ring_percent == ring
            && row.attack.strategy != Strategy::OneCell
    });
    // Where none was accepted, that with the most tiles.
    let worst = rows.max_by(|a, b| share(a).total_cmp(&share(b)).then(a.wrong.cmp(&b.wrong)));
    let Some(worst) = worst else {
        return String::new();
    };
    let bound = upper(worst.passed) / worst.wrong.max(1) as f64;
    let word = match bound < 1e-6 * (1.0 + 1e-9) {
        true => "met",
        false if share(worst) < 1e-6 => "too few to tell",
        false => "**not met**",
    };
    let (passed, wrong) = (worst.passed, thousands(worst.wrong));
    format!("{passed} of {wrong}: < {bound:.1e}, {word}")
}

/// The largest mean that is as likely as one in twenty to give so few events or fewer (Wilson and Hilferty's approximation
/// of the chi-squared distribution; 3 for none).
fn upper(events: u64) -> f64 {
    if events == 0 {
        return 3.0;
    }
    let next = events as f64 + 1.0;
    next * (1.0 - 1.0 / (9.0 * next) + 1.645 / (3.0 * next.sqrt())).powi(3)
}

/// How often all probers of a tile of the ring are of it too; none is asked twice.
fn all_of_ring(ring: u32, probers: u8) -> f64 {
    let one = |at: u32| f64::from((ring - 1).saturating_sub(at)) / f64::from(OTHERS - at);
    (0..probers.into()).map(one).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the Poisson distribution's tables.
    #[test]
    fn bounds_are_those_of_poissons_distribution() {
        for (events, expected) in [(0, 3.0), (1, 4.744), (2, 6.296), (10, 16.962), (100, 118.1)] {
            let found = upper(events);
            assert!((found / expected - 1.0).abs() < 0.01, "{events}: {found}");
        }
    }

    #[test]
    fn nobody_is_asked_twice() {
        let four = 19.0 * 18.0 * 17.0 * 16.0 / (99.0 * 98.0 * 97.0 * 96.0);
        assert!((all_of_ring(20, 4) / four - 1.0).abs() < 1e-12);
        assert_eq!(all_of_ring(5, 8), 0.0);
    }
}
