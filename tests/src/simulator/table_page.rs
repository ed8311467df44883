//! The page that says how schemes to check tiles compare: a table for each question, the long one at the end.

use super::{
    baselines::{CELL_PIXELS, Tally, policy::Policy},
    strategies::Strategy,
    table::{
        ATTACKS, Attack, CROWDS, Findings, ONE_PIXEL, Passed, Place, SAVING_NOTHING, SCHEMES,
        Volume, WITH_PIXELS, WITH_SQUARES,
    },
    table_goals::goals,
};
use std::{fmt::Write, ops::Range};
use verifier::ProbeShape;

/// The crowds of the tables by attack: some cheats, of whom half are accomplices; very many, most of them accomplices.
const SHOWN_CROWDS: [usize; 2] = [2, 5];

/// The page; `command` made it.
pub fn page(found: &Findings, volume: Volume, command: &str) -> String {
    let mut text = String::new();
    introduce(&mut text, volume, command);
    levels(&mut text, found);
    goals(&mut text, found);
    promise(&mut text, found);
    edits(&mut text, found);
    glance(&mut text, found, volume);
    by_attack(&mut text, found, WITH_PIXELS, "");
    squares(&mut text, found, volume);
    concede(&mut text);
    all(&mut text, found);
    text
}

fn introduce(text: &mut String, volume: Volume, command: &str) {
    let Volume { seeds, tiles, .. } = volume;
    let jobs = seeds * u64::from(tiles);
    let bound = 3e4 / jobs as f64;
    let _ = write!(
        text,
        "# What checking sees, what it costs, what cheating pays

How well do the checks of this project find wrong tiles, next to what others do? This page is written by a program;
nothing in it is typed by hand but the words:

    {command}

## What is compared, and how

Each scheme is a small seeded model that hands the same {tiles} tiles of 256x256 pixels, which are 1024 cells of 8x8, to the
same 100 workers, {seeds} times with other seeds. The hostile ones all follow one strategy; most of these the simulated
coordinator meets too (`tests/src/simulator/strategies.rs`): it says which cells of a tile are not rendered and what stands
there instead. Those in a ring fake alike, and confirm each other's tiles when they are asked to check them; the others are
on their own and check honestly, unless lying as a prober is their strategy. Cells differ in cost, half of the work is in a
sixteenth of them, so some cheats save much with few cells.

| scheme | what it does |
|---|---|
| overlap only | neighbouring tiles share a cell's width; where they differ a third worker decides |
| crops | Golem's: the requestor renders three random crops of a tenth of the sides; here it compares every pixel |
| adaptive 1/n | BOINC's: two renders, but after n >= 10 valid results in a row a host is checked once in n tiles |
| quorum 2, 3 | two or three renders by random workers; what more than half say, or more are asked |
| ours | secret pixels of every cell, drawn by the real `verifier` from a real commitment, each rendered again by another worker; a share of tiles rendered twice; sixteen secret rim cells; pay of the last tiles held back; when somebody is caught all that it delivered is rendered again and what it vouched for checked again |
| squares | ours for engines that charge for each rectangle, as Blender does: secret squares of cells in place of the pixels; a task is a whole frame |

The requestor's own engine decides disputes about a cell and, as long as nobody better trusted is there, takes a prober's part in
one tile of eight of strangers and those on probation; \"no own engine\" is the unknown level without one, where other workers decide.
The loser of a comparison gets no more work; in the other schemes only if it was hostile, which is kinder than any rule
of theirs could be. With us a single wrong cell, which saves no work, is taken for bad memory, as the coordinator does: it costs the tile, the
third one the job, and what was accepted stands. A larger fake of which neighbours happen to see one rim cell is forgiven alike, so that some
cheats need more than one tile to be caught. Probers are other workers while there are enough; where there are few,
each renders several of the pixels. Left out is that the probers of a tile that fell are looked at too, which finds more accomplices.

The strategies that fake whole cells meet the real coordinator in virtual time in `tests/tests/attacks.rs`.

A gain is what a hostile worker was paid, less the same pay for what it really rendered: honest work is 0. Where nothing was
accepted the bound is 3/n, at 95 %: for a 0 in the tables of {jobs} tiles a cell that is {bound:.1} of 10,000.

"
    );
}

/// Our levels, as the verifier has them.
fn levels(text: &mut String, found: &Findings) {
    *text += "## Our levels

Overhead is all rendering over the job's own: probes, copies and rim cells together; by arithmetic, and as found in jobs where all are honest.

| level | looked at in a tile | tiles with that | rendered twice | pay held back, in tiles | overhead by arithmetic | found |
|---|---|---|---|---|---|---|
";
    let policies = [
        Policy::UNKNOWN,
        Policy::PROBATION,
        Policy::TRUSTED,
        Policy::OWN,
        Policy::SQUARES_UNKNOWN,
        Policy::SQUARES_PROBATION,
        Policy::SQUARES_TRUSTED,
    ];
    for policy in policies {
        let checks = policy.checks;
        let (what, every) = match policy.shape {
            ProbeShape::Pixels => {
                let pixels = checks.probe_pixels;
                let what = format!("{pixels} of {CELL_PIXELS} pixels of each cell");
                (what, checks.pixels_every)
            }
            ProbeShape::Squares { side_cells, .. } => {
                let count = policy.squares();
                let what = format!("{count:.1} squares of {side_cells}x{side_cells} cells");
                (what, 1)
            }
        };
        let _ = writeln!(
            text,
            "| {} | {what} | {} | {:.1} % | {} | {:.3} | {:.3} |",
            level(&policy),
            if every == 1 {
                "all".into()
            } else {
                format!("one in {every}")
            },
            f64::from(checks.replica_share) * 100.0 / f64::from(verifier::trust::SHARES),
            checks.held_tiles,
            policy.overhead(),
            honest(found, &policy).overhead(),
        );
    }
    *text += "\n";
}

/// The job of this level where all are honest.
fn honest(found: &Findings, policy: &Policy) -> Tally {
    let scheme = SCHEMES
        .iter()
        .position(|scheme| scheme.name() == policy.name);
    scheme.map_or(found.own, |scheme| of(found, scheme, None, 0))
}

pub(super) fn of(found: &Findings, scheme: usize, crowd: Option<usize>, attack: usize) -> Tally {
    found.jobs[&Place {
        attack,
        scheme,
        crowd,
    }]
}

pub(super) fn share(passed: &Passed) -> f64 {
    passed.passed as f64 / passed.wrong.max(1) as f64
}

fn promise(text: &mut String, found: &Findings) {
    *text += "## The promise: tiles with a tenth of the cells wrong, or more, or one cell as a whole

Every row counts wrong tiles. \"In jobs\": 30 % of the workers fake every tile that they get and come back under a new key
whenever they are caught; those caught come back at their level, trusted ones too, which is harsher than real jobs are. \"One
tile ever\": each wrong tile is of another worker that is honest otherwise, so that no second tile gives it away: the hardest
case, which only the probes and copies of that one tile can see. Attacks that are seen more easily, and squares, are run for less,
and what is rarest for ten times as much.

";
    promise_rows(text, found, ProbeShape::Pixels);
    *text += "Honest work is never refused: right tiles among 30 % hostile workers, of whom two thirds are accomplices, who say of others'
tiles that they are wrong: in one cell, or in all that they are asked for.

| level | attack | tiles of honest workers | refused | honest workers blamed | liars caught |
|---|---|---|---|---|---|
";
    for (attack, policy, tally) in &found.right {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            level(policy),
            attack.label,
            thousands(tally.honest_delivered),
            tally.honest_refused,
            tally.honest_blamed,
            thousands(tally.caught),
        );
    }
    *text += "\n";
}

fn promise_rows(text: &mut String, found: &Findings, shape: ProbeShape) {
    *text += "| level | attack | ring | in jobs: wrong tiles | accepted | rate | one tile ever: wrong tiles | accepted | rate |
|---|---|---|---|---|---|---|---|---|
";
    let both = found.returning.iter().zip(&found.alone);
    for (returning, alone) in both.filter(|(row, _)| row.policy.shape == shape) {
        let _ = writeln!(
            text,
            "| {} | {} | {} % | {} | {} | {} | {} | {} | {} |",
            level(&returning.policy),
            returning.attack.label,
            returning.ring_percent,
            thousands(returning.wrong),
            returning.passed,
            rate(returning.passed, returning.wrong),
            thousands(alone.wrong),
            alone.passed,
            rate(alone.passed, alone.wrong),
        );
    }
    *text += "\n";
}

pub(super) fn level(policy: &Policy) -> &'static str {
    policy.name.trim_start_matches("ours, ")
}

pub(super) fn name(scheme: usize) -> &'static str {
    SCHEMES[scheme].name().trim_start_matches("ours, ")
}

/// What is less than a cell.
fn edits(text: &mut String, found: &Findings) {
    *text += "## Small edits: a cell of one tile, or less

Of tiles that their workers changed a little, one tile each and no ring, so many of a hundred were accepted. Such an edit saves no
work; it is defacement, or bad memory. A prober sees one pixel of each cell: an edit of s of 64 pixels passes n of them with
(1 - s/64)^n. What sees every pixel is a second render of the whole tile: a quorum of two accepts none of these but where both
workers are accomplices, and there are none here.

";
    let mut columns: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for passed in &found.edits {
        if !columns.contains(&passed.policy.name) {
            columns.push(passed.policy.name);
        }
        let cell = match passed.passed {
            0 => "0".to_owned(),
            _ => format!("{:.1}", share(passed) * 100.0),
        };
        match rows.last_mut() {
            Some((label, cells)) if *label == passed.attack.label => cells.push(cell),
            _ => rows.push((passed.attack.label, vec![cell])),
        }
    }
    let _ = writeln!(text, "| edit | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---{}|", "|---".repeat(columns.len()));
    for (label, cells) in rows {
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
    }
    *text += "\n";
}

/// The schemes side by side.
fn glance(text: &mut String, found: &Findings, volume: Volume) {
    *text += "## The schemes at a glance

Overhead is all rendering over the job's own. The other columns take the worst attack of the long table for each scheme; those
that fake a cell or less, and flaky memory, are left out of wrong tiles and blame, as they save no work; workers that change one
pixel of each of their tiles have columns of their own. Crowds: 10 % hostile, half of them a ring; 30 % hostile, two thirds of
them a ring.

";
    glance_rows(text, found, volume, WITH_PIXELS);
}

fn glance_rows(text: &mut String, found: &Findings, volume: Volume, schemes: Range<usize>) {
    *text += "| scheme | overhead, all honest | overhead, 10 % | wrong tiles of 10,000, worst, 10 % | 30 % | by one pixel each, 10 % | 30 % | honest workers blamed a job, worst, 10 % | 30 % | best gain of a cheat in tiles, 10 % | 30 % |
|---|---|---|---|---|---|---|---|---|---|---|
";
    let pixel = ATTACKS
        .iter()
        .position(|attack| attack.label == ONE_PIXEL.label);
    for scheme in schemes {
        let saving = || (0..ATTACKS.len()).filter(|attack| !SAVING_NOTHING.contains(attack));
        let worst = |crowd: usize, measure: &dyn Fn(&Tally) -> f64| {
            let each = saving().map(|attack| measure(&of(found, scheme, Some(crowd), attack)));
            each.fold(f64::MIN, f64::max)
        };
        let wrong = |tally: &Tally| tally.bad_accepted as f64 / tally.tiles as f64;
        let worst_wrong = |crowd| {
            let tallies = saving().map(|attack| of(found, scheme, Some(crowd), attack));
            let worst = tallies.max_by(|a, b| wrong(a).total_cmp(&wrong(b)));
            worst.map_or(String::new(), |tally| accepted_of_10000(&tally))
        };
        let by_pixel = |crowd| {
            let tally = pixel.map(|attack| of(found, scheme, Some(crowd), attack));
            tally.map_or(String::new(), |tally| accepted_of_10000(&tally))
        };
        let gain = |crowd| {
            let each = (0..ATTACKS.len()).map(|attack| of(found, scheme, Some(crowd), attack));
            signed(each.map(|tally| tally.gain_each()).fold(f64::MIN, f64::max))
        };
        let blamed = |tally: &Tally| tally.honest_blamed as f64 / volume.seeds as f64;
        let [some, many] = SHOWN_CROWDS;
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.3} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} |",
            SCHEMES[scheme].name(),
            of(found, scheme, None, 0).overhead(),
            of(found, scheme, Some(some), 0).overhead(),
            worst_wrong(some),
            worst_wrong(many),
            by_pixel(some),
            by_pixel(many),
            worst(some, &blamed),
            worst(many, &blamed),
            gain(some),
            gain(many),
        );
    }
    *text += "\n";
}

/// Each question's table of attacks by schemes.
fn by_attack(text: &mut String, found: &Findings, schemes: Range<usize>, suffix: &str) {
    for crowd in SHOWN_CROWDS {
        let title = ["Wrong tiles in the finished job, of 10,000", suffix];
        matrix(
            text,
            found,
            (crowd, schemes.clone()),
            title,
            accepted_of_10000,
        );
    }
    let gain = |tally: &Tally| signed(tally.gain_each());
    let title = ["What a cheat gains, in tiles of pay", suffix];
    matrix(text, found, (SHOWN_CROWDS[0], schemes.clone()), title, gain);
    let title = [
        "Wrong tiles that a cheat delivers until it is caught",
        suffix,
    ];
    matrix(text, found, (SHOWN_CROWDS[0], schemes), title, latency);
}

/// Engines that charge for each rectangle.
fn squares(text: &mut String, found: &Findings, volume: Volume) {
    *text += "## Squares: where rectangles have a price

Blender takes 0.06 to 0.3 s for any rectangle, however small, so that pixels of every cell are out of the question. Its probes are
squares: as many as a share of the task's own cost pays for. Here a task is a whole frame of 256x256 pixels that takes a minute, at 0.2 s a
rectangle, and has no neighbours to overlap with; docs/verification-blender.md has other sizes and times. Where frames are divided, tiles
overlap by whole lines of cells besides: 6.3 % of the work of a tile of 256x256 pixels, 3.1 % of one of 512x512.

";
    let passed = found
        .alone
        .iter()
        .find(|row| row.policy == Policy::SQUARES_TRUSTED && row.attack.strategy == Strategy::Ring);
    let inner = passed.map_or(0.0, share) * 1e4;
    let _ = write!(
        text,
        "Squares see shares of a tile. Who fakes a tenth of the cells, none of them at the rim, passes the checks of that one tile in {inner:.0} of 10,000
cases if it is trusted; a single cell is hardly ever seen. A prober's part is some nine cells here, in which such a cheat often has one wrong
cell only: it is forgiven twice, as if its memory were bad, and what was accepted of it before stands. Without that rule about
a fiftieth of the fakes would be left that are accepted of trusted workers in jobs, below. What carries the checks of Blender are second renders of whole tiles,
pay that is held back, and that all tiles of whoever is caught with more than single cells are rendered again.

"
    );
    glance_rows(text, found, volume, WITH_SQUARES);
    promise_rows(text, found, Policy::SQUARES_UNKNOWN.shape);
    by_attack(text, found, WITH_SQUARES, ", squares");
}

/// Attacks by schemes in one crowd.
fn matrix(
    text: &mut String,
    found: &Findings,
    (crowd, schemes): (usize, Range<usize>),
    [title, suffix]: [&str; 2],
    show: impl Fn(&Tally) -> String,
) {
    let (hostile, ring) = CROWDS[crowd];
    let _ = writeln!(
        text,
        "## {title}: {hostile} % hostile, ring of {ring} %{suffix}\n"
    );
    let names: Vec<&str> = SCHEMES[schemes.clone()]
        .iter()
        .map(|scheme| scheme.name())
        .collect();
    let _ = writeln!(text, "| attack | {} |", names.join(" | "));
    let _ = writeln!(text, "|---{}|", "|---".repeat(names.len()));
    for (attack, Attack { label, .. }) in ATTACKS.iter().enumerate() {
        let cell = |scheme| show(&of(found, scheme, Some(crowd), attack));
        let cells: Vec<String> = schemes.clone().map(cell).collect();
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
    }
    *text += "\n";
}

fn accepted_of_10000(tally: &Tally) -> String {
    match tally.bad_accepted {
        0 => "0".into(),
        count => format!("{:.1}", count as f64 * 1e4 / tally.tiles.max(1) as f64),
    }
}

fn signed(number: f64) -> String {
    match format!("{number:+.1}").as_str() {
        "-0.0" | "+0.0" => "0".into(),
        text => text.into(),
    }
}

fn latency(tally: &Tally) -> String {
    match tally.caught {
        0 if tally.bad_delivered == 0 => "none".into(),
        0 => "never caught".into(),
        caught => format!("{:.1}", tally.bad_until_caught as f64 / caught as f64),
    }
}

fn concede(text: &mut String) {
    *text += "## Where others do better

- Less than a cell: a quorum sees a single wrong pixel unless its workers are all accomplices. A prober sees one pixel in 64, so most such
  edits pass us (the table of small edits, and the last rows of the others); who makes them in every tile is caught after a few, but what was
  accepted before stands. Nobody saves work by them. Whoever fears them has every tile rendered twice.
- One tile ever, in a ring of a fifth of all workers, at the trusted level: see the last columns of the promise. A trusted worker stakes a standing on
  it that took it 200 checked tiles and a week.
- Golem's crops cannot be fooled by any ring, as the requestor renders them; nor can our disputes where it has an engine. Without one, \
  accomplices who are asked for an opinion outvote honest probers: see the row \"no own engine\" and its honest workers blamed.
- A quorum of two is simple, needs no commitments, and its cost is known. Its weakness is two accomplices who hold one tile and know it:
  they are never caught (row \"ring, only where it holds all copies\"). With us nobody knows beforehand who will look.
- Blender: see squares, above. Two renders of every tile see what squares do not.
- All of this is inside one determinism class. An engine that is wrong alike for a whole class agrees with itself in every scheme but crops;
  only a comparison with another class or with the requestor's own engine sees it, and the models here do not have it.

";
}

fn all(text: &mut String, found: &Findings) {
    *text += "## All of it

| scheme | attack | hostile | ring | wrong delivered | wrong accepted | never finished | honest refused | honest blamed | overhead | gain of a cheat | caught of | wrong until caught |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";
    for (place, tally) in &found.jobs {
        let Some(crowd) = place.crowd else {
            continue;
        };
        let (hostile, ring) = CROWDS[crowd];
        let _ = writeln!(
            text,
            "| {} | {} | {hostile} % | {ring} % | {} | {} | {} | {} | {} | {:.3} | {} | {} of {} | {} |",
            SCHEMES[place.scheme].name(),
            ATTACKS[place.attack].label,
            tally.bad_delivered,
            tally.bad_accepted,
            tally.unfinished,
            tally.honest_refused,
            tally.honest_blamed,
            tally.overhead(),
            signed(tally.gain_each()),
            tally.caught,
            tally.hostile,
            latency(tally),
        );
    }
}

/// A rate, or its upper bound at 95 % where nothing was seen (Hanley and Lippman-Hand: "If nothing goes wrong, is
/// everything all right?", JAMA 249).
fn rate(count: u64, of: u64) -> String {
    match count {
        0 => format!("< {:.1e}", 3.0 / of.max(1) as f64),
        _ => format!("{:.1e}", count as f64 / of as f64),
    }
}

pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
