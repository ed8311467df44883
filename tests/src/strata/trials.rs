//! Trials: an edit in a random cell, checked by every scheme.

use super::sums::{Challenge, Groups, Sums, check_sums, deviations, draw_strata};
use super::{
    edits::Edit,
    placement::Placement,
    scheme::Scheme,
    tiles::{CellLight, Pixel, Tile},
};
use crate::simulator::random::Random;
use protocol::Blake3Hash;

/// Secrets per tile for the schemes that look at whole tiles.
const TILE_SECRETS: u64 = 8;
/// Most single strata of single cells that a scheme renders again.
const PAIRS_MAX: usize = 64;

/// The honest deviations of a tile under one challenge.
struct TileView {
    secret: [u8; 32],
    /// For each stratum the largest deviation in any cell, and the largest in another cell than that one.
    effect: Vec<Largest>,
    significance: Vec<Largest>,
    /// The largest deviations of all strata of all cells, the largest first.
    pairs: Vec<f64>,
}

/// The two largest of some cells' numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    first: f64,
    cell: usize,
    second: f64,
}

impl Largest {
    fn add(&mut self, cell: usize, value: f64) {
        if value > self.first {
            (self.second, self.first, self.cell) = (self.first, value, cell);
        } else {
            self.second = self.second.max(value);
        }
    }

    /// The largest when the number of this cell is another one.
    fn with(&self, cell: usize, value: f64) -> f64 {
        let others = if self.cell == cell {
            self.second
        } else {
            self.first
        };
        others.max(value)
    }
}

/// The tiles of one setting, ready for trials.
pub struct Bench<'a> {
    tiles: &'a [Tile],
    views: Vec<Vec<TileView>>,
}

fn commitment() -> Blake3Hash {
    Blake3Hash([7; 32])
}

/// Deviations in units of the median stratum's.
fn significances(deviations: &[f64]) -> Vec<f64> {
    let mut sorted = deviations.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let unit = median.max(1e-9);
    deviations
        .iter()
        .map(|deviation| deviation / unit)
        .collect()
}

fn sums_of(light: &CellLight, groups: &Groups) -> Vec<Sums> {
    light
        .strata
        .iter()
        .map(|pixels| groups.sums(pixels))
        .collect()
}

fn view(tile: &Tile, secret: [u8; 32]) -> TileView {
    let challenge = Challenge::new(&secret, &commitment());
    let strata = tile.samples.len();
    let mut effect = vec![Largest::default(); strata];
    let mut significance = vec![Largest::default(); strata];
    let mut pairs = Vec::new();
    for (index, light) in tile.cells.iter().enumerate() {
        let of_cell = deviations(&sums_of(light, &challenge.groups(light.cell)));
        for (largest, value) in significance.iter_mut().zip(significances(&of_cell)) {
            largest.add(index, value);
        }
        for (largest, &value) in effect.iter_mut().zip(&of_cell) {
            largest.add(index, value);
        }
        pairs.extend(of_cell);
    }
    pairs.sort_by(|a, b| b.total_cmp(a));
    pairs.truncate(PAIRS_MAX);
    TileView {
        secret,
        effect,
        significance,
        pairs,
    }
}

/// What one trial checks: everything that the requestor sees of the edited cell, and the truth.
struct Trial<'a> {
    view: &'a TileView,
    cell: usize,
    light: &'a CellLight,
    edited: &'a [Pixel],
    honest: &'a [Sums],
    answers: &'a [Sums],
    adds_up: bool,
}

impl<'a> Bench<'a> {
    /// Looks at the tiles under some challenges.
    pub fn new(tiles: &'a [Tile]) -> Self {
        let views = |tile: &Tile| {
            (0..TILE_SECRETS)
                .map(|seed| view(tile, Random::new(seed).bytes()))
                .collect()
        };
        let views = tiles.iter().map(views).collect();
        Self { tiles, views }
    }

    /// For each placement and scheme how many of the trials were caught. Cells that the edit does not change are
    /// passed over.
    pub fn caught(&self, edit: Edit, schemes: &[(String, Scheme)], trials: u32) -> Vec<Vec<u32>> {
        let strata = self.tiles[0].samples.len();
        let placements = Placement::all(strata);
        let mut caught = vec![vec![0; schemes.len()]; placements.len()];
        let mut random = Random::new(17);
        let mut done = 0;
        while done < trials {
            let at = random.below(self.tiles.len() as u64) as usize;
            let tile = &self.tiles[at];
            let cell = random.below(tile.cells.len() as u64) as usize;
            let light = &tile.cells[cell];
            let neighbour = &tile.cells[(cell + 1) % tile.cells.len()].pixels;
            let edited = edit.apply(&light.pixels, neighbour, &mut random);
            if edited == light.pixels {
                continue;
            }
            done += 1;
            let view = &self.views[at][random.below(TILE_SECRETS) as usize];
            // A commitment of its own for each trial, so that all draws differ.
            let hash = Blake3Hash(random.bytes());
            let groups = Challenge::new(&view.secret, &hash).groups(light.cell);
            let honest = sums_of(light, &groups);
            let due = groups.sums(&edited).map(f64::from);
            for (placement, caught) in placements.iter().zip(&mut caught) {
                let answers = placement.answers(&honest, &due, &mut random);
                let trial = Trial {
                    view,
                    cell,
                    light,
                    edited: &edited,
                    honest: &honest,
                    answers: &answers,
                    adds_up: check_sums(&groups, &edited, &answers, &tile.samples).is_ok(),
                };
                for ((_, scheme), caught) in schemes.iter().zip(caught) {
                    *caught += u32::from(trial.is_caught(*scheme, &hash, &mut random));
                }
            }
        }
        caught
    }
}

impl Trial<'_> {
    fn is_caught(&self, scheme: Scheme, hash: &Blake3Hash, random: &mut Random) -> bool {
        if !self.adds_up && !matches!(scheme, Scheme::Pixels(_)) {
            return true;
        }
        match scheme {
            Scheme::Pixels(count) => self.pixel_differs(hash, count),
            Scheme::Both(count, quota) => {
                self.pixel_differs(hash, count)
                    || self.is_caught(Scheme::Cells(quota), hash, random)
            }
            Scheme::Cells(quota) => {
                let (secret, cell) = (&self.view.secret, self.light.cell);
                !self.adds_up
                    || self.is_untrue(&draw_strata(secret, hash, cell, self.answers, quota))
            }
            Scheme::Tile {
                strata,
                by_significance,
                pairs,
            } => {
                let by_chance = u32::from(strata > 1 || pairs > 0);
                let drawn = self.worst(strata - by_chance, by_chance, by_significance, random);
                self.is_untrue(&drawn) || self.is_among_pairs(pairs)
            }
        }
    }

    fn is_untrue(&self, drawn: &[u32]) -> bool {
        drawn.iter().any(|&stratum| {
            let stratum = stratum as usize;
            self.answers[stratum] != self.honest[stratum]
        })
    }

    /// Is an untrue answer one of so many with the largest deviations in the whole tile?
    fn is_among_pairs(&self, pairs: u32) -> bool {
        let Some(rank) = (pairs as usize).checked_sub(1) else {
            return false;
        };
        let limit = self.view.pairs.get(rank).copied().unwrap_or(0.0);
        let answers = self.answers.iter().zip(self.honest);
        deviations(self.answers)
            .iter()
            .zip(answers)
            .any(|(&deviation, (answer, honest))| deviation > limit && answer != honest)
    }

    fn pixel_differs(&self, hash: &Blake3Hash, count: u8) -> bool {
        Challenge::new(&self.view.secret, hash)
            .pixels(&self.light.cell.square(), count)
            .into_iter()
            .map(|pixel| (pixel.y % 8 * 8 + pixel.x % 8) as usize)
            .any(|at| self.edited[at] != self.light.pixels[at])
    }

    /// The whole-tile strata with the largest deviations, and others by chance.
    fn worst(
        &self,
        worst: u32,
        by_chance: u32,
        by_significance: bool,
        random: &mut Random,
    ) -> Vec<u32> {
        let effects = deviations(self.answers);
        let (largest, values) = match by_significance {
            true => (&self.view.significance, significances(&effects)),
            false => (&self.view.effect, effects),
        };
        let all = largest.iter().zip(values);
        let scores: Vec<f64> = all
            .map(|(largest, value)| largest.with(self.cell, value))
            .collect();
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        for at in worst as usize..(worst + by_chance) as usize {
            let other = at + random.below((order.len() - at) as u64) as usize;
            order.swap(at, other);
        }
        order.truncate((worst + by_chance) as usize);
        order
    }
}
