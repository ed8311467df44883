//! Frame ranges as animators write them: `1`, `1-10`, `1..10`, `10-1`, `-5--1`, `1-10x2`, `1-10:2`, `1,5,9`.
//!
//! A step (`x` as Deadline and OpenCue write it, `:` as Open Job Description does) keeps every so-manieth
//! frame, starting with the first. Order is kept: `10-1` renders backwards.

use crate::limits::JOB_FRAMES_MAX;
use std::{collections::HashSet, fmt, str::FromStr};

/// One part of a range: from `first` towards `last`, every `step` frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    first: i32,
    last: i32,
    step: u32,
}

impl Segment {
    fn frames(&self) -> impl Iterator<Item = i32> + use<> {
        let Segment { first, last, step } = *self;
        let direction = if last < first { -1 } else { 1 };
        (0..self.len()).map(move |index| {
            (i64::from(first) + direction * index as i64 * i64::from(step)) as i32
        })
    }

    fn len(&self) -> u64 {
        (i64::from(self.last) - i64::from(self.first)).unsigned_abs() / u64::from(self.step) + 1
    }
}

/// A range of frames as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameRange {
    segments: Vec<Segment>,
}

/// Why a text is not a frame range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameRangeError {
    /// Nothing between commas, or nothing at all.
    #[error("a frame range is empty")]
    Empty,
    /// A part that cannot be read.
    #[error("`{0}` is not a frame range such as 1-250, 1..10, 1-10x2 or 1,5,9")]
    Form(String),
    /// A step of zero.
    #[error("the step of `{0}` is zero")]
    ZeroStep(String),
    /// Over [`JOB_FRAMES_MAX`].
    #[error("{0} frames are more than the {JOB_FRAMES_MAX} of one job")]
    TooMany(u64),
}

/// A range written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Each frame once, in the order of its first mention.
    pub frames: Vec<i32>,
    /// Frames that were mentioned again.
    pub duplicates: usize,
}

impl FrameRange {
    /// The frames from `first` to `last`, every `step` one.
    pub fn span(first: i32, last: i32, step: u32) -> Self {
        Self {
            segments: vec![Segment {
                first,
                last,
                step: step.max(1),
            }],
        }
    }

    /// Writes the range out, each frame once.
    pub fn expand(&self) -> Expansion {
        let mut seen = HashSet::new();
        let mentioned = self.segments.iter().map(Segment::len).sum::<u64>() as usize;
        let frames: Vec<i32> = self
            .segments
            .iter()
            .flat_map(Segment::frames)
            .filter(|frame| seen.insert(*frame))
            .collect();
        Expansion {
            duplicates: mentioned - frames.len(),
            frames,
        }
    }
}

/// Splits a signed number off the front of a text.
fn leading_number(text: &str) -> Option<(i32, &str)> {
    let sign = usize::from(text.starts_with('-'));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(sign + digits);
    number.parse().ok().map(|number| (number, rest))
}

fn parse_segment(part: &str) -> Result<Segment, FrameRangeError> {
    let form = || FrameRangeError::Form(part.chars().take(80).collect());
    let (first, rest) = leading_number(part).ok_or_else(form)?;
    if rest.is_empty() {
        return Ok(Segment {
            first,
            last: first,
            step: 1,
        });
    }
    let rest = rest
        .strip_prefix("..")
        .or_else(|| rest.strip_prefix('-'))
        .ok_or_else(form)?;
    let (last, rest) = leading_number(rest).ok_or_else(form)?;
    if rest.is_empty() {
        return Ok(Segment {
            first,
            last,
            step: 1,
        });
    }
    let digits = rest
        .strip_prefix(['x', ':'])
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.ok_or_else(form)?.parse() {
        Ok(0) => Err(FrameRangeError::ZeroStep(part.to_owned())),
        Ok(step) => Ok(Segment { first, last, step }),
        Err(_) => Err(form()),
    }
}

impl FromStr for FrameRange {
    type Err = FrameRangeError;
    fn from_str(text: &str) -> Result<Self, FrameRangeError> {
        let mut segments = Vec::new();
        for part in text.split(',').map(str::trim) {
            if part.is_empty() {
                return Err(FrameRangeError::Empty);
            }
            segments.push(parse_segment(part)?);
        }
        match segments.iter().map(Segment::len).sum::<u64>() {
            count if count > JOB_FRAMES_MAX as u64 => Err(FrameRangeError::TooMany(count)),
            _ => Ok(Self { segments }),
        }
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", segment.first)?;
            if segment.last != segment.first || segment.step != 1 {
                write!(f, "-{}", segment.last)?;
            }
            if segment.step != 1 {
                write!(f, "x{}", segment.step)?;
            }
        }
        Ok(())
    }
}

/// The shortest range that names exactly these frames in this order: to echo an expansion to the user.
pub fn summarize(frames: &[i32]) -> String {
    let mut segments: Vec<Segment> = Vec::new();
    for &frame in frames {
        match segments.last_mut() {
            Some(run) if i64::from(frame) == i64::from(run.last) + 1 && run.last >= run.first => {
                run.last = frame
            }
            Some(run) if i64::from(frame) == i64::from(run.last) - 1 && run.last <= run.first => {
                run.last = frame
            }
            _ => segments.push(Segment {
                first: frame,
                last: frame,
                step: 1,
            }),
        }
    }
    FrameRange { segments }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(text: &str) -> Vec<i32> {
        text.parse::<FrameRange>().unwrap().expand().frames
    }

    #[test]
    fn ranges_read_as_animators_write_them() {
        assert_eq!(frames("7"), [7]);
        assert_eq!(frames("1-4"), [1, 2, 3, 4]);
        assert_eq!(frames("1..4"), [1, 2, 3, 4]);
        assert_eq!(frames("4-1"), [4, 3, 2, 1]);
        assert_eq!(frames("-5--1"), [-5, -4, -3, -2, -1]);
        assert_eq!(frames("-2..1"), [-2, -1, 0, 1]);
        assert_eq!(frames("1-10x3"), [1, 4, 7, 10]);
        assert_eq!(frames("1-10:2"), [1, 3, 5, 7, 9]);
        assert_eq!(frames("10-1x4"), [10, 6, 2]);
        assert_eq!(frames("1,5, 9"), [1, 5, 9]);
    }

    #[test]
    fn duplicates_come_once_and_are_counted() {
        let expansion = "1-5,3-7".parse::<FrameRange>().unwrap().expand();
        assert_eq!(
            expansion,
            Expansion {
                frames: (1..=7).collect(),
                duplicates: 3
            }
        );
    }

    #[test]
    fn what_is_not_a_range_is_refused_by_name() {
        for bad in [
            "a",
            "1-",
            "-",
            "1-10y2",
            "1-10x",
            "1-2-3",
            "1...3",
            "99999999999",
            "1-10x-1",
        ] {
            assert!(
                matches!(bad.parse::<FrameRange>(), Err(FrameRangeError::Form(_))),
                "{bad}"
            );
        }
        for empty in ["", ",", "1,,2", " "] {
            assert_eq!(
                empty.parse::<FrameRange>(),
                Err(FrameRangeError::Empty),
                "{empty}"
            );
        }
        assert!(matches!(
            "1-10x0".parse::<FrameRange>(),
            Err(FrameRangeError::ZeroStep(_))
        ));
        assert!(matches!(
            "0-2000000000".parse::<FrameRange>(),
            Err(FrameRangeError::TooMany(_))
        ));
    }

    #[test]
    fn expansions_are_echoed_short() {
        assert_eq!(summarize(&[1, 2, 3, 7, 9, 8]), "1-3,7,9-8");
    }

    proptest! {
        #[test]
        fn ranges_print_and_parse_back(parts in proptest::collection::vec((-900i32..900, -900i32..900, 1u32..50), 1..6)) {
            let range = FrameRange {
                segments: parts.into_iter().map(|(first, last, step)| Segment { first, last, step }).collect(),
            };
            prop_assert_eq!(range.to_string().parse::<FrameRange>().map(|r| r.expand()), Ok(range.expand()));
        }

        #[test]
        fn summaries_expand_to_the_same_frames(frames in proptest::collection::vec(-50i32..50, 1..40)) {
            let unique: Vec<i32> = { let mut seen = HashSet::new(); frames.into_iter().filter(|f| seen.insert(*f)).collect() };
            prop_assert_eq!(summarize(&unique).parse::<FrameRange>().unwrap().expand().frames, unique);
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<FrameRange>();
        }
    }
}
