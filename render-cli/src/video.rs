//! The video of finished frames, encoded by the user's ffmpeg.

use crate::{
    failure::{Code, Failure},
    output::Pattern,
};
use render_worker::wallet::PASSWORD_VARIABLES;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Frame rates of television are thousands over 1001.
const TELEVISION: f64 = 1001.0;
/// How far a rate may be off to be taken for one of those.
const RATE_TOLERANCE: f64 = 1e-3;
/// Even sides, which the codecs want, and the matrix that players expect.
const FILTER: &str =
    "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p";

/// A program that encodes.
pub struct Encoder(PathBuf);

impl Encoder {
    /// The ffmpeg of this computer.
    pub fn find() -> Result<Self, Failure> {
        let file = format!("ffmpeg{}", env::consts::EXE_SUFFIX);
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file());
        found.map(Self).ok_or_else(|| {
            Failure::preflight("a video is asked for, and no ffmpeg is in the path")
                .hint("install ffmpeg, or ask for frames: -o NAME####.png")
        })
    }

    /// Makes the video of these frames, in order: first under another name, then renamed. Blocks.
    pub fn encode(
        &self,
        frames: &[i32],
        pattern: &Pattern,
        rate: f32,
        video: &Path,
    ) -> Result<(), Failure> {
        let failed = |why: String| {
            let message = format!("the video {} was not made: {why}", video.display());
            Failure::new(Code::FramesFailed, message)
                .hint("the frames are there; `render resume JOB` tries the video again")
        };
        let list = numbered(frames, pattern).map_err(|e| failed(e.to_string()))?;
        let ending = video.extension().unwrap_or_default().to_string_lossy();
        let (muxer, codec) = codec(&ending.to_ascii_lowercase());
        let mut part = video.as_os_str().to_owned();
        part.push(".part");
        let ending = frame_ending(frames, pattern);
        let mut ffmpeg = Command::new(&self.0);
        for password in PASSWORD_VARIABLES {
            ffmpeg.env_remove(password);
        }
        let output = ffmpeg
            .args(["-y", "-nostdin", "-loglevel", "error", "-f", "image2"])
            .args(["-framerate", &rate_text(rate), "-i"])
            .arg(list.path().join(format!("%08d.{ending}")))
            .args(["-vf", FILTER])
            .args(codec)
            .args(["-colorspace", "bt709", "-color_primaries", "bt709"])
            .args(["-color_trc", "iec61966-2-1", "-f", muxer])
            .arg(&part)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| failed(format!("ffmpeg does not start: {e}")))?;
        if !output.status.success() {
            let _ = fs::remove_file(&part);
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.trim().lines().last().unwrap_or("it said nothing");
            return Err(failed(format!("ffmpeg: {last}")));
        }
        fs::rename(&part, video).map_err(|e| failed(e.to_string()))
    }
}

/// A folder with links to the frames, numbered without gaps as ffmpeg wants them.
fn numbered(frames: &[i32], pattern: &Pattern) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("render-video-").tempdir()?;
    for (number, &frame) in frames.iter().enumerate() {
        let file = std::path::absolute(pattern.shown(frame))?;
        let ending = frame_ending(&[frame], pattern);
        link(&file, &folder.path().join(format!("{number:08}.{ending}")))?;
    }
    Ok(folder)
}

fn frame_ending(frames: &[i32], pattern: &Pattern) -> String {
    let path = frames.first().map(|frame| pattern.shown(*frame));
    let ending = path.as_deref().and_then(Path::extension);
    ending.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(unix)]
fn link(file: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(file, place)
}

#[cfg(not(unix))]
fn link(file: &Path, place: &Path) -> std::io::Result<()> {
    fs::copy(file, place).map(drop)
}

/// The container and codec of an ending, near to what the eye cannot tell from the frames.
fn codec(ending: &str) -> (&'static str, &'static [&'static str]) {
    match ending {
        "webm" => (
            "webm",
            &[
                "-c:v",
                "libvpx-vp9",
                "-crf",
                "24",
                "-b:v",
                "0",
                "-row-mt",
                "1",
            ],
        ),
        "mkv" => (
            "matroska",
            &["-c:v", "libx264", "-crf", "17", "-preset", "slow"],
        ),
        _ => (
            "mp4",
            &[
                "-c:v",
                "libx264",
                "-crf",
                "17",
                "-preset",
                "slow",
                "-movflags",
                "+faststart",
            ],
        ),
    }
}

/// A frame rate as ffmpeg takes it exactly: `24`, `30000/1001`.
fn rate_text(rate: f32) -> String {
    let rate = f64::from(rate);
    let thousands = (rate * TELEVISION / 1000.0).round() * 1000.0;
    if (rate - rate.round()).abs() < RATE_TOLERANCE {
        format!("{}", rate.round())
    } else if (rate - thousands / TELEVISION).abs() < RATE_TOLERANCE {
        format!("{thousands}/{TELEVISION}")
    } else {
        format!("{rate}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_television_are_exact() {
        assert_eq!(rate_text(24.0), "24");
        assert_eq!(rate_text(24.0 / 1.001), "24000/1001");
        assert_eq!(rate_text(29.97), "30000/1001");
        assert_eq!(rate_text(12.5), "12.5");
    }
}
