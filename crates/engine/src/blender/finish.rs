//! Finishing an assembled frame as Blender does after rendering: denoising, compositing, view transform, and writing the
//! files that the scene writes, File Output nodes included. Once for a whole frame, in the requestor's own Blender.

use super::{
    BlenderEngine, Done, OpenScene, absolute, denoise, no_scene,
    passes::{LayerPass, NamedFrame},
    process::{DriverCommand, FinishCommand},
};
use crate::{
    CancelFlag, Engine, EngineError,
    frame_file::{self, Attributes, FrameFileError},
};
use protocol::{Pass, Rect, RenderSettings, RenderedRect};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Side of what is rendered to learn a frame's metadata.
const METADATA_PX: u32 = 8;

/// Where a finished frame goes.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its file. Blender puts the names of views before the ending where it writes a file for each.
    pub path: PathBuf,
    /// Its format by this ending, or else the scene's own.
    pub ending: Option<String>,
}

impl BlenderEngine {
    /// Lets Blender treat an assembled frame as if it had just rendered it: it takes the pixels in place of a render, then
    /// applies the scene's denoising, compositing, view transform, dither and output settings, and writes its files. The
    /// frame must have the [`crate::SceneDescription::finish_passes`]. Gives the files, File Output nodes' left out.
    ///
    /// The result has the same pixels as Blender's own, denoised frames within rounding.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn finish(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        assembled: &RenderedRect,
        out: &Finished,
        cancel: &CancelFlag,
    ) -> Result<Vec<PathBuf>, EngineError> {
        self.once_more(|engine| engine.finish_once(settings, frame, assembled, out, cancel))
    }

    fn finish_once(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        assembled: &RenderedRect,
        out: &Finished,
        cancel: &CancelFlag,
    ) -> Result<Vec<PathBuf>, EngineError> {
        self.driver(cancel)?;
        let scene = self.scene.clone().ok_or_else(no_scene)?;
        let metadata = self.metadata(settings, frame, cancel)?;
        let pixels = self.driver(cancel)?.folder().join("assembled.raw");
        let passes = self.write_pixels(&scene, assembled, &pixels, cancel)?;
        let failed = |e: io::Error| EngineError::Failed(format!("{}: {e}", out.path.display()));
        let out_path = absolute(&out.path)?;
        let folder = out_path.parent().unwrap_or(Path::new("/"));
        // Beside the place, so that renaming is one step.
        let part = tempfile::Builder::new()
            .prefix(".render-")
            .suffix(".part")
            .tempdir_in(folder)
            .map_err(failed)?;
        let name = out_path.file_name().unwrap_or_default();
        let command = DriverCommand::Finish(FinishCommand {
            frame,
            size: [settings.size.width, settings.size.height],
            threads: self.options.threads,
            pixels: &pixels,
            passes: &passes,
            metadata: &metadata,
            ending: out.ending.as_deref(),
            output: &part.path().join(name),
        });
        self.request::<Done>(&command, cancel)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(part.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let place = folder.join(entry.file_name());
            fs::rename(entry.path(), &place).map_err(failed)?;
            files.push(place);
        }
        match files.is_empty() {
            true => Err(EngineError::Failed(format!(
                "Blender wrote nothing for frame {frame}"
            ))),
            false => Ok(files),
        }
    }

    /// What a file of this frame says of itself besides pixels: the names behind cryptomatte's numbers, samples. Only
    /// Blender's render knows them, so a few pixels are rendered; nothing, where nobody asks for it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn metadata(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        cancel: &CancelFlag,
    ) -> Result<Attributes, EngineError> {
        let scene = self.scene.as_ref().ok_or_else(no_scene)?;
        let is_asked = |name: &String| name.contains(".Crypto");
        let names = scene
            .planes
            .iter()
            .filter(|plane| settings.passes.contains(&plane.pass))
            .flat_map(|plane| &plane.channels);
        if scene.whole_frames || !names.clone().any(is_asked) {
            return Ok(Attributes::new());
        }
        let few = RenderSettings {
            passes: vec![Pass::Combined],
            guard_px: 0,
            ..settings.clone()
        };
        let rect = Rect {
            x: 0,
            y: 0,
            width: METADATA_PX.min(settings.size.width),
            height: METADATA_PX.min(settings.size.height),
        };
        self.keep_attributes = true;
        let rendered = self.render(&few, frame, &[rect], cancel);
        self.keep_attributes = false;
        rendered?;
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.retain(|name, _| {
            let samples = name.starts_with("cycles.") && name.ends_with(".samples");
            name.starts_with("cryptomatte/") || samples
        });
        Ok(attributes)
    }

    /// Writes the passes of an assembled frame one after the other, denoised where the scene denoises, for the driver.
    fn write_pixels(
        &mut self,
        scene: &OpenScene,
        assembled: &RenderedRect,
        path: &Path,
        cancel: &CancelFlag,
    ) -> Result<Vec<LayerPass>, EngineError> {
        let frame = NamedFrame::new(assembled, &scene.planes);
        let width = assembled.rect.width;
        let io_failed = |e: io::Error| EngineError::Failed(format!("{}: {e}", path.display()));
        let mut file = BufWriter::new(File::create(path).map_err(io_failed)?);
        let mut written = Vec::new();
        for (number, pass) in scene.passes.iter().enumerate() {
            let Some(channels) = frame.channels(pass) else {
                if number < scene.passes_needed {
                    let name = pass.names().next().unwrap_or_default();
                    let why = format!("the assembled frame has no channel `{name}`");
                    return Err(EngineError::Failed(why));
                }
                continue;
            };
            if pass.denoised {
                let denoised = self.denoise(&frame, pass, cancel)?;
                write_pass(&mut file, &denoised, width).map_err(io_failed)?;
                written.push(pass.clone());
                // Where the scene keeps the denoiser's input, this is its colour.
                write_pass(&mut file, &channels, width).map_err(io_failed)?;
                written.push(pass.other("Noisy Image", &pass.channels));
            } else {
                write_pass(&mut file, &channels, width).map_err(io_failed)?;
                written.push(pass.clone());
            }
        }
        file.flush().map_err(io_failed)?;
        Ok(written)
    }

    /// The denoised colours of a layer.
    fn denoise(
        &mut self,
        frame: &NamedFrame<'_>,
        colours: &LayerPass,
        cancel: &CancelFlag,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let failed = |e: FrameFileError| EngineError::Failed(format!("denoising: {e}"));
        let folder = self.driver(cancel)?.folder().to_owned();
        let (noisy, denoised) = (folder.join("noisy.exr"), folder.join("denoised.exr"));
        if !denoise::write_input(frame, colours, &noisy).map_err(failed)? {
            let why =
                "denoising: the assembled frame lacks `Denoising Normal` or `Denoising Albedo`";
            return Err(EngineError::Failed(why.into()));
        }
        let command = DriverCommand::Denoise {
            layer: &colours.layer,
            exr: &noisy,
            output: &denoised,
        };
        self.request::<Done>(&command, cancel)?;
        denoise::read_output(frame.frame.rect, colours, &denoised).map_err(failed)
    }
}

/// Writes a pass as Blender holds it: pixel by pixel, rows from the bottom.
fn write_pass(file: &mut impl Write, channels: &[Vec<f32>], width: u32) -> io::Result<()> {
    let count = channels.len();
    let mut bytes = vec![0; channels.first().map_or(0, Vec::len) * count * 4];
    for (index, values) in channels.iter().enumerate() {
        let turned = denoise::turned_over(values, width);
        let places = bytes.chunks_exact_mut(4).skip(index).step_by(count);
        for (place, value) in places.zip(turned) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
    file.write_all(&bytes)
}

/// Writes an assembled frame with all its passes as they were rendered, as multi-layer EXR with Blender's names.
///
/// # Errors
/// As [`frame_file::write_exr`].
pub fn write_raw(
    assembled: &RenderedRect,
    planes: &[frame_file::Plane],
    metadata: Attributes,
    path: &Path,
) -> Result<(), FrameFileError> {
    let mut attributes = frame_file::multi_layer_attributes();
    attributes.extend(metadata);
    let packing = frame_file::Packing::Zip;
    frame_file::write_exr(assembled, planes, &attributes, packing, path)
}
