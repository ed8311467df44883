//! Where the files of a scene lie in its bundle: those of its own folder as they are, others in numbered folders beside
//! them, so that no folder of this computer is named to strangers.

use blend::{Dependency, DependencyKind, NamedPath};
use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// Folder of the bundle for what lies elsewhere.
const OUTSIDE: &str = "outside";

/// Where folders of this computer lie in a bundle.
pub struct Layout {
    /// The scene's.
    folder: PathBuf,
    /// Others that hold needed files; none lies in another.
    others: Vec<PathBuf>,
    /// The bundle's folder of these.
    outside: String,
}

impl Layout {
    /// For a scene in this folder that needs these files.
    pub fn new(folder: &Path, dependencies: &[Dependency]) -> Self {
        let files = dependencies.iter().flat_map(|needed| &needed.files);
        let taken: BTreeSet<String> = files
            .filter_map(|file| file.strip_prefix(folder).ok()?.iter().next())
            .map(|first| first.to_string_lossy().to_lowercase())
            .collect();
        let mut outside = OUTSIDE.to_owned();
        while taken.contains(&outside) {
            outside.push('_');
        }
        let others: BTreeSet<&Path> = dependencies
            .iter()
            .flat_map(|needed| needed.files.iter().map(move |file| (needed, file)))
            .filter(|(_, file)| !file.starts_with(folder))
            .filter_map(|(needed, file)| match needed.kind {
                DependencyKind::Bake => Some(needed.file.as_path()),
                _ => file.parent(),
            })
            .collect();
        let is_within = |path: &Path| others.iter().any(|o| *o != path && path.starts_with(o));
        let others = others.iter().filter(|path| !is_within(path));
        Self {
            folder: folder.to_owned(),
            others: others.map(|path| path.to_path_buf()).collect(),
            outside,
        }
    }

    /// Where a file or folder lies in the bundle; none for what is in no folder of it.
    pub fn place(&self, path: &Path) -> Option<PathBuf> {
        if let Ok(inside) = path.strip_prefix(&self.folder) {
            return Some(inside.to_owned());
        }
        let within = |(index, other): (usize, &PathBuf)| {
            let rest = path.strip_prefix(other).ok()?;
            let number = (index + 1).to_string();
            Some(Path::new(&self.outside).join(number).join(rest))
        };
        self.others.iter().enumerate().find_map(within)
    }

    /// What a path has to be in the bundle; none where it is right as it stands.
    pub fn path_in_bundle(&self, named: &NamedPath) -> Option<String> {
        let from = self.place(&named.blend)?;
        let target = self.place(&named.file)?;
        let from = from.parent().unwrap_or(Path::new(""));
        (read_in_bundle(&named.path, from).as_deref() != Some(target.as_path()))
            .then(|| relative(from, &target))
    }
}

/// What a path that stands in a file of this folder of a bundle means there; none for what is not of the bundle.
fn read_in_bundle(path: &str, folder: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix("//")?.replace('\\', "/");
    let mut place = folder.to_owned();
    for part in Path::new(&rest).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !place.pop() {
                    return None;
                }
            }
            Component::Normal(name) => place.push(name),
            _ => return None,
        }
    }
    Some(place)
}

/// As Blender writes a path that is relative to the folder of its file.
fn relative(folder: &Path, target: &Path) -> String {
    let parts = |path: &Path| -> Vec<String> {
        let names = path.iter().map(|part| part.to_string_lossy().into_owned());
        names.collect()
    };
    let (folder, target) = (parts(folder), parts(target));
    let common = folder.iter().zip(&target).take_while(|(a, b)| a == b);
    let common = common.count();
    let up = folder[common..].iter().map(|_| "..");
    let down = target[common..].iter().map(String::as_str);
    format!("//{}", up.chain(down).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_file_to_file_within_the_bundle() {
        let from = |folder: &str, target: &str| relative(Path::new(folder), Path::new(target));
        assert_eq!(from("", "maps/a.png"), "//maps/a.png");
        assert_eq!(from("outside/1", "outside/2/a.png"), "//../2/a.png");
        assert_eq!(from("props/old", "a.png"), "//../../a.png");
        let read = |path: &str, folder: &str| read_in_bundle(path, Path::new(folder));
        assert_eq!(read("//..\\a.png", "props"), Some("a.png".into()));
        assert_eq!(read("//./b/../a.png", ""), Some("a.png".into()));
        assert_eq!(read("//../a.png", ""), None);
        assert_eq!(read("/maps/a.png", ""), None);
    }
}
