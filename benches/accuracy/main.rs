//! How well the same-picture rule does on a folder of pictures.
//!
//! `cargo bench --bench accuracy -- FOLDER...` makes the usual copies of every picture
//! (they must be recognised) and changed versions (they must not), and compares all
//! pictures of the folders with each other. Prints recall for each kind of copy, false
//! merges for each kind of change, each with the difference that can be seen, and every pair
//! of the folder's own pictures that was taken for the same. Those have to be judged by eye:
//! folders do hold duplicates. Variants are made of one of several pictures that are near each
//! other by their hashes, so that a picture in six sizes doesn't count six times.
//!
//! `P2PIMG_ACCURACY_LIMIT=N`: N pictures at most, evenly spread.
//! `P2PIMG_ACCURACY_PART=0|1`: half of the pictures, chosen by a hash of their names, to tune
//! on one half and report on the other. `P2PIMG_ACCURACY_PIXELS=N`: pictures with more pixels
//! are first reduced to N (default 2,000,000), to bound the time.
//! `P2PIMG_ACCURACY_PAIRS=1`: only the pairs, `=0`: no pairs.
//! `P2PIMG_ACCURACY_DUMP=FILE`: every number of every comparison, as CSV: what was found, kind,
//! variant, file, hash distance; gaps of the signatures; at 256x256 and at the loser's size
//! level, structure and their outliers each; sharpness: ratio, worst part, lost; and the gaps of
//! the colours.
//! Without a folder it makes a few pictures, to show that it works.
//!
//! Progressive JPEG, JPEG with half the colour resolution and lossy WebP are made by `cjpeg`
//! and `cwebp`, where those are installed.

mod encoders;
mod pairs;
mod report;
mod variants;
mod visible;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use image::{RgbImage, imageops};
use p2pimg::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use p2pimg::picture::compare::{LocalGap, colours, signatures};
use p2pimg::picture::distance;
use p2pimg::picture::quality::Metadata;
use p2pimg::picture::same::{self, Doubt, Edits, Known, Verdict};
use p2pimg::store::compare::{Version, compare};
use p2pimg::store::decode::{Inspection, Inspector};
use p2pimg::types::{ImageId, Traits};

use encoders::Encoders;
use report::Tallies;
use variants::Kind;
use visible::Visible;

/// A picture of the folders.
pub(crate) struct Picture {
    pub(crate) known: Known,
    pub(crate) path: PathBuf,
}

pub(crate) struct Bench {
    pub(crate) inspector: Inspector,
    copies: Mutex<Tallies>,
    changes: Mutex<Tallies>,
    encoders: Encoders,
    dump: Option<Mutex<File>>,
    folder: PathBuf,
}

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("P2PIMG_ACCURACY_{name}")).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<usize> {
    setting(name).and_then(|value| value.parse().ok())
}

fn known(inspector: &Inspector, path: &Path) -> Option<Known> {
    let file = File::open(path).ok()?;
    let name = path.file_name()?.as_encoded_bytes();
    let Ok(Inspection::Picture(found)) = inspector.inspect(&file, name) else { return None };
    let content = found.outline.content();
    let edits = Edits::default();
    Some(Known { content, facts: found.facts, encoding: found.encoding, signature: found.signature, edits })
}

fn show(gap: &LocalGap) -> String {
    format!("{:.2},{:.3},{:.2},{:.2}", gap.level, gap.structure, gap.level_outlier, gap.structure_outlier)
}

/// The better one first.
pub(crate) fn judge<'a>(
    inspector: &Inspector,
    a: Version<'a>,
    b: Version<'a>,
) -> (Verdict, Version<'a>, Version<'a>) {
    let (keeper, loser) = if a.known.quality() > b.known.quality() { (a, b) } else { (b, a) };
    (compare(inspector, keeper, loser), keeper, loser)
}

impl Bench {
    pub(crate) fn dump(
        &self,
        family: &str,
        name: &str,
        keeper: Version<'_>,
        loser: Version<'_>,
        verdict: Verdict,
    ) {
        let Some(dump) = &self.dump else { return };
        let (ImageId::Hash(a), ImageId::Hash(b)) = (keeper.known.facts.image, loser.known.facts.image) else {
            return;
        };
        let bits = distance(&a, &b);
        let mut line = format!("{family},{name},{bits}");
        let early = matches!(
            verdict,
            Verdict::Different(_) | Verdict::Probable(Doubt::ContentOnly(_) | Doubt::TooSmall(_))
        );
        if let (false, Some(sa), Some(sb)) = (early, &keeper.known.signature, &loser.known.signature) {
            let gap = signatures(sa, sb);
            let _ = write!(
                line,
                ",{:.2},{},{:.2},{}",
                gap.luma_mean, gap.luma_max, gap.chroma_mean, gap.chroma_max
            );
            let side = |version: Version<'_>| version.known.facts.width.min(version.known.facts.height);
            let size = (loser.known.facts.width, loser.known.facts.height);
            let planes = keeper.planes(&self.inspector).zip(loser.planes(&self.inspector));
            let details = keeper.detail(&self.inspector, size).zip(loser.detail(&self.inspector, size));
            if let (Some((pa, pb)), Some((da, db))) = (planes, details) {
                let pixels = same::pixel_gap(&pa, &pb, side(keeper).min(side(loser)));
                let c = colours(&pa, &pb);
                let (closely, sharp) = same::detail_gap(&da, &db);
                let _ = write!(line, ",{},{}", show(&pixels), show(&closely));
                let _ = write!(line, ",{:.3},{:.3},{:.1}", sharp.ratio, sharp.worst, sharp.lost);
                let _ = write!(
                    line,
                    ",{:.2},{:.2},{:.2},{:.2},{:.2},{:.3},{:.2}",
                    c.level, c.broad, c.level_outlier, c.broad_outlier, c.turn, c.saturation, c.strength
                );
            }
        }
        let found = match verdict {
            Verdict::Same(_) => "same",
            Verdict::Probable(doubt) | Verdict::Different(doubt) => report::doubt_name(&doubt),
        };
        let _ = writeln!(dump.lock().expect("no panic"), "{found},{line}");
    }

    /// The picture that variants are made of, and the file that they are compared with.
    fn original(&self, number: usize, picture: &Picture, max_pixels: usize) -> Option<(RgbImage, PathBuf)> {
        let size = (picture.known.facts.width, picture.known.facts.height);
        let decoded = image::open(&picture.path).ok()?.to_rgb8();
        // Upright, as the program sees it.
        let decoded = upright(decoded, size);
        let pixels = decoded.width() as usize * decoded.height() as usize;
        if pixels <= max_pixels && decoded.dimensions() == size {
            return Some((decoded, picture.path.clone()));
        }
        let factor = (max_pixels as f64 / pixels as f64).sqrt().min(1.0);
        let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
        let (width, height) = (side(decoded.width()), side(decoded.height()));
        let small = imageops::resize(&decoded, width, height, imageops::FilterType::Lanczos3);
        let bytes = variants::jpeg(&small, 95);
        let decoded = image::load_from_memory(&bytes).ok()?.to_rgb8();
        let own = self.folder.join(format!("{number}-original"));
        fs::write(&own, bytes).expect("temporary folder");
        Some((decoded, own))
    }

    /// Makes all variants of a picture and judges each against it.
    fn picture(&self, number: usize, picture: &Picture, max_pixels: usize) {
        let Some((pixels, original)) = self.original(number, picture, max_pixels) else { return };
        let Some(mut known_original) = known(&self.inspector, &original) else { return };
        // A copy without the date of the original is refused on purpose, whatever it looks like.
        known_original.encoding.metadata = Metadata::default();
        let file = self.folder.join(format!("{number}-variant"));
        let mut order = 0;
        variants::each(&pixels, number as u32, self.encoders, &self.folder, |variant| {
            order += 1;
            fs::write(&file, &variant.bytes).expect("temporary folder");
            let Some(known_variant) = known(&self.inspector, &file) else { return };
            let a = Version { known: &known_original, path: &original };
            let b = Version { known: &known_variant, path: &file };
            let (verdict, keeper, loser) = judge(&self.inspector, a, b);
            let (family, tallies) = match variant.kind {
                Kind::Copy => ("copy", &self.copies),
                Kind::Lesser(_) => ("lesser", &self.changes),
                Kind::Change(_) => ("change", &self.changes),
            };
            let wrong = match (variant.kind, verdict) {
                (Kind::Lesser(_), Verdict::Same(_)) if keeper.path == original => None,
                (Kind::Lesser(changed) | Kind::Change(changed), Verdict::Same(evidence)) => {
                    Some((format!("{}: {evidence}", picture.path.display()), Visible::of(&pixels, changed)))
                }
                _ => None,
            };
            self.dump(
                family,
                &format!("{},{}", variant.name, picture.path.display()),
                keeper,
                loser,
                verdict,
            );
            let mut tallies = tallies.lock().expect("no panic");
            let tally = tallies.entry((order, variant.name)).or_default();
            tally.count(verdict);
            if let Some((text, visible)) = wrong {
                tally.wrong(&text, visible);
            }
        });
        drop(fs::remove_file(file));
        drop(fs::remove_file(self.folder.join(format!("{number}-original"))));
    }
}

/// A file whose EXIF turns it is taken as it is stored when the sides tell so.
fn upright(picture: RgbImage, size: (u32, u32)) -> RgbImage {
    if picture.dimensions() == (size.1, size.0) && size.0 != size.1 {
        imageops::rotate90(&picture)
    } else {
        picture
    }
}

fn collect(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = folders
        .iter()
        .flat_map(walkdir::WalkDir::new)
        .flatten()
        .map(walkdir::DirEntry::into_path)
        .filter(|path| {
            let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
            ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"].iter().any(|known| extension == *known)
        })
        .filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()))
        .collect();
    all.sort();
    all
}

/// What is known of the files, each content once, in the order of their paths.
fn look_at(inspector: &Inspector, paths: &[PathBuf]) -> Vec<Picture> {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    each_thread(|| {
        while let Some(path) = paths.get(next.fetch_add(1, Relaxed)) {
            if let Some(known) = known(inspector, path) {
                all.lock().expect("no panic").push(Picture { known, path: path.clone() });
            }
        }
    });
    let mut all = all.into_inner().expect("no panic");
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let mut seen = std::collections::HashSet::new();
    all.retain(|picture| seen.insert(picture.known.content));
    all
}

/// One of each picture, and of these the half and the number that was asked for.
fn choose(all: &[Picture]) -> Vec<&Picture> {
    let mut chosen: Vec<(&Picture, [u8; 32])> = Vec::new();
    for picture in all {
        let ImageId::Hash(hash) = picture.known.facts.image else { continue };
        let near = |other: &[u8; 32]| distance(other, &hash) <= same::DECISION.max_distance;
        if picture.known.facts.traits == Traits::default() && !chosen.iter().any(|(_, other)| near(other)) {
            chosen.push((picture, hash));
        }
    }
    let part = number("PART");
    let of_part = |picture: &Picture| {
        let name = picture.path.file_name().unwrap_or_default().as_encoded_bytes();
        part.is_none_or(|part| usize::from(blake3::hash(name).as_bytes()[0] & 1) == part)
    };
    let chosen: Vec<&Picture> =
        chosen.into_iter().map(|(picture, _)| picture).filter(|picture| of_part(picture)).collect();
    let step = chosen.len().div_ceil(number("LIMIT").unwrap_or(usize::MAX).max(1)).max(1);
    chosen.into_iter().step_by(step).collect()
}

pub(crate) fn each_thread(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&work))));
}

fn main() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut folders: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    if folders.is_empty() {
        let made = folder.path().join("made");
        fs::create_dir(&made).expect("temporary folder");
        for seed in 0..3u32 {
            fs::write(made.join(format!("{seed}.jpg")), variants::jpeg(&photo(seed), 95))
                .expect("temporary folder");
        }
        folders.push(made);
    }
    let bench = Bench {
        inspector: Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS),
        copies: Mutex::default(),
        changes: Mutex::default(),
        encoders: Encoders::find(),
        dump: setting("DUMP").map(|path| Mutex::new(File::create(path).expect("the dump can be written"))),
        folder: folder.path().to_owned(),
    };
    let all = look_at(&bench.inspector, &collect(&folders));
    let only_pairs = number("PAIRS");
    if only_pairs != Some(1) {
        variants_of(&bench, &choose(&all));
    }
    if only_pairs != Some(0) {
        pairs::pairs(&bench, &all);
    }
}

fn variants_of(bench: &Bench, chosen: &[&Picture]) {
    let max_pixels = number("PIXELS").unwrap_or(2_000_000);
    for (there, program) in [(bench.encoders.cjpeg, "cjpeg"), (bench.encoders.cwebp, "cwebp")] {
        if !there {
            println!("{program} is not installed: its copies are not measured");
        }
    }
    let next = AtomicUsize::new(0);
    each_thread(|| {
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some(picture) = chosen.get(at) else { return };
            bench.picture(at, picture, max_pixels);
            eprint!("\r{} of {}", at + 1, chosen.len());
        }
    });
    eprintln!();
    report::print_copies(&bench.copies.lock().expect("no panic"));
    report::print_changes(&bench.changes.lock().expect("no panic"));
}

/// Soft shapes with some texture.
fn photo(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8
    };
    let mut coarse = |side: u32| RgbImage::from_fn(side, side, |_, _| image::Rgb([(); 3].map(|()| random())));
    let stretch = |picture: &RgbImage| imageops::resize(picture, 900, 600, imageops::FilterType::CatmullRom);
    let (mut shapes, fine) = (stretch(&coarse(7)), stretch(&coarse(90)));
    for (pixel, fine) in shapes.pixels_mut().zip(fine.pixels()) {
        for (value, fine) in pixel.0.iter_mut().zip(fine.0) {
            *value = ((u32::from(*value) * 3 + u32::from(fine)) / 4) as u8;
        }
    }
    shapes
}
