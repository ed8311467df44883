//! Every Blender of a job is killed in the middle of it, those of the workers and the requestor's own: the job goes on.
#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tests::{job_command, scene, words};

const FRAMES: usize = 6;
/// Between two looks at the job.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait for the first frame.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(120);

/// The processes below this one that run Blender with our script.
fn blenders(process: u32, found: &mut Vec<u32>) {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains("driver.py") {
                found.push(child);
            }
            blenders(child, found);
        }
    }
}

fn wait_for_a_frame(job: &mut Child, folder: &std::path::Path) {
    let begun = Instant::now();
    let is_frame = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy().ends_with(".png")
    };
    while !fs::read_dir(folder)
        .unwrap()
        .flatten()
        .any(|entry| is_frame(&entry))
    {
        assert!(begun.elapsed() < FIRST_FRAME_MAX, "no frame");
        assert!(job.try_wait().unwrap().is_none(), "the job has ended");
        thread::sleep(LOOK);
    }
}

#[test]
fn a_job_goes_on_when_every_blender_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let options = format!("--frames 1-{FRAMES} --local 2 --size 192x108 --samples 48 --tile 0");
    let mut job = job_command(dir.path(), &scene("gyroscope.blend"), "f####.png", &options);
    let mut job = job
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_a_frame(&mut job, dir.path());
    let mut found = Vec::new();
    blenders(job.id(), &mut found);
    for process in &found {
        let _ = Command::new("kill")
            .args(["-9", &process.to_string()])
            .status();
    }
    let output = job.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(found.len(), 3, "{}", words(&output));
    for frame in 1..=FRAMES {
        let path = dir.path().join(format!("f{frame:04}.png"));
        assert!(image::open(&path).is_ok(), "frame {frame}");
    }
}
