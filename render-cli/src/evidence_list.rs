//! `render evidence`: what was found against workers, what it shows, and where its files are.

use crate::{
    commands::{Common, data_dir},
    evidence,
    failure::{Code, Failure},
};
use clap::Args;
use engine::frame_file::write_png;
use network::verify_proof;
use protocol::{
    Blake3Hash, Pass, Rect, Size, geometry::CELL_PX, message::printable, pixels::CELL_PASS_BYTES,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};
use tracer::render::to_srgb8;
use verifier::{Bundle, EvidenceError, Flaw, Statement};

/// Side of a pixel in a picture.
const MAGNIFIED_PX: u32 = 32;
/// Between the two cells of a picture.
const GAP_PX: u32 = 16;

#[derive(Debug, Args)]
pub struct EvidenceArguments {
    /// The job's id, or its beginning
    job: Option<String>,
    /// A tile of the job, as FRAME or FRAME:X,Y with one of its pixels
    #[arg(allow_hyphen_values = true)]
    tile: Option<Place>,
    /// Write the cell as the accused and another see it side by side into this PNG
    #[arg(long, value_name = "OUT.png", requires = "job")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// A frame, or a tile of it by one of its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    frame: i32,
    pixel: Option<(u32, u32)>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not of the form FRAME or FRAME:X,Y".to_owned();
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong());
        let (frame, pixel) = match text.split_once(':') {
            None => (text, None),
            Some((frame, pixel)) => {
                let (x, y) = pixel.split_once(',').ok_or_else(wrong)?;
                (frame, Some((number(x)?, number(y)?)))
            }
        };
        let frame = frame.parse().map_err(|_| wrong())?;
        Ok(Self { frame, pixel })
    }
}

impl Place {
    /// Is the evidence about this frame, and the pixel in what an accused rendered?
    fn has(&self, bundle: &Bundle) -> bool {
        let holds = |rect: &Rect, (x, y): (u32, u32)| {
            (rect.x..rect.right()).contains(&x) && (rect.y..rect.bottom()).contains(&y)
        };
        let is_rendered = |pixel| {
            let mut rects = accused(bundle).flat_map(|said| &said.testimony.rects);
            rects.any(|rect| holds(rect, pixel))
        };
        self.frame == bundle.frame && self.pixel.is_none_or(is_rendered)
    }
}

fn is_accused(bundle: &Bundle, said: &Statement) -> bool {
    bundle.wrong.contains(&said.testimony.worker)
}

fn accused(bundle: &Bundle) -> impl Iterator<Item = &Statement> {
    let all = bundle.statements.iter();
    all.filter(|said| is_accused(bundle, said))
}

/// Carries out the command.
pub fn run(arguments: &EvidenceArguments) -> Result<(), Failure> {
    let job = arguments.job.as_deref().unwrap_or_default();
    let data_dir = data_dir(&arguments.common)?;
    let files = evidence::of_job(&data_dir, job);
    let files = files.map_err(|e| Failure::preflight(format!("{}: {e}", data_dir.display())))?;
    let mut shown = Vec::new();
    for path in files {
        let bundle = match evidence::read(&path) {
            Ok(bundle) => bundle,
            Err(error) => {
                warn(&path, &error);
                continue;
            }
        };
        if arguments.tile.is_none_or(|tile| tile.has(&bundle)) {
            let item = Item::new(path, &bundle);
            match (arguments.common.json, &arguments.job) {
                (true, _) => println!("{}", item.json(&bundle)),
                (false, Some(_)) => print!("{}", item.text(&bundle)),
                (false, None) => print!("{}", item.line(&bundle, shown.is_empty())),
            }
            shown.push(item.path);
        }
    }
    match (shown.as_slice(), &arguments.picture) {
        ([], _) if arguments.job.is_some() => Err(Failure::new(Code::Usage, "no such evidence")
            .hint("`render evidence` lists all that is kept")),
        (_, None) => Ok(()),
        ([one], Some(out)) => {
            let bundle = evidence::read(one).map_err(|e| Failure::preflight(e.to_string()))?;
            picture(&bundle, out)
        }
        (several, Some(_)) => Err(Failure::new(
            Code::Usage,
            format!("{} cells are not one picture", several.len()),
        )
        .hint("name the tile: FRAME:X,Y")),
    }
}

fn warn(path: &Path, error: &EvidenceError) {
    eprintln!("warning: {}: {error}", path.display());
}

/// A pixel on which the statements differ: the number of the pass, column and row in the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Difference {
    pass: usize,
    column: u32,
    row: u32,
}

/// A piece of evidence, examined.
struct Item {
    path: PathBuf,
    values: Vec<Result<Blake3Hash, Flaw>>,
    difference: Option<Difference>,
}

impl Difference {
    /// The first in canonical order.
    fn first(statements: &[Statement]) -> Option<Self> {
        let pixels = |said: &Statement| said.cell_bytes.len() / 16;
        let least = statements.iter().map(pixels).min()?;
        let bytes = |said: &Statement, index: usize| said.cell_bytes[index * 16..][..16].to_vec();
        let differs = |index: &usize| {
            let first = bytes(&statements[0], *index);
            statements.iter().any(|said| bytes(said, *index) != first)
        };
        let index = (0..least).find(differs)?;
        let (pixels, side) = (CELL_PASS_BYTES / 16, CELL_PX as usize);
        Some(Self {
            pass: index / pixels,
            column: (index % pixels % side) as u32,
            row: (index % pixels / side) as u32,
        })
    }
}

/// The four channels of a pixel.
fn pixel(said: &Statement, at: Difference) -> [f32; 4] {
    let start = at.pass * CELL_PASS_BYTES + (at.row * CELL_PX + at.column) as usize * 16;
    let (channels, _) = said.cell_bytes[start..start + 16].as_chunks::<4>();
    std::array::from_fn(|channel| f32::from_le_bytes(channels[channel]))
}

impl Item {
    fn new(path: PathBuf, bundle: &Bundle) -> Self {
        Self {
            path,
            values: bundle
                .examine(|root, bytes, range, proof| verify_proof(*root, bytes, range, proof).ok()),
            difference: Difference::first(&bundle.statements),
        }
    }

    fn is_genuine(&self) -> bool {
        self.values.iter().all(Result::is_ok)
    }

    fn line(&self, bundle: &Bundle, is_first: bool) -> String {
        let heading = match is_first {
            true => format!(
                "{:<10} {:>7} {:<18} {:<10} {:<8} file\n",
                "job", "frame", "cell", "accused", "genuine"
            ),
            false => String::new(),
        };
        let accused: Vec<String> = bundle.wrong.iter().map(|node| node.short()).collect();
        format!(
            "{heading}{:<10} {:>7} {:<18} {:<10} {:<8} {}\n",
            bundle.job.id.short(),
            bundle.frame,
            bundle.cell.to_string(),
            accused.join(" "),
            if self.is_genuine() { "yes" } else { "no" },
            self.path.display()
        )
    }

    fn text(&self, bundle: &Bundle) -> String {
        let path = self.path.display();
        let mut text = format!(
            "evidence {path}\ncell     {} of frame {}\n",
            bundle.cell, bundle.frame
        );
        for accused in &bundle.wrong {
            text += &format!("accused  {accused}\n");
        }
        text += &format!("claim    {}\n", printable(&bundle.text));
        if let Some(at) = self.difference {
            let (pass, (x, y)) = (bundle.job.settings.passes[at.pass], place(bundle, at));
            text += &format!("differs  pixel {x},{y} of {pass}, the first that does\n");
        }
        for (said, value) in bundle.statements.iter().zip(&self.values) {
            let accused = if is_accused(bundle, said) {
                "accused"
            } else {
                ""
            };
            text += &format!("  {}  {accused:<8}", said.testimony.worker);
            match (value, self.difference) {
                (Err(flaw), _) => text += &format!(" not genuine: {flaw}"),
                (Ok(_), Some(at)) => {
                    for value in channels(bundle, said, at) {
                        text += &format!(" {value:>13}");
                    }
                }
                (Ok(_), None) => {}
            }
            text += "\n";
        }
        text + &format!("check    render worker check-evidence {path} --scene SCENE\n\n")
    }

    fn json(&self, bundle: &Bundle) -> serde_json::Value {
        let statements = bundle.statements.iter().zip(&self.values);
        let statement = |(said, value): (&Statement, &Result<Blake3Hash, Flaw>)| {
            json!({
                "worker": said.testimony.worker.to_string(), "accused": is_accused(bundle, said),
                "value": value.ok().map(|value| value.to_string()),
                "flaw": value.err().map(|flaw| flaw.to_string()),
                "pixel": self.difference.map(|at| channels(bundle, said, at)),
            })
        };
        let difference = self.difference.map(|at| {
            let (pass, (x, y)) = (bundle.job.settings.passes[at.pass], place(bundle, at));
            json!({ "pass": pass, "x": x, "y": y })
        });
        let accused: Vec<String> = bundle.wrong.iter().map(ToString::to_string).collect();
        json!({
            "file": self.path, "job": bundle.job.id.to_string(), "frame": bundle.frame,
            "cell": bundle.cell.to_string(), "accused": accused, "claim": bundle.text,
            "genuine": self.is_genuine(), "differs": difference,
            "statements": statements.map(statement).collect::<Vec<_>>(),
        })
    }
}

/// Where in the frame the pixel is.
fn place(bundle: &Bundle, at: Difference) -> (u32, u32) {
    (bundle.cell.x + at.column, bundle.cell.y + at.row)
}

/// The pixel's values that carry data.
fn channels(bundle: &Bundle, said: &Statement, at: Difference) -> Vec<f32> {
    let count = bundle.job.settings.passes[at.pass].channels();
    pixel(said, at)[..count].to_vec()
}

/// Writes the cell as the first accused sees it beside the first other view of it.
fn picture(bundle: &Bundle, out: &Path) -> Result<(), Failure> {
    let fail = |why: String| Failure::preflight(format!("{}: {why}", out.display()));
    let passes = &bundle.job.settings.passes;
    let pass = passes.iter().position(|pass| *pass == Pass::Combined);
    let pass = pass.ok_or_else(|| fail("the job has no combined pass".into()))?;
    let left = accused(bundle).next();
    let differs = |said: &&Statement| left.is_some_and(|left| left.cell_bytes != said.cell_bytes);
    let (Some(left), Some(right)) = (left, bundle.statements.iter().find(differs)) else {
        return Err(fail("all say the same of the cell".into()));
    };
    let (width, height) = (
        bundle.cell.width * MAGNIFIED_PX,
        bundle.cell.height * MAGNIFIED_PX,
    );
    let size = Size {
        width: 2 * width + GAP_PX,
        height,
    };
    let colour = |x: u32, y: u32| {
        let (said, x) = match x {
            x if x < width => (left, x),
            x if x < width + GAP_PX => return [0; 4],
            x => (right, x - width - GAP_PX),
        };
        let at = Difference {
            pass,
            column: x / MAGNIFIED_PX,
            row: y / MAGNIFIED_PX,
        };
        to_srgb8(pixel(said, at))
    };
    let rgba: Vec<u8> = (0..size.height)
        .flat_map(|y| (0..size.width).flat_map(move |x| colour(x, y)))
        .collect();
    write_png(size, &rgba, out).map_err(|e| fail(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tests::World;

    #[test]
    fn places_are_frames_or_pixels_of_frames() {
        let place = |text: &str| text.parse::<Place>();
        let frame = Place {
            frame: -3,
            pixel: None,
        };
        assert_eq!(place("-3"), Ok(frame));
        let pixel = Place {
            frame: 12,
            pixel: Some((640, 8)),
        };
        assert_eq!(place("12:640,8"), Ok(pixel));
        for text in ["", "x", "1:", "1:2", "1:2,", "1:-2,3", "1.5"] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn evidence_is_of_the_tile_that_the_accused_rendered() {
        let bundle = World::new().evidence();
        let has = |text: &str| text.parse::<Place>().unwrap().has(&bundle);
        assert!(has("2") && has("2:0,0") && has("2:63,63"));
        assert!(!has("3") && !has("2:64,0"));
    }

    #[test]
    fn a_report_names_the_first_different_pixel_and_is_safe_to_print() {
        let mut bundle = World::new().evidence();
        let other = bundle.statements[1].cell_bytes.clone();
        let own = &mut bundle.statements[0].cell_bytes;
        own.copy_from_slice(&other);
        // Row 2, column 3 of the depth, in the second chunk.
        own[1024 + (2 * 8 + 3) * 16..][..4].copy_from_slice(&9.5_f32.to_le_bytes());
        let mut item = Item::new("file.json".into(), &bundle);
        let text = item.text(&bundle);
        assert!(text.contains("pixel 19,10 of depth"), "{text}");
        assert!(text.contains("not genuine") && !text.contains('\u{1b}'));
        item.values = vec![Ok(Blake3Hash([0; 32])); 2];
        let text = item.text(&bundle);
        assert!(
            text.contains(" 9.5\n") && text.contains(" 0.75\n"),
            "{text}"
        );
        let json = item.json(&bundle);
        assert_eq!(
            json["differs"],
            json!({ "pass": "depth", "x": 19, "y": 10 })
        );
        assert_eq!(json["statements"][0]["pixel"], json!([9.5]));
    }

    #[test]
    fn a_picture_shows_both_cells() {
        let world = World::new();
        let out = world.dir.path().join("both.png");
        picture(&world.evidence(), &out).unwrap();
        let header = std::fs::read(&out).unwrap();
        let side = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!((side(16), side(20)), (528, 256));
        let mut same = world.evidence();
        let bytes = same.statements[0].cell_bytes.clone();
        same.statements[1].cell_bytes = bytes;
        assert!(picture(&same, &out).is_err());
    }
}
