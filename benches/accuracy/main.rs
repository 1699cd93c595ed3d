//! How well the same-picture rule does on a folder of pictures.
//!
//! `cargo bench --bench accuracy -- FOLDER...` makes the usual copies of every picture
//! (they must be recognised) and changed versions (they must not), and compares all
//! pictures of the folders with each other. Prints recall for each kind of copy, false
//! merges for each kind of change, and every pair of the folder's own pictures that was
//! taken for the same. Those have to be judged by eye: folders do hold duplicates.
//!
//! `P2PIMG_ACCURACY_LIMIT=N`: N pictures of each folder at most, evenly spread.
//! `P2PIMG_ACCURACY_PART=0|1`: every second picture, to tune on one half and report on the
//! other. `P2PIMG_ACCURACY_PIXELS=N`: pictures with more pixels are first reduced to N
//! (default 2,000,000), to bound the time. `P2PIMG_ACCURACY_PAIRS=1`: only the pairs.
//! `P2PIMG_ACCURACY_DUMP=FILE`: every number of every comparison, as CSV.
//! Without a folder it makes a few pictures, to show that it works.
//!
//! Not made: progressive JPEG and lossy WebP, which the `image` crate can't encode.

mod variants;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use image::{RgbImage, imageops};
use p2pimg::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use p2pimg::picture::compare::{colours, signatures};
use p2pimg::picture::distance;
use p2pimg::picture::same::{self, Doubt, Edits, Known, Verdict};
use p2pimg::store::compare::{Version, compare};
use p2pimg::store::decode::{Inspection, Inspector};
use p2pimg::types::{ImageId, Traits};

/// What was found of one kind of variant.
#[derive(Default)]
struct Tally {
    all: u32,
    same: u32,
    probable: u32,
    doubts: BTreeMap<&'static str, u32>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Tallies {
    copies: BTreeMap<(usize, &'static str), Tally>,
    changes: BTreeMap<(usize, &'static str), Tally>,
}

struct Bench {
    inspector: Inspector,
    tallies: Mutex<Tallies>,
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

/// The better one first.
fn judge<'a>(inspector: &Inspector, a: Version<'a>, b: Version<'a>) -> (Verdict, Version<'a>, Version<'a>) {
    let (keeper, loser) = if a.known.quality() > b.known.quality() { (a, b) } else { (b, a) };
    (compare(inspector, keeper, loser), keeper, loser)
}

impl Bench {
    fn dump(&self, family: &str, name: &str, keeper: Version<'_>, loser: Version<'_>, verdict: Verdict) {
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
                let _ = write!(
                    line,
                    ",{:.2},{:.3},{:.2},{:.2},{:.2},{:.3},{:.2},{:.2},{:.3},{sharp:.3}",
                    pixels.level,
                    pixels.structure,
                    c.mean,
                    c.level,
                    c.turn,
                    c.saturation,
                    c.strength,
                    closely.level,
                    closely.structure
                );
            }
        }
        let _ = writeln!(dump.lock().expect("no panic"), "{line},{}", matches!(verdict, Verdict::Same(_)));
    }

    /// Makes all variants of a picture and judges each against it.
    fn picture(&self, number: usize, path: &Path, max_pixels: usize) {
        let Some(found) = known(&self.inspector, path) else { return };
        if !matches!(found.facts.image, ImageId::Hash(_)) || found.facts.traits != Traits::default() {
            return;
        }
        let Ok(picture) = image::open(path) else { return };
        // Upright, as the program sees it.
        let picture = upright(picture.to_rgb8(), (found.facts.width, found.facts.height));
        let pixels = picture.width() as usize * picture.height() as usize;
        let own = self.folder.join(format!("{number}-original"));
        let (picture, original) = if pixels > max_pixels
            || picture.dimensions() != (found.facts.width, found.facts.height)
        {
            let factor = (max_pixels as f64 / pixels as f64).sqrt().min(1.0);
            let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
            let (width, height) = (side(picture.width()), side(picture.height()));
            let small = imageops::resize(&picture, width, height, imageops::FilterType::Lanczos3);
            fs::write(&own, variants::jpeg(&small, 95)).expect("temporary folder");
            let Ok(read) = image::ImageReader::open(&own).and_then(image::ImageReader::with_guessed_format)
            else {
                return;
            };
            let Ok(read) = read.decode() else { return };
            (read.to_rgb8(), own)
        } else {
            (picture, path.to_owned())
        };
        let Some(known_original) = known(&self.inspector, &original) else { return };
        let mut order = 0;
        variants::each(&picture, number as u32, |variant| {
            order += 1;
            let file = self.folder.join(format!("{number}-variant"));
            fs::write(&file, &variant.bytes).expect("temporary folder");
            let Some(known_variant) = known(&self.inspector, &file) else { return };
            let a = Version { known: &known_original, path: &original };
            let b = Version { known: &known_variant, path: &file };
            let (verdict, keeper, loser) = judge(&self.inspector, a, b);
            self.dump(if variant.same { "copy" } else { "change" }, variant.name, keeper, loser, verdict);
            let mut tallies = self.tallies.lock().expect("no panic");
            let tallies = if variant.same { &mut tallies.copies } else { &mut tallies.changes };
            let tally = tallies.entry((order, variant.name)).or_default();
            tally.all += 1;
            match verdict {
                Verdict::Same(evidence) => {
                    tally.same += 1;
                    if !variant.same {
                        tally.wrong.push(format!("{}: {evidence}", path.display()));
                    }
                }
                Verdict::Probable(doubt) => {
                    tally.probable += 1;
                    *tally.doubts.entry(doubt_name(&doubt)).or_default() += 1;
                }
                Verdict::Different(doubt) => *tally.doubts.entry(doubt_name(&doubt)).or_default() += 1,
            }
        });
        drop(fs::remove_file(self.folder.join(format!("{number}-variant"))));
        drop(fs::remove_file(self.folder.join(format!("{number}-original"))));
    }
}

fn doubt_name(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::NoHash => "guard",
        Doubt::Distance(_) => "hash",
        Doubt::CaptureTimes => "time",
        Doubt::Edited | Doubt::EditedOften => "edit",
        Doubt::ContentOnly(_) => "traits",
        Doubt::TooSmall(_) => "small",
        Doubt::Aspect(_) => "aspect",
        Doubt::Signature(_) => "signature",
        Doubt::Pixels(_) => "pixels",
        Doubt::Colours(_) => "colours",
        Doubt::Closely(_) => "closely",
        Doubt::LessSharp(_) => "sharpness",
        Doubt::LessMetadata => "metadata",
        Doubt::Unreadable => "unreadable",
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
    let (limit, part) = (number("LIMIT").unwrap_or(usize::MAX), number("PART"));
    let mut all = Vec::new();
    for folder in folders {
        let mut found: Vec<PathBuf> = walkdir::WalkDir::new(folder)
            .into_iter()
            .flatten()
            .map(walkdir::DirEntry::into_path)
            .filter(|path| {
                let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
                ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"].iter().any(|known| extension == *known)
            })
            .filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()))
            .collect();
        found.sort();
        let halves = found.into_iter().enumerate().filter(|(at, _)| part.is_none_or(|part| at % 2 == part));
        let found: Vec<PathBuf> = halves.map(|(_, path)| path).collect();
        let step = found.len().div_ceil(limit.max(1)).max(1);
        all.extend(found.into_iter().step_by(step));
    }
    all
}

/// Compares all pictures with each other.
fn pairs(bench: &Bench, paths: &[PathBuf]) {
    let mut all: Vec<(Known, &PathBuf)> = Vec::new();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(&mut all);
    each_thread(|| {
        while let Some(path) = paths.get(next.fetch_add(1, Relaxed)) {
            if let Some(known) = known(&bench.inspector, path) {
                found.lock().expect("no panic").push((known, path));
            }
        }
    });
    all.sort_by(|a, b| a.1.cmp(b.1));
    all.dedup_by_key(|(known, _)| known.content);
    let total = all.len() as u64 * (all.len() as u64).saturating_sub(1) / 2;
    let mut near: Vec<(usize, usize)> = Vec::new();
    for (i, (a, _)) in all.iter().enumerate() {
        let ImageId::Hash(a) = a.facts.image else { continue };
        for (j, (b, _)) in all.iter().enumerate().skip(i + 1) {
            let ImageId::Hash(b) = b.facts.image else { continue };
            if distance(&a, &b) <= same::DECISION.max_distance {
                near.push((i, j));
            }
        }
    }
    println!("\n{} contents, {total} pairs, {} of them near by their hashes", all.len(), near.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new((0u32, BTreeMap::<&str, u32>::new(), Vec::new()));
    each_thread(|| {
        while let Some((i, j)) = near.get(next.fetch_add(1, Relaxed)) {
            let [a, b] = [*i, *j].map(|at| Version { known: &all[at].0, path: all[at].1 });
            let (verdict, keeper, loser) = judge(&bench.inspector, a, b);
            bench.dump(
                "pair",
                &format!("{} {}", keeper.path.display(), loser.path.display()),
                keeper,
                loser,
                verdict,
            );
            let mut results = results.lock().expect("no panic");
            match verdict {
                Verdict::Same(evidence) => {
                    results.0 += 1;
                    results.2.push(format!(
                        "{} = {}: {evidence}",
                        keeper.path.display(),
                        loser.path.display()
                    ));
                }
                Verdict::Probable(doubt) | Verdict::Different(doubt) => {
                    *results.1.entry(doubt_name(&doubt)).or_default() += 1;
                }
            }
        }
    });
    let (same, doubts, mut lines) = results.into_inner().expect("no panic");
    println!("  taken for the same: {same}; refused: {doubts:?}");
    lines.sort();
    for line in &lines {
        println!("  {line}");
    }
}

fn each_thread(work: impl Fn() + Sync) {
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
    let paths = collect(&folders);
    let bench = Bench {
        inspector: Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS),
        tallies: Mutex::default(),
        dump: setting("DUMP").map(|path| Mutex::new(File::create(path).expect("the dump can be written"))),
        folder: folder.path().to_owned(),
    };
    if setting("PAIRS").is_none() {
        let max_pixels = number("PIXELS").unwrap_or(2_000_000);
        let next = AtomicUsize::new(0);
        each_thread(|| {
            loop {
                let at = next.fetch_add(1, Relaxed);
                let Some(path) = paths.get(at) else { return };
                bench.picture(at, path, max_pixels);
                eprint!("\r{} of {}", at + 1, paths.len());
            }
        });
        eprintln!();
        let tallies = bench.tallies.lock().expect("no panic");
        for (title, kinds) in
            [("copies: recall", &tallies.copies), ("changes: false merges", &tallies.changes)]
        {
            println!("\n{title}");
            for ((_, name), tally) in kinds {
                let part = f64::from(tally.same) * 100.0 / f64::from(tally.all.max(1));
                println!(
                    "  {name:20} {:4} of {:4}  {part:6.2} %  probable {:4}  {:?}",
                    tally.same, tally.all, tally.probable, tally.doubts
                );
                tally.wrong.iter().for_each(|line| println!("      {line}"));
            }
        }
    }
    pairs(&bench, &paths);
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
