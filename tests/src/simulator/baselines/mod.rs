//! Ways to check rendered tiles, ours and others', as small models for volume: the same population, the same attacks, the
//! same account of money and work for each. Tiles have 1024 cells; a tile is the unit of work and of pay.
//!
//! | module | holds |
//! |---|---|
//! | [`crowd`] | who is there and what each delivers |
//! | [`quorum`] | tiles rendered several times: quorums, and replication that adapts to a host's record |
//! | [`alone`] | tiles rendered once: the requestor's crops, overlaps with neighbours |
//! | [`policy`] | our levels, and what each of a tile's probers sees of it, drawn by the real verifier |
//! | [`probing`] | ours: probes, copies of some tiles, secret rim cells, pay held back |
//!
//! Whoever loses a comparison gets no more work; in the other schemes only if it was hostile, which is kinder to them than
//! what they do.
//! Not modelled: time, prices, failures, and who is idle when; the simulated coordinator has those.

pub mod alone;
pub mod crowd;
pub mod policy;
pub mod probing;
pub mod quorum;

use super::strategies::Strategy;
use crowd::Crowd;
use protocol::{Rect, geometry::CELL_PX};

/// The core of every tile: 32 x 32 cells.
pub const TILE: Rect = Rect {
    x: 0,
    y: 0,
    width: 256,
    height: 256,
};
/// Cells across and down a tile.
pub const TILE_SIDE_CELLS: u32 = 32;
/// Cells of a tile.
pub const TILE_CELLS: u32 = TILE_SIDE_CELLS * TILE_SIDE_CELLS;
/// Pixels of a cell.
pub const CELL_PIXELS: u32 = CELL_PX * CELL_PX;

/// A job and who is there to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Tiles of the job.
    pub tiles: u32,
    /// Workers at the beginning.
    pub workers: u32,
    /// Of a hundred workers so many are hostile.
    pub hostile_percent: u32,
    /// Of a hundred workers so many are hostile accomplices: they fake alike and vouch for each other.
    pub ring_percent: u32,
    /// What the hostile do.
    pub strategy: Strategy,
    /// Side of the square of pixels that is wrong in each cell that the strategy fakes; [`CELL_PX`] for all of it.
    pub fake_px: u32,
    /// Does a hostile worker that is caught come back as somebody new, always?
    pub returns: bool,
}

/// What came of one job, or of several added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Tiles of the jobs.
    pub tiles: u64,
    /// Deliveries with a wrong cell.
    pub bad_delivered: u64,
    /// Tiles with a wrong cell in the finished jobs.
    pub bad_accepted: u64,
    /// Tiles that the jobs gave up: too often refused, or nobody was left.
    pub unfinished: u64,
    /// Tiles that honest workers delivered.
    pub honest_delivered: u64,
    /// Of these, refused.
    pub honest_refused: u64,
    /// How often honest workers lost a comparison.
    pub honest_blamed: u64,
    /// Tiles' worth of rendering by everybody.
    pub rendered: f64,
    /// Of this, by the requestor.
    pub rendered_by_requestor: f64,
    /// Hostile keys that got tiles or were caught.
    pub hostile: u64,
    /// Of these, caught.
    pub caught: u64,
    /// Wrong deliveries of those caught, the last included.
    pub bad_until_caught: u64,
    /// What the hostile were paid less the same pay for what they rendered, in tiles.
    pub gain: f64,
}

impl Tally {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            tiles: self.tiles + other.tiles,
            bad_delivered: self.bad_delivered + other.bad_delivered,
            bad_accepted: self.bad_accepted + other.bad_accepted,
            unfinished: self.unfinished + other.unfinished,
            honest_delivered: self.honest_delivered + other.honest_delivered,
            honest_refused: self.honest_refused + other.honest_refused,
            honest_blamed: self.honest_blamed + other.honest_blamed,
            rendered: self.rendered + other.rendered,
            rendered_by_requestor: self.rendered_by_requestor + other.rendered_by_requestor,
            hostile: self.hostile + other.hostile,
            caught: self.caught + other.caught,
            bad_until_caught: self.bad_until_caught + other.bad_until_caught,
            gain: self.gain + other.gain,
        }
    }

    /// Rendering over what the job alone takes.
    pub fn overhead(&self) -> f64 {
        self.rendered / self.tiles.max(1) as f64
    }

    /// A hostile key's gain, in tiles.
    pub fn gain_each(&self) -> f64 {
        self.gain / self.hostile.max(1) as f64
    }
}

/// A way to check tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scheme {
    /// Each tile by so many random workers; what more than half of them say is taken, or more are asked.
    Quorum(usize),
    /// BOINC's adaptive replication: alone for hosts with ten valid results in a row, but for one tile in as many as that.
    Adaptive,
    /// Golem's: the requestor renders three random crops of a tenth of the tile's sides.
    Crops,
    /// Neighbouring tiles overlap by a cell.
    Overlap,
    /// Ours.
    Probing(policy::Policy),
}

impl Scheme {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Scheme::Quorum(2) => "quorum 2",
            Scheme::Quorum(_) => "quorum 3",
            Scheme::Adaptive => "adaptive 1/n",
            Scheme::Crops => "crops",
            Scheme::Overlap => "overlap only",
            Scheme::Probing(policy) => policy.name,
        }
    }

    /// Does a job.
    pub fn run(&self, setting: Setting, seed: u64) -> Tally {
        let crowd = Crowd::new(setting, seed);
        match *self {
            Scheme::Quorum(count) => quorum::run(crowd, |_, _| count),
            Scheme::Adaptive => quorum::run(crowd, quorum::adaptive_count),
            Scheme::Crops => alone::run(crowd, alone::crops),
            Scheme::Overlap => alone::run(crowd, alone::overlap),
            Scheme::Probing(policy) => probing::run(crowd, policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Policy;
    use probing::passed_alone;
    use verifier::TrustPolicy;

    fn setting(strategy: Strategy, hostile_percent: u32, ring_percent: u32) -> Setting {
        Setting {
            tiles: 20_000,
            workers: 100,
            hostile_percent,
            ring_percent,
            strategy,
            fake_px: CELL_PX,
            returns: true,
        }
    }

    /// What of this level is left without second renders of whole tiles.
    fn probes_alone(policy: Policy) -> Policy {
        let checks = TrustPolicy {
            replica_share: 0,
            ..policy.checks
        };
        Policy { checks, ..policy }
    }

    fn near(found: f64, expected: f64, tolerance: f64) {
        let off = (found / expected - 1.0).abs();
        assert!(off < tolerance, "{found} instead of {expected}");
    }

    /// Three crops of 26 of 256 pixels miss a band of 9 of 32 rows when none of the 231 positions of each touches it.
    #[test]
    fn crops_miss_a_band_as_often_as_geometry_says() {
        let tally = Scheme::Crops.run(setting(Strategy::Band, 10, 0), 1);
        let beside = 1.0 - f64::from(9 * 8 + 26 - 1) / 231.0;
        let missed = tally.bad_accepted as f64 / tally.bad_delivered as f64;
        near(missed, beside.powi(3), 0.2);
    }

    /// Two random workers of whom one in five is of the ring are both of it in one tile of 25; it never loses.
    #[test]
    fn a_careful_ring_has_its_share_of_a_quorum() {
        let tally = Scheme::Quorum(2).run(setting(Strategy::CarefulRing, 20, 20), 1);
        near(tally.bad_accepted as f64 / 20_000.0, 0.2 * 19.0 / 99.0, 0.1);
        assert_eq!(tally.caught, 0);
    }

    /// Each prober sees a pixel of every cell: a fake passes if all four are of the ring.
    #[test]
    fn fakes_pass_as_often_as_all_probers_are_accomplices() {
        let policy = probes_alone(Policy::TRUSTED);
        let alone = Crowd::new(setting(Strategy::OneCell, 1, 0), 1);
        let (wrong, passed) = passed_alone(alone, policy);
        assert!(wrong > 10_000 && passed == 0, "{passed} of {wrong}");
        let ring = Crowd::new(setting(Strategy::Ring, 50, 50), 1);
        let (wrong, passed) = passed_alone(ring, policy);
        // Nobody is asked twice: 49 others of 99, then 48 of 98 and so on.
        let probers = (0..4).map(|at| f64::from(49 - at) / f64::from(99 - at));
        near(passed as f64 / wrong as f64, probers.product(), 0.1);
    }

    /// Parts are drawn one by one, so that each misses a wrong square of pixels by what it leaves of its cell; a rim cell
    /// that a neighbour renders is seen whole.
    #[test]
    fn edits_of_pixels_pass_by_their_share_of_a_cell() {
        for (policy, probers) in [(Policy::UNKNOWN, 8), (Policy::TRUSTED, 4)] {
            for fake_px in [1, 4] {
                let edit = Setting {
                    fake_px,
                    ..setting(Strategy::OneCell, 1, 0)
                };
                let (wrong, passed) = passed_alone(Crowd::new(edit, 1), probes_alone(policy));
                let left = 1.0 - f64::from(fake_px * fake_px) / f64::from(CELL_PIXELS);
                let beside_rims = 1.0 - 16.0 / f64::from(TILE_CELLS);
                near(
                    passed as f64 / wrong as f64,
                    left.powi(probers) * beside_rims,
                    0.06,
                );
            }
        }
    }

    #[test]
    fn honest_jobs_cost_what_the_levels_add_up_to() {
        for policy in [Policy::UNKNOWN, Policy::TRUSTED, Policy::SQUARES_TRUSTED] {
            let tally = Scheme::Probing(policy).run(setting(Strategy::Black, 0, 0), 1);
            near(tally.overhead(), policy.overhead(), 0.01);
            assert_eq!((tally.honest_refused, tally.honest_blamed), (0, 0));
        }
    }

    /// Two single wrong cells are forgiven, the third is not, and what was accepted stands.
    #[test]
    fn single_wrong_cells_are_taken_for_bad_memory() {
        let job = Setting {
            returns: false,
            ..setting(Strategy::OneCell, 10, 0)
        };
        let tally = Scheme::Probing(Policy::TRUSTED).run(job, 1);
        assert_eq!((tally.caught, tally.bad_until_caught), (10, 30));
        assert_eq!((tally.bad_accepted, tally.honest_blamed), (0, 0));
    }

    #[test]
    fn a_caught_worker_leaves_nothing_behind() {
        let tally = Scheme::Probing(Policy::TRUSTED).run(setting(Strategy::LateSleeper, 10, 5), 1);
        assert!(tally.bad_delivered > 0 && tally.caught > 0);
        assert_eq!(
            (tally.bad_accepted, tally.honest_blamed, tally.unfinished),
            (0, 0, 0)
        );
        assert!(tally.gain < 0.0, "{}", tally.gain);
    }

    #[test]
    fn who_keeps_the_rim_deceives_overlaps_and_not_probes() {
        let job = setting(Strategy::RimOnly, 10, 0);
        let overlap = Scheme::Overlap.run(job, 1);
        assert_eq!(
            (overlap.caught, overlap.bad_accepted),
            (0, overlap.bad_delivered)
        );
        assert!(overlap.gain > 0.0);
        assert_eq!(Scheme::Probing(Policy::TRUSTED).run(job, 1).bad_accepted, 0);
    }
}
