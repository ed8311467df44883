//! What a rendered rectangle shows that a whole and right picture cannot: caught where it was rendered, before anything is
//! committed to.

use crate::EngineError;
use protocol::{Pass, RenderedRect};

/// Refuses values that are not finite, and pixels that nothing was rendered of. `opaque` says that the film and all that is
/// before the camera lets nothing through, so that every pixel must have an alpha.
///
/// # Errors
/// [`EngineError::Failed`] names the first such pixel.
pub(super) fn check(rendered: &RenderedRect, frame: i32, opaque: bool) -> Result<(), EngineError> {
    for (pass, plane) in &rendered.planes {
        let not_finite = |pixel: &[f32; 4]| !pixel.iter().all(|value| value.is_finite());
        if let Some(at) = first(rendered, plane, not_finite) {
            return Err(EngineError::Failed(format!(
                "pixel {at} of pass {pass} of frame {frame} is not a finite number"
            )));
        }
        let is_empty = |pixel: &[f32; 4]| pixel[3] == 0.0;
        if opaque
            && *pass == Pass::Combined
            && let Some(at) = first(rendered, plane, is_empty)
        {
            return Err(EngineError::Failed(format!(
                "pixel {at} of frame {frame} was not rendered: it is transparent, and the scene's film is not"
            )));
        }
    }
    Ok(())
}

/// Where the first such pixel of a plane lies in the frame.
fn first(
    rendered: &RenderedRect,
    plane: &[[f32; 4]],
    is_bad: impl Fn(&[f32; 4]) -> bool,
) -> Option<String> {
    let rect = rendered.rect;
    let index = plane.iter().position(is_bad)? as u32;
    let (x, y) = (rect.x + index % rect.width, rect.y + index / rect.width);
    Some(format!("{x},{y}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Rect;

    fn rendered(pass: Pass, last: [f32; 4]) -> RenderedRect {
        let rect = Rect {
            x: 8,
            y: 16,
            width: 3,
            height: 2,
        };
        let mut plane = vec![[0.0, 0.0, 0.0, 1.0]; 6];
        plane[5] = last;
        RenderedRect {
            rect,
            planes: vec![(pass, plane)],
        }
    }

    #[test]
    fn pixels_that_nobody_rendered_are_named_where_the_film_is_opaque() {
        let empty = rendered(Pass::Combined, [0.0; 4]);
        assert!(check(&empty, 7, false).is_ok());
        let why = check(&empty, 7, true).unwrap_err().to_string();
        assert!(
            why.contains("pixel 10,17 of frame 7 was not rendered"),
            "{why}"
        );
        // A black pixel may be right, and other passes have no alpha.
        assert!(check(&rendered(Pass::Combined, [0.0, 0.0, 0.0, 1.0]), 7, true).is_ok());
        assert!(check(&rendered(Pass::Depth, [0.0; 4]), 7, true).is_ok());
    }

    #[test]
    fn values_that_are_no_numbers_are_named() {
        let bad = rendered(Pass::Combined, [0.0, f32::NAN, 0.0, 1.0]);
        let why = check(&bad, 7, false).unwrap_err().to_string();
        assert!(
            why.contains("pixel 10,17 of pass combined of frame 7"),
            "{why}"
        );
    }
}
