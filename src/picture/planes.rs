//! Planes of pixels: as a decoder leaves them, shrunk, and as the hash wants them, square
//! and upright.

use super::HASH;

/// How the stored pixels have to be turned to stand upright: EXIF's values 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// Stored upright.
    pub const UPRIGHT: Self = Self(1);

    /// EXIF tag 0x0112; anything outside 1 to 8 means nothing and counts as upright.
    #[must_use]
    pub fn from_exif(value: u32) -> Self {
        match value {
            1..=8 => Self(value as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// Width and height trade places.
    #[must_use]
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Whether the stored columns, and the stored rows, run backwards in the upright picture.
    #[must_use]
    pub(super) fn runs_backwards(self) -> (bool, bool) {
        (matches!(self.0, 2 | 3 | 7 | 8), matches!(self.0, 3 | 4 | 6 | 7))
    }

    /// Turns a square plane of side `side` upright.
    #[must_use]
    fn turn(self, plane: Vec<u8>, side: usize) -> Vec<u8> {
        self.turn_any(plane, side).0
    }

    /// Turns a plane of any width upright; the cells, their new width and height.
    #[must_use]
    pub(super) fn turn_any<T: Copy>(self, plane: Vec<T>, width: usize) -> (Vec<T>, usize, usize) {
        let height = plane.len() / width.max(1);
        if self == Self::UPRIGHT {
            return (plane, width, height);
        }
        let (across, down) = if self.swaps_sides() { (height, width) } else { (width, height) };
        let source = |x: usize, y: usize| match self.0 {
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (y, height - 1 - x),
            7 => (width - 1 - y, height - 1 - x),
            _ => (width - 1 - y, x),
        };
        let mut out = Vec::with_capacity(plane.len());
        for y in 0..down {
            for x in 0..across {
                let (from_x, from_y) = source(x, y);
                out.push(plane[from_y * width + from_x]);
            }
        }
        (out, across, down)
    }
}

/// A plane of cells, each the average of a square of pixels.
///
/// The extent is the picture's size in cells, not rounded: the last column of a picture
/// 1,001 pixels wide in cells of 4 covers a quarter of a cell, and counts as much.
/// Dropping or stretching it would shift every copy of another size a little.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    width: usize,
    height: usize,
    extent: (f32, f32),
    cells: Vec<f32>,
}

impl Plane {
    /// Cells of `scale` pixels a side of a picture of `width` x `height` pixels, row by
    /// row. `None` when the number of cells doesn't fit or there are none.
    #[must_use]
    pub fn new(width: u32, height: u32, scale: u32, cells: Vec<f32>) -> Option<Self> {
        let (columns, rows) = (width.div_ceil(scale) as usize, height.div_ceil(scale) as usize);
        let extent = (width as f32 / scale as f32, height as f32 / scale as f32);
        (columns > 0 && cells.len() == columns.checked_mul(rows)? && rows > 0).then_some(Self {
            width: columns,
            height: rows,
            extent,
            cells,
        })
    }

    /// The cells, row by row.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        &self.cells
    }

    /// The plane at `side` x `side`, by convolution with a triangle as wide as the
    /// reduction (what image programs call "bilinear" for shrinking).
    ///
    /// Written here and not taken from a library with vector code: the order of the sums
    /// is part of the hash.
    #[must_use]
    fn square(&self, side: usize) -> Vec<u8> {
        let mut tall = vec![0f32; self.width * side];
        for (row, weights) in tall.chunks_exact_mut(self.width).zip(taps(self.height, self.extent.1, side)) {
            for (i, weight) in weights.weights.iter().enumerate() {
                let start = (weights.first + i) * self.width;
                for (sum, cell) in row.iter_mut().zip(&self.cells[start..start + self.width]) {
                    *sum += cell * weight;
                }
            }
        }
        let columns: Vec<Taps> = taps(self.width, self.extent.0, side).collect();
        let mut out = Vec::with_capacity(side * side);
        for row in tall.chunks_exact(self.width) {
            out.extend(columns.iter().map(|taps| {
                let cells = &row[taps.first..taps.first + taps.weights.len()];
                let sum: f32 = cells.iter().zip(&taps.weights).map(|(cell, weight)| cell * weight).sum();
                (sum + 0.5).clamp(0.0, 255.0) as u8
            }));
        }
        out
    }
}

/// The cells that one output pixel is made of.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

fn taps(cells: usize, extent: f32, side: usize) -> impl Iterator<Item = Taps> {
    let step = extent / side as f32;
    let reach = step.max(1.0);
    (0..side).map(move |i| {
        let centre = (i as f32 + 0.5) * step;
        let first = ((centre - reach).floor().max(0.0) as usize).min(cells - 1);
        let end = ((centre + reach).ceil() as usize).clamp(first + 1, cells);
        let mut weights: Vec<f32> = (first..end)
            .map(|cell| {
                let covered = (extent - cell as f32).clamp(0.0, 1.0);
                let middle = cell as f32 + covered / 2.0;
                (1.0 - (middle - centre).abs() / reach).max(0.0) * covered
            })
            .collect();
        let total: f32 = weights.iter().sum();
        if total > 0.0 {
            for weight in &mut weights {
                *weight /= total;
            }
        } else {
            weights.fill(1.0 / (end - first) as f32);
        }
        Taps { first, weights }
    })
}

/// What a decoder leaves of a picture: luma and chroma (BT.601, full range) in cells of
/// [`luma_scale`](super::reduce::luma_scale) and
/// [`chroma_scale`](super::reduce::chroma_scale) pixels, as stored, not yet upright.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduced {
    /// Luma.
    pub luma: Plane,
    /// Cb and Cr; `None` for a picture without colour.
    pub chroma: Option<[Plane; 2]>,
}

/// A picture at the size at which pictures are compared, upright: the input of hash,
/// guard and signature, and of the pixel stage of the same-picture rule. Stored only of what
/// has gone for a keeper ([`Witness`](super::Witness)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelPlanes {
    /// 256x256.
    pub luma: Vec<u8>,
    /// 64x64.
    pub cb: Vec<u8>,
    /// 64x64.
    pub cr: Vec<u8>,
}

impl PixelPlanes {
    /// Bytes of [`PixelPlanes::to_bytes`].
    pub const LEN: usize = HASH.luma_side * HASH.luma_side + 2 * HASH.chroma_side * HASH.chroma_side;

    /// Luma, Cb, Cr, each row by row.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&*self.luma, &*self.cb, &*self.cr].concat()
    }

    /// The inverse of [`PixelPlanes::to_bytes`]; `None` for any other length than
    /// [`PixelPlanes::LEN`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (luma, chroma) = bytes.split_at_checked(HASH.luma_side * HASH.luma_side)?;
        let (cb, cr) = chroma.split_at_checked(HASH.chroma_side * HASH.chroma_side)?;
        let fits = bytes.len() == Self::LEN;
        fits.then(|| Self { luma: luma.to_vec(), cb: cb.to_vec(), cr: cr.to_vec() })
    }

    /// Shrinks to square planes and turns them upright.
    #[must_use]
    pub fn new(reduced: &Reduced, orientation: Orientation) -> Self {
        let plane = |plane: &Plane, side| orientation.turn(plane.square(side), side);
        let grey = || vec![128; HASH.chroma_side * HASH.chroma_side];
        let (cb, cr) = match &reduced.chroma {
            Some([cb, cr]) => (plane(cb, HASH.chroma_side), plane(cr, HASH.chroma_side)),
            None => (grey(), grey()),
        };
        Self { luma: plane(&reduced.luma, HASH.luma_side), cb, cr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_partly_covered_last_cell_counts_for_what_it_covers() {
        // 5 pixels in cells of 4 shrunk to one: 4 black, 1 white pixel.
        let plane = Plane::new(5, 1, 4, vec![0.0, 255.0]).unwrap();
        let weights = taps(plane.width, plane.extent.0, 1).next().unwrap().weights;
        assert!(weights[1] < 0.2, "{weights:?}");
    }

    #[test]
    fn planes_that_do_not_fit_are_refused() {
        assert!(Plane::new(9, 8, 8, vec![0.0; 2]).is_some());
        assert!(Plane::new(8, 8, 8, vec![0.0; 2]).is_none());
        assert!(Plane::new(0, 8, 8, vec![]).is_none());
    }

    #[test]
    fn planes_travel_as_so_many_bytes_and_no_others() {
        assert_eq!(PixelPlanes::LEN, 73_728);
        let bytes: Vec<u8> = (0..PixelPlanes::LEN).map(|i| (i / 255) as u8).collect();
        let planes = PixelPlanes::from_bytes(&bytes).unwrap();
        assert_eq!((planes.luma.len(), planes.cb.len(), planes.cr.len()), (65_536, 4096, 4096));
        assert_eq!(planes.to_bytes(), bytes);
        for wrong in [0, 1, 65_536, 69_632, PixelPlanes::LEN - 1] {
            assert!(PixelPlanes::from_bytes(&bytes[..wrong]).is_none(), "{wrong}");
        }
        assert!(PixelPlanes::from_bytes(&[bytes, vec![0]].concat()).is_none());
    }

    #[test]
    fn every_orientation_turns_as_exif_says() {
        // A 2x2 picture a b / c d, as each orientation stores it (EXIF 2.32, 4.6.4).
        let stored = ["abcd", "badc", "dcba", "cdab", "acbd", "bdac", "dbca", "cadb"];
        for (value, stored) in (1..).zip(stored) {
            let upright = Orientation::from_exif(value).turn(stored.as_bytes().to_vec(), 2);
            assert_eq!(upright, b"abcd", "{value}");
        }
        // Not square: a b c / d e f stored by a camera held on its side.
        let turned = Orientation::from_exif(6).turn_any(b"cfbead".to_vec(), 2);
        assert_eq!(turned, (b"abcdef".to_vec(), 3, 2));
        assert_eq!(Orientation::from_exif(0), Orientation::UPRIGHT);
        assert_eq!(Orientation::from_exif(9), Orientation::UPRIGHT);
    }

    proptest! {
        #[test]
        fn any_size_keeps_a_flat_plane_flat(width in 1u32..900, height in 1u32..60, scale in 1u32..9, level: u8) {
            let cells = (width.div_ceil(scale) * height.div_ceil(scale)) as usize;
            let plane = Plane::new(width, height, scale, vec![f32::from(level); cells]).unwrap();
            prop_assert!(plane.square(64).iter().all(|v| *v == level));
        }
    }
}
