//! What linked libraries need: the files of those of their datablocks that the scene reaches, and so on through the
//! libraries that they link.

use crate::{
    BlendError, Dependency, DependencyKind, State,
    blocks::Blend,
    dependencies::{self, LIBRARY_ARCHIVE},
    limits, paths,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

/// Names of datablocks, with the letters of their kinds, that are linked from each library.
type Wanted = BTreeMap<PathBuf, BTreeSet<String>>;

/// Adds to the scene's own dependencies those of its libraries.
///
/// # Errors
/// When the libraries link each other without end.
pub(crate) fn add(
    blend: &Blend,
    file: &Path,
    found: &mut Vec<Dependency>,
) -> Result<(), BlendError> {
    let mut waiting = linked(blend.datablocks(), file);
    let mut seen = Wanted::new();
    let mut opened = 0;
    while let Some((library, names)) = waiting.pop_first() {
        let known = seen.entry(library.clone()).or_default();
        let before = known.len();
        known.extend(names);
        if known.len() == before || !library.is_file() {
            continue;
        }
        opened += 1;
        if opened > limits::LIBRARIES_MAX {
            let message = format!("it links more than {} libraries", limits::LIBRARIES_MAX);
            return Err(BlendError::TooLarge(message));
        }
        match needed_of(&library, known) {
            Ok((needed, further)) => {
                add_needed(found, &library, needed);
                for (path, names) in further {
                    waiting.entry(path).or_default().extend(names);
                }
            }
            Err(error) => set_unreadable(found, &library, &error),
        }
    }
    Ok(())
}

/// What these datablocks of a library need, and what they link from others.
fn needed_of(
    library: &Path,
    names: &BTreeSet<String>,
) -> Result<(Vec<Dependency>, Wanted), BlendError> {
    let blend = Blend::read(File::open(library).map_err(BlendError::Io)?)?;
    let is_named = |view: &View<'_>| view.full_name().is_some_and(|name| names.contains(&name));
    let roots = blend.datablocks().filter(is_named);
    let reached = blend.reachable(roots.map(|view| view.datablock()));
    let placeholders = blend
        .datablocks()
        .filter(|view| reached.contains(&view.datablock()));
    let further = linked(placeholders, library);
    let mut needed = dependencies::of(&blend, library, Some(&reached));
    let folder = library.parent().unwrap_or(Path::new(""));
    // Blender opens no library of which nothing is reached.
    let own = blend.of_code(*b"LI").filter_map(|view| {
        let file = paths::resolve(&view.text("name")?, folder);
        further.contains_key(&file).then(|| view.datablock())
    });
    let libraries = own.collect();
    let linked_libraries = dependencies::of(&blend, library, Some(&libraries));
    needed.extend(linked_libraries);
    needed.dedup();
    Ok((needed, further))
}

/// The datablocks among these that come from other files, by those files.
fn linked<'a>(views: impl Iterator<Item = View<'a>>, file: &Path) -> Wanted {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut wanted = Wanted::new();
    for view in views {
        let library = view.library();
        let library = library.filter(|library| !library.has("flag", LIBRARY_ARCHIVE));
        let library = library.and_then(|library| library.text("name"));
        if let (Some(path), Some(name)) = (library, view.full_name()) {
            let names = wanted.entry(paths::resolve(&path, folder)).or_default();
            names.insert(name);
        }
    }
    wanted
}

fn add_needed(found: &mut Vec<Dependency>, library: &Path, needed: Vec<Dependency>) {
    for mut dependency in needed {
        let is_same = |known: &Dependency| {
            (known.kind, &known.file) == (dependency.kind, &dependency.file)
                && known.name == dependency.name
        };
        if !found.iter().any(is_same) {
            dependency.library = Some(library.to_owned());
            found.push(dependency);
        }
    }
}

fn set_unreadable(found: &mut [Dependency], library: &Path, error: &BlendError) {
    let is_it =
        |known: &&mut Dependency| known.kind == DependencyKind::Library && known.file == library;
    for known in found.iter_mut().filter(is_it) {
        known.state = State::Unreadable(error.to_string());
    }
}
