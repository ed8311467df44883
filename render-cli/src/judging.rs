//! Judges tiles of other determinism classes by their noise: cuts regions out of what was delivered and has the own engine
//! render them with two seeds.

use crate::{job::JobContext, own_engine::TwoSeeds};
use network::BlobStore;
use protocol::{
    Blake3Hash, Pass, Rect, RenderedRect, SampleRange, limits::TASK_BYTES_MAX,
    pixels::CELL_PASS_BYTES,
};
use verifier::{
    NoiseVerdict, data_agrees,
    noise::{Limits, Pixel, Region, decide, measure},
};

/// A delivery to be judged, and where.
pub struct Accused {
    pub frame: i32,
    /// The samples of each pixel that were delivered, if not all.
    pub samples: Option<SampleRange>,
    /// What was delivered.
    pub rects: Vec<Rect>,
    /// The blob with it.
    pub root: Blake3Hash,
    /// Squares of whole cells within the first rectangle.
    pub regions: Vec<Rect>,
    /// What the reference's seed is larger by.
    pub seed: u32,
}

/// May this be honest work?
pub async fn judge(context: &JobContext, accused: Accused) -> Result<NoiseVerdict, String> {
    let part = (accused.frame, accused.samples);
    let asked = context
        .own_engine
        .two_seeds(part, accused.regions.clone(), accused.seed);
    let renders = asked.await?;
    let (blobs, passes) = (context.blobs.clone(), context.spec.settings.passes.clone());
    let judging = tokio::task::spawn_blocking(move || {
        let delivered = cut(&blobs, &accused, &passes)?;
        verdict(&delivered, &renders)
    });
    judging.await.map_err(|e| e.to_string())?
}

/// The regions of a delivery.
fn cut(blobs: &BlobStore, accused: &Accused, passes: &[Pass]) -> Result<Vec<RenderedRect>, String> {
    let bytes = blobs
        .read(accused.root, TASK_BYTES_MAX)
        .map_err(|e| e.to_string())?;
    let length = passes.len() * CELL_PASS_BYTES;
    let region = |region: &Rect| {
        let places = verifier::cells::places(&accused.rects, &[*region])?;
        let mut cells = Vec::with_capacity(places.len() * length);
        for place in places {
            cells.extend_from_slice(bytes.get(place * length..(place + 1) * length)?);
        }
        Some(RenderedRect::from_canonical(*region, passes, &cells).map_err(|e| e.to_string()))
    };
    let regions = accused.regions.iter();
    regions
        .map(|rect| region(rect).unwrap_or_else(|| Err(format!("{rect} was not delivered"))))
        .collect()
}

fn verdict(delivered: &[RenderedRect], renders: &TwoSeeds) -> Result<NoiseVerdict, String> {
    if renders.own.len() != delivered.len() || renders.other.len() != delivered.len() {
        return Err("the own engine rendered other regions".into());
    }
    let seeds = renders.own.iter().zip(&renders.other);
    let all = delivered.iter().zip(seeds);
    let measured = all.map(|(accused, (judge, reference))| {
        let rect = accused.rect;
        Ok(measure(&Region {
            width: rect.width as usize,
            height: rect.height as usize,
            judge: picture(judge)?,
            accused: picture(accused)?,
            reference: picture(reference)?,
        }))
    });
    let measured = measured.collect::<Result<Vec<_>, String>>()?;
    let pixels = delivered.first().map_or(0, |region| region.rect.area());
    let by_noise = decide(&measured, &Limits::for_region_of(pixels as usize));
    let mut pairs = delivered.iter().zip(&renders.own);
    Ok(match by_noise {
        NoiseVerdict::Accepted if !pairs.all(|(accused, judge)| data_of(accused, judge)) => {
            NoiseVerdict::Inconclusive(None)
        }
        verdict => verdict,
    })
}

/// Do the passes besides the picture agree?
fn data_of(accused: &RenderedRect, judge: &RenderedRect) -> bool {
    let planes = accused.planes.iter().zip(&judge.planes);
    let mut data = planes.filter(|((pass, _), _)| *pass != Pass::Combined);
    data.all(|((pass, ours), (same, theirs))| pass == same && data_agrees(ours, theirs))
}

fn picture(rendered: &RenderedRect) -> Result<&[Pixel], String> {
    let mut planes = rendered.planes.iter();
    let combined = planes.find(|(pass, _)| *pass == Pass::Combined);
    let pixels = combined.map(|(_, pixels)| pixels.as_slice());
    pixels.ok_or_else(|| "a job without a picture has no noise to be judged by".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: Rect = Rect {
        x: 8,
        y: 16,
        width: 32,
        height: 32,
    };

    /// A grey region with the noise of this seed, and a flat normal.
    fn rendered(seed: u32) -> RenderedRect {
        let mut state = seed;
        let mut pixel = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = 0.5 + (state >> 16) as f32 / 65_536.0 * 0.2;
            [value, value, value, 1.0]
        };
        let area = 0..REGION.area();
        RenderedRect {
            rect: REGION,
            planes: vec![
                (Pass::Combined, area.clone().map(&mut pixel).collect()),
                (Pass::Normal, area.map(|_| [0.0, 0.0, 1.0, 0.0]).collect()),
            ],
        }
    }

    fn verdict_on(accused: RenderedRect) -> NoiseVerdict {
        let renders = TwoSeeds {
            own: vec![rendered(1), rendered(2)],
            other: vec![rendered(3), rendered(4)],
        };
        verdict(&[accused, rendered(2)], &renders).unwrap()
    }

    #[test]
    fn the_noise_decides_and_other_passes_cast_doubt() {
        assert_eq!(verdict_on(rendered(1)), NoiseVerdict::Accepted);
        let renders = TwoSeeds {
            own: vec![rendered(1), rendered(2)],
            other: vec![rendered(3), rendered(4)],
        };
        let all_of_another_seed = verdict(&[rendered(9), rendered(8)], &renders).unwrap();
        assert!(matches!(all_of_another_seed, NoiseVerdict::Rejected(_)));
        let mut turned = rendered(1);
        turned.planes[1].1.fill([1.0, 0.0, 0.0, 0.0]);
        assert_eq!(verdict_on(turned), NoiseVerdict::Inconclusive(None));
        assert!(verdict(&[rendered(1)], &renders).is_err());
    }

    #[test]
    fn regions_are_cut_out_of_a_delivery() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let passes = [Pass::Combined, Pass::Normal];
        let part = Rect {
            x: 16,
            y: 24,
            width: 16,
            height: 16,
        };
        let bytes = protocol::pixels::task_bytes(&[rendered(5)], &passes).unwrap();
        let accused = |region| Accused {
            frame: 1,
            samples: None,
            rects: vec![REGION],
            root: blobs.add_bytes(&bytes).unwrap(),
            regions: vec![region],
            seed: 1,
        };
        let cut_out = cut(&blobs, &accused(part), &passes).unwrap();
        let whole = rendered(5);
        for ((_, cut), (_, whole)) in cut_out[0].planes.iter().zip(&whole.planes) {
            for (at, pixel) in cut.iter().enumerate() {
                let (x, y) = (8 + at % 16, 8 + at / 16);
                assert_eq!(*pixel, whole[y * 32 + x]);
            }
        }
        let outside = Rect { x: 40, ..part };
        assert!(cut(&blobs, &accused(outside), &passes).is_err());
    }
}
