//! Tests of the whole: answers, additive check, draws.

use super::*;
use proptest::prelude::*;

const CELL: Cell = Cell { column: 5, row: 9 };
const SECRET: [u8; 32] = [3; 32];

fn hash(number: u64) -> Blake3Hash {
    Blake3Hash::of(&number.to_le_bytes())
}

fn groups(number: u64) -> Groups {
    Challenge::new(&SECRET, &hash(number)).groups(CELL)
}

/// Light of strata that is as uneven as that of a path tracer, from random numbers in [0, 1).
fn cell_of(numbers: &[f32], strata: usize) -> (Vec<Vec<[f32; 4]>>, Vec<u32>) {
    let light = |x: f32| (0.1 / (1.001 - x)) * 0.7;
    let planes = (0..strata).map(|stratum| {
        let value = |at: usize| light(numbers[(stratum * 193 + at * 7) % numbers.len()]);
        let pixel = |at: usize| [value(at), value(at + 64), value(at + 128), 1.0];
        (0..CELL_PIXELS).map(pixel).collect()
    });
    let counts = (0..strata as u32).map(|stratum| 1 + stratum % 3);
    (planes.collect(), counts.collect())
}

fn merged(planes: &[Vec<[f32; 4]>], counts: &[u32]) -> Vec<[f32; 4]> {
    let planes: Vec<&[[f32; 4]]> = planes.iter().map(Vec::as_slice).collect();
    merge(&planes, counts).unwrap()
}

fn noise() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(0.0_f32..1.0, 900..1000)
}

proptest! {
    #[test]
    fn honest_answers_add_up(numbers in noise(), strata in 1usize..40, number in any::<u64>(), scale in -20i32..20) {
        let (mut planes, counts) = cell_of(&numbers, strata);
        for value in planes.iter_mut().flatten().flatten() {
            *value *= 2.0_f32.powi(scale);
        }
        let mean = merged(&planes, &counts);
        let groups = groups(number);
        let sums: Vec<Sums> = planes.iter().map(|plane| groups.sums(plane)).collect();
        prop_assert_eq!(check_sums(&groups, &mean, &sums, &counts), Ok(()));
    }

    #[test]
    fn an_edit_of_a_ten_thousandth_of_one_pixel_does_not_add_up(
        numbers in noise(), pixel in 0usize..64, channel in 0usize..3, number in any::<u64>(),
    ) {
        let (planes, counts) = cell_of(&numbers, 16);
        let mut mean = merged(&planes, &counts);
        let groups = groups(number);
        let sums: Vec<Sums> = planes.iter().map(|plane| groups.sums(plane)).collect();
        let total: f32 = sums[0].iter().sum();
        mean[pixel][channel] += total * 1e-4;
        let refused = check_sums(&groups, &mean, &sums, &counts);
        let is_misfit = matches!(refused, Err(SumsError::Misfit { .. }));
        prop_assert!(is_misfit, "{:?}", refused);
    }

    #[test]
    fn draws_are_distinct_and_as_many_as_asked(
        numbers in noise(), strata in 1usize..70, by_value in 0u32..9, by_deviation in 0u32..9,
        by_chance in 0u32..9, number in any::<u64>(),
    ) {
        let (planes, _) = cell_of(&numbers, strata);
        let groups = groups(number);
        let sums: Vec<Sums> = planes.iter().map(|plane| groups.sums(plane)).collect();
        let quota = Quota { by_value, by_deviation, by_chance };
        let drawn = draw_strata(&SECRET, &hash(number), CELL, &sums, quota);
        prop_assert!(drawn.is_sorted_by(|a, b| a < b));
        prop_assert!(drawn.iter().all(|&stratum| (stratum as usize) < strata));
        let asked = by_value + by_deviation + by_chance;
        prop_assert_eq!(drawn.len(), (asked as usize).min(strata));
    }

    #[test]
    fn a_stratum_that_holds_a_draws_part_of_the_light_is_always_drawn(
        numbers in noise(), strata in 8usize..64, edited in 0usize..8, number in any::<u64>(),
    ) {
        let (planes, _) = cell_of(&numbers, strata);
        let groups = groups(number);
        let mut sums: Vec<Sums> = planes.iter().map(|plane| groups.sums(plane)).collect();
        for group in 0..GROUPS {
            let others: f32 = sums.iter().map(|of| of[group]).sum();
            sums[edited][group] += others * 0.5;
        }
        let quota = Quota { by_value: 3, by_deviation: 0, by_chance: 0 };
        let drawn = draw_strata(&SECRET, &hash(number), CELL, &sums, quota);
        prop_assert!(drawn.contains(&(edited as u32)), "{:?}", drawn);
    }
}

#[test]
fn what_light_cannot_be_is_refused() {
    let groups = groups(1);
    let dark = [[0.0; 4]; 64];
    let check = |sums: &[Sums], counts: &[u32]| check_sums(&groups, &dark, sums, counts);
    assert_eq!(check(&[[0.0; GROUPS]; 2], &[4, 4]), Ok(()));
    let mut sums = [[0.0; GROUPS]; 2];
    for wrong in [-1e-3, f32::NAN, f32::INFINITY] {
        sums[1][2] = wrong;
        let refused = check(&sums, &[4, 4]);
        assert_eq!(refused, Err(SumsError::NotLight { stratum: 1 }));
    }
    let short = check(&[[0.0; GROUPS]], &[4, 4]);
    assert_eq!(short, Err(SumsError::Count { due: 2, found: 1 }));
    let none = check(&[], &[]);
    assert_eq!(none, Ok(()));
    let mut infinite = dark;
    infinite[7][1] = f32::INFINITY;
    assert!(check_sums(&groups, &infinite, &[[0.0; GROUPS]], &[4]).is_err());
}

#[test]
fn groups_depend_on_secret_commitment_and_cell_and_part_the_values_evenly() {
    let mut counts = [0; GROUPS];
    for number in 0..200 {
        for group in groups(number).0 {
            counts[usize::from(group)] += 1;
        }
    }
    let expected = 200 * 192 / GROUPS as i32;
    for count in counts {
        assert!((count - expected).abs() < expected / 20, "{counts:?}");
    }
    let base = Challenge::new(&SECRET, &hash(1));
    assert_ne!(base, Challenge::new(&[4; 32], &hash(1)));
    assert_ne!(base, Challenge::new(&SECRET, &hash(2)));
    let next = Cell { column: 6, row: 9 };
    assert_ne!(base.groups(CELL).0, base.groups(next).0);
}

#[test]
fn every_stratum_is_as_likely_as_the_others() {
    let quota = Quota {
        by_value: 0,
        by_deviation: 0,
        by_chance: 4,
    };
    let sums = [[1.0; GROUPS]; 16];
    let mut strata = [0; 16];
    for number in 0..8_000 {
        for stratum in draw_strata(&SECRET, &hash(number), CELL, &sums, quota) {
            strata[stratum as usize] += 1;
        }
    }
    // 2,000 expected; more than five standard deviations.
    assert!(
        strata.iter().all(|n: &i32| (n - 2_000).abs() < 200),
        "{strata:?}"
    );
}

/// The bound of the module's page: whatever the noise and however an addition is spread, each draw by value finds it
/// with a probability of at least its share.
#[test]
fn draws_by_value_find_additions_by_their_share() {
    for spread in [1, 2, 5, 10] {
        for noise in [0.0, 1.0, 8.0] {
            let mut found = 0;
            for number in 0..2_000_u64 {
                let light = |stratum: u64| 1.0 + noise * ((stratum * 7 + number) % 5) as f32;
                let mut sums: Vec<Sums> = (0..20).map(|at| [light(at); GROUPS]).collect();
                let total: f32 = sums.iter().map(|of| of[0]).sum();
                for of in &mut sums[..spread] {
                    *of = of.map(|sum| sum + total / spread as f32);
                }
                let quota = Quota {
                    by_value: 1,
                    by_deviation: 0,
                    by_chance: 0,
                };
                let drawn = draw_strata(&SECRET, &hash(number), CELL, &sums, quota);
                found += u32::from((drawn[0] as usize) < spread);
            }
            // The addition is half of the sum; four standard deviations.
            assert!(found > 1_000 - 90, "{spread} {noise}: {found}");
        }
    }
}

#[test]
fn a_merge_is_the_weighted_mean_rounded_once() {
    let planes = [[[1.0_f32, 2.0, 3.0, 1.0]], [[4.0, 2.0, 0.0, 1.0]]];
    let planes: Vec<&[[f32; 4]]> = planes.iter().map(|plane| plane.as_slice()).collect();
    assert_eq!(merge(&planes, &[1, 2]), Some(vec![[3.0, 2.0, 1.0, 1.0]]));
    assert_eq!(merge(&planes, &[1]), None);
    assert_eq!(merge(&planes, &[0, 0]), None);
    assert_eq!(merge(&[planes[0], &[]], &[1, 2]), None);
    assert_eq!(merge(&[], &[]), None);
}
