//! Whole files through the inspector. All pictures are made here, deterministically.

use std::io::Write as _;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, RgbImage, RgbaImage};

use super::*;
use crate::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use crate::picture::distance;
use crate::types::ContentId;

/// Something like a photo: soft shapes of several sizes in colour, and a little noise.
pub(super) fn photo(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32
    };
    let blobs: Vec<[f32; 7]> = (0..40).map(|_| [(); 7].map(|()| random())).collect();
    // Shapes at a quarter of the size: tests run unoptimised, `image` doesn't.
    let (small_width, small_height) = (width.div_ceil(4), height.div_ceil(4));
    let shapes = RgbImage::from_fn(small_width, small_height, |x, y| {
        let (u, v) = (x as f32 / small_width as f32, y as f32 / small_height as f32);
        let mut rgb = [90.0, 100.0 + 60.0 * v, 150.0 - 80.0 * v];
        for [bx, by, size, red, green, blue, hard] in &blobs {
            let reach = 0.02 + size * size * 0.25;
            let distance = ((u - bx).powi(2) + (v - by).powi(2)) / (reach * reach);
            let weight = 1.0 / (1.0 + distance * (1.0 + 3.0 * hard * distance));
            for (value, target) in rgb.iter_mut().zip([red, green, blue]) {
                *value += (target * 255.0 - *value) * weight;
            }
        }
        image::Rgb(rgb.map(|value| value.clamp(0.0, 255.0) as u8))
    });
    let mut picture = imageops::resize(&shapes, width, height, imageops::FilterType::Triangle);
    for pixel in picture.pixels_mut() {
        let noise = (random() * 8.0) as u8;
        pixel.0 = pixel.0.map(|value| value.saturating_add(noise));
    }
    picture
}

pub(super) fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).unwrap();
    bytes
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A TIFF structure with orientation, `DateTimeOriginal`, `SubSecTimeOriginal` and
/// `OffsetTimeOriginal`.
fn exif(orientation: u16) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let mut out = b"II*\0\x08\0\0\0\x02\0".to_vec();
    out.extend(entry(0x0112, 3, 1, u32::from(orientation)));
    out.extend(entry(0x8769, 4, 1, 38));
    out.extend([0; 4]);
    out.extend(b"\x03\0");
    out.extend(entry(0x9003, 2, 20, 80));
    out.extend(entry(0x9011, 2, 7, 100));
    out.extend(entry(0x9291, 2, 4, u32::from_le_bytes(*b"120\0")));
    out.extend([0; 4]);
    out.extend(b"2016:04:21 14:03:22\0+02:00\0");
    out
}

fn png_with_exif(picture: &RgbImage, exif: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(picture, picture.width(), picture.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn jpeg_with_segment(jpeg: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, payload, &jpeg[2..]].concat()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn inspector() -> Inspector {
    Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS)
}

pub(super) fn inspect(bytes: &[u8]) -> Inspected {
    picture(inspector().inspect(&file(bytes), b"x").unwrap())
}

fn picture(inspection: Inspection) -> Inspected {
    match inspection {
        Inspection::Picture(inspected) => *inspected,
        other => panic!("{other:?}"),
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    match inspect(bytes).facts.image {
        ImageId::Hash(hash) => hash,
        content @ ImageId::Content(_) => panic!("{content:?}"),
    }
}

/// The hashes of version 1. When this test fails, other nodes' hashes no longer agree:
/// either undo what changed them or raise `HASH_VERSION`.
#[test]
fn golden_hashes() {
    assert_eq!(crate::picture::HASH.version, 1);
    for (seed, width, height, golden) in GOLDEN {
        let picture = DynamicImage::from(photo(*width, *height, *seed));
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
            let facts = inspect(&encoded(&picture, format)).facts;
            assert_eq!(facts.image.to_string(), *golden, "{seed} {format:?}");
            assert_eq!((facts.width, facts.height, facts.traits), (*width, *height, Traits::default()));
        }
    }
}

const GOLDEN: &[(u32, u32, u32, &str)] = &[
    (1, 96, 64, "0f2cf819903ccb0533663b66e8c61f74cc310fe298713be64ee43be21f752b32"),
    (2, 640, 480, "7d77a1ad4757d06d4d953321148d5f73d4cc4dd236654dd83667cc883223ce88"),
    (3, 1030, 1301, "53a1681816d2003aa6a7ae548c5654ab0dc795a31d475e71be43af56f7afea15"),
];

#[test]
fn all_orientations_are_the_same_picture() {
    let upright = photo(512, 384, 4);
    let expected = inspect(&png_with_exif(&upright, exif(1)));
    for orientation in 2..=8 {
        // What a camera held so would have stored.
        let stored = match orientation {
            2 => imageops::flip_horizontal(&upright),
            3 => imageops::rotate180(&upright),
            4 => imageops::flip_vertical(&upright),
            5 => imageops::flip_horizontal(&imageops::rotate90(&upright)),
            6 => imageops::rotate270(&upright),
            7 => imageops::flip_horizontal(&imageops::rotate270(&upright)),
            _ => imageops::rotate90(&upright),
        };
        let found = inspect(&png_with_exif(&stored, exif(orientation)));
        assert_eq!(found.facts.image, expected.facts.image, "{orientation}");
        assert_eq!(found.signature, expected.signature, "{orientation}");
        assert_eq!((found.facts.width, found.facts.height), (512, 384), "{orientation}");
        // Without the tag it is another picture.
        assert_ne!(inspect(&png_with_exif(&stored, exif(1))).facts.image, expected.facts.image);
    }
}

#[test]
fn copies_stay_close_and_mirrored_pictures_do_not() {
    for seed in 10..16 {
        let original = photo(800, 600, seed);
        let reference = hash(&jpeg(&original, 92));
        let half = imageops::resize(&original, 400, 300, imageops::FilterType::Triangle);
        let quarter = imageops::resize(&original, 200, 150, imageops::FilterType::Lanczos3);
        for (what, copy) in [
            ("q50", jpeg(&original, 50)),
            ("half", jpeg(&half, 85)),
            ("quarter", jpeg(&quarter, 90)),
            ("png", encoded(&DynamicImage::from(original.clone()), ImageFormat::Png)),
        ] {
            let distance = distance(&reference, &hash(&copy));
            assert!(distance <= 24, "{seed} {what}: {distance}");
        }
        let mirrored = distance(&reference, &hash(&jpeg(&imageops::flip_horizontal(&original), 92)));
        assert!(mirrored > 60, "{seed} mirrored: {mirrored}");
    }
}

#[test]
fn capture_time_comes_from_every_container() {
    let photo = photo(64, 48, 1);
    let app1 = [b"Exif\0\0", exif(6).as_slice()].concat();
    for bytes in [png_with_exif(&photo, exif(6)), jpeg_with_segment(&jpeg(&photo, 90), 0xe1, &app1)] {
        let facts = inspect(&bytes).facts;
        assert_eq!(facts.taken_at.map(|t| t.to_string()).as_deref(), Some("2016-04-21T14:03:22.120+02:00"));
        assert_eq!((facts.width, facts.height), (48, 64));
    }
}

#[test]
fn flat_pictures_are_known_by_content() {
    let bytes = encoded(
        &DynamicImage::from(RgbImage::from_pixel(300, 300, image::Rgb([9, 80, 7]))),
        ImageFormat::Png,
    );
    let found = inspect(&bytes);
    assert_eq!(found.facts.image, ImageId::Content(ContentId(*blake3::hash(&bytes).as_bytes())));
    assert_eq!(found.facts.guard, 0);
    assert!(found.facts.traits.has(Traits::FEATURELESS));
    assert!(found.signature.is_some());
}

#[test]
fn transparency_is_what_the_pixels_are_and_not_what_the_format_could() {
    let opaque = DynamicImage::from(photo(90, 70, 3)).to_rgba8();
    let mut holed = opaque.clone();
    holed.get_pixel_mut(89, 69)[3] = 254;
    let traits =
        |picture: &RgbaImage| inspect(&encoded(&picture.clone().into(), ImageFormat::Png)).facts.traits;
    assert_eq!(traits(&opaque), Traits::default());
    assert_eq!(traits(&holed), Traits::TRANSPARENT);
    // Fully transparent is white, whatever colour hides there.
    let hidden = RgbaImage::from_fn(90, 70, |x, y| image::Rgba([(x * y) as u8, x as u8, y as u8, 0]));
    assert!(traits(&hidden).has(Traits::FEATURELESS.with(Traits::TRANSPARENT)));
}

#[test]
fn deep_pictures_look_like_their_8_bit_versions() {
    let eight = DynamicImage::from(photo(300, 280, 5));
    let deep = DynamicImage::from(eight.to_rgb16());
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let found = inspect(&encoded(&deep, format));
        assert_eq!(found.facts.traits, Traits::DEEP, "{format:?}");
        assert_eq!(found.facts.image, inspect(&encoded(&eight, format)).facts.image);
    }
}

#[test]
fn several_frames_are_noticed() {
    let frame = |seed| image::Frame::new(DynamicImage::from(photo(64, 64, seed)).to_rgba8());
    let gif = |frames: u32| {
        let mut bytes = Vec::new();
        image::codecs::gif::GifEncoder::new(&mut bytes).encode_frames((0..frames).map(frame)).unwrap();
        bytes
    };
    assert_eq!(inspect(&gif(1)).facts.traits, Traits::default());
    assert_eq!(inspect(&gif(2)).facts.traits, Traits::MULTI_FRAME);

    // An MPO's index: big-endian, one entry, two images.
    let mpf = b"MPF\0MM\0*\0\0\0\x08\0\x01\xb0\x01\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\0";
    let mpo = jpeg_with_segment(&jpeg(&photo(64, 64, 1), 90), 0xe2, mpf);
    assert_eq!(inspect(&mpo).facts.traits, Traits::MULTI_FRAME);

    // Two pages: the last directory's link leads to a copy of it at the end.
    let mut tiff = encoded(&photo(64, 64, 1).into(), ImageFormat::Tiff);
    let first = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes(tiff[first..][..2].try_into().unwrap()));
    let link = first + 2 + entries * 12;
    let copy = tiff[first..link + 4].to_vec();
    let second = (tiff.len() as u32).to_le_bytes();
    tiff.extend(copy);
    tiff[link..link + 4].copy_from_slice(&second);
    assert_eq!(inspect(&tiff).facts.traits, Traits::MULTI_FRAME);
}

#[test]
fn data_behind_the_image_is_noticed_and_padding_is_not() {
    let photo = DynamicImage::from(photo(70, 64, 2));
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp]
    {
        let bytes = encoded(&photo, format);
        let traits = |tail: &[u8]| inspect(&[&bytes, tail].concat()).facts.traits;
        assert_eq!(traits(b""), Traits::default(), "{format:?}");
        assert_eq!(traits(&[0; 999]), Traits::default(), "{format:?}");
        assert_eq!(traits(b"\0\0ftypmp42"), Traits::TRAILING_DATA, "{format:?}");
    }
}

#[test]
fn a_truncated_jpeg_is_indexed_with_what_can_be_seen() {
    let whole = jpeg(&photo(640, 480, 6), 90);
    let found = inspect(&whole[..whole.len() * 9 / 10]);
    assert!(found.facts.traits.has(Traits::DAMAGED) && !found.facts.traits.has(Traits::UNDECODED));
    assert!(found.signature.is_some());
    assert!(found.problem.unwrap().starts_with("truncated"), "says why");
    assert_eq!((found.facts.width, found.facts.height), (640, 480));
}

#[test]
fn truncated_files_of_every_format_are_known_by_content_at_least() {
    let photo = DynamicImage::from(photo(200, 150, 6));
    for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff]
    {
        let bytes = encoded(&photo, format);
        // TIFF's directory is at the end; the others keep their size in front.
        let found = inspect(&bytes[..bytes.len() / 2]);
        assert!(found.facts.traits.has(Traits::DAMAGED), "{format:?}");
        assert!(found.problem.is_some(), "{format:?}");
        if format != ImageFormat::Tiff {
            assert_eq!((found.facts.width, found.facts.height), (200, 150), "{format:?}");
        }
    }
}

/// A PNG that announces `side` x `side` pixels and holds none.
fn bomb(side: u32) -> Vec<u8> {
    let small = encoded(&photo(8, 8, 1).into(), ImageFormat::Png);
    let mut bytes = small;
    bytes[16..20].copy_from_slice(&side.to_be_bytes());
    bytes[20..24].copy_from_slice(&side.to_be_bytes());
    bytes
}

#[test]
fn bombs_are_not_decoded_and_say_which_limit_to_raise() {
    let found = inspect(&bomb(50_000));
    assert!(found.facts.traits.has(Traits::UNDECODED));
    assert!(!found.facts.traits.has(Traits::DAMAGED), "nobody looked");
    assert_eq!((found.facts.width, found.facts.height), (50_000, 50_000));
    assert_eq!(found.facts.image, ImageId::Content(found.outline.content()));
    let problem = found.problem.unwrap();
    assert!(problem.contains("50000x50000") && problem.contains("--max-pixels"), "{problem}");

    let found = picture(Inspector::new(1 << 24, u64::MAX).inspect(&file(&bomb(50_000)), b"x.png").unwrap());
    let problem = found.problem.unwrap();
    assert!(problem.contains("50000x50000") && problem.contains("--decode-memory"), "{problem}");
}

#[test]
fn broken_pictures_give_their_reason() {
    // Its checksum no longer fits.
    let found = inspect(&bomb(2000));
    assert!(found.facts.traits.has(Traits::UNDECODED.with(Traits::DAMAGED)));
    assert!(found.problem.unwrap().starts_with("can't be decoded"));
    let found = inspect(b"\xff\xd8\xff and no more");
    assert!(found.facts.traits.has(Traits::UNDECODED));
    assert_eq!((found.facts.width, found.facts.height), (0, 0));
}

#[test]
fn what_is_no_picture_is_a_problem_only_by_its_name() {
    let inspect = |bytes: &[u8], name: &str| inspector().inspect(&file(bytes), name.as_bytes()).unwrap();
    assert!(matches!(inspect(b"Dear diary", "a.jpg"), Inspection::NotPicture(Some(_))));
    assert!(matches!(inspect(b"", "a.JPG"), Inspection::NotPicture(Some(text)) if text.contains("empty")));
    assert!(matches!(inspect(b"Dear diary", "a.txt"), Inspection::NotPicture(None)));
    assert!(matches!(inspect(b"\0\0\0\x18ftypheic\0\0\0\0mif1", "a.jpg"), Inspection::Unprotected("HEIC")));
}

#[test]
fn raw_files_are_told_from_tiff_by_their_tags() {
    let dng = b"II*\0\x08\0\0\0\x01\0\x12\xc6\x01\0\x04\0\0\0\x01\x04\0\0\0\0\0\0";
    let found = inspector().inspect(&file(dng), b"renamed.tif").unwrap();
    assert!(matches!(found, Inspection::Unprotected("RAW")), "{found:?}");
}

#[test]
fn the_outline_is_that_of_the_file_whichever_way_it_was_read() {
    let bytes = encoded(&photo(700, 500, 8).into(), ImageFormat::Bmp);
    let mut direct = OutlineBuilder::new();
    direct.update(&bytes);
    let direct = direct.finish();
    assert_eq!(inspect(&bytes).outline, direct);
    let no_pixels = picture(Inspector::new(1 << 30, 1).inspect(&file(&bytes), b"x").unwrap());
    assert_eq!(no_pixels.outline, direct);
    assert_eq!(no_pixels.facts.bytes, bytes.len() as u64);
}

#[test]
fn threads_share_a_budget_that_fits_one_picture_at_a_time() {
    let bytes = encoded(&photo(400, 300, 9).into(), ImageFormat::Png);
    let alone = inspect(&bytes).facts;
    let inspector = Inspector::new(4 << 20, DEFAULT_MAX_PIXELS);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..6).map(|_| scope.spawn(|| inspector.inspect(&file(&bytes), b"x").unwrap())).collect();
        for worker in workers {
            assert_eq!(picture(worker.join().unwrap()).facts, alone);
        }
    });
}
