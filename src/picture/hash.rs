//! The perceptual hash and the structure guard, from 256x256 luma.

use image::GrayImage;
use image::imageops::FilterType;
use image_hasher::{HashAlg, Hasher, HasherConfig};

use super::HASH;

thread_local! {
    // Planning the DCT costs as much as hashing, and the planner is not shareable.
    static HASHER: Hasher<[u8; 32]> = HasherConfig::with_bytes_type::<[u8; 32]>()
        .hash_alg(HashAlg::Median)
        .hash_size(HASH.hash_side, HASH.hash_side)
        .resize_filter(FilterType::Lanczos3)
        .preproc_dct()
        .to_hasher();
}

/// The 256-bit perceptual hash: the low frequencies of the DCT of a 32x32 thumbnail,
/// each above or below their median (the pHash family; chosen by measurement among 47).
#[must_use]
pub fn perceptual(luma: &[u8]) -> [u8; 32] {
    let side = HASH.luma_side as u32;
    let picture =
        GrayImage::from_raw(side, side, luma.to_vec()).unwrap_or_else(|| GrayImage::new(side, side));
    HASHER.with(|hasher| hasher.hash_image(&picture).into_inner())
}

/// PDQ's quality metric (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ
/// image-hashing algorithm", 2019): differences of neighbours at 64x64 in per cent of
/// full scale, summed, over 90, at most 100.
#[must_use]
pub fn guard(luma: &[u8]) -> u8 {
    let side = HASH.guard_side;
    let small = box_average(luma, HASH.luma_side, side);
    let step = |a: u8, b: u8| u32::from(a.abs_diff(b)) * 100 / 255;
    let across: u32 = small.chunks_exact(side).flat_map(|row| row.windows(2)).map(|p| step(p[0], p[1])).sum();
    let down: u32 = small.iter().zip(&small[side..]).map(|(a, b)| step(*a, *b)).sum();
    ((across + down) / 90).min(100) as u8
}

/// Averages a square plane of side `from` down to side `to`, which divides it.
pub(super) fn box_average(plane: &[u8], from: usize, to: usize) -> Vec<u8> {
    let step = from / to;
    let half = (step * step / 2) as u32;
    let mut out = Vec::with_capacity(to * to);
    for rows in plane.chunks_exact(from * step) {
        let mut sums = vec![half; to];
        for row in rows.chunks_exact(from) {
            for (sum, cell) in sums.iter_mut().zip(row.chunks_exact(step)) {
                *sum += cell.iter().map(|v| u32::from(*v)).sum::<u32>();
            }
        }
        out.extend(sums.iter().map(|sum| (sum / (step * step) as u32) as u8));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_pictures_have_no_structure_and_busy_ones_have_all() {
        let side = HASH.luma_side;
        assert_eq!(guard(&vec![77; side * side]), 0);
        let checks: Vec<u8> = (0..side * side)
            .map(|i| if (i / side / 8 + i % side / 8).is_multiple_of(2) { 255 } else { 0 })
            .collect();
        assert_eq!(guard(&checks), 100);
        // One soft gradient from black to white: 4 levels a step are 1 per cent each.
        let gradient: Vec<u8> = (0..side * side).map(|i| (i % side) as u8).collect();
        assert_eq!(guard(&gradient), (64 * 63 / 90) as u8);
    }

    #[test]
    fn averages_are_exact() {
        let plane: Vec<u8> = vec![0, 2, 10, 10, 4, 6, 10, 10, 255, 255, 0, 1, 255, 255, 0, 0];
        assert_eq!(box_average(&plane, 4, 2), [3, 10, 255, 0]);
    }
}
