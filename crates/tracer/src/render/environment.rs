//! What rays see that leave the scene, and directions towards its bright parts.

use super::{
    distribution::Discrete,
    warp::{Frame, cosine_hemisphere, cosine_hemisphere_density, sin_cos_turns},
};
use crate::{
    math::{Vec3, max, vec3},
    world::Environment,
};
use rayon::prelude::*;
use std::{
    f32::consts::{PI, TAU},
    sync::Arc,
};

/// Most cells of the sampling table across; larger maps share cells.
const CELLS_ACROSS_MAX: usize = 1024;

/// The environment as a light.
#[derive(Debug)]
pub(super) struct EnvironmentLight {
    environment: Arc<Environment>,
    /// Cells of a map; none for a constant, or where all is black.
    cells: Option<Cells>,
    /// Mean luminance over the sphere.
    pub mean: f32,
}

/// A latitude-longitude grid, each cell with a probability in proportion to the light it sends.
#[derive(Debug)]
struct Cells {
    rows: Discrete,
    /// By row: a distribution over columns; none where the row is black.
    columns: Vec<Option<Discrete>>,
    across: usize,
}

impl EnvironmentLight {
    pub fn new(environment: Arc<Environment>) -> EnvironmentLight {
        let (cells, mean) = match &*environment {
            Environment::Constant(radiance) => (None, max(radiance.luminance(), 0.0)),
            Environment::Map {
                width,
                height,
                pixels,
            } => Cells::new(*width as usize, *height as usize, pixels),
        };
        EnvironmentLight {
            mean: if mean.is_finite() { mean } else { 0.0 },
            cells,
            environment,
        }
    }

    /// Radiance from a unit direction.
    pub fn radiance(&self, direction: Vec3) -> Vec3 {
        match &*self.environment {
            Environment::Constant(radiance) => *radiance,
            Environment::Map {
                width,
                height,
                pixels,
            } => {
                let [u, v] = to_map(direction);
                look_up(*width as usize, *height as usize, pixels, u, v)
            }
        }
    }

    /// A direction, its radiance and its density per steradian, for a surface with this normal.
    pub fn sample(&self, normal: Vec3, point: [f32; 2]) -> Option<(Vec3, Vec3, f32)> {
        match (&*self.environment, &self.cells) {
            (Environment::Constant(radiance), _) => {
                let local = cosine_hemisphere(point);
                let density = cosine_hemisphere_density(local.z);
                (density > 0.0).then(|| (Frame::around(normal).to_world(local), *radiance, density))
            }
            (Environment::Map { .. }, Some(cells)) => {
                let ([u, v], map_density) = cells.sample(point);
                let (direction, sin) = from_map(u, v);
                let density = map_density / (TAU * PI * sin);
                (sin > 0.0 && density > 0.0).then(|| (direction, self.radiance(direction), density))
            }
            (Environment::Map { .. }, None) => None,
        }
    }

    /// Density per steradian with which [`Self::sample`] gives a direction.
    pub fn density(&self, normal: Vec3, direction: Vec3) -> f32 {
        match (&*self.environment, &self.cells) {
            (Environment::Constant(_), _) => cosine_hemisphere_density(normal.dot(direction)),
            (Environment::Map { .. }, Some(cells)) => {
                let [u, v] = to_map(direction);
                let sin = (direction.x * direction.x + direction.z * direction.z).sqrt();
                if sin > 0.0 {
                    cells.density(u, v) / (TAU * PI * sin)
                } else {
                    0.0
                }
            }
            (Environment::Map { .. }, None) => 0.0,
        }
    }
}

impl Cells {
    /// The table of a map, and the map's mean luminance.
    fn new(width: usize, height: usize, pixels: &[Vec3]) -> (Option<Cells>, f32) {
        let stride = width.div_ceil(CELLS_ACROSS_MAX);
        let (across, down) = (width.div_ceil(stride), height.div_ceil(stride));
        let weights: Vec<Vec<f32>> = (0..down)
            .into_par_iter()
            .map(|row| {
                let mut sums = vec![0.0; across];
                for y in row * stride..((row + 1) * stride).min(height) {
                    let (sin, _) = sin_cos_turns((y as f32 + 0.5) / height as f32 * 0.5);
                    for (x, weight) in smoothed_row(width, height, pixels, y).enumerate() {
                        sums[x / stride] += weight * sin;
                    }
                }
                sums
            })
            .collect();
        let row_sums: Vec<f32> = weights.iter().map(|row| row.iter().sum()).collect();
        let total: f64 = row_sums.iter().map(|&sum| f64::from(sum)).sum();
        // The sphere's 4 pi over the 2 pi squared that the map's square stands for.
        let mean = total / (width * height) as f64 * std::f64::consts::FRAC_PI_2;
        let cells = Discrete::new(row_sums.into_iter()).map(|rows| Cells {
            rows,
            columns: weights
                .iter()
                .map(|row| Discrete::new(row.iter().copied()))
                .collect(),
            across,
        });
        (cells, mean as f32)
    }

    fn sample(&self, [u, v]: [f32; 2]) -> ([f32; 2], f32) {
        let (row, row_probability, down) = self.rows.sample(v);
        let Some(columns) = &self.columns[row] else {
            return ([0.0; 2], 0.0);
        };
        let (column, column_probability, right) = columns.sample(u);
        let (across, rows) = (self.across as f32, self.columns.len() as f32);
        (
            [(column as f32 + right) / across, (row as f32 + down) / rows],
            row_probability * column_probability * across * rows,
        )
    }

    fn density(&self, u: f32, v: f32) -> f32 {
        let (across, down) = (self.across, self.columns.len());
        let row = ((v * down as f32) as usize).min(down - 1);
        let column = ((u * across as f32) as usize).min(across - 1);
        self.columns[row].as_ref().map_or(0.0, |columns| {
            self.rows.probability(row) * columns.probability(column) * (across * down) as f32
        })
    }
}

/// Mean luminance of each pixel's square as bilinear look-up shows it: an eighth from each neighbour.
fn smoothed_row(
    width: usize,
    height: usize,
    pixels: &[Vec3],
    y: usize,
) -> impl Iterator<Item = f32> {
    let luminance = |x: usize, y: usize| {
        let value = pixels[y * width + x].luminance();
        if value.is_finite() {
            max(value, 0.0)
        } else {
            0.0
        }
    };
    let (above, below) = (y.saturating_sub(1), (y + 1).min(height - 1));
    let column: Vec<f32> = (0..width)
        .map(|x| 0.75 * luminance(x, y) + 0.125 * (luminance(x, above) + luminance(x, below)))
        .collect();
    (0..width).map(move |x| {
        let (left, right) = ((x + width - 1) % width, (x + 1) % width);
        0.75 * column[x] + 0.125 * (column[left] + column[right])
    })
}

/// Map coordinates, each from 0 to 1, of a unit direction: the middle column is -z, u grows to +x, v from +y down.
fn to_map(direction: Vec3) -> [f32; 2] {
    let across = (direction.x * direction.x + direction.z * direction.z).sqrt();
    [
        0.5 + libm::atan2f(direction.x, -direction.z) * (1.0 / TAU),
        libm::atan2f(across, direction.y) * (1.0 / PI),
    ]
}

/// The unit direction at map coordinates, and the sine of its angle from the axis.
fn from_map(u: f32, v: f32) -> (Vec3, f32) {
    let (sin_around, cos_around) = sin_cos_turns(u);
    let (sin, cos) = sin_cos_turns(v * 0.5);
    (vec3(-sin * sin_around, cos, sin * cos_around), sin)
}

/// Bilinear, going around in u.
fn look_up(width: usize, height: usize, pixels: &[Vec3], u: f32, v: f32) -> Vec3 {
    // One whole turn is added so that nothing is negative before it is cut to an integer.
    let x = u * width as f32 - 0.5 + width as f32;
    let y = (v * height as f32 - 0.5).clamp(0.0, (height - 1) as f32);
    let (column, row) = (x as usize, y as usize);
    let (right, down) = (x - column as f32, y - row as f32);
    let below = (row + 1).min(height - 1);
    let at = |column: usize, row: usize| pixels[row * width + column % width];
    at(column, row)
        .lerp(at(column + 1, row), right)
        .lerp(at(column, below).lerp(at(column + 1, below), right), down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{chi_squared::chi_squared, warp::uniform_sphere};

    fn spotted() -> EnvironmentLight {
        let (width, height) = (24u32, 12u32);
        let pixels = (0..width * height)
            .map(|i| {
                let bright = if i % 37 == 5 { 30.0 } else { 0.0 };
                vec3(0.2 + bright, (i % 7) as f32, (i / width) as f32 * 0.3)
            })
            .collect();
        EnvironmentLight::new(Arc::new(Environment::Map {
            width,
            height,
            pixels,
        }))
    }

    #[test]
    fn the_map_is_oriented_as_the_world_says() {
        for (direction, [u, v]) in [
            (vec3(0.0, 0.0, -1.0), [0.5, 0.5]),
            (vec3(1.0, 0.0, 0.0), [0.75, 0.5]),
            (vec3(-1.0, 0.0, 0.0), [0.25, 0.5]),
        ] {
            let found = to_map(direction);
            assert!((found[0] - u).abs() < 1e-6 && (found[1] - v).abs() < 1e-6);
            assert!((from_map(u, v).0 - direction).length() < 1e-6);
        }
        assert!(to_map(vec3(0.0, 1.0, 0.0))[1] < 1e-6);
    }

    #[test]
    fn samples_follow_the_density() {
        let light = spotted();
        chi_squared(
            |point| {
                light
                    .sample(vec3(0.0, 1.0, 0.0), point)
                    .map(|(direction, _, _)| direction)
            },
            |direction| light.density(vec3(0.0, 1.0, 0.0), direction),
        );
    }

    #[test]
    fn sampled_density_is_the_density_of_the_direction() {
        let (light, up) = (spotted(), vec3(0.0, 1.0, 0.0));
        for i in 0..500 {
            let point = [(i % 25) as f32 / 25.0 + 0.013, i as f32 / 500.0];
            let (direction, _, density) = light.sample(up, point).unwrap();
            let again = light.density(up, direction);
            // A direction at the very edge of a cell may land in the next one.
            assert!((again / density - 1.0).abs() < 1e-3 || (point[0] * 24.0).fract() < 0.05);
        }
    }

    #[test]
    fn the_mean_is_that_of_the_sphere() {
        let light = spotted();
        let mut sum = 0.0;
        for i in 0..200_000 {
            let point = [(i % 500) as f32 / 500.0, (i / 500) as f32 / 400.0];
            sum += light.radiance(uniform_sphere(point)).luminance();
        }
        assert!((sum / 200_000.0 / light.mean - 1.0).abs() < 0.01);
    }
}
