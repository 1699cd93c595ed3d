//! Box averages of decoded rows: the first, big step from a picture to its hash.
//!
//! The factor is chosen so that a large JPEG's 8x8 blocks *are* the boxes and their DC
//! coefficients the averages: a reader that skips everything else gives the same planes
//! as a full decode (`store/decode/jpeg.rs`).

use super::HASH;
use super::planes::{Plane, Reduced};

/// Side of the luma cells, in pixels, of a picture of this size: the largest of 1, 2, 4
/// and 8 that leaves at least the hash's 256 cells on the shorter side.
#[must_use]
pub fn luma_scale(width: u32, height: u32) -> u32 {
    scale(width, height, 8, HASH.luma_side)
}

/// Side of the chroma cells: the largest power of two up to 16 that leaves at least 64
/// cells on the shorter side. A multiple of [`luma_scale`].
#[must_use]
pub fn chroma_scale(width: u32, height: u32) -> u32 {
    scale(width, height, 16, HASH.chroma_side)
}

fn scale(width: u32, height: u32, largest: u32, cells: usize) -> u32 {
    let mut scale = largest;
    while scale > 1 && ((width.min(height) / scale) as usize) < cells {
        scale /= 2;
    }
    scale
}

/// Bytes that the reduced planes of a picture take, with what making them takes.
#[must_use]
pub fn reduced_bytes(width: u32, height: u32) -> u64 {
    let cells = |scale: u32| {
        u64::from(width / scale + 1).saturating_mul(u64::from(height / scale + 1)).saturating_mul(4)
    };
    let luma = cells(luma_scale(width, height));
    let chroma = cells(chroma_scale(width, height)).saturating_mul(2);
    // A few rows of sums and the tall plane of `Plane::square`.
    luma.saturating_add(chroma).saturating_add(u64::from(width).saturating_mul(64)).saturating_add(1 << 20)
}

/// What the samples of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// One luma sample a pixel.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Y, Cb, Cr as JPEG has them.
    YCbCr,
}

impl Samples {
    /// Samples of a pixel.
    #[must_use]
    pub fn channels(self) -> usize {
        if self == Self::Grey { 1 } else { 3 }
    }
}

/// Takes a picture's rows from top to bottom and averages them into cells.
#[derive(Debug)]
pub struct Reducer {
    samples: Samples,
    width: u32,
    height: u32,
    luma_scale: u32,
    chroma_scale: u32,
    /// Sums of the cell row being filled, `channels` a cell.
    sums: Vec<u32>,
    rows: u32,
    rows_in_sums: u32,
    luma: Vec<f32>,
    /// Cb and Cr of the chroma cell row being filled, weighted by pixels, and the weight.
    chroma_sums: Vec<[f32; 3]>,
    chroma: [Vec<f32>; 2],
}

impl Reducer {
    /// For a picture of `width` x `height` pixels.
    #[must_use]
    pub fn new(samples: Samples, width: u32, height: u32) -> Self {
        let (luma_scale, chroma_scale) = (luma_scale(width, height), chroma_scale(width, height));
        let cells = width.div_ceil(luma_scale) as usize;
        let chroma_cells = width.div_ceil(chroma_scale) as usize;
        Self {
            samples,
            width,
            height,
            luma_scale,
            chroma_scale,
            sums: vec![0; cells * samples.channels()],
            rows: 0,
            rows_in_sums: 0,
            luma: Vec::with_capacity(cells * height.div_ceil(luma_scale) as usize),
            chroma_sums: vec![[0.0; 3]; if samples == Samples::Grey { 0 } else { chroma_cells }],
            chroma: [Vec::new(), Vec::new()],
        }
    }

    /// The next row: `width` pixels.
    pub fn row(&mut self, row: &[u8]) {
        let scale = self.luma_scale as usize;
        match self.samples {
            Samples::Grey => {
                for (sum, cell) in self.sums.iter_mut().zip(row.chunks(scale)) {
                    *sum += cell.iter().map(|v| u32::from(*v)).sum::<u32>();
                }
            }
            Samples::Rgb | Samples::YCbCr => {
                for (sums, cell) in self.sums.chunks_exact_mut(3).zip(row.chunks(scale * 3)) {
                    for pixel in cell.chunks_exact(3) {
                        sums[0] += u32::from(pixel[0]);
                        sums[1] += u32::from(pixel[1]);
                        sums[2] += u32::from(pixel[2]);
                    }
                }
            }
        }
        self.rows += 1;
        self.rows_in_sums += 1;
        if self.rows_in_sums == self.luma_scale || self.rows == self.height {
            self.finish_cells();
        }
    }

    fn finish_cells(&mut self) {
        let channels = self.samples.channels();
        let (scale, ratio) = (self.luma_scale, (self.chroma_scale / self.luma_scale) as usize);
        for (i, sums) in self.sums.chunks_exact_mut(channels).enumerate() {
            let columns = (self.width - i as u32 * scale).min(scale);
            let pixels = (columns * self.rows_in_sums) as f32;
            let mean = |sum: u32| sum as f32 / pixels;
            let (luma, colour) = match *sums {
                [r, g, b] if self.samples == Samples::Rgb => {
                    let (luma, cb, cr) = bt601(mean(r), mean(g), mean(b));
                    (luma, Some((cb, cr)))
                }
                [y, cb, cr] => (mean(y), Some((mean(cb), mean(cr)))),
                [grey, ..] => (mean(grey), None),
                [] => continue,
            };
            self.luma.push(luma);
            if let (Some((cb, cr)), Some(cell)) = (colour, self.chroma_sums.get_mut(i / ratio)) {
                *cell = [cell[0] + cb * pixels, cell[1] + cr * pixels, cell[2] + pixels];
            }
            sums.fill(0);
        }
        self.rows_in_sums = 0;
        if self.rows.is_multiple_of(self.chroma_scale) || self.rows == self.height {
            for cell in &mut self.chroma_sums {
                self.chroma[0].push(cell[0] / cell[2]);
                self.chroma[1].push(cell[1] / cell[2]);
                *cell = [0.0; 3];
            }
        }
    }

    /// The planes; `None` when rows are missing.
    #[must_use]
    pub fn finish(self) -> Option<Reduced> {
        let plane = |scale, cells| Plane::new(self.width, self.height, scale, cells);
        let luma = plane(self.luma_scale, self.luma)?;
        let [cb, cr] = self.chroma;
        let chroma = match self.samples {
            Samples::Grey => None,
            _ => Some([plane(self.chroma_scale, cb)?, plane(self.chroma_scale, cr)?]),
        };
        Some(Reduced { luma, chroma })
    }
}

/// BT.601, full range: the luma and chroma of JPEG, whatever the format. Another luma
/// would move the hash of a PNG against that of the JPEG made from it by up to 30 bits.
fn bt601(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let luma = 0.299 * r + 0.587 * g + 0.114 * b;
    (luma, 128.0 + (b - luma) / 1.772, 128.0 + (r - luma) / 1.402)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scales_leave_enough_cells() {
        for (sides, luma, chroma) in [
            ((100, 100), 1, 1),
            ((512, 9000), 2, 8),
            ((1920, 1080), 4, 16),
            ((4000, 3000), 8, 16),
            ((65_535, 65_535), 8, 16),
        ] {
            assert_eq!(
                (luma_scale(sides.0, sides.1), chroma_scale(sides.0, sides.1)),
                (luma, chroma),
                "{sides:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The reducer against the definition: each cell is the mean of its pixels.
        #[test]
        fn cells_are_the_means_of_their_pixels(width in 250u32..1100, height in 250u32..600, seed: u8) {
            let pixel = |x: u32, y: u32, c: u32| {
                (x.wrapping_mul(7) ^ y.wrapping_mul(13) ^ (c * 91) ^ u32::from(seed)) as u8
            };
            let mut reducer = Reducer::new(Samples::Rgb, width, height);
            for y in 0..height {
                let row: Vec<u8> = (0..width).flat_map(|x| (0..3).map(move |c| pixel(x, y, c))).collect();
                reducer.row(&row);
            }
            let reduced = reducer.finish().unwrap();
            let mean = |cell: usize, scale: u32, value: &dyn Fn(f32, f32, f32) -> f32| {
                let columns = width.div_ceil(scale) as usize;
                let (cx, cy) = ((cell % columns) as u32 * scale, (cell / columns) as u32 * scale);
                let (mut sum, mut count) = (0.0f64, 0);
                for y in cy..(cy + scale).min(height) {
                    for x in cx..(cx + scale).min(width) {
                        let rgb = [0, 1, 2].map(|c| f32::from(pixel(x, y, c)));
                        sum += f64::from(value(rgb[0], rgb[1], rgb[2]));
                        count += 1;
                    }
                }
                (sum / f64::from(count)) as f32
            };
            let scale = luma_scale(width, height);
            for cell in [0, 77, reduced.luma.cells().len() - 1] {
                let expected = mean(cell, scale, &|r, g, b| bt601(r, g, b).0);
                prop_assert!((reduced.luma.cells()[cell] - expected).abs() < 0.02);
            }
            let scale = chroma_scale(width, height);
            let [cb, cr] = reduced.chroma.as_ref().unwrap();
            for cell in [0, 77, cb.cells().len() - 1] {
                prop_assert!((cb.cells()[cell] - mean(cell, scale, &|r, g, b| bt601(r, g, b).1)).abs() < 0.02);
                prop_assert!((cr.cells()[cell] - mean(cell, scale, &|r, g, b| bt601(r, g, b).2)).abs() < 0.02);
            }
        }
    }

    #[test]
    fn missing_rows_are_noticed() {
        let mut reducer = Reducer::new(Samples::Grey, 10, 3);
        reducer.row(&[0; 10]);
        assert!(reducer.finish().is_none());
    }
}
