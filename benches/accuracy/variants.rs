//! What is made of a picture: copies that are the same picture, and pictures that are not.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage};

use crate::encoders::{self, Encoders};

/// What a variant is to its picture.
pub(crate) enum Kind<'a> {
    /// The same picture.
    Copy,
    /// The same with less to see: must not win. The pixels before they were encoded.
    Lesser(&'a RgbImage),
    /// Another picture.
    Change(&'a RgbImage),
}

/// A file made of a picture.
pub(crate) struct Variant<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind<'a>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).expect("encode");
    bytes
}

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = picture.dimensions();
    PngEncoder::new(&mut bytes).write_image(picture, width, height, ExtendedColorType::Rgb8).expect("encode");
    bytes
}

fn webp(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let (width, height) = picture.dimensions();
    let encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.encode(picture, width, height, ExtendedColorType::Rgb8).expect("encode");
    bytes.into_inner()
}

/// As a camera held on its side stores it: turned, with EXIF orientation 6.
fn turned(picture: &RgbImage) -> Vec<u8> {
    let jpeg = jpeg(&imageops::rotate270(picture), 90);
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat()
}

fn resized(picture: &RgbImage, per_cent: u32, filter: FilterType) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = |side: u32| ((side * per_cent + 50) / 100).max(1);
    imageops::resize(picture, side(width), side(height), filter)
}

fn cropped(picture: &RgbImage, per_cent: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let (w, h) = (width * per_cent / 100, height * per_cent / 100);
    imageops::crop_imm(picture, (width - w) / 2, (height - h) / 2, w, h).to_image()
}

fn shifted(picture: &RgbImage, x: u32, y: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width, height, |px, py| {
        *picture.get_pixel((px + x).min(width - 1), (py + y).min(height - 1))
    })
}

/// Puts what is at `from` to `to`: a part of the picture in the wrong place.
fn patched(picture: &RgbImage, from: (f32, f32), to: (f32, f32), side: f32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let at = |(x, y): (f32, f32)| ((x * width as f32) as u32, (y * height as f32) as u32);
    let side = ((side * width.min(height) as f32) as u32).max(2);
    let (from, to) = (at(from), at(to));
    let part = imageops::crop_imm(picture, from.0, from.1, side, side).to_image();
    let mut out = picture.clone();
    imageops::replace(&mut out, &part, i64::from(to.0), i64::from(to.1));
    out
}

/// A line of letters, 3 % of the height, black on white outlines, along the lower edge.
fn captioned(picture: &RgbImage) -> RgbImage {
    const LETTERS: [[u8; 5]; 6] = [
        [0b111, 0b101, 0b111, 0b101, 0b101],
        [0b110, 0b101, 0b110, 0b101, 0b110],
        [0b111, 0b100, 0b110, 0b100, 0b111],
        [0b101, 0b101, 0b111, 0b101, 0b101],
        [0b111, 0b010, 0b010, 0b010, 0b111],
        [0b111, 0b101, 0b101, 0b101, 0b111],
    ];
    let (width, height) = picture.dimensions();
    let mut out = picture.clone();
    let dot = (height * 3 / 500).max(1);
    let (left, top) = (width / 20, height * 93 / 100);
    for letter in 0..12u32 {
        for (row, bits) in LETTERS[(letter * 5 % 6) as usize].iter().enumerate() {
            for column in (0..3u32).filter(|column| bits >> (2 - column) & 1 == 1) {
                for (dx, dy) in (0..dot).flat_map(|x| (0..dot).map(move |y| (x, y))) {
                    let (x, y) = (left + (letter * 4 + column) * dot + dx, top + row as u32 * dot + dy);
                    if x < width && y < height {
                        let luma = out.get_pixel(x, y).0.iter().map(|v| u32::from(*v)).sum::<u32>() / 3;
                        out.put_pixel(x, y, Rgb([if luma > 127 { 0 } else { 255 }; 3]));
                    }
                }
            }
        }
    }
    out
}

fn mapped(picture: &RgbImage, change: impl Fn([f32; 3]) -> [f32; 3]) -> RgbImage {
    let mut out = picture.clone();
    for pixel in out.pixels_mut() {
        pixel.0 = change(pixel.0.map(f32::from)).map(|value| (value + 0.5).clamp(0.0, 255.0) as u8);
    }
    out
}

/// Turns the hue, as an editor's slider does, in the plane of Cb and Cr.
fn hue(picture: &RgbImage, degrees: f32) -> RgbImage {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    mapped(picture, |[r, g, b]| {
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let (u, v) = ((b - y) / 1.772, (r - y) / 1.402);
        let (u, v) = (u * cosine - v * sine, u * sine + v * cosine);
        [y + 1.402 * v, y - 0.344_136 * u - 0.714_136 * v, y + 1.772 * u]
    })
}

fn saturated(picture: &RgbImage, factor: f32) -> RgbImage {
    mapped(picture, |rgb| {
        let y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
        rgb.map(|value| y + (value - y) * factor)
    })
}

/// Less to see, at any size: what is lost when a picture is made smaller and larger again.
fn softened(picture: &RgbImage, per_cent: u32, (width, height): (u32, u32)) -> RgbImage {
    let small = resized(picture, per_cent, FilterType::Lanczos3);
    imageops::resize(&small, width, height, FilterType::CatmullRom)
}

/// A square of `side` of the shorter side at `at`, changed.
fn recoloured(
    picture: &RgbImage,
    at: (f32, f32),
    side: f32,
    change: impl Fn(&RgbImage) -> RgbImage,
) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = ((side * width.min(height) as f32) as u32).max(2);
    let (x, y) = ((at.0 * width as f32) as u32, (at.1 * height as f32) as u32);
    let part = change(&imageops::crop_imm(picture, x, y, side, side).to_image());
    let mut out = picture.clone();
    imageops::replace(&mut out, &part, i64::from(x), i64::from(y));
    out
}

/// One after the other, so that only one is in memory. `seed` chooses places.
pub(crate) fn each(
    picture: &RgbImage,
    seed: u32,
    encoders: Encoders,
    folder: &Path,
    mut take: impl FnMut(Variant<'_>),
) {
    copies(picture, encoders, folder, &mut take);
    changes(picture, seed, &mut take);
}

fn copies(picture: &RgbImage, encoders: Encoders, folder: &Path, take: &mut impl FnMut(Variant<'_>)) {
    let mut same = |name, bytes| take(Variant { name, kind: Kind::Copy, bytes });
    for (name, quality) in [("q95", 95), ("q90", 90), ("q75", 75), ("q50", 50), ("q30", 30)] {
        same(name, jpeg(picture, quality));
    }
    if encoders.cjpeg {
        let turbo = |quality, progressive| encoders::cjpeg(picture, quality, progressive, folder);
        let made = [
            ("q90 4:2:0", turbo("90", false)),
            ("q80 4:2:0 progressive", turbo("80", true)),
            ("q40 4:2:0 progressive", turbo("40", true)),
        ];
        for (name, bytes) in made {
            if let Some(bytes) = bytes {
                same(name, bytes);
            }
        }
    }
    if encoders.cwebp {
        for (name, quality) in [("webp q90", "90"), ("webp q75", "75"), ("webp q40", "40")] {
            if let Some(bytes) = encoders::cwebp(picture, quality, folder) {
                same(name, bytes);
            }
        }
    }
    same("png", png(picture));
    same("webp lossless", webp(picture));
    same("exif orientation", turned(picture));
    same("75 %", jpeg(&resized(picture, 75, FilterType::Lanczos3), 90));
    same("50 %", jpeg(&resized(picture, 50, FilterType::Lanczos3), 90));
    same("50 % bilinear", jpeg(&resized(picture, 50, FilterType::Triangle), 90));
    same("50 % + q75", jpeg(&resized(picture, 50, FilterType::Lanczos3), 75));
    same("25 %", jpeg(&resized(picture, 25, FilterType::Lanczos3), 90));
    same("25 % + q75", jpeg(&resized(picture, 25, FilterType::Lanczos3), 75));
}

fn changes(picture: &RgbImage, seed: u32, take: &mut impl FnMut(Variant<'_>)) {
    let (width, height) = picture.dimensions();
    // More pixels or finer tables than the original, and less to see. It may go for the
    // original, and never the original for it.
    let mut lesser = |name, picture: &RgbImage| {
        take(Variant { name, kind: Kind::Lesser(picture), bytes: jpeg(picture, 98) });
    };
    let larger = (width * 11 / 10, height * 11 / 10);
    lesser("enlarged from 25 %", &softened(picture, 25, larger));
    lesser("enlarged from 50 %", &softened(picture, 50, larger));
    lesser("enlarged from 75 %", &softened(picture, 75, larger));
    lesser("softened to 50 %", &softened(picture, 50, (width, height)));
    lesser("softened to 75 %", &softened(picture, 75, (width, height)));
    let mut differs = |name, picture: &RgbImage| {
        take(Variant { name, kind: Kind::Change(picture), bytes: jpeg(picture, 92) });
    };
    let place = |salt: u32| {
        let value = seed.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(40_503_001)) >> 8;
        0.05 + (value % 1000) as f32 / 1000.0 * 0.75
    };
    let (from, to) = ((place(1), place(2)), (place(3), place(4)));
    differs("mirror", &imageops::flip_horizontal(picture));
    differs("rotate 90", &imageops::rotate90(picture));
    differs("crop 95 %", &cropped(picture, 95));
    differs("crop 90 %", &cropped(picture, 90));
    differs("shift 2 %", &shifted(picture, width / 50, height / 50));
    differs("shift 1 %", &shifted(picture, width / 100, 0));
    differs("caption", &captioned(picture));
    differs("patch 10 %", &patched(picture, from, to, 0.10));
    differs("patch 5 %", &patched(picture, from, to, 0.05));
    // A small thing that has moved: two frames of a film.
    let near = (to.0 + 0.012, to.1 + 0.004);
    differs("frame: 12 % moved", &patched(picture, to, near, 0.12));
    differs("frame: 6 % moved", &patched(picture, from, (from.0 - 0.008, from.1 + 0.008), 0.06));
    differs("hue 30", &hue(picture, 30.0));
    differs("hue 10", &hue(picture, 10.0));
    differs("hue 30 of a 20 % part", &recoloured(picture, to, 0.2, |part| hue(part, 30.0)));
    differs("saturation 70 %", &saturated(picture, 0.7));
    differs("grey", &saturated(picture, 0.0));
    differs("grey 20 % part", &recoloured(picture, from, 0.2, |part| saturated(part, 0.0)));
    differs("brightness + 10 %", &mapped(picture, |rgb| rgb.map(|value| value * 1.1)));
    differs("contrast - 10 %", &mapped(picture, |rgb| rgb.map(|value| (value - 128.0) * 0.9 + 128.0)));
    differs("gamma 1.2", &mapped(picture, |rgb| rgb.map(|value| 255.0 * (value / 255.0).powf(1.0 / 1.2))));
}
