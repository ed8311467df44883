//! The files besides itself that a scene file needs, and whether they are there.

use crate::{
    blocks::{Blend, Place},
    limits,
    paths::{self, files_below, resolve, sequence, sequence_pattern},
    simulations,
    view::View,
};
use serde::Serialize;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

// Sources of images and movie clips, and modes of nodes, as Blender numbers them.
const IMAGE_FILE: i64 = 1;
const IMAGE_SEQUENCE: i64 = 2;
const IMAGE_MOVIE: i64 = 3;
const IMAGE_TILES: i64 = 6;
const CLIP_SEQUENCE: i64 = 1;
const NODE_EXTERNAL: i64 = 1;
const CAMERA_CUSTOM: i64 = 3;
const CAMERA_EXTERNAL: i64 = 1;
/// A bake of geometry nodes that lies apart from its modifier's others.
pub(crate) const NODE_BAKE_OWN_FOLDER: i64 = 1 << 1;
/// A library whose datablocks are in the file itself.
pub(crate) const LIBRARY_ARCHIVE: i64 = 1 << 0;
/// The font that is part of Blender.
const BUILT_IN_FONT: &str = "<builtin>";
/// The number of the first tile of a set, and tiles in one row.
const FIRST_TILE: i64 = 1001;
const TILES_IN_ROW: i64 = 10;

/// What a file is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyKind {
    /// A picture, or numbered pictures.
    Image,
    /// A set of UDIM tiles.
    Tiles,
    /// A film as a texture.
    Movie,
    /// A scene file from which something is linked.
    Library,
    /// A font.
    Font,
    /// A sound: no picture depends on it.
    Sound,
    /// Footage for tracking and compositing.
    MovieClip,
    /// Alembic or USD.
    Cache,
    /// OpenVDB.
    Volume,
    /// The light of a lamp.
    Ies,
    /// A shader in the Open Shading Language.
    Script,
    /// The folder of baked simulations.
    Bake,
}

/// Where the files of a dependency are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In the scene file itself.
    Packed,
    /// On disk.
    Present {
        /// How many files.
        files: usize,
        /// Their length together.
        bytes: u64,
    },
    /// Not all of them are there.
    Missing(Vec<PathBuf>),
    /// A library that is there and cannot be read, and why.
    Unreadable(String),
}

/// One thing outside of the scene file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What it is.
    pub kind: DependencyKind,
    /// The datablock's name.
    pub name: String,
    /// The path as it stands in the file.
    pub path: String,
    /// What that path means on this computer; of sequences with a `#` for each digit, of tiles with `<UDIM>` or
    /// `<UVTILE>`.
    pub file: PathBuf,
    /// Is it one of numbered files?
    pub is_sequence: bool,
    /// The linked scene file that needs it, where it is not the scene itself.
    pub library: Option<PathBuf>,
    /// Is it there?
    pub state: State,
    /// Its files that are there.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
}

/// A path as it stands in a scene file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// The scene itself, or a linked one.
    pub blend: PathBuf,
    /// As it stands there.
    pub path: String,
    /// What it means on this computer: a file, one of a sequence, a pattern of tiles, or a folder.
    pub file: PathBuf,
    pub(crate) place: Place,
}

/// What a file needs, and the paths of it that are not packed.
#[derive(Default)]
pub(crate) struct Found {
    pub dependencies: Vec<Dependency>,
    pub paths: Vec<NamedPath>,
}

/// A datablock with a path, before anybody looked at the disk.
struct Named {
    kind: DependencyKind,
    name: String,
    path: String,
    place: Place,
    packed: bool,
    is_sequence: bool,
    tiles: Vec<i64>,
}

/// Everything that this file names, in the order of kinds and names; of a library only what these datablocks name.
pub(crate) fn of(blend: &Blend, file: &Path, wanted: Option<&HashSet<u32>>) -> Found {
    let folder = file.parent().unwrap_or(Path::new(""));
    let is_wanted =
        |view: &View<'_>| wanted.is_none_or(|wanted| wanted.contains(&view.datablock()));
    let mut named = Vec::new();
    for (code, read) in KINDS {
        let own = blend.of_code(**code).filter(|view| !view.is_linked());
        named.extend(own.filter(is_wanted).filter_map(|view| read(&view)));
    }
    for (name, read) in PARTS {
        let parts = blend.of_struct(name).filter(is_wanted);
        named.extend(parts.filter_map(|view| read(&view)));
    }
    let on_disk = named.iter().filter(|named| !named.packed);
    let paths = on_disk.map(|named| NamedPath {
        blend: file.to_owned(),
        path: named.path.clone(),
        file: resolve(&named.path, folder),
        place: named.place,
    });
    let paths = paths.collect();
    let mut found: Vec<Dependency> = named.into_iter().map(|n| located(n, folder)).collect();
    found.extend(shared_bakes(file));
    found.sort_by(|a, b| (a.kind, &a.name, &a.path).cmp(&(b.kind, &b.name, &b.path)));
    found.dedup();
    Found {
        dependencies: found,
        paths,
    }
}

type ReadNamed = fn(&View<'_>) -> Option<Named>;

/// Datablocks that name files.
const KINDS: &[(&[u8; 2], ReadNamed)] = &[
    (b"IM", image),
    (b"LI", library),
    (b"VF", |view| plain(view, DependencyKind::Font, "name")),
    (b"SO", |view| plain(view, DependencyKind::Sound, "name")),
    (b"MC", clip),
    (b"CF", |view| cache(view, DependencyKind::Cache)),
    (b"VO", |view| cache(view, DependencyKind::Volume)),
    (b"CA", camera),
];

/// Parts of datablocks that name files.
const PARTS: [(&str, ReadNamed); 5] = [
    ("bNode", node_file),
    ("FluidDomainSettings", fluid_bake),
    ("PointCache", external_cache),
    ("NodesModifierData", nodes_bake),
    ("NodesModifierBake", node_bake),
];

/// A datablock whose path is in this field; none without a path.
fn plain(view: &View<'_>, kind: DependencyKind, field: &str) -> Option<Named> {
    let (path, place) = view.text_and_place(field)?;
    let is_file = !path.is_empty() && path != BUILT_IN_FONT;
    is_file.then(|| Named {
        kind,
        name: view.id_name().unwrap_or_default(),
        path,
        place,
        packed: view.pointer("packedfile").is_some(),
        is_sequence: false,
        tiles: Vec::new(),
    })
}

fn image(view: &View<'_>) -> Option<Named> {
    let source = view.integer("source")?;
    let kind = match source {
        IMAGE_FILE | IMAGE_SEQUENCE => DependencyKind::Image,
        IMAGE_MOVIE => DependencyKind::Movie,
        IMAGE_TILES => DependencyKind::Tiles,
        _ => return None,
    };
    let mut named = plain(view, kind, "name")?;
    named.is_sequence = source == IMAGE_SEQUENCE;
    named.packed |= view.pointer("packedfiles.first").is_some();
    if kind == DependencyKind::Tiles {
        let tiles = view.list("tiles").take(limits::FILES_MAX);
        named.tiles = tiles
            .filter_map(|tile| tile.integer("tile_number"))
            .collect();
    }
    Some(named)
}

fn library(view: &View<'_>) -> Option<Named> {
    let mut named = plain(view, DependencyKind::Library, "name")?;
    named.packed |= view.has("flag", LIBRARY_ARCHIVE);
    Some(named)
}

fn clip(view: &View<'_>) -> Option<Named> {
    let mut named = plain(view, DependencyKind::MovieClip, "name")?;
    named.is_sequence = view.integer("source") == Some(CLIP_SEQUENCE);
    Some(named)
}

fn cache(view: &View<'_>, kind: DependencyKind) -> Option<Named> {
    let mut named = plain(view, kind, "filepath")?;
    named.is_sequence = view.has("is_sequence", 0xff);
    Some(named)
}

/// The lens of a camera in the Open Shading Language, from Blender 5.0 on.
fn camera(view: &View<'_>) -> Option<Named> {
    let is_custom = view.integer("type") == Some(CAMERA_CUSTOM)
        && view.integer("custom_mode") == Some(CAMERA_EXTERNAL);
    is_custom.then(|| plain(view, DependencyKind::Script, "custom_filepath"))?
}

fn node_file(node: &View<'_>) -> Option<Named> {
    let kind = match node.text("idname")?.as_str() {
        "ShaderNodeTexIES" => DependencyKind::Ies,
        "ShaderNodeScript" => DependencyKind::Script,
        _ => return None,
    };
    let storage = node.follow("storage")?;
    let mut named = plain(&storage, kind, "filepath")?;
    named.name = node.text("name").unwrap_or_default();
    (storage.integer("mode") == Some(NODE_EXTERNAL)).then_some(named)
}

fn bake(view: &View<'_>, field: &str, name: &str) -> Option<Named> {
    let mut named = plain(view, DependencyKind::Bake, field)?;
    named.name = name.into();
    named.packed = false;
    Some(named)
}

fn fluid_bake(domain: &View<'_>) -> Option<Named> {
    bake(domain, "cache_directory", "fluid")
}

/// Particles and the like whose files somebody else made.
fn external_cache(cache: &View<'_>) -> Option<Named> {
    let is_external = cache.has("flag", simulations::CACHE_EXTERNAL);
    is_external.then(|| bake(cache, "path", "external cache"))?
}

/// The folder of all bakes of a modifier of geometry nodes, named `simulation_bake_directory` in the first versions.
fn nodes_bake(modifier: &View<'_>) -> Option<Named> {
    let fields = ["bake_directory", "simulation_bake_directory"];
    fields
        .iter()
        .find_map(|field| bake(modifier, field, "geometry nodes"))
}

/// The folder of one bake, where it has its own.
fn node_bake(node: &View<'_>) -> Option<Named> {
    let is_own = node.has("flag", NODE_BAKE_OWN_FOLDER);
    is_own.then(|| bake(node, "directory", "geometry nodes"))?
}

/// The folder beside the scene file that Blender's other simulations share, where it is there.
fn shared_bakes(file: &Path) -> Option<Dependency> {
    let folder = paths::shared_bakes(file)?;
    let (state, files) = on_disk(files_below(&folder));
    let name = folder.file_name()?.to_string_lossy().into_owned();
    (!files.is_empty()).then(|| Dependency {
        kind: DependencyKind::Bake,
        path: format!("//{name}"),
        name,
        file: folder,
        is_sequence: false,
        library: None,
        state,
        files,
    })
}

fn located(named: Named, folder: &Path) -> Dependency {
    let path = resolve(&named.path, folder);
    let (state, files) = match named.kind {
        _ if named.packed => (State::Packed, Vec::new()),
        _ if named.is_sequence => match sequence(&path) {
            members if members.is_empty() => on_disk(vec![path.clone()]),
            members => on_disk(members),
        },
        DependencyKind::Tiles => on_disk(tile_files(&path, &named.tiles)),
        DependencyKind::Bake => on_disk(files_below(&path)),
        _ => on_disk(vec![path.clone()]),
    };
    Dependency {
        kind: named.kind,
        name: named.name,
        path: named.path,
        file: match named.is_sequence {
            true => sequence_pattern(&path),
            false => path,
        },
        is_sequence: named.is_sequence,
        library: None,
        state,
        files,
    }
}

fn tile_files(path: &Path, tiles: &[i64]) -> Vec<PathBuf> {
    let pattern = path.to_string_lossy();
    let file = |number: &i64| {
        let index = number.saturating_sub(FIRST_TILE);
        let (u, v) = (
            index.rem_euclid(TILES_IN_ROW) + 1,
            index.div_euclid(TILES_IN_ROW) + 1,
        );
        let name = pattern.replace("<UDIM>", &number.to_string());
        PathBuf::from(name.replace("<UVTILE>", &format!("u{u}_v{v}")))
    };
    tiles.iter().map(file).collect()
}

/// The state of these files, and those that are there.
fn on_disk(paths: Vec<PathBuf>) -> (State, Vec<PathBuf>) {
    let (mut present, mut bytes, mut missing) = (Vec::new(), 0, Vec::new());
    for path in paths {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                present.push(path);
                bytes += metadata.len();
            }
            _ => missing.push(path),
        }
    }
    let files = present.len();
    match missing.is_empty() {
        true => (State::Present { files, bytes }, present),
        false => (State::Missing(missing), present),
    }
}
