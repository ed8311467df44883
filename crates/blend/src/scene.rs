//! What one scene of a file renders: engine, size, frames, samples, view layers, output.

use crate::{
    BlendError, Compositor, Simulation, compositor, id_properties::Group, sequencer, simulations,
    view::View,
};
use serde::Serialize;
use std::path::Path;

// Bits of `RenderData.mode`, `RenderData.scemode`, `ViewLayer.flag` as Blender numbers them.
const MODE_BORDER: i64 = 1 << 9;
const MODE_CROP: i64 = 1 << 11;
const MODE_FREESTYLE: i64 = 1 << 25;
const SCENE_MODE_SEQUENCER: i64 = 1 << 0;
const SCENE_MODE_COMPOSITING: i64 = 1 << 6;
const SCENE_MODE_MULTIVIEW: i64 = 1 << 21;
const LAYER_RENDERED: i64 = 1 << 0;
const LAYER_FREESTYLE: i64 = 1 << 2;

/// Where Blender keeps custom properties of scenes, from 5.0 on and before.
const SCENE_PROPERTIES: [&str; 2] = ["id.system_properties", "id.properties"];
const LAYER_PROPERTIES: [&str; 2] = ["system_properties", "id_properties"];

/// Samples of a scene that never set them.
const SAMPLES_DEFAULT: i64 = 4096;
/// Choices of `cycles.use_layer_samples`.
const LAYER_SAMPLES_BOUNDED: i64 = 1;
const LAYER_SAMPLES_IGNORED: i64 = 2;

/// Output formats by Blender's number, with the names that its Python uses.
const FORMATS: [(i64, &str); 20] = [
    (0, "TARGA"),
    (1, "IRIS"),
    (4, "JPEG"),
    (14, "TARGA_RAW"),
    (15, "AVI_RAW"),
    (16, "AVI_JPEG"),
    (17, "PNG"),
    (20, "BMP"),
    (21, "HDR"),
    (22, "TIFF"),
    (23, "OPEN_EXR"),
    (24, "FFMPEG"),
    (26, "CINEON"),
    (27, "DPX"),
    (28, "OPEN_EXR_MULTILAYER"),
    (30, "JPEG2000"),
    (31, "H264"),
    (32, "XVID"),
    (33, "THEORA"),
    (35, "WEBP"),
];
const MOVIE_FORMATS: [&str; 6] = ["AVI_RAW", "AVI_JPEG", "FFMPEG", "H264", "XVID", "THEORA"];

/// A scene.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SceneSummary {
    /// Its name.
    pub name: String,
    /// Render engine, by Blender's own name for it, such as `CYCLES`.
    pub engine: String,
    /// Width and height before the percentage, in pixels.
    pub resolution: [i32; 2],
    /// How much of that is rendered.
    pub percentage: i32,
    /// Width and height of frames, in pixels.
    pub size: [i32; 2],
    /// Shape of a pixel: width and height in units of each other.
    pub pixel_aspect: [f64; 2],
    /// First and last frame.
    pub frames: [i32; 2],
    /// Only every so many of them.
    pub frame_step: i32,
    /// Frames in `frame_rate_base` seconds.
    pub frame_rate: i32,
    /// See `frame_rate`.
    pub frame_rate_base: f64,
    /// Settings of Cycles, where the scene has any.
    pub cycles: Option<Cycles>,
    /// View layers, in their order.
    pub view_layers: Vec<ViewLayer>,
    /// Where pictures go.
    pub output: Output,
    /// The active camera's name.
    pub camera: Option<String>,
    /// Names of cameras that markers of the timeline switch to.
    pub marker_cameras: Vec<String>,
    /// The part of the frame that alone is rendered.
    pub border: Option<Border>,
    /// How colours become those of a picture, by Blender's name for it.
    pub view_transform: String,
    /// What works on the frames after they are rendered.
    pub compositor: Option<Compositor>,
    /// Do strips of the video sequencer take the place of the frames?
    pub sequencer: bool,
    /// Are there several views, as for stereo?
    pub multiview: bool,
    /// Are Freestyle's lines drawn on any rendered layer?
    pub freestyle: bool,
    /// What cannot be known at a frame without the frames before it.
    pub simulations: Vec<Simulation>,
    /// Grease pencil objects that render.
    pub grease_pencils: Vec<String>,
}

/// Settings of Cycles. What a file leaves out has Blender's default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cycles {
    /// Samples a pixel.
    pub samples: i64,
    /// Seed of all chance.
    pub seed: i64,
    /// Do pixels stop early that have little noise?
    pub adaptive_sampling: bool,
    /// Is noise removed afterwards?
    pub denoising: bool,
    /// Are there shaders in the Open Shading Language?
    pub open_shading_language: bool,
    /// Does it render on a graphics card?
    pub graphics_card: bool,
    /// Seconds after which a frame ends; 0 for never.
    pub time_limit_seconds: f64,
    /// Does it learn from what was rendered before?
    pub path_guiding: bool,
}

/// A view layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewLayer {
    /// Its name.
    pub name: String,
    /// Is it rendered?
    pub enabled: bool,
    /// Samples a pixel that Cycles takes for it.
    pub samples: Option<i64>,
    /// May its noise be removed?
    pub denoising: bool,
}

/// Where pictures go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// As it stands in the file: `//` is the folder of the file.
    pub path: String,
    /// Blender's name of the format, or `unknown` with its number.
    pub format: String,
    /// Is it one film instead of pictures?
    pub is_movie: bool,
}

/// Part of a frame, as fractions of its size from the left and from the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Border {
    /// Left, right, bottom and top.
    pub sides: [f64; 4],
    /// Are frames only as large as that?
    pub crop: bool,
}

pub(crate) fn scene(view: &View<'_>, file: &Path) -> Result<SceneSummary, BlendError> {
    let resolution = [view.required("r.xsch")?, view.required("r.ysch")?];
    let percentage = view.required("r.size")?;
    let engine = view.text("r.engine").ok_or_else(|| view.lacks("engine"))?;
    let cycles = (engine == "CYCLES").then(|| cycles(view));
    let has_mode = |bits| view.has("r.mode", bits);
    let has_scene_mode = |bits| view.has("r.scemode", bits);
    let layers: Vec<View<'_>> = view.list("view_layers").collect();
    let draws_lines =
        |layer: &View<'_>| layer.has("flag", LAYER_RENDERED) && layer.has("flag", LAYER_FREESTYLE);
    Ok(SceneSummary {
        name: view.id_name().ok_or_else(|| view.lacks("name"))?,
        resolution,
        percentage,
        size: resolution.map(|side| scaled(side, percentage)),
        pixel_aspect: [
            view.float("r.xasp").unwrap_or(1.0),
            view.float("r.yasp").unwrap_or(1.0),
        ],
        frames: [view.required("r.sfra")?, view.required("r.efra")?],
        frame_step: view.required("r.frame_step")?,
        frame_rate: view.required("r.frs_sec")?,
        frame_rate_base: view.float("r.frs_sec_base").unwrap_or(1.0),
        view_layers: layers
            .iter()
            .map(|l| view_layer(view, l, &cycles))
            .collect(),
        engine,
        cycles,
        output: output(view)?,
        camera: view.follow("camera").and_then(|camera| camera.id_name()),
        marker_cameras: marker_cameras(view),
        border: has_mode(MODE_BORDER).then(|| border(view)).flatten(),
        view_transform: view
            .text("view_settings.view_transform")
            .unwrap_or_default(),
        compositor: has_scene_mode(SCENE_MODE_COMPOSITING)
            .then(|| compositor::of(view))
            .flatten(),
        sequencer: has_scene_mode(SCENE_MODE_SEQUENCER) && sequencer::has_pictures(view),
        multiview: has_scene_mode(SCENE_MODE_MULTIVIEW),
        freestyle: has_mode(MODE_FREESTYLE) && layers.iter().any(draws_lines),
        simulations: simulations::of(view, file),
        grease_pencils: simulations::grease_pencils(view),
    })
}

fn scaled(side: i32, percentage: i32) -> i32 {
    let scaled = i64::from(side) * i64::from(percentage) / 100;
    i32::try_from(scaled).unwrap_or(i32::MAX).max(1)
}

fn cycles(scene: &View<'_>) -> Cycles {
    let group = Group::of(scene, SCENE_PROPERTIES, "cycles");
    let integer = |name| group.and_then(|group| group.integer(name));
    let boolean = |name| group.and_then(|group| group.boolean(name));
    Cycles {
        samples: integer("samples").unwrap_or(SAMPLES_DEFAULT),
        seed: integer("seed").unwrap_or(0),
        adaptive_sampling: boolean("use_adaptive_sampling").unwrap_or(true),
        denoising: boolean("use_denoising").unwrap_or(true),
        open_shading_language: boolean("shading_system").unwrap_or(false),
        graphics_card: integer("device").unwrap_or(0) != 0,
        time_limit_seconds: group.and_then(|g| g.float("time_limit")).unwrap_or(0.0),
        path_guiding: boolean("use_guiding").unwrap_or(false),
    }
}

fn view_layer(scene: &View<'_>, layer: &View<'_>, cycles: &Option<Cycles>) -> ViewLayer {
    let samples = cycles.as_ref().map(|cycles| {
        let own = layer.integer("samples").unwrap_or(0);
        let group = Group::of(scene, SCENE_PROPERTIES, "cycles");
        match group.and_then(|group| group.integer("use_layer_samples")) {
            _ if own == 0 => cycles.samples,
            Some(LAYER_SAMPLES_IGNORED) => cycles.samples,
            Some(LAYER_SAMPLES_BOUNDED) => own.min(cycles.samples),
            _ => own,
        }
    });
    ViewLayer {
        name: layer.text("name").unwrap_or_default(),
        enabled: layer.has("flag", LAYER_RENDERED),
        samples,
        denoising: may_denoise(layer),
    }
}

fn may_denoise(layer: &View<'_>) -> bool {
    let group = Group::of(layer, LAYER_PROPERTIES, "cycles");
    group
        .and_then(|group| group.boolean("use_denoising"))
        .unwrap_or(true)
}

fn output(scene: &View<'_>) -> Result<Output, BlendError> {
    let number = scene.required("r.im_format.imtype")?;
    let known = FORMATS.iter().find(|(n, _)| *n == i64::from(number));
    Ok(Output {
        path: scene.text("r.pic").unwrap_or_default(),
        format: known.map_or_else(|| format!("unknown {number}"), |(_, name)| name.to_string()),
        is_movie: known.is_some_and(|(_, name)| MOVIE_FORMATS.contains(name)),
    })
}

fn marker_cameras(scene: &View<'_>) -> Vec<String> {
    let cameras = scene
        .list("markers")
        .filter_map(|marker| marker.follow("camera"));
    let mut names: Vec<String> = cameras.filter_map(|camera| camera.id_name()).collect();
    names.dedup();
    names
}

fn border(scene: &View<'_>) -> Option<Border> {
    let side = |name: &str| scene.float(&format!("r.border.{name}"));
    Some(Border {
        sides: [side("xmin")?, side("xmax")?, side("ymin")?, side("ymax")?],
        crop: scene.has("r.mode", MODE_CROP),
    })
}
