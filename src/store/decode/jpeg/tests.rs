//! The reduced reader against the full decoder.

use image::RgbImage;
use image::codecs::jpeg::{JpegEncoder, PixelDensity};
use proptest::prelude::*;

use super::super::pixels;
use super::super::tests::{jpeg, photo};
use super::*;
use crate::picture::{Orientation, PixelPlanes, distance, recognise};

fn full(data: &[u8], size: (u32, u32)) -> Reduced {
    pixels::decode_jpeg(data, size, 1 << 30, None).unwrap().reduced
}

fn planes(reduced: &Reduced) -> PixelPlanes {
    PixelPlanes::new(reduced, Orientation::UPRIGHT)
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// 1:1, quarters and means, whole and partly covered MCUs. (`image` writes 4:4:4 below
/// and 4:2:0 by nothing; other samplings are checked on real photos.)
#[test]
fn both_ways_give_the_same_planes() {
    for (width, height) in [(320, 256), (515, 523), (640, 600), (1100, 1031), (2064, 2049)] {
        let data = jpeg(&photo(width, height, width), 85);
        let fast = read(&data, (width, height)).expect("baseline");
        assert_eq!(fast.end, data.len());
        let (fast, full) = (planes(&fast.reduced), planes(&full(&data, (width, height))));
        assert!(largest_difference(&fast.luma, &full.luma) <= 2, "{width} luma");
        assert!(largest_difference(&fast.cb, &full.cb) <= 2, "{width} cb");
        assert!(largest_difference(&fast.cr, &full.cr) <= 2, "{width} cr");
        let bits = distance(&recognise(&fast).hash, &recognise(&full).hash);
        assert!(bits <= 4, "{width}: {bits} bits");
    }
}

#[test]
fn grey_pictures_have_one_component() {
    let grey = image::DynamicImage::from(photo(600, 540, 3)).to_luma8();
    let mut data = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut data, 80);
    encoder.set_pixel_density(PixelDensity::dpi(72));
    encoder.encode_image(&grey).unwrap();
    let fast = read(&data, (600, 540)).unwrap();
    assert!(fast.reduced.chroma.is_none());
    let (fast, full) = (planes(&fast.reduced), planes(&full(&data, (600, 540))));
    assert!(largest_difference(&fast.luma, &full.luma) <= 2);
}

#[test]
fn what_is_unusual_is_left_to_the_full_decoder() {
    let data = jpeg(&photo(320, 280, 1), 85);
    let size = (320, 280);
    assert!(read(&data, size).is_some());
    assert!(read(&data, (320, 288)).is_none(), "another size than announced");
    assert!(read(&data[..data.len() - 2], size).is_none(), "no end marker");
    assert!(read(&data[..data.len() / 2], size).is_none(), "truncated");
    let small = jpeg(&photo(200, 300, 1), 85);
    assert!(read(&small, (200, 300)).is_none(), "small");
    let mut progressive = data.clone();
    let frame = progressive.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    progressive[frame + 1] = 0xc2;
    assert!(read(&progressive, size).is_none());
}

/// A flat JPEG with restart markers, made by hand: nothing here writes them.
#[test]
fn restart_markers_reset_the_prediction() {
    let mut data = jpeg(&RgbImage::from_pixel(256, 256, image::Rgb([200, 100, 50])), 100);
    let scan = data.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    let begin = scan + 2 + usize::from(u16::from_be_bytes([data[scan + 2], data[scan + 3]]));
    let one = read(&data, (256, 256)).unwrap().reduced;
    // Every MCU but the first repeats it with differences of 0. With a restart at each
    // MCU, every MCU is the first: find its bytes by a picture of one MCU.
    let single = jpeg(&RgbImage::from_pixel(8, 8, image::Rgb([200, 100, 50])), 100);
    let at = single.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    let mcu =
        &single[at + 2 + usize::from(u16::from_be_bytes([single[at + 2], single[at + 3]]))..single.len() - 2];
    data.truncate(begin);
    data.splice(scan..scan, [0xff, 0xdd, 0, 4, 0, 1]);
    for i in 0..1024u32 {
        data.extend(mcu);
        if i < 1023 {
            data.extend([0xff, 0xd0 + (i % 8) as u8]);
        }
    }
    data.extend([0xff, 0xd9]);
    let restarted = read(&data, (256, 256)).unwrap().reduced;
    assert_eq!(restarted, one);
    // A marker out of order is damage.
    let wrong = data.windows(2).rposition(|w| w == [0xff, 0xd3]).unwrap();
    data[wrong + 1] = 0xd5;
    assert!(read(&data, (256, 256)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is changed in a JPEG, reading it neither panics nor runs away. Changes in
    /// the headers are as likely as in the data, which is far longer.
    #[test]
    fn mutated_jpegs_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut data = sample();
        for (at, early, value) in changes {
            let at = if early { at.index(700) } else { at.index(data.len()) };
            data[at] = value;
        }
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        let read = read(&data, (264, 260));
        prop_assert!(read.is_none_or(|read| read.end <= data.len()));
    }
}

fn sample() -> Vec<u8> {
    static SAMPLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| jpeg(&photo(264, 260, 2), 60)).clone()
}
