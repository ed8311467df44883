//! A file in short: what it renders and what it needs.

use crate::{
    BlendError, Compression, Dependency, FrozenDriver, NamedPath, SceneSummary, Simulation,
    Version, blocks::Blend, dependencies, drivers, header, linked, scene, source::Source,
    view::View,
};
use serde::Serialize;
use std::{fs::File, path::Path};

/// Texts that Blender runs as it opens a file, when it is allowed to.
const TEXT_RUNS_ON_OPENING: i64 = 1 << 4;

/// What a `.blend` file renders, and what it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The Blender that wrote it.
    pub version: Version,
    /// How the file is packed.
    pub compression: Compression,
    /// The scene that renders unless another is asked for.
    pub active_scene: String,
    /// All scenes of the file itself.
    pub scenes: Vec<SceneSummary>,
    /// Files that it needs, packed ones among them.
    pub dependencies: Vec<Dependency>,
    /// Paths of files that are not packed, in the scene and in the libraries that it links.
    #[serde(skip)]
    pub paths: Vec<NamedPath>,
    /// Simulations of objects in linked libraries.
    pub linked_simulations: Vec<Simulation>,
    /// Properties that stand still, because only Python can work their drivers out.
    pub drivers: Vec<FrozenDriver>,
    /// Texts that want to run as scripts when the file is opened.
    pub scripts: Vec<String>,
}

impl Summary {
    /// The scene that renders unless another is asked for.
    pub fn active(&self) -> Option<&SceneSummary> {
        self.scene(&self.active_scene)
    }

    /// The scene of this name.
    pub fn scene(&self, name: &str) -> Option<&SceneSummary> {
        self.scenes.iter().find(|scene| scene.name == name)
    }
}

/// Reads a scene file, and looks which of the files that it needs are there.
///
/// # Errors
/// When it cannot be read, is no `.blend` file of a version that is known, or is damaged.
pub fn read(path: &Path) -> Result<Summary, BlendError> {
    let path = std::path::absolute(path).map_err(BlendError::Io)?;
    let blend = Blend::read(File::open(&path).map_err(BlendError::Io)?)?;
    let mut found = dependencies::of(&blend, &path, None);
    let moving = linked::add(&blend, &path, &mut found)?;
    let mut drivers = drivers::frozen(&blend, None);
    drivers.extend(moving.drivers);
    let summary = Summary {
        version: blend.version,
        compression: blend.compression,
        active_scene: active_scene(&blend)?,
        scenes: scenes(&blend, &path)?,
        dependencies: found.dependencies,
        paths: found.paths,
        drivers,
        linked_simulations: moving.simulations,
        scripts: scripts(&blend),
    };
    match blend.has_endless_list() {
        true => Err(BlendError::damaged("its lists do not end")),
        false => Ok(summary),
    }
}

/// Which Blender wrote a scene file, from its first bytes alone.
///
/// # Errors
/// When it cannot be read or is no `.blend` file of a version that is known.
pub fn version(path: &Path) -> Result<Version, BlendError> {
    let (mut source, _) = Source::new(File::open(path).map_err(BlendError::Io)?)?;
    Ok(header::read(&mut source)?.0)
}

fn scenes(blend: &Blend, file: &Path) -> Result<Vec<SceneSummary>, BlendError> {
    let own = blend.of_code(*b"SC").filter(|view| !view.is_linked());
    own.map(|view| scene::scene(&view, file)).collect()
}

fn active_scene(blend: &Blend) -> Result<String, BlendError> {
    let global = blend.of_struct("FileGlobal").next();
    let scene = global.and_then(|global| global.follow("curscene"));
    scene
        .and_then(|scene| scene.id_name())
        .ok_or_else(|| BlendError::damaged("it names no active scene"))
}

fn scripts(blend: &Blend) -> Vec<String> {
    let runs = |text: &View<'_>| text.has("flags", TEXT_RUNS_ON_OPENING);
    let texts = blend.of_code(*b"TX").filter(runs);
    texts.filter_map(|text| text.id_name()).collect()
}
