//! A job that is stopped, killed or asked for again goes on where it was: the same frames, nothing paid twice.

use payment::{EmbeddedLedger, Ledger};
use protocol::{Address, Glm};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tests::{job, job_command, provider::Provider, render, render_program, scene, summary, words};

const OPTIONS: &str = "--frames 1-6 --size 320x192 --samples 8 --tile 96 --local 2";
/// Kills in a run; `RENDER_TEST_KILLS` asks for more.
const KILLS: u64 = 10;

fn frames(folder: &Path) -> Vec<Vec<u8>> {
    let read = |frame| std::fs::read(folder.join(format!("{frame:04}.exr"))).unwrap();
    (1..=6).map(read).collect()
}

/// What the local workers hold vouchers for, and what is on their accounts.
fn earned(folder: &Path) -> (Glm, Glm) {
    let ledger = EmbeddedLedger::open(folder.join("ledger.redb")).unwrap();
    assert!(ledger.totals().unwrap().is_conserved());
    let earned = |number: u32| {
        let data = folder.join(format!("workers/{number}"));
        let output = Command::new(render_program())
            .args(["worker", "earnings", "--json", "--data-dir"])
            .arg(data)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let earnings: serde_json::Value = serde_json::from_str(&text).unwrap();
        let total = earnings["total"].as_str().unwrap().to_owned();
        let account: Address = earnings["vouchers"][0]["worker"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let balance = ledger.balance(account).unwrap();
        (total.parse::<Glm>().unwrap(), balance)
    };
    let both = [earned(1), earned(2)];
    let sum = |of: fn(&(Glm, Glm)) -> Glm| both.iter().map(of).sum();
    (sum(|(promised, _)| *promised), sum(|(_, balance)| *balance))
}

fn jobs(folder: &Path) -> Vec<serde_json::Value> {
    let output = render(folder, &["jobs", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_killed_job_goes_on_with_the_same_command() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let room = scene("reading_room.glb");
    let output = job(whole.path(), &room, "####.exr", OPTIONS);
    assert!(output.status.success(), "{}", words(&output));
    let kills = std::env::var("RENDER_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    for kill in 0..kills {
        let mut running = job_command(killed.path(), &room, "####.exr", OPTIONS)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Anywhere between the start and a good part of the job.
        std::thread::sleep(Duration::from_millis(50 + kill * 7_919 % 1_300));
        running.kill().unwrap();
        running.wait().unwrap();
    }
    let output = job(killed.path(), &room, "####.exr", OPTIONS);
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    assert_eq!(summary["frames_done"], 6, "{summary}");
    assert!(frames(killed.path()) == frames(whole.path()));
    // A fast computer may be done before the last kill, and then begins anew; no job is left behind in either case.
    let all = jobs(killed.path());
    let is_done = |job: &serde_json::Value| job["status"]["state"] == "done";
    assert!(all.iter().all(is_done), "{all:?}");
    let glm = |job: &serde_json::Value| job["status"]["glm"].as_str().unwrap().parse::<Glm>();
    let spent: Glm = all.iter().map(|job| glm(job).unwrap()).sum();
    let (promised, balance) = earned(killed.path());
    assert_eq!(balance, spent, "{all:?}");
    // A kill between the last payment and its message leaves a worker without a voucher for money that it has.
    assert!(promised <= spent, "{promised}: {all:?}");
}

#[test]
fn a_provider_renders_on_for_a_killed_requestor_and_delivers_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut provider = Provider::start(dir.path());
    let options = format!(
        "--frames 1-2 --size 320x192 --samples 16 --tile 64 --peer {}",
        provider.address
    );
    let room = scene("reading_room.glb");
    let mut running = job_command(dir.path(), &room, "####.exr", &options)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // One task is done and others wait behind it.
    provider.wait(|provider| {
        let done = provider.tasks("committed").len();
        done > 0 && provider.tasks("leased").len() > done + 2
    });
    running.kill().unwrap();
    running.wait().unwrap();
    let before = provider.tasks("committed");
    assert!(provider.tasks("leased").len() > before.len());
    provider.wait(|provider| provider.tasks("committed").len() > before.len());
    let alone = provider.tasks("committed").split_off(before.len());

    let id = jobs(dir.path())[0]["job"].as_str().unwrap().to_owned();
    let output = render(dir.path(), &["resume", &id, "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let summary = summary(&output);
    assert_eq!(summary["frames_done"], 2, "{summary}");
    let accepted = provider.tasks("accepted");
    assert!(
        alone.iter().all(|task| accepted.contains(task)),
        "{alone:?}, {accepted:?}"
    );
    // No tile was rendered twice.
    let rendered = provider.tasks("committed").len() as u64;
    assert_eq!(summary["tiles_total"], rendered, "{summary}");
}

#[test]
fn jobs_are_listed_paused_resumed_rendered_again_cancelled_and_cleaned() {
    let dir = tempfile::tempdir().unwrap();
    let room = scene("reading_room.glb");
    let slow = "--frames 1-6 --size 640x360 --samples 32 --tile 64 --local 1";
    let running = job_command(dir.path(), &room, "####.exr", slow)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = loop {
        let all = jobs(dir.path());
        if let Some(job) = all.iter().find(|job| job["status"].is_object()) {
            assert_eq!(job["status"]["state"], "running");
            break job["job"].as_str().unwrap().to_owned();
        }
        std::thread::yield_now();
    };
    let again = job(dir.path(), &room, "####.exr", slow);
    assert_eq!(again.status.code(), Some(4), "{}", words(&again));
    let paused = render(dir.path(), &["pause", &id[..6]]);
    assert!(paused.status.success(), "{}", words(&paused));
    let stopped = running.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", words(&stopped));
    assert_eq!(jobs(dir.path())[0]["status"]["state"], "paused");
    let nothing = render(dir.path(), &["pause", &id]);
    assert_eq!(nothing.status.code(), Some(2), "{}", words(&nothing));
    let cancelled = render(dir.path(), &["cancel", &id]);
    assert!(cancelled.status.success(), "{}", words(&cancelled));
    assert_eq!(jobs(dir.path())[0]["status"]["state"], "cancelled");

    let output = job(dir.path(), &room, "####.exr", OPTIONS);
    assert!(output.status.success(), "{}", words(&output));
    let first = summary(&output);
    let before = frames(dir.path());
    let id = first["job"].as_str().unwrap();
    std::fs::write(dir.path().join("0003.exr"), b"scratched").unwrap();
    std::fs::remove_file(dir.path().join("0005.exr")).unwrap();
    let output = render(dir.path(), &["again", id, "--frames", "3", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(frames(dir.path()) == before);
    let glm = |summary: &serde_json::Value| summary["glm"].as_str().unwrap().parse::<Glm>();
    let (paid, paid_again) = (glm(&first).unwrap(), glm(&summary(&output)).unwrap());
    assert!(paid_again > paid);
    let cleaned = render(dir.path(), &["clean"]);
    assert!(cleaned.status.success(), "{}", words(&cleaned));
    assert!(jobs(dir.path()).is_empty());
    let unknown = render(dir.path(), &["status", "abc"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", words(&unknown));
}

#[test]
fn a_changed_scene_is_not_mixed_into_a_begun_job() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("room.glb");
    std::fs::copy(scene("reading_room.glb"), &own).unwrap();
    // Nobody can be paid: the job stops at once and can be resumed.
    let options = "--frames 1 --size 64x64 --samples 1 --budget 0.000000000000000001";
    let output = job(dir.path(), &own, "####.png", options);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    let id = summary(&output)["job"].as_str().unwrap().to_owned();
    std::fs::copy(scene("orrery.glb"), &own).unwrap();
    let output = render(dir.path(), &["resume", &id, "--budget", "1"]);
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    std::fs::copy(scene("reading_room.glb"), &own).unwrap();
    let output = render(dir.path(), &["resume", &id, "--budget", "1", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(summary(&output)["frames_done"], 1);
}
