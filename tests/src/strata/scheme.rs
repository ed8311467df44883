//! Ways to spend a budget of extra rendering on a tile.

use super::sums::Quota;

/// What is rendered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Whole-tile strata: those with the largest deviation in any cell and, if more than one or with pairs, one by chance.
    Tile {
        /// How many in all.
        strata: u32,
        /// Deviations in units of the median one of the cell, or else as shares of the cell's light.
        by_significance: bool,
        /// So many single cells besides, each with one stratum: those with the largest deviations as shares.
        pairs: u32,
    },
    /// Strata of each cell.
    Cells(Quota),
    /// Secret pixels of each cell with all samples.
    Pixels(u8),
    /// Both.
    Both(u8, Quota),
}

/// By chance alone.
const fn chance(count: u32) -> Quota {
    Quota {
        by_value: 0,
        by_deviation: 0,
        by_chance: count,
    }
}

/// The largest deviations and one by chance.
const fn deviation(count: u32) -> Quota {
    Quota {
        by_value: 0,
        by_deviation: if count > 1 { count - 1 } else { 1 },
        by_chance: if count > 1 { 1 } else { 0 },
    }
}

/// By value, by deviation and by chance.
pub const fn mixed(count: u32) -> Quota {
    let by_chance = if count > 1 { count.div_ceil(4) } else { 0 };
    let by_deviation = (count - by_chance) / 2;
    Quota {
        by_value: count - by_chance - by_deviation,
        by_deviation,
        by_chance,
    }
}

impl Scheme {
    /// Schemes of equal cost, an eighth of a render, for a tile in this many strata.
    pub fn of_an_eighth(strata: u32) -> Vec<(String, Scheme)> {
        let count = (strata / 8).max(1);
        let mut schemes = vec![
            (
                "tile, significance",
                Scheme::Tile {
                    strata: count,
                    by_significance: true,
                    pairs: 0,
                },
            ),
            (
                "tile, effect",
                Scheme::Tile {
                    strata: count,
                    by_significance: false,
                    pairs: 0,
                },
            ),
            ("cells, chance", Scheme::Cells(chance(count))),
            ("cells, deviation", Scheme::Cells(deviation(count))),
            ("cells, mixed", Scheme::Cells(mixed(count))),
            ("8 pixels", Scheme::Pixels(8)),
        ];
        if count > 1 {
            let half = Scheme::Both(4, mixed(count / 2));
            schemes.push(("4 pixels, mixed", half));
            let most = Scheme::Both(1, mixed(count - 1));
            schemes.push(("1 pixel, mixed", most));
        }
        // A sixty-fourth only.
        schemes.push(("1 pixel", Scheme::Pixels(1)));
        let named = schemes
            .into_iter()
            .map(|(name, scheme)| (name.to_owned(), scheme));
        named.collect()
    }

    /// Schemes for an engine that charges for each rectangle.
    pub fn of_whole_tiles() -> Vec<(String, Scheme)> {
        let tile = |strata, by_significance, pairs| Scheme::Tile {
            strata,
            by_significance,
            pairs,
        };
        let schemes = [
            ("1 by significance", tile(1, true, 0)),
            ("1 by effect", tile(1, false, 0)),
            ("2, one by significance", tile(2, true, 0)),
            ("2, one by effect", tile(2, false, 0)),
            ("1 by chance, 16 cells", tile(1, false, 16)),
            ("1 by chance, 64 cells", tile(1, false, 64)),
        ];
        schemes
            .map(|(name, scheme)| (name.to_owned(), scheme))
            .to_vec()
    }
}
