//! Renders by Blender, each kept as a file of raw pixels, so that a study that was interrupted goes on where it was.

use super::{Class, FRAME_PX, Scene, Work};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use verifier::noise::Pixel;

const SCRIPT: &str = include_str!("render.py");
const SEEDS_OF_FRAME: u32 = 3;
const PIXEL_BYTES: usize = size_of::<Pixel>();

/// One picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Render {
    /// By whom.
    pub class: Class,
    /// Number among the scene's frames.
    pub frame: u32,
    seed: u32,
    taken: u32,
    samples: u32,
    size_percent: u32,
    bounces_max: u32,
    denoised: bool,
}

impl Render {
    /// The whole work, as it should be, with one of the frame's own seeds, of which there are [`SEEDS_OF_FRAME`]: parts
    /// of a scene that do not move must not have the same noise in all frames.
    pub fn honest(scene: &Scene, class: Class, frame: u32, seed: u32) -> Self {
        Self {
            class,
            frame,
            seed: SEEDS_OF_FRAME * frame + seed,
            taken: scene.samples,
            samples: scene.samples,
            size_percent: 100,
            bounces_max: 0,
            denoised: false,
        }
    }

    /// What such a worker delivers for a frame and its first seed.
    pub fn work(scene: &Scene, work: Work, frame: u32) -> Self {
        let class = match work {
            Work::Kernel => Class::Common,
            Work::Version => Class::Other,
            _ => Class::Judge,
        };
        let honest = Self::honest(scene, class, frame, 0);
        let share = |percent| (scene.samples * percent + 50) / 100;
        match work {
            Work::Kernel | Work::Version => honest,
            Work::Samples(percent) => Self {
                taken: share(percent),
                ..honest
            },
            // The first two are the judge's.
            Work::Seed => Self::honest(scene, class, frame, 2),
            Work::SeedAndHalf => Self {
                taken: share(50),
                ..Self::honest(scene, class, frame, 2)
            },
            Work::Bounces => Self {
                bounces_max: 2,
                ..honest
            },
            Work::Denoised => Self {
                taken: share(25),
                samples: share(25),
                denoised: true,
                ..honest
            },
            Work::Upscaled => Self {
                size_percent: 50,
                ..honest
            },
        }
    }

    fn file_name(&self) -> String {
        let Self {
            frame,
            seed,
            taken,
            samples,
            ..
        } = self;
        let mut name = format!("f{frame:04}-seed{seed}-{taken}of{samples}");
        if self.size_percent < 100 {
            name += "-half";
        }
        if self.bounces_max > 0 {
            name += &format!("-bounces{}", self.bounces_max);
        }
        if self.denoised {
            name += "-denoised";
        }
        name + ".rgba"
    }

    fn plan(&self, file: &Path) -> Value {
        json!({
            "frame": self.frame,
            "seed": self.seed,
            "taken": self.taken,
            "samples": self.samples,
            "size_percent": self.size_percent,
            "bounces_max": self.bounces_max,
            "denoised": self.denoised,
            "file": file,
        })
    }
}

/// Where renders lie and which programs make them.
pub struct Studio {
    /// A folder a scene, in it one a class.
    pub folder: PathBuf,
    /// A Python that imports bpy.
    pub python: PathBuf,
    /// One that imports another version of it.
    pub other_python: Option<PathBuf>,
}

impl Studio {
    fn folder_of(&self, scene: &Scene, class: Class) -> PathBuf {
        let name = match class {
            Class::Judge => "judge",
            Class::Common => "common",
            Class::Other => "other",
        };
        // Which frames of the animation are meant depends on how many are rendered.
        let of_scene = format!("{}-{}-frames", scene.name(), scene.frames);
        self.folder.join(of_scene).join(name)
    }

    /// Everything that the study of a scene compares.
    pub fn wanted(&self, scene: &Scene) -> Vec<Render> {
        let mut wanted = Vec::new();
        for frame in 0..scene.frames {
            for class in [Class::Judge, Class::Common] {
                let of_seed = |seed| Render::honest(scene, class, frame, seed);
                wanted.extend([0, 1].map(of_seed));
            }
        }
        for frame in scene.cheated_frames() {
            wanted.extend(Work::ALL.map(|work| Render::work(scene, work, frame)));
        }
        if self.other_python.is_none() {
            wanted.retain(|render| render.class != Class::Other);
        }
        wanted
    }

    /// Makes what is missing of one class.
    ///
    /// # Errors
    /// When a folder cannot be written or Blender fails; its words are on standard error.
    pub fn render(&self, scene: &Scene, class: Class) -> io::Result<()> {
        let python = match (class, &self.other_python) {
            (Class::Other, None) => return Ok(()),
            (Class::Other, Some(python)) => python,
            _ => &self.python,
        };
        let folder = self.folder_of(scene, class);
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let of_class = |render: &Render| render.class == class;
        let missing: Vec<Value> = self
            .wanted(scene)
            .iter()
            .filter(|render| of_class(render))
            .map(|render| (render, folder.join(render.file_name())))
            .filter(|(_, file)| !file.is_file())
            .map(|(render, file)| render.plan(&file))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let plan = json!({
            "scene": scene.file.canonicalize()?,
            "width": FRAME_PX.0,
            "height": FRAME_PX.1,
            "frames": scene.frames,
            "renders": missing,
        });
        let plan_file = folder.join("plan.json");
        fs::write(&plan_file, plan.to_string())?;
        let mut command = Command::new(python);
        command.arg("-c").arg(SCRIPT).arg(plan_file);
        command.stdout(Stdio::null());
        match class {
            Class::Common => command.env("CYCLES_CPU_NO_AVX2", "1"),
            _ => command.env_remove("CYCLES_CPU_NO_AVX2"),
        };
        match command.status()? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(format!("{}: {status}", python.display()))),
        }
    }

    /// The pixels of a render that was made.
    ///
    /// # Errors
    /// When the file is not there or has another size.
    pub fn read(&self, scene: &Scene, render: &Render) -> io::Result<Vec<Pixel>> {
        let file = self.folder_of(scene, render.class).join(render.file_name());
        let named = |error: String| io::Error::other(format!("{}: {error}", file.display()));
        let bytes = fs::read(&file).map_err(|error| named(error.to_string()))?;
        if bytes.len() != FRAME_PX.0 * FRAME_PX.1 * PIXEL_BYTES {
            return Err(named(format!("{} bytes are no frame", bytes.len())));
        }
        let value = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let pixel = |of: &[u8]| [0, 4, 8, 12].map(|at| value(&of[at..at + 4]));
        Ok(bytes.chunks_exact(PIXEL_BYTES).map(pixel).collect())
    }
}
