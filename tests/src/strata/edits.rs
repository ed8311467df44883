//! What a worker that cheats does to one cell of the picture that it delivers.

use super::tiles::Pixel;
use crate::simulator::random::Random;

/// A change of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Edit {
    /// So many hundredths brighter.
    Brighten(u32),
    /// So many hundredths brighter or darker, pixel by pixel at random.
    Noise(u32),
    /// The pixels of the next cell.
    Neighbour,
    /// Black.
    Black,
    /// A square of this side at a random place takes this factor.
    Square(usize, f32),
    /// A square of this side at a random place takes ten times the cell's mean light.
    Bright(usize),
}

impl Edit {
    /// Edits of a whole cell, then of parts of it.
    pub const ALL: [Edit; 14] = [
        Edit::Brighten(10),
        Edit::Brighten(20),
        Edit::Brighten(50),
        Edit::Brighten(100),
        Edit::Noise(50),
        Edit::Noise(100),
        Edit::Neighbour,
        Edit::Black,
        Edit::Square(4, 2.0),
        Edit::Square(2, 2.0),
        Edit::Square(2, 0.0),
        Edit::Bright(2),
        Edit::Square(1, 2.0),
        Edit::Bright(1),
    ];

    /// In words.
    pub fn name(self) -> String {
        match self {
            Edit::Brighten(percent) => format!("brightened by {percent} %"),
            Edit::Noise(percent) => format!("zero-mean noise of {percent} %"),
            Edit::Neighbour => "its neighbour's pixels".into(),
            Edit::Black => "black".into(),
            Edit::Square(side, 0.0) => format!("{side}x{side} pixels black"),
            Edit::Square(side, factor) => format!("{side}x{side} pixels times {factor}"),
            Edit::Bright(side) => format!("{side}x{side} pixels at 10 times the cell's mean"),
        }
    }

    /// The cell as it is delivered.
    pub fn apply(self, pixels: &[Pixel], neighbour: &[Pixel], random: &mut Random) -> Vec<Pixel> {
        let scaled = |[r, g, b, a]: Pixel, factor: f32| [r * factor, g * factor, b * factor, a];
        let everywhere = |factor: f32| pixels.iter().map(|&p| scaled(p, factor)).collect();
        match self {
            Edit::Brighten(percent) => everywhere(1.0 + percent as f32 / 100.0),
            Edit::Black => everywhere(0.0),
            Edit::Neighbour => neighbour.to_vec(),
            Edit::Noise(percent) => {
                let amplitude = percent as f32 / 100.0;
                let mut noisy = |&pixel: &Pixel| match random.percent(50) {
                    true => scaled(pixel, 1.0 + amplitude),
                    false => scaled(pixel, 1.0 - amplitude),
                };
                pixels.iter().map(&mut noisy).collect()
            }
            Edit::Square(side, factor) => {
                in_square(side, pixels, random, |pixel| scaled(pixel, factor))
            }
            Edit::Bright(side) => {
                let sum: f32 = pixels.iter().map(|[r, g, b, _]| r + g + b).sum();
                let light = 10.0 * sum / 3.0 / pixels.len() as f32;
                in_square(side, pixels, random, |[.., a]| [light, light, light, a])
            }
        }
    }
}

fn in_square(
    side: usize,
    pixels: &[Pixel],
    random: &mut Random,
    change: impl Fn(Pixel) -> Pixel,
) -> Vec<Pixel> {
    let mut place = || random.below(9 - side as u64) as usize;
    let (column, row) = (place(), place());
    let inside = |at: usize| {
        (column..column + side).contains(&(at % 8)) && (row..row + side).contains(&(at / 8))
    };
    let changed = |(at, &pixel)| if inside(at) { change(pixel) } else { pixel };
    pixels.iter().enumerate().map(changed).collect()
}
