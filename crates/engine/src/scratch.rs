//! Folders that a process works in and that go with it, even if it is killed: the next process that makes one removes those
//! whose owner is gone.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Once,
};
use tempfile::TempDir;

/// What all folders' names begin with.
const PREFIX: &str = "render-";
/// Locked as long as the folder's owner lives. One without it is not ours, or not complete yet.
const LOCK: &str = ".owned";

/// A temporary folder; removed when dropped, or by another process once this one is dead.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a folder; `kind` is for whoever looks at the names. The first one of a process removes those of dead processes.
    pub(crate) fn new(kind: &str) -> io::Result<Self> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| sweep(&std::env::temp_dir()));
        Self::in_folder(&std::env::temp_dir(), kind)
    }

    fn in_folder(parent: &Path, kind: &str) -> io::Result<Self> {
        let prefix = format!("{PREFIX}{kind}-");
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)?;
        // Locked before it has its name: nobody finds it without.
        let made = folder.path().join("owned.new");
        let lock = File::create(&made)?;
        lock.lock()?;
        fs::rename(made, folder.path().join(LOCK))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what dead processes have left. What cannot be looked at or removed stays: it may be somebody else's.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let lock = File::options().write(true).open(entry.path().join(LOCK));
        if let (true, Ok(lock)) = (is_ours, lock)
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let live = Scratch::in_folder(parent.path(), "live").unwrap();
        let dead = Scratch::in_folder(parent.path(), "dead").unwrap();
        fs::write(dead.path().join("frame.raw"), b"pixels").unwrap();
        // A process that is killed removes nothing and holds no lock any more.
        let Scratch { folder, _lock } = dead;
        drop(_lock);
        let dead = folder.keep();
        let others = [
            parent.path().join("render-notes"),
            parent.path().join("else"),
        ];
        for other in &others {
            fs::create_dir(other).unwrap();
        }
        fs::write(others[1].join(LOCK), b"").unwrap();
        sweep(parent.path());
        assert!(!dead.exists());
        assert!(live.path().exists() && others.iter().all(|other| other.exists()));
        let path = live.path().to_owned();
        drop(live);
        assert!(!path.exists());
    }
}
