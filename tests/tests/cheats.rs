//! Cheating workers against a real job: each must be caught, quarantined and unpaid, and the frames must be right.
//!
//! A cheat is a real worker whose engine returns something else than what was asked. Two honest workers stand beside
//! it, all three unknown to the requestor.

use engine::{CancelFlag, Engine, EngineError, SceneDescription, TracerEngine};
use network::Identity;
use protocol::{Address, EngineKind, Glm, Rect, RenderSettings, RenderedRect};
use render_worker::{Started, WorkerConfig, serve};
use std::path::Path;
use tests::{render, scene, summary, words};
use tokio::sync::oneshot;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Conduct {
    Honest,
    Black,
    PreviousFrame,
    Shifted,
    RimOnly,
}

struct Cheat {
    honest: TracerEngine,
    conduct: Conduct,
}

/// Calibrations are rendered honestly, as a cheat would: nobody works with a stranger's class.
const CALIBRATION_AREA: u64 = 64 * 64;

impl Engine for Cheat {
    fn prepare(&mut self, bundle: &Path, entry: &str) -> Result<SceneDescription, EngineError> {
        self.honest.prepare(bundle, entry)
    }

    fn render(
        &mut self,
        settings: &RenderSettings,
        frame: i32,
        rects: &[Rect],
        cancel: &CancelFlag,
    ) -> Result<Vec<RenderedRect>, EngineError> {
        let is_calibration = rects.len() == 1 && rects[0].area() <= CALIBRATION_AREA;
        if self.conduct == Conduct::Honest || is_calibration {
            return self.honest.render(settings, frame, rects, cancel);
        }
        let shown = if self.conduct == Conduct::PreviousFrame {
            frame - 1
        } else {
            frame
        };
        let mut rendered = self.honest.render(settings, shown, rects, cancel)?;
        for rect in &mut rendered {
            let (width, height) = (rect.rect.width as usize, rect.rect.height as usize);
            for (_, plane) in &mut rect.planes {
                match self.conduct {
                    Conduct::Black => plane.fill([0.0, 0.0, 0.0, 1.0]),
                    Conduct::Shifted => plane.rotate_right(1),
                    Conduct::RimOnly => {
                        for y in 8..height.saturating_sub(16) {
                            for x in 8..width.saturating_sub(16) {
                                plane[y * width + x] = [0.5, 0.5, 0.5, 1.0];
                            }
                        }
                    }
                    Conduct::Honest | Conduct::PreviousFrame => {}
                }
            }
        }
        Ok(rendered)
    }

    fn build(&self) -> String {
        self.honest.build()
    }
}

/// Starts a worker in this process; it ends with the runtime.
async fn start(conduct: Conduct, dir: &Path, number: u8) -> Started {
    let (started, starting) = oneshot::channel();
    let config = WorkerConfig {
        identity: Identity::generate(),
        payee: Address([number; 20]),
        data_dir: dir.join(format!("worker{number}")),
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
        peers: Vec::new(),
        mdns: false,
        engines: vec![EngineKind::Tracer],
        price_megasample: Glm::from_wei(1_000_000_000_000),
        serve_only: Vec::new(),
        about: "test".into(),
        started: Some(started),
    };
    tokio::spawn(serve(
        config,
        move |_| {
            Ok(Box::new(Cheat {
                honest: TracerEngine::new(),
                conduct,
            }) as Box<dyn Engine>)
        },
        std::future::pending(),
    ));
    starting.await.expect("the worker starts")
}

fn frames(dir: &Path, name: &str, more: &[&str]) -> serde_json::Value {
    let (room, out) = (
        scene("reading_room.glb"),
        dir.join(format!("{name}-####.exr")),
    );
    let mut arguments = vec![
        room.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--json",
    ];
    arguments.extend([
        "--frames",
        "2-4",
        "--size",
        "256x256",
        "--samples",
        "1",
        "--tile",
        "128",
    ]);
    arguments.extend(more);
    let output = render(&dir.join("requestor"), &arguments);
    assert!(output.status.success(), "{name}: {}", words(&output));
    summary(&output)
}

#[test]
fn cheats_are_caught_quarantined_and_unpaid_and_the_frames_are_right() {
    let dir = tempfile::tempdir().unwrap();
    frames(dir.path(), "reference", &["--local", "1"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut number = 0;
    for conduct in [
        Conduct::Black,
        Conduct::PreviousFrame,
        Conduct::Shifted,
        Conduct::RimOnly,
    ] {
        let workers: Vec<Started> = [conduct, Conduct::Honest, Conduct::Honest]
            .into_iter()
            .map(|conduct| {
                number += 1;
                runtime.block_on(start(conduct, dir.path(), number))
            })
            .collect();
        let peers: Vec<&str> = workers
            .iter()
            .flat_map(|worker| ["--peer", worker.addresses[0].as_str()])
            .collect();
        let name = format!("{conduct:?}");
        let summary = frames(dir.path(), &name, &peers);
        let row = |started: &Started| {
            let rows = summary["workers"].as_array().unwrap();
            let id = started.node.to_string();
            rows.iter()
                .find(|row| row["worker"] == id.as_str())
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            row(&workers[0])["state"],
            "quarantined",
            "{name}: {summary}"
        );
        assert_eq!(row(&workers[0])["tiles"], 0, "{name}: {summary}");
        for honest in &workers[1..] {
            assert_ne!(row(honest)["state"], "quarantined", "{name}: {summary}");
        }
        assert!(summary["checks_failed"].as_u64().unwrap() > 0);
        for frame in 2..=4 {
            let read = |name: &str| {
                std::fs::read(dir.path().join(format!("{name}-{frame:04}.exr"))).unwrap()
            };
            assert!(read(&name) == read("reference"), "{name}, frame {frame}");
        }
    }
}
