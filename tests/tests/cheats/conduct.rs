//! How a worker may misbehave, as an engine that wraps a real one.
//!
//! All of them are sly: they calibrate honestly, because nobody works with a stranger's class, and as probers they say
//! the truth. Only whole tiles are not what was asked.

use crate::gate::Gate;
use engine::{CancelFlag, Engine, EngineError, SceneDescription};
use protocol::{Blake3Hash, Pass, Rect, RenderSettings, RenderedRect, Size, geometry::CELL_PX};
use std::path::Path;

/// Tiles are larger than the largest probe, a square of this many pixels a side.
const PROBE_PX_MAX: u32 = 32;
/// Renders of a calibration.
const CALIBRATION_RENDERS: u32 = 2;
const BLACK: [f32; 4] = [0.0, 0.0, 0.0, 1.0];
const GREY: [f32; 4] = [0.5, 0.5, 0.5, 1.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    Black,
    PreviousFrame,
    /// All pixels one to the right.
    Shifted,
    /// Nothing but what neighbours may compare.
    RimOnly,
    /// So many rows of a hundred are black.
    Band(u8),
    /// So many cells of a hundred are copies of their neighbours.
    SparseCells(u8),
    FewerSamples,
    /// Half of the samples, and a blur that hides it.
    FewerSamplesDenoised,
    WrongSeed,
    /// A frame of half the size, enlarged.
    HalfResolution,
    /// The engine has another scene file open: an old one, or one that renders faster.
    OtherScene(&'static str),
    AlphaOnly,
    NormalsOnly,
    /// The smallest numbers there are in place of zeros: nobody could see it.
    Denormals,
    /// One cell of each tile, the whole of it.
    OneCell,
    /// One pixel of each tile.
    OnePixel,
}

/// An engine that renders tiles in its own way.
pub struct Cheat {
    pub conduct: Conduct,
    pub engine: Box<dyn Engine>,
    /// With the scene of [`Conduct::OtherScene`] open.
    pub other: Option<Box<dyn Engine>>,
    pub gate: Gate,
    calibrations_left: u32,
}

impl Cheat {
    pub fn new(
        conduct: Conduct,
        engine: Box<dyn Engine>,
        other: Option<Box<dyn Engine>>,
        gate: Gate,
    ) -> Self {
        Self {
            conduct,
            engine,
            other,
            gate,
            calibrations_left: CALIBRATION_RENDERS,
        }
    }

    fn is_tile(&mut self, rects: &[Rect]) -> bool {
        if self.calibrations_left > 0 {
            self.calibrations_left -= 1;
            return false;
        }
        rects.first().is_some_and(is_large)
    }

    fn render_tile(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        let mut cheaper = settings.clone();
        let engine = self.other.as_mut().unwrap_or(&mut self.engine);
        match self.conduct {
            Conduct::HalfResolution => {
                cheaper.size = half(settings.size);
                let smaller: Vec<Rect> = rects
                    .iter()
                    .map(|rect| half_rect(rect, cheaper.size))
                    .collect();
                let rendered = engine.render(&cheaper, frame, &smaller, cancel)?;
                let pairs = rects.iter().zip(&rendered);
                return Ok(pairs.map(|(rect, small)| enlarged(rect, small)).collect());
            }
            Conduct::FewerSamples | Conduct::FewerSamplesDenoised => cheaper.samples /= 2,
            Conduct::WrongSeed => cheaper.seed += 1,
            _ => {}
        }
        let shown = match self.conduct {
            Conduct::PreviousFrame => frame - 1,
            _ => frame,
        };
        let mut rendered = engine.render(&cheaper, shown, rects, cancel)?;
        for part in &mut rendered {
            for (pass, plane) in &mut part.planes {
                edit(self.conduct, &part.rect, *pass, plane);
            }
        }
        Ok(rendered)
    }
}

impl Engine for Cheat {
    fn prepare(
        &mut self,
        bundle: &Path,
        entry: &str,
        scene: Option<&str>,
    ) -> Result<SceneDescription, EngineError> {
        self.engine.prepare(bundle, entry, scene)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        if !self.is_tile(rects) {
            return self.engine.render(settings, frame, rects, cancel);
        }
        if self.conduct == Conduct::Honest {
            self.gate.wait(cancel)?;
            return self.engine.render(settings, frame, rects, cancel);
        }
        let rendered = self.render_tile(settings, frame, rects, cancel)?;
        self.gate.pass(&format!("{:?}", self.conduct));
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.engine.build()
    }
}

/// The rectangle of a tile, not a probe nor one of its neighbours' cells.
fn is_large(rect: &Rect) -> bool {
    rect.width.max(rect.height) > PROBE_PX_MAX
}

/// What [`Conduct::OneCell`] and [`Conduct::OnePixel`] deface of a tile, far from all that neighbours compare.
pub fn defaced(conduct: Conduct, rect: &Rect) -> Rect {
    let side = match conduct {
        Conduct::OnePixel => 1,
        _ => CELL_PX,
    };
    let middle = |from: u32, length: u32| (from + length / 2) / CELL_PX * CELL_PX;
    Rect {
        x: middle(rect.x, rect.width),
        y: middle(rect.y, rect.height),
        width: side,
        height: side,
    }
}

fn edit(conduct: Conduct, rect: &Rect, pass: Pass, plane: &mut Vec<[f32; 4]>) {
    let (width, height) = (rect.width as usize, rect.height as usize);
    match conduct {
        Conduct::Black => plane.fill(BLACK),
        Conduct::Shifted => plane.rotate_right(1),
        Conduct::RimOnly => {
            for y in 8..height.saturating_sub(16) {
                plane[y * width + 8..(y + 1) * width - 16].fill(GREY);
            }
        }
        Conduct::Band(percent) => {
            let rows = height * usize::from(percent) / 100;
            let first = (height - rows) / 2;
            plane[first * width..(first + rows) * width].fill(BLACK);
        }
        Conduct::SparseCells(percent) => copy_neighbours(percent, rect, plane),
        Conduct::FewerSamplesDenoised => *plane = blurred(width, plane),
        Conduct::AlphaOnly if pass == Pass::Combined => {
            plane.iter_mut().for_each(|pixel| pixel[3] *= 0.5);
        }
        Conduct::NormalsOnly if matches!(pass, Pass::Normal | Pass::Plane(0)) => {
            plane.iter_mut().for_each(|pixel| pixel[0] += 0.01);
        }
        Conduct::Denormals => {
            for value in plane.iter_mut().flatten().filter(|value| **value == 0.0) {
                *value = f32::from_bits(1);
            }
        }
        Conduct::OneCell | Conduct::OnePixel if pass == Pass::Combined && is_large(rect) => {
            let part = defaced(conduct, rect);
            for y in part.y..part.bottom() {
                for x in part.x..part.right() {
                    plane[(y - rect.y) as usize * width + (x - rect.x) as usize][1] += 0.25;
                }
            }
        }
        _ => {}
    }
}

/// Is the cell at this column and row one of those that are not rendered?
fn is_left_out(percent: u8, column: u32, row: u32) -> bool {
    let place = [column.to_le_bytes(), row.to_le_bytes()].concat();
    u32::from(Blake3Hash::of(&place).0[0]) * 100 < u32::from(percent) * 256
}

fn copy_neighbours(percent: u8, rect: &Rect, plane: &mut [[f32; 4]]) {
    let (width, side) = (rect.width, CELL_PX);
    for row in 0..rect.height / side {
        for column in (1..width / side).filter(|&column| is_left_out(percent, column, row)) {
            for y in row * side..(row + 1) * side {
                let to = (y * width + column * side) as usize;
                let from = to - side as usize;
                plane.copy_within(from..to, to);
            }
        }
    }
}

/// The mean of 3 x 3 pixels.
fn blurred(width: usize, plane: &[[f32; 4]]) -> Vec<[f32; 4]> {
    let height = plane.len() / width;
    let mean = |index: usize| {
        let (x, y) = (index % width, index / width);
        let mut sum = [0.0; 4];
        let mut count = 0.0;
        for near_y in y.saturating_sub(1)..(y + 2).min(height) {
            for near_x in x.saturating_sub(1)..(x + 2).min(width) {
                let near = plane[near_y * width + near_x];
                sum = std::array::from_fn(|channel| sum[channel] + near[channel]);
                count += 1.0;
            }
        }
        sum.map(|sum| sum / count)
    };
    (0..plane.len()).map(mean).collect()
}

fn half(size: Size) -> Size {
    Size {
        width: size.width / 2,
        height: size.height / 2,
    }
}

/// Whole cells of a frame of half the size that show what the rectangle shows.
fn half_rect(rect: &Rect, frame: Size) -> Rect {
    let span = |from: u32, to: u32, most: u32| {
        let from = from / 2 / CELL_PX * CELL_PX;
        let to = to.div_ceil(2).next_multiple_of(CELL_PX).min(most);
        (from, to - from)
    };
    let (x, width) = span(rect.x, rect.right(), frame.width);
    let (y, height) = span(rect.y, rect.bottom(), frame.height);
    Rect {
        x,
        y,
        width,
        height,
    }
}

fn enlarged(rect: &Rect, small: &RenderedRect) -> RenderedRect {
    let pixel = |plane: &[[f32; 4]], index: u32| {
        let (x, y) = (rect.x + index % rect.width, rect.y + index / rect.width);
        let (column, row) = (x / 2 - small.rect.x, y / 2 - small.rect.y);
        plane[(row * small.rect.width + column) as usize]
    };
    let pixels = rect.width * rect.height;
    let planes = small.planes.iter().map(|(pass, plane)| {
        let plane: Vec<[f32; 4]> = (0..pixels).map(|index| pixel(plane, index)).collect();
        (*pass, plane)
    });
    RenderedRect {
        rect: *rect,
        planes: planes.collect(),
    }
}
