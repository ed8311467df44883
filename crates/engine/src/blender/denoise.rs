//! Denoising an assembled frame as Cycles does after rendering: the same library, settings and data, on the whole
//! frame. Cycles' own tool for files does the work; it differs from a render in three ways that are met here.
//!
//! It insists on motion vectors, which only its temporal mode reads: they are zero. It insists on a number of
//! samples, which it does not use. And it passes rows from the top where a render passes them from the bottom,
//! to a network that is not symmetric: the rows are turned over before and after. What remains is rounding, about
//! 1e-7 of a value on average and 4e-5 at most in the scenes measured.

use crate::frame_file::{FrameFileError, Packing, channel_names, read_exr, write_channels};
use protocol::{Pass, RenderedRect};
use std::path::Path;

/// The passes that the denoiser reads.
pub(super) const PASSES: [Pass; 3] = [Pass::Combined, Pass::Normal, Pass::Albedo];

/// Writes the passes of a frame as the file that Cycles denoises.
pub(super) fn write_input(
    frame: &RenderedRect,
    layer: &str,
    path: &Path,
) -> Result<(), FrameFileError> {
    let mut channels = Vec::new();
    for (pass, plane) in frame
        .planes
        .iter()
        .filter(|(pass, _)| PASSES.contains(pass))
    {
        let turned = turned_over(plane, frame.rect.width);
        for (index, name) in channel_names(Some(layer), *pass).into_iter().enumerate() {
            let name = name.replace(".Normal.", ".Denoising Normal.");
            channels.push((name, turned.iter().map(|pixel| pixel[index]).collect()));
        }
    }
    for component in ["X", "Y", "Z", "W"] {
        channels.push((
            format!("{layer}.Vector.{component}"),
            vec![0.0; frame.rect.area() as usize],
        ));
    }
    write_channels(
        frame.rect,
        channels,
        &[(&format!("cycles.{layer}.samples"), "1")],
        Packing::None,
        path,
    )
}

/// Puts the denoised colours in place of the frame's.
pub(super) fn read_output(
    frame: &mut RenderedRect,
    layer: &str,
    path: &Path,
) -> Result<(), FrameFileError> {
    let denoised = read_exr(path, Some(layer), frame.rect, &[Pass::Combined])?;
    for (pass, plane) in &mut frame.planes {
        if let (Pass::Combined, Some((_, colours))) = (*pass, denoised.planes.first()) {
            *plane = turned_over(colours, frame.rect.width);
        }
    }
    Ok(())
}

/// The same rows in opposite order.
fn turned_over(plane: &[[f32; 4]], width: u32) -> Vec<[f32; 4]> {
    plane
        .chunks_exact(width as usize)
        .rev()
        .flatten()
        .copied()
        .collect()
}
