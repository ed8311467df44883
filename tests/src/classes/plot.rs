//! Distributions as SVG: a row of bars for each kind of work, on one logarithmic axis.

use super::{Work, report::short};
use std::fmt::Write;
use verifier::noise::Band;

/// Decades of the axis; what is below lies in the first bin, what is above in the last.
const DECADES: (i32, i32) = (-12, 3);
const BINS_A_DECADE: i32 = 4;
const BIN_PX: f64 = 9.0;
const ROW_PX: f64 = 34.0;
const BAR_PX_MAX: f64 = 28.0;
const LEFT_PX: f64 = 190.0;
const TOP_PX: f64 = 34.0;
const STYLE: &str = "text{font:12px sans-serif;fill:#333}.honest{fill:#2a7f62}.cheat{fill:#b5482e}\
                     .line{stroke:#888;stroke-dasharray:4 3}.base{stroke:#ccc}";

fn bins() -> usize {
    ((DECADES.1 - DECADES.0) * BINS_A_DECADE) as usize
}

/// Bins from the left edge, for a value above 0.
fn position(value: f64) -> f64 {
    let at = (value.log10() - f64::from(DECADES.0)) * f64::from(BINS_A_DECADE);
    at.clamp(0.0, bins() as f64)
}

fn x_px(value: f64) -> f64 {
    LEFT_PX + BIN_PX * position(value)
}

fn shares(values: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; bins()];
    for &value in values {
        let at = position(value.max(0.0)) as usize;
        counts[at.min(bins() - 1)] += 1.0 / values.len() as f64;
    }
    counts
}

/// A picture of several distributions with the limits that part them.
pub fn distributions(title: &str, rows: &[(Work, Vec<f64>)], band: Band) -> String {
    let width = LEFT_PX + BIN_PX * bins() as f64 + 20.0;
    let bottom = TOP_PX + ROW_PX * rows.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" width=\"{width}\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"16\">{title}</text>\n",
        bottom + 24.0
    );
    for (index, (work, values)) in rows.iter().enumerate() {
        row(
            &mut svg,
            *work,
            values,
            TOP_PX + ROW_PX * (index + 1) as f64,
        );
    }
    for decade in (DECADES.0..=DECADES.1).step_by(3) {
        let x = x_px(10f64.powi(decade));
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">1e{decade}</text>",
            bottom + 16.0
        );
    }
    for (limit, word, anchor) in [
        (band.accept, "accept", "end"),
        (band.reject, "reject", "start"),
    ] {
        let x = x_px(limit);
        let _ = writeln!(
            svg,
            "<line class=\"line\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{bottom}\"/>\n\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{word} {}</text>",
            TOP_PX - 4.0,
            TOP_PX - 6.0,
            short(limit)
        );
    }
    svg + "</svg>\n"
}

fn row(svg: &mut String, work: Work, values: &[f64], base: f64) {
    let class = if work.is_honest() { "honest" } else { "cheat" };
    let end = LEFT_PX + BIN_PX * bins() as f64;
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{}\">{}</text><line class=\"base\" x1=\"{LEFT_PX}\" x2=\"{end}\" y1=\"{base}\" y2=\"{base}\"/>",
        base - 6.0,
        work.title()
    );
    let shares = shares(values);
    let most = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    for (bin, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        // The root, so that a single region among thousands can be seen.
        let height = (BAR_PX_MAX * (share / most).sqrt()).max(1.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{height:.1}\"/>",
            LEFT_PX + BIN_PX * bin as f64,
            base - height,
            BIN_PX - 1.0
        );
    }
}
