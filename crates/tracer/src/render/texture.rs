//! Looking up images: wrapping, bilinear filtering, KHR_texture_transform.

use super::warp::sin_cos_turns;
use crate::world::{Texture, TextureRef, Wrap};
use std::f32::consts::TAU;

/// A use of an image, ready to look up.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextureMap {
    texture: usize,
    pub texcoord: usize,
    /// Rows of the affine map from mesh to image coordinates.
    rows: [[f32; 3]; 2],
}

impl TextureMap {
    pub fn new(usage: &TextureRef) -> TextureMap {
        let turns = usage.rotation / TAU;
        let (sin, cos) = sin_cos_turns(turns - turns.floor());
        let ([offset_u, offset_v], [scale_u, scale_v]) = (usage.offset, usage.scale);
        TextureMap {
            texture: usage.texture,
            texcoord: usage.texcoord.min(1),
            // Counter-clockwise where v points down.
            rows: [
                [cos * scale_u, sin * scale_v, offset_u],
                [-sin * scale_u, cos * scale_v, offset_v],
            ],
        }
    }

    /// The image's value at a mesh's texture coordinates.
    pub fn look_up(&self, textures: &[Texture], texcoords: &[[f32; 2]; 2]) -> [f32; 4] {
        let [u, v] = texcoords[self.texcoord];
        let [x, y] = self.rows.map(|[a, b, c]| a * u + b * v + c);
        look_up(&textures[self.texture], x, y)
    }

    /// The area in texels of a triangle with these texture coordinates.
    pub fn texel_area(&self, textures: &[Texture], corners: [[f32; 2]; 3]) -> f32 {
        let texture = &textures[self.texture];
        let [[a, b, _], [c, d, _]] = self.rows;
        let edge = |to: usize| {
            let (du, dv) = (
                corners[to][0] - corners[0][0],
                corners[to][1] - corners[0][1],
            );
            (
                (a * du + b * dv) * texture.width as f32,
                (c * du + d * dv) * texture.height as f32,
            )
        };
        let (first, second) = (edge(1), edge(2));
        (first.0 * second.1 - first.1 * second.0).abs() * 0.5
    }
}

/// A value at image coordinates; 0,0 is the top left corner of the image.
fn look_up(texture: &Texture, u: f32, v: f32) -> [f32; 4] {
    let (width, height) = (texture.width as i32, texture.height as i32);
    let (x, y) = (
        into_period(u, texture.wrap[0]) * width as f32,
        into_period(v, texture.wrap[1]) * height as f32,
    );
    let texel = |column: i32, row: i32| {
        let column = wrap(column, width, texture.wrap[0]);
        let row = wrap(row, height, texture.wrap[1]);
        texture.pixels[row * width as usize + column]
    };
    if texture.nearest {
        return texel(x.floor() as i32, y.floor() as i32);
    }
    let (x, y) = (x - 0.5, y - 0.5);
    let (column, row) = (x.floor(), y.floor());
    let (right, down) = (x - column, y - row);
    let (column, row) = (column as i32, row as i32);
    let blend =
        |a: [f32; 4], b: [f32; 4], t: f32| std::array::from_fn(|i| a[i] * (1.0 - t) + b[i] * t);
    blend(
        blend(texel(column, row), texel(column + 1, row), right),
        blend(texel(column, row + 1), texel(column + 1, row + 1), right),
        down,
    )
}

/// The same place near the first copy of the image, so that large coordinates keep their fraction and no
/// conversion to an integer saturates. What is not finite becomes zero.
fn into_period(coordinate: f32, wrap: Wrap) -> f32 {
    if !coordinate.is_finite() {
        return 0.0;
    }
    match wrap {
        Wrap::Repeat => coordinate - coordinate.floor(),
        Wrap::Mirror => coordinate - (coordinate * 0.5).floor() * 2.0,
        Wrap::Clamp => coordinate.clamp(-1.0, 2.0),
    }
}

/// The index of a texel that may lie outside the image by as much as [`into_period`] leaves.
fn wrap(index: i32, size: i32, wrap: Wrap) -> usize {
    let inside = match wrap {
        Wrap::Repeat if index < 0 => index + size,
        Wrap::Repeat if index >= size => index - size,
        Wrap::Mirror if index < 0 || index >= 2 * size => 0,
        Wrap::Mirror if index >= size => 2 * size - 1 - index,
        _ => index,
    };
    inside.clamp(0, size - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two by two, with the column in red and the row in green.
    fn texture(wrap: Wrap, nearest: bool) -> Texture {
        Texture {
            width: 2,
            height: 2,
            pixels: vec![
                [0.0, 0.0, 0.0, 1.0],
                [1.0, 0.0, 0.0, 1.0],
                [0.0, 1.0, 0.0, 1.0],
                [1.0, 1.0, 0.0, 1.0],
            ],
            wrap: [wrap; 2],
            nearest,
        }
    }

    fn plain() -> TextureRef {
        TextureRef {
            texture: 0,
            texcoord: 0,
            offset: [0.0; 2],
            rotation: 0.0,
            scale: [1.0; 2],
        }
    }

    fn red(texture: &Texture, u: f32, v: f32) -> f32 {
        look_up(texture, u, v)[0]
    }

    #[test]
    fn wrapping_follows_its_kind() {
        let (repeat, mirror, clamp) = (
            texture(Wrap::Repeat, true),
            texture(Wrap::Mirror, true),
            texture(Wrap::Clamp, true),
        );
        for (u, expected) in [(0.25, [0.0; 3]), (0.75, [1.0; 3])] {
            assert_eq!([&repeat, &mirror, &clamp].map(|t| red(t, u, 0.2)), expected);
        }
        assert_eq!(
            [&repeat, &mirror, &clamp].map(|t| red(t, 1.25, 0.2)),
            [0.0, 1.0, 1.0]
        );
        assert_eq!(
            [&repeat, &mirror, &clamp].map(|t| red(t, -0.25, 0.2)),
            [1.0, 0.0, 0.0]
        );
        assert_eq!(
            [&repeat, &mirror, &clamp].map(|t| red(t, 4e9, 0.2)),
            [0.0, 0.0, 1.0]
        );
        assert_eq!(red(&clamp, f32::NAN, f32::INFINITY), 0.0);
    }

    #[test]
    fn bilinear_meets_texel_centres_and_blends_between() {
        let clamp = texture(Wrap::Clamp, false);
        assert_eq!(red(&clamp, 0.25, 0.5), 0.0);
        assert_eq!(red(&clamp, 0.5, 0.5), 0.5);
        assert_eq!(look_up(&clamp, 0.75, 0.5), [1.0, 0.5, 0.0, 1.0]);
        assert_eq!(red(&texture(Wrap::Repeat, false), 0.0, 0.5), 0.5);
    }

    #[test]
    fn the_transform_scales_then_turns_then_shifts() {
        let map = TextureMap::new(&TextureRef {
            offset: [0.1, 0.2],
            rotation: TAU / 4.0,
            scale: [2.0, 3.0],
            ..plain()
        });
        let [u, v] = map.rows.map(|[a, b, c]| a * 0.5 + b * 0.25 + c);
        // (0.5, 0.25) becomes (1, 0.75); a quarter turn gives (0.75, -1).
        assert!((u - 0.85).abs() < 1e-6 && (v + 0.8).abs() < 1e-6, "{u} {v}");
    }

    #[test]
    fn texel_area_counts_texels() {
        let textures = [texture(Wrap::Repeat, true)];
        let map = TextureMap::new(&plain());
        let area = map.texel_area(&textures, [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(area, 2.0);
    }
}
