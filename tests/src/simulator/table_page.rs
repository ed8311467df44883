//! The page that says how schemes to check tiles compare: a table for each question, the long one at the end.

use super::{
    baselines::Tally,
    strategies::Strategy,
    table::{ATTACKS, CROWDS, Findings, Passed, Place, SCHEMES, Volume},
};
use std::fmt::Write;

/// The crowds of the tables by attack: some cheats, of whom half are accomplices; very many, most of them accomplices.
const SHOWN_CROWDS: [usize; 2] = [2, 5];
/// Attacks that probes do not claim to see, left out where the worst is named.
const UNSEEN: [Strategy; 2] = [Strategy::OneCell, Strategy::FlakyMemory];

/// The page; `command` made it.
pub fn page(found: &Findings, volume: Volume, command: &str) -> String {
    let mut text = String::new();
    introduce(&mut text, volume, command);
    promise(&mut text, found);
    glance(&mut text, found, volume);
    for crowd in SHOWN_CROWDS {
        let title = "Wrong tiles in the finished job, of 10,000";
        matrix(&mut text, found, crowd, title, accepted_of_10000);
    }
    matrix(
        &mut text,
        found,
        SHOWN_CROWDS[0],
        "What a cheat gains, in tiles of pay",
        |tally| signed(tally.gain_each()),
    );
    matrix(
        &mut text,
        found,
        SHOWN_CROWDS[0],
        "Wrong tiles that a cheat delivers until it is caught",
        latency,
    );
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

Each scheme is a small seeded model that hands the same {tiles} tiles of 1024 cells to the same 100 workers, {seeds} times
with other seeds. The hostile ones all follow one strategy, the ones that the simulated coordinator meets too
(`tests/src/simulator/strategies.rs`): it says which cells of a tile are not rendered and what stands there instead. Those in
a ring fake alike, and confirm each other's tiles when they are asked to check them; the others are on their own and
check honestly, unless lying as a prober is their strategy. Cells differ in cost, half of the work is in a sixteenth of
them, so some cheats save much with few cells.

| scheme | what it does |
|---|---|
| overlap only | neighbouring tiles share a cell's width; where they differ a third worker decides |
| crops | Golem's: the requestor renders three random crops of a tenth of the sides; here it compares every pixel |
| adaptive 1/n | BOINC's: two renders, but after n >= 10 valid results in a row a host is checked once in n tiles |
| quorum 2, 3 | two or three renders by random workers; what more than half say, or more are asked |
| ours | secret probes drawn by the real `verifier` from a real commitment, in eight groups for different workers; a share of tiles rendered twice; sixteen secret rim cells; pay of the last tiles held back; when somebody is caught all that it delivered is rendered again and what it vouched for checked again |

Ours comes in levels: unknown (128 probes, 25 % rendered twice, pay held for 20 tiles), probation (64, 20 %, 64), trusted
(64, 2 %, 32). The requestor's own engine decides disputes about a cell; \"no own engine\" is the unknown level where it cannot
and other workers do. The loser of a comparison gets no more work; in the other schemes only if it was hostile, which is kinder
than any rule of theirs could be.

The same strategies meet the real coordinator in virtual time in `tests/tests/attacks.rs`.

A gain is what a hostile worker was paid, less the same pay for what it really rendered: honest work is 0. Where nothing was
accepted the bound is 3/n, at 95 %: for a 0 in the tables of {jobs} tiles a cell that is {bound:.1} of 10,000.

"
    );
}

fn promise(text: &mut String, found: &Findings) {
    *text += "## The promise: tiles with a tenth of the cells wrong, or more

Every row counts wrong tiles. \"In jobs\": 30 % of the workers fake every tile that they get and come back under a new key
whenever they are caught. \"One tile ever\": each wrong tile is of another worker that is honest otherwise, so that
no second tile gives it away: the hardest case, which only the probes and copies of that one tile can see. The promise of less than
one in a million is for jobs of unknown workers, as whoever is caught comes back unknown. Attacks that are seen more easily are run for
a tenth of the volume.

| level | attack | ring | in jobs: wrong tiles | accepted | rate | one tile ever: wrong tiles | accepted | rate |
|---|---|---|---|---|---|---|---|---|
";
    for (returning, alone) in found.returning.iter().zip(&found.alone) {
        let _ = writeln!(
            text,
            "| {} | {} | {} % | {} | {} | {} | {} | {} | {} |",
            level(returning),
            label(returning.strategy),
            returning.ring_percent,
            thousands(returning.wrong),
            returning.passed,
            rate(returning.passed, returning.wrong),
            thousands(alone.wrong),
            alone.passed,
            rate(alone.passed, alone.wrong),
        );
    }
    *text += "
Honest work is never refused: right tiles among 30 % hostile workers, of whom two thirds are accomplices, who say of others'
tiles that they are wrong.

| level | attack | tiles of honest workers | refused | honest workers blamed | liars caught |
|---|---|---|---|---|---|
";
    for (strategy, policy, tally) in &found.right {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            policy.name.trim_start_matches("ours, "),
            label(*strategy),
            thousands(tally.honest_delivered),
            tally.honest_refused,
            tally.honest_blamed,
            thousands(tally.caught),
        );
    }
    *text += "\n";
}

fn level(passed: &Passed) -> &'static str {
    passed.policy.name.trim_start_matches("ours, ")
}

/// The schemes side by side.
fn glance(text: &mut String, found: &Findings, volume: Volume) {
    *text += "## The schemes at a glance

Overhead is all rendering over the job's own. The other columns take the worst attack of the long table for each scheme, one
cell and flaky memory left out (those are below). Crowds: 10 % hostile, half of them a ring; 30 % hostile, two thirds of them a ring.

| scheme | overhead, all honest | overhead, 10 % | wrong tiles of 10,000, worst, 10 % | 30 % | honest workers blamed a job, worst, 10 % | 30 % | best gain of a cheat in tiles, 10 % | 30 % |
|---|---|---|---|---|---|---|---|---|
";
    for (scheme, what) in SCHEMES.iter().enumerate() {
        let of = |crowd, attack| {
            found.jobs[&Place {
                attack,
                scheme,
                crowd,
            }]
        };
        let attacks = || (0..ATTACKS.len()).filter(|attack| !UNSEEN.contains(&ATTACKS[*attack].0));
        let worst = |crowd: usize, measure: &dyn Fn(&Tally) -> f64| {
            let each = attacks().map(|attack| measure(&of(Some(crowd), attack)));
            each.fold(f64::MIN, f64::max)
        };
        let wrong = |tally: &Tally| tally.bad_accepted as f64 / tally.tiles as f64;
        let worst_wrong = |crowd| {
            let tallies = attacks().map(|attack| of(Some(crowd), attack));
            let worst = tallies.max_by(|a, b| wrong(a).total_cmp(&wrong(b)));
            worst.map_or(String::new(), |tally| accepted_of_10000(&tally))
        };
        let blamed = |tally: &Tally| tally.honest_blamed as f64 / volume.seeds as f64;
        let [some, many] = SHOWN_CROWDS;
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.3} | {} | {} | {:.1} | {:.1} | {} | {} |",
            what.name(),
            of(None, 0).overhead(),
            of(Some(some), 0).overhead(),
            worst_wrong(some),
            worst_wrong(many),
            worst(some, &blamed),
            worst(many, &blamed),
            signed(worst(some, &Tally::gain_each)),
            signed(worst(many, &Tally::gain_each)),
        );
    }
    *text += "\n";
}

/// Attacks by schemes in one crowd.
fn matrix(
    text: &mut String,
    found: &Findings,
    crowd: usize,
    title: &str,
    show: impl Fn(&Tally) -> String,
) {
    let (hostile, ring) = CROWDS[crowd];
    let _ = writeln!(text, "## {title}: {hostile} % hostile, ring of {ring} %\n");
    let names: Vec<&str> = SCHEMES.iter().map(|scheme| scheme.name()).collect();
    let _ = writeln!(text, "| attack | {} |", names.join(" | "));
    let _ = writeln!(text, "|---{}|", "|---".repeat(names.len()));
    for (attack, (_, label)) in ATTACKS.iter().enumerate() {
        let cell = |scheme| {
            let crowd = Some(crowd);
            show(
                &found.jobs[&Place {
                    attack,
                    scheme,
                    crowd,
                }],
            )
        };
        let cells: Vec<String> = (0..SCHEMES.len()).map(cell).collect();
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

- A cell that is wrong in one tile only, as flaky memory makes them (its row): a quorum sees it whenever its workers are not all
  accomplices. Probes look at an eighth of the cells or less, so most such cells pass; who does it in every tile is caught soon.
  Whoever needs every pixel has to have every tile rendered twice.
- One tile ever, at the trusted level: see the last columns of the promise. A worker that is trusted can risk that, for the pay of a
  tenth of a tile, against a standing that took it 200 checked tiles and a week. What the table has under \"in jobs\" for trusted workers is
  harsher than real jobs are: there the caught come back trusted, as if they had not been caught, and what is left are fakes
  shortly before a job ends.
- Golem's crops cannot be fooled by any ring, as the requestor renders them; nor can our disputes where it has an engine. Without one, \
  accomplices who are asked for an opinion outvote honest probers: see the row \"no own engine\" and its honest workers blamed.
- A quorum of two is simple, needs no commitments, and its cost is known. Its weakness is two accomplices who hold one tile and know it:
  they are never caught (row \"ring, only where it holds all copies\"). Nobody there knows beforehand which cells of ours are looked at.
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
            ATTACKS[place.attack].1,
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

fn label(strategy: Strategy) -> &'static str {
    let found = ATTACKS.iter().find(|(attack, _)| *attack == strategy);
    found.map_or("", |(_, label)| label)
}

/// A rate, or its upper bound at 95 % where nothing was seen (Hanley and Lippman-Hand: "If nothing goes wrong, is
/// everything all right?", JAMA 249).
fn rate(count: u64, of: u64) -> String {
    match count {
        0 => format!("< {:.1e}", 3.0 / of.max(1) as f64),
        _ => format!("{:.1e}", count as f64 / of as f64),
    }
}

fn thousands(number: u64) -> String {
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
