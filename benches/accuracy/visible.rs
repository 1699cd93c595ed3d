//! How much of a difference anybody can see: what the rule missed and what there was
//! nothing to miss in are different things.

use image::{RgbImage, imageops};

/// One just noticeable difference in CIELAB, for colours side by side (Mahy, Van Eycken and
/// Oosterlinck, "Evaluation of uniform color spaces", 1994).
pub(crate) const JUST_NOTICEABLE: f32 = 2.3;

/// Differences of two pictures, in CIELAB's units (CIE 1976).
#[derive(Clone, Copy)]
pub(crate) struct Visible {
    /// Over all pixels.
    pub(crate) mean: f32,
    /// Of the 3x3 pixels that differ most: a single pixel's noise is not seen.
    pub(crate) most: f32,
}

impl Visible {
    /// Nobody can tell them apart, not even side by side.
    pub(crate) fn is_invisible(self) -> bool {
        self.most < JUST_NOTICEABLE
    }

    /// Of two pictures; the larger one is brought to the size of the smaller. `None` when their
    /// proportions differ, or they are tiny.
    pub(crate) fn of(a: &RgbImage, b: &RgbImage) -> Option<Self> {
        let (small, large) = if a.width() <= b.width() { (a, b) } else { (b, a) };
        let (width, height) = small.dimensions();
        let expected = f64::from(large.height()) * f64::from(width) / f64::from(large.width());
        if (expected - f64::from(height)).abs() > 2.0 || width < 3 || height < 3 {
            return None;
        }
        let resized;
        let large = if large.dimensions() == small.dimensions() {
            large
        } else {
            resized = imageops::resize(large, width, height, imageops::FilterType::Lanczos3);
            &resized
        };
        let gaps: Vec<[f32; 3]> = small
            .pixels()
            .zip(large.pixels())
            .map(|(a, b)| {
                let (a, b) = (lab(a.0), lab(b.0));
                [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
            })
            .collect();
        let (width, height) = (width as usize, height as usize);
        let (mut sum, mut most) = (0f64, 0f32);
        for y in 1..height - 1 {
            for x in 1..width - 1 {
                let mut mean = [0f32; 3];
                for row in y - 1..=y + 1 {
                    for gap in &gaps[row * width + x - 1..=row * width + x + 1] {
                        mean.iter_mut().zip(gap).for_each(|(sum, gap)| *sum += gap / 9.0);
                    }
                }
                let gap = mean.iter().map(|v| v * v).sum::<f32>().sqrt();
                sum += f64::from(gap);
                most = most.max(gap);
            }
        }
        Some(Self { mean: (sum / ((width - 2) * (height - 2)) as f64) as f32, most })
    }
}

/// CIELAB of an sRGB colour, white point D65.
fn lab(rgb: [u8; 3]) -> [f32; 3] {
    let light = rgb.map(|value| {
        let value = f32::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let bend = |value: f32| if value > 0.008_856 { value.cbrt() } else { 7.787 * value + 16.0 / 116.0 };
    let part = |weights: [f32; 3], white: f32| {
        bend(weights.iter().zip(light).map(|(weight, light)| weight * light).sum::<f32>() / white)
    };
    let x = part([0.412_456, 0.357_576, 0.180_438], 0.950_47);
    let y = part([0.212_673, 0.715_152, 0.072_175], 1.0);
    let z = part([0.019_334, 0.119_192, 0.950_304], 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}
