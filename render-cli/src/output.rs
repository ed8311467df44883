//! Output patterns, and frames put together from tiles.

use crate::failure::{Code, Failure};
use engine::{Merging, SceneOutput};
use farm::event::Piece;
use network::BlobStore;
use protocol::{
    EngineKind, Pass, RenderSettings, RenderedRect, Size, limits::TASK_BYTES_MAX,
    pixels::canonical_length,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// Where frames of the built-in engine go if the user does not say.
const TRACER_OUTPUT: &str = "out/####.png";
/// Endings of the files that Blender finishes frames as; its driver knows the formats.
const BLENDER_ENDINGS: [&str; 13] = [
    "png", "exr", "jpg", "jpeg", "tif", "tiff", "webp", "bmp", "tga", "hdr", "dpx", "cin", "jp2",
];
/// Endings of videos.
const VIDEO_ENDINGS: [&str; 3] = ["mp4", "mkv", "webm"];

/// What is written of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A display-ready picture in 8 bit.
    Picture,
    /// All raw passes in 32-bit float.
    Raw,
    /// What Blender makes of it: in the format with this ending, or else in the scene's own.
    Finished(Option<String>),
}

/// A path with a place for the frame number.
#[derive(Debug, Clone)]
pub struct Pattern {
    folder: PathBuf,
    before: String,
    digits: usize,
    after: String,
    /// By the ending, or the scene's own.
    pub format: Format,
    /// What stands behind the names of files where there is one for each view of a frame.
    pub suffixes: Vec<String>,
    /// The video that is made of all frames in the end.
    pub video: Option<PathBuf>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{}{}{}", self.before, "#".repeat(self.digits), self.after);
        write!(f, "{}", self.folder.join(name).display())
    }
}

impl Pattern {
    /// What the user asks for; without a wish and for the built-in engine a default, for Blender nothing: there the scene
    /// says it, see [`Self::of_scene`].
    pub fn asked(
        output: Option<&Path>,
        kind: EngineKind,
        raw: bool,
    ) -> Result<Option<Self>, Failure> {
        match (output, kind) {
            (Some(path), _) => Self::parse(path, kind, raw).map(Some),
            (None, EngineKind::Tracer) => {
                Self::parse(Path::new(TRACER_OUTPUT), kind, raw).map(Some)
            }
            (None, EngineKind::Blender) if raw => {
                let message = "--raw writes .exr frames, and the scene's own output may be another";
                Err(Failure::new(Code::Usage, message).hint("name the files with -o NAME.exr"))
            }
            (None, EngineKind::Blender) => Ok(None),
        }
    }

    /// Reads a pattern: the last run of `#` is the number; without one, four digits are appended to the name. The frames of
    /// a video go to a folder of its name.
    fn parse(path: &Path, kind: EngineKind, raw: bool) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Code::Usage, message);
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| usage(format!("`{}` names no output file", path.display())))?;
        let (stem, ending) = match name.rsplit_once('.') {
            Some((stem, ending)) if !ending.contains('#') => (stem, ending),
            _ => (name, "png"),
        };
        let lower = ending.to_ascii_lowercase();
        if VIDEO_ENDINGS.contains(&lower.as_str()) {
            let frames = path.with_file_name(stem).join("####.png");
            let video = Some(path.to_owned());
            return Ok(Self {
                video,
                ..Self::parse(&frames, kind, raw)?
            });
        }
        let format = match (kind, lower.as_str()) {
            (_, "exr") if raw => Format::Raw,
            (_, other) if raw => {
                return Err(usage(format!("raw passes are not written as .{other}"))
                    .hint("end the output pattern in .exr, or leave out --raw"));
            }
            (EngineKind::Tracer, "exr") => Format::Raw,
            (EngineKind::Tracer, "png") => Format::Picture,
            (EngineKind::Blender, known) if BLENDER_ENDINGS.contains(&known) => {
                Format::Finished(Some(lower))
            }
            (_, other) => {
                let known = match kind {
                    EngineKind::Tracer => "png, .exr".into(),
                    EngineKind::Blender => BLENDER_ENDINGS.join(", ."),
                };
                let videos = VIDEO_ENDINGS.join(", .");
                return Err(usage(format!("cannot write .{other} frames")).hint(format!(
                    "end the output pattern in .{known}, or a video's in .{videos}"
                )));
            }
        };
        Ok(Self::split(
            path.parent(),
            stem,
            &format!(".{ending}"),
            format,
        ))
    }

    /// The place and format that a scene has itself.
    pub fn of_scene(output: &SceneOutput) -> Self {
        let name = output
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let format = Format::Finished(None);
        Self {
            suffixes: output.suffixes.clone(),
            ..Self::split(output.path.parent(), &name, "", format)
        }
    }

    fn split(folder: Option<&Path>, stem: &str, ending: &str, format: Format) -> Self {
        let last = stem.rfind('#').map_or(stem.len(), |index| index + 1);
        let first = stem[..last].trim_end_matches('#').len();
        Self {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
            before: stem[..first].to_owned(),
            digits: if first == last { 4 } else { last - first },
            after: format!("{}{ending}", &stem[last..]),
            format,
            suffixes: Vec::new(),
            video: None,
        }
    }

    /// Is a frame's file there, or one for each view?
    pub fn is_written(&self, frame: i32) -> bool {
        let path = self.path(frame);
        let of_views = || {
            let files = self
                .suffixes
                .iter()
                .map(|suffix| with_suffix(&path, suffix));
            !self.suffixes.is_empty() && files.into_iter().all(|file| file.is_file())
        };
        path.is_file() || of_views()
    }

    /// The file of a frame that a video shows.
    pub fn shown(&self, frame: i32) -> PathBuf {
        let path = self.path(frame);
        match self.suffixes.first() {
            Some(suffix) if !path.is_file() => with_suffix(&path, suffix),
            _ => path,
        }
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

/// A view's file: `0001_L.png`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| ending.to_string_lossy());
    path.with_file_name(match ending {
        Some(ending) => format!("{stem}{suffix}.{ending}"),
        None => format!("{stem}{suffix}"),
    })
}

/// Puts the cores of all tiles of a frame together, and the ranges of samples of each core.
pub fn assemble(
    settings: &RenderSettings,
    tiles: &[Piece],
    merging: &Merging,
    blobs: &BlobStore,
) -> Result<RenderedRect, String> {
    let size = settings.size;
    let area = size.area() as usize;
    let mut planes: Vec<(Pass, Vec<[f32; 4]>)> = settings
        .passes
        .iter()
        .filter(|pass| !merging.only_weighs(**pass))
        .map(|&pass| (pass, vec![[0.0; 4]; area]))
        .collect();
    for ranges in tiles.chunk_by(|one, next| one.core == next.core) {
        let [tile, further @ ..] = ranges else {
            continue;
        };
        let rendered = merged(tile, further, &settings.passes, merging, blobs)?;
        for ((_, whole), (_, part)) in planes.iter_mut().zip(&rendered.planes) {
            copy_core(size, tile, part, whole);
        }
    }
    Ok(RenderedRect {
        rect: size.rect(),
        planes,
    })
}

/// What was delivered of a core: as it is, or ranges of its samples merged.
fn merged(
    first: &Piece,
    further: &[Piece],
    passes: &[Pass],
    merging: &Merging,
    blobs: &BlobStore,
) -> Result<RenderedRect, String> {
    let rendered = read_piece(first, passes, blobs)?;
    let Some(samples) = first.samples else {
        return Ok(rendered);
    };
    let mut merger = merging.begin(&rendered, samples.count);
    for piece in further {
        let samples = piece.samples.map_or(0, |samples| samples.count);
        merger.add(&read_piece(piece, passes, blobs)?, samples)?;
    }
    Ok(merger.finish())
}

fn read_piece(tile: &Piece, passes: &[Pass], blobs: &BlobStore) -> Result<RenderedRect, String> {
    let bytes = blobs
        .read(tile.root, TASK_BYTES_MAX)
        .map_err(|e| e.to_string())?;
    // Cells of the neighbours may follow.
    let length = canonical_length(&[tile.rendered], passes.len()) as usize;
    let first = bytes.get(..length).unwrap_or(&bytes);
    RenderedRect::from_canonical(tile.rendered, passes, first).map_err(|e| e.to_string())
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

    fn pattern(kind: EngineKind, path: &str, raw: bool) -> Result<Pattern, Failure> {
        Pattern::parse(Path::new(path), kind, raw)
    }

    fn path(path: &str, frame: i32) -> String {
        let pattern = pattern(EngineKind::Tracer, path, false).unwrap();
        pattern.path(frame).display().to_string()
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
        let usage = |kind, path, raw| pattern(kind, path, raw).unwrap_err().code == Code::Usage;
        assert!(usage(EngineKind::Tracer, "####.avi", false));
        assert!(usage(EngineKind::Tracer, "####.jpg", false));
        assert!(usage(EngineKind::Blender, "####.png", true));
        assert!(usage(EngineKind::Blender, "/", false));
    }

    #[test]
    fn formats_follow_engine_and_ending() {
        let format = |kind, path, raw| pattern(kind, path, raw).unwrap().format;
        assert_eq!(format(EngineKind::Tracer, "#.png", false), Format::Picture);
        assert_eq!(format(EngineKind::Tracer, "#.exr", false), Format::Raw);
        assert_eq!(format(EngineKind::Blender, "#.exr", true), Format::Raw);
        assert_eq!(
            format(EngineKind::Blender, "#.JPG", false),
            Format::Finished(Some("jpg".into()))
        );
    }

    #[test]
    fn frames_of_a_video_are_kept_beside_it() {
        let film = pattern(EngineKind::Blender, "films/short.mp4", false).unwrap();
        assert_eq!(film.video.as_deref(), Some(Path::new("films/short.mp4")));
        assert_eq!(film.path(3), Path::new("films/short/0003.png"));
    }

    #[test]
    fn a_scenes_own_output_may_have_no_ending_and_several_views() {
        let folder = tempfile::tempdir().unwrap();
        let output = SceneOutput {
            path: folder.path().join("shot_##_final"),
            format: "PNG".into(),
            suffixes: vec!["_L".into(), "_R".into()],
        };
        let pattern = Pattern::of_scene(&output);
        assert_eq!(pattern.path(3), folder.path().join("shot_03_final"));
        assert!(!pattern.is_written(3));
        fs::write(folder.path().join("shot_03_final_L"), b"").unwrap();
        assert!(!pattern.is_written(3));
        fs::write(folder.path().join("shot_03_final_R"), b"").unwrap();
        assert!(pattern.is_written(3));
    }
}
