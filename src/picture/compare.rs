//! What two pictures differ in, as numbers. What the numbers mean is decided in
//! [`same`](super::same).
//!
//! No tone is fitted away: re-encoding and resizing leave brightness and colour where
//! they are, and a picture whose tones were changed is another picture.

use super::{HASH, PixelPlanes, Signature, hash};

/// Differences of two signatures, in levels of 0 to 255.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SignatureGap {
    /// Mean absolute difference of the 32x32 luma.
    pub luma_mean: f32,
    /// Largest.
    pub luma_max: f32,
    /// Mean absolute difference of both 16x16 chroma planes.
    pub chroma_mean: f32,
    /// Largest.
    pub chroma_max: f32,
}

/// Compares two signatures.
#[must_use]
pub fn signatures(a: &Signature, b: &Signature) -> SignatureGap {
    let gap = |a: &[u8], b: &[u8]| {
        let (sum, max) = a.iter().zip(b).fold((0u32, 0u8), |(sum, max), (a, b)| {
            let gap = a.abs_diff(*b);
            (sum + u32::from(gap), max.max(gap))
        });
        (sum as f32 / a.len().max(1) as f32, f32::from(max))
    };
    let (luma_mean, luma_max) = gap(a.luma(), b.luma());
    let (chroma_mean, chroma_max) = gap(a.chroma(), b.chroma());
    SignatureGap { luma_mean, luma_max, chroma_mean, chroma_max }
}

/// A plane of bytes, row by row.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Cells of a row.
    pub width: usize,
    /// The cells.
    pub cells: &'a [u8],
}

impl<'a> View<'a> {
    /// A square plane.
    #[must_use]
    pub fn square(cells: &'a [u8], side: usize) -> Self {
        Self { width: side, cells }
    }

    fn height(self) -> usize {
        self.cells.len() / self.width.max(1)
    }
}

/// How well two planes agree where they agree least.
///
/// The outliers tell a change from an encoder's noise: noise is everywhere, a thing that has
/// moved is in one place. They are the worst window over what nine of ten windows stay below,
/// and don't depend on how strong the noise is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalGap {
    /// Largest difference of the means of a window, in levels.
    pub level: f32,
    /// Lowest structural similarity of a window, -1 to 1: the contrast and structure part
    /// of SSIM (Wang et al. 2004), 1 for equal windows and for flat ones.
    pub structure: f32,
    /// The largest difference over that of the other windows.
    pub level_outlier: f32,
    /// The largest lack of structural similarity over that of the other windows.
    pub structure_outlier: f32,
}

impl LocalGap {
    /// Two planes without a window between them.
    pub const NONE: Self = Self { level: 0.0, structure: 1.0, level_outlier: 0.0, structure_outlier: 0.0 };
    /// Two planes that have nothing to do with each other.
    pub const ALL: Self =
        Self { level: 255.0, structure: -1.0, level_outlier: f32::MAX, structure_outlier: f32::MAX };
}

/// Variance (of levels) below which a difference is noise: the stabilising constant of
/// SSIM. Twice SSIM's own, because what JPEG at quality 30 does to a smooth sky must not count.
const NOISE: f32 = 120.0;

/// The same where windows are compared with each other: noise is then in the other windows too.
const OUTLIER_NOISE: f32 = 30.0;

/// Added to what the other windows have, in levels and in structure: of next to nothing,
/// everything is a multiple.
const NEXT_TO_NOTHING: (f32, f32) = (0.2, 0.02);

/// The largest of `gaps` over what nine of ten of them stay below.
fn outlier(gaps: &mut [f32], next_to_nothing: f32) -> f32 {
    let Some(last) = gaps.len().checked_sub(1) else { return 0.0 };
    let (_, usual, above) = gaps.select_nth_unstable_by(last * 9 / 10, f32::total_cmp);
    let most = above.iter().fold(*usual, |most, gap| most.max(*gap));
    most / (next_to_nothing + *usual)
}

/// Sums over a window of both planes.
struct Sums {
    a: u32,
    b: u32,
    aa: u32,
    bb: u32,
    ab: u32,
}

impl Sums {
    fn of(a: View<'_>, b: View<'_>, (x, y): (usize, usize), window: usize) -> Self {
        let mut sums = Self { a: 0, b: 0, aa: 0, bb: 0, ab: 0 };
        for row in y..y + window {
            let at = row * a.width + x;
            for (va, vb) in a.cells[at..at + window].iter().zip(&b.cells[at..at + window]) {
                let (va, vb) = (u32::from(*va), u32::from(*vb));
                sums.a += va;
                sums.b += vb;
                sums.aa += va * va;
                sums.bb += vb * vb;
                sums.ab += va * vb;
            }
        }
        sums
    }
}

/// Compares two planes of the same shape in windows of `window` x `window` cells that
/// overlap by half. The worst of all windows and not their mean: a caption is a small
/// part of a picture.
#[must_use]
pub fn local(a: View<'_>, b: View<'_>, window: usize) -> LocalGap {
    if !fit(a, b, window) {
        return LocalGap::NONE;
    }
    let n = (window * window) as f32;
    let mut structure = 1f32;
    let (mut levels, mut lacks) = (Vec::new(), Vec::new());
    for at in windows(a, window) {
        let sums = Sums::of(a, b, at, window);
        let (ma, mb) = (sums.a as f32 / n, sums.b as f32 / n);
        let variances = (sums.aa as f32 / n - ma * ma) + (sums.bb as f32 / n - mb * mb);
        let shared = 2.0 * (sums.ab as f32 / n - ma * mb);
        structure = structure.min((shared + NOISE) / (variances + NOISE));
        levels.push((ma - mb).abs());
        lacks.push((variances - shared).max(0.0) / (variances + OUTLIER_NOISE));
    }
    LocalGap {
        level: levels.iter().fold(0.0, |most, level| most.max(*level)),
        structure,
        level_outlier: outlier(&mut levels, NEXT_TO_NOTHING.0),
        structure_outlier: outlier(&mut lacks, NEXT_TO_NOTHING.1),
    }
}

fn fit(a: View<'_>, b: View<'_>, window: usize) -> bool {
    a.width == b.width && a.cells.len() == b.cells.len() && a.width >= window && a.height() >= window
}

/// Where the windows of a plane are.
fn windows(plane: View<'_>, window: usize) -> impl Iterator<Item = (usize, usize)> {
    let step = (window / 2).max(1);
    starts(plane.height(), window, step)
        .flat_map(move |y| starts(plane.width, window, step).map(move |x| (x, y)))
}

/// Where windows begin, the last one at the edge.
fn starts(length: usize, window: usize, step: usize) -> impl Iterator<Item = usize> {
    let last = length - window;
    (0..last).step_by(step).chain([last])
}

/// How the colours of one picture lie to those of another.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ColourGap {
    /// Largest distance, in the Cb-Cr plane and in levels, of the means of a 4x4 window of the
    /// 64x64 planes.
    pub level: f32,
    /// The same of 8x8 windows.
    pub broad: f32,
    /// `level` over that of the other windows: see [`LocalGap`].
    pub level_outlier: f32,
    /// `broad` over that of the other windows.
    pub broad_outlier: f32,
    /// By how many degrees the colours are turned as a whole.
    pub turn: f32,
    /// Saturation of the less coloured over that of the more coloured; 1 when equal.
    pub saturation: f32,
    /// Root mean square saturation of the more coloured, in levels: below a few, `turn`
    /// and `saturation` are noise.
    pub strength: f32,
}

/// Compares the colours of two pictures.
#[must_use]
pub fn colours(a: &PixelPlanes, b: &PixelPlanes) -> ColourGap {
    let (mut dot, mut cross, mut aa, mut bb) = (0f64, 0f64, 0f64, 0f64);
    let chroma =
        |planes: &PixelPlanes, i: usize| (f64::from(planes.cb[i]) - 128.0, f64::from(planes.cr[i]) - 128.0);
    let cells = a.cb.len().min(b.cb.len());
    for i in 0..cells {
        let ((au, av), (bu, bv)) = (chroma(a, i), chroma(b, i));
        dot += au * bu + av * bv;
        cross += au * bv - av * bu;
        aa += au * au + av * av;
        bb += bu * bu + bv * bv;
    }
    let n = cells.max(1) as f64;
    let (weak, strong) = if aa < bb { (aa, bb) } else { (bb, aa) };
    let (level, level_outlier) = colour_level(a, b, 4);
    let (broad, broad_outlier) = colour_level(a, b, 8);
    ColourGap {
        level,
        broad,
        level_outlier,
        broad_outlier,
        turn: cross.atan2(dot).to_degrees().abs() as f32,
        saturation: if strong > 0.0 { (weak / strong).sqrt() as f32 } else { 1.0 },
        strength: (strong / n).sqrt() as f32,
    }
}

/// Largest distance of the means of a window, and how far it stands out.
fn colour_level(a: &PixelPlanes, b: &PixelPlanes, window: usize) -> (f32, f32) {
    let side = HASH.chroma_side;
    let gap = |a: &[u8], b: &[u8], at: (usize, usize)| {
        let sums = Sums::of(View::square(a, side), View::square(b, side), at, window);
        (sums.a as f32 - sums.b as f32) / (window * window) as f32
    };
    let mut gaps: Vec<f32> = windows(View::square(&a.cb, side), window)
        .map(|at| {
            let (cb, cr) = (gap(&a.cb, &b.cb, at), gap(&a.cr, &b.cr, at));
            (cb * cb + cr * cr).sqrt()
        })
        .collect();
    let most = gaps.iter().fold(0f32, |most, gap| most.max(*gap));
    (most, outlier(&mut gaps, NEXT_TO_NOTHING.0))
}

/// The luma of `planes` at `side`, which divides 256.
#[must_use]
pub fn luma_at(planes: &PixelPlanes, side: usize) -> Vec<u8> {
    hash::box_average(&planes.luma, HASH.luma_side, side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(side: usize) -> Vec<u8> {
        (0..side * side).map(|i| ((i % side * 37) ^ (i / side * 91)) as u8).collect()
    }

    #[test]
    fn equal_planes_have_no_gap_and_flat_ones_only_a_level() {
        let plane = texture(64);
        assert_eq!(local(View::square(&plane, 64), View::square(&plane, 64), 8), LocalGap::NONE);
        let gap = local(View::square(&[10; 256], 16), View::square(&[13; 256], 16), 8);
        assert_eq!((gap.level, gap.structure), (3.0, 1.0));
    }

    #[test]
    fn one_changed_corner_is_seen_wherever_it_is() {
        let plane = texture(61);
        for corner in [0, 53, 61 * 53, 61 * 53 + 53] {
            let mut other = plane.clone();
            for row in 0..8 {
                other[corner + row * 61..][..8].reverse();
            }
            let gap = local(View { width: 61, cells: &plane }, View { width: 61, cells: &other }, 8);
            assert!(gap.structure < 0.8, "{corner}: {gap:?}");
        }
    }

    #[test]
    fn a_turn_of_the_colours_is_measured_in_degrees() {
        let side = HASH.chroma_side * HASH.chroma_side;
        let planes = |angle: f64, scale: f64| {
            let value = |i: usize, sine: bool| {
                let base = i as f64 + angle.to_radians();
                (128.0 + 40.0 * scale * if sine { base.sin() } else { base.cos() }).round() as u8
            };
            PixelPlanes {
                luma: vec![100; HASH.luma_side * HASH.luma_side],
                cb: (0..side).map(|i| value(i, false)).collect(),
                cr: (0..side).map(|i| value(i, true)).collect(),
            }
        };
        let gap = colours(&planes(0.0, 1.0), &planes(12.0, 1.0));
        assert!((gap.turn - 12.0).abs() < 0.2 && (gap.saturation - 1.0).abs() < 0.01, "{gap:?}");
        let gap = colours(&planes(0.0, 1.0), &planes(0.0, 0.5));
        assert!(gap.turn < 0.2 && (gap.saturation - 0.5).abs() < 0.01, "{gap:?}");
        assert!((gap.strength - 40.0).abs() < 0.5);
    }
}
