//! A file that does not have its final name yet and vanishes unless it gets one.

use super::{Inner, StoreError};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

/// An unfinished file; removed when dropped.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Part {
    /// A new empty file in the folder of the store.
    pub fn create(store: &Inner) -> Result<Self, StoreError> {
        let number = store.parts.fetch_add(1, Ordering::Relaxed);
        let path = store.folder.join(format!("{number}.part"));
        let mut options = File::options();
        // Also read: what is put together from several sources is hashed when it is whole.
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(|e| StoreError::io(&path, e))?;
        Ok(Self {
            path,
            file,
            renamed: false,
        })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name, in place of what had it before.
    pub fn rename_to(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, path).map_err(|e| StoreError::io(path, e))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished file");
        }
    }
}
