//! From linear pixels to eight bits for a screen: exposure 0, clipping, the transfer function of sRGB.

use crate::math::max;
use std::sync::LazyLock;

/// The linear value from which on a channel rounds to 1, 2, ... 255.
static THRESHOLDS: LazyLock<[f32; 255]> = LazyLock::new(|| {
    std::array::from_fn(|step| {
        let encoded = (step as f64 + 0.5) / 255.0;
        let linear = if encoded <= 0.040_45 {
            encoded / 12.92
        } else {
            libm::pow((encoded + 0.055) / 1.055, 2.4)
        };
        linear as f32
    })
});

/// A premultiplied linear pixel as sRGB with straight alpha, as PNG stores it. What is not a number becomes 0.
pub fn to_srgb8([red, green, blue, alpha]: [f32; 4]) -> [u8; 4] {
    let alpha = alpha.clamp(0.0, 1.0);
    // Fully transparent pixels keep their colour: there is nothing to divide by.
    let coverage = if alpha > 0.0 { alpha } else { 1.0 };
    let encode = |linear: f32| {
        let linear = max(linear / coverage, 0.0);
        THRESHOLDS.partition_point(|&threshold| threshold <= linear) as u8
    };
    [
        encode(red),
        encode(green),
        encode(blue),
        (alpha * 255.0 + 0.5) as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_round_to_the_nearest_code() {
        for code in 0..=255u8 {
            let encoded = f64::from(code) / 255.0;
            let linear = if encoded <= 0.040_45 {
                encoded / 12.92
            } else {
                libm::pow((encoded + 0.055) / 1.055, 2.4)
            } as f32;
            assert_eq!(to_srgb8([linear, 0.0, 2.0, 1.0]), [code, 0, 255, 255]);
        }
    }

    #[test]
    fn alpha_is_kept_and_divided_out() {
        assert_eq!(to_srgb8([0.25, 0.5, 0.0, 0.5]), [188, 255, 0, 128]);
        assert_eq!(
            to_srgb8([f32::NAN, -1.0, f32::INFINITY, 0.0]),
            [0, 0, 255, 0]
        );
    }
}
