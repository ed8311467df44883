//! What `render` writes of a scene are the files that Blender alone writes of it: the same names, the same pixels, bit for bit.
//!
//! The scenes are made by the scripts in `scenes/`, in each Blender that is here; docs/equality.md has what was found.

mod blenders;
mod pictures;

use blenders::{Blender, Which};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::{render, words};

/// Cycles' denoiser of files rounds otherwise than the one that works while a frame is rendered; 5e-6 was measured.
const DENOISED_APART_MAX: f32 = 2e-5;

/// Means of ranges round otherwise than one over all samples; 3e-6 was measured, of values up to 20.
const MERGED_APART_MAX: f32 = 1e-5;

/// A scene that Blender and `render` make frames of, each in a copy of its own.
struct Trial {
    blender: Blender,
    folder: tempfile::TempDir,
    scene: &'static str,
    /// Files that the scene came with.
    made: usize,
    /// How far values in EXR may be apart.
    rounding: f32,
    /// Side of the tiles that it is rendered in, 0 for whole frames.
    tile_px: u32,
}

impl Trial {
    fn new(blender: &Blender, scene: &'static str, variant: &[&str]) -> Self {
        let mut trial = Self {
            blender: blender.clone(),
            folder: tempfile::tempdir().unwrap(),
            scene,
            made: 0,
            rounding: 0.0,
            tile_px: 64,
        };
        // Made once: a scene made again may differ in the last bits of what modifiers made of its meshes.
        blender.make(scene, variant, &trial.blend("own"));
        copy(&trial.place("own"), &trial.place("our"));
        trial.made = pictures::files(&trial.place("own")).len();
        trial
    }

    fn place(&self, who: &str) -> PathBuf {
        self.folder.path().join(who)
    }

    fn blend(&self, who: &str) -> PathBuf {
        self.place(who).join(format!("{}.blend", self.scene))
    }

    /// A job of `render` in tiles, with two workers of this computer; then in what its files differ.
    fn differences(&self, frames: &str, options: &[&str]) -> Vec<String> {
        let (blend, data) = (self.blend("our"), self.place("data"));
        let tile_px = self.tile_px.to_string();
        let mut arguments = vec![text(&blend), "--frames", frames, "--local", "2", "--json"];
        arguments.extend(["--tile", &tile_px, "--blender", text(&self.blender.program)]);
        arguments.extend(options);
        let own = self.place("own");
        let blender = &self.blender.name;
        assert!(
            pictures::files(&own).len() > self.made,
            "Blender {blender} wrote nothing"
        );
        let output = render(&data, &arguments);
        let mut found = match output.status.success() {
            true => pictures::differences(&own, &self.place("our"), self.rounding),
            false => vec![words(&output)],
        };
        if !found.is_empty() {
            found.insert(0, format!("{} with Blender {blender}:", self.scene));
        }
        found
    }
}

fn copy(from: &Path, to: &Path) {
    for file in pictures::files(from) {
        let place = to.join(&file);
        fs::create_dir_all(place.parent().expect("a file is in a folder")).unwrap();
        fs::copy(from.join(&file), place).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// The files that a scene itself asks for: frames, views, and those of File Output nodes.
fn finished(which: Which, scene: &'static str, variant: &[&str], frames: &str) {
    compare(which, |blender| {
        let trial = Trial::new(blender, scene, variant);
        blender.reference(&["frames", text(&trial.blend("own")), frames]);
        trial.differences(frames, &[])
    });
}

/// The passes before anything is done to them.
fn raw(which: Which, scene: &'static str, variant: &[&str], frames: &str) {
    compare(which, |blender| {
        let trial = Trial::new(blender, scene, variant);
        let own = trial.place("own").join("raw");
        blender.reference(&["raw", text(&trial.blend("own")), frames, text(&own)]);
        let our = trial.place("our").join("raw/####.exr");
        trial.differences(frames, &["--raw", "-o", text(&our)])
    });
}

/// Tries all before it tells of any.
fn compare(which: Which, trial: impl Fn(&Blender) -> Vec<String>) {
    let found: Vec<String> = which.all().iter().flat_map(trial).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn compositor_and_file_output_nodes() {
    finished(Which::Every, "lanterns", &[], "3");
}

#[test]
fn denoised_layers() {
    compare(Which::Every, |blender| {
        let mut trial = Trial::new(blender, "corner", &[]);
        trial.rounding = DENOISED_APART_MAX;
        blender.reference(&["frames", text(&trial.blend("own")), "2"]);
        let mut found = trial.differences("2", &[]);
        if blender.divides_samples() {
            // The same frame once more, in ranges of samples.
            fs::remove_dir_all(trial.place("our").join("frames")).unwrap();
            found.extend(trial.differences("2", &["--sample-ranges", "3"]));
        }
        found
    });
    raw(Which::Newest, "corner", &[], "2");
}

#[test]
fn ranges_of_samples() {
    compare(Which::Newest, |blender| {
        let mut trial = Trial::new(blender, "tower", &[]);
        trial.rounding = MERGED_APART_MAX;
        let own = trial.place("own").join("raw");
        blender.reference(&["raw", text(&trial.blend("own")), "2", text(&own)]);
        let our = trial.place("our").join("raw/####.exr");
        let options = ["--sample-ranges", "4", "--raw", "-o", text(&our)];
        trial.differences("2", &options)
    });
}

#[test]
fn adaptive_sampling() {
    finished(Which::Newest, "marbles", &[], "2");
}

#[test]
fn every_pass() {
    finished(Which::Every, "sundial", &[], "2");
}

#[test]
fn sequences_and_tiled_textures() {
    finished(Which::Newest, "gallery", &[], "2,3");
}

#[test]
fn what_changes_unseen_from_frame_to_frame() {
    finished(Which::Every, "hedgehog", &[], "3");
}

#[test]
fn shaders_in_files() {
    finished(Which::Newest, "mosaic", &[], "2");
}

#[test]
fn linked_libraries() {
    finished(Which::Newest, "grove", &[], "2");
}

#[test]
fn motion_blur_and_depth_of_field() {
    finished(Which::Newest, "windmill", &[], "2");
}

#[test]
fn view_layers() {
    finished(Which::Every, "chess", &[], "2");
    raw(Which::Newest, "chess", &[], "2");
}

#[test]
fn a_border_that_crops() {
    finished(Which::Every, "tower", &[], "2");
}

#[test]
fn a_border_in_an_empty_frame() {
    finished(Which::Newest, "tower", &["--uncropped"], "2");
}

#[test]
fn volumes_and_displacement() {
    finished(Which::Newest, "cloud", &[], "2");
}

#[test]
fn a_file_for_each_view() {
    finished(Which::Newest, "arcade", &[], "2");
}

#[test]
fn views_in_one_file() {
    finished(Which::Every, "arcade", &["--one-file"], "2");
}

#[test]
fn cameras_that_markers_switch() {
    finished(Which::Newest, "two_rooms", &[], "2,3");
}

#[test]
fn guided_paths() {
    compare(Which::Newest, |blender| {
        let mut trial = Trial::new(blender, "two_rooms", &["--guided"]);
        trial.tile_px = 0;
        blender.reference(&["frames", text(&trial.blend("own")), "2,3"]);
        trial.differences("2,3", &[])
    });
}

#[test]
fn a_scene_that_is_asked_for() {
    compare(Which::Newest, |blender| {
        let trial = Trial::new(blender, "two_rooms", &[]);
        blender.reference(&["frames", text(&trial.blend("own")), "4", "Night"]);
        trial.differences("4", &["--scene", "Night"])
    });
}
