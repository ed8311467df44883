//! What linked libraries need: the files of those of their datablocks that the scene reaches, and so on through the
//! libraries that they link.

use crate::{
    BlendError, Dependency, DependencyKind, FrozenDriver, Simulation, State,
    blocks::Blend,
    dependencies::{self, Found, LIBRARY_ARCHIVE},
    drivers, limits, paths, simulations,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

/// Names of datablocks, with the letters of their kinds, that are linked from each library.
type Wanted = BTreeMap<PathBuf, BTreeSet<String>>;

/// What is used of a library.
struct Used {
    found: Found,
    drivers: Vec<FrozenDriver>,
    simulations: Vec<Simulation>,
    /// What it links from others.
    linked: Wanted,
}

/// What moves in libraries.
#[derive(Default)]
pub(crate) struct Moving {
    pub drivers: Vec<FrozenDriver>,
    pub simulations: Vec<Simulation>,
}

/// Adds to what the scene itself needs what its libraries need, and gives what moves in them.
///
/// # Errors
/// When the libraries link each other without end.
pub(crate) fn add(blend: &Blend, file: &Path, found: &mut Found) -> Result<Moving, BlendError> {
    let mut moving = Moving::default();
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
        match used_of(&library, known) {
            Ok(used) => {
                add_needed(&mut found.dependencies, &library, used.found.dependencies);
                let new = used.found.paths.into_iter();
                let new: Vec<_> = new.filter(|path| !found.paths.contains(path)).collect();
                found.paths.extend(new);
                moving.add(used.drivers, used.simulations);
                for (path, names) in used.linked {
                    waiting.entry(path).or_default().extend(names);
                }
            }
            Err(error) => set_unreadable(&mut found.dependencies, &library, &error),
        }
    }
    Ok(moving)
}

impl Moving {
    /// A library may be opened again for more of it.
    fn add(&mut self, drivers: Vec<FrozenDriver>, simulations: Vec<Simulation>) {
        let new: Vec<_> = drivers
            .into_iter()
            .filter(|driver| !self.drivers.contains(driver))
            .collect();
        self.drivers.extend(new);
        let new: Vec<_> = simulations
            .into_iter()
            .filter(|simulation| !self.simulations.contains(simulation))
            .collect();
        self.simulations.extend(new);
    }
}

/// What these datablocks of a library need and do, and what they link from others.
fn used_of(library: &Path, names: &BTreeSet<String>) -> Result<Used, BlendError> {
    let blend = Blend::read(File::open(library).map_err(BlendError::Io)?)?;
    let is_named = |view: &View<'_>| view.full_name().is_some_and(|name| names.contains(&name));
    let roots = blend.datablocks().filter(is_named);
    let reached = blend.reachable(roots.map(|view| view.datablock()));
    let placeholders = blend
        .datablocks()
        .filter(|view| reached.contains(&view.datablock()));
    let further = linked(placeholders, library);
    let folder = library.parent().unwrap_or(Path::new(""));
    // Blender opens no library of which nothing is reached.
    let is_used = |view: &View<'_>| {
        let path = view.text("name");
        path.is_some_and(|path| further.contains_key(&paths::resolve(&path, folder)))
    };
    let libraries = blend.of_code(*b"LI").filter(is_used);
    let mut wanted = reached.clone();
    wanted.retain(|number| {
        let view = blend.datablock(*number);
        view.is_none_or(|view| view.struct_name() != "Library")
    });
    wanted.extend(libraries.map(|view| view.datablock()));
    let objects = blend.of_code(*b"OB");
    let objects = objects.filter(|o| !o.is_linked() && reached.contains(&o.datablock()));
    let objects: Vec<View<'_>> = objects.collect();
    Ok(Used {
        found: dependencies::of(&blend, library, Some(&wanted)),
        drivers: drivers::frozen(&blend, Some(&reached)),
        simulations: simulations::of_objects(&objects, library),
        linked: further,
    })
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
