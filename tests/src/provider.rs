//! A provider of the end-to-end tests.

use crate::render_program;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A provider in a process of its own, which tells in its log what it does.
pub struct Provider {
    process: Child,
    /// Where it listens.
    pub address: String,
    log: PathBuf,
}

impl Provider {
    /// Starts one that keeps its data below `folder`.
    pub fn start(folder: &Path) -> Self {
        let log = folder.join("worker.log");
        let mut process = Command::new(render_program())
            .args(["worker", "--json", "--engine", "tracer", "--threads", "1"])
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"])
            .arg(folder.join("provider"))
            .env("RUST_LOG", "render_worker=info")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("its log can be written"))
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("its output is piped"));
        let read = stdout.read_line(&mut line);
        read.expect("it says where it is");
        let greeting: serde_json::Value = serde_json::from_str(&line).expect("as JSON");
        let address = greeting["addresses"][0].as_str();
        Self {
            process,
            address: address.expect("it has an address").to_owned(),
            log,
        }
    }

    /// The tasks of which the log says this, in its order.
    pub fn tasks(&self, what: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).expect("its log is there");
        let said = format!(": {what} ");
        let whole_lines = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let lines = whole_lines.lines().filter(|line| line.contains(&said));
        let task = |line: &str| line.rsplit_once("task=").map(|(_, task)| task.to_owned());
        lines.filter_map(task).collect()
    }

    /// Waits until something has happened.
    pub fn wait(&mut self, until: impl Fn(&Self) -> bool) {
        while !until(self) {
            let ended = self.process.try_wait();
            assert!(ended.expect("it can be asked").is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
