//! Paths as they stand in a file, and what is on disk there.

use crate::limits;
use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// What a path in a file means: `//` is the folder of the file; Windows separators are understood everywhere.
pub(crate) fn resolve(path: &str, folder: &Path) -> PathBuf {
    let joined = match path.strip_prefix("//") {
        Some(relative) => folder.join(relative.replace('\\', "/")),
        None if cfg!(windows) => PathBuf::from(path),
        // Blender looks for `C:\maps` in `/c/maps` where there are no drives.
        None => match drive(path) {
            Some((letter, rest)) => {
                let rest = rest.replace('\\', "/");
                PathBuf::from(format!("/{}{rest}", letter.to_ascii_lowercase()))
            }
            None => PathBuf::from(path.replace('\\', "/")),
        },
    };
    normalized(&joined)
}

/// The drive of a Windows path, and what follows the colon.
fn drive(path: &str) -> Option<(char, &str)> {
    let mut characters = path.chars();
    let letter = characters.next().filter(char::is_ascii_alphabetic)?;
    let rest = characters.as_str().strip_prefix(':')?;
    rest.starts_with(['\\', '/']).then_some((letter, rest))
}

/// Does a path begin with a drive or a server, as on Windows?
pub fn is_of_windows(path: &str) -> bool {
    drive(path).is_some() || path.starts_with("\\\\")
}

/// Without `.` and `..`, by the names alone.
pub(crate) fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if result.file_name().is_some() => {
                result.pop();
            }
            // There is nothing above the root.
            Component::ParentDir if result.has_root() => {}
            part => result.push(part),
        }
    }
    result
}

/// The folder beside a scene file that its simulations share.
pub(crate) fn shared_bakes(file: &Path) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_string_lossy();
    Some(file.with_file_name(format!("blendcache_{stem}")))
}

/// The name of a numbered picture: what is before its last number, the number's digits, what follows.
fn numbered(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end].rfind(|c: char| !c.is_ascii_digit());
    let start = start.map_or(0, |at| {
        at + name[at..].chars().next().map_or(1, char::len_utf8)
    });
    Some((&name[..start], &name[start..end], &name[end..]))
}

/// The pattern of a sequence that this path is one picture of: digits become `#`.
pub(crate) fn sequence_pattern(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy());
    match name.as_deref().and_then(numbered) {
        Some((before, digits, after)) => {
            path.with_file_name(format!("{before}{}{after}", "#".repeat(digits.len())))
        }
        None => path.to_owned(),
    }
}

/// The pictures of the sequence that this path is one of, sorted; at most [`limits::FILES_MAX`].
pub(crate) fn sequence(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let Some((before, _, after)) = name.as_deref().and_then(numbered) else {
        return Vec::new();
    };
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else {
        return Vec::new();
    };
    let is_member = |name: &str| {
        let middle = name
            .strip_prefix(before)
            .and_then(|n| n.strip_suffix(after));
        middle.is_some_and(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut members: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_member))
        .map(|entry| entry.path())
        .take(limits::FILES_MAX)
        .collect();
    members.sort();
    members
}

/// Files below a folder, sorted; links are not followed, at most [`limits::FILES_MAX`] files count.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() && folders.len() < limits::FILES_MAX {
                folders.push(entry.path());
            } else if metadata.is_file() && files.len() < limits::FILES_MAX {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file_and_have_either_separator() {
        let folder = Path::new("/shots/one");
        let resolved = |path| resolve(path, folder);
        assert_eq!(resolved("//a/b.png"), Path::new("/shots/one/a/b.png"));
        assert_eq!(
            resolved("//..\\maps\\b.png"),
            Path::new("/shots/maps/b.png")
        );
        assert_eq!(resolved("/maps/./b.png"), Path::new("/maps/b.png"));
        assert_eq!(resolved("//../../../../b"), Path::new("/b"));
    }

    #[cfg(unix)]
    #[test]
    fn drives_are_folders_of_the_root_as_blender_has_them() {
        let resolved = |path| resolve(path, Path::new("/shots"));
        assert_eq!(resolved("C:\\maps\\b.png"), Path::new("/c/maps/b.png"));
        assert_eq!(resolved("d:/b.png"), Path::new("/d/b.png"));
        assert!(is_of_windows("C:\\b.png") && is_of_windows("\\\\server\\b.png"));
        assert!(!is_of_windows("/maps/C:b.png") && !is_of_windows("//maps\\b.png"));
    }

    #[test]
    fn the_last_number_of_a_name_counts() {
        assert_eq!(numbered("a1_0020.png"), Some(("a1_", "0020", ".png")));
        assert_eq!(numbered("é7"), Some(("é", "7", "")));
        assert_eq!(numbered("007"), Some(("", "007", "")));
        assert_eq!(numbered("still.png"), None);
        let pattern = sequence_pattern(Path::new("/s/a1_0020.png"));
        assert_eq!(pattern, Path::new("/s/a1_####.png"));
    }
}
