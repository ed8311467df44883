//! Do sampled directions follow their density? Pearson's test over a latitude-longitude grid, with fixed points.

use crate::math::{Vec3, vec3};

const ROWS: usize = 20;
const COLUMNS: usize = 40;
const SAMPLES: usize = 400_000;
/// Points along each side of a grid cell at which the density is integrated.
const INTEGRATION: usize = 16;
/// Cells that expect fewer are pooled.
const EXPECTED_MIN: f64 = 8.0;
/// Standard deviations above the mean of the statistic that are still taken for chance.
const DEVIATIONS_MAX: f64 = 5.0;

/// Fails unless directions from `sample` over the unit square are distributed as `density` (per steradian) says; what
/// `sample` refuses must be the rest of the density to one.
pub fn chi_squared(sample: impl Fn([f32; 2]) -> Option<Vec3>, density: impl Fn(Vec3) -> f32) {
    let mut found = vec![0.0f64; ROWS * COLUMNS];
    let mut state = 12345u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 16_777_216.0
    };
    for _ in 0..SAMPLES {
        if let Some(direction) = sample([uniform(), uniform()]) {
            found[cell_of(direction)] += 1.0;
        }
    }
    let expected = expected_counts(density);
    let total: f64 = expected.iter().sum::<f64>() / SAMPLES as f64;
    assert!(total < 1.001, "the density integrates to {total}");
    let kept = found.iter().sum::<f64>() / SAMPLES as f64;
    assert!(
        (total - kept).abs() < 0.004,
        "density {total}, samples {kept}"
    );
    let (mut statistic, mut cells) = (0.0, 0.0);
    let (mut pooled_found, mut pooled_expected) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(&expected) {
        if *expected < EXPECTED_MIN {
            pooled_found += found;
            pooled_expected += expected;
        } else {
            statistic += (found - expected) * (found - expected) / expected;
            cells += 1.0;
        }
    }
    let spread: f64 = DEVIATIONS_MAX * (pooled_expected + 4.0f64).sqrt();
    assert!(
        (pooled_found - pooled_expected).abs() < spread,
        "{pooled_found} {pooled_expected}"
    );
    let bound = cells + DEVIATIONS_MAX * (2.0 * cells as f64).sqrt();
    assert!(
        statistic < bound,
        "chi squared {statistic} for {cells} cells"
    );
}

fn cell_of(direction: Vec3) -> usize {
    let row = (direction.y * 0.5 + 0.5) * ROWS as f32;
    let turn = libm::atan2f(direction.x, direction.z) / std::f32::consts::TAU + 0.5;
    let column = ((turn * COLUMNS as f32) as usize).min(COLUMNS - 1);
    (row as usize).min(ROWS - 1) * COLUMNS + column
}

/// Rows are of equal height, so all cells span the same solid angle.
fn expected_counts(density: impl Fn(Vec3) -> f32) -> Vec<f64> {
    let points = (INTEGRATION * INTEGRATION) as f64;
    let cell_angle = 4.0 * std::f64::consts::PI / (ROWS * COLUMNS) as f64;
    (0..ROWS * COLUMNS)
        .map(|cell| {
            let mut sum = 0.0;
            for i in 0..INTEGRATION * INTEGRATION {
                let within = |i: usize| (i as f64 + 0.5) / INTEGRATION as f64;
                let row = (cell / COLUMNS) as f64 + within(i / INTEGRATION);
                let column = (cell % COLUMNS) as f64 + within(i % INTEGRATION);
                let y = row / ROWS as f64 * 2.0 - 1.0;
                let around = (column / COLUMNS as f64 - 0.5) * std::f64::consts::TAU;
                let radius = (1.0 - y * y).sqrt();
                let (x, z) = (radius * libm::sin(around), radius * libm::cos(around));
                sum += f64::from(density(vec3(x as f32, y as f32, z as f32)));
            }
            sum / points * cell_angle * SAMPLES as f64
        })
        .collect()
}
