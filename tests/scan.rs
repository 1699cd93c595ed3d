//! `p2pimg scan`: the real binary on a folder of made pictures.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use p2pimg::error::ExitCode;
use serde_json::Value;

/// Soft shapes with texture, different for each seed.
fn photo(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8
    };
    let mut coarse = |side: u32| RgbImage::from_fn(side, side, |_, _| Rgb([(); 3].map(|()| random())));
    let stretch = |picture: &RgbImage| imageops::resize(picture, 480, 360, imageops::FilterType::CatmullRom);
    let (mut shapes, fine) = (stretch(&coarse(6)), stretch(&coarse(160)));
    for (pixel, fine) in shapes.pixels_mut().zip(fine.pixels()) {
        for (value, fine) in pixel.0.iter_mut().zip(fine.0) {
            *value = ((u32::from(*value) * 2 + u32::from(fine)) / 3) as u8;
        }
    }
    shapes
}

fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).unwrap();
    bytes
}

fn shrunk(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    imageops::resize(picture, width, height, imageops::FilterType::Lanczos3)
}

fn scan(dir: &Path, options: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env_clear().env("P2PIMG_HOME", home.path()).arg("scan").arg(dir).args(options);
    let output = command.timeout(Duration::from_secs(120)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn report(dir: &Path) -> Value {
    let (code, out, err) = scan(dir, &["--duplicates", "--json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// Losers by their path, each with its keeper and the reason.
fn losers(report: &Value) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all = BTreeMap::new();
    for group in report["groups"].as_array().unwrap() {
        for loser in group["losers"].as_array().unwrap() {
            let why = (text(&group["keeper"]["path"]), text(&loser["reason"]));
            assert!(all.insert(text(&loser["path"]), why).is_none(), "nobody is dropped twice");
        }
    }
    all
}

/// Every file below `dir` with its bytes and time.
fn everything(dir: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    let file = |entry: walkdir::DirEntry| {
        let bytes = if entry.file_type().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        (entry.path().display().to_string(), (bytes, entry.metadata().unwrap().modified().unwrap()))
    };
    files.map(file).collect()
}

#[test]
fn copies_are_found_with_the_best_one_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (photo(1), photo(2));
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    fs::create_dir(dir.path().join("old")).unwrap();
    write("best.jpg", &jpeg(&first, 95));
    write("old/again.jpg", &jpeg(&first, 60));
    write("old/small.jpg", &jpeg(&shrunk(&first, 240, 180), 90));
    write("old/the same.jpg", &jpeg(&first, 95));
    // A name of a file is no second file: removing it frees nothing.
    fs::hard_link(dir.path().join("best.jpg"), dir.path().join("link.jpg")).unwrap();
    write("other.jpg", &jpeg(&second, 80));
    write("mirror.jpg", &jpeg(&imageops::flip_horizontal(&first), 95));
    write("text.jpg", b"Dear diary");
    let before = everything(dir.path());

    let found = report(dir.path());
    assert_eq!(everything(dir.path()), before, "no file is made, changed or removed");
    let expected: BTreeMap<_, _> =
        [("old/again.jpg", "same"), ("old/small.jpg", "same"), ("old/the same.jpg", "identical")]
            .map(|(loser, why)| (loser.to_owned(), ("best.jpg".to_owned(), why.to_owned())))
            .into();
    assert_eq!(losers(&found), expected, "{found}");
    let bytes = |name: &str| before[&dir.path().join(name).display().to_string()].0.len() as u64;
    let freed: u64 = expected.keys().map(|name| bytes(name)).sum();
    assert_eq!(found["freed_bytes"], freed);
    assert_eq!(found["problems"][0]["path"], "text.jpg");
    assert_eq!(found["probable"], Value::Array(Vec::new()));

    let (code, out, err) = scan(dir.path(), &["--duplicates"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("keep      best.jpg") && out.contains("3 duplicates"), "{out}");
    assert!(out.contains("hash distance") && out.contains("the same bytes"), "with reasons: {out}");
    assert!(err.contains("text.jpg"), "{err}");
}

#[test]
fn changed_and_enlarged_versions_are_for_people_to_judge() {
    let dir = tempfile::tempdir().unwrap();
    let original = photo(3);
    let write = |name: &str, picture: &RgbImage| fs::write(dir.path().join(name), jpeg(picture, 92)).unwrap();
    write("original.jpg", &original);
    let mut captioned = original.clone();
    for (x, y) in
        (40..200).flat_map(|x| (330..345).map(move |y| (x, y))).filter(|(x, y)| (x / 4 + y / 5) % 2 == 0)
    {
        captioned.put_pixel(x, y, Rgb([255; 3]));
    }
    write("captioned.jpg", &captioned);
    write("enlarged.jpg", &shrunk(&shrunk(&original, 160, 120), 640, 480));
    let mut brighter = original.clone();
    brighter.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| value.saturating_add(14)));
    write("brighter.jpg", &brighter);

    let found = report(dir.path());
    assert_eq!(losers(&found), BTreeMap::new(), "{found}");
    let probable = found["probable"].as_array().unwrap();
    assert!(probable.iter().any(|pair| pair["better"]["path"] == "enlarged.jpg"), "{found}");
    assert!(probable.iter().all(|pair| !pair["why"].as_str().unwrap().is_empty()));
    assert_eq!(found["freed_bytes"], 0);
}

#[test]
fn without_duplicates_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jpg"), jpeg(&photo(4), 80)).unwrap();
    let (code, out, _) = scan(dir.path(), &[]);
    assert!(code == 0 && out.starts_with("1 picture, "), "{out}");
    let (_, out, _) = scan(dir.path(), &["--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(found["pictures"] == 1 && found.get("groups").is_none(), "{found}");
}

#[test]
fn a_folder_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let run = |name: &str| scan(&dir.path().join(name), &["--duplicates"]);
    let (code, _, err) = run("missing");
    assert!(code == ExitCode::NotFound as i32 && err.contains("missing"), "{err}");
    let (code, _, err) = run("file");
    assert!(code == ExitCode::Usage as i32 && err.contains("folder"), "{err}");
}
