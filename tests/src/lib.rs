//! Helpers of the end-to-end tests: the programs under test, built once, and folders of their own for each test. And the
//! simulated render farm, and the study of determinism classes.

pub mod classes;
pub mod provider;
pub mod simulator;
pub mod strata;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A scene of ours.
pub fn scene(name: &str) -> PathBuf {
    root().join("scenes").join(name)
}

/// The `render` program of this source tree, built if it is not yet.
pub fn render_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--workspace", "--bins"]);
        build.current_dir(root());
        // What cargo tells this test about its package would make dependencies that look at it build again, each time.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        let built = build.status().expect("cargo starts");
        assert!(built.success(), "the programs do not build");
        // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.ancestors().nth(2).expect("tests lie in deps");
        profile.join("render")
    })
}

/// A run of `render SCENE -o FOLDER/PATTERN --json` with more options, separated by spaces; it keeps its data in the
/// folder of the frames.
pub fn job(folder: &Path, scene: &Path, pattern: &str, options: &str) -> Output {
    job_command(folder, scene, pattern, options)
        .output()
        .expect("render starts")
}

/// The same, not yet started.
pub fn job_command(folder: &Path, scene: &Path, pattern: &str, options: &str) -> Command {
    let mut job = command(folder, &[]);
    job.arg(scene).arg("-o").arg(folder.join(pattern));
    job.arg("--json").args(options.split_whitespace());
    job
}

/// A run of `render` with its own data folder.
pub fn render(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments).output().expect("render starts")
}

/// The same, not yet started.
pub fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(render_program());
    command.args(arguments).arg("--data-dir").arg(data);
    command
}

/// Standard output and error, for messages of assertions.
pub fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

/// The last line that `render --json` printed: the summary.
pub fn summary(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("no summary in {}", words(output)))
}
