//! Files with secrets: made complete or not at all, for their owner only, and never over another file.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};
use zeroize::Zeroizing;

/// Makes the file beside its place and moves it there in one step.
///
/// # Errors
/// `AlreadyExists` when there is a file: it stays as it is.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    // On Unix a new temporary file has mode 600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let placed = file.persist_noclobber(path);
    // Without this a power cut can lose the name, and with it the money sent to the address meanwhile.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    placed.map(drop).map_err(|e| e.error)
}

/// At most so many bytes of the file.
pub(crate) fn read(file: impl Read, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // All of it at once: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(bytes_max).unwrap_or(usize::MAX)]);
    let mut file = file.take(bytes_max);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// The permission bits, if others than the owner can reach the file.
#[cfg(unix)]
pub(crate) fn loose_mode(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Other systems have no such bits.
#[cfg(not(unix))]
pub(crate) fn loose_mode(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}
