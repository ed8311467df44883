//! Videos: made of all frames in their order, by the user's ffmpeg, and the frames stay.

use std::{fs, process::Command};
use tests::{job, job_command, scene, words};

const OPTIONS: &str = "--frames 1-5x2 --size 161x91 --samples 1 --local 1";

/// One line for each picture of a video, with a hash of its pixels.
fn pictures(file: &std::path::Path) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(file)
        .args(["-f", "framemd5", "-"])
        .output()
        .expect("ffmpeg is provided by tests/run");
    assert!(output.status.success(), "{}", words(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_video_has_every_frame_and_the_frames_stay() {
    let dir = tempfile::tempdir().unwrap();
    let lighthouse = scene("lighthouse.glb");
    for ending in ["mp4", "webm"] {
        let output = job(dir.path(), &lighthouse, &format!("film.{ending}"), OPTIONS);
        assert!(output.status.success(), "{}", words(&output));
        for frame in [1, 3, 5] {
            let path = dir.path().join(format!("film/{frame:04}.png"));
            assert_eq!(image::open(path).unwrap().width(), 161);
        }
        let shown = pictures(&dir.path().join(format!("film.{ending}")));
        assert_eq!(shown.len(), 3, "{shown:?}");
        let hashes: Vec<&str> = shown
            .iter()
            .filter_map(|line| line.rsplit(',').next())
            .collect();
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }
    let left = fs::read_dir(dir.path()).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.ends_with(".part")));
}

#[test]
fn without_ffmpeg_nothing_is_rendered() {
    let dir = tempfile::tempdir().unwrap();
    let output = job_command(dir.path(), &scene("lighthouse.glb"), "film.mp4", OPTIONS)
        .env("PATH", dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    let words = words(&output);
    assert!(
        words.contains("ffmpeg") && words.contains("hint:"),
        "{words}"
    );
    assert!(!dir.path().join("film/0001.png").exists());
}
