//! Where probes are squares: how many a tile gets, among whom they are dealt out, and what they find.

use crate::script::{SALT, Script, config, node, root_of, true_cells};
use farm::{
    Farm, FarmConfig, WorkerState,
    event::{Effect, FaultKind, Trust},
    limits::FLAKY_MAX,
};
use protocol::{Blake3Hash, Rect, Size, TaskSpec, TileGrid};
use std::collections::{BTreeMap, BTreeSet};
use verifier::ProbeShape;

const SIZE: Size = Size {
    width: 512,
    height: 256,
};

/// Whole frames of which a stranger's has so many squares.
fn with_squares(count: u64, secret: u8) -> FarmConfig {
    let mut config = config(100, 0);
    config.job.settings.size = SIZE;
    config.grid = TileGrid::new(SIZE, 0);
    config.secret = [secret; 32];
    let share = u64::from(Trust::Unknown.policy().squares_share);
    config.probes = ProbeShape::Squares {
        side_cells: 2,
        price_px: (SIZE.area() * share / 1000 / count) as u32,
    };
    config
}

/// [`Script::first_tile`] among ten strangers, and the leases of others on its squares.
fn probed(
    config: FarmConfig,
    edit: impl Fn(&mut Vec<Blake3Hash>),
) -> (Script, BTreeMap<u8, TaskSpec>) {
    let (script, tile) = Script::first_tile(config, 10, edit);
    let of_tile = |spec: &TaskSpec| spec.frame == tile.frame && spec.rects != tile.rects;
    let leases = script.leases.values().filter(|(_, spec)| of_tile(spec));
    let leases = leases.map(|(worker, spec)| (worker.0[0], spec.clone()));
    let leases = leases.collect();
    (script, leases)
}

#[test]
fn the_squares_of_a_dear_tile_are_many_and_dealt_out_to_eight_workers() {
    let (_, probes) = probed(with_squares(48, 1), |_| {});
    assert_eq!(probes.len(), 8);
    let squares: Vec<Rect> = probes
        .values()
        .flat_map(|spec| spec.rects.clone())
        .collect();
    assert!((42..=49).contains(&squares.len()), "{}", squares.len());
    let distinct: BTreeSet<Rect> = squares.iter().copied().collect();
    assert_eq!(distinct.len(), squares.len());
    let (_, probes) = probed(with_squares(5, 1), |_| {});
    assert_eq!(probes.len(), 2);
    let squares: usize = probes.values().map(|spec| spec.rects.len()).sum();
    assert!((4..=6).contains(&squares), "{squares}");
}

#[test]
fn a_strip_of_a_tenth_is_found_by_squares() {
    let columns = SIZE.width as usize / 8;
    for secret in 1..=20 {
        let first = usize::from(secret) % 28;
        let (mut script, _) = probed(with_squares(48, secret), |cells| {
            cells[first * columns..(first + 4) * columns].fill(Blake3Hash([0; 32]));
        });
        for _ in 0..200 {
            if !script.quarantines.is_empty() {
                break;
            }
            script.step(&[1]);
        }
        let caught: Vec<u8> = script
            .quarantines
            .iter()
            .map(|(node, _)| node.0[0])
            .collect();
        assert_eq!(caught, [1], "secret {secret}");
    }
}

/// One wrong cell at a time is what a prober sees of a fake of a tenth where its squares are few.
#[test]
fn single_wrong_cells_among_few_that_were_compared_are_fraud() {
    let config = with_squares(2, 1);
    let (secret, shape, core) = (config.secret, config.probes, config.grid.core(0));
    let mut script = Script::with_own_engine(config);
    (1..=4).for_each(|number| script.join(number, Trust::Unknown));
    script.wait(2_000);
    let mut faults = 0;
    while script.state(1) != WorkerState::Quarantined {
        let Some(tile) = script.lease_of(1) else {
            script.step(&[]);
            continue;
        };
        if tile.rects != [core] {
            script.work(1);
            continue;
        }
        let cells = true_cells(&tile);
        script.commit(1, &tile, &cells);
        let hash = tile.hash(&script.farm.config().job);
        let commitment = verifier::commitment(&node(1), &hash, &SALT, &root_of(&cells));
        let policy = Trust::Unknown.policy();
        let drawn = verifier::draw_probes(&secret, &commitment, &core, shape, &policy);
        let shown: BTreeSet<Rect> = drawn
            .iter()
            .flat_map(Rect::cells)
            .map(|(_, cell)| cell)
            .collect();
        let wrong = core
            .cells()
            .position(|(_, cell)| Some(&cell) == shown.first());
        let mut faked = cells;
        faked[wrong.expect("it has squares")] = Blake3Hash([0; 32]);
        script.deliver_committed(1, &tile, faked);
        for _ in 0..20 {
            script.step(&[1]);
            let is_fault = |effect: &&Effect| matches!(effect, Effect::Fault { .. });
            faults += script.effects.iter().filter(is_fault).count();
        }
    }
    assert_eq!(faults, FLAKY_MAX as usize);
    assert_eq!(script.quarantines, [(node(1), FaultKind::Fraud)]);
}

/// The price is part of the job: who goes on with it asks for the same squares.
#[test]
fn a_job_that_goes_on_draws_the_same_squares() {
    let mut script = Script::new(with_squares(48, 1));
    script.join(1, Trust::Unknown);
    script.join(2, Trust::Unknown);
    script.wait(2_000);
    let tile = script.lease_of(1).unwrap();
    assert!(script.commit(1, &tile, &true_cells(&tile)));
    let restored = Farm::restore(&script.farm.checkpoint().unwrap()).unwrap();
    let due = script.farm.cells_due(tile.id);
    assert!(due.cells.len() >= 42, "{}", due.cells.len());
    assert_eq!(restored.cells_due(tile.id).cells, due.cells);
}
