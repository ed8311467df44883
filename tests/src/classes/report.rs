//! The study's tables, in Markdown.

use super::{
    Work,
    study::{Comparison, Probes, Rarity, SIDES_PX, largest_findings, measurements},
};
use std::fmt::Write;
use verifier::noise::{Finding, Measurement};

/// Regions of a probe, for each of [`SIDES_PX`].
const REGIONS_OF_PROBE: [usize; 2] = [2, 4];

/// All tables.
pub fn tables(comparisons: &[Comparison]) -> String {
    let mut text = String::from("### Bits\n\n");
    text += &bits(comparisons);
    for (side_index, side) in SIDES_PX.iter().enumerate() {
        let count = REGIONS_OF_PROBE[side_index];
        let _ = write!(text, "\n### Regions of {side}x{side} px\n\n");
        text += &regions(comparisons, side_index);
        let _ = write!(
            text,
            "\n### Probes of {count} regions of {side}x{side} px\n\n"
        );
        text += &probes(comparisons, side_index);
        let _ = write!(
            text,
            "\n### Honest work in regions of {side}x{side} px, other kernel\n\n"
        );
        text += &honest(comparisons, side_index);
    }
    text
}

fn of<'a>(comparisons: &'a [Comparison], scene: Option<&str>, work: Work) -> Vec<&'a Comparison> {
    let fits = |one: &&Comparison| one.work == work && scene.is_none_or(|name| one.scene == name);
    comparisons.iter().filter(fits).collect()
}

fn scenes(comparisons: &[Comparison]) -> Vec<&str> {
    let mut names: Vec<&str> = comparisons.iter().map(|one| one.scene.as_str()).collect();
    names.dedup();
    names
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn head(text: &mut String, cells: &[&str]) {
    row(
        text,
        &cells.iter().map(|&cell| cell.into()).collect::<Vec<_>>(),
    );
    let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
}

/// Works with at least one comparison in a scene.
fn works(comparisons: &[Comparison]) -> impl Iterator<Item = (&str, Work, Vec<&Comparison>)> {
    let all = scenes(comparisons)
        .into_iter()
        .flat_map(|scene| Work::ALL.map(|work| (scene, work)));
    let of_each = all.map(|(scene, work)| (scene, work, of(comparisons, Some(scene), work)));
    of_each.filter(|(_, _, found)| !found.is_empty())
}

fn bits(comparisons: &[Comparison]) -> String {
    let mut text = String::new();
    head(
        &mut text,
        &[
            "scene",
            "work",
            "frames",
            "pixels that differ",
            "by > 1e-3",
            "by > 1e-2",
        ],
    );
    for (scene, work, found) in works(comparisons).filter(|(_, work, _)| work.is_honest()) {
        let mean = |value: fn(&Comparison) -> f64| {
            found.iter().map(|&one| value(one)).sum::<f64>() / found.len() as f64
        };
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        row(
            &mut text,
            &[
                scene.into(),
                work.title(),
                found.len().to_string(),
                percent(mean(|one| one.bits.differ)),
                percent(mean(|one| one.bits.by_thousandth)),
                percent(mean(|one| one.bits.by_hundredth)),
            ],
        );
    }
    text
}

/// Least, middle, 99 % quantile and most.
fn spread(mut values: Vec<f64>) -> [String; 4] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |share: f64| values.get((share * last as f64) as usize).copied();
    [0.0, 0.5, 0.99, 1.0].map(|share| at(share).map_or("-".into(), short))
}

/// Three digits, small numbers in powers of ten.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 1e-3 => format!("{value:.0e}"),
        size if size < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.0}"),
    }
}

fn regions(comparisons: &[Comparison], side_index: usize) -> String {
    let mut text = String::new();
    head(
        &mut text,
        &[
            "scene",
            "work",
            "regions",
            "noisy",
            "eta: min",
            "median",
            "99 %",
            "max",
            "bulk: min",
            "median",
            "99 %",
            "max",
            "noise level",
        ],
    );
    for (scene, work, found) in works(comparisons) {
        let all: Vec<&Measurement> = measurements(&found, side_index).collect();
        let noisy: Vec<&Measurement> = all.iter().copied().filter(|one| one.noisy).collect();
        let each = |value: fn(&Measurement) -> f64| noisy.iter().map(|&one| value(one)).collect();
        let mut cells = vec![
            scene.to_string(),
            work.title(),
            all.len().to_string(),
            noisy.len().to_string(),
        ];
        cells.extend(spread(each(|one| one.eta)));
        cells.extend(spread(each(|one| one.bulk_eta)));
        cells.push(spread(each(|one| one.noise_level))[1].clone());
        row(&mut text, &cells);
    }
    text
}

fn probes(comparisons: &[Comparison], side_index: usize) -> String {
    let mut text = String::new();
    let titles = [
        "scene",
        "work",
        "probes",
        "accepted",
        "inconclusive",
        "rejected",
    ];
    head(&mut text, &titles);
    let of_all = Work::ALL.map(|work| ("all", work, of(comparisons, None, work)));
    let of_all = of_all.into_iter().filter(|(_, _, found)| !found.is_empty());
    for (scene, work, found) in works(comparisons).chain(of_all) {
        let probes = Probes::draw(&found, side_index, REGIONS_OF_PROBE[side_index]);
        let share = |part: usize| format!("{:.5}", part as f64 / probes.drawn.max(1) as f64);
        row(
            &mut text,
            &[
                scene.into(),
                work.title(),
                probes.drawn.to_string(),
                share(probes.accepted),
                share(probes.inconclusive()),
                share(probes.rejected),
            ],
        );
    }
    text
}

/// What each test found at most in honest work, and how rare a rejection is by the tails.
fn honest(comparisons: &[Comparison], side_index: usize) -> String {
    let found = of(comparisons, None, Work::Kernel);
    let mut text = String::new();
    head(
        &mut text,
        &["test", "largest in a region", "accept", "reject"],
    );
    for Finding { test, value, band } in largest_findings(&found, side_index) {
        let numbers = [value, band.accept, band.reject].map(short);
        let mut cells = vec![format!("{test:?}")];
        cells.extend(numbers);
        row(&mut text, &cells);
    }
    if let Some(rarity) = Rarity::of(&found, side_index) {
        let _ = writeln!(
            text,
            "\nBy the tails: a region's eta convicts with probability {}, its bulk with {}; two large etas come together \
             {:.1} times as often as by chance; a probe of two regions is rejected with probability {}.",
            short(rarity.eta),
            short(rarity.bulk),
            rarity.clustering,
            short(rarity.of_probe())
        );
    }
    text
}
