//! The environment of programs that we start: where programs and libraries lie, private folders, and nothing else of ours.

use std::{env, path::Path, process::Command};

const KEPT_VARIABLES: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SystemRoot",
    "SYSTEMROOT",
];
const FOLDER_VARIABLES: [&str; 7] = [
    "HOME",
    "TMPDIR",
    "TEMP",
    "TMP",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "USERPROFILE",
];

/// A command whose private folders are all `home`.
pub(crate) fn isolated(program: &Path, home: &Path) -> Command {
    let kept = KEPT_VARIABLES
        .iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(kept)
        .envs(FOLDER_VARIABLES.map(|name| (name, home)));
    command
}
