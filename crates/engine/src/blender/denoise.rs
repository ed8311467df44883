//! Denoising an assembled frame as Cycles does after rendering: the same library, settings and data, on the whole
//! frame. Cycles' own tool for files does the work; it differs from a render in three ways that are met here.
//!
//! It insists on motion vectors, which only its temporal mode reads: they are zero. It insists on a number of
//! samples, which it does not use. And it passes rows from the top where a render passes them from the bottom,
//! to a network that is not symmetric: the rows are turned over before and after. What remains is rounding, about
//! 1e-7 of a value on average and 4e-5 at most in the scenes measured.

use super::passes::{LayerPass, NamedFrame};
use crate::frame_file::{Attributes, FrameFileError, Packing, Plane, read_exr, write_channels};
use protocol::{Pass, Rect};
use std::path::Path;

/// The denoising data of a layer's colours.
pub(super) fn data_of(colours: &LayerPass) -> [LayerPass; 2] {
    [
        colours.other("Denoising Normal", "XYZ"),
        colours.other("Denoising Albedo", "RGB"),
    ]
}

/// Writes a layer's colours and denoising data as the file that Cycles denoises; false if the frame lacks some.
pub(super) fn write_input(
    frame: &NamedFrame<'_>,
    colours: &LayerPass,
    path: &Path,
) -> Result<bool, FrameFileError> {
    let rect = frame.frame.rect;
    let [normal, albedo] = data_of(colours);
    let mut channels = Vec::new();
    for pass in [colours, &normal, &albedo] {
        let Some(values) = frame.channels(pass) else {
            return Ok(false);
        };
        let turned = values.iter().map(|values| turned_over(values, rect.width));
        // The tool knows nothing of views.
        let plain = LayerPass {
            view: None,
            ..pass.clone()
        };
        channels.extend(plain.names().zip(turned));
    }
    let layer = &colours.layer;
    for component in ["X", "Y", "Z", "W"] {
        let name = format!("{layer}.Vector.{component}");
        channels.push((name, vec![0.0; rect.area() as usize]));
    }
    let samples = (format!("cycles.{layer}.samples"), "1".to_owned());
    let attributes = Attributes::from([samples]);
    write_channels(rect, channels, &attributes, Packing::None, path)?;
    Ok(true)
}

/// The denoised colours: four channels, rows from the top.
pub(super) fn read_output(
    rect: Rect,
    colours: &LayerPass,
    path: &Path,
) -> Result<Vec<Vec<f32>>, FrameFileError> {
    let plain = LayerPass {
        view: None,
        ..colours.clone()
    };
    let plane = Plane {
        pass: Pass::Combined,
        channels: plain.names().collect(),
    };
    let denoised = read_exr(path, rect, std::slice::from_ref(&plane))?;
    let pixels = denoised.planes.first().map(|(_, pixels)| pixels.as_slice());
    let channel = |index: usize| {
        let values = pixels.unwrap_or_default().iter().map(|pixel| pixel[index]);
        turned_over(&values.collect::<Vec<_>>(), rect.width)
    };
    Ok((0..plane.channels.len()).map(channel).collect())
}

/// The same rows in opposite order.
pub(super) fn turned_over(values: &[f32], width: u32) -> Vec<f32> {
    let rows = values.chunks_exact(width as usize).rev();
    rows.flatten().copied().collect()
}
