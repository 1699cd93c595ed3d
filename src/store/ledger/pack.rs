//! A witness on the disk: its header, and its pixels made small without loss.
//!
//! Each pixel is predicted from its neighbours (the median edge detector of LOCO-I,
//! Weinberger et al. 2000), and what it differs by is deflated. The stream's own checksum
//! tells when the disk has changed a bit.
//!
//! Measured on 63 wallpapers: 32 KB of 75 on average (16 KB for one in ten, 49 KB for
//! another, 56 KB at most); with the pixel to the left as the prediction 36 KB. redb gives
//! a value a power of two of room, so that it is 51 KB of ledger for each picture that went,
//! where the bytes as they are would be 128 KB.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::error::Fault;
use crate::picture::{HASH, Witness};

/// Sides of the square planes that a witness's pixels are, in their order.
const SIDES: [usize; 6] = [
    HASH.signature_luma,
    HASH.signature_chroma,
    HASH.signature_chroma,
    HASH.luma_side,
    HASH.chroma_side,
    HASH.chroma_side,
];

/// Length of the header in two bytes, header, packed pixels.
pub(super) fn pack(witness: &Witness) -> Result<Vec<u8>, Fault> {
    let header = witness.header();
    let length = u16::try_from(header.len()).map_err(|_| Fault::Value("witnesses"))?;
    let mut bytes = [&length.to_be_bytes()[..], &header].concat();
    let mut encoder = ZlibEncoder::new(&mut bytes, Compression::new(9));
    // A Vec takes everything.
    let written =
        encoder.write_all(&differences(&witness.pixels())).and_then(|()| encoder.finish().map(drop));
    written.map_err(|_| Fault::Value("witnesses"))?;
    Ok(bytes)
}

/// The inverse of [`pack`].
pub(super) fn unpack(bytes: &[u8]) -> Result<Witness, Fault> {
    let wrong = || Fault::Value("witnesses");
    let (length, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (header, packed) = rest.split_at_checked(length).ok_or_else(wrong)?;
    let mut pixels = Vec::with_capacity(Witness::PIXELS + 1);
    // One byte more than there may be: the reader has to reach the end to see the checksum.
    let most = Witness::PIXELS as u64 + 1;
    ZlibDecoder::new(packed).take(most).read_to_end(&mut pixels).map_err(|_| wrong())?;
    if pixels.len() != Witness::PIXELS {
        return Err(wrong());
    }
    undo_differences(&mut pixels);
    Witness::from_parts(header, &pixels).map_err(|_| wrong())
}

fn differences(pixels: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len());
    let mut rest = pixels;
    for side in SIDES {
        let Some((plane, others)) = rest.split_at_checked(side * side) else { break };
        out.extend(
            plane.iter().enumerate().map(|(at, pixel)| pixel.wrapping_sub(predicted(plane, at, side))),
        );
        rest = others;
    }
    out
}

fn undo_differences(pixels: &mut [u8]) {
    let mut rest = pixels;
    for side in SIDES {
        let Some((plane, others)) = rest.split_at_mut_checked(side * side) else { break };
        for at in 0..plane.len() {
            let guess = predicted(plane, at, side);
            if let Some(pixel) = plane.get_mut(at) {
                *pixel = pixel.wrapping_add(guess);
            }
        }
        rest = others;
    }
}

/// From the pixels to the left, above, and above to the left.
fn predicted(plane: &[u8], at: usize, side: usize) -> u8 {
    let pixel = |back: usize| at.checked_sub(back).and_then(|at| plane.get(at)).copied().unwrap_or(0);
    if at.is_multiple_of(side) {
        return pixel(side);
    }
    if at < side {
        return pixel(1);
    }
    let (left, above, corner) = (pixel(1), pixel(side), pixel(side + 1));
    let (low, high) = (left.min(above), left.max(above));
    if corner >= high {
        low
    } else if corner <= low {
        high
    } else {
        // Between the two, and so is the result.
        low + (high - corner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn every_pixel_comes_back(noise: u64, smooth in 1..9u32) {
            let mut state = noise | 1;
            let mut pixels: Vec<u8> = (0..Witness::PIXELS).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as u8 >> (smooth - 1)
            }).collect();
            let before = pixels.clone();
            pixels = differences(&pixels);
            prop_assert_eq!(pixels.len(), before.len());
            undo_differences(&mut pixels);
            prop_assert!(pixels == before);
        }
    }

    #[test]
    fn the_planes_are_all_of_the_pixels() {
        assert_eq!(SIDES.iter().map(|side| side * side).sum::<usize>(), Witness::PIXELS);
    }
}
