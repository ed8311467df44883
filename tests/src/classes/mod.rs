//! How far apart honest renders of different determinism classes are, and how far cheats: what the limits of
//! `verifier::noise` are made of. The program `classes` renders scenes and measures; `docs/verification-classes.md`
//! tells what came out.

pub mod plot;
pub mod render;
pub mod report;
pub mod study;
pub mod tail;

use std::{path::PathBuf, str::FromStr};

/// Pixels across and down of all renders.
pub const FRAME_PX: (usize, usize) = (320, 180);

/// A scene and how much of it is rendered: `FILE,SAMPLES,FRAMES,CHEATED`.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The .blend file.
    pub file: PathBuf,
    /// Samples a pixel.
    pub samples: u32,
    /// Frames, evenly over the animation, that honest workers render with two seeds each.
    pub frames: u32,
    /// How many of them the cheats render, too.
    pub cheated: u32,
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not FILE,SAMPLES,FRAMES,CHEATED");
        let mut words = text.rsplitn(4, ',');
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(cheated), Some(frames), Some(samples)) = (number(), number(), number()) else {
            return Err(wrong());
        };
        let file = words.next().ok_or_else(wrong)?.into();
        if cheated == 0 || cheated > frames || samples < 4 {
            return Err(format!(
                "`{text}`: at least 4 samples and a cheated frame are needed, and no more cheated frames than frames"
            ));
        }
        Ok(Self {
            file,
            samples,
            frames,
            cheated,
        })
    }
}

impl Scene {
    /// The file's name without its extension.
    pub fn name(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// The frames that are cheated, too.
    pub fn cheated_frames(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.cheated).map(|number| number * self.frames / self.cheated)
    }
}

/// Who renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The judge's class, and that of the cheats: the kernel that Cycles picks for this processor.
    Judge,
    /// The same build with its common kernel, forced by `CYCLES_CPU_NO_AVX2=1`.
    Common,
    /// Another version of Blender.
    Other,
}

/// What stands for the work of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Honest work of another kernel.
    Kernel,
    /// Honest work of another version of Blender.
    Version,
    /// The first so many percent of the samples.
    Samples(u32),
    /// Another seed.
    Seed,
    /// Half of the samples with another seed.
    SeedAndHalf,
    /// Two bounces instead of the scene's own number.
    Bounces,
    /// A quarter of the samples, denoised.
    Denoised,
    /// Half the width and height, scaled up.
    Upscaled,
}

impl Work {
    /// All, honest first, then from the faintest cheat.
    pub const ALL: [Self; 11] = [
        Self::Kernel,
        Self::Version,
        Self::Samples(95),
        Self::Samples(90),
        Self::Samples(75),
        Self::Samples(50),
        Self::Seed,
        Self::SeedAndHalf,
        Self::Bounces,
        Self::Denoised,
        Self::Upscaled,
    ];

    /// For tables and plots.
    pub fn title(self) -> String {
        match self {
            Self::Kernel => "honest, other kernel".into(),
            Self::Version => "honest, other version".into(),
            Self::Samples(percent) => format!("{percent} % of the samples"),
            Self::Seed => "another seed".into(),
            Self::SeedAndHalf => "another seed, 50 %".into(),
            Self::Bounces => "two bounces".into(),
            Self::Denoised => "25 %, denoised".into(),
            Self::Upscaled => "half size, scaled up".into(),
        }
    }

    /// Nobody is cheated.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Kernel | Self::Version)
    }
}
