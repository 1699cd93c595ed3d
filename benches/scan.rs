//! How many pictures a second one core recognises, against the plain way: decode in full
//! with `image`, hash with `image_hasher`. Both in the same run, on the same files, from
//! the page cache.
//!
//! `cargo bench --bench scan`; `P2PIMG_BENCH_PHOTOS=FOLDER` takes the JPEGs of a folder
//! instead of made ones.

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use image_hasher::{HashAlg, HasherConfig};
use p2pimg::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use p2pimg::store::decode::{Inspection, Inspector};

/// Soft shapes, fine texture and noise: about as many bytes a pixel as a camera's JPEG.
fn photo(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut coarse = |side: u32| RgbImage::from_fn(side, side, |_, _| Rgb([(); 3].map(|()| random() as u8)));
    let stretch =
        |picture: &RgbImage| imageops::resize(picture, width, height, imageops::FilterType::CatmullRom);
    let (mut shapes, middle, fine) = (stretch(&coarse(7)), stretch(&coarse(60)), stretch(&coarse(500)));
    for (((x, y, pixel), middle), fine) in
        shapes.enumerate_pixels_mut().zip(middle.pixels()).zip(fine.pixels())
    {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503) ^ (x * y)) >> 7 & 7;
        for ((value, middle), fine) in pixel.0.iter_mut().zip(middle.0).zip(fine.0) {
            let mixed = (u32::from(*value) * 10 + u32::from(middle) * 4 + u32::from(fine) * 2) / 16 + noise;
            *value = mixed.min(255) as u8;
        }
    }
    shapes
}

fn make(folder: &Path, name: &str, count: u32, width: u32, height: u32) -> Vec<PathBuf> {
    let make_one = |seed| {
        let path = folder.join(format!("{name}-{seed}.jpg"));
        let mut file = std::io::BufWriter::new(File::create(&path).expect("temporary folder"));
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 82);
        encoder.encode_image(&photo(width, height, seed)).expect("encode");
        path
    };
    (0..count).map(make_one).collect()
}

fn plain(path: &Path) -> u8 {
    let hasher = HasherConfig::new().hash_alg(HashAlg::Median).hash_size(16, 16).preproc_dct().to_hasher();
    let picture = image::open(path).expect("a picture");
    hasher.hash_image(&picture).as_bytes()[0]
}

fn ours(inspector: &Inspector, path: &Path) -> u64 {
    let file = File::open(path).expect("a file");
    match inspector.inspect(&file, path.as_os_str().as_encoded_bytes()).expect("readable") {
        Inspection::Picture(inspected) => inspected.facts.bytes,
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// The shorter of two passes, each over all files.
fn time(paths: &[PathBuf], mut each: impl FnMut(&Path)) -> Duration {
    let mut pass = || {
        let start = Instant::now();
        for path in paths {
            each(path);
        }
        start.elapsed()
    };
    pass().min(pass())
}

/// Forgets the highest resident memory so far, where the system can (Linux).
fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Highest resident memory since then in MiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn compare(name: &str, paths: &[PathBuf]) {
    if paths.is_empty() {
        return;
    }
    let inspector = Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS);
    let bytes: u64 = paths.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
    let count = paths.len() as f64;
    reset_peak_memory();
    let our_time = time(paths, |path| {
        black_box(ours(&inspector, path));
    });
    let our_peak = peak_memory();
    let plain_time = time(paths, |path| {
        black_box(plain(path));
    });
    let rate = |time: Duration| count / time.as_secs_f64();
    println!("{name}: {count} pictures, {} KiB on average", bytes / 1024 / paths.len() as u64);
    println!("  p2pimg  {:8.1} pictures/s/core  {:7.2} ms", rate(our_time), 1000.0 / rate(our_time));
    println!("  plain   {:8.1} pictures/s/core  {:7.2} ms", rate(plain_time), 1000.0 / rate(plain_time));
    println!("  ratio   {:8.1}", rate(our_time) / rate(plain_time));
    if let Some(peak) = our_peak {
        println!("  peak resident memory of p2pimg's way: {peak} MiB");
    }
}

fn main() {
    if let Some(folder) = std::env::var_os("P2PIMG_BENCH_PHOTOS") {
        let mut groups: [Vec<PathBuf>; 3] = Default::default();
        for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
            let path = entry.into_path();
            if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpg"))
                && let Ok((width, height)) = image::image_dimensions(&path)
            {
                let group = match u64::from(width) * u64::from(height) {
                    0..4_000_000 => 0,
                    4_000_000..12_000_000 => 1,
                    _ => 2,
                };
                groups[group].push(path);
            }
        }
        for (name, paths) in
            ["below 4 megapixels", "4 to 12 megapixels", "12 megapixels and more"].iter().zip(&groups)
        {
            compare(name, paths);
        }
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let small = make(folder.path(), "2mp", 8, 1920, 1080);
    compare("2 megapixels", &small);
    let large = make(folder.path(), "12mp", 3, 4000, 3000);
    compare("12 megapixels", &large);
    let largest = make(folder.path(), "24mp", 2, 6000, 4000);
    compare("24 megapixels", &largest);
}
