//! Passwords of keystores, and files that hold one.

use crate::private_file;
use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Most bytes read of a password file.
const FILE_BYTES_MAX: u64 = 4096;

/// The password of a keystore: not empty, never printed, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Anybody would guess it.
    #[error("the password is empty: choose one of some length")]
    Empty,
    /// The file cannot be read.
    #[error("cannot read the password file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error(
        "the password file {path} has mode {mode:03o}, so others can reach it: run `chmod 600 {path}`; if others may have read it, choose a new password"
    )]
    LoosePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error(
        "the password file {0} does not hold one line of text: write the password alone into it"
    )]
    NotOneLine(PathBuf),
}

impl Password {
    /// The password as it was typed.
    ///
    /// # Errors
    /// When it is empty.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PasswordError> {
        match text.is_empty() {
            true => Err(PasswordError::Empty),
            false => Ok(Self(text)),
        }
    }

    /// The one line of a file; the line's end does not count.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others (on Unix), or holds anything but a line of text.
    pub fn read_file(path: &Path) -> Result<Self, PasswordError> {
        let file_error = |source| PasswordError::File {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(file_error)?;
        if let Some(mode) = private_file::loose_mode(&file).map_err(file_error)? {
            let path = path.into();
            return Err(PasswordError::LoosePermissions { path, mode });
        }
        let bytes = private_file::read(file, FILE_BYTES_MAX).map_err(file_error)?;
        let line = str::from_utf8(&bytes).ok().map(without_line_end);
        match line.filter(|line| bytes.len() < FILE_BYTES_MAX as usize && !line.contains('\n')) {
            Some(line) => Self::new(Zeroizing::new(line.to_owned())),
            None => Err(PasswordError::NotOneLine(path.into())),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(content: &[u8]) -> Result<Password, PasswordError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        Password::read_file(file.path())
    }

    #[test]
    fn a_password_file_is_one_line() {
        for content in [" a b ", " a b \n", " a b \r\n"] {
            assert_eq!(read(content.as_bytes()).unwrap().as_bytes(), b" a b ");
        }
        for content in ["", "\n", "\r\n"] {
            let error = read(content.as_bytes()).unwrap_err();
            assert!(matches!(error, PasswordError::Empty), "{error}");
        }
        for content in [&b"a\nb\n"[..], b"a\n\n", &[0xff], &[b'a'; 5000]] {
            let error = read(content).unwrap_err();
            assert!(matches!(error, PasswordError::NotOneLine(_)), "{error}");
        }
        let error = Password::read_file(Path::new("/no/such/file")).unwrap_err();
        assert!(matches!(error, PasswordError::File { .. }), "{error}");
    }

    #[test]
    fn a_password_is_not_printed() {
        let password = Password::new("secret".to_owned().into()).unwrap();
        assert_eq!(format!("{password:?}"), "Password");
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_is_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "secret\n").unwrap();
        for loose in [0o640, 0o604, 0o620] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(loose)).unwrap();
            let error = Password::read_file(file.path()).unwrap_err();
            assert!(matches!(error, PasswordError::LoosePermissions { mode, .. } if mode == loose));
        }
    }
}
