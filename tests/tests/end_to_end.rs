//! Whole jobs as a user runs them: scene in, frames out, over real worker processes and a real ledger.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Stdio,
};
use tests::{job, job_command, render, scene, summary, words};

fn run(folder: &Path, pattern: &str, options: &str) -> serde_json::Value {
    let output = job(folder, &scene("reading_room.glb"), pattern, options);
    assert!(output.status.success(), "{}", words(&output));
    summary(&output)
}

#[test]
fn tiles_workers_and_sizes_do_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    for size in ["641x359", "96x64"] {
        let mut first: Option<Vec<u8>> = None;
        for (tile, workers) in [(0, 1), (8, 2), (64, 2), (512, 1), (64, 4)] {
            let name = format!("{size}-{tile}-{workers}-#.exr");
            let options =
                format!("--frames 5 --size {size} --samples 1 --tile {tile} --local {workers}");
            let summary = run(dir.path(), &name, &options);
            assert_eq!(summary["frames_done"], 1);
            assert_eq!(summary["tiles_accepted"], summary["tiles_total"]);
            let bytes = std::fs::read(dir.path().join(name.replace('#', "5"))).unwrap();
            match &first {
                None => first = Some(bytes),
                Some(first) => assert!(
                    *first == bytes,
                    "{size}, tiles of {tile}, {workers} workers"
                ),
            }
        }
    }
}

#[test]
fn every_provider_is_paid_for_what_was_accepted_and_scenes_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let options = "--frames 1-3 --size 64x64 --samples 1 --tile 32 --local 2";
    let first = run(dir.path(), "a####.png", options);
    assert_eq!(first["outcome"], "done");
    let paid = |summary: &serde_json::Value| {
        let rows = summary["workers"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| {
                row["glm"]
                    .as_str()
                    .unwrap()
                    .parse::<protocol::Glm>()
                    .unwrap()
            })
            .sum::<protocol::Glm>()
    };
    assert!(paid(&first) > protocol::Glm::ZERO);
    assert_eq!(paid(&first).to_string(), first["glm"].as_str().unwrap());
    let scene_bytes = first["scene_bytes"].as_u64().unwrap();
    assert!(first["bytes_sent"].as_u64().unwrap() < scene_bytes / 10);
    // The requestor's blob and those of both workers are one file.
    let inode = |store: &str| {
        let blobs = std::fs::read_dir(dir.path().join(store).join("blobs")).unwrap();
        let mut files = blobs.map(|blob| blob.unwrap().metadata().unwrap());
        files.find(|file| file.len() == scene_bytes).unwrap().ino()
    };
    assert!(inode("workers/1") == inode("") && inode("workers/2") == inode(""));
    let second = run(dir.path(), "b####.png", options);
    assert_eq!(
        second["bytes_sent"], 0,
        "the workers have the scene already"
    );
    for frame in 1..=3 {
        let read = |letter: &str| {
            std::fs::read(dir.path().join(format!("{letter}{frame:04}.png"))).unwrap()
        };
        assert!(read("a") == read("b"), "frame {frame}");
    }
}

#[test]
fn a_killed_worker_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = "--frames 1-6 --size 128x96 --samples 8 --tile 64 --local 3";
    let mut job = job_command(dir.path(), &scene("reading_room.glb"), "####.png", options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(job.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("frame"), "{first}");
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", job.id())).unwrap();
    let mut workers: Vec<&str> = children.split_whitespace().collect();
    // Children may be started by any thread of the process.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", job.id())).unwrap();
    let all: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect();
    workers.extend(all.iter().flat_map(|list| list.split_whitespace()));
    let victim = workers.first().expect("the job has workers");
    assert!(
        std::process::Command::new("kill")
            .args(["-9", victim])
            .status()
            .unwrap()
            .success()
    );
    let last = lines.map_while(Result::ok).last().unwrap();
    assert!(job.wait().unwrap().success(), "{last}");
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["frames_done"], 6);
    assert!((1..=6).all(|frame| dir.path().join(format!("{frame:04}.png")).is_file()));
    let tiles: u64 = summary["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["tiles"].as_u64().unwrap())
        .sum();
    assert_eq!(tiles, summary["tiles_total"].as_u64().unwrap());
}

#[test]
fn a_spent_budget_stops_the_job_and_keeps_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let options = "--frames 1-4 --size 64x64 --samples 1 --budget 0.000000000000000001";
    let output = job(dir.path(), &scene("reading_room.glb"), "####.png", options);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert_eq!(summary(&output)["glm"], "0");
}

#[test]
fn a_passed_deadline_stops_the_job_which_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let room = scene("reading_room.glb");
    let options = "--frames 1-4 --size 64x64 --samples 1";
    let hurried = format!("{options} --deadline 1ms");
    let output = job(dir.path(), &room, "####.png", &hurried);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert_eq!(summary(&output)["outcome"], "deadline_passed");
    assert!(words(&output).contains("no time for the rest, about "));
    let output = job(dir.path(), &room, "####.png", options);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(summary(&output)["frames_done"], 4);
}

#[test]
fn bad_input_gets_one_line_and_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let room = scene("reading_room.glb");
    let room = room.to_str().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = std::fs::read(room).unwrap();
    let truncated = write("truncated.glb", &whole[..whole.len() / 2]);
    let garbage = write("garbage.glb", b"this is not a scene at all");
    let text = write("notes.txt", b"hello");
    let blend = write("broken.blend", b"BLENDER-v300 and then nothing");
    let out = dir.path().join("####.png");
    let out = out.to_str().unwrap();
    let unwritable = write("file", b"");
    let unwritable = format!("{unwritable}/####.png");
    let cases: &[(&[&str], i32)] = &[
        (&["nothing-here.glb", "-o", out], 4),
        (&[&text, "-o", out], 4),
        (&[&truncated, "-o", out], 4),
        (&[&garbage, "-o", out], 4),
        (&[room, "-o", out, "--size", "100000x100000"], 2),
        (&[room, "-o", out, "--frames", ""], 2),
        (&[room, "-o", out, "--frames", "1-x"], 2),
        (&[room, "-o", "frames.avi"], 2),
        (&[room, "-o", &unwritable], 4),
        (&[&blend, "-o", out, "--blender", "/nonexistent/blender"], 4),
    ];
    for (arguments, code) in cases {
        let output = render(dir.path(), arguments);
        let words = words(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {words}");
        assert_eq!(words.matches("error:").count(), 1, "{arguments:?}: {words}");
        assert!(!words.contains("panicked"), "{words}");
    }
}

#[test]
fn workers_in_two_network_namespaces_serve_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut job = std::process::Command::new("unshare");
    if !is_root {
        job.args(["--user", "--map-root-user"]);
    }
    let output = job
        .args(["--net", "bash"])
        .arg(tests::root().join("tests/namespaces.sh"))
        .arg(tests::render_program())
        .arg(scene("orrery.glb"))
        .arg(dir.path())
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{}", words(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let summaries: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [addressed, found] = summaries.as_slice() else {
        panic!("{}", words(&output));
    };
    let idle = |summary: &serde_json::Value| {
        assert_eq!(summary["frames_done"], 4, "{summary}");
        let rows = summary["workers"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["state"] == "idle"), "{summary}");
        rows.len()
    };
    assert_eq!(idle(addressed), 2, "{addressed}");
    // The second may be found after the first has done all.
    assert!((1..=2).contains(&idle(found)), "{found}");
}

#[test]
fn a_full_disk_fails_the_frame_and_leaves_no_part_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (room, out) = (scene("reading_room.glb"), dir.path().join("full"));
    std::fs::create_dir(&out).unwrap();
    // A folder of 64 KiB: far less than one frame.
    let script = format!(
        "mount -t tmpfs -o size=64k none {0} && {1} {2} -o {0}/####.exr --json --frames 1-2 --size 256x256 \
         --samples 1 --local 1 --data-dir {3}; code=$?; ls {0}; exit $code",
        out.display(),
        tests::render_program().display(),
        room.display(),
        dir.path().display(),
    );
    let output = without_root(&script);
    let words = words(&output);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("error: frames 1-2 failed"), "{words}");
    assert!(!words.contains(".part\n"), "{words}");
}

#[test]
fn a_journal_that_cannot_grow_ends_the_run_and_the_job_goes_on_when_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let (room, jobs) = (scene("reading_room.glb"), dir.path().join("jobs"));
    std::fs::create_dir(&jobs).unwrap();
    // Room for a new journal, and not for all that happens in this job.
    let script = format!(
        "mount -t tmpfs -o size=128k none {jobs} && {render} {room} -o {dir}/####.exr --json --frames 1-2 --size 256x256 \
         --samples 1 --tile 16 --local 1 --data-dir {dir}; code=$?; mount -o remount,size=64m {jobs}; \
         {render} resume $(basename {jobs}/*) --json --data-dir {dir} || exit 1; exit $code",
        jobs = jobs.display(),
        render = tests::render_program().display(),
        room = room.display(),
        dir = dir.path().display(),
    );
    let output = without_root(&script);
    let words = words(&output);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(
        words.contains("error: the journal of the job cannot be written"),
        "{words}"
    );
    assert_eq!(summary(&output)["outcome"], "done", "{words}");
    assert!((1..=2).all(|frame| dir.path().join(format!("{frame:04}.exr")).is_file()));
}

/// A script in a namespace of its own, where it may mount.
fn without_root(script: &str) -> std::process::Output {
    std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "bash", "-c", script])
        .output()
        .expect("unshare starts")
}
