//! Real tiles with their strata: of our scenes by the tracer, of a .blend by Cycles.

use super::sums::merge;
use crate::{root, scene};
use protocol::{Pass, Rect, RenderSettings, RenderedRect, Size, geometry::Cell};
use std::{error::Error, fs, path::Path, process::Command};
use tracer::{
    gltf::Scene,
    render::{Renderer, SampleRange},
};

/// The frame that all tiles are from.
pub const SIZE: Size = Size {
    width: 640,
    height: 360,
};
const FRAME: i32 = 1;
/// Pixels across and down a tile.
pub const TILE_PX: u32 = 96;

/// One pixel: light and alpha.
pub type Pixel = [f32; 4];

/// A cell of a tile, with the strata that it is the mean of.
#[derive(Debug, Clone)]
pub struct CellLight {
    /// Which cell.
    pub cell: Cell,
    /// Its pixels, rows from the top.
    pub pixels: Vec<Pixel>,
    /// The same in each stratum.
    pub strata: Vec<Vec<Pixel>>,
}

/// A tile in strata.
#[derive(Debug, Clone)]
pub struct Tile {
    /// Of which scene.
    pub scene: String,
    /// Samples of each stratum.
    pub samples: Vec<u32>,
    /// Its cells, row by row.
    pub cells: Vec<CellLight>,
}

impl Tile {
    /// The same with fewer strata: consecutive ones merged.
    pub fn merged(&self, strata: usize) -> Tile {
        let each = self.samples.len() / strata.max(1);
        let cell = |light: &CellLight| {
            let parts = light.strata.chunks(each).zip(self.samples.chunks(each));
            let merged = parts.filter_map(|(planes, samples)| {
                let planes: Vec<&[Pixel]> = planes.iter().map(Vec::as_slice).collect();
                merge(&planes, samples)
            });
            CellLight {
                strata: merged.collect(),
                ..light.clone()
            }
        };
        Tile {
            scene: self.scene.clone(),
            samples: self
                .samples
                .chunks(each)
                .map(|part| part.iter().sum())
                .collect(),
            cells: self.cells.iter().map(cell).collect(),
        }
    }
}

/// One scene, ready to be rendered.
pub struct Prepared {
    /// The scene's name.
    pub name: &'static str,
    renderer: Renderer,
}

/// Where tiles are cut from the frame.
pub fn tile_rects() -> [Rect; 2] {
    [(272, 128), (80, 216)].map(|(x, y)| Rect {
        x,
        y,
        width: TILE_PX,
        height: TILE_PX,
    })
}

impl Prepared {
    /// Reads a scene of ours.
    ///
    /// # Errors
    /// What the tracer says of it.
    pub fn load(name: &'static str) -> Result<Self, Box<dyn Error>> {
        let scene = Scene::load(&scene(name).with_extension("glb"))?;
        let renderer = Renderer::new(scene.world(FRAME, SIZE)?, SIZE)?;
        Ok(Self { name, renderer })
    }

    fn settings(samples: u32) -> RenderSettings {
        RenderSettings {
            size: SIZE,
            samples,
            seed: 0,
            passes: vec![Pass::Combined],
            guard_px: 0,
            scene: None,
        }
    }

    /// A rectangle rendered as always.
    ///
    /// # Errors
    /// What the tracer says.
    pub fn plain(&self, rect: Rect, samples: u32) -> Result<RenderedRect, Box<dyn Error>> {
        let settings = Self::settings(samples);
        Ok(self.renderer.render(&settings, FRAME, rect, &|| false)?)
    }

    /// The same rendered in strata.
    ///
    /// # Errors
    /// What the tracer says.
    pub fn in_strata(&self, rect: Rect, samples: u32, strata: u32) -> Result<Tile, Box<dyn Error>> {
        let settings = Self::settings(samples);
        let (whole, planes) =
            self.renderer
                .render_strata(&settings, FRAME, rect, strata, &|| false)?;
        let plane = |rendered: &RenderedRect| rendered.planes[0].1.clone();
        let strata_planes: Vec<Vec<Pixel>> = planes.iter().map(plane).collect();
        let counts = SampleRange::strata(samples, strata).map(|range| range.count);
        let (samples, pixels) = (counts.collect(), plane(&whole));
        Ok(cut(
            self.name.into(),
            rect,
            samples,
            &pixels,
            &strata_planes,
        ))
    }

    /// What somebody else renders: rectangles with ranges of samples.
    ///
    /// # Errors
    /// What the tracer says.
    pub fn parts(
        &self,
        samples: u32,
        parts: &[(Rect, SampleRange)],
    ) -> Result<Vec<Vec<Pixel>>, Box<dyn Error>> {
        let settings = Self::settings(samples);
        let rendered = self
            .renderer
            .render_parts(&settings, FRAME, parts, &|| false)?;
        let planes = rendered
            .into_iter()
            .flat_map(|mut part| part.planes.pop())
            .map(|(_, plane)| plane);
        Ok(planes.collect())
    }
}

/// Divides planes of a rectangle into cells.
fn cut(
    scene: String,
    rect: Rect,
    samples: Vec<u32>,
    whole: &[Pixel],
    strata: &[Vec<Pixel>],
) -> Tile {
    let of_cell = |plane: &[Pixel], part: Rect| -> Vec<Pixel> {
        let row = |y: u32| ((y - rect.y) * rect.width + part.x - rect.x) as usize;
        (part.y..part.bottom())
            .flat_map(|y| plane[row(y)..row(y) + part.width as usize].to_vec())
            .collect()
    };
    let cells = rect.cells().map(|(cell, part)| CellLight {
        cell,
        pixels: of_cell(whole, part),
        strata: strata.iter().map(|plane| of_cell(plane, part)).collect(),
    });
    Tile {
        scene,
        samples,
        cells: cells.collect(),
    }
}

/// What Cycles took, and how far the mean of its strata is from the picture that it renders at once.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct CyclesTimes {
    /// Processor seconds of the whole rectangle at once.
    pub whole: f64,
    /// Of each stratum.
    pub strata: Vec<f64>,
    /// Of one stratum of one cell.
    pub cell: f64,
    /// Largest relative difference between the merged strata and the whole.
    #[serde(default)]
    pub difference_max: f64,
}

/// A tile of the gyroscope by Cycles, rendered in a process of this Python, which imports bpy. The tile is the mean of the strata.
///
/// # Errors
/// When the process fails or its files do not fit.
pub fn by_cycles(
    python: &Path,
    samples: u32,
    strata: u32,
) -> Result<(Tile, CyclesTimes), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let rect = tile_rects()[0];
    let numbers = [
        SIZE.width,
        SIZE.height,
        rect.x,
        rect.y,
        rect.width,
        rect.height,
        samples,
        strata,
    ];
    let output = Command::new(python)
        .arg(root().join("tests/src/strata/render_strata.py"))
        .arg(scene("gyroscope.blend"))
        .arg(folder.path())
        .args(numbers.map(|number| number.to_string()))
        .output()?;
    if !output.status.success() {
        return Err(crate::words(&output).into());
    }
    let read = |name: &str| -> Result<Vec<Pixel>, Box<dyn Error>> {
        let bytes = fs::read(folder.path().join(name).with_extension("f32"))?;
        let floats = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .copied()
            .map(f32::from_le_bytes);
        let pixels: Vec<Pixel> = floats.collect::<Vec<_>>().as_chunks::<4>().0.to_vec();
        match pixels.len() as u64 == rect.area() {
            true => Ok(pixels),
            false => Err(format!("{name} has {} pixels", pixels.len()).into()),
        }
    };
    let planes: Vec<Vec<Pixel>> = (0..strata)
        .map(|index| read(&format!("{index:03}")))
        .collect::<Result<_, _>>()?;
    let counts: Vec<u32> = SampleRange::strata(samples, strata)
        .map(|range| range.count)
        .collect();
    let views: Vec<&[Pixel]> = planes.iter().map(Vec::as_slice).collect();
    let merged = merge(&views, &counts).ok_or("planes of different lengths")?;
    let mut times: CyclesTimes =
        serde_json::from_slice(&fs::read(folder.path().join("times.json"))?)?;
    let pairs = read("whole")?;
    let differences = pairs.as_flattened().iter().zip(merged.as_flattened());
    times.difference_max = differences
        .map(|(one, other)| f64::from((one - other).abs()) / f64::from(one.abs().max(1e-6)))
        .fold(0.0, f64::max);
    let tile = cut("gyroscope".into(), rect, counts, &merged, &planes);
    Ok((tile, times))
}
