//! A Blender that is killed or cancelled in the middle of a render. In a test program of its own, because the test kills
//! whatever children it has.

#![cfg(target_os = "linux")]

mod support;

use engine::{CancelFlag, Engine, EngineError};
use protocol::{Pass, RenderSettings};
use std::{fs, process::Command, thread, time::Duration};
use support::{blender, rect, render, settings};

/// The processes that this test program started from a thread and that still run.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_killed_blender_is_reported_and_started_again() {
    let blender = blender();
    let scene = blender.scene("plain");
    let (mut engine, description) = blender.engine(&scene);
    let settings = settings(&description, &[Pass::Combined]);
    let expected = render(&mut engine, &settings, 3, rect(320, 160, 64, 64));
    let long = RenderSettings {
        samples: 60_000,
        ..settings.clone()
    };
    let ours = children();
    assert_eq!(ours.len(), 1);
    let running = thread::spawn(move || {
        let result = engine.render(&long, 3, &[long.size.rect()], &CancelFlag::default());
        (engine, result)
    });
    thread::sleep(Duration::from_millis(200));
    for id in ours {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
    }
    let (mut engine, result) = running.join().unwrap();
    assert!(matches!(result, Err(EngineError::Failed(_))), "{result:?}");
    assert_eq!(
        render(&mut engine, &settings, 3, rect(320, 160, 64, 64)),
        expected
    );

    // Cancelling ends a render that would take minutes.
    let cancel = CancelFlag::default();
    let later = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        later.cancel();
    });
    let long = RenderSettings {
        samples: 60_000,
        ..settings.clone()
    };
    let result = engine.render(&long, 3, &[long.size.rect()], &cancel);
    canceller.join().unwrap();
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    assert_eq!(
        render(&mut engine, &settings, 3, rect(320, 160, 64, 64)),
        expected
    );
    engine.prepare(blender.folder.path(), &scene).unwrap();
}
