//! Output patterns, and frames put together from tiles.

use crate::failure::{Code, Failure};
use farm::event::Piece;
use network::BlobStore;
use protocol::{Pass, RenderedRect, Size, limits::TASK_BYTES_MAX, pixels::canonical_length};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Kinds of files that frames are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Display-ready 8 bit (or what the .blend asks for).
    Png,
    /// All raw passes in 32-bit float.
    Exr,
}

/// A path with a place for the frame number.
#[derive(Debug, Clone)]
pub struct Pattern {
    folder: PathBuf,
    before: String,
    digits: usize,
    after: String,
    /// By the ending.
    pub format: Format,
}

impl Pattern {
    /// Reads a pattern: the last run of `#` is the number; without one, four digits are appended to the name.
    pub fn parse(path: &Path) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Code::Usage, message);
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| usage(format!("`{}` names no output file", path.display())))?;
        let (stem, ending) = match name.rsplit_once('.') {
            Some((stem, ending)) if !ending.contains('#') => (stem, ending),
            _ => (name, "png"),
        };
        let format = match ending.to_ascii_lowercase().as_str() {
            "png" => Format::Png,
            "exr" => Format::Exr,
            other => {
                return Err(usage(format!("cannot write .{other} frames"))
                    .hint("end the output pattern in .png or .exr"));
            }
        };
        let last = stem.rfind('#').map_or(stem.len(), |index| index + 1);
        let first = stem[..last].trim_end_matches('#').len();
        let digits = if first == last { 4 } else { last - first };
        Ok(Self {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            before: stem[..first].to_owned(),
            digits,
            after: format!("{}.{ending}", &stem[last..]),
            format,
        })
    }

    /// The file of a frame.
    pub fn path(&self, frame: i32) -> PathBuf {
        let sign = if frame < 0 { "-" } else { "" };
        let number = format!(
            "{sign}{:0width$}",
            frame.unsigned_abs(),
            width = self.digits
        );
        self.folder
            .join(format!("{}{number}{}", self.before, self.after))
    }

    /// Makes the folder and writes and removes a file in it, so that a night's work does not end in "permission denied".
    pub fn check_writable(&self) -> Result<(), Failure> {
        let folder = match self.folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.folder,
        };
        let refuse = |e: std::io::Error| {
            Failure::preflight(format!("cannot write frames to {}: {e}", folder.display()))
                .hint("choose another place with -o")
        };
        fs::create_dir_all(folder).map_err(refuse)?;
        let trial = folder.join(format!(".render-{}.part", std::process::id()));
        fs::write(&trial, b"trial").map_err(refuse)?;
        fs::remove_file(&trial).map_err(refuse)
    }
}

/// Puts the cores of all tiles of a frame together.
pub fn assemble(
    size: Size,
    passes: &[Pass],
    tiles: &[Piece],
    blobs: &BlobStore,
) -> Result<RenderedRect, String> {
    let area = size.area() as usize;
    let mut planes: Vec<(Pass, Vec<[f32; 4]>)> = passes
        .iter()
        .map(|&pass| (pass, vec![[0.0; 4]; area]))
        .collect();
    for tile in tiles {
        let bytes = blobs
            .read(tile.root, TASK_BYTES_MAX)
            .map_err(|e| e.to_string())?;
        // Cells of the neighbours may follow.
        let length = canonical_length(&[tile.rendered], passes.len()) as usize;
        let first = bytes.get(..length).unwrap_or(&bytes);
        let rendered = RenderedRect::from_canonical(tile.rendered, passes, first)
            .map_err(|e| e.to_string())?;
        for ((_, whole), (_, part)) in planes.iter_mut().zip(&rendered.planes) {
            copy_core(size, tile, part, whole);
        }
    }
    Ok(RenderedRect {
        rect: size.rect(),
        planes,
    })
}

fn copy_core(size: Size, tile: &Piece, part: &[[f32; 4]], whole: &mut [[f32; 4]]) {
    let (core, rendered) = (tile.core, tile.rendered);
    let width = core.width as usize;
    for y in core.y..core.bottom() {
        let from = ((y - rendered.y) * rendered.width + core.x - rendered.x) as usize;
        let to = y as usize * size.width as usize + core.x as usize;
        whole[to..to + width].copy_from_slice(&part[from..from + width]);
    }
}

/// A frame in sRGB, 8 bits a channel.
pub fn display_pixels(frame: &RenderedRect) -> Vec<u8> {
    let combined = frame
        .planes
        .iter()
        .find(|(pass, _)| *pass == Pass::Combined);
    let pixels = combined
        .map(|(_, plane)| plane.as_slice())
        .unwrap_or_default();
    pixels
        .iter()
        .flat_map(|&pixel| tracer::render::to_srgb8(pixel))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(pattern: &str, frame: i32) -> String {
        Pattern::parse(Path::new(pattern))
            .unwrap()
            .path(frame)
            .display()
            .to_string()
    }

    #[test]
    fn patterns_number_frames() {
        assert_eq!(path("out/####.png", 7), "out/0007.png");
        assert_eq!(path("a_##_b.exr", 123), "a_123_b.exr");
        assert_eq!(path("shot.png", 7), "shot0007.png");
        assert_eq!(path("out/shot_#", 7), "out/shot_7.png");
        assert_eq!(path("####.png", -5), "-0005.png");
    }

    #[test]
    fn other_formats_are_refused() {
        assert_eq!(
            Pattern::parse(Path::new("####.avi")).unwrap_err().code,
            Code::Usage
        );
        assert_eq!(
            Pattern::parse(Path::new("/")).unwrap_err().code,
            Code::Usage
        );
    }
}
