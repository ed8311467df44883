//! How deliveries are checked: who gets their probes, what replicas find, what a fault costs, what is paid when.

use crate::script::{SALT, SIGNATURE, Script, config, hashes, node, root_of, true_cells};
use farm::{
    FarmConfig, WorkerState,
    event::{Difference, Effect, Event, FaultKind, Trust},
    limits::{FLAKY_MAX, HEARTBEAT_TIMEOUT_MS, TILE_LOSSES_MAX},
};
use protocol::{Blake3Hash, Glm, Size, TaskSpec, TileGrid, pixels::Looks};
use std::collections::BTreeSet;
use verifier::ProbeShape;

const BAD: Blake3Hash = Blake3Hash([0; 32]);

/// One tile of 1,024 cells a frame.
pub fn large(frames: i32, secret: u8) -> FarmConfig {
    let mut large = config(frames, 0);
    large.job.settings.size = Size::new(256, 256).unwrap();
    large.grid = TileGrid::new(large.job.settings.size, 0);
    large.secret = [secret; 32];
    large
}

fn is_probe(spec: &TaskSpec) -> bool {
    spec.pixels.is_some() || spec.rects[0].area() <= 64
}

fn is_whole(spec: &TaskSpec, tile: &TaskSpec) -> bool {
    spec.rects == tile.rects && spec.pixels.is_none()
}

fn leases(script: &Script, wanted: impl Fn(&TaskSpec) -> bool) -> Vec<(u8, TaskSpec)> {
    let leases = script.leases.values().filter(|(_, spec)| wanted(spec));
    leases
        .map(|(worker, spec)| (worker.0[0], spec.clone()))
        .collect()
}

/// [`Script::first_tile`] of a job with large tiles.
fn first_tile(secret: u8, workers: u8, edit: impl Fn(&mut Vec<Blake3Hash>)) -> (Script, TaskSpec) {
    Script::first_tile(large(100, secret), workers, edit)
}

/// A secret under which the first tile gets a replica, or not.
fn secret(with_replica: bool) -> u8 {
    let is_so = |secret: &u8| {
        let (script, tile) = first_tile(*secret, 10, |_| {});
        let replicas = leases(&script, |spec| {
            is_whole(spec, &tile) && spec.frame == tile.frame
        });
        replicas.is_empty() != with_replica
    };
    (1..=100)
        .find(is_so)
        .expect("a quarter of the tiles have one")
}

#[test]
fn the_probes_of_a_tile_are_dealt_out_to_eight_workers() {
    let (script, tile) = first_tile(secret(false), 12, |_| {});
    let probes = leases(&script, is_probe);
    let workers: BTreeSet<u8> = probes.iter().map(|(worker, _)| *worker).collect();
    assert_eq!((probes.len(), workers.len()), (8, 8));
    assert!(!workers.contains(&1));
    // Each renders one pixel of every cell, by a challenge of its own.
    let mut challenges = BTreeSet::new();
    for (_, spec) in &probes {
        let pixels = spec.pixels.unwrap();
        challenges.insert(pixels.challenge);
        assert_eq!((pixels.per_cell, pixels.packed), (1, None));
        assert_eq!((&spec.rects, spec.pixel_count()), (&tile.rects, 1_024));
    }
    assert_eq!(challenges.len(), 8);
    assert!(probes.iter().all(|(_, spec)| spec.frame == tile.frame));
}

#[test]
fn one_part_of_a_strangers_probes_goes_to_somebody_trusted() {
    for secret in 1..=5 {
        let mut script = Script::new(large(100, secret));
        for number in 1..=40 {
            let trust = if number == 40 {
                Trust::Trusted
            } else {
                Trust::Unknown
            };
            script.join(number, trust);
        }
        script.wait(2_000);
        script.work(1);
        let probes = leases(&script, is_probe);
        assert!(
            probes.iter().any(|(worker, _)| *worker == 40),
            "secret {secret}"
        );
    }
}

#[test]
fn where_nobody_is_trusted_the_own_engine_looks_at_some_tiles_and_at_strange_ones_always() {
    let mut asked = 0;
    for secret in 1..=100 {
        for (looks, is_certain) in [(Looks::Ordinary, false), (Looks::OneColour, true)] {
            let mut script = Script::with_own_engine(large(100, secret));
            (1..=12).for_each(|number| script.join(number, Trust::Unknown));
            script.wait(2_000);
            let tile = script.lease_of(1).unwrap();
            let cells = true_cells(&tile);
            script.commit(1, &tile, &cells);
            let due = script.farm.cells_due(tile.id);
            let due = hashes(&tile, &cells, &due).unwrap();
            let effects = script.send(Event::Delivered {
                worker: node(1),
                task: tile.id,
                salt: SALT,
                root: root_of(&cells),
                cells: Ok(due.into()),
                looks,
            });
            let asks = effects
                .iter()
                .any(|effect| matches!(effect, Effect::RenderOwn { .. }));
            match is_certain {
                true => assert!(asks),
                false => asked += u32::from(asks),
            }
        }
    }
    assert!((4..25).contains(&asked), "{asked} of 100");
}

/// A tile with one wrong cell that is rendered twice.
struct Replicated {
    script: Script,
    tile: TaskSpec,
    /// Who renders it again.
    worker: u8,
    replica: TaskSpec,
    difference: Difference,
}

fn replicated() -> Replicated {
    const WRONG: usize = 77;
    // The commitment decides the draw: the edited tile may have no replica where the right one has.
    let found = (1..=255u8).find_map(|byte| {
        let edit = |cells: &mut Vec<Blake3Hash>| cells[WRONG] = Blake3Hash([byte; 32]);
        let (script, tile) = first_tile(secret(true), 10, edit);
        let replica = leases(&script, |spec| is_whole(spec, &tile) && spec.frame == 1);
        let (worker, spec) = replica.first()?.clone();
        Some((script, tile, worker, spec, byte))
    });
    let (script, tile, worker, replica, byte) = found.expect("one of four has a replica");
    let (_, cell) = tile.rects[0].cells().nth(WRONG).unwrap();
    let difference = Difference {
        rect: cell,
        packed: None,
        left: Blake3Hash([byte; 32]),
        right: true_cells(&replica)[WRONG],
        cells: 1,
    };
    Replicated {
        script,
        tile,
        worker,
        replica,
        difference,
    }
}

impl Replicated {
    /// The replica comes: what is to be looked up.
    fn deliver(&mut self) -> u64 {
        let honest = true_cells(&self.replica);
        self.script
            .commit_and_deliver(self.worker, &self.replica, honest);
        let request = self.script.effects.iter().find_map(|effect| match effect {
            Effect::Compare { request, .. } => Some(*request),
            _ => None,
        });
        request.expect("the roots differ")
    }

    fn compared(&mut self, request: u64) {
        let found = Ok(Some(self.difference));
        self.script.send(Event::Compared { request, found });
    }

    /// Others go on until the first is found wrong.
    fn blame_the_first(&mut self, but: &[u8]) {
        let is_blamed =
            |effect: &Effect| matches!(effect, Effect::Fault { worker, .. } if *worker == node(1));
        while !self.script.effects.iter().any(is_blamed) {
            self.script.step(but);
        }
    }
}

#[test]
fn a_replica_finds_a_single_cell() {
    let mut replicated = replicated();
    let request = replicated.deliver();
    replicated.compared(request);
    replicated.blame_the_first(&[1]);
    // One cell of a thousand: a fault, and its tile is rendered again.
    let script = &replicated.script;
    assert_eq!(replicated.tile.frame, 1);
    assert_ne!(script.state(1), WorkerState::Quarantined);
    assert_eq!(script.farm.progress().workers[0].flaky, 1);
}

#[test]
fn an_answer_counts_for_nothing_if_its_worker_is_caught_while_it_is_looked_up() {
    let mut replicated = replicated();
    let (request, cheat) = (replicated.deliver(), replicated.worker);
    let script = &mut replicated.script;
    let own = leases(script, |spec| !is_probe(spec) && spec.frame != 1);
    let (_, own) = own.iter().find(|(worker, _)| *worker == cheat).unwrap();
    script.commit_and_deliver(cheat, own, vec![BAD; true_cells(own).len()]);
    while script.state(cheat) != WorkerState::Quarantined {
        let looks = leases(script, |spec| spec.frame == own.frame);
        match looks
            .iter()
            .find(|(worker, _)| ![1, cheat].contains(worker))
        {
            Some((worker, spec)) => script.commit_and_deliver(*worker, spec, true_cells(spec)),
            None => script.wait(250).iter().for_each(drop),
        }
    }
    replicated.compared(request);
    replicated.blame_the_first(&[1, cheat]);
    let rows = replicated.script.farm.progress().workers;
    let row = rows.iter().find(|row| row.worker == node(cheat)).unwrap();
    assert_eq!((row.earned, row.tiles_accepted), (Glm::ZERO, 0));
}

#[test]
fn who_confirmed_what_is_wrong_is_looked_at_and_caught() {
    let mut script = Script::with_own_engine(large(100, 1));
    (1..=12).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    let tile = script.lease_of(1).unwrap();
    script.commit_and_deliver(1, &tile, vec![BAD; true_cells(&tile).len()]);
    let (accomplice, probe) = leases(&script, is_probe).swap_remove(0);
    script.commit_and_deliver(accomplice, &probe, vec![BAD; true_cells(&probe).len()]);
    assert!(script.quarantines.is_empty());
    for _ in 0..200 {
        script.step(&[1, accomplice]);
        assert!(!script.accepted().contains(&(node(accomplice), probe.id)));
    }
    let frauds = [1, accomplice].map(|number| (node(number), FaultKind::Fraud));
    assert_eq!(script.quarantines, frauds);
}

#[test]
fn a_replica_that_agrees_takes_the_place_of_a_tile_whose_worker_is_caught() {
    let (mut script, tile) = first_tile(secret(true), 10, |_| {});
    let replica = leases(&script, |spec| {
        is_whole(spec, &tile) && spec.frame == tile.frame
    });
    let (second, spec) = replica[0].clone();
    script.commit_and_deliver(second, &spec, true_cells(&spec));
    let mine = |script: &Script| {
        let rows = script.farm.progress().workers;
        rows.iter()
            .find(|row| row.worker == node(second))
            .unwrap()
            .clone()
    };
    assert_eq!(
        (mine(&script).tiles_accepted, mine(&script).earned),
        (0, Glm::ZERO)
    );
    // The first is caught elsewhere: its second tile contradicts itself by the word of all who look.
    let other = script.lease_of(1).unwrap();
    script.commit_and_deliver(1, &other, vec![BAD; true_cells(&other).len()]);
    while script.state(1) != WorkerState::Quarantined {
        // Others look at it, and leave the first frame as it is.
        let mut looks = leases(&script, |spec| spec.frame != 1).into_iter();
        match looks.find(|(worker, _)| *worker != 1) {
            Some((worker, spec)) => script.commit_and_deliver(worker, &spec, true_cells(&spec)),
            None => script.step(&[1]),
        }
    }
    // Nobody renders the first tile again: the replica is it, and gets probes of its own.
    assert!(leases(&script, |spec| is_whole(spec, &tile) && spec.frame == 1).is_empty());
    while mine(&script).tiles_accepted == 0 {
        script.step(&[second]);
    }
}

#[test]
fn single_wrong_cells_cost_their_tiles_and_at_last_the_job() {
    let mut script = Script::new(large(100, 1));
    (1..=6).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    let mut faults = 0;
    while script.state(1) != WorkerState::Quarantined {
        let Some(flaky) = script.lease_of(1) else {
            script.step(&[]);
            continue;
        };
        let mut cells = true_cells(&flaky);
        if !is_probe(&flaky) {
            script.commit(1, &flaky, &cells);
        }
        // Every cell of a tile is looked at.
        cells[0] = BAD;
        match is_probe(&flaky) {
            true => script.commit_and_deliver(1, &flaky, cells),
            // Its commitment is to the true pixels; what counts is that the draw does not change.
            false => script.deliver_committed(1, &flaky, cells),
        }
        for _ in 0..100 {
            script.step(&[1]);
            let is_fault = |effect: &&Effect| matches!(effect, Effect::Fault { .. });
            faults += script.effects.iter().filter(is_fault).count();
        }
    }
    assert_eq!(faults, FLAKY_MAX as usize);
    let fault = script.quarantines.last().unwrap();
    assert_eq!(*fault, (node(1), FaultKind::Flaky));
}

#[test]
fn whoever_is_wrong_in_all_that_was_compared_is_a_cheat() {
    let mut farm = config(1, 32);
    farm.probes = ProbeShape::squares(1_000, 0);
    let grid = farm.grid;
    let mut script = Script::with_own_engine(farm);
    (1..=8).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    // Across a corner tiles share few cells, and each of them many with others.
    let [wrong, right] = [0, 5].map(|tile| {
        let rendered = grid.rendered(tile);
        leases(&script, |spec| spec.rects[0] == rendered).remove(0)
    });
    let cells = vec![BAD; true_cells(&wrong.1).len()];
    script.commit_and_deliver(wrong.0, &wrong.1, cells);
    script.commit_and_deliver(right.0, &right.1, true_cells(&right.1));
    assert_eq!(script.farm.progress().checks.overlap_mismatches, 1);
    while !script.own.is_empty() {
        script.step(&[]);
    }
    assert_eq!(script.quarantines, [(node(wrong.0), FaultKind::Fraud)]);
}

#[test]
fn a_strangers_tiles_are_paid_late_and_a_cheats_never() {
    let mut script = Script::new(config(100, 0));
    (1..=4).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    let row = |script: &Script, number: u8| {
        let rows = script.farm.progress().workers;
        rows.iter()
            .find(|row| row.worker == node(number))
            .unwrap()
            .clone()
    };
    let paid = |script: &Script| script.paid.get(&node(1)).copied().unwrap_or_default();
    while row(&script, 1).tiles_accepted < 22 {
        script.step(&[]);
        if row(&script, 1).tiles_accepted <= 20 {
            assert_eq!(paid(&script), Glm::ZERO);
        }
        assert_eq!(row(&script, 1).paid(), paid(&script));
    }
    assert!(Glm::ZERO < paid(&script) && paid(&script) < row(&script, 1).earned);

    // Now it is caught: what was held back is gone, what was paid is not.
    while script.state(1) != WorkerState::Quarantined {
        match script.lease_of(1) {
            Some(spec) => script.commit_and_deliver(1, &spec, vec![BAD; true_cells(&spec).len()]),
            None => script.step(&[]),
        }
    }
    let caught = row(&script, 1);
    assert!(caught.forfeited > Glm::ZERO);
    assert_eq!((caught.held, caught.earned), (Glm::ZERO, paid(&script)));
    script.send(Event::Stop);
    assert_eq!(caught.earned, paid(&script));
    let progress = script.farm.progress();
    assert_eq!(progress.held, Glm::ZERO);
    let sum = |sum: Glm, paid: &Glm| sum.checked_add(*paid).unwrap();
    assert_eq!(progress.spent, script.paid.values().fold(Glm::ZERO, sum));
}

#[test]
fn newcomers_share_a_fifth_of_the_tiles_where_four_known_workers_are() {
    for (known, least, most) in [(4, 0.0, 0.21), (3, 0.5, 1.0)] {
        let mut script = Script::new(config(40, 32));
        (1..=known).for_each(|number| script.join(number, Trust::Trusted));
        (11..=30).for_each(|number| script.join(number, Trust::Unknown));
        script.wait(2_000);
        let (mut all, mut theirs) = (0, 0);
        for turn in 0..10_000 {
            if turn % 10 == 0 {
                script.wait(1);
            }
            let Some((worker, spec)) = leases(&script, |_| true).into_iter().nth(turn % 7) else {
                continue;
            };
            script.commit_and_deliver(worker, &spec, true_cells(&spec));
        }
        for row in &script.farm.progress().workers {
            all += row.tiles_accepted;
            theirs += if row.trust == Trust::Unknown {
                row.tiles_accepted
            } else {
                0
            };
        }
        let share = theirs as f64 / all as f64;
        assert!(
            all > 100 && (least..=most).contains(&share),
            "{known} known: {theirs} of {all}"
        );
    }
}

#[test]
fn a_flood_of_new_keys_that_do_nothing_fails_no_frame_while_others_work() {
    let mut script = Script::new(config(40, 32));
    (1..=2).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    while script.farm.progress().tiles_accepted < 4 {
        let number = (1..=2)
            .find(|number| script.lease_of(*number).is_some())
            .unwrap();
        script.work(number);
    }
    for wave in 0..3 * TILE_LOSSES_MAX as u8 {
        for key in 0..4 {
            script.join(100 + wave * 4 + key, Trust::Unknown);
        }
        script.heartbeats(&[1, 2]);
        script.wait(HEARTBEAT_TIMEOUT_MS + 1);
        for number in 1..=2 {
            if script.lease_of(number).is_some() {
                script.work(number);
            }
        }
    }
    assert_eq!(script.farm.progress().frames_failed, 0);
}

/// Nobody is asked about a commitment that was never signed; that the signature is kept is what evidence needs.
#[test]
fn evidence_holds_what_the_guilty_signed() {
    let (mut script, tile) = first_tile(secret(false), 6, |cells| cells.fill(BAD));
    while script.quarantines.is_empty() {
        script.step(&[1]);
    }
    let evidence = script.effects.iter().find_map(|effect| match effect {
        Effect::Quarantine { evidence, .. } => Some(evidence),
        _ => None,
    });
    let evidence = evidence.unwrap();
    // What is disputed are secret pixels, 64 of them; the first lies in the first cell.
    let pixels = evidence.pixels.expect("probes are pixels");
    assert_eq!((evidence.frame, pixels.packed), (1, Some(0)));
    let first = tile.rects[0].cells().next().map(|(_, cell)| cell);
    assert_eq!(evidence.cell, first);
    let guilty: Vec<_> = evidence
        .statements
        .iter()
        .filter(|said| said.is_wrong)
        .collect();
    let said = verifier::digest(&[BAD; 64]);
    assert_eq!(
        (guilty.len(), guilty[0].worker, guilty[0].value),
        (1, node(1), said)
    );
    let right = evidence
        .statements
        .iter()
        .filter(|said| !said.is_wrong)
        .count();
    assert!(right >= 2);
    // Only whole cells prove something to others: what the others signed is of pixels.
    let testimony = guilty[0].testimony.as_ref().expect("all is remembered");
    assert_eq!((testimony.signature, testimony.salt), (SIGNATURE, SALT));
    assert_eq!(testimony.rects, tile.rects);
}
