//! Small pictures out of nothing, quickly. The same number is the same picture.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// Width and height of every picture.
pub(crate) const SIZE: (u32, u32) = (160, 120);

/// Splitmix64: random enough for pictures.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Coarse colours, smoothly joined.
pub(crate) fn draw(number: u64) -> DynamicImage {
    like(number, 0)
}

/// Almost picture `number`: another one for each `touch` but 0, and their hashes may begin
/// alike.
pub(crate) fn like(number: u64, touch: u64) -> DynamicImage {
    let mut coarse = RgbImage::new(16, 12);
    let (mut state, mut other) = (number, touch.wrapping_add(1 << 32));
    for pixel in coarse.pixels_mut() {
        let (value, faint) = (dice(&mut state), dice(&mut other));
        let value = if touch == 0 { value } else { (value & 0xe0_e0e0) | (faint & 0x1f_1f1f) };
        *pixel = Rgb([value, value >> 8, value >> 16].map(|byte| byte as u8));
    }
    DynamicImage::from(coarse).resize_exact(SIZE.0, SIZE.1, FilterType::Triangle)
}

/// As a file.
pub(crate) fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Picture `number` as a JPEG file.
pub(crate) fn jpeg(number: u64) -> Vec<u8> {
    encode(&draw(number), ImageFormat::Jpeg)
}

/// A JPEG file with the date `YYYY:MM:DD HH:MM:SS` in its EXIF.
pub(crate) fn dated_jpeg(number: u64, date: &str) -> Vec<u8> {
    assert_eq!(date.len(), 19);
    // TIFF, little-endian: a directory whose one entry (Exif IFD) points to another, whose
    // one entry (DateTimeOriginal) points to the text.
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
    exif.extend(b"\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0");
    exif.extend(b"\x01\0\x03\x90\x02\0\x14\0\0\0\x2c\0\0\0\0\0\0\0");
    exif.extend(date.bytes());
    exif.push(0);
    let plain = jpeg(number);
    let mut file = b"\xff\xd8\xff\xe1".to_vec();
    file.extend((exif.len() as u16 + 2).to_be_bytes());
    file.extend(exif);
    file.extend(&plain[2..]);
    file
}

/// A BMP file of some 60 MB that no two numbers share a chunk of. Its pixels are noise; a
/// node takes long to decode it, so start it with [`NOT_DECODED`].
pub(crate) fn large_bmp(number: u64) -> Vec<u8> {
    let (width, height) = (5000_u32, 4000_u32);
    let bytes = width * height * 3;
    let mut file = b"BM".to_vec();
    file.extend((54 + bytes).to_le_bytes());
    for value in [0, 54, 40, width, height, 1 | 24 << 16, 0, bytes, 2835, 2835, 0, 0] {
        file.extend(value.to_le_bytes());
    }
    let mut state = number;
    // Noise a kilobyte long, and a number in front of each repetition of it.
    let noise: Vec<u8> = (0..125).flat_map(|_| dice(&mut state).to_le_bytes()).collect();
    for part in 0..bytes / 1000 {
        file.extend(part.to_le_bytes());
        file.extend(&noise[4..]);
    }
    file
}

/// Options of a node that knows large pictures by their bytes only.
pub(crate) const NOT_DECODED: &[&str] = &["--max-pixels", "1000000"];
